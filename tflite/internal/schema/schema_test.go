package schema

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/internal/testdata"
)

// The packages that are committed are what the schemas give.
func TestFresh(t *testing.T) {
	if _, err := exec.LookPath("flatc"); err != nil {
		testdata.NeedTool(t, "flatc", err)
	}
	out := t.TempDir()
	if err := Generate(".", out); err != nil {
		t.Fatal(err)
	}
	for _, s := range sources {
		files, err := os.ReadDir(filepath.Join(out, s.pkg))
		if err != nil || len(files) != 2 {
			t.Fatalf("%s: %d files, error %v; want 2", s.pkg, len(files), err)
		}
		for _, f := range files {
			name := filepath.Join(s.pkg, f.Name())
			want, err := os.ReadFile(filepath.Join(out, name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join("..", name))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s is stale, run go generate ./tflite/...", name)
			}
		}
	}
}
