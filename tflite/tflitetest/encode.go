// Package tflitetest makes TFLite models for tests: from a description
// ([Encode]), layer by layer ([Builder]), whole networks by their public
// shapes ([MobileNetV1] and others), and what edgetpu_compiler would make of
// a model ([CompiledModel]). Weights are pseudo-random and the same in every run.
//
// Misuse panics: what these functions are given is written in a test.
package tflitetest

import (
	"fmt"

	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/internal/tfl"
)

// Encode writes a model of one subgraph. Reading it gives the source back,
// except for Bytes and Subgraphs, and for options that the operator's code
// does not have.
func Encode(s *tflite.Source) []byte {
	size := 1 << 12
	for i := range s.Tensors {
		size += len(s.Tensors[i].Data) + 256
	}
	e := &encoder{fb: flatbuffers.NewBuilder(size)}
	codes, numbers := e.operatorCodes(s.Ops)
	graph := e.graph(s, numbers)
	description := e.fb.CreateString(s.Description)
	buffers := e.buffers(s.Tensors)
	subgraphs := e.offsets([]flatbuffers.UOffsetT{graph})
	tfl.ModelStart(e.fb)
	tfl.ModelAddVersion(e.fb, 3)
	tfl.ModelAddOperatorCodes(e.fb, codes)
	tfl.ModelAddSubgraphs(e.fb, subgraphs)
	tfl.ModelAddDescription(e.fb, description)
	tfl.ModelAddBuffers(e.fb, buffers)
	e.fb.FinishWithFileIdentifier(tfl.ModelEnd(e.fb), []byte("TFL3"))
	return e.fb.FinishedBytes()
}

type encoder struct{ fb *flatbuffers.Builder }

// vector writes n elements of size bytes; put prepends element i.
func (e *encoder) vector(n, size int, put func(i int)) flatbuffers.UOffsetT {
	if n == 0 {
		return 0
	}
	e.fb.StartVector(size, n, size)
	for i := n - 1; i >= 0; i-- {
		put(i)
	}
	return e.fb.EndVector(n)
}

func (e *encoder) offsets(o []flatbuffers.UOffsetT) flatbuffers.UOffsetT {
	return e.vector(len(o), 4, func(i int) { e.fb.PrependUOffsetT(o[i]) })
}

func (e *encoder) ints(n []int) flatbuffers.UOffsetT {
	return e.vector(len(n), 4, func(i int) { e.fb.PrependInt32(int32(n[i])) })
}

// bytes writes a vector aligned to 16 bytes, as TFLite wants weights to be.
func (e *encoder) bytes(b []byte) flatbuffers.UOffsetT {
	if len(b) == 0 {
		return 0
	}
	e.fb.Prep(16, len(b))
	return e.fb.CreateByteVector(b)
}

// operatorCodes writes each operator once, and finds the number of every op's.
func (e *encoder) operatorCodes(ops []tflite.Op) (flatbuffers.UOffsetT, []uint32) {
	type key struct {
		code    tflite.Builtin
		custom  string
		version int
	}
	known := map[key]uint32{}
	var codes []flatbuffers.UOffsetT
	var numbers []uint32
	for _, o := range ops {
		k := key{o.Code, o.Custom, o.Version}
		if k.version == 0 {
			k.version = 1
		}
		number, ok := known[k]
		if !ok {
			number = uint32(len(codes))
			known[k] = number
			var custom flatbuffers.UOffsetT
			if k.custom != "" {
				custom = e.fb.CreateString(k.custom)
			}
			tfl.OperatorCodeStart(e.fb)
			tfl.OperatorCodeAddDeprecatedBuiltinCode(e.fb, int8(min(k.code, tflite.PlaceholderForGreaterOpCodes)))
			tfl.OperatorCodeAddCustomCode(e.fb, custom)
			tfl.OperatorCodeAddVersion(e.fb, int32(k.version))
			tfl.OperatorCodeAddBuiltinCode(e.fb, int32(k.code))
			codes = append(codes, tfl.OperatorCodeEnd(e.fb))
		}
		numbers = append(numbers, number)
	}
	return e.offsets(codes), numbers
}

