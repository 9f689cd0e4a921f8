package device

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/tpuplan/tpuplan/internal/process"
	"github.com/tpuplan/tpuplan/profile"
)

// ChildCommand is the argument with which [Local] starts this program anew; a
// program that uses it calls [Serve] then.
const ChildCommand = "profile-child"

const (
	// openDeadline is how long the child may take to start, to open the device
	// and to close it: libedgetpu itself gives up on opening after 25 s.
	openDeadline = 40 * time.Second
	// grace is how long what an ended child has printed is waited for.
	grace = 2 * time.Second
)

// HostName is what this machine calls itself, "" if it does not know.
func HostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

// Local measures on a device of this machine, in a child process.
type Local struct {
	Command []string // words that start the child; none: this program with ChildCommand
	Dir     string   // the folder of the runs; "" is the current one
	Env     []string // variables of the child besides this process's own, NAME=VALUE
	// OpenDeadline replaces the time that opening the device may take.
	OpenDeadline time.Duration
	// HoldStdin keeps the child's stdin open behind the run, until the child
	// ends: when it is closed, nobody listens any more.
	HoldStdin bool
	// Ended explains an exit code of the child, nil if it cannot.
	Ended func(exit int) *profile.Failure
}

// Measure implements [profile.Measurer]. When it returns, nothing of the child
// is running any more.
func (l *Local) Measure(ctx context.Context, run *profile.Run, emit func(*profile.Sample) error) error {
	if err := errors.Join(run.Check(), ctx.Err()); err != nil {
		return err
	}
	cmd, input, err := l.command(run)
	if err != nil {
		return err
	}
	w := &watch{run: run, emit: emit, open: l.OpenDeadline, ended: l.Ended, now: profile.Event{Action: profile.Opening}}
	if w.open == 0 {
		w.open = openDeadline
	}
	if l.HoldStdin {
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		go stdin.Write(input) //nolint:errcheck // a child that does not read ends, which is noticed
	} else {
		cmd.Stdin = bytes.NewReader(input)
	}
	return w.over(ctx, cmd)
}

// command is the child that does a run, and what it is to read.
func (l *Local) command(run *profile.Run) (cmd *exec.Cmd, input []byte, err error) {
	input, err = json.Marshal(run)
	if err != nil {
		return nil, nil, err
	}
	words := l.Command
	if len(words) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, nil, &profile.Failure{Code: profile.NotAvailable, Text: fmt.Sprintf("this program cannot start itself: %v", err)}
		}
		words = []string{self, ChildCommand}
	}
	cmd = exec.Command(words[0], words[1:]...)
	if len(l.Command) == 0 {
		cmd.Args[0] = os.Args[0]
	}
	cmd.Dir, cmd.Env = l.Dir, append(os.Environ(), l.Env...)
	process.OwnGroup(cmd)
	return cmd, input, nil
}

// watch is a run as the parent sees it.
type watch struct {
	run     *profile.Run
	emit    func(*profile.Sample) error
	open    time.Duration
	now     profile.Event // what the child does
	failure *profile.Failure
	cut     bool // it was ended within a line
	stderr  process.Tail
	ended   func(exit int) *profile.Failure
}

// line is what the child printed, or why its lines cannot be read.
type line struct {
	sample *profile.Sample
	event  *profile.Event
	err    error
}

// Why the parent ends the child.
var (
	errSilent = errors.New("the deadline has passed")
	errDone   = errors.New("the run is complete")
)

// refused is an error of emit.
type refused struct{ error }

func (w *watch) over(ctx context.Context, cmd *exec.Cmd) error {
	stdout, childsOut, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdout.Close() //nolint:errcheck // it was only read
	stderr, childsErr, err := os.Pipe()
	if err != nil {
		childsOut.Close() //nolint:errcheck // nothing was written
		return err
	}
	defer stderr.Close() //nolint:errcheck // it was only read
	cmd.Stdout, cmd.Stderr = childsOut, childsErr
	err = cmd.Start()
	childsOut.Close() //nolint:errcheck // the child has its own
	childsErr.Close() //nolint:errcheck // likewise
	if err != nil {
		return &profile.Failure{Code: profile.NotAvailable, Text: fmt.Sprintf("the measuring process cannot be started: %v", err)}
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		process.Kill(cmd) // what it left behind, which may hold the pipes
		for _, pipe := range []*os.File{stdout, stderr} {
			pipe.SetReadDeadline(time.Now().Add(grace)) //nolint:errcheck // pipes have deadlines
		}
		ended <- err
	}()
	said := make(chan struct{})
	go func() {
		defer close(said)
		io.Copy(&w.stderr, stderr) //nolint:errcheck // it is for messages only
	}()
	lines := make(chan line)
	go func() {
		defer close(lines)
		cut, err := profile.ReadLines("the measuring process", stdout,
			func(s *profile.Sample) error { lines <- line{sample: s}; return nil },
			func(e *profile.Event) error { lines <- line{event: e}; return nil })
		w.cut = cut
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			lines <- line{err: err}
		}
	}()
	stopped := w.follow(ctx, lines)
	if stopped == nil { // a program that closes its stdout ends next, and how it does tells more than a kill
		select {
		case err := <-ended:
			ended <- err
		case <-time.After(grace):
		}
	}
	process.Kill(cmd)
	for n := range lines { // what was printed before still counts
		if _, is := stopped.(refused); n.sample != nil && !is {
			if err := w.emit(n.sample); err != nil {
				stopped = refused{err}
			}
		}
	}
	<-said
	return w.verdict(stopped, <-ended)
}

