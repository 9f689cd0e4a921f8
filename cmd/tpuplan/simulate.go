package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/cost/replay"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans"
)

// drawnCalls are drawn unless --calls says otherwise: a rare model of one
// call in a thousand is still called a hundred times.
const drawnCalls = 100_000

// maxCalls would take some minutes.
const maxCalls = 1_000_000_000

func simulateCommand(u *ui) *cli.Command {
	return &cli.Command{
		Name:      "simulate",
		Usage:     "play the calls of a plan one by one, without a device",
		ArgsUsage: "PLAN.toml",
		Description: `Plays calls on a simulation of the Edge TPU's driver, one by one, under the
decision of the plan's lock, and under all separate and all together as given.
Without a lock, or if it holds other models, a plan is searched first and not
kept. Calls are drawn at random by the plan's rates or weights, or recorded
ones are read. At first the device holds nothing.

A trace has a line for each call, as CSV, "MODEL" or "TIME_MS,MODEL", or as
JSON, {"time_ms": 12.5, "model": "face"}. Calls with times wait for the device
in a queue; others follow each other.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "trace", Usage: "replay the calls recorded in `FILE`; \"-\" is standard input"},
			&cli.StringFlag{Name: "timeline", Usage: "also write the calls to `FILE`, for chrome://tracing or Perfetto"},
			&cli.IntFlag{Name: "calls", Value: drawnCalls, Usage: "play `N` calls (default 100000; of a trace, all)"},
			&cli.IntFlag{Name: "seed", Value: 1, Usage: "draw other calls: `N` from 0 on (default 1)"},
			formatFlag("table", "json"),
		},
		Action: func(c *cli.Context) error { return simulate(c, u) },
	}
}

// simulation is a checked command line of simulate.
type simulation struct {
	plan, trace, timeline string
	calls                 int64 // at most so many; < 0 is all of a trace
	seed                  uint64
	json                  bool
}

func simulationRequest(c *cli.Context, u *ui) (*simulation, error) {
	r := &simulation{
		trace: c.String("trace"), timeline: c.String("timeline"),
		calls: int64(c.Int("calls")), seed: uint64(c.Int("seed")), json: c.String("format") == "json",
	}
	if err := oneOf("--format", c.String("format"), "table", "json"); err != nil {
		return nil, err
	}
	if c.IsSet("trace") && !c.IsSet("calls") {
		r.calls = -1
	}
	switch {
	case c.IsSet("trace") && r.trace == "", c.IsSet("timeline") && r.timeline == "":
		return nil, usageError("", "the name of a file is empty")
	case c.IsSet("calls") && (r.calls < 1 || r.calls > maxCalls):
		return nil, usageError("", "--calls is a whole number from 1 to %d, not %d", maxCalls, r.calls)
	case c.Int("seed") < 0:
		return nil, usageError("", "--seed is a whole number from 0 on, not %d", c.Int("seed"))
	case c.IsSet("seed") && c.IsSet("trace"):
		return nil, usageError("", "--seed is for calls that are drawn; those of --trace are recorded")
	case r.timeline == "-" || u.isStdout(r.timeline):
		return nil, usageError("name a file; stdout has the result", "--timeline %s is stdout", r.timeline)
	}
	var err error
	r.plan, err = planFile(c)
	return r, err
}

func simulate(c *cli.Context, u *ui) error {
	r, err := simulationRequest(c, u)
	if err != nil {
		return err
	}
	s, err := r.prepare(c.Context, u)
	if err != nil {
		return interrupted(c.Context, err)
	}
	timeline, err := r.play(c.Context, u, s)
	if err != nil {
		return interrupted(c.Context, err)
	}
	if timeline != nil {
		defer timeline.discard()
		if err := timeline.commit(); err != nil {
			return fmt.Errorf("%s: not written, what was there is untouched: %w", r.timeline, bare(err))
		}
		u.done("%s: written", r.timeline)
	}
	if r.json {
		return u.print(view.SimulationJSON(s))
	}
	return u.print(view.Simulate(s, u.style()))
}

// prepare finds the decision to simulate and what it is compared with.
func (r *simulation) prepare(ctx context.Context, u *ui) (*view.Simulation, error) {
	plan, err := plans.Load(r.plan)
	if err != nil {
		return nil, err
	}
	s := &view.Simulation{Random: r.trace == "", Seed: r.seed, Trace: filepath.ToSlash(r.trace)}
	answer, err := r.decision(ctx, u, plan, s)
	if err != nil {
		return nil, err
	}
	if r.timeline != "" {
		inputs := inputsOf(r.plan, s.Resolved)
		if r.trace != "" && r.trace != "-" {
			inputs[r.trace] = "the trace"
		}
		if err := checkOutput("--timeline", r.timeline, inputs); err != nil {
			return nil, err
		}
	}
	s.Runs = []*view.SimulatedRun{{Name: view.ThisPlan, Answer: answer}}
	for _, name := range []string{planner.Separate, planner.AsGiven} {
		groups, err := planner.BaselineGroups(s.Resolved.Problem, name)
		if err != nil {
			return nil, err
		}
		run := &view.SimulatedRun{Name: name}
		if run.Answer, err = planner.Evaluate(s.Resolved.Problem, groups); err != nil {
			run.Answer = nil // it violates a pin
		}
		s.Runs = append(s.Runs, run)
	}
	for _, run := range s.Runs {
		if run.Answer == nil {
			continue
		}
		models, err := s.Resolved.ReplayModels(run.Answer)
		if err == nil {
			run.Replay, err = replay.New(models)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.plan, err)
		}
		run.Models = models
	}
	return s, nil
}

// decision is the lock's, if it fits the models of the plan, else a new one.
// It sets what the simulation is based on.
func (r *simulation) decision(ctx context.Context, u *ui, plan *plans.Plan, s *view.Simulation) (*planner.Plan, error) {
	path := plans.LockPath(r.plan)
	lock, err := plans.ReadLock(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		u.note(fmt.Sprintf("there is no %s: a plan is searched, and not kept", path))
	case err != nil:
		return nil, err
	default:
		answer, err := locked(ctx, u, plan, lock, path, s)
		if answer != nil || err != nil {
			return answer, err
		}
	}
	facts, err := factsOf(r.plan)
	if err != nil {
		return nil, err
	}
	planned, err := solve(ctx, u, &request{plan: r.plan, facts: facts}, plan, plan.Compiler.Version)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil { // the best plan so far would not be the one that optimize finds
		return nil, errInterrupted
	}
	s.Resolved, s.Decision = planned.Resolved, view.DecisionSearched
	return planned.Plan, nil
}

// locked evaluates the lock's decision with the models as they are; nil if it
// does not fit them.
func locked(ctx context.Context, u *ui, plan *plans.Plan, lock *plans.Lock, path string, s *view.Simulation) (*planner.Plan, error) {
	version, err := compile.ParseVersion(lock.Decision.Compiler)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	facts, err := factsOf(plan.Path)
	if err != nil {
		return nil, err
	}
	resolved, err := plans.Resolve(ctx, plan, plans.Options{Version: &version, Facts: facts})
	if err != nil {
		return nil, err
	}
	var answer *planner.Plan
	grouping, err := lock.Grouping(resolved.Problem)
	if err == nil {
		answer, err = planner.Evaluate(resolved.Problem, grouping)
	}
	if err != nil {
		u.note(fmt.Sprintf("%s is not of this plan (%v): a plan is searched, and not kept", path, err))
		return nil, nil
	}
	s.Resolved, s.Decision = resolved, view.DecisionLocked
	hashes := map[string]string{}
	for _, m := range lock.Evidence.Models {
		hashes[m.Name] = m.SHA256
	}
	for _, f := range resolved.Files {
		if hashes[f.Name] != f.SHA256 {
			u.note(fmt.Sprintf("model %q has other contents than when %s was written; it is simulated as it is now", f.Name, path))
		}
	}
	for _, w := range resolved.WarningsOf(answer) {
		u.warn(w.Error())
	}
	return answer, nil
}

// source is who calls: the trace, or calls drawn by rates or weights.
func (r *simulation) source(ctx context.Context, u *ui, s *view.Simulation) (source replay.Source, done func(), err error) {
	models := s.Runs[0].Models
	if r.trace != "" {
		in, done := io.Reader(&interruptible{ctx, u.in}), func() {}
		if r.trace != "-" {
			f, err := os.Open(r.trace)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, nil, &failure{exitFailed, fmt.Errorf("%s: %w", s.Trace, bare(err)), "let the program that calls the models write one line a call, its time in milliseconds and the model: 40,face"}
			}
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", s.Trace, bare(err))
			}
			in, done = f, func() { _ = f.Close() }
		}
		return replay.NewTrace(s.Trace, in, models), done, nil
	}
	source, err = drawn(s.Resolved.Plan, r.seed)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", r.plan, err)
	}
	return source, func() {}, nil
}

// drawn are calls drawn by a plan's rates or weights. Models are drawn in the
// order of their names: that of the plan file decides nothing.
func drawn(plan *plans.Plan, seed uint64) (source replay.Source, err error) {
	byName := make([]int, len(plan.Models))
	for i := range byName {
		byName[i] = i
	}
	slices.SortFunc(byName, func(a, b int) int { return cmp.Compare(plan.Models[a].Name, plan.Models[b].Name) })
	weights := make([]float64, len(byName))
	for k, i := range byName {
		weights[k] = plan.Models[i].Calls
	}
	if !plan.ByRate {
		source, err = replay.Independent(weights, seed)
	} else {
		for k := range weights {
			weights[k] /= 1000 // rates are per second
		}
		source, err = replay.Poisson(weights, seed)
	}
	return renumbered{source, byName}, err
}

// interruptible gives up waiting for input when its context ends: whoever
// calls may be a terminal or a program that is still at work.
type interruptible struct {
	ctx context.Context
	in  io.Reader
}

func (r *interruptible) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	data, read := make([]byte, min(len(p), 64<<10)), make(chan result, 1)
	go func() {
		n, err := r.in.Read(data)
		read <- result{n, err}
	}()
	select {
	case got := <-read:
		return copy(p, data[:got.n]), got.err
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
}

// renumbered makes the calls of a source whose model i is model at[i].
type renumbered struct {
	replay.Source
	at []int
}

func (r renumbered) Next() (replay.Call, error) {
	c, err := r.Source.Next()
	if err == nil {
		c.Model = r.at[c.Model]
	}
	return c, err
}

// play plays all calls under every decision and predicts what they should
// give. The timeline, if one is asked for, is complete and not yet in place.
func (r *simulation) play(ctx context.Context, u *ui, s *view.Simulation) (*output, error) {
	source, done, err := r.source(ctx, u, s)
	if err != nil {
		return nil, err
	}
	defer done()
	var file *output
	var timeline *replay.Timeline
	if r.timeline != "" {
		if file, timeline, err = beginTimeline(r.timeline, s); err != nil {
			return nil, err
		}
	}
	fail := func(err error) (*output, error) {
		if file != nil {
			file.discard()
		}
		return nil, err
	}
	u.done("%s: playing calls", r.plan)
	var recorded cost.Sequence
	for r.calls < 0 || s.Calls < r.calls {
		if s.Calls%1024 == 0 && ctx.Err() != nil {
			return fail(errInterrupted)
		}
		call, err := source.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fail(traceError(s, err))
		}
		s.Calls++
		s.Timed = call.Timed
		if !s.Random {
			if err := recorded.Call(call.Model); err != nil {
				return fail(err)
			}
		}
		for i, run := range s.Runs {
			if run.Replay == nil {
				continue
			}
			event, err := run.Replay.Do(call)
			if err == nil && timeline != nil {
				err = timeline.Add(i*len(run.Answer.Devices)+event.Device+1, &event)
			}
			if err != nil {
				return fail(timelineError(r.timeline, err))
			}
		}
	}
	if timeline != nil {
		err := timeline.Close()
		if err == nil {
			err = file.sync()
		}
		if err != nil {
			return fail(timelineError(r.timeline, err))
		}
	}
	for i, m := range s.Runs[0].Models {
		if !s.Random && recorded.Calls(i) == 0 {
			u.warn(fmt.Sprintf("%s: it has no call of model %q", s.Trace, m.Name))
		}
	}
	err = foresee(s, &recorded)
	if errors.Is(err, cost.ErrManyGaps) {
		u.warn(fmt.Sprintf("%s: %v: there is no closed form to compare with", s.Trace, err))
	} else if err != nil {
		return fail(err)
	}
	return file, nil
}

// foresee says by closed forms what the replay should have given.
func foresee(s *view.Simulation, recorded *cost.Sequence) error {
	s.Problem = s.Resolved.Problem
	if !s.Random {
		var err error
		if s.Problem, err = s.Resolved.Recorded(recorded); err != nil {
			return err
		}
	}
	for _, run := range s.Runs {
		if run.Answer == nil {
			continue
		}
		var err error
		if run.Predicted, err = planner.Evaluate(s.Problem, run.Answer.Groups()); err != nil {
			return err
		}
		if q, ok := s.Resolved.Queue(run.Predicted, 0); ok && s.Random {
			run.Queue = &q
		}
	}
	return nil
}

func beginTimeline(path string, s *view.Simulation) (*output, *replay.Timeline, error) {
	file, err := create(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: not written, what was there is untouched: %w", path, bare(err))
	}
	timeline := replay.NewTimeline(file)
	for i, run := range s.Runs {
		if run.Answer == nil {
			continue
		}
		for d := range run.Answer.Devices {
			name := run.Title() + ": " + run.Answer.Devices[d].Name
			if err := timeline.Process(i*len(run.Answer.Devices)+d+1, name, run.Models); err != nil {
				file.discard()
				return nil, nil, timelineError(path, err)
			}
		}
	}
	return file, timeline, nil
}

func timelineError(path string, err error) error {
	if errors.Is(err, replay.ErrTimelineFull) {
		return &failure{exitFailed, fmt.Errorf("%s: not written: %w", path, err), "give --calls 10000 to play the first of them only"}
	}
	return fmt.Errorf("%s: not written, what was there is untouched: %w", path, bare(err))
}

// traceError adds what the user may do about a bad line.
func traceError(s *view.Simulation, err error) error {
	e, ok := errors.AsType[*replay.TraceError](err)
	if !ok {
		return err
	}
	if e.Err != nil { // a folder, for one
		return fmt.Errorf("%s: %w", e.Name, bare(e.Err))
	}
	hint := e.Hint
	if e.Model != "" {
		var names []string
		for _, m := range s.Runs[0].Models {
			names = append(names, m.Name)
		}
		hint = didYouMean(e.Model, names, cmp.Or(hint, "the models of the plan are "+shortList(names)))
	}
	return &failure{exitFailed, e, hint}
}

// shortList names some things.
func shortList(names []string) string {
	const shown = 5
	if len(names) > shown {
		return strings.Join(names[:shown], ", ") + fmt.Sprintf(" and %d more", len(names)-shown)
	}
	return strings.Join(names, ", ")
}
