package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/emit"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/remote"
	"github.com/tpuplan/tpuplan/profile/simulator"
	"github.com/tpuplan/tpuplan/profile/validation"
	"github.com/tpuplan/tpuplan/tflite"
)

// Defaults of a validation.
const (
	validateCalls     = 300
	validatePasses    = 5
	validateTolerance = 10 // per cent
	maxValidateCalls  = 100_000
	maxValidatePasses = 1000
	// simulatedNoise is how much calls measured again on real hardware differ, in per cent.
	simulatedNoise = 1.6
	// fewCalls of a model say little about it.
	fewCalls = 8
)

const simulatorWay = "simulator"

// validatePrefix begins the names of sessions of validate.
const validatePrefix = "validate-"

func validateCommand(u *ui) *cli.Command {
	return &cli.Command{
		Name:      "validate",
		Usage:     "try a plan on the device, against what was predicted",
		ArgsUsage: "PLAN.lock.json",
		Description: `Makes calls of the plan's models on the device, drawn by the plan's rates, under
the plan, with all models separate and with all together as given, and compares
times with their prediction, and outputs among each other. Exit 3 if a time is
off by more than the tolerance, or if something is wrong; what, is named. It
ends with what that settles of the plan's assumptions.

The plan must be compiled. What else is compared needs files for measuring:

    tpuplan validate --emit make -o measure.mk plan.lock.json
    make -f measure.mk

Without them the plan alone is measured. Samples are appended to the file after
-o, one line each, as they are measured; --import takes them from there again.
For a board that nothing reaches, --export writes what to do there, and --import
takes what was measured there.`,
		Flags: slices.Concat(meansFlags(simulatorWay), []cli.Flag{
			&cli.StringFlag{Name: "device", Usage: "measure on `DEVICE`, a path or a number from 0, not on the first one"},
			&cli.StringFlag{Name: "tolerance", Value: strconv.Itoa(validateTolerance), Usage: "exit 3 if a time is off by more than `PCT` per cent (default 10)"},
			&cli.IntFlag{Name: "calls", Value: validateCalls, Usage: "make `N` calls in each pass (default 300)"},
			&cli.IntFlag{Name: "passes", Value: validatePasses, Usage: "make them `N` times under each arrangement (default 5; intervals need 3)"},
			&cli.IntFlag{Name: "seed", Value: 1, Usage: "draw other calls, orders and inputs: `N` from 0 on (default 1)"},
			&cli.DurationFlag{Name: "deadline", Value: profileDeadline, Usage: "give a device up that is silent for `D` (default 10s)"},
			&cli.StringFlag{Name: "import", Usage: "measure nothing, take the samples of the last validation in `FILE`"},
			&cli.StringFlag{Name: "export", Usage: "measure nothing, write the runs to `FILE` and beside it a script that does them"},
			&cli.StringFlag{Name: "emit", Usage: "measure nothing, write the compile commands of the files for measuring; `KIND` is make; needs -o"},
			&cli.StringFlag{Name: "o", Usage: "append samples to `FILE`, or write it with --emit; \"-\" is stdout, which then holds nothing else"},
			formatFlag("table", "json"),
		}),
		Action: func(c *cli.Context) error { return validatePlan(c, u) },
	}
}

// trial is a checked command line of validate.
type trial struct {
	lock, plan    string
	means         *means // nil: the simulator
	device        string
	tolerance     float64 // a share
	calls, passes int
	seed          uint64
	deadlineMS    float64
	imported      string
	export        string
	emit, output  string
	json          bool
}

