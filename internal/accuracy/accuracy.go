// Package accuracy compares the compiler's twin with everything that the
// public data set knows of real compiles, and writes the comparison down:
// docs/accuracy.md. [Compare] reads the data set; the rest is pure.
package accuracy

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/internal/known"
	"github.com/tpuplan/tpuplan/tflite"
)

// Comparison is all figures and the tables that show them.
type Comparison struct {
	dir     string
	figures []figure
	ops     map[string]*opScore // by the operator's name
	pairs   strings.Builder     // Markdown
	sets    strings.Builder
	article strings.Builder
	logs    strings.Builder
	others  strings.Builder // logs without a prediction
	series  strings.Builder
	rows    strings.Builder
	times   []*timed
	untimed strings.Builder // published times without a prediction
	nLogs   int             // of logs
	nBuilt  int             // whose nets are at hand or were built
	nFiles  int             // compiled files
	nSeries int             // nets of series
}

// opScore is how the operators of a kind came out in compiled files.
type opScore struct {
	n, wrong         int
	predicted, found int64 // bytes of those that came out as predicted, and of all that was found
}

// Compare compares predictions with the data set in a folder.
func Compare(dir string) (*Comparison, error) {
	c := &Comparison{dir: dir, ops: map[string]*opScore{}}
	for _, step := range []func() error{c.comparePairs, c.compareSets, c.compareArticle, c.compareLogs, c.compareSeries, c.compareRows, c.compareTimes} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Comparison) add(list ...figure) { c.figures = append(c.figures, list...) }

func (c *Comparison) models() string { return filepath.Join(c.dir, "models") }

// release reads a release that a table or a report names.
func release(text string) (compile.Version, error) {
	parts := strings.Split(text, ".")
	return compile.ParseVersion(strings.Join(parts[:min(2, len(parts))], "."))
}

// net analyzes a source model.
func (c *Comparison) net(n *known.Net, s compile.Settings) (compile.Input, *tflite.Source, error) {
	f, err := n.Open(c.models())
	if err != nil {
		return compile.Input{}, nil, err
	}
	src, err := f.Source()
	if err != nil {
		return compile.Input{}, nil, err
	}
	m := compile.Analyze(src, s)
	m.Load.Content = f.SHA256()
	return compile.Input{File: n.Name + ".tflite", Bytes: f.Size(), Model: m, Reserve: m.Reserve}, src, nil
}

// call predicts one call of the compiler.
func (c *Comparison) call(nets []known.Net, s compile.Settings) (*compile.Prediction, []*tflite.Source, error) {
	inputs, sources := make([]compile.Input, len(nets)), make([]*tflite.Source, len(nets))
	for i := range nets {
		var err error
		if inputs[i], sources[i], err = c.net(&nets[i], s); err != nil {
			return nil, nil, err
		}
	}
	return compile.Predict(s.Version, inputs), sources, nil
}

// compiled reads a compiled file of the folder models, and the ops it left to the CPU.
func (c *Comparison) compiled(name string) (*tflite.Compiled, error) {
	f, err := tflite.Open(filepath.Join(c.models(), filepath.FromSlash(name)+".tflite"))
	if err != nil {
		return nil, err
	}
	c.nFiles++
	return f.Compiled()
}

