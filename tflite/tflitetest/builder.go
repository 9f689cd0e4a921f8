package tflitetest

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/tpuplan/tpuplan/tflite"
)

// Builder makes a network layer by layer. Its layers read the current tensor
// and make their output the current one, so that they chain; [Builder.At] and
// [Builder.From] are for branches. The fields may be changed between layers.
type Builder struct {
	Type       tflite.Type // of activations and weights: Uint8 (as New sets it) or Int8
	PerChannel bool        // weights have a scale for each output channel
	ZeroBias   bool        // biases are zero in all their elements
	NoBias     bool        // convolutions have no bias input
	Hollow     bool        // weights have sizes but no contents: enough for what looks at sizes, and fast
	Seed       uint64      // other seeds, other weights

	source  tflite.Source
	current int
}

// New is a builder of an empty uint8 network with one scale for each tensor.
func New() *Builder { return &Builder{Type: tflite.Uint8, Seed: 1} }

// Source is the network so far. Its only output is the current tensor, unless
// [Builder.Outputs] named others.
func (b *Builder) Source() *tflite.Source {
	s := b.source
	if len(s.Outputs) == 0 && len(s.Tensors) > 0 {
		s.Outputs = []int{b.current}
	}
	return &s
}

// Bytes is the network as a TFLite file. A hollow one has none.
func (b *Builder) Bytes() []byte {
	check(!b.Hollow, "a hollow network has no file")
	return Encode(b.Source())
}

// Describe sets the model's description.
func (b *Builder) Describe(text string) *Builder {
	b.source.Description = text
	return b
}

// At is the number of the current tensor.
func (b *Builder) At() int { return b.current }

// From makes a tensor the current one.
func (b *Builder) From(tensor int) *Builder {
	check(tensor >= 0 && tensor < len(b.source.Tensors), "tensor %d of %d", tensor, len(b.source.Tensors))
	b.current = tensor
	return b
}

// Shape is the shape of the current tensor.
func (b *Builder) Shape() []int { return b.source.Tensors[b.current].Shape }

// Outputs names the network's outputs.
func (b *Builder) Outputs(tensors ...int) *Builder {
	b.source.Outputs = tensors
	return b
}

// Tensor adds a tensor as it is described and returns its number; the current
// tensor stays. It fills in DataBytes where there are contents.
func (b *Builder) Tensor(t tflite.Tensor) int {
	if t.Data != nil {
		t.DataBytes = int64(len(t.Data))
	}
	if t.Name == "" {
		t.Name = fmt.Sprintf("t%d", len(b.source.Tensors))
	}
	b.source.Tensors = append(b.source.Tensors, t)
	return len(b.source.Tensors) - 1
}

// Op adds an operator as it is described and makes its first output current.
func (b *Builder) Op(o tflite.Op) *Builder {
	if o.Version == 0 {
		o.Version = 1
	}
	b.source.Ops = append(b.source.Ops, o)
	if len(o.Outputs) > 0 {
		b.current = o.Outputs[0]
	}
	return b
}

// Last is the operator added last, to change it.
func (b *Builder) Last() *tflite.Op { return &b.source.Ops[len(b.source.Ops)-1] }

// Fuse sets the activation of the operator added last.
func (b *Builder) Fuse(a tflite.Activation) *Builder {
	b.Last().Options.Activation = a
	return b
}

// Activation adds a quantized tensor of the builder's type without contents
// and returns its number; the current tensor stays.
func (b *Builder) Activation(shape ...int) int {
	return b.Tensor(tflite.Tensor{Shape: slices.Clone(shape), Type: b.Type, Scales: []float32{activationScale}, ZeroPoints: []int64{b.zero()}})
}

// Input adds an input of the network and makes it current.
func (b *Builder) Input(shape ...int) *Builder {
	t := b.Activation(shape...)
	b.source.Inputs = append(b.source.Inputs, t)
	return b.From(t)
}