func trialRequest(c *cli.Context, u *ui) (*trial, error) {
	r := &trial{
		device: c.String("device"), calls: c.Int("calls"), passes: c.Int("passes"), seed: uint64(c.Int("seed")),
		deadlineMS: float64(c.Duration("deadline").Nanoseconds()) / 1e6, imported: c.String("import"), export: c.String("export"),
		emit: c.String("emit"), output: c.String("o"), json: c.String("format") == "json",
	}
	if err := oneOf("--format", c.String("format"), "table", "json"); err != nil {
		return nil, err
	}
	var err error
	if r.means, err = meansOf(c, simulatorWay); err != nil {
		return nil, err
	}
	percent, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(c.String("tolerance"), "%")), 64)
	if err != nil || !(percent > 0 && percent <= 1000) {
		return nil, usageError("", "--tolerance is a number of per cent above 0, such as 10, not %q", c.String("tolerance"))
	}
	r.tolerance = percent / 100
	switch {
	case r.calls < 1 || r.calls > maxValidateCalls:
		return nil, usageError("", "--calls is a whole number from 1 to %d, not %d", maxValidateCalls, r.calls)
	case r.passes < 1 || r.passes > maxValidatePasses:
		return nil, usageError("", "--passes is a whole number from 1 to %d, not %d", maxValidatePasses, r.passes)
	case c.IsSet("import") && r.imported == "":
		return nil, usageError("", "the name of a file is empty")
	case c.IsSet("import") && (c.IsSet("with") || c.IsSet("host") || c.IsSet("python") || c.IsSet("device")):
		return nil, usageError("", "--import measures nothing: it excludes --with, --host, --python and --device")
	case c.IsSet("import") && r.output != "":
		return nil, usageError("", "the samples are in %s already: --import and -o exclude each other", r.imported)
	}
	if err := checkMeasuring(c, u); err != nil {
		return nil, err
	}
	if c.IsSet("export") {
		for _, other := range []string{"with", "host", "python", "import", "emit", "o", "format", "tolerance"} {
			if c.IsSet(other) {
				return nil, usageError("leave one of them out", "%s does not go with --export", dashes(other))
			}
		}
		if r.export == "" || r.export == "-" {
			return nil, usageError("such as run.json", "--export needs the name of a file")
		}
	}
	if err := wantArgs(c, "lock", 1, 1); err != nil {
		return nil, err
	}
	r.lock = c.Args().First()
	if filepath.Ext(r.lock) == ".toml" {
		return nil, usageError("run tpuplan validate "+emit.Quote(plans.LockPath(r.lock)), "%s is a plan, not a lock", r.lock)
	}
	r.plan = strings.TrimSuffix(r.lock, ".lock.json") + ".toml"
	return r, nil
}

func validatePlan(c *cli.Context, u *ui) error {
	r, err := trialRequest(c, u)
	if err != nil {
		return err
	}
	lock, resolved, err := r.read(c.Context)
	if err != nil {
		return interrupted(c.Context, err)
	}
	list, err := lock.Arrangements(resolved)
	if err != nil {
		return fmt.Errorf("%s: %w", r.lock, err)
	}
	if r.emit != "" {
		return r.emitMeasuring(u, lock, list, resolved)
	}
	v := &view.Validation{Resolved: resolved, Lock: filepath.ToSlash(r.lock), Seed: r.seed, Passes: r.passes, Arrangements: list, Build: r.build()}
	e, err := r.experiment(u, v, lock)
	if err != nil {
		return err
	}
	if r.export != "" {
		return r.exportTrial(c, u, v, e)
	}
	samples, err := r.samples(c.Context, u, v, e)
	if err != nil || r.output == "-" {
		return err
	}
	if v.Result, err = e.Check(samples); err != nil {
		hint := ""
		if r.imported != "" {
			hint = "--calls, --seed, the plan and the compiled files have to be those of then"
		}
		return &failure{exitFailed, fmt.Errorf("%s: %w", r.lock, err), hint}
	}
	if err := r.settle(c.Context, u, v, e); err != nil {
		return interrupted(c.Context, err)
	}
	for _, w := range v.Result.Warnings {
		if !r.json {
			u.warn(w)
		}
	}
	out := view.Validate(v, u.style())
	if r.json {
		out = view.ValidationJSON(v)
	}
	if err := u.print(out); err != nil || v.Result.Passed() {
		return err
	}
	return &failure{code: exitStale, err: fmt.Errorf("%s: not as predicted", r.lock)}
}

