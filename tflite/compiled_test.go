package tflite_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/internal/tfl"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// compiled reads a compiled file that must be a good one.
func compiled(t testing.TB, f *tflite.File, err error) *tflite.Compiled {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if f.Kind() != tflite.KindCompiled {
		t.Errorf("%s: kind %s", f.Name(), f.Kind())
	}
	c, err := f.Compiled()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompiledRoundTrip(t *testing.T) {
	full := tflite.Executable{
		Type: tflite.ExecutionOnly, Token: 1<<63 + 5, ParameterBytes: 4096, InstructionBytes: 333,
		InputBytes: 150528 + 64, OutputBytes: 1008, ScratchBytes: 672, NarrowBytesPerTile: 99552, EstimatedCycles: 1 << 40,
		BatchSize: 1, Chip: "beagle",
		Inputs:  []tflite.Layer{{Name: "image", Y: 224, X: 224, Z: 3, Bytes: 150528}, {Name: "state", Y: 1, X: 1, Z: 61, Bytes: 64}},
		Outputs: []tflite.Layer{{Name: "classes", Y: 1, X: 1, Z: 1001, Bytes: 1008}},
		// The input is read in two overlapping halves; scratch goes out and half of it in again.
		DMA: tflite.DMA{
			Hinted: true, Parameter: 4096, Input: 160_000, Output: 1008, Scratch: 900, Instruction: 333,
			ToTPU: 4096 + 160_000 + 300 + 333, FromTPU: 1008 + 600,
		},
	}
	caching := tflite.Executable{
		Type: tflite.ParameterCaching, Token: 1<<63 + 5, ParameterBytes: 65, InstructionBytes: 1, BatchSize: 1, Chip: "beagle",
		DMA: tflite.DMA{Hinted: true, Parameter: 65, Instruction: 1, ToTPU: 66},
	}
	// Without hints everything counts once.
	alone := tflite.Executable{
		Type: tflite.StandAlone, Token: 9, ParameterBytes: 17, InstructionBytes: 5, InputBytes: 8, OutputBytes: 16, BatchSize: 1, Chip: "beagle",
		Inputs: []tflite.Layer{{Name: "a", Y: 1, X: 2, Z: 3, Bytes: 8}}, Outputs: []tflite.Layer{{Name: "b", Y: 4, X: 1, Z: 4, Bytes: 16}},
		DMA: tflite.DMA{Parameter: 17, Input: 8, Output: 16, Instruction: 5, ToTPU: 30, FromTPU: 16},
	}
	want := []tflite.Package{
		{OpIndex: 0, MinRuntime: 14, CompilerVersion: "cl/1", Executables: []tflite.Executable{full, caching}, NewFields: true},
		{OpIndex: 1, MinRuntime: 10, Executables: []tflite.Executable{alone}},
		{OpIndex: 2, MinRuntime: 13, CompilerVersion: "cl/", Executables: []tflite.Executable{caching, alone, full}},
	}
	f, err := tflite.New("m.tflite", tflitetest.CompiledModel(want...))
	got := compiled(t, f, err)
	noise := cmpopts.IgnoreFields(tflite.Executable{}, "Parameters")
	if diff := cmp.Diff(&tflite.Compiled{Description: "Exported from Subgraph.", Packages: want}, got, noise); diff != "" {
		t.Fatal(diff)
	}
	for i := range got.Packages {
		for _, e := range got.Packages[i].Executables {
			if int64(len(e.Parameters)) != e.ParameterBytes || len(e.Parameters) != cap(e.Parameters) {
				t.Errorf("package %d: %d parameters (capacity %d) for %d bytes", i, len(e.Parameters), cap(e.Parameters), e.ParameterBytes)
			}
		}
	}
	type split struct {
		Cached, Streamed int64
		Token            uint64
		Warm, Cold       int64
	}
	var splits []split
	for i := range got.Packages {
		p := &got.Packages[i]
		splits = append(splits, split{p.CachedBytes(), p.StreamedBytes(), p.Token(), p.WarmBytes(), p.ColdBytes()})
	}
	// Of three executables the stand-alone one is run.
	if diff := cmp.Diff([]split{{65, 4096, 1<<63 + 5, 166_337, 166_403}, {0, 17, 9, 46, 46}, {0, 17, 9, 46, 46}}, splits); diff != "" {
		t.Error(diff)
	}
	if got.CachedBytes() != 65 || got.StreamedBytes() != 4096+17+17 || got.WarmBytes() != 166_337+46+46 || got.ColdBytes() != 166_403+46+46 {
		t.Errorf("cached %d, streamed %d, warm %d, cold %d", got.CachedBytes(), got.StreamedBytes(), got.WarmBytes(), got.ColdBytes())
	}
}

func TestGeneration(t *testing.T) {
	cycles := tflitetest.Split(1, 64, 64)
	cycles.NewFields = false
	cycles.Executables[0].EstimatedCycles = 1000
	neither := tflitetest.Split(1, 64, 64)
	neither.NewFields = false
	for _, test := range []struct {
		name, want string
		packages   []tflite.Package
	}{
		{"new fields", "16.0", []tflite.Package{neither, tflitetest.Split(1, 64, 64)}},
		{"cycles", "<=15.0", []tflite.Package{neither, cycles}},
		{"neither", "", []tflite.Package{neither}},
	} {
		f, err := tflite.New("m.tflite", tflitetest.CompiledModel(test.packages...))
		if got := compiled(t, f, err).Generation(); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	// a net without convolutions of a release up to 2.1: no cycles, but other words
	b := tflitetest.New().Describe("Exported from Interpreter.").Input(1, 8)
	b.Op(tflite.Op{
		Code: tflite.Custom, Custom: tflite.EdgeTPUOp, Inputs: []int{0}, Outputs: []int{b.Activation(1, 8)},
		CustomOptions: tflitetest.CustomOptions(tflitetest.EncodePackage(&neither), false),
	})
	f, err := tflite.New("m.tflite", b.Bytes())
	if got := compiled(t, f, err).Generation(); got != "<=15.0" {
		t.Errorf("exported from the interpreter: %q", got)
	}
}

// What is wrong inside a compiled model, as a user is told.
func TestBadPackages(t *testing.T) {
	model := func(options []byte) []byte {
		b := tflitetest.New().Input(1, 8)
		b.Op(tflite.Op{Code: tflite.Custom, Custom: tflite.EdgeTPUOp, Inputs: []int{0}, Outputs: []int{b.Activation(1)}, CustomOptions: options})
		return b.Bytes()
	}
	packed := func(p tflite.Package) []byte { return tflitetest.EncodePackage(&p) }
	of := func(types ...tflite.ExecutableType) []byte {
		var p tflite.Package
		for _, typ := range types {
			p.Executables = append(p.Executables, tflite.Executable{Type: typ})
		}
		return model(tflitetest.CustomOptions(packed(p), true))
	}
	cut := packed(tflitetest.Split(7, 640, 128))
	for _, test := range []struct {
		name, want string
		data       []byte
	}{
		{"a source", "not a compiled model: it has no edgetpu-custom-op; compile it with edgetpu_compiler", small().Bytes()},
		{"no options", "op 0 (edgetpu-custom-op): custom options: truncated: 0 bytes are too few", model(nil)},
		{"not a FlexBuffer", "op 0 (edgetpu-custom-op): custom options: the root is 9 bytes wide", model([]byte{9, 9, 9})},
		{"no map", "op 0 (edgetpu-custom-op): custom options: want a vector or map, found a int", model([]byte{5, 4, 1})},
		{"a map without package", `op 0 (edgetpu-custom-op): custom options: no package (key "4")`, model([]byte{0, 0, 1, 0, 0, 9 << 2, 1})},
		{"not a package", `op 0 (edgetpu-custom-op): not an Edge TPU package (identifier "5678", want "DWN1")`, model(tflitetest.CustomOptions([]byte("12345678"), true))},
		{"an empty package", `not an Edge TPU package (identifier "", want "DWN1")`, model(tflitetest.CustomOptions(nil, false))},
		{"a package cut off", "op 0 (edgetpu-custom-op): package: truncated: serialized_multi_executable has ", model(tflitetest.CustomOptions(cut[:len(cut)-400], true))},
		{"no executable", "a package of 0 executables, want 1 to 3", of()},
		{"four executables", "a package of 4 executables, want 1 to 3", of(0, 1, 2, 0)},
		{"two of a kind", "a package of 2 executables of types execution_only, execution_only", of(2, 2)},
		{"two without execution", "a package of 2 executables of types stand_alone, parameter_caching", of(0, 1)},
		{"three without a stand-alone one", "a package of 3 executables of types parameter_caching, execution_only, execution_only", of(1, 2, 2)},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, err := tflite.New("x.tflite", test.data)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.Compiled()
			e := formatError(t, err)
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if e.Offset > int64(len(test.data)) {
				t.Errorf("offset %d of %d", e.Offset, len(test.data))
			}
		})
	}
	t.Run("executable", func(t *testing.T) {
		data := model(tflitetest.CustomOptions(cut, true))
		// Buffers are built from their end: the first chip's name is the
		// second executable's, and the table stands before it.
		at := bytes.Index(data, []byte("beagle"))
		for i := at - 128; i < at; i++ {
			bad := bytes.Clone(data)
			bad[i] = 0xff
			f, err := tflite.New("x.tflite", bad)
			if err != nil {
				continue
			}
			if _, err = f.Compiled(); err == nil || !strings.Contains(err.Error(), "op 0 (edgetpu-custom-op): executable 1: ") {
				continue
			}
			if e := formatError(t, err); e.Offset < int64(at-256) || e.Offset > int64(at+256) {
				t.Errorf("%v; the executable is around byte %d", err, at)
			}
			return
		}
		t.Error("no change makes an executable unreadable")
	})
}

