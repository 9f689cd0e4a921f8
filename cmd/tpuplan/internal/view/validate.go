package view

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/validation"
)

// Validation is a plan that was tried on a device.
type Validation struct {
	Resolved     *plans.Resolved
	Lock         string // its path
	Seed         uint64
	Passes       int // that were asked for
	Arrangements []plans.Arrangement
	Missing      map[string][]string // compiled files that are not there, by arrangement
	Result       *validation.Result
	Settled      []plans.Settlement
	Build        string // the commands that compile what is missing
}

// title is an arrangement in words.
func arrangementTitle(name string) string { return (&SimulatedRun{Name: name}).Title() }

type validationJSON struct {
	Schema          string                 `json:"schema"`
	Source          profile.Source         `json:"source"`
	Compiler        string                 `json:"compiler"`
	Lock            string                 `json:"lock"`
	Devices         []string               `json:"devices"`
	Workload        validatedWorkloadJSON  `json:"workload"`
	TolerancePct    number                 `json:"tolerance_pct"`
	Passed          bool                   `json:"passed"`
	ComputeIncluded bool                   `json:"compute_included"`
	Models          []validatedComputeJSON `json:"models"`
	Runs            []validatedRunJSON     `json:"runs"`
	Pairs           []validatedPairJSON    `json:"pairs"`
	RankAgreement   *number                `json:"rank_agreement,omitempty"`
	Rate            *validatedRateJSON     `json:"load_rate,omitempty"`
	Slopes          []validatedSlopeJSON   `json:"streaming"`
	Findings        []validatedFindingJSON `json:"findings"`
	Settled         []settledJSON          `json:"settled"`
	Warnings        []string               `json:"warnings"`
}

type validatedWorkloadJSON struct {
	Kind   string `json:"kind"` // rates or weights
	Seed   uint64 `json:"seed"`
	Calls  int    `json:"calls"` // in a pass
	Passes int    `json:"passes"`
}

type validatedComputeJSON struct {
	Name          string  `json:"name"`
	ComputeSource string  `json:"compute_source"` // plan or validation
	ComputeMS     *number `json:"compute_ms,omitempty"`
	ComputeFrom   string  `json:"compute_from,omitempty"`
}

type validatedRunJSON struct {
	Name     string   `json:"name"`
	Feasible bool     `json:"feasible"`
	SameAs   string   `json:"same_as,omitempty"`
	Missing  []string `json:"missing,omitempty"`
	Passes   int      `json:"passes,omitempty"`
	*validatedFiguresJSON
	MAPEPct *number              `json:"mape_pct,omitempty"`
	Models  []validatedModelJSON `json:"models,omitempty"`
}

type validatedModelJSON struct {
	Name          string   `json:"name"`
	Tokens        []string `json:"tokens"`
	CachedBytes   int64    `json:"cached_bytes"`
	StreamedBytes int64    `json:"streamed_bytes"`
	*validatedFiguresJSON
	Warm *validatedFiguresJSON `json:"warm,omitempty"`
	Load *validatedFiguresJSON `json:"load,omitempty"`
}

type validatedFiguresJSON struct {
	Calls       int      `json:"calls,omitempty"`
	Loads       *int     `json:"loads,omitempty"`
	Bytes       *int64   `json:"bytes,omitempty"`
	PredictedMS number   `json:"predicted_ms"`
	MeasuredMS  *number  `json:"measured_ms,omitempty"`
	CIMS        []number `json:"ci_ms,omitempty"`
	PlainMS     *number  `json:"plain_mean_ms,omitempty"`
	ErrorPct    *number  `json:"error_pct,omitempty"`
	Verdict     string   `json:"verdict,omitempty"` // ~, within or outside
}

type validatedPairJSON struct {
	A           string             `json:"a"`
	B           string             `json:"b"`
	PredictedMS number             `json:"predicted_difference_ms"`
	MeasuredMS  number             `json:"measured_difference_ms"`
	CIMS        []number           `json:"ci_ms,omitempty"`
	Verdict     validation.Verdict `json:"verdict"`
}

type validatedRateJSON struct {
	MBPerS          number   `json:"mb_per_s"`
	CIMBPerS        []number `json:"ci_mb_per_s,omitempty"`
	PredictedMBPerS number   `json:"predicted_mb_per_s"`
}

