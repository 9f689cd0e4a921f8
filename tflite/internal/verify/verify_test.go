package verify_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"
	"pgregory.net/rapid"

	"github.com/tpuplan/tpuplan/internal/fuzztest"
	"github.com/tpuplan/tpuplan/tflite/internal/verify"
)

var (
	leaf = &verify.Table{Name: "Leaf", Fields: []verify.Field{
		{ID: 0, Name: "number", Kind: verify.Scalar, Size: 8},
		{ID: 1, Name: "text", Kind: verify.String},
	}}
	root = &verify.Table{Name: "Root", Fields: []verify.Field{
		{ID: 0, Name: "words", Kind: verify.Strings},
		{ID: 1, Name: "longs", Kind: verify.Vector, Size: 8},
		{ID: 2, Name: "leaf", Kind: verify.One, Table: leaf},
		{ID: 3, Name: "leaves", Kind: verify.Many, Table: leaf},
		{ID: 4, Name: "choice_type", Kind: verify.Scalar, Size: 1},
		{ID: 5, Name: "choice", Kind: verify.Union, Members: map[byte]*verify.Table{7: leaf}},
	}}
)

// sample is a buffer of a Root with everything in it, leaves times over.
func sample(leaves int, member byte) []byte {
	b := flatbuffers.NewBuilder(0)
	makeLeaf := func(i int) flatbuffers.UOffsetT {
		text := b.CreateString(fmt.Sprint("leaf ", i))
		b.StartObject(2)
		b.PrependInt64Slot(0, int64(i), -1)
		b.PrependUOffsetTSlot(1, text, 0)
		return b.EndObject()
	}
	offsets := func(o ...flatbuffers.UOffsetT) flatbuffers.UOffsetT {
		b.StartVector(4, len(o), 4)
		for i := len(o) - 1; i >= 0; i-- {
			b.PrependUOffsetT(o[i])
		}
		return b.EndVector(len(o))
	}
	words := offsets(b.CreateString("a"), b.CreateString("bc"))
	b.StartVector(8, 2, 8)
	b.PrependInt64(1)
	b.PrependInt64(2)
	longs := b.EndVector(2)
	one := makeLeaf(100)
	var many []flatbuffers.UOffsetT
	for i := range leaves {
		many = append(many, makeLeaf(i))
	}
	list := offsets(many...)
	choice := makeLeaf(200)
	b.StartObject(6)
	b.PrependUOffsetTSlot(0, words, 0)
	b.PrependUOffsetTSlot(1, longs, 0)
	b.PrependUOffsetTSlot(2, one, 0)
	b.PrependUOffsetTSlot(3, list, 0)
	b.PrependByteSlot(4, member, 0)
	b.PrependUOffsetTSlot(5, choice, 0)
	b.Finish(b.EndObject())
	return b.FinishedBytes()
}

// walk reads every field by the flatbuffers runtime, which panics, or reads
// elsewhere in the buffer, where offsets are wrong.
func walk(t *flatbuffers.Table, described *verify.Table) {
	for _, f := range described.Fields {
		o := flatbuffers.UOffsetT(t.Offset(flatbuffers.VOffsetT(4 + 2*f.ID)))
		if o == 0 {
			continue
		}
		each := func(visit func(at flatbuffers.UOffsetT)) {
			start := t.Vector(o)
			for i := range t.VectorLen(o) {
				visit(start + flatbuffers.UOffsetT(4*i))
			}
		}
		enter := func(at flatbuffers.UOffsetT, described *verify.Table) {
			walk(&flatbuffers.Table{Bytes: t.Bytes, Pos: t.Indirect(at)}, described)
		}
		switch f.Kind {
		case verify.Scalar:
			_ = t.Bytes[t.Pos+o : t.Pos+o+flatbuffers.UOffsetT(f.Size)]
		case verify.Vector:
			start := t.Vector(o)
			_ = t.Bytes[start:][:t.VectorLen(o)*f.Size]
		case verify.String:
			t.ByteVector(t.Pos + o)
		case verify.Strings:
			each(func(at flatbuffers.UOffsetT) { t.ByteVector(at) })
		case verify.One:
			enter(t.Pos+o, f.Table)
		case verify.Many:
			each(func(at flatbuffers.UOffsetT) { enter(at, f.Table) })
		case verify.Union:
			member := byte(0)
			if o := flatbuffers.UOffsetT(t.Offset(flatbuffers.VOffsetT(4 + 2*(f.ID-1)))); o != 0 {
				member = t.GetByte(t.Pos + o)
			}
			if m := f.Members[member]; m != nil {
				enter(t.Pos+o, m)
			}
		}
	}
}

func TestCheckAccepts(t *testing.T) {
	for _, leaves := range []int{0, 1, 50} {
		for _, member := range []byte{0, 7, 9} {
			data := sample(leaves, member)
			if err := verify.Check(data, root); err != nil {
				t.Errorf("%d leaves, member %d: %v", leaves, member, err)
			}
			walk(&flatbuffers.Table{Bytes: data, Pos: flatbuffers.GetUOffsetT(data)}, root)
		}
	}
}

