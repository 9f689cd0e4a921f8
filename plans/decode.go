package plans

import (
	"fmt"
	"slices"
	"strings"
)

// scalar is a value of the plan file that reads itself from what the TOML
// decoder made of it. Its error says what is wrong with the value; the key and
// the place are added here.
type scalar interface {
	UnmarshalTOML(any) error
}

// hinted is an error with a separate piece of advice.
type hinted struct{ message, hint string }

func (h hinted) Error() string { return h.message }

// elementErrors are what is wrong with single elements of an array.
type elementErrors map[int]error

func (e elementErrors) Error() string { return fmt.Sprintf("%d wrong elements", len(e)) }

// key is one key that a table may have.
type key struct {
	name     string
	into     scalar   // nil for keys that are read elsewhere and for refused ones
	required bool     // its absence is a problem
	refused  *hinted  // a later feature: said, never ignored
	meant    []string // other words for it, for suggestions
}

// decoder turns the generic tree of a document into values and collects every
// problem on the way.
type decoder struct {
	*document
	problems Problems
}

func (d *decoder) keyProblem(path []any, message, hint string) {
	d.problems = append(d.problems, d.atKey(path, message, hint))
}

func (d *decoder) valueProblem(path []any, message, hint string) {
	d.problems = append(d.problems, d.atValue(path, message, hint))
}

// table reads the keys of one table into their targets and returns the names
// of those that were given and read without a problem.
func (d *decoder) table(path []any, raw any, keys []key) map[string]bool {
	values, ok := raw.(map[string]any)
	if !ok {
		d.valueProblem(path, fmt.Sprintf("%s is %s, want a table", pathName(path), kindOf(raw)), "")
		return nil
	}
	good := map[string]bool{}
	for name, value := range values {
		at := extend(path, name)
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
		switch {
		case strings.HasPrefix(name, "x-"):
		case i < 0:
			d.keyProblem(at, fmt.Sprintf("unknown key %q", name), suggestion(name, keys))
		case keys[i].refused != nil:
			d.keyProblem(at, keys[i].refused.message, keys[i].refused.hint)
		case keys[i].into != nil:
			if err := keys[i].into.UnmarshalTOML(value); err != nil {
				d.scalarProblem(at, err)
				continue
			}
			good[name] = true
		}
	}
	for _, k := range keys {
		if _, given := values[k.name]; k.required && !given {
			d.keyProblem(path, fmt.Sprintf("%s has no key %q", pathName(path), k.name), "")
		}
	}
	return good
}

// tables reads an array of tables; each gets the entries of [[name]].
func (d *decoder) tables(name string, raw any, each func(path []any, raw any)) {
	switch entries := raw.(type) {
	case nil:
	case []map[string]any:
		for i, entry := range entries {
			each([]any{name, i}, entry)
		}
	case []any: // name = [{...}, {...}]
		for i, entry := range entries {
			each([]any{name, i}, entry)
		}
	default:
		d.keyProblem([]any{name}, fmt.Sprintf("%q is %s, want an array of tables", name, kindOf(raw)), fmt.Sprintf("begin each with [[%s]]", name))
	}
}

func (d *decoder) scalarProblem(path []any, err error) {
	name, _ := path[len(path)-1].(string)
	if elements, ok := err.(elementErrors); ok {
		for i, err := range elements {
			d.valueProblem(extend(path, i), name+": "+err.Error(), hintOf(err))
		}
		return
	}
	d.valueProblem(path, name+": "+err.Error(), hintOf(err))
}

func hintOf(err error) string {
	if h, ok := err.(hinted); ok {
		return h.hint
	}
	return ""
}

func extend(path []any, step any) []any { return append(slices.Clone(path), step) }

// pathName is how a message calls a table: [compiler], [[model]], link.
func pathName(path []any) string {
	if len(path) == 0 {
		return "the plan"
	}
	if name, ok := path[len(path)-1].(string); ok {
		if len(path) == 1 {
			return "[" + name + "]"
		}
		return name
	}
	return fmt.Sprintf("[[%s]]", path[len(path)-2])
}

// kindOf names the type of a TOML value.
func kindOf(raw any) string {
	switch raw := raw.(type) {
	case string:
		return "a string"
	case int64, float64:
		return fmt.Sprintf("the number %v", raw)
	case bool:
		return "a boolean"
	case []any, []map[string]any:
		return "an array"
	case map[string]any:
		return "a table"
	}
	return "a date or time"
}

// suggestion is the hint for an unknown key: the nearest known one, if any is
// near enough to be meant.
func suggestion(name string, keys []key) string {
	best, bestDistance := "", slips(name)+1
	for _, k := range keys {
		if k.refused != nil {
			continue
		}
		for _, word := range append([]string{k.name}, k.meant...) {
			if n := Distance(name, word); n < bestDistance {
				best, bestDistance = k.name, n
			}
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	var known []string
	for _, k := range keys {
		if k.refused == nil {
			known = append(known, k.name)
		}
	}
	return "known here: " + strings.Join(known, ", ")
}

// Distance is the number of letters to insert, delete, replace or swap with
// their neighbour to turn one word into the other (optimal string alignment),
// for suggestions of words that were perhaps meant. Case does not count.
func Distance(a, b string) int {
	x, y := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	if len(x) > 40 { // no key is that long, and a hostile name must not cost time
		return len(x)
	}
	d := make([][]int, len(x)+1)
	for i := range d {
		d[i] = make([]int, len(y)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			replace := d[i-1][j-1]
			if x[i-1] != y[j-1] {
				replace++
			}
			d[i][j] = min(replace, d[i-1][j]+1, d[i][j-1]+1)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(x)][len(y)]
}
