package fit_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/fit"
)

// hardware is a device and a host of which everything is known, and nets whose
// ops are. It is written from the definition of a call, not from the fit.
type hardware struct {
	link           cost.Link // what is believed
	mbPerS, host   float64   // what is true
	msPerByte      float64   // of output
	overhead       float64
	common         float64 // factor of compute of all nets
	off            float64 // standard deviation of a net's own factor, in parts
	relative       float64 // standard deviation of a sample, in parts
	nets           []net
	factor, passes map[string]float64 // of each net, those of passes where they are not 1
}

type net struct {
	name          string
	fixed, output int64 // all bytes besides parameters, and of them the output
	ops           []op
	splits        [][]int // for each file the ops that are streamed
}

type op struct {
	ms     float64 // by its shape
	bytes  int64
	passes float64
}

func (h *hardware) steady(n *net, streamed []int) float64 {
	perByte := 1 / (h.mbPerS * 1000)
	t := h.host + float64(n.fixed-n.output)*perByte + float64(n.output)*h.msPerByte
	in := map[int]bool{}
	for _, k := range streamed {
		in[k] = true
	}
	for k, o := range n.ops {
		compute, transfer := h.factor[n.name]*o.ms, 0.0
		if in[k] {
			transfer = float64(o.bytes) * perByte
			if times := h.passes[n.name]; o.passes > 1 {
				transfer *= math.Max(1, o.passes*times)
			}
		}
		t += math.Max(compute, transfer)
	}
	return t
}

func (h *hardware) file(n *net, k int) fit.File {
	f := fit.File{Model: n.name, CalibratedFile: cost.CalibratedFile{
		File: fmt.Sprintf("%s-%d", n.name, k), FixedBytes: n.fixed, OutputBytes: n.output, LoadBytes: 10_240,
	}}
	for _, o := range n.ops {
		f.CachedBytes += o.bytes
		f.Ops = append(f.Ops, cost.Op{MS: o.ms, Passes: o.passes})
	}
	for _, i := range n.splits[k] {
		f.Ops[i].Streamed = float64(n.ops[i].bytes)
		f.StreamedBytes += n.ops[i].bytes
		f.CachedBytes -= n.ops[i].bytes
	}
	return f
}

// timed makes n samples of every kind of call of every file. Nets are as far from their
// shapes as the seed says.
func (h *hardware) timed(seed uint64, n int) *fit.Data {
	random := rand.New(rand.NewPCG(seed, 5))
	d := &fit.Data{}
	h.factor = map[string]float64{}
	for i := range h.nets {
		m := &h.nets[i]
		h.factor[m.name] = h.common * (1 + h.off*random.NormFloat64())
		for k := range m.splits {
			f := h.file(m, k)
			d.Files = append(d.Files, f)
			steady := h.steady(m, m.splits[k])
			for _, cold := range []bool{false, true} {
				mean := steady
				if cold {
					if mean += float64(f.CachedBytes+f.LoadBytes)/(h.mbPerS*1000) + h.overhead; f.CachedBytes == 0 {
						continue
					}
				}
				for range n {
					d.Timings = append(d.Timings, fit.Timing{
						File: len(d.Files) - 1, Cold: cold, MS: mean * (1 + h.relative*random.NormFloat64()), Run: "r", Source: profile.Measured,
					})
				}
			}
		}
	}
	return d
}

func (h *hardware) compute(m *net) float64 {
	ms := h.host
	for _, o := range m.ops {
		ms += h.factor[m.name] * o.ms
	}
	return ms
}

func (h *hardware) numbers(c *cost.Calibration) []number {
	all := []number{{"load", c.Load, h.mbPerS * 1000}, {"overhead", c.Over, h.overhead}}
	if c.Host.Known() {
		all = append(all, number{"host", *c.Host, h.host})
	}
	if c.Output.Known() {
		all = append(all, number{"output", *c.Output, h.msPerByte})
	}
	for i := range h.nets {
		m := c.Model(h.nets[i].name, "")
		all = append(all, number{"compute " + m.Name, m.Compute, h.compute(&h.nets[i])}, number{"factor " + m.Name, *m.Factor, h.factor[m.Name]})
		if m.Passes != nil && m.Passes.Known() {
			all = append(all, number{"passes " + m.Name, *m.Passes, h.passes[m.Name]})
		}
	}
	return all
}

