package tflite

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

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
	Packages []Package // one for each Edge TPU operator of the main subgraph, in execution order
	CPUOps   int       // operators of the main subgraph that stayed on the CPU
}

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

// Token is the parameter caching token of the compiler call that made the
// package. Models compiled together have the same.
func (p *Package) Token() uint64 { return p.Main().Token }

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

// Generation tells what of a compiler's release can be seen in its output:
// "16.0", "<=15.0", or "" where the file does not show it. Files carry no
// version. The custom options got two fields with 16.0, which also was the
// first not to write estimates of cycles; but no release wrote those for nets
// without convolutions, so that there a missing estimate says nothing.
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
	c := &Compiled{}
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
		p, err := f.readPackage(i)
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
	file *File
	name string // of the operator, begins every error
	p    *Package
}

func (r packageReader) fail(at []byte, format string, args ...any) error {
	return r.file.errorf(r.file.position(at), "%s: %s", r.name, fmt.Sprintf(format, args...))
}

func (f *File) readPackage(index int) (*Package, error) {
	r := packageReader{file: f, name: fmt.Sprintf("op %d (%s)", index, EdgeTPUOp), p: &Package{OpIndex: index}}
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
	r.p.CompilerVersion = string(from.CompilerVersion())
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
	for i := range n {
		e, err := r.executable(from.SerializedExecutables(i), fmt.Sprintf("%s: executable %d: ", r.name, i))
		if err != nil {
			return err
		}
		r.p.Executables = append(r.p.Executables, *e)
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

func (r packageReader) executable(data []byte, name string) (*Executable, error) {
	if err := r.file.check(data, dwn.ExecutableTable, name); err != nil {
		return nil, err
	}
	from := dwn.GetRootAsExecutable(data, 0)
	e := &Executable{
		Type:               ExecutableType(from.Type()),
		Token:              from.ParameterCachingToken(),
		ParameterBytes:     int64(from.ParametersLength()),
		ScratchBytes:       int64(from.ScratchSizeBytes()),
		NarrowBytesPerTile: int64(from.UsedNarrowMemoryBytesPerTile()),
		EstimatedCycles:    max(int64(from.EstimatedCycles()), from.EstimatedCycles64bit()),
		InputBytes:         layerBytes(from.InputLayersLength(), from.InputLayers),
		OutputBytes:        layerBytes(from.OutputLayersLength(), from.OutputLayers),
	}
	var stream dwn.InstructionBitstream
	for i := range from.InstructionBitstreamsLength() {
		from.InstructionBitstreams(&stream, i)
		e.InstructionBytes += int64(stream.BitstreamLength())
	}
	if e.InputBytes < 0 || e.OutputBytes < 0 || e.ScratchBytes < 0 || e.NarrowBytesPerTile < 0 || e.EstimatedCycles < 0 {
		return nil, r.fail(data, "damaged: %san amount is negative", name[len(r.name)+2:])
	}
	return e, nil
}

// layerBytes is the size of all layers, or -1 if one of them is negative.
func layerBytes(n int, at func(*dwn.Layer, int) bool) (sum int64) {
	var layer dwn.Layer
	for i := range n {
		at(&layer, i)
		if layer.SizeBytes() < 0 {
			return -1
		}
		sum += int64(layer.SizeBytes())
	}
	return sum
}
