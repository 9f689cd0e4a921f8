package compile

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/internal/known"
	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// The ops that the real compiler left to the CPU are the ones predicted, and
// what crosses the border of the Edge TPU has the sizes its layers state.
func TestMappingOfPairs(t *testing.T) {
	compiled, err := filepath.Glob(filepath.Join(testdata.Dir(t), "models", "*_edgetpu.tflite"))
	if err != nil || len(compiled) < 7 {
		t.Fatalf("found %d compiled files (%v)", len(compiled), err)
	}
	for _, path := range compiled {
		f := openFile(t, path)
		src, err := f.Source()
		if err != nil {
			t.Fatal(err)
		}
		var want, got []string
		for i := range src.Ops {
			if name := OpName(&src.Ops[i]); name != tflite.EdgeTPUOp {
				want = append(want, name)
			}
		}
		name := filepath.Base(path[:len(path)-len("_edgetpu.tflite")])
		m := publicModel(t, name, Settings{Version: V16_0, MinRuntime: known.MinRuntime})
		for _, o := range m.Ops {
			if !o.Mapped {
				got = append(got, o.Name)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: ops left to the CPU, compiled file (-) and prediction (+):\n%s", name, diff)
		}
		if m.Subgraphs != 1 {
			t.Errorf("%s: %d subgraphs", name, m.Subgraphs)
		}
	}
}

func image() *tflitetest.Builder { return tflitetest.New().Input(1, 32, 32, 8) }

// One op each, with the status text of every version where it changes.
func TestMappingRules(t *testing.T) {
	int8Image := func() *tflitetest.Builder {
		b := tflitetest.New()
		b.Type = tflite.Int8
		return b.Input(1, 32, 32, 8)
	}
	old := func(b *tflitetest.Builder, version int) *tflitetest.Builder {
		b.Last().Version = version
		return b
	}
	transpose := func() *tflitetest.Builder {
		b := image()
		in, out := b.At(), b.Activation(1, 32, 8, 32)
		return b.Op(tflite.Op{Code: tflite.Transpose, Inputs: []int{in, b.Integers(0, 1, 3, 2)}, Outputs: []int{out}})
	}
	strided := func(stride int) *tflitetest.Builder {
		b := image()
		in, out := b.At(), b.Activation(1, 32/stride, 32/stride, 8)
		return b.Op(tflite.Op{
			Code: tflite.StridedSlice, Outputs: []int{out},
			Inputs: []int{in, b.Integers(0, 0, 0, 0), b.Integers(1, 32, 32, 8), b.Integers(1, stride, stride, 1)},
		})
	}
	split := func(axis, batch int) *tflitetest.Builder {
		b := tflitetest.New().Input(batch, 8)
		in := b.At()
		outs := []int{b.Activation(batch, 4), b.Activation(batch, 4)}
		return b.Op(tflite.Op{Code: tflite.Split, Inputs: []int{b.Integers(axis), in}, Outputs: outs})
	}
	for _, test := range []struct {
		name  string
		build func() *tflitetest.Builder
		want  map[Version]string // from this version on
	}{
		{"convolution", func() *tflitetest.Builder { return image().Conv(16, 3, 3, 1, true) }, map[Version]string{V1_0: StatusMapped}},
		{"int8 came after 1.0", func() *tflitetest.Builder { return int8Image().Conv(16, 3, 3, 1, true) }, map[Version]string{V1_0: statusType, V2_0: StatusMapped}},
		{"a batch is too deep", func() *tflitetest.Builder { return tflitetest.New().Input(2, 8, 8, 8).Logistic() }, map[Version]string{V1_0: statusRank}},
		{"two rows are not", func() *tflitetest.Builder { return tflitetest.New().Input(2, 8).Logistic() }, map[Version]string{V1_0: StatusMapped}},
		{"fully connected with two rows", func() *tflitetest.Builder { return tflitetest.New().Input(2, 8).FC(4) }, map[Version]string{V1_0: status2D, V14_1: StatusMapped}},
		{"softmax with two rows", func() *tflitetest.Builder { return tflitetest.New().Input(2, 8).Softmax() }, map[Version]string{V1_0: status2D, V14_1: StatusMapped}},
		{"to float", func() *tflitetest.Builder { return image().Dequantize() }, map[Version]string{V1_0: statusType}},
		{"unknown op", func() *tflitetest.Builder { return image().Unary(tflite.HardSwish) }, map[Version]string{V1_0: statusUnsupported}},
		{"requantize", func() *tflitetest.Builder { return image().Quantize(tflite.Uint8) }, map[Version]string{V1_0: statusUnsupported, V2_0: StatusMapped}},
		{"transpose", transpose, map[Version]string{V1_0: statusUnsupported, V16_0: StatusMapped}},
		{"resize, new version", func() *tflitetest.Builder { return old(image().ResizeBilinear(64, 64), 3) }, map[Version]string{V14_1: statusVersion, V16_0: StatusMapped}},
		{"resize", func() *tflitetest.Builder { return old(image().ResizeBilinear(64, 64), 1) }, map[Version]string{V1_0: StatusMapped}},
		{"resize to over 3 MiB", func() *tflitetest.Builder { return old(image().ResizeBilinear(640, 640), 1) }, map[Version]string{V1_0: statusOtherwise}},
		{"resize from one position", func() *tflitetest.Builder {
			return old(tflitetest.New().Input(1, 1, 1, 8).ResizeBilinear(4, 4), 1)
		}, map[Version]string{V1_0: statusOtherwise, V2_0: statusResize, V2_1: statusOtherwise}},
		{"slice by steps of two", func() *tflitetest.Builder { return strided(2) }, map[Version]string{V1_0: statusStride, V16_0: StatusMapped}},
		{"slice by steps of four", func() *tflitetest.Builder { return strided(4) }, map[Version]string{V1_0: statusStride, V16_0: statusOtherwise}},
		{"slice by steps of one", func() *tflitetest.Builder { return strided(1) }, map[Version]string{V1_0: StatusMapped}},
		{"split of channels", func() *tflitetest.Builder { return split(-1, 1) }, map[Version]string{V1_0: StatusMapped}},
		{"split of rows", func() *tflitetest.Builder { return split(0, 2) }, map[Version]string{V1_0: status2D}},
		{"pool with activation", func() *tflitetest.Builder {
			return image().MaxPool(2, 2, false).Fuse(tflite.ActivationRelu)
		}, map[Version]string{V1_0: statusOtherwise}},
		{"mean over channels", func() *tflitetest.Builder { return image().Mean(true, 3) }, map[Version]string{V1_0: statusOtherwise, V15_0: StatusMapped}},
		{"mean over an image", func() *tflitetest.Builder { return image().Mean(true, 1, 2) }, map[Version]string{V1_0: StatusMapped}},
		{"reshape of a small tensor", func() *tflitetest.Builder { return image().Reshape(1, 8192) }, map[Version]string{V1_0: StatusMapped}},
		{"reshape of a large one", func() *tflitetest.Builder { return tflitetest.New().Input(1, 160, 160, 8).Reshape(1, 204800) }, map[Version]string{V1_0: statusOtherwise}},
		{"reshape that splits channels", func() *tflitetest.Builder { return tflitetest.New().Input(1, 160, 160, 8).Reshape(1, 51200, 4) }, map[Version]string{V1_0: StatusMapped}},
		{"reshape without change", func() *tflitetest.Builder { return tflitetest.New().Input(1, 160, 160, 8).Reshape(160, 160, 8) }, map[Version]string{V1_0: StatusMapped}},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := ""
			for _, v := range Versions() {
				if w, ok := test.want[v]; ok {
					want = w
				}
				if want == "" {
					continue
				}
				m := Analyze(test.build().Source(), Settings{Version: v})
				if got := m.Ops[len(m.Ops)-1].Reason; got != want {
					t.Errorf("compiler %s: %q, want %q", v, got, want)
				}
			}
		})
	}
}

