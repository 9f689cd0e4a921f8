package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	compilerun "github.com/tpuplan/tpuplan/compile/run" // run is the program
	"github.com/tpuplan/tpuplan/plans"
	"github.com/tpuplan/tpuplan/tflite"
)

// factsOf reads the facts beside a plan or its lock; nil if there are none yet.
func factsOf(planOrLock string) (*compile.Facts, error) {
	facts, err := plans.ReadFacts(plans.FactsPath(planOrLock))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return facts, err
}

// pupil is a plan that learns: its models, and what is known of them.
type pupil struct {
	target   string // of the facts
	settings compile.Settings
	models   []compile.Candidate
	names    []string    // of the models
	files    []string    // where they are opened
	lock     *plans.Lock // the plan's lock, nil without
	facts    *compile.Facts
	learnt   *view.Learnt // what was learnt in this run
}

// newPupil reads a plan, or a lock, that facts are for. Facts that cannot be read
// are an error before anything is learnt.
func newPupil(path string) (*pupil, error) {
	p := &pupil{target: plans.FactsPath(path)}
	p.learnt = &view.Learnt{File: filepath.ToSlash(p.target)}
	var err error
	if filepath.Ext(path) == ".json" {
		err = p.fromLock(path)
	} else {
		err = p.fromPlan(path)
	}
	if err == nil {
		p.facts, err = factsOf(path)
	}
	if p.facts == nil {
		p.facts = compile.NewFacts()
	}
	return p, err
}

func (p *pupil) add(dir, name, file string) {
	p.names, p.files, p.models = append(p.names, name), append(p.files, plans.LocalPath(dir, file)), append(p.models, compile.Candidate{File: file})
}

func (p *pupil) fromLock(path string) error {
	lock, err := plans.ReadLock(path)
	if err != nil {
		return err
	}
	p.lock = lock
	v, err := compile.ParseVersion(lock.Decision.Compiler)
	if err != nil {
		return err
	}
	if p.settings, err = compile.FlagSettings(compile.Settings{Version: v}, lock.Decision.Flags); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, d := range lock.Decision.Devices {
		for _, g := range d.Groups {
			for i := range g.Models {
				p.add(filepath.Dir(path), g.Models[i], g.Files[i])
			}
		}
	}
	return nil
}

func (p *pupil) fromPlan(path string) error {
	plan, err := plans.Load(path)
	if err != nil {
		return err
	}
	p.settings = compile.Settings{Version: plan.Compiler.Version, MinRuntime: plan.Compiler.MinRuntime, AllRegions: plan.Compiler.AllRegions}
	for _, m := range plan.Models {
		p.add(plan.Dir, m.Name, m.File)
	}
	// Which models are compiled together, and in which order, only a lock says.
	p.lock, err = plans.ReadLock(plans.LockPath(path))
	if errors.Is(err, fs.ErrNotExist) {
		p.lock, err = nil, nil
	}
	return err
}

// hash reads the models, which facts are keyed by.
func (p *pupil) hash(ctx context.Context) error {
	for i := range p.models {
		if ctx.Err() != nil {
			return errInterrupted
		}
		f, err := tflite.Open(p.files[i])
		if err != nil {
			return err
		}
		p.models[i].SHA256, p.models[i].Bytes = f.SHA256(), f.Size()
	}
	return nil
}

// skip notes what nothing was learnt from.
func (p *pupil) skip(format string, args ...any) {
	p.learnt.Skipped = append(p.learnt.Skipped, fmt.Sprintf(format, args...))
}

// take adds facts to what is known.
func (p *pupil) take(facts *compile.Facts) {
	p.facts.Merge(facts)
	name := func(sha256 string) string {
		for i := range p.models {
			if p.models[i].SHA256 == sha256 {
				return p.names[i]
			}
		}
		return sha256[:12]
	}
	for i := range facts.Models {
		m := &facts.Models[i]
		p.learnt.Add(view.LearntModel{Name: name(m.SHA256), Facts: *m})
	}
	for i := range facts.Invocations {
		x := &facts.Invocations[i]
		var names []string
		for _, m := range x.Models {
			names = append(names, name(m.SHA256))
		}
		p.learnt.Invocations = append(p.learnt.Invocations, view.LearntInvocation{Names: names, Facts: *x})
	}
}