// conv is a convolution whose transfer takes so much of its compute, on the link of desktop.
func conv(ms, times float64) op { return op{ms: ms, bytes: int64(ms * times * 455e3), passes: 1} }

func desktop(t testing.TB) *hardware {
	t.Helper()
	link, err := cost.BuiltinLink("usb3")
	if err != nil {
		t.Fatal(err)
	}
	h := &hardware{
		link: link, mbPerS: 400, host: 0.3, msPerByte: link.OutputMSPerByte, overhead: 0.6, common: 1.1, off: 0.08, relative: 0.016,
		passes: map[string]float64{},
	}
	early, middle, late := conv(0.6, 0.4), conv(0.5, 1.6), conv(0.3, 8) // 48 x 48, 14 x 14 and 7 x 7 maps
	add := func(name string, fixed, output int64, early3, middle3, late3 int, splits ...[]int) {
		n := net{name: name, fixed: fixed, output: output, splits: splits}
		for _, x := range []struct {
			op
			n int
		}{{early, early3}, {middle, middle3}, {late, late3}} {
			for range x.n {
				n.ops = append(n.ops, x.op)
			}
		}
		h.nets = append(h.nets, n)
	}
	add("tiny", 90_000, 1_000, 1, 0, 1, nil)
	add("small", 120_000, 4_000, 1, 1, 1, nil)
	add("middle", 200_000, 1_000, 3, 2, 3, []int{7}, []int{0, 3, 4, 6, 7})
	add("large", 300_000, 20_000, 6, 4, 4, []int{12, 13}, []int{0, 1, 6, 7, 8, 12, 13})
	add("huge", 400_000, 1_000, 20, 10, 12, []int{36, 37, 38, 39, 40, 41}, []int{0, 1, 2, 20, 21, 22, 36, 37, 38, 39, 40, 41})
	return h
}

// inPasses is a device with a net whose maps are cut: its streamed ops are sent more often than predicted.
func inPasses(t testing.TB) *hardware {
	t.Helper()
	h := desktop(t)
	cut := op{ms: 0.5, bytes: 150_000, passes: 4}
	h.nets = append(h.nets, net{name: "wide", fixed: 250_000, output: 1_000, ops: []op{cut, cut, cut, cut, cut, conv(0.3, 8)}, splits: [][]int{{4}, {2, 3, 4, 5}}})
	h.passes["wide"] = 1.5
	return h
}

// Without noise, and with models as far from their shapes as one another, everything comes out as it was put in.
func TestExactOps(t *testing.T) {
	h := inPasses(t)
	h.off, h.relative = 0, 0
	c := mustFit(t, h.timed(1, 3), &h.link)
	for _, n := range h.numbers(c) {
		near(t, n.name, n.e.Value, n.truth, 0.01)
		if n.e.Source != "measured" || n.e.Low == nil || n.e.High == nil {
			t.Errorf("%s: %+v", n.name, n.e)
		}
	}
	if !c.Host.Known() || c.Model("wide", "").Passes == nil || c.Model("huge", "").Passes != nil {
		t.Errorf("host %+v, passes %+v", c.Host, c.Model("wide", "").Passes)
	}
	if c.Output.Known() || c.Output.Value != h.link.OutputMSPerByte || c.Output.Why == "" {
		t.Errorf("output %+v", c.Output)
	}
	if s := c.Model("huge", "").Slope; s.Known() || s.Value != 0 {
		t.Errorf("slope %+v", s)
	}
	if c.Residuals.WorstPercent > 0.01 {
		t.Errorf("off by %v %%", c.Residuals.WorstPercent)
	}
}

