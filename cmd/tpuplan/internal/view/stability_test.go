package view

import (
	"strings"
	"testing"

	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans"
)

func TestFirmness(t *testing.T) {
	problem := &planner.Problem{Models: []planner.Model{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
	p := &Planned{
		Resolved: &plans.Resolved{Problem: problem},
		Plan:     &planner.Plan{Devices: []planner.DevicePlan{{Groups: []planner.Group{{Models: []int{0, 1}}, {Models: []int{2}}}}}},
	}
	rows := &planner.Assumption{
		Sentence: func(amount string) string { return amount + " are reserved" }, Unit: "rows", Low: 10, High: 1400, Assumed: 20, SettledBy: "a compile",
	}
	rule := &planner.Assumption{Sentence: func(string) string { return "the rule is another" }, SettledBy: "a compile of all"}
	at := func(x float64) *float64 { return &x }
	stays := planner.Finding{Assumption: rows, Checked: planner.CheckedAll, Tried: 1}
	sampled := planner.Finding{Assumption: rows, Checked: planner.CheckedSome, Tried: 9}
	early := planner.Finding{Assumption: rows, Checked: planner.CheckedEarly, Tried: 2}
	apart := planner.Finding{Assumption: rows, PlanChanges: true, Regret: 1.5, AtLeast: at(1200), AtMost: at(12), Better: [][]int{{0}, {1, 2}}}
	turned := planner.Finding{Assumption: rule, PlanChanges: true, Regret: 2, Better: [][]int{{2}, {1, 0}}}
	patchy := planner.Finding{Assumption: rows, PlanChanges: true, Regret: 0.5, AtLeast: at(30), Patchy: true, Better: [][]int{{0}, {1}, {2}}}
	for _, test := range []struct {
		findings []planner.Finding
		want     string
		notes    string // of the first finding
	}{
		{nil, "", ""},
		{
			[]planner.Finding{stays, stays},
			"firm: the plan holds under 2 stated ranges of what is not known",
			"the plan stays if 10 to 1400 rows are reserved (1 value tried)",
		},
		{
			[]planner.Finding{sampled, stays},
			"firm: the plan holds under 2 stated ranges of what is not known, 1 of them tried at some values only",
			"the plan stays if 10 to 1400 rows are reserved (9 values tried)",
		},
		{
			[]planner.Finding{early, sampled, stays},
			"firm as far as is known: none of 3 stated ranges was seen to change the plan, but 1 could not be searched to the end",
			"no change was found, but the search not finished, if 10 to 1400 rows are reserved",
		},
		{
			[]planner.Finding{apart, early},
			"not firm: if at most 12 or at least 1200 rows are reserved, a call takes up to 1.50 ms less with b + c, a alone; a compile settles it",
			"the plan changes if at most 12 or at least 1200 rows are reserved, a call takes up to 1.50 ms less with b + c, a alone; a compile settles it",
		},
		{
			[]planner.Finding{turned, apart, stays},
			"not firm: if the rule is another, a call takes up to 2.00 ms less with b + a, c alone in this order; a compile of all settles it (-v lists 1 more)",
			"the plan changes if the rule is another, a call takes up to 2.00 ms less with b + a, c alone in this order; a compile of all settles it",
		},
		{
			[]planner.Finding{patchy},
			"not firm: if at least 30 rows are reserved (not for every such value), a call takes up to 0.50 ms less with a, b, c alone; a compile settles it",
			"the plan changes if at least 30 rows are reserved (not for every such value), a call takes up to 0.50 ms less with a, b, c alone; a compile settles it",
		},
	} {
		p.Stability = test.findings
		if got := p.firmness(); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
		if len(test.findings) > 0 {
			if got := p.Finding(&test.findings[0]); got != test.notes {
				t.Errorf("got  %s\nwant %s", got, test.notes)
			}
		}
	}
	// a rule has no values, and nothing found out is not nothing to find
	p.Checked, p.Stability = true, []planner.Finding{turned}
	if got := string(encode(p.findingsJSON())); strings.Contains(got, `"low"`) || strings.Contains(got, "worst_at") || !strings.Contains(got, `"assumption": "against what is assumed, the rule is another"`) {
		t.Errorf("a rule: %s", got)
	}
	if p.Stability = nil; p.findingsJSON() == nil {
		t.Error("nothing to find is left out")
	}
	if p.Checked = false; p.findingsJSON() != nil {
		t.Error("what was not found out is said")
	}
}
