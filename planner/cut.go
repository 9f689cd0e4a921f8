package planner

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
)

// Limits of the search for good prices.
const (
	cutRounds  = 12
	cutRefines = 40     // cuts of a bucket that are looked at closely in a round
	cutWork    = 60_000 // thousands of steps after which no round begins
	cutKeys    = 400    // more are taken together
	cutUnit    = 32     // rows that the knapsack takes for one
)

// cutBound bounds every plan of compiler 16.0 for independent calls.
func (f *field) cutBound() float64 {
	c := f.newCutter()
	if c == nil {
		return math.Inf(-1)
	}
	const rounding = 1e-11
	return c.total - sum(c.prices(0.7*max(0, c.total-f.residencyBound())/c.shares)) - rounding*c.total
}

// A cutter bounds what the groups of a plan save.
//
// A plan costs what all models cost that cache nothing, less what its groups
// save. If no group saves more than the prices of its members, then no plan
// saves more than the prices of all: every model is in one group.
//
// What a group saves depends on its share q of the calls, which lies in one of
// some buckets, and on its cut, the key of the first op that finds no room.
//   - Missing falls with q, so it is least at the upper end of the bucket.
//   - All ops of smaller keys are cached, of every member.
//   - An ordinary op fails where fewer rows are free than it takes. Of a
//     partitioned one fewer than all groups are placed when no tile has room for
//     the next: [cut].left counts both. What is cached behind it fits into these rows.
//   - The other rows of the pool are taken by ops before.
//   - Of the key itself any may be cached, but not all.
//
// That is a knapsack of models with their ops before the cut, and another
// of the later ones, in fractions. The constraints that the knapsack
// does not see have multipliers (Lagrange), and any multipliers give a bound.
// Pins only forbid, so that they are left out. Models that are never called save nothing,
// but may take rows.
type cutter struct {
	models  []cutModel // those that are called, by rows reserved, from the most on
	rows    float64    // of the largest pool
	shares  float64    // the sum of all
	total   float64    // what all cost that cache nothing
	cuts    []cut
	at      []cutAt // by model and cut
	buckets []cutBucket
	known   []cutColumn // groups with a known result
	low     float64     // groups of a smaller share have no bucket
	scratch cutScratch
	work    int // steps
}

// cutModel is a model, its ops as the compiler tries them.
type cutModel struct {
	number int
	p      *price
	drop   float64 // rows that the pool of its reserve has less than the largest
	ops    []cutOp
	first  int       // ops that take no rows are in front; they are always cached
	fixed  float64   // that a load takes at least, beyond what grows with its bytes
	bytes  []int64   // of ops before this one
	stream []float64 // of ops before this one
	before []float64 // rows of ops before this one
	slopes bool      // compute hides small loads
}

type cutOp struct {
	cut    int     // its key's
	rows   float64 // that it takes of the pool
	claim  float64 // that it surely takes if it is cached: copies of one file may all claim one's
	bytes  float64
	stream float64
}

// cut is a key that the first op without room may have.
type cut struct {
	left   float64 // rows that are free when an op of the key finds no room, at most
	owners []int   // models with such ops
	free   bool    // a model that is never called has one too, or nothing is cut
	// An op fails only where no more than left rows are free, so that ops before it take the others.
	// Of these so many may not be among those that are counted.
	unseen float64
}

// cutAt says what a cut does to the ops of a model: those before run are cached,
// those before tail may be, as may later ones, of which those from skip to skipped
// are larger than what is left.
type cutAt struct{ run, tail, skip, skipped int32 }

// cutBucket is a range of shares of a group.
type cutBucket struct {
	low, high float64
	miss      []float64
	worth     [][2][]float64 // of model and op: of an op cached beside others; with a load that compute hides
	must      []bool         // no group without the model has so large a share
	density   float64        // the most that an op saves for each row
	tries     []multipliers
	top       float64 // the most that was found
}

// multipliers of a row of the pool, of a row behind the cut (no less), of the share.
type multipliers struct{ pool, tail, share float64 }

// cutColumn is a group, or some of which each counts in part, and what it saves.
type cutColumn struct {
	of        []float64 // by model
	saved     float64
	share     float64 // if its result is known
	low, high float64 // else those of the bucket
}

// cutNode is a bucket and a cut: what its groups save beyond their prices, at most.
type cutNode struct {
	bucket, cut int
	value       float64
	m           multipliers // that gave it
	done        bool        // they were looked for
	column      []float64   // the groups that save so much
}

