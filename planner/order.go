package planner

import (
	"cmp"
	"context"
	"math/bits"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
)

// solved is what is known of one group.
type solved struct {
	lower float64 // no order costs less
	upper float64 // cost of order, infinite while there is none
	order []int
	done  bool // no more will be found out: lower == upper, ties are all that is open, or it cannot be part of a better plan
}

// search is one run of Solve, or one of its goroutines.
type search struct {
	ctx     context.Context
	f       *field
	off     Rules
	budget  int64
	limit   string // what ended the search early
	pruned  map[string]int64
	workers int
	rough   bool    // of ties in 16.0 only the orders that are easy to think of are tried
	target  float64 // a bound that is not below it ends the search; 0: only the best plan does
}

// stop says why a search must end early: "" if it need not.
func (s *search) stop() string {
	if s.limit == "" {
		if s.f.nodes >= s.budget {
			s.limit = LimitNodes
		} else if s.ctx.Err() != nil {
			s.limit = LimitInterrupted
		}
	}
	return s.limit
}

// fork is the search for another goroutine, which may spend so many nodes.
func (s *search) fork(budget int64) *search {
	return &search{ctx: s.ctx, f: s.f.fork(), off: s.off, budget: budget, pruned: map[string]int64{}, workers: 1, rough: s.rough, target: s.target}
}

// join adds what a fork did since it was last asked. A fork that met the limit
// of its part of the budget leaves the rest to be done by others.
func (s *search) join(o *search) {
	s.f.nodes += o.f.nodes
	o.f.nodes = 0
	for rule, n := range o.pruned {
		s.pruned[rule] += n
		delete(o.pruned, rule)
	}
	if o.limit == LimitInterrupted {
		s.limit = o.limit
	}
	o.limit = ""
}

// solveGroup finds the best order of a group. Orders that cost no less than
// cutoff are of no interest: if there are no others, lower is at least cutoff.
func (s *search) solveGroup(group set, cutoff float64) solved {
	if k := s.f.knownForAll(group); k != nil {
		return s.f.solveKnown(group, k)
	}
	if s.f.problem.Version.Sequential() {
		return s.solveSequential(group, cutoff)
	}
	return s.solveMerged(group, cutoff)
}

// orders is the depth-first search over the orders of one group of a sequential compiler.
type orders struct {
	*search
	group    set
	miss     []float64
	relaxed  relaxation
	tile     relaxation // 1.0: of the first tile
	children []int      // in the order in which they are tried
	costs    []float64
	prefix   []int
	best     solved
	seen     map[reached]float64
	smallest []int     // rows of the smallest part of each model
	next     [][]child // per number of models to come
	blind    *blind
	grouped  []int // rows of the smallest part of each model whose groups may not cross a tile
	offKnown bool  // some order's result is known: rules that take one order for another are off
	cutoff   float64
}

// maxSeen bounds the memory for prefixes of one group, about 40 MB.
const maxSeen = 1 << 18

// reached is where a prefix has got to: which models, and what they left on every tile.
type reached struct {
	placed set
	free   int
	pool   compile.Pool // zero once tiles cannot matter to the rest
}

func (s *search) solveSequential(group set, cutoff float64) solved {
	f := s.f
	reserved := f.reserved(group)
	o := &orders{
		search: s, group: group, miss: f.misses(group),
		costs: make([]float64, f.n), seen: map[reached]float64{}, smallest: make([]int, f.n), grouped: make([]int, f.n), cutoff: cutoff,
	}
	o.relaxed = f.relax(group, reserved, o.miss, make([]float64, f.n), make([]float64, f.n))
	o.relaxed.items = slices.Clone(o.relaxed.items) // the scratch memory is used below
	o.relaxed.sort()
	if f.problem.Version == compile.V1_0 {
		o.tile = f.firstTile(group, reserved, o.miss, make([]float64, f.n))
		o.tile.sort()
	}
	o.best.lower = o.relaxed.bound(group, compile.PoolRows(reserved))
	// Orders whose result is known come first: they are never bounded by
	// predictions, which they need not follow, and no rule may take another
	// order for one of them.
	o.offKnown = len(f.known[group]) > 0
	f.offerKnown(&o.best, group, reserved, o.miss)
	for i, order := range f.seeds(group) {
		c := f.orderCost(order, reserved, o.miss)
		if i == 0 && o.best.order == nil || below(c, o.best.upper) {
			o.best.upper, o.best.order = c, order
		}
	}
	if below(o.best.lower, min(cutoff, o.best.upper)) { // a good order early is what the bounds need to prune
		s.polish(&o.best, reserved, o.miss, -1)
	}
	for _, m := range members(group) {
		o.smallest[m], o.grouped[m] = 1<<30, 1<<30
		for i := range f.loads[m].Parts {
			part := &f.loads[m].Parts[i]
			o.smallest[m] = min(o.smallest[m], partRows(part))
			if part.Groups > 0 {
				o.grouped[m] = min(o.grouped[m], part.Groups*part.GroupRows)
			}
		}
	}
	o.children = f.byRate(members(group))
	o.next = make([][]child, group.Len()+1)
	o.blind = &blind{orders: o, known: map[blindState]float64{}}
	pool := compile.NewPool(reserved)
	o.best.lower = max(o.best.lower, o.bound(group, &pool))
	o.best.lower = min(o.best.lower, o.best.upper)
	if o.off.Bound || below(o.best.lower, min(cutoff, o.best.upper)) {
		o.extend(pool, group)
		if s.limit == "" {
			o.best.lower = max(o.best.lower, min(cutoff, o.best.upper))
		}
	}
	o.best.done = s.limit == ""
	return o.best
}

