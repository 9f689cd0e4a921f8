package fuzztest

import (
	"strings"
	"testing"
)

// note stands in for a test that may fail.
type note struct {
	testing.TB
	failed bool
}

func (*note) Helper()                 {}
func (n *note) Errorf(string, ...any) { n.failed = true }

var sink string

func TestBounded(t *testing.T) {
	const n = 1000
	for _, test := range []struct {
		name  string
		bytes []int // what each call allocates
		fails bool
	}{
		{"little", []int{100}, false},
		{"the limit", []int{PerByte*n + Floor - 64<<10}, false},
		{"too much", []int{2 * Floor, 2 * Floor, 2 * Floor}, true},
		{"too much by chance", []int{2 * Floor, 2 * Floor, 100}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			calls, got := 0, &note{TB: t}
			Bounded(got, n, func() {
				sink = strings.Repeat("x", test.bytes[calls])
				calls++
			})
			if got.failed != test.fails || calls != len(test.bytes) {
				t.Errorf("failed %v after %d calls, want %v after %d", got.failed, calls, test.fails, len(test.bytes))
			}
		})
	}
}
