package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/compile/emit"
	"github.com/tpuplan/tpuplan/plans"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/device"
	"github.com/tpuplan/tpuplan/profile/remote"
	"github.com/tpuplan/tpuplan/profile/simulator"
)

// means says where and with what is measured, as flags say it.
type means struct {
	way
	any    bool // no way was asked for
	host   string
	python string
}

// meansFlags are the flags of commands that measure; pretend is a way of
// theirs that measures nothing, "" if they have none.
func meansFlags(pretend string) []cli.Flag {
	usage := "measure with `WAY`: " + orList(wayNames())
	if pretend != "" {
		usage = "measure with `WAY`: " + orList(append(wayNames(), pretend)) + ", which measures nothing"
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "with", Value: wayNames()[0], Usage: usage},
		&cli.StringFlag{Name: "host", Usage: "measure on `HOST`, as ssh takes it: pi@camera"},
		&cli.StringFlag{Name: "python", Usage: "measure with `PYTHON`, not python3; a virtual environment's"},
	}
}

// meansOf reads the flags; nil stands for the way that measures nothing.
func meansOf(c *cli.Context, pretend string) (*means, error) {
	m := &means{way: wayCalled(c.String("with")), any: !c.IsSet("with"), host: c.String("host"), python: c.String("python")}
	names := wayNames()
	if pretend != "" {
		names = append(names, pretend)
	}
	if err := oneOf("--with", c.String("with"), names...); err != nil {
		return nil, err
	}
	if pretend != "" && c.String("with") == pretend {
		for _, flag := range []string{"host", "python"} {
			if c.IsSet(flag) {
				return nil, usageError("leave one of them out", "--%s does not go with --with %s", flag, pretend)
			}
		}
		return nil, nil
	}
	for _, flag := range []string{"host", "python"} {
		if c.IsSet(flag) && c.String(flag) == "" {
			return nil, usageError("", "--%s is empty", flag)
		}
	}
	if m.host != "" {
		if err := remote.CheckName(m.host); err != nil {
			return nil, usageError(err.Hint, "--host: %w", err)
		}
	}
	switch {
	case m.python == "" || m.name == "python":
	case m.any && m.host == "":
		m.way = wayCalled("python") // what else could be meant
	case !m.any:
		return nil, usageError("leave one of them out", "--python does not go with --with %s", m.name)
	}
	return m, nil
}

// hostName is what samples name as their host, "" if that is not known before.
func (m *means) hostName() string {
	switch {
	case m == nil:
		return simulator.Host
	case m.host != "":
		return m.host
	}
	return device.HostName()
}

// checkMeasuring tests the flags that all commands that measure have besides.
func checkMeasuring(c *cli.Context, u *ui) error {
	output := c.String("o")
	switch {
	case c.Int("seed") < 0:
		return usageError("", "--seed is a whole number from 0 on, not %d", c.Int("seed"))
	case c.Duration("deadline") <= 0:
		return usageError("leave it out for 10s", "--deadline is a time above zero, such as 30s")
	case c.IsSet("o") && output == "":
		return usageError("", "the name of a file is empty")
	case u.isStdout(output):
		return usageError("write -o -, which leaves stdout to it alone", "-o %s is stdout", output)
	case output == "-" && c.String("format") == "json":
		return usageError("leave one of them out", "-o - and --format json both want stdout")
	}
	if !c.IsSet("emit") {
		return nil
	}
	if err := oneOf("--emit", c.String("emit"), "make"); err != nil {
		return err
	}
	if output == "" {
		return usageError("add -o measure.mk, or -o - for stdout", "--emit needs -o FILE")
	}
	return nil
}

// open returns a measurer for runs whose files are relative to a folder, and what
// has to be called when it has measured.
func (m *means) open(ctx context.Context, u *ui, dir string) (profile.Measurer, func(), error) {
	if m.host == "" {
		measurer, err := m.way.open(m, dir)
		return measurer, func() {}, err
	}
	host := remote.Host{
		Name: m.host, Dir: dir, Python: m.python, With: remote.With(m.name), Programs: programs(u),
		SSH: strings.Fields(u.getenv("TPUPLAN_SSH")), SCP: strings.Fields(u.getenv("TPUPLAN_SCP")),
		Note: func(text string) { u.done("%s", text) },
	}
	if m.any {
		host.With = remote.Any
	}
	board, err := remote.Dial(ctx, host)
	if err != nil {
		return nil, nil, measuringFailed(ctx, u, err, &sampleFile{})
	}
	return board, func() {
		if err := board.Close(); err != nil {
			u.warn(err.Error())
		}
	}, nil
}

// programs is the folder with programs for boards: dist, beside this program.
func programs(u *ui) string {
	if dir := u.getenv("TPUPLAN_DIST"); dir != "" {
		return dir
	}
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(self), "dist")
}

func measureWithPython(m *means, dir string) (profile.Measurer, error) {
	return &remote.Python{Interpreter: m.python, Dir: dir}, nil
}

