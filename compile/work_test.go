package compile

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// What an op makes the chip do, worked out by hand from docs/cost-model.md.
func TestWork(t *testing.T) {
	for _, test := range []struct {
		name  string
		build *tflitetest.Builder
		want  cost.Work
	}{
		// 8 x 8 positions on each of 4 x 4 tiles, 9 taps, 8/4 words, 20 of 64 lanes; 9 x 2 rows and the bias
		{"convolution", image().Conv(20, 3, 3, 1, true), cost.Work{Engine: cost.Convolution, Cycles: 64 * 9 * 2, Rows: 19}},
		// 16 x 16 out, 130 channels are three times 64 lanes
		{"convolution with stride", image().Conv(130, 3, 3, 2, true), cost.Work{Engine: cost.Convolution, Cycles: 16 * 9 * 2 * 3, Rows: 3 * 19}},
		// 14/4 is 4, 3/4 is 1
		{"what fills no tile", tflitetest.New().Input(1, 14, 14, 3).Conv(64, 1, 1, 1, true), cost.Work{Engine: cost.Convolution, Cycles: 16, Rows: 2}},
		{"flat kernel", image().Conv(64, 1, 7, 1, true), cost.Work{Engine: cost.Convolution, Cycles: 64 * 7 * 2, Rows: 15}},
		{"convolution of one position", tflitetest.New().Input(1, 1, 1, 1024).Conv(1001, 1, 1, 1, true), cost.Work{Engine: cost.Spread, Cycles: 256}},
		// all 4 x 4 x 8 inputs of a lane: 32 words; 1500 lanes are two turns of 1024
		{"convolution to one position", tflitetest.New().Input(1, 4, 4, 8).Conv(1500, 4, 4, 1, false), cost.Work{Engine: cost.Spread, Cycles: 2 * 32}},
		{"depthwise", image().Depthwise(3, 3, 1, true), cost.Work{Engine: cost.Depthwise, Cycles: 64 * 9, Rows: 2}},
		{"depthwise of 130 channels", tflitetest.New().Input(1, 28, 28, 130).Depthwise(5, 5, 2, true), cost.Work{Engine: cost.Depthwise, Cycles: 16 * 25 * 3, Rows: -1}},
		{"fully connected", image().FC(1500), cost.Work{Engine: cost.Spread, Cycles: 2048 * 2}},
		{"fully connected, three rows", tflitetest.New().Input(3, 66).FC(10), cost.Work{Engine: cost.Spread, Cycles: 3 * 17}},
		// each output position as if all taps met it
		{"transposed convolution", image().TransposeConv(20, 3, 3, 2), cost.Work{Engine: cost.Convolution, Cycles: 256 * 9 * 2, Rows: -1}},
		{"pool", image().MaxPool(2, 2, false), cost.Work{Cycles: 16}},
		{"addition", tflitetest.New().Input(1, 32, 32, 130).Logistic(), cost.Work{Cycles: 64 * 3}},
		{"softmax of one row", tflitetest.New().Input(1, 1001).Softmax(), cost.Work{Cycles: 16}},
		{"on the CPU", image().Unary(tflite.HardSwish), cost.Work{}},
	} {
		m := Analyze(test.build.Source(), Settings{Version: V16_0})
		op := m.Ops[len(m.Ops)-1]
		if test.want.Rows < 0 { // as many as the footprint has
			test.want.Rows = float64(op.Rows)
		}
		if op.Work != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, op.Work, test.want)
		}
		if mapped := test.name != "on the CPU"; op.Mapped != mapped {
			t.Errorf("%s: mapped %v", test.name, op.Mapped)
		}
	}
}

// A net with a crowded middle: its activation tiles are, in shares of the 196,608 bytes of a tile,
// 64 x 64 x (4 + 4) = 0.17, (4 + 16) = 0.42, (16 + 64) = 1.67, then 0.33 + 1.33 = 1.67 and 0.35.
func crowded() *tflitetest.Builder {
	return tflitetest.New().Input(1, 256, 256, 4).Conv(4, 3, 3, 1, true).Conv(16, 3, 3, 1, true).Conv(64, 3, 3, 1, true).
		Conv(64, 3, 3, 2, true).Conv(64, 3, 3, 4, true).FC(10)
}

