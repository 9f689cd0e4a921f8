//go:build linux || darwin

package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/device"
	"github.com/tpuplan/tpuplan/profile/remote"
	"github.com/tpuplan/tpuplan/profile/remote/remotetest"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == device.ChildCommand {
		os.Exit(device.Serve(os.Stdin, os.Stdout))
	}
	switch filepath.Base(os.Args[0]) {
	case "ssh":
		remotetest.SSH()
	case "scp":
		remotetest.SCP()
	case "python3":
		remotetest.Python()
	}
	os.Exit(m.Run())
}

// lab is a board, the way to it, and a run of two models.
type lab struct {
	*testing.T
	remote.Host
	board string
	pipe  *os.File // ends when nothing runs on the board
	run   *profile.Run
	notes []string
}

// newLab has a board of those facts; set are variables, NAME=VALUE without FAKE_.
func newLab(t *testing.T, facts []string, set ...string) *lab {
	t.Helper()
	l := &lab{T: t, board: filepath.Join(t.TempDir(), "board")}
	tools := t.TempDir()
	for _, name := range []string{"ssh", "scp", "python3"} {
		if err := os.Symlink(os.Args[0], filepath.Join(tools, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := remotetest.Make(l.board, append([]string{"python=" + filepath.Join(tools, "python3")}, facts...)...); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if l.pipe, err = os.OpenFile(pipe, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.pipe.Close() })
	// The programs get variables as the words of a command: tests run side by side.
	env := []string{"env", "GORACE=atexit_sleep_ms=0", "FAKE_BOARD=" + l.board, "FAKE_PIPE=" + pipe}
	for _, v := range set {
		env = append(env, "FAKE_"+v)
	}
	l.Host = remote.Host{
		Name: "pi@camera", Dir: t.TempDir(), SSH: slices.Concat(env, []string{filepath.Join(tools, "ssh")}), SCP: slices.Concat(env, []string{filepath.Join(tools, "scp")}),
		Note: func(text string) { l.notes = append(l.notes, text) }, OpenDeadline: 20 * time.Second,
	}
	l.run = &profile.Run{
		Schema: profile.RunSchema, Name: "night", Repeats: 2, DeadlineMS: 20_000,
		Steps: []profile.Step{{Model: 0, Kind: profile.First}, {Model: 1, Kind: profile.Steady}, {Model: 0}, {Model: 1, Kind: profile.Steady}},
	}
	for i, name := range []string{"left hand", "it's"} { // names that a shell would take apart
		data := tflitetest.CompiledModel(tflitetest.Split(1, int64(1000+i), 64))
		if err := os.WriteFile(filepath.Join(l.Dir, name+"_edgetpu.tflite"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		l.run.Models = append(l.run.Models, profile.RunModel{Name: name, File: name + "_edgetpu.tflite"})
	}
	return l
}

// once dials, does the run, and closes.
func (l *lab) once(ctx context.Context) (samples []profile.Sample, err error) {
	board, err := remote.Dial(ctx, l.Host)
	if err != nil {
		return nil, err
	}
	err = board.Measure(ctx, l.run, func(s *profile.Sample) error { samples = append(samples, *s); return nil })
	if e := board.Close(); e != nil {
		l.Errorf("close: %v", e)
	}
	return samples, err
}

// clean checks that nothing but models is left on the board, once nothing runs
// there any more.
func (l *lab) clean() {
	l.Helper()
	if _, err := io.ReadAll(l.pipe); err != nil {
		l.Error(err)
	}
	if files, err := remotetest.Left(l.board); len(files) > 0 || err != nil {
		l.Errorf("left on the board: %q, error %v", files, err)
	}
}

// copied are the files that were sent, a line for each scp; hashes are shortened.
func (l *lab) copied() string {
	data, _ := os.ReadFile(filepath.Join(l.board, "copied"))
	return regexp.MustCompile(`[0-9a-f]{64}`).ReplaceAllString(string(data), "SHA")
}

func failureOf(t *testing.T, err error) *profile.Failure {
	t.Helper()
	f := (*profile.Failure)(nil)
	if !errors.As(err, &f) {
		t.Fatalf("error %v", err)
	}
	return f
}

func outline(samples []profile.Sample) (list []string) {
	for _, s := range samples {
		list = append(list, fmt.Sprintf("%s %s %s %d", s.Run, s.Model, s.Kind, s.Call))
	}
	return list
}

var whole = []string{
	"night left hand create 0", "night it's create 0",
	"night left hand first 0", "night it's steady 1", "night it's steady 3",
	"night left hand first 4", "night it's steady 5", "night it's steady 7",
}

func TestBoard(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	for range 2 { // two connections, two runs in each
		board, err := remote.Dial(t.Context(), l.Host)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			var samples []profile.Sample
			if err := board.Measure(t.Context(), l.run, func(s *profile.Sample) error { samples = append(samples, *s); return nil }); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(whole, outline(samples)); diff != "" {
				t.Error(diff)
			}
		}
		private, err := filepath.Glob(filepath.Join(l.board, "home", ".cache", "tpuplan", "run.*"))
		if err != nil || len(private) != 1 {
			t.Fatalf("private folders %q", private)
		}
		if info, err := os.Stat(private[0]); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%v, error %v", info.Mode(), err)
		}
		if err := board.Close(); err != nil {
			t.Error(err)
		}
		l.clean()
	}
	if got, want := l.copied(), "measure.py run.sh\nSHA SHA\nmeasure.py run.sh\n"; got != want {
		t.Errorf("copied %q, want %q", got, want)
	}
	if got := l.run.Models[0].File; got != "left hand_edgetpu.tflite" {
		t.Errorf("the run has changed: %s", got)
	}
	if want := "pi@camera is Linux on aarch64, gnu, with Python 3.9.2"; l.notes[0] != want {
		t.Errorf("notes %q", l.notes)
	}
}

// Models that have suffered on the board are sent again; a board whose user has
// no home gets them each time.
func TestModelsOnTheBoard(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	if _, err := l.once(t.Context()); err != nil {
		t.Fatal(err)
	}
	models, err := filepath.Glob(filepath.Join(l.board, "home", ".cache", "tpuplan", "models", "*"))
	if err != nil || len(models) != 2 {
		t.Fatalf("%q, error %v", models, err)
	}
	if err := os.Truncate(models[0], 100); err != nil {
		t.Fatal(err)
	}
	if _, err := l.once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := l.copied(), "measure.py run.sh\nSHA SHA\nmeasure.py run.sh\nSHA\n"; got != want {
		t.Errorf("copied %q, want %q", got, want)
	}
	homeless := newLab(t, []string{"home=none"})
	samples, err := homeless.once(t.Context())
	if diff := cmp.Diff(whole, outline(samples)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	homeless.clean()
}

// TestNotReached: what ssh says, and what to do about it.
func TestNotReached(t *testing.T) {
	for _, test := range []struct {
		name       string
		facts, set []string
		change     func(l *lab)
		code       profile.Code
		text, hint string // parts
	}{
		{name: "refused", set: []string{"SSH=refused"}, code: profile.Unreachable, text: "pi@camera cannot be reached: ssh: connect to host camera port 22: Connection refused", hint: "no ssh server runs there"},
		{name: "off", set: []string{"SSH=timeout"}, code: profile.Unreachable, text: "Connection timed out", hint: "is the board on"},
		{name: "wrong name", set: []string{"SSH=unresolved"}, code: profile.Unreachable, text: "Could not resolve hostname camera", hint: "~/.ssh/config"},
		{name: "no key", set: []string{"SSH=denied"}, code: profile.Unreachable, text: "Permission denied (publickey,password).", hint: "ssh-copy-id pi@camera"},
		{name: "unknown host key", set: []string{"SSH=hostkey"}, code: profile.Unreachable, text: "Host key verification failed.", hint: "connect once by hand, ssh pi@camera"},
		{name: "another host key", set: []string{"SSH=changed"}, code: profile.Unreachable, text: "Host key verification failed.", hint: "ssh-keygen -R"},
		{name: "lost while it answers", set: []string{"SSH=die-session@60"}, code: profile.Unreachable, text: "pi@camera cannot be reached: Timeout, server camera not responding.", hint: "stopped answering"},
		{name: "a shell that talks", set: []string{"SSH=greets"}, code: profile.Unreachable, text: `pi@camera: its shell prints "Welcome to camera! 3 updates can be applied." to programs`, hint: "[ -t 1 ]"},
		{name: "no ssh", change: func(l *lab) { l.SSH = []string{"/nonexistent/ssh"} }, code: profile.NotAvailable, text: "/nonexistent/ssh cannot be started", hint: "TPUPLAN_SSH"},
		{name: "no shell", change: func(l *lab) { l.SSH = []string{"false"} }, code: profile.Unreachable, text: "pi@camera: its shell does not do what a POSIX shell does", hint: "ssh pi@camera true"},
		{name: "no host", change: func(l *lab) { l.Name = "-oProxyCommand=x" }, code: profile.NotAvailable, text: `"-oProxyCommand=x" is no name of a host`, hint: "~/.ssh/config"},
		{name: "no name", change: func(l *lab) { l.Name = "pi@camera; reboot" }, code: profile.NotAvailable, text: "is no name of a host"},
		{name: "no python", facts: []string{"python="}, code: profile.NotAvailable, text: "pi@camera has no python3, and there is no program that measures there: none was built", hint: "make edgetpu-dist"},
		{name: "no python wanted", facts: []string{"python="}, change: func(l *lab) { l.With = remote.WithPython }, code: profile.NotAvailable, text: "pi@camera has no python3", hint: "--python"},
		{name: "old python", set: []string{"PYTHON_VERSION=3.4.2"}, code: profile.NotAvailable, text: "pi@camera has Python 3.4.2, 3.5 or later is needed"},
		{name: "no program", change: func(l *lab) { l.With = remote.WithGo; l.Programs = l.TempDir() }, code: profile.NotAvailable, text: "none was built for linux-arm64-gnu", hint: "--with python"},
		{name: "no space", facts: []string{"free=3"}, code: profile.Unreachable, text: "pi@camera: no space for ", hint: "~/.cache/tpuplan/models"},
		{name: "no space, unforeseen", set: []string{"SCP=full@30000"}, code: profile.Unreachable, text: "No space left on device", hint: "~/.cache/tpuplan/models"},
		{name: "scp refused", set: []string{"SCP=denied"}, code: profile.Unreachable, text: "pi@camera cannot be reached: scp: Connection closed", hint: "ssh-copy-id"},
		{name: "no scp", change: func(l *lab) { l.SCP = []string{"/nonexistent/scp"} }, code: profile.NotAvailable, text: "/nonexistent/scp cannot be started"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, test.facts, test.set...)
			if test.change != nil {
				test.change(l)
			}
			samples, err := l.once(t.Context())
			f := failureOf(t, err)
			if f.Code != test.code || !strings.Contains(f.Text, test.text) || !strings.Contains(f.Hint, test.hint) || len(samples) > 0 {
				t.Errorf("%d samples, %s: %s\nhint %s", len(samples), f.Code, f.Text, f.Hint)
			}
			l.clean()
		})
	}
}

// TestLostConnection: wherever the connection ends, the samples that arrived
// are there, nothing is left on the board, and a second run continues.
func TestLostConnection(t *testing.T) {
	full := newLab(t, nil)
	want, err := full.once(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, bytes := range []int{0, 400, 700, 1000, 1500} {
		t.Run(fmt.Sprint(bytes), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil, fmt.Sprintf("SSH=die@%d", bytes))
			var done profile.Progress
			var got []profile.Sample
			measure := func() error {
				board, err := remote.Dial(t.Context(), l.Host)
				if err != nil {
					t.Fatal(err)
				}
				defer board.Close() //nolint:errcheck // what it leaves is looked at
				return profile.Resume(board, &done).Measure(t.Context(), l.run, func(s *profile.Sample) error { got = append(got, *s); return nil })
			}
			err := measure()
			f := failureOf(t, err)
			if f.Code != profile.Unreachable || !strings.Contains(f.Text, "the connection to pi@camera is lost") || !strings.Contains(f.Hint, "continues") || len(got) >= len(want) {
				t.Errorf("%d samples, %s: %s", len(got), f.Code, f.Text)
			}
			if bytes == 1500 && len(got) < 4 {
				t.Errorf("%d samples arrived", len(got))
			}
			l.clean()
			l.SSH = append(l.SSH[:len(l.SSH)-1:len(l.SSH)-1], "FAKE_SSH=", l.SSH[len(l.SSH)-1])
			if err := measure(); err != nil {
				t.Fatal(err)
			}
			// The device of the test takes as long as the number of the call says, which differs.
			for i := range got {
				got[i].MS = 0
			}
			for i := range want {
				if s := want[i]; s.MS != 0 {
					s.MS = 0
					if i >= len(got) || !cmp.Equal(s, got[i]) {
						t.Errorf("sample %d: %+v", i, got)
						break
					}
				}
			}
			l.clean()
		})
	}
}

