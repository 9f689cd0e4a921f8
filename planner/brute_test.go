package planner

import (
	"cmp"
	"math"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
)

// What a plan costs, by definition, and the best one by trying all. Nothing here is shared with the
// search, with bounds or with Verify: the split of an order comes from
// compile.Allocate, how often a call misses from the problem's process or the
// two lines below.

// extraMS is what streaming a part takes beyond its transfer; less than 0 where compute hides some of that.
func extraMS(m *Model, k int) float64 {
	part := &m.Load.Parts[k]
	if m.StreamMS != nil {
		return m.StreamMS[k] - float64(part.Bytes)/m.Call.BytesPerMS
	}
	return 0
}

// untoldExtraMS is the same of a known result that does not tell its parts: as much as it can be.
func untoldExtraMS(m *Model, s *compile.Split) float64 {
	type piece struct{ bytes, extra float64 }
	var pieces []piece
	for k, part := range m.Load.Parts {
		if part.Bytes > 0 {
			pieces = append(pieces, piece{float64(part.Bytes), extraMS(m, k)})
		}
	}
	slices.SortFunc(pieces, func(a, b piece) int { return cmp.Compare(b.extra/b.bytes, a.extra/a.bytes) })
	total, left := 0.0, math.Max(0, float64(s.Streamed-m.Load.Streamed))
	for _, x := range pieces {
		part := math.Min(1, left/x.bytes)
		total += part * x.extra
		left -= part * x.bytes
	}
	return total
}

// bruteModel is what a model adds to the objective.
func bruteModel(p *Problem, at int, s *compile.Split, miss float64) float64 {
	m := &p.Models[at]
	if p.Objective == ByteHits {
		return m.Share * (float64(s.Streamed) + miss*float64(s.Cached))
	}
	ms := m.Call.FixedMS + float64(s.Streamed)/m.Call.BytesPerMS
	if len(s.InCache) == len(m.Load.Parts) {
		for k, cached := range s.InCache {
			if !cached {
				ms += extraMS(m, k)
			}
		}
	} else {
		ms += untoldExtraMS(m, s)
	}
	if s.Cached > 0 {
		ms += miss * (math.Max(0, (float64(s.Cached)+m.Call.LoadBytes)/m.Call.BytesPerMS-m.Call.OverlapMS) + m.Call.OverheadMS)
	}
	return m.Share * ms
}

// bruteMiss is how often a call of a model of group g finds its parameters gone.
func bruteMiss(p *Problem, at int, g uint) float64 {
	if p.Process != nil {
		return p.Process.Miss(at, (cost.Set(1)<<len(p.Models)-1)&^cost.Set(g))
	}
	q := 0.0
	for m := range p.Models {
		if g>>m&1 == 0 {
			q += p.Models[m].Share
		}
	}
	if q == 0 {
		return 0
	}
	return q / (q + p.Models[at].Share)
}

// bruteForce is the value of the best plan, of all ordered partitions.
func bruteForce(p *Problem) float64 { return brutePartition(p, eachOrder) }

// bruteSets is the value of the best partition when each group has one order,
// the first that the pins allow: no plan that is optimal may be above it.
func bruteSets(p *Problem) float64 {
	return brutePartition(p, func(list []int, visit func([]int)) {
		// a model comes as soon as none that must come before it is left
		var order []int
		for rest := slices.Clone(list); len(rest) > 0; {
			i := slices.IndexFunc(rest, func(m int) bool {
				return !slices.ContainsFunc(rest, func(o int) bool { return slices.Contains(p.Models[o].Before, m) })
			})
			order = append(order, rest[i])
			rest = slices.Delete(rest, i, i+1)
		}
		visit(order)
	})
}

func brutePartition(p *Problem, orders func([]int, func([]int))) float64 {
	n := len(p.Models)
	best := make([]float64, 1<<n) // of the models of a set
	costs := make([]float64, 1<<n)
	for g := uint(1); g < 1<<n; g++ {
		costs[g] = bruteGroup(p, g, orders)
	}
	for rest := uint(1); rest < 1<<n; rest++ {
		best[rest] = math.Inf(1)
		for sub := rest; sub > 0; sub = (sub - 1) & rest {
			best[rest] = math.Min(best[rest], costs[sub]+best[rest&^sub])
		}
	}
	return best[1<<n-1]
}

// bruteGroup is the least cost of a group, infinite if pins forbid it.
func bruteGroup(p *Problem, g uint, orders func([]int, func([]int))) float64 {
	var list []int
	label, reserved := "", -32
	for m := range p.Models {
		if g>>m&1 == 0 {
			continue
		}
		list = append(list, m)
		if p.Models[m].Compiled != p.Models[list[0]].Compiled {
			return math.Inf(1)
		}
		reserved = max(reserved, p.Models[m].Reserved)
		if l := p.Models[m].Group; l != "" {
			if label != "" && l != label {
				return math.Inf(1)
			}
			label = l
		}
	}
	for m := range p.Models {
		if label != "" && p.Models[m].Group == label && g>>m&1 == 0 {
			return math.Inf(1)
		}
	}
	miss := make([]float64, len(p.Models))
	for _, m := range list {
		miss[m] = bruteMiss(p, m, g)
	}
	best := math.Inf(1)
	orders(list, func(order []int) {
		for at, m := range order {
			for _, later := range p.Models[m].Before {
				if k := slices.Index(order, later); k >= 0 && k < at {
					return
				}
			}
		}
		total := 0.0
		for i, s := range bruteSplits(p, order, reserved) {
			total += bruteModel(p, order[i], &s, miss[order[i]])
		}
		best = math.Min(best, total)
	})
	return best
}

// bruteSplits is what an invocation gives: known for this order, or for any, or predicted.
func bruteSplits(p *Problem, order []int, reserved int) []compile.Split {
	for _, k := range p.Known {
		if slices.Equal(k.Models, order) {
			return k.Splits
		}
	}
	for _, k := range p.Known {
		if a, b := slices.Clone(k.Models), slices.Clone(order); k.AnyOrder {
			slices.Sort(a)
			slices.Sort(b)
			if !slices.Equal(a, b) {
				continue
			}
			var splits []compile.Split
			for _, m := range order {
				splits = append(splits, k.Splits[slices.Index(k.Models, m)])
			}
			return splits
		}
	}
	var loads []*compile.Load
	for _, m := range order {
		loads = append(loads, &p.Models[m].Load)
	}
	return compile.Allocate(p.Version, reserved, loads)
}

func eachOrder(list []int, visit func([]int)) {
	list = slices.Clone(list)
	var permute func(k int)
	permute = func(k int) {
		if k == len(list) {
			visit(list)
			return
		}
		for i := k; i < len(list); i++ {
			list[k], list[i] = list[i], list[k]
			permute(k + 1)
			list[k], list[i] = list[i], list[k]
		}
	}
	permute(0)
}

func closeTo(a, b float64) bool {
	return math.IsInf(a, 1) && math.IsInf(b, 1) || math.Abs(a-b) <= 1e-9*math.Max(1e-3, math.Abs(b))
}
