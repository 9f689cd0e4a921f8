package fit

import (
	"math"
	"slices"

	"github.com/tpuplan/tpuplan/cost"
)

// Where it is known what a file's ops compute and stream, a streamed op adds to a call
// what its transfer takes longer than its computing. That is linear in what is
// fitted as long as the same ops are longer, so every step of a minimisation
// takes those that are where it stands; a step that changes them is followed by another one.

// streaming is what the ops of a file stream, and where in a row the
// parameters are that it depends on.
type streaming struct {
	ops     []share
	compute linear // of all its ops, in ms
	rate    linear // ms per byte
	passes  linear // the same of ops that run in passes
}

// share is a streamed op.
type share struct {
	of     float64 // its part of the compute
	bytes  float64 // sent in a call, in all the passes that are predicted
	passes bool    // more than one of them
}

// linear is a number that depends on at most one parameter.
type linear struct {
	at    int // in the row; -1: on none
	scale float64
	given float64
}

func (l *linear) of(x []float64) float64 {
	if l.at < 0 {
		return l.given
	}
	return float64(x[l.at]*l.scale) + l.given
}

// to adds so many of the number to a row.
func (l *linear) to(row []float64, n float64) {
	if l.at >= 0 {
		row[l.at] += float64(n * l.scale)
	}
}

// add is a time and its row with what the ops stream; the row is a new one.
func (s *streaming) add(x []float64, ms float64, row []float64) (float64, []float64) {
	if s == nil {
		return ms, row
	}
	row = slices.Clone(row)
	compute := s.compute.of(x)
	for i := range s.ops {
		o := &s.ops[i]
		perByte := &s.rate
		if o.passes {
			perByte = &s.passes
		}
		longer := float64(o.bytes*perByte.of(x)) - float64(o.of*max(0, compute))
		if longer <= 0 {
			continue
		}
		ms += longer
		perByte.to(row, o.bytes)
		if compute > 0 {
			s.compute.to(row, -o.of)
		}
	}
	return ms, row
}

// in is the same with the parameters counted in units.
func (s *streaming) in(units []float64) *streaming {
	if s == nil {
		return nil
	}
	scaled := *s
	for _, l := range []*linear{&scaled.compute, &scaled.rate, &scaled.passes} {
		if l.at >= 0 {
			l.scale /= units[l.at]
		}
	}
	return &scaled
}

// streamed is what a file's ops stream; nil if they are not known.
func (f *fitting) streamed(file *File, all []*parameter) *streaming {
	modelled, ok := f.shapes[file.Model]
	if !ok {
		return nil
	}
	whole := computeOf(file.Ops)
	s := &streaming{}
	for i := range file.Ops {
		o := &file.Ops[i]
		if o.Streamed > 0 {
			x := share{bytes: o.Passes * o.Streamed, passes: o.Passes > 1}
			if whole > 0 {
				x.of = o.MS / whole
			}
			s.ops = append(s.ops, x)
		}
	}
	if len(s.ops) == 0 {
		return nil
	}
	s.rate, s.passes = linear{at: -1}, linear{at: -1}
	free, own := 0, false
	for _, p := range all {
		l := linear{at: -1, given: p.builtin}
		if !p.kept {
			l = linear{at: free, scale: 1}
			free++
		}
		switch {
		case p.what == rate && !own:
			s.rate = l
		case p.what == stream:
			s.rate, own = l, true
		case p.what == passes && p.model == file.Model:
			s.passes = l
			if p.kept {
				s.passes = s.rate // as often as predicted
			}
		case p.what == compute && p.model == file.Model:
			if s.compute = l; p.covered {
				s.compute = linear{at: -1, given: modelled}
			} else {
				s.compute.given -= f.host
			}
		}
	}
	return s
}

// computeOf is the compute of all ops by their shapes, in ms.
func computeOf(ops []cost.Op) float64 {
	ms := 0.0
	for i := range ops {
		ms += ops[i].MS
	}
	return ms
}

