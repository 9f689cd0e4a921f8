package planner

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
)

// twoNets compete for a pool of 16 rows, one on each tile: each is one
// convolution of ten rows, whose 2560 bytes cross the link in 1 ms, and they are
// called equally often. Together, the first is cached and the second streamed with every
// call: 0.5 x 1 ms. Apart, every second call loads, which has 0.2 ms of overhead: 0.5 x 1.2 ms.
func twoNets() *Problem {
	p := &Problem{Version: compile.V15_0, Devices: []Device{{"tpu0"}}}
	for _, name := range []string{"a", "b"} {
		m := Model{Name: name, Share: 0.5, Reserved: 2047, Call: cost.Call{BytesPerMS: 2560, OverheadMS: 0.2}}
		m.Load = compile.Load{Parts: []compile.Part{{Rows: 10, Bytes: 2560, Class: 1}}, Content: name}
		p.Models = append(p.Models, m)
	}
	return p
}

// says is a sentence about an amount.
func says(sentence string) func(string) string {
	return func(amount string) string { return strings.Replace(sentence, "%s", amount, 1) }
}

func slopeOf(models ...int) Assumption {
	return Assumption{
		Sentence: says("a streamed byte takes %s as long"), Unit: "times", Low: 1, High: 8, Assumed: 1, Step: 0.1, Linear: true,
		Change: func(p *Problem, x float64) {
			for _, m := range models {
				p.Models[m].stall(x - 1)
			}
		},
		SettledBy: "a profile",
	}
}

func rowsOf(m int, low, assumed, high int) Assumption {
	return Assumption{
		Sentence: says("it reserves %s"), Unit: "rows", Low: float64(low), High: float64(high), Assumed: float64(assumed), Step: 1,
		Change: func(p *Problem, x float64) { p.Models[m].Reserved = int(x) }, Models: []int{m},
	}
}

// overheadOf lets loads take between 0 and 1 ms more than they transfer.
func overheadOf(low, high, step float64) Assumption {
	return Assumption{
		Sentence: says("a load has %s of overhead"), Unit: "ms", Low: low, High: high, Assumed: 0.2, Step: step, Linear: true,
		Change: func(p *Problem, x float64) {
			for m := range p.Models {
				p.Models[m].Call.OverheadMS = x
			}
		},
	}
}

