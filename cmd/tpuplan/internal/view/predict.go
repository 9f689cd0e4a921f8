package view

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/plans"
)

type predictJSON struct {
	Schema             string                `json:"schema"`
	Compiler           string                `json:"compiler"`
	CapacityBytes      int64                 `json:"capacity_bytes"`
	ReservedRows       int                   `json:"reserved_rows"`
	ReservedRowsLow    int                   `json:"reserved_rows_low"`
	ReservedRowsHigh   int                   `json:"reserved_rows_high"`
	ReservedRowsSource compile.ReserveSource `json:"reserved_rows_source"`
	RemainingBytes     int64                 `json:"remaining_bytes"`
	RuleCertainty      report.Certainty      `json:"rule_certainty"`
	Link               string                `json:"link,omitempty"`
	MBPerS             *number               `json:"mb_per_s,omitempty"`
	Runtime            string                `json:"runtime,omitempty"` // of a USB device
	Models             []predictedJSON       `json:"models"`
}

type predictedJSON struct {
	File            string           `json:"file"`
	ParameterBytes  int64            `json:"parameter_bytes"`
	CachedBytes     int64            `json:"cached_bytes"`
	CachedBytesLow  *int64           `json:"cached_bytes_low,omitempty"`
	CachedBytesHigh *int64           `json:"cached_bytes_high,omitempty"`
	OnChipBytes     int64            `json:"on_chip_bytes"`
	StreamedBytes   int64            `json:"streamed_bytes"`
	Certainty       report.Certainty `json:"certainty"`
	Source          string           `json:"source"` // of the split
	Fits            bool             `json:"fits"`
	Subgraphs       int              `json:"subgraphs"`
	Operations      int              `json:"operations"`
	TPUOperations   int              `json:"tpu_operations"`
	CPUOperations   int              `json:"cpu_operations"`
	Failure         *report.Failure  `json:"failure,omitempty"`
	*callTimesJSON
	Ops []opJSON `json:"ops"`
}

// opJSON is an op in the outputs of predict and inspect.
type opJSON struct {
	Index     int              `json:"index"`
	Op        string           `json:"op"`
	Shape     []int            `json:"shape,omitempty"` // of the first output; inspect only
	Mapped    bool             `json:"mapped"`
	Reason    string           `json:"reason"`
	Bytes     int64            `json:"bytes"`
	Rows      int              `json:"rows"`
	Cached    *bool            `json:"cached,omitempty"` // predict only
	Certainty report.Certainty `json:"certainty"`
	*opTimesJSON
}

func newOpJSON(o *compile.OpInfo) opJSON {
	return opJSON{Index: o.Index, Op: o.Name, Mapped: o.Mapped, Reason: o.Reason, Bytes: o.Bytes, Rows: o.Rows, Certainty: o.Certainty}
}

// PredictJSON is the object tpuplan/predict/v1. calls may be nil.
func PredictJSON(p *compile.Prediction, calls *PredictedCalls) []byte {
	out := predictJSON{
		Schema:             "tpuplan/predict/v1",
		Compiler:           p.Version.String(),
		CapacityBytes:      p.Capacity,
		ReservedRows:       p.Reserve.Rows,
		ReservedRowsLow:    p.Reserve.Low,
		ReservedRowsHigh:   p.Reserve.High,
		ReservedRowsSource: p.Reserve.Source,
		RemainingBytes:     p.Remaining,
		RuleCertainty:      p.RuleCertainty,
		Models:             []predictedJSON{},
	}
	if calls != nil {
		rate := number(calls.Link.BytesPerMS / 1000)
		out.Link, out.MBPerS, out.Runtime = calls.Link.Name, &rate, calls.Runtime
	}
	for i := range p.Models {
		m := &p.Models[i]
		x := predictedJSON{
			File:           m.File,
			ParameterBytes: m.Split.Cached + m.Split.Streamed,
			CachedBytes:    m.Split.Cached,
			OnChipBytes:    int64(m.Split.Rows) * compile.RowBytes,
			StreamedBytes:  m.Split.Streamed,
			Certainty:      m.Certainty,
			Source:         splitSource(p),
			Fits:           m.Model.Reserve.Fits,
			Subgraphs:      m.Model.Subgraphs,
			Operations:     len(m.Model.Ops),
			TPUOperations:  m.Model.TPUOps,
			CPUOperations:  m.Model.CPUOps,
			Failure:        m.Model.Failure,
			Ops:            []opJSON{},
		}
		if p.Reserve.Low != p.Reserve.High {
			x.CachedBytesLow, x.CachedBytesHigh = &m.CachedLow, &m.CachedHigh
		}
		if calls != nil {
			x.callTimesJSON = calls.Models[i].json(m.Model)
		}
		cached := opsInCache(m)
		for k := range m.Model.Ops {
			op := newOpJSON(&m.Model.Ops[k])
			if calls != nil {
				op.opTimesJSON = calls.Models[i].opJSON(&m.Model.Ops[k])
			}
			if cached != nil {
				op.Cached = &cached[k]
			}
			x.Ops = append(x.Ops, op)
		}
		out.Models = append(out.Models, x)
	}
	return encode(out)
}

