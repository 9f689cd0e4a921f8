//go:build edgetpu && (linux || darwin)

package remote_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/device"
	"github.com/tpuplan/tpuplan/profile/remote"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// stand is a folder of models beside a stand-in for a device.
type stand struct {
	dir, python, standin, runtime string
	env                           []string
	run                           *profile.Run
}

// newStand has models a, b and c; b and c were compiled together. Settings are
// those of the stand-in, or whole variables.
func newStand(t *testing.T, settings ...string) *stand {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		testdata.NeedTool(t, "python3", err)
	}
	s := &stand{dir: t.TempDir(), python: python, standin: os.Getenv("TPUPLAN_STANDIN")}
	if s.standin == "" {
		t.Fatal("TPUPLAN_STANDIN names the folder of the stand-in: run make edgetpu-test")
	}
	s.runtime = filepath.Join(s.standin, "..", "..", ".runtime", "lib", "libtensorflowlite_c.so")
	s.env = []string{
		"TPUPLAN_LIBEDGETPU=" + filepath.Join(s.standin, "libedgetpu.so.1"), "TPUPLAN_LIBTENSORFLOWLITE=" + s.runtime,
		"TPUPLAN_STANDIN_ABSENT_MS=1000000", "TPUPLAN_STANDIN_MB_PER_S=4000", "TPUPLAN_APEX=" + s.dir, "TPUPLAN_STANDIN_APEX=" + s.dir,
	}
	for _, v := range settings {
		if !strings.HasPrefix(v, "TPUPLAN_") {
			v = "TPUPLAN_STANDIN_" + v
		}
		s.env = append(s.env, v)
	}
	s.run = &profile.Run{
		Schema: profile.RunSchema, Name: "test", Repeats: 2, WarmUp: 1, DeadlineMS: 3000, Seed: 1<<64 - 3, Outputs: true,
		Steps: []profile.Step{{Model: 0, Kind: profile.First}, {Model: 1}, {Model: 2, Kind: profile.Steady}, {Model: 1, Kind: profile.Replay}},
	}
	for i, m := range []tflite.Package{tflitetest.Split(1, 1000, 64), tflitetest.Split(2, 2000, 0), tflitetest.Split(2, 3000, 640)} {
		s.add(t, string(rune('a'+i)), tflitetest.CompiledModel(m))
		s.run.Models[i].WarmBytes, s.run.Models[i].ColdBytes = m.WarmBytes(), m.ColdBytes()
	}
	return s
}

func (s *stand) add(t *testing.T, name string, data []byte) {
	t.Helper()
	file := name + "_edgetpu.tflite"
	if err := os.WriteFile(filepath.Join(s.dir, file), data, 0o644); err != nil {
		t.Fatal(err)
	}
	s.run.Models = append(s.run.Models, profile.RunModel{Name: name, File: file})
}

// measured is what a run gave, and what the device saw of it.
type measured struct {
	Samples []profile.Sample
	Log     []string
	err     error
}

var times = regexp.MustCompile(`"ms":[0-9.e+-]+`)

// measure does the run with a measurer made for some variables.
func (s *stand) measure(t *testing.T, make func(env []string) profile.Measurer) (m measured) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	m.err = make(slices.Concat(s.env, []string{"TPUPLAN_STANDIN_LOG=" + log})).Measure(t.Context(), s.run, func(x *profile.Sample) error {
		if !(x.MS > 0) && x.Kind != profile.Create {
			t.Errorf("%+v", x)
		}
		x.MS = 0
		m.Samples = append(m.Samples, *x)
		return nil
	})
	data, _ := os.ReadFile(log)
	for line := range strings.Lines(string(data)) {
		m.Log = append(m.Log, times.ReplaceAllString(line, ""))
	}
	return m
}

func (s *stand) withGo(env []string) profile.Measurer {
	return &device.Local{Dir: s.dir, Env: env, OpenDeadline: 20 * time.Second}
}

