package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/compile/timing"
	"github.com/tpuplan/tpuplan/cost"
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
compiles; what they tell is shown as measured.

--link adds how long a warm and a cold call of each model takes with the split
that is predicted, term by term, from the shapes of its ops. Nothing is
measured, so that every time has an interval: wide, or open, for nets unlike
those whose times were published, and the report says why. What stays on the
CPU stands beside it.`,
		Flags: append(settingsFlags(),
			&cli.StringFlag{Name: "available", Usage: "the `SIZE` that the compiler printed as available for this invocation, 6.91MiB"},
			&cli.StringSliceFlag{Name: "facts", Usage: "go by what real compiles taught, as compile, log --learn and inspect --learn keep it in `FILE`; may be repeated"},
			&cli.StringFlag{Name: "reserved-rows", Usage: "reserve `N` rows of every tile, -32 to 1400"},
			&cli.StringFlag{Name: "link", Usage: "also say how long a call takes over the link `NAME`: " + orList(linkNames())},
			&cli.StringFlag{Name: "runtime", Usage: "with --link, of a USB device: the clock of libedgetpu-`NAME`, max (default) or std, which is half of it"},
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
	link, runtime, err := linkFlags(c)
	if err != nil {
		return err
	}
	if link != nil && format == "log" {
		return usageError("use the table or JSON", "--link says how long calls take, which the compiler's own words do not")
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
		if f, ok := errors.AsType[*failure](err); ok && link != nil && f.hint != "" {
			f.hint += "; of a compiled file nothing tells how long it computes, but \"tpuplan profile\" measures it"
		}
		return err
	}
	if err := reserve(inputs); err != nil {
		return err
	}
	known := applyFacts(u, facts, inputs)
	p := facts.Predict(s.Version, inputs)
	for i := range p.Models {
		if f := p.Models[i].Model.Failure; f != nil {
			u.warn(fmt.Sprintf("%s: edgetpu_compiler %s would give no usable model: %s", p.Models[i].File, s.Version, f.Text))
		}
	}
	if p.SharesLayers && !s.Version.Sequential() {
		u.warn("models of this call share identical layers; how edgetpu_compiler 16.0 splits memory between them is a guess")
	}
	var calls *view.PredictedCalls
	if link != nil {
		calls = predictedCalls(p, *link, runtime, known)
	}
	switch format {
	case "json":
		return u.print(view.PredictJSON(p, calls))
	case "log":
		var b bytes.Buffer
		if err := report.Print(&b, &p.Report); err != nil {
			return err
		}
		return u.print(b.Bytes())
	}
	return u.print(view.Predict(p, calls, u.style()))
}

// applyFacts corrects analysed models by what is known of them, and returns it; nil where nothing is.
func applyFacts(u *ui, facts *compile.Facts, inputs []compile.Input) []*compile.ModelFacts {
	known := make([]*compile.ModelFacts, len(inputs))
	for i := range inputs {
		a := facts.Apply(inputs[i].Model)
		if known[i] = a.Facts; a.Facts != nil {
			inputs[i].Reserve = a.Reserve
		}
		for _, o := range a.Remapped {
			u.warn(fmt.Sprintf("%s: a real compile put %d of %s on the Edge TPU, not %d as predicted", inputs[i].File, o.Measured, o.Op, o.Predicted))
		}
	}
	facts.Narrow(inputs)
	return known
}

// linkNames are the links that are known by name, slowest first.
func linkNames() []string {
	var names []string
	for _, l := range cost.Links() {
		names = append(names, l.Name)
	}
	return names
}

// linkFlags reads --link and --runtime; the link is nil where none is asked
// for, the runtime is empty where it makes no difference.
func linkFlags(c *cli.Context) (link *cost.Link, runtime string, err error) {
	if !c.IsSet("link") {
		if c.IsSet("runtime") {
			return nil, "", usageError("say how the device is connected: --link usb3", "--runtime changes how long a call takes, which nobody asked for")
		}
		return nil, "", nil
	}
	if err := oneOf("--link", c.String("link"), linkNames()...); err != nil {
		return nil, "", err
	}
	l, err := cost.BuiltinLink(c.String("link"))
	if err != nil {
		return nil, "", err
	}
	if l.PCIe() {
		if c.IsSet("runtime") {
			return nil, "", usageError("leave it out", "--runtime is of USB devices: the clock of a PCIe device does not depend on it")
		}
		return &l, "", nil
	}
	runtime = "max"
	if c.IsSet("runtime") {
		runtime = c.String("runtime")
		if err := oneOf("--runtime", runtime, "std", "max"); err != nil {
			return nil, "", err
		}
	}
	l, err = l.Runtime(runtime)
	return &l, runtime, err
}

// predictedCalls are the calls of the models of an invocation, each with the
// split that it has there. known are the facts of each.
func predictedCalls(p *compile.Prediction, link cost.Link, runtime string, known []*compile.ModelFacts) *view.PredictedCalls {
	calls := &view.PredictedCalls{Link: link, Runtime: runtime, Models: make([]view.PredictedCall, len(p.Models))}
	for i := range p.Models {
		m := &p.Models[i]
		x := &calls.Models[i]
		if f := m.Model.Failure; f != nil && f.Kind != report.ZeroSubgraphs {
			continue // there is no file to call
		}
		x.Traffic = timing.Traffic(m.Model, known[i])
		x.Measured = known[i] != nil && known[i].InstructionBytes != nil
		model := timing.New(m.Model, link, x.Traffic, timing.LoadBytes(known[i]))
		x.Times, x.Ops = model.Times(&m.Split), model.Ops()
		x.Called, x.OnTPU = true, m.Model.TPUOps > 0
	}
	return calls
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
