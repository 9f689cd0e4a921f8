//go:build unix

package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// soon waits until a condition holds.
func soon(condition func() bool) bool {
	for deadline := time.Now().Add(20 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(5 * time.Millisecond) // there is nothing to wait for but the file system and the process table
	}
	return true
}

// signalWhen SIGNAL FILE COMMAND... runs a command, sends it INT, TERM or KILL
// as soon as the file exists, and exits as it did, with 137 if it was killed.
func signalWhen() {
	signals := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "KILL": os.Kill}
	cmd := exec.Command(os.Args[3], os.Args[4:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		os.Exit(99)
	}
	soon(func() bool {
		_, err := os.Stat(os.Args[2])
		return err == nil
	})
	cmd.Process.Signal(signals[os.Args[1]]) //nolint:errcheck // it may have ended
	cmd.Wait()                              //nolint:errcheck // the exit code tells
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		os.Exit(code)
	}
	os.Exit(137)
}

// gone FILE checks that no process runs whose id is in the file.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone FILE")
	}
	for _, word := range strings.Fields(ts.ReadFile(args[0])) {
		pid, err := strconv.Atoi(word)
		ts.Check(err)
		if !soon(func() bool { return !running(pid) }) {
			ts.Fatalf("process %d is still running", pid)
		}
	}
}

// running reports whether a process does anything; one that only waits for its
// parent to ask how it ended does not.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return !os.IsNotExist(err)
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func TestRunning(t *testing.T) {
	if !running(os.Getpid()) {
		t.Error("this process is said not to run")
	}
}
