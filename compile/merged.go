package compile

import (
	"cmp"
	"slices"
)

// Merged is the ops of several models in the order in which compiler 16.0
// tries those of one invocation: by passes, class and rows. Any of the models can be
// picked by a mask, so that the invocations of all sets of models share one
// sorting. Ops of equal rank make a run; within it the compiler's order
// depends on the command line, and [Merged.Look] says only what holds for
// every order. A Merged is not changed by use.
type Merged struct {
	ops  []mergedOp
	runs []int32 // where each run begins, and the end of the last
}

type mergedOp struct {
	key               uint64
	rows              int32 // that it takes of the pool
	groups, groupRows int32
	model, part       int32
}

// Merge sorts the ops of at most 64 models. Loads are read once and not kept.
func Merge(loads []*Load) *Merged {
	g := &Merged{}
	for m, l := range loads {
		for i := range l.Parts {
			part := &l.Parts[i]
			op := mergedOp{key: part.key(), rows: int32(part.Rows), model: int32(m), part: int32(i)}
			if part.Groups > 0 {
				op.groups, op.groupRows = int32(part.Groups), int32(part.GroupRows)
				op.rows = op.groups * op.groupRows
			}
			g.ops = append(g.ops, op)
		}
	}
	slices.SortStableFunc(g.ops, func(a, b mergedOp) int { return cmp.Compare(a.key, b.key) })
	g.cut()
	return g
}

// Only is the list of the ops of some models alone, numbered as before.
func (g *Merged) Only(models uint64) *Merged {
	x := &Merged{}
	for _, op := range g.ops {
		if models>>op.model&1 != 0 {
			x.ops = append(x.ops, op)
		}
	}
	x.cut()
	return x
}

// cut finds the runs.
func (g *Merged) cut() {
	for i := range g.ops {
		if i == 0 || g.ops[i].key != g.ops[i-1].key {
			g.runs = append(g.runs, int32(i))
		}
	}
	g.runs = append(g.runs, int32(len(g.ops)))
}

// Len is the number of ops.
func (g *Merged) Len() int { return len(g.ops) }

// Op is the model and the part of an op, numbered as in what Merge was given,
// and the rows that it takes.
func (g *Merged) Op(i int32) (model, part, rows int) {
	op := &g.ops[i]
	return int(op.model), int(op.part), int(op.rows)
}

// Outlook is what an invocation of compiler 16.0 comes to for every order of
// its models. An op that is in none of the lists is streamed. Copies of one
// file are looked at as if each had a decision of its own; in truth all have that of
// the last one ([Load].Content).
type Outlook struct {
	Cached []int32 // ops that are cached
	// Runs are ops of equal rank and form of which just Cached are cached; the
	// order decides which.
	Runs []TiedRun
	// Open are ops of which the order decides whether they are cached. Those
	// that are take no more than Room rows together.
	Open []int32
	Room int

	ops []int32 // those of Runs
}

// TiedRun is a run at the cut between cached and streamed.
type TiedRun struct {
	Ops    []int32
	Cached int // 0 < Cached < len(Ops)
}

// view is what is known of the pool while the ops are gone through.
type view struct {
	pool      Pool
	scrambled bool // how many rows are free is known, on which tiles they lie is not
	open      bool // the number lies between least and most
	least     int
	most      int
}

// Look says what an invocation of the models in the mask comes to when
// something from low to high rows of every tile is reserved (low = high: just
// that many). The list is sorted by rank, so the order decides only
// who comes when within a run of equal rank. If all of a run have the same
// form, the pool sees the same sequence whatever the order, and as many of the
// run are cached. A run of partitioned and ordinary ops that all find room leaves
// the same number of free rows, but on other tiles; from then on a partitioned op is
// certain only while some tile must have room for each of its groups. What comes before the
// first op that is not certain holds in any case; behind it the number of free rows is bounded.
func (g *Merged) Look(low, high int, in uint64, o *Outlook) {
	o.Cached, o.Runs, o.Open, o.ops, o.Room = o.Cached[:0], o.Runs[:0], o.Open[:0], o.ops[:0], 0
	v := view{pool: NewPool(low)}
	if low != high {
		v.open, v.least, v.most = true, PoolRows(high), PoolRows(low)
		o.Room = v.most
	}
	for r := 0; r+1 < len(g.runs); r++ {
		first := len(o.ops)
		for i := g.runs[r]; i < g.runs[r+1]; i++ {
			if in>>g.ops[i].model&1 != 0 {
				o.ops = append(o.ops, i)
			}
		}
		run := o.ops[first:]
		keep := false
		if len(run) > 0 {
			keep = g.look(&v, run, o)
		}
		if !keep {
			o.ops = o.ops[:first]
		}
	}
}

