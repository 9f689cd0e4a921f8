//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package process

import "os/exec"

// There are no process groups to end here, only the program itself.

// OwnGroup does nothing.
func OwnGroup(*exec.Cmd) {}

// Terminate ends the program.
func Terminate(cmd *exec.Cmd) { Kill(cmd) }

// Kill ends the program.
func Kill(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

// Lives reports nothing.
func Lives(*exec.Cmd) bool { return false }
