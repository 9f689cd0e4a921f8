package profile

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// Measurer does runs: on a device of this machine or of another one, with
// whatever library, or in a simulation.
type Measurer interface {
	// Measure does a run and gives each sample to emit as soon as it is known,
	// until emit returns an error. Samples that were given stay true when
	// Measure fails. The error is a [*Failure] where the reason is known.
	Measure(ctx context.Context, run *Run, emit func(*Sample) error) error
}

// EventSchema names the format of an Event; fields are only added to it.
const EventSchema = "tpuplan/event/v1"

// Action is something that a measurer does and that may take long.
type Action string

// Actions of a measurer, in their order.
const (
	Opening  Action = "open"      // load the library, open the device
	Creating Action = "create"    // make the interpreter of a model
	Testing  Action = "self_test" // one inference, before numbers are believed
	Calling  Action = "call"      // of a model
	Closing  Action = "close"     // give everything back
	Done     Action = "done"      // the run is complete
)

// Event is a line that a measuring process prints between its samples, for
// whoever watches over it: what it begins now, or why it gives up. From one
// line to the next no more than [Run.DeadlineMS] may pass while it makes
// interpreters and calls. Files of samples hold none.
type Event struct {
	Schema  string   `json:"schema"` // EventSchema
	Action  Action   `json:"action,omitempty"`
	Model   string   `json:"model,omitempty"`
	Call    int64    `json:"call,omitempty"` // as in Sample
	Failure *Failure `json:"failure,omitempty"`
}

// Code says what kind of failure ended a run.
type Code string

// Codes of failures.
const (
	BadRun       Code = "bad_run"       // the run makes no sense
	NoLibrary    Code = "no_library"    // there is no libedgetpu
	WrongABI     Code = "wrong_abi"     // the library has another interface than expected
	NoDevice     Code = "no_device"     // no device, or not the one that was asked for
	DeviceBusy   Code = "device_busy"   // it cannot be opened
	BadModel     Code = "bad_model"     // a file that is missing, changed, damaged, not compiled
	NewerModel   Code = "newer_model"   // it needs a later runtime
	SelfTest     Code = "self_test"     // the device does not do a single inference
	CallFailed   Code = "call_failed"   // the runtime reports an error
	Silent       Code = "silent"        // the deadline has passed
	Aborted      Code = "aborted"       // the measuring process was ended by a signal
	Broken       Code = "broken"        // it ended or talked in another way than it should
	NotAvailable Code = "not_available" // this measurer cannot be used here
	Unreachable  Code = "unreachable"   // the machine with the device cannot be reached, or no longer
)

// Failure is why a run was not completed.
type Failure struct {
	Code  Code   `json:"code"`
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"`  // what to do about it
	Model string `json:"model,omitempty"` // which it is about
	// Versions of the library for the device and of the TensorFlow Lite
	// runtime, where they are known.
	Library string `json:"library_version,omitempty"`
	Runtime string `json:"runtime_version,omitempty"`
	// Output is the end of what the measuring process wrote to stderr.
	Output string `json:"output,omitempty"`
}

func (f *Failure) Error() string {
	if f.Model == "" {
		return f.Text
	}
	return fmt.Sprintf("model %q: %s", f.Model, f.Text)
}

// WriteEvent writes one event as a line.
func WriteEvent(w io.Writer, e *Event) error {
	e.Schema = EventSchema
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// ReadLines reads what a measuring process prints: [ReadSamples] for lines that
// are samples or events.
func ReadLines(name string, r io.Reader, sample func(*Sample) error, event func(*Event) error) (dropped bool, err error) {
	return readLines(name, r, sample, event)
}
