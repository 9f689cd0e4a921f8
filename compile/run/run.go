// Package run starts the real edgetpu_compiler for the groups of a plan and
// puts what it wrote into place. It predicts nothing: the caller says what is
// expected of each group, and [Run] says where the compiler did otherwise.
//
// What it promises of a group, whatever happens:
//
//   - the compiler runs in the plan's folder, in a process group of its own,
//     and nothing of it is left running when Run returns;
//   - it writes to a temporary folder inside the output folder, and outputs are
//     replaced only when all of them are there, can be read and came from models
//     that did not change meanwhile;
//   - a failure leaves the old outputs alone; what the compiler printed is kept
//     in compile.Invocation.LogFile, as build files do;
//   - an internal compiler error, which often goes away, is tried once more.
//
// install.go says how a group is moved into place.
package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
)

// Group is one compiler call and what is expected of it.
type Group struct {
	compile.Invocation
	Models []Model // in the order of Files
	// Mark is what make looks for to know that an output came from this call,
	// see Build.Mark of package emit. Empty: make will compile the group again.
	Mark string
}

// Model is what is known of a model before it is compiled.
type Model struct {
	Name             string
	SHA256           string // of the file that the prediction is about; "" if that is not known
	Cached, Streamed int64  // predicted split, packed bytes
	Certainty        string // of the prediction, for messages
}

// Options are what all groups of a run share.
type Options struct {
	Dir     string          // the plan's folder, where the compiler runs; "" is the current one
	Version compile.Version // release that the predictions are for
	Jobs    int             // groups compiled side by side; less than 1 is 1
	Timeout time.Duration   // of one compiler call; 0 is none
	// ProbeOrder compiles each group of several models a second time, with
	// the models reversed, to see whether the order matters. The result of
	// that call is looked at and thrown away.
	ProbeOrder bool
}

// Result is what became of a group.
type Result struct {
	Group       *Group
	Built       []Built        // in the order of the models; nil if the group failed
	Report      *report.Report // what the compiler printed; nil if that could not be understood
	Retried     bool           // an internal compiler error made a second call necessary
	Differences []Difference   // between prediction and result
	Order       *Order         // of ProbeOrder
	Warnings    []string
	// Err is why the group failed, an [*Error], or why it was not finished: it
	// wraps context.Canceled then. The old outputs are untouched unless Built
	// is set; only probing the order can fail after that.
	Err error
}

// Built is a compiled model.
type Built struct {
	File             string // slash path, relative to the plan's folder
	Cached, Streamed int64  // packed bytes, sums over the packages
	Token            uint64 // of the first package
	SHA256           string // of the model that it was made from

	sum string // SHA-256 of the file
}

// Order is what compiling a group in reversed order gave.
type Order struct {
	Argv    []string
	Built   []Built // in the order of Group.Models; File is empty
	Matters bool    // some model has another split
}

// Error is why a group could not be compiled.
type Error struct {
	Group  string
	What   string
	Hint   string // what to do about it; may be empty
	Output string // the end of what the compiler printed; may be empty
	err    error  // cause; may be nil
}

