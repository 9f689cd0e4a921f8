// Package plans reads plan files, turns them into problems for the planner and
// keeps the answers in locks.
//
// Call [Load] first, then [Resolve], which reads the models and builds the
// [planner.Problem]; after the search [NewLock] makes the record that is
// written beside the plan. What is wrong comes as [Problems], everything of a
// file at once. The plan file belongs to the user and is never written; the
// lock belongs to tpuplan.
package plans

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/planner"
)

// maxPlanBytes is far above any plan written by hand or by a script.
const maxPlanBytes = 1 << 20

// Plan is the meaning of a plan file. A program may also fill it in itself;
// problems then have no position.
type Plan struct {
	Path      string // as given to Load
	Dir       string // the folder that paths are relative to and build commands run in
	Compiler  Compiler
	Devices   []Device
	Models    []Model // in the order of the file
	ByRate    bool    // Calls are calls per second; else they are weights
	Objective planner.Objective
	Hedge     bool      // of the plans that may be best the one with the least largest regret is wanted
	Warnings  []Problem // what is doubtful, sorted by place
	doc       *document // where everything stands; nil for a plan made by a program
}

// Compiler says which edgetpu_compiler is planned for and how it is called.
type Compiler struct {
	Version    compile.Version
	Flags      []string // words of the command line: "-a", "-m", "14"
	AllRegions bool     // -a is among the flags
	MinRuntime int      // the number after -m, 0 if not given
	OutDir     string   // slash path of the folder for compiled models
	Command    []string // words that start the compiler
}

// Device is one Edge TPU.
type Device struct {
	Name        string
	Link        cost.Link
	Calibration string // slash path of what was timed on it, "" if nothing was
	Runtime     string // of a USB device: "std" or "max"; "" is taken for max
}

// Model is one model of a plan. Absent evidence is nil.
type Model struct {
	Name        string
	File        string  // slash path of the uncompiled .tflite
	Calls       float64 // calls per second, or weight (Plan.ByRate)
	CallsText   string  // the same as the user wrote it, "10/s"
	Group       string  // pin: label of its group, "" is free
	OrderBefore []string
	Available   *report.Size // what the compiler printed as available for it alone
	SteadyMS    *float64     // warm call of the model compiled alone, measured
	ColdMS      *float64     // its first call after another model, measured
	Log         string       // slash path of the compiler's output for a call with this model, "" if there is none
	Compiled    string       // slash path of the model compiled alone, likewise
}

// NewPlan is a plan with the defaults of the plan file and nothing in it yet;
// Dir is ".".
func NewPlan() *Plan {
	return &Plan{
		Dir:      ".",
		Compiler: Compiler{Version: compile.V16_0, OutDir: "build", Command: []string{"edgetpu_compiler"}},
	}
}

// LockPath is where the lock of a plan file lies: beside it, plan.toml has plan.lock.json.
func LockPath(planPath string) string {
	return besidePlan(planPath, ".lock.json")
}

// PlanPath is where the plan of a lock lies.
func PlanPath(lockPath string) string { return besidePlan(lockPath, ".toml") }

// errMissing says "does not exist" and is os.ErrNotExist to whoever asks.
var errMissing = missing{}

type missing struct{}

func (missing) Error() string        { return "file does not exist" }
func (missing) Is(target error) bool { return target == os.ErrNotExist }

// Load reads a plan file. What is wrong in it comes as [Problems]; a file that
// cannot be read gives another error.
func Load(path string) (*Plan, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s: the plan %w", path, errMissing)
		}
		return nil, fmt.Errorf("%s: %w", path, bareError(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s: a folder, not a plan file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPlanBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, bareError(err))
	}
	return Parse(path, data)
}

// bareError is a file error without the operation and the path, which the
// message has already.
func bareError(err error) error {
	if e := (*os.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	if e := (*os.LinkError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// Parse reads the contents of a plan file. The name is used in messages and
// says what paths are relative to. The error is of type [Problems].
func Parse(name string, data []byte) (*Plan, error) {
	text := strings.TrimPrefix(string(data), "\uFEFF")
	d := &decoder{document: &document{name: name, text: text, outline: &outline{root: &node{}, deepAt: -1}}}
	raw := d.syntax()
	if len(d.problems) > 0 {
		return nil, d.problems
	}
	plan := NewPlan()
	plan.Path, plan.Dir, plan.doc = name, filepath.Dir(name), d.document
	d.plan(plan, raw)
	if err := d.problems.err(); err != nil {
		return nil, err
	}
	Problems(plan.Warnings).sort()
	return plan, nil
}

// syntax decodes the document into a generic tree, or adds the one problem
// that keeps it from being read.
func (d *decoder) syntax() map[string]any {
	stop := func(offset int, message, hint string) map[string]any {
		d.problems = append(d.problems, d.at(span{offset, offset + 1}, message, hint))
		return nil
	}
	if len(d.text) > maxPlanBytes {
		d.text = ""
		return stop(0, fmt.Sprintf("larger than %s, which no plan file is", report.FormatSize(maxPlanBytes)), "")
	}
	if strings.HasPrefix(d.text, "\xff\xfe") || strings.HasPrefix(d.text, "\xfe\xff") {
		d.text = ""
		return stop(0, "the file is UTF-16", "save it as UTF-8")
	}
	for i, r := range d.text {
		if r == utf8.RuneError && !strings.HasPrefix(d.text[i:], "\uFFFD") {
			return stop(i, fmt.Sprintf("byte 0x%02x is not UTF-8", d.text[i]), "save the file as UTF-8")
		}
	}
	d.outline = newOutline(d.text)
	if d.outline.deepAt >= 0 {
		return stop(d.outline.deepAt, fmt.Sprintf("nested deeper than %d levels", maxDepth), "")
	}
	var raw map[string]any
	if _, err := toml.Decode(d.text, &raw); err != nil {
		var syntax toml.ParseError
		if !errors.As(err, &syntax) {
			return stop(0, err.Error(), "")
		}
		return stop(d.syntaxOffset(syntax), strings.TrimSuffix(lowerFirst(syntax.Message), "."), "")
	}
	if twice := d.outline.clash; twice != nil {
		first, _ := position(d.text, twice.first.start)
		return stop(twice.again.start, fmt.Sprintf("the key was given in line %d already", first), "")
	}
	return raw
}

// syntaxOffset is where a syntax error stands. The decoder's offset may lie on
// a neighbouring line, and the line is then the part to believe.
func (d *decoder) syntaxOffset(e toml.ParseError) int {
	offset := min(max(0, e.Position.Start), len(d.text))
	for offset < len(d.text) && !utf8.RuneStart(d.text[offset]) {
		offset-- // the decoder may count back from an end by a byte
	}
	if line, _ := position(d.text, offset); line == e.Position.Line || e.Position.Line < 1 {
		return offset
	}
	offset = 0
	for line := 1; line < e.Position.Line; line++ {
		i := strings.IndexByte(d.text[offset:], '\n')
		if i < 0 {
			break
		}
		offset += i + 1
	}
	return offset
}

func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return strings.ToLower(string(r)) + s[n:]
}

// problem points at a value of the plan file, if the plan was read from one.
func (p *Plan) problem(path []any, message, hint string) Problem {
	if p.doc == nil {
		return Problem{File: p.Path, Message: message, Hint: hint}
	}
	return p.doc.atValue(path, message, hint)
}
