package planner

import (
	"fmt"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
)

// Known is an invocation whose result is no prediction: the real compiler made
// it. Wherever the search, a baseline or Evaluate comes to this invocation, it
// has these splits.
type Known struct {
	Models []int           // indexes into Problem.Models, in command-line order
	Splits []compile.Split // of each of them; InCache may be nil
	// AnyOrder says that the same models in any other order give the same
	// splits. An invocation that is known in exactly the order in question
	// counts before one of any order.
	AnyOrder bool
}

// knownFault is what is wrong with a Known, "" if nothing is.
func (p *Problem) knownFault(k *Known) string {
	if len(k.Models) == 0 || len(k.Splits) != len(k.Models) {
		return fmt.Sprintf("%d splits for %d models", len(k.Splits), len(k.Models))
	}
	var seen set
	for i, m := range k.Models {
		if m < 0 || m >= len(p.Models) || seen.Has(m) {
			return fmt.Sprintf("it names model %d of %d, or names it twice", m+1, len(p.Models))
		}
		seen = seen.With(m)
		if s := &k.Splits[i]; s.Cached < 0 || s.Streamed < 0 || s.Rows < 0 || s.Cached > maxBytes || s.Streamed > maxBytes || s.Rows > maxParts {
			return fmt.Sprintf("an impossible split of model %q", p.Models[m].Name)
		}
	}
	return ""
}

// compiledFaults lists what is wrong with the groups of compiled models.
func (p *Problem) compiledFaults() []error {
	var faults []error
	told := map[string]bool{}
	for i := range p.Models {
		m := &p.Models[i]
		if !m.Compiled || told[m.Group] {
			continue
		}
		told[m.Group] = true
		var group set
		free := ""
		for j := range p.Models {
			if o := &p.Models[j]; o.Group == m.Group {
				group = group.With(j)
				if !o.Compiled {
					free = o.Name
				}
			}
		}
		known := slices.ContainsFunc(p.Known, func(k Known) bool { return k.AnyOrder && setOf(k.Models) == group })
		switch {
		case m.Group == "":
			faults = append(faults, fmt.Errorf("model %q is compiled, but its group has no label", m.Name))
		case free != "":
			faults = append(faults, fmt.Errorf("model %q is compiled, and model %q of its group is not", m.Name, free))
		case !known:
			faults = append(faults, fmt.Errorf("model %q is compiled, but its group's result is not known", m.Name))
		}
	}
	return faults
}

// knownOrder is a Known with the models numbered by name.
type knownOrder struct {
	order    []int
	splits   []compile.Split
	anyOrder bool
}

// of is the split of a model of the invocation.
func (k *knownOrder) of(m int) *compile.Split { return &k.splits[slices.Index(k.order, m)] }

// learn numbers the known invocations by name.
func (f *field) learn(number []int) {
	for i := range f.problem.Known {
		k := &f.problem.Known[i]
		x := knownOrder{splits: slices.Clone(k.Splits), anyOrder: k.AnyOrder}
		for _, m := range k.Models {
			x.order = append(x.order, number[m])
		}
		if f.known == nil {
			f.known = map[set][]knownOrder{}
		}
		g := setOf(x.order)
		f.known[g] = append(f.known[g], x)
	}
}

// knownResult is what is known of an invocation, nil if it was never made.
func (f *field) knownResult(order []int) *knownOrder {
	if f.known == nil {
		return nil
	}
	var general *knownOrder
	list := f.known[setOf(order)]
	for i := range list {
		if slices.Equal(list[i].order, order) {
			return &list[i]
		}
		if general == nil && list[i].anyOrder {
			general = &list[i]
		}
	}
	return general
}

// knownForAll is a result that holds for every order of a group, and that no
// order in particular is known to contradict; nil if there is none.
func (f *field) knownForAll(group set) *knownOrder {
	list := f.known[group]
	for i := range list {
		if !list[i].anyOrder {
			return nil
		}
		for _, m := range list[i].order {
			if s, first := list[i].of(m), list[0].of(m); s.Cached != first.Cached || s.Streamed != first.Streamed {
				return nil
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	return &list[0]
}

// knownCost is the cost of an invocation whose result is known.
func (f *field) knownCost(k *knownOrder, miss []float64) float64 {
	for i, m := range k.order {
		f.costs[m] = f.splitCost(m, &k.splits[i], miss[m])
	}
	return f.sumOf(f.costs, setOf(k.order))
}

// splitsOf is the split of each model of an invocation, and whether it is known.
func (f *field) splitsOf(reserved int, order []int) (splits []compile.Split, known bool) {
	if k := f.knownResult(order); k != nil {
		for _, m := range order {
			splits = append(splits, *k.of(m))
		}
		return splits, true
	}
	loads := make([]*compile.Load, len(order))
	for i, m := range order {
		loads[i] = f.loads[m]
	}
	return compile.Allocate(f.problem.Version, reserved, loads), false
}

// knownLeast is the least cost of the orders of a group that are known,
// whether or not the pins allow them; at most bound.
func (f *field) knownLeast(group set, miss []float64, bound float64) float64 {
	list := f.known[group]
	for i := range list {
		bound = min(bound, f.knownCost(&list[i], miss))
	}
	return bound
}

// offerKnown takes the best order of a group that is known, and that the pins
// allow, if it is better than the best so far.
func (f *field) offerKnown(best *solved, group set, reserved int, miss []float64) {
	for i := range f.known[group] {
		order := f.known[group][i].order
		if !f.orderAllowed(order) {
			continue
		}
		if c := f.orderCost(order, reserved, miss); best.order == nil || below(c, best.upper) {
			best.order, best.upper = order, c
		}
	}
}

// solveKnown is the answer for a group whose result is known for every order:
// the order that was compiled, where the pins allow it.
func (f *field) solveKnown(group set, k *knownOrder) solved {
	order := k.order
	if !f.orderAllowed(order) {
		order, _ = f.firstOrder(group, members(group))
	}
	c := f.groupCost(order)
	return solved{lower: c, upper: c, order: order, done: true}
}
