package emit_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/emit"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// A property here starts several processes for every example.
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		flag.Set("rapid.checks", "15")
	}
	os.Exit(m.Run())
}

// tool finds a program that a test checks against. Where there is none the
// test is skipped, or fails if TPUPLAN_REQUIRE_TOOLS is 1.
func tool(t testing.TB, name string) string {
	t.Helper()
	program, err := exec.LookPath(name)
	if err == nil {
		return program
	}
	if os.Getenv("TPUPLAN_REQUIRE_TOOLS") == "1" {
		t.Fatal(err)
	}
	t.Skip(err)
	return ""
}

// fakeCompiler stands in for edgetpu_compiler: it records its words, reads and
// writes what the real one would, and goes wrong as FAKE_MODE says. A compiled
// model is the list of all models of its call, then itself.
const fakeCompiler = `#!/bin/sh
printf '%s\0' "$#" "$@" >>"$FAKE_CALLS"
all=$*
while [ $# -gt 0 ] && [ "$1" != -o ]; do shift; done
dir=$2; shift 2
echo "Edge TPU Compiler version 15.0.340273435"
case $FAKE_MODE in
flaky)
  if [ ! -f "$FAKE_CALLS.flaky" ]; then
    touch "$FAKE_CALLS.flaky"; echo "Internal compiler error. Aborting! "; exit 1
  fi ;;
internal) echo "Internal compiler error. Aborting! "; exit 0 ;;
failing) echo "Compilation failed: too bad"; exit 3 ;;
changing) echo more >>"$1" ;;
esac
echo "Model compiled successfully in 17 ms."
for f do
  base=${f##*/}
  { echo "$all"; cat "$f"; } >"$dir/${base%.*}_edgetpu.tflite" || exit 4
  echo "the ops" >"$dir/${base%.*}_edgetpu.log"
  echo; echo "Input model: $f"
  if [ "$FAKE_MODE" = zero ]; then echo "Number of Edge TPU subgraphs: 0"; else echo "Number of Edge TPU subgraphs: 10"; fi
  if [ "$FAKE_MODE" = fewer ]; then exit 0; fi
done
`

// project is a folder with models, a build file and the fake compiler.
type project struct {
	t     testing.TB
	dir   string
	calls string   // file with the words of every call of the fake compiler
	env   []string // added to the environment
}

func newProject(t testing.TB) *project {
	p := &project{t: t, dir: t.TempDir()}
	bin := t.TempDir()
	p.calls = filepath.Join(bin, "calls")
	if err := os.WriteFile(filepath.Join(bin, "edgetpu_compiler"), []byte(fakeCompiler), 0o755); err != nil {
		t.Fatal(err)
	}
	p.env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "FAKE_CALLS=" + p.calls, "LC_ALL=C"}
	return p
}

// in is the project seen from a subtest.
func (p *project) in(t testing.TB) *project {
	q := *p
	q.t = t
	return &q
}

// program puts a shell script into the path.
func (p *project) program(name, text string) {
	bin := filepath.Dir(p.calls)
	if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		p.t.Fatal(err)
	}
}

// write writes a file of the project; its date is now.
func (p *project) write(name, text string) {
	p.t.Helper()
	name = filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *project) read(name string) string {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// age sets all dates an hour back: bmake looks at whole seconds, and no test
// should wait for one to pass.
func (p *project) age() {
	then := time.Now().Add(-time.Hour)
	err := filepath.WalkDir(p.dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(name, then, then)
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// emit writes a build file and the models that are not there yet.
func (p *project) emit(name string, write emit.Writer, b *emit.Build) {
	p.t.Helper()
	var text bytes.Buffer
	if err := write(&text, b); err != nil {
		p.t.Fatal(err)
	}
	p.write(name, text.String())
	for _, g := range b.Groups {
		for _, file := range g.Files {
			if _, err := os.Stat(filepath.Join(p.dir, file)); err != nil {
				p.write(file, "weights of "+file+"\n")
			}
		}
	}
}

// result is what a program did.
type result struct {
	stdout, stderr string
	exit           int
	calls          [][]string // words of every call of the fake compiler
}

// run starts a program in the project's folder and tells what it compiled.
func (p *project) run(env []string, program string, args ...string) result {
	p.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, &stdout, &stderr
	// What a make around these tests says is not for the makes inside.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS") || strings.HasPrefix(v, "EDGETPU_COMPILER") || strings.HasPrefix(v, "TPUPLAN")
	})
	cmd.Env = append(append(cmd.Env, p.env...), env...)
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	r := result{stdout: stdout.String(), stderr: stderr.String(), exit: cmd.ProcessState.ExitCode()}
	text, err := os.ReadFile(p.calls)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.t.Fatal(err)
	}
	os.Remove(p.calls)
	words := strings.Split(string(text), "\x00")
	for len(words) > 1 {
		n, err := strconv.Atoi(words[0])
		if err != nil {
			p.t.Fatal(err)
		}
		r.calls = append(r.calls, append([]string{"edgetpu_compiler"}, words[1:1+n]...))
		words = words[1+n:]
	}
	slices.SortFunc(r.calls, slices.Compare[[]string])
	return r
}

