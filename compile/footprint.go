package compile

import (
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/tflite"
)

// footprint is what one mapped op occupies: parts that may be cached, and
// bytes that are streamed at every inference whatever happens.
type footprint struct {
	parts     []Part
	streamed  int64
	certainty report.Certainty // of there being no more than that
}

// lanes is the number of output lanes that zo output channels are padded to.
func lanes(zo int) int64 {
	if zo <= 64 {
		return roundUp(int64(zo), 16)
	}
	return roundUp(int64(zo), 64)
}

// matrix is the footprint of zo outputs, each of k4 words of four inputs and
// ov overhead words (bias, scale, zero point).
func matrix(zo, k4, ov int) Part {
	return Part{
		Bytes: product(lanes(zo), 4, int64(k4+ov)),
		Rows:  clampRows(product(int64(ceilDiv(zo, 64)), int64(k4+ov))),
	}
}

// absurdSize is beyond any file; products of the sizes of absurd tensors stop there.
const absurdSize = 1 << 40

// product multiplies sizes without overflow.
func product(sizes ...int64) int64 {
	p := int64(1)
	for _, s := range sizes {
		if s > 0 && p > absurdSize/s {
			return absurdSize
		}
		p *= s
	}
	return p
}

// words is the number of four-input words of a window over zi channels.
func words(h, w, zi int) int {
	return int(min(product(int64(h), int64(w), int64(ceilDiv(zi, 4))), 1<<30))
}

// clampRows keeps row counts of absurd ops in the range the allocator counts
// in; more rows than any pool has are all the same to it.
func clampRows(rows int64) int { return int(min(rows, 1<<28)) }

// packed is the footprint of bytes that are stored without lanes.
func packed(bytes int64) Part {
	return Part{Bytes: bytes, Rows: clampRows((bytes + RowBytes - 1) / RowBytes)}
}

// partition marks a part as cut into groups of 64 lanes, each whole on one tile.
func (p Part) partition(zo int) Part {
	if zo <= 0 {
		return p
	}
	p.Groups = ceilDiv(zo, 64)
	p.GroupRows = p.Rows / p.Groups
	return p
}

// overhead is the number of words in front of the weights: the bias, and
// scale and zero point when the weights have several scales. The word of a
// missing bias is left out, in 16.0 also that of a bias which is all zero.
func overhead(weights, bias *tflite.Tensor, v Version) int {
	ov := 1
	if len(weights.Scales) > 1 {
		ov = 3
	}
	if bias == nil || v == V16_0 && bias.Data != nil && allBytes(bias.Data, 0) {
		ov--
	}
	return ov
}

// pointOutput reports an output of one position: such an op stays where it is
// cached instead of being broadcast.
func pointOutput(out *tflite.Tensor) bool {
	y, x, _ := dims(out)
	return y == 1 && x == 1
}

// taps is what a convolution's window looks like once the compiler has
// dropped the rows and columns that only ever meet padding.
type taps struct {
	h, w    int
	trimmed bool
}

func (g *graph) taps(op *tflite.Op, kh, kw int, v Version) taps {
	in, out := g.in(op, 0), g.out(op)
	if op.Code == tflite.TransposeConv || !op.Options.SamePadding {
		return taps{h: kh, w: kw}
	}
	hi, wi, _ := dims(in)
	ho, wo, _ := dims(out)
	h := liveTaps(kh, op.Options.StrideH, op.Options.DilationH, hi, ho, v)
	w := liveTaps(kw, op.Options.StrideW, op.Options.DilationW, wi, wo, v)
	return taps{h, w, h != kh || w != kw}
}

// liveTaps counts the taps of one axis that meet at least one real input.
// Up to 2.1 windows with a stride were seen to keep theirs.
func liveTaps(k, stride, dilation, in, out int, v Version) int {
	stride, dilation = max(1, stride), max(1, dilation)
	const hugeKernel = 1 << 12 // no need to count taps one by one there
	if k <= 1 || k > hugeKernel || v <= V2_1 && stride > 1 || in > k*dilation {
		return k
	}
	before := max(0, (out-1)*stride+(k-1)*dilation+1-in) / 2
	live := 0
	for t := range k {
		// the first output position at which this tap is not before the input
		o := max(0, ceilDiv(before-t*dilation, stride))
		if at := o*stride - before + t*dilation; o < out && at >= 0 && at < in {
			live++
		}
	}
	return max(live, 1)
}

