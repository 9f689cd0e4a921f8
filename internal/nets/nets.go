// Package nets holds nets that tests and benchmarks plan: those of the public
// data set, and a catalogue of nets that are built from public shapes, with
// weights that are made up. Their sizes are those that the compiler's twin gives.
package nets

import (
	"fmt"
	"sync"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/timing"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// Net is a source model that is read or built when its size is asked for.
type Net struct {
	Name  string
	open  func() (*tflite.File, error)
	sizes func() ([]Size, error) // by release, once
}

// Size is what a plan needs to know of a net.
type Size struct {
	Load     compile.Load
	Reserved int // rows of every tile
	model    *compile.Model
}

// Timing is how long calls of the net take on a link.
func (s *Size) Timing(link cost.Link) *timing.Model { return timing.Shapes(s.model, link) }

// newNet is a net that is analysed once, for all releases, and not kept.
func newNet(name string, open func() (*tflite.File, error)) *Net {
	n := &Net{Name: name, open: open}
	n.sizes = sync.OnceValues(n.analyze)
	return n
}

func (n *Net) analyze() ([]Size, error) {
	f, err := n.open()
	if err != nil {
		return nil, err
	}
	src, err := f.Source()
	if err != nil {
		return nil, err
	}
	var list []Size
	for _, v := range compile.Versions() {
		m := compile.Analyze(src, compile.Settings{Version: v})
		m.Load.Content = n.Name // a name is never given twice
		list = append(list, Size{m.Load, m.Reserve.Rows, m})
	}
	return list, nil
}

// Size is the net as a release compiles it. The parts are shared: do not change them.
func (n *Net) Size(v compile.Version) (Size, error) {
	sizes, err := n.sizes()
	if err != nil {
		return Size{}, fmt.Errorf("%s: %w", n.Name, err)
	}
	return sizes[v], nil
}

// list collects nets that are built.
type list []*Net

func (l *list) add(build func() []byte, format string, args ...any) {
	name := fmt.Sprintf(format, args...)
	*l = append(*l, newNet(name, func() (*tflite.File, error) { return tflite.New(name, build()) }))
}

// Built is the catalogue of nets that are built.
var Built = sync.OnceValue(func() []*Net {
	var all list
	for _, classes := range []int{1001, 91} {
		for _, size := range []int{224, 192, 160, 128} {
			for _, alpha := range []float64{1, 0.75, 0.5, 0.25} {
				all.add(func() []byte { return tflitetest.MobileNetV1(alpha, size, classes) }, "v1_%g_%d_%d", alpha, size, classes)
			}
			for _, alpha := range []float64{1, 0.75, 0.5, 0.35, 1.4} {
				all.add(func() []byte { return tflitetest.MobileNetV2(alpha, size, classes) }, "v2_%g_%d_%d", alpha, size, classes)
			}
		}
	}
	for _, classes := range []int{965, 2102, 10, 257, 37, 500} {
		all.add(func() []byte { return tflitetest.MobileNetV2(1, 224, classes) }, "v2_1_224_%d", classes)
	}
	for _, classes := range []int{91, 2, 21, 9, 5, 37, 11, 3} {
		all.add(func() []byte { return tflitetest.SSDMobileNetV1(classes) }, "ssd_%d", classes)
	}
	for _, classes := range []int{1001, 91, 10, 365, 21, 102} {
		all.add(func() []byte { return tflitetest.InceptionV1(224, classes) }, "inception_%d", classes)
	}
	for _, classes := range []int{1000, 10} {
		all.add(func() []byte { return tflitetest.ResNet50(classes) }, "resnet50_%d", classes)
	}
	return all
})

// Tiny are nets of less than a tenth of a chip.
var Tiny = sync.OnceValue(func() []*Net {
	var all list
	for i := range 12 {
		all.add(func() []byte { return tflitetest.MobileNetV1(0.25, 128, 2+7*i) }, "tiny_v1_%d", 2+7*i)
		all.add(func() []byte { return tflitetest.FCSeriesL4(32 + 24*i) }, "tiny_fc_%d", 32+24*i)
	}
	return all
})
