package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/internal/process"
)

const (
	// grace is how long a compiler that is told to stop may take: a container
	// tool has to stop its container.
	grace = 2 * time.Second
	// commandNotFound is what shells, env and container tools exit with.
	commandNotFound = 127
	// tailLines of the compiler's output are shown when a group fails, or as
	// many of them as fit into tailBytes.
	tailLines = 20
	tailBytes = 8 << 10
	// maxOutput is more than any log has. A compiler that prints more is
	// stopped before it fills the disk; logWatch says how often that is looked at.
	maxOutput = 16 << 20
	logWatch  = 250 * time.Millisecond
	// lingering is how long a call waits for the end of processes that it has killed.
	lingering = time.Second
	// plainWords is what words and the blanks between them may consist of if
	// no shell is needed to read them.
	plainWords = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./- \t"
)

// ending is how a compiler call ended.
type ending struct {
	status string // "exit status 1", "" for success
	code   int    // exit code, -1 if a signal ended it
	output []byte // the whole log, within reason
}

// broken reports an internal compiler error, which 14.1 and 15.0 have now and then.
func (e *ending) broken() bool { return bytes.Contains(e.output, []byte("Internal compiler error")) }

// tail is the end of the output, for messages.
func (e *ending) tail() string {
	text := bytes.TrimRight(e.output, "\n")
	cut := len(text) > tailBytes
	if cut {
		text = text[len(text)-tailBytes:]
	}
	lines := strings.Split(strings.ToValidUTF8(string(text), "?"), "\n")
	if cut && len(lines) > 1 { // the first one is not whole
		lines = lines[1:]
	}
	return strings.TrimSpace(strings.Join(lines[max(0, len(lines)-tailLines):], "\n"))
}

// execute runs the compiler once and waits until nothing of it is left.
func (w *work) execute(ctx context.Context, call *compile.Invocation) (*ending, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name := w.logFile(call)
	// The compiler gets the file itself, not a pipe: a process that it left
	// behind could keep a pipe open.
	log, err := os.Create(w.path(name))
	if err != nil {
		return nil, w.fail(err, "", "%s: %v", name, bare(err))
	}
	defer log.Close() //nolint:errcheck // it was written by another process
	argv := call.Argv()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = w.Dir, log, log
	process.OwnGroup(cmd)
	if err := cmd.Start(); err != nil {
		os.Remove(log.Name()) //nolint:errcheck // an empty log
		return nil, w.notStarted(argv[0], err)
	}
	waited := make(chan error, 1)
	go func() { waited <- cmd.Wait() }()
	stopped, err := w.await(ctx, cmd, waited, name)
	// Whether it ended or was ended: nothing that it started may go on, least
	// of all write to files that are moved into place.
	process.Kill(cmd)
	for gone := time.Now().Add(lingering); process.Lives(cmd) && time.Now().Before(gone); {
		time.Sleep(time.Millisecond)
	}
	if stopped != nil {
		if e := (*Error)(nil); errors.As(stopped, &e) {
			end, _ := readEnding(log.Name(), nil)
			e.Output = end.tail()
		}
		return nil, stopped
	}
	end, err := readEnding(log.Name(), err)
	if err != nil {
		return nil, w.fail(err, "", "%s: %v", name, bare(err))
	}
	if len(end.output) > maxOutput {
		e := w.tooMuch(name)
		e.Output = end.tail()
		return nil, e
	}
	return end, nil
}

// await waits until the compiler has ended and returns how. What it may not do
// any longer, or this program, is the other error; the compiler was stopped then.
func (w *work) await(ctx context.Context, cmd *exec.Cmd, waited <-chan error, name string) (stopped, err error) {
	var expired <-chan time.Time
	if w.Timeout > 0 {
		timer := time.NewTimer(w.Timeout)
		defer timer.Stop()
		expired = timer.C
	}
	watch := time.NewTicker(logWatch)
	defer watch.Stop()
	for {
		select {
		case err := <-waited:
			return nil, err
		case <-ctx.Done():
			stop(cmd, waited)
			return ctx.Err(), nil
		case <-expired:
			stop(cmd, waited)
			return w.fail(context.DeadlineExceeded, "give it more with --timeout; a model that takes for ever has large activations as a rule", "the compiler did not finish within %v and was stopped, its output is in %s", w.Timeout, name), nil
		case <-watch.C:
			if info, err := os.Stat(w.path(name)); err == nil && info.Size() > maxOutput {
				stop(cmd, waited)
				return w.tooMuch(name), nil
			}
		}
	}
}

// tooMuch is the error of a program that prints more than a compiler does.
func (w *work) tooMuch(name string) *Error {
	return w.fail(nil, "is it edgetpu_compiler that the plan's command or EDGETPU_COMPILER starts?", "the compiler printed more than %s, its output is in %s", report.FormatSize(maxOutput), name)
}

