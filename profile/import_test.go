package profile_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/profile"
)

// What benchmark_model 2.x prints, as far as its public source says.
const benchmarkOutput = `STARTING!
Log parameter values verbosely: [0]
Graph: [/home/mendel/models/face_quant_edgetpu.tflite]
External delegate path: [libedgetpu.so.1]
Loaded model /home/mendel/models/face_quant_edgetpu.tflite
EXTERNAL delegate created.
The input model file size (MB): 4.26
Initialized session in 2561.9ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=31 first=24032 curr=15543 min=15421 max=24032 avg=16193.5 std=1477

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=65 first=15567 curr=15493 min=15389 max=15815 avg=15519.6 std=82

Inference timings in us: Init: 2561900, First inference: 24032, Warmup (avg): 16193.5, Inference (avg): 15519.6
Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual memory footprint of the model at runtime.
Memory footprint delta from the start of the tool (MB): init=12.1 overall=14.5
`

// short writes samples for comparison.
func short(s *profile.Sample) string {
	text := fmt.Sprintf("%s %s %s %d %g", s.Run, s.Model, s.Kind, s.Call, s.MS)
	if s.Calls > 0 {
		text += fmt.Sprintf(" of %d", s.Calls)
	}
	if s.StdMS != nil {
		text += fmt.Sprintf(" +- %g", *s.StdMS)
	}
	if s.Bytes != nil {
		text += fmt.Sprintf(" %d bytes", *s.Bytes)
	}
	if s.SHA256 != "" {
		text += " by " + s.SHA256[:4]
	}
	if s.Device != "" {
		text += " on " + s.Device
	}
	if s.Host != "" {
		text += " at " + s.Host
	}
	if s.Source != profile.Imported {
		text += " " + string(s.Source)
	}
	return text
}

