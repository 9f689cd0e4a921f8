package planner

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
)

// valued is a plan of two models that costs so much.
func valued(value float64, c Certificate, groups ...[]int) *Plan {
	p := &Plan{Value: value, Certificate: c, Devices: []DevicePlan{{Name: "tpu0"}}}
	for _, g := range groups {
		p.Devices[0].Groups = append(p.Devices[0].Groups, Group{Models: g})
	}
	return p
}

// What was taken before costs 100 in all cases, so a gain of 2 % is 2.
func TestKeep(t *testing.T) {
	optimal := func(value float64) Certificate { return Certificate{Status: Optimal, Bound: value, Nodes: 7} }
	tests := []struct {
		name    string
		value   float64 // of the answer
		given   Certificate
		same    bool // the answer is the same decision
		minGain float64
		kept    *Kept // nil: the answer comes back
		want    Certificate
	}{
		{"better by more", 97.99, optimal(97.99), false, 0.02, nil, Certificate{}},
		// 2 of 100 are 2 %; of the new plan's 98 they would be 2.04 %.
		{"better by just as much", 98, optimal(98), false, 0.02, &Kept{98, 0.02, 0.02}, Certificate{Status: Feasible, Bound: 98, Gap: 0.02, Nodes: 7, Limit: LimitKept}},
		{"better by less", 99, optimal(99), false, 0.02, &Kept{99, 0.01, 0.02}, Certificate{Status: Feasible, Bound: 99, Gap: 0.01, Nodes: 7, Limit: LimitKept}},
		{"a larger least gain", 90, optimal(90), false, 0.1, &Kept{90, 0.1, 0.1}, Certificate{Status: Feasible, Bound: 90, Gap: 0.1, Nodes: 7, Limit: LimitKept}},
		{"any gain counts", 99, optimal(99), false, 0, nil, Certificate{}},
		{"as good", 100, optimal(100), false, 0, &Kept{100, 0, 0}, Certificate{Status: Optimal, Bound: 100, Nodes: 7}},
		{"the same decision", 100, optimal(100), true, 0.02, nil, Certificate{}},
		// Less than 0.05 % is no better plan.
		{"negligible", 99.96, optimal(99.96), false, 0.02, &Kept{99.96, 0.0004, 0.02}, Certificate{Status: Optimal, Bound: 99.96, Gap: 0.0004, Nodes: 7}},
		{"not negligible", 99.94, optimal(99.94), false, 0.02, &Kept{99.94, 0.0006, 0.02}, Certificate{Status: Feasible, Bound: 99.94, Gap: 0.0006, Nodes: 7, Limit: LimitKept}},
		// 0.1 % of 100 is left to ties, the bound stands at 99.9.
		{"ties", 100, Certificate{Status: Optimal, Bound: 99.9, Gap: 0.001, TiesAtMost: 0.001}, false, 0.02, &Kept{100, 0, 0.02}, Certificate{Status: Optimal, Bound: 99.9, Gap: 0.001, TiesAtMost: 0.001}},
		// The answer leaves 1 to ties; the kept plan is better than the answer by 0.5, so 0.5 are left.
		{"ties above the gap", 100.5, Certificate{Status: Optimal, Bound: 99.5, Gap: 1 / 100.5, TiesAtMost: 1 / 100.5}, false, 0.02, &Kept{100.5, -0.005, 0.02}, Certificate{Status: Optimal, Bound: 99.5, Gap: 0.005, TiesAtMost: 0.005}},
		{"ties of one that is not the best", 99, Certificate{Status: Optimal, Bound: 98, Gap: 1. / 99, TiesAtMost: 1. / 99}, false, 0.02, &Kept{99, 0.01, 0.02}, Certificate{Status: Feasible, Bound: 98, Gap: 0.02, Limit: LimitKept}},
		// A search that ended early proves what it proves: what stopped it stays the reason.
		{"better than an early answer", 104, Certificate{Status: Feasible, Bound: 90, Gap: 14. / 104, Limit: LimitNodes}, false, 0.02, &Kept{104, -0.04, 0.02}, Certificate{Status: Feasible, Bound: 90, Gap: 0.1, Limit: LimitNodes}},
		{"best after an early answer", 104, Certificate{Status: Feasible, Bound: 99.99, Gap: 4.01 / 104, Limit: LimitNodes}, false, 0.02, &Kept{104, -0.04, 0.02}, Certificate{Status: Optimal, Bound: 99.99, Gap: 0.0001}},
		// Two sums of the same costs may differ in the last bits; no gap is below 0.
		{"rounding", 100 + 1e-13, optimal(100 + 1e-13), false, 0, &Kept{100, 0, 0}, Certificate{Status: Optimal, Bound: 100, Nodes: 7}},
		{"no plan", 0, Certificate{Status: UnknownSt}, false, 0.02, nil, Certificate{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := valued(100, Certificate{Status: UnknownSt}, []int{0}, []int{1})
			answer := valued(test.value, test.given, []int{0, 1})
			if test.same {
				answer = valued(test.value, test.given, []int{0}, []int{1})
			}
			got := Keep(answer, before, test.minGain)
			if test.kept == nil {
				if got != answer {
					t.Errorf("kept: %+v", got.Kept)
				}
				return
			}
			if got == answer {
				t.Fatal("not kept")
			}
			near := cmp.Comparer(func(a, b float64) bool { return a-b < 1e-12 && b-a < 1e-12 })
			if diff := cmp.Diff(test.kept, got.Kept, near); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.want, got.Certificate, near); diff != "" {
				t.Error(diff)
			}
			if got.Certificate.Gap < 0 || !SameDecision(got, before) || got.Value != 100 || before.Kept != nil {
				t.Errorf("%+v of %+v", got, before)
			}
		})
	}
}

