package tflite

import (
	"fmt"
	"math"
	"math/bits"
	"unsafe"

	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/tpuplan/tpuplan/tflite/internal/tfl"
)

// reader turns a verified model into a Source.
type reader struct {
	file  *File
	model *tfl.Model
	left  int64 // bytes of memory that may still be used
	err   error // the first error; everything after it is empty
}

// A description takes less memory than its file, except where a file has no
// weights to speak of, or makes many tables and vectors of the same bytes.
const (
	memoryPerByte = 2
	memoryFloor   = 1 << 20
)

// readSource verifies and describes the file.
func (f *File) readSource() (*Source, error) {
	if err := f.identify(); err != nil {
		return nil, err
	}
	if err := f.check(f.data, tfl.ModelTable, ""); err != nil {
		return nil, err
	}
	model := tfl.GetRootAsModel(f.data, 0)
	if model.SubgraphsLength() == 0 {
		return nil, f.errorf(-1, "the model has no subgraph")
	}
	var graph tfl.SubGraph
	model.Subgraphs(&graph, 0)
	r := &reader{file: f, model: model, left: memoryPerByte*int64(len(f.data)) + memoryFloor}
	s := &Source{
		Description: r.text(model.Description()),
		Bytes:       f.Size(),
		Subgraphs:   model.SubgraphsLength(),
		Tensors:     list[Tensor](r, graph.TensorsLength()),
		Ops:         list[Op](r, graph.OperatorsLength()),
	}
	var tensor tfl.Tensor
	for i := range s.Tensors {
		graph.Tensors(&tensor, i)
		if r.tensor(&s.Tensors[i], &tensor, i); r.err != nil {
			return nil, r.err
		}
	}
	s.Inputs = r.tensorNumbers("the graph's inputs", graph.InputsLength(), graph.Inputs, 0, len(s.Tensors))
	s.Outputs = r.tensorNumbers("the graph's outputs", graph.OutputsLength(), graph.Outputs, 0, len(s.Tensors))
	var op tfl.Operator
	for i := range s.Ops {
		graph.Operators(&op, i)
		if r.op(&s.Ops[i], &op, i, len(s.Tensors)); r.err != nil {
			return nil, r.err
		}
	}
	f.left = r.left
	return s, r.err
}

// fail keeps the first error. at is a position in the file, -1 if none is known.
func (r *reader) fail(at int64, format string, args ...any) {
	if r.err == nil {
		r.err = r.file.errorf(at, format, args...)
	}
}

// spend takes bytes of memory and reports whether there were so many left.
func (r *reader) spend(bytes int64) bool {
	if r.left -= bytes; r.left < 0 {
		r.fail(-1, "damaged: to describe it would take much more memory than it has bytes: parts of it are shared")
	}
	return r.left >= 0
}

// list makes a slice of n elements; it is nil if n is 0 or memory is used up.
func list[T any](r *reader, n int) []T {
	var element T
	if n == 0 || !r.spend(int64(n)*int64(unsafe.Sizeof(element))) {
		return nil
	}
	return make([]T, n)
}

func (r *reader) text(b []byte) string {
	if !r.spend(int64(len(b))) {
		return ""
	}
	return string(b)
}

// tensorNumbers reads a vector of tensor numbers, each at least low and below tensors.
func (r *reader) tensorNumbers(of string, n int, at func(int) int32, low, tensors int) []int {
	numbers := list[int](r, n)
	for i := range numbers {
		if numbers[i] = int(at(i)); numbers[i] < low || numbers[i] >= tensors {
			r.fail(-1, "damaged: %s include tensor %d of %d", of, numbers[i], tensors)
			return nil
		}
	}
	return numbers
}

func (r *reader) tensor(t *Tensor, from *tfl.Tensor, index int) {
	at := int64(from.Table().Pos)
	t.Name = r.text(from.Name())
	t.Type = Type(from.Type())
	t.Variable = from.IsVariable()
	t.Shape = list[int](r, from.ShapeLength())
	elements := uint64(1)
	for i := range t.Shape {
		t.Shape[i] = int(from.Shape(i))
		if t.Shape[i] < 0 {
			r.fail(at, "tensor %d %q has the negative dimension %d", index, t.Name, t.Shape[i])
			return
		}
		// An eighth, so that the bytes of eight-byte elements can be counted too.
		high, product := bits.Mul64(elements, uint64(t.Shape[i]))
		if high != 0 || product > math.MaxInt64/8 {
			r.fail(at, "tensor %d %q has more elements than can be counted", index, t.Name)
			return
		}
		elements = product
	}
	r.quantization(t, from, index)
	r.contents(t, from, index)
}

