package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/plans"
	"github.com/tpuplan/tpuplan/tflite"
)

func predictCommand(u *ui) *cli.Command {
	return &cli.Command{
		Name:      "predict",
		Usage:     "say what edgetpu_compiler would report, without it",
		ArgsUsage: "MODEL.tflite...",
		Description: `Says what edgetpu_compiler would report for one invocation with these models in
this order: which ops map to the Edge TPU, what is cached on it and what is
streamed in every call. Nothing is run, on any system.

How many rows the compiler reserves is computed from the models. Where a log of
the real compiler is at hand, --available takes the size that it printed and
--reserved-rows the number itself. --facts also takes sizes and splits from real
compiles; what they tell is shown as measured.`,
		Flags: append(settingsFlags(),
			&cli.StringFlag{Name: "available", Usage: "the `SIZE` that the compiler printed as available for this invocation, 6.91MiB"},
			&cli.StringSliceFlag{Name: "facts", Usage: "go by what real compiles taught, as compile, log --learn and inspect --learn keep it in `FILE`; may be repeated"},
			&cli.StringFlag{Name: "reserved-rows", Usage: "reserve `N` rows of every tile, -32 to 1400"},
			formatFlag("table", "json", "log"),
		),
		Action: func(c *cli.Context) error { return predict(c, u) },
	}
}

// settingsFlags are the flags that say how models are analysed; the commands
// that need no plan share them.
func settingsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "compiler", Value: "16.0", Usage: "compiler release `V`: 1.0, 2.0, 2.1, 14.1, 15.0 or 16.0 (default)"},
		&cli.StringFlag{Name: "min-runtime", Usage: "the compiler's -m: least runtime version `N`, 10 to 14 (default)"},
		&cli.BoolFlag{Name: "a", Usage: "the compiler's -a: every region that can run on the TPU does"},
	}
}

func settings(c *cli.Context) (compile.Settings, error) {
	s := compile.Settings{AllRegions: c.Bool("a")}
	var err error
	if s.Version, err = compile.ParseVersion(c.String("compiler")); err != nil {
		return s, usageError("", "--compiler: %w", err)
	}
	if c.IsSet("min-runtime") {
		s.MinRuntime, err = intFlag(c, "min-runtime", 10, 14)
	}
	return s, err
}

// formatFlag is --format of a command; the first format is the default.
func formatFlag(formats ...string) cli.Flag {
	list := strings.Join(formats[:len(formats)-1], ", ") + " or " + formats[len(formats)-1]
	return &cli.StringFlag{Name: "format", Value: formats[0], Usage: "output `FORMAT`: " + list}
}

func intFlag(c *cli.Context, name string, low, high int) (int, error) {
	n, err := strconv.Atoi(c.String(name))
	if err != nil || n < low || n > high {
		return 0, usageError("", "%s is a whole number from %d to %d, not %q", dashes(name), low, high, c.String(name))
	}
	return n, nil
}

func predict(c *cli.Context, u *ui) error {
	format := c.String("format")
	if err := oneOf("--format", format, "table", "json", "log"); err != nil {
		return err
	}
	s, err := settings(c)
	if err != nil {
		return err
	}
	if c.IsSet("available") && c.IsSet("reserved-rows") {
		return usageError("give the one you know", "--available and --reserved-rows say the same thing")
	}
	if c.IsSet("facts") && (c.IsSet("available") || c.IsSet("reserved-rows")) {
		return usageError("give the one that you mean", "--facts says what is available, and so do --available and --reserved-rows")
	}
	if err := wantArgs(c, "model", 1, -1); err != nil {
		return err
	}
	facts := compile.NewFacts()
	for _, name := range c.StringSlice("facts") {
		more, err := plans.ReadFacts(name)
		if err != nil {
			return err
		}
		facts.Merge(more)
	}
	reserve, err := reserveFlags(c)
	if err != nil {
		return err
	}
	inputs, err := analyze(c.Context, c.Args().Slice(), s)
	if err != nil {
		return err
	}
	if err := reserve(inputs); err != nil {
		return err
	}
	applyFacts(u, facts, inputs)
	p := facts.Predict(s.Version, inputs)
	for i := range p.Models {
		if f := p.Models[i].Model.Failure; f != nil {
			u.warn(fmt.Sprintf("%s: edgetpu_compiler %s would give no usable model: %s", p.Models[i].File, s.Version, f.Text))
		}
	}
	if p.SharesLayers && !s.Version.Sequential() {
		u.warn("models of this call share identical layers; how edgetpu_compiler 16.0 splits memory between them is a guess")
	}
	switch format {
	case "json":
		return u.print(view.PredictJSON(p))
	case "log":
		var b bytes.Buffer
		if err := report.Print(&b, &p.Report); err != nil {
			return err
		}
		return u.print(b.Bytes())
	}
	return u.print(view.Predict(p, u.style()))
}

