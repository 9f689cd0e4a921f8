package compile

import (
	"slices"

	"github.com/tpuplan/tpuplan/tflite"
)

// Nets whose activations do not fit on chip run in spatial passes. The rules
// were read from 83 public compiled files of 2.x, 14.1, 15.0 and 16.0 (PoseNet,
// BodyPix, DeepLab, YOLO, SSD and EfficientDet 320, MobileNet v2 at large sizes).
//
// An op that does not fit makes a stage: a run of ops that is executed ny x nx
// times, each time for a part of the stage's last output and of what that part
// needs of the tensors before it. Sizes are bytes of one tile of 4 x 4.

// passWork is how many steps the search for splits of one region may take, some
// tens of ms. A step is a tensor of a part, or an op for parts of given sizes. Public nets need up
// to 2,000. What needs more than all gets no split, and its reserved rows are not known.
const passWork = 3_000_000

// partsLimit is the most parts of a split; 25 were seen.
const partsLimit = 1024

// joinBytes is what joining strips takes beside the pieces and the whole.
const joinBytes = 32

// flow is the activations of one region: its ops in the order of the file, and
// the tensors between them. RESHAPE, SQUEEZE and EXPAND_DIMS only give another name to
// a tensor, and a PAD that only convolutions and pools read is part of these.
type flow struct {
	g       *graph
	nodes   []node
	tensors []buffered
	stages  []*stage
	parted  []bool // before node i: a LOGISTIC is parted from the multiplication of its SiLU
	work    int    // steps left
	unknown bool   // they did not do: there may be further stages
}

// node is an op of a flow.
type node struct {
	op       int
	ins      []source // distinct
	outs     []int    // tensors of the flow
	h, w     int      // of the output
	window   window
	windowed bool // a convolution or a pool
	dilation [2]int
	padding  [2]int // before: top and left
	image    bool   // reads an input of the net
	product  int    // of a LOGISTIC: the node that multiplies it with its input, else -1
}

// source is an input of a node.
type source struct {
	tensor  int
	h, w, c int // as the node sees it
}

// buffered is a tensor of a flow.
type buffered struct {
	h, w, c int
	made    int // by which node; -1: it comes from outside
	readers []int
	image   bool // an input of the net, or QUANTIZE of one
	leaves  bool // an output of the net, or an op on the CPU reads it
}

// first and last are the nodes that read a tensor; -1 if none does.
func (b *buffered) first() int {
	if len(b.readers) == 0 {
		return -1
	}
	return b.readers[0]
}

func (b *buffered) last() int {
	if len(b.readers) == 0 {
		return -1
	}
	return b.readers[len(b.readers)-1]
}

func (b *buffered) tile() int64 { return tileOf(ceilDiv(b.h, 4), ceilDiv(b.w, 4), b.c) }

// tileOf is the bytes of so many positions, y and x, and channels.
func tileOf(y, x, c int) int64 {
	return product(int64(y), int64(x), roundUp(int64(c), 4))
}

// grown is how many input positions along an axis the window of a node needs
// for so many output positions of a tile. Dilation is not counted.
func (n *node) grown(axis, positions int) int {
	stride, k := n.window.strideH, n.window.kh
	if axis == 1 {
		stride, k = n.window.strideW, n.window.kw
	}
	return min(max(0, (positions-1)*stride+k), absurdSize)
}