// A parallel branch stays on the Edge TPU although an op that does not map
// stands before it in the list; what comes after it is a second region.
func TestPartition(t *testing.T) {
	build := func() *tflite.Source {
		b := image()
		start := b.At()
		b.Conv(8, 1, 1, 1, true)              // 0
		cpu := b.Unary(tflite.HardSwish).At() // 1
		b.From(start).Conv(8, 3, 3, 1, true)  // 2, beside the unsupported one
		b.Add(cpu)                            // 3, needs it
		return b.Source()
	}
	reasons := func(m *Model) (list []string) {
		for _, o := range m.Ops {
			list = append(list, o.Reason)
		}
		return list
	}
	m := Analyze(build(), Settings{Version: V16_0})
	if diff := cmp.Diff([]string{StatusMapped, statusUnsupported, StatusMapped, statusRegion}, reasons(m)); diff != "" {
		t.Error(diff)
	}
	if m.Subgraphs != 1 || m.TPUOps != 2 || m.CPUOps != 2 {
		t.Errorf("%d subgraphs, %d ops on the TPU, %d on the CPU", m.Subgraphs, m.TPUOps, m.CPUOps)
	}
	m = Analyze(build(), Settings{Version: V16_0, AllRegions: true})
	if diff := cmp.Diff([]string{StatusMapped, statusUnsupported, StatusMapped, StatusMapped}, reasons(m)); diff != "" {
		t.Error(diff)
	}
	if m.Subgraphs != 2 {
		t.Errorf("-a: %d subgraphs, want 2", m.Subgraphs)
	}
}

