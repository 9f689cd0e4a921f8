//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package run

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// ownGroup makes the compiler the leader of a process group, so that whatever
// it starts can be ended with it, and so that an interrupt from the keyboard
// reaches this process alone, which then decides.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = groupAttributes() }

// terminateGroup asks all processes of the group to end.
func terminateGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }

// killGroup ends what is left of the group, if anything is.
func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// lockFolder keeps a second run out of an output folder. The lock ends with
// this process, however it ends.
func lockFolder(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, bare(err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close() //nolint:errcheck // it was only locked
		return nil, errors.New("another tpuplan compile is at work in it")
	}
	// Some network file systems have no locks; a lock is a safeguard, no need.
	return func() { f.Close() }, nil //nolint:errcheck // likewise
}