// write puts the facts beside the plan.
func (p *pupil) write(u *ui) error {
	if len(p.learnt.Models)+len(p.learnt.Invocations) == 0 {
		return nil
	}
	if err := plans.WriteFacts(p.target, p.facts); err != nil {
		return err
	}
	for _, line := range p.learnt.Lines() {
		u.done("%s: %s", p.learnt.File, line)
	}
	return nil
}

// learnFrom is --learn: it reads the plan and its models, lets them be learnt
// about, and writes the facts.
func learnFrom(c *cli.Context, u *ui, teach func(*pupil) error) (*view.Learnt, error) {
	p, err := newPupil(c.String("learn"))
	if err == nil {
		err = p.hash(c.Context)
	}
	if err == nil {
		err = teach(p)
	}
	if err == nil {
		err = p.write(u)
	}
	return p.learnt, err
}

// nothingLearnt is the error of a run that was to learn and did not.
func nothingLearnt(l *view.Learnt) error {
	if len(l.Models) > 0 {
		return nil
	}
	why := "there is nothing about the models of the plan in it"
	if len(l.Skipped) > 0 {
		why = l.Skipped[0]
	}
	return &failure{exitFailed, fmt.Errorf("nothing was learnt: %s", why), "models are recognised by the names of their files; " + l.File + " is as it was"}
}

// learnReports takes what compiler output teaches about the plan's models.
func (p *pupil) learnReports(reports []report.Report) {
	for i := range reports {
		r := &reports[i]
		facts, at, err := compile.LearnLog(r, p.settings, p.models)
		strangers := 0
		for _, k := range at {
			if k < 0 {
				strangers++
			}
		}
		switch {
		case err != nil:
			p.skip("%s: %v", r.Source.File, err)
		case strangers > 0:
			p.skip("%s: %d of the models of a call are not the plan's: nothing is learnt of it as a whole", r.Source.File, strangers)
			p.take(facts)
		default:
			p.take(facts)
		}
	}
}

// learnCompiled takes what compiled files teach: those that are named as the
// outputs of the plan's models.
func (p *pupil) learnCompiled(ctx context.Context, files []view.Inspected) error {
	held := make([]*view.Inspected, len(p.models)) // the file of each model
	facts := compile.NewFacts()
	for i := range files {
		f := &files[i]
		if f.Compiled == nil {
			continue
		}
		k := slices.IndexFunc(p.models, func(m compile.Candidate) bool { return compile.OutputName(m.File) == filepath.Base(f.File) })
		if k < 0 {
			p.skip("%s: it is not named as the output of a model of the plan", f.File)
			continue
		}
		if held[k] != nil {
			p.skip("%s: model %q has %s already", f.File, p.names[k], held[k].File)
			continue
		}
		src, err := inspectFile(ctx, p.files[k], p.settings)
		if err != nil {
			return err
		}
		if src.Analysis == nil {
			return fmt.Errorf("%s: already compiled for the Edge TPU", p.files[k])
		}
		src.Analysis.Load.Content = p.models[k].SHA256
		m, err := src.Analysis.LearnFrom(src.Source, f.Compiled, f.Source)
		if err != nil {
			p.skip("%s: not what edgetpu_compiler %s makes of %s under the plan's flags: %v", f.File, p.settings.Version, p.files[k], err)
			continue
		}
		held[k] = f
		facts.Merge(&compile.Facts{Models: []compile.ModelFacts{m}})
	}
	p.learnCalls(held, facts)
	p.take(facts)
	return nil
}

// learnCalls finds out which calls made the files: those with one token. The
// order of a call's models is that of the lock; without one only an order
// that makes no difference may be supposed.
func (p *pupil) learnCalls(held []*view.Inspected, facts *compile.Facts) {
	done := make([]bool, len(held))
	for i, f := range held {
		if f == nil || done[i] {
			continue
		}
		group := []int{i}
		token := f.Compiled.Tokens()[0]
		for k := i + 1; k < len(held); k++ {
			if token != 0 && held[k] != nil && held[k].Compiled.Tokens()[0] == token {
				group = append(group, k)
			}
		}
		for _, k := range group {
			done[k] = true
		}
		order, why := p.order(group)
		if order == nil {
			p.skip("%s: nothing is learnt of its call as a whole: %s", f.File, why)
			continue
		}
		var contents []string
		var splits []compile.Split
		for _, k := range order {
			contents = append(contents, p.models[k].SHA256)
			splits = append(splits, compile.Split{Cached: held[k].Compiled.CachedBytes(), Streamed: held[k].Compiled.StreamedBytes()})
		}
		facts.Merge(&compile.Facts{Invocations: []compile.InvocationFacts{compile.LearnSplits(p.settings, contents, splits)}})
	}
}

