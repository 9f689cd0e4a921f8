package validation

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tpuplan/tpuplan/profile"
)

// observation is a recorded call.
type observation struct {
	call int // of the run, from 0
	*profile.Sample
}

// class are the calls of a model under an arrangement that were predicted to
// be of one kind.
type class struct {
	calls       []int // of the run
	predictedMS float64
	passes      [][]float64 // times, in the order of calls
}

func (c *class) all() (values []float64) {
	for _, p := range c.passes {
		values = append(values, p...)
	}
	return values
}

// ms is the mean over the passes.
func (c *class) ms() float64 { return mean(c.means()) }

func (c *class) means() (list []float64) {
	if len(c.calls) == 0 {
		return nil
	}
	for _, p := range c.passes {
		list = append(list, trimmed(p))
	}
	return list
}

// unit is a model under an arrangement.
type unit struct {
	model      int
	name       string
	in         *arranged
	file       *File
	warm, load class
	bytes      int64
}

func (u *unit) calls() int { return len(u.warm.calls) + len(u.load.calls) }

// arranged is an arrangement that was measured.
type arranged struct {
	*Arrangement
	predicted []foreseen // of each call of a run
	passes    [][]observation
	units     []*unit // of the models that are called, in their order
}

// check is an experiment while its samples are looked at.
type check struct {
	*Experiment
	seen    []*arranged // in the order of the arrangements
	compute []float64   // of each model, what is added to its predicted time
	result  *Result
}

// ErrNoSamples says that the first arrangement was not measured completely.
var ErrNoSamples = errors.New("no run of the plan itself was measured to its end")

// Check compares samples of the experiment's runs with what is predicted.
// Samples of other runs are left alone, and so are runs that were not measured to
// their end. The error is [ErrNoSamples], or says that the samples are of another sequence.
func (e *Experiment) Check(samples []profile.Sample) (*Result, error) {
	c := &check{Experiment: e, compute: make([]float64, len(e.Models)), result: &Result{Tolerance: e.Tolerance, Calls: len(e.Sequence)}}
	if err := c.collect(samples); err != nil {
		return nil, err
	}
	if len(c.seen) == 0 || c.seen[0].Arrangement != &c.Arrangements[0] {
		return nil, ErrNoSamples
	}
	c.estimateCompute()
	c.figures()
	c.pairs()
	c.diagnose()
	return c.result, nil
}

// collect sorts samples into arrangements, passes and classes.
func (c *check) collect(samples []profile.Sample) error {
	runs := map[string][]*profile.Sample{}
	for i := range samples {
		if samples[i].Kind == profile.Replay {
			runs[samples[i].Run] = append(runs[samples[i].Run], &samples[i])
		}
	}
	calls := c.Experiment.calls()
	c.result.Passes = math.MaxInt
	for k := range c.Arrangements {
		a := &c.Arrangements[k]
		if !a.measurable() {
			continue
		}
		x := &arranged{Arrangement: a}
		for pass := range c.Passes {
			of, got := c.runName(a, pass), []observation{}
			for _, s := range runs[of] {
				at := int(s.Call)
				if s.Call < int64(len(c.Models)) || s.Call >= int64(len(calls)) || s.Model != c.Models[calls[at]].Name {
					return fmt.Errorf("run %s: its call %d is one of %q, which is not the sequence that is validated", of, s.Call, s.Model)
				}
				got = append(got, observation{at, s})
			}
			slices.SortStableFunc(got, func(a, b observation) int { return a.call - b.call })
			got = slices.CompactFunc(got, func(a, b observation) bool { return a.call == b.call })
			switch {
			case len(got) == len(c.Sequence):
				x.passes = append(x.passes, got)
				c.sources(got)
			case len(got) > 0:
				c.result.Warnings = append(c.result.Warnings, fmt.Sprintf("run %s: %d of %d calls were measured; it is left out", of, len(got), len(c.Sequence)))
			}
		}
		if len(x.passes) == 0 {
			continue
		}
		x.predicted = c.foresee(a)
		c.sort(x)
		c.seen = append(c.seen, x)
		c.result.Passes = min(c.result.Passes, len(x.passes))
	}
	return nil
}

