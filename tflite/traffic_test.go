package tflite_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/internal/dwn"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// raw is a table of a flatbuffer, read by the format's public description
// alone: no schema, no generated code, no checks.
type raw struct {
	b  []byte
	at int
}

func rawRoot(b []byte) raw { return raw{b, int(binary.LittleEndian.Uint32(b))} }

func (r raw) u32(at int) int { return int(binary.LittleEndian.Uint32(r.b[at:])) }

// place is where a field's value stands, 0 if the table has none.
func (r raw) place(id int) int {
	list := r.at - int(int32(r.u32(r.at)))
	if 4+2*id >= int(binary.LittleEndian.Uint16(r.b[list:])) {
		return 0
	}
	if p := int(binary.LittleEndian.Uint16(r.b[list+4+2*id:])); p > 0 {
		return r.at + p
	}
	return 0
}

func (r raw) number(id, size int) (n uint64) {
	if at := r.place(id); at > 0 {
		for i := range size {
			n |= uint64(r.b[at+i]) << (8 * i)
		}
	}
	return n
}

func (r raw) table(id int) (raw, bool) {
	at := r.place(id)
	if at == 0 {
		return raw{}, false
	}
	return raw{r.b, at + r.u32(at)}, true
}

// elements is where a vector's elements start, and their number.
func (r raw) elements(id int) (start, n int) {
	at := r.place(id)
	if at == 0 {
		return 0, 0
	}
	at += r.u32(at)
	return at + 4, r.u32(at)
}

func (r raw) bytes(id int) []byte {
	start, n := r.elements(id)
	return r.b[start : start+n]
}

func (r raw) tables(id int) (list []raw) {
	start, n := r.elements(id)
	for i := range n {
		at := start + 4*i
		list = append(list, raw{r.b, at + r.u32(at)})
	}
	return list
}

// rawPackages finds the packages in a file by their identifier.
func rawPackages(data []byte) (packages []raw) {
	for from := 0; ; {
		i := bytes.Index(data[from:], []byte("DWN1"))
		if i < 0 {
			return packages
		}
		packages = append(packages, rawRoot(data[from+i-4:]))
		from += i + 4
	}
}

// rawTraffic is what the hints of an executable add up to: the bytes in all,
// those of parameters, and whether nothing is left open.
func rawTraffic(x raw) (total, parameters, instructions int64, complete bool) {
	hints, _ := x.table(7)
	var chunks []int64
	for _, stream := range x.tables(5) {
		_, n := stream.elements(0)
		chunks = append(chunks, int64(n))
	}
	for _, hint := range hints.tables(0) {
		what, _ := hint.table(1)
		switch hint.number(0, 1) {
		case 1:
			meta, _ := what.table(0)
			n := int64(what.number(2, 4))
			total += n
			if meta.number(0, 2) == 2 {
				parameters += n
			}
		case 2:
			total += chunks[what.number(0, 4)]
			instructions += chunks[what.number(0, 4)]
		}
	}
	return total, parameters, instructions, hints.number(1, 1) == 1
}

// The bytes of a call are the sums of the hints of every file, added up by
// other code than the product's; and the hints send all parameters and every
// instruction once.
func TestBytesPerCallOfEveryFile(t *testing.T) {
	open := 0
	for _, file := range models(t, tflite.KindCompiled) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := tflite.New(file, data)
		c := compiled(t, f, err)
		packages := rawPackages(data)
		if len(packages) != len(c.Packages) {
			t.Fatalf("%s: %d packages, the identifier stands there %d times", file, len(c.Packages), len(packages))
		}
		for i, p := range packages {
			var warm, cold int64
			complete := true
			multi := rawRoot(p.bytes(1))
			start, n := multi.elements(0)
			for k := range n {
				at := start + 4*k
				at += multi.u32(at)
				x := rawRoot(multi.b[at+4:])
				total, parameters, instructions, whole := rawTraffic(x)
				complete = complete && whole
				_, size := x.elements(6)
				if whole && (parameters != int64(size) || instructions != c.Packages[i].Executables[k].InstructionBytes) {
					t.Errorf("%s: %d of %d parameter bytes, %d of %d instruction bytes in hints", file, parameters, size, instructions, c.Packages[i].Executables[k].InstructionBytes)
				}
				if cold += total; tflite.ExecutableType(x.number(13, 2)) != tflite.ParameterCaching {
					warm += total
				}
			}
			got := c.Packages[i]
			if dma := got.DMA(); dma.Hinted != complete {
				t.Errorf("%s: hinted %v, want %v", file, dma.Hinted, complete)
			}
			if !complete {
				open++
				continue
			}
			if got.WarmBytes() != warm || got.ColdBytes() != cold {
				t.Errorf("%s: warm %d and cold %d, hints add up to %d and %d", file, got.WarmBytes(), got.ColdBytes(), warm, cold)
			}
		}
	}
	if open != 1 {
		t.Errorf("%d files leave amounts open, want the one that is known to", open)
	}
}

