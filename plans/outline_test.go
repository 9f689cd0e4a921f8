package plans

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The outline finds exactly the values that the decoder finds, wherever TOML lets them stand.
func TestOutlineFindsEveryValue(t *testing.T) {
	documents := []string{
		minimal, second,
		"a.b.c = 1\n[a.d]\n'e f' = [1, [2, {x = 3}], \"#]\",]\n",
		"[[a]]\n[a.b]\nc=1\n[[a.d]]\n[[a.d]]\ne={f.g=2, 'h'={}}\n[[a]]\nb.c=1979-05-27 07:32:00Z # x\n",
		"s = \"\"\"\n[no]\nx = 1\\\"\"\"\"\"\nt = '''\n''''\nu = \"\\\"=#\\\\\"\nv = ''\nw = \"\"\n",
		"x = [ # c\n 1, # ]\n 2\n]\r\n\ty\t=\ttrue\n\"\" = 1\n\"\\u00e9\" = -inf\n",
	}
	for _, text := range documents {
		checkOutline(t, text)
	}
}

func checkOutline(t testing.TB, text string) {
	t.Helper()
	var raw map[string]any
	if _, err := toml.Decode(text, &raw); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	o := newOutline(text)
	if o.broken {
		t.Fatalf("outline stops at byte %d of %q", o.at, text)
	}
	if diff := cmp.Diff(shapeOf(raw), shapeOfNode(o.root)); diff != "" {
		t.Errorf("%q: %s", text, diff)
	}
	checkValues(t, text, o.root, raw)
}

// checkValues decodes every range that the outline calls a value by itself.
func checkValues(t testing.TB, text string, n *node, raw any) {
	t.Helper()
	if n.value != (span{}) {
		var again map[string]any
		if _, err := toml.Decode("v = "+text[n.value.start:n.value.end], &again); err != nil {
			t.Errorf("value %q: %v", text[n.value.start:n.value.end], err)
		} else if diff := cmp.Diff(plain(raw), plain(again["v"]), cmp.Comparer(sameFloat)); diff != "" {
			t.Errorf("value %q: %s", text[n.value.start:n.value.end], diff)
		}
	}
	switch raw := plain(raw).(type) {
	case map[string]any:
		for k, v := range raw {
			if n.table[k] != nil {
				checkValues(t, text, n.table[k], v)
			}
		}
	case []any:
		for i, v := range raw {
			if i < len(n.list) {
				checkValues(t, text, n.list[i], v)
			}
		}
	}
}

func sameFloat(a, b float64) bool { return a == b || a != a && b != b }

// plain makes all arrays the same Go type.
func plain(raw any) any {
	if list, ok := raw.([]map[string]any); ok {
		all := make([]any, len(list))
		for i := range list {
			all[i] = list[i]
		}
		return all
	}
	return raw
}

func shapeOf(raw any) any {
	switch raw := plain(raw).(type) {
	case map[string]any:
		shape := map[string]any{}
		for k, v := range raw {
			shape[k] = shapeOf(v)
		}
		if len(shape) > 0 {
			return shape
		}
	case []any:
		shape := make([]any, len(raw))
		for i, v := range raw {
			shape[i] = shapeOf(v)
		}
		if len(shape) > 0 {
			return shape
		}
	}
	return nil
}

func shapeOfNode(n *node) any {
	switch {
	case len(n.list) > 0:
		shape := make([]any, len(n.list))
		for i, c := range n.list {
			shape[i] = shapeOfNode(c)
		}
		return shape
	case len(n.table) > 0:
		shape := map[string]any{}
		for k, c := range n.table {
			shape[k] = shapeOfNode(c)
		}
		return shape
	}
	return nil
}

