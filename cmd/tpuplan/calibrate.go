package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/plans"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/fit"
)

func calibrateCommand(u *ui) *cli.Command {
	return &cli.Command{
		Name:      "calibrate",
		Usage:     "fit the cost model to timed calls of a device",
		ArgsUsage: "SAMPLES...",
		Description: `Reads samples (JSON lines tpuplan/sample/v1; "-" is standard input) of one
device of one host and fits the rate of its link, what a load costs besides, and
the compute time and streaming slope of each model, with 95 % intervals. Of
models of a --plan it knows what each op computes and streams: it fits by what
factor their compute differs from that of their shapes, how often nets in passes
are sent their parameters, and with three models or more what the host takes.
What the samples cannot tell apart is named and keeps its built-in value. With
-o the result is written as a file for the calibration key of a plan's
[[device]].

How many bytes a call moves is read from the compiled files that were timed.
Samples carry the SHA-256 of theirs, and it is looked for among all that --run,
--models and --plan name; no other file is taken for it, and it is an error if
it is not there. Samples without one, of older versions or of others, are of the
file that their run, else --models, else --plan has under their model's name;
those that hold bytes need none.

It is an error too if more than a fifth of the samples are outliers: usually
another file was timed. Nothing is written then.`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "run", Usage: "`FILE` with the runs that the samples are of (tpuplan/run/v1), such as profile or validate --export wrote; may be repeated"},
			&cli.StringSliceFlag{Name: "models", Usage: "compiled `FILE` or folder, or NAME=FILE with the name that samples carry; a file x_edgetpu.tflite is model x. Two files of one model: squeezed samples without a hash are of the one that streams more. May be repeated"},
			&cli.StringFlag{Name: "plan", Usage: "`PLAN` whose models were timed: their compiled files in its out_dir, alone in it and as-given in it, its link, and hashes to find the models again"},
			&cli.StringFlag{Name: "link", Usage: "`NAME` of the link, whose values are kept where samples cannot tell; the plan's unless given"},
			&cli.StringFlag{Name: "device", Usage: "only samples of this device, as `NAME` in the samples"},
			&cli.StringSliceFlag{Name: "host", Usage: "leave out samples of other hosts than `NAME`, as in the samples; may be repeated, for names of one machine"},
			&cli.StringFlag{Name: "o", Usage: "also write the calibration to `FILE`; \"-\" is stdout, which then holds nothing else"},
			formatFlag("table", "json"),
		},
		Action: func(c *cli.Context) error { return calibrate(c, u) },
	}
}

func calibrate(c *cli.Context, u *ui) error {
	format, output := c.String("format"), c.String("o")
	if err := oneOf("--format", format, "table", "json"); err != nil {
		return err
	}
	if err := wantArgs(c, "file of samples", 1, -1); err != nil {
		return err
	}
	if u.isStdout(output) {
		return usageError("write -o -, which leaves stdout to the calibration alone", "-o %s is stdout", output)
	}
	for _, name := range c.Args().Slice() {
		if output != "" && output != "-" && name != "-" && sameFile(name, output) {
			return usageError("choose another -o", "-o %s is a file of samples", output)
		}
	}
	samples, err := readSamples(c, u)
	if err != nil {
		return interrupted(c.Context, err)
	}
	t := newTimed(c.Context, samples)
	link, err := t.read(c, u)
	if err != nil {
		return interrupted(c.Context, err)
	}
	data, err := fit.Collect(samples, t.find)
	if err != nil {
		return interrupted(c.Context, hintCalibrate(err, samples))
	}
	result, err := fit.Fit(data, link)
	if err != nil {
		return hintCalibrate(err, samples)
	}
	result.Runtime = t.runtime
	text, err := plans.CalibrationBytes(result)
	if err != nil {
		return err
	}
	if c.Context.Err() != nil {
		return errInterrupted
	}
	if output == "-" {
		return u.print(text)
	}
	if output != "" {
		commit, discard, err := replace(output, text)
		if err == nil {
			defer discard()
			err = commit()
		}
		if err != nil {
			return fmt.Errorf("%s: not written, what was there is untouched: %w", output, bare(err))
		}
		u.done("%s: written", output)
	}
	if format == "json" {
		return u.print(text)
	}
	return u.print(view.Calibration(result, u.style()))
}