// The one file whose hints leave amounts open: the layers' sizes, added by
// hand, and the lengths of parameters and instructions.
func TestTrafficWithoutHints(t *testing.T) {
	f, err := tflite.Open(filepath.Join(testdata.Dir(t), "models", "keras_lstm_mnist_ptq_edgetpu.tflite"))
	c := compiled(t, f, err)
	e := c.Packages[0].Main()
	want := tflite.DMA{
		Parameter: e.ParameterBytes, Instruction: e.InstructionBytes,
		Input: 784 + 24 + 40, Output: 16 + 24 + 40,
	}
	want.ToTPU, want.FromTPU = want.Parameter+want.Instruction+want.Input, want.Output
	if diff := cmp.Diff(want, e.DMA); diff != "" {
		t.Error(diff)
	}
	if e.ParameterBytes != 576 || e.ScratchBytes != 672 || c.CachedBytes() != 43_968 {
		t.Errorf("%d parameter bytes, %d of scratch, %d cached", e.ParameterBytes, e.ScratchBytes, c.CachedBytes())
	}
}

// Files of one compiler call are recognised across the folders of sets, and
// files of different calls are not mixed up. Segments of one call are files of one call.
func TestTokenGroups(t *testing.T) {
	groups := map[uint64][]string{}
	for _, file := range models(t, tflite.KindCompiled) {
		f, err := tflite.Open(file)
		c := compiled(t, f, err)
		tokens := c.Tokens()
		if len(tokens) != 1 || tokens[0] == 0 {
			t.Errorf("%s: tokens %x", file, tokens)
			continue
		}
		folder, ok := strings.CutPrefix(filepath.Base(filepath.Dir(file)), "cocompiled-")
		if !ok && folder != "segments" {
			folder = "alone"
		}
		name := folder + " " + strings.TrimPrefix(filepath.Base(file), "mobilenet_")
		groups[tokens[0]] = append(groups[tokens[0]], strings.TrimSuffix(strings.ReplaceAll(strings.ReplaceAll(name, "_quant", ""), "mobilenet_", ""), "_edgetpu.tflite"))
	}
	var got [][]string
	for _, g := range groups {
		if len(g) > 1 {
			slices.Sort(g)
			got = append(got, g)
		}
	}
	slices.SortFunc(got, slices.Compare)
	three := func(folder string) []string {
		var list []string
		for _, name := range []string{"v1_0.25_128", "v1_0.5_160", "v1_0.75_192"} {
			list = append(list, folder+" "+name+"_cocompiled_with_3quant")
		}
		return list
	}
	want := [][]string{
		three("15.0"), three("16.0"),
		{"16.0 v1_0.25_128_cocompiled_with_v1_0.5_160", "16.0 v1_0.5_160_cocompiled_with_v1_0.25_128"},
		three("2.1"),
		{"segments ssd_v1_coco_postprocess_segment_0_of_2", "segments ssd_v1_coco_postprocess_segment_1_of_2"},
	}
	slices.SortFunc(want, slices.Compare)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// hinted is a compiled model with one executable that is built by hand.
func hinted(build func(b *flatbuffers.Builder) (hints flatbuffers.UOffsetT, layers flatbuffers.UOffsetT)) []byte {
	b := flatbuffers.NewBuilder(0)
	chunk := b.CreateByteVector([]byte{1, 2, 3})
	dwn.InstructionBitstreamStart(b)
	dwn.InstructionBitstreamAddBitstream(b, chunk)
	stream := dwn.InstructionBitstreamEnd(b)
	dwn.ExecutableStartInstructionBitstreamsVector(b, 1)
	b.PrependUOffsetT(stream)
	streams := b.EndVector(1)
	// Last: the builder lets tables of different lengths share a list of fields.
	hints, layers := build(b)
	dwn.ExecutableStart(b)
	dwn.ExecutableAddInstructionBitstreams(b, streams)
	dwn.ExecutableAddDmaHints(b, hints)
	dwn.ExecutableAddInputLayers(b, layers)
	b.Finish(dwn.ExecutableEnd(b))
	executable := b.FinishedBytes()
	b = flatbuffers.NewBuilder(0)
	text := b.CreateByteString(executable)
	dwn.MultiExecutableStartSerializedExecutablesVector(b, 1)
	b.PrependUOffsetT(text)
	list := b.EndVector(1)
	dwn.MultiExecutableStart(b)
	dwn.MultiExecutableAddSerializedExecutables(b, list)
	b.Finish(dwn.MultiExecutableEnd(b))
	multi := b.FinishedBytes()
	b = flatbuffers.NewBuilder(0)
	vector := b.CreateByteVector(multi)
	dwn.PackageStart(b)
	dwn.PackageAddSerializedMultiExecutable(b, vector)
	b.FinishWithFileIdentifier(dwn.PackageEnd(b), []byte("DWN1"))
	m := tflitetest.New().Input(1, 8)
	m.Op(tflite.Op{
		Code: tflite.Custom, Custom: tflite.EdgeTPUOp, Inputs: []int{0}, Outputs: []int{m.Activation(1)},
		CustomOptions: tflitetest.CustomOptions(b.FinishedBytes(), true),
	})
	return m.Bytes()
}

// hintList writes hints that are said to be complete.
func hintList(b *flatbuffers.Builder, hints ...flatbuffers.UOffsetT) flatbuffers.UOffsetT {
	dwn.DmaHintsStartHintsVector(b, len(hints))
	for i := len(hints) - 1; i >= 0; i-- {
		b.PrependUOffsetT(hints[i])
	}
	list := b.EndVector(len(hints))
	dwn.DmaHintsStart(b)
	dwn.DmaHintsAddHints(b, list)
	dwn.DmaHintsAddFullyDeterministic(b, true)
	return dwn.DmaHintsEnd(b)
}

func dmaHint(b *flatbuffers.Builder, kind dwn.AnyHint, value flatbuffers.UOffsetT, direction int16) flatbuffers.UOffsetT {
	dwn.DmaHintStart(b)
	dwn.DmaHintAddAnyHintType(b, kind)
	if value > 0 {
		dwn.DmaHintAddAnyHint(b, value)
	}
	dwn.DmaHintAddDirection(b, direction)
	return dwn.DmaHintEnd(b)
}

func transfer(b *flatbuffers.Builder, desc int16, size int32) flatbuffers.UOffsetT {
	dwn.MetaStart(b)
	dwn.MetaAddDesc(b, desc)
	meta := dwn.MetaEnd(b)
	dwn.DmaDescriptorHintStart(b)
	dwn.DmaDescriptorHintAddMeta(b, meta)
	dwn.DmaDescriptorHintAddSizeInBytes(b, size)
	return dwn.DmaDescriptorHintEnd(b)
}

func instruction(b *flatbuffers.Builder, chunk int32) flatbuffers.UOffsetT {
	dwn.InstructionHintStart(b)
	dwn.InstructionHintAddInstructionChunkIndex(b, chunk)
	return dwn.InstructionHintEnd(b)
}

func TestHints(t *testing.T) {
	layer := func(b *flatbuffers.Builder, n int, bytes int32) flatbuffers.UOffsetT {
		name := b.CreateString(strings.Repeat("x", 40))
		dwn.LayerStart(b)
		dwn.LayerAddName(b, name)
		dwn.LayerAddSizeBytes(b, bytes)
		one := dwn.LayerEnd(b)
		b.StartVector(4, n, 4)
		for range n {
			b.PrependUOffsetT(one)
		}
		return b.EndVector(n)
	}
	fallback := tflite.DMA{Instruction: 3, Input: 80, ToTPU: 83}
	for _, test := range []struct {
		name  string
		hints func(b *flatbuffers.Builder) []flatbuffers.UOffsetT
		want  tflite.DMA
		wrong string
	}{
		{name: "each kind", hints: func(b *flatbuffers.Builder) []flatbuffers.UOffsetT {
			return []flatbuffers.UOffsetT{
				dmaHint(b, 1, transfer(b, 0, 1), 1), dmaHint(b, 1, transfer(b, 1, 2), 0), dmaHint(b, 1, transfer(b, 1, 4), 0),
				dmaHint(b, 1, transfer(b, 2, 8), 0), dmaHint(b, 1, transfer(b, 3, 16), 0), dmaHint(b, 1, transfer(b, 3, 32), 1),
				dmaHint(b, 2, instruction(b, 0), 0), dmaHint(b, 2, instruction(b, 0), 0), dmaHint(b, 3, 0, 0), dmaHint(b, 4, 0, 0),
			}
		}, want: tflite.DMA{Hinted: true, Output: 1, Input: 6, Parameter: 8, Scratch: 48, Instruction: 6, ToTPU: 36, FromTPU: 33}},
		{name: "none", hints: func(*flatbuffers.Builder) []flatbuffers.UOffsetT { return nil }, want: tflite.DMA{Hinted: true}},
		{name: "a transfer of an unknown kind", hints: func(b *flatbuffers.Builder) []flatbuffers.UOffsetT {
			return []flatbuffers.UOffsetT{dmaHint(b, 1, transfer(b, 4, 1), 0)}
		}, want: fallback},
		{name: "scratch beside what is unknown", hints: func(b *flatbuffers.Builder) []flatbuffers.UOffsetT {
			return []flatbuffers.UOffsetT{dmaHint(b, 1, transfer(b, 3, 5), 1), dmaHint(b, 1, transfer(b, 4, 1), 0)}
		}, want: fallback},
		{name: "an unknown hint", hints: func(b *flatbuffers.Builder) []flatbuffers.UOffsetT {
			return []flatbuffers.UOffsetT{dmaHint(b, 5, transfer(b, 0, 1), 0)}
		}, want: fallback},
		{name: "a hint without contents", hints: func(b *flatbuffers.Builder) []flatbuffers.UOffsetT {
			return []flatbuffers.UOffsetT{dmaHint(b, 2, 0, 0)}
		}, want: fallback},
		{name: "a chunk that does not exist", hints: func(b *flatbuffers.Builder) []flatbuffers.UOffsetT {
			return []flatbuffers.UOffsetT{dmaHint(b, 2, instruction(b, 1), 0)}
		}, wrong: "executable 0: a hint sends instruction chunk 1 of 1"},
		{name: "a chunk below zero", hints: func(b *flatbuffers.Builder) []flatbuffers.UOffsetT {
			return []flatbuffers.UOffsetT{dmaHint(b, 2, instruction(b, -1), 0)}
		}, wrong: "executable 0: a hint sends instruction chunk -1 of 1"},
		{name: "less than nothing", hints: func(b *flatbuffers.Builder) []flatbuffers.UOffsetT {
			return []flatbuffers.UOffsetT{dmaHint(b, 1, transfer(b, 1, -1), 0)}
		}, wrong: "executable 0: a transfer of a negative amount"},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := hinted(func(b *flatbuffers.Builder) (flatbuffers.UOffsetT, flatbuffers.UOffsetT) {
				hints := hintList(b, test.hints(b)...)
				return hints, layer(b, 1, 80)
			})
			f, err := tflite.New("x.tflite", data)
			if err != nil {
				t.Fatal(err)
			}
			c, err := f.Compiled()
			if test.wrong != "" {
				if formatError(t, err); !strings.Contains(err.Error(), test.wrong) {
					t.Errorf("got  %v\nwant %s", err, test.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, c.Packages[0].Main().DMA); diff != "" {
				t.Error(diff)
			}
		})
	}
	// Layers that share their bytes could take any amount of memory.
	t.Run("shared layers", func(t *testing.T) {
		data := hinted(func(b *flatbuffers.Builder) (flatbuffers.UOffsetT, flatbuffers.UOffsetT) {
			return hintList(b), layer(b, 200_000, 8)
		})
		f, err := tflite.New("x.tflite", data)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Compiled(); err == nil || !strings.Contains(formatError(t, err).What, "one reference too many") && !strings.Contains(err.Error(), "parts of it are shared") {
			t.Errorf("got %v", err)
		}
	})
}

// BenchmarkInspect reads everything about a compiled file of 4 MB and of 40 MB, without hashing it.
func BenchmarkInspect(b *testing.B) {
	for _, size := range []int64{4 << 20, 40 << 20} {
		data := tflitetest.CompiledModel(tflitetest.Split(1, size*3/4, size/4))
		b.Run(fmt.Sprintf("%dMB", size>>20), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				f, err := tflite.New("m.tflite", data)
				compiled(b, f, err)
			}
		})
	}
}
