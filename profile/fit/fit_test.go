package fit_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/fit"
)

// world is a device of which everything is known, and a clock that is not
// perfect. It is written from the definition of a call, not from the fit.
type world struct {
	mbPerS, overhead, overlap float64
	models                    []truth
	relative, constant        float64 // standard deviations of a sample, in parts of the time and in ms
	perRun                    float64 // of what all calls of one file and kind in a run have in common, in parts
	follow                    float64 // correlation of successive samples
}

type truth struct {
	name           string
	compute        float64 // ms
	nsPerByte      float64 // slope
	fixed          int64
	cached, stream []int64 // one for each split
}

const mib = 1 << 20

func (w *world) ms(m *truth, split int, cold bool) float64 {
	perByte := 1 / (w.mbPerS * 1000)
	t := m.compute + float64(m.fixed+m.stream[split])*perByte + float64(m.stream[split])*m.nsPerByte*1e-6
	if cold {
		t += math.Max(0, float64(m.cached[split]+10_240)*perByte-w.overlap) + w.overhead
	}
	return t
}

// timed makes n samples of every kind in each of some runs. Models of several splits are
// loaded in the first one only.
func (w *world) timed(seed uint64, runs, n int) *fit.Data {
	random := rand.New(rand.NewPCG(seed, 17))
	d := &fit.Data{}
	for i := range w.models {
		m := &w.models[i]
		for k := range m.stream {
			d.Files = append(d.Files, fit.File{Model: m.name, CalibratedFile: cost.CalibratedFile{
				File: fmt.Sprintf("%s-%d", m.name, k), CachedBytes: m.cached[k], StreamedBytes: m.stream[k], FixedBytes: m.fixed, LoadBytes: 10_240,
			}})
			for r := range runs {
				for _, cold := range []bool{false, true} {
					if cold && (k > 0 || m.cached[k] == 0) {
						continue
					}
					mean := w.ms(m, k, cold) * (1 + w.perRun*random.NormFloat64())
					away := random.NormFloat64()
					for range n {
						away = w.follow*away + math.Sqrt(1-w.follow*w.follow)*random.NormFloat64()
						t := mean + away*math.Hypot(w.relative*mean, w.constant)
						d.Timings = append(d.Timings, fit.Timing{File: len(d.Files) - 1, Cold: cold, MS: t, Run: fmt.Sprint(r), Source: profile.Simulated})
					}
				}
			}
		}
	}
	return d
}

func pi() *world {
	return &world{
		mbPerS: 34, overhead: 6, relative: 0.016, constant: 0.05,
		models: []truth{
			{name: "bird", compute: 5, fixed: 210_000, cached: []int64{3_900_864}, stream: []int64{0}},
			{name: "detect", compute: 9, nsPerByte: 60, fixed: 330_000, cached: []int64{5 * mib, 3 * mib}, stream: []int64{256 << 10, 2*mib + 256<<10}},
			{name: "tiny", compute: 2, nsPerByte: 20, fixed: 90_000, cached: []int64{1 * mib, 0}, stream: []int64{0, 1 * mib}},
		},
	}
}

// number is a parameter with what is true of it.
type number struct {
	name  string
	e     cost.Estimate
	truth float64
}

func (w *world) numbers(c *cost.Calibration) []number {
	all := []number{{"load", c.Load, w.mbPerS * 1000}, {"overhead", c.Over, w.overhead}}
	for i := range w.models {
		m := c.Model(w.models[i].name, "")
		all = append(all, number{"compute " + m.Name, m.Compute, w.models[i].compute})
		if m.Slope.Known() {
			all = append(all, number{"slope " + m.Name, m.Slope, w.models[i].nsPerByte * 1e-6})
		}
	}
	return all
}

func (n *number) covered() bool {
	return (n.e.Low == nil || *n.e.Low <= n.truth) && (n.e.High == nil || n.truth <= *n.e.High)
}

