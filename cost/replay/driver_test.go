package replay

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Packages as compiled files hold them. Executables differ in their bytes, so
// that a test sees which of them ran.
func pair(t testing.TB, token uint64) Package {
	return build(t, Executable{Role: ExecutionOnly, Token: token, Bytes: 10, MS: 2}, Executable{Role: ParameterCaching, Token: token, Bytes: 1000, MS: 30})
}

func alone(t testing.TB, token uint64) Package {
	return build(t, Executable{Role: StandAlone, Token: token, Bytes: 10, MS: 2})
}

func build(t testing.TB, executables ...Executable) Package {
	t.Helper()
	p, err := NewPackage(executables...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNewPackage(t *testing.T) {
	cache := Executable{Role: ParameterCaching, Token: 7, Bytes: 1}
	run := Executable{Role: ExecutionOnly, Token: 7, Bytes: 2}
	whole := Executable{Role: StandAlone, Token: 7, Bytes: 4}
	for _, tt := range []struct {
		name   string
		in     []Executable
		main   int64 // bytes of what runs
		caches bool
		fails  string
	}{
		{name: "one is stand-alone", in: []Executable{whole}, main: 4},
		{name: "one is stand-alone whatever its type", in: []Executable{run}, main: 2},
		{name: "even the caching one", in: []Executable{cache}, main: 1},
		{name: "caching and execution", in: []Executable{cache, run}, main: 2, caches: true},
		{name: "execution first", in: []Executable{run, cache}, main: 2, caches: true},
		{name: "of three the stand-alone one is used", in: []Executable{run, cache, whole}, main: 4},
		{name: "none", fails: "0 executables"},
		{name: "two that do not belong together", in: []Executable{run, whole}, fails: "2 executables"},
		{name: "three without a stand-alone one", in: []Executable{run, cache, cache}, fails: "3 executables"},
		{name: "four", in: []Executable{run, cache, whole, whole}, fails: "4 executables"},
		{name: "cached under token 0", in: []Executable{run, {Role: ParameterCaching}}, fails: "token 0"},
		{name: "a time before the past", in: []Executable{{MS: -1}}, fails: "-1 ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := NewPackage(tt.in...)
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Fatalf("got %v, want an error about %s", err, tt.fails)
				}
				return
			}
			if err != nil || p.main.Bytes != tt.main || p.caches != tt.caches {
				t.Errorf("got %+v, %v; want the executable of %d bytes, caching %v", p, err, tt.main, tt.caches)
			}
		})
	}
}

// Each case is a list of calls and what the driver has to load for it, worked
// out by hand from the driver's three steps (see Driver): "a" is a hit,
// "a:0" loads package 0, "a:01" both; "!" is a reset of the chip.
func TestDriver(t *testing.T) {
	for _, tt := range []struct {
		name   string
		models map[string][]Package
		batch  int
		calls  string
	}{
		{
			name:   "mates are each loaded once",
			models: map[string][]Package{"a": {pair(t, 1)}, "b": {pair(t, 1)}},
			calls:  "a:0 a b:0 a b b a",
		},
		{
			name:   "another token forgets all members, each is loaded on its own next call",
			models: map[string][]Package{"a": {pair(t, 1)}, "b": {pair(t, 1)}, "x": {pair(t, 2)}},
			calls:  "a:0 b:0 x:0 a:0 a b:0 a x:0 x",
		},
		{
			name:   "a member that is not called again costs nothing",
			models: map[string][]Package{"a": {pair(t, 1)}, "b": {pair(t, 1)}, "x": {pair(t, 2)}},
			calls:  "a:0 b:0 x:0 a:0 a a",
		},
		{
			name:   "token 0 forgets everything, and so does the next call of it",
			models: map[string][]Package{"a": {pair(t, 1)}, "z": {alone(t, 0)}},
			calls:  "a:0 z a:0 z z a:0 a",
		},
		{
			name:   "a stand-alone run of the same token keeps the cache",
			models: map[string][]Package{"a": {pair(t, 1)}, "s": {alone(t, 1)}},
			calls:  "a:0 s a s s a",
		},
		{
			// s runs while the token is 0 or 2: it forgets everything and leaves token 0, so that the
			// next call of a member, though of its own token, begins anew.
			name:   "a stand-alone run does not set the token",
			models: map[string][]Package{"a": {pair(t, 1)}, "s": {alone(t, 1)}, "x": {pair(t, 2)}},
			calls:  "s a:0 x:0 s a:0 s a x:0 s x:0",
		},
		{
			name:   "several packages of one token are loaded together",
			models: map[string][]Package{"a": {pair(t, 1), pair(t, 1)}, "x": {pair(t, 2)}},
			calls:  "a:01 a x:0 a:01 a",
		},
		{
			name:   "a package without a cache between others",
			models: map[string][]Package{"a": {alone(t, 1), pair(t, 1)}, "x": {pair(t, 2)}},
			calls:  "a:1 a x:0 a:1 a",
		},
		{
			// Within one call of a the second package displaces the first, so that neither is ever found.
			name:   "packages of two tokens displace each other",
			models: map[string][]Package{"a": {pair(t, 1), pair(t, 2)}},
			calls:  "a:01 a:01 a:01",
		},
		{
			name:   "two interpreters of one file load each for itself, then both are warm",
			models: map[string][]Package{"a": {pair(t, 1)}, "b": {pair(t, 1)}},
			calls:  "a:0 b:0 a b",
		},
		{
			name:   "a batch loads once",
			models: map[string][]Package{"a": {pair(t, 1)}, "x": {pair(t, 2)}},
			batch:  3,
			calls:  "a:0 a x:0 a:0",
		},
		{
			name:   "a batch of two tokens loads each package once a call",
			models: map[string][]Package{"a": {pair(t, 1), pair(t, 2)}},
			batch:  2,
			calls:  "a:01 a:01",
		},
		{
			name:   "a reset forgets",
			models: map[string][]Package{"a": {pair(t, 1)}, "b": {pair(t, 1)}},
			calls:  "a:0 b:0 ! a:0 b:0 a",
		},
		{
			// What is cached carries another token than what runs: never found again.
			name: "tokens of one package that differ",
			models: map[string][]Package{"a": {build(t,
				Executable{Role: ExecutionOnly, Token: 1}, Executable{Role: ParameterCaching, Token: 2})}},
			calls: "a:0 a:0 a:0",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d Driver
			open := map[string]*Interpreter{}
			for name, packages := range tt.models {
				open[name] = NewInterpreter(packages, tt.batch)
			}
			for i, step := range strings.Fields(tt.calls) {
				name, want, _ := strings.Cut(step, ":")
				if name == "!" {
					d.Reset()
					continue
				}
				got := ""
				for _, p := range d.Invoke(open[name], nil) {
					got += fmt.Sprint(p)
				}
				if got != want {
					t.Fatalf("call %d, of %s, loads packages %q, want %q", i+1, name, got, want)
				}
			}
		})
	}
}

func TestToken(t *testing.T) {
	var d Driver
	a, s := NewInterpreter([]Package{pair(t, 5)}, 0), NewInterpreter([]Package{alone(t, 6)}, 0)
	var tokens []uint64
	for _, i := range []*Interpreter{s, a, s} {
		d.Invoke(i, nil)
		tokens = append(tokens, d.Token())
	}
	if !slices.Equal(tokens, []uint64{0, 5, 0}) {
		t.Errorf("tokens after the calls: %v", tokens)
	}
}
