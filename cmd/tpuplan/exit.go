package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/tpuplan/tpuplan/plans"
)

// exitCode is what the process returns. Scripts depend on these numbers;
// the topic exit-codes of the help is made from this list.
type exitCode int

const (
	exitOK          exitCode = 0
	exitFailed      exitCode = 1
	exitUsage       exitCode = 2
	exitStale       exitCode = 3
	exitInfeasible  exitCode = 4
	exitUnproven    exitCode = 5
	exitInterrupted exitCode = 130
)

// exitMeanings is the reference text of the codes, in order.
var exitMeanings = []struct {
	code    exitCode
	meaning string
}{
	{exitOK, "done"},
	{exitFailed, "the operation failed: a file cannot be read or written, a model cannot be planned"},
	{exitUsage, "wrong usage, or a plan file with errors (pins that contradict each other too)"},
	{exitStale, "differs: --check, --diff or --locked found that the lock is missing or that its decision would change; inspect --expect found other files than the lock describes; compile built something else than predicted; validate found a time outside the tolerance, or something that is wrong"},
	{exitInfeasible, "no plan satisfies the constraints"},
	{exitUnproven, "--require-optimal: a plan was found, but it is not proven to be the best"},
	{exitInterrupted, "interrupted; no file was written, save groups that compile had finished and samples that profile or validate had measured"},
}

// failure is an error that decides the exit code and may carry a hint: what
// the user can do about it.
type failure struct {
	code exitCode
	err  error
	hint string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usageError is a failure of the command line itself.
func usageError(hint, format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...), hint: hint}
}

// codeOf is the exit code of an error.
func codeOf(err error) exitCode {
	if err == nil {
		return exitOK
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	if problems, ok := errors.AsType[plans.Problems](err); ok && problems.InPlan() {
		return exitUsage
	}
	return exitFailed
}
