package report

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrNoOutput is the error of a text in which nothing was printed by edgetpu_compiler.
var ErrNoOutput = errors.New("no output of edgetpu_compiler in it")

const (
	maxLine    = 64 << 10 // bytes of a line that are read; the compiler's longest, a list of tensors, has some thousands
	maxUnknown = 4 << 10  // bytes of an unknown line that are kept

	// What is kept of a text is bounded by its size, so that a wrong file does
	// not fill the memory: a table row, an unknown line or a message counts one,
	// larger things as many as their size. Real logs stay below a tenth.
	freeThings    = 20_000
	bytesPerThing = 20
	modelThings   = 5
	reportThings  = 3
)

// Parse reads what edgetpu_compiler printed, any release from 1.0 to 16.0, and
// returns one report for each invocation in the text. It reads line by line
// and depends on no blank line, so it takes what people keep and publish: cut
// or wrapped lines, quote marks, prompts, prefixes, shortened labels, only the
// memory lines. Every line that is not blank is understood by exactly one rule
// or listed in Source.Unknown of the invocation it stands in.
//
// The name is used in errors. The error wraps [ErrNoOutput] if there is no
// invocation in the text.
func Parse(name string, r io.Reader) ([]Report, error) {
	return (&parser{name: name, reading: newReading()}).parse(r)
}

