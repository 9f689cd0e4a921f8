package emit

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/tpuplan/tpuplan/compile"
)

// tellLost is what a make without grouped targets does about an output that
// was deleted behind its back: it takes the output's mark away, so that the
// next make compiles its group. The arguments are the output folder and the
// output names of a group.
const tellLost = `out=$1; shift;
for f do
  if [ ! -f "$out/$f" ]; then
    rm -rf "$out/.tpuplan/$f";
    printf "tpuplan: error: %s is gone: run make again\n" "$out/$f" >&2; exit 1;
  fi;
done
`

// makePrelude opens every fragment. GNU make and bmake have no conditionals in
// common, so what depends on the make is picked by the name of a variable:
// $(tpuplan_x_$(tpuplan_grouped)) is tpuplan_x_grouped-target in GNU make >= 4.3
// and tpuplan_x_ elsewhere. In bmake a GNU function is a variable that does
// not exist, thus empty; in GNU make the same holds for bmake's modifiers.
const makePrelude = `
tpuplan_goal := $(.DEFAULT_GOAL)
tpuplan_gnu := $(if 1,gnu)
tpuplan_grouped := $(findstring grouped-target,$(.FEATURES))
# bmake: an included fragment offers no default target.
tpuplan_notmain = ${.INCLUDEDFROMFILE:D.NOTMAIN}

# What comes from the environment is shell text, $PWD and all; make would read
# it as $(P)WD.
tpuplan_raw = $(if $(filter environment%,$(origin $(1))),$(value $(1)),$($(1)))
tpuplan_command_gnu = $(call tpuplan_raw,EDGETPU_COMPILER) $(call tpuplan_raw,EDGETPU_COMPILER_FLAGS)
tpuplan_command_ = $(EDGETPU_COMPILER) $(EDGETPU_COMPILER_FLAGS)
tpuplan_command = $(tpuplan_command_$(tpuplan_gnu))
# Marks carry this sum, so another compiler or other flags compile anew.
tpuplan_sum != printf '%s\n' $(tpuplan_command) | cksum | tr ' ' -
`

// makeGroups explains the rules of a group, once. An older make takes the "&"
// of "&:" as part of the last target's name, so that target is one that nobody
// asks for.
const makeGroups = `
# A group is compiled when one of its models is newer than its outputs, when an
# output is gone, and when a mark is: nothing makes marks but the compile itself.
# With grouped targets the rule is: outputs &: models marks. Without them it is
# first mark: models other marks, and then outputs: first mark. Outputs are
# precious because they are replaced only as a whole; GNU make 4.3 would delete
# all but one of the old ones when a compile fails.
tpuplan-all: $(tpuplan_notmain)
`

