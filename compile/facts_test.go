package compile

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/internal/fuzztest"
	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

func sum(c string) string { return strings.Repeat(c, 64) }

func ptr[T any](x T) *T { return &x }

var key16 = FactsKey{Compiler: "16.0", MinRuntime: 14}

func randomFacts(t *rapid.T) *Facts {
	f := NewFacts()
	content := rapid.SampledFrom([]string{sum("0"), sum("a"), sum("f"), sum("1")})
	size := func(name string) *int64 { return rapid.Ptr(rapid.Int64Range(0, absurdSize), true).Draw(t, name) }
	count := func(name string) *int { return rapid.Ptr(rapid.IntRange(0, 1000), true).Draw(t, name) }
	printed := func(name string) []string {
		return rapid.SampledFrom([][]string{nil, {"6.91MiB"}, {"5.08KiB", "0.00B"}}).Draw(t, name)
	}
	key := func() FactsKey {
		return FactsKey{rapid.SampledFrom([]string{"1.0", "16.0", "17.3"}).Draw(t, "compiler"), rapid.SampledFrom([]int{10, 14}).Draw(t, "runtime"), rapid.Bool().Draw(t, "all")}
	}
	for range rapid.IntRange(0, 5).Draw(t, "models") {
		m := ModelFacts{
			SHA256: content.Draw(t, "sha256"), FactsKey: key(), Available: printed("available"), ParameterBytes: size("parameters"),
			InstructionBytes: size("instructions"), LoadInstructionBytes: size("load"), InputBytes: size("in"), OutputBytes: size("out"),
			Subgraphs: count("subgraphs"), TPUOperations: count("tpu"), CPUOperations: count("cpu"),
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "operators") {
			m.Operators = append(m.Operators, OperatorFact{string(rune('A' + i)), 1 + i, rapid.SampledFrom([]string{"", StatusMapped}).Draw(t, "status")})
		}
		if m.ParameterBytes != nil {
			for i := range rapid.IntRange(0, 3).Draw(t, "ops") {
				m.Ops = append(m.Ops, OpFact{2 * i, "CONV_2D", int64(i), rapid.Bool().Draw(t, "cacheable")})
			}
		}
		f.add(m)
	}
	for range rapid.IntRange(0, 5).Draw(t, "invocations") {
		x := InvocationFacts{FactsKey: key(), Available: printed("available"), OrderMatters: rapid.Ptr(rapid.Bool(), true).Draw(t, "order")}
		for range rapid.IntRange(1, 3).Draw(t, "members") {
			m := MemberFacts{SHA256: content.Draw(t, "member"), CachedBytes: size("cached")}
			if m.CachedBytes != nil {
				m.StreamedBytes = ptr(int64(0))
			}
			if rapid.Bool().Draw(t, "printed") {
				m.OnChip, m.Streamed = "1.25KiB", "0.00B"
			}
			x.Models = append(x.Models, m)
		}
		f.Merge(&Facts{Invocations: []InvocationFacts{x}})
	}
	return f
}

func facts(t testing.TB, f *Facts) []byte {
	t.Helper()
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What is written is read back; the order in which it was learnt is not seen;
// and learning the same again changes nothing.
func TestFactsRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := randomFacts(rt)
		data := facts(t, f)
		again, err := ParseFacts(data)
		if err != nil {
			rt.Fatalf("%v\n%s", err, data)
		}
		if diff := cmp.Diff(string(data), string(facts(t, again))); diff != "" {
			rt.Fatalf("read and written again: %s", diff)
		}
		twice := again.Clone()
		twice.Merge(f)
		if diff := cmp.Diff(string(data), string(facts(t, twice))); diff != "" {
			rt.Fatalf("learnt again: %s", diff)
		}
		backwards := NewFacts()
		for i := len(f.Models) - 1; i >= 0; i-- {
			backwards.Merge(&Facts{Models: f.Models[i : i+1]})
		}
		for i := len(f.Invocations) - 1; i >= 0; i-- {
			backwards.Merge(&Facts{Invocations: f.Invocations[i : i+1]})
		}
		if diff := cmp.Diff(string(data), string(facts(t, backwards))); diff != "" {
			rt.Fatalf("learnt backwards: %s", diff)
		}
	})
}

// What is in the one is not changed by merging into the other.
func TestMergeSharesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := randomFacts(rt), randomFacts(rt)
		before := string(facts(t, a)) + string(facts(t, b))
		c := a.Clone()
		c.Merge(b)
		c.Merge(a)
		if after := string(facts(t, a)) + string(facts(t, b)); before != after {
			rt.Fatal(cmp.Diff(before, after))
		}
	})
}

