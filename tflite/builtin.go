package tflite

import "strconv"

// Builtin is an operator's number in TFLite's schema.
type Builtin int32

// The builtin operators, with the numbers of TensorFlow's public schema. Custom is any operator
// that goes by a name instead ([Op].Custom).
const (
	Add                          Builtin = 0
	AveragePool2D                Builtin = 1
	Concatenation                Builtin = 2
	Conv2D                       Builtin = 3
	DepthwiseConv2D              Builtin = 4
	DepthToSpace                 Builtin = 5
	Dequantize                   Builtin = 6
	EmbeddingLookup              Builtin = 7
	Floor                        Builtin = 8
	FullyConnected               Builtin = 9
	HashtableLookup              Builtin = 10
	L2Normalization              Builtin = 11
	L2Pool2D                     Builtin = 12
	LocalResponseNormalization   Builtin = 13
	Logistic                     Builtin = 14
	LSHProjection                Builtin = 15
	LSTM                         Builtin = 16
	MaxPool2D                    Builtin = 17
	Mul                          Builtin = 18
	Relu                         Builtin = 19
	ReluN1To1                    Builtin = 20
	Relu6                        Builtin = 21
	Reshape                      Builtin = 22
	ResizeBilinear               Builtin = 23
	RNN                          Builtin = 24
	Softmax                      Builtin = 25
	SpaceToDepth                 Builtin = 26
	SVDF                         Builtin = 27
	Tanh                         Builtin = 28
	ConcatEmbeddings             Builtin = 29
	SkipGram                     Builtin = 30
	Call                         Builtin = 31
	Custom                       Builtin = 32
	EmbeddingLookupSparse        Builtin = 33
	Pad                          Builtin = 34
	UnidirectionalSequenceRNN    Builtin = 35
	Gather                       Builtin = 36
	BatchToSpaceND               Builtin = 37
	SpaceToBatchND               Builtin = 38
	Transpose                    Builtin = 39
	Mean                         Builtin = 40
	Sub                          Builtin = 41
	Div                          Builtin = 42
	Squeeze                      Builtin = 43
	UnidirectionalSequenceLSTM   Builtin = 44
	StridedSlice                 Builtin = 45
	BidirectionalSequenceRNN     Builtin = 46
	Exp                          Builtin = 47
	TopKV2                       Builtin = 48
	Split                        Builtin = 49
	LogSoftmax                   Builtin = 50
	Delegate                     Builtin = 51
	BidirectionalSequenceLSTM    Builtin = 52
	Cast                         Builtin = 53
	PRelu                        Builtin = 54
	Maximum                      Builtin = 55
	ArgMax                       Builtin = 56
	Minimum                      Builtin = 57
	Less                         Builtin = 58
	Neg                          Builtin = 59
	PadV2                        Builtin = 60
	Greater                      Builtin = 61
	GreaterEqual                 Builtin = 62
	LessEqual                    Builtin = 63
	Select                       Builtin = 64
	Slice                        Builtin = 65
	Sin                          Builtin = 66
	TransposeConv                Builtin = 67
	SparseToDense                Builtin = 68
	Tile                         Builtin = 69
	ExpandDims                   Builtin = 70
	Equal                        Builtin = 71
	NotEqual                     Builtin = 72
	Log                          Builtin = 73
	Sum                          Builtin = 74
	Sqrt                         Builtin = 75
	Rsqrt                        Builtin = 76
	Shape                        Builtin = 77
	Pow                          Builtin = 78
	ArgMin                       Builtin = 79
	FakeQuant                    Builtin = 80
	ReduceProd                   Builtin = 81
	ReduceMax                    Builtin = 82
	Pack                         Builtin = 83
	LogicalOr                    Builtin = 84
	OneHot                       Builtin = 85
	LogicalAnd                   Builtin = 86
	LogicalNot                   Builtin = 87
	Unpack                       Builtin = 88
	ReduceMin                    Builtin = 89
	FloorDiv                     Builtin = 90
	ReduceAny                    Builtin = 91
	Square                       Builtin = 92
	ZerosLike                    Builtin = 93
	Fill                         Builtin = 94
	FloorMod                     Builtin = 95
	Range                        Builtin = 96
	ResizeNearestNeighbor        Builtin = 97
	LeakyRelu                    Builtin = 98
	SquaredDifference            Builtin = 99
	MirrorPad                    Builtin = 100
	Abs                          Builtin = 101
	SplitV                       Builtin = 102
	Unique                       Builtin = 103
	Ceil                         Builtin = 104
	ReverseV2                    Builtin = 105
	AddN                         Builtin = 106
	GatherND                     Builtin = 107
	Cos                          Builtin = 108
	Where                        Builtin = 109
	Rank                         Builtin = 110
	Elu                          Builtin = 111
	ReverseSequence              Builtin = 112
	MatrixDiag                   Builtin = 113
	Quantize                     Builtin = 114
	MatrixSetDiag                Builtin = 115
	Round                        Builtin = 116
	HardSwish                    Builtin = 117
	If                           Builtin = 118
	While                        Builtin = 119
	NonMaxSuppressionV4          Builtin = 120
	NonMaxSuppressionV5          Builtin = 121
	ScatterND                    Builtin = 122
	SelectV2                     Builtin = 123
	Densify                      Builtin = 124
	SegmentSum                   Builtin = 125
	BatchMatMul                  Builtin = 126
	PlaceholderForGreaterOpCodes Builtin = 127
	Cumsum                       Builtin = 128
	CallOnce                     Builtin = 129
	BroadcastTo                  Builtin = 130
	RFFT2D                       Builtin = 131
	Conv3D                       Builtin = 132
	Imag                         Builtin = 133
	Real                         Builtin = 134
	ComplexAbs                   Builtin = 135
	Hashtable                    Builtin = 136
	HashtableFind                Builtin = 137
	HashtableImport              Builtin = 138
	HashtableSize                Builtin = 139
	ReduceAll                    Builtin = 140
	Conv3DTranspose              Builtin = 141
	VarHandle                    Builtin = 142
	ReadVariable                 Builtin = 143
	AssignVariable               Builtin = 144
	BroadcastArgs                Builtin = 145
	RandomStandardNormal         Builtin = 146
	Bucketize                    Builtin = 147
	RandomUniform                Builtin = 148
	Multinomial                  Builtin = 149
	Gelu                         Builtin = 150
	DynamicUpdateSlice           Builtin = 151
	Relu0To1                     Builtin = 152
	UnsortedSegmentProd          Builtin = 153
	UnsortedSegmentMax           Builtin = 154
	UnsortedSegmentSum           Builtin = 155
	Atan2                        Builtin = 156
	UnsortedSegmentMin           Builtin = 157
	Sign                         Builtin = 158
	Bitcast                      Builtin = 159
	BitwiseXor                   Builtin = 160
	RightShift                   Builtin = 161
)

