package device_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/device"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == device.ChildCommand {
		if mode := os.Getenv("FAKE_CHILD"); mode != "" {
			os.Exit(fakeChild(mode))
		}
		os.Exit(device.Serve(os.Stdin, os.Stdout))
	}
	if os.Getenv("FAKE_PARENT") != "" {
		err := local(os.Getenv("FAKE_PARENT")).Measure(context.Background(), testRun(), func(s *profile.Sample) error { return profile.WriteSample(os.Stdout, s) })
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// fakeChild talks as Serve does, without a device, and goes wrong in the way
// that mode says. "MODE:ACTION" does so when it begins an action.
func fakeChild(mode string) int {
	mode, at, _ := strings.Cut(mode, ":")
	data, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 9
	}
	run, err := profile.ParseRun("run", data)
	if err != nil {
		return 9
	}
	say := func(e profile.Event) {
		profile.WriteEvent(os.Stdout, &e) //nolint:errcheck // the test notices
		if string(e.Action) == at {
			goWrong(mode)
		}
	}
	sample := func(model string, kind profile.Kind, call int64) {
		profile.WriteSample(os.Stdout, &profile.Sample{Run: run.Name, Model: model, Kind: kind, Call: call, MS: 1, Source: profile.Simulated}) //nolint:errcheck // likewise
	}
	say(profile.Event{Action: profile.Opening})
	for _, m := range run.Models {
		say(profile.Event{Action: profile.Creating, Model: m.Name})
		sample(m.Name, profile.Create, 0)
	}
	say(profile.Event{Action: profile.Testing, Model: run.Models[0].Name})
	for i, step := range run.Steps {
		name := run.Models[step.Model].Name
		say(profile.Event{Action: profile.Calling, Model: name, Call: int64(i)})
		sample(name, step.Kind, int64(i))
	}
	say(profile.Event{Action: profile.Closing})
	say(profile.Event{Action: profile.Done})
	if mode == "linger" {
		goWrong("hang")
	}
	return 0
}

func goWrong(mode string) {
	fmt.Fprintln(os.Stderr, "something on stderr")
	switch mode {
	case "hang":
		forever()
	case "family": // hangs with a child that would outlive it
		leaveChild()
		forever()
	case "hold": // hangs, and holds the pipe
		if pipe, err := os.OpenFile(os.Getenv("FAKE_PIPE"), os.O_WRONLY, 0); err == nil {
			pipe.WriteString("here") //nolint:errcheck // the test notices
			forever()
			runtime.KeepAlive(pipe)
		}
		os.Exit(9)
	case "orphan": // dies, and leaves a child that holds its pipes
		leaveChild()
		os.Exit(3)
	case "die":
		io.WriteString(os.Stdout, `{"schema":"tpuplan/sample/v1","run`) //nolint:errcheck // likewise
		syscall.Kill(os.Getpid(), syscall.SIGKILL)                      //nolint:errcheck // likewise
		forever()
	case "garbage":
		fmt.Println("Hello!")
		forever()
	case "exit":
		fmt.Fprintln(os.Stderr, "for a reason")
		os.Exit(3)
	case "early":
		os.Exit(0)
	case "failure":
		profile.WriteEvent(os.Stdout, &profile.Event{Failure: &profile.Failure{Code: profile.NoDevice, Text: "there is no Edge TPU", Hint: "plug it in", Library: "9"}}) //nolint:errcheck // likewise
		os.Exit(1)
	}
}

// leaveChild starts a process that holds everything: stdout, stderr and the pipe at FAKE_PIPE.
func leaveChild() {
	pipe, err := os.OpenFile(os.Getenv("FAKE_PIPE"), os.O_WRONLY, 0)
	if err != nil {
		os.Exit(9)
	}
	child := exec.Command("sleep", "600")
	child.Stdout, child.Stderr, child.ExtraFiles = os.Stdout, os.Stderr, []*os.File{pipe}
	if err := child.Start(); err != nil {
		os.Exit(9)
	}
	pipe.WriteString("here") //nolint:errcheck // the test notices
}

// forever blocks until the process is killed.
func forever() {
	r, w, err := os.Pipe()
	if err != nil {
		os.Exit(9)
	}
	defer w.Close()
	bufio.NewReader(r).ReadByte() //nolint:errcheck // nobody writes
}