// newFlow follows the activations of a region, whose ops are numbered in any order.
func (g *graph) newFlow(region []int, mapped []bool) *flow {
	f := &flow{g: g, work: passWork}
	ops := slices.Sorted(slices.Values(region))
	inside := make(map[int]bool, len(ops))
	for _, i := range ops {
		inside[i] = true
	}
	at := map[int]int{} // tensor of the file -> of the flow
	tensor := func(t, made int) int {
		k, ok := at[t]
		if !ok {
			k = len(f.tensors)
			at[t] = k
			b := buffered{made: made}
			b.h, b.w, b.c = dims(&g.Tensors[t])
			b.image = made < 0
			f.tensors = append(f.tensors, b)
		}
		return k
	}
	pads := map[int]int{}  // output of an absorbed PAD -> the op
	nodes := map[int]int{} // op -> node
	for _, i := range ops {
		op := &g.Ops[i]
		if len(op.Outputs) == 0 {
			continue
		}
		switch {
		case alias(op) && len(op.Inputs) > 0 && activation(g.in(op, 0)):
			at[op.Outputs[0]] = tensor(op.Inputs[0], -1)
			f.leave(op.Outputs[0], at[op.Outputs[0]], inside)
			continue
		case g.absorbed(op, inside):
			pads[op.Outputs[0]] = i
			continue
		}
		n := node{op: i, window: g.window(op), product: -1, dilation: [2]int{1, 1}}
		n.h, n.w, _ = dims(g.out(op))
		switch op.Code {
		case tflite.Conv2D, tflite.DepthwiseConv2D:
			n.windowed = true
			n.dilation = [2]int{max(1, op.Options.DilationH), max(1, op.Options.DilationW)}
		case tflite.AveragePool2D, tflite.MaxPool2D:
			n.windowed = true
		}
		for k := range op.Inputs {
			t := g.in(op, k)
			if !activation(t) || isParameter(op, k) {
				continue
			}
			in := op.Inputs[k]
			pad, padded := pads[in]
			if padded {
				in = g.Ops[pad].Inputs[0]
			}
			s := source{tensor: tensor(in, -1)}
			s.h, s.w, s.c = dims(&g.Tensors[in])
			if n.windowed && k == 0 {
				n.pad(op, t)
				if padded {
					top, left := g.padBefore(&g.Ops[pad])
					n.padding[0], n.padding[1] = n.padding[0]+top, n.padding[1]+left
				}
			}
			if slices.ContainsFunc(n.ins, func(o source) bool { return o.tensor == s.tensor }) {
				continue
			}
			n.ins = append(n.ins, s)
			b := &f.tensors[s.tensor]
			b.readers = append(b.readers, len(f.nodes))
			n.image = n.image || b.image
		}
		for _, t := range op.Outputs {
			if _, again := at[t]; again { // made twice, or read before it is made
				continue
			}
			k := tensor(t, len(f.nodes))
			f.tensors[k].image = op.Code == tflite.Quantize && n.image
			f.leave(t, k, inside)
			n.outs = append(n.outs, k)
		}
		nodes[i] = len(f.nodes)
		f.nodes = append(f.nodes, n)
	}
	f.pair(nodes, mapped)
	f.find()
	return f
}

// alias reports an op that only gives its input another shape.
func alias(op *tflite.Op) bool {
	return op.Code == tflite.Reshape || op.Code == tflite.Squeeze || op.Code == tflite.ExpandDims
}

