package compile

import (
	"fmt"
	"math"
	"slices"

	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/tflite"
)

// What is known of reserved rows beyond the formula.
const (
	smallBuffer     = 32      // rows per tile beyond the 2048 that hold small buffers
	narrowBytes     = 196_608 // activation memory of a tile
	absurdRows      = 1_400   // estimates above this mean nothing; plans use it instead
	rowsWithoutConv = 36      // 16.0 reserves about as much for nets without any convolution
	lowWithoutConv  = 31      // least and most seen there
	highWithoutConv = 68      //
	fittingSpread   = 2       // rows; three of four fitting nets lie within it
)

// buffer is the size in rows of a double buffer for n weight rows and ov
// overhead words; single where only that makes it fit the small rows.
func buffer(n, ov int) int {
	rows := 2 * (n + ov)
	if rows > smallBuffer && n+ov <= smallBuffer {
		return n + ov
	}
	return rows
}

// whole is how compilers up to 2.1 count a buffer: all of it, or nothing if it fits the small rows.
func whole(rows int, v Version) int {
	if v <= V2_1 && rows <= smallBuffer {
		return 0
	}
	return rows
}

// chunk is the number of weight rows that are broadcast at a time when a
// convolution is split over its input channels.
func chunk(taps, z4, ov int) int {
	best := 1
	taps = max(1, taps)
	for c := 1; c <= z4 && 2*(taps*c+ov) <= smallBuffer; c++ {
		if z4%c == 0 {
			best = c
		}
	}
	return taps * best
}

// window is what of a convolution or pool decides about tiles and buffers.
type window struct {
	kh, kw           int
	strideH, strideW int
}

func (g *graph) window(op *tflite.Op) window {
	o := &op.Options
	w := window{1, 1, max(1, o.StrideH), max(1, o.StrideW)}
	switch op.Code {
	case tflite.Conv2D, tflite.DepthwiseConv2D:
		if t := g.in(op, 1); t != nil && len(t.Shape) == 4 {
			w.kh, w.kw = t.Shape[1], t.Shape[2]
		}
	case tflite.AveragePool2D, tflite.MaxPool2D:
		w.kh, w.kw = o.FilterH, o.FilterW
	case tflite.TransposeConv:
		w.strideH, w.strideW = 1, 1
	default:
		w.strideH, w.strideW = 1, 1
	}
	return w
}

// broadcast describes a convolution whose weights are sent to all tiles; ok
// is false for other ops and for outputs of one position, which are computed where their weights lie.
func (g *graph) broadcast(op *tflite.Op, v Version) (taps, z4, ov int, depthwise, ok bool) {
	bias := g.in(op, 2)
	switch op.Code {
	case tflite.Conv2D, tflite.DepthwiseConv2D:
	case tflite.TransposeConv:
		bias = g.in(op, 3)
	default:
		return 0, 0, 0, false, false
	}
	w, in, out := g.in(op, 1), g.in(op, 0), g.out(op)
	if w == nil || in == nil || out == nil || len(w.Shape) != 4 || pointOutput(out) {
		return 0, 0, 0, false, false
	}
	zi := w.Shape[3]
	if op.Code == tflite.DepthwiseConv2D {
		zi = in.Dim(1)
		depthwise = zi > 1
	}
	return w.Shape[1] * w.Shape[2], max(1, ceilDiv(zi, 4)), overhead(w, bias, v), depthwise, true
}

// convolutionNeed is the rows of every tile that a convolution's broadcast
// buffer takes: all input channels at once, or split with partial sums of so many output
// positions per tile in wide memory. Few positions count only in 15.0, and in passes.
func convolutionNeed(taps, z4, ov, positions int, few bool, v Version) int {
	all := whole(buffer(taps*z4, ov), v)
	n := chunk(taps, z4, ov)
	if n >= taps*z4 {
		return all
	}
	if positions <= 16 && !few {
		positions = 0
	}
	return min(all, whole(buffer(n, ov), v)+positions)
}

// extent is how many input positions a tile of a pool's output reads along one axis.
func extent(out, in, k, s int) int {
	n := min((ceilDiv(out, 4)-1)*s+k, in)
	if in == s*out && in%4 != 0 && ceilDiv(in, 4) == s*ceilDiv(out, 4) {
		n++
	}
	return n
}

// need is the rows that one op reserves whose output has so many positions
// per tile along y and x.
func (g *graph) need(op *tflite.Op, y, x int, few bool, v Version) int {
	taps, z4, ov, depthwise, ok := g.broadcast(op, v)
	if !ok {
		return 0
	}
	if depthwise {
		return whole(buffer(taps, ov), v)
	}
	return convolutionNeed(taps, z4, ov, int(min(product(int64(y), int64(x)), 1<<30)), few, v)
}

// poolRows is what a MAX_POOL's input tile of so many positions, y and x, takes
// while the convolution before it runs.
func poolRows(y, x, channels int, v Version) int {
	return whole(clampRows(product(int64(y), int64(ceilDiv(x, 4)), int64(ceilDiv(channels, 64)))), v)
}

// globalPool reports an average over the whole image.
func (g *graph) globalPool(op *tflite.Op) bool {
	if op.Code != tflite.AveragePool2D && op.Code != tflite.Mean {
		return false
	}
	in, out := g.in(op, 0), g.out(op)
	hi, wi, _ := dims(in)
	return in != nil && hi*wi > 1 && rows2D(out) == 1
}