func TestMergeModels(t *testing.T) {
	table := []OperatorFact{{"ADD", 1, "Operation not supported"}, {"CONV_2D", 3, StatusMapped}}
	for _, test := range []struct {
		name             string
		old, newer, want ModelFacts
	}{
		{"newer replaces older", ModelFacts{InstructionBytes: ptr(int64(5)), Subgraphs: ptr(1)}, ModelFacts{InstructionBytes: ptr(int64(7))}, ModelFacts{InstructionBytes: ptr(int64(7)), Subgraphs: ptr(1)}},
		// 6.91MiB leaves 10 KiB open, 7075.00KiB ten bytes of it.
		{"narrower stays", ModelFacts{Available: []string{"7075.00KiB"}}, ModelFacts{Available: []string{"6.91MiB"}}, ModelFacts{Available: []string{"7075.00KiB"}}},
		{"narrower comes", ModelFacts{Available: []string{"6.91MiB"}}, ModelFacts{Available: []string{"7075.00KiB"}}, ModelFacts{Available: []string{"7075.00KiB"}}},
		{"narrower and contradicted", ModelFacts{Available: []string{"7075.00KiB"}}, ModelFacts{Available: []string{"6.50MiB"}}, ModelFacts{Available: []string{"6.50MiB"}}},
		{
			"sizes of ops belong to their total",
			ModelFacts{ParameterBytes: ptr(int64(100)), Ops: []OpFact{{1, "ADD", 10, false}}},
			ModelFacts{ParameterBytes: ptr(int64(200))},
			ModelFacts{ParameterBytes: ptr(int64(200))},
		},
		{
			"sizes of ops stay with the same total",
			ModelFacts{ParameterBytes: ptr(int64(100)), Ops: []OpFact{{1, "ADD", 10, false}}},
			ModelFacts{ParameterBytes: ptr(int64(100))},
			ModelFacts{ParameterBytes: ptr(int64(100)), Ops: []OpFact{{1, "ADD", 10, false}}},
		},
		{
			"reasons stay with the same mapping",
			ModelFacts{Operators: table},
			ModelFacts{Operators: []OperatorFact{{"ADD", 1, ""}, {"CONV_2D", 3, StatusMapped}}},
			ModelFacts{Operators: table},
		},
		{
			"another mapping",
			ModelFacts{Operators: table},
			ModelFacts{Operators: []OperatorFact{{"ADD", 1, StatusMapped}, {"CONV_2D", 3, StatusMapped}}},
			ModelFacts{Operators: []OperatorFact{{"ADD", 1, StatusMapped}, {"CONV_2D", 3, StatusMapped}}},
		},
	} {
		f := NewFacts()
		f.add(test.old)
		f.add(test.newer)
		if diff := cmp.Diff(test.want, f.Models[0]); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestMergeInvocations(t *testing.T) {
	exact := MemberFacts{SHA256: sum("a"), CachedBytes: ptr(int64(4096)), StreamedBytes: ptr(int64(1024))}
	with := func(m MemberFacts, onChip, streamed string) MemberFacts {
		m.OnChip, m.Streamed = onChip, streamed
		return m
	}
	other := MemberFacts{SHA256: sum("a"), CachedBytes: ptr(int64(5120)), StreamedBytes: ptr(int64(0))}
	printed := with(MemberFacts{SHA256: sum("a")}, "5.00KiB", "0.00B")
	for _, test := range []struct {
		name             string
		old, newer, want MemberFacts
	}{
		{"an exact split is not given up for a printed one", exact, printed, exact},
		{"one that agrees is added", exact, with(MemberFacts{SHA256: sum("a")}, "4.00KiB", "1.00KiB"), with(exact, "4.00KiB", "1.00KiB")},
		{"an exact split replaces a printed one that contradicts it", printed, exact, exact},
		{"an exact split replaces an exact one", exact, other, other},
		{"printed replaces printed", printed, with(MemberFacts{SHA256: sum("a")}, "4.00KiB", "1.00KiB"), with(MemberFacts{SHA256: sum("a")}, "4.00KiB", "1.00KiB")},
	} {
		f := NewFacts()
		for _, m := range []MemberFacts{test.old, test.newer} {
			f.Merge(&Facts{Invocations: []InvocationFacts{{FactsKey: key16, Models: []MemberFacts{m}}}})
		}
		if diff := cmp.Diff(test.want, f.Invocations[0].Models[0]); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestParseFactsErrors(t *testing.T) {
	good := string(facts(t, &Facts{Schema: "tpuplan/facts/v1", Models: []ModelFacts{{SHA256: sum("a"), FactsKey: key16, Available: []string{"6.91MiB"}}}, Invocations: []InvocationFacts{
		{FactsKey: key16, Models: []MemberFacts{{SHA256: sum("a"), CachedBytes: ptr(int64(1)), StreamedBytes: ptr(int64(2))}}},
	}}))
	if _, err := ParseFacts([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ from, to, want string }{
		{"facts/v1", "facts/v2", "written by a newer tpuplan, in format v2; this one reads up to v1"},
		{"facts/v1", "lock/v1", `its schema is "tpuplan/lock/v1", want "tpuplan/facts/v1"`},
		{"facts/v1", "facts/v01x", `its schema is "tpuplan/facts/v01x", want "tpuplan/facts/v1"`},
		{sum("a"), sum("A"), "models[0]: sha256 is no hash of 64 hexadecimal digits"},
		{`"compiler": "16.0"`, `"compiler": "sixteen"`, "models[0]: compiler is no release, such as 16.0"},
		{`"min_runtime": 14`, `"min_runtime": 0`, "models[0]: min_runtime 0 is no runtime version"},
		{"6.91MiB", "6.91", `models[0]: available: "6.91" is not a size: no unit B, KiB or MiB (write it as the compiler prints it, "6.91MiB")`},
		{`"streamed_bytes": 2`, `"other": 2`, "invocations[0]: models[0] has one of cached_bytes and streamed_bytes"},
		{`"streamed_bytes": 2`, `"streamed_bytes": -2`, "-2 is no size"},
		{`"models": [`, `"models": [{"sha256": "` + sum("a") + `", "compiler": "16.0", "min_runtime": 14},`, "model aaaaaaaaaaaa has two entries for compiler 16.0"},
		{`"invocations": [`, `"invocations": [{"compiler": "16.0", "min_runtime": 14, "models": []},`, "invocations[0]: 0 models"},
	} {
		_, err := ParseFacts([]byte(strings.Replace(good, test.from, test.to, 1)))
		if err == nil || err.Error() != test.want {
			t.Errorf("%s for %s: got %v, want %s", test.to, test.from, err, test.want)
		}
	}
	_, err := ParseFacts([]byte(good[:100]))
	var at *FactsError
	if !errors.As(err, &at) || at.Offset != 100 {
		t.Errorf("cut: got %#v, want an error at 100", err)
	}
	// What is not known is left out, a release that is not known is kept.
	f, err := ParseFacts([]byte(strings.ReplaceAll(strings.Replace(good, `"models": [`, `"later": {"x": [1]}, "models": [`, 1), "16.0", "18.2")))
	if err != nil || f.Models[0].Compiler != "18.2" {
		t.Errorf("got %+v, %v", f, err)
	}
}

func FuzzParseFacts(f *testing.F) {
	f.Add([]byte(`{"schema": "tpuplan/facts/v1", "models": [{"sha256": "` + sum("a") + `", "compiler": "16.0", "min_runtime": 14, "available": ["3.75MiB", "3.16MiB"],
		"parameter_bytes": 1, "operators": [{"op": "ADD", "count": 1}], "ops": [{"index": 0, "op": "ADD", "bytes": 64, "cacheable": true}]}],
		"invocations": [{"compiler": "2.1", "min_runtime": 14, "all_regions": true, "models": [{"sha256": "` + sum("a") + `", "cached_bytes": 1, "streamed_bytes": 0, "on_chip": "256.00B", "streamed": "0.00B"}], "order_matters": false}]}`))
	f.Add([]byte(`{"schema": "tpuplan/facts/v2"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzztest.Bounded(t, len(data), func() { ParseFacts(data) }) //nolint:errcheck // only its memory counts
		x, err := ParseFacts(data)
		if err != nil {
			return
		}
		text := facts(t, x)
		again, err := ParseFacts(text)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, text)
		}
		if diff := cmp.Diff(string(text), string(facts(t, again))); diff != "" {
			t.Fatal(diff)
		}
		n := NewFacts()
		n.Merge(x)
		n.Merge(again)
	})
}

func BenchmarkParseFacts(b *testing.B) {
	f := NewFacts()
	for _, v := range Versions() {
		for c := range 16 {
			m := ModelFacts{SHA256: sum(string("0123456789abcdef"[c])), FactsKey: FactsKey{v.String(), 14, false}, Available: []string{"3.75MiB", "3.16MiB"}, ParameterBytes: ptr(int64(c))}
			for range 10 {
				m.Operators = append(m.Operators, OperatorFact{"CONV_2D", 7, StatusMapped})
			}
			f.add(m)
			f.Merge(&Facts{Invocations: []InvocationFacts{LearnSplits(Settings{Version: v}, []string{m.SHA256, sum("0")}, []Split{{}, {}})}})
		}
	}
	data := facts(b, f)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseFacts(data); err != nil {
			b.Fatal(err)
		}
	}
}

// small is a net with a convolution, a depthwise one and two small ones, and its packed parts in 16.0:
// 32 lanes x 4 x (9 x 2 + 1); 10 words of 4 x 24 channels; 16 x (6 + 1), to 64; 128 x 4 x (1 + 1)
func small() *tflite.Source {
	return tflitetest.New().Input(1, 16, 16, 8).Conv(24, 3, 3, 1, true).Depthwise(3, 3, 1, true).Conv(3, 1, 1, 1, true).
		AvgPool(16, 16, false).Reshape(1, 3).FC(100).Source()
}

// compiledOf makes a compiled file of cached and streamed parameters.
func compiledOf(t testing.TB, cached, streamed []byte) (*tflite.Compiled, *tflite.Source) {
	t.Helper()
	f, err := tflite.New("m_edgetpu.tflite", tflitetest.CompiledModel(tflitetest.SplitOf(1, cached, streamed)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.Compiled()
	if err != nil {
		t.Fatal(err)
	}
	body, err := f.Source()
	if err != nil {
		t.Fatal(err)
	}
	return c, body
}

func analyzed(src *tflite.Source) *Model {
	m := Analyze(src, Settings{Version: V16_0})
	m.Load.Content = sum("a")
	return m
}

// An op of another size than predicted is found in the compiled file, and the
// next prediction has it.
func TestLearnFromCompiled(t *testing.T) {
	src := small()
	pack := func(op, overhead int) []byte { return tflitetest.Pack(src, op, overhead) }
	conv, longer, point, dense := pack(0, 1), pack(1, 2), pack(2, 1), pack(5, 1)
	if len(conv) != 2432 || len(longer) != 1088 || len(point) != 128 || len(dense) != 1024 {
		t.Fatalf("packed sizes %d %d %d %d", len(conv), len(longer), len(point), len(dense))
	}
	m := analyzed(src)
	if m.Load.Bytes() != 2432+960+128+1024 {
		t.Fatalf("%d bytes predicted", m.Load.Bytes())
	}
	all := append(append(append(append([]byte{}, conv...), longer...), point...), dense...)
	c, body := compiledOf(t, all, nil)
	learnt, err := m.LearnFrom(src, c, body)
	if err != nil {
		t.Fatal(err)
	}
	want := ModelFacts{
		SHA256: sum("a"), FactsKey: key16, ParameterBytes: ptr(int64(4672)), InstructionBytes: ptr(int64(4096)), LoadInstructionBytes: ptr(int64(1024)),
		InputBytes: ptr(int64(8)), OutputBytes: ptr(int64(8)), Subgraphs: ptr(1), TPUOperations: ptr(6), CPUOperations: ptr(0),
		Operators: []OperatorFact{{"AVERAGE_POOL_2D", 1, StatusMapped}, {"CONV_2D", 2, StatusMapped}, {"DEPTHWISE_CONV_2D", 1, StatusMapped}, {"FULLY_CONNECTED", 1, StatusMapped}, {"RESHAPE", 1, StatusMapped}},
		Ops:       []OpFact{{1, "DEPTHWISE_CONV_2D", 1088, true}},
	}
	if diff := cmp.Diff(want, learnt); diff != "" {
		t.Error(diff)
	}
	f := NewFacts()
	f.add(learnt)
	again := analyzed(src)
	a := f.Apply(again)
	if a.Facts == nil || len(a.Remapped) > 0 || a.Reserve != again.Reserve {
		t.Errorf("applied: %+v", a)
	}
	if again.Load.Bytes() != 4672 || again.Ops[1].Bytes != 1088 || again.Ops[1].Rows != 5 || again.Load.Parts[1].Bytes != 1088 || again.Load.Parts[1].Rows != 5 || again.Certainty != report.Exact {
		t.Errorf("after learning: %d bytes, op %+v, part %+v, %s", again.Load.Bytes(), again.Ops[1], again.Load.Parts[1], again.Certainty)
	}
	// It fits, so all of it is cached, and the split of the file is predicted.
	p := f.Predict(V16_0, []Input{{Model: again, Reserve: a.Reserve}})
	if p.Measured || p.Models[0].Split.Cached != 4672 {
		t.Errorf("predicted %+v", p.Models[0].Split)
	}
	f.Merge(&Facts{Invocations: []InvocationFacts{LearnSplits(again.Settings, []string{sum("a")}, []Split{{Cached: 4672}})}})
	p = f.Predict(V16_0, []Input{{Model: again, Reserve: a.Reserve}})
	if !p.Measured || p.Models[0].Split.Cached != 4672 || p.Models[0].Certainty != report.Exact || len(p.Models[0].Split.InCache) != 4 {
		t.Errorf("predicted %+v", p.Models[0])
	}

	// facts of other contents, releases and flags say nothing
	for name, other := range map[string]*Model{
		"content": analyzed(src), "release": Analyze(src, Settings{Version: V15_0}), "runtime": Analyze(src, Settings{Version: V16_0, MinRuntime: 12}),
		"regions": Analyze(src, Settings{Version: V16_0, AllRegions: true}),
	} {
		if other.Load.Content = sum("a"); name == "content" {
			other.Load.Content = sum("b")
		}
		before := other.Load.Bytes()
		if a := f.Apply(other); a.Facts != nil || other.Load.Bytes() != before {
			t.Errorf("another %s: %+v", name, a)
		}
		if f.Known([]Input{{Model: other, Reserve: other.Reserve}}) != nil {
			t.Errorf("another %s: its call is known", name)
		}
	}
}

func TestLearnFromRefuses(t *testing.T) {
	src := small()
	m := analyzed(src)
	pack := func(op int) []byte { return tflitetest.Pack(src, op, 1) }
	whole := append(append(append(append([]byte{}, pack(0)...), pack(1)...), pack(2)...), pack(5)...)
	noise := make([]byte, len(whole))
	for i := range noise {
		noise[i] = byte(i * i)
	}
	head := append(append([]byte{}, whole[:2432+960+128]...), noise[:2048]...) // another head
	for _, test := range []struct {
		name     string
		data     []byte
		settings Settings
		want     string
	}{
		{"right", whole, Settings{Version: V16_0}, ""},
		{"another model of this size", noise, Settings{Version: V16_0}, "the weights in it are those of another model"},
		{"another head", head, Settings{Version: V16_0}, "it does not have the weights of op 5 FULLY_CONNECTED, and other bytes than predicted: it was made from another version of the model"},
		{"another release", whole, Settings{Version: V15_0}, "it was made by edgetpu_compiler 16.0, not by 15.0"},
		{"another runtime", whole, Settings{Version: V16_0, MinRuntime: 12}, "it was compiled for runtime version 14, not for 12 (-m)"},
	} {
		c, body := compiledOf(t, test.data, nil)
		m := *m
		m.Settings = test.settings
		_, err := m.LearnFrom(src, c, body)
		if got := errorText(err); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
	p := tflitetest.Split(1, 64, 0)
	f, err := tflite.New("two", tflitetest.CompiledModel(p, p))
	if err != nil {
		t.Fatal(err)
	}
	c, _ := f.Compiled()
	if _, err := m.LearnFrom(src, c, src); errorText(err) != "it has 2 parts for the Edge TPU, which needs -a" {
		t.Errorf("two packages: %v", err)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Bytes that no place explains go to the ops without a proven rule.
func TestApplyTotals(t *testing.T) {
	guess := func() *Model { // two ops that are heuristic, one that is not
		return analyzed(tflitetest.New().Input(1, 8, 8, 16).TransposeConv(16, 3, 3, 2).TransposeConv(32, 3, 3, 2).Conv(32, 3, 3, 1, true).Source())
	}
	fresh := guess()
	first, second, rest := fresh.Load.Parts[0].Bytes, fresh.Load.Parts[1].Bytes, fresh.Load.Parts[2].Bytes
	// 16 lanes x 4 x 9 x 4, as it has no bias; 32 lanes likewise; 32 x 4 x (9 x 8 + 1)
	if first != 2304 || second != 4608 || rest != 9344 {
		t.Fatalf("parts of %d, %d and %d bytes", first, second, rest)
	}
	for _, test := range []struct {
		name       string
		more       int64
		want       [3]int64
		streamed   int64
		certainty  report.Certainty
		certainty0 report.Certainty
	}{
		{"as predicted", 0, [3]int64{2304, 4608, 9344}, 0, report.Strong, report.Strong},
		{"more", 300, [3]int64{2404, 4808, 9344}, 0, report.Heuristic, report.Heuristic},
		{"less", -600, [3]int64{2104, 4208, 9344}, 0, report.Heuristic, report.Heuristic},
		{"less than these ops have", -8000, [3]int64{0, 0, 8256}, 0, report.Heuristic, report.Heuristic},
		{"nothing", -16256, [3]int64{0, 0, 0}, 0, report.Heuristic, report.Heuristic},
	} {
		m := guess()
		f := NewFacts()
		total := 16256 + test.more
		f.add(ModelFacts{SHA256: sum("a"), FactsKey: key16, ParameterBytes: &total})
		f.Apply(m)
		got := [3]int64{m.Load.Parts[0].Bytes, m.Load.Parts[1].Bytes, m.Load.Parts[2].Bytes}
		if got != test.want || m.Load.Streamed != test.streamed || m.Certainty != test.certainty || m.Load.Parts[0].Certainty != test.certainty0 || m.Load.Bytes() != total {
			t.Errorf("%s: parts %v, %d streamed, %s and %s; want %v, %d, %s and %s", test.name, got, m.Load.Streamed, m.Certainty, m.Load.Parts[0].Certainty, test.want, test.streamed, test.certainty, test.certainty0)
		}
		for i := range m.Ops {
			if m.Ops[i].Bytes != m.Load.Parts[i].Bytes || m.Ops[i].Rows != m.Load.Parts[i].Rows {
				t.Errorf("%s: op %+v and part %+v", test.name, m.Ops[i], m.Load.Parts[i])
			}
		}
	}
	// Without such an op they are streamed.
	m := analyzed(small())
	total := m.Load.Bytes() + 192
	f := NewFacts()
	f.add(ModelFacts{SHA256: sum("a"), FactsKey: key16, ParameterBytes: &total})
	f.Apply(m)
	if m.Load.Streamed != 192 || m.Load.Bytes() != total || m.Certainty != report.Heuristic {
		t.Errorf("%d of %d bytes streamed, %s", m.Load.Streamed, m.Load.Bytes(), m.Certainty)
	}
}

// Whatever facts say, the parameters add up to what was measured.
func TestApplyAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := analyzed(tflitetest.New().Input(1, 8, 8, 16).TransposeConv(16, 3, 3, 2).Conv(32, 3, 3, 1, true).AvgPool(16, 16, false).Reshape(1, 32).FC(10).Softmax().Source())
		total := rapid.Int64Range(0, 40_000).Draw(t, "total")
		facts := ModelFacts{SHA256: sum("a"), FactsKey: key16, ParameterBytes: &total}
		for i := range m.Ops {
			if rapid.Bool().Draw(t, "op") {
				facts.Ops = append(facts.Ops, OpFact{i, m.Ops[i].Name, rapid.Int64Range(0, 20_000).Draw(t, "bytes"), rapid.Bool().Draw(t, "cacheable")})
			}
		}
		f := NewFacts()
		f.add(facts)
		f.Apply(m)
		if m.Load.Bytes() != total {
			t.Fatalf("%d bytes, measured %d", m.Load.Bytes(), total)
		}
		for i, p := range m.Load.Parts {
			if p.Bytes < 0 || p.Rows < 0 || p.Groups > 0 && p.GroupRows*p.Groups != p.Rows || i > 0 && m.Load.Parts[i-1].Op > p.Op {
				t.Fatalf("parts %+v", m.Load.Parts)
			}
		}
		if s := Allocate(V16_0, 0, []*Load{&m.Load})[0]; s.Cached+s.Streamed != total || m.Load.Streamed < 0 {
			t.Fatalf("split %+v", s)
		}
	})
}

func parseReport(t *testing.T, text string) *report.Report {
	t.Helper()
	r, err := report.Parse("x.log", strings.NewReader(text))
	if err != nil || len(r) != 1 {
		t.Fatalf("%d reports, %v", len(r), err)
	}
	return &r[0]
}

// The reports of the article from which the project started, compiler 1.0:
// bird alone and then plant after bird.
const birdAlone = `Edge TPU Compiler version 1.0.249710469
INFO: Initialized TensorFlow Lite runtime.

Model compiled successfully in 557 ms.

Input model: mobilenet_v2_1.0_224_inat_bird_quant.tflite
Input size: 3.94MiB
Output model: mobilenet_v2_1.0_224_inat_bird_quant_edgetpu.tflite
Output size: 4.12MiB
On-chip memory available for caching model parameters: 6.91MiB
On-chip memory used for caching model parameters: 3.75MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 65
Operation log: mobilenet_v2_1.0_224_inat_bird_quant_edgetpu.log
See the operation log file for individual operation details.
`

func TestLearnLog(t *testing.T) {
	const two = `Edge TPU Compiler version 15.0.340273435
Models compiled successfully in 2988 ms.
Input model: cnn.tflite
Input size: 8.00MiB
Output model: cnn_edgetpu.tflite
On-chip memory used for caching model parameters: 7.16MiB
On-chip memory remaining for caching model parameters: 2.25KiB
Off-chip memory used for streaming uncached model parameters: 1.00KiB
Number of Edge TPU subgraphs: 1
Total number of operations: 1
Input model: rnn.tflite
Input size: 5.00MiB
Output model: rnn_edgetpu.tflite
On-chip memory used for caching model parameters: 0.00B
On-chip memory remaining for caching model parameters: 2.25KiB
Off-chip memory used for streaming uncached model parameters: 5.29MiB
Number of Edge TPU subgraphs: 1
Total number of operations: 1
Operation log: rnn_edgetpu.log
See the operation log file for individual operation details.
`
	bird, cnn, rnn := Candidate{File: "m/mobilenet_v2_1.0_224_inat_bird_quant.tflite", SHA256: sum("a")}, Candidate{File: "cnn.tflite", SHA256: sum("b")}, Candidate{File: "x/rnn.tflite", SHA256: sum("c")}
	s := Settings{Version: V16_0, MinRuntime: 12}
	key := func(v string) FactsKey { return FactsKey{v, 12, false} }
	one, none, ops := ptr(1), ptr(0), ptr(65)
	models := func(m ...ModelFacts) []ModelFacts { return m }
	for _, test := range []struct {
		name, text string
		models     []Candidate
		want       *Facts
		fails      string
	}{
		{"1.0: what is available", birdAlone, []Candidate{cnn, bird}, &Facts{
			Models:      models(ModelFacts{SHA256: sum("a"), FactsKey: key("1.0"), Available: []string{"6.91MiB"}, Subgraphs: one, TPUOperations: ops, CPUOperations: none}),
			Invocations: []InvocationFacts{{FactsKey: key("1.0"), Models: []MemberFacts{{SHA256: sum("a"), OnChip: "3.75MiB", Streamed: "0.00B"}}}},
		}, ""},
		{"from 2.1: what is used and what remains", two, []Candidate{cnn, rnn}, &Facts{
			Models: models(
				ModelFacts{SHA256: sum("b"), FactsKey: key("15.0"), Subgraphs: one, TPUOperations: one, CPUOperations: none},
				ModelFacts{SHA256: sum("c"), FactsKey: key("15.0"), Subgraphs: one, TPUOperations: one, CPUOperations: none}),
			Invocations: []InvocationFacts{{
				FactsKey: key("15.0"), Available: []string{"7.16MiB", "0.00B", "2.25KiB"},
				Models: []MemberFacts{{SHA256: sum("b"), OnChip: "7.16MiB", Streamed: "1.00KiB"}, {SHA256: sum("c"), OnChip: "0.00B", Streamed: "5.29MiB"}},
			}},
		}, ""},
		{"with a stranger", two, []Candidate{rnn}, &Facts{
			Models: models(ModelFacts{SHA256: sum("c"), FactsKey: key("15.0"), Subgraphs: one, TPUOperations: one, CPUOperations: none}),
		}, ""},
		{"only strangers", two, []Candidate{bird}, nil, "it holds none of these models"},
		{"another file of this name", birdAlone, []Candidate{{File: bird.File, SHA256: sum("a"), Bytes: 5_000_000}}, nil, "it is about a file of 3.94MiB, m/mobilenet_v2_1.0_224_inat_bird_quant.tflite has 5000000 bytes"},
		{"a release that nobody knows", strings.ReplaceAll(birdAlone, "1.0.249710469", "13.0.1"), []Candidate{bird}, nil, "edgetpu_compiler 13.0.1 is no release that is known"},
		{"nothing on the TPU", strings.Replace(birdAlone, "subgraphs: 1", "subgraphs: 0", 1), []Candidate{bird}, nil, "the compilation failed: Number of Edge TPU subgraphs: 0"},
		{"segments", "$ edgetpu_compiler -n 2 x.tflite\n" + birdAlone, []Candidate{bird}, nil, "-n makes the compiler cut the model"},
		{"failed", "Edge TPU Compiler version 16.0.384591198\nInvalid model: rnn.tflite\nModel not quantized\n", []Candidate{rnn}, nil, "the compilation failed: Model not quantized"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, _, err := LearnLog(parseReport(t, test.text), s, test.models)
			if errorText(err) != test.fails {
				t.Fatalf("error %v, want %s", err, test.fails)
			}
			if test.want == nil {
				return
			}
			if f.Schema = ""; test.want.Invocations == nil {
				test.want.Invocations = []InvocationFacts{}
			}
			if diff := cmp.Diff(test.want, f); diff != "" {
				t.Error(diff)
			}
		})
	}
	// The flags of the call count, where it is shown.
	r := parseReport(t, "$ edgetpu_compiler -a -m 13 x.tflite\n"+strings.ReplaceAll(birdAlone, "1.0.249710469", "16.0.384591198"))
	f, _, err := LearnLog(r, s, []Candidate{bird})
	if want := (FactsKey{"16.0", 13, true}); err != nil || f.Models[0].FactsKey != want {
		t.Errorf("got %+v, %v", f, err)
	}
}

func TestFlagSettings(t *testing.T) {
	for _, test := range []struct {
		flags string
		want  Settings
		fails string
	}{
		{"-s -t 300", Settings{}, ""},
		{"-a -m 12", Settings{AllRegions: true, MinRuntime: 12}, ""},
		{"-m13", Settings{MinRuntime: 13}, ""},
		{"--min_runtime_version=10 --enable_multiple_subgraphs", Settings{AllRegions: true, MinRuntime: 10}, ""},
		{"-n 4", Settings{}, "-n makes the compiler cut the model"},
		{"--search_delegate", Settings{}, "--search_delegate makes the compiler cut the model"},
		{"-m", Settings{}, "-m is followed by no runtime version"},
	} {
		got, err := FlagSettings(Settings{}, strings.Fields(test.flags))
		if errorText(err) != test.fails || err == nil && got != test.want {
			t.Errorf("%s: %+v, %v", test.flags, got, err)
		}
	}
}

// bird alone, compiler 1.0: 6.91MiB are 280 reserved rows.
func TestApplyAvailable(t *testing.T) {
	m := publicModel(t, "mobilenet_v2_1.0_224_inat_bird_quant", Settings{Version: V1_0})
	f, _, err := LearnLog(parseReport(t, birdAlone), m.Settings, []Candidate{{File: "mobilenet_v2_1.0_224_inat_bird_quant.tflite", SHA256: m.Load.Content}})
	if err != nil {
		t.Fatal(err)
	}
	a := f.Apply(m)
	if a.Reserve.Rows != 280 || a.Reserve.Source != FromMeasurement || a.Reserve.Low > 280 || a.Reserve.High < 280 || len(a.Remapped) > 0 {
		t.Errorf("%+v", a)
	}
}

// Every real compiled file of the public data set teaches what the next
// prediction says, byte by byte; also the one whose sizes no rule gives.
func TestLearnPublicFiles(t *testing.T) {
	dir := filepath.Join(testdata.Dir(t), "models")
	n := 0
	for folder, v := range map[string]Version{".": V16_0, "cocompiled-16.0": V16_0, "cocompiled-15.0": V15_0, "cocompiled-2.1": V2_1} {
		names, err := filepath.Glob(filepath.Join(dir, folder, "*_edgetpu.tflite"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			source, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(name), "_edgetpu.tflite"), "_cocompiled")
			if _, err := os.Stat(filepath.Join(dir, source+".tflite")); err != nil || source == "split_concat" { // by another build
				continue
			}
			n++
			file := openFile(t, name)
			c, err := file.Compiled()
			if err != nil {
				t.Fatal(err)
			}
			body, err := file.Source()
			if err != nil {
				t.Fatal(err)
			}
			s := Settings{Version: v, MinRuntime: c.Packages[0].MinRuntime, AllRegions: len(c.Packages) > 1}
			m := publicModel(t, source, s)
			src, err := openFile(t, filepath.Join(dir, source+".tflite")).Source()
			if err != nil {
				t.Fatal(err)
			}
			learnt, err := m.LearnFrom(src, c, body)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			f := NewFacts()
			f.add(learnt)
			f.Merge(&Facts{Invocations: []InvocationFacts{LearnSplits(s, []string{m.Load.Content}, []Split{{Cached: c.CachedBytes(), Streamed: c.StreamedBytes()}})}})
			if data := facts(t, f); len(data) > 0 {
				if f, err = ParseFacts(data); err != nil {
					t.Fatal(err)
				}
			}
			a := f.Apply(m)
			p := f.Predict(v, []Input{{Model: m, Reserve: a.Reserve}})
			if got := p.Models[0].Split; !p.Measured || got.Cached != c.CachedBytes() || got.Streamed != c.StreamedBytes() || len(a.Remapped) > 0 {
				t.Errorf("%s: predicted %d + %d, remapped %v; the file has %d + %d", name, got.Cached, got.Streamed, a.Remapped, c.CachedBytes(), c.StreamedBytes())
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d files", n)
	}
}

// Files of one model are not taken for those of another one of its family.
func TestLearnPublicStrangers(t *testing.T) {
	dir := filepath.Join(testdata.Dir(t), "models")
	for source, compiled := range map[string]string{
		"mobilenet_v1_0.25_128_quant": "mobilenet_v1_0.5_160_quant_edgetpu", "mobilenet_v1_0.5_160_quant": "mobilenet_v1_0.25_128_quant_edgetpu",
		"mobilenet_v2_1.0_224_quant": "mobilenet_v1_0.75_192_quant_edgetpu",
	} {
		file := openFile(t, filepath.Join(dir, compiled+".tflite"))
		c, err := file.Compiled()
		if err != nil {
			t.Fatal(err)
		}
		src, err := openFile(t, filepath.Join(dir, source+".tflite")).Source()
		if err != nil {
			t.Fatal(err)
		}
		m := publicModel(t, source, Settings{Version: V16_0, MinRuntime: c.Packages[0].MinRuntime})
		if _, err := m.LearnFrom(src, c, src); errorText(err) != "the weights in it are those of another model" {
			t.Errorf("%s as %s: %v", compiled, source, err)
		}
	}
}

// Which orders of a call its outcome holds for.
func TestKnownOrders(t *testing.T) {
	// Two convolutions of equal rows each, so that ties stand wherever the cut is.
	a := analyzed(tflitetest.New().Input(1, 14, 14, 256).Conv(256, 3, 3, 1, true).Conv(256, 3, 3, 1, true).Source())
	b := analyzed(tflitetest.New().Input(1, 14, 14, 256).Conv(256, 3, 3, 1, true).Source())
	b.Load.Content = sum("b")
	c := analyzed(tflitetest.New().Input(1, 14, 14, 256).Conv(255, 3, 3, 1, true).Source())
	c.Load.Content = sum("c")
	const part = 256 * 4 * (9*64 + 1) // bytes, 2308 rows
	if a.Load.Bytes() != 2*part || b.Load.Bytes() != part || c.Load.Bytes() != part {
		t.Fatalf("%d, %d and %d bytes", a.Load.Bytes(), b.Load.Bytes(), c.Load.Bytes())
	}
	cut := 2048 - 5000/16 // room for two of three
	inputs := func(reserve int, models ...*Model) (list []Input) {
		for _, m := range models {
			list = append(list, Input{Model: m, Reserve: Reserve{Rows: reserve, Low: reserve, High: reserve}})
		}
		return list
	}
	known := func(v Version, matters *bool, splits ...Split) *Facts {
		x := LearnSplits(Settings{Version: v}, []string{sum("a"), sum("b")}, splits)
		x.OrderMatters = matters
		return &Facts{Invocations: []InvocationFacts{x}}
	}
	yes, no := ptr(true), ptr(false)
	for _, test := range []struct {
		name    string
		v       Version
		reserve int
		matters *bool
		cached  [2]int64 // parts
		any     bool
	}{
		{"all fits", V16_0, 0, nil, [2]int64{2, 1}, true},
		{"all fits, but the order was seen to matter", V16_0, 0, yes, [2]int64{2, 1}, false},
		{"a tie at the cut", V16_0, cut, nil, [2]int64{2, 0}, false},
		{"a tie at the cut, and both orders tried", V16_0, cut, no, [2]int64{2, 0}, true},
		{"sequential", V15_0, 0, nil, [2]int64{2, 1}, false},
		{"sequential, both orders tried", V15_0, 0, no, [2]int64{2, 1}, false},
	} {
		for _, m := range []*Model{a, b} {
			m.Settings.Version = test.v
		}
		f := known(test.v, test.matters, Split{Cached: test.cached[0] * part, Streamed: (2 - test.cached[0]) * part}, Split{Cached: test.cached[1] * part, Streamed: (1 - test.cached[1]) * part})
		same, turned := f.Known(inputs(test.reserve, a, b)), f.Known(inputs(test.reserve, b, a))
		if same == nil || same.AnyOrder != test.any || same.Splits[0].Cached != test.cached[0]*part || same.Splits[1].Cached != test.cached[1]*part {
			t.Errorf("%s: %+v", test.name, same)
		}
		if (turned != nil) != test.any || turned != nil && (turned.Splits[0].Cached != test.cached[1]*part || !turned.AnyOrder) {
			t.Errorf("%s, the other way round: %+v", test.name, turned)
		}
		if f.Known(inputs(test.reserve, a)) != nil || f.Known(inputs(test.reserve, a, b, c)) != nil || f.Known(inputs(test.reserve, a, c)) != nil {
			t.Errorf("%s: other calls are known", test.name)
		}
	}
	for _, m := range []*Model{a, b} {
		m.Settings.Version = V16_0
	}
	// Of the exact order its own outcome counts.
	f := known(V16_0, nil, Split{Cached: 2 * part}, Split{Cached: part})
	f.Merge(&Facts{Invocations: []InvocationFacts{LearnSplits(Settings{Version: V16_0}, []string{sum("b"), sum("a")}, []Split{{Streamed: part}, {Cached: 2 * part}})}})
	if k := f.Known(inputs(0, b, a)); k == nil || k.Splits[0].Cached != 0 {
		t.Errorf("%+v", k)
	}
	// Bytes that do not add up to the model's are of something else.
	f = known(V16_0, nil, Split{Cached: 2*part + 64}, Split{Cached: part})
	if k := f.Known(inputs(0, a, b)); k != nil {
		t.Errorf("%+v", k)
	}
	// A split that no room explains is known all the same, but not which ops it is.
	f = known(V16_0, nil, Split{Cached: part + 64, Streamed: part - 64}, Split{Cached: part})
	if k := f.Known(inputs(0, a, b)); k == nil || k.Splits[0].InCache != nil || k.Splits[0].Rows != (part+64+255)/256 {
		t.Errorf("%+v", k)
	}
}

// The printed memory of a group bounds the reserves of its members.
func TestNarrow(t *testing.T) {
	model := func(content string) *Model {
		m := analyzed(small())
		m.Load.Content = content
		return m
	}
	reserve := func(rows, low, high int, source ReserveSource) Reserve {
		return Reserve{Rows: rows, Low: low, High: high, Source: source, Fits: true}
	}
	// 16 x 4096 bytes less than 8 MiB: exactly 16 rows of every tile
	available := []string{"8126464.00B", "196608.00B"}
	for _, test := range []struct {
		name         string
		a, b         Reserve
		wantA, wantB Reserve
	}{
		{
			"only one can have it", reserve(10, 8, 20, FromFormula), reserve(2, 0, 4, FromFormula),
			reserve(16, 16, 16, FromMeasurement), reserve(2, 0, 4, FromFormula),
		},
		{
			"either may have it", reserve(10, 8, 20, FromFormula), reserve(12, 10, 30, FromFormula),
			reserve(10, 8, 16, FromFormula), reserve(12, 10, 16, FromFormula),
		},
		{
			"one was measured", reserve(16, 16, 16, FromMeasurement), reserve(30, 20, 40, FromFormula),
			reserve(16, 16, 16, FromMeasurement), reserve(16, 16, 16, FromFormula),
		},
		{
			"more than any was thought to have", reserve(2, 0, 4, FromFormula), reserve(3, 1, 5, FromFormula),
			reserve(2, 0, 4, FromFormula), reserve(16, 16, 16, FromMeasurement),
		},
	} {
		inputs := []Input{{Model: model(sum("a")), Reserve: test.a}, {Model: model(sum("b")), Reserve: test.b}, {Model: model(sum("c")), Reserve: test.a}}
		x := LearnSplits(inputs[0].Model.Settings, []string{sum("a"), sum("b")}, []Split{{}, {}})
		x.Available = available
		(&Facts{Invocations: []InvocationFacts{x}}).Narrow(inputs)
		for i, want := range []Reserve{test.wantA, test.wantB, test.a} {
			if inputs[i].Reserve.Certainty = 0; inputs[i].Reserve != want {
				t.Errorf("%s: model %d: got %+v, want %+v", test.name, i, inputs[i].Reserve, want)
			}
		}
	}
}
