package view

import (
	"strings"
	"testing"

	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans"
)

func TestFirmness(t *testing.T) {
	problem := &planner.Problem{Models: []planner.Model{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
	p := &Planned{
		Resolved: &plans.Resolved{Problem: problem},
		Plan:     &planner.Plan{Devices: []planner.DevicePlan{{Groups: []planner.Group{{Models: []int{0, 1}}, {Models: []int{2}}}}}},
	}
	says := func(sentence string) func(string) string {
		return func(amount string) string { return strings.Replace(sentence, "%s", amount, 1) }
	}
	rows := &planner.Assumption{
		Sentence: says("%s are reserved"), Assumes: "20 rows are reserved", If: says("it is %s"), Unit: "rows", Low: 10, High: 1400, Assumed: 20, SettledBy: "a compile",
	}
	rule := &planner.Assumption{Sentence: says("the rule is another"), Assumes: "the rule is this one", If: says("it is that one"), SettledBy: "a compile of all"}
	slope := &planner.Assumption{
		Sentence: says("streaming takes %s as long"), Assumes: "streaming takes as long as sending", If: says("it takes %s as long"),
		Unit: "times", Low: 1, High: 8, Assumed: 1, SettledBy: "a profile",
	}
	at := func(x float64) *float64 { return &x }
	stays := planner.Finding{Assumption: rows, Checked: planner.CheckedAll, Tried: 1}
	sampled := planner.Finding{Assumption: rows, Checked: planner.CheckedSome, Tried: 9}
	early := planner.Finding{Assumption: rows, Checked: planner.CheckedEarly, Tried: 2}
	apart := planner.Finding{Assumption: rows, PlanChanges: true, Regret: 1.5, Worst: 1400, ValueAtWorst: 6, AtLeast: at(1200), AtMost: at(12), Better: [][]int{{0}, {1, 2}}}
	turned := planner.Finding{Assumption: rule, PlanChanges: true, Regret: 2, Worst: 1, ValueAtWorst: 5, Better: [][]int{{2}, {1, 0}}}
	patchy := planner.Finding{Assumption: rows, PlanChanges: true, Regret: 0.5, Worst: 40, ValueAtWorst: 2.5, AtLeast: at(30), Patchy: true, Better: [][]int{{0}, {1}, {2}}}
	steep := planner.Finding{Assumption: slope, PlanChanges: true, Regret: 9, Worst: 8, ValueAtWorst: 30, AtLeast: at(2.7), Better: [][]int{{0}, {1}, {2}}}
	const (
		apartIs  = "not firm: the plan assumes that 20 rows are reserved; if it is at most 12 or at least 1200 rows, the better plan is b + c, a alone: at 1400 rows it saves 1.50 ms of 6.00 ms per call + compute"
		turnedIs = "not firm: the plan assumes that the rule is this one; if it is that one, the better plan is b + a, c alone in this order: it saves 2.00 ms of 5.00 ms per call + compute"
		patchyIs = "not firm: the plan assumes that 20 rows are reserved; if it is at least 30 rows (not for every such value), the better plan is a, b, c alone: at 40 rows it saves 0.50 ms of 2.50 ms per call + compute"
		steepIs  = "not firm: the plan assumes that streaming takes as long as sending; if it takes at least 2.7 times as long, the better plan is a, b, c alone: at 8 times it saves 9.00 ms of 30.0 ms per call + compute"
	)
	for _, test := range []struct {
		name     string
		findings []planner.Finding
		settling []Settling
		listed   bool
		want     string
		command  string
		notes    string // of the first finding
	}{
		{name: "nothing is open"},
		{
			name: "firm", findings: []planner.Finding{stays, stays},
			want:  "firm: the plan holds under 2 stated ranges of what is not known",
			notes: "the plan stays if 10 to 1400 rows are reserved (1 value tried)",
		},
		{
			name: "not every value", findings: []planner.Finding{sampled, stays},
			want:  "firm: the plan holds under 2 stated ranges of what is not known, 1 of them tried at some values only",
			notes: "the plan stays if 10 to 1400 rows are reserved (9 values tried)",
		},
		{
			name: "not to the end", findings: []planner.Finding{early, sampled, stays},
			want:  "firm as far as is known: none of 3 stated ranges was seen to change the plan, but 1 could not be searched to the end",
			notes: "no change was found, but the search not finished, if 10 to 1400 rows are reserved",
		},
		{
			name: "on both sides", findings: []planner.Finding{apart, early},
			want: apartIs + "; a compile settles it", notes: apartIs + "; a compile settles it",
		},
		{
			// 2 of 5 ms are more than 9 of 30
			name: "the largest share comes first", findings: []planner.Finding{steep, turned, stays, apart},
			settling: []Settling{{Command: "profile it", Begins: true}, {Command: "compile it", Compile: 1}, {}, {Command: "compile twice", Compile: 2}},
			want:     turnedIs + " (-v lists 2 more); a compile of all settles it:", command: "compile it",
			notes: steepIs + "; a profile settles it, beginning with: profile it",
		},
		{
			name: "which -v has listed", findings: []planner.Finding{turned, steep}, listed: true,
			settling: []Settling{{Command: "compile it", Compile: 1}, {}},
			want:     turnedIs + "; a compile of all settles it:", command: "compile it",
			notes: turnedIs + "; a compile of all settles it: compile it",
		},
		{
			name: "a compile that is not the first", findings: []planner.Finding{apart}, settling: []Settling{{Command: "compile twice", Compile: 2}},
			want: apartIs + "; a compile settles it, compile 2 of:", command: "compile twice",
			notes: apartIs + "; a compile settles it, compile 2 of: compile twice",
		},
		{
			name: "not for every value", findings: []planner.Finding{patchy},
			want: patchyIs + "; a compile settles it", notes: patchyIs + "; a compile settles it",
		},
	} {
		p.Stability, p.Settling, p.Listed = test.findings, test.settling, test.listed
		if got, command := p.firmness(); got != test.want || command != test.command {
			t.Errorf("%s: got  %s %q\nwant %s %q", test.name, got, command, test.want, test.command)
		}
		if len(test.findings) > 0 {
			if got := p.Finding(0); got != test.notes {
				t.Errorf("%s: got  %s\nwant %s", test.name, got, test.notes)
			}
		}
	}
	// bytes are sent
	problem.Objective = planner.ByteHits
	sent := planner.Finding{Assumption: rows, PlanChanges: true, Regret: 1 << 20, Worst: 1400, ValueAtWorst: 3 << 20, AtLeast: at(30), Better: [][]int{{0, 1, 2}}}
	p.Checked, p.Stability, p.Settling = true, []planner.Finding{sent, stays}, []Settling{{Command: "compile it", Compile: 1}, {}}
	if got, _ := p.firmness(); !strings.Contains(got, ": at 1400 rows it saves 1.00 MiB of 3.00 MiB sent per call; ") {
		t.Error(got)
	}
	got := string(encode(p.findingsJSON()))
	for _, want := range []string{
		`"regret_bytes": 1048576`, `"value_at_worst_bytes": 3145728`, `"worst_at": 1400`, `"assumes": "20 rows are reserved"`, `"settled_by_command": "compile it"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("JSON of bytes has no %s: %s", want, got)
		}
	}
	if strings.Contains(got, "_ms") {
		t.Errorf("bytes take time: %s", got)
	}
	problem.Objective = planner.Time
	p.Stability = []planner.Finding{steep}
	if got := string(encode(p.findingsJSON())); !strings.Contains(got, `"value_at_worst_ms": 30`) || !strings.Contains(got, `"regret_ms": 9`) {
		t.Errorf("JSON of times: %s", got)
	}
	// a rule has no values, and nothing found out is not nothing to find
	p.Checked, p.Stability = true, []planner.Finding{turned}
	if got := string(encode(p.findingsJSON())); strings.Contains(got, `"low"`) || strings.Contains(got, "worst_at") || !strings.Contains(got, `"assumption": "against what is assumed, the rule is another"`) {
		t.Errorf("a rule: %s", got)
	}
	if p.Stability = nil; p.findingsJSON() == nil {
		t.Error("nothing to find is left out")
	}
	if p.Checked = false; p.findingsJSON() != nil {
		t.Error("what was not found out is said")
	}
}
