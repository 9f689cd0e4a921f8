// Package timing says how long calls of an analysed model take: what the host
// does, what crosses the link, what the chip computes, and what streaming adds
// to that. It puts the shapes of package compile and the constants of package cost together.
//
// Make a [Model] with [New], let it know what was measured with [Model.Measure] or
// [Model.Calibrate], and ask for its [Model.Cost] as a planner needs it, or for
// the [Model.Times] of one split with their intervals.
//
//	steady = host + (instructions + input) / rate + output x g + sum over ops of max(compute, passes x streamed / rate)
//	cold   = steady + max(0, (cached + load instructions) / rate - overlap) + overhead
//
// Times are ms, sizes bytes, rates bytes per ms.
package timing

import (
	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
)

// How far numbers are off that were measured or hidden.
const (
	repeats                   = 0.02 // times of one call repeat within 1.6 %
	hiddenLow, hiddenHigh     = 0.8, 1.2
	leastFactor, mostFactor   = 0.8, 1.25 // of modelled compute, where a measured time leaves open what took it
	bisections                = 60
	passesLeast, passesGreats = 0.5, 2.2
)

// Model times one model on one link.
type Model struct {
	model     *compile.Model
	link      cost.Link
	traffic   cost.Traffic
	loadBytes float64
	overlap   float64
	computes  []float64 // of each op by its shape, 0 if it is not on the Edge TPU
	whole     []int64   // bytes of each op that may be cached
	inPasses  bool

	factor  cost.Range // of the compute by shape
	passes  cost.Range // of the passes by shape
	slopeMS float64    // ms that a streamed byte takes beyond all this
	rated   bool       // the rate was measured with the model
	timed   *timed
	known   bool    // its compute was measured, or fitted to measurements
	faster  float64 // bytes a ms, if a measured time says that the link carries more than it is taken to
}

// timed is a warm time that was measured, and what was streamed then.
type timed struct {
	of     *Model // as it was compiled then
	steady float64
	ops    []cost.Op
}

// New times a model of which nothing is measured. loadBytes are the instruction bytes of a load.
func New(m *compile.Model, link cost.Link, t cost.Traffic, loadBytes float64) *Model {
	x := &Model{
		model: m, link: link, traffic: t, loadBytes: loadBytes,
		computes: make([]float64, len(m.Ops)), whole: make([]int64, len(m.Ops)),
		factor: m.Timing.Reach.Spread(), passes: cost.Exactly(1),
	}
	slow := link.Slow
	if slow == 0 {
		slow = 1
	}
	for i := range m.Ops {
		if m.Ops[i].Mapped {
			x.computes[i] = float64(slow * m.Ops[i].Work.MS())
		}
	}
	for i := range m.Load.Parts {
		part := &m.Load.Parts[i]
		x.whole[part.Op] += part.Bytes
		x.inPasses = x.inPasses || x.cut(part)
	}
	if x.inPasses {
		x.passes = cost.Range{Value: 1, Low: passesLeast, High: passesGreats}
	}
	return x
}

// Shapes times a model of which only its shapes are known.
func Shapes(m *compile.Model, link cost.Link) *Model {
	return New(m, link, Traffic(m, nil), LoadBytes(nil))
}

// Traffic is what a warm call moves besides parameters: as a compiled file has it, where facts tell, else by the model alone.
func Traffic(m *compile.Model, facts *compile.ModelFacts) cost.Traffic {
	program := cost.Program{Ops: m.TPUOps, Compiler16: !m.Settings.Version.Sequential(), Softmax: m.Timing.Softmax}
	t := cost.Traffic{Instructions: program.InstructionBytes(), Input: m.InputBytes, Output: m.OutputBytes}
	if facts == nil {
		return t
	}
	if facts.InstructionBytes != nil {
		t.Instructions = *facts.InstructionBytes
	}
	if facts.InputBytes != nil && facts.OutputBytes != nil {
		t.Input, t.Output = *facts.InputBytes, *facts.OutputBytes
	}
	return t
}

// LoadBytes are the instruction bytes of a load, as a compiled file has them or as usual.
func LoadBytes(facts *compile.ModelFacts) float64 {
	if facts != nil && facts.LoadInstructionBytes != nil {
		return float64(*facts.LoadInstructionBytes)
	}
	return cost.LoadInstructionBytes
}

// With is the model with parameters of other sizes.
func (m *Model) With(load compile.Load) *Model {
	resized, x := *m.model, *m
	resized.Load = load
	x.model, x.whole = &resized, make([]int64, len(m.whole))
	for i := range load.Parts {
		x.whole[load.Parts[i].Op] += load.Parts[i].Bytes
	}
	return &x
}

