package compile

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/compile/internal/jsonread"
	"github.com/tpuplan/tpuplan/compile/report"
)

// FactsSchema names the format of facts; fields are only added to it.
const (
	FactsSchemaPrefix = "tpuplan/facts/v"
	FactsVersion      = 1
)

// Facts are what real compiles taught: of single models, and of invocations.
// They are keyed by the contents of the models, never by names or paths, so
// they hold wherever a model lies and end to hold when it is trained again.
// Nothing in them depends on a clock or a machine. A nil *Facts knows nothing.
type Facts struct {
	Schema      string            `json:"schema"`
	Models      []ModelFacts      `json:"models"`      // sorted
	Invocations []InvocationFacts `json:"invocations"` // sorted
}

// FactsKey says of which compiler, and of which of its settings, facts are.
type FactsKey struct {
	Compiler   string `json:"compiler"` // release, "16.0"
	MinRuntime int    `json:"min_runtime"`
	AllRegions bool   `json:"all_regions,omitempty"`
}

// Key is the key of facts about models that are analysed under these settings.
func (s Settings) Key() FactsKey {
	return FactsKey{Compiler: s.Version.String(), MinRuntime: s.minRuntime(), AllRegions: s.AllRegions}
}

// ModelFacts are what is known of one model. What is nil or empty is not known.
type ModelFacts struct {
	SHA256 string `json:"sha256"`
	FactsKey
	// Available is the memory for parameters of the model compiled alone, as
	// printed: one size up to 2.0, from 2.1 on the two that add up to it, used
	// and remaining.
	Available      []string `json:"available,omitempty"`
	ParameterBytes *int64   `json:"parameter_bytes,omitempty"` // packed, cached and streamed
	// Per inference, of all packages together. The compiler's split changes the
	// instructions a little.
	InstructionBytes     *int64         `json:"instruction_bytes,omitempty"`
	LoadInstructionBytes *int64         `json:"load_instruction_bytes,omitempty"`
	InputBytes           *int64         `json:"input_bytes,omitempty"` // as they cross the bus
	OutputBytes          *int64         `json:"output_bytes,omitempty"`
	Subgraphs            *int           `json:"subgraphs,omitempty"`
	TPUOperations        *int           `json:"tpu_operations,omitempty"`
	CPUOperations        *int           `json:"cpu_operations,omitempty"`
	Operators            []OperatorFact `json:"operators,omitempty"` // sorted
	Ops                  []OpFact       `json:"ops,omitempty"`       // where the size of an op was found to be another than predicted; sorted
}

// OperatorFact is a row of the compiler's operation table.
type OperatorFact struct {
	Op     string `json:"op"`
	Count  int    `json:"count"`
	Status string `json:"status,omitempty"` // empty: on the CPU, and why is not known
}

// OpFact is the size of one op, as it was found in a compiled file.
type OpFact struct {
	Index     int    `json:"index"` // in the source
	Op        string `json:"op"`
	Bytes     int64  `json:"bytes"`
	Cacheable bool   `json:"cacheable,omitempty"` // some of it was seen among the cached parameters
}

// InvocationFacts are what is known of one compiler call.
type InvocationFacts struct {
	FactsKey
	Models       []MemberFacts `json:"models"`              // in command-line order
	Available    []string      `json:"available,omitempty"` // of several models: printed sizes that add up to the memory for parameters
	OrderMatters *bool         `json:"order_matters,omitempty"`
}

// MemberFacts are a model's share of a compiler call.
type MemberFacts struct {
	SHA256        string `json:"sha256"`
	CachedBytes   *int64 `json:"cached_bytes,omitempty"` // packed, from the compiled file
	StreamedBytes *int64 `json:"streamed_bytes,omitempty"`
	OnChip        string `json:"on_chip,omitempty"` // as printed: used, and off-chip
	Streamed      string `json:"streamed,omitempty"`
}

// NewFacts are facts without contents.
func NewFacts() *Facts {
	return &Facts{Schema: fmt.Sprint(FactsSchemaPrefix, FactsVersion), Models: []ModelFacts{}, Invocations: []InvocationFacts{}}
}

