package planner

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
)

// set is a set of models, numbered by name.
type set = cost.Set

// field is a problem with its models numbered by name, and what every part of
// the search needs of them.
type field struct {
	problem *Problem
	at      []int // number by name -> index in the problem
	n       int
	all     set
	loads   []*compile.Load
	sorted  []*compile.SortedLoad // sequential compilers
	total   []int64               // all packed bytes
	stalls  []int64               // those of parts that are broadcast
	earlier []set                 // models that come before this one when they are in its group
	labels  []string              // pins
	process cost.Process          // over numbers by name
	known   map[set][]knownOrder  // invocations that were made, nil if none was
	nodes   int64
	merger  compile.Merger
	shares  []compile.Share
	listed  []*compile.Load
	memory  *memory          // of invocations of the same loads; may be nil
	bounds  map[tieKey]bound // of groups of the same loads and costs; may be nil
}

func newField(p *Problem) *field {
	f := &field{problem: p, at: p.byName(), n: len(p.Models)}
	number := make([]int, f.n)
	for i, at := range f.at {
		number[at] = i
	}
	shares := make([]float64, f.n)
	f.earlier = make([]set, f.n)
	for i, at := range f.at {
		m := &p.Models[at]
		f.all = f.all.With(i)
		f.loads = append(f.loads, &m.Load)
		f.total = append(f.total, m.Load.Bytes())
		f.stalls = append(f.stalls, m.Load.Broadcast())
		f.labels = append(f.labels, m.Group)
		shares[i] = m.Share
		for _, b := range m.Before {
			f.earlier[number[b]] = f.earlier[number[b]].With(i)
		}
		if p.Version.Sequential() {
			f.sorted = append(f.sorted, m.Load.Sorted())
		}
	}
	f.learn(number)
	f.process = renumbered{p.Process, f.at}
	if p.Process == nil {
		f.process = cost.Independent(shares)
	}
	return f
}

// renumbered asks a process of the problem's numbering.
type renumbered struct {
	cost.Process
	at []int
}

func (r renumbered) Miss(m int, foreign set) float64 {
	var s set
	for i := range r.at {
		if foreign.Has(i) {
			s = s.With(r.at[i])
		}
	}
	return r.Process.Miss(r.at[m], s)
}

func (f *field) model(m int) *Model { return &f.problem.Models[f.at[m]] }

// members lists a set in the order of the names.
func members(s set) []int {
	list := make([]int, 0, s.Len())
	for ; s != 0; s &= s - 1 {
		list = append(list, bits.TrailingZeros64(uint64(s)))
	}
	return list
}

func setOf(list []int) set {
	var s set
	for _, m := range list {
		s = s.With(m)
	}
	return s
}

// reserved is R of a group.
func (f *field) reserved(group set) int {
	r := f.model(bits.TrailingZeros64(uint64(group))).Reserved
	for _, m := range members(group) {
		r = max(r, f.model(m).Reserved)
	}
	return r
}

// misses gives for each member how often its call finds its parameters gone.
func (f *field) misses(group set) []float64 {
	miss := make([]float64, f.n)
	for _, m := range members(group) {
		miss[m] = f.process.Miss(m, f.all&^group)
	}
	return miss
}

// modelCost is what one model adds to the objective; stalls are the bytes of
// streamed that are broadcast.
func (f *field) modelCost(m int, cached, streamed, stalls int64, miss float64) float64 {
	x := f.model(m)
	if f.problem.Objective == ByteHits {
		return float64(x.Share * (float64(streamed) + float64(miss*float64(cached))))
	}
	return float64(x.Share * (x.Call.Expected(cached, streamed, miss) + x.Call.Stall(stalls)))
}

// shareCost is modelCost of a split.
func (f *field) shareCost(m int, s compile.Share, miss float64) float64 {
	return f.modelCost(m, s.Cached, s.Streamed, s.StreamedBroadcast, miss)
}

// stallRate is what a streamed byte that is broadcast adds to the objective
// beyond what every streamed byte does.
func (f *field) stallRate(m int) float64 {
	if f.problem.Objective == ByteHits {
		return 0
	}
	x := f.model(m)
	return float64(x.Share * x.Call.Stall(1))
}

