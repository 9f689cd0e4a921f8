package tflitetest

import (
	"encoding/binary"

	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/internal/dwn"
)

// CompiledModel writes a model whose operators are Edge TPU packages, one
// after the other, with parameters and instructions of the sizes that the
// packages say. Their OpIndex does not matter.
func CompiledModel(packages ...tflite.Package) []byte {
	b := New().Describe("Exported from Subgraph.").Input(1, 8)
	for i := range packages {
		b.Op(tflite.Op{
			Code: tflite.Custom, Custom: tflite.EdgeTPUOp, Inputs: []int{b.At()}, Outputs: []int{b.Activation(1, 8)},
			CustomOptions: CustomOptions(EncodePackage(&packages[i]), packages[i].NewFields),
		})
	}
	return b.Bytes()
}

// Split is a package with the given split of parameters: a caching and an
// execution executable, or one alone if nothing is cached, as the compiler
// would write them.
func Split(token uint64, cached, streamed int64) tflite.Package {
	main := tflite.Executable{
		Type: tflite.StandAlone, Token: token, ParameterBytes: streamed,
		InstructionBytes: 4096, InputBytes: 8, OutputBytes: 8, NarrowBytesPerTile: 64,
	}
	p := tflite.Package{MinRuntime: 14, CompilerVersion: "cl/", NewFields: true}
	if cached == 0 {
		p.Executables = []tflite.Executable{main}
		return p
	}
	main.Type = tflite.ExecutionOnly
	p.Executables = []tflite.Executable{main, {
		Type: tflite.ParameterCaching, Token: token, ParameterBytes: cached, InstructionBytes: 1024,
	}}
	return p
}

// EncodePackage writes a package.
func EncodePackage(p *tflite.Package) []byte {
	fb := flatbuffers.NewBuilder(1 << 12)
	multi := fb.CreateByteVector(encodeExecutables(p.Executables))
	version := fb.CreateString(p.CompilerVersion)
	dwn.PackageStart(fb)
	dwn.PackageAddMinRuntimeVersion(fb, int32(p.MinRuntime))
	dwn.PackageAddSerializedMultiExecutable(fb, multi)
	dwn.PackageAddCompilerVersion(fb, version)
	fb.FinishWithFileIdentifier(dwn.PackageEnd(fb), []byte("DWN1"))
	return fb.FinishedBytes()
}

func encodeExecutables(executables []tflite.Executable) []byte {
	e := &encoder{fb: flatbuffers.NewBuilder(1 << 12)}
	var list []flatbuffers.UOffsetT
	for i := range executables {
		list = append(list, e.fb.CreateByteString(encodeExecutable(&executables[i])))
	}
	offsets := e.offsets(list)
	dwn.MultiExecutableStart(e.fb)
	dwn.MultiExecutableAddSerializedExecutables(e.fb, offsets)
	e.fb.Finish(dwn.MultiExecutableEnd(e.fb))
	return e.fb.FinishedBytes()
}

func encodeExecutable(x *tflite.Executable) []byte {
	e := &encoder{fb: flatbuffers.NewBuilder(1 << 12)}
	noise := &Builder{Seed: x.Token}
	parameters := e.bytes(noise.noise(int(x.ParameterBytes)))
	chunk := e.bytes(noise.noise(int(x.InstructionBytes)))
	dwn.InstructionBitstreamStart(e.fb)
	dwn.InstructionBitstreamAddBitstream(e.fb, chunk)
	streams := e.offsets([]flatbuffers.UOffsetT{dwn.InstructionBitstreamEnd(e.fb)})
	inputs, outputs := e.layer("input", x.InputBytes), e.layer("output", x.OutputBytes)
	chip := e.fb.CreateString("beagle")
	dwn.ExecutableStart(e.fb)
	dwn.ExecutableAddBatchSize(e.fb, 1)
	dwn.ExecutableAddScratchSizeBytes(e.fb, int32(x.ScratchBytes))
	dwn.ExecutableAddInstructionBitstreams(e.fb, streams)
	dwn.ExecutableAddParameters(e.fb, parameters)
	dwn.ExecutableAddInputLayers(e.fb, inputs)
	dwn.ExecutableAddOutputLayers(e.fb, outputs)
	dwn.ExecutableAddChip(e.fb, chip)
	dwn.ExecutableAddUsedNarrowMemoryBytesPerTile(e.fb, int32(x.NarrowBytesPerTile))
	dwn.ExecutableAddType(e.fb, int16(x.Type))
	dwn.ExecutableAddParameterCachingToken(e.fb, x.Token)
	dwn.ExecutableAddEstimatedCycles64bit(e.fb, x.EstimatedCycles)
	e.fb.Finish(dwn.ExecutableEnd(e.fb))
	return e.fb.FinishedBytes()
}