// A float net fails in the compiler's words, which changed with 16.0.
func TestNothingMaps(t *testing.T) {
	b := tflitetest.New().Input(1, 8).FC(4)
	src := b.Source()
	for i := range src.Tensors {
		src.Tensors[i].Type = tflite.Float32
	}
	for v, want := range map[Version]string{V15_0: "Model not quantized", V16_0: "Number of Edge TPU subgraphs: 0"} {
		m := Analyze(src, Settings{Version: v})
		if m.Failure == nil || m.Failure.Text != want {
			t.Errorf("compiler %s: failure %+v, want %q", v, m.Failure, want)
		}
	}
}

// Sizes worked out by hand from the rules, one for each that the public files do not show.
func TestFootprintRules(t *testing.T) {
	for _, test := range []struct {
		name  string
		build func() *tflite.Source
		v     Version
		bytes int64
		rows  int
	}{
		// 20 outputs are 32 lanes of 4 inputs; 9 x 2 words and the bias
		{"convolution", func() *tflite.Source { return image().Conv(20, 3, 3, 1, true).Source() }, V15_0, 32 * 4 * 19, 19},
		{"without bias word in 16.0", func() *tflite.Source {
			b := image()
			b.ZeroBias = true
			return b.Conv(20, 3, 3, 1, true).Source()
		}, V16_0, 32 * 4 * 18, 18},
		{"zero bias keeps its word before", func() *tflite.Source {
			b := image()
			b.ZeroBias = true
			return b.Conv(20, 3, 3, 1, true).Source()
		}, V15_0, 32 * 4 * 19, 19},
		{"three outputs", func() *tflite.Source { return image().Conv(3, 3, 3, 1, true).Source() }, V15_0, 16*19 + 16, 5},
		{"scales of channels are two words", func() *tflite.Source {
			b := image()
			b.PerChannel = true
			return b.Conv(20, 3, 3, 1, true).Source()
		}, V15_0, 32 * 4 * 21, 21},
		{"depthwise", func() *tflite.Source { return image().Depthwise(3, 3, 1, true).Source() }, V15_0, 320, 2},
		{"depthwise of one channel", func() *tflite.Source {
			b := tflitetest.New().Input(1, 16, 16, 1)
			w, o := b.Constant(1, 3, 3, 24), 0
			in := b.At()
			o = b.Activation(1, 16, 16, 24)
			return b.Op(tflite.Op{
				Code: tflite.DepthwiseConv2D, Version: 1, Inputs: []int{in, w}, Outputs: []int{o},
				Options: tflite.Options{SamePadding: true, StrideW: 1, StrideH: 1, DilationW: 1, DilationH: 1, DepthMultiplier: 24},
			}).Source()
		}, V15_0, 32 * 4 * 9, 9},
		{"detection head pads its pieces", func() *tflite.Source { return image().Conv(6, 1, 1, 1, true).Reshape(1, 3072, 2).Source() }, V15_0, 16 * 4 * 3, 3},
		// 25 positions of two words and the bias; the reshape is 3 groups of 150/32 + 3 rows
		{"flattened image of six channels", func() *tflite.Source {
			return tflitetest.New().Input(1, 5, 5, 6).Reshape(1, 150).FC(8).Source()
		}, V15_0, 16*4*51 + 21*256, 51 + 21},
		{"flattened image of one channel", func() *tflite.Source {
			return tflitetest.New().Input(1, 5, 5, 1).Reshape(1, 25).FC(8).Source()
		}, V15_0, 16*4*26 + 3*256, 26 + 3},
		{"flattened image of eight channels", func() *tflite.Source {
			return tflitetest.New().Input(1, 5, 5, 8).Reshape(1, 200).FC(8).Source()
		}, V15_0, 16 * 4 * 51, 51},
		{"transposed maps of 20 x 20", func() *tflite.Source { return transposedMaps(20) }, V16_0, 12_864, 51},
		{"transposed maps of 10 x 10", func() *tflite.Source { return transposedMaps(10) }, V16_0, 18_496, 73},
		{"padding of channels is a convolution", func() *tflite.Source { return image().Pad(0, 0, 0, 0, 0, 0, 4, 4).Source() }, V15_0, 16 * 4 * 3, 3},
		{"padding of an image is none", func() *tflite.Source { return image().Pad(0, 0, 1, 1, 1, 1, 0, 0).Source() }, V15_0, 0, 0},
		{"taps in the padding are dropped", func() *tflite.Source { return tflitetest.New().Input(1, 1, 2, 8).Conv(16, 3, 3, 1, true).Source() }, V16_0, 16 * 4 * (3*2 + 1), 7},
		{"taps with a stride", func() *tflite.Source { return tflitetest.New().Input(1, 2, 3, 8).Conv(16, 3, 3, 2, true).Source() }, V16_0, 16 * 4 * (6*2 + 1), 13},
		{"taps with a stride up to 2.1", func() *tflite.Source { return tflitetest.New().Input(1, 2, 2, 8).Conv(16, 3, 3, 2, true).Source() }, V2_1, 16 * 4 * (9*2 + 1), 19},
		{"softmax tables", func() *tflite.Source { return tflitetest.New().Input(1, 1001).Softmax().Source() }, V16_0, 3 * 64 * 251, 3 * 251},
		{"softmax of a multiple of four", func() *tflite.Source { return tflitetest.New().Input(1, 1000).Softmax().Source() }, V16_0, 0, 0},
		{"no tables for uint8 in 15.0", func() *tflite.Source { return tflitetest.New().Input(1, 1001).Softmax().Source() }, V15_0, 0, 0},
		{"constant vector, streamed", func() *tflite.Source {
			b := image()
			return b.Binary(tflite.Mul, b.Constant(8)).Source()
		}, V15_0, 128, 0},
		{"constant image, streamed with padded channels", func() *tflite.Source {
			b := tflitetest.New().Input(1, 32, 32, 6)
			return b.Binary(tflite.Add, b.Constant(1, 32, 32, 6)).Source()
		}, V15_0, 32 * 32 * 8, 0},
		{"constant over the two innermost dimensions", func() *tflite.Source {
			b := image()
			return b.Binary(tflite.Mul, b.Constant(1, 1, 32, 8)).Source()
		}, V16_0, 0, 0},
		{"the same without the leading ones", func() *tflite.Source {
			b := image()
			return b.Binary(tflite.Mul, b.Constant(32, 8)).Source()
		}, V16_0, 0, 0},
		{"constant as large as its activation of two dimensions", func() *tflite.Source {
			b := tflitetest.New().Input(1, 32, 6)
			return b.Binary(tflite.Add, b.Constant(1, 32, 6)).Source()
		}, V16_0, 32 * 8, 0},
		{"constant scalar", func() *tflite.Source {
			b := image()
			return b.Binary(tflite.Mul, b.Constant(1)).Source()
		}, V15_0, 0, 0},
	} {
		m := Analyze(test.build(), Settings{Version: test.v})
		var bytes int64
		rows := 0
		for _, o := range m.Ops {
			if !o.Mapped {
				t.Errorf("%s: %s is not mapped: %s", test.name, o.Name, o.Reason)
			}
			bytes += o.Bytes
			rows += o.Rows
		}
		if bytes != test.bytes || rows != test.rows {
			t.Errorf("%s: %d bytes in %d rows, want %d in %d", test.name, bytes, rows, test.bytes, test.rows)
		}
	}
}

