package report

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// ErrNoOutput is the error of a text in which nothing was printed by edgetpu_compiler.
var ErrNoOutput = errors.New("no output of edgetpu_compiler in it")

const (
	maxLine    = 64 << 10 // bytes of a line that are read; the compiler's longest, a list of tensors, has some thousands
	maxUnknown = 4 << 10  // bytes of an unknown line that are kept

	// What is made of a text takes no more memory than the text, beyond what is
	// free, so that a wrong file does not fill the memory. With the text itself
	// and the buffers that is twice the text and a megabyte. Of real logs one
	// behind the other, the shortest there are, it takes 1.1 times the text.
	freeBytes = 880_000
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
	head, _ := in.Peek(512)
	free, share := freeBytes, 1
	if order, ok := utf16Order(head); ok { // what PowerShell writes
		free, share = free-maxLine, 3 // it may take half as much again in UTF-8
		in = bufio.NewReaderSize(&utf16Reader{in: in, order: order}, maxLine)
		head, _ = in.Peek(512)
	}
	if bytes.IndexByte(head, 0) >= 0 {
		return nil, fmt.Errorf("%s: %w: this is no text", p.name, ErrNoOutput)
	} else if bytes.HasPrefix(head, []byte("\ufeff")) {
		in.Discard(len("\ufeff")) //nolint:errcheck // they were peeked at
	}
	size := 0
	for number := 1; ; number++ {
		line, err := in.ReadSlice('\n')
		text := string(bytes.TrimSpace(line))
		size += len(line)
		p.spent += 4 // memory comes in pieces
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = in.ReadSlice('\n')
			size += len(line)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		p.limit = free + size/share
		if text != "" {
			p.physical(Line{number, text})
		}
		if long {
			p.note("line %d has more than %d bytes: the rest was not read", number, maxLine)
		}
		if p.spent > p.limit {
			return nil, fmt.Errorf("%s:%d: too many models, table rows or lines that are not edgetpu_compiler's: not the log of a build", p.name, number)
		}
		if err != nil {
			break
		}
	}
	p.finish()
	if p.done.n == 0 {
		return nil, fmt.Errorf("%s: %w", p.name, ErrNoOutput)
	}
	return p.done.all(), nil
}

type parser struct {
	name  string
	done  chunks[Report]
	spent int                    // bytes of memory, see freeBytes
	limit int                    // how many may be
	trace func(line int, r rule) // of tests: which rule took a line, ruleNone for unknown ones

	reading
}

// reading is the state of the invocation that is being read.
type reading struct {
	report  Report
	source  Source
	strong  bool // some line can only be the compiler's
	version bool

	attempt   Attempt // the current one
	announced bool    // "Started", "Try": a result has to follow
	ended     bool    // its last line was read
	listed    bool    // it belongs into Source.Attempts
	lost      *Failure
	last      string // last line that was understood
	lastRule  rule

	foreign    chunks[Line] // unknown lines
	lastNumber int
	other      bool // the last line was unknown

	prefix   string // what stands before the lines, see shape
	inTable  bool
	inUsage  bool
	sentence string  // what is missing of a long sentence, squeezed
	inRow    bool    // something of the status of the last table row is missing
	wrapped  *string // where the sentence is kept, nil if it is not
	partial  []line  // lines that may be the beginning of a wrapped one
	complete bool    // the counts of the current model have all been printed
	notAll   bool    // some of its ops stay on the CPU
	several  bool    // "Models compiled"
}

func newReading() reading {
	return reading{report: Report{CompileMS: NotPrinted}, attempt: Attempt{CompileMS: NotPrinted}}
}

// line is a line of a text on its way through the rules.
type line struct {
	Line
	body   string // the text without what stands before every line
	folded bool   // it is one of several in a line of the file, which is counted as a whole
}

