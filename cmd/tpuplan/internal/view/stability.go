package view

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/internal/columns"
	"github.com/tpuplan/tpuplan/planner"
)

// Settling is the command that settles a finding, as a shell takes it; there
// may be none.
type Settling struct {
	Command string
	Begins  bool // it is the first of several
	Compile int  // the real compile that settles it is the command's so manieth; 0 if it is none
}

type findingJSON struct {
	Assumption      string          `json:"assumption"`
	Assumes         string          `json:"assumes,omitempty"`
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
	WorstMS         *number         `json:"value_at_worst_ms,omitempty"` // absent where the regret is 0
	WorstBytes      *number         `json:"value_at_worst_bytes,omitempty"`
	Better          [][]string      `json:"better,omitempty"`
	Checked         planner.Checked `json:"checked"`
	Tried           int             `json:"values_tried"`
	SettledBy       string          `json:"settled_by"`
	SettledByModels []string        `json:"settled_by_compile_of,omitempty"`
	SettledWith     string          `json:"settled_by_command,omitempty"`
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
			Assumption: f.Range(), Assumes: f.Assumes, Unit: f.Unit, PlanChanges: f.PlanChanges, Patchy: f.Patchy, Checked: f.Checked, Tried: f.Tried,
			ChangesAtLeast: (*number)(f.AtLeast), ChangesAtMost: (*number)(f.AtMost),
			SettledBy: f.SettledBy, SettledByModels: p.namesOf(f.Models), SettledWith: p.settling(i).Command,
		}
		if f.Unit != "" {
			x.Low, x.High, x.Assumed, x.WorstAt = (*number)(&f.Low), (*number)(&f.High), (*number)(&f.Assumed), (*number)(&f.Worst)
		}
		regret, value := (*number)(&f.Regret), (*number)(&f.ValueAtWorst)
		if f.ValueAtWorst == 0 {
			value = nil
		}
		if p.Resolved.Problem.Objective == planner.ByteHits {
			x.RegretBytes, x.WorstBytes = regret, value
		} else {
			x.RegretMS, x.WorstMS = regret, value
		}
		for _, g := range f.Better {
			x.Better = append(x.Better, p.namesOf(g))
		}
		out = append(out, x)
	}
	return out
}

// settling is how to settle a finding; the zero value if nobody said.
func (p *Planned) settling(i int) Settling {
	if i >= len(p.Settling) {
		return Settling{}
	}
	return p.Settling[i]
}

// firmness says in a sentence whether something that is not known would change
// the plan, and gives the command that settles it; of several such things the
// one is named that most of the plan's cost hangs on.
func (p *Planned) firmness() (text, command string) {
	worst, changing, some, early := -1, 0, 0, 0
	for i := range p.Stability {
		f := &p.Stability[i]
		switch {
		case f.PlanChanges:
			if changing++; worst < 0 || f.Stake() > p.Stability[worst].Stake() {
				worst = i
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
		return "", ""
	case worst >= 0:
		more := ""
		if changing > 1 && !p.Listed {
			more = fmt.Sprintf(" (-v lists %d more)", changing-1)
		}
		return "not firm: " + p.change(&p.Stability[worst]) + more + "; " + p.settles(worst), p.settling(worst).Command
	case early > 0:
		return fmt.Sprintf("firm as far as is known: none of %s was seen to change the plan, but %d could not be searched to the end", ranges, early), ""
	case some > 0:
		return fmt.Sprintf("firm: the plan holds under %s of what is not known, %d of them tried at some values only", ranges, some), ""
	}
	return fmt.Sprintf("firm: the plan holds under %s of what is not known", ranges), ""
}

// change says what is assumed, when the plan changes, to what, and what that
// is worth of what a call costs then.
func (p *Planned) change(f *planner.Finding) string {
	order, where := "", ""
	if p.sameGroups(f.Better) {
		order = " in this order"
	}
	if at := f.At(); at != "" {
		where = "at " + at + " "
	}
	return fmt.Sprintf("the plan assumes that %s; if %s, the better plan is %s%s: %sit saves %s of %s",
		f.Assumes, f.Condition(), p.named(f.Better), order, where, p.number(f.Regret), p.value(f.ValueAtWorst))
}

// settles says what settles a finding; its command, if there is one, follows.
func (p *Planned) settles(i int) string {
	text, how := p.Stability[i].SettledBy+" settles it", p.settling(i)
	switch {
	case how.Command == "":
		return text
	case how.Begins:
		return text + ", beginning with:"
	case how.Compile > 1:
		return fmt.Sprintf("%s, compile %d of:", text, how.Compile)
	}
	return text + ":"
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

// Finding is finding i in a sentence.
func (p *Planned) Finding(i int) string {
	f := &p.Stability[i]
	switch {
	case f.PlanChanges:
		return strings.TrimSpace("not firm: " + p.change(f) + "; " + p.settles(i) + " " + p.settling(i).Command)
	case f.Checked == planner.CheckedEarly:
		return "no change was found, but the search not finished, if " + f.Range()
	}
	if f.Unit == "" {
		return "the plan stays even if " + f.Sentence("")
	}
	return "the plan stays if " + f.Range() + " (" + count(f.Tried, "value") + " tried)"
}

// manyLetters is how long a list of names may get in the middle of a sentence.
const manyLetters = 120

// named says which models are compiled together, or how many groups there are
// if that would be a long list.
func (p *Planned) named(groups [][]int) string {
	if words := p.inWords(groups); columns.Width(words) <= manyLetters {
		return words
	}
	return fmt.Sprintf("another one, of %s (--format json lists them)", count(len(groups), "group"))
}
