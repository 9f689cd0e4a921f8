// Package flex reads FlexBuffers, the schemaless sibling of flatbuffers, as
// described in the documentation of the flatbuffers project. It reads in
// place: a [Value] is a position in the buffer, every read is checked against
// the buffer's bounds, and nothing is allocated for what is not asked for.
package flex

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// Type is the type of a value, numbered as in the format.
type Type uint8

// Types. A vector of numbers, keys or booleans ("typed") stores the type of
// its elements once; the fixed ones have no length either.
const (
	Null          Type = 0
	Int           Type = 1
	Uint          Type = 2
	Float         Type = 3
	Key           Type = 4
	String        Type = 5
	IndirectInt   Type = 6
	IndirectUint  Type = 7
	IndirectFloat Type = 8
	Map           Type = 9
	Vector        Type = 10
	VectorInt     Type = 11
	VectorUint    Type = 12
	VectorFloat   Type = 13
	VectorKey     Type = 14
	VectorString  Type = 15
	VectorInt2    Type = 16
	VectorFloat4  Type = 24
	Blob          Type = 25
	Bool          Type = 26
	VectorBool    Type = 36
)

var typeNames = map[Type]string{
	Null: "null", Int: "int", Uint: "uint", Float: "float", Key: "key", String: "string",
	IndirectInt: "indirect int", IndirectUint: "indirect uint", IndirectFloat: "indirect float",
	Map: "map", Vector: "vector", VectorInt: "vector of int", VectorUint: "vector of uint",
	VectorFloat: "vector of float", VectorKey: "vector of key", VectorString: "vector of string",
	Blob: "blob", Bool: "bool", VectorBool: "vector of bool",
}

