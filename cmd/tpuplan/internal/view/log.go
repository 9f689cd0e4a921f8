package view

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/compile/report"
)

type logJSON struct {
	Schema      string           `json:"schema"`
	Invocations []invocationJSON `json:"invocations"`
	Learnt      *learntJSON      `json:"learnt,omitempty"`
}

type invocationJSON struct {
	File         string          `json:"file"`
	Command      string          `json:"command,omitempty"`
	Compiler     string          `json:"compiler,omitempty"`
	CompileMS    *int64          `json:"compile_ms,omitempty"`
	TimeoutS     int64           `json:"timeout_s,omitempty"`
	Models       []loggedJSON    `json:"models"`
	Failure      *report.Failure `json:"failure,omitempty"`
	Warnings     []string        `json:"warnings"`
	Errors       []string        `json:"errors,omitempty"`
	Attempts     []attemptJSON   `json:"attempts,omitempty"`
	UnknownLines []lineJSON      `json:"unknown_lines"`
	Notes        []string        `json:"notes,omitempty"`
	Rules        map[string]int  `json:"rules"`
}

type loggedJSON struct {
	Input          string            `json:"input,omitempty"`
	Output         string            `json:"output,omitempty"`
	InputBytes     *int64            `json:"input_bytes,omitempty"`
	OutputBytes    *int64            `json:"output_bytes,omitempty"`
	AvailableBytes *int64            `json:"available_bytes,omitempty"`
	RemainingBytes *int64            `json:"remaining_bytes,omitempty"`
	OnChipBytes    *int64            `json:"on_chip_bytes,omitempty"`
	StreamedBytes  *int64            `json:"streamed_bytes,omitempty"`
	Printed        map[string]string `json:"printed,omitempty"`
	Subgraphs      *int              `json:"subgraphs,omitempty"`
	Operations     *int              `json:"operations,omitempty"`
	TPUOperations  *int              `json:"tpu_operations,omitempty"`
	CPUOperations  *int              `json:"cpu_operations,omitempty"`
	OperationLog   string            `json:"operation_log,omitempty"`
	Operators      []operatorJSON    `json:"operators,omitempty"`
	Failure        *report.Failure   `json:"failure,omitempty"`
}

type operatorJSON struct {
	Op     string `json:"op"`
	Count  int    `json:"count"`
	Status string `json:"status"`
}

type attemptJSON struct {
	Step                int             `json:"step,omitempty"`
	Ops                 int             `json:"ops,omitempty"`
	IntermediateTensors []string        `json:"intermediate_tensors,omitempty"`
	CompileMS           *int64          `json:"compile_ms,omitempty"`
	Succeeded           bool            `json:"succeeded"`
	Failure             *report.Failure `json:"failure,omitempty"`
}

type lineJSON struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

// LogJSON is the object tpuplan/log/v1. l is nil unless something was to be learnt.
func LogJSON(reports []report.Report, l *Learnt) []byte {
	out := logJSON{Schema: "tpuplan/log/v1", Invocations: []invocationJSON{}, Learnt: l.json()}
	for i := range reports {
		r := &reports[i]
		x := invocationJSON{
			File: r.Source.File, Command: r.Source.Command, Compiler: r.Compiler, CompileMS: printed(r.CompileMS), TimeoutS: r.TimeoutS,
			Models: []loggedJSON{}, Failure: r.Failure, Warnings: append([]string{}, r.Warnings...), Errors: r.Errors,
			UnknownLines: []lineJSON{}, Notes: r.Source.Notes, Rules: r.Source.Rules(),
		}
		for k := range r.Models {
			x.Models = append(x.Models, newLoggedJSON(&r.Models[k]))
		}
		for _, a := range r.Source.Attempts {
			y := attemptJSON{Step: a.Step, Ops: a.Ops, CompileMS: printed(a.CompileMS), Succeeded: a.Succeeded, Failure: a.Failure}
			if a.Tensors != "" {
				y.IntermediateTensors = strings.Split(a.Tensors, ",")
			}
			x.Attempts = append(x.Attempts, y)
		}
		for _, l := range r.Source.Unknown {
			x.UnknownLines = append(x.UnknownLines, lineJSON{l.Number, l.Text})
		}
		out.Invocations = append(out.Invocations, x)
	}
	return encode(out)
}

// printed is a number that the text contains, nil otherwise.
func printed[T int | int64](n T) *T {
	if n == report.NotPrinted {
		return nil
	}
	return &n
}