// read reads the lock, its plan and the models, which have to be those of the lock.
func (r *trial) read(ctx context.Context) (*plans.Lock, *plans.Resolved, error) {
	lock, err := plans.ReadLock(r.lock)
	if err != nil {
		return nil, nil, err
	}
	plan, err := plans.Load(r.plan)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, &failure{exitFailed, err, "the plan and its models are needed beside the lock, to predict with"}
	} else if err != nil {
		return nil, nil, err
	}
	version, err := compile.ParseVersion(lock.Decision.Compiler)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", r.lock, err)
	}
	facts, err := factsOf(r.lock)
	if err != nil {
		return nil, nil, err
	}
	resolved, err := plans.Resolve(ctx, plan, plans.Options{Version: &version, Facts: facts})
	if err != nil {
		return nil, nil, err
	}
	var stale []error
	say := func(format string, args ...any) {
		stale = append(stale, &failure{code: exitStale, err: fmt.Errorf("%s: it is stale: %s", r.lock, fmt.Sprintf(format, args...))})
	}
	if _, err := lock.Grouping(resolved.Problem); err != nil {
		say("%v", err)
	} else {
		hashes := map[string]string{}
		for _, m := range lock.Evidence.Models {
			hashes[m.Name] = m.SHA256
		}
		for _, f := range resolved.Files {
			if hashes[f.Name] != f.SHA256 {
				say("model %q has other contents than when it was written", f.Name)
			}
		}
	}
	if n := len(stale); n > 0 {
		stale[n-1].(*failure).hint = "run tpuplan optimize " + emit.Quote(r.plan) + " and compile again"
	}
	return lock, resolved, errors.Join(stale...)
}

// build is the commands that compile the files for measuring.
func (r *trial) build() string {
	folder := ""
	if dir := filepath.Dir(r.lock); dir != "." {
		folder = " -C " + emit.Quote(dir)
	}
	return fmt.Sprintf("tpuplan validate --emit make -o %s %s && make%s -f measure.mk", emit.Quote(filepath.Join(filepath.Dir(r.lock), "measure.mk")), emit.Quote(r.lock), folder)
}

// emitMeasuring writes the commands that compile what is compared with the plan.
func (r *trial) emitMeasuring(u *ui, lock *plans.Lock, list []plans.Arrangement, resolved *plans.Resolved) error {
	b, err := lock.MeasuringBuild(r.lock, list)
	if err != nil {
		return fmt.Errorf("%s: %w", r.lock, err)
	}
	inputs := inputsOf(r.plan, resolved)
	if err := checkOutput("-o", r.output, inputs); err != nil {
		return err
	}
	output := r.output
	if output != "-" {
		output = relative(r.lock, output)
		b.Output = output
	}
	b.Regenerate = []string{"tpuplan", "validate", "--emit", r.emit, "-o", output, filepath.Base(r.lock)}
	var text bytes.Buffer
	if err := emit.Formats()[r.emit](&text, b); err != nil {
		return fmt.Errorf("%s: %w", r.lock, err)
	}
	return writeOutput(u, r.output, text.Bytes())
}

// experiment reads the compiled files and draws the calls.
func (r *trial) experiment(u *ui, v *view.Validation, lock *plans.Lock) (*validation.Experiment, error) {
	e := &validation.Experiment{Passes: r.passes, Seed: r.seed, Device: r.device, DeadlineMS: r.deadlineMS, Tolerance: r.tolerance}
	for i := range v.Resolved.Problem.Models {
		m := &v.Resolved.Problem.Models[i]
		e.Models = append(e.Models, validation.Model{Name: m.Name, Call: v.Resolved.WithoutModelled(i)})
	}
	v.Missing = map[string][]string{}
	for i := range v.Arrangements {
		a := &v.Arrangements[i]
		x, missing, err := r.arrangement(v.Resolved, a)
		if err != nil {
			return nil, err
		}
		if a.Name == plans.ThisPlan { // whatever compiles have taught since
			promised(x, e.Models, lock)
		}
		if a.Violation == nil && len(missing) > 0 {
			v.Missing[a.Name] = missing
		}
		e.Arrangements = append(e.Arrangements, *x)
	}
	if missing := v.Missing[plans.ThisPlan]; len(missing) > 0 {
		return nil, &failure{
			exitFailed, fmt.Errorf("%s: the plan is not compiled: %s", r.lock, shortList(missing)),
			"run tpuplan compile " + emit.Quote(r.lock) + ", or the plan's build file",
		}
	}
	if len(v.Missing) > 0 {
		var all []string
		for _, a := range v.Arrangements {
			all = append(all, v.Missing[a.Name]...)
		}
		u.note("not compiled, and left out: " + shortList(all))
		u.hint(r.build())
	}
	source, err := drawn(v.Resolved.Plan, r.seed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.plan, err)
	}
	called := make([]int, len(e.Models))
	for range r.calls {
		call, err := source.Next()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.plan, err)
		}
		e.Sequence = append(e.Sequence, call.Model)
		called[call.Model]++
	}
	for i, n := range called {
		if n < fewCalls {
			u.warn(fmt.Sprintf("model %q is called %d times of %d, which says little about it: give more --calls", e.Models[i].Name, n, r.calls))
		}
	}
	return e, nil
}

