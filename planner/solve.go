package planner

import "context"

// Solve searches the best plan of a problem. The error is one of
// [Problem.Validate]; every other outcome is a plan whose certificate says
// what is known about it. If ctx ends, the best plan so far is returned, with
// status feasible and limit "interrupted". If pins contradict each other the status is
// infeasible and the plan is empty.
func Solve(ctx context.Context, p *Problem, o Options) (*Plan, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	s := newSearch(ctx, newField(p), o)
	f := s.f
	var a answer
	many := f.n > o.maxExact()
	if many {
		a = s.improve(o)
	} else {
		starts := append(f.starts(), f.keep(o.Incumbent))
		if f.merged != nil && f.n > maxTieOrders {
			// not all orders of ties are tried: so that none is missed that a search of many models would find
			starts = append(starts, s.local(o))
		}
		a = s.exactly(atoms(f.all)).run(starts...)
	}
	if a.groups == nil {
		return &Plan{Certificate: Certificate{Status: Infeasible, Nodes: f.nodes}}, nil
	}
	plan := f.plan(a.groups)
	if given := f.rule(AsGiven); s.limit != "" || a.ties > 0 {
		// a search that ended early may have missed even the given order
		if b := f.baseline(given); b.Feasible && below(b.Value, plan.Value) {
			plan = f.plan(given.groups)
		}
	}
	plan.Certificate = s.certificate(plan.Value, a, many)
	return plan, nil
}

func newSearch(ctx context.Context, f *field, o Options) *search {
	return &search{ctx: ctx, f: f, off: o.Off, budget: o.nodeBudget(), workers: workersOf(o), pruned: map[string]int64{}}
}

// same is how far apart, as a share, two ways of summing the costs of a plan may be.
const same = 1e-10

// certificate says what a search has proved about a plan of this value.
func (s *search) certificate(value float64, a answer, many bool) Certificate {
	c := Certificate{Status: Feasible, Nodes: s.f.nodes, Pruned: s.pruned, Limit: s.limit, BoundKind: a.kind}
	c.Bound = max(0, min(a.bound, value)) // no cost is negative, a rounded bound near 0 may be
	if value-c.Bound <= same*value {
		c.Bound = value
	}
	if value > 0 {
		c.Gap = (value - c.Bound) / value
		c.TiesAtMost = min(c.Gap, a.ties/value)
		if c.Gap-c.TiesAtMost <= same {
			c.TiesAtMost = c.Gap
		}
	}
	switch {
	case c.Gap-c.TiesAtMost < Negligible:
		c.Status, c.Limit = Optimal, ""
	case c.Limit == "" && many:
		c.Limit = LimitModels
	}
	return c
}

// answer is a partition into ordered groups and a bound on every other.
type answer struct {
	groups [][]int
	bound  float64
	ties   float64   // what of the distance to the bound only the order of ties could close
	kind   BoundKind // what gave the bound
}

// keep is a decision of the problem's numbering by name; nil if it is none.
func (f *field) keep(groups [][]int) [][]int {
	number := f.numbers()
	var seen set
	var named [][]int
	for _, g := range groups {
		var order []int
		for _, at := range g {
			if at < 0 || at >= f.n || seen.Has(number[at]) {
				return nil
			}
			seen = seen.With(number[at])
			order = append(order, number[at])
		}
		if len(order) == 0 || !f.allowed(setOf(order)) || !f.orderAllowed(order) {
			return nil
		}
		named = append(named, order)
	}
	if seen != f.all {
		return nil
	}
	return named
}

// starts are partitions that the pins allow: of the baselines those that do,
// and the smallest groups that the labels allow. The listing of the problem decides nothing.
func (f *field) starts() [][][]int {
	var starts [][][]int
	add := func(groups [][]int) {
		for _, order := range groups {
			if !f.allowed(setOf(order)) || !f.orderAllowed(order) {
				return
			}
		}
		starts = append(starts, groups)
	}
	for _, b := range f.baselines() {
		if b.name != AsGiven {
			add(b.groups)
		}
	}
	var least [][]int
	for _, g := range f.smallest() {
		if order, ok := f.firstOrder(g, members(g)); ok {
			least = append(least, order)
		}
	}
	add(least)
	return starts
}

// smallest is the partition into the smallest groups that the labels allow.
func (f *field) smallest() []set {
	var groups []set
	index := map[string]int{}
	for m := range f.n {
		if at, ok := index[f.labels[m]]; ok && f.labels[m] != "" {
			groups[at] = groups[at].With(m)
			continue
		}
		index[f.labels[m]] = len(groups)
		groups = append(groups, set(0).With(m))
	}
	return groups
}
