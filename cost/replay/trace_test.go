package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

var traced = []Model{{Name: "face"}, {Name: "hand"}, {Name: `a, "b"`}, {Name: "größe"}, {Name: "7"}}

func readTrace(text string) (string, error) {
	t := NewTrace("x.csv", iotest.OneByteReader(strings.NewReader(text)), traced)
	got := ""
	for {
		c, err := t.Next()
		if err == io.EOF {
			if n := len(strings.Fields(got)); int64(n) != t.Calls() {
				return got, fmt.Errorf("%d calls, it says %d", n, t.Calls())
			}
			return strings.TrimSpace(got), nil
		}
		if err != nil {
			return got, err
		}
		got += fmt.Sprint(c.Model)
		if c.Timed {
			got += fmt.Sprintf("@%v", c.AtMS)
		}
		got += " "
	}
}

// What a trace says: numbers of models, with times counted from the first call.
func TestTrace(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"names", "face\nhand\nface\n", "0 1 0"},
		{"no line feed at the end", "face\nhand", "0 1"},
		{"a header", "model\nface\n", "0"},
		{"times", "0,face\n1.5,hand\n1.5,face\n", "0@0 1@1.5 0@1.5"},
		{"times and a header", "time_ms,model\n10,face\n12.25,hand\n", "0@0 1@2.25"},
		{"columns in another order", "model,time_ms\nface,10\nhand,11\n", "0@0 1@1"},
		{"columns that say nothing", "id,model,note,time_ms\nq,face,,10\nr,hand,\"x, y\",11\n", "0@0 1@1"},
		{"columns that say nothing, without times", "id,model\n1,face\n", "0"},
		{"blank lines, blanks, CRLF, byte order mark", "\xef\xbb\xbf time_ms , model \r\n\r\n 1 , face \r\n\n2,\thand\r\n", "0@0 1@1"},
		{"quoted", "time_ms,model\n1,\"face\"\n2, \"a, \"\"b\"\"\" \n", "0@0 2@1"},
		{"a number for a name", "7\nface\n", "4 0"},
		{"clock of the day, and before some", "-5,face\n1e3,hand\n", "0@0 1@1005"},
		{"milliseconds since 1970", "1718000000000.125,face\n1718000000001.375,hand\n", "0@0 1@1.25"},
		{"JSON lines", `{"model": "face"}` + "\n\n" + ` { "model":"hand" } ` + "\n", "0 1"},
		{"JSON with times", `{"model":"face","time_ms":3}` + "\n" + `{"time_ms":3.5,"model":"hand","bytes":12}`, "0@0 1@0.5"},
		{"JSON with everything", `{"a":{"model":"x"},"time_ms":30E-1,"model":"gr\u00f6\u00dfe"}` + "\n" + `{"b":[1,"}"],"time_ms":4,"model":"a, \"b\"","c":null}`, "3@0 2@1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := readTrace(tt.text); err != nil || got != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestTraceErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want, hint string }{
		{"empty", "", "x.csv: no calls in it", "a line is a model's name"},
		{"only a header", "time_ms,model\n", "x.csv: no calls in it", ""},
		{"unknown model", "face\nfase\n", `x.csv:2:1: unknown model "fase"`, ""},
		{"unknown model behind a name of two bytes a letter", "model,x\ngröße,ö\n\"hänt\",x", `x.csv:3:1: unknown model "hänt"`, ""},
		{"column counts characters", "note,model\nöö,hant\n", `x.csv:2:4: unknown model "hant"`, ""},
		{"semicolons", "1;face\n", `x.csv:1:1: unknown model "1;face"`, "commas"},
		{"no number", "1,face\nsoon,hand\n", `x.csv:2:1: "soon" is no time in milliseconds`, ""},
		{"infinity", "Inf,face\n", `x.csv:1:1: "Inf" is no time in milliseconds`, ""},
		{"hexadecimal", "0x10,face\n", `x.csv:1:1: "0x10" is no time in milliseconds`, ""},
		{"beyond any clock", "1e16,face\n", `x.csv:1:1: "1e16" is no time in milliseconds`, ""},
		{"two points", "1.2.3,face\n", `x.csv:1:1: "1.2.3" is no time in milliseconds`, ""},
		{"a sign alone", "-,face\n", `x.csv:1:1: "-" is no time in milliseconds`, ""},
		{"no time", "1,face\n,hand\n", "x.csv:2:1: no time", ""},
		{"back in time", "5,face\n4.5,hand\n", "x.csv:2:1: the time goes back from 5 to 4.5 ms", "sort the trace by time"},
		{"a column too many", "1,face\n2,face,x\n", "x.csv:2:1: 3 columns, the lines before have 2", ""},
		{"three columns", "1,face,x\n", "x.csv:1:1: 3 columns without a header", "first line"},
		{"header without model", "time_ms,name\n1,face\n", `x.csv:1:1: a header without a column "model"`, ""},
		{"another name for the time", "Time,model\n1,face\n", `x.csv:1:1: an unknown column "Time" beside the model`, "time_ms"},
		{"open quote", "face\n\"face\n", "x.csv:2:1: a quote mark that does not enclose a whole column", `""`},
		{"text behind a quote", "\"face\" x,1\n", "x.csv:1:7: a quote mark that", ""},
		{"compressed", "\x1f\x8b\x08", "x.csv:1:1: the trace is compressed", "gunzip"},
		{"UTF-16", "\xff\xfef\x00", "x.csv:1:1: the trace is UTF-16", "UTF-8"},
		{"long line", "face\n" + strings.Repeat("x", maxTraceLine+1), "x.csv:2:1: a line too long for a trace", ""},
		{"JSON without model", `{"time_ms": 1}`, `x.csv:1:1: no text "model"`, ""},
		{"JSON model of null", `{"model": null}`, `x.csv:1:1: no text "model"`, ""},
		{"JSON model is a number", `{"model": 7}`, `x.csv:1:1: no text "model"`, ""},
		{"JSON time is a text", `{"model": "face", "time_ms": "1"}`, `x.csv:1:19: "\"1\"" is no time in milliseconds`, ""},
		{"JSON cut", `{"model": "face"`, "x.csv:1:16: not a JSON object: unexpected end of JSON input", "one object"},
		{"JSON with a leading zero", `{"model": "face", "time_ms": 01}`, "x.csv:1:31: not a JSON object: ", ""},
		{"not JSON behind JSON", `{"model": "face"}` + "\nface\n", "x.csv:2:1: not a JSON object, as the lines before are", ""},
		{"two objects in a line", `{"model": "face"}{"model": "face"}`, "x.csv:1:18: not a JSON object: ", ""},
		{"some times", `{"model": "face", "time_ms": 1}` + "\n" + `{"model": "face"}`, "x.csv:2:1: no time_ms, and the calls before have one", ""},
		{"a time at last", `{"model": "face"}` + "\n" + `{"time_ms": 1, "model": "face"}`, "x.csv:2:13: a time, and the calls before have none", ""},
		{"unknown model in JSON", `{"id": 3, "model": "hant"}`, `x.csv:1:20: unknown model "hant"`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readTrace(tt.text)
			e, ok := errors.AsType[*TraceError](err)
			if !ok || !strings.HasPrefix(e.Error(), tt.want) || !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("got %v (hint %q), want %q (hint %q)", err, hintOf(e), tt.want, tt.hint)
			}
			if ok && (e.Model != "") != strings.Contains(e.Reason, "unknown model") {
				t.Errorf("Model is %q of %q", e.Model, e.Reason)
			}
		})
	}
}

