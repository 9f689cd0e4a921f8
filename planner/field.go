package planner

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
)

// set is a set of models, numbered by name.
type set = cost.Set

// field is a problem with its models numbered by name, and what every part of
// the search needs of them. It does not change, but for the scratch memory at
// its end; [field.fork] gives a goroutine its own.
type field struct {
	problem      *Problem
	at           []int // number by name -> index in the problem
	n            int
	all          set
	loads        []*compile.Load
	prices       []price
	sorted       []*compile.SortedLoad // sequential compilers
	sortedStream [][]float64           // prices of the parts of sorted
	merged       *compile.Merged       // 16.0
	ops          []mergedOp            // of merged
	total        []int64               // all packed bytes
	rows         []int                 // that a model reserves on every tile
	earlier      []set                 // models that come before this one when they are in its group
	labels       []string              // pins
	labelled     []set                 // the models of each label
	compiled     set
	copies       []set                // of each model: the models of the same content, itself too
	kin          []set                // of each model: those that nothing but their names tells apart, itself too
	process      cost.Process         // over numbers by name
	known        map[set][]knownOrder // invocations that were made, nil if none was

	nodes   int64
	merger  compile.Merger
	shares  []compile.Share
	listed  []*compile.Load
	costs   []float64
	miss    []float64
	outlook compile.Outlook
	gains   []gain
	sums    []tally
	placed  []placements
	mostOf  []room
}

// room is how many bytes of a model so many rows can cache.
type room struct {
	rows int
	most int64
}

// mergedOp is what the search needs of an op of compile.Merged.
type mergedOp struct {
	model  int
	rows   int
	bytes  int64
	stream float64
}

// tally is what is cached of a model.
type tally struct {
	cached int64
	saved  float64 // what streaming these parts would take
	parts  int
}

func newField(p *Problem) *field {
	f := &field{problem: p, at: p.byName(), n: len(p.Models)}
	number := f.numbers()
	shares := make([]float64, f.n)
	f.earlier = make([]set, f.n)
	labels := map[string]int{}
	for i, at := range f.at {
		m := &p.Models[at]
		f.all = f.all.With(i)
		f.loads = append(f.loads, &m.Load)
		f.total = append(f.total, m.Load.Bytes())
		f.rows = append(f.rows, m.Reserved)
		f.prices = append(f.prices, newPrice(m, p.Objective))
		f.labels = append(f.labels, m.Group)
		if m.Group != "" {
			if _, seen := labels[m.Group]; !seen {
				labels[m.Group] = len(f.labelled)
				f.labelled = append(f.labelled, 0)
			}
			f.labelled[labels[m.Group]] = f.labelled[labels[m.Group]].With(i)
		}
		if m.Compiled {
			f.compiled = f.compiled.With(i)
		}
		shares[i] = m.Share
		for _, b := range m.Before {
			f.earlier[number[b]] = f.earlier[number[b]].With(i)
		}
	}
	for i := range f.loads {
		f.copies = append(f.copies, set(0).With(i))
		for j := range f.loads {
			if f.loads[j].Content != "" && f.loads[j].Content == f.loads[i].Content {
				f.copies[i] = f.copies[i].With(j)
			}
		}
	}
	f.arrange()
	f.learn(number)
	f.findAlike()
	f.process = renumbered{p.Process, f.at}
	if p.Process == nil {
		f.process = cost.Independent(shares)
	}
	f.scratch()
	return f
}

// numbers are the numbers by name of the problem's models.
func (f *field) numbers() []int {
	number := make([]int, f.n)
	for i, at := range f.at {
		number[at] = i
	}
	return number
}

// arrange sorts the ops as the compiler tries them.
func (f *field) arrange() {
	if f.problem.Version.Sequential() {
		for m, l := range f.loads {
			s := l.Sorted()
			stream := make([]float64, len(l.Parts))
			for i, part := range s.Order() {
				stream[i] = f.prices[m].stream[part]
			}
			f.sorted, f.sortedStream = append(f.sorted, s), append(f.sortedStream, stream)
		}
		return
	}
	f.merged = compile.Merge(f.loads)
	f.listOps()
}

func (f *field) listOps() {
	for i := range f.merged.Len() {
		m, part, rows := f.merged.Op(int32(i))
		f.ops = append(f.ops, mergedOp{m, rows, f.loads[m].Parts[part].Bytes, f.prices[m].stream[part]})
	}
}

