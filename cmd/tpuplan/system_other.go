//go:build !unix

package main

import (
	"errors"
	"os"
	"path/filepath"
)

func ignoreFileSizeSignal() {}

// pending opens a file beside path, which takes the place of path when it is
// complete. That takes more than one step on these systems.
func pending(path string) (*output, error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path))
	if err != nil {
		return nil, err
	}
	discard := func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
	}
	commit := func() error { return errors.Join(file.Close(), os.Rename(file.Name(), path)) }
	return &output{Writer: file, sync: file.Sync, commit: commit, discard: discard}, nil
}
