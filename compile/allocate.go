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

// place puts a part into the pool or leaves the pool as it is.
func (p *Pool) place(v Version, part *Part) bool {
	if part.Groups > 0 {
		return p.placeGroups(v, part.Groups, int32(part.GroupRows))
	}
	return p.placeRows(int32(part.Rows))
}

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
	// StreamedBroadcast is the part of Streamed that is broadcast, see Split
	StreamedBroadcast int64
}

// key orders the allocator's list: class 0 first, larger parts first.
func (p *Part) key() uint32 {
	return uint32(p.Class)<<31 | (1<<31 - 1 - uint32(p.Rows))
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
			if part.Broadcast() {
				s.StreamedBroadcast += part.Bytes
			}
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
			if part.Broadcast() {
				s.StreamedBroadcast += part.Bytes
			}
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
	items []item
	refs  []place
}

// Allocate is the package's Allocate for compiler 16.0 without the decision
// per part. The result is valid until the next call.
func (g *Merger) Allocate(reserved int, loads []*Load, out []Share) []Share {
	g.items, g.refs, out = g.items[:0], g.refs[:0], out[:0]
	copies := false
	for m, l := range loads {
		out = append(out, Share{Streamed: l.Streamed})
		for i := range l.Parts {
			g.items = append(g.items, item{l.Parts[i].key(), int32(len(g.refs))})
			g.refs = append(g.refs, place{int32(m), int32(i)})
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
			s.Cached += part.Bytes
			s.Rows += part.Rows
		} else {
			s.Streamed += part.Bytes
			if part.Broadcast() {
				s.StreamedBroadcast += part.Bytes
			}
		}
	}
	if copies {
		for m, last := range lastCopies(loads) {
			out[m] = out[last]
		}
	}
	return out
}

// TieInfo says what the order of models on the command line of compiler 16.0
// can change.
type TieInfo struct {
	// OrderMatters: some ops of equal rows of different models are partly
	// cached, partly streamed; the order decides whose. False means that every
	// order gives the same split.
	OrderMatters bool
	// Bounded: Low and High hold for every order. Otherwise ops of equal rows
	// but different form stand at the cut and nothing short of trying says what happens.
	Bounded bool
	Low     []int64 // cached bytes of each model, at least (per model, not together)
	High    []int64 // at most
}

// Ties looks for ops of equal rows at the cut between cached and streamed in
// an invocation of compiler 16.0.
//
// The list is sorted by class and rows, so the order decides only who comes
// when within a run of equal keys. If all of a run have the same form, the
// pool sees the same sequence whatever the order, and as many of the run are
// cached; if all of them are, or none, nothing depends on the order. A run of
// partitioned and ordinary ops leaves the same number of free rows, but on
// other tiles: then a partitioned op is safe only while there is room anyway.
func Ties(reserved int, loads []*Load) TieInfo {
	info := TieInfo{Bounded: true, Low: make([]int64, len(loads)), High: make([]int64, len(loads))}
	var all []place
	for m, l := range loads {
		for i := range l.Parts {
			all = append(all, place{int32(m), int32(i)})
		}
	}
	at := func(r place) *Part { return &loads[r.model].Parts[r.part] }
	slices.SortStableFunc(all, func(a, b place) int { return int(int64(at(a).key()) - int64(at(b).key())) })
	pool := NewPool(reserved)
	scrambled := false // which tile holds what depends on the order
	for start := 0; start < len(all) && info.Bounded; {
		end := start
		for end < len(all) && at(all[end]).key() == at(all[start]).key() {
			end++
		}
		run := all[start:end]
		start = end
		first := at(run[0])
		cached, uniform, alike, groupRows := 0, true, true, 0
		for _, r := range run {
			part := at(r)
			uniform = uniform && part.Groups == first.Groups && part.GroupRows == first.GroupRows
			alike = alike && r.model == run[0].model && part.Bytes == first.Bytes
			groupRows = max(groupRows, part.GroupRows)
			if pool.place(V16_0, part) {
				cached++
			}
		}
		// While this many rows are free some tile has room for a group, wherever the others lie.
		roomy := cached == len(run) && pool.Free() >= Tiles*groupRows
		if !uniform {
			scrambled = true
		}
		if scrambled && groupRows > 0 && !roomy {
			info.OrderMatters, info.Bounded = true, false
			break
		}
		if cached > 0 && cached < len(run) && !alike {
			info.OrderMatters = true
		}
		perModel(run, at, cached, info.Low, info.High)
	}
	for m, last := range lastCopies(loads) {
		if m != last && info.OrderMatters {
			// every copy gets the last copy's decision, which these counts do not follow
			info.Bounded = false
		}
	}
	if !info.Bounded {
		for m, l := range loads {
			info.Low[m], info.High[m] = 0, l.Bytes()-l.Streamed
		}
	}
	return info
}

// perModel adds, for a run of equal parts of which cached are cached, the
// fewest and the most bytes each model can have among them.
func perModel(run []place, at func(place) *Part, cached int, low, high []int64) {
	sizes := map[int32][]int64{}
	for _, r := range run {
		sizes[r.model] = append(sizes[r.model], at(r).Bytes)
	}
	for m, bytes := range sizes {
		slices.Sort(bytes)
		least := max(0, cached-(len(run)-len(bytes)))
		most := min(cached, len(bytes))
		for _, b := range bytes[:least] {
			low[m] += b
		}
		for _, b := range bytes[len(bytes)-most:] {
			high[m] += b
		}
	}
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
