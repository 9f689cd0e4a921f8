package profile

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Progress is how far runs are by the samples that there are of them. A run is
// known by its name, so runs of one file of samples have different ones; a
// sample by its run and the number of its call, and one of kind create by its
// run and its model. The zero value knows no samples.
type Progress struct {
	runs map[string]*progress
}

// progress is that of one run.
type progress struct {
	created map[string]bool
	calls   map[int64]called
}

// called is a sample of a call.
type called struct {
	model, sha256, device string
	kind                  Kind
	bytes                 *int64
}

// of says whether a call may be one of a run.
func (c *called) of(run *Run, step Step) bool {
	m := &run.Models[step.Model]
	bytes := int64(0)
	switch c.kind {
	case First, Load:
		bytes = m.ColdBytes
	case Steady, Squeezed:
		bytes = m.WarmBytes
	}
	return step.Kind == c.kind && m.Name == c.model &&
		(c.sha256 == "" || m.SHA256 == "" || c.sha256 == m.SHA256) && // the file has not been compiled anew
		(c.bytes == nil || bytes == 0 || *c.bytes == bytes) &&
		(!strings.HasPrefix(run.Device, "/") || c.device == run.Device)
}

// Add takes a sample into account. The result says whether it is new.
func (p *Progress) Add(s *Sample) bool {
	if p.runs == nil {
		p.runs = map[string]*progress{}
	}
	r := p.runs[s.Run]
	if r == nil {
		r = &progress{created: map[string]bool{}, calls: map[int64]called{}}
		p.runs[s.Run] = r
	}
	if s.Kind == Create {
		known := r.created[s.Model]
		r.created[s.Model] = true
		return !known
	}
	_, known := r.calls[s.Call]
	r.calls[s.Call] = called{s.Model, s.SHA256, s.Device, s.Kind, s.Bytes}
	return !known
}

// Rest is what is left of a run: the run itself if there are no samples of it,
// nil if there are all. Otherwise it has the same name and fewer repeats; the
// first is as late as the samples allow, and something is done before it to warm up.
// Its call number n is number n + offset of the whole run. It is an error
// if the samples are of another run that has the same name.
func (p *Progress) Rest(run *Run) (rest *Run, offset int64, err error) {
	have := p.runs[run.Name]
	if have == nil {
		return run, 0, nil
	}
	steps := int64(len(run.Steps))
	for number, c := range have.calls {
		step := run.Steps[((number%steps)+steps)%steps]
		if pass := number / steps; number < 0 || pass < int64(run.WarmUp) || pass >= int64(run.WarmUp+run.Repeats) || !c.of(run, step) {
			return nil, 0, fmt.Errorf("there are samples of another run %q: call %d is a %s call of model %q there", run.Name, number, c.kind, c.model)
		}
	}
	done := 0
	for done < run.Repeats && have.has(run, int64(run.WarmUp+done)*steps) {
		done++
	}
	// Interpreters are made before all calls, and somebody may keep no samples of that.
	made := slices.ContainsFunc(run.Steps, func(s Step) bool { return s.Kind != "" })
	if !made {
		made = !slices.ContainsFunc(run.Models, func(m RunModel) bool { return !have.created[m.Name] })
	}
	if done == run.Repeats && made {
		return nil, 0, nil
	}
	done = min(done, run.Repeats-1)
	short := *run
	short.Repeats -= done
	if done > 0 { // what came before left its state behind
		short.WarmUp = max(run.WarmUp, 1)
	}
	return &short, int64(run.WarmUp+done-short.WarmUp) * steps, nil
}

// has says whether there are samples of all recorded calls of a pass.
func (p *progress) has(run *Run, first int64) bool {
	for i, step := range run.Steps {
		if _, ok := p.calls[first+int64(i)]; step.Kind != "" && !ok {
			return false
		}
	}
	return true
}

// Resume is a measurer that does what is left of a run by the samples in done,
// and gives only samples that are not there yet. It adds to done what it gives.
func Resume(m Measurer, done *Progress) Measurer { return &resumed{m, done} }

type resumed struct {
	Measurer
	done *Progress
}

// Measure implements [Measurer].
func (r *resumed) Measure(ctx context.Context, run *Run, emit func(*Sample) error) error {
	if err := run.Check(); err != nil {
		return err
	}
	rest, offset, err := r.done.Rest(run)
	if err != nil {
		return &Failure{Code: BadRun, Text: err.Error(), Hint: "choose another file for the samples, or remove it"}
	}
	if rest == nil {
		return nil
	}
	return r.Measurer.Measure(ctx, rest, func(s *Sample) error {
		if s.Kind != Create {
			if s.Call > math.MaxInt64-offset {
				return fmt.Errorf("a sample of call %d", s.Call)
			}
			s.Call += offset
		}
		if !r.done.Add(s) {
			return nil
		}
		return emit(s)
	})
}
