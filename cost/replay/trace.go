package replay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Trace reads recorded calls, line by line, as CSV or as JSON lines.
//
// CSV has one column, the model's name, or two, the time in milliseconds and
// the name. With a header line (model; time_ms,model) columns may stand in any order
// and others are left out. A name with a comma or a quote mark is
// quoted, as RFC 4180 has it.
//
// A JSON line is an object with the field model and, on all lines or on none,
// time_ms; other fields are left out.
//
// Times may count from anywhere (calls are timed from the first one on), but
// not backwards. Blank lines are skipped. A text that begins with "{" is JSON lines.
type Trace struct {
	name   string
	in     *bufio.Reader
	models map[string]int
	line   int
	format traceFormat
	// Columns of CSV, timeColumn < 0 without times; columns is their number, 0 before the first line.
	columns, modelColumn, timeColumn int
	fields                           []field
	calls                            int64
	timed                            bool
	zeroMS, lastMS                   float64
}

type traceFormat int

const (
	formatUnknown traceFormat = iota
	formatCSV
	formatJSON
)

// maxTraceLine is far above any line of a trace.
const maxTraceLine = 1 << 20

// NewTrace reads calls of the models of a replay. The name of the trace is used in messages.
func NewTrace(name string, in io.Reader, models []Model) *Trace {
	t := &Trace{name: name, in: bufio.NewReaderSize(in, maxTraceLine), models: map[string]int{}}
	for i, m := range models {
		t.models[m.Name] = i
	}
	return t
}

// TraceError is what is wrong with a trace, and where.
type TraceError struct {
	Name         string // of the trace
	Line, Column int    // from 1; columns count characters
	Reason       string
	Hint         string // what to do about it, may be empty
	Model        string // the name, if it is one that no model has
	Err          error  // if reading failed
}

func (e *TraceError) Error() string {
	if e.Line == 0 {
		return e.Name + ": " + e.Reason
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.Name, e.Line, e.Column, e.Reason)
}

// Unwrap is what failed underneath.
func (e *TraceError) Unwrap() error { return e.Err }

// Calls is how many calls were read.
func (t *Trace) Calls() int64 { return t.calls }

// Next is the next call, io.EOF behind the last one, or a [*TraceError]. A
// trace without any call is an error.
func (t *Trace) Next() (Call, error) {
	for {
		line, err := t.readLine()
		if err == io.EOF && t.calls == 0 {
			return Call{}, &TraceError{Name: t.name, Reason: "no calls in it", Hint: `a line is a model's name, "time_ms,model" or {"time_ms": 12.5, "model": "face"}`}
		}
		if err != nil {
			return Call{}, err
		}
		blank := len(bytes.TrimSpace(line)) == 0
		if t.format == formatUnknown && !blank {
			if err := t.begin(line); err != nil {
				return Call{}, err
			}
			if t.format == formatCSV {
				is, err := t.header(line)
				if err != nil {
					return Call{}, err
				}
				if is {
					continue
				}
			}
		}
		if blank {
			continue
		}
		r := record{timeAt: -1}
		if t.format == formatJSON {
			err = t.json(line, &r)
		} else {
			err = t.csv(line, &r)
		}
		if err != nil {
			return Call{}, err
		}
		return t.call(line, &r)
	}
}

// record is a line taken apart: the model, the time as a text, empty if there
// is none, and where in the line they stand.
type record struct {
	model, time     []byte
	modelAt, timeAt int
}

