package fit

import (
	"fmt"
	"maps"
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/profile"
)

// A compute time holds what the host does for a call. Of one model the two cannot be
// told apart. Of several whose shapes say how long they should compute they can:
//
//	compute time = host + factor x modelled compute + (g - g taken) x output bytes
//
// with one factor for all, from which each model is off by some percent. So a
// model's sampling error is small beside what shapes get wrong, and both count.

// scatter is by how much models differ from their common factor, in parts of their compute.
const scatter = 0.08

// spoken are the models that it takes to tell one number more than their common factor.
const spoken = 3

// anyHost is what hosts of unknown kind take.
var anyHost = cost.CustomLink(1/commonMSPerByte, 0).Call

func (f *fitting) builtinHost() cost.Range {
	if f.link != nil {
		return f.link.Call
	}
	return anyHost
}

// aside is a number that models tell together.
type aside struct {
	value   float64
	known   bool
	reach   float64 // half the 95 % interval
	weights map[string]float64
	why     string
	with    []string
}

// hostFit is what models tell of the host and of outputs.
type hostFit struct {
	host, output aside
	samples      int
	sources      map[profile.Source]int
}

// voice is a model that has a say.
type voice struct {
	model           string
	at              int // in the free parameters
	ms, shape, out  float64
	quantile, share float64 // share is the weight that its distance leaves it
}

// taught asks the models what the host takes, and a byte of output.
func (s *solution) taught() hostFit {
	known := s.builtinHost()
	t := hostFit{host: aside{value: known.Value}, sources: map[profile.Source]int{}}
	if s.link != nil {
		t.output.value = s.link.OutputMSPerByte
	}
	var voices []voice
	unsure := false
	outputs := map[string]float64{}
	for i := range s.data.Files {
		if f := &s.data.Files[i]; outputs[f.Model] == 0 {
			outputs[f.Model] = float64(f.OutputBytes)
		}
	}
	for j, p := range s.free {
		shape, ok := s.shapes[p.model]
		switch {
		case p.what != compute || !ok || p.covered || p.value <= 0:
			continue
		case !p.bounded:
			unsure = true
			continue
		}
		// With the output at its built-in rate: what is fitted for another rate now is put back.
		ms := p.value + float64((s.output-t.output.value)*outputs[p.model])
		voices = append(voices, voice{model: p.model, at: j, ms: ms, shape: shape, out: outputs[p.model], quantile: p.quantile, share: 1})
		t.samples += p.samples
		for source, n := range p.sources {
			t.sources[source] += n
		}
	}
	if len(voices) < spoken {
		t.host.why = fmt.Sprintf("the compute of %d models by their shapes would tell it, and it is known of %d", spoken, len(voices))
		if unsure {
			t.host.why = "there are no more samples than numbers"
		}
		t.output.why = t.host.why
		return t
	}
	narrow := func(a *aside, most float64) bool {
		if a.why == "" && 2*a.reach >= most {
			a.why = "models differ from their shapes too much to tell it better"
		}
		a.known = a.why == ""
		return a.known
	}
	hosts, outs := known.High-known.Low, 2*t.output.value
	both := s.listen(voices, true, known.Value, t.output.value)
	if h := narrow(&both.host, hosts); narrow(&both.output, outs) {
		// Outputs are told with the host left open, whether that is told as well or not.
		if t.output = both.output; h {
			t.host = both.host
		} else {
			t.host.why, t.host.with = both.host.why, both.host.with
		}
		return t
	}
	t.output.why, t.output.with = both.output.why, both.output.with
	one := s.listen(voices, false, known.Value, t.output.value)
	if narrow(&one.host, hosts) {
		t.host = one.host
	} else {
		t.host.why, t.host.with = one.host.why, one.host.with
	}
	return t
}