// order is the command-line order of models that were compiled together, nil
// if it is not known why.
func (p *pupil) order(group []int) (order []int, why string) {
	if p.lock == nil {
		if len(group) > 1 && p.settings.Version.Sequential() {
			return nil, "the order of its models is not in the files; give the lock that it was built from, or the compiler's output to tpuplan log --learn"
		}
		return group, ""
	}
	for _, d := range p.lock.Decision.Devices {
		for _, g := range d.Groups {
			order = nil
			for _, name := range g.Models {
				order = append(order, slices.Index(p.names, name))
			}
			if !slices.Contains(order, group[0]) {
				continue
			}
			sorted := slices.Sorted(slices.Values(order))
			if slices.Equal(sorted, group) {
				return order, ""
			}
			if len(group) < len(sorted) {
				return nil, fmt.Sprintf("the lock compiles it together with others, whose files are missing or were compiled in another call (group %q)", g.Name)
			}
			return nil, "the lock has other groups"
		}
	}
	return nil, "the lock does not have it"
}

// builtGroup is a group that the compiler has just built.
type builtGroup struct {
	*compilerun.Result
	dir    string // where paths are relative to
	models []compile.Candidate
}

// learnBuilt takes what a group that was just built teaches. The compiler was
// run on these very models, so the origin of the files needs no proof. To
// differences of a split it adds the ops that they come from.
func (p *pupil) learnBuilt(ctx context.Context, dir string, r *compilerun.Result) error {
	b := &builtGroup{Result: r, dir: dir}
	for i, file := range r.Group.Files {
		p.models[slices.Index(p.names, r.Group.Models[i].Name)].SHA256 = r.Built[i].SHA256
		b.models = append(b.models, compile.Candidate{File: file, SHA256: r.Built[i].SHA256})
	}
	s := p.settings
	facts := compile.NewFacts()
	if r.Report != nil && r.Report.Compiler != "" {
		v, ok := compile.ReleaseOf(r.Report)
		if !ok {
			p.skip("group %q: edgetpu_compiler %s is no release that is known", r.Group.Group, r.Report.Compiler)
			return nil
		}
		s.Version = v
	}
	if r.Report != nil {
		printed, _, err := compile.LearnLog(r.Report, s, b.models)
		if err != nil {
			p.skip("group %q: %s: %v", r.Group.Group, r.Group.LogFile(), err)
		}
		facts.Merge(printed)
	}
	var contents []string
	var splits []compile.Split
	for i := range r.Built {
		f, err := tflite.Open(plans.LocalPath(dir, r.Built[i].File))
		var c *tflite.Compiled
		if err == nil {
			c, err = f.Compiled()
		}
		if err != nil {
			return err
		}
		if !compile.GenerationFits(c, s.Version) {
			p.skip("group %q: %s was made by edgetpu_compiler %s, which says no more of its release", r.Group.Group, r.Built[i].File, c.Generation())
			return nil
		}
		m := compile.LearnCompiled(r.Built[i].SHA256, s, c)
		facts.Merge(operationLog(plans.LocalPath(dir, r.Built[i].File), s, b.models[i], r.Report))
		if err := p.ops(ctx, b, i, s, f, c, &m); err != nil {
			return err
		}
		facts.Merge(&compile.Facts{Models: []compile.ModelFacts{m}})
		contents = append(contents, m.SHA256)
		splits = append(splits, compile.Split{Cached: c.CachedBytes(), Streamed: c.StreamedBytes()})
	}
	call := compile.LearnSplits(s, contents, splits)
	if o := r.Order; o != nil {
		call.OrderMatters = &o.Matters
		var reversed []compile.Split
		for _, built := range o.Built {
			reversed = append(reversed, compile.Split{Cached: built.Cached, Streamed: built.Streamed})
		}
		slices.Reverse(contents)
		slices.Reverse(reversed)
		other := compile.LearnSplits(s, contents, reversed)
		other.OrderMatters = &o.Matters
		facts.Merge(&compile.Facts{Invocations: []compile.InvocationFacts{other}})
	}
	facts.Merge(&compile.Facts{Invocations: []compile.InvocationFacts{call}})
	p.take(facts)
	return nil
}