// applyFacts corrects analysed models by what is known of them.
func applyFacts(u *ui, facts *compile.Facts, inputs []compile.Input) {
	for i := range inputs {
		a := facts.Apply(inputs[i].Model)
		if a.Facts != nil {
			inputs[i].Reserve = a.Reserve
		}
		for _, o := range a.Remapped {
			u.warn(fmt.Sprintf("%s: a real compile put %d of %s on the Edge TPU, not %d as predicted", inputs[i].File, o.Measured, o.Op, o.Predicted))
		}
	}
	facts.Narrow(inputs)
}

// reserveFlags reads --available and --reserved-rows. What it returns puts
// them in the place of the models' own reserves.
func reserveFlags(c *cli.Context) (func([]compile.Input) error, error) {
	var known func(formula compile.Reserve) (compile.Reserve, error)
	switch {
	case c.IsSet("available"):
		size, err := report.ParseSize(c.String("available"))
		if err != nil {
			return nil, usageError("", "--available: %w", err)
		}
		known = func(formula compile.Reserve) (compile.Reserve, error) {
			r, err := compile.ReserveFromAvailable(size, formula, compile.FromMeasurement)
			if err != nil {
				return r, usageError("", "--available: %w", err)
			}
			return r, nil
		}
	case c.IsSet("reserved-rows"):
		rows, err := intFlag(c, "reserved-rows", -32, 1400)
		if err != nil {
			return nil, err
		}
		known = func(formula compile.Reserve) (compile.Reserve, error) { return compile.ReserveRows(rows, formula) }
	default:
		return func([]compile.Input) error { return nil }, nil
	}
	return func(inputs []compile.Input) error {
		members := make([]compile.Reserve, len(inputs))
		for i := range inputs {
			members[i] = inputs[i].Reserve
		}
		r, err := known(compile.GroupReserve(members))
		for i := range inputs {
			inputs[i].Reserve = r
		}
		return err
	}, nil
}

// analyze reads source models and says what the compiler would do with each.
// Only the analysis is kept, not the bytes of the files.
func analyze(ctx context.Context, files []string, s compile.Settings) ([]compile.Input, error) {
	inputs := make([]compile.Input, 0, len(files))
	for _, name := range files {
		if ctx.Err() != nil {
			return nil, errInterrupted
		}
		f, err := tflite.Open(name)
		if err != nil {
			return nil, err
		}
		if f.Kind() == tflite.KindCompiled {
			return nil, &failure{exitFailed, fmt.Errorf("%s: already compiled for the Edge TPU", name), "give the model that it was compiled from; \"tpuplan inspect\" reads compiled files"}
		}
		src, err := f.Source()
		if err != nil {
			return nil, err
		}
		m := compile.Analyze(src, s)
		m.Load.Content = f.SHA256()
		inputs = append(inputs, compile.Input{File: filepath.ToSlash(name), Bytes: f.Size(), Model: m, Reserve: m.Reserve})
	}
	return inputs, nil
}
