package planner

import "github.com/tpuplan/tpuplan/compile"

// Plan is an answer to a Problem.
type Plan struct {
	Devices     []DevicePlan // in the order of Problem.Devices
	Models      []Outcome    // in the order of Problem.Models
	Value       float64      // objective, in Objective.Unit()
	Baselines   []Baseline   // in a fixed order: separate, as-given, by-rate, by-size-ascending, by-size-descending
	Certificate Certificate
	Kept        *Kept   // what it gives up, if it was taken before and stays (Keep); else nil
	Hedged      *Hedged // what it was preferred to, if it was chosen as a hedge (Hedge.Decide); else nil
}

// Hedged says that a plan was chosen for its largest regret.
type Hedged struct {
	Value float64 // of the plan that is best as assumed
}

// DevicePlan is what one device holds.
type DevicePlan struct {
	Name   string
	Groups []Group // sorted by the name of their (alphabetically) first model
}

// Group is one compiler invocation.
type Group struct {
	// Name is the pin's label, else DEVICE-N: groups without a pin are
	// numbered from 1 in their order, a number that is some label is left out.
	Name     string
	Models   []int // indexes into Problem.Models, in command-line order
	Reserved int   // rows reserved on every tile
	Rows     int   // rows occupied by all members
	// OrderTies is set when the order of this group moves a tie between ops
	// of equal size (16.0 only): some split differs from that in the order of
	// names, so the gain of this order over that one rests on the tie rule.
	OrderTies bool
	Known     bool // the splits are those of a real compile (Problem.Known), not predicted
}

// Outcome is what a plan does to one model.
type Outcome struct {
	Split      compile.Split
	Miss       float64 // probability that a call finds its parameters gone; 0 if nothing is cached
	SteadyMS   float64
	ColdMS     float64 // equal to SteadyMS if nothing is cached
	ExpectedMS float64
}

// Baseline is what a user without a planner would do.
type Baseline struct {
	Name     string
	Value    float64
	Feasible bool // it violates no pin
}

// Names of the baselines, in their order.
const (
	Separate         = "separate"           // every model in an invocation of its own
	AsGiven          = "as-given"           // all in one, in the order of the problem
	ByRate           = "by-rate"            // all in one, most calls first
	BySizeAscending  = "by-size-ascending"  // all in one, fewest parameter bytes first
	BySizeDescending = "by-size-descending" // all in one, most parameter bytes first
)
