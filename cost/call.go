package cost

import (
	"fmt"
	"math"
	"sort"
)

// Call is what a call of one model costs, given what streaming takes. Times in
// milliseconds, rates in bytes per millisecond.
type Call struct {
	// FixedMS is everything of a warm call that no plan changes: the host's part, transfer of
	// instructions, input and output, and (only when ComputeIncluded) compute.
	FixedMS         float64
	ComputeIncluded bool
	BytesPerMS      float64 // transfer rate for loads and for streamed parameters
	LoadBytes       float64 // instruction bytes of a load, sent besides the cached parameters
	OverheadMS      float64 // c: fixed extra of a call that loads
	OverlapMS       float64 // part of a load hidden behind compute
	Measured        bool    // BytesPerMS comes from the user's own measurement of this model
}

// Steady is the time of a warm call, whose cached parameters are on the
// device, when streaming the others adds streamMS ([StreamMS], of each op).
func (c Call) Steady(streamMS float64) float64 { return c.FixedMS + streamMS }

// Load is what a call takes longer that first has to load its cached bytes;
// 0 when nothing is cached, for then there is nothing to load.
func (c Call) Load(cached int64) float64 {
	if cached == 0 {
		return 0
	}
	return max(0, (float64(cached)+c.LoadBytes)/c.BytesPerMS-c.OverlapMS) + c.OverheadMS
}

// Cold is the time of a call that finds its parameters gone.
func (c Call) Cold(cached int64, streamMS float64) float64 {
	return c.Steady(streamMS) + c.Load(cached)
}

// Expected is the mean time of a call that finds its parameters gone with
// probability miss.
func (c Call) Expected(cached int64, streamMS, miss float64) float64 {
	return c.Steady(streamMS) + float64(miss*c.Load(cached))
}

// Traffic is what a warm call moves over the link besides parameters, in bytes.
type Traffic struct{ Instructions, Input, Output int64 }

// MS is what moving it takes over a link.
func (t Traffic) MS(l Link) float64 {
	return float64(t.Instructions+t.Input)/l.BytesPerMS + float64(float64(t.Output)*l.OutputMSPerByte)
}

// Modelled is the cost of a model of which nothing was measured, but for its
// compute: the host's part and the bytes of every call. ComputeIncluded says that compute is
// left out, which is so where only a compiled file is known; [Call.Computing] adds it.
func Modelled(link Link, t Traffic) Call {
	return Call{
		FixedMS:    link.Call.Value + t.MS(link),
		BytesPerMS: link.BytesPerMS,
		LoadBytes:  LoadInstructionBytes,
		OverheadMS: link.OverheadMS,
	}
}

// Computing is the call with the compute of all its ops, in ms.
func (c Call) Computing(ms float64) Call {
	c.FixedMS += ms
	c.ComputeIncluded = true
	return c
}

// maxBytesPerMS is far above what any link carries, a TB/s.
const maxBytesPerMS = 1e9

// EvidenceError says that measured times contradict each other or the split.
type EvidenceError struct {
	Key    string // "steady" or "cold": the measurement to look at
	Reason string
}

func (e *EvidenceError) Error() string { return e.Key + " " + e.Reason }

// Op is an op of a model as it ran: how long it computes, and what it streamed meanwhile.
type Op struct {
	MS       float64 // of compute, by its shape
	Streamed float64 // bytes of its parameters that are streamed, in each pass
	Passes   float64 // how often they are sent, 1 unless the net runs in passes
}

// OpsMS is how long ops take when they compute factor times as long as their
// shapes say: each its compute or its transfer, whichever lasts longer.
func OpsMS(ops []Op, factor, bytesPerMS float64) float64 {
	ms := 0.0
	for _, o := range ops {
		compute := float64(factor * o.MS)
		ms += compute + StreamMS(o.Streamed, o.Passes, compute, bytesPerMS)
	}
	return ms
}

// Factor is by what the modelled compute of ops has to be multiplied so that
// they take so many ms; 0 where streaming alone takes as long or longer.
func Factor(ops []Op, ms, bytesPerMS float64) float64 {
	// The time grows with the factor; at an op's knee its compute takes over.
	knees := make([]float64, 0, len(ops))
	for _, o := range ops {
		if o.MS > 0 && o.Streamed > 0 {
			knees = append(knees, float64(o.Passes*o.Streamed)/bytesPerMS/o.MS)
		}
	}
	sort.Float64s(knees)
	low, at := 0.0, OpsMS(ops, 0, bytesPerMS)
	if ms <= at {
		return 0
	}
	for _, k := range knees {
		next := OpsMS(ops, k, bytesPerMS)
		if next >= ms {
			return low + float64((k-low)*((ms-at)/(next-at)))
		}
		low, at = k, max(at, next) // before the first knees nothing may grow
	}
	all := 0.0 // beyond the last knee everything computes, but what streams without computing
	for _, o := range ops {
		all += o.MS
	}
	if all == 0 {
		return 0
	}
	return low + (ms-at)/all
}

// Timed are times of a model that were measured with it compiled alone.
type Timed struct {
	SteadyMS float64 // of a warm call
	ColdMS   float64 // of a call that loads first; 0: not measured
	Cached   int64   // bytes of its split
	Streamed int64
}

// Rate is the link as the model has it: its own rate where both times are given, which holds for its
// loads and its streaming and contains the overhead. Measured is false where the
// link's rate and overhead hold. The error is an [*EvidenceError].
func (t Timed) Rate(link Link) (own Link, measured bool, err error) {
	positive := func(ms float64) bool { return ms > 0 && !math.IsInf(ms, 0) }
	if t.ColdMS != 0 {
		switch {
		case !positive(t.ColdMS):
			return link, false, &EvidenceError{"cold", fmt.Sprintf("is %g ms: a time of a call is more than 0", t.ColdMS)}
		case t.SteadyMS == 0:
			return link, false, &EvidenceError{"cold", "says nothing without steady: the difference of the two is the load"}
		case t.ColdMS <= t.SteadyMS:
			return link, false, &EvidenceError{"cold", fmt.Sprintf("is %g ms, not more than steady (%g ms): a cold call loads parameters first", t.ColdMS, t.SteadyMS)}
		case t.Cached == 0:
			return link, false, &EvidenceError{"cold", "says nothing about a model of which nothing is cached when it is compiled alone: it has no load"}
		}
	}
	if !positive(t.SteadyMS) {
		return link, false, &EvidenceError{"steady", fmt.Sprintf("is %g ms: a time of a call is more than 0", t.SteadyMS)}
	}
	if t.ColdMS != 0 {
		rate := (float64(t.Cached) + LoadInstructionBytes) / (t.ColdMS - t.SteadyMS)
		if rate > maxBytesPerMS {
			return link, false, &EvidenceError{"cold", fmt.Sprintf("is only %.3g ms more than steady, too little to load %d bytes over any link", t.ColdMS-t.SteadyMS, t.Cached)}
		}
		link.BytesPerMS, link.OverheadMS, measured = rate, 0, true
	}
	return link, measured, nil
}

// Streams refuses a warm time that is shorter than streaming alone takes, given the least
// that streaming can take of it.
func (t Timed) Streams(leastMS, bytesPerMS float64) error {
	if leastMS > t.SteadyMS {
		return &EvidenceError{"steady", fmt.Sprintf("is %g ms, but the %d bytes streamed with every call alone take %.4g ms at %.4g MB/s: check the link, the unit and the model",
			t.SteadyMS, t.Streamed, leastMS, bytesPerMS/1000)}
	}
	return nil
}
