package replay_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/cost/replay"
)

// workload is models with a split and a group, once as a replay takes them and
// once as the closed forms do.
type workload struct {
	models   []replay.Model
	group    []int // of each model; a model of token 0 has one of its own
	call     []cost.Call
	cached   []int64
	streamed []int64
}

// add adds a model. Token 0 means: of no group; packages share what is cached.
func (w *workload) add(t interface{ Fatal(...any) }, group int, token uint64, packages int, cached, streamed int64) {
	call := cost.Call{FixedMS: 1 + float64(len(w.models)), BytesPerMS: 34e3, LoadBytes: 10240, OverheadMS: 0.43}
	m := replay.Model{Name: fmt.Sprintf("m%d", len(w.models))}
	for p := range packages {
		// The first package has the streamed bytes and all times; the others share the load's bytes.
		main := replay.Executable{Role: replay.ExecutionOnly, Token: token}
		load := replay.Executable{Role: replay.ParameterCaching, Token: token, Bytes: cached / int64(packages)}
		if p == 0 {
			main.Bytes, main.MS = streamed, call.Steady(float64(streamed)/call.BytesPerMS)
			load.Bytes += cached%int64(packages) + int64(call.LoadBytes)
			load.MS = call.Load(cached)
		}
		list := []replay.Executable{main, load}
		if cached == 0 {
			list = list[:1]
		}
		made, err := replay.NewPackage(list...)
		if err != nil {
			t.Fatal(err)
		}
		m.Packages = append(m.Packages, made)
	}
	w.models = append(w.models, m)
	w.group = append(w.group, group)
	w.call = append(w.call, call)
	w.cached = append(w.cached, cached)
	w.streamed = append(w.streamed, streamed)
}

func drawWorkload(t *rapid.T) *workload {
	w := &workload{}
	for i := range rapid.IntRange(1, 6).Draw(t, "models") {
		group := rapid.IntRange(1, 3).Draw(t, "group")
		token := uint64(group) << 40
		cached := rapid.SampledFrom([]int64{0, 64, 1 << 20, 4_415_744}).Draw(t, "cached")
		streamed := rapid.Int64Range(0, 3<<20).Draw(t, "streamed")
		if rapid.IntRange(0, 4).Draw(t, "token 0") == 0 {
			group, token, cached = 100+i, 0, 0
		}
		w.add(t, group, token, rapid.IntRange(1, 3).Draw(t, "packages"), cached, streamed)
	}
	return w
}

func (w *workload) foreign(m int) (s cost.Set) {
	for i, g := range w.group {
		if g != w.group[m] {
			s = s.With(i)
		}
	}
	return s
}

// check compares what was counted of calls with what the closed form says of a process.
func (w *workload) check(t interface{ Errorf(string, ...any) }, r *replay.Replay, process cost.Process) {
	sum, calls := 0.0, int64(0)
	for m := range w.models {
		s := r.Model(m)
		if s.Calls == 0 {
			continue
		}
		miss := 0.0
		if w.cached[m] > 0 {
			miss = process.Miss(m, w.foreign(m))
		}
		n := float64(s.Calls)
		equal(t, fmt.Sprintf("loads of m%d", m), float64(s.Loads), miss*n)
		equal(t, fmt.Sprintf("hits of m%d", m), float64(s.Hits), n-miss*n)
		expected := w.call[m].Expected(w.cached[m], float64(w.streamed[m])/w.call[m].BytesPerMS, miss)
		equal(t, fmt.Sprintf("mean ms of m%d", m), s.Service.Mean(), expected)
		equal(t, fmt.Sprintf("bytes of m%d", m), float64(s.Bytes), n*float64(w.streamed[m])+miss*n*float64(w.cached[m]+10240))
		sum += n * expected
		calls += s.Calls
	}
	total := r.Total()
	if total.Calls != calls {
		t.Errorf("%d calls in all, of the models %d", total.Calls, calls)
	}
	equal(t, "mean ms of all calls", total.Service.Mean(), sum/float64(calls))
}

func equal(t interface{ Errorf(string, ...any) }, what string, got, want float64) {
	if !(math.Abs(got-want) <= 1e-9*max(1, math.Abs(want))) {
		t.Errorf("%s: replayed %v, closed form %v", what, got, want)
	}
}

