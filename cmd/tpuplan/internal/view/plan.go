package view

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/internal/columns"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/plans"
)

// Planned is a plan with what it was made from.
type Planned struct {
	Resolved *plans.Resolved
	Plan     *planner.Plan
	Lock     *plans.Lock // the record of both
	Next     string      // the command to run now; may be empty

	Locked *planner.Plan // what the lock decided, on today's evidence; nil if there is none or it does not apply
	Unfit  error         // why it does not apply

	LockedRegret *planner.Extreme // its largest regret, if Plan is the hedge and there is one

	Checked   bool              // Stability was found out
	Stability []planner.Finding // which assumptions change the plan; of a hedge, the plan AsAssumed
	Settling  []Settling        // of each of them; may be nil
	Listed    bool              // the user has seen all of them already

	Hedge     *planner.Hedge // nil if it was not found out
	HedgeBy   string         // the command that plans the hedge
	AsAssumed *planner.Plan  // the plan best as assumed, if Plan is the hedge

	Compiles  [][]string // the real compiles that were spent on this plan, models by name
	Unsettled bool       // more of them would settle more
}

type planJSON struct {
	Schema          string         `json:"schema"`
	Compiler        string         `json:"compiler"`
	Status          planner.Status `json:"status"`
	Objective       objectiveJSON  `json:"objective"`
	Bound           number         `json:"bound"`
	Gap             number         `json:"gap"`
	TiesAtMost      number         `json:"ties_at_most"`
	BoundKind       string         `json:"bound_kind,omitempty"`
	Nodes           int64          `json:"nodes"`
	Limit           string         `json:"limit,omitempty"`
	ComputeIncluded bool           `json:"compute_included"`
	Devices         []deviceJSON   `json:"devices"`
	Models          []modelJSON    `json:"models"`
	Baselines       []baselineJSON `json:"baselines"`
	Stability       []findingJSON  `json:"stability,omitzero"` // absent if it was not found out
	Hedge           *hedgeJSON     `json:"hedge,omitempty"`
	Warnings        []string       `json:"warnings"`
	Compiles        [][]string     `json:"compiles,omitempty"` // that were spent, models in order
	Kept            *keptJSON      `json:"kept,omitempty"`     // if the lock's decision stays although there is another plan
}

type objectiveJSON struct {
	Kind  string  `json:"kind"`
	Value number  `json:"value"`
	Unit  string  `json:"unit"`
	Low   *number `json:"low,omitempty"` // of times; an end that is not known is absent
	High  *number `json:"high,omitempty"`
}

type deviceJSON struct {
	Name        string                   `json:"name"`
	Groups      []groupJSON              `json:"groups"`
	Calibration *plans.LockedCalibration `json:"calibration,omitempty"`
}

type groupJSON struct {
	Name              string   `json:"name"`
	Models            []string `json:"models"`
	Argv              []string `json:"argv"`
	ReservedRows      int      `json:"reserved_rows"`
	OrderDecidesByTie bool     `json:"order_decides_by_tie,omitempty"`
	Compiled          bool     `json:"compiled,omitempty"`
	Token             string   `json:"token,omitempty"`
}

type modelJSON struct {
	Name            string  `json:"name"`
	Share           number  `json:"share"`
	ComputeIncluded bool    `json:"compute_included"`
	SteadyMS        number  `json:"steady_ms"`
	ColdMS          number  `json:"cold_ms"`
	ExpectedMS      number  `json:"expected_ms"`
	CallHitRate     number  `json:"call_hit_rate"`
	ByteHitRate     *number `json:"byte_hit_rate,omitempty"` // a model without parameters has none
	CachedBytes     int64   `json:"cached_bytes"`
	StreamedBytes   int64   `json:"streamed_bytes"`
	LoadBytes       int64   `json:"load_bytes"`
	LoadsPerCall    number  `json:"loads_per_call"`
	Source          string  `json:"source"`
	// TimeSources are there where the device is calibrated.
	TimeSources *plans.TimeSources `json:"time_sources,omitempty"`
	SplitSource string             `json:"split_source"`
	Certainty   string             `json:"certainty"`
	modelTimesJSON
}

