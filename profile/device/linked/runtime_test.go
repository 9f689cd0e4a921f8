//go:build edgetpu

package linked

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile/emit"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// snippet is the only code of a language in docs/runtime.md.
func snippet(t *testing.T, language string) string {
	t.Helper()
	data, err := os.ReadFile("../../../docs/runtime.md")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(data), -1)
	if len(all) != 1 {
		t.Fatalf("%d pieces of %s", len(all), language)
	}
	return all[0][1]
}

// deployed is a folder with the manifest of a plan and its compiled models: a
// and b were compiled together and are called most, c is alone; d is on another device.
func deployed(t *testing.T, change func(*emit.Build)) string {
	t.Helper()
	dir := t.TempDir()
	b := &emit.Build{Version: "16.0"}
	for i, m := range []struct {
		name, device, group string
		token               uint64
		cached              int64
	}{{"c", "tpu0", "alone", 2, 4000}, {"a", "tpu0", "two", 1, 1000}, {"b", "tpu0", "two", 1, 2000}, {"d", "tpu1", "other", 3, 9000}} {
		data := tflitetest.CompiledModel(tflitetest.Split(m.token, m.cached, 0))
		if err := os.WriteFile(filepath.Join(dir, m.name+"_edgetpu.tflite"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		b.Placements = append(b.Placements, emit.Placement{
			Model: m.name, File: m.name + "_edgetpu.tflite", Device: m.device, Group: m.group, WarmUp: i + 1, CachedBytes: m.cached, SHA256: hex.EncodeToString(sum[:]), Token: "0x01",
		})
	}
	b.Placements[0], b.Placements[2] = b.Placements[2], b.Placements[0] // the order in the file does not matter
	if change != nil {
		change(b)
	}
	var text bytes.Buffer
	if err := emit.Manifest(&text, b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Both drivers make the calls c a c b a, as they wait.
const pythonDriver = `
import sys
import coral

device = coral.Coral(sys.argv[1], "tpu0")
for name, number in device.in_order([("c", 1), ("a", 2), ("c", 3), ("b", 4), ("a", 5)]):
    device.models[name].invoke()
    print(name, number)
print(device.last, device.in_order([("a", 1), ("c", 2)])[0][0], device.in_order([]))
`

const goDriver = `package main

import (
	"fmt"
	"os"

	"github.com/mattn/go-tflite"
	"github.com/mattn/go-tflite/delegates/edgetpu"
)

func main() {
	list, err := edgetpu.DeviceList()
	if err != nil {
		panic(err)
	}
	device, err := Open(os.Args[1], "tpu0", list[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, name := range device.InOrder([]string{"c", "a", "c", "b", "a"}) {
		if device.Models[name].Invoke() != tflite.OK {
			os.Exit(2)
		}
		fmt.Println(name)
	}
	fmt.Print(device.last, " ")
	fmt.Println(device.InOrder([]string{"a", "c"})[0], device.InOrder(nil))
}
`

func write1(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRuntimeDocument runs the code of docs/runtime.md: it opens the device
// once, loads each model once, and the calls that wait load no more than they must.
func TestRuntimeDocument(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("TPUPLAN_REQUIRE_TOOLS") == "1" {
			t.Error(err)
		}
		t.Log("Python is absent, its code is not run")
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	root, code := filepath.Join(here, "..", "..", ".."), t.TempDir()
	write1(t, filepath.Join(code, "coral.py"), snippet(t, "python"))
	goFiles := []string{write1(t, filepath.Join(code, "coral.go"), snippet(t, "go")), write1(t, filepath.Join(code, "drive.go"), goDriver)}
	program := filepath.Join(code, "program")
	build := exec.Command("go", append([]string{"build", "-o", program}, goFiles...)...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command("gofmt", "-l", goFiles[0]).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("the code in Go is not formatted: %s %v", out, err)
	}
	driver := write1(t, filepath.Join(code, "drive.py"), pythonDriver)
	for _, test := range []struct {
		name    string
		command []string
		order   string
	}{
		{"python", []string{python, driver}, "a 2\nb 4\na 5\nc 1\nc 3\nalone c []\n"},
		{"go", []string{program}, "a\nb\na\nc\nc\nalone c []\n"},
	} {
		if test.command[0] == "" {
			continue
		}
		run := func(t *testing.T, dir string) (stdout, stderr string) {
			cmd := exec.Command(test.command[0], append(test.command[1:], filepath.Join(dir, "manifest.json"))...)
			var out, problems bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &problems
			cmd.Env = append(os.Environ(),
				"LD_LIBRARY_PATH="+os.Getenv("TPUPLAN_STANDIN")+":"+filepath.Join(root, ".runtime", "lib"),
				"PYTHONPATH="+filepath.Join(here, "testdata"), "PYTHONDONTWRITEBYTECODE=1")
			cmd.Run() //nolint:errcheck // the output tells
			return out.String(), problems.String()
		}
		t.Run(test.name, func(t *testing.T) {
			b := configure(t, nil)
			if out, problems := run(t, deployed(t, nil)); out != test.order {
				t.Fatalf("printed %q, want %q\n%s", out, test.order, problems)
			}
			var loaded []int64
			for _, c := range b.calls() {
				loaded = append(loaded, c.LoadedBytes)
			}
			const i = 1024 // instructions of a load
			// c, a and b to warm up; a, b, a are on the device; then c once.
			if diff := cmp.Diff([]int64{4000 + i, 1000 + i, 2000 + i, 0, 0, 0, 4000 + i, 0}, loaded); diff != "" {
				t.Error(diff)
			}
			data, _ := os.ReadFile(b.log)
			if n := strings.Count(string(data), `"event":"open"`); n != 1 {
				t.Errorf("the device was opened %d times", n)
			}
		})
		t.Run(test.name+" refuses", func(t *testing.T) {
			configure(t, nil)
			for name, change := range map[string]func(*emit.Build){
				"another file":          func(b *emit.Build) { b.Placements[1].SHA256 = strings.Repeat("0", 64) },
				"one that was not seen": func(b *emit.Build) { b.Placements[1].SHA256 = "" },
			} {
				if out, problems := run(t, deployed(t, change)); out != "" || !strings.Contains(problems, "a_edgetpu.tflite is not the file of the manifest") {
					t.Errorf("%s: %q, %q", name, out, problems)
				}
			}
		})
	}
}
