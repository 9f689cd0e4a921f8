package tflite_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// locatable is a net with each kind of op whose weights are recognised: ops 0
// to 2 and 5; 3 and 4 have none.
func locatable() *tflite.Source {
	return tflitetest.New().Input(1, 16, 16, 8).Conv(24, 3, 3, 1, true).Depthwise(3, 3, 1, true).Conv(3, 1, 1, 1, true).
		AvgPool(16, 16, false).Reshape(1, 3).FC(100).Source()
}

// halves makes a compiled file of cached and streamed parameters.
func halves(t *testing.T, cached, streamed []byte) *tflite.Compiled {
	t.Helper()
	f, err := tflite.New("m.tflite", tflitetest.CompiledModel(tflitetest.SplitOf(1, cached, streamed)))
	return compiled(t, f, err)
}

func TestLocate(t *testing.T) {
	src := locatable()
	conv, depth, small, dense := tflitetest.Pack(src, 0, 1), tflitetest.Pack(src, 1, 1), tflitetest.Pack(src, 2, 1), tflitetest.Pack(src, 5, 1)
	// by hand: 32 lanes x 4 x (9 x 2 + 1); 10 words of 4 x 24 channels; 16 x (6 + 1), to 64; 128 x 4 x (1 + 1)
	if got := []int{len(conv), len(depth), len(small), len(dense)}; !slices.Equal(got, []int{2432, 960, 128, 1024}) {
		t.Fatalf("packed sizes %v", got)
	}
	noise := bytes.Repeat([]byte{1, 200, 90, 7, 66, 250, 31, 128}, 100)
	want := func(op int, bytes int64) tflite.Want { return tflite.Want{Op: op, Bytes: bytes} }
	wants := []tflite.Want{want(0, 2432), want(1, 960), want(2, 128), want(3, 0), want(4, 0), want(5, 1024)}
	content := func(op int, cached bool, offset, bytes int64) tflite.Piece {
		return tflite.Piece{Want: want(op, bytes), Found: true, Cached: cached, Offset: offset, Bytes: bytes, ByContent: true}
	}
	nothing := func(op int) tflite.Piece { return tflite.Piece{Want: want(op, 0), Found: true} }
	changed := bytes.Clone(dense)
	for i := 600; i < len(changed); i += 40 {
		changed[i] ^= 1 // one more or one less
	}
	longer := tflitetest.Pack(src, 1, 2)
	for _, test := range []struct {
		name             string
		cached, streamed []byte
		wants            []tflite.Want
		want             tflite.Located
	}{
		{
			"all cached", slices.Concat(conv, depth, small, dense), nil, wants,
			tflite.Located{Pieces: []tflite.Piece{
				content(0, true, 0, 2432), content(1, true, 2432, 960), content(2, true, 3392, 128), nothing(3), nothing(4), content(5, true, 3520, 1024),
			}},
		},
		{
			"some streamed, weights changed by one", slices.Concat(depth, changed), slices.Concat(conv, small), wants,
			tflite.Located{Pieces: []tflite.Piece{
				content(0, false, 0, 2432), content(1, true, 0, 960), content(2, false, 2432, 128), nothing(3), nothing(4), content(5, true, 960, 1024),
			}},
		},
		{
			"another order", slices.Concat(depth, conv, dense, small), nil, wants,
			tflite.Located{Pieces: []tflite.Piece{
				content(0, true, 960, 2432), content(1, true, 0, 960), content(2, true, 4416, 128), nothing(3), nothing(4), content(5, true, 3392, 1024),
			}},
		},
		{
			"a table known by its size alone", slices.Concat(conv, depth, small, dense), noise[:640],
			[]tflite.Want{wants[0], wants[1], wants[2], want(3, 512), want(4, 128), wants[5]},
			tflite.Located{Pieces: []tflite.Piece{
				content(0, true, 0, 2432), content(1, true, 2432, 960), content(2, true, 3392, 128),
				{Want: want(3, 512), Found: true, Bytes: 512},
				{Want: want(4, 128), Found: true, Offset: 512, Bytes: 128},
				content(5, true, 3520, 1024),
			}},
		},
		{
			// 64 fits the cached part first, but then 128 fits nowhere.
			"sizes that fit in one way only", slices.Concat(conv, noise[:128], dense), slices.Concat(depth, small, noise[:64]),
			[]tflite.Want{wants[0], wants[1], wants[2], want(3, 64), want(4, 128), wants[5]},
			tflite.Located{Pieces: []tflite.Piece{
				content(0, true, 0, 2432), content(1, false, 0, 960), content(2, false, 960, 128),
				{Want: want(3, 64), Found: true, Bytes: 64, Offset: 1088},
				{Want: want(4, 128), Found: true, Cached: true, Offset: 2432, Bytes: 128},
				content(5, true, 2560, 1024),
			}},
		},
		{
			"an op longer than predicted", slices.Concat(conv, longer, small, dense), nil, wants,
			tflite.Located{Pieces: []tflite.Piece{
				content(0, true, 0, 2432),
				{Want: want(1, 960), Found: true, Cached: true, Offset: 2432, Bytes: 1088, ByContent: true},
				content(2, true, 3520, 128), nothing(3), nothing(4), content(5, true, 3648, 1024),
			}, Wrong: []int{1}},
		},
		{
			"bytes of an op without parameters", slices.Concat(conv, depth, small, noise[:192], dense), nil, wants,
			tflite.Located{
				Pieces: []tflite.Piece{
					content(0, true, 0, 2432), content(1, true, 2432, 960), content(2, true, 3392, 128), nothing(3), nothing(4), content(5, true, 3712, 1024),
				},
				Strays: []tflite.Stray{{Cached: true, Offset: 3520, Bytes: 192, Suspects: []int{3, 4}}}, Wrong: []int{3, 4},
			},
		},
		{
			"bytes at the end", slices.Concat(conv, depth, small, dense, noise[:64]), nil, wants,
			tflite.Located{
				Pieces: []tflite.Piece{
					content(0, true, 0, 2432), content(1, true, 2432, 960), content(2, true, 3392, 128), nothing(3), nothing(4), content(5, true, 3520, 1024),
				},
				Strays: []tflite.Stray{{Cached: true, Offset: 4544, Bytes: 64, Suspects: []int{5}}}, Wrong: []int{5},
			},
		},
		{
			"other weights", noise, nil, wants[:2],
			tflite.Located{
				Pieces: []tflite.Piece{{Want: wants[0]}, {Want: wants[1]}},
				Strays: []tflite.Stray{{Cached: true, Bytes: 800, Suspects: []int{0, 1}}}, Wrong: []int{0, 1},
			},
		},
		{
			"constants are never cached", slices.Concat(conv, noise[:64]), nil,
			[]tflite.Want{wants[0], {Op: 1, Bytes: 64, Streamed: true}},
			tflite.Located{
				Pieces: []tflite.Piece{content(0, true, 0, 2432), {Want: tflite.Want{Op: 1, Bytes: 64, Streamed: true}}},
				Strays: []tflite.Stray{{Cached: true, Offset: 2432, Bytes: 64, Suspects: []int{1}}}, Wrong: []int{1},
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := halves(t, test.cached, test.streamed).Locate(src, test.wants)
			if diff := cmp.Diff(&test.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// However parts are shared out and whatever their predicted sizes are, places
// do not overlap, and with strays they make up the parameters.
func TestLocateCovers(t *testing.T) {
	src := locatable()
	rapid.Check(t, func(r *rapid.T) {
		var blobs [2][]byte
		var wants []tflite.Want
		for i := range src.Ops {
			n := int64(rapid.IntRange(0, 8).Draw(r, "words")) * 64
			part := bytes.Repeat([]byte{byte(i)}, int(n))
			if src.Ops[i].Code != tflite.AveragePool2D && src.Ops[i].Code != tflite.Reshape && rapid.Bool().Draw(r, "real") {
				part = tflitetest.Pack(src, i, rapid.IntRange(0, 3).Draw(r, "overhead"))
			}
			if rapid.IntRange(0, 3).Draw(r, "right") > 0 {
				n = int64(len(part))
			}
			where := rapid.IntRange(0, 1).Draw(r, "blob")
			blobs[where] = append(blobs[where], part...)
			wants = append(wants, tflite.Want{Op: i, Bytes: n, Streamed: rapid.IntRange(0, 9).Draw(r, "streamed") == 0})
		}
		l := halves(t, blobs[0], blobs[1]).Locate(src, wants)
		type run struct{ from, bytes int64 }
		var runs [2][]run
		at := func(cached bool) int {
			if cached {
				return 0
			}
			return 1
		}
		right := true
		for i, p := range l.Pieces {
			if p.Want != wants[i] || p.Want.Streamed && p.Cached {
				r.Fatalf("piece %d: %+v for %+v", i, p, wants[i])
			}
			right = right && p.Bytes == p.Want.Bytes
			if p.Bytes > 0 {
				runs[at(p.Cached)] = append(runs[at(p.Cached)], run{p.Offset, p.Bytes})
			}
		}
		for _, s := range l.Strays {
			runs[at(s.Cached)] = append(runs[at(s.Cached)], run{s.Offset, s.Bytes})
		}
		for b := range runs {
			slices.SortFunc(runs[b], func(x, y run) int { return int(x.from - y.from) })
			end := int64(0)
			for _, x := range runs[b] {
				if x.from != end {
					r.Fatalf("blob %d: %v", b, runs[b])
				}
				end += x.bytes
			}
			if end != int64(len(blobs[b])) {
				r.Fatalf("blob %d: %v of %d bytes", b, runs[b], len(blobs[b]))
			}
		}
		if right && len(l.Strays) == 0 && len(l.Wrong) > 0 {
			r.Fatalf("all is explained, but ops %v are wrong", l.Wrong)
		}
	})
}

// All weights of the public MobileNets are found, in every split that the real
// compilers made, in the source's order; and what is found adds up.
func TestLocatePublic(t *testing.T) {
	dir := filepath.Join(testdata.Dir(t), "models")
	files, err := filepath.Glob(filepath.Join(dir, "cocompiled-*", "mobilenet_v1_0.75*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("found %v (%v)", files, err)
	}
	f, err := tflite.Open(filepath.Join(dir, "mobilenet_v1_0.75_192_quant.tflite"))
	if err != nil {
		t.Fatal(err)
	}
	src, err := f.Source()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := tflite.Open(file)
		c := compiled(t, f, err)
		var wants []tflite.Want
		for i, o := range src.Ops {
			if o.Code == tflite.Conv2D || o.Code == tflite.DepthwiseConv2D {
				wants = append(wants, tflite.Want{Op: i, Bytes: int64(len(tflitetest.Pack(src, i, 1)))})
			}
		}
		l := c.Locate(src, wants)
		var sum int64
		last := map[bool]int64{}
		for _, p := range l.Pieces {
			if !p.ByContent || p.Bytes != p.Want.Bytes || p.Offset != last[p.Cached] {
				t.Errorf("%s: op %d: %+v", file, p.Op, p)
			}
			last[p.Cached] = p.Offset + p.Bytes
			sum += p.Bytes
		}
		if len(l.Pieces) != 28 || sum != 2_729_344 {
			t.Errorf("%s: %d pieces of %d bytes", file, len(l.Pieces), sum)
		}
		// 16.0 has tables for the softmax, about which nothing was said.
		var tables int64
		for _, s := range l.Strays {
			tables += s.Bytes
		}
		if want := c.CachedBytes() + c.StreamedBytes() - sum; tables != want || (want > 0) != (c.Generation() == "16.0") {
			t.Errorf("%s: %d bytes unexplained, want %d", file, tables, want)
		}
	}
}