func mustSolve(t testing.TB, p *Problem) *Plan {
	t.Helper()
	plan, err := Solve(context.Background(), p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func mustStability(t testing.TB, p *Problem, plan *Plan, o Options, list ...Assumption) []Finding {
	t.Helper()
	findings, err := Stability(context.Background(), p, plan, o, list)
	if err != nil {
		t.Fatal(err)
	}
	if len(findings) != len(list) {
		t.Fatalf("%d findings for %d assumptions", len(findings), len(list))
	}
	return findings
}

// What is checked by hand. The plan for two nets keeps them together (0.5 ms
// against 0.6), until
//   - a streamed byte takes x times as long: 0.5 x > 0.6 x 1.02 from x = 1.3 on (1.224), at 8 by 4 - 0.6 ms;
//   - only of b, which comes second: 0.5 x > 0.5 x 1.02 from 1.1 on, then b comes first, at 8 by 4 - 0.5;
//   - only of a: it streams nothing;
//   - a load has less overhead: 0.5 > 0.5 (1 + c) 1.02 for no c > 0, and at c = 0 it is a draw;
//   - a reserves fewer rows: nothing is better than 0 streamed bytes, which is together too;
//   - a reserves all 2048: together nothing is cached, 1 ms; apart b still is, 0.5 + 0.5 x 0.5 x 1.2 = 0.8 ms;
//   - a rule is another one.
func TestStabilityByHand(t *testing.T) {
	p := twoNets()
	plan := mustSolve(t, p)
	if got := decision(p, plan); !slices.Equal(got, []string{"tpu0-1 a b"}) || math.Abs(plan.Value-0.5) > 1e-12 {
		t.Fatalf("planned %q for %v ms, want both together for 0.5", got, plan.Value)
	}
	rule := Assumption{Sentence: says("everything is twice as large"), Change: func(p *Problem, x float64) {
		if x != 1 {
			t.Errorf("a rule is changed with value %v", x)
		}
		for m := range p.Models { // 20 rows never fit: all is streamed, wherever it is
			p.Models[m].Load.Parts = []compile.Part{{Rows: 20, Bytes: 5120, Class: 1}}
		}
	}}
	apart := Assumption{Sentence: says("loads are free"), Change: func(p *Problem, _ float64) {
		for m := range p.Models {
			p.Models[m].Call.OverheadMS, p.Models[m].Call.OverlapMS = 0, 1
		}
	}}
	tests := []struct {
		name      string
		of        Assumption
		changes   bool
		regret    float64
		worst     float64
		condition string
		better    [][]int
	}{
		{"slope of both", slopeOf(0, 1), true, 3.4, 8, "a streamed byte takes at least 1.3 times as long", [][]int{{0}, {1}}},
		{"slope of b", slopeOf(1), true, 3.5, 8, "a streamed byte takes at least 1.1 times as long", [][]int{{1, 0}}},
		{"slope of a", slopeOf(0), false, 0, 1, "", nil},
		{"overhead", overheadOf(0, 1, 0.1), false, 0, 0.2, "", nil},
		{"fewer rows", rowsOf(0, 2044, 2047, 2047), false, 0, 2047, "", nil},
		{"more rows", rowsOf(0, 2044, 2047, 2048), true, 0.2, 2048, "it reserves at least 2048 rows", [][]int{{0}, {1}}},
		{"rule that changes no choice", rule, false, 0, 0, "", nil},
		{"rule that does", apart, true, 0.5, 1, "loads are free", [][]int{{0}, {1}}},
	}
	for _, test := range tests {
		f := mustStability(t, p, plan, Options{}, test.of)[0]
		if f.PlanChanges != test.changes || math.Abs(f.Regret-test.regret) > 1e-9 || math.Abs(f.Worst-test.worst) > 1e-9 || f.Condition() != test.condition || f.Checked != CheckedAll {
			t.Errorf("%s: %+v, %q\nwant %+v", test.name, f, f.Condition(), test)
		}
		if diff := cmp.Diff(test.better, f.Better); diff != "" {
			t.Errorf("%s: better are %s", test.name, diff)
		}
	}
	if f := mustStability(t, p, plan, Options{}, slopeOf(0, 1))[0]; f.Tried < 2 || f.Tried > 9 || f.SettledBy != "a profile" || f.Range() != "a streamed byte takes 1 to 8 times as long" {
		t.Errorf("%d values tried, settled by %q, range %q", f.Tried, f.SettledBy, f.Range())
	}
}

// Plans that differ by less than 2 % are a tie. Apart costs 0.5 (1 + c) ms,
// together 0.5: with both apart as the plan, together is better by c.
func TestStabilityTies(t *testing.T) {
	p := twoNets()
	apart, err := Evaluate(p, [][]int{{0}, {1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		overhead float64
		changes  bool
	}{{0.0199, false}, {0.0201, true}} {
		a := overheadOf(0, test.overhead, test.overhead)
		a.Assumed = 0
		f := mustStability(t, p, apart, Options{}, a)[0]
		if f.PlanChanges != test.changes || test.changes && math.Abs(f.Regret-test.overhead/2) > 1e-12 || f.Regret > 0.5*test.overhead+1e-12 {
			t.Errorf("%v ms more of 0.5: %+v", test.overhead/2, f)
		}
	}
	// Of bytes, 0 is better than anything: no share of it is a tie.
	q := twoNets()
	q.Objective = ByteHits
	for m := range q.Models {
		q.Models[m].Reserved = 2040
	}
	apart, err = Evaluate(q, [][]int{{0}, {1}})
	if err != nil {
		t.Fatal(err)
	}
	f := mustStability(t, q, apart, Options{}, rowsOf(0, 2040, 2041, 2041))[0]
	if !f.PlanChanges || math.Abs(f.Regret-2560*0.5) > 1e-9 || f.AtMost == nil || *f.AtMost != 2040 || f.AtLeast != nil {
		t.Errorf("nothing sent against 1280 bytes: %+v", f)
	}
}

// truth is a range worked out by brute force for every value.
type truth struct {
	changes []bool
	regret  []float64
	best    []float64
}

func bruteRange(t interface{ Fatal(...any) }, p *Problem, groups [][]int, a *Assumption) truth {
	var x truth
	for k := 0; k <= int(math.Round((a.High-a.Low)/a.Step)); k++ {
		q := *p
		q.Models = slices.Clone(p.Models)
		a.Change(&q, a.Low+float64(k)*a.Step)
		kept, err := Evaluate(&q, groups)
		if err != nil {
			t.Fatal(err)
		}
		best := bruteForce(&q)
		x.best = append(x.best, best)
		x.regret = append(x.regret, kept.Value-best)
		x.changes = append(x.changes, kept.Value > best*(1+Tie)*(1+1e-12))
	}
	return x
}

func groupsOf(plan *Plan) [][]int {
	var groups [][]int
	for _, g := range plan.Devices[0].Groups {
		groups = append(groups, g.Models)
	}
	return groups
}

// For random problems and ranges, what brute force says of every value holds:
// a change that is claimed is one, nothing nearer to the assumed value is known to
// change, the regret is that of the best plan, and where all values are decided none is missed.
func TestStabilityAgainstBruteForce(t *testing.T) {
	changed, patchy, some, both := 0, 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		v := rapid.SampledFrom([]compile.Version{compile.V1_0, compile.V15_0, compile.V16_0}).Draw(t, "version")
		p := randomProblem(rng, rapid.IntRange(2, 4).Draw(t, "models"), v)
		plan, err := Solve(context.Background(), p, Options{})
		if err != nil || plan.Certificate.Status != Optimal {
			t.Skip("no plan")
		}
		m := rng.IntN(len(p.Models))
		var a Assumption
		switch r := p.Models[m].Reserved; rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			a = rowsOf(m, r-3, r, r+2)
		case 1:
			spread := r / 3
			a = rowsOf(m, r-spread, r, min(r+spread, compile.TileRows))
		case 2:
			a = slopeOf(m)
			a.Assumed = 1
			p.Models[m].StreamMS = nil
			if plan, err = Solve(context.Background(), p, Options{}); err != nil {
				t.Fatal(err)
			}
		case 3:
			rate := p.Models[m].Call.BytesPerMS
			a = Assumption{
				Sentence: says("%s"), Unit: "of the rate", Low: 0.2, High: 5, Assumed: 1, Step: 0.1, Linear: true,
				Change: func(p *Problem, x float64) { p.Models[m].Call.BytesPerMS = rate * x },
			}
		}
		findings, err := Stability(context.Background(), p, plan, Options{}, []Assumption{a})
		if err != nil {
			t.Fatal(err)
		}
		f := findings[0]
		brute := bruteRange(t, p, groupsOf(plan), &a)
		at := func(x float64) int { return int(math.Round((x - a.Low) / a.Step)) }
		assumed := at(a.Assumed)
		worst := 0.0
		for k := range brute.regret {
			worst = max(worst, brute.regret[k])
		}
		if f.Regret < 0 || f.Regret > worst+1e-9*(1+worst) || f.Checked == CheckedEarly {
			t.Fatalf("regret %v, at most %v: %+v", f.Regret, worst, f)
		}
		if f.PlanChanges != (f.AtLeast != nil || f.AtMost != nil) || f.PlanChanges != (f.Condition() != "") {
			t.Fatalf("%+v, %q", f, f.Condition())
		}
		if !f.PlanChanges {
			if k := at(f.Worst); f.Regret > Tie*brute.best[k]+1e-9 {
				t.Fatalf("the plan stays with regret %v of %v", f.Regret, brute.best[k])
			}
			if f.Checked == CheckedAll && slices.Contains(brute.changes, true) {
				t.Fatalf("the plan changes at %v: %+v", a.Low+float64(slices.Index(brute.changes, true))*a.Step, f)
			}
			return
		}
		changed++
		if k := at(f.Worst); !closeTo(f.Regret, brute.regret[k]) {
			t.Fatalf("regret %v, brute force %v at %v", f.Regret, brute.regret[k], f.Worst)
		}
		q := *p
		q.Models = slices.Clone(p.Models)
		a.Change(&q, f.Worst)
		if better, err := Evaluate(&q, f.Better); err != nil || !closeTo(better.Value, brute.best[at(f.Worst)]) {
			t.Fatalf("the better groups %v: %v", f.Better, err)
		}
		for _, side := range []struct {
			found *float64
			step  int
		}{{f.AtLeast, 1}, {f.AtMost, -1}} {
			if side.found == nil {
				continue
			}
			k := at(*side.found)
			if !brute.changes[k] || (k-assumed)*side.step <= 0 {
				t.Fatalf("%v does not change the plan: %+v", *side.found, f)
			}
			if k-side.step != assumed && brute.changes[k-side.step] {
				t.Fatalf("before %v it changes too: %+v", *side.found, f)
			}
			if f.Checked != CheckedAll {
				continue
			}
			holes := false
			for k := assumed + side.step; k >= 0 && k < len(brute.changes); k += side.step {
				nearer := (at(*side.found)-k)*side.step > 0
				if nearer && brute.changes[k] {
					t.Fatalf("%v changes the plan already: %+v", a.Low+float64(k)*a.Step, f)
				}
				holes = holes || !nearer && !brute.changes[k]
			}
			if holes && !f.Patchy {
				t.Fatalf("not all values beyond change the plan: %+v", f)
			}
		}
		if f.Checked == CheckedAll && !closeTo(f.Regret, worst) {
			t.Fatalf("regret %v, brute force finds %v", f.Regret, worst)
		}
		if f.Patchy {
			patchy++
		}
		if f.Checked == CheckedSome {
			some++
		}
		if f.AtLeast != nil && f.AtMost != nil {
			both++
		}
	})
	t.Logf("%d change the plan, %d of them patchy, %d with untried values, %d on both sides", changed, patchy, some, both)
	if changed == 0 && !testing.Short() { // which draws a few only
		t.Error("no plan changes: the instances are too easy")
	}
}

// Where fewer rows than assumed may be reserved, more room may favour another
// plan: groups that do not change at the assumed value do at others.
func TestStabilityOfMoreRoom(t *testing.T) {
	found := 0
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 6))
		p := randomProblem(rng, 3, compile.Versions()[int(seed)%len(compile.Versions())])
		for m := range p.Models {
			p.Models[m].Group, p.Models[m].Before, p.Models[m].Reserved = "", nil, 900+100*rng.IntN(3)
		}
		p.Models[1].Reserved = 1900
		plan := mustSolve(t, p)
		a := rowsOf(1, 700, 1900, 1900)
		a.Step = 200 // few enough to try all
		f := mustStability(t, p, plan, Options{}, a)[0]
		brute := bruteRange(t, p, groupsOf(plan), &a)
		if f.Checked != CheckedAll || f.PlanChanges != slices.Contains(brute.changes, true) {
			t.Fatalf("seed %d: the plan changes: %v (%s), brute force says %v", seed, f.PlanChanges, f.Checked, brute.changes)
		}
		if f.PlanChanges {
			found++
		}
	}
	if found < 10 {
		t.Errorf("%d plans change: the instances are too easy", found)
	}
}

