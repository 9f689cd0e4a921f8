package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/compile/emit"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans"
)

// hedging is whether the hedge is wanted, and who wants it.
type hedging struct {
	set    bool // by the flag, which may also say no
	wanted bool
	byFlag bool // the plan file does not ask for it
}

// decide settles it for one release: the flag wins over the plan file. A lock
// that is tested may be a hedge by flag, and whoever runs --check need not know.
func (h *hedging) decide(u *ui, r *request, plan *plans.Plan) {
	if !h.set {
		h.wanted = plan.Hedge
		if hedged := r.lock != nil && r.lock.Hedged(); hedged && !h.wanted {
			if h.wanted = r.check || r.locked; !h.wanted {
				u.note(fmt.Sprintf("%s: was made with --hedge, which this command does not repeat", plans.LockPath(r.plan)))
			}
		}
	}
	h.byFlag = h.wanted && !plan.Hedge
}

// words repeat in a build file what its plan file does not say.
func (h *hedging) words() []string {
	switch {
	case h.byFlag:
		return []string{"--hedge"}
	case h.set && !h.wanted:
		return []string{"--hedge=false"}
	}
	return nil
}

// hedgeCommand plans the hedge instead.
func hedgeCommand(r *request) string {
	words := "tpuplan optimize --hedge "
	if len(r.versions) > 0 {
		words += "--compiler " + r.versions[0].String() + " "
	}
	return words + emit.Quote(r.plan)
}

// applyHedge makes the hedge the plan. There is none if the search for it was
// interrupted: then nothing is written anyway.
func applyHedge(u *ui, r *request, p *view.Planned) error {
	if p.Hedge == nil {
		return nil
	}
	lock := r.lock
	if r.fresh {
		lock = nil
	}
	k, err := p.Resolved.KeepHedge(p.Plan, p.Hedge, lock, r.minGain)
	if err != nil {
		return fmt.Errorf("%s: %w", r.plan, err)
	}
	answer := k.Plan
	// Nothing trusts the search's own book-keeping.
	if err := planner.Verify(p.Resolved.Problem, answer); err != nil {
		return fmt.Errorf("%s: the hedge found does not hold (please report this): %w", r.plan, err)
	}
	for _, w := range p.Resolved.WarningsOf(answer) {
		u.warn(w.Error())
	}
	p.AsAssumed, p.Plan, p.Hedge, p.LockedRegret = p.Plan, answer, k.Hedge, k.LockedRegret
	p.Lock = plans.NewHedgedLock(p.Resolved, p.AsAssumed, answer, p.Hedge, r.hedge.byFlag)
	return nil
}

// hedgeVerdict is the error of a hedge that was to be optimal: that is what it is not, on purpose.
func hedgeVerdict(ctx context.Context, r *request, p *view.Planned) error {
	if ctx.Err() != nil || !r.requireOptimal || p.Plan.Certificate.Limit != planner.LimitHedge {
		return nil
	}
	hint := "no file was written; leave out --require-optimal, or --hedge"
	if !r.hedge.byFlag {
		hint = "no file was written; leave out --require-optimal, or override the plan's hedge with --hedge=false"
	}
	return &failure{exitUnproven, errors.New(r.plan + ": the hedge is not the best plan as assumed"), hint}
}
