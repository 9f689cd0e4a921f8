package view

import (
	"cmp"
	"fmt"

	"github.com/tpuplan/tpuplan/planner"
)

// limits says in words what ended a search early, by Certificate.Limit.
var limits = map[string]string{
	"":                       "which the search could not prove to be the best",
	planner.LimitInterrupted: "the search was interrupted",
	planner.LimitNodes:       "the search reached its limit of nodes",
	planner.LimitModels:      "the models are too many to try everything",
	planner.LimitKept:        "the lock's plan stays",
	planner.LimitHedge:       "chosen as a hedge and not as the best plan under what is assumed",
}

// bounds says in words what gave a bound.
var bounds = map[planner.BoundKind]string{
	planner.BoundSearch:    "by the search",
	planner.BoundResidency: "by what the device can hold between calls",
	planner.BoundGroups:    "by each model at its best place in any group",
	planner.BoundCut:       "by the first op of a group that does not fit",
}

// certificate is what is proven of a plan, in a sentence, and in another one,
// which may be empty, what only the order of ties could change.
func (p *Planned) certificate() (text, ties string) {
	c := &p.Plan.Certificate
	nodes := count(int(c.Nodes), "node")
	share := shareOf(c.TiesAtMost, 1)
	if c.Status == planner.Optimal && !c.Proven() {
		share = gap(c)
	}
	if share != "" {
		ties = "ties: at the cut of a group ops of equal size are cached in the order of the models; not all orders were tried, another one saves at most " + share
	}
	switch {
	case c.Proven():
		return fmt.Sprintf("optimal under the cost model: no groups and no order are better (gap 0, %s)", nodes), ties
	case c.Status == planner.Optimal:
		return fmt.Sprintf("optimal but for ties, at most %s (no plan is below %s, %s)", gap(c), p.value(c.Bound), nodes), ties
	}
	by := ""
	if words := bounds[c.BoundKind]; words != "" {
		by = ": " + words
	}
	return fmt.Sprintf("%s, %s (no plan is below %s, gap %s%s; %s)", c.Status, limits[c.Limit], p.value(c.Bound), gap(c), by, nodes), ties
}

// gap prints the gap of a certificate; what is negligible is none.
func gap(c *planner.Certificate) string { return cmp.Or(shareOf(c.Gap, 1), "0") }

// proof is a certificate in a cell of a table.
func proof(c *planner.Certificate) string {
	switch {
	case c.Proven():
		return string(planner.Optimal)
	case c.Status == planner.Optimal:
		return "optimal, ties " + gap(c)
	}
	return string(c.Status) + ", gap " + gap(c)
}

// Open says what keeps a plan from being proven to be the best, "" if nothing does.
func Open(c *planner.Certificate) string {
	switch {
	case c.Proven():
		return ""
	case c.Status == planner.Optimal:
		return "ties leave " + gap(c) + " open"
	}
	text := "a gap of " + gap(c) + " is open"
	if c.Limit != "" {
		text += ", as " + limits[c.Limit]
	}
	return text
}
