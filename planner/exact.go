package planner

import (
	"cmp"
	"math"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// exact plans atoms over all their partitions, while the groups of all other
// models stay as they are. An atom is a model, or models that stay together: all models of a
// problem are planned, or a neighbourhood of a plan of many. A group is a mask over the atoms.
//
// Every group first has a bound. Dynamic programming over subsets gives the
// best partition under the bounds, for all models and for every rest. A group
// whose bound and best rest together cost no less than the best plan known is
// in no better plan (fixing by reduced cost); the others are solved, those
// that promise most first, until none is left that could be part of a better
// plan. What only the order of ties in 16.0 could still improve does not keep
// the search going: it is what the bound of a solved group leaves open.
type exact struct {
	*search
	atoms    []set
	one      bool // the atoms are all models in their order: a mask is a set
	full     mask
	groups   []solved  // by mask
	canon    []mask    // by mask, of models that are alike the first ones; nil if no two are
	least    []float64 // by mask: the best partition
	first    []mask    // its group that holds the lowest model
	worth    float64   // of plan, infinite while there is none
	plan     []mask    // into groups with an order
	reach    float64   // share of what may still be gained within which groups are solved together
	untied   int       // groups of 16.0 whose orders were tried
	forks    []*search // one for each goroutine
	narrowed *field    // the field of these models, if they are not all
}

// mask is a group of the atoms of an exact search.
type mask uint32

func (g mask) lowest() int { return bits.TrailingZeros32(uint32(g)) }
func (g mask) count() int  { return bits.OnesCount32(uint32(g)) }

// Limits of the exact search.
const (
	leastBatch = 8    // groups that are solved side by side, the same on every machine
	mostBatch  = 64   // where many are left
	maxListed  = 2000 // groups up to which partitions of them are listed rather than of all
	boundChunk = 64   // groups that a goroutine bounds at a time
	maxUntied  = 8    // atoms up to which the orders of ties are tried for every group
	mostUntied = 48   // groups of more for which they are
)

func (s *search) exactly(atoms []set) *exact {
	n := len(atoms)
	e := &exact{
		search: s, atoms: atoms, full: 1<<n - 1, groups: make([]solved, 1<<n), one: n == s.f.n,
		least: make([]float64, 1<<n), first: make([]mask, 1<<n), worth: math.Inf(1), reach: 1. / 8,
	}
	var models set
	for i, atom := range atoms {
		e.one = e.one && atom == set(0).With(i)
		models |= atom
	}
	if models != s.f.all {
		e.narrowed = s.f.narrow(models)
	}
	return e
}

// atoms are these models, each by itself.
func atoms(models set) []set {
	var list []set
	for ; models != 0; models &= models - 1 {
		list = append(list, models&-models)
	}
	return list
}

// set is a group by the numbers of all models.
func (e *exact) set(g mask) set {
	if e.one {
		return set(g)
	}
	var s set
	for ; g != 0; g &= g - 1 {
		s |= e.atoms[g.lowest()]
	}
	return s
}

// mask is a group of whole atoms.
func (e *exact) mask(s set) mask {
	if e.one {
		return mask(s)
	}
	var g mask
	for i, atom := range e.atoms {
		if s&atom != 0 {
			g |= 1 << i
		}
	}
	return g
}

// cutoff is the cost from which on a plan is of no interest.
func (e *exact) cutoff() float64 {
	if e.target > 0 {
		return min(e.worth, e.target)
	}
	return e.worth
}

// run searches, given partitions to begin with. The answer has no groups if
// the pins forbid every partition.
func (e *exact) run(starts ...[][]int) answer {
	e.bound()
	return e.conclude(starts...)
}

// conclude is run with bounds that are there.
func (e *exact) conclude(starts ...[][]int) answer {
	for _, start := range starts {
		e.begin(start)
	}
	if e.off.Lazy {
		for g := mask(1); g <= e.full && e.stop() == ""; g++ {
			if !e.groups[g].done {
				e.take(g, e.solveGroup(e.set(g), math.Inf(1)))
			}
		}
	}
	var c candidates
	for {
		if !e.sift(&c) {
			return answer{}
		}
		var open []candidate
		for _, x := range c.list {
			if !e.groups[x.group].done {
				open = append(open, x)
			}
		}
		if len(open) == 0 || e.stop() != "" {
			break
		}
		e.pruned[ruleLazy]++
		if e.solveSome(open, c.lower); c.byLow == nil {
			e.reach *= 2
		}
	}
	// where nothing is left to find out but the order of ties, done groups cost what was found
	untied := c.lower
	if len(c.list) > 0 {
		untied = c.best(e, func(x *solved) float64 {
			if x.done {
				return x.upper
			}
			return x.lower
		})
	}
	cut := e.cutoff()
	a := answer{bound: min(cut, c.lower), kind: BoundSearch}
	if e.f.merged != nil {
		a.ties = max(0, min(cut, untied)-a.bound)
	}
	if e.target > 0 { // any plan will do
		for _, g := range e.plan {
			a.groups = append(a.groups, e.order(g))
		}
		return a
	}
	// of equal plans the one stays that the order of names prefers
	if v, parts := e.all(upperOf); !below(e.worth, v) {
		e.worth, e.plan = v, parts
	}
	var groups [][]int
	for _, g := range e.plan {
		groups = append(groups, e.order(g))
	}
	if e.untied >= mostUntied { // then not all of these were tried in other orders
		groups = e.untie(groups)
		if now := e.f.costOf(groups); below(now, e.worth) {
			a.bound = min(a.bound, now)
			a.ties = max(0, now-a.bound)
		}
	}
	for _, order := range groups {
		a.groups = append(a.groups, e.f.named(order))
	}
	return a
}

// named is the order of a group that is nearest to that of the names, of those
// that are easy to think of and cost no more than this one; what was
// compiled stays as it was compiled.
func (f *field) named(order []int) []int {
	group := setOf(order)
	if k := f.knownForAll(group); k != nil {
		return f.solveKnown(group, k).order
	}
	reserved, miss := f.reserved(group), f.misses(group)
	cost := f.orderCost(order, reserved, miss)
	for _, seed := range f.seeds(group) {
		if !below(cost, f.orderCost(seed, reserved, miss)) {
			return seed
		}
	}
	return order
}

func lowerOf(x *solved) float64 { return x.lower }
func upperOf(x *solved) float64 { return x.upper }

// bound gives every group a bound, side by side: each depends on its group alone.
func (e *exact) bound() {
	e.alike()
	e.eachGroup(func(s *search, g mask) {
		group := e.set(g)
		switch {
		case e.canon != nil && e.canon[g] != g:
		case s.f.allowed(group):
			e.groups[g] = s.boundGroup(group)
		default:
			e.groups[g] = solved{lower: math.Inf(1), upper: math.Inf(1), done: true}
		}
	})
	if e.canon != nil {
		for g := mask(1); g <= e.full; g++ {
			e.groups[g] = e.groups[e.canon[g]]
		}
	}
}

// eachGroup visits every group, side by side.
func (e *exact) eachGroup(visit func(*search, mask)) {
	var next atomic.Int64
	e.sideBySide(len(e.groups)/boundChunk, func(s *search) {
		for {
			from := mask(next.Add(boundChunk) - boundChunk)
			if from > e.full {
				return
			}
			for g := max(1, from); g < from+boundChunk && g <= e.full; g++ {
				visit(s, g)
			}
		}
	})
}

// alike fills canon if some atoms are models that are alike.
func (e *exact) alike() {
	var all set
	some := false
	for _, atom := range e.atoms {
		if atom.Len() == 1 {
			kin := e.f.kin[bits.TrailingZeros64(uint64(atom))]
			some = some || kin&all != 0
			all |= atom
		}
	}
	if !some {
		return
	}
	e.canon = make([]mask, len(e.groups))
	for g := mask(1); g <= e.full; g++ {
		group := e.set(g)
		e.canon[g] = e.mask(group&^all | e.f.first(group&all, all))
	}
}

// begin takes a partition to begin with, if the pins allow it.
func (e *exact) begin(orders [][]int) {
	total, parts, covered := 0.0, make([]mask, 0, len(orders)), mask(0)
	for _, order := range orders {
		g := e.mask(setOf(order))
		covered |= g
		if math.IsInf(e.groups[g].lower, 1) || !e.f.orderAllowed(order) {
			return
		}
		c := e.f.groupCost(order)
		if x := &e.groups[g]; x.order == nil && !below(x.upper, c) || below(c, x.upper) {
			x.order, x.upper = order, c
		}
		total += e.groups[g].upper
		parts = append(parts, g)
	}
	if covered == e.full && below(total, e.worth) {
		e.worth, e.plan = total, parts
	}
}

// order is the best order known of a group.
func (e *exact) order(g mask) []int {
	x := &e.groups[g]
	if x.order == nil && e.canon != nil && e.canon[g] != g {
		return e.f.renamed(e.order(e.canon[g]), e.set(g))
	}
	if x.order == nil { // its cost is known without one
		*x = e.solveGroup(e.set(g), math.Inf(1))
	}
	return x.order
}

// take records what was found out about a group, and about those that are alike.
func (e *exact) take(g mask, now solved) {
	x := &e.groups[g]
	if now.order == nil || x.order != nil && !below(now.upper, x.upper) {
		now.order, now.upper = x.order, min(x.upper, now.upper)
	}
	now.lower = max(x.lower, now.lower)
	if now.done && !below(now.lower, now.upper) {
		now.lower = now.upper
	}
	*x = now
	if e.canon == nil {
		return
	}
	for o := mask(1); o <= e.full; o++ {
		if o != g && e.canon[o] == e.canon[g] {
			y := &e.groups[o]
			y.lower, y.done = now.lower, now.done
			switch {
			case now.order == nil: // its cost is known without one
				y.upper = min(y.upper, now.upper)
			case !below(y.upper, now.upper):
				y.upper, y.order = now.upper, e.f.renamed(now.order, e.set(o))
			}
		}
	}
}

// candidate is a group that may be part of a better plan.
type candidate struct {
	group mask
	worth float64 // of the best plan with it, under the bounds
	rest  float64 // of that, all other groups
}

// candidates are the groups of which all better plans are made.
type candidates struct {
	list  []candidate
	lower float64  // of all better plans
	parts []mask   // the partition that has it
	byLow [][]mask // the list's groups by their lowest model, larger ones first; nil where there are many
	memo  []float64
}

// sift keeps the groups that can be part of a plan below the cutoff. It
// reports false if there is no plan at all.
func (e *exact) sift(c *candidates) bool {
	rest := func(g mask) float64 { return e.least[g] }
	var from []mask
	if c.byLow == nil {
		if c.lower, c.parts = e.all(lowerOf); math.IsInf(c.lower, 1) {
			return false
		}
		e.offer(e.upper(c.parts), c.parts)
		for g := mask(1); g <= e.full; g++ {
			from = append(from, g)
		}
	} else {
		e.offer(c.partition(e, upperOf))
		c.lower, c.parts = c.partition(e, lowerOf)
		rest = func(g mask) float64 { return c.least(e, g, lowerOf) }
		for _, x := range c.list {
			from = append(from, x.group)
		}
	}
	cut := e.cutoff()
	kept := c.list[:0]
	if c.byLow == nil {
		kept = nil
	}
	for _, g := range from {
		if lower := e.groups[g].lower; below(lower, cut) {
			if others := rest(e.full &^ g); below(lower+others, cut) {
				kept = append(kept, candidate{g, lower + others, others})
			}
		}
	}
	c.list = kept
	if len(kept) == 0 {
		c.lower, c.parts = math.Inf(1), nil
	}
	if len(kept) > maxListed {
		return true
	}
	c.byLow = make([][]mask, len(e.atoms))
	for i := len(kept) - 1; i >= 0; i-- { // masks rise in the list
		g := kept[i].group
		c.byLow[g.lowest()] = append(c.byLow[g.lowest()], g)
	}
	return true
}

// upper is what a partition costs in the orders that are known.
func (e *exact) upper(parts []mask) float64 {
	costs := make([]float64, len(parts))
	for i, g := range parts {
		costs[i] = e.groups[g].upper
	}
	return sum(costs)
}

// best is the least cost of a partition.
func (c *candidates) best(e *exact, value func(*solved) float64) float64 {
	if c.byLow == nil {
		v, _ := e.all(value)
		return v
	}
	v, _ := c.partition(e, value)
	return v
}

// partition finds the cheapest partition into groups of the list.
func (c *candidates) partition(e *exact, value func(*solved) float64) (float64, []mask) {
	if c.memo == nil {
		c.memo = make([]float64, len(e.groups))
	}
	for i := range c.memo {
		c.memo[i] = math.NaN()
	}
	v := c.least(e, e.full, value)
	if math.IsInf(v, 1) {
		return v, nil
	}
	var parts []mask
	for rest := e.full; rest != 0; rest &^= e.first[rest] {
		parts = append(parts, e.first[rest])
	}
	return v, parts
}

// least is the cost of the cheapest partition of some models; what it has
// worked out since the last call of partition it remembers.
func (c *candidates) least(e *exact, g mask, value func(*solved) float64) float64 {
	if g == 0 {
		return 0
	}
	if v := c.memo[g]; v == v {
		return v
	}
	best := math.Inf(1)
	for _, p := range c.byLow[g.lowest()] {
		if p&^g != 0 {
			continue
		}
		if v := value(&e.groups[p]) + c.least(e, g&^p, value); below(v, best) {
			best, e.first[g] = v, p
		}
	}
	c.memo[g] = best
	return best
}

// all finds the cheapest partition of all models into groups. Among equals the
// one with the larger group of the first model by name stays.
func (e *exact) all(value func(*solved) float64) (float64, []mask) {
	values := make([]float64, len(e.groups))
	for g := mask(1); g <= e.full; g++ {
		values[g] = value(&e.groups[g])
	}
	for s := mask(1); s <= e.full; s++ {
		lowest := s & -s
		others := s ^ lowest
		best, first := values[s], s
		beat := best - margin(best)
		// all smaller subsets of the others, largest first
		for sub := (others - 1) & others; others != 0; sub = (sub - 1) & others {
			g := sub | lowest
			if v := values[g] + e.least[s^g]; v < beat { // beat is below best by a margin
				best, first, beat = v, g, v-margin(v)
			}
			if sub == 0 {
				break
			}
		}
		e.least[s], e.first[s] = best, first
	}
	if math.IsInf(e.least[e.full], 1) {
		return e.least[e.full], nil
	}
	var parts []mask
	for rest := e.full; rest != 0; rest &^= e.first[rest] {
		parts = append(parts, e.first[rest])
	}
	return e.least[e.full], parts
}

// offer takes a partition whose groups all have a cost, if it is better than the plan.
func (e *exact) offer(worth float64, parts []mask) {
	if parts != nil && below(worth, e.worth) {
		e.worth, e.plan = worth, parts
	}
}

// solveSome solves the most promising groups, side by side: all those of the
// best partition under the bounds are among them, for they promise most.
func (e *exact) solveSome(open []candidate, lower float64) {
	slices.SortFunc(open, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.worth, b.worth), cmp.Compare(a.group, b.group))
	})
	cut := e.cutoff()
	// the longer a partition of all groups is sought, the more are solved before the next
	near := lower + min(1, e.reach)*(cut-lower)
	var batch []candidate
	for _, x := range open {
		if len(batch) >= leastBatch && (x.worth > near || len(batch) >= max(mostBatch, len(open)/4)) {
			break
		}
		if e.canon != nil {
			if slices.ContainsFunc(batch, func(y candidate) bool { return e.canon[y.group] == e.canon[x.group] }) {
				continue
			}
		}
		batch = append(batch, x)
	}
	found := make([]solved, len(batch))
	// the orders of ties are tried for so many groups; those of the plan are at its end
	rough := e.rough || e.full.count() > maxUntied && e.untied >= mostUntied
	if e.f.merged != nil && !rough {
		e.untied += len(batch)
	}
	share := max(1, (e.budget-e.f.nodes)/int64(len(batch)))
	var next atomic.Int64
	e.sideBySide(len(batch), func(s *search) {
		for i := next.Add(1) - 1; i < int64(len(batch)); i = next.Add(1) - 1 {
			s.limit, s.budget, s.rough = "", s.f.nodes+share, rough
			found[i] = s.solveGroup(e.set(batch[i].group), cut-batch[i].rest)
		}
	})
	for i := range batch {
		e.take(batch[i].group, found[i])
	}
}

