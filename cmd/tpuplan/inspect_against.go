package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/cmd/tpuplan/internal/view"
	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/tflite"
)

// inspectAgainst reads a source model and finds the parameters of its ops in
// its compiled form. What the flags do not say about the compiler is taken
// from the compiled file.
func inspectAgainst(c *cli.Context, u *ui, name, against string, s compile.Settings) (view.Inspected, error) {
	f, err := tflite.Open(against)
	if err != nil {
		return view.Inspected{}, err
	}
	a := &view.Against{File: filepath.ToSlash(against), SHA256: f.SHA256(), Origin: "flag"}
	if a.Compiled, err = f.Compiled(); err != nil {
		if f.Kind() == tflite.KindSource {
			return view.Inspected{}, usageError("write: tpuplan inspect --against COMPILED SOURCE", "--against: %w", err)
		}
		return view.Inspected{}, err
	}
	compiled, err := f.Source()
	if err != nil {
		return view.Inspected{}, err
	}
	if !c.IsSet("compiler") {
		s.Version, a.Origin = release(a.Compiled, compiled)
		if a.Origin == "default" {
			u.warn(fmt.Sprintf("%s: the file does not show which compiler made it; %s is assumed (--compiler)", a.File, s.Version))
		}
	}
	if r := a.Compiled.Packages[0].MinRuntime; !c.IsSet("min-runtime") && r >= leastRuntime && r <= latestRuntime {
		s.MinRuntime = r
	}
	s.AllRegions = s.AllRegions || len(a.Compiled.Packages) > 1

	x, err := inspectFile(c.Context, name, s)
	if err != nil {
		return x, err
	}
	if x.Compiled != nil {
		return x, usageError("write: tpuplan inspect --against COMPILED SOURCE", "%s: compiled for the Edge TPU, not a source model", name)
	}
	a.Located = a.Compiled.Locate(x.Source, x.Analysis.Wants())
	x.Against = a
	recognised := func(p tflite.Piece) bool { return p.ByContent }
	if len(a.Located.Wrong) > 0 && !slices.ContainsFunc(a.Located.Pieces, recognised) {
		u.warn(fmt.Sprintf("no weights of %s were recognised in %s: is it the model that this was compiled from?", x.File, a.File))
	}
	return x, c.Context.Err()
}

// Runtime versions that -m takes.
const (
	leastRuntime  = 10
	latestRuntime = 14
)

// release is the compiler release that a compiled file shows, and where that
// comes from. Two of the older generation say how they wrote the file; both
// words stand for the releases around them.
func release(c *tflite.Compiled, compiled *tflite.Source) (compile.Version, string) {
	switch {
	case c.Generation() == "16.0":
		return compile.V16_0, "file"
	case c.Generation() == "<=15.0" && compiled.Description == "Exported from Interpreter.":
		return compile.V2_1, "file"
	case c.Generation() == "<=15.0":
		return compile.V15_0, "file"
	}
	return compile.V16_0, "default"
}

// interrupted tells an interrupt from other errors.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return errInterrupted
	}
	return err
}
