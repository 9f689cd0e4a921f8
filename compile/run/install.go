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
//  3. A journal, .tpuplan-GROUP/.install, names the outputs and their hashes.
//     From here on the group is decided to be the new one. A guard is started,
//     a process that waits for the end of this one.
//  4. The old outputs are moved to .tpuplan-GROUP/.old.
//  5. The new outputs are moved to the output folder.
//  6. The guard is sent home. The compiler's operation logs are moved, marks
//     are made as make would have made them, and .tpuplan-GROUP is removed.
//
// A program that loads the group during 4 and 5, well under a millisecond,
// may miss a file, but never finds files of two compiler calls side by side. A
// process that is killed there leaves a guard, which does the rest of 4 and 5.
// Only if the guard ends as well, as when the machine does, some files of one kind and
// none of the other are left until the next start finds the journal and does
// the rest of 4 to 6; make, to which files and marks are missing, compiles the
// group. An error on the way, such as a full disk, is undone at once.
// A group of one model is renamed over its old output and needs none of this.

const (
	journalName = ".install"
	startName   = ".start" // its date is that of the call
	oldName     = ".old"
	tempPrefix  = ".tpuplan-"
)

// journal is the file of step 3.
type journal struct {
	Outputs []output `json:"outputs"`
}

// output is a file of a group.
type output struct {
	Name   string `json:"name"` // in the output folder
	SHA256 string `json:"sha256"`
}

// operationLog is the name of the log that the compiler writes beside an output.
func operationLog(output string) string { return strings.TrimSuffix(output, ".tflite") + ".log" }

