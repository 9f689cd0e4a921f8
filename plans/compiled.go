package plans

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/tflite"
)

// A model may be there in its compiled form only. Then nothing of it is
// predicted: the file says what is cached and streamed, what a call sends over
// the link, and, by its token, which files it shares the memory with. Files
// of one token are a group that no other model can join, and nothing of them
// is compiled again.

// compiled takes a compiled file as the model.
func (m *resolving) compiled(f *tflite.File) {
	c, err := f.Compiled()
	if err != nil {
		m.refuse(err.Error(), "")
		return
	}
	model := m.model()
	if n := len(c.Tokens()); n > 1 {
		m.refuse(fmt.Sprintf("%s holds packages of %d compiler calls, which displace each other", m.file.Path, n), "compile the model anew")
	}
	pin := func(key, hint string) {
		m.problems = append(m.problems, m.at(key, key+" means nothing for a model that is compiled already", hint))
	}
	if model.Group != "" {
		pin("group", "its token says which files it shares the memory with")
	}
	if len(model.OrderBefore) > 0 {
		pin("order_before", "it is not compiled again")
	}
	if model.Available != nil {
		pin("available", "it is not compiled again")
	}
	if model.Log != "" {
		pin("log", "it is not compiled again")
	}
	if model.Compiled != "" {
		pin("compiled", "file says it all")
	}
	cached, streamed := c.CachedBytes(), c.StreamedBytes()
	m.file.SHA256, m.file.Bytes = f.SHA256(), f.Size()
	m.file.Compiled = &CompiledFile{
		Token: c.Tokens()[0],
		Split: compile.Split{Cached: cached, Streamed: streamed, Rows: int((cached + compile.RowBytes - 1) / compile.RowBytes)},

		WarmBytes: c.WarmBytes(), Traffic: TrafficOf(c),
	}
	m.file.Reserve = compile.Reserve{Source: compile.AlreadyCompiled, Certainty: report.Exact, Fits: true}
	m.file.Analysis = &compile.Model{
		Load:      compile.Load{Streamed: cached + streamed},
		Reserve:   m.file.Reserve,
		Subgraphs: len(c.Packages), TPUOps: len(c.Packages), CPUOps: c.CPUOps,
	}
	// What a warm call sends besides parameters, and a load besides those it caches.
	warm := m.file.Compiled.WarmBytes
	m.call = cost.Modelled(m.plan.Devices[0].Link, m.file.Compiled.Traffic)
	m.call.LoadBytes = float64(c.ColdBytes() - warm - cached)
	if model.SteadyMS != nil {
		m.measuredCompiled(m.timed(cached, streamed))
	}
}

// measuredCompiled takes the times of a compiled file: what they leave besides streaming is fixed.
func (m *resolving) measuredCompiled(t cost.Timed) {
	link, measured, err := t.Rate(m.plan.Devices[0].Link)
	streaming := float64(t.Streamed) / link.BytesPerMS
	if err == nil {
		err = t.Streams(streaming, link.BytesPerMS)
	}
	if err != nil {
		m.contradiction(err)
		return
	}
	if measured {
		m.call.LoadBytes = cost.LoadInstructionBytes
	}
	m.call.FixedMS, m.call.ComputeIncluded, m.call.Measured = t.SteadyMS-streaming, true, measured
	m.call.BytesPerMS, m.call.OverheadMS = link.BytesPerMS, link.OverheadMS
}

// TrafficOf is what a warm call of a compiled file moves over the bus besides
// its streamed parameters. What crosses to the device and is no instruction
// counts as input.
func TrafficOf(c *tflite.Compiled) cost.Traffic {
	d := c.WarmDMA()
	return cost.Traffic{Instructions: d.Instruction, Input: d.ToTPU - d.Instruction - c.StreamedBytes(), Output: d.FromTPU}
}

// CompiledFile is what is known of a model that is compiled already.
type CompiledFile struct {
	Token uint64
	Split compile.Split // InCache is nil; Rows follow from the bytes
	// WarmBytes are what a warm call moves over the bus, in both directions.
	WarmBytes int64
	Traffic   cost.Traffic // the same without streamed parameters
}

// label names the group of a compiled model for the planner. No user's label
// starts so.
func (m *resolving) label() string {
	if m.file.Compiled.Token == 0 {
		return "\x00" + m.file.Name // it displaces every other file and is displaced by every other
	}
	return fmt.Sprintf("\x00%016x", m.file.Compiled.Token)
}

// knownOfCompiled are the groups of compiled models as the planner takes them.
func knownOfCompiled(models []*resolving) []planner.Known {
	var known []planner.Known
	at := map[string]int{}
	byName := make([]int, len(models)) // the order of the plan file decides nothing
	for i := range byName {
		byName[i] = i
	}
	slices.SortFunc(byName, func(a, b int) int { return cmp.Compare(models[a].file.Name, models[b].file.Name) })
	for _, i := range byName {
		m := models[i]
		if m.file.Compiled == nil {
			continue
		}
		k, ok := at[m.label()]
		if !ok {
			k = len(known)
			at[m.label()] = k
			known = append(known, planner.Known{AnyOrder: true})
		}
		known[k].Models = append(known[k].Models, i)
		known[k].Splits = append(known[k].Splits, m.file.Compiled.Split)
	}
	return known
}

// overwritten finds compiled models that compiling another model of the plan would replace.
func overwritten(models []*resolving) Problems {
	var problems Problems
	for _, m := range models {
		if m.file.Compiled == nil {
			continue
		}
		for _, o := range models {
			file := o.model().File
			if o.file.Compiled == nil && path.Join(m.plan.Compiler.OutDir, compile.OutputName(file)) == path.Clean(m.model().File) {
				problems = append(problems, m.at("file", fmt.Sprintf("compiling %s would overwrite %s", quote(file), quote(m.model().File)), "change out_dir or move the compiled file"))
			}
		}
	}
	return problems
}