// Intervals are honest: over 200 data sets the 95 % intervals hold the truth
// in 90 to 99 % of cases, whatever the noise is like and however few the samples.
func TestIntervalsAreHonest(t *testing.T) {
	if testing.Short() {
		t.Skip("fits hundreds of data sets")
	}
	usb3 := func() *world {
		w := pi()
		w.mbPerS, w.overhead = 400, 0.6
		return w
	}
	for _, test := range []struct {
		name    string
		world   func() *world
		runs, n int
		change  func(*world)
	}{
		{"relative noise", pi, 1, 20, func(*world) {}},
		{"constant noise", pi, 1, 20, func(w *world) { w.relative, w.constant = 0, 0.4 }},
		{"a fast link", usb3, 1, 20, func(*world) {}},
		{"few repeats", pi, 2, 6, func(*world) {}},
		{"many repeats", pi, 1, 100, func(*world) {}},
		{"several runs", pi, 3, 10, func(*world) {}},
		{"no slope, no overhead", pi, 1, 20, func(w *world) {
			w.overhead = 0
			for i := range w.models {
				w.models[i].nsPerByte = 0
			}
		}},
		{"runs that differ", pi, 8, 10, func(w *world) { w.perRun = 0.02 }},
		{"samples that follow each other", pi, 1, 60, func(w *world) { w.follow = 0.6 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const sets = 200
			w := test.world()
			test.change(w)
			covered, total := map[string]int{}, map[string]int{}
			all, allCovered := 0, 0
			for seed := range uint64(sets) {
				c, err := fit.Fit(w.timed(seed, test.runs, test.n), nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range w.numbers(c) {
					total[n.name]++
					all++
					if n.covered() {
						covered[n.name]++
						allCovered++
					}
				}
			}
			t.Logf("all: %.1f %%", 100*float64(allCovered)/float64(all))
			for name, n := range total {
				share := float64(covered[name]) / float64(n)
				t.Logf("%-16s %.1f %% of %d", name, 100*share, n)
				if n != sets || share < 0.90 || share > 0.99 {
					t.Errorf("%s: the interval holds the truth in %.1f %% of %d data sets", name, 100*share, n)
				}
			}
		})
	}
}

func mustFit(t *testing.T, d *fit.Data, link *cost.Link) *cost.Calibration {
	t.Helper()
	c, err := fit.Fit(d, link)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func near(t *testing.T, what string, got, want, percent float64) {
	t.Helper()
	if !(math.Abs(got-want) <= math.Abs(want)*percent/100) {
		t.Errorf("%s = %v, want %v within %v %%", what, got, want, percent)
	}
}

// Without noise everything comes out as it was put in.
func TestExactSamples(t *testing.T) {
	w := pi()
	w.relative, w.constant = 0, 0
	c := mustFit(t, w.timed(1, 1, 3), nil)
	for _, n := range w.numbers(c) {
		near(t, n.name, n.e.Value, n.truth, 0.001)
		if n.e.Source != "simulated" || n.e.Low == nil || n.e.High == nil {
			t.Errorf("%s: %+v", n.name, n.e)
		}
	}
	if c.Overlap.Known() || c.Overlap.Value != 0 || len(c.Overlap.With) != 1 || c.Overlap.With[0] != "the overhead of a load" {
		t.Errorf("overlap %+v: want it inseparable from the overhead", c.Overlap)
	}
	if m := c.Model("bird", ""); m.Slope.Known() || m.Slope.Why != "no file of it that was timed streams parameters" {
		t.Errorf("slope of bird: %+v", m.Slope)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings %q", c.Warnings)
	}
}

// Three outliers of twenty samples move no parameter by more than its
// interval: the twenty samples of every kind of call, or twenty in all.
func TestThreeOutliersOfTwenty(t *testing.T) {
	spoil := func(d *fit.Data, random *rand.Rand, every int) {
		for first := 0; first+every <= len(d.Timings); first += every {
			factor := []float64{1.3, 3, 20}[random.IntN(3)]
			for _, k := range random.Perm(every)[:3] {
				d.Timings[first+k].MS *= factor
			}
		}
	}
	small := func() *world {
		w := pi()
		w.models = w.models[:1] // ten warm calls and ten that load
		return w
	}
	for _, test := range []struct {
		name     string
		world    *world
		n, every int
	}{
		{"of every kind of call", pi(), 20, 20},
		{"of all samples", small(), 10, 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			var link *cost.Link
			for seed := range uint64(100) {
				clean := test.world.timed(seed, 1, test.n)
				before := mustFit(t, clean, link)
				spoil(clean, rand.New(rand.NewPCG(seed, 3)), test.every)
				after := mustFit(t, clean, link)
				was := test.world.numbers(before)
				for i, now := range test.world.numbers(after) {
					if !was[i].e.Known() {
						continue
					}
					if now.name != was[i].name || !now.e.Known() || now.e.Value < *was[i].e.Low || now.e.Value > *was[i].e.High {
						t.Errorf("seed %d: %s was %v [%v, %v], is %v", seed, now.name, was[i].e.Value, *was[i].e.Low, *was[i].e.High, now.e.Value)
					}
				}
				if after.Samples.Outliers == 0 {
					t.Errorf("seed %d: no outlier seen", seed)
				}
			}
		})
	}
}

// What samples cannot tell is said, with what it is mixed up with, and keeps its value.
func TestInseparable(t *testing.T) {
	link, err := cost.BuiltinLink("usb3")
	if err != nil {
		t.Fatal(err)
	}
	w := pi()
	w.mbPerS = 400
	same := func(c, d int64) *world {
		w := pi()
		w.models = []truth{
			{name: "a", compute: 5, fixed: 100_000, cached: []int64{c}, stream: []int64{0}},
			{name: "b", compute: 7, fixed: 200_000, cached: []int64{d}, stream: []int64{0}},
		}
		return w
	}
	t.Run("loads of one size", func(t *testing.T) {
		c := mustFit(t, same(4_000_000, 4_010_000).timed(1, 1, 20), &link)
		if c.Over.Known() || c.Over.Value != 0.43 || len(c.Over.With) != 1 || c.Over.With[0] != "the link's rate" {
			t.Errorf("overhead %+v", c.Over)
		}
		if !c.Load.Known() {
			t.Errorf("rate %+v", c.Load)
		}
		// 6 ms of overhead of a load of 118 ms are taken for transfer.
		near(t, "rate", c.Load.Value, 4_015_240/(4_015_240/34e3+6-0.43), 2)
	})
	t.Run("loads of nearly one size", func(t *testing.T) {
		c := mustFit(t, same(4_000_000, 4_400_000).timed(1, 1, 20), &link)
		if !c.Over.Known() || !containsText(c.Warnings, "the overhead of a load and the link's rate can hardly be told apart; time loads of very different sizes") {
			t.Errorf("overhead %+v, warnings %q", c.Over, c.Warnings)
		}
	})
	t.Run("warm calls only", func(t *testing.T) {
		d := same(4_000_000, 1_000_000).timed(1, 1, 20)
		d.Timings = keep(d.Timings, func(x fit.Timing) bool { return !x.Cold })
		c := mustFit(t, d, &link)
		if c.Load.Known() || c.Load.Value != 455e3 || c.Link != "usb3" {
			t.Errorf("rate %+v of link %q", c.Load, c.Link)
		}
		if c.Over.Known() || c.Over.Why != "no call that loads was timed" {
			t.Errorf("overhead %+v", c.Over)
		}
		near(t, "compute", c.Model("a", "").Compute.Value, 5+100_000/34e3-100_000/455e3, 2)
		if _, err := fit.Fit(d, nil); !errors.Is(err, fit.ErrNoLink) {
			t.Errorf("without a link: %v", err)
		}
	})
	t.Run("one sample of each", func(t *testing.T) {
		c := mustFit(t, same(4_000_000, 1_000_000).timed(1, 1, 1), &link)
		if c.Load.Low != nil || !c.Load.Known() || !containsText(c.Warnings, "as many samples as parameters") {
			t.Errorf("rate %+v, warnings %q", c.Load, c.Warnings)
		}
	})
	t.Run("bytes that take no time", func(t *testing.T) {
		d := same(4_000_000, 1_000_000).timed(1, 1, 20)
		for i := range d.Timings {
			if d.Timings[i].MS = 5; d.Timings[i].Cold {
				d.Timings[i].MS = 4.9
			}
		}
		// It is said, and as no time fits, nothing is returned.
		_, err := fit.Fit(d, &link)
		far, ok := errors.AsType[*fit.OutliersError](err)
		if !ok || far.Outliers != 80 {
			t.Fatal(err)
		}
		if c := far.Calibration; c.Load.Known() || c.Load.Value != 455e3 || c.Load.Why != "calls that send more bytes do not take longer" {
			t.Errorf("rate %+v", c.Load)
		}
	})
	t.Run("no samples", func(t *testing.T) {
		if _, err := fit.Fit(&fit.Data{}, &link); !errors.Is(err, fit.ErrNoSamples) {
			t.Error(err)
		}
	})
}

func containsText(list []string, text string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, text) })
}

