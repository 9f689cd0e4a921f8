package compile

import (
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/tflite"
)

// Status texts of edgetpu_compiler's operation log.
const (
	StatusMapped      = "Mapped to Edge TPU"
	statusRank        = "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"
	statusType        = "Operation is working on an unsupported data type"
	statusOtherwise   = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
	statusUnsupported = "Operation not supported"
	statusVersion     = "Operation version not supported"
	statusNotConstant = "Filter, bias, or other param is not constant at compile-time"
	status2D          = "For example, a fully-connected or softmax layer with 2D output"
	statusResize      = "Image-interpolation layer won't run precisely enough on Edge TPU"
	statusStride      = "Only Strided-Slice with unitary strides supported"
	statusRegion      = "More than one subgraph is not supported"
)

// verdict is what the op by op checks say: an empty reason passes.
type verdict struct {
	reason    string
	certainty report.Certainty
}

var pass = verdict{}

func refuse(reason string) verdict { return verdict{reason: reason} }

// since is the first compiler that maps an op.
var since = map[tflite.Builtin]Version{
	tflite.Conv2D: V1_0, tflite.DepthwiseConv2D: V1_0, tflite.FullyConnected: V1_0,
	tflite.Add: V1_0, tflite.Mul: V1_0, tflite.Sub: V1_0, tflite.Maximum: V1_0, tflite.Minimum: V1_0,
	tflite.AveragePool2D: V1_0, tflite.MaxPool2D: V1_0, tflite.Concatenation: V1_0,
	tflite.Pad: V1_0, tflite.Reshape: V1_0, tflite.Softmax: V1_0,
	tflite.Logistic: V1_0, tflite.Tanh: V1_0, tflite.Relu: V1_0, tflite.Relu6: V1_0, tflite.ReluN1To1: V1_0,
	tflite.Mean: V1_0, tflite.ResizeNearestNeighbor: V1_0, tflite.ResizeBilinear: V1_0,
	tflite.Split: V1_0, tflite.StridedSlice: V1_0,
	tflite.Slice: V1_0, tflite.Squeeze: V1_0, tflite.L2Normalization: V1_0, tflite.SpaceToDepth: V1_0,
	tflite.Quantize: V2_0, tflite.Pack: V2_0, tflite.PRelu: V2_0, tflite.TransposeConv: V2_0,
	tflite.ExpandDims: V2_0, tflite.Sum: V2_0, tflite.SplitV: V2_0,
	tflite.ReduceMax: V14_1, tflite.ReduceMin: V14_1,
	tflite.Transpose: V16_0, tflite.LSTM: V16_0, tflite.UnidirectionalSequenceLSTM: V16_0,
	tflite.Rsqrt: V16_0, tflite.SquaredDifference: V16_0, tflite.Tile: V16_0,
}

// neverMapped are ops that were seen to stay on the CPU on 8-bit data. All
// others that no compiler is known to map are taken to stay there too.
var neverMapped = map[tflite.Builtin]bool{
	tflite.LeakyRelu: true, tflite.Gather: true, tflite.HardSwish: true, tflite.DepthToSpace: true, tflite.Elu: true,
	tflite.Custom: true,
}

// parameters are the inputs that configure an op: they must be constant and
// their shapes are not looked at.
var parameters = map[tflite.Builtin][]int{
	tflite.Conv2D: {1, 2}, tflite.DepthwiseConv2D: {1, 2}, tflite.FullyConnected: {1, 2},
	tflite.TransposeConv: {0, 1, 3},
	tflite.PRelu:         {1}, tflite.Pad: {1}, tflite.Mean: {1}, tflite.Sum: {1},
	tflite.ReduceMax: {1}, tflite.ReduceMin: {1}, tflite.Transpose: {1},
	tflite.ResizeBilinear: {1}, tflite.ResizeNearestNeighbor: {1}, tflite.ExpandDims: {1}, tflite.Tile: {1},
	tflite.Split: {0}, tflite.SplitV: {1, 2}, tflite.Slice: {1, 2}, tflite.StridedSlice: {1, 2, 3},
	tflite.Reshape: {1},
}

func isParameter(op *tflite.Op, input int) bool {
	for _, p := range parameters[op.Code] {
		if p == input {
			return true
		}
	}
	return false
}

