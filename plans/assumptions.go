package plans

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/compile/timing"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/planner"
)

// How far what is not measured may be off.
const (
	// Of what streaming an op adds, where it is sent once: how much of its transfer is
	// hidden behind the compute of the ops around it cannot be told.
	hiddenLow, hiddenHigh = 0.8, 1.2
	hiddenStep            = 0.01
	passesSteps           = 40
	// Of more models than this only what streaming takes of all together is varied: one
	// profile tells about the host, and a search for each takes as long as that of the plan.
	streamingOfEach = 10
	// The longest runs of calls of one model. A camera makes a hundred frames in
	// some seconds; a load is then a hundredth of what it is for independent
	// calls, and longer runs leave nothing of it that could matter.
	longestRun = 100
)

// Assumptions lists what the plan takes for granted, with the ranges in which
// it may lie and what would settle each, for [planner.Stability]: rows
// reserved for models whose rows are estimates, sizes of ops without a proven rule, an
// allocation rule that is not exact, what streaming costs and how often nets that run in passes do it, the
// rate of a link that nobody measured, and that calls are independent. What is the same in
// every plan, as the host's part of a call and the clock are, is no assumption of it. What cannot matter is left out: of one model
// that is not compiled already there is one plan, where everything fits nothing is streamed. Models of one file
// are one case, for they share what is not known. The order is that of these kinds and of names.
func (r *Resolved) Assumptions(answer *planner.Plan) []planner.Assumption {
	free := 0
	for i := range r.Problem.Models {
		if !r.Problem.Models[i].Compiled {
			free++
		}
	}
	if free < 2 {
		return nil
	}
	var list []planner.Assumption
	files := r.distinct()
	for _, same := range files {
		list = append(list, r.reserveAssumption(same)...)
	}
	for _, same := range files {
		list = append(list, r.sizeAssumptions(same)...)
	}
	list = append(list, r.ruleAssumption(answer)...)
	if r.Problem.Objective == planner.Time {
		if r.streams() {
			list = append(list, r.streamingAssumptions(files, answer)...)
			list = append(list, r.passesAssumptions(files)...)
		}
		list = append(list, r.linkAssumption()...)
	}
	return append(list, r.callsAssumption(answer)...)
}

// distinct groups the models (indexes, by name) by what is known of them: the file
// and the reserved rows.
func (r *Resolved) distinct() [][]int {
	byName := make([]int, len(r.Files))
	for i := range byName {
		byName[i] = i
	}
	r.sortByName(byName)
	type known struct {
		sha     string
		reserve compile.Reserve
	}
	number := map[known]int{}
	var groups [][]int
	for _, i := range byName {
		key := known{r.Files[i].SHA256, r.Files[i].Reserve}
		at, seen := number[key]
		if !seen {
			at = len(groups)
			number[key] = at
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], i)
	}
	return groups
}

func (r *Resolved) sortByName(models []int) {
	slices.SortFunc(models, func(a, b int) int { return cmp.Compare(r.Files[a].Name, r.Files[b].Name) })
}

// names lists models by name.
func (r *Resolved) names(models []int) string {
	names := make([]string, len(models))
	for k, i := range models {
		names[k] = r.Files[i].Name
	}
	return strings.Join(names, ", ")
}

// alone is the compile that tells what is not known of a model's file.
func (r *Resolved) alone(model int) (settledBy string, models []int) {
	return fmt.Sprintf("one real compile of %s alone", r.Files[model].Name), []int{model}
}

func (r *Resolved) reserveAssumption(same []int) []planner.Assumption {
	reserve := r.Files[same[0]].Reserve
	if !reserve.Estimate() || reserve.Low == reserve.High {
		return nil
	}
	names := r.names(same)
	settledBy, models := r.alone(same[0])
	return []planner.Assumption{{
		Sentence: func(rows string) string { return fmt.Sprintf("%s of every tile are reserved for %s", rows, names) },
		Assumes:  fmt.Sprintf("the compiler reserves %d rows of every tile for %s", reserve.Rows, names),
		If:       func(rows string) string { return "it reserves " + rows },
		Unit:     "rows",
		Low:      float64(reserve.Low), High: float64(reserve.High), Assumed: float64(reserve.Rows), Step: 1,
		Change: func(p *planner.Problem, rows float64) {
			for _, i := range same {
				p.Models[i].Reserved = int(math.Round(rows))
			}
		},
		SettledBy: settledBy, Means: planner.ByCompile, Models: models,
	}}
}