// The intervals hold the truth in 90 to 99 % of 200 data sets, each with nets as
// far from their shapes as real ones are.
func TestIntervalsOfOpsAreHonest(t *testing.T) {
	if testing.Short() {
		t.Skip("fits hundreds of data sets")
	}
	for _, test := range []struct {
		name   string
		of     func(testing.TB) *hardware
		n      int
		change func(*hardware)
		told   []string // besides what always is
	}{
		{"nets that fit", desktop, 20, func(*hardware) {}, []string{"host"}},
		{"few repeats", desktop, 6, func(*hardware) {}, []string{"host"}},
		{"a net in passes", inPasses, 20, func(*hardware) {}, []string{"host", "passes wide"}},
		// Two nets do not tell the host, which is another than the built-in one.
		{"two nets", desktop, 20, func(h *hardware) { h.nets = h.nets[3:] }, nil},
		{"large outputs", desktop, 20, func(h *hardware) {
			h.msPerByte = 8e-6
			h.nets[0].output, h.nets[0].fixed = 1_500_000, 1_600_000
			h.nets[3].output, h.nets[3].fixed = 2_500_000, 2_800_000
		}, []string{"output"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const sets = 200
			h := test.of(t)
			test.change(h)
			covered, total := map[string]int{}, map[string]int{}
			for seed := range uint64(sets) {
				c := mustFit(t, h.timed(seed, test.n), &h.link)
				for _, n := range h.numbers(c) {
					total[n.name]++
					if n.covered() {
						covered[n.name]++
					}
				}
			}
			for _, name := range test.told {
				if total[name] < sets/2 {
					t.Errorf("%s is told by %d of %d sets", name, total[name], sets)
				}
			}
			// Where the host keeps what is built in, intervals are wide enough for any host of the kind.
			most := 0.99
			if total["host"] < sets/2 {
				most = 1
			}
			for name, n := range total {
				share := float64(covered[name]) / float64(n)
				t.Logf("%-16s %.1f %% of %d", name, 100*share, n)
				// The host is not told by every set of nets.
				if n != sets && name != "host" || share < 0.90 || share > most {
					t.Errorf("%s: the interval holds the truth in %.1f %% of %d data sets", name, 100*share, n)
				}
			}
		})
	}
}

// Three nets of known shapes may tell the host, fewer do not; what is kept says why.
func TestHostOfSeveralModels(t *testing.T) {
	h := desktop(t)
	h.off, h.relative = 0.02, 0.004
	c := mustFit(t, h.timed(3, 20), &h.link)
	if !c.Host.Known() || c.Host.Source != "measured" {
		t.Errorf("host %+v", c.Host)
	}
	near(t, "host", c.Host.Value, h.host, 25)
	if width := *c.Host.High - *c.Host.Low; width > 0.43 {
		t.Errorf("host %v to %v, which hosts of the kind are known to take anyway", *c.Host.Low, *c.Host.High)
	}

	h.nets = h.nets[3:]
	c = mustFit(t, h.timed(3, 20), &h.link)
	if c.Host.Known() || c.Host.Value != 0.13 || c.Host.Low != nil || c.Host.Why != "the compute of 3 models by their shapes would tell it, and it is known of 2" {
		t.Errorf("host of two models: %+v", c.Host)
	}
	if f := c.Model("large", "").Factor; !f.Known() || *f.Low > h.factor["large"] || *f.High < h.factor["large"] {
		t.Errorf("factor %+v", f)
	}

	// Three nets of one size: their compute and the host are one and the same.
	h = desktop(t)
	h.nets = []net{h.nets[2], h.nets[2], h.nets[2]}
	h.nets[1].name, h.nets[2].name = "other", "third"
	c = mustFit(t, h.timed(3, 20), &h.link)
	if c.Host.Known() || len(c.Host.With) != 1 || c.Host.With[0] != "the compute of the models" {
		t.Errorf("host of equal models: %+v", c.Host)
	}

	// A net that takes twice what its shapes say does not make the others' host another one.
	h = desktop(t)
	h.off = 0.02
	extra := h.nets[2]
	extra.name = "dense"
	h.nets = append(h.nets, extra)
	d := h.timed(3, 20)
	before := mustFit(t, d, &h.link)
	for i := range d.Timings {
		if f := &d.Files[d.Timings[i].File]; f.Model == "dense" {
			d.Timings[i].MS += h.compute(&extra) - h.host
		}
	}
	after := mustFit(t, d, &h.link)
	if !after.Host.Known() || math.Abs(after.Host.Value-before.Host.Value) > (*before.Host.High-*before.Host.Low)/2 {
		t.Errorf("host %+v, was %+v", after.Host, before.Host)
	}
}

