package device_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tpuplan/tpuplan/internal/testdata"
)

// TestRuntimeOfAnotherSum: tools/runtime takes no archive but the one it knows,
// and says so when npm has nothing to give. A double of npm stands in here.
func TestRuntimeOfAnotherSum(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		testdata.NeedTool(t, "sh", err)
	}
	script, err := os.ReadFile(filepath.Join("..", "..", "tools", "runtime"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, npm, want string }{
		{"another archive", "#!/bin/sh\necho hello >x.tgz\necho x.tgz\n", "runtime: the archive of tfjs-tflite-node@0.0.2 is another file than expected:\nruntime: sha256 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03, want "},
		{"no archive", "#!/bin/sh\necho no network >&2\nexit 1\n", "no network\nruntime: npm cannot fetch tfjs-tflite-node@0.0.2\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, data := range map[string]string{"tools/runtime": string(script), "bin/npm": test.npm} {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(data), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(sh, filepath.Join(dir, "tools", "runtime"))
			cmd.Env = append(os.Environ(), "GOARCH=amd64", "PATH="+filepath.Join(dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.HasPrefix(string(out), test.want) {
				t.Errorf("%v: %s\nwant %s", err, out, test.want)
			}
			if _, err := os.Stat(filepath.Join(dir, ".runtime")); err == nil {
				t.Error("something was installed")
			}
		})
	}
}
