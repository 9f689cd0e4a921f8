package planner

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
)

// learnAtRandom adds invocations to a problem that were made and gave
// something between a little less and a little more than was predicted, or
// far from it, and may make some models compiled ones.
func learnAtRandom(rng *rand.Rand, p *Problem) {
	n := len(p.Models)
	if rng.IntN(3) == 0 {
		splits := []compile.Split{}
		k := Known{AnyOrder: true}
		for i := range min(n, 1+rng.IntN(2)) {
			m := &p.Models[i]
			for j := range p.Models { // of the labels and orders that were drawn none may speak of it
				p.Models[j].Before = slices.DeleteFunc(p.Models[j].Before, func(b int) bool { return b == i || j == i })
			}
			m.Group, m.Compiled, m.StreamMS = "token", true, nil
			all := m.Load.Bytes()
			m.Load = compile.Load{Streamed: all}
			cached := rng.Int64N(all + 1)
			k.Models = append(k.Models, i)
			splits = append(splits, compile.Split{Cached: cached, Streamed: all - cached, Rows: int(cached / 256)})
		}
		k.Splits = splits
		p.Known = append(p.Known, k)
	}
	for range rng.IntN(6) {
		order := rng.Perm(n)[:1+rng.IntN(n)]
		if slices.ContainsFunc(order, func(m int) bool { return p.Models[m].Compiled }) {
			continue
		}
		k := Known{Models: order, AnyOrder: rng.IntN(2) == 0}
		for _, m := range order {
			all := p.Models[m].Load.Bytes()
			cached := all
			if rng.IntN(2) == 0 {
				cached = rng.Int64N(all + 1)
			}
			k.Splits = append(k.Splits, compile.Split{Cached: cached, Streamed: all - cached + int64(rng.IntN(3)), Rows: int(cached / 256)})
		}
		p.Known = append(p.Known, k)
	}
}

// Results of real compiles replace predictions, better or worse, and the
// search still agrees with brute force under every combination of its rules.
func TestKnownAgainstBruteForce(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	versions := []compile.Version{compile.V1_0, compile.V2_1, compile.V15_0, compile.V16_0}
	chosen, left := 0, 0
	for i := range 400 {
		p := randomProblem(rng, 1+rng.IntN(4), versions[i%len(versions)])
		learnAtRandom(rng, p)
		want := bruteForce(p)
		rules := allRules()
		if detectingRaces {
			rules = []Rules{{}, rules[1+rng.IntN(63)], rules[63]}
		}
		for _, off := range rules {
			plan := solveLike(t, fmt.Sprintf("instance %d", i), p, off, want)
			if plan == nil {
				continue
			}
			for _, g := range plan.Devices[0].Groups {
				if g.Known {
					chosen++
				} else {
					left++
				}
			}
		}
		// The bound of the search for many models must hold too.
		many, err := Solve(context.Background(), p, Options{MaxExact: 1})
		if err != nil {
			t.Fatal(err)
		}
		if many.Certificate.Status == Infeasible {
			continue
		}
		if err := Verify(p, many); err != nil || below(want, many.Certificate.Bound) {
			t.Fatalf("instance %d: %v, bound %v, brute force finds %v", i, err, many.Certificate.Bound, want)
		}
	}
	if chosen == 0 || left == 0 {
		t.Errorf("%d groups with a known result were chosen and %d others: the instances are too easy", chosen, left)
	}
}