// deadline is short, for tests wait for it, and long enough for what does not hang.
const deadline = time.Second

func testRun() *profile.Run {
	return &profile.Run{
		Schema: profile.RunSchema, Name: "r", Repeats: 1, DeadlineMS: deadline.Seconds() * 1e3,
		Models: []profile.RunModel{{Name: "a", File: "a_edgetpu.tflite"}, {Name: "b", File: "b_edgetpu.tflite"}},
		Steps:  []profile.Step{{Model: 0, Kind: profile.First}, {Model: 1, Kind: profile.First}, {Model: 0, Kind: profile.Load}},
	}
}

func local(mode string, env ...string) *device.Local {
	// The race detector lets a process linger for a second by default, which is the deadline.
	return &device.Local{Env: append(env, "FAKE_CHILD="+mode, "GORACE=atexit_sleep_ms=0"), OpenDeadline: 20 * time.Second}
}

func TestLocal(t *testing.T) {
	for _, test := range []struct {
		mode    string
		open    time.Duration
		code    profile.Code // "" is success
		text    string
		samples int
		output  string
	}{
		{mode: "good", samples: 5},
		{mode: "linger", samples: 5},
		{mode: "hang:open", open: 3 * deadline, code: profile.Silent, text: "opening the device did not end within 3s", output: "something on stderr"},
		{mode: "hang:create", code: profile.Silent, text: `model "a": creating the interpreter did not end within 1s`, output: "something on stderr"},
		{mode: "hang:self_test", code: profile.Silent, text: `model "a": the self-test did not end within 1s`, samples: 2, output: "something on stderr"},
		{mode: "hang:close", open: 3 * deadline, code: profile.Silent, text: "closing the device did not end within 3s", samples: 5, output: "something on stderr"},
		{mode: "die:self_test", code: profile.Aborted, text: `model "a": the self-test: the measuring process was ended by signal: killed in the middle of a line, which is dropped`, samples: 2, output: "something on stderr"},
		{mode: "garbage:close", code: profile.Broken, text: "the measuring process:14: not a line of samples: invalid character 'H' looking for beginning of value", samples: 5, output: "something on stderr"},
		{mode: "exit:close", code: profile.Broken, text: "closing the device: the measuring process ended: exit status 3", samples: 5, output: "something on stderr\nfor a reason"},
		{mode: "early:self_test", code: profile.Broken, text: `model "a": the self-test: the measuring process ended before the run was complete`, samples: 2, output: "something on stderr"},
		{mode: "failure:open", code: profile.NoDevice, text: "there is no Edge TPU", output: "something on stderr"},
	} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			l := local(test.mode)
			if test.open > 0 {
				l.OpenDeadline = test.open
			}
			samples := 0
			err := l.Measure(t.Context(), testRun(), func(*profile.Sample) error { samples++; return nil })
			var f *profile.Failure
			if errors.As(err, &f) != (test.code != "") || (err != nil) != (test.code != "") {
				t.Fatalf("error %v", err)
			}
			// A machine under load may make a child that hangs later look as if it did so at once.
			if test.code != "" && (f.Code != test.code || f.Error() != test.text || f.Output != test.output) {
				t.Errorf("got  %s: %s\n%s\nwant %s: %s\n%s", f.Code, f, f.Output, test.code, test.text, test.output)
			}
			if samples != test.samples {
				t.Errorf("%d samples, want %d", samples, test.samples)
			}
		})
	}
}

// TestSilentCall: the call is named, and the samples before it are there.
func TestSilentCall(t *testing.T) {
	var calls []int64
	err := local("hang:call").Measure(t.Context(), testRun(), func(s *profile.Sample) error {
		if s.Kind != profile.Create {
			calls = append(calls, s.Call)
		}
		return nil
	})
	if want := `model "a": call 0 did not end within 1s`; err == nil || err.Error() != want || len(calls) != 0 {
		t.Errorf("error %v, want %s; calls %v", err, want, calls)
	}
}

