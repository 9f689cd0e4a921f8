// Package emit writes the compiler calls of a plan as build files, one file of
// this package per build system.
//
// Fill a Build and hand it to Make, Shell, or whatever Formats has under the
// name the user gave. A build file needs neither tpuplan nor the plan when it
// runs, only a POSIX shell and edgetpu_compiler. Whatever the system, a group
// is compiled by the same shell text (see shell.go), which keeps these promises:
//
//   - the call writes to a temporary folder inside the output folder, and the
//     outputs of a group are moved into place only when all of them are there;
//   - a failed compile leaves the old outputs alone, shows the compiler's
//     output and keeps it beside them (compile.Invocation.LogFile);
//   - a "success" without every output, or with a model of which nothing maps
//     to the Edge TPU, is a failure;
//   - an internal compiler error is tried once more, and said.
//
// All paths are slash-separated, relative to the plan's folder; that is where
// build files run.
package emit

import (
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/compile"
)

// Build is everything that a build file says.
type Build struct {
	Plan    string   // plan file, for the header and the check rule; "" leaves both out
	Lock    string   // lock file, for the header; may be ""
	Command []string // words of the compiler command, the default of EDGETPU_COMPILER
	Flags   []string // the plan's compiler flags, the default of EDGETPU_COMPILER_FLAGS
	OutDir  string   // output folder, the default of TPUPLAN_OUT_DIR; "" is the plan's folder
	// FixedOutDir: TPUPLAN_OUT_DIR has no say. Only Make knows it.
	FixedOutDir bool
	Version     string  // release of the compiler that is planned for
	Groups      []Group // one compiler call each
	Output      string  // name of the build file, for the header; "" if it goes to stdout

	// Regenerate is the whole command line that writes this file again,
	// program name first; the build file puts $(TPUPLAN) for that. Empty, or
	// without an Output: there is no rule for it.
	Regenerate []string
	// Check is the command line that tells whether the plan still has this
	// answer, program name first. Empty: tpuplan optimize --check PLAN.
	Check []string
	// Placements are all models of the plan, those included that are compiled
	// already, in the order of the devices and on each of the first calls.
	Placements []Placement
}

// Group is one compiler call.
type Group struct {
	Name  string   // unique in the plan, without "/"
	Files []string // the models in command-line order
	// Folder, below the output folder, takes the outputs; "" is the output
	// folder itself. Groups of one base name can lie in folders side by side.
	Folder string
}

// Writer writes one kind of build file. It checks b before the first byte is
// written; a name that the build system cannot hold is a *NameError.
type Writer func(w io.Writer, b *Build) error

// Formats maps the names that --emit takes to their writers. All but
// "manifest" are build files, which want Groups.
func Formats() map[string]Writer {
	return map[string]Writer{"make": Make, "sh": Shell, "manifest": Manifest}
}

// Names lists the keys of Formats in order, for help texts.
func Names() []string { return slices.Sorted(maps.Keys(Formats())) }

// NameError is a name that a build system cannot express.
type NameError struct {
	Format string // what cannot hold it: "make", "sh"
	Kind   string // what is named: model, group, out_dir, ...
	Name   string
	Reason string // "it contains \"%\""
	Hint   string
}

// Error names the thing, says what is wrong with it and what to do.
func (e *NameError) Error() string {
	return fmt.Sprintf("%s %q: %s cannot hold this name: %s (%s)", e.Kind, e.Name, e.Format, e.Reason, e.Hint)
}

// invocation is the compiler call of a group.
func (b *Build) invocation(g *Group) *compile.Invocation {
	dir := b.OutDir
	if g.Folder != "" {
		dir = path.Join(dir, g.Folder)
	}
	return &compile.Invocation{Command: b.Command, Flags: b.Flags, OutDir: dir, Group: g.Name, Files: g.Files}
}

// models are the words of a group's call behind "-o" and its folder. Build
// files have variables for everything before.
func (b *Build) models(g *Group) []string {
	return b.invocation(g).Argv()[len(b.Command)+len(b.Flags)+2:]
}