func TestImport(t *testing.T) {
	const line = `{"schema":"tpuplan/sample/v1","run":"r","model":"a","kind":"steady","ms":1.5,"source":"SOURCE"}` + "\n"
	for _, test := range []struct {
		name, text string
		want       []string
		dropped    bool
	}{
		{name: "measured samples", text: "\n" + strings.Replace(line, "SOURCE", "measured", 1), want: []string{"r a steady 0 1.5"}},
		{name: "simulated samples", text: strings.Replace(line, "SOURCE", "simulated", 1), want: []string{"r a steady 0 1.5 simulated"}},
		{name: "a cut line", text: strings.Replace(line, "SOURCE", "imported", 1) + line[:50], want: []string{"r a steady 0 1.5"}, dropped: true},
		{name: "CSV", text: "face,create,3\nface,first,12.5\n# a comment\n\nface,steady,1e1\n\"left, hand\",load,7\n", want: []string{
			"times face create 0 3", "times face first 0 12.5", "times face steady 1 10", "times left, hand load 2 7",
		}},
		{name: "CSV with a header", text: "\xef\xbb\xbfMS, Kind ,model,bytes,device,source\r\n1,steady,face,4096,usb,\r\n2,steady,face,,,simulated", want: []string{
			"times face steady 0 1 4096 bytes on usb", "times face steady 1 2 simulated",
		}},
		{name: "CSV with hash and host", text: "model,kind,ms,sha256,host\na,steady,1," + strings.Repeat("ABCDEF01", 8) + ",camera\na,steady,2,,\n", want: []string{
			"times a steady 0 1 by abcd at camera", "times a steady 1 2",
		}},
		{name: "benchmark", text: benchmarkOutput, want: []string{
			"times/face_quant face_quant create 0 2561.9", "times/face_quant face_quant first 0 24.032", "times/face_quant face_quant steady 31 15.5196 of 65 +- 0.082",
		}},
		{name: "benchmark, CRLF, with other text in its lines", text: strings.ReplaceAll("I0000 00:00 "+strings.ReplaceAll(benchmarkOutput, "\n", "\nINFO: "), "\n", "\r\n"), want: []string{
			"times/face_quant face_quant create 0 2561.9", "times/face_quant face_quant first 0 24.032", "times/face_quant face_quant steady 31 15.5196 of 65 +- 0.082",
		}},
		{name: "two benchmarks, one cut, one without a name", text: benchmarkOutput[:strings.Index(benchmarkOutput, "\nInference")] + "\nSTARTING!\ncount=1 curr=900\ncount=50 curr=800(all same)\n", want: []string{
			"times/face_quant face_quant first 0 24.032", "times/face_quant face_quant steady 31 15.5196 of 65 +- 0.082", "times/times times first 0 0.9", "times/times times steady 1 0.8 of 50",
		}},
		{name: "benchmark, cut in the warm-up", text: benchmarkOutput[:strings.Index(benchmarkOutput, "\nRunning benchmark for at least 50")], want: []string{"times/face_quant face_quant first 0 24.032"}},
		{name: "an old benchmark", text: "STARTING!\nGraph: [face.tflite]\nAverage inference timings in us: Warmup: 16193.5, Init: 2900, Inference: 15519.6\n", want: []string{
			"times/face face create 0 2.9", "times/face face steady 1 15.5196",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			dropped, err := profile.Import("logs/times.csv", iotest.HalfReader(strings.NewReader(test.text)), func(s *profile.Sample) error {
				if err := profile.WriteSample(&bytes.Buffer{}, s); err != nil {
					t.Error(err)
				}
				got = append(got, short(s))
				return nil
			})
			if err != nil || dropped != test.dropped {
				t.Errorf("dropped %v, error %v", dropped, err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestImportErrors(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"nothing", " \n", "x.csv: it is empty"},
		{"prose", "hello\nworld\n", "x.csv:1:1: 1 fields, want 3: model,kind,ms"},
		{"kind", "a,steady,1\na,warm,2\n", `x.csv:2:3: kind is "warm", known are create, first, steady, load, squeezed and replay`},
		{"time", "a,steady,1\n a , steady ,\"1,5\"\n", `x.csv:2:14: ms is "1,5", which is no number`},
		{"a negative time", "a,steady,-1\n", "x.csv:1:1: a sample of -1 ms"},
		{"infinite", "a,steady,inf\n", `x.csv:1:10: ms is "inf", which is no number`},
		{"no model", ",steady,1\n", "x.csv:1:1: a sample without a model"},
		{"too many fields", "a,steady,1,2\n", "x.csv:1:1: 4 fields, want 3: model,kind,ms"},
		{"quotes", "a,steady,1\na,\"steady,1\n", `x.csv:2:13: extraneous or missing " in quoted-field`},
		{"an unknown column", "model,kind,ms,colour\n", `x.csv:1:15: a column "colour", known are model, kind, ms, run, `},
		{"a column too few", "model,kind,us\n", `x.csv:1:12: a column "us"`},
		{"a column missing", "model,kind\n", `x.csv:1:1: no column "ms"`},
		{"a column twice", "model,kind,ms,ms\n", `x.csv:1:15: a second column "ms"`},
		{"hash", "model,kind,ms,sha256\na,load,1,abc\n", `x.csv:2:10: sha256 is "abc", which is no hash of 64 hexadecimal digits`},
		{"bytes", "model,kind,ms,bytes\na,load,1,1.5\n", `x.csv:2:10: bytes is "1.5", which is no whole number`},
		{"source", "model,kind,ms,source\na,load,1,guessed\n", `x.csv:2:1: a sample of unknown source "guessed"`},
		{"samples", "{}\n", "x.csv:1: not a sample"},
		{"a benchmark without times", "STARTING!\nGraph: [x]\n", "x.csv:1: output of benchmark_model without any times"},
		{"a benchmark with no times", "\nSTARTING!\ncount=0\nInference timings in us: \n", "x.csv:1: output of benchmark_model without any times"},
		{"a benchmark that is damaged", "STARTING!\ncount=3 first=fast\n", `x.csv:2: first is "fast", which is no time`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := profile.Import("x.csv", strings.NewReader(test.text), func(*profile.Sample) error { return nil })
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

// Whatever is read is a sample or an error with the name.
func FuzzImport(f *testing.F) {
	f.Add(benchmarkOutput)
	f.Add("model,kind,ms\na,steady,1\n")
	f.Add(`{"schema":"tpuplan/sample/v1","run":"r","model":"a","kind":"steady","ms":1.5,"source":"measured"}`)
	f.Fuzz(func(t *testing.T, text string) {
		_, err := profile.Import("in", strings.NewReader(text), func(s *profile.Sample) error {
			if s.Source == profile.Measured {
				t.Error("something imported is measured")
			}
			return profile.WriteSample(&bytes.Buffer{}, s)
		})
		if err != nil && !strings.HasPrefix(err.Error(), "in:") {
			t.Errorf("error %v", err)
		}
	})
}
