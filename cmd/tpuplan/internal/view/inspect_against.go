package view

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/tflite"
)

// Against is a source model's prediction beside its compiled form.
type Against struct {
	File, SHA256 string // the compiled form
	Compiled     *tflite.Compiled
	Origin       string // where the settings of the analysis came from: flag, file or default
	Located      *tflite.Located
}

type againstJSON struct {
	File           string            `json:"file"`
	SHA256         string            `json:"sha256"`
	Compiler       string            `json:"compiler"`
	CompilerSource string            `json:"compiler_source"` // flag, file or default
	MinRuntime     int               `json:"min_runtime,omitempty"`
	Matches        bool              `json:"matches"`
	PredictedBytes int64             `json:"predicted_bytes"`
	FoundBytes     int64             `json:"found_bytes"`
	CachedBytes    int64             `json:"cached_bytes"`
	StreamedBytes  int64             `json:"streamed_bytes"`
	Wrong          []againstOpJSON   `json:"wrong"`
	Ops            []againstOpJSON   `json:"ops"`
	Unexplained    []unexplainedJSON `json:"unexplained"`
}

type againstOpJSON struct {
	Index          int                `json:"index"`
	Op             string             `json:"op"`
	Certainty      *report.Certainty  `json:"certainty,omitempty"`
	PredictedBytes int64              `json:"predicted_bytes"`
	FoundBytes     *int64             `json:"found_bytes,omitempty"`
	Parts          []againstPieceJSON `json:"parts,omitempty"`
}

type againstPieceJSON struct {
	PredictedBytes int64  `json:"predicted_bytes"`
	Bytes          *int64 `json:"bytes,omitempty"` // absent with what follows if the part was not found
	In             string `json:"in,omitempty"`    // cached or streamed
	Package        *int   `json:"package,omitempty"`
	Offset         *int64 `json:"offset,omitempty"`
	By             string `json:"by,omitempty"` // content or size
}

type unexplainedJSON struct {
	In       string `json:"in"`
	Package  int    `json:"package"`
	Offset   int64  `json:"offset"`
	Bytes    int64  `json:"bytes"`
	Suspects []int  `json:"suspects"` // indexes of ops
}

func in(cached bool) string {
	if cached {
		return "cached"
	}
	return "streamed"
}

func newAgainstJSON(f *Inspected) *againstJSON {
	a, m := f.Against, f.Analysis
	x := &againstJSON{
		File: a.File, SHA256: a.SHA256, Compiler: m.Settings.Version.String(), CompilerSource: a.Origin, MinRuntime: m.Settings.MinRuntime,
		Matches: len(a.Located.Wrong) == 0, PredictedBytes: m.Load.Bytes(), FoundBytes: a.Compiled.CachedBytes() + a.Compiled.StreamedBytes(),
		CachedBytes: a.Compiled.CachedBytes(), StreamedBytes: a.Compiled.StreamedBytes(),
		Wrong: []againstOpJSON{}, Ops: []againstOpJSON{}, Unexplained: []unexplainedJSON{},
	}
	at := map[int]int{}
	for i := range a.Located.Pieces {
		p := &a.Located.Pieces[i]
		k, known := at[p.Op]
		if !known {
			k = len(x.Ops)
			at[p.Op] = k
			o := &m.Ops[p.Op]
			x.Ops = append(x.Ops, againstOpJSON{Index: o.Index, Op: o.Name, Certainty: &o.Certainty, PredictedBytes: o.Bytes, FoundBytes: new(int64)})
		}
		op := &x.Ops[k]
		if p.Want.Bytes == 0 {
			continue
		}
		y := againstPieceJSON{PredictedBytes: p.Want.Bytes}
		if p.Found {
			y.Bytes, y.In, y.Package, y.Offset, y.By = &p.Bytes, in(p.Cached), &p.Package, &p.Offset, by(p)
			if op.FoundBytes != nil {
				*op.FoundBytes += p.Bytes
			}
		} else {
			op.FoundBytes = nil
		}
		op.Parts = append(op.Parts, y)
	}
	for _, i := range a.Located.Wrong {
		op := x.Ops[at[i]]
		op.Certainty, op.Parts = nil, nil
		x.Wrong = append(x.Wrong, op)
	}
	for _, s := range a.Located.Strays {
		x.Unexplained = append(x.Unexplained, unexplainedJSON{in(s.Cached), s.Package, s.Offset, s.Bytes, append([]int{}, s.Suspects...)})
	}
	return x
}

func by(p *tflite.Piece) string {
	if p.ByContent {
		return "content"
	}
	return "size"
}

