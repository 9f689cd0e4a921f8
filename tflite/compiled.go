package tflite

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/tpuplan/tpuplan/tflite/internal/dwn"
	"github.com/tpuplan/tpuplan/tflite/internal/flex"
)

const packageIdentifier = "DWN1"

// EdgeTPUOp is the custom_code of the operators that edgetpu_compiler puts
// in the place of those it maps.
const EdgeTPUOp = "edgetpu-custom-op"

func (o *Op) edgeTPU() bool { return o.Code == Custom && o.Custom == EdgeTPUOp }

// Compiled is what a compiled model says about its Edge TPU parts.
type Compiled struct {
	Description string    // the model's, words of the compiler
	Packages    []Package // one for each Edge TPU operator of the main subgraph, in execution order
	CPUOps      int       // operators of the main subgraph that stayed on the CPU
}

// exportedUpTo2_1 is the description of models that releases up to 2.1 wrote;
// later ones say "Exported from Subgraph.".
const exportedUpTo2_1 = "Exported from Interpreter."

// Package is the program of one Edge TPU operator.
type Package struct {
	OpIndex         int          // the operator's place in [Source].Ops
	MinRuntime      int          // minimum runtime version
	CompilerVersion string       // as the file has it; nearly always the useless "cl/"
	Executables     []Executable // in the file's order: 1, 2 (caching and execution) or 3

	NewFields bool // the custom options have the fields that came with 16.0
}

// Executable is a program that the Edge TPU runs as a whole.
type Executable struct {
	Type               ExecutableType
	Token              uint64 // parameter_caching_token: equal for all models of one compiler call
	ParameterBytes     int64
	InstructionBytes   int64 // all instruction bitstreams
	InputBytes         int64 // all input layers, each as padded on the chip
	OutputBytes        int64 // all output layers, likewise
	ScratchBytes       int64
	NarrowBytesPerTile int64 // activation memory used on each tile
	EstimatedCycles    int64 // 0 if the compiler wrote none
	BatchSize          int64
	Chip               string  // "beagle" is the Edge TPU
	Inputs, Outputs    []Layer // activations that cross the bus
	DMA                DMA     // what a run moves over the bus
	Parameters         []byte  // the packed parameters, ParameterBytes of them
}

// Layer is an input or output of an executable as it crosses the bus.
type Layer struct {
	Name    string
	Y, X, Z int   // height, width, channels
	Bytes   int64 // padded to a multiple of 8
}

// DMA is what an executable moves over the bus in one run, in bytes.
type DMA struct {
	// Hinted says that the amounts are those that the compiler wrote down for
	// the driver. Where it left some open they are those of the layers,
	// parameters and instructions, each moved once.
	Hinted bool

	Parameter, Input, Output, Scratch, Instruction int64 // by kind
	ToTPU, FromTPU                                 int64 // the same by direction
}

// Total is all of it, in both directions.
func (d *DMA) Total() int64 { return d.ToTPU + d.FromTPU }

// plus is the sum of two; it is hinted if both are.
func (d DMA) plus(e DMA) DMA {
	return DMA{
		Hinted:    d.Hinted && e.Hinted,
		Parameter: d.Parameter + e.Parameter, Input: d.Input + e.Input, Output: d.Output + e.Output,
		Scratch: d.Scratch + e.Scratch, Instruction: d.Instruction + e.Instruction,
		ToTPU: d.ToTPU + e.ToTPU, FromTPU: d.FromTPU + e.FromTPU,
	}
}

// ExecutableType is the part that an executable plays, numbered as in the package.
type ExecutableType int16

// The types of executables.
const (
	StandAlone       ExecutableType = 0 // does everything
	ParameterCaching ExecutableType = 1 // loads parameters into the chip's memory
	ExecutionOnly    ExecutableType = 2 // expects them there
)

var executableTypeNames = [...]string{"stand_alone", "parameter_caching", "execution_only"}

// String is stand_alone, parameter_caching or execution_only.
func (t ExecutableType) String() string {
	if t >= 0 && int(t) < len(executableTypeNames) {
		return executableTypeNames[t]
	}
	return "type_" + strconv.Itoa(int(t))
}

// The runtime goes by the number of executables. A single one does
// everything, whatever its type says. Of three the stand-alone one is run and
// the others are ignored. Only in a package of two does one load parameters
// that the other finds on the chip. (libedgetpu, package_registry.cc)

// Caching is the executable that loads cached parameters, nil if none does.
func (p *Package) Caching() *Executable {
	if len(p.Executables) == 2 {
		return p.executable(ParameterCaching)
	}
	return nil
}

