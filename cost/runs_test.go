package cost

import (
	"testing"

	"pgregory.net/rapid"
)

// Shares of 0.6, 0.3 and 0.1: a run of the first is followed, as far as the
// last counts, by itself six times of seven, so that its first call misses once in seven.
func TestRunsByHand(t *testing.T) {
	shares := []float64{0.6, 0.3, 0.1}
	for _, test := range []struct {
		length  float64
		m       int
		foreign Set
		want    float64
	}{
		{1, 0, Set(0).With(2), 1.0 / 7},
		{10, 0, Set(0).With(2), 1.0 / 70},
		{2.5, 2, Set(0).With(0).With(1), 0.9 / 2.5},
		{100, 1, 0, 0},
		{100, 1, Set(0).With(1), 0}, // no model is foreign to itself
		{0.5, 0, Set(0).With(2), 1.0 / 7},
	} {
		near(t, "miss", Runs(shares, test.length).Miss(test.m, test.foreign), test.want, 1e-15)
	}
	equal := Runs([]float64{1, 1}, 10)
	near(t, "equals in runs of 10", equal.Miss(0, Set(0).With(1)), 0.05, 1e-15)
}

// Runs of one call are independent calls, bit for bit; longer ones miss less,
// more foreign models more.
func TestRunsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shares := rapid.SliceOfN(rapid.Float64Range(0, 3), 1, 8).Draw(t, "shares")
		m := rapid.IntRange(0, len(shares)-1).Draw(t, "model")
		foreign := Set(rapid.Uint64Range(0, 1<<len(shares)-1).Draw(t, "foreign"))
		length := rapid.Float64Range(1, 1e6).Draw(t, "length")
		alone, now := Independent(shares).Miss(m, foreign), Runs(shares, length).Miss(m, foreign)
		if once := Runs(shares, 1).Miss(m, foreign); once != alone {
			t.Errorf("runs of one call miss %v, independent calls %v", once, alone)
		}
		if longer := Runs(shares, 2*length).Miss(m, foreign); now > alone || longer > now || now > 1e-300 && longer == now {
			t.Errorf("miss %v, in runs of %v %v, twice as long %v", alone, length, now, longer)
		}
		for other := range shares {
			if more := Runs(shares, length).Miss(m, foreign.With(other)); more < now {
				t.Errorf("model %d more is foreign, and misses fall from %v to %v", other, now, more)
			}
		}
	})
}
