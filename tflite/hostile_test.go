package tflite_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/tpuplan/tpuplan/internal/fuzztest"
	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/internal/tfl"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// small is a model of some hundred bytes that has a bit of everything.
func small() *tflitetest.Builder {
	return tflitetest.New().Describe("small").Input(1, 4, 4, 3).Conv(4, 1, 1, 1, true).Reshape(1, 64).FC(2).Softmax()
}

// edited is the small model after changes to its description.
func edited(edit func(s *tflite.Source)) []byte {
	s := small().Source()
	edit(s)
	return tflitetest.Encode(s)
}

// patched is the small model after changes to its bytes.
func patched(patch func(data []byte, m *tfl.Model, g *tfl.SubGraph)) []byte {
	data := small().Bytes()
	m := tfl.GetRootAsModel(data, 0)
	var g tfl.SubGraph
	m.Subgraphs(&g, 0)
	patch(data, m, &g)
	return data
}

// vectorAt is where the vector in a field of a table starts, at its length.
func vectorAt(t flatbuffers.Table, id int) int {
	return int(t.Vector(flatbuffers.UOffsetT(t.Offset(flatbuffers.VOffsetT(4+2*id))))) - 4
}

// twoSubgraphs is a model as converters write control flow.
func twoSubgraphs() []byte {
	b := flatbuffers.NewBuilder(0)
	graph := func(tensor string) flatbuffers.UOffsetT {
		name := b.CreateString(tensor)
		tfl.TensorStart(b)
		tfl.TensorAddName(b, name)
		one := tfl.TensorEnd(b)
		tfl.SubGraphStartTensorsVector(b, 1)
		b.PrependUOffsetT(one)
		tensors := b.EndVector(1)
		tfl.SubGraphStart(b)
		tfl.SubGraphAddTensors(b, tensors)
		return tfl.SubGraphEnd(b)
	}
	first, second := graph("first"), graph("second")
	tfl.ModelStartSubgraphsVector(b, 2)
	b.PrependUOffsetT(second)
	b.PrependUOffsetT(first)
	graphs := b.EndVector(2)
	tfl.ModelStart(b)
	tfl.ModelAddSubgraphs(b, graphs)
	b.FinishWithFileIdentifier(tfl.ModelEnd(b), []byte("TFL3"))
	return b.FinishedBytes()
}

// shared is a model with n references to one tensor and n to one operator,
// which share a vector of numbers, and with some bytes that nothing uses.
func shared(n, count, unused int) []byte {
	b := flatbuffers.NewBuilder(0)
	b.CreateByteVector(make([]byte, unused))
	same := func(n int, put func()) flatbuffers.UOffsetT {
		b.StartVector(4, n, 4)
		for range n {
			put()
		}
		return b.EndVector(n)
	}
	numbers := same(count, func() { b.PrependInt32(0) })
	tfl.TensorStart(b)
	tfl.TensorAddShape(b, numbers)
	tensor := tfl.TensorEnd(b)
	tfl.OperatorStart(b)
	tfl.OperatorAddInputs(b, numbers)
	op := tfl.OperatorEnd(b)
	tensors := same(n, func() { b.PrependUOffsetT(tensor) })
	ops := same(n, func() { b.PrependUOffsetT(op) })
	tfl.OperatorCodeStart(b)
	code := tfl.OperatorCodeEnd(b)
	tfl.ModelStartOperatorCodesVector(b, 1)
	b.PrependUOffsetT(code)
	codes := b.EndVector(1)
	tfl.SubGraphStart(b)
	tfl.SubGraphAddTensors(b, tensors)
	tfl.SubGraphAddOperators(b, ops)
	graph := tfl.SubGraphEnd(b)
	tfl.ModelStartSubgraphsVector(b, 1)
	b.PrependUOffsetT(graph)
	graphs := b.EndVector(1)
	tfl.ModelStart(b)
	tfl.ModelAddOperatorCodes(b, codes)
	tfl.ModelAddSubgraphs(b, graphs)
	b.FinishWithFileIdentifier(tfl.ModelEnd(b), []byte("TFL3"))
	return b.FinishedBytes()
}

