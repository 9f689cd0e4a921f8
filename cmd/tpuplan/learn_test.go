package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
)

// The operation log that the compiler writes beside its output says which ops
// run where, but only if it is of the same compile.
func TestOperationLog(t *testing.T) {
	const log = `Edge TPU Compiler version 16.0.384591198
Input: m.tflite
Output: build/m_edgetpu.tflite

Operator                       Count      Status

CONV_2D                        2          Mapped to Edge TPU
SOFTMAX                        1          Operation is working on an unsupported data type
`
	const printed = `Edge TPU Compiler version 16.0.384591198
Model compiled successfully in 5 ms.
Input model: m.tflite
Output model: build/m_edgetpu.tflite
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 3
Operation log: build/m_edgetpu.log

Model successfully compiled but not all operations are supported by the Edge TPU. A percentage of the model will instead run on the CPU, which is slower. If possible, consider updating your model to use only operations supported by the Edge TPU. For details, visit g.co/coral/model-reqs.
Number of operations that will run on Edge TPU: 2
Number of operations that will run on CPU: 1
See the operation log file for individual operation details.
`
	dir := t.TempDir()
	output := filepath.Join(dir, "m_edgetpu.tflite")
	model := compile.Candidate{File: "m.tflite", SHA256: strings.Repeat("a", 64)}
	s := compile.Settings{Version: compile.V16_0}
	read := func(printed string) []compile.OperatorFact {
		reports, err := report.Parse("x.log", strings.NewReader(printed))
		if err != nil {
			t.Fatal(err)
		}
		if f := operationLog(output, s, model, &reports[0]); f != nil {
			return f.Models[0].Operators
		}
		return nil
	}
	if got := read(printed); got != nil {
		t.Errorf("without a log: %+v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "m_edgetpu.log"), []byte(log), 0o644); err != nil {
		t.Fatal(err)
	}
	want := []compile.OperatorFact{{Op: "CONV_2D", Count: 2, Status: compile.StatusMapped}, {Op: "SOFTMAX", Count: 1, Status: "Operation is working on an unsupported data type"}}
	if diff := cmp.Diff(want, read(printed)); diff != "" {
		t.Error(diff)
	}
	other := strings.NewReplacer("on Edge TPU: 2", "on Edge TPU: 1", "on CPU: 1", "on CPU: 2").Replace(printed)
	if got := read(other); got != nil {
		t.Errorf("of another compile: %+v", got)
	}
	s.Version = compile.V15_0
	if got := read(printed); got != nil {
		t.Errorf("of another release: %+v", got)
	}
}