// locate books the ops of a model by what their compiled file has, and tells where it has something else.
func (c *Comparison) locate(m *compile.Model, src *tflite.Source, file *tflite.Compiled) []string {
	found := file.Locate(src, m.Wants())
	bytes := map[int]int64{}
	for i := range found.Pieces {
		bytes[found.Pieces[i].Op] += found.Pieces[i].Bytes
	}
	for i := range m.Ops {
		o := &m.Ops[i]
		if !o.Mapped {
			continue
		}
		s := c.ops[o.Name]
		if s == nil {
			s = &opScore{}
			c.ops[o.Name] = s
		}
		s.n++
		s.predicted += o.Bytes
		s.found += bytes[i]
		if slices.Contains(found.Wrong, i) {
			s.wrong++
		}
	}
	var list []string
	name := func(op int) string { return fmt.Sprintf("op %d %s", op, m.Ops[op].Name) }
	for i := range found.Pieces {
		switch p := &found.Pieces[i]; {
		case !p.Found:
			list = append(list, fmt.Sprintf("%s: %s bytes predicted, not found", name(p.Op), commas(p.Want.Bytes)))
		case p.Bytes != p.Want.Bytes:
			list = append(list, fmt.Sprintf("%s: %s bytes predicted, %s found", name(p.Op), commas(p.Want.Bytes), commas(p.Bytes)))
		}
	}
	for _, s := range found.Strays {
		var suspects []string
		for _, op := range s.Suspects {
			suspects = append(suspects, name(op))
		}
		if len(s.Suspects) == 1 {
			c.ops[m.Ops[s.Suspects[0]].Name].found += s.Bytes
		}
		where := "streamed"
		if s.Cached {
			where = "cached"
		}
		list = append(list, fmt.Sprintf("%s: %s %s bytes that were not predicted", strings.Join(suspects, " or "), commas(s.Bytes), where))
	}
	return list
}

// comparePairs compares every source with its compiled form.
func (c *Comparison) comparePairs() error {
	files, err := filepath.Glob(filepath.Join(c.models(), "*_edgetpu.tflite"))
	if err != nil {
		return err
	}
	if len(files) != len(known.Pairs) {
		return fmt.Errorf("%d compiled files in %s, %d pairs are known", len(files), c.models(), len(known.Pairs))
	}
	v, err := release(known.PairRelease)
	if err != nil {
		return err
	}
	t := newTable("model", "figure", ">predicted", ">compiled file", ">error", "certainty")
	var notes strings.Builder
	for _, pair := range known.Pairs {
		n := known.Net{Name: pair.Name, File: pair.Name}
		p, sources, err := c.call([]known.Net{n}, compile.Settings{Version: v, MinRuntime: known.MinRuntime})
		if err != nil {
			return err
		}
		file, err := c.compiled(pair.Name + "_edgetpu")
		if err != nil {
			return err
		}
		m := &p.Models[0]
		size := func(what known.Figure, predicted, actual int64, certainty report.Certainty) figure {
			return figure{what: what, predicted: predicted, actual: whole(actual), certainty: certainty}
		}
		number := func(what known.Figure, predicted, actual int) figure {
			return figure{what: what, measure: counts, predicted: int64(predicted), actual: whole(int64(actual))}
		}
		list := []figure{
			size("parameters", m.Model.Load.Bytes(), file.CachedBytes()+file.StreamedBytes(), m.Model.Certainty),
			size("cached", m.Split.Cached, file.CachedBytes(), m.Certainty),
			size("streamed", m.Split.Streamed, file.StreamedBytes(), m.Certainty),
			number(known.Subgraphs, m.Model.Subgraphs, len(file.Packages)),
			number(known.TPUOperations, m.Model.TPUOps, len(m.Model.Ops)-file.CPUOps),
		}
		for i := range list {
			f := &list[i]
			f.release, f.where = v, pair.Name
			if f.gap() != 0 && f.measure == sizes {
				f.why = pair.Differs
			}
			c.row(t, pair.Name, f)
		}
		t.row(pair.Name, "minimum runtime", "given", fmt.Sprint(file.Packages[0].MinRuntime))
		c.add(list...)
		for _, line := range c.locate(m.Model, sources[0], file) {
			fmt.Fprintf(&notes, "- %s, %s\n", pair.Name, line)
		}
	}
	c.pairs.WriteString(t.String())
	if notes.Len() > 0 {
		c.pairs.WriteString("Operators whose part of the compiled file is not as predicted:\n\n" + notes.String() + "\n")
	}
	return nil
}

