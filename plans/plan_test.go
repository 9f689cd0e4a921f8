package plans

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/planner"
)

func ptr(x float64) *float64 { return &x }

func TestParse(t *testing.T) {
	const text = "\uFEFF# every key\r\n" + `
[compiler]
version = "15.0"
flags = ["-a", "-m 12", "-t", "300", "-s"]
out_dir = "./out/"
command = "nice edgetpu_compiler"

[[device]]
name = "tpu0"
link = { mb_per_s = 320, overhead = "250us" }

[[model]]
name = "Größe & Form"
file = "models/./a.tflite"
rate = "30/min"
group = "vision"
order_before = ["b"]
available = "6.91MiB"
steady = "10.3ms"
cold = "0.12s"

[[model]]
name = "b"
file = "b.tflite"
rate = "1.5 / h"
x-note = { anything = [1, 2] }

[objective]
kind = "byte-hits"

[x-tool]
any = "thing"
`
	got, err := Parse("some/plan.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	size, err := report.ParseSize("6.91MiB")
	if err != nil {
		t.Fatal(err)
	}
	want := &Plan{
		Path: "some/plan.toml", Dir: "some",
		Compiler: Compiler{
			Version: compile.V15_0, Flags: []string{"-a", "-m", "12", "-t", "300", "-s"}, AllRegions: true, MinRuntime: 12,
			OutDir: "out", Command: []string{"nice", "edgetpu_compiler"},
		},
		Devices: []Device{{Name: "tpu0", Link: cost.CustomLink(320e3, 0.25)}},
		Models: []Model{
			{
				Name: "Größe & Form", File: "models/a.tflite", Calls: 0.5, CallsText: "30/min", Group: "vision",
				OrderBefore: []string{"b"}, Available: &size, SteadyMS: ptr(10.3), ColdMS: ptr(120),
			},
			{Name: "b", File: "b.tflite", Calls: 1.5 / 3600, CallsText: "1.5/h"},
		},
		ByRate:    true,
		Objective: planner.ByteHits,
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Plan{})); diff != "" {
		t.Error(diff)
	}
}