// sizeAssumptions are one for each range that the sizes of a file's heuristic ops have.
func (r *Resolved) sizeAssumptions(same []int) []planner.Assumption {
	analysis := r.Files[same[0]].Analysis
	type span struct{ low, high float64 }
	rangeOf := func(part *compile.Part) span {
		low, high := compile.SizeRange(analysis.Ops[part.Op].Name, part.Certainty)
		return span{low, high}
	}
	var spans []span
	ops := map[span][]string{}
	for i := range analysis.Load.Parts {
		part := &analysis.Load.Parts[i]
		x := rangeOf(part)
		if x.low == x.high || part.Bytes == 0 {
			continue
		}
		if ops[x] == nil {
			spans = append(spans, x)
		}
		if name := analysis.Ops[part.Op].Name; !slices.Contains(ops[x], name) {
			ops[x] = append(ops[x], name)
		}
	}
	var list []planner.Assumption
	for _, x := range spans {
		what := fmt.Sprintf("holding the heuristic %s of %s", strings.Join(ops[x], ", "), r.names(same))
		settledBy, models := r.alone(same[0])
		list = append(list, planner.Assumption{
			Sentence: func(times string) string { return fmt.Sprintf("%s takes %s the memory counted", what, times) },
			Assumes:  what + " takes the memory counted",
			If:       func(times string) string { return "it takes " + times + " that" },
			Unit:     "times",
			Low:      x.low, High: x.high, Assumed: 1, Step: (x.high - x.low) / sizeSteps,
			Change: func(p *planner.Problem, times float64) {
				for _, i := range same {
					parts := slices.Clone(p.Models[i].Load.Parts)
					for k := range parts {
						if rangeOf(&parts[k]) == x {
							parts[k] = parts[k].Scaled(times)
						}
					}
					p.Models[i].Load.Parts = parts
					_, p.Models[i].StreamMS = r.Files[i].Timing.With(p.Models[i].Load).Cost(timing.Vary{})
				}
			},
			SettledBy: settledBy, Means: planner.ByCompile, Models: models,
		})
	}
	return list
}

// sizeSteps is how many steps a range of sizes has; once the size is one of them.
const sizeSteps = 40

// ruleAssumption is the other rule by which partitioned ops may go to tiles,
// where the release's own was not seen often enough.
func (r *Resolved) ruleAssumption(answer *planner.Plan) []planner.Assumption {
	partitioned := slices.ContainsFunc(r.Problem.Models, func(m planner.Model) bool {
		return slices.ContainsFunc(m.Load.Parts, func(p compile.Part) bool { return p.Groups > 0 })
	})
	if compile.AllocatorCertainty(r.Version, len(r.Problem.Models)) == report.Exact || !partitioned {
		return nil
	}
	const each, first = "each group of a partitioned op on a tile of its own", "the groups of a partitioned op on the first tile with room"
	other, own, does := compile.V1_0, first, each+", as 1.0 does"
	if r.Version == compile.V1_0 {
		other, own, does = compile.V2_1, each, first+", as 2.1 does"
	}
	models := r.toldApart(answer, other)
	return []planner.Assumption{{
		Sentence:  func(string) string { return fmt.Sprintf("compiler %s puts %s", r.Version, does) },
		Assumes:   fmt.Sprintf("compiler %s puts %s", r.Version, own),
		If:        func(string) string { return "it puts " + does },
		Change:    func(p *planner.Problem, _ float64) { p.Version = other },
		SettledBy: fmt.Sprintf("one real compile of %s in this order", r.names(models)),
		Means:     planner.ByCompile,
		Models:    models,
	}}
}

