package plans

import (
	"strings"
	"unicode/utf8"
)

// maxDepth limits how deep tables, arrays and dotted keys may nest in a plan
// file. The deepest meaningful value, an entry of order_before, is at 3; the
// TOML decoder recurses, so hostile nesting has to be stopped before it.
const maxDepth = 16

// span is a range of bytes of a document.
type span struct{ start, end int }

// node is one value of an outline: a table, an array or a scalar.
type node struct {
	key   span // the last part of its key; an entry of a [[table]] has the header's, an array element its own value
	value span // what is right of the equals sign; empty for tables with a header
	table map[string]*node
	list  []*node
}

func (n *node) child(name string, key span) *node {
	if n.table == nil {
		n.table = map[string]*node{}
	}
	c := n.table[name]
	if c == nil {
		c = &node{key: key}
		n.table[name] = c
	}
	return c
}

// last is the table that a header which names n continues: the newest entry
// of an array of tables, else n itself.
func (n *node) last() *node {
	if len(n.list) > 0 {
		return n.list[len(n.list)-1]
	}
	return n
}

// outline says where every key and value of a TOML document stands. It checks
// nothing: the decoder does that, and up to the first syntax error, which is
// as far as either of them looks, both see the same document.
type outline struct {
	text   string
	at     int
	root   *node
	deepAt int    // where the nesting passes maxDepth, -1 if it never does
	clash  *clash // the decoder lets some of these pass
	broken bool   // what follows is not TOML
}

// clash is a key that is given twice.
type clash struct{ again, first span }

func newOutline(text string) *outline {
	o := &outline{text: text, root: &node{}, deepAt: -1}
	table := o.root
	for o.skip(true); o.at < len(o.text) && !o.broken; o.skip(true) {
		if !o.accept("[") {
			o.pair(table, 0)
			continue
		}
		array := o.accept("[")
		names, spans := o.keys()
		if array {
			o.expect("]")
		}
		o.expect("]")
		if o.broken {
			break
		}
		table = o.root
		for i, name := range names {
			table = o.step(table, name, spans[i])
			if i < len(names)-1 || !array {
				table = table.last()
				continue
			}
			table.list = append(table.list, &node{key: spans[i]})
			table = table.last()
		}
	}
	return o
}

// find returns the node at a path of keys (string) and positions (int), or the
// nearest one above it that exists.
func (o *outline) find(path []any) (n *node, exact bool) {
	n = o.root
	for _, step := range path {
		var next *node
		switch step := step.(type) {
		case string:
			next = n.table[step]
		case int:
			if step < len(n.list) {
				next = n.list[step]
			}
		}
		if next == nil {
			return n, false
		}
		n = next
	}
	return n, true
}

// step goes from a table to a value in it.
func (o *outline) step(table *node, name string, key span) *node {
	child := table.child(name, key)
	if child.value != (span{}) && o.clash == nil {
		o.clash = &clash{again: key, first: child.key}
	}
	return child
}

func (o *outline) accept(s string) bool {
	if strings.HasPrefix(o.text[o.at:], s) {
		o.at += len(s)
		return true
	}
	return false
}

func (o *outline) expect(s string) {
	if !o.accept(s) {
		o.broken = true
	}
}

// skip passes blanks and, where the grammar allows them, line ends and comments.
func (o *outline) skip(lines bool) {
	for o.at < len(o.text) {
		switch c := o.text[o.at]; {
		case c == ' ' || c == '\t':
			o.at++
		case lines && (c == '\n' || c == '\r'):
			o.at++
		case lines && c == '#':
			o.toLineEnd()
		default:
			return
		}
	}
}

func (o *outline) toLineEnd() {
	if i := strings.IndexByte(o.text[o.at:], '\n'); i >= 0 {
		o.at += i
	} else {
		o.at = len(o.text)
	}
}

// keys reads a key, dotted or not.
func (o *outline) keys() (names []string, spans []span) {
	for !o.broken {
		o.skip(false)
		start := o.at
		var name string
		if o.at < len(o.text) && (o.text[o.at] == '"' || o.text[o.at] == '\'') {
			quote := o.text[o.at]
			o.quoted()
			if o.broken {
				return names, spans
			}
			name = o.text[start+1 : o.at-1]
			if quote == '"' {
				name = unescape(name)
			}
		} else {
			for o.at < len(o.text) && bareKeyByte(o.text[o.at]) {
				o.at++
			}
			name = o.text[start:o.at]
			if name == "" {
				o.broken = true
				return names, spans
			}
		}
		names, spans = append(names, name), append(spans, span{start, o.at})
		if len(names) > maxDepth {
			o.tooDeep(start)
		}
		o.skip(false)
		if !o.accept(".") {
			break
		}
	}
	return names, spans
}

