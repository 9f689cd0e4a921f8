package tflite_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
)

func TestBuiltinNames(t *testing.T) {
	for b, want := range map[tflite.Builtin]string{
		0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE",
		9: "FULLY_CONNECTED", 14: "LOGISTIC", 17: "MAX_POOL_2D", 18: "MUL", 22: "RESHAPE", 23: "RESIZE_BILINEAR",
		25: "SOFTMAX", 32: "CUSTOM", 34: "PAD", 39: "TRANSPOSE", 40: "MEAN", 41: "SUB", 44: "UNIDIRECTIONAL_SEQUENCE_LSTM",
		45: "STRIDED_SLICE", 49: "SPLIT", 53: "CAST", 54: "PRELU", 65: "SLICE", 67: "TRANSPOSE_CONV", 83: "PACK",
		97: "RESIZE_NEAREST_NEIGHBOR", 114: "QUANTIZE", 117: "HARD_SWISH", 126: "BATCH_MATMUL", 161: "RIGHT_SHIFT",
		162: "BUILTIN_162", 4000: "BUILTIN_4000", -1: "BUILTIN_-1",
	} {
		if got := b.String(); got != want {
			t.Errorf("%d is %s, want %s", int(b), got, want)
		}
	}
}

// Every operator in the compiler's own tables has a name here.
func TestBuiltinNamesInLogs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testdata.Dir(t), "logs", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d logs, error %v", len(files), err)
	}
	known := map[string]bool{}
	for b := tflite.Builtin(0); b <= tflite.RightShift; b++ {
		known[b.String()] = true
	}
	// Names of the compiler's tables whose operator has another name or none in the schema.
	row := regexp.MustCompile(`(?m)^([A-Z][A-Z0-9_]{2,}) +\d+ +(?:Mapped to Edge TPU|Operation |Tensor has|More than one|Filter, bias)`)
	rows := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range row.FindAllStringSubmatch(string(text), -1) {
			rows++
			if !known[m[1]] {
				t.Errorf("%s: %s has no number", filepath.Base(file), m[1])
			}
		}
	}
	if rows < 50 {
		t.Errorf("only %d rows found", rows)
	}
}

func TestTypeNames(t *testing.T) {
	for typ, want := range map[tflite.Type]string{tflite.Float32: "FLOAT32", tflite.Uint8: "UINT8", tflite.Int8: "INT8", 17: "TYPE_17", -1: "TYPE_-1"} {
		if got := typ.String(); got != want {
			t.Errorf("type %d is %s, want %s", int(typ), got, want)
		}
	}
	for a, want := range map[tflite.Activation]string{0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH", 5: "SIGN_BIT", 6: "ACTIVATION_6"} {
		if got := a.String(); got != want {
			t.Errorf("activation %d is %s, want %s", int(a), got, want)
		}
	}
	for e, want := range map[tflite.ExecutableType]string{0: "stand_alone", 1: "parameter_caching", 2: "execution_only", 3: "type_3"} {
		if got := e.String(); got != want {
			t.Errorf("executable type %d is %s, want %s", int(e), got, want)
		}
	}
}
