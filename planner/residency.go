package planner

import (
	"math"
	"math/bits"

	"github.com/tpuplan/tpuplan/compile"
)

// manyBound bounds every plan of a problem, and says which argument gave the bound.
func (f *field) manyBound() (float64, BoundKind) {
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
	if !f.allowed(f.all) {
		return apart
	}
	miss = f.misses(f.all)
	return min(apart, f.knownLeast(f.all, miss, f.atBest(f.all, f.reserved(f.all), miss)))
}

// atBest bounds the cost of a group whatever the rule of allocation, its parts
// cached in fractions. Copies in 16.0 count as if each had a pool of its own:
// together they may claim to cache more than the pool holds.
func (f *field) atBest(group set, reserved int, miss []float64) float64 {
	r := f.relax(group, reserved, miss, make([]float64, f.n), nil)
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
// cached parts of one group, no more rows than its pool has. A call that
// finds its parts saves their streaming; one that does not saves it too, but
// loads them. So what all plans save is at most what the best lasting content of one
// pool would save (a fractional knapsack over all parts), and what a load of
// a part takes less than its streaming.
func (f *field) residencyBound() float64 {
	total := 0.0
	var items []gain
	f.residents(func(base float64) { total += base }, func(g gain) { items = append(items, g) })
	held := fill(items, residentRows)
	for g, list := range f.known {
		for i := range list {
			held = max(held, f.heldKnown(g, &list[i]))
		}
	}
	return total - held
}

// residentRows is the capacity of the knapsack: rows of models that reserve
// different numbers are counted as shares of their own pool, in this unit.
const residentRows = 1 << 30

func (f *field) residents(add func(float64), offer func(gain)) {
	seen := set(0)
	for m := range f.n {
		if seen.Has(m) {
			continue
		}
		models := []int{m}
		if !f.problem.Version.Sequential() { // copies have one decision, and one of them holds rows
			models = members(f.copies[m])
			seen |= f.copies[m]
		}
		room := 0
		for _, c := range models {
			room = max(room, compile.PoolRows(f.model(c).Reserved))
		}
		for _, c := range models {
			p := &f.prices[c]
			add(p.cost(0, p.streamAll, 0) - float64(p.share*p.overlap))
		}
		for i := range f.loads[m].Parts {
			part := &f.loads[m].Parts[i]
			rows := partRows(part)
			if rows > room {
				continue
			}
			worth := 0.0
			for _, c := range models {
				p := &f.prices[c]
				load := float64(float64(part.Bytes) * p.perByte)
				add(-float64(p.share * max(0, p.stream[i]-load)))
				worth += float64(p.share * min(p.stream[i], load))
			}
			if rows <= 0 {
				add(-worth)
				continue
			}
			offer(gain{m, int(math.Floor(float64(rows) / float64(room) * residentRows)), worth})
		}
	}
}

// heldKnown is what a known result is worth beyond what residents counts at
// most, while all its models are loaded.
func (f *field) heldKnown(group set, k *knownOrder) float64 {
	held := 0.0
	for s := group; s != 0; s &= s - 1 {
		m := bits.TrailingZeros64(uint64(s))
		p := &f.prices[m]
		held += p.cost(0, p.streamAll, 0) - f.splitCost(m, k.of(m), 0)
	}
	return held
}
