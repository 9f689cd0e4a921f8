package compile

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/internal/known"
	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// sized is a net for an image of another size: every shape follows from the rule of its op.
func sized(t testing.TB, src *tflite.Source, h, w int) *tflite.Source {
	t.Helper()
	x := *src
	x.Tensors = slices.Clone(src.Tensors)
	g := newGraph(&x)
	image := &x.Tensors[x.Inputs[0]]
	image.Shape = []int{1, h, w, image.Shape[3]}
	for i := range x.Ops {
		op := &x.Ops[i]
		in, out := g.in(op, 0), g.out(op)
		if in == nil || out == nil || len(in.Shape) != 4 || len(out.Shape) != 4 {
			continue
		}
		shape := []int{1, in.Shape[1], in.Shape[2], out.Shape[3]}
		switch op.Code {
		case tflite.Conv2D, tflite.DepthwiseConv2D, tflite.AveragePool2D, tflite.MaxPool2D:
			window := g.window(op)
			shape[1], shape[2] = ceilDiv(shape[1], window.strideH), ceilDiv(shape[2], window.strideW)
			if !op.Options.SamePadding {
				shape[1], shape[2] = (in.Shape[1]-window.kh)/window.strideH+1, (in.Shape[2]-window.kw)/window.strideW+1
			}
		case tflite.Pad:
			amounts, _ := ints(g.in(op, 1))
			shape[1], shape[2] = shape[1]+amounts[2]+amounts[3], shape[2]+amounts[4]+amounts[5]
		}
		out.Shape = shape
	}
	return &x
}

// oneScale is a net as the older converters wrote it: uint8, with one scale for each tensor.
func oneScale(src *tflite.Source) *tflite.Source {
	x := *src
	x.Tensors = slices.Clone(src.Tensors)
	for i := range x.Tensors {
		t := &x.Tensors[i]
		t.Scales, t.ZeroPoints = t.Scales[:min(1, len(t.Scales))], t.ZeroPoints[:min(1, len(t.ZeroPoints))]
		if t.Type == tflite.Int8 {
			t.Type = tflite.Uint8
		}
	}
	return &x
}

