package report

import (
	"bytes"
	"fmt"
	"io"
)

// Print writes the report in the compiler's own text format, version by
// version: up to 2.0 "available" before "used", later "used" before
// "remaining", in 16.0 with its timer. Lines whose numbers are not known are left out.
// The operation tables follow the models as with the compiler's flag -s.
func Print(w io.Writer, r *Report) error {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	size := func(label string, s *Size) {
		if s != nil {
			line("%s: %s", label, s.Text)
		}
	}
	line("Edge TPU Compiler version %s", r.Compiler)
	if r.TimeoutS > 0 {
		line("Started a compilation timeout timer of %d seconds.", r.TimeoutS)
	}
	if f := r.Failure; f != nil && f.Kind != "zero_subgraphs" {
		for _, m := range r.Models {
			if m.Failure != nil {
				line("Invalid model: %s", m.Input)
			}
		}
		line("%s", f.Text)
		_, err := w.Write(b.Bytes())
		return err
	}
	what := "Model"
	if len(r.Models) > 1 {
		what = "Models"
	}
	line("\n%s compiled successfully in %d ms.", what, r.CompileMS)
	for i := range r.Models {
		m := &r.Models[i]
		line("\nInput model: %s", m.Input)
		size("Input size", m.InputSize)
		line("Output model: %s", m.Output)
		size("Output size", m.OutputSize)
		size("On-chip memory available for caching model parameters", m.Available)
		size("On-chip memory used for caching model parameters", m.OnChip)
		size("On-chip memory remaining for caching model parameters", m.Remaining)
		size("Off-chip memory used for streaming uncached model parameters", m.Streamed)
		line("Number of Edge TPU subgraphs: %d", m.Subgraphs)
		line("Total number of operations: %d", m.Operations)
		if m.OperationLog != "" {
			line("Operation log: %s", m.OperationLog)
		}
		if m.CPUOperations > 0 {
			line("\nModel successfully compiled but not all operations are supported by the Edge TPU. A percentage of the model will instead run on the CPU, which is slower. If possible, consider updating your model to use only operations supported by the Edge TPU. For details, visit g.co/coral/model-reqs.")
			line("Number of operations that will run on Edge TPU: %d", m.TPUOperations)
			line("Number of operations that will run on CPU: %d", m.CPUOperations)
		}
		if len(m.Operators) > 0 {
			line("\nOperator                       Count      Status\n")
			for _, o := range m.Operators {
				line("%-31s%-11d%s", o.Op, o.Count, o.Status)
			}
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}