func TestKeepNothing(t *testing.T) {
	// Models without parameters cost nothing, and nothing is less.
	got := Keep(valued(0, Certificate{Status: Optimal}, []int{0, 1}), valued(0, Certificate{}, []int{0}, []int{1}), 0)
	if diff := cmp.Diff(&Kept{}, got.Kept); diff != "" || got.Certificate.Status != Optimal || got.Certificate.Gap != 0 {
		t.Errorf("%s%+v", diff, got.Certificate)
	}
}

// Verify accepts what Keep keeps, and nothing that only says it is kept.
func TestVerifyKept(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	kept, worse := 0, 0
	for range 300 {
		n := 2 + rng.IntN(3)
		p := randomProblem(rng, n, []compile.Version{compile.V15_0, compile.V16_0}[rng.IntN(2)])
		answer, err := Solve(t.Context(), p, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var groups [][]int
		for m := range n {
			if g := rng.IntN(len(groups) + 1); g < len(groups) {
				groups[g] = append(groups[g], m)
			} else {
				groups = append(groups, []int{m})
			}
		}
		for _, g := range groups {
			rng.Shuffle(len(g), func(i, j int) { g[i], g[j] = g[j], g[i] })
		}
		before, err := Evaluate(p, groups)
		if err != nil {
			continue // a pin
		}
		minGain := []float64{0, 0.02, 0.3, 0.9}[rng.IntN(4)]
		plan := Keep(answer, before, minGain)
		if err := Verify(p, plan); err != nil {
			t.Fatalf("%v: %v", groups, err)
		}
		if plan.Kept == nil {
			continue
		}
		kept++
		breaks := map[string]func(p *Plan){
			"gain":       func(p *Plan) { p.Kept.Gain += 0.01 },
			"kept up to": func(p *Plan) { p.Kept.MinGain = -0.5 },
			"below the boun": func(p *Plan) {
				p.Kept.Value, p.Kept.Gain = p.Certificate.Bound/2, 1-p.Certificate.Bound/2/p.Value
				p.Kept.MinGain = 0.999
			},
		}
		if plan.Kept.Gain > 0.001 {
			worse++
			breaks["more than"] = func(p *Plan) { p.Kept.MinGain = p.Kept.Gain / 2 }
			breaks["not kept"] = func(p *Plan) { p.Kept = nil }
			breaks["optimal with gap"] = func(p *Plan) { p.Certificate.Status, p.Certificate.Limit = Optimal, "" }
			breaks["ties"] = func(p *Plan) { p.Certificate.TiesAtMost = p.Certificate.Gap * 1.5 }
			if slices.ContainsFunc(plan.Baselines, func(b Baseline) bool { return b.Feasible && b.Value < plan.Value*(1-1e-6) }) {
				// it is worse than a baseline, which only what it gives up excuses
				breaks["is better than the plan"] = func(p *Plan) { p.Kept.Value, p.Kept.Gain = p.Value, 0 }
				delete(breaks, "not kept")
			}
		}
		for want, damage := range breaks {
			if plan.Certificate.Bound == 0 || plan.Certificate.Limit != LimitKept && want == "not kept" {
				continue
			}
			bad := *plan
			k := *plan.Kept
			bad.Kept = &k
			damage(&bad)
			if err := Verify(p, &bad); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", want, err)
			}
		}
	}
	if kept < 50 || worse < 20 {
		t.Errorf("only %d kept, %d of them worse: the instances test little", kept, worse)
	}
}
