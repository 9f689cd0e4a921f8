package planner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Tie is the share by which plans may differ and still be equally good: calls
// measured again on real hardware agree to some 1.6 %.
const Tie = 0.02

// Assumption is something that a Problem takes for granted and that may be
// otherwise: a quantity that lies somewhere between Low and High, or a rule
// that may be another one. [Stability] says whether that would change the plan.
type Assumption struct {
	// Sentence says what is assumed of a quantity, given an amount with its
	// unit ("at least 212 rows"); of a rule it says the alternative.
	Sentence func(amount string) string
	// Assumes is what the problem takes for granted, with its value ("the
	// compiler reserves 36 rows of every tile for face"), If a clause about an
	// amount that follows it ("it reserves at least 49 rows"); nil stands for Sentence.
	Assumes string
	If      func(amount string) string
	Unit    string // of the values: "rows", "times", "MB/s"; "" for a rule, which has no values

	// Low and High are the least and the most that the quantity may be,
	// Assumed what the problem takes it for, Step how finely it is
	// varied, from Low on. All are 0 for a rule.
	Low, High, Assumed, Step float64

	// Linear says that the value of every plan is linear in the quantity or in
	// its inverse. Then the ends of the range decide about all of it: the best value of
	// any plan is concave, so what another plan gains is convex.
	Linear bool

	// Change makes a problem the one that has this value (1 for a rule's
	// alternative). It may set what p and p.Models hold, but must
	// replace, not change, what these point to. It may be called from several goroutines.
	Change func(p *Problem, value float64)

	// SettledBy is the single compile, measurement or record that would settle
	// it, Means which of these it is; Models are the models (indexes, in
	// command-line order) of that compile, nil if it is none.
	SettledBy string
	Means     Means
	Models    []int
}

// Means is a kind of evidence.
type Means string

// What an assumption can be settled by.
const (
	ByCompile Means = "compile" // a real compile of its Models
	ByProfile Means = "profile" // calls measured on a device
	ByTrace   Means = "trace"   // recorded calls
)

// Checked says how far a range was searched.
type Checked string

// How far a range was searched.
const (
	CheckedAll   Checked = "all"   // every value is decided
	CheckedSome  Checked = "some"  // the values tried are decided, others between them were not tried
	CheckedEarly Checked = "early" // the search ended before it could prove that no plan is better
)

// Finding is what an [Assumption] means for a plan.
type Finding struct {
	*Assumption
	// PlanChanges: for some value another plan beats this one by more than [Tie].
	PlanChanges bool
	// Regret is how much more the plan costs than the best one, in the unit of
	// the objective, where that is most, which is at Worst. Differences within a
	// tie are not searched to the end, so of a plan that stays it says at most that.
	// ValueAtWorst is what the plan costs there; it is 0 where the regret is.
	Regret       float64
	Worst        float64
	ValueAtWorst float64
	Better       [][]int // the groups that are best there, as Evaluate takes them; nil unless the plan changes
	// AtLeast and AtMost are the values above and below the assumed one from
	// which the plan changes; nil where it does not. Patchy means that it does not for all values beyond.
	AtLeast, AtMost *float64
	Patchy          bool
	Tried           int // values for which the best plan was sought
	Checked         Checked
}

// Limits of a check. DefaultStabilityNodes is the node budget of one value;
// it is smaller than that of a plan because there are many values.
const (
	DefaultStabilityNodes = 50_000
	leastManyNodes        = 500 // the same of many models, which share three times what the plan took
	leastValues           = 9   // of a range in which every value may behave in its own way
	groupValues           = 256 // more, as long as values x groups of all models stay below this
)

// Stability says which of the assumptions would change a plan, one finding for
// each, in their order. Each is varied alone, while everything else is as the
// problem assumes. For every value tried the best plan is sought anew, and
// what it is better than the given decision is the regret; the decision
// changes if that exceeds [Tie], as a share of the best plan's value.
//
// Where values may behave in their own way (how many rows are reserved: the
// compiler's choice is not monotone) some are tried, the ends among them, and the nearest
// change is then found by bisection. A problem of one model leaves
// nothing to decide: there are no findings.
//
// Options.NodeBudget limits the search for one value, 0 is
// DefaultStabilityNodes; Checked says where that was too little, and
// always so where there are more models than are planned exactly. The error is one
// of [Problem.Validate], of the plan or of the context.
func Stability(ctx context.Context, p *Problem, plan *Plan, o Options, list []Assumption) ([]Finding, error) {
	findings, _, err := vary(ctx, p, plan, o, list)
	return findings, err
}