// footprint applies the size rule of a mapped op (its parts carry no op number yet).
func (g *graph) footprint(op *tflite.Op, s Settings, mapped []bool, passes int) footprint {
	switch op.Code {
	case tflite.Conv2D, tflite.TransposeConv:
		return g.convolution(op, s.Version, mapped)
	case tflite.DepthwiseConv2D:
		return g.depthwise(op, s.Version)
	case tflite.FullyConnected:
		return g.fullyConnected(op, s.Version, mapped)
	case tflite.Pad:
		return g.pad(op)
	case tflite.Softmax:
		return softmax(g.out(op), s)
	case tflite.Reshape:
		return g.reshape(op, mapped)
	case tflite.Add, tflite.Mul, tflite.Sub, tflite.PRelu, tflite.Maximum, tflite.Minimum:
		return g.elementwise(op, passes)
	case tflite.AveragePool2D, tflite.MaxPool2D, tflite.Concatenation, tflite.Logistic, tflite.Tanh,
		tflite.Relu, tflite.Relu6, tflite.ReluN1To1, tflite.Mean, tflite.ResizeBilinear, tflite.ResizeNearestNeighbor,
		tflite.Split, tflite.SplitV, tflite.StridedSlice, tflite.Slice, tflite.Squeeze, tflite.L2Normalization,
		tflite.SpaceToDepth, tflite.Quantize, tflite.Pack, tflite.ExpandDims, tflite.Sum, tflite.ReduceMax, tflite.ReduceMin,
		tflite.Transpose:
		return footprint{}
	default:
		return g.guess(op)
	}
}

func (g *graph) convolution(op *tflite.Op, v Version, mapped []bool) footprint {
	out := g.out(op)
	certainty := report.Exact
	bias := g.in(op, 2)
	if op.Code == tflite.TransposeConv {
		bias = g.in(op, 3)
		certainty = report.Heuristic
	}
	w := g.in(op, 1)
	if len(w.Shape) != 4 {
		return g.guess(op)
	}
	zo, zi := w.Shape[0], w.Shape[3]
	t := g.taps(op, w.Shape[1], w.Shape[2], v)
	if t.trimmed || op.Code == tflite.Conv2D && zi != g.in(op, 0).Dim(1) { // the latter in groups, never seen
		certainty = report.Heuristic
	}
	ov := overhead(w, bias, v)
	k4 := words(t.h, t.w, zi)
	if split, known := g.headSplit(op, mapped); split > 0 {
		zo = zo / split * int(roundUp(int64(split), 4))
		if !known {
			certainty = certainty.Weaker(report.Heuristic)
		}
	}
	part := matrix(zo, k4, ov)
	part.Class = 1
	switch point := pointOutput(out); {
	case zo == 1 || zo <= 4 && !point:
		part.Bytes = roundUp(16*int64(k4+ov), 64)
		part.Rows = ceilDiv(k4+ov, 4)
		if point {
			part = part.partition(1)
			part.Class = 0
		}
	case point:
		part = part.partition(zo)
		part.Class = 0
	}
	part.Certainty = certainty
	return footprint{parts: []Part{part}}
}

// headSplit is the new last dimension c when the convolution's output goes
// into a RESHAPE that cuts its channels into pieces of c which are not a
// multiple of four: each piece is then padded. 0 otherwise. known is false for the
// four-dimensional heads whose further bytes have no rule.
func (g *graph) headSplit(op *tflite.Op, mapped []bool) (c int, known bool) {
	out := g.out(op)
	for _, r := range g.readers[op.Outputs[0]] {
		if g.Ops[r].Code != tflite.Reshape || !mapped[r] {
			continue
		}
		to := g.out(&g.Ops[r])
		if c, zo := to.Dim(1), out.Dim(1); c > 0 && c < zo && c%4 != 0 && zo%c == 0 {
			return c, !(len(to.Shape) == 4 && to.Dim(2) > 1)
		}
	}
	return 0, true
}

