//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package run

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

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

// lockJournal opens a journal and waits until no other process does what it
// says. Closing it unlocks it. It is nil if the file system has no locks.
func lockJournal(path string) *os.File {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	for err = syscall.EINTR; errors.Is(err, syscall.EINTR); {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	return f
}

// guard starts a process that does what is left of forward if this one is
// killed before release is called. It has a session of its own, so that what is sent to
// the whole group of processes does not reach it, and shares the lock of the
// journal, so that the next start waits for it. Without a shell there is no guard.
func (s *stage) guard(lock *os.File) (release func()) {
	alive, wait, err := os.Pipe()
	if err != nil {
		return func() {}
	}
	cmd := exec.Command("sh", "-c", forwardScript, "tpuplan", s.out, s.temp)
	for _, o := range s.outputs {
		cmd.Args = append(cmd.Args, o.Name)
	}
	cmd.Stdin = alive
	if lock != nil {
		cmd.ExtraFiles = []*os.File{lock}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	alive.Close() //nolint:errcheck // it is the guard's
	return func() {
		wait.Write([]byte("done\n")) //nolint:errcheck // the guard may have been ended
		wait.Close()                 //nolint:errcheck // likewise
		if err == nil {
			cmd.Wait() //nolint:errcheck // likewise
		}
	}
}
