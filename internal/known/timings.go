package known

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// Timing is one published latency, with what is known of the net that it is of.
type Timing struct {
	Line     int // of the table, from 1
	Source   string
	Host     string
	Link     string // as the table has it
	Model    string
	Compiler string // as the table has it, "2.x?"
	MS       float64
	Cached   *report.Size // as published; nil if it was not
	Streamed *report.Size // likewise, and together with Cached
	Note     string

	Family   string // of architectures, to leave out as a whole
	CostLink string // name of the link in package cost
	Release  string // of the compiler, to assume
	Net      *Net   // shared by all rows of the net; nil if there is none
	Why      string // there is no net
	Doubt    string // why this time cannot be that of Net; empty if it can
}

// Families of architectures. A net with another one as its backbone belongs to that one's.
const (
	familyMobileNet1   = "mobilenet v1"
	familyMobileNet2   = "mobilenet v2"
	familyInception    = "inception"
	familyResNet       = "resnet"
	familyVGG          = "vgg"
	familySqueezeNet   = "squeezenet"
	familyDenseNet     = "densenet"
	familyEfficientNet = "efficientnet"
	familyConv         = "conv sweep"
	familyFC           = "fc sweep"
	familySynthetic    = "synthetic conv"
)

// costLinks are the links of the hosts.
var costLinks = map[string]string{
	"xeon_usb3": "usb3", "devboard": "pcie", "rpi4": "usb3-rpi4", "villarrubia": "pcie", "asus_pcie8": "pcie",
}

// timedReleases are the releases to assume. Of "15.0/16.0" either would do:
// all memory that was published of these nets is as both would have it.
var timedReleases = map[string]string{"2.x?": "2.1", "15.0/16.0": "16.0", "16.0": "16.0"}

const timingColumns = "source	host	link	model	compiler	ms	cached_MiB	streamed_MiB	note"

// ParseTimings reads a table of latencies. What is known of the nets is left out.
func ParseTimings(text string) ([]Timing, error) {
	rows := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if rows[0] != timingColumns {
		return nil, fmt.Errorf("line 1: the columns are %q, want %q", rows[0], timingColumns)
	}
	var list []Timing
	for i, row := range rows[1:] {
		t := Timing{Line: i + 2}
		if err := t.parse(row); err != nil {
			return nil, fmt.Errorf("line %d: %w", t.Line, err)
		}
		list = append(list, t)
	}
	return list, nil
}

func (t *Timing) parse(row string) error {
	c := strings.Split(row, "\t")
	if want := strings.Count(timingColumns, "\t") + 1; len(c) != want {
		return fmt.Errorf("%d columns, want %d", len(c), want)
	}
	t.Source, t.Host, t.Link, t.Model, t.Compiler, t.Note = c[0], c[1], c[2], c[3], c[4], c[8]
	for i, text := range c[:5] {
		if text == "" {
			return fmt.Errorf("column %d is empty", i+1)
		}
	}
	var err error
	if t.MS, err = strconv.ParseFloat(c[5], 64); err != nil || !(t.MS > 0 && t.MS < 1e6) {
		return fmt.Errorf("%q is not a time in ms", c[5])
	}
	if (c[6] == "") != (c[7] == "") {
		return fmt.Errorf("only one of cached and streamed memory is there")
	}
	if t.Cached, err = t.memory(c[6]); err != nil {
		return err
	}
	t.Streamed, err = t.memory(c[7])
	return err
}

// memory is a figure in MiB as the compiler printed it: two decimals, of a
// KiB below one MiB. SPARTA rounded them all to two decimals of a MiB.
func (t *Timing) memory(text string) (*report.Size, error) {
	if text == "" {
		return nil, nil
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is no memory in MiB", text)
	}
	printed := fmt.Sprintf("%.2fMiB", x)
	switch {
	case t.Source == "sparta":
	case x == 0:
		printed = "0.00B"
	case x < 1:
		printed = fmt.Sprintf("%.2fKiB", x*1024)
	}
	s, err := report.ParseSize(printed)
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// Timings are the latencies of the data set in a folder, each with its net or
// the reason why it has none.
func Timings(dir string) ([]Timing, error) {
	path := filepath.Join(dir, "timings.tsv")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list, err := ParseTimings(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c, err := readCatalogue(dir)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if err := c.know(&list[i]); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, list[i].Line, err)
		}
	}
	return list, nil
}

// catalogue is the nets that latencies are of.
type catalogue struct {
	graphs map[string]*Graph // nets.jsonl
	layers map[string]*Graph // layers.jsonl
	nets   map[string]*Net   // those made so far, by source and model
}

