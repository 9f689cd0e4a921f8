package emit_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tpuplan/tpuplan/compile/emit"
)

// shellWords is what a shell makes of a text, the oracle for every quote.
func shellWords(t interface{ Fatal(...any) }, text string) []string {
	out, err := exec.Command("sh", "-c", `printf '%s\0' `+text).Output()
	if err != nil {
		t.Fatal(text, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

func TestQuote(t *testing.T) {
	tool(t, "sh")
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching("[^\x00]*|[-a-z~$'\"\\\\`!# \n*?&|;<>(){}\\[\\]=%]*"), 1, 20).Draw(t, "words")
		var quoted []string
		for _, word := range words {
			quoted = append(quoted, emit.Quote(word))
		}
		if diff := cmp.Diff(words, shellWords(t, strings.Join(quoted, " "))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestShell(t *testing.T) {
	sh := tool(t, "sh")
	b := twoGroups()
	p := newProject(t)
	p.emit("build.sh", emit.Shell, b)
	built(t, p.run(nil, sh, "build.sh"), b, 0, 1)
	built(t, p.run(nil, sh, "build.sh"), b, 0, 1)
	if got, want := p.read("build/b_edgetpu.tflite"), "-s -m 13 -o build/.tpuplan-usb-1 models/a.tflite b.tflite\nweights of b.tflite\n"; got != want {
		t.Errorf("b is %q, want %q", got, want)
	}
	if got := p.read("build/a_edgetpu.log"); got != "the ops\n" {
		t.Errorf("the operation log is %q", got)
	}
	checkFailures(t, p, sh, "build.sh")

	p.program("container", `shift 2; exec "$@"`)
	other := *b
	other.Flags, other.OutDir = []string{"-a"}, "my out"
	env := []string{"EDGETPU_COMPILER=container -v '$PWD':\"/my w\" edgetpu_compiler", "EDGETPU_COMPILER_FLAGS=-a", "TPUPLAN_OUT_DIR=my out"}
	built(t, p.run(env, sh, "build.sh"), &other, 0, 1)
}

func TestShellNames(t *testing.T) {
	sh := tool(t, "sh")
	b := &emit.Build{
		Plan: "a\nb.toml", Command: []string{"edgetpu_compiler"}, OutDir: "-it's \"my\" $out}/\n%",
		Groups: []emit.Group{
			{Name: "all | of\nthem", Files: []string{"-a.tflite", "~/b c.tflite", "`d`\n(1).tflite"}},
			{Name: "-n", Files: []string{`e\n*.tflite`}},
		},
		Regenerate: []string{"tpuplan", "a\nb"},
	}
	p := newProject(t)
	p.emit("build.sh", emit.Shell, b)
	r := p.run(nil, sh, "build.sh")
	built(t, r, b, 0, 1)
	p.read(filepath.Join(b.OutDir, "`d`\n(1)_edgetpu.tflite"))
}

func TestShellcheck(t *testing.T) {
	check := tool(t, "shellcheck")
	b := twoGroups()
	b.Groups[0].Files = append(b.Groups[0].Files, `it's $x "1" [2]*.tflite`)
	p := newProject(t)
	p.emit("build.sh", emit.Shell, b)
	if r := p.run(nil, check, "build.sh"); r.exit != 0 {
		t.Error(r.stdout, r.stderr)
	}
}
