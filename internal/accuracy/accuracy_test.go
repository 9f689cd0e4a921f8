package accuracy

import (
	"bytes"
	"flag"
	"os"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

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
