package cost

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

func link(t *testing.T, name string) Link {
	t.Helper()
	l, err := BuiltinLink(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestBuiltinLinks(t *testing.T) {
	for name, mb := range map[string]float64{"usb2": 34, "pcie-gen1": 192, "usb3-rpi4": 300, "usb3-rpi5": 380, "usb3": 455, "pcie": 384} {
		l := link(t, name)
		near(t, name, l.BytesPerMS, mb*1e6/1000, 0)
		near(t, name+" overhead", l.OverheadMS, 0.43, 0)
		if !(l.Call.Low <= l.Call.Value && l.Call.Value < l.Call.High && l.RateLow < 1 && l.RateHigh > 1 && l.OutputMSPerByte > 0) {
			t.Errorf("%s: %+v", name, l)
		}
	}
	if _, err := BuiltinLink("usb4"); err == nil || !strings.Contains(err.Error(), "usb3-rpi4") {
		t.Errorf("unknown link: %v does not list the known ones", err)
	}
	Links()[0].BytesPerMS = 1
	near(t, "usb2 after a caller changed its copy", link(t, "usb2").BytesPerMS, 34e3, 0)
	if !slices.IsSortedFunc(Links(), func(a, b Link) int { return cmp.Compare(a.BytesPerMS, b.BytesPerMS) }) {
		t.Error("links are not listed slowest first")
	}
}

func TestRuntime(t *testing.T) {
	for name, slow := range map[string]float64{"max": 1, "": 1, "std": 2} {
		l, err := link(t, "usb3").Runtime(name)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "factor of "+name, l.Slow, slow, 0)
	}
	if _, err := link(t, "usb3").Runtime("fast"); err == nil || !strings.Contains(err.Error(), "std, max") {
		t.Errorf("an unknown runtime gives %v", err)
	}
	usb, pcie := link(t, "usb3"), link(t, "pcie-gen1")
	if usb.PCIe() || !pcie.PCIe() {
		t.Error("PCIe links are not told from USB")
	}
}

// 34 MB/s: 1 MB streams in 29.4 ms; a load adds its instructions and the
// overhead. The host of a Raspberry Pi 3 takes 1.1 ms for every call.
func TestModelledTimes(t *testing.T) {
	c := Modelled(link(t, "usb2"), Traffic{34_000, 17_000, 17_000})
	near(t, "fixed", c.FixedMS, 1.1+2, 1e-12)
	near(t, "steady", c.Steady(1000.0/34), 3.1+1000.0/34, 1e-9)
	near(t, "cold", c.Cold(2_000_000, 1000.0/34), 3.1+1000.0/34+(2_000_000+10_240)/34e3+0.43, 1e-9)
	near(t, "cold with nothing cached", c.Cold(0, 7), c.Steady(7), 0)
	near(t, "expected", c.Expected(2_000_000, 0, 0.25), 3.1+0.25*((2_000_000+10_240)/34e3+0.43), 1e-9)
	if c.ComputeIncluded || c.Measured {
		t.Error("a modelled call claims a measurement")
	}
	if with := c.Computing(5); !with.ComputeIncluded || with.FixedMS != c.FixedMS+5 {
		t.Errorf("with compute: %+v", with)
	}
	c.OverlapMS = 100
	near(t, "a load wholly hidden", c.Load(1000), 0.43, 0)
	// Output comes at its own rate: 6.6 ms a megabyte on PCIe, where input takes 2.6.
	near(t, "output", Traffic{Output: 1_000_000}.MS(link(t, "pcie")), 6.6, 1e-9)
	near(t, "input", Traffic{Input: 1_000_000}.MS(link(t, "pcie")), 1000.0/384, 1e-9)
}

// Worked out by hand from docs/cost-model.md.
func TestWork(t *testing.T) {
	tests := []struct {
		name string
		work Work
		ms   float64
	}{
		{"convolution", Work{Convolution, 2e6, 1000}, 8.8 + 0.015 + 0.004},
		{"depthwise", Work{Depthwise, 1e5, 200}, 2.4 + 0.003 + 0.004},
		{"fully connected", Work{Spread, 1e4, 20_000}, 0.36 + 0.004}, // its rows stay where they lie
		{"pool", Work{Elsewhere, 1e4, 0}, 0.03 + 0.004},
		{"nothing", Work{}, 0.004},
	}
	for _, tt := range tests {
		near(t, tt.name, tt.work.MS(), tt.ms, 1e-12)
	}
}

// An op that streams 1 MB over 100 MB/s, 10 ms, while it computes.
func TestStreamingHides(t *testing.T) {
	for _, tt := range []struct{ passes, compute, want float64 }{{1, 0, 10}, {1, 4, 6}, {1, 10, 0}, {1, 25, 0}, {4, 25, 15}} {
		near(t, "streaming adds", StreamMS(1e6, tt.passes, tt.compute, 1e5), tt.want, 1e-12)
	}
}

func TestReaches(t *testing.T) {
	narrow := Exactly(1)
	for r := Familiar; r <= LowerBound; r++ {
		s := r.Spread()
		if s.Value != 1 || s.Low >= 1 || s.High <= 1 || s.High < narrow.High {
			t.Errorf("%s: %+v", r, s)
		}
		narrow = s
	}
	if LowerBound.Spread().Bounded() || !Guess.Spread().Bounded() {
		t.Error("a lower bound has an upper end, or a guess none")
	}
	if sum := (Range{1, 0, 2}).Plus(Range{1, 0.5, 3}); sum != (Range{2, 0.5, 5}) {
		t.Errorf("sum %+v", sum)
	}
	if none := LowerBound.Spread().Times(0); none != (Range{}) {
		t.Errorf("nothing at all is %+v", none)
	}
}

// Up to its first knee a time does not grow with the factor.
func TestFactorBeyondAllThatHides(t *testing.T) {
	ops := []Op{{MS: 1, Streamed: 100_000, Passes: 1}, {MS: 1, Streamed: 300_000, Passes: 1}} // 0.25 and 0.75 ms
	for _, factor := range []float64{0.3, 0.5, 0.74, 0.8, 2} {
		near(t, "factor", Factor(ops, OpsMS(ops, factor, 4e5), 4e5), factor, 1e-12)
	}
}

// The factor that a measured time gives reproduces it, wherever it lies between the knees.
func TestFactorGivesTheTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ops := make([]Op, rapid.IntRange(1, 6).Draw(t, "ops"))
		for i := range ops {
			ops[i] = Op{MS: rapid.SampledFrom([]float64{0, 0.004, 0.1, 1, 3}).Draw(t, "ms"), Passes: rapid.SampledFrom([]float64{1, 1, 4}).Draw(t, "passes")}
			if rapid.Bool().Draw(t, "streams") {
				ops[i].Streamed = rapid.Float64Range(0, 1e6).Draw(t, "streamed")
			}
		}
		want := rapid.Float64Range(0.01, 5).Draw(t, "factor")
		ms := OpsMS(ops, want, 3e5)
		got := Factor(ops, ms, 3e5)
		if again := OpsMS(ops, got, 3e5); math.Abs(again-ms) > 1e-9*ms {
			t.Fatalf("factor %v for %v ms gives %v ms (made with %v)", got, ms, again, want)
		}
		if streaming := OpsMS(ops, 0, 3e5); streaming > 0 && Factor(ops, streaming/2, 3e5) != 0 {
			t.Fatalf("less than streaming takes, %v ms, has a factor", streaming)
		}
	})
}

