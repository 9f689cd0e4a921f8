package report

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// rule names a kind of line. The names appear in [Source.Rules].
type rule uint8

const (
	ruleNone rule = iota
	ruleVersion
	ruleTimer
	ruleInfo
	ruleError
	ruleWarning
	ruleSearch
	ruleSegment
	ruleTensors
	ruleSuccess
	ruleInput
	ruleInputSize
	ruleOutput
	ruleOutputSize
	ruleAvailable
	ruleOnChip
	ruleRemaining
	ruleStreamed
	ruleSubgraphs
	ruleOperations
	ruleOperationLog
	ruleNotAll
	ruleTPUOperations
	ruleCPUOperations
	ruleSeeLog
	ruleTableHead
	ruleTableRow
	ruleChild
	ruleEnd
	ruleInvalid
	ruleReason
	ruleFailed
	ruleInternal
	ruleTimeout
	ruleCrash
	ruleUsage
	ruleCommand
	ruleDecoration
	ruleWrapped
	ruleCut
	ruleFolded
	rules
)

var ruleNames = [rules]string{
	"", "version", "timer", "info", "error", "warning", "search", "segment", "tensors", "success",
	"input", "input_size", "output", "output_size", "available", "on_chip", "remaining", "streamed",
	"subgraphs", "operations", "operation_log", "not_all_on_tpu", "tpu_operations", "cpu_operations",
	"see_log", "table_head", "table_row", "child", "end", "invalid_model", "reason", "failed",
	"internal", "timeout", "crash", "usage", "command", "decoration", "wrapped", "cut", "folded",
}

// token is what a line says.
type token struct {
	rule   rule
	text   string // path, version, message, op
	status string // of a table row
	n      int64  // count, milliseconds, seconds
	size   *Size
}

// value says what follows a label.
type value uint8

const (
	aPath value = iota
	aSize
	aCount
	aText
)

// labels are those of the releases 1.0 to 16.0, letter for letter.
var labels = map[string]struct {
	rule  rule
	value value
}{
	"Input model":  {ruleInput, aPath},
	"Input size":   {ruleInputSize, aSize},
	"Output model": {ruleOutput, aPath},
	"Output size":  {ruleOutputSize, aSize},
	"On-chip memory available for caching model parameters":        {ruleAvailable, aSize},
	"On-chip memory used for caching model parameters":             {ruleOnChip, aSize},
	"On-chip memory remaining for caching model parameters":        {ruleRemaining, aSize},
	"Off-chip memory used for streaming uncached model parameters": {ruleStreamed, aSize},
	"Number of Edge TPU subgraphs":                                 {ruleSubgraphs, aCount},
	"Total number of operations":                                   {ruleOperations, aCount},
	"Number of operations that will run on Edge TPU":               {ruleTPUOperations, aCount},
	"Number of operations that will run on CPU":                    {ruleCPUOperations, aCount},
	"Operation log":        {ruleOperationLog, aPath},
	"Invalid model":        {ruleInvalid, aPath},
	"Intermediate tensors": {ruleTensors, aText},
	"Compilation failed":   {ruleFailed, aText},
	"ERROR":                {ruleError, aText},
	"INFO":                 {ruleInfo, aText},
	"Warning":              {ruleWarning, aText},
}

// stems are the beginnings by which a cut or wrapped line is recognised, and
// behind which decorations of the publisher may stand.
var stems = []string{
	"Edge TPU Compiler version",
	"Started a compilation timeout timer of",
	"Searching for valid delegate with step",
	"Try to compile segment with",
	"Model compiled successfully in",
	"Models compiled successfully in",
	"Input model:", "Input size:", "Output model:", "Output size:",
	"On-chip memory available for caching model parameters:",
	"On-chip memory used for caching model parameters:",
	"On-chip memory remaining for caching model parameters:",
	"Off-chip memory used for streaming uncached model parameters:",
	"Number of Edge TPU subgraphs:",
	"Total number of operations:",
	"Number of operations that will run on Edge TPU:",
	"Number of operations that will run on CPU:",
	"Operation log:",
	notAllText,
	seeLogText,
	childText,
	"Compilation succeeded!",
	silentText,
	"Compilation failed: Compilation failed due to large activation tensors in model.",
	"Compilation failed: Model failed in Tflite interpreter. Please ensure model can be loaded/run in Tflite interpreter.",
	timeoutText + ". This is usually caused by large activations.",
	internalText,
	"Invalid model:",
	notQuantizedText,
	notParsedText,
	"Intermediate tensors:",
	"Operator Count Status",
}

