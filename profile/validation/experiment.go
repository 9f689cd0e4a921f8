package validation

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/cost/replay"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/tflite"
)

// Model is a model of the plan.
type Model struct {
	Name string
	Call cost.Call // what a call costs by the plan
}

// Split says how many bytes of a model's parameters stay on the device.
type Split struct{ Cached, Streamed int64 }

// File is a compiled file as a device sees it.
type File struct {
	Path                 string // slash path, relative to the folder of the runs
	SHA256               string
	Split                Split
	WarmBytes, ColdBytes int64 // of a call, in both directions
	Tokens               []uint64
	// StreamMS is what streaming adds to a warm call, as it is predicted: a file does not
	// tell what hides it. Nil: its bytes at the rate of the link.
	StreamMS *float64

	packages []replay.Package
	caching  []int64 // parameter bytes that each package caches
	loading  []int64 // and what it sends for that, instructions included
}

var roles = map[tflite.ExecutableType]replay.Role{
	tflite.StandAlone: replay.StandAlone, tflite.ParameterCaching: replay.ParameterCaching, tflite.ExecutionOnly: replay.ExecutionOnly,
}

// Streaming is what it adds to a warm call, in ms.
func (f *File) Streaming(bytesPerMS float64) float64 {
	if f.StreamMS != nil {
		return *f.StreamMS
	}
	return float64(f.Split.Streamed) / bytesPerMS
}

// NewFile takes what matters from a compiled file.
func NewFile(path, sha256 string, c *tflite.Compiled) (*File, error) {
	f := &File{
		Path: path, SHA256: sha256, Split: Split{c.CachedBytes(), c.StreamedBytes()},
		WarmBytes: c.WarmBytes(), ColdBytes: c.ColdBytes(), Tokens: c.Tokens(),
	}
	for i := range c.Packages {
		var list []replay.Executable
		for _, e := range c.Packages[i].Executables {
			list = append(list, replay.Executable{Role: roles[e.Type], Token: e.Token, Bytes: e.DMA.Total()})
		}
		p, err := replay.NewPackage(list...)
		if err != nil {
			return nil, fmt.Errorf("%s: package %d: %w", path, i+1, err)
		}
		f.packages = append(f.packages, p)
		f.caching = append(f.caching, c.Packages[i].CachedBytes())
		f.loading = append(f.loading, c.Packages[i].ColdBytes()-c.Packages[i].WarmBytes())
	}
	return f, nil
}

// Interpreter opens the file for a replay of its calls.
func (f *File) Interpreter() *replay.Interpreter { return replay.NewInterpreter(f.packages, 0) }

// Loads are the parameter bytes that are cached by loading some packages, and
// all bytes that are sent for it.
func (f *File) Loads(packages []int) (cached, sent int64) {
	for _, p := range packages {
		cached += f.caching[p]
		sent += f.loading[p]
	}
	return cached, sent
}

// Arrangement is one way to compile the models.
type Arrangement struct {
	Name string
	// Groups are the models (indexes) that were compiled together.
	Groups [][]int
	Files  []*File // of each model; nil if some are missing: it is not measured then
	// Planned is the split that was predicted for each model; nil if none was.
	Planned []Split
	// Same is an earlier arrangement that has the same files: this one is not measured again.
	Same string
}

func (a *Arrangement) measurable() bool { return a.Files != nil && a.Same == "" }

// Experiment is what is called, and under which arrangements.
type Experiment struct {
	Models       []Model       // in the order of the plan, and of every run
	Arrangements []Arrangement // the plan's own first
	Sequence     []int         // the calls, by their models
	Passes       int           // how often each arrangement is measured
	Session      string        // begins the names of the runs
	Seed         uint64        // of the inputs, and of the order of the runs
	Device       string        // as in profile.Run
	DeadlineMS   float64
	// Tolerance is the share by which a time may miss its prediction.
	Tolerance float64
}