// Whatever the child started is gone when Measure returns.
func TestNothingIsLeft(t *testing.T) {
	for _, test := range []struct {
		mode string
		code profile.Code
	}{{"family:call", profile.Silent}, {"orphan:call", profile.Broken}} {
		t.Run(test.mode, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(name, 0o600); err != nil {
				t.Fatal(err)
			}
			pipe, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer pipe.Close()
			err = local(test.mode, "FAKE_PIPE="+name).Measure(t.Context(), testRun(), func(*profile.Sample) error { return nil })
			if f := (*profile.Failure)(nil); !errors.As(err, &f) || f.Code != test.code {
				t.Errorf("error %v", err)
			}
			// The pipe ends when nobody holds it any more.
			if data, err := io.ReadAll(pipe); err != nil || string(data) != "here" {
				t.Errorf("read %q, error %v", data, err)
			}
		})
	}
}

// The child does not outlive a parent that is killed, and what was printed by
// then has been passed on.
func TestParentKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "FAKE_PARENT=hold:self_test", "FAKE_PIPE="+name)
	out, err := parent.StdoutPipe()
	if err == nil {
		err = parent.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := os.Open(name) // waits for the child
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	samples := bufio.NewReader(out)
	for range 2 {
		if line, err := samples.ReadString('\n'); err != nil || !strings.Contains(line, `"kind":"create"`) {
			t.Errorf("%q, error %v", line, err)
		}
	}
	here := make([]byte, 4)
	if _, err := io.ReadFull(pipe, here); err != nil {
		t.Fatal(err)
	}
	parent.Process.Kill()                                           //nolint:errcheck // then it has ended
	if data, err := io.ReadAll(pipe); err != nil || len(data) > 0 { // ends when the child does
		t.Errorf("read %q, error %v", data, err)
	}
	parent.Wait() //nolint:errcheck // it was killed
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	samples := 0
	err := local("hang:self_test").Measure(ctx, testRun(), func(*profile.Sample) error {
		samples++
		if samples == 2 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || samples != 2 {
		t.Errorf("error %v after %d samples", err, samples)
	}
	if err := local("good").Measure(ctx, testRun(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v of a run that should not start", err)
	}
}

func TestEmitThatFails(t *testing.T) {
	full := errors.New("no space left on device")
	samples := 0
	err := local("good").Measure(t.Context(), testRun(), func(*profile.Sample) error {
		samples++
		return full
	})
	if !errors.Is(err, full) || samples != 1 {
		t.Errorf("error %v after %d samples", err, samples)
	}
}

func TestRunsThatAreWrong(t *testing.T) {
	r := testRun()
	r.Models = nil
	if err := local("good").Measure(t.Context(), r, nil); err == nil || !strings.Contains(err.Error(), "a run of 0 models") {
		t.Errorf("error %v", err)
	}
	l := &device.Local{Command: []string{"/nonexistent/tpuplan"}}
	f := (*profile.Failure)(nil)
	if err := l.Measure(t.Context(), testRun(), nil); !errors.As(err, &f) || f.Code != profile.NotAvailable {
		t.Errorf("error %v", err)
	}
}

// TestNotBuilt: without the device path a program says so, as a child too.
func TestNotBuilt(t *testing.T) {
	if device.Available {
		t.Skip("it is built")
	}
	err := (&device.Local{}).Measure(t.Context(), testRun(), nil)
	if f := (*profile.Failure)(nil); !errors.As(err, &f) || f.Code != profile.NotAvailable || f.Hint == "" {
		t.Errorf("error %v", err)
	}
}

// An event survives its line.
func TestEventLines(t *testing.T) {
	var b strings.Builder
	want := profile.Event{Action: profile.Calling, Model: "a", Call: 7, Failure: &profile.Failure{Code: profile.WrongABI, Text: "t", Hint: "h", Model: "a", Library: "1", Runtime: "2", Output: "o"}}
	if err := profile.WriteEvent(&b, &want); err != nil {
		t.Fatal(err)
	}
	var got profile.Event
	if _, err := profile.ReadLines("x", strings.NewReader(b.String()), nil, func(e *profile.Event) error { got = *e; return nil }); err != nil {
		t.Fatal(err)
	}
	x, _ := json.Marshal(got)
	y, _ := json.Marshal(want)
	if string(x) != string(y) {
		t.Errorf("got %s, want %s", x, y)
	}
	// A file of samples holds no events.
	if _, err := profile.ReadSamples("x", strings.NewReader(b.String()), nil); err == nil {
		t.Error("a file of samples may hold events")
	}
}
