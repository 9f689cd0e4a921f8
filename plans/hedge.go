package plans

import (
	"fmt"

	"github.com/tpuplan/tpuplan/planner"
)

// LockedHedge is why a plan was chosen that is not the best as assumed. What is
// varied is no part of a decision, so that no sentence about it is here.
type LockedHedge struct {
	Value         Number     `json:"value"` // of the hedge, as assumed
	LargestRegret Number     `json:"largest_regret"`
	PlanRegret    Number     `json:"plan_regret"` // the largest of the plan that is best as assumed
	Price         Number     `json:"price"`       // what the hedge takes more than that plan
	PlanGroups    [][]string `json:"plan_groups"` // of that plan, models in order
	// ByFlag: the command line asked for it, not the plan file.
	ByFlag bool `json:"by_flag,omitempty"`
}

// NewHedgedLock records a hedge: answer is what [planner.Hedge.Decide] made of plan.
func NewHedgedLock(r *Resolved, plan, answer *planner.Plan, h *planner.Hedge, byFlag bool) *Lock {
	l := NewLock(r, answer)
	x := &LockedHedge{
		Value: Number(h.Value), LargestRegret: Number(h.Largest.Amount), PlanRegret: Number(h.OfPlan.Amount), Price: Number(h.Price), ByFlag: byFlag,
	}
	for _, g := range plan.Groups() {
		var names []string
		for _, i := range g {
			names = append(names, r.Files[i].Name)
		}
		x.PlanGroups = append(x.PlanGroups, names)
	}
	l.Evidence.Hedge = x
	return l
}

// Hedged says whether the lock's plan is a hedge that its plan file, which may
// have changed, does not ask for: whoever compares it has to look for the hedge too.
func (l *Lock) Hedged() bool { return l.Evidence.Hedge != nil && l.Evidence.Hedge.ByFlag }

func (h *LockedHedge) text() string {
	if h == nil {
		return "none"
	}
	return fmt.Sprintf("one with a largest regret of %s against %s, at a price of %s", h.LargestRegret.text(), h.PlanRegret.text(), h.Price.text())
}
