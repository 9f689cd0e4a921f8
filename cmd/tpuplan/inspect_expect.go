package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/compile"
	compilerun "github.com/tpuplan/tpuplan/compile/run" // run is the program
	"github.com/tpuplan/tpuplan/plans"
	"github.com/tpuplan/tpuplan/tflite"
)

// inspectExpect is inspect --expect.
func inspectExpect(c *cli.Context, u *ui, format string) error {
	for _, flag := range []string{"compiler", "min-runtime", "a"} {
		if c.IsSet(flag) {
			return usageError("the lock says it", "%s and --expect exclude each other", dashes(flag))
		}
	}
	if err := wantArgs(c, "folder beside --expect", 1, 1); err != nil {
		return err
	}
	e, err := expect(c.Context, c.String("expect"), c.Args().First())
	if err != nil {
		return interrupted(c.Context, err)
	}
	out := view.Expect(e, u.style())
	if format == "json" {
		if out, err = expectedJSON(e); err != nil {
			return err
		}
	}
	if err := u.print(out); err != nil {
		return err
	}
	if n := len(e.Differences); n > 0 {
		err := fmt.Errorf("%s: not the files that %s describes", e.Dir, e.Lock)
		return &failure{exitStale, err, "build them again; if that gives the same files, the prediction is what differs: compare one with tpuplan inspect --against COMPILED SOURCE"}
	}
	return nil
}

// expectedJSON is the listing of the files that there are, with the comparison.
func expectedJSON(e *view.Expected) ([]byte, error) {
	v, err := compile.ParseVersion(e.Compiler)
	if err != nil {
		return nil, err
	}
	var files []view.Inspected
	for _, g := range e.Groups {
		for _, m := range g.Models {
			if m.Got != nil {
				files = append(files, *m.Got)
			}
		}
	}
	return view.InspectJSON(v, files, together(files), e, nil), nil
}

// expect compares the files in a folder with the lock that describes them.
func expect(ctx context.Context, lockPath, dir string) (*view.Expected, error) {
	lock, err := plans.ReadLock(lockPath)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, usageError("", "%s: not a folder of built files", dir)
	}
	x := &expectation{&view.Expected{Lock: filepath.ToSlash(lockPath), Dir: filepath.ToSlash(dir), Compiler: lock.Decision.Compiler}}
	evidence := map[string]*plans.LockedModel{}
	for i := range lock.Evidence.Models {
		evidence[lock.Evidence.Models[i].Name] = &lock.Evidence.Models[i]
	}
	for _, d := range lock.Decision.Devices {
		for _, g := range d.Groups {
			group := view.ExpectedGroup{Name: g.Name}
			for i, name := range g.Models {
				e := evidence[name]
				m := view.ExpectedModel{
					Name: name, Same: true, Want: view.Split{Cached: e.CachedBytes, Streamed: e.StreamedBytes},
					File: filepath.ToSlash(filepath.Join(dir, compile.OutputName(g.Files[i]))),
				}
				if g.Compiled { // it is used where it lies
					m.File = g.Files[i]
					if !path.IsAbs(m.File) {
						m.File = path.Join(filepath.ToSlash(filepath.Dir(lockPath)), m.File)
					}
				}
				if err := x.read(ctx, g.Name, &m, e.Certainty); err != nil {
					return nil, err
				}
				group.Models = append(group.Models, m)
			}
			x.result.Groups = append(x.result.Groups, group)
		}
	}
	x.tokens()
	return x.result, nil
}

// expectation is a comparison in progress.
type expectation struct{ result *view.Expected }

// differ records a difference; the text begins with the model.
func (x *expectation) differ(kind, group string, m *view.ExpectedModel, format string, args ...any) {
	m.Same = false
	x.result.Differences = append(x.result.Differences, view.Difference{
		Kind: kind, Group: group, Model: m.Name, File: m.File, Text: m.Name + ": " + fmt.Sprintf(format, args...),
	})
}