func TestPasses(t *testing.T) {
	once, two, four := cost.Exactly(1), cost.Range{Value: 2, Low: 1, High: 4.4}, cost.Range{Value: 4, Low: 2, High: 8.8}
	times := 6.0
	six := cost.Range{Value: times, Low: 3, High: 2.2 * times}
	for _, test := range []struct {
		name  string
		build *tflitetest.Builder
		want  []cost.Range
	}{
		{"a net that fits", image().Conv(20, 3, 3, 1, true).FC(10), []cost.Range{once, once}},
		// The third does not fit. It starts at the second, whose input is no larger than
		// the image, and ends before the layer that needs all: 32 x 32. Of two strips the third takes
		// 66 x 34 x 16 bytes in and 65 x 33 x 64 out.
		{"what comes before and after runs once", crowded(), []cost.Range{once, two, two, two, two, once}},
		// 56 x 56 x (28 + 28) bytes are 0.89 of a tile's memory; of the image no rim is held
		{"just not crowded", tflitetest.New().Input(1, 224, 224, 28).Conv(28, 9, 9, 1, true), []cost.Range{once}},
		{"just crowded", tflitetest.New().Input(1, 224, 224, 28).Conv(28, 1, 1, 1, true).Conv(28, 9, 9, 1, true), []cost.Range{two, two}},
		// 33 x 33 x 32 + 34 x 34 x 64 bytes of the first; of the last, whose output
		// leaves, two pieces and the joined band of 86 rows, 2 x 22 x 64 x 64 + 32 bytes
		{
			"what is small between runs once", tflitetest.New().Input(1, 256, 256, 32).Conv(64, 3, 3, 1, true).Conv(4, 3, 3, 1, true).Conv(4, 3, 3, 1, true).Conv(64, 3, 3, 1, true),
			[]cost.Range{four, four, once, six},
		},
		{"on the CPU", image().Unary(tflite.HardSwish), []cost.Range{{}}},
	} {
		var got []cost.Range
		for _, o := range Analyze(test.build.Source(), Settings{Version: V16_0}).Ops {
			got = append(got, o.Passes)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s:\n%s", test.name, diff)
		}
	}
}

func TestReach(t *testing.T) {
	conv := func() *tflitetest.Builder { return image().Conv(16, 3, 3, 1, true) }
	custom := func(b *tflitetest.Builder, code tflite.Builtin, shape []int, inputs ...int) *tflitetest.Builder {
		return b.Op(tflite.Op{Code: code, Inputs: inputs, Outputs: []int{b.Activation(shape...)}})
	}
	joined := func(joins int, dense bool) *tflitetest.Builder {
		b := image()
		for range joins {
			start := b.At()
			grown := b.Concat(3, start, b.Conv(1, 1, 1, 1, true).At())
			if !dense {
				grown.Conv(8, 1, 1, 1, true)
			}
		}
		return b
	}
	scaled := func(ops int) *tflitetest.Builder {
		b := conv()
		for range ops {
			b.Binary(tflite.Mul, b.Constant(16))
		}
		return b
	}
	for _, test := range []struct {
		name    string
		build   *tflitetest.Builder
		all     bool // -a
		want    cost.Reach
		because []string
	}{
		{name: "classifier", build: conv().AvgPool(32, 2, false).FC(10).Softmax()},
		{name: "an Inception joins what it computed", build: joined(40, false)},
		{name: "some operations with constants", build: scaled(7)},
		{name: "a gate of channels", build: func() *tflitetest.Builder {
			x := conv()
			at := x.At()
			gate := x.Mean(true, 1, 2).Conv(16, 1, 1, 1, true).Logistic().At()
			return x.From(at).Binary(tflite.Mul, gate)
		}()},
		{name: "softmax of several rows at the end", build: conv().Reshape(1, 1024, 16).Softmax()},
		{name: "softmax before the CPU", build: conv().Reshape(1, 1024, 16).Softmax().Dequantize()},

		{name: "dilation", build: func() *tflitetest.Builder {
			b := conv().Conv(16, 3, 3, 1, true)
			b.Last().Options.DilationH, b.Last().Options.DilationW = 2, 2
			return b
		}(), want: cost.Unfamiliar, because: []string{"1 CONV_2D with dilation"}},
		{name: "nobody timed it", build: conv().Unary(tflite.Tanh).Unary(tflite.Tanh), want: cost.Unfamiliar, because: []string{"2 TANH"}},
		{name: "no layer", build: image().MaxPool(2, 2, false), want: cost.Unfamiliar, because: []string{"neither convolution nor fully connected layer"}},
		{name: "several regions", build: conv().Unary(tflite.HardSwish).Conv(8, 1, 1, 1, true), all: true, want: cost.Unfamiliar, because: []string{"2 parts on the Edge TPU"}},
		{name: "one of several regions", build: conv().Unary(tflite.HardSwish).Conv(8, 1, 1, 1, true)},

		{name: "SiLU", build: func() *tflitetest.Builder {
			b := conv()
			at := b.At()
			return b.Logistic().Binary(tflite.Mul, at)
		}(), want: cost.Guess, because: []string{"1 LOGISTIC of SiLU"}},
		{name: "resize", build: conv().ResizeBilinear(64, 64).ResizeBilinear(32, 32).ResizeNearest(64, 64), want: cost.Guess, because: []string{"2 RESIZE_BILINEAR", "1 RESIZE_NEAREST_NEIGHBOR"}},
		{name: "transposed convolution", build: conv().TransposeConv(8, 3, 3, 2), want: cost.Guess, because: []string{"1 TRANSPOSE_CONV"}},
		{name: "LSTM", build: func() *tflitetest.Builder {
			b := tflitetest.New().Input(1, 28).FC(28)
			return custom(b, tflite.LSTM, []int{1, 28}, b.At())
		}(), want: cost.Guess, because: []string{"1 LSTM"}},
		{name: "several rows", build: tflitetest.New().Input(3, 64).FC(64).FC(8), want: cost.Guess, because: []string{"2 FULLY_CONNECTED of several rows"}},
		{name: "two activations", build: func() *tflitetest.Builder {
			b := tflitetest.New().Input(8, 64)
			at := b.At()
			return custom(b.Logistic(), tflite.FullyConnected, []int{8, 8}, b.At(), at)
		}(), want: cost.Guess, because: []string{"1 FULLY_CONNECTED of two activations"}},
		{name: "softmax inside", build: tflitetest.New().Input(8, 64).Softmax().Logistic(), want: cost.Guess, because: []string{"neither convolution nor fully connected layer", "1 SOFTMAX inside the net"}},
		{name: "large output", build: tflitetest.New().Input(1, 512, 512, 3).Conv(16, 3, 3, 1, true), want: cost.Guess, because: []string{"4.2 MB of output"}},

		{name: "dense blocks", build: joined(31, true), want: cost.LowerBound, because: []string{"30 CONCATENATION of concatenations, as in DenseNet"}},
		{name: "normalisations that do not fold", build: scaled(8), want: cost.LowerBound, because: []string{"8 operations with constants of their own, as in DenseNet"}},
		{name: "a lower bound stays one", build: scaled(8).ResizeBilinear(64, 64), want: cost.LowerBound, because: []string{
			"1 RESIZE_BILINEAR", "8 operations with constants of their own, as in DenseNet",
		}},
	} {
		m := Analyze(test.build.Source(), Settings{Version: V16_0, AllRegions: test.all})
		if m.Timing.Reach != test.want {
			t.Errorf("%s: %s, want %s", test.name, m.Timing.Reach, test.want)
		}
		if diff := cmp.Diff(test.because, m.Timing.Because); diff != "" {
			t.Errorf("%s: because\n%s", test.name, diff)
		}
	}
}

