package plans

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/compile/timing"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/tflite"
)

// Options override what a plan says.
type Options struct {
	Version *compile.Version // another compiler version
	Command []string         // another compiler command; it changes no prediction and no lock
	// Facts are what real compiles taught, as [ReadFacts] reads them from
	// [FactsPath]; nil if there are none. What the plan itself names comes before them.
	Facts *compile.Facts
}

// Resolved is a plan together with what its models are.
type Resolved struct {
	Plan     *Plan
	Version  compile.Version // that is planned for: the option, else the plan's
	Command  []string        // that starts the compiler here: the option, else the plan's
	Problem  *planner.Problem
	Files    []ModelFile    // in the order of Plan.Models
	Facts    *compile.Facts // those of the options with those that the plan names
	Warnings []Problem      // the plan's and those of its models, sorted by place
	// Calibrated is what was timed on the plan's device, nil if it names nothing.
	Calibrated *Calibrated
	shared     []sharedLayers
}

// ModelFile is what is known of one model of the plan.
type ModelFile struct {
	Name     string
	Path     string // the file as it was opened
	SHA256   string // hex
	Bytes    int64  // size of the file
	Analysis *compile.Model
	Reserve  compile.Reserve     // by the plan's evidence, else by facts, else by the formula
	Facts    *compile.ModelFacts // what real compiles by the version planned for taught; nil if nothing
	Compiled *CompiledFile       // of a model that is compiled already, else nil
	// Hashes of the files that the plan names as evidence, "" without.
	LogSHA256, CompiledSHA256 string
	// Timing says how long calls take, for any split; nil for a model that is compiled already.
	Timing *timing.Model
}

// InstructionsMeasured reports whether the instruction bytes of a call were
// read from a compiled file.
func (f *ModelFile) InstructionsMeasured() bool {
	return f.Compiled != nil || f.Facts != nil && f.Facts.InstructionBytes != nil
}

// sharedLayers are two models of which some layers have the same constants.
type sharedLayers struct {
	a, b   int // indexes of models, a < b
	layers int // how many; 0 if the whole files are equal
}

// Resolve reads the models of a plan and builds the problem to solve. Bad
// models, and evidence that contradicts them, come as [Problems], all at once;
// the only other error is that of the context.
func Resolve(ctx context.Context, plan *Plan, opts Options) (*Resolved, error) {
	r := &Resolved{Plan: plan, Version: plan.Compiler.Version, Command: plan.Compiler.Command, Warnings: slices.Clone(plan.Warnings)}
	if opts.Version != nil {
		r.Version = *opts.Version
	}
	if len(opts.Command) > 0 {
		r.Command = opts.Command
	}
	problems := plan.incomplete()
	if len(problems) > 0 {
		return nil, problems
	}
	if p := plan.checkOutDir(); p != nil {
		problems = append(problems, *p)
	}
	calibrated, calibratedPlan, problem := plan.calibration()
	if r.Calibrated = calibrated; problem != nil {
		problems = append(problems, *problem)
	}
	models := make([]*resolving, len(plan.Models))
	// A few at a time: every model is held in memory only while it is analysed.
	limit := make(chan struct{}, min(4, runtime.GOMAXPROCS(0)))
	var running sync.WaitGroup
	for i := range plan.Models {
		models[i] = &resolving{plan: calibratedPlan, index: i, version: r.Version}
		running.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			if ctx.Err() == nil {
				models[i].read()
			}
		})
	}
	running.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	collect := func() error {
		for _, m := range models {
			problems = append(problems, m.problems...)
			r.Warnings = append(r.Warnings, m.warnings...)
			m.problems, m.warnings = nil, nil
		}
		return problems.err()
	}
	r.Facts = learn(models, opts.Facts)
	if err := collect(); err != nil {
		return nil, err
	}
	for _, m := range models {
		if m.file.Compiled == nil {
			m.apply(r.Facts)
		}
	}
	narrow(models, r.Facts)
	for _, m := range models {
		if m.file.Compiled == nil {
			m.conclude()
		}
		r.Files = append(r.Files, m.file)
	}
	problems = append(problems, overwritten(models)...)
	if err := collect(); err != nil {
		return nil, err
	}
	if !r.Version.Sequential() {
		r.shared = findShared(models)
	}
	r.calibrate(models)
	r.Problem = &planner.Problem{Version: r.Version, Objective: plan.Objective, Known: knownOfCompiled(models)}
	for _, d := range plan.Devices {
		r.Problem.Devices = append(r.Problem.Devices, planner.Device{Name: d.Name})
	}
	shares := plan.shares()
	index := map[string]int{}
	for i, m := range plan.Models {
		index[m.Name] = i
	}
	for i, m := range models {
		var before []int
		for _, name := range plan.Models[i].OrderBefore {
			before = append(before, index[name])
		}
		r.Problem.Models = append(r.Problem.Models, planner.Model{
			Name: plan.Models[i].Name, Share: shares[i], Load: m.file.Analysis.Load, Reserved: m.file.Reserve.Rows,
			Call: m.call, StreamMS: m.stream, Group: plan.Models[i].Group, Before: before,
		})
		if m.file.Compiled != nil {
			last := &r.Problem.Models[i]
			last.Compiled, last.Group = true, m.label()
		}
	}
	r.Problem.Known = append(r.Problem.Known, r.known(models)...)
	Problems(r.Warnings).sort()
	return r, nil
}