// sources notes where samples came from.
func (c *check) sources(list []observation) {
	for _, o := range list {
		if r := c.result; r.Source != profile.Simulated && (r.Source == "" || o.Source != profile.Measured) {
			r.Source = o.Source
		}
		if o.Device != "" && !slices.Contains(c.result.Devices, o.Device) {
			c.result.Devices = append(c.result.Devices, o.Device)
		}
	}
}

// sort puts the calls of an arrangement into classes.
func (c *check) sort(x *arranged) {
	units := make([]*unit, len(c.Models))
	for call, f := range x.predicted {
		if call < len(c.Models) {
			continue
		}
		u := units[f.model]
		if u == nil {
			u = &unit{model: f.model, name: c.Models[f.model].Name, in: x, file: x.Files[f.model]}
			units[f.model] = u
		}
		u.bytes += f.bytes
		into := &u.warm
		if f.loads() {
			into = &u.load
		}
		into.calls = append(into.calls, call)
		into.predictedMS += f.warmMS + f.loadMS
	}
	for _, u := range units {
		if u == nil {
			continue
		}
		for _, k := range []*class{&u.warm, &u.load} {
			if len(k.calls) == 0 {
				continue
			}
			k.predictedMS /= float64(len(k.calls))
			for _, pass := range x.passes {
				values := make([]float64, 0, len(k.calls))
				for _, call := range k.calls {
					values = append(values, pass[call-len(c.Models)].MS)
				}
				k.passes = append(k.passes, values)
			}
		}
		x.units = append(x.units, u)
	}
}

// estimateCompute finds what the plan's cost of a model leaves out, from its
// warm calls where it is compiled alone, else from what there is.
func (c *check) estimateCompute() {
	order := slices.Clone(c.seen)
	slices.Reverse(order) // the plan's own arrangement, the first, is what is to be tested: it comes last
	slices.SortStableFunc(order, func(a, b *arranged) int { return b.singles() - a.singles() })
	for m := range c.Models {
		out := Compute{Model: c.Models[m].Name, Included: c.Models[m].Call.ComputeIncluded}
		for _, pick := range []func(u *unit) *class{func(u *unit) *class { return &u.warm }, func(u *unit) *class { return &u.load }} {
			for _, x := range order {
				for _, u := range x.units {
					if k := pick(u); u.model == m && len(k.calls) > 0 && out.From == "" && !out.Included {
						out.MS, out.From = max(0, k.ms()-k.predictedMS), x.Name
					}
				}
			}
		}
		c.compute[m] = out.MS
		c.result.Computes = append(c.result.Computes, out)
	}
}

// singles is how many models an arrangement compiles alone.
func (a *Arrangement) singles() (n int) {
	for _, g := range a.Groups {
		if len(g) == 1 {
			n++
		}
	}
	return n
}

// figures fills in what was predicted and measured. Arrangements that were not measured have a
// prediction if their files are there.
func (c *check) figures() {
	for k := range c.Arrangements {
		a := &c.Arrangements[k]
		out := Outcome{Name: a.Name, Same: a.Same}
		for _, x := range c.seen {
			if x.Arrangement == a {
				c.outcome(x, &out)
			}
		}
		c.result.Arrangements = append(c.result.Arrangements, out)
	}
	for k := range c.result.Arrangements {
		out := &c.result.Arrangements[k]
		if of := c.result.outcome(out.Same); of != nil {
			name, same := out.Name, out.Same
			*out = *of
			out.Name, out.Same = name, same
		}
	}
}

// outcome finds an arrangement by name, nil for "".
func (r *Result) outcome(name string) *Outcome {
	for k := range r.Arrangements {
		if name != "" && r.Arrangements[k].Name == name {
			return &r.Arrangements[k]
		}
	}
	return nil
}