// listen fits the models' common factor and the host, and outputs where asked.
func (s *solution) listen(voices []voice, output bool, hostMS, perByte float64) hostFit {
	t := hostFit{host: aside{value: hostMS}, output: aside{value: perByte}}
	n, p := len(voices), 1
	columns := [][]float64{make([]float64, n)} // what one unit of each number adds
	y := make([]float64, n)
	for i, v := range voices {
		columns[0][i], y[i] = v.shape, v.ms
	}
	take := func(a *aside, of func(v voice) float64) int {
		column := make([]float64, n)
		for i, v := range voices {
			column[i] = of(v)
		}
		all := append(columns, column)
		switch {
		case p+1 >= n:
			a.why = fmt.Sprintf("the compute of %d models by their shapes would tell it, and it is known of %d", p+2, n)
		case separateFrom(all, voices) < inseparable:
			a.why, a.with = "the samples cannot tell it from the compute of the models", []string{"the compute of the models"}
		default:
			columns = all
			p++
			return p - 1
		}
		return -1
	}
	hostAt, outputAt := take(&t.host, func(voice) float64 { return 1 }), -1
	if hostAt < 0 {
		t.output.why, t.output.with = t.host.why, t.host.with
		return t
	}
	if output {
		// Counted from its built-in rate, in units of it.
		if perByte == 0 {
			t.output.why = "which link was timed is not known"
		} else {
			outputAt = take(&t.output, func(v voice) float64 { return v.out * perByte })
		}
	}
	a := mat.NewDense(n, p, nil)
	for j, c := range columns {
		a.SetCol(j, c)
	}
	sampling := mat.NewSymDense(n, nil)
	for i := range voices {
		for k := range i + 1 {
			sampling.SetSym(i, k, s.covariance(voices[i].at, voices[k].at))
		}
	}
	x, w, off, scale, beyond, err := together(a, y, voices, sampling)
	if err != nil {
		t.host.why, t.output.why = "the samples do not tell it", "the samples do not tell it"
		return t
	}
	quantile := 0.0
	for _, v := range voices {
		quantile = max(quantile, v.quantile)
	}
	say := func(b *aside, j int, unit, from float64) {
		if j < 0 {
			return
		}
		row := mat.Row(nil, j, w)
		v := mat.NewVecDense(n, row)
		variance := float64(quantile * quantile * mat.Inner(v, sampling, v))
		for i, r := range row {
			variance += float64(r*off[i]*beyond*scale) * float64(r*off[i]*beyond*scale)
		}
		b.value = max(0, from+float64(x[j]*unit))
		b.reach = math.Sqrt(variance) * unit
		b.weights = map[string]float64{}
		for i := range voices {
			b.weights[voices[i].model] = row[i] * unit
		}
	}
	say(&t.host, hostAt, 1, 0)
	say(&t.output, outputAt, perByte, perByte)
	return t
}

// separateFrom is which share of the last column no combination of the others
// makes, in parts of the models' times.
func separateFrom(columns [][]float64, voices []voice) float64 {
	last := len(columns) - 1
	a, b := mat.NewDense(len(voices), last, nil), make([]float64, len(voices))
	for i, v := range voices {
		for j := range last {
			a.Set(i, j, columns[j][i]/v.ms)
		}
		b[i] = columns[last][i] / v.ms
	}
	length := math.Sqrt(dot(b, b))
	x, err := leastSquares(a, b, nil)
	if err != nil || length == 0 {
		return 0
	}
	for i := range b {
		b[i] -= dot(a.RawRowView(i), x)
	}
	return math.Sqrt(dot(b, b)) / length
}

// disagree is the share of chance at which models are said to be off by more than usual.
const disagree = 0.05

