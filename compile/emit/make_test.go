package emit_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tpuplan/tpuplan/compile/emit"
)

// maker is a make that fragments must work with.
type maker struct {
	name    string
	program string
	args    []string
}

// gnu finds GNU make.
func gnu(t testing.TB) maker {
	return maker{name: "GNU make", program: tool(t, "make")}
}

// makers runs a test with every make. What GNU make does without grouped
// targets is what it did before 4.3.
func makers(t *testing.T, test func(t *testing.T, m maker)) {
	t.Run("GNU make", func(t *testing.T) { test(t, gnu(t)) })
	t.Run("old GNU make", func(t *testing.T) {
		test(t, maker{name: "old GNU make", program: tool(t, "make"), args: []string{".FEATURES="}})
	})
	t.Run("bmake", func(t *testing.T) { test(t, maker{name: "bmake", program: tool(t, "bmake")}) })
}

// run runs the fragment build.mk.
func (m maker) run(p *project, env []string, args ...string) result {
	p.t.Helper()
	return p.run(env, m.program, slices.Concat(m.args, []string{"-f", "build.mk"}, args)...)
}

// dryCalls reads back what make -n prints: the last words of every recipe line
// that runs the compiler, after sh -c TEXT tpuplan OUT_DIR GROUP MARK N OUTPUT...
func dryCalls(t testing.TB, m maker, p *project) [][]string {
	t.Helper()
	r := m.run(p, nil, "-n")
	if r.exit != 0 || r.calls != nil {
		t.Fatalf("make -n: exit %d, %d calls\n%s", r.exit, len(r.calls), r.stderr)
	}
	var calls [][]string
	for line := range strings.Lines(strings.ReplaceAll(r.stdout, "\\\n", " ")) {
		if !strings.Contains(line, " -o ") {
			continue
		}
		words := shellWords(t, line)
		models := int(words[7][0] - '0')
		calls = append(calls, words[8+models:])
	}
	slices.SortFunc(calls, slices.Compare[[]string])
	return calls
}

// TestMakeAlone: run by itself a fragment builds everything, even if blanks in
// its name make several words of it.
func TestMakeAlone(t *testing.T) {
	makers(t, func(t *testing.T, m maker) {
		b := twoGroups()
		b.Output = "my build $1.mk"
		p := newProject(t)
		p.emit(b.Output, emit.Make, b)
		r := p.run(nil, m.program, slices.Concat(m.args, []string{"-n", "-f", b.Output})...)
		if r.exit != 0 || !strings.Contains(r.stdout, "b.tflite") {
			t.Errorf("exit %d\n%s%s", r.exit, r.stdout, r.stderr)
		}
	})
}