func newLoggedJSON(m *report.Model) loggedJSON {
	x := loggedJSON{
		Input: m.Input, Output: m.Output, OperationLog: m.OperationLog, Failure: m.Failure,
		Subgraphs: printed(m.Subgraphs), Operations: printed(m.Operations),
		TPUOperations: printed(m.TPUOperations), CPUOperations: printed(m.CPUOperations),
	}
	for _, f := range []struct {
		name string
		size *report.Size
		to   **int64
	}{
		{"input_bytes", m.InputSize, &x.InputBytes},
		{"output_bytes", m.OutputSize, &x.OutputBytes},
		{"available_bytes", m.Available, &x.AvailableBytes},
		{"remaining_bytes", m.Remaining, &x.RemainingBytes},
		{"on_chip_bytes", m.OnChip, &x.OnChipBytes},
		{"streamed_bytes", m.Streamed, &x.StreamedBytes},
	} {
		if f.size == nil {
			continue
		}
		*f.to = &f.size.Bytes
		if x.Printed == nil {
			x.Printed = map[string]string{}
		}
		x.Printed[f.name] = f.size.Text
	}
	for _, o := range m.Operators {
		x.Operators = append(x.Operators, operatorJSON(o))
	}
	return x
}

// Log is the summary of compiler output: one block for each invocation.
func Log(reports []report.Report, l *Learnt, s Style) []byte {
	var b bytes.Buffer
	for i := range reports {
		if i > 0 {
			b.WriteString("\n")
		}
		logged(&b, s, &reports[i])
	}
	learnt(&b, s, l)
	return b.Bytes()
}

// shownUnknown is how many unknown lines a summary shows; JSON has them all.
const shownUnknown = 3

func logged(b *bytes.Buffer, s Style, r *report.Report) {
	b.WriteString(s.bold(shorten(Visible(r.Source.File), s.Width)) + "\n")
	head := cmp.Or(r.Compiler, "of unknown version") + ": " + count(len(r.Models), "model")
	if r.CompileMS > 0 {
		head += fmt.Sprintf(", compiled in %d ms", r.CompileMS)
	}
	paragraph(b, s, "edgetpu_compiler ", head)
	if r.Failure != nil {
		paragraph(b, s, "failed: ", r.Failure.Kind+": "+r.Failure.Text)
	}
	if len(r.Models) > 0 {
		b.WriteString("\n")
		loggedModels(b, s, r)
	}
	for _, e := range r.Errors {
		paragraph(b, s, "error: ", e)
	}
	for _, w := range r.Warnings {
		paragraph(b, s, "warning: ", w)
	}
	for _, a := range r.Source.Attempts {
		how := "not finished in this text"
		switch {
		case a.Succeeded:
			how = "compiled"
		case a.Failure != nil:
			how = a.Failure.Text
		}
		paragraph(b, s, "attempt: ", fmt.Sprintf("%s: %s", count(a.Ops, "op"), how))
	}
	for _, n := range r.Source.Notes {
		paragraph(b, s, "note: ", n)
	}
	for k, l := range r.Source.Unknown {
		if k == shownUnknown {
			fmt.Fprintf(b, "and %s more that no rule knows\n", count(len(r.Source.Unknown)-k, "line"))
			break
		}
		paragraph(b, s, fmt.Sprintf("unknown line %d: ", l.Number), shorten(Visible(l.Text), 2*s.Width))
	}
}

// loggedModels is the table of the models; a column that says nothing is left out.
func loggedModels(b *bytes.Buffer, s Style, r *report.Report) {
	text := func(of func(m *report.Model) *report.Size) func(m *report.Model) string {
		return func(m *report.Model) string {
			if size := of(m); size != nil {
				return strings.ReplaceAll(size.Text, " ", "")
			}
			return ""
		}
	}
	columns := []struct {
		column
		cell func(m *report.Model) string
	}{
		{left("MODEL"), func(m *report.Model) string { return cmp.Or(m.Input, m.Output, "(not named)") }},
		{right("FILE SIZE"), text(func(m *report.Model) *report.Size { return m.InputSize })},
		{right("AVAILABLE"), text(func(m *report.Model) *report.Size { return m.Available })},
		{right("ON CHIP"), text(func(m *report.Model) *report.Size { return m.OnChip })},
		{right("REMAINING"), text(func(m *report.Model) *report.Size { return m.Remaining })},
		{right("STREAMED"), text(func(m *report.Model) *report.Size { return m.Streamed })},
		{right("ON TPU"), onTPU},
	}
	columns = slices.DeleteFunc(columns, func(c struct {
		column
		cell func(m *report.Model) string
	},
	) bool {
		return !slices.ContainsFunc(r.Models, func(m report.Model) bool { return c.cell(&m) != "" })
	})
	var t table
	for _, c := range columns {
		t.columns = append(t.columns, c.column)
	}
	for i := range r.Models {
		var cells []string
		for _, c := range columns {
			cells = append(cells, c.cell(&r.Models[i]))
		}
		t.add(cells...)
	}
	t.write(b, s, 0)
}

// onTPU is the mapped ops of all, "26/113".
func onTPU(m *report.Model) string {
	switch {
	case m.TPUOperations >= 0 && m.Operations >= 0:
		return fmt.Sprintf("%d/%d", m.TPUOperations, m.Operations)
	case m.Operations >= 0:
		return fmt.Sprintf("?/%d", m.Operations)
	}
	return ""
}