func (s *stand) withPython(env []string) profile.Measurer {
	return &remote.Python{Dir: s.dir, Env: env, OpenDeadline: 20 * time.Second}
}

// double lets Python find a package with an interpreter.
func (s *stand) double(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range append(names, "double.py") {
		from, err := filepath.Abs(filepath.Join("testdata", "double", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(from, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return "PYTHONDONTWRITEBYTECODE=1\x00PYTHONPATH=" + dir
}

// TestPythonMeasuresAsGoDoes: a run gives the same samples but for the times,
// the same outputs, and the same calls, loads and bytes on the device, whatever measures.
func TestPythonMeasuresAsGoDoes(t *testing.T) {
	for _, settings := range [][]string{nil, {"DEVICES=usb,pci,usb", "FAULT=corrupt@6,throttle@9"}} {
		s := newStand(t, settings...)
		if settings != nil {
			s.run.Device = "1"
		}
		want := s.measure(t, s.withGo)
		if want.err != nil || len(want.Samples) != 9 || len(want.Log) < 14 {
			t.Fatalf("%d samples, %d lines, error %v", len(want.Samples), len(want.Log), want.err)
		}
		for _, x := range want.Samples {
			m := slices.IndexFunc(s.run.Models, func(m profile.RunModel) bool { return m.Name == x.Model })
			if data, err := os.ReadFile(filepath.Join(s.dir, s.run.Models[m].File)); err != nil || x.SHA256 != fmt.Sprintf("%x", sha256.Sum256(data)) {
				t.Errorf("%+v is of another file, %v", x, err)
			}
			if x.Host != device.HostName() || x.Host == "" {
				t.Errorf("host %q", x.Host)
			}
		}
		for _, packages := range [][]string{nil, {"tflite_runtime"}, {"ai_edge_litert"}, {"pycoral", "tflite_runtime"}} {
			t.Run(fmt.Sprintf("%v %v", settings, packages), func(t *testing.T) {
				got := s.measure(t, func(env []string) profile.Measurer {
					if packages != nil {
						env = slices.Concat(env, strings.Split(s.double(t, packages...), "\x00"))
					}
					return s.withPython(env)
				})
				if got.err != nil {
					t.Fatalf("%v\n%s", got.err, failureOf(t, got.err).Output)
				}
				if diff := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "err" }, cmp.Ignore())); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// TestPythonRealFiles does the same with files of the real compiler.
func TestPythonRealFiles(t *testing.T) {
	s := newStand(t)
	s.dir = filepath.Join(testdata.Dir(t), "models")
	s.run.Models, s.run.Steps = nil, nil
	for i, file := range []string{
		"cocompiled-16.0/mobilenet_v1_0.25_128_quant_cocompiled_with_mobilenet_v1_0.5_160_quant_edgetpu.tflite",
		"cocompiled-16.0/mobilenet_v1_0.5_160_quant_cocompiled_with_mobilenet_v1_0.25_128_quant_edgetpu.tflite",
		"split_concat_edgetpu.tflite",
	} {
		f, err := tflite.Open(filepath.Join(s.dir, file))
		if err != nil {
			t.Fatal(err)
		}
		s.run.Models = append(s.run.Models, profile.RunModel{Name: file, File: file, SHA256: f.SHA256()})
		s.run.Steps = append(s.run.Steps, profile.Step{Model: i, Kind: profile.Load}, profile.Step{Model: i, Kind: profile.Steady})
	}
	want := s.measure(t, s.withGo)
	got := s.measure(t, s.withPython)
	if diff := cmp.Diff(want.Samples, got.Samples); diff != "" || want.err != nil || got.err != nil || len(got.Samples) != 15 {
		t.Error(want.err, got.err, diff)
	}
	if diff := cmp.Diff(want.Log, got.Log); diff != "" {
		t.Error(diff)
	}
}

// TestPythonFailsAsGoDoes: with the same code, and words that mean the same.
func TestPythonFailsAsGoDoes(t *testing.T) {
	standin := os.Getenv("TPUPLAN_STANDIN")
	for _, test := range []struct {
		name     string
		settings []string
		change   func(t *testing.T, s *stand)
		code     profile.Code
		words    string // parts of the text, for Python, if it is another one than Go's
	}{
		{name: "no library", settings: []string{"TPUPLAN_LIBEDGETPU=/nonexistent/libedgetpu.so.1"}, code: profile.NoLibrary},
		{name: "another interface", settings: []string{"TPUPLAN_LIBEDGETPU=" + filepath.Join(standin, "libedgetpu-lacking.so.1")}, code: profile.WrongABI},
		{name: "no libedgetpu", settings: []string{"TPUPLAN_LIBEDGETPU=" + filepath.Join(standin, "..", "..", ".runtime", "lib", "libtensorflowlite_c.so")}, code: profile.WrongABI},
		{name: "an old runtime", settings: []string{"RUNTIME=13"}, code: profile.NewerModel},
		{name: "no device", settings: []string{"FAULT=gone"}, code: profile.NoDevice},
		{name: "another device", change: func(_ *testing.T, s *stand) { s.run.Device = "/dev/apex_7" }, code: profile.NoDevice},
		{name: "a number too high", settings: []string{"DEVICES=usb,pci"}, change: func(_ *testing.T, s *stand) { s.run.Device = "2" }, code: profile.NoDevice},
		{name: "busy", settings: []string{"FAULT=busy"}, code: profile.DeviceBusy},
		{name: "self-test", settings: []string{"FAULT=error"}, code: profile.SelfTest},
		{name: "failed", settings: []string{"FAULT=error@8"}, code: profile.CallFailed},
		{name: "unplugged", settings: []string{"FAULT=unplug@8"}, code: profile.Aborted},
		{name: "silent in the self-test", settings: []string{"FAULT=hang"}, change: func(_ *testing.T, s *stand) { s.run.DeadlineMS = 2000 }, code: profile.Silent},
		{name: "silent in a call", settings: []string{"FAULT=hang@8"}, change: func(_ *testing.T, s *stand) { s.run.DeadlineMS = 2000 }, code: profile.Silent},
		{name: "no model", change: func(_ *testing.T, s *stand) { s.run.Models[1].File = "none.tflite" }, code: profile.BadModel, words: "none.tflite: No such file or directory"},
		{name: "another model", change: func(_ *testing.T, s *stand) { s.run.Models[1].SHA256 = strings.Repeat("0", 64) }, code: profile.BadModel},
		{name: "not compiled", change: func(t *testing.T, s *stand) {
			s.add(t, "d", tflitetest.New().Input(1, 8).FC(8).Bytes())
		}, code: profile.BadModel, words: "d_edgetpu.tflite: not a compiled model"},
		{name: "no model at all", change: func(t *testing.T, s *stand) { s.add(t, "d", []byte("hello, world")) }, code: profile.BadModel, words: "d_edgetpu.tflite: not a TFLite file"},
		{name: "half a model", change: func(t *testing.T, s *stand) {
			data := tflitetest.CompiledModel(tflitetest.Split(1, 1000, 64))
			s.add(t, "d", data[:len(data)/2])
		}, code: profile.BadModel, words: "d_edgetpu.tflite: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newStand(t, test.settings...)
			if test.change != nil {
				test.change(t, s)
			}
			want, got := s.measure(t, s.withGo), s.measure(t, s.withPython)
			f, g := failureOf(t, want.err), failureOf(t, got.err)
			if f.Code != test.code || g.Code != test.code || f.Model != g.Model || len(want.Samples) != len(got.Samples) {
				t.Errorf("Go gives %d samples and %s, Python %d and %s", len(want.Samples), f.Code, len(got.Samples), g.Code)
			}
			if test.words == "" && (f.Text != g.Text || f.Hint != g.Hint && test.name != "another model" || f.Library != g.Library) || !strings.Contains(g.Text, test.words) {
				t.Errorf("Go says\n%+v\nPython says\n%+v", f, g)
			}
		})
	}
}

// Damage in a file is a failure of the run, never one of the script.
func TestPythonReadsDamagedFiles(t *testing.T) {
	data := tflitetest.CompiledModel(tflitetest.Split(1, 64, 64))
	check := exec.Command("python3", "-c", `
import sys, measure
data = open(sys.argv[1], "rb").read()
assert measure.needed_runtime(data, "x") == 14
n = 0
for at in range(len(data)):
    for bad in (data[:at], data[:at] + b"\xff" + data[at + 1:], data[:at] + b"\x80" + data[at + 1:], data[:at] + b"\x00" + data[at + 1:]):
        try:
            measure.needed_runtime(bad, "x")
        except measure.Failure as failure:
            assert failure.code == "bad_model" and failure.text.startswith("x: "), failure.text
            n += 1
assert n > 1000, n
`, filepath.Join(t.TempDir(), "model"))
	check.Env = append(os.Environ(), "PYTHONPATH=.", "PYTHONDONTWRITEBYTECODE=1")
	if err := os.WriteFile(check.Args[3], data, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// script runs the script as people do on a board.
func (s *stand) script(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(s.python, append([]string{"measure.py"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = s.dir, strings.NewReader(stdin), &out, &errs
	cmd.Env = append(os.Environ(), s.env...)
	if err := os.WriteFile(filepath.Join(s.dir, "measure.py"), remote.Script, 0o644); err != nil {
		t.Fatal(err)
	}
	if exit := (*exec.ExitError)(nil); cmd.Run() != nil && !errors.As(cmd.Err, &exit) && cmd.ProcessState == nil {
		t.Fatal(cmd.Err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestScript: what people on a board get.
func TestScript(t *testing.T) {
	good := func(s *stand) string {
		data, err := json.Marshal(s.run)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, test := range []struct {
		name     string
		settings []string
		input    func(s *stand) string
		args     []string
		code     int
		samples  int
		says     []string
	}{
		{name: "a run", input: good, samples: 9, says: []string{"tpuplan: note: run 1 of 1: test\n"}},
		{name: "two runs", input: func(s *stand) string { return "\n" + good(s) + "\n" + good(s) }, samples: 18, says: []string{"run 2 of 2: test\n"}},
		{name: "a run of a file", input: func(s *stand) string {
			s.run.Models[0].File = "elsewhere/" + s.run.Models[0].File // it lies beside the run
			if err := os.WriteFile(filepath.Join(s.dir, "run.json"), []byte(good(s)), 0o644); err != nil {
				t.Fatal(err)
			}
			return ""
		}, args: []string{"run.json"}, samples: 9},
		{name: "no run", input: func(*stand) string { return "hello" }, code: 2, says: []string{"tpuplan: error: standard input: not a run: "}},
		{name: "nothing", input: func(*stand) string { return "" }, code: 2, says: []string{"standard input: not a run: it is empty\n"}},
		{name: "another object", input: func(*stand) string { return "{}" }, code: 2, says: []string{"tpuplan: error: the run: not a run: its schema is not tpuplan/run/v1\n"}},
		{name: "no deadline", input: func(s *stand) string { s.run.DeadlineMS = 0; return good(s) }, code: 2, says: []string{"the run: a deadline of 0 ms\n"}},
		{name: "no file", args: []string{"none.json"}, input: good, code: 2, says: []string{"tpuplan: error: none.json: not a run: "}},
		{name: "wrong usage", args: []string{"--backend", "none"}, input: good, code: 2, says: []string{"invalid choice: 'none'"}},
		{name: "another backend", args: []string{"--backend", "pycoral"}, input: good, code: 1, says: []string{"tpuplan: error: pycoral cannot be used: it is not installed\n"}},
		{name: "no runtime", settings: []string{"TPUPLAN_LIBTENSORFLOWLITE=/nonexistent/lite.so"}, input: good, code: 1, says: []string{"tpuplan: error: there is no TensorFlow Lite: ", "tpuplan: hint: install tflite_runtime or ai_edge_litert, "}},
		{name: "another library as runtime", settings: []string{"TPUPLAN_LIBTENSORFLOWLITE=libm.so.6"}, input: good, code: 1, says: []string{"libm.so.6 has no function TfLiteVersion"}},
		{name: "unplugged", settings: []string{"FAULT=unplug@8"}, input: good, code: 1, samples: 4, says: []string{"tpuplan: error: model \"c\": call 6: the measuring process was ended by signal 6\n", "tpuplan: hint: libedgetpu ends the process"}},
		{name: "silent", settings: []string{"FAULT=hang@8"}, input: func(s *stand) string { s.run.DeadlineMS = 1500; return good(s) }, code: 1, samples: 4, says: []string{"tpuplan: error: model \"c\": call 6 did not end within 1.5 s\n", "tpuplan: hint: the device is silent"}},
		{name: "failed", settings: []string{"FAULT=error@8"}, input: good, code: 1, samples: 4, says: []string{"tpuplan: error: model \"c\": call 6 ends with status 1\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newStand(t, test.settings...)
			stdout, stderr, code := s.script(t, test.input(s), test.args...)
			samples := 0
			dropped, err := profile.ReadSamples("stdout", strings.NewReader(stdout), func(x *profile.Sample) error {
				samples++
				if x.Source != profile.Simulated {
					t.Errorf("%+v", x)
				}
				return nil
			})
			if err != nil || dropped || samples != test.samples || code != test.code {
				t.Errorf("exit code %d, %d samples, dropped %v, error %v\n%s", code, samples, dropped, err, stderr)
			}
			for _, words := range test.says {
				if !strings.Contains(stderr, words) {
					t.Errorf("stderr is\n%s\nwant\n%s", stderr, words)
				}
			}
		})
	}
}

// A child that nobody watches any more ends by itself.
func TestScriptAlone(t *testing.T) {
	s := newStand(t, "FAULT=hang@3")
	s.run.DeadlineMS = 300
	data, err := json.Marshal(s.run)
	if err != nil {
		t.Fatal(err)
	}
	stdout, _, _ := s.script(t, string(data), "--events")
	if last := strings.LastIndex(stdout, `"action": "call"`); last < 0 || strings.Contains(stdout, `"done"`) {
		t.Errorf("it ends with\n%s", stdout)
	}
}

// Interrupted, the script ends its child and says so.
func TestScriptInterrupted(t *testing.T) {
	s := newStand(t, "FAULT=hang@3")
	data, err := json.Marshal(s.run)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "measure.py"), remote.Script, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(s.python, "measure.py")
	var errs bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stderr = s.dir, append(os.Environ(), s.env...), bytes.NewReader(data), &errs
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := 0
	if _, err := profile.ReadSamples("stdout", stdout, func(*profile.Sample) error {
		if lines++; lines == 3 {
			return cmd.Process.Signal(syscall.SIGINT)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	cmd.Wait() //nolint:errcheck // its exit code counts
	if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.HasSuffix(errs.String(), "tpuplan: error: interrupted\n") {
		t.Errorf("exit code %d\n%s", code, errs.String())
	}
}

// TestBoardMeasures: over a board's shell, the real script gives what it gives here.
func TestBoardMeasures(t *testing.T) {
	s := newStand(t)
	want := s.measure(t, s.withGo)
	l := newLab(t, []string{"python=" + s.python})
	l.Dir, l.run = s.dir, s.run
	got := s.measure(t, func(env []string) profile.Measurer {
		l.Env = env
		board, err := remote.Dial(t.Context(), l.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := board.Close(); err != nil {
				t.Error(err)
			}
			l.clean()
		})
		return board
	})
	for i := range want.Samples {
		want.Samples[i].Host = "pi@camera" // by which it was reached
	}
	if diff := cmp.Diff(want.Samples, got.Samples); diff != "" || got.err != nil {
		t.Error(got.err, diff)
	}
	if diff := cmp.Diff(want.Log, got.Log); diff != "" {
		t.Error(diff)
	}
}
