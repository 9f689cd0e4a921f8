package tflitetest

import (
	"fmt"
	"hash/fnv"

	"github.com/tpuplan/tpuplan/tflite"
)

// named is a builder whose weights are this network's own.
func named(format string, args ...any) *Builder {
	b := New()
	hash := fnv.New64a()
	fmt.Fprintf(hash, format, args...)
	b.Seed = hash.Sum64()
	return b
}

// MobileNetV1 is the uint8 MobileNet v1 of TensorFlow's model garden (Howard
// et al., arXiv:1704.04861, table 1): 13 pairs of depthwise and pointwise
// convolutions, and a 1x1 convolution as classifier.
func MobileNetV1(alpha float64, size, classes int) []byte {
	b := named("mobilenet_v1 %g %d %d", alpha, size, classes).Input(1, size, size, 3)
	depth := func(n int) int { return max(8, int(float64(n)*alpha)) }
	b.Conv(depth(32), 3, 3, 2, true)
	for _, pair := range []struct{ channels, stride int }{
		{64, 1},
		{128, 2},
		{128, 1},
		{256, 2},
		{256, 1},
		{512, 2},
		{512, 1},
		{512, 1},
		{512, 1},
		{512, 1},
		{512, 1},
		{1024, 2},
		{1024, 1},
	} {
		b.Depthwise(3, 3, pair.stride, true).Conv(depth(pair.channels), 1, 1, 1, true)
	}
	return b.classifier(classes).Bytes()
}

// classifier pools the current image to one place and ends the network with a
// 1x1 convolution.
func (b *Builder) classifier(classes int) *Builder {
	h, w, _ := b.image()
	check(h == w, "the image before the classifier is %d x %d", h, w)
	return b.AvgPool(h, 2, false).Conv(classes, 1, 1, 1, true).Reshape(1, classes).Softmax()
}

// MobileNetV2 is the uint8 MobileNet v2 (Sandler et al., arXiv:1801.04381,
// table 2) with a fully connected classifier, as in the iNaturalist models of
// the public data set: bird has 965 classes, plant 2,102.
func MobileNetV2(alpha float64, size, classes int) []byte {
	b := named("mobilenet_v2 %g %d %d", alpha, size, classes).Input(1, size, size, 3)
	depth := func(n int) int {
		scaled := float64(n) * alpha
		rounded := max(8, int(scaled+4)/8*8)
		if float64(rounded) < 0.9*scaled {
			rounded += 8
		}
		return rounded
	}
	b.Conv(depth(32), 3, 3, 2, true).Fuse(tflite.ActivationRelu6)
	for i, stage := range []struct{ expansion, channels, repeats, stride int }{
		{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1},
	} {
		for j := range stage.repeats {
			stride := 1
			if j == 0 {
				stride = stage.stride
			}
			start, channels := b.At(), b.Shape()[3]
			if i > 0 {
				b.Conv(stage.expansion*channels, 1, 1, 1, true).Fuse(tflite.ActivationRelu6)
			}
			b.Depthwise(3, 3, stride, true).Fuse(tflite.ActivationRelu6)
			b.Conv(depth(stage.channels), 1, 1, 1, true)
			if j > 0 {
				b.Add(start)
			}
		}
	}
	b.Conv(max(1280, depth(1280)), 1, 1, 1, true).Fuse(tflite.ActivationRelu6)
	h, _, _ := b.image()
	return b.AvgPool(h, 2, false).FC(classes).Softmax().Bytes()
}

// InceptionV1 is the uint8 Inception v1 of TensorFlow's slim library (Szegedy
// et al., arXiv:1409.4842, table 1; the 5x5 convolutions are 3x3 there).
func InceptionV1(size, classes int) []byte {
	b := named("inception_v1 %d %d", size, classes).Input(1, size, size, 3)
	b.Conv(64, 7, 7, 2, true).MaxPool(3, 2, true)
	b.Conv(64, 1, 1, 1, true).Conv(192, 3, 3, 1, true).MaxPool(3, 2, true)
	mixed := func(c0, c1a, c1b, c2a, c2b, c3 int) {
		start := b.At()
		t0 := b.Conv(c0, 1, 1, 1, true).At()
		t1 := b.From(start).Conv(c1a, 1, 1, 1, true).Conv(c1b, 3, 3, 1, true).At()
		t2 := b.From(start).Conv(c2a, 1, 1, 1, true).Conv(c2b, 3, 3, 1, true).At()
		t3 := b.From(start).MaxPool(3, 1, true).Conv(c3, 1, 1, 1, true).At()
		b.Concat(3, t0, t1, t2, t3)
	}
	mixed(64, 96, 128, 16, 32, 32)
	mixed(128, 128, 192, 32, 96, 64)
	b.MaxPool(3, 2, true)
	mixed(192, 96, 208, 16, 48, 64)
	mixed(160, 112, 224, 24, 64, 64)
	mixed(128, 128, 256, 24, 64, 64)
	mixed(112, 144, 288, 32, 64, 64)
	mixed(256, 160, 320, 32, 128, 128)
	b.MaxPool(2, 2, true)
	mixed(256, 160, 320, 32, 128, 128)
	mixed(384, 192, 384, 48, 128, 128)
	return b.classifier(classes).Bytes()
}

