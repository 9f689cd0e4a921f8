package view

import (
	"bytes"
	"fmt"
	"path"
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
	Against      *Against       // of a source: its compiled form, if that was given
	Compiled     *tflite.Compiled
	Segment      *Segment // of a compiled file that is a part of a model
}

// Segment says which part of a model a file is, as its name tells.
type Segment struct {
	Index int `json:"index"` // from 0
	Of    int `json:"of"`
}

// Together is a token and the compiled files that carry it: they came from
// one run of the compiler.
type Together struct {
	Token uint64
	Files []*Inspected
}

type inspectJSON struct {
	Schema   string         `json:"schema"`
	Compiler string         `json:"compiler"` // that source models are analysed for
	Files    []fileJSON     `json:"files"`
	Groups   []togetherJSON `json:"groups,omitempty"`
	Expect   *expectJSON    `json:"expect,omitempty"`
	Learnt   *learntJSON    `json:"learnt,omitempty"`
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
	Against      *againstJSON `json:"against,omitempty"`
	// of a compiled file
	Generation    string        `json:"generation,omitempty"`
	CachedBytes   *int64        `json:"cached_bytes,omitempty"`
	StreamedBytes *int64        `json:"streamed_bytes,omitempty"`
	WarmBytes     *int64        `json:"warm_bytes,omitempty"` // of a call, all packages
	ColdBytes     *int64        `json:"cold_bytes,omitempty"`
	Segment       *Segment      `json:"segment,omitempty"`
	Subgraphs     *int          `json:"subgraphs,omitempty"`
	CPUOperations *int          `json:"cpu_operations,omitempty"`
	CPUOps        []cpuOpJSON   `json:"cpu_ops,omitempty"`
	Packages      []packageJSON `json:"packages,omitempty"`
}

type cpuOpJSON struct {
	Index int    `json:"index"`
	Op    string `json:"op"`
}

type tensorJSON struct {
	Name      string  `json:"name"`
	Type      string  `json:"type"`
	Shape     []int   `json:"shape"`
	Scale     *number `json:"scale,omitempty"`
	ZeroPoint *int64  `json:"zero_point,omitempty"`
}

type packageJSON struct {
	Token              string           `json:"token"`
	MinRuntime         int              `json:"min_runtime"`
	Chip               string           `json:"chip,omitempty"`
	BatchSize          int64            `json:"batch_size"`
	WarmBytes          int64            `json:"warm_bytes"`
	ColdBytes          int64            `json:"cold_bytes"`
	FullyDeterministic bool             `json:"fully_deterministic"` // the amounts are those of the hints
	DMA                dmaJSON          `json:"dma"`                 // of a cold call
	ToTPUBytes         int64            `json:"to_tpu_bytes"`
	FromTPUBytes       int64            `json:"from_tpu_bytes"`
	Layers             []layerJSON      `json:"layers"`
	Executables        []executableJSON `json:"executables"`
}

type dmaJSON struct {
	Parameter   int64 `json:"parameter"`
	Input       int64 `json:"input"`
	Output      int64 `json:"output"`
	Scratch     int64 `json:"scratch"`
	Instruction int64 `json:"instruction"`
}

type layerJSON struct {
	Direction string `json:"direction"` // input or output
	Name      string `json:"name"`
	Y         int    `json:"y"`
	X         int    `json:"x"`
	Z         int    `json:"z"`
	SizeBytes int64  `json:"size_bytes"`
}

type executableJSON struct {
	Type               string  `json:"type"`
	ParameterBytes     int64   `json:"parameter_bytes"`
	InstructionBytes   int64   `json:"instruction_bytes"`
	InputBytes         int64   `json:"input_bytes"`
	OutputBytes        int64   `json:"output_bytes"`
	ScratchBytes       int64   `json:"scratch_bytes"`
	NarrowBytesPerTile int64   `json:"narrow_bytes_per_tile"`
	EstimatedCycles    *int64  `json:"estimated_cycles,omitempty"` // not every generation writes them
	FullyDeterministic bool    `json:"fully_deterministic"`
	DMA                dmaJSON `json:"dma"`
	ToTPUBytes         int64   `json:"to_tpu_bytes"`
	FromTPUBytes       int64   `json:"from_tpu_bytes"`
}

type togetherJSON struct {
	Token string     `json:"token"`
	Files []string   `json:"files"`
	Calls []callJSON `json:"calls"`
}

// callJSON is what a call of a file of a group keeps on the device and moves.
type callJSON struct {
	File          string `json:"file"`
	CachedBytes   int64  `json:"cached_bytes"`
	StreamedBytes int64  `json:"streamed_bytes"`
	WarmBytes     int64  `json:"warm_bytes"`
	ColdBytes     int64  `json:"cold_bytes"`
}

func newDMAJSON(d tflite.DMA) dmaJSON {
	return dmaJSON{d.Parameter, d.Input, d.Output, d.Scratch, d.Instruction}
}