// check says whether the compiler can map an op, looked at alone.
func (g *graph) check(op *tflite.Op, v Version) verdict {
	for n := range op.Inputs {
		if t := g.in(op, n); t != nil && !isParameter(op, n) && deep(t) {
			return refuse(statusRank)
		}
	}
	for _, o := range op.Outputs {
		if deep(&g.Tensors[o]) {
			return refuse(statusRank)
		}
	}
	for _, o := range op.Outputs {
		t := &g.Tensors[o]
		if !eightBit(t) || v == V1_0 && t.Type != tflite.Uint8 { // 1.0 is from before int8 quantization
			return refuse(statusType)
		}
	}
	if op.Code == tflite.Quantize && !eightBit(g.in(op, 0)) {
		return refuse(statusOtherwise)
	}
	if first, known := since[op.Code]; !known || v < first || len(op.Outputs) == 0 {
		if !known && !neverMapped[op.Code] { // nobody saw what becomes of it
			return verdict{statusUnsupported, report.Heuristic}
		}
		return refuse(statusUnsupported)
	}
	if tooNew(op, v) {
		return refuse(statusVersion)
	}
	for _, n := range parameters[op.Code] {
		if t := g.in(op, n); t == nil || t.Constant() || op.Code == tflite.Reshape {
			continue
		}
		if op.Code == tflite.FullyConnected && v == V16_0 {
			continue
		}
		return refuse(statusNotConstant)
	}
	return g.checkRule(op, v)
}

// deep reports a dimension over 1 outside the three innermost.
func deep(t *tflite.Tensor) bool {
	for i := 0; i < len(t.Shape)-3; i++ {
		if t.Shape[i] > 1 {
			return true
		}
	}
	return false
}

// tooNew reports operator versions that a compiler's own TFLite does not know.
// Only 14.1, 15.0 and 16.0 were seen to say so; older compilers are taken to know no more than 14.1.
func tooNew(op *tflite.Op, v Version) bool {
	switch op.Code {
	case tflite.ResizeBilinear, tflite.ResizeNearestNeighbor:
		return op.Version >= 3 && v <= V15_0
	case tflite.FullyConnected:
		return op.Version >= 5 && v <= V15_0
	case tflite.Add:
		return op.Version >= 4
	}
	return false
}

// Size limits. Where the last size seen mapped and the first seen refused
// differ, sizes between count as refused, certainty heuristic.
const (
	imageLimit         = 3 << 20 // bytes of input + output of resizes and of reshapes that split the channels
	reshapeMapped      = 122_880 // elements
	reshapeRefused     = 153_600
	transposeLimit     = 150_000 // 2 x elements
	meanLimit          = 16_384  // h x w
	longZ, longXZ      = 4096, 262_144
	concatenationLimit = 2 << 20 // bytes
	constantInputLimit = 98_304  // bytes of a constant FULLY_CONNECTED input
	lstmWidthLimit     = 900
)

// Around a limit the verdict is a guess, as far as this part of it: sizes seen
// lie wide apart for most limits, and closer for that of images.
const (
	wideMargin  = 4
	imageMargin = 8
)

// limited refuses sizes over a limit.
func limited(x, limit int64) verdict { return limitedWithin(x, limit, wideMargin) }

func limitedWithin(x, limit, margin int64) verdict {
	var v verdict
	if x > limit-limit/margin && x < limit+limit/margin {
		v.certainty = report.Heuristic
	}
	if x > limit {
		v.reason = statusOtherwise
	}
	return v
}