// Models that nothing tells apart are searched once: what is found out about a
// group holds for those that are alike, its cost without an order too.
func TestStabilityOfAlikeModels(t *testing.T) {
	found := 0
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 7))
		p := randomProblem(rng, 4, compile.V16_0)
		p.Objective = Time
		for m := range p.Models {
			x := &p.Models[m]
			x.Group, x.Before, x.Reserved = "", nil, 1000
			x.Call.OverlapMS, x.StreamMS = 0, nil
			if m%2 == 1 { // copies, or only as large
				y, name, content := p.Models[m-1], x.Name, x.Load.Content
				*x = y
				x.Name = name
				if rng.IntN(2) == 0 {
					x.Load.Content = content
				}
			}
		}
		normalize(p)
		plan := mustSolve(t, p)
		a := Assumption{
			Sentence: says("streaming takes %s as long"), Unit: "times", Low: 1, High: 8, Assumed: 1, Step: 0.5,
			Change: func(p *Problem, x float64) {
				for m := range p.Models {
					p.Models[m].stall(x - 1)
				}
			},
		}
		f := mustStability(t, p, plan, Options{}, a)[0]
		brute := bruteRange(t, p, groupsOf(plan), &a)
		if f.PlanChanges != slices.Contains(brute.changes, true) {
			t.Fatalf("seed %d: the plan changes: %v (%s), brute force says %v", seed, f.PlanChanges, f.Checked, brute.changes)
		}
		if f.PlanChanges {
			found++
			if worst := slices.Max(brute.regret); !closeTo(f.Regret, worst) {
				t.Fatalf("seed %d: regret %v, brute force finds %v", seed, f.Regret, worst)
			}
		}
	}
	if found < 10 {
		t.Errorf("%d plans change: the instances are too easy", found)
	}
}

