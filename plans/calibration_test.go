package plans

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/plans/schema/schematest"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

func pointer(x float64) *float64 { return &x }

func calibrated() *cost.Calibration {
	return &cost.Calibration{
		Device: "/dev/apex_0", Link: "pcie",
		Load:    cost.Estimate{Value: 385000.5, Low: pointer(380000), High: pointer(390000), Source: "measured", Samples: 40},
		Stream:  cost.Estimate{Value: 385000.5, Source: "measured", Why: "no sample shows another rate than that of loads"},
		Over:    cost.Estimate{Value: 0.43, Source: "modelled", Why: "x", With: []string{"the link's rate"}},
		Overlap: cost.Estimate{Source: "modelled"},
		Models: []cost.CalibratedModel{{
			Name: "face", Compute: cost.Estimate{Value: 2.5, Source: "imported", Samples: 20}, Slope: cost.Estimate{Value: 3e-6, Source: "simulated"},
			SourceSHA256: strings.Repeat("ab", 32),
			Files:        []cost.CalibratedFile{{File: "face_edgetpu.tflite", SHA256: strings.Repeat("cd", 32), CachedBytes: 1, StreamedBytes: 2, FixedBytes: 3, LoadBytes: 4}},
		}},
		Samples:   cost.SampleCounts{Used: 40, Measured: 20, Imported: 20},
		Residuals: cost.Residuals{Calls: []cost.CalibratedOn{{Model: "face", Kind: "warm", Samples: 40, MS: 2.6, FittedMS: 2.6}}},
		Warnings:  []string{},
	}
}

func TestCalibrationRoundTrip(t *testing.T) {
	data, err := CalibrationBytes(calibrated())
	if err != nil {
		t.Fatal(err)
	}
	if err := schematest.Validate("calibration", data); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "cal.json")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	got, sum, err := ReadCalibration(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(calibrated(), got); diff != "" || len(sum) != 64 {
		t.Errorf("hash %s\n%s", sum, diff)
	}
}

