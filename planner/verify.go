package planner

import (
	"fmt"
	"math"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
)

// verifyTolerance is the relative difference that two ways of summing the same numbers may have.
const verifyTolerance = 1e-9

// Verify works a plan out anew, by definition and without any code of the
// search, and says which rule it breaks: every model in exactly one place,
// pins, reserve, rows, split, misses, times, value, baselines, bound and gap. nil
// means that the plan is what it says it is; that no better one exists is
// proved by the search alone. Problems that Validate refuses are refused.
func Verify(p *Problem, plan *Plan) error {
	if err := p.Validate(); err != nil {
		return err
	}
	if plan.Certificate.Status == Infeasible {
		// on one device pins without a circle, which Validate refuses, always leave a plan
		return fmt.Errorf("the plan is infeasible, but no pin forbids every plan")
	}
	if len(plan.Models) != len(p.Models) {
		return fmt.Errorf("%d outcomes for %d models", len(plan.Models), len(p.Models))
	}
	if len(plan.Devices) != len(p.Devices) {
		return fmt.Errorf("%d devices planned, the problem has %d", len(plan.Devices), len(p.Devices))
	}
	groupOf := make([]int, len(p.Models)) // 1 + number of the group
	count := 0
	names := map[string]bool{}
	for d, device := range plan.Devices {
		if device.Name != p.Devices[d].Name {
			return fmt.Errorf("device %q is called %q", p.Devices[d].Name, device.Name)
		}
		for _, g := range device.Groups {
			count++
			if names[g.Name] || g.Name == "" {
				return fmt.Errorf("group name %q is empty or used twice", g.Name)
			}
			names[g.Name] = true
			if len(g.Models) == 0 {
				return fmt.Errorf("group %q is empty", g.Name)
			}
			for _, m := range g.Models {
				if m < 0 || m >= len(p.Models) {
					return fmt.Errorf("group %q holds model %d of %d", g.Name, m, len(p.Models))
				}
				if groupOf[m] != 0 {
					return fmt.Errorf("model %q is in two places", p.Models[m].Name)
				}
				groupOf[m] = count
			}
		}
	}
	for m, g := range groupOf {
		if g == 0 {
			return fmt.Errorf("model %q is in no group", p.Models[m].Name)
		}
	}
	for _, device := range plan.Devices {
		for i := range device.Groups {
			if err := verifyGroup(p, plan, &device.Groups[i], groupOf); err != nil {
				return err
			}
		}
	}
	if err := verifyPins(p, plan, groupOf); err != nil {
		return err
	}
	return verifyValues(p, plan)
}

// verifyPins checks labels and order pins against the groups.
func verifyPins(p *Problem, plan *Plan, groupOf []int) error {
	for i := range p.Models {
		for j := range p.Models {
			a, b := &p.Models[i], &p.Models[j]
			if a.Group == "" || b.Group == "" {
				continue
			}
			if (a.Group == b.Group) != (groupOf[i] == groupOf[j]) {
				return fmt.Errorf("pin group: models %q (%s) and %q (%s)", a.Name, a.Group, b.Name, b.Group)
			}
		}
	}
	for _, device := range plan.Devices {
		for _, g := range device.Groups {
			for at, m := range g.Models {
				for _, later := range p.Models[m].Before {
					if k := slices.Index(g.Models, later); k >= 0 && k < at {
						return fmt.Errorf("pin order_before: %q stands after %q", p.Models[m].Name, p.Models[later].Name)
					}
				}
			}
		}
	}
	return nil
}