// continued are the rules whose text goes on in the next line if that was wrapped.
func continued(r rule) bool {
	return r == ruleError || r == ruleWarning || r == ruleFailed || r == ruleCrash
}

var squeezedStems = squeezed(stems)

// lineStarts are the beginnings of the compiler's lines, as much of them as tells them
// from other words, and statusStarts the statuses of operation tables.
var (
	lineStarts = func() *finder {
		var list []string
		for _, stem := range stems {
			if stem = stem[:min(len(stem), 18)]; strings.HasPrefix(stem, "Operator ") {
				stem = "Operator "
			}
			list = append(list, strings.TrimSuffix(stem, ":"))
		}
		return newFinder(list...)
	}()
	statusStarts = newFinder(statuses...)
)

var squeezedNotAll, squeezedChild, squeezedSeeLog = squeeze(notAllText), squeeze(childText), squeeze(seeLogText)

// isBeginning says whether a text begins a squeezed one.
func isBeginning(squeezed, s string) bool {
	_, ok := cutSqueezed(squeezed, s)
	return ok
}

// sentences are long reasons and errors that publishers wrap.
var sentences = []string{
	"Compilation failed due to large activation tensors in model.",
	"Model failed in Tflite interpreter. Please ensure model can be loaded/run in Tflite interpreter.",
	"Restored original execution plan after delegate application failure.",
	"Attempting to use a delegate that only supports static-sized tensors with a graph that has dynamic-sized tensors.",
}

var squeezedSentences, squeezedStatuses = squeezed(sentences), squeezed(statuses)

// wholeSentence returns the known sentence that the text begins.
func wholeSentence(s string) string {
	if len(s) < 20 { // several could begin so
		return s
	}
	for i, known := range squeezedSentences {
		if _, ok := cutSqueezed(known, s); ok {
			return sentences[i]
		}
	}
	return s
}

// statuses are the texts of the third column; a publisher's table is
// recognised by them, and a wrapped one is put together again.
var statuses = []string{
	"Mapped to Edge TPU",
	"More than one subgraph is not supported",
	"Operation is otherwise supported, but not mapped due to some unspecified limitation",
	"Operation is working on an unsupported data type",
	"Operation not supported",
	"Operation version not supported",
	"Tensor has unsupported rank (up to 3 innermost dimensions mapped)",
	"Filter, bias, or other param is not constant at compile-time",
	"Only Strided-Slice with unitary strides supported",
}

func hasSuffixFold(s, end string) bool {
	return len(s) >= len(end) && strings.EqualFold(s[len(s)-len(end):], end)
}

// squeeze drops the blanks of a text: where a long line was wrapped, nobody
// knows whether one stood there.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}

// cutSqueezed is strings.CutPrefix of a squeezed text and the text that
// squeeze makes of a prefix.
func cutSqueezed(squeezed, prefix string) (rest string, ok bool) {
	for _, r := range prefix {
		if unicode.IsSpace(r) {
			continue
		}
		first, n := utf8.DecodeRuneInString(squeezed)
		if first != r || n == 0 {
			return "", false
		}
		squeezed = squeezed[n:]
	}
	return squeezed, true
}

// squeezedAway cuts a squeezed text off the beginning of another one, whatever
// its blanks.
func squeezedAway(s, squeezed string) (rest string, ok bool) {
	for i, r := range s {
		if squeezed == "" {
			return s[i:], true
		}
		if unicode.IsSpace(r) {
			continue
		}
		first, n := utf8.DecodeRuneInString(squeezed)
		if first != r {
			return "", false
		}
		squeezed = squeezed[n:]
	}
	return "", squeezed == ""
}