// cutScratch is memory that calls share.
type cutScratch struct {
	suffix  [][2][]float64
	options []cutOption
	worth   []float64
	claim   []float64
	value   []float64
	taken   []uint8
	steps   []cutStep
}

// cutStep is a model whose options the knapsack went through.
type cutStep struct{ model, from int }

// cutOption is a way of a model to be in a group.
type cutOption struct {
	model int
	rows  float64
	value float64
}

// newCutter is nil where sizes are beyond any device.
func (f *field) newCutter() *cutter {
	c := &cutter{}
	reserved, of := compile.TileRows, make([]int, f.n) // the model of a number
	for m := range f.n {
		p := &f.prices[m]
		c.total += p.cost(0, p.streamAll, 0)
		c.shares += p.share
		reserved, of[m] = min(reserved, f.model(m).Reserved), -1
		for i := range f.loads[m].Parts {
			if f.loads[m].Parts[i].Rows > math.MaxInt32 { // the order of keys ends there
				return nil
			}
		}
	}
	c.rows = float64(compile.PoolRows(reserved))
	for m := range f.n {
		if f.prices[m].share > 0 {
			c.models = append(c.models, cutModel{number: m, p: &f.prices[m], drop: c.rows - float64(compile.PoolRows(f.model(m).Reserved))})
		}
	}
	slices.SortStableFunc(c.models, func(a, b cutModel) int { return cmp.Compare(b.drop, a.drop) })
	for i := range c.models {
		of[c.models[i].number] = i
	}
	c.list(f, of)
	for m := range c.models {
		c.prepare(m)
	}
	for g, list := range f.known {
		c.learn(f, g, list, of)
	}
	slices.SortFunc(c.known, func(a, b cutColumn) int { return slices.Compare(a.of, b.of) })
	c.divide()
	return c
}

// list finds the cuts and the ops of each model.
func (c *cutter) list(f *field, of []int) {
	keys := f.keys(1)
	for alike := 1.0; keys[len(keys)-1] >= cutKeys; keys = f.keys(alike) {
		alike *= 0.97
	}
	c.cuts = make([]cut, keys[len(keys)-1]+2)
	c.cuts[len(c.cuts)-1].free = true // nothing is cut
	// Rows of ops that are not counted: those of models that are never called, in
	// any group, and what such a model takes of the pool as reserved.
	unseen := make([]float64, len(c.cuts))
	for m := range f.n {
		if of[m] < 0 {
			unseen[0] = max(unseen[0], c.rows-float64(compile.PoolRows(f.model(m).Reserved)))
		}
	}
	least := map[[2]int]int{} // rows of an op of a key and a model
	for i := range f.merged.Len() {
		number, at, rows := f.merged.Op(int32(i))
		if id := [2]int{keys[i], number}; rows > 0 && (least[id] == 0 || rows < least[id]) {
			least[id] = rows
		}
		part, m := &f.loads[number].Parts[at], of[number]
		op := cutOp{cut: keys[i], rows: float64(max(0, rows)), bytes: float64(part.Bytes), stream: f.prices[number].stream[at]}
		op.claim = op.rows / float64(f.copies[number].Len())
		switch {
		case m >= 0 && rows > 0:
			c.models[m].ops = append(c.models[m].ops, op)
		case m >= 0:
			c.models[m].ops = slices.Insert(c.models[m].ops, c.models[m].first, op)
			c.models[m].first++
		}
		if rows <= 0 {
			continue
		}
		k := &c.cuts[keys[i]]
		left := float64(rows - 1)
		if part.Groups > 0 {
			left = float64(compile.Tiles*(part.GroupRows-1) + (part.Groups-1)*part.GroupRows)
		}
		k.left = min(max(k.left, left), c.rows)
		if m < 0 {
			k.free = true
			unseen[keys[i]] += op.rows
		} else if !slices.Contains(k.owners, m) {
			k.owners = append(k.owners, m)
		}
	}
	for i := range f.merged.Len() {
		number, _, rows := f.merged.Op(int32(i))
		switch k := &c.cuts[max(0, keys[i])]; {
		case rows <= 0 || of[number] < 0:
		case f.copies[number].Len() > 1: // a copy's may be placed, and the last one's not
			k.unseen += float64(rows)
		default: // the smallest of the key are counted
			k.unseen += float64(rows - least[[2]int{keys[i], number}])
		}
	}
	sum := 0.0
	for k := range c.cuts {
		sum += unseen[k]
		c.cuts[k].unseen += sum
	}
}