// allowed reports whether the pins let these models be a whole group: one
// label at most, all models of that label, an order that no pin forbids, and
// no models that are compiled together with others that are not.
func (f *field) allowed(group set) bool {
	label := ""
	compiled := f.model(bits.TrailingZeros64(uint64(group))).Compiled
	for _, m := range members(group) {
		if f.model(m).Compiled != compiled {
			return false
		}
		if l := f.labels[m]; l != "" {
			if label != "" && l != label {
				return false
			}
			label = l
		}
	}
	if label != "" {
		for m := range f.n {
			if f.labels[m] == label && !group.Has(m) {
				return false
			}
		}
	}
	_, ok := f.firstOrder(group, members(group))
	return ok
}

// mayCome reports whether a model may be next in an order when rest, which
// includes it, is still to come.
func (f *field) mayCome(m int, rest set) bool { return rest&f.earlier[m] == 0 }

// firstOrder is the order nearest to the wish that the order pins allow: always
// the first model of the wish that may come. ok is false if the pins contradict each other.
func (f *field) firstOrder(group set, wish []int) (order []int, ok bool) {
	rest := group
	for rest != 0 {
		next := -1
		for _, m := range wish {
			if rest.Has(m) && f.mayCome(m, rest) {
				next = m
				break
			}
		}
		if next < 0 {
			return nil, false
		}
		order = append(order, next)
		rest &^= 1 << next
	}
	return order, true
}

// orderAllowed reports whether an order violates no order pin.
func (f *field) orderAllowed(order []int) bool {
	rest := setOf(order)
	for _, m := range order {
		if !f.mayCome(m, rest) {
			return false
		}
		rest &^= 1 << m
	}
	return true
}

// sharesOf is the split of one invocation; the result is valid until the next call.
func (f *field) sharesOf(reserved int, order []int) []compile.Share {
	f.nodes++
	if k := f.knownResult(order); k != nil {
		return f.knownShares(k, order)
	}
	return f.memory.sharesOf(reserved, order, f.place)
}

// place computes the split of one invocation; the result is valid until the next call.
func (f *field) place(reserved int, order []int) []compile.Share {
	v := f.problem.Version
	if v.Sequential() {
		f.shares = f.shares[:0]
		pool := compile.NewPool(reserved)
		for _, m := range order {
			f.shares = append(f.shares, pool.Place(v, f.sorted[m]))
		}
		return f.shares
	}
	f.listed = f.listed[:0]
	for _, m := range order {
		f.listed = append(f.listed, f.loads[m])
	}
	f.shares = f.merger.Allocate(reserved, f.listed, f.shares)
	return f.shares
}

// orderCost is the cost of a group in a given order. Costs of models are
// summed by name, so that equal splits give equal sums.
func (f *field) orderCost(order []int, reserved int, miss []float64) float64 {
	costs := make([]float64, f.n)
	for i, s := range f.sharesOf(reserved, order) {
		costs[order[i]] = f.shareCost(order[i], s, miss[order[i]])
	}
	return sum(costs)
}

// groupCost is the cost of an invocation with these models in this order.
func (f *field) groupCost(order []int) float64 {
	g := setOf(order)
	return f.orderCost(order, f.reserved(g), f.misses(g))
}

func sum(costs []float64) float64 {
	s := 0.0
	for _, c := range costs {
		s += c
	}
	return s
}

// below reports that a beats b by more than rounding.
func below(a, b float64) bool { return a < b-margin(b) }

// margin is how much two sums of the same costs in another order may differ.
func margin(x float64) float64 {
	const relative = 1e-12
	return relative * max(x, -x)
}

// bySize and byShare are wishes for orders; names break ties.
func (f *field) sortedBy(models []int, less func(a, b int) int) []int {
	list := slices.Clone(models)
	slices.SortStableFunc(list, less)
	return list
}

func (f *field) bySize(models []int) []int {
	return f.sortedBy(models, func(a, b int) int { return cmp.Compare(f.total[a], f.total[b]) })
}

func (f *field) byRate(models []int) []int {
	return f.sortedBy(models, func(a, b int) int { return cmp.Compare(f.model(b).Share, f.model(a).Share) })
}

// seeds are orders worth trying first. The one by name comes first: it stays
// where nothing is better.
func (f *field) seeds(group set) [][]int {
	list := members(group)
	ascending := f.bySize(list)
	descending := make([]int, len(ascending))
	for i, m := range ascending {
		descending[len(ascending)-1-i] = m
	}
	var seeds [][]int
	for _, wish := range [][]int{list, f.byRate(list), ascending, descending} {
		if order, ok := f.firstOrder(group, wish); ok {
			seeds = append(seeds, order)
		}
	}
	return seeds
}