// outside is a model whose only tensor has its contents behind the flatbuffer.
func outside(offset, size uint64) []byte {
	b := flatbuffers.NewBuilder(0)
	tfl.BufferStart(b)
	tfl.BufferAddOffset(b, offset)
	tfl.BufferAddSize(b, size)
	full := tfl.BufferEnd(b)
	tfl.BufferStart(b)
	empty := tfl.BufferEnd(b)
	tfl.ModelStartBuffersVector(b, 2)
	b.PrependUOffsetT(full)
	b.PrependUOffsetT(empty)
	buffers := b.EndVector(2)
	tfl.TensorStartShapeVector(b, 1)
	b.PrependInt32(4)
	shape := b.EndVector(1)
	tfl.TensorStart(b)
	tfl.TensorAddShape(b, shape)
	tfl.TensorAddType(b, int8(tflite.Uint8))
	tfl.TensorAddBuffer(b, 1)
	tensor := tfl.TensorEnd(b)
	tfl.SubGraphStartTensorsVector(b, 1)
	b.PrependUOffsetT(tensor)
	tensors := b.EndVector(1)
	tfl.SubGraphStart(b)
	tfl.SubGraphAddTensors(b, tensors)
	graph := tfl.SubGraphEnd(b)
	tfl.ModelStartSubgraphsVector(b, 1)
	b.PrependUOffsetT(graph)
	graphs := b.EndVector(1)
	tfl.ModelStart(b)
	tfl.ModelAddSubgraphs(b, graphs)
	tfl.ModelAddBuffers(b, buffers)
	b.FinishWithFileIdentifier(tfl.ModelEnd(b), []byte("TFL3"))
	return b.FinishedBytes()
}

// formatError checks that an error is one of a file's format, and one that
// was foreseen.
func formatError(t testing.TB, err error) *tflite.FormatError {
	t.Helper()
	var e *tflite.FormatError
	if !errors.As(err, &e) {
		t.Fatalf("not a FormatError: %v", err)
	}
	if strings.Contains(e.What, "reading it ended in") {
		t.Fatalf("the verification has a hole: %v", err)
	}
	return e
}

