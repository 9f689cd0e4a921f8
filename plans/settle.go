package plans

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/planner"
)

// Seen is what compiled files and timed calls showed of what a plan takes for
// granted.
type Seen struct {
	Built []BuiltAs
	Rate  *Seeing // of the device's link, in MB/s
	// Streaming says how long it takes, in times of what is predicted, by the
	// index of the model.
	Streaming map[int]Seeing
}

// BuiltAs are models (indexes, in command-line order) that were compiled
// together, and what their files have.
type BuiltAs struct {
	Models []int
	Splits []compile.Split // of each; only bytes count
}

// Seeing is a quantity that was measured, with its interval.
type Seeing struct{ Value, Low, High float64 }

// SettledAs says what became of an assumption.
type SettledAs string

// What becomes of an assumption.
const (
	Settled      SettledAs = "settled"      // what is left of its range does not change the plan
	Narrowed     SettledAs = "narrowed"     // its range is smaller now, but still changes the plan
	Open         SettledAs = "open"         // nothing was seen of it, or nothing that tells values apart
	Contradicted SettledAs = "contradicted" // what was seen is outside of its range
)

// Settlement is an assumption in the light of what was seen.
type Settlement struct {
	*planner.Finding
	As SettledAs
	// Low and High are what is left of the range; of a rule, as of one that is
	// open, they are those of the assumption.
	Low, High   float64
	Measured    *Seeing // what was measured, if it was the quantity itself
	PlanChanges bool    // for some value of what is left
	Tested      bool    // compiled files were held against it
}

