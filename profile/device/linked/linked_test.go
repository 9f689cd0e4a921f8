//go:build edgetpu

// Package linked tests the stand-in for libedgetpu with the software that a
// program for an Edge TPU is made of, none of it ours: go-tflite with its own
// Edge TPU delegate, linked to the library, and Python's ctypes.
package linked

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gotflite "github.com/mattn/go-tflite"
	"github.com/mattn/go-tflite/delegates"
	"github.com/mattn/go-tflite/delegates/edgetpu"

	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// bench is a device with interpreters on it.
type bench struct {
	*testing.T
	log      string
	delegate delegates.Delegater
}

// start sets the stand-in up and opens a device.
func start(t *testing.T, device int, settings map[string]string) *bench {
	b := configure(t, settings)
	list, err := edgetpu.DeviceList()
	if err != nil || device >= len(list) {
		t.Fatalf("devices %v, error %v", list, err)
	}
	b.open(list[device])
	return b
}

func configure(t *testing.T, settings map[string]string) *bench {
	b := &bench{T: t, log: filepath.Join(t.TempDir(), "log")}
	t.Setenv("TPUPLAN_STANDIN_LOG", b.log)
	t.Setenv("TPUPLAN_STANDIN_MB_PER_S", "4000")
	t.Setenv("TPUPLAN_STANDIN_OVERHEAD_MS", "0")
	for name, value := range settings {
		t.Setenv("TPUPLAN_STANDIN_"+name, value)
	}
	return b
}

func (b *bench) open(d edgetpu.Device) {
	if b.delegate = edgetpu.New(d); b.delegate == nil {
		b.Fatalf("%v cannot be opened", d)
	}
	b.Cleanup(b.delegate.Delete)
}

// interpreter makes one, with zeros for inputs.
func (b *bench) interpreter(file string) *gotflite.Interpreter {
	b.Helper()
	model := gotflite.NewModelFromFile(file)
	if model == nil {
		b.Fatalf("%s is no model", file)
	}
	options := gotflite.NewInterpreterOptions()
	options.AddDelegate(b.delegate)
	i := gotflite.NewInterpreter(model, options)
	options.Delete()
	if i == nil || i.AllocateTensors() != gotflite.OK {
		b.Fatalf("%s: no interpreter", file)
	}
	for n := range i.GetInputTensorCount() {
		in := i.GetInputTensor(n)
		zeros := make([]byte, in.ByteSize())
		in.CopyFromBuffer(&zeros[0])
	}
	return i
}

// keep makes an interpreter that lives until the end of the test.
func (b *bench) keep(file string) *gotflite.Interpreter {
	i := b.interpreter(file)
	b.Cleanup(i.Delete)
	return i
}

func (b *bench) call(i *gotflite.Interpreter) string {
	b.Helper()
	if status := i.Invoke(); status != gotflite.OK {
		b.Fatalf("status %v", status)
	}
	out := i.GetOutputTensor(0)
	text := make([]byte, out.ByteSize())
	out.CopyToBuffer(&text[0])
	return fmt.Sprintf("%x", text)
}

// logged is a call as the stand-in saw it.
type logged struct {
	Event       string
	Call        int
	Device      string
	Token       string
	LoadedBytes int64 `json:"loaded_bytes"`
	Bytes       int64
	MS          float64
}

func (b *bench) calls() (list []logged) {
	b.Helper()
	data, err := os.ReadFile(b.log)
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var l logged
		if err := json.Unmarshal(line, &l); err != nil {
			b.Fatalf("%s: %v", line, err)
		}
		if l.Event == "call" {
			list = append(list, l)
		}
	}
	return list
}

