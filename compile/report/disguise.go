package report

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"html"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// What happens to a log on its way: terminals colour it, programs put a time or
// a name before each line, pages and strings escape it. The functions here take that
// off again, by rules that know nothing of the compiler but how its lines begin.

// longestPrefix is how many bytes may stand before the compiler's words.
const longestPrefix = 120

// utf16Order is the byte order that the mark at the beginning of a text tells.
func utf16Order(head []byte) (binary.ByteOrder, bool) {
	switch {
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}):
		return binary.LittleEndian, true
	case bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return binary.BigEndian, true
	}
	return nil, false
}

// utf16Reader reads UTF-16 as UTF-8.
type utf16Reader struct {
	in    *bufio.Reader
	order binary.ByteOrder
	ready []byte // converted, not read yet
	store [utf8.UTFMax * 512]byte
	two   [2]byte
}

func (u *utf16Reader) unit() (rune, error) {
	if _, err := io.ReadFull(u.in, u.two[:]); err != nil {
		return 0, io.EOF // half a unit at the end is nothing
	}
	return rune(u.order.Uint16(u.two[:])), nil
}

func (u *utf16Reader) Read(to []byte) (int, error) {
	if len(u.ready) == 0 {
		u.ready = u.store[:0]
		for len(u.ready) <= len(u.store)-2*utf8.UTFMax {
			r, err := u.unit()
			if err != nil {
				break
			}
			if utf16.IsSurrogate(r) {
				low, err := u.unit()
				if r = utf16.DecodeRune(r, low); err != nil {
					r = utf8.RuneError
				}
			}
			u.ready = utf8.AppendRune(u.ready, r)
		}
		if len(u.ready) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(to, u.ready)
	u.ready = u.ready[n:]
	return n, nil
}

// unfold takes a line of the file apart that does not hold one line as it is:
// where a program wrote its output as one string, with line ends as \n, or as a
// list of strings, where a terminal went back to the beginning of the line, and
// where lines are the message of a JSON object. Parts may be blank.
func unfold(s string) (parts iter.Seq[string], ok bool) {
	sep := ""
	if text, ok := message(s); ok {
		return strings.SplitSeq(text, "\n"), true
	}
	switch {
	case strings.IndexByte(s, '\r') >= 0:
		return strings.SplitSeq(s, "\r"), true
	case escapedLines(s) && firstStem(s) >= 0:
		parts := strings.SplitSeq(inString(strings.ReplaceAll(s, `\\`, "\x00")), `\n`)
		return func(yield func(string) bool) {
			for part := range parts {
				if !yield(unescape.Replace(part)) {
					return
				}
			}
		}, true
	case isList(s, &sep):
		return strings.SplitSeq(inString(s), sep), true
	}
	return nil, false
}

// inString drops what a program writes around a string.
func inString(s string) string {
	if at := firstStem(s); at > 0 && at <= longestPrefix {
		s = s[at:]
	}
	return strings.TrimRight(s, " \"'`}]),")
}

// escapedLines says whether a text has line ends as \n. A path of Windows may have
// a folder that begins with n, but the lines of the compiler begin with capitals.
func escapedLines(s string) bool {
	n := 0
	for rest := s; ; n++ {
		_, after, ok := strings.Cut(rest, `\n`)
		if !ok {
			return false
		}
		if rest = after; n > 0 && (rest == "" || strings.IndexByte(`\"'`, rest[0]) >= 0 || rest[0] >= 'A' && rest[0] <= 'Z') {
			return true
		}
	}
}

// unescape are the escapes of strings in most languages, without that of a
// backslash, which has become a NUL.
var unescape = strings.NewReplacer(`\r`, "", `\t`, "\t", `\"`, `"`, `\'`, "'", `\/`, "/", `\u001b`, "\x1b", `\x1b`, "\x1b", "\x00", `\`)

// isList says whether a line is a list of lines as strings, and what stands between them.
func isList(s string, sep *string) bool {
	if !strings.HasPrefix(s, "[") || firstStem(s) < 0 {
		return false
	}
	for _, *sep = range []string{`', '`, `", "`, `","`} {
		if strings.Count(s, *sep) > 1 {
			return true
		}
	}
	return false
}

// messageKeys are the names under which Docker and loggers write a line.
var messageKeys = []string{`"log"`, `"message"`, `"msg"`, `"MESSAGE"`, `"stdout"`, `"stderr"`, `"output"`, `"text"`, `"line"`}

// message finds the lines in a JSON object.
func message(s string) (string, bool) {
	if s[0] != '{' || s[len(s)-1] != '}' {
		return "", false
	}
	for _, key := range messageKeys {
		_, value, ok := strings.Cut(s, key)
		if !ok {
			continue
		}
		value, ok = strings.CutPrefix(strings.TrimLeft(value, " \t"), ":")
		value, quoted := strings.CutPrefix(strings.TrimLeft(value, " \t"), `"`)
		if ok && quoted {
			return jsonString(value)
		}
	}
	return "", false
}

