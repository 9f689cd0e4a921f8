package view

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/compile/timing"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans"
)

// modelTimesJSON is what is known of a model's times besides their values. What
// is not known is absent: of a model that is compiled already nothing is predicted.
type modelTimesJSON struct {
	ComputeMS      *number  `json:"compute_ms,omitempty"`
	ComputeLowMS   *number  `json:"compute_low_ms,omitempty"`
	ComputeHighMS  *number  `json:"compute_high_ms,omitempty"`
	ComputeSource  string   `json:"compute_source,omitempty"`
	HostMS         *number  `json:"host_ms,omitempty"`
	SteadyLowMS    *number  `json:"steady_low_ms,omitempty"`
	SteadyHighMS   *number  `json:"steady_high_ms,omitempty"`
	ColdLowMS      *number  `json:"cold_low_ms,omitempty"`
	ColdHighMS     *number  `json:"cold_high_ms,omitempty"`
	ExpectedLowMS  *number  `json:"expected_low_ms,omitempty"`
	ExpectedHighMS *number  `json:"expected_high_ms,omitempty"`
	Reach          string   `json:"reach,omitempty"`
	ReachBecause   []string `json:"reach_because,omitempty"`
	*cpuJSON
}

// timesJSON is that of a model (index) under an answer.
func timesJSON(r *plans.Resolved, answer *planner.Plan, i int) modelTimesJSON {
	var out modelTimesJSON
	t, ok := r.Times(answer, i)
	if !ok {
		if r.Problem.Models[i].Call.ComputeIncluded { // it was measured, together with the host's part
			out.ComputeSource = r.Sources(i).Compute
		}
		return out
	}
	expected := r.ExpectedRange(answer, i)
	timing := &r.Files[i].Analysis.Timing
	out = modelTimesJSON{
		ComputeMS: pointer(t.Compute.Value), ComputeLowMS: pointer(t.Compute.Low), ComputeHighMS: upper(t.Compute), ComputeSource: r.Sources(i).Compute,
		HostMS:      pointer(t.Host.Value),
		SteadyLowMS: pointer(t.Steady.Low), SteadyHighMS: upper(t.Steady), ColdLowMS: pointer(t.Cold.Low), ColdHighMS: upper(t.Cold),
		ExpectedLowMS: pointer(expected.Low), ExpectedHighMS: upper(expected),
		Reach: timing.Reach.String(), ReachBecause: timing.Because,
		cpuJSON: cpuTimes(&t.CPU),
	}
	return out
}

// cpuTimes is what the CPU takes besides, nil if nothing is left to it.
func cpuTimes(t *cost.CPUTime) *cpuJSON {
	if !t.Known() && t.Lacking == 0 {
		return nil
	}
	out := &cpuJSON{CPULacking: t.Lacking}
	if t.Known() {
		out.CPULowMS, out.CPUHighMS, out.CPUOn = pointer(t.LowMS), pointer(t.HighMS), t.On
	}
	return out
}

// bare prints a time like span, for a column of ms.
func bare(r cost.Range) string {
	switch {
	case !r.Bounded():
		return "at least " + rough(r.Low, r.Low)
	case rough(r.Low, r.Value) == rough(r.High, r.Value): // then ends say nothing, and more digits do
		return digits(r.Value)
	}
	return fmt.Sprintf("%s (%s)", central(r.Value), ends(r))
}

// timed prints a time like bare, with its unit, for a column where other things stand.
func timed(r cost.Range) string {
	switch {
	case !r.Bounded():
		return bare(r) + " ms"
	case rough(r.Low, r.Value) == rough(r.High, r.Value):
		return ms(r.Value)
	}
	return fmt.Sprintf("%s ms (%s)", central(r.Value), ends(r))
}

// ends prints only what a value is expected within: "3.2..5.5".
func ends(r cost.Range) string {
	if r.High-r.Low < 0.1*r.Value { // near ones need more digits
		return digits(r.Low) + ".." + digits(r.High)
	}
	return rough(r.Low, r.Value) + ".." + rough(r.High, r.Value)
}

// predicted reports whether some of the times are predicted from shapes.
func predicted(r *plans.Resolved) bool {
	return slices.ContainsFunc(indexes(r), func(i int) bool { return r.Files[i].Timing != nil && !r.Files[i].Timing.Known() })
}

func indexes(r *plans.Resolved) []int {
	list := make([]int, len(r.Files))
	for i := range list {
		list[i] = i
	}
	return list
}

// word says where the times of a model (index) are from, or that they leave out compute.
func word(r *plans.Resolved, i int) string {
	switch {
	case r.Files[i].Timing != nil && !r.Files[i].Timing.Known():
		return "predicted"
	case !r.Problem.Models[i].Call.ComputeIncluded:
		return "+ compute"
	}
	return r.Source(i)
}

