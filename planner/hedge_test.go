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

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
)

func mustHedge(t testing.TB, p *Problem, plan *Plan, o Options, list ...Assumption) *Hedge {
	t.Helper()
	_, h, err := FindHedge(context.Background(), p, plan, o, list)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// What is worked out by hand, of two nets that take 0.5 ms together and
// 0.5 (1 + c) apart, where c is the overhead of a load, 0.2 ms:
//   - a streamed byte takes up to 8 times as long: then together takes 4 ms, apart 0.6.
//     The plan's regret is 3.4, that of apart 0.1, as assumed;
//   - only of b: b first takes 0.5 ms whatever it is, so it costs nothing and saves 4 - 0.5;
//   - of each alone: either order has 3.5 ms of regret, apart takes 0.6 where the best takes 0.5;
//   - no slope changes the plan: the hedge is the plan;
//   - a reserves all 2048 rows: nothing of together is cached, 1 ms, apart b still is, 0.8.
//     Apart is 0.1 ms worse as assumed, together 0.2 ms there;
//   - the same with rows to spare: 2044 hold both together, 0 ms, where apart takes 0.6. So the plan stays;
//   - loads are free, a rule: 0 ms apart, where the plan takes 0.5. As assumed apart costs 0.1.
func TestHedgeByHand(t *testing.T) {
	p := twoNets()
	plan := mustSolve(t, p)
	free := Assumption{Sentence: says("loads are free"), Change: func(p *Problem, _ float64) {
		for m := range p.Models {
			p.Models[m].Call.OverheadMS, p.Models[m].Call.OverlapMS = 0, 1
		}
	}}
	apart, turned := [][]int{{0}, {1}}, [][]int{{1, 0}}
	tests := []struct {
		name                             string
		of                               []Assumption
		groups                           [][]int
		price, largest, ofPlan, saves    float64
		largestIf, ofPlanIf, savesIf     string
		candidates                       int
		isPlan, optimal, worth, noShares bool
	}{
		{
			name: "slope of both", of: []Assumption{slopeOf(0, 1)}, groups: apart, price: 0.1, largest: 0.1, ofPlan: 3.4, saves: 3.4,
			ofPlanIf: "a streamed byte takes 8 times as long", savesIf: "a streamed byte takes 8 times as long", candidates: 2,
		},
		{
			name: "slope of b", of: []Assumption{slopeOf(1)}, groups: turned, ofPlan: 3.5, saves: 3.5,
			ofPlanIf: "a streamed byte takes 8 times as long", savesIf: "a streamed byte takes 8 times as long", candidates: 2, optimal: true, worth: true,
		},
		{
			name: "slope of each", of: []Assumption{slopeOf(0), slopeOf(1), slopeOf(0, 1)}, groups: apart, price: 0.1, largest: 0.1, ofPlan: 3.5, saves: 3.4,
			ofPlanIf: "a streamed byte takes 8 times as long", savesIf: "a streamed byte takes 8 times as long", candidates: 3,
		},
		{name: "slope of a", of: []Assumption{slopeOf(0)}, groups: [][]int{{0, 1}}, candidates: 1, isPlan: true, optimal: true},
		{name: "nothing", groups: [][]int{{0, 1}}, candidates: 1, isPlan: true, optimal: true},
		{
			name: "more rows", of: []Assumption{rowsOf(0, 2047, 2047, 2048)}, groups: apart, price: 0.1, largest: 0.1, ofPlan: 0.2, saves: 0.2,
			ofPlanIf: "it reserves 2048 rows", savesIf: "it reserves 2048 rows", candidates: 2,
		},
		{
			name: "fewer and more", of: []Assumption{rowsOf(0, 2044, 2047, 2048), rowsOf(1, 2044, 2047, 2047)}, groups: apart, price: 0.1, largest: 0.1, ofPlan: 0.2, saves: 0.2,
			ofPlanIf: "it reserves 2048 rows", savesIf: "it reserves 2048 rows", candidates: 2,
		},
		{
			name: "a rule", of: []Assumption{free}, groups: apart, price: 0.1, largest: 0.1, ofPlan: 0.5, saves: 0.5,
			ofPlanIf: "loads are free", savesIf: "loads are free", candidates: 2, noShares: true,
		},
	}
	for _, test := range tests {
		h := mustHedge(t, p, plan, Options{}, test.of...)
		close := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
		if diff := cmp.Diff(test.groups, h.Groups); diff != "" || h.IsPlan != test.isPlan || h.Candidates != test.candidates {
			t.Errorf("%s: %v of %d candidates, the plan: %v; want %+v", test.name, h.Groups, h.Candidates, h.IsPlan, test)
		}
		if !close(h.Price, test.price) || !close(h.Largest.Amount, test.largest) || !close(h.OfPlan.Amount, test.ofPlan) || !close(h.Saves.Amount, test.saves) || !close(h.PlanValue, 0.5) || !close(h.Value, 0.5+test.price) {
			t.Errorf("%s: price %v, regret %v against %v, saves %v; want %+v", test.name, h.Price, h.Largest.Amount, h.OfPlan.Amount, h.Saves.Amount, test)
		}
		if h.Largest.If() != test.largestIf || h.OfPlan.If() != test.ofPlanIf || h.Saves.If() != test.savesIf {
			t.Errorf("%s: if %q, %q, %q; want %+v", test.name, h.Largest.If(), h.OfPlan.If(), h.Saves.If(), test)
		}
		if _, ok := h.OfPlan.Share(); ok == test.noShares || h.Worth() != test.worth {
			t.Errorf("%s: %+v has a share: %v; worth it: %v", test.name, h.OfPlan, ok, h.Worth())
		}
		hedged, err := h.Decide(plan)
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(p, hedged); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		want := Certificate{Status: Feasible, Limit: LimitHedge, Bound: 0.5, Gap: test.price / (0.5 + test.price)}
		if test.optimal {
			want = Certificate{Status: Optimal, Bound: 0.5}
		}
		if c := hedged.Certificate; c.Status != want.Status || c.Limit != want.Limit || !close(c.Bound, want.Bound) || !close(c.Gap, want.Gap) || c.Nodes != plan.Certificate.Nodes {
			t.Errorf("%s: %+v, want %+v", test.name, c, want)
		}
	}
	if share, ok := mustHedge(t, p, plan, Options{}, slopeOf(0, 1)).OfPlan.Share(); !ok || math.Abs(share-3.4/0.6) > 1e-9 {
		t.Errorf("the plan's regret is %v of the best plan's 0.6 ms", share)
	}
}

// More rows for a: the candidate must not lose more elsewhere than the plan does here.
// With 0.5 ms of overhead apart takes 0.75, 0.25 more than together as
// assumed, and 0.875 against 1 if a has no row: the plan stays.
func TestHedgeIsThePlan(t *testing.T) {
	p := twoNets()
	for m := range p.Models {
		p.Models[m].Call.OverheadMS = 0.5
	}
	h := mustHedge(t, p, mustSolve(t, p), Options{}, rowsOf(0, 2047, 2047, 2048))
	if !h.IsPlan || h.Candidates != 2 || h.Price != 0 || h.Saves.Amount != 0 || math.Abs(h.Largest.Amount-0.125) > 1e-9 || h.Largest != h.OfPlan || h.Worth() {
		t.Errorf("%+v", h)
	}
	// Where loads take 10 ms more only the two orders count. Each takes 4 ms, 3.5
	// too many, if streaming its second net does: whichever is the plan stays.
	for m := range p.Models {
		p.Models[m].Call.OverheadMS = 10
	}
	for _, groups := range [][][]int{{{0, 1}}, {{1, 0}}} {
		plan, err := Evaluate(p, groups)
		if err != nil {
			t.Fatal(err)
		}
		h := mustHedge(t, p, plan, Options{}, slopeOf(0), slopeOf(1))
		if diff := cmp.Diff(groups, h.Groups); diff != "" || !h.IsPlan || h.Candidates != 2 || math.Abs(h.Largest.Amount-3.5) > 1e-9 {
			t.Errorf("%v: %+v", groups, h)
		}
	}
}

// It is worth it from a regret of more than 10 % at a price of less than 2 %:
// apart costs 0.5 c more, and saves 0.5 (x - 1 - c) of 0.5 (1 + c) if a streamed byte takes x times as long.
func TestHedgeWorth(t *testing.T) {
	for _, test := range []struct {
		overhead, slope float64
		want            bool
	}{{0.019, 8, true}, {0.021, 8, false}, {0.01, 1.12, true}, {0.01, 1.11, false}} {
		p := twoNets()
		for m := range p.Models {
			p.Models[m].Call.OverheadMS = test.overhead
		}
		a := slopeOf(0, 1)
		a.High, a.Step = test.slope, test.slope-1
		if h := mustHedge(t, p, mustSolve(t, p), Options{}, a); h.Worth() != test.want || h.IsPlan {
			t.Errorf("%+v: %v, regret %+v, price %v", test, h.Worth(), h.OfPlan, h.Price)
		}
	}
}

// What was decided before stays unless the hedge is better by more than the
// least gain. b first takes 0.49 ms whatever streaming b takes, and is the hedge.
// Apart takes 2 x 0.49 x 0.51 x 1.2 = 0.5998, of which the regret is 18.3 % everywhere.
// If streaming b takes 8 times as long, b last takes 8 x 0.51 = 4.08, of which the regret is 88 %.
func TestHedgeKeep(t *testing.T) {
	p := twoNets()
	p.Models[0].Share, p.Models[1].Share = 0.49, 0.51
	plan := mustSolve(t, p)
	h := mustHedge(t, p, plan, Options{}, slopeOf(1))
	for _, test := range []struct {
		groups  [][]int
		minGain float64
		kept    bool
	}{
		{h.Groups, Tie, false}, // there is nothing to decide
		{[][]int{{0}, {1}}, Tie, false},
		{[][]int{{0}, {1}}, 0.18, false},
		{[][]int{{0}, {1}}, 0.19, true},
		{[][]int{{0, 1}}, Tie, false},
		{[][]int{{0, 1}}, 0.87, false},
		{[][]int{{0, 1}}, 0.89, true},
	} {
		kept, err := h.Keep(test.groups, test.minGain)
		if err != nil {
			t.Fatal(err)
		}
		if (kept != h) != test.kept {
			x, _ := h.RegretOf(test.groups)
			t.Errorf("%+v: kept: %v, regret %+v against %+v", test, kept != h, x, h.Largest)
		}
		if kept == h {
			continue
		}
		regret, err := h.RegretOf(test.groups)
		if err != nil || kept.Largest != regret || kept.Instead != h || kept.OfPlan != h.OfPlan || !slices.EqualFunc(kept.Groups, test.groups, slices.Equal) {
			t.Errorf("%+v: %+v, %v", test, kept, err)
		}
		hedged, err := kept.Decide(plan)
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(p, hedged); err != nil {
			t.Error(err)
		}
		k, c := hedged.Kept, hedged.Certificate
		if k == nil || !closeTo(k.Value, h.Value) || k.MinGain != test.minGain || !closeTo(k.Gain, 1-h.Value/hedged.Value) || c.Limit != LimitHedge || c.Bound != plan.Value {
			t.Errorf("%+v: kept %+v, %+v", test, k, c)
		}
	}
	if _, err := h.Keep([][]int{{0}}, Tie); err == nil {
		t.Error("half a decision is kept")
	}
	if x, err := h.RegretOf(h.Groups); err != nil || x.Amount != h.Largest.Amount {
		t.Errorf("the hedge's regret is %+v, %+v on its own", h.Largest, x)
	}
}

// randomAssumptions are some of every kind.
func randomAssumptions(rng *rand.Rand, p *Problem) []Assumption {
	var list []Assumption
	for range 1 + rng.IntN(3) {
		m := rng.IntN(len(p.Models))
		switch r := p.Models[m].Reserved; rng.IntN(6) {
		case 0:
			list = append(list, rowsOf(m, r-4, r, r+4))
		case 1:
			spread := r / 3
			list = append(list, rowsOf(m, r-spread, r, min(r+spread, compile.TileRows)))
		case 2:
			for m := range p.Models {
				p.Models[m].StreamMS = nil
			}
			a := slopeOf(m, rng.IntN(len(p.Models)))
			a.Step = 0.5
			list = append(list, a)
		case 3:
			rate := make([]float64, len(p.Models))
			for i := range rate {
				rate[i] = p.Models[i].Call.BytesPerMS
			}
			list = append(list, Assumption{
				Sentence: says("%s"), Unit: "of the rate", Low: 0.25, High: 4, Assumed: 1, Step: 0.25, Linear: true,
				Change: func(p *Problem, x float64) { p.Models[m].Call.BytesPerMS = rate[m] * x },
			})
		case 4:
			list = append(list, Assumption{
				Sentence: says("%s"), Unit: "times", Low: 0.5, High: 1.5, Assumed: 1, Step: 0.125,
				Change: func(p *Problem, x float64) {
					parts := slices.Clone(p.Models[m].Load.Parts)
					for k := range parts {
						parts[k] = parts[k].Scaled(x)
					}
					for i := range p.Models { // copies of a net are one case
						if p.Models[i].Load.Content == p.Models[m].Load.Content {
							p.Models[i].Load.Parts = parts
						}
					}
				},
			})
		case 5:
			list = append(list, Assumption{Sentence: says("calls take turns"), Change: func(p *Problem, _ float64) {
				var turn []int
				for i := range p.Models {
					turn = append(turn, i)
				}
				p.Process, _ = cost.Cyclic(turn)
			}})
		}
	}
	return list
}

// lawHolds are the laws of every hedge, by definition: the values of all decisions are worked
// out by Evaluate, once more for every value that was tried.
func lawHolds(t *testing.T, p *Problem, plan *Plan, h *Hedge) {
	t.Helper()
	if h.Largest.Amount > h.OfPlan.Amount {
		t.Fatalf("the hedge's largest regret %v is above the plan's %v", h.Largest.Amount, h.OfPlan.Amount)
	}
	if h.IsPlan && (h.Price != 0 || h.Largest != h.OfPlan || h.Saves.Amount != 0) {
		t.Fatalf("the hedge is the plan, and yet %+v", h)
	}
	if plan.Certificate.Status == Optimal && h.Price < 0 {
		t.Fatalf("the best plan is %v above the hedge", -h.Price)
	}
	hedged, err := h.Decide(plan)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(p, hedged); err != nil {
		t.Fatal(err)
	}
	if !closeTo(hedged.Value, h.Value) || !closeTo(plan.Value, h.PlanValue) || !h.IsPlan && math.Abs(hedged.Value-plan.Value-h.Price) > 1e-9*plan.Value {
		t.Fatalf("%v and %v, the plans are worth %v and %v", h.Value, h.PlanValue, hedged.Value, plan.Value)
	}
	largest, ofPlan, saves := 0.0, 0.0, 0.0
	for i := range h.points {
		x := &h.points[i]
		q := *p
		q.Models = slices.Clone(p.Models)
		if x.assumption != nil {
			x.assumption.Change(&q, x.value)
		}
		own, err := Evaluate(&q, plan.Groups())
		if err != nil {
			t.Fatal(err)
		}
		other, err := Evaluate(&q, h.Groups)
		if err != nil {
			t.Fatal(err)
		}
		if x.best > min(own.Value, other.Value)*(1+1e-9) {
			t.Fatalf("the best is %v, and the plans take %v and %v", x.best, own.Value, other.Value)
		}
		largest, ofPlan, saves = max(largest, other.Value-x.best), max(ofPlan, own.Value-x.best), max(saves, own.Value-other.Value)
	}
	if !closeTo(1+largest, 1+h.Largest.Amount) || !closeTo(1+ofPlan, 1+h.OfPlan.Amount) || !closeTo(1+saves, 1+h.Saves.Amount) {
		t.Fatalf("regrets %v and %v, saves %v; by definition %v, %v, %v", h.Largest.Amount, h.OfPlan.Amount, h.Saves.Amount, largest, ofPlan, saves)
	}
}

// On hundreds of instances of all kinds, searched to the end or not, the
// hedge's largest regret is at most the plan's.
func TestHedgeIsNeverWorse(t *testing.T) {
	others, free := 0, 0
	for seed := range uint64(600) {
		rng := rand.New(rand.NewPCG(seed, 77))
		p := randomProblem(rng, 2+rng.IntN(5), compile.Versions()[rng.IntN(len(compile.Versions()))])
		list := randomAssumptions(rng, p)
		o := []Options{{}, {}, {NodeBudget: 20}, {MaxExact: 1}}[rng.IntN(4)]
		plan, err := Solve(context.Background(), p, o)
		if err != nil || plan.Certificate.Status.Err() != nil {
			continue
		}
		findings, h, err := FindHedge(context.Background(), p, plan, o, list)
		if err != nil {
			t.Fatal(err)
		}
		lawHolds(t, p, plan, h)
		for i := range findings {
			if f := &findings[i]; f.Regret > h.OfPlan.Amount+1e-9*(h.OfPlan.Amount+h.OfPlan.Best) {
				t.Fatalf("seed %d: the plan's largest regret is %v, that of %s %v", seed, h.OfPlan.Amount, f.Range(), f.Regret)
			}
		}
		if !h.IsPlan {
			others++
			if h.Price == 0 {
				free++
			}
		}
	}
	t.Logf("%d hedges are not the plan, %d of them cost nothing", others, free)
	if others < 50 {
		t.Errorf("only %d hedges are not the plan: the instances are too easy", others)
	}
}

// partitions lists every way to put models into ordered groups.
func partitions(n int) [][][]int {
	all := [][][]int{nil}
	for m := range n {
		var longer [][][]int
		for _, groups := range all {
			with := func(g int, group []int) {
				more := slices.Clone(groups)
				if g == len(more) {
					more = append(more, nil)
				}
				more[g] = group
				longer = append(longer, more)
			}
			for g := range groups {
				for at := range len(groups[g]) + 1 {
					with(g, slices.Insert(slices.Clone(groups[g]), at, m))
				}
			}
			with(len(groups), []int{m})
		}
		all = longer
	}
	return all
}

// Every plan of small problems is evaluated at every value. The hedge is the
// one that this finds among the plans that are best somewhere.
func TestHedgeAgainstBruteForce(t *testing.T) {
	if n := len(partitions(4)); n != 73 {
		t.Fatalf("%d ordered partitions of four, want 73", n)
	}
	matched, changed := 0, 0
	for seed := range uint64(450) {
		rng := rand.New(rand.NewPCG(seed, 78))
		p := randomProblem(rng, 2+rng.IntN(2), []compile.Version{compile.V1_0, compile.V15_0, compile.V16_0}[rng.IntN(3)])
		if rng.IntN(3) > 0 { // nets that fill the pool, on one link
			for i := range p.Models {
				m := &p.Models[i]
				m.Group, m.Before, m.StreamMS, m.Load.Content, m.Call = "", nil, nil, m.Name, cost.Modelled(cost.Links()[0], cost.Traffic{Instructions: 60_000, Input: 150_000, Output: 1000})
				for range 4 {
					m.Load.Parts = append(slices.Clone(m.Load.Parts), conv(512, 256+16*rng.IntN(20)))
				}
			}
		}
		list := randomAssumptions(rng, p)
		plan, err := Solve(context.Background(), p, Options{})
		if err != nil || plan.Certificate.Status != Optimal {
			continue
		}
		h := mustHedge(t, p, plan, Options{}, list...)
		var plans [][][]int
		for _, groups := range partitions(len(p.Models)) {
			if _, err := Evaluate(p, groups); err == nil { // the pins
				plans = append(plans, groups)
			}
		}
		valuesAt := func(a *Assumption, x float64) []float64 {
			q := *p
			q.Models = slices.Clone(p.Models)
			if a != nil {
				a.Change(&q, x)
			}
			values := make([]float64, len(plans))
			for i, groups := range plans {
				made, err := Evaluate(&q, groups)
				if err != nil {
					t.Fatal(err)
				}
				values[i] = made.Value
			}
			return values
		}
		key := func(groups [][]int) string {
			var words []string
			for _, g := range groups {
				words = append(words, fmt.Sprint(g))
			}
			slices.Sort(words)
			return strings.Join(words, " ")
		}
		index := map[string]int{}
		for i, groups := range plans {
			index[key(groups)] = i
		}
		own, hedge := index[key(plan.Groups())], index[key(h.Groups)]
		// The values that were tried, by the findings' own account, and what all plans take there.
		var table [][]float64
		candidates := []int{own}
		var equals [][]int // plans that are equally good at a value
		certain := true    // nothing hangs on which of several equal plans was found, or on what is within a tie
		table = append(table, valuesAt(nil, 0))
		for _, x := range h.points[1:] {
			values := valuesAt(x.assumption, x.value)
			table = append(table, values)
			best := slices.Min(values)
			if x.best < best*(1-1e-9) || x.best > best*(1+Tie)*(1+1e-9) {
				t.Fatalf("seed %d: the best is said to be %v, and is %v", seed, x.best, best)
			}
			if values[own] <= best*(1+Tie)*(1+1e-12) {
				certain = certain && closeTo(x.best, best)
				continue
			}
			if !closeTo(x.best, best) {
				t.Fatalf("seed %d: the plan changes, the best is said to be %v, and is %v", seed, x.best, best)
			}
			var found []int
			for i := range values {
				if closeTo(values[i], best) {
					found = append(found, i)
				}
			}
			candidates = append(candidates, found[0])
			equals = append(equals, found)
		}
		for _, found := range equals {
			for _, values := range table {
				for _, i := range found {
					certain = certain && closeTo(values[i], values[found[0]])
				}
			}
		}
		largest := func(i int) (most float64) {
			for _, values := range table {
				most = max(most, values[i]-slices.Min(values))
			}
			return most
		}
		// Over the whole range of what is linear no value in between is worse, but for ties.
		for i := range list {
			a := &list[i]
			if !a.Linear || slices.ContainsFunc(p.Models, func(m Model) bool { return m.Call.OverlapMS > 0 }) {
				continue
			}
			for k := 0; k <= int(math.Round((a.High-a.Low)/a.Step)); k++ {
				values := valuesAt(a, a.Low+float64(k)*a.Step)
				best := slices.Min(values)
				if most := h.Largest.Amount + Tie*slices.Max(table[0]) + Tie*best; values[hedge]-best > most*(1+1e-9) {
					t.Fatalf("seed %d: regret %v at %v, at most %v was said", seed, values[hedge]-best, a.Low+float64(k)*a.Step, h.Largest.Amount)
				}
			}
		}
		if !certain {
			continue
		}
		matched++
		least, which := math.Inf(1), -1
		for _, c := range candidates {
			r, price := largest(c), table[0][c]
			switch {
			case which >= 0 && closeTo(1+r, 1+least) && (which == own || price >= table[0][which]):
			case which < 0, r < least, closeTo(1+r, 1+least) && c == own:
				least, which = r, c
			}
		}
		if !closeTo(1+least, 1+h.Largest.Amount) || !closeTo(1+largest(own), 1+h.OfPlan.Amount) || !closeTo(table[0][which], table[0][hedge]) {
			t.Fatalf("seed %d: %v with regret %v, brute force finds %v with %v; the plan's is %v, %v", seed, h.Groups, h.Largest.Amount, plans[which], least, h.OfPlan.Amount, largest(own))
		}
		if (which == own) != h.IsPlan {
			t.Fatalf("seed %d: the hedge is the plan: %v", seed, h.IsPlan)
		}
		if which != own {
			changed++
		}
	}
	t.Logf("%d instances compared, in %d of them the hedge is not the plan", matched, changed)
	if matched < 250 || changed < 30 {
		t.Error("too few")
	}
}

// Neither workers nor the order of the list of models change the answer.
func TestHedgeIsDeterministic(t *testing.T) {
	says := func(p *Problem, o Options) string {
		list := allAssumptions(p)
		slices.SortStableFunc(list, func(a, b Assumption) int { return strings.Compare(a.Range(), b.Range()) })
		h := mustHedge(t, p, mustSolve(t, p), o, list...)
		var words []string
		for _, g := range h.Groups {
			var names []string
			for _, m := range g {
				names = append(names, p.Models[m].Name)
			}
			words = append(words, strings.Join(names, " "))
		}
		return fmt.Sprintf("%q %v %v %v %v %s %v %s %d %s", words, h.Price, h.Value, h.Largest.Amount, h.OfPlan.Amount, h.OfPlan.If(), h.Saves.Amount, h.Saves.If(), h.Candidates, h.Checked)
	}
	for _, v := range []compile.Version{compile.V15_0, compile.V16_0} {
		for _, o := range []Options{{}, {NodeBudget: 30}, {MaxExact: 1}} {
			p := alikeNets(5, v)
			first := says(p, o)
			q := *p
			q.Models = nil
			for _, at := range []int{3, 0, 4, 2, 1} {
				q.Models = append(q.Models, p.Models[at])
			}
			if other := says(&q, o); other != first {
				t.Errorf("%s, %+v: listed otherwise\n%s\n%s", v, o, first, other)
			}
			was := runtime.GOMAXPROCS(1)
			one := says(p, o)
			runtime.GOMAXPROCS(was)
			if one != first {
				t.Errorf("%s, %+v: one worker\n%s\n%s", v, o, first, one)
			}
			for _, o.Workers = range []int{1, 2, 7} {
				if other := says(p, o); other != first {
					t.Errorf("%s, %+v:\n%s\n%s", v, o, first, other)
				}
			}
		}
	}
}

func TestHedgeEnds(t *testing.T) {
	p := alikeNets(5, compile.V15_0)
	plan := mustSolve(t, p)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, h, err := FindHedge(gone, p, plan, Options{}, allAssumptions(p)); h != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %+v, %v", h, err)
	}
	if h := mustHedge(t, p, plan, Options{NodeBudget: 1}, allAssumptions(p)...); h.Checked != CheckedEarly {
		t.Errorf("ended early, and yet %s", h.Checked)
	}
	if h := mustHedge(t, p, plan, Options{}, allAssumptions(p)...); h.Checked != CheckedSome || h.Candidates > maxCandidates {
		t.Errorf("%d candidates, %s", h.Candidates, h.Checked)
	}
}

