package view

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/timing"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/plans"
)

// PredictedCalls is how long calls of the models of a prediction take, of which nothing was timed.
type PredictedCalls struct {
	Link    cost.Link
	Runtime string          // that clocks a USB device, "max" or "std"; empty for others
	Models  []PredictedCall // as in the prediction
}

// PredictedCall is a call of one model.
type PredictedCall struct {
	Called   bool // there is a model to call, if only on the CPU
	OnTPU    bool // some of it runs on the Edge TPU
	Times    timing.Times
	Ops      []timing.OpTimes
	Traffic  cost.Traffic
	Measured bool // the instruction bytes were found in a compiled file
}

// callTimesJSON are the times of a model. An upper end that is not known is absent.
type callTimesJSON struct {
	*tpuJSON
	*cpuJSON
}

type tpuJSON struct {
	SteadyMS          number   `json:"steady_ms"`
	SteadyLowMS       number   `json:"steady_low_ms"`
	SteadyHighMS      *number  `json:"steady_high_ms,omitempty"`
	ColdMS            number   `json:"cold_ms"`
	ColdLowMS         number   `json:"cold_low_ms"`
	ColdHighMS        *number  `json:"cold_high_ms,omitempty"`
	HostMS            number   `json:"host_ms"`
	TransferMS        number   `json:"transfer_ms"`
	ComputeMS         number   `json:"compute_ms"`
	ComputeLowMS      number   `json:"compute_low_ms"`
	ComputeHighMS     *number  `json:"compute_high_ms,omitempty"`
	ComputeSource     string   `json:"compute_source"`
	StreamingMS       number   `json:"streaming_ms"`
	StreamingLowMS    number   `json:"streaming_low_ms"`
	StreamingHighMS   number   `json:"streaming_high_ms"`
	OutputMS          number   `json:"output_ms"`
	LoadMS            number   `json:"load_ms"`
	Reach             string   `json:"reach"`
	ReachBecause      []string `json:"reach_because"`
	Passes            *number  `json:"passes,omitempty"`
	PassesLow         *number  `json:"passes_low,omitempty"`
	PassesHigh        *number  `json:"passes_high,omitempty"`
	InstructionBytes  int64    `json:"instruction_bytes"`
	InstructionSource string   `json:"instruction_source"`
	InputBytes        int64    `json:"input_bytes"`
	OutputBytes       int64    `json:"output_bytes"`
}

type cpuJSON struct {
	CPULowMS   *number `json:"cpu_low_ms,omitempty"`
	CPUHighMS  *number `json:"cpu_high_ms,omitempty"`
	CPUOn      string  `json:"cpu_on,omitempty"`
	CPULacking int     `json:"cpu_lacking,omitempty"` // ops of which no figure is known
}

type opTimesJSON struct {
	ComputeMS   number `json:"compute_ms"`
	StreamingMS number `json:"streaming_ms"` // what streaming all of it adds, whether it is cached or not
}

// upper is the upper end of a range, nil where there is none.
func upper(r cost.Range) *number {
	if !r.Bounded() {
		return nil
	}
	high := number(r.High)
	return &high
}