func TestMake(t *testing.T) {
	makers(t, func(t *testing.T, m maker) {
		b := twoGroups()
		p := newProject(t)
		p.emit("build.mk", emit.Make, b)

		if diff := cmp.Diff(argvs(b), dryCalls(t, m, p)); diff != "" {
			t.Errorf("make -n (-want +got):\n%s", diff)
		}
		built(t, m.run(p, nil, "-j4"), b, 0, 1)
		if got, want := p.read("build/b_edgetpu.tflite"), "-s -m 13 -o build/.tpuplan-usb-1 models/a.tflite b.tflite\nweights of b.tflite\n"; got != want {
			t.Errorf("b is %q, want %q", got, want)
		}
		p.read("build/usb-1.log")
		if got := p.read("build/a_edgetpu.log"); got != "the ops\n" {
			t.Errorf("the operation log is %q", got)
		}
		built(t, m.run(p, nil), b)
		if got := dryCalls(t, m, p); got != nil {
			t.Errorf("make -n after make still wants %q", got)
		}
		if m.name != "bmake" { // which never takes a phony target for done
			if r := m.run(p, nil, "-q"); r.exit != 0 {
				t.Errorf("make -q after make: exit %d", r.exit)
			}
		}

		p.age()
		built(t, m.run(p, nil), b)
		p.write("models/c.tflite", "new weights")
		built(t, m.run(p, nil), b, 1)
		p.write("b.tflite", "new weights")
		built(t, m.run(p, nil), b, 0)
		built(t, m.run(p, nil), b)

		// Another order, and what follows from the name of a group alone.
		slices.Reverse(b.Groups[0].Files)
		b.Groups[1].Name = "renamed"
		p.emit("build.mk", emit.Make, b)
		built(t, m.run(p, nil), b, 0)
		built(t, m.run(p, nil), b)

		b.Flags = []string{"-a"}
		p.emit("build.mk", emit.Make, b)
		built(t, m.run(p, nil), b, 0, 1)
		built(t, m.run(p, nil), b)
		flags := *b
		flags.Flags = []string{"-m", "12"}
		built(t, m.run(p, []string{"EDGETPU_COMPILER_FLAGS=-m 12"}), &flags, 0, 1)
		built(t, m.run(p, []string{"EDGETPU_COMPILER_FLAGS=-m 12"}), &flags)
		built(t, m.run(p, nil), b, 0, 1)

		// Into other groups and back: the old files must not pass for new ones.
		apart := *b
		apart.Groups = []emit.Group{{Name: "usb-1", Files: b.Groups[0].Files[:1]}, {Name: "usb-2", Files: []string{"models/c.tflite", "models/a.tflite"}}}
		p.emit("build.mk", emit.Make, &apart)
		built(t, m.run(p, nil), &apart, 0, 1)
		built(t, m.run(p, nil), &apart)
		p.emit("build.mk", emit.Make, b)
		built(t, m.run(p, nil), b, 0, 1)
		alone := *b
		alone.Groups = []emit.Group{{Name: "usb-1", Files: b.Groups[0].Files[1:]}}
		p.emit("build.mk", emit.Make, &alone)
		built(t, m.run(p, nil), &alone, 0)
		p.emit("build.mk", emit.Make, b)
		built(t, m.run(p, nil), b, 0)

		if err := os.Remove(filepath.Join(p.dir, "build/a_edgetpu.tflite")); err != nil {
			t.Fatal(err)
		}
		if m.name != "GNU make" {
			r := m.run(p, nil)
			if want := "build/a_edgetpu.tflite is gone: run make again"; r.exit == 0 || !strings.Contains(r.stderr+r.stdout, want) {
				t.Errorf("exit %d: %s, want %q", r.exit, r.stderr+r.stdout, want)
			}
		}
		built(t, m.run(p, nil), b, 0)

		p.write("build/mine", "kept")
		built(t, m.run(p, nil, "tpuplan-clean"), b)
		left, err := os.ReadDir(filepath.Join(p.dir, "build"))
		if err != nil || len(left) != 2 || left[0].Name() != "mine" || left[1].Name() != "usb-2.log" { // of a group that is no more
			t.Errorf("make tpuplan-clean leaves %v, %v", left, err)
		}
	})
}

func TestMakeFailures(t *testing.T) {
	makers(t, func(t *testing.T, m maker) {
		b := twoGroups()
		p := newProject(t)
		p.emit("build.mk", emit.Make, b)
		built(t, m.run(p, nil), b, 0, 1)
		p.age()
		checkFailures(t, p, m.program, append(m.args, "-f", "build.mk")...)
	})
}

