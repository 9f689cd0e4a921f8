// Package known holds what is known of real compiles: which nets they had, in
// which order, and where the compiler's twin is known to differ and why. What
// the compiler printed or wrote is not repeated here: it is read from the
// public data set. Tests and docs/accuracy.md share these tables.
package known

import (
	"strings"

	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// MinRuntime is what the 16.0 files of the public data set were compiled with (-m 12).
const MinRuntime = 12

// Pair is a source model of the data set and, beside it, its compiled form.
type Pair struct {
	Name    string // of the source, without ".tflite"
	Differs string // why the predicted parameter bytes are not those of the file; empty if they are
}

// PairRelease is the release that compiled them.
const PairRelease = "16.0"

// Pairs are all of them.
var Pairs = []Pair{
	{Name: "deeplabv3_mnv2_dm05_pascal_quant"},
	{Name: "keras_lstm_mnist_ptq", Differs: "no rule for LSTM: counted as one fully connected layer per matrix"},
	{Name: "mobilenet_v1_0.25_128_quant"},
	{Name: "mobilenet_v1_0.5_160_quant"},
	{Name: "mobilenet_v1_0.75_192_quant"},
	{Name: "movenet_single_pose_lightning_ptq"},
	{Name: "split_concat", Differs: "compiled by another build of the compiler"},
}

// Set is one call of the compiler with several models, some of whose outputs
// are in the data set.
type Set struct {
	Release string
	Nets    []Net    // in the order of the command line
	Files   []string // compiled form of each, in the data set's folder models, without ".tflite"; empty if it is not there
}

// Sets are all calls whose outputs are in the data set.
var Sets = []Set{
	{"2.1", four(), members("2.1")},
	{"2.1", []Net{mobileNetV1, mobileNetV2}, []string{"", "cocompiled-2.1/mobilenet_v2_1.0_224_quant_cocompiled_with_mobilenet_v1_1.0_224_quant_edgetpu"}},
	{"15.0", four(), members("15.0")},
	{"16.0", four(), members("16.0")},
	{"16.0", []Net{mobileNetV1d, mobileNetV1c}, []string{
		"cocompiled-16.0/mobilenet_v1_0.25_128_quant_cocompiled_with_mobilenet_v1_0.5_160_quant_edgetpu",
		"cocompiled-16.0/mobilenet_v1_0.5_160_quant_cocompiled_with_mobilenet_v1_0.25_128_quant_edgetpu",
	}},
}

// four are the MobileNets that were compiled together, in the order of the command line.
func four() []Net { return []Net{mobileNetV1, mobileNetV1d, mobileNetV1c, mobileNetV1b} }

func members(release string) []string {
	list := []string{""}
	for _, size := range []string{"0.25_128", "0.5_160", "0.75_192"} {
		list = append(list, "cocompiled-"+release+"/mobilenet_v1_"+size+"_quant_cocompiled_with_3quant_edgetpu")
	}
	return list
}

// Rows are the reserved rows that real compiles are known to have had.
type Rows struct {
	Name      string
	Releases  []string
	Nets      []Net
	Low, High int    // equal unless the figures leave several open
	Differs   string // why the formula's are others; empty if they are not
}

// Reserved is what is known of nets whose shapes are public.
var Reserved = []Rows{
	{"MobileNet v1", []string{"1.0", "2.0", "2.1"}, []Net{mobileNetV1}, 224, 224, ""},
	{"MobileNet v2", []string{"1.0", "2.0", "2.1"}, []Net{mobileNetV2}, 280, 280, ""},
	{"MobileNet v1 and v2", []string{"1.0", "2.0", "2.1"}, []Net{mobileNetV1, mobileNetV2}, 280, 280, ""},
	{"MobileNet v1 and v2", []string{"15.0"}, []Net{mobileNetV1, mobileNetV2}, 274, 274, ""},
	{"ResNet-50", []string{"2.0"}, []Net{resNet50}, 448, 448, ""},
	{"Inception v1", []string{"1.0"}, []Net{inception}, 376, 376, ""},
	{"SSD MobileNet v1", []string{"1.0", "2.0", "2.1"}, []Net{ssdMobileNet1}, 100, 100, ""},
	{"detector on MobileNet v1 0.75 at 224", []string{"2.0", "2.1"}, []Net{detector}, 49, 49, ""},
	{"four MobileNets", []string{"1.0"}, four(), 222, 222, "open: AVERAGE_POOL_2D of the largest member asks for 224, which is right for that net alone in the same release"},
	{"four MobileNets", []string{"2.1"}, four(), 224, 224, ""},
	{"four MobileNets", []string{"15.0"}, four(), 214, 214, ""},
	{"four MobileNets", []string{"16.0"}, four(), 67, 67, ""},
	{"EfficientDet-Lite0", []string{"16.0"}, []Net{efficientDet(4)}, 127, 128, ""},
	{"one layer of 256", []string{"16.0"}, []Net{dense256}, 67, 69, noConvolution},
	{"one layer of 8192", []string{"16.0"}, []Net{dense8192}, 30, 32, noConvolution},
}

const noConvolution = "what 16.0 reserves for a net without convolutions (here FULLY_CONNECTED alone) is not known; 31 to 68 rows were seen, 36 are taken"

// The calls of the article that the project started from, of compiler 1.0; the
// data set's seed.txt quotes their reports.
var (
	// ArticleNets are its models by the file's name in the report.
	ArticleNets = map[string]Net{
		"mobilenet_v2_1.0_224_inat_bird_quant.tflite":  bird,
		"mobilenet_v2_1.0_224_inat_plant_quant.tflite": plant,
		"inception_v1_224_quant.tflite":                inception,
	}
	// ArticleDiffers says why a figure of a model of one of its calls differs.
	ArticleDiffers = []ArticleDifference{{
		Call: 1, Model: 1, Figure: OffChip,
		Why: "open: all parameters of this net together are 5.05 MiB, whichever op is streamed; the report says more than there is",
	}}
)

// ArticleDifference is a figure of the article that is not as predicted.
type ArticleDifference struct {
	Call, Model int // from 0, as in the article
	Figure      Figure
	Why         string
}

// Figure names what a report says of a model.
type Figure string

// Figures of a report.
const (
	Available     Figure = "available"
	OnChip        Figure = "on-chip"
	Remaining     Figure = "remaining"
	OffChip       Figure = "off-chip"
	Subgraphs     Figure = "subgraphs"
	Operations    Figure = "operations"
	TPUOperations Figure = "on the TPU"
	CPUOperations Figure = "on the CPU"
	Operators     Figure = "operator table"
	Outcome       Figure = "outcome"
)

// Series is a family of fully connected nets of compiler 16.0, with a file of
// the data set that has a row for each.
type Series struct {
	File           string // in the folder series
	Name           string
	Inputs, Layers int
}

// SeriesRelease is the release that compiled them.
const SeriesRelease = "16.0"

// AllSeries are both.
var AllSeries = []Series{
	{"minN2-maxN1622-stepN20L5.csv", "L5", 6912, 5},
	{"minN100-maxN2640-stepN40-L4-I64.csv", "L4-I64", 64, 4},
}

// Draw builds the member with n units: a chain of layers of n units without
// biases and ten outputs.
func (s *Series) Draw(b *tflitetest.Builder, n int) {
	b.Input(1, s.Inputs)
	for range s.Layers {
		b.FCNoBias(n).Fuse(tflite.ActivationRelu)
	}
	b.FCNoBias(10)
}

// Net is the member with n units. Its weights have sizes but no contents, for only sizes count.
func (s *Series) Net(n int) *tflite.Source {
	b := tflitetest.New()
	b.Hollow = true
	s.Draw(b, n)
	return b.Source()
}

// number is the first word of a log's name, which identifies it.
func number(log string) string {
	n, _, _ := strings.Cut(log, "-")
	return n
}
