//go:build unix

package run

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/emit"
)

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func sum(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

// staged is the work on a group of models of which the new outputs are in the
// temporary folder.
func staged(t testing.TB, out string, models ...string) (*work, []Built) {
	t.Helper()
	w := &work{Options: &Options{}, Result: &Result{Group: &Group{Mark: "mark"}}, out: out, temp: filepath.Join(out, ".tpuplan-g")}
	var built []Built
	write(t, w.temp, startName, "")
	for _, name := range models {
		w.Group.Files = append(w.Group.Files, name+".tflite")
		built = append(built, Built{sum: sum("new")})
		write(t, w.temp, name+"_edgetpu.tflite", "new")
		write(t, w.temp, name+"_edgetpu.log", "new log")
		write(t, filepath.Join(out, compile.MarkFolder, name+"_edgetpu.tflite"), "mark", "")
	}
	return w, built
}

// visible are the outputs that a user of the folder finds.
func visible(out string) map[string]string {
	got := map[string]string{}
	paths, _ := filepath.Glob(filepath.Join(globEscape(out), "*_edgetpu.tflite"))
	for _, path := range paths {
		data, _ := os.ReadFile(path)
		got[strings.TrimSuffix(filepath.Base(path), "_edgetpu.tflite")] = string(data)
	}
	return got
}

// all are outputs of the same text.
func all(text string, models ...string) map[string]string {
	m := map[string]string{}
	for _, name := range models {
		m[name] = text
	}
	return m
}

// installer is a process that moves the group in a folder into place and kills
// itself before a step. Its exit code is 0 if it came to the end.
func installer() {
	step, _ := strconv.Atoi(os.Getenv("RUN_TEST_STEP"))
	beforeStep = func() {
		if step--; step == 0 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // the test would tell
			select {}
		}
	}
	out := os.Getenv("RUN_TEST_OUT")
	if os.Getenv("RUN_TEST_RECOVER") != "" {
		if err := Recover(out); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	w := &work{Options: &Options{}, Result: &Result{Group: &Group{Mark: "mark"}}, out: out, temp: filepath.Join(out, ".tpuplan-g")}
	var built []Built
	for _, name := range strings.Fields(os.Getenv("RUN_TEST_MODELS")) {
		w.Group.Files = append(w.Group.Files, name+".tflite")
		built = append(built, Built{sum: sum("new")})
	}
	if err := w.install(built); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// install runs an installer to its death before a step, and waits until its
// guard, if it has one, has done its work. It reports whether there are so many steps.
func killed(t *testing.T, out, models string, step int, guarded bool, env ...string) bool {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "RUN_TEST_AS=installer", "RUN_TEST_OUT="+out, "RUN_TEST_MODELS="+models, "RUN_TEST_STEP="+strconv.Itoa(step))
	cmd.Env = append(cmd.Env, env...)
	if !guarded {
		cmd.Env = append(cmd.Env, "PATH=") // where no shell is
	}
	text, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() >= 0) {
		t.Fatalf("%v: %s", err, text)
	}
	lockJournal(filepath.Join(out, ".tpuplan-g", journalName)).Close() //nolint:errcheck // nil if there is no journal
	return err != nil
}

