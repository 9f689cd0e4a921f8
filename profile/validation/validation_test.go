package validation_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/validation"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// part is a compiled model: a token and what is cached and streamed.
type part struct {
	token            uint64
	cached, streamed int64
}

// What a package of tflitetest sends besides parameters, warm and for a load.
const warmBytes, loadBytes = 4096 + 8 + 8, 1024

// The models of the tests, under each arrangement; the link carries 40,000
// bytes per ms, so that the loads of a take 50 ms, of b 25 ms, and of c 100 ms.
const rate = 40_000

var parts = map[string][]part{
	"plan":     {{1, 2_000_000, 0}, {1, 1_000_000, 0}, {2, 4_000_000, 0}},
	"separate": {{3, 2_000_000, 0}, {4, 1_000_000, 0}, {2, 4_000_000, 0}},
	"as-given": {{5, 2_000_000, 0}, {5, 1_000_000, 0}, {5, 3_000_000, 1_000_000}},
}

var groups = map[string][][]int{"plan": {{0, 1}, {2}}, "separate": {{0}, {1}, {2}}, "as-given": {{0, 1, 2}}}

func file(t testing.TB, name string, p part) *validation.File {
	t.Helper()
	f, err := validation.NewFile(name, "", &tflite.Compiled{Packages: []tflite.Package{tflitetest.Split(p.token, p.cached, p.streamed)}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// experiment is one of 300 calls in five passes, of models whose compute is known.
func experiment(t testing.TB) *validation.Experiment {
	e := &validation.Experiment{Passes: 5, Session: "v", Seed: 1, DeadlineMS: 1000, Tolerance: 0.1}
	for i, name := range []string{"a", "b", "c"} {
		e.Models = append(e.Models, validation.Model{Name: name, Call: cost.Call{
			FixedMS: float64(10*(i+1)) + warmBytes/rate, ComputeIncluded: true, BytesPerMS: rate, LoadBytes: loadBytes, OverheadMS: 1,
		}})
	}
	for _, name := range []string{"plan", "separate", "as-given"} {
		a := validation.Arrangement{Name: name, Groups: groups[name]}
		for i, p := range parts[name] {
			a.Files = append(a.Files, file(t, fmt.Sprintf("%s/%c.tflite", name, 'a'+i), p))
			a.Planned = append(a.Planned, validation.Split{Cached: p.cached, Streamed: p.streamed})
		}
		e.Arrangements = append(e.Arrangements, a)
	}
	draw := rand.New(rand.NewPCG(7, 7))
	for range 300 {
		e.Sequence = append(e.Sequence, []int{0, 0, 0, 1, 1, 2}[draw.IntN(6)])
	}
	return e
}

// world is a device. It shares nothing with the package: the driver's state is kept here anew.
type world struct {
	rate, overhead float64
	compute        []float64
	stream         float64   // times of a streamed byte
	moved          []float64 // share of the cached bytes that is streamed in truth
	noise          float64   // standard deviation, a share
	slowdown       float64   // of the later half of a run
	temperature    func(late bool) float64
	evict          func(arrangement string, model, call int) bool
	skip           func(arrangement string, model, call int) bool
	output         func(arrangement string, model, call int) string
	outlier        float64 // share of calls that take three times as long
	tokens         map[string][]uint64
}

func newWorld() *world {
	return &world{rate: rate, overhead: 1, compute: []float64{10, 20, 30}, stream: 1, moved: make([]float64, 3), noise: 0.004}
}

func (w *world) samples(t testing.TB, e *validation.Experiment) (list []profile.Sample) {
	t.Helper()
	draw := rand.New(rand.NewPCG(3, 9))
	for _, run := range e.Runs() {
		if err := run.Check(); err != nil {
			t.Fatal(err)
		}
		name := strings.Split(run.Name, ".")[1]
		token, loaded := uint64(0), map[int]bool{}
		for call, step := range run.Steps {
			m := step.Model
			p := parts[name][m]
			if w.tokens[name] != nil {
				p.token = w.tokens[name][m]
			}
			if p.token != token || w.evict != nil && w.evict(name, m, call) {
				token, loaded = p.token, map[int]bool{}
			}
			moved := w.moved[m] * float64(p.cached)
			ms := w.compute[m] + (warmBytes+w.stream*(float64(p.streamed)+moved))/w.rate
			if !loaded[m] {
				loaded[m] = true
				if w.skip == nil || !w.skip(name, m, call) {
					ms += (float64(p.cached)-moved+loadBytes)/w.rate + w.overhead
				}
			}
			late := call > len(run.Steps)/2
			if late {
				ms *= 1 + w.slowdown
			}
			ms *= 1 + w.noise*draw.NormFloat64()
			if draw.Float64() < w.outlier {
				ms *= 3
			}
			s := profile.Sample{Run: run.Name, Model: run.Models[m].Name, Kind: step.Kind, Call: int64(call), MS: ms, Source: profile.Measured, Outputs: run.Models[m].Name}
			if w.output != nil {
				s.Outputs = w.output(name, m, call)
			}
			if w.temperature != nil {
				c := w.temperature(late)
				s.TemperatureC = &c
			}
			if step.Kind != "" {
				list = append(list, s)
			}
		}
	}
	return list
}

func TestRuns(t *testing.T) {
	e := experiment(t)
	runs := e.Runs()
	if len(runs) != 15 {
		t.Fatalf("%d runs", len(runs))
	}
	orders := map[string]bool{}
	for pass := range 5 {
		order := ""
		for _, r := range runs[3*pass : 3*pass+3] {
			order += strings.Split(r.Name, ".")[1] + " "
			if !strings.Contains(r.Name, fmt.Sprintf(".%d.", pass+1)) {
				t.Errorf("run %s in pass %d", r.Name, pass+1)
			}
			if !r.Outputs || len(r.Steps) != 303 || r.Steps[2] != (profile.Step{Model: 2}) || r.Steps[3] != (profile.Step{Model: e.Sequence[0], Kind: profile.Replay}) {
				t.Errorf("run %+v", r.Steps[:4])
			}
		}
		orders[order] = true
	}
	if len(orders) < 2 {
		t.Errorf("all passes have the order %v", orders)
	}
}

// A device that is as predicted: nothing is found, and loads, bytes and times
// are those that a hand count gives.
func TestAsPredicted(t *testing.T) {
	e, w := experiment(t), newWorld()
	w.outlier = 0.02
	r, err := e.Check(w.samples(t, e))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Passed() || len(r.Findings) > 0 {
		t.Errorf("findings %+v", r.Findings)
	}
	if r.Agreement == nil || *r.Agreement != 1 || len(r.Pairs) != 3 {
		t.Errorf("agreement %v of %+v", r.Agreement, r.Pairs)
	}
	// Loads of the plan: c displaces a and b, and these c; a and b do not displace each other.
	loads, bytes := 0, int64(0)
	token, have := 2, map[int]bool{2: true} // after the unrecorded calls of a, b and c
	for _, m := range e.Sequence {
		p := parts["plan"][m]
		if int(p.token) != token {
			token, have = int(p.token), map[int]bool{}
		}
		bytes += warmBytes + p.streamed
		if !have[m] {
			have[m] = true
			loads++
			bytes += p.cached + loadBytes
		}
	}
	plan := &r.Arrangements[0]
	if plan.Loads != loads || plan.Bytes != bytes || plan.Passes != 5 || r.Source != profile.Measured {
		t.Errorf("%d loads and %d bytes, want %d and %d; %s", plan.Loads, plan.Bytes, loads, bytes, r.Source)
	}
	if math.Abs(plan.Error()) > 0.005 || plan.CI == nil || plan.CI.Low > plan.MeasuredMS || plan.CI.High < plan.MeasuredMS || plan.MAPE > 0.01 {
		t.Errorf("%+v", plan.Figures)
	}
	if plan.PlainMS < 1.02*plan.MeasuredMS {
		t.Errorf("outliers are in the plain mean, %v against %v", plan.PlainMS, plan.MeasuredMS)
	}
	if r.Rate == nil || math.Abs(r.Rate.BytesPerMS/rate-1) > 0.01 || r.Rate.Models != 3 {
		t.Errorf("rate %+v", r.Rate)
	}
	if len(r.Slopes) != 1 || r.Slopes[0].Model != "c" || math.Abs(r.Slopes[0].Times-1) > 0.05 || r.Slopes[0].Bytes != 1_000_000 {
		t.Errorf("slopes %+v", r.Slopes)
	}
}

// Each thing that can be wrong is found, named with model and numbers, and
// nothing else is.
func TestFindings(t *testing.T) {
	type want struct {
		kind         validation.Kind
		model        string
		arrangements []string
		evidence     map[string]float64 // within 5 %
		text         string             // part of it
	}
	all := []string{"plan", "separate", "as-given"}
	hundredth := func(call int) bool { return call%20 == 0 }
	for _, test := range []struct {
		name    string
		world   func(*world)
		change  func(t *testing.T, e *validation.Experiment)
		want    []want
		outside bool // times may be outside the tolerance, too
		passes  bool
	}{
		{
			name:  "corrupt output in company",
			world: func(w *world) { w.output = company },
			want:  []want{{kind: validation.CorruptOutput, model: "b", arrangements: []string{"plan"}, text: "other outputs under plan than under separate and as-given"}},
		},
		{
			name: "corrupt output now and then",
			world: func(w *world) {
				w.output = func(a string, m, call int) string {
					if a == "separate" && m == 2 && hundredth(call) {
						return "wrong"
					}
					return fmt.Sprint(m)
				}
			},
			want: []want{{kind: validation.CorruptOutput, model: "c", arrangements: []string{"separate"}, evidence: map[string]float64{"different_outputs": 2}, text: "not always"}},
		},
		{
			name:    "wrong split of one model",
			world:   func(w *world) { w.moved[2] = 0.25 },
			want:    []want{{kind: validation.WrongSplit, model: "c", arrangements: all, evidence: map[string]float64{"warm_more_ms": 25, "load_less_ms": 25, "moved_bytes": 1_000_000}, text: "25 % of 4000000 cached bytes"}},
			outside: true,
		},
		{
			name:    "wrong split of all",
			world:   func(w *world) { w.moved = []float64{0.5, 0.5, 0.5} },
			want:    []want{{kind: validation.WrongSplit, model: "a", arrangements: all}, {kind: validation.WrongSplit, model: "b", arrangements: all}, {kind: validation.WrongSplit, model: "c", arrangements: all}},
			outside: true,
		},
		{
			name:  "wrong split of a model that loads in each call or in none",
			world: func(w *world) { w.moved[2] = 0.25 },
			change: func(t *testing.T, e *validation.Experiment) {
				old := parts["as-given"]
				t.Cleanup(func() { parts["as-given"] = old })
				parts["as-given"] = []part{old[0], old[1], {5, 4_000_000, 0}}
				e.Arrangements[2].Files[2] = file(t, "as-given/c.tflite", parts["as-given"][2])
				e.Arrangements[2].Planned = nil
				for i := range e.Sequence { // never c twice in a row, nor first: it is called before
					if e.Sequence[i] == 2 && (i == 0 || e.Sequence[i-1] == 2) {
						e.Sequence[i] = 0
					}
				}
			},
			want:    []want{{kind: validation.WrongSplit, model: "c", arrangements: all[2:], evidence: map[string]float64{"warm_more_ms": 25, "moved_bytes": 1_000_000}, text: "and calls that load, under"}},
			outside: true,
		},
		{
			name:    "slow link",
			world:   func(w *world) { w.rate = rate / 2 },
			want:    []want{{kind: validation.WrongBandwidth, arrangements: all, evidence: map[string]float64{"factor": 0.5, "fitted_mb_per_s": 20, "predicted_mb_per_s": 40, "models": 3}, text: "20 MB/s fits"}},
			outside: true,
		},
		{
			name:    "fast link",
			world:   func(w *world) { w.rate = rate * 1.5 },
			want:    []want{{kind: validation.WrongBandwidth, arrangements: all, evidence: map[string]float64{"factor": 1.5}}},
			outside: true,
		},
		{
			name:    "very fast link", // loads are as short as if there were none
			world:   func(w *world) { w.rate = rate * 12 },
			want:    []want{{kind: validation.WrongBandwidth, arrangements: all, evidence: map[string]float64{"factor": 12}}},
			outside: true,
		},
		{
			name:    "overhead",
			world:   func(w *world) { w.overhead = 21 },
			want:    []want{{kind: validation.WrongOverhead, arrangements: all, evidence: map[string]float64{"more_ms": 20}}},
			outside: true,
		},
		{
			name:    "another clock",
			world:   func(w *world) { w.compute[0] = 25 },
			want:    []want{{kind: validation.WrongCompute, model: "a", arrangements: all, evidence: map[string]float64{"more_ms": 15}}},
			outside: true,
		},
		{
			name:    "slow streaming",
			world:   func(w *world) { w.stream = 4 },
			want:    []want{{kind: validation.SlowStreaming, model: "c", evidence: map[string]float64{"times": 4, "predicted_times": 1}, arrangements: []string{"plan", "as-given"}}},
			outside: true,
		},
		{
			name:  "slow streaming as predicted",
			world: func(w *world) { w.stream = 4 },
			change: func(_ *testing.T, e *validation.Experiment) {
				for _, a := range e.Arrangements {
					f := a.Files[2]
					streaming := 4 * float64(f.Split.Streamed) / e.Models[2].Call.BytesPerMS
					f.StreamMS = &streaming
				}
			},
			passes: true,
		},
		{
			name: "throttling",
			world: func(w *world) {
				w.slowdown = 0.4
				w.temperature = func(late bool) float64 {
					if late {
						return 80
					}
					return 55
				}
			},
			want:    []want{{kind: validation.Throttled, evidence: map[string]float64{"change": 0.4}, text: "warmer by 25 °C"}},
			outside: true,
		},
		{
			name: "hot from the beginning",
			world: func(w *world) {
				w.rate, w.compute = rate/2, []float64{20, 40, 60}
				w.temperature = func(bool) float64 { return 95 }
			},
			want:    []want{{kind: validation.Throttled, text: "95 °C"}},
			outside: true,
		},
		{
			name:    "drift",
			world:   func(w *world) { w.slowdown = 0.05 },
			want:    []want{{kind: validation.Drifted, evidence: map[string]float64{"change": 0.05}}},
			passes:  true,
			outside: false,
		},
		{
			name:    "a stranger",
			world:   func(w *world) { w.evict = func(a string, m, call int) bool { return a == "as-given" && call%8 == 0 } },
			want:    []want{{kind: validation.Evicted, model: "a", arrangements: all[2:]}, {kind: validation.Evicted, model: "b", arrangements: all[2:]}, {kind: validation.Evicted, model: "c", arrangements: all[2:], evidence: map[string]float64{"load_ms": 76}, text: "something else uses the device"}},
			outside: true,
		},
		{
			name:    "a mate that is none", // b is of another compilation than its file says
			world:   func(w *world) { w.tokens = map[string][]uint64{"as-given": {5, 6, 5}} },
			want:    []want{{kind: validation.Evicted, model: "a", arrangements: all[2:], text: "after a call of b"}, {kind: validation.Evicted, model: "b", arrangements: all[2:]}, {kind: validation.Evicted, model: "c", arrangements: all[2:], text: "after a call of b"}, {kind: validation.Rank}},
			outside: true,
		},
		{
			name: "skipped loads",
			world: func(w *world) {
				w.skip = func(a string, m, call int) bool { return a == "separate" && m == 1 && call%2 == 0 }
			},
			want:    []want{{kind: validation.SkippedLoad, model: "b", arrangements: all[1:2], evidence: map[string]float64{"load_ms": 26}}},
			outside: true,
		},
		{
			name:   "a split that was not planned",
			change: func(_ *testing.T, e *validation.Experiment) { e.Arrangements[0].Planned[1].Cached = 900_000 },
			want:   []want{{kind: validation.WrongSplit, model: "b", arrangements: all[:1], text: "plan/b.tflite has 1000000 bytes cached and 0 streamed, predicted were 900000 and 0"}},
		},
		{
			name:   "a split of a baseline that was not planned",
			change: func(_ *testing.T, e *validation.Experiment) { e.Arrangements[1].Planned[1].Cached = 900_000 },
			want:   []want{{kind: validation.WrongSplit, model: "b", arrangements: all[1:2]}},
			passes: true,
		},
		{
			name:  "files that were not compiled together",
			world: func(w *world) { w.tokens = map[string][]uint64{"plan": {1, 9, 2}} },
			change: func(t *testing.T, e *validation.Experiment) {
				e.Arrangements[0].Files[1] = file(t, "plan/b.tflite", part{9, 1_000_000, 0})
			},
			want: []want{
				{kind: validation.WrongToken, model: "a", arrangements: all[:1], text: "not compiled together with b: they displace each other"},
				{kind: validation.WrongToken, model: "b", arrangements: all[:1], text: "not compiled together with a"},
			},
		},
		{
			name:  "files of two groups that were compiled together",
			world: func(w *world) { w.tokens = map[string][]uint64{"plan": {1, 1, 1}} },
			change: func(t *testing.T, e *validation.Experiment) {
				e.Arrangements[0].Files[2] = file(t, "plan/c.tflite", part{1, 4_000_000, 0})
			},
			want: []want{
				{kind: validation.WrongToken, model: "a", arrangements: all[:1], text: "together with c, which belong"},
				{kind: validation.WrongToken, model: "b", arrangements: all[:1]},
				{kind: validation.WrongToken, model: "c", arrangements: all[:1], text: "together with a and b, which belong"},
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, w := experiment(t), newWorld()
			if test.world != nil {
				test.world(w)
			}
			if test.change != nil {
				test.change(t, e)
			}
			r, err := e.Check(w.samples(t, e))
			if err != nil {
				t.Fatal(err)
			}
			if r.Passed() != test.passes {
				t.Errorf("passed %v, want %v", r.Passed(), test.passes)
			}
			var got, left []want
			for _, f := range r.Findings {
				if test.outside && f.Kind == validation.OutsideTolerance {
					if strings.Contains(f.Text, "no rule") {
						t.Errorf("unexplained: %s", f.Text)
					}
					continue
				}
				if f.Model != "" && !strings.HasPrefix(f.Text, f.Model+": ") || strings.Contains(f.Text, "NaN") {
					t.Errorf("text %q", f.Text)
				}
				t.Log(f.Text)
				got = append(got, want{kind: f.Kind, model: f.Model})
				for _, x := range test.want {
					if x.kind != f.Kind || x.model != f.Model {
						continue
					}
					if x.arrangements != nil && !slices.Equal(x.arrangements, f.Arrangements) {
						t.Errorf("%s: under %v, want %v", f.Kind, f.Arrangements, x.arrangements)
					}
					if !strings.Contains(f.Text, x.text) {
						t.Errorf("%q does not say %q", f.Text, x.text)
					}
					for name, v := range x.evidence {
						if math.Abs(f.Evidence[name]-v) > 0.05*math.Abs(v) {
							t.Errorf("%s: %s is %v, want %v", f.Kind, name, f.Evidence[name], v)
						}
					}
				}
			}
			for _, x := range test.want {
				left = append(left, want{kind: x.kind, model: x.model})
			}
			if diff := cmp.Diff(left, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// company gives b other outputs where it is compiled together with a.
func company(a string, m, _ int) string {
	if a == "plan" && m == 1 {
		return "wrong"
	}
	return fmt.Sprint(m)
}

// Of models that were never profiled compute is estimated from calls of the
// models compiled alone; then differences are what is tested.
func TestComputeEstimated(t *testing.T) {
	e, w := experiment(t), newWorld()
	for i := range e.Models {
		e.Models[i].Call.FixedMS, e.Models[i].Call.ComputeIncluded = warmBytes/float64(rate), false
	}
	r, err := e.Check(w.samples(t, e))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Passed() || len(r.Findings) > 0 {
		t.Errorf("findings %+v", r.Findings)
	}
	for i, c := range r.Computes {
		if c.Included || c.From != "separate" || math.Abs(c.MS-w.compute[i]) > 0.1 {
			t.Errorf("%+v", c)
		}
	}
	w.rate *= 2 // nothing tells it from a cached part that is half as large
	r, err = e.Check(w.samples(t, e))
	if err != nil {
		t.Fatal(err)
	}
	if r.Passed() || r.Findings[0].Kind != validation.WrongBandwidth || !strings.Contains(r.Findings[0].Text, "a smaller cached part would look the same") {
		t.Errorf("findings %+v", r.Findings)
	}
}

// Arrangements that differ by less than the noise are a tie, and ones in the
// other order than predicted are named.
func TestRank(t *testing.T) {
	e, w := experiment(t), newWorld()
	w.noise = 0.2
	e.Arrangements[1].Files, e.Arrangements[1].Planned = e.Arrangements[0].Files, e.Arrangements[0].Planned
	old := parts["separate"]
	t.Cleanup(func() { parts["separate"] = old })
	parts["separate"] = parts["plan"]
	e.Arrangements[1].Groups = e.Arrangements[0].Groups
	r, err := e.Check(w.samples(t, e))
	if err != nil {
		t.Fatal(err)
	}
	if p := r.Pairs[0]; p.Verdict != validation.Tie || p.A != "plan" || p.B != "separate" {
		t.Errorf("%+v", p)
	}
	parts["separate"] = old
	e, w = experiment(t), newWorld()
	w.evict = func(a string, _, call int) bool { return a == "as-given" }
	if r, err = e.Check(w.samples(t, e)); err != nil {
		t.Fatal(err)
	}
	if r.Agreement == nil || *r.Agreement == 1 {
		t.Errorf("agreement %v", r.Agreement)
	}
	if !slices.ContainsFunc(r.Findings, func(f validation.Finding) bool { return f.Kind == validation.Rank && f.Fails }) {
		t.Errorf("findings %+v", r.Findings)
	}
}

func TestSamplesThatDoNotFit(t *testing.T) {
	e, w := experiment(t), newWorld()
	samples := w.samples(t, e)
	if _, err := e.Check(nil); !errors.Is(err, validation.ErrNoSamples) {
		t.Error(err)
	}
	// The last run was cut off: it is left out, and said.
	cut := samples[:len(samples)-10]
	r, err := e.Check(cut)
	if err != nil {
		t.Fatal(err)
	}
	if r.Passes != 4 || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "290 of 300 calls") {
		t.Errorf("%d passes, %q", r.Passes, r.Warnings)
	}
	// Without the plan itself there is nothing to say.
	others := slices.DeleteFunc(slices.Clone(samples), func(s profile.Sample) bool { return strings.Contains(s.Run, ".plan.") })
	if _, err := e.Check(others); !errors.Is(err, validation.ErrNoSamples) {
		t.Error(err)
	}
	// Two passes have no interval, and so no order.
	var few []profile.Sample
	for _, s := range samples {
		if strings.Contains(s.Run, ".1.") || strings.Contains(s.Run, ".2.") {
			few = append(few, s)
		}
	}
	if r, err = e.Check(few); err != nil {
		t.Fatal(err)
	}
	if r.Arrangements[0].CI != nil || r.Agreement != nil || r.Pairs[0].Verdict != validation.Tie {
		t.Errorf("%+v", r.Arrangements[0].Figures)
	}
	// A measurer that mixes calls up.
	samples[5].Model = map[string]string{"a": "b", "b": "c", "c": "a"}[samples[5].Model]
	if _, err := e.Check(samples); err == nil || !strings.Contains(err.Error(), "is not the sequence that is validated") {
		t.Error(err)
	}
	// Another draw, and files that were compiled anew.
	e.Sequence[5] = (e.Sequence[5] + 1) % 3
	if _, err := e.Check(samples); !errors.Is(err, validation.ErrNoSamples) {
		t.Error(err)
	}
	e = experiment(t)
	for k := range e.Arrangements {
		e.Arrangements[k].Files[0].SHA256 = "another"
	}
	if _, err := e.Check(samples); !errors.Is(err, validation.ErrNoSamples) {
		t.Error(err)
	}
}

// An arrangement with the same files as another one is measured once.
func TestSame(t *testing.T) {
	e, w := experiment(t), newWorld()
	e.Arrangements[1].Same, e.Arrangements[1].Files = "plan", e.Arrangements[0].Files
	if n := len(e.Runs()); n != 10 {
		t.Errorf("%d runs", n)
	}
	r, err := e.Check(w.samples(t, e))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := r.Arrangements[0], r.Arrangements[1]; b.Name != "separate" || b.Same != "plan" || b.MeasuredMS != a.MeasuredMS || len(r.Pairs) != 1 {
		t.Errorf("%+v, pairs %+v", b, r.Pairs)
	}
	e.Arrangements[2].Files = nil // not compiled
	if r, err = e.Check(w.samples(t, e)); err != nil {
		t.Fatal(err)
	}
	if r.Arrangements[2].Measured || len(r.Pairs) != 0 {
		t.Errorf("%+v", r.Arrangements[2])
	}
}

// The intervals hold the truth as often as they say.
func TestIntervalsAreHonest(t *testing.T) {
	e := experiment(t)
	e.Sequence = e.Sequence[:40]
	e.Arrangements = e.Arrangements[:1]
	draw := rand.New(rand.NewPCG(5, 5))
	const sets = 400
	inside := 0
	truth, err := e.Check(newWorldWithoutNoise().samples(t, e))
	if err != nil {
		t.Fatal(err)
	}
	for range sets {
		samples := newWorldWithoutNoise().samples(t, e)
		level, last := 1.0, ""
		for i := range samples {
			if samples[i].Run != last { // some runs are slower, as real ones are
				last, level = samples[i].Run, 1+0.01*draw.NormFloat64()
			}
			samples[i].MS *= level * (1 + 0.02*draw.NormFloat64())
		}
		r, err := e.Check(samples)
		if err != nil {
			t.Fatal(err)
		}
		if ci := r.Arrangements[0].CI; ci.Low <= truth.Arrangements[0].MeasuredMS && truth.Arrangements[0].MeasuredMS <= ci.High {
			inside++
		}
	}
	if share := float64(inside) / sets; share < 0.92 || share > 0.98 {
		t.Errorf("95 %% intervals hold the truth in %.1f %% of cases", 100*share)
	}
}

func newWorldWithoutNoise() *world {
	w := newWorld()
	w.noise = 0
	return w
}

// BenchmarkCheck checks 150,000 samples.
func BenchmarkCheck(b *testing.B) {
	e, w := experiment(b), newWorld()
	for len(e.Sequence) < 10_000 {
		e.Sequence = append(e.Sequence, e.Sequence...)
	}
	e.Sequence = e.Sequence[:10_000]
	samples := w.samples(b, e)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Check(samples); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(samples))*float64(b.N)/b.Elapsed().Seconds(), "samples/s")
}

// A session may hold periods: it is named after a file.
func TestSessionOf(t *testing.T) {
	for run, want := range map[string]string{
		"validate-3.plan.1.0123abcd": "validate-3", "a.night.as-given.12.0123abcd": "a.night", "r": "r", "a.b": "a", ".plan.1.x": "",
	} {
		if got := validation.SessionOf(run); got != want {
			t.Errorf("%q: %q, want %q", run, got, want)
		}
	}
}
