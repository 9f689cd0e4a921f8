package compile

import (
	"slices"

	"github.com/tpuplan/tpuplan/compile/report"
)

// Pool is the wide memory that an invocation caches parameters in: the free
// rows of each tile. It is a value: copy it to try something.
type Pool struct {
	// tile t has level[t] / 16 free rows; the rest is 15 - t, so that the
	// largest level is that of the first of the emptiest tiles
	level [Tiles]int32
	all   int32
}

const levelOfRow = 16

// NewPool is an empty pool with reserved rows (-32..2048) taken from every tile.
func NewPool(reserved int) Pool {
	var p Pool
	rows := int32(max(0, TileRows-reserved))
	for t := range p.level {
		p.level[t] = rows*levelOfRow + int32(Tiles-1-t)
	}
	p.all = Tiles * rows
	return p
}

// Free is the number of free rows of all tiles together.
func (p *Pool) Free() int { return int(p.all) }

// FreeOn is the number of free rows of one tile, 0 to 15.
func (p *Pool) FreeOn(tile int) int { return int(p.level[tile] / levelOfRow) }

// place puts a part into the pool or leaves the pool as it is.
func (p *Pool) place(v Version, part *Part) bool {
	if part.Groups > 0 {
		return p.placeGroups(v, part.Groups, int32(part.GroupRows))
	}
	return p.placeRows(int32(part.Rows))
}

// Try places a part if it finds room by the rule of v, else leaves the pool as
// it is. It does not allocate memory.
func (p *Pool) Try(v Version, part *Part) bool { return p.place(v, part) }

// placeGroups puts every group whole on one tile: 1.0 on tile g mod 16, later
// compilers on the first tile with room. If one finds no room, all are given back.
func (p *Pool) placeGroups(v Version, groups int, rows int32) bool {
	if int64(groups)*int64(rows) > int64(p.all) {
		return false
	}
	was := *p
	t := 0
	for g := range groups {
		if v == V1_0 {
			t = g % Tiles
		} else {
			// tiles before t had no room for the group before this one, which is of the same size
			for t < Tiles && p.level[t] < rows*levelOfRow {
				t++
			}
		}
		if t == Tiles || p.level[t] < rows*levelOfRow {
			*p = was
			return false
		}
		p.level[t] -= rows * levelOfRow
	}
	p.all -= int32(groups) * rows
	return true
}

// placeRows puts rows on the emptiest tile if they fit there, else spreads
// them over tiles, emptiest first.
func (p *Pool) placeRows(rows int32) bool {
	if rows > p.all {
		return false
	}
	p.all -= rows
	for rows > 0 {
		l := &p.level
		best := max(
			max(max(l[0], l[1]), max(l[2], l[3])), max(max(l[4], l[5]), max(l[6], l[7])),
			max(max(l[8], l[9]), max(l[10], l[11])), max(max(l[12], l[13]), max(l[14], l[15])))
		take := min(rows, best/levelOfRow)
		l[Tiles-1-best%levelOfRow] -= take * levelOfRow
		rows -= take
	}
	return true
}

// Share is a Split without the decision per part.
type Share struct {
	Cached   int64 // packed bytes
	Streamed int64 // packed bytes, constants of elementwise ops included
	Rows     int
}

// mostPasses is more than any part has; beyond it the order ends.
const mostPasses = 1 << 24

// Rank is what decides a part's place in the allocator's list: what is sent
// more often comes first, then class 0, then what has more rows. Weights of a partitioned
// part stay on their tiles, and the rows of one of its groups count.
func (p *Part) Rank() (passes, class, rows int) {
	if p.Groups > 0 {
		return 1, p.Class, p.GroupRows
	}
	return min(max(1, p.Passes), mostPasses), p.Class, p.Rows
}

// key orders the allocator's list by rank.
func (p *Part) key() uint64 {
	passes, class, rows := p.Rank()
	return uint64(mostPasses-passes)<<38 | uint64(class)<<37 | (1<<37 - 1 - uint64(rows)) // no more than 1<<32 rows are planned
}

// Sorted returns the load with its parts in the order in which the
// sequential compilers (up to 15.0) try them; [Pool.Place] wants it.
func (l *Load) Sorted() *SortedLoad {
	items := make([]item, len(l.Parts))
	for i := range l.Parts {
		items[i] = item{l.Parts[i].key(), int32(i)}
	}
	libcxxSort(items)
	s := &SortedLoad{load: l, order: make([]int32, len(items)), parts: make([]Part, len(items))}
	for i, it := range items {
		s.order[i] = it.ref
		s.parts[i] = l.Parts[it.ref]
	}
	return s
}

// SortedLoad is a Load prepared for repeated placing.
type SortedLoad struct {
	load  *Load
	order []int32
	parts []Part // in order
}

// Parts are the load's parts in the order in which they are tried.
func (l *SortedLoad) Parts() []Part { return l.parts }

// Order numbers them: part i of Parts is part Order()[i] of the load.
func (l *SortedLoad) Order() []int32 { return l.order }

// Place places the next model of an invocation of a sequential compiler (see
// [Version.Sequential]) and returns its share. It does not allocate memory.
func (p *Pool) Place(v Version, l *SortedLoad) Share {
	s := Share{Streamed: l.load.Streamed}
	for i := range l.parts {
		part := &l.parts[i]
		if p.place(v, part) {
			s.Cached += part.Bytes
			s.Rows += part.Rows
		} else {
			s.Streamed += part.Bytes
		}
	}
	return s
}