// jsonString reads a JSON string behind its first quote.
func jsonString(s string) (string, bool) {
	end, escaped := 0, false
	for ; end < len(s) && s[end] != '"'; end++ {
		if s[end] == '\\' {
			escaped = true
			end++
		}
	}
	if end >= len(s) {
		return "", false
	}
	if s = strings.TrimSuffix(s[:end], `\n`); !escaped || strings.IndexByte(s, '\\') < 0 {
		return s, true
	}
	return unescaped(s), true
}

// plainEscapes are the letters of JSON's short escapes and what they stand for.
var plainEscapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescaped reads the escapes of a JSON string; what is none stays as it is.
func unescaped(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b = append(b, s[i])
			continue
		}
		i++
		if plain, ok := plainEscapes[s[i]]; ok {
			b = append(b, plain)
			continue
		}
		unit, ok := hexUnit(s[i:])
		if !ok {
			b = append(b, '\\', s[i])
			continue
		}
		i += 4
		if utf16.IsSurrogate(unit) && i+1 < len(s) && s[i+1] == '\\' {
			if low, ok := hexUnit(s[i+2:]); ok {
				unit = utf16.DecodeRune(unit, low)
				i += 6
			}
		}
		b = utf8.AppendRune(b, unit)
	}
	return string(b)
}

// hexUnit reads "u1b2c" at the beginning of a text.
func hexUnit(s string) (rune, bool) {
	if len(s) < 5 || s[0] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[1:5], 16, 16)
	return rune(n), err == nil
}

// firstStem is where the first line of the compiler begins in a text, -1 if none does.
func firstStem(s string) int {
	i, _ := lineStarts.find(s, 0)
	return i
}

// clean drops what is not text: colours of a terminal, tags and entities of a
// page. A blank of any kind is a blank.
func clean(s string) string {
	if strings.IndexByte(s, 0x1b) >= 0 {
		s = withoutEscapes(s)
	}
	if strings.IndexByte(s, '<') >= 0 && strings.IndexByte(s, '>') >= 0 {
		s = withoutTags(s)
	}
	if strings.IndexByte(s, '&') >= 0 && strings.IndexByte(s, ';') >= 0 {
		s = html.UnescapeString(s)
	}
	if strings.Contains(s, "\u00a0") {
		s = strings.ReplaceAll(s, "\u00a0", " ")
	}
	return strings.TrimSpace(s)
}

// withoutEscapes drops a terminal's control sequences.
func withoutEscapes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != 0x1b {
			b.WriteByte(s[i])
			continue
		}
		if i++; i >= len(s) {
			break
		}
		switch s[i] {
		case '[': // up to a letter
			for i++; i < len(s) && (s[i] < '@' || s[i] > '~'); i++ {
			}
		case ']': // up to a bell, or to ESC and a backslash
			for i++; i < len(s) && s[i] != 0x07 && s[i] != 0x1b; i++ {
			}
			if i < len(s) && s[i] == 0x1b {
				i++
			}
		}
	}
	return b.String()
}

// tags are those of a page around a line.
var tags = map[string]bool{
	"pre": true, "code": true, "br": true, "p": true, "div": true, "span": true, "li": true, "td": true, "tr": true,
	"samp": true, "tt": true, "kbd": true, "b": true, "strong": true, "em": true, "i": true, "blockquote": true, "details": true, "summary": true,
}

