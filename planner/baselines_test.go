package planner

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tpuplan/tpuplan/compile"
)

// Evaluating a baseline's groups gives the value that every plan is compared
// with, wherever it violates no pin.
func TestBaselineGroups(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	evaluated := 0
	for i := range 200 {
		p := randomProblem(rng, 1+rng.IntN(5), compile.Versions()[i%len(compile.Versions())])
		plan, err := Evaluate(p, separately(p))
		if err != nil {
			continue // a pin wants them together
		}
		for _, b := range plan.Baselines {
			groups, err := BaselineGroups(p, b.Name)
			if err != nil {
				t.Fatal(err)
			}
			own, err := Evaluate(p, groups)
			if (err == nil) != b.Feasible {
				t.Fatalf("%s: feasible %v, evaluating it: %v", b.Name, b.Feasible, err)
			}
			if err != nil {
				continue
			}
			evaluated++
			if !closeTo(own.Value, b.Value) {
				t.Errorf("%s: %v, evaluated %v", b.Name, b.Value, own.Value)
			}
			if again := own.Groups(); !sameGroups(again, groups) {
				t.Errorf("%s: groups %v come back as %v", b.Name, groups, again)
			}
			mean := 0.0
			for m := range p.Models {
				mean += p.Models[m].Share * own.Models[m].ExpectedMS
			}
			if !closeTo(p.MeanMS(own), mean) || p.Objective == Time && !closeTo(p.MeanMS(own), own.Value) {
				t.Errorf("%s: a call takes %v ms, summed up %v, value %v", b.Name, p.MeanMS(own), mean, own.Value)
			}
		}
	}
	if evaluated < 200 {
		t.Errorf("only %d baselines were evaluated", evaluated)
	}
	p := randomProblem(rng, 2, compile.V16_0)
	if _, err := BaselineGroups(p, "by-name"); err == nil {
		t.Error("an unknown baseline has groups")
	}
	p.Models[0].Share = 2
	if _, err := BaselineGroups(p, Separate); err == nil {
		t.Error("an invalid problem has baselines")
	}
}

func separately(p *Problem) [][]int {
	var groups [][]int
	for i := range p.Models {
		groups = append(groups, []int{i})
	}
	return groups
}

// sameGroups compares groups whatever their order among each other.
func sameGroups(a, b [][]int) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(g []int) bool {
		return !slices.ContainsFunc(b, func(h []int) bool { return slices.Equal(g, h) })
	})
}