func (c *PredictedCall) json(m *compile.Model) *callTimesJSON {
	if !c.Called {
		return nil
	}
	var out callTimesJSON
	t := &c.Times
	out.cpuJSON = cpuTimes(&t.CPU)
	if !c.OnTPU {
		return &out
	}
	out.tpuJSON = &tpuJSON{
		SteadyMS: number(t.Steady.Value), SteadyLowMS: number(t.Steady.Low), SteadyHighMS: upper(t.Steady),
		ColdMS: number(t.Cold.Value), ColdLowMS: number(t.Cold.Low), ColdHighMS: upper(t.Cold),
		HostMS: number(t.Host.Value), TransferMS: number(t.Transfer), OutputMS: number(t.Output), LoadMS: number(t.Load.Value),
		ComputeMS: number(t.Compute.Value), ComputeLowMS: number(t.Compute.Low), ComputeHighMS: upper(t.Compute), ComputeSource: plans.Modelled,
		StreamingMS: number(t.Stream.Value), StreamingLowMS: number(t.Stream.Low), StreamingHighMS: number(t.Stream.High),
		Reach: m.Timing.Reach.String(), ReachBecause: append([]string{}, m.Timing.Because...),
		InstructionBytes: c.Traffic.Instructions, InstructionSource: plans.Modelled, InputBytes: c.Traffic.Input, OutputBytes: c.Traffic.Output,
	}
	if c.Measured {
		out.InstructionSource = plans.Measured
	}
	if p := passes(m); p.Value > 1 {
		value, low, high := number(p.Value), number(p.Low), number(p.High)
		out.Passes, out.PassesLow, out.PassesHigh = &value, &low, &high
	}
	return &out
}

func (c *PredictedCall) opJSON(o *compile.OpInfo) *opTimesJSON {
	if !c.OnTPU || !o.Mapped {
		return nil
	}
	return &opTimesJSON{number(c.Ops[o.Index].Compute), number(c.Ops[o.Index].Stream)}
}

// passes is how often a call sends the parameters of those ops that it sends most often.
func passes(m *compile.Model) cost.Range {
	var most cost.Range
	for i := range m.Ops {
		if p := m.Ops[i].Passes; p.Value > most.Value {
			most = p
		}
	}
	return most
}

// write adds the calls to the table of a prediction.
func (c *PredictedCalls) write(b *bytes.Buffer, s Style, p *compile.Prediction) {
	if !slices.ContainsFunc(c.Models, func(x PredictedCall) bool { return x.Called }) {
		return // the compiler refuses all of them
	}
	b.WriteString("\n" + s.bold("a call over "+c.device()) + "\n")
	times := table{columns: []column{left("MODEL"), {title: "WARM (predicted)", fixed: true}, {title: "COLD (predicted)", fixed: true}, {title: "NET", fixed: true}}}
	terms := table{columns: []column{left("ms"), right("HOST"), right("SEND"), right("COMPUTE"), right("STREAM"), right("RECEIVE"), right("LOAD")}}
	for i := range c.Models {
		x, m := &c.Models[i], &p.Models[i]
		if !x.OnTPU {
			continue
		}
		t := &x.Times
		times.add(m.File, span(t.Steady), span(t.Cold), m.Model.Timing.Reach.String())
		terms.add(m.File, digits(t.Host.Value), digits(t.Transfer), digits(t.Compute.Value), digits(t.Stream.Value), digits(t.Output), digits(t.Load.Value))
	}
	if len(times.rows) > 0 {
		b.WriteString("\n")
		times.write(b, s, 0)
		b.WriteString("\n")
		terms.write(b, s, 0)
		text := "A warm call is the sum without LOAD, a cold one with it. SEND: instructions (" + c.instructions(p) +
			") and input; STREAM: what streaming adds to compute; RECEIVE: output."
		if c.Runtime == "max" {
			text += " With libedgetpu-std compute takes twice as long: --runtime" + glue + "std."
		}
		paragraph(b, s, "  ", text)
	}
	for i := range c.Models {
		c.Models[i].write(b, s, &p.Models[i])
	}
}

// device says over which link, and at which clock.
func (c *PredictedCalls) device() string {
	text := fmt.Sprintf("%s, %s MB/s", c.Link.Name, strconv.FormatFloat(c.Link.BytesPerMS/1000, 'f', -1, 64))
	switch c.Runtime {
	case "max":
		return text + ", clock 500 MHz (libedgetpu-max)"
	case "std":
		return text + ", clock 250 MHz (libedgetpu-std)"
	}
	return text + ", clock 500 MHz"
}