func TestLargeSoftmax(t *testing.T) {
	for classes, want := range map[int]bool{499: false, 500: true, 1001: true} {
		if m := Analyze(image().FC(classes).Softmax().Source(), Settings{Version: V16_0}); m.Timing.Softmax != want {
			t.Errorf("%d classes: large %v", classes, m.Timing.Softmax)
		}
	}
}

// What is left to the CPU, counted by hand.
func TestLeftToCPU(t *testing.T) {
	stranger := func() *tflitetest.Builder { return image().Conv(8, 1, 1, 1, true).Unary(tflite.HardSwish) }
	f, err := tflite.New("ssd", tflitetest.SSDMobileNetV1(91))
	if err != nil {
		t.Fatal(err)
	}
	if ssd := analyzeSource(t, f, Settings{Version: V16_0}); ssd.Timing.CPU != (cost.CPU{Detections: 1}) || ssd.Timing.Reach != cost.Familiar {
		t.Errorf("SSD: %+v", ssd.Timing)
	}
	for _, test := range []struct {
		name  string
		build *tflitetest.Builder
		want  cost.CPU
	}{
		{"nothing", image().Conv(8, 1, 1, 1, true), cost.CPU{}},
		{"an op without a figure", stranger(), cost.CPU{Others: 1}},
		{"convolution", stranger().Conv(20, 3, 3, 2, true), cost.CPU{Others: 1, MACs: 16 * 16 * 20 * 9 * 8}},
		{"depthwise", stranger().Depthwise(3, 3, 1, true), cost.CPU{Others: 1, MACs: 32 * 32 * 8 * 9}},
		{"fully connected", stranger().FC(10), cost.CPU{Others: 1, MACs: 32 * 32 * 8 * 10}},
		{"resize and what reads it", func() *tflitetest.Builder {
			b := stranger().ResizeBilinear(64, 64)
			in, out := b.At(), b.Tensor(tflite.Tensor{Shape: []int{1, 64, 64}, Type: tflite.Int32})
			return b.Op(tflite.Op{Code: tflite.ArgMax, Inputs: []int{in, b.Integers(3)}, Outputs: []int{out}})
		}(), cost.CPU{Others: 1, Resized: 64 * 64 * 8}},
		{"another name of the same bytes", stranger().Reshape(1, 8192), cost.CPU{Others: 1}},
	} {
		if got := Analyze(test.build.Source(), Settings{Version: V16_0}).Timing.CPU; got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}
