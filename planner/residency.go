package planner

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
)

// manyBound bounds every plan of a problem, and says which argument gave the bound.
func (f *field) manyBound() (float64, BoundKind) {
	bound, kind := f.quickBound()
	if f.problem.Process == nil && !f.problem.Version.Sequential() {
		if b := f.cutBound(); b > bound {
			bound, kind = b, BoundCut
		}
	}
	return bound, kind
}

// quickBound is manyBound without what takes as long as a search.
func (f *field) quickBound() (float64, BoundKind) {
	bound, kind := f.apartBound(), BoundGroups
	if f.problem.Process == nil {
		if b := f.residencyBound(); b > bound {
			bound, kind = b, BoundResidency
		}
	}
	return bound, kind
}

// apartBound bounds every plan. Either all models are one group, or every call
// of a model can be preceded by a call of some other group, which is at best
// the one that disturbs least; then each model is at best alone with a whole pool.
func (f *field) apartBound() float64 {
	apart, miss := 0.0, make([]float64, f.n)
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
		miss[m] = least
		own := set(0).With(m)
		alone := f.atBest(own, f.model(m).Reserved, miss)
		for g, list := range f.known { // the least of them, in whatever order they come
			for i := range list {
				if g.Has(m) && g != f.all {
					alone = min(alone, f.splitCost(m, list[i].of(m), f.process.Miss(m, f.all&^g)))
				}
			}
		}
		apart += alone
	}
	apart -= margin(f.streamed())
	if !f.allowed(f.all) {
		return apart
	}
	miss = f.misses(f.all)
	return min(apart, f.knownLeast(f.all, miss, f.atBest(f.all, f.reserved(f.all), miss)-margin(f.streamed())))
}

// streamed is what all models cost when nothing is cached: sums of that size
// were rounded on the way to a bound.
func (f *field) streamed() float64 {
	total := 0.0
	for m := range f.n {
		total += f.prices[m].cost(0, f.prices[m].streamAll, 0)
	}
	return total
}

// atBest bounds the cost of a group whatever the rule of allocation, its parts
// cached in fractions. Copies in 16.0 count as if each had a pool of its own:
// together they may claim to cache more than the pool holds.
func (f *field) atBest(group set, reserved int, miss []float64) float64 {
	return f.atBestInto(group, reserved, miss, make([]float64, f.n))
}

// atBestInto is atBest with memory for the costs of the models.
func (f *field) atBestInto(group set, reserved int, miss, base []float64) float64 {
	r := f.relax(group, reserved, miss, base, nil)
	if !f.problem.Version.Sequential() {
		kept := r.items[:0]
		for _, g := range r.items {
			if (f.copies[g.model] & group).Len() > 1 {
				r.base[g.model] -= g.worth
			} else {
				kept = append(kept, g)
			}
		}
		r.items = kept
	}
	return f.sumOf(r.base, group) - fill(r.items, compile.PoolRows(reserved))
}

// residencyBound bounds every plan for independent calls. Which model is called
// next does not depend on what the device holds, and at any moment it holds
// cached parts of one group, that of the model called last, no more rows than its pool has. A call that
// finds its parts saves their streaming; one that does not saves it too, but
// loads them. So what a plan saves is at most what the best lasting content of one
// pool would save (a fractional knapsack over all parts), and what a load of
// a part takes less than its streaming. The pool is that of a group which
// reserves at least what the model called last does, and of which no member reserves more.
func (f *field) residencyBound() float64 {
	total := f.streamed()
	total -= margin(total)
	var items []gain
	free := make([]float64, f.n) // what is saved whether or not a call finds its parts
	for m := range f.n {
		free[m] = f.prices[m].overlap
	}
	var seen set
	for m := range f.n {
		if seen.Has(m) {
			continue
		}
		copies := set(0).With(m)
		if !f.problem.Version.Sequential() { // copies have one decision, and one of them holds rows
			copies = f.copies[m]
			seen |= copies
		}
		for i := range f.loads[m].Parts {
			part := &f.loads[m].Parts[i]
			if partRows(part) > compile.PoolRows(f.model(m).Reserved) {
				continue
			}
			worth := 0.0
			for s := copies; s != 0; s &= s - 1 {
				c := bits.TrailingZeros64(uint64(s))
				p := &f.prices[c]
				load := float64(float64(part.Bytes) * p.perByte)
				free[c] += max(0, p.stream[i]-load)
				worth += float64(p.share * min(p.stream[i], load))
			}
			if partRows(part) <= 0 {
				total -= worth
			} else {
				items = append(items, gain{m, partRows(part), worth})
			}
		}
	}
	// Results that are known may hold more than the pool is thought to have.
	known := 0.0
	for g, list := range f.known {
		for i := range list {
			held := 0.0
			for s := g; s != 0; s &= s - 1 {
				m := bits.TrailingZeros64(uint64(s))
				p, split := &f.prices[m], list[i].of(m)
				all := p.cost(0, p.streamAll, 0)
				held += all - f.splitCost(m, split, 0)
				if p.share > 0 {
					free[m] = max(free[m], (all-f.splitCost(m, split, 1))/p.share)
				}
			}
			known = max(known, held)
		}
	}
	// by rows reserved, from the most on
	order := members(f.all)
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(f.model(b).Reserved, f.model(a).Reserved) })
	held, of, pool := known, -maxSmallRows-1, []gain(nil)
	for _, m := range order {
		if r := f.model(m).Reserved; r != of {
			of, pool = r, pool[:0]
			for _, g := range items {
				if f.model(g.model).Reserved <= r {
					pool = append(pool, g)
				}
			}
			held = max(held, fill(pool, compile.PoolRows(r)))
		}
		total -= float64(f.prices[m].share*free[m]) + float64(f.prices[m].share*held)
	}
	return total
}
