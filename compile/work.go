package compile

import (
	"fmt"
	"math"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/tflite"
)

// Timing is what of a model decides how long its calls take, as far as its
// shapes tell. What each op makes the chip do is in [OpInfo].Work.
type Timing struct {
	Reach   cost.Reach // how near the model is to nets that were timed
	Because []string   // what makes it no nearer, such as "3 RESIZE_BILINEAR"; empty for a familiar one
	Softmax bool       // a softmax over some hundred classes runs on the Edge TPU
	CPU     cost.CPU   // what is left to the CPU
}

// tileSide is the number of tiles along each side of a map.
const tileSide = 4

// work is what a mapped op makes the chip do.
func (g *graph) work(op *tflite.Op, rows int) cost.Work {
	out := g.out(op)
	if out == nil {
		return cost.Work{}
	}
	h, w, zo := dims(out)
	positions := float64(ceilDiv(h, tileSide)) * float64(ceilDiv(w, tileSide))
	window := g.window(op)
	taps := float64(window.kh) * float64(window.kw)
	lanes := float64(ceilDiv(zo, 64))
	weights := g.in(op, 1)
	switch op.Code {
	case tflite.Conv2D, tflite.TransposeConv:
		if weights == nil || len(weights.Shape) != 4 {
			break
		}
		if op.Code == tflite.TransposeConv {
			taps = float64(weights.Shape[1]) * float64(weights.Shape[2])
		}
		zi := float64(weights.Shape[3])
		if pointOutput(out) {
			return spread(zi*taps, zo, 1)
		}
		return cost.Work{Engine: cost.Convolution, Cycles: positions * taps * math.Ceil(zi/4) * lanes, Rows: float64(rows)}
	case tflite.DepthwiseConv2D:
		return cost.Work{Engine: cost.Depthwise, Cycles: positions * taps * lanes, Rows: float64(rows)}
	case tflite.FullyConnected:
		if weights != nil && len(weights.Shape) == 2 {
			return spread(float64(weights.Shape[1]), weights.Shape[0], float64(rows2D(out)))
		}
	}
	return cost.Work{Engine: cost.Elsewhere, Cycles: positions * lanes}
}

// spread is a multiplication whose weights lie on all tiles, once for each row of inputs.
func spread(zi float64, zo int, rows float64) cost.Work {
	const allLanes = Tiles * 64
	return cost.Work{Engine: cost.Spread, Cycles: rows * math.Ceil(zi/4) * float64(ceilDiv(zo, allLanes))}
}

// How far the number of passes may be off as a factor of what is streamed: whether
// streamed weights are sent again for each pass is not known. One sweep of nets fits that
// they are, up to a little more often.
const passesLow, passesHigh = 0.5, 2.2

// passes says how often the parameters of each op are sent to the tiles in a
// call: once where the activations fit and where weights stay on their tiles, else
// once for each part of the op's stage.
func (g *graph) passes(m *Model, mapped []bool, flows []*flow) {
	for i := range g.Ops {
		if mapped[i] {
			m.Ops[i].Passes = cost.Exactly(1)
		}
	}
	for _, f := range flows {
		for _, s := range f.stages {
			times := float64(s.times())
			for i := s.start; i < s.end; i++ {
				if op := f.nodes[i].op; !g.stays(&g.Ops[op]) {
					m.Ops[op].Passes = cost.Range{Value: times, Low: max(1, passesLow*times), High: passesHigh * times}
				}
			}
		}
	}
}

// stays reports an op whose weights stay on the tiles where they are cached.
func (g *graph) stays(op *tflite.Op) bool {
	switch op.Code {
	case tflite.FullyConnected, tflite.Softmax:
		return true
	case tflite.Conv2D, tflite.DepthwiseConv2D, tflite.TransposeConv:
		return pointOutput(g.out(op))
	}
	return false
}

// Sizes from which a model is another than those that were timed.
const (
	largeOutput  = 3_000_000 // bytes of output a call
	largeSoftmax = 500       // classes
	densePads    = 8         // multiplications and additions of constants that stand alone
	denseJoins   = 30        // concatenations of what was concatenated before; an Inception has some
)

// timed are the ops of the nets that the constants of package cost come from.
var timed = map[tflite.Builtin]bool{
	tflite.Conv2D: true, tflite.DepthwiseConv2D: true, tflite.FullyConnected: true, tflite.Add: true, tflite.Concatenation: true,
	tflite.AveragePool2D: true, tflite.MaxPool2D: true, tflite.Mean: true, tflite.Softmax: true, tflite.Pad: true, tflite.Reshape: true,
	tflite.Squeeze: true, tflite.ExpandDims: true, tflite.Relu: true, tflite.Relu6: true, tflite.ReluN1To1: true,
	tflite.Logistic: true, tflite.Quantize: true, tflite.Mul: true, tflite.Sub: true,
}