func verifyGroup(p *Problem, plan *Plan, g *Group, groupOf []int) error {
	rows := p.Models[g.Models[0]].Reserved
	for _, m := range g.Models {
		rows = max(rows, p.Models[m].Reserved)
		if p.Models[m].Compiled != p.Models[g.Models[0]].Compiled {
			return fmt.Errorf("group %q: models %q and %q cannot be compiled together, one is compiled already", g.Name, p.Models[g.Models[0]].Name, p.Models[m].Name)
		}
	}
	if g.Reserved != rows {
		return fmt.Errorf("group %q reserves %d rows, its members need %d", g.Name, g.Reserved, rows)
	}
	splits, known := verifySplits(p, g.Models, rows)
	if known != g.Known {
		return fmt.Errorf("group %q: its result is known: %v, want %v", g.Name, g.Known, known)
	}
	used := 0
	for _, s := range splits {
		used += s.Rows
	}
	if used = min(used, compile.PoolRows(rows)); g.Rows != used {
		return fmt.Errorf("group %q occupies %d rows, want %d", g.Name, g.Rows, used)
	}
	for i, m := range g.Models {
		x, name := &plan.Models[m], p.Models[m].Name
		if x.Split.Cached != splits[i].Cached || x.Split.Streamed != splits[i].Streamed || x.Split.Rows != splits[i].Rows || !slices.Equal(x.Split.InCache, splits[i].InCache) {
			return fmt.Errorf("model %q: split %d + %d bytes, the compiler would give %d + %d", name, x.Split.Cached, x.Split.Streamed, splits[i].Cached, splits[i].Streamed)
		}
		miss := 0.0
		if splits[i].Cached > 0 {
			miss = verifyMiss(p, m, groupOf)
		}
		call := p.Models[m].Call
		steady := call.FixedMS + verifyStreaming(&p.Models[m], &splits[i])
		cold := steady
		if splits[i].Cached > 0 {
			cold += math.Max(0, (float64(splits[i].Cached)+call.LoadBytes)/call.BytesPerMS-call.OverlapMS) + call.OverheadMS
		}
		for _, n := range []struct {
			what      string
			got, want float64
		}{
			{"miss", x.Miss, miss},
			{"steady", x.SteadyMS, steady},
			{"cold", x.ColdMS, cold},
			{"expected", x.ExpectedMS, steady + miss*(cold-steady)},
		} {
			if differ(n.got, n.want) {
				return fmt.Errorf("model %q: %s %v, want %v", name, n.what, n.got, n.want)
			}
		}
	}
	return nil
}

// verifySplits is what an invocation gives: what it gave when it was made, in
// this order or in any, else what the compiler is predicted to do.
func verifySplits(p *Problem, models []int, rows int) (splits []compile.Split, known bool) {
	for _, exactly := range []bool{true, false} {
		for _, k := range p.Known {
			if exactly && !slices.Equal(k.Models, models) || !exactly && !k.AnyOrder || len(k.Models) != len(models) {
				continue
			}
			splits = nil
			for _, m := range models {
				if at := slices.Index(k.Models, m); at >= 0 {
					splits = append(splits, k.Splits[at])
				}
			}
			if len(splits) == len(models) {
				return splits, true
			}
		}
	}
	var loads []*compile.Load
	for _, m := range models {
		loads = append(loads, &p.Models[m].Load)
	}
	return compile.Allocate(p.Version, rows, loads), false
}

