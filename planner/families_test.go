package planner

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/timing"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/internal/nets"
	"github.com/tpuplan/tpuplan/internal/testdata"
)

// Parts of real nets, as the compiler twin measures them. Classes, lanes and groups vary.
func conv(zo, k4 int) compile.Part { // a convolution of zo outputs and k4 words of inputs
	lanes := (zo + 63) / 64 * 64
	if zo <= 64 {
		lanes = (zo + 15) / 16 * 16
	}
	rows := (zo + 63) / 64 * (k4 + 1)
	return compile.Part{Bytes: int64(lanes * 4 * (k4 + 1)), Rows: rows, Class: 1}
}

func depthwise(c int) compile.Part {
	bytes := int64(40 * c)
	return compile.Part{Bytes: bytes, Rows: int(bytes+255) / 256}
}

func fullyConnected(zo, k4 int) compile.Part {
	p := conv(zo, k4)
	p.Class, p.Groups = 0, (zo+63)/64
	p.GroupRows = p.Rows / p.Groups
	return p
}

var realParts = []compile.Part{
	conv(32, 9), conv(64, 8), conv(128, 16), conv(128, 32), conv(256, 32), conv(256, 64), conv(512, 64), conv(512, 128), conv(1024, 128), conv(1024, 256),
	conv(96, 4), conv(144, 6), conv(192, 8), conv(384, 16), conv(576, 24), conv(960, 40), conv(1280, 80), conv(320, 240), conv(24, 36), conv(160, 144),
	depthwise(32), depthwise(64), depthwise(128), depthwise(512), depthwise(1024), depthwise(576), depthwise(960),
	fullyConnected(1001, 256), fullyConnected(965, 320), fullyConnected(2102, 320), fullyConnected(10, 256), fullyConnected(91, 128), fullyConnected(512, 1728),
	conv(208, 216), conv(256, 288), conv(320, 360), conv(192, 144), conv(1001, 256), conv(384, 432), conv(512, 1152),
}

// randomProblem draws nets whose sizes compete for the pool.
func randomProblem(rng *rand.Rand, n int, v compile.Version) *Problem {
	p := &Problem{Version: v, Devices: []Device{{"tpu0"}}}
	if rng.IntN(3) == 0 {
		p.Objective = ByteHits
	}
	rates := make([]float64, n)
	total := 0.0
	for i := range rates {
		rates[i] = float64(1+rng.IntN(5)) * math.Pow(10, float64(rng.IntN(3)))
		total += rates[i]
	}
	links := cost.Links()
	for i := range n {
		m := Model{Name: fmt.Sprintf("m%d", (i*5+3)%7+10*(i/7)), Share: rates[i] / total, Reserved: []int{49, 67, 224, 280, 900, 1400}[rng.IntN(6)]}
		for range 1 + rng.IntN(9) {
			m.Load.Parts = append(m.Load.Parts, realParts[rng.IntN(len(realParts))])
		}
		if rng.IntN(4) == 0 {
			m.Load.Streamed = int64(rng.IntN(100)) * 64
		}
		m.Load.Content = m.Name
		m.Call = cost.Modelled(links[rng.IntN(len(links))], cost.Traffic{Instructions: 60_000, Input: 150_000, Output: 1000})
		if rng.IntN(8) == 0 {
			m.Call.OverlapMS = 5 * rng.Float64()
		}
		if rng.IntN(4) == 0 {
			m.stall(7 * rng.Float64())
		}
		p.Models = append(p.Models, m)
	}
	if n > 1 && rng.IntN(4) == 0 { // one net twice or more
		for i := 1; i <= 1+rng.IntN(n-1); i++ {
			p.Models[i].Load, p.Models[i].StreamMS = p.Models[0].Load, nil
			p.Models[i].Reserved = p.Models[0].Reserved
		}
	}
	if rng.IntN(3) == 0 {
		for range 1 + rng.IntN(3) {
			p.Models[rng.IntN(n)].Group = []string{"red", "blue"}[rng.IntN(2)]
		}
	}
	if n > 1 && rng.IntN(3) == 0 {
		for range 1 + rng.IntN(2) {
			if a, b := rng.IntN(n), rng.IntN(n); a < b {
				p.Models[a].Before = append(p.Models[a].Before, b)
			}
		}
	}
	return p
}

// A family draws problems of one kind.
type family struct {
	name string
	all  int // instances that are compared with brute force
	draw func(rng *rand.Rand, n int, v compile.Version) *Problem
	// instance draws one that chooses its models and release itself; nil for most
	instance func(rng *rand.Rand, i int) *Problem
}

