package cost

import (
	"fmt"
	"math"
)

// Call is what a call of one model costs, given its split. Times in
// milliseconds, rates in bytes per millisecond.
type Call struct {
	// FixedMS is everything of a warm call that no plan changes: transfer of
	// instructions, input and output, and (only when ComputeIncluded) compute and host overhead.
	FixedMS         float64
	ComputeIncluded bool
	BytesPerMS      float64 // transfer rate for loads and for streamed parameters
	LoadBytes       float64 // instruction bytes of a load, sent besides the cached parameters
	OverheadMS      float64 // c: fixed extra of a call that loads
	OverlapMS       float64 // part of a load hidden behind compute
	Measured        bool    // BytesPerMS comes from the user's own measurement of this model
	// StallSlope is what a streamed byte of a convolution takes beyond its
	// transfer, in transfer times: 0 at the link's rate, 7 where it takes eight times as long.
	StallSlope float64
}

// Steady is the time of a warm call, whose cached parameters are on the
// device, when streamed bytes of parameters are sent with every call. Where
// streaming stalls compute the true time is longer, so this is a lower bound
// for convolutions that are streamed.
func (c Call) Steady(streamed int64) float64 {
	return c.FixedMS + float64(streamed)/c.BytesPerMS
}

// Stall is what a warm call takes beyond [Call.Steady] because streaming that
// many bytes of convolutions makes compute wait, s_m(E). It is not 0 only where
// a slope is given.
func (c Call) Stall(convolutions int64) float64 {
	return float64(c.StallSlope*float64(convolutions)) / c.BytesPerMS
}

// Load is what a call takes longer that first has to load its cached bytes;
// 0 when nothing is cached, for then there is nothing to load.
func (c Call) Load(cached int64) float64 {
	if cached == 0 {
		return 0
	}
	return max(0, (float64(cached)+c.LoadBytes)/c.BytesPerMS-c.OverlapMS) + c.OverheadMS
}

// Cold is the time of a call that finds its parameters gone.
func (c Call) Cold(cached, streamed int64) float64 {
	return c.Steady(streamed) + c.Load(cached)
}

// Expected is the mean time of a call that finds its parameters gone with
// probability miss.
func (c Call) Expected(cached, streamed int64, miss float64) float64 {
	return c.Steady(streamed) + float64(miss*c.Load(cached))
}

// Modelled is the cost of a model of which nothing was measured. The
// instructions, input and output of an inference cross the link once per
// call; compute is left out (it is the same in every plan) and
// ComputeIncluded says so.
func Modelled(link Link, instructionBytes, inputBytes, outputBytes int64) Call {
	return Call{
		FixedMS:    float64(instructionBytes+inputBytes+outputBytes) / link.BytesPerMS,
		BytesPerMS: link.BytesPerMS,
		LoadBytes:  LoadInstructionBytes,
		OverheadMS: link.OverheadMS,
	}
}

// maxBytesPerMS is far above what any link carries, a TB/s.
const maxBytesPerMS = 1e9

// EvidenceError says that measured times contradict each other or the split.
type EvidenceError struct {
	Key    string // "steady" or "cold": the measurement to look at
	Reason string
}

func (e *EvidenceError) Error() string { return e.Key + " " + e.Reason }

// Calibrated is the cost of a model that was measured alone on the device:
// steadyMS is its warm time, coldMS (0: not measured) the time of a call that
// loads first, cachedAlone and streamedAlone are its split, in bytes, when
// compiled alone.
//
// With both times the model gets its own transfer rate, which holds for its
// loads and its streaming, and the link's overhead is contained in it.
// With steadyMS alone the link's rate and overhead hold and Measured stays
// false. The error is an [*EvidenceError].
func Calibrated(link Link, steadyMS, coldMS float64, cachedAlone, streamedAlone int64) (Call, error) {
	c := Call{ComputeIncluded: true, BytesPerMS: link.BytesPerMS, LoadBytes: LoadInstructionBytes, OverheadMS: link.OverheadMS}
	positive := func(ms float64) bool { return ms > 0 && !math.IsInf(ms, 0) }
	if coldMS != 0 {
		switch {
		case !positive(coldMS):
			return Call{}, &EvidenceError{"cold", fmt.Sprintf("is %g ms: a time of a call is more than 0", coldMS)}
		case steadyMS == 0:
			return Call{}, &EvidenceError{"cold", "says nothing without steady: the difference of the two is the load"}
		case coldMS <= steadyMS:
			return Call{}, &EvidenceError{"cold", fmt.Sprintf("is %g ms, not more than steady (%g ms): a cold call loads parameters first", coldMS, steadyMS)}
		case cachedAlone == 0:
			return Call{}, &EvidenceError{"cold", "says nothing about a model of which nothing is cached when it is compiled alone: it has no load"}
		}
	}
	if !positive(steadyMS) {
		return Call{}, &EvidenceError{"steady", fmt.Sprintf("is %g ms: a time of a call is more than 0", steadyMS)}
	}
	if coldMS != 0 {
		c.BytesPerMS = (float64(cachedAlone) + LoadInstructionBytes) / (coldMS - steadyMS)
		if c.BytesPerMS > maxBytesPerMS {
			return Call{}, &EvidenceError{"cold", fmt.Sprintf("is only %.3g ms more than steady, too little to load %d bytes over any link", coldMS-steadyMS, cachedAlone)}
		}
		c.OverheadMS = 0
		c.Measured = true
	}
	streaming := float64(streamedAlone) / c.BytesPerMS
	if streaming > steadyMS {
		return Call{}, &EvidenceError{"steady", fmt.Sprintf("is %g ms, but the %d bytes streamed with every call alone take %.4g ms at %.4g MB/s: check the link, the unit and the model",
			steadyMS, streamedAlone, streaming, c.BytesPerMS/1000)}
	}
	c.FixedMS = steadyMS - streaming
	return c, nil
}
