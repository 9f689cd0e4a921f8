package compile

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/tflite"
)

// stage is a run of nodes that is executed once for each part of its last output.
type stage struct {
	start, end int // nodes from start to before end
	first      int // the node that does not fit
	input      int // the tensor it reads; -1 if there are several or none
	output     int // the tensor that is cut
	splits     [ways]split
	fits       bool // some split fits
	cutter     *cutter
}

// split cuts a tensor into bands and strips.
type split struct{ ny, nx int }

func (s split) parts() int { return s.ny * s.nx }

// find looks for the stages. One that is too much work is the last.
func (f *flow) find() {
	need := f.needs()
	from := 0
	for j := 0; j < len(f.nodes); j++ {
		if need[j] <= narrowBytes {
			continue
		}
		s := &stage{first: j}
		s.start = f.startOf(j, from)
		s.end = f.endOf(s.start, j, need)
		if !f.pay(j - from + s.end - s.start + len(f.tensors)) {
			f.unknown = true
			return
		}
		f.border(s)
		if s.cutter = f.cutter(s); s.cutter == nil {
			continue
		}
		if s.cutter.search(); s.splits[byDoubling].parts() > 1 || !s.fits {
			f.stages = append(f.stages, s)
			from = s.end
		}
		if f.work < 0 {
			f.unknown = true
			return
		}
		j = s.end - 1
	}
}

// startOf goes back from a node that does not fit to where its stage starts:
// at a node such that all from there on read one tensor. It takes an earlier one while
// that tensor is smaller, and stops where it is larger. Other tensors may be live past the stage.
func (f *flow) startOf(j, from int) int {
	outside := map[int]bool{} // tensors that [s, j] reads and does not make
	start, least := from, int64(-1)
	var tile int64 // of the tensor that the start reads
	skip := -1     // the start that was taken before, if it stays
	for s := j; s >= from; s-- {
		n := &f.nodes[s]
		for _, t := range n.outs {
			delete(outside, t)
		}
		for _, in := range n.ins {
			outside[in.tensor] = true
		}
		if len(outside) != 1 || f.parted[s] {
			continue
		}
		var b *buffered
		for t := range outside {
			b = &f.tensors[t]
		}
		size := b.tile()
		if b.image { // with its true channels, three and not four
			size = product(int64(ceilDiv(b.h, 4)), int64(ceilDiv(b.w, 4)), int64(b.c))
		}
		if least >= 0 && size > least {
			break
		}
		if least >= 0 && size == least {
			continue
		}
		// An image that is smaller only for its channels is not read in parts by
		// an op without a window: a SUB in front of a VGG is outside of the stage.
		skip = -1
		if least >= 0 && start == s+1 && !n.windowed && n.product < 0 && tile <= b.tile() {
			skip = start
		}
		start, least, tile = s, size, b.tile()
	}
	if skip >= 0 {
		return skip
	}
	return start
}

// endOf finds where a stage ends: before a node that fits and where at most
// one tensor of the stage is read later, but not where the next such place has a smaller one.
func (f *flow) endOf(start, j int, need []int64) int {
	type place struct {
		at   int
		size int64
	}
	var last *place // a place that would do
	count, size := 0, int64(0)
	outside := map[int]bool{}
	for i := start; i < len(f.nodes); i++ {
		for _, in := range f.nodes[i].ins {
			b := &f.tensors[in.tensor]
			switch {
			case b.made < start:
				outside[in.tensor] = true
			case b.last() == i:
				size -= b.tile()
				if !b.leaves {
					count--
				}
			}
		}
		for _, t := range f.nodes[i].outs {
			if b := &f.tensors[t]; b.last() > i {
				size += b.tile()
				if !b.leaves {
					count++
				}
			}
		}
		e := i + 1
		// it has one input, and nothing in it needs more than a part
		if last != nil && (len(outside) > 1 || f.gathers(&f.nodes[i])) {
			return last.at
		}
		if i < j || count > 1 || f.parted[e] {
			continue
		}
		if last != nil && size >= last.size {
			return last.at
		}
		last = nil
		if e < len(f.nodes) && need[e] <= narrowBytes {
			last = &place{e, size}
		}
	}
	return len(f.nodes)
}