// play plays calls of a source, n of them or all.
func play(t interface{ Fatal(...any) }, r *replay.Replay, s replay.Source, n int) {
	for range n {
		c, err := s.Next()
		if err == io.EOF {
			return
		}
		if err == nil {
			_, err = r.Do(c)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func open(t interface{ Fatal(...any) }, models []replay.Model) *replay.Replay {
	r, err := replay.New(models)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A cycle's second turn costs exactly what the closed form says, whatever the
// groups and packages, with models of which nothing is cached and models of token 0.
func TestCycleAgreesWithClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorkload(t)
		sequence := rapid.SliceOfN(rapid.IntRange(0, len(w.models)-1), 1, 40).Draw(t, "sequence")
		turns := rapid.IntRange(1, 3).Draw(t, "turns")
		source, err := replay.Cycle(sequence)
		if err != nil {
			t.Fatal(err)
		}
		r := open(t, w.models)
		play(t, r, source, len(sequence))
		r.Forget()
		play(t, r, source, turns*len(sequence))
		process, err := cost.Cyclic(sequence)
		if err != nil {
			t.Fatal(err)
		}
		w.check(t, r, process)
	})
}

// The same through recorded traces, CSV and JSON lines, with and without
// times, read line by line by both sides.
func TestTraceAgreesWithClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorkload(t)
		sequence := rapid.SliceOfN(rapid.IntRange(0, len(w.models)-1), 1, 60).Draw(t, "sequence")
		var text bytes.Buffer
		timed, lines := rapid.Bool().Draw(t, "timed"), rapid.Bool().Draw(t, "JSON lines")
		if !lines && rapid.Bool().Draw(t, "header") {
			text.WriteString(map[bool]string{true: "time_ms,model\n", false: "model\n"}[timed])
		}
		at := rapid.Float64Range(-1e6, 1e12).Draw(t, "start")
		for _, m := range sequence {
			at += rapid.Float64Range(0, 300).Draw(t, "gap")
			switch name := w.models[m].Name; {
			case lines && timed:
				fmt.Fprintf(&text, "{\"time_ms\": %v, \"model\": %q}\n", at, name)
			case lines:
				fmt.Fprintf(&text, "{\"model\":%q,\"other\":[1]}\n", name)
			case timed:
				fmt.Fprintf(&text, "%v,%s\n", at, name)
			default:
				fmt.Fprintln(&text, name)
			}
		}
		r := open(t, w.models)
		play(t, r, replay.NewTrace("first", bytes.NewReader(text.Bytes()), w.models), len(sequence)+1)
		r = untimed(t, w, text.Bytes(), len(sequence))
		trace := replay.NewTrace("trace", bytes.NewReader(text.Bytes()), w.models)
		var counted cost.Sequence
		for {
			c, err := trace.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := counted.Call(c.Model); err != nil {
				t.Fatal(err)
			}
			c.Timed = false
			if _, err := r.Do(c); err != nil {
				t.Fatal(err)
			}
		}
		process, err := counted.Process()
		if err != nil {
			t.Fatal(err)
		}
		w.check(t, r, process)
	})
}

// untimed plays a trace once to warm up, without its times: a second turn
// would go back in time.
func untimed(t *rapid.T, w *workload, text []byte, calls int) *replay.Replay {
	r := open(t, w.models)
	trace := replay.NewTrace("trace", bytes.NewReader(text), w.models)
	for range calls {
		c, err := trace.Next()
		if err != nil {
			t.Fatal(err)
		}
		c.Timed = false
		if _, err := r.Do(c); err != nil {
			t.Fatal(err)
		}
	}
	r.Forget()
	return r
}

// Two groups strictly alternating load on every call, runs of length L on one of L.
func TestRuns(t *testing.T) {
	for _, length := range []int{1, 2, 3, 10} {
		w := &workload{}
		w.add(t, 1, 1, 1, 1<<20, 0)
		w.add(t, 2, 2, 1, 2<<20, 64)
		source, err := replay.Cycle(append(slices.Repeat([]int{0}, length), slices.Repeat([]int{1}, length)...))
		if err != nil {
			t.Fatal(err)
		}
		r := open(t, w.models)
		const turns = 100
		play(t, r, source, turns*2*length)
		for m := range 2 {
			if s := r.Model(m); s.Loads != turns || s.Calls != int64(turns*length) {
				t.Errorf("runs of %d: %d of %d calls of model %d load", length, s.Loads, s.Calls, m)
			}
		}
	}
	// In one group each of them loads once for ever.
	w := &workload{}
	w.add(t, 1, 1, 1, 1<<20, 0)
	w.add(t, 1, 1, 1, 2<<20, 64)
	r := open(t, w.models)
	source, _ := replay.Cycle([]int{0, 1})
	play(t, r, source, 1000)
	if s := r.Total(); s.Loads != 2 || s.Hits != 998 {
		t.Errorf("one group: %d loads, %d hits", s.Loads, s.Hits)
	}
}

