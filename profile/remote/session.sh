# The board's side of a session. sh reads it from its standard input, as a whole,
# and then commands, a line each. What it answers begins with "tpuplan-session";
# a shell that greets its user disturbs nothing. When the input ends, for
# whatever reason, the private folder is removed. The first line of the input
# gives python, the name of an interpreter, its value.
: "${python:=python3}"
say() { printf 'tpuplan-session %s\n' "$*"; }

libc() {
	case $(ldd --version 2>&1 </dev/null | head -n 1) in
	*musl*) echo musl ;;
	*GLIBC* | *"GNU libc"* | *glibc*) echo gnu ;;
	*) if ls /lib/ld-musl-* >/dev/null 2>&1; then echo musl; fi ;;
	esac
}

# How many KiB are free where the models go.
free() { df -Pk "$models" 2>/dev/null </dev/null | tail -n 1 | { read -r _ _ _ k _ && say free "$k"; }; }

# A damaged or half-written file is as good as none.
have() {
	for sha in "$@"; do
		file=$models/$sha.tflite
		[ -f "$file" ] || continue
		if sum=$(sha256sum <"$file" 2>/dev/null) && [ "${sum%% *}" != "$sha" ]; then
			rm -f "$file"
			continue
		fi
		say have "$sha"
	done
	free
}

main() {
	umask 077
	folder=
	trap '' PIPE
	trap '[ -z "$folder" ] || rm -rf "$folder"' EXIT
	trap 'exit 1' HUP INT TERM
	base=${XDG_CACHE_HOME:-${HOME:-}/.cache}/tpuplan
	case $base in
	/.cache/* | [!/]* | *[!A-Za-z0-9/._+@-]*) base= ;; # scp of some ages takes no other characters
	esac
	if [ -n "$base" ] && mkdir -p "$base/models" 2>/dev/null && folder=$(mktemp -d "$base/run.XXXXXXXX" 2>/dev/null); then
		models=$base/models
		# What a board left behind that lost its power.
		find "$base" -maxdepth 1 -name 'run.*' -mtime +2 -exec rm -rf {} + 2>/dev/null </dev/null
	elif folder=$(mktemp -d "${TMPDIR:-/tmp}/tpuplan.XXXXXXXX" </dev/null); then
		models=$folder
	else
		say failed "no private folder can be made there"
		exit 1
	fi
	say system "$(uname -s)"
	say machine "$(uname -m)"
	say bits "$(getconf LONG_BIT 2>/dev/null)"
	say libc "$(libc)"
	say python "$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null </dev/null)"
	say folder "$folder"
	say models "$models"
	say ready
	while read -r verb words; do
		# shellcheck disable=SC2086 # words are hashes and names of ours
		case $verb in
		have) have $words ;;
		keep)
			for sha in $words; do
				mv -f "$folder/$sha" "$models/$sha.tflite" 2>/dev/null || say failed "a model cannot be moved to $models"
			done
			;;
		try) (cd "$folder" && LD_LIBRARY_PATH=. "./$words" version >/dev/null 2>&1 </dev/null) && say works ;;
		esac
		say ready
	done
}

main
