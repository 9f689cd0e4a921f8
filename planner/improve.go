package planner

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// A descent takes time with the cube of the models: beyond manyModels only the
// best start is followed.
const manyModels = 24

// Limits of planning parts of a plan exactly.
const (
	neighbourhood = 12      // models at a time
	movedModels   = 8       // of a pair of groups that holds more
	pairedGroups  = 5       // a group and those that follow by rate
	refineNodes   = 240_000 // of all of them
)

// improve plans many models. A plan that the search finds when nothing is
// pinned, and that satisfies the pins, is the answer: pinning what a plan does
// anyway gives the plan again.
func (s *search) improve(o Options) answer {
	best := s.local(o)
	if best == nil {
		return answer{}
	}
	bound, kind := s.f.manyBound()
	return answer{groups: best, bound: bound, kind: kind}
}

// local is the plan that improve finds.
func (s *search) local(o Options) [][]int {
	f := s.f
	var best [][]int
	if free := f.unpinned(); free != nil {
		u := &search{ctx: s.ctx, f: free, off: s.off, budget: s.budget, workers: s.workers, pruned: map[string]int64{}}
		best = f.satisfying(u.climb(free.keep(o.Incumbent)))
		s.join(u)
	}
	if best == nil {
		best = s.climb(f.keep(o.Incumbent))
	}
	return best
}

// unpinned is the problem without its pins; nil if it has none.
func (f *field) unpinned() *field {
	p := *f.problem
	p.Models = slices.Clone(p.Models)
	some := false
	for i := range p.Models {
		m := &p.Models[i]
		if m.Compiled {
			continue // its label says what it was compiled with
		}
		some = some || m.Group != "" || len(m.Before) > 0
		m.Group, m.Before = "", nil
	}
	if !some {
		return nil
	}
	return newField(&p)
}

// satisfying is a partition if it satisfies the pins, else nil.
func (f *field) satisfying(groups [][]int) [][]int {
	for _, order := range groups {
		if !f.allowed(setOf(order)) || !f.orderAllowed(order) {
			return nil
		}
	}
	return groups
}

// climb is local search from several starts. Its moves: a model goes to
// another place or group or alone, two groups become one; each step takes the
// best move (steepest descent). Where none helps, parts of the plan
// are planned exactly while the rest stays, until that helps nowhere either.
func (s *search) climb(keep [][]int) [][]int {
	f := s.f
	best := s.descendFrom(append(f.starts(), f.cuts(), keep)...)
	limit := f.nodes + refineNodes
	for value := math.Inf(1); best != nil && s.stop() == ""; {
		groups, v := s.descend(s.refine(best, limit))
		if !below(v, value) {
			break
		}
		best, value = groups, v
	}
	best = s.untie(best)
	spent := f.nodes                                                         // which the listing of the problem must not change
	for _, start := range append(f.starts(), keep, f.rule(AsGiven).groups) { // whose own orders may decide ties better
		if best != nil && start != nil && f.satisfying(start) != nil && below(f.costOf(start), f.costOf(best)) {
			best = start
		}
	}
	f.nodes = spent
	return best
}

// cuts is the best partition of those that cut the list of models by rate into
// pieces; nil where pins or compiled models forbid such pieces, or order matters.
func (f *field) cuts() [][]int {
	if f.merged == nil || f.compiled != 0 || f.labelled != nil {
		return nil
	}
	list := f.byRate(members(f.all))
	best, from := make([]float64, f.n+1), make([]int, f.n+1)
	for end := 1; end <= f.n; end++ {
		best[end] = math.Inf(1)
		var group set
		for start := end - 1; start >= 0; start-- {
			group = group.With(list[start])
			lower, _ := f.lookAt(group, f.reserved(group), f.reserved(group), f.missesInto(group))
			if v := best[start] + lower; below(v, best[end]) {
				best[end], from[end] = v, start
			}
		}
	}
	var groups [][]int
	for end := f.n; end > 0; end = from[end] {
		order, ok := f.firstOrder(setOf(list[from[end]:end]), members(setOf(list[from[end]:end])))
		if !ok {
			return nil
		}
		groups = append(groups, order)
	}
	return groups
}