// times is how often a stage is executed: more than once, for it does not fit,
// also where no split that fits is found (one public file: DeepLab, whose global pool counts as a
// window, runs the last stage twice).
func (s *stage) times() int { return max(2, s.splits[byDoubling].parts()) }

// border finds what a stage reads and what of it is cut.
func (f *flow) border(s *stage) {
	s.input, s.output = -1, -1
	inputs := 0
	for i := s.start; i < s.end; i++ {
		for _, in := range f.nodes[i].ins {
			if f.tensors[in.tensor].made < s.start && in.tensor != s.input {
				s.input = in.tensor
				inputs++
			}
		}
		for _, t := range f.nodes[i].outs {
			if s.output < 0 || f.tensors[s.output].last() < s.end || f.tensors[t].last() >= s.end {
				s.output = t
			}
		}
	}
	if inputs != 1 {
		s.input = -1
	}
}

// span is rows, or columns, from a to before b.
type span struct{ a, b int }

func (s span) length() int { return max(0, s.b-s.a) }

// clip keeps a span inside so many rows, at least one of them.
func (s span) clip(n int) span {
	s.a = min(max(s.a, 0), max(0, n-1))
	s.b = min(max(s.b, s.a+1), n)
	return s
}

func (s span) hull(o span) span {
	switch {
	case s.length() == 0:
		return o
	case o.length() == 0:
		return s
	}
	return span{min(s.a, o.a), max(s.b, o.b)}
}

// part is the i-th of n parts of so many rows, as even as possible, larger ones first.
func part(i, n, rows int) span {
	size, more := rows/n, rows%n
	a := i*size + min(i, more)
	if i < more {
		size++
	}
	return span{a, a + size}
}

// back is what of an input a node reads for a span of its output, along axis 0 (y) or 1 (x).
func (f *flow) back(n *node, in *source, axis int, out span) span {
	from, to := in.h, n.h
	if axis == 1 {
		from, to = in.w, n.w
	}
	rows := f.tensors[in.tensor].h
	if axis == 1 {
		rows = f.tensors[in.tensor].w
	}
	if from != rows { // under another name: another order
		return span{0, rows}
	}
	op := &f.g.Ops[n.op]
	proportion := func() span {
		t := max(1, to)
		return span{int(product(int64(out.a), int64(from)) / int64(t)), int((product(int64(out.b), int64(from)) + int64(t) - 1) / int64(t))}.clip(rows)
	}
	switch op.Code {
	case tflite.Conv2D, tflite.DepthwiseConv2D, tflite.AveragePool2D, tflite.MaxPool2D:
		k, stride := n.window.kh, n.window.strideH
		if axis == 1 {
			k, stride = n.window.kw, n.window.strideW
		}
		a := out.a*stride - n.padding[axis]
		return span{a, (out.b-1)*stride - n.padding[axis] + (k-1)*n.dilation[axis] + 1}.clip(rows)
	case tflite.TransposeConv: // its halo was never seen
		return f.backTransposed(op, axis, out, to, rows)
	case tflite.ResizeBilinear, tflite.ResizeNearestNeighbor, tflite.StridedSlice, tflite.Slice, tflite.SpaceToDepth, tflite.DepthToSpace:
		return proportion()
	case tflite.Pad:
		before := [2]int{}
		before[0], before[1] = f.g.padBefore(op)
		return span{out.a - before[axis], out.b - before[axis]}.clip(rows)
	}
	if f.gathers(n) || from != to {
		return span{0, rows}
	}
	return out.clip(rows)
}

// gathers reports a node that reads all of its input for any part of its output.
func (f *flow) gathers(n *node) bool {
	switch f.g.Ops[n.op].Code {
	case tflite.FullyConnected, tflite.Transpose, tflite.Mean, tflite.Sum, tflite.ReduceMax, tflite.ReduceMin, tflite.BatchMatMul:
		return true
	}
	return n.h == 1 && n.w == 1
}

