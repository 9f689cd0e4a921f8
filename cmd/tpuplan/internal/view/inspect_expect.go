package view

import (
	"bytes"
	"fmt"
)

// Expected is a folder of built files compared with the lock that describes them.
type Expected struct {
	Lock, Dir   string
	Compiler    string // release that the lock is for
	Groups      []ExpectedGroup
	Differences []Difference
}

// ExpectedGroup is a group of the lock: one run of the compiler.
type ExpectedGroup struct {
	Name   string
	Models []ExpectedModel
}

// ExpectedModel is a model of the lock and the file that was built of it.
type ExpectedModel struct {
	Name string
	Want Split
	File string
	Got  *Inspected // nil if the file is missing or no compiled one
	Same bool       // nothing differs
}

// Split is how a model's parameters are shared out, in packed bytes.
type Split struct{ Cached, Streamed int64 }

// Difference is one way in which the built files are not what the lock describes.
type Difference struct {
	Kind  string `json:"kind"` // missing, damaged, not_compiled, token, split or compiler
	Group string `json:"group"`
	Model string `json:"model"`
	File  string `json:"file"`
	Text  string `json:"text"` // begins with the model
}

type expectJSON struct {
	Lock        string            `json:"lock"`
	Dir         string            `json:"dir"`
	Matches     bool              `json:"matches"`
	Groups      []expectGroupJSON `json:"groups"`
	Differences []Difference      `json:"differences"`
}

type expectGroupJSON struct {
	Name   string            `json:"name"`
	Models []expectModelJSON `json:"models"`
}

type expectModelJSON struct {
	Name                   string   `json:"name"`
	File                   string   `json:"file"`
	Matches                bool     `json:"matches"`
	Tokens                 []string `json:"tokens,omitempty"`
	PredictedCachedBytes   int64    `json:"predicted_cached_bytes"`
	PredictedStreamedBytes int64    `json:"predicted_streamed_bytes"`
	CachedBytes            *int64   `json:"cached_bytes,omitempty"`
	StreamedBytes          *int64   `json:"streamed_bytes,omitempty"`
}

func newExpectJSON(e *Expected) *expectJSON {
	x := &expectJSON{Lock: e.Lock, Dir: e.Dir, Matches: len(e.Differences) == 0, Groups: []expectGroupJSON{}, Differences: append([]Difference{}, e.Differences...)}
	for _, g := range e.Groups {
		y := expectGroupJSON{Name: g.Name}
		for _, m := range g.Models {
			z := expectModelJSON{Name: m.Name, File: m.File, Matches: m.Same, PredictedCachedBytes: m.Want.Cached, PredictedStreamedBytes: m.Want.Streamed}
			if m.Got != nil {
				cached, streamed := m.Got.Compiled.CachedBytes(), m.Got.Compiled.StreamedBytes()
				z.CachedBytes, z.StreamedBytes = &cached, &streamed
				for _, t := range m.Got.Compiled.Tokens() {
					z.Tokens = append(z.Tokens, token(t))
				}
			}
			y.Models = append(y.Models, z)
		}
		x.Groups = append(x.Groups, y)
	}
	return x
}

// Expect is the table of a comparison with a lock.
func Expect(e *Expected, s Style) []byte {
	var b bytes.Buffer
	verdict := "the files that " + e.Lock + " describes"
	if n := len(e.Differences); n > 0 {
		verdict = count(n, "difference") + " from " + e.Lock
	}
	b.WriteString(s.bold(e.Dir+": "+verdict) + "\n\n")
	t := table{columns: []column{left("MODEL"), left("GROUP"), {title: "TOKEN", fixed: true}, right("CACHED"), right("STREAMED"), {fixed: true}}}
	for _, g := range e.Groups {
		for _, m := range g.Models {
			state := "ok"
			if !m.Same {
				state = "differs"
			}
			if m.Got == nil {
				t.add(m.Name, g.Name, "", "", "", state)
				continue
			}
			c := m.Got.Compiled
			t.add(m.Name, g.Name, token(c.Packages[0].Token()), size(c.CachedBytes()), size(c.StreamedBytes()), state)
		}
	}
	t.write(&b, s, 0)
	if len(e.Differences) > 0 {
		b.WriteString("\n")
	}
	for _, d := range e.Differences {
		paragraph(&b, s, "  ", d.Text)
	}
	return b.Bytes()
}

// String is the split as messages print it.
func (s Split) String() string {
	return fmt.Sprintf("%d bytes cached and %d streamed", s.Cached, s.Streamed)
}
