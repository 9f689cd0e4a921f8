package remote

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/device"
)

// Script is the measurer in Python.
//
//go:embed measure.py
var Script []byte

// ScriptName is what files with [Script] are called.
const ScriptName = "measure.py"

// interpreter is the one that measures where nobody names another.
const interpreter = "python3"

// Python measures on a device of this machine with a script in Python.
type Python struct {
	Interpreter string   // a path or a name; "" is python3
	Dir         string   // the folder of the runs; "" is the current one
	Env         []string // variables besides this process's own, NAME=VALUE
	// OpenDeadline replaces the time that opening the device may take.
	OpenDeadline time.Duration
}

// Measure implements [profile.Measurer]. The script lies in a private folder as
// long as it takes.
func (p *Python) Measure(ctx context.Context, run *profile.Run, emit func(*profile.Sample) error) (err error) {
	name := p.Interpreter
	if name == "" {
		name = interpreter
	}
	program, err := exec.LookPath(name)
	if err == nil {
		program, err = filepath.Abs(program) // the child starts in another folder
	}
	if err != nil {
		return &profile.Failure{Code: profile.NotAvailable, Text: fmt.Sprintf("there is no Python: %v", err), Hint: "install Python 3.5 or later, or name another one with --python"}
	}
	dir, err := os.MkdirTemp("", "tpuplan-python-")
	if err != nil {
		return fmt.Errorf("a folder for the script: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	script := filepath.Join(dir, ScriptName)
	if err := os.WriteFile(script, Script, 0o600); err != nil {
		return err
	}
	local := device.Local{Command: []string{program, script, "--events"}, Dir: p.Dir, Env: p.Env, OpenDeadline: p.OpenDeadline}
	return local.Measure(ctx, run, emit)
}
