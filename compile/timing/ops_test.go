package timing_test

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/timing"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/internal/known"
	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
)

// The ops of public compiled files compute as long as those of their sources, and stream what
// the files stream, alone and compiled with others.
func TestOpsOfPublicFiles(t *testing.T) {
	models := filepath.Join(testdata.Dir(t), "models")
	link, err := cost.BuiltinLink("usb3")
	if err != nil {
		t.Fatal(err)
	}
	slow := link
	slow.Slow = 2
	streaming := 0
	test := func(net known.Net, file string, s compile.Settings) {
		t.Helper()
		f, err := net.Open(models)
		if err != nil {
			t.Fatal(err)
		}
		src, err := f.Source()
		if err != nil {
			t.Fatal(err)
		}
		m := compile.Analyze(src, s)
		if f, err = tflite.Open(filepath.Join(models, filepath.FromSlash(file)+".tflite")); err != nil {
			t.Fatal(err)
		}
		c, err := f.Compiled()
		if err != nil {
			t.Fatal(err)
		}
		found := c.Locate(src, m.Wants())
		ops := timing.OpsOf(m, c, found, link)
		want, got, streamed, hidden := 0.0, 0.0, 0.0, 0.0
		for i := range m.Ops {
			if m.Ops[i].Mapped {
				want += m.Ops[i].Work.MS()
			}
		}
		for _, o := range ops {
			got += o.MS
			streamed += o.Streamed
			if o.Streamed > 0 && o.MS > 0 {
				hidden += o.Streamed
			}
			if o.Passes < 1 {
				t.Errorf("%s: %+v", file, o)
			}
		}
		if math.Abs(got-want) > 1e-9 || streamed != float64(c.StreamedBytes()) {
			t.Errorf("%s: ops compute %v ms and stream %v bytes, want %v and %d", file, got, streamed, want, c.StreamedBytes())
		}
		if c.StreamedBytes() > 100_000 {
			if streaming++; hidden < 0.9*streamed {
				t.Errorf("%s: %v of %v streamed bytes are of ops that compute", file, hidden, streamed)
			}
		}
		if twice := timing.OpsOf(m, c, found, slow); math.Abs(twice[0].MS-2*ops[0].MS) > 1e-12 {
			t.Errorf("%s: at half the clock %v ms, not twice %v", file, twice[0].MS, ops[0].MS)
		}
	}
	for _, p := range known.Pairs {
		if p.Differs == "" {
			test(known.Net{File: p.Name}, p.Name+"_edgetpu", compile.Settings{Version: compile.V16_0, MinRuntime: known.MinRuntime})
		}
	}
	for _, set := range known.Sets {
		v, err := compile.ParseVersion(set.Release)
		if err != nil {
			t.Fatal(err)
		}
		for i, file := range set.Files {
			if file != "" && set.Nets[i].File != "" {
				test(set.Nets[i], file, compile.Settings{Version: v})
			}
		}
	}
	if streaming == 0 {
		t.Error("no file streams")
	}
	t.Logf("%d files stream", streaming)
}
