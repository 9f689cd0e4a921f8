package known

import (
	"os"
	"path/filepath"

	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// Net is a source model: a file of the public data set, or a network built
// from public shapes with weights that are made up.
type Net struct {
	Name    string
	Assumed string // what is not certain about it, as a clause; empty if nothing is
	File    string // in the data set's folder models, without ".tflite"
	Build   func() []byte
	Draw    func(b *tflitetest.Builder) // in the place of Build: a net whose weights need no contents while only sizes count
}

// Bytes are the net's file. models is the data set's folder models.
func (n *Net) Bytes(models string) ([]byte, error) {
	switch {
	case n.Draw != nil:
		b := tflitetest.New()
		n.Draw(b)
		return b.Bytes(), nil
	case n.Build != nil:
		return n.Build(), nil
	}
	return os.ReadFile(n.path(models))
}

func (n *Net) path(models string) string {
	return filepath.Join(models, filepath.FromSlash(n.File)+".tflite")
}

// Open reads or builds the net. models is the data set's folder models.
func (n *Net) Open(models string) (*tflite.File, error) {
	if n.Draw == nil && n.Build == nil {
		return tflite.Open(n.path(models))
	}
	data, err := n.Bytes(models)
	if err != nil {
		return nil, err
	}
	return tflite.New(n.Name, data)
}

// Source is the net for whatever looks at sizes alone: the weights of a net
// that is drawn have no contents. It costs milliseconds where [Net.Open] costs
// as much as the net is large.
func (n *Net) Source(models string) (*tflite.Source, error) {
	if n.Draw != nil {
		b := tflitetest.New()
		b.Hollow = true
		n.Draw(b)
		return b.Source(), nil
	}
	f, err := n.Open(models)
	if err != nil {
		return nil, err
	}
	return f.Source()
}

func file(name string) Net { return Net{Name: name, File: name} }

// Nets that several compiles had.
var (
	mobileNetV1   = Net{Name: "mobilenet_v1_1.0_224", Build: func() []byte { return tflitetest.MobileNetV1(1, 224, 1001) }}
	mobileNetV1b  = file("mobilenet_v1_0.75_192_quant")
	mobileNetV1c  = file("mobilenet_v1_0.5_160_quant")
	mobileNetV1d  = file("mobilenet_v1_0.25_128_quant")
	mobileNetV2   = file("mobilenet_v2_1.0_224_quant")
	bird          = file("mobilenet_v2_1.0_224_inat_bird_quant")
	plant         = Net{Name: "mobilenet_v2_1.0_224_inat_plant_quant", Build: func() []byte { return tflitetest.MobileNetV2(1, 224, 2102) }}
	inception     = Net{Name: "inception_v1_224_quant", Build: func() []byte { return tflitetest.InceptionV1(224, 1001) }}
	resNet50      = Net{Name: "ResNet-50", Build: func() []byte { return tflitetest.ResNet50(1000) }}
	ssdMobileNet1 = Net{Name: "SSD MobileNet v1, 91 classes", Build: func() []byte { return tflitetest.SSDMobileNetV1(91) }}
)

// Detector is a MobileNet v1 on 224 x 224 without its pool and classifier,
// with one convolution that predicts 5 boxes of one class at each of the 7 x 7
// places; as Keras builds it, with the padding before strides of its own
// and quantized to int8 with an input of bytes.
func Detector() []byte {
	const alpha = 0.75
	b := tflitetest.New()
	b.Type, b.PerChannel = tflite.Int8, true
	byteInput(b, 224, 224, 3)
	depth := func(n int) int { return int(float64(n) * alpha) }
	padded := func(stride int) (same bool) {
		if stride == 2 {
			b.Pad(0, 0, 0, 1, 0, 1, 0, 0)
		}
		return stride == 1
	}
	b.Conv(depth(32), 3, 3, 2, padded(2)).Fuse(tflite.ActivationRelu6)
	for _, pair := range []struct{ channels, stride int }{
		{64, 1}, {128, 2}, {128, 1}, {256, 2}, {256, 1}, {512, 2}, {512, 1}, {512, 1}, {512, 1}, {512, 1}, {512, 1}, {1024, 2}, {1024, 1},
	} {
		same := padded(pair.stride)
		b.Depthwise(3, 3, pair.stride, same).Fuse(tflite.ActivationRelu6)
		b.Conv(depth(pair.channels), 1, 1, 1, true).Fuse(tflite.ActivationRelu6)
	}
	return b.Conv(30, 1, 1, 1, true).Reshape(1, 7, 7, 5, 6).Dequantize().Bytes()
}

// floatInput gives the net a float input and quantizes it.
func floatInput(b *tflitetest.Builder, shape ...int) {
	to := b.Type
	b.Type = tflite.Float32
	b.Input(append([]int{1}, shape...)...)
	b.Quantize(to)
}

// byteInput gives the net a uint8 input and changes it to the net's type.
func byteInput(b *tflitetest.Builder, shape ...int) {
	to := b.Type
	b.Type = tflite.Uint8
	b.Input(append([]int{1}, shape...)...)
	b.Quantize(to)
}

// DAVE2 is NVIDIA's network for lane keeping (Bojarski et al.,
// arXiv:1604.07316): five convolutions and four fully connected layers on a 66 x 200
// image, with ReLU, quantized to int8 with bytes as input and output.
func DAVE2() []byte {
	b := tflitetest.New()
	b.Type, b.PerChannel = tflite.Int8, true
	byteInput(b, 66, 200, 3)
	for _, c := range []struct{ channels, kernel, stride int }{{24, 5, 2}, {36, 5, 2}, {48, 5, 2}, {64, 3, 1}, {64, 3, 1}} {
		b.Conv(c.channels, c.kernel, c.kernel, c.stride, false).Fuse(tflite.ActivationRelu)
	}
	b.Reshape(1, 1152)
	b.PerChannel = false
	for _, units := range []int{100, 50, 10} {
		b.FC(units).Fuse(tflite.ActivationRelu)
	}
	return b.FC(1).Quantize(tflite.Uint8).Bytes()
}

// EfficientDetLite0 is the detector of that name as TensorFlow's AutoML
// repository defines it (EfficientNet-Lite0, three layers of a BiFPN of 64 channels,
// heads of three layers, nine anchors; Tan et al., arXiv:1911.09070) on 320 x 320.
func EfficientDetLite0(classes int) []byte {
	b := tflitetest.New()
	b.Type, b.PerChannel = tflite.Int8, true
	byteInput(b, 320, 320, 3)
	relu6 := func() { b.Fuse(tflite.ActivationRelu6) }
	b.Conv(32, 3, 3, 2, true)
	relu6()
	var p [8]int // feature maps by level
	for _, stage := range []struct{ kernel, repeats, stride, expansion, channels, level int }{
		{3, 1, 1, 1, 16, 0}, {3, 2, 2, 6, 24, 0}, {5, 2, 2, 6, 40, 3}, {3, 3, 2, 6, 80, 0}, {5, 3, 1, 6, 112, 4}, {5, 4, 2, 6, 192, 0}, {3, 1, 1, 6, 320, 5},
	} {
		for j := range stage.repeats {
			stride := 1
			if j == 0 {
				stride = stage.stride
			}
			start, channels := b.At(), b.Shape()[3]
			if stage.expansion > 1 {
				b.Conv(stage.expansion*channels, 1, 1, 1, true)
				relu6()
			}
			b.Depthwise(stage.kernel, stage.kernel, stride, true)
			relu6()
			b.Conv(stage.channels, 1, 1, 1, true)
			if j > 0 {
				b.Add(start)
			}
		}
		if stage.level > 0 {
			p[stage.level] = b.At()
		}
	}
	p[6] = b.Conv(64, 1, 1, 1, true).MaxPool(3, 2, true).At()
	p[7] = b.MaxPool(3, 2, true).At()

	height := func(t int) int { return b.From(t).Shape()[1] }
	// like gives a map the height and channels of another level
	like := func(t, h int) int {
		b.From(t)
		if b.Shape()[3] != 64 {
			b.Conv(64, 1, 1, 1, true)
		}
		switch from := b.Shape()[1]; {
		case from < h:
			b.ResizeNearest(h, h)
		case from > h:
			b.MaxPool(3, 2, true)
		}
		return b.At()
	}
	separable := func(channels int) {
		b.ZeroBias = true
		b.Depthwise(3, 3, 1, true)
		b.ZeroBias = false
		b.Conv(channels, 1, 1, 1, true)
	}
	for range 3 {
		node := func(level int, inputs ...int) int {
			h := height(p[level])
			for i := range inputs {
				inputs[i] = like(inputs[i], h)
			}
			b.From(inputs[0])
			for _, other := range inputs[1:] {
				b.Add(other)
			}
			relu6()
			separable(64)
			return b.At()
		}
		down := [8]int{7: p[7]}
		for level := 6; level >= 3; level-- {
			down[level] = node(level, p[level], down[level+1])
		}
		up := [8]int{3: down[3]}
		for level := 4; level <= 6; level++ {
			up[level] = node(level, p[level], down[level], up[level-1])
		}
		up[7] = node(7, p[7], up[6])
		p = up
	}
	var scores, boxes []int
	for _, head := range []struct {
		values int
		list   *[]int
	}{{classes, &scores}, {4, &boxes}} {
		for level := 3; level <= 7; level++ {
			h := height(p[level])
			for range 3 {
				separable(64)
				relu6()
			}
			separable(9 * head.values)
			*head.list = append(*head.list, b.Reshape(1, h*h*9, head.values).At())
		}
	}
	score := b.Concat(1, scores...).Logistic().Dequantize().At()
	box := b.Concat(1, boxes...).Dequantize().At()
	return detections(b, box, score)
}

// detections ends a detector with the post-processing operator, which runs on the CPU.
func detections(b *tflitetest.Builder, box, score int) []byte {
	var outputs []int
	for range 4 {
		outputs = append(outputs, b.Tensor(tflite.Tensor{Type: tflite.Float32}))
	}
	b.Op(tflite.Op{Code: tflite.Custom, Custom: "TFLite_Detection_PostProcess", Inputs: []int{box, score}, Outputs: outputs})
	return b.Outputs(outputs...).Bytes()
}

// YOLOv3Tiny is Darknet's yolov3-tiny (Redmon and Farhadi, arXiv:1804.02767)
// as Keras builds it on 416 x 416: thirteen convolutions, eleven of them
// with a LEAKY_RELU of its own, quantized to int8.
func YOLOv3Tiny(classes int) []byte {
	b := tflitetest.New()
	b.Type, b.PerChannel = tflite.Int8, true
	b.Input(1, 416, 416, 3).Quantize(tflite.Int8)
	leaky := func(channels, kernel int) int {
		return b.Conv(channels, kernel, kernel, 1, true).Unary(tflite.LeakyRelu).At()
	}
	var route int
	for _, channels := range []int{16, 32, 64, 128, 256} {
		route = leaky(channels, 3)
		b.MaxPool(2, 2, true)
	}
	leaky(512, 3)
	b.MaxPool(2, 1, true)
	leaky(1024, 3)
	trunk := leaky(256, 1)
	leaky(512, 3)
	first := b.Conv(3*(classes+5), 1, 1, 1, true).Dequantize().At()
	b.From(trunk)
	leaky(128, 1)
	b.ResizeNearest(26, 26).Last().Version = 3 // as TensorFlow 2 writes it
	b.Concat(3, b.At(), route)
	leaky(256, 3)
	second := b.Conv(3*(classes+5), 1, 1, 1, true).Dequantize().At()
	return b.Outputs(first, second).Bytes()
}

// AdaINEncoder is VGG-19 up to relu4_1 (Simonyan and Zisserman,
// arXiv:1409.1556) as style transfer uses it (Huang and Belongie,
// arXiv:1703.06868), with the mean taken off and the padding of its own.
func AdaINEncoder(size int) []byte {
	b := tflitetest.New()
	b.Type, b.PerChannel = tflite.Int8, true
	floatInput(b, size, size, 3)
	b.Binary(tflite.Sub, b.Constant(3))
	padded := vgg(b)
	for i, stage := range []struct{ channels, repeats int }{{64, 2}, {128, 2}, {256, 4}, {512, 1}} {
		if i > 0 {
			b.MaxPool(2, 2, true)
		}
		for range stage.repeats {
			padded(stage.channels)
		}
	}
	return b.Dequantize().Bytes()
}

// AdaINDecoder mirrors the encoder, with interpolation in the place of pools.
func AdaINDecoder(size int) []byte {
	b := tflitetest.New()
	b.Type, b.PerChannel = tflite.Int8, true
	floatInput(b, size/8, size/8, 512)
	padded := vgg(b)
	for i, channels := range []int{256, 256, 256, 256, 128, 128, 64, 64} {
		padded(channels)
		if i == 0 || i == 4 || i == 6 {
			b.ResizeNearest(2*b.Shape()[1], 2*b.Shape()[1])
		}
	}
	b.Pad(0, 0, 1, 1, 1, 1, 0, 0).Conv(3, 3, 3, 1, false)
	return b.Dequantize().Bytes()
}

// vgg returns a function that adds a 3x3 convolution with a PAD before it.
func vgg(b *tflitetest.Builder) func(channels int) {
	return func(channels int) {
		b.Pad(0, 0, 1, 1, 1, 1, 0, 0).Conv(channels, 3, 3, 1, false).Fuse(tflite.ActivationRelu)
	}
}

// BlazeFace is MediaPipe's short-range face detector (Bazarevsky et al.,
// arXiv:1907.05047): sixteen depthwise blocks on 128 x 128, channels padded
// where they grow.
func BlazeFace() []byte {
	b := tflitetest.New()
	b.Type, b.PerChannel = tflite.Int8, true
	floatInput(b, 128, 128, 3)
	b.Conv(24, 5, 5, 2, true).Fuse(tflite.ActivationRelu)
	var wide int
	for _, block := range []struct{ channels, stride int }{
		{24, 1}, {28, 1}, {32, 2}, {36, 1}, {42, 1}, {48, 2}, {56, 1}, {64, 1}, {72, 1}, {80, 1}, {88, 1}, {96, 2}, {96, 1}, {96, 1}, {96, 1}, {96, 1},
	} {
		start, channels := b.At(), b.Shape()[3]
		if block.stride == 2 {
			wide = start
		}
		main := b.Depthwise(3, 3, block.stride, true).Conv(block.channels, 1, 1, 1, true).At()
		b.From(start)
		if block.stride == 2 {
			b.MaxPool(2, 2, true)
		}
		if channels < block.channels {
			b.Pad(0, 0, 0, 0, 0, 0, 0, block.channels-channels)
		}
		skip := b.At()
		b.From(main).Add(skip).Fuse(tflite.ActivationRelu)
	}
	narrow := b.At()
	var outputs []int
	for _, values := range []int{1, 16} {
		var parts []int
		for i, from := range []int{wide, narrow} {
			anchors := 2 + 4*i
			h := b.From(from).Shape()[1]
			parts = append(parts, b.Conv(anchors*values, 1, 1, 1, true).Reshape(1, h*h*anchors, values).At())
		}
		parts[0] = b.From(parts[0]).Quantize(tflite.Int8).At()
		outputs = append(outputs, b.Concat(1, parts...).Dequantize().At())
	}
	return b.Outputs(outputs...).Bytes()
}

// Dense is one fully connected layer of n inputs and n outputs in int8.
func Dense(n int, scales, bias bool) []byte {
	b := tflitetest.New()
	b.Type, b.PerChannel, b.ZeroBias = tflite.Int8, scales, true
	b.Input(1, n)
	if bias {
		return b.FC(n).Bytes()
	}
	return b.FCNoBias(n).Bytes()
}

// MotionBlur is one depthwise convolution on an image.
func MotionBlur(width, height, channels, kernel int) []byte {
	b := tflitetest.New()
	floatInput(b, height, width, channels)
	return b.Depthwise(kernel, kernel, 1, true).Dequantize().Bytes()
}

// Float is a net that nobody quantized.
func Float() []byte {
	b := tflitetest.New()
	b.Type = tflite.Float32
	return b.Input(1, 8, 8, 4).Unary(tflite.Relu).Unary(tflite.Logistic).Bytes()
}