func sourceOf(t testing.TB, name string) *tflite.Source {
	t.Helper()
	src, err := openFile(t, filepath.Join(testdata.Dir(t), "models", filepath.FromSlash(name)+".tflite")).Source()
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// flowOf is the activations of a model's ops on the Edge TPU.
func flowOf(src *tflite.Source, m *Model) *flow {
	var region []int
	mapped := make([]bool, len(src.Ops))
	for i := range m.Ops {
		if mapped[i] = m.Ops[i].Mapped; mapped[i] {
			region = append(region, i)
		}
	}
	return newGraph(src).newFlow(region, mapped)
}

func splitsOf(f *flow) []split {
	var list []split
	for _, s := range f.stages {
		list = append(list, s.splits[byDoubling])
	}
	return list
}

const (
	poseNetSmall = "passes/posenet_mobilenet_v1_075_353_481_16_quant_decoder/source"
	poseNetLarge = "passes/posenet_mobilenet_v1_075_721_1281_16_quant_decoder/source"
)

// Reserved rows of public compiled files. Those of which no source is at hand
// are made of another size of the net. A row that is not as predicted lies within the range.
func TestReservedRowsInPasses(t *testing.T) {
	pose, mobile := sourceOf(t, poseNetSmall), sourceOf(t, "mobilenet_v2_1.0_224_quant")
	old := oneScale(pose)
	for _, test := range []struct {
		name      string
		src       *tflite.Source
		version   Version
		seen      int
		want      int
		low, high int
		certainty report.Certainty
		splits    []split
	}{
		{"PoseNet 353x481", pose, V16_0, 194, 194, 193, 197, report.Strong, []split{{1, 2}}},
		{"PoseNet 353x481", old, V2_1, 169, 169, 168, 170, report.Strong, []split{{1, 2}}},
		{"PoseNet 353x481", old, V15_0, 158, 158, 157, 161, report.Strong, []split{{1, 2}}},
		{"PoseNet 481x641", sized(t, pose, 481, 641), V16_0, 193, 192, 191, 195, report.Strong, []split{{2, 2}}},
		{"PoseNet 481x641", sized(t, old, 481, 641), V2_1, 161, 161, 160, 162, report.Strong, []split{{2, 2}}},
		{"PoseNet 481x641", sized(t, old, 481, 641), V15_0, 158, 156, 155, 159, report.Strong, []split{{2, 2}}},
		{"PoseNet 721x1281", sourceOf(t, poseNetLarge), V16_0, 459, 460, 459, 463, report.Strong, []split{{3, 4}, {1, 2}}},
		{"PoseNet 721x1281", sized(t, old, 721, 1281), V2_1, 432, 445, 428, 446, report.Heuristic, []split{{3, 4}, {1, 2}}},
		{"PoseNet 721x1281", sized(t, old, 721, 1281), V15_0, 426, 424, 423, 427, report.Strong, []split{{3, 4}, {1, 2}}},
		// BodyPix is the same net with other heads, and named by width and height.
		{"BodyPix 480x352", sized(t, pose, 352, 480), V16_0, 190, 190, 189, 193, report.Strong, []split{{1, 2}}},
		{"BodyPix 512x512", sized(t, pose, 512, 512), V16_0, 281, 281, 280, 284, report.Strong, []split{{1, 2}, {1, 2}}},
		{"BodyPix 640x480", sized(t, pose, 480, 640), V16_0, 192, 191, 190, 194, report.Strong, []split{{2, 2}}},
		{"BodyPix 768x576", sized(t, pose, 576, 768), V16_0, 260, 259, 258, 262, report.Strong, []split{{2, 2}, {1, 2}}},
		{"BodyPix 1024x768", sized(t, pose, 768, 1024), V16_0, 520, 519, 402, 522, report.Heuristic, []split{{2, 4}}},
		{"DeepLab v3", sourceOf(t, "passes/deeplabv3_mnv2_pascal_quant/source"), V16_0, 215, 213, 212, 216, report.Heuristic, []split{{2, 2}, {1, 2}, {1, 2}, {1, 1}}},
		{"YOLOv8n 640", sourceOf(t, "fresh/yolov8n_640/source"), V16_0, 363, 363, 362, 364, report.Strong, []split{{2, 3}, {1, 2}, {2, 2}}},
		{"MobileNet v2 1024x512", sized(t, mobile, 1024, 512), V1_0, 212, 212, 211, 213, report.Strong, []split{{4, 2}, {2, 1}, {2, 1}}},
		{"MobileNet v2 512x512", sized(t, mobile, 512, 512), V1_0, 132, 132, 131, 133, report.Strong, []split{{2, 2}, {2, 2}}},
		{"MobileNet v2 512x256", sized(t, mobile, 512, 256), V1_0, 98, 98, 97, 99, report.Strong, []split{{2, 1}}},
	} {
		m := Analyze(test.src, Settings{Version: test.version, MinRuntime: known.MinRuntime})
		r := m.Reserve
		if r.Rows != test.want || r.Low != test.low || r.High != test.high || r.Certainty != test.certainty || r.Fits {
			t.Errorf("%s, %s: %+v, want %d in %d to %d, %s", test.name, test.version, r, test.want, test.low, test.high, test.certainty)
		}
		if test.seen < r.Low || test.seen > r.High {
			t.Errorf("%s, %s: %d was seen, not in %d to %d", test.name, test.version, test.seen, r.Low, r.High)
		}
		if got := splitsOf(flowOf(test.src, m)); !slices.Equal(got, test.splits) {
			t.Errorf("%s, %s: splits %v, want %v", test.name, test.version, got, test.splits)
		}
	}
}

// How often the instructions of public files (16.0) send the parameters of each
// op, by rows of the ops that run in passes.
func TestPassesOfFiles(t *testing.T) {
	for _, test := range []struct {
		name string
		want map[int]int // rows by passes
	}{
		{poseNetSmall, map[int]int{2: 35}},
		{poseNetLarge, map[int]int{12: 461, 2: 4374}},
		// The last stage ends with a global pool, and no split of it fits: twice is a guess.
		{"passes/deeplabv3_mnv2_pascal_quant/source", map[int]int{4: 236, 2: 5270}},
		{"deeplabv3_mnv2_dm05_pascal_quant", map[int]int{2: 24}},
		{"fresh/yolov8n_640/source", map[int]int{6: 47, 4: 73}},
		{"movenet_single_pose_lightning_ptq", map[int]int{}},
	} {
		m := Analyze(sourceOf(t, test.name), Settings{Version: V16_0, MinRuntime: known.MinRuntime})
		got := map[int]int{}
		for i := range m.Load.Parts {
			if p := &m.Load.Parts[i]; p.Passes > 1 {
				got[p.Passes] += p.Rows
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s:\n%s", test.name, diff)
		}
	}
}

// The published splits of all nets of the sweep, which is 3 x 3 convolutions
// on 64 x 64, hold, and its times are those of so many passes.
func TestSweepInPasses(t *testing.T) {
	list, err := known.Timings(testdata.Dir(t))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for i := range list {
		x := &list[i]
		if x.Source != "villarrubia-conv" {
			continue
		}
		rows++
		b := tflitetest.New()
		b.Hollow = true
		x.Net.Draw(b)
		m := Analyze(b.Source(), Settings{Version: V16_0})
		s := Allocate(V16_0, m.Reserve.Rows, []*Load{&m.Load})[0]
		if !x.Cached.Holds(int64(s.Rows)*RowBytes) || !x.Streamed.Holds(s.Streamed) {
			t.Errorf("%s: %d rows cached, %d bytes streamed; published are %s and %s", x.Model, s.Rows, s.Streamed, x.Cached.Text, x.Streamed.Text)
		}
	}
	if rows != 213 {
		t.Errorf("%d rows of the sweep", rows)
	}
	// The times fit 4, 6 and 9. Of 8 and 9 the times cannot tell.
	for filters, want := range map[int]float64{452: 4, 532: 4, 632: 4, 642: 6, 702: 6, 712: 6, 722: 8, 742: 8} {
		b := tflitetest.New()
		b.Hollow = true
		known.Sweep(5, filters).Draw(b, known.Quantization{Type: tflite.Int8, PerChannel: true, NoBias: true})
		for i, o := range Analyze(b.Source(), Settings{Version: V16_0}).Ops {
			if o.Passes.Value != want {
				t.Errorf("%d filters, op %d: %v passes, want %v", filters, i, o.Passes.Value, want)
			}
		}
	}
}

// Four bytes decide whether a SiLU fits: six tiles of it are all the memory.
func TestFitOfSiLU(t *testing.T) {
	silu := func(w int) *tflitetest.Builder {
		b := tflitetest.New().Input(1, 128, w, 32).Conv(32, 1, 1, 1, true)
		at := b.At()
		return b.Logistic().Binary(tflite.Mul, at).Conv(32, 1, 1, 1, true)
	}
	for width, fits := range map[int]bool{124: true, 125: false, 128: false} {
		if m := Analyze(silu(width).Source(), Settings{Version: V16_0}); m.Reserve.Fits != fits {
			t.Errorf("128 x %d x 32: fits %v", width, m.Reserve.Fits)
		}
	}
	// A plain LOGISTIC takes two tiles.
	if m := Analyze(tflitetest.New().Input(1, 128, 128, 32).Conv(32, 1, 1, 1, true).Logistic().Source(), Settings{Version: V16_0}); !m.Reserve.Fits {
		t.Error("a LOGISTIC that is no SiLU does not fit")
	}
}

// drawn is a random net on an image of up to 700 x 700.
func drawn(t *rapid.T) *tflitetest.Builder {
	b := tflitetest.New()
	b.Hollow = true
	b.Input(1, rapid.IntRange(1, 700).Draw(t, "h"), rapid.IntRange(1, 700).Draw(t, "w"), rapid.IntRange(1, 40).Draw(t, "c"))
	at := []int{b.At()}
	for range rapid.IntRange(1, 14).Draw(t, "ops") {
		shape := b.Shape()
		h, w := shape[1], shape[2]
		k := rapid.IntRange(1, 5).Draw(t, "k")
		stride := rapid.IntRange(1, 3).Draw(t, "stride")
		same := h < k || w < k || rapid.Bool().Draw(t, "same")
		channels := rapid.IntRange(1, 200).Draw(t, "channels")
		switch rapid.IntRange(0, 9).Draw(t, "op") {
		case 0, 1, 2:
			b.Conv(channels, k, k, stride, same)
		case 3:
			b.Depthwise(k, k, stride, same)
		case 4:
			b.MaxPool(k, stride, same)
		case 5:
			x := b.At()
			b.Logistic().Binary(tflite.Mul, x)
		case 6:
			b.Pad(0, 0, 1, 1, 1, 2, 0, 0).Conv(channels, 3, 3, stride, false)
		case 7:
			if h <= 350 && w <= 350 {
				b.ResizeNearest(2*h, 2*w)
			}
		case 8: // with something that was made before
			for _, x := range at {
				if slices.Equal(b.Shape(), shapeAt(b, x)) && x != b.At() {
					b.Add(x)
					break
				}
			}
		case 9:
			x := b.From(at[rapid.IntRange(0, len(at)-1).Draw(t, "from")])
			x.Conv(channels, 1, 1, 1, true)
		}
		at = append(at, b.At())
	}
	if rapid.Bool().Draw(t, "head") {
		b.Mean(true, 1, 2).Conv(10, 1, 1, 1, true)
	}
	return b
}

func shapeAt(b *tflitetest.Builder, tensor int) []int {
	was := b.At()
	defer b.From(was)
	return b.From(tensor).Shape()
}

func TestStagesOfAnyNet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := drawn(t).Source()
		v := rapid.SampledFrom(Versions()).Draw(t, "version")
		m := Analyze(src, Settings{Version: v})
		f := flowOf(src, m)
		from := 0
		for _, s := range f.stages {
			if s.start < from || s.first < s.start || s.end <= s.first || s.end > len(f.nodes) {
				t.Fatalf("stage %d to %d of op %d, the one before ends at %d", s.start, s.end, s.first, from)
			}
			if f.parted[s.start] || f.parted[s.end] {
				t.Fatalf("stage %d to %d parts a SiLU", s.start, s.end)
			}
			from = s.end
			if s.cutter.fit(split{1, 1}) {
				t.Fatalf("stage %d to %d fits in one piece", s.start, s.end)
			}
			if x := s.splits[byDoubling]; s.fits != s.cutter.fit(x) || x.ny > max(1, s.cutter.h) || x.nx > max(1, s.cutter.w) {
				t.Fatalf("stage %d to %d: split %v fits %v", s.start, s.end, x, s.fits)
			}
			if x := s.splits[byOne]; s.fits && !s.cutter.fit(x) {
				t.Fatalf("stage %d to %d: split %v, found by one part at a time, does not fit", s.start, s.end, x)
			}
		}
		if f.unknown {
			t.Fatal("too much work")
		}
		if m.Reserve.Fits != (len(f.stages) == 0) {
			t.Fatalf("%d stages, fits %v", len(f.stages), m.Reserve.Fits)
		}
		for i := range m.Ops {
			if p := m.Ops[i].Passes; m.Ops[i].Mapped && !(p.Value >= 1 && 1 <= p.Low && p.Low <= p.Value && p.Value <= p.High) {
				t.Fatalf("op %d: passes %+v", i, p)
			}
		}
		if r := m.Reserve; r.Low > r.Rows || r.Rows > r.High || r.Rows < -smallBuffer || r.High > absurdRows {
			t.Fatalf("reserve %+v", r)
		}
	})
}

