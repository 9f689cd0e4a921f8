package view

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/plans/schema/schematest"
)

// What a reader with grep finds in a log: a label, a number, perhaps a unit.
var (
	labelled = regexp.MustCompile(`(?m)^[ \t>]*[A-Z][A-Za-z ()-]*[:|][ \t]*([0-9]+(?:\.[0-9]+)?)[ \t]*(B|KiB|MiB)?[ \t|]*\r?$`)
	// the same with any label, but for names of tensors (Call:0), which have no blank before them
	anyLabel = regexp.MustCompile(`(?m)[A-Za-z)]+(?:[ \t]*\|[ \t]*|:[ \t]+)[0-9]+(?:\.[0-9]+)?[ \t]*(?:B|KiB|MiB)?[ \t|]*\r?$`)
	inParens = regexp.MustCompile(`\(([0-9.]+) ?(B|KiB|MiB)\)`)
)

// Every "label: number" of every real log is in the JSON, as often as in the
// text: sizes as printed and in bytes, counts as numbers.
func TestLogJSONHoldsEveryNumber(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testdata.Dir(t), "logs", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d logs, error %v", len(files), err)
	}
	total := 0
	for _, file := range files {
		name := filepath.Base(file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		reports, err := report.Parse(name, strings.NewReader(string(text)))
		if err != nil {
			t.Error(err)
			continue
		}
		out := LogJSON(reports, nil)
		if err := schematest.Validate("log", out); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var doc any
		if err := json.Unmarshal(out, &doc); err != nil {
			t.Fatal(err)
		}
		have := map[string]int{}
		leaves(doc, have)
		if strict, loose := len(labelled.FindAllString(string(text), -1)), len(anyLabel.FindAllString(string(text), -1)); strict != loose {
			t.Errorf("%s: %d numbers have a label, %d are looked for", name, loose, strict)
		}
		for _, m := range append(labelled.FindAllStringSubmatch(string(text), -1), inParens.FindAllStringSubmatch(string(text), -1)...) {
			total++
			want := []string{m[1]}
			if m[2] != "" {
				x, err := strconv.ParseFloat(m[1], 64)
				if err != nil {
					t.Fatal(err)
				}
				x *= map[string]float64{"B": 1, "KiB": 1024, "MiB": 1024 * 1024}[m[2]]
				want = []string{m[1] + m[2], fmt.Sprintf("%.0f", x)}
			}
			for _, w := range want {
				if have[w]--; have[w] < 0 {
					t.Errorf("%s: %q: %s is not in the JSON, or not often enough", name, m[0], w)
				}
			}
		}
	}
	if total < 400 {
		t.Errorf("only %d numbers were looked for", total)
	}
}

// leaves counts the numbers and the strings without blanks.
func leaves(v any, have map[string]int) {
	switch v := v.(type) {
	case map[string]any:
		for key, x := range v {
			if key != "rules" {
				leaves(x, have)
			}
		}
	case []any:
		for _, x := range v {
			leaves(x, have)
		}
	case string:
		have[strings.ReplaceAll(v, " ", "")]++
	case float64:
		have[fmt.Sprintf("%.0f", v)]++
	}
}

// A number that was not printed is absent, and one that was is there though it is 0.
func TestLogJSONOfWhatIsNotKnown(t *testing.T) {
	reports, err := report.Parse("x.log", strings.NewReader("On-chip memory used for caching model parameters: 0.00B\n"))
	if err != nil {
		t.Fatal(err)
	}
	out := string(LogJSON(reports, nil))
	for _, absent := range []string{"compile_ms", "compiler", "streamed_bytes", "operations", "subgraphs", "failure", "input"} {
		if strings.Contains(out, `"`+absent+`"`) {
			t.Errorf("%s is there:\n%s", absent, out)
		}
	}
	if !strings.Contains(out, `"on_chip_bytes": 0,`) {
		t.Errorf("no on_chip_bytes in\n%s", out)
	}
}

// A log may come from anywhere: nothing in it steers the terminal.
func TestLogShowsNoControlCharacters(t *testing.T) {
	text := "Edge TPU Compiler version 15.0.1\nInput model: a\x07\u009bm.tflite\nERROR: \x1b[2Jb\x08\n\nwhat \x1b[1mis\x0b this\n"
	reports, err := report.Parse("\x1b.log", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	out := string(Log(reports, nil, Style{Width: 80}))
	if strings.ContainsAny(out, "\x1b\x07\x08\x0b\u009b") || !strings.Contains(out, "a??m.tflite") || !strings.Contains(out, "unknown line 5") {
		t.Errorf("%q", out)
	}
}