var builtinNames = [...]string{
	Add:                          "ADD",
	AveragePool2D:                "AVERAGE_POOL_2D",
	Concatenation:                "CONCATENATION",
	Conv2D:                       "CONV_2D",
	DepthwiseConv2D:              "DEPTHWISE_CONV_2D",
	DepthToSpace:                 "DEPTH_TO_SPACE",
	Dequantize:                   "DEQUANTIZE",
	EmbeddingLookup:              "EMBEDDING_LOOKUP",
	Floor:                        "FLOOR",
	FullyConnected:               "FULLY_CONNECTED",
	HashtableLookup:              "HASHTABLE_LOOKUP",
	L2Normalization:              "L2_NORMALIZATION",
	L2Pool2D:                     "L2_POOL_2D",
	LocalResponseNormalization:   "LOCAL_RESPONSE_NORMALIZATION",
	Logistic:                     "LOGISTIC",
	LSHProjection:                "LSH_PROJECTION",
	LSTM:                         "LSTM",
	MaxPool2D:                    "MAX_POOL_2D",
	Mul:                          "MUL",
	Relu:                         "RELU",
	ReluN1To1:                    "RELU_N1_TO_1",
	Relu6:                        "RELU6",
	Reshape:                      "RESHAPE",
	ResizeBilinear:               "RESIZE_BILINEAR",
	RNN:                          "RNN",
	Softmax:                      "SOFTMAX",
	SpaceToDepth:                 "SPACE_TO_DEPTH",
	SVDF:                         "SVDF",
	Tanh:                         "TANH",
	ConcatEmbeddings:             "CONCAT_EMBEDDINGS",
	SkipGram:                     "SKIP_GRAM",
	Call:                         "CALL",
	Custom:                       "CUSTOM",
	EmbeddingLookupSparse:        "EMBEDDING_LOOKUP_SPARSE",
	Pad:                          "PAD",
	UnidirectionalSequenceRNN:    "UNIDIRECTIONAL_SEQUENCE_RNN",
	Gather:                       "GATHER",
	BatchToSpaceND:               "BATCH_TO_SPACE_ND",
	SpaceToBatchND:               "SPACE_TO_BATCH_ND",
	Transpose:                    "TRANSPOSE",
	Mean:                         "MEAN",
	Sub:                          "SUB",
	Div:                          "DIV",
	Squeeze:                      "SQUEEZE",
	UnidirectionalSequenceLSTM:   "UNIDIRECTIONAL_SEQUENCE_LSTM",
	StridedSlice:                 "STRIDED_SLICE",
	BidirectionalSequenceRNN:     "BIDIRECTIONAL_SEQUENCE_RNN",
	Exp:                          "EXP",
	TopKV2:                       "TOPK_V2",
	Split:                        "SPLIT",
	LogSoftmax:                   "LOG_SOFTMAX",
	Delegate:                     "DELEGATE",
	BidirectionalSequenceLSTM:    "BIDIRECTIONAL_SEQUENCE_LSTM",
	Cast:                         "CAST",
	PRelu:                        "PRELU",
	Maximum:                      "MAXIMUM",
	ArgMax:                       "ARG_MAX",
	Minimum:                      "MINIMUM",
	Less:                         "LESS",
	Neg:                          "NEG",
	PadV2:                        "PADV2",
	Greater:                      "GREATER",
	GreaterEqual:                 "GREATER_EQUAL",
	LessEqual:                    "LESS_EQUAL",
	Select:                       "SELECT",
	Slice:                        "SLICE",
	Sin:                          "SIN",
	TransposeConv:                "TRANSPOSE_CONV",
	SparseToDense:                "SPARSE_TO_DENSE",
	Tile:                         "TILE",
	ExpandDims:                   "EXPAND_DIMS",
	Equal:                        "EQUAL",
	NotEqual:                     "NOT_EQUAL",
	Log:                          "LOG",
	Sum:                          "SUM",
	Sqrt:                         "SQRT",
	Rsqrt:                        "RSQRT",
	Shape:                        "SHAPE",
	Pow:                          "POW",
	ArgMin:                       "ARG_MIN",
	FakeQuant:                    "FAKE_QUANT",
	ReduceProd:                   "REDUCE_PROD",
	ReduceMax:                    "REDUCE_MAX",
	Pack:                         "PACK",
	LogicalOr:                    "LOGICAL_OR",
	OneHot:                       "ONE_HOT",
	LogicalAnd:                   "LOGICAL_AND",
	LogicalNot:                   "LOGICAL_NOT",
	Unpack:                       "UNPACK",
	ReduceMin:                    "REDUCE_MIN",
	FloorDiv:                     "FLOOR_DIV",
	ReduceAny:                    "REDUCE_ANY",
	Square:                       "SQUARE",
	ZerosLike:                    "ZEROS_LIKE",
	Fill:                         "FILL",
	FloorMod:                     "FLOOR_MOD",
	Range:                        "RANGE",
	ResizeNearestNeighbor:        "RESIZE_NEAREST_NEIGHBOR",
	LeakyRelu:                    "LEAKY_RELU",
	SquaredDifference:            "SQUARED_DIFFERENCE",
	MirrorPad:                    "MIRROR_PAD",
	Abs:                          "ABS",
	SplitV:                       "SPLIT_V",
	Unique:                       "UNIQUE",
	Ceil:                         "CEIL",
	ReverseV2:                    "REVERSE_V2",
	AddN:                         "ADD_N",
	GatherND:                     "GATHER_ND",
	Cos:                          "COS",
	Where:                        "WHERE",
	Rank:                         "RANK",
	Elu:                          "ELU",
	ReverseSequence:              "REVERSE_SEQUENCE",
	MatrixDiag:                   "MATRIX_DIAG",
	Quantize:                     "QUANTIZE",
	MatrixSetDiag:                "MATRIX_SET_DIAG",
	Round:                        "ROUND",
	HardSwish:                    "HARD_SWISH",
	If:                           "IF",
	While:                        "WHILE",
	NonMaxSuppressionV4:          "NON_MAX_SUPPRESSION_V4",
	NonMaxSuppressionV5:          "NON_MAX_SUPPRESSION_V5",
	ScatterND:                    "SCATTER_ND",
	SelectV2:                     "SELECT_V2",
	Densify:                      "DENSIFY",
	SegmentSum:                   "SEGMENT_SUM",
	BatchMatMul:                  "BATCH_MATMUL",
	PlaceholderForGreaterOpCodes: "PLACEHOLDER_FOR_GREATER_OP_CODES",
	Cumsum:                       "CUMSUM",
	CallOnce:                     "CALL_ONCE",
	BroadcastTo:                  "BROADCAST_TO",
	RFFT2D:                       "RFFT2D",
	Conv3D:                       "CONV_3D",
	Imag:                         "IMAG",
	Real:                         "REAL",
	ComplexAbs:                   "COMPLEX_ABS",
	Hashtable:                    "HASHTABLE",
	HashtableFind:                "HASHTABLE_FIND",
	HashtableImport:              "HASHTABLE_IMPORT",
	HashtableSize:                "HASHTABLE_SIZE",
	ReduceAll:                    "REDUCE_ALL",
	Conv3DTranspose:              "CONV_3D_TRANSPOSE",
	VarHandle:                    "VAR_HANDLE",
	ReadVariable:                 "READ_VARIABLE",
	AssignVariable:               "ASSIGN_VARIABLE",
	BroadcastArgs:                "BROADCAST_ARGS",
	RandomStandardNormal:         "RANDOM_STANDARD_NORMAL",
	Bucketize:                    "BUCKETIZE",
	RandomUniform:                "RANDOM_UNIFORM",
	Multinomial:                  "MULTINOMIAL",
	Gelu:                         "GELU",
	DynamicUpdateSlice:           "DYNAMIC_UPDATE_SLICE",
	Relu0To1:                     "RELU_0_TO_1",
	UnsortedSegmentProd:          "UNSORTED_SEGMENT_PROD",
	UnsortedSegmentMax:           "UNSORTED_SEGMENT_MAX",
	UnsortedSegmentSum:           "UNSORTED_SEGMENT_SUM",
	Atan2:                        "ATAN2",
	UnsortedSegmentMin:           "UNSORTED_SEGMENT_MIN",
	Sign:                         "SIGN",
	Bitcast:                      "BITCAST",
	BitwiseXor:                   "BITWISE_XOR",
	RightShift:                   "RIGHT_SHIFT",
}

// String is the operator's name in the schema, such as CONV_2D, and BUILTIN_n
// for a number that has no name here.
func (b Builtin) String() string {
	if b >= 0 && int(b) < len(builtinNames) {
		return builtinNames[b]
	}
	return "BUILTIN_" + strconv.Itoa(int(b))
}