// write makes a file of packages.
func write(t *testing.T, name string, packages ...tflite.Package) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+"_edgetpu.tflite")
	if err := os.WriteFile(path, tflitetest.CompiledModel(packages...), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestListing(t *testing.T) {
	configure(t, map[string]string{"DEVICES": "usb,pci,usb", "FAULT": "gone:2", "RUNTIME": "13"})
	list, err := edgetpu.DeviceList()
	want := []edgetpu.Device{{Type: edgetpu.TypeApexUSB, Path: "/simulated/usb_0"}, {Type: edgetpu.TypeApexPCI, Path: "/simulated/apex_0"}}
	if diff := cmp.Diff(want, list); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if v, err := edgetpu.Version(); err != nil || v != "tpuplan-simulated 1, RuntimeVersion(13)" {
		t.Errorf("version %q, error %v", v, err)
	}
}

// TestStateMachine calls models in an order for which the loads were worked
// out by hand from the driver's rules.
func TestStateMachine(t *testing.T) {
	alone := write(t, "alone", tflitetest.Split(1, 1000, 64)) // token 1
	x := write(t, "x", tflitetest.Split(2, 2000, 0))          // token 2, with the next two
	y := write(t, "y", tflitetest.Split(2, 3000, 640))
	bare := write(t, "bare", tflitetest.Split(2, 0, 128))                            // nothing of it is cached
	stranger := write(t, "stranger", tflitetest.Split(0, 0, 64))                     // belongs to nobody
	two := write(t, "two", tflitetest.Split(3, 500, 0), tflitetest.Split(3, 600, 0)) // two operators

	files := []string{alone, x, y, bare, stranger, two, x}
	const (
		cAlone, cX, cY, cTwoA, cTwoB = 1000 + 1024, 2000 + 1024, 3000 + 1024, 500 + 1024, 600 + 1024
		// What a run sends: 4096 bytes of instructions, 8 in and 8 out, and what is streamed.
		run = 4096 + 8 + 8
	)
	order := []struct {
		model  int
		loaded []int64 // of each operator
		bytes  []int64
	}{
		{0, []int64{cAlone}, []int64{cAlone + run + 64}},
		{0, []int64{0}, []int64{run + 64}},
		{1, []int64{cX}, []int64{cX + run}},                           // another token: all is forgotten
		{2, []int64{cY}, []int64{cY + run + 640}},                     // a mate loads beside it
		{1, []int64{0}, []int64{run}},                                 // and displaces nobody
		{3, []int64{0}, []int64{run + 128}},                           // nor does one that caches nothing
		{2, []int64{0}, []int64{run + 640}},                           //
		{6, []int64{cX}, []int64{cX + run}},                           // a second interpreter of x loads for itself
		{1, []int64{0}, []int64{run}},                                 //
		{4, []int64{0}, []int64{run + 64}},                            // without a token: everything is forgotten
		{2, []int64{cY}, []int64{cY + run + 640}},                     //
		{1, []int64{cX}, []int64{cX + run}},                           // each member on its own next call
		{0, []int64{cAlone}, []int64{cAlone + run + 64}},              //
		{3, []int64{0}, []int64{run + 128}},                           // displaces although it caches nothing
		{3, []int64{0}, []int64{run + 128}},                           //
		{0, []int64{cAlone}, []int64{cAlone + run + 64}},              //
		{5, []int64{cTwoA, cTwoB}, []int64{cTwoA + run, cTwoB + run}}, // its packages are mates
		{5, []int64{0, 0}, []int64{run, run}},
	}
	b := start(t, 0, nil)
	var models []*gotflite.Interpreter
	for _, file := range files {
		models = append(models, b.keep(file))
	}
	var want []int64
	for _, step := range order {
		b.call(models[step.model])
		for i := range step.loaded {
			want = append(want, step.loaded[i], step.bytes[i])
		}
	}
	var got []int64
	for _, c := range b.calls() {
		got = append(got, c.LoadedBytes, c.Bytes)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A deleted interpreter leaves its mark: the next one is taken for loaded.
func TestStaleMark(t *testing.T) {
	x, y := write(t, "x", tflitetest.Split(2, 2000, 0)), write(t, "y", tflitetest.Split(2, 3000, 0))
	b := start(t, 0, nil)
	first := b.interpreter(x)
	b.call(first)
	first.Delete()
	second := b.keep(y)
	b.call(second) // should load 3000 bytes, and does not
	if c := b.calls(); len(c) != 2 || c[0].LoadedBytes == 0 || c[1].LoadedBytes != 0 {
		t.Errorf("%+v", c)
	}
}

func TestCloseLosesEverything(t *testing.T) {
	x := write(t, "x", tflitetest.Split(2, 2000, 0))
	b := configure(t, nil)
	for range 2 {
		list, _ := edgetpu.DeviceList()
		b.delegate = edgetpu.New(list[0])
		i := b.interpreter(x)
		b.call(i)
		i.Delete()
		b.delegate.Delete()
	}
	if c := b.calls(); len(c) != 2 || c[0].LoadedBytes == 0 || c[1].LoadedBytes == 0 {
		t.Errorf("%+v", c)
	}
}

// Two devices hold what they hold.
func TestTwoDevices(t *testing.T) {
	x, y := write(t, "x", tflitetest.Split(1, 2000, 0)), write(t, "y", tflitetest.Split(2, 3000, 0))
	b := start(t, 0, map[string]string{"DEVICES": "usb,pci"})
	i := b.keep(x)
	list, _ := edgetpu.DeviceList()
	b.open(list[1])
	j := b.keep(y)
	for range 2 {
		b.call(i)
		b.call(j)
	}
	var got []string
	for _, c := range b.calls() {
		got = append(got, fmt.Sprintf("%s %d", c.Device, c.LoadedBytes))
	}
	want := []string{"/simulated/usb_0 3024", "/simulated/apex_0 4024", "/simulated/usb_0 0", "/simulated/apex_0 0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestRealFiles: a cold and a warm call of every public compiled file send
// what package tflite, an independent reader, says.
func TestRealFiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testdata.Dir(t), "models", "*_edgetpu.tflite"))
	more, _ := filepath.Glob(filepath.Join(testdata.Dir(t), "models", "*", "*_edgetpu.tflite"))
	if files = append(files, more...); err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file), func(t *testing.T) {
			f, err := tflite.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			compiled, err := f.Compiled()
			if err != nil {
				t.Fatal(err)
			}
			b := start(t, 0, map[string]string{"MB_PER_S": "100000"})
			i := b.keep(file)
			b.call(i)
			b.call(i)
			var cold, warm, loaded int64
			calls := b.calls()
			for n, c := range calls {
				loaded += c.LoadedBytes
				if n < len(compiled.Packages) {
					cold += c.Bytes
				} else {
					warm += c.Bytes
				}
			}
			if len(calls) != 2*len(compiled.Packages) || cold != compiled.ColdBytes() || warm != compiled.WarmBytes() || loaded != cold-warm {
				t.Errorf("cold %d, warm %d, loaded %d; want cold %d, warm %d", cold, warm, loaded, compiled.ColdBytes(), compiled.WarmBytes())
			}
		})
	}
}