func readCatalogue(dir string) (*catalogue, error) {
	c := &catalogue{graphs: map[string]*Graph{}, layers: map[string]*Graph{}, nets: map[string]*Net{}}
	graphs, err := ReadGraphs(filepath.Join(dir, "nets.jsonl"))
	if err != nil {
		return nil, err
	}
	for i := range graphs {
		c.graphs[graphs[i].Net] = &graphs[i]
	}
	path := filepath.Join(dir, "layers.jsonl")
	lists, err := ReadLayers(path)
	if err != nil {
		return nil, err
	}
	for i := range lists {
		if c.layers[lists[i].Net], err = lists[i].Graph(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return c, nil
}

// know fills in what is known of a row.
func (c *catalogue) know(t *Timing) error {
	var ok bool
	if t.CostLink, ok = costLinks[t.Host]; !ok {
		return fmt.Errorf("unknown host %q", t.Host)
	}
	if t.CostLink != t.Link {
		return fmt.Errorf("host %s has the link %s, the table says %s", t.Host, t.CostLink, t.Link)
	}
	if t.Release, ok = timedReleases[t.Compiler]; !ok {
		return fmt.Errorf("unknown compiler %q", t.Compiler)
	}
	about, ok := sources[t.Source]
	if !ok {
		return fmt.Errorf("unknown source %q", t.Source)
	}
	key := t.Source + "\t" + t.Model
	k, err := about(c, t)
	if err != nil {
		return err
	}
	t.Family, t.Why = k.family, k.why
	if k.make == nil {
		return nil
	}
	if c.nets[key] == nil {
		if c.nets[key], err = k.make(); err != nil {
			return err
		}
	}
	t.Net, t.Doubt = c.nets[key], k.doubt
	return nil
}

// net is the graph as a net.
func (g *Graph) net(name string, q Quantization, assumed string) *Net {
	return &Net{Name: name, Assumed: assumed, Draw: func(b *tflitetest.Builder) { g.Draw(b, q) }}
}

// knowledge is what is known of a row's net.
type knowledge struct {
	family string
	make   func() (*Net, error) // nil if there is no net
	why    string               // there is none
	doubt  string
}

// sources know the nets of their rows.
var sources = map[string]func(c *catalogue, t *Timing) (knowledge, error){
	"coral-benchmarks": (*catalogue).coral,
	"sparta":           (*catalogue).sparta,
	"sparta-synth": func(*catalogue, *Timing) (knowledge, error) {
		return knowledge{family: familySynthetic, why: "the shapes of this net are not public, and most rows are of a chain of several devices"}, nil
	},
	"villarrubia-conv": func(_ *catalogue, t *Timing) (knowledge, error) { return sweep(t.Model) },
	"villarrubia-fc":   func(_ *catalogue, t *Timing) (knowledge, error) { return series(t.Model) },
}

// Assumptions about nets of public architectures.
const (
	plain       = "bytes with one scale for each tensor"
	plainLayers = plain + "; as its layer list has it, without explicit padding"
)

const inceptionResNetDoubt = "a call cannot be that short: the net has the 10, 20 and 10 blocks of the published code, 54.5 MiB of parameters, " +
	"and streams 48.9 MiB, which take 113 ms on this USB 3 host and 133 ms on the Dev Board. " +
	"Half the blocks, 5, 10 and 5 as in the paper, would explain both times"

// coral are the nets of Coral's page of benchmarks.
func (c *catalogue) coral(t *Timing) (knowledge, error) {
	known := func(family string, n *Net) (knowledge, error) {
		return knowledge{family: family, make: func() (*Net, error) { return n, nil }}, nil
	}
	graph := func(family, name, assumed string) (knowledge, error) {
		g := c.graphs[name]
		if g == nil {
			return knowledge{}, fmt.Errorf("%s: nets.jsonl has no %s", t.Model, name)
		}
		return known(family, g.net(t.Model, Quantization{Type: tflite.Uint8}, assumed))
	}
	layers := func(family, assumed string) (knowledge, error) {
		g := c.layers[t.Model]
		if g == nil {
			return knowledge{}, fmt.Errorf("layers.jsonl has no %s", t.Model)
		}
		return known(family, g.net(t.Model, Quantization{Type: tflite.Uint8}, assumed))
	}
	switch t.Model {
	case "mobilenet_v1_1.0_224":
		return known(familyMobileNet1, &mobileNetV1)
	case "mobilenet_v2_1.0_224":
		return known(familyMobileNet2, &mobileNetV2)
	case "inception_v1_224":
		return known(familyInception, &inception)
	case "inception_v4_299":
		return graph(familyInception, "inception_v4", plain)
	case "inception_resnet_v2_299":
		k, err := graph(familyInception, "inception_resnet_v2", plain)
		k.doubt = inceptionResNetDoubt
		return k, err
	case "ssd_mobilenet_v1_coco_300":
		return known(familyMobileNet1, &ssdMobileNet1)
	case "ssd_mobilenet_v2_coco_300":
		return graph(familyMobileNet2, "ssd_mnv2_300", plain)
	case "vgg16_224":
		return graph(familyVGG, "vgg16", plain)
	case "vgg19_224":
		return layers(familyVGG, plainLayers)
	case "resnet50_v1_299":
		return layers(familyResNet, plainLayers)
	case "resnet50_v2_299", "resnet152_v2_299":
		return layers(familyResNet, plainLayers+" and without the batch norms in front of convolutions; shortcuts are thinned out by a pool")
	case "squeezenet_224":
		return layers(familySqueezeNet, plainLayers)
	case "densenet121_224":
		return layers(familyDenseNet, plainLayers+"; a batch norm is one ADD of constants")
	case "efficientnet_edgetpu_s", "efficientnet_edgetpu_m":
		return layers(familyEfficientNet, plainLayers)
	case "deeplab_v3_513":
		return known(familyMobileNet2, &Net{
			Name: t.Model, File: "passes/deeplabv3_mnv2_pascal_quant/source",
			Assumed: "MobileNet v2 of width 1 below it; the page does not say which of the two public widths it is",
		})
	case "unet_mv2_128":
		return knowledge{family: familyMobileNet2, why: "its file is not at hand; it comes from a tutorial that gives no certain shapes of the decoder"}, nil
	}
	return knowledge{}, fmt.Errorf("unknown model %q", t.Model)
}

// sparta are nets for images of 32 x 32 and what was left of them after pruning.
func (c *catalogue) sparta(t *Timing) (knowledge, error) {
	families := map[string]string{
		"c_resnet18": familyResNet, "c_resnet50": familyResNet, "c_mbv2": familyMobileNet2, "c_googlenet": familyInception,
	}
	g, family := c.layers[t.Model], families[t.Model]
	if g == nil || family == "" {
		return knowledge{}, fmt.Errorf("unknown model %q", t.Model)
	}
	text, okBefore := strings.CutPrefix(t.Note, "MACs reduced by ")
	text, okAfter := strings.CutSuffix(text, " %")
	percent, err := strconv.ParseFloat(text, 64)
	if err != nil || !okBefore || !okAfter {
		return knowledge{}, fmt.Errorf("the note %q does not say by how much the net was pruned", t.Note)
	}
	if percent != 0 {
		return knowledge{family: family, why: "pruned; the shapes that were left are not public"}, nil
	}
	return knowledge{family: family, make: func() (*Net, error) {
		return g.net(t.Model, Quantization{Type: tflite.Int8, PerChannel: true, Dense: true}, "one scale for each channel of all weights"), nil
	}}, nil
}

var (
	sweepName  = regexp.MustCompile(`^conv 64x64 ([1-9][0-9]?) layers 3x3 F=([1-9][0-9]{0,3})$`)
	seriesName = regexp.MustCompile(`^fc (L5|L4-I64) N=([1-9][0-9]{0,3})$`)
)

// sweep is a net of convolutions on maps of 64 x 64.
func sweep(model string) (knowledge, error) {
	m := sweepName.FindStringSubmatch(model)
	if m == nil {
		return knowledge{}, fmt.Errorf("%q is not a net of convolutions", model)
	}
	layers, _ := strconv.Atoi(m[1]) // the expressions let only numbers through
	filters, _ := strconv.Atoi(m[2])
	return knowledge{family: familyConv, make: func() (*Net, error) {
		return Sweep(layers, filters).net(model, Quantization{Type: tflite.Int8, PerChannel: true, NoBias: true}, "one scale for each channel, no biases"), nil
	}}, nil
}

// series is a member of a series of fully connected nets.
func series(model string) (knowledge, error) {
	m := seriesName.FindStringSubmatch(model)
	for i := range AllSeries {
		if m == nil || AllSeries[i].Name != m[1] {
			continue
		}
		n, _ := strconv.Atoi(m[2])
		return knowledge{family: familyFC, make: func() (*Net, error) {
			return &Net{Name: model, Draw: func(b *tflitetest.Builder) { AllSeries[i].Draw(b, n) }}, nil
		}}, nil
	}
	return knowledge{}, fmt.Errorf("%q is not a fully connected net of a series", model)
}
