// Package planner searches groups and compile orders for a set of models.
//
// Build a [Problem] (plans.Resolve does it from a plan file), call [Solve],
// and trust the [Plan] only after [Verify], which shares no code with the
// search. [Evaluate] says what a decision that was already taken is worth, and
// [Stability] whether something that is not known would change it; [FindHedge]
// finds a decision that cannot go badly wrong if it does.
//
// The search is deterministic: the same problem and options give the same
// plan on every machine. Models are searched in the order of their names, so
// the order in which a problem lists them changes the as-given baseline and
// the listing and nothing else.
package planner

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
)

// Problem is what is to be decided: which models share an invocation, in
// which order, on which device.
type Problem struct {
	Version   compile.Version
	Models    []Model  // order = the order given by the user; it matters only to the as-given baseline and to listings
	Devices   []Device // at least one; more than one is not planned yet
	Objective Objective
	// Process says how often a call of a model (numbered as in Models) finds
	// its parameters gone. nil: independent calls by the models' shares.
	Process cost.Process
	Known   []Known // invocations whose result the real compiler has shown
}

// Model is one model of a Problem.
type Model struct {
	Name     string
	Share    float64      // share of all calls, the shares of a Problem sum to 1
	Load     compile.Load // what an invocation must place
	Reserved int          // rows R of every tile that its broadcast buffers need; a group needs the largest of its members
	Call     cost.Call    // what a call costs, given the split
	// StreamMS is what streaming each part of Load adds to a warm call, in ms: what
	// it takes longer than its op computes. nil: its bytes at the call's rate.
	StreamMS []float64
	Group    string // pin: same label = same group, different labels = different groups, "" = free
	Before   []int  // pin: these models (indexes) come later in the order when they are in the same group
	// Compiled marks a model of which only the compiled form is there. Group is
	// then the label of the compiler call that made it; the models of that
	// label are a group with a Known result for any order, and no other model
	// can join them. Load holds all its bytes as streamed and decides nothing.
	Compiled bool
}

// Device is one Edge TPU.
type Device struct {
	Name string
}

// Objective is what is minimised.
type Objective int

// Objectives.
const (
	Time     Objective = iota // sum of share x expected milliseconds per call
	ByteHits                  // sum of share x (streamed + miss x cached) packed bytes per call
)

// String is the name used in plan files: "time", "byte-hits".
func (o Objective) String() string { return [...]string{"time", "byte-hits"}[o] }

// Unit is the unit of the objective's value: "ms_per_call", "bytes_per_call".
func (o Objective) Unit() string { return [...]string{"ms_per_call", "bytes_per_call"}[o] }

// shareTolerance is how far from 1 the shares may sum: rounding of 64 quotients.
const shareTolerance = 1e-9

// Limits of what a problem may hold, so that no sum of the search overflows.
// They lie far beyond any device: the pool has 8 MiB.
const (
	maxParts = 1 << 20
	maxBytes = int64(1) << 40
)

// Validate says what is wrong with a problem, everything at once, or nil:
// models without or with equal names, more than [cost.MaxModels], shares that
// do not sum to 1, costs and sizes that are no quantities, and pins that
// contradict each other. [Solve], [Evaluate] and [Verify] start with it.
func (p *Problem) Validate() error {
	var all []error
	wrong := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	if p.Version < compile.V1_0 || p.Version > compile.V16_0 {
		wrong("compiler version %d is not known", int(p.Version))
	}
	if p.Objective != Time && p.Objective != ByteHits {
		wrong("objective %d is not known", int(p.Objective))
	}
	switch len(p.Devices) {
	case 1:
	case 0:
		wrong("no device")
	default:
		wrong("%d devices: plans for more than one are not made yet", len(p.Devices))
	}
	switch n := len(p.Models); {
	case n == 0:
		wrong("no models")
	case n > cost.MaxModels:
		wrong("%d models: at most %d are planned together", n, cost.MaxModels)
	}
	first := map[string]int{}
	total := 0.0
	for i := range p.Models {
		m := &p.Models[i]
		name := fmt.Sprintf("model %q", m.Name)
		if m.Name == "" {
			wrong("model %d has no name", i+1)
		}
		if j, ok := first[m.Name]; ok {
			wrong("models %d and %d have the same name, %q", j+1, i+1, m.Name)
		} else {
			first[m.Name] = i
		}
		if !(m.Share >= 0 && m.Share <= 1+shareTolerance) {
			wrong("%s: share %v of all calls is not between 0 and 1", name, m.Share)
		}
		total += m.Share
		if m.Reserved < -maxSmallRows || m.Reserved > compile.TileRows {
			wrong("%s: %d reserved rows, want %d to %d", name, m.Reserved, -maxSmallRows, compile.TileRows)
		}
		for _, what := range callFaults(&m.Call) {
			wrong("%s: %s", name, what)
		}
		if what := loadFault(&m.Load); what != "" {
			wrong("%s: %s", name, what)
		}
		if what := streamFault(m); what != "" {
			wrong("%s: %s", name, what)
		}
		for _, later := range m.Before {
			switch {
			case later < 0 || later >= len(p.Models):
				wrong("%s: order_before names model %d of %d", name, later+1, len(p.Models))
			case later == i:
				wrong("%s: order_before names the model itself", name)
			}
		}
	}
	if len(p.Models) > 0 && !(math.Abs(total-1) <= shareTolerance) {
		wrong("the shares of the models sum to %v, want 1", total)
	}
	for i := range p.Known {
		if what := p.knownFault(&p.Known[i]); what != "" {
			wrong("known invocation %d: %s", i+1, what)
		}
	}
	if len(all) == 0 {
		all = append(all, p.compiledFaults()...)
	}
	if len(all) == 0 {
		if cycle := p.PinCycle(); cycle != nil {
			names := make([]string, 0, len(cycle)+1)
			for _, i := range append(cycle, cycle[0]) {
				names = append(names, fmt.Sprintf("%q", p.Models[i].Name))
			}
			wrong("order_before goes round in a circle: %s (no order of a group with all of them exists)", strings.Join(names, " before "))
		}
	}
	return errors.Join(all...)
}