// A process that is killed before any step of a replacement, or of the next
// start's recovery, leaves the group as it was or all new. If the guard does
// not live either, files are missing at worst, until the next start.
func TestKilledAtAnyStep(t *testing.T) {
	models := []string{"a", "b", "c"}
	for _, old := range []string{"", "b", "a b c"} {
		was := all("old", strings.Fields(old)...)
		for _, guarded := range []bool{true, false} {
			steps := 0
			for alive := true; alive; steps++ {
				out := t.TempDir()
				staged(t, out, models...)
				for name := range was {
					write(t, out, name+"_edgetpu.tflite", "old")
				}
				name := fmt.Sprintf("old files %q, guard %v, killed before step %d", old, guarded, steps+1)
				alive = killed(t, out, strings.Join(models, " "), steps+1, guarded)
				got := visible(out)
				switch whole := cmp.Equal(got, was) || cmp.Equal(got, all("new", models...)); {
				case guarded && !whole:
					t.Errorf("%s: there are %v", name, got)
				case strings.Contains(fmt.Sprint(got), "old") && strings.Contains(fmt.Sprint(got), "new"):
					t.Errorf("%s: a mixture: %v", name, got)
				case !whole && len(Unfinished(out)) != 1:
					t.Errorf("%s: there are %v, and no group is said to be unfinished", name, got)
				}
				// No output passes for finished that is not the new one.
				for _, m := range models {
					if exists(filepath.Join(out, compile.MarkFolder, m+"_edgetpu.tflite"), "mark") && got[m] != "new" && !cmp.Equal(got, was) {
						t.Errorf("%s: %s is marked as built and is %q", name, m, got[m])
					}
				}
				if err := Recover(out); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if got := visible(out); !cmp.Equal(got, was) && !cmp.Equal(got, all("new", models...)) {
					t.Errorf("%s: after the next start there are %v", name, got)
				}
				if left := Unfinished(out); len(left) > 0 {
					t.Errorf("%s: after the next start %v is unfinished", name, left)
				}
			}
			if steps < 14 {
				t.Errorf("only %d steps", steps)
			}
		}
	}
}

func TestRecoveryKilledAtAnyStep(t *testing.T) {
	for begun := 6; begun < 11; begun++ { // between the first and the last move
		for _, guarded := range []bool{true, false} {
			for step, alive := 1, true; alive; step++ {
				out := t.TempDir()
				staged(t, out, "a", "b")
				write(t, out, "a_edgetpu.tflite", "old")
				write(t, out, "b_edgetpu.tflite", "old")
				if !killed(t, out, "a b", begun, false) {
					t.Fatal("there are fewer steps")
				}
				alive = killed(t, out, "", step, guarded, "RUN_TEST_RECOVER=1")
				if got := visible(out); guarded && !cmp.Equal(got, all("new", "a", "b")) && !cmp.Equal(got, all("old", "a", "b")) && step > 2 {
					t.Errorf("killed before step %d, then before step %d of the recovery: there are %v", begun, step, got)
				}
				if err := Recover(out); err != nil {
					t.Error(err)
				}
				if got := visible(out); !cmp.Equal(got, all("new", "a", "b")) && !cmp.Equal(got, all("old", "a", "b")) {
					t.Errorf("killed before step %d, then before step %d of the recovery: at last there are %v", begun, step, got)
				}
			}
		}
	}
}

// A group of one model is never without its file.
func TestKilledAloneAtAnyStep(t *testing.T) {
	for step, alive := 1, true; alive; step++ {
		out := t.TempDir()
		staged(t, out, "a")
		write(t, out, "a_edgetpu.tflite", "old")
		alive = killed(t, out, "a", step, false)
		if got := visible(out); !cmp.Equal(got, all("old", "a")) && !cmp.Equal(got, all("new", "a")) {
			t.Errorf("killed before step %d: there are %v", step, got)
		}
		if left := Unfinished(out); len(left) > 0 {
			t.Errorf("killed before step %d: %v is unfinished", step, left)
		}
	}
}