// incomplete lists what keeps a plan that a program filled in from being
// resolved. Plans from files have passed stricter checks.
func (p *Plan) incomplete() Problems {
	var problems Problems
	add := func(format string, args ...any) {
		problems = append(problems, Problem{File: p.Path, Message: fmt.Sprintf(format, args...)})
	}
	if len(p.Devices) != 1 || len(p.Models) == 0 {
		add("the plan has %d devices and %d models, want one device and at least one model", len(p.Devices), len(p.Models))
	}
	names := map[string]bool{}
	for _, m := range p.Models {
		if names[m.Name] {
			add("two models are called %s", quote(m.Name))
		}
		names[m.Name] = true
		if err := positive(m.Calls); err != nil {
			add("model %s: calls: %v", quote(m.Name), err)
		}
	}
	for _, m := range p.Models {
		for _, name := range m.OrderBefore {
			if !names[name] || name == m.Name {
				add("model %s: it cannot come before %s", quote(m.Name), quote(name))
			}
		}
	}
	return problems
}

// shares are the models' shares of all calls. They are summed in the order of
// names, so that the order of the file does not change a bit of them.
func (p *Plan) shares() []float64 {
	byName := make([]int, len(p.Models))
	for i := range byName {
		byName[i] = i
	}
	slices.SortFunc(byName, func(a, b int) int { return cmp.Compare(p.Models[a].Name, p.Models[b].Name) })
	var total float64
	for _, i := range byName {
		total += p.Models[i].Calls
	}
	shares := make([]float64, len(p.Models))
	for i, m := range p.Models {
		shares[i] = m.Calls / total
	}
	return shares
}

// checkOutDir refuses an output folder that cannot become one.
func (p *Plan) checkOutDir() *Problem {
	// Some part of the path may not exist yet, but none may be a file.
	for dir := p.local(p.Compiler.OutDir); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			problem := p.problem([]any{"compiler", "out_dir"}, fmt.Sprintf("out_dir %s: %s is a file, not a folder", quote(p.Compiler.OutDir), dir), "rename it or change out_dir")
			problem.Outside = true
			return &problem
		}
		if err == nil || dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// LocalPath is the path under which a file is opened that a plan, a lock or a run in a
