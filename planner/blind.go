package planner

import (
	"math"
	"math/bits"

	"github.com/tpuplan/tpuplan/compile"
)

// blind bounds the cost of the models that are still to come in an order of a
// sequential compiler by forgetting which tile holds what. Ordinary ops depend
// on the number of free rows alone. A partitioned op needs room on single
// tiles; where free rows do not guarantee that, it is bounded by both outcomes. What is left
// depends on the models to come and the free rows only, so that the best
// order of this easier problem is found by dynamic programming; the real
// compiler's decisions are among its outcomes.
type blind struct {
	*orders
	known map[blindState]float64
}

type blindState struct {
	rest set // of which some part has few enough rows
	free int
}

// outcome is what placing a model may come to.
type outcome struct {
	cached    int64
	streaming float64
	free      int
}

// Limits of the table; beyond them the fractional bound is used.
const (
	maxBlindStates   = 1 << 16
	maxBlindOutcomes = 64 // of one model
)

// least bounds the cost of the models of rest when free rows are left. Models
// none of whose parts has few enough rows stream all, whenever they come.
func (b *blind) least(rest set, free int) float64 {
	full := 0.0
	for s := rest; s != 0; s &= s - 1 {
		if m := bits.TrailingZeros64(uint64(s)); b.smallest[m] > free {
			full += b.relaxed.full[m]
			rest &^= 1 << m
		}
	}
	if rest == 0 {
		return full
	}
	key := blindState{rest, free}
	if v, ok := b.known[key]; ok {
		return full + v
	}
	if len(b.known) >= maxBlindStates {
		return full + b.relaxed.bound(rest, free)
	}
	b.f.nodes++
	best := math.Inf(1)
	for s := rest; s != 0; s &= s - 1 {
		m := bits.TrailingZeros64(uint64(s))
		if !b.f.mayCome(m, rest) {
			continue
		}
		found := b.f.outcomes(m, free)
		if found == nil {
			best = min(best, b.relaxed.bound(rest, free))
		}
		for _, x := range found {
			best = min(best, b.f.prices[m].cost(x.cached, x.streaming, b.miss[m])+b.least(rest&^(1<<m), x.free))
		}
	}
	b.known[key] = best
	return full + best
}

// placements remembers the outcomes of one model by the rows that are free before it.
type placements struct {
	at   []int32 // 1 + where the outcomes begin in list, 0: not known yet
	list [][]outcome
}

// outcomes are what placing a model may come to when so many rows are free;
// nil if there are too many.
func (f *field) outcomes(m, free int) []outcome {
	p := &f.placed[m]
	if p.at == nil {
		p.at = make([]int32, compile.PoolRows(-maxSmallRows)+1)
	}
	if p.at[free] == 0 {
		var found []outcome
		if !f.place(&found, f.sorted[m].Parts(), f.sortedStream[m], outcome{free: free}) {
			found = nil
		}
		p.list = append(p.list, found)
		p.at[free] = int32(len(p.list))
	}
	return p.list[p.at[free]-1]
}

// place appends what placing parts in their order after what x holds may come
// to. It reports false if there are too many.
func (f *field) place(found *[]outcome, parts []compile.Part, stream []float64, x outcome) bool {
	for i := range parts {
		part := &parts[i]
		rows := partRows(part)
		if rows > x.free {
			x.streaming += stream[i]
			continue
		}
		if part.Groups > 0 && !f.sureToFit(part, x.free) {
			without := x
			without.streaming += stream[i]
			if !f.place(found, parts[i+1:], stream[i+1:], without) {
				return false
			}
		}
		x.cached += part.Bytes
		x.free -= rows
	}
	*found = append(*found, x)
	return len(*found) <= maxBlindOutcomes
}

// sureToFit reports whether a partitioned op finds room wherever the free rows
// lie: some tile has a sixteenth of them, before its last group too. In 1.0 each group has its tile.
func (f *field) sureToFit(part *compile.Part, free int) bool {
	beforeLast := free - (part.Groups-1)*part.GroupRows
	return f.problem.Version != compile.V1_0 && beforeLast >= compile.Tiles*part.GroupRows
}