// next is instance i of few models.
func (f *family) next(rng *rand.Rand, i int) *Problem {
	if f.instance != nil {
		return f.instance(rng, i)
	}
	return f.draw(rng, few(rng, i), release(i))
}

// rows is a part of so many rows that may lie anywhere.
func rows(n int) compile.Part {
	return compile.Part{Bytes: int64(n) * compile.RowBytes, Rows: n, Class: 1}
}

// partitioned is a part of groups that may not cross a tile, in front of all that are not.
func partitioned(groups, rows int) compile.Part {
	return compile.Part{Bytes: int64(groups*rows) * compile.RowBytes, Rows: groups * rows, Groups: groups, GroupRows: rows}
}

// table is the table of a softmax: partitioned, tiny, among the ordinary parts.
func table(k int) compile.Part {
	return compile.Part{Bytes: 64 * int64(k), Rows: k, Groups: 1, GroupRows: k, Class: 1}
}

// bare is a problem without parts: names in no order, rates over decades, a
// link for each or one for all.
func bare(rng *rand.Rand, n, decades int, v compile.Version, reserved int) *Problem {
	p := &Problem{Version: v, Devices: []Device{{"tpu0"}}}
	links := cost.Links()
	common, each := links[rng.IntN(len(links))], rng.IntN(2) == 0
	for _, name := range rng.Perm(n) {
		link := common
		if each {
			link = links[rng.IntN(len(links))]
		}
		m := Model{
			Name: fmt.Sprintf("m%d", name), Share: math.Pow(10, float64(decades)*rng.Float64()),
			Reserved: reserved, Call: cost.Modelled(link, cost.Traffic{Instructions: 60_000, Input: 150_000, Output: 1000}),
		}
		m.Load.Content = m.Name
		p.Models = append(p.Models, m)
	}
	normalize(p)
	return p
}

// normalize makes the shares of a problem sum to 1.
func normalize(p *Problem) {
	total := 0.0
	for i := range p.Models {
		total += p.Models[i].Share
	}
	for i := range p.Models {
		p.Models[i].Share /= total
	}
}

// season adds what any problem may have: another objective, slopes, compute
// that hides loads, another process, pins and known results.
func season(rng *rand.Rand, p *Problem) *Problem {
	one := func(in int) bool { return rng.IntN(in) == 0 }
	if one(4) {
		p.Objective = ByteHits
	}
	slopes, overlap, own := one(3), one(4), one(2)
	for i := range p.Models {
		if slopes {
			p.Models[i].stall([]float64{0, 1.7, 7 * rng.Float64()}[rng.IntN(3)])
		}
		if overlap && one(2) {
			p.Models[i].Call.OverlapMS = 8 * rng.Float64()
		}
	}
	if one(4) {
		pin(rng, p)
	}
	if one(5) {
		learnAtRandom(rng, p)
		contradict(rng, p)
	}
	if one(8) {
		p.Process = cycle(rng, len(p.Models))
	}
	for i := range p.Models {
		if own && one(2) { // streaming each part has a time of its own: hidden by compute, or stalling it
			m := &p.Models[i]
			m.StreamMS = make([]float64, len(m.Load.Parts))
			for k, part := range m.Load.Parts {
				m.StreamMS[k] = float64(part.Bytes) / m.Call.BytesPerMS * []float64{0, 0.4, 1, 5 * rng.Float64()}[rng.IntN(4)]
			}
		}
	}
	return p
}

// pin adds labels and orders at random.
func pin(rng *rand.Rand, p *Problem) {
	n := len(p.Models)
	for range rng.IntN(4) {
		p.Models[rng.IntN(n)].Group = []string{"red", "blue", "green"}[rng.IntN(3)]
	}
	for range rng.IntN(4) {
		if a, b := rng.IntN(n), rng.IntN(n); a < b { // so there is no circle
			p.Models[a].Before = append(p.Models[a].Before, b)
		}
	}
}

