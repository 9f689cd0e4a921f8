package view

import (
	"bytes"
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/tpuplan/tpuplan/planner"
)

// keptJSON is what a plan that stays gives up.
type keptJSON struct {
	Value   number `json:"value"` // of the new plan
	Gain    number `json:"gain"`  // of the new plan, as a share of the kept one's value
	MinGain number `json:"min_gain"`
}

func (p *Planned) keptJSON() *keptJSON {
	if k := p.Plan.Kept; k != nil {
		return &keptJSON{number(k.Value), number(k.Gain), number(k.MinGain)}
	}
	return nil
}

// kept says in a sentence what became of the lock's decision, "" if it is the
// answer of the search too, or if there is none.
func (p *Planned) kept() string {
	k := p.Plan.Kept
	switch {
	case k == nil && p.Locked != nil && !planner.SameDecision(p.Plan, p.Locked):
		saved := cmp.Or(shareOf(p.Locked.Value-p.Plan.Value, p.Locked.Value), "less than 0.1 %")
		return fmt.Sprintf("replaces the lock's plan and saves %s of its %s per call", saved, p.number(p.Locked.Value))
	case k == nil:
		return ""
	case k.Gain <= -planner.Negligible:
		return "kept from the lock: the search found none as good, only " + p.value(k.Value)
	case k.Gain < planner.Negligible:
		return "kept from the lock: another plan is as good (--fresh takes it)"
	}
	verb := "take"
	if p.Resolved.Problem.Objective == planner.ByteHits {
		verb = "send"
	}
	least := strconv.FormatFloat(100*k.MinGain, 'g', 12, 64)
	return fmt.Sprintf("kept from the lock: a new plan would %s %s per call, %s less (--min-gain %s; --fresh takes it)", verb, p.number(k.Value), shareOf(k.Gain, 1), least)
}

// shareOf prints a difference as a share of a value: with a decimal where
// percent would leave too little, "" where nothing would be left.
func shareOf(difference, of float64) string {
	share := max(difference, -difference)
	if share > 0 {
		share /= of
	}
	switch {
	case share < planner.Negligible:
		return ""
	case share < 0.0995:
		return strconv.FormatFloat(100*share, 'f', 1, 64) + " %"
	}
	return percent(share)
}

// Holds is the answer of a check of a lock whose decision stays, in one line.
func Holds(p *Planned, path string) []byte {
	text := path + ": holds: " + p.value(p.Plan.Value) + ", "
	gain := 0.0
	if k := p.Plan.Kept; k != nil {
		gain = k.Gain
	}
	switch share := shareOf(gain, 1); {
	case gain > 0 && share != "":
		text += "a new plan would save " + share
	case p.Plan.Certificate.Status == planner.Optimal:
		text += "no plan is better"
	default:
		text += "no better plan was found"
	}
	return []byte(Visible(text) + "\n")
}

// Changes is the answer of a check of a lock whose decision does not stay:
// what it costs now, what a new one would, and the command that takes it.
func Changes(p *Planned, path, command string, s Style) []byte {
	var b bytes.Buffer
	headline := path + ": the decision changes"
	switch {
	case p.Locked == nil && p.Unfit == nil:
		headline = path + ": there is no lock"
	case p.Locked == nil:
		headline += ": the locked plan does not apply any more"
	}
	b.WriteString(s.bold(headline) + "\n")
	if p.Locked == nil && p.Unfit != nil {
		paragraph(&b, s, "  ", strings.ReplaceAll(p.Unfit.Error(), "\n", "; "))
	}
	text := p.value(p.Plan.Value)
	if p.Locked != nil {
		paragraph(&b, s, "  ", "the locked plan now: "+p.value(p.Locked.Value))
		less := p.Locked.Value - p.Plan.Value
		switch share := shareOf(less, p.Locked.Value); {
		case share == "":
			text += ", the same"
		case less < 0:
			text += ", " + p.number(-less) + " (" + share + ") more"
		default:
			text += ", " + p.number(less) + " (" + share + ") less"
		}
	}
	paragraph(&b, s, "  ", "a new plan: "+text)
	b.WriteString("\nnext: " + command + "\n") // in one piece, to be copied
	return b.Bytes()
}