func (r *reader) quantization(t *Tensor, from *tfl.Tensor, index int) {
	q := from.Quantization(nil)
	if q == nil {
		return
	}
	at := int64(q.Table().Pos)
	t.Scales = list[float32](r, q.ScaleLength())
	for i := range t.Scales {
		t.Scales[i] = q.Scale(i)
	}
	t.ZeroPoints = list[int64](r, q.ZeroPointLength())
	for i := range t.ZeroPoints {
		t.ZeroPoints[i] = q.ZeroPoint(i)
	}
	t.QuantDim = int(q.QuantizedDimension())
	if len(t.Scales) < 2 {
		return
	}
	if t.QuantDim < 0 || t.QuantDim >= len(t.Shape) {
		r.fail(at, "tensor %d %q is quantized along dimension %d of %d", index, t.Name, t.QuantDim, len(t.Shape))
	} else if len(t.Scales) != t.Shape[t.QuantDim] {
		r.fail(at, "tensor %d %q has %d scales for a dimension of %d", index, t.Name, len(t.Scales), t.Shape[t.QuantDim])
	}
}

func (r *reader) contents(t *Tensor, from *tfl.Tensor, index int) {
	at := int64(from.Table().Pos)
	var buffer tfl.Buffer
	number := from.Buffer()
	if number == 0 {
		return // buffer 0 is empty by convention, and may be missing
	}
	if int64(number) >= int64(r.model.BuffersLength()) {
		r.fail(at, "damaged: tensor %d %q is kept in buffer %d of %d", index, t.Name, number, r.model.BuffersLength())
		return
	}
	r.model.Buffers(&buffer, int(number))
	t.Data = buffer.DataBytes()
	if buffer.Offset() > 1 {
		// The contents lie behind the flatbuffer, as in files that were meant
		// to grow beyond what a flatbuffer can address.
		end, carry := bits.Add64(buffer.Offset(), buffer.Size(), 0)
		if carry != 0 || end > uint64(len(r.file.data)) {
			r.fail(int64(buffer.Table().Pos), "truncated: the %d bytes of tensor %d %q start at byte %d of %d",
				buffer.Size(), index, t.Name, buffer.Offset(), len(r.file.data))
			return
		}
		t.Data = r.file.data[buffer.Offset():end]
	}
	t.DataBytes = int64(len(t.Data))
	if t.DataBytes == 0 {
		t.Data = nil
		return
	}
	t.Data = t.Data[:t.DataBytes:t.DataBytes]
	if want := t.Elements() * t.Type.Size(); want != t.DataBytes && t.Type.Size() > 0 && from.Sparsity(nil) == nil {
		r.fail(at, "tensor %d %q has %d bytes, its shape %v of %v asks for %d", index, t.Name, t.DataBytes, t.Shape, t.Type, want)
	}
}

func (r *reader) op(o *Op, from *tfl.Operator, index, tensors int) {
	at := int64(from.Table().Pos)
	var code tfl.OperatorCode
	if number := from.OpcodeIndex(); int64(number) >= int64(r.model.OperatorCodesLength()) {
		r.fail(at, "damaged: op %d has operator code %d of %d", index, number, r.model.OperatorCodesLength())
		return
	}
	r.model.OperatorCodes(&code, int(from.OpcodeIndex()))
	// Numbers that fit a byte stand in the old field, or in both.
	o.Code = max(Builtin(code.DeprecatedBuiltinCode()), Builtin(code.BuiltinCode()))
	o.Version = int(code.Version())
	if o.Code < 0 || o.Version < 1 {
		r.fail(int64(code.Table().Pos), "damaged: op %d has operator number %d, version %d", index, o.Code, o.Version)
		return
	}
	if o.Code == Custom {
		o.Custom = r.text(code.CustomCode())
	}
	of := fmt.Sprintf("the inputs of op %d %v", index, o.Code)
	o.Inputs = r.tensorNumbers(of, from.InputsLength(), from.Inputs, -1, tensors)
	of = fmt.Sprintf("the outputs of op %d %v", index, o.Code)
	o.Outputs = r.tensorNumbers(of, from.OutputsLength(), from.Outputs, 0, tensors)
	o.CustomOptions = from.CustomOptionsBytes()
	o.Options = options(from)
}

const samePadding = 0

