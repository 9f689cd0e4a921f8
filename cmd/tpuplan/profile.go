package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/compile/emit"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/plans"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/simulator"
	"github.com/tpuplan/tpuplan/tflite"
)

// Defaults of a profile. A median has an interval of 95 % from six samples on,
// so six passes are the fewest in which that of first calls has one.
const (
	profilePasses   = 6
	profileCalls    = 10
	profileLoads    = 3
	profileDeadline = 10 * time.Second
	maxProfile      = 100_000 // passes, or calls of a pass
)

func profileCommand(u *ui) *cli.Command {
	return &cli.Command{
		Name:      "profile",
		Usage:     "measure models on the device",
		ArgsUsage: "PLAN.toml|MODEL_edgetpu.tflite...",
		Description: `Measures compiled models: creating the interpreter, the first call, warm calls,
and calls that load because another model ran in between. Of a plan it measures
each model compiled alone, from the folder alone in the plan's out_dir:

    tpuplan profile --emit make -o measure.mk plan.toml
    make -f measure.mk
    tpuplan profile -o samples.jsonl plan.toml

Where a model was also compiled so that less of it is cached, as in the plan's
out_dir, warm calls of that file show what streaming costs. Of files on the
command line, those of one name and the same parameters are taken for that.

Samples are appended to the file after -o, one line each, as they are measured.
If that was interrupted, the same command continues. They name the compiled file
that ran, by its SHA-256, and the host: HOST as --host has it, else what the
machine that measured calls itself.

Without a device here, --host measures on a board that ssh reaches, --export
writes what to do on one that nothing reaches, and --import reads what was
measured there, or by others: samples, CSV of model,kind,ms, or what TensorFlow
Lite's benchmark_model prints. docs/measuring.md has it all.`,
		Flags: slices.Concat(meansFlags(simulatorWay), []cli.Flag{
			&cli.StringSliceFlag{Name: "device", Usage: "measure on `DEVICE`, a path or a number from 0, not on the first one; may be repeated"},
			&cli.IntFlag{Name: "passes", Value: profilePasses, Usage: "measure everything `N` times with new interpreters, in another order each time (default 6)"},
			&cli.IntFlag{Name: "calls", Value: profileCalls, Usage: "`N` warm calls of each model in each pass (default 10)"},
			&cli.IntFlag{Name: "loads", Value: profileLoads, Usage: "`N` loads of each model in each pass (default 3)"},
			&cli.IntFlag{Name: "seed", Value: 1, Usage: "draw other orders and inputs: `N` from 0 on (default 1)"},
			&cli.DurationFlag{Name: "deadline", Value: profileDeadline, Usage: "give a device up that is silent for `D` (default 10s)"},
			&cli.StringSliceFlag{Name: "import", Usage: "measure nothing, read `FILE`; \"-\" is standard input; may be repeated"},
			&cli.StringFlag{Name: "export", Usage: "measure nothing, write the runs to `FILE` and beside it a script that does them"},
			&cli.StringFlag{Name: "emit", Usage: "measure nothing, write the compile commands of the measuring set; `KIND` is make; needs -o"},
			&cli.StringFlag{Name: "o", Usage: "append samples to `FILE`, or write it with --emit; \"-\" is stdout, which then holds nothing else"},
			formatFlag("table", "json"),
		}),
		Action: func(c *cli.Context) error { return profileModels(c, u) },
	}
}

// profiling is a checked command line of profile.
type profiling struct {
	plan   string   // either this
	files  []string // or these
	means  *means   // nil: the simulator
	series profile.Series
	// At most one of these is set: then nothing is measured.
	emit    string
	export  string
	imports []string

	output string
	json   bool
}

