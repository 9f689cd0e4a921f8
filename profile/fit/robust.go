package fit

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize"
	"gonum.org/v1/gonum/stat"
)

// loss is what a residual of u standard deviations costs; near 0 it is u^2/2.
type loss struct {
	value  func(u float64) float64
	slope  func(u float64) float64
	weight func(u float64) float64 // slope(u) / u
	bend   func(u float64) float64 // the derivative of slope
}

// The usual tuning: 95 % as good as least squares where there is no outlier.
const (
	huberAt = 1.345
	tukeyAt = 4.685
)

var huber = loss{
	value: func(u float64) float64 {
		if a := math.Abs(u); a > huberAt {
			return huberAt * (a - huberAt/2)
		}
		return u * u / 2
	},
	slope:  func(u float64) float64 { return max(-huberAt, min(huberAt, u)) },
	weight: func(u float64) float64 { return min(1, huberAt/math.Abs(u)) },
	bend: func(u float64) float64 {
		if math.Abs(u) > huberAt {
			return 0
		}
		return 1
	},
}

// tukey gives a sample no say from tukeyAt standard deviations on.
var tukey = loss{
	value: func(u float64) float64 {
		v := max(0, 1-u*u/(tukeyAt*tukeyAt))
		return tukeyAt * tukeyAt / 6 * (1 - v*v*v)
	},
	slope: func(u float64) float64 { v := max(0, 1-u*u/(tukeyAt*tukeyAt)); return u * v * v },
	weight: func(u float64) float64 {
		v := max(0, 1-u*u/(tukeyAt*tukeyAt))
		return v * v
	},
	bend: func(u float64) float64 {
		v := max(0, 1-u*u/(tukeyAt*tukeyAt))
		return v * (v - 4*u*u/(tukeyAt*tukeyAt))
	},
}

// system is the cells with what each parameter adds to their times.
type system struct {
	cells []*cell
	n     int       // parameters
	start []float64 // where to begin if ops stream
}

// predicted is the time of a cell, and what the parameters add to it there;
// where a load may hide behind compute it is the longer of the two rows.
func (c *cell) predicted(x []float64) (ms float64, row []float64) {
	ms, row = dot(c.row, x)+c.given, c.row
	if c.hidden != nil {
		if h := dot(c.hidden, x) + c.givenHidden; h > ms {
			ms, row = h, c.hidden
		}
	}
	return c.streams.add(x, ms, row)
}

// near is the same for a load that is taken for hidden, or for one that is not.
func (c *cell) near(x []float64, hidden bool) (ms float64, row []float64) {
	if hidden {
		return c.streams.add(x, dot(c.hidden, x)+c.givenHidden, c.hidden)
	}
	return c.streams.add(x, dot(c.row, x)+c.given, c.row)
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i := range a {
		s += float64(a[i] * b[i])
	}
	return s
}

// weighted are the rows of a step of reweighted least squares from where the
// cells are expected at some times: each cell by the mean of its samples,
// weighted as the loss wants it.
func (s *system) weighted(l loss, at []float64, rows [][]float64, given []float64) (*mat.Dense, []float64) {
	a, b := mat.NewDense(len(s.cells), s.n, nil), make([]float64, len(s.cells))
	for i, c := range s.cells {
		weight, sum := c.weigh(l, at[i])
		if weight == 0 {
			continue
		}
		root := math.Sqrt(weight) / c.sigma
		row := a.RawRowView(i)
		for j, v := range rows[i] {
			row[j] = root * v
		}
		b[i] = root * (at[i] + sum/weight - given[i])
	}
	return a, b
}

// pinned are the weighted rows, and one more for every parameter that none of them
// knows, which keeps it where it is: what an op streams may be hidden there.
func (s *system) pinned(l loss, at []float64, rows [][]float64, given, x []float64) (*mat.Dense, []float64) {
	a, b := s.weighted(l, at, rows, given)
	if s.start == nil { // nothing hides
		return a, b
	}
	if x == nil {
		x = s.start
	}
	for j := range s.n {
		if mat.Norm(a.ColView(j), 1) > 0 {
			continue
		}
		rows, _ := a.Dims()
		a = a.Grow(1, 0).(*mat.Dense)
		a.Set(rows, j, 1)
		b = append(b, x[j])
	}
	return a, b
}

// weigh sums the weights of a cell's samples, and their weighted distances from a time.
func (c *cell) weigh(l loss, at float64) (weight, sum float64) {
	for _, t := range c.ms {
		w := l.weight((t - at) / c.sigma)
		weight += w
		sum += w * (t - at)
	}
	return weight, sum
}

