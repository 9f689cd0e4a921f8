//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package run

import "os/exec"

// There are no process groups to end here, only the compiler itself.

func ownGroup(*exec.Cmd) {}

func terminateGroup(cmd *exec.Cmd) { killGroup(cmd) }

func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

func lockFolder(string) (unlock func(), err error) { return func() {}, nil }
