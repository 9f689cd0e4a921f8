package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/timing"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/plans"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/fit"
	"github.com/tpuplan/tpuplan/tflite"
)

// timed finds the compiled file that a sample is of.
type timed struct {
	ctx     context.Context
	carried map[string]bool // names of models in the samples
	runs    map[string]*timedRun
	named   map[string][]*ranFile    // by the names of --models, least streamed first
	planned map[string]*plannedModel // by the name of the plan's model
	offered []string                 // paths of all files that may be asked for by hash, in the order of preference
	opened  map[string]*ranFile      // by path
	byHash  map[string]*ranFile      // of what is offered; nil until a sample asks
	made    map[[2]string]*fit.File  // by model and path
	link    *cost.Link               // nil if it is not known
	runtime string                   // of the plan's device
	compile compile.Settings         // of the plan
}

// timedRun is a run, and the file that it was read from.
type timedRun struct {
	*profile.Run
	file, folder string
}

// plannedModel is a model of a plan.
type plannedModel struct {
	files        []string // paths where its compiled form may be, as in plans.TimedFiles
	sourceSHA256 string   // "" if the plan's file is compiled already
	source       string   // path, likewise

	model *tflite.Source // the source, once it was needed
	twin  *compile.Model // what is known of compiling it
}

// ranFile is a compiled file that may have run.
type ranFile struct {
	path, sha256 string
	*tflite.Compiled
}

func newTimed(ctx context.Context, samples []profile.Sample) *timed {
	t := &timed{
		ctx: ctx, carried: map[string]bool{}, runs: map[string]*timedRun{}, named: map[string][]*ranFile{},
		planned: map[string]*plannedModel{}, opened: map[string]*ranFile{}, made: map[[2]string]*fit.File{},
	}
	for i := range samples {
		t.carried[samples[i].Model] = true
	}
	return t
}

// read takes in what the flags name and returns the link, nil if none is known.
func (t *timed) read(c *cli.Context, u *ui) (*cost.Link, error) {
	var link *cost.Link
	var plan *plans.Plan
	if name := c.String("plan"); name != "" {
		var err error
		if plan, err = plans.Load(name); err != nil {
			return nil, err
		}
		link, t.runtime = &plan.Devices[0].Link, plan.Devices[0].Runtime
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
		if err := t.addRuns(name); err != nil {
			return nil, err
		}
	}
	for _, arg := range c.StringSlice("models") {
		if err := t.add(u, arg, plan); err != nil {
			return nil, err
		}
	}
	if plan != nil {
		if err := t.plan(plan); err != nil {
			return nil, err
		}
	}
	return link, nil
}

// addRuns takes a file of runs.
func (t *timed) addRuns(name string) error {
	shown := filepath.ToSlash(name)
	data, err := os.ReadFile(name)
	if err != nil {
		return &failure{exitFailed, fmt.Errorf("%s: %w", shown, bare(err)), "--run takes the file that profile --export or validate --export wrote"}
	}
	runs, err := profile.ParseRuns(shown, data)
	if err != nil {
		return &failure{exitFailed, err, "--run takes the file that profile --export or validate --export wrote"}
	}
	for _, run := range runs {
		if other := t.runs[run.Name]; other != nil {
			return usageError("leave one of them out, or export again to a file of another name", "--run: %s and %s are both run %q", other.file, name, run.Name)
		}
		r := &timedRun{Run: run, file: name, folder: filepath.Dir(name)}
		t.runs[run.Name] = r
		for i := range run.Models {
			t.offered = append(t.offered, r.path(&run.Models[i]))
		}
	}
	return nil
}

// path is where a model of a run is: where the run says, or else beside it, as
// on the board.
func (r *timedRun) path(m *profile.RunModel) string {
	path := plans.LocalPath(r.folder, m.File)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		beside := filepath.Join(r.folder, filepath.Base(path))
		if _, err := os.Stat(beside); err == nil {
			return beside
		}
	}
	return path
}