type validatedSlopeJSON struct {
	Name    string   `json:"name"`
	Times   number   `json:"times"`
	CITimes []number `json:"ci_times,omitempty"`
	Bytes   int64    `json:"bytes"`
}

type validatedFindingJSON struct {
	Kind     validation.Kind   `json:"kind"`
	Model    string            `json:"model,omitempty"`
	Runs     []string          `json:"runs,omitempty"`
	Fails    bool              `json:"fails"`
	Follows  bool              `json:"follows,omitempty"` // from another finding
	Text     string            `json:"text"`
	Evidence map[string]number `json:"evidence,omitempty"`
}

type settledJSON struct {
	Assumption  string          `json:"assumption"`
	As          plans.SettledAs `json:"as"`
	Unit        string          `json:"unit,omitempty"`
	Low         *number         `json:"low,omitempty"`
	High        *number         `json:"high,omitempty"`
	Measured    *number         `json:"measured,omitempty"`
	PlanChanges bool            `json:"plan_changes"`
	Text        string          `json:"text"`
}

func intervalJSON(i *validation.Interval, scale float64) []number {
	if i == nil {
		return nil
	}
	return []number{number(i.Low * scale), number(i.High * scale)}
}

// verdictOf says how a prediction compares: "~" where the measurement cannot
// tell the two apart.
func verdictOf(f *validation.Figures) string {
	switch {
	case f.Outside:
		return "outside"
	case f.CI != nil && f.CI.Low <= f.PredictedMS && f.PredictedMS <= f.CI.High:
		return string(validation.Tie)
	}
	return "within"
}

func figuresJSON(f *validation.Figures, whole bool) *validatedFiguresJSON {
	x := &validatedFiguresJSON{
		Calls: f.Calls, PredictedMS: number(f.PredictedMS), MeasuredMS: pointer(f.MeasuredMS), CIMS: intervalJSON(f.CI, 1),
		PlainMS: pointer(f.PlainMS), ErrorPct: pointer(100 * f.Error()), Verdict: verdictOf(f),
	}
	if whole {
		x.Loads, x.Bytes = &f.Loads, &f.Bytes
	}
	return x
}

func (v *Validation) kind() string {
	if v.Resolved.Plan.ByRate {
		return "rates"
	}
	return "weights"
}

// ValidationJSON is the object tpuplan/validation/v1.
func ValidationJSON(v *Validation) []byte {
	r := v.Result
	x := validationJSON{
		Schema: "tpuplan/validation/v1", Source: r.Source, Compiler: v.Resolved.Version.String(), Lock: v.Lock, Devices: append([]string{}, r.Devices...),
		Workload:     validatedWorkloadJSON{v.kind(), v.Seed, r.Calls, v.Passes},
		TolerancePct: number(100 * r.Tolerance), Passed: r.Passed(), ComputeIncluded: v.computeIncluded(),
		Pairs: []validatedPairJSON{}, Slopes: []validatedSlopeJSON{}, Findings: []validatedFindingJSON{}, Settled: []settledJSON{}, Warnings: append([]string{}, r.Warnings...),
	}
	for _, c := range r.Computes {
		m := validatedComputeJSON{Name: c.Model, ComputeSource: "plan"}
		if !c.Included && c.From != "" {
			m.ComputeSource, m.ComputeMS, m.ComputeFrom = "validation", pointer(c.MS), c.From
		}
		x.Models = append(x.Models, m)
	}
	for i := range v.Arrangements {
		x.Runs = append(x.Runs, v.runJSON(i))
	}
	for _, p := range r.Pairs {
		x.Pairs = append(x.Pairs, validatedPairJSON{p.A, p.B, number(p.PredictedMS), number(p.MeasuredMS), intervalJSON(p.CI, 1), p.Verdict})
	}
	if r.Agreement != nil {
		x.RankAgreement = pointer(*r.Agreement)
	}
	if r.Rate != nil {
		x.Rate = &validatedRateJSON{number(r.Rate.BytesPerMS / 1000), intervalJSON(r.Rate.CI, 1e-3), number(r.Rate.Predicted / 1000)}
	}
	for _, s := range r.Slopes {
		x.Slopes = append(x.Slopes, validatedSlopeJSON{s.Model, number(s.Times), intervalJSON(s.CI, 1), s.Bytes})
	}
	for _, f := range r.Findings {
		y := validatedFindingJSON{Kind: f.Kind, Model: f.Model, Runs: f.Arrangements, Fails: f.Fails, Follows: f.Follows, Text: f.Text, Evidence: map[string]number{}}
		for name, value := range f.Evidence {
			y.Evidence[name] = number(value)
		}
		x.Findings = append(x.Findings, y)
	}
	for i := range v.Settled {
		s := &v.Settled[i]
		y := settledJSON{Assumption: s.Range(), As: s.As, Unit: s.Unit, PlanChanges: s.PlanChanges, Text: s.Text()}
		if s.Unit != "" {
			y.Low, y.High = pointer(s.Low), pointer(s.High)
		}
		if s.Measured != nil {
			y.Measured = pointer(s.Measured.Value)
		}
		x.Settled = append(x.Settled, y)
	}
	return encode(x)
}

