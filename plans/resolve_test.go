package plans

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// exampleModels are stand-ins for the files that the example plans name; what
// is not listed is a small MobileNet.
var exampleModels = map[string]func() []byte{
	"bird.tflite":  func() []byte { return tflitetest.MobileNetV2(1, 224, 965) },
	"plant.tflite": func() []byte { return tflitetest.MobileNetV2(1, 224, 2102) },

	"vendor/doorbell_edgetpu.tflite": func() []byte { return tflitetest.CompiledModel(tflitetest.Split(5, 1<<20, 1<<18)) },
}

// folder writes files into a new folder and returns it.
func folder(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// resolveText resolves a plan whose models are the files.
func resolveText(t testing.TB, text string, files map[string][]byte, opts Options) (*Resolved, error) {
	t.Helper()
	dir := folder(t, files)
	plan, err := Parse(filepath.Join(dir, "plan.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Resolve(context.Background(), plan, opts)
	if err != nil {
		return nil, errors.New(strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), ""))
	}
	return r, nil
}

// Every example is a good plan, and its models give a problem to solve.
func TestExamples(t *testing.T) {
	names, err := fs.Glob(Examples(), "*.toml")
	if err != nil || len(names) < 8 {
		t.Fatalf("examples %v, error %v", names, err)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			text, err := fs.ReadFile(Examples(), name)
			if err != nil {
				t.Fatal(err)
			}
			plan, err := Parse(name, text)
			if err != nil {
				t.Fatal(err)
			}
			if len(plan.Warnings) > 0 {
				t.Errorf("warnings: %v", plan.Warnings)
			}
			files := map[string][]byte{}
			for i, m := range plan.Models {
				build := exampleModels[m.File]
				if build == nil {
					build = func() []byte { return tflitetest.MobileNetV1(0.25, 128, 10+i) }
				}
				files[m.File] = build()
				if m.Log != "" {
					files[m.Log] = []byte(logOf(m.File))
				}
			}
			if name := plan.Devices[0].Calibration; name != "" {
				if files[name], err = CalibrationBytes(calibrated()); err != nil {
					t.Fatal(err)
				}
			}
			r, err := resolveText(t, string(text), files, Options{})
			if err != nil {
				t.Fatal(err)
			}
			answer := together(r)
			if slices.ContainsFunc(r.Problem.Models, func(m planner.Model) bool { return m.Compiled }) {
				if answer, err = planner.Solve(context.Background(), r.Problem, planner.Options{}); err != nil {
					t.Fatal(err)
				}
			}
			lock := NewLock(r, answer)
			data, err := lock.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			checkSchema(t, data)
		})
	}
}