// TestOutputs: outputs depend on the weights and on every byte of the input,
// and on nothing else, above all not on the split.
func TestOutputs(t *testing.T) {
	models := filepath.Join(testdata.Dir(t), "models")
	alone := filepath.Join(models, "mobilenet_v1_0.25_128_quant_edgetpu.tflite")
	company := filepath.Join(models, "cocompiled-16.0", "mobilenet_v1_0.25_128_quant_cocompiled_with_3quant_edgetpu.tflite")
	other := filepath.Join(models, "mobilenet_v1_0.5_160_quant_edgetpu.tflite")
	b := start(t, 0, nil)
	i := b.keep(alone)
	want := b.call(i)
	if got := b.call(i); got != want {
		t.Error("a second call gives something else")
	}
	if got := b.call(b.keep(company)); got != want {
		t.Error("the same model in company gives something else")
	}
	if got := b.call(b.keep(other)); got == want {
		t.Error("another model gives the same")
	}
	in := i.GetInputTensor(0)
	data := make([]byte, in.ByteSize())
	data[len(data)-1] = 1
	in.CopyFromBuffer(&data[0])
	if got := b.call(i); got == want {
		t.Error("the last byte of the input does not matter")
	}
}

// TestTimes: what a call takes, from its definition, for one model alone.
func TestTimes(t *testing.T) {
	// 100 kB cached, 50 kB streamed, 4096 bytes of instructions, 8 in, 8 out, 1024 to load.
	p := tflitetest.Split(1, 100_000, 50_000)
	p.Executables[0].EstimatedCycles = 250_000
	file := write(t, "m", p)
	for _, test := range []struct {
		name       string
		settings   map[string]string
		load, warm float64
	}{
		{"link", map[string]string{"MB_PER_S": "100"}, 1.01024, 0.54112},
		{"overhead", map[string]string{"MB_PER_S": "100", "OVERHEAD_MS": "2.5"}, 3.51024, 0.54112},
		{"overlap", map[string]string{"MB_PER_S": "100", "OVERLAP_MS": "0.5"}, 0.51024, 0.54112},
		{"overlap of more than the load", map[string]string{"MB_PER_S": "100", "OVERLAP_MS": "5", "OVERHEAD_MS": "1"}, 1, 0.54112},
		{"streaming", map[string]string{"MB_PER_S": "100", "STREAM_FACTOR": "3"}, 1.01024, 1.54112},
		{"computing", map[string]string{"MB_PER_S": "100", "COMPUTE_MS": "2"}, 1.01024, 2.54112},
		{"computing of this model", map[string]string{"MB_PER_S": "100", "COMPUTE_MS": "2,150000=3,7=9"}, 1.01024, 3.54112},
		{"computing by size", map[string]string{"MB_PER_S": "100", "COMPUTE_MS_PER_MB": "2"}, 1.01024, 0.84112},
		{"computing by cycles", map[string]string{"MB_PER_S": "100", "CLOCK_MHZ": "250"}, 1.01024, 1.54112},
		{"throttled", map[string]string{"MB_PER_S": "100", "FAULT": "throttle@2=3"}, 1.01024, 1.62336},
		{"wrong split", map[string]string{"MB_PER_S": "100", "FAULT": "split=20"}, 0.81024, 0.74112},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := start(t, 0, test.settings)
			i := b.keep(file)
			for n := range 2 {
				before := time.Now()
				b.call(i)
				took, c := time.Since(before).Seconds()*1e3, b.calls()[n]
				want := test.warm
				if n == 0 {
					want += test.load
					if strings.Contains(test.settings["FAULT"], "throttle") {
						want = 0.54112 + test.load
					}
				}
				if math.Abs(c.MS-want) > 1e-5 {
					t.Errorf("call %d is to take %v ms, want %v", n+1, c.MS, want)
				}
				if took < c.MS { // how much longer is the machine's affair
					t.Errorf("call %d took %v ms instead of %v", n+1, took, c.MS)
				}
			}
		})
	}
}

