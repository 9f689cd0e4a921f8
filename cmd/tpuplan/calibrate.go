package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/timing"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/plans"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/fit"
	"github.com/tpuplan/tpuplan/tflite"
)

func calibrateCommand(u *ui) *cli.Command {
	return &cli.Command{
		Name:      "calibrate",
		Usage:     "fit the cost model to timed calls of a device",
		ArgsUsage: "SAMPLES...",
		Description: `Reads samples (JSON lines tpuplan/sample/v1; "-" is standard input) of one
device and fits the rate of its link, what a load costs besides, and the compute
time and streaming slope of each model, with 95 % intervals. Of models of a
--plan it knows what each op computes and streams: it fits by what factor their
compute differs from that of their shapes, how often nets in passes are sent
their parameters, and with three models or more what the host takes. What the
samples cannot tell apart is named and keeps its built-in value. With -o the
result is written as a file for the calibration key of a plan's [[device]].

How many bytes a call moves is read from the compiled files that were timed,
which --run, --models or --plan name, in this order; samples that hold bytes
themselves need none.`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "run", Usage: "`FILE` with the run that the samples are of (tpuplan/run/v1); may be repeated"},
			&cli.StringSliceFlag{Name: "models", Usage: "compiled `FILE` or folder, or NAME=FILE; a file x_edgetpu.tflite is model x. Two files of one model: squeezed samples are of the one that streams more. May be repeated"},
			&cli.StringFlag{Name: "plan", Usage: "`PLAN` whose models were timed: their compiled files in its out_dir, its link, and hashes to find the models again"},
			&cli.StringFlag{Name: "link", Usage: "`NAME` of the link, whose values are kept where samples cannot tell; the plan's unless given"},
			&cli.StringFlag{Name: "device", Usage: "only samples of this device, as `NAME` in the samples"},
			&cli.StringFlag{Name: "o", Usage: "also write the calibration to `FILE`; \"-\" is stdout, which then holds nothing else"},
			formatFlag("table", "json"),
		},
		Action: func(c *cli.Context) error { return calibrate(c, u) },
	}
}

func calibrate(c *cli.Context, u *ui) error {
	format, output := c.String("format"), c.String("o")
	if err := oneOf("--format", format, "table", "json"); err != nil {
		return err
	}
	if err := wantArgs(c, "file of samples", 1, -1); err != nil {
		return err
	}
	if u.isStdout(output) {
		return usageError("write -o -, which leaves stdout to the calibration alone", "-o %s is stdout", output)
	}
	for _, name := range c.Args().Slice() {
		if output != "" && output != "-" && name != "-" && sameFile(name, output) {
			return usageError("choose another -o", "-o %s is a file of samples", output)
		}
	}
	t := &timed{ctx: c.Context, runs: map[string]*timedRun{}, models: map[string][]*fit.File{}, planned: map[string]*plannedFile{}}
	link, err := t.read(c)
	if err != nil {
		return interrupted(c.Context, err)
	}
	samples, err := readSamples(c, u)
	if err != nil {
		return interrupted(c.Context, err)
	}
	data, err := fit.Collect(samples, t.find)
	if err != nil {
		return interrupted(c.Context, hintCalibrate(err))
	}
	result, err := fit.Fit(data, link)
	if err != nil {
		return hintCalibrate(err)
	}
	text, err := plans.CalibrationBytes(result)
	if err != nil {
		return err
	}
	if c.Context.Err() != nil {
		return errInterrupted
	}
	if output == "-" {
		return u.print(text)
	}
	if output != "" {
		commit, discard, err := replace(output, text)
		if err == nil {
			defer discard()
			err = commit()
		}
		if err != nil {
			return fmt.Errorf("%s: not written, what was there is untouched: %w", output, bare(err))
		}
		u.done("%s: written", output)
	}
	if format == "json" {
		return u.print(text)
	}
	return u.print(view.Calibration(result, u.style()))
}

// hintCalibrate adds what to do about samples that cannot be used.
func hintCalibrate(err error) error {
	hint := ""
	if _, ok := errors.AsType[*fit.DevicesError](err); ok {
		hint = "choose one with --device"
	} else if _, ok := errors.AsType[*fit.UnknownFilesError](err); ok {
		hint = "name the compiled files that were timed with --models, or the run with --run"
	} else if errors.Is(err, fit.ErrNoLink) {
		hint = "give --link: usb2, usb3, usb3-rpi4 or pcie"
	} else if errors.Is(err, fit.ErrNoSamples) {
		hint = "samples of kind steady and load are what a calibration is made of"
	} else {
		return err
	}
	return &failure{exitFailed, err, hint}
}

