package cost

import (
	"errors"
	"math"
	"testing"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

// 34 MB/s: 1 MB streams in 29.4 ms; a load adds its instructions and the overhead.
func TestModelledTimes(t *testing.T) {
	link, ok := BuiltinLink("usb2")
	if !ok {
		t.Fatal("no usb2")
	}
	c := Modelled(link, 34_000, 17_000, 17_000)
	near(t, "fixed", c.FixedMS, 2, 1e-12)
	near(t, "steady", c.Steady(1_000_000), 2+1000.0/34, 1e-9)
	near(t, "cold", c.Cold(2_000_000, 1_000_000), 2+1000.0/34+(2_000_000+10_240)/34e3+0.43, 1e-9)
	near(t, "cold with nothing cached", c.Cold(0, 1_000_000), c.Steady(1_000_000), 0)
	near(t, "expected", c.Expected(2_000_000, 0, 0.25), 2+0.25*((2_000_000+10_240)/34e3+0.43), 1e-9)
	if c.ComputeIncluded || c.Measured {
		t.Error("a modelled call claims a measurement")
	}
}

// A measured pair is reproduced by the split it was measured with.
func TestCalibratedReproducesItsMeasurement(t *testing.T) {
	link, _ := BuiltinLink("usb2")
	cold := 120.78
	c, err := Calibrated(link, 10.33, &cold, 3_900_864, 0)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "steady", c.Steady(0), 10.33, 1e-9)
	near(t, "cold", c.Cold(3_900_864, 0), 120.78, 1e-9)
	near(t, "rate", c.BytesPerMS, (3_900_864+10_240)/(120.78-10.33), 1e-9)
	// half of it streamed: the same bytes cross at the same rate
	near(t, "cold, half streamed", c.Cold(1_950_432, 1_950_432), 120.78, 1e-9)
	if !c.Measured || !c.ComputeIncluded {
		t.Error("a calibrated call does not say that it was measured")
	}

	c, err = Calibrated(link, 200, nil, 1_000_000, 3_400_000)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "fixed", c.FixedMS, 100, 1e-9)
	near(t, "overhead", c.OverheadMS, 0.43, 0)
}

func TestCalibratedRefusesContradictions(t *testing.T) {
	link, _ := BuiltinLink("usb2")
	low, high := 9.0, 20.0
	if _, err := Calibrated(link, 10, &low, 1000, 0); err == nil {
		t.Error("cold below steady was accepted")
	}
	if _, err := Calibrated(link, 10, &high, 0, 1000); err == nil {
		t.Error("a cold time of a model that caches nothing was accepted")
	}
	if _, err := Calibrated(link, 10, nil, 0, 3_400_000); !errors.Is(err, ErrStreamsLonger) {
		t.Errorf("100 ms of streaming in 10 ms: %v", err)
	}
}

func TestIndependentMiss(t *testing.T) {
	p := Independent([]float64{0.9, 0.1, 0})
	near(t, "rare among frequent", p.Miss(1, Set(0).With(0)), 0.9, 1e-15)
	near(t, "frequent among rare", p.Miss(0, Set(0).With(1)), 0.1, 1e-15)
	near(t, "alone", p.Miss(0, 0), 0, 0)
	near(t, "never called, others are", p.Miss(2, Set(0).With(0)), 1, 0)
}

// Two models strictly alternating: every call loads. Runs of length L: one of L.
func TestCyclicMiss(t *testing.T) {
	other := []Set{Set(0).With(1), Set(0).With(0)}
	for _, length := range []int{1, 2, 5} {
		var sequence []int
		for m := range 2 {
			for range length {
				sequence = append(sequence, m)
			}
		}
		p := Cyclic(sequence)
		for m := range 2 {
			near(t, "miss", p.Miss(m, other[m]), 1/float64(length), 1e-15)
			near(t, "miss of a mate", p.Miss(m, 0), 0, 0)
		}
	}
	// a b a c: between calls of a either b or c; between calls of b both others
	p := Cyclic([]int{0, 1, 0, 2})
	near(t, "b foreign", p.Miss(0, Set(0).With(1)), 0.5, 1e-15)
	near(t, "b and c foreign", p.Miss(0, Set(0).With(1).With(2)), 1, 1e-15)
	near(t, "c foreign to b", p.Miss(1, Set(0).With(2)), 1, 1e-15)
}

// Miss never falls when more models are foreign.
func TestMissGrowsWithForeign(t *testing.T) {
	for _, p := range []Process{Independent([]float64{0.4, 0.3, 0.2, 0.1}), Cyclic([]int{0, 1, 2, 0, 3, 1, 0, 0})} {
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