// TestNoise: the same seed gives the same times, another one others, and the
// mean and the spread are those that were asked for.
func TestNoise(t *testing.T) {
	file := write(t, "m", tflitetest.Split(1, 0, 64))
	times := func(seed string) (list []float64) {
		b := start(t, 0, map[string]string{"MB_PER_S": "1000000", "COMPUTE_MS": "0.1", "NOISE_PCT": "5", "SEED": seed})
		i := b.interpreter(file)
		for range 400 {
			b.call(i)
		}
		for _, c := range b.calls() {
			list = append(list, c.MS)
		}
		i.Delete()
		return list
	}
	var lists [3][]float64
	for n, seed := range []string{"1", "1", "2"} {
		t.Run(seed, func(inner *testing.T) {
			outer := t
			t = inner
			defer func() { t = outer }()
			lists[n] = times(seed)
		})
	}
	if diff := cmp.Diff(lists[0], lists[1]); diff != "" {
		t.Error("the same seed: ", diff)
	}
	if cmp.Equal(lists[0], lists[2]) {
		t.Error("another seed changes nothing")
	}
	mean, square := 0.0, 0.0
	for _, ms := range lists[0] {
		mean += ms / 400
		square += ms * ms / 400
	}
	// Three standard errors of the mean, and about five of the deviation.
	if deviation := math.Sqrt(square - mean*mean); math.Abs(mean/0.1-1) > 3*0.05/20 || math.Abs(deviation/0.005-1) > 0.2 {
		t.Errorf("mean %v ms, standard deviation %v", mean, deviation)
	}
}

