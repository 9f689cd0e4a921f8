# Does one run on the board: run.sh BYTES COMMAND...
# COMMAND reads the run, so many bytes of the standard input. What follows there
# is nothing, until the input ends: then nobody listens any more, and COMMAND is
# ended, wherever it may hang.
umask 077
trap '' PIPE
cd "${0%/*}" || exit 1
head -c "$1" >run.json || exit 1
shift
exec 3<&0
"$@" <run.json 3<&- &
child=$!
trap 'kill -9 "$child" 2>/dev/null' HUP INT TERM
(
	while read -r _; do :; done <&3
	kill -9 "$child"
) >/dev/null 2>&1 &
watcher=$!
wait "$child"
code=$?
kill -9 "$watcher" 2>/dev/null
# 255 is what ssh returns when it fails itself.
[ "$code" -ne 255 ] || code=254
exit "$code"