// follow passes samples on until the child has nothing more to say. The error
// says why it should be ended before.
func (w *watch) follow(ctx context.Context, lines <-chan line) error {
	timer := time.NewTimer(w.deadline())
	defer timer.Stop()
	for {
		select {
		case n, more := <-lines:
			if !more {
				return nil
			}
			if err := w.take(n); err != nil {
				return err
			}
			timer.Reset(w.deadline())
		case <-timer.C:
			return errSilent
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *watch) take(n line) error {
	switch {
	case n.err != nil:
		return n.err
	case n.sample != nil:
		if err := w.emit(n.sample); err != nil {
			return refused{err}
		}
	case n.event.Failure != nil:
		w.failure = n.event.Failure
	default:
		if w.now = *n.event; w.now.Action == profile.Done {
			return errDone
		}
	}
	return nil
}

// deadline is how long what the child does now may take.
func (w *watch) deadline() time.Duration {
	switch w.now.Action {
	case profile.Creating, profile.Testing, profile.Calling:
		return time.Duration(w.run.DeadlineMS * float64(time.Millisecond))
	}
	return w.open
}

// verdict is the error of the run, if any.
func (w *watch) verdict(stopped, ended error) error {
	fail := func(code profile.Code, hint, format string, args ...any) error {
		text := fmt.Sprintf(format, args...)
		if w.cut {
			text += " in the middle of a line, which is dropped"
		}
		return &profile.Failure{Code: code, Text: text, Hint: hint, Model: w.now.Model, Output: w.stderr.Text()}
	}
	if r, is := stopped.(refused); is {
		return r.error
	}
	exit := (*exec.ExitError)(nil)
	switch {
	case stopped == errDone: //nolint:errorlint // it is ours
		return nil
	case w.failure != nil:
		w.failure.Output = w.stderr.Text()
		return w.failure
	case stopped == errSilent: //nolint:errorlint // it is ours
		return fail(profile.Silent, silentHint, "%s did not end within %v", w.doing(), w.deadline())
	case errors.Is(stopped, context.Canceled), errors.Is(stopped, context.DeadlineExceeded):
		return stopped
	case stopped != nil:
		return fail(profile.Broken, "", "%v", stopped)
	case errors.As(ended, &exit) && w.explained(exit) != nil:
		f := w.explained(exit)
		return fail(f.Code, f.Hint, "%s: %s", w.doing(), f.Text)
	case errors.As(ended, &exit) && signaled(exit):
		return fail(profile.Aborted, AbortedHint, "%s: the measuring process was ended by %s", w.doing(), exit)
	case ended != nil:
		return fail(profile.Broken, "", "%s: the measuring process ended: %v", w.doing(), ended)
	}
	return fail(profile.Broken, "", "%s: the measuring process ended before the run was complete", w.doing())
}

const (
	silentHint = "the device is silent: unplug it and plug it in again; a call that needs more time gets it with --deadline"
	// AbortedHint is what to do when the library has ended the child.
	AbortedHint = "libedgetpu ends the process when the connection to the device fails: look at cable, hub and power supply"
)

// explained is what the one who started the child says of its exit code.
func (w *watch) explained(exit *exec.ExitError) *profile.Failure {
	if w.ended == nil {
		return nil
	}
	return w.ended(exit.ExitCode())
}

func signaled(exit *exec.ExitError) bool {
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled()
}

// doing names what the child does, for messages.
func (w *watch) doing() string {
	switch w.now.Action {
	case profile.Creating:
		return "creating the interpreter"
	case profile.Testing:
		return "the self-test"
	case profile.Calling:
		return fmt.Sprintf("call %d", w.now.Call)
	case profile.Closing:
		return "closing the device"
	}
	return "opening the device"
}
