package main

import (
	"bytes"
	"cmp"
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
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans"
	"github.com/tpuplan/tpuplan/tflite"
)

func optimizeCommand(u *ui) *cli.Command {
	return &cli.Command{
		Name:      "optimize",
		Usage:     "find the best groups and compile orders of a plan",
		ArgsUsage: "PLAN.toml",
		Description: `Reads a plan file and its models, predicts what edgetpu_compiler would cache for
every group of models and every order worth trying, and prints the best plan
with its evidence. It also plans again for other values of what is not known,
and says whether one would change the plan, what it is then worth and which
command settles it; -v lists all. Of the plans that are best for some of these
values --hedge takes the one that is never far from the best: a plan that
cannot go badly wrong.
The decision is written to the lock beside the plan file, PLAN.lock.json, and
with --emit as build commands. What the lock decided before stays unless the
new plan is better by more than --min-gain, both with the models, rates and
facts of today; of a hedge, unless its largest regret is.

With --compiler given more than once it compares the plans for these releases
and writes nothing.`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "compiler", Usage: "plan for release `V` instead of the plan file's; may be repeated"},
			&cli.StringFlag{Name: "command", Usage: "shell `WORDS` that start the compiler, instead of EDGETPU_COMPILER and the plan file's"},
			formatFlag("table", "json"),
			&cli.StringFlag{Name: "emit", Usage: "also write build commands, `KIND` is make or sh, or what runs where, manifest; needs -o"},
			&cli.StringFlag{Name: "o", Usage: "`FILE` for --emit; \"-\" is stdout, which then holds nothing else"},
			&cli.BoolFlag{Name: "check", Usage: "write nothing; exit 3 if the lock's decision would change"},
			&cli.BoolFlag{Name: "diff", Usage: "--check, and print the difference instead of the plan"},
			&cli.BoolFlag{Name: "strict", Usage: "with --check, --diff or --locked: also exit 3 if only evidence changed"},
			&cli.BoolFlag{Name: "locked", Usage: "exit 3 if the lock's decision would change, else print and emit the lock's plan"},
			&cli.StringFlag{Name: "compile", Usage: "spend at most `N` real compiles on what the prediction cannot settle; they are kept as facts"},
			&cli.StringFlag{Name: "min-gain", Usage: "keep the lock's decision unless a new plan is better by more than `PCT` percent (default 2)"},
			&cli.BoolFlag{Name: "fresh", Usage: "plan as if there were no lock"},
			&cli.BoolFlag{Name: "hedge", Usage: "plan for the least largest regret, whatever turns out of what is not known, instead of the least value as assumed; --hedge=false overrides the plan file"},
			&cli.BoolFlag{Name: "require-optimal", Usage: "exit 5 and write nothing unless the plan is proven to be the best, ties included"},
			&cli.StringFlag{Name: "j", Usage: "search on at most `N` processors (default 0: all); the answer is the same"},
		},
		Action: func(c *cli.Context) error { return optimize(c, u) },
	}
}

// request is a checked command line of optimize.
type request struct {
	plan                        string
	versions                    []compile.Version // none: the plan file's
	commandText                 string            // --command
	command                     []string          // that is in force here; none: the plan file's
	json                        bool
	emit                        string
	output                      string
	check, diff, strict, locked bool
	requireOptimal              bool
	hedge                       hedging
	minGain                     float64 // a share
	minGainText                 string  // as given, "" for the default
	fresh                       bool
	workers                     int            // 0: as many as there are processors
	lock                        *plans.Lock    // beside the plan, nil if there is none that counts
	unread                      error          // why there is none: it holds a decision that must not be lost for that
	facts                       *compile.Facts // what real compiles taught; nil if nothing
	compiles                    int            // that may be spent on what the prediction cannot settle
}