// splitSource says whether the split of an invocation is known or computed.
func splitSource(p *compile.Prediction) string {
	if p.Measured {
		return plans.Measured
	}
	return plans.Modelled
}

// opsInCache says for each op of a model whether it has parts and all of them
// are cached; nil where a measured split does not tell.
func opsInCache(m *compile.Predicted) []bool {
	if len(m.Split.InCache) < len(m.Model.Load.Parts) {
		return nil
	}
	cached := make([]bool, len(m.Model.Ops))
	for k, part := range m.Model.Load.Parts {
		first := k == 0 || m.Model.Load.Parts[k-1].Op != part.Op
		cached[part.Op] = m.Split.InCache[k] && (first || cached[part.Op])
	}
	return cached
}

// Predict is the table of a prediction. calls may be nil.
func Predict(p *compile.Prediction, calls *PredictedCalls, s Style) []byte {
	var b bytes.Buffer
	var cached, streamed int64
	for i := range p.Models {
		cached += p.Models[i].Split.Cached
		streamed += p.Models[i].Split.Streamed
	}
	b.WriteString(s.bold(fmt.Sprintf("edgetpu_compiler %s: %s, %s cached, %s streamed per call", p.Version, count(len(p.Models), "model"), size(cached), size(streamed))) + "\n\n")

	t := table{columns: []column{left("MODEL"), right("PARAMETERS"), right("CACHED"), right("STREAMED"), right("ON TPU"), {title: "CERTAINTY", fixed: true}}}
	for i := range p.Models {
		m := &p.Models[i]
		t.add(m.File, size(m.Split.Cached+m.Split.Streamed), size(m.Split.Cached), size(m.Split.Streamed), fmt.Sprintf("%d/%d", m.Model.TPUOps, len(m.Model.Ops)), m.Certainty.String())
	}
	t.write(&b, s, 0)

	pool := poolBar(p.Reserve.Rows)
	for i := range p.Models {
		pool.add(p.Models[i].File, int64(p.Models[i].Split.Rows)*compile.RowBytes)
	}
	b.WriteString("\n")
	pool.write(&b, s, "pool ", p.Remaining)
	paragraph(&b, s, "     ", fmt.Sprintf("%s of every tile reserved, %s; %s", count(p.Reserve.Rows, "row"), reserveSource(p.Reserve), splitOrigin(p)))

	for i := range p.Models {
		m := &p.Models[i]
		if p.Reserve.Low != p.Reserve.High && m.CachedLow != m.CachedHigh {
			paragraph(&b, s, "range: ", fmt.Sprintf("%s: between %s and %s cached, as the reserved rows are not known exactly", m.File, size(m.CachedLow), size(m.CachedHigh)))
		}
	}
	for i := range p.Models {
		predictedOps(&b, s, &p.Models[i])
	}
	if calls != nil {
		calls.write(&b, s, p)
	}
	return b.Bytes()
}

// splitOrigin says where the split came from.
func splitOrigin(p *compile.Prediction) string {
	switch {
	case p.Measured && len(p.Models) == 1:
		return "split: measured, the model has been compiled alone"
	case p.Measured:
		return "split: measured, these models have been compiled together"
	}
	return "allocation rule: " + p.RuleCertainty.String()
}

// reserveOrigin says where reserved rows came from.
func reserveOrigin(r compile.Reserve) string {
	switch r.Source {
	case compile.FromMeasurement:
		return "measured"
	case compile.FromFlag:
		return "as given"
	}
	return "by formula (" + r.Certainty.String() + ")"
}

// reserveSource also says how well they are known.
func reserveSource(r compile.Reserve) string {
	if r.Low != r.High {
		return fmt.Sprintf("%s, may be %d to %d", reserveOrigin(r), r.Low, r.High)
	}
	return reserveOrigin(r)
}

// shownOps is how many streamed ops a table lists; JSON has them all.
const shownOps = 8

// predictedOps tells what of a model is streamed and what stays on the CPU, and why.
func predictedOps(b *bytes.Buffer, s Style, m *compile.Predicted) {
	cached := opsInCache(m)
	var streamed []*compile.OpInfo
	for k := range m.Model.Ops {
		if o := &m.Model.Ops[k]; cached != nil && o.Mapped && o.Bytes > 0 && !cached[k] {
			streamed = append(streamed, o)
		}
	}
	if len(streamed) == 0 && m.Model.CPUOps == 0 && m.Model.Failure == nil {
		return
	}
	b.WriteString("\n" + Visible(m.File) + "\n")
	if m.Model.Failure != nil {
		failed(b, s, m.Model.Failure)
	}
	if len(streamed) > 0 {
		fmt.Fprintf(b, "  ops [%s]\n", drawOps(pieces(m), max(20, min(64, s.Width-8))))
		paragraph(b, s, "      ", "as wide as their bytes, in order: = cached, ~ streamed, - both")
		slices.SortStableFunc(streamed, func(a, b *compile.OpInfo) int { return cmp.Compare(b.Bytes, a.Bytes) })
		t := table{columns: []column{{title: "STREAMED OP", fixed: true}, right(""), right("BYTES"), right("ROWS"), {title: "CERTAINTY", fixed: true}}}
		for _, o := range streamed[:min(len(streamed), shownOps)] {
			t.add(o.Name, fmt.Sprint(o.Index), fmt.Sprint(o.Bytes), fmt.Sprint(o.Rows), o.Certainty.String())
		}
		t.write(b, s, 2)
		if more := len(streamed) - shownOps; more > 0 {
			fmt.Fprintf(b, "  and %d more, smaller\n", more)
		}
	}
	cpuOps(b, s, m.Model)
}

