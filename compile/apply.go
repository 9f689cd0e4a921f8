package compile

import (
	"slices"

	"github.com/tpuplan/tpuplan/compile/report"
)

// Applied is what facts changed about an analysed model.
type Applied struct {
	Facts    *ModelFacts // what is known of it; nil if nothing is
	Reserve  Reserve     // measured, else the model's own
	Remapped []Remapped  // ops that were mapped otherwise than predicted, by name
}

// Remapped is how many ops of a kind were predicted to run on the Edge TPU and how many did.
type Remapped struct {
	Op                  string
	Predicted, Measured int
}

// Apply corrects an analysed model, whose Load.Content is set, by what is
// known of it: its parameter bytes are the measured ones, its reserve is that
// of the measured memory. A difference of the parameter bytes goes to the ops whose size was
// found, the rest of it to those without a proven rule.
func (f *Facts) Apply(m *Model) Applied {
	a := Applied{Facts: f.Model(m.Settings, m.Load.Content), Reserve: m.Reserve}
	if a.Facts == nil {
		return a
	}
	a.Reserve = reserveOf(a.Facts.Available, m.Reserve)
	a.Remapped = m.remapped(a.Facts.Operators)
	if a.Facts.ParameterBytes != nil {
		m.resize(a.Facts)
	}
	return a
}

// reserveOf is the reserve by printed sizes, or the formula's where there are
// none or none that are possible.
func reserveOf(available []string, formula Reserve) Reserve {
	if size, ok := sizes(available); ok {
		if r, err := ReserveFromAvailable(size, formula, FromMeasurement); err == nil {
			return r
		}
	}
	return formula
}

// remapped compares the ops on the Edge TPU with a table of real ones.
func (m *Model) remapped(real []OperatorFact) []Remapped {
	if len(real) == 0 {
		return nil
	}
	var predicted []OperatorFact
	for _, o := range m.operators() {
		predicted = append(predicted, OperatorFact(o))
	}
	want, got := mappedOps(predicted), mappedOps(real)
	var names []string
	for _, o := range slices.Concat(predicted, real) {
		if want[o.Op] != got[o.Op] {
			names = append(names, o.Op)
		}
	}
	slices.Sort(names)
	var list []Remapped
	for _, name := range slices.Compact(names) {
		list = append(list, Remapped{name, want[name], got[name]})
	}
	return list
}

// resize makes the model's parameters those that were measured.
func (m *Model) resize(f *ModelFacts) {
	for i := range f.Ops {
		if o := &f.Ops[i]; o.Index < len(m.Ops) && m.Ops[o.Index].Name == o.Op && m.Ops[o.Index].Mapped {
			m.resizeOp(o)
		}
	}
	rest := *f.ParameterBytes - m.Load.Bytes()
	guessed := m.guessedParts()
	switch {
	case rest == 0:
		// The total speaks for the rules that nothing else proves.
		for _, k := range guessed {
			part := &m.Load.Parts[k]
			part.Certainty = report.Strong
			if m.Load.Parts[guessed[0]].Op == m.Load.Parts[guessed[len(guessed)-1]].Op {
				part.Certainty = report.Exact // there is only one such op
			}
			m.Ops[part.Op].Certainty = part.Certainty
		}
	case len(guessed) > 0:
		rest = m.spread(guessed, rest)
	}
	unexplained := rest != 0
	for rest < 0 && m.largestPart() >= 0 {
		k := m.largestPart()
		rest -= m.grow(k, max(rest, -m.Load.Parts[k].Bytes))
	}
	m.Load.Streamed += rest // no op is known to have these bytes
	unknown := m.Certainty == report.Unknown
	m.Certainty = report.Exact
	for i := range m.Ops {
		if m.Ops[i].Mapped {
			m.Certainty = m.Certainty.Weaker(m.Ops[i].Certainty)
		}
	}
	if unexplained {
		m.Certainty = m.Certainty.Weaker(report.Heuristic)
	}
	if unknown {
		m.Certainty = report.Unknown
	}
}

// largestPart is the part with the most bytes, -1 if none has any.
func (m *Model) largestPart() int {
	largest := -1
	for k := range m.Load.Parts {
		if n := m.Load.Parts[k].Bytes; n > 0 && (largest < 0 || n > m.Load.Parts[largest].Bytes) {
			largest = k
		}
	}
	return largest
}

