package planner

import (
	"math"
	"math/bits"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
)

// basis is what the searches for single values of assumptions share: the
// exact search of the problem as it is assumed, which has bounded every group. Where a
// value changes a few models, the groups without them cost what they did; of
// the others most are told by what they cost before to be in no better plan.
type basis struct {
	f      *field
	groups []solved  // by mask; their lower values are bounds, whether or not they were solved
	rest   []float64 // by mask: the least cost of a partition under these
	first  []mask    // by mask: the group of that partition which holds the lowest model
	low    []int     // of each model: the fewest rows that it reserves under any assumption
	high   []int     // the most
	loose  []float64 // by mask: a bound for all of these
}

// newBasis searches the problem as it is assumed; keep is the plan to check.
func newBasis(s *search, keep [][]int) *basis {
	e := s.exactly(atoms(s.f.all))
	e.run(keep)
	b := &basis{f: s.f, groups: e.groups}
	e.all(lowerOf)
	b.rest, b.first = e.least, e.first
	for m := range s.f.n {
		r := s.f.model(m).Reserved
		b.low, b.high = append(b.low, r), append(b.high, r)
	}
	return b
}

// easily is what a plan with this group costs that is easy to think of: the
// best partition of the rest under the bounds, in orders that are known or go by
// rate. Groups with these models are priced anew.
func (b *basis) easily(f *field, group mask, changed set) float64 {
	cost := 0.0
	for rest, g := mask(f.all), group; rest != 0; g = b.first[rest] {
		upper := b.groups[g].upper
		if set(g)&changed != 0 {
			upper = math.Inf(1)
		}
		if order, ok := f.firstOrder(set(g), f.byRate(members(set(g)))); ok && math.IsInf(upper, 1) {
			upper = f.groupCost(order)
		}
		cost += upper
		if rest &^= g; rest == 0 {
			break
		}
	}
	return cost
}

// cover makes the loose bounds hold for what an assumption may reserve.
func (b *basis) cover(p *Problem) {
	for m := range b.f.n {
		r := p.Models[b.f.at[m]].Reserved
		b.low[m], b.high[m] = min(b.low[m], r), max(b.high[m], r)
	}
}

// loosen bounds every group for all rows that its models may reserve.
func (b *basis) loosen(s *search) {
	changes := false
	for m := range b.f.n {
		changes = changes || b.low[m] != b.high[m]
	}
	if !changes {
		return
	}
	b.loose = make([]float64, len(b.groups))
	e := s.exactly(atoms(s.f.all))
	e.eachGroup(func(s *search, g mask) {
		group := e.set(g)
		if math.IsInf(b.groups[g].lower, 1) {
			b.loose[g] = b.groups[g].lower
			return
		}
		low, high := -maxSmallRows, -maxSmallRows
		for x := group; x != 0; x &= x - 1 {
			m := bits.TrailingZeros64(uint64(x))
			low, high = max(low, b.low[m]), max(high, b.high[m])
		}
		if low == high {
			b.loose[g] = b.groups[g].lower
			return
		}
		miss := s.f.missesInto(group)
		if s.f.merged == nil {
			b.loose[g] = s.f.fractional(group, low, miss)
		} else {
			b.loose[g], _ = s.f.lookAt(group, low, high, miss)
		}
		b.loose[g] = s.f.knownLeast(group, miss, b.loose[g])
	})
}

// difference is how a problem differs from the one that is assumed.
type difference struct {
	models  set  // that differ
	loads   set  // in what is to be placed
	reserve set  // in reserved rows
	prices  set  // in what their calls cost
	all     bool // in something that concerns every group: shares, process, rule, pins
}

// differ compares a problem with the assumed one; both list the same models.
func (f *field) differ(p *Problem) difference {
	var d difference
	base := f.problem
	d.all = p.Version != base.Version || p.Objective != base.Objective || p.Process != nil || base.Process != nil || !sameKnown(p.Known, base.Known)
	for m, at := range f.at {
		x, y := &base.Models[at], &p.Models[at]
		d.all = d.all || x.Name != y.Name || x.Share != y.Share || x.Group != y.Group || x.Compiled != y.Compiled || !slices.Equal(x.Before, y.Before)
		d.all = d.all || x.Load.Content != y.Load.Content
		if !sameParts(x, y) {
			d.loads = d.loads.With(m)
		}
		if x.Reserved != y.Reserved {
			d.reserve = d.reserve.With(m)
		}
		if x.Call != y.Call || !slices.Equal(x.StreamMS, y.StreamMS) {
			d.prices = d.prices.With(m)
		}
	}
	d.models = d.loads | d.reserve | d.prices
	return d
}

// sameKnown reports that two problems know the same results: an assumption
// replaces the list if it changes one.
func sameKnown(a, b []Known) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// sameParts reports that two models are the same to place: an assumption
// replaces the parts that it changes.
func sameParts(x, y *Model) bool {
	a, b := x.Load.Parts, y.Load.Parts
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) && x.Load.Streamed == y.Load.Streamed
}

