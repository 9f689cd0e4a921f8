package plans

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/emit"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/internal/fuzztest"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans/schema/schematest"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// answer fills in a plan for a grouping; it stands for the planner, which has its own tests.
func answer(r *Resolved, grouping [][]int) *planner.Plan {
	p := r.Problem
	plan := &planner.Plan{
		Devices: []planner.DevicePlan{{Name: p.Devices[0].Name}}, Models: make([]planner.Outcome, len(p.Models)),
		Certificate: planner.Certificate{Status: planner.Optimal, Nodes: 7},
	}
	shares := make([]float64, len(p.Models))
	for i, m := range p.Models {
		shares[i] = m.Share
	}
	process := cost.Independent(shares)
	for _, group := range grouping {
		g := planner.Group{Models: group, Reserved: -32}
		var loads []*compile.Load
		var foreign cost.Set
		for i := range p.Models {
			if !slices.Contains(group, i) {
				foreign = foreign.With(i)
			}
		}
		for _, i := range group {
			loads = append(loads, &p.Models[i].Load)
			g.Reserved = max(g.Reserved, p.Models[i].Reserved)
		}
		names := []string{}
		for k, split := range compile.Allocate(p.Version, g.Reserved, loads) {
			i := group[k]
			m := &p.Models[i]
			miss := process.Miss(i, foreign)
			streaming := float64(m.Load.Streamed) / m.Call.BytesPerMS
			for part, cached := range split.InCache {
				if !cached {
					streaming += m.StreamMS[part]
				}
			}
			plan.Models[i] = planner.Outcome{
				Split: split, Miss: miss, SteadyMS: m.Call.Steady(streaming), ColdMS: m.Call.Cold(split.Cached, streaming),
				ExpectedMS: m.Call.Expected(split.Cached, streaming, miss),
			}
			plan.Value += m.Share * plan.Models[i].ExpectedMS
			g.Rows += split.Rows
			names = append(names, m.Name)
		}
		g.Name = "tpu0-" + slices.Min(names)
		plan.Devices[0].Groups = append(plan.Devices[0].Groups, g)
	}
	slices.SortFunc(plan.Devices[0].Groups, func(a, b planner.Group) int { return strings.Compare(a.Name, b.Name) })
	plan.Certificate.Bound = plan.Value
	return plan
}

// byName are the models of a problem in the order of their names.
func byName(r *Resolved) []int {
	order := make([]int, len(r.Problem.Models))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(r.Problem.Models[a].Name, r.Problem.Models[b].Name) })
	return order
}

func together(r *Resolved) *planner.Plan { return answer(r, [][]int{byName(r)}) }

func apart(r *Resolved) *planner.Plan {
	var grouping [][]int
	for _, i := range byName(r) {
		grouping = append(grouping, []int{i})
	}
	return answer(r, grouping)
}

func checkSchema(t testing.TB, data []byte) {
	t.Helper()
	if err := schematest.Validate("lock", data); err != nil {
		t.Errorf("%v\n%s", err, data)
	}
}