// resizeOp gives an op the size that was found.
func (m *Model) resizeOp(o *OpFact) {
	info := &m.Ops[o.Index]
	more := o.Bytes - info.Bytes
	largest, first := -1, len(m.Load.Parts)
	parts := int64(0)
	for k := range m.Load.Parts {
		p := &m.Load.Parts[k]
		if p.Op > o.Index {
			first = min(first, k)
		}
		if p.Op != o.Index {
			continue
		}
		p.Certainty = report.Exact
		parts += p.Bytes
		if largest < 0 || p.Bytes > m.Load.Parts[largest].Bytes {
			largest = k
		}
	}
	info.Certainty = report.Exact
	switch {
	case more == 0:
	case largest >= 0 && m.Load.Parts[largest].Bytes+more >= 0:
		m.grow(largest, more)
	case largest < 0 && o.Cacheable && info.Bytes == 0:
		part := packed(o.Bytes)
		part.Op, part.Class, part.Passes, part.Certainty = o.Index, 1, int(info.Passes.Value), report.Exact
		m.Load.Parts = slices.Insert(m.Load.Parts, first, part)
		info.Bytes, info.Rows = o.Bytes, part.Rows
	case largest < 0:
		m.Load.Streamed += more
		info.Bytes += more
	}
}

// grow makes a part, and its op, larger by some bytes, which may be negative;
// its rows grow alike. It returns the bytes.
func (m *Model) grow(k int, more int64) int64 {
	p := &m.Load.Parts[k]
	rows := int64(p.Rows)
	if p.Bytes > 0 {
		rows = (rows*(p.Bytes+more) + p.Bytes - 1) / p.Bytes
	} else {
		rows = (more + RowBytes - 1) / RowBytes
	}
	info := &m.Ops[p.Op]
	info.Bytes += more
	info.Rows -= p.Rows
	p.Bytes += more
	if p.Rows = clampRows(rows); p.Groups > 0 {
		p.GroupRows = ceilDiv(p.Rows, p.Groups)
		p.Rows = p.GroupRows * p.Groups
	}
	info.Rows += p.Rows
	return more
}

// guessedParts lists the parts whose size no proven rule gives.
func (m *Model) guessedParts() []int {
	var list []int
	for k := range m.Load.Parts {
		if m.Load.Parts[k].Certainty >= report.Heuristic {
			list = append(list, k)
		}
	}
	return list
}

// spread shares out bytes, which may be negative, over parts in proportion to
// their sizes, and returns what is left.
func (m *Model) spread(parts []int, more int64) int64 {
	var total int64
	for _, k := range parts {
		total += m.Load.Parts[k].Bytes
	}
	if total == 0 {
		return more - m.grow(parts[0], max(more, 0))
	}
	left := max(more, -total)
	rest := more - left
	for i, k := range parts {
		bytes := m.Load.Parts[k].Bytes
		// of what is left, so that rounding is made up for by the last
		share := left
		if i < len(parts)-1 && total > 0 {
			share = int64(float64(left) * (float64(bytes) / float64(total)))
		}
		share = max(share, -bytes)
		total -= bytes
		left -= m.grow(k, share)
	}
	return rest + left
}

// Known is the outcome of an invocation that has been compiled.
type Known struct {
	Splits   []Split // in the order asked for; InCache is nil where no prediction agrees with the bytes
	Reserve  Reserve // measured, if the compiler printed its memory
	AnyOrder bool    // the splits hold for every order of these models
}

// Known is what is known of an invocation of these models in this order: all
// under the same settings, with Load.Content set, and corrected by
// [Facts.Apply]. It is nil unless the bytes of every model are known from compiled files and
// agree with its parameter bytes.
func (f *Facts) Known(inputs []Input) *Known {
	if f == nil || len(inputs) == 0 {
		return nil
	}
	key := inputs[0].Model.Settings.Key()
	contents := make([]string, len(inputs))
	loads := make([]*Load, len(inputs))
	reserves := make([]Reserve, len(inputs))
	for i := range inputs {
		contents[i], loads[i], reserves[i] = inputs[i].Model.Load.Content, &inputs[i].Model.Load, inputs[i].Reserve
		if contents[i] == "" || inputs[i].Model.Settings.Key() != key {
			return nil
		}
	}
	version := inputs[0].Model.Settings.Version
	formula := GroupReserve(reserves)
	var found *InvocationFacts
	var at []int // of each input in the invocation
	for i := range f.Invocations {
		x := &f.Invocations[i]
		if x.FactsKey != key || len(x.Models) != len(inputs) {
			continue
		}
		order, same := x.match(contents)
		if order == nil || !same && !x.anyOrder(version, loads, formula) {
			continue
		}
		if found == nil || same {
			found, at = x, order
		}
	}
	if found == nil {
		return nil
	}
	k := &Known{Reserve: reserveOf(found.Available, formula), AnyOrder: found.anyOrder(version, loads, formula)}
	for i := range inputs {
		m := &found.Models[at[i]]
		if m.CachedBytes == nil || *m.CachedBytes+*m.StreamedBytes != loads[i].Bytes() {
			return nil
		}
		k.Splits = append(k.Splits, Split{Cached: *m.CachedBytes, Streamed: *m.StreamedBytes})
	}
	k.explain(version, loads, found.Models, at)
	return k
}

