package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// screen is what a terminal of one line shows of what was written to it.
func screen(t *testing.T, written string, width int) string {
	t.Helper()
	line, at := []rune(strings.Repeat(" ", width)), 0
	for _, r := range written {
		if r == '\r' {
			at = 0
			continue
		}
		if r == '\n' || at == width-1 {
			t.Fatalf("%q leaves the line of %d columns", written, width)
		}
		line[at] = r
		at++
	}
	return strings.TrimRight(string(line), " ")
}

func TestWatch(t *testing.T) {
	var b bytes.Buffer
	w := newWatch(&b, "plan.toml: how firm is it?", 80)
	w.assumptions(0, 21)
	w.assumptions(3, 21)
	if b.Len() > 0 {
		t.Errorf("work that does not last shows %q", b.String())
	}
	w.show()
	if got := screen(t, b.String(), 80); got != "plan.toml: how firm is it? 3 of 21 assumptions" {
		t.Error(got)
	}
	w.assumptions(12, 21)
	if got := screen(t, b.String(), 80); got != "plan.toml: how firm is it? 12 of 21 assumptions" {
		t.Error(got)
	}
	w.assumptions(2, 3) // a shorter line leaves nothing of a longer one
	if got := screen(t, b.String(), 80); got != "plan.toml: how firm is it? 2 of 3 assumptions" {
		t.Error(got)
	}
	w.end()
	if got := screen(t, b.String(), 80); got != "" || !strings.HasSuffix(b.String(), "\r") {
		t.Errorf("%q is left, after %q", got, b.String())
	}
	over := b.Len()
	w.assumptions(3, 3)
	w.show()
	if b.Len() != over {
		t.Errorf("after its end it shows %q", b.String()[over:])
	}
}

// What is wider than the terminal would be wrapped and could not be overwritten; what
// comes from a path steers no terminal; what never lasted writes nothing.
func TestWatchOnNarrowTerminals(t *testing.T) {
	var b bytes.Buffer
	w := newWatch(&b, "a/rather/long/\x1b[2Jpath/plan.toml: how firm is it?", 40)
	w.show()
	w.assumptions(12, 21)
	if got := screen(t, b.String(), 40); got != "oml: how firm is it? 12 of 21 assumptions"[2:] {
		t.Error(got)
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Errorf("%q", b.String())
	}
	b.Reset()
	w = newWatch(&b, "plan.toml:", 40)
	w.assumptions(12, 21)
	w.end()
	if b.Len() > 0 {
		t.Errorf("%q", b.String())
	}
}

// Off a terminal there is no progress.
func TestWatchOffTerminals(t *testing.T) {
	pipe, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer other.Close()
	for _, u := range []*ui{{err: &bytes.Buffer{}}, {err: other}} {
		u.getenv = func(string) string { return "" }
		w := u.watch("plan.toml:")
		if w != nil {
			t.Errorf("%T is watched", u.err)
		}
		w.assumptions(1, 2)
		w.end()
	}
}
