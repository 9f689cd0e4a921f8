package emit

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"strings"
)

// compileGroup is the shell text that compiles one group, for every POSIX
// shell. Its arguments are the output folder, the group, a mark, the number n
// of models, n output names, then the words of the compiler call, of which the
// last n are the models.
//
// OUT_DIR/.tpuplan/OUTPUT/MARK says of every output which call it came from. The
// marks of a group go away before the first of its outputs is replaced and
// come back after the last, so a group that was interrupted in between does
// not look finished. They take the time at which the call began: no output is
// older than its mark. A mark lies in a folder of its output, not of its group,
// because the next plan may put the output into another group.
//
// The text has no single quote and no comment, and each line ends a statement
// or may be followed by a space, so that it also fits into one line of a
// makefile.
const compileGroup = `out=$1; group=$2; mark=$3; n=$4; shift 4;
dir=$out/.tpuplan-$group; log=$out/$group.log; marks=$out/.tpuplan;
say() { printf "tpuplan: %s: group %s: %s\n" "$1" "$group" "$2" >&2; };
fail() { rm -rf "$dir"; if [ -s "$log" ]; then cat "$log" >&2; fi; say error "$1"; exit 1; };
models() { shift $(($# - n)); cksum "$@"; };
run() { shift "$n"; status=0; "$@" >"$log" 2>&1 || status=$?; };
broken() { grep -q "Internal compiler error" "$log"; };
{ rm -rf "$dir" && rm -f "$log" && mkdir -p "$dir" && touch "$dir/.start"; } || fail "cannot write to $out";
before=$(models "$@") || fail "cannot read its models";
(shift "$n"; printf "%s\n" "$*");
run "$@";
if broken; then
  say warning "internal compiler error, which often goes away: compiling once more";
  run "$@";
fi;
if [ "$status" = 127 ]; then fail "the compiler was not found: install it or set EDGETPU_COMPILER, several words if need be"; fi;
if [ "$status" != 0 ] || broken; then fail "the compiler failed (status $status), its output is in $log"; fi;
if [ "$(models "$@")" != "$before" ]; then fail "a model changed while it was compiled: build again"; fi;
zero=$(sed -n "/Input model: /h; /Edge TPU subgraphs: 0/{H;x;s/\n/: /;p;}" "$log");
if [ -n "$zero" ]; then fail "nothing of a model would run on the Edge TPU, see $log: $zero"; fi;
i=0; for f do shift; i=$((i + 1)); if [ "$i" -le "$n" ]; then set -- "$@" "$f"; fi; done;
for f do if [ ! -s "$dir/$f" ]; then fail "the compiler reported success but wrote no $f, see $log"; fi; done;
for f do rm -rf "${marks:?}/$f" || fail "cannot replace $out/$f"; done;
for f do
  touch "$dir/$f" 2>/dev/null;
  mv -f "$dir/$f" "$out/$f" || fail "cannot write $out/$f";
  if [ -f "$dir/${f%.tflite}.log" ]; then mv -f "$dir/${f%.tflite}.log" "$out"; fi;
done;
for f do { mkdir -p "$marks/$f" && touch -r "$dir/.start" "$marks/$f/$mark"; } || fail "cannot write to $marks"; done;
rm -rf "$dir"
`

// operationLog is the name of the log that the compiler writes beside an output.
func operationLog(output string) string { return strings.TrimSuffix(output, ".tflite") + ".log" }

// Shell writes a POSIX shell script that compiles every group, one after the
// other, and stops at the first that fails. It looks at no dates.
// EDGETPU_COMPILER, EDGETPU_COMPILER_FLAGS and TPUPLAN_OUT_DIR in its
// environment win over what the plan says; the first two are read as shell
// words. A name may hold anything but a NUL.
func Shell(w io.Writer, b *Build) error {
	err := b.check("sh", func(_, name string) (string, string) {
		if strings.Contains(name, "\x00") {
			return "it contains a NUL", "rename it"
		}
		return "", ""
	})
	if err != nil {
		return err
	}
	var s bytes.Buffer
	s.WriteString("#!/bin/sh\n")
	b.header(&s, "sh")
	s.WriteString("# EDGETPU_COMPILER and EDGETPU_COMPILER_FLAGS (shell words) and TPUPLAN_OUT_DIR\n# in the environment win over the values below.\n\n# A $ in a quoted name is meant as it stands.\n# shellcheck disable=SC2016\n\n")
	fmt.Fprintf(&s, `set -u
[ -n "${EDGETPU_COMPILER-}" ] || EDGETPU_COMPILER=%s
[ -n "${EDGETPU_COMPILER_FLAGS+set}" ] || EDGETPU_COMPILER_FLAGS=%s
[ -n "${TPUPLAN_OUT_DIR-}" ] || TPUPLAN_OUT_DIR=%s

# tpuplan_compile OUT_DIR GROUP MARK N OUTPUT... COMMAND... MODEL...
# compiles N models together and moves their outputs into place.
tpuplan_compile() (
`, Quote(quoteAll(b.Command)), Quote(quoteAll(b.Flags)), Quote(b.outDir()))
	for line := range strings.Lines(compileGroup) {
		s.WriteString("  " + line)
	}
	s.WriteString(")\n\n# From here on \"$@\" is the compiler and its flags.\neval \"set -- $EDGETPU_COMPILER $EDGETPU_COMPILER_FLAGS\"\n")
	for i := range b.Groups {
		g := &b.Groups[i]
		folder := ""
		if g.Folder != "" {
			folder = "/" + Quote(g.Folder)
		}
		// The mark fits no makefile: what make knows of these outputs is void.
		fmt.Fprintf(&s, "\ntpuplan_compile \"$TPUPLAN_OUT_DIR\"%s %s sh %d %s \\\n  \"$@\" -o \"$TPUPLAN_OUT_DIR\"%s/%s %s || exit\n",
			folder, Quote(g.Name), len(g.Files), quoteAll(g.outputNames()),
			folder, Quote(path.Base(b.invocation(g).TempDir())), quoteAll(b.models(g)))
	}
	_, err = w.Write(s.Bytes())
	return err
}

// Quote writes a word so that a POSIX shell reads it back unchanged. A word of
// plain characters stays as it is.
func Quote(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = Quote(word)
	}
	return strings.Join(quoted, " ")
}