func (c *check) outcome(x *arranged, out *Outcome) {
	out.Measured, out.Passes = true, len(x.passes)
	all := make([]float64, len(x.passes))
	errs := 0.0
	for _, u := range x.units {
		m := ModelOutcome{Name: u.name, Split: u.file.Split, Tokens: u.file.Tokens}
		m.Figures = c.figuresOf(u, &u.warm, &u.load)
		if len(u.warm.calls) > 0 {
			f := c.figuresOf(u, &u.warm)
			m.Warm = &f
		}
		if len(u.load.calls) > 0 {
			f := c.figuresOf(u, &u.load)
			f.Loads = f.Calls
			m.Load = &f
		}
		m.Loads, m.Bytes = len(u.load.calls), u.bytes
		out.Models = append(out.Models, m)
		share := float64(u.calls()) / float64(len(c.Sequence))
		for p := range all {
			all[p] += float64(share * u.pass(p))
		}
		out.Loads += m.Loads
		out.Bytes += m.Bytes
		out.PredictedMS += float64(share * m.PredictedMS)
		out.PlainMS += float64(share * m.PlainMS)
		errs += math.Abs(m.Error())
	}
	out.Figures.Calls = len(c.Sequence)
	out.MeasuredMS, out.CI = mean(all), interval(all)
	out.Outside = c.outside(&out.Figures)
	out.MAPE = errs / float64(len(x.units))
}

// pass is the mean time of a call of the unit in a pass.
func (u *unit) pass(p int) float64 { return passOf(p, &u.warm, &u.load) }

func passOf(p int, classes ...*class) float64 {
	sum, n := 0.0, 0
	for _, k := range classes {
		if len(k.calls) > 0 {
			sum += float64(float64(len(k.calls)) * trimmed(k.passes[p]))
			n += len(k.calls)
		}
	}
	return sum / float64(n)
}

func (c *check) figuresOf(u *unit, classes ...*class) Figures {
	f := Figures{}
	var passes, plain []float64
	for p := range u.in.passes {
		passes = append(passes, passOf(p, classes...))
	}
	for _, k := range classes {
		f.Calls += len(k.calls)
		f.PredictedMS += float64(float64(len(k.calls)) * (k.predictedMS + c.compute[u.model]))
		plain = append(plain, k.all()...)
	}
	f.PredictedMS /= float64(f.Calls)
	f.MeasuredMS, f.CI, f.PlainMS = mean(passes), interval(passes), mean(plain)
	f.Outside = c.outside(&f)
	return f
}

// outside reports that a prediction misses by more than the tolerance even
// where the interval of the measurement is nearest to it.
func (c *check) outside(f *Figures) bool {
	nearest := f.MeasuredMS
	if f.CI != nil {
		nearest = min(max(f.PredictedMS, f.CI.Low), f.CI.High)
	}
	return math.Abs(f.PredictedMS-nearest) > c.Tolerance*f.MeasuredMS
}

// pairs compares arrangements pass by pass: what slows the device down slows
// down all of a pass.
func (c *check) pairs() {
	agree, decided := 0, 0
	for i, a := range c.seen {
		for _, b := range c.seen[i+1:] {
			p := Pair{A: a.Name, B: b.Name}
			oa, ob := c.result.outcome(a.Name), c.result.outcome(b.Name)
			p.PredictedMS, p.MeasuredMS = oa.PredictedMS-ob.PredictedMS, oa.MeasuredMS-ob.MeasuredMS
			var differences []float64
			for pass := range min(len(a.passes), len(b.passes)) {
				differences = append(differences, c.mean(a, pass)-c.mean(b, pass))
			}
			p.CI = interval(differences)
			p.Verdict = p.verdict()
			switch p.Verdict {
			case Agrees:
				agree++
				decided++
			case Disagrees:
				decided++
			}
			c.result.Pairs = append(c.result.Pairs, p)
		}
	}
	if decided > 0 {
		share := float64(agree) / float64(decided)
		c.result.Agreement = &share
	}
}

// mean is the time of a mean call in a pass.
func (c *check) mean(x *arranged, pass int) (ms float64) {
	for _, u := range x.units {
		ms += float64(float64(u.calls()) / float64(len(c.Sequence)) * u.pass(pass))
	}
	return ms
}

// verdict compares the order of two arrangements with the predicted one. What
// is predicted or measured to differ by less than the measurement can tell is a tie.
func (p *Pair) verdict() Verdict {
	if p.CI == nil || p.CI.Low <= 0 && p.CI.High >= 0 || math.Abs(p.PredictedMS) <= p.CI.half() {
		return Tie
	}
	if (p.PredictedMS > 0) == (p.MeasuredMS > 0) {
		return Agrees
	}
	return Disagrees
}