// An edited file is refused before a plan can rest on it.
func TestCalibrationsThatAreWrong(t *testing.T) {
	data, err := CalibrationBytes(calibrated())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, old, now, want string }{
		{"rate of nothing", "385000.5", "0", "a rate is below a byte per ms"},
		{"endless rate", "385000.5", "1e300", "load_bytes_per_ms is 1e+300"},
		{"negative time", "0.43", "-0.43", "overhead_ms is -0.43"},
		{"source", `"imported"`, `"guessed"`, `the source of compute_ms of model "face" is "guessed"`},
		{"nameless", `"name": "face"`, `"name": ""`, `a model is called ""`},
		{"sizes", `"cached_bytes": 1`, `"cached_bytes": -1`, `a file of model "face" has impossible sizes`},
		{"a word for a number", "2.5", `"2.5"`, "cannot unmarshal string"},
		{"no JSON", "{", "[", "not a calibration"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := ParseCalibration("c.json", []byte(strings.ReplaceAll(string(data), test.old, test.now))); err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "c.json: ") {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
	if _, _, err := ReadCalibration(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
}

// Whatever stands in the file, reading it ends and what comes out can be planned with.
func TestCalibrationsOfAnyKind(t *testing.T) {
	data, err := CalibrationBytes(calibrated())
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(string(data))
		for range rapid.IntRange(1, 4).Draw(t, "edits") {
			text[rapid.IntRange(0, len(text)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		if c, err := ParseCalibration("c.json", text); err == nil {
			link := c.On(cost.Links()[0])
			call := cost.Modelled(link, cost.Traffic{Instructions: 1, Output: 1})
			if ms := call.Cold(1<<20, float64(1<<20)/call.BytesPerMS); !(ms >= 0 && ms < 1e12) {
				t.Fatalf("a call of %v ms", ms)
			}
		}
	})
}

// A model is found by the hash of its file wherever that stands, else by name.
func TestCalibrationFindsModels(t *testing.T) {
	c := calibrated()
	for _, test := range []struct {
		name, sha256 string
		found        bool
	}{
		{"other", strings.Repeat("ab", 32), true},
		{"other", strings.Repeat("cd", 32), true},
		{"face", strings.Repeat("ef", 32), true},
		{"face", "", true},
		{"other", strings.Repeat("ef", 32), false},
		{"other", "", false},
	} {
		if m := c.Model(test.name, test.sha256); (m != nil) != test.found {
			t.Errorf("%s %.4s: found %v", test.name, test.sha256, m)
		}
	}
}

// What a calibrated model costs, by hand: 2.5 ms of compute, the host's part of which 0.15 ms
// are taken to be, and 8,000 bytes besides parameters at 385,000.5 a ms. Streaming a part takes its transfer as far as
// that lasts longer than its op computes, and 3e-6 ms for every byte.
func TestResolveCalibrated(t *testing.T) {
	net := tflitetest.MobileNetV1(0.25, 128, 10)
	plan := `
[[device]]
name = "tpu0"
link = "pcie"
calibration = "cal.json"
[[model]]
name = "face"
file = "face.tflite"
rate = "1/s"
`
	resolve := func(c *cost.Calibration) (*Resolved, error) {
		data, err := CalibrationBytes(c)
		if err != nil {
			t.Fatal(err)
		}
		return resolveText(t, plan, map[string][]byte{"face.tflite": net, "cal.json": data}, Options{})
	}
	f, err := tflite.New("face.tflite", net)
	if err != nil {
		t.Fatal(err)
	}
	c := calibrated()
	c.Models[0].SourceSHA256 = f.SHA256()
	c.Models[0].Files[0].FixedBytes = 8000
	r, err := resolve(c)
	if err != nil {
		t.Fatal(err)
	}
	call := r.Problem.Models[0].Call
	if want := 2.5 + 8000/385000.5; math.Abs(call.FixedMS-want) > 1e-12 || !call.ComputeIncluded || call.BytesPerMS != 385000.5 {
		t.Errorf("%+v: want %v ms fixed", call, want)
	}
	all := 0.0
	for _, op := range r.Files[0].Analysis.Ops {
		all += op.Work.MS()
	}
	for k, part := range r.Problem.Models[0].Load.Parts {
		op := &r.Files[0].Analysis.Ops[part.Op]
		computes := op.Work.MS() * (2.5 - 0.15) / all * float64(part.Bytes) / float64(op.Bytes)
		want := math.Max(0, float64(part.Bytes)/385000.5-computes) + 3e-6*float64(part.Bytes)
		if got := r.Problem.Models[0].StreamMS[k]; math.Abs(got-want) > 1e-12 {
			t.Errorf("part %d takes %v ms, want %v", k, got, want)
		}
	}
	want := TimeSources{Compute: "imported", Rate: "measured", Overhead: "modelled", Overlap: "modelled", Slope: "simulated"}
	if got := r.Sources(0); got != want || r.Source(0) != "simulated" {
		t.Errorf("sources %+v, in a word %s", got, r.Source(0))
	}
	if len(r.Assumptions(together(r))) > 0 || r.linkAssumption() != nil || !r.streamingKnown(0) {
		t.Error("what was timed is taken for an assumption")
	}
	// Another file of that name: what was timed is not of it.
	c.Models[0].SourceSHA256 = strings.Repeat("ab", 32)
	if r, err = resolve(c); err != nil {
		t.Fatal(err)
	}
	if r.Files[0].Timing.Known() || r.Source(0) != "modelled" || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0].Error(), "a file with 3 bytes of parameters was timed under this name") {
		t.Errorf("%+v, warnings %v", r.Problem.Models[0].Call, r.Warnings)
	}
	if r.linkAssumption() != nil {
		t.Error("the link was timed all the same")
	}
	c.Load.Source = "modelled"
	c.Load.Value, c.Stream.Value = 385e3, 385e3
	if r, err = resolve(c); err != nil {
		t.Fatal(err)
	}
	if r.linkAssumption() == nil {
		t.Error("a rate that was kept is an assumption")
	}
}