// A kill between two moves leaves a new file beside an old one; both may be
// newer than every model, and the group must still not pass for built.
func TestMakeKilled(t *testing.T) {
	makers(t, func(t *testing.T, m maker) {
		b := twoGroups()
		p := newProject(t)
		p.emit("build.mk", emit.Make, b)
		built(t, m.run(p, nil), b, 0, 1)
		slices.Reverse(b.Groups[0].Files)
		p.emit("build.mk", emit.Make, b)
		p.program("mv", `case "$*" in *a_edgetpu.tflite) kill -9 $PPID; exit 1; esac; PATH=${PATH#*:}; exec mv "$@"`)
		r := m.run(p, nil)
		a, b2 := p.read("build/a_edgetpu.tflite"), p.read("build/b_edgetpu.tflite")
		if r.exit == 0 || !strings.Contains(a, "a.tflite b.tflite\n") || !strings.Contains(b2, "b.tflite models/a.tflite\n") {
			t.Fatalf("not killed half-way: exit %d\n%s%s", r.exit, a, b2)
		}
		if err := os.Remove(filepath.Join(filepath.Dir(p.calls), "mv")); err != nil {
			t.Fatal(err)
		}
		built(t, m.run(p, nil, "build/a_edgetpu.tflite"), b, 0)
		built(t, m.run(p, nil), b)
		slices.Reverse(b.Groups[0].Files)
		p.emit("build.mk", emit.Make, b)
		built(t, m.run(p, nil), b, 0)
	})
}

func TestMakeShellAndBack(t *testing.T) {
	m := gnu(t)
	b := twoGroups()
	p := newProject(t)
	p.emit("build.mk", emit.Make, b)
	built(t, m.run(p, nil), b, 0, 1)
	p.emit("build.sh", emit.Shell, b)
	built(t, p.run(nil, tool(t, "sh"), "build.sh"), b, 0, 1)
	built(t, m.run(p, nil), b, 0, 1) // make cannot know what the script compiled with
}

func TestMakeIncluded(t *testing.T) {
	makers(t, func(t *testing.T, m maker) {
		b := twoGroups()
		p := newProject(t)
		p.emit("build.mk", emit.Make, b)
		for name, text := range map[string]string{
			"first": "include build.mk\nmine:\n\t@echo mine\n",
			"last":  "mine:\n\t@echo mine\ninclude build.mk\n",
		} {
			text += "app: build/c_edgetpu.tflite\n\t@echo app\n.PHONY: mine app\n"
			if m.name != "bmake" {
				text += "%:\n\t@echo no rule for $@; exit 1\n"
			}
			p.write("Makefile", text)
			r := p.run(nil, m.program, m.args...)
			built(t, r, b)
			if r.stdout != "mine\n" {
				t.Errorf("%s: default goal printed %q", name, r.stdout)
			}
			r = p.run(nil, m.program, append(m.args, "app")...)
			built(t, r, b, 1)
			if !strings.HasSuffix(r.stdout, "app\n") {
				t.Errorf("%s: make app printed %q", name, r.stdout)
			}
			built(t, p.run(nil, m.program, append(m.args, "app")...), b)
			built(t, p.run(nil, m.program, append(m.args, "tpuplan-clean")...), b)
		}
	})
}

func TestMakeVariables(t *testing.T) {
	makers(t, func(t *testing.T, m maker) {
		b := twoGroups()
		p := newProject(t)
		p.emit("build.mk", emit.Make, b)
		p.program("container", `printf 'mount %s\n' "$2"; shift 2; exec "$@"`)
		pwd, err := filepath.EvalSymlinks(p.dir)
		if err != nil {
			t.Fatal(err)
		}
		want := "mount " + pwd + ":/w 1\n"

		built(t, m.run(p, nil, "EDGETPU_COMPILER=container -v "+pwd+":/w\\ 1 edgetpu_compiler"), b, 0, 1)
		if got := p.read("build/usb-1.log"); !strings.HasPrefix(got, want) {
			t.Errorf("from the command line: the log is %q, want %q", got, want)
		}
		built(t, m.run(p, nil, "EDGETPU_COMPILER=container -v '"+pwd+":/w'' 1' edgetpu_compiler"), b)
		if m.name != "bmake" {
			env := []string{`EDGETPU_COMPILER=container -v "$PWD:/w 1" edgetpu_compiler`}
			built(t, m.run(p, env), b) // the same words, so nothing to do
			built(t, m.run(p, env, "TPUPLAN_OUT_DIR=else/where"), func() *emit.Build { c := *b; c.OutDir = "else/where"; return &c }(), 0, 1)
			if got := p.read("else/where/usb-1.log"); !strings.HasPrefix(got, want) {
				t.Errorf("from the environment: the log is %q, want %q", got, want)
			}
		}

		// A Makefile may set them too, before or after.
		p.write("Makefile", "TOOL = edgetpu_compiler\nEDGETPU_COMPILER = container -v x $(TOOL)\ninclude build.mk\n")
		built(t, p.run(nil, m.program, append(m.args, "tpuplan-all")...), b, 0, 1)

		// Words of the plan that make and the shell would change.
		words := *b
		words.Command = []string{"container", "-v", `$PWD it's #1 \# \\# $(x) ~`, "edgetpu_compiler"}
		p.emit("build.mk", emit.Make, &words)
		if diff := cmp.Diff(argvs(&words), dryCalls(t, m, p)); diff != "" {
			t.Errorf("make -n (-want +got):\n%s", diff)
		}
		built(t, m.run(p, nil), b, 0, 1)
		if got, want := p.read("build/usb-1.log"), `mount $PWD it's #1 \# \\# $(x) ~`; !strings.HasPrefix(got, want) {
			t.Errorf("the log is %q, want %q", got, want)
		}
	})
}

