package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/emit"
	compilerun "github.com/tpuplan/tpuplan/compile/run" // run is the program
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans"
)

// compileTimeout is far above any compile that is known to have ended; one
// with a time limit of 3600 s is.
const compileTimeout = 2 * time.Hour

func compileCommand(u *ui) *cli.Command {
	return &cli.Command{
		Name:      "compile",
		Usage:     "run edgetpu_compiler as the lock says and compare",
		ArgsUsage: "PLAN.lock.json",
		Description: `Runs the compiler calls of a lock in the folder of the lock and compares what
was built with what the lock predicts; exit 3 if it differs. The outputs of a
group are replaced all together, and only if the whole call was a success. What
the compiler printed is kept as GROUP.log in the output folder. A build file of
the same plan finds nothing left to do, unless it would run another command.

What was learnt goes to PLAN.facts.json beside the lock, for optimize. If
something differs it is also said whether optimize, knowing that, would decide
otherwise.

EDGETPU_COMPILER names another compiler command, in shell words.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "n", Aliases: []string{"dry-run"}, Usage: "print the commands, run nothing"},
			&cli.IntFlag{Name: "j", Value: 1, Usage: "compile `N` groups side by side"},
			&cli.StringSliceFlag{Name: "group", Usage: "only the group `NAME`; may be repeated"},
			&cli.BoolFlag{Name: "probe-order", Usage: "compile each group a second time with its models reversed, and say whether the order mattered"},
			&cli.DurationFlag{Name: "timeout", Value: compileTimeout, Usage: "stop a compiler call that takes longer than `D`, such as 90s or 10m (default 2h)"},
			formatFlag("table", "json"),
		},
		Action: func(c *cli.Context) error { return compileLock(c, u) },
	}
}

var errNothingToCompile = errors.New("nothing to compile: every model of the plan is compiled already")

func compileLock(c *cli.Context, u *ui) error {
	format := c.String("format")
	if err := oneOf("--format", format, "table", "json"); err != nil {
		return err
	}
	switch {
	case c.Int("j") < 1:
		return usageError("", "-j %d: at least one group at a time", c.Int("j"))
	case c.Bool("n") && format == "json":
		return usageError("leave one of them out", "-n prints commands, not JSON")
	case c.Duration("timeout") <= 0:
		return usageError("leave it out for 2h", "--timeout is a time above zero, such as 10m")
	}
	if err := wantArgs(c, "lock", 1, 1); err != nil {
		return err
	}
	path := c.Args().First()
	if filepath.Ext(path) == ".toml" {
		return usageError("run tpuplan compile "+emit.Quote(plans.LockPath(path)), "%s is a plan, not a lock", path)
	}
	lock, err := plans.ReadLock(path)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	command, err := compilerCommand(c.Context, u, dir, "")
	if err != nil {
		return err
	}
	if command == nil {
		command = lock.Decision.Command
	}
	for _, name := range []string{"EDGETPU_COMPILER_FLAGS", "TPUPLAN_OUT_DIR"} {
		if u.getenv(name) != "" {
			u.warn(name + " is for build files: tpuplan compile does what the lock says")
		}
	}
	groups, err := lockedGroups(lock, command, c.StringSlice("group"))
	if err != nil {
		return err
	}
	if c.Bool("n") {
		return u.print(commands(dir, groups, c.Bool("probe-order")))
	}
	version, err := compile.ParseVersion(lock.Decision.Compiler)
	if err != nil {
		return err
	}
	learner, err := newPupil(path)
	if err != nil {
		return err
	}
	compiled := &view.Compiled{Lock: filepath.ToSlash(path), Compiler: lock.Decision.Compiler, Learnt: learner.learnt}
	var unwritten error // facts
	err = compilerun.Run(c.Context, groups, compilerun.Options{
		Dir: dir, Version: version, Jobs: c.Int("j"), Timeout: c.Duration("timeout"), ProbeOrder: c.Bool("probe-order"),
	}, func(r *compilerun.Result) {
		for _, w := range r.Warnings {
			u.warn(w)
		}
		if r.Built != nil {
			u.done("group %q: compiled", r.Group.Group)
			// After each group: what comes later may fail or be interrupted.
			err := learner.learnBuilt(context.WithoutCancel(c.Context), dir, r)
			if err == nil {
				err = learner.write(u)
			}
			if err != nil && unwritten == nil {
				unwritten = &failure{exitFailed, err, "the group is built, but what it teaches is not kept"}
			}
		}
		compiled.Results = append(compiled.Results, r)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", compiled.Lock, err)
	}
	compiled.Reoptimized = reoptimize(c.Context, path, lock, learner.facts, compiled)
	out := view.Compile(compiled, u.style())
	if format == "json" {
		out = view.CompileJSON(compiled)
	}
	return errors.Join(u.print(out), unwritten, compiledVerdict(u, compiled))
}

// reoptimize finds out whether the decision would be another one with what
// was learnt, if something was built otherwise than predicted; else nil.
func reoptimize(ctx context.Context, path string, lock *plans.Lock, facts *compile.Facts, c *view.Compiled) *view.Reoptimized {
	if !slices.ContainsFunc(c.Results, func(r *compilerun.Result) bool { return len(r.Differences) > 0 }) || ctx.Err() != nil {
		return nil
	}
	x := &view.Reoptimized{Plan: filepath.ToSlash(plans.PlanPath(path))}
	unknown := func(format string, args ...any) *view.Reoptimized {
		x.Unknown = fmt.Sprintf(format, args...)
		return x
	}
	plan, err := plans.Load(plans.PlanPath(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return unknown("%s is not there", x.Plan)
	case err != nil:
		return unknown("%s has errors", x.Plan)
	case !lock.Describes(plan):
		return unknown("%s says something else than when the lock was made", x.Plan)
	}
	version, err := compile.ParseVersion(lock.Decision.Compiler)
	var resolved *plans.Resolved
	var answer *planner.Plan
	if err == nil {
		resolved, err = plans.Resolve(ctx, plan, plans.Options{Version: &version, Facts: facts})
	}
	if err == nil {
		answer, err = planner.Solve(ctx, resolved.Problem, planner.Options{})
	}
	if err == nil {
		err = answer.Certificate.Status.Err()
	}
	if err == nil {
		// A gain that optimize would leave is no change.
		if lock.Evidence.Hedge == nil {
			answer = resolved.Keep(answer, lock, planner.DefaultMinGain).Plan
		} else {
			answer, err = rehedge(ctx, resolved, answer, lock)
		}
	}
	if err == nil {
		err = planner.Verify(resolved.Problem, answer)
	}
	if err != nil || ctx.Err() != nil {
		return unknown("%v", cmp.Or(ctx.Err(), err))
	}
	x.Changes = plans.Compare(lock, plans.NewLock(resolved, answer)).Decision
	return x
}

// rehedge is the hedge, or the lock's that stays.
func rehedge(ctx context.Context, resolved *plans.Resolved, answer *planner.Plan, lock *plans.Lock) (*planner.Plan, error) {
	_, hedge, err := planner.FindHedge(ctx, resolved.Problem, answer, planner.Options{}, resolved.Assumptions(answer))
	if err != nil {
		return nil, err
	}
	k, err := resolved.KeepHedge(answer, hedge, lock, planner.DefaultMinGain)
	return k.Plan, err
}

// compilerCommand is the command that a flag sets, else EDGETPU_COMPILER, both
// in shell words; nil leaves it to the plan or the lock.
func compilerCommand(ctx context.Context, u *ui, dir, flag string) ([]string, error) {
	name, text := "--command", flag
	if text == "" {
		name, text = "EDGETPU_COMPILER", u.getenv("EDGETPU_COMPILER")
	}
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	command, err := compilerun.Words(ctx, dir, text)
	if err != nil {
		return nil, interrupted(ctx, usageError("", "%s: %w", name, err))
	}
	if len(command) == 0 {
		return nil, usageError("name a compiler, or leave it out", "%s has no words", name)
	}
	return command, nil
}

// lockedGroups are the compiler calls of a lock with what it predicts for
// them: those that are named, or all.
func lockedGroups(lock *plans.Lock, command, only []string) ([]compilerun.Group, error) {
	evidence := map[string]*plans.LockedModel{}
	for i := range lock.Evidence.Models {
		evidence[lock.Evidence.Models[i].Name] = &lock.Evidence.Models[i]
	}
	build := lock.Build("")
	var groups []compilerun.Group
	var known []string
	for _, d := range lock.Decision.Devices {
		for _, g := range d.Groups {
			if g.Compiled {
				if slices.Contains(only, g.Name) {
					return nil, usageError("", "group %q is compiled already: there is nothing to run", g.Name)
				}
				continue
			}
			known = append(known, g.Name)
			emitted := &build.Groups[len(known)-1]
			if len(only) > 0 && !slices.Contains(only, g.Name) {
				continue
			}
			group := compilerun.Group{Invocation: compile.Invocation{
				Command: command, Flags: lock.Decision.Flags, OutDir: lock.Decision.OutDir, Group: g.Name, Files: g.Files,
			}, Mark: build.Mark(emitted, command)}
			for _, name := range g.Models {
				e := evidence[name]
				group.Models = append(group.Models, compilerun.Model{
					Name: name, SHA256: e.SHA256, Cached: e.CachedBytes, Streamed: e.StreamedBytes, Certainty: e.Certainty,
				})
			}
			groups = append(groups, group)
		}
	}
	for _, name := range only {
		if !slices.Contains(known, name) {
			return nil, usageError(didYouMean(name, known, "the groups are "+strings.Join(known, ", ")), "the lock has no group %q", name)
		}
	}
	if len(groups) == 0 {
		return nil, errNothingToCompile
	}
	return groups, nil
}

// commands are the compiler calls as a shell takes them.
func commands(dir string, groups []compilerun.Group, probe bool) []byte {
	var b bytes.Buffer
	line := func(words []string) {
		b.WriteString(strings.Join(quoted(words), " ") + "\n")
	}
	if dir != "." {
		line([]string{"cd", dir})
	}
	for i := range groups {
		line(groups[i].Argv())
		if probe && len(groups[i].Files) > 1 {
			reversed := compilerun.Reversed(&groups[i].Invocation)
			line(reversed.Argv())
		}
	}
	return b.Bytes()
}

// compiledVerdict turns what became of the groups into the error of the command. What
// failed comes first: it decides the exit code.
func compiledVerdict(u *ui, c *view.Compiled) error {
	var failed, differs []error
	stopped := false
	for _, r := range c.Results {
		if e, ok := errors.AsType[*compilerun.Error](r.Err); ok {
			if e.Output != "" && !u.quiet {
				fmt.Fprintln(u.err, e.Output)
			}
			failed = append(failed, &failure{exitFailed, e, e.Hint})
		} else if r.Err != nil {
			stopped = true
		}
		for _, d := range r.Differences {
			differs = append(differs, &failure{code: exitStale, err: errors.New(d.Text)})
		}
	}
	if stopped {
		err := &failure{exitInterrupted, errors.New("interrupted"), "groups that were not finished are as they were before"}
		return errors.Join(append([]error{err}, failed...)...)
	}
	if n := len(differs); n > 0 && c.Reoptimized != nil {
		differs[n-1].(*failure).hint = c.Reoptimized.Sentence()
	}
	return errors.Join(append(failed, differs...)...)
}
