//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package process

import (
	"os/exec"
	"syscall"
)

// OwnGroup makes a program that is not yet started the leader of a process
// group, so that whatever it starts can be ended with it, and so that an
// interrupt from the keyboard reaches this process alone, which then decides.
func OwnGroup(cmd *exec.Cmd) { cmd.SysProcAttr = groupAttributes() }

// Terminate asks all processes of the group to end.
func Terminate(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }

// Kill ends what is left of the group, if anything is.
func Kill(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// Lives reports whether a process of the group is left.
func Lives(cmd *exec.Cmd) bool { return syscall.Kill(-cmd.Process.Pid, 0) == nil }