func (v *Validation) runJSON(i int) validatedRunJSON {
	a, o := &v.Arrangements[i], &v.Result.Arrangements[i]
	y := validatedRunJSON{Name: a.Name, Feasible: a.Violation == nil, SameAs: a.Same, Missing: v.Missing[a.Name]}
	if a.Violation != nil {
		return y
	}
	if !o.Measured {
		y.validatedFiguresJSON = &validatedFiguresJSON{PredictedMS: number(v.predicted(a))}
		return y
	}
	y.Passes, y.validatedFiguresJSON, y.MAPEPct = o.Passes, figuresJSON(&o.Figures, true), pointer(100*o.MAPE)
	for k := range o.Models {
		m := &o.Models[k]
		z := validatedModelJSON{
			Name: m.Name, CachedBytes: m.Split.Cached, StreamedBytes: m.Split.Streamed, validatedFiguresJSON: figuresJSON(&m.Figures, true),
		}
		for _, token := range m.Tokens {
			z.Tokens = append(z.Tokens, fmt.Sprintf("0x%016x", token))
		}
		if m.Warm != nil {
			z.Warm = figuresJSON(m.Warm, false)
		}
		if m.Load != nil {
			z.Load = figuresJSON(m.Load, false)
		}
		y.Models = append(y.Models, z)
	}
	return y
}

// predicted is the mean time of a call under an arrangement that was not
// measured: that of the plan's rates, with the compute that was estimated.
func (v *Validation) predicted(a *plans.Arrangement) float64 {
	ms := v.Resolved.Problem.MeanMS(a.Answer)
	for i, c := range v.Result.Computes {
		ms += float64(v.Resolved.Problem.Models[i].Share * c.MS)
	}
	return ms
}

func (v *Validation) computeIncluded() bool {
	return (&Planned{Resolved: v.Resolved}).computeIncluded()
}

// word is how numbers came about.
func (v *Validation) word() string { return string(v.Result.Source) }

// Validate is what a validation gave: the answer, the plan against what it is
// compared with, its models, what was found and what was settled.
func Validate(v *Validation, style Style) []byte {
	var b bytes.Buffer
	b.WriteString(style.bold(v.headline()) + "\n\n")
	paragraph(&b, style, "", v.setting())
	v.compare(&b, style)
	v.rank(&b, style)
	v.models(&b, style)
	v.found(&b, style)
	v.sure(&b, style)
	return b.Bytes()
}