// A measured pair gives the model a rate of its own, without an overhead besides.
func TestOwnRate(t *testing.T) {
	l, measured, err := Timed{SteadyMS: 10.33, ColdMS: 120.78, Cached: 3_900_864}.Rate(link(t, "usb2"))
	if err != nil || !measured {
		t.Fatal(measured, err)
	}
	near(t, "rate", l.BytesPerMS, (3_900_864+10_240)/(120.78-10.33), 1e-9)
	near(t, "overhead", l.OverheadMS, 0, 0)
	c := Call{BytesPerMS: l.BytesPerMS, LoadBytes: LoadInstructionBytes, OverheadMS: l.OverheadMS}
	near(t, "load", c.Load(3_900_864), 120.78-10.33, 1e-9)
	l, measured, err = Timed{SteadyMS: 200, Cached: 1_000_000, Streamed: 3_400_000}.Rate(link(t, "usb2"))
	if err != nil || measured || l != link(t, "usb2") {
		t.Errorf("steady alone gives %+v, measured %v, %v", l, measured, err)
	}
}

func TestContradictions(t *testing.T) {
	tests := []struct {
		name      string
		timed     Timed
		key, says string
	}{
		{"cold alone", Timed{0, 20, 1000, 0}, "cold", "without steady"},
		{"cold below steady", Timed{10, 9, 1000, 0}, "cold", "not more than steady"},
		{"cold as steady", Timed{10, 10, 1000, 0}, "cold", "not more than steady"},
		{"cold hardly above steady", Timed{10, 10 + 1e-9, 1_000_000, 0}, "cold", "too little to load 1000000 bytes"},
		{"cold not a number", Timed{10, math.NaN(), 1000, 0}, "cold", "NaN"},
		{"no load alone", Timed{10, 20, 0, 1000}, "cold", "nothing is cached"},
		{"negative", Timed{-1, 0, 1, 0}, "steady", "more than 0"},
		{"nothing", Timed{0, 0, 1, 0}, "steady", "more than 0"},
		{"streams longer", Timed{10, 0, 0, 3_400_000}, "steady", "3400000 bytes streamed with every call alone take 100 ms at 34 MB/s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, _, err := tt.timed.Rate(link(t, "usb2"))
			if err == nil {
				err = tt.timed.Streams(float64(tt.timed.Streamed)/l.BytesPerMS, l.BytesPerMS)
			}
			var e *EvidenceError
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an EvidenceError", err)
			}
			if e.Key != tt.key || !strings.Contains(e.Error(), tt.says) {
				t.Errorf("got %q at %q, want %q at %q", e.Error(), e.Key, tt.says, tt.key)
			}
		})
	}
}

