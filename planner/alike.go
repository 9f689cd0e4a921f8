package planner

import (
	"math/bits"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
)

// findAlike finds the models that nothing but their names tells apart: the
// same ops, reserve, costs and share of the calls, no pin of their own. A group with
// the one costs what the same group with the other costs, so that it is
// enough to look at groups that hold the first of them. A process of the
// user's own may tell them apart, and so may a result that is known.
func (f *field) findAlike() {
	f.kin = make([]set, f.n)
	var told set // in known results
	for g := range f.known {
		told |= g
	}
	var ordered set
	for m := range f.n {
		if f.earlier[m] != 0 {
			ordered = ordered.With(m) | f.earlier[m]
		}
	}
	own := told | ordered | f.compiled
	for m := range f.n {
		f.kin[m] = set(0).With(m)
		if f.problem.Process != nil || own.Has(m) {
			continue
		}
		for o := range m {
			if !own.Has(o) && f.sameModel(o, m) {
				f.kin[m] |= f.kin[o]
				break
			}
		}
		for s := f.kin[m]; s != 0; s &= s - 1 {
			f.kin[bits.TrailingZeros64(uint64(s))] = f.kin[m]
		}
	}
}

func (f *field) sameModel(a, b int) bool {
	x, y := f.model(a), f.model(b)
	copies := f.copies[a] == f.copies[b] || f.copies[a].Len() == 1 && f.copies[b].Len() == 1
	return copies && x.Share == y.Share && x.Reserved == y.Reserved && x.Call == y.Call && x.Group == y.Group &&
		slices.Equal(x.StreamMS, y.StreamMS) && x.Load.Streamed == y.Load.Streamed &&
		slices.EqualFunc(x.Load.Parts, y.Load.Parts, func(a, b compile.Part) bool {
			return a.Bytes == b.Bytes && a.Rows == b.Rows && a.Class == b.Class && a.Passes == b.Passes && a.Groups == b.Groups && a.GroupRows == b.GroupRows
		})
}

// first is the group that costs the same and holds, of models that are alike,
// the first ones of those within.
func (f *field) first(group, within set) set {
	var out set
	for s := group; s != 0; {
		kin := f.kin[bits.TrailingZeros64(uint64(s))]
		from := kin & within
		for range (kin & group).Len() {
			out |= from & -from
			from &= from - 1
		}
		s &^= kin
	}
	return out
}

// renamed is an order of a group in which each model stands where the one that
// is alike stands in an order of first(group).
func (f *field) renamed(order []int, group set) []int {
	out := make([]int, len(order))
	from := setOf(order)
	for i, m := range order {
		rank := (from & f.kin[m] & (1<<m - 1)).Len()
		to := group & f.kin[m]
		for range rank {
			to &= to - 1
		}
		out[i] = bits.TrailingZeros64(uint64(to))
	}
	return out
}
