package tflitetest_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// words counts the words of the bias of the last op that are zero, and all.
func words(b *tflitetest.Builder) (zero, all int) {
	data := b.Source().Tensors[b.Last().Inputs[2]].Data
	for ; len(data) > 0; data = data[4:] {
		all++
		if binary.LittleEndian.Uint32(data) == 0 {
			zero++
		}
	}
	return zero, all
}

func TestBiases(t *testing.T) {
	b := tflitetest.New().Input(1, 4, 4, 3).Conv(500, 1, 1, 1, true)
	if zero, all := words(b); zero != 0 || all != 500 {
		t.Errorf("%d of %d words are zero", zero, all)
	}
	b.ZeroBias = true
	b.Depthwise(3, 3, 1, true)
	if zero, all := words(b); zero != 500 || all != 500 {
		t.Errorf("with ZeroBias %d of %d words are zero", zero, all)
	}
}

// Shapes as TensorFlow defines them for SAME and VALID padding.
func TestShapes(t *testing.T) {
	want := map[string][]int{
		"same":    {1, 113, 112, 8},
		"valid":   {1, 56, 54, 8},
		"pooled":  {1, 28, 27, 8},
		"average": {1, 14, 14, 8},
		"padded":  {1, 16, 14, 12},
		"mean":    {1, 12},
	}
	b := tflitetest.New().Input(1, 225, 224, 3)
	shapes := map[string][]int{
		"same":    b.Conv(8, 3, 3, 2, true).Shape(),
		"valid":   b.Conv(8, 3, 5, 2, false).Shape(),
		"pooled":  b.MaxPool(2, 2, false).Shape(),
		"average": b.AvgPool(3, 2, true).Shape(),
		"padded":  b.Pad(0, 0, 1, 1, 0, 0, 4, 0).Shape(),
		"mean":    b.Mean(false, 1, 2).Shape(),
	}
	if diff := cmp.Diff(want, shapes); diff != "" {
		t.Error(diff)
	}
}

func TestPerChannel(t *testing.T) {
	b := tflitetest.New()
	b.Type, b.PerChannel = tflite.Int8, true
	b.Input(1, 4, 4, 3).Conv(6, 1, 1, 1, true)
	weights := b.Source().Tensors[b.Last().Inputs[1]]
	if len(weights.Scales) != 6 || weights.QuantDim != 0 || weights.Type != tflite.Int8 {
		t.Errorf("%d scales along %d, %v", len(weights.Scales), weights.QuantDim, weights.Type)
	}
	b.Depthwise(3, 3, 1, true)
	weights = b.Source().Tensors[b.Last().Inputs[1]]
	if len(weights.Scales) != 6 || weights.QuantDim != 3 {
		t.Errorf("depthwise: %d scales along %d", len(weights.Scales), weights.QuantDim)
	}
}

func TestDeterministic(t *testing.T) {
	if !bytes.Equal(tflitetest.FCSeriesL4(40), tflitetest.FCSeriesL4(40)) {
		t.Error("two calls, two networks")
	}
}

func ExampleBuilder() {
	b := tflitetest.New().Input(1, 32, 32, 3).Conv(16, 3, 3, 2, true).Fuse(tflite.ActivationRelu6)
	left := b.At()
	right := b.Conv(16, 3, 3, 1, true).At()
	b.Concat(3, left, right).Mean(false, 1, 2).FC(10).Softmax()
	f, err := tflite.New("net.tflite", b.Bytes())
	if err != nil {
		panic(err)
	}
	s, _ := f.Source()
	for _, op := range s.Ops {
		fmt.Println(op.Code, s.Tensors[op.Outputs[0]].Shape)
	}
	// Output:
	// CONV_2D [1 16 16 16]
	// CONV_2D [1 16 16 16]
	// CONCATENATION [1 16 16 32]
	// MEAN [1 32]
	// FULLY_CONNECTED [1 10]
	// SOFTMAX [1 10]
}

// A hollow network has the sizes of the one with contents, and no file.
func TestHollow(t *testing.T) {
	build := func(hollow bool) *tflitetest.Builder {
		b := tflitetest.New()
		b.Hollow = hollow
		return b.Input(1, 8, 8, 4).Conv(8, 3, 3, 1, true).FC(10)
	}
	full, hollow := build(false).Source(), build(true).Source()
	for i := range full.Tensors {
		a, b := &full.Tensors[i], &hollow.Tensors[i]
		if a.DataBytes != b.DataBytes {
			t.Errorf("tensor %d has %d bytes, hollow %d", i, a.DataBytes, b.DataBytes)
		}
		if weights := a.Type == tflite.Uint8 && a.DataBytes > 0; weights != (a.DataBytes > 0 && b.Data == nil) {
			t.Errorf("tensor %d: a hollow network lacks the contents of weights alone", i)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a hollow network was written")
		}
	}()
	build(true).Bytes()
}

func TestNoBias(t *testing.T) {
	b := tflitetest.New()
	b.NoBias = true
	for _, op := range b.Input(1, 8, 8, 4).Conv(8, 3, 3, 1, true).Depthwise(3, 3, 1, true).Source().Ops {
		if len(op.Inputs) != 2 {
			t.Errorf("an op has the inputs %v, want two", op.Inputs)
		}
	}
}
