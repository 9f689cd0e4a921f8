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
