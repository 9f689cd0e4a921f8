//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package run

import (
	"os"
	"os/exec"
)

// There are no process groups to end here, only the compiler itself.

func ownGroup(*exec.Cmd) {}

func terminateGroup(cmd *exec.Cmd) { killGroup(cmd) }

func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

func groupLives(*exec.Cmd) bool { return false }

func lockFolder(string) (unlock func(), err error) { return func() {}, nil }

func lockJournal(string) *os.File { return nil }

// guard starts nothing: here a process that is killed between two moves leaves
// the rest to the next start.
func (*stage) guard(*os.File) (release func()) { return func() {} }
