// Package simulator is a measurer that measures nothing: it plays the calls of
// a run on cost/replay's model of the driver, with the tokens and bytes of the
// compiled files, and takes the time of each from the cost model, with noise from a seed.
// Whatever it yields is labelled simulated. It tells how a measurement would look if
// everything were as predicted: whether so many calls suffice to tell two plans apart.
package simulator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"path/filepath"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/cost/replay"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/validation"
	"github.com/tpuplan/tpuplan/tflite"
)

// Device and Host are what samples name as theirs: results are the same on every machine.
const (
	Device = "simulated"
	Host   = "simulated"
)

// Simulator is a device that behaves as the cost model says.
type Simulator struct {
	Dir   string               // the folder of the runs; "" is the current one
	Calls map[string]cost.Call // what a call costs, by the names of models in runs
	// StreamMS is what streaming adds to a warm call, by the hash of a file; of others it is
	// their bytes at the rate of the link.
	StreamMS     map[string]float64
	NoisePercent float64 // standard deviation of a call's time
	Seed         uint64  // what the noise is drawn from
}

// Measure implements [profile.Measurer]. It takes no time.
func (s *Simulator) Measure(ctx context.Context, run *profile.Run, emit func(*profile.Sample) error) error {
	if err := errors.Join(run.Check(), ctx.Err()); err != nil {
		return err
	}
	type model struct {
		*replay.Interpreter
		file    *validation.File
		call    cost.Call
		outputs string
	}
	models := make([]model, len(run.Models))
	for i := range run.Models {
		file, err := s.open(&run.Models[i])
		if err != nil {
			return err
		}
		call, known := s.Calls[run.Models[i].Name]
		if !known {
			return &profile.Failure{Code: profile.NotAvailable, Model: run.Models[i].Name, Text: "the simulator does not know what a call of it costs"}
		}
		if ms, known := s.StreamMS[file.SHA256]; known {
			file.StreamMS = &ms
		}
		hash := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", run.Models[i].Name, run.Seed, i))
		models[i] = model{file.Interpreter(), file, call, hex.EncodeToString(hash[:])}
	}
	name := fnv.New64a()
	fmt.Fprint(name, run.Name)
	draw := rand.New(rand.NewPCG(s.Seed, name.Sum64())) //nolint:gosec // it has to be repeatable
	var driver replay.Driver
	var loads []int
	call := int64(0)
	for pass := range run.WarmUp + run.Repeats {
		for _, step := range run.Steps {
			if call%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			m := &models[step.Model]
			loads = driver.Invoke(m.Interpreter, loads[:0])
			cached, bytes := m.file.Loads(loads)
			ms := m.call.Steady(m.file.Streaming(m.call.BytesPerMS)) + m.call.Load(cached)
			ms *= max(0.01, 1+s.NoisePercent/100*draw.NormFloat64())
			if step.Kind != "" && pass >= run.WarmUp {
				bytes += m.file.WarmBytes
				sample := &profile.Sample{
					Run: run.Name, Model: run.Models[step.Model].Name, Kind: step.Kind, MS: ms, Call: call,
					SHA256: m.file.SHA256, Host: Host, Device: Device, Source: profile.Simulated, Bytes: &bytes,
				}
				if run.Outputs {
					sample.Outputs = m.outputs
				}
				if err := emit(sample); err != nil {
					return err
				}
			}
			call++
		}
	}
	return nil
}

func (s *Simulator) open(m *profile.RunModel) (*validation.File, error) {
	bad := func(format string, args ...any) error {
		return &profile.Failure{Code: profile.BadModel, Model: m.Name, Text: fmt.Sprintf(format, args...)}
	}
	path := filepath.FromSlash(m.File)
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.Dir, path)
	}
	f, err := tflite.Open(path)
	if err != nil {
		return nil, bad("%v", err)
	}
	compiled, err := f.Compiled()
	if err != nil {
		return nil, bad("%v", err)
	}
	if m.SHA256 != "" && m.SHA256 != f.SHA256() {
		return nil, bad("%s is not the file that the run was made for", m.File)
	}
	file, err := validation.NewFile(m.File, f.SHA256(), compiled)
	if err != nil {
		return nil, bad("%v", err)
	}
	return file, nil
}