// Scales of what the builder makes up. Their values mean nothing.
const (
	activationScale = 1.0 / 32
	weightScale     = 1.0 / 128
)

// zero is the zero point of the builder's type.
func (b *Builder) zero() int64 {
	if b.Type == tflite.Uint8 {
		return 128
	}
	return 0
}

// random is the next number of Vigna's splitmix64.
func random(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	z := *state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// noise is n pseudo-random bytes, others for each seed and tensor.
func (b *Builder) noise(n int) []byte {
	state := b.Seed<<20 + uint64(len(b.source.Tensors))
	random(&state)
	data := make([]byte, (n+7)&^7)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(data[i:], random(&state))
	}
	return data[:n]
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Constant adds a constant of the builder's type with pseudo-random contents
// and one scale, and returns its number; the current tensor stays.
func (b *Builder) Constant(shape ...int) int { return b.weights(shape, -1) }

// weights adds a constant with a scale for each index of a dimension, or with one scale if that is negative.
func (b *Builder) weights(shape []int, dimension int) int {
	t := tflite.Tensor{Shape: slices.Clone(shape), Type: b.Type}
	if b.Hollow {
		t.DataBytes = int64(product(shape))
	} else {
		t.Data = b.noise(product(shape))
	}
	channels := 1
	if dimension >= 0 {
		t.QuantDim, channels = dimension, shape[dimension]
	}
	for i := range channels {
		t.Scales = append(t.Scales, weightScale*float32(1+i%7))
		t.ZeroPoints = append(t.ZeroPoints, b.zero())
	}
	return b.Tensor(t)
}

// bias adds the bias that goes with a weight tensor.
func (b *Builder) bias(weights, channels int) int {
	data := make([]byte, 4*channels)
	if !b.ZeroBias {
		noise := b.noise(2 * channels)
		for i := range channels {
			value := int32(int16(binary.LittleEndian.Uint16(noise[2*i:]))) | 1 // never zero
			binary.LittleEndian.PutUint32(data[4*i:], uint32(value))
		}
	}
	t := tflite.Tensor{Shape: []int{channels}, Type: tflite.Int32, Data: data}
	for _, s := range b.source.Tensors[weights].Scales {
		t.Scales = append(t.Scales, s*activationScale)
		t.ZeroPoints = append(t.ZeroPoints, 0)
	}
	return b.Tensor(t)
}

// weighted are the inputs of a convolution with these weights.
func (b *Builder) weighted(weights, channels int) []int {
	if b.NoBias {
		return []int{b.current, weights}
	}
	return []int{b.current, weights, b.bias(weights, channels)}
}

// Integers adds an int32 constant vector, unquantized, and returns its number; the current tensor stays.
func (b *Builder) Integers(values ...int) int {
	data := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(data[4*i:], uint32(int32(v)))
	}
	return b.Tensor(tflite.Tensor{Shape: []int{len(values)}, Type: tflite.Int32, Data: data})
}

// window is the number of places where a window of k fits, stride apart.
func window(in, k, stride int, same bool) int {
	if same {
		return (in + stride - 1) / stride
	}
	check(in >= k, "a window of %d in %d", k, in)
	return (in-k)/stride + 1
}

// image is the current tensor's height, width and channels.
func (b *Builder) image() (h, w, c int) {
	s := b.Shape()
	check(len(s) == 4 && s[0] == 1, "want an image, the current tensor is %v", s)
	return s[1], s[2], s[3]
}

func (b *Builder) scaled(dimension int) int {
	if b.PerChannel {
		return dimension
	}
	return -1
}

// Conv adds a convolution to zo channels with a kernel of kh x kw.
func (b *Builder) Conv(zo, kh, kw, stride int, same bool) *Builder {
	h, w, zi := b.image()
	weights := b.weights([]int{zo, kh, kw, zi}, b.scaled(0))
	return b.Op(tflite.Op{
		Code: tflite.Conv2D, Inputs: b.weighted(weights, zo),
		Outputs: []int{b.Activation(1, window(h, kh, stride, same), window(w, kw, stride, same), zo)},
		Options: tflite.Options{SamePadding: same, StrideW: stride, StrideH: stride, DilationW: 1, DilationH: 1},
	})
}