func TestBadFiles(t *testing.T) {
	put := binary.LittleEndian.PutUint32
	for _, test := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "x.tflite: the file is empty", nil},
		{"short", "x.tflite: truncated: 7 bytes are too few for a TFLite file", []byte("1234TFL")},
		{"other identifier", `x.tflite: not a TFLite file (identifier "XXXX", want "TFL3")`, []byte("\x10\x00\x00\x00XXXXand more")},
		{"git lfs", "x.tflite: a Git LFS pointer, not the file it stands for; run git lfs pull", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")},
		{"web page", "x.tflite: a web page, not a TFLite file; download the file itself", []byte("\n<!DOCTYPE html><html></html>")},
		{"zip", "x.tflite: a ZIP archive, not a TFLite file; unpack it first", []byte("PK\x03\x04..........")},
		{"package alone", "x.tflite: an Edge TPU package without the TFLite model around it; give the file that edgetpu_compiler wrote", []byte("\x10\x00\x00\x00DWN1....")},
		{"identifier alone", "truncated: the root table points to byte 16 of 8", []byte("\x10\x00\x00\x00TFL3")},
		{"root leads to itself", "damaged: the root table is not a table", append([]byte("\x00\x00\x00\x00TFL3"), make([]byte, 32)...)},
		{"no subgraph", "the model has no subgraph", patched(func(d []byte, m *tfl.Model, _ *tfl.SubGraph) {
			put(d[vectorAt(m.Table(), 2):], 0)
		})},
		{"huge count of tensors", "truncated: subgraphs[0].tensors has 268435456 elements of 4 bytes", patched(func(d []byte, _ *tfl.Model, g *tfl.SubGraph) {
			put(d[vectorAt(g.Table(), 0):], 1<<28)
		})},
		{"huge count of ops", "truncated: subgraphs[0].operators has 4294967295 elements of 4 bytes", patched(func(d []byte, _ *tfl.Model, g *tfl.SubGraph) {
			put(d[vectorAt(g.Table(), 3):], math.MaxUint32)
		})},
		{"cyclic subgraph", "damaged: subgraphs[0] ", patched(func(d []byte, m *tfl.Model, _ *tfl.SubGraph) {
			put(d[vectorAt(m.Table(), 2)+4:], 0)
		})},
		{"weights cut off", "truncated: buffers[1].data has 1073741824 elements of 1 bytes", patched(func(d []byte, m *tfl.Model, _ *tfl.SubGraph) {
			var b tfl.Buffer
			m.Buffers(&b, 1)
			put(d[vectorAt(b.Table(), 0):], 1<<30)
		})},
		{"negative dimension", `tensor 0 "t0" has the negative dimension -4`, edited(func(s *tflite.Source) { s.Tensors[0].Shape[1] = -4 })},
		{"dimensions overflow", `tensor 0 "t0" has more elements than can be counted`, edited(func(s *tflite.Source) {
			s.Tensors[0].Shape = []int{math.MaxInt32, math.MaxInt32, math.MaxInt32}
		})},
		{"dimensions overflow twice", `tensor 0 "t0" has more elements than can be counted`, edited(func(s *tflite.Source) {
			s.Tensors[0].Shape = []int{1 << 30, 1 << 30, 1 << 30, 1 << 30, 1 << 30}
		})},
		{"too few bytes for the shape", `tensor 1 "t1" has 12 bytes, its shape [4 1 1 9] of UINT8 asks for 36`, edited(func(s *tflite.Source) {
			s.Tensors[1].Shape[3] = 9
		})},
		{"scales for no dimension", `tensor 1 "t1" is quantized along dimension 7 of 4`, edited(func(s *tflite.Source) {
			s.Tensors[1].Scales, s.Tensors[1].QuantDim = []float32{1, 2}, 7
		})},
		{"scales of another number", `tensor 1 "t1" has 3 scales for a dimension of 4`, edited(func(s *tflite.Source) {
			s.Tensors[1].Scales = []float32{1, 2, 3}
		})},
		{"input of an op", "the inputs of op 0 CONV_2D include tensor 1000 of 10", edited(func(s *tflite.Source) { s.Ops[0].Inputs[1] = 1000 })},
		{"input below -1", "the inputs of op 0 CONV_2D include tensor -2 of 10", edited(func(s *tflite.Source) { s.Ops[0].Inputs[2] = -2 })},
		{"absent output", "the outputs of op 3 SOFTMAX include tensor -1 of 10", edited(func(s *tflite.Source) { s.Ops[3].Outputs[0] = -1 })},
		{"graph input", "the graph's inputs include tensor 10 of 10", edited(func(s *tflite.Source) { s.Inputs[0] = 10 })},
		{"graph output", "the graph's outputs include tensor -1 of 10", edited(func(s *tflite.Source) { s.Outputs = []int{-1} })},
		{"number of an op", "op 1 has operator number -5, version 1", edited(func(s *tflite.Source) { s.Ops[1].Code = -5 })},
		{"operator code", "op 1 has operator code 99 of 4", patched(func(_ []byte, _ *tfl.Model, g *tfl.SubGraph) {
			// Op 0 has code 0, the default, which is not stored; op 1's is 1.
			var o tfl.Operator
			g.Operators(&o, 1)
			o.MutateOpcodeIndex(99)
		})},
		{"buffer", `tensor 1 "t1" is kept in buffer 77 of 6`, patched(func(_ []byte, _ *tfl.Model, g *tfl.SubGraph) {
			var x tfl.Tensor
			g.Tensors(&x, 1)
			x.MutateBuffer(77)
		})},
		{"version of an op", "op 2 has operator number 9, version -1", edited(func(s *tflite.Source) { s.Ops[2].Version = -1 })},
		{"shared tables", "is one reference too many", shared(50_000, 50_000, 0)},
		{"shared tables in a larger file", "damaged: to describe it would take much more memory than it has bytes", shared(50_000, 0, 500_000)},
		{"shared vectors", "damaged: to describe it would take much more memory than it has bytes", shared(1_000, 50_000, 0)},
		{"contents behind the end", "truncated: the 4 bytes of tensor 0", outside(1000, 4)},
		{"contents overflow", "truncated: the 18446744073709551615 bytes of tensor 0", outside(1000, math.MaxUint64)},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := tflite.New("x.tflite", test.data)
			e := formatError(t, err)
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if e.File != "x.tflite" || e.Offset > int64(len(test.data)) || strings.HasSuffix(err.Error(), ".") {
				t.Errorf("%+v", e)
			}
		})
	}
}