// sideBySide runs work in as many goroutines as may search, at most so many,
// and adds up what they did.
func (e *exact) sideBySide(most int, work func(*search)) {
	n := max(1, min(e.workers, most))
	for len(e.forks) < n {
		s := e.fork(e.budget)
		if e.narrowed != nil {
			s.f = e.narrowed.fork()
		}
		e.forks = append(e.forks, s)
	}
	if n == 1 {
		work(e.forks[0])
	} else {
		var running sync.WaitGroup
		for _, s := range e.forks[:n] {
			running.Go(func() { work(s) })
		}
		running.Wait()
	}
	for _, s := range e.forks[:n] {
		e.join(s)
	}
}

// workersOf is how many goroutines may search.
func workersOf(o Options) int {
	if o.Workers > 0 {
		return o.Workers
	}
	return runtime.GOMAXPROCS(0)
}

// boundGroup is what is known of a group before it is solved.
func (s *search) boundGroup(group set) solved {
	f := s.f
	reserved, miss := f.reserved(group), f.missesInto(group)
	if f.problem.Version.Sequential() {
		return solved{lower: f.knownLeast(group, miss, f.fractional(group, reserved, miss)), upper: math.Inf(1)}
	}
	lower, exact := f.lookAt(group, reserved, reserved, miss)
	if exact && !s.off.Ties && len(f.known[group]) == 0 {
		return solved{lower: lower, upper: lower, done: true}
	}
	return solved{lower: f.knownLeast(group, miss, lower), upper: math.Inf(1)}
}