func keep(list []fit.Timing, want func(fit.Timing) bool) []fit.Timing {
	return slices.DeleteFunc(slices.Clone(list), func(t fit.Timing) bool { return !want(t) })
}

// Compute that runs while a load is on its way hides part of it, or all of a small one.
func TestOverlap(t *testing.T) {
	w := pi()
	w.overhead, w.overlap = 1, 20
	t.Run("of part of every load", func(t *testing.T) {
		c := mustFit(t, w.timed(1, 1, 50), nil)
		// 20 ms hidden and 1 ms more: with the built-in overhead of 0.43 ms it is 19.43.
		near(t, "overlap", c.Overlap.Value, 19.43, 5)
		if c.Over.Known() || c.Over.Value != 0.43 || !containsText(c.Over.With, "the overlap of a load") {
			t.Errorf("overhead %+v", c.Over)
		}
		near(t, "rate", c.Load.Value, 34e3, 1)
	})
	t.Run("of all of a small load", func(t *testing.T) {
		w := *w
		w.overhead = 3
		w.models = append(slices.Clone(w.models), truth{name: "dot", compute: 30, fixed: 50_000, cached: []int64{100_000}, stream: []int64{0}},
			truth{name: "spot", compute: 20, fixed: 50_000, cached: []int64{300_000}, stream: []int64{0}})
		c := mustFit(t, w.timed(1, 1, 50), nil)
		near(t, "overlap", c.Overlap.Value, 20, 5)
		near(t, "overhead", c.Over.Value, 3, 10)
		near(t, "rate", c.Load.Value, 34e3, 1)
		for _, e := range []cost.Estimate{c.Overlap, c.Over} {
			if !e.Known() || e.Low == nil || e.High == nil || *e.Low >= e.Value || *e.High <= e.Value {
				t.Errorf("%+v", e)
			}
		}
	})
}

