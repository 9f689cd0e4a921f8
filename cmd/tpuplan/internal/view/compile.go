package view

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tpuplan/tpuplan/compile/run"
)

// Compiled is what became of the groups of a lock.
type Compiled struct {
	Lock     string
	Compiler string // release that the lock is for
	Results  []*run.Result
	Learnt   *Learnt
	// Reoptimized is set if something was built otherwise than predicted.
	Reoptimized *Reoptimized
}

// Reoptimized is what the plan would be with what was learnt.
type Reoptimized struct {
	Plan    string
	Changes []string // of the decision, sentences
	Unknown string   // why it could not be found out
}

// Sentence says whether the decision would change.
func (r *Reoptimized) Sentence() string {
	switch n := len(r.Changes); {
	case r.Unknown != "":
		return "whether re-optimizing would change the decision is not known: " + r.Unknown
	case n > 0:
		return "re-optimizing would change the decision: " + strings.Join(r.Changes, "; ") + " (run tpuplan optimize " + r.Plan + ")"
	}
	return "re-optimizing would not change the decision"
}

type compileJSON struct {
	Schema      string             `json:"schema"`
	Lock        string             `json:"lock"`
	Compiler    string             `json:"compiler"`
	Matches     bool               `json:"matches"` // all groups were built as predicted
	Groups      []compileGroupJSON `json:"groups"`
	Learnt      *learntJSON        `json:"learnt,omitempty"`
	Reoptimized *reoptimizedJSON   `json:"reoptimized,omitempty"` // only if something differs
}

type reoptimizedJSON struct {
	Plan            string   `json:"plan"`
	DecisionChanges *bool    `json:"decision_changes,omitempty"` // absent if it is not known
	Changes         []string `json:"changes,omitempty"`
	Unknown         string   `json:"unknown,omitempty"`
}

type compileGroupJSON struct {
	Name        string                  `json:"name"`
	Argv        []string                `json:"argv"`
	Log         string                  `json:"log"`
	Status      string                  `json:"status"` // built, failed or interrupted
	Matches     bool                    `json:"matches"`
	Retried     bool                    `json:"retried"`
	Models      []compileModelJSON      `json:"models"`
	Order       *compileOrderJSON       `json:"order,omitempty"`
	Differences []compileDifferenceJSON `json:"differences"`
	Error       string                  `json:"error,omitempty"`
	Warnings    []string                `json:"warnings"`
}

type compileModelJSON struct {
	Name                   string `json:"name"`
	File                   string `json:"file"`
	PredictedCachedBytes   int64  `json:"predicted_cached_bytes"`
	PredictedStreamedBytes int64  `json:"predicted_streamed_bytes"`
	CachedBytes            *int64 `json:"cached_bytes,omitempty"`
	StreamedBytes          *int64 `json:"streamed_bytes,omitempty"`
	Token                  string `json:"token,omitempty"`
}

type compileOrderJSON struct {
	Argv    []string            `json:"argv"`
	Matters bool                `json:"matters"`
	Models  []reversedSplitJSON `json:"models"`
}

type reversedSplitJSON struct {
	Name          string `json:"name"`
	CachedBytes   int64  `json:"cached_bytes"`
	StreamedBytes int64  `json:"streamed_bytes"`
}

type compileDifferenceJSON struct {
	Kind  string `json:"kind"` // split, token, compiler or report
	Model string `json:"model,omitempty"`
	File  string `json:"file,omitempty"`
	Text  string `json:"text"`
}

