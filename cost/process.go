package cost

import (
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

// Misses is Miss for all models of members at once, none of which is foreign:
// out[m] for each, to the same bit. What the others are called is summed once.
func (p independent) Misses(members, foreign Set, out []float64) {
	q := 0.0
	for _, i := range p.rising {
		if i < MaxModels && foreign.Has(i) {
			q += p.shares[i]
		}
	}
	for s := members; s != 0; s &= s - 1 {
		m := bits.TrailingZeros64(uint64(s))
		out[m] = 0
		if q != 0 {
			out[m] = q / (p.shares[m] + q)
		}
	}
}

// Cyclic is the process that repeats the sequence of models for ever. The
// error names a model that a Set cannot hold. See [Sequence], which takes one call at a time.
func Cyclic(sequence []int) (Process, error) {
	var s Sequence
	for _, m := range sequence {
		if err := s.Call(m); err != nil {
			return nil, err
		}
	}
	return s.Process()
}