func squeezed(list []string) []string {
	all := make([]string, len(list))
	for i, s := range list {
		all[i] = squeeze(s)
	}
	return all
}

// exact recognises a line as a release prints it.
func exact(s string) (token, bool) {
	if i := strings.IndexByte(s, ':'); i >= 0 {
		if l, ok := labels[s[:i]]; ok {
			return labelled(l.rule, l.value, strings.TrimSpace(s[i+1:]))
		}
	}
	if s == "" {
		return token{}, false
	}
	switch s[0] {
	case 'C':
		switch s {
		case "Compilation succeeded!":
			return token{rule: ruleEnd, n: 1}, true
		case silentText:
			return token{rule: ruleEnd}, true
		case childText:
			return token{rule: ruleChild}, true
		}
		if strings.HasPrefix(s, timeoutText) {
			return token{rule: ruleTimeout, text: s}, true
		}
		if rest, ok := strings.CutPrefix(s, "Compilation child process "); ok && strings.Contains(rest, "time") && !isBeginning(squeezedChild, s) {
			return token{rule: ruleTimeout, text: s}, true
		}
	case 'E':
		if rest, ok := strings.CutPrefix(s, "Edge TPU Compiler version "); ok && isVersion(rest) {
			return token{rule: ruleVersion, text: strings.TrimSpace(rest)}, true
		}
	case 'I':
		if s == internalText {
			return token{rule: ruleInternal, text: s}, true
		}
	case 'M':
		if rest, ok := strings.CutPrefix(s, "Model compiled successfully in "); ok {
			return numbered(ruleSuccess, rest, "ms", 0)
		}
		if rest, ok := strings.CutPrefix(s, "Models compiled successfully in "); ok {
			return numbered(ruleSuccess, rest, "ms", 1)
		}
		if s == notQuantizedText || s == notParsedText {
			return token{rule: ruleReason, text: s}, true
		}
	case 'O':
		if strings.HasPrefix(s, "Operator") {
			if f := strings.Fields(s); len(f) == 3 && strings.EqualFold(f[1], "Count") && strings.EqualFold(f[2], "Status") {
				return token{rule: ruleTableHead}, true
			}
		}
	case 'S':
		if s == seeLogText {
			return token{rule: ruleSeeLog}, true
		}
		if rest, ok := strings.CutPrefix(s, "Started a compilation timeout timer of "); ok {
			return numbered(ruleTimer, rest, "seconds", 0)
		}
		if rest, ok := strings.CutPrefix(s, "Searching for valid delegate with step "); ok {
			return numbered(ruleSearch, rest, "", 0)
		}
	case 'T':
		if rest, ok := strings.CutPrefix(s, "Try to compile segment with "); ok {
			return numbered(ruleSegment, rest, "ops", 0)
		}
	case 'U':
		if s == "Usage:" {
			return token{rule: ruleUsage, text: s}, true
		}
	}
	return token{}, false
}

// numbered reads "2988 ms." for the unit "ms".
func numbered(r rule, s, unit string, many int) (token, bool) {
	s = strings.TrimSuffix(strings.TrimSpace(s), ".")
	if unit != "" {
		var ok bool
		if s, ok = strings.CutSuffix(s, unit); !ok {
			return token{}, false
		}
	}
	n, ok := whole(strings.TrimSpace(s))
	t := token{rule: r, n: n}
	if many > 0 {
		t.text = "s"
	}
	return t, ok
}

// whole reads a number without a sign that fits an int everywhere.
func whole(s string) (int64, bool) {
	if s == "" || len(s) > len("2147483647") || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 32)
	return n, err == nil
}

func isVersion(s string) bool {
	s = strings.TrimSpace(s)
	return s != "" && strings.Trim(s, "0123456789.") == "" && s[0] != '.' && s[len(s)-1] != '.'
}