// keys numbers the keys of the merged ops, of those that take rows. What has at
// least this share of the rows of the key before counts as of that key.
func (f *field) keys(alike float64) []int {
	keys := make([]int, f.merged.Len()+1)
	var first struct{ passes, class, rows int } // of the key
	key := -1
	for i := range f.merged.Len() {
		number, at, rows := f.merged.Op(int32(i))
		part := &f.loads[number].Parts[at]
		keys[i] = -1
		if rows <= 0 {
			continue
		}
		passes, class, size := part.Rank()
		if first := &first; first.rows == 0 || first.passes != passes || first.class != class || float64(size) < alike*float64(first.rows) {
			first.passes, first.class, first.rows = passes, class, size
			key++
		}
		keys[i] = key
	}
	keys[f.merged.Len()] = key
	return keys
}

// prepare sums a model's ops, and says what each cut does to them.
func (c *cutter) prepare(m int) {
	x := &c.models[m]
	p := x.p
	x.fixed, x.slopes = max(0, p.instructions-p.overlap)+p.overhead, p.overlap > p.instructions
	x.bytes, x.stream, x.before = make([]int64, len(x.ops)+1), make([]float64, len(x.ops)+1), make([]float64, len(x.ops)+1)
	for i, op := range x.ops {
		x.bytes[i+1], x.stream[i+1], x.before[i+1] = x.bytes[i]+int64(op.bytes), x.stream[i]+op.stream, x.before[i]+op.rows
		if op.bytes == 0 && op.stream > 0 {
			x.fixed = 0 // it saves without a load
		}
	}
	run := x.first
	for k := range c.cuts {
		tail := run
		for tail < len(x.ops) && x.ops[tail].cut == k {
			tail++
		}
		// rows fall among ops of as many passes and a class: what is larger than what is left is in front of any
		skip := tail
		for skip < len(x.ops) && x.ops[skip].rows <= c.cuts[k].left {
			skip++
		}
		skipped := skip
		for skipped < len(x.ops) && x.ops[skipped].rows > c.cuts[k].left {
			skipped++
		}
		c.at = append(c.at, cutAt{int32(run), int32(tail), int32(skip), int32(skipped)})
		run = tail
	}
}

// learn takes a group of which results are known: they may contradict what is thought of the pool.
func (c *cutter) learn(f *field, group set, list []knownOrder, of []int) {
	x := cutColumn{of: make([]float64, len(c.models)), saved: math.Inf(-1)}
	miss := f.misses(group)
	for i := range list {
		saved := 0.0
		for _, m := range members(group) {
			p := &f.prices[m]
			saved += p.cost(0, p.streamAll, 0) - f.splitCost(m, list[i].of(m), miss[m])
		}
		x.saved = max(x.saved, saved)
	}
	for _, m := range members(group) {
		if of[m] >= 0 {
			x.of[of[m]] = 1
			x.share += f.prices[m].share
		}
	}
	if x.share > 0 {
		c.known = append(c.known, x)
	}
}

// rarely is how often a call of the model misses in a group of that share, at least.
func (c *cutter) rarely(m int, q float64) float64 {
	rest := max(0, c.shares-q-1e-12)
	return rest / (rest + c.models[m].p.share)
}

// divide makes the buckets.
func (c *cutter) divide() {
	c.low = 0.02 * c.shares
	var ends []float64
	for q := c.low; q < 0.65*c.shares; q *= 1.12 {
		ends = append(ends, q)
	}
	for rest := 0.35; rest > 0.004; rest *= 0.75 {
		ends = append(ends, (1-rest)*c.shares)
	}
	ends = append(ends, c.shares*(1+1e-12))
	for i := range len(ends) - 1 {
		c.buckets = append(c.buckets, c.bucket(ends[i], ends[i+1]))
	}
}

// bucket is that of the groups of a share between two limits.
func (c *cutter) bucket(low, high float64) cutBucket {
	b := cutBucket{low: low, high: high, tries: []multipliers{{}}}
	for m := range c.models {
		miss := c.rarely(m, b.high)
		b.miss = append(b.miss, miss)
		worth := c.worths(m, miss)
		b.worth = append(b.worth, worth)
		for i, op := range c.models[m].ops {
			if op.claim > 0 && c.models[m].p.share <= high {
				b.density = max(b.density, worth[1][i]/op.claim)
			}
		}
		b.must = append(b.must, c.models[m].p.share > c.shares-b.low+1e-9)
	}
	return b
}