// tag says whether a text is a tag of a page.
func tag(s string) bool {
	name, ok := strings.CutPrefix(s, "<")
	name, closed := strings.CutSuffix(name, ">")
	if !ok || !closed {
		return false
	}
	name, _ = field(strings.Trim(name, "/ "))
	return tags[strings.ToLower(name)]
}

// withoutTags drops tags before and behind a line.
func withoutTags(s string) string {
	for {
		s = strings.TrimSpace(s)
		if i := strings.IndexByte(s, '>'); i >= 0 && tag(s[:i+1]) {
			s = s[i+1:]
		} else if i := strings.LastIndexByte(s, '<'); i >= 0 && tag(s[i:]) {
			s = s[:i]
		} else {
			return s
		}
	}
}

// isPrompt says whether a line is a prompt at which nothing was typed.
func isPrompt(s string) bool {
	const longest = 120
	return s != "" && len(s) <= longest && strings.IndexByte("$#%>", s[len(s)-1]) >= 0 && len(strings.Fields(s)) <= 3 &&
		(strings.Contains(s, "@") && strings.Contains(s, ":") || strings.Contains(s, ":~") || strings.Contains(s, `:\`))
}

// prefixes says whether a text can stand before each line: numbers and times,
// a name with a mark behind it. Words alone cannot: they are somebody's own.
func prefixes(s string) bool {
	words := strings.Fields(s)
	if !slices.ContainsFunc(words, func(word string) bool { return isLetter(rune(word[0])) }) {
		return true
	}
	if len(words) > 6 {
		return false
	}
	last := words[len(words)-1]
	return isTime(last) || strings.IndexByte(":|]>)$#%", last[len(last)-1]) >= 0 && (len(words) <= 4 || strings.ContainsAny(s, "0123456789"))
}

// isTime says whether a word is a time as 2023-04-05T12:00:00.123Z or 12.5s.
func isTime(word string) bool {
	word = strings.Trim(word, "[]()")
	return word != "" && word[0] >= '0' && word[0] <= '9' && strings.Trim(word, "0123456789:.,-+TZms") == ""
}

// learn notes what stands in a line before the compiler's words: the next
// lines may have the same there.
func (p *parser) learn(s, rest string) {
	if i := strings.Index(s, rest); i > 0 && i <= longestPrefix {
		p.prefix = shape(s[:i])
	}
}

// shape is a prefix with its numbers and blanks made alike: they count lines,
// tell the time or keep columns straight.
func shape(prefix string) string {
	var b strings.Builder
	last := byte(0)
	for i := range len(prefix) {
		c := prefix[i]
		switch {
		case c >= '0' && c <= '9':
			c = '0'
		case c == ' ' || c == '\t':
			c = ' '
		default:
			b.WriteByte(c)
			last = c
			continue
		}
		if c != last {
			b.WriteByte(c)
		}
		last = c
	}
	return b.String()
}

// unprefixed returns a line without the prefix that was learnt, if it has it.
func (p *parser) unprefixed(s string) string {
	if p.prefix == "" {
		return s
	}
	i := 0
	for k := range len(p.prefix) {
		start := i
		switch c := p.prefix[k]; c {
		case '0':
			for i < len(s) && s[i] >= '0' && s[i] <= '9' {
				i++
			}
		case ' ':
			for i < len(s) && (s[i] == ' ' || s[i] == '\t') {
				i++
			}
			if i == len(s) { // those at the end of a line are gone
				continue
			}
		default:
			if i < len(s) && s[i] == c {
				i++
			}
		}
		if i == start {
			return s
		}
	}
	if strings.ContainsAny(p.prefix, "\"'`*|") { // it may have an end as well
		return undecorated(s[i:])
	}
	return strings.TrimSpace(s[i:])
}

// canonical returns a line as the compiler writes it, if it differs from that
// in capital and small letters only.
func canonical(s string) string {
	const head = "Operator"
	if len(s) > len(head) && len(s) <= maxRow && strings.EqualFold(s[:len(head)], head) {
		return head + s[len(head):]
	}
	for _, stem := range stems {
		if len(s) >= len(stem) && strings.EqualFold(s[:len(stem)], stem) {
			rest := s[len(stem):]
			if stem[len(stem)-1] != ':' {
				rest = strings.ToLower(rest)
			}
			return stem + rest
		}
	}
	return s
}