// labelled reads the value behind a label. A label without a value is no line
// of its own: it may be wrapped or cut.
func labelled(r rule, v value, s string) (token, bool) {
	t := token{rule: r}
	switch v {
	case aPath:
		t.text = s
		return t, s != ""
	case aText:
		t.text = s
		return t, s != "" || r != ruleFailed && r != ruleTensors
	case aSize:
		if t.size = printedSize(withoutRemark(s)); t.size == nil {
			return t, false
		}
	case aCount:
		var ok bool
		if t.n, ok = whole(withoutRemark(s)); !ok {
			return t, false
		}
	}
	return t, true
}

// printedSize reads a size, nil if it is none. It may have a decimal comma, or
// capital and small letters that the compiler does not use.
func printedSize(s string) *Size {
	size, wrong := parseSize(s)
	if wrong != "" {
		if len(s) == 0 || len(s) > maxSize || s[0] < '0' || s[0] > '9' {
			return nil
		}
		if size, wrong = parseSize(asPrinted(s)); wrong != "" {
			return nil
		}
		size.Text = s
	}
	kept := size // only what is one goes to the heap
	return &kept
}

const maxSize = 32 // bytes of a printed size, at most

// asPrinted is a size as the compiler would print it.
func asPrinted(s string) string {
	digits := strings.TrimRightFunc(s, isLetter)
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if strings.EqualFold(s[len(digits):], unit) {
			s = digits + unit
		}
	}
	// Two decimals, or it would be a thousand.
	if i := strings.IndexByte(digits, ','); i > 0 && len(strings.TrimSpace(digits))-i == len(",00") && !strings.Contains(digits, ".") {
		s = s[:i] + "." + s[i+1:]
	}
	return s
}

// withoutRemark drops what a publisher wrote behind a value.
func withoutRemark(s string) string {
	for _, mark := range []string{" (", " #", " <-", " //"} {
		if i := strings.Index(s, mark); i > 0 {
			s = s[:i]
		}
	}
	return strings.TrimSpace(s)
}

// row recognises a line of the operation table. Outside a table only a known
// status makes a line a row of one.
func row(s string, inTable bool) (token, bool) {
	name, rest := field(s)
	digits, status := field(rest)
	n, ok := whole(digits)
	if !ok && len(name) > 31 { // "%-31s%-11d" leaves no blank behind a long name
		digits = name[len(strings.TrimRight(name, "0123456789")):]
		name, status = strings.TrimSuffix(name, digits), rest
		n, ok = whole(digits)
	}
	if !ok || status == "" || !isOp(name) {
		return token{}, false
	}
	status = knownStatus(status)
	if !isStatus(status) && !(inTable && (strings.ToUpper(name) == name || statusRest(status) != "")) {
		return token{}, false
	}
	return token{rule: ruleTableRow, text: name, n: n, status: status}, true
}

// lastWord is where the last word of a text begins.
func lastWord(s string) int { return strings.LastIndexAny(s, " \t") + 1 }

// finder looks for several texts at once.
type finder struct{ byFirst [256][]string }

func newFinder(texts ...string) *finder {
	f := &finder{}
	for _, t := range texts {
		f.byFirst[t[0]] = append(f.byFirst[t[0]], t)
	}
	return f
}

// find returns the first place from a byte on where one of the texts stands,
// and that text; -1 if there is none.
func (f *finder) find(s string, from int) (int, string) {
	for i := from; i < len(s); i++ {
		for _, t := range f.byFirst[s[i]] {
			if strings.HasPrefix(s[i:], t) {
				return i, t
			}
		}
	}
	return -1, ""
}

// isOp says whether a word can be the name of an op; custom ops have any letters.
func isOp(name string) bool {
	return name != "" && isLetter(rune(name[0])) && !strings.ContainsAny(name, "\"'`|,;()")
}

func isLetter(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' }

// field cuts the first word off.
func field(s string) (word, rest string) {
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.TrimLeft(s[i:], " \t")
	}
	return s, ""
}

// knownStatus returns a status as the compiler writes it.
func knownStatus(s string) string {
	for _, known := range statuses {
		if len(s) == len(known) && strings.EqualFold(s, known) {
			return known
		}
	}
	return s
}

func isStatus(s string) bool { return slices.Contains(statuses, s) }

