package view

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/cost/replay"
	"github.com/tpuplan/tpuplan/internal/columns"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans"
)

// Simulation is calls that were replayed under the plan's decision and under
// those that it is compared with.
type Simulation struct {
	Resolved *plans.Resolved
	Decision string           // DecisionLocked or DecisionSearched
	Problem  *planner.Problem // with the calls that were replayed; nil if no closed form holds for them
	Random   bool             // calls were drawn with Seed, else recorded in Trace
	Seed     uint64
	Trace    string
	Calls    int64
	Timed    bool
	Runs     []*SimulatedRun // the plan's own first
}

// SimulatedRun is one decision.
type SimulatedRun struct {
	Name      string         // ThisPlan or that of a baseline
	Answer    *planner.Plan  // nil if it violates a pin: nothing was replayed then
	Models    []replay.Model // in the order of the plan
	Replay    *replay.Replay // after all calls
	Predicted *planner.Plan  // by the closed forms; nil if there is none
	Queue     *cost.Queue    // of the device, where calls arrive at random
}

// Where the decision came from.
const (
	DecisionLocked   = "lock"
	DecisionSearched = "search"
)

// ThisPlan is the name of the plan's own decision among those compared.
const ThisPlan = "plan"

// Title is the decision in words.
func (r *SimulatedRun) Title() string {
	if r.Name == ThisPlan {
		return "this plan"
	}
	return baselineNames[r.Name]
}

type simulationJSON struct {
	Schema          string             `json:"schema"`
	Source          string             `json:"source"`
	Compiler        string             `json:"compiler"`
	Decision        string             `json:"decision"`
	Workload        workloadJSON       `json:"workload"`
	ComputeIncluded bool               `json:"compute_included"`
	Runs            []simulatedRunJSON `json:"runs"`
}

type workloadJSON struct {
	Kind  string  `json:"kind"` // rates, weights or trace
	Trace string  `json:"trace,omitempty"`
	Seed  *uint64 `json:"seed,omitempty"`
	Calls int64   `json:"calls"`
	Timed bool    `json:"timed"`
}

type simulatedRunJSON struct {
	Name     string                `json:"name"`
	Feasible bool                  `json:"feasible"`
	Devices  []simulatedDeviceJSON `json:"devices,omitempty"`
	*countedJSON
	Models []simulatedModelJSON `json:"models,omitempty"`
}

type simulatedDeviceJSON struct {
	Name                 string               `json:"name"`
	Groups               []simulatedGroupJSON `json:"groups"`
	Utilization          *utilization         `json:"utilization,omitempty"`
	PredictedUtilization *utilization         `json:"predicted_utilization,omitempty"`
}

type simulatedGroupJSON struct {
	Name   string   `json:"name"`
	Models []string `json:"models"`
}

type simulatedModelJSON struct {
	Name            string `json:"name"`
	Device          string `json:"device"`
	ComputeIncluded bool   `json:"compute_included"`
	countedJSON
	modelTimesJSON
}

// countedJSON is what was counted of some calls, and predicted.
type countedJSON struct {
	Calls                 int64            `json:"calls"`
	Loads                 int64            `json:"loads"`
	Hits                  int64            `json:"hits"`
	Bytes                 int64            `json:"bytes"`
	PredictedMS           *number          `json:"predicted_ms,omitempty"`
	SimulatedMS           *number          `json:"simulated_ms,omitempty"`
	CIMS                  []number         `json:"ci_ms,omitempty"`
	LoadsPerCall          *number          `json:"loads_per_call,omitempty"`
	PredictedLoadsPerCall *number          `json:"predicted_loads_per_call,omitempty"`
	PercentilesMS         *percentilesJSON `json:"percentiles_ms,omitempty"`
	WaitMS                *number          `json:"wait_ms,omitempty"`
	PredictedWaitMS       *number          `json:"predicted_wait_ms,omitempty"`
	ResponseMS            *percentilesJSON `json:"response_ms,omitempty"`
}

type percentilesJSON struct {
	P50   number `json:"p50"`
	P90   number `json:"p90"`
	P99   number `json:"p99"`
	Max   number `json:"max"`
	Exact bool   `json:"exact"` // else each is within 0.4 %, but the maximum
}

// utilization is a number below 1, or "overloaded".
type utilization float64

// MarshalJSON writes the number, or the word.
func (u utilization) MarshalJSON() ([]byte, error) {
	if cost.Utilization(u).Overloaded() {
		return []byte(`"overloaded"`), nil
	}
	return number(u).MarshalJSON()
}