func (o *outline) tooDeep(at int) {
	o.deepAt, o.broken = at, true
}

// pair reads key = value into a table.
func (o *outline) pair(table *node, depth int) {
	names, spans := o.keys()
	o.expect("=")
	if o.broken {
		return
	}
	for i, name := range names {
		if again := table.table[name]; again != nil && (i == len(names)-1 || len(again.list) > 0) && o.clash == nil {
			o.clash = &clash{again: spans[i], first: again.key}
		}
		table = o.step(table, name, spans[i])
	}
	o.value(table, depth+len(names)-1)
}

func (o *outline) value(n *node, depth int) {
	if depth > maxDepth {
		o.tooDeep(o.at)
		return
	}
	o.skip(false)
	if o.at == len(o.text) {
		o.broken = true
		return
	}
	start := o.at
	switch o.text[o.at] {
	case '"', '\'':
		o.quoted()
	case '[':
		o.at++
		for o.skip(true); !o.broken && !o.accept("]"); o.skip(true) {
			element := &node{}
			o.value(element, depth+1)
			element.key = element.value
			n.list = append(n.list, element)
			o.separator("]")
		}
	case '{':
		o.at++
		for o.skip(true); !o.broken && !o.accept("}"); o.skip(true) {
			o.pair(n, depth+1)
			o.separator("}")
		}
	default: // a number, a boolean or a date, which may hold a blank
		for o.at < len(o.text) && !strings.ContainsRune(",]}#\r\n", rune(o.text[o.at])) {
			o.at++
		}
		o.at = start + len(strings.TrimRight(o.text[start:o.at], " \t"))
		if o.at == start {
			o.broken = true
		}
	}
	n.value = span{start, o.at}
}

// separator passes the comma between two elements, or stops before the end mark.
func (o *outline) separator(end string) {
	o.skip(true)
	if !o.accept(",") && !strings.HasPrefix(o.text[o.at:], end) {
		o.broken = true
	}
}

// quoted passes a string of any of the four kinds.
func (o *outline) quoted() {
	quote := o.text[o.at : o.at+1]
	escapes := quote == `"`
	if long := strings.Repeat(quote, 3); o.accept(long) {
		for o.at < len(o.text) {
			switch {
			case escapes && o.text[o.at] == '\\':
				o.at = min(o.at+2, len(o.text))
			case o.accept(long):
				// Up to two quotes may stand right before the closing three.
				for i := 0; i < 2 && o.accept(quote); i++ {
				}
				return
			default:
				o.at++
			}
		}
		o.broken = true
		return
	}
	for o.at++; o.at < len(o.text) && o.text[o.at] != '\n'; o.at++ {
		if o.accept(quote) {
			return
		}
		if escapes && o.text[o.at] == '\\' {
			o.at = min(o.at+1, len(o.text)-1)
		}
	}
	o.broken = true
}

func bareKeyByte(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// unescape resolves the escapes of a basic string; what is no escape stays.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		digits := 0
		switch c := s[i]; c {
		case 'b':
			b.WriteByte('\b')
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'f':
			b.WriteByte('\f')
		case 'r':
			b.WriteByte('\r')
		case 'e':
			b.WriteByte(0x1b)
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		default:
			b.WriteByte(c)
		}
		if digits > 0 && i+digits < len(s) {
			r := rune(0)
			for _, d := range []byte(strings.ToLower(s[i+1 : i+1+digits])) {
				r = r<<4 + rune(strings.IndexByte("0123456789abcdef", d))
			}
			b.WriteRune(r)
			i += digits
		}
	}
	return b.String()
}

// position converts a byte offset into a line and a column, both from 1. A
// column counts characters, not bytes.
func position(text string, offset int) (line, col int) {
	before := text[:min(offset, len(text))]
	line = strings.Count(before, "\n") + 1
	col = utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return line, col
}