func profilingRequest(c *cli.Context, u *ui) (*profiling, error) {
	r := &profiling{
		emit: c.String("emit"), export: c.String("export"), imports: c.StringSlice("import"), output: c.String("o"), json: c.String("format") == "json",
		series: profile.Series{
			Devices: c.StringSlice("device"), Passes: c.Int("passes"), Steady: c.Int("calls"), Loads: c.Int("loads"),
			Seed: uint64(c.Int("seed")), DeadlineMS: float64(c.Duration("deadline")) / float64(time.Millisecond),
		},
	}
	var err error
	if r.means, err = meansOf(c, simulatorWay); err != nil {
		return nil, err
	}
	if err := oneOf("--format", c.String("format"), "table", "json"); err != nil {
		return nil, err
	}
	for _, flag := range []string{"passes", "calls", "loads"} {
		least := 1
		if flag == "loads" {
			least = 0
		}
		if n := c.Int(flag); n < least || n > maxProfile {
			return nil, usageError("", "--%s is a whole number from %d to %d, not %d", flag, least, maxProfile, n)
		}
	}
	if err := checkMeasuring(c, u); err != nil {
		return nil, err
	}
	if err := r.checkModes(c); err != nil || r.imports != nil {
		return r, err
	}
	if err := wantArgs(c, "plan file or compiled model", 1, -1); err != nil {
		return nil, err
	}
	if args := c.Args().Slice(); filepath.Ext(args[0]) != ".tflite" {
		r.plan, err = planFile(c)
		return r, err
	} else if r.files = args; r.emit != "" {
		return nil, usageError("name the plan file that it belongs to", "%s is compiled already", args[0])
	}
	if r.means == nil {
		return nil, usageError("name the plan file that it belongs to", "the simulator takes what a call costs from a plan")
	}
	return r, nil
}

// checkModes refuses flags that do not go with what is done instead of measuring.
func (r *profiling) checkModes(c *cli.Context) error {
	measuring := []string{"with", "host", "python", "device", "passes", "calls", "loads", "seed", "deadline"}
	for _, mode := range []struct {
		flag   string
		others []string
	}{
		{"import", append(measuring, "export", "emit")},
		{"export", []string{"with", "host", "python", "emit", "o", "format"}},
		{"emit", measuring},
	} {
		if !c.IsSet(mode.flag) {
			continue
		}
		for _, other := range mode.others {
			if c.IsSet(other) {
				return usageError("leave one of them out", "%s does not go with %s", dashes(other), dashes(mode.flag))
			}
		}
	}
	switch {
	case c.IsSet("export") && (r.export == "" || r.export == "-"):
		return usageError("such as run.json", "--export needs the name of a file")
	case len(r.imports) > 0 && c.NArg() > 0:
		return usageError("a second file takes a second --import", "--import takes no plan and no models, not %s", c.Args().First())
	}
	return nil
}

func profileModels(c *cli.Context, u *ui) error {
	r, err := profilingRequest(c, u)
	if err != nil {
		return err
	}
	if len(r.imports) > 0 {
		return importSamples(c, u, r)
	}
	s := &subjects{}
	var plan *plans.Plan
	if r.plan != "" {
		if plan, err = plans.Load(r.plan); err != nil {
			return err
		}
		if r.emit != "" {
			return emitMeasuringSet(u, r, plan)
		}
		if err := s.ofPlan(plan); err != nil {
			return err
		}
	} else if err := s.ofFiles(r.files); err != nil {
		return err
	}
	for _, text := range s.notes {
		u.note(text)
	}
	if r.export != "" {
		return exportSeries(u, r, s)
	}
	measurer, end, err := r.measurer(c.Context, u, plan, s)
	if err != nil {
		return err
	}
	defer end()
	if err := checkOutput("-o", r.output, s.inputs(r.plan)); err != nil {
		return err
	}
	file, err := openSamples(u, r.output)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // every sample was written on its own
	runs, unmeasured, there := file.runs(u, r.series, s, r.means.hostName())
	p := &view.Profiled{Samples: there, Warnings: noLoads(unmeasured)}
	if err := measure(c.Context, u, measurer, runs, file, p); err != nil {
		return err
	}
	return showProfile(u, r, p)
}

// measurer is what measures, and what has to be called when it has.
func (r *profiling) measurer(ctx context.Context, u *ui, plan *plans.Plan, s *subjects) (profile.Measurer, func(), error) {
	if r.means != nil {
		return r.means.open(ctx, u, s.dir)
	}
	facts, err := factsOf(r.plan)
	if err != nil {
		return nil, nil, err
	}
	resolved, err := plans.Resolve(ctx, plan, plans.Options{Facts: facts})
	if err != nil {
		return nil, nil, interrupted(ctx, err)
	}
	x := &simulator.Simulator{Dir: s.dir, Calls: map[string]cost.Call{}, StreamMS: map[string]float64{}, NoisePercent: simulatedNoise, Seed: r.series.Seed}
	index := map[string]int{}
	for i := range resolved.Problem.Models {
		m := &resolved.Problem.Models[i]
		x.Calls[m.Name], index[m.Name] = m.Call, i
	}
	for _, list := range [][]profile.Subject{s.alone, s.squeezed} {
		for _, subject := range list {
			if i, known := index[subject.Model]; known {
				x.StreamMS[subject.SHA256] = resolved.StreamMS(i, subject.StreamedBytes)
			}
		}
	}
	return x, func() {}, nil
}