// readSamples reads all files of samples that are named.
func readSamples(c *cli.Context, u *ui) ([]profile.Sample, error) {
	var samples []profile.Sample
	device, seen := c.String("device"), map[string]bool{}
	for _, name := range c.Args().Slice() {
		shown, in := filepath.ToSlash(name), u.in
		if name == "-" {
			shown = "stdin"
		} else {
			f, err := os.Open(name)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", shown, bare(err))
			}
			defer f.Close() //nolint:errcheck // it was only read
			in = f
		}
		dropped, err := profile.ReadSamples(shown, in, func(s *profile.Sample) error {
			if seen[s.Device] = true; !c.IsSet("device") || s.Device == device {
				samples = append(samples, *s)
			}
			return c.Context.Err()
		})
		if err != nil {
			if e, ok := errors.AsType[*fs.PathError](err); ok { // a folder, for one
				err = fmt.Errorf("%s: %w", shown, bare(e))
			}
			return nil, err
		}
		if dropped {
			u.warn(shown + ": the last line was not written to its end and is left out")
		}
	}
	if len(samples) == 0 && len(seen) > 0 {
		var devices []string
		for d := range seen {
			devices = append(devices, fmt.Sprintf("%q", d))
		}
		slices.Sort(devices)
		return nil, &failure{exitFailed, fmt.Errorf("no sample is of device %q", device), "there are samples of " + strings.Join(devices, ", ")}
	}
	return samples, nil
}

// timed finds the compiled file that a sample is of.
type timed struct {
	ctx     context.Context
	runs    map[string]*timedRun    // by the name of the run
	models  map[string][]*fit.File  // by the name of the model, least streamed first
	planned map[string]*plannedFile // by the name of the plan's model
	link    *cost.Link              // nil if it is not known
	compile compile.Settings        // of the plan
}

type timedRun struct {
	*profile.Run
	file, folder string
	found        map[string]*fit.File
}

// plannedFile is a model of a plan; it is read when a sample needs it.
type plannedFile struct {
	source, compiled string // paths; source "" if the plan's file is compiled already
	sourceSHA256     string
	found            *fit.File

	model *tflite.Source // the source, once it was needed
	twin  *compile.Model // what is known of compiling it
}

// read takes in what the flags name and returns the link, nil if none is known.
func (t *timed) read(c *cli.Context) (*cost.Link, error) {
	var link *cost.Link
	if name := c.String("plan"); name != "" {
		plan, err := plans.Load(name)
		if err != nil {
			return nil, err
		}
		link = &plan.Devices[0].Link
		if err := t.plan(plan); err != nil {
			return nil, err
		}
	}
	if name := c.String("link"); c.IsSet("link") {
		l, err := cost.BuiltinLink(name)
		if err != nil {
			return nil, usageError("", "--link: %w", err)
		}
		link = &l
	}
	t.link = link
	for _, name := range c.StringSlice("run") {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.ToSlash(name), bare(err))
		}
		run, err := profile.ParseRun(filepath.ToSlash(name), data)
		if err != nil {
			return nil, err
		}
		if other := t.runs[run.Name]; other != nil {
			return nil, usageError("", "--run: %s and %s are both run %q", other.file, name, run.Name)
		}
		t.runs[run.Name] = &timedRun{Run: run, file: name, folder: filepath.Dir(name), found: map[string]*fit.File{}}
	}
	for _, arg := range c.StringSlice("models") {
		if err := t.add(arg); err != nil {
			return nil, err
		}
	}
	return link, nil
}

// plan takes the models of a plan.
func (t *timed) plan(plan *plans.Plan) error {
	local := func(slashPath string) string { return plans.LocalPath(plan.Dir, slashPath) }
	t.compile = compile.Settings{Version: plan.Compiler.Version, MinRuntime: plan.Compiler.MinRuntime, AllRegions: plan.Compiler.AllRegions}
	for _, m := range plan.Models {
		p := &plannedFile{source: local(m.File), compiled: local(path.Join(plan.Compiler.OutDir, compile.OutputName(m.File)))}
		f, err := t.open(p.source)
		if err != nil {
			return err
		}
		if f.Kind() == tflite.KindCompiled {
			p.source, p.compiled = "", p.source
		} else {
			p.sourceSHA256 = f.SHA256()
		}
		t.planned[m.Name] = p
	}
	return nil
}

