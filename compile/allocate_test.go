package compile

import (
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
		{"what is sent more often comes first", V16_0, 2046, []*Load{loadOf(ordinary(32)), loadOf(Part{Rows: 20, Class: 1, Passes: 2}), loadOf(Part{Rows: 1, Class: 1, Passes: 6})}, [][]bool{{false}, {true}, {true}}},
		{"likewise in a sequential compiler", V15_0, 2046, []*Load{loadOf(ordinary(31), Part{Rows: 2, Class: 1, Passes: 2})}, [][]bool{{false, true}}},
		{"passes before classes", V16_0, 2046, []*Load{loadOf(Part{Rows: 20, Class: 0}), loadOf(Part{Rows: 20, Class: 1, Passes: 2})}, [][]bool{{false}, {true}}},
		{"of a partitioned op one group counts", V16_0, 2046, []*Load{loadOf(partitioned(16, 1)), loadOf(Part{Rows: 20, Class: 0})}, [][]bool{{false}, {true}}},
		{"a partitioned op is sent once", V16_0, 2046, []*Load{loadOf(Part{Rows: 16, Groups: 16, GroupRows: 1, Passes: 9}), loadOf(Part{Rows: 20, Class: 1, Passes: 2})}, [][]bool{{false}, {true}}},
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
				p.Class, p.Passes = 0, rng.IntN(4)
				l.Parts = append(l.Parts, p)
			default:
				p := ordinary(1 + rng.IntN(14))
				p.Bytes -= int64(rng.IntN(2)) * 64
				p.Passes = 3 * rng.IntN(2)
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
				for i, is := range s.InCache {
					if !v.Sequential() && g.InCache(m, i) != is {
						t.Fatalf("%s: part %d of model %d of %d is cached: %v, want %v", v, i, m, len(loads), !is, is)
					}
				}
				if want := (Share{s.Cached, s.Streamed, s.Rows}); shares[m] != want {
					t.Fatalf("%s: model %d of %d: %+v, want %+v", v, m, len(loads), shares[m], want)
				}
				if s.Cached+s.Streamed != loads[m].Bytes() {
					t.Fatalf("%s: cached + streamed = %d, parameters %d", v, s.Cached+s.Streamed, loads[m].Bytes())
				}
			}
		}
	}
}

// What Look says about a set of models holds for every order of them, and of a
// range of reserved rows for every one of these.
func TestLookHoldsForAllOrders(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var o Outlook
	certain, tied, open := 0, 0, 0
	for k := range 6000 {
		n := 3 + rng.IntN(2)
		loads := randomLoads(rng, n)
		low := 2048 - rng.IntN(8)
		high := low + max(0, rng.IntN(5)-2)
		var set uint64
		var in []int
		for m := range n {
			if rng.IntN(4) > 0 {
				set, in = set|1<<m, append(in, m)
			}
		}
		g := Merge(loads)
		g.Look(low, high, set, &o)
		switch {
		case len(o.Open) > 0:
			open++
		case len(o.Runs) > 0:
			tied++
		default:
			certain++
		}
		const streamed, cached, either = 0, 1, 2
		fate := map[[2]int]int{}
		mark := func(ops []int32, what int) {
			for _, i := range ops {
				m, part, _ := g.Op(i)
				if fate[[2]int{m, part}] != streamed || set>>m&1 == 0 {
					t.Fatalf("instance %d: op %d of model %d is listed twice, or not asked for", k, part, m)
				}
				fate[[2]int{m, part}] = what
			}
		}
		mark(o.Cached, cached)
		mark(o.Open, either)
		for _, run := range o.Runs {
			mark(run.Ops, either)
		}
		for reserved := low; reserved <= high; reserved++ {
			eachOrder(len(in), func(order []int) {
				listed := make([]*Load, len(in))
				at := map[int]int{}
				for i, k := range order {
					listed[i], at[in[k]] = loads[in[k]], i
				}
				splits := Allocate(V16_0, reserved, listed)
				for _, m := range in {
					for part, is := range splits[at[m]].InCache {
						if what := fate[[2]int{m, part}]; what != either && is != (what == cached) {
							t.Fatalf("instance %d, order %v, %d reserved: op %d of model %d cached: %v", k, order, reserved, part, m, is)
						}
					}
				}
				sum := func(ops []int32) (count, total int) {
					for _, i := range ops {
						if m, part, rows := g.Op(i); splits[at[m]].InCache[part] {
							count, total = count+1, total+rows
						}
					}
					return count, total
				}
				for _, run := range o.Runs {
					if got, _ := sum(run.Ops); got != run.Cached {
						t.Fatalf("instance %d, order %v: %d of a run are cached, want %d", k, order, got, run.Cached)
					}
				}
				if _, rows := sum(o.Open); rows > o.Room {
					t.Fatalf("instance %d, order %v: %d rows of open ops, want at most %d", k, order, rows, o.Room)
				}
			})
		}
	}
	if certain < 100 || tied < 100 || open < 100 {
		t.Errorf("cases seen: %d certain, %d tied, %d open", certain, tied, open)
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