// inspectAgainst shows op by op what was predicted and what the compiled file has.
func inspectAgainst(b *bytes.Buffer, s Style, f *Inspected) {
	a, m := f.Against, f.Analysis
	verdict := "every byte as predicted"
	if n := len(a.Located.Wrong); n > 0 {
		verdict = count(n, "op") + " not as predicted"
	}
	b.WriteString(s.bold(fmt.Sprintf("%s against its compiled form: %s", f.File, verdict)) + "\n")
	paragraph(b, s, "  compiled   ", a.File)
	paragraph(b, s, "  sha256     ", a.SHA256)
	origin := map[string]string{"flag": "as given", "file": "as the file shows", "default": "assumed, the file does not show it"}[a.Origin]
	paragraph(b, s, "  compiler   ", fmt.Sprintf("%s, %s", m.Settings.Version, origin))
	found := a.Compiled.CachedBytes() + a.Compiled.StreamedBytes()
	paragraph(b, s, "  predicted  ", fmt.Sprintf("%d bytes of parameters (%s)", m.Load.Bytes(), m.Certainty))
	paragraph(b, s, "  found      ", fmt.Sprintf("%d bytes: %d cached, %d streamed per call", found, a.Compiled.CachedBytes(), a.Compiled.StreamedBytes()))
	t := table{columns: []column{right(""), {title: "OP", fixed: true}, right("PREDICTED"), right("FOUND"), {title: "IN", fixed: true}, right("OFFSET"), {title: "KNOWN BY", fixed: true}}}
	if len(a.Compiled.Packages) > 1 {
		t.columns = append(t.columns, right("PACKAGE"))
	}
	for i := range a.Located.Pieces {
		p := &a.Located.Pieces[i]
		if p.Want.Bytes == 0 {
			continue
		}
		cells := []string{fmt.Sprint(p.Op), m.Ops[p.Op].Name, fmt.Sprint(p.Want.Bytes), "?", "", "", "", ""}
		if p.Found {
			cells[3], cells[4], cells[5], cells[6], cells[7] = fmt.Sprint(p.Bytes), in(p.Cached), fmt.Sprint(p.Offset), by(p), fmt.Sprint(p.Package+1)
		}
		t.add(cells[:len(t.columns)]...)
	}
	if len(t.rows) > 0 {
		b.WriteString("\n")
		t.write(b, s, 2)
	}
	againstWrong(b, s, a, m)
}

// againstWrong names the ops where the prediction goes wrong.
func againstWrong(b *bytes.Buffer, s Style, a *Against, m *compile.Model) {
	if len(a.Located.Wrong) == 0 {
		return
	}
	name := func(i int) string { return fmt.Sprintf("%d %s", i, m.Ops[i].Name) }
	b.WriteString("\nnot as predicted\n")
	for i := range a.Located.Pieces {
		switch p := &a.Located.Pieces[i]; {
		case !p.Found:
			paragraph(b, s, "  op "+name(p.Op)+": ", fmt.Sprintf("%d bytes predicted, not found (%s)", p.Want.Bytes, m.Ops[p.Op].Certainty))
		case p.Bytes != p.Want.Bytes:
			paragraph(b, s, "  op "+name(p.Op)+": ", fmt.Sprintf("%d bytes predicted, %d found (%s)", p.Want.Bytes, p.Bytes, m.Ops[p.Op].Certainty))
		}
	}
	for _, stray := range a.Located.Strays {
		const most = 4 // ops to name
		var suspects []string
		for _, i := range stray.Suspects[:min(len(stray.Suspects), most)] {
			suspects = append(suspects, name(i))
		}
		if more := len(stray.Suspects) - most; more > 0 {
			suspects = append(suspects, fmt.Sprintf("%d more", more))
		}
		text := fmt.Sprintf("%d %s bytes at offset %d that no op was predicted to have", stray.Bytes, in(stray.Cached), stray.Offset)
		label := "  "
		if len(suspects) > 0 {
			label = "  op " + strings.Join(suspects, " or ") + ": "
		}
		if len(label) > 40 {
			paragraph(b, s, "  ", strings.TrimSpace(label)+" "+text)
		} else {
			paragraph(b, s, label, text)
		}
	}
	weakest := slices.MaxFunc(a.Located.Wrong, func(i, k int) int { return int(m.Ops[i].Certainty) - int(m.Ops[k].Certainty) })
	if m.Ops[weakest].Certainty == report.Exact {
		paragraph(b, s, "  ", "the rules for these ops count as exact: is this the source, and the right --compiler, --min-runtime and -a?")
	}
}