// argvs are the calls that a build file should make, sorted.
func argvs(b *emit.Build) [][]string {
	var want [][]string
	for _, g := range b.Groups {
		call := compile.Invocation{Command: b.Command, Flags: b.Flags, OutDir: b.OutDir, Group: g.Name, Files: g.Files}
		want = append(want, call.Argv())
	}
	slices.SortFunc(want, slices.Compare[[]string])
	return want
}

// built checks that a run succeeded and compiled the groups of b with the given numbers.
func built(t testing.TB, r result, b *emit.Build, groups ...int) {
	t.Helper()
	if r.exit != 0 {
		t.Fatalf("exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
	some := *b
	some.Groups = nil
	for _, g := range groups {
		some.Groups = append(some.Groups, b.Groups[g])
	}
	if diff := cmp.Diff(argvs(&some), r.calls); diff != "" {
		t.Fatalf("compiler calls (-want +got):\n%s\n%s%s", diff, r.stdout, r.stderr)
	}
}

// twoGroups is the usual build of these tests.
func twoGroups() *emit.Build {
	return &emit.Build{
		Plan: "plan.toml", Lock: "plan.lock.json", Output: "build.mk",
		Command: []string{"edgetpu_compiler"}, Flags: []string{"-s", "-m", "13"}, OutDir: "build",
		Groups: []emit.Group{
			{Name: "usb-1", Files: []string{"models/a.tflite", "b.tflite"}},
			{Name: "usb-2", Files: []string{"models/c.tflite"}},
		},
		Regenerate: []string{"tpuplan", "optimize", "--emit", "make", "-o", "build.mk", "plan.toml"},
	}
}

// failures are the ways in which a compile goes wrong, the same for every
// build file. The compiler's own words must be on stderr as well.
var failures = []struct {
	mode, want, log string
}{
	{"failing", "group usb-1: the compiler failed (status 3), its output is in build/usb-1.log", "Compilation failed: too bad"},
	{"internal", "group usb-1: the compiler failed (status 0)", "Internal compiler error"},
	{"fewer", "group usb-1: the compiler reported success but wrote no b_edgetpu.tflite", "Model compiled successfully"},
	{"zero", "group usb-1: nothing of a model would run on the Edge TPU, see build/usb-1.log: Input model: models/a.tflite: Number of Edge TPU subgraphs: 0", "subgraphs: 0"},
	{"changing", "group usb-1: a model changed while it was compiled", "Model compiled successfully"},
}

// checkFailures breaks a project that was built in every way.
func checkFailures(t *testing.T, p *project, program string, args ...string) {
	for _, f := range failures {
		t.Run(f.mode, func(t *testing.T) {
			p := p.in(t)
			before := p.read("build/a_edgetpu.tflite") + p.read("build/b_edgetpu.tflite")
			p.write("b.tflite", "weights for "+f.mode)
			r := p.run([]string{"FAKE_MODE=" + f.mode}, program, args...)
			if r.exit == 0 {
				t.Errorf("exit 0")
			}
			if !strings.Contains(r.stderr, "tpuplan: error: "+f.want) || !strings.Contains(r.stderr, f.log) {
				t.Errorf("stderr is\n%s\nwant %q and %q", r.stderr, f.want, f.log)
			}
			if !strings.Contains(p.read("build/usb-1.log"), f.log) {
				t.Errorf("the log is\n%s\nwant %q", p.read("build/usb-1.log"), f.log)
			}
			if after := p.read("build/a_edgetpu.tflite") + p.read("build/b_edgetpu.tflite"); after != before {
				t.Errorf("outputs changed from\n%s\nto\n%s", before, after)
			}
			if left, _ := filepath.Glob(filepath.Join(p.dir, "build", ".tpuplan-*")); left != nil {
				t.Errorf("%s is left", left)
			}
		})
	}
	t.Run("flaky", func(t *testing.T) {
		p := p.in(t)
		r := p.run([]string{"FAKE_MODE=flaky"}, program, args...)
		if r.exit != 0 || !strings.Contains(r.stderr, "tpuplan: warning: group usb-1: internal compiler error") {
			t.Errorf("exit %d, stderr %s", r.exit, r.stderr)
		}
		if got := p.read("build/b_edgetpu.tflite"); !strings.Contains(got, "weights for changing") {
			t.Errorf("b is %s, want the new weights", got)
		}
	})
	t.Run("no compiler", func(t *testing.T) {
		p := p.in(t)
		p.write("b.tflite", "weights for nobody")
		r := p.run([]string{"EDGETPU_COMPILER=no_such_compiler"}, program, args...)
		if r.exit == 0 || !strings.Contains(r.stderr, "was not found: install it or set EDGETPU_COMPILER") {
			t.Errorf("exit %d, stderr %s", r.exit, r.stderr)
		}
	})
}

func TestRefused(t *testing.T) {
	files := func(names ...string) *emit.Build {
		return &emit.Build{Command: []string{"c"}, OutDir: "build", Groups: []emit.Group{{Name: "g", Files: names}}}
	}
	with := func(change func(b *emit.Build)) *emit.Build {
		b := files("a.tflite")
		change(b)
		return b
	}
	tests := []struct {
		name     string
		b        *emit.Build
		make, sh string // what the message holds; "": accepted
	}{
		{"plain", files("a.tflite"), "", ""},
		{"percent", files("50%.tflite"), `model "50%.tflite": make cannot hold this name: it contains '%' (rename it, or emit sh)`, ""},
		{"semicolon", files("a;b.tflite"), `contains ';'`, ""},
		{"bar", files("a|b.tflite"), `contains '|'`, ""},
		{"open", files("a(1.tflite"), `contains '('`, ""},
		{"close", files("a)1.tflite"), `contains ')'`, ""},
		{"backslash", files(`a\b.tflite`), `separate folders with "/"`, ""},
		{"tab", files("a\tb.tflite"), `control character '\t'`, ""},
		{"home", files("~/b.tflite"), `home folder`, ""},
		{"newline", files("a\nb.tflite"), `line break`, ""},
		{"nul", files("a\x00b.tflite"), `NUL`, `NUL`},
		{"out_dir", with(func(b *emit.Build) { b.OutDir = "100%" }), `out_dir "100%"`, ""},
		{"newline in a group", with(func(b *emit.Build) { b.Groups[0].Name = "a\nb" }), `group "a\nb"`, ""},
		{"slash in a group", with(func(b *emit.Build) { b.Groups[0].Name = "../g" }), `group "../g"`, `group "../g"`},
		{"newline in a flag", with(func(b *emit.Build) { b.Flags = []string{"a\nb"} }), `flag "a\nb"`, ""},
		{"newline in the plan", with(func(b *emit.Build) { b.Plan = "a\nb" }), `plan "a\nb"`, ""},
		{"one base name", files("x/a.tflite", "y/a.tflite"), `models "x/a.tflite" and "y/a.tflite" would both be compiled to "build/a_edgetpu.tflite"`, "both be compiled"},
		{"over a model", with(func(b *emit.Build) {
			b.OutDir = "."
			b.Groups[0].Files = []string{"a.tflite", "a_edgetpu.tflite"}
		}), `overwritten by the compiled form of "a.tflite"`, "overwritten"},
		{"two groups of one name", with(func(b *emit.Build) {
			b.Groups = append(b.Groups, emit.Group{Name: "g", Files: []string{"b.tflite"}})
		}), `two groups "g"`, `two groups "g"`},
		{"no model", files(), `group "g" has no model`, `no model`},
		{"no group", with(func(b *emit.Build) { b.Groups = nil }), "no group", "no group"},
		{"no command", with(func(b *emit.Build) { b.Command = nil }), "no compiler command", "no compiler command"},
	}
	for _, test := range tests {
		for format, want := range map[string]string{"make": test.make, "sh": test.sh} {
			t.Run(test.name+" "+format, func(t *testing.T) {
				var out bytes.Buffer
				err := emit.Formats()[format](&out, test.b)
				if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
					t.Errorf("error %v, want %q", err, want)
				}
				if err != nil && out.Len() > 0 {
					t.Errorf("wrote %q before the error", out.String())
				}
			})
		}
	}
	if diff := cmp.Diff([]string{"make", "manifest", "sh"}, emit.Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}