// Operators that share their options could make reading take forever.
func TestSharedOptions(t *testing.T) {
	p := tflitetest.Split(7, 64, 64)
	options := tflitetest.CustomOptions(tflitetest.EncodePackage(&p), true)
	b := flatbuffers.NewBuilder(0)
	vector, name := b.CreateByteVector(options), b.CreateString(tflite.EdgeTPUOp)
	tfl.OperatorStart(b)
	tfl.OperatorAddCustomOptions(b, vector)
	op := tfl.OperatorEnd(b)
	tfl.SubGraphStartOperatorsVector(b, 2)
	b.PrependUOffsetT(op)
	b.PrependUOffsetT(op)
	ops := b.EndVector(2)
	tfl.SubGraphStart(b)
	tfl.SubGraphAddOperators(b, ops)
	graph := tfl.SubGraphEnd(b)
	tfl.ModelStartSubgraphsVector(b, 1)
	b.PrependUOffsetT(graph)
	graphs := b.EndVector(1)
	tfl.OperatorCodeStart(b)
	tfl.OperatorCodeAddBuiltinCode(b, int32(tflite.Custom))
	tfl.OperatorCodeAddCustomCode(b, name)
	code := tfl.OperatorCodeEnd(b)
	tfl.ModelStartOperatorCodesVector(b, 1)
	b.PrependUOffsetT(code)
	codes := b.EndVector(1)
	tfl.ModelStart(b)
	tfl.ModelAddOperatorCodes(b, codes)
	tfl.ModelAddSubgraphs(b, graphs)
	b.FinishWithFileIdentifier(tfl.ModelEnd(b), []byte("TFL3"))
	f, err := tflite.New("x.tflite", b.FinishedBytes())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = f.Compiled(); err == nil || !strings.Contains(err.Error(), "op 1 shares its options") {
		t.Errorf("got %v", err)
	}
}