// absorbed reports a PAD in y and x that only convolutions and pools of the region read.
func (g *graph) absorbed(op *tflite.Op, inside map[int]bool) bool {
	if op.Code != tflite.Pad || !activation(g.in(op, 0)) || g.output[op.Outputs[0]] {
		return false
	}
	_, _, ci := dims(g.in(op, 0))
	_, _, co := dims(g.out(op))
	readers := g.readers[op.Outputs[0]]
	if ci != co || len(readers) == 0 {
		return false
	}
	for _, r := range readers {
		switch g.Ops[r].Code {
		case tflite.Conv2D, tflite.DepthwiseConv2D, tflite.AveragePool2D, tflite.MaxPool2D:
			if !inside[r] || g.Ops[r].Inputs[0] != op.Outputs[0] {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// padBefore is how much a PAD puts on top and to the left, 0 if that is not in the file.
func (g *graph) padBefore(op *tflite.Op) (top, left int) {
	amounts, _ := ints(g.in(op, 1))
	rank := len(g.in(op, 0).Shape)
	at := func(fromEnd int) int {
		if i := 2 * (rank - fromEnd); i >= 0 && i < len(amounts) {
			return max(0, amounts[i])
		}
		return 0
	}
	return at(3), at(2)
}

// pad sets what SAME padding puts before the input t of a window: half of all of it.
func (n *node) pad(op *tflite.Op, t *tflite.Tensor) {
	if !op.Options.SamePadding {
		return
	}
	h, w, _ := dims(t)
	half := func(out, stride, k, dilation, in int) int {
		return max(0, (out-1)*stride+(k-1)*dilation+1-in) / 2
	}
	n.padding[0] = half(n.h, n.window.strideH, n.window.kh, n.dilation[0], h)
	n.padding[1] = half(n.w, n.window.strideW, n.window.kw, n.dilation[1], w)
}

// leave marks a tensor that leaves the region under a name of the file.
func (f *flow) leave(name, tensor int, inside map[int]bool) {
	b := &f.tensors[tensor]
	b.leaves = b.leaves || f.g.output[name]
	for _, r := range f.g.readers[name] {
		b.leaves = b.leaves || !inside[r]
	}
}

// pair finds the multiplications of SiLU, and where a LOGISTIC would be parted from its own.
func (f *flow) pair(nodes map[int]int, mapped []bool) {
	f.parted = make([]bool, len(f.nodes)+1)
	for i := range f.nodes {
		n := &f.nodes[i]
		op := &f.g.Ops[n.op]
		if op.Code != tflite.Logistic || len(op.Inputs) == 0 {
			continue
		}
		if m, ok := nodes[f.g.silu(op, mapped)]; ok && m > i {
			n.product = m
			for b := i + 1; b <= m; b++ {
				f.parted[b] = true
			}
		}
	}
}

// siluBytes is what a SiLU of that tile takes at least; 4 bytes more than six
// tiles decide: 128 x 128 x 32 runs in passes.
func siluBytes(tile int64) int64 { return 6*tile + 4 }

// needs are the bytes that each node takes when it runs on whole tensors: its
// inputs, its output, either grown to the window that reads it, and every other
// tensor that is read later.
func (f *flow) needs() []int64 {
	need := make([]int64, len(f.nodes))
	live := make([]int64, len(f.nodes)+1) // before each node: as differences, then sums
	for t := range f.tensors {
		b := &f.tensors[t]
		from := b.made
		if from < 0 {
			from = b.first()
		}
		if last := b.last(); last > from {
			live[from+1] += b.tile()
			live[last] -= b.tile() // its last reader counts it as an input
		}
	}
	for i := range f.nodes {
		n := &f.nodes[i]
		if i > 0 {
			live[i] += live[i-1]
		}
		y, x := ceilDiv(n.h, 4), ceilDiv(n.w, 4)
		sum := live[i]
		for _, s := range n.ins {
			b := &f.tensors[s.tensor]
			tile := b.tile()
			if b.last() > i && (b.made >= 0 || b.first() < i) {
				sum -= tile // not twice
			}
			if n.windowed && !n.image {
				tile = max(tile, tileOf(n.grown(0, y), n.grown(1, x), s.c))
			}
			sum += tile
		}
		for _, t := range n.outs {
			b := &f.tensors[t]
			tile := b.tile()
			for _, r := range b.readers {
				if reader := &f.nodes[r]; reader.windowed {
					tile = max(tile, tileOf(reader.grown(0, ceilDiv(reader.h, 4)), reader.grown(1, ceilDiv(reader.w, 4)), b.c))
				}
			}
			sum += tile
		}
		if n.product >= 0 && len(n.outs) > 0 {
			sum = max(sum, siluBytes(f.tensors[n.outs[0]].tile()))
		}
		need[i] = sum
	}
	return need
}

// peak is the most bytes that any node needs on whole tensors.
func (f *flow) peak() int64 {
	var peak int64
	for _, n := range f.needs() {
		peak = max(peak, n)
	}
	return peak
}
