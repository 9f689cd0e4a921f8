package flex_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tpuplan/tpuplan/internal/fuzztest"
	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite/internal/flex"
)

func packed(t flex.Type, width int) byte {
	return byte(t)<<2 | map[int]byte{1: 0, 2: 1, 4: 2, 8: 3}[width]
}

// decode reads all that a buffer holds.
func decode(data []byte) (any, error) {
	root, err := flex.Root(data)
	if err != nil {
		return nil, err
	}
	return root.Any()
}

// Buffers written by hand from the format's description.
func TestValues(t *testing.T) {
	for _, test := range []struct {
		name string
		data []byte
		want any
	}{
		{"null", []byte{0, packed(flex.Null, 1), 1}, nil},
		{"int8", []byte{0xfe, packed(flex.Int, 1), 1}, int64(-2)},
		{"int16", []byte{0x00, 0x80, packed(flex.Int, 2), 2}, int64(-32768)},
		{"int64", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, packed(flex.Int, 8), 8}, int64(math.MaxInt64)},
		{"uint8", []byte{0xfe, packed(flex.Uint, 1), 1}, uint64(254)},
		{"uint32", []byte{1, 0, 0, 0x80, packed(flex.Uint, 4), 4}, uint64(1<<31 + 1)},
		{"float32", []byte{0, 0, 0xc0, 0x3f, packed(flex.Float, 4), 4}, 1.5},
		{"float64", []byte{0, 0, 0, 0, 0, 0, 0xf8, 0xbf, packed(flex.Float, 8), 8}, -1.5},
		{"bool", []byte{1, packed(flex.Bool, 1), 1}, true},
		{"string with a NUL in it", []byte{3, 'a', 0, 'b', 0, 4, packed(flex.String, 1), 1}, "a\x00b"},
		{"key", []byte{'k', 'e', 'y', 0, 4, packed(flex.Key, 1), 1}, "key"},
		{"blob", []byte{2, 7, 8, 2, packed(flex.Blob, 1), 1}, []byte{7, 8}},
		{"indirect int of other width", []byte{0x2c, 1, 2, packed(flex.IndirectInt, 2), 1}, int64(300)},
		{"indirect uint", []byte{0xff, 1, packed(flex.IndirectUint, 1), 1}, uint64(255)},
		{"indirect float", []byte{0, 0, 0x20, 0x41, 4, packed(flex.IndirectFloat, 4), 1}, 10.0},
		{"vector", []byte{2, 5, 0xff, packed(flex.Int, 1), packed(flex.Uint, 1), 4, packed(flex.Vector, 1), 1}, []any{int64(5), uint64(255)}},
		{"empty vector", []byte{0, 0, packed(flex.Vector, 1), 1}, []any(nil)},
		{"vector of int16", []byte{2, 0, 1, 0, 0xff, 0xff, 4, packed(flex.VectorInt, 2), 1}, []any{int64(1), int64(-1)}},
		{"vector of uint", []byte{1, 200, 1, packed(flex.VectorUint, 1), 1}, []any{uint64(200)}},
		{"vector of float", []byte{1, 0, 0, 0, 0, 0, 0x80, 0x3f, 4, packed(flex.VectorFloat, 4), 1}, []any{1.0}},
		{"vector of bool", []byte{2, 1, 0, 2, packed(flex.VectorBool, 1), 1}, []any{true, false}},
		{"vector of keys", []byte{'a', 0, 'b', 0, 2, 5, 4, 2, packed(flex.VectorKey, 1), 1}, []any{"a", "b"}},
		{"vector of strings", []byte{1, 'x', 0, 1, 3, 1, packed(flex.VectorString, 1), 1}, []any{"x"}},
		{"three ints", []byte{1, 2, 3, 3, packed(flex.VectorInt2+3, 1), 1}, []any{int64(1), int64(2), int64(3)}},
		{"two uints", []byte{1, 250, 2, packed(flex.VectorInt2+1, 1), 1}, []any{uint64(1), uint64(250)}},
		{"map", []byte{
			'a', 0, 'b', 0, // keys
			2, 5, 4, // their vector: size, offsets
			2, 1, // offset and width of the keys
			2, 10, 20, packed(flex.Int, 1), packed(flex.Int, 1), // size, values, types
			4, packed(flex.Map, 1), 1,
		}, map[string]any{"a": int64(10), "b": int64(20)}},
		{"empty map", []byte{0, 0, 1, 0, 0, packed(flex.Map, 1), 1}, map[string]any{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := decode(test.data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			// Without its first byte, which all of them use.
			if got, err := decode(test.data[1:]); err == nil && cmp.Equal(test.want, got) && test.want != nil {
				t.Error("reads the same without its first byte")
			}
		})
	}
}

