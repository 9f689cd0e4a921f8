package view

import (
	"math"
	"testing"

	"github.com/tpuplan/tpuplan/cost"
)

// A time with what it is expected within: no more digits than that is worth, no sign of a
// nothing, no end where there is none.
func TestTimesWithTheirIntervals(t *testing.T) {
	open := math.Inf(1)
	for _, test := range []struct {
		r          cost.Range
		bare, cell string
	}{
		{cost.Range{Value: 4.11, Low: 3.22, High: 5.47}, "4.1 (3.2..5.5)", "4.1 ms (3.2..5.5)"},
		{cost.Range{Value: 34, Low: 29.6, High: 41}, "34.0 (30..41)", "34.0 ms (30..41)"},
		{cost.Range{Value: 0.3, Low: 0.002, High: 0.9}, "0.30 (<0.01..0.90)", "0.30 ms (<0.01..0.90)"},
		{cost.Range{Value: 0.3, High: 0.9}, "0.30 (0.00..0.90)", "0.30 ms (0.00..0.90)"},
		{cost.Exactly(10.34), "10.3", "10.3 ms"},
		{cost.Range{Value: 1.6, Low: 1.57, High: 1.63}, "1.60", "1.60 ms"},
		{cost.Range{Value: 1.34, Low: 1.16, High: open}, "at least 1.2", "at least 1.2 ms"},
		{cost.Range{}, "0.00", "0.00 ms"},
	} {
		if got := bare(test.r); got != test.bare {
			t.Errorf("%v: bare is %q, want %q", test.r, got, test.bare)
		}
		if got := timed(test.r); got != test.cell {
			t.Errorf("%v: timed is %q, want %q", test.r, got, test.cell)
		}
	}
}

// Another plan may take less, if only in a part of what is expected.
func TestDifferencesOfEitherSign(t *testing.T) {
	for _, test := range []struct {
		r    cost.Range
		want string
	}{
		{cost.Range{Value: 0.06, Low: -0.001, High: 0.2}, ">-0.01..0.20"},
		{cost.Range{Value: -0.06, Low: -0.1, High: -0.002}, "-0.10..>-0.01"},
		{cost.Range{Value: 0.06, Low: -1e-12, High: 0.2}, "0.00..0.20"},
		{cost.Range{Value: 1, Low: -0.4, High: 2}, "-0.40..2.00"},
	} {
		if got := differs(test.r); got != test.want {
			t.Errorf("%v: %q, want %q", test.r, got, test.want)
		}
	}
}
