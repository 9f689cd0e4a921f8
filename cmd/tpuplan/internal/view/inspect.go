package view

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/tflite"
)

// Inspected is what is known of one file: a source model with its analysis,
// or a compiled one.
type Inspected struct {
	File         string
	SHA256       string
	Bytes        int64
	Source       *tflite.Source // always
	Quantization string         // of a source: uint8, int8, float or mixed
	Analysis     *compile.Model // of a source
	Compiled     *tflite.Compiled
}

// Together is a token and the compiled files that carry it: they came from
// one run of the compiler.
type Together struct {
	Token uint64
	Files []string
}

type inspectJSON struct {
	Schema   string         `json:"schema"`
	Compiler string         `json:"compiler"` // that source models are analysed for
	Files    []fileJSON     `json:"files"`
	Groups   []togetherJSON `json:"groups,omitempty"`
}

type fileJSON struct {
	File   string      `json:"file"`
	SHA256 string      `json:"sha256"`
	Kind   tflite.Kind `json:"kind"`
	// of a source
	Quantization string       `json:"quantization,omitempty"`
	Inputs       []tensorJSON `json:"inputs,omitempty"`
	Outputs      []tensorJSON `json:"outputs,omitempty"`
	Ops          []opJSON     `json:"ops,omitempty"`
	// of a compiled file
	Generation    string        `json:"generation,omitempty"`
	CachedBytes   *int64        `json:"cached_bytes,omitempty"`
	StreamedBytes *int64        `json:"streamed_bytes,omitempty"`
	Packages      []packageJSON `json:"packages,omitempty"`
}

type tensorJSON struct {
	Name      string  `json:"name"`
	Type      string  `json:"type"`
	Shape     []int   `json:"shape"`
	Scale     *number `json:"scale,omitempty"`
	ZeroPoint *int64  `json:"zero_point,omitempty"`
}

type packageJSON struct {
	Token       string           `json:"token"`
	Executables []executableJSON `json:"executables"`
}

type executableJSON struct {
	Type               string `json:"type"`
	ParameterBytes     int64  `json:"parameter_bytes"`
	InstructionBytes   int64  `json:"instruction_bytes"`
	InputBytes         int64  `json:"input_bytes"`
	OutputBytes        int64  `json:"output_bytes"`
	ScratchBytes       int64  `json:"scratch_bytes"`
	NarrowBytesPerTile int64  `json:"narrow_bytes_per_tile"`
	EstimatedCycles    *int64 `json:"estimated_cycles,omitempty"` // not every generation writes them
}

type togetherJSON struct {
	Token string   `json:"token"`
	Files []string `json:"files"`
}

func token(t uint64) string { return fmt.Sprintf("0x%016x", t) }

// InspectJSON is the object tpuplan/inspect/v1.
func InspectJSON(v compile.Version, files []Inspected, groups []Together) []byte {
	out := inspectJSON{Schema: "tpuplan/inspect/v1", Compiler: v.String(), Files: []fileJSON{}}
	for i := range files {
		f := &files[i]
		x := fileJSON{File: f.File, SHA256: f.SHA256, Kind: tflite.KindSource}
		if f.Compiled != nil {
			compiledJSON(&x, f.Compiled)
		} else {
			x.Quantization = f.Quantization
			x.Inputs, x.Outputs = tensorsJSON(f.Source, f.Source.Inputs), tensorsJSON(f.Source, f.Source.Outputs)
			for k := range f.Analysis.Ops {
				op := newOpJSON(&f.Analysis.Ops[k])
				op.Shape = shapeOf(f.Source, k)
				x.Ops = append(x.Ops, op)
			}
		}
		out.Files = append(out.Files, x)
	}
	for _, g := range groups {
		out.Groups = append(out.Groups, togetherJSON{token(g.Token), g.Files})
	}
	return encode(out)
}

func compiledJSON(x *fileJSON, c *tflite.Compiled) {
	x.Kind, x.Generation = tflite.KindCompiled, c.Generation()
	var cached, streamed int64
	for i := range c.Packages {
		p := &c.Packages[i]
		cached += p.CachedBytes()
		streamed += p.StreamedBytes()
		y := packageJSON{Token: token(p.Token()), Executables: []executableJSON{}}
		for k := range p.Executables {
			e := &p.Executables[k]
			z := executableJSON{
				Type: e.Type.String(), ParameterBytes: e.ParameterBytes, InstructionBytes: e.InstructionBytes,
				InputBytes: e.InputBytes, OutputBytes: e.OutputBytes, ScratchBytes: e.ScratchBytes, NarrowBytesPerTile: e.NarrowBytesPerTile,
			}
			if e.EstimatedCycles > 0 {
				z.EstimatedCycles = &e.EstimatedCycles
			}
			y.Executables = append(y.Executables, z)
		}
		x.Packages = append(x.Packages, y)
	}
	x.CachedBytes, x.StreamedBytes = &cached, &streamed
}

func tensorsJSON(src *tflite.Source, numbers []int) []tensorJSON {
	list := []tensorJSON{}
	for _, n := range numbers {
		t := &src.Tensors[n]
		x := tensorJSON{Name: t.Name, Type: strings.ToLower(t.Type.String()), Shape: t.Shape}
		if x.Shape == nil {
			x.Shape = []int{}
		}
		if len(t.Scales) == 1 {
			scale := number(t.Scales[0])
			x.Scale = &scale
			if len(t.ZeroPoints) == 1 {
				x.ZeroPoint = &t.ZeroPoints[0]
			}
		}
		list = append(list, x)
	}
	return list
}