// A million independent calls: every model within three standard errors of
// the closed form. Between two calls of a model others are drawn anew, so
// that its misses are independent draws and their standard error is binomial.
func TestIndependentCallsWithinThreeStandardErrors(t *testing.T) {
	const calls = 1_000_000
	w := &workload{}
	w.add(t, 1, 1, 1, 3<<20, 0)
	w.add(t, 1, 1, 2, 1<<20, 1<<20)
	w.add(t, 2, 2, 1, 4<<20, 0)
	w.add(t, 3, 3, 1, 0, 6<<20)
	w.add(t, 4, 0, 1, 0, 1<<20)
	shares := []float64{0.55, 0.2, 0.15, 0.07, 0.03}
	process := cost.Independent(shares)
	for _, seed := range []uint64{1, 2} {
		source, err := replay.Independent(shares, seed)
		if err != nil {
			t.Fatal(err)
		}
		r := open(t, w.models)
		play(t, r, source, calls)
		sum := 0.0
		for m := range w.models {
			s := r.Model(m)
			n := float64(s.Calls)
			near(t, "calls", n, calls*shares[m], 3*math.Sqrt(calls*shares[m]*(1-shares[m])))
			miss, load := 0.0, w.call[m].Load(w.cached[m])
			if w.cached[m] > 0 {
				miss = process.Miss(m, w.foreign(m))
			}
			se := math.Sqrt(miss * (1 - miss) / n)
			near(t, fmt.Sprintf("seed %d: misses of m%d", seed, m), float64(s.Loads)/n, miss, 3*se)
			expected := w.call[m].Expected(w.cached[m], float64(w.streamed[m])/w.call[m].BytesPerMS, miss)
			near(t, fmt.Sprintf("seed %d: mean ms of m%d", seed, m), s.Service.Mean(), expected, 3*se*load+1e-9)
			// What the replay says of its own error is about that.
			if half := 1.96 * se * load; w.cached[m] > 0 && !(s.ErrorKnown && s.ErrorMS > 0.7*half && s.ErrorMS < 1.4*half) {
				t.Errorf("seed %d: m%d says +-%v ms, binomial +-%v", seed, m, s.ErrorMS, half)
			}
			sum += shares[m] * expected
		}
		total := r.Total()
		near(t, fmt.Sprintf("seed %d: mean ms of all", seed), total.Service.Mean(), sum, 3*total.ErrorMS/1.96)
	}
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %v, want %v +- %v", what, got, want, tolerance)
	}
}

// Waiting of calls that arrive at random. Within one group no call depends on
// those before it, and the formula is exact. So it is for two groups of equal models
// and shares: a call is cold with probability one half whatever came before. In
// between, cold calls come in clusters, and the formula says too little: by
// how much is recorded here, and told in docs/cost-model.md.
func TestWaiting(t *testing.T) {
	const calls = 1_000_000
	for _, tt := range []struct {
		name   string
		group  []int
		cached []int64
		shares []float64
		busy   float64
		low    float64 // replayed wait over that of the formula
		high   float64
	}{
		{"one group, half busy", []int{1, 1, 1}, []int64{1 << 20, 1 << 19, 0}, []float64{0.6, 0.3, 0.1}, 0.5, 0.98, 1.02},
		{"one group, nearly always busy", []int{1, 1}, []int64{1 << 20, 0}, []float64{0.6, 0.4}, 0.9, 0.95, 1.05},
		{"alternating equals", []int{1, 2}, []int64{1 << 20, 1 << 20}, []float64{0.5, 0.5}, 0.7, 0.97, 1.03},
		{"a rare stranger", []int{1, 2}, []int64{1 << 20, 1 << 20}, []float64{0.9, 0.1}, 0.5, 1.4, 1.5},
		{"a rare stranger, busier", []int{1, 2}, []int64{1 << 20, 1 << 20}, []float64{0.9, 0.1}, 0.8, 1.45, 1.6},
		{"three groups", []int{1, 2, 3}, []int64{1 << 20, 2 << 20, 1 << 19}, []float64{0.6, 0.3, 0.1}, 0.7, 0.95, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &workload{}
			for i, g := range tt.group {
				w.add(t, g, uint64(g), 1, tt.cached[i], 0)
			}
			process := cost.Independent(tt.shares)
			served := make([]cost.Served, len(w.models))
			work := 0.0 // of a call
			for m := range w.models {
				miss := 0.0
				if w.cached[m] > 0 {
					miss = process.Miss(m, w.foreign(m))
				}
				served[m] = cost.Served{SteadyMS: w.call[m].Steady(0), ColdMS: w.call[m].Cold(w.cached[m], 0), Miss: miss}
				work += tt.shares[m] * w.call[m].Expected(w.cached[m], 0, miss)
			}
			perMS := make([]float64, len(w.models))
			for m := range served {
				served[m].PerMS = tt.busy / work * tt.shares[m]
				perMS[m] = served[m].PerMS
			}
			queue := cost.NewQueue(served)
			near(t, "utilisation", float64(queue.Utilization), tt.busy, 1e-12)
			want, ok := queue.MeanWaitMS()
			if !ok {
				t.Fatal("overloaded")
			}
			source, err := replay.Poisson(perMS, 1)
			if err != nil {
				t.Fatal(err)
			}
			r := open(t, w.models)
			play(t, r, source, calls)
			share, known := r.Device(0).Utilization()
			if !known {
				t.Fatal("the replay does not know how busy the device is")
			}
			near(t, "replayed utilisation", share, tt.busy, 0.01)
			got := r.Total().WaitMS
			t.Logf("wait %.4g ms, formula %.4g, ratio %.3f", got, want, got/want)
			if ratio := got / want; !(ratio >= tt.low && ratio <= tt.high) {
				t.Errorf("waits %v ms, formula %v: ratio %.3f, want %v to %v", got, want, ratio, tt.low, tt.high)
			}
		})
	}
}