// together fits numbers to what models say: Huber's loss, then Tukey's if that
// leaves enough of them. w is what each model's time counts in each number, off the
// scatter of each model in ms, scale by what models are off more than usual,
// beyond how many deviations hold 95 %.
func together(a *mat.Dense, y []float64, voices []voice, sampling *mat.SymDense) (x []float64, w *mat.Dense, off []float64, scale, beyond float64, err error) {
	n, p := a.Dims()
	off = make([]float64, n)
	deviation := make([]float64, n)
	factor := 1.0
	fit := func() error {
		rows, b := mat.NewDense(n, p, nil), make([]float64, n)
		for i := range voices {
			off[i] = scatter * factor * voices[i].shape
			deviation[i] = math.Sqrt(sampling.At(i, i) + off[i]*off[i])
			root := math.Sqrt(voices[i].share) / deviation[i]
			for j := range p {
				rows.Set(i, j, root*a.At(i, j))
			}
			b[i] = root * y[i]
		}
		if x, err = leastSquares(rows, b, nil); err != nil {
			return err
		}
		var qr mat.QR
		qr.Factorize(rows)
		w = &mat.Dense{}
		roots := mat.NewDense(n, n, nil)
		for i := range voices {
			roots.Set(i, i, math.Sqrt(voices[i].share)/deviation[i])
		}
		if err := qr.SolveTo(w, false, roots); err != nil {
			return errSingular
		}
		if x[0] > 0 {
			factor = x[0]
		}
		return nil
	}
	away := func(i int) float64 { return (y[i] - dot(a.RawRowView(i), x)) / deviation[i] }
	for i := range voices {
		voices[i].share = 1
	}
	weigh := func(l loss) (left float64) {
		for i := range voices {
			voices[i].share = l.weight(away(i))
			left += voices[i].share
		}
		return left
	}
	const steps = 30
	for range steps {
		if err = fit(); err != nil {
			return nil, nil, nil, 0, 0, err
		}
		weigh(huber)
	}
	if weigh(tukey) >= float64(p)+1.5 {
		for range steps {
			if fit() != nil || weigh(tukey) < float64(p)+1.5 {
				break
			}
		}
	} else {
		weigh(huber)
	}
	if err = fit(); err != nil {
		return nil, nil, nil, 0, 0, err
	}
	scale, beyond = 1, distuv.UnitNormal.Quantile(0.975)
	chi, left := 0.0, -float64(p)
	for i := range voices {
		chi += voices[i].share * away(i) * away(i)
		left += voices[i].share
	}
	if left >= 0.5 && (distuv.ChiSquared{K: left}).Survival(chi) < disagree {
		scale = math.Sqrt(chi / left)
		beyond = distuv.StudentsT{Mu: 0, Sigma: 1, Nu: max(1, left)}.Quantile(0.975)
	}
	return x, w, off, scale, beyond, nil
}

// How often, and how near in ms, what is taken for the host is brought to what the models say it is.
const (
	hostSteps = 8
	hostNear  = 1e-6
	hostMove  = 0.02 // by which to see how much other numbers depend on it
)

// withHost fits again with the host and the outputs as models say they are. What an op computes
// is its share of the compute time less the host's, so where streaming hides behind
// it, the compute times depend on the host in turn.
func (f *fitting) withHost(s *solution) (*solution, error) {
	if len(f.shapes) == 0 {
		f.told.host = aside{value: f.host, why: "the shapes of no model are known"}
		f.told.output = aside{value: f.output, why: f.told.host.why}
		return s, nil
	}
	t := s.taught()
	was, gap := f.host, math.NaN() // the host before this one, and how far the models were from it
	for range hostSteps {
		now := t.host.value - f.host
		if math.Abs(now) < hostNear && math.Abs(t.output.value-f.output) < 1e-9*f.output {
			break
		}
		next := t.host.value
		if slope := (now - gap) / (f.host - was); slope < 0 && !math.IsInf(slope, 0) {
			next = max(0, f.host-now/slope)
		}
		was, gap = f.host, now
		f.host, f.output = next, t.output.value
		other, err := f.solve(s.shape)
		if err != nil {
			return nil, err
		}
		s = other
		t = s.taught()
	}
	f.told = t
	f.told.host.value, f.told.output.value = f.host, f.output
	here := f.host
	f.host += hostMove
	other, err := f.solve(s.shape)
	f.host = here
	if err != nil {
		return s, nil //nolint:nilerr // only how sure numbers are is known less well
	}
	for _, p := range s.free {
		for _, q := range other.free {
			if p.what == q.what && p.model == q.model {
				p.byHost = (q.value - p.value) / hostMove
			}
		}
	}
	s.widen()
	return s, nil
}

// widen adds to the intervals how unsure the host is, and outputs are.
func (s *solution) widen() {
	outputs := map[string]float64{}
	for i := range s.data.Files {
		outputs[s.data.Files[i].Model] = float64(s.data.Files[i].OutputBytes)
	}
	for _, p := range s.free {
		if !p.bounded {
			continue
		}
		low, high := s.besides(p.byHost)
		out := 0.0
		if p.what == compute {
			out = s.told.output.reachIfKnown() * outputs[p.model]
		}
		half := p.quantile * math.Sqrt(p.variance)
		p.low = max(0, p.low+half-math.Sqrt(half*half+low*low+out*out))
		p.high += math.Sqrt(half*half+high*high+out*out) - half
	}
}

// besides is by how much a number that moves with the host may be lower, and higher, because the
// host is as unsure as it is: by its interval, or by how far hosts of the kind differ.
func (s *solution) besides(moves float64) (low, high float64) {
	if h := &s.told.host; h.known {
		return math.Abs(moves * h.reach), math.Abs(moves * h.reach)
	}
	known := s.builtinHost()
	a, b := moves*(known.Low-s.host), moves*(known.High-s.host)
	return -min(0, a, b), max(0, a, b)
}

