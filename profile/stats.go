package profile

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
)

// Summary is what the samples of one kind of one model on one device of one host say.
type Summary struct {
	Model   string
	Kind    Kind
	Host    string // "" is not known, or not for all samples of a device
	Device  string
	Source  Source
	Samples int
	// Bytes that crossed the bus in each call; nil where they differ or are not
	// known. Squeezed samples of different bytes have summaries of their own.
	Bytes    *int64
	MedianMS float64
	// LowMS and HighMS are an interval that holds the true median with at
	// least Confidence, by order statistics. Infinite if there are too few samples.
	LowMS, HighMS float64
	Confidence    float64
}

// WarningKind is what is wrong with samples.
type WarningKind string

// Kinds of warnings.
const (
	TooFew     WarningKind = "too_few"     // samples for an interval
	Drift      WarningKind = "drift"       // the later ones are slower, or faster
	Throttling WarningKind = "throttling"  // the same, and the device was warmer or its clock slower
	OtherUsers WarningKind = "other_users" // single calls take much longer than the others
	NoLoad     WarningKind = "no_load"     // nothing displaces the model, so no load was measured
)

// Warning is a doubt about the samples of a model.
type Warning struct {
	Kind   WarningKind `json:"kind"`
	Model  string      `json:"model,omitempty"`
	Of     Kind        `json:"of,omitempty"` // the samples' kind
	Host   string      `json:"host,omitempty"`
	Device string      `json:"device,omitempty"`
	Text   string      `json:"text"` // names model and device
}

const (
	confidence = 0.95
	// Drift is believed if chance alone would show it once in a hundred cases,
	// and if it is more than calls of one device differ anyway (1.6 %).
	driftAlpha   = 0.01
	driftLeast   = 0.02
	driftSamples = 8 // fewer than four in each half prove nothing
	warmerC      = 5 // degrees between the halves that make drift throttling
	// A call is disturbed if it takes so many times the median. Some always
	// are, by the system's own work; a tenth is more than that.
	disturbedTimes = 1.5
	disturbedLeast = 3
	disturbedShare = 0.1
)

type group struct {
	model  string
	kind   Kind
	host   string
	device string
	source Source
	bytes  int64 // of squeezed samples
}

// Summarize sums samples up. They are in the order in which they were
// measured; the result is ordered by host, device, model and kind, and so are the
// warnings. Where samples name one host, those that name none are of it too.
func Summarize(samples []Sample) ([]Summary, []Warning) {
	groups := map[group][]*Sample{}
	only := onlyHost(samples)
	for i := range samples {
		s := &samples[i]
		g := group{s.Model, s.Kind, cmp.Or(s.Host, only), s.Device, s.Source, 0}
		if s.Kind == Squeezed && s.Bytes != nil {
			g.bytes = *s.Bytes
		}
		groups[g] = append(groups[g], s)
	}
	keys := make([]group, 0, len(groups))
	for g := range groups {
		keys = append(keys, g)
	}
	slices.SortFunc(keys, func(a, b group) int {
		return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.device, b.device), cmp.Compare(a.model, b.model), cmp.Compare(a.kind.order(), b.kind.order()),
			cmp.Compare(a.bytes, b.bytes), cmp.Compare(a.source, b.source))
	})
	var summaries []Summary
	var warnings []Warning
	for _, g := range keys {
		s, w := summarize(g, groups[g])
		summaries, warnings = append(summaries, s), append(warnings, w...)
	}
	return summaries, warnings
}

// onlyHost is the host that samples name, "" if none or several do.
func onlyHost(samples []Sample) (host string) {
	for i := range samples {
		switch name := samples[i].Host; {
		case name == "" || name == host:
		case host != "":
			return ""
		default:
			host = name
		}
	}
	return host
}

// order is the place of a kind in listings.
func (k Kind) order() int {
	return slices.Index([]Kind{Create, First, Steady, Load, Squeezed, Replay}, k)
}