type baselineJSON struct {
	Name     string `json:"name"`
	Value    number `json:"value"`
	Feasible bool   `json:"feasible"`
	// By how much it is more than the plan's. Of times what differs is what is streamed and loaded, which has ends.
	More     *number `json:"more,omitempty"`
	MoreLow  *number `json:"more_low,omitempty"`
	MoreHigh *number `json:"more_high,omitempty"`
}

func (p *Planned) json(schema string) planJSON {
	problem, plan := p.Resolved.Problem, p.Plan
	out := planJSON{
		Schema:          schema,
		Compiler:        problem.Version.String(),
		Status:          plan.Certificate.Status,
		Objective:       p.objectiveJSON(),
		Bound:           number(plan.Certificate.Bound),
		Gap:             number(plan.Certificate.Gap),
		TiesAtMost:      number(plan.Certificate.TiesAtMost),
		BoundKind:       string(plan.Certificate.BoundKind),
		Nodes:           plan.Certificate.Nodes,
		Limit:           plan.Certificate.Limit,
		ComputeIncluded: p.computeIncluded(),
		Devices:         []deviceJSON{},
		Models:          []modelJSON{},
		Baselines:       []baselineJSON{},
		Warnings:        []string{},
		Compiles:        p.Compiles,
		Kept:            p.keptJSON(),
	}
	for d := range plan.Devices {
		device := deviceJSON{Name: plan.Devices[d].Name, Groups: []groupJSON{}, Calibration: p.Lock.Evidence.Devices[d].Calibration}
		for g := range plan.Devices[d].Groups {
			group := &plan.Devices[d].Groups[g]
			x := groupJSON{
				Name: group.Name, Models: p.names(group), Argv: p.argv(d, g),
				ReservedRows: group.Reserved, OrderDecidesByTie: group.OrderTies,
			}
			if c := p.compiled(group); c != nil {
				x.Compiled, x.Token, x.Argv = true, token(c.Token), []string{}
			}
			device.Groups = append(device.Groups, x)
		}
		out.Devices = append(out.Devices, device)
	}
	for i := range plan.Models {
		m, o := &problem.Models[i], &plan.Models[i]
		x := modelJSON{
			Name: m.Name, Share: number(m.Share), ComputeIncluded: m.Call.ComputeIncluded,
			SteadyMS: number(o.SteadyMS), ColdMS: number(o.ColdMS), ExpectedMS: number(o.ExpectedMS),
			CallHitRate: number(1 - o.Miss), LoadsPerCall: number(o.Miss),
			CachedBytes: o.Split.Cached, StreamedBytes: o.Split.Streamed,
			modelTimesJSON: timesJSON(p.Resolved, plan, i),
			Source:         p.evidence(i).Source, TimeSources: p.evidence(i).TimeSources, SplitSource: p.evidence(i).SplitSource, Certainty: p.evidence(i).Certainty,
		}
		if o.Split.Cached > 0 {
			x.LoadBytes = o.Split.Cached + int64(m.Call.LoadBytes)
		}
		if rate, ok := byteHitRate(o); ok {
			x.ByteHitRate = &rate
		}
		out.Models = append(out.Models, x)
	}
	differences := p.differences()
	for _, b := range plan.Baselines {
		x := baselineJSON{Name: b.Name, Value: number(b.Value), Feasible: b.Feasible}
		if d, known := differences[b.Name]; known {
			x.More, x.MoreLow, x.MoreHigh = pointer(d.Value), pointer(d.Low), pointer(d.High)
		} else if b.Feasible && problem.Objective == planner.ByteHits {
			x.More = pointer(b.Value - plan.Value)
		}
		out.Baselines = append(out.Baselines, x)
	}
	out.Stability, out.Hedge = p.findingsJSON(), p.hedgeJSON()
	for _, w := range p.Resolved.WarningsOf(p.Plan) {
		out.Warnings = append(out.Warnings, w.Error())
	}
	return out
}