// expected are the times of all cells, with the rows and constants that hold
// there. Without parameters it is the medians and what loads cost when they
// are not hidden.
func (s *system) expected(x []float64) (at []float64, rows [][]float64, given []float64) {
	at, rows, given = make([]float64, len(s.cells)), make([][]float64, len(s.cells)), make([]float64, len(s.cells))
	for i, c := range s.cells {
		if x == nil {
			at[i], rows[i], given[i] = c.median, c.row, c.given
			if c.streams != nil {
				var ms float64
				ms, rows[i] = c.near(s.start, false)
				given[i] = ms - dot(rows[i], s.start)
			}
			continue
		}
		at[i], rows[i] = c.predicted(x)
		given[i] = at[i] - dot(rows[i], x)
	}
	return at, rows, given
}

// iterate does reweighted least squares from x until the times of no cell move
// by more than so many standard deviations; nil starts at the medians.
func (s *system) iterate(l loss, x []float64, within float64, solve func(*mat.Dense, []float64) ([]float64, error)) ([]float64, error) {
	at, rows, given := s.expected(x)
	for range 100 {
		next, err := solve(s.pinned(l, at, rows, given, x))
		if err != nil {
			return nil, err
		}
		before := at
		at, rows, given = s.expected(next)
		moved := 0.0
		for i, c := range s.cells {
			moved = max(moved, math.Abs(at[i]-before[i])/c.sigma)
		}
		if x = next; moved < within {
			break
		}
	}
	return x, nil
}

// Standard deviations by which the last step of a minimisation may move a cell.
const (
	roughly   = 1e-2
	precisely = 1e-6
)

// gain is about by how much other rows would bring down twice the loss, from
// one step of least squares with the weights of the times that are expected now.
func (s *system) gain(x []float64, rows [][]float64, given []float64, n int) float64 {
	at, _, _ := s.expected(x)
	other := &system{cells: s.cells, n: n}
	a, b := other.weighted(huber, at, rows, given) // a cell that Tukey's loss gave up still counts
	z, err := leastSquares(a, b, nil)
	if err != nil {
		return 0
	}
	now, then := 0.0, 0.0
	for i, c := range s.cells {
		weight, sum := c.weigh(huber, at[i])
		if weight > 0 {
			now += sum * sum / weight / (c.sigma * c.sigma)
			r := b[i] - dot(a.RawRowView(i), z)
			then += r * r
		}
	}
	return now - then
}

// signed is the estimate that may be negative.
func (s *system) signed() ([]float64, error) {
	solve := func(a *mat.Dense, b []float64) ([]float64, error) { return leastSquares(a, b, nil) }
	x, err := s.iterate(huber, nil, roughly, solve)
	if err != nil {
		return nil, err
	}
	if sharper, err := s.iterate(tukey, x, precisely, solve); err == nil {
		return sharper, nil
	}
	return x, nil // a cell of outliers only leaves a parameter without any sample
}

// positive is the estimate of which nothing is negative: Tukey's loss, by
// quasi-Newton steps in the square roots of the parameters, from the solution
// of non-negative least squares for Huber's loss.
func (s *system) positive() ([]float64, error) {
	start, err := s.iterate(huber, nil, roughly, nonNegative)
	if err != nil {
		return nil, err
	}
	if sharper, err := s.iterate(tukey, start, precisely, nonNegative); err == nil {
		start = sharper
	}
	// What is at 0 stays there: a square root has no slope at 0.
	var at []int
	for j, v := range start {
		if v > 0 {
			at = append(at, j)
		}
	}
	if len(at) == 0 {
		return start, nil
	}
	x := slices.Clone(start)
	place := func(u []float64) {
		for k, j := range at {
			x[j] = start[j] * u[k] * u[k]
		}
	}
	u := make([]float64, len(at))
	for k := range u {
		u[k] = 1
	}
	result, err := optimize.Minimize(optimize.Problem{
		Func: func(u []float64) float64 { place(u); return s.loss(tukey, x) },
		Grad: func(grad, u []float64) {
			place(u)
			full := make([]float64, s.n)
			for _, c := range s.cells {
				ms, row := c.predicted(x)
				pull := 0.0
				for _, t := range c.ms {
					pull -= tukey.slope((t-ms)/c.sigma) / c.sigma
				}
				for j, v := range row {
					full[j] += pull * v
				}
			}
			for k, j := range at {
				grad[k] = full[j] * 2 * start[j] * u[k]
			}
		},
	}, u, &optimize.Settings{
		GradientThreshold: 1e-6, MajorIterations: 200,
		Converger: &optimize.FunctionConverge{Relative: 1e-12, Iterations: 5},
	}, &optimize.LBFGS{})
	// A line search that finds nothing better says that the start was the minimum.
	if result == nil || err != nil && !(result.F <= s.loss(tukey, start)) {
		return start, nil
	}
	place(result.X)
	if !(s.loss(tukey, x) <= s.loss(tukey, start)) {
		return start, nil
	}
	return x, nil
}

