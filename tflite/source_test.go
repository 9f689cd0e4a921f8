package tflite_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// read is the source in a file that must be a good one.
func read(t testing.TB, name string, data []byte) *tflite.Source {
	t.Helper()
	f, err := tflite.New(name, data)
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Source()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// models lists the files of the public data set, sources or compiled ones.
func models(t testing.TB, kind tflite.Kind) []string {
	t.Helper()
	dir := filepath.Join(testdata.Dir(t), "models")
	var files []string
	for _, pattern := range []string{"*.tflite", "*/*.tflite"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range found {
			if strings.HasSuffix(file, "_edgetpu.tflite") == (kind == tflite.KindCompiled) {
				files = append(files, file)
			}
		}
	}
	if len(files) < 8 {
		t.Fatalf("only %d %s models in %s", len(files), kind, dir)
	}
	return files
}

// everything is a network that has all operators whose options are read, with
// an option set that is not its default.
func everything() *tflite.Source {
	b := tflitetest.New()
	b.Describe("everything")
	b.Input(1, 16, 12, 8)
	b.Conv(12, 3, 5, 2, true).Fuse(tflite.ActivationRelu6)
	b.Last().Options.DilationH = 2
	b.Last().Options.StrideW = 1 // the shapes do not follow; nothing here checks them
	b.Depthwise(3, 3, 1, true).Fuse(tflite.ActivationRelu)
	b.Last().Options.DilationW = 3
	b.PerChannel = true
	b.Depthwise(3, 3, 1, false).Conv(16, 1, 1, 1, false)
	start := b.At()
	b.AvgPool(2, 1, true).MaxPool(2, 1, true).Fuse(tflite.ActivationReluN1To1)
	b.Add(start).Fuse(tflite.ActivationRelu)
	for _, code := range []tflite.Builtin{tflite.Mul, tflite.Sub, tflite.Div} {
		b.Binary(code, b.Constant(1, 1, 1, 16)).Fuse(tflite.ActivationTanh)
	}
	b.Unary(tflite.L2Normalization).Fuse(tflite.ActivationSignBit)
	b.Concat(3, start, b.At())
	b.TransposeConv(8, 2, 2, 2)
	b.ResizeBilinear(9, 9)
	b.Last().Options.AlignCorners = true
	b.Op(tflite.Op{
		Code: tflite.ResizeNearestNeighbor, Version: 3, Inputs: []int{b.At(), b.Integers(3, 3)},
		Outputs: []int{b.Activation(1, 3, 3, 8)}, Options: tflite.Options{HalfPixel: true},
	})
	b.Op(tflite.Op{
		Code: tflite.StridedSlice, Inputs: []int{b.At(), b.Integers(0, 0, 0, 0), b.Integers(1, 2, 2, 8), b.Integers(1, 1, 1, 1)},
		Outputs: []int{b.Activation(1, 2, 2, 8)},
		Options: tflite.Options{BeginMask: 1, EndMask: 2, EllipsisMask: 4, NewAxisMask: 8, ShrinkAxisMask: 16},
	})
	b.Op(tflite.Op{
		Code: tflite.Split, Inputs: []int{b.Integers(3), b.At()},
		Outputs: []int{b.Activation(1, 2, 2, 4), b.Activation(1, 2, 2, 4)}, Options: tflite.Options{NumSplits: 2},
	})
	halves := b.Last().Outputs
	b.Op(tflite.Op{
		Code: tflite.Pack, Inputs: halves, Outputs: []int{b.Activation(1, 2, 2, 2, 4)}, Options: tflite.Options{Axis: -2},
	})
	b.Reshape(1, 32).FC(6).Fuse(tflite.ActivationRelu6)
	b.Last().Options.ShuffledWeights, b.Last().Options.KeepNumDims = true, true
	b.PerChannel, b.ZeroBias = false, true
	b.FC(6).FCNoBias(6)
	b.Last().Inputs = append(b.Last().Inputs, -1)
	b.Quantize(tflite.Int8).Softmax().Mean(true, 1)
	b.Op(tflite.Op{Code: tflite.Builtin(200), Version: 4, Inputs: []int{b.At()}, Outputs: []int{b.Activation(1, 1)}})
	b.Op(tflite.Op{
		Code: tflite.Custom, Custom: "Own", Inputs: []int{b.At()},
		Outputs:       []int{b.Tensor(tflite.Tensor{Name: "state", Type: tflite.Float32, Variable: true, Shape: []int{0, 3}})},
		CustomOptions: []byte{1, 2, 3},
	})
	b.Dequantize()
	return b.Source()
}

// What was written is read, option by option.
func TestRoundTrip(t *testing.T) {
	want := everything()
	data := tflitetest.Encode(want)
	got := read(t, "everything.tflite", data)
	want.Bytes, want.Subgraphs = int64(len(data)), 1
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

// plain is what converters of all ages agree on in an op: TensorFlow 1 has
// the limits of a RELU6 in the quantization instead.
type plain struct {
	Code    string
	Options tflite.Options
	Shapes  [][]int // of inputs with contents, -1 marks the others' place, then of outputs
}

func plainOps(s *tflite.Source) []plain {
	var ops []plain
	for _, o := range s.Ops {
		p := plain{Code: o.Code.String(), Options: o.Options}
		p.Options.Activation = 0
		for _, i := range append(o.Inputs[:len(o.Inputs):len(o.Inputs)], o.Outputs...) {
			if t := &s.Tensors[i]; t.Type == tflite.Uint8 {
				p.Shapes = append(p.Shapes, t.Shape)
			} else {
				p.Shapes = append(p.Shapes, []int{int(t.Elements())})
			}
		}
		ops = append(ops, p)
	}
	return ops
}

// Real networks have the shapes and options of their papers, which the
// networks of tflitetest are built by.
func TestPublicNetworks(t *testing.T) {
	dir := filepath.Join(testdata.Dir(t), "models")
	for _, test := range []struct {
		file  string
		built []byte
	}{
		{"mobilenet_v1_0.25_128_quant", tflitetest.MobileNetV1(0.25, 128, 1001)},
		{"mobilenet_v1_0.5_160_quant", tflitetest.MobileNetV1(0.5, 160, 1001)},
		{"mobilenet_v1_0.75_192_quant", tflitetest.MobileNetV1(0.75, 192, 1001)},
		{"mobilenet_v2_1.0_224_inat_bird_quant", tflitetest.MobileNetV2(1, 224, 965)},
	} {
		t.Run(test.file, func(t *testing.T) {
			f, err := tflite.Open(filepath.Join(dir, test.file+".tflite"))
			if err != nil {
				t.Fatal(err)
			}
			if f.Kind() != tflite.KindSource {
				t.Errorf("kind %s", f.Kind())
			}
			real, err := f.Source()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(plainOps(real), plainOps(read(t, test.file, test.built))); diff != "" {
				t.Error("-real +built", diff)
			}
		})
	}
}

// The bytes of weights that the papers give for these networks, as millions of
// parameters, and for those without a paper what their shapes come to by hand.
func TestNetworkSizes(t *testing.T) {
	fc := func(n ...int) int64 {
		sum := 0
		for i := range n[1:] {
			sum += n[i] * n[i+1]
		}
		return int64(sum)
	}
	for _, test := range []struct {
		name    string
		data    []byte
		weights int64 // exactly, or to two digits
		exact   bool
	}{
		{"MobileNet v1 1.0", tflitetest.MobileNetV1(1, 224, 1001), 4_200_000, false},
		{"MobileNet v2 1.0", tflitetest.MobileNetV2(1, 224, 1001), 3_500_000, false},
		{"Inception v1", tflitetest.InceptionV1(224, 1001), 6_600_000, false},
		{"SSD MobileNet v1", tflitetest.SSDMobileNetV1(91), 6_800_000, false},
		{"ResNet-50", tflitetest.ResNet50(1000), 25_500_000, false},
		{"L5", tflitetest.FCSeriesL5(102), fc(6912, 102, 102, 102, 102, 102, 10), true},
		{"L4-I64", tflitetest.FCSeriesL4(100), fc(64, 100, 100, 100, 100, 10), true},
	} {
		s := read(t, test.name, test.data)
		var sum int64
		for i := range s.Tensors {
			if x := &s.Tensors[i]; x.Type.Size() == 1 {
				sum += x.DataBytes
			}
		}
		if off := float64(sum)/float64(test.weights) - 1; test.exact && sum != test.weights || off < -0.02 || off > 0.02 {
			t.Errorf("%s: %d bytes of weights, want %d", test.name, sum, test.weights)
		}
	}
}

// The two networks of different shapes that begin alike do not share weights.
func TestWeightsAreTheNetworksOwn(t *testing.T) {
	a := read(t, "a", tflitetest.MobileNetV1(0.25, 128, 10))
	b := read(t, "b", tflitetest.MobileNetV1(0.25, 160, 10))
	again := read(t, "again", tflitetest.MobileNetV1(0.25, 128, 10))
	weights := func(s *tflite.Source) string { return string(s.Tensors[s.Ops[0].Inputs[1]].Data) }
	if weights(a) == weights(b) {
		t.Error("two networks have the same first convolution")
	}
	if weights(a) != weights(again) {
		t.Error("the same network twice has other weights")
	}
}

// flatcModel is a model as flatc prints it.
type flatcModel struct {
	Description   string
	OperatorCodes []struct {
		DeprecatedBuiltinCode int    `json:"deprecated_builtin_code"`
		BuiltinCode           int    `json:"builtin_code"`
		CustomCode            string `json:"custom_code"`
		Version               *int
	} `json:"operator_codes"`
	Subgraphs []struct {
		Tensors []struct {
			Shape        []int
			Type         int8
			Buffer       int
			Name         string
			IsVariable   bool `json:"is_variable"`
			Quantization struct {
				Scale              []float32
				ZeroPoint          []int64 `json:"zero_point"`
				QuantizedDimension int     `json:"quantized_dimension"`
			}
		}
		Inputs, Outputs []int
		Operators       []struct {
			OpcodeIndex    int `json:"opcode_index"`
			Inputs         []int
			Outputs        []int
			OptionsType    string                     `json:"builtin_options_type"`
			BuiltinOptions map[string]json.RawMessage `json:"builtin_options"`
			CustomOptions  []int                      `json:"custom_options"`
		}
	}
	Buffers []struct{ Data []int }
}

func contents(numbers []int) []byte {
	var b []byte
	for _, n := range numbers {
		b = append(b, byte(n))
	}
	return b
}

// options is what flatc printed, field by field.
func (m *flatcModel) options(t *testing.T, kind string, fields map[string]json.RawMessage) tflite.Options {
	var o tflite.Options
	to := map[string]any{
		"stride_w": &o.StrideW, "stride_h": &o.StrideH, "dilation_w": &o.DilationW, "dilation_h": &o.DilationH,
		"depth_multiplier": &o.DepthMultiplier, "filter_width": &o.FilterW, "filter_height": &o.FilterH,
		"activation": &o.Activation, "keep_num_dims": &o.KeepNumDims, "align_corners": &o.AlignCorners,
		"half_pixel": &o.HalfPixel, "begin_mask": &o.BeginMask, "end_mask": &o.EndMask,
		"ellipsis_mask": &o.EllipsisMask, "new_axis_mask": &o.NewAxisMask, "shrink_axis_mask": &o.ShrinkAxisMask,
		"axis": &o.Axis, "keep_dims": &o.KeepDims, "num_splits": &o.NumSplits,
		"beta": new(float64), "new_shape": new([]int), "count": new(int),
	}
	padding, weights := 0, 0
	to["padding"], to["weights_format"] = &padding, &weights
	if kind == "Conv2DOptions" || kind == "DepthwiseConv2DOptions" {
		o.DilationW, o.DilationH = 1, 1
	}
	for name, text := range fields {
		if to[name] == nil {
			t.Fatalf("%s.%s is not known here", kind, name)
		}
		if err := json.Unmarshal(text, to[name]); err != nil {
			t.Fatalf("%s.%s: %v", kind, name, err)
		}
	}
	switch kind {
	case "Conv2DOptions", "DepthwiseConv2DOptions", "Pool2DOptions", "TransposeConvOptions":
		o.SamePadding = padding == 0
	}
	o.ShuffledWeights = weights != 0
	return o
}

func (m *flatcModel) source(t *testing.T) *tflite.Source {
	g := m.Subgraphs[0]
	s := &tflite.Source{Description: m.Description, Subgraphs: len(m.Subgraphs), Inputs: g.Inputs, Outputs: g.Outputs}
	for _, x := range g.Tensors {
		data := contents(m.Buffers[x.Buffer].Data)
		s.Tensors = append(s.Tensors, tflite.Tensor{
			Name: x.Name, Shape: x.Shape, Type: tflite.Type(x.Type), Data: data, DataBytes: int64(len(data)),
			Scales: x.Quantization.Scale, ZeroPoints: x.Quantization.ZeroPoint, QuantDim: x.Quantization.QuantizedDimension,
			Variable: x.IsVariable,
		})
	}
	for _, x := range g.Operators {
		c := m.OperatorCodes[x.OpcodeIndex]
		o := tflite.Op{
			Code: tflite.Builtin(max(c.BuiltinCode, c.DeprecatedBuiltinCode)), Custom: c.CustomCode, Version: 1,
			Inputs: x.Inputs, Outputs: x.Outputs, CustomOptions: contents(x.CustomOptions),
			Options: m.options(t, x.OptionsType, x.BuiltinOptions),
		}
		if c.Version != nil {
			o.Version = *c.Version
		}
		s.Ops = append(s.Ops, o)
	}
	return s
}

// completeSchema is the schema with an empty table for every member of the
// union of options that it leaves out: flatc refuses to print unknown ones.
func completeSchema(t *testing.T) string {
	text, err := os.ReadFile("internal/schema/tflite.fbs")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`Options = (\d+),`).FindAllStringSubmatch(string(text), -1) {
		known[m[1]] = true
	}
	var tables, members strings.Builder
	for i := 1; i <= 126; i++ {
		if number := strconv.Itoa(i); !known[number] {
			fmt.Fprintf(&tables, "table Unread%d {}\n", i)
			fmt.Fprintf(&members, "  Unread%d = %d,\n", i, i)
		}
	}
	before, after, _ := strings.Cut(string(text), "union BuiltinOptions {\n")
	list, rest, _ := strings.Cut(after, "}")
	lines := strings.SplitAfter(list+members.String(), "\n")
	sort.SliceStable(lines, func(i, j int) bool { return memberNumber(lines[i]) < memberNumber(lines[j]) })
	return before + tables.String() + "union BuiltinOptions {\n" + strings.Join(lines, "") + "}" + rest
}

func memberNumber(line string) int {
	_, number, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(line), ","), " = ")
	n, _ := strconv.Atoi(number)
	return n
}