// Make writes a makefile fragment for GNU make (>= 4.3 with grouped targets,
// older ones through mark files) and bmake, to be run with make -f or included
// by a Makefile in the plan's folder, whose default goal stays what it was. It
// offers tpuplan-all, tpuplan-clean, tpuplan-check and, if it is a file, tpuplan-regenerate.
//
// EDGETPU_COMPILER, EDGETPU_COMPILER_FLAGS, TPUPLAN and TPUPLAN_OUT_DIR may be
// set by the user, the first two as shell words. An out_dir that is not plain
// letters, digits and ._+,@/-, or fixed, is written out in full instead of as TPUPLAN_OUT_DIR,
// since one spelling would have to suit both make and the shell. With bmake
// the names of models, too, should be plain; most others it cannot find.
//
// Each group has one rule, from its models to all its outputs. Its recipe line
// ends with the words of the compiler call on a line of their own, and what
// make -n prints there is compile.Invocation.Argv in shell quotes.
func Make(w io.Writer, b *Build) error {
	if err := b.check("make", makeForbids); err != nil {
		return err
	}
	m := &makefile{Build: b, targetDir: targetName(b.outDir()), shellDir: recipe(Quote(b.outDir()))}
	plain := b.outDir() != "" && plainDir(b.outDir()) && !b.FixedOutDir
	if plain {
		m.targetDir, m.shellDir = "$(TPUPLAN_OUT_DIR)", "$(TPUPLAN_OUT_DIR)"
	}

	b.header(m, "make -f")
	m.line(`# A Makefile beside it may include it; then only the names tpuplan* are taken,
# and one fragment is all it can include. Commit this file and let CI make
# tpuplan-check. A rule of your own that makes this file anew belongs between
# "ifndef MAKE_RESTARTS" and "endif" (GNU make starts over for ever when the plan
# is dated in the future), and make -n runs it too.
`)
	m.line("EDGETPU_COMPILER ?= %s", assigned(quoteAll(b.Command)))
	m.line("EDGETPU_COMPILER_FLAGS ?= %s", assigned(quoteAll(b.Flags)))
	m.line("TPUPLAN ?= tpuplan")
	if plain {
		m.line("TPUPLAN_OUT_DIR ?= %s", b.outDir())
	}
	m.WriteString(makePrelude)
	m.script("Compiles a group and moves its outputs into place: OUT_DIR GROUP MARK N OUTPUT... COMMAND... MODEL...", "tpuplan_compile", compileGroup)
	m.script("For a make without grouped targets: OUT_DIR OUTPUT...", "tpuplan_lost", tellLost)

	m.WriteString(makeGroups)
	for i := range b.Groups {
		m.group(i+1, &b.Groups[i])
	}
	m.clean()
	phony := "tpuplan-all tpuplan-clean"
	if args := b.checkArgs(); len(args) > 0 {
		m.tool("tpuplan-check", args)
		phony += " tpuplan-check"
	}
	if len(b.Regenerate) > 0 && b.Output != "" { // stdout is nothing to write anew
		m.tool("tpuplan-regenerate", b.Regenerate)
		phony += " tpuplan-regenerate"
	}
	m.line("\n.PHONY: %s", phony)
	m.line(".DELETE_ON_ERROR:")
	m.line("# Alone, the goal is tpuplan-all; included, it is the other Makefile's.")
	alone := max(1, len(strings.Fields(b.Output))) // blanks in the name of this file count
	m.line(".DEFAULT_GOAL := $(if $(filter %d,$(words $(MAKEFILE_LIST))),tpuplan-all,$(tpuplan_goal))", alone)
	_, err := w.Write(m.Bytes())
	return err
}

// makefile is a fragment in the making.
type makefile struct {
	*Build
	bytes.Buffer
	targetDir string // the output folder as a target
	shellDir  string // and in a recipe
}

func (m *makefile) line(format string, args ...any) { fmt.Fprintf(m, format+"\n", args...) }

// script defines a variable that runs a shell text with the words behind it.
func (m *makefile) script(comment, name, text string) {
	m.line("\n# %s\n%s = sh -c ' \\", comment, name)
	for line := range strings.Lines(text) {
		m.line("  %s \\", assigned(strings.TrimSuffix(line, "\n")))
	}
	m.line("  ' tpuplan")
}

// dirs is where a group's outputs go, as a target and in a recipe.
func (m *makefile) dirs(g *Group) (target, shell string) {
	if g.Folder == "" {
		return m.targetDir, m.shellDir
	}
	return m.targetDir + "/" + targetName(g.Folder), m.shellDir + "/" + recipe(Quote(g.Folder))
}

// group writes the rules of one group. Names stand in variables, because make
// reads a "=" in a rule as an assignment; those of the n-th group start with
// tpuplan_n_.
func (m *makefile) group(n int, g *Group) {
	var models, outputs, marks []string
	targetDir, shellDir := m.dirs(g)
	mark := m.mark(g) + "-$(tpuplan_sum)"
	for i, output := range g.outputNames() {
		models = append(models, targetName(g.Files[i]))
		outputs = append(outputs, targetDir+"/"+targetName(output))
		marks = append(marks, targetDir+"/"+compile.MarkFolder+"/"+targetName(output)+"/"+mark)
	}
	set := func(name, value string) {
		if value != "" { // a line must not end in the space that a name may end in
			value = " " + value
		}
		m.line("tpuplan_%d_%s =%s", n, name, value)
	}
	get := func(name string) string { return fmt.Sprintf("$(tpuplan_%d_%s)", n, name) }
	m.line("\n# Group %s", printable(g.Name))
	set("models", strings.Join(models, " "))
	set("outputs", strings.Join(outputs, " "))
	set("mark", marks[0])
	set("marks", strings.Join(marks[1:], " "))
	set("built_grouped-target", get("outputs"))
	set("after_grouped-target", get("mark"))
	set("built_", fmt.Sprintf("%s tpuplan-%d", get("mark"), n))
	set("left_", get("outputs"))
	m.line("tpuplan-all: %s", get("outputs"))
	m.line(".PRECIOUS: %s", get("outputs"))
	m.line("%s&: %s %s %s $(tpuplan_notmain)", get("built_$(tpuplan_grouped)"), get("models"), get("marks"), get("after_$(tpuplan_grouped)"))
	m.line("\t@$(tpuplan_compile) %s %s %s %d %s \\", shellDir, recipe(Quote(g.Name)), mark, len(g.Files), recipe(quoteAll(g.outputNames())))
	m.line("\t$(tpuplan_command) -o %s/%s %s", shellDir, recipe(Quote(path.Base(m.invocation(g).TempDir()))), recipe(quoteAll(m.Build.models(g))))
	// The empty recipe keeps a catch-all rule of an including Makefile out.
	m.line("%s %s: $(tpuplan_notmain) ;", get("after_$(tpuplan_grouped)"), get("marks"))
	m.line("%s: %s $(tpuplan_notmain)", get("left_$(tpuplan_grouped)"), get("mark"))
	m.line("\t@$(tpuplan_lost) %s %s", shellDir, recipe(quoteAll(g.outputNames())))
}