// headline is the answer in one line.
func (v *Validation) headline() string {
	r, own := v.Result, &v.Result.Arrangements[0]
	if !r.Passed() {
		var kinds []string
		for _, f := range r.Findings {
			if what := findingWords[f.Kind]; f.Fails && !f.Follows && !slices.Contains(kinds, what) {
				kinds = append(kinds, what)
			}
		}
		const shown = 2
		if n := len(kinds) - shown; n > 0 {
			kinds = append(kinds[:shown], fmt.Sprintf("%d more", n))
		}
		return v.word() + ", not as predicted: " + strings.Join(kinds, ", ")
	}
	text := v.word() + ", as predicted"
	if !own.Measured {
		return text
	}
	text += fmt.Sprintf(": %s per call", ms(own.MeasuredMS))
	for _, p := range r.Pairs {
		if p.A != plans.ThisPlan || p.B != planner.Separate {
			continue
		}
		other := own.MeasuredMS - p.MeasuredMS
		switch {
		case p.Verdict == validation.Tie || math.Abs(other/own.MeasuredMS-1) < planner.Tie:
			text += ", no better than " + arrangementTitle(p.B)
		case other > own.MeasuredMS:
			text += ", " + factor(other/own.MeasuredMS) + " better than " + arrangementTitle(p.B)
		default:
			text += ", " + factor(own.MeasuredMS/other) + " worse than " + arrangementTitle(p.B)
		}
	}
	return text
}

// findingWords are the kinds of findings in words.
var findingWords = map[validation.Kind]string{
	validation.CorruptOutput:    "corrupt outputs",
	validation.WrongSplit:       "another split",
	validation.WrongToken:       "files of other groups",
	validation.WrongBandwidth:   "another link rate",
	validation.WrongOverhead:    "another overhead of loads",
	validation.WrongCompute:     "another compute time",
	validation.SlowStreaming:    "another cost of streaming",
	validation.Throttled:        "the device throttles",
	validation.Drifted:          "drift",
	validation.Evicted:          "loads that should not be",
	validation.SkippedLoad:      "loads that are missing",
	validation.Rank:             "another order",
	validation.OutsideTolerance: "times outside the tolerance",
}

// setting says what was done.
func (v *Validation) setting() string {
	r := v.Result
	n := 0
	for _, o := range r.Arrangements {
		if o.Measured && o.Same == "" {
			n++
		}
	}
	on := ""
	if len(r.Devices) > 0 {
		on = " on " + strings.Join(r.Devices, ", ")
	}
	text := fmt.Sprintf("%s, drawn at random by the plan's %s, seed %d; %d times under %s%s.", count(r.Calls, "call"), v.kind(), v.Seed, r.Passes, count(n, "arrangement"), on)
	if r.Source == profile.Simulated {
		text += " Everything is simulated, nothing was measured."
	}
	return text
}

// column heads the times.
func (v *Validation) column() column { return right(strings.ToUpper(v.word())) }

func halfWidth(i *validation.Interval) string {
	if i == nil {
		return "-"
	}
	return digits((i.High - i.Low) / 2)
}

// errorOf is by how much a prediction misses; "~" where that cannot be told.
func errorOf(f *validation.Figures) string {
	if verdictOf(f) == string(validation.Tie) {
		return "~"
	}
	return signedPercent(f.Error())
}

func signedPercent(share float64) string { return fmt.Sprintf("%+.1f %%", 100*share) }

func (v *Validation) compare(b *bytes.Buffer, style Style) {
	b.WriteString("\ncompared, mean time per call in ms\n")
	t := table{columns: []column{{fixed: true}, right("PREDICTED"), v.column(), right("+-"), right("ERROR"), right("LOADS"), right("SENT/CALL")}}
	var notes []string
	for i := range v.Arrangements {
		a, o := &v.Arrangements[i], &v.Result.Arrangements[i]
		name := arrangementTitle(a.Name)
		switch {
		case a.Violation != nil:
			notes = append(notes, name+": violates a pin")
		case !o.Measured && len(v.Missing[a.Name]) > 0:
			t.add(name, digits(v.predicted(a)), "-", "-", "-", "-", "-")
			notes = append(notes, fmt.Sprintf("%s: %s not compiled", name, isAre(len(v.Missing[a.Name]), "file")))
		case !o.Measured:
			t.add(name, digits(v.predicted(a)), "-", "-", "-", "-", "-")
		default:
			t.add(name, digits(o.PredictedMS), digits(o.MeasuredMS), halfWidth(o.CI), errorOf(&o.Figures), fmt.Sprint(o.Loads), size(o.Bytes/int64(o.Calls)))
			if a.Same != "" {
				notes = append(notes, fmt.Sprintf("%s: the same files as %s", name, arrangementTitle(a.Same)))
			}
		}
	}
	t.write(b, style, 2)
	for _, n := range notes {
		b.WriteString("  " + n + "\n")
	}
}

