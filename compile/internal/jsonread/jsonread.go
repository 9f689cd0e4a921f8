// Package jsonread reads JSON of a known form with a bound on the memory that
// it takes: encoding/json makes 200 bytes of a "{}" where a file of ours never
// has one. A [Reader] goes through the text once, its caller says what comes
// next, and the first error stays.
package jsonread

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"unicode/utf8"
)

// Error says what is wrong with a text, and where.
type Error struct {
	Offset int // of the byte that is wrong
	What   string
}

func (e *Error) Error() string { return e.What }

const (
	maxDepth  = 32   // of what is skipped
	maxString = 4096 // bytes of a string in the text
	slack     = 512 << 10
)

// Reader reads a text.
type Reader struct {
	data []byte
	at   int
	left int64 // bytes that may still be allocated
	err  *Error
}

// New is a reader that allocates at most one and a half times the text's bytes and half a megabyte.
func New(data []byte) *Reader {
	return &Reader{data: data, left: int64(len(data)) + int64(len(data))/2 + slack}
}

// Err is the first error, nil if there was none.
func (r *Reader) Err() error {
	if r.err == nil {
		return nil
	}
	return r.err
}

// Fail records an error at the place that the reader has come to.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = &Error{Offset: min(r.at, len(r.data)), What: fmt.Sprintf(format, args...)}
	}
}

// take books memory before it is allocated.
func (r *Reader) take(bytes int64) bool {
	if r.left -= bytes; r.left < 0 {
		r.Fail("more entries than a text of %d bytes should have", len(r.data))
	}
	return r.err == nil
}

// peek is the next byte that is no blank, 0 at the end.
func (r *Reader) peek() byte {
	for ; r.at < len(r.data); r.at++ {
		switch c := r.data[r.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// want goes over one byte.
func (r *Reader) want(c byte) bool {
	if r.err != nil {
		return false
	}
	if got := r.peek(); got != c || r.at == len(r.data) {
		r.unexpected(fmt.Sprintf("%q", c))
		return false
	}
	r.at++
	return true
}

func (r *Reader) unexpected(want string) {
	if r.at >= len(r.data) {
		r.Fail("the text ends where %s should follow", want)
		return
	}
	r.Fail("%q where %s should stand", r.data[r.at], want)
}

// End checks that nothing follows.
func (r *Reader) End() error {
	if r.err == nil && r.peek() != 0 || r.err == nil && r.at < len(r.data) {
		r.Fail("text behind the end of the object")
	}
	return r.Err()
}

// items goes through what stands between two brackets.
func (r *Reader) items(open, shut byte, each func()) {
	if !r.want(open) {
		return
	}
	if r.peek() == shut {
		r.at++
		return
	}
	for r.err == nil {
		each()
		if r.err != nil {
			return
		}
		if r.peek() == ',' {
			r.at++
			continue
		}
		r.want(shut)
		return
	}
}

// Object reads an object: field reads the value of each key, or skips it. The
// key is as it stands in the text, and no longer than the call.
func (r *Reader) Object(field func(key []byte)) {
	r.items('{', '}', func() {
		key, _ := r.literal()
		if r.want(':') {
			field(key)
		}
	})
}

// List reads an array whose elements are read by element into their places.
// The array is counted before memory is taken for it.
func List[T any](r *Reader, element func(*T)) []T {
	begin, n := r.at, 0
	r.items('[', ']', func() { r.Skip(); n++ })
	if r.err != nil || n == 0 || !r.take(int64(n)*int64(reflect.TypeFor[T]().Size())) {
		return nil
	}
	r.at = begin
	list := make([]T, 0, n)
	r.items('[', ']', func() {
		list = list[:len(list)+1]
		element(&list[len(list)-1])
	})
	return list
}

// literal is the text between two quotes, and whether it has escapes.
func (r *Reader) literal() (text []byte, escaped bool) {
	if !r.want('"') {
		return nil, false
	}
	begin := r.at
	for ; r.at < len(r.data); r.at++ {
		switch c := r.data[r.at]; {
		case c == '"':
			r.at++
			return r.data[begin : r.at-1], escaped
		case c == '\\':
			escaped = true
			r.at++
		case c < ' ':
			r.Fail("a control character in a string")
			return nil, false
		}
		if r.at-begin > maxString {
			r.Fail("a string of more than %d bytes", maxString)
			return nil, false
		}
	}
	r.at = len(r.data)
	r.unexpected("the end of a string")
	return nil, false
}

// String reads a string.
func (r *Reader) String() string {
	r.peek()
	begin := r.at
	text, escaped := r.literal()
	if r.err != nil || !r.take(int64(len(text))) {
		return ""
	}
	if !escaped {
		if !utf8.Valid(text) {
			r.at = begin
			r.Fail("a string that is not UTF-8")
		}
		return string(text)
	}
	var s string
	if err := json.Unmarshal(r.data[begin:r.at], &s); err != nil || !r.take(3*int64(len(text))+512) {
		r.at = begin
		r.Fail("a string with escapes that mean nothing")
	}
	return s
}

// word reads up to the next byte that ends a number or a name.
func (r *Reader) word() []byte {
	r.peek()
	begin := r.at
	for r.at < len(r.data) && bytes.IndexByte([]byte(" \t\r\n,:]}[{\""), r.data[r.at]) < 0 {
		r.at++
	}
	return r.data[begin:r.at]
}

// Int reads a whole number.
func (r *Reader) Int() int64 {
	if r.err != nil {
		return 0
	}
	r.peek()
	begin := r.at
	n, err := strconv.ParseInt(string(r.word()), 10, 64)
	if err != nil || r.data[begin] == '+' {
		r.at = begin
		r.unexpected("a whole number")
	}
	return n
}

// Bool reads true or false.
func (r *Reader) Bool() bool {
	if r.err != nil {
		return false
	}
	r.peek()
	begin := r.at
	switch string(r.word()) {
	case "true":
		return true
	case "false":
		return false
	}
	r.at = begin
	r.unexpected("true or false")
	return false
}

// Skip goes over any value.
func (r *Reader) Skip() { r.skip(maxDepth) }

func (r *Reader) skip(depth int) {
	if r.err != nil {
		return
	}
	if depth == 0 {
		r.Fail("nested deeper than %d levels", maxDepth)
		return
	}
	switch r.peek() {
	case '{':
		r.items('{', '}', func() {
			r.literal()
			if r.want(':') {
				r.skip(depth - 1)
			}
		})
	case '[':
		r.items('[', ']', func() { r.skip(depth - 1) })
	case '"':
		r.literal()
	default:
		begin := r.at
		if word := r.word(); len(word) == 0 || !json.Valid(word) {
			r.at = begin
			r.unexpected("a value")
		}
	}
}
