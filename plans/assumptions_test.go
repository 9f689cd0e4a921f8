package plans

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// uncertain are nets of which one thing each is not known: wide and copy (one
// file) do not fit their activations, up has an op without a proven rule, dense
// has no convolution, big is only big.
func uncertain() map[string][]byte {
	wide := tflitetest.New().Input(1, 256, 256, 16).Conv(64, 3, 3, 1, true).Conv(64, 3, 3, 1, true).Bytes()
	big := tflitetest.New().Input(1, 14, 14, 512)
	for range 4 {
		big.Conv(512, 3, 3, 1, true)
	}
	vast := tflitetest.New().Input(1, 64, 64, 448) // runs in passes and does not fit
	for range 5 {
		vast.Conv(448, 3, 3, 1, true)
	}
	return map[string][]byte{
		"vast.tflite": vast.Bytes(),
		"wide.tflite": wide, "copy.tflite": wide,
		"up.tflite":    tflitetest.New().Input(1, 8, 8, 16).TransposeConv(16, 3, 3, 2).Conv(32, 3, 3, 1, true).Bytes(),
		"dense.tflite": tflitetest.New().Input(1, 64).FC(64).Bytes(),
		"big.tflite":   big.Bytes(),
		"built.tflite": tflitetest.CompiledModel(tflitetest.Split(7, 640_000, 64_000)),
	}
}

func planOf(names ...string) string {
	text := "[[device]]\nname = 'tpu0'\nlink = 'usb2'\n"
	for _, name := range names {
		text += "[[model]]\nname = '" + name + "'\nfile = '" + name + ".tflite'\nweight = 1\n"
	}
	return text
}

