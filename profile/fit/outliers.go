package fit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/cost"
)

// mostOutliers is one in how many samples a fit may leave without a say. Single
// calls are disturbed by whatever else a machine does, and a tenth is worth a
// warning. Of more than a fifth another cause is likelier: usually another
// file was timed than the one that the formulas were given.
const mostOutliers = 5

// OutliersError says that a fit left more than a fifth of the samples without a
// say. What came out is of the others alone: it is there to be looked at.
type OutliersError struct {
	Outliers, Samples int
	Files             []Outlying // that have outliers, those with the largest share first
	Calibration       *cost.Calibration
}

// Outlying is a compiled file some of whose samples disagree with the rest.
type Outlying struct {
	Model, File, SHA256 string
	Outliers, Samples   int
}

// mostNamed is how many files an error names.
const mostNamed = 5

func (e *OutliersError) Error() string {
	var parts []string
	for i := range e.Files {
		if i == mostNamed {
			parts = append(parts, fmt.Sprintf("and of %d more files", len(e.Files)-i))
			break
		}
		f := &e.Files[i]
		text := fmt.Sprintf("%d of %d of model %q", f.Outliers, f.Samples, f.Model)
		if f.File != "" {
			text += " (" + f.File + e.mark(f) + ")"
		}
		parts = append(parts, text)
	}
	return fmt.Sprintf("%d of %d samples are outliers, and at most a fifth may be: %s", e.Outliers, e.Samples, strings.Join(parts, ", "))
}

// mark tells a file from another one of the same name.
func (e *OutliersError) mark(f *Outlying) string {
	for i := range e.Files {
		if o := &e.Files[i]; o.Model == f.Model && o.File == f.File && o.SHA256 != f.SHA256 && len(f.SHA256) > 12 {
			return ", SHA-256 " + f.SHA256[:12] + "..."
		}
	}
	return ""
}

// trusted is the calibration, unless too many samples had no say in it.
func (s *solution) trusted() (*cost.Calibration, error) {
	e := &OutliersError{Outliers: s.outliers, Samples: s.samples, Calibration: s.calibration()}
	of := make([]Outlying, len(s.data.Files))
	for _, c := range s.cells {
		at, _ := c.predicted(s.values)
		x := &of[c.file]
		x.Samples += len(c.ms)
		for _, t := range c.ms {
			if c.outlier(t, at) {
				x.Outliers++
			}
		}
	}
	for i := range of {
		if f := &s.data.Files[i]; of[i].Outliers > 0 {
			of[i].Model, of[i].File, of[i].SHA256 = f.Model, f.File, f.SHA256
			e.Files = append(e.Files, of[i])
		}
	}
	if mostOutliers*s.outliers <= s.samples {
		return e.Calibration, nil
	}
	slices.SortStableFunc(e.Files, func(a, b Outlying) int { return cmp.Compare(b.Outliers*a.Samples, a.Outliers*b.Samples) })
	return nil, e
}