// Contents behind the flatbuffer are found if they are in the file.
func TestContentsOutside(t *testing.T) {
	n := len(outside(1000, 4))
	data := append(outside(uint64(n), 4), "data"...)
	if got := string(read(t, "m", data).Tensors[0].Data); got != "data" {
		t.Errorf("contents %q", got)
	}
}

// use reads all there is to read of a file.
func use(t testing.TB, data []byte) {
	f, err := tflite.New("x.tflite", data)
	if err != nil {
		formatError(t, err)
		return
	}
	s, err := f.Source()
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Tensors {
		x := &s.Tensors[i]
		for _, d := range x.Shape {
			if d < 0 {
				t.Fatalf("tensor %d has shape %v", i, x.Shape)
			}
		}
		if x.Elements() < 0 || x.DataBytes != int64(len(x.Data)) || len(x.Scales) > 1 && len(x.Scales) != x.Shape[x.QuantDim] {
			t.Fatalf("tensor %d: %d elements, %d of %d bytes, %d scales", i, x.Elements(), len(x.Data), x.DataBytes, len(x.Scales))
		}
	}
	for i, o := range s.Ops {
		for _, n := range append(o.Inputs, o.Outputs...) {
			if n < -1 || n >= len(s.Tensors) {
				t.Fatalf("op %d names tensor %d", i, n)
			}
		}
		_ = o.Code.String()
	}
	c, err := f.Compiled()
	if err != nil {
		formatError(t, err)
		return
	}
	if f.Kind() != tflite.KindCompiled || c.CachedBytes() < 0 || c.StreamedBytes() < 0 {
		t.Fatalf("%s, cached %d, streamed %d", f.Kind(), c.CachedBytes(), c.StreamedBytes())
	}
	for i := range c.Packages {
		p := &c.Packages[i]
		p.Token()
		if d := p.DMA(); d.Total() != p.ColdBytes() || d.Total() != d.Parameter+d.Input+d.Output+d.Scratch+d.Instruction || d.ToTPU < 0 || d.FromTPU < 0 {
			t.Fatalf("package %d: cold %d, %+v", i, p.ColdBytes(), d)
		}
		if p.WarmBytes() > p.ColdBytes() {
			t.Fatalf("package %d: warm %d, cold %d", i, p.WarmBytes(), p.ColdBytes())
		}
	}
	c.Generation()
}

// subjects are whole files to be damaged, small enough to be read thousands of times.
func subjects(t *testing.T) map[string][]byte {
	files := map[string][]byte{
		"small":      small().Bytes(),
		"everything": tflitetest.Encode(everything()),
		"compiled":   tflitetest.CompiledModel(tflitetest.Split(7, 640, 128), tflitetest.Split(7, 0, 64)),
	}
	t.Run("public", func(t *testing.T) {
		dir := filepath.Join(testdata.Dir(t), "models")
		for _, name := range []string{"keras_lstm_mnist_ptq", "split_concat", "split_concat_edgetpu"} {
			data, err := os.ReadFile(filepath.Join(dir, name+".tflite"))
			if err != nil {
				t.Fatal(err)
			}
			files[name] = data
		}
	})
	return files
}

// What is cut off is missed, wherever the cut is, until only the padding at
// the end is gone.
func TestTruncation(t *testing.T) {
	for name, data := range subjects(t) {
		t.Run(name, func(t *testing.T) {
			step := max(1, len(data)/2000)
			for n := 0; n < len(data); n += step {
				_, err := tflite.New("x.tflite", data[:n:n])
				if err == nil && n < len(data)-16 {
					t.Fatalf("the first %d of %d bytes are accepted", n, len(data))
				}
				use(t, data[:n:n])
			}
		})
	}
}

func TestChangedBytes(t *testing.T) {
	for name, good := range subjects(t) {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(len(good))))
			for range 2000 {
				data := bytes.Clone(good)
				for range 1 + random.IntN(3) {
					at := random.IntN(len(data) - 3)
					switch random.IntN(3) {
					case 0:
						data[at] ^= 1 << random.IntN(8)
					case 1: // an offset or count that is nearly possible
						binary.LittleEndian.PutUint32(data[at:], random.Uint32N(uint32(len(data))))
					default:
						binary.LittleEndian.PutUint32(data[at:], random.Uint32())
					}
				}
				use(t, data)
			}
		})
	}
}

