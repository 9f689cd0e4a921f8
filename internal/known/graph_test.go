package known_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/internal/known"
	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

var (
	bytesEach  = known.Quantization{Type: tflite.Uint8}
	perChannel = known.Quantization{Type: tflite.Int8, PerChannel: true}
	releases   = []compile.Version{compile.V2_1, compile.V16_0}
)

// edges are the ops of a graph, each with the tensors that it reads.
func edges(g *known.Graph) []string {
	var list []string
	for _, o := range g.Ops {
		list = append(list, fmt.Sprintf("%d %s %v %v", o.Out, o.Op, o.In, o.Shape))
	}
	return list
}

// analysis is what the compiler's twin makes of a drawn graph.
func analysis(g *known.Graph, q known.Quantization, v compile.Version) *compile.Model {
	b := tflitetest.New()
	b.Hollow = true
	g.Draw(b, q)
	return compile.Analyze(b.Source(), compile.Settings{Version: v})
}

func conv(in, out known.Shape, k int) known.Layer {
	return known.Layer{Op: "CONV_2D", In: in, Out: out, Kernel: [2]int{k, k}}
}

func pool(in, out known.Shape, k int) known.Layer {
	return known.Layer{Op: "POOL", In: in, Out: out, Kernel: [2]int{k, k}}
}

func add(s known.Shape) known.Layer {
	return known.Layer{Op: "ADD", In: s, Out: s, Kernel: [2]int{1, 1}}
}

func ending(s known.Shape, classes int) []known.Layer {
	mean := known.Shape{1, 1, s[2]}
	return []known.Layer{
		{Op: "MEAN", In: s, Out: mean, Kernel: [2]int{s[0], s[1]}},
		{Op: "FULLY_CONNECTED", In: mean, Out: known.Shape{1, 1, classes}, Kernel: [2]int{1, 1}},
	}
}

