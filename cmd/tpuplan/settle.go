package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/compile"
	compilerun "github.com/tpuplan/tpuplan/compile/run" // run is the program
	"github.com/tpuplan/tpuplan/plans"
)

// candidates is the folder in out_dir in which optimize --compile compiles. It
// is gone afterwards: the outputs of a plan come from its build.
const candidates = ".tpuplan-candidates"

// settle spends real compiles on what the prediction cannot settle, one at a
// time, and plans anew with what each teaches, until nothing is open or the
// number that is allowed is spent.
func settle(ctx context.Context, u *ui, r *request, plan *plans.Plan, version compile.Version, planned *view.Planned) (*view.Planned, error) {
	learner, err := newPupil(r.plan)
	if err != nil {
		return nil, err
	}
	for i := range planned.Resolved.Files { // both are in the order of the plan
		f := &planned.Resolved.Files[i]
		learner.models[i].SHA256, learner.models[i].Bytes = f.SHA256, f.Bytes
	}
	learner.settings.Version = version
	failed := map[string]bool{} // calls that taught nothing are not made again
	var compiles [][]string
	for len(compiles) < r.compiles {
		models, ok := next(planned, failed)
		if !ok {
			break
		}
		names := namesOf(planned, models)
		failed[strings.Join(names, "\n")] = true
		u.done("%s: compiling %s, %d of at most %d", r.plan, strings.Join(names, ", "), len(compiles)+1, r.compiles)
		if err := try(ctx, u, r, plan, version, planned, models, learner); err != nil {
			return nil, err
		}
		compiles = append(compiles, names)
		r.facts = learner.facts
		if planned, err = solve(ctx, u, r, plan, version); err != nil {
			return nil, err
		}
		if err := checkFirmness(ctx, u, r, planned); err != nil {
			return nil, err
		}
	}
	planned.Compiles = compiles
	_, planned.Unsettled = next(planned, failed)
	return planned, nil
}

// next is the call that is worth most, ok is false if there is none.
func next(p *view.Planned, failed map[string]bool) (models []int, ok bool) {
	for _, models := range p.Resolved.Unsettled(p.Plan, p.Stability) {
		if !failed[strings.Join(namesOf(p, models), "\n")] {
			return models, true
		}
	}
	return nil, false
}

func namesOf(p *view.Planned, models []int) []string {
	names := make([]string, len(models))
	for i, m := range models {
		names[i] = p.Resolved.Problem.Models[m].Name
	}
	return names
}

// try compiles some models in a folder of their own and learns from it.
func try(ctx context.Context, u *ui, r *request, plan *plans.Plan, version compile.Version, p *view.Planned, models []int, learner *pupil) error {
	out := path.Join(plan.Compiler.OutDir, candidates)
	group := compilerun.Group{Invocation: compile.Invocation{Command: p.Resolved.Command, Flags: plan.Compiler.Flags, OutDir: out, Group: "candidate"}}
	predicted := p.Resolved.Predict(models)
	for i, m := range models {
		file := &p.Resolved.Files[m]
		group.Files = append(group.Files, plan.Models[m].File)
		split := &predicted.Models[i]
		group.Models = append(group.Models, compilerun.Model{
			Name: file.Name, SHA256: file.SHA256, Cached: split.Split.Cached, Streamed: split.Split.Streamed, Certainty: split.Certainty.String(),
		})
	}
	folder := plans.LocalPath(plan.Dir, out)
	existed := true
	if _, err := os.Stat(plans.LocalPath(plan.Dir, plan.Compiler.OutDir)); errors.Is(err, os.ErrNotExist) {
		existed = false
	}
	defer func() {
		os.RemoveAll(folder) //nolint:errcheck // the next run removes it too
		if !existed {
			os.Remove(plans.LocalPath(plan.Dir, plan.Compiler.OutDir)) //nolint:errcheck // only if it is empty
		}
	}()
	var result *compilerun.Result
	err := compilerun.Run(ctx, []compilerun.Group{group}, compilerun.Options{Dir: plan.Dir, Version: version, Timeout: compileTimeout}, func(x *compilerun.Result) { result = x })
	if err != nil {
		return fmt.Errorf("%s: %w", r.plan, err)
	}
	if ctx.Err() != nil {
		return errInterrupted
	}
	for _, w := range result.Warnings {
		u.warn(w)
	}
	if e, ok := errors.AsType[*compilerun.Error](result.Err); ok {
		if e.Output != "" && !u.quiet {
			fmt.Fprintln(u.err, e.Output)
		}
		return &failure{exitFailed, fmt.Errorf("compiling %s for --compile: %s", strings.Join(namesOf(p, models), ", "), e.What), e.Hint}
	}
	if result.Err != nil {
		return result.Err
	}
	if err := learner.learnBuilt(ctx, plan.Dir, result); err != nil {
		return err
	}
	return learner.write(u)
}