// toldApart is an invocation that the two rules split in different ways: the first
// such group of the plan, else all models that can be compiled, as they are listed.
func (r *Resolved) toldApart(answer *planner.Plan, other compile.Version) []int {
	for _, d := range answer.Devices {
		for _, g := range d.Groups {
			if g.Known {
				continue
			}
			loads := make([]*compile.Load, len(g.Models))
			for k, i := range g.Models {
				loads[k] = &r.Problem.Models[i].Load
			}
			own, others := compile.Allocate(r.Version, g.Reserved, loads), compile.Allocate(other, g.Reserved, loads)
			if !slices.EqualFunc(own, others, func(a, b compile.Split) bool { return slices.Equal(a.InCache, b.InCache) }) {
				return g.Models
			}
		}
	}
	var all []int
	for i := range r.Problem.Models {
		if !r.Problem.Models[i].Compiled {
			all = append(all, i)
		}
	}
	return all
}

// streams reports whether some plan streams anything that may be cached.
func (r *Resolved) streams() bool {
	rows, reserved := 0, 0
	for i := range r.Problem.Models {
		for _, part := range r.Problem.Models[i].Load.Parts {
			rows += part.Rows
		}
		reserved = max(reserved, r.Files[i].Reserve.High)
	}
	return rows > compile.PoolRows(reserved) // else, wherever an op stands in the list, there is room for it
}

// vary gives models (indexes) the times that other values of what is not known give.
func (r *Resolved) vary(p *planner.Problem, models []int, v timing.Vary) {
	for _, i := range models {
		p.Models[i].Call, p.Models[i].StreamMS = r.Files[i].Timing.Cost(v)
	}
}

// streamingAssumptions are one for every file, and one for all of them together:
// nets of one host hide as much for the same reason. Of many models only the latter is tried.
func (r *Resolved) streamingAssumptions(files [][]int, answer *planner.Plan) []planner.Assumption {
	streaming := func(same []int, what, settledBy string) planner.Assumption {
		return planner.Assumption{
			Sentence: func(times string) string {
				return fmt.Sprintf("streaming%s takes %s as long as predicted", what, times)
			},
			Assumes: "streaming" + what + " takes as long as predicted",
			If:      func(times string) string { return "it takes " + times + " as long" },
			Unit:    "times",
			Low:     hiddenLow, High: hiddenHigh, Assumed: 1, Step: hiddenStep,
			// where a measured time leaves less for streaming, the line has a knee
			Linear:    !slices.ContainsFunc(same, func(i int) bool { return !r.Files[i].Timing.StreamsUpTo(hiddenHigh) }),
			Change:    func(p *planner.Problem, times float64) { r.vary(p, same, timing.Vary{Stream: times}) },
			SettledBy: settledBy, Means: planner.ByProfile,
		}
	}
	var list []planner.Assumption
	var all []int
	for _, same := range files {
		if !r.oncePart(same[0]) || r.streamingKnown(same[0]) {
			continue
		}
		all = append(all, same...)
		list = append(list, streaming(same, " of "+r.names(same), fmt.Sprintf("a profile of %s at two splits", r.Files[same[0]].Name)))
	}
	if len(list) < 2 {
		return list
	}
	r.sortByName(all)
	// the model that streams most tells most
	heaviest := slices.MaxFunc(all, func(a, b int) int {
		weight := func(i int) float64 {
			return r.Problem.Models[i].Share * float64(answer.Models[i].Split.Streamed)
		}
		return cmp.Or(cmp.Compare(weight(a), weight(b)), cmp.Compare(r.Files[b].Name, r.Files[a].Name))
	})
	what := " of any of " + r.names(all)
	if len(all) == len(r.Problem.Models) {
		what = ""
	}
	together := streaming(all, what, fmt.Sprintf("a profile of %s at two splits", r.Files[heaviest].Name))
	if len(r.Problem.Models) > streamingOfEach {
		return []planner.Assumption{together}
	}
	return append([]planner.Assumption{together}, list...)
}

// oncePart reports whether streaming some part of a model adds anything, sent once a call.
func (r *Resolved) oncePart(model int) bool {
	x, m := r.Files[model].Timing, &r.Problem.Models[model]
	if x == nil {
		return false
	}
	_, other := x.Cost(timing.Vary{Stream: hiddenHigh})
	return !slices.Equal(other, m.StreamMS)
}