// String names the type in words.
func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	if element, n, ok := t.fixed(); ok {
		return fmt.Sprintf("vector of %d %v", n, element)
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// fixed takes a vector of fixed length apart.
func (t Type) fixed() (element Type, length int, ok bool) {
	if t < VectorInt2 || t > VectorFloat4 {
		return 0, 0, false
	}
	n := t - VectorInt2
	return Int + n%3, 2 + int(n/3), true
}

// element is the type of a typed vector's elements.
func (t Type) element() (Type, bool) {
	if element, _, ok := t.fixed(); ok {
		return element, true
	}
	switch {
	case t >= VectorInt && t <= VectorString:
		return Int + t - VectorInt, true
	case t == VectorBool:
		return Bool, true
	}
	return 0, false
}

// Error says what is wrong and where in the buffer.
type Error struct {
	Offset int64
	What   string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (at byte %d)", e.What, e.Offset) }

func fail(at int, format string, args ...any) error {
	return &Error{Offset: int64(at), What: fmt.Sprintf(format, args...)}
}

// Value is a value in a buffer. The zero Value is null.
type Value struct {
	buf   []byte
	at    int // of the value itself if it is inline, else of its offset
	here  int // width of what stands at at, in bytes
	width int // width of what the offset leads to
	typ   Type
}

// Root finds the value that a buffer holds. The buffer must not be modified
// while values are in use. Errors are [*Error]s, here and in all methods.
func Root(buf []byte) (Value, error) {
	if len(buf) < 3 {
		return Value{}, fail(0, "truncated: %d bytes are too few for a FlexBuffer", len(buf))
	}
	width := int(buf[len(buf)-1])
	if width != 1 && width != 2 && width != 4 && width != 8 {
		return Value{}, fail(len(buf)-1, "the root is %d bytes wide", width)
	}
	if width > len(buf)-2 {
		return Value{}, fail(0, "truncated: %d bytes cannot hold a root of %d", len(buf), width)
	}
	return value(buf, len(buf)-2-width, width, buf[len(buf)-2]), nil
}

// value is a value whose type and width come packed into a byte.
func value(buf []byte, at, here int, packed byte) Value {
	return Value{buf: buf, at: at, here: here, width: 1 << (packed & 3), typ: Type(packed >> 2)}
}

// Type is the value's type as stored.
func (v Value) Type() Type { return v.typ }

// uint reads an unsigned number of 1, 2, 4 or 8 bytes.
func (v Value) uint(at, width int) (uint64, error) {
	if at < 0 || width > len(v.buf)-at {
		return 0, fail(at, "truncated: a %v reaches outside the buffer", v.typ)
	}
	b := v.buf[at:]
	switch width {
	case 1:
		return uint64(b[0]), nil
	case 2:
		return uint64(binary.LittleEndian.Uint16(b)), nil
	case 4:
		return uint64(binary.LittleEndian.Uint32(b)), nil
	}
	return binary.LittleEndian.Uint64(b), nil
}

// follow reads an offset, which counts backwards from its own position.
func (v Value) follow(at, width int) (int, error) {
	back, err := v.uint(at, width)
	if err != nil {
		return 0, err
	}
	if back > uint64(at) {
		return 0, fail(at, "the offset %d of a %v leads before the start", back, v.typ)
	}
	return at - int(back), nil
}

// number is where a number stands and how wide it is.
func (v Value) number() (at, width int, err error) {
	switch v.typ {
	case IndirectInt, IndirectUint, IndirectFloat:
		at, err = v.follow(v.at, v.here)
		return at, v.width, err
	}
	return v.at, v.here, nil
}

func (v Value) wrong(want string) error {
	return fail(v.at, "want %s, found a %v", want, v.typ)
}

// Int reads an int, or a uint that fits.
func (v Value) Int() (int64, error) {
	switch v.typ {
	case Int, IndirectInt:
		at, width, err := v.number()
		if err != nil {
			return 0, err
		}
		u, err := v.uint(at, width)
		shift := 64 - 8*width
		return int64(u<<shift) >> shift, err
	case Uint, IndirectUint:
		u, err := v.Uint()
		if err == nil && u > math.MaxInt64 {
			err = fail(v.at, "%d is too large", u)
		}
		return int64(u), err
	}
	return 0, v.wrong("an int")
}

// Uint reads a uint.
func (v Value) Uint() (uint64, error) {
	if v.typ != Uint && v.typ != IndirectUint {
		return 0, v.wrong("a uint")
	}
	at, width, err := v.number()
	if err != nil {
		return 0, err
	}
	return v.uint(at, width)
}

// Float reads a float of four or eight bytes.
func (v Value) Float() (float64, error) {
	if v.typ != Float && v.typ != IndirectFloat {
		return 0, v.wrong("a float")
	}
	at, width, err := v.number()
	if err != nil {
		return 0, err
	}
	u, err := v.uint(at, width)
	switch {
	case err != nil:
		return 0, err
	case width == 4:
		return float64(math.Float32frombits(uint32(u))), nil
	case width == 8:
		return math.Float64frombits(u), nil
	}
	return 0, fail(at, "a float of %d bytes", width)
}

// Bool reads a bool.
func (v Value) Bool() (bool, error) {
	if v.typ != Bool {
		return false, v.wrong("a bool")
	}
	u, err := v.uint(v.at, v.here)
	return u != 0, err
}

// Span is where the bytes of a string, key or blob are in the buffer, without
// the NUL that follows strings and keys.
func (v Value) Span() (start, end int, err error) {
	switch v.typ {
	case Key:
		if start, err = v.follow(v.at, v.here); err != nil {
			return 0, 0, err
		}
		n := bytes.IndexByte(v.buf[start:], 0)
		if n < 0 {
			return 0, 0, fail(start, "truncated: a key does not end")
		}
		return start, start + n, nil
	case String, Blob:
		start, n, err := v.sized()
		if err != nil {
			return 0, 0, err
		}
		return start, start + n, nil
	}
	return 0, 0, v.wrong("a string")
}

// Bytes are the contents of a string, key or blob, in the buffer's memory.
func (v Value) Bytes() ([]byte, error) {
	start, end, err := v.Span()
	if err != nil {
		return nil, err
	}
	return v.buf[start:end], nil
}

// sized follows the offset to something whose size stands before it, and
// checks that as many bytes (or elements, as wide as the size) follow.
func (v Value) sized() (start, n int, err error) {
	if start, err = v.follow(v.at, v.here); err != nil {
		return 0, 0, err
	}
	size, err := v.uint(start-v.width, v.width)
	if err != nil {
		return 0, 0, err
	}
	each := 1
	switch {
	case v.typ == Vector || v.typ == Map:
		each = v.width + 1 // elements have a type each
	case v.typ != String && v.typ != Blob:
		each = v.width
	}
	if size > uint64((len(v.buf)-start)/each) {
		return 0, 0, fail(start, "truncated: a %v of %d has %d bytes left", v.typ, size, len(v.buf)-start)
	}
	return start, int(size), nil
}

// Elements is a vector, or the values of a map in the order of their keys.
type Elements struct {
	vector Value
	start  int
	n      int
	keys   *Elements // of a map
}

// Elements opens a vector of any type, or a map.
func (v Value) Elements() (Elements, error) {
	if _, n, ok := v.typ.fixed(); ok {
		start, err := v.follow(v.at, v.here)
		if err == nil && n*v.width > len(v.buf)-start {
			err = fail(start, "truncated: a %v has %d bytes left", v.typ, len(v.buf)-start)
		}
		return Elements{vector: v, start: start, n: n}, err
	}
	if _, typed := v.typ.element(); !typed && v.typ != Vector && v.typ != Map {
		return Elements{}, v.wrong("a vector or map")
	}
	start, n, err := v.sized()
	if err != nil {
		return Elements{}, err
	}
	e := Elements{vector: v, start: start, n: n}
	if v.typ != Map {
		return e, nil
	}
	// Before a map's size stand the offset of its keys and their width.
	width, err := v.uint(start-2*v.width, v.width)
	if err != nil {
		return Elements{}, err
	}
	if width != 1 && width != 2 && width != 4 && width != 8 {
		return Elements{}, fail(start, "the keys of a map are %d bytes wide", width)
	}
	keys, err := Value{buf: v.buf, at: start - 3*v.width, here: v.width, width: int(width), typ: VectorKey}.Elements()
	if err != nil {
		return Elements{}, err
	}
	if keys.n != n {
		return Elements{}, fail(start, "a map has %d keys for %d values", keys.n, n)
	}
	e.keys = &keys
	return e, nil
}

// Len is the number of elements.
func (e Elements) Len() int { return e.n }

// At is element i, or the value of the i-th key. It panics unless 0 <= i < Len.
func (e Elements) At(i int) Value {
	if i < 0 || i >= e.n {
		panic(fmt.Sprintf("flex: element %d of %d", i, e.n))
	}
	v := e.vector
	at := e.start + i*v.width
	if element, typed := v.typ.element(); typed {
		// What elements of typed vectors point to has sizes of one byte.
		return Value{buf: v.buf, at: at, here: v.width, width: 1, typ: element}
	}
	return value(v.buf, at, v.width, v.buf[e.start+e.n*v.width+i])
}

// Key is the i-th key of a map; of a vector it is empty. It panics unless 0 <= i < Len.
func (e Elements) Key(i int) ([]byte, error) {
	if e.keys == nil {
		return nil, nil
	}
	return e.keys.At(i).Bytes()
}

// Lookup finds a key of a map. Keys should be sorted, but this does not
// rely on it.
func (e Elements) Lookup(key string) (Value, bool, error) {
	if e.keys == nil {
		return Value{}, false, nil
	}
	for i := range e.n {
		// Not Key: that would look for the end of each key, which in a
		// hostile buffer may be far away each time.
		at, err := e.keys.vector.follow(e.keys.start+i*e.keys.vector.width, e.keys.vector.width)
		if err != nil {
			return Value{}, false, err
		}
		if k := e.vector.buf[at:]; len(k) > len(key) && string(k[:len(key)]) == key && k[len(key)] == 0 {
			return e.At(i), true, nil
		}
	}
	return Value{}, false, nil
}

// maxDepth is the number of vectors and maps that [Value.Any] enters at once.
const maxDepth = 64

// Memory that [Value.Any] may use for a buffer, and what it counts for the
// parts of a result. A map costs more than its entries while it grows.
const (
	memoryPerByte  = 2
	memoryFloor    = 1 << 20
	memoryOfScalar = 24  // a number in an interface, or the head of a string or list
	memoryOfItem   = 16  // the interface in a list
	memoryOfField  = 200 // an entry of a map, without its key's text
)

// Any reads the value with all it holds: nil, int64, uint64, float64, bool,
// string (keys too), []byte, []any and map[string]any. It gives up on values nested
// more than 64 deep and on buffers whose values share so many of their bytes
// that the result would take much more memory than the buffer.
func (v Value) Any() (any, error) {
	left := memoryPerByte*int64(len(v.buf)) + memoryFloor
	return v.any(0, &left)
}

// spend takes bytes of memory.
func (v Value) spend(left *int64, bytes int64) error {
	if *left -= bytes; *left < 0 {
		return fail(v.at, "values share too many of their bytes")
	}
	return nil
}

func (v Value) any(depth int, left *int64) (any, error) {
	if depth > maxDepth {
		return nil, fail(v.at, "values are nested more than %d deep", maxDepth)
	}
	if err := v.spend(left, memoryOfScalar); err != nil {
		return nil, err
	}
	switch v.typ {
	case Null:
		return nil, nil
	case Int, IndirectInt:
		return v.Int()
	case Uint, IndirectUint:
		return v.Uint()
	case Float, IndirectFloat:
		return v.Float()
	case Bool:
		return v.Bool()
	case Key, String, Blob:
		b, err := v.Bytes()
		if err == nil {
			err = v.spend(left, int64(len(b)))
		}
		switch {
		case err != nil:
			return nil, err
		case v.typ == Blob:
			return bytes.Clone(b), nil
		}
		return string(b), nil
	}
	e, err := v.Elements()
	switch {
	case err != nil:
		return nil, err
	case v.typ == Map:
		return e.fields(depth, left)
	}
	return e.items(depth, left)
}

// items are the elements of a vector, nil if there is none.
func (e Elements) items(depth int, left *int64) (any, error) {
	var values []any
	if e.n > 0 {
		if err := e.vector.spend(left, memoryOfItem*int64(e.n)); err != nil {
			return nil, err
		}
		values = make([]any, e.n)
	}
	for i := range values {
		var err error
		if values[i], err = e.At(i).any(depth+1, left); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// fields are the elements of a map by their keys.
func (e Elements) fields(depth int, left *int64) (any, error) {
	fields := map[string]any{}
	for i := range e.n {
		value, err := e.At(i).any(depth+1, left)
		if err != nil {
			return nil, err
		}
		key, err := e.Key(i)
		if err == nil {
			err = e.vector.spend(left, memoryOfField+int64(len(key)))
		}
		if err != nil {
			return nil, err
		}
		fields[string(key)] = value
	}
	return fields, nil
}
