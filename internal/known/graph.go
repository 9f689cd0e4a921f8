package known

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"

	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// Shape is height, width and channels.
type Shape [3]int

func (s Shape) elements() int { return s[0] * s[1] * s[2] }

// Graph is a public architecture: ops on tensors that are numbered from 0, the image.
type Graph struct {
	Net   string    `json:"net"`
	Input Shape     `json:"input"`
	Ops   []GraphOp `json:"ops"` // op i makes tensor i + 1
}

// GraphOp is one op of a graph.
type GraphOp struct {
	Op     string `json:"op"` // the operator's name; ADD of one tensor adds a constant to each channel
	In     []int  `json:"in"`
	Out    int    `json:"out"`
	Shape  Shape  `json:"shape"` // of the output
	Kernel [2]int `json:"kernel"`
	Stride int    `json:"stride"` // padding is SAME, or VALID if only that gives the shape
}

// Quantization is how the constants of a net are quantized.
type Quantization struct {
	Type       tflite.Type
	PerChannel bool // weights of convolutions have a scale for each channel
	Dense      bool // those of fully connected layers too, as newer converters write them
	NoBias     bool // convolutions have no bias
}

// maxElements is more than any tensor of a public architecture has.
const maxElements = 1 << 28

// lines decodes a file of one JSON value a line, strictly.
func lines[T any](path string) ([]T, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var list []T
	for {
		var v T
		if err := d.Decode(&v); err == io.EOF {
			return list, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: value %d: %w", path, len(list)+1, err)
		}
		list = append(list, v)
	}
}

// ReadGraphs reads a file of graphs, nets.jsonl of the data set.
func ReadGraphs(path string) ([]Graph, error) {
	list, err := lines[Graph](path)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if err := list[i].check(); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, list[i].Net, err)
		}
	}
	return list, nil
}

// shape is the shape of a tensor.
func (g *Graph) shape(tensor int) Shape {
	if tensor == 0 {
		return g.Input
	}
	return g.Ops[tensor-1].Shape
}

// Weights is about how many weights the graph has, without those of depthwise convolutions.
func (g *Graph) Weights() int {
	n := 0
	for i := range g.Ops {
		o := &g.Ops[i]
		switch in := g.shape(o.In[0]); o.Op {
		case "CONV_2D":
			n += o.Kernel[0] * o.Kernel[1] * in[2] * o.Shape[2]
		case "FULLY_CONNECTED":
			n += in.elements() * o.Shape[2]
		}
	}
	return n
}

// unread are the tensors that no op reads.
func (g *Graph) unread() []int {
	read := make([]bool, len(g.Ops)+1)
	for i := range g.Ops {
		for _, t := range g.Ops[i].In {
			read[t] = true
		}
	}
	var list []int
	for t := range read {
		if !read[t] {
			list = append(list, t)
		}
	}
	return list
}

// check reports the first thing that is wrong with a graph, so that drawing it cannot fail.
func (g *Graph) check() error {
	if len(g.Ops) == 0 {
		return fmt.Errorf("no ops")
	}
	for t := range len(g.Ops) + 1 {
		if s := g.shape(t); min(s[0], s[1], s[2]) < 1 || max(s[0], s[1], s[2]) > maxElements || s.elements() > maxElements {
			return fmt.Errorf("tensor %d: shape %v", t, s)
		}
	}
	for i := range g.Ops {
		if err := g.checkOp(i); err != nil {
			return fmt.Errorf("op %d, %s: %w", i, g.Ops[i].Op, err)
		}
	}
	if list := g.unread(); len(list) != 1 || list[0] != len(g.Ops) {
		return fmt.Errorf("nothing reads the tensors %v; only the last should be left", list)
	}
	return nil
}

func (g *Graph) checkOp(i int) error {
	o := &g.Ops[i]
	if o.Out != i+1 {
		return fmt.Errorf("makes tensor %d, want %d", o.Out, i+1)
	}
	least, most := 1, 1
	switch o.Op {
	case "ADD":
		most = 2
	case "CUSTOM":
		least, most = 2, 2
	case "CONCATENATION":
		least, most = 2, len(g.Ops)
	}
	if n := len(o.In); n < least || n > most {
		return fmt.Errorf("reads %d tensors", n)
	}
	for _, t := range o.In {
		if t < 0 || t >= o.Out {
			return fmt.Errorf("reads tensor %d, which is not made yet", t)
		}
	}
	in, out := g.shape(o.In[0]), o.Shape
	fits := true
	switch o.Op {
	case "CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "AVERAGE_POOL_2D":
		_, fits = padding(in, out, o.Kernel, o.Stride)
		if o.Op != "CONV_2D" {
			fits = fits && in[2] == out[2]
		}
		if o.Op == "MAX_POOL_2D" || o.Op == "AVERAGE_POOL_2D" {
			fits = fits && o.Kernel[0] == o.Kernel[1]
		}
	case "PAD":
		fits = in[0] <= out[0] && in[1] <= out[1] && in[2] == out[2]
	case "MEAN":
		fits = out == Shape{1, 1, in[2]}
	case "FULLY_CONNECTED":
		fits = out[0] == 1 && out[1] == 1
	case "ADD":
		for _, t := range o.In {
			fits = fits && g.shape(t) == out
		}
	case "LOGISTIC", "SOFTMAX":
		fits = in == out
	case "CONCATENATION":
		fits = g.concatenates(o)
	case "CUSTOM":
		fits = in[2] == 4 && in[1] == g.shape(o.In[1])[1]
	default:
		return fmt.Errorf("not an op of a graph")
	}
	if !fits {
		return fmt.Errorf("%v does not become %v", in, out)
	}
	return nil
}