// The peak of a split is that of all its passes, gone through one by one.
func TestPeakIsThatOfAllPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := drawn(t).Source()
		f := flowOf(src, Analyze(src, Settings{Version: V16_0}))
		for _, s := range f.stages {
			c := s.cutter
			x := split{rapid.IntRange(1, min(9, c.h)).Draw(t, "ny"), rapid.IntRange(1, min(9, c.w)).Draw(t, "nx")}
			got, ok := c.peak(x)
			ys, xs := c.cut(0, x.ny), c.cut(1, x.nx)
			var want, done int64
			for y := range x.ny {
				if c.leaves {
					done = 0
				}
				for p := range x.nx {
					ky, kx := &ys.kinds[ys.of[y]], &xs.kinds[xs.of[p]]
					if ky.out != part(y, x.ny, c.h).length() || kx.out != part(p, x.nx, c.w).length() {
						t.Fatalf("part %d, %d of %v has %d x %d of %d x %d", y, p, x, ky.out, kx.out, c.h, c.w)
					}
					want = max(want, c.pass(ky, kx)+done+c.past)
					done += tileOf(ceilDiv(ky.out, 4), ceilDiv(kx.out, 4), f.tensors[s.output].c)
				}
			}
			if !ok || got != want {
				t.Fatalf("%v: peak %d, one by one %d", x, got, want)
			}
		}
	})
}