// arrangement reads the files of an arrangement, or says which are missing.
func (r *trial) arrangement(resolved *plans.Resolved, a *plans.Arrangement) (x *validation.Arrangement, missing []string, err error) {
	x = &validation.Arrangement{Name: a.Name, Groups: a.Groups, Same: a.Same}
	if a.Answer == nil {
		return x, nil, nil
	}
	files := make([]*validation.File, len(a.Files))
	for i, name := range a.Files {
		f, err := tflite.Open(plans.LocalPath(resolved.Plan.Dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, name)
			continue
		} else if err != nil {
			return nil, nil, err
		}
		c, err := f.Compiled()
		if err == nil {
			files[i], err = validation.NewFile(name, f.SHA256(), c)
		}
		if err != nil {
			return nil, nil, err
		}
		planned := a.Answer.Models[i].Split
		x.Planned = append(x.Planned, validation.Split{Cached: planned.Cached, Streamed: planned.Streamed})
		streaming := r.streaming(resolved, i, &planned, files[i].Split.Streamed)
		files[i].StreamMS = &streaming
	}
	if len(missing) == 0 {
		x.Files = files
	} else {
		x.Planned = nil
	}
	return x, missing, nil
}

// streaming is what the bytes that a file streams add to a warm call: as its
// arrangement is predicted if they are those, else as any split with so many.
func (r *trial) streaming(resolved *plans.Resolved, i int, planned *compile.Split, streamed int64) float64 {
	if planned.Streamed == streamed {
		return resolved.Problem.Models[i].StreamingMS(planned)
	}
	return resolved.StreamMS(i, streamed)
}

// promised takes the splits that a lock predicts.
func promised(x *validation.Arrangement, models []validation.Model, lock *plans.Lock) {
	for i := range x.Planned {
		for _, m := range lock.Evidence.Models {
			if m.Name == models[i].Name {
				x.Planned[i] = validation.Split{Cached: m.CachedBytes, Streamed: m.StreamedBytes}
			}
		}
	}
}

// samples measures, or reads what was measured.
func (r *trial) samples(ctx context.Context, u *ui, v *view.Validation, e *validation.Experiment) ([]profile.Sample, error) {
	if r.imported != "" {
		return r.importSamples(u, e)
	}
	if err := checkOutput("-o", r.output, r.inputs(v)); err != nil {
		return nil, err
	}
	file, err := openSamples(u, r.output)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // every sample was written on its own
	measured := &view.Profiled{}
	e.Session = validateSession(file.validations)
	if left := file.left(e.Runs()); !elsewhere(file.replays, r.means.hostName()) && file.validations > 0 && left > 0 && left < len(e.Runs()) {
		u.note(fmt.Sprintf("%s: session %d is continued, %d of %d runs are left", r.output, file.validations, left, len(e.Runs())))
		measured.Samples = file.replays
	} else {
		e.Session = validateSession(file.validations + 1)
	}
	measurer, end, err := r.measurer(ctx, u, v, e)
	if err != nil {
		return nil, err
	}
	defer end()
	err = measure(ctx, u, measurer, e.Runs(), file, measured)
	return measured.Samples, err
}

// inputs are the files that are read, for checkOutput.
func (r *trial) inputs(v *view.Validation) map[string]string {
	inputs := inputsOf(r.plan, v.Resolved)
	for _, a := range v.Arrangements {
		for _, name := range a.Files {
			inputs[plans.LocalPath(v.Resolved.Plan.Dir, name)] = "a compiled model"
		}
	}
	return inputs
}

// exportTrial writes the runs for a board that cannot be reached. What draws the
// calls has to be the same when their samples are taken.
func (r *trial) exportTrial(c *cli.Context, u *ui, v *view.Validation, e *validation.Experiment) error {
	e.Session = exportName(r.export)
	words := []string{"tpuplan", "validate", "--import", remote.Samples(filepath.Base(r.export))}
	for _, flag := range []string{"calls", "passes", "seed"} {
		if c.IsSet(flag) {
			words = append(words, "--"+flag, strconv.Itoa(c.Int(flag)))
		}
	}
	words = append(words, r.lock)
	for i := range words {
		words[i] = emit.Quote(words[i])
	}
	return exportRuns(u, r.export, v.Resolved.Plan.Dir, r.inputs(v), e.Runs(), strings.Join(words, " "))
}