func (p *Planned) objectiveJSON() objectiveJSON {
	problem := p.Resolved.Problem
	x := objectiveJSON{Kind: problem.Objective.String(), Value: number(p.Plan.Value), Unit: problem.Objective.Unit()}
	if r := p.valueRange(); r.Low < r.High {
		x.Low, x.High = pointer(r.Low), upper(r)
	}
	return x
}

// valueRange is what the plan's value is expected within; bytes are what they are, and
// of a sum that leaves out compute nothing is said.
func (p *Planned) valueRange() cost.Range {
	if p.Resolved.Problem.Objective != planner.Time || !p.computeIncluded() {
		return cost.Exactly(p.Plan.Value)
	}
	return p.Resolved.ValueRange(p.Plan)
}

// byteHitRate is the share of a model's parameter bytes that a call finds on
// the device; there is none for a model without parameters.
func byteHitRate(o *planner.Outcome) (number, bool) {
	all := o.Split.Cached + o.Split.Streamed
	if all == 0 {
		return 0, false
	}
	return number(float64(o.Split.Cached) * (1 - o.Miss) / float64(all)), true
}

// argv is the compiler call of a group with the command that is in force here.
func (p *Planned) argv(device, group int) []string {
	d := &p.Lock.Decision
	g := &d.Devices[device].Groups[group]
	return (&compile.Invocation{Command: p.Resolved.Command, Flags: d.Flags, OutDir: d.OutDir, Group: g.Name, Files: g.Files}).Argv()
}

// evidence is what the lock says of a model.
func (p *Planned) evidence(model int) *plans.LockedModel {
	name := p.Resolved.Problem.Models[model].Name
	i := slices.IndexFunc(p.Lock.Evidence.Models, func(m plans.LockedModel) bool { return m.Name == name })
	return &p.Lock.Evidence.Models[i]
}

// computeIncluded reports whether all times hold everything that a call costs.
func (p *Planned) computeIncluded() bool {
	return !slices.ContainsFunc(p.Resolved.Problem.Models, func(m planner.Model) bool { return !m.Call.ComputeIncluded })
}

// factorsHold reports whether the objective's values may be divided: not where compute is
// left out, nor where only a lower bound of it is known, for then the factor is smaller.
func (p *Planned) factorsHold() bool {
	return p.Resolved.Problem.Objective == planner.ByteHits || p.computeIncluded() && p.valueRange().Bounded()
}

// compiled is set for a group of models that are compiled already.
func (p *Planned) compiled(g *planner.Group) *plans.CompiledFile {
	return p.Resolved.Files[g.Models[0]].Compiled
}

// names are the models of a group in command-line order.
func (p *Planned) names(g *planner.Group) []string { return p.namesOf(g.Models) }

// namesOf are the names of models.
func (p *Planned) namesOf(models []int) []string {
	names := make([]string, len(models))
	for i, m := range models {
		names[i] = p.Resolved.Problem.Models[m].Name
	}
	return names
}

// PlanJSON is the object tpuplan/plan/v1.
func PlanJSON(p *Planned) []byte { return encode(p.json("tpuplan/plan/v1")) }

// Plan is the first screen of optimize. It answers five questions in this
// order: what to do, what it gives, what it is worth, how sure that is, and
// what to run next. The first line alone is the answer.
func Plan(p *Planned, s Style) []byte {
	var b bytes.Buffer
	b.WriteString(s.bold(p.headline(s)) + "\n")
	p.todo(&b, s)
	p.gives(&b, s)
	p.worth(&b, s)
	p.sure(&b, s)
	if p.Next != "" {
		b.WriteString("\nnext: " + p.Next + "\n") // in one piece, to be copied
	}
	return b.Bytes()
}

// headline is the answer in one line: which models together, what a call
// takes, what that is worth, as much of it as fits.
func (p *Planned) headline(s Style) string {
	groups := p.groups()
	names := p.inWords(groups) + ": "
	worth := p.against("separate")
	counts := fmt.Sprintf("%s in %s: ", count(len(p.Plan.Models), "model"), count(len(groups), "group"))
	short := fmt.Sprintf("%s, %s: ", count(len(p.Plan.Models), "model"), count(len(groups), "group"))
	// The answer and the gain come first, then what the answer is expected within, then names.
	plain := p.value(p.Plan.Value)
	if !p.valueRange().Bounded() { // a lower bound is never given for more
		plain = p.valueWithin("")
	}
	for _, value := range []string{p.valueWithin(", predicted"), p.valueWithin(""), plain} {
		for _, which := range []string{names, counts, short} {
			if line := which + value + worth; columns.Width(line) <= s.Width {
				return line
			}
		}
	}
	return counts + plain
}