func percentiles(d *replay.Distribution) *percentilesJSON {
	return &percentilesJSON{number(d.Percentile(50)), number(d.Percentile(90)), number(d.Percentile(99)), number(d.Max()), d.Exact()}
}

// counted is what was counted; waiting is left out where calls piled up,
// since it only tells for how long they did.
func (s *Simulation) counted(c replay.Summary, overloaded bool) countedJSON {
	x := countedJSON{Calls: c.Calls, Loads: c.Loads, Hits: c.Hits, Bytes: c.Bytes}
	if c.Calls == 0 {
		return x
	}
	x.SimulatedMS = pointer(c.Service.Mean())
	x.LoadsPerCall = pointer(float64(c.Loads) / float64(c.Calls))
	x.PercentilesMS = percentiles(c.Service)
	if s.Random && c.ErrorKnown {
		x.CIMS = []number{number(max(0, c.Service.Mean()-c.ErrorMS)), number(c.Service.Mean() + c.ErrorMS)}
	}
	if c.Response != nil && !overloaded {
		x.WaitMS, x.ResponseMS = pointer(c.WaitMS), percentiles(c.Response)
	}
	return x
}

func pointer(x float64) *number {
	n := number(x)
	return &n
}

// busy is how busy the device of a run was; nil if it cannot be said.
func (r *SimulatedRun) busy(device int) *utilization {
	share, known := r.Replay.Device(device).Utilization()
	if !known {
		return nil
	}
	u := utilization(share)
	return &u
}

// overloaded reports whether more calls arrived at some device than it could serve.
func (r *SimulatedRun) overloaded() bool {
	for d := range r.Replay.Devices() {
		if u := r.busy(d); u != nil && cost.Utilization(*u).Overloaded() {
			return true
		}
	}
	return false
}

// SimulationJSON is the object tpuplan/simulation/v1.
func SimulationJSON(s *Simulation) []byte {
	x := simulationJSON{
		Schema: "tpuplan/simulation/v1", Source: "simulated", Compiler: s.Resolved.Version.String(), Decision: s.Decision,
		Workload:        workloadJSON{Kind: "trace", Trace: s.Trace, Calls: s.Calls, Timed: s.Timed},
		ComputeIncluded: s.computeIncluded(),
	}
	if s.Random {
		x.Workload.Kind, x.Workload.Seed = "weights", &s.Seed
		if s.Resolved.Plan.ByRate {
			x.Workload.Kind = "rates"
		}
	}
	for _, r := range s.Runs {
		y := simulatedRunJSON{Name: r.Name, Feasible: r.Answer != nil}
		if r.Answer != nil {
			s.describe(r, &y)
		}
		x.Runs = append(x.Runs, y)
	}
	return encode(x)
}

// describe fills in a run that was replayed.
func (s *Simulation) describe(r *SimulatedRun, y *simulatedRunJSON) {
	overloaded := r.overloaded()
	all := s.counted(r.Replay.Total(), overloaded)
	y.countedJSON = &all
	if r.Predicted != nil {
		all.PredictedMS = pointer(s.Problem.MeanMS(r.Predicted))
		if r.Queue != nil {
			if wait, ok := r.Queue.MeanWaitMS(); ok {
				all.PredictedWaitMS = pointer(wait)
			}
		}
	}
	for d := range r.Answer.Devices {
		device := simulatedDeviceJSON{Name: r.Answer.Devices[d].Name, Utilization: r.busy(d)}
		if r.Queue != nil {
			u := utilization(r.Queue.Utilization)
			device.PredictedUtilization = &u
		}
		for _, g := range r.Answer.Devices[d].Groups {
			group := simulatedGroupJSON{Name: g.Name}
			for _, i := range g.Models {
				group.Models = append(group.Models, r.Models[i].Name)
			}
			device.Groups = append(device.Groups, group)
		}
		y.Devices = append(y.Devices, device)
	}
	for i := range r.Models {
		m := simulatedModelJSON{
			Name: r.Models[i].Name, Device: r.Answer.Devices[r.Models[i].Device].Name,
			ComputeIncluded: s.Resolved.Problem.Models[i].Call.ComputeIncluded,
			countedJSON:     s.counted(r.Replay.Model(i), overloaded),
		}
		if r.Predicted != nil {
			m.modelTimesJSON = timesJSON(s.Resolved, r.Predicted, i)
		}
		if r.Predicted != nil && m.Calls > 0 {
			m.PredictedMS, m.PredictedLoadsPerCall = pointer(r.Predicted.Models[i].ExpectedMS), pointer(r.Predicted.Models[i].Miss)
		}
		y.Models = append(y.Models, m)
	}
}

