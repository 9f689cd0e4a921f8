package profile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/plans/schema/schematest"
	"github.com/tpuplan/tpuplan/profile"
)

func sample(model string, ms float64) *profile.Sample {
	return &profile.Sample{Schema: profile.SampleSchema, Run: "r", Model: model, Kind: profile.Steady, MS: ms, Source: profile.Simulated}
}

func collect(t *testing.T, text string) (list []profile.Sample, dropped bool, err error) {
	t.Helper()
	dropped, err = profile.ReadSamples("s.jsonl", iotest.HalfReader(strings.NewReader(text)), func(s *profile.Sample) error {
		list = append(list, *s)
		return nil
	})
	return list, dropped, err
}

func TestSamplesRoundTrip(t *testing.T) {
	bytesSent, warm, clock := int64(4096), 51.5, 250.0
	full := *sample("b", 2.5)
	full.Device, full.Call, full.Outputs, full.Kind = "/dev/apex_0", 7, strings.Repeat("0f", 32), profile.Load
	full.Bytes, full.TemperatureC, full.ClockMHz = &bytesSent, &warm, &clock
	want := []profile.Sample{*sample("a", 0), full}
	var b bytes.Buffer
	for i := range want {
		if err := profile.WriteSample(&b, &want[i]); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(b.String()) {
		if err := schematest.Validate("sample", []byte(line)); err != nil {
			t.Error(err)
		}
	}
	got, dropped, err := collect(t, b.String()+"\n")
	if err != nil || dropped {
		t.Fatalf("dropped %v, error %v", dropped, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// Wherever the writer is killed, what was a whole line is kept.
	text := b.String()
	first := strings.IndexByte(text, '\n') + 1
	for n := range len(text) {
		list, dropped, err := collect(t, text[:n])
		whole := strings.Count(text[:n], "\n")
		if n == first-1 || n == len(text)-1 { // only the line feed is missing
			whole++
		}
		if err != nil || len(list) != whole || dropped != (n > 0 && n != first && n != first-1 && n < len(text)-1) {
			t.Fatalf("the first %d bytes: %d samples, dropped %v, error %v", n, len(list), dropped, err)
		}
	}
}

func TestSamplesThatAreWrong(t *testing.T) {
	good := `{"schema":"tpuplan/sample/v1","run":"r","model":"m","kind":"steady","ms":1,"source":"measured"}` + "\n"
	for _, test := range []struct{ name, text, want string }{
		{"no JSON", good + "hello\n", "s.jsonl:2: not a line of samples: "},
		{"another type", good + `{"schema":"tpuplan/sample/v1","ms":"1"}` + "\n", "s.jsonl:2: json: cannot unmarshal string"},
		{"another schema", `{"schema":"x"}` + "\n", `s.jsonl:1: not a sample: its schema is "x", want "tpuplan/sample/v1"`},
		{"a newer format", `{"schema":"tpuplan/sample/v2"}` + "\n", `s.jsonl:1: a sample of format "tpuplan/sample/v2", this tpuplan reads "tpuplan/sample/v1"`},
		{"no model", strings.Replace(good, `"m"`, `""`, 1), "s.jsonl:1: a sample without a model"},
		{"kind", strings.Replace(good, "steady", "cold", 1), `unknown kind "cold"`},
		{"source", strings.Replace(good, "measured", "guessed", 1), `unknown source "guessed"`},
		{"time", strings.Replace(good, `"ms":1`, `"ms":-1`, 1), "a sample of -1 ms"},
		{"bytes", strings.Replace(good, `"ms":1`, `"ms":1,"bytes":-5`, 1), "a sample of -5 bytes"},
		{"hash", strings.Replace(good, `"ms":1`, `"ms":1,"sha256":"abc"`, 1), `s.jsonl:1: a sample of a file with the hash "abc", want 64 hexadecimal digits`},
		{"a line without end", strings.Repeat("x", 2<<20), "s.jsonl:1: a line too long for a sample"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, _, err := collect(t, test.text); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
	stop := errors.New("enough")
	if _, err := profile.ReadSamples("s", strings.NewReader(good), func(*profile.Sample) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error %v, want the visitor's", err)
	}
	if err := profile.WriteSample(&bytes.Buffer{}, sample("", 1)); err == nil {
		t.Error("a sample without a model is written")
	}
}

func TestRunCheck(t *testing.T) {
	const good = `{"schema":"tpuplan/run/v1","run":"r","models":[{"name":"a","file":"a_edgetpu.tflite"}],"steps":[{"model":0,"kind":"first"},{"model":0}],"repeats":3,"deadline_ms":1000}`
	if _, err := profile.ParseRun("run.json", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, old, now, want string }{
		{"no JSON", good, "{", "run.json: not a run: unexpected end"},
		{"schema", "run/v1", "sample/v1", `run.json: not a run: its schema is "tpuplan/sample/v1"`},
		{"newer", "run/v1", "run/v2", `a run of format "tpuplan/run/v2"`},
		{"no models", `{"name":"a","file":"a_edgetpu.tflite"}`, "", "a run of 0 models"},
		{"name", `"name":"a"`, `"name":""`, `model 1 is called ""`},
		{"file", "a_edgetpu", "../x/../a", `"../x/../a.tflite" is no path`},
		{"step", `"model":0}`, `"model":1}`, "call 2 is of model 2 of 1"},
		{"kind", `"first"`, `"create"`, `call 1 is to be a sample of kind "create"`},
		{"repeats", `"repeats":3`, `"repeats":0`, "0 repeats after 0"},
		{"too many", `"repeats":3`, `"repeats":1073741824`, "are impossible"},
		{"deadline", `"deadline_ms":1000`, `"deadline_ms":0`, "a deadline of 0 ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(good, test.old, test.now, 1)
			if _, err := profile.ParseRun("run.json", []byte(text)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestParseRuns(t *testing.T) {
	run := func(name string) string {
		return `{"schema":"tpuplan/run/v1","run":"` + name + `","models":[{"name":"a","file":"a.tflite"}],"steps":[{"model":0}],"repeats":1,"deadline_ms":1}` + "\n"
	}
	runs, err := profile.ParseRuns("run.json", []byte(run("x.1")+"\n "+run("x.2")))
	if err != nil || len(runs) != 2 || runs[0].Name != "x.1" || runs[1].Name != "x.2" {
		t.Fatal(runs, err)
	}
	for _, test := range []struct{ name, text, want string }{
		{"nothing", " \n", "run.json: not a run: it is empty"},
		{"no JSON", run("x.1") + "#", "run.json: not a run: invalid character '#'"},
		{"cut off", run("x.1") + run("x.2")[:80], "run.json: run 2 is cut off"},
		{"one that is wrong", run("x.1") + strings.Replace(run("x.2"), `"repeats":1`, `"repeats":0`, 1), "run.json: 0 repeats"},
		{"two of one name", run("x.1") + run("x.1"), `run.json: two runs are called "x.1"`},
		{"a sample", `{"schema":"tpuplan/sample/v1"}`, `run.json: not a run: its schema is "tpuplan/sample/v1"`},
	} {
		if _, err := profile.ParseRuns("run.json", []byte(test.text)); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		}
	}
}

// The first numbers of splitmix64 from 0 and 1234567 are published with the generator.
func TestInput(t *testing.T) {
	for _, test := range []struct {
		seed          uint64
		model, tensor int
		want          []uint64
	}{
		{0, 0, 0, []uint64{0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4}},
		{1234567, 0, 0, []uint64{6457827717110365317, 3203168211198807973}},
		{1234567 - 65536 - 2, 1, 2, []uint64{6457827717110365317}},
	} {
		got := make([]byte, 8*len(test.want))
		(&profile.Run{Seed: test.seed}).Input(test.model, test.tensor, got)
		for i, want := range test.want {
			if n := binary.LittleEndian.Uint64(got[8*i:]); n != want {
				t.Errorf("seed %d, number %d: %d, want %d", test.seed, i, n, want)
			}
		}
	}
}