// groups are the plan's groups of models (indexes) in command-line order.
func (p *Planned) groups() [][]int {
	var groups [][]int
	for d := range p.Plan.Devices {
		for g := range p.Plan.Devices[d].Groups {
			groups = append(groups, p.Plan.Devices[d].Groups[g].Models)
		}
	}
	return groups
}

// inWords says which models are compiled together.
func (p *Planned) inWords(groups [][]int) string {
	var together, alone []string
	for _, g := range groups {
		if names := p.namesOf(g); len(names) == 1 {
			alone = append(alone, names[0])
		} else {
			together = append(together, strings.Join(names, " + "))
		}
	}
	if len(alone) > 0 {
		together = append(together, strings.Join(alone, ", ")+" alone")
	}
	return strings.Join(together, ", ")
}

// value prints an objective value with its unit.
func (p *Planned) value(v float64) string {
	if p.Resolved.Problem.Objective == planner.ByteHits {
		return p.number(v) + " sent per call"
	}
	return p.number(v) + " per call" + p.plusCompute()
}

// valueWithin prints the plan's value with what it is expected within, and, of times
// that are predicted, how that is known.
func (p *Planned) valueWithin(how string) string {
	r := p.valueRange()
	switch {
	case !r.Bounded():
		return "at least " + rough(r.Low, r.Low) + " ms per call"
	case r.Low == r.High:
		return p.value(p.Plan.Value)
	case !predicted(p.Resolved):
		how = ""
	}
	return fmt.Sprintf("%s ms per call (%s%s)", central(r.Value), ends(r), how)
}

// number prints an objective value for a table.
func (p *Planned) number(v float64) string {
	if p.Resolved.Problem.Objective == planner.ByteHits {
		return size(int64(v))
	}
	return ms(v)
}

func (p *Planned) plusCompute() string {
	if p.computeIncluded() {
		return ""
	}
	return " + compute"
}

// against compares the plan with a baseline in words, to follow its value. A
// factor of times that leave out compute, or hold too little of it, would promise too
// much: then it is the difference, which is the same with compute.
func (p *Planned) against(name string) string {
	for _, b := range p.Plan.Baselines {
		if b.Name != name || !b.Feasible || p.Plan.Value <= 0 || len(p.Plan.Models) == 1 {
			continue
		}
		least := 1 + planner.Tie // in time; bytes do not vary from call to call
		if p.Resolved.Problem.Objective == planner.ByteHits {
			least = 1.005
		}
		switch f := b.Value / p.Plan.Value; {
		case f < least && f > 1+rounding && p.Resolved.Problem.Objective == planner.Time:
			return ", within " + percent(planner.Tie) + " of " + baselineNames[name] // MORE may still be certain
		case f < least:
			return ", no better than " + baselineNames[name]
		case p.factorsHold():
			return ", " + factor(f) + " better than " + baselineNames[name]
		}
		return ", " + p.number(b.Value-p.Plan.Value) + " less than " + baselineNames[name]
	}
	return ""
}

// factor is how many times better something is.
func factor(f float64) string { return digits(f) + "x" }

// baselineNames are the machine interface's names in words.
var baselineNames = map[string]string{
	"separate":           "all separate",
	"as-given":           "all together, as given",
	"by-rate":            "all together, by rate",
	"by-size-ascending":  "all together, small first",
	"by-size-descending": "all together, large first",
}

