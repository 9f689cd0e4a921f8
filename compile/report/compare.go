package report

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Difference is one thing in which the compiler did something else than was predicted.
type Difference struct {
	Model     string // input file; empty for the whole invocation
	Field     string // name as in the JSON outputs, such as on_chip_bytes
	Op        string // of a row of the operation table, with its status
	Predicted string // as printed; "none" for what is not there
	Read      string
	Bytes     int64 // least difference of two sizes, read - predicted
}

// String is the difference as a sentence.
func (d Difference) String() string {
	var b strings.Builder
	if d.Model != "" {
		fmt.Fprintf(&b, "model %q: ", d.Model)
	}
	what := d.Field
	if d.Op != "" {
		what = fmt.Sprintf("%s of %s", d.Field, d.Op)
	}
	fmt.Fprintf(&b, "%s: predicted %s, the compiler says %s", what, d.Predicted, d.Read)
	if d.Bytes != 0 {
		fmt.Fprintf(&b, " (%+d bytes)", d.Bytes)
	}
	return b.String()
}

// Compare lists what a real report says differently from a predicted one, in
// the order of the report. Printed sizes are intervals: two sizes differ only
// if no value fits both. What one side does not know is no difference, nor is
// the time that a compilation took. Models are paired by the base names of
// their files, otherwise by position.
func Compare(predicted, parsed *Report) []Difference {
	var list []Difference
	if a, b := predicted.Compiler, parsed.Compiler; a != "" && b != "" && Release(a) != Release(b) {
		list = append(list, Difference{Field: "compiler", Predicted: a, Read: b})
	}
	list = append(list, compareFailure("", predicted.Failure, parsed.Failure)...)
	if f := parsed.Failure; f != nil && f.Kind != ZeroSubgraphs && len(parsed.Models) == 0 {
		return list // it got to no model
	}
	partner := pair(predicted.Models, parsed.Models)
	seen := make([]bool, len(parsed.Models))
	for i := range predicted.Models {
		m := &predicted.Models[i]
		k := partner[i]
		if k < 0 {
			if parsed.Failure == nil {
				list = append(list, Difference{Model: m.Input, Field: "models", Predicted: "a model", Read: "none"})
			}
			continue
		}
		seen[k] = true
		list = append(list, compareModel(m, &parsed.Models[k])...)
	}
	for k := range parsed.Models {
		if !seen[k] {
			list = append(list, Difference{Model: parsed.Models[k].Input, Field: "models", Predicted: "none", Read: "a model"})
		}
	}
	return list
}

// Release is the version without the build number.
func Release(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// compareFailure compares how an invocation or a model came out. A text that
// was cut does not say.
func compareFailure(model string, predicted, read *Failure) []Difference {
	kind := func(f *Failure) string {
		if f == nil {
			return "none"
		}
		return f.Kind
	}
	if read != nil && read.Kind == Cut || kind(predicted) == kind(read) {
		return nil
	}
	say := func(f *Failure) string {
		if f == nil {
			return "none"
		}
		return fmt.Sprintf("%s (%q)", f.Kind, f.Text)
	}
	return []Difference{{Model: model, Field: "failure", Predicted: say(predicted), Read: say(read)}}
}

// pair finds for each predicted model its section in the text, -1 if there is none.
func pair(predicted, read []Model) []int {
	partner := make([]int, len(predicted))
	taken := make([]bool, len(read))
	match := func(same func(i, k int) bool) {
		for i := range predicted {
			for k := range read {
				if partner[i] < 0 && !taken[k] && same(i, k) {
					partner[i], taken[k] = k, true
				}
			}
		}
	}
	for i := range partner {
		partner[i] = -1
	}
	base := func(m *Model) string { return path.Base(strings.ReplaceAll(m.Input, `\`, "/")) }
	match(func(i, k int) bool { return i == k && base(&predicted[i]) == base(&read[k]) })
	match(func(i, k int) bool { return predicted[i].Input != "" && base(&predicted[i]) == base(&read[k]) })
	match(func(i, k int) bool { return i == k && (predicted[i].Input == "" || read[k].Input == "") })
	return partner
}

func compareModel(p, r *Model) []Difference {
	name := p.Input
	if name == "" {
		name = r.Input
	}
	var list []Difference
	size := func(field string, a, b *Size) {
		if a == nil || b == nil {
			return
		}
		if gap := a.Apart(b); gap != 0 {
			list = append(list, Difference{Model: name, Field: field, Predicted: a.Text, Read: b.Text, Bytes: gap})
		}
	}
	number := func(field string, a, b int) {
		if a >= 0 && b >= 0 && a != b {
			list = append(list, Difference{Model: name, Field: field, Predicted: strconv.Itoa(a), Read: strconv.Itoa(b)})
		}
	}
	size("input_bytes", p.InputSize, r.InputSize)
	size("output_bytes", p.OutputSize, r.OutputSize)
	size("available_bytes", p.Available, r.Available)
	size("on_chip_bytes", p.OnChip, r.OnChip)
	size("remaining_bytes", p.Remaining, r.Remaining)
	size("streamed_bytes", p.Streamed, r.Streamed)
	number("subgraphs", p.Subgraphs, r.Subgraphs)
	number("operations", p.Operations, r.Operations)
	number("tpu_operations", p.TPUOperations, r.TPUOperations)
	number("cpu_operations", p.CPUOperations, r.CPUOperations)
	list = append(list, compareOperators(name, p, r)...)
	return append(list, compareFailure(name, p.Failure, r.Failure)...)
}

// rounding, in bytes, is how exact the bounds of sizes are: they are products of decimal fractions.
const rounding = 1e-6

// Apart is how far the nearest values of two sizes are from each other, t - s
// to the nearest byte: 0 if a value fits both, else at least one byte.
func (s *Size) Apart(t *Size) int64 {
	gap := 0.0
	switch {
	case t.Low > s.High+rounding:
		gap = t.Low - s.High
	case t.High < s.Low-rounding:
		gap = t.High - s.Low
	}
	switch {
	case gap > 0:
		return max(1, int64(gap+0.5))
	case gap < 0:
		return min(-1, int64(gap-0.5))
	}
	return 0
}

// compareOperators compares two operation tables, whose order means nothing. A
// table that was cut shows what it has: fewer rows are no difference then.
func compareOperators(name string, p, r *Model) []Difference {
	if len(p.Operators) == 0 || len(r.Operators) == 0 {
		return nil
	}
	type row struct{ op, status string }
	var rows []row
	var counts [2]map[row]int
	total := 0
	for side, m := range []*Model{p, r} {
		counts[side] = map[row]int{}
		for _, o := range m.Operators {
			k := row{o.Op, o.Status}
			rows = append(rows, k)
			counts[side][k] += o.Count
			if side == 1 {
				total += o.Count
			}
		}
	}
	cut := r.Operations >= 0 && total != r.Operations
	var list []Difference
	for i, k := range rows {
		a, b := counts[0][k], counts[1][k]
		if a == b || cut && b < a || slices.Index(rows, k) < i {
			continue
		}
		list = append(list, Difference{Model: name, Field: "operators", Op: fmt.Sprintf("%s %q", k.op, k.status), Predicted: strconv.Itoa(a), Read: strconv.Itoa(b)})
	}
	return list
}
