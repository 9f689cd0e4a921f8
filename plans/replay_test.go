package plans

import (
	"errors"
	"io"
	"math"
	"testing"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/cost/replay"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// replayPlan has two models to be compiled, two files of one call, one of them in
// two packages, one whose token 1 could be mistaken for that of a group, and one without any token.
const replayPlan = `
[compiler]
version = "15.0"
[[device]]
name = "tpu0"
link = "usb2"
[[model]]
name = "one"
file = "one.tflite"
rate = "4/s"
[[model]]
name = "two"
file = "two.tflite"
rate = "2/s"
[[model]]
name = "old"
file = "old_edgetpu.tflite"
rate = "2/s"
[[model]]
name = "parts"
file = "parts_edgetpu.tflite"
rate = "1/s"
[[model]]
name = "alone"
file = "alone_edgetpu.tflite"
rate = "1/s"
`

func replayed(t *testing.T) (*Resolved, *planner.Plan) {
	t.Helper()
	r, err := resolveText(t, replayPlan, map[string][]byte{
		"one.tflite":           tflitetest.MobileNetV1(0.25, 128, 1001),
		"two.tflite":           tflitetest.MobileNetV1(0.5, 160, 1001),
		"old_edgetpu.tflite":   tflitetest.CompiledModel(tflitetest.Split(1, 3_000_000, 70_000)),
		"parts_edgetpu.tflite": tflitetest.CompiledModel(tflitetest.Split(1, 1_000_000, 0), tflitetest.Split(1, 500_000, 10_000)),
		"alone_edgetpu.tflite": tflitetest.CompiledModel(tflitetest.Split(0, 0, 20_000)),
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := planner.Evaluate(r.Problem, [][]int{{1, 0}, {2, 3}, {4}})
	if err != nil {
		t.Fatal(err)
	}
	return r, answer
}

// Calls of a plan's models, played, cost what the plan says they cost: means,
// loads and bytes, with recorded calls to 1e-9.
func TestReplayOfAPlan(t *testing.T) {
	r, answer := replayed(t)
	models, err := r.ReplayModels(answer)
	if err != nil {
		t.Fatal(err)
	}
	play, err := replay.New(models)
	if err != nil {
		t.Fatal(err)
	}
	var calls cost.Sequence
	sequence := []int{0, 1, 0, 2, 2, 3, 0, 0, 4, 3, 1, 1, 0, 2, 0, 4}
	for turn := range 2 {
		if turn == 1 {
			play.Forget()
		}
		for _, m := range sequence {
			if _, err := play.Do(replay.Call{Model: m}); err != nil {
				t.Fatal(err)
			}
			if err := calls.Call(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	problem, err := r.Recorded(&calls)
	if err != nil {
		t.Fatal(err)
	}
	if err := problem.Validate(); err != nil {
		t.Fatal(err)
	}
	predicted, err := planner.Evaluate(problem, answer.Groups())
	if err != nil {
		t.Fatal(err)
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if !(math.Abs(got-want) <= 1e-9*max(1, want)) {
			t.Errorf("%s: played %v, the plan says %v", what, got, want)
		}
	}
	for i := range models {
		o, s := &predicted.Models[i], play.Model(i)
		n := float64(s.Calls)
		near(models[i].Name+" ms", s.Service.Mean(), o.ExpectedMS)
		near(models[i].Name+" loads", float64(s.Loads), n*o.Miss)
		// Bytes by another route: the file's hints, where there is a compiled file.
		if r.Files[i].Compiled == nil {
			continue
		}
		f, err := tflite.Open(r.Files[i].Path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := f.Compiled()
		if err != nil {
			t.Fatal(err)
		}
		near(models[i].Name+" bytes", float64(s.Bytes), n*float64(c.WarmBytes())+float64(s.Loads)*float64(c.ColdBytes()-c.WarmBytes()))
	}
	near("all", play.Total().Service.Mean(), problem.MeanMS(predicted))
	if r.Problem.Process != nil || r.Problem.Models[0].Share != 0.4 {
		t.Error("the plan's own problem has changed")
	}
}

// Calls that arrive at the plan's rates keep the device as busy as its queue says.
func TestQueueOfAPlan(t *testing.T) {
	r, answer := replayed(t)
	q, ok := r.Queue(answer, 0)
	// 10 calls a second of the mean time of a call.
	if want := 10 * r.Problem.MeanMS(answer) / 1000; !ok || math.Abs(float64(q.Utilization)-want) > 1e-12 {
		t.Errorf("busy %v, known %v; want %v", q.Utilization, ok, want)
	}
	models, err := r.ReplayModels(answer)
	if err != nil {
		t.Fatal(err)
	}
	play, err := replay.New(models)
	if err != nil {
		t.Fatal(err)
	}
	calls, err := replay.Poisson([]float64{0.004, 0.002, 0.002, 0.001, 0.001}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for range 200_000 {
		c, err := calls.Next()
		if err == io.EOF {
			break
		}
		if _, err := play.Do(c); err != nil {
			t.Fatal(err)
		}
	}
	if share, known := play.Device(0).Utilization(); !known || math.Abs(share-float64(q.Utilization)) > 0.01*share {
		t.Errorf("played %v, queue %v", share, q.Utilization)
	}
	r.Plan.ByRate = false
	if _, ok := r.Queue(answer, 0); ok {
		t.Error("weights have a queue")
	}
}

func TestRecordedTooLong(t *testing.T) {
	r, _ := replayed(t)
	var calls cost.Sequence
	state := uint64(1)
	for range 1 << 20 {
		state = state*6364136223846793005 + 1442695040888963407
		if err := calls.Call(int(state >> 33 % 40)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Recorded(&calls); !errors.Is(err, cost.ErrManyGaps) {
		t.Errorf("got %v", err)
	}
}