// todo lists devices, groups, models in order, and how each group shares the pool.
func (p *Planned) todo(b *bytes.Buffer, s Style) {
	for d := range p.Plan.Devices {
		device := &p.Plan.Devices[d]
		fmt.Fprintf(b, "\ndevice %s (%s), edgetpu_compiler %s, %s\n", device.Name, p.Resolved.Plan.Devices[d].Link.Name, p.Resolved.Problem.Version, count(len(device.Groups), "group"))
		for g := range device.Groups {
			group := &device.Groups[g]
			order := ""
			if len(group.Models) > 1 && (p.Resolved.Version.Sequential() || group.OrderTies) {
				order = " (in this order)"
			}
			if c := p.compiled(group); c != nil {
				paragraph(b, s, "  "+group.Name+": ", strings.Join(p.names(group), ", ")+", compiled already (token "+token(c.Token)+")")
				continue
			}
			paragraph(b, s, "  "+group.Name+": ", strings.Join(p.names(group), ", ")+order)
			bar := poolBar(group.Reserved)
			free := int64(compile.PoolRows(group.Reserved)-group.Rows) * compile.RowBytes
			for _, m := range group.Models {
				bar.add(p.Resolved.Problem.Models[m].Name, int64(p.Plan.Models[m].Split.Rows)*compile.RowBytes)
			}
			bar.write(b, s, "    ", free)
			if group.OrderTies {
				paragraph(b, s, "    ", "The order moves ops of equal size; its gain rests on the compiler's tie rule.")
			}
		}
	}
}

// gives is the table of models.
func (p *Planned) gives(b *bytes.Buffer, s Style) {
	b.WriteString("\nper call\n")
	calls := "WEIGHT"
	if p.Resolved.Plan.ByRate {
		calls = "RATE"
	}
	t := table{columns: []column{left("MODEL"), right(calls), right("CACHED"), right("STREAMED"), right("HIT RATE"), right("LOADS")}}
	for i := range p.Plan.Models {
		o := &p.Plan.Models[i]
		hits := "-"
		if rate, ok := byteHitRate(o); ok {
			hits = percent(float64(rate))
		}
		t.add(p.Resolved.Problem.Models[i].Name, p.Resolved.Plan.Models[i].CallsText, size(o.Split.Cached), size(o.Split.Streamed), hits, digits(o.Miss))
	}
	t.write(b, s, 2)
	title := "time of a call in ms"
	if alike(p.Resolved) { // else each line says its own
		title = timesTitle(p.Resolved, title+p.plusCompute())
	}
	b.WriteString("\n" + title + "\n")
	timesTable(b, s, p.Resolved, p.Plan)
	for _, note := range timeNotes(p.Resolved, p.Plan) {
		paragraph(b, s, "  ", note)
	}
}

// worth compares with what a user without a planner would do.
func (p *Planned) worth(b *bytes.Buffer, s Style) {
	if !slices.ContainsFunc(p.Resolved.Problem.Models, func(m planner.Model) bool { return !m.Compiled }) {
		return // there is nothing to decide
	}
	unit := "time per call" + p.plusCompute()
	if p.Resolved.Problem.Objective == planner.ByteHits {
		unit = "parameters sent per call"
	}
	switch {
	case p.factorsHold():
	case p.computeIncluded():
		unit += " (FACTOR at most)"
	default:
		unit += " (FACTOR without it)"
	}
	fmt.Fprintf(b, "\ncompared, %s\n", unit)
	t := table{columns: []column{{fixed: true}, right("VALUE"), right("MORE"), right("FACTOR"), left("")}}
	t.add("this plan", p.number(p.Plan.Value), "", "", "")
	differences, open := p.differences(), false
	for _, x := range p.Plan.Baselines {
		if !x.Feasible { // no alternative, so its value is not compared
			t.add(baselineNames[x.Name], p.number(x.Value), "", "", "violates a pin")
			continue
		}
		times := ""
		if p.Plan.Value > 0 {
			times = factor(x.Value / p.Plan.Value)
		}
		more := p.number(x.Value - p.Plan.Value)
		if d, known := differences[x.Name]; known && d.Low < d.High && math.Abs(d.Value) >= leastDifference {
			more, open = fmt.Sprintf("%s (%s)", p.number(d.Value), differs(d)), true
		}
		t.add(baselineNames[x.Name], p.number(x.Value), more, times, "")
	}
	t.write(b, s, 2)
	if open {
		paragraph(b, s, "  ", "MORE is what differs: streaming and loads. Host, compute, input and output are the same in all.")
	}
}