// CompileJSON is the object tpuplan/compile/v1.
func CompileJSON(c *Compiled) []byte {
	x := compileJSON{Schema: "tpuplan/compile/v1", Lock: c.Lock, Compiler: c.Compiler, Matches: true, Groups: []compileGroupJSON{}, Learnt: c.Learnt.json()}
	if r := c.Reoptimized; r != nil {
		x.Reoptimized = &reoptimizedJSON{Plan: r.Plan, Changes: r.Changes, Unknown: r.Unknown}
		if changes := len(r.Changes) > 0; r.Unknown == "" {
			x.Reoptimized.DecisionChanges = &changes
		}
	}
	for _, r := range c.Results {
		g := compileGroupJSON{
			Name: r.Group.Group, Argv: r.Group.Argv(), Log: r.Group.LogFile(), Status: groupStatus(r), Matches: r.Built != nil && len(r.Differences) == 0,
			Retried: r.Retried, Models: []compileModelJSON{}, Differences: []compileDifferenceJSON{}, Warnings: append([]string{}, r.Warnings...),
		}
		x.Matches = x.Matches && g.Matches
		outputs := r.Group.Outputs()
		for i, m := range r.Group.Models {
			y := compileModelJSON{Name: m.Name, File: outputs[i], PredictedCachedBytes: m.Cached, PredictedStreamedBytes: m.Streamed}
			if r.Built != nil {
				b := &r.Built[i]
				y.CachedBytes, y.StreamedBytes, y.Token = &b.Cached, &b.Streamed, token(b.Token)
			}
			g.Models = append(g.Models, y)
		}
		if o := r.Order; o != nil {
			g.Order = &compileOrderJSON{Argv: o.Argv, Matters: o.Matters}
			for i, b := range o.Built {
				g.Order.Models = append(g.Order.Models, reversedSplitJSON{r.Group.Models[i].Name, b.Cached, b.Streamed})
			}
		}
		for _, d := range r.Differences {
			g.Differences = append(g.Differences, compileDifferenceJSON(d))
		}
		if r.Err != nil && !errors.Is(r.Err, context.Canceled) {
			g.Error = r.Err.Error()
		}
		x.Groups = append(x.Groups, g)
	}
	return encode(x)
}

// groupStatus says whether a group's outputs are the new ones.
func groupStatus(r *run.Result) string {
	switch {
	case r.Built != nil:
		return "built"
	case errors.Is(r.Err, context.Canceled):
		return "interrupted"
	}
	return "failed"
}

// Compile is the table of what was built.
func Compile(c *Compiled, s Style) []byte {
	var b bytes.Buffer
	built, differences := 0, 0
	t := table{columns: []column{left("MODEL"), left("GROUP"), right("CACHED"), right("STREAMED"), {fixed: true}}}
	for _, r := range c.Results {
		if r.Built != nil {
			built++
		}
		differences += len(r.Differences)
		for i, m := range r.Group.Models {
			if r.Built == nil {
				t.add(m.Name, r.Group.Group, "", "", groupStatus(r))
				continue
			}
			got := Split{r.Built[i].Cached, r.Built[i].Streamed}
			state := "as predicted"
			if got.Cached != m.Cached || got.Streamed != m.Streamed {
				state = "predicted " + size(m.Cached) + " + " + size(m.Streamed)
			}
			t.add(m.Name, r.Group.Group, size(got.Cached), size(got.Streamed), state)
		}
	}
	headline := fmt.Sprintf("%s: %s built", c.Lock, count(built, "group"))
	if all := len(c.Results); built < all {
		headline = fmt.Sprintf("%s: %d of %s built", c.Lock, built, count(all, "group"))
	}
	switch {
	case differences > 0:
		headline += ", " + count(differences, "difference") + " from the prediction"
	case built > 0:
		headline += " as predicted"
	}
	b.WriteString(s.bold(headline) + "\n\n")
	t.write(&b, s, 0)
	for _, r := range c.Results {
		o := r.Order
		if o == nil {
			continue
		}
		text := "the order makes no difference"
		if o.Matters {
			text = "the order matters; reversed, it would be"
			for i, built := range o.Built {
				if i > 0 {
					text += ";"
				}
				text += fmt.Sprintf(" %s %v", r.Group.Models[i].Name, Split{built.Cached, built.Streamed})
			}
		}
		b.WriteString("\n")
		paragraph(&b, s, "  "+r.Group.Group+": ", text)
	}
	if r := c.Reoptimized; r != nil {
		sentence := r.Sentence()
		b.WriteString("\n")
		paragraph(&b, s, "", strings.ToUpper(sentence[:1])+sentence[1:]+".")
	}
	return b.Bytes()
}
