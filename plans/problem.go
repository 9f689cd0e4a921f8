package plans

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tpuplan/tpuplan/internal/columns"
)

// Problem is one thing that is wrong, or doubtful, in a plan file or in a file
// that it names.
type Problem struct {
	File    string // the plan file as the user named it; "" for a plan made by a program
	Line    int    // from 1; 0 when the problem has no place in the file
	Col     int    // from 1, counted in characters
	Message string // what is wrong and why, without position
	Hint    string // what to write instead; may be empty
	Outside bool   // the cause lies in a model file or in the folder, not in the plan file's text
	line    string // the line of the plan file
	width   int    // how many characters of it are meant
}

// Error is the problem in one line, such as
// plan.toml:12:9: unknown key "frequncy" (did you mean "frequency"?).
func (p Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
		if p.Line > 0 {
			fmt.Fprintf(&b, "%d:%d:", p.Line, p.Col)
		}
		b.WriteByte(' ')
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Excerpt shows the line of the plan file with carets under what is meant, two
// lines that each end in a line feed, or "" where there is nothing to show.
func (p Problem) Excerpt() string {
	if p.Line == 0 || p.line == "" {
		return ""
	}
	number := fmt.Sprintf("%5d", p.Line)
	var under strings.Builder
	col, carets := 1, 0
	for _, r := range p.line {
		if col >= p.Col {
			if col < p.Col+p.width {
				carets += columns.Of(r)
			}
			col++
			continue
		}
		// A tab is kept, so that the caret stands right at any tab width.
		if r == '\t' {
			under.WriteByte('\t')
		} else {
			under.WriteString(strings.Repeat(" ", columns.Of(r)))
		}
		col++
	}
	return fmt.Sprintf("%s | %s\n%s | %s%s\n", number, p.line, strings.Repeat(" ", len(number)), under.String(), strings.Repeat("^", max(1, carets)))
}

// Problems are all problems of one run, sorted by place. It is the error that
// [Load], [Parse] and [Resolve] return for bad data.
type Problems []Problem

// Error lists the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// InPlan reports whether the text of the plan file has to change for any of
// the problems; otherwise the models or the folder have to.
func (ps Problems) InPlan() bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return !p.Outside })
}

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col), cmp.Compare(a.Message, b.Message))
	})
}

// err sorts the problems and returns them, or nil if there are none.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	ps.sort()
	return ps
}

// document is a plan file as read: its text, and where everything is in it.
type document struct {
	name    string
	text    string
	outline *outline
}

// at makes a problem that points at a range of the document.
func (d *document) at(where span, message, hint string) Problem {
	p := Problem{File: d.name, Message: message, Hint: hint}
	p.Line, p.Col = position(d.text, where.start)
	begin := strings.LastIndexByte(d.text[:min(where.start, len(d.text))], '\n') + 1
	line, _, _ := strings.Cut(d.text[begin:], "\n")
	line = strings.TrimSuffix(line, "\r")
	p.line = shown(line)
	p.width = utf8.RuneCountInString(d.text[min(where.start, begin+len(line)):max(where.start, min(where.end, begin+len(line)))])
	return p
}

// shown is a line fit for a terminal: one character for one, controls replaced, and not endless.
func shown(line string) string {
	if len(line) > 400 {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r != '\t' && (r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == utf8.RuneError) {
			return '?'
		}
		return r
	}, line)
}

// atKey points at a key, atValue at what it is set to; where the document has
// no such place the nearest table above is meant.
func (d *document) atKey(path []any, message, hint string) Problem {
	n, _ := d.outline.find(path)
	return d.at(n.key, message, hint)
}

func (d *document) atValue(path []any, message, hint string) Problem {
	n, exact := d.outline.find(path)
	if !exact || n.value == (span{}) {
		return d.at(n.key, message, hint)
	}
	return d.at(n.value, message, hint)
}