// statusRest is what is missing of a status that was cut or wrapped, squeezed;
// empty if it is complete or of no known kind.
func statusRest(s string) string {
	for _, known := range squeezedStatuses {
		if rest, ok := cutSqueezed(known, s); ok {
			return rest
		}
	}
	return ""
}

// wholeStatus returns the known status that the text begins.
func wholeStatus(s string) string {
	for i, known := range squeezedStatuses {
		if _, ok := cutSqueezed(known, s); ok {
			return statuses[i]
		}
	}
	return s
}

// crashSigns are what a shell or the C library says about a process that died.
var crashSigns = newFinder("Segmentation fault", "core dumped", "Bus error", "Illegal instruction", "terminate called ", "*** stack smashing", "*** SIG", "Check failed: ", "Killed", "Aborted")

// crash recognises the end of a process. One word alone is not enough, unless
// it is all there is or the compiler is named.
func crash(s string) bool {
	i, sign := crashSigns.find(s, 0)
	return i >= 0 && (sign != "Killed" && sign != "Aborted" || s == sign || strings.Contains(s, "edgetpu_compiler"))
}

// command recognises a command line at a prompt and returns it without.
func command(s string) (string, bool) {
	i := strings.Index(s, "edgetpu_compiler ")
	if i < 0 {
		return "", false
	}
	args := s[i+len("edgetpu_compiler "):]
	if !strings.Contains(args, ".tflite") && !strings.HasPrefix(strings.TrimSpace(args), "-") || strings.HasPrefix(args, "[") {
		return "", false
	}
	if p := strings.LastIndexAny(s[:i], "$#%>!"); p >= 0 {
		return strings.TrimSpace(s[p+1:]), true
	}
	first, _ := field(s)
	switch first {
	case "edgetpu_compiler", "sudo", "docker", "time", "podman":
		return s, true
	}
	return "", false
}

// loose recognises what publishers made of the compiler's lines: other
// separators, shortened labels, everything inside quotes.
func loose(s string) (token, bool) {
	for _, sep := range []byte{':', '|', '=', '\t'} {
		i := strings.IndexByte(s, sep)
		if i <= 0 || i > 80 {
			continue
		}
		label := strings.Trim(s[:i], " \t*_`\"'")
		text := strings.TrimSpace(strings.Trim(strings.TrimSpace(s[i+1:]), "*_`\"'|"))
		if l, ok := labels[label]; ok {
			return labelled(l.rule, l.value, text)
		}
		if r, v := shortLabel(label); r != ruleNone {
			if t, ok := labelled(r, v, text); ok {
				return t, true
			}
		}
	}
	if cells := strings.Trim(s, "| \t"); strings.Count(cells, "|") == 2 && len(cells) <= maxRow {
		op, rest, _ := strings.Cut(cells, "|")
		count, status, _ := strings.Cut(rest, "|")
		op, count, status = strings.TrimSpace(op), strings.TrimSpace(count), strings.TrimSpace(status)
		if strings.EqualFold(op, "Operator") && strings.EqualFold(count, "Count") && strings.EqualFold(status, "Status") {
			return token{rule: ruleTableHead}, true
		}
		n, ok := whole(count)
		status = knownStatus(status)
		return token{rule: ruleTableRow, text: op, n: n, status: status}, ok && isOp(op) && isStatus(status)
	}
	if s[0] != notAllText[0] && s[0] != seeLogText[0] || len(s) < 40 {
		return token{}, false
	}
	if _, ok := squeezedAway(s, squeezedNotAll[:40]); ok {
		return token{rule: ruleNotAll, text: s}, true
	}
	if rest, ok := cutSqueezed(squeezedSeeLog, s); ok && rest == "" {
		return token{rule: ruleSeeLog}, true
	}
	return token{}, false
}

// maxRow is more than a row of an operation table has.
const maxRow = 200

// labelWords are in every label of a figure.
var labelWords = []string{"size", "chip", "stream", "cach", "subgraph", "operation"}

