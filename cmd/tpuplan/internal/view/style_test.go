package view

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tpuplan/tpuplan/internal/columns"
)

func TestNumbersHaveSensibleDigits(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{size(0), "0 B"},
		{size(999), "999 B"},
		{size(1000), "0.98 KiB"},
		{size(1024), "1.00 KiB"},
		{size(272_384), "266 KiB"},
		{size(4_312_269), "4.11 MiB"},
		{size(8 << 20), "8.00 MiB"},
		{size(300 << 20), "300 MiB"},
		{ms(0.43), "0.43 ms"},
		{ms(2.466), "2.47 ms"},
		{ms(9.9949), "9.99 ms"},
		{ms(9.996), "10.0 ms"},
		{ms(99.96), "100 ms"},
		{ms(1234.5), "1234 ms"},
		{ms(0.0049), "<0.01 ms"},
		{ms(0), "0.00 ms"},
		{ms(1e-12), "0.00 ms"}, // two sums of the same numbers
		{percent(0), "0 %"},
		{percent(0.001), "<1 %"},
		{percent(0.374), "37 %"},
		{percent(0.999), ">99 %"},
		{percent(1), "100 %"},
		{count(1, "op"), "1 op"},
		{count(0, "op"), "0 ops"},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

// TestJSONNumbers: what differs between machines only in the last bits is the same text.
func TestJSONNumbers(t *testing.T) {
	for _, test := range []struct {
		n    number
		want string
	}{
		{0, "0"},
		{2.5, "2.5"},
		{0.1 + 0.2, "0.3"},
		{1.0 / 3, "0.333333333333"},
		{123456789, "123456789"},
	} {
		if got := strings.TrimSpace(string(encode(test.n))); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestTable(t *testing.T) {
	table := table{columns: []column{left("NAME"), right("SIZE"), left("WHY")}}
	table.add("a", "1.00 MiB", "x")
	table.add("größer", "12 B", "")
	var b bytes.Buffer
	table.write(&b, Style{Width: 80}, 2)
	want := []string{
		"  NAME        SIZE  WHY",
		"  a       1.00 MiB  x",
		"  größer      12 B",
		"",
	}
	if diff := cmp.Diff(want, strings.Split(b.String(), "\n")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestTextFits: whatever is printed, lines keep to the width, numbers are whole and paragraphs lose no word.
func TestTextFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Style{Width: rapid.IntRange(40, 120).Draw(t, "width")}
		var b bytes.Buffer
		table := table{columns: []column{left("NAME"), right("SIZE")}}
		name := rapid.StringMatching(`[a-zä日本_.]{0,150}`)
		for range rapid.IntRange(1, 5).Draw(t, "rows") {
			table.add(name.Draw(t, "name"), "123.45 MiB")
		}
		table.write(&b, s, 2)
		if got := strings.Count(b.String(), "123.45 MiB"); got != len(table.rows) {
			t.Errorf("%d numbers of %d are whole:\n%s", got, len(table.rows), b.String())
		}
		words := rapid.SliceOf(rapid.StringMatching(`[a-z]{1,20}`)).Draw(t, "words")
		paragraph(&b, s, "label: ", strings.Join(words, " "))
		for _, line := range strings.Split(b.String(), "\n") {
			if columns.Width(line) > s.Width {
				t.Errorf("wider than %d: %q", s.Width, line)
			}
		}
		_, text, _ := strings.Cut(b.String(), "label: ")
		if diff := cmp.Diff(strings.Join(words, " "), strings.Join(strings.Fields(text), " ")); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// TestBarOfManyParts: more parts than columns make no wider bar.
func TestBarOfManyParts(t *testing.T) {
	p := bar{total: 100}
	for range 100 {
		p.parts = append(p.parts, barPart{mark: 'a', bytes: 1})
	}
	if got, want := p.draw(20), "["+strings.Repeat("a", 20)+"]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestBarIsFull: a bar has one column for each part that is not empty, and as many columns as asked for.
func TestBarIsFull(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := bar{}
		for i := range rapid.IntRange(1, 10).Draw(t, "parts") {
			bytes := rapid.Int64Range(0, 8<<20).Draw(t, "bytes")
			p.parts = append(p.parts, barPart{mark: rune(marks[i]), bytes: bytes})
			p.total += bytes
		}
		if p.total == 0 {
			t.Skip("nothing to draw")
		}
		const columns = 60
		drawn := p.draw(columns)
		if len(drawn) != columns+2 {
			t.Errorf("%d columns, want %d: %s", len(drawn)-2, columns, drawn)
		}
		for _, part := range p.parts {
			if part.bytes > 0 != strings.ContainsRune(drawn, part.mark) {
				t.Errorf("part %c of %d bytes: %s", part.mark, part.bytes, drawn)
			}
		}
	})
}

func TestTablesAlignWideCharacters(t *testing.T) {
	tab := table{columns: []column{left("MODEL"), right("RATE")}}
	tab.add("face", "1/s")
	tab.add("日本語モデル", "10/s")
	tab.add("gro\u0308ße", "2/s")
	for _, test := range []struct {
		width int
		want  string
	}{
		{80, "MODEL         RATE\nface           1/s\n日本語モデル  10/s\ngro\u0308ße          2/s\n"},
		{15, "MODEL      RATE\nface        1/s\n日..デル   10/s\ngro\u0308ße       2/s\n"},
	} {
		var b bytes.Buffer
		tab.write(&b, Style{Width: test.width}, 0)
		if diff := cmp.Diff(test.want, b.String()); diff != "" {
			t.Errorf("%d columns (-want +got):\n%s", test.width, diff)
		}
	}
}
