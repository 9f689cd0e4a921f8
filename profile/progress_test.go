package profile_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tpuplan/tpuplan/profile"
)

// worker does runs on a device of which only the past matters: a sample takes
// as many ms as the number of the model called before, so that what a run
// measures depends on the state that it begins with.
type worker struct {
	breaksAfter int // samples; below 0 never
	calls       int // of all runs
}

var errLost = errors.New("lost")

func (w *worker) Measure(_ context.Context, run *profile.Run, emit func(*profile.Sample) error) error {
	give := func(s *profile.Sample) error {
		if w.breaksAfter == 0 {
			return errLost
		}
		w.breaksAfter--
		s.Run, s.Source, s.Device = run.Name, profile.Simulated, "/dev/apex_0"
		for i := range run.Models {
			if run.Models[i].Name == s.Model {
				s.SHA256 = run.Models[i].SHA256
			}
		}
		return emit(s)
	}
	for i := range run.Models {
		if err := give(&profile.Sample{Model: run.Models[i].Name, Kind: profile.Create}); err != nil {
			return err
		}
	}
	before, call := -1, int64(0)
	for pass := range run.WarmUp + run.Repeats {
		for _, step := range run.Steps {
			w.calls++
			if step.Kind != "" && pass >= run.WarmUp {
				bytes := int64(8)
				s := &profile.Sample{Model: run.Models[step.Model].Name, Kind: step.Kind, MS: float64(before + 1), Call: call, Bytes: &bytes}
				if err := give(s); err != nil {
					return err
				}
			}
			before = step.Model
			call++
		}
	}
	return nil
}

func drawRun(t *rapid.T) *profile.Run {
	run := &profile.Run{
		Schema: profile.RunSchema, Name: "r", DeadlineMS: 1,
		Repeats: rapid.IntRange(1, 4).Draw(t, "repeats"), WarmUp: rapid.IntRange(0, 2).Draw(t, "warm up"),
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "models") {
		run.Models = append(run.Models, profile.RunModel{Name: fmt.Sprint(i), File: "x"})
	}
	for range rapid.IntRange(1, 5).Draw(t, "steps") {
		run.Steps = append(run.Steps, profile.Step{
			Model: rapid.IntRange(0, len(run.Models)-1).Draw(t, "model"),
			Kind:  rapid.SampledFrom([]profile.Kind{"", profile.Steady, profile.Load}).Draw(t, "kind"),
		})
	}
	return run
}

// However often the connection is lost, the samples are in the end those of a
// run that was not interrupted, each once.
func TestResume(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		run := drawRun(t)
		var want []profile.Sample
		(&worker{breaksAfter: -1}).Measure(context.Background(), run, func(s *profile.Sample) error { want = append(want, *s); return nil }) //nolint:errcheck // it cannot fail
		var done profile.Progress
		var got []profile.Sample
		w := &worker{}
		for attempt := 0; ; attempt++ {
			w.breaksAfter = rapid.IntRange(0, len(want)).Draw(t, "breaks after")
			if attempt == 5 {
				w.breaksAfter = -1
			}
			err := profile.Resume(w, &done).Measure(context.Background(), run, func(s *profile.Sample) error { got = append(got, *s); return nil })
			if err == nil {
				break
			}
			if !errors.Is(err, errLost) {
				t.Fatal(err)
			}
		}
		// Each is there once, in the order of the calls, and as it was measured in one go.
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		if rest, _, err := done.Rest(run); rest != nil || err != nil {
			t.Fatalf("left is %+v, error %v", rest, err)
		}
		before := w.calls
		if err := profile.Resume(w, &done).Measure(context.Background(), run, nil); err != nil || w.calls != before {
			t.Fatalf("a complete run is done again: error %v", err)
		}
	})
}

// What is left is no more than it must be.
func TestRest(t *testing.T) {
	run := &profile.Run{
		Schema: profile.RunSchema, Name: "r", Repeats: 10, WarmUp: 2, DeadlineMS: 1,
		Models: []profile.RunModel{{Name: "a", File: "a", SHA256: strings.Repeat("0", 64)}, {Name: "b", File: "b"}},
		Steps:  []profile.Step{{0, profile.Steady}, {1, ""}, {1, profile.Load}},
	}
	var done profile.Progress
	w := &worker{breaksAfter: 2 + 5}                                                               // two repeats and a half
	profile.Resume(w, &done).Measure(t.Context(), run, func(*profile.Sample) error { return nil }) //nolint:errcheck // it is lost
	rest, offset, err := done.Rest(run)
	if err != nil || rest.Repeats != 8 || rest.WarmUp != 2 || offset != 6 || run.Repeats != 10 {
		t.Fatalf("%+v, offset %d, error %v", rest, offset, err)
	}
	cold := *run
	cold.Name, cold.WarmUp = "cold", 0
	w = &worker{breaksAfter: 2 + 5}
	profile.Resume(w, &done).Measure(t.Context(), &cold, func(*profile.Sample) error { return nil }) //nolint:errcheck // it is lost
	if rest, offset, err = done.Rest(&cold); err != nil || rest.Repeats != 8 || rest.WarmUp != 1 || offset != 3 {
		t.Fatalf("%+v, offset %d, error %v", rest, offset, err)
	}
	for _, change := range []func(r *profile.Run){
		func(r *profile.Run) { r.Steps[0].Kind = profile.Load },
		func(r *profile.Run) { r.Models[1].Name = "c" },
		func(r *profile.Run) { r.Repeats = 1 },
		func(r *profile.Run) { r.WarmUp = 4 },
		func(r *profile.Run) { r.Device = "/dev/apex_1" },
		func(r *profile.Run) { r.Models[0].WarmBytes = 7 }, // compiled anew
		func(r *profile.Run) { r.Models[0].SHA256 = strings.Repeat("1", 64) },
	} {
		other := *run
		other.Models, other.Steps = append([]profile.RunModel{}, run.Models...), append([]profile.Step{}, run.Steps...)
		change(&other)
		err := profile.Resume(w, &done).Measure(t.Context(), &other, nil)
		if f := (*profile.Failure)(nil); !errors.As(err, &f) || f.Code != profile.BadRun || !strings.Contains(f.Text, `samples of another run "r"`) {
			t.Errorf("error %v", err)
		}
	}
}
