package compile

import (
	"strings"

	"github.com/tpuplan/tpuplan/compile/report"
)

// Input is one model of an invocation.
type Input struct {
	File    string  // as on the command line
	Bytes   int64   // size of the file
	Model   *Model  // from Analyze, with Load.Content set to the file's identity
	Reserve Reserve // the model's own: Model.Reserve unless something better is known
}

// Prediction is what edgetpu_compiler would report for one invocation, with
// what it does not print: packed bytes, and how sure each number is.
type Prediction struct {
	Version       Version
	Reserve       Reserve          // of the invocation: the largest of the members'
	Capacity      int64            // bytes that can be cached in all
	Remaining     int64            // bytes left after all models
	RuleCertainty report.Certainty // of the allocation rule
	SharesLayers  bool             // different models share layers, see [SharesLayers]
	Measured      bool             // these models have been compiled together, in this order or one that makes no difference
	Models        []Predicted
	Report        report.Report
}

// Predicted is one model's share.
type Predicted struct {
	Input
	Split      Split
	CachedLow  int64 // packed bytes, over the rows that the reserve may be
	CachedHigh int64
	Certainty  report.Certainty
}

// fullVersions are the releases' complete numbers as the compiler prints them.
var fullVersions = [...]string{
	"1.0.249710469", "2.0.291256449", "2.1.302470888", "14.1.317412892", "15.0.340273435", "16.0.384591198",
}

// defaultTimeout is the timer that 16.0 announces, in seconds.
const defaultTimeout = 180

// reserveSamples is at how many values of an uncertain reserve the split is
// computed: caching is not monotone in the room, so the ends alone prove nothing.
const reserveSamples = 64

// GroupReserve is the reserve of an invocation: the largest of its members'.
func GroupReserve(members []Reserve) Reserve {
	if len(members) == 0 {
		return Reserve{Source: FromFormula}
	}
	r := members[0]
	for _, m := range members[1:] {
		if m.Rows > r.Rows {
			r.Rows, r.Source = m.Rows, m.Source
		}
		r.Low, r.High = max(r.Low, m.Low), max(r.High, m.High)
		r.Certainty = r.Certainty.Weaker(m.Certainty)
		r.Fits = r.Fits && m.Fits
	}
	return r
}

// Predict says what version v of edgetpu_compiler would report for one
// invocation with these models in this order.
func Predict(v Version, inputs []Input) *Prediction { return (*Facts)(nil).Predict(v, inputs) }

// Predict is the package's Predict for one who knows facts: an invocation that
// has been compiled has the splits that it had. The models must have been
// corrected by [Facts.Apply].
func (f *Facts) Predict(v Version, inputs []Input) *Prediction {
	loads := make([]*Load, len(inputs))
	reserves := make([]Reserve, len(inputs))
	for i := range inputs {
		loads[i], reserves[i] = &inputs[i].Model.Load, inputs[i].Reserve
	}
	p := &Prediction{
		Version:       v,
		Reserve:       GroupReserve(reserves),
		RuleCertainty: AllocatorCertainty(v, len(inputs)),
		Models:        make([]Predicted, len(inputs)),
	}
	if p.SharesLayers = SharesLayers(loads); p.SharesLayers && !v.Sequential() {
		p.RuleCertainty = p.RuleCertainty.Weaker(report.Heuristic)
	}
	known := f.Known(inputs)
	var splits []Split
	if known != nil {
		p.Measured, p.Reserve, splits = true, known.Reserve, known.Splits
	} else {
		splits = Allocate(v, p.Reserve.Rows, loads)
	}
	p.Capacity = int64(PoolRows(p.Reserve.Rows)) * RowBytes
	low, high := make([]int64, len(loads)), make([]int64, len(loads))
	if known == nil {
		low, high = cachedRange(v, p.Reserve, loads)
	}
	p.Remaining = p.Capacity
	for i, s := range splits {
		p.Remaining -= int64(s.Rows) * RowBytes // copies of one model too: each has its own rows
		c := inputs[i].Model.Certainty.Weaker(p.RuleCertainty)
		if known != nil {
			low[i], high[i], c = s.Cached, s.Cached, report.Exact
		}
		if low[i] != high[i] {
			c = c.Weaker(p.Reserve.Certainty)
		}
		p.Models[i] = Predicted{Input: inputs[i], Split: s, CachedLow: min(low[i], s.Cached), CachedHigh: max(high[i], s.Cached), Certainty: c}
	}
	p.Remaining = max(0, p.Remaining)
	p.Report = p.report()
	return p
}