// read reads the file of a model and compares what can be said of it alone.
func (x *expectation) read(ctx context.Context, group string, m *view.ExpectedModel, certainty string) error {
	f, err := inspectFile(ctx, filepath.FromSlash(m.File), compile.Settings{Version: compile.V16_0})
	format := (*tflite.FormatError)(nil)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		text := ""
		if slices.Contains(compilerun.Unfinished(x.result.Dir), group) {
			text = ": a tpuplan compile was killed while it replaced the group; run it again"
		}
		x.differ("missing", group, m, "%s is missing%s", m.File, text)
		return nil
	case errors.As(err, &format):
		x.differ("damaged", group, m, "%v", err)
		return nil
	case err != nil:
		return err
	case f.Compiled == nil:
		x.differ("not_compiled", group, m, "%s is not compiled for the Edge TPU", m.File)
		return nil
	}
	m.Got = &f
	if made := f.Compiled.Generation(); made != "" && (made == "16.0") != (x.result.Compiler == "16.0") {
		x.differ("compiler", group, m, "%s was made by edgetpu_compiler %s, the lock is for %s", m.File, made, x.result.Compiler)
	}
	got := view.Split{Cached: f.Compiled.CachedBytes(), Streamed: f.Compiled.StreamedBytes()}
	if got != m.Want {
		text := fmt.Sprintf("%s has %v, the lock predicts %v (%s)", m.File, got, m.Want, certainty)
		if now, was := got.Cached+got.Streamed, m.Want.Cached+m.Want.Streamed; now != was {
			text += fmt.Sprintf(": %d bytes in all, not %d", now, was)
		}
		x.differ("split", group, m, "%s", text)
	}
	return nil
}

// built is a model of which there is a compiled file.
type built struct {
	group int
	model *view.ExpectedModel
}

// tokens compares which files were compiled together with the lock's groups.
// Of a group that is not of one piece the first of the largest pieces counts
// as the group, and what is not in it differs.
func (x *expectation) tokens() {
	holders := map[uint64][]built{}
	for g := range x.result.Groups {
		for i := range x.result.Groups[g].Models {
			if m := &x.result.Groups[g].Models[i]; m.Got != nil {
				tokens := m.Got.Compiled.Tokens()
				if len(tokens) > 1 {
					x.differ("token", x.result.Groups[g].Name, m, "%s holds packages of %d runs of the compiler", m.File, len(tokens))
				}
				holders[tokens[0]] = append(holders[tokens[0]], built{g, m})
			}
		}
	}
	// A package without a token says nothing about its company.
	delete(holders, 0)
	for g := range x.result.Groups {
		group := &x.result.Groups[g]
		var main []built // of this group, with the token that most of it has
		for i := range group.Models {
			if mates := inGroup(holders, &group.Models[i], g, true); len(mates) > len(main) {
				main = mates
			}
		}
		for i := range group.Models {
			m := &group.Models[i]
			if m.Got == nil {
				continue
			}
			var others []string
			for k := range group.Models {
				if other := &group.Models[k]; k != i && other.Got != nil {
					others = append(others, other.Name)
				}
			}
			mates, strangers := inGroup(holders, m, g, true), inGroup(holders, m, g, false)
			switch {
			case len(strangers) > 0:
				x.differ("token", group.Name, m, "%s was compiled together with %s, which the lock has in another group", m.File, names(strangers))
			case len(others) == 0:
			case len(mates) <= 1:
				x.differ("token", group.Name, m, "%s was compiled alone, the lock compiles it together with %s", m.File, strings.Join(others, ", "))
			case !slices.ContainsFunc(main, func(b built) bool { return b.model == m }):
				x.differ("token", group.Name, m, "%s was not compiled together with %s", m.File, names(main))
			}
		}
	}
}

// inGroup lists the holders of a model's token that are in its group, or that are not.
func inGroup(holders map[uint64][]built, m *view.ExpectedModel, group int, inside bool) []built {
	if m.Got == nil {
		return nil
	}
	var list []built
	for _, b := range holders[m.Got.Compiled.Tokens()[0]] {
		if (b.group == group) == inside {
			list = append(list, b)
		}
	}
	return list
}

func names(list []built) string {
	var text []string
	for _, b := range list {
		text = append(text, b.model.Name)
	}
	return strings.Join(text, ", ")
}