// estimate is the number as it is written down.
func (a *aside) estimate(t *hostFit) *cost.Estimate {
	if !a.known {
		return &cost.Estimate{Value: round(a.value), Source: cost.SourceModelled, Why: a.why, With: a.with}
	}
	low, high := round(max(0, a.value-a.reach)), round(a.value+a.reach)
	return &cost.Estimate{Value: round(a.value), Low: &low, High: &high, Source: t.source(), Samples: t.samples}
}

func (t *hostFit) source() string { return (&parameter{sources: t.sources}).source() }

// factor is by what a model's compute differs from that of its shapes; nil if these are not known.
func (s *solution) factor(model string, output float64) *cost.Estimate {
	shape, ok := s.shapes[model]
	if !ok {
		return nil
	}
	at := -1
	for j, p := range s.free {
		if p.what == compute && p.model == model {
			at = j
		}
	}
	if at < 0 || s.free[at].covered {
		return &cost.Estimate{Value: 1, Source: cost.SourceModelled, Why: hidesBehind}
	}
	p, host := s.free[at], s.told.host
	e := &cost.Estimate{Value: round(max(0, p.value-s.host) / shape), Source: p.source(), Samples: p.samples}
	if host.known {
		all := hostFit{sources: maps.Clone(p.sources)}
		for source, n := range s.told.sources {
			all.sources[source] += n
		}
		e.Source = all.source()
	}
	if !p.bounded {
		return e
	}
	low, high := p.value-s.host, p.value-s.host
	moves := p.byHost - 1 // of the compute without the host, for each ms that the host takes more
	variance := p.variance
	for k, q := range s.free { // the host is told by this model, among others
		if q.what == compute && host.known {
			variance += 2 * moves * host.weights[q.model] * s.covariance(at, k)
		}
	}
	half := math.Hypot(p.quantile*math.Sqrt(max(0, variance)), s.told.output.reachIfKnown()*output)
	less, more := s.besides(moves)
	low, high = low-math.Hypot(half, less), high+math.Hypot(half, more)
	low, high = round(max(0, low)/shape), round(max(0, high)/shape)
	low, high = min(low, e.Value), max(high, e.Value)
	e.Low, e.High = &low, &high
	return e
}

func (a *aside) reachIfKnown() float64 {
	if a.known {
		return a.reach
	}
	return 0
}

const hidesBehind = "what it computes hides behind what it streams in every file that was timed"

// sendings is by what the number of passes of a model differs from what was
// predicted; nil for a model that does not run in passes, as far as is known.
func (s *solution) sendings(model string) *cost.Estimate {
	if _, ok := s.shapes[model]; !ok {
		return nil
	}
	most := 1.0
	for i := range s.data.Files {
		if f := &s.data.Files[i]; f.Model == model {
			for k := range f.Ops {
				most = max(most, f.Ops[k].Passes)
			}
		}
	}
	if most == 1 {
		return nil
	}
	for _, p := range s.all {
		if p.what != passes || p.model != model {
			continue
		}
		if p.kept {
			return &cost.Estimate{Value: 1, Source: cost.SourceModelled, Why: p.why, With: p.with}
		}
		return s.ratio(p, s.find(rate), 1/most)
	}
	return &cost.Estimate{Value: 1, Source: cost.SourceModelled, Why: "no file of it that was timed streams what is sent in passes"}
}

// ratio is a number per byte in parts of the link's, which is at least so much.
func (s *solution) ratio(p, link *parameter, least float64) *cost.Estimate {
	at := func(p *parameter) int {
		for j, q := range s.free {
			if p == q {
				return j
			}
		}
		return -1
	}
	value := p.value / link.value
	e := &cost.Estimate{Value: round(max(least, value)), Source: p.source(), Samples: p.samples}
	if !p.bounded || link.value == 0 {
		return e
	}
	variance, moves := p.variance, p.byHost
	if j := at(link); j >= 0 {
		variance += value*value*link.variance - 2*value*s.covariance(at(p), j)
		moves -= value * link.byHost
	}
	half := p.quantile * math.Sqrt(max(0, variance))
	less, more := s.besides(moves)
	less, more = math.Hypot(half, less)/link.value, math.Hypot(half, more)/link.value
	low, high := round(max(least, value-less)), round(max(least, value+more))
	e.Low, e.High = &low, &high
	return e
}