// split makes smaller buckets of those that matter.
func (c *cutter) split(top float64) {
	const parts = 4
	var list []cutBucket
	for i := range c.buckets {
		b := &c.buckets[i]
		if b.top < top {
			list = append(list, *b)
			continue
		}
		step := (b.high - b.low) / parts
		for j := range parts {
			part := c.bucket(b.low+float64(j)*step, b.low+float64(j+1)*step)
			if j == parts-1 {
				part = c.bucket(b.low+float64(j)*step, b.high)
			}
			part.tries = slices.Clone(b.tries)
			list = append(list, part)
		}
	}
	c.buckets = list
}

// worths is what caching each op of a model saves, its load at the rate of the line or hidden.
func (c *cutter) worths(m int, miss float64) [2][]float64 {
	x := &c.models[m]
	var w [2][]float64
	w[0] = make([]float64, len(x.ops))
	for i := range x.ops {
		w[0][i] = x.p.share * (x.ops[i].stream - miss*x.p.perByte*x.ops[i].bytes)
	}
	w[1] = w[0]
	if x.slopes {
		w[1] = make([]float64, len(x.ops))
		for i := range x.ops {
			w[1][i] = x.p.share * x.ops[i].stream
		}
	}
	return w
}

// least are prices that no group of a share below c.low exceeds.
func (c *cutter) least() []float64 {
	y := make([]float64, len(c.models))
	for m := range c.models {
		x := &c.models[m]
		if x.p.share > c.low {
			continue
		}
		miss := c.rarely(m, c.low)
		w := c.worths(m, miss)
		y[m] = -x.p.share * miss * x.fixed
		for i := range x.ops {
			y[m] += max(0, w[1][i])
		}
		y[m] = max(0, y[m])
	}
	return y
}

// late prepares for a multiplier what later ops of a bucket's models are worth:
// of op i and all behind it.
func (c *cutter) late(b *cutBucket, tail float64) [][2][]float64 {
	if c.scratch.suffix == nil {
		for m := range c.models {
			x := &c.models[m]
			s := [2][]float64{make([]float64, len(x.ops)+1)}
			s[1] = s[0]
			if x.slopes {
				s[1] = make([]float64, len(x.ops)+1)
			}
			c.scratch.suffix = append(c.scratch.suffix, s)
		}
	}
	for m := range c.models {
		x := &c.models[m]
		for kind := range 2 {
			if kind == 1 && !x.slopes {
				break
			}
			s, w := c.scratch.suffix[m][kind], b.worth[m][kind]
			c.work += len(w)
			for i := len(x.ops) - 1; i >= 0; i-- {
				s[i] = s[i+1] + max(0, w[i]-tail*x.ops[i].claim)
			}
		}
	}
	return c.scratch.suffix
}

// options lists the ways of each model to be in a group, but for its price and
// the multiplier of its share: with how many ops of the cut's key, and with the later ones that
// are worth their rows.
func (c *cutter) options(b *cutBucket, k int, suffix [][2][]float64) []cutOption {
	list := c.scratch.options[:0]
	for m := range c.models {
		x := &c.models[m]
		a := &c.at[m*len(c.cuts)+k]
		rows := x.before[a.run]
		if x.p.share > b.high || rows+x.drop > c.rows {
			continue
		}
		kind, cached, saved := 0, x.bytes[a.run], x.p.share*x.stream[a.run]
		if x.slopes && float64(float64(cached)*x.p.perByte)+x.p.instructions < x.p.overlap {
			kind = 1
		}
		s := suffix[m][kind]
		late := s[a.tail] - s[a.skip] + s[a.skipped]
		if cached > 0 {
			saved -= x.p.share * b.miss[m] * x.p.load(cached)
			list = append(list, cutOption{m, rows, saved + late})
		} else { // nothing is loaded, or a load begins
			begun := saved - x.p.share*b.miss[m]*x.fixed
			list = append(list, cutOption{m, rows, max(saved, begun+late)})
			saved = begun
		}
		most := int(a.tail - a.run)
		if c.alone(k, m) {
			most--
		}
		if most <= 0 {
			continue
		}
		// the best of them, and the rows of the smallest: those of a key hardly differ
		worth, claim := c.scratch.worth[:0], c.scratch.claim[:0]
		for i := a.run; i < a.tail; i++ {
			worth, claim = append(worth, b.worth[m][kind][i]), append(claim, x.ops[i].claim)
		}
		c.scratch.worth, c.scratch.claim = worth, claim
		slices.Sort(worth)
		slices.Sort(claim)
		for j := range most {
			saved += worth[len(worth)-1-j]
			rows += claim[j]
			if rows+x.drop > c.rows {
				break
			}
			list = append(list, cutOption{m, rows, saved + late})
		}
	}
	c.scratch.options = list
	return list
}

