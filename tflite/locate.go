package tflite

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// Want is a run of parameter bytes that an op is expected to have in a
// compiled file. An op may have several, or one of 0 bytes.
type Want struct {
	Op       int // index in the source's Ops
	Bytes    int64
	Streamed bool // never cached
}

// Piece is a wanted run and where it was found.
type Piece struct {
	Want
	Found     bool  // a run of 0 bytes is always found
	Package   int   // index in Compiled.Packages
	Cached    bool  // among the parameters of the caching executable, else of the main one
	Offset    int64 // in those parameters
	Bytes     int64 // found; other than Want.Bytes if the expectation is wrong
	ByContent bool  // the op's weights stand there; otherwise the place follows from order and sizes
}

// Stray is a run of parameters that no expected piece explains.
type Stray struct {
	Package  int
	Cached   bool
	Offset   int64
	Bytes    int64
	Suspects []int // ops that it may belong to, in order
}

// Located is where the parameters of a source's ops lie in a compiled file.
type Located struct {
	Pieces []Piece // one for each Want
	Strays []Stray
	Wrong  []int // ops whose expectation is wrong, or may be; ascending, empty if all is explained
}

// Locate finds the parameters of a source's ops in its compiled form. Parts
// of ops follow each other in execution order, which where branches run side
// by side is not quite the source's, each wholly in the cached or wholly in
// the streamed parameters. Weights of convolutions and fully connected layers
// are recognised by their values, which some releases of the compiler change
// by one here and there; what lies between them is assigned by size. The
// wants are in the source's order and name ops of src.
func (c *Compiled) Locate(src *Source, wants []Want) *Located {
	l := &locator{blobs: c.blobs(), pieces: make([]Piece, len(wants)), in: make([]int, len(wants)), budget: maxCompared}
	for i, w := range wants {
		l.pieces[i].Want = w
		l.in[i] = -1
		l.pieces[i].Found = w.Bytes == 0
	}
	for i, w := range wants {
		if w.Bytes > 0 {
			if src.Recognisable(w.Op) {
				l.anchor(i, newWeights(src, w.Op))
			}
		}
	}
	l.fill()
	return l.result()
}

// blob is the parameters of an executable.
type blob struct {
	pkg    int
	cached bool
	data   []byte
	next   int64 // behind the piece found last
	pieces []int // those found in it, by offset
}

func (c *Compiled) blobs() []blob {
	var blobs []blob
	for i := range c.Packages {
		p := &c.Packages[i]
		if caching := p.Caching(); caching != nil && len(caching.Parameters) > 0 {
			blobs = append(blobs, blob{pkg: i, cached: true, data: caching.Parameters})
		}
		if main := p.Main(); len(main.Parameters) > 0 {
			blobs = append(blobs, blob{pkg: i, data: main.Parameters})
		}
	}
	return blobs
}

// Bounds of the work on files that fit nothing.
const (
	maxCompared = 1 << 30 // weights
	maxTried    = 1 << 20 // assignments by size
)

type locator struct {
	blobs  []blob
	pieces []Piece
	in     []int // number of the blob that each piece is in, -1 if none
	budget int   // weights that may still be compared
}

// put records the place of a piece.
func (l *locator) put(piece, b int, offset, bytes int64, byContent bool) {
	p, from := &l.pieces[piece], &l.blobs[b]
	p.Found, p.Package, p.Cached, p.Offset, p.Bytes, p.ByContent = true, from.pkg, from.cached, offset, bytes, byContent
	l.in[piece] = b
	at, _ := slices.BinarySearchFunc(from.pieces, offset, func(other int, offset int64) int { return cmp.Compare(l.pieces[other].Offset, offset) })
	from.pieces = slices.Insert(from.pieces, at, piece)
	from.next = offset + bytes
}

// free reports whether no piece has been found in a range of a blob.
func (l *locator) free(b int, offset, bytes int64) bool {
	from := &l.blobs[b]
	at, found := slices.BinarySearchFunc(from.pieces, offset, func(other int, offset int64) int { return cmp.Compare(l.pieces[other].Offset, offset) })
	if found || offset+bytes > int64(len(from.data)) {
		return false
	}
	if at < len(from.pieces) && l.pieces[from.pieces[at]].Offset < offset+bytes {
		return false
	}
	return at == 0 || l.pieces[from.pieces[at-1]].Offset+l.pieces[from.pieces[at-1]].Bytes <= offset
}

