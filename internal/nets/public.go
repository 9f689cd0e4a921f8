package nets

import (
	"path/filepath"
	"slices"

	"github.com/tpuplan/tpuplan/internal/known"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// files are the source models of the public data set that stand by themselves.
var files = []string{
	"deeplabv3_mnv2_dm05_pascal_quant", "keras_lstm_mnist_ptq",
	"mobilenet_v1_0.25_128_quant", "mobilenet_v1_0.5_160_quant", "mobilenet_v1_0.75_192_quant",
	"mobilenet_v2_1.0_224_inat_bird_quant", "mobilenet_v2_1.0_224_quant", "movenet_single_pose_lightning_ptq",
}

// Files are the source models of the public data set in a folder.
func Files(dir string) []*Net {
	var list []*Net
	for _, name := range files {
		list = append(list, newNet(name, func() (*tflite.File, error) {
			return tflite.Open(filepath.Join(dir, "models", name+".tflite"))
		}))
	}
	return list
}

// maxWeights keeps the tests from building nets that take them a second.
const maxWeights = 30 << 20

// Graphs are the published architectures of the data set's nets.jsonl, those
// that are built of plain layers and are no larger than a few chips.
func Graphs(dir string) ([]*Net, error) {
	graphs, err := known.ReadGraphs(filepath.Join(dir, "nets.jsonl"))
	if err != nil {
		return nil, err
	}
	var list []*Net
	for i := range graphs {
		g := &graphs[i]
		custom := slices.ContainsFunc(g.Ops, func(o known.GraphOp) bool { return o.Op == "CUSTOM" })
		if custom || g.Weights() > maxWeights {
			continue
		}
		list = append(list, newNet(g.Net, func() (*tflite.File, error) {
			b := tflitetest.New()
			for _, c := range g.Net {
				b.Seed = b.Seed*31 + uint64(c)
			}
			g.Draw(b, known.Quantization{Type: tflite.Uint8})
			return tflite.New(g.Net, b.Bytes())
		}))
	}
	return list, nil
}