func (s *system) loss(l loss, x []float64) float64 {
	sum := 0.0
	for _, c := range s.cells {
		ms, _ := c.predicted(x)
		for _, t := range c.ms {
			sum += l.value((t - ms) / c.sigma)
		}
	}
	return sum
}

// spread is the standard deviation of numbers around a centre, whatever
// outliers they hold: the biweight midvariance, and where half of them are
// equal, 0.
func spread(numbers []float64, centre float64) float64 {
	away := make([]float64, len(numbers))
	for i, v := range numbers {
		away[i] = math.Abs(v - centre)
	}
	mad := median(away)
	if mad == 0 {
		return 0
	}
	above, below := 0.0, 0.0
	for _, v := range numbers {
		u := (v - centre) / (9 * mad)
		if q := 1 - u*u; q > 0 {
			above += (v - centre) * (v - centre) * q * q * q * q
			below += q * (1 - 5*u*u)
		}
	}
	return math.Sqrt(float64(len(numbers))*above) / math.Abs(below)
}

func median(numbers []float64) float64 {
	s := slices.Clone(numbers)
	slices.Sort(s)
	n := len(s)
	if n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[n/2]
}

// Scales.
const (
	// leastSpread is how equal repeats are taken to be at most: clocks tick, a
	// simulation without noise has none to go by, and formulas are not exact. Where
	// repeats are much closer than that, whole kinds of calls would lose their say.
	leastSpread = 2e-3
	// hardware is how well calls of one kind repeat on real devices.
	hardware = 0.016
	// borrowed is how many samples' worth of belief a cell's own scatter is mixed
	// with, from that of all cells.
	borrowed = 10
	// enough samples of a cell have a scatter of their own, even if a few are outliers.
	enough = 10
	// repeats is how many repeats, beyond the first of each cell, tell the noise.
	repeats = 5
)

// noise is how samples scatter: sigma = factor x time^power.
type noise struct{ factor, power float64 }

func (n noise) at(ms float64) float64 { return n.factor * math.Pow(ms, n.power) }

// within estimates the noise from repeats alone; false if there are too few.
func within(cells []*cell) (noise, bool) {
	extra := 0
	var logMS, logSpread, weight []float64
	shortest, longest := math.Inf(1), 0.0
	for _, c := range cells {
		extra += len(c.ms) - 1
		if len(c.ms) < repeats {
			continue
		}
		if own := spread(c.ms, c.median); own > 0 {
			logMS, logSpread, weight = append(logMS, math.Log(c.median)), append(logSpread, math.Log(own)), append(weight, float64(len(c.ms)))
			shortest, longest = min(shortest, c.median), max(longest, c.median)
		}
	}
	if extra < repeats {
		return noise{}, false
	}
	n := noise{power: 1}
	if len(logMS) >= 3 && longest > 3*shortest {
		_, power := stat.LinearRegression(logMS, logSpread, weight, false)
		n.power = max(0, min(1, power))
	}
	var all []float64
	for _, c := range cells {
		if k := float64(len(c.ms)); k > 1 {
			for _, t := range c.ms {
				all = append(all, (t-c.median)*math.Sqrt(k/(k-1))/math.Pow(c.median, n.power))
			}
		}
	}
	n.factor = spread(all, 0)
	return n, true
}

// scale gives every cell its sigma.
func (n noise) scale(cells []*cell) {
	for _, c := range cells {
		variance, own := n.at(c.median)*n.at(c.median), float64(len(c.ms)-1)
		if len(c.ms) >= enough {
			s := spread(c.ms, c.median)
			variance = (borrowed*variance + own*s*s) / (borrowed + own)
		}
		c.sigma = max(math.Sqrt(variance), leastSpread*c.median, 1e-9)
	}
}

// far is how far off, in parts of the fitted time, a sample is at least that is
// called an outlier: three times what calls repeat to on real devices.
// Where repeats are closer than that, formulas that are good to some per mille
// lose samples which no other file and no disturbance has spoiled.
const far = 3 * hardware

// outlier reports whether a sample has lost its say because something is wrong with it.
func (c *cell) outlier(t, at float64) bool {
	return math.Abs(t-at) >= max(tukeyAt*c.sigma, far*math.Abs(at))
}

func compareCells(a, b *cell) int {
	return cmp.Or(cmp.Compare(a.file, b.file), compareBool(a.cold, b.cold), cmp.Compare(a.run, b.run))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