func TestMakeTool(t *testing.T) {
	makers(t, func(t *testing.T, m maker) {
		b := twoGroups()
		b.Plan = "it's $my plan #1.toml"
		p := newProject(t)
		p.program("tpuplan", `printf '<%s>' "$@"`)
		p.emit("build.mk", emit.Make, b)
		for target, want := range map[string]string{
			"tpuplan-check":      "<optimize><--check><it's $my plan #1.toml>",
			"tpuplan-regenerate": "<optimize><--emit><make><-o><build.mk><plan.toml>",
		} {
			if r := m.run(p, nil, "-s", target); r.stdout != want || r.exit != 0 {
				t.Errorf("make %s: exit %d, %q, want %q", target, r.exit, r.stdout, want)
			}
		}
		b.Check = []string{"tpuplan", "optimize", "--check", "--compiler", "15.0", "p"}
		p.emit("build.mk", emit.Make, b)
		if r := m.run(p, []string{"TPUPLAN=tpuplan -q"}, "-s", "tpuplan-check"); r.stdout != "<-q><optimize><--check><--compiler><15.0><p>" {
			t.Errorf("make tpuplan-check printed %q", r.stdout)
		}
		b.Check, b.Regenerate, b.Plan = nil, nil, ""
		p.emit("build.mk", emit.Make, b)
		if r := m.run(p, nil, "tpuplan-check", "tpuplan-regenerate"); r.exit == 0 {
			t.Errorf("a rule without a command: %q", r.stdout)
		}
	})
}

// The header's advice: without the guard GNU make would start over for ever.
func TestMakeRestarts(t *testing.T) {
	m := gnu(t)
	b := twoGroups()
	p := newProject(t)
	p.program("tpuplan", "touch build.mk; echo again")
	p.emit("build.mk", emit.Make, b)
	p.write("plan.toml", "")
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(p.dir, "plan.toml"), later, later); err != nil {
		t.Fatal(err)
	}
	p.write("Makefile", "all: tpuplan-all\ninclude build.mk\nifndef MAKE_RESTARTS\nbuild.mk: plan.toml\n\ttpuplan\nendif\n")
	r := p.run(nil, m.program)
	built(t, r, b, 0, 1)
	if got := strings.Count(r.stdout, "again"); got != 1 {
		t.Errorf("%d restarts\n%s%s", got, r.stdout, r.stderr)
	}
}