// What a plan with evidence comes to, computed by hand from the
// published figures: bird is compiled by 1.0 with R = 280 reserved rows, its
// 3,900,864 bytes all fit, and loading them took 120.78 - 10.33 ms.
func TestResolveEvidence(t *testing.T) {
	text, err := fs.ReadFile(Examples(), "evidence.toml")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"bird.tflite": exampleModels["bird.tflite"](), "plant.tflite": exampleModels["plant.tflite"]()}
	r, err := resolveText(t, string(text), files, Options{})
	if err != nil {
		t.Fatal(err)
	}
	bird, plant := r.Problem.Models[0], r.Problem.Models[1]
	if got := r.Files[0].Reserve; got.Rows != 280 || got.Source != compile.FromMeasurement || got.Low > 280 || got.High < 280 {
		t.Errorf("reserve of bird %+v, want 280 rows, measured", got)
	}
	if got := bird.Load.Bytes(); got != 3_900_864 {
		t.Errorf("bird has %d parameter bytes, want 3900864", got)
	}
	if want := (3_900_864.0 + 10*1024) / 110.45; math.Abs(bird.Call.BytesPerMS-want) > 1e-6 {
		t.Errorf("bird transfers %v bytes/ms, want %v", bird.Call.BytesPerMS, want)
	}
	if !bird.Call.ComputeIncluded || math.Abs(bird.Call.FixedMS-10.33) > 1e-9 {
		t.Errorf("bird's fixed part is %+v, want 10.33 ms with compute", bird.Call)
	}
	if r.Sources(0).Compute != Measured || r.Sources(1).Compute != Modelled || plant.Call.Measured || plant.Call.BytesPerMS != 34e3 {
		t.Errorf("plant, which nobody measured: %+v", plant.Call)
	}
	if math.Abs(bird.Share-10.0/11) > 1e-15 || math.Abs(plant.Share-1.0/11) > 1e-15 {
		t.Errorf("shares %v and %v of 5/s and 30/min, want 10/11 and 1/11", bird.Share, plant.Share)
	}
	if bird.Load.Content == "" || bird.Load.Content == plant.Load.Content {
		t.Error("the contents of the models are not told apart")
	}

	// Another version: available does not hold for it, the measured time does
	// but for the instructions: half a KB more per op, 5 KB, and 100 for the softmax.
	v := compile.V16_0
	other, err := resolveText(t, string(text), files, Options{Version: &v})
	if err != nil {
		t.Fatal(err)
	}
	if got := other.Files[0].Reserve.Source; got != compile.FromFormula {
		t.Errorf("reserve of bird in 16.0 is %s", got)
	}
	if other.Version != v || other.Problem.Version != v {
		t.Errorf("version %v, problem for %v, want 16.0", other.Version, other.Problem.Version)
	}
	ops := float64(other.Files[0].Analysis.TPUOps)
	if want := 10.33 + (ops*512+105*1024)/bird.Call.BytesPerMS; math.Abs(other.Problem.Models[0].Call.FixedMS-want) > 1e-6 {
		t.Errorf("bird's fixed part in 16.0 is %v, want %v", other.Problem.Models[0].Call.FixedMS, want)
	}
	if !strings.Contains(Problems(other.Warnings).Error(), `plan.toml:16:13: model "bird": available was printed by compiler 1.0 and is not used for 16.0`) {
		t.Errorf("warnings: %v", other.Warnings)
	}
}

func TestResolvePins(t *testing.T) {
	text, err := fs.ReadFile(Examples(), "pins.toml")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for i, name := range []string{"wake", "speech", "words", "vision"} {
		files[name+".tflite"] = tflitetest.New().Input(1, 32).FC(10 + i).FC(4).Bytes()
	}
	r, err := resolveText(t, string(text), files, Options{Command: []string{"other", "compiler"}})
	if err != nil {
		t.Fatal(err)
	}
	type pins struct {
		Name, Group string
		Before      []int
	}
	var got []pins
	for _, m := range r.Problem.Models {
		got = append(got, pins{m.Name, m.Group, m.Before})
	}
	want := []pins{{"wake", "audio", []int{1, 2}}, {"speech", "audio", nil}, {"words", "", nil}, {"vision", "camera", nil}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"other", "compiler"}, r.Command); diff != "" {
		t.Error(diff)
	}
	// The fixed part of a call is 0.2 ms of the host, 2 KB of instructions per op, 32 bytes in, 4 out at
	// 5 ms a MB, and what the ops compute.
	m := r.Problem.Models[0]
	want0 := 0.2 + float64(2048*r.Files[0].Analysis.TPUOps+32)/300e3 + 4*5e-6
	for _, op := range r.Files[0].Analysis.Ops {
		want0 += op.Work.MS()
	}
	if math.Abs(m.Call.FixedMS-want0) > 1e-12 || !m.Call.ComputeIncluded {
		t.Errorf("call %+v, want a fixed part of %v ms", m.Call, want0)
	}
}

