// Package verify checks that bytes are a well-formed flatbuffer of a given
// schema, so that the accessors flatc generates, which trust every offset,
// may be used on an untrusted file. After [Check] has returned nil no accessor
// of a field that the schema has can read outside the buffer.
package verify

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Kind is what a field holds.
type Kind uint8

// Kinds of fields.
const (
	Scalar  Kind = iota // Size bytes inside the table
	Vector              // scalars of Size bytes
	String              // bytes
	Strings             // a vector of strings
	One                 // a table
	Many                // a vector of tables
	Union               // a table, one of Members, chosen by the scalar field with the ID before
)

// Field is a field of a table. Unless it is a Scalar the table holds its offset.
type Field struct {
	ID      int
	Name    string
	Kind    Kind
	Size    int             // of a Scalar or of a Vector's element, in bytes
	Table   *Table          // for One and Many
	Members map[byte]*Table // for Union; other members are not looked at
}

// Table describes a table. It must be a tree: a table that holds itself could be followed without end.
type Table struct {
	Name   string
	Fields []Field
}

// Error says what is wrong and where.
type Error struct {
	Offset int64  // byte in the buffer
	What   string // with the path of field names that leads there
}

func (e *Error) Error() string { return fmt.Sprintf("%s (at byte %d)", e.What, e.Offset) }

// Check verifies the flatbuffer in data whose root is of the given table. The
// error, if any, is an [*Error].
//
// The time it takes is proportional to the length of data, whatever data
// holds: every reference to a table or string takes four bytes, so a walk that
// follows more of them than a quarter of the bytes uses some bytes twice and
// is given up.
func Check(data []byte, root *Table) error {
	w := walker{data: data, left: len(data) / 4}
	at, err := w.follow(0)
	if err != nil {
		return err
	}
	return w.table(at, root)
}

// step is a field name or, if the name is empty, an index.
type step struct {
	name  string
	index int
}

type walker struct {
	data []byte
	left int // references that may still be followed
	path []step
}

// The two ways in which a file is wrong: it ends too early, or what is there is nonsense.
const (
	truncated = "truncated"
	damaged   = "damaged"
)

// fail makes the error "how: path what".
func (w *walker) fail(at int, how, format string, args ...any) error {
	var b strings.Builder
	for i, s := range w.path {
		switch {
		case s.name == "":
			fmt.Fprintf(&b, "[%d]", s.index)
		case i > 0:
			b.WriteString("." + s.name)
		default:
			b.WriteString(s.name)
		}
	}
	if b.Len() == 0 {
		b.WriteString("the root table")
	}
	return &Error{Offset: int64(at), What: how + ": " + b.String() + " " + fmt.Sprintf(format, args...)}
}

// room reports whether size bytes from at lie in the buffer. Sizes of vectors
// are computed in 64 bits, so that they do not overflow where int has 32.
func (w *walker) room(at int, size int64) bool {
	return size <= int64(len(w.data)-at)
}

// follow reads the offset at a position that is in the buffer and returns
// where it leads, a place with room for four bytes.
func (w *walker) follow(at int) (int, error) {
	if !w.room(at, 4) {
		return 0, w.fail(at, truncated, "has no room for an offset")
	}
	if w.left--; w.left < 0 {
		return 0, w.fail(at, damaged, "is one reference too many: parts of the file are shared or repeat without end")
	}
	to := int64(at) + int64(binary.LittleEndian.Uint32(w.data[at:]))
	if to > int64(len(w.data)-4) {
		return 0, w.fail(at, truncated, "points to byte %d of %d", to, len(w.data))
	}
	return int(to), nil
}

// vector checks a vector of elements of size bytes to which the offset at a
// position leads, and returns where its elements start and how many there are.
func (w *walker) vector(at, size int) (start, count int, err error) {
	at, err = w.follow(at)
	if err != nil {
		return 0, 0, err
	}
	n := int64(binary.LittleEndian.Uint32(w.data[at:]))
	if !w.room(at+4, n*int64(size)) {
		return 0, 0, w.fail(at, truncated, "has %d elements of %d bytes, %d bytes follow", n, size, len(w.data)-at-4)
	}
	return at + 4, int(n), nil
}

// table checks the table at a position with room for four bytes.
func (w *walker) table(at int, t *Table) error {
	// A table starts with the distance back to the list of its fields'
	// places: its own length, the table's, then a place for each field.
	list := int64(at) - int64(int32(binary.LittleEndian.Uint32(w.data[at:])))
	if list < 0 || list > int64(len(w.data)-4) {
		return w.fail(at, damaged, "is not a table: its list of fields would be at byte %d of %d", list, len(w.data))
	}
	fields := w.data[list:]
	listed, length := int(binary.LittleEndian.Uint16(fields)), int(binary.LittleEndian.Uint16(fields[2:]))
	if listed < 4 || listed%2 != 0 || listed > len(fields) {
		return w.fail(int(list), damaged, "is not a table: its list of fields has %d bytes", listed)
	}
	if length < 4 {
		return w.fail(int(list), damaged, "is not a table: it has %d bytes", length)
	}
	if !w.room(at, int64(length)) {
		return w.fail(at, truncated, "has %d bytes, %d follow", length, len(w.data)-at)
	}
	place := func(id int) int {
		if slot := 4 + 2*id; slot < listed {
			return int(binary.LittleEndian.Uint16(fields[slot:]))
		}
		return 0
	}
	for i := range t.Fields {
		f := &t.Fields[i]
		p := place(f.ID)
		if p == 0 {
			continue
		}
		w.path = append(w.path, step{name: f.Name})
		size := 4
		if f.Kind == Scalar {
			size = f.Size
		}
		if p < 4 || p+size > length {
			return w.fail(at, damaged, "is at byte %d of a table of %d", p, length)
		}
		member := byte(0)
		if f.Kind == Union {
			if p := place(f.ID - 1); p >= 4 && p < length {
				member = w.data[at+p]
			}
		}
		if err := w.field(at+p, f, member); err != nil {
			return err
		}
		w.path = w.path[:len(w.path)-1]
	}
	return nil
}

// field checks what the offset at a position leads to.
func (w *walker) field(at int, f *Field, member byte) error {
	switch f.Kind {
	case Vector:
		_, _, err := w.vector(at, f.Size)
		return err
	case String:
		_, _, err := w.vector(at, 1)
		return err
	case One, Union:
		t := f.Table
		if f.Kind == Union {
			if t = f.Members[member]; t == nil {
				return nil
			}
		}
		to, err := w.follow(at)
		if err != nil {
			return err
		}
		return w.table(to, t)
	case Strings, Many:
		start, count, err := w.vector(at, 4)
		if err != nil {
			return err
		}
		for i := range count {
			w.path = append(w.path, step{index: i})
			if f.Kind == Strings {
				_, _, err = w.vector(start+4*i, 1)
			} else {
				var to int
				if to, err = w.follow(start + 4*i); err == nil {
					err = w.table(to, f.Table)
				}
			}
			if err != nil {
				return err
			}
			w.path = w.path[:len(w.path)-1]
		}
	}
	return nil
}
