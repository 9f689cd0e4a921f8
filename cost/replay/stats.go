package replay

import "math"

// Summary is what was counted of some calls.
type Summary struct {
	Calls int64
	Loads int64 // calls that had to load parameters first
	Hits  int64 // calls that had not
	Bytes int64 // that crossed the bus
	// Service is the time of a call from its start to its end.
	Service *Distribution
	// Response is the time from arrival to end, waiting included; nil if
	// calls are not timed. WaitMS is the mean of what a call waits.
	Response *Distribution
	WaitMS   float64
	// ErrorMS is how far the mean of Service may be from that of an endless
	// replay, with a confidence of 95 %, if the calls were drawn at random: half
	// the width of the interval, by the method of batch means. ErrorKnown is
	// false for too few calls.
	ErrorMS    float64
	ErrorKnown bool
}

// modelStats is the Summary of a model as it is counted.
type modelStats struct {
	calls, loads, bytes int64
	service, response   Distribution
	means               means
	wait                total
	timed               bool
}

func (s *modelStats) add(e *Event, timed bool) {
	s.calls++
	if !e.Hit {
		s.loads++
	}
	s.bytes += e.Bytes
	s.service.Add(e.ServiceMS)
	s.means.add(e.ServiceMS)
	if s.timed = timed; timed {
		wait := e.StartMS - e.ArrivalMS
		s.wait.add(wait)
		s.response.Add(wait + e.ServiceMS)
	}
}

// Model is what was counted of the calls of a model.
func (r *Replay) Model(i int) Summary {
	return summarize(&r.models[i].stats.means, &r.models[i].stats)
}

// Total is what was counted of all calls.
func (r *Replay) Total() Summary {
	all := make([]*modelStats, len(r.models))
	for i := range r.models {
		all[i] = &r.models[i].stats
	}
	return summarize(&r.service, all...)
}

func summarize(m *means, of ...*modelStats) Summary {
	s := Summary{Service: &Distribution{}}
	var wait total
	response := &Distribution{}
	for _, x := range of {
		s.Calls += x.calls
		s.Loads += x.loads
		s.Bytes += x.bytes
		s.Service.Merge(&x.service)
		response.Merge(&x.response)
		wait.add(x.wait.sum())
	}
	s.Hits = s.Calls - s.Loads
	if response.Count() > 0 {
		s.Response, s.WaitMS = response, wait.sum()/float64(s.Calls)
	}
	s.ErrorMS, s.ErrorKnown = m.halfWidth()
	return s
}

// Usage is how busy a device was.
type Usage struct {
	Calls  int64
	BusyMS float64
	// SpanMS is the time from the arrival of the first call to that of the
	// last, 0 if calls are not timed.
	SpanMS float64
}

// Device is how busy a device was.
func (r *Replay) Device(i int) Usage {
	d := &r.devices[i]
	u := Usage{Calls: d.calls, BusyMS: d.busy.sum()}
	if r.timed {
		u.SpanMS = d.last - d.first
	}
	return u
}

// Devices is the number of devices.
func (r *Replay) Devices() int { return len(r.devices) }

// Utilization is the mean time of a call over the mean time between two
// arrivals: the share of time in which the device is busy, and 1 or more if calls
// arrive faster than it answers. known is false unless the calls were timed
// and time passed between them.
func (u Usage) Utilization() (share float64, known bool) {
	if u.Calls < 2 || !(u.SpanMS > 0) {
		return 0, false
	}
	return u.BusyMS / float64(u.Calls) / (u.SpanMS / float64(u.Calls-1)), true
}

// total is a sum that loses nothing to rounding however many numbers it has
// (Neumaier's variant of Kahan's summation).
type total struct{ high, low float64 }

func (t *total) add(x float64) {
	s := t.high + x
	if math.Abs(t.high) >= math.Abs(x) {
		t.low += t.high - s + x
	} else {
		t.low += x - s + t.high
	}
	t.high = s
}

func (t *total) sum() float64 { return t.high + t.low }

// means are the means of successive batches of equally many numbers. When
// there are many, neighbours are joined, so that batches grow with the series and what
// is correlated falls into one batch (see Law, Simulation Modeling and
// Analysis, section 9.5.3).
type means struct {
	size    int64 // of a batch, 0 before the first number
	n       int64 // numbers in the unfinished batch
	sum     float64
	batches []float64
}

// Between maxBatches/2 and maxBatches batches are kept once there are so many;
// an interval of fewer than minBatches says too little.
const (
	maxBatches = 64
	minBatches = 10
)

func (m *means) add(x float64) {
	m.size = max(1, m.size)
	m.sum += x
	if m.n++; m.n < m.size {
		return
	}
	m.batches = append(m.batches, m.sum/float64(m.size))
	m.n, m.sum = 0, 0
	if len(m.batches) == maxBatches {
		for i := range maxBatches / 2 {
			m.batches[i] = (m.batches[2*i] + m.batches[2*i+1]) / 2
		}
		m.batches = m.batches[:maxBatches/2]
		m.size *= 2
	}
}

// halfWidth is half the width of the 95 % interval of the mean.
func (m *means) halfWidth() (float64, bool) {
	k := float64(len(m.batches))
	if len(m.batches) < minBatches {
		return 0, false
	}
	var sum, squares total
	for _, b := range m.batches {
		sum.add(b)
	}
	for _, b := range m.batches {
		d := b - sum.sum()/k
		squares.add(float64(d * d))
	}
	variance := squares.sum() / (k - 1)
	// Quantile 0.975 of Student's t by its expansion (Abramowitz and Stegun
	// 26.7.5), within 0.2 % from 9 degrees of freedom on.
	f := k - 1
	t := 1.959964 + 2.372271/f + 2.822500/(f*f)
	return t * math.Sqrt(variance/k), true
}