func TestResolveProblems(t *testing.T) {
	good := tflitetest.New().Input(1, 64).FC(64).Bytes()
	float := tflitetest.New()
	float.Type = tflite.Float32
	tests := []struct {
		name, text string
		files      map[string][]byte
		want       string
		inPlan     bool
	}{
		{"missing", minimal, nil, `plan.toml:6:8: model "a": a.tflite: no such file or directory`, false},
		{"empty", minimal, map[string][]byte{"a.tflite": {}}, `plan.toml:6:8: model "a": a.tflite: the file is empty`, false},
		{"not a model", minimal, map[string][]byte{"a.tflite": []byte("hello, world")}, `plan.toml:6:8: model "a": a.tflite: not a TFLite file (identifier "o, w", want "TFL3")`, false},
		{"truncated", minimal, map[string][]byte{"a.tflite": good[:len(good)/2]}, `plan.toml:6:8: model "a": a.tflite: `, false},
		{
			"compiled by two calls", minimal,
			map[string][]byte{"a.tflite": tflitetest.CompiledModel(tflitetest.Split(1, 2, 3), tflitetest.Split(2, 2, 3))},
			`plan.toml:6:8: model "a": a.tflite holds packages of 2 compiler calls, which displace each other (compile the model anew)`, false,
		},
		{
			"float, 15.0", minimal + "[compiler]\nversion='15.0'\n",
			map[string][]byte{"a.tflite": float.Input(1, 64).Logistic().Bytes()},
			`plan.toml:6:8: model "a": a.tflite: edgetpu_compiler 15.0 says: Model not quantized (convert it with full integer quantization, inputs and outputs included)`, false,
		},
		{
			"out_dir is a file", minimal + "[compiler]\nout_dir='a.tflite/x'\n",
			map[string][]byte{"a.tflite": good},
			`plan.toml:9:9: out_dir "a.tflite/x": a.tflite is a file, not a folder (rename it or change out_dir)`, false,
		},
		{
			"default out_dir is a file", minimal,
			map[string][]byte{"a.tflite": good, "build": good},
			`plan.toml:1:1: out_dir "build": build is a file, not a folder (rename it or change out_dir)`, false,
		},
		{
			"cold without a cache", minimal + "available='0.00B'\nsteady='5ms'\ncold='6ms'\n",
			map[string][]byte{"a.tflite": good},
			`plan.toml:10:6: model "a": cold says nothing about a model of which nothing is cached when it is compiled alone`, true,
		},
		{
			"steady too short", minimal + "available='0.00B'\nsteady='1us'\n",
			map[string][]byte{"a.tflite": good},
			`plan.toml:9:8: model "a": steady is 0.001 ms, but the `, true,
		},
		{"two at once", second, nil, "plan.toml:6:8: model \"a\": a.tflite: no such file or directory\nplan.toml:10:8: model \"b\": b.tflite: no such file or directory", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := folder(t, tt.files)
			plan, err := Parse(filepath.Join(dir, "plan.toml"), []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			_, err = Resolve(context.Background(), plan, Options{})
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error %v, want Problems", err)
			}
			if got := strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), ""); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if problems.InPlan() != tt.inPlan {
				t.Errorf("a problem of the plan file: %v, want %v", problems.InPlan(), tt.inPlan)
			}
		})
	}
}

