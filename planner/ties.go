package planner

// solveMerged finds the best order of a group of compiler 16.0, where the
// order matters only if ops of equal rows stand at the cut.
func (s *search) solveMerged(group set, cutoff float64) solved {
	f := s.f
	reserved, miss := f.reserved(group), f.misses(group)
	lower, exact := f.lookAt(group, reserved, reserved, miss)
	best := solved{lower: f.knownLeast(group, miss, lower)}
	f.offerKnown(&best, group, reserved, miss)
	for i, order := range f.seeds(group) {
		c := f.orderCost(order, reserved, miss)
		if i == 0 && best.order == nil || below(c, best.upper) {
			best.upper, best.order = c, order
		}
	}
	best.done = true
	if exact && !s.off.Ties {
		s.pruned[ruleTies]++
		if len(f.known[group]) == 0 {
			best.lower = best.upper
			return best
		}
		// all orders that are not known cost the same: one of them is enough
		if s.permute(group, nil, func(order []int) bool {
			if f.knownResult(order) != nil {
				return true
			}
			if c := f.orderCost(order, reserved, miss); below(c, best.upper) {
				best.upper, best.order = c, append([]int(nil), order...)
			}
			return false
		}) || s.limit == "" {
			best.lower = best.upper
		}
		return best
	}
	if !s.off.Bound && !below(best.lower, min(cutoff, best.upper)) {
		best.lower = max(best.lower, min(cutoff, best.upper))
		return best
	}
	complete := false
	if s.rough {
		return best
	}
	if group.Len() > maxTieOrders {
		s.polish(&best, reserved, miss, f.nodes+tieOrderBudget)
	} else {
		complete = s.permute(group, nil, func(order []int) bool {
			if c := f.orderCost(order, reserved, miss); below(c, best.upper) {
				best.upper, best.order = c, append([]int(nil), order...)
			}
			// no order can be better than the bound
			return s.off.Bound || below(best.lower, best.upper)
		})
	}
	if complete || !below(best.lower, best.upper) {
		best.lower = best.upper
	}
	best.done = s.limit == ""
	return best
}

// permute visits the orders of rest that the pins allow until visit says no or
// the search must stop. It reports whether all were visited.
func (s *search) permute(rest set, prefix []int, visit func([]int) bool) bool {
	if rest == 0 {
		return visit(prefix)
	}
	for _, m := range members(rest) {
		if !s.f.mayCome(m, rest) {
			continue
		}
		if s.stop() != "" || !s.permute(rest&^(1<<m), append(prefix, m), visit) {
			return false
		}
	}
	return true
}
