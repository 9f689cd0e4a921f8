package plans

import (
	"fmt"
	"slices"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/cost/replay"
	"github.com/tpuplan/tpuplan/planner"
)

// ReplayModels are the models of an answer, in the order of the plan, as
// cost/replay plays their calls: each with the split, the times and the token that
// the answer gives it. A model of several packages is one with all their
// bytes: they share a token, and are loaded and forgotten together.
func (r *Resolved) ReplayModels(answer *planner.Plan) ([]replay.Model, error) {
	models := make([]replay.Model, len(r.Files))
	taken := map[uint64]bool{} // tokens that files have already
	for i := range r.Files {
		if c := r.Files[i].Compiled; c != nil {
			taken[c.Token] = true
		}
	}
	token := uint64(0)
	for d := range answer.Devices {
		for g := range answer.Devices[d].Groups {
			group := &answer.Devices[d].Groups[g]
			for token++; taken[token]; {
				token++
			}
			for _, i := range group.Models {
				p, err := r.replayPackage(i, token, &answer.Models[i])
				if err != nil {
					return nil, fmt.Errorf("model %s: %w", quote(r.Files[i].Name), err)
				}
				models[i] = replay.Model{Name: r.Files[i].Name, Device: d, Packages: []replay.Package{p}}
			}
		}
	}
	return models, nil
}

// replayPackage is what of a model runs when its call's token, unless its
// file has one already, is the given one.
func (r *Resolved) replayPackage(i int, token uint64, o *planner.Outcome) (replay.Package, error) {
	f := &r.Files[i]
	warm := o.Split.Streamed + r.transferBytes(i)
	load := o.Split.Cached + int64(r.Problem.Models[i].Call.LoadBytes)
	if f.Compiled != nil {
		token = f.Compiled.Token
	}
	main := replay.Executable{Role: replay.StandAlone, Token: token, Bytes: warm, MS: o.SteadyMS}
	if o.Split.Cached == 0 {
		return replay.NewPackage(main)
	}
	main.Role = replay.ExecutionOnly
	return replay.NewPackage(main, replay.Executable{Role: replay.ParameterCaching, Token: token, Bytes: load, MS: o.ColdMS - o.SteadyMS})
}

// transferBytes are what a warm call moves over the bus besides parameters:
// instructions, input and output.
func (r *Resolved) transferBytes(i int) int64 {
	t := r.Files[i].traffic()
	return t.Instructions + t.Input + t.Output
}

// Recorded is the problem with recorded calls (of models numbered as in the
// plan) in the place of the plan's: their shares and their process. The error is
// [cost.ErrManyGaps]; calls there must be.
func (r *Resolved) Recorded(calls *cost.Sequence) (*planner.Problem, error) {
	process, err := calls.Process()
	if err != nil {
		return nil, err
	}
	p := *r.Problem
	p.Process, p.Models = process, slices.Clone(p.Models)
	var all int64
	for i := range p.Models {
		all += calls.Calls(i)
	}
	for i := range p.Models {
		p.Models[i].Share = float64(calls.Calls(i)) / float64(all)
	}
	return &p, nil
}

// Queue is the queue of a device under an answer, when calls arrive at random
// at the plan's rates; a plan of weights has none.
func (r *Resolved) Queue(answer *planner.Plan, device int) (q cost.Queue, ok bool) {
	if !r.Plan.ByRate {
		return q, false
	}
	var served []cost.Served
	for _, g := range answer.Devices[device].Groups {
		for _, i := range g.Models {
			o := &answer.Models[i]
			served = append(served, cost.Served{PerMS: r.Plan.Models[i].Calls / 1000, SteadyMS: o.SteadyMS, ColdMS: o.ColdMS, Miss: o.Miss})
		}
	}
	return cost.NewQueue(served), true
}

// StreamMS is what a warm call of a model (index) takes to stream so many bytes of
// its parameters, in ms, if a compile of it alone streams as many; else as much as it can be.
func (r *Resolved) StreamMS(i int, streamed int64) float64 {
	m, f := &r.Problem.Models[i], &r.Files[i]
	if f.Compiled == nil {
		alone := r.Facts.Predict(r.Version, r.inputs([]int{i})).Models[0].Split
		if alone.Streamed == streamed {
			return m.StreamingMS(&alone)
		}
	}
	return m.StreamingMS(&compile.Split{Streamed: streamed})
}

// WithoutModelled is what a call of a model (index) costs, without a compute that nobody measured.
func (r *Resolved) WithoutModelled(i int) cost.Call {
	call := r.Problem.Models[i].Call
	if r.Sources(i).Compute == cost.SourceModelled && call.ComputeIncluded {
		call.FixedMS = cost.Modelled(r.Link(0), r.Files[i].traffic()).FixedMS
		call.ComputeIncluded = false
	}
	return call
}