// passesAssumptions are one for every file of a net that runs in passes: how often its
// parameters are sent.
func (r *Resolved) passesAssumptions(files [][]int) []planner.Assumption {
	var list []planner.Assumption
	for _, same := range files {
		x := r.Files[same[0]].Timing
		if x == nil || !x.InPasses() || r.streamingKnown(same[0]) {
			continue
		}
		passes := x.Passes()
		if passes.Low >= passes.High {
			continue
		}
		names := r.names(same)
		what := fmt.Sprintf("parameters of %s that are streamed are sent", names)
		list = append(list, planner.Assumption{
			Sentence: func(times string) string { return fmt.Sprintf("%s %s as often as predicted", what, times) },
			Assumes:  what + " once in every pass that is predicted",
			If:       func(times string) string { return "they are sent " + times + " as often" },
			Unit:     "times",
			Low:      passes.Low, High: passes.High, Assumed: passes.Value, Step: (passes.High - passes.Low) / passesSteps,
			Change:    func(p *planner.Problem, times float64) { r.vary(p, same, timing.Vary{Passes: times}) },
			SettledBy: fmt.Sprintf("a profile of %s at two splits", r.Files[same[0]].Name), Means: planner.ByProfile,
		})
	}
	return list
}

// linkAssumption is the rate of a built-in link, for the models that have no rate of
// their own. A link table is the user's own figure.
func (r *Resolved) linkAssumption() []planner.Assumption {
	device := r.Plan.Devices[0]
	if r.Calibrated != nil && r.Calibrated.Load.Known() {
		return nil
	}
	device.Link = r.Link(0)
	if device.Link.RateLow == 0 { // somebody's own figure
		return nil
	}
	var models []int
	for i := range r.Problem.Models {
		if !r.Problem.Models[i].Call.Measured {
			models = append(models, i)
		}
	}
	if len(models) == 0 {
		return nil
	}
	rate := device.Link.BytesPerMS / 1000
	return []planner.Assumption{{
		Sentence: func(amount string) string {
			return fmt.Sprintf("the link of %s (%s) carries %s", device.Name, device.Link.Name, amount)
		},
		Assumes: fmt.Sprintf("the link of %s (%s) carries %.4g MB/s", device.Name, device.Link.Name, rate),
		If:      func(amount string) string { return "it carries " + amount },
		Unit:    "MB/s",
		Low:     device.Link.RateLow * rate, High: device.Link.RateHigh * rate, Assumed: rate, Step: rate / 100,
		Change: func(p *planner.Problem, now float64) {
			for _, i := range models {
				if r.Files[i].Timing == nil { // what its compiled file streams is fixed
					p.Models[i].Call.BytesPerMS *= now / rate
					continue
				}
				r.vary(p, []int{i}, timing.Vary{Rate: now / rate})
			}
		},
		SettledBy: "one measurement of the link: steady and cold of any of its models, compiled alone", Means: planner.ByProfile,
	}}
}

// callsAssumption is that calls are independent of each other, unless the
// problem says how they come. In runs of one model loads are rarer, and compiling apart, which
// streams less, costs less; a plan that sends nothing has nothing to gain. Times and bytes
// are linear in the inverse of a run's length.
func (r *Resolved) callsAssumption(answer *planner.Plan) []planner.Assumption {
	sends := func(o planner.Outcome) bool { return o.Split.Streamed > 0 || o.Miss > 0 }
	if r.Problem.Process != nil || !slices.ContainsFunc(answer.Models, sends) {
		return nil
	}
	shares := make([]float64, len(r.Problem.Models))
	for i := range shares {
		shares[i] = r.Problem.Models[i].Share
	}
	return []planner.Assumption{{
		Sentence: func(amount string) string { return "calls come in runs of one model, " + amount },
		Assumes:  "calls are independent of each other",
		If:       func(amount string) string { return "they come in runs of one model, " + amount },
		Unit:     "calls a run",
		Low:      1, High: longestRun, Assumed: 1, Step: 1, Linear: true,
		Change: func(p *planner.Problem, length float64) {
			p.Process = cost.Runs(shares, length)
		},
		SettledBy: "a replay of recorded calls", Means: planner.ByTrace,
	}}
}