// Lists small enough to see what their edges must be.
func TestEdgesOfLists(t *testing.T) {
	shape := func(size, channels int) known.Shape { return known.Shape{size, size, channels} }
	for _, test := range []struct {
		name   string
		layers []known.Layer
		want   []string
	}{
		{"branches, twice, the second of one shape with its input", []known.Layer{
			conv(shape(16, 3), shape(8, 12), 3),
			conv(shape(8, 12), shape(8, 4), 1),
			conv(shape(8, 12), shape(8, 8), 1),
			conv(shape(8, 8), shape(8, 8), 3),
			pool(shape(8, 12), shape(8, 12), 3), // 4 and 8 channels are 12 as well
			conv(shape(8, 12), shape(8, 4), 1),
			conv(shape(8, 16), shape(8, 8), 1),
			conv(shape(8, 16), shape(8, 8), 1),
			pool(shape(8, 16), shape(4, 16), 3),
		}, []string{
			"1 CONV_2D [0] [8 8 12]",
			"2 CONV_2D [1] [8 8 4]",
			"3 CONV_2D [1] [8 8 8]",
			"4 CONV_2D [3] [8 8 8]",
			"5 MAX_POOL_2D [1] [8 8 12]",
			"6 CONV_2D [5] [8 8 4]",
			"7 CONCATENATION [2 4 6] [8 8 16]",
			"8 CONV_2D [7] [8 8 8]",
			"9 CONV_2D [7] [8 8 8]",
			"10 CONCATENATION [8 9] [8 8 16]",
			"11 MAX_POOL_2D [10] [4 4 16]",
			"12 MEAN [11] [1 1 16]",
			"13 FULLY_CONNECTED [12] [1 1 10]",
			"14 SOFTMAX [13] [1 1 10]",
		}},
		{"residuals: past the middle of a block, with a projection, thinned out", []known.Layer{
			conv(shape(8, 3), shape(8, 16), 3),
			conv(shape(8, 16), shape(8, 16), 3),
			conv(shape(8, 16), shape(8, 16), 3),
			add(shape(8, 16)),
			conv(shape(8, 16), shape(4, 32), 3),
			conv(shape(4, 32), shape(4, 32), 3),
			conv(shape(8, 16), shape(4, 32), 1),
			add(shape(4, 32)),
			conv(shape(4, 32), shape(2, 8), 3),
			conv(shape(2, 8), shape(2, 32), 1),
			add(shape(2, 32)),
		}, []string{
			"1 CONV_2D [0] [8 8 16]",
			"2 CONV_2D [1] [8 8 16]",
			"3 CONV_2D [2] [8 8 16]",
			"4 ADD [3 1] [8 8 16]",
			"5 CONV_2D [4] [4 4 32]",
			"6 CONV_2D [5] [4 4 32]",
			"7 CONV_2D [4] [4 4 32]",
			"8 ADD [7 6] [4 4 32]",
			"9 CONV_2D [8] [2 2 8]",
			"10 CONV_2D [9] [2 2 32]",
			"11 MAX_POOL_2D [8] [2 2 32]",
			"12 ADD [10 11] [2 2 32]",
			"13 MEAN [12] [1 1 32]",
			"14 FULLY_CONNECTED [13] [1 1 10]",
			"15 SOFTMAX [14] [1 1 10]",
		}},
		{"a dense block, whose batch norms add constants", []known.Layer{
			conv(shape(16, 3), shape(8, 16), 3),
			pool(shape(8, 16), shape(4, 16), 3),
			add(shape(4, 16)),
			conv(shape(4, 16), shape(4, 20), 1), // of the next concatenation's shape
			conv(shape(4, 20), shape(4, 4), 3),
			add(shape(4, 20)),
			conv(shape(4, 20), shape(4, 16), 1),
			conv(shape(4, 16), shape(4, 4), 3),
			conv(shape(4, 24), shape(4, 12), 1),
			pool(shape(4, 12), shape(2, 12), 2),
		}, []string{
			"1 CONV_2D [0] [8 8 16]",
			"2 MAX_POOL_2D [1] [4 4 16]",
			"3 ADD [2] [4 4 16]",
			"4 CONV_2D [3] [4 4 20]",
			"5 CONV_2D [4] [4 4 4]",
			"6 CONCATENATION [2 5] [4 4 20]",
			"7 ADD [6] [4 4 20]",
			"8 CONV_2D [7] [4 4 16]",
			"9 CONV_2D [8] [4 4 4]",
			"10 CONCATENATION [6 9] [4 4 24]",
			"11 CONV_2D [10] [4 4 12]",
			"12 AVERAGE_POOL_2D [11] [2 2 12]",
			"13 MEAN [12] [1 1 12]",
			"14 FULLY_CONNECTED [13] [1 1 10]",
			"15 SOFTMAX [14] [1 1 10]",
		}},
		{"a fork of 1 x 3 and 3 x 1, and average pools", []known.Layer{
			conv(shape(8, 3), shape(8, 8), 1),
			{Op: "CONV_2D", In: shape(8, 8), Out: shape(8, 8), Kernel: [2]int{1, 3}},
			{Op: "CONV_2D", In: shape(8, 8), Out: shape(8, 8), Kernel: [2]int{3, 1}},
			pool(shape(8, 16), shape(8, 16), 3),
		}, []string{
			"1 CONV_2D [0] [8 8 8]",
			"2 CONV_2D [1] [8 8 8]",
			"3 CONV_2D [1] [8 8 8]",
			"4 CONCATENATION [2 3] [8 8 16]",
			"5 AVERAGE_POOL_2D [4] [8 8 16]",
			"6 MEAN [5] [1 1 16]",
			"7 FULLY_CONNECTED [6] [1 1 10]",
			"8 SOFTMAX [7] [1 1 10]",
		}},
	} {
		list := known.LayerList{Net: test.name, Layers: append(test.layers, ending(test.layers[len(test.layers)-1].Out, 10)...)}
		g, err := list.Graph()
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(test.want, edges(g)); diff != "" {
			t.Errorf("%s:\n%s", test.name, diff)
		}
	}
}

