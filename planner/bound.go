package planner

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
)

// A relaxation bounds the cost of a group from below: parts may be cached in
// fractions, wherever rows are free, and every model gets for its cached bytes the best rate it
// could get at all. The cost of a model as a function of its cached bytes C
// falls from its value at C = 0 nowhere faster than by rate x C, where rate
// is the largest mean gain per byte over all C: a load has a fixed part, so
// that caching little can cost more than streaming all. The best fractional choice under one
// capacity is greedy by gain per row (the fractional knapsack, Dantzig 1957).
// What broadcast parts cost beyond that when they are streamed is linear in
// their bytes, so caching one of them saves exactly as much more.
// Nothing here assumes that more room caches more.
type relaxation struct {
	base  []float64 // cost of each model with nothing cached
	items []gain    // by gain per row, best first
}

// gain is a part that may be cached: what caching it saves at most.
type gain struct {
	model int
	rows  int
	worth float64
}

// relax prepares the bound of a group with the given misses.
func (f *field) relax(group set, reserved int, miss []float64) *relaxation {
	r := &relaxation{base: make([]float64, f.n)}
	room := compile.PoolRows(reserved)
	for _, m := range members(group) {
		base := f.modelCost(m, 0, f.total[m], 0, miss[m])
		r.base[m] = f.modelCost(m, 0, f.total[m], f.stalls[m], miss[m])
		var cacheable int64
		for i := range f.loads[m].Parts {
			if part := &f.loads[m].Parts[i]; part.Rows <= room {
				cacheable += part.Bytes
			}
		}
		rate, stall := f.bestRate(m, cacheable, miss[m], base), f.stallRate(m)
		if rate <= 0 && stall <= 0 {
			continue
		}
		// In 16.0 copies of one file share the last one's decision, so together
		// they may claim to cache more than the pool holds.
		copied := !f.problem.Version.Sequential() && f.copied(m, group)
		for i := range f.loads[m].Parts {
			part := &f.loads[m].Parts[i]
			worth := rate * float64(part.Bytes)
			if part.Broadcast() {
				worth += stall * float64(part.Bytes)
			}
			switch {
			case part.Rows > room:
			case part.Rows <= 0, copied:
				r.base[m] -= worth
			default:
				r.items = append(r.items, gain{m, part.Rows, worth})
			}
		}
	}
	slices.SortStableFunc(r.items, func(a, b gain) int {
		return cmp.Compare(b.worth/float64(b.rows), a.worth/float64(a.rows))
	})
	return r
}

// copied reports whether the group holds the content of a model more than once.
func (f *field) copied(m int, group set) bool {
	for _, o := range members(group) {
		if o != m && f.loads[o].Content != "" && f.loads[o].Content == f.loads[m].Content {
			return true
		}
	}
	return false
}

// bestRate is the largest gain per cached byte over all numbers of cached
// bytes up to cacheable. The gain is piecewise linear in them, so its
// largest mean lies at a corner: where compute stops hiding the load, or at the
// end. Not at the first byte, which pays for the whole fixed part of a load;
// asking there would only add the rounding of a tiny difference.
func (f *field) bestRate(m int, cacheable int64, miss, base float64) float64 {
	best, hidden := 0.0, f.hidden(m)
	for _, c := range []int64{cacheable, hidden, hidden + 1} {
		if c > 0 && c <= cacheable {
			best = max(best, (base-f.modelCost(m, c, f.total[m]-c, 0, miss))/float64(c))
		}
	}
	return best
}

// bound is the least cost that the models of rest can have when free rows are
// left. A part of more rows than are free now will not be cached later either.
func (r *relaxation) bound(rest set, free int) float64 {
	b := 0.0
	for s := rest; s != 0; s &= s - 1 {
		b += r.base[bits.TrailingZeros64(uint64(s))]
	}
	largest := free
	for i := range r.items {
		g := &r.items[i]
		if g.rows > largest || !rest.Has(g.model) {
			continue
		}
		if g.rows >= free {
			return b - float64(g.worth*float64(free)/float64(g.rows))
		}
		b -= g.worth
		free -= g.rows
	}
	return b
}

// tieBound bounds a 16.0 group by what Ties says about every order. Of C
// cached bytes at most C are broadcast.
func (f *field) tieBound(info *compile.TieInfo, list []int, miss []float64) float64 {
	costs := make([]float64, f.n)
	for i, m := range list {
		c := math.Inf(1)
		for _, cached := range f.corners(m, info.Low[i], info.High[i]) {
			c = min(c, f.modelCost(m, cached, f.total[m]-cached, max(0, f.stalls[m]-cached), miss[m]))
		}
		costs[m] = c
	}
	return sum(costs)
}

// corners are the numbers of cached bytes in [low, high] at which a model's cost can be least.
func (f *field) corners(m int, low, high int64) []int64 {
	list, hidden := []int64{low, high}, f.hidden(m)
	for _, c := range []int64{1, hidden, hidden + 1, f.stalls[m]} {
		if c > low && c < high {
			list = append(list, c)
		}
	}
	return list
}

// hidden is the most cached bytes of a model whose load compute hides; negative if it hides none.
func (f *field) hidden(m int) int64 {
	call := &f.model(m).Call
	return int64(call.OverlapMS*call.BytesPerMS - call.LoadBytes)
}
