package planner

import (
	"slices"

	"github.com/tpuplan/tpuplan/compile"
)

// memory holds what invocations of the same loads come to, for problems that
// differ in other things: what a call costs, how many rows a model reserves. Models are
// numbered by name in all of them. A nil memory remembers nothing.
type memory struct {
	shares map[string][]compile.Share
	ties   map[tieKey]compile.TieInfo
	bounds map[tieKey]bound // only for problems with the same costs
	room   int              // for further entries
	key    []byte
}

type tieKey struct {
	group    set
	reserved int
}

// bound is a bound of a group and the nodes it took: what is remembered costs
// as much of the budget, so that no answer depends on what happens to be known.
type bound struct {
	value float64
	nodes int64
}

// maxRemembered bounds the shares and ranges of models in a memory, some 50 MB.
const maxRemembered = 1 << 20

func newMemory() *memory {
	return &memory{shares: map[string][]compile.Share{}, ties: map[tieKey]compile.TieInfo{}, bounds: map[tieKey]bound{}, room: maxRemembered}
}

// sharesOf is what place gives for an order; the result must not be changed.
func (r *memory) sharesOf(reserved int, order []int, place func(int, []int) []compile.Share) []compile.Share {
	if r == nil {
		return place(reserved, order)
	}
	r.key = append(r.key[:0], byte(reserved), byte(reserved>>8))
	for _, m := range order {
		r.key = append(r.key, byte(m))
	}
	if s, ok := r.shares[string(r.key)]; ok {
		return s
	}
	s := place(reserved, order)
	if r.room -= len(order); r.room > 0 {
		s = slices.Clone(s)
		r.shares[string(r.key)] = s
	}
	return s
}

// tieInfo is what find gives for a group; the result must not be changed.
func (r *memory) tieInfo(reserved int, group set, find func() compile.TieInfo) compile.TieInfo {
	if r == nil {
		return find()
	}
	key := tieKey{group, reserved}
	info, ok := r.ties[key]
	if !ok {
		if info = find(); r.room > 0 {
			r.room -= group.Len()
			r.ties[key] = info
		}
	}
	return info
}
