package accuracy

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/timing"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/internal/known"
)

// timed is a published time beside what is predicted of it.
type timed struct {
	*known.Timing
	predicted cost.Range // of a warm call, with what the CPU takes besides
	reach     cost.Reach
	assumed   string
	streams   bool // parameters that may be cached
	passes    bool // some of them in several passes
	cpu       bool // part of the net runs on the CPU
}

// off is by how much the prediction is longer, as a share of what was measured.
func (x *timed) off() float64 { return x.predicted.Value/x.MS - 1 }

// holds reports a measured time inside the printed interval.
func (x *timed) holds() bool { return x.predicted.Low <= x.MS && x.MS <= x.predicted.High }

// scored reports a row whose error says something of the formula: the net is the one
// that was timed, all of it runs on the Edge TPU, and its prediction is no lower bound.
func (x *timed) scored() bool { return x.Doubt == "" && !x.cpu && x.reach != cost.LowerBound }

// compareTimes predicts every published time whose net is at hand or can be built.
func (c *Comparison) compareTimes() error {
	list, err := known.Timings(c.dir)
	if err != nil {
		return err
	}
	without := map[string]int{}
	var reasons []string
	for i := range list {
		row := &list[i]
		if row.Net == nil {
			reason := row.Source + "\t" + row.Why
			if without[reason]++; without[reason] == 1 {
				reasons = append(reasons, reason)
			}
			continue
		}
		x, err := c.timing(row)
		if err != nil {
			return fmt.Errorf("timings.tsv:%d: %w", row.Line, err)
		}
		c.times = append(c.times, x)
	}
	t := newTable("source", ">rows", "why nothing is predicted")
	for _, reason := range reasons {
		source, why, _ := strings.Cut(reason, "\t")
		t.row(source, fmt.Sprint(without[reason]), why)
	}
	c.untimed.WriteString(t.String())
	return nil
}

// timing predicts a row: the net alone, compiled by the release that is assumed.
func (c *Comparison) timing(row *known.Timing) (*timed, error) {
	src, err := row.Net.Source(c.models())
	if err != nil {
		return nil, err
	}
	v, err := release(row.Release)
	if err != nil {
		return nil, err
	}
	link, err := cost.BuiltinLink(row.CostLink)
	if err != nil {
		return nil, err
	}
	m := compile.Analyze(src, compile.Settings{Version: v})
	split := compile.Allocate(v, m.Reserve.Rows, []*compile.Load{&m.Load})[0]
	times := timing.Shapes(m, link).Times(&split)
	x := &timed{Timing: row, predicted: times.Steady, reach: m.Timing.Reach, assumed: row.Net.Assumed, cpu: times.CPU.Known()}
	if x.cpu {
		x.predicted = x.predicted.Plus(cost.Range{Value: (times.CPU.LowMS + times.CPU.HighMS) / 2, Low: times.CPU.LowMS, High: times.CPU.HighMS})
	}
	for i, cached := range split.InCache {
		if !cached {
			x.streams = true
			x.passes = x.passes || m.Ops[m.Load.Parts[i].Op].Passes.Value > 1
		}
	}
	return x, nil
}

// timeScore is how a set of rows came out.
type timeScore struct {
	rows, scored, held int
	median, ninth      float64 // of the error without its sign
}

// timeScore scores the rows that are wanted.
func (c *Comparison) timeScore(want func(x *timed) bool) timeScore {
	var s timeScore
	var off []float64
	for _, x := range c.times {
		if !want(x) {
			continue
		}
		s.rows++
		if x.Doubt == "" && x.holds() {
			s.held++
		}
		if x.scored() {
			off = append(off, math.Abs(x.off()))
		}
	}
	if s.scored = len(off); s.scored > 0 {
		slices.Sort(off)
		s.median, s.ninth = quantile(off, 0.5), quantile(off, 0.9)
	}
	return s
}