// with is the field of a problem that differs from the assumed one.
func (f *field) with(p *Problem, d difference) *field {
	if d.all {
		return newField(p)
	}
	x := f.fork()
	x.problem = p
	x.loads, x.prices, x.total = slices.Clone(f.loads), slices.Clone(f.prices), slices.Clone(f.total)
	x.rows = slices.Clone(f.rows)
	for m, at := range f.at {
		x.rows[m] = p.Models[at].Reserved
		if (d.loads | d.prices).Has(m) {
			x.prices[m] = newPrice(&p.Models[at], p.Objective)
		}
		if d.loads.Has(m) {
			x.loads[m], x.total[m] = &p.Models[at].Load, p.Models[at].Load.Bytes()
		}
	}
	if d.loads != 0 {
		x.sorted, x.sortedStream, x.ops = nil, nil, nil
		x.arrange()
	} else if d.prices != 0 {
		x.price()
	}
	x.findAlike()
	return x
}

// price puts the prices of the parts into the order in which the compiler tries them.
func (f *field) price() {
	if f.merged != nil {
		f.ops = nil
		f.listOps()
		return
	}
	f.sortedStream = nil
	for m := range f.sorted {
		stream := make([]float64, len(f.prices[m].stream))
		for i, part := range f.sorted[m].Order() {
			stream[i] = f.prices[m].stream[part]
		}
		f.sortedStream = append(f.sortedStream, stream)
	}
}

// scaled is a line under the costs of all groups after prices have changed: a
// group that cost c costs at least factor x c - lost, with what a call and its
// load cost besides bytes counted apart.
type scaled struct {
	factor float64
	fixed  []float64 // by model: of each call
	load   []float64 // by model: of each load
}

// scale compares prices. ok is false where nothing can be said.
func (f *field) scale(now *field) (s scaled, ok bool) {
	s = scaled{math.Inf(1), make([]float64, f.n), make([]float64, f.n)}
	ratio := func(is, was float64) {
		if was > 0 {
			s.factor = min(s.factor, is/was)
		}
	}
	for m := range f.n {
		p, q := &f.prices[m], &now.prices[m]
		if p.share != q.share || p.overlap > 0 || q.overlap > 0 {
			return s, false
		}
		ratio(q.perByte, p.perByte)
		for i := range p.stream {
			ratio(q.stream[i], p.stream[i])
		}
	}
	if math.IsInf(s.factor, 1) {
		s.factor = 1
	}
	for m := range f.n {
		p, q := &f.prices[m], &now.prices[m]
		s.fixed[m] = float64(p.share * max(0, s.factor*p.fixed-q.fixed))
		s.load[m] = float64(p.share * max(0, s.factor*(p.instructions+p.overhead)-q.instructions-q.overhead))
	}
	return s, true
}

// of is the bound of a group that cost at least so much.
func (s *scaled) of(group set, lower float64, miss []float64) float64 {
	lower *= s.factor
	for x := group; x != 0; x &= x - 1 {
		m := bits.TrailingZeros64(uint64(x))
		lower -= s.fixed[m] + float64(miss[m]*s.load[m])
	}
	return lower
}

// bounds is a bound of every group for one value of an assumption.
type bounds struct {
	lower  []float64
	unsure []bool // a better one is to be had
	fresh  []bool // of a group that differs from what was assumed; nil: all do
}

// bounds bounds all groups of the problem with value number k.
func (v *varying) bounds(k int, f *field, d difference) bounds {
	b := v.basis
	n := len(b.groups)
	x := bounds{lower: make([]float64, n), unsure: make([]bool, n)}
	if d.all {
		if x.lower = v.chord(k, nil); x.lower == nil {
			x.lower = make([]float64, n)
			e := newSearch(v.ctx, f, v.options).exactly(atoms(f.all))
			e.bound()
			for g := range e.groups {
				x.lower[g] = e.groups[g].lower
			}
		}
		for g := range x.unsure {
			x.unsure[g] = true
		}
		v.remember(k, x.lower)
		return x
	}
	line, straight := scaled{factor: 1}, d.loads|d.reserve == 0
	if straight {
		line, straight = b.f.scale(f)
	}
	losing := slices.ContainsFunc(line.load, func(x float64) bool { return x > 0 })
	relaxed := v.relaxedBounds(f.problem, d)
	x.fresh = make([]bool, n)
	var miss []float64
	for g := 1; g < n; g++ {
		group := set(g)
		x.lower[g] = b.groups[g].lower
		if group&d.models == 0 || math.IsInf(x.lower[g], 1) {
			continue
		}
		reserve := b.f.reserved(group) != f.reserved(group)
		if group&(d.loads|d.prices) == 0 && !reserve {
			continue // the largest of the reserves is another one
		}
		x.fresh[g], x.unsure[g] = true, true
		switch {
		case straight:
			if losing {
				miss = b.f.missesInto(group)
			} else {
				miss = b.f.miss
			}
			x.lower[g] = max(0, line.of(group, x.lower[g], miss))
		case d.loads|d.prices == 0 && v.covered(f, d):
			x.lower[g] = b.loose[g]
		case relaxed != nil:
			x.lower[g] = relaxed[g]
		default:
			x.lower[g] = 0
		}
	}
	if v.Linear {
		x.lower = v.chord(k, x.lower)
		v.remember(k, x.lower)
	}
	return x
}

