package fit_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/fit"
	"github.com/tpuplan/tpuplan/profile/simulator"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// The same honesty over 200 data sets that the simulator plays: compiled
// files, the driver's state machine, and the samples of a run.
func TestIntervalsAreHonestForTheSimulator(t *testing.T) {
	if testing.Short() {
		t.Skip("fits hundreds of data sets")
	}
	const (
		bytesPerMS = 40_000
		overhead   = 6.0
	)
	dir := t.TempDir()
	run := &profile.Run{Schema: profile.RunSchema, Name: "r", Repeats: 12, WarmUp: 1, DeadlineMS: 1000}
	s := &simulator.Simulator{Dir: dir, Calls: map[string]cost.Call{}, NoisePercent: 1.6}
	files := map[string]*fit.File{}
	computes := map[string]float64{"bird": 5, "tiny": 2, "wide": 9}
	for i, m := range []struct {
		name             string
		cached, streamed int64
	}{{"bird", 3_900_864, 0}, {"tiny", 1 << 20, 0}, {"wide", 6 << 20, 1 << 19}} {
		data := tflitetest.CompiledModel(tflitetest.Split(uint64(i+1), m.cached, m.streamed))
		name := m.name + "_edgetpu.tflite"
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := tflite.New(name, data)
		if err != nil {
			t.Fatal(err)
		}
		c, err := f.Compiled()
		if err != nil {
			t.Fatal(err)
		}
		files[m.name] = fit.FileOf(m.name, name, f.SHA256(), c)
		run.Models = append(run.Models, profile.RunModel{Name: m.name, File: name, SHA256: f.SHA256()})
		run.Steps = append(run.Steps, profile.Step{Model: i, Kind: profile.Load}, profile.Step{Model: i, Kind: profile.Steady})
		s.Calls[m.name] = cost.Call{
			FixedMS: computes[m.name] + float64(c.WarmBytes()-c.StreamedBytes())/bytesPerMS, ComputeIncluded: true,
			BytesPerMS: bytesPerMS, LoadBytes: float64(c.ColdBytes() - c.WarmBytes() - c.CachedBytes()), OverheadMS: overhead,
		}
	}
	usb2, err := cost.BuiltinLink("usb2")
	if err != nil {
		t.Fatal(err)
	}
	const sets = 200
	covered := map[string]int{}
	for seed := range sets {
		s.Seed = uint64(seed)
		run.Name = fmt.Sprint("r", seed)
		var samples []profile.Sample
		if err := s.Measure(t.Context(), run, func(x *profile.Sample) error { samples = append(samples, *x); return nil }); err != nil {
			t.Fatal(err)
		}
		d, err := fit.Collect(samples, func(x *profile.Sample) (*fit.File, error) { return files[x.Model], nil })
		if err != nil {
			t.Fatal(err)
		}
		c, err := fit.Fit(d, &usb2)
		if err != nil {
			t.Fatal(err)
		}
		numbers := []number{{"load", c.Load, bytesPerMS}, {"overhead", c.Over, overhead}}
		for name, ms := range computes {
			numbers = append(numbers, number{"compute " + name, c.Model(name, "").Compute, ms})
		}
		for i := range numbers {
			if numbers[i].e.Source != string(profile.Simulated) {
				t.Fatalf("set %d: %s is %s", seed, numbers[i].name, numbers[i].e.Source)
			}
			if numbers[i].covered() {
				covered[numbers[i].name]++
			}
		}
	}
	for name, n := range covered {
		if share := float64(n) / sets; share < 0.90 || share > 0.99 {
			t.Errorf("%s: the interval holds the truth in %.1f %% of %d sets, want 90 to 99 %%", name, 100*share, sets)
		}
		t.Logf("%s: %d of %d", name, n, sets)
	}
	if len(covered) != 5 {
		t.Errorf("numbers covered: %v", covered)
	}
}
