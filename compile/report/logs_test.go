package report

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/internal/testdata"
)

// realLogs are the published logs of the public data set with the form that
// its index gives: raw, reformatted or cut.
func realLogs(t testing.TB) (names []string, form map[string]string, text map[string][]byte) {
	t.Helper()
	dir := filepath.Join(testdata.Dir(t), "logs")
	index, err := os.Open(filepath.Join(dir, "index.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close() //nolint:errcheck // it is only read
	table := csv.NewReader(index)
	table.Comma, table.LazyQuotes = '\t', true
	rows, err := table.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	form, text = map[string]string{}, map[string][]byte{}
	for _, row := range rows[1:] {
		name := row[column["file"]]
		if text[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		names, form[name] = append(names, name), row[column["form"]]
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) != len(names) || len(names) == 0 {
		t.Fatalf("%d logs, %d in the index, error %v", len(files), len(names), err)
	}
	return names, form, text
}

// Every line of every real log that is not blank is taken by exactly one rule or
// listed as unknown, and hardly any is unknown.
func TestRealLogsLineByLine(t *testing.T) {
	names, form, texts := realLogs(t)
	raw, unknownRaw := 0, 0
	for _, name := range names {
		lines := map[int]int{}
		unknown := 0
		p := &parser{name: name, reading: newReading(), trace: func(line int, r rule) {
			lines[line]++
			if r == ruleNone {
				unknown++
			}
		}}
		reports, err := p.parse(bytes.NewReader(texts[name]))
		if err != nil {
			t.Error(err)
			continue
		}
		checkLines(t, texts[name], lines)
		listed, consumed := 0, 0
		for i := range reports {
			listed += len(reports[i].Source.Unknown)
			for _, n := range reports[i].Source.Rules() {
				consumed += n
			}
		}
		if listed != unknown || listed+consumed != len(lines) {
			t.Errorf("%s: %d lines: %d listed as unknown, %d unknown, %d by rules", name, len(lines), listed, unknown, consumed)
		}
		if form[name] == "raw" {
			raw, unknownRaw = raw+len(lines), unknownRaw+unknown
		}
		t.Logf("%s (%s): %d lines, %d unknown", name, form[name], len(lines), unknown)
	}
	if raw == 0 || unknownRaw*100 >= raw {
		t.Errorf("%d of %d lines of raw logs are unknown, want less than 1 %%", unknownRaw, raw)
	}
}

// How the real logs came out, told by a person who read them.
func TestRealLogsOutcome(t *testing.T) {
	names, _, texts := realLogs(t)
	failures := map[string]string{
		"020": ZeroSubgraphs, "039": ZeroSubgraphs, "042": ZeroSubgraphs, "043": ZeroSubgraphs,
		"070": Other, "071": Internal, "072": Internal, "073": Internal, "074": Cut, "075": Cut, "077": Cut, "078": Other,
		"079": NotQuantized, "080": NotQuantized, "081": NotQuantized, "082": UnsupportedOpVersion, "083": Other, "085": Cut,
		"087": Other, "088": Other, "090": Crashed, "091": NotQuantized, "092": Other, "093": NotQuantized, "094": Other,
		"096": Cut, "100": Cut, "101": Usage,
	}
	models := map[string]int{
		"001": 2, "002": 2, "003": 2, "007": 15, "009": 5, "071": 0, "072": 0, "073": 0, "074": 0, "075": 0, "077": 0, "078": 0,
		"083": 0, "085": 0, "087": 0, "088": 0, "090": 0, "092": 0, "094": 0, "096": 0, "101": 0,
	}
	for _, name := range names {
		reports, err := Parse(name, bytes.NewReader(texts[name]))
		if err != nil || len(reports) != 1 {
			t.Errorf("%s: %d invocations, error %v", name, len(reports), err)
			continue
		}
		number, r := name[:3], &reports[0]
		kind := ""
		if r.Failure != nil {
			kind = r.Failure.Kind
		}
		if kind != failures[number] {
			t.Errorf("%s: failure %q, want %q", name, kind, failures[number])
		}
		want, ok := models[number]
		if !ok {
			want = 1
		}
		if len(r.Models) != want {
			t.Errorf("%s: %d models, want %d", name, len(r.Models), want)
		}
	}
}

// A reformatted log, value by value.
func TestRealLogReformatted(t *testing.T) {
	_, _, texts := realLogs(t)
	name := "040-v3-keras-char-59mib-v16-reformatted.txt"
	got := read(t, string(texts[name]))
	want := &Report{Compiler: "16.0.384591198", CompileMS: 6942, TimeoutS: 180, Models: []Model{{
		Input: "v3_keras_char_int8.tflite", InputSize: sized(t, "59.10 MiB"), Output: "v3_keras_char_int8_edgetpu.tflite", OutputSize: sized(t, "59.12 MiB"),
		OnChip: sized(t, "7.59 MiB"), Remaining: sized(t, "1.75 KiB"), Streamed: sized(t, "51.43 MiB"),
		Subgraphs: 1, Operations: 36, TPUOperations: NotPrinted, CPUOperations: NotPrinted,
	}}}
	got.Source = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A real report of the usual form can be printed and read back without a
// difference.
func TestRealLogsPrintAndParse(t *testing.T) {
	names, _, texts := realLogs(t)
	for _, name := range names {
		reports, err := Parse(name, bytes.NewReader(texts[name]))
		if err != nil {
			t.Fatal(err)
		}
		want := reports[0]
		if want.Source.Attempts != nil || want.Compiler == "" || want.CompileMS == NotPrinted || want.Failure != nil && want.Failure.Kind == Cut || len(want.Source.Notes) > 0 {
			continue
		}
		var b strings.Builder
		if err := Print(&b, &want); err != nil {
			t.Fatal(err)
		}
		got := read(t, b.String())
		got.Source, want.Source = nil, nil
		for i := range want.Models { // what a cut log leaves open, a whole one says
			if w, g := &want.Models[i], &got.Models[i]; w.TPUOperations == NotPrinted && w.CPUOperations == NotPrinted {
				g.TPUOperations, g.CPUOperations = NotPrinted, NotPrinted
			}
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