// MobileNet v1 and v2 on USB 3, called 90 % and 10 % of the time, with 1.25 MiB
// of whichever comes second streamed at 2.3 ms per MiB: the published times
// (both warm in about 2.2 ms, both loads together about 18 ms) give 3.82 ms a
// call when compiled apart, 2.47 with the frequent one first and 4.77 with
// the rare one first.
func TestSkewedPair(t *testing.T) {
	const mib = 1 << 20
	call := Call{FixedMS: 2.1835, BytesPerMS: mib / 2.3}
	p := Independent([]float64{0.9, 0.1})
	value := func(e0, e1 int64, apart bool) float64 {
		const all = 4 * mib * 99 / 100 // loads: 2 x 3.96 MiB x 2.3 ms = 18.2 ms
		f0, f1 := Set(0), Set(0)
		if apart {
			f0, f1 = Set(0).With(1), Set(0).With(0)
		}
		stream := func(bytes int64) float64 { return float64(bytes) / call.BytesPerMS }
		return 0.9*call.Expected(all-e0, stream(e0), p.Miss(0, f0)) + 0.1*call.Expected(all-e1, stream(e1), p.Miss(1, f1))
	}
	near(t, "apart", value(0, 0, true), 3.82, 0.006)
	near(t, "frequent first", value(0, mib*5/4, false), 2.47, 0.006)
	near(t, "rare first", value(mib*5/4, 0, false), 4.77, 0.006)
}

func TestIndependentMiss(t *testing.T) {
	p := Independent([]float64{0.9, 0.1, 0})
	near(t, "rare among frequent", p.Miss(1, Set(0).With(0)), 0.9, 1e-15)
	near(t, "frequent among rare", p.Miss(0, Set(0).With(1)), 0.1, 1e-15)
	near(t, "alone", p.Miss(0, 0), 0, 0)
	near(t, "never called, others are", p.Miss(2, Set(0).With(0)), 1, 0)
	near(t, "only the never called are foreign", p.Miss(0, Set(0).With(2)), 0, 0)
	near(t, "itself is not foreign", p.Miss(0, Set(0).With(0)), 0, 0)
}

