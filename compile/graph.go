package compile

import (
	"encoding/binary"

	"github.com/tpuplan/tpuplan/tflite"
)

// graph adds to a source model who makes and who reads each tensor.
type graph struct {
	*tflite.Source
	producer []int   // op that makes a tensor, -1 if none
	readers  [][]int // ops that read a tensor, in order
	output   []bool  // tensor is a graph output
}

func newGraph(src *tflite.Source) *graph {
	g := &graph{
		Source:   src,
		producer: make([]int, len(src.Tensors)),
		readers:  make([][]int, len(src.Tensors)),
		output:   make([]bool, len(src.Tensors)),
	}
	for t := range g.producer {
		g.producer[t] = -1
	}
	for i := range src.Ops {
		for _, t := range src.Ops[i].Outputs {
			g.producer[t] = i
		}
		for _, t := range src.Ops[i].Inputs {
			if t >= 0 {
				g.readers[t] = append(g.readers[t], i)
			}
		}
	}
	for _, t := range src.Outputs {
		g.output[t] = true
	}
	return g
}

// in is the op's n-th input, nil where it is absent.
func (g *graph) in(op *tflite.Op, n int) *tflite.Tensor {
	if n >= len(op.Inputs) || op.Inputs[n] < 0 {
		return nil
	}
	return &g.Tensors[op.Inputs[n]]
}

// out is the op's first output, nil if it has none.
func (g *graph) out(op *tflite.Op) *tflite.Tensor {
	if len(op.Outputs) == 0 {
		return nil
	}
	return &g.Tensors[op.Outputs[0]]
}

func eightBit(t *tflite.Tensor) bool {
	return t != nil && (t.Type == tflite.Uint8 || t.Type == tflite.Int8)
}

// activation is a tensor that the graph computes or is given.
func activation(t *tflite.Tensor) bool { return t != nil && !t.Constant() }

// dims are the three innermost dimensions, the ones the chip knows: y, x, z.
func dims(t *tflite.Tensor) (y, x, z int) { return t.Dim(3), t.Dim(2), t.Dim(1) }

// rows2D is the product of all dimensions but the last.
func rows2D(t *tflite.Tensor) int64 {
	n := int64(1)
	for i := 2; i <= len(t.Shape); i++ {
		n *= int64(t.Dim(i))
	}
	return n
}

// ints reads a constant int32 or int64 tensor; ok is false if it is none.
func ints(t *tflite.Tensor) (values []int, ok bool) {
	if t == nil || t.Data == nil {
		return nil, false
	}
	switch t.Type {
	case tflite.Int32:
		for d := t.Data; len(d) >= 4; d = d[4:] {
			values = append(values, int(int32(binary.LittleEndian.Uint32(d))))
		}
	case tflite.Int64:
		for d := t.Data; len(d) >= 8; d = d[8:] {
			values = append(values, int(int64(binary.LittleEndian.Uint64(d))))
		}
	default:
		return nil, false
	}
	return values, true
}

func allBytes(data []byte, value byte) bool {
	for _, b := range data {
		if b != value {
			return false
		}
	}
	return true
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func roundUp(x, m int64) int64 { return (x + m - 1) / m * m }
