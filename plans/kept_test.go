package plans

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/planner"
)

// A lock's decision is worth what its groups give today, not what they gave.
func TestLockedIsEvaluatedToday(t *testing.T) {
	before := resolveThree(t, three)
	lock := NewLock(before, apart(before))
	// The names map the models, wherever they stand; a is called half as often.
	parts := strings.Split(strings.Replace(three, "5/s", "150/min", 1), "[[model]]")
	now := resolveThree(t, parts[0]+"[[model]]"+parts[3]+"[[model]]"+parts[2]+"[[model]]"+parts[1])
	locked, err := now.Locked(lock)
	if err != nil {
		t.Fatal(err)
	}
	want := apart(now)
	if math.Abs(locked.Value-want.Value) > 1e-9*want.Value || math.Abs(locked.Value/float64(lock.Evidence.Objective.Value)-1) < 0.01 {
		t.Errorf("value %v, want %v; the lock has %v", locked.Value, want.Value, lock.Evidence.Objective.Value)
	}
	if diff := cmp.Diff([][]int{{2}, {1}, {0}}, locked.Groups()); diff != "" {
		t.Error(diff)
	}
}

func TestLockedDoesNotApply(t *testing.T) {
	r := resolveThree(t, three)
	lock := NewLock(r, together(r))
	without := func(name string) string {
		var kept []string
		for i, part := range strings.Split(three, "[[model]]") {
			if i == 0 || !strings.Contains(part, `"`+name+`"`) {
				kept = append(kept, part)
			}
		}
		return strings.Join(kept, "[[model]]")
	}
	for _, test := range []struct{ name, text, want string }{
		{"the plan itself", three, ""},
		{"another rate", strings.Replace(three, "5/s", "50/s", 1), ""},
		{"another flag", strings.Replace(three, "-t 300", "-t 301", 1), ""},
		{"a pin that it keeps", strings.Replace(three, `rate = "5/s"`, "rate = \"5/s\"\norder_before = [\"c\"]", 1), ""},
		{"another release", strings.Replace(three, `"2.1"`, `"16.0"`, 1), "it is for edgetpu_compiler 2.1"},
		{"another device", strings.Replace(three, `"tpu0"`, `"usb"`, 1), `it is for device "tpu0"`},
		{"a model less", without("b"), `model "b" is gone`},
		{"a model renamed", strings.Replace(three, `name = "b"`, `name = "bee"`, 1), "model \"bee\" is new\nmodel \"b\" is gone"},
		{"an order", strings.Replace(three, `name = "c"`, "name = \"c\"\norder_before = [\"a\"]", 1), `the group of "a" violates a pin`},
		{"labels", strings.NewReplacer(`name = "a"`, "name = \"a\"\ngroup = \"x\"", `name = "b"`, "name = \"b\"\ngroup = \"y\"").Replace(three), `the group of "a" violates a pin`},
	} {
		t.Run(test.name, func(t *testing.T) {
			now := resolveThree(t, test.text)
			locked, err := now.Locked(lock)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != test.want || (locked == nil) != (test.want != "") {
				t.Errorf("got %q, want %q", got, test.want)
			}
			answer := apart(now)
			if k := now.Keep(answer, lock, 0.999); (k.Plan == answer) != (test.want != "") {
				t.Errorf("kept: %v", k.Plan != answer)
			}
		})
	}
}

func TestKeepWithoutALock(t *testing.T) {
	r := resolveThree(t, three)
	answer := together(r)
	if diff := cmp.Diff(Keeping{Plan: answer}, r.Keep(answer, nil, planner.DefaultMinGain)); diff != "" {
		t.Error(diff)
	}
}

// The least gain is what the caller says, and the lock of a kept plan is the
// same however often it is asked for.
func TestKeepALock(t *testing.T) {
	r := resolveThree(t, three)
	lock := NewLock(r, apart(r))
	best, err := planner.Solve(t.Context(), r.Problem, planner.Options{})
	if err != nil {
		t.Fatal(err)
	}
	gain := 1 - best.Value/apart(r).Value
	if gain < 0.01 {
		t.Fatalf("the instance decides nothing: a gain of %v", gain)
	}
	if k := r.Keep(best, lock, gain*0.999); k.Plan != best || k.Locked == nil {
		t.Error("kept although a new plan gains more")
	}
	k := r.Keep(best, lock, gain*1.001)
	if k.Plan == best || k.Plan.Kept == nil {
		t.Fatal("not kept although a new plan gains less")
	}
	if err := planner.Verify(r.Problem, k.Plan); err != nil {
		t.Error(err)
	}
	kept := NewLock(r, k.Plan)
	if diff := cmp.Diff([]string{planner.LimitKept, string(planner.Feasible)}, []string{kept.Evidence.Limit, kept.Evidence.Status}); diff != "" {
		t.Error(diff)
	}
	checkSchema(t, mustBytes(t, kept))
	again := NewLock(r, r.Keep(best, kept, gain*1.001).Plan)
	if diff := cmp.Diff(string(mustBytes(t, kept)), string(mustBytes(t, again))); diff != "" {
		t.Error(diff)
	}
}