// physical takes a line of the file that is not blank. It may hold several of
// the compiler's, and is counted as a whole then.
func (p *parser) physical(l Line) {
	parts, folded := unfold(l.Text)
	if !folded {
		p.line(line{Line: l}, l.Text)
		return
	}
	p.spent += 2 * len(l.Text) // for what is unescaped
	n, other := 0, 0
	for part := range parts {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		n++
		p.line(line{Line: Line{l.Number, part}, folded: true}, part)
		if p.other {
			other++
		}
	}
	p.settle(true)
	p.count(l, ruleFolded)
	if other > 0 {
		p.note("%d of %d lines in line %d are not the compiler's", other, n, l.Number)
	}
}

// line takes one line that is not blank.
func (p *parser) line(l line, text string) {
	body := clean(text)
	if len(body) < len(text) {
		p.spent += len(body)
	}
	l.body, p.other = p.unprefixed(body), false
	if l.body == "" { // a blank line with a prefix, or a tag alone
		p.take(l, ruleDecoration)
		return
	}
	if p.continues(l) {
		return
	}
	if p.joins(l) {
		return
	}
	t, ok := p.recognise(l.body)
	p.settle(ok && (p.another(t) || t.rule == ruleDecoration))
	if ok {
		p.apply(l, t)
		return
	}
	if begins(l.body, p.inTable) || p.beginsLogFile(l.body) {
		p.partial = append(p.partial, l)
		return
	}
	if p.completesPath(l) {
		p.take(l, ruleWrapped)
		return
	}
	if p.goesOn(l) {
		r := p.lastRule
		p.take(l, ruleWrapped)
		p.lastRule = r
		return
	}
	if p.lastRule == ruleTensors && len(p.attempt.Tensors) < maxLine && !strings.ContainsAny(l.body, " \t") && strings.ContainsAny(l.body, ",/;:") {
		p.extend(&p.attempt.Tensors, l.body)
		p.take(l, ruleWrapped)
		p.lastRule = ruleTensors
		return
	}
	p.unknown(l)
}

// continues takes a line that is the rest of the long sentence or of a status before it.
func (p *parser) continues(l line) bool {
	if p.sentence == "" && !p.inRow {
		return false
	}
	text := undecorated(l.body)
	if rest, ok := cutSqueezed(p.sentence, text); ok && text != "" {
		if p.sentence = rest; rest == "" && p.wrapped != nil {
			*p.wrapped = wholeSentence(*p.wrapped)
		}
		p.take(l, ruleWrapped)
		return true
	}
	if p.inRow && text != "" && len(text) <= maxRow {
		ops := p.model().Operators
		status := &ops[len(ops)-1].Status
		if longer := *status + " " + undecorated(l.body); wholeStatus(longer) != longer || isStatus(longer) {
			*status = longer
			if p.inRow = statusRest(longer) != ""; !p.inRow {
				*status = wholeStatus(longer)
			}
			p.take(l, ruleWrapped)
			return true
		}
	}
	return false
}

// goesOn appends a line to the message in the line before it, if it looks
// like the rest of one.
func (p *parser) goesOn(l line) bool {
	if p.wrapped == nil || !continued(p.lastRule) || l.Number != p.lastNumber+1 || l.body[0] < 'a' || l.body[0] > 'z' ||
		strings.ContainsRune(".!?", rune(p.last[len(p.last)-1])) || len(*p.wrapped) > maxUnknown {
		return false
	}
	p.extend(p.wrapped, " "+l.body)
	return true
}

// completesPath appends a line to the path before it, if that was wrapped: it
// has no extension yet and has one then.
func (p *parser) completesPath(l line) bool {
	text := l.body
	if len(p.report.Models) == 0 || l.Number != p.lastNumber+1 || strings.ContainsAny(text, " \t") {
		return false
	}
	m, end := p.model(), ".tflite"
	path := &m.Input
	switch p.lastRule {
	case ruleInput:
	case ruleOutput:
		path = &m.Output
	case ruleOperationLog:
		path, end = &m.OperationLog, ".log"
	default:
		return false
	}
	if strings.HasSuffix(*path, end) || !strings.HasSuffix(*path+text, end) {
		return false
	}
	p.extend(path, text)
	return true
}

