package planner

import (
	"context"
	"math"
	"math/bits"
)

// Solve searches the best plan of a problem. The error is one of
// [Problem.Validate]; every other outcome is a plan whose certificate says
// what is known about it. If ctx ends, the best plan so far is returned, with
// status feasible and limit "interrupted". If pins contradict each other the status is
// infeasible and the plan is empty.
func Solve(ctx context.Context, p *Problem, o Options) (*Plan, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	f := newField(p)
	s := &search{ctx: ctx, f: f, off: o.Off, budget: o.nodeBudget(), pruned: map[string]int64{}}
	var a answer
	if f.n <= o.maxExact() {
		a = s.exact()
	} else {
		a = s.improve()
	}
	if a.groups == nil {
		return &Plan{Certificate: Certificate{Status: Infeasible, Nodes: f.nodes}}, nil
	}
	plan := f.plan(a.groups)
	if given := f.rule(AsGiven); s.limit != "" || s.ties || f.n > o.maxExact() {
		// a search that ended early may have missed even the given order
		if b := f.baseline(given); b.Feasible && below(b.Value, plan.Value) {
			plan = f.plan(given.groups)
		}
	}
	c := &plan.Certificate
	c.Bound = max(0, min(a.bound, plan.Value)) // no cost is negative, a rounded bound near 0 may be
	c.Nodes, c.Pruned, c.Limit = f.nodes, s.pruned, s.limit
	if c.Limit == "" && s.ties && below(c.Bound, plan.Value) {
		c.Limit = LimitTies
	}
	if f.n > o.maxExact() && c.Limit == "" {
		c.Limit = LimitModels
	}
	c.Status = Feasible
	if !below(c.Bound, plan.Value) {
		c.Status, c.Bound, c.Limit = Optimal, plan.Value, ""
	}
	if plan.Value > 0 {
		c.Gap = (plan.Value - c.Bound) / plan.Value
	}
	return plan, nil
}

// answer is a partition into ordered groups and a bound on every other.
type answer struct {
	groups [][]int
	bound  float64
}

// exact plans over all partitions. Every subset of the models first has a
// bound; the best partition under the bounds is found by dynamic programming
// over subsets, its groups are then solved, and so on until the best partition is of solved groups.
func (s *search) exact() answer {
	f := s.f
	known := make([]solved, 1<<f.n)
	for g := set(1); g <= f.all; g++ {
		known[g] = solved{lower: math.Inf(1), upper: math.Inf(1), done: true}
		if f.allowed(g) {
			known[g] = solved{lower: s.groupBound(g), upper: math.Inf(1)}
		}
	}
	if s.off.Lazy {
		for g := set(1); g <= f.all; g++ {
			if !known[g].done && s.stop() == "" {
				known[g] = s.solveGroup(g)
			}
		}
	}
	s.startWith(known)
	for {
		lower, parts := f.partition(known, func(k *solved) float64 { return k.lower })
		if math.IsInf(lower, 1) {
			return answer{}
		}
		open := false
		for _, g := range parts {
			if !known[g].done && !s.enough(lower) {
				open = true
				if s.stop() != "" {
					break
				}
				known[g] = better(known[g], s.solveGroup(g))
			}
		}
		if !open || s.limit != "" {
			_, parts = f.partition(known, func(k *solved) float64 { return k.upper })
			a := answer{bound: lower}
			for _, g := range parts {
				a.groups = append(a.groups, known[g].order)
			}
			return a
		}
		s.pruned[ruleLazy]++
	}
}

// better keeps the cheaper order of two findings about one group.
func better(old, now solved) solved {
	if old.order != nil && below(old.upper, now.upper) {
		now.order, now.upper = old.order, old.upper
	}
	now.lower = max(old.lower, now.lower)
	if now.done && !below(now.lower, now.upper) {
		now.lower = now.upper
	}
	return now
}

// startWith gives the groups of the baselines an order, so that a search that
// ends early has a plan, and one that is no worse than any baseline.
func (s *search) startWith(known []solved) {
	f := s.f
	for _, b := range append(f.baselines(), rule{groups: s.keep}) {
		if b.name == AsGiven { // the listing must not decide between equals
			continue
		}
		for _, order := range b.groups {
			g := setOf(order)
			if math.IsInf(known[g].lower, 1) || !f.orderAllowed(order) {
				continue
			}
			if c := f.groupCost(order); known[g].order == nil || below(c, known[g].upper) {
				known[g].order, known[g].upper = order, c
			}
		}
	}
	// With pins no baseline may be allowed: the labelled groups and the rest alone are.
	for _, g := range f.smallest() {
		if order, ok := f.firstOrder(g, members(g)); ok && known[g].order == nil {
			known[g].order = order
			known[g].upper = f.groupCost(order)
		}
	}
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

// partition finds the cheapest partition of all models into groups. Among
// equals the one with the larger group of the first model by name stays.
func (f *field) partition(known []solved, value func(*solved) float64) (float64, []set) {
	best := make([]float64, len(known))
	first := make([]set, len(known))
	for s := set(1); s <= f.all; s++ {
		best[s] = math.Inf(1)
		lowest := set(1) << bits.TrailingZeros64(uint64(s))
		others := s &^ lowest
		// all subsets of the others, largest first
		for sub := others; ; sub = (sub - 1) & others {
			g := sub | lowest
			if v := value(&known[g]) + best[s&^g]; below(v, best[s]) || math.IsInf(best[s], 1) && !math.IsInf(v, 1) {
				best[s], first[s] = v, g
			}
			if sub == 0 {
				break
			}
		}
	}
	if math.IsInf(best[f.all], 1) {
		return best[f.all], nil
	}
	var parts []set
	for rest := f.all; rest != 0; rest &^= first[rest] {
		parts = append(parts, first[rest])
	}
	return best[f.all], parts
}
