package view

import (
	"fmt"

	"github.com/tpuplan/tpuplan/internal/columns"
	"github.com/tpuplan/tpuplan/planner"
)

type hedgeJSON struct {
	Applied            bool            `json:"applied"`
	Value              number          `json:"value"`
	PlanValue          number          `json:"plan_value"`
	Price              number          `json:"price"`
	LargestRegret      number          `json:"largest_regret"`
	LargestRegretShare *number         `json:"largest_regret_share,omitempty"`
	LargestRegretIf    string          `json:"largest_regret_if,omitempty"`
	PlanRegret         number          `json:"plan_regret"`
	PlanRegretShare    *number         `json:"plan_regret_share,omitempty"`
	PlanRegretIf       string          `json:"plan_regret_if,omitempty"`
	Saves              number          `json:"saves"`
	SavesIf            string          `json:"saves_if,omitempty"`
	Groups             [][]string      `json:"groups"`
	PlanGroups         [][]string      `json:"plan_groups"`
	SameAsPlan         bool            `json:"same_as_plan"`
	WorthIt            bool            `json:"worth_it"`
	Candidates         int             `json:"candidates"`
	Checked            planner.Checked `json:"checked"`
}

// hedgeJSON is nil if no hedge was looked for.
func (p *Planned) hedgeJSON() *hedgeJSON {
	h := p.Hedge
	if h == nil {
		return nil
	}
	share := func(x *planner.Extreme) *number {
		s, ok := x.Share()
		if !ok {
			return nil
		}
		return (*number)(&s)
	}
	names := func(groups [][]int) (all [][]string) {
		for _, g := range groups {
			all = append(all, p.namesOf(g))
		}
		return all
	}
	plan := p.Plan
	if p.AsAssumed != nil {
		plan = p.AsAssumed
	}
	return &hedgeJSON{
		Applied: p.AsAssumed != nil, Value: number(h.Value), PlanValue: number(h.PlanValue), Price: number(h.Price),
		LargestRegret: number(h.Largest.Amount), LargestRegretShare: share(&h.Largest), LargestRegretIf: h.Largest.If(),
		PlanRegret: number(h.OfPlan.Amount), PlanRegretShare: share(&h.OfPlan), PlanRegretIf: h.OfPlan.If(),
		Saves: number(h.Saves.Amount), SavesIf: h.Saves.If(),
		Groups: names(h.Groups), PlanGroups: names(plan.Groups()), SameAsPlan: h.IsPlan, WorthIt: h.Worth(),
		Candidates: h.Candidates, Checked: h.Checked,
	}
}

// said is a sentence, and the command that follows it, if there is one.
type said struct{ text, command string }

// firmAndHedged says how firm the plan is and what a hedge is worth, or, of a
// hedge, what it costs and how firm the plan is that it hedges against.
func (p *Planned) firmAndHedged() []said {
	h, firm := p.Hedge, said{}
	firm.text, firm.command = p.firmness()
	switch {
	case p.AsAssumed == nil && h != nil && h.Worth():
		return []said{firm, {fmt.Sprintf("a hedge would %s as assumed and save up to %s:", p.price("cost"), p.number(h.Saves.Amount)), p.HedgeBy}}
	case p.AsAssumed == nil:
		return []said{firm}
	case h.IsPlan && h.OfPlan.Amount == 0:
		return []said{firm, {text: "hedged: no plan is better than this one for any value that was tried"}}
	case h.IsPlan && h.Instead != nil:
		return []said{firm, {text: fmt.Sprintf("hedged: the best plan as assumed, with a largest regret of %s%s", p.number(h.OfPlan.Amount), where(&h.OfPlan))}}
	case h.IsPlan:
		return []said{firm, {text: fmt.Sprintf("hedged: no other plan that may be the best has a smaller largest regret, %s%s", p.number(h.OfPlan.Amount), where(&h.OfPlan))}}
	}
	other := *p
	other.Plan = p.AsAssumed
	groups := p.inWords(other.groups())
	if len(other.groups()) == 1 && columns.Width(groups) > 60 { // all of them, by name, say no more
		groups = fmt.Sprintf("all %d models together", len(p.Plan.Models))
	}
	best := fmt.Sprintf("best as assumed: %s, %s", groups, p.value(h.PlanValue))
	if other.sameGroups(p.groups()) {
		best += ", another order"
	}
	if firm.text, firm.command = other.firmness(); firm.text != "" {
		best += "; " + firm.text
	}
	saves := "saves nothing"
	if h.Saves.Amount > 0 {
		saves = "saves up to " + p.number(h.Saves.Amount) + where(&h.Saves)
	}
	return []said{
		{text: fmt.Sprintf("hedged: %s as assumed, %s; its largest regret is %s%s, that of the plan best as assumed %s",
			p.price("costs"), saves, p.number(h.Largest.Amount), where(&h.Largest), p.number(h.OfPlan.Amount))},
		{best, firm.command},
	}
}

// price says what the hedge costs as assumed.
func (p *Planned) price(verb string) string {
	switch h := p.Hedge; {
	case h.Price == 0:
		return verb + " nothing"
	case h.Price < 0: // than a plan that was not proven to be the best
		return verb + " " + p.number(-h.Price) + " less"
	default:
		return verb + " " + p.number(h.Price) + " more"
	}
}

func where(x *planner.Extreme) string {
	if x.If() == "" {
		return ""
	}
	return " (if " + x.If() + ")"
}
