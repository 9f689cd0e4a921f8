package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/compile/report"
)

func logCommand(u *ui) *cli.Command {
	return &cli.Command{
		Name:      "log",
		Usage:     "read what edgetpu_compiler printed",
		ArgsUsage: "FILE|-...",
		Description: `Reads the output of edgetpu_compiler, any release from 1.0 to 16.0, even where
it was cut, wrapped or quoted, and operation log files; "-" is standard input.
A text may hold several invocations. Lines that are not understood are listed.
A compilation that failed is a result too: the exit code is 0.

--learn keeps available memory and mapping in PLAN.facts.json, for optimize.
Models are recognised by the names of their files.`,
		Flags: []cli.Flag{
			formatFlag("json", "table"),
			&cli.StringFlag{Name: "learn", Usage: "keep what the text teaches about the models of the `PLAN`, or of its lock, in the facts beside it"},
		},
		Action: func(c *cli.Context) error { return readLogs(c, u) },
	}
}

func readLogs(c *cli.Context, u *ui) error {
	format := c.String("format")
	if err := oneOf("--format", format, "json", "table"); err != nil {
		return err
	}
	if err := wantArgs(c, "file", 1, -1); err != nil {
		return err
	}
	// One bad file among many does not hide what is known of the others.
	var reports []report.Report
	var failed []error
	for _, name := range c.Args().Slice() {
		if c.Context.Err() != nil {
			return errInterrupted
		}
		r, err := readLog(name, u)
		if errors.Is(err, report.ErrNoOutput) {
			err = &failure{exitFailed, err, "give what edgetpu_compiler printed, or an operation log file (X_edgetpu.log)"}
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		reports = append(reports, r...)
	}
	var learnt *view.Learnt
	if c.IsSet("learn") {
		var err error
		if learnt, err = learnFrom(c, u, func(p *pupil) error { p.learnReports(reports); return nil }); err != nil {
			return err
		}
		failed = append(failed, nothingLearnt(learnt))
	}
	if len(reports) > 0 {
		result := view.LogJSON(reports, learnt)
		if format == "table" {
			result = view.Log(reports, learnt, u.style())
		}
		if err := u.print(result); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

// readLog reads the output in one file; "-" is standard input.
func readLog(name string, u *ui) ([]report.Report, error) {
	shown := filepath.ToSlash(name)
	if name == "-" {
		return report.Parse(shown, u.in)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shown, bare(err))
	}
	defer f.Close() //nolint:errcheck // it was only read
	reports, err := report.Parse(shown, f)
	if e, ok := errors.AsType[*fs.PathError](err); ok { // a folder, for one
		err = fmt.Errorf("%s: %w", shown, bare(e))
	}
	return reports, err
}