// Empty reports that nothing is known.
func (f *Facts) Empty() bool { return f == nil || len(f.Models)+len(f.Invocations) == 0 }

func (k *FactsKey) compare(l *FactsKey) int {
	all := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(k.Compiler, l.Compiler), cmp.Compare(k.MinRuntime, l.MinRuntime), cmp.Compare(all(k.AllRegions), all(l.AllRegions)))
}

func compareModelFacts(a, b ModelFacts) int {
	return cmp.Or(cmp.Compare(a.SHA256, b.SHA256), a.FactsKey.compare(&b.FactsKey))
}

func compareInvocations(a, b InvocationFacts) int {
	return cmp.Or(a.FactsKey.compare(&b.FactsKey), slices.CompareFunc(a.Models, b.Models, func(x, y MemberFacts) int { return cmp.Compare(x.SHA256, y.SHA256) }))
}

// Model is what is known of a model's content, nil if nothing is.
func (f *Facts) Model(s Settings, content string) *ModelFacts {
	if f == nil || content == "" {
		return nil
	}
	if i, found := slices.BinarySearchFunc(f.Models, ModelFacts{SHA256: content, FactsKey: s.Key()}, compareModelFacts); found {
		return &f.Models[i]
	}
	return nil
}

// Clone is a copy that shares nothing that [Facts.Merge] changes.
func (f *Facts) Clone() *Facts {
	c := NewFacts()
	if f != nil {
		c.Models, c.Invocations = slices.Clone(f.Models), slices.Clone(f.Invocations)
		for i := range c.Invocations {
			c.Invocations[i].Models = slices.Clone(c.Invocations[i].Models)
		}
	}
	return c
}

// Merge adds newer facts. What they say replaces what was known, unless that
// is narrower and agrees: an exact figure is not given up for a printed one.
func (f *Facts) Merge(newer *Facts) {
	if newer == nil {
		return
	}
	for i := range newer.Models {
		n := newer.Models[i]
		if at, found := slices.BinarySearchFunc(f.Models, n, compareModelFacts); found {
			f.Models[at].merge(&n)
		} else {
			f.Models = slices.Insert(f.Models, at, n)
		}
	}
	for i := range newer.Invocations {
		n := newer.Invocations[i]
		n.Models = slices.Clone(n.Models)
		if at, found := slices.BinarySearchFunc(f.Invocations, n, compareInvocations); found {
			f.Invocations[at].merge(&n)
		} else {
			f.Invocations = slices.Insert(f.Invocations, at, n)
		}
	}
}

// update replaces a fact by a newer one, if that is known.
func update[T any](fact **T, newer *T) {
	if newer != nil {
		*fact = newer
	}
}

func (m *ModelFacts) merge(n *ModelFacts) {
	m.Available = narrower(m.Available, n.Available)
	if n.ParameterBytes != nil {
		// Sizes of ops were found in one file with one total.
		if n.Ops != nil || m.ParameterBytes == nil || *m.ParameterBytes != *n.ParameterBytes {
			m.Ops = n.Ops
		}
		m.ParameterBytes = n.ParameterBytes
	}
	update(&m.InstructionBytes, n.InstructionBytes)
	update(&m.LoadInstructionBytes, n.LoadInstructionBytes)
	update(&m.InputBytes, n.InputBytes)
	update(&m.OutputBytes, n.OutputBytes)
	update(&m.Subgraphs, n.Subgraphs)
	update(&m.TPUOperations, n.TPUOperations)
	update(&m.CPUOperations, n.CPUOperations)
	if n.Operators != nil && !(maps.Equal(mappedOps(m.Operators), mappedOps(n.Operators)) && reasons(m.Operators) > reasons(n.Operators)) {
		m.Operators = n.Operators
	}
}

// reasons is how many ops have a status.
func reasons(list []OperatorFact) (n int) {
	for _, o := range list {
		if o.Status != "" {
			n += o.Count
		}
	}
	return n
}

// mappedOps counts the ops on the TPU by name.
func mappedOps(list []OperatorFact) map[string]int {
	counts := map[string]int{}
	for _, o := range list {
		if o.Status == StatusMapped {
			counts[o.Op] += o.Count
		}
	}
	return counts
}

