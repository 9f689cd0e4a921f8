package cost

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Sequence takes the calls of a sequence one by one, as a recorded trace is
// read, and gives the process that repeats it for ever: a trace is one long
// turn. It keeps no calls, only how often which models were called between
// two calls of the same one, so that its memory does not grow with the
// length. The zero value is an empty sequence.
type Sequence struct {
	calls  int64
	models []calledModel
	// recent are the models called so far, the last one first: the models
	// called since the last call of m are those before m.
	recent []int
	sets   int // distinct gaps of all models
}

// calledModel is what a Sequence knows of one model.
type calledModel struct {
	calls  int64
	before Set // called before the first call of the model
	gaps   map[Set]int64
}

// maxGapSets bounds the memory of a Sequence to some 30 MB. Five models have
// at most 80 sets, twelve 24,576; a long random trace of many models may hold more.
const maxGapSets = 1 << 19

// ErrManyGaps says that a sequence holds more different sets of models
// between calls of the same model than are counted.
var ErrManyGaps = errors.New("too many different sets of models are called between calls of the same model")

// Call adds a call of model m. The error names a model that a Set cannot hold.
func (s *Sequence) Call(m int) error {
	if m < 0 || m >= MaxModels {
		return fmt.Errorf("call %d of the sequence is of model %d; models are numbered from 0 to %d", s.calls+1, m, MaxModels-1)
	}
	for len(s.models) <= m {
		s.models = append(s.models, calledModel{})
	}
	s.calls++
	var gap Set
	at := 0
	for ; at < len(s.recent) && s.recent[at] != m; at++ {
		gap = gap.With(s.recent[at])
	}
	c := &s.models[m]
	if c.calls++; at == len(s.recent) {
		c.before, c.gaps = gap, map[Set]int64{}
		s.recent = append(s.recent, m)
	} else if n, known := c.gaps[gap]; known || s.sets < maxGapSets {
		if c.gaps[gap] = n + 1; !known {
			s.sets++
		}
	} else {
		s.sets = maxGapSets + 1
	}
	copy(s.recent[1:], s.recent[:at])
	s.recent[0] = m
	return nil
}

// Calls is how often model m was called.
func (s *Sequence) Calls(m int) int64 {
	if m < 0 || m >= len(s.models) {
		return 0
	}
	return s.models[m].calls
}

// Process is the process that repeats the sequence for ever. A call misses if
// some model called since the last call of the same model is foreign. A
// model that the sequence does not hold never misses. The error is ErrManyGaps.
func (s *Sequence) Process() (Process, error) {
	if s.sets > maxGapSets {
		return nil, ErrManyGaps
	}
	p := make(cyclic, len(s.models))
	for m := range s.models {
		c := &s.models[m]
		if c.calls == 0 {
			continue
		}
		// From the last call of m over the end of the turn to the first one.
		around := c.before
		for _, called := range s.recent {
			if called == m {
				break
			}
			around = around.With(called)
		}
		p[m].total = c.calls
		p[m].gaps = append(p[m].gaps, gap{around, 1})
		for set, n := range c.gaps {
			p[m].gaps = append(p[m].gaps, gap{set, n})
		}
		slices.SortFunc(p[m].gaps, func(a, b gap) int { return cmp.Or(cmp.Compare(a.called, b.called), cmp.Compare(a.times, b.times)) })
	}
	return p, nil
}

// gap is a set of models called between two calls of a model, and how often it was those.
type gap struct {
	called Set
	times  int64
}

// cyclic holds the gaps of each model.
type cyclic []struct {
	gaps  []gap
	total int64
}

func (p cyclic) Miss(m int, foreign Set) float64 {
	if m >= len(p) || p[m].total == 0 {
		return 0
	}
	var missed int64
	for _, g := range p[m].gaps {
		if g.called&foreign != 0 {
			missed += g.times
		}
	}
	return float64(missed) / float64(p[m].total)
}
