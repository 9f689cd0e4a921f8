package timing

import (
	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/tflite"
)

// mostUnexplained is the share of a file's streamed bytes that may be of ops which are not known.
const mostUnexplained = 0.05

// OpsOf are a model's ops as a compiled file of it has them: how long each computes by its shape
// on the link, and what of it is streamed. An op whose parts are cached and streamed counts
// as several, each computing in proportion to its bytes. Bytes that the file streams
// and no op is known to own are an op that does not compute: nothing hides them. Nil if these are too many.
func OpsOf(m *compile.Model, c *tflite.Compiled, found *tflite.Located, link cost.Link) []cost.Op {
	x := Shapes(m, link)
	var list []cost.Op
	parts := make([]int, len(m.Ops)) // of each op
	left := float64(c.StreamedBytes())
	all := left
	for i := range found.Pieces {
		p := &found.Pieces[i]
		o := cost.Op{Passes: 1}
		if whole := x.whole[p.Op]; !p.Want.Streamed && whole > 0 {
			o.MS = x.computes[p.Op] * float64(p.Want.Bytes) / float64(whole)
			parts[p.Op]++
		}
		if p.Found && !p.Cached && p.Bytes > 0 {
			o.Streamed = float64(p.Bytes)
			left -= o.Streamed
		}
		if !p.Want.Streamed && m.Ops[p.Op].Passes.Value > 1 {
			o.Passes = m.Ops[p.Op].Passes.Value
		}
		if o.MS > 0 || o.Streamed > 0 {
			list = append(list, o)
		}
	}
	for i, ms := range x.computes {
		if parts[i] == 0 && ms > 0 {
			list = append(list, cost.Op{MS: ms, Passes: 1})
		}
	}
	if left > mostUnexplained*all {
		return nil
	}
	if left > 0 {
		list = append(list, cost.Op{Streamed: left, Passes: 1})
	}
	return list
}