func (s *Simulation) computeIncluded() bool {
	return (&Planned{Resolved: s.Resolved}).computeIncluded()
}

func (s *Simulation) plusCompute() string {
	return (&Planned{Resolved: s.Resolved}).plusCompute()
}

// Simulate is what a replay gave: the plan against what it is compared with,
// its models, and, where calls have times, waiting.
func Simulate(s *Simulation, style Style) []byte {
	var b bytes.Buffer
	b.WriteString(style.bold(s.headline(style)) + "\n\n")
	paragraph(&b, style, "", s.workload())
	s.compare(&b, style)
	s.models(&b, style)
	if s.Timed {
		s.waiting(&b, style)
	}
	s.doubts(&b, style)
	return b.Bytes()
}

// headline is the answer in one line: what a call takes and what that is worth.
func (s *Simulation) headline(style Style) string {
	own := s.Runs[0].Replay.Total().Service.Mean()
	r, known := s.expected()
	bounded := r.Bounded()
	worth := ""
	for _, r := range s.Runs[1:] {
		if r.Name != planner.Separate || r.Answer == nil || len(r.Models) == 1 || own <= 0 {
			continue
		}
		switch other := r.Replay.Total().Service.Mean(); {
		case other < own*(1+planner.Tie) && other > own*(1+rounding):
			worth = ", within " + percent(planner.Tie) + " of " + r.Title()
		case other < own*(1+planner.Tie):
			worth = ", no better than " + r.Title()
		case s.computeIncluded() && bounded:
			worth = ", " + factor(other/own) + " better than " + r.Title()
		default:
			worth = ", " + ms(other-own) + " less than " + r.Title()
		}
	}
	if s.Timed && s.Runs[0].overloaded() {
		worth += "; overloaded"
	}
	if !bounded { // a lower bound is never given for more
		return fmt.Sprintf("simulated: at least %s ms per call%s", rough(r.Low, r.Low), worth)
	}
	forms := []string{""}
	if known {
		forms = []string{" (" + ends(r) + ", predicted)", " (" + ends(r) + ")", ""}
	}
	line := ""
	for _, within := range forms {
		if line = fmt.Sprintf("simulated: %s per call%s%s%s", ms(own), within, s.plusCompute(), worth); columns.Width(line) <= style.Width {
			return line
		}
	}
	return line
}

// expected is the mean time of the calls that were played, and what it is expected within: every call
// takes its time in the plan, which is off by as much. ok is false where nothing is said of it.
func (s *Simulation) expected() (r cost.Range, ok bool) {
	run := s.Runs[0]
	own := run.Replay.Total().Service.Mean()
	if !predicted(s.Resolved) || !s.computeIncluded() {
		return cost.Exactly(own), false
	}
	answer, problem := run.Answer, s.Resolved.Problem
	if run.Predicted != nil { // with the calls that were played
		answer, problem = run.Predicted, s.Problem
	}
	value, all := problem.MeanMS(answer), cost.Range{}
	for i := range problem.Models {
		all = all.Plus(s.Resolved.ExpectedRange(answer, i).Times(problem.Models[i].Share))
	}
	if value <= 0 {
		return cost.Exactly(own), false
	}
	r = all.Times(own / value)
	r.Value = own
	return r, run.Predicted != nil || !r.Bounded()
}

// workload says what was played.
func (s *Simulation) workload() string {
	calls := "recorded in " + s.Trace
	switch {
	case s.Trace == "-":
		calls = "recorded, from standard input"
	case s.Random:
		by := "weights"
		if s.Resolved.Plan.ByRate {
			by = "rates"
		}
		calls = fmt.Sprintf("drawn at random by the plan's %s, seed %d", by, s.Seed)
	}
	from := "is the lock's decision"
	if s.Decision == DecisionSearched {
		from = "was searched for this"
	}
	var groups []string
	for d := range s.Runs[0].Answer.Devices {
		for g := range s.Runs[0].Answer.Devices[d].Groups {
			var names []string
			for _, i := range s.Runs[0].Answer.Devices[d].Groups[g].Models {
				names = append(names, s.Runs[0].Models[i].Name)
			}
			groups = append(groups, strings.Join(names, " + "))
		}
	}
	return fmt.Sprintf("%s, %s. This plan %s, for edgetpu_compiler %s: %s.", count(int(s.Calls), "call"), calls, from, s.Resolved.Version, strings.Join(groups, " | "))
}