func optimizeRequest(c *cli.Context, u *ui) (*request, error) {
	r := &request{
		json: c.String("format") == "json", emit: c.String("emit"), output: c.String("o"),
		check: c.Bool("check") || c.Bool("diff"), diff: c.Bool("diff"), strict: c.Bool("strict"), locked: c.Bool("locked"),
		requireOptimal: c.Bool("require-optimal"), minGain: planner.DefaultMinGain, fresh: c.Bool("fresh"),
	}
	if err := oneOf("--format", c.String("format"), "table", "json"); err != nil {
		return nil, err
	}
	for _, text := range c.StringSlice("compiler") {
		v, err := compile.ParseVersion(text)
		if err != nil {
			return nil, usageError("", "--compiler: %w", err)
		}
		if slices.Contains(r.versions, v) {
			return nil, usageError("", "--compiler %s is given twice", v)
		}
		r.versions = append(r.versions, v)
	}
	if r.commandText = c.String("command"); c.IsSet("command") && strings.TrimSpace(r.commandText) == "" {
		return nil, usageError("", "--command is empty")
	}
	if c.IsSet("compile") {
		n, err := intFlag(c, "compile", 1, 1000)
		if err != nil {
			return nil, err
		}
		r.compiles = n
	}
	if c.IsSet("j") {
		n, err := intFlag(c, "j", 0, 1000)
		if err != nil {
			return nil, err
		}
		r.workers = n
	}
	if c.IsSet("min-gain") {
		var err error
		if r.minGain, r.minGainText, err = percentFlag(c, "min-gain"); err != nil {
			return nil, err
		}
	}
	if r.emit != "" {
		if err := oneOf("--emit", r.emit, emit.Names()...); err != nil {
			return nil, err
		}
	}
	r.hedge.set, r.hedge.wanted = c.IsSet("hedge"), c.Bool("hedge")
	switch {
	case r.emit != "" && r.output == "":
		return nil, usageError("add -o build.mk, or -o - for stdout", "--emit needs -o FILE")
	case r.emit != "" && strings.ContainsAny(r.commandText, "$`"):
		return nil, usageError("paths are relative to the plan's folder, and docker takes --volume=.:/w; EDGETPU_COMPILER is read when the build file runs",
			"--command holds a variable, and the build file would hold what it stands for on this machine")
	case r.output != "" && r.emit == "":
		return nil, usageError("add --emit "+emit.Names()[0], "-o is where --emit writes to, and there is no --emit")
	case r.check && r.emit != "":
		return nil, usageError("--locked tests the same and emits", "%s writes nothing, so it cannot --emit", checkName(r))
	case r.check && r.locked:
		return nil, usageError("", "%s and --locked exclude each other", checkName(r))
	case r.strict && !r.check && !r.locked:
		return nil, usageError("", "--strict needs --check, --diff or --locked")
	case u.isStdout(r.output):
		return nil, usageError("write -o -, which leaves stdout to the build file alone", "-o %s is stdout", r.output)
	case r.compiles > 0 && (r.check || r.locked || len(r.versions) > 1):
		return nil, usageError("compile first, then compare", "--compile writes facts; it excludes --check, --diff, --locked and several --compiler")
	case r.fresh && r.minGainText != "":
		return nil, usageError("--min-gain 0 keeps the lock's decision only if nothing is better", "--fresh ignores the lock, so --min-gain has nothing to keep")
	case len(r.versions) > 1 && (r.fresh || r.minGainText != ""):
		return nil, usageError("give one --compiler", "several --compiler only compare; they exclude --min-gain and --fresh")
	case len(r.versions) > 1 && r.hedge.wanted:
		return nil, usageError("give one --compiler", "several --compiler compare plans as assumed; they exclude --hedge")
	case len(r.versions) > 1 && (r.check || r.locked || r.emit != ""):
		return nil, usageError("give one --compiler", "several --compiler only compare; they exclude --emit, --check, --diff and --locked")
	}
	var err error
	r.plan, err = planFile(c)
	return r, err
}

// percentFlag is the value of a flag in percent, as a share and in the words to say it again.
func percentFlag(c *cli.Context, name string) (share float64, text string, err error) {
	text = strings.TrimSpace(strings.TrimSuffix(c.String(name), "%"))
	percent, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.Trim(text, "0123456789.") != "" || percent >= 100 {
		return 0, "", usageError("", "%s is in percent, from 0 to below 100, such as 2 or 0.5, not %q", dashes(name), c.String(name))
	}
	return percent / 100, text, nil
}

