package runtest

import (
	"path"
	"strconv"
	"strings"
)

// split is what a real compiler cached and streamed of a model, packed bytes.
type split struct{ cached, streamed int64 }

// known are splits of real compiler calls, by release, minimum runtime (12 is
// that of the public 16.0 files; it plays no part before) and models in order.
// They are those of the public data set's compiled files; the member
// mobilenet_v1_1.0_224, whose compiled file is not in it, is known from the
// releases that printed 4.21MiB used and nothing off-chip for it.
var known = map[string][]split{
	"16.0 12 mobilenet_v1_0.25_128_quant":                            {{566912, 0}},
	"16.0 12 mobilenet_v1_0.5_160_quant":                             {{1473280, 0}},
	"16.0 12 mobilenet_v1_0.75_192_quant":                            {{2777600, 0}},
	"16.0 12 mobilenet_v1_0.25_128_quant mobilenet_v1_0.5_160_quant": {{566912, 0}, {1473280, 0}},
	"16.0 12 mobilenet_v1_0.5_160_quant mobilenet_v1_0.25_128_quant": {{1473280, 0}, {566912, 0}},
	"15.0 " + fourMobileNets:                                         {{4415744, 0}, {518656, 0}, {1425024, 0}, {1141376, 1587968}},
	"2.1 " + fourMobileNets:                                          {{4415744, 0}, {518656, 0}, {1425024, 0}, {1102464, 1626880}},
	"2.1 mobilenet_v1_1.0_224_quant mobilenet_v2_1.0_224_quant":      {{4415744, 0}, {2824448, 1076416}},
}

const fourMobileNets = "mobilenet_v1_1.0_224_quant mobilenet_v1_0.25_128_quant mobilenet_v1_0.5_160_quant mobilenet_v1_0.75_192_quant"

// splits are those of a call: from the variable FAKE_EDGETPU_SPLIT for the
// models that it names ("NAME=CACHED,STREAMED", with NAME@N only where the
// model is the N-th), else of the table, else as many bytes as the file has, all
// cached.
func (c *call) splits(override string, sizes []int64) []split {
	var names []string
	for _, file := range c.files {
		names = append(names, strings.TrimSuffix(path.Base(file), ".tflite"))
	}
	key := c.version
	if c.version == "16.0" {
		key += " " + c.minRuntime
	}
	list := known[key+" "+strings.Join(names, " ")]
	if list == nil {
		for _, size := range sizes {
			list = append(list, split{(size + 63) / 64 * 64, 0})
		}
	}
	list = append([]split{}, list...)
	for _, word := range strings.Split(override, ";") {
		name, numbers, _ := strings.Cut(word, "=")
		cached, streamed, _ := strings.Cut(numbers, ",")
		for i := range names {
			if names[i] == name || names[i]+"@"+strconv.Itoa(i) == name {
				list[i].cached, _ = strconv.ParseInt(cached, 10, 64)
				list[i].streamed, _ = strconv.ParseInt(streamed, 10, 64)
			}
		}
	}
	return list
}