// backTransposed is back of a TRANSPOSE_CONV: all inputs whose windows meet the output.
func (f *flow) backTransposed(op *tflite.Op, axis int, out span, to, rows int) span {
	w := f.g.in(op, 1)
	if w == nil || len(w.Shape) != 4 {
		return span{0, rows}
	}
	k, stride := w.Shape[1], max(1, op.Options.StrideH)
	if axis == 1 {
		k, stride = w.Shape[2], max(1, op.Options.StrideW)
	}
	before := 0
	if op.Options.SamePadding {
		before = max(0, (rows-1)*stride+k-to) / 2
	}
	return span{ceilDiv(max(0, out.a+before-k+1), stride), (out.b-1+before)/stride + 1}.clip(rows)
}

// cutter computes what splits of a stage take.
type cutter struct {
	f       *flow
	s       *stage
	tensors []int // of the flow: what the stage makes and what it reads
	output  int   // number here of what is cut
	steps   []step
	past    int64 // bytes of the tensors that are live past the stage
	h, w    int   // of what is cut
	leaves  bool  // the output leaves the net
	axes    [2]map[int]*axis
	last    []int  // step that reads a tensor last; -1: none
	spans   []span // scratch memory, by tensor
	held    []bool
}

// step is a node of a stage, its tensors numbered as in the cutter.
type step struct {
	node    *node
	ins     []int
	outs    []int
	windows [][]int // by output: the steps of convolutions and pools that read it
	silu    int     // a SiLU begins here, which takes six or seven tiles; else 0
}

// axis is a side of a stage's maps, cut into parts.
type axis struct {
	kinds  []kind
	of     []int // the kind of each part
	whole  int   // positions per tile of all parts of the output
	before []int // of the parts of the output before this one
}

// kind is parts that have the same sizes.
type kind struct {
	last  int   // of these parts
	out   int   // rows (columns) of the part itself
	sizes []int // of each tensor of the stage; of the output more, where windows of the stage read it too
}

// cutter is nil for a stage without output.
func (f *flow) cutter(s *stage) *cutter {
	if s.output < 0 {
		return nil
	}
	c := &cutter{f: f, s: s, steps: make([]step, s.end-s.start), axes: [2]map[int]*axis{{}, {}}}
	local := map[int]int{}
	number := func(t int) int {
		l, ok := local[t]
		if !ok {
			l = len(c.tensors)
			local[t] = l
			c.tensors = append(c.tensors, t)
			c.last = append(c.last, -1)
		}
		return l
	}
	for i := range c.steps {
		x := &c.steps[i]
		x.node = &f.nodes[s.start+i]
		for _, in := range x.node.ins {
			l := number(in.tensor)
			x.ins = append(x.ins, l)
			c.last[l] = i
		}
		for _, t := range x.node.outs {
			x.outs = append(x.outs, number(t))
		}
	}
	for i := range c.steps {
		x := &c.steps[i]
		for _, t := range x.node.outs {
			x.windows = append(x.windows, c.windowsOf(t))
		}
		if p := x.node.product; p >= 0 && p < s.end && len(x.outs) > 0 {
			x.silu = 6
			for _, t := range f.nodes[p].outs {
				if len(c.windowsOf(t)) > 0 {
					x.silu = 7
				}
			}
		}
	}
	c.output = local[s.output]
	c.last[c.output] = len(c.steps)
	for t := range f.tensors {
		if b := &f.tensors[t]; b.last() >= s.end && (b.made >= 0 && b.made < s.start || b.made < 0 && b.first() < s.end) {
			c.past += b.tile() // the input too, if it is read later
		}
	}
	out := &f.tensors[s.output]
	c.h, c.w, c.leaves = out.h, out.w, out.leaves && out.last() < s.end
	c.spans, c.held = make([]span, len(c.tensors)), make([]bool, len(c.tensors))
	return c
}

