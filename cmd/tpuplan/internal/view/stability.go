package view

import (
	"fmt"
	"slices"

	"github.com/tpuplan/tpuplan/planner"
)

type findingJSON struct {
	Assumption      string          `json:"assumption"`
	Unit            string          `json:"unit,omitempty"` // that and the values are absent for a rule, which has none
	Low             *number         `json:"low,omitempty"`
	High            *number         `json:"high,omitempty"`
	Assumed         *number         `json:"assumed,omitempty"`
	PlanChanges     bool            `json:"plan_changes"`
	ChangesAtLeast  *number         `json:"changes_at_least,omitempty"`
	ChangesAtMost   *number         `json:"changes_at_most,omitempty"`
	Patchy          bool            `json:"patchy,omitempty"`
	RegretMS        *number         `json:"regret_ms,omitempty"` // or, of the other objective,
	RegretBytes     *number         `json:"regret_bytes,omitempty"`
	WorstAt         *number         `json:"worst_at,omitempty"`
	Better          [][]string      `json:"better,omitempty"`
	Checked         planner.Checked `json:"checked"`
	Tried           int             `json:"values_tried"`
	SettledBy       string          `json:"settled_by"`
	SettledByModels []string        `json:"settled_by_compile_of,omitempty"`
}

// findingsJSON is nil if nothing was found out, and empty if there was nothing to find.
func (p *Planned) findingsJSON() []findingJSON {
	if !p.Checked {
		return nil
	}
	out := make([]findingJSON, 0, len(p.Stability))
	for i := range p.Stability {
		f := &p.Stability[i]
		x := findingJSON{
			Assumption: f.Range(), Unit: f.Unit, PlanChanges: f.PlanChanges, Patchy: f.Patchy, Checked: f.Checked, Tried: f.Tried,
			ChangesAtLeast: (*number)(f.AtLeast), ChangesAtMost: (*number)(f.AtMost),
			SettledBy: f.SettledBy, SettledByModels: p.namesOf(f.Models),
		}
		if f.Unit != "" {
			x.Low, x.High, x.Assumed, x.WorstAt = (*number)(&f.Low), (*number)(&f.High), (*number)(&f.Assumed), (*number)(&f.Worst)
		}
		if regret := (*number)(&f.Regret); p.Resolved.Problem.Objective == planner.ByteHits {
			x.RegretBytes = regret
		} else {
			x.RegretMS = regret
		}
		for _, g := range f.Better {
			x.Better = append(x.Better, p.namesOf(g))
		}
		out = append(out, x)
	}
	return out
}

// firmness says in a sentence whether something that is not known would change
// the plan; of several such things the one that costs most is named.
func (p *Planned) firmness() string {
	var worst *planner.Finding
	changing, some, early := 0, 0, 0
	for i := range p.Stability {
		f := &p.Stability[i]
		switch {
		case f.PlanChanges:
			if changing++; worst == nil || f.Regret > worst.Regret {
				worst = f
			}
		case f.Checked == planner.CheckedSome:
			some++
		case f.Checked == planner.CheckedEarly:
			early++
		}
	}
	ranges := count(len(p.Stability), "stated range")
	switch {
	case len(p.Stability) == 0:
		return ""
	case worst != nil && changing > 1:
		return fmt.Sprintf("not firm: %s (-v lists %d more)", p.change(worst), changing-1)
	case worst != nil:
		return "not firm: " + p.change(worst)
	case early > 0:
		return fmt.Sprintf("firm as far as is known: none of %s was seen to change the plan, but %d could not be searched to the end", ranges, early)
	case some > 0:
		return fmt.Sprintf("firm: the plan holds under %s of what is not known, %d of them tried at some values only", ranges, some)
	}
	return fmt.Sprintf("firm: the plan holds under %s of what is not known", ranges)
}

// change says when the plan changes, to what, what that is worth and what settles it.
func (p *Planned) change(f *planner.Finding) string {
	calls, order := "a call takes", ""
	if p.Resolved.Problem.Objective == planner.ByteHits {
		calls = "a call sends"
	}
	if p.sameGroups(f.Better) {
		order = " in this order"
	}
	return fmt.Sprintf("if %s, %s up to %s less with %s%s; %s settles it", f.Condition(), calls, p.number(f.Regret), p.inWords(f.Better), order, f.SettledBy)
}

// sameGroups reports that only the order inside groups differs from the plan's.
func (p *Planned) sameGroups(groups [][]int) bool {
	sets := func(groups [][]int) [][]int {
		all := make([][]int, len(groups))
		for i, g := range groups {
			all[i] = slices.Sorted(slices.Values(g))
		}
		slices.SortFunc(all, slices.Compare)
		return all
	}
	return slices.EqualFunc(sets(groups), sets(p.groups()), slices.Equal)
}

// Finding is one finding in a sentence.
func (p *Planned) Finding(f *planner.Finding) string {
	switch {
	case f.PlanChanges:
		return "the plan changes " + p.change(f)
	case f.Checked == planner.CheckedEarly:
		return "no change was found, but the search not finished, if " + f.Range()
	}
	return "the plan stays if " + f.Range() + " (" + count(f.Tried, "value") + " tried)"
}