// look goes through one run. It reports whether the run became one of o.Runs.
func (g *Merged) look(v *view, run []int32, o *Outlook) (tied bool) {
	if !v.open {
		uniform := true
		first := &g.ops[run[0]]
		for _, i := range run[1:] {
			uniform = uniform && g.ops[i].groups == first.groups && g.ops[i].groupRows == first.groupRows
		}
		switch {
		case uniform && (!v.scrambled || first.groups == 0):
			cached := 0
			for cached < len(run) && v.try(first) {
				cached++
			}
			return o.settle(run, cached)
		case uniform:
			cached := 0
			for cached < len(run) && surelyFits(int(v.pool.all), int(first.rows), int(first.groupRows)) && v.try(first) {
				cached++
			}
			if cached == len(run) || first.rows > v.pool.all {
				return o.settle(run, cached)
			}
			// those that were tried here are not known by name
			v.pool.all += int32(cached) * first.rows
		default:
			if g.mixed(v, run, o) {
				return false
			}
		}
		v.open, v.least, v.most = true, int(v.pool.all), int(v.pool.all)
		o.Room = v.most
	}
	total, least, largest := 0, 1<<30, 0
	for _, i := range run {
		op := &g.ops[i]
		total, least, largest = total+int(op.rows), min(least, int(op.rows)), max(largest, int(op.groupRows))
	}
	switch {
	case surelyFits(v.least, total, largest):
		o.Cached = append(o.Cached, run...)
		v.least, v.most, o.Room = v.least-total, v.most-total, o.Room-total
	case least > v.most:
	default:
		o.Open = append(o.Open, run...)
		v.least = max(0, v.least-total)
	}
	return false
}

// mixed settles a run of different forms, if every order gives the same.
func (g *Merged) mixed(v *view, run []int32, o *Outlook) bool {
	total, largest, none := 0, 0, true
	for _, i := range run {
		op := &g.ops[i]
		total, largest = total+int(op.rows), max(largest, int(op.groupRows))
		if none && op.rows <= v.pool.all {
			pool := v.pool
			none = !v.scrambled && !pool.tryOp(op)
		}
	}
	if none {
		return true
	}
	if !surelyFits(int(v.pool.all), total, largest) {
		return false
	}
	for _, i := range run {
		v.try(&g.ops[i])
	}
	v.scrambled = true
	o.Cached = append(o.Cached, run...)
	return true
}

// settle records a run of equal forms of which so many are cached.
func (o *Outlook) settle(run []int32, cached int) (tied bool) {
	switch cached {
	case 0:
	case len(run):
		o.Cached = append(o.Cached, run...)
	default:
		o.Runs = append(o.Runs, TiedRun{run, cached})
		return true
	}
	return false
}

// surelyFits reports whether ops that take so many rows together, the largest
// group of them so many on one tile, all find room wherever the free rows lie.
// While more than 16 x (g-1) rows are free some tile has g of them, and before the last group
// at least that group's rows are free beyond what is left at the end.
func surelyFits(free, total, groupRows int) bool {
	left := free - total
	return left >= 0 && (groupRows == 0 || left+groupRows > Tiles*(groupRows-1))
}

// try places an op if it finds room.
func (v *view) try(op *mergedOp) bool { return v.pool.tryOp(op) }

func (p *Pool) tryOp(op *mergedOp) bool {
	if op.groups > 0 {
		return p.placeGroups(V16_0, int(op.groups), op.groupRows)
	}
	return p.placeRows(op.rows)
}

// OrderMatters reports whether the order of the models of an invocation of
// compiler 16.0 may change a split: whether ops of equal rank and different
// models or bytes stand at the cut between cached and streamed. Copies of one file are
// taken for different models.
func OrderMatters(reserved int, loads []*Load) bool {
	var o Outlook
	g := Merge(loads)
	g.Look(reserved, reserved, 1<<len(loads)-1, &o)
	bytes := func(i int32) int64 { return loads[g.ops[i].model].Parts[g.ops[i].part].Bytes }
	for _, run := range o.Runs {
		for _, i := range run.Ops[1:] {
			if g.ops[i].model != g.ops[run.Ops[0]].model || bytes(i) != bytes(run.Ops[0]) {
				return true
			}
		}
	}
	return len(o.Open) > 0
}
