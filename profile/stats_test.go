package profile_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tpuplan/tpuplan/profile"
)

// times are samples of one kind of model a on device d.
func times(kind profile.Kind, ms ...float64) (list []profile.Sample) {
	for _, v := range ms {
		list = append(list, profile.Sample{Model: "a", Kind: kind, Device: "d", Source: profile.Simulated, MS: v})
	}
	return list
}

func repeat(n int, v ...float64) (list []float64) {
	for range n {
		list = append(list, v...)
	}
	return list
}

func TestSummaries(t *testing.T) {
	few := times(profile.Steady, 3, 1, 2)
	summaries, warnings := profile.Summarize(few)
	if len(summaries) != 1 || summaries[0].MedianMS != 2 || !math.IsInf(summaries[0].HighMS, 1) || summaries[0].Samples != 3 {
		t.Errorf("%+v", summaries)
	}
	want := []profile.Warning{{Kind: profile.TooFew, Model: "a", Of: profile.Steady, Device: "d", Text: `steady calls of "a" on d: 3 samples, which are too few for an interval`}}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Error(diff)
	}
	// Six samples: the median lies between the first and the last with 1 - 2/64.
	summaries, warnings = profile.Summarize(times(profile.First, 4, 1, 6, 3, 2, 5))
	s := summaries[0]
	if len(warnings) != 0 || s.MedianMS != 3.5 || s.LowMS != 1 || s.HighMS != 6 || math.Abs(s.Confidence-(1-2./64)) > 1e-12 {
		t.Errorf("%+v %v", s, warnings)
	}
	if summaries, warnings := profile.Summarize(nil); len(summaries) != 0 || len(warnings) != 0 {
		t.Errorf("%v %v of nothing", summaries, warnings)
	}
}

// Groups are apart by device, model, kind and source, and squeezed ones by bytes.
func TestSummaryGroups(t *testing.T) {
	one, two := int64(1000), int64(2000)
	var samples []profile.Sample
	for _, device := range []string{"e", "d"} {
		for _, model := range []string{"b", "a"} {
			for _, kind := range []profile.Kind{profile.Squeezed, profile.Load, profile.Create, profile.Steady} {
				for _, bytes := range []*int64{&two, &one} {
					samples = append(samples, profile.Sample{Model: model, Kind: kind, Device: device, Source: profile.Measured, MS: 1, Bytes: bytes})
				}
			}
		}
	}
	summaries, _ := profile.Summarize(samples)
	var got []string
	for _, s := range summaries {
		bytes := "differ"
		if s.Bytes != nil {
			bytes = fmt.Sprint(*s.Bytes)
		}
		got = append(got, fmt.Sprintf("%s %s %s %s %d", s.Device, s.Model, s.Kind, bytes, s.Samples))
	}
	var want []string
	for _, device := range []string{"d", "e"} {
		for _, model := range []string{"a", "b"} {
			at := device + " " + model + " "
			want = append(want, at+"create differ 2", at+"steady differ 2", at+"load differ 2", at+"squeezed 1000 1", at+"squeezed 2000 1")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWarnings(t *testing.T) {
	warm := func(samples []profile.Sample, celsius ...float64) []profile.Sample {
		for i := range samples {
			samples[i].TemperatureC = &celsius[i*len(celsius)/len(samples)]
		}
		return samples
	}
	slower := append(repeat(4, 10, 10.1, 10.2), repeat(4, 11, 11.1, 11.2)...)
	clock := times(profile.Steady, slower...)
	for i := range clock {
		mhz := 500.0
		if i >= len(clock)/2 {
			mhz = 250
		}
		clock[i].ClockMHz = &mhz
	}
	for _, test := range []struct {
		name    string
		samples []profile.Sample
		want    profile.WarningKind
	}{
		{"quiet", times(profile.Steady, repeat(10, 10, 10.1, 10.2)...), ""},
		{"slower", times(profile.Steady, slower...), profile.Drift},
		{"faster", times(profile.Load, append(repeat(8, 11), repeat(8, 10, 10.1)...)...), profile.Drift},
		{"slower by less than matters", times(profile.Steady, append(repeat(20, 10.0), repeat(20, 10.1)...)...), ""},
		{"too few for drift", times(profile.Steady, 10, 10, 10, 10, 20, 20, 20), profile.OtherUsers},
		{"warmer", warm(times(profile.Steady, slower...), 50, 60), profile.Throttling},
		{"hardly warmer", warm(times(profile.Steady, slower...), 50, 52), profile.Drift},
		{"faster though warmer", warm(times(profile.Steady, append(repeat(8, 11), repeat(8, 10, 10.1)...)...), 50, 60), profile.Drift},
		{"a slower clock", clock, profile.Throttling},
		{"disturbed", times(profile.Steady, append(repeat(6, 10, 10.1, 10.2), 16, 16, 17)...), profile.OtherUsers},
		{"disturbed in all places", times(profile.Steady, repeat(5, 10, 10.1, 16, 10.2)...), profile.OtherUsers},
		{"hardly disturbed", times(profile.Steady, append(repeat(6, 10, 10.1, 10.2), 16, 16)...), ""},
		{"a mixture is no news", times(profile.Replay, repeat(5, 10, 30)...), ""},
		{"nor is a disk", times(profile.Create, append(repeat(8, 10), repeat(8, 5)...)...), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, warnings := profile.Summarize(test.samples)
			got := profile.WarningKind("")
			if len(warnings) > 0 {
				got = warnings[0].Kind
			}
			if got != test.want || len(warnings) > 1 {
				t.Errorf("got %+v, want %q", warnings, test.want)
			}
		})
	}
}

// The order of samples changes neither median nor interval, and the median lies in it.
func TestSummaryOfAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.SliceOfN(rapid.Float64Range(0, 1e6), 1, 40).Draw(t, "ms")
		a, _ := profile.Summarize(times(profile.Steady, ms...))
		b, _ := profile.Summarize(times(profile.Steady, rapid.Permutation(ms).Draw(t, "order")...))
		if !cmp.Equal(a, b) {
			t.Error(cmp.Diff(a, b))
		}
		if s := a[0]; !(s.LowMS <= s.MedianMS && s.MedianMS <= s.HighMS) {
			t.Errorf("%+v", s)
		}
	})
}

func TestCosts(t *testing.T) {
	cold, warm, more, most := int64(3<<20), int64(1<<20), int64(2<<20), int64(5<<20)
	with := func(bytes *int64, samples []profile.Sample) []profile.Sample {
		for i := range samples {
			samples[i].Bytes = bytes
		}
		return samples
	}
	var samples []profile.Sample
	samples = append(samples, with(&cold, times(profile.Load, 18))...)
	samples = append(samples, with(&warm, times(profile.Steady, 10))...)
	samples = append(samples, with(&most, times(profile.Squeezed, 26))...)
	samples = append(samples, with(&more, times(profile.Squeezed, 15))...)
	other := times(profile.Load, 5)
	other[0].Model = "b"
	samples = append(samples, other...)
	summaries, _ := profile.Summarize(samples)
	n := func(v float64) *float64 { return &v }
	want := []profile.Cost{
		{Model: "a", Device: "d", Source: profile.Simulated, SteadyMS: n(10), LoadMS: n(8), LoadMSPerMiB: n(4), StreamMSPerMiB: n(4)},
		{Model: "b", Device: "d", Source: profile.Simulated}, // a load alone says nothing
	}
	if diff := cmp.Diff(want, profile.Costs(summaries)); diff != "" {
		t.Error(diff)
	}
}
