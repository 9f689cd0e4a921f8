//go:build unix

package main

import (
	"os/signal"
	"syscall"

	"github.com/google/renameio/v2"
)

// ignoreFileSizeSignal makes a file that grows beyond "ulimit -f" an ordinary
// write error, as a full disk is, instead of a crash.
func ignoreFileSizeSignal() { signal.Ignore(syscall.SIGXFSZ) }

// prepare writes data beside path. commit puts it in the place of path in one
// step, discard removes it if that has not happened.
func prepare(path string, data []byte) (commit func() error, discard func(), err error) {
	file, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644), renameio.WithExistingPermissions())
	if err != nil {
		return nil, nil, err
	}
	discard = func() { _ = file.Cleanup() }
	if _, err = file.Write(data); err == nil {
		err = file.Sync()
	}
	if err != nil {
		discard()
		return nil, nil, err
	}
	return file.CloseAtomicallyReplace, discard, nil
}
