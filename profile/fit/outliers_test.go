package fit_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tpuplan/tpuplan/profile/fit"
)

// spoiled is a fit of 300 samples of which so many take three times as long,
// those of the last file first.
func spoiled(t *testing.T, n int) (warnings []string, err error) {
	t.Helper()
	d := pi().timed(1, 1, 30)
	d.Timings = d.Timings[:len(d.Timings)/10*10]
	of := len(d.Timings)
	if of != 240 {
		t.Fatalf("%d samples", of)
	}
	for i := range n {
		d.Timings[i*of/n].MS *= 3 // some of each kind
	}
	c, err := fit.Fit(d, nil)
	if err != nil {
		if c != nil {
			t.Error("an error and a calibration")
		}
		return nil, err
	}
	return c.Warnings, nil
}

// Up to a tenth of the samples may be outliers, up to a fifth with a warning.
func TestOutliers(t *testing.T) {
	for _, test := range []struct {
		outliers     int
		warned, fail bool
	}{{24, false, false}, {25, true, false}, {48, true, false}, {49, false, true}, {80, false, true}} {
		warnings, err := spoiled(t, test.outliers)
		e, fail := errors.AsType[*fit.OutliersError](err)
		if fail != test.fail || err != nil && !fail {
			t.Fatalf("%d outliers: %v", test.outliers, err)
		}
		if warned := containsText(warnings, "samples are outliers and had no say"); warned != test.warned {
			t.Errorf("%d outliers: warnings %q", test.outliers, warnings)
		}
		if fail && (e.Outliers != test.outliers || e.Samples != 240 || len(e.Files) == 0 || e.Calibration == nil) {
			t.Errorf("%d outliers: %+v", test.outliers, e)
		}
	}
}

// A clock without noise shows that formulas are not exact. That makes no
// outliers: these are off by more than calls repeat to on real devices.
func TestQuietSamplesAreNoOutliers(t *testing.T) {
	w := pi()
	w.relative, w.constant, w.perRun = 0.0002, 0, 0.004
	for seed := range uint64(20) {
		if c := mustFit(t, w.timed(seed, 6, 5), nil); c.Samples.Outliers > 0 {
			t.Errorf("seed %d: %d of %d samples are outliers", seed, c.Samples.Outliers, c.Samples.Used)
		}
	}
}

// What was timed of one model is another file than the one that is given: it
// is named.
func TestOutliersAreNamed(t *testing.T) {
	d := pi().timed(1, 2, 30)
	a, b := &d.Files[1], &d.Files[2]
	a.CachedBytes, b.CachedBytes = b.CachedBytes, a.CachedBytes
	a.StreamedBytes, b.StreamedBytes = b.StreamedBytes, a.StreamedBytes
	_, err := fit.Fit(d, nil)
	e, ok := errors.AsType[*fit.OutliersError](err)
	if !ok {
		t.Fatal(err)
	}
	for _, want := range []string{"samples are outliers, and at most a fifth may be: ", `of model "detect" (detect-0)`} {
		if !strings.Contains(e.Error(), want) {
			t.Errorf("%v: want %q", e, want)
		}
	}
	same := &fit.OutliersError{Outliers: 3, Samples: 9, Files: []fit.Outlying{
		{Model: "a", File: "a_edgetpu.tflite", SHA256: strings.Repeat("0123456789abcdef", 4), Outliers: 2, Samples: 3},
		{Model: "a", File: "a_edgetpu.tflite", SHA256: strings.Repeat("f", 64), Outliers: 1, Samples: 3},
		{Model: "b", Outliers: 1, Samples: 3},
	}}
	want := `3 of 9 samples are outliers, and at most a fifth may be: 2 of 3 of model "a" (a_edgetpu.tflite, SHA-256 0123456789ab...), ` +
		`1 of 3 of model "a" (a_edgetpu.tflite, SHA-256 ffffffffffff...), 1 of 3 of model "b"`
	if same.Error() != want {
		t.Errorf("got %v\nwant %s", same, want)
	}
}
