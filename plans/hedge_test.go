package plans

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/planner"
)

func TestHedgeKey(t *testing.T) {
	hashes := map[string]string{}
	for _, test := range []struct {
		text  string
		hedge bool
	}{{"", false}, {"[objective]\nhedge = false\n", false}, {"[objective]\nkind = \"time\"\n", false}, {"[objective]\nhedge = true\n", true}, {"[objective]\nkind = \"time\"\nhedge = true\n", true}} {
		p, err := Parse("plan.toml", []byte(minimal+test.text))
		if err != nil || p.Hedge != test.hedge {
			t.Fatalf("%q: hedge %v, %v", test.text, p, err)
		}
		// Plans without the key mean what they meant, those with it something else.
		hashes[p.meaning()] += test.text
	}
	if len(hashes) != 2 {
		t.Errorf("%d meanings, want 2: %v", len(hashes), hashes)
	}
	p, err := Parse("plan.toml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	const before = "48d1fe031ec5e5c4" // as tpuplan hashed this plan before it had the key
	if got := p.meaning(); !strings.HasPrefix(got, before) {
		t.Errorf("the plan without the key has the hash %s now", got)
	}
	for text, want := range map[string]string{
		"hedge = \"yes\"": `plan.toml:9:9: hedge: a string, want true or false (write true, without quotes)`,
		"hedge = 1":       `plan.toml:9:9: hedge: the number 1, want true or false (write true, without quotes)`,
		"hegde = true":    `plan.toml:9:1: unknown key "hegde" (did you mean "hedge"?)`,
		"robust = true":   `plan.toml:9:1: unknown key "robust" (did you mean "hedge"?)`,
	} {
		if _, err := Parse("plan.toml", []byte(minimal+"[objective]\n"+text+"\n")); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// A lock of a hedge says so, as evidence, and is read back as it was written.
func TestHedgedLock(t *testing.T) {
	r := resolveThree(t, three)
	plan, hedge := together(r), apart(r)
	h := &planner.Hedge{Value: 2.5, PlanValue: 2.25, Price: 0.25, Largest: planner.Extreme{Amount: 0.5}, OfPlan: planner.Extreme{Amount: 1.5}}
	lock := NewHedgedLock(r, plan, hedge, h, true)
	data := mustBytes(t, lock)
	checkSchema(t, data)
	read, err := ParseLock("", data)
	if err != nil {
		t.Fatal(err)
	}
	want := &LockedHedge{Value: 2.5, LargestRegret: 0.5, PlanRegret: 1.5, Price: 0.25, PlanGroups: [][]string{lock.Evidence.Hedge.PlanGroups[0]}, ByFlag: true}
	if diff := cmp.Diff(want, read.Evidence.Hedge); diff != "" || !read.Hedged() || len(want.PlanGroups[0]) != 3 {
		t.Error(diff)
	}
	if NewHedgedLock(r, plan, hedge, h, false).Hedged() || NewLock(r, plan).Hedged() {
		t.Error("a lock of a plan that asks for the hedge itself, or of no hedge, is compared with one")
	}
	s := Compare(NewLock(r, hedge), lock)
	if len(s.Decision) > 0 || strings.Join(s.Evidence, "\n") != "the hedge was none, is now one with a largest regret of 0.5 against 1.5, at a price of 0.25" {
		t.Errorf("%+v", s)
	}
	if strings.Contains(string(mustBytes(t, NewLock(r, plan))), "hedge") {
		t.Error("a lock of no hedge speaks of one")
	}
}