// transposedMaps puts 64 maps of w x w in front and flattens each.
func transposedMaps(w int) *tflite.Source {
	b := tflitetest.New().Input(1, w, w, 64)
	in, out := b.At(), b.Activation(1, 64, w, w)
	b.Op(tflite.Op{Code: tflite.Transpose, Inputs: []int{in, b.Integers(0, 3, 1, 2)}, Outputs: []int{out}})
	return b.Reshape(1, 64, w*w).Source()
}

// Where no rule gives the bytes of flattened maps, and where a
// FULLY_CONNECTED flattens its input itself, the numbers are guesses.
func TestFlatteningIsAGuess(t *testing.T) {
	for name, src := range map[string]*tflite.Source{
		"maps of a size not seen": transposedMaps(16),
		"without a reshape":       tflitetest.New().Input(1, 5, 5, 6).FC(8).Source(),
	} {
		if m := Analyze(src, Settings{Version: V16_0}); m.Certainty != report.Heuristic {
			t.Errorf("%s: %s", name, m.Certainty)
		}
	}
}

// A reshape on the CPU leaves a plain vector to the FULLY_CONNECTED behind it.
func TestFlattenedOnTheCPU(t *testing.T) {
	b := tflitetest.New().Input(1, 160, 160, 6).Reshape(1, 153_600).FC(8)
	m := Analyze(b.Source(), Settings{Version: V16_0, AllRegions: true})
	if want := int64(16 * 4 * (153_600/4 + 1)); m.Ops[0].Mapped || m.Ops[1].Bytes != want {
		t.Errorf("reshape: %q; fully connected: %d bytes, want %d", m.Ops[0].Reason, m.Ops[1].Bytes, want)
	}
}