// cachedRange is the least and the most bytes of each model that are cached
// over the rows the reserve may be.
func cachedRange(v Version, r Reserve, loads []*Load) (low, high []int64) {
	low, high = make([]int64, len(loads)), make([]int64, len(loads))
	try := sharer(v, loads)
	step := max(1, (r.High-r.Low)/reserveSamples)
	for n, rows := 0, r.Low; rows <= r.High; n, rows = n+1, rows+step {
		for i, s := range try(rows) {
			if n == 0 || s.Cached < low[i] {
				low[i] = s.Cached
			}
			high[i] = max(high[i], s.Cached)
		}
	}
	return low, high
}

// sharer returns a function that computes the shares of an invocation for many reserves.
func sharer(v Version, loads []*Load) func(reserved int) []Share {
	if !v.Sequential() {
		var g Merger
		var out []Share
		return func(reserved int) []Share {
			out = g.Allocate(reserved, loads, out)
			return out
		}
	}
	sorted := make([]*SortedLoad, len(loads))
	for i, l := range loads {
		sorted[i] = l.Sorted()
	}
	out := make([]Share, len(loads))
	return func(reserved int) []Share {
		pool := NewPool(reserved)
		for i, l := range sorted {
			out[i] = pool.Place(v, l)
		}
		return out
	}
}

// report puts the prediction into the compiler's words.
func (p *Prediction) report() report.Report {
	r := report.Report{Compiler: fullVersions[p.Version]}
	if p.Version == V16_0 {
		r.TimeoutS = defaultTimeout
	}
	available := p.Capacity
	for i := range p.Models {
		m := &p.Models[i]
		x := report.Model{
			Input: m.File, Output: OutputName(m.File), OperationLog: strings.TrimSuffix(OutputName(m.File), ".tflite") + ".log",
			InputSize: report.Exactly(m.Bytes),
			Subgraphs: m.Model.Subgraphs, Operations: len(m.Model.Ops),
			TPUOperations: m.Model.TPUOps, CPUOperations: m.Model.CPUOps,
			OnChip: report.Exactly(int64(m.Split.Rows) * RowBytes), Streamed: report.Exactly(m.Split.Streamed),
			Operators: m.Model.operators(),
			Failure:   m.Model.Failure,
		}
		left, remaining := available, p.Remaining
		if m.Model.Subgraphs == 0 {
			left, remaining = 0, 0
		}
		if p.Version <= V2_0 {
			x.Available = report.Exactly(left)
		} else {
			x.Remaining = report.Exactly(remaining)
		}
		available -= int64(m.Split.Rows) * RowBytes
		r.Errors = append(r.Errors, m.Model.Errors...)
		// one model that cannot be compiled fails the call; one of which nothing maps does not
		if f := m.Model.Failure; f != nil && (r.Failure == nil || r.Failure.Kind == report.ZeroSubgraphs) {
			r.Failure = f
		}
		r.Models = append(r.Models, x)
	}
	if r.Failure != nil && r.Failure.Kind != report.ZeroSubgraphs {
		r.CompileMS = report.NotPrinted
	}
	return r
}

// operators counts the ops by name and status, in the order of first appearance.
func (m *Model) operators() []report.Operator {
	var list []report.Operator
	at := map[[2]string]int{}
	for i := range m.Ops {
		o := &m.Ops[i]
		k, ok := at[[2]string{o.Name, o.Reason}]
		if !ok {
			k = len(list)
			at[[2]string{o.Name, o.Reason}] = k
			list = append(list, report.Operator{Op: o.Name, Status: o.Reason})
		}
		list[k].Count++
	}
	return list
}