// cut reports a part of an op that runs in several passes.
func (m *Model) cut(part *compile.Part) bool { return m.model.Ops[part.Op].Passes.Value > 1 }

// InPasses reports whether parameters that may be streamed are sent several times a call.
func (m *Model) InPasses() bool { return m.inPasses }

// Passes is by what the predicted number of passes may have to be multiplied.
func (m *Model) Passes() cost.Range { return m.passes }

// Known reports whether the model's compute rests on measurements.
func (m *Model) Known() bool { return m.known }

// Vary are other values of what is not known, as factors; 0 is 1.
type Vary struct {
	Rate   float64 // of the link, unless it was measured with the model
	Stream float64 // of what streaming an op adds, where it is sent once
	Passes float64 // of the passes that are predicted
}

func (v Vary) filled(m *Model) Vary {
	if v.Rate == 0 || m.rated {
		v.Rate = 1
	}
	if v.Stream == 0 {
		v.Stream = 1
	}
	if v.Passes == 0 {
		v.Passes = m.passes.Value
	}
	return v
}

// times is how often a part is sent.
func (m *Model) times(part *compile.Part, v Vary) float64 {
	if !m.cut(part) {
		return 1
	}
	return max(1, m.model.Ops[part.Op].Passes.Value*v.Passes)
}

// ops are the model's ops with what a split streams of them.
func (m *Model) ops(split *compile.Split, v Vary) []cost.Op {
	list := make([]cost.Op, len(m.computes))
	for i, ms := range m.computes {
		list[i] = cost.Op{MS: ms, Passes: 1}
	}
	if len(split.InCache) != len(m.model.Load.Parts) { // a real split that names no parts: nothing hides it
		return append(list, cost.Op{Streamed: float64(max(0, split.Streamed-m.model.Load.Streamed)), Passes: 1})
	}
	for i := range m.model.Load.Parts {
		part := &m.model.Load.Parts[i]
		if !split.InCache[i] {
			list[part.Op].Streamed += float64(part.Bytes)
			list[part.Op].Passes = m.times(part, v)
		}
	}
	return list
}

// constants is what streaming the constants takes that are never cached.
func (m *Model) constants(rate float64) float64 { return float64(m.model.Load.Streamed) / rate }

// besides is what a warm call takes besides its ops and the host: the bytes of every call.
func (m *Model) besides(v Vary) float64 {
	link := m.link
	link.BytesPerMS *= v.Rate
	return m.traffic.MS(link) + m.constants(link.BytesPerMS)
}

// Measure takes times that were measured with the model compiled alone, with a
// split that names its parts. of is the model as it was compiled then, which is another
// one for another release of the compiler. The error is a [*cost.EvidenceError].
func (m *Model) Measure(t cost.Timed, of *Model, alone *compile.Split) error {
	own, measured, err := t.Rate(m.link)
	if err != nil {
		return err
	}
	m.link, m.rated = own, measured
	if measured {
		m.loadBytes = cost.LoadInstructionBytes
	}
	of.link, of.rated = m.link, measured
	x := &timed{of: of, steady: t.SteadyMS}
	few := of.ops(alone, Vary{Rate: 1, Passes: of.passes.Low})
	least := func(factor, rate float64) float64 { return cost.OpsMS(few, factor, rate) + of.constants(rate) }
	fastest := own.BytesPerMS // that the link may be
	if !measured && own.RateHigh > 1 {
		fastest *= own.RateHigh
	}
	if err := t.Streams(least(0, fastest), fastest); err != nil {
		return err
	}
	// Shorter than what it streams takes at the built-in rate, with the compute that it
	// must have: the link is faster than hosts of the kind are taken to be.
	if need := func(rate float64) bool {
		link := of.link
		link.BytesPerMS = rate
		return least(1, rate)+of.traffic.MS(link)+link.Call.Low > t.SteadyMS
	}; least(0, own.BytesPerMS) > least(0, fastest) && least(leastFactor, own.BytesPerMS)+of.traffic.MS(of.link)+of.link.Call.Low > t.SteadyMS {
		low, high := own.BytesPerMS, fastest
		for range bisections {
			if middle := (low + high) / 2; need(middle) {
				low = middle
			} else {
				high = middle
			}
		}
		m.faster = high
		m.link.BytesPerMS, of.link.BytesPerMS = high, high
	}
	x.ops = of.ops(alone, Vary{Rate: 1, Passes: 1})
	m.timed, m.known = x, true
	x.bound(m)
	f, _ := x.solve(Vary{}.filled(m))
	m.factor = cost.Exactly(f)
	return nil
}

