package replay

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
)

// Source is who calls what, when. Next gives the next call, or io.EOF when
// there is none.
type Source interface {
	Next() (Call, error)
}

// cycle repeats a sequence.
type cycle struct {
	sequence []int
	at       int
}

// Cycle makes the calls of a sequence, one after the other, for ever.
func Cycle(sequence []int) (Source, error) {
	if len(sequence) == 0 {
		return nil, errors.New("a cycle without calls")
	}
	return &cycle{sequence: sequence}, nil
}

func (c *cycle) Next() (Call, error) {
	m := c.sequence[c.at]
	c.at = (c.at + 1) % len(c.sequence)
	return Call{Model: m}, nil
}

// Streams of a seed, so that who is called does not depend on whether times are drawn.
const (
	streamModels = 1
	streamTimes  = 2
)

// draws draws models by their weights.
type draws struct {
	models *rand.PCG
	upTo   []float64 // share of calls that go to this model or one before it
}

func newDraws(weights []float64, seed uint64) (*draws, error) {
	d := &draws{models: rand.NewPCG(seed, streamModels), upTo: make([]float64, len(weights))}
	sum := 0.0
	for i, w := range weights {
		if !(w >= 0 && w <= math.MaxFloat32) {
			return nil, fmt.Errorf("%v calls of model %d", w, i+1)
		}
		sum += w
		d.upTo[i] = sum
	}
	if !(sum > 0) {
		return nil, errors.New("no model is ever called")
	}
	for i := range d.upTo {
		d.upTo[i] /= sum
	}
	return d, nil
}

// uniform is a number from 0 up to but not 1, with 53 random bits.
func uniform(p *rand.PCG) float64 { return float64(p.Uint64()>>11) / (1 << 53) }

func (d *draws) model() int {
	u := uniform(d.models)
	if len(d.upTo) > 16 {
		return sort.Search(len(d.upTo), func(i int) bool { return u < d.upTo[i] })
	}
	m := 0
	for u >= d.upTo[m] {
		m++
	}
	return m
}

func (d *draws) Next() (Call, error) { return Call{Model: d.model()}, nil }

// Independent draws every call by itself, for ever: model m with a probability
// of weights[m] over their sum. Calls follow each other without a pause.
func Independent(weights []float64, seed uint64) (Source, error) {
	d, err := newDraws(weights, seed)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// poisson draws models and the times between calls.
type poisson struct {
	*draws
	times  *rand.PCG
	meanMS float64
	atMS   float64
}

// Poisson makes calls at random times, for ever: those of model m arrive
// perMS[m] times a millisecond on average, independently of all others. The
// models are called in the order in which [Independent] calls them for the same seed.
func Poisson(perMS []float64, seed uint64) (Source, error) {
	d, err := newDraws(perMS, seed)
	if err != nil {
		return nil, err
	}
	sum := 0.0
	for _, r := range perMS {
		sum += r
	}
	return &poisson{draws: d, times: rand.NewPCG(seed, streamTimes), meanMS: 1 / sum}, nil
}

func (p *poisson) Next() (Call, error) {
	p.atMS += float64(p.meanMS * exponential(p.times))
	return Call{Model: p.model(), Timed: true, AtMS: p.atMS}, nil
}

// exponential draws from the exponential distribution of mean 1 by comparing
// uniform numbers, as von Neumann did (Various techniques used in connection
// with random digits, 1951). No logarithm is taken, so that every machine
// draws the same.
func exponential(p *rand.PCG) float64 {
	for whole := 0.0; ; whole++ {
		first := uniform(p)
		falling := 1 // length of the run of falling numbers that begins with first
		for last := first; ; falling++ {
			next := uniform(p)
			if next >= last {
				break
			}
			last = next
		}
		if falling%2 == 1 {
			return whole + first
		}
	}
}

// periodic calls each model at equal intervals.
type periodic struct {
	everyMS, phaseMS []float64
	made             []int64 // calls made of each model
}

// Periodic calls model m every everyMS[m], the first time at phaseMS[m], for
// ever; a model of 0 is never called. Of calls at the same time those of the
// model with the lower number come first.
func Periodic(everyMS, phaseMS []float64) (Source, error) {
	if len(everyMS) != len(phaseMS) {
		return nil, fmt.Errorf("%d intervals and %d first times", len(everyMS), len(phaseMS))
	}
	called := false
	for i, every := range everyMS {
		if !(every >= 0 && every <= maxMS && phaseMS[i] >= 0 && phaseMS[i] <= maxMS) {
			return nil, fmt.Errorf("model %d is called every %v ms from %v ms on", i+1, every, phaseMS[i])
		}
		called = called || every > 0
	}
	if !called {
		return nil, errors.New("no model is ever called")
	}
	return &periodic{everyMS, phaseMS, make([]int64, len(everyMS))}, nil
}

func (p *periodic) Next() (Call, error) {
	next, at := -1, 0.0
	for m, every := range p.everyMS {
		if every == 0 {
			continue
		}
		// Multiplied, not added up: no model drifts against another one.
		if t := float64(float64(p.made[m])*every) + p.phaseMS[m]; next < 0 || t < at {
			next, at = m, t
		}
	}
	p.made[next]++
	return Call{Model: next, Timed: true, AtMS: at}, nil
}