// checkRule holds the rule of each op.
func (g *graph) checkRule(op *tflite.Op, v Version) verdict {
	in, out, o := g.in(op, 0), g.out(op), &op.Options
	if in == nil && op.Code != tflite.Split && op.Code != tflite.TransposeConv {
		return verdict{statusOtherwise, report.Unknown}
	}
	switch op.Code {
	case tflite.Conv2D, tflite.DepthwiseConv2D:
		if w := g.in(op, 1); w == nil || len(w.Shape) != 4 {
			return verdict{statusOtherwise, report.Unknown}
		} else if o.DilationW != o.DilationH && w.Shape[1] != 1 && w.Shape[2] != 1 {
			return refuse(statusOtherwise)
		}
	case tflite.TransposeConv:
		if w := g.in(op, 1); w == nil || len(w.Shape) != 4 || g.in(op, 2) == nil {
			return verdict{statusOtherwise, report.Unknown}
		}
	case tflite.FullyConnected:
		if w := g.in(op, 1); o.ShuffledWeights || w == nil || len(w.Shape) != 2 {
			return refuse(statusOtherwise)
		}
		if v <= V2_1 && rows2D(out) > 1 {
			return refuse(status2D)
		}
		if in.Constant() {
			if v < V16_0 {
				return refuse(statusNotConstant)
			}
			return limited(in.Elements(), constantInputLimit)
		}
	case tflite.Softmax:
		if v <= V2_1 && rows2D(out) > 1 {
			return refuse(status2D)
		}
	case tflite.AveragePool2D, tflite.MaxPool2D:
		if o.Activation != tflite.ActivationNone {
			return refuse(statusOtherwise)
		}
		return longZRule(out)
	case tflite.Concatenation:
		return g.checkConcatenation(op)
	case tflite.Logistic, tflite.Tanh:
		return longZRule(out)
	case tflite.Quantize:
		if y, _, _ := dims(out); y > 1 {
			return pass
		}
		return longZRule(out)
	case tflite.Pad:
		if p, ok := ints(g.in(op, 1)); ok && len(in.Shape) == 4 && len(p) == 8 && (p[0] != 0 || p[1] != 0) {
			return refuse(statusOtherwise)
		}
	case tflite.Reshape:
		return checkReshape(in, out)
	case tflite.Mean:
		return g.checkMean(op, v)
	case tflite.Sum, tflite.ReduceMax, tflite.ReduceMin:
		if axes, ok := g.axes(op); ok && axes.batch || axes.z && op.Code != tflite.Sum {
			return refuse(statusOtherwise)
		}
	case tflite.ResizeNearestNeighbor:
		if o.HalfPixel && v < V16_0 {
			return refuse(statusOtherwise)
		}
		return limitedImages(in, out)
	case tflite.ResizeBilinear:
		hi, wi, _ := dims(in)
		ho, wo, _ := dims(out)
		if (hi == 1 || wi == 1) && (hi != ho || wi != wo) {
			if v == V2_0 {
				return refuse(statusResize)
			}
			return refuse(statusOtherwise)
		}
		return limitedImages(in, out)
	case tflite.Split:
		data := g.in(op, 1)
		axis, ok := ints(g.in(op, 0))
		if !ok || data == nil || len(axis) != 1 {
			return verdict{statusOtherwise, report.Unknown}
		}
		if axis[0] < 0 {
			axis[0] += len(data.Shape)
		}
		if axis[0] == 0 && len(data.Shape) > 0 && data.Shape[0] != 1 {
			return refuse(status2D)
		}
	case tflite.StridedSlice:
		return g.checkStridedSlice(op, v)
	case tflite.Transpose:
		live := 0
		for _, d := range in.Shape {
			if d > 1 {
				live++
			}
		}
		if live > 3 {
			return refuse(statusOtherwise)
		}
		return limited(2*in.Elements(), transposeLimit)
	case tflite.LSTM, tflite.UnidirectionalSequenceLSTM:
		r := limited(int64(in.Dim(1)), lstmWidthLimit)
		r.certainty = report.Heuristic
		return r
	}
	return pass
}

// limitedImages limits the bytes of an input and an output together.
func limitedImages(in, out *tflite.Tensor) verdict {
	return limitedWithin(in.Elements()+out.Elements(), imageLimit, imageMargin)
}

// longZRule refuses outputs of one row with very many channels.
func longZRule(out *tflite.Tensor) verdict {
	y, x, z := dims(out)
	if y > 1 || z <= longZ {
		return pass
	}
	return limited(int64(x)*int64(z), longXZ)
}

func (g *graph) checkConcatenation(op *tflite.Op) verdict {
	out := g.out(op)
	if op.Options.Activation != tflite.ActivationNone {
		return refuse(statusOtherwise)
	}
	for n := range op.Inputs {
		t := g.in(op, n)
		if t == nil || !t.Constant() {
			continue
		}
		zero := byte(0)
		if len(t.ZeroPoints) > 0 {
			zero = byte(t.ZeroPoints[0])
		}
		if len(op.Inputs) != 2 || !allBytes(t.Data, zero) {
			return refuse(statusOtherwise)
		}
	}
	r := longZRule(out)
	if r.reason != "" {
		return r
	}
	l := limited(out.Elements(), concatenationLimit)
	return verdict{l.reason, l.certainty.Weaker(r.certainty)}
}

func checkReshape(in, out *tflite.Tensor) verdict {
	if sameLiveDims(in.Shape, out.Shape) {
		return pass
	}
	zi, zo := in.Dim(1), out.Dim(1)
	if zo > 0 && zo < zi && zi%zo == 0 {
		return limitedImages(in, out)
	}
	switch n := in.Elements(); {
	case n <= reshapeMapped:
		return pass
	case n < reshapeRefused:
		return verdict{statusOtherwise, report.Heuristic}
	default:
		return refuse(statusOtherwise)
	}
}

