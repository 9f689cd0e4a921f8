package plans

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// lockedPlan writes models and a plan, and locks the given groups.
func lockedPlan(t *testing.T, plan string, groups [][]int) (*Lock, *Resolved) {
	t.Helper()
	dir := t.TempDir()
	for i, name := range []string{"a", "b", "c"} {
		b := tflitetest.New()
		b.Seed = uint64(i + 1)
		data := b.Input(1, 2048*(i+1)).FCNoBias(1024).Bytes()
		if err := os.WriteFile(filepath.Join(dir, name+".tflite"), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "old_edgetpu.tflite"), tflitetest.CompiledModel(tflitetest.Split(9, 6400, 0)), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := Parse(filepath.Join(dir, "plan.toml"), []byte(plan))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Resolve(t.Context(), p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := planner.Evaluate(r.Problem, groups)
	if err != nil {
		t.Fatal(err)
	}
	return NewLock(r, answer), r
}

const measuredPlan = `[[device]]
name = "usb"
link = "usb2"
[[model]]
name = "third"
file = "c.tflite"
weight = 1
[[model]]
name = "first"
file = "a.tflite"
weight = 3
[[model]]
name = "second"
file = "b.tflite"
weight = 2
`

func TestArrangements(t *testing.T) {
	type want struct {
		Name, Same string
		Files      []string
		Calls      []string // folder, name and files of compiler calls
		Pinned     bool
	}
	for _, test := range []struct {
		name, plan string
		groups     [][]int
		want       []want
		build      int // compiler calls of the measuring set
	}{
		{
			name: "two groups, one of them of a single model", plan: measuredPlan, groups: [][]int{{1, 2}, {0}},
			want: []want{
				{Name: "plan", Files: []string{"build/c_edgetpu.tflite", "build/a_edgetpu.tflite", "build/b_edgetpu.tflite"}},
				{
					Name: "separate", Files: []string{"build/c_edgetpu.tflite", "build/alone/a_edgetpu.tflite", "build/alone/b_edgetpu.tflite"},
					Calls: []string{"alone a a.tflite", "alone b b.tflite"},
				},
				{
					Name: "as-given", Files: []string{"build/as-given/c_edgetpu.tflite", "build/as-given/a_edgetpu.tflite", "build/as-given/b_edgetpu.tflite"},
					Calls: []string{"as-given as-given c.tflite a.tflite b.tflite"},
				},
			},
			build: 3,
		},
		{
			name: "as given is the plan", plan: measuredPlan, groups: [][]int{{0, 1, 2}},
			want: []want{
				{Name: "plan", Files: []string{"build/c_edgetpu.tflite", "build/a_edgetpu.tflite", "build/b_edgetpu.tflite"}},
				{
					Name: "separate", Files: []string{"build/alone/c_edgetpu.tflite", "build/alone/a_edgetpu.tflite", "build/alone/b_edgetpu.tflite"},
					Calls: []string{"alone a a.tflite", "alone b b.tflite", "alone c c.tflite"},
				},
				{Name: "as-given", Same: "plan", Files: []string{"build/c_edgetpu.tflite", "build/a_edgetpu.tflite", "build/b_edgetpu.tflite"}},
			},
			build: 3,
		},
		{
			name: "a model that is compiled already takes part as it is",
			plan: strings.Replace(measuredPlan, `"c.tflite"`, `"old_edgetpu.tflite"`, 1), groups: [][]int{{0}, {1}, {2}},
			want: []want{
				{Name: "plan", Files: []string{"old_edgetpu.tflite", "build/a_edgetpu.tflite", "build/b_edgetpu.tflite"}},
				{Name: "separate", Same: "plan", Files: []string{"old_edgetpu.tflite", "build/a_edgetpu.tflite", "build/b_edgetpu.tflite"}},
				{
					Name: "as-given", Files: []string{"old_edgetpu.tflite", "build/as-given/a_edgetpu.tflite", "build/as-given/b_edgetpu.tflite"},
					Calls: []string{"as-given as-given a.tflite b.tflite"},
				},
			},
			build: 1,
		},
		{
			name:   "a pin",
			plan:   strings.Replace(strings.Replace(measuredPlan, "weight = 1", "weight = 1\ngroup = \"x\"", 1), "weight = 3", "weight = 3\ngroup = \"x\"", 1),
			groups: [][]int{{1, 0}, {2}},
			want: []want{
				{Name: "plan", Files: []string{"build/c_edgetpu.tflite", "build/a_edgetpu.tflite", "build/b_edgetpu.tflite"}},
				{
					Name: "separate", Pinned: true, Files: []string{"build/alone/c_edgetpu.tflite", "build/alone/a_edgetpu.tflite", "build/b_edgetpu.tflite"},
					Calls: []string{"alone a a.tflite", "alone c c.tflite"},
				},
				{
					Name: "as-given", Files: []string{"build/as-given/c_edgetpu.tflite", "build/as-given/a_edgetpu.tflite", "build/as-given/b_edgetpu.tflite"},
					Calls: []string{"as-given as-given c.tflite a.tflite b.tflite"},
				},
			},
			build: 1,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			lock, r := lockedPlan(t, test.plan, test.groups)
			list, err := lock.Arrangements(r)
			if err != nil {
				t.Fatal(err)
			}
			var got []want
			for _, a := range list {
				x := want{Name: a.Name, Same: a.Same, Files: a.Files, Pinned: a.Violation != nil}
				for _, g := range a.calls {
					x.Calls = append(x.Calls, g.Folder+" "+g.Name+" "+strings.Join(g.Files, " "))
				}
				got = append(got, x)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			b, err := lock.MeasuringBuild("plan.lock.json", list)
			if test.build == 0 {
				if err == nil || !strings.Contains(err.Error(), "nothing to compile") {
					t.Errorf("%v, %v", b, err)
				}
				return
			}
			if err != nil || len(b.Groups) != test.build || b.OutDir != "build" || b.Lock != "plan.lock.json" {
				t.Errorf("%+v, %v", b, err)
			}
		})
	}
}

// split is what a file has.
func split(cached, streamed int64) compile.Split {
	return compile.Split{Cached: cached, Streamed: streamed}
}

func TestSettle(t *testing.T) {
	const mib = 1 << 20
	const a, b, c = 2 * mib, 4 * mib, 6 * mib // parameters of the models
	_, r := lockedPlan(t, measuredPlan, [][]int{{1, 2}, {0}})
	answer, err := planner.Evaluate(r.Problem, [][]int{{1, 2}, {0}})
	if err != nil {
		t.Fatal(err)
	}
	// Two assumptions of the tests' own: the rows reserved for first and
	// second, of which more than 512 leave less than 6 MiB for both of them.
	at := 600.0
	rows := planner.Finding{
		Assumption: &planner.Assumption{
			Sentence: func(rows string) string { return rows + " are reserved" },
			Unit:     "rows", Low: 0, High: 1000, Assumed: 36, Step: 1,
			Change: func(p *planner.Problem, v float64) { p.Models[1].Reserved, p.Models[2].Reserved = int(v), int(v) },
		},
		PlanChanges: true, AtLeast: &at,
	}
	low := 30.0
	link := planner.Finding{
		Assumption: &planner.Assumption{
			Sentence: func(amount string) string { return "the link carries " + amount },
			Unit:     "MB/s", Low: 27, High: 41, Assumed: 34, Step: 0.34,
			Change: func(p *planner.Problem, v float64) {
				for i := range p.Models {
					p.Models[i].Call.BytesPerMS *= v / 34
				}
			},
		},
		PlanChanges: true, AtMost: &low,
	}
	rule := planner.Finding{Assumption: &planner.Assumption{
		Sentence: func(string) string { return "the compiler keeps 800 rows for itself" },
		Change:   func(p *planner.Problem, _ float64) { p.Models[1].Reserved, p.Models[2].Reserved = 800, 800 },
	}}
	slope := planner.Finding{Assumption: &planner.Assumption{
		Sentence: func(times string) string { return "streaming takes " + times },
		Unit:     "times", Low: 1, High: 8, Assumed: 1, Step: 0.1,
		Change:    func(p *planner.Problem, v float64) { p.Models[0].StreamMS = []float64{v} },
		SettledBy: "a profile",
	}}
	together := func(x, y compile.Split) *Seen {
		return &Seen{Built: []BuiltAs{{Models: []int{1, 2}, Splits: []compile.Split{x, y}}}}
	}
	for _, test := range []struct {
		name    string
		finding planner.Finding
		seen    *Seen
		as      SettledAs
		low     float64
		high    float64
		changes bool
		text    string
	}{
		{"nothing was seen", rows, &Seen{}, Open, 0, 1000, true, "nothing here tells"},
		{"both fit", rows, together(split(a, 0), split(b, 0)), Settled, 0, 512, false, "the plan stays"},
		{"one fits", rows, together(split(0, a), split(b, 0)), Narrowed, 513, 1000, true, "may change"},
		{"no value gives that", rows, together(split(a/2, a/2), split(b, 0)), Contradicted, 0, 1000, true, "no such value"},
		{"a file that is the same either way", rows, &Seen{Built: []BuiltAs{{Models: []int{1}, Splits: []compile.Split{split(a, 0)}}}}, Open, 0, 1000, true, "the same either way"},
		{"files of other models", rows, &Seen{Built: []BuiltAs{{Models: []int{0}, Splits: []compile.Split{split(c, 0)}}}}, Open, 0, 1000, true, ""},
		{"alone is surer than in company", rows, &Seen{Built: []BuiltAs{
			{Models: []int{1, 2}, Splits: []compile.Split{split(1, 1), split(1, 1)}}, {Models: []int{2}, Splits: []compile.Split{split(b, 0)}},
		}}, Open, 0, 1000, true, ""},
		{"a rule that holds", rule, together(split(a, 0), split(b, 0)), Settled, 0, 0, false, "the compiled files say it does not"},
		{"the other rule", rule, together(split(0, a), split(b, 0)), Contradicted, 0, 0, false, "contradict what is assumed"},
		{"a rate", link, &Seen{Rate: &Seeing{33, 32, 34}}, Settled, 32, 34, false, "33 MB/s were seen, 32 to 34, the plan stays"},
		{"a rate that changes the plan", link, &Seen{Rate: &Seeing{29, 28, 30}}, Narrowed, 28, 30, true, "may change"},
		{"a rate out of range", link, &Seen{Rate: &Seeing{400, 390, 410}}, Contradicted, 390, 410, true, "outside of that"},
		{"a slope", slope, &Seen{Streaming: map[int]Seeing{0: {2, 1.9, 2.1}}}, Settled, 1.9, 2.1, false, "2 times were seen"},
		{"a slope of another model", slope, &Seen{Streaming: map[int]Seeing{1: {2, 1.9, 2.1}}}, Open, 1, 8, false, "a profile does"},
	} {
		t.Run(test.name, func(t *testing.T) {
			list, err := r.Settle([]planner.Finding{test.finding}, test.seen)
			if err != nil {
				t.Fatal(err)
			}
			s := list[0]
			if s.As != test.as || s.Low != test.low || s.High != test.high || s.PlanChanges != test.changes || !strings.Contains(s.Text(), test.text) {
				t.Errorf("%s, %v to %v, changes %v: %s", s.As, s.Low, s.High, s.PlanChanges, s.Text())
			}
		})
	}
	// The plan's own assumptions can all be held against something, except that
	// calls are independent: those of a measurement are drawn.
	findings, err := planner.Stability(t.Context(), r.Problem, answer, planner.Options{}, r.Assumptions(answer))
	if err != nil {
		t.Fatal(err)
	}
	list, err := r.Settle(findings, &Seen{
		Rate: &Seeing{34, 33, 35}, Built: []BuiltAs{
			{Models: []int{0}, Splits: []compile.Split{split(c, 0)}},
			{Models: []int{1}, Splits: []compile.Split{split(a, 0)}},
			{Models: []int{2}, Splits: []compile.Split{split(b, 0)}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 2 {
		t.Errorf("%d assumptions", len(list))
	}
	for _, s := range list {
		told := s.Means != planner.ByTrace && !strings.HasPrefix(s.Assumes, "streaming") // no call was timed that streams
		if s.As == Contradicted || s.As == Open && !s.Tested && told {
			t.Errorf("%s: %s", s.As, s.Text())
		}
	}
}
