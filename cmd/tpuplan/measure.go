package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/device"
)

// way is a way to measure, as --with names it.
type way struct {
	name string
	// open returns a measurer for runs whose files are relative to a folder.
	open func(m *means, dir string) (profile.Measurer, error)
}

// ways lists all ways; the first is the default.
func ways() []way {
	return []way{{"go", measureLocally}, {"python", measureWithPython}}
}

func wayNames() (names []string) {
	for _, w := range ways() {
		names = append(names, w.name)
	}
	return names
}

func wayCalled(name string) (found way) {
	for _, w := range ways() {
		if w.name == name {
			found = w
		}
	}
	return found
}

// orList is "a", "a or b", "a, b or c".
func orList(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

func measureLocally(_ *means, dir string) (profile.Measurer, error) {
	if device.Available {
		return &device.Local{Dir: dir}, nil
	}
	hint := device.NotBuilt.Hint
	if others := wayNames()[1:]; len(others) > 0 {
		hint += ", or measure --with " + orList(others)
	}
	return nil, &failure{exitFailed, device.NotBuilt, hint}
}

// sampleFile is a file that samples are appended to.
type sampleFile struct {
	io.WriteCloser
	path     string // "" if samples are not kept
	created  bool   // by this run
	sessions int    // that it has already
	added    int

	progress profile.Progress // of all runs that it has samples of
	last     []profile.Sample // of its last session
	lines    map[string]bool  // that it has already

	validations int              // sessions of validate that it has
	replays     []profile.Sample // of the last of them
}

// has says whether a sample was in the file before.
func (f *sampleFile) has(s *profile.Sample) bool {
	var line bytes.Buffer
	return profile.WriteSample(&line, s) == nil && f.lines[line.String()]
}

// left is how many of some runs are not complete, 0 if there are samples of
// other runs with these names.
func (f *sampleFile) left(runs []*profile.Run) (n int) {
	for _, run := range runs {
		rest, _, err := f.progress.Rest(run)
		if err != nil { // another series
			return 0
		}
		if rest != nil {
			n++
		}
	}
	return n
}

// elsewhere says whether samples are of another host than the one that is to measure.
func elsewhere(samples []profile.Sample, host string) bool {
	return slices.ContainsFunc(samples, func(s profile.Sample) bool { return s.Host != "" && s.Host != host })
}

// runs plans the runs of a series, as a session of the file: its last one, if
// that was one of this series on this host and is not complete, else a new one. The
// samples that there are of it already come with it.
func (f *sampleFile) runs(u *ui, series profile.Series, s *subjects, host string) (runs []*profile.Run, unmeasured []string, there []profile.Sample) {
	if f.sessions > 0 && !elsewhere(f.last, host) {
		series.Name = fmt.Sprintf("profile-%d", f.sessions)
		runs, unmeasured = series.Runs(s.alone, s.squeezed)
		if left := f.left(runs); left > 0 {
			u.note(fmt.Sprintf("%s: session %d is continued, %d of %d runs are left", f.path, f.sessions, left, len(runs)))
			return runs, unmeasured, f.last
		}
	}
	series.Name = fmt.Sprintf("profile-%d", f.sessions+1)
	runs, unmeasured = series.Runs(s.alone, s.squeezed)
	return runs, unmeasured, nil
}

func (f *sampleFile) add(s *profile.Sample) error {
	if f.WriteCloser == nil {
		return nil
	}
	if err := profile.WriteSample(f, s); err != nil {
		return fmt.Errorf("%s: %w", f.path, bare(err))
	}
	f.added++
	return nil
}

// Close closes the file, if there is one. One that would be left empty was not
// worth making.
func (f *sampleFile) Close() error {
	if f.WriteCloser == nil {
		return nil
	}
	err := f.WriteCloser.Close()
	if f.created && f.added == 0 {
		err = errors.Join(err, os.Remove(f.path))
	}
	return err
}

// kept is stdout, which stays open.
type kept struct{ io.Writer }

func (kept) Close() error { return nil }

// openSamples opens a file to append to. One that ends within a line, because
// its writer was killed, loses that line; one that holds something else is left alone.
func openSamples(u *ui, path string) (*sampleFile, error) {
	switch path {
	case "":
		return &sampleFile{}, nil
	case "-":
		return &sampleFile{WriteCloser: kept{u.out}, path: "stdout"}, nil
	}
	fail := func(err error) (*sampleFile, error) { return nil, fmt.Errorf("%s: %w", path, bare(err)) }
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return fail(errors.New("it is a folder"))
	case err == nil && !info.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return fail(err)
		}
		return &sampleFile{WriteCloser: f, path: path}, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return fail(err)
	}
	s := &sampleFile{WriteCloser: f, path: path, created: info == nil, lines: map[string]bool{}}
	dropped, err := profile.ReadSamples(path, f, func(x *profile.Sample) error {
		if n := session(x.Run); n > s.sessions {
			s.sessions, s.last = n, nil
		}
		if n := session(x.Run); n > 0 && n == s.sessions {
			s.last = append(s.last, *x)
		}
		if n := sessionOf(validatePrefix, x.Run); n > s.validations {
			s.validations, s.replays = n, nil
		}
		if n := sessionOf(validatePrefix, x.Run); n > 0 && n == s.validations {
			s.replays = append(s.replays, *x)
		}
		s.progress.Add(x)
		var line bytes.Buffer
		if err := profile.WriteSample(&line, x); err != nil {
			return err
		}
		s.lines[line.String()] = true
		return nil
	})
	if err != nil {
		f.Close() //nolint:errcheck // nothing was written
		return nil, &failure{exitFailed, err, "nothing was measured, and the file is untouched: name another one"}
	}
	if err := endLine(f, dropped); err != nil {
		f.Close() //nolint:errcheck // the next start ends the line
		return fail(err)
	}
	if dropped {
		u.note(path + ": its last line was cut off, and is dropped")
	}
	return s, nil
}

// session is the number of a run's session, 0 if it has none.
func session(run string) int { return sessionOf("profile-", run) }

func sessionOf(prefix, run string) int {
	rest, ok := strings.CutPrefix(run, prefix)
	number, _, _ := strings.Cut(rest, ".")
	if n, err := strconv.Atoi(number); ok && err == nil {
		return n
	}
	return 0
}

// endLine makes a file end with a whole line: cut drops what follows the last
// one, else a line feed that is missing is added.
func endLine(f *os.File, cut bool) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	size, last := info.Size(), make([]byte, 1)
	for ; size > 0; size-- {
		if _, err := f.ReadAt(last, size-1); err != nil {
			return err
		}
		if last[0] == '\n' {
			break
		}
		if !cut {
			_, err := f.Write([]byte("\n"))
			return err
		}
	}
	if size == info.Size() {
		return nil
	}
	return f.Truncate(size)
}