// Main is the executable that does the inference. It is never nil in a
// package that this package has read.
func (p *Package) Main() *Executable {
	switch len(p.Executables) {
	case 1:
		return &p.Executables[0]
	case 2:
		return p.executable(ExecutionOnly)
	}
	return p.executable(StandAlone)
}

func (p *Package) executable(t ExecutableType) *Executable {
	for i := range p.Executables {
		if p.Executables[i].Type == t {
			return &p.Executables[i]
		}
	}
	return nil
}

// CachedBytes are the parameters that stay on the chip after the first inference.
func (p *Package) CachedBytes() int64 {
	if caching := p.Caching(); caching != nil {
		return caching.ParameterBytes
	}
	return 0
}

// StreamedBytes are the parameters sent for every inference.
func (p *Package) StreamedBytes() int64 { return p.Main().ParameterBytes }

// DMA is what a cold call moves over the bus: the sum over the executables that run.
func (p *Package) DMA() DMA {
	d := p.Main().DMA
	if caching := p.Caching(); caching != nil {
		d = d.plus(caching.DMA)
	}
	return d
}

// WarmBytes are what a call moves over the bus, in both directions, when its
// cached parameters are on the chip.
func (p *Package) WarmBytes() int64 { return p.Main().DMA.Total() }

// ColdBytes are what a call moves over the bus when it loads its cached
// parameters first.
func (p *Package) ColdBytes() int64 {
	d := p.DMA()
	return d.Total()
}

// Token is the parameter caching token of the compiler call that made the
// package. Models compiled together have the same.
func (p *Package) Token() uint64 { return p.Main().Token }

// Tokens lists the packages' tokens without repetition, in the packages'
// order. A file that one call of the compiler made has one.
func (c *Compiled) Tokens() []uint64 {
	var tokens []uint64
	for i := range c.Packages {
		if t := c.Packages[i].Token(); !slices.Contains(tokens, t) {
			tokens = append(tokens, t)
		}
	}
	return tokens
}

// CachedBytes is the sum over the packages.
func (c *Compiled) CachedBytes() (n int64) {
	for i := range c.Packages {
		n += c.Packages[i].CachedBytes()
	}
	return n
}

// StreamedBytes is the sum over the packages.
func (c *Compiled) StreamedBytes() (n int64) {
	for i := range c.Packages {
		n += c.Packages[i].StreamedBytes()
	}
	return n
}

// WarmBytes is the sum over the packages.
func (c *Compiled) WarmBytes() (n int64) {
	for i := range c.Packages {
		n += c.Packages[i].WarmBytes()
	}
	return n
}

// WarmDMA is what a call moves when its cached parameters are on the chip, summed over the packages.
func (c *Compiled) WarmDMA() DMA {
	d := DMA{Hinted: true}
	for i := range c.Packages {
		d = d.plus(c.Packages[i].Main().DMA)
	}
	return d
}

// ColdBytes is the sum over the packages.
func (c *Compiled) ColdBytes() (n int64) {
	for i := range c.Packages {
		n += c.Packages[i].ColdBytes()
	}
	return n
}

// Generation tells what of a compiler's release can be seen in its output:
// "16.0", "<=15.0", or "" where the file does not show it. Files carry no
// version. The custom options got two fields with 16.0, which also was the
// first not to write estimates of cycles; but no release wrote those for nets
// without convolutions, so that there a missing estimate says nothing. The
// model's description, too, tells the releases up to 2.1.
func (c *Compiled) Generation() string {
	for i := range c.Packages {
		if c.Packages[i].NewFields {
			return "16.0"
		}
	}
	for i := range c.Packages {
		for _, e := range c.Packages[i].Executables {
			if e.EstimatedCycles > 0 {
				return "<=15.0"
			}
		}
	}
	if c.Description == exportedUpTo2_1 {
		return "<=15.0"
	}
	return ""
}

// readCompiled reads the packages of the source's Edge TPU operators.
func (f *File) readCompiled() (*Compiled, error) {
	if f.Kind() != KindCompiled {
		return nil, &FormatError{
			File: f.name, Offset: -1,
			What: "not a compiled model: it has no " + EdgeTPUOp,
			Hint: "compile it with edgetpu_compiler",
		}
	}
	c := &Compiled{Description: f.source.Description}
	memory := &reader{file: f, left: f.left}
	left := len(f.data)
	for i := range f.source.Ops {
		op := &f.source.Ops[i]
		if !op.edgeTPU() {
			c.CPUOps++
			continue
		}
		// Each package has bytes of its own. Where operators share them,
		// reading all could take forever.
		if left -= len(op.CustomOptions); left < 0 {
			return nil, f.errorf(-1, "damaged: op %d shares its options with other ops", i)
		}
		p, err := f.readPackage(i, memory)
		if err != nil {
			return nil, err
		}
		c.Packages = append(c.Packages, *p)
	}
	return c, nil
}

