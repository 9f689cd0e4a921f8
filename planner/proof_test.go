package planner

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tpuplan/tpuplan/compile"
)

// fewer scales a number of instances: the race detector takes ten times as
// long, and -short wants a sample.
func fewer(all int) int {
	if detectingRaces || testing.Short() {
		return (all + 9) / 10
	}
	return all
}

// proof counts what a family's plans came to.
type proof struct {
	wrong int
	tied  int     // plans that ties leave open
	open  float64 // the most of a value that they do
	early int     // plans that are not called optimal
}

// wrongf tells of the first few instances that are wrong.
func (x *proof) wrongf(t *testing.T, format string, args ...any) {
	t.Helper()
	if x.wrong++; x.wrong <= 3 {
		t.Errorf(format, args...)
	}
}

// check solves an instance of few enough models to be planned exactly and compares
// its plan with the value that no plan is below (exact), or that some plan has.
func (x *proof) check(t *testing.T, i int, p *Problem, least float64, exact bool) {
	t.Helper()
	plan, err := Solve(context.Background(), p, Options{})
	if err != nil {
		t.Fatalf("instance %d: %v", i, err)
	}
	c := &plan.Certificate
	if err := Verify(p, plan); err != nil {
		x.wrongf(t, "instance %d (%s, %d models): %v", i, p.Version, len(p.Models), err)
		return
	}
	tell := func(what string) {
		t.Helper()
		x.wrongf(t, "instance %d (%s, %d models): %s: value %v, brute force %v, %+v", i, p.Version, len(p.Models), what, plan.Value, least, *c)
	}
	const rounding = 1e-9
	above := func(a, b float64) bool { return a > b && !closeTo(a, b) }
	switch {
	case above(c.Bound, least):
		tell("the bound is above a plan")
	case exact && above(least, plan.Value):
		tell("the value is below every plan")
	case c.Status == Optimal && c.Gap > c.TiesAtMost+rounding && c.Gap >= Negligible:
		tell("optimal with a gap that no ties explain")
	case c.Status == Optimal && c.Gap == 0 && above(plan.Value, least):
		tell("optimal, and a plan is better")
	case c.Status == Optimal && above(plan.Value*(1-max(c.TiesAtMost, Negligible)), least):
		tell("a plan is better by more than ties leave open")
	case c.TiesAtMost < 0 || c.TiesAtMost > c.Gap+rounding || p.Version.Sequential() && c.TiesAtMost > 0:
		tell("ties leave open what they cannot")
	case c.Status != Optimal:
		x.early++
		tell("not solved, with few models and no limit")
	}
	if c.TiesAtMost > 0 {
		x.tied++
		x.open = max(x.open, c.TiesAtMost)
	}
}

// checkMany does it as if there were too many models: the bound holds all the same.
func (x *proof) checkMany(t *testing.T, i int, p *Problem, least float64) {
	t.Helper()
	plan, err := Solve(context.Background(), p, Options{MaxExact: 1})
	if err != nil {
		t.Fatalf("instance %d: %v", i, err)
	}
	if err := Verify(p, plan); err != nil {
		x.wrongf(t, "instance %d (%s, %d models), many: %v", i, p.Version, len(p.Models), err)
	}
	for _, test := range []struct{ low, high float64 }{{plan.Certificate.Bound, least}, {least, plan.Value}} {
		if test.low > test.high && !closeTo(test.low, test.high) {
			x.wrongf(t, "instance %d (%s, %d models), many: value %v, brute force %v, %+v", i, p.Version, len(p.Models), plan.Value, least, plan.Certificate)
			return
		}
	}
}

func (x *proof) log(t *testing.T, all int) {
	t.Helper()
	t.Logf("%d instances, %d wrong, %d not optimal, %d with ties left open, at most %.2g of the value", all, x.wrong, x.early, x.tied, x.open)
}

// No plan of up to six models that is called optimal is worse than it states,
// in any order and any partition, whatever makes it hard.
func TestProof(t *testing.T) {
	for _, f := range families() {
		t.Run(f.name, func(t *testing.T) { prove(t, f) })
	}
}