// leastDifference is from where on, in ms, it is said how sure a difference is.
const leastDifference = 0.05

// differs prints what a difference is expected within.
func differs(d cost.Range) string { return digits(d.Low) + ".." + digits(d.High) }

// sure says how good the plan is, and how good its numbers are.
func (p *Planned) sure(b *bytes.Buffer, s Style) {
	text, ties := p.certificate()
	b.WriteString("\n")
	paragraph(b, s, "sure: ", text)
	if ties != "" {
		paragraph(b, s, "      ", ties)
	}
	if text := p.kept(); text != "" {
		paragraph(b, s, "      ", text)
	}
	var all, measured []string // models, and those whose group has been compiled
	bySource, byCertainty, byReserve := map[string][]string{}, map[string][]string{}, map[string][]string{}
	for i := range p.Plan.Models {
		e := p.evidence(i)
		all = append(all, e.Name)
		bySource[e.Source] = append(bySource[e.Source], e.Name)
		if e.SplitSource == plans.Measured {
			measured = append(measured, e.Name)
		} else {
			byCertainty[e.Certainty] = append(byCertainty[e.Certainty], e.Name)
		}
		if p.Resolved.Files[i].Compiled != nil {
			continue // nothing is reserved for it
		}
		rows := reserveOrigin(p.Resolved.Files[i].Reserve)
		byReserve[rows] = append(byReserve[rows], e.Name)
	}
	var splits, rows, times []string
	if len(measured) > 0 {
		splits = append(splits, "measured for "+list(measured, all))
	}
	for c := report.Exact; c <= report.Unknown; c++ {
		if names := byCertainty[c.String()]; len(names) > 0 {
			splits = append(splits, c.String()+" for "+list(names, all))
		}
	}
	paragraph(b, s, "      ", "sizes and split: "+strings.Join(splits, "; "))
	for _, origin := range slices.Sorted(maps.Keys(byReserve)) {
		rows = append(rows, origin+" for "+list(byReserve[origin], all))
	}
	if len(rows) > 0 {
		paragraph(b, s, "      ", "reserved rows: "+strings.Join(rows, "; "))
	}
	for _, source := range slices.Sorted(maps.Keys(bySource)) {
		text := source + " for " + list(bySource[source], all)
		if own := p.Resolved.Plan.Compiler.Version; source != "modelled" && own != p.Resolved.Version {
			text += fmt.Sprintf(" with %s, and corrected by a heuristic count of instruction bytes", own)
		}
		if source == plans.Modelled {
			text = p.modelledTimes(bySource[source], all)
		}
		times = append(times, text)
	}
	paragraph(b, s, "      ", "times: "+strings.Join(times, "; "))
	if text := p.calibration(); text != "" {
		paragraph(b, s, "      ", text)
	}
	if n := len(p.Compiles); n > 0 {
		var calls []string
		for _, names := range p.Compiles {
			calls = append(calls, strings.Join(names, " + "))
		}
		text := fmt.Sprintf("%s spent: %s", count(n, "real compile"), strings.Join(calls, "; "))
		if p.Unsettled {
			text += "; more would settle more"
		}
		paragraph(b, s, "      ", text)
	}
	for _, x := range p.firmAndHedged() {
		if x.text == "" {
			continue
		}
		paragraph(b, s, "      ", x.text)
		if x.command != "" {
			b.WriteString("      " + x.command + "\n") // in one piece, to be copied
		}
	}
}

// modelledTimes says what times that nobody measured are from.
func (p *Planned) modelledTimes(names, all []string) string {
	var shapes, bytes []string
	for _, name := range names {
		i := slices.IndexFunc(p.Resolved.Files, func(f plans.ModelFile) bool { return f.Name == name })
		if p.Resolved.Files[i].Timing != nil {
			shapes = append(shapes, name)
		} else {
			bytes = append(bytes, name)
		}
	}
	var texts []string
	if len(shapes) > 0 {
		text := "predicted from shapes for " + list(shapes, all)
		if clock := clocks(p.Resolved); clock != "" {
			text += ", " + clock
		}
		texts = append(texts, text+", and "+p.instructions(shapes))
	}
	if len(bytes) > 0 {
		texts = append(texts, "from the link's rate for "+list(bytes, all)+", whose compute is not known")
	}
	return strings.Join(texts, "; ")
}