func summarize(g group, samples []*Sample) (Summary, []Warning) {
	all := sampleOf(samples)
	stats := benchmath.AssumeNothing.Summary(all, confidence)
	s := Summary{
		Model: g.model, Kind: g.kind, Host: g.host, Device: g.device, Source: g.source, Samples: len(samples), Bytes: samples[0].Bytes,
		MedianMS: stats.Center, LowMS: stats.Lo, HighMS: stats.Hi, Confidence: stats.Confidence,
	}
	for _, x := range samples {
		if s.Bytes != nil && (x.Bytes == nil || *x.Bytes != *s.Bytes) {
			s.Bytes = nil
		}
	}
	var warnings []Warning
	warn := func(kind WarningKind, format string, args ...any) {
		of := fmt.Sprintf("%s calls of %q", g.kind, g.model)
		if g.kind == Create {
			of = fmt.Sprintf("creations of %q", g.model)
		}
		if g.device != "" {
			of += " on " + g.device
		}
		warnings = append(warnings, Warning{kind, g.model, g.kind, g.host, g.device, of + ": " + fmt.Sprintf(format, args...)})
	}
	if math.IsInf(s.LowMS, 0) || math.IsInf(s.HighMS, 0) {
		warn(TooFew, "%d samples, which are too few for an interval", len(samples))
	}
	if g.kind == Replay || g.kind == Create { // a mixture; the work of the processor and the disk
		return s, warnings
	}
	change, throttled := drift(samples)
	switch {
	case throttled:
		warn(Throttling, "the later half takes %+.0f %%, and the device was warmer or its clock slower", 100*change)
	case change != 0:
		warn(Drift, "the later half takes %+.0f %%", 100*change)
	default:
		disturbed := 0
		for _, v := range all.Values {
			if v > disturbedTimes*s.MedianMS {
				disturbed++
			}
		}
		if disturbed >= disturbedLeast && float64(disturbed) >= disturbedShare*float64(len(samples)) {
			warn(OtherUsers, "%d of %d take more than %v times the median: something else uses the device, its bus or the processor", disturbed, len(samples), disturbedTimes)
		}
	}
	return s, warnings
}

func sampleOf(samples []*Sample) *benchmath.Sample {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = s.MS
	}
	return benchmath.NewSample(values, &benchmath.Thresholds{CompareAlpha: driftAlpha})
}

// drift compares the later half of the samples with the earlier one: by how
// much it is slower, 0 if that may be chance.
func drift(samples []*Sample) (change float64, throttled bool) {
	if len(samples) < driftSamples {
		return 0, false
	}
	early, late := samples[:len(samples)/2], samples[len(samples)/2:]
	a, b := sampleOf(early), sampleOf(late)
	before, after := benchmath.AssumeNothing.Summary(a, confidence).Center, benchmath.AssumeNothing.Summary(b, confidence).Center
	if before == 0 || math.Abs(after/before-1) <= driftLeast || benchmath.AssumeNothing.Compare(a, b).P >= driftAlpha {
		return 0, false
	}
	change = after/before - 1
	cooler, slower := mean(early, func(s *Sample) *float64 { return s.TemperatureC }), mean(early, func(s *Sample) *float64 { return s.ClockMHz })
	warm, slow := mean(late, func(s *Sample) *float64 { return s.TemperatureC }), mean(late, func(s *Sample) *float64 { return s.ClockMHz })
	return change, change > 0 && (warm-cooler >= warmerC || slower-slow > 0)
}

// mean is that of what is known, NaN if nothing is.
func mean(samples []*Sample, of func(*Sample) *float64) float64 {
	sum, n := 0.0, 0
	for _, s := range samples {
		if v := of(s); v != nil {
			sum += *v
			n++
		}
	}
	return sum / float64(n)
}

// Cost is what the summaries of a model on a device say about its calls. What
// was not measured is nil.
type Cost struct {
	Model, Host, Device string
	Source              Source
	SteadyMS            *float64 // a warm call
	LoadMS              *float64 // what a call that loads takes more
	LoadMSPerMiB        *float64 // the same for each MiB that it sends more
	// StreamMSPerMiB is what a call of a squeezed variant takes more for each
	// MiB that it sends more; of several variants the one that sends most.
	StreamMSPerMiB *float64
}

const mib = 1 << 20

// Costs puts the summaries of each model on each device together, in their order.
func Costs(summaries []Summary) []Cost {
	type key struct {
		model, host, device string
		source              Source
	}
	at := map[key]int{}
	steady := map[key]*Summary{}
	var costs []Cost
	for i := range summaries {
		s := &summaries[i]
		k := key{s.Model, s.Host, s.Device, s.Source}
		if _, known := at[k]; !known {
			at[k] = len(costs)
			costs = append(costs, Cost{Model: s.Model, Host: s.Host, Device: s.Device, Source: s.Source})
		}
		c := &costs[at[k]]
		warm := steady[k] // comes before loads and squeezed calls
		more := func() (ms float64, perMiB *float64) {
			ms = s.MedianMS - warm.MedianMS
			if s.Bytes != nil && warm.Bytes != nil && *s.Bytes > *warm.Bytes {
				per := ms / (float64(*s.Bytes-*warm.Bytes) / mib)
				perMiB = &per
			}
			return ms, perMiB
		}
		switch {
		case s.Kind == Steady:
			steady[k], c.SteadyMS = s, &s.MedianMS
		case s.Kind == Load && warm != nil:
			ms, per := more()
			c.LoadMS, c.LoadMSPerMiB = &ms, per
		case s.Kind == Squeezed && warm != nil:
			if _, per := more(); per != nil {
				c.StreamMSPerMiB = per
			}
		}
	}
	return costs
}
