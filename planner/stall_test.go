package planner

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tpuplan/tpuplan/compile"
)

// Where streamed convolutions take up to eight times their transfer, the
// search still finds what brute force finds, and no bound of a group exceeds its best order.
func TestSearchWithStalls(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	for i := range 400 {
		v := []compile.Version{compile.V1_0, compile.V15_0, compile.V16_0}[i%3]
		p := randomProblem(rng, 2+rng.IntN(3), v)
		p.Objective = Time
		for m := range p.Models {
			p.Models[m].stall([]float64{0, 3, 7}[rng.IntN(3)])
			p.Models[m].Group = "one"
			p.Models[m].Before = nil
		}
		f := newField(p)
		s := newSearch(context.Background(), f, Options{})
		for g := set(1); g <= f.all; g++ {
			want := math.Inf(1)
			list := members(g)
			eachOrder(list, func(order []int) { want = min(want, f.groupCost(order)) })
			if lower := s.boundGroup(g).lower; lower > want+1e-9*want {
				t.Fatalf("instance %d, group %b: bound %v, the best order costs %v", i, g, lower, want)
			}
			if v.Sequential() {
				reserved := f.reserved(g)
				o := &orders{search: s, group: g, miss: f.misses(g), relaxed: f.relax(g, reserved, f.misses(g), make([]float64, f.n), make([]float64, f.n)), smallest: make([]int, f.n)}
				o.relaxed.sort()
				b := &blind{orders: o, known: map[blindState]float64{}}
				if lower := b.least(g, compile.PoolRows(reserved)); lower > want+1e-9*want {
					t.Fatalf("instance %d, group %b: bound without tiles %v, the best order costs %v", i, g, lower, want)
				}
			}
			if g != f.all {
				continue
			}
			plan, err := Solve(context.Background(), p, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if !closeTo(plan.Value, want) || !closeTo(plan.Value, bruteForce(p)) {
				t.Fatalf("instance %d: %v, want %v, brute force %v", i, plan.Value, want, bruteForce(p))
			}
			if err := Verify(p, plan); err != nil {
				t.Fatalf("instance %d: %v", i, err)
			}
		}
	}
}
