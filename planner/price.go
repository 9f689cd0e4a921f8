package planner

import (
	"math"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
)

// price is what the objective counts of a call of one model: milliseconds, or
// bytes for byte-hits. What streaming a part adds is a number of that part.
type price struct {
	share     float64
	fixed     float64   // of every call, constants that are always streamed included
	stream    []float64 // of each part that is streamed
	streamAll float64   // the sum of stream
	// A load of so many bytes takes max(0, bytes x perByte + instructions - overlap) + overhead.
	perByte, instructions, overlap, overhead float64
}

// streamMS is what streaming a part adds to a warm call, in milliseconds.
func (m *Model) streamMS(part int) float64 {
	if m.StreamMS != nil {
		return m.StreamMS[part]
	}
	return float64(m.Load.Parts[part].Bytes) / m.Call.BytesPerMS
}

func newPrice(m *Model, o Objective) price {
	p := price{share: m.Share, stream: make([]float64, len(m.Load.Parts))}
	if o == ByteHits {
		p.fixed, p.perByte = float64(m.Load.Streamed), 1
	} else {
		p.fixed = m.Call.FixedMS + float64(m.Load.Streamed)/m.Call.BytesPerMS
		p.perByte, p.instructions = 1/m.Call.BytesPerMS, m.Call.LoadBytes/m.Call.BytesPerMS
		p.overlap, p.overhead = m.Call.OverlapMS, m.Call.OverheadMS
	}
	for i := range p.stream {
		if o == ByteHits {
			p.stream[i] = float64(m.Load.Parts[i].Bytes)
		} else {
			p.stream[i] = m.streamMS(i)
		}
		p.streamAll += p.stream[i]
	}
	return p
}

// load is what a call takes longer that first has to load so many bytes.
func (p *price) load(cached int64) float64 {
	if cached == 0 {
		return 0
	}
	return max(0, float64(float64(cached)*p.perByte)+p.instructions-p.overlap) + p.overhead
}

// cost is what a model adds to the objective, streaming what its streamed parts take.
func (p *price) cost(cached int64, streaming, miss float64) float64 {
	return float64(p.share * (p.fixed + streaming + float64(miss*p.load(cached))))
}

// leastRate is the least that a load takes per byte beyond those that are
// cached anyhow, over all numbers of bytes up to most: a line under the load. A load has a
// fixed part, so that its first byte is dear; the line goes through the nearest
// of the corners, where compute stops hiding the load and the end.
func (p *price) leastRate(cached, most int64) float64 {
	hidden := (p.overlap - p.instructions) / p.perByte // bytes whose load compute hides
	if cached > 0 {
		if float64(cached) < hidden {
			return 0
		}
		return p.perByte
	}
	rate := p.load(most) / float64(most)
	if hidden > 0 && hidden < float64(most) {
		rate = min(rate, p.overhead/hidden)
	}
	return rate
}

// StreamingMS is what the streamed bytes of a split take of a warm call,
// constants included. A result that does not tell its parts may have streamed
// any: then it is the dearest of them, so that no plan looks better for being known.
func (m *Model) StreamingMS(s *compile.Split) float64 {
	ms, left := float64(m.Load.Streamed)/m.Call.BytesPerMS, s.Streamed-m.Load.Streamed
	if len(s.InCache) == len(m.Load.Parts) {
		for i := range m.Load.Parts {
			if !s.InCache[i] {
				ms += m.streamMS(i)
				left -= m.Load.Parts[i].Bytes
			}
		}
		return max(0, ms+float64(left)/m.Call.BytesPerMS) // real files may hold more or less than was counted
	}
	bytes, stream := make([]int64, len(m.Load.Parts)), make([]float64, len(m.Load.Parts))
	for i := range m.Load.Parts {
		bytes[i], stream[i] = m.Load.Parts[i].Bytes, m.streamMS(i)
	}
	return ms + cost.Untold(bytes, stream, left, m.Call.BytesPerMS)
}

// splitCost is what a model with a given split adds to the objective.
func (f *field) splitCost(m int, s *compile.Split, miss float64) float64 {
	x, p := f.model(m), &f.prices[m]
	if f.problem.Objective == ByteHits {
		return p.cost(s.Cached, float64(s.Streamed)-p.fixed, miss)
	}
	return float64(p.share * (x.Call.FixedMS + x.StreamingMS(s) + float64(miss*p.load(s.Cached))))
}

// most is the most bytes of a model that a pool of so many rows can cache.
func (f *field) most(m, rows int) int64 {
	if f.mostOf[m].rows != rows {
		f.mostOf[m] = room{rows, f.newMost(m, rows)}
	}
	return f.mostOf[m].most
}

func (f *field) newMost(m, room int) int64 {
	var bytes int64
	dense := 0.0
	for i := range f.loads[m].Parts {
		part := &f.loads[m].Parts[i]
		switch rows := partRows(part); {
		case rows > room:
		case rows <= 0:
			return f.total[m]
		default:
			bytes += part.Bytes
			dense = max(dense, float64(part.Bytes)/float64(rows))
		}
	}
	return min(bytes, int64(math.Ceil(dense*float64(room))))
}

// partRows is how many rows of the pool a part takes.
func partRows(part *compile.Part) int {
	if part.Groups > 0 {
		return part.Groups * part.GroupRows
	}
	return part.Rows
}