// windowsOf lists the steps of convolutions and pools that read a tensor inside the stage.
func (c *cutter) windowsOf(t int) []int {
	var list []int
	for _, r := range c.f.tensors[t].readers {
		if r >= c.s.start && r < c.s.end && c.f.nodes[r].windowed {
			list = append(list, r-c.s.start)
		}
	}
	return list
}

// pay takes steps from what the region may have; ok is false if they are used up.
func (f *flow) pay(steps int) (ok bool) {
	f.work -= steps
	return f.work >= 0
}

// cut cuts one side into n parts; nil if that is too much work.
func (c *cutter) cut(side, n int) *axis {
	if a := c.axes[side][n]; a != nil {
		return a
	}
	f := c.f
	length := func(t int) int {
		if side == 1 {
			return f.tensors[t].w
		}
		return f.tensors[t].h
	}
	a := &axis{}
	kinds := map[string]int{}
	spans := c.spans
	var id []byte
	for p := range n {
		if n > 1 && !f.pay(len(c.tensors)) {
			return nil
		}
		clear(spans)
		for l, t := range c.tensors {
			// other outputs are cut alike
			if b := &f.tensors[t]; l == c.output || b.made >= c.s.start && (b.leaves || b.last() < 0) {
				spans[l] = part(p, n, length(t))
			}
		}
		for i := len(c.steps) - 1; i >= 0; i-- {
			x := &c.steps[i]
			var out span
			for _, l := range x.outs {
				out = out.hull(spans[l])
			}
			if out.length() == 0 {
				continue
			}
			for k, l := range x.ins {
				spans[l] = spans[l].hull(f.back(x.node, &x.node.ins[k], side, out))
			}
		}
		id = id[:0]
		for l := range spans {
			id = binary.LittleEndian.AppendUint32(id, uint32(spans[l].length()))
		}
		out := part(p, n, length(c.s.output)).length()
		id = binary.LittleEndian.AppendUint32(id, uint32(out))
		a.before = append(a.before, a.whole)
		a.whole += ceilDiv(out, 4)
		at, ok := kinds[string(id)]
		if !ok {
			at = len(a.kinds)
			kinds[string(id)] = at
			k := kind{out: out, sizes: make([]int, len(spans))}
			for l := range spans {
				k.sizes[l] = spans[l].length()
			}
			a.kinds = append(a.kinds, k)
		}
		a.kinds[at].last = p
		a.of = append(a.of, at)
	}
	c.axes[side][n] = a
	return a
}

// peak is the most bytes that a pass takes; ok is false if that is too much work
// to find out. Parts that have the same sizes are gone through once, for the last of them:
// what passes have made before it only grows.
func (c *cutter) peak(s split) (peak int64, ok bool) {
	ys, xs := c.cut(0, s.ny), c.cut(1, s.nx)
	if ys == nil || xs == nil {
		return 0, false
	}
	channels := c.f.tensors[c.s.output].c
	for y := range ys.kinds {
		for x := range xs.kinds {
			ky, kx := &ys.kinds[y], &xs.kinds[x]
			if s.parts() > 1 && !c.f.pay(len(c.steps)) {
				return 0, false
			}
			// what was made before: whole bands, unless they have left, and strips of this one
			done := tileOf(ceilDiv(ky.out, 4), xs.before[kx.last], channels)
			if !c.leaves {
				done += tileOf(ys.before[ky.last], xs.whole, channels)
			}
			peak = max(peak, c.pass(ky, kx)+done+c.past)
		}
	}
	return peak, true
}

