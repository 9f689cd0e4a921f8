package replay

import (
	"errors"
	"fmt"
)

// Role is what an executable of a compiled file is for, numbered as in the file.
type Role int

// Roles.
const (
	StandAlone       Role = iota // a whole inference, whose parameters it streams
	ParameterCaching             // puts parameters on the device
	ExecutionOnly                // an inference that finds them there
)

// Executable is one program of a package.
type Executable struct {
	Role  Role
	Token uint64 // parameter caching token; 0 is none
	Bytes int64  // that cross the bus when it runs, in both directions
	MS    float64
}

// Package is what of a custom op of a compiled file is run: the inference,
// and what has to be on the device before it.
type Package struct {
	main    Executable
	caching Executable
	caches  bool
}

// NewPackage makes a package of its executables as the driver registers them:
// a single one is a stand-alone one whatever its role; of two, one caches
// what the other one uses; of three, the stand-alone one is run and the
// others are not. Their order does not matter.
func NewPackage(executables ...Executable) (Package, error) {
	find := func(r Role) *Executable {
		for i := range executables {
			if executables[i].Role == r {
				return &executables[i]
			}
		}
		return nil
	}
	for i, e := range executables {
		if e.Bytes < 0 || !(e.MS >= 0 && e.MS <= maxMS) {
			return Package{}, fmt.Errorf("executable %d of %d bytes and %v ms", i+1, e.Bytes, e.MS)
		}
	}
	caching, execution, alone := find(ParameterCaching), find(ExecutionOnly), find(StandAlone)
	switch n := len(executables); {
	case n == 1:
		return Package{main: executables[0]}, nil
	case n == 2 && caching != nil && execution != nil:
		if caching.Token == 0 {
			return Package{}, errors.New("parameters are cached under token 0, which the driver refuses")
		}
		return Package{main: *execution, caching: *caching, caches: true}, nil
	case n == 3 && caching != nil && execution != nil && alone != nil:
		return Package{main: *alone}, nil
	default:
		return Package{}, fmt.Errorf("%d executables that the driver does not register as a package", n)
	}
}

// maxMS is far above any time of a call: a year.
const maxMS = 366 * 24 * 3600 * 1000

// Driver is the state of one opened device: the token of what is cached there
// and which references to parameter-caching executables are loaded under it.
// The zero value is a device that was just opened.
//
// As in libedgetpu, a run whose token is 0 or another one forgets everything;
// a run whose parameters are not loaded sets the token and loads them. A
// reference belongs to an interpreter: two of one file each load their own.
type Driver struct {
	token uint64
	// epoch counts how often everything was forgotten. A reference is loaded
	// if it was in this epoch.
	epoch uint64
}

// Interpreter is an opened model: its packages in the order in which a call runs
// them, and for each when it was loaded.
type Interpreter struct {
	packages []Package
	requests int
	loadedIn []uint64 // epoch + 1 of the last load, 0 for never
}

// NewInterpreter opens a model. A call makes so many requests of each package,
// one for each element of the batch; 0 is 1. An interpreter is used with one driver.
func NewInterpreter(packages []Package, requests int) *Interpreter {
	return &Interpreter{packages: packages, requests: max(1, requests), loadedIn: make([]uint64, len(packages))}
}

// Invoke runs a call and appends to loads the numbers of the packages, from 0,
// whose parameters had to be loaded.
func (d *Driver) Invoke(i *Interpreter, loads []int) []int {
	for p := range i.packages {
		for range i.requests {
			if d.submit(i, p) {
				loads = append(loads, p)
			}
		}
	}
	return loads
}

// submit runs one request of a package and reports whether it loads.
func (d *Driver) submit(i *Interpreter, p int) bool {
	pkg := &i.packages[p]
	if pkg.main.Token == 0 || pkg.main.Token != d.token {
		d.forget()
	}
	if !pkg.caches || i.loadedIn[p] == d.epoch+1 {
		return false
	}
	d.token, i.loadedIn[p] = pkg.caching.Token, d.epoch+1
	return true
}

func (d *Driver) forget() {
	d.token = 0
	d.epoch++
}

// Reset is the reset of the chip when its last user closes it, and after a
// watchdog's timeout: everything is forgotten.
func (d *Driver) Reset() { d.forget() }

// Token is the token of what is cached, 0 for nothing.
func (d *Driver) Token() uint64 { return d.token }