// readLine reads a line without its end.
func (t *Trace) readLine() ([]byte, error) {
	line, err := t.in.ReadSlice('\n')
	switch {
	case len(line) > 0 && err == io.EOF, err == nil:
	case err == io.EOF:
		return nil, io.EOF
	case errors.Is(err, bufio.ErrBufferFull):
		t.line++
		return nil, t.wrong(line, 0, "a line too long for a trace", "")
	default:
		return nil, &TraceError{Name: t.name, Reason: err.Error(), Err: err}
	}
	t.line++
	line = bytes.TrimSuffix(line, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if t.line == 1 {
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	}
	return line, nil
}

// wrong is an error at a byte of a line.
func (t *Trace) wrong(line []byte, at int, reason, hint string) *TraceError {
	return &TraceError{Name: t.name, Line: t.line, Column: utf8.RuneCount(line[:min(max(0, at), len(line))]) + 1, Reason: reason, Hint: hint}
}

// begin finds out what the trace is by its first line.
func (t *Trace) begin(line []byte) error {
	switch {
	case bytes.HasPrefix(line, []byte("\x1f\x8b")):
		return t.wrong(line, 0, "the trace is compressed", `gunzip it, or pipe "gunzip -c" into --trace -`)
	case bytes.HasPrefix(line, []byte("\xff\xfe")), bytes.HasPrefix(line, []byte("\xfe\xff")):
		return t.wrong(line, 0, "the trace is UTF-16", "save it as UTF-8")
	}
	t.format = formatCSV
	if bytes.TrimSpace(line)[0] == '{' {
		t.format = formatJSON
	}
	return nil
}

// field is a cell of a line of CSV.
type field struct {
	text []byte
	at   int // byte of the line at which it begins
}

// split takes a line of CSV apart into t.fields. A problem is the byte of a
// quote mark that is not closed, or -1.
func (t *Trace) split(line []byte) (unclosed int) {
	t.fields = t.fields[:0]
	for at := 0; ; {
		rest := line[at:]
		blanks := len(rest) - len(bytes.TrimLeft(rest, " \t"))
		if blanks < len(rest) && rest[blanks] == '"' {
			text, end := unquote(rest[blanks:])
			if end < 0 {
				return at + blanks
			}
			t.fields = append(t.fields, field{text, at + blanks})
			at += blanks + end
			if after := bytes.IndexByte(line[at:], ','); after >= 0 {
				if len(bytes.TrimSpace(line[at:at+after])) > 0 {
					return at
				}
				at += after + 1
				continue
			}
			if len(bytes.TrimSpace(line[at:])) > 0 {
				return at
			}
			return -1
		}
		end := bytes.IndexByte(rest, ',')
		if end < 0 {
			t.fields = append(t.fields, field{bytes.TrimSpace(rest), at + blanks})
			return -1
		}
		t.fields = append(t.fields, field{bytes.TrimSpace(rest[:end]), at + blanks})
		at += end + 1
	}
}

// unquote reads a quoted cell; end is behind its closing mark, -1 if it has none.
func unquote(s []byte) (text []byte, end int) {
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			continue
		}
		if i+1 < len(s) && s[i+1] == '"' {
			i++
			continue
		}
		text = s[1:i]
		if bytes.IndexByte(text, '"') >= 0 {
			text = bytes.ReplaceAll(text, []byte(`""`), []byte(`"`))
		}
		return text, i + 1
	}
	return nil, -1
}

// header reads the first line of CSV: the names of the columns, if it is that.
func (t *Trace) header(line []byte) (bool, error) {
	t.modelColumn, t.timeColumn = -1, -1
	if t.split(line) >= 0 {
		return false, nil
	}
	clock := -1 // a column that may be the time under another name
	for i, f := range t.fields {
		switch name := string(f.text); {
		case name == "model":
			t.modelColumn = i
		case name == "time_ms":
			t.timeColumn = i
		case strings.Contains(strings.ToLower(name), "time"), name == "t", name == "ts", name == "ms":
			clock = i
		}
	}
	_, first := parseTime(t.fields[0].text)
	switch {
	case t.modelColumn < 0 && t.timeColumn < 0 || first:
		return false, nil // a line of calls
	case t.modelColumn < 0:
		return false, t.wrong(line, 0, `a header without a column "model"`, "")
	case t.timeColumn < 0 && clock >= 0:
		return false, t.wrong(line, t.fields[clock].at, fmt.Sprintf("an unknown column %q beside the model", t.fields[clock].text), `call it time_ms if it holds milliseconds, or leave it out`)
	}
	t.columns = len(t.fields)
	return true, nil
}