func (p *parser) parse(r io.Reader) ([]Report, error) {
	in := bufio.NewReaderSize(r, maxLine)
	if head, _ := in.Peek(512); bytes.IndexByte(head, 0) >= 0 {
		return nil, fmt.Errorf("%s: %w: this is no text in UTF-8", p.name, ErrNoOutput)
	} else if bytes.HasPrefix(head, []byte("\ufeff")) {
		in.Discard(len("\ufeff")) //nolint:errcheck // they were peeked at
	}
	size := 0
	for number := 1; ; number++ {
		line, err := in.ReadSlice('\n')
		text := string(bytes.TrimSpace(line))
		size += len(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		if text != "" {
			p.line(Line{number, text})
		}
		if p.things > freeThings+size/bytesPerThing {
			return nil, fmt.Errorf("%s:%d: too many models, table rows or lines that are not edgetpu_compiler's: not the log of a build", p.name, number)
		}
		if err != nil {
			break
		}
	}
	p.finish()
	if len(p.done) == 0 {
		return nil, fmt.Errorf("%s: %w", p.name, ErrNoOutput)
	}
	return p.done, nil
}

type parser struct {
	name   string
	done   []Report
	things int
	trace  func(line int, r rule) // of tests: which rule took a line, ruleNone for unknown ones

	reading
}

// reading is the state of the invocation that is being read.
type reading struct {
	report  Report
	source  Source
	counts  [rules]int
	strong  bool // some line can only be the compiler's
	version bool

	attempt   Attempt // the current one
	announced bool    // "Started", "Try": a result has to follow
	ended     bool    // its last line was read
	listed    bool    // it belongs into Source.Attempts
	lost      *Failure
	last      string // last line that was understood
	lastRule  rule

	prefix   string // shape of what stands before the lines
	inTable  bool
	inUsage  bool
	sentence string // what is missing of a long sentence, squeezed
	row      string // what is missing of the status of the last table row, squeezed
	partial  []Line // lines that may be the beginning of a wrapped one
	complete bool   // the counts of the current model have all been printed
	notAll   bool   // some of its ops stay on the CPU
	several  bool   // "Models compiled"
}

func newReading() reading {
	return reading{report: Report{CompileMS: NotPrinted}, attempt: Attempt{CompileMS: NotPrinted}}
}

// line takes one line that is not blank.
func (p *parser) line(l Line) {
	if p.continues(l) {
		return
	}
	if p.joins(l) {
		return
	}
	t, ok := p.recognise(l.Text)
	p.settle(ok && p.another(t))
	if ok {
		p.apply(l, t)
		return
	}
	if begins(l.Text, p.inTable) {
		p.partial = append(p.partial, l)
		return
	}
	if p.lastRule == ruleTensors && len(p.attempt.Tensors) < maxLine && !strings.ContainsAny(l.Text, " \t") && strings.ContainsAny(l.Text, ",/;:") {
		p.attempt.Tensors += l.Text
		p.take(l, ruleWrapped)
		p.lastRule = ruleTensors
		return
	}
	p.unknown(l)
}

// continues takes a line that is the rest of the long sentence or of a status before it.
func (p *parser) continues(l Line) bool {
	if p.sentence == "" && p.row == "" {
		return false
	}
	text := squeeze(undecorated(l.Text))
	if rest, ok := strings.CutPrefix(p.sentence, text); ok && text != "" {
		p.sentence = rest
		p.take(l, ruleWrapped)
		return true
	}
	if rest, ok := strings.CutPrefix(p.row, text); ok && text != "" {
		if p.row = rest; rest == "" {
			ops := p.model().Operators
			ops[len(ops)-1].Status = wholeStatus(ops[len(ops)-1].Status)
		}
		p.take(l, ruleWrapped)
		return true
	}
	return false
}

// joins takes a line that completes the ones before it.
func (p *parser) joins(l Line) bool {
	if len(p.partial) == 0 {
		return false
	}
	start := ""
	for i, part := range p.partial {
		if i > 0 {
			start += " "
		}
		start += part.Text
	}
	for _, joined := range []string{start + " " + l.Text, start + l.Text} {
		t, ok := exact(joined)
		if !ok {
			t, ok = row(joined, false)
		}
		if ok {
			for _, part := range p.partial {
				p.take(part, ruleWrapped)
			}
			p.partial = nil
			p.apply(l, t)
			return true
		}
	}
	if len(start) < 512 && len(p.partial) < 8 && begins(start+" "+l.Text, false) {
		p.partial = append(p.partial, l)
		return true
	}
	return false
}

// settle decides about lines that nothing completed: they are cut, if they are
// long enough to be sure or if nothing follows them.
func (p *parser) settle(end bool) {
	for i, l := range p.partial {
		switch {
		case i > 0 && p.lastRule == ruleCut:
			p.take(l, ruleWrapped)
			p.lastRule = ruleCut
		case i == 0 && (end || p.inTable || len(squeeze(l.Text)) >= 8):
			p.take(l, ruleCut)
			if strings.HasPrefix(l.Text, "See the ") || strings.HasPrefix(l.Text, "Compilation ") {
				p.complete = true // they stand behind the counts
			}
			p.note(fmt.Sprintf("line %d is cut: %q", l.Number, clip(l.Text)))
		default:
			p.unknown(l)
		}
	}
	p.partial = nil
}

func (p *parser) note(text string) {
	p.things++
	p.source.Notes = append(p.source.Notes, text)
}

// recognise finds the rule of a line, from the compiler's own form to what
// publishers make of it.
func (p *parser) recognise(s string) (token, bool) {
	if t, ok := p.plain(s); ok {
		return t, true
	}
	u := s
	if strings.IndexByte(s, 0x1b) >= 0 {
		u = withoutEscapes(s)
	}
	u = undecorated(u)
	if u == "" || strings.IndexFunc(u, func(r rune) bool { return isLetter(r) || r > 0x7f || r >= '0' && r <= '9' }) < 0 || strings.HasPrefix(s, "```") {
		return token{rule: ruleDecoration}, true
	}
	if u != s {
		if t, ok := p.plain(u); ok {
			return t, true
		}
	}
	if crash(s) && (p.attempt.CompileMS == NotPrinted || strings.Contains(s, "edgetpu_compiler")) {
		return token{rule: ruleCrash, text: s}, true
	}
	if c, ok := command(u); ok && !p.inUsage {
		return token{rule: ruleCommand, text: c}, true
	}
	if t, ok := loose(u); ok {
		return t, true
	}
	if p.inUsage && (s[0] == '-' || strings.Contains(s, "edgetpu_compiler") || s == "Options:") {
		return token{rule: ruleUsage}, true
	}
	if prefix, rest, ok := behindPrefix(u); ok {
		t, ok := p.plain(rest)
		if !ok {
			t, ok = loose(rest)
		}
		if ok {
			p.prefix = shape(prefix)
		}
		return t, ok
	}
	if p.prefix != "" && len(u) <= 80 && shape(u) == p.prefix { // before a blank line
		return token{rule: ruleDecoration}, true
	}
	return token{}, false
}

// plain recognises a line as the compiler prints it.
func (p *parser) plain(s string) (token, bool) {
	if t, ok := exact(s); ok {
		return t, true
	}
	if strings.HasPrefix(s, notAllText) || len(s) > 60 && strings.HasPrefix(notAllText, s) {
		return token{rule: ruleNotAll, text: s}, true
	}
	if t, ok := row(s, p.inTable); ok {
		return t, true
	}
	// An operation log file names its models without more.
	if p.version && p.report.CompileMS == NotPrinted && strings.HasSuffix(s, ".tflite") {
		if path, ok := strings.CutPrefix(s, "Input: "); ok {
			return token{rule: ruleInput, text: path}, true
		}
		if path, ok := strings.CutPrefix(s, "Output: "); ok {
			return token{rule: ruleOutput, text: path}, true
		}
	}
	return token{}, false
}

// withoutEscapes drops a terminal's colour sequences.
func withoutEscapes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != 0x1b {
			b.WriteByte(s[i])
			continue
		}
		if i++; i < len(s) && s[i] == '[' {
			for i++; i < len(s) && (s[i] < '@' || s[i] > '~'); i++ {
			}
		}
	}
	return strings.TrimSpace(b.String())
}

