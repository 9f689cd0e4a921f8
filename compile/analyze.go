// Package compile is a twin of edgetpu_compiler: it says, without running it,
// which ops of a model the compiler maps to the Edge TPU, how many bytes and
// rows of on-chip memory their parameters take, and which of them an
// invocation caches. It is pure: it starts no process and touches no file.
//
// Call [Analyze] once per model, then [Predict] for an invocation of several,
// or [Allocate], [Pool] and [Merger] to try many.
//
// The rules were derived from public compiled files and compiler logs; each
// says how sure it is ([report.Certainty]). docs/cost-model.md lists them.
package compile

import (
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/tflite"
)

// Analyze says everything that is known about compiling one model.
func Analyze(src *tflite.Source, s Settings) *Model {
	g := newGraph(src)
	m := &Model{Settings: s, Ops: make([]OpInfo, len(src.Ops))}
	passes := make([]bool, len(src.Ops))
	for i := range src.Ops {
		op := &src.Ops[i]
		v := g.check(op, s.Version)
		passes[i] = v.reason == ""
		m.Ops[i] = OpInfo{Index: i, Name: OpName(op), Reason: v.reason, Certainty: v.certainty}
	}
	regions := g.regions(passes)
	for n, region := range regions {
		for _, i := range region {
			m.Ops[i].Reason = statusRegion
		}
		if n == 0 || s.AllRegions {
			m.Subgraphs++
			m.border(g, region)
		}
	}
	mapped := g.chosen(regions, s)
	m.Certainty = g.refusals(m.Ops, passes, mapped, s)
	var flows []*flow
	for n, region := range regions {
		if n == 0 || s.AllRegions {
			flows = append(flows, g.newFlow(region, mapped))
		}
	}
	g.passes(m, mapped, flows)
	for i := range src.Ops {
		info := &m.Ops[i]
		if !mapped[i] {
			if info.Reason == "" { // its inputs are never made
				info.Reason = statusOtherwise
			}
			m.CPUOps++
			continue
		}
		m.TPUOps++
		info.Mapped, info.Reason = true, StatusMapped
		m.add(g.footprint(&src.Ops[i], s, mapped, max(1, int(info.Passes.Value))), info, g.weights(&src.Ops[i]))
		info.Work = g.work(&src.Ops[i], info.Rows)
	}
	m.Reserve = g.reserve(s.Version, mapped, flows)
	m.Timing = g.timing(m, mapped)
	if src.Subgraphs > 1 {
		// what the compiler does with control flow is not known
		m.Certainty = report.Unknown
	}
	g.failure(m)
	return m
}

// chosen says which ops become part of a custom op: those of the first
// region, or of all.
func (g *graph) chosen(regions [][]int, s Settings) []bool {
	mapped := make([]bool, len(g.Ops))
	for n, region := range regions {
		for _, i := range region {
			mapped[i] = n == 0 || s.AllRegions
		}
	}
	return mapped
}

// refusals says how sure it is that the ops which were refused are: those
// whose refusal is a guess count if more would be mapped without it.
func (g *graph) refusals(ops []OpInfo, passes, mapped []bool, s Settings) report.Certainty {
	otherwise := slices.Clone(passes)
	weakest := report.Exact
	for i := range ops {
		if !passes[i] && ops[i].Certainty > report.Strong {
			otherwise[i] = true
			weakest = weakest.Weaker(ops[i].Certainty)
		}
	}
	if weakest == report.Exact || slices.Equal(mapped, g.chosen(g.regions(otherwise), s)) {
		return report.Exact
	}
	return weakest
}

// add books an op's footprint. Its passes are known.
func (m *Model) add(f footprint, info *OpInfo, weights uint64) {
	info.Certainty = info.Certainty.Weaker(f.certainty)
	for _, part := range f.parts {
		if part.Op, part.Weights = info.Index, weights; part.Groups == 0 {
			part.Passes = int(info.Passes.Value)
		}
		part.Certainty = part.Certainty.Weaker(info.Certainty)
		info.Certainty = part.Certainty
		info.Bytes += part.Bytes
		info.Rows += part.Rows
		m.Load.Parts = append(m.Load.Parts, part)
	}
	info.Bytes += f.streamed
	m.Load.Streamed += f.streamed
	m.Certainty = m.Certainty.Weaker(info.Certainty)
}

var weightsSeed = maphash.MakeSeed()

// weights is the identity of what a convolution or FULLY_CONNECTED multiplies with.
func (g *graph) weights(op *tflite.Op) uint64 {
	switch op.Code {
	case tflite.Conv2D, tflite.DepthwiseConv2D, tflite.TransposeConv, tflite.FullyConnected:
		if w := g.in(op, 1); w != nil && len(w.Data) > 0 {
			return max(1, maphash.Bytes(weightsSeed, w.Data))
		}
	}
	return 0
}

