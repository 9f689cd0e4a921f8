package planner

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/internal/nets"
	"github.com/tpuplan/tpuplan/internal/testdata"
)

// lawful visits instances of all families, mostly of few models, up to eight.
func lawful(t *testing.T, all int, visit func(t *testing.T, rng *rand.Rand, p *Problem)) {
	t.Helper()
	var list []family
	for _, f := range append(families(), builtFamily(t)) {
		if f.draw != nil {
			list = append(list, f)
		}
	}
	rng := rand.New(rand.NewPCG(41, 42))
	for i := range fewer(all) {
		n := 2 + rng.IntN(4)
		if i%8 == 7 {
			n = 6 + rng.IntN(3)
		}
		f := list[i%len(list)]
		p := f.draw(rng, n, release(i/len(list)))
		t.Run(fmt.Sprintf("%d_%s", i, strings.ReplaceAll(f.name, " ", "_")), func(t *testing.T) { visit(t, rng, p) })
	}
}

// solution is a plan that Verify accepts.
func solution(t *testing.T, p *Problem, o Options) *Plan {
	t.Helper()
	plan, err := Solve(context.Background(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(p, plan); err != nil {
		t.Fatal(err)
	}
	return plan
}

// notBelow wants that no bound of a problem lies above a value, and that its plan does
// not either if nothing is left open.
func notBelow(t *testing.T, what string, value float64, best *Plan) {
	t.Helper()
	c := &best.Certificate
	if value < c.Bound && !closeTo(value, c.Bound) {
		t.Errorf("%s: value %v, which %+v excludes", what, value, *c)
	}
	if c.Gap == 0 && value < best.Value && !closeTo(value, best.Value) {
		t.Errorf("%s: value %v, the best is %v: %+v", what, value, best.Value, *c)
	}
}

// sameValue wants that two problems are worth the same.
func sameValue(t *testing.T, what string, a, b *Plan) {
	t.Helper()
	notBelow(t, what, b.Value, a)
	notBelow(t, what+", the other way round", a.Value, b)
}

// clone is a problem whose models can be changed.
func clone(p *Problem) *Problem {
	q := *p
	q.Models = slices.Clone(p.Models)
	for i := range q.Models {
		q.Models[i].Before = slices.Clone(q.Models[i].Before)
	}
	return &q
}

// pinned is a problem with more pins: no plan of it is not one of the problem.
func pinned(rng *rand.Rand, p *Problem) *Problem {
	q := clone(p)
	n := len(q.Models)
	for range 1 + rng.IntN(3) {
		if m := &q.Models[rng.IntN(n)]; m.Group == "" {
			m.Group = []string{"red", "blue", "white"}[rng.IntN(3)]
		}
	}
	for range 1 + rng.IntN(3) {
		if a, b := rng.IntN(n), rng.IntN(n); a < b && !q.Models[a].Compiled && !q.Models[b].Compiled {
			q.Models[a].Before = append(q.Models[a].Before, b)
		}
	}
	return q
}

// Adding pins never improves a plan.
func TestPinsNeverImprove(t *testing.T) {
	lawful(t, 400, func(t *testing.T, rng *rand.Rand, p *Problem) {
		best := solution(t, p, Options{})
		q := pinned(rng, p)
		notBelow(t, "with pins", solution(t, q, Options{}).Value, best)
		notBelow(t, "with pins, by local search", solution(t, q, Options{MaxExact: 1}).Value, best)
	})
}

// A plan with which everything is pinned to a plan's groups and orders is that plan.
func TestPinnedToItsOwnAnswer(t *testing.T) {
	lawful(t, 400, func(t *testing.T, _ *rand.Rand, p *Problem) {
		for _, o := range []Options{{}, {MaxExact: 1}} {
			plan := solution(t, p, o)
			again := solution(t, pinnedTo(p, plan.Groups(), true, true), o)
			if !closeTo(again.Value, plan.Value) {
				t.Errorf("%+v: value %v, pinned to it %v", o, plan.Value, again.Value)
			}
			if o.MaxExact == 0 && again.Certificate.Status != Optimal {
				t.Errorf("there is one plan only: %+v", again.Certificate)
			}
			if diff := cmp.Diff(membersOf(p, plan), membersOf(p, again)); diff != "" {
				t.Errorf("%+v: another plan: %s", o, diff)
			}
		}
	})
}

// pinnedTo pins groups, or the order in each, or both.
func pinnedTo(p *Problem, groups [][]int, labels, orders bool) *Problem {
	q := clone(p)
	for i, g := range groups {
		for at, m := range g {
			if q.Models[m].Compiled {
				break // its label and its result are those of the compile
			}
			if labels {
				q.Models[m].Group = fmt.Sprintf("pin%d", i)
			}
			if orders && at > 0 {
				q.Models[g[at-1]].Before = append(q.Models[g[at-1]].Before, m)
			}
		}
	}
	return q
}

// membersOf are the groups of a plan by the names of their models.
func membersOf(p *Problem, plan *Plan) []string {
	var list []string
	for _, g := range plan.Groups() {
		var names []string
		for _, m := range g {
			names = append(names, p.Models[m].Name)
		}
		list = append(list, strings.Join(names, " "))
	}
	slices.Sort(list)
	return list
}

// permuted lists the models of a problem in another order.
func permuted(p *Problem, perm []int) *Problem {
	q := *p
	q.Models, q.Known = nil, nil
	to := make([]int, len(perm)) // old index -> new
	for i, at := range perm {
		to[at] = i
	}
	moved := func(list []int) []int {
		var out []int
		for _, m := range list {
			out = append(out, to[m])
		}
		return out
	}
	for _, at := range perm {
		m := p.Models[at]
		m.Before = moved(m.Before)
		q.Models = append(q.Models, m)
	}
	for _, k := range p.Known {
		k.Models = moved(k.Models)
		q.Known = append(q.Known, k)
	}
	if p.Process != nil {
		q.Process = listed{p.Process, perm}
	}
	return &q
}

// listed is a process whose models are numbered otherwise.
type listed struct {
	process cost.Process
	old     []int
}

func (l listed) Miss(m int, foreign cost.Set) float64 {
	var set cost.Set
	for i, at := range l.old {
		if foreign.Has(i) {
			set = set.With(at)
		}
	}
	return l.process.Miss(l.old[m], set)
}

// Listing the models in another order changes nothing but the listing, and
// the plan only where the given order is better than all that the search came to.
func TestListingChangesNothing(t *testing.T) {
	lawful(t, 300, func(t *testing.T, rng *rand.Rand, p *Problem) {
		q := permuted(p, rng.Perm(len(p.Models)))
		for _, o := range []Options{{}, {MaxExact: 1}} {
			a, b := solution(t, p, o), solution(t, q, o)
			if a.Certificate.Gap > 0 && (a.Value == baseline(a, AsGiven) || b.Value == baseline(b, AsGiven)) {
				continue
			}
			if diff := cmp.Diff(membersOf(p, a), membersOf(q, b)); diff != "" {
				t.Errorf("%+v: %s", o, diff)
			}
			if a.Value != b.Value || a.Certificate.Bound != b.Certificate.Bound || a.Certificate.Nodes != b.Certificate.Nodes {
				t.Errorf("%+v: %v (%+v) became %v (%+v)", o, a.Value, a.Certificate, b.Value, b.Certificate)
			}
		}
	})
}

// Other names change no value: only the choice between equals, and how soon it is found.
func TestNamesChangeNoValue(t *testing.T) {
	lawful(t, 300, func(t *testing.T, rng *rand.Rand, p *Problem) {
		q := clone(p)
		for i, name := range rng.Perm(len(p.Models)) {
			q.Models[i].Name = fmt.Sprintf("other%d", name)
		}
		sameValue(t, "renamed", solution(t, p, Options{}), solution(t, q, Options{}))
	})
}

// Only shares count: rates that are all larger or smaller give the same value.
func TestScaledRatesChangeNoValue(t *testing.T) {
	lawful(t, 300, func(t *testing.T, rng *rand.Rand, p *Problem) {
		q := clone(p)
		factor := math.Pow(10, 12*rng.Float64()-6)
		for i := range q.Models {
			q.Models[i].Share *= factor
		}
		normalize(q)
		sameValue(t, "scaled", solution(t, p, Options{}), solution(t, q, Options{}))
	})
}

// A faster link never makes a plan slower: neither the best one nor the one
// that was the best before.
func TestFasterLinksNeverHurt(t *testing.T) {
	lawful(t, 400, func(t *testing.T, rng *rand.Rand, p *Problem) {
		q := clone(p)
		for i := range q.Models {
			if rng.IntN(3) > 0 {
				q.Models[i].Call.BytesPerMS *= 1 + 9*rng.Float64()
			}
		}
		slow, fast := solution(t, p, Options{}), solution(t, q, Options{})
		notBelow(t, "before", slow.Value, fast)
		same, err := Evaluate(q, slow.Groups())
		if err != nil {
			t.Fatal(err)
		}
		if same.Value > slow.Value && !closeTo(same.Value, slow.Value) {
			t.Errorf("the plan of value %v takes %v over faster links", slow.Value, same.Value)
		}
	})
}

// The bound of either search is below the best plan, and the best plan is not
// above the one of local search.
func TestBoundExactHeuristic(t *testing.T) {
	lawful(t, 600, func(t *testing.T, _ *rand.Rand, p *Problem) {
		exact, local := solution(t, p, Options{}), solution(t, p, Options{MaxExact: 1})
		notBelow(t, "local search", local.Value, exact)
		if b := local.Certificate.Bound; b > exact.Value && !closeTo(b, exact.Value) {
			t.Errorf("the bound of local search is %v, there is a plan of %v", b, exact.Value)
		}
		if c := local.Certificate; c.Status == Feasible && c.Limit == "" {
			t.Errorf("no limit says why it is feasible only: %+v", c)
		}
	})
}

// Neither the number of workers nor that of processors changes anything, nodes included.
func TestWorkersChangeNothing(t *testing.T) {
	processors := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(processors)
	same := func(t *testing.T, p *Problem, o Options) {
		t.Helper()
		var first *Plan
		for _, with := range []struct{ workers, processors int }{{1, 1}, {1, 4}, {2, 4}, {8, 4}, {8, 1}, {0, 4}} {
			runtime.GOMAXPROCS(with.processors)
			o.Workers = with.workers
			plan := solution(t, p, o)
			if first == nil {
				first = plan
			} else if diff := cmp.Diff(first, plan); diff != "" {
				t.Errorf("%d workers on %d processors: %s", with.workers, with.processors, diff)
			}
		}
	}
	lawful(t, 150, func(t *testing.T, _ *rand.Rand, p *Problem) {
		for _, o := range []Options{{}, {MaxExact: 1}, {NodeBudget: 200}} {
			same(t, p, o)
		}
	})
	rng := rand.New(rand.NewPCG(43, 44))
	for i := range fewer(6) {
		t.Run(fmt.Sprintf("many_%d", i), func(t *testing.T) {
			same(t, ofNets(t, rng, nets.Built(), 13+i%3, []compile.Version{compile.V15_0, compile.V16_0}[i%2]), Options{MaxExact: 1, NodeBudget: 10_000})
		})
	}
}

// What a search begins with never changes the value of a plan that it proves,
// and one that violates a pin changes nothing.
func TestIncumbentChangesNoValue(t *testing.T) {
	lawful(t, 300, func(t *testing.T, rng *rand.Rand, p *Problem) {
		plain := solution(t, p, Options{})
		for _, incumbent := range [][][]int{plain.Groups(), someGroups(rng, p), separately(p), {{0}}, {{0, 0}}, {{len(p.Models)}}, {nil}} {
			plan := solution(t, p, Options{Incumbent: incumbent})
			sameValue(t, fmt.Sprintf("beginning with %v", incumbent), plain, plan)
			own, err := Evaluate(p, incumbent)
			if err != nil {
				continue // it is not a plan
			}
			for _, o := range []Options{{MaxExact: 1}, {NodeBudget: 1}} {
				o.Incumbent = incumbent
				if local := solution(t, p, o); local.Value > own.Value && !closeTo(local.Value, own.Value) {
					t.Errorf("%+v: began with %v and ended with %v", o, own.Value, local.Value)
				}
			}
		}
	})
}

// someGroups is a partition at random, which may violate pins.
func someGroups(rng *rand.Rand, p *Problem) [][]int {
	groups := make([][]int, 1+rng.IntN(len(p.Models)))
	for _, m := range rng.Perm(len(p.Models)) {
		at := rng.IntN(len(groups))
		groups[at] = append(groups[at], m)
	}
	return slices.DeleteFunc(groups, func(g []int) bool { return len(g) == 0 })
}

// With too many models to be sure the plan is still no worse than any baseline that
// the pins allow (Verify looks), and pins that its own answer satisfies
// give none that is better.
func TestManyModelsKeepTheLaws(t *testing.T) {
	rng := rand.New(rand.NewPCG(45, 46))
	for i := range fewer(8) {
		p := ofNets(t, rng, nets.Built(), 18+rng.IntN(7), []compile.Version{compile.V15_0, compile.V16_0}[i%2])
		if i >= 4 {
			season(rng, p)
		}
		t.Run(fmt.Sprintf("%d_%s_%d_models", i, p.Version, len(p.Models)), func(t *testing.T) {
			plan := solution(t, p, Options{})
			groups := plan.Groups()
			largest := slices.MaxFunc(groups, func(a, b []int) int { return len(a) - len(b) })
			for what, q := range map[string]*Problem{
				"all groups":        pinnedTo(p, groups, true, false),
				"the largest group": pinnedTo(p, [][]int{largest}, true, false),
				"its order":         pinnedTo(p, [][]int{largest}, false, true),
				"everything":        pinnedTo(p, groups, true, true),
			} {
				if q.PinCycle() != nil {
					continue // an order pin of p that no group of this plan sees
				}
				again := solution(t, q, Options{})
				if again.Value < plan.Value && !closeTo(again.Value, plan.Value) {
					t.Errorf("%s pinned: value %v, without %v (%+v)", what, again.Value, plan.Value, plan.Certificate)
				}
				if what == "everything" && !closeTo(again.Value, plan.Value) {
					t.Errorf("everything pinned: value %v, without %v", again.Value, plan.Value)
				}
			}
		})
	}
}

// Eight public nets in three groups: a search that ended when the groups of the best
// partition under the bounds were done made one group of them, three times as dear. Only bytes count here.
func TestEightPublicNets(t *testing.T) {
	p := eightPublicNets(t)
	for m := range p.Models {
		p.Models[m].Call.FixedMS, p.Models[m].StreamMS = 0, nil
	}
	name := func(groups ...[]string) (list [][]int) {
		for _, g := range groups {
			var group []int
			for _, n := range g {
				group = append(group, slices.IndexFunc(p.Models, func(m Model) bool { return m.Name == n }))
			}
			list = append(list, group)
		}
		return list
	}
	want, err := Evaluate(p, name([]string{"bird", "lstm", "v075", "v025"}, []string{"v05", "v2", "deeplab"}, []string{"move"}))
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%.2f", want.Value); text != "0.24" {
		t.Errorf("the plan that is known takes %s ms, it is 0.24", text)
	}
	plan := solution(t, p, Options{})
	if text := fmt.Sprintf("%.2f", plan.Value); text != "0.24" || plan.Value > want.Value && !closeTo(plan.Value, want.Value) {
		t.Errorf("planned %s ms, want 0.24 (%v, known %v)", text, plan.Value, want.Value)
	}
	if plan.Certificate.Status != Optimal {
		t.Errorf("it is optimal: %+v", plan.Certificate)
	}
	if sets := bruteSets(p); plan.Value*(1-plan.Certificate.TiesAtMost) > sets && !closeTo(plan.Value, sets) {
		t.Errorf("planned %v, ties leave %.2g open, a partition takes %v", plan.Value, plan.Certificate.TiesAtMost, sets)
	}
}

func eightPublicNets(t testing.TB) *Problem {
	t.Helper()
	link, err := cost.BuiltinLink("pcie")
	if err != nil {
		t.Fatal(err)
	}
	files := nets.Files(testdata.Dir(t))
	p := &Problem{Version: compile.V16_0, Devices: []Device{{"tpu0"}}}
	for _, m := range []struct {
		name, file string
		weight     float64
	}{
		{"v05", "mobilenet_v1_0.5_160_quant", 2.17},
		{"bird", "mobilenet_v2_1.0_224_inat_bird_quant", 446.6},
		{"lstm", "keras_lstm_mnist_ptq", 8.758},
		{"v075", "mobilenet_v1_0.75_192_quant", 376.6},
		{"v2", "mobilenet_v2_1.0_224_quant", 5.832},
		{"move", "movenet_single_pose_lightning_ptq", 1.611},
		{"deeplab", "deeplabv3_mnv2_dm05_pascal_quant", 1.01},
		{"v025", "mobilenet_v1_0.25_128_quant", 428},
	} {
		at := slices.IndexFunc(files, func(n *nets.Net) bool { return n.Name == m.file })
		x := netModel(t, files[at], link, p.Version, m.weight)
		x.Name = m.name
		p.Models = append(p.Models, x)
	}
	normalize(p)
	return p
}