// noLoads are the warnings about models of which no load can be measured.
func noLoads(models []string) (warnings []profile.Warning) {
	for _, name := range models {
		warnings = append(warnings, profile.Warning{
			Kind: profile.NoLoad, Model: name, Of: profile.Load,
			Text: fmt.Sprintf("loads of %q: no model here was compiled apart from it, so nothing displaces it and no load is measured", name),
		})
	}
	return warnings
}

// showProfile prints what samples say, unless they are printed themselves.
func showProfile(u *ui, r *profiling, p *view.Profiled) error {
	if r.output == "-" {
		return nil
	}
	p.Sum()
	for _, w := range p.Warnings {
		if !r.json {
			u.warn(w.Text)
		}
	}
	if r.json {
		return u.print(view.ProfileJSON(p))
	}
	return u.print(view.Profile(p, u.style()))
}

// measure does the runs. What was measured before it fails is in the file.
func measure(ctx context.Context, u *ui, m profile.Measurer, runs []*profile.Run, file *sampleFile, p *view.Profiled) error {
	for i, run := range runs {
		u.done("run %d of %d, %s", i+1, len(runs), run.Name)
		squeezed := len(run.Steps) > 0 && run.Steps[len(run.Steps)-1].Kind == profile.Squeezed
		err := profile.Resume(m, &file.progress).Measure(ctx, run, func(s *profile.Sample) error {
			if squeezed && s.Kind == profile.Create {
				return nil // of another file than the model's own
			}
			if err := file.add(s); err != nil {
				return err
			}
			p.Samples = append(p.Samples, *s)
			return nil
		})
		if err != nil {
			return measuringFailed(ctx, u, err, file)
		}
	}
	return nil
}

// measuringFailed is the error of a run, with what is left of it.
func measuringFailed(ctx context.Context, u *ui, err error, file *sampleFile) error {
	kept := ""
	if file.path != "" && file.added > 0 {
		kept = fmt.Sprintf("%d samples are in %s", file.added, file.path)
	}
	if ctx.Err() != nil {
		return &failure{exitInterrupted, errors.New("interrupted"), kept}
	}
	f, known := errors.AsType[*profile.Failure](err)
	if !known {
		return &failure{exitFailed, err, kept}
	}
	if f.Output != "" && !u.quiet {
		fmt.Fprintln(u.err, visible(f.Output))
	}
	if kept != "" {
		u.note(kept)
	}
	return &failure{exitFailed, f, f.Hint}
}

// subjects are the compiled files to measure.
type subjects struct {
	dir             string
	alone, squeezed []profile.Subject
	notes           []string
}

// inputs are the files that are read, for checkOutput.
func (s *subjects) inputs(plan string) map[string]string {
	inputs := map[string]string{}
	if plan != "" {
		inputs[plan] = "the plan file"
	}
	for _, list := range [][]profile.Subject{s.alone, s.squeezed} {
		for _, x := range list {
			inputs[s.path(x.File)] = "a model"
		}
	}
	return inputs
}

// path is a file of a subject as this process sees it.
func (s *subjects) path(file string) string { return plans.LocalPath(s.dir, file) }

// read reads a compiled file.
func (s *subjects) read(model, file string) (profile.Subject, error) {
	x := profile.Subject{Model: model, File: path.Clean(file)}
	f, err := tflite.Open(s.path(x.File))
	if err != nil {
		return x, err
	}
	compiled, err := f.Compiled()
	if err != nil {
		return x, err
	}
	tokens := compiled.Tokens()
	if len(tokens) > 1 {
		return x, fmt.Errorf("%s: holds packages of %d compiler calls, which displace each other", s.path(x.File), len(tokens))
	}
	x.SHA256, x.Token = f.SHA256(), tokens[0]
	x.WarmBytes, x.ColdBytes = compiled.WarmBytes(), compiled.ColdBytes()
	x.CachedBytes, x.StreamedBytes = compiled.CachedBytes(), compiled.StreamedBytes()
	return x, nil
}

