// Package fuzztest holds what fuzz targets check of every reader of untrusted files.
package fuzztest

import (
	"runtime"
	"testing"
)

// What a reader may allocate, in all, for n bytes of input: [PerByte] times n
// and [Floor] bytes.
const (
	PerByte = 2
	Floor   = 1 << 20
)

// attempts is how often something has to allocate too much before that is a
// finding: other goroutines of the test program allocate at times as well.
const attempts = 3

// Bounded runs read, which reads n bytes of input, and fails the test if it
// allocates more than it may. It runs read again if that seems so.
func Bounded(t testing.TB, n int, read func()) {
	t.Helper()
	limit := PerByte*uint64(n) + Floor
	least := ^uint64(0)
	for range attempts {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		read()
		runtime.ReadMemStats(&after)
		if least = min(least, after.TotalAlloc-before.TotalAlloc); least <= limit {
			return
		}
	}
	t.Errorf("%d bytes of input make it allocate %d bytes, at most %d are allowed", n, least, limit)
}