// Numbering the models otherwise changes no bit of a miss probability.
func TestIndependentIsBlindToNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shares := rapid.SliceOfN(rapid.Float64Range(0, 1), 2, 12).Draw(t, "shares")
		perm := rapid.Permutation(rangeOf(len(shares))).Draw(t, "perm")
		moved := make([]float64, len(shares))
		for i, s := range shares {
			moved[perm[i]] = s
		}
		foreign := Set(rapid.Uint64Range(0, 1<<len(shares)-1).Draw(t, "foreign"))
		var movedForeign Set
		for i := range shares {
			if foreign.Has(i) {
				movedForeign = movedForeign.With(perm[i])
			}
		}
		m := rapid.IntRange(0, len(shares)-1).Draw(t, "m")
		if a, b := Independent(shares).Miss(m, foreign), Independent(moved).Miss(perm[m], movedForeign); a != b {
			t.Fatalf("%v, renumbered %v", a, b)
		}
	})
}

func rangeOf(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

func mustCyclic(t interface{ Fatal(...any) }, sequence []int) Process {
	p, err := Cyclic(sequence)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Two models strictly alternating: every call loads. Runs of length L: one of L.
func TestCyclicRuns(t *testing.T) {
	other := []Set{Set(0).With(1), Set(0).With(0)}
	for _, length := range []int{1, 2, 5} {
		sequence := append(slices.Repeat([]int{0}, length), slices.Repeat([]int{1}, length)...)
		p := mustCyclic(t, sequence)
		for m := range 2 {
			near(t, "miss", p.Miss(m, other[m]), 1/float64(length), 1e-15)
			near(t, "miss of a mate", p.Miss(m, 0), 0, 0)
		}
	}
	// a b a c: between calls of a either b or c; between calls of b both others.
	p := mustCyclic(t, []int{0, 1, 0, 2})
	near(t, "b foreign", p.Miss(0, Set(0).With(1)), 0.5, 1e-15)
	near(t, "b and c foreign", p.Miss(0, Set(0).With(1).With(2)), 1, 1e-15)
	near(t, "c foreign to b", p.Miss(1, Set(0).With(2)), 1, 1e-15)
	near(t, "not in the sequence", p.Miss(7, ^Set(0)), 0, 0)
	for _, bad := range []int{-1, MaxModels} {
		if _, err := Cyclic([]int{0, bad}); err == nil {
			t.Errorf("a sequence with model %d was accepted", bad)
		}
	}
}

// Playing the sequence twice and looking whether the model's parameters are
// still there gives the same misses as the counted gaps.
func TestCyclicAgreesWithPlayingIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sequence := rapid.SliceOfN(rapid.IntRange(0, 4), 1, 20).Draw(t, "sequence")
		m := rapid.IntRange(0, 4).Draw(t, "m")
		foreign := Set(rapid.Uint64Range(0, 31).Draw(t, "foreign")) &^ Set(0).With(m)
		calls, misses, there := 0, 0, false
		for turn := range 2 {
			for _, called := range sequence {
				if foreign.Has(called) {
					there = false
				}
				if called != m {
					continue
				}
				if turn == 1 {
					calls++
					if !there {
						misses++
					}
				}
				there = true
			}
		}
		want := 0.0
		if calls > 0 {
			want = float64(misses) / float64(calls)
		}
		if got := mustCyclic(t, sequence).Miss(m, foreign); got != want {
			t.Fatalf("miss %v, played %v", got, want)
		}
	})
}

// A long sequence of independent draws misses as often as the closed form says.
func TestIndependentAgreesWithDraws(t *testing.T) {
	shares := []float64{0.5, 0.3, 0.15, 0.05}
	sequence := make([]int, 0, 200_000)
	state := uint64(1)
	for range cap(sequence) {
		state = state*6364136223846793005 + 1442695040888963407
		u := float64(state>>11) / (1 << 53)
		m := 0
		for m < len(shares)-1 && u >= shares[m] {
			u -= shares[m]
			m++
		}
		sequence = append(sequence, m)
	}
	p, drawn := Independent(shares), mustCyclic(t, sequence)
	for m := range shares {
		for foreign := range Set(16) {
			if !foreign.Has(m) {
				near(t, "miss", p.Miss(m, foreign), drawn.Miss(m, foreign), 0.01)
			}
		}
	}
}

