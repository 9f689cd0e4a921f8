package report

import (
	"strconv"
	"strings"
)

// rule names a kind of line. The names appear in Source.Rules.
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
	rules
)

var ruleNames = [rules]string{
	"", "version", "timer", "info", "error", "warning", "search", "segment", "tensors", "success",
	"input", "input_size", "output", "output_size", "available", "on_chip", "remaining", "streamed",
	"subgraphs", "operations", "operation_log", "not_all_on_tpu", "tpu_operations", "cpu_operations",
	"see_log", "table_head", "table_row", "child", "end", "invalid_model", "reason", "failed",
	"internal", "timeout", "crash", "usage", "command", "decoration", "wrapped", "cut",
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

var squeezedStems = func() []string {
	list := make([]string, len(stems))
	for i, s := range stems {
		list[i] = squeeze(s)
	}
	return list
}()

var squeezedNotAll = squeeze(notAllText)

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

// squeeze drops the blanks of a text: where a long line was wrapped, nobody
// knows whether one stood there.
func squeeze(s string) string {
	return strings.Join(strings.Fields(s), "")
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
		if rest, ok := strings.CutPrefix(s, "Compilation child process "); ok && strings.Contains(rest, "time") && !strings.HasPrefix(childText, s) {
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
			if f := strings.Fields(s); len(f) == 3 && f[1] == "Count" && f[2] == "Status" {
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
	if s == "" || s[0] == '+' || s[0] == '-' {
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
		size, err := ParseSize(withoutRemark(s))
		if err != nil {
			return t, false
		}
		t.size = &size
	case aCount:
		var ok bool
		if t.n, ok = whole(withoutRemark(s)); !ok {
			return t, false
		}
	}
	return t, true
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
	if !isStatus(status) && !(inTable && (strings.ToUpper(name) == name || statusRest(status) != "")) {
		return token{}, false
	}
	return token{rule: ruleTableRow, text: name, n: n, status: status}, true
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

func isStatus(s string) bool {
	for _, known := range statuses {
		if s == known {
			return true
		}
	}
	return false
}

// statusRest is what is missing of a status that was cut or wrapped, squeezed;
// empty if it is complete or of no known kind.
func statusRest(s string) string {
	s = squeeze(s)
	for _, known := range statuses {
		if rest, ok := strings.CutPrefix(squeeze(known), s); ok {
			return rest
		}
	}
	return ""
}

// wholeStatus returns the known status that the text begins.
func wholeStatus(s string) string {
	for _, known := range statuses {
		if strings.HasPrefix(squeeze(known), squeeze(s)) {
			return known
		}
	}
	return s
}

// crash recognises what a shell or the C library says about a process that died.
func crash(s string) bool {
	for _, sign := range []string{"Segmentation fault", "core dumped", "Bus error", "Illegal instruction", "terminate called ", "*** stack smashing", "*** SIG", "Check failed: ", "Killed", "Aborted"} {
		if i := strings.Index(s, sign); i >= 0 && (sign != "Killed" && sign != "Aborted" || s == sign || strings.Contains(s, "edgetpu_compiler")) {
			return true
		}
	}
	return false
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
		if r, v := shortLabel(strings.ToLower(label)); r != ruleNone {
			if t, ok := labelled(r, v, text); ok {
				return t, true
			}
		}
	}
	if fields := strings.FieldsFunc(s, func(r rune) bool { return r == '|' }); len(fields) == 3 {
		cells := strings.TrimSpace(fields[0]) + " " + strings.TrimSpace(fields[1]) + " " + strings.TrimSpace(fields[2])
		if t, ok := exact(cells); ok && t.rule == ruleTableHead {
			return t, true
		}
		return row(cells, false)
	}
	if squeezed := squeeze(s); len(squeezed) >= 40 {
		if strings.HasPrefix(squeezed, squeezedNotAll[:40]) {
			return token{rule: ruleNotAll, text: s}, true
		}
		if squeezed == squeeze(seeLogText) {
			return token{rule: ruleSeeLog}, true
		}
	}
	return token{}, false
}

// shortLabel guesses a label that was shortened; its value has to prove it.
func shortLabel(l string) (rule, value) {
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(l, w) {
				return true
			}
		}
		return false
	}
	switch {
	case l == "input size", l == "input model size":
		return ruleInputSize, aSize
	case l == "output size", l == "output model size":
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

// undecorated drops what publishers put around a whole line: quote marks,
// bars, bullets, and the quoting of a notebook file. Second best, whatever
// stands in front of a known beginning, if it can be a prompt, a time stamp
// or a label of the program that ran the compiler.
func undecorated(s string) string {
	s = strings.TrimSuffix(s, ",")
	s = strings.TrimSuffix(strings.TrimRight(s, "\"'"), `\n`)
	s = strings.TrimLeft(s, " \t\u00a0>|\"'`*“”‘’«»•")
	return strings.TrimRight(s, " \t\u00a0|\"'`*“”‘’«»\\")
}

// behindPrefix splits a line before the first known beginning.
func behindPrefix(s string) (prefix, rest string, ok bool) {
	at := -1
	for _, stem := range stems {
		if stem = stem[:min(len(stem), 18)]; strings.HasPrefix(stem, "Operator ") {
			stem = "Operator "
		}
		if i := strings.Index(s, stem); i > 0 && (at < 0 || i < at) {
			at = i
		}
	}
	for _, status := range statuses {
		if i := strings.LastIndex(s, status); i > 0 && at < 0 {
			// the op and its count stand before the status
			words := strings.Fields(s[:i])
			if len(words) > 2 {
				at = strings.LastIndex(s[:i], words[len(words)-2])
			}
		}
	}
	if at <= 0 || at > 80 {
		return "", "", false
	}
	prefix = strings.TrimSpace(s[:at])
	if strings.IndexFunc(prefix, isLetter) >= 0 && (prefix == "" || !strings.ContainsAny(prefix[len(prefix)-1:], ":|]>)$#%") || len(strings.Fields(prefix)) > 4) {
		return "", "", false
	}
	return prefix, s[at:], true
}

// shape is a prefix with its numbers made alike: they count lines or tell the time.
func shape(prefix string) string {
	var b strings.Builder
	digit := false
	for _, r := range undecorated(prefix) {
		if r >= '0' && r <= '9' {
			if !digit {
				b.WriteByte('0')
			}
			digit = true
			continue
		}
		digit = false
		b.WriteRune(r)
	}
	return b.String()
}

// begins says whether a text can be the beginning of a line of the compiler.
func begins(s string, inTable bool) bool {
	squeezed := squeeze(s)
	if squeezed == "" {
		return false
	}
	for _, stem := range squeezedStems {
		if strings.HasPrefix(stem, squeezed) {
			return true
		}
		// The label is complete and its value is missing or cut: "6.9", "16.".
		if rest, ok := strings.CutPrefix(squeezed, stem); ok {
			switch unit := strings.TrimLeft(rest, "0123456789."); stem[len(stem)-1] {
			case ':':
				return strings.Trim(unit, "KMi") == ""
			case '.', '!':
			default:
				return unit == "" || len(unit) < len(rest) && (strings.HasPrefix("seconds.", unit) || strings.HasPrefix("ms.", unit) || strings.HasPrefix("ops", unit))
			}
		}
	}
	if inTable { // an op, perhaps its count
		name, rest := field(s)
		_, number := whole(rest)
		return strings.ToUpper(name) == name && isOp(name) && (rest == "" || number)
	}
	return false
}
