package tflite

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// MaxBytes is the size of the largest file that [Open] reads. Flatbuffers
// cannot be larger.
const MaxBytes = 1<<31 - 1

// Kind tells files that a converter wrote from those edgetpu_compiler wrote.
type Kind string

// The kinds of files.
const (
	KindSource   Kind = "source"
	KindCompiled Kind = "compiled"
)

// File is a TFLite file whose structure has been verified. It is safe for
// concurrent use.
type File struct {
	name   string
	data   []byte
	source *Source
	left   int64 // memory that describing the packages may use, see memoryPerByte

	sha256   func() string
	compiled func() (*Compiled, error)
}

// Open reads and verifies the file at path. The error is a [*FormatError] if
// the file could be read but is no TFLite model; otherwise it wraps the
// system's, such as [fs.ErrNotExist].
func Open(path string) (*File, error) {
	// Asked before the file is opened: opening a named pipe waits for a writer.
	info, err := os.Stat(path)
	if err != nil {
		return nil, pathless(path, err)
	}
	switch {
	case info.IsDir():
		return nil, fmt.Errorf("%s: is a folder, not a TFLite file", path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: is not a regular file", path)
	case info.Size() > MaxBytes:
		return nil, fmt.Errorf("%s: %d bytes are too many: a TFLite file has at most %d", path, info.Size(), int64(MaxBytes))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, pathless(path, err)
	}
	defer f.Close()
	data := make([]byte, info.Size())
	n, err := io.ReadFull(f, data)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, pathless(path, err)
	}
	return New(path, data[:n])
}

// pathless puts the path first and leaves out the name of the system call.
func pathless(path string, err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// New verifies the contents of a file. The name is used in errors and the
// bytes are kept: the caller must not modify them. The error is a [*FormatError].
func New(name string, data []byte) (*File, error) {
	f := &File{name: name, data: data}
	if err := f.guard(func() (err error) {
		f.source, err = f.readSource()
		return err
	}); err != nil {
		return nil, err
	}
	f.sha256 = sync.OnceValue(func() string {
		sum := sha256.Sum256(data)
		return hex.EncodeToString(sum[:])
	})
	f.compiled = sync.OnceValues(func() (c *Compiled, err error) {
		err = f.guard(func() (err error) {
			c, err = f.readCompiled()
			return err
		})
		return c, err
	})
	return f, nil
}

// Name is the path or name that the file was opened by.
func (f *File) Name() string { return f.name }

// Size is the length of the file in bytes.
func (f *File) Size() int64 { return int64(len(f.data)) }

// SHA256 is the hash of the file's bytes, 64 hexadecimal digits. It is
// computed when first asked for.
func (f *File) SHA256() string { return f.sha256() }

// Kind is [KindCompiled] if the main subgraph has an Edge TPU custom
// operator, whether or not its package can be read, and [KindSource] otherwise.
func (f *File) Kind() Kind {
	for i := range f.source.Ops {
		if f.source.Ops[i].edgeTPU() {
			return KindCompiled
		}
	}
	return KindSource
}

// Source describes the main subgraph, of a compiled file too. All callers get
// the same value and must not modify it. The error is always nil: what could
// be wrong made [New] fail.
func (f *File) Source() (*Source, error) { return f.source, nil }

// Compiled describes the Edge TPU packages of a compiled file. All callers
// get the same value and must not modify it. The error is a [*FormatError] if
// the file is not a compiled one or if a package is damaged.
func (f *File) Compiled() (*Compiled, error) { return f.compiled() }