// narrow is the field for groups of these models alone, with its own scratch
// memory: ops of others need not be passed over.
func (f *field) narrow(models set) *field {
	x := f.fork()
	if f.merged == nil {
		return x
	}
	x.merged, x.ops = f.merged.Only(uint64(models)), nil
	x.listOps()
	return x
}

// fork is the field for another goroutine: the same facts, its own scratch memory and count of nodes.
func (f *field) fork() *field {
	x := *f
	x.scratch()
	return &x
}

func (f *field) scratch() {
	f.nodes, f.merger, f.shares, f.listed, f.outlook, f.gains = 0, compile.Merger{}, nil, nil, compile.Outlook{}, nil
	f.placed, f.mostOf = make([]placements, f.n), make([]room, f.n)
	for m := range f.mostOf {
		f.mostOf[m].rows = -1
	}
	f.costs, f.miss, f.sums = make([]float64, f.n), make([]float64, f.n), make([]tally, f.n)
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
	r := -maxSmallRows
	for ; group != 0; group &= group - 1 {
		r = max(r, f.rows[bits.TrailingZeros64(uint64(group))])
	}
	return r
}

// misses gives for each member how often its call finds its parameters gone.
func (f *field) misses(group set) []float64 {
	return f.missesOf(group, make([]float64, f.n))
}

// missesInto is misses in scratch memory that the next call overwrites.
func (f *field) missesInto(group set) []float64 { return f.missesOf(group, f.miss) }

func (f *field) missesOf(group set, miss []float64) []float64 {
	if p, ok := f.process.(interface {
		Misses(members, foreign set, out []float64)
	}); ok {
		p.Misses(group, f.all&^group, miss)
		return miss
	}
	for s := group; s != 0; s &= s - 1 {
		m := bits.TrailingZeros64(uint64(s))
		miss[m] = f.process.Miss(m, f.all&^group)
	}
	return miss
}

// allowed reports whether the pins let these models be a whole group: one
// label at most, all models of that label, and no models that are compiled
// together with others that are not. An order of them exists: [Problem.Validate] refuses pins
// that go round in a circle in a group that the labels allow.
func (f *field) allowed(group set) bool {
	if c := group & f.compiled; c != 0 && c != group {
		return false
	}
	labels := 0
	for _, l := range f.labelled {
		if in := group & l; in != 0 {
			if labels++; in != l || labels > 1 {
				return false
			}
		}
	}
	return true
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

// orderCost is the cost of a group in a given order. Costs of models are
// summed by name, so that equal splits give equal sums.
func (f *field) orderCost(order []int, reserved int, miss []float64) float64 {
	f.nodes++
	if k := f.knownResult(order); k != nil {
		return f.knownCost(k, miss)
	}
	v := f.problem.Version
	if v.Sequential() {
		pool := compile.NewPool(reserved)
		for _, m := range order {
			cached, streaming := f.placeNext(&pool, m)
			f.costs[m] = f.prices[m].cost(cached, streaming, miss[m])
		}
		return f.sumOf(f.costs, setOf(order))
	}
	f.listed = f.listed[:0]
	for _, m := range order {
		f.listed = append(f.listed, f.loads[m])
	}
	f.shares = f.merger.Allocate(reserved, f.listed, f.shares)
	for at, m := range order {
		p, streaming := &f.prices[m], 0.0
		for i := range p.stream {
			if !f.merger.InCache(at, i) {
				streaming += p.stream[i]
			}
		}
		f.costs[m] = p.cost(f.shares[at].Cached, streaming, miss[m])
	}
	return f.sumOf(f.costs, setOf(order))
}

// placeNext places the next model of an invocation of a sequential compiler.
func (f *field) placeNext(pool *compile.Pool, m int) (cached int64, streaming float64) {
	v, parts, stream := f.problem.Version, f.sorted[m].Parts(), f.sortedStream[m]
	for i := range parts {
		if pool.Try(v, &parts[i]) {
			cached += parts[i].Bytes
		} else {
			streaming += stream[i]
		}
	}
	return cached, streaming
}

// sumOf sums the costs of some models by name.
func (f *field) sumOf(costs []float64, models set) float64 {
	total := 0.0
	for s := models; s != 0; s &= s - 1 {
		total += costs[bits.TrailingZeros64(uint64(s))]
	}
	return total
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
	if math.IsInf(x, 0) {
		return 0 // anything finite beats what is not possible
	}
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
