package planner

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
)

var detectingRaces bool

// allRules are all combinations of pruning rules.
func allRules() []Rules {
	var list []Rules
	for bits := range 64 {
		on := func(b int) bool { return bits>>b&1 == 1 }
		list = append(list, Rules{Lazy: on(0), Bound: on(1), FullPool: on(2), EqualPool: on(3), Ties: on(4), Blind: on(5)})
	}
	return list
}

// The search, under every combination of its pruning rules, agrees with brute
// force on a thousand random instances, and Verify accepts every plan.
func TestSearchAgainstBruteForce(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	versions := []compile.Version{compile.V1_0, compile.V2_1, compile.V15_0, compile.V16_0}
	instances, infeasible, tied := 0, 0, 0
	all := 1000
	if detectingRaces { // nothing here runs side by side: a sample will do
		all = 200
	}
	for i := range all {
		n := 1 + rng.IntN(4)
		switch {
		case i%100 == 99:
			n = 7
		case i%10 == 9:
			n = 5 + rng.IntN(2)
		}
		if testing.Short() && n > 5 {
			continue
		}
		p := randomProblem(rng, n, versions[i%len(versions)])
		instances++
		want := bruteForce(p)
		rules := allRules()
		if n > 4 && detectingRaces { // a few of them, each rule off and on
			rules = []Rules{{}, rules[1+rng.IntN(63)], rules[63]}
		}
		for _, off := range rules {
			plan := solveLike(t, fmt.Sprintf("instance %d", i), p, off, want)
			if plan == nil {
				infeasible++
				continue
			}
			for _, g := range plan.Devices[0].Groups {
				if g.OrderTies {
					tied++
				}
			}
		}
	}
	t.Logf("%d instances, %d infeasible runs, %d groups whose order decided a tie", instances, infeasible, tied)
	if tied == 0 {
		t.Error("no order decided a tie in 16.0: the instances are too easy")
	}
}

// solveLike solves a problem with some rules off and wants what brute force
// found, proven optimal and accepted by Verify; nil means that both found nothing.
func solveLike(t *testing.T, name string, p *Problem, off Rules, want float64) *Plan {
	t.Helper()
	plan, err := Solve(context.Background(), p, Options{Off: off})
	if err != nil {
		t.Fatal(err)
	}
	if plan.Certificate.Status == Infeasible {
		if !math.IsInf(want, 1) {
			t.Fatalf("%s, rules off %+v: infeasible, brute force finds %v", name, off, want)
		}
		return nil
	}
	if !closeTo(plan.Value, want) {
		t.Fatalf("%s (%s, %d models), rules off %+v: %v, brute force finds %v", name, p.Version, len(p.Models), off, plan.Value, want)
	}
	if plan.Certificate.Status != Optimal {
		t.Fatalf("%s: status %+v", name, plan.Certificate)
	}
	if err := Verify(p, plan); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return plan
}

// The draws hold the trap that no pruning rule may fall into: a model that
// caches less when more rows are free.
func TestInstancesHoldGreedyAnomalies(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	found := 0
	for range 300 {
		p := randomProblem(rng, 1, compile.V15_0)
		l := p.Models[0].Load.Sorted()
		for reserved := 2040; reserved > 1900; reserved-- {
			less, more := compile.NewPool(reserved), compile.NewPool(reserved-1)
			if more.Place(p.Version, l).Cached < less.Place(p.Version, l).Cached {
				found++
				break
			}
		}
	}
	if found == 0 {
		t.Error("no instance caches less with more room")
	}
}