func TestResolveStopsWithItsContext(t *testing.T) {
	plan, err := Parse("plan.toml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Resolve(ctx, plan, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A plan that a program made has no positions, and its own mistakes to make.
func TestResolveWithoutFile(t *testing.T) {
	device := Device{Name: "tpu0", Link: cost.Links()[0]}
	tests := []struct {
		name    string
		devices []Device
		models  []Model
		want    string
	}{
		{"no model", []Device{device}, nil, "the plan has 1 devices and 0 models, want one device and at least one model"},
		{"no device", nil, []Model{{Name: "a", Calls: 1}}, "the plan has 0 devices and 1 models, want one device and at least one model"},
		{"names", []Device{device}, []Model{{Name: "a", Calls: 1}, {Name: "a", Calls: 1}}, `two models are called "a"`},
		{"calls", []Device{device}, []Model{{Name: "a"}}, `model "a": calls: it has to be a positive, finite number`},
		{"order", []Device{device}, []Model{{Name: "a", Calls: 1, OrderBefore: []string{"b"}}}, `model "a": it cannot come before "b"`},
		{"file", []Device{device}, []Model{{Name: "a", File: "nowhere/a.tflite", Calls: 1}}, `model "a": nowhere/a.tflite: no such file or directory`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan := NewPlan()
			plan.Devices, plan.Models = tt.devices, tt.models
			if _, err := Resolve(t.Context(), plan, Options{}); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

// What is kept of a model is its analysis, not its weights.
func TestResolveDropsWeights(t *testing.T) {
	model := tflitetest.MobileNetV1(1, 224, 1001)
	size := uint64(len(model))
	text, files := "[[device]]\nname='tpu0'\nlink='usb3'\n", map[string][]byte{}
	for _, name := range []string{"a", "b", "c", "d"} {
		text += "[[model]]\nname='" + name + "'\nfile='" + name + ".tflite'\nweight=1\n"
		files[name+".tflite"] = model
	}
	dir := folder(t, files)
	plan, err := Parse(filepath.Join(dir, "plan.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	r, err := Resolve(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if after := heap(); after > before+size/4 {
		t.Errorf("%d bytes are held after resolving four models of %d", after-before, size)
	}
	runtime.KeepAlive(r)
	runtime.KeepAlive(model)
	runtime.KeepAlive(files)
}

func TestWarningsOfModels(t *testing.T) {
	head := func(units int) []byte {
		return tflitetest.New().Input(1, 16, 16, 3).Conv(32, 3, 3, 1, true).Reshape(1, 16*16*32).FC(units).Bytes()
	}
	part := tflitetest.New().Input(1, 8, 8, 16).Conv(32, 3, 3, 1, true).Dequantize().Bytes()
	guess := tflitetest.New().Input(1, 8, 8, 16).TransposeConv(16, 3, 3, 2).Conv(32, 3, 3, 1, true).Bytes()
	text := minimal
	for _, name := range []string{"b", "c", "d", "e"} {
		text += "[[model]]\nname = '" + name + "'\nfile = '" + name + ".tflite'\nweight = 1\n"
	}
	files := map[string][]byte{"a.tflite": head(4), "b.tflite": head(4), "c.tflite": head(8), "d.tflite": part, "e.tflite": guess}
	// PADs that add four channels have equal constants, but not equal matrices
	for name, channels := range map[string]int{"f": 8, "g": 12} {
		text += "[[model]]\nname = '" + name + "'\nfile = '" + name + ".tflite'\nweight = 1\n"
		files[name+".tflite"] = tflitetest.New().Input(1, 8, 8, channels).Pad(0, 0, 0, 0, 0, 0, 0, 4).Bytes()
	}
	r, err := resolveText(t, text, files, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := Problems(r.WarningsOf(together(r))).Error()
	for _, want := range []string{
		`plan.toml:10:8: model "b": the same file as model "a" of its group: compiler 16.0 gives all copies the share of the last`,
		`plan.toml:14:8: model "c": it shares a layer with model "a" of its group`,
		`plan.toml:18:8: model "d": 1 of 2 operations stay on the CPU; the plan counts the part on the Edge TPU`,
		`plan.toml:22:8: model "e": heuristic: no proven rule gives the parameter sizes of 1 of 1 TRANSPOSE_CONV`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no warning %s among\n%s", want, got)
		}
	}
	if n := strings.Count(got, "of its group"); n != 3 { // b with a, c with a and with b
		t.Errorf("%d pairs share layers, want 3:\n%s", n, got)
	}
	if got := Problems(r.WarningsOf(apart(r))).Error(); strings.Contains(got, "of its group") {
		t.Errorf("models of different groups share nothing:\n%s", got)
	}
}

func BenchmarkResolve(b *testing.B) {
	files := map[string][]byte{}
	text := "[[device]]\nname='tpu0'\nlink='usb3'\n"
	for i, name := range []string{"a", "b", "c", "d"} {
		files[name+".tflite"] = tflitetest.MobileNetV1(1, 224, 1000+i)
		text += "[[model]]\nname='" + name + "'\nfile='" + name + ".tflite'\nweight=1\n"
	}
	dir := folder(b, files)
	for b.Loop() {
		plan, err := Parse(filepath.Join(dir, "plan.toml"), []byte(text))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Resolve(context.Background(), plan, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
