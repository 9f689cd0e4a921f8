package cost

import (
	"fmt"
	"math/bits"
	"sort"
)

// MaxModels is the number of models that a Set can hold.
const MaxModels = 64

// Set is a set of models, bit i = model i, of at most MaxModels.
type Set uint64

// Has reports whether model m is in the set.
func (s Set) Has(m int) bool { return s>>m&1 != 0 }

// With is the set and model m.
func (s Set) With(m int) Set { return s | 1<<m }

// Len is the number of models in the set.
func (s Set) Len() int { return bits.OnesCount64(uint64(s)) }

// Process is a call process: who calls what, when.
type Process interface {
	// Miss is the probability that a call of model m finds its parameters
	// gone, when the models of foreign (other groups on the same device) are
	// called between. It grows with foreign and is 0 for an empty set. It
	// holds for a model of which something is cached; foreign models count
	// whether or not anything of them is. m itself in foreign is ignored.
	Miss(m int, foreign Set) float64
}

// independent holds the shares and the models by ascending share, the order
// in which they are summed: numbering the models otherwise changes no bit.
type independent struct {
	shares []float64
	rising []int
}

// Independent is the process in which every call is drawn by itself: model m
// with probability shares[m], whatever came before. The last call that was
// either of m or of a foreign model decides, so the miss probability is
// q / (p + q) with p the share of m and q the sum of the foreign shares.
// shares are not negative and need not sum to 1; at most MaxModels are used.
func Independent(shares []float64) Process {
	p := independent{shares: append([]float64(nil), shares...), rising: make([]int, len(shares))}
	for i := range p.rising {
		p.rising[i] = i
	}
	sort.SliceStable(p.rising, func(a, b int) bool { return shares[p.rising[a]] < shares[p.rising[b]] })
	return p
}

func (p independent) Miss(m int, foreign Set) float64 {
	q := 0.0
	for _, i := range p.rising {
		if i != m && i < MaxModels && foreign.Has(i) {
			q += p.shares[i]
		}
	}
	if q == 0 {
		return 0
	}
	return q / (p.shares[m] + q)
}

// gaps counts, for one model, the sets of models called between two of its calls.
type gaps struct {
	sets   []Set
	counts []int
	total  int
}

type cyclic []gaps

// Cyclic is the process that repeats the sequence of models for ever (a
// recorded trace is one long turn). A call misses if some model called since
// the last call of the same model is foreign. A model that the sequence does
// not hold never misses. The error names a model that a Set cannot hold.
func Cyclic(sequence []int) (Process, error) {
	n := 0
	for at, m := range sequence {
		if m < 0 || m >= MaxModels {
			return nil, fmt.Errorf("call %d of the sequence is of model %d; models are numbered from 0 to %d", at+1, m, MaxModels-1)
		}
		n = max(n, m+1)
	}
	p := make(cyclic, n)
	for m := range p {
		// Start behind any call of m, so that every gap is whole.
		start := 0
		for start < len(sequence) && sequence[start] != m {
			start++
		}
		if start == len(sequence) {
			continue
		}
		seen := map[Set]int{}
		var gap Set
		for k := 1; k <= len(sequence); k++ {
			called := sequence[(start+k)%len(sequence)]
			if called != m {
				gap = gap.With(called)
				continue
			}
			at, ok := seen[gap]
			if !ok {
				at = len(p[m].sets)
				seen[gap] = at
				p[m].sets = append(p[m].sets, gap)
				p[m].counts = append(p[m].counts, 0)
			}
			p[m].counts[at]++
			p[m].total++
			gap = 0
		}
	}
	return p, nil
}

func (p cyclic) Miss(m int, foreign Set) float64 {
	if m >= len(p) || p[m].total == 0 {
		return 0
	}
	missed := 0
	for i, s := range p[m].sets {
		if s&foreign != 0 {
			missed += p[m].counts[i]
		}
	}
	return float64(missed) / float64(p[m].total)
}