// Random documents, written by the TOML library from random values.
func TestOutlineOfRandomDocuments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.Custom(randomTOML).Draw(t, "document")
		var raw map[string]any
		if _, err := toml.Decode(text, &raw); err != nil {
			t.Skip("not TOML")
		}
		o := newOutline(text)
		if o.deepAt >= 0 || o.clash != nil {
			t.Skip("refused")
		}
		if o.broken {
			t.Fatalf("outline stops at byte %d", o.at)
		}
		if diff := cmp.Diff(shapeOf(raw), shapeOfNode(o.root)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// randomTOML writes lines of keys, headers, strings and arrays in odd forms.
func randomTOML(t *rapid.T) string {
	name := rapid.SampledFrom([]string{"a", "b", "c-d", `"e f"`, `'g"h'`, `"\u0069\\"`})
	var value func(depth int) string
	value = func(depth int) string {
		kinds := 7
		if depth == 0 {
			kinds = 5
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return rapid.SampledFrom([]string{"1", "-2.5e3", "true", "inf", "0x1F", "1979-05-27 07:32:00", "07:32:00"}).Draw(t, "bare")
		case 1:
			return rapid.SampledFrom([]string{`""`, `"x"`, `"\""`, `"\\"`, `"#,]}"`, `"é"`}).Draw(t, "basic")
		case 2:
			return rapid.SampledFrom([]string{`''`, `'\'`, `'"'`, `'#,]}'`}).Draw(t, "literal")
		case 3:
			return `"""` + rapid.SampledFrom([]string{"", "\n", "\n[x]\ny = 1\n", `\"""`, `x""`, "\\\n  z"}).Draw(t, "text") + `"""`
		case 4:
			return `'''` + rapid.SampledFrom([]string{"", "\n", "\n[x]\ny = 1\n", `\`, `x''`}).Draw(t, "text") + `'''`
		case 5:
			var b strings.Builder
			b.WriteString("[")
			for range rapid.IntRange(0, 3).Draw(t, "elements") {
				b.WriteString(rapid.SampledFrom([]string{"", " ", "\n", " # ]\n"}).Draw(t, "gap") + value(depth-1) + rapid.SampledFrom([]string{",", " ,", "\n,\n"}).Draw(t, "comma"))
			}
			return b.String() + "]"
		default:
			var parts []string
			for range rapid.IntRange(0, 2).Draw(t, "pairs") {
				parts = append(parts, name.Draw(t, "key")+" = "+value(depth-1))
			}
			return "{ " + strings.Join(parts, ", ") + " }"
		}
	}
	var b strings.Builder
	for range rapid.IntRange(0, 8).Draw(t, "lines") {
		key := name.Draw(t, "key")
		if rapid.Bool().Draw(t, "dotted") {
			key += " . " + name.Draw(t, "key")
		}
		switch rapid.IntRange(0, 3).Draw(t, "line") {
		case 0:
			b.WriteString("[" + key + "]")
		case 1:
			b.WriteString("[[ " + key + " ]]")
		default:
			b.WriteString(key + " = " + value(2))
		}
		b.WriteString(rapid.SampledFrom([]string{"\n", "\r\n", " # c\n", "\n\n\t"}).Draw(t, "end"))
	}
	return b.String()
}

// FuzzParse: no input makes Parse panic, and every problem has a place in the file.
func FuzzParse(f *testing.F) {
	examples, err := filepath.Glob("*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range examples {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(minimal))
	f.Add([]byte("a = \"\"\"\n\\"))
	f.Add([]byte("[[model]]\nname = 'é\t'\n[model.rate]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		plan, err := Parse("plan.toml", data)
		if (plan == nil) == (err == nil) {
			t.Fatal("want either a plan or an error")
		}
		if err == nil {
			return
		}
		lines := strings.Split(strings.TrimPrefix(string(data), "\uFEFF"), "\n")
		problems := err.(Problems)
		if len(problems) == 0 {
			t.Fatal("no problems")
		}
		for i, p := range problems {
			if p.Line < 1 || p.Line > len(lines) || p.Col < 1 || p.Col > len([]rune(lines[p.Line-1]))+1 {
				t.Errorf("%v: no such place", p)
			}
			if i > 0 && p.Line < problems[i-1].Line {
				t.Errorf("line %d comes after %d", p.Line, problems[i-1].Line)
			}
			p.Excerpt()
		}
	})
}
