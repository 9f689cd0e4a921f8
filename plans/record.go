package plans

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2/maybe"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
)

// record is a kind of file that tpuplan keeps beside a plan: the lock, the facts.
type record struct {
	name   string // "lock"
	what   string // "a lock"
	most   int    // bytes; far above any
	again  string // what settles a bad one
	forget string // what to do about one of a newer format, if not to use that tpuplan
}

// besidePlan is the file with another ending than the plan, or one of its records, has.
func besidePlan(path, ending string) string {
	for _, known := range []string{".lock.json", ".facts.json", ".toml"} {
		if base, ok := strings.CutSuffix(path, known); ok {
			return base + ending
		}
	}
	return path + ending
}

// read is the contents of a record. A missing file wraps [fs.ErrNotExist].
func (k *record) read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: no such %s: %w", path, k.name, fs.ErrNotExist)
		}
		return nil, fmt.Errorf("%s: %w", path, bareError(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(k.most)+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, bareError(err))
	}
	return data, nil
}

// bad is an error about a record, badAt one that points into its text.
func (k *record) bad(name, format string, args ...any) error {
	return fmt.Errorf("%s: %s (%s)", name, fmt.Sprintf(format, args...), k.again)
}

func (k *record) badAt(name string, data []byte, offset int64, message string) error {
	line, col := position(string(data), int(offset))
	return fmt.Errorf("%s:%d:%d: %s (%s)", name, line, col, message, k.again)
}

// check refuses what cannot be read at all.
func (k *record) check(name string, data []byte) error {
	if len(data) > k.most {
		return k.bad(name, "larger than %s, which no %s is", report.FormatSize(int64(k.most)), k.name)
	}
	if i := bytes.Index(data, []byte("<<<<<<< ")); i == 0 || i > 0 && data[i-1] == '\n' {
		return k.badAt(name, data, int64(i), "an unresolved merge")
	}
	return nil
}

// schema turns an error about the schema's name into one about the record.
func (k *record) schema(name string, err error) error {
	if newer := (*compile.NewerFormat)(nil); errors.As(err, &newer) {
		return fmt.Errorf("%s: %w (%s)", name, newer, k.forget)
	}
	return k.bad(name, "not %s: %v", k.what, err)
}

// encode is a record as it is written: JSON in a fixed form, with a line feed at the end.
func encode(x any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(x); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// write puts a record in place so that the path holds either the old contents
// or the new ones, whatever happens. A file that holds the same bytes already
// is not touched, so that build systems see no change.
func write(path string, data []byte) error {
	target := path
	if info, err := os.Stat(path); err == nil {
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s: not written, what was there is untouched: it is no regular file", path)
		}
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
			return nil
		}
		// A link stays a link.
		if target, err = filepath.EvalSymlinks(path); err != nil {
			return fmt.Errorf("%s: not written: %w", path, bareError(err))
		}
	}
	if err := maybe.WriteFile(target, data, 0o644); err != nil {
		return fmt.Errorf("%s: not written, what was there is untouched: %w", path, bareError(err))
	}
	return nil
}