// with are the ops as they were timed, under other values.
func (x *timed) with(v Vary) []cost.Op {
	ops := append([]cost.Op(nil), x.ops...)
	for i := range ops {
		if ops[i].Passes > 1 {
			ops[i].Passes = max(1, ops[i].Passes*v.Passes)
		}
	}
	return ops
}

// once is what streaming added to the measured time where it is sent once.
func (x *timed) once(v Vary, factor float64) float64 {
	ms := 0.0
	for _, o := range x.ops {
		if o.Passes == 1 {
			ms += cost.StreamMS(o.Streamed, 1, factor*o.MS, x.of.link.BytesPerMS*v.Rate)
		}
	}
	return ms
}

// solve is the factor of compute, and what the host takes, that give the measured time.
func (x *timed) solve(v Vary) (factor, host float64) {
	ops, rate := x.with(v), x.of.link.BytesPerMS*v.Rate
	left := x.steady - x.of.besides(v)
	factor = cost.Factor(ops, left-x.of.link.Call.Value, rate)
	// What the ops leave is the host's: all it is taken to need, unless they leave less. Below
	// nothing the bytes of a call are faster than they are taken to be.
	return factor, left - cost.OpsMS(ops, factor, rate)
}

// bound takes from the measured time how often parameters can have been sent: not so often
// that nothing is left for compute, nor so rarely that compute was far longer than modelled.
func (x *timed) bound(m *Model) {
	streams := false
	for _, o := range x.ops {
		streams = streams || o.Passes > 1 && o.Streamed > 0
	}
	if !streams {
		return
	}
	rate := x.of.link.BytesPerMS
	left := x.steady - x.of.besides(Vary{Rate: 1}) - x.of.link.Call.Value
	at := func(times, factor float64) float64 {
		return cost.OpsMS(x.with(Vary{Passes: times}), factor, rate) - left
	}
	// where the time of ops that compute for so long crosses what was measured
	crossing := func(factor float64) float64 {
		low, high := m.passes.Low, m.passes.High
		if at(low, factor) >= 0 {
			return low
		}
		if at(high, factor) <= 0 {
			return high
		}
		for range bisections {
			if middle := (low + high) / 2; at(middle, factor) < 0 {
				low = middle
			} else {
				high = middle
			}
		}
		return low
	}
	m.passes.Low, m.passes.High = crossing(mostFactor), crossing(leastFactor)
	m.passes.Value = min(max(1, m.passes.Low), m.passes.High)
}

// Calibration is what timed calls of the device taught about the model.
type Calibration struct {
	ComputeMS cost.Range  // of a call, the host's part included
	Passes    *cost.Range // how often the predicted passes; nil is not known
	SlopeMS   float64     // ms that a streamed byte takes beyond what is predicted
	OverlapMS float64     // part of a load that is hidden
}

// Overlap says how much of a load is hidden behind compute, in ms.
func (m *Model) Overlap(ms float64) { m.overlap = ms }

// Calibrate takes what timed calls taught. The link is the calibrated one.
func (m *Model) Calibrate(c Calibration) {
	m.overlap, m.slopeMS, m.known = c.OverlapMS, c.SlopeMS, true
	all := m.compute()
	factor := func(ms float64) float64 {
		if all == 0 {
			return 0
		}
		return max(0, ms-m.link.Call.Value) / all
	}
	m.factor = cost.Range{Value: factor(c.ComputeMS.Value), Low: factor(c.ComputeMS.Low), High: factor(c.ComputeMS.High)}
	host := max(0, c.ComputeMS.Value-float64(m.factor.Value*all))
	m.link.Call = cost.Exactly(host)
	if c.Passes != nil {
		m.passes = *c.Passes
	}
}

// compute is that of all ops by their shapes.
func (m *Model) compute() float64 {
	ms := 0.0
	for _, c := range m.computes {
		ms += c
	}
	return ms
}

// at is the factor of compute and the host's part.
func (m *Model) at(v Vary) (factor, host float64) {
	if m.timed != nil {
		return m.timed.solve(v)
	}
	return m.factor.Value, m.link.Call.Value
}