func token(t uint64) string { return fmt.Sprintf("0x%016x", t) }

// InspectJSON is the object tpuplan/inspect/v1. expected is nil unless files
// were compared with a lock, l unless something was to be learnt.
func InspectJSON(v compile.Version, files []Inspected, groups []Together, expected *Expected, l *Learnt) []byte {
	out := inspectJSON{Schema: "tpuplan/inspect/v1", Compiler: v.String(), Files: []fileJSON{}, Learnt: l.json()}
	for i := range files {
		f := &files[i]
		x := fileJSON{File: f.File, SHA256: f.SHA256, Kind: tflite.KindSource}
		if f.Compiled != nil {
			compiledJSON(&x, f)
		} else {
			x.Quantization = f.Quantization
			x.Inputs, x.Outputs = tensorsJSON(f.Source, f.Source.Inputs), tensorsJSON(f.Source, f.Source.Outputs)
			for k := range f.Analysis.Ops {
				op := newOpJSON(&f.Analysis.Ops[k])
				op.Shape = shapeOf(f.Source, k)
				x.Ops = append(x.Ops, op)
			}
			if f.Against != nil {
				x.Against = newAgainstJSON(f)
			}
		}
		out.Files = append(out.Files, x)
	}
	for _, g := range groups {
		x := togetherJSON{Token: token(g.Token)}
		for _, f := range g.Files {
			x.Files = append(x.Files, f.File)
			c := f.Compiled
			x.Calls = append(x.Calls, callJSON{f.File, c.CachedBytes(), c.StreamedBytes(), c.WarmBytes(), c.ColdBytes()})
		}
		out.Groups = append(out.Groups, x)
	}
	if expected != nil {
		out.Expect = newExpectJSON(expected)
	}
	return encode(out)
}

func compiledJSON(x *fileJSON, f *Inspected) {
	c := f.Compiled
	x.Kind, x.Generation, x.Segment = tflite.KindCompiled, c.Generation(), f.Segment
	known := func(n int64) *int64 { return &n }
	x.CachedBytes, x.StreamedBytes, x.WarmBytes, x.ColdBytes = known(c.CachedBytes()), known(c.StreamedBytes()), known(c.WarmBytes()), known(c.ColdBytes())
	subgraphs := len(c.Packages)
	x.Subgraphs, x.CPUOperations = &subgraphs, &c.CPUOps
	for i := range f.Source.Ops {
		if op := &f.Source.Ops[i]; op.Custom != tflite.EdgeTPUOp {
			x.CPUOps = append(x.CPUOps, cpuOpJSON{i, compile.OpName(op)})
		}
	}
	for i := range c.Packages {
		p := &c.Packages[i]
		main, dma := p.Main(), p.DMA()
		y := packageJSON{
			Token: token(p.Token()), MinRuntime: p.MinRuntime, Chip: main.Chip, BatchSize: main.BatchSize,
			WarmBytes: p.WarmBytes(), ColdBytes: p.ColdBytes(), FullyDeterministic: dma.Hinted, DMA: newDMAJSON(dma),
			ToTPUBytes: dma.ToTPU, FromTPUBytes: dma.FromTPU,
			Layers: append(layersJSON("input", main.Inputs), layersJSON("output", main.Outputs)...), Executables: []executableJSON{},
		}
		for k := range p.Executables {
			e := &p.Executables[k]
			z := executableJSON{
				Type: e.Type.String(), ParameterBytes: e.ParameterBytes, InstructionBytes: e.InstructionBytes,
				InputBytes: e.InputBytes, OutputBytes: e.OutputBytes, ScratchBytes: e.ScratchBytes, NarrowBytesPerTile: e.NarrowBytesPerTile,
				FullyDeterministic: e.DMA.Hinted, DMA: newDMAJSON(e.DMA), ToTPUBytes: e.DMA.ToTPU, FromTPUBytes: e.DMA.FromTPU,
			}
			if e.EstimatedCycles > 0 {
				z.EstimatedCycles = &e.EstimatedCycles
			}
			y.Executables = append(y.Executables, z)
		}
		x.Packages = append(x.Packages, y)
	}
}