// Wants lists what each mapped op is predicted to have in the compiled file,
// for [tflite.Compiled.Locate]: its parts, and constants that are streamed.
func (m *Model) Wants() []tflite.Want {
	var list []tflite.Want
	k := 0
	for i := range m.Ops {
		if !m.Ops[i].Mapped {
			continue
		}
		rest, none := m.Ops[i].Bytes, true
		for ; k < len(m.Load.Parts) && m.Load.Parts[k].Op == i; k++ {
			list = append(list, tflite.Want{Op: i, Bytes: m.Load.Parts[k].Bytes})
			rest -= m.Load.Parts[k].Bytes
			none = false
		}
		if rest > 0 || none {
			list = append(list, tflite.Want{Op: i, Bytes: rest, Streamed: rest > 0})
		}
	}
	return list
}

// border adds the sizes of the tensors that enter and leave a region.
func (m *Model) border(g *graph, region []int) {
	inside := make(map[int]bool, len(region))
	for _, i := range region {
		inside[i] = true
	}
	seen := map[int]bool{}
	for _, i := range region {
		for _, t := range g.Ops[i].Inputs {
			if t < 0 || seen[t] || g.Tensors[t].Constant() {
				continue
			}
			if p := g.producer[t]; p < 0 || !inside[p] {
				seen[t] = true
				m.InputBytes += tensorBytes(&g.Tensors[t])
			}
		}
		for _, t := range g.Ops[i].Outputs {
			leaves := g.output[t]
			for _, r := range g.readers[t] {
				leaves = leaves || !inside[r]
			}
			if leaves {
				m.OutputBytes += tensorBytes(&g.Tensors[t])
			}
		}
	}
}

// tensorBytes is the size of an activation of a mapped op, which has one byte per element.
func tensorBytes(t *tflite.Tensor) int64 { return t.Elements() }

// failure sets why the compiler gives no usable model, in its words, and what
// TFLite says before: the file has an op that is not known, or nothing maps.
func (g *graph) failure(m *Model) {
	v := m.Settings.Version
	for i := range g.Ops {
		if op := &g.Ops[i]; notFound(op, v) {
			text := fmt.Sprintf("Didn't find op for builtin opcode '%s' version '%d'", op.Code, op.Version)
			m.Failure = &report.Failure{Kind: report.UnsupportedOpVersion, Text: text}
			m.Errors = []string{text, "Registration failed."}
			return
		}
	}
	quantized := false
	for i := range g.Ops {
		for _, t := range g.Ops[i].Outputs {
			quantized = quantized || eightBit(&g.Tensors[t])
		}
	}
	if m.Subgraphs == 0 && !quantized && v < V16_0 {
		m.Failure = &report.Failure{Kind: report.NotQuantized, Text: "Model not quantized"}
		return
	}
	for i := range g.Ops {
		if op := &g.Ops[i]; op.Code == tflite.Custom && !knownCustom[op.Custom] {
			m.Failure = &report.Failure{Kind: report.Other, Text: "Model failed in Tflite interpreter. Please ensure model can be loaded/run in Tflite interpreter."}
			m.Errors = []string{
				fmt.Sprintf("Encountered unresolved custom op: %s.", op.Custom),
				fmt.Sprintf("Node number %d (%s) failed to prepare.", i, op.Custom),
			}
			return
		}
	}
	if m.Subgraphs == 0 {
		m.Failure = &report.Failure{Kind: report.ZeroSubgraphs, Text: "Number of Edge TPU subgraphs: 0"}
	}
}

// knownCustom are the custom ops that TFLite itself brings along. A model with
// any other cannot be loaded by the compiler.
var knownCustom = map[string]bool{
	"TFLite_Detection_PostProcess": true, "AudioSpectrogram": true, "Mfcc": true, "NumericVerify": true,
	tflite.EdgeTPUOp: true,
}

// notFound reports op versions that came to TFLite after a release of the
// compiler was built, so that it cannot even load the model. The list has only
// what is sure; see also tooNew.
func notFound(op *tflite.Op, v Version) bool {
	switch op.Code {
	case tflite.Fill:
		return op.Version >= 3 && v <= V15_0
	case tflite.FullyConnected:
		return op.Version >= 10
	}
	return false
}

// OpName is the operator's name as the compiler's operation log prints it.
func OpName(op *tflite.Op) string {
	if op.Code == tflite.Custom && op.Custom != "" {
		return op.Custom
	}
	return op.Code.String()
}