// importSamples reads what others have measured, shows it, and keeps it.
func importSamples(c *cli.Context, u *ui, r *profiling) error {
	file, err := openSamples(u, r.output)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // every sample was written on its own
	p := &view.Profiled{}
	twice := 0
	for _, name := range r.imports {
		in, shown := u.in, "stdin"
		if name != "-" {
			if r.output != "" && r.output != "-" && sameFile(name, r.output) {
				return usageError("choose another -o", "-o %s is what is imported", r.output)
			}
			f, err := os.Open(name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, bare(err))
			}
			defer f.Close() //nolint:errcheck // it was only read
			in, shown = f, filepath.ToSlash(name)
		}
		// All of a file or nothing: an error in its last line is found before its first is kept.
		var samples []profile.Sample
		dropped, err := profile.Import(shown, in, func(s *profile.Sample) error {
			samples = append(samples, *s)
			return c.Context.Err()
		})
		if err != nil {
			return interrupted(c.Context, err)
		}
		if dropped {
			u.note(shown + ": its last line was cut off, and is dropped")
		}
		for i := range samples {
			if file.has(&samples[i]) {
				twice++
				continue
			}
			if err := file.add(&samples[i]); err != nil {
				return err
			}
		}
		p.Samples = append(p.Samples, samples...)
	}
	if twice > 0 {
		u.note(fmt.Sprintf("%d samples are in %s already", twice, r.output))
	}
	if len(p.Samples) == 0 {
		return fmt.Errorf("%s: no samples", strings.Join(r.imports, ", "))
	}
	return showProfile(u, r, p)
}

// exportSeries writes the runs of a profile for a board that cannot be reached.
func exportSeries(u *ui, r *profiling, s *subjects) error {
	r.series.Name = exportName(r.export)
	runs, unmeasured := r.series.Runs(s.alone, s.squeezed)
	for _, w := range noLoads(unmeasured) {
		u.warn(w.Text)
	}
	_, here := remote.Commands(filepath.Base(r.export))
	return exportRuns(u, r.export, s.dir, s.inputs(r.plan), runs, here+" -o samples.jsonl")
}

// exportName begins the names of exported runs.
func exportName(file string) string {
	return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
}

// exportRuns writes runs, whose files are relative to a folder, and the script
// that does them, and says what to type: there, and here.
func exportRuns(u *ui, export, dir string, inputs map[string]string, runs []*profile.Run, here string) error {
	script := filepath.Join(filepath.Dir(export), remote.ScriptName)
	if err := errors.Join(checkOutput("--export", export, inputs), checkOutput("--export", script, inputs)); err != nil {
		return err
	}
	if filepath.Base(export) == remote.ScriptName {
		return usageError("choose another name, such as run.json", "--export %s is where the script goes", export)
	}
	if old, err := os.ReadFile(script); err == nil && !remote.IsScript(old) {
		return &failure{exitFailed, fmt.Errorf("%s: it is another file than tpuplan's, and stays", script), "export to another folder"}
	}
	files, err := carry(export, dir, runs)
	if err != nil {
		return err
	}
	data, err := remote.RunFile(runs)
	if err != nil {
		return err
	}
	var commits []func() error
	for _, out := range []struct {
		path string
		data []byte
	}{{script, remote.Script}, {export, data}} {
		commit, discard, err := replace(out.path, out.data)
		if err != nil {
			return fmt.Errorf("%s: not written, what was there is untouched: %w", out.path, bare(err))
		}
		defer discard()
		commits = append(commits, commit)
	}
	for _, commit := range commits {
		if err := commit(); err != nil {
			return fmt.Errorf("%s: not written: %w", export, bare(err))
		}
	}
	u.done("%s and %s: written", export, script)
	there, _ := remote.Commands(filepath.Base(export))
	var text strings.Builder
	fmt.Fprintf(&text, "Copy to one folder of the board, with the folders they are in here:\n")
	for _, file := range append([]string{remote.ScriptName, filepath.Base(export)}, files...) {
		fmt.Fprintf(&text, "    %s\n", view.Visible(emit.Quote(file)))
	}
	fmt.Fprintf(&text, "There, in that folder:\n    %s\nBack here:\n    %s\n", view.Visible(there), view.Visible(here))
	return u.print([]byte(text.String()))
}

// carry names the files of runs relative to the folder of the file of runs. They
// must lie in it, for it is carried to another machine.
func carry(runFile, dir string, runs []*profile.Run) (files []string, err error) {
	known := map[string]bool{}
	for _, run := range runs {
		for i := range run.Models {
			path := plans.LocalPath(dir, run.Models[i].File)
			file := relative(runFile, path)
			if filepath.IsAbs(filepath.FromSlash(file)) || file == ".." || strings.HasPrefix(file, "../") {
				return nil, usageError("export to a folder in which all models are, such as "+emit.Quote(filepath.ToSlash(filepath.Join(dir, filepath.Base(runFile)))),
					"--export %s: %s is not in its folder and cannot be carried with it", runFile, path)
			}
			if run.Models[i].File = file; !known[file] {
				known[file] = true
				files = append(files, file)
			}
		}
	}
	return files, nil
}
