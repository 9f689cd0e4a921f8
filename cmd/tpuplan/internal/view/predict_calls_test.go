package view

import (
	"math"
	"testing"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
)

// A time has as many digits as its interval deserves, and no more than its neighbours.
func TestSpan(t *testing.T) {
	for _, test := range []struct {
		of   cost.Range
		want string
	}{
		{cost.Range{Value: 4.12, Low: 3.23, High: 5.49}, "4.1 ms (3.2..5.5)"},
		{cost.Range{Value: 0.2126, Low: 0.07, High: 1.2}, "0.21 ms (0.07..1.20)"},
		{cost.Range{Value: 1.04, Low: 0.91, High: 1.2}, "1.0 ms (0.9..1.2)"},
		{cost.Range{Value: 12.65, Low: 10.7, High: 15.84}, "12.7 ms (10.7..15.8)"},
		{cost.Range{Value: 42.6, Low: 37.4, High: 48.9}, "42.6 ms (37..49)"},
		{cost.Range{Value: 133, Low: 99, High: 168}, "133 ms (100..170)"},
		{cost.Range{Value: 1239, Low: 630, High: 2842}, "1239 ms (600..2800)"},
		{cost.Range{Value: 0.001, Low: 0, High: 0.002}, "<0.01 ms (0.00..<0.01)"},
		{cost.Range{Value: 11.6, Low: 10.2, High: math.Inf(1)}, "at least 10.2 ms"},
		{cost.Range{Value: 30, Low: 26.4, High: math.Inf(1)}, "at least 26 ms"},
	} {
		if got := span(test.of); got != test.want {
			t.Errorf("%+v: %q, want %q", test.of, got, test.want)
		}
	}
}

func TestOnCPU(t *testing.T) {
	for _, test := range []struct {
		of   cost.CPUTime
		want string
	}{
		{cost.CPUTime{On: "x86"}, ""},
		{cost.CPUTime{On: "x86", Lacking: 1}, "1 op on the CPU of which no figure is known"},
		{cost.CPUTime{On: "x86", LowMS: 30.1, HighMS: 39.2}, "about 30 to 39 ms on the CPU (x86), a rough figure"},
		{cost.CPUTime{On: "x86", LowMS: 1.98, HighMS: 2.01}, "about 2.0 ms on the CPU (x86), a rough figure"},
		{
			cost.CPUTime{On: "x86 or Dev Board", LowMS: 30, HighMS: 254, Lacking: 2},
			"about 30 to 250 ms on the CPU (x86 or Dev Board), a rough figure, and 2 ops of which no figure is known",
		},
	} {
		if got := onCPU(&test.of); got != test.want {
			t.Errorf("%+v: %q, want %q", test.of, got, test.want)
		}
	}
}

// Whatever is not familiar says so.
func TestDoubt(t *testing.T) {
	for reach := cost.Familiar; reach <= cost.LowerBound; reach++ {
		if got := doubt(&compile.Timing{Reach: reach, Because: []string{"1 RESIZE"}}); (got == "") != (reach == cost.Familiar) {
			t.Errorf("%s: %q", reach, got)
		}
	}
}
