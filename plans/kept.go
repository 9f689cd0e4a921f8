package plans

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tpuplan/tpuplan/planner"
)

// Keeping is what becomes of a lock's decision beside a new answer.
type Keeping struct {
	Plan *planner.Plan // the plan that holds: the answer, or what the lock decided
	// Locked is the lock's decision on today's evidence, nil if it does not
	// apply any more, for the reason Unfit.
	Locked *planner.Plan
	Unfit  error

	Hedge        *planner.Hedge   // KeepHedge: the hedge that Plan is
	LockedRegret *planner.Extreme // KeepHedge: the largest regret of Locked, if there is that
}

// Keep decides between an answer to the resolved plan and the decision of its
// lock, both on today's evidence, as [planner.Keep] does. A decision that does
// not apply any more is replaced, and so is none (a lock that is nil).
func (r *Resolved) Keep(answer *planner.Plan, lock *Lock, minGain float64) Keeping {
	k := Keeping{Plan: answer}
	if lock == nil {
		return k
	}
	if k.Locked, k.Unfit = r.Locked(lock); k.Unfit == nil {
		k.Plan = planner.Keep(answer, k.Locked, minGain)
	}
	return k
}

// KeepHedge is Keep where the plan is to be the hedge against what would change
// the answer, as [planner.Hedge.Keep] and [planner.Hedge.Decide] have it.
func (r *Resolved) KeepHedge(answer *planner.Plan, hedge *planner.Hedge, lock *Lock, minGain float64) (Keeping, error) {
	k := Keeping{Hedge: hedge}
	if lock != nil {
		k.Locked, k.Unfit = r.Locked(lock)
	}
	if k.Locked != nil {
		regret, err := hedge.RegretOf(k.Locked.Groups())
		if err != nil {
			return k, err
		}
		k.LockedRegret = &regret
		if k.Hedge, err = hedge.Keep(k.Locked.Groups(), minGain); err != nil {
			return k, err
		}
	}
	var err error
	k.Plan, err = k.Hedge.Decide(answer)
	return k, err
}

// Locked is what the decision of a lock gives today. The error says why it
// does not apply: it is for another release, where everything is compiled anew
// in any case, for another device or other models, or violates a pin.
func (r *Resolved) Locked(lock *Lock) (*planner.Plan, error) {
	if was := lock.Decision.Compiler; was != r.Version.String() {
		return nil, fmt.Errorf("it is for edgetpu_compiler %s", was)
	}
	devices := make([]string, len(lock.Decision.Devices))
	for i := range devices {
		devices[i] = lock.Decision.Devices[i].Name
	}
	if !slices.EqualFunc(devices, r.Problem.Devices, func(was string, d planner.Device) bool { return was == d.Name }) {
		return nil, fmt.Errorf("it is for device %s", list(devices))
	}
	was := map[string]bool{}
	for i := range lock.Evidence.Models {
		was[lock.Evidence.Models[i].Name] = true
	}
	var changed []error
	for i := range r.Problem.Models {
		if name := r.Problem.Models[i].Name; !was[name] {
			changed = append(changed, fmt.Errorf("model %s is new", quote(name)))
		} else {
			delete(was, name)
		}
	}
	for i := range lock.Evidence.Models { // which are sorted
		if name := lock.Evidence.Models[i].Name; was[name] {
			changed = append(changed, fmt.Errorf("model %s is gone", quote(name)))
		}
	}
	if len(changed) > 0 {
		return nil, errors.Join(changed...)
	}
	groups, err := lock.Grouping(r.Problem)
	if err != nil {
		return nil, err
	}
	return planner.Evaluate(r.Problem, groups)
}