// What ops compute hides what they stream: by bytes alone the same calls say that streaming costs
// nothing, or something else.
func TestStreamingThatHides(t *testing.T) {
	h := desktop(t)
	h.off, h.relative = 0, 0.002
	h.nets = h.nets[4:]
	h.nets[0].splits = [][]int{{41}, {0, 1, 2, 3, 4, 5, 6, 7, 41}} // early ops, whose transfer is hidden
	d := h.timed(1, 20)
	c := mustFit(t, d, &h.link)
	near(t, "rate", c.Load.Value, h.mbPerS*1000, 1)
	near(t, "compute", c.Model("huge", "").Compute.Value, h.compute(&h.nets[0]), 1)
	if c.Residuals.WorstPercent > 0.5 || c.Residuals.Excess > 0 {
		t.Errorf("%+v", c.Residuals)
	}
	for i := range d.Files {
		d.Files[i].Ops = nil
	}
	if c = contradicted(t, d, &h.link); c.Model("huge", "").Factor != nil || c.Residuals.WorstPercent < 2 {
		t.Errorf("without ops: factor %+v, off by %v %%", c.Model("huge", "").Factor, c.Residuals.WorstPercent)
	}
	// One file without ops leaves its model without.
	d = h.timed(1, 20)
	d.Files[1].Ops = nil
	if c = contradicted(t, d, &h.link); c.Model("huge", "").Factor != nil {
		t.Errorf("ops of one file of two: factor %+v", c.Model("huge", "").Factor)
	}
}

// contradicted is what comes out of samples of which too many are outliers.
func contradicted(t *testing.T, d *fit.Data, link *cost.Link) *cost.Calibration {
	t.Helper()
	_, err := fit.Fit(d, link)
	e, ok := errors.AsType[*fit.OutliersError](err)
	if !ok {
		t.Fatalf("%v, want too many outliers", err)
	}
	return e.Calibration
}

// A net all of whose ops are streamed and last no longer than that says nothing of its compute.
func TestComputeThatHides(t *testing.T) {
	h := desktop(t)
	n := net{name: "dense", fixed: 20_000, output: 1_000, splits: [][]int{{0, 1, 2, 3}}}
	for range 4 {
		n.ops = append(n.ops, conv(0.05, 40))
	}
	h.nets = append(h.nets, n)
	c := mustFit(t, h.timed(2, 20), &h.link)
	m := c.Model("dense", "")
	if m.Compute.Known() || m.Factor.Known() || m.Factor.Value != 1 || !containsText([]string{m.Compute.Why}, "hides behind what it streams") {
		t.Errorf("compute %+v, factor %+v", m.Compute, m.Factor)
	}
	if !containsText(c.Warnings, `the compute time of "dense" is not known: what it computes hides`) {
		t.Errorf("warnings %q", c.Warnings)
	}
	near(t, "rate", c.Load.Value, h.mbPerS*1000, 2)
}

