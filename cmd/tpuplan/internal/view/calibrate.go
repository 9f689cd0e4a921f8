package view

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/cost"
)

// Calibration is what was fitted, how sure each number is, and how well the
// samples follow it. The first line is the answer.
func Calibration(c *cost.Calibration, s Style) []byte {
	var b bytes.Buffer
	head := "link"
	if c.Link != "" {
		head += " " + c.Link
	}
	if c.Device != "" {
		head = c.Device + ": " + head
	}
	var sources []string
	for _, n := range []struct {
		word string
		n    int
	}{{"measured", c.Samples.Measured}, {"imported", c.Samples.Imported}, {"simulated", c.Samples.Simulated}} {
		if n.n > 0 {
			sources = append(sources, fmt.Sprintf("%d %s", n.n, n.word))
		}
	}
	line := fmt.Sprintf("%s %s, %s, %s samples", head, megabytes(c.Load.Value)+builtIn(&c.Load), count(len(c.Models), "model"), strings.Join(sources, " and "))
	b.WriteString(s.bold(shorten(line, s.Width)) + "\n\n")

	t := table{columns: []column{left("NUMBER"), right("VALUE"), right("95 % INTERVAL"), {title: "SOURCE", fixed: true}, right("SAMPLES")}}
	t.estimate("rate of the link", &c.Load, 1e-3, "MB/s")
	if c.Stream.Value != c.Load.Value {
		t.estimate("rate of streaming", &c.Stream, 1e-3, "MB/s")
	}
	if c.Host != nil {
		t.estimate("host, of every call", c.Host, 1, "ms")
	}
	if c.Output != nil {
		t.estimate("output", c.Output, 1e6, "ms/MB")
	}
	t.estimate("overhead of a load", &c.Over, 1, "ms")
	t.estimate("overlap of a load", &c.Overlap, 1, "ms")
	for i := range c.Models {
		t.estimate(c.Models[i].Name+": compute and host", &c.Models[i].Compute, 1, "ms")
		for _, n := range []struct {
			name string
			of   *cost.Estimate
		}{{"compute by its shapes", c.Models[i].Factor}, {"passes predicted", c.Models[i].Passes}} {
			if n.of != nil {
				t.estimate(c.Models[i].Name+": "+n.name, n.of, 1, "times")
			}
		}
		if m := &c.Models[i]; m.Slope.Known() || len(m.Slope.With) > 0 {
			t.estimate(m.Name+": slope", &m.Slope, 1<<20, "ms/MiB")
		}
	}
	t.write(&b, s, 0)

	b.WriteString("\ncalls, times in ms\n")
	calls := table{columns: []column{left("MODEL"), left("RUN"), {title: "KIND", fixed: true}, right("SAMPLES"), right("OUTLIERS"), right("TYPICAL"), right("FITTED"), right("OFF BY")}}
	for i := range c.Residuals.Calls {
		on := &c.Residuals.Calls[i]
		name := on.Model
		if on.File != "" && on.File != on.Model+"_edgetpu.tflite" {
			name += " (" + on.File + ")"
		}
		off := on.FittedMS/on.MS - 1
		calls.add(name, on.Run, on.Kind, fmt.Sprint(on.Samples), fmt.Sprint(on.Outliers), digits(on.MS), digits(on.FittedMS), fmt.Sprintf("%+.1f %%", 100*off))
	}
	if !slices.ContainsFunc(c.Residuals.Calls, func(on cost.CalibratedOn) bool { return on.Run != c.Residuals.Calls[0].Run }) {
		calls.drop(1)
	}
	calls.write(&b, s, 2)

	b.WriteString("\n")
	r := &c.Residuals
	text := fmt.Sprintf("off by %.1f %% in the middle, %.1f %% at worst", r.MedianPercent, r.WorstPercent)
	if r.NoisePercent > 0 {
		text += fmt.Sprintf("; repeats scatter by %.1f %%", r.NoisePercent)
	}
	if r.Free > 0 {
		text += fmt.Sprintf("; %s of calls more than numbers fitted", count(r.Free, "kind"))
	}
	paragraph(&b, s, "fit: ", text)
	if n := &c.Samples; n.Unused+n.Outliers > 0 {
		paragraph(&b, s, "     ", fmt.Sprintf("%d samples used, %d of them outliers; %d not used", n.Used, n.Outliers, n.Unused))
	}
	for _, w := range c.Warnings {
		paragraph(&b, s, "warning: ", w)
	}
	return b.Bytes()
}

// estimate adds a number in a unit, of which the file's has so many.
func (t *table) estimate(name string, e *cost.Estimate, units float64, unit string) {
	value, samples := digits(e.Value*units)+" "+unit, ""
	if e.Samples > 0 {
		samples = fmt.Sprint(e.Samples)
	}
	interval := ""
	switch {
	case e.Low != nil && e.High != nil:
		interval = closer(*e.Low*units, *e.High*units) + " to " + closer(*e.High*units, *e.Low*units)
	case e.Low != nil:
		interval = "from " + digits(*e.Low*units)
	case e.High != nil:
		interval = "up to " + digits(*e.High*units)
	}
	source := e.Source
	if !e.Known() {
		source = cost.SourceModelled
		if e.Value == 0 && strings.HasSuffix(name, ": compute") {
			value, source = "-", "not known"
		}
	}
	t.add(name, value, interval, source, samples)
}

// closer prints one end of an interval, with more digits where the ends would look alike.
func closer(x, other float64) string {
	if text := digits(x); text != digits(other) || x == other {
		return text
	}
	decimals := int(math.Ceil(1 - math.Log10(math.Abs(x-other))))
	return fmt.Sprintf("%.*f", max(0, min(decimals, 9)), x)
}

// drop leaves out a column.
func (t *table) drop(at int) {
	t.columns = slices.Delete(t.columns, at, at+1)
	for i := range t.rows {
		t.rows[i] = slices.Delete(t.rows[i], at, at+1)
	}
}

// megabytes prints a rate in bytes per ms.
func megabytes(perMS float64) string { return digits(perMS/1000) + " MB/s" }

func builtIn(e *cost.Estimate) string {
	if e.Known() {
		return ""
	}
	return " (built in)"
}

// calibration says what a plan took from a calibration; "" without one.
func (p *Planned) calibration() string {
	c := p.Resolved.Calibrated
	if c == nil {
		return ""
	}
	from := func(e *cost.Estimate) string {
		if e.Known() {
			return " " + e.Source
		}
		return " built in"
	}
	return fmt.Sprintf("calibration %s: link %s%s, overhead of a load %s%s, overlap %s%s",
		c.File, megabytes(c.Load.Value), from(&c.Load), ms(c.Over.Value), from(&c.Over), ms(c.Overlap.Value), from(&c.Overlap))
}
