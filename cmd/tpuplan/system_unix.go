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

// pending opens a file beside path. commit puts it in the place of path in
// one step, discard removes it if that has not happened.
func pending(path string) (*output, error) {
	file, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644), renameio.WithExistingPermissions())
	if err != nil {
		return nil, err
	}
	return &output{Writer: file, sync: file.Sync, commit: file.CloseAtomicallyReplace, discard: func() { _ = file.Cleanup() }}, nil
}