// Facts about the public files that are known from elsewhere: the compilers'
// reports, papers, and the sets' own consistency.
func TestPublicCompiled(t *testing.T) {
	dir := filepath.Join(testdata.Dir(t), "models")
	type facts struct {
		Generation       string
		Packages, CPUOps int
		Total, Streamed  int64
		Input, Output    int64
		Narrow           int64
	}
	const set = "_quant_cocompiled_with_3quant_edgetpu"
	for file, want := range map[string]facts{
		"mobilenet_v1_0.5_160_quant_edgetpu":          {"16.0", 1, 0, 1_473_280, 0, 160 * 160 * 3, 1008, 20_512},
		"mobilenet_v1_0.75_192_quant_edgetpu":         {"16.0", 1, 0, 2_777_600, 0, 192 * 192 * 3, 1008, 43_824},
		"cocompiled-2.1/mobilenet_v1_0.5_160" + set:   {"<=15.0", 1, 0, 1_425_024, 0, 160 * 160 * 3, 1008, 20_512},
		"cocompiled-2.1/mobilenet_v1_0.75_192" + set:  {"<=15.0", 1, 0, 2_729_344, 1_626_880, 192 * 192 * 3, 1008, 43_824},
		"cocompiled-15.0/mobilenet_v1_0.75_192" + set: {"<=15.0", 1, 0, 2_729_344, 1_587_968, 192 * 192 * 3, 1008, 43_824},
		"cocompiled-16.0/mobilenet_v1_0.75_192" + set: {"16.0", 1, 0, 2_777_600, 158_144, 192 * 192 * 3, 1008, 43_824},
		"cocompiled-2.1/mobilenet_v2_1.0_224_quant_cocompiled_with_mobilenet_v1_1.0_224_quant_edgetpu": {
			"<=15.0", 1, 0, 3_900_864, 1_076_416, 224 * 224 * 3, 1008, 99_552,
		},
	} {
		f, err := tflite.Open(filepath.Join(dir, file+".tflite"))
		c := compiled(t, f, err)
		p := &c.Packages[0]
		got := facts{
			c.Generation(), len(c.Packages), c.CPUOps, c.CachedBytes() + c.StreamedBytes(), c.StreamedBytes(),
			p.Main().InputBytes, p.Main().OutputBytes, p.Main().NarrowBytesPerTile,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

// Each compiled file of the public set: its token, which stands in it once
// for each executable, tells the compiler call; executables and instructions
// fit the file, which consists of little else; and folders tell generations.
func TestAllPublicCompiled(t *testing.T) {
	tokens := map[uint64][]string{}
	for _, file := range models(t, tflite.KindCompiled) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := tflite.New(file, data)
		c := compiled(t, f, err)
		var sum int64
		for _, p := range c.Packages {
			tokens[p.Token()] = append(tokens[p.Token()], filepath.Base(filepath.Dir(file)))
			if n := bytes.Count(data, binary.LittleEndian.AppendUint64(nil, p.Token())); n != len(p.Executables) {
				t.Errorf("%s: the token stands in the file %d times, for %d executables", file, n, len(p.Executables))
			}
			for _, e := range p.Executables {
				sum += e.ParameterBytes + e.InstructionBytes
			}
		}
		// The rest is field offsets, DMA hints, and what stayed on the CPU.
		if rest := int64(len(data)) - sum; rest < 0 || rest > 60_000+int64(len(data))/2 {
			t.Errorf("%s: %d of %d bytes are parameters and instructions", file, sum, len(data))
		}
		generation := map[string]string{"cocompiled-2.1": "<=15.0", "cocompiled-15.0": "<=15.0", "cocompiled-16.0": "16.0"}
		if want, ok := generation[filepath.Base(filepath.Dir(file))]; ok && c.Generation() != want {
			t.Errorf("%s: generation %q, want %q", file, c.Generation(), want)
		}
	}
	// The three sets of three, the pair of 16.0 and the two segments of one call;
	// everything else was compiled alone.
	sizes := map[int]int{}
	for _, folders := range tokens {
		sizes[len(folders)]++
	}
	if sizes[3] != 3 || sizes[2] != 2 || len(sizes) != 3 {
		t.Errorf("files of one token: %v", tokens)
	}
}

// The rule by which compilers up to 15.0 pack MobileNet's parameters, applied
// to the source file, gives the bytes of the compiled one.
func TestParameterBytesByRule(t *testing.T) {
	dir := filepath.Join(testdata.Dir(t), "models")
	up := func(n, m int) int { return (n + m - 1) / m * m }
	for source, file := range map[string]string{
		"mobilenet_v1_0.25_128_quant": "cocompiled-2.1/mobilenet_v1_0.25_128_quant_cocompiled_with_3quant_edgetpu",
		"mobilenet_v1_0.75_192_quant": "cocompiled-15.0/mobilenet_v1_0.75_192_quant_cocompiled_with_3quant_edgetpu",
		"mobilenet_v2_1.0_224_quant":  "cocompiled-2.1/mobilenet_v2_1.0_224_quant_cocompiled_with_mobilenet_v1_1.0_224_quant_edgetpu",
	} {
		f, err := tflite.Open(filepath.Join(dir, source+".tflite"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := f.Source()
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, o := range s.Ops {
			switch o.Code {
			case tflite.Conv2D:
				w := s.Tensors[o.Inputs[1]].Shape
				lanes := up(w[0], 64)
				if w[0] <= 64 {
					lanes = up(w[0], 16)
				}
				want += lanes * 4 * (w[1]*w[2]*(up(w[3], 4)/4) + 1)
			case tflite.DepthwiseConv2D:
				w := s.Tensors[o.Inputs[1]].Shape
				want += up((w[1]*w[2]+1)*4*up(w[3], 4), 64)
			}
		}
		f, err = tflite.Open(filepath.Join(dir, file+".tflite"))
		c := compiled(t, f, err)
		if got := c.CachedBytes() + c.StreamedBytes(); got != int64(want) {
			t.Errorf("%s: %d bytes, by rule %d", file, got, want)
		}
	}
}
