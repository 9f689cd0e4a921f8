//go:build edgetpu

package linked

import (
	"fmt"
	"math/rand/v2"
	"testing"

	gotflite "github.com/mattn/go-tflite"

	"github.com/tpuplan/tpuplan/cost/replay"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// roles are the types of executables as cost/replay names them.
var roles = map[tflite.ExecutableType]replay.Role{
	tflite.StandAlone: replay.StandAlone, tflite.ParameterCaching: replay.ParameterCaching, tflite.ExecutionOnly: replay.ExecutionOnly,
}

// TestReplayAgreesCallByCall calls models of random token groups in a random
// order, on the stand-in and on the driver of cost/replay, of which neither knows
// the other: both load the same at every operator of every call.
func TestReplayAgreesCallByCall(t *testing.T) {
	draw := rand.New(rand.NewPCG(11, 1))
	b := start(t, 0, nil)
	var driver replay.Driver
	type model struct {
		file     []tflite.Package
		real     *gotflite.Interpreter
		replayed *replay.Interpreter
	}
	var models []model
	for n := range 14 {
		m := model{}
		token := uint64(draw.IntN(4)) // of some call, or 0 for none
		for range 1 + draw.IntN(3) {
			cached := int64(100 * draw.IntN(4))
			if token == 0 {
				cached = 0
			}
			p := tflitetest.Split(token, cached, int64(10*draw.IntN(5)))
			if cached > 0 && draw.IntN(4) == 0 { // a third executable: the stand-alone one is run
				whole := tflitetest.Split(token, 0, 77)
				p.Executables = append(p.Executables, whole.Executables[0])
			}
			m.file = append(m.file, p)
		}
		packages := make([]replay.Package, len(m.file))
		for i := range m.file {
			var list []replay.Executable
			for _, e := range m.file[i].Executables {
				list = append(list, replay.Executable{Role: roles[e.Type], Token: e.Token, Bytes: e.DMA.Total()})
			}
			made, err := replay.NewPackage(list...)
			if err != nil {
				t.Fatal(err)
			}
			packages[i] = made
		}
		m.real = b.keep(write(t, fmt.Sprintf("m%d", n), m.file...))
		m.replayed = replay.NewInterpreter(packages, 0)
		models = append(models, m)
	}
	type operator struct{ call, model, number int }
	var of []operator
	var loaded []int64
	calls, loads := 400, 0
	for call := range calls {
		n := draw.IntN(len(models))
		m := &models[n]
		b.call(m.real)
		perPackage := make([]int64, len(m.file))
		for _, p := range driver.Invoke(m.replayed, nil) {
			for _, e := range m.file[p].Executables {
				if e.Type == tflite.ParameterCaching {
					perPackage[p] = e.DMA.Total()
				}
			}
			loads++
		}
		for p := range m.file {
			of = append(of, operator{call, n, p})
			loaded = append(loaded, perPackage[p])
		}
	}
	got := b.calls()
	if len(got) != len(of) {
		t.Fatalf("the stand-in ran %d operators, the replay %d", len(got), len(of))
	}
	for i := range of {
		if got[i].LoadedBytes != loaded[i] {
			t.Fatalf("call %d, operator %d of model %d: the stand-in loads %d bytes, the replay %d", of[i].call, of[i].number, of[i].model, got[i].LoadedBytes, loaded[i])
		}
	}
	if hits := len(of) - loads; loads < calls/10 || hits < calls/10 {
		t.Errorf("%d loads and %d operators without: the test says little", loads, hits)
	}
}