// anchor finds a piece by its weights: behind the piece found last if they
// stand there, else at the first place further on, else at the first one before.
func (l *locator) anchor(piece int, w *weights) {
	want := &l.pieces[piece].Want
	expected := w.overheads(want.Bytes)
	try := func(b int, offset int64, overheads []int) bool {
		if want.Streamed && l.blobs[b].cached {
			return false
		}
		for _, n := range overheads {
			if bytes := w.bytes(n); w.matches(l.blobs[b].data, offset, n, &l.budget) && l.free(b, offset, bytes) {
				l.put(piece, b, offset, bytes, true)
				return true
			}
		}
		return false
	}
	for _, overheads := range [...][]int{expected, {0, 1, 2, mostOverhead}} {
		for b := range l.blobs {
			if try(b, l.blobs[b].next, overheads) {
				return
			}
		}
	}
	// 64 divides the sizes of all parts but those of large constants.
	for _, step := range [...]int64{64, 16} {
		for b := range l.blobs {
			for at := l.blobs[b].next; at < int64(len(l.blobs[b].data)); at += step {
				if try(b, at, expected) {
					return
				}
			}
		}
		for b := range l.blobs {
			for at := int64(0); at < l.blobs[b].next; at += step {
				if try(b, at, expected) {
					return
				}
			}
		}
	}
}

// gap is room in a blob between two pieces, or a piece and an end.
type gap struct {
	blob          int
	offset, bytes int64
	used          int64
	after, before int // pieces; -1 and the number of pieces at the ends
}

// gaps lists the room that no piece takes.
func (l *locator) gaps() []gap {
	var gaps []gap
	for b := range l.blobs {
		g := gap{blob: b, after: -1}
		for _, i := range append(slices.Clone(l.blobs[b].pieces), len(l.pieces)) {
			end := int64(len(l.blobs[b].data))
			if i < len(l.pieces) {
				end = l.pieces[i].Offset
			}
			if g.before, g.bytes = i, end-g.offset; g.bytes > 0 {
				gaps = append(gaps, g)
			}
			if i < len(l.pieces) {
				g = gap{blob: b, offset: end + l.pieces[i].Bytes, after: i}
			}
		}
	}
	return gaps
}

// fill assigns the pieces that were not recognised to the gaps between the
// others. If no assignment explains every byte they take what fits first.
func (l *locator) fill() {
	f := &filler{locator: l, gaps: l.gaps(), dead: map[string]bool{}, left: maxTried}
	for i := range l.pieces {
		if !l.pieces[i].Found {
			f.pending = append(f.pending, i)
		}
	}
	f.choice = make([]int, len(f.pending))
	if !f.try(0) {
		f.greedy()
	}
	for k, i := range f.pending {
		if n := f.choice[k] - 1; n >= 0 {
			g := &f.gaps[n]
			l.put(i, g.blob, g.offset, l.pieces[i].Want.Bytes, false)
			g.offset += l.pieces[i].Want.Bytes
		}
	}
}

type filler struct {
	*locator
	gaps    []gap
	pending []int // pieces, in order
	choice  []int // number of the gap of each of them, plus one
	dead    map[string]bool
	left    int // tries
}

// fits reports whether pending piece k may come next in a gap: there is room,
// and it stands between its neighbours in the source too, unless these are out of order themselves.
func (f *filler) fits(k int, g *gap) bool {
	p := &f.pieces[f.pending[k]]
	return p.Want.Bytes <= g.bytes-g.used && !(p.Streamed && f.blobs[g.blob].cached) &&
		(g.after > g.before || g.after < f.pending[k] && f.pending[k] < g.before)
}

