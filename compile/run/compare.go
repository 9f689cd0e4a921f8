package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/tflite"
)

// Kinds of differences.
const (
	SplitDiffers    = "split"    // other bytes cached or streamed than predicted
	TokenDiffers    = "token"    // files of one call that do not belong together
	CompilerDiffers = "compiler" // not the release that the prediction is for
	ReportDiffers   = "report"   // the compiler printed something else, the files agree
)

// Difference is one thing in which the compiler did otherwise than predicted.
type Difference struct {
	Kind  string // one of the kinds above
	Model string // name; empty for the whole group
	File  string // compiled file; empty for the whole group
	Text  string // a sentence that names the model and the bytes
}

// outputs reads what a call has left in the temporary folder, in the order of
// the call's models.
func (w *work) outputs(call *compile.Invocation) ([]Built, error) {
	var built []Built
	final := call.Outputs()
	for i, file := range call.Files {
		name := compile.OutputName(file)
		path := filepath.Join(w.temp, name)
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, w.unusable(call, nil, "wrote no %s", name)
		case err != nil:
			return nil, w.unusable(call, err, "%s: %v", name, bare(err))
		case info.Size() == 0:
			return nil, w.unusable(call, nil, "%s is empty", name)
		}
		f, err := tflite.Open(path)
		var c *tflite.Compiled
		if err == nil {
			c, err = f.Compiled()
		}
		if err == nil && len(c.Packages) == 0 {
			err = errors.New("nothing of it would run on the Edge TPU")
		}
		if err != nil {
			what := err.Error()
			if e := (*tflite.FormatError)(nil); errors.As(err, &e) {
				what = e.What
			}
			return nil, w.unusable(call, err, "%s cannot be used: %s", name, what)
		}
		b := Built{File: final[i], Cached: c.CachedBytes(), Streamed: c.StreamedBytes(), Token: c.Packages[0].Token(), sum: f.SHA256()}
		if call == &w.Group.Invocation {
			w.tokens(i, &b, c)
			w.generation(i, &b, c)
		}
		built = append(built, b)
	}
	return built, nil
}

// unusable is the error of a call that reported success.
func (w *work) unusable(call *compile.Invocation, err error, format string, args ...any) error {
	return w.fail(err, "", "the compiler reported success, but %s; its output is in %s", fmt.Sprintf(format, args...), w.logFile(call))
}

func (w *work) differ(kind string, model int, format string, args ...any) {
	d := Difference{Kind: kind, Text: fmt.Sprintf("group %q: ", w.Group.Group) + fmt.Sprintf(format, args...)}
	if model >= 0 {
		d.Model, d.File = w.Group.Models[model].Name, w.Group.Outputs()[model]
		d.Text = fmt.Sprintf("model %q: ", d.Model) + fmt.Sprintf(format, args...)
	}
	w.Differences = append(w.Differences, d)
}

func (w *work) tokens(model int, b *Built, c *tflite.Compiled) {
	if n := len(c.Tokens()); n > 1 {
		w.differ(TokenDiffers, model, "%s holds packages of %d compiler calls", b.File, n)
	}
}

// generation compares the form of the file with the release; releases up to
// 15.0 look alike.
func (w *work) generation(model int, b *Built, c *tflite.Compiled) {
	if made := c.Generation(); made != "" && (made == compile.V16_0.String()) != (w.Version == compile.V16_0) {
		w.differ(CompilerDiffers, model, "%s was made by edgetpu_compiler %s, the plan is for %s", b.File, made, w.Version)
	}
}

// compare adds what differs between prediction and result.
func (w *work) compare() {
	g := w.Group
	same := map[string]bool{} // by file: the split is as predicted
	for i, m := range g.Models {
		b := &w.Built[i]
		if first := &w.Built[0]; b.Token != first.Token && b.Token != 0 && first.Token != 0 {
			w.differ(TokenDiffers, i, "%s has the token 0x%016x and %s 0x%016x: they would displace each other", b.File, b.Token, first.File, first.Token)
		}
		if same[g.Files[i]] = b.Cached == m.Cached && b.Streamed == m.Streamed; same[g.Files[i]] {
			continue
		}
		text := fmt.Sprintf("%s has %d bytes cached and %d streamed, the lock predicts %d and %d", b.File, b.Cached, b.Streamed, m.Cached, m.Streamed)
		if m.Certainty != "" {
			text += " (" + m.Certainty + ")"
		}
		text += fmt.Sprintf(": %+d cached", b.Cached-m.Cached)
		if now, was := b.Cached+b.Streamed, m.Cached+m.Streamed; now != was {
			text += fmt.Sprintf(", %+d in all", now-was)
		}
		w.differ(SplitDiffers, i, "%s", text)
	}
	if w.Report == nil {
		return
	}
	for _, d := range report.Compare(w.predicted(), w.Report) {
		switch i := slices.Index(g.Files, d.Model); {
		case d.Field == "compiler":
			// The files of some releases look alike, the report tells them apart.
			if !slices.ContainsFunc(w.Differences, func(d Difference) bool { return d.Kind == CompilerDiffers }) {
				w.differ(CompilerDiffers, -1, "edgetpu_compiler %s was run, the plan is for %s", d.Read, d.Predicted)
			}
		case d.Field == "failure", d.Field == "models": // judged before; every model has its file
		case i >= 0 && same[d.Model]:
			w.differ(ReportDiffers, i, "%s: predicted %s, the compiler says %s (%+d bytes)", strings.ReplaceAll(d.Field, "_", " "), d.Predicted, d.Read, d.Bytes)
		case i < 0:
			w.differ(ReportDiffers, -1, "%s", d)
		}
	}
}

// predicted is the report that the compiler should have printed, as far as the
// predictions go.
func (w *work) predicted() *report.Report {
	r := &report.Report{Compiler: w.Version.String(), CompileMS: report.NotPrinted}
	for i, m := range w.Group.Models {
		r.Models = append(r.Models, report.Model{
			Input: w.Group.Files[i], Streamed: report.Exactly(m.Streamed), Subgraphs: report.NotPrinted,
			Operations: report.NotPrinted, TPUOperations: report.NotPrinted, CPUOperations: report.NotPrinted,
		})
	}
	return r
}
