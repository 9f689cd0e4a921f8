package fit

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/tflite"
)

// File is a compiled file that was timed. Files of one Model are its compiles
// with other splits: they compute for the same time.
type File struct {
	Model        string
	SourceSHA256 string // of the model before it was compiled; "" is not known
	cost.CalibratedFile
	// Ops are all of the model's, as this file has them: how long each computes by its shape,
	// on the link that was timed, and what of it is streamed, which adds up to StreamedBytes.
	// They count if they are known of all files of a model; without them streaming is StreamedBytes alone.
	Ops []cost.Op
}

func (f *File) load() float64 { return float64(f.CachedBytes + f.LoadBytes) }

// FileOf is a compiled file as its calls go.
func FileOf(model, name, sha256 string, c *tflite.Compiled) *File {
	cached, streamed, warm := c.CachedBytes(), c.StreamedBytes(), c.WarmBytes()
	return &File{Model: model, CalibratedFile: cost.CalibratedFile{
		File: name, SHA256: sha256,
		CachedBytes: cached, StreamedBytes: streamed, FixedBytes: warm - streamed, OutputBytes: c.WarmDMA().FromTPU, LoadBytes: c.ColdBytes() - warm - cached,
	}}
}

// ErrNoFile is what a finder of files returns where there is none for a
// sample. [Collect] then makes do with the bytes of the samples, if they have any.
var ErrNoFile = errors.New("no compiled file is known")

// Timing is how long one call took.
type Timing struct {
	File   int // index into Data.Files
	Cold   bool
	MS     float64
	Run    string
	Source profile.Source
}

// Data are the samples of one device, by file and kind of call.
type Data struct {
	Device   string
	Files    []File
	Timings  []Timing
	Unused   int // samples of which no formula speaks
	Warnings []string
}

// DevicesError says that samples come from several devices, which have a
// calibration each.
type DevicesError struct{ Devices []string }

func (e *DevicesError) Error() string {
	return fmt.Sprintf("samples of %d devices (%s): a calibration is of one", len(e.Devices), quoted(e.Devices))
}

// UnknownFilesError names the models for which neither a file nor bytes are known.
type UnknownFilesError struct{ Models []string }

func (e *UnknownFilesError) Error() string {
	return fmt.Sprintf("%v for model %s, nor do its samples say how many bytes crossed the bus", ErrNoFile, quoted(e.Models))
}

func quoted(names []string) string {
	s := ""
	for i, n := range names {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%q", n)
	}
	return s
}

