package profile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// SampleSchema names the format of a Sample; fields are only added to it.
const SampleSchema = "tpuplan/sample/v1"

// Kind is what a sample measured.
type Kind string

// Kinds of samples.
const (
	Create   Kind = "create"   // making the interpreter of a model, the file read included
	First    Kind = "first"    // the first call of a new interpreter, which loads
	Steady   Kind = "steady"   // a call that finds its parameters on the device
	Load     Kind = "load"     // a call after another model has displaced the parameters
	Squeezed Kind = "squeezed" // a steady call of a variant that caches less and streams more
	Replay   Kind = "replay"   // a call within the plan's own sequence of calls
)

func (k Kind) known() bool { return k == Create || k.ofCall() }

func (k Kind) ofCall() bool {
	return k == First || k == Steady || k == Load || k == Squeezed || k == Replay
}

// Source is where a number came from. The words are the machine interface's.
type Source string

// Sources of samples.
const (
	Measured  Source = "measured"  // on a device, by a measurer of ours
	Imported  Source = "imported"  // by somebody else, from a file
	Simulated Source = "simulated" // by a simulation or a stand-in of a device: it measures nothing real
)

// Sample is how long one call took, or creating one interpreter.
type Sample struct {
	Schema string  `json:"schema"` // SampleSchema
	Run    string  `json:"run"`
	Model  string  `json:"model"`
	Kind   Kind    `json:"kind"`
	MS     float64 `json:"ms"`
	// SHA256 is the hash of the compiled file that ran, hex; "" is not known.
	SHA256 string `json:"sha256,omitempty"`
	// Host is the machine that the device is at: what profile --host was given,
	// else what the machine that measured calls itself; "" is not known.
	Host   string `json:"host,omitempty"`
	Device string `json:"device,omitempty"`
	Source Source `json:"source"`
	// Call counts the calls of a run from 0, recorded or not.
	Call int64 `json:"call,omitempty"`
	// Bytes that crossed the bus, where whoever measured knows them.
	Bytes        *int64   `json:"bytes,omitempty"`
	TemperatureC *float64 `json:"temperature_c,omitempty"`
	ClockMHz     *float64 `json:"clock_mhz,omitempty"`
	// Outputs is the SHA-256, hex, of all output tensors in their order.
	Outputs string `json:"outputs_sha256,omitempty"`
	// Calls is how many calls MS is the mean of, where it is not one alone, and
	// StdMS their standard deviation: some programs tell no more.
	Calls int64    `json:"calls,omitempty"`
	StdMS *float64 `json:"std_ms,omitempty"`
}

// check says what is wrong with a sample.
func (s *Sample) check() error {
	switch {
	case s.Schema != SampleSchema && strings.HasPrefix(s.Schema, "tpuplan/sample/v"):
		return fmt.Errorf("a sample of format %q, this tpuplan reads %q", s.Schema, SampleSchema)
	case s.Schema != SampleSchema:
		return fmt.Errorf("not a sample: its schema is %q, want %q", s.Schema, SampleSchema)
	case s.Model == "":
		return errors.New("a sample without a model")
	case !s.Kind.known():
		return fmt.Errorf("a sample of unknown kind %q", s.Kind)
	case s.Source != Measured && s.Source != Imported && s.Source != Simulated:
		return fmt.Errorf("a sample of unknown source %q", s.Source)
	case !(s.MS >= 0) || math.IsInf(s.MS, 0):
		return fmt.Errorf("a sample of %v ms", s.MS)
	case s.SHA256 != "" && !isSHA256(s.SHA256):
		return fmt.Errorf("a sample of a file with the hash %q, want 64 hexadecimal digits", s.SHA256)
	case s.Bytes != nil && *s.Bytes < 0:
		return fmt.Errorf("a sample of %d bytes", *s.Bytes)
	case s.Calls < 0:
		return fmt.Errorf("a sample of %d calls", s.Calls)
	case s.StdMS != nil && (!(*s.StdMS >= 0) || math.IsInf(*s.StdMS, 0)):
		return fmt.Errorf("a sample with a standard deviation of %v ms", *s.StdMS)
	}
	return nil
}

// isSHA256 says whether a text is a hash as files of samples hold it.
func isSHA256(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}

// WriteSample writes one sample as a line.
func WriteSample(w io.Writer, s *Sample) error {
	s.Schema = SampleSchema
	if err := s.check(); err != nil {
		return err
	}
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// maxSampleLine is far above any line of a sample.
const maxSampleLine = 1 << 20

// ReadSamples reads lines of samples and gives each to visit until that
// returns an error. A last line that its writer did not finish is dropped and
// reported by dropped; a line that is wrong otherwise is an error with its
// number. The name is used in messages.
func ReadSamples(name string, r io.Reader, visit func(*Sample) error) (dropped bool, err error) {
	return readLines(name, r, visit, nil)
}

// readLines reads samples and, unless event is nil, events.
func readLines(name string, r io.Reader, sample func(*Sample) error, event func(*Event) error) (dropped bool, err error) {
	lines := bufio.NewReaderSize(r, 64<<10)
	for number := 1; ; number++ {
		line, whole, err := readLine(lines)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("%s:%d: %w", name, number, err)
		}
		if text := bytes.TrimSpace(line); len(text) > 0 {
			visit, problem := take(text, sample, event)
			switch {
			case problem != nil && !whole:
				return true, nil
			case problem != nil:
				if e := (*json.SyntaxError)(nil); errors.As(problem, &e) {
					problem = fmt.Errorf("not a line of samples: %w", problem)
				}
				return false, fmt.Errorf("%s:%d: %w", name, number, problem)
			}
			if err := visit(); err != nil {
				return false, err
			}
		}
		if !whole {
			return false, nil
		}
	}
}

// take reads a line and returns what to do with it.
func take(text []byte, sample func(*Sample) error, event func(*Event) error) (visit func() error, err error) {
	s := &Sample{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, err
	}
	if event != nil && s.Schema == EventSchema {
		e := &Event{}
		return func() error { return event(e) }, json.Unmarshal(text, e)
	}
	return func() error { return sample(s) }, s.check()
}

// readLine reads a line; whole is false for one that ends with the text.
func readLine(r *bufio.Reader) (line []byte, whole bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxSampleLine:
			return nil, false, errors.New("a line too long for a sample")
		case err == nil:
			return line, true, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, false, err
		}
	}
}