// TestMeasuringFails on the board: each way has its code, names files as they are
// called here, and leaves nothing.
func TestMeasuringFails(t *testing.T) {
	for _, test := range []struct {
		name    string
		set     string
		change  func(l *lab)
		code    profile.Code
		text    string
		output  string
		samples int
	}{
		{name: "killed", set: "PYTHON=killed@3", code: profile.Aborted, text: `model "it's": call 3: the measuring process was ended by signal 9`, output: "USB transfer failed", samples: 4},
		{name: "ends", set: "PYTHON=exit@3", code: profile.Broken, text: `model "it's": call 3: the measuring process ended: exit status 1`, output: "Traceback (most recent call last):", samples: 4},
		{name: "says why", set: "PYTHON=failure@3", code: profile.CallFailed, text: `model "it's": it's_edgetpu.tflite: call fails`, samples: 4},
		{name: "is silent", set: "PYTHON=hang@3", change: func(l *lab) { l.run.DeadlineMS = 1000 }, code: profile.Silent, text: "did not end within 1s"},
		{name: "no file", set: "X=", change: func(l *lab) { l.run.Models[1].File = "none.tflite" }, code: profile.BadModel, text: `model "it's": `},
		{name: "another file", set: "X=", change: func(l *lab) { l.run.Models[1].SHA256 = strings.Repeat("0", 64) }, code: profile.BadModel, text: `model "it's": it's_edgetpu.tflite is not the file that the run was made for`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil, test.set)
			if test.change != nil {
				test.change(l)
			}
			samples, err := l.once(t.Context())
			f := failureOf(t, err)
			if f.Code != test.code || !strings.Contains(f.Error(), test.text) || !strings.Contains(f.Output, test.output) {
				t.Errorf("%s: %v\n%s", f.Code, f, f.Output)
			}
			if test.code != profile.Silent && len(samples) != test.samples {
				t.Errorf("%d samples, want %d", len(samples), test.samples)
			}
			l.clean()
		})
	}
}