// quantile of sorted numbers, between the two nearest.
func quantile(sorted []float64, share float64) float64 {
	at := share * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

var timeTitles = []string{"rows", "scored", "median error", "nine of ten within", "in the interval"}

func (s *timeScore) cells() []string {
	if s.scored == 0 {
		return []string{fmt.Sprint(s.rows), "0", "-", "-", fmt.Sprintf("%d", s.held)}
	}
	return []string{
		fmt.Sprint(s.rows), fmt.Sprint(s.scored), fmt.Sprintf("%.1f %%", 100*s.median), fmt.Sprintf("%.1f %%", 100*s.ninth),
		fmt.Sprintf("%d (%.0f %%)", s.held, 100*float64(s.held)/float64(s.rows)),
	}
}

// Sets of rows that the tables and the tests score.
func ofWholeNet(x *timed) bool { return !strings.HasPrefix(x.Source, "villarrubia") }
func fitStreams(x *timed) bool { return x.streams && !x.passes }

const convSweep = "villarrubia-conv"

// timesSection is the part of the document about times.
func (c *Comparison) timesSection(b *strings.Builder) {
	b.WriteString(`## Times of warm calls

Predicted from shapes alone, with the built-in constants of ` + "`cost`" + ` and the built-in figures of the link: no row was used to
calibrate it. The constants come from 60 public measurements, 13 families of nets on five kinds of hosts, of which the whole nets below are a
part; so for these the scores are no blind test. Left out family by family, half of them came out within 4.0 % and nine of ten within 13.6 %
(nets that are cached 4.7 and 12.7, nets that stream 3.3 and 13.3). The two sweeps were no part of that, but the sweep of convolutions is the evidence for what passes send.

- **Error**: predicted less measured, as a share of the measured time. **Scored** is a row whose net is surely the one that was timed, with
  all of it on the Edge TPU, and of which more than a lower bound is predicted.
- **In the interval**: of all rows, whatever the reason; a row whose time cannot be the net's counts as missed.
- Nets with a part on the CPU have its rough figure in the prediction, in the middle of its range.

`)
	titles := append([]string{"set"}, numbers(timeTitles...)...)
	t := newTable(titles...)
	show := func(name string, want func(x *timed) bool) {
		if s := c.timeScore(want); s.rows > 0 {
			t.row(append([]string{name}, s.cells()...)...)
		}
	}
	show("all rows", func(*timed) bool { return true })
	show("whole nets", ofWholeNet)
	show("whole nets that are cached", func(x *timed) bool { return ofWholeNet(x) && !x.streams })
	show("whole nets that stream", func(x *timed) bool { return ofWholeNet(x) && x.streams })
	show("sweep of fully connected nets, cached", func(x *timed) bool { return !ofWholeNet(x) && x.Source != convSweep && !x.streams })
	show("sweep of fully connected nets, streaming", func(x *timed) bool { return !ofWholeNet(x) && x.Source != convSweep && x.streams })
	show("sweep of convolutions, cached", func(x *timed) bool { return x.Source == convSweep && !x.streams })
	show("sweep of convolutions, streaming in passes", func(x *timed) bool { return x.Source == convSweep && x.passes })
	show("all that stream, in one pass", fitStreams)
	b.WriteString(t.String())
	for _, by := range []struct {
		title string
		of    func(x *timed) string
	}{{"host", func(x *timed) string { return x.Host }}, {"family", func(x *timed) string { return x.Family }}, {"reach", func(x *timed) string { return x.reach.String() }}} {
		t = newTable(append([]string{"by " + by.title}, numbers(timeTitles...)...)...)
		var names []string
		for _, x := range c.times {
			names = append(names, by.of(x))
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			show(name, func(x *timed) bool { return by.of(x) == name })
		}
		b.WriteString(t.String())
	}
	b.WriteString("Every row, in ms. A time that cannot be the listed net's says why.\n\n")
	t = newTable("net", "host", ">measured", ">predicted", ">interval", ">error", "note")
	sorted := slices.Clone(c.times)
	slices.SortStableFunc(sorted, func(a, b *timed) int { return cmp.Compare(a.Source, b.Source) })
	for _, x := range sorted {
		t.row(x.Model, x.Host, fmt.Sprintf("%.4g", x.MS), fmt.Sprintf("%.4g", x.predicted.Value), x.interval(), x.error(), x.note())
	}
	b.WriteString(t.String())
	b.WriteString("Rows without a prediction:\n\n" + c.untimed.String())
}

func (x *timed) interval() string {
	if !x.predicted.Bounded() {
		return fmt.Sprintf("at least %.3g", x.predicted.Low)
	}
	return fmt.Sprintf("%.3g..%.3g", x.predicted.Low, x.predicted.High)
}

func (x *timed) error() string {
	text := fmt.Sprintf("%+.1f %%", 100*x.off())
	if !x.holds() {
		text += ", outside"
	}
	return text
}

func (x *timed) note() string {
	var notes []string
	if x.passes {
		notes = append(notes, "streams in passes")
	} else if x.streams {
		notes = append(notes, "streams")
	}
	if x.cpu {
		notes = append(notes, "with the CPU's part")
	}
	if x.reach != cost.Familiar {
		notes = append(notes, x.reach.String())
	}
	for _, more := range []string{x.assumed, x.Doubt} {
		if more != "" {
			notes = append(notes, more)
		}
	}
	return strings.Join(notes, "; ")
}
