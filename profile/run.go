package profile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"
)

// RunSchema names the format of a Run; fields are only added to it.
const RunSchema = "tpuplan/run/v1"

// Run is what a measurer is to do: create an interpreter for each model, in
// their order, keep all of them until the end, and make the calls of Steps,
// Repeats times over.
type Run struct {
	Schema string     `json:"schema"` // RunSchema
	Name   string     `json:"run"`    // is repeated in every sample
	Device string     `json:"device"` // path or index of one device as the runtime lists them; "" is the first
	Models []RunModel `json:"models"`
	Steps  []Step     `json:"steps"` // the sequence of calls
	// Repeats is how often Steps is done; at least 1.
	Repeats int `json:"repeats"`
	// WarmUp is how many repeats of Steps are done before those, unrecorded.
	WarmUp int `json:"warm_up"`
	// Seed makes the inputs: byte i of input tensor t of model m is byte
	// i mod 8 (least significant first) of draw 1 + i/8 of splitmix64
	// started at Seed + 65536 m + t, m and t counted from 0. Every call of a
	// model has the same input.
	Seed uint64 `json:"seed"`
	// DeadlineMS is how long one call, or creating one interpreter, may take
	// before the measurer is taken for dead.
	DeadlineMS float64 `json:"deadline_ms"`
	// Outputs asks for the hash of the outputs with every sample.
	Outputs bool `json:"outputs,omitempty"`
}

// RunModel is a compiled model of a run.
type RunModel struct {
	Name   string `json:"name"`
	File   string `json:"file"`             // slash path, relative to the folder of the run
	SHA256 string `json:"sha256,omitempty"` // of the file, hex; a measurer refuses another one
	// Of is the model that this file is another compile of, with another
	// split; "" is the model called Name. A measurer does not care.
	Of string `json:"of,omitempty"`
	// Bytes a call sends over the bus, both directions, by the file's hints.
	WarmBytes int64 `json:"warm_bytes,omitempty"`
	ColdBytes int64 `json:"cold_bytes,omitempty"`
}

// Step is one call.
type Step struct {
	Model int  `json:"model"`          // index into Models
	Kind  Kind `json:"kind,omitempty"` // of the sample; none is wanted without it
}

// Limits of a run: far beyond what a device is used for in a day.
const (
	maxRunModels = 256
	maxRunSteps  = 1 << 20
	maxRunCalls  = 1 << 30
)

// ParseRun reads a run; the name is used in messages.
func ParseRun(name string, data []byte) (*Run, error) {
	r := &Run{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: not a run: %w", name, err)
	}
	if r.Schema != RunSchema {
		if strings.HasPrefix(r.Schema, "tpuplan/run/v") {
			return nil, fmt.Errorf("%s: a run of format %q, this tpuplan reads %q", name, r.Schema, RunSchema)
		}
		return nil, fmt.Errorf("%s: not a run: its schema is %q, want %q", name, r.Schema, RunSchema)
	}
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// ParseRuns reads a file of runs, one object after the other, as it is made for
// a board that nothing reaches. Their names have to differ. The name is used in messages.
func ParseRuns(name string, data []byte) ([]*Run, error) {
	var runs []*Run
	names := map[string]bool{}
	for d := json.NewDecoder(bytes.NewReader(data)); ; {
		var one json.RawMessage
		err := d.Decode(&one)
		if errors.Is(err, io.EOF) && len(runs) > 0 {
			return runs, nil
		}
		switch {
		case errors.Is(err, io.EOF):
			err = fmt.Errorf("%s: not a run: it is empty", name)
		case errors.Is(err, io.ErrUnexpectedEOF):
			err = fmt.Errorf("%s: run %d is cut off", name, len(runs)+1)
		case err != nil:
			err = fmt.Errorf("%s: not a run: %w", name, err)
		}
		if err != nil {
			return nil, err
		}
		r, err := ParseRun(name, one)
		if err != nil {
			return nil, err
		}
		if names[r.Name] {
			return nil, fmt.Errorf("%s: two runs are called %q", name, r.Name)
		}
		names[r.Name] = true
		runs = append(runs, r)
	}
}

// Check says what is wrong with a run, everything at once, or nil.
func (r *Run) Check() error {
	var all []error
	wrong := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	if len(r.Models) == 0 || len(r.Models) > maxRunModels {
		wrong("a run of %d models, want 1 to %d", len(r.Models), maxRunModels)
	}
	names := map[string]bool{}
	for i, m := range r.Models {
		if m.Name == "" || names[m.Name] {
			wrong("model %d is called %q, which is no name or a second one", i+1, m.Name)
		}
		names[m.Name] = true
		if m.File == "" || path.Clean(m.File) != m.File {
			wrong("model %q: %q is no path", m.Name, m.File)
		}
	}
	if len(r.Steps) == 0 || len(r.Steps) > maxRunSteps {
		wrong("a run of %d calls, want 1 to %d", len(r.Steps), maxRunSteps)
	}
	for i, s := range r.Steps {
		if s.Model < 0 || s.Model >= len(r.Models) {
			wrong("call %d is of model %d of %d", i+1, s.Model+1, len(r.Models))
		}
		if s.Kind != "" && !s.Kind.ofCall() {
			wrong("call %d is to be a sample of kind %q", i+1, s.Kind)
		}
	}
	if r.Repeats < 1 || r.WarmUp < 0 || r.Repeats > maxRunCalls || r.WarmUp > maxRunCalls || len(r.Steps)*(r.Repeats+r.WarmUp) > maxRunCalls {
		wrong("%d repeats after %d to warm up are impossible", r.Repeats, r.WarmUp)
	}
	if !(r.DeadlineMS > 0) || math.IsInf(r.DeadlineMS, 0) {
		wrong("a deadline of %v ms", r.DeadlineMS)
	}
	return errors.Join(all...)
}

// Input makes the contents of an input tensor: see [Run.Seed].
func (r *Run) Input(model, tensor int, into []byte) {
	state := r.Seed + uint64(model)<<16 + uint64(tensor)
	var word uint64
	for i := range into {
		if i%8 == 0 {
			state += 0x9e3779b97f4a7c15
			word = state
			word = (word ^ word>>30) * 0xbf58476d1ce4e5b9
			word = (word ^ word>>27) * 0x94d049bb133111eb
			word ^= word >> 31
		}
		into[i] = byte(word >> (8 * (i % 8)))
	}
}
