package compile

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// FuzzAnalyze: whatever a verified file says, the twin neither panics nor
// loses bytes: what is cached and streamed adds up, in every release.
func FuzzAnalyze(f *testing.F) {
	f.Add(tflitetest.New().Input(1, 8, 8, 3).Conv(6, 3, 3, 2, true).Depthwise(3, 3, 1, true).MaxPool(2, 2, false).Reshape(1, 24).FC(5).Softmax().Bytes())
	f.Add(tflitetest.New().Input(1, 4, 4, 2).Pad(0, 0, 1, 1, 1, 1, 0, 2).Mean(true, 1, 2).Logistic().Bytes())
	f.Add(tflitetest.New().Input(1, 1, 2, 4).ResizeBilinear(2, 4).TransposeConv(3, 2, 2, 2).Dequantize().Bytes())
	f.Add(tflitetest.New().Input(1, 250, 203, 4).Conv(64, 3, 3, 1, true).MaxPool(2, 2, true).Pad(0, 0, 1, 1, 1, 1, 0, 0).Conv(80, 3, 3, 2, false).Bytes()) // in passes
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := tflite.New("fuzz", data)
		if err != nil {
			return
		}
		src, err := file.Source()
		if err != nil {
			return
		}
		for _, v := range Versions() {
			for _, all := range []bool{false, true} {
				m := Analyze(src, Settings{Version: v, AllRegions: all})
				if m.TPUOps+m.CPUOps != len(src.Ops) {
					t.Fatalf("%s: %d ops on the TPU and %d on the CPU of %d", v, m.TPUOps, m.CPUOps, len(src.Ops))
				}
				if r := m.Reserve; r.Low > r.Rows || r.Rows > r.High || r.Rows < -smallBuffer || r.High > absurdRows {
					t.Fatalf("%s: reserve %+v", v, r)
				}
				p := Predict(v, []Input{{Model: m, Reserve: m.Reserve}, {Model: m, Reserve: m.Reserve}})
				for _, x := range p.Models {
					if x.Split.Cached < 0 || x.Split.Streamed < 0 || x.Split.Cached+x.Split.Streamed != m.Load.Bytes() {
						t.Fatalf("%s: split %+v of %d bytes", v, x.Split, m.Load.Bytes())
					}
				}
			}
		}
	})
}

// Nets whose shapes, options, operators and inputs are changed at random, in
// every way that a verified file allows, are analyzed without a panic.
func TestAnalyzeStrangeNets(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	sizes := []int{0, 1, 2, 3, 4, 5, 7, 64, 65, 300, 1 << 15, 1<<31 - 1}
	codes := slices.Sorted(maps.Keys(since))
	base := tflitetest.New().Input(1, 16, 16, 3).Conv(6, 3, 3, 2, true).Depthwise(3, 3, 1, true).MaxPool(2, 2, false).
		Pad(0, 0, 1, 1, 1, 1, 0, 2).ResizeBilinear(8, 8).TransposeConv(3, 2, 2, 2).Mean(true, 1, 2).Reshape(1, 3).FC(5).Softmax().Source()
	for range 20_000 {
		src := *base
		src.Tensors = slices.Clone(base.Tensors)
		src.Ops = slices.Clone(base.Ops)
		for range 1 + rng.IntN(4) {
			tensor := &src.Tensors[rng.IntN(len(src.Tensors))]
			op := &src.Ops[rng.IntN(len(src.Ops))]
			switch rng.IntN(6) {
			case 0:
				tensor.Shape = nil
				for range rng.IntN(6) {
					tensor.Shape = append(tensor.Shape, sizes[rng.IntN(len(sizes))])
				}
				if tensor.Elements() < 0 || tensor.Elements() > 1<<40 {
					tensor.Shape = []int{1, 2, 3}
				}
			case 1:
				op.Code = codes[rng.IntN(len(codes))]
			case 2:
				op.Inputs = slices.Clone(op.Inputs)[:rng.IntN(len(op.Inputs)+1)]
				for i := range op.Inputs {
					if rng.IntN(3) == 0 {
						op.Inputs[i] = rng.IntN(len(src.Tensors)+1) - 1
					}
				}
			case 3:
				o := &op.Options
				o.StrideH, o.StrideW, o.FilterH, o.FilterW = sizes[rng.IntN(len(sizes))], rng.IntN(3), sizes[rng.IntN(len(sizes))], rng.IntN(4)
				o.DilationH, o.DilationW, o.SamePadding = rng.IntN(3), sizes[rng.IntN(len(sizes))], rng.IntN(2) == 0
			case 4:
				if rng.IntN(2) == 0 {
					op.Outputs = nil
				} else {
					op.Outputs = []int{rng.IntN(len(src.Tensors))}
				}
			case 5:
				tensor.Type = []tflite.Type{tflite.Uint8, tflite.Int8, tflite.Float32, tflite.Int32}[rng.IntN(4)]
				if rng.IntN(2) == 0 {
					tensor.Data, tensor.DataBytes = nil, int64(rng.IntN(2))
				}
			}
		}
		for _, v := range []Version{V1_0, V15_0, V16_0} {
			m := Analyze(&src, Settings{Version: v, AllRegions: rng.IntN(2) == 0})
			if m.Load.Bytes() < 0 || m.TPUOps+m.CPUOps != len(src.Ops) {
				t.Fatalf("%s: %d bytes, %d + %d of %d ops", v, m.Load.Bytes(), m.TPUOps, m.CPUOps, len(src.Ops))
			}
		}
	}
}