// Settle says of each assumption, as [planner.Stability] has judged it, what
// the evidence leaves of it. Rows, sizes and rules are tested by predicting, for
// every value, the splits of the files that there are; rates and slopes by what was measured.
func (r *Resolved) Settle(findings []planner.Finding, seen *Seen) ([]Settlement, error) {
	var list []Settlement
	for i := range findings {
		s, err := r.settle(&findings[i], seen)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

func (r *Resolved) settle(f *planner.Finding, seen *Seen) (Settlement, error) {
	s := Settlement{Finding: f, As: Open, Low: f.Low, High: f.High, PlanChanges: f.PlanChanges}
	value := f.High
	if f.Unit == "" {
		value = 1
	} else if value == f.Assumed {
		value = f.Low
	}
	other := r.changed(f.Assumption, value)
	switch models, what := r.affected(other); what {
	case changesLink:
		if seen.Rate != nil {
			s.measured(*seen.Rate)
		}
	case changesStreaming:
		if all, known := spread(models, seen.Streaming); known {
			s.measured(all)
		}
	case changesSplits:
		return s, r.settleSplits(&s, models, seen.Built)
	}
	return s, nil
}

// changed is the problem with another value, without what compiles are known to
// give: that is what it is compared with.
func (r *Resolved) changed(a *planner.Assumption, value float64) *planner.Problem {
	p := *r.Problem
	p.Models = slices.Clone(p.Models)
	p.Known = nil
	for _, k := range r.Problem.Known {
		if p.Models[k.Models[0]].Compiled { // such files are no prediction
			p.Known = append(p.Known, k)
		}
	}
	if a != nil {
		a.Change(&p, value)
	}
	return &p
}

const (
	changesNothing = iota
	changesSplits
	changesLink
	changesStreaming
	changesPasses
)

// affected are the models (indexes) that an assumption is about, and what of them it changes.
func (r *Resolved) affected(p *planner.Problem) (models []int, what int) {
	for i := range p.Models {
		a, b := &r.Problem.Models[i], &p.Models[i]
		sameParts := len(a.Load.Parts) == len(b.Load.Parts) && (len(a.Load.Parts) == 0 || &a.Load.Parts[0] == &b.Load.Parts[0])
		switch {
		case a.Reserved != b.Reserved, !sameParts, r.Problem.Version != p.Version:
			what = changesSplits
		case a.Call.BytesPerMS != b.Call.BytesPerMS:
			what = changesLink
		case !slices.Equal(a.StreamMS, b.StreamMS):
			what = changesStreaming
			if x := r.Files[i].Timing; x != nil && x.InPasses() {
				what = changesPasses // more of them is not as many times as long
			}
		default:
			continue
		}
		models = append(models, i)
	}
	return models, what
}

// spread is the range of what was seen of all of some models.
func spread(models []int, seen map[int]Seeing) (Seeing, bool) {
	all := Seeing{Low: math.Inf(1), High: math.Inf(-1)}
	for _, i := range models {
		x, known := seen[i]
		if !known {
			return all, false
		}
		all.Low, all.High = min(all.Low, x.Low), max(all.High, x.High)
		all.Value += x.Value / float64(len(models))
	}
	return all, len(models) > 0
}

// measured takes a measurement of the quantity itself.
func (s *Settlement) measured(x Seeing) {
	s.Measured = &x
	if x.High < s.Finding.Low || x.Low > s.Finding.High {
		s.As, s.Low, s.High, s.PlanChanges = Contradicted, x.Low, x.High, true
		return
	}
	s.leave(max(x.Low, s.Finding.Low), min(x.High, s.Finding.High))
}

// leave says what is left of the range.
func (s *Settlement) leave(low, high float64) {
	s.Low, s.High = low, high
	f := s.Finding
	s.PlanChanges = f.AtLeast != nil && *f.AtLeast <= high || f.AtMost != nil && *f.AtMost >= low
	s.As = Settled
	if s.PlanChanges {
		s.As = Narrowed
	}
}

// splitValues is how many values of a range are tried on files.
const splitValues = 128

func (r *Resolved) settleSplits(s *Settlement, models []int, built []BuiltAs) error {
	var with, alone []BuiltAs
	for _, b := range built {
		if slices.ContainsFunc(b.Models, func(m int) bool { return slices.Contains(models, m) }) {
			with = append(with, b)
			if len(b.Models) == 1 {
				alone = append(alone, b)
			}
		}
	}
	if len(with) == 0 {
		return nil
	}
	s.Tested = true
	f := s.Finding
	if f.Unit == "" {
		return r.settleRule(s, with)
	}
	steps := int(math.Round((f.High - f.Low) / f.Step))
	value := func(k int) float64 { return f.Low + float64(float64(k)*f.Step) }
	tries := []int{int(math.Round((f.Assumed - f.Low) / f.Step))}
	for i := range min(steps, splitValues) + 1 {
		tries = append(tries, i*steps/max(1, min(steps, splitValues)))
	}
	slices.Sort(tries)
	tries = slices.Compact(tries)
	// In company another model's rows and sizes may be the reason: what a model
	// is alone tells more surely.
	for _, files := range [][]BuiltAs{with, alone} {
		if len(files) == 0 {
			continue
		}
		var failed error
		fits := func(k int) bool {
			same, err := r.gives(r.changed(f.Assumption, value(k)), files)
			failed = cmp.Or(failed, err)
			return same
		}
		var fit []int // places in tries
		for n, k := range tries {
			if fits(k) {
				fit = append(fit, n)
			}
		}
		if len(fit) > 0 && len(fit) < len(tries) {
			low, high := fit[0], fit[len(fit)-1]
			least, most := tries[low], tries[high]
			if low > 0 { // where it begins to fit, between the values tried
				bad := tries[low-1]
				least = bad + 1 + sort.Search(least-bad-1, func(i int) bool { return fits(bad + 1 + i) })
			}
			if high < len(tries)-1 {
				most += sort.Search(tries[high+1]-most-1, func(i int) bool { return !fits(most + 1 + i) })
			}
			s.leave(value(least), value(most))
		}
		if failed != nil || len(fit) > 0 {
			return failed
		}
	}
	s.As = Contradicted
	return nil
}

func (r *Resolved) settleRule(s *Settlement, files []BuiltAs) error {
	own, err := r.gives(r.changed(nil, 0), files)
	if err != nil {
		return err
	}
	other, err := r.gives(r.changed(s.Assumption, 1), files)
	switch {
	case err != nil:
		return err
	case own && !other:
		s.As, s.PlanChanges = Settled, false
	case !own:
		s.As = Contradicted
	}
	return nil
}

// gives reports that a problem predicts what files have.
func (r *Resolved) gives(p *planner.Problem, files []BuiltAs) (bool, error) {
	for _, b := range files {
		groups := [][]int{b.Models}
		q := *p
		q.Models = slices.Clone(q.Models)
		for i := range q.Models { // pins do not concern what is built already
			if !q.Models[i].Compiled {
				q.Models[i].Group, q.Models[i].Before = "", nil
			}
			if !slices.Contains(b.Models, i) && !q.Models[i].Compiled {
				groups = append(groups, []int{i})
			}
		}
		for _, k := range q.Known {
			groups = append(groups, k.Models)
		}
		answer, err := planner.Evaluate(&q, groups)
		if err != nil {
			return false, err
		}
		for n, i := range b.Models {
			if got := answer.Models[i].Split; got.Cached != b.Splits[n].Cached || got.Streamed != b.Splits[n].Streamed {
				return false, nil
			}
		}
	}
	return true, nil
}

// Text says what became of the assumption, in words.
func (s *Settlement) Text() string {
	what := s.Finding.Range()
	stays := "the plan stays"
	if s.PlanChanges {
		stays = "the plan may change: run tpuplan optimize with what was learnt"
	}
	left := fmt.Sprintf("%.4g to %.4g %s are left", s.Low, s.High, s.Unit)
	if s.Low == s.High {
		left = fmt.Sprintf("it is %.4g %s", s.Low, s.Unit)
	}
	if s.Measured != nil {
		left = fmt.Sprintf("%.4g %s were seen, %.4g to %.4g", s.Measured.Value, s.Unit, s.Measured.Low, s.Measured.High)
	}
	switch {
	case s.As == Open && s.Tested:
		return what + ": the compiled files are the same either way"
	case s.As == Open:
		return what + ": nothing here tells; " + s.SettledBy + " does"
	case s.Unit == "" && s.As == Settled:
		return what + ": the compiled files say it does not, the plan stays"
	case s.Unit == "":
		return what + ": the compiled files contradict what is assumed"
	case s.As == Contradicted && s.Measured == nil:
		return what + ": no such value gives the compiled files"
	case s.As == Contradicted:
		return what + ": " + left + ", outside of that"
	}
	return what + ": " + left + ", " + stays
}