func (g *graph) depthwise(op *tflite.Op, v Version) footprint {
	w := g.in(op, 1)
	zi, c := g.in(op, 0).Dim(1), w.Shape[3]
	ov := overhead(w, g.in(op, 2), v)
	t := g.taps(op, w.Shape[1], w.Shape[2], v)
	if zi == 1 && c > 1 {
		part := matrix(c, words(t.h, t.w, 1), ov)
		part.Class = 1
		if pointOutput(g.out(op)) {
			part = part.partition(c)
			part.Class = 0
		}
		return footprint{parts: []Part{part.sure(!t.trimmed)}}
	}
	part := packed(roundUp(product(int64(words(t.h, t.w, 1)+ov), 4, roundUp(int64(c), 4)), 64))
	if zi == 1 {
		part.Class = 1
	}
	return footprint{parts: []Part{part.sure(!t.trimmed && zi == c)}}
}

// sure marks a part heuristic unless ok.
func (p Part) sure(ok bool) Part {
	if !ok {
		p.Certainty = p.Certainty.Weaker(report.Heuristic)
	}
	return p
}

func (g *graph) fullyConnected(op *tflite.Op, v Version, mapped []bool) footprint {
	w := g.in(op, 1)
	if !w.Constant() {
		return footprint{}
	}
	zo, zi := w.Shape[0], w.Shape[1]
	k4 := ceilDiv(zi, 4)
	sure := true
	if t, flat := g.flattened(op, mapped); flat && t.Elements() == int64(zi) {
		y, x, c := dims(t)
		k4 = words(y, x, c)
		sure = false
	} else if scattered(g.in(op, 0)) && zi == int(g.in(op, 0).Elements()) {
		sure = false // flattens its input itself, which was never seen
	}
	return footprint{parts: []Part{matrix(zo, k4, overhead(w, g.in(op, 2), v)).partition(zo).sure(sure)}}
}

// scattered reports an image whose channels are no multiple of four: its
// elements do not lie side by side on the chip.
func scattered(t *tflite.Tensor) bool {
	y, x, c := dims(t)
	return c%4 != 0 && y*x > 1
}

// flattened finds the image that a mapped RESHAPE turned into this op's input
// vector, if the elements of that image are scattered.
func (g *graph) flattened(op *tflite.Op, mapped []bool) (*tflite.Tensor, bool) {
	p := g.producer[op.Inputs[0]]
	if p < 0 || g.Ops[p].Code != tflite.Reshape || !mapped[p] {
		return nil, false
	}
	in := g.in(&g.Ops[p], 0)
	return in, flattens(in, &g.Tensors[op.Inputs[0]])
}

func flattens(in, out *tflite.Tensor) bool {
	return scattered(in) && int64(out.Dim(1)) == in.Elements()
}

// squareMaps are the bytes of a RESHAPE behind a TRANSPOSE, [1,C,W,W] to
// [1,C,W*W] as in YOLO heads, by W: whatever C is. The rule behind them is not known.
var squareMaps = map[int]int64{10: 18_496, 20: 12_864}

// reshape costs nothing but in two places. Where it flattens an image whose
// channels are no multiple of four in front of a FULLY_CONNECTED it is a
// banded matrix of its own, known from one file only. And where it flattens
// the maps that a TRANSPOSE has put in front.
func (g *graph) reshape(op *tflite.Op, mapped []bool) footprint {
	in, out := g.in(op, 0), g.out(op)
	if p := g.producer[op.Inputs[0]]; p >= 0 && mapped[p] && g.Ops[p].Code == tflite.Transpose {
		y, x, z := dims(in)
		if x == z && x > 1 && out.Dim(1) == x*z && out.Dim(2) == y {
			bytes, known := squareMaps[x]
			if !known {
				return footprint{certainty: report.Heuristic}
			}
			part := packed(bytes)
			part.Class = 1
			return footprint{parts: []Part{part.sure(false)}}
		}
	}
	if !flattens(in, out) {
		return footprint{}
	}
	for _, r := range g.readers[op.Outputs[0]] {
		if g.Ops[r].Code == tflite.FullyConnected && mapped[r] {
			n := in.Elements()
			part := Part{Class: 1}
			part.Rows = clampRows(product((n+63)/64, n/32+3))
			part.Bytes = int64(part.Rows) * RowBytes
			return footprint{parts: []Part{part.sure(false)}}
		}
	}
	return footprint{}
}

