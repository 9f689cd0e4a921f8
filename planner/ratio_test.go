package planner

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tpuplan/tpuplan/compile"
)

func TestRatioTry(t *testing.T) {
	for _, v := range []compile.Version{compile.V15_0, compile.V16_0} {
		for _, n := range []int{10, 16} {
			p := alikeNets(n, v)
			list := allAssumptions(p)
			a := time.Now()
			var plan *Plan
			for range 3 {
				plan, _ = Solve(context.Background(), p, Options{Workers: 1})
			}
			s := time.Since(a) / 3
			a = time.Now()
			f, err := Stability(context.Background(), p, plan, Options{Workers: 1}, list)
			if err != nil {
				t.Fatal(err)
			}
			d := time.Since(a)
			tried, early := 0, 0
			for i := range f {
				tried += f[i].Tried
				if f[i].Checked == CheckedEarly {
					early++
				}
			}
			fmt.Printf("%s n=%d solve %v stability %v = %.1fx, %d assumptions %d values early %d\n", v, n, s, d, float64(d)/float64(s), len(list), tried, early)
		}
	}
}