func isAre(n int, thing string) string {
	if n == 1 {
		return "1 " + thing + " is"
	}
	return fmt.Sprintf("%d %ss are", n, thing)
}

// rank says how large errors are, and whether the arrangements rank as predicted.
func (v *Validation) rank(b *bytes.Buffer, style Style) {
	if v.Result.Arrangements[0].Measured {
		paragraph(b, style, "  error: ", fmt.Sprintf("%.1f %% on average over the models of this plan (MAPE); %.3g %% passes", 100*v.Result.Arrangements[0].MAPE, 100*v.Result.Tolerance))
	}
	if len(v.Result.Pairs) == 0 {
		return
	}
	agree, ties := 0, 0
	for _, p := range v.Result.Pairs {
		switch p.Verdict {
		case validation.Agrees:
			agree++
		case validation.Tie:
			ties++
		}
	}
	text := fmt.Sprintf("%d of %s as predicted", agree, count(len(v.Result.Pairs)-ties, "pair"))
	if ties == len(v.Result.Pairs) {
		text = "no two differ by more than the noise"
	} else if ties > 0 {
		text += fmt.Sprintf("; %d differ by less than the noise", ties)
	}
	paragraph(b, style, "  order: ", text)
}

// models is the table of the plan's own models.
func (v *Validation) models(b *bytes.Buffer, style Style) {
	o := &v.Result.Arrangements[0]
	if !o.Measured {
		return
	}
	b.WriteString("\nthis plan, time of a call in ms\n")
	t := table{columns: []column{left("MODEL"), right("CALLS"), right("LOADS"), right("PREDICTED"), v.column(), right("+-"), right("ERROR"), right("SENT/CALL")}}
	for i := range o.Models {
		m := &o.Models[i]
		t.add(m.Name, fmt.Sprint(m.Calls), fmt.Sprint(m.Loads), digits(m.PredictedMS), digits(m.MeasuredMS), halfWidth(m.CI), errorOf(&m.Figures), size(m.Bytes/int64(m.Calls)))
	}
	t.write(b, style, 2)
}

// found lists the findings.
func (v *Validation) found(b *bytes.Buffer, style Style) {
	if len(v.Result.Findings) == 0 {
		return
	}
	b.WriteString("\nfound\n")
	follow := 0
	for _, f := range v.Result.Findings {
		if f.Follows {
			follow++
			continue
		}
		paragraph(b, style, "  - ", f.Text)
	}
	if follow > 0 {
		paragraph(b, style, "  - ", fmt.Sprintf("so %s under all that was tried %s off by more than %.3g %%", count(follow, "mean time"), map[bool]string{true: "is", false: "are"}[follow == 1], 100*v.Result.Tolerance))
	}
}

// sure says what the numbers are worth, and what is settled by them.
func (v *Validation) sure(b *bytes.Buffer, style Style) {
	b.WriteByte('\n')
	var all, estimated []string
	for _, c := range v.Result.Computes {
		all = append(all, c.Model)
		if !c.Included {
			estimated = append(estimated, c.Model)
		}
	}
	text := "+- is half the 95 % interval, from how much passes differ; \"~\": no difference can be told"
	if len(estimated) > 0 {
		text += "; the compute time of " + list(estimated, all) + " was estimated from these calls: only what differs between calls is tested"
	}
	paragraph(b, style, "sure: ", text)
	label := "settled: "
	open := 0
	for i := range v.Settled {
		s := &v.Settled[i]
		if s.As == plans.Open {
			open++
			continue
		}
		paragraph(b, style, label, s.Text())
		label = "         "
	}
	switch {
	case len(v.Settled) == 0:
		paragraph(b, style, label, "the plan takes nothing for granted that a measurement could settle")
	case open == len(v.Settled):
		paragraph(b, style, label, fmt.Sprintf("none of %s: nothing was seen that tells", count(open, "assumption")))
	case open > 0:
		paragraph(b, style, label, fmt.Sprintf("of %s nothing was seen that tells", count(open, "other assumption")))
	}
	if missing := slices.Sorted(maps.Keys(v.Missing)); len(missing) > 0 {
		paragraph(b, style, "next: ", v.Build)
	}
}
