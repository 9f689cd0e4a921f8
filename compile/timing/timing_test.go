package timing

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

func link(t *testing.T, name string) cost.Link {
	t.Helper()
	l, err := cost.BuiltinLink(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func image() *tflitetest.Builder { return tflitetest.New().Input(1, 32, 32, 8) }

func analyze(b *tflitetest.Builder) *compile.Model {
	return compile.Analyze(b.Source(), compile.Settings{Version: compile.V16_0})
}

// split caches the ops that are named.
func split(m *compile.Model, cached ...int) *compile.Split {
	s := &compile.Split{Streamed: m.Load.Streamed, InCache: make([]bool, len(m.Load.Parts))}
	for i, part := range m.Load.Parts {
		for _, op := range cached {
			s.InCache[i] = s.InCache[i] || part.Op == op
		}
		if s.InCache[i] {
			s.Cached += part.Bytes
		} else {
			s.Streamed += part.Bytes
		}
	}
	return s
}

func all(m *compile.Model) *compile.Split {
	var ops []int
	for i := range m.Ops {
		ops = append(ops, i)
	}
	return split(m, ops...)
}

// small is a convolution and a fully connected layer. Worked out by hand:
//
//	conv   8 x 8 positions x 9 taps x 8/4 words = 1152 cycles, 19 rows, 32 lanes x 4 x 19 = 2432 bytes
//	FC     20480/4 = 5120 cycles; 16 lanes x 4 x 5120 and a word of bias = 327,744 bytes
func small(t *testing.T) *compile.Model {
	t.Helper()
	m := analyze(image().Conv(20, 3, 3, 1, true).FC(10))
	if p := m.Load.Parts; len(p) != 2 || p[0].Bytes != 2432 || p[1].Bytes != 327_744 {
		t.Fatalf("parts are %+v", p)
	}
	return m
}

const (
	convMS = 4.4*1152/1e6 + 15*19/1e6 + 0.004
	fcMS   = 36*5120/1e6 + 0.004
	// 2 ops and 5 KB of instructions, 32 x 32 x 8 bytes of input; 10 bytes of output
	sentMS     = (2*2560 + 5*1024 + 8192) / 455e3
	receivedMS = 10 * 5e-6
)

func TestByHand(t *testing.T) {
	m := small(t)
	x := Shapes(m, link(t, "usb3")).Times(all(m))
	near(t, "host", x.Host.Value, 0.13, 0)
	near(t, "sent", x.Transfer, sentMS, 1e-12)
	near(t, "received", x.Output, receivedMS, 1e-12)
	near(t, "compute", x.Compute.Value, convMS+fcMS, 1e-12)
	near(t, "streaming", x.Stream.Value, 0, 0)
	rest := sentMS + receivedMS + convMS + fcMS
	near(t, "steady", x.Steady.Value, 0.13+rest, 1e-12)
	// a familiar net: 0.88 to 1.14 of everything but the host's part, which is 0 to 0.43
	near(t, "least", x.Steady.Low, 0.88*rest, 1e-12)
	near(t, "most", x.Steady.High, 1.14*rest+0.43, 1e-12)
	near(t, "least compute", x.Compute.Low, 0.88*(convMS+fcMS), 1e-12)
	near(t, "most compute", x.Compute.High, 1.14*(convMS+fcMS), 1e-12)
	load := (2432+327_744+10_240)/455e3 + 0.43
	near(t, "load", x.Load.Value, load, 1e-12)
	near(t, "cold", x.Cold.Value, 0.13+rest+load, 1e-12)
	near(t, "cold over the fastest link", x.Cold.Low, 0.88*rest+(load-0.43)/1.2+0.43, 1e-12)
	near(t, "cold over the slowest link", x.Cold.High, 1.14*rest+0.43+(load-0.43)/0.8+0.43, 1e-12)
}

// Each op takes as long as it computes or as its parameters take, whichever is longer: a
// convolution hides what the layer after it cannot.
func TestStreamingIsHiddenOpByOp(t *testing.T) {
	m := small(t)
	times := Shapes(m, link(t, "usb3"))
	fc := 327_744/455e3 - fcMS
	if 2432/455e3 > convMS || fc < 0.5 {
		t.Fatal("the example shows nothing")
	}
	for _, test := range []struct {
		name   string
		cached []int
		want   float64
	}{{"nothing", []int{0, 1}, 0}, {"the convolution", []int{1}, 0}, {"the layer", []int{0}, fc}, {"both", nil, fc}} {
		s := split(m, test.cached...)
		x := times.Times(s)
		near(t, "streaming "+test.name, x.Stream.Value, test.want, 1e-12)
		near(t, "steady", x.Steady.Value, 0.13+sentMS+receivedMS+convMS+fcMS+test.want, 1e-12)
		near(t, "from 0.8 of it", x.Stream.Low, 0.8*test.want, 1e-12)
		near(t, "to 1.2 of it", x.Stream.High, 1.2*test.want, 1e-12)
		if s.Cached == 0 {
			near(t, "load of nothing", x.Load.Value, 0, 0)
			near(t, "cold", x.Cold.Value, x.Steady.Value, 0)
		}
	}
	// A split that was measured may not tell what it streams: it is what takes longest for its bytes.
	untold := &compile.Split{Cached: 2432, Streamed: 327_744}
	near(t, "a split that names no parts", times.Times(untold).Stream.Value, fc, 1e-12)
	// The slowest link hides next to nothing.
	slow := Shapes(m, link(t, "usb2")).Times(split(m, 0))
	near(t, "over USB 2", slow.Stream.Value, 327_744/34e3-fcMS, 1e-12)
	near(t, "output over USB 2", slow.Output, 10/34e3, 1e-12)
}

// Constants of elementwise ops are streamed whatever is cached, and nothing hides them.
func TestConstantsStream(t *testing.T) {
	b := image()
	m := analyze(b.Conv(20, 3, 3, 1, true).Add(b.Constant(20)))
	if m.Load.Streamed == 0 {
		t.Fatal("there are no constants")
	}
	x := Shapes(m, link(t, "usb3"))
	want := float64(m.Load.Streamed) / 455e3
	near(t, "streaming", x.Times(all(m)).Stream.Value, want, 1e-15)
	near(t, "of the op", x.Ops()[1].Stream, want, 1e-15)
}

// crowded is a net whose second to fifth op run in 4 passes, 2 x 2 parts of 16 x 16 positions: of the
// fourth each is 60 x 60 x 512, of the third 119 x 119 x 64. How often what is streamed is sent is not
// sure: 2 to 8.8 times.
func crowded() *compile.Model {
	return analyze(tflitetest.New().Input(1, 256, 256, 4).Conv(4, 3, 3, 1, true).Conv(16, 3, 3, 1, true).Conv(64, 3, 3, 1, true).
		Conv(512, 3, 3, 2, true).Conv(512, 3, 3, 8, true).Conv(512, 3, 3, 1, true).FC(10))
}

// but caches all ops but one.
func but(m *compile.Model, op int) *compile.Split {
	var rest []int
	for i := range m.Ops {
		if i != op {
			rest = append(rest, i)
		}
	}
	return split(m, rest...)
}

func TestPasses(t *testing.T) {
	m := crowded()
	if p := m.Ops[3].Passes.Value; p != 4 {
		t.Fatalf("op 3 runs in %v passes", p)
	}
	x := Shapes(m, link(t, "usb2"))
	if !x.InPasses() || Shapes(small(t), link(t, "usb2")).InPasses() {
		t.Error("nets in passes are not told from others")
	}
	compute, bytes := m.Ops[3].Work.MS(), float64(m.Load.Parts[3].Bytes)
	if m.Load.Parts[3].Op != 3 || 4*bytes/34e3 < compute {
		t.Fatal("the example shows nothing")
	}
	s := but(m, 3)
	got := x.Times(s)
	near(t, "streamed in every pass", got.Stream.Value, 4*bytes/34e3-compute, 1e-9)
	near(t, "half as many passes", got.Stream.Low, 0.5*4*bytes/34e3-compute, 1e-9)
	near(t, "2.2 times as many", got.Stream.High, 2.2*4*bytes/34e3-compute, 1e-9)
	rest := got.Transfer + got.Output + got.Compute.Value
	near(t, "least", got.Steady.Low, 0.9+0.88*(rest+got.Stream.Low), 1e-9)
	near(t, "most", got.Steady.High, 3+1.14*(rest+got.Stream.High), 1e-9)
	// After the crowd: sent once.
	near(t, "after the crowd", x.Times(but(m, 5)).Stream.Value, float64(m.Load.Parts[5].Bytes)/34e3-m.Ops[5].Work.MS(), 1e-9)
}

func TestRuntime(t *testing.T) {
	m := small(t)
	std, err := link(t, "usb3").Runtime("std")
	if err != nil {
		t.Fatal(err)
	}
	x := Shapes(m, std).Times(split(m, 0))
	near(t, "compute at half the clock", x.Compute.Value, 2*(convMS+fcMS), 1e-12)
	near(t, "which hides more", x.Stream.Value, 327_744/455e3-2*fcMS, 1e-12)
	near(t, "steady", x.Steady.Value, 0.13+sentMS+receivedMS+2*convMS+327_744/455e3, 1e-12)
}

// What facts know of a model goes into its times.
func TestFacts(t *testing.T) {
	m := small(t)
	n := func(bytes int64) *int64 { return &bytes }
	if got := Traffic(m, nil); got != (cost.Traffic{Instructions: 10_240, Input: 8192, Output: 10}) {
		t.Errorf("by rule %+v", got)
	}
	if got := Traffic(m, &compile.ModelFacts{InstructionBytes: n(70_000)}); got != (cost.Traffic{Instructions: 70_000, Input: 8192, Output: 10}) {
		t.Errorf("measured instructions: %+v", got)
	}
	if got := Traffic(m, &compile.ModelFacts{InputBytes: n(9000), OutputBytes: n(16)}); got != (cost.Traffic{Instructions: 10_240, Input: 9000, Output: 16}) {
		t.Errorf("measured input and output: %+v", got)
	}
	near(t, "load", LoadBytes(nil), 10_240, 0)
	near(t, "measured load", LoadBytes(&compile.ModelFacts{LoadInstructionBytes: n(777)}), 777, 0)
	old := compile.Analyze(image().Conv(20, 3, 3, 1, true).FC(1000).Softmax().Source(), compile.Settings{Version: compile.V15_0})
	near(t, "15.0", float64(Traffic(old, nil).Instructions), 3*2048, 0)
	young := compile.Analyze(image().Conv(20, 3, 3, 1, true).FC(1000).Softmax().Source(), compile.Settings{Version: compile.V16_0})
	near(t, "16.0 with a large softmax", float64(Traffic(young, nil).Instructions), 3*2560+105*1024, 0)
}

// The times of ops add up to those of the call.
func TestOpsAddUp(t *testing.T) {
	for name, m := range samples(t) {
		x := Shapes(m, link(t, "usb3"))
		got := x.Times(split(m))
		compute, stream := 0.0, 0.0
		for i, o := range x.Ops() {
			if !m.Ops[i].Mapped && o != (OpTimes{}) {
				t.Errorf("%s: op %d on the CPU takes %+v", name, i, o)
			}
			compute, stream = compute+o.Compute, stream+o.Stream
		}
		near(t, name+": compute", compute, got.Compute.Value, 1e-9)
		near(t, name+": streaming all", stream, got.Stream.Value, 1e-9)
	}
}

// samples are a net of every kind.
func samples(t *testing.T) map[string]*compile.Model {
	t.Helper()
	dense, gate := image(), image().Conv(16, 3, 3, 1, true)
	for range 10 {
		dense.Binary(tflite.Mul, dense.Constant(8))
	}
	at := gate.At()
	list := map[string]*compile.Model{
		"small": small(t), "crowded": crowded(),
		"dense":      analyze(dense.Conv(8, 3, 3, 1, true)),
		"SiLU":       analyze(gate.Logistic().Binary(tflite.Mul, at).FC(1000).Softmax()),
		"unfamiliar": analyze(image().Conv(16, 3, 3, 1, true).Unary(tflite.Tanh)),
		"part":       analyze(image().Conv(16, 3, 3, 1, true).Unary(tflite.HardSwish).ResizeBilinear(64, 64)),
		"nothing":    analyze(image().Unary(tflite.HardSwish)),
	}
	for name, data := range map[string][]byte{"mobilenet": tflitetest.MobileNetV1(1, 224, 1001), "resnet": tflitetest.ResNet50(1000), "ssd": tflitetest.SSDMobileNetV1(91)} {
		f, err := tflite.New(name, data)
		if err != nil {
			t.Fatal(err)
		}
		src, err := f.Source()
		if err != nil {
			t.Fatal(err)
		}
		list[name] = compile.Analyze(src, compile.Settings{Version: compile.V16_0})
	}
	want := map[string]cost.Reach{"dense": cost.LowerBound, "SiLU": cost.Guess, "unfamiliar": cost.Unfamiliar}
	for name, m := range list {
		if m.Timing.Reach != want[name] {
			t.Fatalf("%s is %s", name, m.Timing.Reach)
		}
	}
	return list
}

// splits of a model: all cached, the first half, the other half, nothing, and one that names no parts.
func splits(m *compile.Model) []*compile.Split {
	var first, rest []int
	for i := range m.Ops {
		if i < len(m.Ops)/2 {
			first = append(first, i)
		} else {
			rest = append(rest, i)
		}
	}
	untold := *split(m, first...)
	untold.InCache = nil
	return []*compile.Split{all(m), split(m, first...), split(m, rest...), split(m), &untold}
}

func TestIntervals(t *testing.T) {
	ordered := func(what string, r cost.Range) {
		t.Helper()
		if !(0 <= r.Low && r.Low <= r.Value && r.Value <= r.High) {
			t.Errorf("%s: %+v", what, r)
		}
	}
	for name, m := range samples(t) {
		for _, l := range append(cost.Links(), cost.CustomLink(100e3, 1)) {
			shapes, measured, calibrated := Shapes(m, l), Shapes(m, l), Shapes(m, l)
			steady := 1.3 * shapes.Times(all(m)).Steady.Value
			if err := measured.Measure(cost.Timed{SteadyMS: steady, Cached: all(m).Cached, Streamed: all(m).Streamed}, Shapes(m, l), all(m)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			calibrated.Calibrate(Calibration{ComputeMS: cost.Range{Value: steady, Low: 0.9 * steady, High: 1.2 * steady}, OverlapMS: 0.1, SlopeMS: 1e-7})
			for way, x := range map[string]*Model{"shapes": shapes, "measured": measured, "calibrated": calibrated} {
				for n, s := range splits(m) {
					what := fmt.Sprintf("%s over %s by %s, split %d", name, l.Name, way, n)
					got := x.Times(s)
					for term, r := range map[string]cost.Range{"host": got.Host, "compute": got.Compute, "streaming": got.Stream, "load": got.Load, "steady": got.Steady, "cold": got.Cold} {
						ordered(what+": "+term, r)
						bounded := m.Timing.Reach != cost.LowerBound || way != "shapes" || term == "host" || term == "load" || term == "streaming"
						if r.Bounded() != bounded {
							t.Errorf("%s: %s is %+v", what, term, r)
						}
					}
					sum := got.Host.Value + got.Transfer + got.Output + got.Compute.Value + got.Stream.Value
					near(t, what+": sum of the terms", sum, got.Steady.Value, 1e-9)
					near(t, what+": cold", got.Cold.Value, got.Steady.Value+got.Load.Value, 1e-9)
					call, _ := x.Cost(Vary{})
					near(t, what+": as a planner sees it", call.Steady(got.Stream.Value), got.Steady.Value, 1e-9)
				}
			}
		}
	}
}

// A measured time comes out again, whatever the model streamed meanwhile.
func TestMeasure(t *testing.T) {
	for name, m := range samples(t) {
		for n, s := range splits(m)[:4] {
			for _, factor := range []float64{0.9, 1, 1.5} {
				if factor < 1 && n > 0 { // less than streaming takes
					continue
				}
				l := link(t, "usb2")
				x := Shapes(m, l)
				steady := factor * x.Times(s).Steady.Value
				timed := cost.Timed{SteadyMS: steady, Cached: s.Cached, Streamed: s.Streamed}
				if err := x.Measure(timed, Shapes(m, l), s); err != nil {
					t.Fatalf("%s, split %d: %v", name, n, err)
				}
				got := x.Times(s)
				near(t, fmt.Sprintf("%s, split %d, %v times as long", name, n, factor), got.Steady.Value, steady, 1e-9*steady)
				if !x.Known() || got.Steady.High-got.Steady.Low > 0.5*steady && !x.InPasses() {
					t.Errorf("%s: measured, and still %+v", name, got.Steady)
				}
				for _, v := range []Vary{{Stream: 0.8}, {Stream: 1.2}, {Rate: 1.2}, {Passes: x.Passes().Low}, {Passes: x.Passes().High}} {
					call, stream := x.Cost(v)
					streamed := float64(m.Load.Streamed) / (34e3 * max(v.Rate, 1))
					for i, cached := range s.InCache {
						if !cached {
							streamed += stream[i]
						}
					}
					if v.Passes == 0 || x.InPasses() {
						near(t, fmt.Sprintf("%s, split %d, as long if %+v", name, n, v), call.Steady(streamed), steady, 0.02*steady)
					}
				}
			}
		}
	}
}

// A time measured with a streamed op in passes bounds how often it was sent.
func TestMeasureBoundsPasses(t *testing.T) {
	m, l := crowded(), link(t, "usb2")
	s := but(m, 3) // op 3 in 4 passes
	before := Shapes(m, l)
	if p := before.Passes(); p != (cost.Range{Value: 1, Low: 0.5, High: 2.2}) {
		t.Fatalf("predicted passes may be %+v times as many", p)
	}
	for _, times := range []float64{0.75, 1, 1.5} {
		call, stream := before.Cost(Vary{Passes: times})
		x := Shapes(m, l)
		if err := x.Measure(cost.Timed{SteadyMS: call.Steady(stream[3]), Cached: s.Cached, Streamed: s.Streamed}, Shapes(m, l), s); err != nil {
			t.Fatal(err)
		}
		if p := x.Passes(); !(p.Low <= times && times <= p.High && p.High-p.Low < 0.1 && p.Low <= p.Value && p.Value <= p.High) {
			t.Errorf("%v times the passes: found %+v", times, p)
		}
	}
	// What streamed nothing in passes says nothing about them.
	x := Shapes(m, l)
	if err := x.Measure(cost.Timed{SteadyMS: 2 * before.Times(all(m)).Steady.Value, Cached: all(m).Cached}, Shapes(m, l), all(m)); err != nil {
		t.Fatal(err)
	}
	if x.Passes() != before.Passes() {
		t.Errorf("a call that streamed nothing found %+v", x.Passes())
	}
}

// steady and cold give the model a rate of its own, which Vary then leaves alone.
func TestMeasuredRate(t *testing.T) {
	m := small(t)
	x := Shapes(m, link(t, "usb3"))
	if err := x.Measure(cost.Timed{SteadyMS: 1, ColdMS: 3, Cached: all(m).Cached}, Shapes(m, link(t, "usb3")), all(m)); err != nil {
		t.Fatal(err)
	}
	got := x.Times(all(m))
	near(t, "steady", got.Steady.Value, 1, 1e-9)
	near(t, "cold", got.Cold.Value, 3, 1e-9)
	if got.Load != cost.Exactly(got.Load.Value) {
		t.Errorf("a measured load is %+v", got.Load)
	}
	a, _ := x.Cost(Vary{})
	b, _ := x.Cost(Vary{Rate: 2})
	near(t, "rate of its own", b.BytesPerMS, a.BytesPerMS, 0)
	near(t, "rate", a.BytesPerMS, (2432+327_744+10_240)/2.0, 1e-9)
}

func TestMeasureRefuses(t *testing.T) {
	m := small(t)
	x := Shapes(m, link(t, "usb2"))
	// 330,176 bytes take 9.7 ms over USB 2, and 8.1 over one that is as fast as they come
	if err := x.Measure(cost.Timed{SteadyMS: 8, Streamed: 330_176}, Shapes(m, link(t, "usb2")), split(m)); err == nil {
		t.Error("a time shorter than streaming was accepted")
	}
	if x.Known() {
		t.Error("the model is known all the same")
	}
}

func TestVary(t *testing.T) {
	m := small(t)
	x := Shapes(m, link(t, "usb3"))
	_, stream := x.Cost(Vary{})
	fast, fastStream := x.Cost(Vary{Rate: 2})
	near(t, "rate", fast.BytesPerMS, 910e3, 0)
	near(t, "streaming over a faster link", fastStream[1], 327_744/910e3-fcMS, 1e-12)
	near(t, "fixed part", fast.FixedMS, 0.13+sentMS/2+receivedMS+convMS+fcMS, 1e-12)
	_, more := x.Cost(Vary{Stream: 1.2})
	near(t, "streaming that hides less", more[1], 1.2*stream[1], 1e-12)
	_, passes := x.Cost(Vary{Passes: 2})
	near(t, "a net without passes", passes[1], stream[1], 0)
	c := crowded()
	y := Shapes(c, link(t, "usb2"))
	_, often := y.Cost(Vary{Passes: 2, Stream: 5})
	near(t, "twice the passes", often[3], 8*float64(c.Load.Parts[3].Bytes)/34e3-c.Ops[3].Work.MS(), 1e-9)
	_, rarely := y.Cost(Vary{Passes: 0.001})
	near(t, "never less than once", rarely[3], max(0, float64(c.Load.Parts[3].Bytes)/34e3-c.Ops[3].Work.MS()), 1e-9)
}

func TestCalibrate(t *testing.T) {
	m := small(t)
	x := Shapes(m, link(t, "usb3"))
	x.Calibrate(Calibration{ComputeMS: cost.Range{Value: 0.53, Low: 0.43, High: 0.73}, SlopeMS: 1e-6, OverlapMS: 0.2})
	got := x.Times(split(m, 0))
	// 0.13 is the host's, and the ops take the rest
	factor := 0.4 / (convMS + fcMS)
	near(t, "compute", got.Compute.Value, 0.4, 1e-12)
	near(t, "least compute", got.Compute.Low, 0.3, 1e-12)
	near(t, "most compute", got.Compute.High, 0.6, 1e-12)
	near(t, "streaming", got.Stream.Value, 327_744/455e3-factor*fcMS+0.327744, 1e-12)
	near(t, "load", got.Load.Value, (2432+10_240)/455e3-0.2+0.43, 0.43) // as much as there is
	near(t, "load, hidden whole", got.Load.Value, 0.43, 1e-12)
	near(t, "steady", got.Steady.Value, 0.53+sentMS+receivedMS+got.Stream.Value, 1e-12)
	twice := cost.Range{Value: 2, Low: 1.5, High: 3}
	c := Shapes(crowded(), link(t, "usb2"))
	c.Calibrate(Calibration{ComputeMS: cost.Exactly(100), Passes: &twice})
	if c.Passes() != twice {
		t.Errorf("calibrated passes are %+v", c.Passes())
	}
}

// Parameters of other sizes change what is streamed, and nothing else.
func TestWith(t *testing.T) {
	m := small(t)
	load := m.Load
	load.Parts = append([]compile.Part(nil), load.Parts...)
	load.Parts[1].Bytes *= 2
	x := Shapes(m, link(t, "usb3"))
	call, _ := x.Cost(Vary{})
	with, stream := x.With(load).Cost(Vary{})
	near(t, "streaming twice the bytes", stream[1], 2*327_744/455e3-fcMS, 1e-12)
	if with != call {
		t.Errorf("the call is %+v, was %+v", with, call)
	}
	if _, stream := x.Cost(Vary{}); stream[1] > 327_744/455e3 {
		t.Error("the model itself changed")
	}
}

// What the CPU takes stands beside the times, not in them.
func TestCPU(t *testing.T) {
	m := samples(t)["part"]
	x := Shapes(m, link(t, "usb3")).Times(all(m))
	near(t, "least", x.CPU.LowMS, 5.4*64*64*16/1e6, 1e-12)
	near(t, "most", x.CPU.HighMS, 7.1*64*64*16/1e6, 1e-12)
	if x.CPU.On != "x86" || x.CPU.Lacking != 1 || x.Steady.Value > x.CPU.LowMS+0.4 {
		t.Errorf("%+v", x)
	}
}

// From a file of 4 MB to the times of its calls, op by op. Less than 10 ms of a processor is the
// demand; most of it is to read and to hash the file.
func BenchmarkTimes(b *testing.B) {
	file := filepath.Join(b.TempDir(), "model.tflite")
	data := tflitetest.MobileNetV1(1, 224, 1001)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		b.Fatal(err)
	}
	usb3, err := cost.BuiltinLink("usb3")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		f, err := tflite.Open(file)
		if err != nil {
			b.Fatal(err)
		}
		src, err := f.Source()
		if err != nil {
			b.Fatal(err)
		}
		m := compile.Analyze(src, compile.Settings{Version: compile.V16_0})
		m.Load.Content = f.SHA256()
		p := compile.Predict(compile.V16_0, []compile.Input{{File: file, Model: m, Reserve: m.Reserve}})
		x := Shapes(m, usb3)
		x.Ops()
		x.Times(&p.Models[0].Split)
	}
}

// A warm call that is shorter than its streaming at the built-in rate says that the link is faster: as
// fast as it has to be, and no faster than links of the kind are.
func TestMeasuredFasterLink(t *testing.T) {
	m := small(t)
	x := Shapes(m, link(t, "usb2"))
	if err := x.Measure(cost.Timed{SteadyMS: 10, Streamed: 330_176}, Shapes(m, link(t, "usb2")), split(m)); err != nil {
		t.Fatal(err)
	}
	got := x.Times(split(m))
	near(t, "steady", got.Steady.Value, 10, 1e-9)
	if !(x.Faster() > 34e3 && x.Faster() <= 1.2*34e3) {
		t.Errorf("the link carries %v bytes a ms", x.Faster())
	}
	plain := Shapes(m, link(t, "usb2"))
	if err := plain.Measure(cost.Timed{SteadyMS: 30, Streamed: 330_176}, Shapes(m, link(t, "usb2")), split(m)); err != nil || plain.Faster() != 0 {
		t.Errorf("a longer call: %v, faster %v", err, plain.Faster())
	}
}

// Whatever was measured comes out again, even where bytes alone are taken to last longer.
func TestMeasuredShorterThanItsBytes(t *testing.T) {
	m := small(t)
	x := Shapes(m, link(t, "usb3"))
	if err := x.Measure(cost.Timed{SteadyMS: 0.02}, Shapes(m, link(t, "usb3")), all(m)); err != nil {
		t.Fatal(err)
	}
	got := x.Times(all(m))
	near(t, "steady", got.Steady.Value, 0.02, 1e-12)
	if x.Factor() != 0 || got.Host.Value != 0 || !(got.Steady.Low <= 0.02 && got.Steady.High >= 0.02) {
		t.Errorf("factor %v, %+v", x.Factor(), got)
	}
}
