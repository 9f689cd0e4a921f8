package replay

import (
	"errors"
	"fmt"
	"math"
)

// Model is an opened model as a replay calls it. Two interpreters of one file are two models.
type Model struct {
	Name     string
	Device   int // from 0
	Packages []Package
	Requests int // TPU requests that a call makes of each package (elements of its batch); 0 is 1
}

// Call is one call of a model.
type Call struct {
	Model int
	// Timed: the call arrives at AtMS and waits until its device is free.
	// Without it a call is made when the one before it has ended, on whatever device.
	Timed bool
	AtMS  float64
}

// Event is what became of a call.
type Event struct {
	Call   int64 // its number, from 0
	Model  int
	Device int
	// Loads are the packages whose parameters had to be loaded, valid until the next call.
	Loads []int
	Hit   bool  // nothing had to be loaded
	Bytes int64 // that crossed the bus
	// The call arrived, started after waiting, loaded for LoadMS and then ran
	// until it ended.
	ArrivalMS, StartMS, LoadMS, EndMS float64
	ServiceMS                         float64 // EndMS - StartMS, not rounded by a long clock
}

// Replay plays calls. The devices have been opened and hold nothing at first.
type Replay struct {
	models  []played
	devices []device
	loads   []int
	calls   int64
	begun   bool // there was a call, counted or forgotten
	timed   bool
	lastMS  float64 // arrival, or end if calls are not timed, of the last call
	service means   // of all calls
}

type played struct {
	Model
	interpreter *Interpreter
	warmMS      float64
	warmBytes   int64
	stats       modelStats
}

type device struct {
	driver Driver
	freeMS float64
	busy   total
	calls  int64
	first  float64 // arrival of the first call
	last   float64 // and of the last one
}

// New opens models on their devices, numbered from 0.
func New(models []Model) (*Replay, error) {
	if len(models) == 0 {
		return nil, errors.New("no models to replay")
	}
	r := &Replay{}
	for _, m := range models {
		if m.Device < 0 || m.Device >= maxDevices {
			return nil, fmt.Errorf("model %q is on device %d", m.Name, m.Device)
		}
		if len(m.Packages) == 0 {
			return nil, fmt.Errorf("model %q has no package", m.Name)
		}
		p := played{Model: m, interpreter: NewInterpreter(m.Packages, m.Requests)}
		for i := range m.Packages {
			n := p.interpreter.requests
			p.warmMS += float64(float64(n) * m.Packages[i].main.MS)
			p.warmBytes += int64(n) * m.Packages[i].main.Bytes
		}
		r.models = append(r.models, p)
		for len(r.devices) <= m.Device {
			r.devices = append(r.devices, device{freeMS: math.Inf(-1)})
		}
	}
	return r, nil
}

// maxDevices is far more than hang on any host.
const maxDevices = 256

// Do plays one call. An error says that the call cannot follow the one before
// it; nothing was done then.
func (r *Replay) Do(c Call) (Event, error) {
	switch {
	case c.Model < 0 || c.Model >= len(r.models):
		return Event{}, fmt.Errorf("call %d is of model %d of %d", r.calls+1, c.Model+1, len(r.models))
	case r.begun && c.Timed != r.timed:
		return Event{}, fmt.Errorf("call %d: some calls have a time and others have none", r.calls+1)
	case c.Timed && !(c.AtMS >= r.lastMS || !r.begun && c.AtMS >= -math.MaxFloat64):
		return Event{}, fmt.Errorf("call %d arrives at %v ms, before the one before it", r.calls+1, c.AtMS)
	}
	m := &r.models[c.Model]
	d := &r.devices[m.Device]
	e := Event{Call: r.calls, Model: c.Model, Device: m.Device, ArrivalMS: c.AtMS, Bytes: m.warmBytes}
	if !c.Timed {
		e.ArrivalMS = r.lastMS
	}
	r.loads = d.driver.Invoke(m.interpreter, r.loads[:0])
	e.Loads, e.Hit = r.loads, len(r.loads) == 0
	for _, p := range e.Loads {
		e.LoadMS += m.Packages[p].caching.MS
		e.Bytes += m.Packages[p].caching.Bytes
	}
	e.ServiceMS = m.warmMS + e.LoadMS
	e.StartMS = max(e.ArrivalMS, d.freeMS)
	if d.calls == 0 {
		d.first = e.ArrivalMS
	}
	e.EndMS = e.StartMS + e.ServiceMS
	d.freeMS, d.last = e.EndMS, e.ArrivalMS
	d.calls++
	d.busy.add(e.ServiceMS)
	r.calls++
	r.begun = true
	if r.timed, r.lastMS = c.Timed, e.ArrivalMS; !c.Timed {
		r.lastMS = e.EndMS
	}
	r.service.add(e.ServiceMS)
	m.stats.add(&e, c.Timed)
	return e, nil
}

// Reset resets a device's chip, as closing it does.
func (r *Replay) Reset(device int) { r.devices[device].driver.Reset() }

// Forget forgets what was counted, but not what is on the devices and what
// they are busy with: everything before has only warmed them up.
func (r *Replay) Forget() {
	r.calls, r.service = 0, means{}
	for i := range r.models {
		r.models[i].stats = modelStats{}
	}
	for i := range r.devices {
		r.devices[i] = device{driver: r.devices[i].driver, freeMS: r.devices[i].freeMS}
	}
}