// buffers writes the contents of constant tensors, in their order, after the empty buffer 0.
func (e *encoder) buffers(tensors []tflite.Tensor) flatbuffers.UOffsetT {
	tfl.BufferStart(e.fb)
	buffers := []flatbuffers.UOffsetT{tfl.BufferEnd(e.fb)}
	for i := range tensors {
		if data := tensors[i].Data; len(data) > 0 {
			contents := e.bytes(data)
			tfl.BufferStart(e.fb)
			tfl.BufferAddData(e.fb, contents)
			buffers = append(buffers, tfl.BufferEnd(e.fb))
		}
	}
	return e.offsets(buffers)
}

func (e *encoder) graph(s *tflite.Source, codes []uint32) flatbuffers.UOffsetT {
	var tensors, ops []flatbuffers.UOffsetT
	buffer := uint32(0)
	for i := range s.Tensors {
		number := uint32(0)
		if len(s.Tensors[i].Data) > 0 {
			buffer++
			number = buffer
		}
		tensors = append(tensors, e.tensor(&s.Tensors[i], number))
	}
	for i := range s.Ops {
		ops = append(ops, e.op(&s.Ops[i], codes[i]))
	}
	tensorList, opList := e.offsets(tensors), e.offsets(ops)
	inputs, outputs := e.ints(s.Inputs), e.ints(s.Outputs)
	name := e.fb.CreateString("main")
	tfl.SubGraphStart(e.fb)
	tfl.SubGraphAddTensors(e.fb, tensorList)
	tfl.SubGraphAddInputs(e.fb, inputs)
	tfl.SubGraphAddOutputs(e.fb, outputs)
	tfl.SubGraphAddOperators(e.fb, opList)
	tfl.SubGraphAddName(e.fb, name)
	return tfl.SubGraphEnd(e.fb)
}

func (e *encoder) tensor(t *tflite.Tensor, buffer uint32) flatbuffers.UOffsetT {
	var quantization flatbuffers.UOffsetT
	if len(t.Scales) > 0 || len(t.ZeroPoints) > 0 || t.QuantDim != 0 {
		scales := e.vector(len(t.Scales), 4, func(i int) { e.fb.PrependFloat32(t.Scales[i]) })
		zeros := e.vector(len(t.ZeroPoints), 8, func(i int) { e.fb.PrependInt64(t.ZeroPoints[i]) })
		tfl.QuantizationParametersStart(e.fb)
		tfl.QuantizationParametersAddScale(e.fb, scales)
		tfl.QuantizationParametersAddZeroPoint(e.fb, zeros)
		tfl.QuantizationParametersAddQuantizedDimension(e.fb, int32(t.QuantDim))
		quantization = tfl.QuantizationParametersEnd(e.fb)
	}
	shape, name := e.ints(t.Shape), e.fb.CreateString(t.Name)
	tfl.TensorStart(e.fb)
	tfl.TensorAddShape(e.fb, shape)
	tfl.TensorAddType(e.fb, int8(t.Type))
	tfl.TensorAddBuffer(e.fb, buffer)
	tfl.TensorAddName(e.fb, name)
	tfl.TensorAddQuantization(e.fb, quantization)
	tfl.TensorAddIsVariable(e.fb, t.Variable)
	return tfl.TensorEnd(e.fb)
}

func (e *encoder) op(o *tflite.Op, code uint32) flatbuffers.UOffsetT {
	kind, options := e.options(o)
	inputs, outputs, custom := e.ints(o.Inputs), e.ints(o.Outputs), e.bytes(o.CustomOptions)
	tfl.OperatorStart(e.fb)
	tfl.OperatorAddOpcodeIndex(e.fb, code)
	tfl.OperatorAddInputs(e.fb, inputs)
	tfl.OperatorAddOutputs(e.fb, outputs)
	tfl.OperatorAddBuiltinOptionsType(e.fb, kind)
	tfl.OperatorAddBuiltinOptions(e.fb, options)
	tfl.OperatorAddCustomOptions(e.fb, custom)
	return tfl.OperatorEnd(e.fb)
}

func padding(same bool) int8 {
	if same {
		return 0
	}
	return 1
}