// piece is an op's share of a picture.
type piece struct{ cached, streamed int64 }

// pieces are the ops of a model that have parameters, in their order. It
// wants a split that tells its parts.
func pieces(m *compile.Predicted) []piece {
	all := make([]piece, len(m.Model.Ops))
	for k := range m.Model.Ops {
		if o := &m.Model.Ops[k]; o.Mapped {
			all[k].streamed = o.Bytes
		}
	}
	for k, part := range m.Model.Load.Parts {
		if m.Split.InCache[k] {
			all[part.Op].cached += part.Bytes
			all[part.Op].streamed -= part.Bytes
		}
	}
	return all
}

// drawOps is a line of so many cells, each an equal share of all bytes.
func drawOps(ops []piece, width int) string {
	var total int64
	for _, p := range ops {
		total += p.cached + p.streamed
	}
	line := make([]byte, width)
	for i := range line {
		// the bytes of cell i, counted from its start
		from := total * int64(i) / int64(width)
		to := max(from+1, total*int64(i+1)/int64(width))
		var held piece
		at := int64(0)
		overlap := func(n int64) int64 {
			n, at = max(0, min(at+n, to)-max(at, from)), at+n
			return n
		}
		for _, p := range ops {
			held.cached += overlap(p.cached)
			held.streamed += overlap(p.streamed)
		}
		switch {
		case held.streamed == 0:
			line[i] = '='
		case held.cached == 0:
			line[i] = '~'
		default:
			line[i] = '-'
		}
	}
	return string(line)
}

// failed says why no usable model would come out of the compiler.
func failed(b *bytes.Buffer, s Style, f *report.Failure) {
	label := "  the compiler would refuse it: "
	if f.Kind == "zero_subgraphs" { // which it calls a success
		label = "  nothing would run on the Edge TPU: "
	}
	paragraph(b, s, label, f.Text)
}

// cpuOps lists what stays on the CPU by reason, in the order of first appearance.
func cpuOps(b *bytes.Buffer, s Style, m *compile.Model) {
	var reasons []string
	var names [][]string
	for k := range m.Ops {
		if o := &m.Ops[k]; !o.Mapped {
			at := slices.Index(reasons, o.Reason)
			if at < 0 {
				at = len(reasons)
				reasons, names = append(reasons, o.Reason), append(names, nil)
			}
			names[at] = append(names[at], o.Name)
		}
	}
	if len(reasons) > 0 {
		fmt.Fprintf(b, "  on the CPU, %s:\n", count(m.CPUOps, "op"))
	}
	for i, reason := range reasons {
		paragraph(b, s, "    ", reason+": "+counted(names[i]))
	}
}

// pool is a bar of the device's parameter memory.
type pool struct {
	bar
	empty []string // models of which nothing is cached
}

func poolBar(reserved int) *pool {
	total := int64(compile.TileRows+max(0, -reserved)) * compile.Tiles * compile.RowBytes
	return &pool{bar: bar{total: total, parts: []barPart{{'x', "reserved", int64(max(0, reserved)) * compile.Tiles * compile.RowBytes}}}}
}

// marks of models in a bar: letters that no other part uses. Only in a group
// of more models than letters does one stand for several.
const marks = "abcdefghijklmnopqrstuvwyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func (p *pool) add(name string, bytes int64) {
	if bytes == 0 {
		p.empty = append(p.empty, name)
		return
	}
	mark := rune(marks[(len(p.parts)-1)%len(marks)])
	p.parts = append(p.parts, barPart{mark, name, bytes})
}

// write draws the bar with the models first, then the free and the reserved memory, and explains the letters.
func (p *pool) write(b *bytes.Buffer, s Style, label string, free int64) {
	parts := append(p.parts[1:len(p.parts):len(p.parts)], barPart{'.', "free", free}, p.parts[0])
	drawn := bar{parts: parts, total: p.total}
	fmt.Fprintf(b, "%s%s %s\n", label, drawn.draw(max(20, min(64, s.Width-len(label)-12))), size(p.total))
	var legend []string
	for _, part := range parts {
		legend = append(legend, strings.ReplaceAll(fmt.Sprintf("%c %s %s", part.mark, shorten(part.name, 40), size(part.bytes)), " ", glue))
	}
	switch n := len(p.empty); {
	case n > 3:
		legend = append(legend, fmt.Sprintf("nothing of %d models", n))
	case n > 0:
		legend = append(legend, "nothing of "+strings.Join(p.empty, ", "))
	}
	paragraph(b, s, strings.Repeat(" ", len(label)), strings.Join(legend, ", "))
}