// compare is the table of decisions.
func (s *Simulation) compare(b *bytes.Buffer, style Style) {
	b.WriteString("\n" + timesTitle(s.Resolved, "compared, mean time per call in ms"+s.plusCompute()) + "\n")
	t := table{columns: []column{{fixed: true}, right("PREDICTED"), right("SIMULATED"), right("+-"), right("LOADS"), right("SENT/CALL")}}
	for _, r := range s.Runs {
		if r.Answer == nil {
			continue
		}
		c := r.Replay.Total()
		predicted := "-"
		if r.Predicted != nil {
			predicted = digits(s.Problem.MeanMS(r.Predicted))
		}
		t.add(r.Title(), predicted, digits(c.Service.Mean()), s.interval(c), fmt.Sprint(c.Loads), size(c.Bytes/c.Calls))
	}
	t.write(b, style, 2)
	for _, r := range s.Runs {
		if r.Answer == nil {
			b.WriteString("  " + r.Title() + ": violates a pin\n")
		}
	}
}

// interval is half the width of the 95 % interval of a mean; recorded calls have none.
func (s *Simulation) interval(c replay.Summary) string {
	if !s.Random || !c.ErrorKnown {
		return "-"
	}
	return digits(c.ErrorMS)
}

// models is the table of the plan's own models.
func (s *Simulation) models(b *bytes.Buffer, style Style) {
	b.WriteString("\n" + timesTitle(s.Resolved, "this plan, time of a call in ms"+s.plusCompute()) + "\n")
	t := table{columns: []column{left("MODEL"), right("CALLS"), right("LOADS"), right("PREDICTED"), right("SIMULATED"), right("P50"), right("P90"), right("P99"), right("MAX")}}
	r := s.Runs[0]
	for i := range r.Models {
		c := r.Replay.Model(i)
		if c.Calls == 0 {
			t.add(r.Models[i].Name, "0", "0", "-", "-", "-", "-", "-", "-")
			continue
		}
		predicted := "-"
		if r.Predicted != nil {
			predicted = digits(r.Predicted.Models[i].ExpectedMS)
		}
		d := c.Service
		t.add(r.Models[i].Name, fmt.Sprint(c.Calls), fmt.Sprint(c.Loads), predicted, digits(d.Mean()), digits(d.Percentile(50)), digits(d.Percentile(90)), digits(d.Percentile(99)), digits(d.Max()))
	}
	t.write(b, style, 2)
}

// waiting is the table of what calls with times wait.
func (s *Simulation) waiting(b *bytes.Buffer, style Style) {
	b.WriteString("\nwaiting for the device, and time from arrival to end, in ms" + s.plusCompute() + "\n")
	t := table{columns: []column{{fixed: true}, right("BUSY"), right("PREDICTED"), right("WAIT"), right("P50"), right("P99"), right("MAX")}}
	for _, r := range s.Runs {
		if r.Answer == nil {
			continue
		}
		busy, predicted := "-", "-"
		if u := r.busy(0); u != nil {
			busy = percent(float64(*u))
		}
		if r.overloaded() {
			t.add(r.Title(), "overloaded", "-", "-", "-", "-", "-")
			continue
		}
		if r.Queue != nil {
			if wait, ok := r.Queue.MeanWaitMS(); ok {
				predicted = digits(wait)
			}
		}
		c := r.Replay.Total()
		t.add(r.Title(), busy, predicted, digits(c.WaitMS), digits(c.Response.Percentile(50)), digits(c.Response.Percentile(99)), digits(c.Response.Max()))
	}
	t.write(b, style, 2)
}

// doubts says what the numbers are worth.
func (s *Simulation) doubts(b *bytes.Buffer, style Style) {
	var all []string
	bySource := map[string][]string{}
	for i := range s.Resolved.Problem.Models {
		source, name := s.Resolved.Source(i), s.Resolved.Problem.Models[i].Name
		all, bySource[source] = append(all, name), append(bySource[source], name)
	}
	b.WriteString("\n")
	paragraph(b, style, "sure: ", "everything is simulated, nothing was measured: which calls load is the driver's rule, from an empty device on; each takes its time in the plan")
	var times []string
	for _, source := range slices.Sorted(maps.Keys(bySource)) {
		text := source + " for " + list(bySource[source], all)
		if source == cost.SourceModelled {
			text = (&Planned{Resolved: s.Resolved}).modelledTimes(bySource[source], all)
		}
		times = append(times, text)
	}
	paragraph(b, style, "      ", "times: "+strings.Join(times, "; "))
	if s.Timed && !s.computeIncluded() {
		paragraph(b, style, "      ", "with compute the device is busier and calls wait longer")
	}
	if !s.Random {
		paragraph(b, style, "      ", "predicted is the trace repeated for ever: the first call of each model, which always loads, is the difference")
	}
}
