package plans

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/timing"
	"github.com/tpuplan/tpuplan/cost"
)

// A device of a plan may name a calibration: what timed calls taught about its
// link and its models. Its numbers stand in for the built-in ones, wherever
// the plan itself has no measurement.

// calibrationSchema names the format of a calibration; fields are only added to it.
const (
	calibrationSchemaPrefix = "tpuplan/calibration/v"
	calibrationVersion      = 1
)

// calibrationRecord is the record of what timed calls taught.
var calibrationRecord = record{
	name: "calibration", what: "a calibration", most: 64 << 20,
	again:  "run tpuplan calibrate again",
	forget: "use that tpuplan, or run tpuplan calibrate again",
}

type calibrationFile struct {
	Schema string `json:"schema"`
	*cost.Calibration
}

// CalibrationBytes is a calibration as it is written: the object
// tpuplan/calibration/v1, with a line feed at the end.
func CalibrationBytes(c *cost.Calibration) ([]byte, error) {
	data, err := encode(calibrationFile{fmt.Sprint(calibrationSchemaPrefix, calibrationVersion), c})
	if err != nil {
		return nil, fmt.Errorf("calibration: %w", err)
	}
	return data, nil
}

// ReadCalibration reads a calibration, and the hash of its file. Fields that
// this version does not know are ignored, a newer format is an error.
func ReadCalibration(path string) (*cost.Calibration, string, error) {
	data, err := calibrationRecord.read(path)
	if err != nil {
		return nil, "", err
	}
	c, err := ParseCalibration(path, data)
	sum := sha256.Sum256(data)
	return c, hex.EncodeToString(sum[:]), err
}

// ParseCalibration reads the contents of a calibration; the name is used in messages.
func ParseCalibration(name string, data []byte) (*cost.Calibration, error) {
	k := &calibrationRecord
	if err := k.check(name, data); err != nil {
		return nil, err
	}
	var head struct {
		Schema string `json:"schema"`
	}
	err := json.Unmarshal(data, &head)
	if err == nil {
		if err := compile.CheckSchema(head.Schema, calibrationSchemaPrefix, calibrationVersion); err != nil {
			return nil, k.schema(name, err)
		}
	}
	c := calibrationFile{Calibration: &cost.Calibration{}}
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err == nil {
		err = checkCalibration(c.Calibration)
	}
	if err != nil {
		return nil, k.bad(name, "not a calibration: %v", err)
	}
	return c.Calibration, nil
}

// mostMS and mostRate are far above any time of a call and any link; numbers
// beyond them, and infinities, have no meaning to the planner.
const (
	mostMS   = 1e9
	mostRate = 1e9
)