func hintOf(e *TraceError) string {
	if e == nil {
		return ""
	}
	return e.Hint
}

func TestTraceThatCannotBeRead(t *testing.T) {
	broken := errors.New("the disk is gone")
	trace := NewTrace("x.csv", io.MultiReader(strings.NewReader("face\n"), iotest.ErrReader(broken)), traced)
	if _, err := trace.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := trace.Next(); !errors.Is(err, broken) || err.Error() != "x.csv: the disk is gone" {
		t.Errorf("got %v", err)
	}
}

// FuzzTrace: whatever the text, a trace gives calls of models that exist in
// the order of time, and then ends; JSON that is read without the decoder is
// what the decoder reads.
func FuzzTrace(f *testing.F) {
	for _, seed := range []string{
		"face\nhand\n", "time_ms,model\n1,face\n2.5e1,\"a, \"\"b\"\"\"\n", `{"model":"face","time_ms":3}` + "\n" + `{"time_ms":-3.5,"model":"hand"}`,
		`{"model":"gr\u00f6\u00dfe","x":{"y":[1,2]}}`, "\"\n", "id,model\n,\n", "{", "1,face\n0,face\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for line := range strings.Lines(text) {
			r := record{}
			if line = strings.TrimRight(line, "\r\n"); !plainJSON([]byte(line), &r) {
				continue
			}
			var want map[string]json.RawMessage
			if err := json.Unmarshal([]byte(line), &want); err != nil {
				t.Fatalf("%q is taken for JSON: %v", line, err)
			}
			if model, time := `"`+string(r.model)+`"`, string(r.time); model != string(want["model"]) || time != string(want["time_ms"]) {
				t.Fatalf("%q: read %s at %q", line, model, time)
			}
		}
		trace := NewTrace("x", strings.NewReader(text), traced)
		last, timed := 0.0, false
		for n := 0; ; n++ {
			c, err := trace.Next()
			if err == io.EOF && n > 0 {
				return
			}
			if err != nil {
				e, ok := errors.AsType[*TraceError](err)
				if !ok || e.Reason == "" || e.Line > strings.Count(text, "\n")+1 || e.Line > 0 && e.Column < 1 {
					t.Fatalf("error %#v", err)
				}
				return
			}
			if c.Model < 0 || c.Model >= len(traced) || n > 0 && c.Timed != timed || c.AtMS < last {
				t.Fatalf("call %d is %+v after %v ms", n, c, last)
			}
			last, timed = c.AtMS, c.Timed
		}
	})
}