// Cost is what a call costs, and what streaming each part of the model's load
// adds to a warm one, in ms: what it takes longer than the op computes. An op of several parts
// computes for each in proportion to its bytes.
func (m *Model) Cost(v Vary) (cost.Call, []float64) {
	v = v.filled(m)
	factor, host := m.at(v)
	link := m.link
	link.BytesPerMS *= v.Rate
	link.Call = cost.Exactly(host)
	call := cost.Modelled(link, m.traffic).Computing(float64(factor * m.compute()))
	call.FixedMS = max(0, call.FixedMS)
	call.LoadBytes, call.OverlapMS, call.Measured = m.loadBytes, m.overlap, m.rated
	if m.timed != nil { // alone it takes what was measured, however much is hidden
		if once := m.timed.once(v, factor); once > 0 {
			v.Stream = min(v.Stream, m.mostStream(call.FixedMS, once, link))
			call.FixedMS = max(0, call.FixedMS+float64((1-v.Stream)*once))
		}
	}
	stream := make([]float64, len(m.model.Load.Parts))
	for i := range m.model.Load.Parts {
		part := &m.model.Load.Parts[i]
		if part.Bytes == 0 {
			continue
		}
		computes := factor * m.computes[part.Op] * float64(part.Bytes) / float64(m.whole[part.Op])
		stream[i] = cost.StreamMS(float64(part.Bytes), m.times(part, v), computes, link.BytesPerMS) + float64(m.slopeMS*float64(part.Bytes))
		if !m.cut(part) {
			stream[i] *= v.Stream
		}
	}
	return call, stream
}

// mostStream is by how much longer streaming can have taken than it is predicted
// to: it added no more to what was measured than all that does not cross the link.
func (m *Model) mostStream(fixed, once float64, link cost.Link) float64 {
	return 1 + max(0, fixed-m.traffic.MS(link))/once
}

// StreamsUpTo reports whether streaming can take so many times as long as predicted: a
// measured time may leave less.
func (m *Model) StreamsUpTo(times float64) bool {
	if m.timed == nil {
		return true
	}
	v := Vary{}.filled(m)
	factor, host := m.at(v)
	once := m.timed.once(v, factor)
	return once == 0 || times <= m.mostStream(host+m.traffic.MS(m.link)+float64(factor*m.compute()), once, m.link)
}

// Times are those of a call with one split, term by term.
type Times struct {
	Host     cost.Range // what the host does
	Transfer float64    // of instructions and input
	Output   float64
	Compute  cost.Range // of all ops
	Stream   cost.Range // what streaming adds
	InPasses cost.Range // of that what is sent in several passes
	Load     cost.Range // what a cold call takes longer
	Steady   cost.Range
	Cold     cost.Range
	CPU      cost.CPUTime // what the CPU takes besides
}

// Times are the times of a call with a split whose parts are told, with their
// intervals. The upper ends are infinite for a model of which only a lower bound is known.
func (m *Model) Times(split *compile.Split) Times {
	call, stream := m.Cost(Vary{})
	factor, host := m.at(Vary{}.filled(m))
	t := Times{
		Host:     m.link.Call,
		Transfer: float64(m.traffic.Instructions+m.traffic.Input) / m.link.BytesPerMS,
		Output:   float64(float64(m.traffic.Output) * m.link.OutputMSPerByte),
		Compute:  cost.Exactly(float64(factor * m.compute())),
		Stream:   cost.Exactly(m.constants(m.link.BytesPerMS) + m.streamed(split, stream)),
		CPU:      m.link.CPUTime(m.model.Timing.CPU),
	}
	host = max(0, host)
	t.Host.Value = host
	t.Host.Low, t.Host.High = min(t.Host.Low, host), max(t.Host.High, host)
	// Fewer passes, or more of it hidden; and the other way round.
	little, much := Vary{Stream: hiddenLow, Passes: m.passes.Low}, Vary{Stream: hiddenHigh, Passes: m.passes.High}
	_, least := m.Cost(little)
	_, most := m.Cost(much)
	t.Stream.Low, t.Stream.High = min(t.Stream.Value, m.constants(m.link.BytesPerMS)+m.streamed(split, least)), max(t.Stream.Value, m.constants(m.link.BytesPerMS)+m.streamed(split, most))
	t.InPasses = cost.Range{Value: m.inCut(split, stream), Low: m.inCut(split, least), High: m.inCut(split, most)}
	t.Steady.Value = call.FixedMS + t.Stream.Value
	if m.known {
		t.measured(m, split, little, much)
	} else {
		t.modelled(m)
	}
	loads := call.Load(split.Cached)
	fast, slow := call, call
	if !m.rated && m.link.RateLow > 0 {
		fast.BytesPerMS *= m.link.RateHigh
		slow.BytesPerMS *= m.link.RateLow
	}
	t.Load = cost.Range{Value: loads, Low: fast.Load(split.Cached), High: slow.Load(split.Cached)}
	t.Cold = t.Steady.Plus(t.Load)
	return t
}