// checkCalibration tests what plans rely on: the file may have been edited.
func checkCalibration(c *cost.Calibration) error {
	number := func(name string, e *cost.Estimate, most float64) error {
		if !(e.Value >= 0 && e.Value <= most) {
			return fmt.Errorf("%s is %v", name, e.Value)
		}
		if e.Low != nil && !(*e.Low <= e.Value) || e.High != nil && !(*e.High >= e.Value) {
			return fmt.Errorf("%s is outside of its interval", name)
		}
		if !slices.Contains([]string{"measured", "imported", "simulated", cost.SourceModelled}, e.Source) {
			return fmt.Errorf("the source of %s is %s", name, quote(e.Source))
		}
		return nil
	}
	var errs []error
	if !(c.Load.Value >= 1 && c.Stream.Value >= 1) {
		errs = append(errs, errors.New("a rate is below a byte per ms"))
	}
	errs = append(errs,
		number("load_bytes_per_ms", &c.Load, mostRate), number("stream_bytes_per_ms", &c.Stream, mostRate),
		number("overhead_ms", &c.Over, mostMS), number("overlap_ms", &c.Overlap, mostMS))
	if c.Host != nil {
		errs = append(errs, number("host_ms", c.Host, mostMS))
	}
	if c.Output != nil {
		errs = append(errs, number("output_ms_per_byte", c.Output, mostMS))
	}
	names := map[string]bool{}
	for i := range c.Models {
		m := &c.Models[i]
		if m.Name == "" || names[m.Name] {
			errs = append(errs, fmt.Errorf("a model is called %s, which is no name or a second one", quote(m.Name)))
		}
		names[m.Name] = true
		errs = append(errs,
			number("compute_ms of model "+quote(m.Name), &m.Compute, mostMS),
			number("stream_slope_ms_per_byte of model "+quote(m.Name), &m.Slope, mostMS))
		for _, e := range []struct {
			name string
			of   *cost.Estimate
		}{{"compute_factor", m.Factor}, {"passes_factor", m.Passes}} {
			if e.of != nil {
				errs = append(errs, number(e.name+" of model "+quote(m.Name), e.of, mostMS))
			}
		}
		for _, f := range m.Files {
			if f.OutputBytes < 0 || f.OutputBytes > f.FixedBytes || f.CachedBytes < 0 || f.StreamedBytes < 0 || f.FixedBytes < 0 || f.LoadBytes < 0 ||
				max(f.CachedBytes, f.StreamedBytes, f.FixedBytes, f.LoadBytes) > math.MaxInt32 {
				errs = append(errs, fmt.Errorf("a file of model %s has impossible sizes", quote(m.Name)))
			}
		}
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Calibrated is the calibration of the plan's device.
type Calibrated struct {
	File   string // slash path as in the plan
	Path   string // the file as it was opened
	SHA256 string // of that file
	*cost.Calibration
	of []*cost.CalibratedModel // by the index of the plan's models; nil where the plan knows better, or nothing is known
}

// calibration reads what the device of a plan names, nil if it names none. The
// second result is the plan with the calibrated link.
func (p *Plan) calibration() (*Calibrated, *Plan, *Problem) {
	device := &p.Devices[0]
	if device.Calibration == "" {
		return nil, p, nil
	}
	path := p.local(device.Calibration)
	c, sum, err := ReadCalibration(path)
	if err != nil {
		problem := p.atCalibration(err.Error(), "make it with tpuplan calibrate -o "+device.Calibration)
		problem.Outside = true
		return nil, p, &problem
	}
	link := device.Link
	link = c.On(link)
	with := *p
	with.Devices = slices.Clone(p.Devices)
	with.Devices[0].Link = link
	return &Calibrated{File: device.Calibration, Path: path, SHA256: sum, Calibration: c, of: make([]*cost.CalibratedModel, len(p.Models))}, &with, nil
}

func (p *Plan) atCalibration(message, hint string) Problem {
	return p.problem([]any{"device", 0, "calibration"}, message, hint)
}

// calibrate gives the models the costs that were calibrated. Times in the plan
// itself win: they are of this model, on this device.
func (r *Resolved) calibrate(models []*resolving) {
	c := r.Calibrated
	if c == nil {
		return
	}
	if link := r.Plan.Devices[0].Link.Name; c.Link != "" && c.Link != link {
		r.Warnings = append(r.Warnings, r.Plan.atCalibration(fmt.Sprintf("the calibration was made for link %s, the device has %s", quote(c.Link), quote(link)), "the calibration's numbers are used"))
	}
	if is, was := cmp.Or(r.Plan.Devices[0].Runtime, "max"), cmp.Or(c.Runtime, "max"); is != was && !r.Plan.Devices[0].Link.PCIe() {
		r.Warnings = append(r.Warnings, r.Plan.atCalibration(fmt.Sprintf("the calibration was made with runtime %s, the device has %s: its compute times are those of the other clock", quote(was), quote(is)), "time the models again"))
	}
	for i, m := range models {
		if m.call.Measured { // its overhead and overlap are part of its rate
			continue
		}
		m.call.OverlapMS = c.Overlap.Value
		if m.file.Timing != nil {
			m.file.Timing.Overlap(c.Overlap.Value)
		}
		if m.model().SteadyMS != nil {
			continue
		}
		known := r.calibratedModel(m)
		if known == nil || !known.Compute.Known() {
			continue
		}
		c.of[i] = known
		if m.file.Timing == nil { // its own bytes, which are exact
			traffic := m.file.Compiled.Traffic
			if c.Output == nil { // like everything else, as when the compute was fitted
				traffic = cost.Traffic{Instructions: traffic.Instructions + traffic.Input + traffic.Output}
			}
			m.call.FixedMS = known.Compute.Value + traffic.MS(m.plan.Devices[0].Link)
			m.call.ComputeIncluded = true
			continue
		}
		m.calibrated(c, known, r.Version)
		r.Files[i].Timing = m.file.Timing
	}
}

// calibrated times a model by what timed calls of it taught.
func (m *resolving) calibrated(c *Calibrated, known *cost.CalibratedModel, v compile.Version) {
	// What was timed is taken to be compiled by the plan's release.
	a, timedFile := m.file.Analysis, &known.Files[0]
	program := cost.Program{Ops: a.TPUOps, Compiler16: !m.plan.Compiler.Version.Sequential(), Softmax: a.Timing.Softmax}
	timed := program.InstructionBytes()
	program.Compiler16 = !v.Sequential()
	// Output is as it was counted when the compute was fitted: in older calibrations like everything else.
	traffic := cost.Traffic{}
	if c.Output != nil {
		traffic.Output = timedFile.OutputBytes
	}
	traffic.Instructions = max(0, timedFile.FixedBytes-traffic.Output+program.InstructionBytes()-timed) // and the input
	m.file.Timing = timing.New(a, m.plan.Devices[0].Link, traffic, timing.LoadBytes(m.file.Facts))
	m.file.Timing.Calibrate(timing.Calibration{
		ComputeMS: rangeOf(&known.Compute), Passes: passesOf(known), SlopeMS: known.Slope.Value, OverlapMS: c.Overlap.Value,
	})
	m.call, m.stream = m.file.Timing.Cost(timing.Vary{})
}

// rangeOf is an estimate and its interval, which is the number itself where samples left it open.
func rangeOf(e *cost.Estimate) cost.Range {
	r := cost.Exactly(e.Value)
	if e.Low != nil {
		r.Low = *e.Low
	}
	if e.High != nil {
		r.High = *e.High
	}
	return r
}

// passesOf is how often the predicted passes were seen; nil if no sample told.
func passesOf(m *cost.CalibratedModel) *cost.Range {
	if m.Passes == nil || !m.Passes.Known() {
		return nil
	}
	r := rangeOf(m.Passes)
	return &r
}

// calibratedModel finds a model of the plan in the calibration: by the hash of
// its file, else by its name if that file has the same parameters.
func (r *Resolved) calibratedModel(m *resolving) *cost.CalibratedModel {
	known := r.Calibrated.Model(m.file.Name, m.file.SHA256)
	if known == nil || len(known.Files) == 0 {
		return nil
	}
	timed := func(f cost.CalibratedFile) bool { return f.SHA256 == m.file.SHA256 }
	if known.SourceSHA256 == m.file.SHA256 || slices.ContainsFunc(known.Files, timed) {
		return known
	}
	was := known.Files[0].CachedBytes + known.Files[0].StreamedBytes
	if is := m.file.Analysis.Load.Bytes(); is != was {
		r.Warnings = append(r.Warnings, r.Plan.atCalibration(
			fmt.Sprintf("model %s: a file with %d bytes of parameters was timed under this name, the plan's has %d; its compute time is not used", quote(m.file.Name), was, is),
			"time this file; tpuplan calibrate --plan notes which file of the plan was timed"))
		return nil
	}
	return known
}

// Link is the link of a device as it is planned with: the plan's, or with the
// numbers of a calibration.
func (r *Resolved) Link(device int) cost.Link {
	link := r.Plan.Devices[device].Link
	if r.Calibrated != nil {
		link = r.Calibrated.On(link)
	}
	return link
}

// streamingKnown reports whether samples told what streaming costs a model (index).
func (r *Resolved) streamingKnown(model int) bool {
	if r.Calibrated == nil || r.Calibrated.of[model] == nil {
		return false
	}
	known := r.Calibrated.of[model]
	return known.Slope.Known() || known.Passes != nil && known.Passes.Known()
}

// TimeSources says where the numbers behind a model's times are from.
type TimeSources struct {
	Compute  string `json:"compute"` // modelled: it is left out
	Rate     string `json:"rate"`    // of its loads and its streaming
	Overhead string `json:"overhead"`
	Overlap  string `json:"overlap"`
	Slope    string `json:"stream_slope"` // modelled: streaming takes no longer than its transfer
}

// Sources says where the numbers behind the times of a model (index) are from,
// and Source sums it up: the least real of what they rest on, or modelled
// where compute is left out.
func (r *Resolved) Sources(model int) TimeSources {
	s := TimeSources{cost.SourceModelled, cost.SourceModelled, cost.SourceModelled, cost.SourceModelled, cost.SourceModelled}
	if c := r.Calibrated; c != nil {
		s.Rate, s.Overhead, s.Overlap = c.Load.Source, c.Over.Source, c.Overlap.Source
		if known := c.of[model]; known != nil {
			s.Compute, s.Slope = known.Compute.Source, known.Slope.Source
		}
	}
	if r.Plan.Models[model].SteadyMS != nil {
		s.Compute = Measured
	}
	if r.Plan.Models[model].ColdMS != nil {
		s.Rate, s.Overhead, s.Overlap = Measured, Measured, Measured
	}
	return s
}

// Source is one word for [Resolved.Sources].
func (r *Resolved) Source(model int) string {
	s := r.Sources(model)
	if s.Compute == cost.SourceModelled {
		return cost.SourceModelled
	}
	for _, word := range []string{"simulated", "imported"} {
		if slices.Contains([]string{s.Compute, s.Rate, s.Overhead, s.Overlap, s.Slope}, word) {
			return word
		}
	}
	return s.Compute
}

func (c *Calibrated) locked() *LockedCalibration {
	if c == nil {
		return nil
	}
	return &LockedCalibration{
		File: c.File, SHA256: c.SHA256, OverlapMS: Number(c.Overlap.Value),
		RateSource: c.Load.Source, OverheadSource: c.Over.Source, OverlapSource: c.Overlap.Source,
	}
}
