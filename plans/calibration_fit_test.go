package plans

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/timing"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/plans/schema/schematest"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/fit"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// A device whose host, rate, output rate, compute and passes are known is timed, the samples are fitted,
// and a plan reads the result: what it says of other splits is what the device takes. The times of
// the device are written from the definition of a call.
func TestCalibratedPlansPredictOtherSplits(t *testing.T) {
	const (
		host, perByte, g, overhead = 0.35, 1 / 410e3, 5e-6, 0.7
		loadBytes, repeats         = 10_240, 20
		times                      = 1.4 // as many passes as predicted
	)
	wide := tflitetest.New().Input(1, 64, 64, 3).Conv(640, 3, 3, 1, true)
	for range 5 {
		wide.Conv(640, 1, 1, 1, true)
	}
	nets := []struct {
		name   string
		data   []byte
		factor float64
	}{
		{"a", tflitetest.MobileNetV1(0.25, 128, 10), 1.02},
		{"b", tflitetest.MobileNetV1(1, 224, 1000), 1.12},
		{"c", tflitetest.MobileNetV2(1, 224, 1000), 1.04},
		{"d", tflitetest.InceptionV1(224, 1000), 1.08},
		{"e", wide.AvgPool(64, 2, false).Conv(10, 1, 1, 1, true).Bytes(), 1.1}, // runs in passes
	}
	settings := compile.Settings{Version: compile.V16_0}
	analyses := make([]*compile.Model, len(nets))
	traffic := func(m *compile.Model) (besides, output int64) {
		p := cost.Program{Ops: m.TPUOps, Compiler16: true, Softmax: m.Timing.Softmax}
		return p.InstructionBytes() + m.InputBytes, m.OutputBytes
	}
	// what the parts do with a split of the model
	parts := func(m *compile.Model, cached []bool, visit func(o cost.Op)) {
		whole := make([]int64, len(m.Ops))
		for i := range m.Load.Parts {
			whole[m.Load.Parts[i].Op] += m.Load.Parts[i].Bytes
		}
		for i := range m.Load.Parts {
			p := &m.Load.Parts[i]
			o := cost.Op{MS: m.Ops[p.Op].Work.MS() * float64(p.Bytes) / float64(whole[p.Op]), Passes: m.Ops[p.Op].Passes.Value}
			if !cached[i] {
				o.Streamed = float64(p.Bytes)
			}
			visit(o)
		}
		for i := range m.Ops {
			if m.Ops[i].Mapped && whole[i] == 0 {
				visit(cost.Op{MS: m.Ops[i].Work.MS(), Passes: 1})
			}
		}
		if m.Load.Streamed > 0 {
			visit(cost.Op{Streamed: float64(m.Load.Streamed), Passes: 1})
		}
	}
	steady := func(i int, cached []bool) float64 {
		besides, output := traffic(analyses[i])
		ms := host + float64(besides)*perByte + float64(output)*g
		parts(analyses[i], cached, func(o cost.Op) {
			often := o.Passes
			if often > 1 {
				often *= times
			}
			ms += math.Max(nets[i].factor*o.MS, often*o.Streamed*perByte)
		})
		return ms
	}
	// splits that stream a part in so many
	split := func(i int, streams func(k int) bool) []bool {
		cached := make([]bool, len(analyses[i].Load.Parts))
		for k := range cached {
			cached[k] = !streams(k)
		}
		return cached
	}

	files := map[string][]byte{}
	text := "[compiler]\nversion = \"16.0\"\n[[device]]\nname = \"tpu0\"\nlink = \"usb3\"\ncalibration = \"cal.json\"\n"
	d, random, inPasses := &fit.Data{}, rand.New(rand.NewPCG(1, 2)), false
	for i, n := range nets {
		f, err := tflite.New(n.name+".tflite", n.data)
		if err != nil {
			t.Fatal(err)
		}
		src, err := f.Source()
		if err != nil {
			t.Fatal(err)
		}
		files[n.name+".tflite"] = n.data
		text += fmt.Sprintf("[[model]]\nname = %q\nfile = \"%s.tflite\"\nrate = \"1/s\"\n", n.name, n.name)
		m := compile.Analyze(src, settings)
		analyses[i] = m
		for k := range m.Ops {
			inPasses = inPasses || m.Ops[k].Passes.Value > 1
		}
		last := len(m.Load.Parts)
		for _, streams := range []func(int) bool{func(int) bool { return false }, func(k int) bool { return k%3 == 0 || k > 2*last/3 }} {
			cached := split(i, streams)
			besides, output := traffic(m)
			file := fit.File{Model: n.name, SourceSHA256: f.SHA256(), CalibratedFile: cost.CalibratedFile{
				File: fmt.Sprint(n.name, len(d.Files)), FixedBytes: besides + output, OutputBytes: output, LoadBytes: loadBytes,
			}}
			parts(m, cached, func(o cost.Op) { file.Ops = append(file.Ops, o); file.StreamedBytes += int64(o.Streamed) })
			file.CachedBytes = m.Load.Bytes() - file.StreamedBytes
			d.Files = append(d.Files, file)
			for _, cold := range []bool{false, true} {
				ms := steady(i, cached)
				if cold {
					ms += float64(file.CachedBytes+loadBytes)*perByte + overhead
				}
				for range repeats {
					d.Timings = append(d.Timings, fit.Timing{File: len(d.Files) - 1, Cold: cold, MS: ms * (1 + 0.01*random.NormFloat64()), Source: profile.Measured})
				}
			}
		}
	}
	if !inPasses {
		t.Fatal("no net runs in passes")
	}
	link, err := cost.BuiltinLink("usb3")
	if err != nil {
		t.Fatal(err)
	}
	c, err := fit.Fit(d, &link)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Host.Known() || !c.Model("e", "").Passes.Known() {
		t.Errorf("host %+v, passes %+v", c.Host, c.Model("e", "").Passes)
	}
	if files["cal.json"], err = CalibrationBytes(c); err != nil {
		t.Fatal(err)
	}
	if err := schematest.Validate("calibration", files["cal.json"]); err != nil {
		t.Error(err)
	}
	r, err := resolveText(t, text, files, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range nets {
		call, stream := r.Files[i].Timing.Cost(timing.Vary{})
		for name, streams := range map[string]func(int) bool{
			"cached": func(int) bool { return false }, "last half": func(k int) bool { return k > len(stream)/2 },
			"first half": func(k int) bool { return k <= len(stream)/2 }, "every second": func(k int) bool { return k%2 == 0 }, "all": func(int) bool { return true },
		} {
			cached := split(i, streams)
			got, want := call.FixedMS+float64(analyses[i].Load.Streamed)/call.BytesPerMS, steady(i, cached)
			for k := range stream {
				if !cached[k] {
					got += stream[k]
				}
			}
			if off := math.Abs(got-want) / want; off > 0.02 {
				t.Errorf("%s, %s: %.3f ms, the device takes %.3f", n.name, name, got, want)
			}
		}
		if f := c.Models[i].Factor; !f.Known() || *f.Low > n.factor || *f.High < n.factor {
			t.Errorf("%s: factor %+v", n.name, f)
		}
	}
	if strings.Contains(fmt.Sprint(r.Warnings), "calibration") {
		t.Errorf("warnings %v", r.Warnings)
	}
}