// options writes what the operator's own table of options has room for.
func (e *encoder) options(op *tflite.Op) (tfl.BuiltinOptions, flatbuffers.UOffsetT) {
	fb, o, act := e.fb, &op.Options, int8(op.Options.Activation)
	switch op.Code {
	case tflite.Conv2D:
		tfl.Conv2DOptionsStart(fb)
		tfl.Conv2DOptionsAddPadding(fb, padding(o.SamePadding))
		tfl.Conv2DOptionsAddStrideW(fb, int32(o.StrideW))
		tfl.Conv2DOptionsAddStrideH(fb, int32(o.StrideH))
		tfl.Conv2DOptionsAddActivation(fb, act)
		tfl.Conv2DOptionsAddDilationW(fb, int32(o.DilationW))
		tfl.Conv2DOptionsAddDilationH(fb, int32(o.DilationH))
		return tfl.BuiltinOptionsConv2DOptions, tfl.Conv2DOptionsEnd(fb)
	case tflite.DepthwiseConv2D:
		tfl.DepthwiseConv2DOptionsStart(fb)
		tfl.DepthwiseConv2DOptionsAddPadding(fb, padding(o.SamePadding))
		tfl.DepthwiseConv2DOptionsAddStrideW(fb, int32(o.StrideW))
		tfl.DepthwiseConv2DOptionsAddStrideH(fb, int32(o.StrideH))
		tfl.DepthwiseConv2DOptionsAddDepthMultiplier(fb, int32(o.DepthMultiplier))
		tfl.DepthwiseConv2DOptionsAddActivation(fb, act)
		tfl.DepthwiseConv2DOptionsAddDilationW(fb, int32(o.DilationW))
		tfl.DepthwiseConv2DOptionsAddDilationH(fb, int32(o.DilationH))
		return tfl.BuiltinOptionsDepthwiseConv2DOptions, tfl.DepthwiseConv2DOptionsEnd(fb)
	case tflite.TransposeConv:
		tfl.TransposeConvOptionsStart(fb)
		tfl.TransposeConvOptionsAddPadding(fb, padding(o.SamePadding))
		tfl.TransposeConvOptionsAddStrideW(fb, int32(o.StrideW))
		tfl.TransposeConvOptionsAddStrideH(fb, int32(o.StrideH))
		return tfl.BuiltinOptionsTransposeConvOptions, tfl.TransposeConvOptionsEnd(fb)
	case tflite.AveragePool2D, tflite.MaxPool2D, tflite.L2Pool2D:
		tfl.Pool2DOptionsStart(fb)
		tfl.Pool2DOptionsAddPadding(fb, padding(o.SamePadding))
		tfl.Pool2DOptionsAddStrideW(fb, int32(o.StrideW))
		tfl.Pool2DOptionsAddStrideH(fb, int32(o.StrideH))
		tfl.Pool2DOptionsAddFilterWidth(fb, int32(o.FilterW))
		tfl.Pool2DOptionsAddFilterHeight(fb, int32(o.FilterH))
		tfl.Pool2DOptionsAddActivation(fb, act)
		return tfl.BuiltinOptionsPool2DOptions, tfl.Pool2DOptionsEnd(fb)
	case tflite.FullyConnected:
		tfl.FullyConnectedOptionsStart(fb)
		tfl.FullyConnectedOptionsAddActivation(fb, act)
		if o.ShuffledWeights {
			tfl.FullyConnectedOptionsAddWeightsFormat(fb, 1)
		}
		tfl.FullyConnectedOptionsAddKeepNumDims(fb, o.KeepNumDims)
		return tfl.BuiltinOptionsFullyConnectedOptions, tfl.FullyConnectedOptionsEnd(fb)
	case tflite.Concatenation:
		tfl.ConcatenationOptionsStart(fb)
		tfl.ConcatenationOptionsAddAxis(fb, int32(o.Axis))
		tfl.ConcatenationOptionsAddActivation(fb, act)
		return tfl.BuiltinOptionsConcatenationOptions, tfl.ConcatenationOptionsEnd(fb)
	case tflite.Pack:
		tfl.PackOptionsStart(fb)
		tfl.PackOptionsAddCount(fb, int32(len(op.Inputs)))
		tfl.PackOptionsAddAxis(fb, int32(o.Axis))
		return tfl.BuiltinOptionsPackOptions, tfl.PackOptionsEnd(fb)
	case tflite.Add:
		tfl.AddOptionsStart(fb)
		tfl.AddOptionsAddActivation(fb, act)
		return tfl.BuiltinOptionsAddOptions, tfl.AddOptionsEnd(fb)
	case tflite.Mul:
		tfl.MulOptionsStart(fb)
		tfl.MulOptionsAddActivation(fb, act)
		return tfl.BuiltinOptionsMulOptions, tfl.MulOptionsEnd(fb)
	case tflite.Sub:
		tfl.SubOptionsStart(fb)
		tfl.SubOptionsAddActivation(fb, act)
		return tfl.BuiltinOptionsSubOptions, tfl.SubOptionsEnd(fb)
	case tflite.Div:
		tfl.DivOptionsStart(fb)
		tfl.DivOptionsAddActivation(fb, act)
		return tfl.BuiltinOptionsDivOptions, tfl.DivOptionsEnd(fb)
	case tflite.L2Normalization:
		tfl.L2NormOptionsStart(fb)
		tfl.L2NormOptionsAddActivation(fb, act)
		return tfl.BuiltinOptionsL2NormOptions, tfl.L2NormOptionsEnd(fb)
	case tflite.Softmax:
		tfl.SoftmaxOptionsStart(fb)
		tfl.SoftmaxOptionsAddBeta(fb, 1)
		return tfl.BuiltinOptionsSoftmaxOptions, tfl.SoftmaxOptionsEnd(fb)
	case tflite.ResizeBilinear:
		tfl.ResizeBilinearOptionsStart(fb)
		tfl.ResizeBilinearOptionsAddAlignCorners(fb, o.AlignCorners)
		tfl.ResizeBilinearOptionsAddHalfPixel(fb, o.HalfPixel)
		return tfl.BuiltinOptionsResizeBilinearOptions, tfl.ResizeBilinearOptionsEnd(fb)
	case tflite.ResizeNearestNeighbor:
		tfl.ResizeNearestNeighborOptionsStart(fb)
		tfl.ResizeNearestNeighborOptionsAddAlignCorners(fb, o.AlignCorners)
		tfl.ResizeNearestNeighborOptionsAddHalfPixel(fb, o.HalfPixel)
		return tfl.BuiltinOptionsResizeNearestNeighborOptions, tfl.ResizeNearestNeighborOptionsEnd(fb)
	case tflite.StridedSlice:
		tfl.StridedSliceOptionsStart(fb)
		tfl.StridedSliceOptionsAddBeginMask(fb, int32(o.BeginMask))
		tfl.StridedSliceOptionsAddEndMask(fb, int32(o.EndMask))
		tfl.StridedSliceOptionsAddEllipsisMask(fb, int32(o.EllipsisMask))
		tfl.StridedSliceOptionsAddNewAxisMask(fb, int32(o.NewAxisMask))
		tfl.StridedSliceOptionsAddShrinkAxisMask(fb, int32(o.ShrinkAxisMask))
		return tfl.BuiltinOptionsStridedSliceOptions, tfl.StridedSliceOptionsEnd(fb)
	case tflite.Mean, tflite.Sum, tflite.ReduceMax, tflite.ReduceMin, tflite.ReduceProd, tflite.ReduceAny, tflite.ReduceAll:
		tfl.ReducerOptionsStart(fb)
		tfl.ReducerOptionsAddKeepDims(fb, o.KeepDims)
		return tfl.BuiltinOptionsReducerOptions, tfl.ReducerOptionsEnd(fb)
	case tflite.Split:
		tfl.SplitOptionsStart(fb)
		tfl.SplitOptionsAddNumSplits(fb, int32(o.NumSplits))
		return tfl.BuiltinOptionsSplitOptions, tfl.SplitOptionsEnd(fb)
	case tflite.SplitV:
		tfl.SplitVOptionsStart(fb)
		tfl.SplitVOptionsAddNumSplits(fb, int32(o.NumSplits))
		return tfl.BuiltinOptionsSplitVOptions, tfl.SplitVOptionsEnd(fb)
	case tflite.Reshape:
		tfl.ReshapeOptionsStart(fb)
		return tfl.BuiltinOptionsReshapeOptions, tfl.ReshapeOptionsEnd(fb)
	}
	return tfl.BuiltinOptionsNONE, 0
}

// check panics with a message about the builder's use.
func check(ok bool, format string, args ...any) {
	if !ok {
		panic("tflitetest: " + fmt.Sprintf(format, args...))
	}
}
