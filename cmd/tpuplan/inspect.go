package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/tflite"
)

func inspectCommand(u *ui) *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "show what is in source and compiled models",
		ArgsUsage: "FILE|DIR...",
		Description: `Shows for a source model which ops run on the Edge TPU, why the others do not,
and how many bytes and rows of its memory each takes; for a compiled one its
packages, tokens and sizes. A folder stands for all .tflite files below it.
Compiled files that share a token were compiled together.

--against finds the parameters of each op of one source model in its compiled
form and names the op where the prediction goes wrong. The compiler release is
taken from the compiled file unless --compiler is given.

--expect checks that the compiled files in a folder are those that a lock
describes: groups, and what of each model is cached. If not the exit code is 3.

--learn keeps sizes and splits of compiled files in PLAN.facts.json. A file
teaches about the model that has its name and its weights.`,
		Flags: append(settingsFlags(),
			&cli.StringFlag{Name: "against", Usage: "the `COMPILED` form of the one source model given"},
			&cli.StringFlag{Name: "learn", Usage: "keep what the compiled files teach about the models of the `PLAN`, or of its lock, in the facts beside it"},
			&cli.StringFlag{Name: "expect", Usage: "the `LOCK` that describes the files in the one folder given"},
			formatFlag("table", "json"),
		),
		Action: func(c *cli.Context) error { return inspect(c, u) },
	}
}

func inspect(c *cli.Context, u *ui) error {
	format := c.String("format")
	if err := oneOf("--format", format, "table", "json"); err != nil {
		return err
	}
	s, err := settings(c)
	if err != nil {
		return err
	}
	switch {
	case c.IsSet("against") && c.IsSet("expect"):
		return usageError("", "--against and --expect exclude each other")
	case c.IsSet("learn") && (c.IsSet("against") || c.IsSet("expect")):
		return usageError("learn from the files in a run of its own", "--learn stands alone, without --against and --expect")
	case c.IsSet("expect"):
		return inspectExpect(c, u, format)
	case c.IsSet("against"):
		if err := wantArgs(c, "source model beside --against", 1, 1); err != nil {
			return err
		}
		f, err := inspectAgainst(c, u, c.Args().First(), c.String("against"), s)
		if err != nil {
			return interrupted(c.Context, err)
		}
		return printInspected(u, format, f.Analysis.Settings.Version, []view.Inspected{f}, nil)
	}
	if err := wantArgs(c, "file", 1, -1); err != nil {
		return err
	}
	names, err := modelFiles(c.Args().Slice())
	if err != nil {
		return err
	}
	// One bad file among many does not hide what is known of the others.
	var files []view.Inspected
	var failed []error
	for _, name := range names {
		f, err := inspectFile(c.Context, name, s)
		if err != nil {
			if c.Context.Err() != nil {
				return errInterrupted
			}
			failed = append(failed, err)
			continue
		}
		files = append(files, f)
	}
	var learnt *view.Learnt
	if c.IsSet("learn") {
		if learnt, err = learnFrom(c, u, func(p *pupil) error { return p.learnCompiled(c.Context, files) }); err != nil {
			return interrupted(c.Context, err)
		}
		failed = append(failed, nothingLearnt(learnt))
	}
	if len(files) > 0 {
		if err := printInspected(u, format, s.Version, files, learnt); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

func printInspected(u *ui, format string, v compile.Version, files []view.Inspected, learnt *view.Learnt) error {
	if format == "json" {
		return u.print(view.InspectJSON(v, files, together(files), nil, learnt))
	}
	return u.print(view.Inspect(files, together(files), learnt, u.style()))
}

// modelFiles replaces folders by the .tflite files below them, sorted.
func modelFiles(args []string) ([]string, error) {
	var names []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil || !info.IsDir() {
			names = append(names, arg) // what is wrong with it is said when it is read
			continue
		}
		var below []string
		err = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if !d.IsDir() && strings.HasSuffix(path, ".tflite") {
				below = append(below, path)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(below) == 0 {
			return nil, fmt.Errorf("%s: no .tflite file in this folder", arg)
		}
		slices.Sort(below)
		names = append(names, below...)
	}
	return names, nil
}

func inspectFile(ctx context.Context, name string, s compile.Settings) (view.Inspected, error) {
	if err := ctx.Err(); err != nil {
		return view.Inspected{}, err
	}
	f, err := tflite.Open(name)
	if err != nil {
		return view.Inspected{}, err
	}
	x := view.Inspected{File: filepath.ToSlash(name), SHA256: f.SHA256(), Bytes: f.Size()}
	if x.Source, err = f.Source(); err != nil {
		return x, err
	}
	if f.Kind() == tflite.KindCompiled {
		x.Segment = segment(name)
		x.Compiled, err = f.Compiled()
		return x, err
	}
	x.Analysis = compile.Analyze(x.Source, s)
	x.Quantization = quantization(x.Source)
	return x, nil
}

// segmentName is how the compiler names the outputs of -n.
var segmentName = regexp.MustCompile(`_segment_(\d{1,4})_of_(\d{1,4})(_edgetpu)?\.tflite$`)

// segment is the part of a model that a file is, nil if it is a whole one.
func segment(name string) *view.Segment {
	parts := segmentName.FindStringSubmatch(name)
	if parts == nil {
		return nil
	}
	s := new(view.Segment)
	s.Index, _ = strconv.Atoi(parts[1]) // digits
	s.Of, _ = strconv.Atoi(parts[2])
	return s
}

// quantization says what type a model computes in. Ops at its border do not
// count: conversions from and to float, and custom ops, which are mostly
// post-processing.
func quantization(src *tflite.Source) string {
	seen := map[string]bool{}
	for i := range src.Ops {
		op := &src.Ops[i]
		if op.Code == tflite.Quantize || op.Code == tflite.Dequantize || op.Code == tflite.Custom {
			continue
		}
		for _, t := range op.Outputs {
			if t < 0 {
				continue
			}
			switch src.Tensors[t].Type {
			case tflite.Uint8:
				seen["uint8"] = true
			case tflite.Int8:
				seen["int8"] = true
			case tflite.Float32, tflite.Float16:
				seen["float"] = true
			}
		}
	}
	if len(seen) == 1 {
		for kind := range seen {
			return kind
		}
	}
	return "mixed"
}

// together finds the compiled files that carry the same token. A file whose
// packages cache nothing and carry none is in no group.
func together(files []view.Inspected) []view.Together {
	var groups []view.Together
	if len(files) < 2 {
		return nil
	}
	for i := range files {
		if files[i].Compiled == nil {
			continue
		}
		for _, token := range files[i].Compiled.Tokens() {
			if token == 0 {
				continue
			}
			at := slices.IndexFunc(groups, func(g view.Together) bool { return g.Token == token })
			if at < 0 {
				at = len(groups)
				groups = append(groups, view.Together{Token: token})
			}
			// one that is named twice is in its group once
			if !slices.ContainsFunc(groups[at].Files, func(f *view.Inspected) bool { return f.File == files[i].File }) {
				groups[at].Files = append(groups[at].Files, &files[i])
			}
		}
	}
	return groups
}