// contradict adds a second result of a group that some order is known of:
// one of the two must be wrong, and each counts for its own order.
func contradict(rng *rand.Rand, p *Problem) {
	if len(p.Known) == 0 || rng.IntN(2) == 0 {
		return
	}
	old := p.Known[rng.IntN(len(p.Known))]
	if p.Models[old.Models[0]].Compiled { // there is one compile of it, and it is at hand
		return
	}
	k := Known{AnyOrder: rng.IntN(2) == 0}
	for _, i := range rng.Perm(len(old.Models)) {
		m := old.Models[i]
		load := &p.Models[m].Load
		k.Models = append(k.Models, m)
		s := compile.Split{Streamed: load.Streamed, InCache: make([]bool, len(load.Parts))}
		for i, part := range load.Parts { // of this one it is known which parts
			if s.InCache[i] = rng.IntN(3) > 0; s.InCache[i] {
				s.Cached += part.Bytes
			} else {
				s.Streamed += part.Bytes
			}
		}
		k.Splits = append(k.Splits, s)
	}
	p.Known = append(p.Known, k)
}

// cycle is a trace that calls every model at least once, in runs.
func cycle(rng *rand.Rand, n int) cost.Process {
	var trace []int
	for _, m := range rng.Perm(n) {
		for range 1 + rng.IntN(4) {
			trace = append(trace, m)
		}
	}
	for range rng.IntN(10) {
		trace = append(trace, rng.IntN(n))
	}
	process, err := cost.Cyclic(trace)
	if err != nil {
		panic(err) // every number is that of a model
	}
	return process
}

// ofNets is a problem of nets that exist, called at rates over three decades over one link.
func ofNets(t testing.TB, rng *rand.Rand, list []*nets.Net, n int, v compile.Version) *Problem {
	t.Helper()
	p := &Problem{Version: v, Devices: []Device{{"tpu0"}}}
	link := cost.Links()[[]int{0, 2, 3}[rng.IntN(3)]]
	for _, at := range rng.Perm(len(list))[:n] {
		p.Models = append(p.Models, netModel(t, list[at], link, v, math.Pow(10, 3*rng.Float64())))
	}
	normalize(p)
	return p
}

func netModel(t testing.TB, net *nets.Net, link cost.Link, v compile.Version, rate float64) Model {
	t.Helper()
	size, err := net.Size(v)
	if err != nil {
		t.Fatal(err)
	}
	m := Model{Name: net.Name, Share: rate, Load: size.Load, Reserved: size.Reserved}
	m.Call, m.StreamMS = size.Timing(link).Cost(timing.Vary{})
	return m
}

// stall makes streaming what is broadcast take so many transfer times longer.
func (m *Model) stall(slope float64) {
	m.StreamMS = make([]float64, len(m.Load.Parts))
	for i, part := range m.Load.Parts {
		m.StreamMS[i] = float64(part.Bytes) / m.Call.BytesPerMS
		if part.Groups == 0 {
			m.StreamMS[i] *= 1 + slope
		}
	}
}

// few is mostly 2 to 4 models, sometimes 5 or 6.
func few(rng *rand.Rand, i int) int {
	if i%16 == 15 {
		return 5 + rng.IntN(2)
	}
	return 2 + rng.IntN(3)
}

// release is that of instance i: every second one is 16.0, which has an allocator of its own.
func release(i int) compile.Version {
	if i%2 == 1 {
		return compile.V16_0
	}
	return compile.Versions()[i/2%5]
}

