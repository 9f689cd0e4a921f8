package fit

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/profile"
)

// cell are the samples of one file, kind of call and run.
type cell struct {
	file int
	cold bool
	run  string
	ms   []float64 // in the order they came

	sources map[profile.Source]int
	median  float64
	sigma   float64

	// The expected time is row . parameters + given; where the load of a cold
	// call is hidden, hidden . parameters + givenHidden.
	row, hidden        []float64
	given, givenHidden float64
	streams            *streaming // what its ops stream, nil where they are not known
}

// what a parameter is.
type what int

const (
	compute  what = iota // of a model
	rate                 // ms per byte of the link
	stream               // the same of everything but loads
	slope                // of a model
	overhead             // of a load
	overlap              // of a load
	passes               // of a model: ms per byte that is sent in passes, as often as predicted
)

// parameter is one number to be fitted, or kept.
type parameter struct {
	what  what
	model string

	kept    bool // its built-in value stays
	why     string
	with    []string // names
	shaky   bool     // the samples tell it, but barely
	builtin float64
	apart   float64 // the share of its effect that no other parameter has

	value, signed, low, high float64
	bounded                  bool    // low and high are known
	variance, quantile       float64 // of value, where they are: its sampling variance, and half the interval in deviations
	byHost                   float64 // by how much value moves with the host's ms
	covered                  bool    // of a compute time: every file streams so much that hardly any of it shows
	samples                  int
	sources                  map[profile.Source]int
}

func (p *parameter) name() string {
	switch p.what {
	case compute:
		return fmt.Sprintf("the compute time of %q", p.model)
	case rate:
		return "the link's rate"
	case stream:
		return "the rate of streaming"
	case slope:
		return fmt.Sprintf("the streaming slope of %q", p.model)
	case overhead:
		return "the overhead of a load"
	case passes:
		return fmt.Sprintf("how often the parameters of %q are sent", p.model)
	}
	return "the overlap of a load"
}

// ErrNoSamples is returned where no sample can be used.
var ErrNoSamples = errors.New("no sample of a call can be used")

// ErrNoLink is returned where the samples do not tell the rate of the link and
// no built-in value can be kept, because the link is not known.
var ErrNoLink = errors.New("the samples do not tell the link's rate, and which link it is is not known")

// shape is one form of the model.
type shape struct {
	streams bool // streaming has a rate of its own
	hides   bool // loads overlap with compute, by what the built-in overhead does not explain
	hidden  int  // so many of the sizes of loads, the smallest ones, are hidden whole
	still   bool // bytes seem to take no time: the rate of the link is kept
}

// better is how much less twice the loss has to be for another parameter to be
// believed: by chance alone it falls by 1, and by 12 in one of 2000 fits.
const better = 12

// Fit fits the cost model. link is the one that was timed, nil if that is not
// known; its values are kept where the samples cannot tell.
func Fit(d *Data, link *cost.Link) (*cost.Calibration, error) {
	cells := group(d)
	if len(cells) == 0 {
		return nil, ErrNoSamples
	}
	pure, repeated := within(cells)
	f := &fitting{data: d, link: link, cells: cells, pure: pure, repeated: repeated}
	f.sizes = f.loadSizes()
	f.know()
	best, err := f.best()
	if err != nil {
		return nil, err
	}
	if best, err = f.withHost(best); err != nil {
		return nil, err
	}
	return best.trusted()
}

// best fits the shape of the formulas that the samples call for.
func (f *fitting) best() (*solution, error) {
	best, err := f.solve(shape{})
	if err == nil && best.find(rate).value == 0 {
		best, err = f.solve(shape{still: true})
	}
	if err != nil {
		return nil, err
	}
	if best.shape.still {
		return best, nil
	}
	simple := best
	for _, s := range simple.alternatives() {
		if !simple.promises(s) {
			continue
		}
		other, err := f.solve(s)
		if err != nil || s != other.effective() {
			continue
		}
		if gain := best.loss - other.loss; 2*gain > better*other.doubt {
			best = other
		}
	}
	return best, nil
}

