package fit_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/fit"
)

func taken(model string, kind profile.Kind, ms float64, sent int64) profile.Sample {
	s := profile.Sample{Model: model, Kind: kind, MS: ms, Source: profile.Measured, Device: "tpu0", Run: "r"}
	if sent > 0 {
		s.Bytes = &sent
	}
	return s
}

// shapes is a finder of files by the name of the model.
func shapes(files map[string]fit.File) func(*profile.Sample) (*fit.File, error) {
	return func(s *profile.Sample) (*fit.File, error) {
		if f, ok := files[s.Model]; ok {
			return &f, nil
		}
		return nil, fit.ErrNoFile
	}
}

// kinds are what became of the samples: w is warm, c is cold.
func kinds(d *fit.Data) string {
	s := ""
	for _, t := range d.Timings {
		if t.Cold {
			s += "c"
		} else {
			s += "w"
		}
	}
	return s
}

// Where more than a fifth of the samples sent other bytes, the file is another one.
func TestCollectAnotherFile(t *testing.T) {
	big := fit.File{Model: "big", CalibratedFile: cost.CalibratedFile{CachedBytes: 1000, StreamedBytes: 50, FixedBytes: 20, LoadBytes: 10}}
	_, err := fit.Collect([]profile.Sample{taken("big", profile.Steady, 5, 71), taken("big", profile.Steady, 5, 70)}, shapes(map[string]fit.File{"big": big}))
	if e, ok := errors.AsType[*fit.ForeignFilesError](err); !ok || len(e.Models) != 1 || e.Models[0] != "big" {
		t.Errorf("got %v", err)
	}
}

func TestCollect(t *testing.T) {
	big := fit.File{Model: "big", CalibratedFile: cost.CalibratedFile{CachedBytes: 1000, StreamedBytes: 50, FixedBytes: 20, LoadBytes: 10}}
	none := fit.File{Model: "none", CalibratedFile: cost.CalibratedFile{StreamedBytes: 300, FixedBytes: 20}}
	find := shapes(map[string]fit.File{"big": big, "none": none})
	for _, test := range []struct {
		name    string
		samples []profile.Sample
		want    string
		unused  int
		warning string
	}{
		{"kinds", []profile.Sample{
			taken("big", profile.Create, 9, 0), taken("big", profile.Steady, 1, 0), taken("big", profile.Squeezed, 1, 0), taken("big", profile.Load, 5, 0),
		}, "wwc", 1, ""},
		{"first calls where there is a load", []profile.Sample{taken("big", profile.First, 9, 0), taken("big", profile.Load, 5, 0)}, "c", 1, ""},
		{"first calls where there is none", []profile.Sample{taken("big", profile.First, 9, 0), taken("big", profile.Steady, 5, 0)}, "cw", 0, ""},
		{"nothing is loaded where nothing is cached", []profile.Sample{
			taken("none", profile.First, 9, 0), taken("none", profile.Load, 5, 0), taken("none", profile.Steady, 5, 0),
		}, "ww", 1, ""},
		{"a load that did not happen", []profile.Sample{taken("big", profile.Load, 5, 1080), taken("big", profile.Load, 1, 70)}, "c", 1, `1 samples of model "big" that should have loaded sent no parameters`},
		{"replay", []profile.Sample{
			taken("big", profile.Replay, 5, 1080), taken("big", profile.Replay, 1, 70), taken("big", profile.Replay, 1, 71), taken("big", profile.Replay, 1, 0),
			taken("none", profile.Replay, 1, 320),
		}, "cww", 2, ""},
		{"another file", []profile.Sample{
			taken("big", profile.Steady, 5, 70), taken("big", profile.Steady, 5, 70), taken("big", profile.Steady, 5, 70), taken("big", profile.Steady, 5, 70), taken("big", profile.Steady, 5, 71),
		}, "wwwww", 0, `1 warm samples of model "big" sent other bytes than its file says`},
		{"no time at all", []profile.Sample{taken("big", profile.Steady, 0, 0)}, "", 1, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, err := fit.Collect(test.samples, find)
			if err != nil {
				t.Fatal(err)
			}
			if got := kinds(d); got != test.want || d.Unused != test.unused {
				t.Errorf("got %q and %d unused, want %q and %d", got, d.Unused, test.want, test.unused)
			}
			if got := strings.Join(d.Warnings, "\n"); !strings.HasPrefix(got, test.warning) || (got == "") != (test.warning == "") {
				t.Errorf("warnings %q", got)
			}
			if d.Device != "tpu0" {
				t.Errorf("device %q", d.Device)
			}
		})
	}
}

