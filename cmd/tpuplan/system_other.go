//go:build !unix

package main

import "github.com/google/renameio/v2/maybe"

func ignoreFileSizeSignal() {}

// prepare only promises to write: there is no way to replace a file in one
// step on these systems.
func prepare(path string, data []byte) (commit func() error, discard func(), err error) {
	return func() error { return maybe.WriteFile(path, data, 0o644) }, func() {}, nil
}
