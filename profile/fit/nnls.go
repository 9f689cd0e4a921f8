package fit

import (
	"errors"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// nonNegative finds x >= 0 with the least |a x - b|: the active set method of
// Lawson and Hanson (Solving Least Squares Problems, chapter 23).
func nonNegative(a *mat.Dense, b []float64) ([]float64, error) {
	x, err := leastSquares(a, b, nil)
	if err == nil && !slices.ContainsFunc(x, func(v float64) bool { return v < 0 }) {
		return x, nil
	}
	a, b = shorter(a, b)
	rows, cols := a.Dims()
	x = make([]float64, cols)
	free := make([]bool, cols)
	residual := append([]float64(nil), b...)
	norms := make([]float64, cols)
	for j := range norms {
		norms[j] = mat.Norm(a.ColView(j), 2)
	}
	small := 1e-12 * math.Max(floats.Norm(b, 2), math.SmallestNonzeroFloat64)
	for range 3 * (cols + 1) {
		// Free the parameter that reduces the residual fastest.
		best, gain := -1, small
		for j := range cols {
			if free[j] || norms[j] == 0 {
				continue
			}
			if g := mat.Dot(a.ColView(j), mat.NewVecDense(rows, residual)) / norms[j]; g > gain {
				best, gain = j, g
			}
		}
		if best < 0 {
			return x, nil
		}
		free[best] = true
		for {
			var z []float64
			z, err = leastSquares(a, b, free)
			if err != nil {
				return nil, err
			}
			// Go towards z as far as nothing becomes negative.
			step, blocking := 1.0, -1
			for j := range z {
				if free[j] && z[j] <= 0 {
					if s := x[j] / (x[j] - z[j]); s < step || blocking < 0 {
						step, blocking = math.Min(step, s), j
					}
				}
			}
			if blocking < 0 {
				x = z
				break
			}
			for j := range x {
				if free[j] {
					x[j] += step * (z[j] - x[j])
				}
			}
			for j := range x {
				if free[j] && (j == blocking || x[j] <= 0) {
					free[j], x[j] = false, 0
				}
			}
		}
		var ax mat.VecDense
		ax.MulVec(a, mat.NewVecDense(cols, x))
		for i := range residual {
			residual[i] = b[i] - ax.AtVec(i)
		}
	}
	return x, nil // round-off goes in circles: x is feasible and as good as it gets
}

// shorter has the same solutions in as many rows as columns: R x = Q^T b.
func shorter(a *mat.Dense, b []float64) (*mat.Dense, []float64) {
	rows, cols := a.Dims()
	if rows <= cols {
		return a, b
	}
	both := mat.NewDense(rows, cols+1, nil)
	both.Copy(a)
	both.SetCol(cols, b)
	var qr mat.QR
	qr.Factorize(both)
	var r mat.Dense
	qr.RTo(&r)
	short := mat.DenseCopyOf(r.Slice(0, cols, 0, cols))
	return short, mat.Col(nil, cols, r.Slice(0, cols, 0, cols+1))
}

var errSingular = errors.New("the samples do not determine the parameters")

// leastSquares solves for the free columns; the others are 0.
func leastSquares(a *mat.Dense, b []float64, free []bool) ([]float64, error) {
	rows, cols := a.Dims()
	var at []int
	for j := range cols {
		if free == nil || free[j] {
			at = append(at, j)
		}
	}
	x := make([]float64, cols)
	if len(at) == 0 {
		return x, nil
	}
	if rows < len(at) {
		return nil, errSingular
	}
	part := a
	if len(at) < cols {
		part = mat.NewDense(rows, len(at), nil)
		for i := range rows {
			for k, j := range at {
				part.Set(i, k, a.At(i, j))
			}
		}
	}
	var qr mat.QR
	qr.Factorize(part)
	var z mat.VecDense
	if err := qr.SolveVecTo(&z, false, mat.NewVecDense(rows, b)); err != nil {
		// A condition is reported from 1e16 on, when nothing of the solution is true.
		return nil, errSingular
	}
	for k, j := range at {
		x[j] = z.AtVec(k)
	}
	return x, nil
}
