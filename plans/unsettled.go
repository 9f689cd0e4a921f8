package plans

import (
	"cmp"
	"slices"

	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/planner"
)

// Unsettled lists the compiler calls whose result the prediction cannot
// settle, as indexes of models in command-line order, the one that is worth most
// first: those that settle an assumption under which another plan would be
// better, by the share that it would save ([planner.Finding.Stake]), then the plan's own groups whose
// split is not certain, by how often they are called. What was compiled
// already is not among them.
func (r *Resolved) Unsettled(answer *planner.Plan, findings []planner.Finding) [][]int {
	var calls [][]int
	add := func(models []int) {
		known := func(k planner.Known) bool { return slices.Equal(k.Models, models) }
		same := func(c []int) bool { return slices.Equal(c, models) }
		if len(models) > 0 && !slices.ContainsFunc(r.Problem.Known, known) && !slices.ContainsFunc(calls, same) {
			calls = append(calls, models)
		}
	}
	var open []*planner.Finding
	for i := range findings {
		if findings[i].PlanChanges {
			open = append(open, &findings[i])
		}
	}
	slices.SortStableFunc(open, func(a, b *planner.Finding) int { return cmp.Compare(b.Stake(), a.Stake()) })
	for _, f := range open {
		add(f.Models)
	}
	var groups [][]int
	share := func(models []int) (sum float64) {
		for _, m := range models {
			sum += r.Problem.Models[m].Share
		}
		return sum
	}
	for _, d := range answer.Devices {
		for _, g := range d.Groups {
			if g.Known {
				continue
			}
			certainty := report.Exact
			for _, m := range r.Predict(g.Models).Models {
				certainty = certainty.Weaker(m.Certainty)
			}
			if certainty > report.Exact {
				groups = append(groups, g.Models)
			}
		}
	}
	slices.SortStableFunc(groups, func(a, b []int) int { return cmp.Compare(share(b), share(a)) })
	for _, g := range groups {
		add(g)
	}
	return calls
}