// row shows a figure.
func (c *Comparison) row(t *table, first string, f *figure) {
	certainty := f.certainty.String()
	if f.measure == counts {
		certainty = ""
	}
	t.row(first, string(f.what), f.predictedText(), f.actual.Text, f.errorText(), certainty)
}

// compareSets compares the members of calls with several models.
func (c *Comparison) compareSets() error {
	for i := range known.Sets {
		set := &known.Sets[i]
		v, err := release(set.Release)
		if err != nil {
			return err
		}
		s := compile.Settings{Version: v, MinRuntime: known.MinRuntime}
		p, sources, err := c.call(set.Nets, s)
		if err != nil {
			return err
		}
		fmt.Fprintf(&c.sets, "Compiler %s, %d models in this order; %d rows of every tile reserved (by formula, %s).\n\n", v, len(set.Nets), p.Reserve.Rows, p.Reserve.Certainty)
		t := newTable("model", "figure", ">predicted", ">compiled file", ">error", "certainty")
		for k := range set.Nets {
			name, m := set.Nets[k].Name, &p.Models[k]
			if set.Files[k] == "" {
				t.row(name, "cached", commas(m.Split.Cached), "not at hand", "", m.Certainty.String())
				t.row(name, "streamed", commas(m.Split.Streamed), "not at hand", "", m.Certainty.String())
				continue
			}
			file, err := c.compiled(set.Files[k])
			if err != nil {
				return err
			}
			list := []figure{
				{what: "cached", predicted: m.Split.Cached, actual: whole(file.CachedBytes())},
				{what: "streamed", predicted: m.Split.Streamed, actual: whole(file.StreamedBytes())},
			}
			for i := range list {
				list[i].release, list[i].where, list[i].certainty = v, fmt.Sprintf("%s in a call of %d", name, len(set.Nets)), m.Certainty
				c.row(t, name, &list[i])
			}
			c.add(list...)
			for _, line := range c.locate(m.Model, sources[k], file) {
				return fmt.Errorf("%s: %s", set.Files[k], line)
			}
		}
		c.sets.WriteString(t.String())
	}
	return nil
}

// figuresOf are the figures that a report has of a model and that are predicted.
func figuresOf(v compile.Version, p *compile.Prediction, i int, read *report.Model) []figure {
	said, m := &p.Report.Models[i], &p.Models[i]
	memory := p.Reserve.Certainty // of what is left on the chip
	upTo := len(p.Models)
	if v <= compile.V2_0 { // left before this model
		upTo = i
	}
	for k := range upTo {
		memory = memory.Weaker(p.Models[k].Certainty)
	}
	var list []figure
	size := func(what known.Figure, predicted, actual *report.Size, certainty report.Certainty) {
		if predicted != nil && actual != nil {
			list = append(list, figure{what: what, predicted: predicted.Bytes, actual: *actual, certainty: certainty})
		}
	}
	number := func(what known.Figure, predicted, actual int) {
		if actual != report.NotPrinted {
			list = append(list, figure{what: what, measure: counts, predicted: int64(predicted), actual: whole(int64(actual))})
		}
	}
	size(known.Available, said.Available, read.Available, memory)
	size(known.OnChip, said.OnChip, read.OnChip, m.Certainty)
	size(known.Remaining, said.Remaining, read.Remaining, memory)
	size(known.OffChip, said.Streamed, read.Streamed, m.Certainty)
	number(known.Subgraphs, said.Subgraphs, read.Subgraphs)
	number(known.Operations, said.Operations, read.Operations)
	number(known.TPUOperations, said.TPUOperations, read.TPUOperations)
	number(known.CPUOperations, said.CPUOperations, read.CPUOperations)
	if len(read.Operators) > 0 {
		list = append(list, operators(said, read))
	}
	return list
}

