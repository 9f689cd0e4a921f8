package replay_test

import (
	"io"
	"runtime"
	"strconv"
	"testing"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/cost/replay"
)

const tenMillion = 10_000_000

// written makes the text of a trace of random calls as it is read.
type written struct {
	calls  replay.Source
	models []replay.Model
	left   int
	json   bool
	text   []byte
}

func (w *written) Read(p []byte) (int, error) {
	for len(w.text) == 0 {
		if w.left == 0 {
			return 0, io.EOF
		}
		w.left--
		c, err := w.calls.Next()
		if err != nil {
			return 0, err
		}
		us := int64(c.AtMS * 1000)
		w.text = w.text[:0]
		if w.json {
			w.text = append(w.text, `{"time_ms": `...)
		}
		w.text = strconv.AppendInt(w.text, us/1000, 10)
		w.text = append(w.text, '.')
		w.text = append(w.text, strconv.Itoa(1000 + int(us%1000))[1:]...)
		if w.json {
			w.text = append(w.text, `, "model": "`...)
		} else {
			w.text = append(w.text, ',')
		}
		w.text = append(w.text, w.models[c.Model].Name...)
		if w.json {
			w.text = append(w.text, `"}`...)
		}
		w.text = append(w.text, '\n')
	}
	n := copy(p, w.text)
	w.text = w.text[n:]
	return n, nil
}

// BenchmarkTenMillionCalls reads a trace of 10^7 calls of six models and plays
// it, with everything that is counted of it, the gaps for the closed form
// among that. The heap is measured every 2^20 calls. Making up the text is
// part of the time.
func BenchmarkTenMillionCalls(b *testing.B) {
	w := &workload{}
	for i, cached := range []int64{3 << 20, 1 << 20, 4 << 20, 0, 2 << 20, 1 << 20} {
		w.add(b, i/2, uint64(i/2+1), 1, cached, 1<<18)
	}
	rates := []float64{0.01, 0.005, 0.004, 0.003, 0.002, 0.001}
	for _, format := range []string{"CSV", "JSON", "drawn"} {
		b.Run(format, func(b *testing.B) {
			var most uint64
			for b.Loop() {
				calls, err := replay.Poisson(rates, 1)
				if err != nil {
					b.Fatal(err)
				}
				source := calls
				if format != "drawn" {
					source = replay.NewTrace(format, &written{calls: calls, models: w.models, left: tenMillion, json: format == "JSON"}, w.models)
				}
				r := open(b, w.models)
				var gaps cost.Sequence
				for n := range tenMillion {
					c, err := source.Next()
					if err == nil {
						err = gaps.Call(c.Model)
					}
					if err == nil {
						_, err = r.Do(c)
					}
					if err != nil {
						b.Fatal(err)
					}
					if n%(1<<20) == 0 {
						var m runtime.MemStats
						runtime.ReadMemStats(&m)
						most = max(most, m.Sys)
					}
				}
				if _, err := gaps.Process(); err != nil || r.Total().Calls != tenMillion {
					b.Fatal(r.Total().Calls, err)
				}
			}
			b.ReportMetric(float64(most)/(1<<20), "MiB")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/tenMillion, "ns/call")
		})
	}
}
