//go:build edgetpu && (linux || darwin)

package device

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	gotflite "github.com/mattn/go-tflite"

	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/tflite"
)

// Available says whether this program can measure by itself: whether it was
// built with the tag edgetpu.
const Available = true

// NotBuilt is what a program without the tag answers.
var NotBuilt *profile.Failure

// maxRunBytes is far above any run.
const maxRunBytes = 64 << 20

// Serve does the run that is read from stdin and writes samples and events to
// stdout. The result is the exit code of the process.
func Serve(stdin io.Reader, stdout io.Writer) int {
	if stdout == io.Writer(os.Stdout) {
		kept, err := keepStdout()
		if err != nil {
			fmt.Fprintln(os.Stderr, "stdout:", err)
			return 1
		}
		stdout = kept
	}
	dieOfSignals()
	// One thread makes all calls, as a program would.
	runtime.LockOSThread()
	s := &session{out: stdout}
	if f := s.serve(stdin); f != nil {
		profile.WriteEvent(stdout, &profile.Event{Failure: f}) //nolint:errcheck // the reader is gone
		return 1
	}
	return 0
}

// session is one run.
type session struct {
	out      io.Writer
	run      *profile.Run
	library  *library
	device   edgeTPU
	delegate *delegate
	host     string   // what this machine calls itself
	hashes   []string // of the files of the run's models
	models   []*model
	call     int64
}

// model is a model of the run with its interpreter.
type model struct {
	*profile.RunModel
	*gotflite.Interpreter
	file   *gotflite.Model
	sha256 string
}

func (s *session) serve(stdin io.Reader) *profile.Failure {
	data, err := io.ReadAll(io.LimitReader(stdin, maxRunBytes))
	if err == nil {
		s.run, err = profile.ParseRun("the run", data)
	}
	if err != nil {
		return &profile.Failure{Code: profile.BadRun, Text: err.Error()}
	}
	s.say(&profile.Event{Action: profile.Opening})
	var f *profile.Failure
	if s.library, f = openLibrary(); f != nil {
		return f
	}
	// Before the device is opened, for opening it takes seconds.
	for i := range s.run.Models {
		sha256, f := s.check(&s.run.Models[i])
		if f != nil {
			return s.about(f, s.run.Models[i].Name)
		}
		s.hashes = append(s.hashes, sha256)
	}
	s.host = HostName()
	if s.device, f = choose(s.library.devices(), s.run.Device); f != nil {
		return f
	}
	if s.delegate, f = s.library.open(s.device); f != nil {
		return f
	}
	if f := s.measure(); f != nil {
		return f // the end of the process closes everything
	}
	s.say(&profile.Event{Action: profile.Closing})
	for _, m := range s.models {
		m.Delete()
	}
	s.delegate.Delete() // after all interpreters
	for _, m := range s.models {
		m.file.Delete()
	}
	s.say(&profile.Event{Action: profile.Done})
	return nil
}

// say writes an event. Nobody to hear it is nobody to measure for.
func (s *session) say(e *profile.Event) {
	if err := profile.WriteEvent(s.out, e); err != nil {
		os.Exit(1)
	}
}

// about completes a failure.
func (s *session) about(f *profile.Failure, name string) *profile.Failure {
	f.Model = name
	if s.library != nil && f.Library == "" {
		f.Library, f.Runtime = s.library.version, tfliteVersion()
	}
	return f
}

// check says what is wrong with a file, before it is given to code that trusts
// it, and what its hash is.
func (s *session) check(m *profile.RunModel) (sha256 string, wrong *profile.Failure) {
	bad := func(hint, format string, args ...any) (string, *profile.Failure) {
		return "", &profile.Failure{Code: profile.BadModel, Text: fmt.Sprintf(format, args...), Hint: hint}
	}
	f, err := tflite.Open(filepath.FromSlash(m.File))
	if err != nil {
		return bad("", "%v", err)
	}
	compiled, err := f.Compiled()
	if e := (*tflite.FormatError)(nil); errors.As(err, &e) {
		return bad(e.Hint, "%v", err)
	} else if err != nil {
		return bad("", "%v", err)
	}
	if m.SHA256 != "" && m.SHA256 != f.SHA256() {
		return bad("make the run anew", "%s is not the file that the run was made for", m.File)
	}
	for i := range compiled.Packages {
		needs, has := compiled.Packages[i].MinRuntime, s.library.runtime()
		if has > 0 && needs > has {
			return "", &profile.Failure{
				Code: profile.NewerModel, Text: fmt.Sprintf("%s needs runtime version %d, %s has %d (%s)", m.File, needs, s.library.name, has, s.library.version),
				Hint: fmt.Sprintf("install a newer libedgetpu, or compile with -m %d", has),
			}
		}
	}
	return f.SHA256(), nil
}