// group makes the cells, sorted.
func group(d *Data) []*cell {
	type key struct {
		file int
		cold bool
		run  string
	}
	at := map[key]*cell{}
	var cells []*cell
	for _, t := range d.Timings {
		k := key{t.File, t.Cold, t.Run}
		c := at[k]
		if c == nil {
			c = &cell{file: t.File, cold: t.Cold, run: t.Run, sources: map[profile.Source]int{}}
			at[k] = c
			cells = append(cells, c)
		}
		c.ms = append(c.ms, t.MS)
		c.sources[t.Source]++
	}
	for _, c := range cells {
		c.median = median(c.ms)
	}
	slices.SortFunc(cells, compareCells)
	return cells
}

type fitting struct {
	data     *Data
	link     *cost.Link
	cells    []*cell
	pure     noise     // from repeats alone
	repeated bool      // pure is known
	sizes    []float64 // of loads, ascending

	shapes map[string]float64 // modelled compute of the models whose ops are known, in ms
	host   float64            // what is taken off a compute time for the host, in ms
	told   hostFit            // what the models taught about it
	output float64            // ms per byte of output; 0: it crosses at the link's rate
}

// solution is one fit.
type solution struct {
	*fitting
	shape  shape
	cells  []*cell // copies, with their rows
	all    []*parameter
	free   []*parameter // those that were fitted, in the order of the rows
	units  []float64    // of the parameters in the rows
	values []float64
	loss   float64

	samples    int
	outliers   int
	excess     float64                // 1, or by how much intervals are widened because cells disagree
	start      []float64              // where the search begins, in units
	doubt      float64                // by what factor differences of twice the loss are larger than by chance alone
	covariance func(a, b int) float64 // of the free parameters; nil without intervals
	drift      float64                // correlation of successive repeats, 0 if none is seen
	noise      float64                // relative, of a typical cell
}