// polish moves single models of the best order to better places until none
// helps or the node limit is met (limit >= 0).
func (s *search) polish(best *solved, reserved int, miss []float64, limit int64) {
	for improved := true; improved; {
		improved = false
		from := best.order
		for i, m := range from {
			left := slices.Delete(slices.Clone(from), i, i+1)
			for at := 0; at <= len(left); at++ {
				if s.stop() != "" || limit >= 0 && s.f.nodes >= limit {
					return
				}
				order := slices.Insert(slices.Clone(left), at, m)
				if !s.f.orderAllowed(order) {
					continue
				}
				if c := s.f.orderCost(order, reserved, miss); below(c, best.upper) {
					best.upper, best.order = c, order
					improved = true
				}
			}
		}
	}
}

// extend tries every model that may come next. It returns early when a rule
// shows that nothing below can beat the best order.
func (o *orders) extend(pool compile.Pool, rest set) {
	if rest == 0 {
		if o.offKnown && o.f.knownResult(o.prefix) != nil {
			return // offered with its own result
		}
		o.offer(sum(o.costs))
		return
	}
	if o.stop() != "" {
		return
	}
	if !o.off.FullPool && !o.offKnown && o.full(&pool, rest) {
		o.pruned[ruleFullPool]++
		o.finish(rest)
		return
	}
	if !o.off.EqualPool && !o.offKnown && rest.Len() > 2 {
		key := reached{placed: o.group &^ rest, free: pool.Free()}
		for s := rest; s != 0; s &= s - 1 {
			if o.grouped[bits.TrailingZeros64(uint64(s))] <= key.free {
				key.pool = pool
			}
		}
		c := sum(o.costs)
		if was, ok := o.seen[key]; ok && !below(c, was) {
			o.pruned[ruleEqualPool]++
			return
		}
		if len(o.seen) < maxSeen {
			o.seen[key] = c
		}
	}
	next := o.next[rest.Len()][:0]
	for _, m := range o.children {
		if !rest.Has(m) || !o.f.mayCome(m, rest) {
			continue
		}
		c := child{model: m, pool: pool}
		o.f.nodes++
		cached, streaming := o.f.placeNext(&c.pool, m)
		c.cost = o.f.prices[m].cost(cached, streaming, o.miss[m])
		c.bound = c.cost + o.bound(rest&^(1<<m), &c.pool)
		next = append(next, c)
	}
	o.next[rest.Len()] = next
	slices.SortStableFunc(next, func(a, b child) int { return cmp.Compare(a.bound, b.bound) })
	placed := sum(o.costs)
	for i := range next {
		c := &next[i]
		if !o.off.Bound && !below(placed+c.bound, min(o.cutoff, o.best.upper)) {
			o.pruned[ruleBound]++
			continue
		}
		o.costs[c.model] = c.cost
		o.prefix = append(o.prefix, c.model)
		o.extend(c.pool, rest&^(1<<c.model))
		o.prefix = o.prefix[:len(o.prefix)-1]
		o.costs[c.model] = 0
	}
}

// child is a model that may come next.
type child struct {
	model int
	pool  compile.Pool // with it
	cost  float64
	bound float64 // of it and all that come after it
}

// bound is the least that the models of rest can cost; 0 if no rule may bound them.
func (o *orders) bound(rest set, pool *compile.Pool) float64 {
	if o.off.Bound || rest == 0 {
		return 0
	}
	least := 0.0
	if o.off.Blind || o.tile.base != nil { // of 1.0 single tiles tell more, and every partitioned op may have two outcomes
		least = o.relaxed.bound(rest, pool.Free())
	} else {
		least = o.blind.least(rest, pool.Free())
	}
	if o.tile.base != nil {
		least = max(least, o.tile.bound(rest, pool.FreeOn(0)))
	}
	return least
}

// full reports that no part of the rest has few enough rows for what is free.
func (o *orders) full(pool *compile.Pool, rest set) bool {
	free := pool.Free()
	for s := rest; s != 0; s &= s - 1 {
		if o.smallest[bits.TrailingZeros64(uint64(s))] <= free {
			return false
		}
	}
	return true
}

// finish completes an order whose rest streams everything: any order of the rest will do.
func (o *orders) finish(rest set) {
	tail, _ := o.f.firstOrder(rest, members(rest))
	for _, m := range tail {
		o.costs[m] = o.f.prices[m].cost(0, o.f.prices[m].streamAll, o.miss[m])
	}
	n := len(o.prefix)
	o.prefix = append(o.prefix, tail...)
	o.offer(sum(o.costs))
	o.prefix = o.prefix[:n]
	for _, m := range tail {
		o.costs[m] = 0
	}
}

// offer takes a complete order if it is better than the best.
func (o *orders) offer(cost float64) {
	if below(cost, o.best.upper) {
		o.best.upper = cost
		o.best.order = append([]int(nil), o.prefix...)
	}
}
