package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/profile/device"
)

// run is the whole program: args[0] is its name, the result is the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) exitCode {
	ignoreFileSizeSignal()
	if len(args) == 2 && args[1] == device.ChildCommand { // this program, started by itself
		return exitCode(device.Serve(stdin, stdout))
	}
	u := &ui{in: stdin, out: stdout, err: stderr, getenv: getenv, color: "auto", warned: map[string]bool{}}
	app := newApp(u)
	w, err := arrange(app, args)
	if err == nil {
		err = execute(ctx, app, u, w)
	}
	if err != nil {
		u.fail(err)
	}
	return codeOf(err)
}

func execute(ctx context.Context, app *cli.App, u *ui, w *words) error {
	if w.help {
		if w.command == nil {
			return u.print(overview(app))
		}
		return u.print(commandHelp(w.command))
	}
	// The first signal asks the search for what it has; the second one finds
	// the default handling restored and kills.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return app.RunContext(ctx, w.line)
}

func newApp(u *ui) *cli.App {
	app := &cli.App{
		Name:  "tpuplan",
		Usage: "plan which models share the memory of an Edge TPU",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no warnings, hints and notes"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "say what is done, found and written"},
			&cli.StringFlag{Name: "color", Value: "auto", DefaultText: "auto", Usage: "colour `WHEN`: auto (on a terminal), always or never"},
		},
		Commands: []*cli.Command{
			optimizeCommand(u),
			compileCommand(u),
			predictCommand(u),
			inspectCommand(u),
			simulateCommand(u),
			profileCommand(u),
			validateCommand(u),
			logCommand(u),
			calibrateCommand(u),
			versionCommand(u),
		},
		HideHelp:                  true,
		HideVersion:               true,
		DisableSliceFlagSeparator: true,
		Writer:                    u.out,
		ErrWriter:                 u.err,
		ExitErrHandler:            func(*cli.Context, error) {}, // run alone decides about exit codes
		OnUsageError:              badFlag,
		Before: func(c *cli.Context) error {
			u.quiet, u.verbose, u.color = c.Bool("quiet"), c.Bool("verbose"), c.String("color")
			return oneOf("--color", u.color, "auto", "always", "never")
		},
		Action: func(c *cli.Context) error {
			return usageError("run \"tpuplan help\" for the list", "no command given")
		},
	}
	app.Commands = append(app.Commands, helpCommand(u, app))
	for _, c := range app.Commands {
		c.OnUsageError = badFlag
		c.HideHelp = true
	}
	return app
}

// badFlag turns what the flag package says into an error of ours.
func badFlag(_ *cli.Context, err error, _ bool) error {
	return usageError("", "%w", err)
}

// oneOf checks a flag whose values are words.
func oneOf(flag, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return usageError(didYouMean(value, allowed, ""), "%s is %s, not %q", flag, orList(allowed), value)
}

// wantArgs checks the number of arguments; most < 0 means any number.
func wantArgs(c *cli.Context, what string, least, most int) error {
	hint := strings.TrimSpace("usage: tpuplan " + c.Command.Name + " " + c.Command.ArgsUsage)
	if n := c.NArg(); n < least {
		return usageError(hint, "tpuplan %s: no %s given", c.Command.Name, what)
	} else if most == 0 && n > 0 {
		return usageError(hint, "tpuplan %s takes no %s", c.Command.Name, what)
	} else if most >= 0 && n > most {
		return usageError(hint, "tpuplan %s: one %s at a time, %d given", c.Command.Name, what, n)
	}
	return nil
}

var errInterrupted = &failure{code: exitInterrupted, err: errors.New("interrupted"), hint: "no file was written"}
