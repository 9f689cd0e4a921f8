package plans

import (
	"math"
	"testing"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
)

func between(r cost.Range) bool { return r.Low <= r.Value && r.Value <= r.High }

// Together big and vast do not fit: what streams has an interval of its own.
func TestTimesOfAnAnswer(t *testing.T) {
	r := mustResolve(t, planOf("big", "vast", "dense", "built"), compile.V16_0)
	answer := together(r)
	const big, vast, dense, built = 0, 1, 2, 3
	for _, i := range []int{big, vast, dense} {
		x, ok := r.Times(answer, i)
		o := &answer.Models[i]
		if !ok || !between(x.Steady) || !between(x.Cold) || !between(x.Stream) || !between(x.Compute) || !between(x.Load) {
			t.Errorf("model %d: %+v", i, x)
		}
		if math.Abs(x.Steady.Value-o.SteadyMS) > 1e-9 || math.Abs(x.Cold.Value-o.ColdMS) > 1e-9 {
			t.Errorf("model %d: steady %v, cold %v, the answer has %v and %v", i, x.Steady.Value, x.Cold.Value, o.SteadyMS, o.ColdMS)
		}
		if sum := x.Host.Value + x.Transfer + x.Output + x.Compute.Value + x.Stream.Value; math.Abs(sum-o.SteadyMS) > 1e-9 {
			t.Errorf("model %d: the terms sum to %v, a warm call takes %v", i, sum, o.SteadyMS)
		}
	}
	if _, ok := r.Times(answer, built); ok {
		t.Error("a compiled model has a compute time")
	}
	if e := r.ExpectedRange(answer, built); e != cost.Exactly(answer.Models[built].ExpectedMS) {
		t.Errorf("a compiled model takes %+v", e)
	}
	value, low := r.ValueRange(answer), 0.0
	for i := range r.Problem.Models {
		low += r.Problem.Models[i].Share * r.ExpectedRange(answer, i).Low
	}
	if value.Value != answer.Value || !between(value) || math.Abs(value.Low-low) > 1e-12 || value.High < 1.1*value.Value {
		t.Errorf("a call takes %+v, %v at least", value, low)
	}
}

// Two plans differ by what they stream and load; nothing that both have makes the difference less sure.
func TestDifferenceOfTwoAnswers(t *testing.T) {
	r := mustResolve(t, planOf("big", "vast", "dense"), compile.V16_0)
	one, two := together(r), apart(r)
	if same := r.DifferenceRange(one, one); same != (cost.Range{}) {
		t.Errorf("a plan differs from itself by %+v", same)
	}
	d := r.DifferenceRange(one, two)
	if math.Abs(d.Value-(two.Value-one.Value)) > 1e-12 || !between(d) || d.Low == d.High {
		t.Errorf("they differ by %+v, values by %v", d, two.Value-one.Value)
	}
	if turned := r.DifferenceRange(two, one); math.Abs(turned.Low+d.High) > 1e-12 || math.Abs(turned.High+d.Low) > 1e-12 {
		t.Errorf("the other way round %+v, not %+v", turned, d)
	}
	// Ten more milliseconds that every call takes change no difference.
	for i := range r.Problem.Models {
		r.Problem.Models[i].Call.FixedMS += 10
	}
	if later := r.DifferenceRange(together(r), apart(r)); math.Abs(later.Low-d.Low) > 1e-9 || math.Abs(later.High-d.High) > 1e-9 {
		t.Errorf("with more compute they differ by %+v, not %+v", later, d)
	}
	// Where nothing is streamed, it is the loads that differ.
	fits := mustResolve(t, planOf("up", "dense"), compile.V2_1)
	if d := fits.DifferenceRange(together(fits), apart(fits)); !(d.Value > 0 && d.Low > 0 && d.Low < d.Value && d.High > d.Value) {
		t.Errorf("loads of two models that fit together make a difference of %+v", d)
	}
	// A rate that was measured leaves less open.
	table := mustResolve(t, "[[device]]\nname = 'tpu0'\nlink = { mb_per_s = 34 }\n"+planOf("big", "vast", "dense")[len(planOf()):], compile.V16_0)
	if sure := table.DifferenceRange(together(table), apart(table)); !(sure.High-sure.Low < d.High-d.Low) {
		t.Errorf("with a rate of one's own %+v, with a built-in one %+v", sure, d)
	}
}
