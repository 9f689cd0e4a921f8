package planner

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/internal/nets"
)

// cutFamilies are families of few models, the calls independent, the release 16.0.
func cutFamilies() []family {
	list := families()
	list = slices.DeleteFunc(list, func(f family) bool { return f.name == "tiles matter" }) // of older releases
	return append(list, family{"crowded tiles", 0, func(rng *rand.Rand, n int, v compile.Version) *Problem {
		// what is left is on several tiles, too little on each for the next group
		p := bare(rng, n, 2, v, 1500+rng.IntN(500))
		for m := range p.Models {
			l := &p.Models[m].Load
			for range 1 + rng.IntN(3) {
				l.Parts = append(l.Parts, partitioned(1+rng.IntN(12), 20+rng.IntN(400)))
			}
			for range rng.IntN(6) {
				l.Parts = append(l.Parts, rows(1+rng.IntN(900)))
			}
		}
		return season(rng, p)
	}, nil}, family{"small parts", 0, func(rng *rand.Rand, n int, v compile.Version) *Problem {
		// just what the pool holds, in pieces smaller than a unit of the knapsack
		p := bare(rng, n, 2, v, compile.TileRows-1-rng.IntN(24))
		for m := range p.Models {
			for range 1 + rng.IntN(8) {
				p.Models[m].Load.Parts = append(p.Models[m].Load.Parts, rows(1+rng.IntN(40)))
			}
		}
		return season(rng, p)
	}, nil})
}

func drawCut(rng *rand.Rand, f *family, i int) *Problem {
	var p *Problem
	if f.instance != nil {
		p = f.instance(rng, i)
	} else {
		p = f.draw(rng, 2+rng.IntN(3), compile.V16_0)
	}
	p.Process = nil
	if rng.IntN(4) == 0 { // some are never called
		p.Models[rng.IntN(len(p.Models)-1)].Share = 0
		normalize(p)
	}
	if rng.IntN(3) == 0 {
		for i := range p.Models {
			m := &p.Models[i]
			for k := range m.Load.Parts {
				m.StreamMS = append(m.StreamMS, 2*rng.Float64()*float64(m.Load.Parts[k].Bytes)/m.Call.BytesPerMS)
			}
		}
	}
	return p
}

// savings is what each set saves against caching nothing, in its best order, pins or not.
func savings(f *field) []float64 {
	list := make([]float64, 1<<f.n)
	for g := set(1); g < 1<<f.n; g++ {
		all := 0.0
		for _, m := range members(g) {
			p := &f.prices[m]
			all += p.cost(0, p.streamAll, 0)
		}
		list[g] = math.Inf(-1)
		eachOrder(members(g), func(order []int) { list[g] = max(list[g], all-f.groupCost(order)) })
	}
	return list
}

// mostSaved is what the best partition saves.
func mostSaved(saves []float64) float64 {
	best := make([]float64, len(saves))
	for rest := 1; rest < len(saves); rest++ {
		best[rest] = math.Inf(-1)
		for sub := rest; sub > 0; sub = (sub - 1) & rest {
			best[rest] = max(best[rest], saves[sub]+best[rest&^sub])
		}
	}
	return best[len(saves)-1]
}

// No plan is below the bound, no group saves more than its members' prices.
func TestCutBound(t *testing.T) {
	for _, family := range append(cutFamilies(), builtFamily(t)) {
		t.Run(family.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(7, 8))
			for i := range fewer(60) {
				f := newField(drawCut(rng, &family, i))
				c := f.newCutter()
				saves := savings(f)
				if b, v := f.cutBound(), c.total-mostSaved(saves); b > v && !closeTo(b, v) {
					t.Fatalf("instance %d, %d models: bound %v, a plan costs %v", i, f.n, b, v)
				}
				y := c.prices(c.total / 2)
				for g := 1; g < len(saves); g++ {
					sum := 0.0
					for m := range c.models {
						if set(g).Has(c.models[m].number) {
							sum += y[m]
						}
					}
					if saves[g] > sum+1e-9*c.total {
						t.Fatalf("instance %d: group %b saves %v, its members' prices are %v", i, g, saves[g], sum)
					}
				}
			}
		})
	}
}

// What is said of a bucket and a cut holds for every group, with any multipliers.
func TestCutGroups(t *testing.T) {
	for _, family := range append(cutFamilies(), builtFamily(t)) {
		t.Run(family.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(9, 10))
			for i := range fewer(100) {
				f := newField(drawCut(rng, &family, i))
				if f.compiled != 0 {
					continue
				}
				c := f.newCutter()
				saves := savings(f)
				least := c.least()
				for g := set(1); g < 1<<f.n; g++ {
					if f.known[g] != nil {
						continue
					}
					if what := c.checkGroup(rng, f, g, saves[g], least); what != "" {
						t.Fatalf("instance %d, %d models: group %b that saves %v: %s", i, f.n, g, saves[g], what)
					}
				}
			}
		})
	}
}

