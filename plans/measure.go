package plans

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/emit"
	"github.com/tpuplan/tpuplan/planner"
)

// ThisPlan is the name of a plan's own arrangement among those that it is
// compared with.
const ThisPlan = "plan"

// Arrangement is a way to compile all models of a plan, and the compiled files
// that are the result of it.
type Arrangement struct {
	Name   string   // ThisPlan, planner.Separate, planner.AsGiven
	Groups [][]int  // models (indexes) in command-line order
	Files  []string // of each model, slash paths relative to the plan's folder
	// Answer is what the arrangement was predicted to give; nil if it violates
	// a pin, which Violation says then.
	Answer    *planner.Plan
	Violation error
	// Same is an arrangement before it in the list that has the same files, "" if there is none.
	Same string
	// calls are compiler calls of the measuring set that make some of the files.
	calls []emit.Group
}

// AloneFolder is the folder in a plan's output folder where models lie that
// were compiled each alone, for measuring: what profile measures is what
// validate calls separate.
const AloneFolder = "alone"

// TimedFiles are where a plan's build and its measuring sets leave the compiled
// form of a model, slash paths relative to the plan's folder: compiled alone, as
// the plan compiles it, and together with all others as given. What profile
// measures is the first; what it measures as squeezed is the second.
func (p *Plan) TimedFiles(modelFile string) []string {
	name := compile.OutputName(modelFile)
	return []string{
		path.Join(p.Compiler.OutDir, AloneFolder, name),
		path.Join(p.Compiler.OutDir, name),
		path.Join(p.Compiler.OutDir, planner.AsGiven, name),
	}
}

// Arrangements are the lock's decision, all models separate, and all together
// as given. What the plan compiles in the same way anyway is taken from where the plan has it.
// The rest is a set of files for measuring, in OUT_DIR/alone and
// OUT_DIR/as-given; [Lock.MeasuringBuild] makes it. The lock must be one of the
// resolved plan.
func (l *Lock) Arrangements(r *Resolved) ([]Arrangement, error) {
	own, err := l.Grouping(r.Problem)
	if err != nil {
		return nil, err
	}
	list := []Arrangement{{Name: ThisPlan, Groups: own}}
	for _, name := range []string{planner.Separate, planner.AsGiven} {
		groups, err := planner.BaselineGroups(r.Problem, name)
		if err != nil {
			return nil, err
		}
		list = append(list, Arrangement{Name: name, Groups: groups})
	}
	planned := map[string][]string{} // files by the models of a group in order
	for _, d := range l.Decision.Devices {
		for i := range d.Groups {
			planned[strings.Join(d.Groups[i].Models, "\n")] = l.Outputs(&d.Groups[i])
		}
	}
	for k := range list {
		a := &list[k]
		a.Answer, a.Violation = planner.Evaluate(r.Problem, a.Groups)
		a.Files = make([]string, len(r.Files))
		for _, g := range a.Groups {
			for n, file := range l.filesOf(r, a, g, planned) {
				a.Files[g[n]] = file
			}
		}
		for j := range list[:k] {
			if a.Same == "" && slices.Equal(a.Files, list[j].Files) {
				a.Same = list[j].Name
			}
		}
	}
	return list, nil
}

// filesOf are the compiled files of a group of an arrangement.
func (l *Lock) filesOf(r *Resolved, a *Arrangement, g []int, planned map[string][]string) []string {
	names, sources := make([]string, len(g)), make([]string, len(g))
	for n, i := range g {
		names[n], sources[n] = r.Files[i].Name, r.Plan.Models[i].File
	}
	if files, as := planned[strings.Join(names, "\n")]; as {
		return files
	}
	if r.Files[g[0]].Compiled != nil { // in whatever order they are listed
		return sources
	}
	call := emit.Group{Name: a.Name, Files: sources, Folder: a.Name}
	if len(g) == 1 {
		call.Folder = AloneFolder
		call.Name = strings.TrimSuffix(path.Base(sources[0]), path.Ext(sources[0]))
	}
	a.calls = append(a.calls, call)
	invocation := compile.Invocation{OutDir: path.Join(l.Decision.OutDir, call.Folder), Files: sources}
	return invocation.Outputs()
}

// MeasuringBuild is what a build file says that compiles the measuring set of
// arrangements; one that violates a pin is left out. It is an error if there is nothing to
// compile. The caller adds Output and Regenerate.
func (l *Lock) MeasuringBuild(lockPath string, list []Arrangement) (*emit.Build, error) {
	b := &emit.Build{
		Lock:    filepath.Base(lockPath),
		Command: l.Decision.Command, Flags: l.Decision.Flags, OutDir: l.Decision.OutDir, FixedOutDir: true, Version: l.Decision.Compiler,
	}
	for i := range list {
		if list[i].Violation == nil && list[i].Same == "" {
			b.Groups = append(b.Groups, list[i].calls...)
		}
	}
	if len(b.Groups) == 0 {
		return nil, fmt.Errorf("there is nothing to compile for measuring: the plan's own files are all that is compared")
	}
	return b, nil
}