// measure does everything between opening and closing the device.
func (s *session) measure() *profile.Failure {
	for i := range s.run.Models {
		name := s.run.Models[i].Name
		s.say(&profile.Event{Action: profile.Creating, Model: name})
		before := time.Now()
		m, f := s.create(i)
		took := time.Since(before)
		if f != nil {
			return s.about(f, name)
		}
		s.models = append(s.models, m)
		s.record(m, profile.Create, took, "")
		s.fill(m, i)
	}
	if f := s.selfTest(); f != nil {
		return s.about(f, s.run.Models[0].Name)
	}
	for pass := range s.run.WarmUp + s.run.Repeats {
		for _, step := range s.run.Steps {
			kind := step.Kind
			if pass < s.run.WarmUp {
				kind = ""
			}
			if f := s.invoke(s.models[step.Model], kind); f != nil {
				return s.about(f, s.models[step.Model].Name)
			}
		}
	}
	return nil
}

// create makes an interpreter.
func (s *session) create(index int) (*model, *profile.Failure) {
	m := &model{RunModel: &s.run.Models[index], sha256: s.hashes[index]}
	bad := func(what string) (*model, *profile.Failure) {
		return nil, &profile.Failure{Code: profile.BadModel, Text: fmt.Sprintf("%s: TensorFlow Lite %s %s", m.File, tfliteVersion(), what)}
	}
	if m.file = gotflite.NewModelFromFile(filepath.FromSlash(m.File)); m.file == nil {
		return bad("cannot read it")
	}
	options := gotflite.NewInterpreterOptions()
	defer options.Delete()
	options.SetNumThread(1) // more than there are cores would be many times slower
	options.AddDelegate(s.delegate)
	if m.Interpreter = gotflite.NewInterpreter(m.file, options); m.Interpreter == nil {
		return bad("makes no interpreter of it for " + s.library.version)
	}
	if status := m.AllocateTensors(); status != gotflite.OK {
		return bad("cannot allocate its tensors")
	}
	return m, nil
}

// fill gives a model the inputs that it has in every call.
func (s *session) fill(m *model, index int) {
	for t := range m.GetInputTensorCount() {
		if in := m.GetInputTensor(t); in.ByteSize() > 0 {
			s.run.Input(index, t, bytesOf(in))
		}
	}
}

// bytesOf are a tensor's contents, in the runtime's memory.
func bytesOf(t *gotflite.Tensor) []byte {
	return unsafe.Slice((*byte)(t.Data()), t.ByteSize())
}

// selfTest makes one inference of the first model, with an interpreter of its
// own: the model's first call is still one that loads.
func (s *session) selfTest() *profile.Failure {
	s.say(&profile.Event{Action: profile.Testing, Model: s.run.Models[0].Name})
	m, f := s.create(0)
	if f != nil {
		return f
	}
	s.models = append(s.models, m) // it is kept as the others are
	s.fill(m, 0)
	if status := m.Invoke(); status != gotflite.OK {
		return &profile.Failure{
			Code: profile.SelfTest, Text: fmt.Sprintf("%s fails its self-test: the first inference ends with status %d", s.device, int(status)),
			Hint: "the device is there, but does not work: unplug it and plug it in again",
		}
	}
	return nil
}

// invoke makes a call, and a sample of it unless kind is "".
func (s *session) invoke(m *model, kind profile.Kind) *profile.Failure {
	s.say(&profile.Event{Action: profile.Calling, Model: m.Name, Call: s.call})
	before := time.Now()
	status := m.Invoke()
	took := time.Since(before)
	if status != gotflite.OK {
		return &profile.Failure{Code: profile.CallFailed, Text: fmt.Sprintf("call %d ends with status %d", s.call, int(status))}
	}
	if kind != "" {
		outputs := ""
		if s.run.Outputs {
			outputs = m.hash()
		}
		s.record(m, kind, took, outputs)
	}
	s.call++
	return nil
}

// hash is the SHA-256 of all outputs in their order.
func (m *model) hash() string {
	h := sha256.New()
	for t := range m.GetOutputTensorCount() {
		if out := m.GetOutputTensor(t); out.ByteSize() > 0 {
			h.Write(bytesOf(out))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (s *session) record(m *model, kind profile.Kind, took time.Duration, outputs string) {
	sample := &profile.Sample{
		Run: s.run.Name, Model: m.Name, Kind: kind, MS: float64(took.Nanoseconds()) / 1e6,
		SHA256: m.sha256, Host: s.host, Device: s.device.path, Source: s.library.source, Outputs: outputs, TemperatureC: s.temperature(),
	}
	if kind != profile.Create {
		sample.Call = s.call
	}
	bytes := int64(0)
	switch kind {
	case profile.First, profile.Load:
		bytes = m.ColdBytes
	case profile.Steady, profile.Squeezed:
		bytes = m.WarmBytes
	}
	if bytes > 0 {
		sample.Bytes = &bytes
	}
	if err := profile.WriteSample(s.out, sample); err != nil {
		os.Exit(1) // as say
	}
}

// apexVariable names another folder than the kernel driver's.
const apexVariable = "TPUPLAN_APEX"

// temperature is what the kernel driver of PCIe devices says, nil where there is none.
func (s *session) temperature() *float64 {
	dir := os.Getenv(apexVariable)
	if dir == "" {
		dir = "/sys/class/apex"
	}
	data, err := os.ReadFile(filepath.Join(dir, filepath.Base(s.device.path), "temp"))
	if err != nil {
		return nil
	}
	millidegrees, err := strconv.ParseFloat(strings.TrimSpace(string(data)), 64)
	if err != nil {
		return nil
	}
	degrees := millidegrees / 1000
	return &degrees
}