// A list that is no net says where it ends to be one.
func TestListsWithoutEdges(t *testing.T) {
	start := conv(known.Shape{8, 8, 3}, known.Shape{8, 8, 4}, 3)
	for _, test := range []struct {
		layers []known.Layer
		want   string
	}{
		{nil, "no layers"},
		{[]known.Layer{start, conv(known.Shape{8, 8, 5}, known.Shape{8, 8, 4}, 1)}, "layer 1: CONV_2D: nothing before it has the shape [8 8 5]"},
		{[]known.Layer{start, conv(known.Shape{8, 8, 4}, known.Shape{5, 5, 4}, 1)}, "layer 1: CONV_2D: no stride of [1 1] turns [8 8 4] into [5 5 4]"},
		{[]known.Layer{start, add(known.Shape{8, 8, 4})}, "layer 1: there is nothing to add to tensor 1"},
		{[]known.Layer{start, start}, "layer 2: nothing reads tensor 1, [8 8 4]"},
		{[]known.Layer{start, {Op: "LSTM", In: known.Shape{8, 8, 4}, Out: known.Shape{8, 8, 4}}}, "op 1, LSTM: not an op of a graph"},
	} {
		list := known.LayerList{Net: "x", Layers: test.layers}
		if _, err := list.Graph(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want %q", err, test.want)
		}
	}
}