// instructions says where their bytes come from.
func (c *PredictedCalls) instructions(p *compile.Prediction) string {
	var measured, ruled []string
	for i := range c.Models {
		if x := &c.Models[i]; x.OnTPU && x.Measured {
			measured = append(measured, p.Models[i].File)
		} else if x.OnTPU {
			ruled = append(ruled, p.Models[i].File)
		}
	}
	switch {
	case len(measured) == 0:
		return "by rule, heuristic"
	case len(ruled) == 0:
		return "measured"
	}
	return "measured of " + strings.Join(measured, ", ") + "; else by rule, heuristic"
}

// write says of one model why its times are no surer, and what they leave out.
func (c *PredictedCall) write(b *bytes.Buffer, s Style, m *compile.Predicted) {
	if !c.Called {
		return
	}
	t := &c.Times
	var notes []string
	if c.OnTPU {
		if doubt := doubt(&m.Model.Timing); doubt != "" {
			notes = append(notes, doubt)
		}
		if p := passes(m.Model); p.Value > 1 {
			text := fmt.Sprintf("passes: what does not fit at once is computed in about %.0f passes (%.0f..%.0f, not certain)", p.Value, p.Low, p.High)
			if t.InPasses.High >= leastDifference {
				text += "; what of it is streamed is sent in each and adds " + span(t.InPasses)
			}
			notes = append(notes, text)
		}
	}
	if cpu := onCPU(&t.CPU); cpu != "" {
		besides := "besides "
		if !c.OnTPU {
			besides = ""
		}
		notes = append(notes, "CPU: "+besides+cpu)
	}
	if len(notes) == 0 {
		return
	}
	b.WriteString("\n" + Visible(m.File) + "\n")
	for _, note := range notes {
		label, text, _ := strings.Cut(note, ": ")
		paragraph(b, s, "  "+label+": ", text)
	}
}

// doubt says why a net's interval is wide; nothing of a familiar one.
func doubt(t *compile.Timing) string {
	because := strings.Join(t.Because, ", ")
	switch t.Reach {
	case cost.Unfamiliar:
		return "unfamiliar: unlike the nets that were timed: " + because
	case cost.Guess:
		return "guess: half to twice as long, as nobody published times of such nets: " + because
	case cost.LowerBound:
		return "lower bound: such nets took twice as long as predicted: " + because
	}
	return ""
}

// onCPU says what the CPU takes, as far as that is known; "" if nothing is left to it.
func onCPU(t *cost.CPUTime) string {
	lacking := ""
	if t.Lacking > 0 {
		lacking = count(t.Lacking, "op") + " of which no figure is known"
	}
	if !t.Known() {
		if t.Lacking == 0 {
			return ""
		}
		return count(t.Lacking, "op") + " on the CPU of which no figure is known"
	}
	figure := rough(t.LowMS, t.LowMS)
	if high := rough(t.HighMS, t.HighMS); high != figure {
		figure += " to " + high
	}
	text := fmt.Sprintf("about %s ms on the CPU (%s), a rough figure", figure, t.On)
	if lacking != "" {
		text += ", and " + lacking
	}
	return text
}

// span prints a predicted time with what it is expected within, "4.1 ms
// (3.2..5.5)", or "at least 10.2 ms" where there is no upper end.
func span(r cost.Range) string {
	if !r.Bounded() {
		return "at least " + rough(r.Low, r.Low) + " ms"
	}
	return fmt.Sprintf("%s ms (%s)", central(r.Value), ends(r))
}

// central prints a predicted time so that it does not contradict sums that are
// printed beside it.
func central(ms float64) string {
	if ms >= 20 {
		return digits(ms)
	}
	return rough(ms, ms)
}

// rough prints a time with as many digits as a prediction is worth, of which like has the order of magnitude.
func rough(ms, like float64) string {
	switch {
	case like < 1:
		return digits(ms)
	case like < 20:
		return strconv.FormatFloat(ms, 'f', 1, 64)
	}
	step := 1.0
	for like >= 100*step {
		step *= 10
	}
	return strconv.FormatFloat(math.Round(ms/step)*step, 'f', 0, 64)
}
