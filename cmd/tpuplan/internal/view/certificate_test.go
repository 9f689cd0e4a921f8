package view

import (
	"testing"

	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans"
)

// What a certificate is called, on the screen, in a table and where proof is required.
func TestCertificateInWords(t *testing.T) {
	const model = "optimal under the cost model: no groups and no order are better (gap 0, 7 nodes)"
	const ties = "ties: at the cut of a group ops of equal size are cached in the order of the models; not all orders were tried, another one saves at most "
	optimal := func(gap, ties float64) planner.Certificate {
		return planner.Certificate{Status: planner.Optimal, Bound: 1, Gap: gap, TiesAtMost: ties, BoundKind: planner.BoundSearch, Nodes: 7}
	}
	feasible := func(gap float64, limit string, kind planner.BoundKind) planner.Certificate {
		return planner.Certificate{Status: planner.Feasible, Bound: 0.9, Gap: gap, Limit: limit, BoundKind: kind, Nodes: 7}
	}
	tied := feasible(0.2, planner.LimitNodes, planner.BoundSearch)
	tied.TiesAtMost = 0.003
	for _, test := range []struct {
		name             string
		of               planner.Certificate
		text, ties, cell string
		open             string
	}{
		{"proven", optimal(0, 0), model, "", "optimal", ""},
		{"ties that print as 0", optimal(0.00049, 0.00049), model, "", "optimal", ""},
		{"a gap that prints as 0", optimal(0.00049, 0), model, "", "optimal", ""},
		{"ties", optimal(0.003, 0.003), "optimal but for ties, at most 0.3 % (no plan is below 1.00 ms per call, 7 nodes)", ties + "0.3 %", "optimal, ties 0.3 %", "ties leave 0.3 % open"},
		{"least ties", optimal(0.0005, 0.0005), "optimal but for ties, at most 0.1 % (no plan is below 1.00 ms per call, 7 nodes)", ties + "0.1 %", "optimal, ties 0.1 %", "ties leave 0.1 % open"},
		{"ties and a rest that is nothing", optimal(0.0007, 0.0004), "optimal but for ties, at most 0.1 % (no plan is below 1.00 ms per call, 7 nodes)", ties + "0.1 %", "optimal, ties 0.1 %", "ties leave 0.1 % open"},
		{
			"residency", feasible(0.041, planner.LimitModels, planner.BoundResidency),
			"feasible, the models are too many to try everything (no plan is below 0.90 ms per call, gap 4.1 %: by what the device can hold between calls; 7 nodes)", "",
			"feasible, gap 4.1 %", "a gap of 4.1 % is open, as the models are too many to try everything",
		},
		{
			"groups", feasible(0.41, planner.LimitModels, planner.BoundGroups),
			"feasible, the models are too many to try everything (no plan is below 0.90 ms per call, gap 41 %: by each model at its best place in any group; 7 nodes)", "",
			"feasible, gap 41 %", "a gap of 41 % is open, as the models are too many to try everything",
		},
		{
			"cut", feasible(0.0996, planner.LimitInterrupted, planner.BoundCut),
			"feasible, the search was interrupted (no plan is below 0.90 ms per call, gap 10 %: by the first op of a group that does not fit; 7 nodes)", "",
			"feasible, gap 10 %", "a gap of 10 % is open, as the search was interrupted",
		},
		{
			"nodes, and ties", tied,
			"feasible, the search reached its limit of nodes (no plan is below 0.90 ms per call, gap 20 %: by the search; 7 nodes)", ties + "0.3 %",
			"feasible, gap 20 %", "a gap of 20 % is open, as the search reached its limit of nodes",
		},
		{
			"nobody knows why", feasible(0.2, "", ""),
			"feasible, which the search could not prove to be the best (no plan is below 0.90 ms per call, gap 20 %; 7 nodes)", "",
			"feasible, gap 20 %", "a gap of 20 % is open",
		},
	} {
		p := &Planned{Resolved: &plans.Resolved{Problem: &planner.Problem{}}, Plan: &planner.Plan{Certificate: test.of}}
		if text, ties := p.certificate(); text != test.text || ties != test.ties {
			t.Errorf("%s: got  %q, %q\nwant %q, %q", test.name, text, ties, test.text, test.ties)
		}
		if got := proof(&test.of); got != test.cell {
			t.Errorf("%s: in a table %q, want %q", test.name, got, test.cell)
		}
		if got := Open(&test.of); got != test.open {
			t.Errorf("%s: open is %q, want %q", test.name, got, test.open)
		}
	}
}