func layersJSON(direction string, layers []tflite.Layer) []layerJSON {
	list := []layerJSON{}
	for _, l := range layers {
		list = append(list, layerJSON{direction, l.Name, l.Y, l.X, l.Z, l.Bytes})
	}
	return list
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
func Inspect(files []Inspected, groups []Together, l *Learnt, s Style) []byte {
	var b bytes.Buffer
	for i := range files {
		if i > 0 {
			b.WriteString("\n")
		}
		switch f := &files[i]; {
		case f.Compiled != nil:
			inspectCompiled(&b, s, f)
		case f.Against != nil:
			inspectAgainst(&b, s, f)
		default:
			inspectSource(&b, s, f)
		}
	}
	if len(groups) > 0 {
		b.WriteString("\ncompiled together\n")
	}
	for _, g := range groups {
		fmt.Fprintf(&b, "  token %s\n", token(g.Token))
		t := table{columns: []column{left("COMPILED MODEL"), right("CACHED"), right("STREAMED"), right("WARM CALL"), right("COLD CALL")}}
		for i, name := range briefNames(g.Files) {
			c := g.Files[i].Compiled
			t.add(name, size(c.CachedBytes()), size(c.StreamedBytes()), size(c.WarmBytes()), size(c.ColdBytes()))
		}
		t.write(&b, s, 4)
	}
	learnt(&b, s, l)
	return b.Bytes()
}

// briefNames are the files' names without folders and what all compiled files
// end in, as long as that tells them apart.
func briefNames(files []*Inspected) []string {
	brief, full := []string{}, []string{}
	seen := map[string]bool{}
	for _, f := range files {
		name := strings.TrimSuffix(path.Base(f.File), "_edgetpu.tflite")
		seen[name] = true
		brief, full = append(brief, name), append(full, f.File)
	}
	if len(seen) < len(files) {
		return full
	}
	return brief
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
		failed(b, s, m.Failure)
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
	b.WriteString(s.bold(fmt.Sprintf("%s: compiled, %s cached, %s streamed per call", f.File, size(c.CachedBytes()), size(c.StreamedBytes()))) + "\n")
	fmt.Fprintf(b, "  sha256  %s\n", f.SHA256)
	fmt.Fprintf(b, "  compiler %s, %s for the TPU, %s on the CPU\n", generation, count(len(c.Packages), "package"), count(c.CPUOps, "op"))
	if f.Segment != nil {
		fmt.Fprintf(b, "  segment %d of %d of its model\n", f.Segment.Index+1, f.Segment.Of)
	}
	var names []string
	for i := range f.Source.Ops {
		if op := &f.Source.Ops[i]; op.Custom != tflite.EdgeTPUOp {
			names = append(names, compile.OpName(op))
		}
	}
	if len(names) > 0 {
		paragraph(b, s, "  on the CPU: ", counted(names))
	}
	for i := range c.Packages {
		inspectPackage(b, s, i, &c.Packages[i])
	}
}

func inspectPackage(b *bytes.Buffer, s Style, index int, p *tflite.Package) {
	main := p.Main()
	fmt.Fprintf(b, "\n  package %d, token %s\n", index+1, token(p.Token()))
	paragraph(b, s, "  ", fmt.Sprintf("a call moves %s over the bus if warm, %s if cold", size(p.WarmBytes()), size(p.ColdBytes())))
	about := []string{fmt.Sprintf("%d bytes of activations on each tile", main.NarrowBytesPerTile)}
	if main.ScratchBytes > 0 {
		about = append(about, size(main.ScratchBytes)+" of scratch memory")
	}
	if main.EstimatedCycles > 0 {
		about = append(about, fmt.Sprintf("an estimate of %d cycles", main.EstimatedCycles))
	}
	if main.BatchSize > 1 {
		about = append(about, fmt.Sprintf("batches of %d", main.BatchSize))
	}
	about = append(about, fmt.Sprintf("runtime %d or later", p.MinRuntime))
	paragraph(b, s, "  ", strings.Join(about, ", "))
	if dma := p.DMA(); !dma.Hinted {
		paragraph(b, s, "  ", "the file leaves open what is moved when: the sizes of its layers, parameters and instructions are shown")
	}
	b.WriteString("\n")
	t := table{columns: []column{left("EXECUTABLE"), right("PARAMETERS"), right("INSTRUCTIONS"), right("INPUT"), right("OUTPUT"), right("SCRATCH")}}
	for k := range p.Executables {
		e := &p.Executables[k]
		t.add(e.Type.String(), size(e.DMA.Parameter), size(e.DMA.Instruction), size(e.DMA.Input), size(e.DMA.Output), size(e.DMA.Scratch))
	}
	t.write(b, s, 2)
	if len(main.Inputs)+len(main.Outputs) == 0 {
		return
	}
	b.WriteString("\n")
	t = table{columns: []column{{title: "LAYER", fixed: true}, left("NAME"), {title: "SHAPE", fixed: true}, right("BYTES")}}
	for _, l := range main.Inputs {
		t.add("input", l.Name, shape([]int{l.Y, l.X, l.Z}), fmt.Sprint(l.Bytes))
	}
	for _, l := range main.Outputs {
		t.add("output", l.Name, shape([]int{l.Y, l.X, l.Z}), fmt.Sprint(l.Bytes))
	}
	t.write(b, s, 2)
}

// counted lists names with how often each occurs, in the order of first appearance.
func counted(names []string) string {
	var order []string
	times := map[string]int{}
	for _, name := range names {
		if times[name]++; times[name] == 1 {
			order = append(order, name)
		}
	}
	for i, name := range order {
		if n := times[name]; n > 1 {
			order[i] = fmt.Sprintf("%d"+glue+"%s", n, name)
		}
	}
	return strings.Join(order, ", ")
}
