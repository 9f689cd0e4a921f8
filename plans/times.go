package plans

import (
	"math"

	"github.com/tpuplan/tpuplan/compile/timing"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/planner"
)

// Times are those of a call of a model (index) under an answer, term by term and
// with their intervals. ok is false for a model that is compiled already: of its compute
// nothing is known but what was measured.
func (r *Resolved) Times(answer *planner.Plan, i int) (t timing.Times, ok bool) {
	if r.Files[i].Timing == nil {
		return t, false
	}
	return r.Files[i].Timing.Times(&answer.Models[i].Split), true
}

// ExpectedRange is what a call of a model (index) takes on average under an answer, and what it is
// expected within, in ms. Of a model that is compiled already it is what is known, without an interval.
func (r *Resolved) ExpectedRange(answer *planner.Plan, i int) cost.Range {
	o := &answer.Models[i]
	t, ok := r.Times(answer, i)
	if !ok {
		return cost.Exactly(o.ExpectedMS)
	}
	e := t.Steady.Plus(t.Load.Times(o.Miss))
	e.Value = o.ExpectedMS
	return e
}

// ValueRange is the mean time of a call under an answer, and what it is
// expected within, in ms: all models may be off together.
func (r *Resolved) ValueRange(answer *planner.Plan) cost.Range {
	var sum cost.Range
	for i := range r.Problem.Models {
		sum = sum.Plus(r.ExpectedRange(answer, i).Times(r.Problem.Models[i].Share))
	}
	sum.Value = answer.Value
	return sum
}

// DifferenceRange is by how much a call takes longer under another answer, in
// ms, and what that is expected within. Only what differs between the two counts: what
// is streamed and loaded. Host, compute, input and output are the same in both.
func (r *Resolved) DifferenceRange(answer, other *planner.Plan) cost.Range {
	d := cost.Range{Value: other.Value - answer.Value, Low: math.Inf(1), High: math.Inf(-1)}
	link := r.Link(0)
	rates := []float64{1}
	if link.RateLow > 0 {
		rates = append(rates, link.RateLow, link.RateHigh)
	}
	for _, rate := range rates {
		for _, stream := range []float64{1, hiddenLow, hiddenHigh} {
			for _, end := range []int{0, -1, 1} { // of what passes may be
				v := r.differenceAt(answer, other, rate, stream, end)
				d.Low, d.High = min(d.Low, v), max(d.High, v)
			}
		}
	}
	return d
}

// differenceAt is the difference for one value of each thing that is not known.
func (r *Resolved) differenceAt(answer, other *planner.Plan, rate, stream float64, end int) float64 {
	sum := 0.0
	for i := range r.Problem.Models {
		m := r.Problem.Models[i] // a copy
		if x := r.Files[i].Timing; x != nil {
			passes := x.Passes()
			m.Call, m.StreamMS = x.Cost(timing.Vary{Rate: rate, Stream: stream, Passes: [...]float64{passes.Low, passes.Value, passes.High}[end+1]})
		} else if !m.Call.Measured {
			m.Call.BytesPerMS *= rate
		}
		a, b := &answer.Models[i], &other.Models[i]
		sum += m.Share * (m.StreamingMS(&b.Split) - m.StreamingMS(&a.Split) + b.Miss*m.Call.Load(b.Split.Cached) - a.Miss*m.Call.Load(a.Split.Cached))
	}
	return sum
}