// vary is Stability, and keeps what every value came to.
func vary(ctx context.Context, p *Problem, plan *Plan, o Options, list []Assumption) ([]Finding, []*varying, error) {
	if err := p.Validate(); err != nil {
		return nil, nil, err
	}
	var groups [][]int
	for _, d := range plan.Devices {
		for _, g := range d.Groups {
			groups = append(groups, g.Models)
		}
	}
	if _, err := Evaluate(p, groups); err != nil {
		return nil, nil, fmt.Errorf("the plan to check: %w", err)
	}
	if len(p.Models) == 1 {
		return nil, nil, nil
	}
	if o.NodeBudget <= 0 {
		o.NodeBudget = DefaultStabilityNodes
	}
	findings, varied, errs := make([]Finding, len(list)), make([]*varying, len(list)), make([]error, len(list))
	var next atomic.Int64
	var running sync.WaitGroup
	judged := counting(o.Progress, len(list))
	// Neither the number of workers nor what they remember changes an answer.
	workers := workersOf(o)
	var shared *basis
	if len(p.Models) <= o.maxExact() && len(list) > 0 {
		s := newSearch(ctx, newField(p), Options{Workers: workers, MaxExact: o.MaxExact, Off: o.Off})
		shared = newBasis(s, s.f.keep(groups))
		for i := range list {
			v := &varying{problem: p, Assumption: &list[i]}
			for _, k := range []int{0, v.last()} {
				shared.cover(v.at(k))
			}
		}
		shared.loosen(s)
	} else {
		o.NodeBudget = min(o.NodeBudget, max(leastManyNodes, 3*plan.Certificate.Nodes/int64(2*max(1, len(list)))))
	}
	o.Workers = max(1, workers/max(1, len(list))) // of each search
	for range min(len(list), workers) {
		running.Go(func() {
			mine := shared
			if shared != nil { // its scratch memory is not
				x := *shared
				x.f = shared.f.fork()
				mine = &x
			}
			for i := next.Add(1) - 1; i < int64(len(list)); i = next.Add(1) - 1 {
				v := &varying{ctx: ctx, problem: p, groups: groups, options: o, Assumption: &list[i], tried: map[int]trial{}, basis: mine}
				varied[i] = v
				findings[i], errs[i] = v.find(plan.Certificate.Status == Optimal)
				v.ends, v.relaxed, v.basis = nil, nil, nil
				judged()
			}
		})
	}
	running.Wait()
	return findings, varied, errors.Join(append(errs, ctx.Err())...)
}

// counting is to be called once for each of a number of things that are done,
// by whatever goroutine: report hears of one at a time, in order, and of none first.
func counting(report func(done, of int), of int) func() {
	if report == nil {
		return func() {}
	}
	var one sync.Mutex
	done := 0
	report(done, of)
	return func() {
		one.Lock()
		defer one.Unlock()
		done++
		report(done, of)
	}
}

// varying is one assumption while it is varied. Values are numbered from Low
// in steps.
type varying struct {
	*Assumption
	ctx     context.Context
	problem *Problem
	groups  [][]int
	options Options
	tried   map[int]trial
	basis   *basis            // nil if there are too many models for an exact search
	ends    map[int][]float64 // bounds of all groups at values, if plans cost linearly
	least   *Problem          // with the smallest parts
	relaxed []float64         // bounds of all groups with these
}

// trial is what one value came to.
type trial struct {
	value   float64 // of the plan
	changes bool
	regret  float64
	better  [][]int
	early   bool // a better plan may have been missed
}

// last is the number of the largest value.
func (v *varying) last() int {
	if v.Step <= 0 {
		return 0
	}
	return max(0, int(math.Round((v.High-v.Low)/v.Step)))
}

// assumed is the number of the assumed value; no value of a rule is.
func (v *varying) assumed() int {
	if v.Unit == "" {
		return -1
	}
	return int(math.Round((v.Assumed - v.Low) / v.Step))
}

func (v *varying) value(k int) float64 {
	if v.Unit == "" {
		return 1
	}
	return v.Low + float64(float64(k)*v.Step)
}

// find tries values and says what they mean.
func (v *varying) find(optimal bool) (Finding, error) {
	f := Finding{Assumption: v.Assumption, Worst: v.Assumed, Checked: CheckedAll}
	// Of a plan that is not known to be best at the assumed value no convexity tells anything.
	linear := v.Linear && optimal && v.straight()
	last, assumed := v.last(), v.assumed()
	points := []int{0, last}
	if !linear {
		gaps := min(last, max(leastValues, groupValues>>len(v.problem.Models))-1)
		for i := 1; i < gaps; i++ {
			points = append(points, i*last/gaps)
		}
	}
	for i, k := range points {
		if k == assumed {
			continue
		}
		x, err := v.try(k)
		if err != nil {
			return f, err
		}
		if x.early && i > 0 {
			break // more values would take as long and prove as little
		}
	}
	var err error
	if f.AtLeast, err = v.nearest(assumed, 1); err == nil {
		f.AtMost, err = v.nearest(assumed, -1)
	}
	if err != nil {
		return f, err
	}
	f.Tried = len(v.tried)
	if !linear && f.Tried < last {
		f.Checked = CheckedSome
	}
	for _, k := range slices.Sorted(maps.Keys(v.tried)) {
		x, value := v.tried[k], v.value(k)
		if x.early {
			f.Checked = CheckedEarly
		}
		beyond := f.AtLeast != nil && value > *f.AtLeast || f.AtMost != nil && value < *f.AtMost
		f.Patchy = f.Patchy || beyond && !x.changes
		if x.changes && !f.PlanChanges || x.changes == f.PlanChanges && below(f.Regret, x.regret) {
			f.PlanChanges, f.Regret, f.Worst, f.ValueAtWorst, f.Better = x.changes, x.regret, value, x.value, x.better
		}
	}
	return f, nil
}

