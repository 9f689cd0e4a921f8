package planner

import "fmt"

// BaselineGroups are the groups of a baseline, by its name, as [Evaluate]
// takes them: what a plan is compared with can be evaluated, built or replayed
// like the plan itself. The groups may violate pins, which Evaluate then says.
func BaselineGroups(p *Problem, name string) ([][]int, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	f := newField(p)
	var groups [][]int
	for _, order := range f.rule(name).groups {
		var group []int
		for _, m := range order {
			group = append(group, f.at[m])
		}
		groups = append(groups, group)
	}
	if groups == nil {
		return nil, fmt.Errorf("there is no baseline %q", name)
	}
	return groups, nil
}

// MeanMS is the expected time of a call under a plan, over all models,
// whatever the objective is.
func (p *Problem) MeanMS(plan *Plan) float64 {
	costs := make([]float64, 0, len(p.Models))
	for _, at := range p.byName() {
		costs = append(costs, float64(p.Models[at].Share*plan.Models[at].ExpectedMS))
	}
	return sum(costs)
}

// Groups are the plan's groups as [Evaluate] takes them.
func (p *Plan) Groups() [][]int {
	var groups [][]int
	for d := range p.Devices {
		for g := range p.Devices[d].Groups {
			groups = append(groups, p.Devices[d].Groups[g].Models)
		}
	}
	return groups
}