// The same with nets that exist.
func TestProofOfNets(t *testing.T) {
	t.Run("built nets", func(t *testing.T) { prove(t, builtFamily(t)) })
	t.Run("public nets", func(t *testing.T) { prove(t, publicFamily(t)) })
}

func prove(t *testing.T, f family) {
	rng := rand.New(rand.NewPCG(3, 4))
	var x proof
	all := fewer(f.all * 2 / 3)
	for i := range all {
		p := f.next(rng, i)
		least := bruteForce(p)
		x.check(t, i, p, least, true)
		if i%3 == 0 {
			x.checkMany(t, i, p, least)
		}
	}
	x.log(t, all)
}

// In 16.0 the set of a group decides but for ties: seven and eight models
// against the best partition of sets, each in one order.
func TestProofOfSets(t *testing.T) {
	for _, f := range append(families(), builtFamily(t)) {
		if f.draw != nil {
			t.Run(f.name, func(t *testing.T) { proveSets(t, f) })
		}
	}
	t.Run("public nets", func(t *testing.T) { proveSets(t, publicFamily(t)) })
}

func proveSets(t *testing.T, f family) {
	rng := rand.New(rand.NewPCG(5, 6))
	var x proof
	all := fewer(60)
	for i := range all {
		p := f.draw(rng, 7+i%2, compile.V16_0)
		x.check(t, i, p, bruteSets(p), false)
	}
	x.log(t, all)
}

// The bounds for many models are below every plan of a few, one by one: the
// certificate shows no more than the best of them, and never above the plan.
func TestBoundsOfManyModels(t *testing.T) {
	list := append(families(), builtFamily(t))
	for _, family := range list {
		rng := rand.New(rand.NewPCG(9, 10))
		for i := range fewer(300) {
			p := family.next(rng, i)
			least, f := bruteForce(p), newField(p)
			if math.IsInf(least, 1) {
				continue
			}
			if b := f.apartBound(); b > least*(1+1e-9) {
				t.Errorf("%s, instance %d (%s): bound %v with every model at its best place, brute force finds %v", family.name, i, p.Version, b, least)
			}
			if p.Process != nil {
				continue
			}
			if b := f.residencyBound(); b > least*(1+1e-9) {
				t.Errorf("%s, instance %d (%s): bound %v by residency, brute force finds %v", family.name, i, p.Version, b, least)
			}
		}
	}
}

// The bound of every group is below the cost of every order of it, pins or not.
func TestBoundsOfGroups(t *testing.T) {
	for _, family := range families() {
		rng := rand.New(rand.NewPCG(11, 12))
		for i := range fewer(200) {
			p := family.next(rng, i)
			if len(p.Models) > 5 {
				continue
			}
			s := newSearch(context.Background(), newField(p), Options{})
			for g := set(1); g <= s.f.all; g++ {
				least := math.Inf(1)
				eachOrder(members(g), func(order []int) { least = min(least, s.f.groupCost(order)) })
				// what all of it would cost streamed is where the bound starts from, and where it is rounded
				if b := s.boundGroup(g).lower; b > least*(1+1e-9)+margin(s.f.streamed()) {
					t.Fatalf("%s, instance %d (%s), group %b: bound %v, the best order costs %v", family.name, i, p.Version, g, b, least)
				}
			}
		}
	}
}

// Copies of one file share what is open too: together they may have cached
// more than there was room for. It takes many instances to see one where that decides.
func TestCopiesShareWhatIsOpen(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for i := range fewer(24_000) {
		p := copiesBehindMixedForms(rng, i)
		s := newSearch(context.Background(), newField(p), Options{})
		for g := set(1); g <= s.f.all; g++ {
			b := s.boundGroup(g).lower
			copied := func(op int32) bool { return (s.f.copies[s.f.ops[op].model] & g).Len() > 1 }
			if g.Len() > 3 || !slices.ContainsFunc(s.f.outlook.Open, copied) {
				continue
			}
			least := math.Inf(1)
			eachOrder(members(g), func(order []int) { least = min(least, s.f.groupCost(order)) })
			if b > least*(1+1e-9)+margin(s.f.streamed()) {
				t.Fatalf("instance %d, group %b: bound %v, the best order costs %v", i, g, b, least)
			}
		}
	}
}
