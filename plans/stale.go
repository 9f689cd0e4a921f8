package plans

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Staleness is why a lock is no longer the one that its plan gives: one
// sentence a reason, sorted.
type Staleness struct {
	Decision []string // the build would change
	Evidence []string // the same build, for other reasons than before
}

// Compare lists every difference between a lock and the one that the plan and
// its models give now.
func Compare(old, now *Lock) Staleness {
	var s Staleness
	s.Decision = compareDecisions(&old.Decision, &now.Decision)
	s.Evidence = compareEvidence(&old.Evidence, &now.Evidence)
	slices.Sort(s.Decision)
	slices.Sort(s.Evidence)
	return s
}

// changes collects sentences.
type changes []string

func (c *changes) add(format string, args ...any) { *c = append(*c, fmt.Sprintf(format, args...)) }

// set says that something was one value and is now another, if it is.
func (c *changes) set(what, was, is string) {
	if was != is {
		c.add("%s was %s, is now %s", what, was, is)
	}
}

// placed is a group together with its device.
type placed struct {
	device string
	LockedGroup
}

func (d *Decision) groups() []placed {
	var all []placed
	for _, device := range d.Devices {
		for _, g := range device.Groups {
			all = append(all, placed{device.Name, g})
		}
	}
	return all
}

// made says where a group's compiled files come from.
func made(g *LockedGroup) string {
	if g.Compiled {
		return "compiled already"
	}
	return "to be compiled"
}

// members are a group's models whatever their order.
func (g *LockedGroup) members() string { return list(slices.Sorted(slices.Values(g.Models))) }

func list(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quote(name)
	}
	return strings.Join(quoted, ", ")
}

func wordList(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return list(words)
}

func compareDecisions(old, now *Decision) []string {
	var c changes
	c.set("the compiler", old.Compiler, now.Compiler)
	c.set("the compiler command", wordList(old.Command), wordList(now.Command))
	c.set("the compiler flags", wordList(old.Flags), wordList(now.Flags))
	c.set("out_dir", quote(old.OutDir), quote(now.OutDir))
	before := map[string]placed{}
	for _, g := range old.groups() {
		before[g.members()] = g
	}
	for _, g := range now.groups() {
		was, same := before[g.members()]
		if !same {
			c.add("now in one invocation: %s", g.members())
			continue
		}
		delete(before, g.members())
		what := "the group of " + g.members()
		c.set(what, "called "+quote(was.Name), "called "+quote(g.Name))
		c.set(what, "on device "+quote(was.device), "on device "+quote(g.device))
		c.set(what, made(&was.LockedGroup), made(&g.LockedGroup))
		c.set("the order of group "+quote(g.Name), list(was.Models), list(g.Models))
		files := map[string]string{}
		for i, m := range was.Models {
			files[m] = was.Files[i]
		}
		for i, m := range g.Models {
			c.set("the file of model "+quote(m), quote(files[m]), quote(g.Files[i]))
		}
	}
	for members := range before {
		c.add("no longer in one invocation: %s", members)
	}
	return c
}