// add takes a value of --models.
func (t *timed) add(arg string) error {
	name, file := "", arg
	if _, err := os.Stat(arg); err != nil {
		if before, after, ok := strings.Cut(arg, "="); ok {
			name, file = before, after
		}
	}
	if file == "" || name == "" && file != arg {
		return usageError("write --models FILE, --models FOLDER or --models NAME=FILE", "--models %s names no file", arg)
	}
	info, err := os.Stat(file)
	folder := err == nil && info.IsDir()
	if folder && name != "" {
		return usageError("", "--models %s: %s is a folder, and a name is for a file", arg, file)
	}
	names, err := modelFiles([]string{file})
	if err != nil {
		return err
	}
	for _, path := range names {
		if folder && !strings.HasSuffix(path, "_edgetpu.tflite") {
			continue // a source, which is not what was timed
		}
		model := name
		if model == "" {
			model = strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".tflite"), "_edgetpu")
		}
		f, err := t.file(model, path)
		if err != nil {
			return err
		}
		all := append(t.models[model], f)
		slices.SortStableFunc(all, func(a, b *fit.File) int { return int(a.StreamedBytes - b.StreamedBytes) })
		t.models[model] = all
	}
	return nil
}

func (t *timed) open(path string) (*tflite.File, error) {
	if err := t.ctx.Err(); err != nil {
		return nil, err
	}
	return tflite.Open(path)
}

// file reads a compiled file.
func (t *timed) file(model, path string) (*fit.File, error) {
	f, err := t.open(path)
	if err != nil {
		return nil, err
	}
	if f.Kind() != tflite.KindCompiled {
		return nil, &failure{exitFailed, fmt.Errorf("%s: not a compiled model", filepath.ToSlash(path)), "give the file that was timed, NAME_edgetpu.tflite"}
	}
	c, err := f.Compiled()
	if err != nil {
		return nil, err
	}
	file := fit.FileOf(model, filepath.Base(path), f.SHA256(), c)
	if p := t.planned[model]; p != nil {
		file.SourceSHA256 = p.sourceSHA256
		if file.Ops, err = t.ops(p, c); err != nil {
			return nil, err
		}
	}
	return file, nil
}

// ops are those of a plan's model as a compiled file has them; nil if nothing is
// known of them, or if the file does not look like this model compiled as the plan says.
func (t *timed) ops(p *plannedFile, c *tflite.Compiled) ([]cost.Op, error) {
	if p.source == "" || t.link == nil || !compile.GenerationFits(c, t.compile.Version) {
		return nil, nil
	}
	if p.twin == nil {
		f, err := t.open(p.source)
		if err != nil {
			return nil, err
		}
		if p.model, err = f.Source(); err != nil {
			return nil, err
		}
		p.twin = compile.Analyze(p.model, t.compile)
	}
	found := c.Locate(p.model, p.twin.Wants())
	if p.twin.Failure != nil || p.twin.Origin(p.model, c, found) != nil {
		return nil, nil
	}
	return timing.OpsOf(p.twin, c, found, *t.link), nil
}

// find is the file of a sample: by its run, else by --models, else by the plan.
func (t *timed) find(s *profile.Sample) (*fit.File, error) {
	if run := t.runs[s.Run]; run != nil {
		if f := run.found[s.Model]; f != nil {
			return f, nil
		}
		for i := range run.Models {
			m := &run.Models[i]
			if m.Name != s.Model {
				continue
			}
			name := m.Name
			if m.Of != "" {
				name = m.Of
			}
			f, err := t.file(name, filepath.Join(run.folder, filepath.FromSlash(m.File)))
			if err != nil {
				return nil, err
			}
			if m.SHA256 != "" && !strings.EqualFold(m.SHA256, f.SHA256) {
				return nil, fmt.Errorf("%s: not the file that was timed: run %q has another hash", filepath.ToSlash(filepath.Join(run.folder, filepath.FromSlash(m.File))), run.Name)
			}
			run.found[s.Model] = f
			return f, nil
		}
	}
	if files := t.models[s.Model]; len(files) > 0 {
		return chooseFile(s, files)
	}
	if p := t.planned[s.Model]; p != nil {
		if p.found == nil {
			f, err := t.file(s.Model, p.compiled)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, fit.ErrNoFile
			}
			if err != nil {
				return nil, err
			}
			p.found = f
		}
		return p.found, nil
	}
	return nil, fit.ErrNoFile
}

// chooseFile tells which of several files of one model a sample is of: by its
// bytes, or by its kind if there are two.
func chooseFile(s *profile.Sample, files []*fit.File) (*fit.File, error) {
	if len(files) == 1 {
		return files[0], nil
	}
	if s.Bytes != nil {
		for _, f := range files {
			if warm := f.StreamedBytes + f.FixedBytes; *s.Bytes == warm || *s.Bytes == warm+f.CachedBytes+f.LoadBytes {
				return f, nil
			}
		}
	}
	if len(files) > 2 {
		return nil, &failure{exitFailed, fmt.Errorf("model %q has %d files, and a sample of it does not say by its bytes which one was timed", s.Model, len(files)), "name the run with --run"}
	}
	if s.Kind == profile.Squeezed {
		return files[1], nil
	}
	return files[0], nil
}
