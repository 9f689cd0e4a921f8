package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/internal/testdata"
)

// demoModels are the public models of "make demo", in the module that holds them.
const demoModule = "github.com/mattn/go-tflite@v1.0.1"

var demoModels = []string{"_example/label_image/mobilenet_quant_v1_224.tflite", "_example/ssd/detect.tflite"}

// TestReadme runs every "$ tpuplan ..." of the README with the demo's models
// and compares what it prints; -update rewrites the README.
func TestReadme(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "mod", "download", "-json", demoModule).Output()
	var module struct{ Dir string }
	if err == nil {
		err = json.Unmarshal(out, &module)
	}
	if err != nil {
		testdata.NeedTool(t, "the demo's models (go mod download)", err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range demoModels {
		data, err := os.ReadFile(filepath.Join(module.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, filepath.Base(name)), data)
	}
	// the plan is the one that the README shows, and the one of make demo
	_, shown, _ := strings.Cut(string(readme), "```toml\n")
	shown, _, _ = strings.Cut(shown, "```")
	demo, err := os.ReadFile(filepath.Join(root, "plans", "demo.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(demo), strings.TrimSpace(shown)) {
		t.Errorf("the README's plan is not that of plans/demo.toml:\n%s", cmp.Diff(string(demo), shown))
	}
	writeFile(t, filepath.Join(dir, "demo.toml"), []byte(shown))
	t.Chdir(dir)

	blocks := strings.Split(string(readme), "```console\n")
	ran := 0
	for i, block := range blocks[1:] {
		transcript, after, _ := strings.Cut(block, "```")
		command, _, _ := strings.Cut(transcript, "\n")
		words, ok := strings.CutPrefix(command, "$ tpuplan ")
		if !ok {
			continue
		}
		ran++
		var printed bytes.Buffer
		code := run(t.Context(), append([]string{"tpuplan"}, strings.Fields(words)...), func(string) string { return "" }, strings.NewReader(""), &printed, &printed)
		if code != exitOK {
			t.Errorf("%s: exit code %d\n%s", command, code, printed.String())
		}
		got := command + "\n" + printed.String()
		if diff := cmp.Diff(transcript, got); diff != "" && !*update {
			t.Errorf("%s prints something else than the README says:\n%s", command, diff)
		}
		blocks[i+1] = got + "```" + after
	}
	if ran < 3 {
		t.Errorf("the README has %d commands that could be run", ran)
	}
	if *update {
		writeFile(t, filepath.Join(root, "README.md"), []byte(strings.Join(blocks, "```console\n")))
	}
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