// planFile is the argument of a command that takes a plan.
func planFile(c *cli.Context) (string, error) {
	if err := wantArgs(c, "plan file", 1, 1); err != nil {
		return "", err
	}
	name := c.Args().First()
	switch {
	case name == "":
		return "", usageError("", "the name of the plan file is empty")
	case strings.HasSuffix(name, ".lock.json"):
		return "", usageError("give the plan file that it belongs to", "%s is a lock, not a plan", name)
	case filepath.Ext(name) == ".tflite":
		return "", usageError("a plan file names models and how often they are called, see tpuplan help plan-file; tpuplan predict takes models", "%s is a model, not a plan", name)
	}
	return name, nil
}

func checkName(r *request) string {
	if r.diff {
		return "--diff"
	}
	return "--check"
}

func optimize(c *cli.Context, u *ui) error {
	r, err := optimizeRequest(c, u)
	if err != nil {
		return err
	}
	plan, err := plans.Load(r.plan)
	if err != nil {
		return err
	}
	if r.command, err = compilerCommand(c.Context, u, plan.Dir, r.commandText); err != nil {
		return err
	}
	if r.facts, err = factsOf(r.plan); err != nil {
		return err
	}
	if len(r.versions) > 1 {
		return compareVersions(c.Context, u, r, plan)
	}
	if r.lock, r.unread = lockOf(r); r.unread != nil && (r.check || r.locked || r.compiles > 0) {
		return r.unread
	}
	r.hedge.decide(u, r, plan)
	version := plan.Compiler.Version
	if len(r.versions) == 1 {
		version = r.versions[0]
	}
	planned, err := solve(c.Context, u, r, plan, version)
	if err != nil {
		return err
	}
	if err := checkFirmness(c.Context, u, r, planned); err != nil {
		return err
	}
	if r.compiles > 0 && c.Context.Err() == nil {
		if planned, err = settle(c.Context, u, r, plan, version, planned); err != nil {
			return err
		}
	}
	if r.hedge.wanted {
		if err := applyHedge(u, r, planned); err != nil {
			return err
		}
	}
	return conclude(c.Context, u, r, planned)
}

// lockOf is the lock beside the plan, nil if there is none or --fresh leaves it aside.
func lockOf(r *request) (*plans.Lock, error) {
	path := plans.LockPath(r.plan)
	write := !r.check && !r.locked
	// What is no file holds no decision, and writing the lock says what is wrong.
	if info, err := os.Stat(path); write && (r.fresh || err == nil && !info.Mode().IsRegular()) {
		return nil, nil
	}
	lock, err := plans.ReadLock(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return lock, err
}

// solve makes the plan for one release.
func solve(ctx context.Context, u *ui, r *request, plan *plans.Plan, version compile.Version) (*view.Planned, error) {
	resolved, err := plans.Resolve(ctx, plan, plans.Options{Version: &version, Command: r.command, Facts: r.facts})
	if err != nil {
		if ctx.Err() != nil {
			return nil, errInterrupted
		}
		return nil, err
	}
	if r.output != "-" {
		if err := checkOutput("-o", r.output, inputsOf(r.plan, resolved)); err != nil {
			return nil, err
		}
	}
	u.done("%s: searching groups of %d models for edgetpu_compiler %s", r.plan, len(resolved.Problem.Models), version)
	answer, err := planner.Solve(ctx, resolved.Problem, planner.Options{Workers: r.workers})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.plan, err)
	}
	switch status := answer.Certificate.Status; {
	case status == planner.Infeasible:
		return nil, &failure{exitInfeasible, fmt.Errorf("%s: %w", r.plan, status.Err()), "look at the pins group and order_before"}
	case status.Err() != nil && ctx.Err() != nil:
		return nil, errInterrupted
	case status.Err() != nil:
		return nil, fmt.Errorf("%s: %w", r.plan, status.Err())
	}
	// Nothing trusts the search's own book-keeping.
	if err := planner.Verify(resolved.Problem, answer); err != nil {
		return nil, fmt.Errorf("%s: the plan found does not hold (please report this): %w", r.plan, err)
	}
	k := resolved.Keep(answer, r.lock, r.minGain)
	if r.fresh || r.hedge.wanted { // a hedge is compared with the lock's by its regret
		k.Plan = answer
	}
	if err := planner.Verify(resolved.Problem, k.Plan); k.Plan != answer && err != nil {
		return nil, fmt.Errorf("%s: the plan kept does not hold (please report this): %w", r.plan, err)
	}
	if !r.hedge.wanted {
		for _, w := range resolved.WarningsOf(k.Plan) {
			u.warn(w.Error())
		}
	}
	return &view.Planned{Resolved: resolved, Plan: k.Plan, Lock: plans.NewLock(resolved, k.Plan), Locked: k.Locked, Unfit: k.Unfit}, nil
}

