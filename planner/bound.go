package planner

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
)

// A relaxation bounds the cost of a group from below: parts may be cached in
// fractions, wherever rows are free, and every model gets for its cached bytes the best rate it
// could get at all ([price.leastRate]): a load has a fixed part, so
// that caching little can cost more than streaming all. The best fractional choice under one
// capacity is greedy by gain per row (the fractional knapsack, Dantzig 1957).
// Nothing here assumes that more room caches more.
type relaxation struct {
	base  []float64 // cost of each model with nothing cached but what takes no rows
	full  []float64 // cost of each model with nothing cached
	items []gain    // by gain per row, best first
}

// gain is a part that may be cached: what caching it saves at most.
type gain struct {
	model int
	rows  int
	worth float64
}

func (g gain) perRow() float64 { return g.worth / float64(g.rows) }

// relax prepares the bound of a group with the given misses. Items may share
// the field's scratch memory: the next call overwrites them.
func (f *field) relax(group set, reserved int, miss, base, full []float64) relaxation {
	r := relaxation{base: base, full: full, items: f.gains[:0]}
	room := compile.PoolRows(reserved)
	for s := group; s != 0; s &= s - 1 {
		m := bits.TrailingZeros64(uint64(s))
		p := &f.prices[m]
		base[m] = p.cost(0, p.streamAll, 0)
		if r.full != nil {
			r.full[m] = base[m]
		}
		most := f.most(m, room)
		if most == 0 {
			continue
		}
		rate := float64(miss[m] * p.leastRate(0, most))
		for i := range f.loads[m].Parts {
			part := &f.loads[m].Parts[i]
			rows, worth := partRows(part), float64(p.share*(p.stream[i]-float64(rate*float64(part.Bytes))))
			switch {
			case rows > room || worth <= 0:
			case rows <= 0:
				base[m] -= worth
			default:
				r.items = append(r.items, gain{m, rows, worth})
			}
		}
	}
	f.gains = r.items
	return r
}

// firstTile is the relaxation of a group of compiler 1.0, which puts group g of
// a partitioned op on tile g mod 16: of all of them the first tile holds most. Other ops may
// lie elsewhere. Rows are those of that tile.
func (f *field) firstTile(group set, reserved int, miss, base []float64) relaxation {
	r := relaxation{base: base}
	room := compile.PoolRows(reserved)
	for s := group; s != 0; s &= s - 1 {
		m := bits.TrailingZeros64(uint64(s))
		p := &f.prices[m]
		base[m] = p.cost(0, p.streamAll, 0)
		most := f.most(m, room)
		if most == 0 {
			continue
		}
		rate := float64(miss[m] * p.leastRate(0, most))
		for i := range f.loads[m].Parts {
			part := &f.loads[m].Parts[i]
			rows := part.GroupRows * ((part.Groups + compile.Tiles - 1) / compile.Tiles)
			switch worth := float64(p.share * (p.stream[i] - float64(rate*float64(part.Bytes)))); {
			case worth <= 0 || partRows(part) > room || rows > room/compile.Tiles:
			case part.Groups == 0 || rows <= 0:
				base[m] -= worth
			default:
				r.items = append(r.items, gain{m, rows, worth})
			}
		}
	}
	return r
}

// sort puts the best items first.
func (r *relaxation) sort() {
	slices.SortStableFunc(r.items, func(a, b gain) int { return cmp.Compare(b.perRow(), a.perRow()) })
}

// bound is the least cost that the models of rest can have when free rows are
// left. A part of more rows than are free now will not be cached later either.
// The items must be sorted.
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

// fill is the most that items are worth that fit into so many rows, fractions
// of items included. It reorders the items: those before the critical one are
// found by halving, as a sorted list is not needed (Balas and Zemel 1980).
func fill(items []gain, room int) float64 {
	worth := 0.0
	for len(items) > 0 && room > 0 {
		if len(items) <= 12 {
			slices.SortFunc(items, func(a, b gain) int { return cmp.Compare(b.perRow(), a.perRow()) })
			for _, g := range items {
				if g.rows >= room {
					return worth + float64(g.worth*float64(room)/float64(g.rows))
				}
				worth += g.worth
				room -= g.rows
			}
			return worth
		}
		// three samples guess the middle; the pivot is never among the better ones
		a, b, c := items[0].perRow(), items[len(items)/2].perRow(), items[len(items)-1].perRow()
		pivot := max(min(a, b), min(max(a, b), c))
		better, equal := 0, 0 // [better | equal | less]
		rows, sum := 0, 0.0
		for i := 0; i < len(items); i++ {
			switch d := items[i].perRow(); {
			case d > pivot:
				rows += items[i].rows
				sum += items[i].worth
				items[i], items[better+equal] = items[better+equal], items[i]
				items[better+equal], items[better] = items[better], items[better+equal]
				better++
			case d == pivot:
				items[i], items[better+equal] = items[better+equal], items[i]
				equal++
			}
		}
		if rows >= room {
			items = items[:better]
			continue
		}
		worth += sum
		room -= rows
		for _, g := range items[better : better+equal] {
			if g.rows >= room {
				return worth + float64(g.worth*float64(room)/float64(g.rows))
			}
			worth += g.worth
			room -= g.rows
		}
		items = items[better+equal:]
	}
	return worth
}

