package cost

import "math/bits"

// MaxModels is how many models a [Set] can hold.
const MaxModels = 64

// Set is a set of models, bit i = model i.
type Set uint64

// Has reports whether model m is in the set.
func (s Set) Has(m int) bool { return s>>m&1 == 1 }

// With is the set and model m.
func (s Set) With(m int) Set { return s | 1<<m }

// Len is the number of models in the set.
func (s Set) Len() int { return bits.OnesCount64(uint64(s)) }

// Process is a call process: who calls what, when.
type Process interface {
	// Miss is the probability that a call of model m finds its parameters
	// gone, where foreign are the models of other groups on the same device.
	// It does not decrease when foreign grows and is 0 for the empty set.
	Miss(m int, foreign Set) float64
}

// independent calls: each call is of model i with probability proportional to share[i], whatever came before.
type independent struct{ shares []float64 }

// Independent is the process in which every call is drawn anew with
// probabilities proportional to shares (at most [MaxModels], none negative).
func Independent(shares []float64) Process { return independent{shares} }

// Miss is q / (p + q) with q the shares of foreign: looking back from a call
// of m to its last one, the first call that is of m or foreign was foreign.
func (p independent) Miss(m int, foreign Set) float64 {
	q := 0.0
	for i, share := range p.shares {
		if foreign.Has(i) && i != m {
			q += share
		}
	}
	if q == 0 {
		return 0
	}
	return q / (p.shares[m] + q)
}

// cyclic calls: a fixed sequence for ever.
type cyclic struct {
	gaps map[int]map[Set]int // per model: how often each set of others is called between two of its calls
	n    map[int]int         // calls of each model per round
}

// Cyclic is the process that repeats a sequence of models (numbers below
// [MaxModels]) for ever. A model that is not in the sequence never misses.
func Cyclic(sequence []int) Process {
	c := cyclic{map[int]map[Set]int{}, map[int]int{}}
	for at, m := range sequence {
		var between Set
		for k := 1; k <= len(sequence); k++ {
			other := sequence[(at+k)%len(sequence)]
			if other == m {
				break
			}
			between = between.With(other)
		}
		if c.gaps[m] == nil {
			c.gaps[m] = map[Set]int{}
		}
		c.gaps[m][between]++
		c.n[m]++
	}
	return c
}

// Miss is the share of the gaps between calls of m in which a foreign model is called.
func (c cyclic) Miss(m int, foreign Set) float64 {
	loads := 0
	for between, times := range c.gaps[m] {
		if between&foreign != 0 {
			loads += times
		}
	}
	if loads == 0 {
		return 0
	}
	return float64(loads) / float64(c.n[m])
}