// folder names by a slash path.
func LocalPath(dir, slashPath string) string {
	path := filepath.FromSlash(slashPath)
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// local is the path under which a file of the plan is opened.
func (p *Plan) local(slashPath string) string { return LocalPath(p.Dir, slashPath) }

// resolving is one model on its way from file to cost.
type resolving struct {
	plan     *Plan
	index    int
	version  compile.Version
	file     ModelFile
	measured *compile.Model      // the analysis for the plan's own version, that evidence in figures is about
	known    *compile.Facts      // all that is known
	own      *compile.Facts      // that the plan's compiled file taught
	applied  compile.Applied     // to the analysis that is planned with
	facts    *compile.ModelFacts // of measured
	reserve  compile.Reserve     // of measured
	token    uint64              // of the compiled file of own
	call     cost.Call
	stream   []float64 // what streaming each part adds to a call, in ms
	problems Problems
	warnings []Problem
}

func (m *resolving) model() *Model { return &m.plan.Models[m.index] }

// at makes a problem at one key of the model.
func (m *resolving) at(key, message, hint string) Problem {
	return m.plan.problem([]any{"model", m.index, key}, fmt.Sprintf("model %s: %s", quote(m.model().Name), message), hint)
}

// refuse adds a problem whose cause is the model's file.
func (m *resolving) refuse(message, hint string) {
	p := m.at("file", message, hint)
	p.Outside = true
	m.problems = append(m.problems, p)
}

func (m *resolving) warn(key, message, hint string) {
	m.warnings = append(m.warnings, m.at(key, message, hint))
}

func (m *resolving) settings(v compile.Version) compile.Settings {
	return compile.Settings{Version: v, MinRuntime: m.plan.Compiler.MinRuntime, AllRegions: m.plan.Compiler.AllRegions}
}

func (m *resolving) read() {
	m.file.Name, m.file.Path = m.model().Name, m.plan.local(m.model().File)
	f, err := tflite.Open(m.file.Path)
	if err != nil {
		m.refuse(err.Error(), "")
		return
	}
	if f.Kind() == tflite.KindCompiled {
		m.compiled(f)
		return
	}
	src, err := f.Source()
	if err != nil {
		m.refuse(err.Error(), "")
		return
	}
	m.file.SHA256, m.file.Bytes = f.SHA256(), f.Size()
	m.analyze(src)
}

func (m *resolving) analyze(src *tflite.Source) {
	a := compile.Analyze(src, m.settings(m.version))
	a.Load.Content = m.file.SHA256
	m.file.Analysis, m.file.Reserve = a, a.Reserve
	if a.Failure != nil {
		m.refuse(fmt.Sprintf("%s: edgetpu_compiler %s says: %s", m.file.Path, m.version, a.Failure.Text), failureHint(a.Failure.Kind))
		return
	}
	model := m.model()
	m.measured = a
	if m.version != m.plan.Compiler.Version && (model.Available != nil || model.SteadyMS != nil || model.Compiled != "") {
		// What was measured was measured with the plan's version.
		m.measured = compile.Analyze(src, m.settings(m.plan.Compiler.Version))
		m.measured.Load.Content = m.file.SHA256
	}
	if model.Compiled != "" {
		m.readCompiled(src)
	}
}

// apply puts in what is known of the model.
func (m *resolving) apply(facts *compile.Facts) {
	m.known = facts
	m.applied = facts.Apply(m.file.Analysis)
	m.file.Reserve, m.file.Facts = m.applied.Reserve, m.applied.Facts
	m.reserve, m.facts = m.applied.Reserve, m.applied.Facts
	if m.measured != m.file.Analysis {
		of := facts.Apply(m.measured)
		m.reserve, m.facts = of.Reserve, of.Facts
	}
	model := m.model()
	if model.Available == nil {
		return
	}
	r, err := compile.ReserveFromAvailable(*model.Available, m.measured.Reserve, compile.FromMeasurement)
	if err != nil {
		m.problems = append(m.problems, m.at("available", err.Error(), ""))
		return
	}
	if m.facts != nil {
		if size, ok := m.facts.Capacity(); ok && (size.High < model.Available.Low || size.Low > model.Available.High) {
			m.warn("available", fmt.Sprintf("available is %s, but a compile printed %s; the plan counts", model.Available.Text, size.Text), "leave it out to go by the compile")
		}
	}
	m.reserve = r
	if m.measured == m.file.Analysis {
		m.file.Reserve = r
	} else {
		m.warn("available", fmt.Sprintf("available was printed by compiler %s and is not used for %s", m.plan.Compiler.Version, m.version), "")
	}
}

// conclude says what is doubtful and what calls cost.
func (m *resolving) conclude() {
	if len(m.problems) > 0 {
		return
	}
	if m.measured == m.file.Analysis {
		m.reserve = m.file.Reserve
	}
	m.doubts(m.file.Analysis)
	m.cost()
}

func failureHint(kind string) string {
	switch kind {
	case "not_quantized":
		return "convert it with full integer quantization, inputs and outputs included"
	case "zero_subgraphs":
		return "tpuplan inspect shows why each operation stays on the CPU"
	}
	return ""
}

// doubts warns of what makes a prediction less sure.
func (m *resolving) doubts(a *compile.Model) {
	if a.CPUOps > 0 {
		hint := "tpuplan inspect shows which and why"
		m.warn("file", fmt.Sprintf("%d of %d operations stay on the CPU; the plan counts the part on the Edge TPU", a.CPUOps, len(a.Ops)), hint)
	}
	sized, guessed := map[string]int{}, map[string]int{}
	var names []string // of ops that are guessed, in the model's order
	for _, op := range a.Ops {
		if !op.Mapped {
			continue
		}
		sized[op.Name]++
		if op.Certainty >= report.Heuristic {
			if guessed[op.Name]++; guessed[op.Name] == 1 {
				names = append(names, op.Name)
			}
		}
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%d of %d %s", guessed[name], sized[name], name)
	}
	switch {
	case len(names) > 0:
		m.warn("file", "heuristic: no proven rule gives the parameter sizes of "+strings.Join(names, ", "), "")
	case a.Certainty >= report.Heuristic:
		m.warn("file", a.Certainty.String()+": no proven rule covers this model", "")
	}
	if others := m.applied.Remapped; len(others) > 0 {
		texts := make([]string, len(others))
		for i, o := range others {
			texts[i] = fmt.Sprintf("%d of %s, not %d", o.Measured, o.Op, o.Predicted)
		}
		m.warn("file", "a real compile put other operations on the Edge TPU than predicted: "+strings.Join(texts, "; "), "")
	}
	r := m.file.Reserve
	if r.Estimate() {
		reason := "no rule for its reserved rows is proven"
		if !r.Fits {
			reason = "its activations do not fit on chip"
		}
		text := room(r.High)
		if other := room(r.Low); other != text {
			text += " to " + other
		}
		m.warn("file", fmt.Sprintf("%s: the room for parameters is an estimate, %s", reason, text),
			`one real compile of it alone settles it: tpuplan compile keeps what it prints, or put that into available, such as "6.91MiB"`)
	}
}

// room is the memory for parameters when rows are reserved.
func room(rows int) string {
	return report.FormatSize(int64(compile.PoolRows(rows)) * compile.RowBytes)
}

// traffic is what a warm call moves over the bus besides parameters, measured or predicted.
func (f *ModelFile) traffic() cost.Traffic {
	if c := f.Compiled; c != nil {
		return c.Traffic
	}
	return timing.Traffic(f.Analysis, f.Facts)
}

// cost sets how long calls of the model take. Times were measured with the
// version, and so the split, of measured.
func (m *resolving) cost() {
	link, model := m.plan.Devices[0].Link, m.model()
	m.file.Timing = timing.New(m.file.Analysis, link, m.file.traffic(), timing.LoadBytes(m.file.Facts))
	if model.SteadyMS != nil {
		// The split of the model compiled alone, by the version that its times are of.
		input := compile.Input{Model: m.measured, Reserve: m.reserve}
		alone := m.known.Predict(m.measured.Settings.Version, []compile.Input{input}).Models[0].Split
		of := timing.New(m.measured, link, timing.Traffic(m.measured, m.facts), timing.LoadBytes(m.facts))
		if err := m.file.Timing.Measure(m.timed(alone.Cached, alone.Streamed), of, &alone); err != nil {
			m.contradiction(err)
			return
		}
		m.oddities(link)
	}
	m.call, m.stream = m.file.Timing.Cost(timing.Vary{})
}

// How far measured times may be from what is expected before a mistake is likelier:
// another unit, another model, another link.
const (
	oddCompute = 4 // times
	oddLoad    = 3
)

// oddities warns of measured times that are possible, but odd.
func (m *resolving) oddities(link cost.Link) {
	x, model := m.file.Timing, m.model()
	if rate := x.Faster(); rate > 0 {
		m.warn("steady", fmt.Sprintf("steady is short for what is streamed with every call: the link has to carry %.4g MB/s, and is taken to carry %.4g", rate/1000, link.BytesPerMS/1000),
			"cold of a model, or a calibration, tells its rate")
	}
	switch f := x.Factor(); {
	case f == 0:
		m.warn("steady", "steady leaves nothing for compute: host, instructions, input, output and streaming alone are taken to last as long", "check the unit, the model and the link")
	case f > oddCompute || f < 1/float64(oddCompute):
		m.warn("steady", fmt.Sprintf("by steady the model computes %.3g times as long as its shapes say", f), "check the unit, the model and the link; a device that throttles, or another host's work, makes calls longer, too")
	}
	if model.ColdMS == nil {
		return
	}
	load, expected := *model.ColdMS-*model.SteadyMS, 0.0
	input := compile.Input{Model: m.measured, Reserve: m.reserve}
	alone := m.known.Predict(m.measured.Settings.Version, []compile.Input{input}).Models[0].Split
	call := cost.Call{BytesPerMS: link.BytesPerMS, LoadBytes: cost.LoadInstructionBytes, OverheadMS: link.OverheadMS}
	if expected = call.Load(alone.Cached); load > oddLoad*expected || load < expected/oddLoad {
		m.warn("cold", fmt.Sprintf("by cold a load takes %.3g ms, which the link is taken to do in %.3g", load, expected), "check the unit, the model and the link")
	}
}

// timed are the model's measured times; the bytes are its split when they were measured.
func (m *resolving) timed(cached, streamed int64) cost.Timed {
	t := cost.Timed{SteadyMS: *m.model().SteadyMS, Cached: cached, Streamed: streamed}
	if cold := m.model().ColdMS; cold != nil {
		t.ColdMS = *cold
	}
	return t
}

// contradiction says that measured times cannot be.
func (m *resolving) contradiction(err error) {
	key := "steady"
	if e := (*cost.EvidenceError)(nil); errors.As(err, &e) {
		key = e.Key
	}
	m.problems = append(m.problems, m.at(key, err.Error(), ""))
}

// findShared lists the pairs of models with layers in common.
func findShared(models []*resolving) []sharedLayers {
	var all []sharedLayers
	layers := make([]map[uint64]bool, len(models))
	for i, m := range models {
		layers[i] = map[uint64]bool{}
		for _, part := range m.file.Analysis.Load.Parts {
			if part.Weights != 0 {
				layers[i][part.Weights] = true
			}
		}
	}
	for b, second := range models {
		for a, first := range models[:b] {
			if first.file.SHA256 == second.file.SHA256 {
				all = append(all, sharedLayers{a: a, b: b})
				continue
			}
			n := 0
			for layer := range layers[b] {
				if layers[a][layer] {
					n++
				}
			}
			if n > 0 {
				all = append(all, sharedLayers{a, b, n})
			}
		}
	}
	return all
}

// WarningsOf are the warnings of the resolved plan and those that only hold
// for this answer, sorted by place. Compiler 16.0 treats equal layers of one
// invocation in a way that is known for equal files only.
func (r *Resolved) WarningsOf(answer *planner.Plan) []Problem {
	group := map[int]string{}
	for _, d := range answer.Devices {
		for _, g := range d.Groups {
			for _, i := range g.Models {
				group[i] = g.Name
			}
		}
	}
	all := slices.Clone(r.Warnings)
	for _, s := range r.shared {
		if group[s.a] != group[s.b] {
			continue
		}
		message := fmt.Sprintf("the same file as model %s of its group: compiler 16.0 gives all copies the share of the last", quote(r.Plan.Models[s.a].Name))
		if s.layers > 0 {
			shares := fmt.Sprintf("it shares %d layers", s.layers)
			if s.layers == 1 {
				shares = "it shares a layer"
			}
			message = fmt.Sprintf("%s with model %s of its group: compiler 16.0 may share out their memory differently", shares, quote(r.Plan.Models[s.a].Name))
		}
		all = append(all, r.Plan.problem([]any{"model", s.b, "file"}, fmt.Sprintf("model %s: %s", quote(r.Plan.Models[s.b].Name), message), ""))
	}
	Problems(all).sort()
	return all
}