// clean writes the rule that removes exactly what the others made.
func (m *makefile) clean() {
	m.line("\ntpuplan-clean: $(tpuplan_notmain)")
	var folders []string
	for i := range m.Groups {
		g := &m.Groups[i]
		_, shellDir := m.dirs(g)
		if !slices.Contains(folders, shellDir) {
			folders = append(folders, shellDir)
		}
		names := []string{path.Base(m.invocation(g).TempDir()), path.Base(m.invocation(g).LogFile())}
		for _, output := range g.outputNames() {
			names = append(names, output, operationLog(output), compile.MarkFolder+"/"+output)
		}
		for j, name := range names {
			names[j] = shellDir + "/" + recipe(Quote(name))
		}
		m.line("\trm -rf %s", strings.Join(names, " "))
	}
	for _, dir := range folders {
		m.line("\t@rmdir %s/%s 2>/dev/null || :", dir, compile.MarkFolder)
	}
}

// tool writes a rule that runs tpuplan; args[0] is its name.
func (m *makefile) tool(target string, args []string) {
	m.line("\n%s: $(tpuplan_notmain)\n\t$(TPUPLAN) %s", target, recipe(quoteAll(args[1:])))
}

// makeForbids says why make cannot hold a name. Words that only a shell reads
// may hold anything but a line break; files are also targets, and there "%" is
// a pattern, ";" starts a recipe, "|" starts order-only prerequisites,
// parentheses mean an archive member, and a backslash stays or goes depending
// on what else is in the name. None of them can be escaped.
func makeForbids(kind, name string) (reason, hint string) {
	if strings.ContainsAny(name, "\n\r\x00") {
		return "it contains a line break or a NUL", "rename it, or emit sh"
	}
	if kind != "model" && kind != "out_dir" {
		return "", ""
	}
	for _, r := range name {
		switch {
		case strings.ContainsRune(`%;|()`, r):
			return fmt.Sprintf("it contains %q", r), "rename it, or emit sh"
		case r == '\\':
			return `it contains "\"`, `separate folders with "/", or emit sh`
		case unicode.IsControl(r):
			return fmt.Sprintf("it contains the control character %q", r), "rename it, or emit sh"
		}
	}
	if strings.HasPrefix(name, "~") {
		return `it starts with "~", which make takes for a home folder`, "rename it, or emit sh"
	}
	return "", ""
}

// plainDir reports whether a folder reads the same as a target and as a shell word.
func plainDir(dir string) bool {
	return !strings.ContainsFunc(dir, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._+,@/-", r)
	})
}

// targetName writes a file name for a variable that is used as target or
// prerequisite (GNU make 4.3; measured, the manual is silent about most).
func targetName(name string) string {
	var s strings.Builder
	for i := range len(name) {
		switch c := name[i]; c {
		case '$':
			s.WriteByte('$')
		case ' ', '#', ':', '*', '?', '[':
			s.WriteByte('\\')
		}
		s.WriteByte(name[i])
	}
	return s.String()
}

// recipe writes shell text for a recipe.
func recipe(text string) string { return strings.ReplaceAll(text, "$", "$$") }

// assigned writes shell text for the value of a variable, where "#" starts a
// comment. Makes differ about a backslash before the one that protects the
// "#", so the two are kept apart by an empty variable.
func assigned(text string) string {
	text = recipe(text)
	text = strings.ReplaceAll(text, `\#`, `\$()#`)
	return strings.ReplaceAll(text, "#", `\#`)
}

// printable keeps a label from ending its comment.
func printable(label string) string {
	return strings.TrimSuffix(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, label), `\`)
}