// operationLog is what the operation log that the compiler wrote beside an
// output teaches, nil if there is none or it is not of this compile.
func operationLog(output string, s compile.Settings, model compile.Candidate, printed *report.Report) *compile.Facts {
	reports, err := readLog(strings.TrimSuffix(output, ".tflite")+".log", nil)
	if err != nil || len(reports) != 1 {
		return nil
	}
	facts, _, err := compile.LearnLog(&reports[0], s, []compile.Candidate{model})
	if err != nil || printed == nil {
		return nil
	}
	m := facts.Model(s, model.SHA256)
	if m == nil {
		return nil
	}
	tpu, cpu := 0, 0
	for _, o := range m.Operators {
		if o.Status == compile.StatusMapped {
			tpu += o.Count
		} else {
			cpu += o.Count
		}
	}
	// Both counted the same ops.
	for i := range printed.Models {
		x := &printed.Models[i]
		if filepath.Base(filepath.FromSlash(x.Input)) == filepath.Base(filepath.FromSlash(model.File)) && x.TPUOperations == tpu && x.CPUOperations == cpu && tpu > 0 {
			return facts
		}
	}
	return nil
}

// ops looks where the parameters of a model's ops are in what was built, if
// they are not what was predicted, and says so in the difference of the split.
func (p *pupil) ops(ctx context.Context, b *builtGroup, i int, s compile.Settings, f *tflite.File, c *tflite.Compiled, m *compile.ModelFacts) error {
	at := slices.IndexFunc(b.Differences, func(d compilerun.Difference) bool {
		return d.Kind == compilerun.SplitDiffers && d.Model == b.Group.Models[i].Name
	})
	if at < 0 {
		return nil
	}
	var inputs []compile.Input
	var source *tflite.Source
	for k := range b.models {
		x, err := inspectFile(ctx, plans.LocalPath(b.dir, b.models[k].File), s)
		if err != nil {
			return err
		}
		if x.Analysis == nil || x.SHA256 != b.models[k].SHA256 {
			return nil // it has changed since
		}
		if k == i {
			source = x.Source
		}
		x.Analysis.Load.Content = x.SHA256
		inputs = append(inputs, compile.Input{Model: x.Analysis, Reserve: x.Analysis.Reserve})
	}
	body, err := f.Source()
	if err != nil {
		return err
	}
	m.Operators = compile.CompiledOperators(source, body)
	a := inputs[i].Model
	located := c.Locate(source, a.Wants())
	d := &b.Differences[at]
	if a.Origin(source, c, located) != nil {
		d.Text += "; its weights are not recognised in the file, so no op can be named"
		return nil
	}
	m.Ops = a.MeasuredOps(located)
	var texts []string
	for _, o := range m.Ops {
		texts = append(texts, fmt.Sprintf("op %d %s has %d bytes, not %d", o.Index, o.Op, o.Bytes, a.Ops[o.Index].Bytes))
	}
	if len(texts) == 0 {
		for _, k := range located.Wrong {
			texts = append(texts, fmt.Sprintf("op %d %s may be what has other bytes", k, a.Ops[k].Name))
		}
	}
	if len(texts) == 0 {
		texts = p.moved(inputs, i, located)
	}
	const most = 4 // ops to name
	if more := len(texts) - most; more > 0 {
		texts = append(texts[:most], fmt.Sprintf("and %d more", more))
	}
	if len(texts) > 0 {
		d.Text += "; " + strings.Join(texts, ", ")
	}
	return nil
}

// moved names the ops of a model that are cached and were predicted to be
// streamed, or the other way round.
func (p *pupil) moved(inputs []compile.Input, i int, located *tflite.Located) []string {
	for k := range inputs {
		inputs[k].Reserve = p.facts.Apply(inputs[k].Model).Reserve
	}
	p.facts.Narrow(inputs)
	x := &p.facts.Predict(inputs[0].Model.Settings.Version, inputs).Models[i]
	if len(x.Split.InCache) < len(x.Model.Load.Parts) {
		return nil
	}
	var texts []string
	part := 0
	for _, piece := range located.Pieces {
		if part == len(x.Model.Load.Parts) || x.Model.Load.Parts[part].Op != piece.Op || piece.Streamed {
			continue
		}
		if was := x.Split.InCache[part]; piece.Found && was != piece.Cached {
			how := map[bool]string{true: "cached", false: "streamed"}
			texts = append(texts, fmt.Sprintf("op %d %s (%d bytes) is %s, not %s", piece.Op, x.Model.Ops[piece.Op].Name, piece.Bytes, how[piece.Cached], how[was]))
		}
		part++
	}
	return texts
}
