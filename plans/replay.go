package plans

import (
	"fmt"
	"slices"

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
	if c := r.Files[i].Compiled; c != nil {
		return c.WarmBytes - c.Split.Streamed
	}
	instructions, input, output := r.Files[i].transfers()
	return instructions + input + output
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
