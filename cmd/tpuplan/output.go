package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/tpuplan/tpuplan/plans"
)

// output is a file that is being written. What was at its path stays there
// until commit, which needs a file that is complete and synced.
type output struct {
	io.Writer
	sync    func() error
	commit  func() error
	discard func() // removes what was written, unless commit was called
}

// create opens an output at a path that a user gave: a link stays one and the
// file it leads to is replaced, and what is no file, such as /dev/null, is
// written to instead.
func create(path string) (*output, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil: // nothing is there yet
	case info.IsDir():
		return nil, errors.New("it is a folder")
	case !info.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		return &output{Writer: f, sync: func() error { return nil }, commit: f.Close, discard: func() { _ = f.Close() }}, nil
	default:
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return nil, err
		}
	}
	return pending(path)
}

// replace writes data beside a path; commit puts it there.
func replace(path string, data []byte) (commit func() error, discard func(), err error) {
	o, err := create(path)
	if err != nil {
		return nil, nil, err
	}
	if _, err = o.Write(data); err == nil {
		err = o.sync()
	}
	if err != nil {
		o.discard()
		return nil, nil, err
	}
	return o.commit, o.discard, nil
}

// inputsOf are the files that a plan is made of and kept in, with what they are.
func inputsOf(plan string, p *plans.Resolved) map[string]string {
	inputs := map[string]string{plan: "the plan file", plans.LockPath(plan): "the lock", plans.FactsPath(plan): "the facts file"}
	if p.Calibrated != nil {
		inputs[p.Calibrated.Path] = "the calibration of the plan"
	}
	for _, f := range p.Files {
		inputs[f.Path] = "a model of the plan"
	}
	return inputs
}

// checkOutput refuses an output that is one of the inputs.
func checkOutput(flag, path string, inputs map[string]string) error {
	if path == "" {
		return nil
	}
	for input, what := range inputs {
		if sameFile(input, path) {
			return usageError("choose another "+flag, "%s %s is %s", flag, path, what)
		}
	}
	return nil
}

// writeOutput writes a file that a user asked for, or prints it if that is "-".
func writeOutput(u *ui, path string, data []byte) error {
	if path == "-" {
		return u.print(data)
	}
	commit, discard, err := replace(path, data)
	if err == nil {
		defer discard()
		err = commit()
	}
	if err != nil {
		return fmt.Errorf("%s: not written, what was there is untouched: %w", path, bare(err))
	}
	u.done("%s: written", path)
	return nil
}