// Where no file is known the bytes of the samples do: what a warm call sends,
// what a load sends in addition, what a squeezed call streams more.
func TestCollectByBytes(t *testing.T) {
	d, err := fit.Collect([]profile.Sample{
		taken("a", profile.First, 9, 5000), // the runtime set itself up
		taken("a", profile.Steady, 1, 700), taken("a", profile.Load, 5, 4700), taken("a", profile.Squeezed, 2, 1700),
	}, shapes(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := []cost.CalibratedFile{{CachedBytes: 4000, FixedBytes: 700}, {StreamedBytes: 1000, FixedBytes: 700}}
	if len(d.Files) != 2 || d.Files[0].CalibratedFile != want[0] || d.Files[1].CalibratedFile != want[1] || kinds(d) != "wcw" || d.Unused != 1 {
		t.Errorf("%+v", d)
	}
	for name, samples := range map[string][]profile.Sample{
		"no bytes":     {taken("a", profile.Steady, 1, 0), taken("b", profile.Steady, 1, 7)},
		"no warm call": {taken("a", profile.Load, 1, 7)},
		"two files":    {taken("a", profile.Steady, 1, 7), taken("a", profile.Steady, 1, 8)},
	} {
		var unknown *fit.UnknownFilesError
		if _, err := fit.Collect(samples, shapes(nil)); !errors.As(err, &unknown) || !slices.Equal(unknown.Models, []string{"a"}) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// A sample that says which file ran is of that file or of none: not of another
// one, and not of its own bytes.
func TestCollectByHash(t *testing.T) {
	ran, rebuilt := strings.Repeat("a", 64), strings.Repeat("b", 64)
	of := func(model, sha256 string, kind profile.Kind, sent int64) profile.Sample {
		s := taken(model, kind, 1, sent)
		s.SHA256 = sha256
		return s
	}
	find := shapes(map[string]fit.File{"x": {Model: "x", CalibratedFile: cost.CalibratedFile{File: "x.tflite", SHA256: ran, FixedBytes: 7}}})
	d, err := fit.Collect([]profile.Sample{of("x", ran, profile.Steady, 7), of("x", strings.ToUpper(ran), profile.Steady, 7), of("x", "", profile.Steady, 7)}, find)
	if err != nil || len(d.Files) != 1 || len(d.Timings) != 3 {
		t.Errorf("%+v, error %v", d, err)
	}
	_, err = fit.Collect([]profile.Sample{
		of("x", ran, profile.Steady, 7), of("x", rebuilt, profile.Steady, 8), of("x", rebuilt, profile.Steady, 8),
		of("y", rebuilt, profile.Steady, 8), of("y", rebuilt, profile.Create, 0), of("z", "", profile.Steady, 0),
	}, find)
	want := `no compiled file is known for model "z", nor do its samples say how many bytes crossed the bus; 2 compiled files that were timed are not at hand: ` +
		`that of model "x" with SHA-256 ` + rebuilt + ` (2 samples; x.tflite is another file); that of model "y" with SHA-256 ` + rebuilt + ` (1 sample)`
	if unknown := (*fit.UnknownFilesError)(nil); !errors.As(err, &unknown) || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	// Calls of a replay that do not say what they sent are not used anyway.
	if d, err := fit.Collect([]profile.Sample{of("x", ran, profile.Steady, 7), of("y", rebuilt, profile.Replay, 0)}, find); err != nil || d.Unused != 1 {
		t.Errorf("%+v, error %v", d, err)
	}
}

// Samples that name no host do not count as another one's.
func TestCollectHosts(t *testing.T) {
	on := func(host string) profile.Sample {
		s := taken("a", profile.Steady, 1, 7)
		s.Host = host
		return s
	}
	if d, err := fit.Collect([]profile.Sample{on(""), on("camera"), on("")}, shapes(nil)); err != nil || len(d.Timings) != 3 {
		t.Errorf("%+v, error %v", d, err)
	}
	_, err := fit.Collect([]profile.Sample{on("camera"), on("attic"), on("")}, shapes(nil))
	if hosts := (*fit.HostsError)(nil); !errors.As(err, &hosts) || err.Error() != `samples of 2 hosts ("attic", "camera"): a calibration is of one device of one host` {
		t.Error(err)
	}
}

func TestCollectRefuses(t *testing.T) {
	other := taken("a", profile.Steady, 1, 7)
	other.Device = "tpu1"
	var devices *fit.DevicesError
	if _, err := fit.Collect([]profile.Sample{taken("a", profile.Steady, 1, 7), other}, shapes(nil)); !errors.As(err, &devices) || len(devices.Devices) != 2 {
		t.Errorf("two devices: %v", err)
	}
	bad := errors.New("bad file")
	if _, err := fit.Collect([]profile.Sample{other}, func(*profile.Sample) (*fit.File, error) { return nil, bad }); !errors.Is(err, bad) {
		t.Errorf("error %v", err)
	}
}