// families are problems that are hard in one way each.
func families() []family {
	return []family{
		{"any", 2000, func(rng *rand.Rand, n int, v compile.Version) *Problem {
			return season(rng, randomProblem(rng, n, v))
		}, nil},
		{"tiles matter", 4000, nil, tilesMatter},
		{"copies of many parts", 3000, nil, manyPartCopies},
		{"copies behind mixed forms", 1500, nil, copiesBehindMixedForms},
		{"in passes", 1500, inPasses, nil},
		{"equal sizes", 1000, func(rng *rand.Rand, n int, v compile.Version) *Problem {
			p := bare(rng, n, 3, v, 1400+rng.IntN(600))
			var parts []compile.Part
			for range 1 + rng.IntN(8) {
				parts = append(parts, realParts[rng.IntN(len(realParts))])
			}
			for m := range p.Models {
				p.Models[m].Load.Parts = parts
			}
			return season(rng, p)
		}, nil},
		{"equal rates", 1000, func(rng *rand.Rand, n int, v compile.Version) *Problem {
			p := season(rng, randomProblem(rng, n, v))
			for m := range p.Models {
				p.Models[m].Share = 1 / float64(len(p.Models))
			}
			return p
		}, nil},
		{"twelve decades", 1000, func(rng *rand.Rand, n int, v compile.Version) *Problem {
			p := bare(rng, n, 12, v, 1000+rng.IntN(900))
			for m := range p.Models {
				for range 1 + rng.IntN(8) {
					p.Models[m].Load.Parts = append(p.Models[m].Load.Parts, realParts[rng.IntN(len(realParts))])
				}
			}
			return season(rng, p)
		}, nil},
		{"one giant", 1000, func(rng *rand.Rand, n int, v compile.Version) *Problem {
			p := bare(rng, n, 3, v, 49)
			for m := range p.Models {
				l := &p.Models[m].Load
				if m > 0 {
					for range 1 + rng.IntN(3) {
						l.Parts = append(l.Parts, []compile.Part{depthwise(16 + rng.IntN(600)), table(1 + rng.IntN(20)), conv(24, 1+rng.IntN(60)), fullyConnected(10, 64+rng.IntN(200))}[rng.IntN(4)])
					}
					continue
				}
				for range 15 + rng.IntN(20) {
					l.Parts = append(l.Parts, conv(256+64*rng.IntN(5), 200+rng.IntN(300)))
				}
			}
			return season(rng, p)
		}, nil},
		{"one file", 1000, func(rng *rand.Rand, n int, v compile.Version) *Problem {
			p := bare(rng, n, 3, v, 1700+rng.IntN(300))
			for m := range p.Models {
				l := &p.Models[m].Load
				if m > 0 && rng.IntN(5) > 0 {
					*l = p.Models[0].Load
					continue
				}
				for range 1 + rng.IntN(9) {
					l.Parts = append(l.Parts, realParts[rng.IntN(len(realParts))])
				}
			}
			return season(rng, p)
		}, nil},
		{"known results", 1000, func(rng *rand.Rand, n int, v compile.Version) *Problem {
			// a pool in which little is predicted to fit, and compiles in which all did
			p := bare(rng, n, 3, v, 1900+rng.IntN(130))
			for m := range p.Models {
				for range 1 + rng.IntN(4) {
					p.Models[m].Load.Parts = append(p.Models[m].Load.Parts, rows(20+rng.IntN(600)))
				}
			}
			if season(rng, p); p.Known == nil {
				learnAtRandom(rng, p)
				contradict(rng, p)
			}
			return p
		}, nil},
		{"large partitioned ops", 1500, func(rng *rand.Rand, n int, v compile.Version) *Problem {
			p := bare(rng, n, 3, v, 49)
			for m := range p.Models {
				l := &p.Models[m].Load
				for range 1 + rng.IntN(2) {
					l.Parts = append(l.Parts, partitioned(1+rng.IntN(16), 300+rng.IntN(1700)))
				}
				for range rng.IntN(4) {
					l.Parts = append(l.Parts, rows(1+rng.IntN(3000)))
				}
				if rng.IntN(2) == 0 {
					l.Parts = append(l.Parts, table(1+rng.IntN(16)))
				}
			}
			return season(rng, p)
		}, nil},
		{"table behind mixed forms", 1500, tableBehindMixedForms, nil},
		{"ties", 1500, func(rng *rand.Rand, n int, _ compile.Version) *Problem {
			p := bare(rng, n, 3, compile.V16_0, 1500+rng.IntN(450))
			sizes := []int{10 + rng.IntN(200), 10 + rng.IntN(400), 200 + rng.IntN(900)}
			for m := range p.Models {
				for range 2 + rng.IntN(8) {
					part := rows(sizes[rng.IntN(len(sizes))])
					part.Bytes -= 64 * int64(rng.IntN(4)) // alike in rows, not in bytes
					p.Models[m].Load.Parts = append(p.Models[m].Load.Parts, part)
				}
			}
			return season(rng, p)
		}, nil},
	}
}

// tilesMatter: partitioned ops need much of a tile, so what an order leaves on which tile decides.
func tilesMatter(rng *rand.Rand, i int) *Problem {
	versions := []compile.Version{compile.V2_1, compile.V15_0, compile.V1_0}
	p := randomProblem(rng, 4+rng.IntN(2), versions[i%len(versions)])
	for k := range p.Models {
		m := &p.Models[k]
		m.Group, m.Before, m.Reserved = "", nil, 49
		m.Load.Content = m.Name
		m.Load.Parts, m.StreamMS = nil, nil
		for range 1 + rng.IntN(4) {
			rows := 200 + rng.IntN(1700)
			g := 1 + rng.IntN(9)
			part := compile.Part{Bytes: int64(rows*g) * 256, Rows: rows * g, Class: 1}
			if rng.IntN(2) == 0 {
				part.Groups, part.GroupRows, part.Class = g, rows, 0
			}
			m.Load.Parts = append(m.Load.Parts, part)
		}
	}
	return p
}