// SSDMobileNetV1 is the uint8 detector of TensorFlow's object detection API on
// a 300 x 300 image (Liu et al., arXiv:1512.02325, with MobileNet v1 at width
// 1): six feature maps, boxes and class scores by 1x1 convolutions. The
// post-processing operator at its end has no anchors: nothing runs it here.
func SSDMobileNetV1(classes int) []byte {
	b := named("ssd_mobilenet_v1 %d", classes).Input(1, 300, 300, 3)
	b.Conv(32, 3, 3, 2, true)
	var maps []int
	for i, pair := range []struct{ channels, stride int }{
		{64, 1},
		{128, 2},
		{128, 1},
		{256, 2},
		{256, 1},
		{512, 2},
		{512, 1},
		{512, 1},
		{512, 1},
		{512, 1},
		{512, 1},
		{1024, 2},
		{1024, 1},
	} {
		b.Depthwise(3, 3, pair.stride, true).Conv(pair.channels, 1, 1, 1, true)
		if i == 10 || i == 12 {
			maps = append(maps, b.At())
		}
	}
	for _, extra := range []struct{ narrow, channels int }{{256, 512}, {128, 256}, {128, 256}, {64, 128}} {
		b.Conv(extra.narrow, 1, 1, 1, true).Fuse(tflite.ActivationRelu6)
		b.Conv(extra.channels, 3, 3, 2, true).Fuse(tflite.ActivationRelu6)
		maps = append(maps, b.At())
	}
	var boxes, scores []int
	for i, m := range maps {
		anchors := 6
		if i == 0 {
			anchors = 3
		}
		h, w, _ := b.From(m).image()
		boxes = append(boxes, b.Conv(4*anchors, 1, 1, 1, true).Reshape(1, h*w*anchors, 1, 4).At())
		scores = append(scores, b.From(m).Conv(classes*anchors, 1, 1, 1, true).Reshape(1, h*w*anchors, classes).At())
	}
	b.Concat(1, boxes...)
	box := b.Reshape(1, b.Shape()[1], 4).At()
	score := b.Concat(1, scores...).Logistic().At()
	var outputs []int
	for range 4 {
		outputs = append(outputs, b.Tensor(tflite.Tensor{Type: tflite.Float32}))
	}
	b.Op(tflite.Op{
		Code: tflite.Custom, Custom: "TFLite_Detection_PostProcess",
		Inputs: []int{box, score, b.Constant(b.source.Tensors[box].Shape[1], 4)}, Outputs: outputs,
	})
	return b.Outputs(outputs...).Bytes()
}

// ResNet50 is ResNet-50 v1 (He et al., arXiv:1512.03385, table 1) as Keras
// builds it, quantized to int8 with a scale for each channel of a convolution: explicit
// padding before the first convolution and the first pool, strides in the
// first 1x1 convolution of a stage. Input and output are bytes.
func ResNet50(classes int) []byte {
	b := named("resnet50 %d", classes)
	b.Input(1, 224, 224, 3).Quantize(tflite.Int8)
	b.PerChannel = true
	b.Pad(0, 0, 3, 3, 3, 3, 0, 0).Conv(64, 7, 7, 2, false).Fuse(tflite.ActivationRelu)
	b.Pad(0, 0, 1, 1, 1, 1, 0, 0).MaxPool(3, 2, false)
	for i, stage := range []struct{ channels, blocks int }{{64, 3}, {128, 4}, {256, 6}, {512, 3}} {
		for j := range stage.blocks {
			stride := 1
			if i > 0 && j == 0 {
				stride = 2
			}
			start := b.At()
			shortcut := start
			if j == 0 {
				shortcut = b.Conv(4*stage.channels, 1, 1, stride, false).At()
			}
			b.From(start).Conv(stage.channels, 1, 1, stride, false).Fuse(tflite.ActivationRelu)
			b.Conv(stage.channels, 3, 3, 1, true).Fuse(tflite.ActivationRelu)
			b.Conv(4*stage.channels, 1, 1, 1, false)
			b.Add(shortcut).Fuse(tflite.ActivationRelu)
		}
	}
	b.PerChannel = false // converters give fully connected weights one scale
	return b.Mean(false, 1, 2).FC(classes).Softmax().Quantize(tflite.Uint8).Bytes()
}

// FCSeriesL5 is a member of the public series of five layers: 6912 inputs, five
// layers of n units, 10 outputs; uint8, without biases.
func FCSeriesL5(n int) []byte { return fcSeries("L5", 6912, n, 5) }

// FCSeriesL4 is a member of the public series of four layers: 64 inputs, four
// layers of n units, 10 outputs; uint8, without biases.
func FCSeriesL4(n int) []byte { return fcSeries("L4", 64, n, 4) }

func fcSeries(name string, inputs, n, layers int) []byte {
	b := named("fc %s %d", name, n).Input(1, inputs)
	for range layers {
		b.FCNoBias(n).Fuse(tflite.ActivationRelu)
	}
	return b.FCNoBias(10).Bytes()
}