// A printed size is an interval of rows; the formula decides inside it.
func TestReserveFromAvailable(t *testing.T) {
	for _, test := range []struct {
		text            string
		formula         int
		rows, low, high int
	}{
		{"6.91MiB", 280, 280, 278, 280}, // 8 - 6.91 MiB = 279.04 rows of 4 KiB, +- 1.28
		{"6.91MiB", 300, 279, 278, 280},
		{"7.00MiB", 256, 256, 255, 257},
	} {
		size, err := report.ParseSize(test.text)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ReserveFromAvailable(size, Reserve{Rows: test.formula, Fits: true}, FromMeasurement)
		if err != nil {
			t.Fatal(err)
		}
		if r.Rows != test.rows || r.Low != test.low || r.High != test.high {
			t.Errorf("%s: %+v, want %d in %d to %d", test.text, r, test.rows, test.low, test.high)
		}
	}
	size, _ := report.ParseSize("9.00MiB")
	if _, err := ReserveFromAvailable(size, Reserve{}, FromMeasurement); err == nil {
		t.Error("9 MiB were accepted")
	}
}

// An op whose mapping is a guess, near a size limit or of a kind nobody saw,
// makes the model's numbers a guess, whether it is mapped or refused; but not
// where it stands behind the only region that is compiled.
func TestCertaintyOfMapping(t *testing.T) {
	resize := func(size int) *tflitetest.Builder { return image().Conv(8, 1, 1, 1, true).ResizeBilinear(size, size) }
	for _, test := range []struct {
		name string
		b    *tflitetest.Builder
		want report.Certainty
	}{
		{"far below the limit of images", resize(200), report.Exact},
		{"just below it", resize(620), report.Heuristic},
		{"just over it", resize(630), report.Heuristic},
		{"far over it", resize(1000), report.Exact},
		{"reshape between the sizes seen", tflitetest.New().Input(1, 125, 125, 8).Reshape(1, 125*125*8), report.Heuristic},
		{"matrix product of activations", image().Conv(8, 1, 1, 1, true).Unary(tflite.BatchMatMul), report.Heuristic},
		{"op known to stay on the CPU", image().Conv(8, 1, 1, 1, true).Unary(tflite.HardSwish), report.Exact},
		{"guess behind the region", image().Conv(8, 1, 1, 1, true).Unary(tflite.HardSwish).Unary(tflite.BatchMatMul), report.Exact},
		{"long concatenation", longConcatenation(), report.Heuristic},
	} {
		m := Analyze(test.b.Source(), Settings{Version: V16_0})
		if m.Certainty != test.want {
			t.Errorf("%s: %s, want %s", test.name, m.Certainty, test.want)
		}
	}
}

