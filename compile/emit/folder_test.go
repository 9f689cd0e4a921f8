package emit_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile/emit"
)

// inFolders compiles one model twice, into folders side by side.
func inFolders() *emit.Build {
	return &emit.Build{
		Lock: "plan.lock.json", Output: "build.mk", Command: []string{"edgetpu_compiler"}, OutDir: "build",
		Groups: []emit.Group{
			{Name: "a", Files: []string{"models/a.tflite"}, Folder: "alone"},
			{Name: "all", Files: []string{"models/a.tflite", "b.tflite"}, Folder: "as-given"},
			{Name: "plain", Files: []string{"c.tflite"}},
		},
	}
}

var inFoldersCalls = [][]string{
	{"edgetpu_compiler", "-o", "build/.tpuplan-plain", "c.tflite"},
	{"edgetpu_compiler", "-o", "build/alone/.tpuplan-a", "models/a.tflite"},
	{"edgetpu_compiler", "-o", "build/as-given/.tpuplan-all", "models/a.tflite", "b.tflite"},
}

// builtInFolders checks what lies where.
func builtInFolders(t *testing.T, p *project, r result) {
	t.Helper()
	if r.exit != 0 {
		t.Fatalf("exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
	if diff := cmp.Diff(inFoldersCalls, r.calls); diff != "" {
		t.Errorf("compiler calls (-want +got):\n%s", diff)
	}
	for file, want := range map[string]string{
		"build/alone/a_edgetpu.tflite":    "-o build/alone/.tpuplan-a models/a.tflite\nweights of models/a.tflite\n",
		"build/as-given/a_edgetpu.tflite": "-o build/as-given/.tpuplan-all models/a.tflite b.tflite\nweights of models/a.tflite\n",
		"build/as-given/b_edgetpu.tflite": "-o build/as-given/.tpuplan-all models/a.tflite b.tflite\nweights of b.tflite\n",
		"build/c_edgetpu.tflite":          "-o build/.tpuplan-plain c.tflite\nweights of c.tflite\n",
	} {
		if got := p.read(file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	p.read("build/alone/a.log")
}

func TestFolders(t *testing.T) {
	t.Run("make", func(t *testing.T) {
		makers(t, func(t *testing.T, m maker) {
			p := newProject(t)
			p.emit("build.mk", emit.Make, inFolders())
			if diff := cmp.Diff(inFoldersCalls, dryCalls(t, m, p)); diff != "" {
				t.Errorf("make -n (-want +got):\n%s", diff)
			}
			builtInFolders(t, p, m.run(p, nil))
			if r := m.run(p, nil); r.exit != 0 || r.calls != nil {
				t.Errorf("exit %d, a second make compiles %q", r.exit, r.calls)
			}
			if r := m.run(p, nil, "tpuplan-clean"); r.exit != 0 {
				t.Errorf("exit %d\n%s", r.exit, r.stderr)
			}
			left, _ := filepath.Glob(filepath.Join(p.dir, "build", "*", "*"))
			hidden, _ := filepath.Glob(filepath.Join(p.dir, "build", "*", ".t*"))
			if left = append(left, hidden...); left != nil {
				t.Errorf("%s is left", strings.Join(left, " "))
			}
		})
	})
	t.Run("sh", func(t *testing.T) {
		p := newProject(t)
		p.emit("build.sh", emit.Shell, inFolders())
		builtInFolders(t, p, p.run(nil, tool(t, "sh"), "build.sh"))
	})
}
