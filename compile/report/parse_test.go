package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tpuplan/tpuplan/internal/fuzztest"
)

// read parses a text that must hold one invocation.
func read(t testing.TB, text string) *Report {
	t.Helper()
	reports, err := Parse("x.log", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(reports) != 1 {
		t.Fatalf("%d invocations, want 1", len(reports))
	}
	return &reports[0]
}

func sized(t testing.TB, text string) *Size {
	t.Helper()
	s, err := ParseSize(text)
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

const whole16 = `Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 542 ms.

Input model: a.tflite
Input size: 4.04MiB
Output model: a_edgetpu.tflite
Output size: 4.13MiB
On-chip memory used for caching model parameters: 604.50KiB
On-chip memory remaining for caching model parameters: 511.50KiB
Off-chip memory used for streaming uncached model parameters: 3.45MiB
Number of Edge TPU subgraphs: 1
Total number of operations: 5
Operation log: a_edgetpu.log

Model successfully compiled but not all operations are supported by the Edge TPU. A percentage of the model will instead run on the CPU, which is slower. If possible, consider updating your model to use only operations supported by the Edge TPU. For details, visit g.co/coral/model-reqs.
Number of operations that will run on Edge TPU: 3
Number of operations that will run on CPU: 2

Operator                       Count      Status

CONV_2D                        3          Mapped to Edge TPU
QUANTIZE                       2          Operation is otherwise supported, but not mapped due to some unspecified limitation
Compilation child process completed within timeout period.
Compilation succeeded! 
`

func want16(t testing.TB) *Report {
	return &Report{
		Compiler: "16.0.384591198", CompileMS: 542, TimeoutS: 180,
		Models: []Model{{
			Input: "a.tflite", Output: "a_edgetpu.tflite", InputSize: sized(t, "4.04MiB"), OutputSize: sized(t, "4.13MiB"),
			OnChip: sized(t, "604.50KiB"), Remaining: sized(t, "511.50KiB"), Streamed: sized(t, "3.45MiB"),
			Subgraphs: 1, Operations: 5, TPUOperations: 3, CPUOperations: 2, OperationLog: "a_edgetpu.log",
			Operators: []Operator{
				{"CONV_2D", 3, "Mapped to Edge TPU"},
				{"QUANTIZE", 2, "Operation is otherwise supported, but not mapped due to some unspecified limitation"},
			},
		}},
	}
}

// What publishers do to a text does not change what it says.
func TestParseDisguises(t *testing.T) {
	each := func(f func(line string) string) func(string) string {
		return func(s string) string {
			lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
			for i := range lines {
				lines[i] = f(lines[i])
			}
			return strings.Join(lines, "\n") + "\n"
		}
	}
	wrap := func(width int) func(string) string {
		return each(func(line string) string {
			var b strings.Builder
			for len(line) > width {
				b.WriteString(line[:width] + "\n")
				line = line[width:]
			}
			return b.String() + line
		})
	}
	for name, disguise := range map[string]func(string) string{
		"as printed":          func(s string) string { return s },
		"CRLF":                func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"byte order mark":     func(s string) string { return "\ufeff" + s },
		"no blank lines":      func(s string) string { return strings.ReplaceAll(s, "\n\n", "\n") },
		"more blank lines":    func(s string) string { return strings.ReplaceAll(s, "\n", "\n \n") },
		"indented":            each(func(l string) string { return "\t    " + l }),
		"quoted":              each(func(l string) string { return "> " + l }),
		"quoted twice":        each(func(l string) string { return ">> > " + l }),
		"in quote marks":      func(s string) string { return "\"" + strings.TrimSpace(s) + "\"\n" },
		"fenced":              func(s string) string { return "```console\n" + s + "```\n" },
		"notebook source":     each(func(l string) string { return "      \"" + strings.TrimSpace(l) + "\\n\"," }),
		"notebook output":     func(s string) string { return "[12]: " + s },
		"docker compose":      each(func(l string) string { return "compiler-1  | " + l }),
		"docker build":        each(func(l string) string { return "#12 3.045 " + l }),
		"time stamps":         each(func(l string) string { return "2024-03-08 12:30:45,123 " + l }),
		"logger":              each(func(l string) string { return "[INFO] build: " + l }),
		"colours":             each(func(l string) string { return "\x1b[0;32m" + l + "\x1b[0m" }),
		"command at prompt":   func(s string) string { return "me@host:~/m$ edgetpu_compiler -s a.tflite\n" + s },
		"command in notebook": func(s string) string { return "! edgetpu_compiler -s a.tflite\n" + s },
		"collapsed blanks": each(func(l string) string {
			return strings.Join(strings.Fields(l), " ")
		}),
		"blank before units": func(s string) string {
			return strings.NewReplacer("MiB", " MiB", "KiB", "   KiB").Replace(s)
		},
		"table in Markdown": each(func(l string) string {
			if op, ok := row(l, true); ok {
				return fmt.Sprintf("| %s | %d | %s |", op.text, op.n, op.status)
			}
			if strings.HasPrefix(l, "Operator ") {
				return "| Operator | Count | Status |\n|---|---|---|"
			}
			return l
		}),
		"labels in a table": each(func(l string) string {
			if label, value, ok := strings.Cut(l, ": "); ok && !strings.HasPrefix(l, "Input m") && !strings.HasPrefix(l, "Output m") && !strings.HasPrefix(l, "Operation") {
				return label + " | " + value + " "
			}
			return l
		}),
		"wrapped at 100":     wrap(100),
		"wrapped at 80":      wrap(80),
		"wrapped at 60":      wrap(60),
		"one byte at a time": func(s string) string { return s },
	} {
		t.Run(name, func(t *testing.T) {
			var in io.Reader = strings.NewReader(disguise(whole16))
			if name == "one byte at a time" {
				in = iotest.OneByteReader(in)
			}
			reports, err := Parse("x.log", in)
			if err != nil || len(reports) != 1 {
				t.Fatalf("%d invocations, error %v", len(reports), err)
			}
			got := &reports[0]
			if len(got.Source.Unknown) > 0 || len(got.Source.Notes) > 0 {
				t.Errorf("unknown lines %v, notes %v", got.Source.Unknown, got.Source.Notes)
			}
			got.Source = nil
			for i := range got.Models { // only the blanks differ
				for _, s := range []*Size{got.Models[i].InputSize, got.Models[i].OutputSize, got.Models[i].OnChip, got.Models[i].Remaining, got.Models[i].Streamed} {
					if s != nil {
						s.Text = strings.ReplaceAll(s.Text, " ", "")
					}
				}
			}
			if diff := cmp.Diff(want16(t), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A text may be cut anywhere: what stands before the cut is kept, and nothing
// is made of half a line but a note.
func TestParseCutAnywhere(t *testing.T) {
	full := want16(t)
	for n := range len(whole16) {
		reports, err := Parse("x.log", strings.NewReader(whole16[:n]))
		if err != nil {
			if strings.Contains(whole16[:n], "\n") || !errors.Is(err, ErrNoOutput) {
				t.Fatalf("%d bytes: %v", n, err)
			}
			continue
		}
		got := &reports[0]
		if len(got.Source.Unknown) > 0 {
			t.Fatalf("%d bytes: unknown lines %v", n, got.Source.Unknown)
		}
		whole := whole16[:strings.LastIndexByte(whole16[:n], '\n')+1]
		if strings.Contains(whole, "Off-chip") && cmp.Diff(full.Models[0].Streamed, got.Models[0].Streamed) != "" {
			t.Fatalf("%d bytes: streamed %v", n, got.Models[0].Streamed)
		}
		if seen := strings.Contains(whole, "subgraphs"); !seen && (got.Failure == nil || got.Failure.Kind != Cut) && !strings.Contains(whole16[:n], "On-chip memory used for caching model parameters: 6") {
			t.Fatalf("%d bytes: failure %v, want cut", n, got.Failure)
		} else if seen && got.Failure != nil {
			t.Fatalf("%d bytes: failure %v", n, got.Failure)
		}
		if len(got.Models) > 0 && got.Models[0].CPUOperations == 0 {
			t.Fatalf("%d bytes: claims that no op stays on the CPU", n)
		}
	}
}

func TestParseFailures(t *testing.T) {
	const v15, v16 = "Edge TPU Compiler version 15.0.340273435\n", "Edge TPU Compiler version 16.0.384591198\nStarted a compilation timeout timer of 180 seconds.\n"
	const end = "Compilation child process completed within timeout period.\nCompilation failed! \n"
	for _, test := range []struct {
		name, text, kind, want string
	}{
		{"float model", v15 + "Invalid model: m.tflite\nModel not quantized\n", NotQuantized, "Model not quantized"},
		{"no model", v15 + "Invalid model: m.tflite\nModel could not be parsed\n", NotParsed, "Model could not be parsed"},
		{"newer op", v15 + "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '6'\n\nERROR: Registration failed.\n\nInvalid model: m.tflite\nModel could not be parsed\n", UnsupportedOpVersion, "Didn't find op for builtin opcode 'CONV_2D' version '6'"},
		{"internal", v15 + "Internal compiler error. Aborting! \n", Internal, "Internal compiler error. Aborting!"},
		{"timeout", v16 + "Compilation timeout. This is usually caused by large activations.\n" + end, Timeout, "Compilation timeout. This is usually caused by large activations."},
		{"timeout as reason", v16 + "Compilation failed: Compilation timed out.\n" + end, Timeout, "Compilation timed out."},
		{"activations", v16 + "ERROR: Restored original execution plan after delegate application failure.\nCompilation failed: Compilation failed due to large activation tensors in model.\n" + end, Other, "Compilation failed due to large activation tensors in model."},
		{"silent", v16 + end, Other, "Compilation failed!"},
		{"crash", v16 + "/usr/bin/edgetpu_compiler: line 3: 42 Segmentation fault (core dumped) x\n", Crashed, "/usr/bin/edgetpu_compiler: line 3: 42 Segmentation fault (core dumped) x"},
		{"killed", v16 + "Killed\n", Crashed, "Killed"},
		{"stops behind the timer", v16, Cut, `the text ends before the result, with "Started a compilation timeout timer of 180 seconds."`},
		{"usage", v15 + "Usage:\nedgetpu_compiler [options] model...\n\nOptions:\n  -h, --help  Prints help\n", Usage, "Usage:"},
		{"nothing on the TPU", v15 + "Model compiled successfully in 17 ms.\nInput model: m.tflite\nNumber of Edge TPU subgraphs: 0\nTotal number of operations: 69\n", ZeroSubgraphs, "Number of Edge TPU subgraphs: 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := read(t, test.text)
			if diff := cmp.Diff(&Failure{test.kind, test.want}, r.Failure); diff != "" {
				t.Error(diff)
			}
			if len(r.Source.Unknown) > 0 {
				t.Errorf("unknown lines %v", r.Source.Unknown)
			}
			if strings.Contains(test.text, "m.tflite") && (len(r.Models) != 1 || r.Models[0].Input != "m.tflite" || r.Models[0].Failure == nil || r.Models[0].Failure.Kind != test.kind) {
				t.Errorf("models %+v", r.Models)
			}
		})
	}
}

// A search for a delegate that ends well is no failure; a segment that no
// attempt could compile is one, whatever the others did.
func TestParseSearch(t *testing.T) {
	const head = "Edge TPU Compiler version 16.0.384591198\n"
	const failed = "Started a compilation timeout timer of 180 seconds.\nCompilation failed: reason\nCompilation child process completed within timeout period.\nCompilation failed! \n"
	const good = "Started a compilation timeout timer of 180 seconds.\nModel compiled successfully in 10 ms.\nInput model: s.tflite\nNumber of Edge TPU subgraphs: 1\nTotal number of operations: 7\nCompilation child process completed within timeout period.\nCompilation succeeded! \n"
	search := func(ops int) string {
		return fmt.Sprintf("Searching for valid delegate with step 2\nTry to compile segment with %d ops\n", ops)
	}
	again := func(ops int) string {
		return fmt.Sprintf("Try to compile segment with %d ops\nIntermediate tensors: a,b\n", ops)
	}
	r := read(t, head+search(9)+failed+again(7)+good)
	if r.Failure != nil || r.CompileMS != 10 || len(r.Models) != 1 {
		t.Errorf("a search that ends well: %+v", r)
	}
	reason := &Failure{Other, "reason"}
	want := []Attempt{
		{Step: 2, Ops: 9, CompileMS: NotPrinted, Failure: reason},
		{Ops: 7, Tensors: "a,b", CompileMS: 10, Succeeded: true},
	}
	if diff := cmp.Diff(want, r.Source.Attempts); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{search(9) + failed + search(8) + good, search(9) + good + search(8) + failed} {
		if r := read(t, head+text); !cmp.Equal(r.Failure, reason) || len(r.Models) != 1 {
			t.Errorf("failure %v, %d models, want %v and 1 for\n%s", r.Failure, len(r.Models), reason, text)
		}
	}
	if r := read(t, head+search(9)+good+search(8)+good); r.CompileMS != 20 || r.Failure != nil || len(r.Models) != 2 {
		t.Errorf("two segments: %+v", r)
	}
}

// Several invocations in one text, with prose between them.
func TestParseSeveral(t *testing.T) {
	text := "First attempt:\n" + whole16 + "then the other release:\n$ edgetpu_compiler b.tflite\nEdge TPU Compiler version 15.0.1\nInternal compiler error. Aborting! \n$ edgetpu_compiler b.tflite\n" + strings.ReplaceAll(whole16, "a.tflite", "b.tflite")
	reports, err := Parse("x.log", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range reports {
		s := r.Compiler + " " + r.Source.Command
		for _, m := range r.Models {
			s += " " + m.Input
		}
		for _, u := range r.Source.Unknown {
			s += fmt.Sprintf(" %d", u.Number)
		}
		got = append(got, s)
	}
	want := []string{"16.0.384591198  a.tflite 1 28", "15.0.1 edgetpu_compiler b.tflite", "16.0.384591198 edgetpu_compiler b.tflite b.tflite"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Only the memory lines of two models: a label that comes again begins the next one.
func TestParseFragments(t *testing.T) {
	r := read(t, "On-chip memory used: 1.00KiB\nOff-chip memory used (streaming): 2.00KiB\nOn-chip memory used: 3.00KiB\n")
	if len(r.Models) != 2 || r.Models[0].OnChip.Bytes != 1024 || r.Models[0].Streamed.Bytes != 2048 || r.Models[1].OnChip.Bytes != 3072 || r.Failure != nil {
		t.Errorf("%+v", r)
	}
}

func TestParseNoOutput(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "prose": "The compiler said that the model was not good.\nERROR: something\n", "other log": "Usage: pip install\nWarning: old\n",
		"binary": "Edge TPU Compiler version 16.0\n\x00\x01", "quote marks": "\"\"\"\n---\n",
	} {
		if r, err := Parse("x.log", strings.NewReader(text)); !errors.Is(err, ErrNoOutput) || !strings.HasPrefix(err.Error(), "x.log: ") {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	broken := errors.New("broken")
	if _, err := Parse("x.log", io.MultiReader(strings.NewReader(whole16), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of the reader", err)
	}
}

// A line of any length costs a bounded amount of memory, and so does any number of lines.
func TestParseBounds(t *testing.T) {
	r := read(t, whole16+"Z"+strings.Repeat("z", 10<<20)+"\nEnd\n")
	if n := len(r.Source.Unknown); n != 2 || len(r.Source.Unknown[0].Text) > maxUnknown+3 || r.Source.Unknown[1].Text != "End" {
		t.Errorf("%d unknown lines", n)
	}
	_, err := Parse("x.log", strings.NewReader(whole16+strings.Repeat("zz\n", 30_000)))
	if err == nil || !strings.HasPrefix(err.Error(), "x.log:") {
		t.Errorf("error %v, want one that names the line", err)
	}
	// Prose of any length between the invocations is not too much.
	r = read(t, whole16+strings.Repeat("The compiler was called by make, which says a lot.\n", 40_000))
	if n := len(r.Source.Unknown); n != 40_000 {
		t.Errorf("%d unknown lines, want 40000", n)
	}
	// Logs of any kind one behind the other are not, for a megabyte at least.
	for _, text := range []string{
		whole16,
		"Edge TPU Compiler version 15.0.340273435\n\nModel compiled successfully in 7 ms.\n\nInput model: a.tflite\nInput size: 1.00KiB\nOutput model: a_edgetpu.tflite\nOutput size: 2.00KiB\nOn-chip memory used for caching model parameters: 1.25KiB\nOn-chip memory remaining for caching model parameters: 7.99MiB\nOff-chip memory used for streaming uncached model parameters: 0.00B\nNumber of Edge TPU subgraphs: 1\nTotal number of operations: 3\nOperation log: a_edgetpu.log\nSee the operation log file for individual operation details.\n",
	} {
		n := 1<<20/len(text) + 1
		reports, err := Parse("x.log", strings.NewReader(strings.Repeat(text, n)))
		if err != nil || len(reports) != n {
			t.Errorf("%d invocations of %d, error %v", len(reports), n, err)
		}
	}
}

// Whatever a text is, reading it allocates no more than twice its bytes and a megabyte.
func TestParseMemory(t *testing.T) {
	for _, hostile := range []string{
		"zz\n", "a b c d e f\n", "Compilation\n", "C C C C C C C\n", "size: 1\n", "SIZE:x\n", "Input size: 1.00B\n", "Input model: a\n",
		"ADD 1 Mapped to Edge TPU\n", "ADD 1 Operation is\n", "Operator Count Status\nADD 1 x\n", "ERROR: x\n", "ERROR: x\ny\n", "Warning: a\n", "INFO: a\n",
		"Edge TPU Compiler version 1\n", "Usage:\n", "Invalid model: a\nModel not quantized\n", "Internal compiler error. Aborting!\n",
		"Searching for valid delegate with step 1\nTry to compile segment with 3 ops\nCompilation failed: x\n", "Intermediate tensors: a\na,b\n",
		"$ edgetpu_compiler a.tflite\n", "Number of Edge TPU subgraphs: 0\n", "Models compiled successfully in 1 ms.\n",
		"x\ry\rz\r", "a\\nEdge TPU\\n\\n", `{"log":"\u0041"}` + "\n", `{"log":"a"}` + "\n", "['Edge TPU', 'a', 'b', 'c']\n", "&amp;\n", "\x1b[0mE\n", "\u00a0x\n", "<b>x</b>\n",
		"> Edge TPU Compiler version 1\n", "1 | 2 | 3\n", "\"\n", "```\n", "\xff\xfe\n", "OUTPUT MODEL: a\n", "input model: a\n", "Model successfully compiled but not all operations are supported\nby the\n",
	} {
		for _, head := range []string{"", whole16} {
			for _, n := range []int{3_000, 250_000} {
				text := head + strings.Repeat(hostile, n/len(hostile)+1)
				fuzztest.Bounded(t, len(text), func() { Parse("x.log", strings.NewReader(text)) })
				if t.Failed() {
					t.Fatalf("%q times %d behind %d bytes", hostile, n/len(hostile), len(head))
				}
			}
		}
	}
}

// randomReport is a report as a release could give it.
func randomReport(t *rapid.T) *Report {
	versions := []string{"1.0.249710469", "2.0.291256449", "2.1.302470888", "14.1.317412892", "15.0.340273435", "16.0.384591198"}
	version := rapid.IntRange(0, len(versions)-1).Draw(t, "version")
	r := &Report{Compiler: versions[version], CompileMS: NotPrinted}
	if version == 5 {
		r.TimeoutS = rapid.Int64Range(1, 9999).Draw(t, "timer")
	}
	if version == 4 && rapid.Bool().Draw(t, "warns") {
		r.Warnings = []string{"For the given model, you're creating more segments than is necessary"}
	}
	size := func(name string) *Size {
		n := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 1<<12), rapid.Int64Range(0, 1<<27)).Draw(t, name)
		s, err := ParseSize(FormatSize(n))
		if err != nil {
			t.Fatal(err)
		}
		return &s
	}
	name := rapid.StringMatching(`(/?[a-zA-Z0-9_.-][a-zA-Z0-9_. -]{0,8}/)?[a-zA-Z0-9_é-]{1,12}`)
	switch kind := rapid.SampledFrom([]string{"", "", "", "", NotQuantized, NotParsed, UnsupportedOpVersion, Internal, Timeout, Crashed, Cut, Usage, Other, "silent"}).Draw(t, "kind"); kind {
	case "":
		r.CompileMS = rapid.Int64Range(0, 1<<20).Draw(t, "ms")
	case NotQuantized, NotParsed, UnsupportedOpVersion:
		f := Failure{kind, map[string]string{NotQuantized: "Model not quantized", NotParsed: "Model could not be parsed"}[kind]}
		if kind == UnsupportedOpVersion {
			f.Text = "Didn't find op for builtin opcode 'ADD' version '4'"
			r.Errors = []string{f.Text, "Registration failed."}
		}
		r.Failure = &f
		for range rapid.IntRange(1, 3).Draw(t, "models") {
			r.Models = append(r.Models, Model{Input: name.Draw(t, "name") + ".tflite", Subgraphs: NotPrinted, Operations: NotPrinted, TPUOperations: NotPrinted, CPUOperations: NotPrinted, Failure: &f})
		}
		return r
	default:
		text := map[string]string{
			Internal: "Internal compiler error. Aborting!", Timeout: "Compilation timeout. This is usually caused by large activations.",
			Crashed: "edgetpu_compiler: line 3: 7 Segmentation fault (core dumped)", Usage: "Usage:", Other: "Model failed in Tflite interpreter.", "silent": "Compilation failed!",
		}[kind]
		if kind == "silent" {
			kind = Other
		}
		if kind == Cut {
			last := "Edge TPU Compiler version " + r.Compiler
			if len(r.Warnings) > 0 {
				last = "Warning: " + r.Warnings[0]
			} else if r.TimeoutS > 0 {
				last = fmt.Sprintf("Started a compilation timeout timer of %d seconds.", r.TimeoutS)
			}
			text = fmt.Sprintf("the text ends before the result, with %q", last)
		}
		r.Failure = &Failure{kind, text}
		return r
	}
	for range rapid.IntRange(1, 4).Draw(t, "models") {
		base := name.Draw(t, "name")
		m := Model{
			Input: base + ".tflite", Output: base + "_edgetpu.tflite", InputSize: size("in"), OutputSize: size("out"),
			OnChip: size("used"), Streamed: size("streamed"), OperationLog: base + "_edgetpu.log",
			Subgraphs: rapid.IntRange(0, 4).Draw(t, "subgraphs"),
		}
		if version < 2 {
			m.Available = size("available")
		} else {
			m.Remaining = size("remaining")
		}
		m.CPUOperations = rapid.IntRange(0, 400).Draw(t, "cpu")
		if m.Subgraphs > 0 {
			m.TPUOperations = rapid.IntRange(1, 400).Draw(t, "tpu")
		} else {
			m.CPUOperations++
			m.Failure = &Failure{ZeroSubgraphs, "Number of Edge TPU subgraphs: 0"}
			if r.Failure == nil {
				r.Failure = m.Failure
			}
		}
		m.Operations = m.TPUOperations + m.CPUOperations
		if rapid.Bool().Draw(t, "table") {
			op := rapid.SampledFrom([]string{"CONV_2D", "ADD", "UNIDIRECTIONAL_SEQUENCE_LSTM", "TFLite_Detection_PostProcess", "CUSTOM"})
			for left := m.TPUOperations; left > 0; {
				n := rapid.IntRange(1, left).Draw(t, "count")
				m.Operators = append(m.Operators, Operator{op.Draw(t, "op"), n, "Mapped to Edge TPU"})
				left -= n
			}
			for left := m.CPUOperations; left > 0; {
				n := rapid.IntRange(1, left).Draw(t, "count")
				m.Operators = append(m.Operators, Operator{op.Draw(t, "op"), n, rapid.SampledFrom(statuses[1:]).Draw(t, "status")})
				left -= n
			}
		}
		r.Models = append(r.Models, m)
	}
	return r
}

// What is printed is read back, whatever the release.
func TestParseOfPrintIsTheReport(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := randomReport(t)
		var b bytes.Buffer
		if err := Print(&b, want); err != nil {
			t.Fatal(err)
		}
		got, err := Parse("x.log", bytes.NewReader(b.Bytes()))
		if err != nil || len(got) != 1 {
			t.Fatalf("%d invocations, error %v of\n%s", len(got), err, b.String())
		}
		if s := got[0].Source; len(s.Unknown) > 0 || len(s.Notes) > 0 {
			t.Fatalf("unknown lines %v, notes %v of\n%s", s.Unknown, s.Notes, b.String())
		}
		got[0].Source = nil
		if diff := cmp.Diff(want, &got[0]); diff != "" {
			t.Fatalf("%s\nof\n%s", diff, b.String())
		}
	})
}

// FuzzParse: any bytes are either understood line by line or refused, every
// line exactly once, and what was understood can be printed and read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole16))
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := map[int]int{}
		fuzztest.Bounded(t, len(text), func() { Parse("x.log", bytes.NewReader(text)) })
		p := &parser{name: "x.log", reading: newReading(), trace: func(line int, _ rule) { lines[line]++ }}
		reports, err := p.parse(bytes.NewReader(text))
		if err != nil {
			return
		}
		if _, ok := utf16Order(text); !ok {
			checkLines(t, text, lines)
		}
		total := 0
		for i := range reports {
			for _, n := range reports[i].Source.Rules() {
				total += n
			}
			total += len(reports[i].Source.Unknown)
			if err := Print(io.Discard, &reports[i]); err != nil {
				t.Fatal(err)
			}
			for _, d := range Compare(&reports[i], &reports[i]) {
				t.Fatalf("differs from itself: %s", d)
			}
		}
		if total != len(lines) {
			t.Fatalf("the reports account for %d lines of %d", total, len(lines))
		}
	})
}

// checkLines checks that each line that is not blank, and no other, was
// counted once.
func checkLines(t testing.TB, text []byte, lines map[int]int) {
	t.Helper()
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	for i, line := range bytes.Split(text, []byte("\n")) {
		want := 1
		if len(bytes.TrimSpace(line[:min(len(line), maxLine)])) == 0 {
			want = 0
		}
		if lines[i+1] != want {
			t.Fatalf("line %d %q is counted %d times, want %d", i+1, line, lines[i+1], want)
		}
	}
}

// BenchmarkParse reads a megabyte: logs as printed, in a container's dress, tables
// of operations, and lines that are not the compiler's.
func BenchmarkParse(b *testing.B) {
	table := strings.Repeat("CONV_2D                        3          Mapped to Edge TPU\nQUANTIZE                       2          Operation is otherwise supported, but not mapped due to some unspecified limitation\n", 100)
	for _, test := range []struct{ name, text string }{
		{"printed", whole16},
		{"prefixed", before("compiler-1  | ")(whole16)},
		{"tables", whole16 + table},
		{"foreign", whole16 + strings.Repeat("2024-01-01 00:00:01.123 I tensorflow/core/x.cc:12] this is what another program says\n", 2)},
	} {
		b.Run(test.name, func(b *testing.B) {
			text := strings.Repeat(test.text, 1<<20/len(test.text)+1)[:1<<20]
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse("x.log", strings.NewReader(text)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestRulesHaveNames(t *testing.T) {
	names := ruleNames[1:]
	if slices.Contains(names, "") || len(slices.Compact(slices.Sorted(slices.Values(names)))) != len(names) {
		t.Errorf("a name is missing or there twice: %q", names)
	}
}