// What is reserved decides in no monotone way: a plan may change for one value
// and not for all beyond it, and then the finding says so.
func TestStabilityPatchy(t *testing.T) {
	found := 0
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 5))
		p := randomProblem(rng, 3, compile.V15_0)
		for m := range p.Models {
			p.Models[m].Group, p.Models[m].Before, p.Models[m].Reserved = "", nil, 1400
		}
		plan := mustSolve(t, p)
		a := rowsOf(0, 1396, 1400, 1404) // all values are tried
		f := mustStability(t, p, plan, Options{}, a)[0]
		brute := bruteRange(t, p, groupsOf(plan), &a)
		above, below := brute.changes[5:], slices.Clone(brute.changes[:4])
		slices.Reverse(below)
		holes := false
		for _, side := range [][]bool{above, below} { // from the assumed value outward
			if first := slices.Index(side, true); first >= 0 {
				holes = holes || slices.Contains(side[first:], false)
			}
		}
		if f.Patchy != holes {
			t.Fatalf("seed %d: patchy is %v, brute force says %v", seed, f.Patchy, brute.changes)
		}
		if holes {
			found++
			if c := f.Condition(); !strings.HasSuffix(c, " rows (not for every such value)") {
				t.Errorf("condition %q", c)
			}
		}
	}
	if found == 0 {
		t.Error("every change is monotone: the instances are too easy")
	}
}

