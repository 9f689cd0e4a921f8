package remote

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	shell "github.com/tpuplan/tpuplan/compile/emit"
	"github.com/tpuplan/tpuplan/internal/process"
	"github.com/tpuplan/tpuplan/profile"
)

//go:embed session.sh
var sessionScript string

const (
	// answerDeadline is how long a board may take to answer a question: it may
	// hash its models for it.
	answerDeadline = 60 * time.Second
	// closeDeadline is how long removing the private folder may take.
	closeDeadline = 10 * time.Second
	// answerPrefix begins the lines of session.sh.
	answerPrefix = "tpuplan-session "
)

// options of ssh and scp. Nobody is asked for a password, and a connection that
// is dead is noticed.
var options = []string{"-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"}

// ssh is the command that runs a line in a host's shell.
func (h *Host) ssh(line string) []string {
	return slices.Concat(h.SSH, []string{"-T"}, options, []string{"--", h.Name, line})
}

// session is session.sh at work on a host. As long as it lasts, so does the
// private folder.
type session struct {
	host   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan string // its answers; closed when it has no more
	stderr process.Tail
	ended  chan error // what became of ssh

	facts          map[string]string
	folder, models string
}

// startSession reaches a host. The host is asked for what it is.
func startSession(ctx context.Context, h *Host) (*session, error) {
	words := h.ssh("exec sh -s")
	s := &session{host: h.Name, cmd: exec.Command(words[0], words[1:]...), lines: make(chan string), ended: make(chan error, 1), facts: map[string]string{}}
	process.OwnGroup(s.cmd)
	var err error
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.WaitDelay = out, &s.stderr, time.Second
	err = s.cmd.Start()
	out.Close() //nolint:errcheck // ssh has its own
	if err != nil {
		stdout.Close() //nolint:errcheck // nothing was read
		return nil, notStarted(words[0], err)
	}
	go func() {
		defer stdout.Close() //nolint:errcheck // it was only read
		defer close(s.lines)
		for r := bufio.NewScanner(stdout); r.Scan(); {
			if text, ok := strings.CutPrefix(r.Text(), answerPrefix); ok {
				s.lines <- strings.TrimSpace(text)
			} else {
				s.lines <- "greeting " + strings.TrimSpace(r.Text())
			}
		}
	}()
	go func() {
		s.ended <- s.cmd.Wait()
		process.Kill(s.cmd) // what ssh left behind
	}()
	answer, err := s.ask(ctx, "python="+shell.Quote(h.Python)+"\n"+sessionScript)
	if err != nil {
		process.Kill(s.cmd) // a board that was reached learns of it from the end of its input
		s.close()           //nolint:errcheck // the first error counts
		return nil, err
	}
	for key, values := range answer {
		s.facts[key] = strings.Join(values, " ")
	}
	s.folder, s.models = s.facts["folder"], s.facts["models"]
	if !strings.HasPrefix(s.folder, "/") || s.models == "" {
		s.close() //nolint:errcheck // the first error counts
		return nil, &profile.Failure{Code: profile.Unreachable, Text: h.Name + ": it has no private folder", Output: s.stderr.Text()}
	}
	return s, nil
}

func notStarted(program string, err error) error {
	return &profile.Failure{
		Code: profile.NotAvailable, Text: fmt.Sprintf("%s cannot be started: %v", program, err),
		Hint: "install OpenSSH's client, or name other commands with TPUPLAN_SSH and TPUPLAN_SCP",
	}
}

