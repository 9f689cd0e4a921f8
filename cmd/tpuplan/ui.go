package main

// Every word on the terminal that is not a result goes through this file.
// The rules:
//
//   - A result goes to stdout, whole, in one write, after the work is done.
//     Everything else goes to stderr.
//   - Messages begin with the program and their kind: "tpuplan: error: ...",
//     "tpuplan: warning: ...", "tpuplan: hint: ...", "tpuplan: note: ...";
//     lower case, no period at the end.
//   - A problem in a file begins with its position instead, "plan.toml:12:9:
//     ...", so that editors and make can jump to it. On a terminal the line
//     and a caret follow.
//   - Commands that write files say nothing about it unless -v is given.
//     -q silences warnings, hints and notes, never errors.
//   - Colour only supports; nothing depends on it. It is used on a terminal,
//     unless NO_COLOR is set or TERM is dumb; FORCE_COLOR turns it on
//     elsewhere, and --color has the last word.
//   - What comes from a file and would steer a terminal is shown as "?".
//   - No prompts, and no progress off a terminal: there it is one line, shown
//     when work lasts and gone when it ends.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/internal/columns"
	"github.com/tpuplan/tpuplan/plans"
)

// ui is the terminal as one run of the program sees it.
type ui struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string

	quiet, verbose bool
	color          string // auto, always or never
	warned         map[string]bool
}

// Paints of message kinds (ANSI select graphic rendition).
const (
	paintError   = "1;31"
	paintWarning = "1;33"
	paintHint    = "36"
	paintNote    = "2"
)

// colored says whether text for w may be coloured.
func (u *ui) colored(w io.Writer) bool {
	switch {
	case u.color == "always":
		return true
	case u.color == "never", u.getenv("NO_COLOR") != "", u.getenv("TERM") == "dumb":
		return false
	case u.getenv("FORCE_COLOR") != "":
		return true
	}
	return isTerminal(w)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// style is how results look on stdout: 80 columns unless a terminal says otherwise.
func (u *ui) style() view.Style {
	s := view.Style{Width: 80, Color: u.colored(u.out)}
	if f, ok := u.out.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width >= 40 {
			s.Width = width
		}
	}
	return s
}

// message writes one line of a kind to stderr.
func (u *ui) message(paint, kind, text string) {
	if u.colored(u.err) {
		kind = "\x1b[" + paint + "m" + kind + "\x1b[0m"
	}
	fmt.Fprintf(u.err, "tpuplan: %s: %s\n", kind, visible(text))
}

// visible is view.Visible for messages, which may have several lines.
func visible(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = view.Visible(lines[i])
	}
	return strings.Join(lines, "\n")
}

// warn says a warning once, however many plans of a comparison it concerns.
func (u *ui) warn(text string) {
	if !u.quiet && !u.warned[text] {
		u.message(paintWarning, "warning", text)
		u.warned[text] = true
	}
}

func (u *ui) hint(text string) {
	if !u.quiet && text != "" {
		u.message(paintHint, "hint", text)
	}
}

func (u *ui) note(text string) {
	if !u.quiet {
		u.message(paintNote, "note", text)
	}
}

// done reports a step or a written file, for those who asked to hear about it.
func (u *ui) done(format string, args ...any) {
	if u.verbose {
		u.message(paintNote, "note", fmt.Sprintf(format, args...))
	}
}

// fail reports an error in the form its kind deserves.
func (u *ui) fail(err error) {
	if problems, ok := errors.AsType[plans.Problems](err); ok {
		u.problems(problems)
		return
	}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range several.Unwrap() {
			u.fail(e)
		}
		return
	}
	u.message(paintError, "error", err.Error())
	if f, ok := errors.AsType[*failure](err); ok {
		u.hint(f.hint)
	}
}

// problems lists what is wrong with a file, each with its position.
func (u *ui) problems(problems plans.Problems) {
	for _, p := range problems {
		fmt.Fprintln(u.err, visible(p.Error()))
		if isTerminal(u.err) {
			fmt.Fprint(u.err, p.Excerpt())
		}
	}
}

// print writes a result to stdout.
func (u *ui) print(result []byte) error {
	if _, err := u.out.Write(result); err != nil {
		return fmt.Errorf("writing to stdout: %w", err)
	}
	return nil
}

// isStdout reports whether a path leads to where results are printed.
func (u *ui) isStdout(path string) bool {
	f, ok := u.out.(*os.File)
	if !ok || path == "" || sameFile(path, os.DevNull) {
		return false
	}
	out, errOut := f.Stat()
	info, err := os.Stat(path)
	return errOut == nil && err == nil && os.SameFile(out, info)
}

// progressAfter is when work takes so long that one would like to see that it goes on.
const progressAfter = time.Second

// watch is a line on a terminal that says how far some work is. It is shown
// once that has taken a while, overwritten as it goes on, and gone at the end.
// A nil watch shows nothing.
type watch struct {
	out   io.Writer
	title string
	width int // columns of the terminal
	timer *time.Timer

	mu      sync.Mutex
	text    string // how far it is
	written int    // columns of what stands there now
	due     bool   // it has taken a while
	over    bool
}

// watch begins a line about some work; end has to be called. It is nil off a
// terminal, on one that cannot overwrite, and with -q.
func (u *ui) watch(title string) *watch {
	f, ok := u.err.(*os.File)
	if !ok || u.quiet || !isTerminal(f) || u.getenv("TERM") == "dumb" {
		return nil
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 1 {
		width = 80
	}
	w := newWatch(f, title, width)
	w.timer = time.AfterFunc(progressAfter, w.show)
	return w
}

func newWatch(out io.Writer, title string, width int) *watch {
	return &watch{out: out, title: view.Visible(title), width: width}
}

// assumptions says how many assumptions of a plan are judged.
func (w *watch) assumptions(done, of int) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = fmt.Sprintf("%d of %d assumptions", done, of)
	w.draw()
}

// show is called when the work has taken a while.
func (w *watch) show() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due = true
	w.draw()
}

// draw writes the line over what stands there. A line that is wrapped could not be
// overwritten: it is cut, for its end says how far it is, from the left.
func (w *watch) draw() {
	if !w.due || w.over || w.text == "" {
		return
	}
	line := w.title + " " + w.text
	for columns.Width(line) >= w.width && line != "" {
		_, n := utf8.DecodeRuneInString(line)
		line = line[n:]
	}
	now := columns.Width(line)
	fmt.Fprint(w.out, "\r"+line+strings.Repeat(" ", max(0, w.written-now)))
	w.written = max(w.written, now)
}

// end takes the line away.
func (w *watch) end() {
	if w == nil {
		return
	}
	if w.timer != nil {
		w.timer.Stop()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over = true; w.written > 0 {
		fmt.Fprint(w.out, "\r"+strings.Repeat(" ", w.written)+"\r")
	}
}
