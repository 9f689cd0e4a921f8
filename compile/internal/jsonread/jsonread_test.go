package jsonread

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

type row struct {
	name string
	n    int64
	flag bool
	list []int64
}

func read(text string) ([]row, error) {
	r := New([]byte(text))
	var rows []row
	r.Object(func(key []byte) {
		if string(key) != "rows" {
			r.Skip()
			return
		}
		rows = List(r, func(x *row) {
			r.Object(func(key []byte) {
				switch string(key) {
				case "name":
					x.name = r.String()
				case "n":
					x.n = r.Int()
				case "flag":
					x.flag = r.Bool()
				case "list":
					x.list = List(r, func(n *int64) { *n = r.Int() })
				default:
					r.Skip()
				}
			})
		})
	})
	return rows, r.End()
}

// What encoding/json writes is read as it was.
func TestRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type jsonRow struct {
			Other any     `json:"other"`
			Name  string  `json:"name"`
			N     int64   `json:"n"`
			Flag  bool    `json:"flag"`
			List  []int64 `json:"list"`
		}
		other := rapid.SampledFrom([]any{nil, true, 1.5e-3, "x\ty\u00e9\\\"", []any{}, map[string]any{}, []any{1, []any{map[string]any{"a": []any{nil}}}}})
		var want []jsonRow
		for range rapid.IntRange(0, 4).Draw(t, "rows") {
			want = append(want, jsonRow{
				other.Draw(t, "other"), rapid.StringN(0, 30, 200).Draw(t, "name"), rapid.Int64().Draw(t, "n"), rapid.Bool().Draw(t, "flag"),
				rapid.SliceOfN(rapid.Int64(), 0, 4).Draw(t, "list"),
			})
		}
		text, err := json.MarshalIndent(map[string]any{"a": 1, "rows": want, "z": "z"}, "", rapid.SampledFrom([]string{"", "\t"}).Draw(t, "indent"))
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			text = []byte(strings.Replace(string(text), "null", "[]", 1))
		}
		got, err := read(string(text))
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d rows, error %v of\n%s", len(got), err, text)
		}
		for i, w := range want {
			// invalid UTF-8 is replaced when it is written
			if name := strings.ToValidUTF8(w.Name, "\ufffd"); len(got[i].name) != len(name) && got[i].name != name || got[i].n != w.N || got[i].flag != w.Flag || len(got[i].list) != len(w.List) {
				t.Fatalf("row %d is %+v, want %+v", i, got[i], w)
			}
		}
	})
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		text   string
		offset int
		want   string
	}{
		{``, 0, `the text ends where '{' should follow`},
		{`[]`, 0, `'[' where '{' should stand`},
		{`{"rows": [}`, 10, `'}' where a value should stand`},
		{`{"rows": [{}`, 12, `the text ends where ']' should follow`},
		{`{"rows": [{"n": 1.5}]}`, 16, `'1' where a whole number should stand`},
		{`{"rows": [{"n": }]}`, 16, `'}' where a value should stand`},
		{`{"rows": [{"n": "1"}]}`, 16, `'"' where a whole number should stand`},
		{`{"rows": [{"n": 99999999999999999999}]}`, 16, `'9' where a whole number should stand`},
		{`{"rows": [{"flag": 1}]}`, 19, `'1' where true or false should stand`},
		{`{"rows": [{"name": 1}]}`, 19, `'1' where '"' should stand`},
		{`{"rows": [{"name": "\x"}]}`, 19, `a string with escapes that mean nothing`},
		{"{\"rows\": [{\"name\": \"\xff\"}]}", 19, `a string that is not UTF-8`},
		{"{\"rows\": [{\"name\": \"a\nb\"}]}", 21, `a control character in a string`},
		{`{"rows": [{"name": "abc`, 23, `the text ends where the end of a string should follow`},
		{`{"rows": 5}`, 9, `'5' where '[' should stand`},
		{`{} {}`, 3, `text behind the end of the object`},
		{`{"a" 1}`, 5, `'1' where ':' should stand`},
		{`{"a": nul}`, 6, `'n' where a value should stand`},
		{`{"a": ` + strings.Repeat("[", 40), 6 + 32, `nested deeper than 32 levels`},
		{`{"a": "` + strings.Repeat("x", 5000) + `"}`, 7 + 4097, `a string of more than 4096 bytes`},
	} {
		_, err := read(test.text)
		var e *Error
		if !errors.As(err, &e) || e.What != test.want || e.Offset != test.offset {
			t.Errorf("%.40s: error %#v, want %q at %d", test.text, err, test.want, test.offset)
		}
	}
}

// An array of nothing is no way to memory.
func TestBudget(t *testing.T) {
	_, err := read(`{"rows": [` + strings.Repeat("{},", 1<<20) + `{}]}`)
	if err == nil || err.Error() != "more entries than a text of 3145742 bytes should have" {
		t.Errorf("error %v", err)
	}
}