// instructions says where the instruction bytes of models are from.
func (p *Planned) instructions(names []string) string {
	var guessed []string
	for i := range p.Resolved.Files {
		if f := &p.Resolved.Files[i]; slices.Contains(names, f.Name) && !f.InstructionsMeasured() {
			guessed = append(guessed, f.Name)
		}
	}
	switch len(guessed) {
	case 0:
		return "measured instruction bytes"
	case len(names):
		return "a heuristic count of instruction bytes"
	}
	return "measured instruction bytes, a heuristic count of them for " + strings.Join(guessed, ", ")
}

// list names models of all, unless it is all of them; of many it names those that are left out, if these are few.
func list(names, all []string) string {
	var others []string
	for _, name := range all {
		if !slices.Contains(names, name) {
			others = append(others, name)
		}
	}
	switch {
	case len(others) == 0 && len(all) > 1:
		return "all models"
	case len(names) > 4 && len(names) > 3*len(others):
		return "all models but " + strings.Join(others, ", ")
	}
	return strings.Join(names, ", ")
}

// Comparison is the plans of one plan file for several compiler releases.
type Comparison struct {
	Own   compile.Version // the plan file's release
	Plans []Planned       // one for each release
}

type plansJSON struct {
	Schema  string        `json:"schema"`
	Plans   []planJSON    `json:"plans"`
	Pinning []pinningJSON `json:"pinning"`
}

// pinningJSON is what staying with a release costs compared with the best of the plans.
type pinningJSON struct {
	Compiler string `json:"compiler"`
	Value    number `json:"value"`
	Unit     string `json:"unit"`
	Delta    number `json:"delta"`
}

// weakest is how sure the least known split of a plan is.
func (p *Planned) weakest() string {
	weakest := report.Exact
	for c := report.Exact; c <= report.Unknown; c++ {
		for i := range p.Plan.Models {
			if p.evidence(i).Certainty == c.String() {
				weakest = c
			}
		}
	}
	return weakest.String()
}

// best is the plan with the least value; of equals the plan file's own release, else the newest.
func (c *Comparison) best() *Planned {
	return slices.MinFunc(c.pointers(), func(a, b *Planned) int {
		own := func(p *Planned) int {
			if p.Resolved.Version == c.Own {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Plan.Value, b.Plan.Value), cmp.Compare(own(a), own(b)), cmp.Compare(b.Resolved.Version, a.Resolved.Version))
	})
}

func (c *Comparison) pointers() []*Planned {
	list := make([]*Planned, len(c.Plans))
	for i := range c.Plans {
		list[i] = &c.Plans[i]
	}
	return list
}

// ComparisonJSON is the object tpuplan/plans/v1.
func ComparisonJSON(c *Comparison) []byte {
	out := plansJSON{Schema: "tpuplan/plans/v1"}
	best := c.best().Plan.Value
	for i := range c.Plans {
		x := c.Plans[i].json("tpuplan/plan/v1")
		out.Plans = append(out.Plans, x)
		out.Pinning = append(out.Pinning, pinningJSON{x.Compiler, x.Objective.Value, x.Objective.Unit, number(c.Plans[i].Plan.Value - best)})
	}
	return encode(out)
}