// Streaming that is faster than loading cannot be a slope: it gets a rate of its own.
func TestStreamingRate(t *testing.T) {
	w := pi()
	for i := range w.models {
		w.models[i].nsPerByte = 1e6/(68*1000) - 1e6/(34*1000) // 68 MB/s instead of 34
	}
	d := w.timed(1, 1, 50)
	for i := range d.Files { // what else is sent goes at that rate, too
		d.Files[i].FixedBytes = 0
	}
	c := mustFit(t, d, nil)
	near(t, "rate of loads", c.Load.Value, 34e3, 1)
	near(t, "rate of streaming", c.Stream.Value, 68e3, 3)
	if !c.Stream.Known() || !containsText(c.Warnings, "streamed faster than they are loaded") || c.Model("tiny", "").Slope.Known() {
		t.Errorf("stream %+v, warnings %q", c.Stream, c.Warnings)
	}
}

// A number that rests on a simulated sample is not measured, and a mixture is said.
func TestSources(t *testing.T) {
	w := pi()
	d := w.timed(1, 1, 10)
	for i := range d.Timings {
		d.Timings[i].Source = profile.Measured
		if d.Files[d.Timings[i].File].Model == "tiny" {
			d.Timings[i].Source = profile.Imported
		}
	}
	c := mustFit(t, d, nil)
	for _, n := range []struct {
		got, want string
	}{{c.Model("bird", "").Compute.Source, "measured"}, {c.Model("tiny", "").Compute.Source, "imported"}, {c.Load.Source, "imported"}} {
		if n.got != n.want {
			t.Errorf("source %s, want %s", n.got, n.want)
		}
	}
	d.Timings[0].Source = profile.Simulated // a call of bird
	c = mustFit(t, d, nil)
	if got := c.Model("bird", "").Compute.Source; got != "simulated" {
		t.Errorf("bird is %s", got)
	}
	if got := c.Model("detect", "").Compute.Source; got != "measured" {
		t.Errorf("detect is %s", got)
	}
	if !containsText(c.Warnings, "mixture: 49 measured, 30 imported, 1 simulated") {
		t.Errorf("warnings %q", c.Warnings)
	}
}

// The order of files and of models changes nothing but round-off.
func TestOrderOfSamplesIsIndifferent(t *testing.T) {
	w := pi()
	a := mustFit(t, w.timed(5, 2, 10), nil)
	d := w.timed(5, 2, 10)
	slices.SortStableFunc(d.Timings, func(x, y fit.Timing) int { return y.File - x.File })
	if diff := gocmp.Diff(a, mustFit(t, d, nil)); diff != "" {
		t.Error(diff)
	}
}

// Ten thousand samples of 20 models, in ten runs.
func BenchmarkFit(b *testing.B) {
	w := pi()
	w.models = nil
	for i := range 20 {
		w.models = append(w.models, truth{
			name: fmt.Sprintf("m%02d", i), compute: 3 + float64(i), nsPerByte: 10, fixed: 200_000 + int64(i)*10_000,
			cached: []int64{int64(1+i%7) * mib, 0}, stream: []int64{0, int64(1+i%7) * mib},
		})
	}
	d := w.timed(1, 10, 17)
	d.Timings = d.Timings[:10_000]
	b.ResetTimer()
	for b.Loop() {
		if _, err := fit.Fit(d, nil); err != nil {
			b.Fatal(err)
		}
	}
}