// checkGroup compares what a group saves with the bounds of a bucket that holds it alone.
func (c *cutter) checkGroup(rng *rand.Rand, f *field, g set, saved float64, least []float64) string {
	y := make([]float64, len(c.models))
	q, small, all := 0.0, 0.0, saved
	for m := range c.models {
		y[m] = 4 * c.total
		if x := &c.models[m]; g.Has(x.number) {
			y[m] = 2 * c.total * x.p.share * (rng.Float64() - 0.5)
			saved -= y[m]
			q += x.p.share
			small += least[m]
		}
	}
	if q == 0 {
		return ""
	}
	slack := 1e-9 * c.total
	if q <= c.low && all > small+slack {
		return fmt.Sprintf("the least prices are %v", small)
	}
	b := c.bucket(q*(1-0.2*rng.Float64()), q*(1+0.2*rng.Float64()))
	if rng.IntN(2) == 0 {
		for m := range c.models {
			b.must[m] = g.Has(c.models[m].number)
		}
	}
	scale := max(b.density, 1e-9)
	relaxed, packed := math.Inf(-1), math.Inf(-1)
	for k := range c.cuts {
		ofRelaxed, ofPacked := math.Inf(1), math.Inf(1)
		for range 8 {
			tail := scale * math.Pow(10, -3*rng.Float64())
			x := multipliers{tail * (2*rng.Float64() - 1), tail, c.total * (rng.Float64() - 0.5)}
			list := c.options(&b, k, c.late(&b, tail))
			ofRelaxed = min(ofRelaxed, c.relaxed(&b, k, list, x, y))
			v, _ := c.packed(&b, k, list, x, y)
			ofPacked = min(ofPacked, v)
		}
		relaxed, packed = max(relaxed, ofRelaxed), max(packed, ofPacked)
	}
	if saved > relaxed+slack || saved > packed+slack {
		return fmt.Sprintf("beyond prices %v, bounds %v in fractions, %v with whole models", saved, relaxed, packed)
	}
	return ""
}

// Where one op is larger than the pool and one behind it fits, the bound of the
// cut is what the group saves: a load has a fixed part, unless nothing is loaded.
func TestCutLoads(t *testing.T) {
	for _, test := range []struct {
		name  string
		small compile.Part
	}{{"bytes", rows(900)}, {"no bytes", compile.Part{Rows: 10, Class: 1}}} {
		p := bare(rand.New(rand.NewPCG(1, 2)), 2, 0, compile.V16_0, 49)
		a := &p.Models[0]
		a.Load.Parts = []compile.Part{rows(40_000), test.small}
		a.StreamMS = []float64{100, 7}
		f := newField(p)
		c := f.newCutter()
		m := slices.IndexFunc(c.models, func(x cutModel) bool { return f.at[x.number] == 0 })
		saved := savings(f)[1<<c.models[m].number]
		y := []float64{c.total, c.total}
		y[m] = 0
		b := c.bucket(0.5, 0.5)
		x := multipliers{0, 1e-9, 0}
		bound, _ := c.packed(&b, 0, c.options(&b, 0, c.late(&b, x.tail)), x, y)
		if saved <= 0 || bound < saved || bound > saved+1e-4 {
			t.Errorf("%s: bound %v, the group saves %v", test.name, bound, saved)
		}
	}
}

// The bound is near the best plan of real nets, nearer than what residency says. It
// is farther where last layers of one width and different numbers of classes have one rank: any of
// them may be the one without room.
func TestCutBoundIsNear(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	var near []float64
	for range fewer(20) {
		p := ofNets(t, rng, nets.Built(), 10, compile.V16_0)
		f := newField(p)
		plan, err := Solve(context.Background(), p, Options{})
		if err != nil {
			t.Fatal(err)
		}
		near = append(near, f.cutBound()/plan.Value)
		if near[len(near)-1] > 1+1e-9 {
			t.Fatalf("the bound is %v times a plan", near[len(near)-1])
		}
	}
	slices.Sort(near)
	t.Logf("bound / optimum: least %.4f, median %.4f", near[0], near[len(near)/2])
	if near[0] < 0.68 || near[len(near)/2] < 0.96 {
		t.Errorf("bound / optimum: least %.4f, median %.4f", near[0], near[len(near)/2])
	}
}

// Listing the models otherwise changes no bit.
func TestCutBoundIsBlindToListing(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for range 5 {
		p := ofNets(t, rng, nets.Built(), 12, compile.V16_0)
		q := *p
		q.Models = nil
		for _, at := range rng.Perm(len(p.Models)) {
			q.Models = append(q.Models, p.Models[at])
		}
		if a, b := newField(p).cutBound(), newField(&q).cutBound(); a != b {
			t.Errorf("%v, listed otherwise %v", a, b)
		}
	}
}
