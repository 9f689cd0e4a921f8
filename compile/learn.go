package compile

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/tflite"
)

// ReleaseOf is the release that a report names; ok is false if it names none
// or one that is not known.
func ReleaseOf(r *report.Report) (v Version, ok bool) {
	v, err := ParseVersion(report.Release(r.Compiler))
	return v, err == nil
}

// FlagSettings are settings with what flags of the compiler say about them.
// The error is about a flag after which nothing can be learnt of a whole model.
func FlagSettings(s Settings, flags []string) (Settings, error) {
	for i, f := range flags {
		value := ""
		if i+1 < len(flags) {
			value = flags[i+1]
		}
		name, glued, ok := strings.Cut(f, "=")
		if !strings.HasPrefix(f, "--") && strings.HasPrefix(f, "-") && len(f) > 2 {
			name, glued, ok = f[:2], f[2:], true
		}
		if ok {
			value = glued
		}
		switch name {
		case "-a", "--enable_multiple_subgraphs":
			s.AllRegions = true
		case "-m", "--min_runtime_version":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > 1000 {
				return s, fmt.Errorf("%s is followed by no runtime version", name)
			}
			s.MinRuntime = n
		case "-n", "--num_segments", "-d", "--search_delegate", "-k", "--delegate_search_step", "-i", "--intermediate_tensors":
			return s, fmt.Errorf("%s makes the compiler cut the model", name)
		}
	}
	return s, nil
}

// Candidate is a model that compiler output or compiled files may be about.
type Candidate struct {
	File   string // slash path as on the command line
	SHA256 string
	Bytes  int64 // size of the file; 0 if it is not known
}