// csv reads a line of CSV.
func (t *Trace) csv(line []byte, r *record) error {
	if at := t.split(line); at >= 0 {
		return t.wrong(line, at, "a quote mark that does not enclose a whole column", `write "" for a quote mark in a name`)
	}
	if t.columns == 0 { // the first line, and it is no header
		switch t.columns = len(t.fields); t.columns {
		case 1:
			t.modelColumn, t.timeColumn = 0, -1
		case 2:
			t.modelColumn, t.timeColumn = 1, 0
		default:
			return t.wrong(line, 0, fmt.Sprintf("%d columns without a header", t.columns), `say in a first line which are "time_ms" and "model"`)
		}
	}
	if len(t.fields) != t.columns {
		return t.wrong(line, 0, fmt.Sprintf("%d columns, the lines before have %d", len(t.fields), t.columns), "")
	}
	m := t.fields[t.modelColumn]
	r.model, r.modelAt = m.text, m.at
	if t.timeColumn >= 0 {
		f := t.fields[t.timeColumn]
		if len(f.text) == 0 {
			return t.wrong(line, f.at, "no time", "")
		}
		r.time, r.timeAt = f.text, f.at
	}
	return nil
}

// json reads a JSON line.
func (t *Trace) json(line []byte, r *record) error {
	if plainJSON(line, r) {
		return nil
	}
	// Escapes, nested values, or a mistake: the decoder knows them all.
	var object map[string]json.RawMessage
	if err := json.Unmarshal(line, &object); err != nil {
		at := len(line)
		if e := (*json.SyntaxError)(nil); errors.As(err, &e) {
			at = int(e.Offset) - 1
		}
		if len(bytes.TrimSpace(line)) > 0 && bytes.TrimSpace(line)[0] != '{' {
			return t.wrong(line, 0, "not a JSON object, as the lines before are", "")
		}
		return t.wrong(line, at, "not a JSON object: "+err.Error(), "every line is one object")
	}
	raw, ok := object["model"]
	var name *string
	if !ok || json.Unmarshal(raw, &name) != nil || name == nil {
		return t.wrong(line, 0, `no text "model"`, "")
	}
	r.model, r.modelAt = []byte(*name), max(0, bytes.Index(line, []byte(`"model"`)))
	if raw, ok := object["time_ms"]; ok {
		r.time, r.timeAt = raw, max(0, bytes.Index(line, []byte(`"time_ms"`)))
	}
	return nil
}

// plainJSON reads an object whose values are numbers and strings without
// escapes; false leaves it to the decoder. Traces have millions of lines.
func plainJSON(line []byte, r *record) bool {
	i := skip(line, 0)
	if i == len(line) || line[i] != '{' {
		return false
	}
	for i++; ; i++ {
		key, _, next := quoted(line, skip(line, i))
		i = skip(line, next)
		if next < 0 || i >= len(line) || line[i] != ':' {
			return false
		}
		i = skip(line, i+1)
		start := i
		var value []byte
		text := i < len(line) && line[i] == '"'
		if text {
			if value, start, i = quoted(line, i); i < 0 {
				return false
			}
		} else {
			i = jsonNumber(line, i)
			if value = line[start:i]; len(value) == 0 {
				return false
			}
		}
		switch string(key) {
		case "model":
			if !text || r.model != nil {
				return false
			}
			r.model, r.modelAt = value, start
		case "time_ms":
			if text || r.time != nil {
				return false
			}
			r.time, r.timeAt = value, start
		}
		if i = skip(line, i); i >= len(line) {
			return false
		}
		if line[i] == '}' {
			return skip(line, i+1) == len(line) && r.model != nil
		}
		if line[i] != ',' {
			return false
		}
	}
}

// skip is the first byte from i on that is no blank.
func skip(line []byte, i int) int {
	for i >= 0 && i < len(line) && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r') {
		i++
	}
	return i
}

