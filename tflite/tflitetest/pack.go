package tflitetest

import (
	"bytes"

	"github.com/tpuplan/tpuplan/tflite"
)

// Pack is the parameters of a CONV_2D, FULLY_CONNECTED or DEPTHWISE_CONV_2D as
// the compiler packs them, with a number of overhead words for each lane, here
// of noise. Lanes that no output channel uses are zero.
//
// It goes through the packed bytes from the first to the last and asks for
// each which weight it is, the other way round than a reader of weights.
func Pack(src *tflite.Source, op, overhead int) []byte {
	o := &src.Ops[op]
	t := &src.Tensors[o.Inputs[1]]
	at := func(zo, tap, zi, taps, inputs int) int { return (zo*taps+tap)*inputs + zi }
	channels, taps, inputs := t.Shape[0], 1, t.Shape[len(t.Shape)-1]
	for _, n := range t.Shape[1 : len(t.Shape)-1] {
		taps *= n
	}
	depthwise := o.Code == tflite.DepthwiseConv2D
	group := 64 // lanes
	switch {
	case depthwise:
		channels, inputs, group = inputs, 1, 4
		at = func(zo, tap, _, _, _ int) int { return tap*channels + zo }
	case channels <= 4:
		group = 4
	case channels <= 64:
		group = (channels + 15) / 16 * 16
	}
	flip := byte(0)
	if t.Type == tflite.Int8 {
		flip = 0x80
	}
	noise := (&Builder{Seed: uint64(op)}).noise(4 * group * overhead)
	var packed bytes.Buffer
	for first := 0; first < channels; first += group {
		packed.Write(noise)
		for word := range taps * ((inputs + 3) / 4) {
			tap, quarter := word/((inputs+3)/4), word%((inputs+3)/4)
			for n := range 4 * group {
				zo, zi := first+n/4, 4*quarter+n%4
				if depthwise {
					zi = n%4 - n/4 // 0 on the diagonal
				}
				if zo >= channels || zi < 0 || zi >= inputs {
					packed.WriteByte(flip)
					continue
				}
				packed.WriteByte(t.Data[at(zo, tap, zi, taps, inputs)] ^ flip)
			}
		}
	}
	for packed.Len()%64 != 0 {
		packed.WriteByte(0)
	}
	return packed.Bytes()
}
