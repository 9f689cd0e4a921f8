package replay

import (
	"math"
	"sort"
)

// Distribution counts times in memory that does not grow with their number.
// While there are at most exactValues different times, as of calls that are either warm
// or cold, each is counted and every figure is exact. Beyond, times are
// counted in 128 buckets per power of two, so that a percentile is off by at most
// PercentileError; mean, least and greatest stay exact.
type Distribution struct {
	n        int64
	min, max float64
	values   []float64 // distinct, in the order in which they came
	counts   []int64   // of each
	at       map[float64]int
	last     int // index of the last value
	sum      total
	buckets  *buckets // in place of values, when there are many
}

// PercentileError is the greatest relative error of a percentile of a
// distribution that is not exact.
const PercentileError = 1.0 / 256

const exactValues = 256

// Add counts a time, which is not negative.
func (d *Distribution) Add(ms float64) { d.add(ms, 1) }

func (d *Distribution) add(ms float64, times int64) {
	if d.n == 0 {
		d.min, d.max = ms, ms
	}
	d.n += times
	d.min, d.max = min(d.min, ms), max(d.max, ms)
	if d.buckets != nil {
		d.sum.add(float64(float64(times) * ms))
		d.buckets.add(ms, times)
		return
	}
	if d.last < len(d.values) && d.values[d.last] == ms {
		d.counts[d.last] += times
		return
	}
	i, known := d.at[ms]
	if !known {
		if len(d.values) == exactValues {
			d.pour()
			d.sum.add(float64(float64(times) * ms))
			d.buckets.add(ms, times)
			return
		}
		if d.at == nil {
			d.at = map[float64]int{}
		}
		i = len(d.values)
		d.at[ms] = i
		d.values, d.counts = append(d.values, ms), append(d.counts, 0)
	}
	d.counts[i] += times
	d.last = i
}

// pour turns counted values into buckets.
func (d *Distribution) pour() {
	d.buckets = &buckets{}
	for i, v := range d.values {
		d.sum.add(float64(float64(d.counts[i]) * v))
		d.buckets.add(v, d.counts[i])
	}
	d.values, d.counts, d.at, d.last = nil, nil, nil, 0
}

// Merge counts everything that another distribution has counted.
func (d *Distribution) Merge(other *Distribution) {
	if other.n == 0 {
		return
	}
	if other.buckets == nil {
		for i, v := range other.values {
			d.add(v, other.counts[i])
		}
		return
	}
	if d.buckets == nil {
		d.pour()
	}
	if d.n == 0 {
		d.min, d.max = other.min, other.max
	}
	d.n += other.n
	d.min, d.max = min(d.min, other.min), max(d.max, other.max)
	d.sum.add(other.sum.sum())
	d.buckets.merge(other.buckets)
}

// Count is how many times were added.
func (d *Distribution) Count() int64 { return d.n }

// Exact reports whether percentiles are.
func (d *Distribution) Exact() bool { return d.buckets == nil }

// Mean is the mean time, 0 if there is none.
func (d *Distribution) Mean() float64 {
	if d.n == 0 {
		return 0
	}
	sum := d.sum
	for i, v := range d.values {
		sum.add(float64(float64(d.counts[i]) * v))
	}
	return sum.sum() / float64(d.n)
}

// Max is the greatest time, 0 if there is none.
func (d *Distribution) Max() float64 { return d.max }

// Percentile is the least time that at least p of 100 calls do not exceed
// (the nearest rank), p from 1 to 100; 0 if there is none.
func (d *Distribution) Percentile(p int) float64 {
	if d.n == 0 {
		return 0
	}
	rank := d.n/100*int64(p) + (d.n%100*int64(p)+99)/100
	if d.buckets != nil {
		return min(max(d.buckets.at(rank), d.min), d.max)
	}
	order := make([]int, len(d.values))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(a, b int) bool { return d.values[order[a]] < d.values[order[b]] })
	for _, i := range order {
		if rank -= d.counts[i]; rank <= 0 {
			return d.values[i]
		}
	}
	return d.max
}

// buckets count numbers by their binary exponent and the seven bits after it:
// the bits of a float64 say both without any logarithm, which would differ
// from machine to machine.
type buckets struct {
	zero  int64 // and what is too small for the first power
	pages [powers]*[perPower]int64
}

const (
	mantissaBits = 52
	bucketBits   = 7
	perPower     = 1 << bucketBits
	powers       = 112 // from 2^leastPower, far less than a nanosecond, up to 10^14 ms
	leastPower   = -64
)

func (b *buckets) add(x float64, times int64) {
	bits := math.Float64bits(x)
	power := int(bits>>mantissaBits) - 1023 - leastPower
	if power < 0 || x <= 0 {
		b.zero += times
		return
	}
	cell := int(bits >> (mantissaBits - bucketBits) & (perPower - 1))
	if power >= powers {
		power, cell = powers-1, perPower-1
	}
	if b.pages[power] == nil {
		b.pages[power] = new([perPower]int64)
	}
	b.pages[power][cell] += times
}

func (b *buckets) merge(other *buckets) {
	b.zero += other.zero
	for power, page := range other.pages {
		if page == nil {
			continue
		}
		if b.pages[power] == nil {
			b.pages[power] = new([perPower]int64)
		}
		for cell, n := range page {
			b.pages[power][cell] += n
		}
	}
}

// at is the middle of the bucket that holds the number of a rank, from 1; the
// least and the greatest number bound what is asked for at both ends.
func (b *buckets) at(rank int64) float64 {
	if rank -= b.zero; rank <= 0 {
		return 0
	}
	for power, page := range b.pages {
		if page == nil {
			continue
		}
		for cell, n := range page {
			if rank -= n; rank > 0 {
				continue
			}
			if power < powers-1 || cell < perPower-1 {
				return math.Ldexp(1+(float64(cell)+0.5)/perPower, power+leastPower)
			}
		}
	}
	return math.Inf(1) // in the last bucket, which has no end
}