func TestDefaults(t *testing.T) {
	got, err := Parse("plan.toml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	want := Compiler{Version: compile.V16_0, OutDir: "build", Command: []string{"edgetpu_compiler"}}
	if diff := cmp.Diff(want, got.Compiler); diff != "" {
		t.Error(diff)
	}
	if got.Objective != planner.Time || got.ByRate || got.Dir != "." {
		t.Errorf("objective %v, by rate %v, folder %q; want time, false, \".\"", got.Objective, got.ByRate, got.Dir)
	}
}

// minimal is the smallest plan; edit replaces parts of it.
const minimal = `[[device]]
name = "tpu0"
link = "usb3"
[[model]]
name = "a"
file = "a.tflite"
weight = 1
`

func edit(pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace(minimal)
}

// second adds a second model to the minimal plan, which then begins in line 8.
const second = minimal + `[[model]]
name = "b"
file = "b.tflite"
weight = 2
`

func TestProblems(t *testing.T) {
	weight := func(line string) string { return edit("weight = 1", line) }
	compiler := func(line string) string { return minimal + "[compiler]\n" + line + "\n" }
	tests := []struct {
		name, text string
		want       []string
	}{
		// The document.
		{"empty", "", []string{
			`1:1: the plan has no [[device]] (add [[device]] with name = "tpu0" and link = "usb3")`,
			`1:1: the plan has no [[model]] (add [[model]] with name, file and rate for every model)`,
		}},
		{"syntax", edit(`"usb3"`, `usb3`), []string{`3:8: expected value but found "usb" instead`}},
		{"not TOML", "\x00\x01\x02ELF", []string{`1:1: files cannot contain NULL bytes; probably using UTF-16; TOML files must be UTF-8`}},
		{"duplicate key", minimal + "weight = 2\n", []string{`8:1: key 'model.weight' has already been defined`}},
		{"table over a value", minimal + "x-a.b = 2\nx-a = [1]\n", []string{"9:1: the key was given in line 8 already"}},
		{"value continued", minimal + "x-a = [1]\nx-a.b = 2\n", []string{"9:1: the key was given in line 8 already"}},
		{"UTF-16", "\xff\xfea\x00", []string{"1:1: the file is UTF-16 (save it as UTF-8)"}},
		{"Latin-1", minimal + "x-note = \"Gr\xf6\xdfe\"\n", []string{"8:13: byte 0xf6 is not UTF-8 (save the file as UTF-8)"}},
		{"deep array", minimal + "x-a = " + strings.Repeat("[", 100_000), []string{"8:24: nested deeper than 16 levels"}},
		{"deep table", minimal + "x-a = " + strings.Repeat("{a=", 100_000), []string{"8:58: nested deeper than 16 levels"}},
		{"deep key", strings.Repeat("x-a.", 50_000) + "b = 1\n", []string{"1:65: nested deeper than 16 levels"}},
		{"huge", minimal + strings.Repeat("# more\n", 200_000), []string{"1:1: larger than 1.00MiB, which no plan file is"}},

		// Keys.
		{"unknown key", edit("weight = 1", "weight = 1\nfrequncy = 3"), []string{`8:1: unknown key "frequncy" (did you mean "rate"?)`}},
		{"swapped letters", edit("link", "lnik"), []string{`1:3: [[device]] has no key "link"`, `3:1: unknown key "lnik" (did you mean "link"?)`}},
		{"nothing near", minimal + "[objective]\nzzzzzz = 1\n", []string{`9:1: unknown key "zzzzzz" (known here: kind, hedge)`}},
		{"unknown table", minimal + "[modle]\n", []string{`8:2: unknown key "modle" (did you mean "model"?)`}},
		{"dotted and quoted", minimal + "[compiler]\n\"versi\\u006Fm\" = '''x\n[no]\n'''\nout_dri = 3\n", []string{
			`9:1: unknown key "versiom" (did you mean "version"?)`, `12:1: unknown key "out_dri" (did you mean "out_dir"?)`,
		}},
		{"inline table", "device = [{name = \"tpu0\", lnk = \"usb3\"}]\nmodel = [\n  # a comment\n  {name = \"a\", file = \"a.tflite\", wieght = 1},\n]\n", []string{
			`1:11: [[device]] has no key "link"`, `1:27: unknown key "lnk" (did you mean "link"?)`,
			`4:3: [[model]] has neither rate nor weight (add rate = "10/s")`, `4:35: unknown key "wieght" (did you mean "weight"?)`,
		}},
		{"table is a value", "compiler = 3\n" + minimal, []string{"1:12: [compiler] is the number 3, want a table"}},
		{"tables are a table", "[device]\nname = 'x'\n" + second[strings.Index(second, "[[model]]"):], []string{`1:2: "device" is a table, want an array of tables (begin each with [[device]])`}},
		{"entry is a value", "model = [3]\n" + minimal[:strings.Index(minimal, "[[model]]")], []string{"1:10: [[model]] is the number 3, want a table"}},
		{"missing keys", "[[device]]\n[[model]]\n", []string{
			`1:3: [[device]] has no key "link"`, `1:3: [[device]] has no key "name"`,
			`2:3: [[model]] has neither rate nor weight (add rate = "10/s")`, `2:3: [[model]] has no key "file"`, `2:3: [[model]] has no key "name"`,
		}},

		// Later features.
		{"later", edit("weight = 1", "weight = 1\ndeadline = '10ms'\nsegments = 2\ndevice = 'tpu0'"), []string{
			"8:1: deadlines are not planned yet (leave it out; warm, cold and expected times are shown for every model)",
			"9:1: models are not cut into segments yet (leave it out, or list the .tflite file of every segment as a model of its own)",
			"10:1: models cannot be pinned to a device yet: one device is planned and holds them all (leave it out)",
		}},
		{"second device", minimal + "[[device]]\nname = 'tpu1'\nlink = 'usb3'\n[[device]]\n", []string{"8:3: one device can be planned so far (give every device a plan file of its own)"}},

		// Scalars.
		{"rate without unit", weight(`rate = "10"`), []string{`7:8: rate: "10" has no unit (write "10/s", "30/min" or "2.5/h")`}},
		{"rate is not a number", weight(`rate = nan`), []string{`7:8: rate: it has to be a positive, finite number`}},
		{"rate is negative", weight(`rate = -3`), []string{`7:8: rate: it has to be a positive, finite number`}},
		{"rate is huge", weight(`rate = "1e300/s"`), []string{`7:8: rate: too large; only the proportion of all calls matters`}},
		{"weight is huge", weight("weight = 1e300"), []string{`7:10: weight: too large; only the proportion of all calls matters`}},
		{"time is infinite", weight("weight = 1\nsteady = inf"), []string{`8:10: steady: +Inf is not a positive, finite time`}},
		{"time is huge", weight("weight = 1\nsteady = '1e300ms'"), []string{`8:10: steady: "1e300ms" is longer than a day`}},
		{"time is tiny", weight("weight = 1\nsteady = '1e-300ms'"), []string{`8:10: steady: "1e-300ms" is shorter than any call`}},
		{"link is too slow", edit(`"usb3"`, "{ mb_per_s = 1e-300 }"), []string{`3:21: mb_per_s: it has to be from 0.001 to 1000000 (it is in MB/s, USB 3 carries some 300 to 450)`}},
		{"link is too fast", edit(`"usb3"`, "{ mb_per_s = 1e300 }"), []string{`3:21: mb_per_s: it has to be from 0.001 to 1000000 (it is in MB/s, USB 3 carries some 300 to 450)`}},
		{"overhead is huge", edit(`"usb3"`, "{ mb_per_s = 300, overhead = '1e300s' }"), []string{`3:37: overhead: "1e300s" is longer than a day`}},
		{"version is a whole number", minimal + "[compiler]\nversion = 15\n", []string{`9:11: version: the number 15, want a string (write "15.0")`}},
		{"out_dir is a number", minimal + "[compiler]\nout_dir = 15\n", []string{`9:11: out_dir: the number 15, want a string (write "build")`}},
		{"nothing near a short name", weight("weight = 1\norder_before = ['日本']"), []string{`8:17: no model is called "日本"`}},
		{"rate is a number", weight(`rate = 10`), []string{`7:8: rate: the number 10 has no unit (write "10/s" or "10/h", or use weight)`}},
		{"rate unit", weight(`rate = "10/day"`), []string{`7:8: rate: "10/day" has the unknown unit "/day" (known: /s, /min, /h)`}},
		{"rate number", weight(`rate = "ten/s"`), []string{`7:8: rate: "ten/s" does not begin with a number (write "10/s", "30/min" or "2.5/h")`}},
		{"rate hexadecimal", weight(`rate = "0x10/s"`), []string{`7:8: rate: "0x10/s" does not begin with a number (write "10/s", "30/min" or "2.5/h")`}},
		{"rate zero", weight(`rate = "0/s"`), []string{`7:8: rate: it has to be a positive, finite number`}},
		{"rate huge", weight(`rate = "1e999/s"`), []string{`7:8: rate: it has to be a positive, finite number`}},
		{"rate is a date", weight(`rate = 2020-01-01`), []string{`7:8: rate: a date or time, want a string (write "10/s")`}},
		{"weight negative", weight(`weight = -1`), []string{"7:10: weight: it has to be a positive, finite number"}},
		{"weight infinite", weight(`weight = inf`), []string{"7:10: weight: it has to be a positive, finite number"}},
		{"weight not a number", weight(`weight = nan`), []string{"7:10: weight: it has to be a positive, finite number"}},
		{"weight string", weight(`weight = "3"`), []string{"7:10: weight: a string, want a number (write 2.5 without quotes)"}},
		{"link", edit(`"usb3"`, `"usb4"`), []string{`3:8: link: unknown link "usb4" (known: usb2, pcie-gen1, usb3-rpi4, usb3-rpi5, pcie, usb3; or { mb_per_s = 320, overhead = "0.4ms" })`}},
		{"link number", edit(`"usb3"`, `320`), []string{`3:8: link: the number 320, want a link's name or a table (write "usb3" or { mb_per_s = 320, overhead = "0.4ms" })`}},
		{"link table", edit(`link = "usb3"`, "link = { mbps = 3,\toverhead = 0.4 }"), []string{
			`3:1: link has no key "mb_per_s"`, `3:10: unknown key "mbps" (did you mean "mb_per_s"?)`,
			`3:31: overhead: the number 0.4 has no unit (write "0.4ms", "0.4us" or "0.4s")`,
		}},
		{"link below header", edit(`link = "usb3"`, "[device.link]\nmb_per_s = 0"), []string{"4:12: mb_per_s: it has to be from 0.001 to 1000000 (it is in MB/s, USB 3 carries some 300 to 450)"}},
		{"version", compiler(`version = "16"`), []string{`9:11: version: unknown compiler version "16" (known: 1.0, 2.0, 2.1, 14.1, 15.0, 16.0)`}},
		{"version number", compiler(`version = 16.0`), []string{`9:11: version: the number 16, want a string (write "16.0")`}},
		{"objective", minimal + "[objective]\nkind = \"speed\"\n", []string{`9:8: kind: unknown objective "speed" (known: time, byte-hits)`}},
		{"available", weight("weight = 1\navailable = \"6.91 MB\""), []string{`8:13: available: "6.91 MB" is not a size: no plain number before the unit (write it as the compiler prints it, "6.91MiB")`}},
		{"available number", weight("weight = 1\navailable = 7245660"), []string{`8:13: available: the number 7245660 has no unit (write it as the compiler prints it, "6.91MiB")`}},
		{"available impossible", weight("weight = 1\navailable = \"9MiB\""), []string{`8:13: available: "9MiB" is more than an Edge TPU has (it can cache at most 8.12MiB)`}},
		{"steady", weight("weight = 1\nsteady = \"10.3\""), []string{`8:10: steady: "10.3" has no unit (write "10.3ms", "250us" or "1.2s")`}},
		{"steady zero", weight("weight = 1\nsteady = \"0s\""), []string{"8:10: steady: no call takes no time"}},
		{"steady minutes", weight("weight = 1\nsteady = \"1min\""), []string{`8:10: steady: "1min" is not a time (write "10.3ms", "250us" or "1.2s")`}},
		{"steady negative", weight("weight = 1\nsteady = \"-1ms\""), []string{`8:10: steady: "-1ms" is not a positive, finite time`}},

		// Names and paths.
		{"name empty", edit(`"a"`, `""`), []string{"5:8: name: it is empty"}},
		{"name control", edit(`"a"`, `"a\nb"`), []string{`5:8: name: "a\nb" holds a control character`}},
		{"name blank", edit(`"a"`, `" a"`), []string{`5:8: name: " a" begins or ends with a blank`}},
		{"name twice", strings.Replace(second, `"b"`, `"a"`, 1), []string{`9:8: a second model is called "a" (the first is in line 5; names are unique)`}},
		{"device name", edit(`"tpu0"`, `"my tpu"`), []string{`2:8: name: "my tpu" cannot be part of a file name (use at most 64 letters A-Z a-z, digits and _ . -, the first one a letter, a digit or _)`}},
		{"group name long", weight("weight = 1\ngroup = \"" + strings.Repeat("x", 65) + "\""), []string{`8:9: group: "` + strings.Repeat("x", 57) + `..." cannot be part of a file name (use at most 64 letters A-Z a-z, digits and _ . -, the first one a letter, a digit or _)`}},
		{"group name", weight("weight = 1\ngroup = \"../x\""), []string{`8:9: group: "../x" cannot be part of a file name (use at most 64 letters A-Z a-z, digits and _ . -, the first one a letter, a digit or _)`}},
		{"group automatic", weight("weight = 1\ngroup = \"tpu0-12\""), []string{`8:9: the label "tpu0-12" looks like a group that tpuplan names itself (choose another label)`}},
		{"file kind", edit(`"a.tflite"`, `"a.onnx"`), []string{`6:8: file: "a.onnx" does not end in NAME.tflite (edgetpu_compiler names its output after that part)`}},
		{"base names", strings.Replace(second, `"b.tflite"`, `"x/a.tflite"`, 1), []string{`10:8: "a.tflite" and "x/a.tflite" would both be compiled to "a_edgetpu.tflite" (rename one of the files)`}},
		{"output is an input", strings.Replace(second, `"b.tflite"`, `"build/a_edgetpu.tflite"`, 1), []string{`10:8: compiling "a.tflite" would overwrite "build/a_edgetpu.tflite" (change out_dir or rename the file)`}},

		// Command and flags.
		{"command empty", compiler("command = []"), []string{"9:11: command: it is empty"}},
		{"command quotes", compiler(`command = "sh -c 'x y'"`), []string{`9:11: command: "sh -c 'x y'" holds a quote or a backslash, which a string of words cannot (give one word an element: ["sh", "-c", "..."])`}},
		{"command variable", compiler(`command = ["docker", "run", "-v", "$PWD:/w"]`), []string{
			`9:35: command: "$PWD:/w" would not be expanded: the command is run without a shell (paths are relative to the plan's folder; docker and podman take "--volume=.:/w")`,
		}},
		{"command table", compiler("command = { }"), []string{`9:11: command: a table, want a string or an array of strings (write "edgetpu_compiler" or ["docker", "run", ...])`}},
		{"flags", compiler(`flags = ["-n", "3", "-d", "-i", "-k 2", "-o", "--out_dir=x", "-z"]`), []string{
			"9:10: flags: -n cuts models into segments, which are not planned yet (leave it out; a segment's own .tflite file can be a model of the plan)",
			`9:16: flags: unknown flag "3" (a plan may set -a, -m N, -t N and -s)`,
			"9:21: flags: -d drops operations until something compiles, so the result cannot be predicted (cut the model before it is planned)",
			"9:27: flags: -i cuts the model at a tensor, so the result cannot be predicted (cut the model before it is planned)",
			"9:33: flags: -k is the step of -d, whose result cannot be predicted (leave it out)",
			"9:41: flags: -o is set by the plan (use out_dir)",
			"9:47: flags: -o is set by the plan (use out_dir)",
			`9:62: flags: unknown flag "-z" (a plan may set -a, -m N, -t N and -s)`,
		}},
		{"flag values", compiler(`flags = ["-m x", "-t"]`), []string{
			`9:10: flags: -m wants a positive whole number, not "x" (write "-m 14")`,
		}},
		{"runtime version", compiler(`flags = ["-m 9"]`), []string{`9:10: flags: -m is a runtime version from 10 to 14, not 9 (leave it out for 14)`}},
		{"timeout", compiler(`flags = ["-t 0"]`), []string{`9:10: flags: -t wants a positive whole number, not "0" (write "-t 600")`}},
		{"flag without value", compiler(`flags = ["-s", "-m"]`), []string{`9:9: flags: -m wants a number after it (write "-m 14")`}},
		{"flag twice", compiler(`flags = ["-a", "-a"]`), []string{"9:16: flags: -a is given twice"}},
		{"long flag", compiler(`flags = ["--min_runtime_version=12"]`), []string{`9:10: flags: "--min_runtime_version=12" is a long form (write "-m")`}},
		{"flags string", compiler(`flags = "-a"`), []string{`9:9: flags: a string, want an array of strings (write ["-a", "-m 14"])`}},

		// Between values.
		{"rate and weight", weight("weight = 1\nrate = \"1/s\""), []string{"7:1: a model has a rate or a weight, not both"}},
		{"rate beside weight", strings.Replace(second, "weight = 2", `rate = "2/s"`, 1), []string{"11:1: this model has a rate, the ones before it a weight (give all models the one or all the other)"}},
		{"cold alone", weight("weight = 1\ncold = \"3ms\""), []string{"8:1: cold is given without steady (the difference of the two is what loading costs; add steady)"}},
		{"cold not above steady", weight("weight = 1\ncold = \"3ms\"\nsteady = \"3000us\""), []string{
			"8:8: cold is not longer than steady, but a cold call loads parameters first (steady is the warm call of the model compiled alone, cold its first call)",
		}},
		{"order of itself", weight("weight = 1\norder_before = [\"a\"]"), []string{"8:17: a model cannot come before itself"}},
		{"order of nothing alike", second + "order_before = [\"zz\"]\n", []string{`12:17: no model is called "zz"`}},
		{"order unknown", second + "order_before = [\n  \"aa\",\n  \"zzzzz\"\n]\n", []string{`13:3: no model is called "aa" (did you mean "a"?)`, `14:3: no model is called "zzzzz"`}},
		{"order twice", second + `order_before = ["a", "a"]`, []string{`12:22: order_before: "a" is named twice`}},
		{"order goes round", strings.Replace(second, "weight = 1", "weight = 1\norder_before = [\"b\"]", 1) + "order_before = [\"a\"]\n", []string{
			"13:17: order_before goes round: a -> b -> a (remove one of the pins)",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("plan.toml", []byte(tt.text))
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error %v, want Problems", err)
			}
			var got []string
			for _, p := range problems {
				got = append(got, strings.TrimPrefix(p.Error(), "plan.toml:"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if !problems.InPlan() {
				t.Error("not a problem of the plan file")
			}
		})
	}
}

// One run reports everything that is wrong, sorted by line.
func TestAllProblemsInOneRun(t *testing.T) {
	const text = `[[model]]
name = "a"
file = 3
rate = "10"
[compiler]
version = "17.0"
flags = ["-a", "-n 2"]
unknown = true
[[device]]
name = "tpu 0"
link = "usb"
[[model]]
name = "a"
file = "a.tflite"
rate = "1/s"
cold = "1"
[objective]
kind = 1
`
	_, err := Parse("p.toml", []byte(text))
	var lines []int
	var problems Problems
	errors.As(err, &problems)
	for _, p := range problems {
		lines = append(lines, p.Line)
	}
	if diff := cmp.Diff([]int{3, 4, 6, 7, 8, 10, 11, 13, 16, 18}, lines); diff != "" {
		t.Errorf("lines: %s\n%v", diff, err)
	}
}

func TestExcerpt(t *testing.T) {
	_, err := Parse("p.toml", []byte(edit("weight = 1", "\tweight = \"é\" # ü\r")))
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 1 {
		t.Fatal(err)
	}
	want := "    7 | \tweight = \"é\" # ü\n" +
		"      | \t         ^^^\n"
	if diff := cmp.Diff(want, problems[0].Excerpt()); diff != "" {
		t.Error(diff)
	}
	_, err = Parse("p.toml", []byte(edit("weight = 1", `weight = 1
group = "日本" # 語`)))
	if !errors.As(err, &problems) || len(problems) != 1 {
		t.Fatal(err)
	}
	want = "    8 | group = \"日本\" # 語\n" +
		"      |         ^^^^^^\n" // as wide on a terminal
	if diff := cmp.Diff(want, problems[0].Excerpt()); diff != "" {
		t.Error(diff)
	}
	if got := (Problem{Message: "m"}).Excerpt(); got != "" {
		t.Errorf("excerpt without a place: %q", got)
	}
}

// A pin cycle is a contradiction only if its models could share a group.
func TestOrderAcrossGroups(t *testing.T) {
	model := func(name, group, before string) string {
		s := "[[model]]\nname = '" + name + "'\nfile = '" + name + ".tflite'\nweight = 1\norder_before = ['" + before + "']\n"
		if group != "" {
			s += "group = '" + group + "'\n"
		}
		return s
	}
	device := "[[device]]\nname='t'\nlink='pcie'\n"
	tests := []struct {
		name, text, want string
	}{
		{"apart", model("a", "x", "b") + model("b", "", "c") + model("c", "y", "a"), ""},
		{"two labels, the free one in between", model("a", "x", "b") + model("b", "", "a") + model("c", "y", "b"), "a -> b -> a"},
		{"one label", model("c", "x", "a") + model("a", "x", "b") + model("b", "x", "c"), "c -> a -> b -> c"},
		{"tail before the cycle", model("z", "", "a") + model("a", "", "b") + model("b", "", "a"), "a -> b -> a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("plan.toml", []byte(device+tt.text))
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || strings.Count(err.Error(), "\n") != 0 || !strings.Contains(err.Error(), "goes round: "+tt.want+" (") {
				t.Errorf("got %v, want one cycle %s", err, tt.want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	plan, err := Parse("plan.toml", []byte(edit(`"a.tflite"`, `"/models/a.tflite"`)+"[compiler]\nout_dir = '/out'\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range plan.Warnings {
		got = append(got, w.Error())
	}
	want := []string{
		`plan.toml:6:8: "/models/a.tflite" is an absolute path: the lock and the build files are not portable (paths are relative to the plan's folder)`,
		`plan.toml:9:11: out_dir is an absolute path: the lock and the build files are not portable (paths are relative to the plan's folder)`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	plan, err := Load(write("plan.toml", minimal))
	if err != nil || plan.Dir != dir {
		t.Errorf("plan %+v, error %v", plan, err)
	}
	for _, tt := range []struct{ path, want string }{
		{filepath.Join(dir, "none.toml"), "none.toml: the plan file does not exist"},
		{dir, filepath.Base(dir) + ": a folder, not a plan file"},
		{write("bad.toml", "x ="), "bad.toml:1:"},
	} {
		if _, err := Load(tt.path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Load(%s): %v, want %q", tt.path, err, tt.want)
		}
	}
}

func TestLockPath(t *testing.T) {
	for in, want := range map[string]string{"plan.toml": "plan.lock.json", "a/b.toml": "a/b.lock.json", "plan": "plan.lock.json", "x.toml.toml": "x.toml.lock.json"} {
		if got := LockPath(in); got != want {
			t.Errorf("LockPath(%q) = %q, want %q", in, got, want)
		}
	}
}

// The runtime is part of what a plan says, where it is given: a lock of the other one is of another plan.
func TestRuntimeIsPartOfThePlan(t *testing.T) {
	meaning := func(runtime string) (*Plan, string) {
		text := strings.Replace(planOf("a"), "link = 'usb2'\n", "link = 'usb2'\n"+runtime, 1)
		p, err := Parse("plan.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return p, p.meaning()
	}
	plain, without := meaning("")
	std, slow := meaning("runtime = 'std'\n")
	most, fast := meaning("runtime = 'max'\n")
	if without == slow || slow == fast || without == fast {
		t.Errorf("meanings %.8s, %.8s, %.8s", without, slow, fast)
	}
	if plain.Devices[0].Link.Slow != 1 || std.Devices[0].Link.Slow != 2 || most.Devices[0].Link.Slow != 1 {
		t.Errorf("compute takes %v, %v, %v times as long", plain.Devices[0].Link.Slow, std.Devices[0].Link.Slow, most.Devices[0].Link.Slow)
	}
}
