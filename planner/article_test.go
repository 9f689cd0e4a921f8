package planner_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/timing"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// The article's advice for compiler 1.0, with its models (bird from the public
// data set, inception v1 and plant built from their shapes): called equally
// often, the small model comes first; called much more often, the large one does.
func TestSmallOrFrequentModelFirst(t *testing.T) {
	link, err := cost.BuiltinLink("usb2")
	if err != nil {
		t.Fatal(err)
	}
	bird, err := tflite.Open(filepath.Join(testdata.Dir(t), "models", "mobilenet_v2_1.0_224_inat_bird_quant.tflite"))
	if err != nil {
		t.Fatal(err)
	}
	inception, err := tflite.New("inception", tflitetest.InceptionV1(224, 1001))
	if err != nil {
		t.Fatal(err)
	}
	model := func(name string, f *tflite.File, share float64) planner.Model {
		src, err := f.Source()
		if err != nil {
			t.Fatal(err)
		}
		m := compile.Analyze(src, compile.Settings{Version: compile.V1_0})
		m.Load.Content = f.SHA256()
		x := planner.Model{Name: name, Share: share, Load: m.Load, Reserved: m.Reserve.Rows}
		x.Call, x.StreamMS = timing.Shapes(m, link).Cost(timing.Vary{})
		return x
	}
	for _, test := range []struct {
		share float64 // of inception
		first string
	}{{0.5, "bird"}, {0.95, "inception"}} {
		p := &planner.Problem{
			Version: compile.V1_0,
			Devices: []planner.Device{{Name: "tpu0"}},
			Models:  []planner.Model{model("inception", inception, test.share), model("bird", bird, 1-test.share)},
		}
		plan, err := planner.Solve(context.Background(), p, planner.Options{})
		if err != nil {
			t.Fatal(err)
		}
		groups := plan.Devices[0].Groups
		if len(groups) != 1 {
			t.Fatalf("%d groups, want one", len(groups))
		}
		if got := p.Models[groups[0].Models[0]].Name; got != test.first {
			t.Errorf("inception in %v of the calls: %s first, want %s", test.share, got, test.first)
		}
	}
}