// options reads the operator's builtin options, whichever table holds them.
func options(from *tfl.Operator) (o Options) {
	var table flatbuffers.Table
	if !from.BuiltinOptions(&table) {
		return o
	}
	switch from.BuiltinOptionsType() {
	case tfl.BuiltinOptionsConv2DOptions:
		var t tfl.Conv2DOptions
		t.Init(table.Bytes, table.Pos)
		o.SamePadding = t.Padding() == samePadding
		o.StrideW, o.StrideH = int(t.StrideW()), int(t.StrideH())
		o.DilationW, o.DilationH = int(t.DilationW()), int(t.DilationH())
		o.Activation = Activation(t.Activation())
	case tfl.BuiltinOptionsDepthwiseConv2DOptions:
		var t tfl.DepthwiseConv2DOptions
		t.Init(table.Bytes, table.Pos)
		o.SamePadding = t.Padding() == samePadding
		o.StrideW, o.StrideH = int(t.StrideW()), int(t.StrideH())
		o.DilationW, o.DilationH = int(t.DilationW()), int(t.DilationH())
		o.DepthMultiplier = int(t.DepthMultiplier())
		o.Activation = Activation(t.Activation())
	case tfl.BuiltinOptionsTransposeConvOptions:
		var t tfl.TransposeConvOptions
		t.Init(table.Bytes, table.Pos)
		o.SamePadding = t.Padding() == samePadding
		o.StrideW, o.StrideH = int(t.StrideW()), int(t.StrideH())
	case tfl.BuiltinOptionsPool2DOptions:
		var t tfl.Pool2DOptions
		t.Init(table.Bytes, table.Pos)
		o.SamePadding = t.Padding() == samePadding
		o.StrideW, o.StrideH = int(t.StrideW()), int(t.StrideH())
		o.FilterW, o.FilterH = int(t.FilterWidth()), int(t.FilterHeight())
		o.Activation = Activation(t.Activation())
	case tfl.BuiltinOptionsFullyConnectedOptions:
		var t tfl.FullyConnectedOptions
		t.Init(table.Bytes, table.Pos)
		o.Activation = Activation(t.Activation())
		o.ShuffledWeights = t.WeightsFormat() != 0
		o.KeepNumDims = t.KeepNumDims()
	case tfl.BuiltinOptionsConcatenationOptions:
		var t tfl.ConcatenationOptions
		t.Init(table.Bytes, table.Pos)
		o.Axis = int(t.Axis())
		o.Activation = Activation(t.Activation())
	case tfl.BuiltinOptionsPackOptions:
		var t tfl.PackOptions
		t.Init(table.Bytes, table.Pos)
		o.Axis = int(t.Axis())
	case tfl.BuiltinOptionsAddOptions:
		var t tfl.AddOptions
		t.Init(table.Bytes, table.Pos)
		o.Activation = Activation(t.Activation())
	case tfl.BuiltinOptionsMulOptions:
		var t tfl.MulOptions
		t.Init(table.Bytes, table.Pos)
		o.Activation = Activation(t.Activation())
	case tfl.BuiltinOptionsSubOptions:
		var t tfl.SubOptions
		t.Init(table.Bytes, table.Pos)
		o.Activation = Activation(t.Activation())
	case tfl.BuiltinOptionsDivOptions:
		var t tfl.DivOptions
		t.Init(table.Bytes, table.Pos)
		o.Activation = Activation(t.Activation())
	case tfl.BuiltinOptionsL2NormOptions:
		var t tfl.L2NormOptions
		t.Init(table.Bytes, table.Pos)
		o.Activation = Activation(t.Activation())
	case tfl.BuiltinOptionsResizeBilinearOptions:
		var t tfl.ResizeBilinearOptions
		t.Init(table.Bytes, table.Pos)
		o.AlignCorners, o.HalfPixel = t.AlignCorners(), t.HalfPixel()
	case tfl.BuiltinOptionsResizeNearestNeighborOptions:
		var t tfl.ResizeNearestNeighborOptions
		t.Init(table.Bytes, table.Pos)
		o.AlignCorners, o.HalfPixel = t.AlignCorners(), t.HalfPixel()
	case tfl.BuiltinOptionsStridedSliceOptions:
		var t tfl.StridedSliceOptions
		t.Init(table.Bytes, table.Pos)
		o.BeginMask, o.EndMask = int(t.BeginMask()), int(t.EndMask())
		o.EllipsisMask, o.NewAxisMask = int(t.EllipsisMask()), int(t.NewAxisMask())
		o.ShrinkAxisMask = int(t.ShrinkAxisMask())
	case tfl.BuiltinOptionsReducerOptions:
		var t tfl.ReducerOptions
		t.Init(table.Bytes, table.Pos)
		o.KeepDims = t.KeepDims()
	case tfl.BuiltinOptionsSplitOptions:
		var t tfl.SplitOptions
		t.Init(table.Bytes, table.Pos)
		o.NumSplits = int(t.NumSplits())
	case tfl.BuiltinOptionsSplitVOptions:
		var t tfl.SplitVOptions
		t.Init(table.Bytes, table.Pos)
		o.NumSplits = int(t.NumSplits())
	}
	return o
}