// Listing the models in another order, more workers or fewer: the same findings.
func TestStabilityIsDeterministic(t *testing.T) {
	type result struct {
		Changes         bool
		Regret, Worst   float64
		AtLeast, AtMost *float64
		Patchy          bool
		Tried           int
		Checked         Checked
		Better          []string
	}
	results := func(p *Problem, o Options) []result {
		list := allAssumptions(p)
		slices.SortStableFunc(list, func(a, b Assumption) int { return strings.Compare(a.Range(), b.Range()) })
		var all []result
		for _, f := range mustStability(t, p, mustSolve(t, p), o, list...) {
			r := result{f.PlanChanges, f.Regret, f.Worst, f.AtLeast, f.AtMost, f.Patchy, f.Tried, f.Checked, nil}
			for _, g := range f.Better {
				words := ""
				for _, m := range g {
					words += " " + p.Models[m].Name
				}
				r.Better = append(r.Better, words)
			}
			slices.Sort(r.Better)
			all = append(all, r)
		}
		return all
	}
	for _, v := range []compile.Version{compile.V15_0, compile.V16_0} {
		for _, o := range []Options{{}, {NodeBudget: 30}, {MaxExact: 1}} {
			p := alikeNets(5, v)
			first := results(p, o)
			q := *p
			q.Models = nil
			for _, at := range []int{3, 0, 4, 2, 1} {
				q.Models = append(q.Models, p.Models[at])
			}
			if diff := cmp.Diff(first, results(&q, o)); diff != "" {
				t.Errorf("%s, %+v: %s", v, o, diff)
			}
			was := runtime.GOMAXPROCS(1)
			one := results(p, o)
			runtime.GOMAXPROCS(was)
			if diff := cmp.Diff(first, one); diff != "" {
				t.Errorf("%s, %+v, one worker: %s", v, o, diff)
			}
			for _, o.Workers = range []int{1, 2, 7} {
				if diff := cmp.Diff(first, results(p, o)); diff != "" {
					t.Errorf("%s, %+v: %s", v, o, diff)
				}
			}
		}
	}
}