// sizes reads the printed sizes of a fact and adds them up.
func sizes(texts []string) (report.Size, bool) {
	if len(texts) == 0 {
		return report.Size{}, false
	}
	var parts []report.Size
	for _, t := range texts {
		s, err := report.ParseSize(t)
		if err != nil {
			return report.Size{}, false
		}
		parts = append(parts, s)
	}
	return report.Sum(parts...), true
}

// narrower is the newer of two sums of printed sizes, unless the older says
// more and no value of it contradicts the newer.
func narrower(old, newer []string) []string {
	a, okA := sizes(old)
	b, okB := sizes(newer)
	if okA && (!okB || a.High-a.Low < b.High-b.Low && a.Low <= b.High && b.Low <= a.High) {
		return old
	}
	return newer
}

func (f *InvocationFacts) merge(n *InvocationFacts) {
	f.Available = narrower(f.Available, n.Available)
	update(&f.OrderMatters, n.OrderMatters)
	for i := range f.Models {
		f.Models[i].merge(&n.Models[i])
	}
}

func (m *MemberFacts) merge(n *MemberFacts) {
	if n.CachedBytes != nil {
		*m = MemberFacts{SHA256: m.SHA256, CachedBytes: n.CachedBytes, StreamedBytes: n.StreamedBytes, OnChip: cmp.Or(n.OnChip, m.OnChip), Streamed: cmp.Or(n.Streamed, m.Streamed)}
	} else if m.StreamedBytes == nil || n.Streamed == "" || stands(n.Streamed, *m.StreamedBytes) {
		m.OnChip, m.Streamed = cmp.Or(n.OnChip, m.OnChip), cmp.Or(n.Streamed, m.Streamed)
	}
	if m.StreamedBytes != nil && m.Streamed != "" && !stands(m.Streamed, *m.StreamedBytes) {
		m.OnChip, m.Streamed = "", "" // printed by an older call that did otherwise
	}
}

// stands reports whether a printed size stands for a number of bytes.
func stands(text string, bytes int64) bool {
	s, err := report.ParseSize(text)
	return err == nil && s.Holds(bytes)
}

// Limits of what facts may hold, so that no sum overflows.
const (
	mostMembers = 1 << 10
	mostOps     = 1 << 24
)