func compareEvidence(old, now *Evidence) []string {
	var c changes
	if old.PlanSHA256 != now.PlanSHA256 {
		c.add("the plan file says something else")
	}
	c.set("the objective", old.Objective.Kind, now.Objective.Kind)
	c.set("the objective's value", old.Objective.Value.text(), now.Objective.Value.text())
	c.set("the status", old.Status, now.Status)
	c.set("the bound", old.Bound.text(), now.Bound.text())
	c.set("the gap", old.Gap.text(), now.Gap.text())
	c.set("what ties may change", old.TiesAtMost.text(), now.TiesAtMost.text())
	c.set("the argument for the bound", cmp.Or(old.BoundKind, now.BoundKind), now.BoundKind)
	c.set("the number of nodes", fmt.Sprint(old.Nodes), fmt.Sprint(now.Nodes))
	c.set("the limit of the search", quote(old.Limit), quote(now.Limit))
	c.set("the hedge", old.Hedge.text(), now.Hedge.text())

	links := func(e *Evidence) map[string]string {
		all := map[string]string{}
		for _, d := range e.Devices {
			all[d.Name] = fmt.Sprintf("%s with %s MB/s and %s ms", quote(d.Link), d.MBPerS.text(), d.OverheadMS.text())
			if d.Runtime != "" {
				all[d.Name] += ", runtime " + d.Runtime
			}
		}
		return all
	}
	c.maps("the link of device", links(old), links(now))
	calibrations := func(e *Evidence) map[string]string {
		all := map[string]string{}
		for _, d := range e.Devices {
			if all[d.Name] = "none"; d.Calibration != nil {
				all[d.Name] = fmt.Sprintf("%s with SHA-256 %.12s", quote(d.Calibration.File), d.Calibration.SHA256)
			}
		}
		return all
	}
	c.maps("the calibration of device", calibrations(old), calibrations(now))
	rows := func(e *Evidence) map[string]string {
		all := map[string]string{}
		for _, g := range e.Groups {
			all[g.Name] = fmt.Sprintf("%d reserved and %d used", g.ReservedRows, g.Rows)
		}
		return all
	}
	c.maps("the rows of group", rows(old), rows(now))

	before := map[string]*LockedModel{}
	for i := range old.Models {
		before[old.Models[i].Name] = &old.Models[i]
	}
	for i := range now.Models {
		m := &now.Models[i]
		was, same := before[m.Name]
		if !same {
			c.add("model %s is new", quote(m.Name))
			continue
		}
		delete(before, m.Name)
		if was.SHA256 != m.SHA256 {
			c.add("model %s: the file has other contents", quote(m.Name))
		}
		for _, f := range modelFacts {
			c.set("model "+quote(m.Name)+": "+f.name, f.text(was), f.text(m))
		}
	}
	for name := range before {
		c.add("model %s is gone", quote(name))
	}
	return c
}

// maps compares what is known by name.
func (c *changes) maps(what string, old, now map[string]string) {
	for name, is := range now {
		if was, same := old[name]; same {
			c.set(what+" "+quote(name), was, is)
		}
	}
}

// modelFacts is what of a model's evidence is compared value by value.
var modelFacts = []struct {
	name string
	text func(*LockedModel) string
}{
	{"the file's bytes", func(m *LockedModel) string { return fmt.Sprint(m.FileBytes) }},
	{"the share of calls", func(m *LockedModel) string { return m.Share.text() }},
	{"reserved rows", func(m *LockedModel) string {
		return fmt.Sprintf("%d (%d to %d, %s)", m.ReservedRows, m.ReservedLow, m.ReservedHigh, m.ReservedSource)
	}},
	{"parameter bytes", func(m *LockedModel) string { return fmt.Sprint(m.ParameterBytes) }},
	{"cached bytes", func(m *LockedModel) string { return fmt.Sprint(m.CachedBytes) }},
	{"streamed bytes", func(m *LockedModel) string { return fmt.Sprint(m.StreamedBytes) }},
	{"steady ms", func(m *LockedModel) string { return m.SteadyMS.text() }},
	{"cold ms", func(m *LockedModel) string { return m.ColdMS.text() }},
	{"expected ms", func(m *LockedModel) string { return m.ExpectedMS.text() }},
	{"loads per call", func(m *LockedModel) string { return m.LoadsPerCall.text() }},
	{"compute in the times", func(m *LockedModel) string { return fmt.Sprint(m.ComputeIncluded) }},
	{"the source", func(m *LockedModel) string { return m.Source }},
	{"the sources of times", func(m *LockedModel) string {
		if m.TimeSources == nil {
			return "as the plan has them"
		}
		s := m.TimeSources
		return fmt.Sprintf("compute %s, rate %s, overhead %s, overlap %s, slope %s", s.Compute, s.Rate, s.Overhead, s.Overlap, s.Slope)
	}},
	{"the source of the split", func(m *LockedModel) string { return cmp.Or(m.SplitSource, Modelled) }},
	{"the source of the parameter bytes", func(m *LockedModel) string { return cmp.Or(m.SizesSource, Modelled) }},
	{"the hash of its log", func(m *LockedModel) string { return cmp.Or(m.LogSHA256, "none") }},
	{"the hash of its compiled file", func(m *LockedModel) string { return cmp.Or(m.CompiledSHA256, "none") }},
	{"the certainty", func(m *LockedModel) string { return m.Certainty }},
}