// The reader and flatc see the same in synthetic and in real files. Both go
// by the schema; that it is TensorFlow's is for TestPublicNetworks to show.
func TestAgainstFlatc(t *testing.T) {
	if _, err := exec.LookPath("flatc"); err != nil {
		testdata.NeedTool(t, "flatc", err)
	}
	dir := t.TempDir()
	schema := completeSchema(t)
	check := func(t *testing.T, file string) {
		out := t.TempDir()
		f, err := tflite.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		// Weights take half a minute as text: leave out those of larger files.
		weights := f.Size() < 20_000
		own := schema
		if !weights {
			own = strings.Replace(schema, "data:[ubyte] (id: 0)", "offset_of_data:uint (id: 0)", 1)
		}
		schema := filepath.Join(out, "schema.fbs")
		if err := os.WriteFile(schema, []byte(own), 0o644); err != nil {
			t.Fatal(err)
		}
		output, err := exec.Command("flatc", "--json", "--strict-json", "--raw-binary", "-o", out, schema, "--", file).CombinedOutput()
		if err != nil {
			t.Fatalf("flatc: %v\n%s", err, output)
		}
		text, err := os.ReadFile(filepath.Join(out, strings.TrimSuffix(filepath.Base(file), ".tflite")+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var m flatcModel
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		got, err := f.Source()
		if err != nil {
			t.Fatal(err)
		}
		want := m.source(t)
		want.Bytes = f.Size()
		// flatc prints floats with six decimals.
		near := func(x, y float32) bool { return x-y < 1e-6 && y-x < 1e-6 }
		compare := cmp.Options{
			cmpopts.EquateEmpty(),
			// Whole lists, because those of large networks are long.
			cmp.FilterValues(func(x, y []float32) bool { return len(x) > 0 || len(y) > 0 },
				cmp.Comparer(func(x, y []float32) bool { return slices.EqualFunc(x, y, near) })),
			cmp.FilterValues(func(x, y []int64) bool { return len(x) > 0 || len(y) > 0 },
				cmp.Comparer(func(x, y []int64) bool { return slices.Equal(x, y) })),
		}
		if !weights {
			compare = append(compare, cmpopts.IgnoreFields(tflite.Tensor{}, "Data", "DataBytes"))
		}
		if diff := cmp.Diff(want, got, compare); diff != "" {
			t.Error(diff)
		}
	}
	t.Run("everything", func(t *testing.T) {
		file := filepath.Join(dir, "everything.tflite")
		if err := os.WriteFile(file, tflitetest.Encode(everything()), 0o644); err != nil {
			t.Fatal(err)
		}
		check(t, file)
	})
	t.Run("public", func(t *testing.T) {
		for _, file := range models(t, tflite.KindSource) {
			t.Run(filepath.Base(file), func(t *testing.T) { check(t, file) })
		}
	})
}

func TestSubgraphsAreCounted(t *testing.T) {
	s := read(t, "control.tflite", twoSubgraphs())
	if s.Subgraphs != 2 || len(s.Tensors) != 1 || s.Tensors[0].Name != "first" {
		t.Errorf("got %d subgraphs, tensors %v", s.Subgraphs, s.Tensors)
	}
}

func BenchmarkNew(b *testing.B) {
	data := tflitetest.MobileNetV1(1, 224, 1001)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tflite.New("m.tflite", data); err != nil {
			b.Fatal(err)
		}
	}
}