// costOf is the cost of a partition.
func (f *field) costOf(groups [][]int) float64 {
	var costs []float64
	for _, order := range groups {
		costs = append(costs, f.groupCost(order))
	}
	return sum(costs)
}

// untie looks for better orders of 16.0 groups with ops of equal rows at the cut.
func (s *search) untie(groups [][]int) [][]int {
	if s.f.merged == nil {
		return groups
	}
	for i, order := range groups {
		x := s.solveGroup(setOf(order), math.Inf(1))
		if below(x.upper, s.f.groupCost(order)) {
			groups[i] = x.order
		}
	}
	return groups
}

// descendFrom is the best partition that descents from several starts end at.
func (s *search) descendFrom(starts ...[][]int) [][]int {
	f := s.f
	starts = slices.DeleteFunc(starts, func(x [][]int) bool { return x == nil })
	if f.n > manyModels && len(starts) > 1 {
		starts = [][][]int{f.cheapest(starts)}
	}
	var best [][]int
	value := math.Inf(1)
	for _, start := range starts {
		groups, v := s.descend(start)
		if best == nil || below(v, value) {
			best, value = groups, v
		}
		if s.stop() != "" {
			break
		}
	}
	return best
}

// refine plans parts of a plan exactly while the rest stays, as long as that
// makes the plan better and fewer nodes than limit were spent.
func (s *search) refine(groups [][]int, limit int64) [][]int {
	f := s.f
	s.rough = true
	defer func() { s.rough = false }()
	failed := map[string]bool{} // parts that hold nothing better
	for improved := true; improved; {
		improved = false
		slices.SortStableFunc(groups, func(a, b []int) int {
			return cmp.Or(cmp.Compare(f.shareOf(b), f.shareOf(a)), cmp.Compare(slices.Min(a), slices.Min(b)))
		})
		for _, part := range f.parts(groups) {
			if s.stop() != "" || f.nodes >= limit {
				return groups
			}
			key := fmt.Sprint(part.atoms)
			if failed[key] {
				continue
			}
			var was [][]int
			for _, i := range part.groups {
				was = append(was, groups[i])
			}
			a := s.exactly(part.atoms).run(was)
			if a.groups == nil || !below(f.costOf(a.groups), f.costOf(was)) {
				failed[key] = true
				continue
			}
			var next [][]int
			for i := range groups {
				if !slices.Contains(part.groups, i) {
					next = append(next, groups[i])
				}
			}
			groups, improved, failed = append(next, a.groups...), true, map[string]bool{}
			break
		}
	}
	return groups
}

// part is a part of a plan: some groups, in atoms.
type part struct {
	groups []int
	atoms  []set
}

// parts are the neighbourhoods of a plan whose groups are listed by rate: as
// many neighbouring groups as hold few models, and pairs of groups of which some models may
// move while the others of each stay together.
func (f *field) parts(groups [][]int) []part {
	var parts []part
	for at := range groups {
		p, size := part{groups: []int{at}}, len(groups[at])
		for d := 1; d < len(groups); d++ {
			for _, i := range []int{at + d, at - d} {
				if i >= 0 && i < len(groups) && size+len(groups[i]) <= neighbourhood {
					p.groups, size = append(p.groups, i), size+len(groups[i])
				}
			}
		}
		if size <= neighbourhood {
			var models set
			for _, i := range p.groups {
				models |= setOf(groups[i])
			}
			p.atoms = atoms(models)
			parts = append(parts, p)
		}
	}
	if f.merged == nil {
		return parts
	}
	for a := range groups {
		for b := a; b < min(len(groups), a+pairedGroups); b++ {
			models, pair := slices.Clone(groups[a]), []int{a}
			if b > a {
				models, pair = append(models, groups[b]...), []int{a, b}
			}
			if len(models) <= neighbourhood || f.compiled&setOf(models) != 0 {
				continue
			}
			models = f.byRate(models)
			for start := 0; ; start += movedModels / 2 {
				moved := setOf(models[start:min(len(models), start+movedModels)])
				p := part{groups: pair, atoms: atoms(moved)}
				for _, i := range pair {
					if core := setOf(groups[i]) &^ moved; core != 0 {
						p.atoms = append(p.atoms, core)
					}
				}
				parts = append(parts, p)
				if start+movedModels >= len(models) {
					break
				}
			}
		}
	}
	return parts
}