// shapeOf is the shape of an op's first output.
func shapeOf(src *tflite.Source, op int) []int {
	for _, t := range src.Ops[op].Outputs {
		if t >= 0 {
			return src.Tensors[t].Shape
		}
	}
	return nil
}

// Inspect is the listing of files.
func Inspect(files []Inspected, groups []Together, s Style) []byte {
	var b bytes.Buffer
	for i := range files {
		if i > 0 {
			b.WriteString("\n")
		}
		if f := &files[i]; f.Compiled != nil {
			inspectCompiled(&b, s, f)
		} else {
			inspectSource(&b, s, f)
		}
	}
	if len(groups) > 0 {
		b.WriteString("\ncompiled together\n")
	}
	for _, g := range groups {
		paragraph(&b, s, "  token "+token(g.Token)+": ", strings.Join(g.Files, ", "))
	}
	return b.Bytes()
}

func inspectSource(b *bytes.Buffer, s Style, f *Inspected) {
	m := f.Analysis
	b.WriteString(s.bold(fmt.Sprintf("%s: %s model, %s", f.File, f.Quantization, size(f.Bytes))) + "\n")
	fmt.Fprintf(b, "  sha256  %s\n", f.SHA256)
	tensorLines(b, s, "  input   ", f.Source, f.Source.Inputs)
	tensorLines(b, s, "  output  ", f.Source, f.Source.Outputs)
	rows := 0
	for _, p := range m.Load.Parts {
		rows += p.Rows
	}
	paragraph(b, s, fmt.Sprintf("  edgetpu_compiler %s: ", m.Settings.Version), fmt.Sprintf("%d of %s on the TPU in %s; %s of parameters, %s (%s)",
		m.TPUOps, count(len(m.Ops), "op"), count(m.Subgraphs, "subgraph"), size(m.Load.Bytes()), count(rows, "row"), m.Certainty))
	if m.Failure != nil {
		paragraph(b, s, "  the compiler would refuse it: ", m.Failure.Text)
	}
	b.WriteString("\n")
	t := table{columns: []column{right(""), left("OP"), left("SHAPE"), right("BYTES"), right("ROWS"), {title: "CERTAINTY", fixed: true}, {title: "ON", fixed: true}}}
	for k := range m.Ops {
		o := &m.Ops[k]
		bytes, rows, certainty, on := "", "", "", "CPU"
		if o.Mapped {
			on = "TPU"
			if o.Bytes > 0 {
				bytes, rows, certainty = fmt.Sprint(o.Bytes), fmt.Sprint(o.Rows), o.Certainty.String()
			}
		}
		t.add(fmt.Sprint(o.Index), o.Name, shape(shapeOf(f.Source, k)), bytes, rows, certainty, on)
	}
	t.write(b, s, 2)
	if m.CPUOps > 0 {
		b.WriteString("\n")
		cpuOps(b, s, m)
	}
}

func tensorLines(b *bytes.Buffer, s Style, label string, src *tflite.Source, numbers []int) {
	for _, n := range numbers {
		t := &src.Tensors[n]
		text := fmt.Sprintf("%s %s %s", t.Name, strings.ToLower(t.Type.String()), shape(t.Shape))
		if len(t.Scales) == 1 && len(t.ZeroPoints) == 1 {
			text += fmt.Sprintf(", scale %.4g, zero point %d", t.Scales[0], t.ZeroPoints[0])
		}
		paragraph(b, s, label, text)
	}
}

func shape(dims []int) string {
	return "[" + strings.Join(strings.Fields(strings.Trim(fmt.Sprint(dims), "[]")), ",") + "]"
}

func inspectCompiled(b *bytes.Buffer, s Style, f *Inspected) {
	c := f.Compiled
	generation := c.Generation()
	if generation == "" {
		generation = "unknown"
	}
	var cached, streamed int64
	for i := range c.Packages {
		cached += c.Packages[i].CachedBytes()
		streamed += c.Packages[i].StreamedBytes()
	}
	b.WriteString(s.bold(fmt.Sprintf("%s: compiled, %s cached, %s streamed per call", f.File, size(cached), size(streamed))) + "\n")
	fmt.Fprintf(b, "  sha256  %s\n", f.SHA256)
	fmt.Fprintf(b, "  compiler %s, %s for the TPU, %s on the CPU\n", generation, count(len(c.Packages), "package"), count(c.CPUOps, "op"))
	for i := range c.Packages {
		p := &c.Packages[i]
		fmt.Fprintf(b, "\n  package %d, token %s\n", i+1, token(p.Token()))
		t := table{columns: []column{left("EXECUTABLE"), right("PARAMETERS"), right("INSTRUCTIONS"), right("INPUT"), right("OUTPUT"), right("SCRATCH")}}
		for k := range p.Executables {
			e := &p.Executables[k]
			t.add(e.Type.String(), size(e.ParameterBytes), size(e.InstructionBytes), size(e.InputBytes), size(e.OutputBytes), size(e.ScratchBytes))
		}
		t.write(b, s, 2)
	}
}
