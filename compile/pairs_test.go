package compile

import (
	"path/filepath"
	"testing"

	"github.com/tpuplan/tpuplan/internal/known"
	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
)

func openFile(t testing.TB, path string) *tflite.File {
	t.Helper()
	f, err := tflite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func analyzeSource(t testing.TB, f *tflite.File, s Settings) *Model {
	t.Helper()
	src, err := f.Source()
	if err != nil {
		t.Fatal(err)
	}
	m := Analyze(src, s)
	m.Load.Content = f.SHA256()
	return m
}

func publicModel(t testing.TB, name string, s Settings) *Model {
	t.Helper()
	return analyzeSource(t, openFile(t, filepath.Join(testdata.Dir(t), "models", name+".tflite")), s)
}

// The default minimum runtime of 16.0 is 14; the table of one row that the
// public files carry is not made then.
func TestMinimumRuntimeChangesSoftmax(t *testing.T) {
	old := publicModel(t, "mobilenet_v1_0.25_128_quant", Settings{Version: V16_0, MinRuntime: known.MinRuntime})
	now := publicModel(t, "mobilenet_v1_0.25_128_quant", Settings{Version: V16_0})
	if got := old.Load.Bytes() - now.Load.Bytes(); got != 64 {
		t.Errorf("-m 12 has %d bytes more than the default, want 64", got)
	}
}

// What tile memory the activations take, as the compiled files state it.
func TestPeakOfFittingNets(t *testing.T) {
	for name, want := range map[string]int64{
		"mobilenet_v1_0.5_160_quant":        20_512,
		"mobilenet_v1_0.75_192_quant":       43_824,
		"mobilenet_v2_1.0_224_quant":        99_552,
		"movenet_single_pose_lightning_ptq": 73_824,
	} {
		src, err := openFile(t, filepath.Join(testdata.Dir(t), "models", name+".tflite")).Source()
		if err != nil {
			t.Fatal(err)
		}
		if got := flowOf(src, Analyze(src, Settings{Version: V16_0})).peak(); got != want {
			t.Errorf("%s: peak %d bytes per tile, the compiled file says %d", name, got, want)
		}
	}
}
