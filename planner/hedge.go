package planner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// A hedge pays off if the plan's largest regret is more than WorthRegret of
// the best plan's value there, while the hedge costs less than WorthPrice of the
// plan's value as assumed.
const (
	WorthRegret = 0.10
	WorthPrice  = Tie
)

// maxCandidates bounds how many plans are compared for a hedge.
const maxCandidates = 64

// Hedge is a decision that cannot go badly wrong: of the plan and all plans
// that are best, by more than [Tie], for some value of some [Assumption], the
// one whose largest regret is least. Regret is what a plan's value is above that
// of the best plan, in the unit of the objective; the largest is that over all
// values tried, each of one assumption alone, and over the values that the problem assumes.
//
// The best plan at a value is the best that is known there: the candidates and
// what the search for that value found. Where the plan stays this is within a tie of the
// best of all. All candidates are measured against the same, so that the hedge's
// largest regret is never above the plan's.
type Hedge struct {
	// Groups are those of the hedge, as Evaluate takes them, IsPlan says that
	// they are the plan's own: no candidate has a largest regret that is less by more than rounding.
	Groups [][]int
	IsPlan bool

	Value     float64 // of the hedge, as assumed
	PlanValue float64 // of the plan
	Price     float64 // Value less PlanValue; below 0 only if the plan is not known to be the best

	Largest Extreme // the hedge's largest regret
	OfPlan  Extreme // the plan's
	Saves   Extreme // where the hedge is most below the plan; 0 for the plan itself

	Candidates int     // plans compared, the plan among them
	Checked    Checked // how far the ranges were searched

	// Instead is the hedge that was found, if this one was decided before and
	// stays ([Hedge.Keep]) up to MinGain; else nil.
	Instead *Hedge
	MinGain float64

	problem *Problem
	points  []point
	prices  []float64 // of the plan, at the points

	planGroups [][]int // of the plan, numbered by name
}

// Extreme is an amount in the unit of the objective, where it is largest.
type Extreme struct {
	Amount     float64
	Best       float64     // value of the best plan there
	Assumption *Assumption // that is varied there; nil if everything is as assumed
	Value      float64     // of the assumption
}

// If says where that is, in words: "49 rows of every tile are reserved for face".
// It is empty if everything is as assumed.
func (x *Extreme) If() string {
	switch a := x.Assumption; {
	case a == nil:
		return ""
	case a.Unit == "":
		return a.Sentence("")
	default:
		return a.with("%s", x.Value)
	}
}

// Share is the amount as a share of the best plan's value there; ok is false if the latter is 0.
func (x *Extreme) Share() (share float64, ok bool) {
	if x.Best <= 0 {
		return 0, false
	}
	return x.Amount / x.Best, true
}

// exceeds reports an amount of more than a share of the best plan's value.
func (x *Extreme) exceeds(share float64) bool { return below(float64(share*x.Best), x.Amount) }

// Worth reports that whoever wants the plan may want the hedge instead: see
// [WorthRegret]. One that saves nothing beyond a tie anywhere is not worth naming.
func (h *Hedge) Worth() bool {
	return !h.IsPlan && h.OfPlan.exceeds(WorthRegret) && h.Saves.exceeds(Tie) && (h.Price <= 0 || h.Price < float64(WorthPrice*h.PlanValue))
}

// FindHedge does what [Stability] does, and finds the hedge among the plans
// that it meets on the way. With nothing to vary the hedge is the plan.
func FindHedge(ctx context.Context, p *Problem, plan *Plan, o Options, list []Assumption) ([]Finding, *Hedge, error) {
	findings, varied, err := vary(ctx, p, plan, o, list)
	if err != nil {
		return nil, nil, err
	}
	base := newField(p)
	candidates := candidatesOf(base, plan.Groups(), varied)
	h := &Hedge{problem: p, Candidates: len(candidates), Checked: CheckedAll}
	for i := range findings {
		switch c := findings[i].Checked; {
		case c == CheckedEarly, h.Checked == CheckedEarly:
			h.Checked = CheckedEarly
		case c == CheckedSome:
			h.Checked = CheckedSome
		}
	}
	if h.points, err = pointsOf(ctx, base, workersOf(o), varied, candidates); err != nil {
		return nil, nil, err
	}
	h.planGroups = candidates[0].groups
	h.choose(base, candidates)
	return findings, h, nil
}

// choice is a plan, its models numbered by name and its groups sorted by their first.
type choice struct {
	groups [][]int
	saves  float64 // what it is better than the plan, where that is most
}