// match finds each content in the invocation; nil if there are others in it.
// same is true if they are in this order. Copies of one content are told
// apart by their order alone, so they match in the same order or, where they fared alike, in any.
func (f *InvocationFacts) match(contents []string) (at []int, same bool) {
	same = true
	for i, c := range contents {
		same = same && f.Models[i].SHA256 == c
	}
	used := make([]bool, len(f.Models))
	for i, c := range contents {
		k := i
		if !same {
			k = slices.IndexFunc(f.Models, func(m MemberFacts) bool { return m.SHA256 == c })
			for k >= 0 && k < len(used) && (used[k] || f.Models[k].SHA256 != c) {
				k++
			}
		}
		if k < 0 || k >= len(used) {
			return nil, false
		}
		used[k] = true
		at = append(at, k)
	}
	return at, same
}

// anyOrder reports whether the outcome of an invocation holds for every
// order of its models: with 16.0 where no ops of equal rows stand at the cut,
// unless a compile in another order showed otherwise.
func (f *InvocationFacts) anyOrder(v Version, loads []*Load, r Reserve) bool {
	switch {
	case len(f.Models) == 1:
		return true
	case v.Sequential() || f.OrderMatters != nil && *f.OrderMatters:
		return false
	case len(f.Models) == 2 && f.OrderMatters != nil:
		return true // both orders were tried
	}
	var contents []string
	for _, m := range f.Models {
		contents = append(contents, m.SHA256)
	}
	return !repeated(contents) && !OrderMatters(reserveOf(f.Available, r).Rows, loads)
}

// explain finds a reserve for which the allocator does what the compiler did,
// so that it is known which parts are cached: one that the printed memory
// allows, else the one next to the formula's. Where there is none the rows
// are those printed, or at least what the bytes take.
func (k *Known) explain(v Version, loads []*Load, members []MemberFacts, at []int) {
	low, high := k.Reserve.Low, k.Reserve.High
	if k.Reserve.Source != FromMeasurement {
		low, high = -smallBuffer, absurdRows
	}
	try := func(rows int) bool {
		if rows < low || rows > high {
			return false
		}
		splits := Allocate(v, rows, loads)
		for i := range splits {
			if splits[i].Cached != k.Splits[i].Cached || splits[i].Streamed != k.Splits[i].Streamed {
				return false
			}
		}
		k.Splits, k.Reserve.Rows = splits, rows
		k.Reserve.Low, k.Reserve.High = min(k.Reserve.Low, rows), max(k.Reserve.High, rows)
		return true
	}
	best := k.Reserve.Rows
	for d := 0; best-d >= low || best+d <= high; d++ {
		if try(best-d) || try(best+d) {
			return
		}
	}
	for i := range k.Splits {
		s := &k.Splits[i]
		s.Rows = int((s.Cached + RowBytes - 1) / RowBytes)
		if used, err := report.ParseSize(members[at[i]].OnChip); err == nil {
			s.Rows = int((used.Bytes + RowBytes/2) / RowBytes)
		}
	}
}

// Narrow takes from invocations that printed their memory what they say about
// the reserves of their members: the group's is the largest of them. The
// inputs are all models at hand; those of them whose reserve was measured alone keep it.
func (f *Facts) Narrow(inputs []Input) {
	if f == nil {
		return
	}
	byContent := map[string][]int{}
	for i := range inputs {
		c := inputs[i].Model.Load.Content
		byContent[c] = append(byContent[c], i)
	}
	for i := range f.Invocations {
		x := &f.Invocations[i]
		var members []int
		for _, m := range x.Models {
			for _, k := range byContent[m.SHA256] {
				if inputs[k].Model.Settings.Key() == x.FactsKey && !slices.Contains(members, k) {
					members = append(members, k)
				}
			}
		}
		var contents []string
		for _, k := range members {
			contents = append(contents, inputs[k].Model.Load.Content)
		}
		if at, _ := x.match(contents); len(x.Available) > 0 && len(contents) == len(x.Models) && at != nil {
			narrowMembers(inputs, members, x.Available)
		}
	}
}

func narrowMembers(inputs []Input, members []int, available []string) {
	var reserves []Reserve
	for _, k := range members {
		reserves = append(reserves, inputs[k].Reserve)
	}
	group := reserveOf(available, GroupReserve(reserves))
	if group.Source != FromMeasurement {
		return
	}
	holder, holders := -1, 0 // of the largest reserve
	for _, k := range members {
		r := &inputs[k].Reserve
		open := r.Source != FromMeasurement
		if r.High >= group.Low {
			holders++
		}
		if open && (holder < 0 || r.High > inputs[holder].Reserve.High) {
			holder = k
		}
		if open && r.High > group.High {
			r.High = group.High
			r.Rows, r.Low = min(r.Rows, r.High), min(r.Low, r.High)
		}
	}
	if holder >= 0 && (holders == 0 || holders == 1 && inputs[holder].Reserve.High >= group.Low) {
		fits := inputs[holder].Reserve.Fits
		inputs[holder].Reserve = group
		inputs[holder].Reserve.Fits = fits
	}
}
