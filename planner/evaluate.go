package planner

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
)

// Evaluate says what a given decision gives: groups of indexes into
// Problem.Models, each in command-line order. The certificate's status is
// unknown. The error says which model is missing, doubled or pinned otherwise.
func Evaluate(p *Problem, groups [][]int) (*Plan, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	f := newField(p)
	number := f.numbers()
	var seen set
	var named [][]int
	for _, g := range groups {
		var order []int
		for _, at := range g {
			if at < 0 || at >= f.n {
				return nil, fmt.Errorf("the groups name model %d of %d", at, f.n)
			}
			if seen.Has(number[at]) {
				return nil, fmt.Errorf("model %q is in two places", p.Models[at].Name)
			}
			seen = seen.With(number[at])
			order = append(order, number[at])
		}
		if len(order) == 0 {
			return nil, errors.New("a group is empty")
		}
		if !f.allowed(setOf(order)) || !f.orderAllowed(order) {
			return nil, fmt.Errorf("the group of %q violates a pin", p.Models[g[0]].Name)
		}
		named = append(named, order)
	}
	if seen != f.all {
		for m := range f.n {
			if !seen.Has(m) {
				return nil, fmt.Errorf("model %q is in no group", f.model(m).Name)
			}
		}
	}
	plan := f.plan(named)
	plan.Certificate.Status = UnknownSt
	return plan, nil
}

// plan works out everything about a partition into ordered groups.
func (f *field) plan(groups [][]int) *Plan {
	p := f.problem
	plan := &Plan{Models: make([]Outcome, f.n)}
	groups = slices.Clone(groups)
	slices.SortFunc(groups, func(a, b []int) int { return cmp.Compare(slices.Min(a), slices.Min(b)) })
	device := DevicePlan{Name: p.Devices[0].Name}
	costs := make([]float64, f.n)
	for _, order := range groups {
		set := setOf(order)
		g := Group{Reserved: f.reserved(set)}
		for _, m := range order {
			g.Models = append(g.Models, f.at[m])
			if !f.model(m).Compiled { // the label of a compiled group is no name that a user gave
				g.Name = cmp.Or(g.Name, f.labels[m])
			}
		}
		miss := f.misses(set)
		var splits []compile.Split
		splits, g.Known = f.splitsOf(g.Reserved, order)
		for i, s := range splits {
			m := order[i]
			costs[m] = f.splitCost(m, &s, miss[m])
			x := Outcome{Split: s}
			if s.Cached > 0 {
				x.Miss = miss[m]
			}
			call := &f.model(m).Call
			x.SteadyMS = call.FixedMS + f.model(m).StreamingMS(&s)
			x.ColdMS = x.SteadyMS + call.Load(s.Cached)
			x.ExpectedMS = x.SteadyMS + float64(x.Miss*call.Load(s.Cached))
			plan.Models[f.at[m]] = x
			g.Rows += s.Rows
		}
		g.Rows = min(g.Rows, compile.PoolRows(g.Reserved)) // copies of one model in 16.0 count what each says
		g.OrderTies = !g.Known && f.orderTies(order, g.Reserved, miss)
		device.Groups = append(device.Groups, g)
	}
	nameGroups(&device)
	plan.Devices = []DevicePlan{device}
	plan.Value = sum(costs)
	for _, b := range f.baselines() {
		plan.Baselines = append(plan.Baselines, f.baseline(b))
	}
	return plan
}

// orderTies reports whether the order of a 16.0 group decides ties between
// ops of equal size: whether some other order that is easy to think of does worse.
func (f *field) orderTies(order []int, reserved int, miss []float64) bool {
	if f.problem.Version.Sequential() || len(order) == 1 {
		return false
	}
	group := setOf(order)
	reversed := slices.Clone(order)
	slices.Reverse(reversed)
	own := f.orderCost(order, reserved, miss)
	for _, other := range append(f.seeds(group), reversed) {
		if f.orderAllowed(other) && below(own, f.orderCost(other, reserved, miss)) {
			return true
		}
	}
	return false
}

// nameGroups names the groups that have no label: DEVICE-1, DEVICE-2 ...
func nameGroups(d *DevicePlan) {
	used := map[string]bool{}
	for i := range d.Groups {
		used[d.Groups[i].Name] = true
	}
	n := 0
	for i := range d.Groups {
		for d.Groups[i].Name == "" {
			if n++; !used[fmt.Sprintf("%s-%d", d.Name, n)] {
				d.Groups[i].Name = fmt.Sprintf("%s-%d", d.Name, n)
			}
		}
	}
}

// rule is what a user without a planner would do.
type rule struct {
	name   string
	groups [][]int
}

func (f *field) rule(name string) rule {
	for _, r := range f.baselines() {
		if r.name == name {
			return r
		}
	}
	return rule{}
}

// baselines are the rules every plan is compared with.
func (f *field) baselines() []rule {
	var all []int        // that can be compiled
	var compiled [][]int // groups that are as they are under every rule
	var separate [][]int
	for _, g := range f.smallest() {
		if f.model(bits.TrailingZeros64(uint64(g))).Compiled {
			compiled = append(compiled, members(g))
		}
	}
	for _, m := range members(f.all) {
		if !f.model(m).Compiled {
			all = append(all, m)
			separate = append(separate, []int{m})
		}
	}
	given := slices.Clone(all)
	slices.SortFunc(given, func(a, b int) int { return cmp.Compare(f.at[a], f.at[b]) })
	ascending := f.bySize(all)
	descending := f.sortedBy(all, func(a, b int) int { return cmp.Compare(f.total[b], f.total[a]) })
	rules := []rule{
		{Separate, separate},
		{AsGiven, [][]int{given}},
		{ByRate, [][]int{f.byRate(all)}},
		{BySizeAscending, [][]int{ascending}},
		{BySizeDescending, [][]int{descending}},
	}
	for i := range rules {
		if len(all) == 0 {
			rules[i].groups = nil
		}
		rules[i].groups = append(rules[i].groups, compiled...)
	}
	return rules
}

func (f *field) baseline(r rule) Baseline {
	b := Baseline{Name: r.name, Feasible: true}
	for _, order := range r.groups {
		b.Feasible = b.Feasible && f.allowed(setOf(order)) && f.orderAllowed(order)
	}
	b.Value = f.costOf(r.groups)
	return b
}