// A convolution in groups has fewer input channels than its input.
func TestGroupedConvolutionIsAGuess(t *testing.T) {
	b := image()
	in, out := b.At(), b.Activation(1, 32, 32, 8)
	b.Op(tflite.Op{Code: tflite.Conv2D, Inputs: []int{in, b.Constant(8, 1, 1, 4)}, Outputs: []int{out}})
	if m := Analyze(b.Source(), Settings{Version: V16_0}); m.Certainty != report.Heuristic {
		t.Errorf("certainty %s", m.Certainty)
	}
}

// longConcatenation joins two halves to 60 rows of 4,200 channels.
func longConcatenation() *tflitetest.Builder {
	b := tflitetest.New().Input(1, 60, 2100)
	in := b.At()
	return b.Concat(2, in, b.From(in).Unary(tflite.Relu).At())
}

// Models that the compiler cannot load: an op version that came later, a
// custom op that TFLite does not bring along. The whole call fails.
func TestModelsThatCannotBeLoaded(t *testing.T) {
	custom := func(name string) *tflite.Source {
		b := image().Conv(8, 1, 1, 1, true)
		in, out := b.At(), b.Activation(1, 32, 32, 8)
		return b.Op(tflite.Op{Code: tflite.Custom, Custom: name, Inputs: []int{in}, Outputs: []int{out}}).Source()
	}
	version := func(n int) *tflite.Source {
		b := tflitetest.New().Input(1, 8).FC(4)
		b.Last().Version = n
		return b.Source()
	}
	for _, test := range []struct {
		name string
		src  *tflite.Source
		want string // kind
	}{
		{"custom op that is not known", custom("Atan"), report.Other},
		{"custom op of TFLite", custom("TFLite_Detection_PostProcess"), ""},
		{"version of 2023", version(12), report.UnsupportedOpVersion},
		{"version of 2020", version(9), ""},
	} {
		m := Analyze(test.src, Settings{Version: V16_0})
		got := ""
		if m.Failure != nil {
			got = m.Failure.Kind
		}
		if got != test.want {
			t.Errorf("%s: failure %q, want %q", test.name, got, test.want)
		}
		// the compiler's words are read back as the same failure, and no model was compiled
		p := Predict(V16_0, []Input{inputOf("good.tflite", Analyze(version(1), Settings{Version: V16_0})), inputOf("x.tflite", m)})
		var text strings.Builder
		if err := report.Print(&text, &p.Report); err != nil {
			t.Fatal(err)
		}
		back, err := report.Parse("printed", strings.NewReader(text.String()))
		if err != nil || len(back) != 1 {
			t.Fatalf("%s: %d reports (%v)", test.name, len(back), err)
		}
		if f := back[0].Failure; test.want != "" && (f == nil || *f != *m.Failure || strings.Contains(text.String(), "Input model")) {
			t.Errorf("%s: printed as\n%s", test.name, text.String())
		}
	}
}