// relaxed bounds what the groups of a bucket and cut save beyond the prices y,
// with a multiplier for the rows of the pool too. That is negative where the
// rows that ops before the cut must take count more than those there are.
// The model of a group that reserves most says how large its pool is.
func (c *cutter) relaxed(b *cutBucket, k int, list []cutOption, x multipliers, y []float64) float64 {
	c.work += len(list)
	key := &c.cuts[k]
	if k == len(c.cuts)-1 {
		x.pool = max(0, x.pool)
	}
	rest, best := 0.0, 0.0 // of models that reserve no more than these; of groups of them
	// Some owner is in the group, if only to its harm, and the best of them may stand for it where rows have a price.
	owned := !key.free && x.pool >= 0
	owner := math.Inf(-1)
	for i := len(list) - 1; i >= 0; {
		m, s := list[i].model, math.Inf(-1)
		for ; i >= 0 && list[i].model == m; i-- {
			s = max(s, list[i].value-x.pool*list[i].rows)
		}
		s -= y[m] + x.share*c.models[m].p.share
		first, must := s+rest-x.pool*c.models[m].drop, c.must(b, k, m)
		if must || first > best {
			best = first
		}
		if must || s > 0 {
			rest += s
		}
		if owned && slices.Contains(key.owners, m) {
			owner, owned = max(owner, s), !must
		}
	}
	if owned {
		best += min(0, owner)
	}
	return best + x.pool*c.rows + (x.tail-x.pool)*key.left + max(0, -x.pool)*key.unseen + b.free(x.share)
}

// must reports whether all groups of a bucket and cut have the model.
func (c *cutter) must(b *cutBucket, k, m int) bool { return b.must[m] || c.alone(k, m) }

// alone reports whether ops of the key have no other owner, which then is in the group.
func (c *cutter) alone(k, m int) bool {
	key := &c.cuts[k]
	return !key.free && len(key.owners) == 1 && key.owners[0] == m
}

// free is what a multiplier gives for the share of the group.
func (b *cutBucket) free(share float64) float64 {
	if share > 0 {
		return share * b.high
	}
	return share * b.low
}

// packed bounds the same with whole models in the pool.
func (c *cutter) packed(b *cutBucket, k int, list []cutOption, x multipliers, y []float64) (float64, uint64) {
	units := int(c.rows / cutUnit)
	width := units + 1
	c.work += len(list) * width / 4
	if c.scratch.value == nil {
		c.scratch.value, c.scratch.taken = make([]float64, width), make([]uint8, len(c.models)*width)
	}
	const none = -math.MaxFloat64
	v := c.scratch.value
	for w := range v {
		v[w] = none
	}
	key := &c.cuts[k]
	some := false
	need := 0.0 // rows that ops before the cut take
	if k < len(c.cuts)-1 {
		need = c.rows - key.left - key.unseen
	}
	steps := c.scratch.steps[:0]
	lowest := width
	for i := 0; i < len(list); {
		m := list[i].model
		j := i
		cost := y[m] + x.share*c.models[m].p.share
		must := c.must(b, k, m)
		some = some || must
		top := none
		for ; j < len(list) && list[j].model == m; j++ {
			top = max(top, list[j].value-cost)
		}
		if top > 0 || must || need > 0 {
			taken := c.scratch.taken[len(steps)*width : (len(steps)+1)*width]
			steps = append(steps, cutStep{m, i})
			drop := c.models[m].drop
			if j == i+1 && !must {
				s, weight := list[i].value-cost, int(list[i].rows/cutUnit)
				for w := units; w >= lowest+weight; w-- {
					taken[w] = 0
					if t := v[w-weight] + s; v[w-weight] > none && t > v[w] {
						v[w], taken[w] = t, 1
					}
				}
				for w := 0; w < min(width, lowest+weight); w++ {
					taken[w] = 0
				}
			} else {
				for w := units; w >= 0; w-- {
					taken[w] = 0
					was := v[w]
					if must {
						v[w] = none
					}
					for o := i; o < j; o++ {
						weight := int(list[o].rows / cutUnit)
						if weight > w {
							continue
						}
						from := v[w-weight]
						if weight == 0 {
							from = was
						}
						if t := from + list[o].value - cost; from > none && t > v[w] {
							v[w], taken[w] = t, uint8(min(o-i+1, 127))
						}
					}
				}
			}
			if must { // those before were without it
				lowest = 0
			}
			for o := i; o < j; o++ { // as the first of the group
				w := int((drop + list[o].rows) / cutUnit)
				if t := list[o].value - cost; w < width {
					if t > v[w] {
						v[w], taken[w] = t, uint8(min(o-i+1, 127))|128
					}
					lowest = min(lowest, w)
				}
			}
		}
		i = j
	}
	c.scratch.steps = steps
	best, at := none, -1
	if !some && need <= 0 {
		best = x.tail * min(key.left, c.rows)
	}
	for w := range v {
		if v[w] > none && float64((w+len(steps)+1)*cutUnit) >= need {
			if t := v[w] + x.tail*min(key.left, c.rows-float64(w*cutUnit)); t > best {
				best, at = t, w
			}
		}
	}
	var models uint64
	for s := len(steps) - 1; s >= 0 && at >= 0; s-- {
		taken := c.scratch.taken[s*width+at]
		if taken == 0 {
			continue
		}
		models |= 1 << steps[s].model
		if taken&128 != 0 {
			break
		}
		at -= int(list[steps[s].from+int(taken)-1].rows / cutUnit)
	}
	return best + b.free(x.share), models
}