// plan takes the models of a plan.
func (t *timed) plan(plan *plans.Plan) error {
	t.compile = compile.Settings{Version: plan.Compiler.Version, MinRuntime: plan.Compiler.MinRuntime, AllRegions: plan.Compiler.AllRegions}
	for _, m := range plan.Models {
		p := &plannedModel{}
		source := plans.LocalPath(plan.Dir, m.File)
		if err := t.ctx.Err(); err != nil {
			return err
		}
		f, err := tflite.Open(source)
		if err != nil {
			return err
		}
		if f.Kind() == tflite.KindCompiled {
			p.files = []string{source}
		} else {
			p.source, p.sourceSHA256 = source, f.SHA256()
			for _, file := range plan.TimedFiles(m.File) {
				p.files = append(p.files, plans.LocalPath(plan.Dir, file))
			}
		}
		t.planned[m.Name] = p
		t.offered = append(t.offered, p.files...)
	}
	return nil
}

// add takes a value of --models.
func (t *timed) add(u *ui, arg string, plan *plans.Plan) error {
	name, file := t.nameAndFile(arg)
	if file == "" || name == "" && file != arg {
		return usageError("write --models FILE, --models FOLDER or --models NAME=FILE", "--models %s names no file", arg)
	}
	info, err := os.Stat(file)
	folder := err == nil && info.IsDir()
	if folder && name != "" {
		return usageError("", "--models %s: %s is a folder, and a name is for a file", arg, file)
	}
	if name != "" && !t.carried[name] {
		u.warn(fmt.Sprintf("--models %s: no sample is of a model %q; %s", arg, name, thereAre(t.carried, "there are no samples")))
	}
	paths, err := modelFiles([]string{file})
	if err != nil {
		return err
	}
	for _, path := range paths {
		t.offered = append(t.offered, path)
		if folder && !strings.HasSuffix(path, "_edgetpu.tflite") {
			continue // a source perhaps, which is not what was timed: only a hash can ask for it
		}
		f, err := t.open(path)
		if err != nil {
			return err
		}
		if name != "" {
			t.call(name, f)
			continue
		}
		t.call(strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".tflite"), "_edgetpu"), f)
		if plan == nil {
			continue
		}
		for _, m := range plan.Models { // whose samples carry the plan's names
			if compile.OutputName(m.File) == filepath.Base(path) {
				t.call(m.Name, f)
			}
		}
	}
	return nil
}

// nameAndFile takes a value of --models apart. Both names of models and paths may
// hold "=": a file that is there counts before one that is not, and then
// a name that samples carry before one that they do not.
func (t *timed) nameAndFile(arg string) (name, file string) {
	there := func(path string) bool { _, err := os.Stat(path); return err == nil }
	if there(arg) || !strings.Contains(arg, "=") {
		return "", arg
	}
	name, file, _ = strings.Cut(arg, "=")
	best := -1
	for i := range arg {
		if arg[i] != '=' || i == 0 || i+1 == len(arg) {
			continue
		}
		rank := 0
		if there(arg[i+1:]) {
			rank = 2
		}
		if t.carried[arg[:i]] {
			rank++
		}
		if rank > best {
			best, name, file = rank, arg[:i], arg[i+1:]
		}
	}
	return name, file
}

// call gives a file a name.
func (t *timed) call(name string, f *ranFile) {
	all := t.named[name]
	if slices.ContainsFunc(all, func(other *ranFile) bool { return other.sha256 == f.sha256 }) {
		return
	}
	all = append(all, f)
	slices.SortStableFunc(all, func(a, b *ranFile) int { return cmp.Compare(a.StreamedBytes(), b.StreamedBytes()) })
	t.named[name] = all
}

// open reads a compiled file.
func (t *timed) open(path string) (*ranFile, error) {
	if f := t.opened[path]; f != nil {
		return f, nil
	}
	if err := t.ctx.Err(); err != nil {
		return nil, err
	}
	f, err := tflite.Open(path)
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
	t.opened[path] = &ranFile{path, f.SHA256(), c}
	return t.opened[path], nil
}

// with finds a file by its hash among all that were named, nil if it is not there.
func (t *timed) with(sha256 string) *ranFile {
	if t.byHash == nil {
		t.byHash = map[string]*ranFile{}
		for _, path := range t.offered {
			// What cannot be read is no compiled file that ran.
			if f, err := t.open(path); err == nil && t.byHash[f.sha256] == nil {
				t.byHash[f.sha256] = f
			}
		}
	}
	return t.byHash[strings.ToLower(sha256)]
}

