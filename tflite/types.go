package tflite

import "strconv"

// Type is a tensor's element type, numbered as in TFLite's schema.
type Type int8

// Element types that tpuplan names; other numbers print as TYPE_n.
const (
	Float32 Type = 0
	Float16 Type = 1
	Int32   Type = 2
	Uint8   Type = 3
	Int64   Type = 4
	String  Type = 5
	Bool    Type = 6
	Int16   Type = 7
	Int8    Type = 9
	Float64 Type = 10
)

var types = map[Type]struct {
	name string
	size int64 // bytes of an element; 0 where elements have no fixed size
}{
	Float32: {"FLOAT32", 4},
	Float16: {"FLOAT16", 2},
	Int32:   {"INT32", 4},
	Uint8:   {"UINT8", 1},
	Int64:   {"INT64", 8},
	String:  {"STRING", 0},
	Bool:    {"BOOL", 1},
	Int16:   {"INT16", 2},
	Int8:    {"INT8", 1},
	Float64: {"FLOAT64", 8},
}

// String is the type's name in the schema, such as UINT8.
func (t Type) String() string {
	if known, ok := types[t]; ok {
		return known.name
	}
	return "TYPE_" + strconv.Itoa(int(t))
}

// Size is the number of bytes of an element, 0 for strings and for types that tpuplan does not name.
func (t Type) Size() int64 { return types[t].size }

// Activation is a function fused into an operator, numbered as in TFLite's schema.
type Activation int8

// The fused activations.
const (
	ActivationNone      Activation = 0
	ActivationRelu      Activation = 1
	ActivationReluN1To1 Activation = 2
	ActivationRelu6     Activation = 3
	ActivationTanh      Activation = 4
	ActivationSignBit   Activation = 5
)

var activationNames = [...]string{"NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT"}

// String is the activation's name in the schema, such as RELU6.
func (a Activation) String() string {
	if a >= 0 && int(a) < len(activationNames) {
		return activationNames[a]
	}
	return "ACTIVATION_" + strconv.Itoa(int(a))
}
