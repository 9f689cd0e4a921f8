package known_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/internal/known"
	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

var nets = flag.String("nets", "", "folder that TestWriteNets writes the nets of the latencies to")

func TestTimingErrors(t *testing.T) {
	const columns = "source\thost\tlink\tmodel\tcompiler\tms\tcached_MiB\tstreamed_MiB\tnote\n"
	for text, want := range map[string]string{
		columns + "a\tb\tc\td\te\t1.5\t0.5\t0.0\tf\n":       "",
		columns + "a\tb\tc\td\te\t1.5\t\t\t\n":              "",
		"source\thost\n":                                    "line 1: the columns are",
		columns + "a\tb\tc\td\te\t1.5\t0.5\t0.0\n":          "line 2: 8 columns, want 9",
		columns + "a\tb\tc\td\te\t1.5\t0.5\t0.0\tf\tg\n":    "line 2: 10 columns, want 9",
		columns + "a\tb\tc\td\te\t1.5\t\t\t\n\n":            "line 3: 1 columns, want 9",
		columns + "a\tb\t\td\te\t1.5\t\t\t\n":               "column 3 is empty",
		columns + "a\tb\tc\td\te\tfast\t\t\t\n":             `"fast" is not a time`,
		columns + "a\tb\tc\td\te\t0\t\t\t\n":                `"0" is not a time`,
		columns + "a\tb\tc\td\te\tNaN\t\t\t\n":              `"NaN" is not a time`,
		columns + "a\tb\tc\td\te\t1\t7.65\t\t\n":            "only one of cached and streamed memory",
		columns + "a\tb\tc\td\te\t1\tmuch\t0.0\t\n":         `"much" is no memory`,
		columns + "a\tb\tc\td\te\t1\t-7.65\t0.0\t\n":        "is not a size",
		columns + "a\tb\tc\td\te\t1\t7.65\t99999999999\t\n": "more than any Edge TPU has",
	} {
		_, err := known.ParseTimings(text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func timings(t *testing.T) (list []known.Timing, models string) {
	t.Helper()
	dir := testdata.Dir(t)
	list, err := known.Timings(dir)
	if err != nil {
		t.Fatal(err)
	}
	return list, filepath.Join(dir, "models")
}

// Every row has a net or the reason why there is none.
func TestEveryTiming(t *testing.T) {
	list, _ := timings(t)
	type count struct{ Nets, With, Without int }
	got := map[string]count{}
	families := map[string]int{}
	seen := map[*known.Net]bool{}
	for i := range list {
		x := &list[i]
		if (x.Net == nil) == (x.Why == "") {
			t.Errorf("line %d, %s: net %v, reason %q", x.Line, x.Model, x.Net, x.Why)
		}
		if x.Net == nil && x.Doubt != "" {
			t.Errorf("line %d: a doubt about no net", x.Line)
		}
		if _, err := cost.BuiltinLink(x.CostLink); err != nil {
			t.Errorf("line %d: %v", x.Line, err)
		}
		if _, err := compile.ParseVersion(x.Release); err != nil {
			t.Errorf("line %d: %v", x.Line, err)
		}
		c := got[x.Source]
		if x.Net == nil {
			c.Without++
		} else {
			c.With++
			families[x.Family]++
			if !seen[x.Net] {
				seen[x.Net] = true
				c.Nets++
			}
		}
		got[x.Source] = c
	}
	if diff := cmp.Diff(map[string]count{
		"coral-benchmarks": {17, 34, 2},
		"sparta":           {4, 4, 175},
		"sparta-synth":     {0, 0, 44},
		"villarrubia-conv": {153, 213, 0},
		"villarrubia-fc":   {146, 146, 0},
	}, got); diff != "" {
		t.Errorf("rows by source:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{
		"mobilenet v1": 4, "mobilenet v2": 7, "inception": 7, "resnet": 8, "vgg": 4, "squeezenet": 2, "densenet": 2,
		"efficientnet": 4, "conv sweep": 213, "fc sweep": 146,
	}, families); diff != "" {
		t.Errorf("rows with a net by family:\n%s", diff)
	}
}

// predict is one call of the compiler with a net.
func predict(t *testing.T, n *known.Net, models string, v compile.Version) (*tflite.Source, *compile.Predicted, *report.Model) {
	t.Helper()
	src, err := n.Source(models)
	if err != nil {
		t.Fatal(err)
	}
	m := compile.Analyze(src, compile.Settings{Version: v})
	p := compile.Predict(v, []compile.Input{{File: n.Name, Model: m, Reserve: m.Reserve}})
	return src, &p.Models[0], &p.Report.Models[0]
}

// The memory that was published of a net, cached and streamed together and
// each for itself. What differs is stated.
func TestMemoryOfTimings(t *testing.T) {
	together := map[string]string{
		"c_googlenet": "24,305 rows predicted, 24,310 or more published: something of five rows or more that its list does not have",
	}
	split := map[string]string{
		"c_resnet18":  "one row of every tile more is reserved than predicted, within the formula's range",
		"c_googlenet": together["c_googlenet"],
	}
	list, models := timings(t)
	n := 0
	differed := map[string]bool{}
	for i := range list {
		x := &list[i]
		if x.Net == nil || x.Cached == nil {
			continue
		}
		n++
		v, err := compile.ParseVersion(x.Release)
		if err != nil {
			t.Fatal(err)
		}
		_, p, said := predict(t, x.Net, models, v)
		sum := float64(p.Split.Rows*compile.RowBytes) + float64(p.Split.Streamed)
		if inside := sum >= x.Cached.Low+x.Streamed.Low && sum <= x.Cached.High+x.Streamed.High; inside != (together[x.Model] == "") {
			t.Errorf("%s: %.0f bytes cached and streamed, published %s and %s; it is stated that %q", x.Model, sum, x.Cached.Text, x.Streamed.Text, together[x.Model])
		}
		same := said.OnChip.Apart(x.Cached) == 0 && said.Streamed.Apart(x.Streamed) == 0
		if same != (split[x.Model] == "") {
			t.Errorf("%s: %s cached, %s streamed; published %s and %s; it is stated that %q", x.Model, said.OnChip.Text, said.Streamed.Text, x.Cached.Text, x.Streamed.Text, split[x.Model])
		}
		if !same {
			differed[x.Model] = true
		}
	}
	if n != 4+213+146 || len(differed) != len(split) {
		t.Errorf("%d rows with memory, %d nets differed", n, len(differed))
	}
}

// The table leaves open whether the convolutions were compiled by 15.0 or
// 16.0. As 15.0 would have it all memory is as published. With biases, zero or
// not, it is not: their layers have none.
func TestReleaseOfConvolutions(t *testing.T) {
	list, _ := timings(t)
	for _, bias := range []bool{false, true} {
		differ := 0
		for i := range list {
			x := &list[i]
			if x.Source != "villarrubia-conv" {
				continue
			}
			var layers, filters int
			if _, err := fmt.Sscanf(x.Model, "conv 64x64 %d layers 3x3 F=%d", &layers, &filters); err != nil {
				t.Fatal(err)
			}
			q := perChannel
			q.NoBias = !bias
			n := known.Net{Name: x.Model, Draw: func(b *tflitetest.Builder) { known.Sweep(layers, filters).Draw(b, q) }}
			_, _, said := predict(t, &n, "", compile.V15_0)
			if said.OnChip.Apart(x.Cached) != 0 || said.Streamed.Apart(x.Streamed) != 0 {
				differ++
			}
		}
		if want := map[bool]int{false: 0, true: 157}[bias]; differ != want {
			t.Errorf("%d of 213 rows differ from 15.0 (biases: %v), want %d", differ, bias, want)
		}
	}
}

// A call cannot be much shorter than what it streams takes; where it is, the row says so.
func TestDoubts(t *testing.T) {
	list, models := timings(t)
	for i := range list {
		x := &list[i]
		if x.Net == nil {
			continue
		}
		v, err := compile.ParseVersion(x.Release)
		if err != nil {
			t.Fatal(err)
		}
		link, err := cost.BuiltinLink(x.CostLink)
		if err != nil {
			t.Fatal(err)
		}
		_, p, _ := predict(t, x.Net, models, v)
		// links differ by 12 % between hosts of a kind
		if short := x.MS < 0.85*float64(p.Split.Streamed)/link.BytesPerMS; short != (x.Doubt != "") {
			t.Errorf("%s on %s: %.2f ms, %d bytes are streamed; the doubt is %q", x.Model, x.Host, x.MS, p.Split.Streamed, x.Doubt)
		}
	}
}

// Of Inception-ResNet v2 the published times fit the net of the paper (Szegedy
// et al., arXiv:1602.07261), which has half the blocks of the published code.
// Where the paper's widths do not add up, those of its concatenations are taken.
func TestInceptionResNetOfThePaper(t *testing.T) {
	g := &known.Graph{Net: "inception_resnet_v2 of the paper", Input: known.Shape{299, 299, 3}}
	g.Ops = append(g.Ops, paper()...)
	b := tflitetest.New()
	b.Hollow = true
	g.Draw(b, bytesEach)
	m := compile.Analyze(b.Source(), compile.Settings{Version: compile.V2_1})
	p := compile.Predict(compile.V2_1, []compile.Input{{Model: m, Reserve: m.Reserve}})
	if m.CPUOps != 0 || m.Subgraphs != 1 {
		t.Fatalf("%d ops on the CPU, %d regions", m.CPUOps, m.Subgraphs)
	}
	list, _ := timings(t)
	n := 0
	for i := range list {
		x := &list[i]
		if x.Model != "inception_resnet_v2_299" {
			continue
		}
		n++
		link, err := cost.BuiltinLink(x.CostLink)
		if err != nil {
			t.Fatal(err)
		}
		if ms := float64(p.Models[0].Split.Streamed) / link.BytesPerMS; math.Abs(ms/x.MS-1) > 0.05 {
			t.Errorf("%s: streaming takes %.1f ms, published are %.1f", x.Host, ms, x.MS)
		}
	}
	if n != 2 {
		t.Errorf("%d rows of Inception-ResNet v2", n)
	}
}

// paper is Inception-ResNet v2 with 5, 10 and 5 blocks.
func paper() []known.GraphOp {
	var ops []known.GraphOp
	shape := func(t int) known.Shape {
		if t == 0 {
			return known.Shape{299, 299, 3}
		}
		return ops[t-1].Shape
	}
	put := func(o known.GraphOp) int {
		o.Out = len(ops) + 1
		ops = append(ops, o)
		return o.Out
	}
	conv := func(in, channels, kh, kw int) int {
		s := shape(in)
		return put(known.GraphOp{Op: "CONV_2D", In: []int{in}, Shape: known.Shape{s[0], s[1], channels}, Kernel: [2]int{kh, kw}, Stride: 1})
	}
	valid := func(op string, in, channels, stride int) int {
		s := shape(in)
		return put(known.GraphOp{Op: op, In: []int{in}, Shape: known.Shape{(s[0]-3)/stride + 1, (s[1]-3)/stride + 1, channels}, Kernel: [2]int{3, 3}, Stride: stride})
	}
	pool := func(in int) int { return valid("MAX_POOL_2D", in, shape(in)[2], 2) }
	half := func(in, channels int) int { return valid("CONV_2D", in, channels, 2) }
	concat := func(in ...int) int {
		s := shape(in[0])
		for _, t := range in[1:] {
			s[2] += shape(t)[2]
		}
		return put(known.GraphOp{Op: "CONCATENATION", In: in, Shape: s})
	}
	residual := func(x, branches int) int {
		up := conv(branches, shape(x)[2], 1, 1)
		return put(known.GraphOp{Op: "ADD", In: []int{x, up}, Shape: shape(x)})
	}
	x := conv(valid("CONV_2D", half(0, 32), 32, 1), 64, 3, 3)
	x = concat(pool(x), half(x, 96))
	x = concat(
		valid("CONV_2D", conv(x, 64, 1, 1), 96, 1),
		valid("CONV_2D", conv(conv(conv(x, 64, 1, 1), 64, 7, 1), 64, 1, 7), 96, 1))
	x = concat(half(x, 192), pool(x))
	for range 5 {
		x = residual(x, concat(conv(x, 32, 1, 1), conv(conv(x, 32, 1, 1), 32, 3, 3), conv(conv(conv(x, 32, 1, 1), 48, 3, 3), 64, 3, 3)))
	}
	x = concat(pool(x), half(x, 384), half(conv(conv(x, 256, 1, 1), 256, 3, 3), 384))
	for range 10 {
		x = residual(x, concat(conv(x, 192, 1, 1), conv(conv(conv(x, 128, 1, 1), 160, 1, 7), 192, 7, 1)))
	}
	x = concat(pool(x), half(conv(x, 256, 1, 1), 384), half(conv(x, 256, 1, 1), 288), half(conv(conv(x, 256, 1, 1), 288, 3, 3), 320))
	for range 5 {
		x = residual(x, concat(conv(x, 192, 1, 1), conv(conv(conv(x, 192, 1, 1), 224, 1, 3), 256, 3, 1)))
	}
	x = put(known.GraphOp{Op: "MEAN", In: []int{x}, Shape: known.Shape{1, 1, shape(x)[2]}})
	x = put(known.GraphOp{Op: "FULLY_CONNECTED", In: []int{x}, Shape: known.Shape{1, 1, 1001}})
	put(known.GraphOp{Op: "SOFTMAX", In: []int{x}, Shape: known.Shape{1, 1, 1001}})
	return ops
}

// With -nets FOLDER it writes the nets of the latencies as source models:
//
//	go test ./internal/known -run TestWriteNets/vgg -nets /tmp/nets
//
// All of them are 3 GB. A net of the data set is copied.
func TestWriteNets(t *testing.T) {
	if *nets == "" {
		t.Skip("it writes files where -nets names a folder")
	}
	if err := os.MkdirAll(*nets, 0o755); err != nil {
		t.Fatal(err)
	}
	list, models := timings(t)
	var done []*known.Net
	for i := range list {
		n := list[i].Net
		if n == nil || slices.Contains(done, n) {
			continue
		}
		done = append(done, n)
		t.Run(list[i].Model, func(t *testing.T) {
			data, err := n.Bytes(models)
			if err != nil {
				t.Fatal(err)
			}
			name := regexp.MustCompile(`[^a-zA-Z0-9._]+`).ReplaceAllString(list[i].Model, "_") + ".tflite"
			if err := os.WriteFile(filepath.Join(*nets, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}
