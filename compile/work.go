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

// In passes nets were seen whose largest op needs more than this share of the
// activation memory; what runs before the first and after the last of them runs once.
const passesFrom = 0.87

// How far the number of passes may be off.
const passesLow, passesHigh = 0.5, 2.2

// passes says how often the parameters of each op are broadcast in a call: once
// where the activations fit, else as often as the map is cut.
func (g *graph) passes(m *Model, mapped []bool) {
	crowd := func(op *tflite.Op) float64 { // the share of the memory that an op's tiles take
		bytes := int64(0)
		for n := range op.Inputs {
			if t := g.in(op, n); activation(t) && !isParameter(op, n) {
				bytes += tile(t)
			}
		}
		return float64(bytes+tile(g.out(op))) / narrowBytes
	}
	first, last, most := -1, -1, 0.0
	for i := range g.Ops {
		if !mapped[i] {
			continue
		}
		m.Ops[i].Passes = cost.Exactly(1)
		if g.out(&g.Ops[i]) == nil || g.paddingOnly(&g.Ops[i], mapped) {
			continue
		}
		if share := crowd(&g.Ops[i]); share > passesFrom {
			if first < 0 {
				first = i
			}
			last, most = i, max(most, share)
		}
	}
	if m.Reserve.Fits || first < 0 {
		return
	}
	times := 2 * math.Ceil(most)
	for i := first; i <= last; i++ {
		if o := &m.Ops[i]; mapped[i] && o.Work.Engine != cost.Spread {
			o.Passes = cost.Range{Value: times, Low: max(1, passesLow*times), High: passesHigh * times}
		}
	}
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
			if g.silu(op, mapped) {
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

// silu reports a LOGISTIC whose output is multiplied with its own input.
func (g *graph) silu(op *tflite.Op, mapped []bool) bool {
	for _, r := range g.readers[op.Outputs[0]] {
		if !mapped[r] || g.Ops[r].Code != tflite.Mul {
			continue
		}
		for _, in := range g.Ops[r].Inputs {
			if in == op.Inputs[0] {
				return true
			}
		}
	}
	return false
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