// Whatever bytes are changed: either the buffer is refused, or all of it can be read.
func TestAcceptedIsReadable(t *testing.T) {
	good := sample(3, 7)
	rapid.Check(t, func(t *rapid.T) {
		data := append([]byte(nil), good...)
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
			if rapid.Bool().Draw(t, "word") && at+4 <= len(data) {
				binary.LittleEndian.PutUint32(data[at:], rapid.Uint32().Draw(t, "value"))
			} else {
				data[at] = rapid.Byte().Draw(t, "value")
			}
		}
		if err := verify.Check(data, root); err == nil {
			walk(&flatbuffers.Table{Bytes: data, Pos: flatbuffers.GetUOffsetT(data)}, root)
		}
	})
}

// The last table of the sample is the root, so that no shorter one is whole
// unless it is cut behind what is used.
func TestTruncated(t *testing.T) {
	data := sample(3, 7)
	for n := range len(data) {
		err := verify.Check(data[:n:n], root)
		if err == nil {
			walk(&flatbuffers.Table{Bytes: data[:n:n], Pos: flatbuffers.GetUOffsetT(data)}, root)
			if n < len(data)-4 {
				t.Errorf("the first %d of %d bytes are accepted", n, len(data))
			}
		}
	}
}

func TestErrors(t *testing.T) {
	// The position of the root table, of its fields, and of what they lead to.
	at := func(data []byte, pos int) int { return pos + int(binary.LittleEndian.Uint32(data[pos:])) }
	field := func(data []byte, table, id int) int {
		list := table - int(int32(binary.LittleEndian.Uint32(data[table:])))
		return table + int(binary.LittleEndian.Uint16(data[list+4+2*id:]))
	}
	put := binary.LittleEndian.PutUint32
	for _, test := range []struct {
		name   string
		damage func(data []byte)
		want   string
	}{
		{"root behind the end", func(d []byte) { put(d, 1<<20) }, "truncated: the root table points to byte 1048576 of "},
		{"no list of fields", func(d []byte) { put(d[at(d, 0):], 1<<31) }, "damaged: the root table is not a table"},
		{"a huge vector", func(d []byte) { put(d[at(d, field(d, at(d, 0), 1)):], 1<<32-1) }, "truncated: longs has 4294967295 elements of 8 bytes"},
		{"a string behind the end", func(d []byte) {
			words := at(d, field(d, at(d, 0), 0))
			put(d[words+8:], 1<<31)
		}, "truncated: words[1] points to byte"},
		{"a leaf that is none", func(d []byte) {
			leaves := at(d, field(d, at(d, 0), 3))
			put(d[at(d, leaves+8):], 1<<30)
		}, "damaged: leaves[1] is not a table"},
		{"a member of a union that is none", func(d []byte) { put(d[at(d, field(d, at(d, 0), 5)):], 1<<30) }, "damaged: choice is not a table"},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := sample(3, 7)
			test.damage(data)
			err := verify.Check(data, root)
			var e *verify.Error
			if !errors.As(err, &e) || !strings.HasPrefix(e.What, test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if e.Offset < 0 || e.Offset > int64(len(data)) {
				t.Errorf("offset %d of %d bytes", e.Offset, len(data))
			}
		})
	}
}

// A list of lists that are all the same one would take quadratic time.
func TestSharedReferences(t *testing.T) {
	outer := &verify.Table{Name: "Outer", Fields: []verify.Field{{ID: 0, Name: "inner", Kind: verify.Many, Table: root}}}
	b := flatbuffers.NewBuilder(0)
	const n = 5000
	same := func(o flatbuffers.UOffsetT) flatbuffers.UOffsetT {
		b.StartVector(4, n, 4)
		for range n {
			b.PrependUOffsetT(o)
		}
		return b.EndVector(n)
	}
	words := same(b.CreateString("word"))
	b.StartObject(1)
	b.PrependUOffsetTSlot(0, words, 0)
	inner := same(b.EndObject())
	b.StartObject(1)
	b.PrependUOffsetTSlot(0, inner, 0)
	b.Finish(b.EndObject())
	err := verify.Check(b.FinishedBytes(), outer)
	if err == nil || !strings.Contains(err.Error(), "one reference too many") {
		t.Errorf("got %v", err)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(sample(2, 7))
	f.Add(sample(0, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		var err error
		fuzztest.Bounded(t, len(data), func() { err = verify.Check(data, root) })
		if err == nil {
			walk(&flatbuffers.Table{Bytes: data, Pos: flatbuffers.GetUOffsetT(data)}, root)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	data := sample(1000, 7)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := verify.Check(data, root); err != nil {
			b.Fatal(err)
		}
	}
}