// The pages of a viewer: what a timeline says adds up to what was replayed.
func TestTimeline(t *testing.T) {
	w := &workload{}
	w.add(t, 1, 1, 1, 1<<20, 0)
	w.add(t, 2, 2, 1, 0, 64)
	w.models[1].Name = `say "x"`
	r := open(t, w.models)
	var b bytes.Buffer
	line := replay.NewTimeline(&b)
	if err := line.Process(3, "plan", w.models); err != nil {
		t.Fatal(err)
	}
	// Arrivals at 0, 1 and 1000 ms; the first call loads for 1 MiB + 10 KiB.
	load := float64(1<<20+10240)/34e3 + 0.43
	for _, c := range []replay.Call{{Model: 0, Timed: true}, {Model: 0, Timed: true, AtMS: 1}, {Model: 1, Timed: true, AtMS: 1000}} {
		e, err := r.Do(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := line.Add(3, &e); err != nil {
			t.Fatal(err)
		}
	}
	if err := line.Close(); err != nil {
		t.Fatal(err)
	}
	var got struct {
		OtherData   struct{ Source string }
		TraceEvents []struct {
			Name, Cat, Ph string
			Pid, Tid      int
			Ts, Dur       float64
			Args          struct {
				Name   string
				Call   int
				Bytes  int64
				WaitMS float64 `json:"wait_ms"`
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	if got.OtherData.Source != "simulated" {
		t.Error("the timeline does not say that it is simulated")
	}
	var lines []string
	for _, e := range got.TraceEvents {
		if e.Ph == "M" {
			lines = append(lines, fmt.Sprintf("%s %d/%d %s", e.Name, e.Pid, e.Tid, e.Args.Name))
			continue
		}
		lines = append(lines, fmt.Sprintf("%s %d/%d call %d at %.3f for %.3f, %d B, waited %.3f", e.Name, e.Pid, e.Tid, e.Args.Call, e.Ts, e.Dur, e.Args.Bytes, e.Args.WaitMS))
	}
	want := []string{
		"process_name 3/0 plan",
		"thread_name 3/1 m0",
		`thread_name 3/2 say "x"`,
		fmt.Sprintf("load 3/1 call 0 at 0.000 for %.3f, 0 B, waited 0.000", load*1000),
		fmt.Sprintf("m0 3/1 call 0 at %.3f for 1000.000, 1058816 B, waited 0.000", load*1000),
		fmt.Sprintf("m0 3/1 call 1 at %.3f for 1000.000, 0 B, waited %.3f", load*1000+1000, load),
		`say "x" 3/2 call 2 at 1000000.000 for 2001.882, 64 B, waited 0.000`,
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestTimelineIsBounded(t *testing.T) {
	w := &workload{}
	w.add(t, 1, 1, 1, 0, 0)
	line := replay.NewTimeline(io.Discard)
	if err := line.Process(1, "plan", w.models); err != nil {
		t.Fatal(err)
	}
	e := replay.Event{Hit: true}
	for range replay.MaxTimelineEvents - 2 { // two are names
		if err := line.Add(1, &e); err != nil {
			t.Fatal(err)
		}
	}
	if err := line.Add(1, &e); err != replay.ErrTimelineFull {
		t.Errorf("one event too many: %v", err)
	}
	if err := line.Close(); err != replay.ErrTimelineFull {
		t.Errorf("closing it: %v", err)
	}
}
