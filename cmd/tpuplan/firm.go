package main

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/compile/emit"
	"github.com/tpuplan/tpuplan/planner"
)

// settlings are the commands that settle the findings of a plan, in their order.
func settlings(r *request, p *view.Planned) []view.Settling {
	list := make([]view.Settling, len(p.Stability))
	calls := p.Resolved.Unsettled(p.Plan, p.Stability)
	for i := range list {
		f := &p.Stability[i]
		switch f.Means {
		case planner.ByCompile:
			// --compile makes these calls, in this order, as long as none of them changes it
			at := slices.IndexFunc(calls, func(models []int) bool { return slices.Equal(models, f.Models) })
			if at >= 0 {
				list[i] = view.Settling{Command: compiling(r, at+1), Compile: at + 1}
			}
		case planner.ByProfile:
			list[i] = view.Settling{Command: "tpuplan profile --emit make -o " + emit.Quote(beside(r.plan, "measure.mk")) + " " + emit.Quote(r.plan), Begins: true}
		case planner.ByTrace:
			list[i] = view.Settling{Command: "tpuplan simulate --trace " + emit.Quote(beside(r.plan, "calls.csv")) + " " + emit.Quote(r.plan)}
		}
	}
	return list
}

// compiling is the command that spends real compiles on this plan.
func compiling(r *request, compiles int) string {
	command := strings.Join(quoted(r.words()), " ")
	if r.commandText != "" {
		command += " --command " + emit.Quote(r.commandText)
	}
	return command + " --compile " + strconv.Itoa(compiles) + " " + emit.Quote(r.plan)
}

// beside is a file in the folder of the plan file.
func beside(plan, name string) string { return filepath.Join(filepath.Dir(plan), name) }
