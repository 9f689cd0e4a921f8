package view

import (
	"testing"

	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans"
)

// TestLessThanTwoPercentOfTimeIsATie: so much do real calls vary. Bytes do not.
func TestLessThanTwoPercentOfTimeIsATie(t *testing.T) {
	for _, test := range []struct {
		objective planner.Objective
		separate  float64
		want      string
	}{
		{planner.Time, 1000, ", no better than all separate"},
		{planner.Time, 990, ", no better than all separate"},
		{planner.Time, 1019, ", within 2 % of all separate"},
		{planner.Time, 1021, ", 21.0 ms less than all separate"},
		{planner.ByteHits, 1019, ", 1.02x better than all separate"},
		{planner.ByteHits, 1001, ", no better than all separate"},
	} {
		p := &Planned{
			Resolved: &plans.Resolved{Problem: &planner.Problem{Objective: test.objective, Models: make([]planner.Model, 2)}},
			Plan: &planner.Plan{
				Value: 1000, Models: make([]planner.Outcome, 2),
				Baselines: []planner.Baseline{{Name: "separate", Value: test.separate, Feasible: true}},
			},
		}
		if got := p.against("separate"); got != test.want {
			t.Errorf("%v, %v: got %q, want %q", test.objective, test.separate, got, test.want)
		}
	}
}

// Of many models those are named that are fewer.
func TestListOfModels(t *testing.T) {
	all := []string{"a", "b", "c", "d", "e", "f", "g"}
	for _, test := range []struct {
		names, all []string
		want       string
	}{
		{all, all, "all models"},
		{all[:6], all, "all models but g"},
		{all[:5], all, "a, b, c, d, e"},
		{all[:1], all, "a"},
		{all[:1], all[:1], "a"},
		{all[1:5], all[:5], "b, c, d, e"},
		{all[1:6], all[:6], "all models but a"},
	} {
		if got := list(test.names, test.all); got != test.want {
			t.Errorf("%v of %v: %q, want %q", test.names, test.all, got, test.want)
		}
	}
}