func TestCorruptOutputs(t *testing.T) {
	x, y := write(t, "x", tflitetest.Split(1, 1000, 0)), write(t, "y", tflitetest.Split(2, 1000, 0))
	b := start(t, 0, map[string]string{"FAULT": "corrupt@4=0x2"})
	i, j := b.keep(x), b.keep(y)
	x1, y1 := b.call(i), b.call(j) // calls 1 and 2
	if x2, y2 := b.call(i), b.call(j); x2 != x1 || y2 == y1 {
		t.Errorf("x %s then %s, y %s then %s", x1, x2, y1, y2)
	}
}

func TestFailures(t *testing.T) {
	x := write(t, "x", tflitetest.Split(1, 1000, 0))
	t.Run("a call", func(t *testing.T) {
		b := start(t, 0, map[string]string{"FAULT": "error@2"})
		i := b.keep(x)
		b.call(i)
		if status := i.Invoke(); status == gotflite.OK {
			t.Error("the second call succeeds")
		}
	})
	t.Run("opening", func(t *testing.T) {
		configure(t, map[string]string{"FAULT": "busy", "ABSENT_MS": "1"})
		list, _ := edgetpu.DeviceList()
		if edgetpu.New(list[0]) != nil {
			t.Error("a busy device is opened")
		}
		if edgetpu.New(edgetpu.Device{Type: edgetpu.TypeApexPCI, Path: "/dev/none"}) != nil {
			t.Error("an absent device is opened")
		}
	})
	t.Run("an old runtime", func(t *testing.T) {
		b := start(t, 0, map[string]string{"RUNTIME": "13"})
		model := gotflite.NewModelFromFile(x)
		defer model.Delete()
		options := gotflite.NewInterpreterOptions()
		defer options.Delete()
		options.AddDelegate(b.delegate)
		if gotflite.NewInterpreter(model, options) != nil {
			t.Error("runtime 13 takes a model for runtime 14")
		}
	})
	t.Run("a damaged package", func(t *testing.T) {
		data, err := os.ReadFile(x)
		if err != nil {
			t.Fatal(err)
		}
		bad := filepath.Join(t.TempDir(), "bad.tflite")
		if err := os.WriteFile(bad, bytes.Replace(data, []byte("DWN1"), []byte("DWN2"), 1), 0o644); err != nil {
			t.Fatal(err)
		}
		b := start(t, 0, nil)
		model := gotflite.NewModelFromFile(bad)
		defer model.Delete()
		options := gotflite.NewInterpreterOptions()
		defer options.Delete()
		options.AddDelegate(b.delegate)
		if gotflite.NewInterpreter(model, options) != nil {
			t.Error("it is taken")
		}
	})
}