// checkFirmness finds out which assumptions would change the plan, and the
// hedge against them. An interrupt leaves it open: the plan is printed without.
// So is one that stays although another is better by more than a tie: no
// assumption is needed to change that.
func checkFirmness(ctx context.Context, u *ui, r *request, p *view.Planned) error {
	if k := p.Plan.Kept; k != nil && k.Gain > planner.Tie {
		return nil
	}
	watch := u.watch(r.plan + ": how firm is it?")
	findings, hedge, err := planner.FindHedge(ctx, p.Resolved.Problem, p.Plan, planner.Options{Workers: r.workers, Progress: watch.assumptions}, p.Resolved.Assumptions(p.Plan))
	watch.end()
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("%s: how firm the plan is: %w", r.plan, err)
	}
	p.Checked, p.Stability, p.Listed = true, findings, u.verbose
	p.Settling = settlings(r, p)
	p.Hedge, p.HedgeBy = hedge, hedgeCommand(r)
	for i := range findings {
		u.done("%s: %s", r.plan, p.Finding(i))
	}
	return nil
}

func compareVersions(ctx context.Context, u *ui, r *request, plan *plans.Plan) error {
	if plan.Hedge {
		u.note(fmt.Sprintf("%s: hedge = true is left aside, releases are compared as assumed", r.plan))
	}
	c := &view.Comparison{Own: plan.Compiler.Version}
	open := "" // of the first release that is not proven
	for _, v := range r.versions {
		p, err := solve(ctx, u, r, plan, v)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return errInterrupted // half a comparison misleads
		}
		c.Plans = append(c.Plans, *p)
		if text := view.Open(&p.Plan.Certificate); text != "" && open == "" {
			open = "edgetpu_compiler " + v.String() + ": " + text
		}
	}
	render := func() []byte { return view.Compare(c, u.style()) }
	if r.json {
		render = func() []byte { return view.ComparisonJSON(c) }
	}
	if err := u.print(render()); err != nil {
		return err
	}
	return verdict(ctx, r, open, nil)
}

// verdict is the error, if any, of a plan that was found: it is printed, but nothing is written.
// open is what keeps it from being proven, c its certificate, nil if it is several.
func verdict(ctx context.Context, r *request, open string, c *planner.Certificate) error {
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case r.requireOptimal && open != "":
		hint := "no file was written; leave out --require-optimal to take the plan as it is"
		switch {
		case c == nil:
			hint = "no file is written where releases are compared; leave out --require-optimal to compare what was found"
		case c.Limit == planner.LimitKept:
			hint = "no file was written; the lock's plan stays, --fresh takes a better one"
		case c.Status == planner.Optimal:
			hint += ", or pin models into smaller groups, whose orders are all tried"
		case c.Limit == planner.LimitModels || c.Limit == planner.LimitNodes:
			hint += ", or pin models that belong together with group"
		}
		return &failure{exitUnproven, fmt.Errorf("%s: the plan is not proven to be optimal: %s", r.plan, open), hint}
	}
	return nil
}

