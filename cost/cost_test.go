package cost

import (
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
	for name, mb := range map[string]float64{"usb2": 34, "usb3-rpi4": 275, "usb3": 455, "pcie": 385} {
		l := link(t, name)
		near(t, name, l.BytesPerMS, mb*1e6/1000, 0)
		near(t, name+" overhead", l.OverheadMS, 0.43, 0)
	}
	if _, err := BuiltinLink("usb4"); err == nil || !strings.Contains(err.Error(), "usb3-rpi4") {
		t.Errorf("unknown link: %v does not list the known ones", err)
	}
	Links()[0].BytesPerMS = 1
	near(t, "usb2 after a caller changed its copy", link(t, "usb2").BytesPerMS, 34e3, 0)
}

// 34 MB/s: 1 MB streams in 29.4 ms; a load adds its instructions and the overhead.
func TestModelledTimes(t *testing.T) {
	c := Modelled(link(t, "usb2"), 34_000, 17_000, 17_000)
	near(t, "fixed", c.FixedMS, 2, 1e-12)
	near(t, "steady", c.Steady(1_000_000), 2+1000.0/34, 1e-9)
	near(t, "cold", c.Cold(2_000_000, 1_000_000), 2+1000.0/34+(2_000_000+10_240)/34e3+0.43, 1e-9)
	near(t, "cold with nothing cached", c.Cold(0, 1_000_000), c.Steady(1_000_000), 0)
	near(t, "expected", c.Expected(2_000_000, 0, 0.25), 2+0.25*((2_000_000+10_240)/34e3+0.43), 1e-9)
	if c.ComputeIncluded || c.Measured {
		t.Error("a modelled call claims a measurement")
	}
	near(t, "stall at the link's rate", c.Stall(1_000_000), 0, 0)
	c.StallSlope = 2.5 // a byte takes 3.5 times as long as its transfer, of which Steady has one
	near(t, "stall", c.Stall(340_000), 25, 1e-9)
	c.OverlapMS = 100
	near(t, "a load wholly hidden", c.Load(1000), 0.43, 0)
}

// A measured pair is reproduced by the split it was measured with.
func TestCalibratedReproducesItsMeasurement(t *testing.T) {
	c, err := Calibrated(link(t, "usb2"), 10.33, 120.78, 3_900_864, 0)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "steady", c.Steady(0), 10.33, 1e-9)
	near(t, "cold", c.Cold(3_900_864, 0), 120.78, 1e-9)
	near(t, "rate", c.BytesPerMS, (3_900_864+10_240)/(120.78-10.33), 1e-9)
	// Half of it streamed: the same bytes cross at the same rate.
	near(t, "cold, half streamed", c.Cold(1_950_432, 1_950_432), 120.78, 1e-9)
	if !c.Measured || !c.ComputeIncluded {
		t.Error("a calibrated call does not say that it was measured")
	}

	c, err = Calibrated(link(t, "usb2"), 200, 0, 1_000_000, 3_400_000)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "fixed", c.FixedMS, 100, 1e-9)
	near(t, "overhead", c.OverheadMS, 0.43, 0)
	if c.Measured || !c.ComputeIncluded {
		t.Error("with steady alone compute is known and the rate is not")
	}
}

func TestCalibratedRefusesContradictions(t *testing.T) {
	tests := []struct {
		name             string
		steady, cold     float64
		cached, streamed int64
		key, says        string
	}{
		{"cold alone", 0, 20, 1000, 0, "cold", "without steady"},
		{"cold below steady", 10, 9, 1000, 0, "cold", "not more than steady"},
		{"cold as steady", 10, 10, 1000, 0, "cold", "not more than steady"},
		{"cold hardly above steady", 10, 10 + 1e-9, 1_000_000, 0, "cold", "too little to load 1000000 bytes"},
		{"cold not a number", 10, math.NaN(), 1000, 0, "cold", "NaN"},
		{"no load alone", 10, 20, 0, 1000, "cold", "nothing is cached"},
		{"streams longer", 10, 0, 0, 3_400_000, "steady", "3400000 bytes streamed with every call alone take 100 ms"},
		{"streams longer by its own rate", 10, 20, 100_000, 3_400_000, "steady", "at 11.02 MB/s"},
		{"negative", -1, 0, 1, 0, "steady", "more than 0"},
		{"nothing", 0, 0, 1, 0, "steady", "more than 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Calibrated(link(t, "usb2"), tt.steady, tt.cold, tt.cached, tt.streamed)
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
		return 0.9*call.Expected(all-e0, e0, p.Miss(0, f0)) + 0.1*call.Expected(all-e1, e1, p.Miss(1, f1))
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

// 31 ops of a MobileNet: between 47 and 78 KB up to 15.0, 170 to 218 KB by 16.0.
func TestInstructionBytes(t *testing.T) {
	if got := InstructionBytes(31, false); got < 47_000 || got > 78_000 {
		t.Errorf("up to 15.0: %d", got)
	}
	if got := InstructionBytes(31, true); got < 170_000 || got > 218_000 {
		t.Errorf("16.0: %d", got)
	}
}
