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
	found []outcome
}

type blindState struct {
	rest set
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

// least bounds the cost of the models of rest when free rows are left.
func (b *blind) least(rest set, free int) float64 {
	if rest == 0 {
		return 0
	}
	key := blindState{rest, free}
	if v, ok := b.known[key]; ok {
		return v
	}
	if len(b.known) >= maxBlindStates {
		return b.relaxed.bound(rest, free)
	}
	best := math.Inf(1)
	for s := rest; s != 0; s &= s - 1 {
		m := bits.TrailingZeros64(uint64(s))
		if !b.f.mayCome(m, rest) {
			continue
		}
		first := len(b.found)
		complete := b.outcomes(b.f.sorted[m].Parts(), b.f.sortedStream[m], outcome{free: free}, first)
		last := len(b.found)
		if !complete {
			b.found = b.found[:first]
			best = min(best, b.relaxed.bound(rest, free))
			continue
		}
		for i := first; i < last; i++ {
			x := b.found[i]
			best = min(best, b.f.prices[m].cost(x.cached, x.streaming, b.miss[m])+b.least(rest&^(1<<m), x.free))
		}
		b.found = b.found[:first]
	}
	b.known[key] = best
	return best
}

// outcomes appends what placing parts in their order after what x holds may
// come to. It reports false if there are too many.
func (b *blind) outcomes(parts []compile.Part, stream []float64, x outcome, first int) bool {
	for i := range parts {
		part := &parts[i]
		rows := partRows(part)
		if rows > x.free {
			x.streaming += stream[i]
			continue
		}
		if part.Groups > 0 && !b.sureToFit(part, x.free) {
			without := x
			without.streaming += stream[i]
			if !b.outcomes(parts[i+1:], stream[i+1:], without, first) {
				return false
			}
		}
		x.cached += part.Bytes
		x.free -= rows
	}
	b.found = append(b.found, x)
	return len(b.found)-first <= maxBlindOutcomes
}

// sureToFit reports whether a partitioned op finds room wherever the free rows
// lie: some tile has a sixteenth of them, before its last group too. In 1.0 each group has its tile.
func (b *blind) sureToFit(part *compile.Part, free int) bool {
	beforeLast := free - (part.Groups-1)*part.GroupRows
	return b.f.problem.Version != compile.V1_0 && beforeLast >= compile.Tiles*part.GroupRows
}