// shareOf is the share of the calls that go to models.
func (f *field) shareOf(models []int) float64 {
	sum := 0.0
	for _, m := range models {
		sum += f.prices[m].share
	}
	return sum
}

// cheapest is the first of the partitions that cost least.
func (f *field) cheapest(partitions [][][]int) [][]int {
	best, value := 0, math.Inf(1)
	for i, groups := range partitions {
		if v := f.costOf(groups); v < value {
			best, value = i, v
		}
	}
	return partitions[best]
}

// descend improves a partition until no move helps.
func (s *search) descend(groups [][]int) ([][]int, float64) {
	f := s.f
	costs := map[string]float64{}
	cost := func(order []int) float64 {
		if len(order) == 0 {
			return 0
		}
		group := setOf(order)
		if !f.allowed(group) {
			return math.Inf(1)
		}
		if f.merged != nil && f.known[group] == nil { // ties apart the set decides
			order, _ = f.firstOrder(group, members(group))
		}
		key := make([]byte, len(order))
		for i, m := range order {
			key[i] = byte(m)
		}
		c, ok := costs[string(key)]
		if !ok {
			c = math.Inf(1)
			if f.orderAllowed(order) {
				c = s.setCost(order)
			}
			costs[string(key)] = c
		}
		return c
	}
	groups = slices.Clone(groups) // a start is looked at again later
	total := func(groups [][]int) float64 {
		sum := 0.0
		for _, g := range groups {
			sum += cost(g)
		}
		return sum
	}
	for s.stop() == "" {
		var to [][]int
		gain := margin(total(groups))
		consider := func(was float64, changed func() [][]int, now float64) {
			if g := was - now; g > gain {
				gain, to = g, changed()
			}
		}
		for a := range groups {
			for b := range a {
				merged := slices.Concat(groups[b], groups[a])
				if order, ok := f.firstOrder(setOf(merged), f.byRate(merged)); ok && below(cost(order), cost(merged)) {
					merged = order
				}
				consider(cost(groups[a])+cost(groups[b]), func() [][]int { return replace(groups, a, b, nil, merged) }, cost(merged))
			}
			for i := range groups[a] {
				m := groups[a][i]
				left := slices.Delete(slices.Clone(groups[a]), i, i+1)
				for b := range groups {
					onto := groups[b]
					was, leftCost := cost(groups[a])+cost(groups[b]), cost(left)
					if b == a {
						onto, was, leftCost = left, cost(groups[a]), 0
					}
					for at := 0; at <= len(onto); at++ {
						if s.stop() != "" || f.merged != nil && at > 0 {
							break
						}
						put := slices.Insert(slices.Clone(onto), at, m)
						rest := left
						if b == a {
							rest = put
						}
						consider(was, func() [][]int { return replace(groups, a, b, rest, put) }, leftCost+cost(put))
					}
				}
				if len(left) > 0 {
					consider(cost(groups[a]), func() [][]int {
						return append(replace(groups, a, a, left, left), []int{m})
					}, cost(left)+cost([]int{m}))
				}
			}
		}
		if to == nil {
			break
		}
		groups = to
	}
	value := total(groups)
	if f.merged != nil { // as they were priced
		for i, order := range groups {
			if group := setOf(order); f.known[group] == nil {
				groups[i], _ = f.firstOrder(group, members(group))
			}
		}
	}
	return groups, value
}

// setCost is groupCost, quicker for a group of 16.0 whose order does not matter.
func (s *search) setCost(order []int) float64 {
	f, group := s.f, setOf(order)
	if f.merged != nil && !s.off.Ties && f.known[group] == nil {
		reserved := f.reserved(group)
		if c, exact := f.lookAt(group, reserved, reserved, f.missesInto(group)); exact {
			return c
		}
	}
	return f.groupCost(order)
}

// replace is groups with other contents at a and b; empty groups are dropped.
func replace(groups [][]int, a, b int, atA, atB []int) [][]int {
	var out [][]int
	for i, g := range groups {
		switch i {
		case b:
			g = atB
		case a:
			g = atA
		}
		if len(g) > 0 {
			out = append(out, g)
		}
	}
	return out
}
