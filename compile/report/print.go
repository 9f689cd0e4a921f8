package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// The compiler's fixed sentences, which publishers wrap and cut.
const (
	notAllText       = "Model successfully compiled but not all operations are supported by the Edge TPU. A percentage of the model will instead run on the CPU, which is slower. If possible, consider updating your model to use only operations supported by the Edge TPU. For details, visit g.co/coral/model-reqs."
	seeLogText       = "See the operation log file for individual operation details."
	childText        = "Compilation child process completed within timeout period."
	silentText       = "Compilation failed!" // 16.0 without a reason
	timeoutText      = "Compilation timeout"
	notQuantizedText = "Model not quantized"
	notParsedText    = "Model could not be parsed"
	internalText     = "Internal compiler error. Aborting!"
)

// Print writes the report in the compiler's own text format, version by
// version: up to 2.0 "available" before "used", later "used" before
// "remaining", in 16.0 with its timer. Lines whose values are not known are
// left out. The operation tables follow the models as with the compiler's flag
// -s; a model without one points to its log file. [Parse] reads the text back.
func Print(w io.Writer, r *Report) error {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if r.Compiler != "" {
		line("Edge TPU Compiler version %s", r.Compiler)
	}
	if r.TimeoutS > 0 {
		line("Started a compilation timeout timer of %d seconds.", r.TimeoutS)
	}
	for _, text := range r.Errors {
		line("ERROR: %s", text)
	}
	for _, text := range r.Warnings {
		line("Warning: %s", text)
	}
	// The compiler checks all models before it compiles the first one; what
	// fails later leaves the segments before it.
	refused := false
	if f := r.Failure; f != nil {
		switch f.Kind {
		case NotQuantized, NotParsed, UnsupportedOpVersion, Usage:
			refused = true
		case Other: // nothing was compiled before it
			refused = r.CompileMS == NotPrinted
		}
	}
	if !refused && (r.CompileMS > 0 || len(r.Models) > 0) {
		if r.CompileMS != NotPrinted {
			line("\n%s compiled successfully in %d ms.", plural("Model", len(r.Models)), r.CompileMS)
		}
		for i := range r.Models {
			printModel(line, &r.Models[i])
		}
	}
	printEnd(line, r)
	_, err := w.Write(b.Bytes())
	return err
}

func plural(noun string, n int) string {
	if n > 1 {
		return noun + "s"
	}
	return noun
}

// printEnd writes how the invocation ended.
func printEnd(line func(string, ...any), r *Report) {
	end := "Compilation succeeded! "
	if f := r.Failure; f != nil {
		switch f.Kind {
		case NotQuantized, NotParsed, UnsupportedOpVersion:
			printRefusals(line, r)
			return
		case ZeroSubgraphs:
		case Cut: // nothing was said
			return
		case Other, Timeout:
			end = silentText + " "
			switch {
			case f.Text == silentText:
			case strings.HasPrefix(f.Text, timeoutText):
				line("%s", f.Text)
			default:
				line("Compilation failed: %s", f.Text)
			}
			if r.TimeoutS == 0 && f.Text == silentText {
				line("%s", end)
			}
		default:
			line("%s", f.Text)
			return
		}
	}
	if r.TimeoutS > 0 {
		line("%s\n%s", childText, end)
	}
}

// printRefusals names the models that the compiler does not take, each with
// the reason. That an op is too new is said among the errors before.
func printRefusals(line func(string, ...any), r *Report) {
	reason := func(f *Failure) string {
		if f.Kind == NotQuantized {
			return notQuantizedText
		}
		return notParsedText
	}
	named := false
	for i := range r.Models {
		f := r.Models[i].Failure
		if f == nil || f.Kind == ZeroSubgraphs {
			continue
		}
		if f.Kind == "" {
			f = r.Failure
		}
		line("Invalid model: %s\n%s", r.Models[i].Input, reason(f))
		named = true
	}
	if !named {
		line("%s", reason(r.Failure))
	}
}

func printModel(line func(string, ...any), m *Model) {
	path := func(label, p string) {
		if p != "" {
			line("%s: %s", label, p)
		}
	}
	size := func(label string, s *Size) {
		if s != nil {
			line("%s: %s", label, s.Text)
		}
	}
	number := func(label string, n int) {
		if n >= 0 {
			line("%s: %d", label, n)
		}
	}
	line("")
	path("Input model", m.Input)
	size("Input size", m.InputSize)
	path("Output model", m.Output)
	size("Output size", m.OutputSize)
	size("On-chip memory available for caching model parameters", m.Available)
	size("On-chip memory used for caching model parameters", m.OnChip)
	size("On-chip memory remaining for caching model parameters", m.Remaining)
	size("Off-chip memory used for streaming uncached model parameters", m.Streamed)
	number("Number of Edge TPU subgraphs", m.Subgraphs)
	number("Total number of operations", m.Operations)
	path("Operation log", m.OperationLog)
	if m.CPUOperations > 0 {
		line("\n%s", notAllText)
		number("Number of operations that will run on Edge TPU", m.TPUOperations)
		number("Number of operations that will run on CPU", m.CPUOperations)
	}
	if len(m.Operators) == 0 {
		line(seeLogText)
		return
	}
	line("\nOperator                       Count      Status\n")
	for _, o := range m.Operators {
		line("%-31s%-11d%s", o.Op, o.Count, o.Status)
	}
}