// prices are prices of the models such that no group saves more than its members'.
// Of these the sum should be small: a linear programme whose groups are found as they
// violate it (Kelley 1960), in a box around the best prices so far. The first are
// proportional to the shares.
func (c *cutter) prices(perShare float64) []float64 {
	least := c.least()
	y := make([]float64, len(c.models))
	for m := range y {
		y[m] = max(least[m], perShare*c.models[m].p.share)
	}
	columns := slices.Clone(c.known)
	low, high := make([]float64, len(y)), make([]float64, len(y))
	best, value := least, math.Inf(1)
	width, halves := 0.5, false
	for round := range cutRounds {
		// A group's share times the excess is at least what it saves too much.
		excess, found := c.excess(y)
		columns = append(columns, found...)
		now := slices.Clone(y)
		for m := range now {
			now[m] += excess * c.models[m].p.share
		}
		if v := sum(now); v < value {
			best, value = now, v
			if round > 0 {
				width = min(0.6, 1.5*width)
			}
		} else {
			width /= 2
		}
		if c.work > 1000*cutWork {
			break
		}
		for m := range y {
			d := width * (best[m] + 0.2*value/c.shares*c.models[m].p.share)
			low[m] = max(least[m], best[m]-d)
			high[m] = max(low[m], best[m]+d)
		}
		y = cheapest(columns, low, high)
		if round > 1 && value-sum(y) < 2e-3*(c.total-value) || round == cutRounds/2 {
			if halves {
				break
			}
			// What the width of the buckets costs is next.
			halves, width = true, 0.15
			c.split(-0.02 * value / c.shares)
			for m := range y {
				y[m] = max(least[m], best[m]-0.01*value/c.shares*c.models[m].p.share)
			}
			columns = slices.DeleteFunc(columns, func(x cutColumn) bool {
				return x.high > 0 && !slices.ContainsFunc(c.buckets, func(b cutBucket) bool { return b.low == x.low && b.high == x.high })
			})
		}
	}
	return best
}

// dot is the scalar product.
func dot(a, b []float64) float64 {
	s := 0.0
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

// shareOf is the share of the calls of models, a mask.
func (c *cutter) shareOf(models uint64) float64 {
	q := 0.0
	for ; models != 0; models &= models - 1 {
		q += c.models[bits.TrailingZeros64(models)].p.share
	}
	return q
}

// excess is how much more than the prices y a group saves, for each call of its
// share, and groups that do.
func (c *cutter) excess(y []float64) (worst float64, found []cutColumn) {
	for i := range c.known {
		worst = max(worst, (c.known[i].saved-dot(c.known[i].of, y))/c.known[i].share)
	}
	nodes := make([][]cutNode, len(c.buckets))
	order := make([]int, len(c.buckets))
	for b := range c.buckets {
		nodes[b], order[b] = c.nodes(b, y), b
		c.buckets[b].top = topOf(nodes[b]).value / c.buckets[b].low
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(c.buckets[b].top, c.buckets[a].top) })
	for _, i := range order {
		b := &c.buckets[i]
		found = append(found, c.settle(nodes[i], y, worst)...)
		b.top = topOf(nodes[i]).value / b.low
		worst = max(worst, b.top)
	}
	return worst, found
}