// Error is "group NAME: WHAT".
func (e *Error) Error() string { return fmt.Sprintf("group %q: %s", e.Group, e.What) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

// Run compiles groups, at most Options.Jobs of them at a time, and calls done
// with the result of each, in the order of the groups and from one goroutine.
// All groups must have the same OutDir. A group that fails does not keep the
// others from being compiled; after ctx is done, no call is started. The error
// says why nothing could be started at all.
func Run(ctx context.Context, groups []Group, o Options, done func(*Result)) error {
	if len(groups) == 0 {
		return nil
	}
	out := filepath.Join(o.Dir, filepath.FromSlash(groups[0].OutDir))
	if err := os.MkdirAll(out, 0o777); err != nil {
		return fmt.Errorf("out_dir %s: %w", groups[0].OutDir, bare(err))
	}
	unlock, err := lockFolder(out)
	if err != nil {
		return fmt.Errorf("out_dir %s: %w", groups[0].OutDir, err)
	}
	defer unlock()
	if err := Recover(out); err != nil {
		return err
	}

	results := make([]chan *Result, len(groups))
	slots := make(chan struct{}, max(1, o.Jobs))
	for i := range groups {
		results[i] = make(chan *Result, 1)
	}
	go func() {
		for i := range groups {
			slots <- struct{}{}
			go func() {
				r := &Result{Group: &groups[i]}
				(&work{Options: &o, Result: r, out: out}).run(ctx)
				<-slots
				results[i] <- r
			}()
		}
	}()
	for i := range groups {
		done(<-results[i])
	}
	return nil
}

// work is the compilation of one group.
type work struct {
	*Options
	*Result
	out  string // output folder
	temp string // where the compiler writes
}

// path is a slash path of an invocation as this process sees it.
func (w *work) path(slash string) string {
	p := filepath.FromSlash(slash)
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(w.Dir, p)
}

func (w *work) fail(err error, hint, format string, args ...any) *Error {
	return &Error{Group: w.Group.Group, What: fmt.Sprintf(format, args...), Hint: hint, err: err}
}

func (w *work) run(ctx context.Context) {
	g := w.Group
	w.temp = w.path(g.TempDir())
	if w.Err = ctx.Err(); w.Err != nil {
		return
	}
	built, err := w.call(ctx, &g.Invocation)
	if err == nil {
		err = w.install(built)
	}
	if err != nil {
		if !exists(w.temp, journalName) { // else it holds files that could not be put back
			os.RemoveAll(w.temp) //nolint:errcheck // it holds nothing that is needed, and the next start removes it too
		}
		w.Err = err
		return
	}
	w.Built = built
	w.compare()
	if w.ProbeOrder && len(g.Files) > 1 {
		w.Err = w.probe(ctx)
		os.RemoveAll(w.temp) //nolint:errcheck // likewise
	}
}

// call runs the compiler until the temporary folder holds all outputs of a
// call, and returns what they are.
func (w *work) call(ctx context.Context, call *compile.Invocation) ([]Built, error) {
	if err := w.prepare(call); err != nil {
		return nil, err
	}
	before, err := w.hashes()
	if err != nil {
		return nil, err
	}
	if call == &w.Group.Invocation {
		w.warnOfOtherModels(before)
	}
	end, err := w.execute(ctx, call)
	if err == nil && end.broken() {
		w.Retried = true
		w.Warnings = append(w.Warnings, fmt.Sprintf("group %q: internal compiler error, which often goes away: compiled once more", w.Group.Group))
		end, err = w.execute(ctx, call)
	}
	if err != nil {
		return nil, err
	}
	if err := w.judge(call, end); err != nil {
		return nil, err
	}
	after, err := w.hashes()
	if err != nil {
		return nil, err
	}
	if i := firstChange(before, after); i >= 0 {
		return nil, w.fail(nil, "compile again", "model %q: %s changed while it was compiled", w.Group.Models[i].Name, w.Group.Files[i])
	}
	built, err := w.outputs(call)
	for i := range built {
		built[i].SHA256 = after[slices.Index(w.Group.Files, call.Files[i])]
	}
	return built, err
}

// prepare makes an empty temporary folder, and room for the log.
func (w *work) prepare(call *compile.Invocation) error {
	err := discard(w.temp)
	if err == nil {
		err = os.MkdirAll(w.temp, 0o777)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(w.temp, startName), nil, 0o666)
	}
	if err == nil {
		err = os.Remove(w.path(w.logFile(call)))
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return w.fail(err, "", "cannot write to %s: %v", call.OutDir, bare(err))
	}
	return nil
}

// hashes are the sums of the group's models as they are now.
func (w *work) hashes() ([]string, error) {
	var sums []string
	for i, file := range w.Group.Files {
		sum, err := hash(w.path(file))
		if err != nil {
			return nil, w.fail(err, "the lock names it: put it back, or run tpuplan optimize", "model %q: %s: %v", w.Group.Models[i].Name, file, bare(err))
		}
		sums = append(sums, sum)
	}
	return sums, nil
}

func hash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // it was only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// firstChange is the index of the first model with another sum, -1 if there is none.
func firstChange(before, after []string) int {
	for i := range before {
		if before[i] != after[i] {
			return i
		}
	}
	return -1
}

// warnOfOtherModels says which files are not those that the prediction is
// about. They are compiled nevertheless: a retrained model is built with the
// decision that was made for its shape.
func (w *work) warnOfOtherModels(sums []string) {
	for i, m := range w.Group.Models {
		if m.SHA256 != "" && m.SHA256 != sums[i] {
			w.Warnings = append(w.Warnings, fmt.Sprintf("model %q: %s is not the file that the lock was made from", m.Name, w.Group.Files[i]))
		}
	}
}

// probe compiles the group in reversed order and compares what it would have given.
func (w *work) probe(ctx context.Context) error {
	call := Reversed(&w.Group.Invocation)
	built, err := w.call(ctx, &call)
	if err != nil {
		if e := (*Error)(nil); errors.As(err, &e) {
			e.What = "in reversed order, for --probe-order: " + e.What
		}
		return err
	}
	w.Order = &Order{Argv: call.Argv(), Built: slices.Clone(w.Built)}
	for i := range built {
		b := &w.Order.Built[len(built)-1-i]
		*b = built[i]
		b.File = ""
	}
	for i, b := range w.Order.Built {
		w.Order.Matters = w.Order.Matters || b.Cached != w.Built[i].Cached || b.Streamed != w.Built[i].Streamed
	}
	return nil
}

// reversedLog is the end of the name of a log of ProbeOrder. A group cannot be
// called so: the log of one is GROUP.log, and labels have no "~".
const reversedLog = "~reversed"

// Reversed is the call that [Options.ProbeOrder] makes beside another one:
// the same models the other way round, in the same temporary folder.
func Reversed(call *compile.Invocation) compile.Invocation {
	reversed := *call
	reversed.Files = slices.Clone(call.Files)
	slices.Reverse(reversed.Files)
	return reversed
}

// logFile is where the output of a call is kept.
func (w *work) logFile(call *compile.Invocation) string {
	if call == &w.Group.Invocation {
		return call.LogFile()
	}
	return strings.TrimSuffix(call.LogFile(), ".log") + reversedLog + ".log"
}

// bare is a file error without operation and path, which the message has.
func bare(err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	if e := (*os.LinkError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}