// Miss never falls when more models are foreign.
func TestMissGrowsWithForeign(t *testing.T) {
	for _, p := range []Process{Independent([]float64{0.4, 0.3, 0.2, 0.1}), mustCyclic(t, []int{0, 1, 2, 0, 3, 1, 0, 0})} {
		for m := range 4 {
			for s := range Set(16) {
				for extra := range 4 {
					if extra != m && p.Miss(m, s.With(extra)) < p.Miss(m, s) {
						t.Errorf("model %d: %b misses less with %d", m, s, extra)
					}
				}
			}
		}
	}
}

// What compiled files hold: MobileNets of 28 to 31 ops, and larger nets.
func TestInstructionBytes(t *testing.T) {
	for _, tt := range []struct {
		of        Program
		low, high int64
	}{
		{Program{31, false, true}, 47_000, 78_000},
		{Program{31, true, true}, 170_000, 218_000},
		{Program{28, true, false}, 70_000, 95_000},
		{Program{64, true, true}, 170_000, 280_000},
		{Program{80, true, false}, 120_000, 220_000},
	} {
		if got := tt.of.InstructionBytes(); got < tt.low || got > tt.high {
			t.Errorf("%+v: %d, want %d to %d", tt.of, got, tt.low, tt.high)
		}
	}
}

// A resize to 513 x 513 x 21 with its ARG_MAX took 30 to 39 ms on x86 and 227 on a Dev Board.
func TestCPUTime(t *testing.T) {
	deeplab := CPU{Resized: 513 * 513 * 21}
	usb3, pcie := link(t, "usb3"), link(t, "pcie")
	x := usb3.CPUTime(deeplab)
	near(t, "least on x86", x.LowMS, 30, 0.5)
	near(t, "most on x86", x.HighMS, 39, 0.5)
	both := pcie.CPUTime(deeplab)
	if both.LowMS != x.LowMS || both.HighMS < 227 || both.On != "x86 or Dev Board" {
		t.Errorf("at PCIe %+v", both)
	}
	if other := usb3.CPUTime(CPU{Others: 3}); other.Known() || other.Lacking != 3 {
		t.Errorf("ops without a figure: %+v", other)
	}
	if !(CPU{}).None() || deeplab.None() {
		t.Error("what is left to the CPU is not told from nothing")
	}
}

// A link is the calibrated one: what samples told stands in for what is built in, with its interval; what was
// kept is what the rest was fitted with, and hosts differ as they did.
func TestCalibratedLink(t *testing.T) {
	usb3 := link(t, "usb3")
	low, high := 0.2, 0.3
	c := &Calibration{Load: Estimate{Value: 4e5, Source: "measured"}, Stream: Estimate{Value: 5e5}, Over: Estimate{Value: 1}}
	if l := c.On(usb3); l.BytesPerMS != 4e5 || l.OverheadMS != 1 || l.RateLow != 0 || l.RateHigh != 0 || l.OutputMSPerByte != usb3.OutputMSPerByte || l.Call != usb3.Call {
		t.Errorf("an older calibration gives %+v", l)
	}
	c.Output = &Estimate{Value: 7e-6}
	c.Host = &Estimate{Value: 0.25, Low: &low, High: &high, Source: "measured"}
	if l := c.On(usb3); l.OutputMSPerByte != 7e-6 || l.Call != (Range{0.25, 0.2, 0.3}) {
		t.Errorf("%+v", l)
	}
	c.Host = &Estimate{Value: 0.25, Source: "imported"}
	if l := c.On(usb3); l.Call != Exactly(0.25) {
		t.Errorf("a host without interval: %+v", l.Call)
	}
	c.Load.Source = SourceModelled
	for _, x := range []struct {
		ms   float64
		want Range
	}{{0.13, usb3.Call}, {0.9, Range{0.9, 0, 0.9}}} {
		c.Host = &Estimate{Value: x.ms, Source: SourceModelled}
		if l := c.On(usb3); l.Call != x.want || l.RateLow != usb3.RateLow {
			t.Errorf("a host of %v ms that was kept: %+v", x.ms, l)
		}
	}
}