// try assigns the pending pieces from k on and reports whether that explains all bytes.
func (f *filler) try(k int) bool {
	if k == len(f.pending) {
		return !slices.ContainsFunc(f.gaps, func(g gap) bool { return g.used < g.bytes })
	}
	key := f.key(k)
	if f.left -= len(f.gaps) + 1; f.left < 0 || f.dead[key] {
		return false
	}
	bytes := f.pieces[f.pending[k]].Want.Bytes
	for n := range f.gaps {
		if g := &f.gaps[n]; f.fits(k, g) {
			f.choice[k] = n + 1
			g.used += bytes
			if f.try(k + 1) {
				return true
			}
			g.used -= bytes
			f.choice[k] = 0
		}
	}
	f.dead[key] = true
	return false
}

// key identifies what is left to do from a pending piece on.
func (f *filler) key(k int) string {
	key := binary.AppendUvarint(nil, uint64(k))
	for i := range f.gaps {
		key = binary.AppendUvarint(key, uint64(f.gaps[i].used))
	}
	return string(key)
}

// greedy puts each pending piece into the first gap that it fits.
func (f *filler) greedy() {
	f.left = maxTried
	for k := range f.pending {
		for n := range f.gaps {
			if f.left--; f.left < 0 {
				return
			}
			if f.fits(k, &f.gaps[n]) {
				f.choice[k] = n + 1
				f.gaps[n].used += f.pieces[f.pending[k]].Want.Bytes
				break
			}
		}
	}
}

// result lists what is not explained and whose fault it may be.
func (l *locator) result() *Located {
	r := &Located{Pieces: l.pieces}
	for i := range l.pieces {
		if p := &l.pieces[i]; p.Bytes != p.Want.Bytes {
			r.Wrong = append(r.Wrong, p.Op)
		}
	}
	for _, g := range l.gaps() {
		from := &l.blobs[g.blob]
		s := Stray{Package: from.pkg, Cached: from.cached, Offset: g.offset, Bytes: g.bytes, Suspects: l.suspects(g.after, g.before)}
		r.Strays = append(r.Strays, s)
		r.Wrong = append(r.Wrong, s.Suspects...)
	}
	slices.Sort(r.Wrong)
	r.Wrong = slices.Compact(r.Wrong)
	return r
}

// suspects are the ops that may own bytes between two pieces of a blob: those
// in between that were expected and not found; else the one before if its
// place follows from its size alone; else those of which nothing was expected;
// else the one before, which then is longer than expected.
func (l *locator) suspects(after, before int) []int {
	var missing, guessed, empty []int
	for i := after + 1; i < before; i++ {
		switch p := &l.pieces[i]; {
		case !p.Found:
			missing = append(missing, p.Op)
		case p.Want.Bytes == 0:
			empty = append(empty, p.Op)
		}
	}
	if after >= 0 && !l.pieces[after].ByContent {
		guessed = []int{l.pieces[after].Op}
	}
	for _, ops := range [...][]int{missing, guessed, empty} {
		if ops != nil {
			return slices.Compact(ops)
		}
	}
	if after >= 0 {
		return []int{l.pieces[after].Op}
	}
	return nil
}

// weights are an op's weights and how the compiler packs them: output
// channels in groups of 64 lanes; of each group first the overhead words (bias
// and scales), then for each tap and each four input channels a word of four
// weights per lane. Depthwise weights are packed four channels at a time, each
// tap as a matrix of which only the diagonal is used.
type weights struct {
	data      []byte
	flip      byte // int8 values have their sign bit inverted
	zo        int  // output channels; of a depthwise op all channels
	taps, zi  int
	depthwise bool
	narrow    bool // four lanes instead of sixteen
}

