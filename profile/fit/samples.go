package fit

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

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

// HostsError says that samples come from several hosts: a device of one is not
// that of another, whatever its path.
type HostsError struct{ Hosts []string }

func (e *HostsError) Error() string {
	return fmt.Sprintf("samples of %d hosts (%s): a calibration is of one device of one host", len(e.Hosts), quoted(e.Hosts))
}

// MissingFile is a compiled file that ran and is not at hand. A finder of
// files returns it as the error for a sample; [Collect] gathers them.
type MissingFile struct {
	Model   string   // as its samples call it
	SHA256  string   // of the file that ran, hex
	Samples int      // that need it
	Others  []string // files of that model that are at hand, and are others
}

func (m *MissingFile) Error() string {
	text := fmt.Sprintf("that of model %q with SHA-256 %s (%d samples", m.Model, m.SHA256, m.Samples)
	if m.Samples == 1 {
		text = strings.TrimSuffix(text, "s")
	}
	switch len(m.Others) {
	case 0:
	case 1:
		text += "; " + m.Others[0] + " is another file"
	default:
		text += "; " + strings.Join(m.Others[:len(m.Others)-1], ", ") + " and " + m.Others[len(m.Others)-1] + " are other files"
	}
	return text + ")"
}

// UnknownFilesError names what is not known of the samples' files: the models
// for which there is neither a file nor bytes, and files that ran and are not at hand.
type UnknownFilesError struct {
	Models []string
	Files  []MissingFile
}

func (e *UnknownFilesError) Error() string {
	var parts []string
	if len(e.Models) > 0 {
		parts = append(parts, fmt.Sprintf("%v for model %s, nor do its samples say how many bytes crossed the bus", ErrNoFile, quoted(e.Models)))
	}
	if n := len(e.Files); n > 0 {
		text := "a compiled file that was timed is not at hand: "
		if n > 1 {
			text = fmt.Sprintf("%d compiled files that were timed are not at hand: ", n)
		}
		for i := range e.Files {
			if i > 0 {
				text += "; "
			}
			text += e.Files[i].Error()
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// ForeignFilesError names models of which more than a fifth of the warm samples sent
// other bytes than their file says: another file was timed.
type ForeignFilesError struct{ Models []string }

func (e *ForeignFilesError) Error() string {
	return fmt.Sprintf("samples of model %s sent other bytes than the file that was given says: another file was timed", quoted(e.Models))
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
// errors, but for [ErrNoFile] and [*MissingFile], end the collection. Where a
// sample has the hash of the file that ran, a file with another one is not
// taken, and neither are the sample's bytes instead of a file.
//
// A load is a cold call, and so is a first call where its file has no load:
// first calls also pay for what a runtime sets up once. Steady and squeezed
// calls are warm. Calls of a replay may be either and are used if their
// bytes say which. How long it takes to create an interpreter is not used.
func Collect(samples []profile.Sample, find func(*profile.Sample) (*File, error)) (*Data, error) {
	d := &Data{}
	var hosts, devices []string
	files := make([]*File, len(samples))
	var all []*File // distinct
	type same struct {
		model, source string
		cost.CalibratedFile
	}
	known := map[same]*File{}
	blind := map[string][]int{} // samples of models without a file
	absent := map[[2]string]*MissingFile{}
	for i := range samples {
		s := &samples[i]
		if !slices.Contains(devices, s.Device) {
			devices = append(devices, s.Device)
		}
		if s.Host != "" && !slices.Contains(hosts, s.Host) {
			hosts = append(hosts, s.Host)
		}
		if s.Kind == profile.Create || !(s.MS > 0) {
			d.Unused++
			continue
		}
		f, err := find(s)
		if s.SHA256 != "" {
			if errors.Is(err, ErrNoFile) {
				err = &MissingFile{Model: s.Model, SHA256: s.SHA256}
			} else if err == nil && f.SHA256 != "" && !strings.EqualFold(f.SHA256, s.SHA256) {
				err = &MissingFile{Model: s.Model, SHA256: s.SHA256, Others: []string{f.File}}
			}
		}
		m, missing := errors.AsType[*MissingFile](err)
		switch {
		case missing && s.Kind == profile.Replay && s.Bytes == nil:
			d.Unused++ // it would not be used with its file either
			continue
		case missing:
			at := [2]string{m.Model, m.SHA256}
			if absent[at] == nil {
				absent[at] = &MissingFile{Model: m.Model, SHA256: m.SHA256, Others: m.Others}
			}
			absent[at].Samples++
			continue
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
	if len(hosts) > 1 {
		slices.Sort(hosts)
		return nil, &HostsError{hosts}
	}
	if len(devices) > 1 {
		slices.Sort(devices)
		return nil, &DevicesError{devices}
	}
	if len(devices) == 1 {
		d.Device = devices[0]
	}
	unknown := &UnknownFilesError{}
	for model, at := range blind {
		byBytes, ok := fromBytes(model, samples, at)
		if !ok {
			unknown.Models = append(unknown.Models, model)
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
	for _, m := range absent {
		unknown.Files = append(unknown.Files, *m)
	}
	if len(unknown.Models)+len(unknown.Files) > 0 {
		slices.Sort(unknown.Models)
		slices.SortFunc(unknown.Files, func(a, b MissingFile) int {
			return cmp.Or(cmp.Compare(a.Model, b.Model), cmp.Compare(a.SHA256, b.SHA256))
		})
		return nil, unknown
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
	hidden, foreign, warm := map[string]int{}, map[string]int{}, map[string]int{}
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
		if s.Kind != profile.Replay && s.Kind != profile.First && s.Bytes != nil && !cold {
			if warm[f.Model]++; *s.Bytes != f.StreamedBytes+f.FixedBytes {
				foreign[f.Model]++
			}
		}
		d.Timings = append(d.Timings, Timing{File: at[f], Cold: cold, MS: s.MS, Run: s.Run, Source: s.Source})
	}
	for _, model := range sortedKeys(hidden) {
		d.Warnings = append(d.Warnings, fmt.Sprintf("%d samples of model %q that should have loaded sent no parameters; they are not used", hidden[model], model))
	}
	var others []string
	for _, model := range sortedKeys(foreign) {
		if mostOutliers*foreign[model] > warm[model] {
			others = append(others, model)
		}
		d.Warnings = append(d.Warnings, fmt.Sprintf("%d warm samples of model %q sent other bytes than its file says: perhaps another file was timed", foreign[model], model))
	}
	if len(others) > 0 {
		return nil, &ForeignFilesError{others}
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