// Depthwise adds a depthwise convolution of multiplier 1.
func (b *Builder) Depthwise(kh, kw, stride int, same bool) *Builder {
	h, w, c := b.image()
	weights := b.weights([]int{1, kh, kw, c}, b.scaled(3))
	return b.Op(tflite.Op{
		Code: tflite.DepthwiseConv2D, Inputs: b.weighted(weights, c),
		Outputs: []int{b.Activation(1, window(h, kh, stride, same), window(w, kw, stride, same), c)},
		Options: tflite.Options{SamePadding: same, StrideW: stride, StrideH: stride, DilationW: 1, DilationH: 1, DepthMultiplier: 1},
	})
}

// TransposeConv adds a transposed convolution without bias, SAME padding.
func (b *Builder) TransposeConv(zo, kh, kw, stride int) *Builder {
	h, w, zi := b.image()
	shape := b.Integers(1, h*stride, w*stride, zo)
	weights := b.weights([]int{zo, kh, kw, zi}, b.scaled(0))
	return b.Op(tflite.Op{
		Code: tflite.TransposeConv, Inputs: []int{shape, weights, b.current},
		Outputs: []int{b.Activation(1, h*stride, w*stride, zo)},
		Options: tflite.Options{SamePadding: true, StrideW: stride, StrideH: stride},
	})
}

// FC adds a fully connected layer; all but the first dimension of the current
// tensor are flattened.
func (b *Builder) FC(units int) *Builder {
	b.FCNoBias(units)
	op := b.Last()
	bias := b.bias(op.Inputs[1], units)
	op.Inputs = append(op.Inputs, bias)
	return b
}

// FCNoBias is FC without a bias input.
func (b *Builder) FCNoBias(units int) *Builder {
	s := b.Shape()
	weights := b.weights([]int{units, product(s[1:])}, b.scaled(0))
	return b.Op(tflite.Op{
		Code: tflite.FullyConnected, Inputs: []int{b.current, weights},
		Outputs: []int{b.Activation(s[0], units)},
	})
}

// AvgPool adds an average pool with a window of k x k.
func (b *Builder) AvgPool(k, stride int, same bool) *Builder {
	return b.pool(tflite.AveragePool2D, k, stride, same)
}

// MaxPool adds a maximum pool with a window of k x k.
func (b *Builder) MaxPool(k, stride int, same bool) *Builder {
	return b.pool(tflite.MaxPool2D, k, stride, same)
}

func (b *Builder) pool(code tflite.Builtin, k, stride int, same bool) *Builder {
	h, w, c := b.image()
	return b.Op(tflite.Op{
		Code: code, Inputs: []int{b.current},
		Outputs: []int{b.Activation(1, window(h, k, stride, same), window(w, k, stride, same), c)},
		Options: tflite.Options{SamePadding: same, StrideW: stride, StrideH: stride, FilterW: k, FilterH: k},
	})
}

// Mean adds the mean over some dimensions.
func (b *Builder) Mean(keep bool, dimensions ...int) *Builder {
	var shape []int
	for i, d := range b.Shape() {
		switch {
		case !slices.Contains(dimensions, i):
			shape = append(shape, d)
		case keep:
			shape = append(shape, 1)
		}
	}
	return b.Op(tflite.Op{
		Code: tflite.Mean, Inputs: []int{b.current, b.Integers(dimensions...)},
		Outputs: []int{b.Activation(shape...)},
		Options: tflite.Options{KeepDims: keep},
	})
}

