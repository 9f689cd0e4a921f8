package report

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestCompare(t *testing.T) {
	predicted := func() *Report {
		return &Report{Compiler: "16.0.1", Models: []Model{
			{Input: "models/a.tflite", OnChip: Exactly(3_929_344), Streamed: Exactly(0), Remaining: Exactly(4096), Subgraphs: 1, Operations: 3, TPUOperations: 3, Operators: []Operator{{"ADD", 1, "Mapped to Edge TPU"}, {"CONV_2D", 2, "Mapped to Edge TPU"}}},
			{Input: "models/b.tflite", OnChip: Exactly(256), Streamed: Exactly(64), Remaining: Exactly(4096), Subgraphs: 1, Operations: 1, TPUOperations: 1},
		}}
	}
	const text = `Edge TPU Compiler version 16.0.384591198
Models compiled successfully in 10 ms.
Input model: a.tflite
Input size: 4.00MiB
On-chip memory used for caching model parameters: 3.75MiB
On-chip memory remaining for caching model parameters: 4.00KiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 3
Operator                       Count      Status
CONV_2D                        2          Mapped to Edge TPU
ADD                            1          Mapped to Edge TPU
Input model: b.tflite
On-chip memory used for caching model parameters: 256.00B
On-chip memory remaining for caching model parameters: 4.00KiB
Off-chip memory used for streaming uncached model parameters: 64.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 1
`
	for _, test := range []struct {
		name     string
		from, to string // in the text
		want     []string
	}{
		{"as predicted", "", "", nil},
		// 3.75 MiB stands for 3,926,917 to 3,937,402 bytes: 3.76 MiB begins 8,058 bytes above 3,929,344.
		{"size outside the rounding", "3.75MiB", "3.76MiB", []string{`model "models/a.tflite": on_chip_bytes: predicted 3.75MiB, the compiler says 3.76MiB (+8059 bytes)`}},
		{"size of bytes", "64.00B", "0.00B", []string{`model "models/b.tflite": streamed_bytes: predicted 64.00B, the compiler says 0.00B (-64 bytes)`}},
		{"coarser figure", "3.75MiB", "3.7 MiB", nil},
		{"line that is missing", "Off-chip memory used for streaming uncached model parameters: 64.00B\n", "", nil},
		{"counts", "subgraphs: 1\nTotal number of operations: 3", "subgraphs: 2\nTotal number of operations: 4\nNumber of operations that will run on CPU: 1", []string{
			`model "models/a.tflite": subgraphs: predicted 1, the compiler says 2`,
			`model "models/a.tflite": operations: predicted 3, the compiler says 4`,
			`model "models/a.tflite": cpu_operations: predicted 0, the compiler says 1`,
		}},
		{"table", "ADD                            1          Mapped to Edge TPU", "ADD                            1          Operation not supported", []string{
			`model "models/a.tflite": operators of ADD "Mapped to Edge TPU": predicted 1, the compiler says 0`,
			`model "models/a.tflite": operators of ADD "Operation not supported": predicted 0, the compiler says 1`,
		}},
		{"table that was cut", "ADD                            1          Mapped to Edge TPU\n", "", nil},
		{"release", "16.0.384591198", "15.0.340273435", []string{"compiler: predicted 16.0.1, the compiler says 15.0.340273435"}},
		{"another model", "b.tflite", "c.tflite", []string{
			`model "models/b.tflite": models: predicted a model, the compiler says none`,
			`model "c.tflite": models: predicted none, the compiler says a model`,
		}},
		{"nothing mapped", "subgraphs: 1\nTotal number of operations: 1", "subgraphs: 0", []string{
			`failure: predicted none, the compiler says zero_subgraphs ("Number of Edge TPU subgraphs: 0")`,
			`model "models/b.tflite": subgraphs: predicted 1, the compiler says 0`,
			`model "models/b.tflite": failure: predicted none, the compiler says zero_subgraphs ("Number of Edge TPU subgraphs: 0")`,
		}},
		{"refused", text, "Edge TPU Compiler version 16.0.384591198\nInternal compiler error. Aborting!\n", []string{
			`failure: predicted none, the compiler says internal ("Internal compiler error. Aborting!")`,
		}},
		{"cut before the result", text, "Edge TPU Compiler version 16.0.384591198\n", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, d := range Compare(predicted(), read(t, strings.Replace(text, test.from, test.to, 1))) {
				got = append(got, d.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			swapped := read(t, strings.Replace(text, test.from, test.to, 1))
			slices.Reverse(swapped.Models)
			if d := Compare(predicted(), swapped); len(d) != len(test.want) {
				t.Errorf("with the models in another order: %v", d)
			}
		})
	}
}

// A prediction differs in nothing from what it prints, though the text has
// only two decimals; and a size moved by more than the rounding is found.
func TestCompareWithItsOwnText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		predicted := randomReport(t)
		if predicted.Failure != nil && predicted.Failure.Kind != ZeroSubgraphs {
			t.Skip()
		}
		for i := range predicted.Models {
			m := &predicted.Models[i]
			m.OnChip = Exactly(256 * rapid.Int64Range(0, 1<<15).Draw(t, "rows"))
			m.Streamed = Exactly(rapid.Int64Range(0, 1<<26).Draw(t, "streamed"))
		}
		var b bytes.Buffer
		if err := Print(&b, predicted); err != nil {
			t.Fatal(err)
		}
		reports, err := Parse("x.log", &b)
		if err != nil {
			t.Fatal(err)
		}
		got := &reports[0]
		if d := Compare(predicted, got); len(d) > 0 {
			t.Fatalf("%v", d)
		}
		m := &predicted.Models[rapid.IntRange(0, len(predicted.Models)-1).Draw(t, "which")]
		m.OnChip = Exactly(m.OnChip.Bytes + 11_000) // two decimals of a MiB are 10,486 bytes
		d := Compare(predicted, got)
		if len(d) != 1 || d[0].Model != m.Input || d[0].Field != "on_chip_bytes" || d[0].Bytes >= 0 {
			t.Fatalf("%v", d)
		}
	})
}
