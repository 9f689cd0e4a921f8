package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// eachLine changes a text line by line; i counts from 0.
func eachLine(f func(i int, line string) string) func(string) string {
	return func(s string) string {
		lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
		for i := range lines {
			lines[i] = f(i, strings.TrimSuffix(lines[i], "\r"))
		}
		return strings.Join(lines, "\n") + "\n"
	}
}

// before puts something before each line.
func before(format string, args ...func(i int) int) func(string) string {
	return eachLine(func(i int, l string) string {
		var numbers []any
		for _, arg := range args {
			numbers = append(numbers, arg(i))
		}
		return fmt.Sprintf(format, numbers...) + l
	})
}

// around puts something around each line that is not blank.
func around(left, right string) func(string) string {
	return eachLine(func(_ int, l string) string {
		if strings.TrimSpace(l) == "" {
			return l
		}
		return left + l + right
	})
}

// wrapped breaks lines after so many bytes, or at a blank before that.
func wrapped(width int, words bool) func(string) string {
	return eachLine(func(_ int, line string) string {
		var b strings.Builder
		for len(line) > width {
			at := width
			if i := strings.LastIndexByte(line[:width+1], ' '); words && i > 0 {
				at = i
			}
			b.WriteString(line[:at] + "\n")
			if line = line[at:]; words {
				line = strings.TrimLeft(line, " ")
			}
		}
		return b.String() + line
	})
}

func replaced(pattern, by string) func(string) string {
	return func(s string) string { return regexp.MustCompile(pattern).ReplaceAllString(s, by) }
}

func minute(i int) int { return i / 60 % 60 }
func second(i int) int { return i % 60 }
func number(i int) int { return i + 1 }

func inJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// disguises are what happens to logs on their way, with the numbers of the
// real logs that do not survive it whole.
var disguises = []struct {
	name  string
	do    func(string) string
	loses []string
}{
	{"CRLF", func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }, nil},
	{"CR alone", func(s string) string { return strings.ReplaceAll(s, "\n", "\r") }, nil},
	{"UTF-16 of Windows", func(s string) string {
		var b bytes.Buffer
		for _, unit := range utf16.Encode([]rune("\ufeff" + strings.ReplaceAll(s, "\n", "\r\n"))) {
			b.WriteByte(byte(unit))
			b.WriteByte(byte(unit >> 8))
		}
		return b.String()
	}, nil},
	{"no blank lines", replaced(`\n(\s*\n)+`, "\n"), nil},
	{"more blank lines", func(s string) string { return strings.ReplaceAll(s, "\n", "\n \n\n") }, nil},
	{"tabs", before("\t"), nil},
	{"indented", before("        "), nil},
	{"blanks at the end", eachLine(func(_ int, l string) string { return l + "  \t" }), nil},
	{"runs of blanks as one", replaced(` +`, " "), nil},
	{"runs of blanks as a tab", replaced(`  +`, "\t"), nil},
	{"other blanks", func(s string) string { return strings.ReplaceAll(s, " ", "\u00a0") }, nil},
	{"blank before units", replaced(`(\d)(B|KiB|MiB)\b`, "$1 $2"), nil},
	{"decimal comma", replaced(`(\d)\.(\d\d)(\s*(?:B|KiB|MiB))\b`, "$1,$2$3"), nil},
	// Lines that are cut, and errors of TensorFlow, are not the compiler's in small letters.
	{"small letters", strings.ToLower, []string{"001", "005", "070", "075", "077", "078", "082", "083", "087", "088", "094", "096", "101"}},
	{"capital letters", strings.ToUpper, []string{"001", "005", "082", "090", "096", "101"}},
	{"blank before colons", replaced(`(?m)^([A-Z][^:\n]*): `, "$1 : "), nil},
	{"no blank behind colons", replaced(`(?m)^([A-Z][^:\n]*): `, "$1:"), nil},

	{"quoted", before("> "), nil},
	{"quoted twice", before(">> > "), nil},
	{"in a table", around("| ", " |"), nil},
	{"bars", before("| "), nil},
	{"list", before("- "), nil},
	{"numbered list", before("%d. ", number), nil},
	{"added in a patch", before("+"), nil},
	{"bold", around("**", "**"), nil},
	{"code", around("`", "`"), nil},
	{"fenced", func(s string) string { return "This is what I get:\n```bash\n" + s + "\n```\nAny idea?\n" }, nil},
	{"fenced with tildes", func(s string) string { return "~~~\n" + s + "\n~~~\n" }, nil},
	{"page", func(s string) string {
		return "<p>See:</p>\n<pre><code>" + strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;").Replace(s) + "</code></pre>\n"
	}, nil},
	{"page of lines", eachLine(func(_ int, l string) string { return l + "<br/>" }), nil},

	{"colours", around("\x1b[0;32m", "\x1b[0m"), nil},
	{"coloured values", func(s string) string { return strings.ReplaceAll(s, ": ", ":\x1b[1;33m ") }, nil},
	{"window title", func(s string) string { return "\x1b]0;me@host: ~\x07" + s }, nil},
	{"numbers of cat -n", before("%6d\t", number), nil},
	{"numbers of grep -n", before("out.log:%d:", number), nil},
	{"ISO time", before("2023-04-05T12:%02d:%02dZ ", minute, second), nil},
	{"ISO time with a zone", before("2023-04-05T12:%02d:%02d.123456789+02:00 ", minute, second), nil},
	{"time", before("12:%02d:%02d.123 ", minute, second), nil},
	{"seconds", before("[%5d.123456] ", number), nil},
	{"logging", before("[2023-04-05 12:%02d:%02d,123] INFO build: ", minute, second), nil},
	{"GitHub", before("build\tCompile\t2023-04-05T12:%02d:%02d.1234567Z ", minute, second), nil},
	{"GitLab", before("2023-04-05T12:%02d:%02d.123456Z 01O ", minute, second), nil},
	{"journal", before("Apr 05 12:%02d:%02d host edgetpu_compiler[123]: ", minute, second), nil},
	{"docker compose", before("compiler-1  | "), nil},
	{"docker build", before("#12 %d.045 ", number), nil},
	{"docker file", eachLine(func(_ int, l string) string {
		return `{"log":` + inJSON(l+"\n") + `,"stream":"stdout","time":"2024-01-01T00:00:00.0000001Z"}`
	}), nil},
	{"logger of JSON", eachLine(func(_ int, l string) string { return `{"level":"info","msg":` + inJSON(l) + `}` }), nil},
	{"notebook", eachLine(func(_ int, l string) string { return "      " + inJSON(l+"\n") + "," }), nil},
	{"string of JSON", func(s string) string { return inJSON(map[string]string{"stdout": s}) + "\n" }, nil},
	{"string of a program", func(s string) string { return strconv.Quote(s) + "\n" }, []string{"074"}},
	{"bytes of Python", func(s string) string {
		return "b'" + strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "'", `\'`).Replace(s) + "'\n"
	}, []string{"074"}},
	{"list of Python", func(s string) string {
		return "['" + strings.Join(strings.Split(s, "\n"), "', '") + "']\n"
	}, []string{"074"}},
	{"list of JSON", func(s string) string { return inJSON(strings.Split(s, "\n")) + "\n" }, []string{"074"}},

	{"session", func(s string) string {
		return "me@host:~/models$ edgetpu_compiler -s a.tflite\n" + s + "\nme@host:~/models$\n"
	}, nil},
	{"session of PowerShell", func(s string) string {
		return "PS C:\\Users\\me\\models> wsl edgetpu_compiler a.tflite\n" + s + "\nPS C:\\Users\\me\\models>\n"
	}, nil},
	{"paths of Windows", replaced(`(put model\s*:) +`, `$1 C:\new\My Name\`), nil},

	// A warning whose end nobody knows gets a blank where it was wrapped; labels
	// that were shortened cannot be put together, nor can the words of a shell.
	{"wrapped at 100", wrapped(100, false), nil},
	{"wrapped at 80", wrapped(80, false), []string{"096"}},
	{"wrapped at 60", wrapped(60, false), []string{"096", "048", "049"}},
	{"words wrapped at 72", wrapped(72, true), nil},
	{"words wrapped at 60", wrapped(60, true), []string{"048", "049", "090"}},
}

// known is what a disguise may not change of reports.
func known(reports []Report) []Report {
	file := func(path *string) { *path = strings.ToLower((*path)[strings.LastIndexAny(*path, `/\`)+1:]) }
	text := func(f *Failure) {
		if f != nil {
			f.Text = ""
		}
	}
	for i := range reports {
		r := &reports[i]
		r.Source = nil
		text(r.Failure)
		for k, e := range r.Errors {
			r.Errors[k] = strings.ToLower(strings.Trim(e, "'"))
		}
		for k, e := range r.Warnings {
			r.Warnings[k] = strings.ToLower(e)
		}
		for k := range r.Models {
			m := &r.Models[k]
			text(m.Failure)
			file(&m.Input)
			file(&m.Output)
			file(&m.OperationLog)
			for i := range m.Operators {
				m.Operators[i].Op = strings.ToLower(m.Operators[i].Op)
			}
			for _, s := range []*Size{m.InputSize, m.OutputSize, m.Available, m.Remaining, m.OnChip, m.Streamed} {
				if s != nil {
					s.Text = strings.ToLower(strings.NewReplacer(" ", "", ",", ".", "\u00a0", "").Replace(s.Text))
				}
			}
		}
	}
	return reports
}

// What happens to a log on its way does not change what it says, nor what
// becomes of each line: every one is taken by one rule or unknown.
func TestRealLogsDisguised(t *testing.T) {
	names, _, texts := realLogs(t)
	for _, d := range disguises {
		t.Run(d.name, func(t *testing.T) {
			for _, name := range names {
				if slices.Contains(d.loses, name[:3]) {
					continue
				}
				text := strings.ReplaceAll(string(texts[name]), "\r\n", "\n")
				want, err := Parse(name, strings.NewReader(text))
				if err != nil {
					t.Fatal(err)
				}
				disguised := []byte(d.do(text))
				lines := map[int]int{}
				p := &parser{name: name, reading: newReading(), trace: func(line int, _ rule) { lines[line]++ }}
				got, err := p.parse(bytes.NewReader(disguised))
				if err != nil {
					t.Error(err)
					continue
				}
				if _, ok := utf16Order(disguised); !ok {
					checkLines(t, disguised, lines)
				}
				unknown := 0
				for i := range got {
					unknown += len(got[i].Source.Unknown)
				}
				if diff := cmp.Diff(known(want), known(got)); diff != "" {
					t.Errorf("%s, %d unknown lines (-as it was +disguised):\n%s", name, unknown, diff)
				}
			}
		})
	}
}

// Logs one behind the other are as many reports, in any dress.
func TestRealLogsTogether(t *testing.T) {
	names, _, texts := realLogs(t)
	var first []byte
	together := 0
	for _, name := range names {
		text := texts[name]
		if !bytes.HasPrefix(text, []byte("Edge TPU Compiler version")) {
			continue // it does not say where it begins
		}
		for _, dress := range []func(string) string{func(s string) string { return s }, before("> "), before("12:%02d:%02d ", minute, second)} {
			var want []Report
			both := ""
			for _, text := range [][]byte{first, text} {
				if text == nil {
					continue
				}
				reports, err := Parse(name, bytes.NewReader(text))
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, reports...)
				both += string(text) + "\n"
			}
			got, err := Parse(name, strings.NewReader(dress(both)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(known(want), known(got)); diff != "" {
				t.Errorf("%s behind another one: %s", name, diff)
			}
			together++
		}
		first = text
	}
	if together < 100 {
		t.Errorf("only %d pairs", together)
	}
}

// A real log may be cut anywhere: nothing panics, every line is accounted for,
// no value is one that the whole log does not have, and the outcome is that of
// the whole log or "cut".
func TestRealLogsCutAnywhere(t *testing.T) {
	names, _, texts := realLogs(t)
	for _, name := range names {
		text := texts[name]
		whole, err := Parse(name, bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		kinds := map[string]bool{"": true, Cut: true}
		for i := range whole {
			if f := whole[i].Failure; f != nil {
				kinds[f.Kind] = true
				kinds[Other] = true // "Invalid model", and no reason yet
			}
			for _, a := range whole[i].Source.Attempts { // of which the last one may do
				if a.Failure != nil {
					kinds[a.Failure.Kind] = true
				}
			}
		}
		step := max(1, len(text)/200)
		for n := 0; n < len(text); n += step {
			lines := map[int]int{}
			p := &parser{name: name, reading: newReading(), trace: func(line int, _ rule) { lines[line]++ }}
			got, err := p.parse(bytes.NewReader(text[:n]))
			if err != nil {
				if !errors.Is(err, ErrNoOutput) {
					t.Fatalf("%s, %d bytes: %v", name, n, err)
				}
				continue
			}
			checkLines(t, text[:n], lines)
			for i := range got {
				if f := got[i].Failure; f != nil && !kinds[f.Kind] {
					t.Errorf("%s, %d bytes: failure %v", name, n, f)
				}
			}
			if text[n-1] != '\n' {
				continue // the last number may have lost its last digits
			}
			if len(got) > len(whole) {
				t.Fatalf("%s, %d bytes: %d invocations", name, n, len(got))
			}
			for i := range got {
				if len(got[i].Models) > len(whole[i].Models) {
					t.Fatalf("%s, %d bytes: %d models", name, n, len(got[i].Models))
				}
				for k := range got[i].Models {
					g, w := values(&got[i].Models[k]), values(&whole[i].Models[k])
					for field, value := range g {
						if w[field] != value {
							t.Errorf("%s, %d bytes: %s is %s, in the whole log %s", name, n, field, value, w[field])
						}
					}
				}
			}
		}
	}
}

// values are the figures that the text of a model's section has.
func values(m *Model) map[string]string {
	v := map[string]string{}
	for field, s := range map[string]*Size{"input": m.InputSize, "output": m.OutputSize, "available": m.Available, "remaining": m.Remaining, "on-chip": m.OnChip, "streamed": m.Streamed} {
		if s != nil {
			v[field] = s.Text
		}
	}
	for field, n := range map[string]int{"subgraphs": m.Subgraphs, "operations": m.Operations} {
		if n != NotPrinted {
			v[field] = strconv.Itoa(n)
		}
	}
	return v
}

func TestUnfold(t *testing.T) {
	for _, test := range []struct {
		name, line string
		want       []string
	}{
		{"plain", "Input model: a.tflite", nil},
		{"path of Windows", `Input model: C:\new\net.tflite`, nil},
		{"JSON of something else", `{"name": "x"}`, nil},
		{"blank message", `{"log": "\n"}`, []string{""}},
		{"message with escapes", `{"time": 1, "msg" : "\u001b[1ma \"b\"\nc"}`, []string{"\x1b[1ma \"b\"", "c"}},
		{"message that does not end", `{"msg": "a\"}`, nil},
		{"message", `{"log": "Input model: a.tflite\n"}`, []string{"Input model: a.tflite"}},
		{"string", `out = "Edge TPU Compiler version 16.0.1\n\nInput model: C:\\new\\a.tflite\n"`, []string{"Edge TPU Compiler version 16.0.1", "", `Input model: C:\new\a.tflite`, ""}},
		{"progress", "10 %\r20 %\rEdge TPU", []string{"10 %", "20 %", "Edge TPU"}},
		{"list", `["Input model: a", "Input size: 1.00KiB", ""]`, []string{"Input model: a", "Input size: 1.00KiB"}},
		{"list of numbers", `[1, 2, 3]`, nil},
	} {
		var got []string
		if parts, ok := unfold(test.line); ok {
			got = slices.Collect(parts)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

// Escapes are read as the standard library reads them.
func TestUnescaped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		quoted := inJSON(text)
		var want string
		if err := json.Unmarshal([]byte(quoted), &want); err != nil {
			t.Fatal(err)
		}
		if got := unescaped(quoted[1 : len(quoted)-1]); got != want {
			t.Errorf("%s: got %q, want %q", quoted, got, want)
		}
	})
	for in, want := range map[string]string{`\ud83d\ude00x`: "\U0001f600x", `\x41 \u00 \`: `\x41 \u00 \`, `\ud83d!`: "\ufffd!"} {
		if got := unescaped(in); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

// Of a line that holds several, what is not the compiler's is told in a note.
func TestFoldedLineIsCountedOnce(t *testing.T) {
	r := read(t, `log: "Edge TPU Compiler version 16.0.384591198\nhello\nInput model: a.tflite\nNumber of Edge TPU subgraphs: 1\n"`+"\nsomething else\n")
	if diff := cmp.Diff(map[string]int{"folded": 1}, r.Source.Rules()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Line{{2, "something else"}}, r.Source.Unknown); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"1 of 4 lines in line 1 are not the compiler's"}, r.Source.Notes); diff != "" {
		t.Error(diff)
	}
	if len(r.Models) != 1 || r.Models[0].Subgraphs != 1 {
		t.Errorf("%+v", r.Models)
	}
}

// An op that is too new is told by the interpreter's error, whatever words the
// compiler then has for it.
func TestParseTooNew(t *testing.T) {
	for _, e := range []string{"Didn't find op for builtin opcode 'FILL' version '3'. An older version of this builtin might be supported.", "Op builtin_code out of range: 131. Are you using old TFLite binary with newer model?"} {
		for _, end := range []string{
			"Invalid model: a.tflite\nModel could not be parsed\n",
			"Compilation failed: Model failed in Tflite interpreter. Please ensure model can be loaded/run in Tflite interpreter.\nCompilation child process completed within timeout period.\nCompilation failed! \n",
		} {
			r := read(t, "Edge TPU Compiler version 16.0.384591198\nERROR: "+e+"\nERROR: Registration failed.\n\n"+end)
			if diff := cmp.Diff(&Failure{UnsupportedOpVersion, e}, r.Failure); diff != "" {
				t.Errorf("%s: %s", end, diff)
			}
		}
	}
}

// Words of the person who published a log are no prefix of the compiler's.
func TestProseIsNoPrefix(t *testing.T) {
	for _, line := range []string{
		"I am using Edge TPU Compiler version 16.0.384591198",
		"The number printed as Number of Edge TPU subgraphs: 1 is what I expect",
		"note that Model compiled successfully in 3 ms.",
	} {
		if reports, err := Parse("x.log", strings.NewReader(line+"\n")); err == nil {
			t.Errorf("%s: %+v", line, reports)
		}
	}
}
