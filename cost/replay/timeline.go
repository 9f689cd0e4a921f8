package replay

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"strconv"
)

// Timeline writes calls as a trace in the JSON format of Chrome's trace
// viewer, which chrome://tracing and Perfetto open: one process for each
// device, one thread for each of its models, and for each call a bar for
// loading, if it loads, and one for running.
type Timeline struct {
	out    *bufio.Writer
	buffer []byte
	events int
	lanes  map[int][][]byte // per process the models' names as JSON
	err    error
}

// MaxTimelineEvents is what a trace viewer can still show.
const MaxTimelineEvents = 1_000_000

// ErrTimelineFull says that a timeline would have more events than can be shown.
var ErrTimelineFull = errors.New("more than " + strconv.Itoa(MaxTimelineEvents) + " events, which no trace viewer shows")

// NewTimeline begins a timeline. It is complete when Close was called.
func NewTimeline(w io.Writer) *Timeline {
	t := &Timeline{out: bufio.NewWriterSize(w, 64<<10), lanes: map[int][][]byte{}}
	t.write([]byte(`{"displayTimeUnit":"ms","otherData":{"source":"simulated"},"traceEvents":[`))
	return t
}

// Process names a process and the models that are its threads. Processes are
// shown in the order of their numbers.
func (t *Timeline) Process(pid int, name string, models []Model) error {
	t.metadata(pid, 0, "process_name", name)
	for i, m := range models {
		t.metadata(pid, i+1, "thread_name", m.Name)
		text, _ := json.Marshal(m.Name) // a string can always be encoded
		t.lanes[pid] = append(t.lanes[pid], text)
	}
	return t.err
}

func (t *Timeline) metadata(pid, tid int, what, name string) {
	text, _ := json.Marshal(map[string]any{"ph": "M", "pid": pid, "tid": tid, "name": what, "args": map[string]string{"name": name}})
	t.event(text)
}

// Add writes a call into a process. The error is that of writing, or ErrTimelineFull.
func (t *Timeline) Add(pid int, e *Event) error {
	runMS := e.StartMS
	if !e.Hit {
		b := append(t.buffer[:0], `{"name":"load","cat":"load","ph":"X"`...)
		t.buffer = appendSpan(b, pid, e, e.StartMS, e.LoadMS)
		t.buffer = append(t.buffer, `}}`...)
		t.event(t.buffer)
		runMS += e.LoadMS
	}
	b := append(t.buffer[:0], `{"name":`...)
	b = append(b, t.lanes[pid][e.Model]...)
	b = append(b, `,"cat":"call","ph":"X"`...)
	b = appendSpan(b, pid, e, runMS, e.ServiceMS-e.LoadMS)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, e.Bytes, 10)
	if wait := e.StartMS - e.ArrivalMS; wait > 0 {
		b = append(b, `,"wait_ms":`...)
		b = strconv.AppendFloat(b, wait, 'f', 6, 64)
	}
	t.buffer = append(b, `}}`...)
	t.event(t.buffer)
	return t.err
}

// appendSpan appends where and when a bar is, times in microseconds, and
// opens its arguments with the number of the call.
func appendSpan(b []byte, pid int, e *Event, startMS, lengthMS float64) []byte {
	b = append(b, `,"pid":`...)
	b = strconv.AppendInt(b, int64(pid), 10)
	b = append(b, `,"tid":`...)
	b = strconv.AppendInt(b, int64(e.Model)+1, 10)
	b = append(b, `,"ts":`...)
	b = strconv.AppendFloat(b, startMS*1000, 'f', 3, 64)
	b = append(b, `,"dur":`...)
	b = strconv.AppendFloat(b, lengthMS*1000, 'f', 3, 64)
	b = append(b, `,"args":{"call":`...)
	return strconv.AppendInt(b, e.Call, 10)
}

func (t *Timeline) event(text []byte) {
	if t.err == nil && t.events == MaxTimelineEvents {
		t.err = ErrTimelineFull
	}
	if t.events > 0 {
		t.write([]byte(",\n"))
	} else {
		t.write([]byte("\n"))
	}
	t.events++
	t.write(text)
}

func (t *Timeline) write(text []byte) {
	if t.err == nil {
		_, t.err = t.out.Write(text)
	}
}

// Close ends the timeline. It does not close what the timeline is written to.
func (t *Timeline) Close() error {
	t.write([]byte("\n]}\n"))
	if t.err == nil {
		t.err = t.out.Flush()
	}
	return t.err
}