func mustBytes(t testing.TB, l *Lock) []byte {
	t.Helper()
	data, err := l.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const three = `[compiler]
version = "2.1"
flags = ["-t 300"]
[[device]]
name = "tpu0"
link = "usb2"
[[model]]
name = "a"
file = "a.tflite"
rate = "5/s"
[[model]]
name = "b"
file = "m/b & c.tflite"
rate = "30/min"
[[model]]
name = "c"
file = "-c.tflite"
rate = "30/min"
`

func threeModels() map[string][]byte {
	return map[string][]byte{
		"a.tflite":       tflitetest.MobileNetV1(0.25, 128, 10),
		"m/b & c.tflite": tflitetest.MobileNetV1(0.25, 128, 11),
		"-c.tflite":      tflitetest.MobileNetV1(0.5, 128, 12),
	}
}

func resolveThree(t testing.TB, text string) *Resolved {
	t.Helper()
	r, err := resolveText(t, text, threeModels(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLock(t *testing.T) {
	r := resolveThree(t, three)
	lock := NewLock(r, together(r))
	want := Decision{
		Compiler: "2.1", Command: []string{"edgetpu_compiler"}, Flags: []string{"-t", "300"}, OutDir: "build",
		Devices: []LockedDevice{{Name: "tpu0", Groups: []LockedGroup{{
			Name: "tpu0-a", Models: []string{"a", "b", "c"}, Files: []string{"a.tflite", "m/b & c.tflite", "-c.tflite"},
			Argv: []string{"edgetpu_compiler", "-t", "300", "-o", "build/.tpuplan-tpu0-a", "a.tflite", "m/b & c.tflite", "./-c.tflite"},
		}}}},
	}
	if diff := cmp.Diff(want, lock.Decision); diff != "" {
		t.Error(diff)
	}
	data := mustBytes(t, lock)
	checkSchema(t, data)
	if strings.Contains(string(data), filepath.Dir(r.Plan.Path)) {
		t.Error("the lock holds the path of the folder")
	}
	if !strings.HasSuffix(string(data), "}\n") || strings.Contains(string(data), `\u0026`) {
		t.Errorf("not in the fixed form:\n%s", data)
	}
	m := lock.Evidence.Models[0]
	if m.CachedBytes+m.StreamedBytes != m.ParameterBytes || m.SHA256 != r.Files[0].SHA256 || m.FileBytes != int64(len(threeModels()["a.tflite"])) {
		t.Errorf("evidence %+v", m)
	}

	again, err := ParseLock("plan.lock.json", data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(data), string(mustBytes(t, again))); diff != "" {
		t.Errorf("read and written again: %s", diff)
	}
	if s := Compare(again, lock); len(s.Decision)+len(s.Evidence) > 0 {
		t.Errorf("a lock differs from itself: %+v", s)
	}
	grouping, err := again.Grouping(r.Problem)
	if diff := cmp.Diff([][]int{{0, 1, 2}}, grouping); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	wantBuild := &emit.Build{
		Plan: "plan.toml", Lock: "plan.lock.json", Command: []string{"edgetpu_compiler"}, Flags: []string{"-t", "300"}, OutDir: "build", Version: "2.1",
		Groups: []emit.Group{{Name: "tpu0-a", Files: []string{"a.tflite", "m/b & c.tflite", "-c.tflite"}}},
	}
	for i, m := range again.Evidence.Models { // their names are sorted as the group's models are
		wantBuild.Placements = append(wantBuild.Placements, emit.Placement{
			Model: m.Name, File: []string{"build/a_edgetpu.tflite", "build/b & c_edgetpu.tflite", "build/-c_edgetpu.tflite"}[i],
			Device: "tpu0", Group: "tpu0-a", WarmUp: i + 1, CachedBytes: m.CachedBytes, StreamedBytes: m.StreamedBytes,
		})
	}
	if diff := cmp.Diff(wantBuild, again.Build("x/plan.toml")); diff != "" {
		t.Error(diff)
	}
}

// The command of a flag or of the environment belongs to one machine.
func TestLockHoldsThePlansCommand(t *testing.T) {
	dir := folder(t, threeModels())
	plan, err := Parse(filepath.Join(dir, "plan.toml"), []byte(three))
	if err != nil {
		t.Fatal(err)
	}
	own, err := Resolve(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := Resolve(t.Context(), plan, Options{Command: []string{"ssh", "host", "edgetpu_compiler"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(mustBytes(t, NewLock(own, together(own)))), string(mustBytes(t, NewLock(other, together(other))))); diff != "" {
		t.Error(diff)
	}
}

// The order of the models in the file, comments and spelling leave the lock as it is.
func TestLockOfAPermutedPlan(t *testing.T) {
	parts := strings.Split(three, "[[model]]")
	permuted := parts[0] + "# a comment\n[[model]]" + parts[3] + "[[model]]" + parts[1] + "[[model]]" + strings.Replace(parts[2], "30/min", "1800/h", 1)
	first, second := resolveThree(t, three), resolveThree(t, permuted)
	if diff := cmp.Diff(string(mustBytes(t, NewLock(first, together(first)))), string(mustBytes(t, NewLock(second, together(second))))); diff != "" {
		t.Error(diff)
	}
}

func TestCompare(t *testing.T) {
	r := resolveThree(t, three)
	base := NewLock(r, together(r))
	textLock := func(pairs ...string) *Lock {
		r := resolveThree(t, strings.NewReplacer(pairs...).Replace(three))
		return NewLock(r, together(r))
	}
	edited := func(change func(*Lock)) *Lock {
		l, err := ParseLock("", mustBytes(t, base))
		if err != nil {
			t.Fatal(err)
		}
		change(l)
		return l
	}
	retrained := func() *Lock {
		files := threeModels()
		b := tflitetest.New()
		b.Seed = 99
		files["a.tflite"] = b.Input(1, 8, 8, 16).Conv(16, 3, 3, 1, true).Bytes()
		first, err := resolveText(t, three, files, Options{})
		if err != nil {
			t.Fatal(err)
		}
		b = tflitetest.New()
		b.Seed = 100
		files["a.tflite"] = b.Input(1, 8, 8, 16).Conv(16, 3, 3, 1, true).Bytes()
		second, err := resolveText(t, three, files, Options{})
		if err != nil {
			t.Fatal(err)
		}
		base = NewLock(first, together(first))
		return NewLock(second, together(second))
	}
	tests := []struct {
		name     string
		now      func() *Lock
		decision []string
		evidence []string // nil: not compared
	}{
		{"apart", func() *Lock { return NewLock(r, apart(r)) }, []string{
			`no longer in one invocation: "a", "b", "c"`, `now in one invocation: "a"`, `now in one invocation: "b"`, `now in one invocation: "c"`,
		}, nil},
		{"order", func() *Lock { return NewLock(r, answer(r, [][]int{{2, 0, 1}})) }, []string{
			`the order of group "tpu0-a" was "a", "b", "c", is now "c", "a", "b"`,
		}, nil},
		{"settings", func() *Lock {
			return textLock(`"2.1"`, `"15.0"`, `flags = ["-t 300"]`, "out_dir = 'out'\ncommand='x y'", "tpu0", "tpu9")
		}, []string{
			`out_dir was "build", is now "out"`,
			`the compiler command was "edgetpu_compiler", is now "x", "y"`,
			`the compiler flags was "-t", "300", is now none`,
			`the compiler was 2.1, is now 15.0`,
			`the group of "a", "b", "c" was on device "tpu0", is now on device "tpu9"`,
		}, nil},
		{"label", func() *Lock { return edited(func(l *Lock) { l.Decision.Devices[0].Groups[0].Name = "all" }) }, []string{
			`the group of "a", "b", "c" was called "tpu0-a", is now called "all"`,
		}, []string{}},
		{"numbers", func() *Lock {
			return edited(func(l *Lock) {
				e := &l.Evidence
				e.Objective.Value, e.Status, e.Nodes, e.Limit = 5, "feasible", 8, "nodes"
				e.Devices[0].MBPerS = 33
				e.Groups[0].Rows = 1
				e.Models[0].CachedBytes = 2
				e.Models[1].Certainty = "unknown"
				e.Models[2].Name = "d"
			})
		}, nil, []string{
			`model "a": cached bytes was`, `model "b": the certainty was`, `model "c" is gone`, `model "d" is new`,
			`the limit of the search was "", is now "nodes"`,
			`the link of device "tpu0" was "usb2" with 34 MB/s and 0.43 ms, is now "usb2" with 33 MB/s and 0.43 ms`,
			`the number of nodes was 7, is now 8`, `the objective's value was `, `the rows of group "tpu0-a" was `, `the status was optimal, is now feasible`,
		}},
		// A retrained model of the same shape is other evidence for the same decision.
		{"retrained", retrained, nil, []string{`model "a": the file has other contents`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := tt.now()
			got := Compare(base, now)
			if diff := cmp.Diff(tt.decision, got.Decision); diff != "" {
				t.Error(diff)
			}
			if tt.evidence == nil {
				return
			}
			if len(got.Evidence) != len(tt.evidence) {
				t.Fatalf("evidence:\n%s", strings.Join(got.Evidence, "\n"))
			}
			for i, want := range tt.evidence {
				if !strings.HasPrefix(got.Evidence[i], want) {
					t.Errorf("got %s, want %s", got.Evidence[i], want)
				}
			}
		})
	}
}

// Whatever differs in two locks, Compare says something, and nothing if nothing does.
func TestCompareMissesNothing(t *testing.T) {
	r := resolveThree(t, three)
	data := string(mustBytes(t, NewLock(r, together(r))))
	lines := strings.Split(data, "\n")
	old, err := ParseLock("", []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	changes := 0
	for i, line := range lines {
		// Make one digit of one value another one.
		at := strings.LastIndexAny(line, "123456789")
		if at < 0 || strings.Contains(line, "schema") {
			continue
		}
		changed := slices.Clone(lines)
		changed[i] = line[:at] + string('1'+(line[at]-'0')%9) + line[at+1:]
		now, err := ParseLock("", []byte(strings.Join(changed, "\n")))
		if err != nil {
			continue // no longer a lock
		}
		changes++
		if s := Compare(old, now); len(s.Decision)+len(s.Evidence) == 0 {
			t.Errorf("nothing said about %q for %q", changed[i], line)
		}
	}
	if changes < 30 {
		t.Errorf("%d values could be changed: the lock is too small", changes)
	}
}

func TestReadLockProblems(t *testing.T) {
	r := resolveThree(t, three)
	data := string(mustBytes(t, NewLock(r, together(r))))
	const again = " (run tpuplan optimize --fresh, or take the file from version control)"
	tests := []struct{ name, data, want string }{
		{"empty", "", "plan.lock.json:1:1: not a lock: unexpected end of JSON input" + again},
		{"cut", data[:strings.Index(data, `"out_dir"`)+12], "plan.lock.json:12:16: not a lock: unexpected end of JSON input" + again},
		{"merge", strings.Replace(data, `    "out_dir"`, "<<<<<<< HEAD\n    \"out_dir\"", 1), "plan.lock.json:12:1: an unresolved merge" + again},
		{"type", strings.Replace(data, `"2.1"`, "2.1", 1), "plan.lock.json:4:19: not a lock: decision.compiler holds a JSON number" + again},
		{"more after it", data + "{}", ":1: not a lock: invalid character '{' after top-level value" + again},
		{"other file", `{"name": "x"}`, `plan.lock.json: not a lock: its schema is "", want "tpuplan/lock/v1"` + again},
		{"newer", strings.Replace(data, "lock/v1", "lock/v2", 1), "plan.lock.json: written by a newer tpuplan, in format v2; this one reads up to v1 (use that tpuplan, or delete the lock and run tpuplan optimize)"},
		{"compiler", strings.Replace(data, `"2.1"`, `"3.0"`, 1), `plan.lock.json: unknown compiler version "3.0" (known: 1.0, 2.0, 2.1, 14.1, 15.0, 16.0)` + again},
		{"argv", strings.Replace(data, `"-o",`, `"-o", "/",`, 1), `plan.lock.json: the argv of group "tpu0-a" is not that of its models` + again},
		{"group", strings.Replace(data, `"tpu0-a"`, `"../a"`, 1), `plan.lock.json: the name of group "../a" is unusable or taken` + again},
		{"dense", "[" + strings.Repeat("{},", 30_000), "plan.lock.json: not a lock: it holds more values than a file of 87.89KiB can describe" + again},
		{"twice", strings.Replace(data, "            \"b\"", "            \"a\"", 1), `plan.lock.json: model "a" is in two groups or has no evidence` + again},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseLock("plan.lock.json", []byte(tt.data))
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.HasSuffix(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
	// Fields are only added, so unknown ones are no reason to stop.
	if _, err := ParseLock("", []byte(strings.Replace(data, `"decision": {`, `"decision": {"new": 1,`, 1))); err != nil {
		t.Error(err)
	}
}

func TestWriteLock(t *testing.T) {
	r := resolveThree(t, three)
	lock := NewLock(r, together(r))
	path := filepath.Join(t.TempDir(), "plan.lock.json")
	if _, err := ReadLock(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing lock: %v", err)
	}
	if err := WriteLock(path, lock); err != nil {
		t.Fatal(err)
	}
	back, err := ReadLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if s := Compare(lock, back); len(s.Decision)+len(s.Evidence) > 0 {
		t.Errorf("%+v", s)
	}
	// The same lock again leaves the file alone, another one replaces it.
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteLock(path, lock); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("an unchanged lock was written again (%v)", err)
	}
	if err := WriteLock(path, NewLock(r, apart(r))); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	// A lock that cannot be written, here because a folder has its name.
	if err := WriteLock(filepath.Dir(path), lock); err == nil || !strings.Contains(err.Error(), "not written, what was there is untouched: ") {
		t.Errorf("written over a folder: %v", err)
	}
	if err := WriteLock(filepath.Join(path, "x"), lock); err == nil {
		t.Error("written into a file")
	}
}

func TestDiff(t *testing.T) {
	r := resolveThree(t, three)
	old, now := NewLock(r, together(r)), NewLock(r, apart(r))
	got, err := Diff("plan.lock.json", old, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--- plan.lock.json\n+++ plan.lock.json\n@@", "\n-              \"b\",\n", "\n+            \"name\": \"tpu0-b\",\n"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if got, err := Diff("x", now, now); got != nil || err != nil {
		t.Errorf("equal locks differ: %s, %v", got, err)
	}
	if got, err := Diff("x", nil, now); err != nil || !strings.HasPrefix(string(got), "diff "+os.DevNull) {
		t.Errorf("new lock: %.40s, %v", got, err)
	}
}

// Reading a lock takes no more memory than twice its bytes and a megabyte,
// whatever it holds, and a lock of any number of models is read.
func TestParseLockMemory(t *testing.T) {
	const head = `{"schema": "tpuplan/lock/v1", "decision": {"compiler": "16.0", "command": ["c"], "out_dir": "o", `
	for name, part := range map[string][2]string{
		"models":     {head + `"devices": []}, "evidence": {"models": [`, `{},`},
		"more":       {head + `"devices": []}, "evidence": {"models": [`, `{}], "models": [`},
		"rows":       {head + `"devices": []}, "evidence": {"groups": [`, `{},`},
		"nothing":    {head + `"devices": []}, "evidence": {"models": [`, `null,`},
		"numbers":    {head + `"devices": []}, "evidence": {"models": [`, `1,`},
		"devices":    {head + `"devices": [`, `{},`},
		"groups":     {head + `"devices": [{"groups": [`, `{},`},
		"flags":      {head + `"flags": [`, `"",`},
		"shares":     {head + `"devices": []}, "evidence": {"models": [{`, `"share":1,`},
		"lists":      {head + `"devices": [{"groups": [`, `{"models":[]},`},
		"nested":     {`{"schema": "tpuplan/lock/v1", "x": `, `[`},
		"unknown":    {`{"schema": "tpuplan/lock/v1", `, `"x":1,`},
		"same again": {`{"schema": "tpuplan/lock/v1", `, `"schema": "tpuplan/lock/v1",`},
		"merge":      {"{\n", "<<<<<<< HEAD\n"},
		"quotes":     {`{"schema": "`, `\"`},
	} {
		for _, n := range []int{2_000, 8_000, 20_000, 40_000, 200_000, 2_000_000} {
			data := []byte(part[0] + strings.Repeat(part[1], n/len(part[1])))
			for _, end := range []string{"", `0`} {
				text := append(data[:len(data):len(data)], end...)
				fuzztest.Bounded(t, len(text), func() { ParseLock("x", text) })
				if t.Failed() {
					t.Fatalf("%s, %d bytes", name, n)
				}
			}
		}
	}
	lock := Lock{Schema: "tpuplan/lock/v1", Decision: Decision{Compiler: "16.0", Command: []string{"c"}, Flags: []string{}, OutDir: "o"}}
	device := LockedDevice{Name: "usb"}
	for i := range 1500 {
		name := fmt.Sprint("m", i)
		group := LockedGroup{Name: "g-" + name, Models: []string{name}, Files: []string{name + ".tflite"}}
		group.Argv = lock.Decision.argv(&group)
		device.Groups = append(device.Groups, group)
		lock.Evidence.Models = append(lock.Evidence.Models, LockedModel{Name: name, SHA256: strings.Repeat("0", 64)})
	}
	lock.Decision.Devices = []LockedDevice{device}
	data := mustBytes(t, &lock)
	if _, err := ParseLock("x", data); err != nil {
		t.Errorf("a lock of 1500 models: %v", err)
	}
	fuzztest.Bounded(t, len(data), func() { ParseLock("x", data) })
}

func FuzzParseLock(f *testing.F) {
	f.Add([]byte(`{"schema": "tpuplan/lock/v1", "decision": {"compiler": "16.0", "command": ["c"], "flags": [], "out_dir": "o", "devices": [{"name": "t", "groups":
		[{"name": "g", "models": ["a"], "files": ["a.tflite"], "argv": ["c", "-o", "o/.tpuplan-g", "a.tflite"]}]}]}, "evidence": {"models": [{"name": "a"}]}}`))
	f.Add([]byte(`{"schema": "tpuplan/lock/v2"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzztest.Bounded(t, len(data), func() { ParseLock("x", data) })
		l, err := ParseLock("x", data)
		if err != nil {
			return
		}
		again, err := ParseLock("x", mustBytes(t, l))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if s := Compare(l, again); len(s.Decision)+len(s.Evidence) > 0 {
			t.Errorf("it changed: %+v", s)
		}
		l.Build("p.toml")
	})
}