// operators compares two operation tables.
func operators(said, read *report.Model) figure {
	predicted := *said
	predicted.Input = "" // pairs with any name
	n := 0
	for _, o := range read.Operators {
		n += o.Count
	}
	text := fmt.Sprintf("%d ops in %d rows", n, len(read.Operators))
	f := figure{what: known.Operators, measure: counts, words: true, said: text, actual: report.Size{Text: text}}
	var wrong []string
	for _, d := range report.Compare(&report.Report{Models: []report.Model{predicted}}, &report.Report{Models: []report.Model{*read}}) {
		if d.Field == "operators" {
			wrong = append(wrong, fmt.Sprintf("%s: %s, not %s", d.Op, d.Predicted, d.Read))
		}
	}
	if len(wrong) > 0 {
		f.said = strings.Join(wrong, "; ")
	}
	return f
}

// compareArticle compares the reports that the article quotes.
func (c *Comparison) compareArticle() error {
	text, err := os.ReadFile(filepath.Join(c.dir, "seed.txt"))
	if err != nil {
		return err
	}
	calls := strings.Split("\n"+string(text), "\n# edgetpu_compiler")[1:]
	t := newTable("call", "model", "figure", ">predicted", ">printed", ">error", "certainty")
	for n, call := range calls {
		reports, err := report.Parse(fmt.Sprintf("call %d", n+1), strings.NewReader(call))
		if err != nil {
			return err
		}
		if len(reports) == 0 {
			return fmt.Errorf("seed.txt: call %d has no report", n+1)
		}
		read := &reports[0]
		v, err := release(read.Compiler)
		if err != nil {
			return err
		}
		var nets []known.Net
		for i := range read.Models {
			net, ok := known.ArticleNets[path.Base(read.Models[i].Input)]
			if !ok {
				break // prose that quotes the report again
			}
			nets = append(nets, net)
		}
		if len(nets) != 2 {
			return fmt.Errorf("seed.txt: call %d: %d models are known, want 2", n+1, len(nets))
		}
		p, _, err := c.call(nets, compile.Settings{Version: v})
		if err != nil {
			return err
		}
		for i := range nets {
			for _, f := range figuresOf(v, p, i, &read.Models[i]) {
				f.release, f.where = v, fmt.Sprintf("article, call %d, %s", n+1, nets[i].Name)
				for _, d := range known.ArticleDiffers {
					if d.Call == n && d.Model == i && d.Figure == f.what {
						f.why = d.Why
					}
				}
				c.add(f)
				c.logRow(t, &f, fmt.Sprint(n+1), nets[i].Name)
			}
		}
	}
	c.article.WriteString(t.String())
	return nil
}

// logRow shows a figure of a report.
func (c *Comparison) logRow(t *table, f *figure, first ...string) {
	certainty := f.certainty.String()
	if f.measure != sizes {
		certainty = ""
	}
	t.row(append(first, string(f.what), f.predictedText(), f.actual.Text, f.errorText(), certainty)...)
}

