package cost

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// Calls taken one by one give the gaps that looking back through the whole sequence gives.
func TestSequenceAgreesWithLookingBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		calls := rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 2, 3, 63}), 0, 40).Draw(t, "calls")
		m := rapid.SampledFrom([]int{0, 1, 3, 63, 5}).Draw(t, "m")
		foreign := Set(rapid.Uint64().Draw(t, "foreign")) &^ Set(0).With(m)
		var s Sequence
		called, missed := 0, 0
		for i, c := range calls {
			if err := s.Call(c); err != nil {
				t.Fatal(err)
			}
			if c != m {
				continue
			}
			called++
			for back := 1; back <= len(calls); back++ {
				before := calls[(i-back+len(calls))%len(calls)]
				if before == m {
					break
				}
				if foreign.Has(before) {
					missed++
					break
				}
			}
		}
		p, err := s.Process()
		if err != nil {
			t.Fatal(err)
		}
		want := 0.0
		if called > 0 {
			want = float64(missed) / float64(called)
		}
		if got := p.Miss(m, foreign); got != want || s.Calls(m) != int64(called) {
			t.Fatalf("miss %v of %d calls, looking back %v of %d", got, s.Calls(m), want, called)
		}
	})
}

// A sequence may be asked before its end, and goes on.
func TestSequenceGoesOn(t *testing.T) {
	var s Sequence
	for turn := 1; turn <= 3; turn++ {
		for _, m := range []int{0, 0, 1} {
			if err := s.Call(m); err != nil {
				t.Fatal(err)
			}
		}
		p, err := s.Process()
		if err != nil {
			t.Fatal(err)
		}
		near(t, "first of two", p.Miss(0, Set(0).With(1)), 0.5, 0)
		near(t, "between them", p.Miss(1, Set(0).With(0)), 1, 0)
	}
	if s.Calls(0) != 6 || s.Calls(64) != 0 || s.Calls(-1) != 0 {
		t.Error("wrong numbers of calls")
	}
	if err := s.Call(64); err == nil {
		t.Error("model 64 is accepted")
	}
}

// Of 40 models called at random hardly two gaps are alike: a sequence gives up
// before its memory grows without bound, and says so.
func TestSequenceIsBounded(t *testing.T) {
	var s Sequence
	state := uint64(1)
	for range 2 * maxGapSets {
		state = state*6364136223846793005 + 1442695040888963407
		if err := s.Call(int(state >> 33 % 40)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Process(); !errors.Is(err, ErrManyGaps) {
		t.Errorf("got %v", err)
	}
}
