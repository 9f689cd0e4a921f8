package plans

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/planner"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// From a plan file and four real models (the largest built from its public
// shapes) to the bytes of the lock. The metric peak-heap/models is the heap at the end
// of a run without collections, so an upper limit of the peak, in bytes of the models.
func BenchmarkPlanToLock(b *testing.B) {
	text := "[[device]]\nname='tpu0'\nlink='usb3'\n"
	files := map[string][]byte{"v1": tflitetest.MobileNetV1(1, 224, 1001)}
	for name, file := range map[string]string{
		"v2": "mobilenet_v2_1.0_224_quant.tflite", "bird": "mobilenet_v2_1.0_224_inat_bird_quant.tflite", "pose": "movenet_single_pose_lightning_ptq.tflite",
	} {
		data, err := os.ReadFile(filepath.Join(testdata.Dir(b), "models", file))
		if err != nil {
			b.Fatal(err)
		}
		files[name] = data
	}
	total := 0
	named := map[string][]byte{}
	for _, name := range []string{"v1", "v2", "bird", "pose"} {
		named[name+".tflite"] = files[name]
		total += len(files[name])
		text += "[[model]]\nname='" + name + "'\nfile='" + name + ".tflite'\nrate='" + []string{"1", "2", "3", "4", "5"}[len(name)] + "/s'\n"
	}
	dir := folder(b, named)
	files, named = nil, nil
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	heap := uint64(0)
	for b.Loop() {
		plan, err := Parse(filepath.Join(dir, "plan.toml"), []byte(text))
		if err != nil {
			b.Fatal(err)
		}
		r, err := Resolve(context.Background(), plan, Options{})
		if err != nil {
			b.Fatal(err)
		}
		answer, err := planner.Solve(context.Background(), r.Problem, planner.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := planner.Verify(r.Problem, answer); err != nil {
			b.Fatal(err)
		}
		if _, err := NewLock(r, answer).Bytes(); err != nil {
			b.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		heap = max(heap, after.HeapAlloc-min(after.HeapAlloc, before.HeapAlloc))
	}
	b.ReportMetric(float64(heap)/float64(total), "heap/models")
}
