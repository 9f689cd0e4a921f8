package cost

import (
	"errors"
	"fmt"
)

// Call is what a call of one model costs, given how many of its packed
// parameter bytes are cached and streamed. Times are milliseconds, rates
// bytes per millisecond.
type Call struct {
	// FixedMS is everything of a warm call that no plan changes: transfer of
	// instructions, input and output, and, only if ComputeIncluded, compute
	// and host overhead.
	FixedMS         float64
	ComputeIncluded bool
	BytesPerMS      float64 // for loads and for streamed parameters
	LoadBytes       float64 // instruction bytes of a load
	OverheadMS      float64 // fixed extra of a call that loads
	OverlapMS       float64 // part of a load that compute hides
	Measured        bool    // BytesPerMS comes from the user's own measurement of this model
}

// Steady is the time of a warm call that streams the given bytes.
func (c *Call) Steady(streamed int64) float64 {
	return c.FixedMS + float64(float64(streamed)/c.BytesPerMS)
}

// Load is what a call takes longer when the cached bytes must be loaded
// first; 0 when nothing is cached, for then nothing is loaded.
func (c *Call) Load(cached int64) float64 {
	if cached == 0 {
		return 0
	}
	return max(0, float64((float64(cached)+c.LoadBytes)/c.BytesPerMS)-c.OverlapMS) + c.OverheadMS
}

// Cold is the time of a call that finds its parameters gone.
func (c *Call) Cold(cached, streamed int64) float64 {
	return c.Steady(streamed) + c.Load(cached)
}

// Expected is the mean time of a call that finds its parameters gone with probability miss.
func (c *Call) Expected(cached, streamed int64, miss float64) float64 {
	return c.Steady(streamed) + float64(miss*c.Load(cached))
}

// Modelled is the cost of a call before anything was measured: the link's
// rate, and no compute. All arguments are bytes per call.
func Modelled(link Link, instructions, input, output float64) Call {
	return Call{
		FixedMS:    (instructions + input + output) / link.BytesPerMS,
		BytesPerMS: link.BytesPerMS,
		LoadBytes:  LoadInstructionBytes,
		OverheadMS: link.OverheadMS,
	}
}

// ErrStreamsLonger says that a measured warm time is shorter than the model's
// own streaming would take.
var ErrStreamsLonger = errors.New("the warm time is shorter than streaming the model's own parameters takes")

// Calibrated is the cost of a call from times measured with the model
// compiled alone: steadyMS warm and, if coldMS is not nil, the first call
// after the parameters were lost. cached and streamed are the model's packed bytes when compiled alone.
//
// With both times the model gets a transfer rate of its own, (cached + load
// instructions) / (cold - steady), in which the overhead of a load is contained.
// Errors: a cold time not above the warm one, a cold time of a model that
// caches nothing, or (wrapping [ErrStreamsLonger]) times that contradict the sizes.
func Calibrated(link Link, steadyMS float64, coldMS *float64, cached, streamed int64) (Call, error) {
	c := Call{
		ComputeIncluded: true,
		BytesPerMS:      link.BytesPerMS,
		LoadBytes:       LoadInstructionBytes,
		OverheadMS:      link.OverheadMS,
	}
	if coldMS != nil {
		switch {
		case *coldMS <= steadyMS:
			return Call{}, fmt.Errorf("cold %gms is not above steady %gms", *coldMS, steadyMS)
		case cached == 0:
			return Call{}, errors.New("nothing of the model is cached when it is compiled alone, so it has no cold time")
		}
		c.BytesPerMS = (float64(cached) + c.LoadBytes) / (*coldMS - steadyMS)
		c.OverheadMS = 0
		c.Measured = true
	}
	streaming := float64(streamed) / c.BytesPerMS
	if streaming > steadyMS {
		return Call{}, fmt.Errorf("%w: %gms against %.3gms for %d bytes", ErrStreamsLonger, steadyMS, streaming, streamed)
	}
	c.FixedMS = steadyMS - streaming
	return c, nil
}
