package cost

import (
	"math"
	"sort"
)

// Engine is the part of the chip that an op keeps busy.
type Engine int

// Engines. The constants of each were fitted on their own.
const (
	Elsewhere   Engine = iota // an op without weights of its own
	Convolution               // weights broadcast to the tiles, all input channels summed
	Depthwise                 // one input channel per output channel
	Spread                    // fully connected: every tile multiplies by the weights that lie on it
)

// String is the engine's name in outputs.
func (e Engine) String() string {
	return [...]string{"elsewhere", "convolution", "depthwise", "fully connected"}[e]
}

// Work is what an op makes the chip do, by its shapes alone. An Edge TPU has
// 16 tiles, 4 x 4 over the map, each of 64 lanes that multiply four inputs a cycle.
type Work struct {
	Engine Engine
	Cycles float64 // of the busiest tile, one weight word for each lane a cycle
	Rows   float64 // of weights, 256 bytes each
}

// Milliseconds of compute, fitted to 60 public measurements of 13 families of
// nets on five kinds of hosts. Leaving a family out moves them by (10 to 90 %):
// convolution 4.16..4.63, depthwise 16..30, fully connected 18..40, rows 6..20.
// They hold for a clock of 500 MHz.
const (
	convolutionMS = 4.4   // per million cycles
	depthwiseMS   = 24    // per million cycles
	spreadMS      = 36    // per million cycles
	elsewhereMS   = 3     // per million cycles of one weight row
	rowsMS        = 15    // per million rows that are broadcast
	opMS          = 0.004 // of every op
)

// MS is how long the op computes at 500 MHz, in ms.
func (w Work) MS() float64 {
	const million = 1e-6
	switch w.Engine {
	case Convolution:
		return float64(convolutionMS*million*w.Cycles) + float64(rowsMS*million*w.Rows) + opMS
	case Depthwise:
		return float64(depthwiseMS*million*w.Cycles) + float64(rowsMS*million*w.Rows) + opMS
	case Spread:
		return float64(spreadMS*million*w.Cycles) + opMS
	}
	return float64(elsewhereMS*million*w.Cycles) + opMS
}

// StreamMS is what a warm call takes longer when an op's parameters are
// streamed: they cross the link while the op computes, so that only what
// lasts longer than the computing shows. bytes are those of the op, in every one of
// its passes; computeMS is how long it computes. In ms.
func StreamMS(bytes, passes, computeMS, bytesPerMS float64) float64 {
	return max(0, float64(passes*bytes)/bytesPerMS-computeMS)
}

// Untold is what streaming adds when only so many bytes are known to be streamed, of
// parts with these sizes and what each adds, in ms: the dearest first, as much as it can be. What is
// more than all parts hold, or less than nothing, goes at the rate.
func Untold(bytes []int64, streamMS []float64, streamed int64, bytesPerMS float64) float64 {
	order := make([]int, 0, len(bytes))
	for i, b := range bytes {
		if b > 0 {
			order = append(order, i)
		}
	}
	rate := func(i int) float64 { return streamMS[i] / float64(bytes[i]) }
	sort.SliceStable(order, func(a, b int) bool { return rate(order[a]) > rate(order[b]) })
	ms := 0.0
	for _, i := range order {
		n := min(max(0, streamed), bytes[i])
		ms += float64(float64(n) * rate(i))
		streamed -= n
	}
	return ms + float64(streamed)/bytesPerMS
}

// Range is a number and the bounds that it is expected within. High may be
// infinite: then the number is a lower bound.
type Range struct{ Value, Low, High float64 }

// Exactly is a number that nothing is unsure about.
func Exactly(v float64) Range { return Range{v, v, v} }

// Plus adds two ranges that may be off together.
func (r Range) Plus(o Range) Range { return Range{r.Value + o.Value, r.Low + o.Low, r.High + o.High} }

// Times multiplies a range by a number that is not negative.
func (r Range) Times(x float64) Range {
	if x == 0 { // and not 0 x infinity
		return Range{}
	}
	return Range{float64(r.Value * x), float64(r.Low * x), float64(r.High * x)}
}

// Bounded reports whether the range has an upper end.
func (r Range) Bounded() bool { return !math.IsInf(r.High, 1) }

// Reach says how near a net is to those that the constants of [Work] were fitted to.
type Reach int

// Reaches, nearest first.
const (
	Familiar   Reach = iota // convolutional nets: built of the ops that were timed
	Unfamiliar              // built of these ops, but not as those nets are
	Guess                   // some of its ops were never timed
	LowerBound              // nets of this kind took up to twice as long as predicted
)

// String is the word of outputs.
func (r Reach) String() string {
	return [...]string{"familiar", "unfamiliar", "guess", "lower bound"}[r]
}

// Spread is by which factors a time predicted from shapes may be off.
func (r Reach) Spread() Range {
	switch r {
	case Familiar:
		return Range{1, 0.88, 1.14} // held 90 % of what was timed
	case Unfamiliar:
		return Range{1, 0.8, 1.25}
	case Guess:
		return Range{1, 0.5, 2}
	}
	return Range{1, 0.88, math.Inf(1)}
}