// conclude prints, compares and writes, as the flags want it.
func conclude(ctx context.Context, u *ui, r *request, p *view.Planned) error {
	certificate := &p.Plan.Certificate
	if err := cmp.Or(hedgeVerdict(ctx, r, p), verdict(ctx, r, view.Open(certificate), certificate)); err != nil {
		return errors.Join(u.printPlan(r, p), err)
	}
	lock, path := p.Lock, plans.LockPath(r.plan)
	if r.check || r.locked {
		stale := staleness(u, r, path, r.lock, lock)
		if r.check {
			return errors.Join(u.printCheck(r, p, path), stale)
		}
		if stale != nil {
			return stale
		}
		lock = r.lock
	} else if r.unread != nil {
		if r.output == "-" {
			return r.unread
		}
		return errors.Join(u.printPlan(r, p), r.unread)
	} else if p.Unfit != nil {
		u.note(fmt.Sprintf("%s: its decision is not kept: %s", path, strings.ReplaceAll(p.Unfit.Error(), "\n", "; ")))
	}
	fragment, err := render(r, lock)
	if err != nil {
		return err
	}
	// Files come first: a reader of stdout who leaves early, such as head, ends
	// the program, and the lock would be missing for no visible reason.
	err = write(u, r, path, lock, fragment)
	if r.output == "-" {
		if err != nil {
			return err
		}
		return u.print(fragment)
	}
	if err == nil {
		p.Next = nextCommand(r, len(lock.Build(r.plan).Groups) > 0)
	}
	return errors.Join(u.printPlan(r, p), err)
}

func (u *ui) printPlan(r *request, p *view.Planned) error {
	if r.json {
		return u.print(view.PlanJSON(p))
	}
	return u.print(view.Plan(p, u.style()))
}

// printCheck prints one line if the decision stays, else what would change; with
// --diff it is what would change in the lock, for programs it is the plan.
func (u *ui) printCheck(r *request, p *view.Planned, path string) error {
	switch {
	case r.diff:
		changes, err := plans.Diff(path, r.lock, p.Lock)
		if err != nil {
			return err
		}
		return u.print(changes)
	case r.json:
		return u.printPlan(r, p)
	case r.lock != nil && len(plans.Compare(r.lock, p.Lock).Decision) == 0:
		return u.print(view.Holds(p, path))
	}
	return u.print(view.Changes(p, path, r.again(), u.style()))
}

// words are the beginning of a command that plans as this one does.
func (r *request) words() []string {
	words := []string{"tpuplan", "optimize"}
	if len(r.versions) > 0 { // the plan file may name another one
		words = append(words, "--compiler", r.versions[0].String())
	}
	words = append(words, r.hedge.words()...)
	if r.minGainText != "" {
		words = append(words, "--min-gain", r.minGainText)
	}
	return words
}

// again is the command that writes what this one would, as a shell takes it.
func (r *request) again() string {
	words := r.words()
	if r.fresh {
		words = append(words, "--fresh")
	}
	return strings.Join(quoted(append(words, r.plan)), " ")
}

// quoted are words as a shell takes them.
func quoted(words []string) []string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = emit.Quote(w)
	}
	return list
}

// staleness compares the lock with what would be decided now. Changed
// evidence alone is only told, unless --strict is given.
func staleness(u *ui, r *request, path string, old, lock *plans.Lock) error {
	if old == nil {
		return &failure{exitStale, fmt.Errorf("%s: there is no lock", path), "run " + r.again()}
	}
	var errs []error
	changes := plans.Compare(old, lock)
	for _, reason := range changes.Decision {
		errs = append(errs, &failure{code: exitStale, err: fmt.Errorf("%s: the decision changes: %s", path, reason)})
	}
	for _, reason := range changes.Evidence {
		if r.strict {
			errs = append(errs, &failure{code: exitStale, err: fmt.Errorf("%s: the evidence changes: %s", path, reason)})
		} else {
			u.note(fmt.Sprintf("%s: the evidence changes, the decision does not: %s", path, reason))
		}
	}
	report := r.check && !r.diff && !r.json && len(changes.Decision) > 0 // which has the command
	if n := len(errs); n > 0 && !report {
		errs[n-1].(*failure).hint = "run " + r.again()
	}
	return errors.Join(errs...)
}

// nextCommand is what to run after this, as a shell takes it; build says that
// there is something to compile.
func nextCommand(r *request, build bool) string {
	folder := ""
	if dir := filepath.Dir(r.plan); dir != "." {
		folder = "cd " + emit.Quote(dir) + " && "
	}
	switch r.emit {
	case "make":
		return folder + "make -f " + emit.Quote(relative(r.plan, r.output))
	case "sh":
		return folder + "sh " + emit.Quote(relative(r.plan, r.output))
	case "manifest":
		if build {
			return "tpuplan compile " + emit.Quote(plans.LockPath(r.plan))
		}
		return "tpuplan validate " + emit.Quote(plans.LockPath(r.plan))
	}
	optimize := strings.Join(quoted(r.words()), " ")
	if !build {
		return optimize + " --emit manifest -o " + emit.Quote(filepath.Join(filepath.Dir(r.plan), "manifest.json")) + " " + emit.Quote(r.plan)
	}
	return optimize + " --emit make -o " + emit.Quote(filepath.Join(filepath.Dir(r.plan), "build.mk")) + " " + emit.Quote(r.plan)
}

