package accuracy

import (
	"bytes"
	"flag"
	"os"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/internal/testdata"
)

var update = flag.Bool("update", false, "rewrite docs/accuracy.md")

const document = "../../docs/accuracy.md"

var compare = sync.OnceValues(func() (*Comparison, error) { return Compare(dir) })

var dir string // of the data set

func compared(t *testing.T) *Comparison {
	t.Helper()
	dir = testdata.Dir(t)
	c, err := compare()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// docs/accuracy.md is what the data set gives.
func TestDocument(t *testing.T) {
	got := compared(t).Markdown()
	if *update {
		if err := os.WriteFile(document, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("docs/accuracy.md is not what the data set gives, run make accuracy and look at the difference:\n%s", cmp.Diff(string(want), string(got)))
	}
}

// Every figure that is not as predicted has a stated cause, and every cause a
// figure: a better rule shows here, and so does a worse one.
func TestEveryDifferenceIsStated(t *testing.T) {
	c := compared(t)
	if len(c.figures) < 400 {
		t.Fatalf("only %d figures were compared", len(c.figures))
	}
	for i := range c.figures {
		f := &c.figures[i]
		switch gap := f.gap(); {
		case f.fitted && gap != 0:
			t.Errorf("%s: %s was fitted to %s and is %s", f.where, f.what, f.actual.Text, f.predictedText())
		case gap != 0 && f.why == "":
			t.Errorf("%s (%s): %s: predicted %s, actual %s, and no cause is stated", f.where, f.release, f.what, f.predictedText(), f.actual.Text)
		case gap == 0 && f.why != "":
			t.Errorf("%s (%s): %s is as predicted, %s; it is said to differ: %s", f.where, f.release, f.what, f.actual.Text, f.why)
		}
	}
}

// What is promised of times predicted with the built-in constants.
func TestTimes(t *testing.T) {
	c := compared(t)
	for _, test := range []struct {
		name          string
		want          func(x *timed) bool
		rows          int
		median, ninth float64 // at most
		least, most   float64 // share in the printed interval
	}{
		{"all rows", func(*timed) bool { return true }, 397, 1, 1, 0.85, 0.97},
		{"whole nets", ofWholeNet, 38, 0.05, 0.16, 0.85, 1},
		{"what streams in one pass", fitStreams, 77, 0.05, 0.16, 0.85, 1},
		{"fully connected nets that stream", func(x *timed) bool { return x.Source == "villarrubia-fc" && x.streams }, 69, 0.05, 0.1, 0.85, 1},
		{"the sweep in passes", func(x *timed) bool { return x.Source == convSweep && x.passes }, 39, 0.1, 0.5, 0.8, 1},
		{"the sweep that is cached", func(x *timed) bool { return x.Source == convSweep && !x.streams }, 174, 0.1, 0.25, 0.8, 1},
	} {
		s := c.timeScore(test.want)
		held := float64(s.held) / float64(s.rows)
		if s.rows < test.rows || s.median > test.median || s.ninth > test.ninth || held < test.least || held > test.most {
			t.Errorf("%s: %+v, %.3f in the interval, want at least %d rows, %v and %v, %v to %v", test.name, s, held, test.rows, test.median, test.ninth, test.least, test.most)
		}
	}
	for _, x := range c.times {
		if x.reach == cost.LowerBound && (x.MS < x.predicted.Low || x.predicted.Bounded()) {
			t.Errorf("%s took %v ms, at least %v were predicted", x.Model, x.MS, x.predicted.Low)
		}
		// A time that cannot be the net's is shorter than what it streams takes; nothing else is.
		if x.Doubt == "" && x.off() > 0.75 && x.MS > 1 {
			t.Errorf("%s on %s: %v ms, predicted %v, and nobody doubts it", x.Model, x.Host, x.MS, x.predicted.Value)
		}
	}
}