// Collect sorts samples. find says which compiled file a sample timed; its
// errors, but for [ErrNoFile], end the collection.
//
// A load is a cold call, and so is a first call where its file has no load:
// first calls also pay for what a runtime sets up once. Steady and squeezed
// calls are warm. Calls of a replay may be either and are used if their
// bytes say which. How long it takes to create an interpreter is not used.
func Collect(samples []profile.Sample, find func(*profile.Sample) (*File, error)) (*Data, error) {
	d := &Data{}
	var devices []string
	files := make([]*File, len(samples))
	var all []*File // distinct
	type same struct {
		model, source string
		cost.CalibratedFile
	}
	known := map[same]*File{}
	blind := map[string][]int{} // samples of models without a file
	for i := range samples {
		s := &samples[i]
		if !slices.Contains(devices, s.Device) {
			devices = append(devices, s.Device)
		}
		if s.Kind == profile.Create || !(s.MS > 0) {
			d.Unused++
			continue
		}
		f, err := find(s)
		switch {
		case errors.Is(err, ErrNoFile):
			blind[s.Model] = append(blind[s.Model], i)
			continue
		case err != nil:
			return nil, err
		}
		key := same{f.Model, f.SourceSHA256, f.CalibratedFile}
		if known[key] == nil {
			known[key] = f
			all = append(all, f)
		}
		files[i] = known[key]
	}
	if len(devices) > 1 {
		slices.Sort(devices)
		return nil, &DevicesError{devices}
	}
	if len(devices) == 1 {
		d.Device = devices[0]
	}
	var missing []string
	for model, at := range blind {
		byBytes, ok := fromBytes(model, samples, at)
		if !ok {
			missing = append(missing, model)
			continue
		}
		for i, f := range byBytes {
			if f == nil {
				d.Unused++
			} else if files[i] = f; !slices.Contains(all, f) {
				all = append(all, f)
			}
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, &UnknownFilesError{missing}
	}
	slices.SortFunc(all, func(a, b *File) int {
		return cmp.Or(cmp.Compare(a.Model, b.Model), cmp.Compare(a.StreamedBytes, b.StreamedBytes), cmp.Compare(a.CachedBytes, b.CachedBytes),
			cmp.Compare(a.FixedBytes, b.FixedBytes), cmp.Compare(a.SHA256, b.SHA256), cmp.Compare(a.File, b.File))
	})
	at, loads := map[*File]int{}, map[*File]bool{}
	for i, f := range all {
		at[f] = i
		d.Files = append(d.Files, *f)
	}
	for i := range samples {
		if files[i] != nil && samples[i].Kind == profile.Load {
			loads[files[i]] = true
		}
	}
	hidden, foreign := map[string]int{}, map[string]int{}
	for i := range samples {
		s, f := &samples[i], files[i]
		if f == nil {
			continue
		}
		cold, use := false, true
		switch s.Kind {
		case profile.First:
			cold, use = true, !loads[f] && f.CachedBytes > 0
		case profile.Load:
			if cold = f.CachedBytes > 0; cold && s.Bytes != nil && *s.Bytes == f.StreamedBytes+f.FixedBytes {
				use = false // it found its parameters on the device
				hidden[s.Model]++
			}
		case profile.Replay:
			use = s.Bytes != nil
			if use {
				sent := *s.Bytes
				warm := f.StreamedBytes + f.FixedBytes
				cold = sent == warm+f.CachedBytes+f.LoadBytes
				use = cold || sent == warm
				cold = cold && f.CachedBytes > 0
			}
		}
		if !use {
			d.Unused++
			continue
		}
		if s.Kind != profile.Replay && s.Kind != profile.First && s.Bytes != nil && !cold && *s.Bytes != f.StreamedBytes+f.FixedBytes {
			foreign[f.Model]++
		}
		d.Timings = append(d.Timings, Timing{File: at[f], Cold: cold, MS: s.MS, Run: s.Run, Source: s.Source})
	}
	for _, model := range sortedKeys(hidden) {
		d.Warnings = append(d.Warnings, fmt.Sprintf("%d samples of model %q that should have loaded sent no parameters; they are not used", hidden[model], model))
	}
	for _, model := range sortedKeys(foreign) {
		d.Warnings = append(d.Warnings, fmt.Sprintf("%d warm samples of model %q sent other bytes than its file says: perhaps another file was timed", foreign[model], model))
	}
	return d, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// fromBytes describes the files of a model by what its samples say to have
// crossed the bus. Without bytes of a warm call, or with calls of one kind
// that differ, it cannot.
func fromBytes(model string, samples []profile.Sample, at []int) (map[int]*File, bool) {
	sent := map[profile.Kind]int64{}
	for _, i := range at {
		s := &samples[i]
		if s.Kind == profile.Replay {
			continue
		}
		if s.Bytes == nil {
			return nil, false
		}
		if n, given := sent[s.Kind]; given && n != *s.Bytes {
			return nil, false
		}
		sent[s.Kind] = *s.Bytes
	}
	warm, ok := sent[profile.Steady]
	if !ok {
		return nil, false
	}
	base := &File{Model: model, CalibratedFile: cost.CalibratedFile{FixedBytes: warm}}
	for _, kind := range []profile.Kind{profile.Load, profile.First} {
		if cold, given := sent[kind]; given && cold > warm {
			base.CachedBytes = cold - warm
			break
		}
	}
	squeezed := *base
	squeezed.CachedBytes, squeezed.StreamedBytes = 0, max(0, sent[profile.Squeezed]-warm)
	files := map[int]*File{}
	for _, i := range at {
		switch s := &samples[i]; {
		case s.Kind == profile.Squeezed:
			files[i] = &squeezed
		case s.Kind == profile.First && s.Bytes != nil && *s.Bytes != base.CachedBytes+warm:
			files[i] = nil
		default:
			files[i] = base
		}
	}
	return files, true
}