// After a kill at any step make leaves a group of one piece as well, and then
// has nothing to do. The compiler is the fake one; what it writes is not "old".
func TestMakeAfterKill(t *testing.T) {
	gnu, err := exec.LookPath("make")
	if err != nil {
		t.Skip(err)
	}
	for _, features := range []string{"", ".FEATURES="} { // with grouped targets, and without
		p := newProject(t, "a b")
		b := &emit.Build{Command: p.groups[0].Command, OutDir: "build", Groups: []emit.Group{{Name: "g", Files: p.groups[0].Files}}}
		mk, err := os.Create(filepath.Join(p.dir, "build.mk"))
		if err == nil {
			err = errors.Join(emit.Make(mk, b), mk.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		step := 0
		run := func() string {
			cmd := exec.Command(gnu, "-f", "build.mk", features)
			if features == "" {
				cmd.Args = cmd.Args[:3]
			}
			cmd.Dir = p.dir
			text, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("make, killed before step %d: %v\n%s", step, err, text)
			}
			return string(text)
		}
		run()
		out := filepath.Join(p.dir, "build")
		made := visible(out) // the double compiles the same files to the same bytes
		for alive := true; alive; {
			step++
			staged(t, out, "a", "b")
			alive = killed(t, out, "a b", step, false)
			run()
			if got := visible(out); !cmp.Equal(got, made) && !cmp.Equal(got, all("new", "a", "b")) {
				t.Errorf("killed before step %d: after make there are files of %d names", step, len(got))
			}
			if text := run(); strings.Contains(text, " -o ") {
				t.Errorf("killed before step %d: the second make compiles again:\n%s", step, text)
			}
			if err := Recover(out); err != nil {
				t.Error(err)
			}
			if got := visible(out); !cmp.Equal(got, made) && !cmp.Equal(got, all("new", "a", "b")) {
				t.Errorf("killed before step %d: after make and the next start there are %d files", step, len(got))
			}
		}
	}
}

// What was built after the journal was written is newer than what it announces.
func TestRecoverIsOvertaken(t *testing.T) {
	out := t.TempDir()
	s := journalled(t, out, "a", "b")
	later := time.Now().Add(time.Minute)
	for _, o := range s.outputs {
		write(t, out, o.Name, "newer")
		if err := os.Chtimes(filepath.Join(out, o.Name), later, later); err != nil {
			t.Fatal(err)
		}
	}
	if err := Recover(out); err != nil {
		t.Fatal(err)
	}
	if got := visible(out); !cmp.Equal(got, all("newer", "a", "b")) {
		t.Errorf("there are %v", got)
	}
	if exists(out, ".tpuplan-g") {
		t.Error("the journal is left")
	}
}

// journalled is a group whose journal is written.
func journalled(t testing.TB, out string, models ...string) *stage {
	t.Helper()
	w, _ := staged(t, out, models...)
	s := &stage{out: out, temp: w.temp}
	for _, name := range models {
		s.outputs = append(s.outputs, output{name + "_edgetpu.tflite", sum("new")})
	}
	if err := s.begin(); err != nil {
		t.Fatal(err)
	}
	return s
}

// A journal of which some new files are gone, as after a "make" that was
// killed while it removed the temporary folder, must not make a mixture.
func TestRecoverWithoutAllFiles(t *testing.T) {
	a, b := "a_edgetpu.tflite", "b_edgetpu.tflite"
	for _, test := range []struct {
		name   string
		change func(out, temp string)
		want   map[string]string
	}{
		{"none moved", func(_, temp string) { os.Remove(filepath.Join(temp, a)) }, all("old", "a", "b")},
		{"damaged", func(_, temp string) { os.WriteFile(filepath.Join(temp, a), []byte("ne"), 0o644) }, all("old", "a", "b")},
		{"an old one moved", func(out, temp string) {
			os.Mkdir(filepath.Join(temp, oldName), 0o755)
			os.Rename(filepath.Join(out, a), filepath.Join(temp, oldName, a))
			os.Remove(filepath.Join(temp, b))
		}, all("old", "a", "b")},
		{"a new one in place", func(out, temp string) {
			os.Mkdir(filepath.Join(temp, oldName), 0o755)
			os.Rename(filepath.Join(out, a), filepath.Join(temp, oldName, a))
			os.Rename(filepath.Join(out, b), filepath.Join(temp, oldName, b))
			os.Rename(filepath.Join(temp, a), filepath.Join(out, a))
			os.Remove(filepath.Join(temp, b))
		}, all("new", "a")},
		{"all of it moved", func(out, temp string) {
			os.Rename(filepath.Join(temp, a), filepath.Join(out, a))
			os.Rename(filepath.Join(temp, b), filepath.Join(out, b))
		}, all("new", "a", "b")},
	} {
		t.Run(test.name, func(t *testing.T) {
			out := t.TempDir()
			write(t, out, a, "old")
			write(t, out, b, "old")
			s := journalled(t, out, "a", "b")
			test.change(out, s.temp)
			if err := Recover(out); err != nil {
				t.Fatal(err)
			}
			if got := visible(out); !cmp.Equal(got, test.want) {
				t.Errorf("there are %v, want %v", got, test.want)
			}
			if len(Unfinished(out)) > 0 || exists(out, ".tpuplan-g") {
				t.Error("the journal is left")
			}
		})
	}
}

// A replacement that fails on the way is undone. What stands in the way of the
// last move, a folder, is gone when the first one is taken back.
func TestInstallIsUndone(t *testing.T) {
	out := t.TempDir()
	w, built := staged(t, out, "a", "b")
	write(t, out, "a_edgetpu.tflite", "old")
	write(t, out, "b_edgetpu.tflite", "old")
	obstacle := filepath.Join(out, "b_edgetpu.tflite")
	step := 0
	beforeStep = func() {
		switch step++; {
		case !exists(out, "b_edgetpu.tflite") && exists(out, "a_edgetpu.tflite") && step < 100:
			write(t, obstacle, "x", "")
			step = 100
		case step == 101:
			os.RemoveAll(obstacle) //nolint:errcheck // the test would tell
		}
	}
	defer func() { beforeStep = func() {} }()
	if err := w.install(built); err == nil || !strings.Contains(err.Error(), "the outputs were not replaced: b_edgetpu.tflite: ") {
		t.Errorf("got %v", err)
	}
	if step < 102 {
		t.Errorf("nothing was taken back")
	}
	if got := visible(out); !cmp.Equal(got, all("old", "a", "b")) {
		t.Errorf("there are %v", got)
	}
	if exists(w.temp, journalName) {
		t.Error("the journal is left, and the next start would try again")
	}
}

// What cannot be taken back stays where the next start finds it.
func TestInstallThatCannotBeUndone(t *testing.T) {
	p := newProject(t, "a b")
	p.run(t, t.Context(), Options{})
	before := p.files(t)
	obstacle := filepath.Join(p.dir, "build", "b_edgetpu.tflite")
	armed := true
	beforeStep = func() {
		if out := filepath.Dir(obstacle); armed && exists(filepath.Join(out, ".tpuplan-g1", oldName), "b_edgetpu.tflite") {
			armed = false
			write(t, obstacle, "x", "")
		}
	}
	defer func() { beforeStep = func() {} }()
	r := p.run(t, t.Context(), Options{})[0]
	if r.Err == nil || !strings.Contains(r.Err.Error(), "files of the group are left in ") {
		t.Fatalf("got %v", r.Err)
	}
	if got := Unfinished(filepath.Dir(obstacle)); !cmp.Equal(got, []string{"g1"}) {
		t.Errorf("unfinished are %v", got)
	}
	if err := os.RemoveAll(obstacle); err != nil {
		t.Fatal(err)
	}
	if err := Recover(filepath.Dir(obstacle)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, p.files(t)); diff != "" { // the same models give the same files
		t.Errorf("after the next start (-want +got):\n%s", diff)
	}
}

// What install leaves is what make leaves: outputs, logs, marks no younger than outputs.
func TestInstallLeavesMarks(t *testing.T) {
	out := t.TempDir()
	w, built := staged(t, out, "a", "b")
	early := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(w.temp, "a_edgetpu.tflite"), early, early); err != nil { // a clock of a container
		t.Fatal(err)
	}
	if err := w.install(built); err != nil || len(w.Warnings) > 0 {
		t.Fatal(err, w.Warnings)
	}
	for _, name := range []string{"a_edgetpu.tflite", "b_edgetpu.tflite"} {
		output, err := os.Stat(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		mark, err := os.Stat(filepath.Join(out, compile.MarkFolder, name, "mark"))
		if err != nil {
			t.Fatal(err)
		}
		if mark.ModTime().After(output.ModTime()) {
			t.Errorf("%s is of %v, its mark of %v", name, output.ModTime(), mark.ModTime())
		}
		if !exists(out, strings.TrimSuffix(name, ".tflite")+".log") {
			t.Errorf("no operation log of %s", name)
		}
	}
	// Where a mark cannot be made the group is built, and make builds it again.
	w, built = staged(t, out, "a", "b")
	w.Group.Mark = "a folder/mark"
	if err := w.install(built); err != nil || len(w.Warnings) != 1 || !strings.Contains(w.Warnings[0], "make will compile it again: ") {
		t.Errorf("%v, warnings %q", err, w.Warnings)
	}
	entries, err := os.ReadDir(filepath.Join(out, compile.MarkFolder, "a_edgetpu.tflite"))
	if len(entries) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("marks are left: %v, %v", entries, err)
	}
}