func (p *parser) take(l Line, r rule) {
	p.counts[r]++
	p.last, p.lastRule = l.Text, r
	switch r {
	case ruleError, ruleInfo, ruleWarning, ruleDecoration, ruleUsage, ruleWrapped, ruleCut: // not the compiler's alone
	case ruleCrash:
		p.strong = p.strong || strings.Contains(l.Text, "edgetpu_compiler")
	default:
		p.strong = true
	}
	if p.trace != nil {
		p.trace(l.Number, r)
	}
}

func (p *parser) unknown(l Line) {
	p.things++
	if len(l.Text) > maxUnknown {
		l.Text = strings.ToValidUTF8(l.Text[:maxUnknown], "") + "..."
	}
	p.source.Unknown = append(p.source.Unknown, l)
	if p.trace != nil {
		p.trace(l.Number, ruleNone)
	}
}

// another says whether a line begins a further invocation.
func (p *parser) another(t token) bool {
	switch t.rule {
	case ruleVersion:
		return p.strong && (p.version || len(p.report.Models) > 0 || p.attempt != newReading().attempt || p.announced)
	case ruleCommand:
		return p.strong
	}
	return false
}

// apply takes a line whose rule is known.
func (p *parser) apply(l Line, t token) {
	if p.another(t) {
		p.finish()
		p.reading = newReading()
	} else if !p.strong && t.rule != ruleError && t.rule != ruleWarning {
		p.attempt = newReading().attempt // what another program said before
	}
	p.sentence, p.row = "", ""
	switch t.rule {
	case ruleTableHead, ruleTableRow, ruleDecoration:
	default:
		p.inTable = false
	}
	p.take(l, t.rule)
	switch t.rule {
	case ruleInfo, ruleDecoration: // nothing of the report
	case ruleVersion:
		p.version, p.report.Compiler, p.inUsage = true, t.text, false
	case ruleCommand:
		p.source.Command, p.inUsage = t.text, false
	case ruleWarning:
		p.things++
		p.report.Warnings = append(p.report.Warnings, t.text)
	case ruleError:
		p.things++
		p.report.Errors = append(p.report.Errors, t.text)
	case ruleSearch, ruleSegment, ruleTensors, ruleTimer, ruleSuccess, ruleEnd, ruleFailed, ruleInternal, ruleTimeout, ruleCrash, ruleChild:
		p.compilation(t)
	case ruleUsage:
		p.inUsage = true
		if t.text != "" {
			p.fail(Usage, t.text)
		}
	case ruleInvalid:
		p.newModel()
		p.model().Input = t.text
		p.model().Failure = &Failure{Other, "Invalid model: " + t.text}
	case ruleReason:
		p.refused(t.text)
	case ruleNotAll:
		p.notAll = true
		if t.text != notAllText {
			if rest, ok := strings.CutPrefix(squeezedNotAll, squeeze(t.text)); ok { // else it is a shortened one
				p.sentence = rest
			}
		}
	case ruleSeeLog:
		p.complete = true
	case ruleTableHead:
		if len(p.report.Models) > 0 && len(p.report.Models[len(p.report.Models)-1].Operators) > 0 {
			p.newModel()
		}
		p.inTable, p.complete = true, true
	case ruleTableRow:
		p.things++
		m := p.model()
		m.Operators = append(m.Operators, Operator{t.text, int(t.n), t.status})
		p.inTable = true
		if !isStatus(t.status) {
			p.row = statusRest(t.status)
		}
	default:
		p.field(t)
	}
}

