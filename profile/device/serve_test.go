//go:build edgetpu && (linux || darwin)

package device_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/device"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// rig is a folder of models, and a child that measures them over the stand-in.
type rig struct {
	device.Local
	run *profile.Run
	log string
}

// newRig has models a, b and c; b and c were compiled together. Settings are
// NAME=VALUE of the stand-in, or whole variables.
func newRig(t *testing.T, settings ...string) *rig {
	t.Helper()
	standin := os.Getenv("TPUPLAN_STANDIN")
	if standin == "" {
		t.Fatal("TPUPLAN_STANDIN names the folder of the stand-in: run make edgetpu-test")
	}
	r := &rig{log: filepath.Join(t.TempDir(), "log")}
	r.Dir, r.OpenDeadline = t.TempDir(), 20*time.Second
	r.Env = []string{
		"TPUPLAN_LIBEDGETPU=" + filepath.Join(standin, "libedgetpu.so.1"), "TPUPLAN_STANDIN_LOG=" + r.log, "TPUPLAN_STANDIN_ABSENT_MS=1000000",
		"TPUPLAN_STANDIN_MB_PER_S=4000", "TPUPLAN_APEX=" + r.Dir,
	}
	for _, s := range settings {
		if !strings.HasPrefix(s, "TPUPLAN_") {
			s = "TPUPLAN_STANDIN_" + s
		}
		r.Env = append(r.Env, s)
	}
	r.run = &profile.Run{
		Schema: profile.RunSchema, Name: "test", Repeats: 2, WarmUp: 1, DeadlineMS: 3000, Seed: 7,
		Steps: []profile.Step{{Model: 0, Kind: profile.First}, {Model: 1}, {Model: 2, Kind: profile.Steady}},
	}
	for i, m := range []tflite.Package{tflitetest.Split(1, 1000, 64), tflitetest.Split(2, 2000, 0), tflitetest.Split(2, 3000, 640)} {
		name := string(rune('a' + i))
		data := tflitetest.CompiledModel(m)
		if err := os.WriteFile(filepath.Join(r.Dir, name+"_edgetpu.tflite"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		r.run.Models = append(r.run.Models, profile.RunModel{Name: name, File: name + "_edgetpu.tflite", WarmBytes: m.WarmBytes(), ColdBytes: m.ColdBytes()})
	}
	return r
}

func (r *rig) measure(t *testing.T) (samples []profile.Sample, err error) {
	t.Helper()
	err = r.Measure(t.Context(), r.run, func(s *profile.Sample) error { samples = append(samples, *s); return nil })
	return samples, err
}

// call is a line of the stand-in's log about a call.
type call struct {
	Event, Device, Token string
	LoadedBytes          int64 `json:"loaded_bytes"`
	Bytes                int64
	MS                   float64
}

func (r *rig) calls(t *testing.T) (list []call) {
	t.Helper()
	data, err := os.ReadFile(r.log)
	if err != nil {
		t.Fatal(err)
	}
	for text := range bytes.Lines(data) {
		var c call
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
		if c.Event == "call" {
			list = append(list, c)
		}
	}
	return list
}

func TestServe(t *testing.T) {
	r := newRig(t)
	samples, err := r.measure(t)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range samples {
		if s.Run != "test" || s.Source != profile.Simulated || s.Device != "/simulated/usb_0" || s.TemperatureC != nil || s.Outputs != "" || s.MS <= 0 {
			t.Errorf("%+v", s)
		}
		bytes := int64(0)
		if s.Bytes != nil {
			bytes = *s.Bytes
		}
		got = append(got, fmt.Sprintf("%s %s call %d, %d bytes", s.Model, s.Kind, s.Call, bytes))
	}
	const run = 4096 + 8 + 8 // bytes of every call
	want := []string{
		"a create call 0, 0 bytes", "b create call 0, 0 bytes", "c create call 0, 0 bytes",
		fmt.Sprintf("a first call 3, %d bytes", 1000+1024+run+64),
		fmt.Sprintf("c steady call 5, %d bytes", run+640),
		fmt.Sprintf("a first call 6, %d bytes", 1000+1024+run+64),
		fmt.Sprintf("c steady call 8, %d bytes", run+640),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// The self-test, then three times the steps. All load each time: a and the
	// other two displace each other, and the self-test was of another interpreter.
	calls := r.calls(t)
	if len(calls) != 10 {
		t.Fatalf("%d calls", len(calls))
	}
	for i, c := range calls {
		want := []int64{2024, 3024, 4024}[max(0, i-1)%3]
		if c.LoadedBytes != want {
			t.Errorf("call %d loads %d bytes, want %d", i, c.LoadedBytes, want)
		}
	}
	for _, s := range samples[3:] { // a sample is no shorter than what the device took
		if c := calls[1+s.Call]; s.MS < c.MS {
			t.Errorf("%+v: the device took %v ms", s, c.MS)
		}
	}
}

// Calls of mates follow each other without loads.
func TestServeSteady(t *testing.T) {
	r := newRig(t, "DEVICES=usb,pci,usb", "TPUPLAN_STANDIN_APEX=")
	r.Env = append(r.Env, "TPUPLAN_STANDIN_APEX="+r.Dir)
	r.run.Device, r.run.Outputs, r.run.WarmUp = "/simulated/apex_0", true, 0
	r.run.Steps = []profile.Step{{Model: 1, Kind: profile.Replay}, {Model: 2, Kind: profile.Replay}}
	samples, err := r.measure(t)
	if err != nil {
		t.Fatal(err)
	}
	outputs := map[string]string{}
	for _, s := range samples[3:] {
		if s.Device != "/simulated/apex_0" || s.TemperatureC == nil || *s.TemperatureC != 45 || len(s.Outputs) != 64 || s.Bytes != nil {
			t.Errorf("%+v", s)
		}
		if o := outputs[s.Model]; o != "" && o != s.Outputs {
			t.Errorf("model %s: other outputs than before", s.Model)
		}
		outputs[s.Model] = s.Outputs
	}
	if outputs["b"] == outputs["c"] {
		t.Error("different models give the same outputs")
	}
	var loaded []int64
	for _, c := range r.calls(t) {
		loaded = append(loaded, c.LoadedBytes)
	}
	if diff := cmp.Diff([]int64{2024, 3024, 4024, 0, 0}, loaded); diff != "" { // the self-test is of a
		t.Error(diff)
	}
	r.run.Device = "2"
	if samples, err = r.measure(t); err != nil || samples[0].Device != "/simulated/usb_1" {
		t.Errorf("device %+v, error %v", samples, err)
	}
}

func TestServeHotDevice(t *testing.T) {
	r := newRig(t, "DEVICES=pci", "FAULT=throttle@5=1.5")
	r.Env = append(r.Env, "TPUPLAN_STANDIN_APEX="+r.Dir)
	r.run.WarmUp = 0
	samples, err := r.measure(t)
	if err != nil {
		t.Fatal(err)
	}
	var got []float64
	for _, s := range samples[3:] {
		got = append(got, *s.TemperatureC)
	}
	// Calls 2, 4, 5 and 7 of the device, the self-test being the first.
	if diff := cmp.Diff([]float64{45, 45, 95, 95}, got); diff != "" {
		t.Error(diff)
	}
}

func TestServeCorruptOutputs(t *testing.T) {
	r := newRig(t, "FAULT=corrupt@6")
	r.run.Outputs, r.run.WarmUp = true, 0
	samples, err := r.measure(t)
	if err != nil {
		t.Fatal(err)
	}
	var a []string
	for _, s := range samples {
		if s.Kind == profile.Steady { // calls 4 and 7
			a = append(a, s.Outputs)
		}
	}
	if len(a) != 2 || a[0] == a[1] {
		t.Errorf("outputs %q", a)
	}
}

// TestServeFailures: every way to fail has its code and its words, within the
// deadline, and the samples that were printed before are there.
func TestServeFailures(t *testing.T) {
	standin := os.Getenv("TPUPLAN_STANDIN")
	const unknown = "/nonexistent/libedgetpu.so.1"
	for _, test := range []struct {
		name     string
		settings []string
		change   func(t *testing.T, r *rig)
		code     profile.Code
		text     string // part of
		hint     string // part of
		output   string // part of
		samples  int
	}{
		{
			name: "no library", settings: []string{"TPUPLAN_LIBEDGETPU=" + unknown}, code: profile.NoLibrary,
			text: "libedgetpu cannot be loaded: " + unknown, hint: "TPUPLAN_LIBEDGETPU",
		},
		{
			name: "another interface", settings: []string{"TPUPLAN_LIBEDGETPU=" + filepath.Join(standin, "libedgetpu-lacking.so.1")}, code: profile.WrongABI,
			text: "(tpuplan-simulated 1, RuntimeVersion(14)) has no function edgetpu_create_delegate, which TensorFlow Lite 2.9.0 needs", hint: "install",
		},
		{
			name: "no libedgetpu", settings: []string{"TPUPLAN_LIBEDGETPU=" + filepath.Join(standin, "..", "..", ".runtime", "lib", "libtensorflowlite_c.so")}, code: profile.WrongABI,
			text: "(version unknown) has no function edgetpu_version", hint: "install",
		},
		{
			name: "an old runtime", settings: []string{"RUNTIME=13"}, code: profile.NewerModel,
			text: `model "a": a_edgetpu.tflite needs runtime version 14, `, hint: "-m 13",
		},
		{name: "no device", settings: []string{"FAULT=gone"}, code: profile.NoDevice, text: "there is no Edge TPU", hint: "lsusb"},
		{
			name: "another device", settings: []string{"DEVICES=usb,pci"}, change: func(_ *testing.T, r *rig) { r.run.Device = "/dev/apex_7" }, code: profile.NoDevice,
			text: `there is no Edge TPU "/dev/apex_7"`, hint: "there are /simulated/usb_0 (USB), /simulated/apex_0 (PCIe)",
		},
		{
			name: "a number too high", change: func(_ *testing.T, r *rig) { r.run.Device = "1" }, code: profile.NoDevice,
			text: `there is no Edge TPU "1"`, hint: "there are /simulated/usb_0 (USB)",
		},
		{
			name: "busy", settings: []string{"FAULT=busy"}, code: profile.DeviceBusy,
			text: "/simulated/usb_0 (USB) cannot be opened", hint: "another process", output: "cannot open /simulated/usb_0",
		},
		{
			name: "silent when opened", settings: []string{"FAULT=hang-open"}, change: func(_ *testing.T, r *rig) { r.OpenDeadline = 3 * time.Second }, code: profile.Silent,
			text: "opening the device did not end within 3s", hint: "unplug",
		},
		{name: "self-test", settings: []string{"FAULT=error"}, code: profile.SelfTest, text: "fails its self-test", hint: "unplug", output: "the call failed", samples: 3},
		{name: "silent in the self-test", settings: []string{"FAULT=hang"}, code: profile.Silent, text: `model "a": the self-test did not end within 3s`, samples: 3},
		{name: "silent in a call", settings: []string{"FAULT=hang@7"}, code: profile.Silent, text: `model "c": call 5 did not end within 3s`, samples: 4},
		{name: "failed", settings: []string{"FAULT=error@7"}, code: profile.CallFailed, text: `model "c": call 5 ends with status 1`, output: "the call failed", samples: 4},
		{
			name: "unplugged", settings: []string{"FAULT=unplug@7"}, code: profile.Aborted,
			text: `model "c": call 5: the measuring process was ended by signal: aborted`, hint: "cable", output: "USB transfer failed: /simulated/usb_0 is gone", samples: 4,
		},
		{
			name: "no model", change: func(t *testing.T, r *rig) { r.run.Models[1].File = "none.tflite" }, code: profile.BadModel,
			text: `model "b": none.tflite: `,
		},
		{
			name: "another model", change: func(_ *testing.T, r *rig) { r.run.Models[1].SHA256 = strings.Repeat("0", 64) }, code: profile.BadModel,
			text: `model "b": b_edgetpu.tflite is not the file that the run was made for`,
		},
		{
			name: "not compiled", change: func(t *testing.T, r *rig) {
				if err := os.WriteFile(filepath.Join(r.Dir, "b_edgetpu.tflite"), tflitetest.New().Input(1, 8).FC(8).Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}, code: profile.BadModel, text: "not a compiled model", hint: "compile it",
		},
		{name: "no run", change: func(_ *testing.T, r *rig) {
			r.run.Repeats = 1 << 29
			r.Command = []string{os.Args[0], device.ChildCommand}
		}, code: "", text: "are impossible"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, test.settings...)
			if test.change != nil {
				test.change(t, r)
			}
			samples, err := r.measure(t)
			f := (*profile.Failure)(nil)
			if errors.As(err, &f); err == nil || f == nil && test.code != "" {
				t.Fatalf("error %v", err)
			}
			if !strings.Contains(err.Error(), test.text) || len(samples) != test.samples {
				t.Errorf("%d samples, want %d, and\n%v\nwant\n%s", len(samples), test.samples, err, test.text)
			}
			if f != nil && (f.Code != test.code || !strings.Contains(f.Hint, test.hint) || !strings.Contains(f.Output, test.output)) {
				t.Errorf("%+v", f)
			}
		})
	}
}

// TestServeRealFiles measures real compiled models.
func TestServeRealFiles(t *testing.T) {
	dir := filepath.Join(testdata.Dir(t), "models")
	r := newRig(t)
	r.Dir = dir
	r.run.Models, r.run.Steps = nil, nil
	for i, file := range []string{
		"cocompiled-16.0/mobilenet_v1_0.25_128_quant_cocompiled_with_mobilenet_v1_0.5_160_quant_edgetpu.tflite",
		"cocompiled-16.0/mobilenet_v1_0.5_160_quant_cocompiled_with_mobilenet_v1_0.25_128_quant_edgetpu.tflite",
		"split_concat_edgetpu.tflite",
	} {
		f, err := tflite.Open(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		c, err := f.Compiled()
		if err != nil {
			t.Fatal(err)
		}
		r.run.Models = append(r.run.Models, profile.RunModel{Name: file, File: file, SHA256: f.SHA256(), WarmBytes: c.WarmBytes(), ColdBytes: c.ColdBytes()})
		r.run.Steps = append(r.run.Steps, profile.Step{Model: i, Kind: profile.Load}, profile.Step{Model: i, Kind: profile.Steady})
	}
	samples, err := r.measure(t)
	if err != nil {
		t.Fatal(err)
	}
	calls := r.calls(t)
	for _, s := range samples[3:] {
		if c := calls[1+s.Call]; s.Bytes == nil || *s.Bytes != c.Bytes {
			t.Errorf("%s, %s: the device moved %d bytes, the file says %v", s.Model, s.Kind, c.Bytes, *s.Bytes)
		}
	}
}