// TestMakeNames builds with names that make has to be protected from.
func TestMakeNames(t *testing.T) {
	m := gnu(t)
	name := rapid.Custom(func(t *rapid.T) string {
		return rapid.OneOf(
			rapid.SampledFrom([]string{"a=b", "a:=b", "-a", "&", "a&", "#", "$", "$$", "$x", "${x}", "a b", " a", "a ", "'", `"`, "[a]", "a]", "*", "a?", "a:b", "::", ".a", "a.b", "@a", "+a", "!a", "a~", "`a`", "{a,b}", "<>", "^", ",", "é", "\xff", "モデル", ".PHONY", "export", "include", "define", "a ~b"}),
			rapid.StringMatching("[-a-c~.$'\"`!# *?&<>{}\\[\\]=:,^@+_éモ]{1,6}"),
		).Filter(func(s string) bool { return !strings.HasPrefix(s, "~") && s != "." && s != ".." }).Draw(t, "name")
	})
	rapid.Check(t, func(rt *rapid.T) {
		b := &emit.Build{
			Command: []string{"edgetpu_compiler"},
			OutDir:  rapid.OneOf(rapid.Just("build"), rapid.Just("."), rapid.Just("-o/é"), name).Draw(rt, "out_dir"),
		}
		bases := rapid.SliceOfNDistinct(name, 2, 5, rapid.ID).Draw(rt, "bases")
		for i, base := range bases {
			file := base + ".tflite"
			if rapid.Bool().Draw(rt, "in a folder") {
				file = name.Draw(rt, "folder") + "/" + file
			}
			if i%3 == 0 {
				b.Groups = append(b.Groups, emit.Group{Name: name.Draw(rt, "group") + strings.Repeat(";", i)})
			}
			g := &b.Groups[len(b.Groups)-1]
			g.Files = append(g.Files, file)
		}
		p := newProject(t)
		defer os.RemoveAll(p.dir)
		p.emit("build.mk", emit.Make, b)
		want := argvs(b)
		if diff := cmp.Diff(want, dryCalls(t, m, p)); diff != "" {
			rt.Errorf("make -n (-want +got):\n%s", diff)
		}
		if r := m.run(p, nil); r.exit != 0 || !cmp.Equal(want, r.calls) {
			rt.Fatalf("exit %d, calls (-want +got):\n%s\n%s", r.exit, cmp.Diff(want, r.calls), r.stderr)
		}
		if r := m.run(p, nil, "-q"); r.exit != 0 {
			rt.Fatalf("make -q after make: exit %d\n%s", r.exit, m.run(p, nil, "--debug=v", "-n").stdout)
		}
		p.age()
		last := b.Groups[len(b.Groups)-1]
		p.write(last.Files[len(last.Files)-1], "new weights")
		one := *b
		one.Groups = []emit.Group{last}
		if r := m.run(p, nil); r.exit != 0 || !cmp.Equal(argvs(&one), r.calls) {
			rt.Fatalf("after a change: exit %d, calls (-want +got):\n%s\n%s", r.exit, cmp.Diff(argvs(&one), r.calls), r.stderr)
		}
	})
}

// Names that are patterns must not stand for the files that they match.
func TestMakePatterns(t *testing.T) {
	m := gnu(t)
	file := func(base string) string {
		if strings.HasSuffix(base, " ") { // nothing may trim it
			return base
		}
		return base + ".tflite"
	}
	for _, pattern := range []string{"[a]", "?", "*", "[a", "a]", "c.tflite "} {
		t.Run(pattern, func(t *testing.T) {
			b := &emit.Build{
				Command: []string{"edgetpu_compiler"}, OutDir: "build",
				Groups: []emit.Group{{Name: "1", Files: []string{file(pattern)}}, {Name: "2", Files: []string{"a.tflite", "b.tflite"}}},
			}
			p := newProject(t)
			p.emit("build.mk", emit.Make, b)
			built(t, m.run(p, nil), b, 0, 1)
			built(t, m.run(p, nil), b)
			p.age()
			p.write("a.tflite", "new weights")
			built(t, m.run(p, nil), b, 1)
			p.age()
			p.write(file(pattern), "new weights")
			built(t, m.run(p, nil), b, 0)
			built(t, m.run(p, nil), b)
		})
	}
}
