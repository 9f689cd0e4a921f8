package replay_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/cost/replay"
)

// Runs of one model, drawn by share, of a fixed and of a geometric length:
// every model misses as the closed form says, within three standard errors, and
// both in the same way, for the form knows the mean alone. A run's first call
// misses by a draw of its own, so that of R runs the rate of misses x/L, x
// that of first calls, has the variance (x(1-x) + (x/L)^2 var(length)) / (L^2 R).
func TestRunsWithinThreeStandardErrors(t *testing.T) {
	const calls = 1_000_000
	w := &workload{}
	w.add(t, 1, 1, 1, 3<<20, 0)
	w.add(t, 1, 1, 2, 1<<20, 1<<20)
	w.add(t, 2, 2, 1, 4<<20, 0)
	w.add(t, 3, 3, 1, 0, 6<<20)
	shares := []float64{0.55, 0.25, 0.15, 0.05}
	for _, mean := range []int{1, 3, 20} {
		l, process := float64(mean), cost.Runs(shares, float64(mean))
		for _, geometric := range []bool{false, true} {
			models, err := replay.Independent(shares, 7)
			if err != nil {
				t.Fatal(err)
			}
			r, lengths := open(t, w.models), rand.New(rand.NewPCG(1, uint64(mean)))
			runs, made, spread := make([]float64, len(shares)), 0, 0.0
			if geometric {
				spread = l * (l - 1)
			}
			for made < calls {
				call, err := models.Next()
				if err != nil {
					t.Fatal(err)
				}
				runs[call.Model]++
				length := mean
				if geometric {
					for length = 1; lengths.Float64() >= 1/l; {
						length++
					}
				}
				made += length
				for range length {
					if _, err := r.Do(call); err != nil {
						t.Fatal(err)
					}
				}
			}
			sum, total := 0.0, 0.0
			for m := range w.models {
				s, miss := r.Model(m), 0.0
				if w.cached[m] > 0 {
					miss = process.Miss(m, w.foreign(m))
				}
				x := miss * l
				se := math.Sqrt((x*(1-x) + miss*miss*spread) / (l * l * runs[m]))
				what := fmt.Sprintf("runs of %d, geometric %v: misses of m%d", mean, geometric, m)
				near(t, what, float64(s.Loads)/float64(s.Calls), miss, 3*se)
				sum += shares[m] * w.call[m].Expected(w.cached[m], float64(w.streamed[m])/w.call[m].BytesPerMS, miss)
				total += shares[m] * s.Service.Mean() // shares of calls scatter by themselves
			}
			if math.Abs(total/sum-1) > 0.02 {
				t.Errorf("runs of %d, geometric %v: %v ms per call, closed form %v", mean, geometric, total, sum)
			}
		}
	}
}
