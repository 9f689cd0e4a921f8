package plans

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans/schema/schematest"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// logOf is what compiler 1.0 printed for bird, said of another file.
func logOf(file string) string {
	return fmt.Sprintf(`Edge TPU Compiler version 1.0.249710469
INFO: Initialized TensorFlow Lite runtime.

Model compiled successfully in 557 ms.

Input model: %s
Output model: x_edgetpu.tflite
Output size: 4.12MiB
On-chip memory available for caching model parameters: 6.91MiB
On-chip memory used for caching model parameters: 3.75MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 65
Operation log: x_edgetpu.log
See the operation log file for individual operation details.
`, file)
}

// A log gives what its figure would have given: 6.91MiB are 280 rows.
func TestResolveLog(t *testing.T) {
	text, err := fs.ReadFile(Examples(), "log.toml")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"bird.tflite": exampleModels["bird.tflite"](), "plant.tflite": exampleModels["plant.tflite"](), "logs/bird.log": []byte(logOf("elsewhere/bird.tflite"))}
	r, err := resolveText(t, string(text), files, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Files[0].Reserve; got.Rows != 280 || got.Source != compile.FromMeasurement {
		t.Errorf("reserve of bird %+v, want 280 rows, measured", got)
	}
	if r.Files[1].Reserve.Source != compile.FromFormula || r.Files[0].LogSHA256 == "" || r.Files[1].LogSHA256 != "" {
		t.Errorf("files %+v", r.Files)
	}
	// The log prints no packed bytes, so no split is known.
	if len(r.Problem.Known) != 0 {
		t.Errorf("known: %+v", r.Problem.Known)
	}
	files["logs/bird.log"] = []byte("nothing\n")
	if _, err := resolveText(t, string(text), files, Options{}); err == nil || err.Error() != `plan.toml:17:7: model "bird": logs/bird.log: no output of edgetpu_compiler in it (name a file with what edgetpu_compiler printed)` {
		t.Errorf("error %v", err)
	}
}

// The meaning of a plan is what it was before there were these keys, and another one with them.
func TestMeaningOfEvidenceFiles(t *testing.T) {
	plan := func(more string) *Plan {
		p, err := Parse("plan.toml", []byte(minimal+more))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	seen := map[string]string{}
	for _, more := range []string{"", "log='x'\n", "compiled='x'\n", "log='x'\ncompiled='x'\n", "log='compiled'\n"} {
		p := plan(more)
		if other, taken := seen[p.meaning()]; taken {
			t.Errorf("%q and %q mean the same", more, other)
		}
		seen[p.meaning()] = more
	}
}

// knownFacts are of one call of models a and b of three.
func knownFacts(r *Resolved, models ...int) *compile.Facts {
	f := compile.NewFacts()
	var contents []string
	var splits []compile.Split
	for _, i := range models {
		contents = append(contents, r.Files[i].SHA256)
		splits = append(splits, compile.Split{Cached: 64, Streamed: r.Problem.Models[i].Load.Bytes() - 64})
	}
	f.Merge(&compile.Facts{Invocations: []compile.InvocationFacts{compile.LearnSplits(r.Files[0].Analysis.Settings, contents, splits)}})
	return f
}

func TestResolveKnown(t *testing.T) {
	r := resolveThree(t, three)
	again, err := resolveText(t, three, threeModels(), Options{Facts: knownFacts(r, 2, 0)})
	if err != nil {
		t.Fatal(err)
	}
	split := func(i int) compile.Split {
		return compile.Split{Cached: 64, Streamed: r.Problem.Models[i].Load.Bytes() - 64, Rows: 1}
	}
	want := []planner.Known{{Models: []int{2, 0}, Splits: []compile.Split{split(2), split(0)}}}
	if diff := cmp.Diff(want, again.Problem.Known); diff != "" {
		t.Error(diff)
	}
	// 2.1 is sequential: it is this order that is known.
	measured := func(r *Resolved, groups [][]int) (got []string) {
		p, err := planner.Evaluate(r.Problem, groups)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range NewLock(r, p).Evidence.Models {
			got = append(got, m.SplitSource+" "+m.Certainty)
		}
		return got
	}
	if diff := cmp.Diff([]string{"measured exact", "modelled exact", "measured exact"}, measured(again, [][]int{{2, 0}, {1}})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"modelled exact", "modelled exact", "modelled exact"}, measured(again, [][]int{{0, 2}, {1}})); diff != "" {
		t.Error(diff)
	}
	// Facts of other releases and of other flags say nothing here.
	for _, change := range []string{`version = "2.1"|version = "2.0"`, `flags = ["-t 300"]|flags = ["-a"]`, `flags = ["-t 300"]|flags = ["-m 12"]`} {
		from, to, _ := strings.Cut(change, "|")
		other, err := resolveText(t, strings.Replace(three, from, to, 1), threeModels(), Options{Facts: knownFacts(r, 2, 0)})
		if err != nil || len(other.Problem.Known) != 0 {
			t.Errorf("%s: %+v, %v", to, other.Problem.Known, err)
		}
	}
}

