// Package view turns results into what the user reads: tables for people and
// JSON for scripts. It knows no logic: whatever it prints was computed by the
// package whose type it is given.
package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tpuplan/tpuplan/internal/columns"
	"github.com/tpuplan/tpuplan/plans"
)

// Style is how a table looks.
type Style struct {
	Width int  // columns
	Color bool // ANSI colours may be used
}

// Visible replaces what would steer a terminal: names of files, layers and ops
// may come from anywhere.
func Visible(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) && string(r) != glue {
			return '?'
		}
		return r
	}, text)
}

// bold marks what to read first.
func (s Style) bold(text string) string {
	text = Visible(text)
	if !s.Color {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// encode writes one JSON object in the form of all outputs: indented, one
// line feed at the end, and no escapes that only a web page needs.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic(err) // the types of this package can all be encoded
	}
	return b.Bytes()
}

// number is a quantity in JSON, written as in the lock.
type number = plans.Number

// size prints bytes with three digits, "4.11 MiB".
func size(bytes int64) string {
	switch {
	case bytes < 0:
		return "-" + size(-bytes)
	case bytes < 1000:
		return fmt.Sprintf("%d B", bytes)
	case bytes < 1000<<10:
		return digits(float64(bytes)/(1<<10)) + " KiB"
	}
	return digits(float64(bytes)/(1<<20)) + " MiB"
}

// ms prints a time with three digits.
func ms(t float64) string { return digits(t) + " ms" }

// digits prints three significant digits, and at least all before the point.
// What is not quite nothing does not look like nothing.
func digits(x float64) string {
	if math.Abs(x) <= rounding {
		x = 0 // of either sign
	}
	decimals := 2
	switch a := math.Abs(x); {
	case x > rounding && x < 0.005:
		return "<0.01"
	case x < -rounding && x > -0.005: // and not "-0.00"
		return ">-0.01"
	case a >= 99.95:
		decimals = 0
	case a >= 9.995:
		decimals = 1
	}
	return strconv.FormatFloat(x, 'f', decimals, 64)
}

// rounding is what two sums of the same times may differ by in floating point.
const rounding = 1e-9

// percent prints a share, "87 %"; what is not quite all or nothing does not look so.
func percent(share float64) string {
	p := share * 100
	switch {
	case share > 0 && p < 0.5:
		return "<1 %"
	case share < 1 && p > 99.5:
		return ">99 %"
	}
	return fmt.Sprintf("%.0f %%", p)
}

// count prints a number of things, "1 op", "2 ops".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// table is lines of cells in aligned columns.
type table struct {
	columns []column
	rows    [][]string
}

type column struct {
	title string
	right bool // numbers
	fixed bool // is never shortened
}

// left and right make columns for text, which may be shortened, and for numbers.
func left(title string) column  { return column{title: title} }
func right(title string) column { return column{title: title, right: true, fixed: true} }

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = Visible(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// write prints the table indented; the first column gives way if the table is too wide.
func (t *table) write(b *bytes.Buffer, s Style, indent int) {
	widths, total := t.widths(indent)
	for c := range t.columns {
		if over := total - s.Width; over > 0 && !t.columns[c].fixed {
			narrow := max(widths[c]-over, min(widths[c], 8))
			total -= widths[c] - narrow
			widths[c] = narrow
		}
	}
	titles := make([]string, len(t.columns))
	for c := range t.columns {
		titles[c] = t.columns[c].title
	}
	if strings.Join(titles, "") != "" {
		t.line(b, widths, indent, titles)
	}
	for _, row := range t.rows {
		t.line(b, widths, indent, row)
	}
}

// widths are those of the columns and of the whole if nothing is shortened.
func (t *table) widths(indent int) (widths []int, total int) {
	widths, total = make([]int, len(t.columns)), indent
	for c := range t.columns {
		widths[c] = columns.Width(t.columns[c].title)
		for _, row := range t.rows {
			widths[c] = max(widths[c], columns.Width(row[c]))
		}
		if total += widths[c]; c > 0 {
			total += 2
		}
	}
	return widths, total
}

func (t *table) line(b *bytes.Buffer, widths []int, indent int, cells []string) {
	line := strings.Repeat(" ", indent)
	for c, cell := range cells {
		if c > 0 {
			line += "  "
		}
		cell = shorten(cell, widths[c])
		pad := strings.Repeat(" ", widths[c]-columns.Width(cell))
		if t.columns[c].right {
			line += pad + cell
		} else {
			line += cell + pad
		}
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}

// shorten leaves out the middle of a text, for both ends of a file name tell something.
func shorten(text string, width int) string {
	if columns.Width(text) <= width {
		return text
	}
	head := leading(text, (width-2)/2)
	tail := text
	for columns.Width(tail) > width-2-columns.Width(head) {
		_, n := utf8.DecodeRuneInString(tail)
		tail = tail[n:]
	}
	return head + ".." + tail
}

// leading is as much of the beginning of a text as fits.
func leading(text string, width int) string {
	for i, r := range text {
		if width -= columns.Of(r); width < 0 {
			return text[:i]
		}
	}
	return text
}

// glue is a blank at which paragraph breaks no line.
const glue = "\x1f"

// paragraph prints words that may take several lines, with a hanging indent.
func paragraph(b *bytes.Buffer, s Style, label, text string) {
	indent := columns.Width(label)
	line := label
	for i, word := range strings.Fields(text) {
		word = Visible(word)
		if i > 0 {
			if columns.Width(line)+1+columns.Width(word) > s.Width {
				b.WriteString(strings.TrimRight(strings.ReplaceAll(line, glue, " "), " ") + "\n")
				line = strings.Repeat(" ", indent)
			} else {
				line += " "
			}
		}
		line += word
	}
	b.WriteString(strings.TrimRight(strings.ReplaceAll(line, glue, " "), " ") + "\n")
}

// bar draws how the pool is shared, one letter for each part, and a legend.
type bar struct {
	parts []barPart
	total int64
}

type barPart struct {
	mark  rune
	name  string
	bytes int64
}

// draw fills a bar of the given number of columns. Every part that is not empty is seen, if only with
// one column, as long as there are columns enough; the widest parts give way.
func (p *bar) draw(columns int) string {
	cells := make([]int, len(p.parts))
	used := 0
	for i, part := range p.parts {
		if part.bytes > 0 {
			cells[i] = max(1, int(math.Round(float64(columns)*float64(part.bytes)/float64(p.total))))
		}
		used += cells[i]
	}
	if len(cells) > 0 && used < columns {
		cells[widest(cells)] += columns - used
	}
	for ; used > columns; used-- {
		cells[widest(cells)]--
	}
	var b strings.Builder
	for i, part := range p.parts {
		b.WriteString(strings.Repeat(string(part.mark), cells[i]))
	}
	return "[" + b.String() + "]"
}

// widest is the index of the largest number, the first of several.
func widest(cells []int) int { return slices.Index(cells, slices.Max(cells)) }