// Passes whose transfer hides keep what is predicted, and so do those of which nothing is streamed.
func TestPassesThatDoNotShow(t *testing.T) {
	h := inPasses(t)
	wide := &h.nets[len(h.nets)-1]
	wide.splits = [][]int{{5}}
	c := mustFit(t, h.timed(1, 20), &h.link)
	if p := c.Model("wide", "").Passes; p == nil || p.Known() || p.Value != 1 || p.Why != "no file of it that was timed streams what is sent in passes" {
		t.Errorf("nothing streamed: %+v", p)
	}
	wide.splits, h.passes["wide"] = [][]int{nil, {1, 2, 5}}, 1
	for _, bytes := range []int64{5_000, 40_000} { // of the latter twice as many passes would show
		for i := range wide.ops {
			if wide.ops[i].passes > 1 {
				wide.ops[i].bytes = bytes
			}
		}
		c = mustFit(t, h.timed(1, 20), &h.link)
		if p := c.Model("wide", "").Passes; p == nil || p.Known() || p.Value != 1 || p.Why != "nothing that it sends in passes shows in a file of it that was timed" {
			t.Errorf("all of %d bytes hidden: %+v", bytes, p)
		}
		if c.Load.Low == nil || !c.Host.Known() {
			t.Errorf("rate %+v, host %+v", c.Load, c.Host)
		}
	}
}

// Passes that no sample tells from compute are those that are predicted, at the rate that was fitted.
func TestPassesThatCannotBeTold(t *testing.T) {
	h := inPasses(t)
	h.relative, h.passes["wide"] = 0.001, 1
	h.nets[len(h.nets)-1].splits = [][]int{{0, 1, 2}}
	c := mustFit(t, h.timed(1, 20), &h.link)
	m := c.Model("wide", "")
	if p := m.Passes; p.Known() || p.Value != 1 || len(p.With) != 1 || p.With[0] != `the compute time of "wide"` {
		t.Errorf("passes %+v", p)
	}
	near(t, "compute", m.Compute.Value, h.compute(&h.nets[len(h.nets)-1]), 5)
	if !containsText(c.Warnings, `how often the parameters of "wide" are sent is not known, the samples cannot tell it from the compute time of "wide"; time another file of "wide" that streams less`) {
		t.Errorf("warnings %q", c.Warnings)
	}
}

// Where passes are predicted to show and do not, there are at most so many that they hide.
func TestFewerPassesThanPredicted(t *testing.T) {
	h := inPasses(t)
	h.relative, h.passes["wide"] = 0.001, 0.25
	wide := &h.nets[len(h.nets)-1]
	wide.splits = [][]int{nil, {1, 2, 3}}
	c := mustFit(t, h.timed(1, 20), &h.link)
	m := c.Model("wide", "")
	if p := m.Passes; p.Value > 0.41 { // 0.55 ms of compute hide 220 KB
		t.Errorf("passes %+v", p)
	}
	near(t, "compute", m.Compute.Value, h.compute(wide), 1)
	if c.Residuals.WorstPercent > 0.5 || c.Load.Low == nil || m.Compute.Low == nil || !c.Host.Known() {
		t.Errorf("off by %v %%, rate %+v, host %+v", c.Residuals.WorstPercent, c.Load, c.Host)
	}
}

// Ten thousand samples of 20 models whose ops are known, 100 of each and half of them streamed in a second file.
func BenchmarkFitOps(b *testing.B) {
	h := desktop(b)
	h.nets = nil
	for i := range 20 {
		n := net{name: fmt.Sprintf("m%02d", i), fixed: 200_000 + int64(i)*10_000, output: 1_000, splits: [][]int{nil, nil}}
		for k := range 100 {
			n.ops = append(n.ops, conv(0.01*float64(1+i), float64(1+k)/20))
			if k%2 == 0 {
				n.splits[1] = append(n.splits[1], k)
			}
		}
		h.nets = append(h.nets, n)
	}
	d := h.timed(1, 125)
	b.ResetTimer()
	for b.Loop() {
		if _, err := fit.Fit(d, &h.link); err != nil {
			b.Fatal(err)
		}
	}
}
