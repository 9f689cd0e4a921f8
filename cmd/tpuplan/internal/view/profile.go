package view

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/profile"
)

// Profiled is what was measured.
type Profiled struct {
	Samples   []profile.Sample
	Summaries []profile.Summary
	Costs     []profile.Cost
	Warnings  []profile.Warning
}

// Sum sums the samples up.
func (p *Profiled) Sum() {
	summaries, warnings := profile.Summarize(p.Samples)
	p.Summaries, p.Costs = summaries, profile.Costs(summaries)
	p.Warnings = append(p.Warnings, warnings...)
}

// sources are the sources of the samples, in words.
func (p *Profiled) sources() string {
	var list []string
	for _, s := range p.Summaries {
		if !slices.Contains(list, string(s.Source)) {
			list = append(list, string(s.Source))
		}
	}
	return strings.Join(list, ", ")
}

// Profile renders what was measured as a table.
func Profile(p *Profiled, s Style) []byte {
	var b bytes.Buffer
	type place struct{ host, device string }
	var models, hosts []string
	var devices []place
	for _, x := range p.Summaries {
		if !slices.Contains(models, x.Model) {
			models = append(models, x.Model)
		}
		if !slices.Contains(hosts, x.Host) {
			hosts = append(hosts, x.Host)
		}
		if at := (place{x.Host, x.Device}); !slices.Contains(devices, at) {
			devices = append(devices, at)
		}
	}
	b.WriteString(s.bold(fmt.Sprintf("%s on %s, %s: %s", count(len(models), "model"), count(len(devices), "device"), count(len(p.Samples), "sample"), p.sources())) + "\n")
	for _, at := range devices {
		name := at.device
		if name == "" {
			name = "device"
		}
		if len(hosts) > 1 && at.host != "" {
			name = at.host + ": " + name
		}
		b.WriteString("\n" + Visible(name) + ", times in ms\n")
		t := table{columns: []column{left("MODEL"), left("CALL"), right("SAMPLES"), right("MEDIAN"), right("INTERVAL"), right("BUS")}}
		last := ""
		for _, x := range p.Summaries {
			if x.Host != at.host || x.Device != at.device {
				continue
			}
			model := x.Model
			if model == last {
				model = ""
			}
			last = x.Model
			t.add(model, string(x.Kind), fmt.Sprint(x.Samples), digits(x.MedianMS), interval(&x), known(x.Bytes, size))
		}
		t.write(&b, s, 2)
		c := table{columns: []column{left("MODEL"), right("WARM"), right("LOAD"), right("PER MiB"), right("STREAMING PER MiB")}}
		for _, x := range p.Costs {
			if x.Host == at.host && x.Device == at.device {
				c.add(x.Model, known(x.SteadyMS, digits), known(x.LoadMS, digits), known(x.LoadMSPerMiB, digits), known(x.StreamMSPerMiB, digits))
			}
		}
		b.WriteByte('\n')
		c.write(&b, s, 2)
	}
	b.WriteByte('\n')
	paragraph(&b, s, "", "INTERVAL holds the true median with 95 %. LOAD is what a call takes more that loads its cached parameters; STREAMING what a MiB more costs that is sent in every call.")
	if slices.ContainsFunc(p.Summaries, func(x profile.Summary) bool { return x.Source == profile.Simulated }) {
		paragraph(&b, s, "", "These times were simulated, not measured: they say nothing about a device.")
	}
	return b.Bytes()
}

func interval(x *profile.Summary) string {
	if math.IsInf(x.LowMS, 0) || math.IsInf(x.HighMS, 0) {
		return "-"
	}
	return digits(x.LowMS) + " to " + digits(x.HighMS)
}

// known prints a value, "-" if there is none.
func known[T any](v *T, how func(T) string) string {
	if v == nil {
		return "-"
	}
	return how(*v)
}

type profileJSON struct {
	Schema    string            `json:"schema"`
	Samples   int               `json:"samples"`
	Summaries []summaryJSON     `json:"summaries"`
	Costs     []callCostJSON    `json:"costs"`
	Warnings  []profile.Warning `json:"warnings"`
}

type summaryJSON struct {
	Model      string         `json:"model"`
	Kind       profile.Kind   `json:"kind"`
	Host       string         `json:"host,omitempty"`
	Device     string         `json:"device,omitempty"`
	Source     profile.Source `json:"source"`
	Samples    int            `json:"samples"`
	Bytes      *int64         `json:"bytes,omitempty"`
	MedianMS   number         `json:"median_ms"`
	CIMS       []number       `json:"ci_ms,omitempty"`
	Confidence *number        `json:"confidence,omitempty"`
}

type callCostJSON struct {
	Model          string         `json:"model"`
	Host           string         `json:"host,omitempty"`
	Device         string         `json:"device,omitempty"`
	Source         profile.Source `json:"source"`
	SteadyMS       *number        `json:"steady_ms,omitempty"`
	LoadMS         *number        `json:"load_ms,omitempty"`
	LoadMSPerMiB   *number        `json:"load_ms_per_mib,omitempty"`
	StreamMSPerMiB *number        `json:"stream_ms_per_mib,omitempty"`
}

// ProfileJSON renders what was measured as tpuplan/profile/v1.
func ProfileJSON(p *Profiled) []byte {
	x := profileJSON{Schema: "tpuplan/profile/v1", Samples: len(p.Samples), Summaries: []summaryJSON{}, Costs: []callCostJSON{}, Warnings: []profile.Warning{}}
	for _, s := range p.Summaries {
		j := summaryJSON{Model: s.Model, Kind: s.Kind, Host: s.Host, Device: s.Device, Source: s.Source, Samples: s.Samples, Bytes: s.Bytes, MedianMS: number(s.MedianMS)}
		if !math.IsInf(s.LowMS, 0) && !math.IsInf(s.HighMS, 0) {
			j.CIMS, j.Confidence = []number{number(s.LowMS), number(s.HighMS)}, pointer(s.Confidence)
		}
		x.Summaries = append(x.Summaries, j)
	}
	of := func(v *float64) *number {
		if v == nil {
			return nil
		}
		return pointer(*v)
	}
	for _, c := range p.Costs {
		x.Costs = append(x.Costs, callCostJSON{c.Model, c.Host, c.Device, c.Source, of(c.SteadyMS), of(c.LoadMS), of(c.LoadMSPerMiB), of(c.StreamMSPerMiB)})
	}
	x.Warnings = append(x.Warnings, p.Warnings...)
	return encode(x)
}