// verifyStreaming is what a warm call takes to stream what the split streams:
// for each part its own time, for the constants and what nothing is known of the
// link's rate. Of a result that does not tell its parts, those that take longest for their bytes.
func verifyStreaming(m *Model, s *compile.Split) float64 {
	rate := m.Call.BytesPerMS
	time := func(i int) float64 {
		if m.StreamMS != nil {
			return m.StreamMS[i]
		}
		return float64(m.Load.Parts[i].Bytes) / rate
	}
	order := make([]int, 0, len(m.Load.Parts)) // of parts with bytes, the dearest first
	for i := range m.Load.Parts {
		if told := len(s.InCache) == len(m.Load.Parts); told && s.InCache[i] || m.Load.Parts[i].Bytes == 0 && !told {
			continue
		}
		order = append(order, i)
	}
	if len(s.InCache) == len(m.Load.Parts) {
		ms, bytes := 0.0, s.Streamed
		for _, i := range order {
			ms += time(i)
			bytes -= m.Load.Parts[i].Bytes
		}
		return math.Max(0, ms+float64(bytes)/rate)
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := time(a)*float64(m.Load.Parts[b].Bytes), time(b)*float64(m.Load.Parts[a].Bytes)
		switch {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	left, ms := s.Streamed-m.Load.Streamed, 0.0 // less than nothing where constants were counted that are not there
	for _, i := range order {
		part := min(max(0, left), m.Load.Parts[i].Bytes)
		ms += float64(part) / float64(m.Load.Parts[i].Bytes) * time(i)
		left -= part
	}
	return ms + float64(m.Load.Streamed+left)/rate
}

// verifyMiss is the definition: foreign are the models of other groups.
func verifyMiss(p *Problem, m int, groupOf []int) float64 {
	var foreign cost.Set
	q := 0.0
	for o := range p.Models {
		if groupOf[o] != groupOf[m] {
			foreign |= 1 << o
			q += p.Models[o].Share
		}
	}
	if p.Process != nil {
		return p.Process.Miss(m, foreign)
	}
	if q == 0 {
		return 0
	}
	return q / (p.Models[m].Share + q)
}

// verifyValues checks the objective, the baselines' order of names and the certificate.
func verifyValues(p *Problem, plan *Plan) error {
	value := 0.0
	for m := range p.Models {
		x := &plan.Models[m]
		if p.Objective == ByteHits {
			value += p.Models[m].Share * (float64(x.Split.Streamed) + x.Miss*float64(x.Split.Cached))
		} else {
			value += p.Models[m].Share * x.ExpectedMS
		}
	}
	if differ(plan.Value, value) {
		return fmt.Errorf("value %v, the outcomes give %v", plan.Value, value)
	}
	least := plan.Value // that any plan may have
	if k := plan.Kept; k != nil {
		if err := verifyKept(plan); err != nil {
			return err
		}
		least = math.Min(least, k.Value)
	}
	if h := plan.Hedged; h != nil { // which may be worse than a baseline as assumed, but not than the plan it was preferred to
		if h.Value < plan.Certificate.Bound && differ(h.Value, plan.Certificate.Bound) {
			return fmt.Errorf("hedged: the value %v as assumed is below the bound %v", h.Value, plan.Certificate.Bound)
		}
		least = math.Min(least, h.Value)
	}
	want := []string{"separate", "as-given", "by-rate", "by-size-ascending", "by-size-descending"}
	c := &plan.Certificate
	if len(plan.Baselines) != len(want) {
		return fmt.Errorf("%d baselines, want %d", len(plan.Baselines), len(want))
	}
	for i, b := range plan.Baselines {
		if b.Name != want[i] {
			return fmt.Errorf("baseline %d is %q", i, b.Name)
		}
		v, feasible := verifyBaseline(p, b.Name)
		if differ(b.Value, v) {
			return fmt.Errorf("baseline %s: %v, want %v", b.Name, b.Value, v)
		}
		if b.Feasible != feasible {
			return fmt.Errorf("baseline %s: feasible is %v, the pins say %v", b.Name, b.Feasible, feasible)
		}
		if c.Status == UnknownSt {
			continue // a given plan may be worse than a baseline
		}
		if b.Feasible && b.Value < least && differ(b.Value, least) {
			return fmt.Errorf("baseline %s is better than the plan: %v against %v", b.Name, b.Value, least)
		}
	}
	switch {
	case c.Status == UnknownSt:
		return nil
	case c.Bound > plan.Value && differ(c.Bound, plan.Value):
		return fmt.Errorf("bound %v is above the value %v", c.Bound, plan.Value)
	case plan.Value > 0 && math.Abs(c.Gap-(plan.Value-c.Bound)/plan.Value) > verifyTolerance:
		return fmt.Errorf("gap %v with bound %v and value %v", c.Gap, c.Bound, plan.Value)
	case !(c.TiesAtMost >= 0 && c.TiesAtMost <= c.Gap):
		return fmt.Errorf("ties may change %v, but the gap is %v", c.TiesAtMost, c.Gap)
	case c.TiesAtMost > 0 && p.Version.Sequential():
		return fmt.Errorf("ties may change %v, but compiler %s knows none", c.TiesAtMost, p.Version)
	case c.Status == Optimal && (c.Gap-c.TiesAtMost >= Negligible || c.Limit != ""):
		return fmt.Errorf("optimal with gap %v, %v of it from ties, and limit %q", c.Gap, c.TiesAtMost, c.Limit)
	case c.Limit == LimitKept && plan.Kept == nil:
		return fmt.Errorf("limit %q of a plan that is not kept", c.Limit)
	case c.Limit == LimitHedge && plan.Hedged == nil:
		return fmt.Errorf("limit %q of a plan that is no hedge", c.Limit)
	case c.Status != Optimal && c.Status != Feasible:
		return fmt.Errorf("status %q", c.Status)
	}
	return nil
}

// verifyKept checks what a plan that stays gives up: no more than it may, and
// what it names is a plan that can be.
func verifyKept(plan *Plan) error {
	k := plan.Kept
	gain := 0.0
	if plan.Value > 0 {
		gain = (plan.Value - k.Value) / plan.Value
	}
	switch {
	case !(k.MinGain >= 0 && k.MinGain < 1):
		return fmt.Errorf("kept up to a gain of %v", k.MinGain)
	case differ(k.Gain, gain):
		return fmt.Errorf("kept: a gain of %v, the values give %v", k.Gain, gain)
	case gain > k.MinGain && differ(gain, k.MinGain):
		return fmt.Errorf("kept, but a new plan gains %v, more than %v", gain, k.MinGain)
	case plan.Certificate.Bound > k.Value && differ(plan.Certificate.Bound, k.Value):
		return fmt.Errorf("kept: the new plan's value %v is below the bound %v", k.Value, plan.Certificate.Bound)
	}
	return nil
}

// verifyBaseline works a baseline out from its name, and whether the pins allow it.
func verifyBaseline(p *Problem, name string) (value float64, feasible bool) {
	var order []int
	compiled := map[string][]int{} // what is compiled stays as it is
	for i := range p.Models {
		if p.Models[i].Compiled {
			compiled[p.Models[i].Group] = append(compiled[p.Models[i].Group], i)
		} else {
			order = append(order, i)
		}
	}
	size := func(m int) int64 { return p.Models[m].Load.Bytes() }
	precedes := map[string]func(a, b int) bool{
		"by-rate":            func(a, b int) bool { return p.Models[a].Share > p.Models[b].Share },
		"by-size-ascending":  func(a, b int) bool { return size(a) < size(b) },
		"by-size-descending": func(a, b int) bool { return size(a) > size(b) },
	}[name]
	if precedes != nil {
		slices.SortFunc(order, func(a, b int) int {
			switch {
			case precedes(a, b):
				return -1
			case precedes(b, a):
				return 1
			case p.Models[a].Name < p.Models[b].Name:
				return -1
			}
			return 1
		})
	}
	var groups [][]int
	if name == "separate" {
		for _, m := range order {
			groups = append(groups, []int{m})
		}
	} else if len(order) > 0 {
		groups = append(groups, order)
	}
	for _, list := range compiled {
		groups = append(groups, list)
	}
	groupOf := make([]int, len(p.Models))
	for n, list := range groups {
		for _, m := range list {
			groupOf[m] = n
		}
	}
	feasible = true
	for at, i := range order {
		for _, j := range order[at+1:] {
			a, b := p.Models[i].Group, p.Models[j].Group
			together := name != "separate"
			if a != "" && b != "" && (a == b) != together || together && slices.Contains(p.Models[j].Before, i) {
				feasible = false
			}
		}
	}
	for _, g := range groups {
		rows := p.Models[g[0]].Reserved
		for _, m := range g {
			rows = max(rows, p.Models[m].Reserved)
		}
		splits, _ := verifySplits(p, g, rows)
		for i, s := range splits {
			m := &p.Models[g[i]]
			miss := verifyMiss(p, g[i], groupOf)
			if p.Objective == ByteHits {
				value += m.Share * (float64(s.Streamed) + miss*float64(s.Cached))
				continue
			}
			t := m.Call.FixedMS + verifyStreaming(m, &s)
			if s.Cached > 0 {
				t += miss * (math.Max(0, (float64(s.Cached)+m.Call.LoadBytes)/m.Call.BytesPerMS-m.Call.OverlapMS) + m.Call.OverheadMS)
			}
			value += m.Share * t
		}
	}
	return value, feasible
}

func differ(a, b float64) bool {
	// not a number differs from everything
	return !(math.Abs(a-b) <= verifyTolerance*math.Max(1e-3, math.Max(math.Abs(a), math.Abs(b))))
}