// The example that the flatbuffers project checks its own readers against.
func TestGold(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/flatbuffers").Output()
	if err != nil {
		testdata.NeedTool(t, "go list", err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "tests", "gold_flexbuffer_example.bin"))
	if err != nil {
		testdata.NeedTool(t, "the flatbuffers module", err)
	}
	got, err := decode(data)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"bar": []any{int64(1), int64(2), int64(3)}, "bar3": []any{int64(1), int64(2), int64(3)},
		"bool": true, "bools": []any{true, false, true, false}, "foo": 100.0,
		"mymap": map[string]any{"foo": "Fred"},
		"vec":   []any{int64(-100), "Fred", 4.0, []byte("M"), false, 4.0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// document draws a JSON value. Floats have a fraction that survives, so that
// they are not taken for ints.
func document(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kinds := 5
		if depth > 0 {
			kinds = 8
		}
		switch rapid.IntRange(0, kinds).Draw(t, "kind") {
		case 0:
			return nil
		case 1:
			return rapid.Bool().Draw(t, "bool")
		case 2, 3:
			bits := rapid.IntRange(1, 63).Draw(t, "bits")
			return rapid.Int64Range(-1<<(bits-1), 1<<(bits-1)-1).Draw(t, "int")
		case 4:
			return float64(rapid.Int32().Draw(t, "float")) + 0.5
		case 5:
			return rapid.StringMatching(`[a-zäß"\\ ]{0,300}`).Draw(t, "string")
		case 6:
			return rapid.SliceOfN(document(depth-1), 0, 5).Draw(t, "vector")
		case 7: // of one kind: flatc makes a typed vector of it
			n := rapid.IntRange(0, 300).Draw(t, "n")
			list := make([]any, n)
			for i := range list {
				list[i] = rapid.Int64Range(-200, 70000).Draw(t, "int")
			}
			return list
		}
		return rapid.MapOfN(rapid.StringMatching(`[a-z]{1,6}`), document(depth-1), 0, 6).Draw(t, "map")
	})
}

// What flatc makes of random JSON documents reads as the documents.
func TestAgainstFlatc(t *testing.T) {
	if _, err := exec.LookPath("flatc"); err != nil {
		testdata.NeedTool(t, "flatc", err)
	}
	dir := t.TempDir()
	args := []string{"-b", "--flexbuffers", "-o", dir}
	var documents []any
	for i := range 60 {
		d := map[string]any{"root": document(3).Example(i)}
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, fmt.Sprintf("d%d.json", i))
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		documents = append(documents, d)
		args = append(args, file)
	}
	if output, err := exec.Command("flatc", args...).CombinedOutput(); err != nil {
		t.Fatalf("flatc: %v\n%s", err, output)
	}
	for i, want := range documents {
		data, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("d%d.bin", i)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(data)
		if err != nil {
			t.Errorf("document %d: %v", i, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("document %d: %s", i, diff)
		}
	}
}

// sample is the map {"4": "package", "5": -1}.
var sample = []byte{
	'4', 0, '5', 0,
	7, 'p', 'a', 'c', 'k', 'a', 'g', 'e', 0,
	2, 14, 13,
	2, 1, 2, 14, 0xff, packed(flex.String, 1), packed(flex.Int, 1),
	4, packed(flex.Map, 1), 1,
}

