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
	// LargestRegret is that of the new hedge, if the kept plan is one.
	LargestRegret *number `json:"largest_regret,omitempty"`
}

func (p *Planned) keptJSON() *keptJSON {
	k := p.Plan.Kept
	if k == nil {
		return nil
	}
	x := &keptJSON{Value: number(k.Value), Gain: number(k.Gain), MinGain: number(k.MinGain)}
	if p.Hedge != nil && p.Hedge.Instead != nil {
		x.LargestRegret = (*number)(&p.Hedge.Instead.Largest.Amount)
	}
	return x
}

// kept says in a sentence what became of the lock's decision, "" if it is the
// answer of the search too, or if there is none.
func (p *Planned) kept() string {
	k := p.Plan.Kept
	switch {
	case p.LockedRegret != nil:
		return p.keptHedge()
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
	return fmt.Sprintf("kept from the lock: a new plan would %s %s per call, %s less %s", p.takes(), p.number(k.Value), shareOf(k.Gain, 1), until(k.MinGain))
}

// takes is what a plan does with its value.
func (p *Planned) takes() string {
	if p.Resolved.Problem.Objective == planner.ByteHits {
		return "send"
	}
	return "take"
}

// until says how long a plan is kept.
func until(minGain float64) string {
	return "(--min-gain" + glue + strconv.FormatFloat(100*minGain, 'g', 12, 64) + "; --fresh takes it)"
}

// keptHedge is kept for a hedge, which is judged by its largest regret.
func (p *Planned) keptHedge() string {
	h := p.Hedge
	if h.Instead == nil {
		if planner.SameDecision(p.Plan, p.Locked) {
			return ""
		}
		return fmt.Sprintf("replaces the lock's plan, whose largest regret is %s%s", p.number(p.LockedRegret.Amount), where(p.LockedRegret))
	}
	var gains []string
	if gain := p.Plan.Kept.Gain; gain >= planner.Negligible {
		gains = append(gains, fmt.Sprintf("%s %s per call as assumed, %s less", p.takes(), p.number(h.Instead.Value), shareOf(gain, 1)))
	}
	if less := p.lessRegret(); less > 0 {
		gains = append(gains, fmt.Sprintf("have a largest regret of %s, %s less", p.number(h.Instead.Largest.Amount), p.number(less)))
	}
	if len(gains) == 0 {
		return "kept from the lock: no new hedge is better (--fresh takes the one that was found)"
	}
	return "kept from the lock: a new hedge would " + strings.Join(gains, ", and ") + " " + until(h.MinGain)
}

// lessRegret is how much less the largest regret of the hedge is that was found
// beside one that is kept; 0 if that is next to nothing of what the best plan takes.
func (p *Planned) lessRegret() float64 {
	h := p.Hedge
	if h == nil || h.Instead == nil {
		return 0
	}
	less := h.Largest.Amount - h.Instead.Largest.Amount
	if less < planner.Negligible*h.Largest.Best {
		return 0
	}
	return less
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
	case p.LockedRegret != nil && p.lessRegret() > 0:
		text += "the largest regret of a new hedge would be " + p.number(p.lessRegret()) + " less"
	case p.LockedRegret != nil && (gain <= 0 || share == ""):
		text += "no hedge is better"
	case gain > 0 && share != "":
		text += "a new plan would save " + share
	case p.Plan.Certificate.Proven():
		text += "no plan is better"
	case p.Plan.Certificate.Status == planner.Optimal:
		text += "no plan is better, but for ties, at most " + gap(&p.Plan.Certificate)
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
		was := "the locked plan now: " + p.value(p.Locked.Value)
		if x := p.LockedRegret; x != nil {
			was += ", largest regret " + p.number(x.Amount) + where(x)
		}
		paragraph(&b, s, "  ", was)
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
	if p.LockedRegret != nil {
		text += ", largest regret " + p.number(p.Hedge.Largest.Amount) + where(&p.Hedge.Largest)
	}
	paragraph(&b, s, "  ", "a new plan: "+text)
	b.WriteString("\nnext: " + command + "\n") // in one piece, to be copied
	return b.Bytes()
}