// Nets that nobody builds end the search early: it has a number of steps.
func TestHostileStages(t *testing.T) {
	const huge = 1<<31 - 1
	chain := func(ops, side, channels int) *tflite.Source {
		b := tflitetest.New()
		b.Hollow = true
		b.Input(1, side, side, channels)
		for range ops {
			b.Conv(channels, 3, 3, 1, true)
		}
		return b.Source()
	}
	stages := func(n int) *tflite.Source { // each reads two tensors, one of which is older
		b := tflitetest.New()
		b.Hollow = true
		old := b.Input(1, 256, 256, 64).At()
		for range n {
			b.Add(old)
		}
		return b.Source()
	}
	shaped := func(h, w, c int) *tflite.Source {
		src := chain(6, 64, 8)
		for i := range src.Tensors {
			if x := &src.Tensors[i]; len(x.Shape) == 4 && !x.Constant() {
				x.Shape = []int{1, h, w, c}
			}
		}
		return src
	}
	for _, test := range []struct {
		name string
		src  *tflite.Source
	}{
		{"many ops", chain(3000, 512, 64)},
		{"many ops, none of which can be cut", chain(300, 1, 100_000)},
		{"many ops of which each is a stage", stages(2000)},
		{"two directions without end", shaped(huge, huge, huge)},
		{"a line", shaped(1, huge, 64)},
		{"a column", shaped(huge, 1, 64)},
		{"no rows", shaped(0, huge, 64)},
		{"nothing", shaped(0, 0, 0)},
		{"no channels", shaped(huge, huge, 0)},
	} {
		began := time.Now()
		m := Analyze(test.src, Settings{Version: V16_0})
		if r := m.Reserve; r.Low > r.Rows || r.Rows > r.High {
			t.Errorf("%s: %+v", test.name, r)
		}
		for i := range m.Ops {
			if p := m.Ops[i].Passes.Value; p > partsLimit {
				t.Errorf("%s: op %d in %v passes", test.name, i, p)
			}
		}
		// A step takes some ten nanoseconds; this is for machines under load.
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s took %s", test.name, took)
		} else {
			t.Log(test.name, took, m.Reserve)
		}
	}
}

// A net that takes more steps than there are has reserved rows that are not known.
func TestTooMuchWork(t *testing.T) {
	src := crowded().Source()
	m := Analyze(src, Settings{Version: V16_0})
	f := flowOf(src, m)
	f.stages, f.work = nil, 3
	f.find()
	mapped := make([]bool, len(src.Ops))
	for i := range mapped {
		mapped[i] = true
	}
	r := f.g.reserve(V16_0, mapped, []*flow{f})
	if !f.unknown || r.Fits || r.Certainty != report.Unknown || r.Rows != absurdRows || r.Low != 0 {
		t.Errorf("unknown %v, %+v", f.unknown, r)
	}
}