// shortLabel guesses a label that was shortened, in small or capital letters;
// its value has to prove it.
func shortLabel(l string) (rule, value) {
	has := func(words ...string) bool { return hasFold(l, words) }
	is := func(label string) bool { return strings.EqualFold(l, label) }
	if len(l) > 80 || !has(labelWords...) {
		return ruleNone, 0
	}
	switch {
	case is("input size"), is("input model size"):
		return ruleInputSize, aSize
	case is("output size"), is("output model size"):
		return ruleOutputSize, aSize
	case has("off-chip", "off chip", "streaming", "streamed"):
		return ruleStreamed, aSize
	case has("on-chip", "on chip", "caching"):
		switch {
		case has("remaining"):
			return ruleRemaining, aSize
		case has("available"):
			return ruleAvailable, aSize
		case has("used"):
			return ruleOnChip, aSize
		}
	case has("subgraphs"):
		return ruleSubgraphs, aCount
	case has("operations"):
		switch {
		case has("cpu"):
			return ruleCPUOperations, aCount
		case has("tpu"):
			return ruleTPUOperations, aCount
		case has("total", "number"):
			return ruleOperations, aCount
		}
	}
	return ruleNone, 0
}

// hasFold says whether a text has one of some words in small or capital letters.
func hasFold(s string, words []string) bool {
	for i := range len(s) {
		for _, w := range words {
			if s[i]|0x20 == w[0] && len(s)-i >= len(w) && strings.EqualFold(s[i:i+len(w)], w) {
				return true
			}
		}
	}
	return false
}

// undecorated drops what publishers put around a whole line: quote marks,
// bars, bullets, and the quoting of a notebook file.
func undecorated(s string) string {
	s = strings.TrimSuffix(s, ",")
	s = strings.TrimSuffix(strings.TrimRight(s, "\"'"), `\n`)
	s = strings.TrimLeft(s, " \t\u00a0>|\"'`*“”‘’«»•")
	return strings.TrimRight(s, " \t\u00a0|\"'`*“”‘’«»\\")
}

// behindPrefix splits a line before the first known beginning, if what stands
// in front of it can be a prompt, a time stamp or a label of the program that
// ran the compiler.
func behindPrefix(s string) (prefix, rest string, ok bool) {
	at, _ := lineStarts.find(s, 1)
	if at < 0 {
		if i, _ := statusStarts.find(s, 1); i > 0 {
			// The op and its count stand before the status.
			before := strings.TrimRight(s[:i], " \t")
			before = strings.TrimRight(before[:lastWord(before)], " \t")
			at = lastWord(before)
		}
	}
	if at <= 0 || at > 80 {
		return "", "", false
	}
	prefix = strings.TrimSpace(s[:at])
	return prefix, s[at:], prefixes(prefix)
}

// begins says whether a text can be the beginning of a line of the compiler.
func begins(s string, inTable bool) bool {
	if s == "" {
		return false
	}
	for _, stem := range squeezedStems {
		if stem[0] != s[0] {
			continue
		}
		if _, ok := cutSqueezed(stem, s); ok {
			return true
		}
		// The label is complete and its value is missing or cut: "6.9", "16.".
		if rest, ok := squeezedAway(s, stem); ok {
			rest = strings.TrimSpace(rest)
			switch unit := strings.TrimLeft(rest, "0123456789."); stem[len(stem)-1] {
			case ':':
				return strings.Trim(unit, "KMi \t") == ""
			case '.', '!':
			default:
				unit = strings.TrimSpace(unit)
				return unit == "" || len(unit) < len(rest) && (strings.HasPrefix("seconds.", unit) || strings.HasPrefix("ms.", unit) || strings.HasPrefix("ops", unit))
			}
		}
	}
	if i := strings.IndexAny(s, ":|="); i > 0 { // a shortened label whose value is wrapped
		if _, v := shortLabel(s[:i]); v == aSize {
			value := strings.TrimSpace(s[i+1:])
			return strings.Trim(strings.TrimLeft(value, "0123456789."), "KMi ") == ""
		}
	}
	if inTable { // an op, perhaps its count
		name, rest := field(s)
		_, number := whole(rest)
		return strings.ToUpper(name) == name && isOp(name) && (rest == "" || number)
	}
	return false
}