func TestKnownInvocations(t *testing.T) {
	load := compile.Load{Parts: []compile.Part{conv(512, 64)}}
	problem := func(known ...Known) *Problem {
		p := &Problem{Version: compile.V15_0, Devices: []Device{{"tpu0"}}, Known: known}
		for _, name := range []string{"a", "b"} {
			p.Models = append(p.Models, Model{Name: name, Share: 0.5, Load: load})
			p.Models[len(p.Models)-1].Call.BytesPerMS = 1000
		}
		return p
	}
	split := func(cached, streamed int64) compile.Split {
		return compile.Split{Cached: cached, Streamed: streamed, Rows: int(cached / 256)}
	}
	all := load.Bytes()
	t.Run("this order only", func(t *testing.T) {
		// Predicted: both are cached, in either order. In the order of the names they were not.
		p := problem(Known{Models: []int{0, 1}, Splits: []compile.Split{split(0, all), split(0, all)}})
		plan, err := Solve(context.Background(), p, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"tpu0-1 b a"}, decision(p, plan)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("any order", func(t *testing.T) {
		p := problem(Known{Models: []int{1, 0}, Splits: []compile.Split{split(0, all), split(0, all)}, AnyOrder: true})
		plan, err := Solve(context.Background(), p, Options{})
		if err != nil {
			t.Fatal(err)
		}
		// Alternating, half the calls of a group of its own load: better than streaming all.
		if diff := cmp.Diff([]string{"tpu0-1 a", "tpu0-2 b"}, decision(p, plan)); diff != "" {
			t.Error(diff)
		}
		if v := baseline(plan, ByRate); v != float64(all)/1000 {
			t.Errorf("all together costs %v, want %v", v, float64(all)/1000)
		}
	})
	t.Run("results that contradict each other", func(t *testing.T) {
		// Each is said to hold for any order; each counts for its own.
		p := problem(
			Known{Models: []int{0, 1}, Splits: []compile.Split{split(0, all), split(0, all)}, AnyOrder: true},
			Known{Models: []int{1, 0}, Splits: []compile.Split{split(all, 0), split(all, 0)}, AnyOrder: true})
		plan, err := Solve(context.Background(), p, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"tpu0-1 b a"}, decision(p, plan)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("as it was compiled", func(t *testing.T) {
		p := problem(Known{Models: []int{1, 0}, Splits: []compile.Split{split(all, 0), split(all, 0)}, AnyOrder: true})
		plan, err := Solve(context.Background(), p, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"tpu0-1 b a"}, decision(p, plan)); diff != "" {
			t.Error(diff)
		}
		if !plan.Devices[0].Groups[0].Known || plan.Value != 0 {
			t.Errorf("%+v", plan)
		}
	})
	t.Run("compiled models", func(t *testing.T) {
		p := problem(Known{Models: []int{0}, Splits: []compile.Split{split(all, 0)}, AnyOrder: true})
		p.Models[0].Compiled, p.Models[0].Group = true, "0x01"
		plan, err := Solve(context.Background(), p, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(p, plan); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"tpu0-1 a", "tpu0-2 b"}, decision(p, plan)); diff != "" {
			t.Error(diff)
		}
		for _, b := range plan.Baselines {
			if !b.Feasible || b.Value != plan.Value {
				t.Errorf("%+v, the only plan has %v", b, plan.Value)
			}
		}
	})
	for _, test := range []struct {
		name  string
		known Known
		want  string
	}{
		{"no models", Known{}, "known invocation 1: 0 splits for 0 models"},
		{"a split too few", Known{Models: []int{0}}, "0 splits for 1 models"},
		{"a model twice", Known{Models: []int{0, 0}, Splits: make([]compile.Split, 2)}, "names model 1 of 2, or names it twice"},
		{"no such model", Known{Models: []int{2}, Splits: make([]compile.Split, 1)}, "names model 3 of 2"},
		{"less than nothing", Known{Models: []int{1}, Splits: []compile.Split{split(-1, 0)}}, `an impossible split of model "b"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := problem(test.known).Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
	alone := Known{Models: []int{0}, Splits: make([]compile.Split, 1), AnyOrder: true}
	for _, test := range []struct {
		name   string
		change func(p *Problem)
		want   string
	}{
		{"no label", func(p *Problem) { p.Models[0].Group = "" }, `model "a" is compiled, but its group has no label`},
		{"mixed", func(p *Problem) { p.Models[1].Group = "x" }, `model "a" is compiled, and model "b" of its group is not`},
		{"result unknown", func(p *Problem) { p.Known = nil }, `model "a" is compiled, but its group's result is not known`},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := problem(alone)
			p.Models[0].Compiled, p.Models[0].Group = true, "x"
			test.change(p)
			if err := p.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func baseline(plan *Plan, name string) float64 {
	for _, b := range plan.Baselines {
		if b.Name == name {
			return b.Value
		}
	}
	return math.NaN()
}