// stop ends the compiler and everything that it started.
func stop(cmd *exec.Cmd, waited <-chan error) {
	process.Terminate(cmd)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-waited:
		process.Kill(cmd)
	case <-timer.C:
		process.Kill(cmd)
		<-waited
	}
}

func (w *work) notStarted(command string, err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return w.fail(err, missingHint, "the compiler %q was not found", command)
	}
	if e := (*exec.Error)(nil); errors.As(err, &e) {
		err = e.Err
	}
	return w.fail(err, missingHint, "the compiler %q cannot be started: %v", command, bare(err))
}

const missingHint = "install it or set EDGETPU_COMPILER, several words if need be (docker run ... edgetpu_compiler)"

// readEnding reads the log of a call that ended with err.
func readEnding(log string, err error) (*ending, error) {
	end := &ending{}
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		end.status, end.code = e.String(), e.ExitCode()
	} else if err != nil {
		end.status, end.code = err.Error(), -1
	}
	f, err := os.Open(log)
	if err != nil {
		return end, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	end.output, err = io.ReadAll(io.LimitReader(f, maxOutput+1))
	return end, err
}

// judge tells from status and output whether the compiler did what it was
// told, and keeps what it printed.
func (w *work) judge(call *compile.Invocation, end *ending) error {
	name := w.logFile(call)
	failed := func(hint, format string, args ...any) error {
		e := w.fail(nil, hint, format, args...)
		e.What += ", its output is in " + name
		e.Output = end.tail()
		return e
	}
	var printed *report.Report
	if reports, err := report.Parse(name, bytes.NewReader(end.output)); err == nil {
		printed = &reports[len(reports)-1]
	} else if end.status == "" {
		w.Warnings = append(w.Warnings, fmt.Sprintf("group %q: %v", w.Group.Group, err))
	}
	if call == &w.Group.Invocation {
		w.Report = printed
	}
	if end.code == commandNotFound {
		return failed(missingHint, "the compiler was not found (%s)", end.status)
	}
	if end.broken() {
		return failed("it came twice: compile once more, or try the models one by one", "internal compiler error")
	}
	var failure *report.Failure
	model := ""
	if printed != nil {
		failure = printed.Failure
		for i := range printed.Models {
			m := &printed.Models[i]
			f := m.Failure
			if f == nil && m.Subgraphs == 0 {
				f = &report.Failure{Kind: report.ZeroSubgraphs}
			}
			if f != nil && (failure == nil || failure.Kind == f.Kind || f.Kind == "") {
				if failure == nil {
					failure = f
				}
				model = fmt.Sprintf("model %q: ", m.Input)
				break
			}
		}
	}
	switch {
	case failure != nil && failure.Kind == report.Cut && end.status == "":
		w.Warnings = append(w.Warnings, fmt.Sprintf("group %q: the compiler's output in %s ends before the result", w.Group.Group, name))
	case failure != nil && failure.Kind == report.ZeroSubgraphs:
		return failed("tpuplan inspect MODEL says why", "%snothing of it would run on the Edge TPU", model)
	case failure != nil && failure.Kind != report.Cut:
		return failed(failureHints[failure.Kind], "%sthe compiler failed: %s", model, strings.TrimSuffix(failure.Text, "."))
	case end.status != "":
		return failed("", "the compiler failed (%s)", end.status)
	}
	return nil
}

// failureHints say what helps against a kind of failure.
var failureHints = map[string]string{
	report.NotQuantized:         "convert the model with full integer quantization",
	report.NotParsed:            "is it a TensorFlow Lite model that this release of the compiler can read?",
	report.UnsupportedOpVersion: "use a newer compiler, or convert the model with an older TensorFlow",
	report.Timeout:              "give the compiler more time with -t in the plan's flags",
	report.Crashed:              "compile once more, or try the models one by one",
	report.Usage:                "it did not understand its command line: look at the plan's command and flags",
}

// Words splits a text into the words that a POSIX shell makes of it in a
// folder, with variables and all: what build files do with EDGETPU_COMPILER.
// Plain words need no shell to tell them apart.
func Words(ctx context.Context, dir, text string) ([]string, error) {
	if strings.Trim(text, plainWords) == "" {
		return strings.Fields(text), nil
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", `eval "set -- $1"; for word do printf "%s\0" "$word"; done`, "sh", text)
	cmd.Dir = dir
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if line, _, _ := strings.Cut(strings.TrimSpace(problem.String()), "\n"); line != "" {
			return nil, fmt.Errorf("no words that a shell can read: %s", line)
		}
		return nil, fmt.Errorf("no words that a shell can read: %w", err)
	}
	words := strings.Split(string(out), "\x00")
	return words[:len(words)-1], nil
}