func TestLookup(t *testing.T) {
	root, err := flex.Root(sample)
	if err != nil {
		t.Fatal(err)
	}
	fields, err := root.Elements()
	if err != nil {
		t.Fatal(err)
	}
	v, found, err := fields.Lookup("4")
	if err != nil || !found {
		t.Fatalf("key 4: found %v, error %v", found, err)
	}
	start, end, err := v.Span()
	if err != nil || string(sample[start:end]) != "package" {
		t.Errorf("key 4 is at %d to %d, error %v", start, end, err)
	}
	for _, key := range []string{"", "45", "6"} {
		if _, found, err := fields.Lookup(key); err != nil || found {
			t.Errorf("key %q: found %v, error %v", key, found, err)
		}
	}
	if v, _, _ := fields.Lookup("5"); v.Type() != flex.Int {
		t.Errorf("key 5 is a %v", v.Type())
	}
}

func TestErrors(t *testing.T) {
	deep := []byte{0} // a vector that holds itself
	deep = append(deep, 1, 0, packed(flex.Vector, 1), 0, packed(flex.Vector, 1), 1)
	deep[4] = 2 // the root leads to the vector at 2, whose element leads there too
	for _, test := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "truncated: 0 bytes are too few"},
		{"odd width", []byte{0, 0, 3}, "the root is 3 bytes wide"},
		{"root wider than the buffer", []byte{0, 0, 8}, "cannot hold a root of 8"},
		{"offset before the start", []byte{9, packed(flex.String, 1), 1}, "leads before the start"},
		{"string longer than the buffer", []byte{200, 'a', 1, packed(flex.String, 1), 1}, "truncated: a string of 200"},
		{"string without room for its size", []byte{0, packed(flex.String, 8), 1}, "reaches outside the buffer"},
		{"vector of 2^64-1", []byte{255, 255, 255, 255, 255, 255, 255, 255, 0, packed(flex.Vector, 8), 1}, "truncated: a vector of 18446744073709551615"},
		{"key without end", []byte{'a', 1, packed(flex.Key, 1), 1}, "a key does not end"},
		{"float of one byte", []byte{1, packed(flex.Float, 1), 1}, "a float of 1 bytes"},
		{"type that is none", []byte{1, 60 << 2, 1}, "want a vector or map, found a type 60"},
		{"vector in itself", deep, "nested more than 64 deep"},
		{"map with more values than keys", []byte{'a', 0, 1, 3, 1, 1, 2, 1, 2, 4, 4, 4, packed(flex.Map, 1), 1}, "a map has 1 keys for 2 values"},
		{"map with odd keys", []byte{'a', 0, 1, 3, 1, 5, 1, 2, 4, 2, packed(flex.Map, 1), 1}, "the keys of a map are 5 bytes wide"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := decode(test.data)
			var e *flex.Error
			if !errors.As(err, &e) || !strings.Contains(e.What, test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
		})
	}
}

// Twelve vectors of which each holds the next one many times.
func TestSharedValues(t *testing.T) {
	var data []byte
	inner := 0
	for range 12 {
		n := 20
		data = append(data, byte(n))
		start := len(data)
		for range n {
			back := 0
			if inner > 0 {
				back = len(data) - inner
			}
			data = append(data, byte(back))
		}
		for range n {
			element := packed(flex.Vector, 1)
			if inner == 0 {
				element = packed(flex.Int, 1)
			}
			data = append(data, element)
		}
		inner = start
	}
	data = append(data, byte(len(data)-inner), packed(flex.Vector, 1), 1)
	if _, err := decode(data); err == nil || !strings.Contains(err.Error(), "share too many") {
		t.Errorf("got %v", err)
	}
}

func FuzzFlex(f *testing.F) {
	f.Add(sample)
	f.Add([]byte{2, 0, 1, 0, 0xff, 0xff, 4, packed(flex.VectorInt, 2), 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		root, err := flex.Root(data)
		if err != nil {
			return
		}
		fuzztest.Bounded(t, len(data), func() {
			root.Any()
			if e, err := root.Elements(); err == nil {
				e.Lookup("4")
			}
		})
		if start, end, err := root.Span(); err == nil && (start < 0 || start > end || end > len(data)) {
			t.Errorf("span %d to %d of %d bytes", start, end, len(data))
		}
	})
}