// relative is a path as seen from the folder of the plan file, where build files run.
func relative(plan, path string) string {
	folder, err := filepath.Abs(filepath.Dir(plan))
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if rel, e := filepath.Rel(folder, path); err == nil && e == nil {
		path = rel
	}
	return filepath.ToSlash(path)
}

// render makes the build file, nil without --emit.
func render(r *request, lock *plans.Lock) ([]byte, error) {
	if r.emit == "" {
		return nil, nil
	}
	build := lock.Build(r.plan)
	if r.emit == "manifest" {
		whatIsBuilt(filepath.Dir(r.plan), build)
	} else if len(build.Groups) == 0 {
		return nil, fmt.Errorf("%s: %w", r.plan, errNothingToCompile)
	}
	words := r.words()
	build.Check = append(slices.Clone(words), "--check", build.Plan)
	if r.commandText != "" {
		// The variable is read when the build file runs; the flag would be forgotten.
		build.Command = r.command
		words = append(words, "--command", r.commandText)
	}
	output := r.output
	if output != "-" {
		output = relative(r.plan, output)
		build.Output = output
	}
	build.Regenerate = append(words, "--emit", r.emit, "-o", output, build.Plan)
	var b bytes.Buffer
	if err := emit.Formats()[r.emit](&b, build); err != nil {
		return nil, fmt.Errorf("%s: %w", r.plan, err)
	}
	return b.Bytes(), nil
}

// whatIsBuilt adds to the placements what the compiled files say, group by
// group: where all of them are there and come from one call.
func whatIsBuilt(dir string, b *emit.Build) {
	type built struct {
		token uint64
		sha   string
	}
	groups := map[string][]built{} // those of which everything is there
	missing := map[string]bool{}
	for i := range b.Placements {
		p := &b.Placements[i]
		f, err := tflite.Open(plans.LocalPath(dir, p.File))
		if err != nil {
			missing[p.Group] = true
			continue
		}
		c, err := f.Compiled()
		if err != nil || len(c.Tokens()) != 1 {
			missing[p.Group] = true
			continue
		}
		x := built{c.Tokens()[0], f.SHA256()}
		if g := groups[p.Group]; len(g) > 0 && g[0].token != x.token {
			missing[p.Group] = true
		}
		groups[p.Group] = append(groups[p.Group], x)
	}
	for i := range b.Placements {
		p := &b.Placements[i]
		if missing[p.Group] {
			continue
		}
		x := groups[p.Group][0]
		groups[p.Group] = groups[p.Group][1:]
		p.Token, p.SHA256 = fmt.Sprintf("0x%016x", x.token), x.sha
	}
}

// write puts the lock and the build file in place. The build file is complete
// on the disk before anything old is replaced.
func write(u *ui, r *request, path string, lock *plans.Lock, fragment []byte) error {
	commit := func() error { return nil }
	if r.emit != "" && r.output != "-" {
		var discard func()
		var err error
		if commit, discard, err = replace(r.output, fragment); err != nil {
			return fmt.Errorf("%s: not written, what was there is untouched: %w", r.output, bare(err))
		}
		defer discard()
	}
	if !r.locked {
		if err := plans.WriteLock(path, lock); err != nil {
			return err
		}
		u.done("%s: up to date", path)
	}
	if err := commit(); err != nil {
		return fmt.Errorf("%s: not written, what was there is untouched: %w", r.output, bare(err))
	}
	if r.emit != "" && r.output != "-" {
		u.done("%s: written", r.output)
	}
	return nil
}

// bare is a file error without operation and path, which the message has.
func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

func sameFile(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	if errA == nil && errB == nil {
		return os.SameFile(x, y)
	}
	absA, errA := filepath.Abs(a)
	absB, errB := filepath.Abs(b)
	return errA == nil && errB == nil && absA == absB
}
