package validation

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Interval holds a true mean with a confidence of 95 %.
type Interval struct{ Low, High float64 }

func (i *Interval) half() float64 { return (i.High - i.Low) / 2 }

// trimmedShare of values is left out at each end of a mean, at least one value of three: what an
// operating system does besides makes single calls take many times as long.
const trimmedShare = 0.2

// trimmed is the mean of values without the least and the greatest.
func trimmed(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	cut := int(trimmedShare * float64(len(sorted)))
	if len(sorted) >= 3 {
		cut = max(cut, 1)
	}
	return mean(sorted[cut : len(sorted)-cut])
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// quantile is the value below which a share of the values lies.
func quantile(values []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := share * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + float64((at-float64(low))*(sorted[high]-sorted[low]))
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// leastPasses are needed for an interval: of two values it would span almost everything.
const leastPasses = 3

// interval is that of the mean of values which were measured independently of
// each other, one in each pass, by Student's t; nil for too few.
func interval(values []float64) *Interval {
	n := float64(len(values))
	if len(values) < leastPasses {
		return nil
	}
	m, squares := mean(values), 0.0
	for _, v := range values {
		squares += float64((v - m) * (v - m))
	}
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile(0.975)
	half := t * math.Sqrt(squares/(n-1)/n)
	return &Interval{m - half, m + half}
}

// weighted is a value with its weight.
type weighted struct{ value, weight float64 }

// weightedMedian is the least value such that values up to it have half the weight.
func weightedMedian(list []weighted) float64 {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b weighted) int {
		switch {
		case a.value < b.value:
			return -1
		case a.value > b.value:
			return 1
		}
		return 0
	})
	total := 0.0
	for _, x := range sorted {
		total += x.weight
	}
	sum := 0.0
	for _, x := range sorted {
		if sum += x.weight; sum >= total/2 {
			return x.value
		}
	}
	return math.NaN()
}

// near is the share of the weight that lies within a share of a value.
func near(list []weighted, value, within float64) float64 {
	total, inside := 0.0, 0.0
	for _, x := range list {
		total += x.weight
		if math.Abs(x.value-value) <= within*math.Abs(value) {
			inside += x.weight
		}
	}
	return inside / total
}
