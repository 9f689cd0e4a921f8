package view

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans"
)

func locked(value float64, status planner.Status, groups ...[]int) *planner.Plan {
	p := &planner.Plan{Value: value, Devices: []planner.DevicePlan{{}}, Certificate: planner.Certificate{Status: status}}
	for _, g := range groups {
		p.Devices[0].Groups = append(p.Devices[0].Groups, planner.Group{Models: g})
	}
	return p
}

// What becomes of a lock, in the words of the screen and of a check.
func TestKept(t *testing.T) {
	const optimal, feasible = planner.Optimal, planner.Feasible
	was := locked(1.5, optimal, []int{0}, []int{1})
	kept := func(status planner.Status, k planner.Kept) *planner.Plan {
		p := *was
		p.Kept, p.Certificate.Status = &k, status
		return &p
	}
	better := locked(1.2, optimal, []int{0, 1})
	const locks = "the locked plan now: 1.50 ms per call + compute\n  "
	for _, test := range []struct {
		name   string
		plan   *planner.Plan
		locked *planner.Plan
		unfit  error
		screen string
		check  string
	}{
		{"nothing changed", was, was, nil, "", "1.50 ms per call + compute, no plan is better"},
		{"nothing was proven", locked(1.5, feasible, []int{0}, []int{1}), was, nil, "", "1.50 ms per call + compute, no better plan was found"},
		{
			"kept", kept(feasible, planner.Kept{Value: 1.488, Gain: 0.008, MinGain: 0.02}), was, nil,
			"kept from the lock: a new plan would take 1.49 ms per call, 0.8 % less (--min-gain 2; --fresh takes it)",
			"1.50 ms per call + compute, a new plan would save 0.8 %",
		},
		{
			"kept up to 12.5 %", kept(feasible, planner.Kept{Value: 1.32, Gain: 0.12, MinGain: 0.125}), was, nil,
			"kept from the lock: a new plan would take 1.32 ms per call, 12 % less (--min-gain 12.5; --fresh takes it)",
			"1.50 ms per call + compute, a new plan would save 12 %",
		},
		{"as good", kept(optimal, planner.Kept{Value: 1.4999, Gain: 0.0001, MinGain: 0.02}), was, nil, "kept from the lock: another plan is as good (--fresh takes it)", "1.50 ms per call + compute, no plan is better"},
		{"better than found", kept(feasible, planner.Kept{Value: 1.6, Gain: -0.067, MinGain: 0.02}), was, nil, "kept from the lock: the search found none as good, only 1.60 ms per call + compute", "1.50 ms per call + compute, no better plan was found"},
		{"replaced", better, was, nil, "replaces the lock's plan and saves 20 % of its 1.50 ms per call", locks + "a new plan: 1.20 ms per call + compute, 0.30 ms (20 %) less"},
		{"replaced for a trifle", locked(1.4999, optimal, []int{0, 1}), was, nil, "replaces the lock's plan and saves less than 0.1 % of its 1.50 ms per call", locks + "a new plan: 1.50 ms per call + compute, the same"},
		{"no lock", better, nil, nil, "", "a new plan: 1.20 ms per call + compute"},
		{"does not apply", better, nil, errors.New("model \"a\" is new\nmodel \"b\" is gone"), "", "model \"a\" is new; model \"b\" is gone\n  a new plan: 1.20 ms per call + compute"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &Planned{Resolved: &plans.Resolved{Problem: &planner.Problem{Models: make([]planner.Model, 2)}}, Plan: test.plan, Locked: test.locked, Unfit: test.unfit}
			if diff := cmp.Diff(test.screen, strings.ReplaceAll(p.kept(), glue, " ")); diff != "" {
				t.Error(diff)
			}
			want, got := "l: holds: "+test.check+"\n", string(Holds(p, "l"))
			switch {
			case test.unfit != nil:
				want = "l: the decision changes: the locked plan does not apply any more\n  " + test.check + "\n\nnext: again\n"
			case test.locked == nil:
				want = "l: there is no lock\n  " + test.check + "\n\nnext: again\n"
			case test.plan.Kept == nil && test.plan.Value < test.locked.Value:
				want = "l: the decision changes\n  " + test.check + "\n\nnext: again\n"
			}
			if want[:8] != "l: holds" {
				got = string(Changes(p, "l", "again", Style{Width: 80}))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What becomes of a locked hedge, in the words of the screen and of a check.
func TestKeptHedge(t *testing.T) {
	slow := &planner.Assumption{Sentence: func(amount string) string { return "streaming takes " + amount }, Unit: "times", Low: 1, High: 8}
	was, other := locked(1.5, planner.Feasible, []int{0}, []int{1}), locked(1.2, planner.Feasible, []int{0, 1})
	at := func(amount float64) planner.Extreme {
		return planner.Extreme{Amount: amount, Best: 10, Assumption: slow, Value: 8}
	}
	found := func(regret float64) *planner.Hedge { return &planner.Hedge{Largest: at(regret), Value: 1.488} }
	kept := func(gain, regret float64, instead *planner.Hedge) (*planner.Plan, *planner.Hedge) {
		p := *was
		p.Kept = &planner.Kept{Value: 1.488, Gain: gain, MinGain: 0.02}
		return &p, &planner.Hedge{Largest: at(regret), Value: 1.5, Instead: instead, MinGain: 0.02}
	}
	both, bothHedge := kept(0.008, 2, found(1.9))
	value, valueHedge := kept(0.008, 2, found(2))
	smaller, smallerHedge := kept(0, 2, found(1.9))
	equal, equalHedge := kept(0, 2, found(2.001))
	for _, test := range []struct {
		name          string
		plan          *planner.Plan
		hedge         *planner.Hedge
		screen, check string
	}{
		{
			"both are better", both, bothHedge,
			"kept from the lock: a new hedge would take 1.49 ms per call as assumed, 0.8 % less, and have a largest regret of 1.90 ms, 0.10 ms less (--min-gain 2; --fresh takes it)",
			"1.50 ms per call + compute, the largest regret of a new hedge would be 0.10 ms less",
		},
		{
			"a better value", value, valueHedge,
			"kept from the lock: a new hedge would take 1.49 ms per call as assumed, 0.8 % less (--min-gain 2; --fresh takes it)",
			"1.50 ms per call + compute, a new plan would save 0.8 %",
		},
		{
			"a smaller regret", smaller, smallerHedge,
			"kept from the lock: a new hedge would have a largest regret of 1.90 ms, 0.10 ms less (--min-gain 2; --fresh takes it)",
			"1.50 ms per call + compute, the largest regret of a new hedge would be 0.10 ms less",
		},
		{"as good", equal, equalHedge, "kept from the lock: no new hedge is better (--fresh takes the one that was found)", "1.50 ms per call + compute, no hedge is better"},
		{"the same", was, found(2), "", "1.50 ms per call + compute, no hedge is better"},
		{"replaced", other, found(1), "replaces the lock's plan, whose largest regret is 2.00 ms (if streaming takes 8 times)", ""},
	} {
		regret := at(2)
		p := &Planned{
			Resolved: &plans.Resolved{Problem: &planner.Problem{Models: make([]planner.Model, 2)}},
			Plan:     test.plan, Locked: was, LockedRegret: &regret, Hedge: test.hedge, AsAssumed: other,
		}
		if diff := cmp.Diff(test.screen, strings.ReplaceAll(p.kept(), glue, " ")); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
		want, got := "l: holds: "+test.check+"\n", string(Holds(p, "l"))
		if test.check == "" {
			want = "l: the decision changes\n  the locked plan now: 1.50 ms per call + compute, largest regret 2.00 ms (if\n  streaming takes 8 times)\n" +
				"  a new plan: 1.20 ms per call + compute, 0.30 ms (20 %) less, largest regret\n  1.00 ms (if streaming takes 8 times)\n\nnext: again\n"
			got = string(Changes(p, "l", "again", Style{Width: 80}))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}
