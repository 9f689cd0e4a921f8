package compile

import (
	"fmt"
	"sync"
	"testing"

	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// eightMobileNets are eight different nets of MobileNet size.
func eightMobileNets(b *testing.B, v Version) []*Load {
	b.Helper()
	var loads []*Load
	for i, data := range [][]byte{
		tflitetest.MobileNetV1(1, 224, 1001), tflitetest.MobileNetV1(0.75, 192, 1001),
		tflitetest.MobileNetV1(0.5, 160, 1001), tflitetest.MobileNetV1(0.25, 128, 1001),
		tflitetest.MobileNetV2(1, 224, 965), tflitetest.MobileNetV2(1, 224, 2102),
		tflitetest.MobileNetV1(1, 192, 91), tflitetest.MobileNetV2(0.75, 192, 1001),
	} {
		m := built(b, data, Settings{Version: v})
		m.Load.Content = fmt.Sprint(i)
		loads = append(loads, &m.Load)
	}
	return loads
}

// The splits of all ordered groups that can be made of eight models: 109,600.
func BenchmarkOrderedGroups(b *testing.B) {
	for _, v := range []Version{V15_0, V16_0} {
		b.Run(v.String(), func(b *testing.B) {
			loads := eightMobileNets(b, v)
			var sorted []*SortedLoad
			for _, l := range loads {
				sorted = append(sorted, l.Sorted())
			}
			groups := 0
			for b.Loop() {
				groups = 0
				var used [8]bool
				if v.Sequential() {
					var extend func(p Pool)
					extend = func(p Pool) {
						for m, l := range sorted {
							if used[m] {
								continue
							}
							used[m] = true
							next := p
							next.Place(v, l)
							groups++
							extend(next)
							used[m] = false
						}
					}
					extend(NewPool(274))
					continue
				}
				// every other first model on the other core
				var count [2]int
				var done sync.WaitGroup
				for core := range count {
					done.Go(func() { count[core] = mergedGroups(loads, core) })
				}
				done.Wait()
				groups = count[0] + count[1]
			}
			if groups != 109_600 {
				b.Fatalf("%d groups", groups)
			}
			b.ReportMetric(float64(groups), "groups")
		})
	}
}

// The splits of all sets that can be made of eight models in compiler 16.0,
// whose order matters only for ties: 255, from one sorted list.
func BenchmarkSets255(b *testing.B) {
	loads := eightMobileNets(b, V16_0)
	var o Outlook
	certain := 0
	for b.Loop() {
		g := Merge(loads)
		certain = 0
		for set := uint64(1); set < 1<<len(loads); set++ {
			g.Look(75, 75, set, &o)
			if len(o.Runs)+len(o.Open) == 0 {
				certain++
			}
		}
	}
	b.ReportMetric(float64(certain), "certain")
}

// mergedGroups splits the ordered groups whose first model is core, core + 2 ... in compiler 16.0.
func mergedGroups(loads []*Load, core int) int {
	var merger Merger
	var out []Share
	var used [8]bool
	groups := 0
	listed := make([]*Load, 0, len(loads))
	var extend func()
	extend = func() {
		for m := range loads {
			if used[m] || len(listed) == 0 && m%2 != core {
				continue
			}
			used[m] = true
			listed = append(listed, loads[m])
			out = merger.Allocate(75, listed, out)
			groups++
			extend()
			listed = listed[:len(listed)-1]
			used[m] = false
		}
	}
	extend()
	return groups
}

// From the bytes of a 4 MB model to its predicted report, hashing included.
func BenchmarkPredict(b *testing.B) {
	data := tflitetest.MobileNetV1(1, 224, 1001)
	for _, models := range []int{1, 4} {
		b.Run(fmt.Sprint(models), func(b *testing.B) {
			b.SetBytes(int64(models * len(data)))
			for b.Loop() {
				var in []Input
				for range models {
					f, err := tflite.New("model", data)
					if err != nil {
						b.Fatal(err)
					}
					src, err := f.Source()
					if err != nil {
						b.Fatal(err)
					}
					m := Analyze(src, Settings{Version: V16_0})
					m.Load.Content = f.SHA256()
					in = append(in, inputOf("model", m))
				}
				Predict(V16_0, in)
			}
		})
	}
}