// compareLogs compares the published logs whose models are at hand or can be built, and lists the others.
func (c *Comparison) compareLogs() error {
	index, err := os.ReadFile(filepath.Join(c.dir, "logs", "index.tsv"))
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(index)), "\n")[1:]
	if len(lines) != known.Logs() {
		return fmt.Errorf("%d logs in the index, %d are known", len(lines), known.Logs())
	}
	t := newTable("log", "release", "model", "figure", ">predicted", ">printed", ">error", "certainty")
	others := newTable("log", "release", "it says", "why nothing is predicted")
	for _, line := range lines {
		name, _, _ := strings.Cut(line, "\t")
		text, err := os.ReadFile(filepath.Join(c.dir, "logs", name))
		if err != nil {
			return err
		}
		log, ok := known.LogOf(name)
		if !ok {
			return fmt.Errorf("nothing is known of %s", name)
		}
		reports, err := report.Parse(name, bytes.NewReader(text))
		if err != nil {
			return err
		}
		c.nLogs++
		short := strings.TrimSuffix(name, ".txt")
		if len(log.Nets) == 0 {
			others.row(short, printedRelease(&reports[0]), says(&reports[0]), log.Why)
			continue
		}
		c.nBuilt++
		if err := c.compareLog(t, short, &log, &reports[0]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	c.logs.WriteString(t.String())
	c.others.WriteString(others.String())
	return nil
}

func (c *Comparison) compareLog(t *table, name string, log *known.Log, read *report.Report) error {
	text := read.Compiler
	if text == "" {
		text = log.Release
	}
	v, err := release(text)
	if err != nil {
		return err
	}
	p, _, err := c.call(log.Nets, compile.Settings{Version: v})
	if err != nil {
		return err
	}
	for i := range log.Nets {
		net := &log.Nets[i]
		label := net.Name
		if net.Assumed != "" {
			label += " (" + net.Assumed + ")"
		}
		var list []figure
		if i < len(read.Models) && read.Models[i].Failure == nil {
			list = figuresOf(v, p, i, &read.Models[i])
		}
		if read.Failure != nil && read.Failure.Kind != report.Cut || p.Report.Models[i].Failure != nil {
			list = append(list, outcome(p.Report.Models[i].Failure, read.Failure))
		}
		if len(list) == 0 {
			t.row(name, printedRelease(read), label, "", "", "the text ends before it")
		}
		for k := range list {
			f := &list[k]
			f.release, f.where, f.why = v, "log "+name[:3]+", "+net.Name, log.Differs[f.what]
			f.fitted = slices.Contains(log.Fitted, f.what)
			c.logRow(t, f, name, printedRelease(read), label)
			name, label = name[:3], net.Name
		}
		c.add(list...)
	}
	return nil
}

// outcome compares how a call came out.
func outcome(predicted, read *report.Failure) figure {
	say := func(f *report.Failure) string {
		if f == nil {
			return "compiled"
		}
		return f.Kind
	}
	return figure{what: known.Outcome, measure: counts, words: true, said: say(predicted), actual: report.Size{Text: say(read)}}
}

func printedRelease(r *report.Report) string {
	if r.Compiler == "" {
		return "not printed"
	}
	v, err := release(r.Compiler)
	if err != nil {
		return r.Compiler
	}
	return v.String()
}

// says is the gist of a log.
func says(r *report.Report) string {
	var parts []string
	if r.Failure != nil {
		parts = append(parts, r.Failure.Kind)
	}
	sum := func(label string, get func(m *report.Model) string) {
		var list []string
		for i := range r.Models {
			if s := get(&r.Models[i]); s != "" {
				list = append(list, s)
			}
		}
		var runs []string
		for i := 0; i < len(list); {
			k := i
			for k < len(list) && list[k] == list[i] {
				k++
			}
			runs = append(runs, list[i])
			if k > i+1 {
				runs[len(runs)-1] += fmt.Sprintf(" x %d", k-i)
			}
			i = k
		}
		if len(runs) > 0 {
			parts = append(parts, label+" "+strings.Join(runs, ", "))
		}
	}
	printed := func(s *report.Size) string {
		if s == nil {
			return ""
		}
		return strings.ReplaceAll(s.Text, " ", "")
	}
	count := func(n int) string {
		if n == report.NotPrinted {
			return ""
		}
		return fmt.Sprint(n)
	}
	sum("available", func(m *report.Model) string { return printed(m.Available) })
	sum("on-chip", func(m *report.Model) string { return printed(m.OnChip) })
	sum("remaining", func(m *report.Model) string { return printed(m.Remaining) })
	sum("off-chip", func(m *report.Model) string { return printed(m.Streamed) })
	sum("subgraphs", func(m *report.Model) string { return count(m.Subgraphs) })
	sum("ops", func(m *report.Model) string { return count(m.Operations) })
	sum("on the TPU", func(m *report.Model) string { return count(m.TPUOperations) })
	if len(r.Models) > 0 && len(parts) == 0 {
		n := 0
		for i := range r.Models {
			for _, o := range r.Models[i].Operators {
				n += o.Count
			}
		}
		parts = append(parts, fmt.Sprintf("an operator table of %d ops", n))
	}
	return strings.Join(parts, "; ")
}

// compareSeries compares every row of the series of fully connected nets.
func (c *Comparison) compareSeries() error {
	v, err := release(known.SeriesRelease)
	if err != nil {
		return err
	}
	for i := range known.AllSeries {
		s := &known.AllSeries[i]
		f, err := os.Open(filepath.Join(c.dir, "series", s.File))
		if err != nil {
			return err
		}
		lines, err := csv.NewReader(f).ReadAll()
		f.Close() //nolint:errcheck // it is only read
		if err != nil {
			return err
		}
		fmt.Fprintf(&c.series, "Series %s: %d inputs, %d layers of N units, 10 outputs, no biases; compiler %s; %d nets.\n\n", s.Name, s.Inputs, s.Layers, v, len(lines)-1)
		t := newTable(">N", ">on-chip predicted", ">printed", ">error", ">off-chip predicted", ">printed", ">error", "certainty")
		for _, line := range lines[1:] {
			n, err := strconv.Atoi(line[0])
			if err != nil {
				return fmt.Errorf("%s: %w", s.File, err)
			}
			c.nSeries++
			m := compile.Analyze(s.Net(n), compile.Settings{Version: v})
			p := compile.Predict(v, []compile.Input{{Model: m, Reserve: m.Reserve}})
			cells := []string{fmt.Sprint(n)}
			for k, x := range []struct {
				what      known.Figure
				predicted int64
			}{{known.OnChip, p.Report.Models[0].OnChip.Bytes}, {known.OffChip, p.Report.Models[0].Streamed.Bytes}} {
				actual, err := printed(line[2+k])
				if err != nil {
					return fmt.Errorf("%s: N = %d: %w", s.File, n, err)
				}
				f := figure{release: v, where: fmt.Sprintf("series %s, N = %d", s.Name, n), what: x.what, predicted: x.predicted, actual: actual, certainty: p.Models[0].Certainty}
				c.add(f)
				cells = append(cells, f.predictedText(), f.actual.Text, f.errorText())
			}
			t.row(append(cells, p.Models[0].Certainty.String())...)
		}
		c.series.WriteString(t.String())
	}
	return nil
}

// printed turns a figure of a series, in MiB, into what the compiler printed: two
// decimals of the unit.
func printed(mib string) (report.Size, error) {
	x, err := strconv.ParseFloat(mib, 64)
	if err != nil {
		return report.Size{}, err
	}
	switch {
	case x == 0:
		return report.ParseSize("0.00B")
	case x < 1:
		return report.ParseSize(fmt.Sprintf("%.2fKiB", x*1024))
	}
	return report.ParseSize(fmt.Sprintf("%.2fMiB", x))
}

// compareRows compares the formula for reserved rows with what is known.
func (c *Comparison) compareRows() error {
	t := newTable("nets", "release", ">formula", ">known", ">error", "certainty")
	for i := range known.Reserved {
		r := &known.Reserved[i]
		for _, text := range r.Releases {
			v, err := release(text)
			if err != nil {
				return err
			}
			p, _, err := c.call(r.Nets, compile.Settings{Version: v})
			if err != nil {
				return err
			}
			f := figure{
				release: v, where: r.Name, what: "reserved rows", measure: rows, predicted: int64(p.Reserve.Rows),
				actual: between(r.Low, r.High), certainty: p.Reserve.Certainty, why: r.Differs,
			}
			c.add(f)
			t.row(r.Name, v.String(), f.predictedText(), f.actual.Text, f.errorText(), f.certainty.String())
		}
	}
	c.rows.WriteString(t.String())
	return nil
}
