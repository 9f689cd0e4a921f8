//go:build unix

package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/run/runtest"
)

// The test binary is also the compiler.
func TestMain(m *testing.M) {
	switch os.Getenv("RUN_TEST_AS") {
	case "compiler":
		runtest.Compiler()
	case "installer":
		installer()
	}
	os.Exit(m.Run())
}

// project is a plan's folder with models and their groups.
type project struct {
	dir    string
	groups []Group
}

// newProject makes groups of models, "a b" for each; the fake compiler caches
// 1000 bytes of each model, and that is what is predicted.
func newProject(t *testing.T, groups ...string) *project {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	p := &project{dir: t.TempDir()}
	var splits []string
	for i, names := range groups {
		g := Group{Invocation: compile.Invocation{Command: []string{"env", "RUN_TEST_AS=compiler", self}, OutDir: "build", Group: fmt.Sprint("g", i+1)}}
		for _, name := range strings.Fields(names) {
			g.Files = append(g.Files, name+".tflite")
			g.Models = append(g.Models, Model{Name: name, Cached: 1000})
			splits = append(splits, name+"=1000,0")
			p.write(t, name+".tflite", "the model "+name)
		}
		p.groups = append(p.groups, g)
	}
	t.Setenv("FAKE_EDGETPU_SPLIT", strings.Join(splits, ";"))
	return p
}

func (p *project) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// files are the contents of the output folder, without logs.
func (p *project) files(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(filepath.Join(p.dir, "build"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".log") {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(filepath.Join(p.dir, "build"), path)
		all[name] = string(data)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

func (p *project) run(t *testing.T, ctx context.Context, o Options) []*Result {
	t.Helper()
	var results []*Result
	o.Dir, o.Version = p.dir, compile.V16_0
	if err := Run(ctx, p.groups, o, func(r *Result) { results = append(results, r) }); err != nil {
		t.Fatal(err)
	}
	return results
}

func TestRun(t *testing.T) {
	p := newProject(t, "a b", "c")
	p.write(t, "build/.tpuplan/a_edgetpu.tflite/mark", "")
	for _, jobs := range []int{1, 2, 8} {
		results := p.run(t, t.Context(), Options{Jobs: jobs, ProbeOrder: true})
		for i, r := range results {
			if r.Err != nil || len(r.Differences) > 0 || len(r.Warnings) > 0 || r.Group != &p.groups[i] {
				t.Errorf("-j %d: %+v", jobs, r)
			}
			if (r.Order != nil) != (i == 0) {
				t.Errorf("-j %d: group %d has order %v", jobs, i, r.Order)
			}
		}
		var names []string
		for name := range p.files(t) {
			names = append(names, name)
		}
		slices.Sort(names)
		if diff := cmp.Diff([]string{"a_edgetpu.tflite", "b_edgetpu.tflite", "c_edgetpu.tflite"}, names); diff != "" {
			t.Errorf("-j %d: files in the output folder, and no marks (-want +got):\n%s", jobs, diff)
		}
	}
}

// What a compiler may do wrong, and that it leaves the old files.
func TestFailures(t *testing.T) {
	p := newProject(t, "a b")
	p.run(t, t.Context(), Options{})
	before := p.files(t)
	for mode, want := range map[string]string{
		"die":           "the compiler failed (signal: killed), its output is in build/g1.log",
		"internal":      "internal compiler error, its output is in build/g1.log",
		"not_quantized": `model "a.tflite": the compiler failed: Model not quantized, its output is in build/g1.log`,
		"half":          "the compiler reported success, but wrote no b_edgetpu.tflite; its output is in build/g1.log",
		"empty":         "the compiler reported success, but a_edgetpu.tflite is empty; its output is in build/g1.log",
		"truncated":     "the compiler reported success, but a_edgetpu.tflite cannot be used: truncated: ",
		"touch":         `model "a": a.tflite changed while it was compiled`,
		"silent":        "the compiler did not finish within 300ms and was stopped, its output is in build/g1.log",
		"chatty":        "the compiler printed more than 16.00MiB, its output is in build/g1.log",
		"megabytes":     "the compiler failed (exit status 1), its output is in build/g1.log",
		"hang":          "the compiler did not finish within 300ms and was stopped, its output is in build/g1.log",
		"stubborn":      "the compiler did not finish within 300ms and was stopped, its output is in build/g1.log",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Setenv("FAKE_EDGETPU", mode)
			t.Setenv("FAKE_EDGETPU_PIDS", filepath.Join(p.dir, "pids"))
			o := Options{}
			if strings.Contains(want, "300ms") {
				o.Timeout = 300 * time.Millisecond
			}
			r := p.run(t, t.Context(), o)[0]
			e := (*Error)(nil)
			if !errors.As(r.Err, &e) || !strings.HasPrefix(e.What, want) || r.Built != nil {
				t.Errorf("got %v, want %s", r.Err, want)
			} else if n := len(e.Output); n > tailBytes || strings.Count(e.Output, "\n") >= tailLines || (mode == "megabytes") != strings.HasSuffix(e.Output, "of a new kind") {
				t.Errorf("%d bytes of output are shown: %q", n, e.Output)
			}
			if diff := cmp.Diff(before, p.files(t)); diff != "" {
				t.Errorf("the old files changed (-want +got):\n%s", diff)
			}
			if _, err := os.Stat(filepath.Join(p.dir, "build", ".tpuplan-g1")); err == nil {
				t.Error("the temporary folder is left")
			}
			wantGone(t, filepath.Join(p.dir, "pids"))
			p.write(t, "a.tflite", "the model a")
		})
	}
}

// wantGone checks that no process runs whose id is in the file, if there is one.
func wantGone(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		return
	}
	for _, word := range strings.Fields(string(data)) {
		pid, _ := strconv.Atoi(word)
		for deadline := time.Now().Add(10 * time.Second); running(pid); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("process %d still runs", pid)
				return
			}
		}
	}
	os.Remove(file) //nolint:errcheck // the next test would tell
}