// TestSettingsThatAreWrong: the library ends the process.
func TestSettingsThatAreWrong(t *testing.T) {
	if os.Getenv("LIST_DEVICES") == "1" {
		list, _ := edgetpu.DeviceList()
		fmt.Println(len(list), "devices")
		os.Exit(0)
	}
	for _, setting := range []string{
		"DEVICES=usb,", "DEVICES=usb;pci", "DEVICES=3", "MB_PER_S=0", "MB_PER_S=fast", "MB_PER_S=1;2", "COMPUTE_MS=1,", "COMPUTE_MS=5=", "NOISE_PCT=101", "FAULT=boom",
		"FAULT=hang@", "FAULT=hang=3", "FAULT=corrupt=0", "FAULT=split=101", "SEED=-1", "RUNTIME=14 ", "",
	} {
		t.Run(setting, func(t *testing.T) {
			name, value, _ := strings.Cut(setting, "=")
			cmd := exec.Command(os.Args[0], "-test.run=^TestSettingsThatAreWrong$")
			cmd.Env = append(os.Environ(), "LIST_DEVICES=1", "TPUPLAN_STANDIN_"+name+"="+value)
			out, err := cmd.CombinedOutput()
			if want := "stand-in Edge TPU: TPUPLAN_STANDIN_" + name + "="; setting != "" && (cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), want)) {
				t.Errorf("%v: %s", err, out)
			}
			if setting == "" && (err != nil || string(out) != "1 devices\n") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// externalDelegate calls a model through the entry points of an external
// delegate, as Python runtimes do, and prints a byte of the output.
const externalDelegate = `
import ctypes, os, sys
runtime, library, model, device = sys.argv[1:]
t, e = ctypes.CDLL(runtime), ctypes.CDLL(library)
P = ctypes.c_void_p
for f in "TfLiteModelCreateFromFile TfLiteInterpreterOptionsCreate TfLiteInterpreterCreate TfLiteInterpreterGetOutputTensor TfLiteTensorData".split():
    getattr(t, f).restype = P
e.tflite_plugin_create_delegate.restype = P
report = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(lambda text: print("reported:", text.decode()))
keys, values = (ctypes.c_char_p * 1)(b"device"), (ctypes.c_char_p * 1)(device.encode())
d = e.tflite_plugin_create_delegate(keys, values, ctypes.c_size_t(1), report)
if not d:
    sys.exit()
m, o = t.TfLiteModelCreateFromFile(model.encode()), t.TfLiteInterpreterOptionsCreate()
t.TfLiteInterpreterOptionsAddDelegate(P(o), P(d))
i = t.TfLiteInterpreterCreate(P(m), P(o))
assert t.TfLiteInterpreterAllocateTensors(P(i)) == 0 and t.TfLiteInterpreterInvoke(P(i)) == 0
t.TfLiteInterpreterDelete(P(i))
e.tflite_plugin_destroy_delegate(P(d))
print("called")
`

func TestExternalDelegate(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		testdata.NeedTool(t, "python3", err)
	}
	standin := os.Getenv("TPUPLAN_STANDIN")
	runtime := filepath.Join(standin, "..", "..", ".runtime", "lib", "libtensorflowlite_c.so")
	x := write(t, "x", tflitetest.Split(1, 1000, 0))
	for _, test := range []struct{ option, device string }{
		{"", "/simulated/usb_0"},
		{":1", "/simulated/apex_0"},
		{"usb:1", "/simulated/usb_1"},
		{"pci", "/simulated/apex_0"},
		{"/simulated/usb_1", "/simulated/usb_1"},
		{"pci:1", ""},
		{"/dev/apex_0", ""},
		{"usb:x", ""},
	} {
		t.Run(test.option, func(t *testing.T) {
			b := configure(t, map[string]string{"DEVICES": "usb,pci,usb"})
			cmd := exec.Command(python, "-c", externalDelegate, runtime, filepath.Join(standin, "libedgetpu.so.1"), x, test.option)
			cmd.Env = append(os.Environ(), "TPUPLAN_STANDIN_LOG="+b.log)
			out, err := cmd.CombinedOutput()
			if test.device == "" {
				if want := "reported: stand-in Edge TPU: the device cannot be opened\n"; err != nil || string(out) != want {
					t.Errorf("%v: %s", err, out)
				}
				return
			}
			if err != nil || string(out) != "called\n" {
				t.Fatalf("%v: %s", err, out)
			}
			if c := b.calls(); len(c) != 1 || c[0].Device != test.device {
				t.Errorf("%+v", c)
			}
		})
	}
}