// know finds the models all of whose files have ops, and what is taken for known
// of the host and of outputs.
func (f *fitting) know() {
	f.shapes = map[string]float64{}
	for i := range f.data.Files {
		file := &f.data.Files[i]
		if _, ok := f.shapes[file.Model]; !ok {
			f.shapes[file.Model] = computeOf(file.Ops)
		}
	}
	for i := range f.data.Files {
		if file := &f.data.Files[i]; computeOf(file.Ops) == 0 {
			delete(f.shapes, file.Model)
		}
	}
	f.host = f.builtinHost().Value
	if f.link != nil {
		f.output = f.link.OutputMSPerByte
	}
}

// inPasses reports whether a file of a model streams ops that run in several passes.
func (f *fitting) inPasses(model string) bool {
	if _, ok := f.shapes[model]; !ok {
		return false
	}
	return slices.ContainsFunc(f.data.Files, func(file File) bool {
		return file.Model == model && slices.ContainsFunc(file.Ops, func(o cost.Op) bool { return o.Passes > 1 && o.Streamed > 0 })
	})
}

// sent is what a warm call of a file moves at the link's rate, but for what its ops stream.
func (f *fitting) sent(file *File) float64 {
	bytes := file.FixedBytes
	if f.output > 0 {
		bytes -= file.OutputBytes
	}
	if _, ok := f.shapes[file.Model]; !ok {
		bytes += file.StreamedBytes
	}
	return float64(bytes)
}

// Passes that are first looked for, in those that are predicted: the most there
// may be, so that what could show is fitted. What then turns out to hide is kept.
const mostPasses = 2.2

// commonMSPerByte is that of a link of which nothing is known, to begin with.
const commonMSPerByte = 1 / 300e3

// first is where the parameters are about, before anything is fitted.
func (f *fitting) first() func(*parameter) float64 {
	perByte := commonMSPerByte
	if f.link != nil {
		perByte = 1 / f.link.BytesPerMS
	}
	var seen []float64 // by loads
	for _, c := range f.cells {
		for _, d := range f.cells {
			if load := f.data.Files[c.file].load(); c.cold && !d.cold && c.file == d.file && load > 0 && c.median > d.median {
				seen = append(seen, (c.median-d.median)/load)
			}
		}
	}
	if len(seen) > 0 {
		perByte = median(seen)
	}
	return func(p *parameter) float64 {
		switch p.what {
		case rate, stream:
			return perByte
		case passes:
			return perByte * mostPasses
		}
		return p.builtin
	}
}

// streaming is the parameter that says what a streamed byte takes.
func (s *solution) streaming() *parameter {
	if p := s.find(stream); p != nil {
		return p
	}
	return s.find(rate)
}

// fitted is where the parameters came out. Passes are taken for at least those
// that are predicted: if these hide, they do not show.
func (s *solution) fitted() func(*parameter) float64 {
	perByte := s.streaming().value
	return func(p *parameter) float64 {
		value := p.builtin
		for _, q := range s.all {
			if q.what == p.what && q.model == p.model {
				value = q.value
				if q.covered {
					value = q.builtin
				}
			}
		}
		if p.what == passes {
			value = max(value, perByte)
		}
		return value
	}
}

// shown is what the parameters add to a cell where they came out.
func (s *solution) shown(c *cell) []float64 {
	_, row := c.streams.add(s.values, 0, c.row)
	return row
}

// leastSeen is which share of a model's compute has to show in the times of some file. With less
// a small error of anything else would be taken for a large one of compute.
const leastSeen = 0.3

// cover finds the models whose compute hides behind what they stream in every file. How long
// these compute is then taken from their shapes, and what is fitted for them
// only makes up for what their times have besides.
func (f *fitting) cover(all []*parameter, at func(*parameter) float64) {
	for _, p := range all {
		if p.what != compute {
			continue
		}
		if _, ok := f.shapes[p.model]; !ok {
			continue
		}
		p.covered = true
		seen := 0.0
		for i := range f.data.Files {
			file := &f.data.Files[i]
			if file.Model != p.model {
				continue
			}
			// All parameters are free here, each in its place.
			x, loose := make([]float64, len(all)), make([]*parameter, len(all))
			mine := 0
			for k, q := range all {
				open := *q
				open.kept, open.covered = false, false
				loose[k], x[k] = &open, at(q)
				if q == p {
					mine = k
				}
			}
			s := f.streamed(file, loose)
			_, row := s.add(x, 0, make([]float64, len(all)))
			seen = math.Max(seen, 1+row[mine])
		}
		p.covered = seen < leastSeen
	}
}