// file is a compiled file as one of a model.
func (t *timed) file(model string, f *ranFile) (*fit.File, error) {
	at := [2]string{model, f.path}
	if t.made[at] == nil {
		file := fit.FileOf(model, filepath.Base(f.path), f.sha256, f.Compiled)
		if p := t.planned[model]; p != nil {
			file.SourceSHA256 = p.sourceSHA256
			var err error
			if file.Ops, err = t.ops(p, f.Compiled); err != nil {
				return nil, err
			}
		}
		t.made[at] = file
	}
	return t.made[at], nil
}

// ops are those of a plan's model as a compiled file has them; nil if nothing is
// known of them, or if the file does not look like this model compiled as the plan says.
func (t *timed) ops(p *plannedModel, c *tflite.Compiled) ([]cost.Op, error) {
	if p.source == "" || t.link == nil || !compile.GenerationFits(c, t.compile.Version) {
		return nil, nil
	}
	if p.twin == nil {
		f, err := tflite.Open(p.source)
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

// find is the file of a sample: the one with its hash, or with that of its run.
// Where neither has one, it is found by name: by its run, else by its bytes among
// --models and the plan's, else by --models, else by the plan.
func (t *timed) find(s *profile.Sample) (*fit.File, error) {
	if err := t.ctx.Err(); err != nil {
		return nil, err
	}
	model, hash, runFile := s.Model, s.SHA256, ""
	if run := t.runs[s.Run]; run != nil {
		for i := range run.Models {
			m := &run.Models[i]
			if m.Name != s.Model {
				continue
			}
			model, hash, runFile = cmp.Or(m.Of, model), cmp.Or(hash, m.SHA256), run.path(m)
		}
	}
	if hash != "" {
		if f := t.with(hash); f != nil {
			return t.file(model, f)
		}
		return nil, &fit.MissingFile{Model: s.Model, SHA256: hash, Others: t.others(s, runFile)}
	}
	if runFile != "" {
		f, err := t.open(runFile)
		if err != nil {
			return nil, err
		}
		return t.file(model, f)
	}
	f, err := t.byName(s)
	if err != nil {
		return nil, err
	}
	return t.file(model, f)
}

// byName is the file of a sample of which neither hash nor run say which it is.
func (t *timed) byName(s *profile.Sample) (*ranFile, error) {
	named := t.named[s.Model]
	planned, err := t.fromPlan(s.Model)
	if err != nil && len(named) == 0 {
		return nil, err
	}
	if f := sending(s, slices.Concat(named, planned)); f != nil {
		return f, nil
	}
	squeezed := s.Kind == profile.Squeezed
	switch {
	case len(named) > 2:
		return nil, &failure{exitFailed, fmt.Errorf("model %q has %d files, and a sample of it does not say by its hash or its bytes which one was timed", s.Model, len(named)), "name the run with --run"}
	case len(named) == 2 && squeezed:
		return named[1], nil
	case len(named) > 0:
		return named[0], nil
	case len(planned) == 0:
		return nil, fit.ErrNoFile
	case len(planned) > 1 && squeezed && planned[1].CachedBytes() < planned[0].CachedBytes():
		return planned[1], nil // what the plan's build made caches less
	}
	return planned[0], nil
}

// others are the files that a sample would be of by name, but not by its hash.
func (t *timed) others(s *profile.Sample, runFile string) (paths []string) {
	candidates := []string{runFile}
	for _, f := range t.named[s.Model] {
		candidates = append(candidates, f.path)
	}
	if p := t.planned[s.Model]; p != nil {
		candidates = append(candidates, p.files...)
	}
	for _, path := range candidates {
		if _, err := t.open(path); path != "" && err == nil && !slices.Contains(paths, filepath.ToSlash(path)) {
			paths = append(paths, filepath.ToSlash(path))
		}
	}
	return paths
}

// fromPlan are the compiled files of a plan's model that are there. The first is
// what profile measures.
func (t *timed) fromPlan(model string) (there []*ranFile, err error) {
	p := t.planned[model]
	if p == nil {
		return nil, nil
	}
	for _, path := range p.files {
		f, err := t.open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		there = append(there, f)
	}
	return there, nil
}

// sending is the first file whose calls send the bytes of a sample, nil if none does.
func sending(s *profile.Sample, files []*ranFile) *ranFile {
	if s.Bytes == nil {
		return nil
	}
	for _, f := range files {
		if *s.Bytes == f.WarmBytes() || *s.Bytes == f.ColdBytes() {
			return f
		}
	}
	return nil
}