// straight reports that loads hide behind nothing: then times are linear in rates.
func (v *varying) straight() bool {
	return !slices.ContainsFunc(v.problem.Models, func(m Model) bool { return m.Call.OverlapMS > 0 })
}

// nearest narrows down the value nearest to the assumed one at which the plan
// changes, above it (side 1) or below (-1); nil if no value tried there changes it.
func (v *varying) nearest(assumed, side int) (*float64, error) {
	if v.Unit == "" {
		return nil, nil
	}
	known := slices.Sorted(maps.Keys(v.tried))
	if side < 0 {
		slices.Reverse(known)
	}
	stays, changes := assumed, -1
	for _, k := range known {
		if (k-assumed)*side <= 0 {
			continue
		}
		if v.tried[k].changes {
			changes = k
			break
		}
		stays = k
	}
	if changes < 0 {
		return nil, nil
	}
	for (changes-stays)*side > 1 {
		middle := (stays + changes) / 2
		x, err := v.seek(middle, true)
		if err != nil {
			return nil, err
		}
		if x.changes {
			changes = middle
		} else {
			stays = middle
		}
	}
	if !v.Linear { // else the regret is largest at an end
		if _, err := v.try(changes); err != nil {
			return nil, err
		}
	}
	value := v.value(changes)
	return &value, nil
}

// at is the problem with one value.
func (v *varying) at(k int) *Problem {
	p := *v.problem
	p.Models = slices.Clone(p.Models)
	v.Change(&p, v.value(k))
	return &p
}

// try seeks the best plan for one value.
func (v *varying) try(k int) (trial, error) { return v.seek(k, false) }

// seek is try, or finds out no more than whether the plan changes.
func (v *varying) seek(k int, only bool) (trial, error) {
	if x, ok := v.tried[k]; ok {
		return x, nil
	}
	if only && v.known(k) {
		return trial{changes: true}, nil
	}
	if err := v.ctx.Err(); err != nil {
		return trial{}, err
	}
	p := v.at(k)
	if err := p.Validate(); err != nil {
		return trial{}, fmt.Errorf("%s: %w", v.Range(), err)
	}
	x := v.compare(k, p, only)
	if !x.changes || x.better != nil {
		v.tried[k] = x
	}
	return x, nil
}

// compare puts the decision against the best plan of a problem. It names none
// if only the fact is wanted that the plan changes, and easily seen.
func (v *varying) compare(k int, p *Problem, only bool) trial {
	if v.basis == nil {
		s := newSearch(v.ctx, newField(p), v.options)
		x, keep := v.open(s)
		if x.value > 0 {
			v.judge(&x, s, s.nearby(keep))
		}
		return x
	}
	d := v.basis.f.differ(p)
	s := newSearch(v.ctx, v.basis.f.with(p, d), v.options)
	x, keep := v.open(s)
	if x.value <= 0 {
		return x
	}
	b := v.bounds(k, s.f, d)
	if d.models.Len() == 1 && !d.all {
		// the groups without the model cost what they did
		m, least, all, best := d.models, math.Inf(1), len(b.lower)-1, 0
		for g := 1; g <= all; g++ {
			if set(g)&m == 0 {
				continue
			}
			rest := v.basis.rest[all&^g]
			if b.unsure[g] && !s.enough(b.lower[g]+rest) {
				b.lower[g], b.unsure[g] = max(b.lower[g], s.boundGroup(set(g)).lower), false
			}
			if b.lower[g]+rest < least {
				least, best = b.lower[g]+rest, g
			}
		}
		if s.enough(least) {
			return x
		}
		if only && below(v.basis.easily(s.f, mask(best), d.models), s.target) {
			x.changes = true
			return x
		}
	}
	e := s.exactly(atoms(s.f.all))
	e.alike()
	for g := range e.groups {
		e.groups[g] = solved{lower: b.lower[g], upper: math.Inf(1), done: math.IsInf(b.lower[g], 1)}
		if b.fresh != nil && !b.fresh[g] {
			y := v.basis.groups[g]
			y.done = !below(y.lower, y.upper)
			e.groups[g] = y
		}
	}
	if d.all || d.models.Len() > 1 {
		// most groups differ: those that the rough bounds leave are bounded anew, all at once
		if least, _ := e.all(lowerOf); s.enough(least) {
			return x
		}
		e.eachGroup(func(s *search, g mask) {
			if y := &e.groups[g]; b.unsure[g] && !s.enough(y.lower+e.least[e.full&^g]) {
				now := s.boundGroup(set(g))
				now.lower = max(now.lower, y.lower)
				now.done = now.done && !below(now.lower, now.upper)
				*y, b.unsure[g] = now, false
			}
		})
	}
	v.judge(&x, s, e.conclude(keep))
	return x
}

