package view

import (
	"slices"
	"strings"
	"testing"

	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans"
)

func TestHedgeInWords(t *testing.T) {
	planOf := func(groups ...[]int) *planner.Plan {
		d := planner.DevicePlan{}
		for _, g := range groups {
			d.Groups = append(d.Groups, planner.Group{Models: g})
		}
		return &planner.Plan{Devices: []planner.DevicePlan{d}}
	}
	together, turned, apart := planOf([]int{0, 1}), planOf([]int{1, 0}), planOf([]int{0}, []int{1})
	slow := &planner.Assumption{Sentence: func(amount string) string { return "streaming takes " + amount }, Unit: "times", Low: 1, High: 8}
	rule := &planner.Assumption{Sentence: func(string) string { return "the rule is another" }}
	hedge := func(price, saves float64) *planner.Hedge {
		return &planner.Hedge{
			Groups: apart.Groups(), PlanValue: 0.5, Value: 0.5 + price, Price: price,
			Largest: planner.Extreme{Amount: price, Best: 0.5}, OfPlan: planner.Extreme{Amount: 3.5, Best: 0.6, Assumption: slow, Value: 8},
			Saves: planner.Extreme{Amount: saves, Best: 0.6, Assumption: slow, Value: 8},
		}
	}
	is := func(h planner.Hedge) *planner.Hedge { h.IsPlan = true; return &h }
	for _, test := range []struct {
		name            string
		plan, asAssumed *planner.Plan
		hedge           *planner.Hedge
		want            []string
	}{
		{"none", together, nil, nil, nil},
		{"worth it", together, nil, hedge(0.005, 3.25), []string{"a hedge would cost 0.01 ms more as assumed and save up to 3.25 ms: tpuplan optimize --hedge 'my plan.toml'"}},
		{"for nothing", together, nil, hedge(0, 3.25), []string{"a hedge would cost nothing as assumed and save up to 3.25 ms: tpuplan optimize --hedge 'my plan.toml'"}},
		{"too dear", together, nil, hedge(0.1, 3.25), nil},
		{"the plan", together, nil, is(*hedge(0, 0)), nil},
		{
			"applied", apart, together, hedge(0.1, 3.25),
			[]string{
				"hedged: costs 0.10 ms more as assumed, saves up to 3.25 ms (if streaming takes 8 times); its largest regret is 0.10 ms, that of the plan best as assumed 3.50 ms",
				"best as assumed: a + b, 0.50 ms per call",
			},
		},
		{
			"another order", turned, together, &planner.Hedge{PlanValue: 0.5, Value: 0.25, Price: -0.25, Saves: planner.Extreme{Amount: 1, Assumption: rule, Value: 1}},
			[]string{
				"hedged: costs 0.25 ms less as assumed, saves up to 1.00 ms (if the rule is another); its largest regret is 0.00 ms, that of the plan best as assumed 0.00 ms",
				"best as assumed: a + b, 0.50 ms per call, another order",
			},
		},
		{
			"applied, and the plan", together, together, is(planner.Hedge{OfPlan: planner.Extreme{Amount: 0.25, Assumption: slow, Value: 8}}),
			[]string{"hedged: no other plan that may be the best has a smaller largest regret, 0.25 ms (if streaming takes 8 times)"},
		},
		{"nothing better anywhere", together, together, is(planner.Hedge{}), []string{"hedged: no plan is better than this one for any value that was tried"}},
	} {
		p := &Planned{
			Resolved: &plans.Resolved{
				Problem: &planner.Problem{Models: []planner.Model{{Name: "a"}, {Name: "b"}}},
			},
			HedgeBy: "tpuplan optimize --hedge 'my plan.toml'",
			Plan:    test.plan, AsAssumed: test.asAssumed, Hedge: test.hedge,
		}
		for i := range p.Resolved.Problem.Models {
			p.Resolved.Problem.Models[i].Call.ComputeIncluded = true
		}
		var got []string
		for _, x := range p.firmAndHedged() {
			if x.text != "" {
				got = append(got, strings.TrimSpace(x.text+" "+x.command))
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got  %q\nwant %q", test.name, got, test.want)
		}
	}
	// where nothing is sent at all there is no share
	p := &Planned{Resolved: &plans.Resolved{Problem: &planner.Problem{}}, Plan: together, Hedge: &planner.Hedge{}}
	p.Resolved.Problem.Models = []planner.Model{{Name: "a"}, {Name: "b"}}
	if got := string(encode(p.hedgeJSON())); strings.Contains(got, "share") || strings.Contains(got, "_if") || !strings.Contains(got, `"largest_regret": 0`) {
		t.Error(got)
	}
	if p.Hedge = nil; p.hedgeJSON() != nil {
		t.Error("a hedge that was not found out is printed")
	}
}