// quoted reads a string without escapes that begins at i; next is -1 if there is none.
func quoted(line []byte, i int) (text []byte, start, next int) {
	if i >= len(line) || line[i] != '"' {
		return nil, i, -1
	}
	for end := i + 1; end < len(line); end++ {
		switch c := line[end]; {
		case c == '"':
			return line[i+1 : end], i, end + 1
		case c == '\\' || c < ' ':
			return nil, i, -1
		}
	}
	return nil, i, -1
}

// jsonNumber is the end of the number that begins at i, or i if none does.
func jsonNumber(line []byte, i int) int {
	digits := func(from int) int {
		for from < len(line) && line[from] >= '0' && line[from] <= '9' {
			from++
		}
		return from
	}
	at := i
	if at < len(line) && line[at] == '-' {
		at++
	}
	end := digits(at)
	if end == at || line[at] == '0' && end > at+1 {
		return i
	}
	if end < len(line) && line[end] == '.' {
		if at, end = end+1, digits(end+1); at == end {
			return i
		}
	}
	if end < len(line) && (line[end] == 'e' || line[end] == 'E') {
		if at = end + 1; at < len(line) && (line[at] == '-' || line[at] == '+') {
			at++
		}
		if end = digits(at); at == end {
			return i
		}
	}
	return end
}

func numeric(c byte) bool {
	return c >= '0' && c <= '9' || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E'
}

// call makes a call of a line.
func (t *Trace) call(line []byte, r *record) (Call, error) {
	m, ok := t.models[string(r.model)]
	if !ok {
		hint := ""
		if bytes.ContainsAny(r.model, ";\t") {
			hint = "columns are separated by commas"
		}
		e := t.wrong(line, r.modelAt, fmt.Sprintf("unknown model %q", r.model), hint)
		e.Model = string(r.model)
		return Call{}, e
	}
	timed := len(r.time) > 0
	if t.calls > 0 && timed != t.timed {
		if timed {
			return Call{}, t.wrong(line, r.timeAt, "a time, and the calls before have none", "")
		}
		return Call{}, t.wrong(line, 0, "no time_ms, and the calls before have one", "")
	}
	c := Call{Model: m, Timed: timed}
	if timed {
		at, ok := parseTime(r.time)
		switch {
		case !ok:
			return Call{}, t.wrong(line, r.timeAt, fmt.Sprintf("%q is no time in milliseconds", r.time), "")
		case t.calls == 0:
			t.zeroMS = at
		case at < t.lastMS:
			return Call{}, t.wrong(line, r.timeAt, fmt.Sprintf("the time goes back from %v to %v ms", t.lastMS, at), "sort the trace by time")
		}
		t.lastMS = at
		c.AtMS = at - t.zeroMS
	}
	t.timed = timed
	t.calls++
	return c, nil
}

// powersOfTen are exact in a float64.
var powersOfTen = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// parseTime reads a decimal number that is finite.
func parseTime(s []byte) (float64, bool) {
	// Up to 15 digits and their power of ten are exact, so that their quotient
	// is rounded once (Clinger, How to read floating point numbers accurately, 1990).
	var digits uint64
	point, n := -1, 0
	for i, c := range s {
		switch {
		case c >= '0' && c <= '9' && n < 15:
			digits = digits*10 + uint64(c-'0')
			n++
		case c == '.' && point < 0:
			point = i
		default:
			return parseAnyTime(s)
		}
	}
	if n == 0 {
		return 0, false
	}
	if point < 0 {
		return float64(digits), true
	}
	return float64(digits) / powersOfTen[len(s)-1-point], true
}

func parseAnyTime(s []byte) (float64, bool) {
	for _, c := range s {
		if !numeric(c) { // no hexadecimal, no infinity
			return 0, false
		}
	}
	x, err := strconv.ParseFloat(string(s), 64)
	return x, err == nil && math.Abs(x) <= maxTimeMS
}

// maxTimeMS keeps differences of times good to a microsecond: it is beyond any
// clock that counts from 1970 or before.
const maxTimeMS = 1e15
