package tflitetest

import (
	"encoding/binary"

	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/internal/dwn"
)

// CompiledModel writes a model whose operators are Edge TPU packages, one
// after the other, with parameters and instructions of the sizes that the
// packages say; parameters that are given are written as they are. Layers that
// are not given are made of InputBytes and OutputBytes. Hints are written if
// DMA.Hinted is set. OpIndex does not matter.
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
		DMA: tflite.DMA{Hinted: true, Parameter: streamed, Instruction: 4096, Input: 8, Output: 8, ToTPU: streamed + 4096 + 8, FromTPU: 8},
	}
	p := tflite.Package{MinRuntime: 14, CompilerVersion: "cl/", NewFields: true}
	if cached == 0 {
		p.Executables = []tflite.Executable{main}
		return p
	}
	main.Type = tflite.ExecutionOnly
	p.Executables = []tflite.Executable{main, {
		Type: tflite.ParameterCaching, Token: token, ParameterBytes: cached, InstructionBytes: 1024,
		DMA: tflite.DMA{Hinted: true, Parameter: cached, Instruction: 1024, ToTPU: cached + 1024},
	}}
	return p
}

// SplitOf is Split with the parameters themselves.
func SplitOf(token uint64, cached, streamed []byte) tflite.Package {
	p := Split(token, int64(len(cached)), int64(len(streamed)))
	for i := range p.Executables {
		e := &p.Executables[i]
		if e.Parameters = streamed; e.Type == tflite.ParameterCaching {
			e.Parameters = cached
		}
	}
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
	contents := x.Parameters
	if contents == nil {
		contents = noise.noise(int(x.ParameterBytes))
	}
	parameters := e.bytes(contents)
	chunk := e.bytes(noise.noise(int(x.InstructionBytes)))
	dwn.InstructionBitstreamStart(e.fb)
	dwn.InstructionBitstreamAddBitstream(e.fb, chunk)
	streams := e.offsets([]flatbuffers.UOffsetT{dwn.InstructionBitstreamEnd(e.fb)})
	inputs, outputs := e.layers(x.Inputs, "input", x.InputBytes), e.layers(x.Outputs, "output", x.OutputBytes)
	hints := e.hints(&x.DMA)
	chip := e.fb.CreateString("beagle")
	dwn.ExecutableStart(e.fb)
	dwn.ExecutableAddBatchSize(e.fb, 1)
	dwn.ExecutableAddDmaHints(e.fb, hints)
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

// layers writes layers, or one of the given size if there are none, or nothing if it is 0.
func (e *encoder) layers(layers []tflite.Layer, name string, bytes int64) flatbuffers.UOffsetT {
	if len(layers) == 0 && bytes > 0 {
		layers = []tflite.Layer{{Name: name, Y: 1, X: 1, Z: int(bytes), Bytes: bytes}}
	}
	var list []flatbuffers.UOffsetT
	for _, l := range layers {
		text := e.fb.CreateString(l.Name)
		dwn.LayerStart(e.fb)
		dwn.LayerAddName(e.fb, text)
		dwn.LayerAddSizeBytes(e.fb, int32(l.Bytes))
		dwn.LayerAddY(e.fb, int32(l.Y))
		dwn.LayerAddX(e.fb, int32(l.X))
		dwn.LayerAddZ(e.fb, int32(l.Z))
		list = append(list, dwn.LayerEnd(e.fb))
	}
	return e.offsets(list)
}

// hints writes a transfer for each kind of DMA, two for those larger than a
// byte, the only chunk of instructions, an interrupt and a fence. What FromTPU
// has beyond the outputs is scratch.
func (e *encoder) hints(d *tflite.DMA) flatbuffers.UOffsetT {
	if !d.Hinted {
		return 0
	}
	var list []flatbuffers.UOffsetT
	hint := func(kind dwn.AnyHint, of flatbuffers.UOffsetT, direction int16) {
		dwn.DmaHintStart(e.fb)
		dwn.DmaHintAddAnyHintType(e.fb, kind)
		if of > 0 {
			dwn.DmaHintAddAnyHint(e.fb, of)
		}
		dwn.DmaHintAddDirection(e.fb, direction)
		list = append(list, dwn.DmaHintEnd(e.fb))
	}
	transfer := func(desc int16, bytes int64, direction int16) {
		for _, part := range [...]int64{bytes / 2, bytes - bytes/2} {
			if part == 0 {
				continue
			}
			dwn.MetaStart(e.fb)
			dwn.MetaAddDesc(e.fb, desc)
			meta := dwn.MetaEnd(e.fb)
			dwn.DmaDescriptorHintStart(e.fb)
			dwn.DmaDescriptorHintAddMeta(e.fb, meta)
			dwn.DmaDescriptorHintAddSizeInBytes(e.fb, int32(part))
			hint(dwn.AnyHintDmaDescriptorHint, dwn.DmaDescriptorHintEnd(e.fb), direction)
		}
	}
	const in, out = 0, 1
	if d.Instruction > 0 {
		dwn.InstructionHintStart(e.fb)
		hint(dwn.AnyHintInstructionHint, dwn.InstructionHintEnd(e.fb), in)
	}
	transfer(2, d.Parameter, in)
	transfer(1, d.Input, in)
	back := d.FromTPU - d.Output
	transfer(3, d.Scratch-back, in)
	transfer(3, back, out)
	transfer(0, d.Output, out)
	hint(3, 0, out) // interrupt
	hint(4, 0, in)  // fence
	hints := e.offsets(list)
	dwn.DmaHintsStart(e.fb)
	dwn.DmaHintsAddHints(e.fb, hints)
	dwn.DmaHintsAddFullyDeterministic(e.fb, true)
	return dwn.DmaHintsEnd(e.fb)
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