// Allocate says what an invocation of version v with these models, in
// command-line order, caches of each when reserved rows are kept free on
// every tile.
func Allocate(v Version, reserved int, loads []*Load) []Split {
	splits := make([]Split, len(loads))
	for m, l := range loads {
		splits[m] = Split{Streamed: l.Streamed, InCache: make([]bool, len(l.Parts))}
	}
	pool := NewPool(reserved)
	try := func(m, i int) {
		part := &loads[m].Parts[i]
		s := &splits[m]
		s.InCache[i] = pool.place(v, part)
		if s.InCache[i] {
			s.Cached += part.Bytes
			s.Rows += part.Rows
		} else {
			s.Streamed += part.Bytes
		}
	}
	if v.Sequential() {
		for m, l := range loads {
			for _, i := range l.Sorted().order {
				try(m, int(i))
			}
		}
		return splits
	}
	var refs []place
	for m, l := range loads {
		for i := range l.Parts {
			refs = append(refs, place{int32(m), int32(i)})
		}
	}
	items := make([]item, len(refs))
	for k, r := range refs {
		items[k] = item{loads[r.model].Parts[r.part].key(), int32(k)}
	}
	libcxxSort(items)
	for _, it := range items {
		try(int(refs[it.ref].model), int(refs[it.ref].part))
	}
	for m, last := range lastCopies(loads) {
		if last != m {
			splits[m] = splits[last]
			splits[m].InCache = slices.Clone(splits[last].InCache)
		}
	}
	return splits
}

type place struct{ model, part int32 }

// lastCopies gives for each model the last one in the list with the same
// content. When one file is given several times to compiler 16.0, every copy
// gets the decision of the last (MobileNet v2 five to twenty times, byte for byte).
func lastCopies(loads []*Load) []int {
	last := make([]int, len(loads))
	for m := range loads {
		last[m] = m
		if loads[m].Content == "" {
			continue
		}
		for n := len(loads) - 1; n > m; n-- {
			if loads[n].Content == loads[m].Content {
				last[m] = n
				break
			}
		}
	}
	return last
}

// SharesLayers reports whether two different models of an invocation have a
// layer of equal weights, as nets with a common backbone do. Compiler 16.0 then
// splits memory between them in a way that is not known (in all it caches about
// as much); copies of one model are another matter, see [Load].Content.
func SharesLayers(loads []*Load) bool {
	owner := map[uint64]int{}
	for m, l := range loads {
		for i := range l.Parts {
			w := l.Parts[i].Weights
			if w == 0 {
				continue
			}
			first, seen := owner[w]
			if !seen {
				owner[w] = m
			} else if first != m && (l.Content == "" || l.Content != loads[first].Content) {
				return true
			}
		}
	}
	return false
}

// Merger computes the shares of many invocations of compiler 16.0 without
// allocating memory for each. The zero value is ready; it is not safe for
// concurrent use.
type Merger struct {
	items  []item
	refs   []place
	cached []bool  // per ref
	first  []int32 // ref of the first part of each model
	last   []int   // see lastCopies; nil without copies
}

// InCache reports whether a part of a model is cached, after Allocate and as
// its list numbers models and parts.
func (g *Merger) InCache(model, part int) bool {
	if g.last != nil {
		model = g.last[model]
	}
	return g.cached[int(g.first[model])+part]
}

// Allocate is the package's Allocate for compiler 16.0 without the decision
// per part. The result is valid until the next call.
func (g *Merger) Allocate(reserved int, loads []*Load, out []Share) []Share {
	g.items, g.refs, g.first, g.cached, g.last, out = g.items[:0], g.refs[:0], g.first[:0], g.cached[:0], nil, out[:0]
	copies := false
	for m, l := range loads {
		out = append(out, Share{Streamed: l.Streamed})
		g.first = append(g.first, int32(len(g.refs)))
		for i := range l.Parts {
			g.items = append(g.items, item{l.Parts[i].key(), int32(len(g.refs))})
			g.refs = append(g.refs, place{int32(m), int32(i)})
			g.cached = append(g.cached, false)
		}
		for n := range m {
			copies = copies || l.Content != "" && l.Content == loads[n].Content
		}
	}
	libcxxSort(g.items)
	pool := NewPool(reserved)
	for _, it := range g.items {
		r := g.refs[it.ref]
		part, s := &loads[r.model].Parts[r.part], &out[r.model]
		if pool.place(V16_0, part) {
			g.cached[it.ref] = true
			s.Cached += part.Bytes
			s.Rows += part.Rows
		} else {
			s.Streamed += part.Bytes
		}
	}
	if copies {
		g.last = lastCopies(loads)
		for m, last := range g.last {
			out[m] = out[last]
		}
	}
	return out
}

// AllocatorCertainty says how sure the allocation rule of v is for an
// invocation of n models (edgetpu compilers 2.0 and 14.1 were never seen with several).
func AllocatorCertainty(v Version, n int) report.Certainty {
	switch v {
	case V16_0, V2_1, V15_0:
		return report.Exact
	case V1_0:
		return report.Strong
	default:
		if n > 1 {
			return report.Heuristic
		}
		return report.Strong
	}
}