// Keys of the map in the custom options.
const (
	packageKey = "4"
	newKey1    = "6" // 16.0
	newKey2    = "7" // 16.0
)

// packageReader reads the package of one operator.
type packageReader struct {
	file   *File
	name   string // of the operator, begins every error
	p      *Package
	memory *reader
}

func (r packageReader) fail(at []byte, format string, args ...any) error {
	return r.file.errorf(r.file.position(at), "%s: %s", r.name, fmt.Sprintf(format, args...))
}

func (f *File) readPackage(index int, memory *reader) (*Package, error) {
	r := packageReader{file: f, name: fmt.Sprintf("op %d (%s)", index, EdgeTPUOp), p: &Package{OpIndex: index}, memory: memory}
	data, err := r.options(f.source.Ops[index].CustomOptions)
	if err != nil {
		return nil, err
	}
	if len(data) < 8 || string(data[4:8]) != packageIdentifier {
		found := data[min(4, len(data)):min(8, len(data))]
		return nil, r.fail(data, "not an Edge TPU package (identifier %q, want %q)", found, packageIdentifier)
	}
	if err := f.check(data, dwn.PackageTable, r.name+": package: "); err != nil {
		return nil, err
	}
	from := dwn.GetRootAsPackage(data, 0)
	r.p.MinRuntime = int(from.MinRuntimeVersion())
	r.p.CompilerVersion = memory.text(from.CompilerVersion())
	return r.p, r.executables(from.SerializedMultiExecutableBytes())
}

// options finds the package in the operator's custom options.
func (r packageReader) options(options []byte) ([]byte, error) {
	damaged := func(err error) error {
		at := options
		if e := (*flex.Error)(nil); errors.As(err, &e) && e.Offset >= 0 && e.Offset <= int64(len(options)) {
			at, err = options[e.Offset:], errors.New(e.What)
		}
		return r.fail(at, "custom options: %v", err)
	}
	root, err := flex.Root(options)
	if err != nil {
		return nil, damaged(err)
	}
	fields, err := root.Elements()
	if err != nil {
		return nil, damaged(err)
	}
	field, found, err := fields.Lookup(packageKey)
	if err != nil {
		return nil, damaged(err)
	}
	if !found {
		return nil, r.fail(options, "custom options: no package (key %q)", packageKey)
	}
	data, err := field.Bytes()
	if err != nil {
		return nil, damaged(err)
	}
	_, new1, err1 := fields.Lookup(newKey1)
	_, new2, err2 := fields.Lookup(newKey2)
	if err := errors.Join(err1, err2); err != nil {
		return nil, damaged(err)
	}
	r.p.NewFields = new1 && new2
	return data, nil
}

// executables reads the flatbuffer of flatbuffers that holds them.
func (r packageReader) executables(multi []byte) error {
	if err := r.file.check(multi, dwn.MultiExecutableTable, r.name+": executables: "); err != nil {
		return err
	}
	from := dwn.GetRootAsMultiExecutable(multi, 0)
	n := from.SerializedExecutablesLength()
	if n < 1 || n > 3 {
		return r.fail(multi, "a package of %d executables, want 1 to 3", n)
	}
	r.p.Executables = list[Executable](r.memory, n)
	for i := range r.p.Executables {
		if err := r.executable(&r.p.Executables[i], from.SerializedExecutables(i), fmt.Sprintf("%s: executable %d: ", r.name, i)); err != nil {
			return err
		}
	}
	if r.memory.err != nil {
		return r.memory.err
	}
	if r.p.Main() == nil || n == 2 && r.p.Caching() == nil {
		var types []string
		for _, e := range r.p.Executables {
			types = append(types, e.Type.String())
		}
		return r.fail(multi, "a package of %d executables of types %s", n, strings.Join(types, ", "))
	}
	return nil
}