// headline says which release to take, and as much of what a call takes as fits.
func (c *Comparison) headline(best *Planned, s Style) string {
	say := func(value func(*Planned) string) string {
		for i := range c.Plans {
			own := &c.Plans[i]
			if own.Resolved.Version != c.Own || own == best {
				continue
			}
			if own.Plan.Value <= best.Plan.Value*(1+planner.Tie) {
				return fmt.Sprintf("stay with edgetpu_compiler %s: %s, none is better by %s", c.Own, value(own), percent(planner.Tie))
			}
			worth := own.number(own.Plan.Value-best.Plan.Value) + " less than " + c.Own.String()
			if best.factorsHold() && best.Plan.Value > 0 {
				worth = factor(own.Plan.Value/best.Plan.Value) + " better than " + c.Own.String()
			}
			return fmt.Sprintf("pin edgetpu_compiler %s: %s, %s", best.Resolved.Version, value(best), worth)
		}
		if !slices.ContainsFunc(c.Plans, func(p Planned) bool { return p.Plan.Value > best.Plan.Value*(1+planner.Tie) }) {
			all := fmt.Sprintf("all %d", len(c.Plans))
			if len(c.Plans) == 2 {
				all = "both"
			}
			return fmt.Sprintf("a tie of %s releases: %s", all, value(best))
		}
		return fmt.Sprintf("edgetpu_compiler %s is the best of these: %s", best.Resolved.Problem.Version, value(best))
	}
	line := ""
	for _, name := range []string{"edgetpu_compiler ", ""} {
		for _, how := range []string{", predicted", ""} {
			line = say(func(p *Planned) string { return p.valueWithin(how) })
			if line = strings.Replace(line, "edgetpu_compiler ", name, 1); columns.Width(line) <= s.Width {
				return line
			}
		}
	}
	return line
}

// Compare shows the plans of several releases side by side, and what pinning
// one of them is worth.
func Compare(c *Comparison, s Style) []byte {
	var b bytes.Buffer
	best := c.best()
	b.WriteString(s.bold(c.headline(best, s)) + "\n\n")
	t := table{columns: []column{{title: "COMPILER", fixed: true}, right("VALUE"), right("PINNING COSTS"), {title: "STATUS", fixed: true}, {title: "SPLIT", fixed: true}, left("GROUPS")}}
	for i := range c.Plans {
		p := &c.Plans[i]
		costs := "-"
		if delta := p.Plan.Value - best.Plan.Value; delta > 0 {
			costs = "+" + p.number(delta)
		}
		own := ""
		if p.Resolved.Problem.Version == c.Own {
			own = " (plan)"
		}
		var groups []string
		for _, g := range p.groups() {
			groups = append(groups, strings.Join(p.namesOf(g), " + "))
		}
		t.add(p.Resolved.Problem.Version.String()+own, p.number(p.Plan.Value), costs, proof(&p.Plan.Certificate), p.weakest(), strings.Join(groups, " | "))
	}
	if _, total := t.widths(0); total > s.Width { // half of the names say less than how many there are
		for i := range c.Plans {
			t.rows[i][len(t.columns)-1] = count(len(c.Plans[i].groups()), "group")
		}
	}
	t.write(&b, s, 0)
	b.WriteString("\n")
	m := table{columns: []column{left("MODEL"), {title: "COMPILER", fixed: true}, right("CACHED"), right("STREAMED"), right("LOADS"), right("EXPECTED")}}
	for i := range best.Plan.Models {
		for k := range c.Plans {
			o := &c.Plans[k].Plan.Models[i]
			name := ""
			if k == 0 {
				name = best.Resolved.Problem.Models[i].Name
			}
			m.add(name, c.Plans[k].Resolved.Problem.Version.String(), size(o.Split.Cached), size(o.Split.Streamed), digits(o.Miss), timed(c.Plans[k].Resolved.ExpectedRange(c.Plans[k].Plan, i)))
		}
	}
	m.write(&b, s, 0)
	b.WriteString("\n")
	if !best.computeIncluded() {
		paragraph(&b, s, "", "Times leave out the compute of models that are compiled already, which no plan changes.")
	}
	if predicted(best.Resolved) && best.Resolved.Problem.Objective == planner.Time {
		paragraph(&b, s, "", "Times are predicted. Releases also differ in instruction bytes, of which only a heuristic count is known unless a compile showed them: small differences prove nothing.")
	}
	paragraph(&b, s, "", "Less than "+percent(planner.Tie)+" apart is a tie: so much do real calls vary. SPLIT is how sure the least known split of a release is.")
	paragraph(&b, s, "", "Nothing was written. To pin a release, set version in the plan's [compiler] table.")
	return b.Bytes()
}