// A hedge may be worse than a baseline, and nothing else of it may be wrong.
func TestVerifyOfHedges(t *testing.T) {
	p := twoNets()
	plan := mustSolve(t, p)
	h := mustHedge(t, p, plan, Options{}, slopeOf(0, 1))
	for _, test := range []struct {
		name, want string
		spoil      func(plan *Plan)
	}{
		{"as it is", "", func(*Plan) {}},
		{"no hedge", "baseline as-given is better", func(x *Plan) { x.Hedged = nil }},
		{"optimal", "hedged: the value 0.5 as assumed is below the bound 0.6", func(x *Plan) { x.Certificate.Status, x.Certificate.Bound, x.Certificate.Gap = Optimal, x.Value, 0 }},
		{"value", "value", func(x *Plan) { x.Value = 0.55 }},
		{"bound", "bound", func(x *Plan) { x.Certificate.Bound = 0.7 }},
		{"gap", "gap", func(x *Plan) { x.Certificate.Gap = 0 }},
		{"baseline", "baseline separate: 0.1", func(x *Plan) { x.Baselines[0].Value = 0.1 }},
		{"twice", "two places", func(x *Plan) { x.Devices[0].Groups[1].Models = []int{0} }},
	} {
		hedged, err := h.Decide(plan)
		if err != nil {
			t.Fatal(err)
		}
		test.spoil(hedged)
		switch err := Verify(p, hedged); {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
}
