package compile

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ordinary is an op that may lie on several tiles.
func ordinary(rows int) Part { return Part{Rows: rows, Bytes: int64(rows) * RowBytes, Class: 1} }

// partitioned is an op of groups that each lie on one tile.
func partitioned(groups, rows int) Part {
	return Part{Rows: groups * rows, Bytes: int64(groups*rows) * RowBytes, Groups: groups, GroupRows: rows}
}

func loadOf(parts ...Part) *Load { return &Load{Parts: parts} }

func inCache(splits []Split) [][]bool {
	out := make([][]bool, len(splits))
	for i, s := range splits {
		out[i] = s.InCache
	}
	return out
}

// Small cases worked out by hand from the rules. R = 2046 leaves two rows on
// each of the 16 tiles, 32 in all.
func TestAllocate(t *testing.T) {
	for _, test := range []struct {
		name     string
		version  Version
		reserved int
		loads    []*Load
		want     [][]bool
	}{
		{"an op that does not fit is skipped", V15_0, 2046, []*Load{loadOf(ordinary(33), ordinary(32))}, [][]bool{{false, true}}},
		{"the first model takes what it wants", V15_0, 2046, []*Load{loadOf(ordinary(20)), loadOf(ordinary(30), ordinary(12))}, [][]bool{{true}, {false, true}}},
		{"16.0 lists all models' ops, the larger first", V16_0, 2046, []*Load{loadOf(ordinary(20)), loadOf(ordinary(30), ordinary(2))}, [][]bool{{false}, {true, true}}},
		{"class 0 before class 1", V16_0, 2046, []*Load{loadOf(ordinary(32)), loadOf(Part{Rows: 1, Class: 0})}, [][]bool{{false}, {true}}},
		{"a group needs one tile", V15_0, 2046, []*Load{loadOf(partitioned(1, 3))}, [][]bool{{false}}},
		{"2.1 takes the first tile with room", V2_1, 2046, []*Load{loadOf(partitioned(1, 2)), loadOf(partitioned(15, 2))}, [][]bool{{true}, {true}}},
		{"1.0 puts group g on tile g mod 16", V1_0, 2046, []*Load{loadOf(partitioned(1, 2)), loadOf(partitioned(15, 2))}, [][]bool{{true}, {false}}},
		{"groups that found room are given back", V1_0, 2046, []*Load{loadOf(partitioned(1, 2)), loadOf(partitioned(16, 1)), loadOf(ordinary(30))}, [][]bool{{true}, {false}, {true}}},
		{"an ordinary op leaves no tile whole", V15_0, 2046, []*Load{loadOf(ordinary(31)), loadOf(partitioned(1, 2))}, [][]bool{{true}, {false}}},
		{"nothing is reserved beyond the small rows", V15_0, -32, []*Load{loadOf(ordinary(2080 * 16))}, [][]bool{{true}}},
		{"all is reserved", V15_0, 2048, []*Load{loadOf(ordinary(1))}, [][]bool{{false}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, inCache(Allocate(test.version, test.reserved, test.loads))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A partitioned op that does not fit leaves the pool as it was.
func TestGroupsAreGivenBack(t *testing.T) {
	for _, v := range []Version{V1_0, V2_1} {
		p := NewPool(2046)
		p.placeRows(31)
		was := p
		if p.placeGroups(v, 2, 1) {
			t.Errorf("%s: two groups of one row fit one free row", v)
		}
		if p != was {
			t.Errorf("%s: the pool changed", v)
		}
	}
}

// More room can cache less: the walk is greedy. With 48 rows the op of few
// lanes, listed first, takes them all; with 32 it is skipped.
func TestMoreRoomCanCacheLess(t *testing.T) {
	thin := Part{Rows: 48, Bytes: 48 * 64, Class: 1}
	l := loadOf(thin, ordinary(20), ordinary(12))
	less, more := Allocate(V15_0, 2046, []*Load{l})[0], Allocate(V15_0, 2045, []*Load{l})[0] // 32 and 48 rows
	if less.Cached <= more.Cached {
		t.Errorf("32 rows cache %d bytes, 48 rows %d: want fewer with more room", less.Cached, more.Cached)
	}
}

func randomLoads(rng *rand.Rand, models int) []*Load {
	loads := make([]*Load, models)
	for m := range loads {
		l := &Load{Streamed: int64(rng.IntN(3)) * 64}
		for range 1 + rng.IntN(6) {
			switch rng.IntN(4) {
			case 0:
				l.Parts = append(l.Parts, partitioned(1+rng.IntN(20), 1+rng.IntN(3)))
			case 1:
				p := ordinary(1 + rng.IntN(6))
				p.Class = 0
				l.Parts = append(l.Parts, p)
			default:
				p := ordinary(1 + rng.IntN(14))
				p.Bytes -= int64(rng.IntN(2)) * 64
				l.Parts = append(l.Parts, p)
			}
		}
		loads[m] = l
	}
	return loads
}

// Pool and Merger are quick forms of Allocate.
func TestSharesEqualSplits(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var g Merger
	var shares []Share
	for range 3000 {
		loads := randomLoads(rng, 1+rng.IntN(4))
		if rng.IntN(4) == 0 { // copies of one model
			for _, l := range loads {
				l.Parts, l.Streamed, l.Content = loads[0].Parts, loads[0].Streamed, "copy"
			}
		}
		reserved := 2048 - rng.IntN(8)
		for _, v := range Versions() {
			splits := Allocate(v, reserved, loads)
			if v.Sequential() {
				pool := NewPool(reserved)
				shares = shares[:0]
				for _, l := range loads {
					shares = append(shares, pool.Place(v, l.Sorted()))
				}
			} else {
				shares = g.Allocate(reserved, loads, shares)
			}
			for m, s := range splits {
				if want := (Share{s.Cached, s.Streamed, s.Rows, s.StreamedBroadcast}); shares[m] != want {
					t.Fatalf("%s: model %d of %d: %+v, want %+v", v, m, len(loads), shares[m], want)
				}
				if s.Cached+s.Streamed != loads[m].Bytes() {
					t.Fatalf("%s: cached + streamed = %d, parameters %d", v, s.Cached+s.Streamed, loads[m].Bytes())
				}
			}
		}
	}
}

// What Ties promises about all orders holds for all orders.
func TestTiesHoldForAllOrders(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	matter, free, bounded := 0, 0, 0
	for range 4000 {
		n := 2 + rng.IntN(3)
		loads := randomLoads(rng, n)
		reserved := 2048 - rng.IntN(8)
		info := Ties(reserved, loads)
		var first []int64
		eachOrder(n, func(order []int) {
			listed := make([]*Load, n)
			for i, m := range order {
				listed[i] = loads[m]
			}
			cached := make([]int64, n)
			for i, s := range Allocate(V16_0, reserved, listed) {
				cached[order[i]] = s.Cached
			}
			if first == nil {
				first = cached
			}
			if !info.OrderMatters && fmt.Sprint(cached) != fmt.Sprint(first) {
				t.Fatalf("order %v caches %v instead of %v, though order does not matter", order, cached, first)
			}
			for m, c := range cached {
				if c < info.Low[m] || c > info.High[m] {
					t.Fatalf("order %v caches %d of model %d, outside %d to %d", order, c, m, info.Low[m], info.High[m])
				}
			}
		})
		switch {
		case !info.OrderMatters:
			free++
		case info.Bounded:
			bounded++
		default:
			matter++
		}
	}
	if free < 100 || bounded < 100 || matter < 100 {
		t.Errorf("cases seen: %d without, %d with bounded, %d with unbounded influence of order", free, bounded, matter)
	}
}

func eachOrder(n int, visit func([]int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var permute func(k int)
	permute = func(k int) {
		if k == n {
			visit(order)
			return
		}
		for i := k; i < n; i++ {
			order[k], order[i] = order[i], order[k]
			permute(k + 1)
			order[k], order[i] = order[i], order[k]
		}
	}
	permute(0)
}