// covered reports that the loose bounds hold for what is reserved.
func (v *varying) covered(f *field, d difference) bool {
	if v.basis.loose == nil {
		return false
	}
	for s := d.reserve; s != 0; s &= s - 1 {
		m := bits.TrailingZeros64(uint64(s))
		if r := f.model(m).Reserved; r < v.basis.low[m] || r > v.basis.high[m] {
			return false
		}
	}
	return true
}

// remember keeps the bounds of a value whose neighbours are bounded by a chord.
func (v *varying) remember(k int, lower []float64) {
	if v.Linear && v.straight() {
		if v.ends == nil {
			v.ends = map[int][]float64{}
		}
		v.ends[k] = lower
	}
}

// chord bounds the groups between two values that were tried, where every
// order costs linearly in the quantity or in its inverse: the best of them is
// then concave and lies above its chords. It raises the bounds given; without any it is nil where
// there are no two values.
func (v *varying) chord(k int, lower []float64) []float64 {
	if !v.Linear || !v.straight() {
		return lower
	}
	below, above := -1, -1
	consider := func(other int) {
		if other < k && other > below {
			below = other
		}
		if other > k && (above < 0 || other < above) {
			above = other
		}
	}
	assumed := v.assumed()
	for other := range v.ends {
		consider(other)
	}
	consider(assumed)
	if below < 0 || above < 0 {
		return lower
	}
	at := func(k int) func(g int) float64 {
		if k == assumed {
			return func(g int) float64 { return v.basis.groups[g].lower }
		}
		return func(g int) float64 { return v.ends[k][g] }
	}
	x, low, high := v.value(k), v.value(below), v.value(above)
	weights := []float64{(x - low) / (high - low)} // of the value above
	if low > 0 {
		weights = append(weights, (1/low-1/x)/(1/low-1/high))
	}
	a, b := at(below), at(above)
	out := slices.Clone(lower)
	if out == nil {
		out = make([]float64, len(v.basis.groups))
	}
	for g := range out {
		least := math.Inf(1)
		for _, w := range weights {
			if y := float64((1-w)*a(g)) + float64(w*b(g)); !math.IsNaN(y) {
				least = min(least, y)
			}
		}
		out[g] = max(out[g], least)
	}
	return out
}

// relaxedBounds bounds the groups with models whose parts an assumption
// changes, for every value: with the smallest size that each part has at the ends of the
// range. It is nil where a part is smaller than that.
func (v *varying) relaxedBounds(p *Problem, d difference) []float64 {
	if d.loads == 0 {
		return nil
	}
	b := v.basis
	if v.least == nil {
		q := *v.at(0)
		q.Models = slices.Clone(q.Models)
		other := v.at(v.last())
		for i := range q.Models {
			x, y := &q.Models[i], &other.Models[i]
			if len(x.Load.Parts) != len(y.Load.Parts) {
				return nil
			}
			x.Reserved = min(x.Reserved, y.Reserved)
			if sameParts(x, y) {
				continue
			}
			x.Load.Parts = slices.Clone(x.Load.Parts)
			for k := range x.Load.Parts {
				a, b := &x.Load.Parts[k], &y.Load.Parts[k]
				a.Bytes, a.Rows = min(a.Bytes, b.Bytes), min(a.Rows, b.Rows)
				a.Groups, a.GroupRows = min(a.Groups, b.Groups), min(a.GroupRows, b.GroupRows)
			}
		}
		v.least = &q
		f := b.f.with(&q, b.f.differ(&q))
		base := make([]float64, f.n)
		v.relaxed = make([]float64, len(b.groups))
		for g := range v.relaxed {
			// results that are known do not shrink with the parts: nothing is said of them
			if group := set(g); g > 0 && group&d.models != 0 && !math.IsInf(b.groups[g].lower, 1) && f.known[group] == nil {
				v.relaxed[g] = f.atBestInto(group, f.reserved(group), f.missesInto(group), base)
			}
		}
	}
	for i := range p.Models {
		x, y := &v.least.Models[i], &p.Models[i]
		if x.Reserved > y.Reserved || x.Call != y.Call || !slices.Equal(x.StreamMS, y.StreamMS) || x.Load.Streamed > y.Load.Streamed || len(x.Load.Parts) != len(y.Load.Parts) {
			return nil
		}
		smaller := func(a, b compile.Part) bool {
			return a.Bytes <= b.Bytes && partRows(&a) <= partRows(&b)
		}
		if !slices.EqualFunc(x.Load.Parts, y.Load.Parts, smaller) {
			return nil
		}
	}
	return v.relaxed
}