// Concat adds a concatenation of tensors along a dimension.
func (b *Builder) Concat(dimension int, tensors ...int) *Builder {
	shape := slices.Clone(b.source.Tensors[tensors[0]].Shape)
	shape[dimension] = 0
	for _, t := range tensors {
		shape[dimension] += b.source.Tensors[t].Shape[dimension]
	}
	return b.Op(tflite.Op{
		Code: tflite.Concatenation, Inputs: slices.Clone(tensors),
		Outputs: []int{b.Activation(shape...)}, Options: tflite.Options{Axis: dimension},
	})
}

// Add adds another tensor to the current one.
func (b *Builder) Add(other int) *Builder { return b.Binary(tflite.Add, other) }

// Binary applies an elementwise operator to the current and another tensor,
// which is not larger.
func (b *Builder) Binary(code tflite.Builtin, other int) *Builder {
	return b.Op(tflite.Op{Code: code, Inputs: []int{b.current, other}, Outputs: []int{b.Activation(b.Shape()...)}})
}

// Unary applies an operator whose output has the shape of its only input,
// such as LOGISTIC or QUANTIZE. Change Type before QUANTIZE to change the type.
func (b *Builder) Unary(code tflite.Builtin) *Builder {
	return b.Op(tflite.Op{Code: code, Inputs: []int{b.current}, Outputs: []int{b.Activation(b.Shape()...)}})
}

// Logistic adds a sigmoid.
func (b *Builder) Logistic() *Builder { return b.Unary(tflite.Logistic) }

// Softmax adds a softmax over the last dimension.
func (b *Builder) Softmax() *Builder { return b.Unary(tflite.Softmax) }

// Quantize changes the type of the current tensor, and the builder's.
func (b *Builder) Quantize(to tflite.Type) *Builder {
	b.Type = to
	return b.Unary(tflite.Quantize)
}

// Dequantize makes the current tensor a float32.
func (b *Builder) Dequantize() *Builder {
	out := b.Tensor(tflite.Tensor{Shape: slices.Clone(b.Shape()), Type: tflite.Float32})
	return b.Op(tflite.Op{Code: tflite.Dequantize, Inputs: []int{b.current}, Outputs: []int{out}})
}

// Reshape gives the current tensor another shape.
func (b *Builder) Reshape(shape ...int) *Builder {
	check(product(shape) == product(b.Shape()), "reshape of %v to %v", b.Shape(), shape)
	return b.Op(tflite.Op{
		Code: tflite.Reshape, Inputs: []int{b.current, b.Integers(shape...)},
		Outputs: []int{b.Activation(shape...)},
	})
}

// Pad adds elements before and after each dimension, given in pairs.
func (b *Builder) Pad(pairs ...int) *Builder {
	shape := slices.Clone(b.Shape())
	check(len(pairs) == 2*len(shape), "%d paddings of %d dimensions", len(pairs), len(shape))
	for i := range shape {
		shape[i] += pairs[2*i] + pairs[2*i+1]
	}
	paddings := b.Integers(pairs...)
	b.source.Tensors[paddings].Shape = []int{len(shape), 2}
	return b.Op(tflite.Op{Code: tflite.Pad, Inputs: []int{b.current, paddings}, Outputs: []int{b.Activation(shape...)}})
}

// ResizeBilinear adds an interpolation to another height and width.
func (b *Builder) ResizeBilinear(h, w int) *Builder {
	_, _, c := b.image()
	return b.Op(tflite.Op{Code: tflite.ResizeBilinear, Inputs: []int{b.current, b.Integers(h, w)}, Outputs: []int{b.Activation(1, h, w, c)}})
}

// ResizeNearest adds an enlargement to another height and width by the nearest neighbour.
func (b *Builder) ResizeNearest(h, w int) *Builder {
	_, _, c := b.image()
	return b.Op(tflite.Op{Code: tflite.ResizeNearestNeighbor, Inputs: []int{b.current, b.Integers(h, w)}, Outputs: []int{b.Activation(1, h, w, c)}})
}
