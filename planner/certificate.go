package planner

import (
	"errors"
	"maps"
)

// Status says what is known about a plan. The words are the machine interface's.
type Status string

// Statuses.
const (
	Optimal    Status = "optimal"    // no plan is better, under the cost model, but for what TiesAtMost leaves open
	Feasible   Status = "feasible"   // a plan, and a bound that it does not reach
	Infeasible Status = "infeasible" // no plan satisfies the pins
	UnknownSt  Status = "unknown"    // no plan was found, which proves nothing
)

// Early reports whether the search ended before it could prove anything.
func (s Status) Early() bool { return s == Feasible || s == UnknownSt }

// Err is nil if there is a plan, else what is in its place.
func (s Status) Err() error {
	switch s {
	case Optimal, Feasible:
		return nil
	case Infeasible:
		return errors.New("no plan satisfies the pins")
	default:
		return errors.New("no plan was found")
	}
}

// BoundKind is the argument that gave a certificate's bound.
type BoundKind string

// Kinds of bounds.
const (
	BoundSearch    BoundKind = "search"    // every partition was bounded
	BoundResidency BoundKind = "residency" // what a device can hold between independent calls
	BoundGroups    BoundKind = "groups"    // every model at its best place in any group
	BoundCut       BoundKind = "cut"       // 16.0: the first op of a group that does not fit
)

// Negligible is the share of a plan's value below which a gap prints as 0.0 %:
// a plan whose bound is nearer than that is optimal.
const Negligible = 0.0005

// What stops a search early (Certificate.Limit).
const (
	LimitNodes       = "nodes"       // the node budget
	LimitInterrupted = "interrupted" // the context
	LimitModels      = "models"      // too many for the exact search
	LimitKept        = "kept"        // not the search: a plan taken before stays (Keep) although a better one is known
	LimitHedge       = "hedge"       // none: the plan was chosen for its largest regret, not for its value as assumed
)

// Certificate is the evidence for a plan's quality.
type Certificate struct {
	Status Status
	Bound  float64 // no plan is below it
	Gap    float64 // (value-bound)/value, 0 if value is 0
	// TiesAtMost is the part of Gap that only the order of ops of equal size
	// in 16.0 groups could close: of an optimal plan it is all of it.
	TiesAtMost float64
	BoundKind  BoundKind        // what gave Bound
	Nodes      int64            // invocations whose split was computed or extended by a model, and states of bounds that were tabled
	Limit      string           // what stopped the search early: "", LimitNodes, LimitInterrupted
	Pruned     map[string]int64 // per rule of Rules how often it cut the search; a rule that never did is absent
}

// Proven reports that no plan is better by what would be printed, ties included.
func (c *Certificate) Proven() bool { return c.Status == Optimal && c.Gap < Negligible }

// of is what a certificate of one plan, whose value was given, proves of another.
func (c Certificate) of(value, was float64) Certificate {
	ties := float64(c.TiesAtMost * was)
	c.Pruned = maps.Clone(c.Pruned)
	if !below(c.Bound, value) {
		c.Bound = value
	}
	c.Gap, c.TiesAtMost = 0, 0
	if value > 0 {
		c.Gap = (value - c.Bound) / value
		ties = min(ties/value, c.Gap)
	}
	if c.Gap-ties < Negligible {
		c.Status, c.Limit, c.TiesAtMost = Optimal, "", ties
	} else {
		c.Status = Feasible
	}
	return c
}