// A search that ends early claims no proof, and what it finds is real.
func TestStabilityEarly(t *testing.T) {
	p := alikeNets(6, compile.V15_0)
	plan := mustSolve(t, p)
	list := allAssumptions(p)
	full := mustStability(t, p, plan, Options{}, list...)
	for name, o := range map[string]Options{"nodes": {NodeBudget: 1}, "models": {MaxExact: 1}} {
		early := 0
		for i, f := range mustStability(t, p, plan, o, list...) {
			if f.Checked == CheckedEarly {
				early++
			} else if f.PlanChanges != full[i].PlanChanges {
				t.Errorf("%s: %+v\nwant %+v", name, f, full[i])
			}
			if f.PlanChanges && !full[i].PlanChanges && full[i].Checked == CheckedAll {
				t.Errorf("%s: a change where there is none: %+v", name, f)
			}
		}
		if early == 0 {
			t.Errorf("%s: every finding claims a proof", name)
		}
	}
	for i, f := range full {
		if f.Checked == CheckedEarly {
			t.Errorf("assumption %d: the search ended early: %+v", i, f)
		}
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Stability(gone, p, plan, Options{}, list); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// A call process of the problem's own is followed: strictly alternating, two
// nets that are apart load at every call, 0.5 x 2 x 1.2 ms, which streaming reaches at 2.4 times.
func TestStabilityWithProcess(t *testing.T) {
	p := twoNets()
	p.Process, _ = cost.Cyclic([]int{0, 1})
	f := mustStability(t, p, mustSolve(t, p), Options{}, slopeOf(0, 1), rowsOf(0, 2046, 2047, 2047))
	if f[0].AtLeast == nil || math.Abs(*f[0].AtLeast-2.5) > 1e-9 || math.Abs(f[0].Regret-2.8) > 1e-9 || f[1].PlanChanges {
		t.Errorf("%+v, %+v", f[0], f[1])
	}
}

func TestStabilityRefuses(t *testing.T) {
	p := twoNets()
	plan := mustSolve(t, p)
	bad := rowsOf(0, 2040, 2047, 3000)
	if _, err := Stability(context.Background(), p, plan, Options{}, []Assumption{bad}); err == nil || !strings.Contains(err.Error(), "it reserves 2040 to 3000 rows: ") || !strings.Contains(err.Error(), "3000 reserved rows") {
		t.Errorf("a value that no problem can have: %v", err)
	}
	if _, err := Stability(context.Background(), p, &Plan{}, Options{}, nil); err == nil || !strings.Contains(err.Error(), "the plan to check") {
		t.Errorf("an empty plan: %v", err)
	}
	p.Models = p.Models[:1]
	p.Models[0].Share = 1
	if f, err := Stability(context.Background(), p, mustSolve(t, p), Options{}, []Assumption{slopeOf(0)}); f != nil || err != nil {
		t.Errorf("one model: %v, %v", f, err)
	}
}

func BenchmarkStability(b *testing.B) {
	for _, v := range []compile.Version{compile.V15_0, compile.V16_0} {
		for _, n := range []int{4, 10, 16, 40} {
			b.Run(fmt.Sprintf("%s/%d", v, n), func(b *testing.B) {
				p := alikeNets(n, v)
				list := allAssumptions(p)
				plan, err := Solve(context.Background(), p, Options{})
				if err != nil {
					b.Fatal(err)
				}
				started := time.Now()
				if _, err := Solve(context.Background(), p, Options{Workers: 1}); err != nil {
					b.Fatal(err)
				}
				search, tried := time.Since(started), 0
				for b.Loop() {
					findings, err := Stability(context.Background(), p, plan, Options{Workers: 1}, list)
					if err != nil {
						b.Fatal(err)
					}
					tried = 0
					for _, f := range findings {
						tried += f.Tried
					}
				}
				b.ReportMetric(float64(tried), "values")
				b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(search), "searches")
			})
		}
	}
}

// alikeNets are nets of thirty convolutions and a classifier that compete for the pool.
func alikeNets(n int, v compile.Version) *Problem {
	rng := rand.New(rand.NewPCG(21, 22))
	p := randomProblem(rng, n, v)
	p.Objective = Time
	for i := range p.Models {
		m := &p.Models[i]
		m.plain(70 + i)
		for k := range 30 {
			m.Load.Parts = append(m.Load.Parts, conv(64*(1+rng.IntN(8)), 10+11*(k%13)+i))
		}
		m.Load.Parts = append(m.Load.Parts, fullyConnected(300+i, 100))
	}
	return p
}

// allAssumptions are one of each kind for every model.
func allAssumptions(p *Problem) []Assumption {
	list := []Assumption{{
		Sentence: says("the link transfers %s"), Unit: "MB/s", Low: 0.8, High: 1.2, Assumed: 1, Step: 0.01, Linear: true,
		Change: func(p *Problem, x float64) {
			for i := range p.Models {
				p.Models[i].Call.BytesPerMS *= x
			}
		},
	}}
	for i := range p.Models {
		r := p.Models[i].Reserved
		list = append(list, Assumption{
			Sentence: says(p.Models[i].Name + " reserves %s"), Unit: "rows", Low: float64(r - 60), High: float64(r + 60), Assumed: float64(r), Step: 1,
			Change: func(p *Problem, x float64) { p.Models[i].Reserved = int(x) },
		}, Assumption{
			Sentence: says("convolutions of " + p.Models[i].Name + " stream %s as long"), Unit: "times", Low: 1, High: 8, Assumed: 1, Step: 0.1, Linear: true,
			Change: func(p *Problem, x float64) { p.Models[i].stall(x - 1) },
		})
	}
	return list
}
