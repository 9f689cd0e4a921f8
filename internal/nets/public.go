package nets

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

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

// Graphs are the published architectures of the data set's nets.jsonl, those
// that are built of plain layers and are no larger than a few chips.
func Graphs(dir string) ([]*Net, error) {
	f, err := os.Open(filepath.Join(dir, "nets.jsonl"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []*Net
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadBytes('\n')
		if len(line) == 0 {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		var g graph
		if err := json.Unmarshal(line, &g); err != nil {
			return nil, fmt.Errorf("nets.jsonl: %w", err)
		}
		if g.plain() {
			list = append(list, newNet(g.Net, func() (*tflite.File, error) { return tflite.New(g.Net, g.build()) }))
		}
	}
}

// graph is a line of nets.jsonl.
type graph struct {
	Net   string
	Input []int
	Ops   []layer
}

type layer struct {
	Op     string
	In     []int // tensors, 0 is the image
	Out    int
	Shape  []int
	Kernel []int
	Stride int
}

// maxWeights keeps the tests from building nets that take them a second.
const maxWeights = 30 << 20

func (g *graph) plain() bool {
	shapes, weights := map[int][]int{0: g.Input}, 0
	for _, l := range g.Ops {
		shapes[l.Out] = l.Shape
		in := shapes[l.In[0]]
		switch l.Op {
		case "CONV_2D":
			weights += l.Kernel[0] * l.Kernel[1] * in[2] * l.Shape[2]
		case "FULLY_CONNECTED":
			weights += in[0] * in[1] * in[2] * l.Shape[2]
		case "CUSTOM":
			return false
		}
	}
	return weights <= maxWeights
}

// build gives the architecture weights that are made up.
func (g *graph) build() []byte {
	b := tflitetest.New()
	for _, c := range g.Net {
		b.Seed = b.Seed*31 + uint64(c)
	}
	at, shapes := map[int]int{}, map[int][]int{0: g.Input}
	b.Input(1, g.Input[0], g.Input[1], g.Input[2])
	at[0] = b.At()
	for _, l := range g.Ops {
		in := shapes[l.In[0]]
		b.From(at[l.In[0]])
		same := l.Stride > 0 && l.Shape[0] == (in[0]+l.Stride-1)/l.Stride
		switch l.Op {
		case "CONV_2D":
			b.Conv(l.Shape[2], l.Kernel[0], l.Kernel[1], l.Stride, same)
		case "DEPTHWISE_CONV_2D":
			b.Depthwise(l.Kernel[0], l.Kernel[1], l.Stride, same)
		case "MAX_POOL_2D":
			b.MaxPool(l.Kernel[0], l.Stride, same)
		case "AVERAGE_POOL_2D":
			b.AvgPool(l.Kernel[0], l.Stride, same)
		case "ADD":
			b.Add(at[l.In[1]])
		case "CONCATENATION":
			tensors := slices.Clone(l.In)
			for i := range tensors {
				tensors[i] = at[tensors[i]]
			}
			b.Concat(3, tensors...)
		case "PAD":
			y, x := l.Shape[0]-in[0], l.Shape[1]-in[1]
			b.Pad(0, 0, y/2, y-y/2, x/2, x-x/2, 0, 0)
		case "MEAN":
			b.Mean(false, 1, 2)
		case "FULLY_CONNECTED":
			b.FC(l.Shape[2])
		case "SOFTMAX":
			b.Softmax()
		default:
			panic("nets.jsonl: " + g.Net + ": no rule for " + l.Op)
		}
		at[l.Out], shapes[l.Out] = b.At(), l.Shape
	}
	return b.Bytes()
}