// alike reports whether the times of all models are from the same source, so that a title can name it.
func alike(r *plans.Resolved) bool {
	return !slices.ContainsFunc(indexes(r), func(i int) bool { return word(r, i) != word(r, 0) })
}

// timesTitle heads a table of times.
func timesTitle(r *plans.Resolved, what string) string {
	if predicted(r) {
		return what + " (predicted)"
	}
	return what
}

// timesTable is what a call of each model takes under an answer.
func timesTable(b *bytes.Buffer, s Style, r *plans.Resolved, answer *planner.Plan) {
	t := table{columns: []column{left("MODEL"), right("COMPUTE"), right("WARM"), right("COLD"), right("EXPECTED")}}
	mixed := !alike(r)
	if mixed {
		t.columns = append(t.columns, column{title: "SOURCE", fixed: true})
	}
	narrow := table{columns: slices.Clone(t.columns)}
	for i := range r.Files {
		o := &answer.Models[i]
		compute, expected := "-", bare(r.ExpectedRange(answer, i))
		warm, cold := digits(o.SteadyMS), digits(o.ColdMS)
		wideWarm, wideCold := warm, cold
		if x, ok := r.Times(answer, i); ok {
			compute, wideWarm, wideCold = bare(x.Compute), bare(x.Steady), bare(x.Cold)
			if !x.Steady.Bounded() { // a lower bound is never given for more
				warm, cold = wideWarm, wideCold
			}
		}
		wide, short := []string{r.Files[i].Name, compute, wideWarm, wideCold, expected}, []string{r.Files[i].Name, compute, warm, cold, expected}
		if mixed {
			wide, short = append(wide, word(r, i)), append(short, word(r, i))
		}
		t.add(wide...)
		narrow.add(short...)
	}
	if _, total := t.widths(0); total+2 > s.Width {
		t = narrow
	}
	t.write(b, s, 2)
}

// timeNotes say of models why their times are no surer and what they leave out, models
// with the same reason together.
func timeNotes(r *plans.Resolved, answer *planner.Plan) []string {
	var notes []string
	names := map[string][]string{}
	note := func(i int, text string) {
		if text == "" {
			return
		}
		if names[text] == nil {
			notes = append(notes, text)
		}
		names[text] = append(names[text], r.Files[i].Name)
	}
	for i := range r.Files {
		t, ok := r.Times(answer, i)
		if !ok {
			continue
		}
		x := r.Files[i].Timing
		if !x.Known() {
			note(i, doubt(&r.Files[i].Analysis.Timing))
		}
		note(i, passesNote(x, &t, passes(r.Files[i].Analysis)))
		if cpu := onCPU(&t.CPU); cpu != "" {
			note(i, "besides "+cpu)
		}
	}
	for k, text := range notes {
		notes[k] = strings.Join(names[text], ", ") + ": " + text
	}
	return notes
}

// passesNote says what a net that runs in passes streams in each, "" where that adds nothing.
func passesNote(x *timing.Model, t *timing.Times, p cost.Range) string {
	if !x.InPasses() || t.InPasses.High < leastDifference {
		return ""
	}
	scale := x.Passes()
	low, high := math.Round(max(1, p.Value*scale.Low)), math.Round(p.Value*scale.High)
	return fmt.Sprintf("runs in about %.0f passes (%.0f..%.0f); what of it is streamed is sent in each and adds %s", math.Round(max(1, p.Value*scale.Value)), low, high, span(t.InPasses))
}

// clocks says at which clock the times of devices are predicted.
func clocks(r *plans.Resolved) string {
	device := &r.Plan.Devices[0]
	switch {
	case !predicted(r) || device.Link.PCIe():
		return ""
	case device.Runtime == "std":
		return "with libedgetpu-std"
	case device.Runtime == "max":
		return "with libedgetpu-max"
	}
	return `with libedgetpu-max (runtime` + glue + `=` + glue + `"std" doubles compute)`
}

// differences are by how much calls take longer under each baseline than under the plan, by its name.
func (p *Planned) differences() map[string]cost.Range {
	all := map[string]cost.Range{}
	if p.Resolved.Problem.Objective != planner.Time {
		return all
	}
	for _, b := range p.Plan.Baselines {
		groups, err := planner.BaselineGroups(p.Resolved.Problem, b.Name)
		if err != nil || !b.Feasible {
			continue
		}
		other, err := planner.Evaluate(p.Resolved.Problem, groups)
		if err != nil {
			continue
		}
		all[b.Name] = p.Resolved.DifferenceRange(p.Plan, other)
	}
	return all
}