// compilation takes the lines about the process, not about a model.
func (p *parser) compilation(t token) {
	switch t.rule {
	case ruleSearch:
		p.nextAttempt(true)
		p.attempt.Step = int(t.n)
	case ruleSegment:
		if p.attempt.Ops > 0 || p.ended {
			p.nextAttempt(false)
		}
		p.attempt.Ops, p.announced, p.listed = int(t.n), true, true
	case ruleTensors:
		p.attempt.Tensors, p.listed = t.text, true
	case ruleTimer:
		if p.ended {
			p.nextAttempt(false)
		}
		p.report.TimeoutS, p.announced = t.n, true
	case ruleSuccess:
		if p.attempt.CompileMS != NotPrinted {
			p.nextAttempt(false)
		}
		p.attempt.CompileMS, p.attempt.Failure = t.n, nil
		p.attempt.Succeeded = true
		p.report.CompileMS = max(0, p.report.CompileMS) + t.n
		p.several = p.several || t.text != ""
	case ruleChild:
		p.complete = true
	case ruleEnd:
		p.complete, p.ended = true, true
		if t.n == 0 && p.attempt.Failure == nil {
			p.fail(Other, silentText)
		} else if t.n == 1 {
			p.attempt.Succeeded = true
		}
	case ruleFailed:
		p.fail(reasonKind(t.text), t.text)
	case ruleInternal:
		p.fail(Internal, t.text)
	case ruleTimeout:
		p.fail(Timeout, t.text)
	case ruleCrash:
		p.fail(Crashed, t.text)
	}
}

func reasonKind(reason string) string {
	low := strings.ToLower(reason)
	switch {
	case strings.Contains(low, "timeout"), strings.Contains(low, "timed out"):
		return Timeout
	case strings.Contains(low, "internal compiler error"):
		return Internal
	case strings.Contains(low, "not quantized"):
		return NotQuantized
	case strings.Contains(low, "could not be parsed"):
		return NotParsed
	}
	return Other
}

// fail keeps the first reason of an attempt.
func (p *parser) fail(kind, text string) {
	if p.attempt.Failure == nil {
		p.attempt.Failure = &Failure{kind, text}
		p.attempt.Succeeded = false
	}
}

// nextAttempt files the current attempt if it had begun. A new search is about
// another segment: what the one before it could not compile stays lost.
func (p *parser) nextAttempt(search bool) {
	if p.attempt.Ops > 0 || p.attempt.Step > 0 || p.attempt.CompileMS != NotPrinted || p.attempt.Failure != nil {
		p.things++
		p.source.Attempts = append(p.source.Attempts, p.attempt)
		if f := p.attempt.Failure; search && p.lost == nil && f != nil {
			p.lost = f
		}
	}
	p.attempt = newReading().attempt
	p.ended, p.announced = false, false
	p.listed = p.listed || search || len(p.source.Attempts) > 0
}