// concatenates reports whether the parts of a concatenation give its shape:
// channels side by side, or the heads of a detector one below the other.
func (g *Graph) concatenates(o *GraphOp) bool {
	channels, rows := 0, 0
	maps := true
	for _, t := range o.In {
		s := g.shape(t)
		maps = maps && s[0] == o.Shape[0] && s[1] == o.Shape[1]
		channels += s[2]
		if s[2]%o.Shape[2] != 0 {
			rows = -maxElements
		}
		rows += s.elements() / o.Shape[2]
	}
	return maps && channels == o.Shape[2] || o.heads(g) && rows == o.Shape[1]
}

// heads reports a concatenation of a detector's heads.
func (o *GraphOp) heads(g *Graph) bool {
	return o.Shape[0] == 1 && g.shape(o.In[0])[0] > 1
}

// padding says which padding turns one height and width into another.
func padding(in, out Shape, kernel [2]int, stride int) (same, ok bool) {
	if stride < 1 || kernel[0] < 1 || kernel[1] < 1 {
		return false, false
	}
	same, valid := true, true
	for d := range 2 {
		same = same && (in[d]+stride-1)/stride == out[d]
		valid = valid && in[d] >= kernel[d] && (in[d]-kernel[d])/stride+1 == out[d]
	}
	return same, same || valid
}

// Draw builds the graph, which must be one of [ReadGraphs] or [ReadLayers].
func (g *Graph) Draw(b *tflitetest.Builder, q Quantization) {
	b.Type, b.PerChannel, b.NoBias = q.Type, q.PerChannel, q.NoBias
	hash := fnv.New64a()
	io.WriteString(hash, g.Net) //nolint:errcheck // a hash takes everything
	b.Seed = hash.Sum64()
	b.Input(1, g.Input[0], g.Input[1], g.Input[2])
	at := []int{b.At()} // of each tensor, in the file
	for i := range g.Ops {
		o := &g.Ops[i]
		b.From(at[o.In[0]])
		g.draw(b, o, at, q)
		at = append(at, b.At())
	}
}

func (g *Graph) draw(b *tflitetest.Builder, o *GraphOp, at []int, q Quantization) {
	in, out := g.shape(o.In[0]), o.Shape
	same, _ := padding(in, out, o.Kernel, o.Stride)
	switch o.Op {
	case "CONV_2D":
		b.Conv(out[2], o.Kernel[0], o.Kernel[1], o.Stride, same)
	case "DEPTHWISE_CONV_2D":
		b.Depthwise(o.Kernel[0], o.Kernel[1], o.Stride, same)
	case "MAX_POOL_2D":
		b.MaxPool(o.Kernel[0], o.Stride, same)
	case "AVERAGE_POOL_2D":
		b.AvgPool(o.Kernel[0], o.Stride, same)
	case "PAD":
		h, w := out[0]-in[0], out[1]-in[1]
		b.Pad(0, 0, h/2, h-h/2, w/2, w-w/2, 0, 0)
	case "MEAN":
		b.Mean(false, 1, 2)
	case "FULLY_CONNECTED":
		if in[0]*in[1] > 1 {
			b.Reshape(1, in.elements())
		}
		b.PerChannel = q.Dense
		b.FC(out[2])
		b.PerChannel = q.PerChannel
	case "ADD":
		if len(o.In) == 1 {
			b.Binary(tflite.Add, b.Constant(out[2]))
		} else {
			b.Add(at[o.In[1]])
		}
	case "LOGISTIC":
		b.Logistic()
	case "SOFTMAX":
		b.Softmax()
	case "CONCATENATION":
		var parts []int
		for _, t := range o.In {
			parts = append(parts, at[t])
		}
		if !o.heads(g) {
			b.Concat(3, parts...)
			break
		}
		// as the object detection API writes it: boxes of four dimensions, scores of three
		for i, t := range o.In {
			n := g.shape(t).elements() / out[2]
			b.From(parts[i])
			if out[2] == 4 {
				b.Reshape(1, n, 1, out[2])
			} else {
				b.Reshape(1, n, out[2])
			}
			parts[i] = b.At()
		}
		b.Concat(1, parts...)
		if out[2] == 4 {
			b.Reshape(1, out[1], out[2])
		}
	case "CUSTOM":
		anchors := b.Constant(out[1], 4)
		var outputs []int
		for range 4 {
			outputs = append(outputs, b.Tensor(tflite.Tensor{Type: tflite.Float32}))
		}
		b.Op(tflite.Op{Code: tflite.Custom, Custom: "TFLite_Detection_PostProcess", Inputs: []int{at[o.In[0]], at[o.In[1]], anchors}, Outputs: outputs})
		b.Outputs(outputs...)
	}
}

// add appends an op and returns the tensor that it makes.
func (g *Graph) add(o GraphOp) int {
	o.Out = len(g.Ops) + 1
	o.In = slices.Clone(o.In)
	g.Ops = append(g.Ops, o)
	return o.Out
}

// Sweep is a chain of 3 x 3 convolutions of as many filters on an image of 64 x 64.
func Sweep(layers, filters int) *Graph {
	g := &Graph{Net: fmt.Sprintf("%d convolutions of %d filters", layers, filters), Input: Shape{64, 64, 3}}
	for i := range layers {
		g.add(GraphOp{Op: "CONV_2D", In: []int{i}, Shape: Shape{64, 64, filters}, Kernel: [2]int{3, 3}, Stride: 1})
	}
	return g
}