// newWeights is nil for an op whose packing is not known.
func newWeights(src *Source, op int) *weights {
	o := &src.Ops[op]
	if len(o.Inputs) < 2 || o.Inputs[1] < 0 || len(o.Outputs) < 1 {
		return nil
	}
	t := &src.Tensors[o.Inputs[1]]
	w := &weights{data: t.Data}
	switch t.Type {
	case Int8:
		w.flip = 0x80
	case Uint8:
	default:
		return nil
	}
	switch s := t.Shape; {
	case o.Code == FullyConnected && len(s) == 2:
		w.zo, w.taps, w.zi = s[0], 1, s[1]
	case (o.Code == Conv2D || o.Code == TransposeConv) && len(s) == 4:
		w.zo, w.taps, w.zi = s[0], s[1]*s[2], s[3]
		out := &src.Tensors[o.Outputs[0]]
		w.narrow = w.zo == 1 || w.zo <= 4 && (out.Dim(2) != 1 || out.Dim(3) != 1)
	case o.Code == DepthwiseConv2D && len(s) == 4:
		w.zo, w.taps, w.zi = s[3], s[1]*s[2], 1
		// With one input channel it is an ordinary convolution whose weights are stored taps first.
		if o.Inputs[0] < 0 || src.Tensors[o.Inputs[0]].Dim(1) == 1 {
			return nil
		}
		w.depthwise = true
	default:
		return nil
	}
	if int64(len(w.data)) != int64(w.zo)*int64(w.taps)*int64(w.zi) || len(w.data) == 0 {
		return nil
	}
	return w
}

func ceil(a, b int) int { return (a + b - 1) / b }

// words is the number of words of a lane that hold weights.
func (w *weights) words() int { return w.taps * ceil(w.zi, 4) }

// lanes is the number of lanes of a group, and groups how many there are.
func (w *weights) lanes() (lanes, groups int) {
	switch {
	case w.depthwise:
		return 4, ceil(w.zo, 4)
	case w.narrow:
		return 4, 1
	case w.zo <= 64:
		return ceil(w.zo, 16) * 16, 1
	}
	return 64, ceil(w.zo, 64)
}

// bytes is the packed size with a number of overhead words.
func (w *weights) bytes(overhead int) int64 {
	lanes, groups := w.lanes()
	n := int64(lanes) * 4 * int64(groups) * int64(w.words()+overhead)
	return (n + 63) / 64 * 64
}

// overheads are the numbers of overhead words that give a packed size, {1} if none does.
func (w *weights) overheads(bytes int64) []int {
	var list []int
	for n := range mostOverhead + 1 {
		if w.bytes(n) == bytes {
			list = append(list, n)
		}
	}
	if list == nil {
		return []int{1}
	}
	return list
}

// mostOverhead is a bias, a scale and a zero point.
const mostOverhead = 3

// telling reports whether finding these weights somewhere is no coincidence:
// there are many, and they differ.
func (w *weights) telling() bool {
	if len(w.data) < 64 {
		return false
	}
	distinct := 0
	var seen [256]bool
	for _, b := range w.data[:min(len(w.data), 1024)] {
		if !seen[b] {
			seen[b] = true
			distinct++
		}
	}
	return distinct >= 8
}

// Recognisable reports whether an op has weights that [Compiled.Locate] finds
// by their values wherever they stand.
func (s *Source) Recognisable(op int) bool {
	w := newWeights(s, op)
	return w != nil && w.telling()
}

// matches reports whether the weights stand in the data at an offset, each with a tolerance of one.
func (w *weights) matches(data []byte, at int64, overhead int, budget *int) bool {
	size := w.bytes(overhead)
	if at < 0 || *budget < 0 || at+size > int64(len(data)) {
		return false
	}
	data = data[at : at+size]
	lanes, groups := w.lanes()
	word := lanes * 4
	group := word * (w.words() + overhead)
	near := func(at, weight int) bool {
		*budget--
		d := int(data[at]) - int(w.data[weight]^w.flip)
		return d >= -1 && d <= 1
	}
	quarters := ceil(w.zi, 4)
	for g := range groups {
		base := g*group + overhead*word
		if w.depthwise {
			for tap := range w.taps {
				for c := 0; c < 4 && g*4+c < w.zo; c++ {
					if !near(base+tap*word+c*5, tap*w.zo+g*4+c) {
						return false
					}
				}
			}
			continue
		}
		for lane := 0; lane < lanes && g*lanes+lane < w.zo; lane++ {
			from := (g*lanes + lane) * w.taps * w.zi
			for tap := range w.taps {
				for z := range w.zi {
					if !near(base+(tap*quarters+z/4)*word+lane*4+z%4, from+tap*w.zi+z) {
						return false
					}
				}
			}
		}
	}
	return true
}