// sorted puts groups into the order of their names; those of one partition then always cost the same sum.
func sorted(groups [][]int) [][]int {
	groups = slices.Clone(groups)
	slices.SortFunc(groups, func(a, b []int) int { return cmp.Compare(slices.Min(a), slices.Min(b)) })
	return groups
}

func compareGroups(a, b [][]int) int { return slices.CompareFunc(a, b, slices.Compare[[]int]) }

// candidatesOf lists the plan, which comes first, and every plan that is
// better for some value. Of too many those stay that save most.
func candidatesOf(f *field, plan [][]int, varied []*varying) []choice {
	numbered := func(groups [][]int) [][]int { return sorted(f.keep(groups)) }
	var others []choice
	own := choice{groups: numbered(plan)}
	for _, v := range varied {
		for _, k := range slices.Sorted(maps.Keys(v.tried)) {
			if x := v.tried[k]; x.better != nil {
				others = append(others, choice{numbered(x.better), x.regret})
			}
		}
	}
	slices.SortFunc(others, func(a, b choice) int {
		return cmp.Or(compareGroups(a.groups, b.groups), cmp.Compare(b.saves, a.saves))
	})
	others = slices.CompactFunc(others, func(a, b choice) bool { return compareGroups(a.groups, b.groups) == 0 })
	others = slices.DeleteFunc(others, func(c choice) bool { return compareGroups(c.groups, own.groups) == 0 })
	slices.SortStableFunc(others, func(a, b choice) int { return cmp.Compare(b.saves, a.saves) })
	return append([]choice{own}, others[:min(len(others), maxCandidates-1)]...)
}

// point is one value of one assumption, or the problem as it assumes everything.
type point struct {
	problem    *Problem
	assumption *Assumption // nil: as assumed
	value      float64
	best       float64   // value of the best plan that is known
	values     []float64 // of the candidates
}

// pointsOf measures all candidates at all values that were tried; the first
// point is what is assumed.
func pointsOf(ctx context.Context, base *field, workers int, varied []*varying, candidates []choice) ([]point, error) {
	type job struct {
		v *varying
		k int
	}
	points, jobs := []point{{problem: base.problem}}, []job{{}}
	for _, v := range varied {
		for _, k := range slices.Sorted(maps.Keys(v.tried)) {
			points = append(points, point{problem: v.at(k), assumption: v.Assumption, value: v.value(k)})
			jobs = append(jobs, job{v, k})
		}
	}
	var next atomic.Int64
	var running sync.WaitGroup
	for range min(len(points), workers) {
		running.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(points)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				x, v := &points[i], jobs[i].v
				f := newField(x.problem)
				for _, c := range candidates {
					x.values = append(x.values, f.costOf(c.groups))
				}
				x.best = slices.Min(x.values)
				if v != nil { // what the search found may be no candidate: it is better by less than a tie
					x.best = min(x.best, x.values[0]-v.tried[jobs[i].k].regret)
				}
			}
		})
	}
	running.Wait()
	return points, ctx.Err()
}

// regret is what a value is above the best one; rounding is none.
func (x *point) regret(value float64) float64 {
	if !below(x.best, value) {
		return 0
	}
	return value - x.best
}

func (x *point) extreme(amount float64) Extreme {
	return Extreme{Amount: amount, Best: x.best, Assumption: x.assumption, Value: x.value}
}

// largest is where an amount is largest; of equals the first stays.
func (h *Hedge) largest(amount func(point int) float64) Extreme {
	most := h.points[0].extreme(amount(0))
	for i := 1; i < len(h.points); i++ {
		if a := amount(i); below(most.Amount, a) {
			most = h.points[i].extreme(a)
		}
	}
	return most
}

// choose takes the candidate whose largest regret is least: the plan if it is
// one of these, else the one with the lower price, else the first by names.
func (h *Hedge) choose(f *field, candidates []choice) {
	regrets := make([]Extreme, len(candidates))
	scale := 0.0 // differences of values are no more exact than the values
	for c := range candidates {
		regrets[c] = h.largest(func(i int) float64 { return h.points[i].regret(h.points[i].values[c]) })
		scale = max(scale, regrets[c].Best)
	}
	least := slices.MinFunc(regrets, func(a, b Extreme) int { return cmp.Compare(a.Amount, b.Amount) }).Amount
	price := h.points[0].values
	chosen := -1
	for c := range candidates {
		switch {
		case regrets[c].Amount > least+margin(scale+least):
		case chosen < 0, chosen > 0 && cmp.Or(cmp.Compare(price[c], price[chosen]), compareGroups(candidates[c].groups, candidates[chosen].groups)) < 0:
			chosen = c
		}
	}
	for i := range h.points {
		h.prices = append(h.prices, h.points[i].values[0])
	}
	values := func(c int) []float64 {
		all := make([]float64, len(h.points))
		for i := range h.points {
			all[i] = h.points[i].values[c]
		}
		return all
	}
	h.OfPlan = regrets[0]
	h.take(f, candidates[chosen].groups, values(chosen))
	h.IsPlan = chosen == 0
}

