// Package tflite says what a TFLite file contains. It decides nothing.
//
// Call [Open] (or [New] for bytes at hand) first; then [File.Source] for what
// was written by a converter and [File.Compiled] for the Edge TPU packages of
// a compiled model. Slices returned alias the file's bytes: a File costs its
// own size in memory and little more, and none of it may be modified.
//
// Files are untrusted. Every offset, count and size is checked against the
// file before it is used; whatever is wrong is reported as a [*FormatError]
// and never as a panic.
package tflite

// Source is the main subgraph of a TFLite model.
type Source struct {
	Description string
	Bytes       int64    // size of the file
	Subgraphs   int      // number of subgraphs in the file; the first is described here
	Tensors     []Tensor // indexed by the numbers in Inputs, Outputs and Op
	Ops         []Op     // in execution order
	Inputs      []int    // graph inputs, tensor numbers
	Outputs     []int    // graph outputs, tensor numbers
}

// Tensor is one tensor. Shape is in the file's order (NHWC, OHWI ...).
type Tensor struct {
	Name       string
	Shape      []int // each >= 0 (a negative dimension is a FormatError)
	Type       Type
	Data       []byte    // constant contents; nil for an activation
	DataBytes  int64     // length of the contents; what the shape asks for unless the tensor is sparse
	Scales     []float32 // none, one, or one for each index of dimension QuantDim
	ZeroPoints []int64
	QuantDim   int
	Variable   bool
}

// Constant reports whether the tensor's contents are in the file.
func (t *Tensor) Constant() bool { return t.DataBytes > 0 }

// Elements is the product of the dimensions (1 for a scalar).
func (t *Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= int64(d)
	}
	return n
}

// Dim returns dimension i counted from the end (Dim(1) is the last one); 1 where the shape is shorter.
func (t *Tensor) Dim(i int) int {
	if i > len(t.Shape) {
		return 1
	}
	return t.Shape[len(t.Shape)-i]
}

// Op is one operator. Inputs holds -1 where an optional input is absent.
type Op struct {
	Code          Builtin
	Custom        string // custom_code, for Code == Custom
	Version       int    // operator version, >= 1
	Inputs        []int
	Outputs       []int
	Options       Options
	CustomOptions []byte
}

// Options is the union of the builtin options that tpuplan reads; a field is
// zero where the operator has no such option. The dilations of CONV_2D and
// DEPTHWISE_CONV_2D are 1 unless the file says otherwise.
type Options struct {
	SamePadding          bool // padding == SAME (false: VALID)
	StrideW, StrideH     int
	DilationW, DilationH int
	DepthMultiplier      int
	FilterW, FilterH     int // pools
	Activation           Activation
	ShuffledWeights      bool // FULLY_CONNECTED weights_format is not DEFAULT
	KeepNumDims          bool
	AlignCorners         bool
	HalfPixel            bool
	BeginMask            int
	EndMask              int
	EllipsisMask         int
	NewAxisMask          int
	ShrinkAxisMask       int
	Axis                 int  // CONCATENATION, PACK
	KeepDims             bool // MEAN, SUM, REDUCE_*
	NumSplits            int  // SPLIT, SPLIT_V
}
