package accuracy

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/internal/known"
)

// measure is what a figure counts.
type measure int

const (
	sizes  measure = iota // bytes of memory
	counts                // subgraphs, operators, words of the report
	rows                  // reserved rows of every tile
)

var measureNames = [...]string{"sizes", "counts", "reserved rows"}

// figure is one thing that was predicted and is known.
type figure struct {
	release   compile.Version
	where     string // section and row, for the list of differences
	what      known.Figure
	measure   measure
	predicted int64
	actual    report.Size // an interval where it was printed
	certainty report.Certainty
	why       string // it differs, as stated
	fitted    bool   // what is assumed of the net was chosen by it: it counts nowhere
	words     bool   // of no number: predicted and actual are texts
	said      string // the predicted words
}

// gap is what the actual value has more than the predicted one, at least; 0
// if the prediction lies in its interval.
func (f *figure) gap() int64 {
	if f.words {
		if f.said == f.actual.Text {
			return 0
		}
		return 1
	}
	return report.Exactly(f.predicted).Apart(&f.actual)
}

// off is the gap as a share of the actual value.
func (f *figure) off() float64 {
	gap := math.Abs(float64(f.gap()))
	switch {
	case gap == 0:
		return 0
	case f.words || f.actual.Bytes == 0:
		return math.Inf(1)
	}
	return gap / float64(f.actual.Bytes)
}

// errorText is the error as the tables show it: predicted less actual.
func (f *figure) errorText() string {
	gap := f.gap()
	switch {
	case gap == 0 && f.fitted:
		return "fitted"
	case gap == 0:
		return "0"
	case f.words:
		return "differs"
	case f.measure != sizes:
		return fmt.Sprintf("%+d", -gap)
	case f.off() > 10:
		return signed(-gap)
	}
	return fmt.Sprintf("%s (%+.1f %%)", signed(-gap), -100*float64(gap)/float64(f.actual.Bytes))
}

func (f *figure) predictedText() string {
	switch {
	case f.words:
		return f.said
	case f.measure == sizes:
		return commas(f.predicted)
	}
	return fmt.Sprint(f.predicted)
}

// whole is an actual value that is known to the byte, or a count.
func whole(n int64) report.Size {
	s := *report.Exactly(n)
	s.Text = commas(n)
	return s
}

// between is an actual number of which only a range is known.
func between(low, high int) report.Size {
	text := fmt.Sprint(low)
	if high != low {
		text = fmt.Sprintf("%d to %d", low, high)
	}
	return report.Size{Text: text, Bytes: int64(low+high) / 2, Low: float64(low), High: float64(high)}
}

// commas writes a number with a comma before each group of three digits.
func commas(n int64) string {
	text := fmt.Sprint(n)
	sign := ""
	if n < 0 {
		sign, text = "-", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}

func signed(n int64) string {
	if n > 0 {
		return "+" + commas(n)
	}
	return commas(n)
}

// score sums figures up.
type score struct {
	n, within, one, three int
	worst                 float64
}

func (s *score) add(off float64) {
	s.n++
	if off == 0 {
		s.within++
	}
	if off <= 0.01 {
		s.one++
	}
	if off <= 0.03 {
		s.three++
	}
	s.worst = max(s.worst, off)
}

// cells are a score's columns: all, within, within 1 %, within 3 %, beyond, worst.
func (s *score) cells() []string {
	return []string{fmt.Sprint(s.n), fmt.Sprintf("%d (%.1f %%)", s.within, s.share()), fmt.Sprint(s.one), fmt.Sprint(s.three), fmt.Sprint(s.n - s.three), worst(s.worst)}
}

func (s *score) share() float64 {
	if s.n == 0 {
		return 100
	}
	return 100 * float64(s.within) / float64(s.n)
}

func worst(off float64) string {
	switch {
	case off == 0:
		return "-"
	case off > 10:
		return "over 1000 %"
	}
	return fmt.Sprintf("%.1f %%", 100*off)
}

var scoreTitles = []string{"figures", "in the interval", "within 1 %", "within 3 %", "beyond", "worst"}

// table is a table of Markdown.
type table struct {
	b     strings.Builder
	width int
}

// newTable starts one; titles that begin with ">" are of columns of numbers.
func newTable(titles ...string) *table {
	t := &table{width: len(titles)}
	rule := make([]string, len(titles))
	titles = slices.Clone(titles)
	for i := range titles {
		rule[i] = "---"
		if text, right := strings.CutPrefix(titles[i], ">"); right {
			titles[i], rule[i] = text, "---:"
		}
	}
	t.row(titles...)
	t.row(rule...)
	return t
}

func (t *table) row(cells ...string) {
	for i := range t.width {
		cell := ""
		if i < len(cells) {
			cell = strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(cells[i])
		}
		t.b.WriteString("| " + cell + " ")
	}
	t.b.WriteString("|\n")
}

func (t *table) String() string { return t.b.String() + "\n" }

// numbers marks titles as those of columns of numbers.
func numbers(titles ...string) []string {
	list := make([]string, len(titles))
	for i, title := range titles {
		list[i] = ">" + title
	}
	return list
}