// What measures on the board ends with the connection, even if it hangs there,
// and an interrupt leaves nothing.
func TestNothingIsLeftRunning(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil, "PYTHON=hang@3")
	board, err := remote.Dial(t.Context(), l.Host)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	samples := 0
	err = board.Measure(ctx, l.run, func(*profile.Sample) error {
		if samples++; samples == 4 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := board.Close(); err != nil {
		t.Error(err)
	}
	l.clean()
}

// TestPrograms: a program that was built for a board of its kind measures
// there, if it runs there.
func TestPrograms(t *testing.T) {
	const runs = "#!/bin/sh\n[ \"$LD_LIBRARY_PATH\" = . ] && [ -f lib.so ] || exit 1\n[ \"$1\" = version ] && exit\n[ \"$1\" = profile-child ] || exit 1\nexec python3 ./measure.py --events\n"
	for _, test := range []struct {
		name    string
		facts   []string
		folder  string
		program string
		used    bool
		note    string // part of the last one that is not about models
	}{
		{"Raspberry Pi OS, 64 bits", nil, "linux-arm64-gnu", runs, true, "with its own"},
		{"Raspberry Pi OS, 32 bits on a 64-bit kernel", []string{"bits=32"}, "linux-arm64-gnu", runs, false, "none was built for linux-arm-gnu"},
		{"32 bits", []string{"machine=armv7l", "bits=32"}, "linux-arm-gnu", runs, true, "with its own"},
		{"Alpine", []string{"ldd=musl libc (aarch64)"}, "linux-arm64-gnu", runs, false, "none was built for linux-arm64-musl"},
		{"Alpine, built", []string{"ldd=musl libc (aarch64)"}, "linux-arm64-musl", runs, true, "with its own"},
		{"a PC", []string{"machine=x86_64"}, "linux-amd64-gnu", runs, true, "with its own"},
		{"another processor", []string{"machine=riscv64"}, "linux-arm64-gnu", runs, false, "no Linux of a known kind"},
		{"no Linux", []string{"system=Darwin", "machine=arm64", "ldd="}, "linux-arm64-gnu", runs, false, "no Linux of a known kind"},
		{"a newer C library is needed", nil, "linux-arm64-gnu", "#!/bin/sh\nexit 1\n", false, "the one for linux-arm64-gnu does not run there"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, test.facts)
			l.Programs = t.TempDir()
			dir := filepath.Join(l.Programs, test.folder)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			program := strings.Replace(test.program, "exec python3", "printf '' >measure.py; exec python3", 1)
			for name, text := range map[string]string{remote.Program: program, "lib.so": "", ".hidden": ""} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			samples, err := l.once(t.Context())
			if diff := cmp.Diff(whole, outline(samples)); diff != "" || err != nil {
				t.Error(err, diff)
			}
			note := l.notes[len(l.notes)-2]
			if !strings.Contains(note, test.note) || strings.Contains(l.copied(), "measure.py") == test.used {
				t.Errorf("notes %q, copied %q", l.notes, l.copied())
			}
			l.clean()
		})
	}
}

// Scripts are for any POSIX shell; the one that sh is here is used above.
func TestKeptApart(t *testing.T) {
	t.Parallel()
	if !bytes.Contains(remote.Script, []byte("tpuplan/run/v1")) {
		t.Error("the script is another file")
	}
	if _, err := tflite.New("x", remote.Script); err == nil {
		t.Error("the script is a model")
	}
}