// manyPartCopies: copies of one file of a dozen parts or more, of three sizes.
// The last copy decides for all.
func manyPartCopies(rng *rand.Rand, _ int) *Problem {
	p := randomProblem(rng, 2+rng.IntN(3), compile.V16_0)
	sizes := []int{300 + rng.IntN(900), 300 + rng.IntN(900), 200 + rng.IntN(2000)}
	n := 12 + rng.IntN(20)
	var load compile.Load
	for range n {
		rows := sizes[rng.IntN(3)]
		load.Parts = append(load.Parts, compile.Part{Bytes: int64(rows)*256 - int64(rng.IntN(2))*64, Rows: rows, Class: 1})
	}
	load.Content = "copy"
	for k := range p.Models {
		m := &p.Models[k]
		m.Group, m.Before, m.Reserved = "", nil, 49
		if k < 2 || rng.IntN(2) == 0 {
			m.Load, m.StreamMS = load, nil
		}
	}
	return p
}

// inPasses: some parts are sent several times a call, and so stand before larger ones.
func inPasses(rng *rand.Rand, n int, v compile.Version) *Problem {
	p := season(rng, randomProblem(rng, n, v))
	for m := range p.Models {
		parts := slices.Clone(p.Models[m].Load.Parts)
		for k := range parts {
			parts[k].Passes = []int{0, 1, 2, 2, 6}[rng.IntN(5)]
		}
		for o := range p.Models {
			if o != m && p.Models[o].Load.Content == p.Models[m].Load.Content {
				p.Models[o].Load.Parts = parts
			}
		}
		p.Models[m].Load.Parts = parts
	}
	return p
}

// copiesBehindMixedForms: copies of one file with more ops than a stable sort
// would take, behind large ops of equal rows, some partitioned and some not: what the pool has room
// for is open before the copies' own cut.
func copiesBehindMixedForms(rng *rand.Rand, i int) *Problem {
	p := manyPartCopies(rng, i)
	big := 1200 + rng.IntN(600)
	seen := map[string]bool{}
	for m := range p.Models {
		l := &p.Models[m].Load
		if seen[l.Content] {
			continue
		}
		seen[l.Content] = true
		parts := slices.Clone(l.Parts)
		for range 2 + rng.IntN(5) {
			part := rows(big)
			part.Class = 0
			if rng.IntN(2) == 0 {
				part = table(big)
			}
			parts = append(parts, part)
		}
		for o := range p.Models {
			if o != m && p.Models[o].Load.Content == l.Content {
				p.Models[o].Load.Parts, p.Models[o].StreamMS = parts, nil
			}
		}
		l.Parts, p.Models[m].StreamMS = parts, nil
	}
	return p
}

// tableBehindMixedForms: ops of equal rows, some partitioned and some not,
// come before a small table that needs one tile. The tail is open, what stands before
// the mixed run is not.
func tableBehindMixedForms(rng *rand.Rand, n int, _ compile.Version) *Problem {
	p := bare(rng, n, 3, compile.V16_0, 1300+rng.IntN(700))
	run := 16 * (1 + rng.IntN(40))
	for m := range p.Models {
		l := &p.Models[m].Load
		for range rng.IntN(4) {
			l.Parts = append(l.Parts, rows(run+1+rng.IntN(3000)))
		}
		for range rng.IntN(3) {
			part := rows(run)
			if rng.IntN(2) == 0 {
				part = table(run)
			}
			l.Parts = append(l.Parts, part)
		}
		for range rng.IntN(3) {
			l.Parts = append(l.Parts, table(1+rng.IntN(run)))
		}
		for range rng.IntN(3) {
			l.Parts = append(l.Parts, rows(1+rng.IntN(run)))
		}
	}
	return season(rng, p)
}

// builtFamily plans nets that are built from public shapes.
func builtFamily(t testing.TB) family {
	return family{"built nets", 300, func(rng *rand.Rand, n int, v compile.Version) *Problem {
		return season(rng, ofNets(t, rng, nets.Built(), n, v))
	}, nil}
}

// publicFamily plans nets of the public data set, without which the test is skipped.
func publicFamily(t testing.TB) family {
	t.Helper()
	dir := testdata.Dir(t)
	graphs, err := nets.Graphs(dir)
	if err != nil {
		t.Fatal(err)
	}
	public := slices.Concat(nets.Files(dir), graphs)
	return family{"public nets", 300, func(rng *rand.Rand, n int, v compile.Version) *Problem {
		return season(rng, ofNets(t, rng, public, n, v))
	}, nil}
}