// layer writes a list of one layer, or none if it has no bytes.
func (e *encoder) layer(name string, bytes int64) flatbuffers.UOffsetT {
	if bytes == 0 {
		return 0
	}
	text := e.fb.CreateString(name)
	dwn.LayerStart(e.fb)
	dwn.LayerAddName(e.fb, text)
	dwn.LayerAddSizeBytes(e.fb, int32(bytes))
	return e.offsets([]flatbuffers.UOffsetT{dwn.LayerEnd(e.fb)})
}

// CustomOptions wraps a package in the FlexBuffer map that the operator
// carries. Before 16.0 it had three fields, since then five.
func CustomOptions(pkg []byte, newFields bool) []byte {
	f := &flexWriter{}
	f.at = map[string]int{}
	f.put(uint32(len(pkg)))
	f.at["4"] = len(f.b)
	f.b = append(f.b, pkg...)
	f.b = append(f.b, make([]byte, 4-len(pkg)%4)...) // ends with at least one NUL, aligned
	keys := []string{"1", "4", "5"}
	if newFields {
		f.put(0)
		f.at["6"], f.at["7"] = len(f.b), len(f.b) // both empty vectors
		keys = append(keys, "6", "7")
	}
	return f.finish(keys)
}

// flexWriter writes a FlexBuffer of one map in which everything is four bytes wide.
type flexWriter struct {
	b  []byte
	at map[string]int // where the value of a key starts
}

func (f *flexWriter) put(n uint32) { f.b = binary.LittleEndian.AppendUint32(f.b, n) }

// offset writes an offset back to a place.
func (f *flexWriter) offset(to int) { f.put(uint32(len(f.b) - to)) }

const (
	flexInt    = 1<<2 | 2 // types with the code of a width of four bytes
	flexString = 5<<2 | 2
	flexMap    = 9<<2 | 2
	flexVector = 10<<2 | 2
)

func (f *flexWriter) finish(keys []string) []byte {
	texts := len(f.b)
	for _, k := range keys {
		f.b = append(f.b, k[0], 0)
	}
	f.b = append(f.b, make([]byte, (4-len(f.b)%4)%4)...)
	f.put(uint32(len(keys)))
	vector := len(f.b)
	for i := range keys {
		f.offset(texts + 2*i)
	}
	f.offset(vector)
	f.put(4)
	f.put(uint32(len(keys)))
	values := len(f.b)
	var types []byte
	for _, k := range keys {
		switch k {
		case "1":
			f.put(0)
			types = append(types, flexInt)
		case "5":
			f.put(^uint32(0)) // -1
			types = append(types, flexInt)
		case "4":
			f.offset(f.at[k])
			types = append(types, flexString)
		default:
			f.offset(f.at[k])
			types = append(types, flexVector)
		}
	}
	f.b = append(f.b, types...)
	f.b = append(f.b, make([]byte, (4-len(f.b)%4)%4)...)
	f.offset(values)
	return append(f.b, flexMap, 4)
}