// Two models of one file can be either member of a call.
func TestResolveKnownCopies(t *testing.T) {
	models := threeModels()
	models["m/b & c.tflite"] = models["a.tflite"]
	r, err := resolveText(t, three, models, Options{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := resolveText(t, three, models, Options{Facts: knownFacts(r, 0, 2)})
	if err != nil {
		t.Fatal(err)
	}
	var got [][]int
	for _, k := range again.Problem.Known {
		got = append(got, k.Models)
	}
	if diff := cmp.Diff([][]int{{0, 2}, {1, 2}}, got); diff != "" {
		t.Error(diff)
	}
}

// What was measured of a model is what is planned with.
func TestResolveFacts(t *testing.T) {
	r := resolveThree(t, three)
	a := r.Files[0]
	f := compile.NewFacts()
	total := r.Problem.Models[0].Load.Bytes() + 64
	f.Merge(&compile.Facts{Models: []compile.ModelFacts{{
		SHA256: a.SHA256, FactsKey: a.Analysis.Settings.Key(), Available: []string{"1.00MiB", "6.00MiB"}, ParameterBytes: &total,
		InstructionBytes: new(int64(34_000)), LoadInstructionBytes: new(int64(3_400)), InputBytes: new(int64(340)), OutputBytes: new(int64(0)),
		Operators: []compile.OperatorFact{{Op: "CONV_2D", Count: 2, Status: compile.StatusMapped}},
	}}})
	again, err := resolveText(t, three, threeModels(), Options{Facts: f})
	if err != nil {
		t.Fatal(err)
	}
	m := again.Problem.Models[0]
	// usb2 moves 34,000 bytes in a millisecond, and its host takes 1.1 ms
	computes := 0.0
	for _, op := range again.Files[0].Analysis.Ops {
		computes += op.Work.MS()
	}
	if m.Load.Bytes() != total || math.Abs(m.Call.FixedMS-(1.1+1.01+computes)) > 1e-12 || m.Call.LoadBytes != 3400 || again.Files[0].Reserve.Source != compile.FromMeasurement {
		t.Errorf("%d bytes, call %+v, reserve %+v", m.Load.Bytes(), m.Call, again.Files[0].Reserve)
	}
	// 2048 - 7 MiB / 64 KiB rows
	if rows := again.Files[0].Reserve.Rows; rows < 254 || rows > 258 {
		t.Errorf("%d reserved rows, want about 256", rows)
	}
	if !strings.Contains(Problems(again.Warnings).Error(), `a real compile put other operations on the Edge TPU than predicted: 0 of AVERAGE_POOL_2D, not 1; 2 of CONV_2D, not 15;`) {
		t.Errorf("warnings %v", again.Warnings)
	}
	lock := NewLock(again, together(again))
	if s := Compare(NewLock(r, together(r)), lock); len(s.Decision) > 0 || !strings.Contains(strings.Join(s.Evidence, "\n"), `model "a": the source of the parameter bytes was modelled, is now measured`) {
		t.Errorf("%+v", s)
	}
	checkSchema(t, mustBytes(t, lock))
	// The plan's own figure comes before facts that contradict it.
	own, err := resolveText(t, strings.Replace(three, `file = "a.tflite"`, "file = \"a.tflite\"\navailable = \"7.50MiB\"", 1), threeModels(), Options{Facts: f})
	if err != nil {
		t.Fatal(err)
	}
	if rows := own.Files[0].Reserve.Rows; rows < 127 || rows > 129 {
		t.Errorf("%d reserved rows, want about 128", rows)
	}
	if !strings.Contains(Problems(own.Warnings).Error(), `available is 7.50MiB, but a compile printed 1.00MiB + 6.00MiB; the plan counts`) {
		t.Errorf("warnings %v", own.Warnings)
	}
}

func TestFactsFile(t *testing.T) {
	for in, want := range map[string]string{"plan.toml": "plan.facts.json", "x/plan.lock.json": "x/plan.facts.json", "other": "other.facts.json"} {
		if got := FactsPath(in); got != want {
			t.Errorf("facts of %s are %s, want %s", in, got, want)
		}
	}
	path := filepath.Join(t.TempDir(), "plan.facts.json")
	if _, err := ReadFacts(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	f := knownFacts(resolveThree(t, three), 0, 1)
	if err := WriteFacts(path, f); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := schematest.Validate("facts", data); err != nil {
		t.Error(err)
	}
	again, err := ReadFacts(path)
	if diff := cmp.Diff(f, again); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	before, _ := os.Stat(path)
	if err := WriteFacts(path, again); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(path); !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Error("facts that did not change were written again")
	}
}

// A compiled file that the plan names gives what its call gave, whatever the formula says.
func TestResolveCompiledEvidence(t *testing.T) {
	src := tflitetest.New().Input(1, 8, 8, 16).Conv(32, 3, 3, 1, true).Conv(64, 3, 3, 1, true)
	source := src.Source()
	cached, streamed := tflitetest.Pack(source, 0, 1), tflitetest.Pack(source, 1, 1)
	// 32 x 4 x (9 x 4 + 1), 64 x 4 x (9 x 8 + 1)
	if len(cached) != 4736 || len(streamed) != 18688 {
		t.Fatalf("packed %d and %d bytes", len(cached), len(streamed))
	}
	files := map[string][]byte{"a.tflite": src.Bytes(), "a_edgetpu.tflite": tflitetest.CompiledModel(tflitetest.SplitOf(7, cached, streamed))}
	r, err := resolveText(t, minimal+"compiled='a_edgetpu.tflite'\n", files, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if k := r.Problem.Known; len(k) != 1 || !k[0].AnyOrder || k[0].Splits[0].Cached != 4736 || k[0].Splits[0].Streamed != 18688 {
		t.Errorf("known: %+v", k)
	}
	if r.Files[0].CompiledSHA256 == "" || !r.Files[0].InstructionsMeasured() {
		t.Errorf("file %+v", r.Files[0])
	}
	// It comes before facts that say otherwise.
	f := compile.NewFacts()
	f.Merge(&compile.Facts{Models: []compile.ModelFacts{{SHA256: r.Files[0].SHA256, FactsKey: r.Files[0].Analysis.Settings.Key(), ParameterBytes: new(int64(100))}}})
	again, err := resolveText(t, minimal+"compiled='a_edgetpu.tflite'\n", files, Options{Facts: f})
	if err != nil || len(again.Problem.Known) != 1 || again.Problem.Models[0].Load.Bytes() != 23424 {
		t.Fatalf("%+v, %v", again, err)
	}
	if !strings.Contains(Problems(again.Warnings).Error(), `plan.toml:8:10: model "a": compiled has 23424 bytes of parameters, another compile gave 100; the plan counts`) {
		t.Errorf("warnings %v", again.Warnings)
	}
	if f.Model(r.Files[0].Analysis.Settings, r.Files[0].SHA256).ParameterBytes == nil || *f.Models[0].ParameterBytes != 100 {
		t.Error("the facts of the options were changed")
	}
}
