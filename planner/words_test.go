package planner

import (
	"math"
	"slices"
	"testing"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
)

// runsOf lets calls come in runs of one model.
func runsOf(p *Problem, high float64) Assumption {
	shares := make([]float64, len(p.Models))
	for i := range p.Models {
		shares[i] = p.Models[i].Share
	}
	return Assumption{
		Sentence: says("calls come in runs, %s"), Unit: "calls a run", Low: 1, High: high, Assumed: 1, Step: 1, Linear: true,
		Change: func(p *Problem, length float64) { p.Process = cost.Runs(shares, length) },
	}
}

// What is lost at the worst value is lost of what the plan costs there: of
// two nets that stream 0.5 x 1 ms together (see TestStabilityByHand),
//   - streamed 8 times as slow, 3.4 ms of 4;
//   - with all 2048 rows reserved for a, of which nothing is cached then, 0.2 ms of 1;
//   - in runs of L apart costs 0.5 x 1.2 / L, better by 2 % from 2 on, at 100 by 0.494 of 0.5.
func TestValueAtWorst(t *testing.T) {
	p := twoNets()
	plan := mustSolve(t, p)
	for _, test := range []struct {
		of            Assumption
		regret, value float64
		at, nearest   string
		unchanged     bool
	}{
		{of: slopeOf(0, 1), regret: 3.4, value: 4, at: "8 times", nearest: "a streamed byte takes at least 1.3 times as long"},
		{of: rowsOf(0, 2044, 2047, 2048), regret: 0.2, value: 1, at: "2048 rows", nearest: "it reserves at least 2048 rows"},
		{of: runsOf(p, 100), regret: 0.494, value: 0.5, at: "100 calls a run", nearest: "calls come in runs, at least 2 calls a run"},
		{of: slopeOf(0), at: "1 time", unchanged: true},
	} {
		f := mustStability(t, p, plan, Options{}, test.of)[0]
		if f.PlanChanges == test.unchanged || math.Abs(f.Regret-test.regret) > 1e-9 || math.Abs(f.ValueAtWorst-test.value) > 1e-9 || f.At() != test.at || f.Condition() != test.nearest {
			t.Errorf("%v of %v at %s, %q; want %+v", f.Regret, f.ValueAtWorst, f.At(), f.Condition(), test)
		}
		if want := test.regret / max(test.value, 1e-9); math.Abs(f.Stake()-want) > 1e-9 {
			t.Errorf("at stake is %v, want %v", f.Stake(), want)
		}
	}
}

// In runs of every length the plan is what is found from the ends of the range alone.
func TestRunsAtEveryLength(t *testing.T) {
	changing := 0
	for _, v := range []compile.Version{compile.V15_0, compile.V16_0} {
		for n := 2; n <= 5; n++ {
			p := alikeNets(n, v)
			plan := mustSolve(t, p)
			a := runsOf(p, 60)
			f := mustStability(t, p, plan, Options{}, a)[0]
			for length := 1.0; length <= a.High; length++ {
				q := *p
				a.Change(&q, length)
				own, err := Evaluate(&q, plan.Groups())
				if err != nil {
					t.Fatal(err)
				}
				best := mustSolve(t, &q)
				changes := own.Value > best.Value*(1+Tie)
				if found := f.AtLeast != nil && length >= *f.AtLeast; found != changes {
					t.Errorf("%s, %d models, runs of %v: %v of %v ms, and the finding is %+v", v, n, length, best.Value, own.Value, f)
				}
				if length == a.High && changes {
					changing++
					if math.Abs(f.Regret-(own.Value-best.Value)) > 1e-9 || math.Abs(f.ValueAtWorst-own.Value) > 1e-9 || f.Worst != length {
						t.Errorf("%s, %d models: %+v, want %v of %v", v, n, f, own.Value-best.Value, own.Value)
					}
				}
			}
		}
	}
	if changing == 0 {
		t.Error("no plan changes: the test tests nothing")
	}
}

// A clause of its own follows what is assumed; one value of one is no plural.
func TestConditionInWords(t *testing.T) {
	at := func(x float64) *float64 { return &x }
	rows := Assumption{Sentence: says("%s are reserved"), If: says("it reserves %s"), Unit: "rows", High: 3}
	rule := Assumption{Sentence: says("the rule is another"), If: says("it is another")}
	for _, test := range []struct {
		f    Finding
		want string
	}{
		{Finding{Assumption: &rows, PlanChanges: true, AtLeast: at(1)}, "it reserves at least 1 row"},
		{Finding{Assumption: &rows, PlanChanges: true, AtMost: at(1), AtLeast: at(3)}, "it reserves at most 1 or at least 3 rows"},
		{Finding{Assumption: &rows, PlanChanges: true, AtMost: at(2), Patchy: true}, "it reserves at most 2 rows (not for every such value)"},
		{Finding{Assumption: &rule, PlanChanges: true}, "it is another"},
		{Finding{Assumption: &rows}, ""},
	} {
		if got := test.f.Condition(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
	if f := (Finding{Assumption: &rule, Worst: 1}); f.At() != "" || f.Stake() != 0 {
		t.Errorf("a rule is at %q, %v at stake", f.At(), f.Stake())
	}
	if got := rows.Range(); got != "0 to 3 rows are reserved" {
		t.Error(got)
	}
}

// Whoever watches hears of each assumption once, and of none first.
func TestProgressIsCounted(t *testing.T) {
	p := alikeNets(3, compile.V15_0)
	var heard []int
	list := allAssumptions(p)
	mustStability(t, p, mustSolve(t, p), Options{Progress: func(done, of int) {
		if of != len(list) {
			t.Errorf("%d of %d, want of %d", done, of, len(list))
		}
		heard = append(heard, done)
	}}, list...)
	if len(heard) != len(list)+1 || heard[0] != 0 || !slices.IsSorted(heard) || heard[len(list)] != len(list) {
		t.Errorf("heard %v of %d", heard, len(list))
	}
}