// nodes bounds a bucket's groups by cut, with the multipliers that were good before.
func (c *cutter) nodes(bucket int, y []float64) []cutNode {
	nodes := make([]cutNode, len(c.cuts))
	for k := range nodes {
		nodes[k] = cutNode{bucket: bucket, cut: k, value: math.Inf(1)}
	}
	b := &c.buckets[bucket]
	for _, x := range b.tries {
		c.apply(nodes, x, y)
	}
	b.tries = slices.DeleteFunc(b.tries, func(x multipliers) bool {
		return !slices.ContainsFunc(nodes, func(n cutNode) bool { return n.m == x })
	})
	return nodes
}

// topOf is the cut whose groups may save most.
func topOf(nodes []cutNode) *cutNode {
	top := &nodes[0]
	for k := range nodes {
		if nodes[k].value > top.value {
			top = &nodes[k]
		}
	}
	return top
}

// settle looks closely at the cuts of a bucket that may save most, until one
// of these is the one that does, or what it saves matters no more.
func (c *cutter) settle(nodes []cutNode, y []float64, worst float64) (found []cutColumn) {
	b := &c.buckets[nodes[0].bucket]
	for range cutRefines {
		top := topOf(nodes)
		if top.done || top.value <= 0 || top.value <= 0.3*worst*b.low {
			break
		}
		x := c.refine(top, y, worst)
		top.done = true
		if len(b.tries) < 12 && !slices.Contains(b.tries, x) {
			b.tries = append(b.tries, x)
			c.apply(nodes, x, y)
		}
		if top.column != nil {
			found = append(found, cutColumn{of: top.column, saved: top.value + dot(top.column, y), low: b.low, high: b.high})
		}
	}
	return found
}

// apply tries multipliers on all cuts of a bucket.
func (c *cutter) apply(nodes []cutNode, x multipliers, y []float64) {
	b := &c.buckets[nodes[0].bucket]
	suffix := c.late(b, x.tail)
	for k := range nodes {
		if nodes[k].done {
			continue
		}
		if v := c.relaxed(b, k, c.options(b, k, suffix), x, y); v < nodes[k].value {
			nodes[k].value, nodes[k].m = v, x
		}
	}
}

// refine looks for good multipliers of a bucket and cut, by relaxed, then by
// packed, unless what the groups save matters no more.
func (c *cutter) refine(n *cutNode, y []float64, worst float64) multipliers {
	b := &c.buckets[n.bucket]
	if b.density == 0 {
		return n.m
	}
	ratio := b.density * c.rows / c.shares
	for m := range c.models {
		ratio = max(ratio, y[m]/c.models[m].p.share)
	}
	warm, reach := n.m, 0.25
	if warm.tail == 0 {
		warm.tail, reach = b.density/8, 1
	}
	golden(math.Log(warm.tail)-2*reach-0.3, math.Log(warm.tail)+2*reach+0.3, 5, func(l float64) float64 {
		tail := math.Exp(l)
		list := c.options(b, n.cut, c.late(b, tail))
		return golden(warm.share-reach*ratio, warm.share+reach*ratio, 9, func(share float64) float64 {
			return golden(max(-tail, warm.pool-2*reach*tail), min(tail, warm.pool+2*reach*tail), 8, func(pool float64) float64 {
				x := multipliers{min(tail, max(-tail, pool)), tail, share}
				v := c.relaxed(b, n.cut, list, x, y)
				if v < n.value {
					n.value, n.m = v, x
				}
				return v
			})
		})
	})
	if n.value <= 0 || n.value < 0.3*worst*b.low {
		return n.m
	}
	tries := 6
	if n.value >= worst*b.low {
		tries = 10
	}
	c.balance(n, y, 0.05*ratio, tries)
	return n.m
}

