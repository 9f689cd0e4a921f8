package tflite

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/tpuplan/tpuplan/tflite/internal/verify"
)

// FormatError says why a file is not what it should be.
type FormatError struct {
	File   string // name of the file
	Offset int64  // where in the file, in bytes; -1 if that is not known or says nothing
	What   string // what is wrong
	Hint   string // what to do about it; may be empty
}

// Error is all of it in one line: "FILE: WHAT (at byte OFFSET); HINT".
func (e *FormatError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.File, e.What)
	if e.Offset >= 0 {
		fmt.Fprintf(&b, " (at byte %d)", e.Offset)
	}
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}

// guard is the boundary that nothing crosses but a [*FormatError]. The
// verification is meant to leave nothing to panic about; that a file finds the
// hole in it must not end the program.
func (f *File) guard(read func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = f.errorf(-1, "damaged: reading it ended in %q", fmt.Sprint(r))
		}
	}()
	return read()
}

func (f *File) errorf(offset int64, format string, args ...any) *FormatError {
	return &FormatError{File: f.name, Offset: offset, What: fmt.Sprintf(format, args...)}
}

// check verifies a flatbuffer in the file; name begins the error and is empty for the file itself.
func (f *File) check(data []byte, root *verify.Table, name string) error {
	err := verify.Check(data, root)
	if e := (*verify.Error)(nil); errors.As(err, &e) {
		return f.errorf(f.position(data)+e.Offset, "%s%s", name, e.What)
	}
	return err
}

// position is where in the file a part of it starts. A slice's capacity
// reaches to the end of what it is a part of, unless cut when slicing.
func (f *File) position(part []byte) int64 { return int64(cap(f.data) - cap(part)) }

const identifier = "TFL3"

// strangers are contents that are often found where a model should be.
var strangers = []struct{ start, what, hint string }{
	{"version https://git-lfs", "a Git LFS pointer, not the file it stands for", "run git lfs pull"},
	{"PK\x03\x04", "a ZIP archive, not a TFLite file", "unpack it first"},
	{"\x1f\x8b", "a gzip archive, not a TFLite file", "unpack it first"},
	{"\x89HDF", "a Keras HDF5 file, not a TFLite file", "convert it with the TensorFlow Lite converter"},
	{"<!DOCTYPE", "a web page, not a TFLite file", "download the file itself"},
	{"<!doctype", "a web page, not a TFLite file", "download the file itself"},
	{"<html", "a web page, not a TFLite file", "download the file itself"},
}

// identify refuses what does not even look like a TFLite file.
func (f *File) identify() error {
	if len(f.data) == 0 {
		return f.errorf(-1, "the file is empty")
	}
	start := bytes.TrimLeft(f.data[:min(len(f.data), 512)], " \t\r\n")
	for _, s := range strangers {
		if bytes.HasPrefix(start, []byte(s.start)) {
			return &FormatError{File: f.name, Offset: -1, What: s.what, Hint: s.hint}
		}
	}
	if len(f.data) < 8 {
		return f.errorf(-1, "truncated: %d bytes are too few for a TFLite file", len(f.data))
	}
	switch found := string(f.data[4:8]); found {
	case identifier:
		return nil
	case packageIdentifier:
		return &FormatError{
			File: f.name, Offset: -1,
			What: "an Edge TPU package without the TFLite model around it",
			Hint: "give the file that edgetpu_compiler wrote",
		}
	default:
		return f.errorf(-1, "not a TFLite file (identifier %q, want %q)", found, identifier)
	}
}
