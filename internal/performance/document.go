package performance

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tpuplan/tpuplan/compile"
)

// Table is a table of the document between two comments that name it. Its rows
// are told apart by their first cells.
type Table struct {
	Name string
	Keys int // cells that tell rows apart
	Firm int // cells, from the left, that are the same on every machine
	Head string
}

// The tables of docs/performance.md.
var (
	SizesTable = Table{"sizes", 2, 9, "| models | release | optimal | nodes, median | most | gap, median | most | ties, median | most | processor, median | most | heap, median | most |"}
	HardTable  = Table{"hard", 3, 10, "| hard because of | models | release | optimal | nodes, median | most | gap, median | most | ties, median | most | processor, median | most | heap, median | most |"}
	PaysTable  = Table{"pays", 2, 8, "| nets | release | median | p90 | most | by > 10 % | by > 50 % | groups in the plan |"}
)

// Row is a line of a table.
type Row string

func (r Row) cells() []string {
	list := strings.Split(strings.Trim(string(r), "|"), "|")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

func rowOf(cells ...string) Row { return Row("| " + strings.Join(cells, " | ") + " |") }

// key is what tells the row from others of the table.
func (t Table) key(r Row) string { return strings.Join(r.cells()[:t.Keys], " | ") }

// FirmPart is what a row says on every machine.
func (t Table) FirmPart(r Row) string { return strings.Join(r.cells()[:t.Firm], " | ") }

// Rows finds the table in a document: its rows by their key. start and end are where they stand.
func (t Table) find(document []byte) (rows map[string]Row, start, end int, err error) {
	begin, stop := []byte("<!-- begin "+t.Name+" -->\n"), []byte("<!-- end "+t.Name+" -->")
	start, end = bytes.Index(document, begin), bytes.Index(document, stop)
	if start < 0 || end < start {
		return nil, 0, 0, fmt.Errorf("the document has no table %s", t.Name)
	}
	start += len(begin)
	rows = map[string]Row{}
	for i, line := range strings.Split(strings.TrimSpace(string(document[start:end])), "\n") {
		if i >= 2 {
			rows[t.key(Row(line))] = Row(line)
		}
	}
	return rows, start, end, nil
}

// Rows are the rows of the table in a document, by their first cells.
func (t Table) Rows(document []byte) (map[string]Row, error) {
	rows, _, _, err := t.find(document)
	return rows, err
}

// Update puts rows into the table of a document, in the order of all keys. What was
// not measured stays as it was.
func (t Table) Update(document []byte, keys []string, measured map[string]Row) ([]byte, error) {
	rows, start, end, err := t.find(document)
	if err != nil {
		return nil, err
	}
	maps.Copy(rows, measured)
	var b bytes.Buffer
	b.Write(document[:start])
	b.WriteString(t.Head + "\n" + strings.Repeat("|---", strings.Count(t.Head, "|")-1) + "|\n")
	for _, k := range keys {
		if r, ok := rows[k]; ok {
			b.WriteString(string(r) + "\n")
		}
	}
	b.Write(document[end:])
	return b.Bytes(), nil
}

// Table is where the row of a case stands.
func (c Case) Table() Table {
	if c.Kind == "" {
		return SizesTable
	}
	return HardTable
}

func (c Case) keys() []string {
	cells := []string{strconv.Itoa(c.Models), c.Release.String()}
	if c.Kind != "" {
		cells = slices.Insert(cells, 0, c.Kind)
	}
	return cells
}

// Key is the key of the row of a case.
func (c Case) Key() string { return strings.Join(c.keys(), " | ") }

// Row is the line of a case.
func (c Case) Row(results []Result) Row {
	optimal := 0
	for i := range results {
		if results[i].Optimal {
			optimal++
		}
	}
	cells := append(c.keys(), strconv.Itoa(optimal))
	column := func(value func(*Result) float64, text func(float64) string) {
		var list []float64
		for i := range results {
			list = append(list, value(&results[i]))
		}
		slices.Sort(list)
		cells = append(cells, text(quantile(list, 0.5)), text(list[len(list)-1]))
	}
	column(func(r *Result) float64 { return float64(r.Nodes) }, count)
	column(func(r *Result) float64 { return r.Gap }, percent)
	column(func(r *Result) float64 { return r.Ties }, percent)
	column(func(r *Result) float64 { return r.Milliseconds }, duration)
	column(func(r *Result) float64 { return float64(r.Heap) / (1 << 20) }, func(mib float64) string { return figures(mib) + " MiB" })
	return rowOf(cells...)
}

// PaysKey is the key of a row of where planning pays.
func PaysKey(what string, v compile.Version) string { return what + " | " + v.String() }

// Row is the line of the gains.
func (g *Gains) Row(what string, v compile.Version) Row {
	above := func(x float64) string {
		return strconv.Itoa(len(g.Factors) - sortedBelow(g.Factors, x))
	}
	var groups []string
	for _, n := range slices.Sorted(maps.Keys(g.Groups)) {
		groups = append(groups, fmt.Sprintf("%d: %d", n, g.Groups[n]))
	}
	factor := func(q float64) string { return fmt.Sprintf("%.3f", quantile(g.Factors, q)) }
	return rowOf(what, v.String(), factor(0.5), factor(0.9), factor(1), above(1.1), above(1.5), strings.Join(groups, ", "))
}

// sortedBelow counts values of a sorted list that are not above a limit.
func sortedBelow(list []float64, limit float64) int {
	n, _ := slices.BinarySearchFunc(list, limit, func(x, limit float64) int {
		if x <= limit {
			return -1
		}
		return 1
	})
	return n
}

// quantile of a sorted list, between its neighbours in proportion.
func quantile(list []float64, q float64) float64 {
	at := q * float64(len(list)-1)
	low := int(at)
	high := min(low+1, len(list)-1)
	return list[low] + (at-float64(low))*(list[high]-list[low])
}

func percent(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }

// figures shows two of them, or all digits before the point.
func figures(x float64) string {
	if x >= 10 || x == 0 {
		return fmt.Sprintf("%.0f", x)
	}
	return strconv.FormatFloat(x, 'f', max(0, 1-int(math.Floor(math.Log10(x)))), 64)
}

func duration(ms float64) string {
	if ms >= 1000 {
		return figures(ms/1000) + " s"
	}
	return figures(ms) + " ms"
}

// count groups digits by thousands.
func count(x float64) string {
	s := strconv.FormatInt(int64(math.Round(x)), 10)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}
