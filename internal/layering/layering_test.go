// Package layering keeps imports pointing downward. docs/architecture.md
// explains the layers; this test is what makes them hold.
package layering

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tpuplan/tpuplan/"

// layers says for each package what of the module it may import; packages
// below a folder named internal belong to the package above it.
var layers = map[string][]string{
	"tflite":                    {},
	"compile/report":            {},
	"compile":                   {"compile/report", "cost", "tflite"},
	"compile/timing":            {"compile", "cost", "tflite"},
	"compile/emit":              {"compile"},
	"compile/run":               {"compile", "compile/report", "internal/process", "tflite"},
	"cost":                      {},
	"cost/replay":               {},
	"planner":                   {"compile", "compile/report", "cost"},
	"internal/columns":          {},
	"internal/process":          {},
	"plans":                     {"compile", "compile/emit", "compile/report", "compile/timing", "cost", "cost/replay", "internal/columns", "planner", "tflite"},
	"plans/schema":              {},
	"profile":                   {},
	"profile/device":            {"internal/process", "profile", "tflite"},
	"profile/fit":               {"cost", "profile", "tflite"},
	"profile/validation":        {"cost", "cost/replay", "profile", "tflite"},
	"profile/simulator":         {"cost", "cost/replay", "profile", "profile/validation", "tflite"},
	"cmd/tpuplan":               {"compile", "compile/emit", "compile/report", "compile/run", "compile/timing", "cost", "cost/replay", "internal/columns", "planner", "plans", "profile", "profile/device", "profile/fit", "profile/remote", "profile/simulator", "profile/validation", "tflite"},
	"cmd/tpuplan/internal/view": {"compile", "compile/report", "compile/run", "compile/timing", "cost", "cost/replay", "internal/columns", "planner", "plans", "profile", "profile/validation", "tflite"},
	"profile/remote":            {"compile/emit", "internal/process", "profile", "profile/device", "tflite"},
}

// apart are packages for tests and generators: the product may not import
// them, and they may do what it may not.
var apart = []string{
	"internal/fuzztest", "internal/testdata", "internal/layering", "internal/known", "internal/accuracy", "internal/nets", "internal/performance",
	"tflite/tflitetest", "tflite/internal/schema", "tflite/internal/schema/gen",
	"plans/schema/schematest", "compile/run/runtest", "profile/remote/remotetest",
}

// outside says which packages may import a package from outside the module,
// those named by a path and everything below it.
var outside = map[string][]string{
	"os/exec":                       {"compile/run", "internal/process", "profile/device", "profile/remote"},
	"C":                             {"profile/device"},
	"unsafe":                        {"tflite", "profile/device"}, // views of numbers in a file's bytes; memory of the runtime
	"net/http":                      {},
	"os":                            {"tflite", "plans", "compile/run", "internal/process", "profile/device", "profile/remote", "cmd/tpuplan"},
	"github.com/urfave/cli":         {"cmd/tpuplan"},
	"gonum.org/v1/gonum":            {"profile/fit", "profile/validation"},
	"golang.org/x/term":             {"cmd/tpuplan"},
	"golang.org/x/text":             {"internal/columns"},
	"github.com/BurntSushi":         {"plans"},
	"github.com/google/renameio":    {"plans", "compile/run", "cmd/tpuplan"},
	"github.com/google/flatbuffers": {"tflite", "tflite/internal"},
	"testing":                       {},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImportsPointDownward(t *testing.T) {
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if slices.Contains(apart, name) {
			continue
		}
		for _, imported := range p.Imports {
			ours, internal := strings.CutPrefix(imported, module)
			switch {
			case !internal:
				for path, users := range outside {
					if within(imported, path) && !slices.ContainsFunc(users, func(u string) bool { return name == u || strings.HasSuffix(u, "internal") && within(name, u) }) {
						t.Errorf("%s imports %s, which only %v may", name, imported, users)
					}
				}
			case slices.Contains(apart, ours):
				t.Errorf("%s imports %s, which is for tests and generators", name, ours)
			default:
				of := owner(name)
				allowed, known := layers[of]
				if !known {
					t.Errorf("%s has no row in the table of layers: say what it may import", of)
				} else if to := owner(ours); to != of && !slices.Contains(allowed, to) && ours != "cmd/tpuplan/internal/view" {
					t.Errorf("%s imports %s, which is not below it", name, ours)
				}
			}
		}
	}
}

// owner is the package on whose behalf an internal package exists, itself for others.
func owner(name string) string {
	if _, ok := layers[name]; ok {
		return name
	}
	before, _, _ := strings.Cut(name, "/internal")
	return before
}

func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}

// list is every package, as the product is built by default and with the path to a device.
func list(t *testing.T) []pkg {
	t.Helper()
	var pkgs []pkg
	for _, tags := range []string{"", "edgetpu"} {
		cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "-tags="+tags, module+"...")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1") // or files with cgo are left out
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		for d := json.NewDecoder(strings.NewReader(string(out))); ; {
			var p pkg
			if err := d.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			pkgs = append(pkgs, p)
		}
	}
	return pkgs
}