// refused takes the reason behind "Invalid model".
func (p *parser) refused(text string) {
	f := Failure{NotQuantized, text}
	if text == notParsedText {
		f.Kind = NotParsed
		for _, e := range p.report.Errors {
			if strings.HasPrefix(e, "Didn't find op for builtin opcode") {
				f = Failure{UnsupportedOpVersion, e}
			}
		}
	}
	if n := len(p.report.Models); n > 0 && p.report.Models[n-1].Failure != nil {
		copied := f
		p.report.Models[n-1].Failure = &copied
	}
	p.fail(f.Kind, f.Text)
}

// model returns the model that is being read; the first line about one begins it.
func (p *parser) model() *Model {
	if n := len(p.report.Models); n > 0 {
		return &p.report.Models[n-1]
	}
	p.newModel()
	return &p.report.Models[0]
}

func (p *parser) newModel() {
	p.things += modelThings
	p.complete = true
	p.closeModel()
	p.complete, p.notAll = false, false
	p.report.Models = append(p.report.Models, Model{Subgraphs: NotPrinted, Operations: NotPrinted, TPUOperations: NotPrinted, CPUOperations: NotPrinted})
}

// field takes a value of a model. One that the model has already is the
// beginning of another: not all texts name their models.
func (p *parser) field(t token) {
	m := p.model()
	path := func(of func(*Model) *string) {
		if *of(m) != "" || m.Failure != nil {
			p.newModel()
			m = p.model()
		}
		*of(m) = t.text
	}
	size := func(of func(*Model) **Size) {
		if *of(m) != nil || m.Failure != nil {
			p.newModel()
			m = p.model()
		}
		*of(m) = t.size
	}
	number := func(of func(*Model) *int) {
		if *of(m) != NotPrinted || m.Failure != nil {
			p.newModel()
			m = p.model()
		}
		*of(m) = int(t.n)
	}
	switch t.rule {
	case ruleInput:
		if !untouched(m) {
			p.newModel()
			m = p.model()
		}
		m.Input, m.InputSize = sizedPath(t.text)
	case ruleOutput:
		var s *Size
		t.text, s = sizedPath(t.text)
		path(func(m *Model) *string { return &m.Output })
		m.OutputSize = s
	case ruleOperationLog:
		path(func(m *Model) *string { return &m.OperationLog })
	case ruleInputSize:
		size(func(m *Model) **Size { return &m.InputSize })
	case ruleOutputSize:
		size(func(m *Model) **Size { return &m.OutputSize })
	case ruleAvailable:
		size(func(m *Model) **Size { return &m.Available })
	case ruleOnChip:
		size(func(m *Model) **Size { return &m.OnChip })
	case ruleRemaining:
		size(func(m *Model) **Size { return &m.Remaining })
	case ruleStreamed:
		size(func(m *Model) **Size { return &m.Streamed })
	case ruleSubgraphs:
		number(func(m *Model) *int { return &m.Subgraphs })
	case ruleOperations:
		number(func(m *Model) *int { return &m.Operations })
	case ruleTPUOperations:
		number(func(m *Model) *int { return &m.TPUOperations })
	case ruleCPUOperations:
		number(func(m *Model) *int { return &m.CPUOperations })
	}
}

// untouched says that nothing is known of a model yet.
func untouched(m *Model) bool {
	return m.Input == "" && m.Output == "" && m.OperationLog == "" && m.Failure == nil && len(m.Operators) == 0 &&
		m.InputSize == nil && m.OutputSize == nil && m.Available == nil && m.Remaining == nil && m.OnChip == nil && m.Streamed == nil &&
		m.Subgraphs < 0 && m.Operations < 0 && m.TPUOperations < 0 && m.CPUOperations < 0
}