// validateSession begins the names of the runs of a validation.
func validateSession(n int) string { return validatePrefix + strconv.Itoa(n) }

func (r *trial) importSamples(u *ui, e *validation.Experiment) ([]profile.Sample, error) {
	f, err := os.Open(r.imported)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.imported, bare(err))
	}
	defer f.Close() //nolint:errcheck // it was only read
	var samples []profile.Sample
	session, last := validateSession(0), 0
	dropped, err := profile.ReadSamples(filepath.ToSlash(r.imported), f, func(s *profile.Sample) error {
		if s.Kind == profile.Replay {
			session, last = validation.SessionOf(s.Run), max(last, sessionOf(validatePrefix, s.Run))
			samples = append(samples, *s)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if dropped {
		u.note(r.imported + ": its last line was cut off, and is dropped")
	}
	if e.Session = session; sessionOf(validatePrefix, session) > 0 { // numbered here, and not exported
		e.Session = validateSession(last)
	}
	return samples, nil
}

// measurer is what measures, and what has to be called when it has.
func (r *trial) measurer(ctx context.Context, u *ui, v *view.Validation, e *validation.Experiment) (profile.Measurer, func(), error) {
	if r.means != nil {
		return r.means.open(ctx, u, v.Resolved.Plan.Dir)
	}
	s := &simulator.Simulator{Dir: v.Resolved.Plan.Dir, Calls: map[string]cost.Call{}, StreamMS: map[string]float64{}, NoisePercent: simulatedNoise, Seed: r.seed}
	for i := range v.Resolved.Problem.Models {
		m := &v.Resolved.Problem.Models[i]
		s.Calls[m.Name] = m.Call
	}
	for _, a := range e.Arrangements {
		for _, f := range a.Files {
			if f.StreamMS != nil {
				s.StreamMS[f.SHA256] = *f.StreamMS
			}
		}
	}
	return s, func() {}, nil
}

// settle says what the validation tells of the plan's assumptions.
func (r *trial) settle(ctx context.Context, u *ui, v *view.Validation, e *validation.Experiment) error {
	problem, own := v.Resolved.Problem, v.Arrangements[0].Answer
	if own == nil {
		return nil
	}
	watch := u.watch(r.plan + ": how firm is it?")
	findings, err := planner.Stability(ctx, problem, own, planner.Options{Progress: watch.assumptions}, v.Resolved.Assumptions(own))
	watch.end()
	if err != nil {
		return fmt.Errorf("%s: how firm the plan is: %w", r.plan, err)
	}
	seen := &plans.Seen{Streaming: map[int]plans.Seeing{}}
	for k := range e.Arrangements {
		a := &e.Arrangements[k]
		if a.Files == nil || a.Same != "" {
			continue
		}
		for _, g := range a.Groups {
			b := plans.BuiltAs{Models: g}
			for _, i := range g {
				if problem.Models[i].Compiled {
					b.Models = nil
					break
				}
				b.Splits = append(b.Splits, compile.Split{Cached: a.Files[i].Split.Cached, Streamed: a.Files[i].Split.Streamed})
			}
			if len(b.Models) > 0 {
				seen.Built = append(seen.Built, b)
			}
		}
	}
	if rate := v.Result.Rate; rate != nil {
		x := seeing(rate.BytesPerMS/1000, rate.CI, 1e-3)
		seen.Rate = &x
	}
	for _, s := range v.Result.Slopes {
		for i := range problem.Models {
			if problem.Models[i].Name == s.Model && s.Predicted > 0 {
				seen.Streaming[i] = seeing(s.Times/s.Predicted, s.CI, 1/s.Predicted)
			}
		}
	}
	v.Settled, err = v.Resolved.Settle(findings, seen)
	return err
}

func seeing(value float64, i *validation.Interval, scale float64) plans.Seeing {
	if i == nil {
		return plans.Seeing{Value: value, Low: value, High: value}
	}
	return plans.Seeing{Value: value, Low: i.Low * scale, High: i.High * scale}
}