// running is false for a process that only waits for its parent to ask how it ended.
func running(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) && syscall.Kill(pid, 0) == nil
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

// A compiler that dies leaves nothing behind either.
func TestOrphan(t *testing.T) {
	p := newProject(t, "a")
	t.Setenv("FAKE_EDGETPU", "orphan")
	t.Setenv("FAKE_EDGETPU_PIDS", filepath.Join(p.dir, "pids"))
	r := p.run(t, t.Context(), Options{})[0]
	if r.Err == nil || !strings.Contains(r.Err.Error(), "Segmentation fault") {
		t.Errorf("got %v, want the fault", r.Err)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "pids")); err != nil {
		t.Fatal("the double started nothing")
	}
	wantGone(t, filepath.Join(p.dir, "pids"))
}

// One that succeeds does not either: what still writes would write to files in place.
func TestLingering(t *testing.T) {
	p := newProject(t, "a b")
	t.Setenv("FAKE_EDGETPU", "lingering")
	t.Setenv("FAKE_EDGETPU_PIDS", filepath.Join(p.dir, "pids"))
	r := p.run(t, t.Context(), Options{})[0]
	if r.Err != nil || len(r.Built) != 2 {
		t.Errorf("got %v", r.Err)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "pids")); err != nil {
		t.Fatal("the double started nothing")
	}
	wantGone(t, filepath.Join(p.dir, "pids"))
	if got := p.files(t); len(got) != 2 {
		t.Errorf("there are %d files, want 2", len(got))
	}
}

func TestInterruptedGroupsAreLeftAlone(t *testing.T) {
	p := newProject(t, "a", "b", "c")
	t.Setenv("FAKE_EDGETPU", "hang:b")
	pids := filepath.Join(p.dir, "pids")
	t.Setenv("FAKE_EDGETPU_PIDS", pids)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(pids); err == nil {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	results := p.run(t, ctx, Options{})
	for i, finished := range []bool{true, false, false} {
		if r := results[i]; (r.Built != nil) != finished || errors.Is(r.Err, context.Canceled) == finished {
			t.Errorf("group %d: built %v, error %v", i, r.Built, r.Err)
		}
	}
	wantGone(t, pids)
	if got := p.files(t); len(got) != 1 || got["a_edgetpu.tflite"] == "" {
		t.Errorf("there are %d files, want that of a", len(got))
	}
}

func TestTwoRunsInOneFolder(t *testing.T) {
	p := newProject(t, "a")
	if err := os.MkdirAll(filepath.Join(p.dir, "build"), 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := lockFolder(filepath.Join(p.dir, "build"))
	if err != nil {
		t.Fatal(err)
	}
	err = Run(t.Context(), p.groups, Options{Dir: p.dir}, func(*Result) { t.Error("compiled") })
	if err == nil || err.Error() != "out_dir build: another tpuplan compile is at work in it" {
		t.Errorf("got %v", err)
	}
	unlock()
	p.run(t, t.Context(), Options{})
}

func TestRecoverRefusesOtherFiles(t *testing.T) {
	for _, text := range []string{`{"outputs": [{"name": "../x_edgetpu.tflite"}]}`, `{"outputs": [{"name": "plan.toml"}]}`, `{`, `{"outputs": [{}]}`, `{"outputs": ["a_edgetpu.tflite"]}`} {
		out := filepath.Join(t.TempDir(), "odd[name]*")
		temp := filepath.Join(out, ".tpuplan-g")
		if err := errors.Join(os.MkdirAll(temp, 0o755), os.WriteFile(filepath.Join(temp, ".install"), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		if err := Recover(out); err == nil || !strings.Contains(err.Error(), "not a journal") {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

// Words are what a shell says they are.
func TestWords(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"edgetpu_compiler", `docker run -v "$PWD":/w -w /w 'my image' edgetpu_compiler`, `a\ b "c  d" $HOME/x`, ""} {
		cmd := exec.Command("sh", "-c", "for w in "+text+"; do echo \"<$w>\"; done")
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		words, err := Words(t.Context(), dir, text)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, w := range words {
			got += "<" + w + ">\n"
		}
		if diff := cmp.Diff(string(out), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	for _, text := range []string{`a "b`, "a; exit 3", "$("} {
		if words, err := Words(t.Context(), dir, text); err == nil {
			t.Errorf("%s: got %q, want an error", text, words)
		}
	}
}