// joins takes a line that completes the ones before it.
func (p *parser) joins(l line) bool {
	const longest = 2048 // of what completes a line; the compiler's sentence has 300
	if len(p.partial) == 0 || len(l.body) > longest {
		return false
	}
	p.spent += 512
	start := ""
	for i, part := range p.partial {
		if i > 0 {
			start += " "
		}
		start += part.body
	}
	t, ok := p.joined(start, l.body)
	if ok {
		for _, part := range p.partial {
			p.take(part, ruleWrapped)
		}
		p.partial = nil
		p.apply(l, t)
		return true
	}
	if len(start) < 512 && len(p.partial) < 8 && (begins(start+" "+l.body, false) || p.beginsLogFile(start+l.body)) {
		p.partial = append(p.partial, l)
		return true
	}
	return false
}

// joined recognises a line that was wrapped between start and rest. Nobody
// knows whether a blank stood there.
func (p *parser) joined(start, rest string) (token, bool) {
	for _, s := range []string{start + " " + rest, start + rest} {
		if t, ok := exact(s); ok {
			return t, true
		}
		if t, ok := row(s, p.inTable); ok && (isStatus(t.status) || statusRest(t.status) != "") {
			return t, true
		}
	}
	if !strings.ContainsAny(start, ":|=") {
		return token{}, false
	}
	// The label is complete, so that a value was wrapped.
	if t, ok := p.ofLogFile(start + rest); ok {
		return t, true
	}
	return loose(start + rest)
}

// settle decides about lines that nothing completed: they are cut, if they are
// long enough to be sure or if nothing follows them.
func (p *parser) settle(end bool) {
	for i, l := range p.partial {
		switch {
		case i > 0 && p.lastRule == ruleCut:
			p.take(l, ruleWrapped)
			p.lastRule = ruleCut
		case i == 0 && (end || p.inTable || len(squeeze(l.body)) >= 8):
			p.take(l, ruleCut)
			if strings.HasPrefix(l.body, "See the ") || strings.HasPrefix(l.body, "Compilation ") {
				p.complete = true // they stand behind the counts
			}
			p.note("line %d is cut: %q", l.Number, clip(l.body))
		default:
			p.unknown(l)
		}
	}
	p.partial = nil
}

func (p *parser) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.spent += 64 + 2*len(text)
	keep(p, &p.source.Notes, text)
}

// keep appends to a list of the report. The list grows by doubling, whose cost
// is counted; one that would cost too much does not grow, and the text is given up.
func keep[T any](p *parser, list *[]T, x T) {
	const few = 64
	if n := cap(*list); len(*list) == n {
		cost := max(1, 2*n) * int(reflect.TypeFor[T]().Size())
		if p.spent += cost; n >= few && p.spent > p.limit {
			return
		}
		grown := make([]T, n, max(1, 2*n))
		copy(grown, *list)
		*list = grown
	}
	*list = append(*list, x)
}

// chunks are things of which there may be many: put together once at the end
// they take less memory than a list that grows.
type chunks[T any] struct {
	full [][]T
	last []T
	n    int
}

const chunkLen = 64

func (c *chunks[T]) add(p *parser, x T) {
	size := int(reflect.TypeFor[T]().Size())
	if len(c.last) >= chunkLen && len(c.last) == cap(c.last) {
		keep(p, &c.full, c.last)
		c.last = make([]T, 0, chunkLen)
		p.spent += chunkLen * size
	}
	keep(p, &c.last, x)
	c.n++
	p.spent += size // in the list of all
}

// all is everything that was added, nil if nothing was.
func (c *chunks[T]) all() []T {
	if len(c.full) == 0 {
		return c.last
	}
	list := make([]T, 0, c.n)
	for _, chunk := range append(c.full, c.last) {
		list = append(list, chunk...)
	}
	return list
}

// extend appends to a text of the report.
func (p *parser) extend(text *string, more string) {
	*text += more
	p.spent += len(*text)
}