// pass is the most bytes that any node takes in a pass, of this pass alone.
func (c *cutter) pass(ky, kx *kind) int64 {
	f := c.f
	tile := func(l int) int64 {
		return tileOf(ceilDiv(ky.sizes[l], 4), ceilDiv(kx.sizes[l], 4), f.tensors[c.tensors[l]].c)
	}
	grown := func(x *step, channels int) int64 {
		if len(x.outs) == 0 {
			return 0
		}
		l := x.outs[0]
		return tileOf(x.node.grown(0, ceilDiv(ky.sizes[l], 4)), x.node.grown(1, ceilDiv(kx.sizes[l], 4)), channels)
	}
	var peak, live int64 // live: what was made or read in the pass and is read later
	clear(c.held)
	for i := range c.steps {
		x := &c.steps[i]
		sum := live
		for k, l := range x.ins {
			b := tile(l)
			if c.held[l] {
				sum -= b
			}
			if x.node.windowed && !x.node.image {
				b = max(b, grown(x, x.node.ins[k].c))
			}
			sum += b
		}
		for k, l := range x.outs {
			b := tile(l)
			for _, w := range x.windows[k] {
				b = max(b, grown(&c.steps[w], f.tensors[c.tensors[l]].c))
			}
			sum += b
		}
		switch x.silu {
		case 6:
			sum = max(sum, siluBytes(tile(x.outs[0])))
		case 7:
			sum = max(sum, 7*tile(x.outs[0]))
		}
		peak = max(peak, sum)
		for _, l := range x.ins {
			switch later := c.last[l] > i; {
			case later && !c.held[l]:
				live += tile(l)
				c.held[l] = true
			case !later && c.held[l]:
				live -= tile(l)
				c.held[l] = false
			}
		}
		for _, l := range x.outs {
			if c.last[l] > i {
				live += tile(l)
				c.held[l] = true
			}
		}
	}
	return peak
}

// join is what it takes to join strips.
func (c *cutter) join(s split) int64 {
	if s.nx <= 1 {
		return 0
	}
	rows := c.h
	if c.leaves {
		rows = ceilDiv(c.h, s.ny)
	}
	return 2*tileOf(ceilDiv(rows, 4), ceilDiv(c.w, 4), c.f.tensors[c.s.output].c) + joinBytes
}

// way is a way to look for a split.
type way int

// How the compiler looks for it is not known. The first gives the splits of
// all nets of 16.0 that were seen; some toys and two nets of older releases have those of the others.
const (
	byDoubling way = iota // doubles the parts of the longer side, then takes the least number that does
	byOne                 // one part more at a time
	byFirst               // likewise, by the sides of the op that does not fit
	oneMore               // that of the first, with one strip more, if it has some parts
	ways
)

// manyParts are so many that a strip more was seen.
const manyParts = 8

// search looks for the splits of all ways.
func (c *cutter) search() {
	s := c.s
	s.splits[byDoubling], s.fits = c.split(byDoubling)
	for w := byOne; w < ways; w++ {
		s.splits[w] = s.splits[byDoubling]
	}
	if !s.fits { // anything up to what it takes in one piece
		s.splits[byOne] = split{1, 1}
		return
	}
	if s.splits[byDoubling].parts() == 1 {
		return
	}
	for _, w := range []way{byOne, byFirst} {
		if x, fits := c.split(w); fits {
			s.splits[w] = x
		}
	}
	if x := s.splits[byDoubling]; x.parts() >= manyParts && x.nx < c.w {
		s.splits[oneMore].nx++
	}
}

// split looks for a split that fits. If none does, fits is false, and it is the
// one that takes least.
func (c *cutter) split(w way) (found split, fits bool) {
	h, wd := c.h, c.w
	if w == byFirst {
		n := &c.f.nodes[c.s.first]
		h, wd = n.h, n.w
	}
	s := split{1, 1}
	was, found, least := s, s, int64(math.MaxInt64)
	for {
		peak, known := c.peak(s)
		if !known {
			return found, false
		}
		if takes := max(peak, c.join(s)); takes <= narrowBytes {
			if w == byDoubling {
				s = c.least(was, s)
			}
			return s, true
		} else if takes < least {
			found, least = s, takes
		}
		was = s
		side, length := &s.nx, c.w
		if peak <= narrowBytes || ceilDiv(wd, s.nx) < ceilDiv(h, s.ny) {
			side, length = &s.ny, c.h
		}
		n := *side + 1
		if w == byDoubling {
			n = min(2**side, length)
		}
		if *side = n; n > length || s == was || s.parts() > partsLimit {
			return found, false
		}
	}
}

