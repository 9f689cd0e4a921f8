package report

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Figures as real logs print them.
func TestFormatSize(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0.00B", 256: "256.00B", 1023: "1023.00B", 1024: "1.00KiB", 1280: "1.25KiB", 186_560: "182.19KiB",
		3_929_344: "3.75MiB", 8_388_608: "8.00MiB",
	} {
		if got := FormatSize(bytes); got != want {
			t.Errorf("%d bytes: %s, want %s", bytes, got, want)
		}
	}
}

func TestParseSize(t *testing.T) {
	got, err := ParseSize(" 6.91 MiB")
	if err != nil {
		t.Fatal(err)
	}
	want := Size{Text: "6.91 MiB", Bytes: 7_245_660, Low: 6.905 * (1 << 20), High: 6.915 * (1 << 20)}
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-3 })
	if diff := cmp.Diff(want, got, near); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "6.91", "MiB", "-1MiB", "1e3MiB", "1.2.3KiB", ".5MiB", "6.91MB", "nanB", "99999999999999MiB"} {
		if _, err := ParseSize(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// The interval of a printed size holds the bytes that were printed.
func TestPrintedIntervalHoldsItsBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 1<<33).Draw(t, "bytes")
		s, err := ParseSize(FormatSize(n))
		if err != nil {
			t.Fatal(err)
		}
		if float64(n) < s.Low-1e-6 || float64(n) > s.High+1e-6 {
			t.Fatalf("%d bytes print as %s, which stands for %v to %v", n, s.Text, s.Low, s.High)
		}
	})
}

// The order of the memory lines is that of the compiler's versions.
func TestPrintOrder(t *testing.T) {
	model := Model{Input: "a.tflite", Output: "a_edgetpu.tflite", OnChip: Exactly(256), Streamed: Exactly(0), Subgraphs: 1, Operations: 3, TPUOperations: 2, CPUOperations: 1}
	old, now := model, model
	old.Available, now.Remaining = Exactly(1024), Exactly(512)
	for _, test := range []struct {
		report Report
		want   []string
	}{
		{Report{Compiler: "1.0.1", Models: []Model{old}}, []string{"Model compiled", "available for caching model parameters: 1.00KiB", "used for caching model parameters: 256.00B", "Off-chip"}},
		{Report{Compiler: "16.0.1", TimeoutS: 180, Models: []Model{now, now}}, []string{"timer of 180 seconds", "Models compiled", "used for caching", "remaining for caching model parameters: 512.00B", "will run on CPU: 1", "Input model"}},
		{Report{Compiler: "15.0.1", Failure: &Failure{"not_quantized", "Model not quantized"}, Models: []Model{{Input: "f.tflite", Failure: &Failure{}}}}, []string{"Invalid model: f.tflite", "Model not quantized"}},
	} {
		var b bytes.Buffer
		if err := Print(&b, &test.report); err != nil {
			t.Fatal(err)
		}
		rest := b.String()
		for _, w := range test.want {
			_, after, ok := strings.Cut(rest, w)
			if !ok {
				t.Fatalf("%q is missing or comes too early in\n%s", w, b.String())
			}
			rest = after
		}
	}
}
