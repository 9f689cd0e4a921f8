package planner

import (
	"math"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
)

// A descent takes time with the cube of the models: beyond manyModels only the
// best start is followed.
const manyModels = 24

// improve plans many models: local search from several starts, and a bound
// that holds for every plan. Its moves: a model goes to another place or group or
// alone, two groups become one. Each step takes the best move (steepest descent).
func (s *search) improve() answer {
	f := s.f
	var best [][]int
	value := math.Inf(1)
	starts := s.starts()
	if s.keep != nil {
		starts = [][][]int{s.keep}
	}
	if f.n > manyModels && len(starts) > 1 {
		starts = [][][]int{f.cheapest(starts)}
	}
	for _, start := range starts {
		groups, v := s.descend(start)
		if best == nil || below(v, value) {
			best, value = groups, v
		}
		if s.stop() != "" {
			break
		}
	}
	if best == nil {
		return answer{}
	}
	return answer{best, f.manyBound()}
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

// starts are partitions that the pins allow.
func (s *search) starts() [][][]int {
	f := s.f
	var starts [][][]int
	add := func(groups [][]int) {
		for _, order := range groups {
			if !f.allowed(setOf(order)) || !f.orderAllowed(order) {
				return
			}
		}
		starts = append(starts, groups)
	}
	var least [][]int
	for _, g := range f.smallest() {
		order, ok := f.firstOrder(g, members(g))
		if !ok {
			return nil
		}
		least = append(least, order)
	}
	add(least)
	for _, b := range f.baselines() {
		if b.name != AsGiven {
			add(b.groups)
		}
	}
	return starts
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

// manyBound bounds every plan. Either all models are one group, or every call
// of a model can be preceded by a call of some other group, which is at best
// the one that disturbs least; then each model is at best alone with a whole pool.
func (f *field) manyBound() float64 {
	apart := 0.0
	for m := range f.n {
		least := math.Inf(1)
		for o := range f.n {
			if o != m {
				least = min(least, f.process.Miss(m, set(0).With(o)))
			}
		}
		if f.n == 1 {
			least = 0
		}
		miss := make([]float64, f.n)
		miss[m] = least
		own := set(0).With(m)
		reserved := f.model(m).Reserved
		alone := f.relax(own, reserved, miss).bound(own, compile.PoolRows(reserved))
		for g, list := range f.known { // the least of them, in whatever order they come
			for i := range list {
				if g.Has(m) && g != f.all {
					s := list[i].of(m)
					alone = min(alone, f.modelCost(m, s.Cached, s.Streamed, s.StreamedBroadcast, f.process.Miss(m, f.all&^g)))
				}
			}
		}
		apart += alone
	}
	if !f.allowed(f.all) {
		return apart
	}
	reserved, miss := f.reserved(f.all), f.misses(f.all)
	together := f.relax(f.all, reserved, miss).bound(f.all, compile.PoolRows(reserved))
	return min(apart, f.knownLeast(f.all, miss, together))
}
