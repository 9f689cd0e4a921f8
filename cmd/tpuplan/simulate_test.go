package main

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// Waiting for a trace on standard input ends with the context, and what comes
// before that arrives whole.
func TestInterruptible(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	from, to := io.Pipe()
	in := &interruptible{ctx, from}
	go to.Write([]byte("face\n")) //nolint:errcheck // a pipe in memory
	got := make([]byte, 3)
	n, err := io.ReadFull(in, got)
	if err != nil || string(got[:n]) != "fac" {
		t.Fatalf("got %q, %v", got[:n], err)
	}
	if n, err = in.Read(got); err != nil || string(got[:n]) != "e\n" {
		t.Fatalf("got %q, %v", got[:n], err)
	}
	stop()
	if _, err = in.Read(got); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	broken := errors.New("broken")
	if _, err := (&interruptible{t.Context(), iotest.ErrReader(broken)}).Read(got); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