func TestGraphErrors(t *testing.T) {
	const op = `{"op":"CONV_2D","in":[0],"out":1,"shape":[4,4,8],"kernel":[3,3],"stride":2}`
	for text, want := range map[string]string{
		`{"net":"x","input":[8,8,3],"ops":[` + op + `]}`:                                                                      "",
		`{"net":"x","input":[8,8,3],"ops":[]}`:                                                                                "no ops",
		`{"net":"x","input":[8,8,0],"ops":[` + op + `]}`:                                                                      "tensor 0: shape [8 8 0]",
		`{"net":"x","input":[9,9,3],"ops":[` + op + `]}`:                                                                      "", // 9 becomes 4 without padding
		`{"net":"x","input":[7,9,3],"ops":[` + op + `]}`:                                                                      "[7 9 3] does not become [4 4 8]",
		`{"net":"x","input":[8,8,3],"ops":[` + op + `],"more":1}`:                                                             "unknown field",
		`{"net":"x","input":[8,8,3],"ops":[` + strings.Replace(op, "[0]", "[1]", 1) + `]}`:                                    "reads tensor 1, which is not made yet",
		`{"net":"x","input":[8,8,3],"ops":[` + strings.Replace(op, "[0]", "[0,0]", 1) + `]}`:                                  "reads 2 tensors",
		`{"net":"x","input":[8,8,3],"ops":[` + strings.Replace(op, `"out":1`, `"out":2`, 1) + `]}`:                            "makes tensor 2, want 1",
		`{"net":"x","input":[8,8,3],"ops":[` + strings.Replace(op, `CONV_2D`, `GRU`, 1) + `]}`:                                "GRU: not an op of a graph",
		`{"net":"x","input":[8,8,3],"ops":[` + op + `,` + strings.Replace(op, `"out":1`, `"out":2`, 1) + `]}`:                 "nothing reads the tensors [1 2]",
		`{"net":"x","input":[8,8,3],"ops":[{"op":"MAX_POOL_2D","in":[0],"out":1,"shape":[4,4,8],"kernel":[2,2],"stride":2}]}`: "does not become",
		`{"net":"x"`: "value 1",
	} {
		path := filepath.Join(t.TempDir(), "nets.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := known.ReadGraphs(path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

// public reads all public architectures; lists are those that come as a list of layers.
func public(t *testing.T) (graphs []known.Graph, lists []known.LayerList) {
	t.Helper()
	dir := testdata.Dir(t)
	graphs, err := known.ReadGraphs(filepath.Join(dir, "nets.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if lists, err = known.ReadLayers(filepath.Join(dir, "layers.jsonl")); err != nil {
		t.Fatal(err)
	}
	return graphs, lists
}

func wired(t *testing.T, l *known.LayerList) *known.Graph {
	t.Helper()
	g, err := l.Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func roundUp(n, m int) int { return (n + m - 1) / m * m }

// listBytes are the parameter bytes of a list, summed layer by layer without its edges.
func listBytes(l *known.LayerList, q known.Quantization, v compile.Version) int64 {
	sum, dense := 0, strings.HasPrefix(l.Net, "densenet")
	matrix := func(zo, words int) int {
		lanes := roundUp(zo, 16)
		if zo > 64 {
			lanes = roundUp(zo, 64)
		}
		return lanes * 4 * words
	}
	overhead := 1
	if q.PerChannel {
		overhead = 3
	}
	for _, x := range l.Layers {
		taps := x.Kernel[0] * x.Kernel[1]
		switch x.Op {
		case "CONV_2D":
			sum += matrix(x.Out[2], taps*((x.In[2]+3)/4)+overhead)
		case "DEPTHWISE_CONV_2D":
			sum += roundUp((taps+overhead)*4*roundUp(x.In[2], 4), 64)
		case "FULLY_CONNECTED":
			sum += matrix(x.Out[2], x.In[2]/4+1)
		case "ADD":
			if dense {
				sum += 16 * x.In[2]
			}
		}
	}
	if last := l.Layers[len(l.Layers)-1].Out[2]; v == compile.V16_0 && last%4 != 0 {
		sum += 3 * 64 * ((last + 3) / 4) // tables of the softmax
	}
	return int64(sum)
}

// Every public architecture is one region of the device, but for the
// post-processing of a detector, and has the input that is listed.
func TestPublicGraphs(t *testing.T) {
	graphs, lists := public(t)
	input := map[string]int{}
	byList := map[string]*known.LayerList{}
	for i := range lists {
		g := wired(t, &lists[i])
		graphs = append(graphs, *g)
		input[g.Net], byList[g.Net] = lists[i].InputBytes, &lists[i]
	}
	if len(graphs) != 35 || len(lists) != 24 {
		t.Errorf("%d graphs, %d of them from lists; want 35 and 24", len(graphs), len(lists))
	}
	for i := range graphs {
		g := &graphs[i]
		want := g.Input[0] * g.Input[1] * g.Input[2]
		if n, ok := input[g.Net]; ok && n != want {
			t.Errorf("%s: the image has %d bytes, the list says %d", g.Net, want, n)
		}
		for _, q := range []known.Quantization{bytesEach, perChannel} {
			for _, v := range releases {
				m := analysis(g, q, v)
				for k := range m.Ops {
					if o := &m.Ops[k]; !o.Mapped && o.Name != "TFLite_Detection_PostProcess" {
						t.Errorf("%s, %s: op %d %s: %s", g.Net, v, k, o.Name, o.Reason)
					}
				}
				if m.Subgraphs != 1 || m.InputBytes != int64(want) {
					t.Errorf("%s, %s: %d regions with %d bytes of input, want 1 with %d", g.Net, v, m.Subgraphs, m.InputBytes, want)
				}
				if l := byList[g.Net]; l != nil && m.Load.Bytes() != listBytes(l, q, v) {
					t.Errorf("%s, %s: %d parameter bytes, its layers have %d", g.Net, v, m.Load.Bytes(), listBytes(l, q, v))
				}
			}
		}
	}
}

// The nets that are public in both forms are the same: edges too, unless the
// graph has explicit padding or a concatenation of concatenations.
func TestGraphsAndListsAgree(t *testing.T) {
	graphs, lists := public(t)
	compared := 0
	for _, pair := range []struct {
		graph, list string
		other       string // why edges differ
	}{
		{"inception_v1", "inception_v1_224", ""},
		{"inception_v3", "inception_v3_299", "nested concatenations"},
		{"inception_v4", "inception_v4_299", "nested concatenations"},
		{"inception_resnet_v2", "inception_resnet_v2_299", ""},
		{"resnet50", "resnet50_v1_224", "a PAD before the first pool; the projection stands elsewhere"},
		{"mobilenet_v2", "mobilenet_v2_1.0_224", ""},
		{"effnet_edgetpu_L", "efficientnet_edgetpu_l", ""},
		{"vgg16", "vgg16_224", ""},
	} {
		i := slices.IndexFunc(graphs, func(g known.Graph) bool { return g.Net == pair.graph })
		k := slices.IndexFunc(lists, func(l known.LayerList) bool { return l.Net == pair.list })
		if i < 0 || k < 0 {
			t.Fatalf("%s or %s is not there", pair.graph, pair.list)
		}
		g, l := &graphs[i], wired(t, &lists[k])
		for _, q := range []known.Quantization{bytesEach, perChannel} {
			for _, v := range releases {
				if a, b := analysis(g, q, v).Load.Bytes(), analysis(l, q, v).Load.Bytes(); a != b {
					t.Errorf("%s has %d parameter bytes, %s %d (%s)", pair.graph, a, pair.list, b, v)
				}
			}
		}
		canonical := func(g *known.Graph) []string {
			for i := range g.Ops {
				slices.Sort(g.Ops[i].In)
			}
			return edges(g)
		}
		if diff := cmp.Diff(canonical(g), canonical(l)); (diff != "") != (pair.other != "") {
			t.Errorf("%s and %s, which should differ by %q:\n%s", pair.graph, pair.list, pair.other, diff)
		}
		compared++
	}
	if compared != 8 {
		t.Errorf("%d pairs were compared", compared)
	}
}

// The other lists with concatenations have as many as their architectures.
func TestConcatenationsOfLists(t *testing.T) {
	_, lists := public(t)
	want := map[string]int{"squeezenet_224": 8, "densenet121_224": 6 + 12 + 24 + 16, "c_googlenet": 9}
	for i := range lists {
		n, ok := want[lists[i].Net]
		if !ok {
			continue
		}
		delete(want, lists[i].Net)
		g := wired(t, &lists[i])
		for _, o := range g.Ops {
			if o.Op == "CONCATENATION" {
				n--
			}
		}
		if n != 0 {
			t.Errorf("%s lacks %d concatenations", g.Net, n)
		}
	}
	if len(want) > 0 {
		t.Errorf("there are no lists of %v", want)
	}
}

// A hollow net is to the compiler's twin what the net with its weights is.
func TestHollowNets(t *testing.T) {
	graphs, lists := public(t)
	i := slices.IndexFunc(graphs, func(g known.Graph) bool { return g.Net == "ssd_mnv2_300" })
	k := slices.IndexFunc(lists, func(l known.LayerList) bool { return l.Net == "c_mbv2" })
	none := perChannel
	none.NoBias = true
	for _, test := range []struct {
		g *known.Graph
		q known.Quantization
	}{{&graphs[i], bytesEach}, {wired(t, &lists[k]), perChannel}, {known.Sweep(2, 100), none}} {
		n := known.Net{Name: test.g.Net, Draw: func(b *tflitetest.Builder) { test.g.Draw(b, test.q) }}
		hollow, err := n.Source("")
		if err != nil {
			t.Fatal(err)
		}
		f, err := n.Open("")
		if err != nil {
			t.Fatal(err)
		}
		full, err := f.Source()
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range releases {
			a, b := compile.Analyze(hollow, compile.Settings{Version: v}), compile.Analyze(full, compile.Settings{Version: v})
			for _, m := range []*compile.Model{a, b} {
				for p := range m.Load.Parts {
					m.Load.Parts[p].Weights = 0 // the identity of contents
				}
			}
			if diff := cmp.Diff(a, b); diff != "" {
				t.Errorf("%s, %s:\n%s", n.Name, v, diff)
			}
		}
	}
}