// sameLiveDims compares two shapes without their dimensions of 1.
func sameLiveDims(a, b []int) bool {
	i, j := 0, 0
	for {
		for i < len(a) && a[i] == 1 {
			i++
		}
		for j < len(b) && b[j] == 1 {
			j++
		}
		if i == len(a) || j == len(b) {
			return i == len(a) && j == len(b)
		}
		if a[i] != b[j] {
			return false
		}
		i, j = i+1, j+1
	}
}

// axisSet says which of a tensor's dimensions an op reduces.
type axisSet struct{ batch, y, x, z bool }

func (g *graph) axes(op *tflite.Op) (axisSet, bool) {
	var s axisSet
	in := g.in(op, 0)
	list, ok := ints(g.in(op, 1))
	if !ok {
		return s, false
	}
	rank := len(in.Shape)
	for _, a := range list {
		if a < 0 {
			a += rank
		}
		switch rank - a {
		case 1:
			s.z = true
		case 2:
			s.x = true
		case 3:
			s.y = true
		default:
			s.batch = true
		}
	}
	return s, true
}

func (g *graph) checkMean(op *tflite.Op, v Version) verdict {
	in := g.in(op, 0)
	axes, ok := g.axes(op)
	if !ok {
		return verdict{statusOtherwise, report.Unknown}
	}
	if axes.batch || axes.z && v < V15_0 {
		return refuse(statusOtherwise)
	}
	n := int64(1)
	if axes.y {
		n *= int64(in.Dim(3))
	}
	if axes.x {
		n *= int64(in.Dim(2))
	}
	return limited(n, meanLimit)
}

func (g *graph) checkStridedSlice(op *tflite.Op, v Version) verdict {
	in := g.in(op, 0)
	if op.Options.EllipsisMask != 0 || op.Options.NewAxisMask != 0 {
		return refuse(statusOtherwise)
	}
	strides, ok := ints(g.in(op, 3))
	if !ok {
		return verdict{statusOtherwise, report.Unknown}
	}
	for i, s := range strides {
		if s == 1 {
			continue
		}
		if v < V16_0 {
			return refuse(statusStride)
		}
		if fromEnd := len(in.Shape) - i; s != 2 || fromEnd != 2 && fromEnd != 3 {
			return refuse(statusOtherwise)
		}
	}
	return pass
}

// regions follows TFLite's delegate partition: epochs of ops that pass and of
// ops that do not, each as large as the data allow. It returns the passing
// epochs in order.
func (g *graph) regions(passes []bool) [][]int {
	waiting := make([]int, len(g.Ops)) // inputs not yet available
	for i := range g.Ops {
		for _, t := range g.Ops[i].Inputs {
			if t >= 0 && g.producer[t] >= 0 && g.producer[t] != i {
				waiting[i]++
			}
		}
	}
	placed := make([]bool, len(g.Ops))
	ready := [2][]int{} // [fails, passes]
	enqueue := func(i int) {
		kind := 0
		if passes[i] {
			kind = 1
		}
		ready[kind] = append(ready[kind], i)
	}
	for i := range g.Ops {
		if waiting[i] == 0 {
			enqueue(i)
		}
	}
	var regions [][]int
	for len(ready[0])+len(ready[1]) > 0 {
		kind := 0
		if lowest(ready[1]) < lowest(ready[0]) {
			kind = 1
		}
		var epoch []int
		for len(ready[kind]) > 0 {
			i := ready[kind][len(ready[kind])-1]
			ready[kind] = ready[kind][:len(ready[kind])-1]
			if placed[i] {
				continue
			}
			placed[i] = true
			epoch = append(epoch, i)
			for _, t := range g.Ops[i].Outputs {
				for _, r := range g.readers[t] {
					if r == i || g.producer[t] != i {
						continue
					}
					if waiting[r]--; waiting[r] == 0 {
						enqueue(r)
					}
				}
			}
		}
		if kind == 1 && len(epoch) > 0 {
			regions = append(regions, epoch)
		}
	}
	return regions
}

// lowest is the smallest op number of a list, beyond all ops if it is empty.
func lowest(ops []int) int {
	low := int(^uint(0) >> 1)
	for _, i := range ops {
		low = min(low, i)
	}
	return low
}
