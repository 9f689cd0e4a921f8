package planner

import "slices"

// DefaultMinGain is the share by which a new plan must be better than one that
// was taken before to replace it: less than [Tie] cannot be told on a device.
const DefaultMinGain = Tie

// Kept says that a plan was taken before and stays, and what that gives up.
type Kept struct {
	Value   float64 // what the plan that the search found instead costs
	Gain    float64 // what that one would save, as a share of the kept plan's value; below 0 where the search found nothing as good
	MinGain float64 // up to this gain the plan stays
}

// Keep decides between an answer of [Solve] and a decision that was taken
// before, which [Evaluate] has worked out for the same problem: it stays
// unless the answer saves more than minGain (0 to below 1) of what it costs.
// The plan that stays has [Plan.Kept] and a certificate from the bound of the
// answer; the answer itself comes back where it is better or the same decision.
func Keep(answer, before *Plan, minGain float64) *Plan {
	if answer.Certificate.Status.Err() != nil || SameDecision(answer, before) ||
		below(answer.Value, before.Value*(1-minGain)) {
		return answer
	}
	kept := *before
	kept.Kept = &Kept{Value: answer.Value, MinGain: minGain}
	if kept.Value > 0 {
		kept.Kept.Gain = (kept.Value - answer.Value) / kept.Value
	}
	kept.Certificate = answer.Certificate.of(kept.Value, answer.Value)
	if c := &kept.Certificate; c.Status != Optimal && c.Limit == "" {
		c.Limit = LimitKept
	}
	return &kept
}

// SameDecision reports whether two plans have the same groups in the same orders.
func SameDecision(a, b *Plan) bool {
	return slices.EqualFunc(a.Devices, b.Devices, func(x, y DevicePlan) bool {
		return x.Name == y.Name && slices.EqualFunc(x.Groups, y.Groups, func(g, h Group) bool { return slices.Equal(g.Models, h.Models) })
	})
}