// maxSmallRows are the rows of a tile beyond the 2048 that small buffers use:
// compilers that count them report up to so many rows less than none reserved.
const maxSmallRows = 32

func callFaults(c *cost.Call) []string {
	var faults []string
	for _, q := range []struct {
		name  string
		value float64
	}{{"fixed time", c.FixedMS}, {"load bytes", c.LoadBytes}, {"overhead", c.OverheadMS}, {"overlap", c.OverlapMS}} {
		if !(q.value >= 0 && q.value <= math.MaxFloat32) {
			faults = append(faults, fmt.Sprintf("%s %v of a call is not a quantity", q.name, q.value))
		}
	}
	if !(c.BytesPerMS > 0 && c.BytesPerMS <= math.MaxFloat32) {
		faults = append(faults, fmt.Sprintf("transfer rate %v bytes/ms is not a rate", c.BytesPerMS))
	}
	return faults
}

func streamFault(m *Model) string {
	if m.StreamMS != nil && len(m.StreamMS) != len(m.Load.Parts) {
		return fmt.Sprintf("%d times of streaming for %d parts", len(m.StreamMS), len(m.Load.Parts))
	}
	for i, ms := range m.StreamMS {
		if !(ms >= 0 && ms <= math.MaxFloat32) {
			return fmt.Sprintf("streaming part %d takes %v ms, which is no time", i, ms)
		}
	}
	return ""
}

func loadFault(l *compile.Load) string {
	if len(l.Parts) > maxParts {
		return fmt.Sprintf("%d parts to place, at most %d are planned", len(l.Parts), maxParts)
	}
	bytes := l.Streamed
	for i := range l.Parts {
		part := &l.Parts[i]
		if part.Bytes < 0 || part.Rows < 0 || part.Groups < 0 || part.GroupRows < 0 ||
			int64(part.Rows) > maxBytes/compile.RowBytes || int64(part.Groups)*int64(part.GroupRows) > maxBytes/compile.RowBytes || part.Bytes > maxBytes-bytes {
			return fmt.Sprintf("op %d has an impossible size", part.Op)
		}
		bytes += part.Bytes
	}
	if l.Streamed < 0 || bytes > maxBytes {
		return fmt.Sprintf("%d bytes of parameters are no size", bytes)
	}
	return ""
}

// PinCycle returns models (indexes, in order) each of which is pinned before
// the next and the last before the first, although no label keeps them out of
// one group; nil if there are none. It wants a problem with valid indexes.
func (p *Problem) PinCycle() []int {
	labels := map[string]bool{"": true}
	for i := range p.Models {
		labels[p.Models[i].Group] = true
	}
	sorted := make([]string, 0, len(labels))
	for l := range labels {
		sorted = append(sorted, l)
	}
	slices.Sort(sorted)
	for _, label := range sorted {
		if cycle := p.cycleAmong(func(i int) bool { return p.Models[i].Group == "" || p.Models[i].Group == label }); cycle != nil {
			return cycle
		}
	}
	return nil
}

// cycleAmong looks for a cycle among the models of a possible group.
func (p *Problem) cycleAmong(in func(int) bool) []int {
	const (
		fresh = iota
		open
		done
	)
	state := make([]int, len(p.Models))
	var path []int
	var visit func(i int) []int
	visit = func(i int) []int {
		state[i] = open
		path = append(path, i)
		for _, j := range p.Models[i].Before {
			if !in(j) {
				continue
			}
			if state[j] == open {
				at := len(path) - 1
				for path[at] != j {
					at--
				}
				return append([]int(nil), path[at:]...)
			}
			if state[j] == fresh {
				if cycle := visit(j); cycle != nil {
					return cycle
				}
			}
		}
		path = path[:len(path)-1]
		state[i] = done
		return nil
	}
	for i := range p.Models {
		if in(i) && state[i] == fresh {
			if cycle := visit(i); cycle != nil {
				return cycle
			}
		}
	}
	return nil
}

// byName lists the problem's models by name: the order in which everything is
// searched and summed, so that the listing of the problem does not matter.
func (p *Problem) byName() []int {
	order := make([]int, len(p.Models))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(p.Models[a].Name, p.Models[b].Name) })
	return order
}
