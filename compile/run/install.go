package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2/maybe"

	"github.com/tpuplan/tpuplan/compile"
)

// How a group gets into place. No file system replaces several files in one
// step, so it happens in this order, in folders that lie in the output folder:
//
//  1. The compiler has filled .tpuplan-GROUP; its outputs are checked and
//     flushed to the disk.
//  2. The marks by which build files know their outputs are taken away: what
//     make believed of them no longer holds.
//  3. A journal, .tpuplan-GROUP/.install, names the outputs. From here on the
//     group is decided to be the new one.
//  4. The old outputs are moved to .tpuplan-GROUP/.old.
//  5. The new outputs are moved to the output folder, then the compiler's
//     operation logs.
//  6. .tpuplan-GROUP is removed.
//
// A process that is killed at any of these steps leaves all old outputs, all
// new ones, or, between 4 and 5, some of one kind and none of the other: a
// program that loads the group misses a file, but never finds files of two
// compiler calls side by side. The next start finds the journal and does the
// rest of 4 to 6. An error on the way, such as a full disk, is undone at once.
// A group of one model is renamed over its old output and needs none of this.

const (
	journalName = ".install"
	oldName     = ".old"
	markFolder  = ".tpuplan" // marks of build files, see package emit
	tempPrefix  = ".tpuplan-"
)

// journal is the file of step 3.
type journal struct {
	Outputs []string `json:"outputs"` // names in the output folder
}

// operationLog is the name of the log that the compiler writes beside an output.
func operationLog(output string) string { return strings.TrimSuffix(output, ".tflite") + ".log" }

// install moves the outputs of the group into place.
func (w *work) install() error {
	var names []string
	for _, file := range w.Group.Files {
		names = append(names, compile.OutputName(file))
	}
	for _, name := range names {
		if info, err := os.Lstat(filepath.Join(w.out, name)); err == nil && info.IsDir() {
			return w.fail(nil, "remove it or choose another out_dir", "cannot replace %s: it is a folder", name)
		}
		if err := flush(filepath.Join(w.temp, name)); err != nil {
			return w.fail(err, "", "cannot write %s: %v", name, bare(err))
		}
	}
	for _, name := range names {
		beforeStep()
		if err := os.RemoveAll(filepath.Join(w.out, markFolder, name)); err != nil {
			return w.fail(err, "", "cannot replace %s: %v", name, bare(err))
		}
	}
	s := &stage{out: w.out, temp: w.temp, names: names}
	var err error
	if len(names) == 1 {
		err = s.move(w.temp, w.out, names[0])
	} else {
		err = s.begin()
		if err == nil {
			err = s.forward()
		}
		if err != nil {
			err = errors.Join(err, s.back())
		}
	}
	if err != nil {
		return w.fail(err, "", "the outputs were not replaced: %v", err)
	}
	s.finish()
	return nil
}

// beforeStep is called before each change to the output folder, so that a test
// can end the process there.
var beforeStep = func() {}

// stage is a group on its way from its temporary folder to the output folder.
type stage struct {
	out, temp string
	names     []string
}

// begin writes the journal.
func (s *stage) begin() error {
	beforeStep()
	data, err := json.Marshal(journal{s.names})
	if err != nil {
		return err
	}
	if err := maybe.WriteFile(filepath.Join(s.temp, journalName), data, 0o666); err != nil {
		return bare(err)
	}
	return nil
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

// move renames a file from one folder to another.
func (s *stage) move(from, to, name string) error {
	beforeStep()
	if err := os.Rename(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
		return fmt.Errorf("%s: %w", name, bare(err))
	}
	return nil
}

// forward moves what is old away and what is new into place, wherever that
// was left off. What lies in temp has not been moved yet.
func (s *stage) forward() error {
	old := filepath.Join(s.temp, oldName)
	beforeStep()
	if err := os.Mkdir(old, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return bare(err)
	}
	for _, name := range s.names {
		if exists(s.temp, name) && exists(s.out, name) {
			if err := s.move(s.out, old, name); err != nil {
				return err
			}
		}
	}
	for _, name := range s.names {
		if exists(s.temp, name) {
			if err := s.move(s.temp, s.out, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// back undoes what forward did.
func (s *stage) back() error {
	old := filepath.Join(s.temp, oldName)
	var errs []error
	for _, name := range s.names {
		if !exists(s.temp, name) && exists(s.out, name) {
			errs = append(errs, s.move(s.out, s.temp, name))
		}
	}
	for _, name := range s.names {
		if exists(old, name) {
			errs = append(errs, s.move(old, s.out, name))
		}
	}
	return errors.Join(errs...)
}

// finish brings the operation logs over and removes the temporary folder. The
// outputs are in place, so what fails here fails nothing.
func (s *stage) finish() {
	for _, name := range s.names {
		if log := operationLog(name); exists(s.temp, log) {
			_ = s.move(s.temp, s.out, log)
		}
	}
	_ = flush(s.out)
	beforeStep()
	_ = os.RemoveAll(s.temp)
}

// flush waits until a file or folder is on the disk.
func flush(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Recover finishes in an output folder what a process that was killed had
// begun, so that every group there is of one piece. [Run] does it first. What
// has been built since then is left alone.
func Recover(out string) error {
	journals, err := filepath.Glob(filepath.Join(globEscape(out), tempPrefix+"*", journalName))
	if err != nil {
		return fmt.Errorf("%s: %w", out, err)
	}
	for _, path := range journals { // Glob sorts
		s := &stage{out: out, temp: filepath.Dir(path)}
		written, err := s.resume(path)
		if err != nil {
			return fmt.Errorf("%s: %w (if it is no file of tpuplan, remove its folder)", filepath.ToSlash(path), err)
		}
		if s.overtaken(written) {
			if err := os.RemoveAll(s.temp); err != nil {
				return fmt.Errorf("%s: %w", filepath.ToSlash(s.temp), bare(err))
			}
			continue
		}
		if err := s.forward(); err != nil {
			return fmt.Errorf("%s: %w", filepath.ToSlash(s.temp), err)
		}
		s.finish()
	}
	return nil
}

// resume reads a journal and when it was written.
func (s *stage) resume(path string) (time.Time, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return time.Time{}, bare(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return time.Time{}, bare(err)
	}
	var j journal
	if err := json.Unmarshal(data, &j); err != nil {
		return time.Time{}, fmt.Errorf("not a journal: %w", err)
	}
	for _, name := range j.Outputs {
		// The journal may not be ours, and must not move other files.
		if name == "" || filepath.Base(name) != name || !strings.HasSuffix(name, "_edgetpu.tflite") {
			return time.Time{}, fmt.Errorf("not a journal: %q is no output", name)
		}
	}
	s.names = j.Outputs
	return info.ModTime(), nil
}

// overtaken reports whether some output that is still to be replaced was made
// after the journal was written, by a build file for instance.
func (s *stage) overtaken(written time.Time) bool {
	for _, name := range s.names {
		if info, err := os.Lstat(filepath.Join(s.out, name)); err == nil && exists(s.temp, name) && info.ModTime().After(written) {
			return true
		}
	}
	return false
}

// globEscape makes a path stand for itself in a pattern.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
