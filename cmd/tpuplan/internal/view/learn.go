package view

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/compile"
)

// Learnt is what one run of the program added to the facts of a plan.
type Learnt struct {
	File        string // the facts
	Models      []LearntModel
	Invocations []LearntInvocation
	Skipped     []string // what nothing was learnt from, and why
}

// LearntModel is what was learnt of a model.
type LearntModel struct {
	Name  string
	Facts compile.ModelFacts
}

// LearntInvocation is what was learnt of a compiler call.
type LearntInvocation struct {
	Names []string // of the models, in command-line order
	Facts compile.InvocationFacts
}

// Add notes a model once, with what was learnt last.
func (l *Learnt) Add(m LearntModel) {
	at := slices.IndexFunc(l.Models, func(o LearntModel) bool { return o.Name == m.Name && o.Facts.FactsKey == m.Facts.FactsKey })
	if at < 0 {
		l.Models = append(l.Models, m)
		return
	}
	both := &compile.Facts{Models: []compile.ModelFacts{l.Models[at].Facts}}
	both.Merge(&compile.Facts{Models: []compile.ModelFacts{m.Facts}})
	l.Models[at].Facts = both.Models[0]
}

type learntJSON struct {
	File        string                 `json:"file"`
	Models      []learntModelJSON      `json:"models"`
	Invocations []learntInvocationJSON `json:"invocations"`
	Skipped     []string               `json:"skipped"`
}

type learntModelJSON struct {
	Name string `json:"name"`
	compile.ModelFacts
}

type learntInvocationJSON struct {
	Names []string `json:"names"`
	compile.InvocationFacts
}

// json is nil if there was nothing to learn for.
func (l *Learnt) json() *learntJSON {
	if l == nil {
		return nil
	}
	x := &learntJSON{File: l.File, Models: []learntModelJSON{}, Invocations: []learntInvocationJSON{}, Skipped: append([]string{}, l.Skipped...)}
	for _, m := range l.Models {
		x.Models = append(x.Models, learntModelJSON{m.Name, m.Facts})
	}
	for _, i := range l.Invocations {
		x.Invocations = append(x.Invocations, learntInvocationJSON{i.Names, i.Facts})
	}
	return x
}

// Lines says what was learnt, a sentence for each model and call.
func (l *Learnt) Lines() []string {
	var lines []string
	for _, m := range l.Models {
		f := &m.Facts
		var about []string
		if size, ok := f.Capacity(); ok {
			about = append(about, size.Text+" available")
		}
		for _, n := range []struct {
			bytes *int64
			what  string
		}{{f.ParameterBytes, "parameters"}, {f.InstructionBytes, "instructions"}, {f.LoadInstructionBytes, "instructions of a load"}} {
			if n.bytes != nil {
				about = append(about, fmt.Sprintf("%d bytes of %s", *n.bytes, n.what))
			}
		}
		if f.TPUOperations != nil && f.CPUOperations != nil {
			about = append(about, fmt.Sprintf("%d ops on the TPU and %d on the CPU", *f.TPUOperations, *f.CPUOperations))
		}
		if n := len(f.Ops); n > 0 {
			about = append(about, "the size of "+count(n, "op"))
		}
		lines = append(lines, fmt.Sprintf("%s, compiler %s: %s", m.Name, f.Compiler, strings.Join(about, ", ")))
	}
	for _, i := range l.Invocations {
		var shares []string
		for k := range i.Facts.Models {
			m := &i.Facts.Models[k]
			share := i.Names[k]
			switch {
			case m.CachedBytes != nil:
				share += " " + Split{*m.CachedBytes, *m.StreamedBytes}.String()
			case m.OnChip != "":
				share += " " + m.OnChip + " on chip and " + m.Streamed + " streamed"
			}
			shares = append(shares, share)
		}
		line := fmt.Sprintf("a call of compiler %s: %s", i.Facts.Compiler, strings.Join(shares, "; "))
		if m := i.Facts.OrderMatters; m != nil {
			line += map[bool]string{true: "; its order matters", false: "; its order makes no difference"}[*m]
		}
		lines = append(lines, line)
	}
	return lines
}

// learnt is the end of a listing that was learnt from.
func learnt(b *bytes.Buffer, s Style, l *Learnt) {
	if l == nil {
		return
	}
	b.WriteString("\n")
	if n := len(l.Models) + len(l.Invocations); n == 0 {
		paragraph(b, s, "learnt: ", "nothing")
	}
	for _, line := range l.Lines() {
		paragraph(b, s, "learnt: ", line)
	}
	for _, line := range l.Skipped {
		paragraph(b, s, "not learnt: ", line)
	}
	if len(l.Models) > 0 {
		paragraph(b, s, "", "Kept in "+l.File+".")
	}
}