// ask sends something and collects the answers, until the board is ready for more.
func (s *session) ask(ctx context.Context, text string) (answer map[string][]string, err error) {
	go io.WriteString(s.stdin, text+"\n") //nolint:errcheck // that it ended is noticed
	timer := time.NewTimer(answerDeadline)
	defer timer.Stop()
	answer = map[string][]string{}
	for {
		select {
		case line, more := <-s.lines:
			key, value, _ := strings.Cut(line, " ")
			switch {
			case !more:
				return nil, s.lost()
			case key == "greeting": // neither scp nor the samples would get past it
				return nil, &profile.Failure{
					Code: profile.Unreachable, Text: fmt.Sprintf("%s: its shell prints %q to programs", s.host, value),
					Hint: "ssh " + s.host + " true has to print nothing: let ~/.bashrc there greet terminals only, [ -t 1 ]",
				}
			case key == "ready" && answer["failed"] == nil:
				return answer, nil
			case key == "ready" || key == "failed" && len(answer) == 0 && s.folder == "":
				text := strings.Join(append(answer["failed"], value), "")
				return nil, &profile.Failure{Code: profile.Unreachable, Text: s.host + ": " + text, Output: s.stderr.Text()}
			}
			answer[key] = append(answer[key], value)
		case <-timer.C:
			return nil, &profile.Failure{Code: profile.Unreachable, Text: fmt.Sprintf("%s does not answer within %v", s.host, answerDeadline), Output: s.stderr.Text()}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// lost says why ssh has ended.
func (s *session) lost() error {
	err := <-s.ended
	s.ended <- err
	said := s.stderr.Text()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 255 || isConnection(said) {
		return unreachable(s.host, said)
	}
	return &profile.Failure{
		Code: profile.Unreachable, Text: fmt.Sprintf("%s: its shell does not do what a POSIX shell does: %s", s.host, lastLine(said)),
		Hint: "ssh " + s.host + " true has to work and to print nothing", Output: said,
	}
}

// close ends the session. The host removes the private folder.
func (s *session) close() error {
	s.stdin.Close() //nolint:errcheck // that it ended is what is wanted
	go func() {
		for range s.lines { // so that nothing is held up
		}
	}()
	select {
	case err := <-s.ended:
		s.ended <- err
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			return unreachable(s.host, s.stderr.Text())
		}
		return nil
	case <-time.After(closeDeadline):
		process.Kill(s.cmd)
		return &profile.Failure{Code: profile.Unreachable, Text: fmt.Sprintf("%s does not answer, so its folder %s may be left", s.host, s.folder)}
	}
}

// runCommand runs a command to its end and returns its exit code and the end of what it said.
func runCommand(ctx context.Context, words []string) (exit int, said string, err error) {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	var output process.Tail
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &output, &output, time.Second
	process.OwnGroup(cmd)
	cmd.Cancel = func() error { process.Kill(cmd); return nil }
	err = cmd.Run()
	var failed *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, "", ctx.Err()
	case errors.As(err, &failed):
		return failed.ExitCode(), output.Text(), nil
	case err != nil:
		return 0, "", notStarted(words[0], err)
	}
	return 0, output.Text(), nil
}

// reasons are what OpenSSH says when it fails, and what to do about it. NAME
// stands for the host.
var reasons = []struct{ words, hint string }{
	{"REMOTE HOST IDENTIFICATION HAS CHANGED", "NAME has another key than before: if it was set up anew, forget the old one with ssh-keygen -R"},
	{"Host key verification failed", "connect once by hand, ssh NAME, and compare the key that it shows with the board's"},
	{"Permission denied", "tpuplan asks for no password: copy your key there with ssh-copy-id NAME, or load it with ssh-add"},
	{"Too many authentication failures", "name the key in ~/.ssh/config: IdentityFile, with IdentitiesOnly yes"},
	{"Could not resolve hostname", "is the name right? ~/.ssh/config can give a board a short one"},
	{"Connection refused", "no ssh server runs there, or at another port: ~/.ssh/config has Port"},
	{"No route to host", "is the board on, and in this network?"},
	{"Network is unreachable", "is this machine in the board's network?"},
	{"timed out", "is the board on, and in this network?"},
	{"Timeout, server", "the board stopped answering"},
	{"Connection closed", "the board ended the connection"},
	{"Connection reset", "the board ended the connection"},
	{"Broken pipe", "the connection broke"},
	{"lost connection", "the connection broke"},
}

func isConnection(said string) bool {
	return slices.ContainsFunc(reasons, func(r struct{ words, hint string }) bool { return strings.Contains(said, r.words) })
}

// unreachable is a failure of ssh itself.
func unreachable(host, said string) error {
	f := &profile.Failure{Code: profile.Unreachable, Text: fmt.Sprintf("%s cannot be reached: %s", host, lastLine(said)), Output: said}
	for _, r := range reasons {
		if strings.Contains(said, r.words) {
			f.Hint = strings.ReplaceAll(r.hint, "NAME", host)
			break
		}
	}
	return f
}

// lastLine is the last line of a text in which somebody speaks.
func lastLine(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return last
	}
	return "ssh gives no reason"
}