func (r packageReader) executable(e *Executable, data []byte, name string) error {
	if err := r.file.check(data, dwn.ExecutableTable, name); err != nil {
		return err
	}
	from := dwn.GetRootAsExecutable(data, 0)
	parameters := from.ParametersBytes()
	*e = Executable{
		Type:               ExecutableType(from.Type()),
		Token:              from.ParameterCachingToken(),
		Parameters:         parameters[:len(parameters):len(parameters)],
		ParameterBytes:     int64(len(parameters)),
		ScratchBytes:       int64(from.ScratchSizeBytes()),
		NarrowBytesPerTile: int64(from.UsedNarrowMemoryBytesPerTile()),
		EstimatedCycles:    max(int64(from.EstimatedCycles()), from.EstimatedCycles64bit()),
		BatchSize:          int64(from.BatchSize()),
		Chip:               r.memory.text(from.Chip()),
		Inputs:             r.layers(from.InputLayersLength(), from.InputLayers),
		Outputs:            r.layers(from.OutputLayersLength(), from.OutputLayers),
	}
	least := min(e.ScratchBytes, e.NarrowBytesPerTile, e.EstimatedCycles, e.BatchSize)
	var stream dwn.InstructionBitstream
	for i := range from.InstructionBitstreamsLength() {
		from.InstructionBitstreams(&stream, i)
		e.InstructionBytes += int64(stream.BitstreamLength())
	}
	for _, l := range e.Inputs {
		e.InputBytes += l.Bytes
		least = min(least, l.Bytes)
	}
	for _, l := range e.Outputs {
		e.OutputBytes += l.Bytes
		least = min(least, l.Bytes)
	}
	if least < 0 {
		return r.fail(data, "damaged: %san amount is negative", name[len(r.name)+2:])
	}
	if what := e.readHints(from); what != "" {
		return r.fail(data, "damaged: %s%s", name[len(r.name)+2:], what)
	}
	return nil
}

func (r packageReader) layers(n int, at func(*dwn.Layer, int) bool) []Layer {
	layers := list[Layer](r.memory, n)
	var from dwn.Layer
	for i := range layers {
		at(&from, i)
		layers[i] = Layer{
			Name: r.memory.text(from.Name()), Bytes: int64(from.SizeBytes()),
			Y: int(from.Y()), X: int(from.X()), Z: int(from.Z()),
		}
	}
	return layers
}

// What a transfer carries (the field desc of a hint).
const (
	carriesOutput = iota
	carriesInput
	carriesParameters
	carriesScratch
)

const toHost = 1 // direction of a hint; 0 is to the device

// Kinds of hints that move nothing.
const (
	interruptHint = 3
	fenceHint     = 4
)

// readHints adds up the transfers of one run. The rest of the executable has
// been read. It returns what is wrong, "" if nothing is.
func (e *Executable) readHints(from *dwn.Executable) (wrong string) {
	var hints dwn.DmaHints
	listed := from.DmaHints(&hints) != nil
	d := DMA{Hinted: listed && hints.FullyDeterministic()}
	var (
		hint     dwn.DmaHint
		table    flatbuffers.Table
		transfer dwn.DmaDescriptorHint
		meta     dwn.Meta
		chunk    dwn.InstructionHint
		stream   dwn.InstructionBitstream
	)
	for i := range hintsLength(listed, &hints) {
		hints.Hints(&hint, i)
		has := hint.AnyHint(&table)
		bytes, kind := int64(0), &d.Instruction
		switch t := hint.AnyHintType(); {
		case t == dwn.AnyHintInstructionHint && has:
			chunk.Init(table.Bytes, table.Pos)
			n := chunk.InstructionChunkIndex()
			if n < 0 || int64(n) >= int64(from.InstructionBitstreamsLength()) {
				return fmt.Sprintf("a hint sends instruction chunk %d of %d", n, from.InstructionBitstreamsLength())
			}
			from.InstructionBitstreams(&stream, int(n))
			bytes = int64(stream.BitstreamLength())
		case t == dwn.AnyHintDmaDescriptorHint && has:
			transfer.Init(table.Bytes, table.Pos)
			bytes = int64(transfer.SizeInBytes())
			desc := int16(carriesOutput)
			if transfer.Meta(&meta) != nil {
				desc = meta.Desc()
			}
			if kind = d.kind(desc); kind == nil {
				d.Hinted = false
				continue
			}
		case t == interruptHint || t == fenceHint:
			continue
		default: // not a kind that is known
			d.Hinted = false
			continue
		}
		if bytes < 0 {
			return "a transfer of a negative amount"
		}
		*kind += bytes
		if hint.Direction() == toHost {
			d.FromTPU += bytes
		} else {
			d.ToTPU += bytes
		}
	}
	if !d.Hinted { // what was added up is a part at most
		d = DMA{Parameter: e.ParameterBytes, Input: e.InputBytes, Output: e.OutputBytes, Instruction: e.InstructionBytes}
		d.ToTPU, d.FromTPU = d.Parameter+d.Input+d.Instruction, d.Output
	}
	e.DMA = d
	return ""
}

func hintsLength(listed bool, hints *dwn.DmaHints) int {
	if !listed {
		return 0
	}
	return hints.HintsLength()
}

// kind is the amount that a transfer is part of, nil if the kind is not known.
func (d *DMA) kind(desc int16) *int64 {
	switch desc {
	case carriesOutput:
		return &d.Output
	case carriesInput:
		return &d.Input
	case carriesParameters:
		return &d.Parameter
	case carriesScratch:
		return &d.Scratch
	}
	return nil
}