// timing says how near a model is to nets that were timed.
func (g *graph) timing(m *Model, mapped []bool) Timing {
	var t Timing
	counts := map[string]int{}
	var names []string // in the order of the model
	doubt := func(reach cost.Reach, name string) {
		t.Reach = max(t.Reach, reach)
		if counts[name]++; counts[name] == 1 {
			names = append(names, name)
		}
	}
	alone, joins, multiplies := 0, 0, false
	for i := range g.Ops {
		op := &g.Ops[i]
		if !mapped[i] {
			g.onCPU(op, &t.CPU)
			continue
		}
		out := g.out(op)
		name := OpName(op)
		switch op.Code {
		case tflite.Conv2D, tflite.DepthwiseConv2D:
			multiplies = true
			if op.Options.DilationH > 1 || op.Options.DilationW > 1 {
				doubt(cost.Unfamiliar, name+" with dilation")
			}
		case tflite.FullyConnected:
			multiplies = true
			switch w := g.in(op, 1); {
			case activation(w) || !activation(g.in(op, 0)):
				doubt(cost.Guess, name+" of two activations")
			case rows2D(out) > 1:
				doubt(cost.Guess, name+" of several rows")
			}
		case tflite.Softmax:
			t.Softmax = t.Softmax || out.Dim(1) >= largeSoftmax
			if rows2D(out) > 1 && g.inside(op, mapped) {
				doubt(cost.Guess, name+" inside the net")
			}
		case tflite.Logistic:
			if g.silu(op, mapped) >= 0 {
				doubt(cost.Guess, "LOGISTIC of SiLU")
			}
		case tflite.Mul, tflite.Add, tflite.Sub:
			for n := range op.Inputs {
				if c := g.in(op, n); c != nil && c.Constant() && c.Elements() > 1 {
					alone++
				}
			}
		case tflite.Concatenation:
			if g.grows(op) {
				joins++
			}
		case tflite.ResizeBilinear, tflite.ResizeNearestNeighbor, tflite.TransposeConv, tflite.LSTM, tflite.UnidirectionalSequenceLSTM, tflite.BatchMatMul:
			doubt(cost.Guess, name)
		default:
			if !timed[op.Code] {
				doubt(cost.Unfamiliar, name)
			}
		}
	}
	if m.OutputBytes > largeOutput {
		doubt(cost.Guess, fmt.Sprintf("%.1f MB of output", float64(m.OutputBytes)/1e6))
		counts[names[len(names)-1]] = 0
	}
	if m.Subgraphs > 1 { // each is a request of its own, with what the host does for one
		t.Reach = max(t.Reach, cost.Unfamiliar)
		t.Because = append(t.Because, fmt.Sprintf("%d parts on the Edge TPU", m.Subgraphs))
	}
	if m.TPUOps > 0 && !multiplies {
		t.Reach = max(t.Reach, cost.Unfamiliar)
		t.Because = append(t.Because, "neither convolution nor fully connected layer")
	}
	for _, name := range names {
		if n := counts[name]; n > 0 {
			name = fmt.Sprintf("%d %s", n, name)
		}
		t.Because = append(t.Because, name)
	}
	if joins >= denseJoins {
		t.Reach = cost.LowerBound
		t.Because = append(t.Because, fmt.Sprintf("%d CONCATENATION of concatenations, as in DenseNet", joins))
	}
	if alone >= densePads {
		t.Reach = cost.LowerBound
		t.Because = append(t.Because, fmt.Sprintf("%d operations with constants of their own, as in DenseNet", alone))
	}
	return t
}

// inside reports an op whose output other ops on the Edge TPU compute with.
func (g *graph) inside(op *tflite.Op, mapped []bool) bool {
	for _, r := range g.readers[op.Outputs[0]] {
		if mapped[r] && g.Ops[r].Code != tflite.Reshape && g.Ops[r].Code != tflite.Quantize {
			return true
		}
	}
	return false
}

// grows reports a CONCATENATION that adds to another one's output, as those of a dense block do.
func (g *graph) grows(op *tflite.Op) bool {
	for _, t := range op.Inputs {
		if t >= 0 && g.producer[t] >= 0 && g.Ops[g.producer[t]].Code == tflite.Concatenation {
			return true
		}
	}
	return false
}

// silu is the op that multiplies a LOGISTIC's output with its own input, -1 if none does.
func (g *graph) silu(op *tflite.Op, mapped []bool) int {
	for _, r := range g.readers[op.Outputs[0]] {
		if !mapped[r] || g.Ops[r].Code != tflite.Mul {
			continue
		}
		for _, in := range g.Ops[r].Inputs {
			if in == op.Inputs[0] {
				return r
			}
		}
	}
	return -1
}

// onCPU adds what an op makes the CPU do.
func (g *graph) onCPU(op *tflite.Op, c *cost.CPU) {
	out := g.out(op)
	switch op.Code {
	case tflite.Custom:
		if op.Custom == "TFLite_Detection_PostProcess" {
			c.Detections++
			return
		}
	case tflite.Conv2D, tflite.DepthwiseConv2D, tflite.TransposeConv, tflite.FullyConnected:
		if w := g.in(op, 1); w != nil && out != nil && len(w.Shape) > 0 && w.Shape[0] > 0 {
			each := float64(w.Elements()) / float64(w.Shape[0]) // multiplications for an output
			if op.Code == tflite.DepthwiseConv2D && len(w.Shape) == 4 {
				each = float64(w.Shape[1]) * float64(w.Shape[2])
			}
			c.MACs += float64(out.Elements()) * each
			return
		}
	case tflite.ResizeBilinear, tflite.ResizeNearestNeighbor:
		if out != nil {
			c.Resized += float64(out.Elements())
			return
		}
	case tflite.ArgMax:
		if in := g.in(op, 0); in != nil && c.Resized > 0 { // counted with the image that was resized for it
			return
		}
	case tflite.Reshape, tflite.Squeeze, tflite.ExpandDims: // no work
		return
	}
	c.Others++
}
