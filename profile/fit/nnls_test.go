package fit

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"
)

// The solution meets the conditions of Karush, Kuhn and Tucker, which only the
// minimum does: nothing is negative, what is not 0 has no slope left, and what
// is 0 would have to become negative to improve.
func TestNonNegativeIsTheMinimum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cols := rapid.IntRange(1, 6).Draw(t, "cols")
		rows := rapid.IntRange(cols, 12).Draw(t, "rows")
		values := rapid.SliceOfN(rapid.Float64Range(-3, 3), rows*cols, rows*cols).Draw(t, "a")
		b := rapid.SliceOfN(rapid.Float64Range(-3, 3), rows, rows).Draw(t, "b")
		a := mat.NewDense(rows, cols, values)
		var svd mat.SVD
		if svd.Factorize(a, mat.SVDNone); svd.Cond() > 1e6 {
			t.Skip("hardly any rank")
		}
		x, err := nonNegative(a, b)
		if err != nil {
			t.Fatal(err)
		}
		var r, slope mat.VecDense
		r.MulVec(a, mat.NewVecDense(cols, x))
		r.SubVec(mat.NewVecDense(rows, b), &r)
		slope.MulVec(a.T(), &r)
		for j, v := range x {
			g := slope.AtVec(j)
			if v < 0 || v > 0 && math.Abs(g) > 1e-6 || v == 0 && g > 1e-6 {
				t.Fatalf("x = %v: parameter %d has slope %v", x, j, g)
			}
		}
	})
}

// By hand: without the condition x is (2, -1); with it the first column alone
// has to do, and (1, 1) . (1, 2) / 2 = 1.5.
func TestNonNegativeByHand(t *testing.T) {
	x, err := nonNegative(mat.NewDense(2, 2, []float64{1, 1, 1, 0}), []float64{1, 2})
	if err != nil || math.Abs(x[0]-1.5) > 1e-12 || x[1] != 0 {
		t.Fatalf("x = %v, error %v", x, err)
	}
	if _, err := nonNegative(mat.NewDense(1, 2, []float64{1, 1}), []float64{1}); err != nil {
		t.Errorf("more columns than rows: %v", err)
	}
}

// The derivatives of the losses are theirs, and a small residual is a square.
func TestLosses(t *testing.T) {
	for name, l := range map[string]loss{"huber": huber, "tukey": tukey} {
		for _, u := range []float64{-6, -4, -1.5, -0.3, 1e-9, 0.7, 1.2, 2, 4.6, 5, 100} {
			const h = 1e-6
			if d := (l.value(u+h) - l.value(u-h)) / (2 * h); math.Abs(d-l.slope(u)) > 1e-6 {
				t.Errorf("%s: slope of %v is %v, by differences %v", name, u, l.slope(u), d)
			}
			if d := (l.slope(u+h) - l.slope(u-h)) / (2 * h); math.Abs(d-l.bend(u)) > 1e-5 {
				t.Errorf("%s: bend of %v is %v, by differences %v", name, u, l.bend(u), d)
			}
			if math.Abs(l.weight(u)*u-l.slope(u)) > 1e-12 {
				t.Errorf("%s: weight of %v is %v", name, u, l.weight(u))
			}
		}
		if v := l.value(0.01); math.Abs(v-0.00005) > 1e-9 {
			t.Errorf("%s: loss of 0.01 is %v", name, v)
		}
	}
}

// The spread of numbers with a known deviation, and of the same with wild ones
// among them.
func TestSpread(t *testing.T) {
	var numbers []float64
	for i := range 999 { // quantiles of the normal distribution around 10
		numbers = append(numbers, 10+2*math.Sqrt2*math.Erfinv(2*(float64(i)+0.5)/999-1))
	}
	if s := spread(numbers, 10); math.Abs(s-2) > 0.05 {
		t.Errorf("spread %v, want 2", s)
	}
	for i := range 100 {
		numbers[i*9] = 1e6
	}
	if s := spread(numbers, 10); s < 1.9 || s > 2.3 {
		t.Errorf("with outliers: spread %v, want about 2", s)
	}
	if s := spread([]float64{3, 3, 3, 9}, 3); s != 0 {
		t.Errorf("mostly equal: %v", s)
	}
}
