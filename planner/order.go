package planner

import (
	"context"

	"github.com/tpuplan/tpuplan/compile"
)

// solved is what is known of one group.
type solved struct {
	lower float64 // no order costs less
	upper float64 // cost of order
	order []int
	done  bool // no more will be found out: lower == upper, or a limit was met
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

// search is one run of Solve.
type search struct {
	ctx    context.Context
	f      *field
	off    Rules
	budget int64
	limit  string // what ended the search early
	ties   bool   // a 16.0 group had more orders than could be tried
	pruned map[string]int64
}

// solveGroup finds the best order of a group.
func (s *search) solveGroup(group set) solved {
	if s.f.problem.Version.Sequential() {
		return s.solveSequential(group)
	}
	return s.solveMerged(group)
}

// orders is the depth-first search over the orders of one group of a sequential compiler.
type orders struct {
	*search
	group    set
	miss     []float64
	relaxed  *relaxation
	children []int // in the order in which they are tried
	costs    []float64
	prefix   []int
	best     solved
	seen     map[reached]float64
	smallest []int // rows of the smallest part of each model
}

// reached is where a prefix has got to: which models, and what they left on every tile.
type reached struct {
	placed set
	pool   compile.Pool
}

func (s *search) solveSequential(group set) solved {
	f := s.f
	reserved := f.reserved(group)
	o := &orders{
		search: s, group: group, miss: f.misses(group),
		costs: make([]float64, f.n), seen: map[reached]float64{}, smallest: make([]int, f.n),
	}
	o.relaxed = f.relax(group, reserved, o.miss)
	o.best.lower = o.relaxed.bound(group, compile.PoolRows(reserved))
	for i, order := range f.seeds(group) {
		c := f.orderCost(order, reserved, o.miss)
		if i == 0 || below(c, o.best.upper) {
			o.best.upper, o.best.order = c, order
		}
	}
	for _, m := range members(group) {
		o.smallest[m] = 1 << 30
		for i := range f.loads[m].Parts {
			o.smallest[m] = min(o.smallest[m], f.loads[m].Parts[i].Rows)
		}
	}
	o.children = f.byRate(members(group))
	o.extend(compile.NewPool(reserved), group)
	o.best.done = true
	if s.limit == "" {
		o.best.lower = o.best.upper
	}
	return o.best
}

// extend tries every model that may come next. It returns early when a rule
// shows that nothing below can beat the best order.
func (o *orders) extend(pool compile.Pool, rest set) {
	if rest == 0 {
		o.offer(sum(o.costs))
		return
	}
	if o.stop() != "" {
		return
	}
	if !o.off.FullPool && o.full(&pool, rest) {
		o.pruned[ruleFullPool]++
		o.finish(rest)
		return
	}
	if !o.off.Bound && !below(sum(o.costs)+o.relaxed.bound(rest, pool.Free()), o.best.upper) {
		o.pruned[ruleBound]++
		return
	}
	if !o.off.EqualPool && rest.Len() > 1 {
		key := reached{o.group &^ rest, pool}
		c := sum(o.costs)
		if was, ok := o.seen[key]; ok && !below(c, was) {
			o.pruned[ruleEqualPool]++
			return
		}
		o.seen[key] = c
	}
	for _, m := range o.children {
		if !rest.Has(m) || !o.f.mayCome(m, rest) {
			continue
		}
		next := pool
		o.f.nodes++
		share := next.Place(o.f.problem.Version, o.f.sorted[m])
		o.costs[m] = o.f.modelCost(m, share.Cached, share.Streamed, o.miss[m])
		o.prefix = append(o.prefix, m)
		o.extend(next, rest&^(1<<m))
		o.prefix = o.prefix[:len(o.prefix)-1]
		o.costs[m] = 0
	}
}

// full reports that no part of the rest has few enough rows for what is free.
func (o *orders) full(pool *compile.Pool, rest set) bool {
	free := pool.Free()
	for _, m := range members(rest) {
		if o.smallest[m] <= free {
			return false
		}
	}
	return true
}

// finish completes an order whose rest streams everything: any order of the rest will do.
func (o *orders) finish(rest set) {
	tail, _ := o.f.firstOrder(rest, members(rest))
	for _, m := range tail {
		o.costs[m] = o.f.modelCost(m, 0, o.f.total[m], o.miss[m])
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

// solveMerged finds the best order of a group of compiler 16.0, where the
// order matters only if ops of equal rows stand at the cut.
func (s *search) solveMerged(group set) solved {
	f := s.f
	reserved, miss := f.reserved(group), f.misses(group)
	var best solved
	for i, order := range f.seeds(group) {
		c := f.orderCost(order, reserved, miss)
		if i == 0 || below(c, best.upper) {
			best.upper, best.order = c, order
		}
		if i == 0 && !s.off.Ties && !s.ordersMatter(group, reserved) {
			s.pruned[ruleTies]++
			return solved{lower: c, upper: c, order: order, done: true}
		}
	}
	best.lower = s.groupBound(group)
	best.done = true
	limit := int64(-1)
	if group.Len() > maxTieOrders {
		limit = f.nodes + tieOrderBudget
	}
	complete := s.permute(group, nil, limit, func(order []int) bool {
		if c := f.orderCost(order, reserved, miss); below(c, best.upper) {
			best.upper, best.order = c, append([]int(nil), order...)
		}
		// no order can be better than the bound
		return s.off.Bound || below(best.lower, best.upper)
	})
	switch {
	case complete, !below(best.lower, best.upper):
		best.lower = best.upper
	case s.limit == "":
		s.ties = true
	}
	return best
}

func (s *search) ordersMatter(group set, reserved int) bool {
	info := s.tieInfo(group, reserved)
	return info.OrderMatters
}

func (s *search) tieInfo(group set, reserved int) compile.TieInfo {
	s.f.nodes++
	list := members(group)
	loads := make([]*compile.Load, len(list))
	for i, m := range list {
		loads[i] = s.f.loads[m]
	}
	return compile.Ties(reserved, loads)
}

// permute visits the orders of rest that the pins allow until visit says no,
// the node limit is met (limit >= 0) or the search must stop. It reports whether all were visited.
func (s *search) permute(rest set, prefix []int, limit int64, visit func([]int) bool) bool {
	if rest == 0 {
		return visit(prefix)
	}
	for _, m := range members(rest) {
		if !s.f.mayCome(m, rest) {
			continue
		}
		if s.stop() != "" || limit >= 0 && s.f.nodes >= limit {
			return false
		}
		if !s.permute(rest&^(1<<m), append(prefix, m), limit, visit) {
			return false
		}
	}
	return true
}

// groupBound bounds the cost of a group in any order.
func (s *search) groupBound(group set) float64 {
	reserved, miss := s.f.reserved(group), s.f.misses(group)
	b := s.f.relax(group, reserved, miss).bound(group, compile.PoolRows(reserved))
	if !s.f.problem.Version.Sequential() {
		if info := s.tieInfo(group, reserved); info.Bounded {
			b = max(b, s.f.tieBound(&info, members(group), miss))
		}
	}
	return b
}