// fit reports whether a split fits, as far as that can be found out.
func (c *cutter) fit(s split) bool {
	peak, known := c.peak(s)
	return known && max(peak, c.join(s)) <= narrowBytes
}

// least is the least number of parts of the side in which two splits differ
// that still fits: more than the one has, which does not, at most what the other has.
func (c *cutter) least(low, high split) split {
	side := func(s *split) *int {
		if low.ny != high.ny {
			return &s.ny
		}
		return &s.nx
	}
	a, b := *side(&low), *side(&high)
	for a+1 < b {
		try := high
		*side(&try) = (a + b) / 2
		if c.fit(try) {
			b = (a + b) / 2
		} else {
			a = (a + b) / 2
		}
	}
	*side(&high) = b
	return high
}

// splits are what each stage is split into.
type splits []split

// need is rows of every tile, and whether a held image is among them.
type need struct {
	rows  int
	holds bool
}

func (n *need) atLeast(rows int, holds bool) {
	if rows > n.rows || rows == n.rows && holds {
		n.rows, n.holds = rows, holds
	}
}

// need is the most rows that any op asks for when the stages are split like
// that. A global pool is not counted. few: partial sums of few positions count, as in 15.0.
func (f *flow) need(v Version, few bool, by splits) need {
	var most need
	few = few || v == V15_0
	k := 0
	for i := range f.nodes {
		for k < len(by) && i >= f.stages[k].end {
			k++
		}
		if k < len(by) && i >= f.stages[k].start {
			continue
		}
		most.atLeast(f.wholeNeed(i, v, few), false)
	}
	for k := range by {
		c := f.stages[k].cutter
		ys, xs := c.cut(0, by[k].ny), c.cut(1, by[k].nx)
		if ys == nil || xs == nil { // too much work
			ys, xs = c.cut(0, 1), c.cut(1, 1)
		}
		hold := 0
		if c.holds() && by[k].nx > 1 {
			hold = c.hold(ys)
			most.atLeast(hold, true)
		}
		for i := range c.steps {
			if rows := c.partNeed(i, ys, xs, v, few); rows > 0 {
				most.atLeast(rows+hold, hold > 0)
			}
		}
	}
	return most
}

// wholeNeed is what a node asks for that runs on whole tensors.
func (f *flow) wholeNeed(i int, v Version, few bool) int {
	n := &f.nodes[i]
	op := &f.g.Ops[n.op]
	if op.Code != tflite.MaxPool2D {
		return f.g.need(op, ceilDiv(n.h, 4), ceilDiv(n.w, 4), few, v)
	}
	before := 0
	if m := f.feeds(n); m >= 0 {
		before = f.g.need(&f.g.Ops[f.nodes[m].op], ceilDiv(f.nodes[m].h, 4), ceilDiv(f.nodes[m].w, 4), few, v)
	}
	h, w, c := dims(f.g.in(op, 0)) // with what a PAD adds
	return before + poolRows(extent(n.h, h, n.window.kh, n.window.strideH), extent(n.w, w, n.window.kw, n.window.strideW), c, v)
}

// feeds is the node that makes the input of a pool, with no PAD between; -1 if there is none.
func (f *flow) feeds(n *node) int {
	if len(n.ins) == 0 {
		return -1
	}
	made := f.tensors[n.ins[0].tensor].made
	if made < 0 || f.nodes[made].op != f.g.producer[f.g.Ops[n.op].Inputs[0]] {
		return -1
	}
	return made
}