// enough reports that nothing of interest lies above this bound.
func (s *search) enough(bound float64) bool { return s.target > 0 && bound >= s.target }

// open prices the decision, and wants plans that are better by more than a tie.
func (v *varying) open(s *search) (x trial, keep [][]int) {
	keep = s.f.keep(v.groups)
	x.value = s.f.costOf(keep)
	s.target = x.value / (1 + Tie)
	return x, keep // nothing costs less than nothing
}

// judge puts the best plan found against the decision.
func (v *varying) judge(x *trial, s *search, a answer) {
	f := s.f
	now := f.costOf(a.groups)
	if below(now, x.value) {
		x.regret, x.changes = x.value-now, below(now, s.target)
	}
	// the search of many models never ends by itself with a proof
	x.early = below(a.bound+a.ties, min(now, s.target))
	if x.changes {
		for _, order := range a.groups {
			group := make([]int, len(order))
			for i, m := range order {
				group[i] = f.at[m]
			}
			x.better = append(x.better, group)
		}
	}
}

// nearby is a quick search of many models: one descent from a plan.
func (s *search) nearby(keep [][]int) answer {
	groups, _ := s.descend(keep)
	bound, kind := s.f.quickBound()
	return answer{groups: groups, bound: bound, kind: kind}
}

// known decides a value without a search: a plan that is better elsewhere is
// better here too. It does not say which is the best.
func (v *varying) known(k int) bool {
	if !v.Linear {
		return false
	}
	f := newField(v.at(k))
	value := f.costOf(f.keep(v.groups))
	for _, x := range v.tried {
		if x.better != nil && below(f.costOf(f.keep(x.better)), value/(1+Tie)) {
			return true
		}
	}
	return false
}

// Range is the assumption in words: "181 to 337 rows of every tile are
// reserved for face".
func (a *Assumption) Range() string {
	if a.Unit == "" {
		return "against what is assumed, " + a.Sentence("")
	}
	return a.with("%s to %s", a.Low, a.High)
}

// with is the sentence about some values.
func (a *Assumption) with(format string, values ...float64) string {
	return a.Sentence(a.amount(format, values...))
}

// amount is some values with their unit: "at least 49 rows".
func (a *Assumption) amount(format string, values ...float64) string {
	words, unit := make([]any, len(values)), a.Unit
	for i, x := range values {
		words[i] = quantity(x)
	}
	if values[len(values)-1] == 1 {
		unit = strings.TrimSuffix(unit, "s")
	}
	return fmt.Sprintf(format, words...) + " " + unit
}

// Condition says when the plan changes, in words that follow Assumes: "it
// reserves at least 49 rows". It is empty if nothing changes the plan.
func (f *Finding) Condition() string {
	clause, text := f.If, ""
	if clause == nil {
		clause = f.Sentence
	}
	switch {
	case !f.PlanChanges:
		return ""
	case f.AtMost != nil && f.AtLeast != nil:
		text = clause(f.amount("at most %s or at least %s", *f.AtMost, *f.AtLeast))
	case f.AtMost != nil:
		text = clause(f.amount("at most %s", *f.AtMost))
	case f.AtLeast != nil:
		text = clause(f.amount("at least %s", *f.AtLeast))
	default:
		text = clause("")
	}
	if f.Patchy {
		text += " (not for every such value)"
	}
	return text
}

// At is the value with the regret, with its unit: "68 rows"; a rule has none.
func (f *Finding) At() string {
	if f.Unit == "" {
		return ""
	}
	return f.amount("%s", f.Worst)
}

// Stake is the share of what the plan costs at its worst that the best plan saves.
func (f *Finding) Stake() float64 {
	if f.ValueAtWorst <= 0 {
		return 0
	}
	return f.Regret / f.ValueAtWorst
}

// quantity writes a value as people read it, with four digits or all before the point.
func quantity(x float64) string {
	if math.Abs(x) >= 1000 {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', 4, 64)
}