// take makes groups, numbered by name, the hedge's, given their values at the points.
func (h *Hedge) take(f *field, groups [][]int, values []float64) {
	h.Groups = nil
	for _, order := range groups {
		group := make([]int, len(order))
		for i, m := range order {
			group[i] = f.at[m]
		}
		h.Groups = append(h.Groups, group)
	}
	h.Value, h.PlanValue, h.Price = values[0], h.prices[0], 0
	if below(min(h.Value, h.PlanValue), max(h.Value, h.PlanValue)) {
		h.Price = h.Value - h.PlanValue
	}
	h.Largest = h.largest(func(i int) float64 { return h.points[i].regret(values[i]) })
	h.Saves = h.largest(func(i int) float64 {
		if !below(values[i], h.prices[i]) {
			return 0
		}
		return h.prices[i] - values[i]
	})
}

// valuesOf are the values of a decision, as Evaluate takes it, at the points.
func (h *Hedge) valuesOf(groups [][]int) (named [][]int, values []float64, err error) {
	if _, err := Evaluate(h.problem, groups); err != nil {
		return nil, nil, err
	}
	named = sorted(newField(h.problem).keep(groups))
	values = make([]float64, len(h.points))
	for i := range h.points {
		values[i] = newField(h.points[i].problem).costOf(named)
	}
	return named, values, nil
}

// RegretOf is the largest regret of any decision, as Evaluate takes it, at the
// values at which the hedge was chosen.
func (h *Hedge) RegretOf(groups [][]int) (Extreme, error) {
	_, values, err := h.valuesOf(groups)
	if err != nil {
		return Extreme{}, err
	}
	return h.largest(func(i int) float64 { return h.points[i].regret(values[i]) }), nil
}

// Keep decides between the hedge that was found and a decision that was taken
// before: that one stays unless the hedge is better by more than minGain of what
// the decision costs, in its largest regret, where that of the decision is largest,
// or in its value as assumed. A hedge for what stays has [Hedge.Instead]; h itself
// comes back where it is better or the same decision.
func (h *Hedge) Keep(groups [][]int, minGain float64) (*Hedge, error) {
	named, values, err := h.valuesOf(groups)
	if err != nil {
		return nil, err
	}
	f := newField(h.problem)
	if compareGroups(named, sorted(f.keep(h.Groups))) == 0 {
		return h, nil
	}
	kept := *h
	kept.Instead, kept.MinGain = h, minGain
	kept.take(f, named, values)
	kept.IsPlan = compareGroups(named, h.planGroups) == 0
	costs := kept.Largest.Best + kept.Largest.Amount
	// differences of values are no more exact than the values
	if kept.Largest.Amount > h.Largest.Amount+float64(minGain*costs)+margin(costs) || below(h.Value, kept.Value*(1-minGain)) {
		return h, nil
	}
	return &kept, nil
}

// Decide makes the hedge the plan. Nothing more is known about the best of all
// plans than before, so that it has the plan's bound; unless it is as good as the
// plan as assumed, its status is feasible and its limit [LimitHedge].
func (h *Hedge) Decide(plan *Plan) (*Plan, error) {
	if h.IsPlan && h.Instead == nil {
		return plan, nil
	}
	hedged, err := Evaluate(h.problem, h.Groups)
	if err != nil {
		return nil, fmt.Errorf("the hedge: %w", err)
	}
	if plan.Certificate.Status.Err() != nil {
		return nil, errors.New("the hedge of no plan")
	}
	hedged.Hedged = &Hedged{Value: plan.Value}
	hedged.Certificate = plan.Certificate.of(hedged.Value, plan.Value)
	if c := &hedged.Certificate; c.Status != Optimal && below(plan.Value, hedged.Value) {
		c.Limit = LimitHedge
	}
	if h.Instead != nil {
		hedged.Kept = &Kept{Value: h.Instead.Value, MinGain: h.MinGain}
		if hedged.Value > 0 {
			hedged.Kept.Gain = (hedged.Value - h.Instead.Value) / hedged.Value
		}
	}
	return hedged, nil
}