// balance looks with packed for the multiplier of the share between one that
// gives too large a group and one that gives too small a one. Both groups in
// part are the column.
func (c *cutter) balance(n *cutNode, y []float64, step float64, tries int) {
	b, x := &c.buckets[n.bucket], n.m
	list := c.options(b, n.cut, c.late(b, x.tail))
	var small, large uint64
	smallAt, largeAt := math.Inf(1), math.Inf(-1)
	for range tries {
		v, models := c.packed(b, n.cut, list, x, y)
		n.value = min(n.value, v)
		q := c.shareOf(models)
		if x.share == 0 && q >= b.low && q <= b.high {
			small, large = models, models
			break
		}
		if q > b.high || x.share < 0 && q >= b.low {
			large, largeAt = models, x.share
		} else {
			small, smallAt = models, x.share
		}
		next := (smallAt + largeAt) / 2
		switch {
		case math.IsInf(smallAt, 1):
			next, step = largeAt+step, 3*step
		case math.IsInf(largeAt, -1):
			next, step = smallAt-step, 3*step
		}
		if x.share*next < 0 {
			next = 0
		}
		x.share = next
	}
	want := b.low
	if smallAt > 0 && largeAt >= 0 {
		want = b.high
	}
	part := 1.0 // of the large one
	if qs, ql := c.shareOf(small), c.shareOf(large); large == 0 {
		part = 0
	} else if small != 0 && ql > qs {
		part = min(1, max(0, (want-qs)/(ql-qs)))
	}
	n.column = make([]float64, len(c.models))
	for m := range n.column {
		n.column[m] = part*float64(large>>m&1) + (1-part)*float64(small>>m&1)
	}
}

// golden searches the least value of a convex function (golden section, Kiefer 1953).
func golden(low, high float64, steps int, f func(float64) float64) float64 {
	const r = 0.6180339887498949
	a, b := high-r*(high-low), low+r*(high-low)
	fa, fb := f(a), f(b)
	for range steps {
		if fa <= fb {
			high, b, fb = b, a, fa
			a = high - r*(high-low)
			fa = f(a)
		} else {
			low, a, fa = a, b, fb
			b = low + r*(high-low)
			fb = f(b)
		}
	}
	return min(fa, fb)
}

// cheapest are prices of least sum between two limits such that none of some
// sets saves more than its members' prices: the simplex method on the sets as
// columns. Nothing rests on its answer but how good the bound is.
func cheapest(sets []cutColumn, low, high []float64) []float64 {
	n := len(low)
	y := slices.Clone(low)
	inverse := make([][]float64, n)
	worth := make([]float64, n)
	x := make([]float64, n)
	for i := range n {
		inverse[i] = make([]float64, n)
		inverse[i][i] = 1
		worth[i], x[i] = low[i], 1+1e-7*float64(i+1)
	}
	d := make([]float64, n)
	scale := sum(high)
	for range 40 * n {
		// the column that promises most: a set, or a limit
		gain, enter, kind := 1e-10*scale, -1, 0
		for g := range sets {
			r := sets[g].saved - dot(sets[g].of, y)
			if r > gain {
				gain, enter, kind = r, g, 0
			}
		}
		for m := range n {
			if r := low[m] - y[m]; r > gain {
				gain, enter, kind = r, m, 1
			}
			if r := y[m] - high[m]; r > gain {
				gain, enter, kind = r, m, -1
			}
		}
		if enter < 0 {
			break
		}
		w := 0.0
		for i := range n {
			switch kind {
			case 0:
				d[i] = dot(inverse[i], sets[enter].of)
				w = sets[enter].saved
			case 1:
				d[i], w = inverse[i][enter], low[enter]
			default:
				d[i], w = -inverse[i][enter], -high[enter]
			}
		}
		leave, least := -1, math.Inf(1)
		for i := range n {
			if d[i] > 1e-9 {
				if t := x[i] / d[i]; t < least {
					leave, least = i, t
				}
			}
		}
		if leave < 0 {
			break
		}
		pivot := d[leave]
		for j := range n {
			inverse[leave][j] /= pivot
		}
		x[leave] /= pivot
		for i := range n {
			if i != leave && d[i] != 0 {
				for j := range n {
					inverse[i][j] -= d[i] * inverse[leave][j]
				}
				x[i] = max(0, x[i]-d[i]*x[leave])
			}
		}
		worth[leave] = w
		for j := range n {
			y[j] = 0
		}
		for i := range n {
			for j := range n {
				y[j] += worth[i] * inverse[i][j]
			}
		}
	}
	for m := range y {
		y[m] = min(max(y[m], low[m]), high[m])
	}
	return y
}
