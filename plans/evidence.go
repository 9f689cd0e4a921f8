package plans

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/tflite"
)

// outside adds a problem at a key whose cause is not in the plan file.
func (m *resolving) outside(key, message, hint string) {
	p := m.at(key, message, hint)
	p.Outside = true
	m.problems = append(m.problems, p)
}

// readCompiled learns from the compiled file that the plan names, which has
// to be what its version makes of the model alone.
func (m *resolving) readCompiled(src *tflite.Source) {
	path := m.plan.local(m.model().Compiled)
	f, err := tflite.Open(path)
	if err == nil && f.Kind() == tflite.KindSource {
		m.outside("compiled", path+": not compiled for the Edge TPU", "name what edgetpu_compiler made of the model alone")
		return
	}
	var c *tflite.Compiled
	var body *tflite.Source
	if err == nil {
		c, err = f.Compiled()
	}
	if err == nil {
		body, err = f.Source()
	}
	if err != nil {
		m.outside("compiled", err.Error(), "")
		return
	}
	m.file.CompiledSHA256 = f.SHA256()
	facts, err := m.measured.LearnFrom(src, c, body)
	if err != nil {
		m.outside("compiled", fmt.Sprintf("%s is not what edgetpu_compiler makes of this model: %v", path, err), "compile the model again, alone, or leave compiled out")
		return
	}
	m.token = c.Packages[0].Token()
	m.own = compile.NewFacts()
	m.own.Models = []compile.ModelFacts{facts}
	split := []compile.Split{{Cached: c.CachedBytes(), Streamed: c.StreamedBytes()}}
	m.own.Invocations = []compile.InvocationFacts{compile.LearnSplits(m.measured.Settings, []string{m.file.SHA256}, split)}
	if m.measured != m.file.Analysis {
		m.warn("compiled", fmt.Sprintf("compiled was made by compiler %s and is not used for %s", m.plan.Compiler.Version, m.version), "")
	}
}

// maxLogBytes is far above any log.
const maxLogBytes = 16 << 20

// learn adds to facts what the plan names as evidence.
func learn(models []*resolving, facts *compile.Facts) *compile.Facts {
	all := facts.Clone()
	candidates := make([]compile.Candidate, len(models))
	tokens := map[uint64]*resolving{}
	for i, m := range models {
		if m.file.Compiled == nil {
			candidates[i] = compile.Candidate{File: m.model().File, SHA256: m.file.SHA256, Bytes: m.file.Bytes}
		}
		if m.own == nil {
			continue
		}
		if first := tokens[m.token]; first != nil && m.token != 0 && first.file.SHA256 != m.file.SHA256 {
			m.outside("compiled", fmt.Sprintf("%s was compiled together with model %s", m.plan.local(m.model().Compiled), quote(first.model().Name)), "name what edgetpu_compiler made of the model alone")
			continue
		}
		tokens[m.token] = m
		was, is := all.Model(m.measured.Settings, m.file.SHA256), &m.own.Models[0]
		if was != nil && was.ParameterBytes != nil && *was.ParameterBytes != *is.ParameterBytes {
			m.warn("compiled", fmt.Sprintf("compiled has %d bytes of parameters, another compile gave %d; the plan counts", *is.ParameterBytes, *was.ParameterBytes), "")
		}
		all.Merge(m.own)
	}
	for i, m := range models {
		if m.model().Log != "" && m.measured != nil {
			m.readLog(all, candidates, i)
		}
	}
	return all
}

