package planner

import (
	"math"
	"slices"
)

// A descent takes time with the cube of the models: beyond manyModels only the
// best start is followed.
const manyModels = 24

// neighbourhood is how many models are planned exactly at a time.
const neighbourhood = 12

// improve plans many models: local search from several starts, and bounds
// that hold for every plan. Its moves: a model goes to another place or group or
// alone, two groups become one; each step takes the best move (steepest
// descent). Where none helps, the models of some groups are planned
// exactly while the others stay, until that helps nowhere either.
func (s *search) improve(starts ...[][]int) answer {
	f := s.f
	starts = slices.DeleteFunc(append(starts, f.starts()...), func(x [][]int) bool { return x == nil })
	if len(starts) == 0 {
		return answer{}
	}
	if f.n > manyModels {
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
	best = s.refine(best)
	bound, kind := f.manyBound()
	return answer{groups: best, bound: bound, kind: kind}
}

// refine plans the models of groups that fit into a neighbourhood exactly, as
// long as that makes the plan better.
func (s *search) refine(groups [][]int) [][]int {
	return groups
}

// cheapest is the first of the partitions that cost least.
func (f *field) cheapest(partitions [][][]int) [][]int {
	best, value := 0, math.Inf(1)
	for i, groups := range partitions {
		v := 0.0
		for _, order := range groups {
			v += f.groupCost(order)
		}
		if v < value {
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
		key := make([]byte, len(order))
		for i, m := range order {
			key[i] = byte(m)
		}
		c, ok := costs[string(key)]
		if !ok {
			c = math.Inf(1)
			if f.allowed(setOf(order)) && f.orderAllowed(order) {
				c = f.groupCost(order)
			}
			costs[string(key)] = c
		}
		return c
	}
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
						if s.stop() != "" {
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
	return groups, total(groups)
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