// recognise finds the rule of a line, from the compiler's own form to what
// publishers make of it.
func (p *parser) recognise(s string) (token, bool) {
	if t, ok := p.plain(s); ok {
		return t, true
	}
	u := undecorated(s)
	if u == "" || strings.IndexFunc(u, func(r rune) bool { return isLetter(r) || r > 0x7f || r >= '0' && r <= '9' }) < 0 || strings.HasPrefix(s, "```") || isPrompt(u) {
		return token{rule: ruleDecoration}, true
	}
	if u != s {
		if t, ok := p.plain(u); ok {
			p.learn(s, u)
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
	if _, rest, ok := behindPrefix(u); ok {
		t, ok := p.plain(rest)
		if !ok {
			t, ok = loose(rest)
		}
		if ok {
			p.learn(s, rest)
		}
		return t, ok
	}
	if c := canonical(u); c != u {
		p.spent += len(c)
		return p.plain(c)
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
	return p.ofLogFile(s)
}

// beginsLogFile says whether a text can be the beginning of such a line.
func (p *parser) beginsLogFile(s string) bool {
	label, path, ok := strings.Cut(s, ":")
	if !ok || len(label) > len("Output ") {
		return false
	}
	_, ok = p.ofLogFile(label + ":x.tflite")
	return ok && !strings.ContainsAny(strings.TrimSpace(path), " \t")
}

// ofLogFile recognises how an operation log file names its models, without
// more than "Input" and "Output".
func (p *parser) ofLogFile(s string) (token, bool) {
	if !p.version || p.report.CompileMS != NotPrinted || !hasSuffixFold(s, ".tflite") {
		return token{}, false
	}
	label, path, _ := strings.Cut(s, ":")
	t := token{text: strings.TrimSpace(path)}
	switch label = strings.TrimSpace(label); {
	case strings.EqualFold(label, "Input"):
		t.rule = ruleInput
	case strings.EqualFold(label, "Output"):
		t.rule = ruleOutput
	default:
		return token{}, false
	}
	return t, true
}

// count notes that a rule took a line of the file.
func (p *parser) count(l Line, r rule) {
	p.source.counts[r]++
	if p.trace != nil {
		p.trace(l.Number, r)
	}
}

func (p *parser) take(l line, r rule) {
	if !l.folded {
		p.count(l.Line, r)
	}
	if r == ruleDecoration { // it says nothing, so what was said before is still the last
		return
	}
	p.last, p.lastRule, p.lastNumber = p.unprefixed(l.body), r, l.Number
	switch r {
	case ruleError, ruleInfo, ruleWarning, ruleDecoration, ruleUsage, ruleWrapped, ruleCut: // not the compiler's alone
	case ruleCrash:
		p.strong = p.strong || strings.Contains(l.Text, "edgetpu_compiler")
	default:
		p.strong = true
	}
}

func (p *parser) unknown(l line) {
	if p.other = true; l.folded {
		return
	}
	if len(l.Text) > maxUnknown {
		l.Text = strings.ToValidUTF8(l.Text[:maxUnknown], "") + "..."
		p.spent += 2 * maxUnknown
	}
	p.foreign.add(p, l.Line)
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
func (p *parser) apply(l line, t token) {
	if t.rule == ruleDecoration {
		p.take(l, t.rule)
		return
	}
	if p.another(t) {
		p.finish()
		prefix := p.prefix
		p.reading = newReading()
		p.prefix = prefix
	} else if !p.strong && t.rule != ruleError && t.rule != ruleWarning {
		p.attempt = newReading().attempt // what another program said before
	}
	p.sentence, p.inRow, p.wrapped = "", false, nil
	switch t.rule {
	case ruleTableHead, ruleTableRow:
	default:
		p.inTable = false
	}
	p.take(l, t.rule)
	switch t.rule {
	case ruleInfo: // nothing of the report
	case ruleVersion:
		p.version, p.report.Compiler, p.inUsage = true, t.text, false
	case ruleCommand:
		p.source.Command, p.inUsage = t.text, false
	case ruleWarning:
		keep(p, &p.report.Warnings, t.text)
		p.wrapped = &p.report.Warnings[len(p.report.Warnings)-1]
	case ruleError:
		keep(p, &p.report.Errors, t.text)
		p.expect(&p.report.Errors[len(p.report.Errors)-1])
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
			p.sentence, _ = cutSqueezed(squeezedNotAll, t.text) // nothing of a shortened one
		}
	case ruleSeeLog:
		p.complete = true
	case ruleTableHead:
		if len(p.report.Models) > 0 && len(p.report.Models[len(p.report.Models)-1].Operators) > 0 {
			p.newModel()
		}
		p.inTable, p.complete = true, true
	case ruleTableRow:
		m := p.model()
		keep(p, &m.Operators, Operator{t.text, int(t.n), t.status})
		p.inTable = true
		if !isStatus(t.status) {
			p.inRow = statusRest(t.status) != ""
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
		kind := reasonKind(t.text)
		if e := p.tooNew(); e != "" && kind == Other {
			p.fail(UnsupportedOpVersion, e) // the reason is that the interpreter failed
			return
		}
		p.fail(kind, t.text)
		p.expect(&p.attempt.Failure.Text)
	case ruleInternal:
		p.fail(Internal, t.text)
	case ruleTimeout:
		p.fail(Timeout, t.text)
	case ruleCrash:
		p.fail(Crashed, t.text)
		p.expect(&p.attempt.Failure.Text)
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
		p.spent += int(reflect.TypeFor[Failure]().Size())
		p.attempt.Succeeded = false
	}
}

// expect prepares for the rest of a known sentence that was wrapped.
func (p *parser) expect(text *string) {
	p.wrapped = text
	if whole := wholeSentence(*text); whole != *text {
		p.sentence, _ = cutSqueezed(squeeze(whole), *text)
	}
}

// nextAttempt files the current attempt if it had begun. A new search is about
// another segment: what the one before it could not compile stays lost.
func (p *parser) nextAttempt(search bool) {
	if p.attempt.Ops > 0 || p.attempt.Step > 0 || p.attempt.CompileMS != NotPrinted || p.attempt.Failure != nil {
		keep(p, &p.source.Attempts, p.attempt)
		if f := p.attempt.Failure; search && p.lost == nil && f != nil {
			p.lost = f
		}
	}
	p.attempt = newReading().attempt
	p.ended, p.announced = false, false
	p.listed = p.listed || search || len(p.source.Attempts) > 0
}

// tooNew is the error of TensorFlow Lite about an op that is newer than it, "" if
// there is none.
func (p *parser) tooNew() (found string) {
	for _, e := range p.report.Errors {
		if strings.HasPrefix(e, "Didn't find op for builtin opcode") || strings.HasPrefix(e, "Op builtin_code out of range") {
			found = e
		}
	}
	return found
}

// refused takes the reason behind "Invalid model".
func (p *parser) refused(text string) {
	f := Failure{NotQuantized, text}
	if text == notParsedText {
		f.Kind = NotParsed
		if e := p.tooNew(); e != "" {
			f = Failure{UnsupportedOpVersion, e}
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
	p.complete = true
	p.closeModel()
	p.complete, p.notAll = false, false
	keep(p, &p.report.Models, Model{Subgraphs: NotPrinted, Operations: NotPrinted, TPUOperations: NotPrinted, CPUOperations: NotPrinted})
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
		p.spent += int(reflect.TypeFor[Size]().Size())
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
		if size := printedSize(in); size != nil {
			return strings.TrimSpace(path), size
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
			p.note("the operation table of %q has %d of %d operations", clip(m.Input), listed, *all)
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
	if p.sentence != "" && p.wrapped == nil {
		p.note("the sentence about operations on the CPU is cut")
	}
	if p.inRow {
		p.note("the last row of the operation table is cut: %q", clip(p.last))
	}
	p.closeModel()
	r := &p.report
	if p.several && len(r.Models) < 2 {
		p.note("several models were compiled, the text shows %d", len(r.Models))
	}
	last := p.attempt
	if p.listed {
		keep(p, &p.source.Attempts, last)
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
		p.spent += 128 + 2*len(r.Failure.Text)
	}
	p.source.File = p.name
	p.source.Unknown = p.foreign.all()
	source := p.source
	r.Source = &source
	p.spent += int(reflect.TypeFor[Source]().Size())
	p.done.add(p, *r)
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