// ofPlan takes the models of a plan: those that are compiled already as they
// are, the others compiled alone.
func (s *subjects) ofPlan(plan *plans.Plan) error {
	s.dir = plan.Dir
	var failed []error
	missing := false
	for i := range plan.Models {
		m := &plan.Models[i]
		fail := func(err error) { failed = append(failed, fmt.Errorf("model %q: %w", m.Name, err)) }
		f, err := tflite.Open(s.path(m.File))
		if err != nil {
			fail(err)
			continue
		}
		timed := plan.TimedFiles(m.File)
		file := timed[0]
		compiled := f.Kind() == tflite.KindCompiled
		if compiled {
			file = m.File
		}
		x, err := s.read(m.Name, file)
		if err != nil {
			missing = missing || errors.Is(err, fs.ErrNotExist)
			fail(err)
			continue
		}
		s.alone = append(s.alone, x)
		if compiled {
			continue
		}
		// What the plan's own build made of it. It may not be there, or be older.
		if v, err := s.read(m.Name, timed[1]); err == nil && squeezes(&v, &x) {
			s.squeezed = append(s.squeezed, v)
		}
	}
	if missing {
		last := len(failed) - 1
		hint := "these are the models compiled alone: tpuplan profile --emit make -o measure.mk " + emit.Quote(plan.Path) + " writes a makefile for them"
		failed[last] = &failure{exitFailed, failed[last], hint}
	}
	return errors.Join(failed...)
}

// squeezes says whether a file is the same model as another one with less of it cached.
func squeezes(v, x *profile.Subject) bool {
	return v.CachedBytes+v.StreamedBytes == x.CachedBytes+x.StreamedBytes && v.CachedBytes < x.CachedBytes
}

// ofFiles takes compiled files. Of those of one name the one that caches most
// is the model, and the others are squeezed.
func (s *subjects) ofFiles(files []string) error {
	s.dir = "."
	at := map[string]int{}
	var failed []error
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(file), ".tflite"), "_edgetpu")
		x, err := s.read(name, filepath.ToSlash(file))
		if err != nil {
			failed = append(failed, err)
			continue
		}
		i, known := at[name]
		if !known {
			at[name] = len(s.alone)
			s.alone = append(s.alone, x)
			continue
		}
		switch a := &s.alone[i]; {
		case a.SHA256 == x.SHA256:
			failed = append(failed, usageError("", "%s is the same file as %s", x.File, a.File))
		case a.CachedBytes+a.StreamedBytes != x.CachedBytes+x.StreamedBytes:
			failed = append(failed, usageError("rename one of them", "%s and %s are different models of one name", a.File, x.File))
		case squeezes(a, &x):
			s.squeezed = append(s.squeezed, *a)
			*a = x
		case squeezes(&x, a):
			s.squeezed = append(s.squeezed, x)
		default:
			s.notes = append(s.notes, fmt.Sprintf("%s caches as much as %s: it is not measured", x.File, a.File))
		}
	}
	return errors.Join(failed...)
}

// emitMeasuringSet writes the commands that compile each model of a plan alone.
func emitMeasuringSet(u *ui, r *profiling, plan *plans.Plan) error {
	b := &emit.Build{
		Command: plan.Compiler.Command, Flags: plan.Compiler.Flags, OutDir: path.Join(plan.Compiler.OutDir, plans.AloneFolder), FixedOutDir: true,
		Version: plan.Compiler.Version.String(),
	}
	s := &subjects{dir: plan.Dir}
	inputs := map[string]string{r.plan: "the plan file", plans.LockPath(r.plan): "the lock"}
	for i := range plan.Models {
		m := &plan.Models[i]
		inputs[s.path(m.File)] = "a model of the plan"
		f, err := tflite.Open(s.path(m.File))
		if err != nil {
			return fmt.Errorf("model %q: %w", m.Name, err)
		}
		if f.Kind() != tflite.KindCompiled {
			b.Groups = append(b.Groups, emit.Group{Name: strings.TrimSuffix(path.Base(m.File), path.Ext(m.File)), Files: []string{m.File}})
		}
	}
	if len(b.Groups) == 0 {
		return fmt.Errorf("%s: %w", r.plan, errNothingToCompile)
	}
	if err := checkOutput("-o", r.output, inputs); err != nil {
		return err
	}
	output := r.output
	if output != "-" {
		output = relative(r.plan, output)
		b.Output = output
	}
	b.Regenerate = []string{"tpuplan", "profile", "--emit", r.emit, "-o", output, filepath.Base(r.plan)}
	var text strings.Builder
	if err := emit.Formats()[r.emit](&text, b); err != nil {
		return fmt.Errorf("%s: %w", r.plan, err)
	}
	return writeOutput(u, r.output, []byte(text.String()))
}