// globalPoolNeed is what holding a global pool's input takes (up to 15.0).
func (g *graph) globalPoolNeed(op *tflite.Op, v Version) int {
	h, w, c := dims(g.in(op, 0))
	if h*w <= 16 && v >= V2_1 {
		return 0
	}
	need := h * ceilDiv(w, 4) * ceilDiv(c, 64)
	if v != V15_0 {
		return whole(need, v)
	}
	need += 6
	if g.in(op, 0).Type == tflite.Int8 {
		need++
	}
	// the convolution that feeds the pool
	for t, steps := op.Inputs[0], 0; t >= 0 && steps < len(g.Ops); steps++ {
		p := g.producer[t]
		if p < 0 || len(g.Ops[p].Inputs) == 0 {
			break
		}
		if taps, z4, ov, depthwise, ok := g.broadcast(&g.Ops[p], v); ok {
			if depthwise {
				return need + 2*taps
			}
			return need + 2*chunk(taps, z4, ov)
		}
		t = g.Ops[p].Inputs[0]
	}
	return need
}

// reserve is the formula for R over the mapped ops, whose activations flow as given.
func (g *graph) reserve(v Version, mapped []bool, flows []*flow) Reserve {
	convolutions, constants := false, false
	for i := range g.Ops {
		if !mapped[i] {
			continue
		}
		op := &g.Ops[i]
		switch op.Code {
		case tflite.Conv2D, tflite.DepthwiseConv2D, tflite.TransposeConv:
			convolutions = convolutions || op.Code != tflite.DepthwiseConv2D || g.in(op, 0).Dim(1) == 1 || !pointOutput(g.out(op))
		case tflite.Add, tflite.Mul, tflite.Sub, tflite.PRelu:
			for n := range op.Inputs {
				if t := g.in(op, n); t != nil && t.Constant() {
					constants = true
				}
			}
		}
	}
	r := Reserve{Source: FromFormula, Certainty: report.Strong, Fits: true}
	for _, f := range flows {
		r.Fits = r.Fits && len(f.stages) == 0 && !f.unknown
	}
	// rows are R when so much is needed.
	rows := func(need int) int {
		if r.Fits && constants && (v == V16_0 || v == V15_0 && g.int8(mapped)) || !r.Fits && v >= V14_1 {
			need++
		}
		if v == V14_1 || v == V15_0 {
			return max(need, 0) - smallBuffer
		}
		return need
	}
	if r.Fits {
		need := 0
		for _, f := range flows {
			need = max(need, f.need(v, false, nil).rows, f.globalPools(v))
		}
		r.Rows = rows(need)
		r.Low, r.High = r.Rows-fittingSpread, r.Rows+fittingSpread
	} else {
		r.inPasses(v, flows, rows)
	}
	switch {
	case !slices.Contains(mapped, true): // nothing that could reserve any: no member of a group is smaller
		r.Low, r.High = r.Rows, r.Rows
		return r
	case !convolutions && v == V16_0:
		r.Rows = max(r.Rows, rowsWithoutConv)
		high := r.Rows
		if !r.Fits {
			high = max(high, r.High)
		}
		r.Low, r.High = min(r.Rows, lowWithoutConv), max(high, highWithoutConv)
		r.Certainty = report.Heuristic
	case !convolutions:
		r.Certainty = report.Heuristic
	}
	return r.bounded(v)
}

// bounded keeps rows in the range in which they mean something. Only 14.1 and
// 15.0 let parameters into the rows for small buffers, so that R is negative.
func (r Reserve) bounded(v Version) Reserve {
	if r.Rows > absurdRows {
		return Reserve{Rows: absurdRows, Low: 0, High: absurdRows, Source: r.Source, Certainty: report.Unknown, Fits: r.Fits}
	}
	least := 0
	if v == V14_1 || v == V15_0 {
		least = -smallBuffer
	}
	r.Low, r.High = max(r.Low, least), min(r.High, absurdRows)
	return r
}

func (g *graph) int8(mapped []bool) bool {
	for i := range g.Ops {
		if mapped[i] {
			return g.out(&g.Ops[i]).Type == tflite.Int8
		}
	}
	return false
}

// ReserveRows is R given as a number, by a flag.
func ReserveRows(rows int, formula Reserve) (Reserve, error) {
	if rows < -smallBuffer || rows > absurdRows {
		return Reserve{}, fmt.Errorf("reserved rows %d: want -%d to %d", rows, smallBuffer, absurdRows)
	}
	return Reserve{Rows: rows, Low: rows, High: rows, Source: FromFlag, Certainty: report.Exact, Fits: formula.Fits}, nil
}

// ReserveFromAvailable derives R from the memory that the compiler printed as
// available for a model compiled alone (or used + remaining from 2.1 on). Two
// decimals leave several rows open: if the formula's rows are among them they
// are taken, else the middle. An error says that no R prints that size.
func ReserveFromAvailable(size report.Size, formula Reserve, source ReserveSource) (Reserve, error) {
	const rowOfAllTiles = Tiles * RowBytes
	// capacity = rowOfAllTiles * (TileRows - R), so low capacity is high R
	low := int(math.Ceil(TileRows - size.High/rowOfAllTiles))
	high := int(math.Floor(TileRows - size.Low/rowOfAllTiles))
	if low > high { // between two rows: the nearest one
		low = int(math.Round(TileRows - float64(size.Bytes)/rowOfAllTiles))
		high = low
	}
	low, high = max(low, -smallBuffer), min(high, TileRows)
	if low > high {
		return Reserve{}, fmt.Errorf("%s is more than the %s an Edge TPU can offer", size.Text, report.FormatSize(rowOfAllTiles*(TileRows+smallBuffer)))
	}
	r := Reserve{Rows: (low + high) / 2, Low: low, High: high, Source: source, Certainty: report.Strong, Fits: formula.Fits}
	if formula.Rows >= low && formula.Rows <= high {
		r.Rows = formula.Rows
	}
	if low == high {
		r.Certainty = report.Exact
	}
	return r, nil
}