// Listing the models in another order changes the as-given baseline and the listing alone.
func TestPermutationInvariance(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for i := range 60 {
		v := []compile.Version{compile.V15_0, compile.V16_0}[i%2]
		p := randomProblem(rng, 2+rng.IntN(4), v)
		perm := rng.Perm(len(p.Models))
		q := *p
		q.Models = nil
		for _, at := range perm {
			m := p.Models[at]
			m.Before = nil
			for _, b := range p.Models[at].Before {
				m.Before = append(m.Before, slices.Index(perm, b))
			}
			q.Models = append(q.Models, m)
		}
		a, _ := Solve(context.Background(), p, Options{})
		b, _ := Solve(context.Background(), &q, Options{})
		if diff := cmp.Diff(decision(p, a), decision(&q, b)); diff != "" {
			t.Errorf("instance %d: %s", i, diff)
		}
		if a.Value != b.Value || a.Certificate.Bound != b.Certificate.Bound || a.Certificate.Nodes != b.Certificate.Nodes {
			t.Errorf("instance %d: %v (%+v) became %v (%+v)", i, a.Value, a.Certificate, b.Value, b.Certificate)
		}
	}
}

// decision is a plan by names.
func decision(p *Problem, plan *Plan) []string {
	var out []string
	for _, d := range plan.Devices {
		for _, g := range d.Groups {
			words := []string{g.Name}
			for _, m := range g.Models {
				words = append(words, p.Models[m].Name)
			}
			out = append(out, strings.Join(words, " "))
		}
	}
	return out
}