// Reading takes little more memory than the description, and of a hostile
// file not more than twice its bytes and a megabyte; and no time to speak of.
func TestCosts(t *testing.T) {
	model := tflitetest.MobileNetV1(1, 224, 1001)
	for _, test := range []struct {
		name  string
		data  []byte
		limit uint64
	}{
		{"MobileNet", model, 200_000},
		{"shared tables", shared(3_000, 0, 20_000), 2*50_000 + 1<<20},
		{"shared vectors", shared(1_000, 50_000, 0), 2*210_000 + 1<<20},
		{"more of both", shared(400_000, 400_000, 8_000_000), 2*13_000_000 + 1<<20},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := tflite.New("x.tflite", test.data)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > test.limit {
			t.Errorf("%s: %d bytes used, want at most %d (file: %d, error: %v)", test.name, used, test.limit, len(test.data), err)
		}
		// not a measurement: a reader that does more than linear work takes hours here
		if took > time.Minute {
			t.Errorf("%s: took %v", test.name, took)
		}
	}
}

// bounded uses a file, and checks that reading it takes no more memory than
// files may make a reader take.
func bounded(t testing.TB, data []byte) {
	fuzztest.Bounded(t, len(data), func() {
		if f, err := tflite.New("x.tflite", data); err == nil {
			f.Compiled()
		}
	})
	use(t, data)
}

func FuzzOpen(f *testing.F) {
	f.Add(small().Bytes())
	f.Add(twoSubgraphs())
	f.Add(outside(1000, 4))
	f.Add([]byte("\x10\x00\x00\x00TFL3"))
	f.Add([]byte("version https://git-lfs.github.com/spec/v1\n"))
	f.Fuzz(func(t *testing.T, data []byte) { bounded(t, data) })
}

// FuzzCompiled changes the custom options of a good file, and so the
// FlexBuffer, the package and the executables in it.
func FuzzCompiled(f *testing.F) {
	for _, split := range []tflite.Package{tflitetest.Split(7, 64, 16), tflitetest.Split(7, 0, 16)} {
		f.Add(tflitetest.CustomOptions(tflitetest.EncodePackage(&split), true))
	}
	f.Fuzz(func(t *testing.T, options []byte) {
		b := tflitetest.New().Input(1, 8)
		b.Op(tflite.Op{Code: tflite.Custom, Custom: tflite.EdgeTPUOp, Inputs: []int{0}, Outputs: []int{b.Activation(1)}, CustomOptions: options})
		bounded(t, b.Bytes())
	})
}

// FuzzPackage changes the package of a good file, and so the executables in it.
func FuzzPackage(f *testing.F) {
	hinted := tflitetest.Split(7, 64, 16)
	for i := range hinted.Executables {
		e := &hinted.Executables[i]
		e.Inputs, e.Outputs = []tflite.Layer{{Name: "in", Y: 2, X: 2, Z: 3, Bytes: 16}}, []tflite.Layer{{Name: "out", Z: 1001, Bytes: 1008}}
		e.DMA = tflite.DMA{Hinted: true, Parameter: 64, Input: 16, Output: 1008, Instruction: 128, ToTPU: 208, FromTPU: 1008}
	}
	alone := tflitetest.Split(7, 0, 16)
	for _, p := range []tflite.Package{tflitetest.Split(7, 64, 16), alone, hinted} {
		f.Add(tflitetest.EncodePackage(&p))
	}
	f.Fuzz(func(t *testing.T, pkg []byte) {
		b := tflitetest.New().Input(1, 8)
		b.Op(tflite.Op{
			Code: tflite.Custom, Custom: tflite.EdgeTPUOp, Inputs: []int{0}, Outputs: []int{b.Activation(1)},
			CustomOptions: tflitetest.CustomOptions(pkg, true),
		})
		bounded(t, b.Bytes())
	})
}

func ExampleOpen() {
	f, err := tflite.Open("testdata/absent.tflite")
	fmt.Println(f, err)
	// Output: <nil> testdata/absent.tflite: no such file or directory
}
