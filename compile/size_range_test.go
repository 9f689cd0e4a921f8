package compile

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/internal/known"
	"github.com/tpuplan/tpuplan/internal/testdata"
)

// The range of an LSTM holds what the real compiler made of the public one.
func TestSizeRangeHoldsTheKnownMiss(t *testing.T) {
	c, err := openFile(t, filepath.Join(testdata.Dir(t), "models", "keras_lstm_mnist_ptq_edgetpu.tflite")).Compiled()
	if err != nil {
		t.Fatal(err)
	}
	m := publicModel(t, "keras_lstm_mnist_ptq", Settings{Version: V16_0, MinRuntime: known.MinRuntime})
	least, most := m.Load.Streamed, m.Load.Streamed
	for _, part := range m.Load.Parts {
		low, high := SizeRange(m.Ops[part.Op].Name, part.Certainty)
		least += part.Scaled(low).Bytes
		most += part.Scaled(high).Bytes
	}
	if size := c.CachedBytes() + c.StreamedBytes(); size < least || size > most || most > 2*size {
		t.Errorf("%d to %d bytes, the compiled file has %d", least, most, size)
	}
}

func TestSizeRange(t *testing.T) {
	for _, test := range []struct {
		name      string
		certainty report.Certainty
		low, high float64
	}{
		{"CONV_2D", report.Exact, 1, 1},
		{"CONV_2D", report.Strong, 1, 1},
		{"CONV_2D", report.Heuristic, 0.9, 1.1},
		{"LSTM", report.Heuristic, 1, 5},
		{"UNIDIRECTIONAL_SEQUENCE_LSTM", report.Unknown, 1, 5},
	} {
		if low, high := SizeRange(test.name, test.certainty); low != test.low || high != test.high {
			t.Errorf("%s, %s: %v to %v, want %v to %v", test.name, test.certainty, low, high, test.low, test.high)
		}
	}
}

func TestScaled(t *testing.T) {
	for _, test := range []struct{ part, want Part }{
		{Part{Bytes: 1000, Rows: 5, Class: 1}, Part{Bytes: 1500, Rows: 8, Class: 1}},
		{Part{Bytes: 6144, Rows: 24, Groups: 3, GroupRows: 8}, Part{Bytes: 9216, Rows: 36, Groups: 3, GroupRows: 12}},
		{Part{}, Part{}},
	} {
		if diff := cmp.Diff(test.want, test.part.Scaled(1.5)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(test.part, test.part.Scaled(1)); diff != "" {
			t.Errorf("once the size: %s", diff)
		}
	}
}