// partNeed is what a step asks for, beside held rows, for the part that needs most.
func (c *cutter) partNeed(i int, ys, xs *axis, v Version, few bool) int {
	f, x := c.f, &c.steps[i]
	op := &f.g.Ops[x.node.op]
	if len(x.outs) == 0 {
		return 0
	}
	largest := func(a *axis, l int) int {
		size := 0
		for k := range a.kinds {
			size = max(size, a.kinds[k].sizes[l])
		}
		return ceilDiv(size, 4)
	}
	if op.Code != tflite.MaxPool2D {
		return f.g.need(op, largest(ys, x.outs[0]), largest(xs, x.outs[0]), few, v)
	}
	if len(x.ins) == 0 {
		return 0
	}
	in := x.ins[0]
	before := 0
	if m := f.feeds(x.node); m >= 0 {
		before = f.g.need(&f.g.Ops[f.nodes[m].op], largest(ys, in), largest(xs, in), few, v)
	}
	read := func(a *axis, k, stride int) int {
		positions := 0
		for i := range a.kinds {
			positions = max(positions, extent(a.kinds[i].sizes[x.outs[0]], a.kinds[i].sizes[in], k, stride))
		}
		return positions
	}
	w := x.node.window
	return before + poolRows(read(ys, w.kh, w.strideH), read(xs, w.kw, w.strideW), x.node.ins[0].c, v)
}

// holds reports a stage that reads the image.
func (c *cutter) holds() bool { return c.s.input >= 0 && c.f.tensors[c.s.input].image }

// hold is the rows of the largest band of the image, which stays in wide memory
// and is read back for each strip. Its channels fill words of four.
func (c *cutter) hold(bands *axis) int {
	in, l := &c.f.tensors[c.s.input], slices.Index(c.tensors, c.s.input)
	rows := 0
	for k := range bands.kinds {
		rows = max(rows, bands.kinds[k].sizes[l])
	}
	return clampRows((tileOf(ceilDiv(rows, 4), ceilDiv(in.w, 4), in.c) + RowBytes - 1) / RowBytes)
}

// globalPools is the most rows that a global pool asks for, up to 15.0.
func (f *flow) globalPools(v Version) int {
	need := 0
	for i := range f.nodes {
		if op := &f.g.Ops[f.nodes[i].op]; v <= V15_0 && f.g.globalPool(op) {
			need = max(need, f.g.globalPoolNeed(op, v))
		}
	}
	return need
}

// How far R may be off beside what other splits make of it: one row, and up
// to three where the largest need holds an image, from 14.1 on.
const (
	passesSpread = 1
	holdSpread   = 3
	poolSpread   = 2
)

// inPasses sets the rows and their range of a net that runs in passes. rows
// makes R of a need.
func (r *Reserve) inPasses(v Version, flows []*flow, rows func(need int) int) {
	few := v == V14_1 // which counts few positions as 15.0 does, here
	most := func(w way) need {
		var n need
		for _, f := range flows {
			by := make(splits, len(f.stages))
			for k := range f.stages {
				by[k] = f.stages[k].splits[w]
			}
			x := f.need(v, few, by)
			if len(f.stages) == 0 {
				x.atLeast(f.globalPools(v), false)
			}
			n.atLeast(x.rows, x.holds)
		}
		return n
	}
	central := most(byDoubling)
	r.Rows = rows(central.rows)
	r.Low, r.High = r.Rows, r.Rows
	for w := byOne; w < ways; w++ {
		other := rows(most(w).rows)
		r.Low, r.High = min(r.Low, other), max(r.High, other)
	}
	if r.Low != r.High {
		r.Certainty = report.Heuristic
	}
	r.Low -= passesSpread
	if r.High += passesSpread; central.holds && v >= V14_1 {
		r.High += holdSpread - passesSpread
	}
	for _, f := range flows {
		for _, s := range f.stages {
			if !s.fits {
				r.Certainty = report.Heuristic
			}
		}
		// whether a global pool counts in passes is not known
		if pool := rows(f.globalPools(v)) + poolSpread; len(f.stages) > 0 && pool > r.High {
			r.High, r.Certainty = pool, report.Heuristic
		}
		if f.unknown {
			r.Rows = math.MaxInt32 // beyond what means something
		}
	}
}