// fractional bounds the cost of a group of a sequential compiler.
func (f *field) fractional(group set, reserved int, miss []float64) float64 {
	r := f.relax(group, reserved, miss, f.costs, nil)
	bound := f.sumOf(r.base, group) - fill(r.items, compile.PoolRows(reserved))
	if f.problem.Version == compile.V1_0 {
		r = f.firstTile(group, reserved, miss, f.costs)
		bound = max(bound, f.sumOf(r.base, group)-fill(r.items, compile.PoolRows(reserved)/compile.Tiles))
	}
	return bound
}

// lookAt bounds the cost of a group of compiler 16.0 in any order when from
// low to high rows are reserved. exact means that every order costs just that.
// What the order leaves open is bounded run by run: of a run at the cut the
// most valuable ops are cached, as many as are; of what is open behind it,
// whatever fits in fractions.
func (f *field) lookAt(group set, low, high int, miss []float64) (bound float64, exact bool) {
	f.nodes++
	o := &f.outlook
	f.merged.Look(low, high, uint64(group), o)
	for s := group; s != 0; s &= s - 1 {
		f.sums[bits.TrailingZeros64(uint64(s))] = tally{}
	}
	for _, i := range o.Cached {
		f.tally(i)
	}
	exact = len(o.Open) == 0
	open := o.Runs[:0]
	for _, run := range o.Runs {
		if f.sameOps(run.Ops) {
			for _, i := range run.Ops[:run.Cached] {
				f.tally(i)
			}
			continue
		}
		exact = false
		open = append(open, run)
	}
	for s := group; s != 0; s &= s - 1 {
		m := bits.TrailingZeros64(uint64(s))
		p, t := &f.prices[m], &f.sums[m]
		streaming := 0.0
		if t.parts < len(p.stream) { // else it is 0 to the last bit
			streaming = p.streamAll - t.saved
		}
		f.costs[m] = p.cost(t.cached, streaming, miss[m])
	}
	bound = f.sumOf(f.costs, group)
	if exact {
		return bound, true
	}
	worth := func(i int32) float64 {
		op := &f.ops[i]
		p, t := &f.prices[op.model], &f.sums[op.model]
		most := f.most(op.model, compile.PoolRows(low))
		return float64(p.share * (op.stream - float64(miss[op.model]*p.leastRate(t.cached, max(most, t.cached+op.bytes))*float64(op.bytes))))
	}
	items := f.gains[:0]
	for _, run := range open {
		bound -= f.best(run, group, worth)
	}
	for _, i := range o.Open {
		w, op := worth(i), &f.ops[i]
		switch {
		case w <= 0 || op.rows > o.Room && op.rows > 0:
		case op.rows <= 0 || (f.copies[op.model]&group).Len() > 1:
			bound -= w // copies share the last one's decision: together they may claim more than there is room for
		default:
			items = append(items, gain{op.model, op.rows, w})
		}
	}
	f.gains = items
	return bound - fill(items, o.Room), false
}

// tally adds an op to what is cached of its model.
func (f *field) tally(i int32) {
	op := &f.ops[i]
	t := &f.sums[op.model]
	t.cached += op.bytes
	t.saved += op.stream
	t.parts++
}

// sameOps reports that it makes no difference which ops of a run are cached.
func (f *field) sameOps(run []int32) bool {
	first := &f.ops[run[0]]
	for _, i := range run[1:] {
		if op := &f.ops[i]; op.model != first.model || op.bytes != first.bytes || op.stream != first.stream {
			return false
		}
	}
	return true
}

// best is the most that a run is worth of which just so many ops are cached.
// Copies of one file share the decision of one of them, whichever it is: what
// that one gets cached of the run, all of them have.
func (f *field) best(run compile.TiedRun, group set, worth func(int32) float64) float64 {
	var own, shared []float64
	var seen set
	for _, i := range run.Ops {
		m := f.ops[i].model
		copies := f.copies[m] & group
		if copies.Len() == 1 {
			own = append(own, worth(i))
			continue
		}
		if seen.Has(m) {
			continue
		}
		seen |= copies
		byPart := map[int]float64{}
		for _, j := range run.Ops {
			if copies.Has(f.ops[j].model) {
				_, part, _ := f.merged.Op(j)
				byPart[part] += worth(j)
			}
		}
		var list []float64
		for _, w := range byPart {
			list = append(list, w)
		}
		slices.Sort(list)
		slices.Reverse(list)
		for _, w := range list[:min(len(list), run.Cached)] {
			shared = append(shared, max(0, w))
		}
	}
	slices.Sort(own)
	slices.Reverse(own)
	total := 0.0
	for _, w := range own[:min(len(own), run.Cached)] {
		if len(shared) > 0 { // fewer of these may be cached
			w = max(0, w)
		}
		total += w
	}
	slices.Sort(shared)
	for _, w := range shared {
		total += w
	}
	return total
}