// readLog learns from the output of the compiler that the plan names.
func (m *resolving) readLog(all *compile.Facts, candidates []compile.Candidate, index int) {
	path := m.plan.local(m.model().Log)
	f, err := os.Open(path)
	if err != nil {
		m.outside("log", fmt.Sprintf("%s: %v", path, bareError(err)), "")
		return
	}
	defer f.Close()
	h := sha256.New()
	reports, err := report.Parse(path, io.TeeReader(io.LimitReader(f, maxLogBytes), h))
	if err != nil {
		hint := ""
		if errors.Is(err, report.ErrNoOutput) {
			hint = "name a file with what edgetpu_compiler printed"
		} else {
			err = fmt.Errorf("%s: %w", path, bareError(err))
		}
		m.outside("log", err.Error(), hint)
		return
	}
	m.file.LogSHA256 = hex.EncodeToString(h.Sum(nil))
	var failed error
	learnt := false
	for i := range reports {
		facts, at, err := compile.LearnLog(&reports[i], m.settings(m.plan.Compiler.Version), candidates)
		if !slices.Contains(at, index) {
			continue
		}
		if err != nil {
			failed = err
			continue
		}
		learnt = true
		m.compareLog(all, facts)
		all.Merge(facts)
	}
	switch {
	case failed != nil && !learnt:
		m.outside("log", fmt.Sprintf("nothing can be learnt from %s: %v", path, failed), "compile the model again, or leave log out")
	case !learnt:
		m.outside("log", fmt.Sprintf("%s does not speak of %s", path, quote(m.model().File)), "models are recognised by the names of their files")
	}
}

// compareLog warns where a log contradicts what is known, and where it is of
// another version than the one planned for.
func (m *resolving) compareLog(all, facts *compile.Facts) {
	is := facts.Model(m.settings(m.version), m.file.SHA256)
	if is == nil {
		m.warn("log", fmt.Sprintf("log was printed by compiler %s, or with other flags, and is not used for %s", facts.Models[0].Compiler, m.version), "")
		return
	}
	was := all.Model(m.settings(m.version), m.file.SHA256)
	if was == nil {
		return
	}
	before, okBefore := was.Capacity()
	now, okNow := is.Capacity()
	if okBefore && okNow && (before.High < now.Low || before.Low > now.High) {
		m.warn("log", fmt.Sprintf("log says %s, another compile printed %s; the log counts", now.Text, before.Text), "")
	}
}

// narrow takes from groups that printed their memory what they say about their members.
func narrow(models []*resolving, facts *compile.Facts) {
	inputs := make([]compile.Input, len(models))
	for i, m := range models {
		inputs[i] = compile.Input{Model: m.file.Analysis, Reserve: m.file.Reserve}
	}
	facts.Narrow(inputs)
	for i, m := range models {
		m.file.Reserve = inputs[i].Reserve
	}
}

// known lists the invocations of models of the plan that have been compiled.
func (r *Resolved) known(models []*resolving) []planner.Known {
	byContent := map[string][]int{}
	for i, f := range r.Files {
		if f.Compiled == nil {
			byContent[f.SHA256] = append(byContent[f.SHA256], i)
		}
	}
	settings := models[0].settings(r.Version)
	key := settings.Key()
	var list []planner.Known
	for i := range r.Facts.Invocations {
		x := &r.Facts.Invocations[i]
		if x.FactsKey != key {
			continue
		}
		for _, models := range assignments(x.Models, byContent) {
			if k := r.Facts.Known(r.inputs(models)); k != nil {
				list = append(list, planner.Known{Models: models, Splits: k.Splits, AnyOrder: k.AnyOrder})
			}
		}
	}
	return list
}

// mostAssignments bounds how many ways of putting copies of a model into an invocation are listed.
const mostAssignments = 64

// assignments lists the ways in which models of the plan can be the members
// of an invocation: one, unless several models have the same file.
func assignments(members []compile.MemberFacts, byContent map[string][]int) [][]int {
	ways := [][]int{nil}
	for _, m := range members {
		var longer [][]int
		for _, way := range ways {
			for _, i := range byContent[m.SHA256] {
				if !slices.Contains(way, i) && len(longer) < mostAssignments {
					longer = append(longer, append(slices.Clone(way), i))
				}
			}
		}
		ways = longer
	}
	return ways
}