// hintCalibrate adds what to do about samples that cannot be used.
func hintCalibrate(err error, samples []profile.Sample) error {
	hint := ""
	if _, ok := errors.AsType[*fit.HostsError](err); ok {
		hint = "choose one with --host; where they are names of one machine, give each with a --host of its own"
	} else if _, ok := errors.AsType[*fit.ForeignFilesError](err); ok {
		hint = "give the file that ran, with --models NAME=FILE or --run, or leave the file out: then the bytes of the samples count"
	} else if _, ok := errors.AsType[*fit.DevicesError](err); ok {
		hint = "choose one with --device"
	} else if e, ok := errors.AsType[*fit.UnknownFilesError](err); ok {
		hint = "name the compiled files that were timed with --models, or the run with --run"
		if len(e.Files) > 0 {
			hint = "give the files that ran, with --models FILE or FOLDER, --run FILE or --plan PLAN; if they were compiled anew since, measure anew"
		}
	} else if _, ok := errors.AsType[*fit.OutliersError](err); ok {
		hint = "usually another file was timed than the one that was read, and samples without sha256 do not say which: give those that ran with --run or --models, or measure anew"
		if !slices.ContainsFunc(samples, func(s profile.Sample) bool { return s.SHA256 == "" }) {
			hint = "the files are those that ran, by their hashes, so something else changed between the samples: heat, another port or cable, other programs; measure anew, or calibrate from fewer sessions"
		}
	} else if errors.Is(err, fit.ErrNoLink) {
		hint = "give --link: usb2, usb3, usb3-rpi4 or pcie"
	} else if errors.Is(err, fit.ErrNoSamples) {
		hint = "samples of kind steady and load are what a calibration is made of"
	} else {
		return err
	}
	return &failure{exitFailed, err, hint}
}

// readSamples reads all files of samples that are named, and leaves out what
// is of other devices and hosts than asked for.
func readSamples(c *cli.Context, u *ui) ([]profile.Sample, error) {
	var samples []profile.Sample
	device, hosts := c.String("device"), c.StringSlice("host")
	if slices.Contains(hosts, "") {
		return nil, usageError("", "--host is empty")
	}
	devices, names := map[string]bool{}, map[string]bool{}
	nameless := 0
	for _, name := range c.Args().Slice() {
		shown, in := filepath.ToSlash(name), u.in
		if name == "-" {
			shown = "stdin"
		} else {
			f, err := os.Open(name)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", shown, bare(err))
			}
			defer f.Close() //nolint:errcheck // it was only read
			in = f
		}
		dropped, err := profile.ReadSamples(shown, in, func(s *profile.Sample) error {
			if s.Host != "" {
				names[s.Host] = true
			}
			if len(hosts) > 0 {
				if s.Host != "" && !slices.Contains(hosts, s.Host) {
					return c.Context.Err()
				}
				if s.Host == "" {
					nameless++
				}
				s.Host = hosts[0] // all that are asked for are one
			}
			if devices[s.Device] = true; !c.IsSet("device") || s.Device == device {
				samples = append(samples, *s)
			}
			return c.Context.Err()
		})
		if err != nil {
			if e, ok := errors.AsType[*fs.PathError](err); ok { // a folder, for one
				return nil, fmt.Errorf("%s: %w", shown, bare(e))
			}
			if c.Context.Err() != nil {
				return nil, err
			}
			return nil, &failure{exitFailed, err, "a file of samples has a line of " + profile.SampleSchema + " for each; tpuplan profile --import reads other forms, and --run takes runs"}
		}
		if dropped {
			u.warn(shown + ": the last line was not written to its end and is left out")
		}
	}
	for _, host := range hosts {
		if !names[host] {
			return nil, &failure{exitFailed, fmt.Errorf("no sample is of host %q", host), thereAre(names, "no sample names its host: leave --host out")}
		}
	}
	if nameless > 0 {
		u.warn(fmt.Sprintf("%d samples name no host and are taken for %q's", nameless, hosts[0]))
	}
	if len(samples) == 0 && len(devices) > 0 {
		return nil, &failure{exitFailed, fmt.Errorf("no sample is of device %q", device), thereAre(devices, "")}
	}
	return samples, nil
}

// thereAre is a hint that names what there are samples of, or another one.
func thereAre(names map[string]bool, none string) string {
	if len(names) == 0 {
		return none
	}
	var list []string
	for name := range names {
		list = append(list, fmt.Sprintf("%q", name))
	}
	slices.Sort(list)
	return "there are samples of " + strings.Join(list, ", ")
}