// base is the last element of a path of either system.
func base(file string) string { return path.Base(strings.ReplaceAll(file, `\`, "/")) }

// section finds the candidate that a model of a report is, -1 if it is none.
func section(m *report.Model, models []Candidate) int {
	return slices.IndexFunc(models, func(c Candidate) bool {
		if m.Input != "" {
			return base(m.Input) == base(c.File)
		}
		return m.Output != "" && base(m.Output) == OutputName(c.File)
	})
}

// LearnLog is what the compiler's output teaches about some models, which are
// recognised by the names of their files. The release is the printed one and the flags those of
// the command line, where the text shows them; else the settings'. at has the index of the
// candidate that each model of the report is, -1 for a stranger. The error
// says why nothing can be learnt.
func LearnLog(r *report.Report, s Settings, models []Candidate) (f *Facts, at []int, err error) {
	contents := make([]string, len(r.Models))
	for i := range r.Models {
		m := &r.Models[i]
		k := section(m, models)
		at = append(at, k)
		if k < 0 {
			continue
		}
		contents[i] = models[k].SHA256
		if m.InputSize != nil && models[k].Bytes > 0 && !m.InputSize.Holds(models[k].Bytes) {
			return nil, at, fmt.Errorf("it is about a file of %s, %s has %d bytes", m.InputSize.Text, models[k].File, models[k].Bytes)
		}
	}
	if r.Compiler != "" {
		v, ok := ReleaseOf(r)
		if !ok {
			return nil, at, fmt.Errorf("edgetpu_compiler %s is no release that is known", r.Compiler)
		}
		s.Version = v
	}
	if r.Source != nil && r.Source.Command != "" {
		if s, err = FlagSettings(Settings{Version: s.Version}, strings.Fields(r.Source.Command)); err != nil {
			return nil, at, err
		}
	}
	f, err = learnReport(r, s, contents)
	return f, at, err
}

// learnReport is what a report teaches about a call with these contents: the
// hash of each model in the order of the report, "" for one that is not known.
func learnReport(r *report.Report, s Settings, contents []string) (*Facts, error) {
	switch {
	case r.Failure != nil:
		return nil, fmt.Errorf("the compilation failed: %s", r.Failure.Text)
	case r.Source != nil && len(r.Source.Attempts) > 0:
		return nil, errors.New("the compiler looked for a part of the model that it can compile, or cut it into segments")
	case len(r.Models) == 0:
		return nil, errors.New("it holds no model")
	}
	f := NewFacts()
	invocation := InvocationFacts{FactsKey: s.Key()}
	whole := true
	for i := range r.Models {
		m := &r.Models[i]
		if m.Failure != nil || m.Subgraphs == 0 { // it says nothing of memory then
			return nil, fmt.Errorf("nothing of %s runs on the Edge TPU", cmp.Or(m.Input, m.Output, "a model"))
		}
		whole = whole && contents[i] != ""
		if contents[i] == "" {
			continue
		}
		facts := ModelFacts{SHA256: contents[i], FactsKey: s.Key()}
		if m.Subgraphs > 0 {
			facts.Subgraphs = &m.Subgraphs
		}
		if m.TPUOperations >= 0 && m.CPUOperations >= 0 {
			facts.TPUOperations, facts.CPUOperations = &m.TPUOperations, &m.CPUOperations
		}
		facts.Operators = operatorFacts(m)
		if len(r.Models) == 1 {
			facts.Available = printedCapacity(r, s.Version)
		}
		member := MemberFacts{SHA256: contents[i]}
		if m.OnChip != nil && m.Streamed != nil {
			member.OnChip, member.Streamed = m.OnChip.Text, m.Streamed.Text
		}
		invocation.Models = append(invocation.Models, member)
		f.add(facts)
	}
	if len(f.Models) == 0 {
		return nil, errors.New("it holds none of these models")
	}
	if whole {
		if len(r.Models) > 1 && !(s.Version == V16_0 && repeated(contents)) {
			// Copies of one model print what they share each.
			invocation.Available = printedCapacity(r, s.Version)
		}
		if invocation.Available != nil || invocation.Models[0].OnChip != "" {
			f.Invocations = append(f.Invocations, invocation)
		}
	}
	return f, nil
}

func repeated(contents []string) bool {
	sorted := slices.Sorted(slices.Values(contents))
	return len(slices.Compact(sorted)) < len(contents)
}

// add puts a model in its place; what is known already stays.
func (f *Facts) add(m ModelFacts) { f.Merge(&Facts{Models: []ModelFacts{m}}) }

// printedCapacity are the printed sizes that add up to the memory for
// parameters: up to 2.0 what the first model found; from 2.1 what all use and what
// remains after them, which every model repeats.
func printedCapacity(r *report.Report, v Version) []string {
	if v <= V2_0 {
		if a := r.Models[0].Available; a != nil {
			return []string{a.Text}
		}
		return nil
	}
	var texts []string
	for i := range r.Models {
		if r.Models[i].OnChip == nil {
			return nil
		}
		texts = append(texts, r.Models[i].OnChip.Text)
	}
	for i := range r.Models {
		if left := r.Models[i].Remaining; left != nil {
			return append(texts, left.Text)
		}
	}
	return nil
}

// operatorFacts are the rows of a model's operation table, nil if it is not complete.
func operatorFacts(m *report.Model) []OperatorFact {
	total := 0
	var list []OperatorFact
	for _, o := range m.Operators {
		if o.Op == "" || o.Count < 1 {
			return nil
		}
		total += o.Count
		list = append(list, OperatorFact{o.Op, o.Count, o.Status})
	}
	if m.Operations >= 0 && total != m.Operations {
		return nil
	}
	sortOperators(list)
	return list
}

func sortOperators(list []OperatorFact) {
	slices.SortFunc(list, func(a, b OperatorFact) int { return cmp.Or(cmp.Compare(a.Op, b.Op), cmp.Compare(a.Status, b.Status)) })
}

// LearnCompiled is what a compiled file teaches about the model that it was
// made from, a file with this content.
func LearnCompiled(content string, s Settings, c *tflite.Compiled) ModelFacts {
	parameters, subgraphs, tpu := c.CachedBytes()+c.StreamedBytes(), len(c.Packages), int64(0)
	m := ModelFacts{SHA256: content, FactsKey: s.Key(), ParameterBytes: &parameters, Subgraphs: &subgraphs, CPUOperations: &c.CPUOps}
	var load, input, output int64
	caching, hinted := false, true
	for i := range c.Packages {
		main := c.Packages[i].Main()
		tpu += main.InstructionBytes
		input += main.DMA.Input
		output += main.DMA.Output
		hinted = hinted && main.DMA.Hinted
		if e := c.Packages[i].Caching(); e != nil {
			caching = true
			load += e.InstructionBytes
		}
	}
	m.InstructionBytes = &tpu
	if caching {
		m.LoadInstructionBytes = &load
	}
	if hinted {
		m.InputBytes, m.OutputBytes = &input, &output
	}
	return m
}

// CompiledOperators tells from a source model and the operators of its
// compiled form which ops run on the Edge TPU; nil if the file has ops on
// the CPU that the source has not.
func CompiledOperators(src, compiled *tflite.Source) []OperatorFact {
	counts := map[string]int{}
	for i := range src.Ops {
		counts[OpName(&src.Ops[i])]++
	}
	cpu := map[string]int{}
	for i := range compiled.Ops {
		if name := OpName(&compiled.Ops[i]); name != tflite.EdgeTPUOp {
			cpu[name]++
		}
	}
	var list []OperatorFact
	for name, n := range counts {
		if on := n - cpu[name]; on > 0 {
			list = append(list, OperatorFact{name, on, StatusMapped})
		}
		if cpu[name] > 0 {
			list = append(list, OperatorFact{Op: name, Count: cpu[name]})
		}
	}
	for name, n := range cpu {
		if n > counts[name] {
			return nil
		}
	}
	sortOperators(list)
	return list
}

// LearnSplits is the invocation whose compiled files have these splits (packed
// bytes), in command-line order.
func LearnSplits(s Settings, contents []string, splits []Split) InvocationFacts {
	f := InvocationFacts{FactsKey: s.Key()}
	for i, c := range contents {
		f.Models = append(f.Models, MemberFacts{SHA256: c, CachedBytes: &splits[i].Cached, StreamedBytes: &splits[i].Streamed})
	}
	return f
}

// LearnFrom is [LearnCompiled] for a file whose origin has to be shown: made of
// the source model with this analysis, by its release and under its settings.
// body is the compiled file's own operators. It also finds the ops whose size is
// another than predicted. The error says what does not fit.
func (m *Model) LearnFrom(src *tflite.Source, c *tflite.Compiled, body *tflite.Source) (ModelFacts, error) {
	s := m.Settings
	if !GenerationFits(c, s.Version) {
		return ModelFacts{}, fmt.Errorf("it was made by edgetpu_compiler %s, not by %s", c.Generation(), s.Version)
	}
	// Older releases write other runtime versions than the flag's.
	if made := c.Packages[0].MinRuntime; s.Version == V16_0 && made >= 10 && made != s.minRuntime() {
		return ModelFacts{}, fmt.Errorf("it was compiled for runtime version %d, not for %d (-m)", made, s.minRuntime())
	}
	if len(c.Packages) > 1 && !s.AllRegions {
		return ModelFacts{}, fmt.Errorf("it has %d parts for the Edge TPU, which needs -a", len(c.Packages))
	}
	located := c.Locate(src, m.Wants())
	if err := m.Origin(src, c, located); err != nil {
		return ModelFacts{}, err
	}
	f := LearnCompiled(m.Load.Content, s, c)
	if f.Operators = CompiledOperators(src, body); f.Operators != nil {
		tpu := 0
		for _, n := range mappedOps(f.Operators) {
			tpu += n
		}
		f.TPUOperations = &tpu
	}
	f.Ops = m.MeasuredOps(located)
	return f, nil
}

// GenerationFits reports whether a compiled file can come from a release, as
// far as the file shows.
func GenerationFits(c *tflite.Compiled, v Version) bool {
	made := c.Generation()
	return made == "" || (made == V16_0.String()) == (v == V16_0)
}

// Origin says whether a compiled file was made from a source model. Weights
// are recognised by their values, so a file that has few of them is another
// model's, and one that lacks some and has another total too. Nil proves nothing if the
// model has no weights that could be recognised.
func (m *Model) Origin(src *tflite.Source, c *tflite.Compiled, l *tflite.Located) error {
	var telling, recognised int64
	missing := -1
	for i := range l.Pieces {
		p := &l.Pieces[i]
		if p.Want.Bytes == 0 || !src.Recognisable(p.Op) {
			continue
		}
		telling += p.Want.Bytes
		switch {
		case p.ByContent:
			recognised += p.Want.Bytes
		case missing < 0 && m.Ops[p.Op].Certainty == report.Exact:
			missing = p.Op
		}
	}
	switch {
	case recognised*2 < telling:
		return errors.New("the weights in it are those of another model")
	case missing >= 0 && c.CachedBytes()+c.StreamedBytes() != m.Load.Bytes():
		return fmt.Errorf("it does not have the weights of op %d %s, and other bytes than predicted: it was made from another version of the model", missing, m.Ops[missing].Name)
	}
	return nil
}

// MeasuredOps lists the ops that have other bytes in a compiled file than was
// predicted, as far as their place in it shows how many. Bytes that several ops may own are
// not counted.
func (m *Model) MeasuredOps(l *tflite.Located) []OpFact {
	found := map[int]*OpFact{}
	doubtful := map[int]bool{}
	at := func(op int) *OpFact {
		if found[op] == nil {
			found[op] = &OpFact{Index: op, Op: m.Ops[op].Name}
		}
		return found[op]
	}
	for i := range l.Pieces {
		p := &l.Pieces[i]
		if f := at(p.Op); p.Found {
			f.Bytes += p.Bytes
			f.Cacheable = f.Cacheable || p.Cached
		}
	}
	for _, s := range l.Strays {
		if len(s.Suspects) == 1 {
			f := at(s.Suspects[0])
			f.Bytes += s.Bytes
			f.Cacheable = f.Cacheable || s.Cached
			continue
		}
		for _, op := range s.Suspects {
			doubtful[op] = true
		}
	}
	var list []OpFact
	for op, f := range found {
		if f.Bytes != m.Ops[op].Bytes && !doubtful[op] {
			list = append(list, *f)
		}
	}
	slices.SortFunc(list, func(a, b OpFact) int { return cmp.Compare(a.Index, b.Index) })
	return list
}