// pad of channels is an identity convolution; in y and x it costs nothing.
func (g *graph) pad(op *tflite.Op) footprint {
	_, _, ci := dims(g.in(op, 0))
	_, _, co := dims(g.out(op))
	if ci == co {
		return footprint{}
	}
	part := matrix(co, ceilDiv(ci, 4), 1)
	part.Class = 1
	return footprint{parts: []Part{part}}
}

// softmax tables exist where the number of classes is no multiple of four.
// Their number was fitted on files of 15.0 and 16.0.
func softmax(out *tflite.Tensor, s Settings) footprint {
	n := out.Dim(1)
	if n%4 == 0 {
		return footprint{}
	}
	tables := 0
	switch {
	case s.Version == V16_0:
		tables = 3
	case s.Version == V15_0 && out.Type == tflite.Int8:
		tables = 2
	}
	k := ceilDiv(n, 4)
	var f footprint
	for range tables {
		f.parts = append(f.parts, Part{Bytes: 64 * int64(k), Rows: clampRows(int64(k)), Groups: 1, GroupRows: clampRows(int64(k)), Class: 1})
	}
	if s.Version == V16_0 && s.minRuntime() <= 12 {
		f.parts = append(f.parts, Part{Bytes: 64, Rows: 1, Groups: 1, GroupRows: 1, Class: 1})
	}
	return f
}

// elementwise streams constant operands at every inference. One over the
// channels is stored once for each pass (a super-resolution net: 14 and 25 copies), and their
// number is a guess.
func (g *graph) elementwise(op *tflite.Op, passes int) footprint {
	var f footprint
	out := g.out(op)
	for n := range op.Inputs {
		t := g.in(op, n)
		if t == nil || !t.Constant() || t.Elements() <= 1 {
			continue
		}
		y, _, z := dims(out)
		switch live := liveDims(t); {
		case live == 1: // a vector over the channels
			bytes := roundUp(16*int64(t.Dim(1)), 64)
			if op.Code != tflite.PRelu && pointOutput(out) {
				f.certainty = report.Heuristic // seen once, in four dimensions
				if len(out.Shape) == 4 {
					part := packed(bytes)
					part.Class = 1
					f.parts = append(f.parts, part)
					continue
				}
			}
			if f.streamed += product(bytes, int64(passes)); passes > 1 {
				f.certainty = report.Heuristic
			}
		case live == 2 && (len(t.Shape) >= 4 || y > 1):
			// varies only over the two innermost dimensions, however many are written: not streamed
			if y == 1 {
				f.certainty = report.Heuristic
			}
		default:
			size := out.Elements()
			if z > 1 {
				size = size / int64(z) * roundUp(int64(z), 4)
			}
			f.streamed += min(size, absurdSize)
		}
	}
	return f
}

// liveDims is the number of innermost dimensions up to the outermost one over 1.
func liveDims(t *tflite.Tensor) int {
	for i := len(t.Shape); i > 1; i-- {
		if t.Dim(i) > 1 {
			return i
		}
	}
	return 1
}

// guess counts every constant 8-bit matrix of an op without a rule as a FULLY_CONNECTED.
func (g *graph) guess(op *tflite.Op) footprint {
	var f footprint
	for n := range op.Inputs {
		t := g.in(op, n)
		if !eightBit(t) || !t.Constant() || len(t.Shape) < 2 || t.Elements() == 0 {
			continue
		}
		zo := t.Shape[0]
		zi := int(min(t.Elements()/int64(zo), 1<<28))
		part := matrix(zo, ceilDiv(zi, 4), 1).partition(zo)
		part.Certainty = report.Heuristic
		f.parts = append(f.parts, part)
	}
	return f
}

func (s Settings) minRuntime() int {
	if s.MinRuntime == 0 {
		return 14
	}
	return s.MinRuntime
}
