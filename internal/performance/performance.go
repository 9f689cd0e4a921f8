// Package performance measures the search on committed instances and writes
// the tables of docs/performance.md: what a plan takes, how good it is known to be,
// and where planning pays. Instances are drawn from seeds, so they are the same everywhere.
package performance

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/timing"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/internal/nets"
	"github.com/tpuplan/tpuplan/planner"
)

// Releases of the tables: one that places model after model, one that sorts all ops.
var Releases = []compile.Version{compile.V15_0, compile.V16_0}

// Instances are how many a row has.
const Instances = 10

// Case is a row: instances of one kind.
type Case struct {
	Kind    string // of the hard families, "" for built nets
	Models  int
	Release compile.Version
}

// Sizes are the rows of built nets.
func Sizes() []Case {
	var list []Case
	for _, n := range []int{4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 24, 32, 48, 64} {
		for _, v := range Releases {
			list = append(list, Case{"", n, v})
		}
	}
	return list
}

// Kinds of hard instances.
const (
	EqualSizes = "equal sizes"
	EqualRates = "equal rates"
	Decades    = "rates over twelve decades"
	Giant      = "one giant, many tiny"
)

// Hard are the rows of what is hard.
func Hard() []Case {
	var list []Case
	for _, kind := range []string{EqualSizes, EqualRates, Decades, Giant} {
		for _, n := range []int{12, 16} {
			for _, v := range Releases {
				list = append(list, Case{kind, n, v})
			}
		}
	}
	return list
}

// links a workload is drawn with; one for all its models.
var links = []string{"usb3", "pcie", "usb2"}

// Draw is instance i of a row.
func (c Case) Draw(i int) (*planner.Problem, error) {
	seed := uint64(c.Models)
	for _, r := range c.Kind {
		seed = seed*31 + uint64(r)
	}
	rng := rand.New(rand.NewPCG(seed, uint64(i)))
	decades, chosen := 3.0, pick(rng, nets.Built(), c.Models)
	switch c.Kind {
	case EqualRates:
		decades = 0
	case Decades:
		decades = 12
	case Giant:
		built := nets.Built()
		// the last of the catalogue are larger than a chip
		chosen = append([]*nets.Net{built[len(built)-1-rng.IntN(2)]}, pick(rng, nets.Tiny(), c.Models-1)...)
	}
	p, err := workload(rng, chosen, decades, c.Release)
	if err == nil && c.Kind == EqualSizes {
		for m := range p.Models[1:] {
			content := p.Models[m+1].Load.Content
			p.Models[m+1].Load, p.Models[m+1].StreamMS, p.Models[m+1].Reserved = p.Models[0].Load, p.Models[0].StreamMS, p.Models[0].Reserved
			p.Models[m+1].Load.Content = content // as large, but another net
		}
	}
	return p, err
}

func pick(rng *rand.Rand, list []*nets.Net, n int) []*nets.Net {
	var chosen []*nets.Net
	for _, at := range rng.Perm(len(list))[:n] {
		chosen = append(chosen, list[at])
	}
	return chosen
}

// workload calls nets at rates that are spread evenly over decades.
func workload(rng *rand.Rand, list []*nets.Net, decades float64, v compile.Version) (*planner.Problem, error) {
	link, err := cost.BuiltinLink(links[rng.IntN(len(links))])
	if err != nil {
		return nil, err
	}
	p := &planner.Problem{Version: v, Devices: []planner.Device{{Name: "tpu0"}}}
	total := 0.0
	for _, n := range list {
		size, err := n.Size(v)
		if err != nil {
			return nil, err
		}
		rate := math.Pow(10, decades*rng.Float64())
		total += rate
		m := planner.Model{Name: n.Name, Share: rate, Load: size.Load, Reserved: size.Reserved}
		m.Call, m.StreamMS = size.Timing(link).Cost(timing.Vary{})
		p.Models = append(p.Models, m)
	}
	for i := range p.Models {
		p.Models[i].Share /= total
	}
	return p, nil
}

// Result is what one search took and found.
type Result struct {
	Nodes     int64
	Gap, Ties float64
	Optimal   bool
	Spent     // differs from run to run
}

// Spent is what a search takes of the machine.
type Spent struct {
	Milliseconds float64 // of processor time, all threads and the collector's
	Heap         uint64  // bytes, at most at a time, garbage that was not yet collected included
}

// Solve plans an instance with one worker and checks the plan.
func Solve(p *planner.Problem) (Result, error) {
	var plan *planner.Plan
	var err error
	spent := measure(func() {
		plan, err = planner.Solve(context.Background(), p, planner.Options{Workers: 1})
	})
	if err == nil {
		err = planner.Verify(p, plan)
	}
	if err != nil {
		return Result{}, err
	}
	c := &plan.Certificate
	return Result{c.Nodes, c.Gap, c.TiesAtMost, c.Status == planner.Optimal, spent}, nil
}

// Measure solves the instances of a row.
func (c Case) Measure() ([]Result, error) {
	var list []Result
	for i := range Instances {
		p, err := c.Draw(i)
		if err != nil {
			return nil, err
		}
		r, err := Solve(p)
		if err != nil {
			return nil, fmt.Errorf("%d models, %s, instance %d: %w", c.Models, c.Release, i, err)
		}
		list = append(list, r)
	}
	return list, nil
}

// Workloads are how many are drawn to see where planning pays.
const Workloads = 200

// Gains is what plans save against the best baseline.
type Gains struct {
	Factors []float64   // best baseline by plan, ascending
	Groups  map[int]int // plans by their number of groups
}

// Pays plans workloads of three to eight nets.
func Pays(list []*nets.Net, v compile.Version) (*Gains, error) {
	g := &Gains{Groups: map[int]int{}}
	for i := range Workloads {
		rng := rand.New(rand.NewPCG(uint64(len(list)), uint64(i)))
		p, err := workload(rng, pick(rng, list, 3+rng.IntN(6)), 3, v)
		if err != nil {
			return nil, err
		}
		plan, err := planner.Solve(context.Background(), p, planner.Options{})
		if err != nil {
			return nil, err
		}
		if err := planner.Verify(p, plan); err != nil {
			return nil, fmt.Errorf("workload %d, %s: %w", i, v, err)
		}
		best := math.Inf(1)
		for _, b := range plan.Baselines {
			if b.Feasible {
				best = min(best, b.Value)
			}
		}
		factor := 1.0
		if plan.Value > 0 {
			factor = best / plan.Value
		}
		g.Factors = append(g.Factors, factor)
		g.Groups[len(plan.Groups())]++
	}
	slices.Sort(g.Factors)
	return g, nil
}