// MobileNet v1 (4.21 MiB) and v2 (3.75 MiB) on USB 3 in a compiler that
// respects order, with a pool 1.25 MiB too small for both, called in 90 and 10
// of 100 cases: 3.82 ms per call apart, 2.47 with v1 first, 4.77 with v2 first.
func TestPublishedIllustration(t *testing.T) {
	const rows, mib = 64, 1 << 20
	net := func(name string, share float64, size float64) Model {
		m := Model{Name: name, Share: share, Reserved: compile.TileRows - 1716}
		for range int(size * mib / (rows * compile.RowBytes)) {
			m.Load.Parts = append(m.Load.Parts, compile.Part{Rows: rows, Bytes: rows * compile.RowBytes, Class: 1})
		}
		m.Call = cost.Call{FixedMS: 2.2, BytesPerMS: mib / 2.3}
		return m
	}
	p := &Problem{Version: compile.V15_0, Devices: []Device{{"tpu0"}}, Models: []Model{net("v1", 0.9, 4.21), net("v2", 0.1, 3.75)}}
	for _, test := range []struct {
		groups [][]int
		want   float64
	}{
		{[][]int{{0}, {1}}, 3.82},
		{[][]int{{0, 1}}, 2.47},
		{[][]int{{1, 0}}, 4.77},
	} {
		plan, err := Evaluate(p, test.groups)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(plan.Value-test.want) > 0.04 {
			t.Errorf("%v: %.3f ms, published %.2f", test.groups, plan.Value, test.want)
		}
	}
	plan, err := Solve(context.Background(), p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := decision(p, plan); !slices.Equal(got, []string{"tpu0-1 v1 v2"}) {
		t.Errorf("planned %q, want the frequent model first", got)
	}
	// Called the other way round, the other one is frequent.
	p.Models[0].Share, p.Models[1].Share = 0.1, 0.9
	if plan, err = Solve(context.Background(), p, Options{}); err != nil {
		t.Fatal(err)
	}
	if got := decision(p, plan); !slices.Equal(got, []string{"tpu0-1 v2 v1"}) {
		t.Errorf("planned %q, want the frequent model first", got)
	}
}

// Verify names the rule that a changed plan breaks.
func TestVerifyNamesWhatIsBroken(t *testing.T) {
	base := func() (*Problem, *Plan) {
		p := randomProblem(rand.New(rand.NewPCG(1, 1)), 4, compile.V15_0)
		for i := range p.Models {
			p.Models[i].Group, p.Models[i].Before = "", nil
		}
		p.Objective = Time
		plan, err := Solve(context.Background(), p, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(p, plan); err != nil {
			t.Fatal(err)
		}
		return p, plan
	}
	for _, test := range []struct {
		want string
		do   func(*Problem, *Plan)
	}{
		{"in no group", func(_ *Problem, x *Plan) {
			g := &x.Devices[0].Groups[0]
			g.Models = g.Models[:len(g.Models)-1]
			if len(g.Models) == 0 {
				x.Devices[0].Groups = x.Devices[0].Groups[1:]
			}
		}},
		{"in two places", func(_ *Problem, x *Plan) {
			g := &x.Devices[0].Groups[0]
			g.Models = append(g.Models, g.Models[0])
		}},
		{"is empty", func(_ *Problem, x *Plan) {
			x.Devices[0].Groups = append(x.Devices[0].Groups, Group{Name: "none"})
		}},
		{"is empty or used twice", func(_ *Problem, x *Plan) { x.Devices[0].Groups[0].Name = "" }},
		{"reserves", func(_ *Problem, x *Plan) { x.Devices[0].Groups[0].Reserved++ }},
		{"split", func(_ *Problem, x *Plan) { x.Models[1].Split.Cached += 64 }},
		{"miss", func(_ *Problem, x *Plan) { x.Models[1].Miss += 0.1 }},
		{"steady", func(_ *Problem, x *Plan) { x.Models[1].SteadyMS *= 1.1 }},
		{"cold", func(_ *Problem, x *Plan) { x.Models[1].ColdMS *= 1.1 }},
		{"expected", func(_ *Problem, x *Plan) { x.Models[1].ExpectedMS *= 1.1 }},
		{"value", func(_ *Problem, x *Plan) { x.Value *= 0.9 }},
		{"baseline separate", func(_ *Problem, x *Plan) { x.Baselines[0].Value *= 2 }},
		{"baselines", func(_ *Problem, x *Plan) { x.Baselines = nil }},
		{"feasible is", func(_ *Problem, x *Plan) { x.Baselines[1].Feasible = false }},
		{"value", func(_ *Problem, x *Plan) { x.Value = math.NaN() }},
		{"expected", func(_ *Problem, x *Plan) { x.Models[0].ExpectedMS = math.NaN() }},
		{"split", func(_ *Problem, x *Plan) { c := x.Models[0].Split.InCache; c[0] = !c[0] }},
		{"occupies", func(_ *Problem, x *Plan) { x.Devices[0].Groups[0].Rows += 5 }},
		{"infeasible", func(_ *Problem, x *Plan) { *x = Plan{Certificate: Certificate{Status: Infeasible}} }},
		{"bound", func(_ *Problem, x *Plan) { x.Certificate.Bound = 2 * x.Value }},
		{"gap", func(_ *Problem, x *Plan) { x.Certificate.Gap = 0.5 }},
		{"optimal with", func(_ *Problem, x *Plan) { x.Certificate.Limit = LimitNodes }},
		{"pin group", func(p *Problem, x *Plan) {
			for i := range p.Models {
				p.Models[i].Group = fmt.Sprint(len(x.Devices[0].Groups[0].Models) * (i % 2))
			}
			p.Models[0].Group, p.Models[1].Group = "together", "together"
			for _, g := range x.Devices[0].Groups {
				if slices.Contains(g.Models, 0) && slices.Contains(g.Models, 1) {
					p.Models[1].Group = "apart"
				}
			}
		}},
	} {
		p, plan := base()
		test.do(p, plan)
		if err := Verify(p, plan); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("want an error with %q, got %v", test.want, err)
		}
	}
}

// The bound never exceeds the best value, for many models either, and a
// search that ends early says so.
func TestManyModels(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for i := range 12 {
		v := []compile.Version{compile.V15_0, compile.V16_0, compile.V1_0}[i%3]
		p := randomProblem(rng, 5, v)
		exact, err := Solve(context.Background(), p, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if exact.Certificate.Status == Infeasible {
			continue
		}
		local, err := Solve(context.Background(), p, Options{MaxExact: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(p, local); err != nil {
			t.Error(err)
		}
		if local.Value < exact.Value*(1-1e-12) || local.Certificate.Bound > exact.Value*(1+1e-12) {
			t.Errorf("local %v, exact %v, bound %v", local.Value, exact.Value, local.Certificate.Bound)
		}
		if local.Certificate.Status == Feasible && local.Certificate.Limit != LimitModels {
			t.Errorf("limit %q", local.Certificate.Limit)
		}
	}
	p := randomProblem(rng, 14, compile.V15_0)
	plan, err := Solve(context.Background(), p, Options{NodeBudget: 3000})
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(p, plan); err != nil {
		t.Error(err)
	}
}

// An interrupted search and one out of nodes still give a plan that is no worse than a baseline.
func TestEarlyEnd(t *testing.T) {
	p := randomProblem(rand.New(rand.NewPCG(13, 14)), 7, compile.V15_0)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for limit, solve := range map[string]func() (*Plan, error){
		LimitInterrupted: func() (*Plan, error) { return Solve(gone, p, Options{}) },
		LimitNodes:       func() (*Plan, error) { return Solve(context.Background(), p, Options{NodeBudget: 1}) },
	} {
		plan, err := solve()
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(p, plan); err != nil {
			t.Errorf("%s: %v", limit, err)
		}
		if c := plan.Certificate; c.Status == Feasible && c.Limit != limit {
			t.Errorf("%s: certificate %+v", limit, c)
		}
	}
}

// Order pins that go round in a circle leave no order: the error names them.
func TestPinCycle(t *testing.T) {
	p := randomProblem(rand.New(rand.NewPCG(15, 16)), 3, compile.V15_0)
	for i := range p.Models {
		p.Models[i].Group, p.Models[i].Before = "one", []int{(i + 1) % 3}
	}
	if _, err := Solve(context.Background(), p, Options{}); err == nil || !strings.Contains(err.Error(), "circle") {
		t.Errorf("a circle of order pins: %v", err)
	}
	// different labels keep the models out of one group: no contradiction
	for i := range p.Models {
		p.Models[i].Group = fmt.Sprint(i)
	}
	plan, err := Solve(context.Background(), p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(p, plan); err != nil {
		t.Error(err)
	}
}

// Doubling all rates keeps the plan: only shares count.
func TestValidateWantsShares(t *testing.T) {
	p := randomProblem(rand.New(rand.NewPCG(17, 18)), 3, compile.V15_0)
	for i := range p.Models {
		p.Models[i].Share *= 2
	}
	if _, err := Solve(context.Background(), p, Options{}); err == nil || !strings.Contains(err.Error(), "sum to 2") {
		t.Errorf("shares that sum to 2: %v", err)
	}
}

// Evaluate gives a found decision the value that the search found.
func TestEvaluateAgreesWithSolve(t *testing.T) {
	p := randomProblem(rand.New(rand.NewPCG(19, 20)), 5, compile.V15_0)
	plan, err := Solve(context.Background(), p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var groups [][]int
	for _, g := range plan.Devices[0].Groups {
		groups = append(groups, g.Models)
	}
	again, err := Evaluate(p, groups)
	if err != nil {
		t.Fatal(err)
	}
	if again.Value != plan.Value {
		t.Errorf("%v, want %v", again.Value, plan.Value)
	}
	if _, err := Evaluate(p, groups[:len(groups)-1]); err == nil && len(groups) > 0 {
		t.Error("a missing group was accepted")
	}
}

// plain leaves a random model nothing but its name and its link.
func (m *Model) plain(reserved int) {
	m.Group, m.Before, m.Reserved = "", nil, reserved
	m.Call.OverlapMS, m.StreamMS = 0, nil
	m.Load = compile.Load{Streamed: m.Load.Streamed, Content: m.Name}
}

func BenchmarkExactTen(b *testing.B) {
	for _, v := range []compile.Version{compile.V15_0, compile.V16_0} {
		for _, kind := range []string{"mixed", "alike"} {
			b.Run(v.String()+"/"+kind, func(b *testing.B) {
				rng := rand.New(rand.NewPCG(21, 22))
				p := randomProblem(rng, 10, v)
				p.Objective = Time
				for i := range p.Models {
					m := &p.Models[i]
					m.plain(70 + i)
					if kind == "alike" {
						m.Share = 0.1
					}
					// thirty parts, each net with sizes of its own so that nothing ties
					for k := range 30 {
						part := conv(64+64*(k%16), 8+7*k+i)
						if kind == "mixed" {
							part = conv(64*(1+rng.IntN(8)), 10+11*(k%13)+i)
						}
						m.Load.Parts = append(m.Load.Parts, part)
					}
				}
				var plan *Plan
				for b.Loop() {
					var err error
					if plan, err = Solve(context.Background(), p, Options{}); err != nil {
						b.Fatal(err)
					}
				}
				if err := Verify(p, plan); err != nil || plan.Certificate.Status != Optimal {
					b.Fatalf("%v %+v", err, plan.Certificate)
				}
				b.ReportMetric(float64(plan.Certificate.Nodes), "nodes")
			})
		}
	}
}

// Where nothing but names tells orders apart, names decide, whatever the rates are.
func TestOrderWithoutEffect(t *testing.T) {
	for _, v := range []compile.Version{compile.V15_0, compile.V16_0} {
		p := &Problem{Version: v, Devices: []Device{{"tpu0"}}}
		for i, parts := range [][]compile.Part{{conv(512, 64), fullyConnected(91, 128)}, {conv(256, 64), depthwise(512)}, {conv(1024, 128)}} {
			m := Model{Name: string(rune('a' + i)), Reserved: 67, Call: cost.Modelled(cost.Links()[4], cost.Traffic{Instructions: 60_000, Input: 150_000, Output: 1000})}
			m.Load.Parts, m.Load.Content = parts, m.Name
			p.Models = append(p.Models, m)
		}
		for _, shares := range [][]float64{{.5, .3, .2}, {.2, .3, .5}, {.3, .2, .5}} {
			for i := range p.Models {
				p.Models[i].Share = shares[i]
			}
			plan, err := Solve(context.Background(), p, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := decision(p, plan); !slices.Equal(got, []string{"tpu0-1 a b c"}) || plan.Devices[0].Groups[0].OrderTies {
				t.Errorf("%s, shares %v: %q, ties %v", v, shares, got, plan.Devices[0].Groups[0].OrderTies)
			}
		}
		// Everything fits: no byte is sent but once, which the search knows is best.
		p.Objective = ByteHits
		for _, exact := range []int{0, 1} {
			plan, err := Solve(context.Background(), p, Options{MaxExact: exact})
			if err != nil {
				t.Fatal(err)
			}
			if plan.Value != 0 || plan.Certificate.Status != Optimal || plan.Certificate.Bound != 0 {
				t.Errorf("%s: value %v, %+v", v, plan.Value, plan.Certificate)
			}
		}
	}
}

// A 16.0 group of more tied models than orders can be tried: the plan is no
// worse than any baseline, and says how much the ties may change.
func TestManyTies(t *testing.T) {
	open := 0
	for seed := range 40 {
		rng := rand.New(rand.NewPCG(uint64(seed), 77))
		n := 8 + rng.IntN(2)
		p := &Problem{Version: compile.V16_0, Devices: []Device{{"tpu0"}}}
		total := 0.0
		for i, name := range rng.Perm(n) {
			m := Model{Name: fmt.Sprintf("m%02d", name), Share: math.Pow(4, float64(rng.IntN(5))), Reserved: 67, Group: "one"}
			for k := range 10 {
				m.Load.Parts = append(m.Load.Parts, conv(64+64*k, 100+5*k))
			}
			m.Load.Content = fmt.Sprint(i)
			m.Call = cost.Modelled(cost.Links()[4], cost.Traffic{Instructions: 1, Input: 1, Output: 1})
			total += m.Share
			p.Models = append(p.Models, m)
		}
		for i := range p.Models {
			p.Models[i].Share /= total
		}
		plan, err := Solve(context.Background(), p, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(p, plan); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if c := plan.Certificate; c.Gap > 0 {
			open++
			if c.Status != Optimal || c.TiesAtMost != c.Gap || c.Bound >= plan.Value {
				t.Errorf("seed %d: %+v", seed, c)
			}
		}
	}
	if open == 0 {
		t.Error("no ties were left open")
	}
}