// outputNames are the base names of what a group compiles to.
func (g *Group) outputNames() []string {
	names := make([]string, len(g.Files))
	for i, file := range g.Files {
		names[i] = compile.OutputName(file)
	}
	return names
}

// outDir is the output folder as the compiler call spells it, "" for the root:
// what lies in it is called outDir() + "/" + name.
func (b *Build) outDir() string {
	return strings.TrimSuffix((&compile.Invocation{OutDir: b.OutDir}).TempDir(), "/.tpuplan-")
}

// checkArgs is the command line of the check rule, nil for none.
func (b *Build) checkArgs() []string {
	if len(b.Check) > 0 || b.Plan == "" {
		return b.Check
	}
	return []string{"tpuplan", "optimize", "--check", b.Plan}
}

// header writes the comment lines that every build file starts with. run is
// the command that a user types to build.
func (b *Build) header(w io.Writer, run string) {
	line := func(format string, words ...string) {
		// A newline inside a quoted word would end the comment.
		text := strings.NewReplacer("\n", "?", "\r", "?").Replace(quoteAll(words))
		fmt.Fprintf(w, "# "+format+"\n", text)
	}
	fmt.Fprintf(w, "# Code generated by tpuplan; DO NOT EDIT.\n#\n")
	if len(b.Regenerate) > 0 {
		line("written by  %s", b.Regenerate...)
	}
	if b.Plan != "" {
		line("plan        %s", b.Plan)
	}
	if b.Lock != "" {
		line("decision    %s", b.Lock)
	}
	if b.Output != "" {
		line("run it in the plan's folder: "+run+" %s", b.Output)
	}
	fmt.Fprintln(w, "#")
}

// check reports what a build file cannot express: nonsense in b that is the
// same for every format, and names for which forbid has a reason.
func (b *Build) check(format string, forbid func(kind, name string) (reason, hint string)) error {
	var first error
	test := func(kind, name string) {
		if first != nil {
			return
		}
		if reason, hint := forbid(kind, name); reason != "" {
			first = &NameError{Format: format, Kind: kind, Name: name, Reason: reason, Hint: hint}
		}
	}
	all := func(kind string, words []string) {
		for _, word := range words {
			test(kind, word)
		}
	}
	if len(b.Command) == 0 {
		return fmt.Errorf("there is no compiler command to write (set command in the plan's [compiler] table)")
	}
	if len(b.Groups) == 0 {
		return fmt.Errorf("there is no group of models to write")
	}
	all("command", b.Command)
	all("flag", b.Flags)
	all("plan", []string{b.Plan, b.Lock, b.Output})
	all("argument", b.Regenerate)
	all("argument", b.Check)
	test("out_dir", b.OutDir)

	groups := map[string]bool{}
	models := map[string]bool{}
	outputs := map[string]string{}
	for i := range b.Groups {
		g := &b.Groups[i]
		if len(g.Files) == 0 {
			return fmt.Errorf("group %q has no model", g.Name)
		}
		if g.Name == "" || strings.Contains(g.Name, "/") {
			return &NameError{Format: format, Kind: "group", Name: g.Name, Reason: `it is empty or contains "/"`, Hint: "choose another label"}
		}
		if groups[g.Name] {
			return fmt.Errorf("there are two groups %q: their compiler calls would share a folder", g.Name)
		}
		groups[g.Name] = true
		test("group", g.Name)
		test("out_dir", g.Folder)
		for j, output := range b.invocation(g).Outputs() {
			file := g.Files[j]
			if file == "" {
				return fmt.Errorf("group %q has a model without a file name", g.Name)
			}
			test("model", file)
			models[path.Clean(file)] = true
			if other, ok := outputs[path.Clean(output)]; ok {
				return fmt.Errorf("models %q and %q would both be compiled to %q (rename one of the files)", other, file, output)
			}
			outputs[path.Clean(output)] = file
		}
	}
	for _, g := range b.Groups {
		for _, output := range b.invocation(&g).Outputs() {
			if models[path.Clean(output)] {
				return fmt.Errorf("model %q would be overwritten by the compiled form of %q (choose another out_dir)", output, outputs[path.Clean(output)])
			}
		}
	}
	return first
}
