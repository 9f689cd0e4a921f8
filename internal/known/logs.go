package known

// Log is what is known about the models of a log of the data set.
type Log struct {
	Nets    []Net             // in the order of the call; empty if one of them is not public
	Release string            // assumed where the log does not print it
	Why     string            // what is known of the models, where there are no nets
	Fitted  []Figure          // figures that an assumption was chosen by: they prove nothing
	Differs map[Figure]string // why a figure is not as predicted, with the op it comes from
}

// LogOf returns what is known about the models of a log by the name of its file.
func LogOf(file string) (Log, bool) {
	l, ok := logs[number(file)]
	return l, ok
}

// Logs is how many logs are known.
func Logs() int { return len(logs) }

var (
	detector  = Net{Name: "MobileNet v1 0.75 with a detection head", Assumed: "5 boxes of one class, byte inputs", Build: Detector}
	dense256  = Net{Name: "one layer 256 to 256", Assumed: "one scale for each output, a bias of zeros", Build: func() []byte { return Dense(256, true, true) }}
	dense8192 = Net{Name: "one layer 8192 to 8192", Assumed: "one scale, no bias", Build: func() []byte { return Dense(8192, false, false) }}
	dave2     = Net{Name: "DAVE-2", Assumed: "recognised by its sizes; byte input and output", Build: DAVE2}
	floats    = Net{Name: "a float net", Assumed: "any: its shapes play no part", Build: Float}
)

func efficientDet(classes int) Net {
	n := Net{Name: "EfficientDet-Lite0", Build: func() []byte { return EfficientDetLite0(classes) }}
	if classes < 90 {
		n.Assumed = "at most 4 classes, which all take the same memory"
	}
	return n
}

func private(why string) Log { return Log{Why: why} }

func one(n Net) Log { return Log{Nets: []Net{n}} }

const (
	notPublic   = "model not public"
	ownDesign   = "the publisher's own net, its shapes are not public"
	yolo        = "a YOLO export, whose graph depends on exporter and release: not known with certainty"
	noModel     = "the compiler got to no model, and the model is not public"
	nearSSD     = "model not named; its figures are near those of SSD MobileNet v2, of which no number of classes fits them"
	nothingMaps = "model not public; nothing of it maps, so that shapes would play no part"
	wholeGraph  = "model not public; whether a whole graph compiles at all is not predicted"
	speech      = "a speech net of two convolutions, a pool and fully connected layers, its shapes are not public"
)

// logs by the number that their names begin with.
var logs = map[string]Log{
	"001": private(notPublic),
	"002": private(notPublic),
	"003": private(notPublic),
	"005": {Nets: []Net{dave2, efficientDet(4)}, Fitted: []Figure{Remaining}},
	"007": private(speech),
	"009": private(speech),
	"011": one(Net{Name: "BlazeFace, short range", Assumed: "where two of the QUANTIZE stand", Build: BlazeFace}),
	"012": private("MediaPipe's face mesh, of whose graph only an outline is public"),
	"013": private(notPublic),
	"014": private(notPublic),
	"015": private(notPublic),
	"017": private(yolo),
	"018": private(notPublic),
	"019": private(notPublic),
	"020": private(notPublic),
	"022": private(notPublic),
	"023": private(notPublic),
	"025": one(resNet50),
	"026": {
		Nets:    []Net{{Name: "motion blur, one depthwise convolution of 25 x 25", Assumed: "padding SAME, one scale", Build: func() []byte { return MotionBlur(1920, 1058, 3, 25) }}},
		Differs: map[Figure]string{Available: "the formula's reserved rows are more than mean something: DEPTHWISE_CONV_2D of 25 x 25 on 1920 x 1058"},
	},
	"027": {
		Nets: []Net{{Name: "YOLOv3-tiny, 80 classes", Assumed: "a square image of 416; the export has one op more", Build: func() []byte { return YOLOv3Tiny(80) }}},
		Differs: map[Figure]string{
			Remaining:     "beside a held image up to three rows more were seen than the formula has: CONV_2D 3 x 3 on 416 x 416",
			Operations:    "an op of the export that is not known",
			CPUOperations: "the same op",
		},
	},
	"028": private(yolo),
	"029": private("MoViNet of TensorFlow Hub, not at hand"),
	"030": {Nets: []Net{efficientDet(4)}, Fitted: []Figure{OnChip}},
	"031": one(efficientDet(90)),
	"032": private(ownDesign),
	"034": private(ownDesign),
	"035": private(yolo),
	"037": private("a DeepLab that its publisher converted; not the one of the data set"),
	"038": private("a RetinaFace that its publisher converted"),
	"039": private(nothingMaps),
	"040": private(ownDesign),
	"041": one(detector),
	"042": private(nothingMaps),
	"043": private(nothingMaps),
	"044": private(nearSSD),
	"045": private(nearSSD),
	"046": private(yolo),
	"047": private("model not named"),
	"048": private("model not named"),
	"049": private("model not named"),
	"051": private(yolo),
	"057": private("an SRGAN of its publisher's, not public"),
	"058": private("an SRGAN of its publisher's, not public"),
	"059": {Nets: []Net{efficientDet(4)}, Fitted: []Figure{OnChip}},
	"060": one(Net{Name: "VGG-19 to relu4_1 (AdaIN)", Assumed: "an image of 256 x 256", Build: func() []byte { return AdaINEncoder(256) }}),
	"061": one(Net{Name: "AdaIN decoder", Assumed: "an image of 256 x 256", Build: func() []byte { return AdaINDecoder(256) }}),
	"063": {Nets: []Net{dense256}, Release: "16.0", Fitted: []Figure{OnChip}, Differs: map[Figure]string{Remaining: noConvolution}},
	"064": {Nets: []Net{dense8192}, Release: "16.0", Fitted: []Figure{OffChip}, Differs: map[Figure]string{Remaining: noConvolution}},
	"065": private(speech),
	"066": private(speech),
	"070": private(wholeGraph),
	"071": private(noModel),
	"072": private(noModel),
	"073": private(noModel),
	"074": private("version only"),
	"075": private(wholeGraph),
	"077": private(yolo),
	"078": private(wholeGraph),
	"079": one(floats),
	"080": one(floats),
	"081": one(floats),
	"082": private("model not public; an operator newer than the release"),
	"083": private(wholeGraph),
	"085": private(wholeGraph),
	"087": private(wholeGraph),
	"088": private(yolo),
	"090": private(noModel),
	"091": one(floats),
	"092": private(noModel),
	"093": one(floats),
	"094": private(noModel),
	"096": private("a warning only"),
	"098": one(Net{Name: "MobileNet v1 0.5 at 160", File: mobileNetV1c.File}),
	"100": private(yolo),
	"101": private("the help text"),
}