// ParseFacts reads the JSON of facts. It takes no more memory than twice the
// text and a megabyte. Fields that this version does not know are left out,
// and are lost when the facts are written again. The error has an Offset if
// something is wrong at a place; a newer format gives a [*NewerFormat].
func ParseFacts(data []byte) (*Facts, error) {
	r := jsonread.New(data)
	schema := ""
	r.Object(func(key []byte) {
		if string(key) == "schema" {
			schema = r.String()
		} else {
			r.Skip()
		}
	})
	if err := r.End(); err != nil {
		return nil, factsError(err)
	}
	if err := CheckSchema(schema, FactsSchemaPrefix, FactsVersion); err != nil {
		return nil, err
	}
	r = jsonread.New(data)
	f := NewFacts()
	r.Object(func(key []byte) {
		switch string(key) {
		case "models":
			f.Models = jsonread.List(r, func(m *ModelFacts) { m.read(r) })
		case "invocations":
			f.Invocations = jsonread.List(r, func(i *InvocationFacts) { i.read(r) })
		default:
			r.Skip()
		}
	})
	if err := r.End(); err != nil {
		return nil, factsError(err)
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.Models == nil {
		f.Models = []ModelFacts{}
	}
	if f.Invocations == nil {
		f.Invocations = []InvocationFacts{}
	}
	return f, nil
}

// FactsError says what is wrong with the text of facts, and where.
type FactsError struct {
	Offset int
	What   string
}

func (e *FactsError) Error() string { return e.What }

func factsError(err error) error {
	if e := (*jsonread.Error)(nil); errors.As(err, &e) {
		return &FactsError{e.Offset, e.What}
	}
	return err
}

// NewerFormat says that a file has a format that this version cannot read.
type NewerFormat struct{ Version, Known int }

func (e *NewerFormat) Error() string {
	return fmt.Sprintf("written by a newer tpuplan, in format v%d; this one reads up to v%d", e.Version, e.Known)
}

// CheckSchema checks the schema name of a file that tpuplan keeps.
func CheckSchema(schema, prefix string, known int) error {
	digits, ok := strings.CutPrefix(schema, prefix)
	version := 0
	for _, d := range []byte(digits) {
		if ok = ok && d >= '0' && d <= '9' && version < 1<<20; ok {
			version = 10*version + int(d-'0')
		}
	}
	switch {
	case !ok || version < 1:
		if len(schema) > 60 {
			schema = schema[:57] + "..."
		}
		return fmt.Errorf("its schema is %q, want \"%s%d\"", schema, prefix, known)
	case version > known:
		return &NewerFormat{version, known}
	}
	return nil
}

func readInt[T int | int64](r *jsonread.Reader) *T {
	n := r.Int()
	if n < 0 || n > absurdSize {
		r.Fail("%d is no size", n)
	}
	x := T(n)
	return &x
}

func readTexts(r *jsonread.Reader) []string {
	return jsonread.List(r, func(s *string) { *s = r.String() })
}

// field reads a field of the key and reports whether it is one.
func (k *FactsKey) field(r *jsonread.Reader, key []byte) bool {
	switch string(key) {
	case "compiler":
		k.Compiler = r.String()
	case "min_runtime":
		k.MinRuntime = *readInt[int](r)
	case "all_regions":
		k.AllRegions = r.Bool()
	default:
		return false
	}
	return true
}

func (m *ModelFacts) read(r *jsonread.Reader) {
	r.Object(func(key []byte) {
		switch string(key) {
		case "sha256":
			m.SHA256 = r.String()
		case "available":
			m.Available = readTexts(r)
		case "parameter_bytes":
			m.ParameterBytes = readInt[int64](r)
		case "instruction_bytes":
			m.InstructionBytes = readInt[int64](r)
		case "load_instruction_bytes":
			m.LoadInstructionBytes = readInt[int64](r)
		case "input_bytes":
			m.InputBytes = readInt[int64](r)
		case "output_bytes":
			m.OutputBytes = readInt[int64](r)
		case "subgraphs":
			m.Subgraphs = readInt[int](r)
		case "tpu_operations":
			m.TPUOperations = readInt[int](r)
		case "cpu_operations":
			m.CPUOperations = readInt[int](r)
		case "operators":
			m.Operators = jsonread.List(r, func(o *OperatorFact) {
				r.Object(func(key []byte) {
					switch string(key) {
					case "op":
						o.Op = r.String()
					case "count":
						o.Count = *readInt[int](r)
					case "status":
						o.Status = r.String()
					default:
						r.Skip()
					}
				})
			})
		case "ops":
			m.Ops = jsonread.List(r, func(o *OpFact) {
				r.Object(func(key []byte) {
					switch string(key) {
					case "index":
						o.Index = *readInt[int](r)
					case "op":
						o.Op = r.String()
					case "bytes":
						o.Bytes = *readInt[int64](r)
					case "cacheable":
						o.Cacheable = r.Bool()
					default:
						r.Skip()
					}
				})
			})
		default:
			if !m.field(r, key) {
				r.Skip()
			}
		}
	})
}

func (f *InvocationFacts) read(r *jsonread.Reader) {
	r.Object(func(key []byte) {
		switch string(key) {
		case "models":
			f.Models = jsonread.List(r, func(m *MemberFacts) {
				r.Object(func(key []byte) {
					switch string(key) {
					case "sha256":
						m.SHA256 = r.String()
					case "cached_bytes":
						m.CachedBytes = readInt[int64](r)
					case "streamed_bytes":
						m.StreamedBytes = readInt[int64](r)
					case "on_chip":
						m.OnChip = r.String()
					case "streamed":
						m.Streamed = r.String()
					default:
						r.Skip()
					}
				})
			})
		case "available":
			f.Available = readTexts(r)
		case "order_matters":
			matters := r.Bool()
			f.OrderMatters = &matters
		default:
			if !f.field(r, key) {
				r.Skip()
			}
		}
	})
}

// check tests what facts are relied on for: a file may have been edited or
// merged by hand. It sorts them.
func (f *Facts) check() error {
	for i := range f.Models {
		if err := f.Models[i].check(); err != nil {
			return fmt.Errorf("models[%d]: %w", i, err)
		}
	}
	for i := range f.Invocations {
		if err := f.Invocations[i].check(); err != nil {
			return fmt.Errorf("invocations[%d]: %w", i, err)
		}
	}
	slices.SortStableFunc(f.Models, compareModelFacts)
	slices.SortStableFunc(f.Invocations, compareInvocations)
	for i := 1; i < len(f.Models); i++ {
		if compareModelFacts(f.Models[i-1], f.Models[i]) == 0 {
			return fmt.Errorf("model %.12s has two entries for compiler %s", f.Models[i].SHA256, f.Models[i].Compiler)
		}
	}
	for i := 1; i < len(f.Invocations); i++ {
		if compareInvocations(f.Invocations[i-1], f.Invocations[i]) == 0 {
			return fmt.Errorf("an invocation of compiler %s that begins with model %.12s has two entries", f.Invocations[i].Compiler, f.Invocations[i].Models[0].SHA256)
		}
	}
	return nil
}

func checkSHA256(sum string) error {
	if len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "" {
		return errors.New("sha256 is no hash of 64 hexadecimal digits")
	}
	return nil
}

// check accepts releases that this version does not know, which are kept.
func (k *FactsKey) check() error {
	major, minor, ok := strings.Cut(k.Compiler, ".")
	for _, digits := range []string{major, minor} {
		ok = ok && digits != "" && len(digits) < 5 && strings.Trim(digits, "0123456789") == ""
	}
	if !ok {
		return errors.New("compiler is no release, such as 16.0")
	}
	if k.MinRuntime < 1 || k.MinRuntime > 1000 {
		return fmt.Errorf("min_runtime %d is no runtime version", k.MinRuntime)
	}
	return nil
}

func checkSizes(name string, texts ...string) error {
	if len(texts) > mostMembers+1 {
		return fmt.Errorf("%s has %d sizes", name, len(texts))
	}
	for _, t := range texts {
		if _, err := report.ParseSize(t); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (m *ModelFacts) check() error {
	if err := errors.Join(checkSHA256(m.SHA256), m.FactsKey.check(), checkSizes("available", m.Available...)); err != nil {
		return err
	}
	for i, o := range m.Operators {
		if o.Op == "" || o.Count < 1 || o.Count > mostOps {
			return fmt.Errorf("operators[%d] has no op or a count of %d", i, o.Count)
		}
	}
	for i, o := range m.Ops {
		if o.Op == "" || o.Index > mostOps || i > 0 && m.Ops[i-1].Index >= o.Index {
			return fmt.Errorf("ops[%d] has no op, or its index is not above the one before", i)
		}
	}
	for _, n := range []*int{m.Subgraphs, m.TPUOperations, m.CPUOperations} {
		if n != nil && *n > mostOps {
			return fmt.Errorf("%d is no number of ops", *n)
		}
	}
	return nil
}

func (f *InvocationFacts) check() error {
	if n := len(f.Models); n == 0 || n > mostMembers {
		return fmt.Errorf("%d models", n)
	}
	if err := errors.Join(f.FactsKey.check(), checkSizes("available", f.Available...)); err != nil {
		return err
	}
	for i := range f.Models {
		m := &f.Models[i]
		if err := checkSHA256(m.SHA256); err != nil {
			return fmt.Errorf("models[%d]: %w", i, err)
		}
		if (m.CachedBytes == nil) != (m.StreamedBytes == nil) {
			return fmt.Errorf("models[%d] has one of cached_bytes and streamed_bytes", i)
		}
		for _, text := range []string{m.OnChip, m.Streamed} {
			if text == "" {
				continue
			}
			if err := checkSizes("what was printed", text); err != nil {
				return fmt.Errorf("models[%d]: %w", i, err)
			}
		}
	}
	return nil
}

// Capacity is the memory for parameters that was printed for the model alone;
// ok is false if none was.
func (m *ModelFacts) Capacity() (size report.Size, ok bool) { return sizes(m.Available) }