// install moves the outputs of the group into place.
func (w *work) install(built []Built) error {
	s := &stage{out: w.out, temp: w.temp}
	for i, file := range w.Group.Files {
		s.outputs = append(s.outputs, output{compile.OutputName(file), built[i].sum})
	}
	start, err := s.start()
	if err != nil {
		return w.fail(err, "", "cannot write to %s: %v", w.Group.OutDir, bare(err))
	}
	for _, o := range s.outputs {
		if info, err := os.Lstat(filepath.Join(w.out, o.Name)); err == nil && info.IsDir() {
			return w.fail(nil, "remove it or choose another out_dir", "cannot replace %s: it is a folder", o.Name)
		}
		if err := flush(filepath.Join(w.temp, o.Name)); err != nil {
			return w.fail(err, "", "cannot write %s: %v", o.Name, bare(err))
		}
	}
	for _, o := range s.outputs {
		beforeStep()
		if err := os.RemoveAll(filepath.Join(w.out, compile.MarkFolder, o.Name)); err != nil {
			return w.fail(err, "", "cannot replace %s: %v", o.Name, bare(err))
		}
	}
	if len(s.outputs) == 1 {
		err = s.move(w.temp, w.out, s.outputs[0].Name)
	} else {
		err = s.begin()
		if err == nil {
			err = s.replace()
		}
	}
	if err != nil {
		return w.fail(err, "", "the outputs were not replaced: %v", err)
	}
	if err := s.mark(w.Group.Mark, start); err != nil {
		w.Warnings = append(w.Warnings, fmt.Sprintf("group %q: make will compile it again: %v", w.Group.Group, err))
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
	outputs   []output
}

// start is when the call began, by the clock of the file system. No output may
// look older: one that was copied out of a container can.
func (s *stage) start() (time.Time, error) {
	info, err := os.Stat(filepath.Join(s.temp, startName))
	if err != nil {
		return time.Time{}, err
	}
	start := info.ModTime()
	for _, o := range s.outputs {
		path := filepath.Join(s.temp, o.Name)
		info, err := os.Stat(path)
		if err == nil && info.ModTime().Before(start) {
			err = os.Chtimes(path, start, start)
		}
		if err != nil {
			return time.Time{}, err
		}
	}
	return start, nil
}

// begin writes the journal.
func (s *stage) begin() error {
	beforeStep()
	data, err := json.Marshal(journal{s.outputs})
	if err != nil {
		return err
	}
	if err := maybe.WriteFile(s.journal(), data, 0o666); err != nil {
		return bare(err)
	}
	return nil
}

func (s *stage) journal() string { return filepath.Join(s.temp, journalName) }

// replace does what the journal says, or nothing.
func (s *stage) replace() error {
	lock := lockJournal(s.journal())
	defer lock.Close() //nolint:errcheck // it was only locked; nil where there are no locks
	defer s.guard(lock)()
	err := s.forward()
	if err == nil {
		return nil
	}
	if failed := s.back(); failed != nil {
		return errors.Join(err, failed, fmt.Errorf("files of the group are left in %s: the next tpuplan compile tries again", filepath.ToSlash(s.temp)))
	}
	if failed := os.Remove(s.journal()); failed != nil {
		return errors.Join(err, bare(failed))
	}
	return err
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
// was left off. What lies in temp has not been moved yet. The guard does the same.
func (s *stage) forward() error {
	old := filepath.Join(s.temp, oldName)
	beforeStep()
	if err := os.Mkdir(old, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return bare(err)
	}
	for _, o := range s.outputs {
		if exists(s.temp, o.Name) && exists(s.out, o.Name) {
			if err := s.move(s.out, old, o.Name); err != nil {
				return err
			}
		}
	}
	for _, o := range s.outputs {
		if exists(s.temp, o.Name) {
			if err := s.move(s.temp, s.out, o.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// forwardScript is forward for a shell, the program of the guard. Its
// arguments are the output folder, the temporary one, and the outputs. It
// waits until its input ends, which is when its parent did, and does nothing if a line
// came before that.
const forwardScript = `trap "" HUP INT TERM
if read -r line || [ -n "$line" ]; then exit 0; fi
out=$1 temp=$2; shift 2
[ -f "$temp/` + journalName + `" ] || exit 0
there() { [ -e "$1" ] || [ -h "$1" ]; }
mkdir -p -- "$temp/` + oldName + `" || exit 1
for f do
  if there "$temp/$f" && there "$out/$f"; then mv -f -- "$out/$f" "$temp/` + oldName + `/$f" || exit 1; fi
done
for f do
  if there "$temp/$f"; then mv -f -- "$temp/$f" "$out/$f" || exit 1; fi
done
`

// back undoes what forward did.
func (s *stage) back() error {
	var errs []error
	for _, o := range s.outputs {
		if !exists(s.temp, o.Name) && exists(s.out, o.Name) {
			errs = append(errs, s.move(s.out, s.temp, o.Name))
		}
	}
	return errors.Join(append(errs, s.restore())...)
}

// restore puts the old outputs that were moved away back.
func (s *stage) restore() error {
	old := filepath.Join(s.temp, oldName)
	var errs []error
	for _, o := range s.outputs {
		if exists(old, o.Name) {
			errs = append(errs, s.move(old, s.out, o.Name))
		}
	}
	return errors.Join(errs...)
}

// mark makes the marks by which make knows what it has built, after the last
// output was replaced. They are as old as the call, for what changed since then has
// not been compiled.
func (s *stage) mark(name string, start time.Time) error {
	if name == "" {
		return nil
	}
	for _, o := range s.outputs {
		beforeStep()
		folder := filepath.Join(s.out, compile.MarkFolder, o.Name)
		path := filepath.Join(folder, name)
		err := os.MkdirAll(folder, 0o777)
		if err == nil {
			err = os.WriteFile(path, nil, 0o666)
		}
		if err == nil {
			err = os.Chtimes(path, start, start)
		}
		if err != nil {
			os.Remove(path) //nolint:errcheck // one with a wrong date would say too much
			return bare(err)
		}
	}
	return nil
}

// finish brings the operation logs over and removes the temporary folder. The
// outputs are in place, so what fails here fails nothing.
func (s *stage) finish() {
	for _, o := range s.outputs {
		if log := operationLog(o.Name); exists(s.temp, log) {
			_ = s.move(s.temp, s.out, log)
		}
	}
	_ = flush(s.out)
	beforeStep()
	_ = discard(s.temp)
}

// discard removes a temporary folder, the journal first: one that names files
// that are partly gone must not be found.
func discard(temp string) error {
	if err := os.Remove(filepath.Join(temp, journalName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(temp)
}

// flush waits until a file or folder is on the disk.
func flush(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Unfinished lists the groups in an output folder of which a process that was
// killed left files of neither the old nor the new compile in place. [Recover]
// puts that right.
func Unfinished(out string) []string {
	var groups []string
	for _, path := range journals(out) {
		groups = append(groups, strings.TrimPrefix(filepath.Base(filepath.Dir(path)), tempPrefix))
	}
	return groups
}

// journals are the paths of the journals in an output folder, sorted.
func journals(out string) []string {
	paths, _ := filepath.Glob(filepath.Join(globEscape(out), tempPrefix+"*", journalName)) // the pattern is well-formed
	return paths
}

// Recover finishes in an output folder what a process that was killed had
// begun, so that every group there is of one piece. [Run] does it first. What
// has been built since then is left alone.
func Recover(out string) error {
	for _, path := range journals(out) {
		if err := recoverGroup(out, path); err != nil {
			return err
		}
	}
	return nil
}

func recoverGroup(out, path string) error {
	lock := lockJournal(path) // a guard may be at work
	s := &stage{out: out, temp: filepath.Dir(path)}
	written, err := s.resume(path)
	lock.Close() //nolint:errcheck // it was only locked
	if err != nil {
		return fmt.Errorf("%s: %w (if it is no file of tpuplan, remove its folder)", filepath.ToSlash(path), err)
	}
	switch {
	case s.overtaken(written):
		err = discard(s.temp)
	case !s.complete():
		// Something removed files of the new compile. Of the old one there may be all.
		if s.replaced(written) {
			err = discard(s.temp)
			break
		}
		if err = s.restore(); err == nil {
			err = discard(s.temp)
		}
	default:
		if err = s.replace(); err == nil {
			s.finish()
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.ToSlash(s.temp), bare(err))
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
	for _, o := range j.Outputs {
		// The journal may not be ours, and must not move other files.
		if o.Name == "" || filepath.Base(o.Name) != o.Name || !strings.HasSuffix(o.Name, "_edgetpu.tflite") {
			return time.Time{}, fmt.Errorf("not a journal: %q is no output", o.Name)
		}
	}
	s.outputs = j.Outputs
	return info.ModTime(), nil
}

// overtaken reports whether some output that is still to be replaced was made
// after the journal was written, by a build file for instance.
func (s *stage) overtaken(written time.Time) bool {
	for _, o := range s.outputs {
		if exists(s.temp, o.Name) && s.newer(o.Name, written) {
			return true
		}
	}
	return false
}

// replaced reports whether the output folder has an output that is not an old one.
func (s *stage) replaced(written time.Time) bool {
	for _, o := range s.outputs {
		if s.newer(o.Name, written) || holds(s.out, o) {
			return true
		}
	}
	return false
}

// newer reports whether an output in place was made after a time.
func (s *stage) newer(name string, than time.Time) bool {
	info, err := os.Lstat(filepath.Join(s.out, name))
	return err == nil && info.ModTime().After(than)
}

// complete reports whether all files of the new compile are there, moved or not.
func (s *stage) complete() bool {
	for _, o := range s.outputs {
		if !holds(s.temp, o) && (exists(s.temp, o.Name) || !holds(s.out, o)) {
			return false
		}
	}
	return true
}

// holds reports whether a folder has an output with its content.
func holds(dir string, o output) bool {
	sum, err := hash(filepath.Join(dir, o.Name))
	return err == nil && sum == o.SHA256
}

// globEscape makes a path stand for itself in a pattern.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