// sizedPath splits "model.tflite (59.10 MiB)", a publisher's short form.
func sizedPath(s string) (string, *Size) {
	if path, in, ok := strings.Cut(strings.TrimSuffix(s, ")"), " ("); ok && strings.HasSuffix(s, ")") {
		if size, err := ParseSize(in); err == nil {
			return strings.TrimSpace(path), &size
		}
	}
	return s, nil
}

// closeModel completes the counts of the current model: two of them give the
// third, and where the compiler does not say that ops stay on the CPU, none does.
func (p *parser) closeModel() {
	if len(p.report.Models) == 0 {
		return
	}
	m := p.model()
	all, tpu, cpu := &m.Operations, &m.TPUOperations, &m.CPUOperations
	switch {
	case m.Subgraphs == 0 && *all >= 0 && *tpu <= 0 && *cpu < 0:
		*tpu, *cpu = 0, *all
	case m.Subgraphs > 0 && *all >= 0 && *tpu < 0 && *cpu < 0 && p.complete && !p.notAll:
		*tpu, *cpu = *all, 0
	case *all >= 0 && *tpu >= 0 && *cpu < 0 && *all >= *tpu:
		*cpu = *all - *tpu
	case *all >= 0 && *cpu >= 0 && *tpu < 0 && *all >= *cpu:
		*tpu = *all - *cpu
	case *tpu >= 0 && *cpu >= 0 && *all < 0:
		*all = *tpu + *cpu
	}
	if m.Subgraphs == 0 && m.Failure == nil {
		m.Failure = &Failure{ZeroSubgraphs, zeroSubgraphsText}
	}
	if len(m.Operators) > 0 && *all >= 0 {
		listed := 0
		for _, o := range m.Operators {
			listed += o.Count
		}
		if listed != *all {
			p.note(fmt.Sprintf("the operation table of %q has %d of %d operations", clip(m.Input), listed, *all))
		}
	}
}

// clip shortens a text for a sentence.
func clip(s string) string {
	const longest = 120
	if len(s) > longest {
		return strings.ToValidUTF8(s[:longest], "") + "..."
	}
	return s
}

// finish ends the invocation and decides how it came out.
func (p *parser) finish() {
	p.settle(true)
	if !p.strong {
		return
	}
	if p.sentence != "" {
		p.note("the sentence about operations on the CPU is cut")
	}
	if p.row != "" {
		p.note(fmt.Sprintf("the last row of the operation table is cut: %q", clip(p.last)))
	}
	p.closeModel()
	r := &p.report
	if p.several && len(r.Models) < 2 {
		p.note(fmt.Sprintf("several models were compiled, the text shows %d", len(r.Models)))
	}
	last := p.attempt
	if p.listed {
		p.source.Attempts = append(p.source.Attempts, last)
	}
	for i := range r.Models {
		if f := r.Models[i].Failure; r.Failure == nil && f != nil {
			r.Failure = f
		}
	}
	for _, f := range []*Failure{p.lost, last.Failure} {
		if f != nil && (r.Failure == nil || r.Failure.Kind == Other) {
			r.Failure = f
		}
	}
	if r.Failure == nil && p.isCut() {
		r.Failure = &Failure{Cut, fmt.Sprintf("the text ends before the result, with %q", clip(p.last))}
	}
	p.source.File = p.name
	p.source.Rules = map[string]int{}
	for i, n := range p.counts {
		if n > 0 {
			p.source.Rules[ruleNames[i]] = n
		}
	}
	source := p.source
	r.Source = &source
	p.done = append(p.done, *r)
	p.things += reportThings
}

// isCut says whether the text ends where more must have come.
func (p *parser) isCut() bool {
	models := p.report.Models
	if !p.attempt.Succeeded {
		if p.announced && p.attempt.CompileMS == NotPrinted && (len(models) == 0 || p.listed) {
			return true
		}
		return len(models) == 0 && p.version
	}
	if len(models) == 0 {
		return true
	}
	m := &models[len(models)-1]
	return m.Subgraphs < 0 && (p.lastRule == ruleCut || m.OnChip == nil && m.Streamed == nil)
}
