package simulator_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/simulator"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// bench is a folder with a and b, compiled together, and c.
func bench(t *testing.T) (*simulator.Simulator, *profile.Run) {
	t.Helper()
	s := &simulator.Simulator{Dir: t.TempDir(), Calls: map[string]cost.Call{}, Seed: 1}
	run := &profile.Run{Schema: profile.RunSchema, Name: "r", Repeats: 1, DeadlineMS: 1, Outputs: true}
	for name, p := range map[string]tflite.Package{"a": tflitetest.Split(1, 1000, 0), "b": tflitetest.Split(1, 2000, 500), "c": tflitetest.Split(2, 4000, 0)} {
		if err := os.WriteFile(filepath.Join(s.Dir, name+".tflite"), tflitetest.CompiledModel(p), 0o644); err != nil {
			t.Fatal(err)
		}
		s.Calls[name] = cost.Call{FixedMS: 10, BytesPerMS: 100, OverheadMS: 3, LoadBytes: 1000}
	}
	for _, name := range []string{"a", "b", "c"} {
		run.Models = append(run.Models, profile.RunModel{Name: name, File: name + ".tflite"})
	}
	return s, run
}

func measure(t *testing.T, s *simulator.Simulator, run *profile.Run) (list []profile.Sample, err error) {
	t.Helper()
	err = s.Measure(t.Context(), run, func(x *profile.Sample) error { list = append(list, *x); return nil })
	return list, err
}

// Loads, bytes and times of a sequence, worked out by hand: a warm call takes
// 10 ms and streaming, a load of a 20 + 3, of b 30 + 3 and of c 50 + 3.
func TestCalls(t *testing.T) {
	s, run := bench(t)
	const k = profile.Replay
	run.Steps = []profile.Step{{Model: 0}, {Model: 0, Kind: k}, {Model: 1, Kind: k}, {Model: 0, Kind: k}, {Model: 2, Kind: k}, {Model: 1, Kind: k}, {Model: 1, Kind: k}}
	got, err := measure(t, s, run)
	if err != nil {
		t.Fatal(err)
	}
	type call struct {
		Model string
		Call  int64
		MS    float64
		Bytes int64
	}
	const warm, load = 4096 + 8 + 8, 1024 // besides parameters
	want := []call{
		{"a", 1, 10, warm},
		{"b", 2, 15 + 33, warm + 500 + 2000 + load},
		{"a", 3, 10, warm},
		{"c", 4, 10 + 53, warm + 4000 + load},
		{"b", 5, 15 + 33, warm + 500 + 2000 + load},
		{"b", 6, 15, warm + 500},
	}
	var calls []call
	outputs := map[string]string{}
	for _, x := range got {
		calls = append(calls, call{x.Model, x.Call, x.MS, *x.Bytes})
		if x.Source != profile.Simulated || x.Run != "r" || x.Kind != k || len(x.Outputs) != 64 || outputs[x.Model] != "" && outputs[x.Model] != x.Outputs {
			t.Errorf("%+v", x)
		}
		outputs[x.Model] = x.Outputs
	}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Error(diff)
	}
	if outputs["a"] == outputs["b"] {
		t.Error("two models have the same outputs")
	}
}

// Noise has the size that is asked for, and the same seed gives the same.
func TestNoise(t *testing.T) {
	s, run := bench(t)
	s.NoisePercent = 2
	run.Steps, run.Repeats, run.WarmUp = []profile.Step{{Model: 0, Kind: profile.Steady}}, 4000, 1
	first, err := measure(t, s, run)
	if err != nil {
		t.Fatal(err)
	}
	again, err := measure(t, s, run)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again); diff != "" || len(first) != 4000 {
		t.Errorf("%d samples, %s", len(first), diff)
	}
	sum, squares := 0.0, 0.0
	for _, x := range first {
		sum += x.MS
		squares += x.MS * x.MS
	}
	mean := sum / 4000
	if deviation := math.Sqrt(squares/4000 - mean*mean); math.Abs(mean-10) > 0.02 || math.Abs(deviation-0.2) > 0.02 {
		t.Errorf("mean %v, standard deviation %v", mean, deviation)
	}
}

func TestFailures(t *testing.T) {
	s, run := bench(t)
	run.Steps = []profile.Step{{Model: 0, Kind: profile.Steady}}
	for _, test := range []struct {
		name   string
		break_ func()
		code   profile.Code
		text   string
	}{
		{"another file than the run's", func() { run.Models[0].SHA256 = strings.Repeat("0", 64) }, profile.BadModel, "not the file that the run was made for"},
		{"no file", func() { run.Models[0].SHA256, run.Models[0].File = "", "nothing.tflite" }, profile.BadModel, "nothing.tflite"},
		{"a model of which no cost is known", func() { run.Models[0].File = "a.tflite"; delete(s.Calls, "a") }, profile.NotAvailable, `model "a": the simulator does not know`},
	} {
		test.break_()
		_, err := measure(t, s, run)
		f := (*profile.Failure)(nil)
		if !errors.As(err, &f) || f.Code != test.code || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	s, run = bench(t)
	run.Steps = []profile.Step{{Model: 0, Kind: profile.Steady}}
	full := errors.New("disk full")
	if err := s.Measure(t.Context(), run, func(*profile.Sample) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
	run.Steps = nil
	if _, err := measure(t, s, run); err == nil {
		t.Error("a run without calls")
	}
}