// loadSizes are the sizes of the loads that were timed, ascending.
func (f *fitting) loadSizes() []float64 {
	var sizes []float64
	for _, c := range f.cells {
		if c.cold {
			sizes = append(sizes, f.data.Files[c.file].load())
		}
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

func (s *solution) find(w what) *parameter {
	for _, p := range s.all {
		if p.what == w {
			return p
		}
	}
	return nil
}

// alternatives are the shapes that may explain what this solution, the
// simplest one, cannot.
func (s *solution) alternatives() []shape {
	var others []shape
	if p := s.find(overhead); p != nil && !p.kept {
		others = append(others, shape{hides: true})
		// Two sizes tell the rate, a third one may be hidden.
		for n := 1; n <= len(s.sizes)-2; n++ {
			others = append(others, shape{hides: true, hidden: n})
		}
	}
	for _, p := range s.all {
		if p.what == slope && !p.kept {
			others = append(others, shape{streams: true})
			break
		}
	}
	return others
}

// effective is the shape that the solution really has.
func (s *solution) effective() shape {
	e := s.shape
	if p := s.find(overlap); e.hides && p.kept {
		e.hides = false
	}
	if e.hidden > 0 {
		e.hidden = 0
		for _, size := range s.sizes {
			if size*s.find(rate).value <= s.find(overlap).value {
				e.hidden++
			}
		}
	}
	if p := s.find(stream); e.streams && p.kept {
		e.streams = false
	}
	if e.streams && s.find(stream).value >= s.find(rate).value {
		e.streams = false // slower streaming is a slope
	}
	return e
}

// parameters lists what a shape has, in the order in which the samples are
// asked for it: what comes later gives way.
func (f *fitting) parameters(s shape) []*parameter {
	var all []*parameter
	models := map[string]bool{}
	var names []string
	for _, file := range f.data.Files {
		if !models[file.Model] {
			models[file.Model] = true
			names = append(names, file.Model)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		p := &parameter{what: compute, model: name}
		if ms, ok := f.shapes[name]; ok {
			p.builtin = f.host + ms
		}
		all = append(all, p)
	}
	perByte, over := 0.0, cost.DefaultOverheadMS
	if f.link != nil {
		perByte, over = 1/f.link.BytesPerMS, f.link.OverheadMS
	}
	all = append(all, &parameter{what: rate, builtin: perByte})
	if s.streams {
		all = append(all, &parameter{what: stream, builtin: perByte})
	}
	for _, name := range names {
		if f.inPasses(name) {
			all = append(all, &parameter{what: passes, model: name, builtin: perByte})
		}
	}
	if !s.streams {
		for _, name := range names {
			if _, ok := f.shapes[name]; !ok {
				all = append(all, &parameter{what: slope, model: name})
			}
		}
	}
	if s.hides && s.hidden == 0 {
		// Only the difference of the two shows, and it is negative.
		all = append(all, &parameter{what: overlap}, &parameter{what: overhead, builtin: over})
	} else {
		all = append(all, &parameter{what: overhead, builtin: over}, &parameter{what: overlap})
	}
	return all
}

// effect is what one unit of a parameter adds to the time of a call, besides
// what ops stream whose computing is known.
func (f *fitting) effect(p *parameter, c *cell, hidden bool, s shape) float64 {
	file := &f.data.Files[c.file]
	loads := c.cold && !hidden
	switch p.what {
	case compute:
		if file.Model == p.model {
			return 1
		}
	case rate:
		bytes := 0.0
		if !s.streams {
			bytes = f.sent(file)
		}
		if loads {
			bytes += file.load()
		}
		return bytes
	case stream:
		return f.sent(file)
	case slope:
		if file.Model == p.model {
			return float64(file.StreamedBytes)
		}
	case overhead:
		if c.cold {
			return 1
		}
	case overlap:
		if loads {
			return -1
		}
	}
	return 0
}

// Shares of a parameter's effect on the times (each in parts of the time) that
// no other parameter has.
const (
	inseparable = 0.02 // below it the built-in value is kept
	barely      = 0.1
)

// separate decides which parameters the samples tell, by what each adds to the
// times where the parameters are as at says.
func (f *fitting) separate(all []*parameter, s shape, at func(*parameter) float64, hidden func(*cell) bool) {
	f.cover(all, at)
	joined := map[*parameter]parameter{} // passes that count as predicted: their bytes are the link's
	for again := true; again; {
		again = false
		for _, p := range all {
			is, ok := joined[p]
			p.kept, p.why, p.with, p.shaky = ok, is.why, is.with, false
			if s.still && p.what == rate {
				p.kept, p.why = true, "calls that send more bytes do not take longer"
			}
		}
		f.tell(all, f.rows(all, s), at, hidden)
		for _, p := range all {
			if _, ok := joined[p]; p.what == passes && p.kept && !ok {
				joined[p], again = *p, true
			}
		}
	}
}

// tell keeps, of the parameters that are free, those that the cells cannot tell.
func (f *fitting) tell(all []*parameter, cells []*cell, at func(*parameter) float64, hidden func(*cell) bool) {
	var free []*parameter
	var x []float64
	for _, p := range all {
		if !p.kept {
			free, x = append(free, p), append(x, at(p))
		}
	}
	local := make([][]float64, len(cells))
	for i, c := range cells {
		_, local[i] = c.near(x, hidden(c))
	}
	var basis [][]float64 // orthonormal
	var kept []*parameter // that span it
	var columns [][]float64
	for j, p := range free {
		v := make([]float64, len(cells))
		for i, c := range cells {
			v[i] = local[i][j] / c.median
		}
		length := math.Sqrt(dot(v, v))
		if length == 0 {
			p.kept, p.why = true, absent(p)
			continue
		}
		for i := range v {
			v[i] /= length
		}
		rest := slices.Clone(v)
		for range 2 { // the second time for round-off
			for _, q := range basis {
				along := dot(rest, q)
				for i := range rest {
					rest[i] -= float64(along * q[i])
				}
			}
		}
		p.apart = math.Sqrt(dot(rest, rest))
		if p.apart < barely {
			p.with = partners(columns, kept, v)
			p.shaky = true
		}
		if p.apart < inseparable {
			p.kept, p.shaky = true, false
			p.why = "the samples cannot tell it from " + strings.Join(p.with, " and ")
			continue
		}
		for i := range rest {
			rest[i] /= p.apart
		}
		basis, kept, columns = append(basis, rest), append(kept, p), append(columns, v)
	}
}

// absent says why nothing shows a parameter.
func absent(p *parameter) string {
	switch p.what {
	case slope:
		return "no file of it that was timed streams parameters"
	case overhead, overlap:
		return "no call that loads was timed"
	case passes:
		return "nothing that it sends in passes shows in a file of it that was timed"
	}
	return "no sample shows it"
}

// partners names the parameters of which a column is a combination.
func partners(columns [][]float64, of []*parameter, v []float64) []string {
	a := mat.NewDense(len(v), len(columns), nil)
	for j, c := range columns {
		a.SetCol(j, c)
	}
	x, err := leastSquares(a, v, nil)
	if err != nil {
		return nil
	}
	most := 0.0
	for _, s := range x {
		most = max(most, math.Abs(s))
	}
	var names []string
	for j, s := range x {
		if math.Abs(s) >= most/2 {
			names = append(names, of[j].name())
		}
	}
	if len(names) > 3 {
		names = append(names[:2], "others")
	}
	return names
}

// promises reports whether another shape may be worth a fit.
func (s *solution) promises(other shape) bool {
	next, err := s.prepare(other, s.fitted())
	if err != nil {
		return false
	}
	x := next.start
	if x == nil {
		x = make([]float64, len(next.free))
	}
	rows, given := make([][]float64, len(s.cells)), make([]float64, len(s.cells))
	for i, c := range next.cells {
		var ms float64
		ms, rows[i] = c.near(x, next.hiddenIn(c))
		given[i] = ms - dot(rows[i], x)
	}
	sys := &system{cells: s.cells, n: len(s.free), start: s.start}
	return sys.gain(s.values, rows, given, len(next.free)) > better/2*s.doubt
}

// hiddenIn reports whether the shape takes the load of a cell for hidden whole.
func (s *solution) hiddenIn(c *cell) bool {
	return s.shape.hidden > 0 && c.cold && s.data.Files[c.file].load() <= s.sizes[s.shape.hidden-1]
}

// rounds is how often what the samples tell is decided anew, from where the
// fit came out. Which ops stream visibly, and so what can be told, depends on it.
const rounds = 4

// solve fits one shape.
func (f *fitting) solve(s shape) (*solution, error) {
	at := f.first()
	for n := 1; ; n++ {
		out, err := f.prepare(s, at)
		if err != nil {
			return nil, err
		}
		if err := out.estimate(); err != nil {
			return nil, err
		}
		for j, p := range out.free {
			p.value = out.values[j] / out.units[j]
			p.signed /= out.units[j]
			p.low, p.high = p.low/out.units[j], p.high/out.units[j]
		}
		for _, p := range out.all {
			switch {
			case p.kept && p.what == passes:
				p.value = out.streaming().value
			case p.kept:
				p.value = p.builtin
			}
		}
		if len(f.shapes) == 0 || n == rounds {
			return out, nil
		}
		// In the end the last decision stands: the times it gives are right for the files
		// that were timed, and only a number at the brink of being told may be called so.
		at = out.fitted()
		next, err := f.prepare(s, at)
		if err != nil || slices.EqualFunc(out.all, next.all, func(a, b *parameter) bool { return a.kept == b.kept && a.covered == b.covered }) {
			return out, nil
		}
	}
}

// prepare decides what is fitted and makes the rows; at is where the parameters about are.
func (f *fitting) prepare(s shape, at func(*parameter) float64) (*solution, error) {
	out := &solution{fitting: f, shape: s, all: f.parameters(s), excess: 1, doubt: 1}
	f.separate(out.all, s, at, out.hiddenIn)
	for _, p := range out.all {
		if !p.kept {
			out.free = append(out.free, p)
			out.start = append(out.start, at(p))
		} else if p.what == rate && f.link == nil {
			return nil, fmt.Errorf("%w: %s", ErrNoLink, p.why)
		}
	}
	out.cells = f.rows(out.all, s)
	// Parameters are counted in units of what they do to the times, so that
	// bytes and calls are alike to the arithmetic.
	out.units = make([]float64, len(out.free))
	for _, c := range out.cells {
		out.samples += len(c.ms)
		if s.hidden == 0 || !c.cold {
			c.hidden = nil
		}
		row := c.row
		if c.streams != nil {
			_, row = c.streams.add(out.start, 0, c.row)
		}
		for j, v := range row {
			out.units[j] = max(out.units[j], math.Abs(v)/c.median)
		}
	}
	for j, u := range out.units {
		out.start[j] *= u
	}
	if len(f.shapes) == 0 {
		out.start = nil // the medians will do
	}
	for _, c := range out.cells {
		for j, u := range out.units {
			c.row[j] /= u
			if c.hidden != nil {
				c.hidden[j] /= u
			}
		}
		c.streams = c.streams.in(out.units)
	}
	return out, nil
}

// rows makes the cells anew, with what the free parameters add to their times.
func (f *fitting) rows(all []*parameter, s shape) []*cell {
	var cells []*cell
	for _, original := range f.cells {
		c := *original
		file := &f.data.Files[c.file]
		c.row, c.hidden = nil, nil
		c.given = float64(float64(file.OutputBytes) * f.output)
		c.givenHidden = c.given
		for _, p := range all {
			loud, silent := f.effect(p, &c, false, s), f.effect(p, &c, true, s)
			if p.kept {
				c.given += loud * p.builtin
				c.givenHidden += silent * p.builtin
				continue
			}
			c.row, c.hidden = append(c.row, loud), append(c.hidden, silent)
		}
		c.streams = f.streamed(file, all)
		cells = append(cells, &c)
	}
	return cells
}

// estimate finds the parameters and their intervals, in units.
func (s *solution) estimate() error {
	sys := &system{cells: s.cells, n: len(s.free), start: s.start}
	spare := s.samples - sys.n
	if s.repeated {
		s.pure.scale(s.cells)
	} else if err := s.scaleByResiduals(sys, spare); err != nil {
		return err
	}
	// Intervals follow from the estimate without bounds, for the loads that are hidden in this shape.
	fixed := &system{n: sys.n, start: s.start}
	for _, c := range s.cells {
		own := *c
		own.hidden = nil
		if s.hiddenIn(c) {
			own.row, own.given = c.hidden, c.givenHidden
		}
		fixed.cells = append(fixed.cells, &own)
	}
	signed, err := fixed.signed()
	if err != nil {
		return err
	}
	if s.values, err = sys.positive(); err != nil {
		return err
	}
	s.loss = sys.loss(tukey, s.values)
	relative := make([]float64, 0, len(s.cells))
	for _, c := range s.cells {
		at, _ := c.predicted(s.values)
		for _, t := range c.ms {
			if c.outlier(t, at) {
				s.outliers++
			}
		}
		relative = append(relative, c.sigma/c.median)
	}
	s.noise = median(relative)
	for j, p := range s.free {
		p.signed = signed[j]
		p.sources = map[profile.Source]int{}
		for _, c := range s.cells {
			if row := s.shown(c); row[j] != 0 {
				p.samples += len(c.ms)
				for source, n := range c.sources {
					p.sources[source] += n
				}
			}
		}
	}
	if spare > 0 {
		s.intervals(fixed, signed, spare)
	}
	return nil
}

// scaleByResiduals takes the noise from what the formulas leave, where there
// are no repeats to take it from.
func (s *solution) scaleByResiduals(sys *system, spare int) error {
	n := noise{factor: hardware, power: 1}
	var x []float64
	for range 5 {
		for _, c := range s.cells {
			c.sigma = max(n.at(c.median), leastSpread*c.median)
		}
		if spare <= 0 {
			return nil
		}
		var err error
		if x, err = sys.iterate(huber, x, roughly, func(a *mat.Dense, b []float64) ([]float64, error) { return leastSquares(a, b, nil) }); err != nil {
			return err
		}
		var away []float64
		for _, c := range s.cells {
			at, _ := c.predicted(x)
			for _, t := range c.ms {
				away = append(away, math.Abs(t-at)/c.median)
			}
		}
		// The median of a normal distribution's sizes is 0.6745 of its deviation.
		n.factor = median(away) / 0.6745 * math.Sqrt(float64(s.samples)/float64(spare))
	}
	return nil
}

// believed is the share of chance at which cells are said to disagree.
const believed = 0.005

// leastUnit keeps samples without any noise, where scales are what clocks are
// taken for, from looking better still.
const leastUnit = 1e-2

// intervals sets low and high of the fitted parameters.
func (s *solution) intervals(sys *system, x []float64, spare int) {
	information := mat.NewSymDense(sys.n, nil)
	var squares, bends, between float64 // sums over samples; over cells, of squared sums per cell
	var inner, follow float64           // squares around the cell's mean; products of neighbours
	pulls := make([]float64, len(sys.cells))
	for i, c := range sys.cells {
		at, row := c.predicted(x)
		k := float64(len(c.ms))
		var sum, sum2 float64
		for _, t := range c.ms {
			u := (t - at) / c.sigma
			psi := tukey.slope(u)
			sum += psi
			sum2 += psi * psi
			bends += tukey.bend(u)
		}
		mean := sum / k
		previous := 0.0
		for i, t := range c.ms {
			dev := tukey.slope((t-at)/c.sigma) - mean
			inner += dev * dev
			if i > 0 {
				follow += dev * previous
			}
			previous = dev
		}
		squares += sum2
		pulls[i] = sum * sum / k
		between += pulls[i]
		for a := range sys.n {
			for b := a; b < sys.n; b++ {
				information.SetSym(a, b, information.At(a, b)+k*row[a]*row[b]/(c.sigma*c.sigma))
			}
		}
	}
	told := make([]bool, sys.n) // what streams in passes may be hidden where the fit came out
	for j := range told {
		if told[j] = information.At(j, j) > 0; !told[j] {
			information.SetSym(j, j, 1)
		}
	}
	var factor mat.Cholesky
	if !factor.Factorize(information) {
		return
	}
	var inverse mat.SymDense
	if err := factor.InverseTo(&inverse); err != nil {
		return
	}
	samples, cells := float64(s.samples), float64(len(sys.cells))
	bend := math.Max(bends/samples, 0.1)
	unit := squares / float64(spare) // variance of a sample's pull
	if free := samples - cells; s.repeated && free >= repeats {
		unit = inner / free
		// Around a cell's own mean samples seem to correlate less than they do,
		// by (1 + 3 correlation) / samples of a cell (Marriott and Pope).
		each := samples / cells
		correlation := (follow/inner + 1/each) / (1 - math.Min(0.5, 3/each))
		if inner > leastUnit*samples && correlation > 2.5/math.Sqrt(samples) {
			s.drift = math.Min(correlation, 0.95)
		}
	}
	unit = math.Max(unit, leastUnit)
	variance := unit / (bend * bend)
	fewer := 1.0 // by what factor samples that follow each other are worth less
	if s.drift > 0 {
		// A mean of samples that follow each other varies more, and their scatter
		// around it shows less of what there is.
		fewer = (1 + s.drift) / (1 - s.drift)
		variance *= fewer / (1 - math.Min(0.5, fewer*cells/samples))
	}
	limit := math.Inf(1) // degrees of freedom
	if free := len(sys.cells) - sys.n; s.repeated && free > 0 && unit > 0 {
		q := between / (variance * bend * bend)
		if (distuv.ChiSquared{K: float64(free)}).Survival(q) < believed {
			s.excess = math.Sqrt(q / float64(free))
			limit = float64(free)
		}
	}
	s.doubt = fewer * s.excess * s.excess
	s.covariance = func(a, b int) float64 {
		return variance * inverse.At(a, b) * s.excess * s.excess / (s.units[a] * s.units[b])
	}
	for j, p := range s.free {
		if !told[j] {
			continue
		}
		total, squared := 0.0, 0.0
		for _, c := range sys.cells {
			g := 0.0
			_, row := c.predicted(x)
			for k, v := range row {
				g += inverse.At(j, k) * v
			}
			share := float64(len(c.ms)) * g * g / (c.sigma * c.sigma)
			total += share
			own := float64(spare)
			if s.excess > 1 {
				own = limit / cells // it is the cells that tell how much cells disagree
			} else if s.repeated {
				own = borrowed + float64(len(c.ms)-1)/fewer
			}
			squared += share * share / own
		}
		freedom := float64(spare)
		if squared > 0 {
			freedom = math.Min(total*total/squared, freedom)
		}
		freedom = math.Max(1, math.Min(freedom, limit))
		p.quantile = distuv.StudentsT{Mu: 0, Sigma: 1, Nu: freedom}.Quantile(0.975)
		p.variance = s.covariance(j, j)
		reach := p.quantile * math.Sqrt(variance*inverse.At(j, j)) * s.excess
		p.low, p.high = math.Max(0, x[j]-reach), math.Max(0, x[j]+reach)
		p.low, p.high = math.Min(p.low, s.values[j]), math.Max(p.high, s.values[j])
		p.bounded = true
	}
}

// calibration writes the solution down.
func (s *solution) calibration() *cost.Calibration {
	c := &cost.Calibration{
		Device: s.data.Device,
		Models: []cost.CalibratedModel{}, Warnings: append([]string{}, s.data.Warnings...),
		Samples: cost.SampleCounts{Used: s.samples, Unused: s.data.Unused, Outliers: s.outliers},
	}
	if s.link != nil {
		c.Link = s.link.Name
	}
	for _, x := range s.cells {
		c.Samples.Measured += x.sources[profile.Measured]
		c.Samples.Imported += x.sources[profile.Imported]
		c.Samples.Simulated += x.sources[profile.Simulated]
	}
	c.Load = perMS(s.find(rate))
	c.Stream = c.Load
	if p := s.find(stream); p != nil {
		c.Stream = perMS(p)
	} else if c.Stream.Known() {
		c.Stream.Why = "no sample shows another rate than that of loads"
	}
	c.Over, c.Overlap = s.find(overhead).estimate(), s.find(overlap).estimate()
	if s.link != nil || len(s.shapes) > 0 {
		c.Host = s.told.host.estimate(&s.told)
	}
	if s.output > 0 {
		c.Output = s.told.output.estimate(&s.told)
	}
	for i := range s.data.Files {
		f := &s.data.Files[i]
		if n := len(c.Models); n == 0 || c.Models[n-1].Name != f.Model {
			m := cost.CalibratedModel{Name: f.Model, Files: []cost.CalibratedFile{}, Slope: cost.Estimate{
				Source: cost.SourceModelled, Why: "streaming has a rate of its own",
			}}
			if _, ok := s.shapes[f.Model]; ok {
				m.Slope.Why = "its shapes say what streaming takes"
			}
			m.Factor, m.Passes = s.factor(f.Model, float64(f.OutputBytes)), s.sendings(f.Model)
			for _, p := range s.all {
				switch {
				case p.model != f.Model:
				case p.what == compute:
					m.Compute = p.estimate()
				case p.what == slope:
					m.Slope = p.estimate()
				}
			}
			c.Models = append(c.Models, m)
		}
		m := &c.Models[len(c.Models)-1]
		m.SourceSHA256 = cmp.Or(m.SourceSHA256, f.SourceSHA256)
		m.Files = append(m.Files, f.CalibratedFile)
	}
	s.residuals(c)
	c.Warnings = append(c.Warnings, s.doubts(c)...)
	return c
}

// estimate is a parameter as it is written down.
func (p *parameter) estimate() cost.Estimate {
	if p.covered {
		return cost.Estimate{Value: round(p.builtin), Source: cost.SourceModelled, Why: hidesBehind}
	}
	if p.kept {
		return cost.Estimate{Value: round(p.builtin), Source: cost.SourceModelled, Why: p.why, With: p.with}
	}
	e := cost.Estimate{Value: round(p.value), Source: p.source(), Samples: p.samples}
	if p.bounded {
		low, high := round(p.low), round(p.high)
		e.Low, e.High = &low, &high
	}
	return e
}

// source is the least real of the sources of a parameter.
func (p *parameter) source() string {
	for _, s := range []profile.Source{profile.Simulated, profile.Imported} {
		if p.sources[s] > 0 {
			return string(s)
		}
	}
	return string(profile.Measured)
}

// perMS turns time per byte into bytes per time.
func perMS(p *parameter) cost.Estimate {
	e := p.estimate()
	invert := func(v *float64) *float64 {
		if v == nil || *v == 0 {
			return nil
		}
		r := round(1 / *v)
		return &r
	}
	low := e.Low
	e.Low, e.High = invert(e.High), invert(low)
	e.Value = 0
	if v := invert(&p.value); v != nil {
		e.Value = *v
	}
	return e
}

// round leaves the digits that mean something, so that machines whose last
// bits differ write the same.
func round(x float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 7, 64), 64)
	if err != nil {
		return x
	}
	return r
}

// residuals says how well the formulas fit.
func (s *solution) residuals(c *cost.Calibration) {
	r := &c.Residuals
	r.Free = len(s.cells) - len(s.free)
	r.Calls = []cost.CalibratedOn{}
	if s.repeated {
		r.NoisePercent = round(100 * s.noise)
	}
	if s.excess > 1 {
		r.Excess = round(s.excess)
	}
	var away []float64
	for _, x := range s.cells {
		at, _ := x.predicted(s.values)
		f := &s.data.Files[x.file]
		on := cost.CalibratedOn{Model: f.Model, File: f.File, Run: x.run, Kind: "warm", Samples: len(x.ms), MS: round(x.median), FittedMS: round(at)}
		if x.cold {
			on.Kind = "cold"
		}
		for _, t := range x.ms {
			if x.outlier(t, at) {
				on.Outliers++
			}
		}
		r.Calls = append(r.Calls, on)
		away = append(away, 100*math.Abs(x.median-at)/x.median)
	}
	r.MedianPercent, r.WorstPercent = round(median(away)), round(slices.Max(away))
}

// doubts are what a reader of the numbers has to know.
func (s *solution) doubts(c *cost.Calibration) []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	n := &c.Samples
	if kinds := btoi(n.Measured > 0) + btoi(n.Imported > 0) + btoi(n.Simulated > 0); kinds > 1 {
		say("the samples are a mixture: %d measured, %d imported, %d simulated; a number that rests on several kinds is called by the least real", n.Measured, n.Imported, n.Simulated)
	}
	for _, p := range s.all {
		switch {
		case p.kept && p.what == slope && p.with == nil: // nothing streams
		case p.covered:
			say("%s is not known: %s; time it with more of its parameters cached", p.name(), hidesBehind)
		case p.kept && len(p.with) > 0 && p.what != overlap:
			say("%s is not known, %s; %s", p.name(), p.why, advice(p))
		case p.kept && (p.what == overhead || p.what == rate):
			say("%s is not known: %s; its built-in value is kept", p.name(), p.why)
		case p.shaky && p.what != overlap:
			say("%s and %s can hardly be told apart; %s", p.name(), strings.Join(p.with, " and "), advice(p))
		case !p.kept && p.what == compute && p.value == 0:
			say("%s comes out as nothing: the bytes of its calls alone take as long as was timed", p.name())
		}
	}
	switch {
	case !s.repeated && s.samples <= len(s.free):
		say("there are as many samples as parameters: every number is exact for these samples, and no interval can be given")
	case len(s.cells) <= len(s.free):
		say("there are as many kinds of calls as parameters: nothing checks the formulas, the intervals hold for the noise of repeats only")
	case s.excess > 1:
		say("calls of different files disagree %.1f times as much as repeats do: the formulas are not the whole truth here, and the intervals are wider by that", s.excess)
	}
	if s.drift > 0 {
		say("repeats drift (successive samples correlate by %.2f): the intervals are wider for it", s.drift)
	}
	if 10*s.outliers > s.samples {
		say("%d of %d samples are outliers and had no say", s.outliers, s.samples)
	}
	if e := s.effective(); e.streams {
		say("parameters are streamed faster than they are loaded; plans count streaming at the rate of loads, as an upper bound")
	}
	return all
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// advice says what would tell a parameter from the others.
func advice(p *parameter) string {
	switch p.what {
	case rate, stream:
		return "time calls that load, or files of one model with different splits"
	case slope:
		return fmt.Sprintf("time another file of %q that streams more", p.model)
	case passes:
		return fmt.Sprintf("time another file of %q that streams less", p.model)
	}
	return "time loads of very different sizes"
}