// modelled sets the intervals of a model of which nothing is measured: the
// whole call but the host's part is off by the factors that nets of its kind were.
func (t *Times) modelled(m *Model) {
	t.Compute.Low, t.Compute.High = scaled(t.Compute.Value, m.factor)
	rest := t.Transfer + t.Output + t.Compute.Value + t.Stream.Value
	low, high := rest, rest
	if m.inPasses {
		low, high = rest-t.Stream.Value+t.Stream.Low, rest-t.Stream.Value+t.Stream.High
	}
	t.Steady.Low, _ = scaled(low, m.factor)
	_, t.Steady.High = scaled(high, m.factor)
	// No part may be further off than the whole.
	t.Steady.Low = min(t.Steady.Low, rest-t.Stream.Value+t.Stream.Low)
	t.Steady.High = max(t.Steady.High, rest-t.Stream.Value+t.Stream.High)
	t.Steady.Low += t.Host.Low
	t.Steady.High += t.Host.High
}

func scaled(ms float64, by cost.Range) (low, high float64) {
	r := by.Times(ms)
	return r.Low, r.High
}

// measured sets the intervals of a model that was timed: times repeat, and what
// another split streams is hidden by more or less.
func (t *Times) measured(m *Model, split *compile.Split, little, much Vary) {
	whole := func(v Vary) float64 {
		call, stream := m.Cost(v)
		return call.FixedMS + m.constants(m.link.BytesPerMS) + m.streamed(split, stream)
	}
	fixed := t.Steady.Value - t.Stream.Value
	t.Compute.Low, t.Compute.High = max(0, t.Compute.Value-float64(repeats*fixed)), t.Compute.Value+float64(repeats*fixed)
	if m.factor.High > m.factor.Low { // fitted, with an interval
		all := m.compute()
		t.Compute.Low, t.Compute.High = float64(m.factor.Low*all), float64(m.factor.High*all)
	}
	off := cost.Range{Value: 0, Low: -float64(repeats * t.Steady.Value), High: float64(repeats * t.Steady.Value)}
	if m.factor.High > m.factor.Low {
		off.Low, off.High = t.Compute.Low-t.Compute.Value, t.Compute.High-t.Compute.Value
	}
	ends := []float64{whole(little), whole(much), t.Steady.Value}
	t.Steady.Low = max(0, min(ends[0], ends[1], ends[2])+off.Low)
	t.Steady.High = max(ends[0], ends[1], ends[2]) + off.High
	t.Host = cost.Exactly(t.Host.Value)
}

// OpTimes are those of one op of a call, in ms.
type OpTimes struct {
	Compute float64
	Stream  float64 // what streaming all of its parameters adds
}

// Ops are the times of each op, whatever a split caches of it. Those of an op on the CPU are 0.
func (m *Model) Ops() []OpTimes {
	_, stream := m.Cost(Vary{})
	factor, _ := m.at(Vary{}.filled(m))
	list := make([]OpTimes, len(m.computes))
	left := make([]int64, len(list)) // bytes that are never cached
	for i, ms := range m.computes {
		if o := &m.model.Ops[i]; o.Mapped {
			list[i].Compute, left[i] = float64(factor*ms), o.Bytes
		}
	}
	for i := range m.model.Load.Parts {
		part := &m.model.Load.Parts[i]
		list[part.Op].Stream += stream[i]
		left[part.Op] -= part.Bytes
	}
	for i := range list {
		list[i].Stream += float64(max(0, left[i])) / m.link.BytesPerMS
	}
	return list
}

// inCut is what of that parts add that are sent in several passes.
func (m *Model) inCut(split *compile.Split, stream []float64) float64 {
	ms := 0.0
	for i := range stream {
		if len(split.InCache) == len(stream) && !split.InCache[i] && m.cut(&m.model.Load.Parts[i]) {
			ms += stream[i]
		}
	}
	return ms
}

// Factor is by what the compute that shapes predict is multiplied.
func (m *Model) Factor() float64 { return m.factor.Value }

// Faster is the rate that the link must have for a measured time to be true, in
// bytes a ms; 0 if that is no more than it is taken to have.
func (m *Model) Faster() float64 { return m.faster }

// streamed is what the streamed parts of a split add; as much as it can be
// where it does not name them.
func (m *Model) streamed(split *compile.Split, stream []float64) float64 {
	if len(split.InCache) != len(stream) {
		bytes := make([]int64, len(stream))
		for i := range bytes {
			bytes[i] = m.model.Load.Parts[i].Bytes
		}
		return max(0, cost.Untold(bytes, stream, split.Streamed-m.model.Load.Streamed, m.link.BytesPerMS))
	}
	ms := 0.0
	for i, cached := range split.InCache {
		if !cached {
			ms += stream[i]
		}
	}
	return ms
}