// Runs are all runs, in the order in which they are to be done. In each pass
// every arrangement is measured once, by a process and with interpreters of its own,
// in an order that is drawn anew: a device that gets slower takes its time
// from all of them. Each run begins with a call of each model that is not
// recorded; the calls after it are the same in all of them.
func (e *Experiment) Runs() []*profile.Run {
	var runs []*profile.Run
	draw := rand.New(rand.NewPCG(e.Seed, 0)) //nolint:gosec // it has to be repeatable
	for pass := range e.Passes {
		for _, k := range draw.Perm(len(e.Arrangements)) {
			if a := &e.Arrangements[k]; a.measurable() {
				runs = append(runs, e.run(a, pass))
			}
		}
	}
	return runs
}

func (e *Experiment) run(a *Arrangement, pass int) *profile.Run {
	r := &profile.Run{
		Schema: profile.RunSchema, Name: e.runName(a, pass), Device: e.Device,
		Repeats: 1, Seed: e.Seed, DeadlineMS: e.DeadlineMS, Outputs: true,
	}
	for i, f := range a.Files {
		r.Models = append(r.Models, profile.RunModel{Name: e.Models[i].Name, File: f.Path, SHA256: f.SHA256, WarmBytes: f.WarmBytes, ColdBytes: f.ColdBytes})
	}
	for call, m := range e.calls() {
		s := profile.Step{Model: m}
		if call >= len(e.Models) {
			s.Kind = profile.Replay
		}
		r.Steps = append(r.Steps, s)
	}
	return r
}

// runName ends with a sum of what is called and of the files: samples of
// another sequence, or of files that were compiled anew since, are none of this run.
func (e *Experiment) runName(a *Arrangement, pass int) string {
	h := fnv.New32a()
	fmt.Fprintln(h, e.Seed, e.Sequence)
	for i, f := range a.Files {
		fmt.Fprintf(h, "%s %s\n", e.Models[i].Name, f.SHA256)
	}
	return fmt.Sprintf("%s.%s.%d.%08x", e.Session, a.Name, pass+1, h.Sum32())
}

// SessionOf is the session of a run by its name: what runName puts before
// arrangement, pass and sum. It may hold periods itself.
func SessionOf(run string) string {
	for range 3 {
		at := strings.LastIndexByte(run, '.')
		if at < 0 {
			return run
		}
		run = run[:at]
	}
	return run
}

// calls are all calls of a run: the unrecorded ones, then the sequence.
func (e *Experiment) calls() []int {
	calls := make([]int, 0, len(e.Models)+len(e.Sequence))
	for i := range e.Models {
		calls = append(calls, i)
	}
	return append(calls, e.Sequence...)
}

// foreseen is a call as it was predicted.
type foreseen struct {
	model  int
	bytes  int64   // over the bus
	sent   int64   // of them by the load, 0 if there is none
	warmMS float64 // without the load
	loadMS float64 // 0 if there is none
}

func (f *foreseen) loads() bool { return f.sent > 0 }

// foresee predicts all calls of a run under an arrangement. The device holds
// nothing at first; the inference by which a measurer tests it leaves nothing that a
// model could find, since it is another interpreter's.
func (e *Experiment) foresee(a *Arrangement) []foreseen {
	interpreters := make([]*replay.Interpreter, len(e.Models))
	for i, f := range a.Files {
		interpreters[i] = f.Interpreter()
	}
	var driver replay.Driver
	var loads []int
	list := make([]foreseen, 0, len(e.Models)+len(e.Sequence))
	for _, m := range e.calls() {
		file, call := a.Files[m], &e.Models[m].Call
		x := foreseen{model: m, bytes: file.WarmBytes, warmMS: call.Steady(file.Streaming(call.BytesPerMS))}
		loads = driver.Invoke(interpreters[m], loads[:0])
		var cached int64
		cached, x.sent = file.Loads(loads)
		x.bytes += x.sent
		x.loadMS = call.Load(cached)
		list = append(list, x)
	}
	return list
}
