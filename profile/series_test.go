package profile_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tpuplan/tpuplan/plans/schema/schematest"
	"github.com/tpuplan/tpuplan/profile"
)

func subject(model string, token uint64, cached, cold int64) profile.Subject {
	return profile.Subject{Model: model, File: model + "_edgetpu.tflite", SHA256: strings.Repeat("00", 32), Token: token, CachedBytes: cached, ColdBytes: cold, WarmBytes: 1}
}

func TestSeries(t *testing.T) {
	s := profile.Series{Name: "profile-1", Passes: 2, Steady: 2, Loads: 1, Seed: 5, DeadlineMS: 1000}
	subjects := []profile.Subject{subject("a", 1, 100, 200), subject("b", 2, 100, 150), subject("bare", 3, 0, 10)}
	variant := subject("b", 9, 50, 170)
	variant.File = "build/b_edgetpu.tflite"
	runs, unmeasured := s.Runs(subjects, []profile.Subject{variant})
	var names []string
	for _, r := range runs {
		names = append(names, r.Name)
		data, err := json.Marshal(r)
		if err := errors.Join(err, r.Check(), schematest.Validate("run", data)); err != nil {
			t.Error(err)
		}
	}
	want := []string{"profile-1.1", "profile-1.1.variant1", "profile-1.2", "profile-1.2.variant1"}
	if diff := cmp.Diff(want, names); diff != "" || len(unmeasured) != 0 {
		t.Error(diff, unmeasured)
	}
	// Whatever the order, each model has its first call, then its warm ones;
	// bare, which sends least, displaces the other two and has no load itself.
	steps := runs[0].Steps
	for i := range subjects {
		at := slices.Index(steps, profile.Step{Model: i, Kind: profile.First})
		if at < 0 || !slices.Equal(steps[at+1:at+3], []profile.Step{{Model: i, Kind: profile.Steady}, {Model: i, Kind: profile.Steady}}) {
			t.Errorf("model %d: %v", i, steps)
		}
	}
	tail := slices.Clone(steps[9:])
	if tail[1].Model > tail[3].Model {
		tail[1], tail[3] = tail[3], tail[1]
	}
	if diff := cmp.Diff([]profile.Step{{Model: 2}, {Model: 0, Kind: profile.Load}, {Model: 2}, {Model: 1, Kind: profile.Load}}, tail); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]profile.Step{{Model: 0}, {Model: 0, Kind: profile.Squeezed}, {Model: 0, Kind: profile.Squeezed}}, runs[1].Steps); diff != "" {
		t.Error(diff)
	}
	if m := runs[1].Models[0]; m.Name != "b" || m.File != "build/b_edgetpu.tflite" || m.WarmBytes != 1 || m.ColdBytes != 170 {
		t.Errorf("%+v", m)
	}
	again, _ := s.Runs(subjects, []profile.Subject{variant})
	if diff := cmp.Diff(runs, again); diff != "" {
		t.Error(diff)
	}
}

func TestSeriesOfMates(t *testing.T) {
	s := profile.Series{Name: "x", Devices: []string{"0", "1", "2"}, Passes: 20, Steady: 1, Loads: 1, Seed: 1, DeadlineMS: 1}
	mates := []profile.Subject{subject("a", 1, 100, 200), subject("b", 1, 100, 150)}
	runs, unmeasured := s.Runs(mates, nil)
	if diff := cmp.Diff([]string{"a", "b"}, unmeasured); diff != "" {
		t.Error(diff)
	}
	orders := map[string]bool{}
	for pass := range 20 {
		order := ""
		for _, r := range runs[3*pass : 3*pass+3] {
			order += r.Device
			if len(r.Steps) != 4 {
				t.Errorf("%v", r.Steps)
			}
		}
		orders[order] = true
	}
	if len(orders) < 4 { // of six, in 20 draws
		t.Errorf("devices in the orders %v", orders)
	}
	// Without a token a model displaces everybody and is itself displaced by everybody.
	if _, unmeasured := s.Runs([]profile.Subject{subject("a", 0, 0, 1), subject("b", 1, 100, 1)}, nil); len(unmeasured) != 0 {
		t.Error(unmeasured)
	}
}

// In the driver's terms every load of a run is one, and no warm call is.
func TestSeriesLoads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var subjects []profile.Subject
		for i := range rapid.IntRange(1, 6).Draw(t, "models") {
			token := rapid.Uint64Range(1, 3).Draw(t, "token")
			subjects = append(subjects, subject(fmt.Sprint("m", i), token, int64(rapid.IntRange(0, 1).Draw(t, "cached")), int64(rapid.IntRange(1, 3).Draw(t, "cold"))))
		}
		s := profile.Series{Name: "x", Passes: 2, Steady: rapid.IntRange(0, 3).Draw(t, "steady"), Loads: rapid.IntRange(0, 3).Draw(t, "loads"), Seed: rapid.Uint64().Draw(t, "seed"), DeadlineMS: 1}
		runs, unmeasured := s.Runs(subjects, nil)
		loads := map[string]int{}
		for _, r := range runs {
			token, loaded := uint64(0), map[int]bool{}
			for _, step := range r.Steps {
				m := subjects[step.Model]
				if m.Token != token {
					token, loaded = 0, map[int]bool{}
				}
				load := m.CachedBytes > 0 && !loaded[step.Model]
				if load {
					token, loaded[step.Model] = m.Token, true
				}
				if step.Kind == profile.Load && !load || step.Kind == profile.Steady && load {
					t.Fatalf("%s call of %s, loads: %v, in %v", step.Kind, m.Model, load, r.Steps)
				}
				if step.Kind == profile.Load {
					loads[m.Model]++
				}
			}
		}
		for _, m := range subjects {
			want := 2 * s.Loads
			if m.CachedBytes == 0 || slices.Contains(unmeasured, m.Model) {
				want = 0
			}
			if loads[m.Model] != want {
				t.Errorf("%s: %d loads, want %d", m.Model, loads[m.Model], want)
			}
		}
	})
}
