package validation

import "github.com/tpuplan/tpuplan/profile"

// Result is what an experiment came to.
type Result struct {
	Source    profile.Source // the weakest of those of the samples: simulated, imported, measured
	Devices   []string       // that samples name
	Tolerance float64
	Calls     int // of each pass that count
	Passes    int // of the arrangement with fewest
	// Arrangements are in the order of the experiment's.
	Arrangements []Outcome
	Pairs        []Pair
	// Agreement is the share of the pairs that can be told apart and rank as
	// predicted; nil if none can be told apart.
	Agreement *float64
	Computes  []Compute // of each model
	Findings  []Finding
	Rate      *Rate   // of loads; nil if none was seen
	Slopes    []Slope // of models that stream more in one arrangement than in another
	Warnings  []string
}

// Passed reports that everything is as predicted, within the tolerance.
func (r *Result) Passed() bool {
	for i := range r.Findings {
		if r.Findings[i].Fails {
			return false
		}
	}
	return true
}

// Figures are times of calls, of one model or of all: predicted and measured,
// means over the same calls.
type Figures struct {
	Calls       int   // in a pass
	Loads       int   // of them, predicted
	Bytes       int64 // that all calls of a pass move over the bus, predicted
	PredictedMS float64
	// MeasuredMS is the mean over the passes; in each, calls that were
	// predicted to be of one kind (of a model, with a load or without) have their
	// mean without the fastest and the slowest fifth. 0 if nothing was measured.
	MeasuredMS float64
	CI         *Interval // of MeasuredMS, from what passes differ; nil for fewer than three
	// PlainMS is the mean of all calls, with every disturbance.
	PlainMS float64
	// Outside: the prediction misses by more than the tolerance, and by more
	// than the measurement leaves open.
	Outside bool
}

// Error is by which share the prediction is more than what was measured.
func (f *Figures) Error() float64 { return f.PredictedMS/f.MeasuredMS - 1 }

// Outcome is an arrangement with its figures.
type Outcome struct {
	Name     string
	Same     string // its files, and so its figures, are those of this one
	Measured bool
	Passes   int
	Figures          // of a mean call
	MAPE     float64 // mean over models of the error without its sign; a share
	Models   []ModelOutcome
}

// ModelOutcome is a model under an arrangement.
type ModelOutcome struct {
	Name string
	Figures
	Warm, Load *Figures // calls that were predicted to load, and those that were not; nil for none
	Split      Split    // by its file
	Tokens     []uint64
}

// Pair is two arrangements and whether they rank as predicted.
type Pair struct {
	A, B string
	// How much more a call takes under A than under B.
	PredictedMS, MeasuredMS float64
	CI                      *Interval // of MeasuredMS
	Verdict                 Verdict
}

// Verdict is about the order of two arrangements.
type Verdict string

// Verdicts.
const (
	Agrees    Verdict = "agrees"
	Disagrees Verdict = "disagrees"
	Tie       Verdict = "~" // what they differ by is less than what cannot be told
)

// Compute says where the part of a model's time comes from that no plan changes.
type Compute struct {
	Model string
	// Included: the plan's cost has it. Else it was estimated, MS of it, from
	// calls under the arrangement From: only differences between calls are tested then.
	Included bool
	MS       float64
	From     string // "" if nothing was measured
}

// Rate is the rate at which loads were seen to go, in bytes per millisecond.
type Rate struct {
	BytesPerMS float64
	CI         *Interval
	Predicted  float64
	Models     int // that loaded
}

// Slope is what a streamed byte takes, in transfer times: 1 at the link's rate.
type Slope struct {
	Model string
	Times float64
	CI    *Interval
	Bytes int64 // by which the streamed parts differ
	// Predicted is what it was predicted to take: less than 1 where compute hides some, more in a net that runs in passes.
	Predicted float64
}

// Kind is what a finding is about.
type Kind string

// Kinds of findings.
const (
	CorruptOutput    Kind = "corrupt_output" // outputs of a model differ between calls or arrangements
	WrongSplit       Kind = "split"          // what is cached is not what the file, or the plan, says
	WrongToken       Kind = "token"          // files were not compiled together as planned
	WrongBandwidth   Kind = "bandwidth"      // all loads are off by one factor
	WrongOverhead    Kind = "overhead"       // all loads are off by the same time
	WrongCompute     Kind = "compute"        // all calls of a model are off by the same time
	SlowStreaming    Kind = "streaming"      // streamed bytes take longer than the link does
	Throttled        Kind = "throttling"     // the device got hot, or its clock slow
	Drifted          Kind = "drift"          // calls get slower or faster, for no known reason
	Evicted          Kind = "evicted"        // calls load that should not
	SkippedLoad      Kind = "skipped_load"   // calls do not load that should
	Rank             Kind = "rank"           // arrangements rank in another order than predicted
	OutsideTolerance Kind = "outside"        // a time is off by more than the tolerance
)

// Finding is something that is not as predicted.
type Finding struct {
	Kind         Kind
	Model        string   // "" if it is about all
	Arrangements []string // in which it was seen
	Text         string   // in words, with the numbers; begins with the model
	Evidence     map[string]float64
	Fails        bool // the validation fails by it
	Follows      bool // another finding explains it
}
