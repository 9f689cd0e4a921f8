package compile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

func built(t testing.TB, data []byte, s Settings) *Model {
	t.Helper()
	f, err := tflite.New("built", data)
	if err != nil {
		t.Fatal(err)
	}
	return analyzeSource(t, f, s)
}

func inputOf(name string, m *Model) Input { return Input{File: name, Model: m, Reserve: m.Reserve} }

// The four MobileNets that were compiled together for the public sets, in the order of the command line.
func fourMobileNets(t testing.TB, s Settings) []Input {
	t.Helper()
	return []Input{
		inputOf("mobilenet_v1_1.0_224", built(t, tflitetest.MobileNetV1(1, 224, 1001), s)),
		inputOf("mobilenet_v1_0.25_128", publicModel(t, "mobilenet_v1_0.25_128_quant", s)),
		inputOf("mobilenet_v1_0.5_160", publicModel(t, "mobilenet_v1_0.5_160_quant", s)),
		inputOf("mobilenet_v1_0.75_192", publicModel(t, "mobilenet_v1_0.75_192_quant", s)),
	}
}

// A stated difference: fifteen small speech nets in one call of compiler 1.0
// (convolutions, a pool, fully connected layers; their files are not public)
// were printed 7.96 MiB available, which is R = 9 to 11. All their buffers fit
// the rows for small ones, for which the formula reserves nothing.
func TestReservedRowsOfSpeechNets(t *testing.T) {
	log, err := os.ReadFile(filepath.Join(testdata.Dir(t), "logs", "007-s123600g-fm15-log.txt"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(log), "memory available for caching model parameters: ")
	printed, _, _ := strings.Cut(after, "\n")
	size, err := report.ParseSize(strings.TrimSpace(printed))
	if err != nil || !ok {
		t.Fatal(err)
	}
	formula := Reserve{Fits: true} // what the formula gave for these nets: no buffer of theirs exceeds 32 rows
	r, err := ReserveFromAvailable(size, formula, FromMeasurement)
	if err != nil {
		t.Fatal(err)
	}
	if r.Low != 9 || r.High != 11 || formula.Rows != 0 {
		t.Errorf("printed %s: R = %d to %d, formula %d; the stated difference is 9 to 11 against 0", size.Text, r.Low, r.High, formula.Rows)
	}
}

// The four MobileNets in compiler 1.0, whose report is known: 266,240,
// 528,384 and 825,152 bytes streamed with R = 222. The formula says 224,
// which moves the last model by 6,656 bytes: a stated difference.
func TestSplitOfFourMobileNetsIn1_0(t *testing.T) {
	inputs := fourMobileNets(t, Settings{Version: V1_0})
	for _, test := range []struct {
		rows int
		want []int64
	}{
		{222, []int64{0, 266_240, 528_384, 825_152}},
		{224, []int64{0, 266_240, 528_384, 831_808}},
	} {
		loads := make([]*Load, len(inputs))
		for i := range inputs {
			loads[i] = &inputs[i].Model.Load
		}
		for i, s := range Allocate(V1_0, test.rows, loads) {
			if s.Streamed != test.want[i] {
				t.Errorf("R = %d: %s streams %d bytes, want %d", test.rows, inputs[i].File, s.Streamed, test.want[i])
			}
		}
	}
}

// Copies of one model in a 16.0 call all get the decision of the last one: the
// split differs from what the sort alone would give the first.
func TestCopiesOfOneModel(t *testing.T) {
	m := built(t, tflitetest.MobileNetV2(1, 224, 1001), Settings{Version: V16_0})
	copies, others := make([]*Load, 5), make([]*Load, 5)
	for i := range copies {
		copies[i] = &m.Load
		other := m.Load
		other.Content = fmt.Sprint(i)
		others[i] = &other
	}
	as, apart := Allocate(V16_0, m.Reserve.Rows, copies), Allocate(V16_0, m.Reserve.Rows, others)
	differs := false
	for i := range as {
		if as[i].Streamed != apart[4].Streamed {
			t.Errorf("copy %d streams %d bytes, the last one %d", i, as[i].Streamed, apart[4].Streamed)
		}
		differs = differs || apart[i].Streamed != apart[4].Streamed
	}
	if !differs {
		t.Error("the copies tie nowhere: the test shows nothing")
	}
}

// What the compiler printed as available names the formula's rows, as far as two decimals go.
func TestReserveFromAvailableOfBird(t *testing.T) {
	available, err := report.ParseSize("6.91MiB")
	if err != nil {
		t.Fatal(err)
	}
	bird := publicModel(t, "mobilenet_v2_1.0_224_inat_bird_quant", Settings{Version: V1_0})
	r, err := ReserveFromAvailable(available, bird.Reserve, FromMeasurement)
	if err != nil {
		t.Fatal(err)
	}
	if r.Rows != 280 || r.Low > 280 || r.High < 280 || r.Low == r.High {
		t.Errorf("6.91MiB: R = %+v, want the formula's 280 of several", r)
	}
}

// What is used and what remains add up to the capacity, also where a call has
// copies of one model: each takes rows of its own.
func TestRemainingWithCopies(t *testing.T) {
	for _, v := range []Version{V15_0, V16_0} {
		m := built(t, tflitetest.MobileNetV1(0.25, 128, 1001), Settings{Version: v})
		p := Predict(v, []Input{inputOf("a", m), inputOf("b", m), inputOf("c", m)})
		sum := p.Remaining
		for i := range p.Models {
			sum += p.Report.Models[i].OnChip.Bytes
		}
		if sum != p.Capacity {
			t.Errorf("%s: used and remaining are %d bytes, the capacity %d", v, sum, p.Capacity)
		}
	}
}

// A model of which nothing maps reserves nothing: beside others it leaves the
// capacity as it is.
func TestUnmappedModelReservesNothing(t *testing.T) {
	float := tflitetest.New().Input(1, 8, 8, 8).Dequantize().Bytes()
	net := tflitetest.New().Input(1, 16, 16, 8).Conv(8, 1, 1, 1, true).Bytes() // 6 rows in 16.0
	for _, v := range Versions() {
		s := Settings{Version: v}
		alone := Predict(v, []Input{inputOf("net", built(t, net, s))})
		both := Predict(v, []Input{inputOf("net", built(t, net, s)), inputOf("float", built(t, float, s))})
		if both.Reserve != alone.Reserve {
			t.Errorf("%s: %+v, alone %+v", v, both.Reserve, alone.Reserve)
		}
	}
}

// Different models with a layer in common are split in a way that is not known
// in 16.0. Copies of one model are, and so are models in which only sizes agree.
func TestSharedLayers(t *testing.T) {
	net := func(seed uint64, classes int) []byte {
		b := tflitetest.New()
		b.Seed = seed
		return b.Input(1, 16, 16, 8).Conv(64, 3, 3, 1, true).AvgPool(16, 1, false).FC(classes).Bytes()
	}
	for _, test := range []struct {
		name   string
		other  []byte
		v      Version
		shares bool
		want   report.Certainty
	}{
		{"another head", net(1, 20), V16_0, true, report.Heuristic},
		{"another head, up to 15.0", net(1, 20), V15_0, true, report.Exact},
		{"a copy", net(1, 10), V16_0, false, report.Exact},
		{"other weights", net(2, 10), V16_0, false, report.Exact},
	} {
		s := Settings{Version: test.v}
		p := Predict(test.v, []Input{inputOf("a", built(t, net(1, 10), s)), inputOf("b", built(t, test.other, s))})
		if p.SharesLayers != test.shares || p.RuleCertainty != test.want || p.Models[0].Certainty != test.want {
			t.Errorf("%s: shares %v, rule %s, model %s", test.name, p.SharesLayers, p.RuleCertainty, p.Models[0].Certainty)
		}
	}
}