func mustResolve(t *testing.T, text string, version compile.Version) *Resolved {
	t.Helper()
	r, err := resolveText(t, text, uncertain(), Options{Version: &version})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ranges(list []planner.Assumption) []string {
	var all []string
	for _, a := range list {
		all = append(all, a.Range())
	}
	return all
}

func TestAssumptions(t *testing.T) {
	evidence := func(steady string) string { return "steady = '" + steady + "'\ncold = '500ms'\n" }
	second := func(name string) string { return strings.TrimPrefix(planOf(name), planOf()) }
	for _, test := range []struct {
		name    string
		text    string
		version compile.Version
		want    []string
	}{
		{
			"each kind, in the order of names", planOf("wide", "up", "dense", "copy", "big"), compile.V16_0,
			[]string{
				"ROWS rows of every tile are reserved for copy, wide",
				"31 to 68 rows of every tile are reserved for dense", // seen in nets without convolutions
				"holding the heuristic TRANSPOSE_CONV of up takes 0.9 to 1.1 times the memory counted",
				"streaming of any of big, dense, up takes 0.8 to 1.2 times as long as predicted",
				"streaming of big takes 0.8 to 1.2 times as long as predicted",
				"streaming of dense takes 0.8 to 1.2 times as long as predicted",
				"streaming of up takes 0.8 to 1.2 times as long as predicted",
				"parameters of copy, wide that are streamed are sent 0.5 to 2.2 times as often as predicted",
				"the link of tpu0 (usb2) carries 27.2 to 40.8 MB/s", // 34 +- 20 %
				"calls come in runs of one model, 1 to 100 calls a run",
			},
		},
		{"one model has one plan", planOf("wide"), compile.V16_0, nil},
		{"so it has beside a compiled one", planOf("wide", "built"), compile.V16_0, nil},
		{
			"of which nothing is open but the link", planOf("up", "built", "big"), compile.V15_0,
			[]string{
				"holding the heuristic TRANSPOSE_CONV of up takes 0.9 to 1.1 times the memory counted",
				"streaming of any of big, up takes 0.8 to 1.2 times as long as predicted",
				"streaming of big takes 0.8 to 1.2 times as long as predicted",
				"streaming of up takes 0.8 to 1.2 times as long as predicted",
				"the link of tpu0 (usb2) carries 27.2 to 40.8 MB/s",
				"calls come in runs of one model, 1 to 100 calls a run",
			},
		},
		{
			"everything fits: no convolution is streamed, and nothing loaded in runs of any length", planOf("up", "dense"), compile.V2_1,
			[]string{
				"0 to 2 rows of every tile are reserved for dense",
				"holding the heuristic TRANSPOSE_CONV of up takes 0.9 to 1.1 times the memory counted",
				"the link of tpu0 (usb2) carries 27.2 to 40.8 MB/s",
			},
		},
		{
			"bytes take no time", planOf("big", "up") + "[objective]\nkind = 'byte-hits'\n", compile.V15_0,
			[]string{"holding the heuristic TRANSPOSE_CONV of up takes 0.9 to 1.1 times the memory counted", "calls come in runs of one model, 1 to 100 calls a run"},
		},
		{
			"a link table is a measurement", strings.Replace(planOf("dense", "up"), "'usb2'", "{ mb_per_s = 34 }", 1), compile.V15_0,
			[]string{
				"-32 to -30 rows of every tile are reserved for dense",
				"holding the heuristic TRANSPOSE_CONV of up takes 0.9 to 1.1 times the memory counted",
			},
		},
		{
			"a rule that is only strong", planOf("big", "dense"), compile.V1_0,
			[]string{
				"0 to 2 rows of every tile are reserved for dense",
				"against what is assumed, compiler 1.0 puts the groups of a partitioned op on the first tile with room, as 2.1 does",
				"streaming takes 0.8 to 1.2 times as long as predicted",
				"streaming of big takes 0.8 to 1.2 times as long as predicted",
				"streaming of dense takes 0.8 to 1.2 times as long as predicted",
				"the link of tpu0 (usb2) carries 27.2 to 40.8 MB/s",
				"calls come in runs of one model, 1 to 100 calls a run",
			},
		},
		{
			"a rule that was never seen with several models", planOf("dense", "up"), compile.V14_1,
			[]string{
				"-32 to -30 rows of every tile are reserved for dense",
				"holding the heuristic TRANSPOSE_CONV of up takes 0.9 to 1.1 times the memory counted",
				"against what is assumed, compiler 14.1 puts each group of a partitioned op on a tile of its own, as 1.0 does",
				"the link of tpu0 (usb2) carries 27.2 to 40.8 MB/s",
			},
		},
		{
			// Rates of both are measured, and the rows of dense; what another split of big
			// hides is not.
			"evidence settles", planOf("dense") + "available = '7.80MiB'\n" + evidence("300ms") + second("big") + evidence("200ms"), compile.V16_0,
			[]string{
				"streaming of big takes 0.8 to 1.2 times as long as predicted", // dense computes longer than it streams
				"calls come in runs of one model, 1 to 100 calls a run",
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := mustResolve(t, test.text, test.version)
			got := ranges(r.Assumptions(together(r)))
			for i := range got {
				if strings.HasSuffix(got[i], " for copy, wide") { // how far is the reserve's business
					got[i] = "ROWS rows" + got[i][strings.Index(got[i], " rows")+5:]
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What a value makes of the problem, and that the problem itself is left alone.
func TestAssumptionsChangeACopy(t *testing.T) {
	r := mustResolve(t, planOf("wide", "up", "dense", "copy", "big"), compile.V16_0)
	list := r.Assumptions(together(r))
	if r.Files[0].Reserve.Fits {
		t.Fatal("wide fits")
	}
	const wide, up, copied, big = 0, 1, 3, 4
	change := func(prefix string, value float64) (*planner.Problem, planner.Assumption) {
		t.Helper()
		i := slices.IndexFunc(list, func(a planner.Assumption) bool { return strings.Contains(a.Range(), prefix) })
		if i < 0 {
			t.Fatalf("no assumption with %q", prefix)
		}
		p := *r.Problem
		p.Models = slices.Clone(p.Models)
		list[i].Change(&p, value)
		return &p, list[i]
	}
	before := mustResolve(t, planOf("wide", "up", "dense", "copy", "big"), compile.V16_0).Problem

	p, a := change("for copy, wide", 123)
	if p.Models[wide].Reserved != 123 || p.Models[copied].Reserved != 123 || p.Models[big].Reserved != before.Models[big].Reserved {
		t.Errorf("reserved %d, %d, %d", p.Models[wide].Reserved, p.Models[copied].Reserved, p.Models[big].Reserved)
	}
	reserve := r.Files[wide].Reserve
	if a.Low != float64(reserve.Low) || a.High != float64(reserve.High) || a.Assumed != float64(reserve.Rows) || a.SettledBy != "one real compile of copy alone" || !slices.Equal(a.Models, []int{copied}) {
		t.Errorf("%+v of %+v", a, reserve)
	}

	p, a = change("TRANSPOSE_CONV", 1.1)
	for k, part := range p.Models[up].Load.Parts {
		was, factor := before.Models[up].Load.Parts[k], 1.0
		if k == 0 { // the transposed convolution
			factor = 1.1
		}
		if part.Bytes != int64(math.Round(factor*float64(was.Bytes))) || part.Rows != int(math.Round(factor*float64(was.Rows))) {
			t.Errorf("part %d: %+v of %+v", k, part, was)
		}
	}
	if now, was := p.Models[up].StreamMS[0], before.Models[up].StreamMS[0]; now <= was {
		t.Errorf("streaming what is larger takes %v ms, it took %v", now, was)
	}
	if !slices.Equal(a.Models, []int{up}) || a.SettledBy != "one real compile of up alone" {
		t.Errorf("%+v", a)
	}

	times := func(m int) float64 { return p.Models[m].StreamMS[0] / before.Models[m].StreamMS[0] }
	p, a = change("streaming of big takes", 1.2)
	if math.Abs(times(big)-1.2) > 1e-12 || times(up) != 1 || times(wide) != 1 || a.Models != nil || a.SettledBy != "a profile of big at two splits" || !a.Linear {
		t.Errorf("%v, %v, %v times, %+v", times(big), times(up), times(wide), a)
	}
	p, a = change("of any of big, dense, up takes", 0.8)
	if math.Abs(times(big)-0.8) > 1e-12 || math.Abs(times(up)-0.8) > 1e-12 || times(wide) != 1 || a.SettledBy != "a profile of big at two splits" {
		t.Errorf("%v, %v, %v times, settled by %s", times(big), times(up), times(wide), a.SettledBy)
	}
	// Sent twice as often, every part of wide and its copy takes its transfer longer as often again:
	// 3 x 4 times, since the last map leaves, of which a joined band and its pieces have to fit, 2 x 22 x 64 x 64 bytes.
	p, a = change("parameters of copy, wide", 2)
	for _, m := range []int{wide, copied} {
		for k, part := range before.Models[m].Load.Parts {
			passes := r.Files[m].Analysis.Ops[part.Op].Passes.Value
			if more, want := p.Models[m].StreamMS[k]-before.Models[m].StreamMS[k], passes*float64(part.Bytes)/34e3; passes != 12 || math.Abs(more-want) > 1e-9 {
				t.Errorf("part %d of model %d, %v passes: %v ms more, want %v", k, m, passes, more, want)
			}
		}
	}
	if times(big) != 1 || a.Models != nil || a.SettledBy != "a profile of copy at two splits" || a.Linear {
		t.Errorf("%v times, %+v", times(big), a)
	}

	p, a = change("the link", 40.8)
	for m := range p.Models {
		now, was := p.Models[m].Call, before.Models[m].Call
		traffic := r.Files[m].traffic() // of which output has a rate of its own
		if faster := float64(traffic.Instructions+traffic.Input) / 34e3 / 6; math.Abs(now.BytesPerMS-40.8e3) > 1e-6 || math.Abs(was.FixedMS-faster-now.FixedMS) > 1e-9 {
			t.Errorf("call %+v of %+v", now, was)
		}
		for k, part := range p.Models[m].Load.Parts {
			if passes := r.Files[m].Analysis.Ops[part.Op].Passes.Value; before.Models[m].StreamMS[k] > 0 {
				if faster := before.Models[m].StreamMS[k] - p.Models[m].StreamMS[k]; math.Abs(faster-passes*float64(part.Bytes)/34e3/6) > 1e-9 {
					t.Errorf("model %d, part %d: %v ms less", m, k, faster)
				}
			}
		}
	}
	if a.Models != nil || a.Linear {
		t.Errorf("%+v", a)
	}

	// Five models of equal weight: a foreign one comes first in half of the cases, in
	// runs of 4 for every eighth call.
	p, a = change("calls come in runs", 4)
	if miss := p.Process.Miss(wide, cost.Set(0).With(big)); math.Abs(miss-1.0/8) > 1e-12 || a.Models != nil || a.Means != planner.ByTrace || a.Low != 1 || a.Assumed != 1 || a.High != 100 || !a.Linear {
		t.Errorf("%v of calls miss, %+v", miss, a)
	}
	if i := slices.IndexFunc(list, func(x planner.Assumption) bool { return x.Means == planner.ByTrace }); i != len(list)-1 {
		t.Errorf("number %d of %d is that of calls, it is not the last", i, len(list))
	}
	if diff := cmp.Diff(before, r.Problem); diff != "" {
		t.Errorf("the problem itself was changed: %s", diff)
	}
	// where all fits together, only plans that load have something to gain
	fits := mustResolve(t, planOf("up", "dense"), compile.V2_1)
	for _, test := range []struct {
		answer *planner.Plan
		listed bool
	}{{together(fits), false}, {apart(fits), true}} {
		list := fits.Assumptions(test.answer)
		if listed := list[len(list)-1].Means == planner.ByTrace; listed != test.listed {
			t.Errorf("independent calls are listed: %v, want %v", listed, test.listed)
		}
	}
	r = mustResolve(t, planOf("wide", "up", "dense", "copy", "big"), compile.V16_0)
	r.Problem.Process = cost.Independent([]float64{1, 1, 1, 1, 1}) // whatever it is
	for _, a := range r.Assumptions(together(r)) {
		if a.Means == planner.ByTrace {
			t.Error("a problem with a process of its own takes calls for independent")
		}
	}

	r = mustResolve(t, planOf("dense", "big"), compile.V1_0)
	list = r.Assumptions(together(r))
	if p, a = change("as 2.1 does", 1); p.Version != compile.V2_1 || a.Unit != "" || a.SettledBy != "one real compile of big, dense in this order" || !slices.Equal(a.Models, []int{1, 0}) {
		t.Errorf("version %s, %+v", p.Version, a)
	}
}

// What is taken for granted and from where on another plan would be better are
// one sentence, of every kind.
func TestAssumptionsInWords(t *testing.T) {
	text := planOf("wide", "up", "dense", "copy", "big")
	for _, test := range []struct {
		version compile.Version
		of      string // a part of the range
		values  []float64
		means   planner.Means
		want    string
	}{
		{compile.V16_0, "for dense", []float64{49}, planner.ByCompile, "the compiler reserves 36 rows of every tile for dense; if it reserves at least 49 rows"},
		{compile.V2_1, "for dense", []float64{1}, planner.ByCompile, "the compiler reserves 0 rows of every tile for dense; if it reserves at least 1 row"},
		{compile.V16_0, "heuristic", []float64{1.05}, planner.ByCompile, "holding the heuristic TRANSPOSE_CONV of up takes the memory counted; if it takes at least 1.05 times that"},
		{compile.V1_0, "as 2.1 does", nil, planner.ByCompile, "compiler 1.0 puts each group of a partitioned op on a tile of its own; if it puts the groups of a partitioned op on the first tile with room, as 2.1 does"},
		{compile.V14_1, "as 1.0 does", nil, planner.ByCompile, "compiler 14.1 puts the groups of a partitioned op on the first tile with room; if it puts each group of a partitioned op on a tile of its own, as 1.0 does"},
		{compile.V16_0, "streaming of up takes", []float64{1.1}, planner.ByProfile, "streaming of up takes as long as predicted; if it takes at least 1.1 times as long"},
		{compile.V16_0, "parameters of copy, wide", []float64{1.5}, planner.ByProfile, "parameters of copy, wide that are streamed are sent once in every pass that is predicted; if they are sent at least 1.5 times as often"},
		{compile.V16_0, "the link", []float64{40.8}, planner.ByProfile, "the link of tpu0 (usb2) carries 34 MB/s; if it carries at least 40.8 MB/s"},
		{compile.V16_0, "in runs", []float64{3}, planner.ByTrace, "calls are independent of each other; if they come in runs of one model, at least 3 calls a run"},
	} {
		r := mustResolve(t, text, test.version)
		list := r.Assumptions(together(r))
		i := slices.IndexFunc(list, func(a planner.Assumption) bool { return strings.Contains(a.Range(), test.of) })
		if i < 0 {
			t.Errorf("%s: no assumption with %q", test.version, test.of)
			continue
		}
		f := planner.Finding{Assumption: &list[i], PlanChanges: true}
		if test.values != nil {
			f.AtLeast = &test.values[0]
		}
		if got := f.Assumes + "; if " + f.Condition(); got != test.want || f.Means != test.means {
			t.Errorf("%s: %s: got  %s\nwant %s", test.version, f.Means, got, test.want)
		}
	}
}

// However slow its streaming is, a model that was measured alone takes what was measured.
func TestStreamingKeepsWhatWasMeasured(t *testing.T) {
	for _, test := range []struct{ name, steady string }{{"big", "200ms"}, {"vast", "450ms"}} {
		r := mustResolve(t, planOf("dense", test.name)+"steady = '"+test.steady+"'\n", compile.V16_0)
		alone := compile.Allocate(r.Version, r.Files[1].Reserve.Rows, []*compile.Load{&r.Problem.Models[1].Load})[0]
		if alone.Streamed == 0 {
			t.Fatalf("%s: nothing is streamed alone", test.name)
		}
		tried := 0
		for _, a := range r.Assumptions(together(r)) {
			if a.Unit != "times" {
				continue
			}
			for _, times := range []float64{a.Low, a.Assumed, (a.Low + a.High) / 2, a.High} {
				p := *r.Problem
				p.Models = slices.Clone(p.Models)
				a.Change(&p, times)
				m := &p.Models[1]
				if got := m.Call.Steady(m.StreamingMS(&alone)); math.Abs(got-*r.Plan.Models[1].SteadyMS) > 1e-6 {
					t.Errorf("%s at %v: warm alone %v ms, measured %s", a.Range(), times, got, test.steady)
				}
				tried++
			}
		}
		if tried < 4 {
			t.Errorf("%s: %d values tried", test.name, tried)
		}
	}
}

// Every assumption of every release can be varied over its range.
func TestAssumptionsCanBeVaried(t *testing.T) {
	for _, v := range compile.Versions() {
		names := []string{"wide", "up", "dense", "copy", "big", "built"}
		r, err := resolveText(t, planOf(names...), uncertain(), Options{Version: &v})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := planner.Solve(t.Context(), r.Problem, planner.Options{})
		if err != nil {
			t.Fatal(err)
		}
		list := r.Assumptions(plan)
		findings, err := planner.Stability(t.Context(), r.Problem, plan, planner.Options{}, list)
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range findings {
			if f.SettledBy == "" || f.Assumes == "" || (f.Means == planner.ByCompile) != (f.Models != nil) || f.Tried == 0 || f.Checked == planner.CheckedEarly {
				t.Errorf("%s: %s: %+v", v, list[i].Range(), f)
			}
		}
	}
}

// The compile that is worth most comes first: that of the assumption on which most
// of the plan's cost hangs, which is the one that optimize names.
func TestUnsettledBeginsWithTheLargestStake(t *testing.T) {
	r := mustResolve(t, planOf("wide", "up", "dense"), compile.V16_0)
	finding := func(model int, regret, value float64, changes bool) planner.Finding {
		return planner.Finding{Assumption: &planner.Assumption{Models: []int{model}}, PlanChanges: changes, Regret: regret, ValueAtWorst: value}
	}
	calls := r.Unsettled(together(r), []planner.Finding{finding(0, 9, 90, true), finding(1, 1, 2, true), finding(2, 5, 5, false)})
	if len(calls) < 2 || !slices.Equal(calls[0], []int{1}) || !slices.Equal(calls[1], []int{0}) {
		t.Errorf("compiles %v, want up, of whose 2 ms 1 may be saved, and then wide", calls)
	}
}
