package profile

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Subject is a compiled model that is to be measured.
type Subject struct {
	Model  string // the name that its samples carry
	File   string // slash path, relative to the folder of the runs
	SHA256 string
	// By the file: what a call sends in both directions, warm and cold, what of
	// its parameters is cached and streamed, and the token of its compilation.
	WarmBytes, ColdBytes       int64
	CachedBytes, StreamedBytes int64
	Token                      uint64
}

// displaces says whether a call of one subject takes the other's parameters
// off the device.
func (s *Subject) displaces(other *Subject) bool { return s.Token == 0 || s.Token != other.Token }

// Series says what is measured how often. In every pass all interpreters are
// made anew, and the order of devices and models is drawn anew, so that no
// model profits from its place and drift shows.
type Series struct {
	Name       string   // begins the names of the runs
	Devices    []string // as in Run; none is the first device
	Passes     int
	Steady     int // warm calls of a model in each pass
	Loads      int // loads of a model in each pass, each after a model that displaces it
	Seed       uint64
	DeadlineMS float64
}

// Runs plans the runs of a series, in their order.
//
// In the run of a pass each model is called until it is warm, then its warm
// calls are measured. After that a model of another compilation is called before
// every call that is measured as a load; the one that sends least is taken for it.
// Variants are further compilations of the subjects that cache less, the ones of
// one model in any order; their warm calls are measured in runs of their own.
//
// Unmeasured names the subjects for which there is no other that displaces them.
func (s *Series) Runs(subjects, variants []Subject) (runs []*Run, unmeasured []string) {
	layers := [][]Subject{subjects}
	taken := map[string]int{}
	for _, v := range variants {
		n := taken[v.Model] + 1
		taken[v.Model] = n
		if n == len(layers) {
			layers = append(layers, nil)
		}
		layers[n] = append(layers[n], v)
	}
	devices := s.Devices
	if len(devices) == 0 {
		devices = []string{""}
	}
	draw := rand.New(rand.NewPCG(s.Seed, 0)) //nolint:gosec // it has to be repeatable
	for pass := range s.Passes {
		for _, d := range draw.Perm(len(devices)) {
			for n, layer := range layers {
				r := &Run{
					Schema: RunSchema, Name: fmt.Sprintf("%s.%d", s.Name, pass+1), Device: devices[d],
					Repeats: 1, Seed: s.Seed, DeadlineMS: s.DeadlineMS,
				}
				if len(devices) > 1 {
					r.Name += fmt.Sprintf(".device%d", d+1)
				}
				for i := range layer {
					m := &layer[i]
					r.Models = append(r.Models, RunModel{Name: m.Model, File: m.File, SHA256: m.SHA256, WarmBytes: m.WarmBytes, ColdBytes: m.ColdBytes})
				}
				if n == 0 {
					r.Steps = slices.Concat(s.warm(draw, layer, First, Steady), s.loads(draw, layer))
				} else {
					r.Name += fmt.Sprintf(".variant%d", n)
					r.Steps = s.warm(draw, layer, "", Squeezed)
				}
				runs = append(runs, r)
			}
		}
	}
	for i := range subjects {
		if subjects[i].CachedBytes > 0 && displacer(subjects, i) < 0 {
			unmeasured = append(unmeasured, subjects[i].Model)
		}
	}
	return runs, unmeasured
}

// warm are a first call of each model and its warm calls after it.
func (s *Series) warm(draw *rand.Rand, subjects []Subject, first, warm Kind) (steps []Step) {
	for _, i := range draw.Perm(len(subjects)) {
		steps = append(steps, Step{i, first})
		for range s.Steady {
			steps = append(steps, Step{i, warm})
		}
	}
	return steps
}

func (s *Series) loads(draw *rand.Rand, subjects []Subject) (steps []Step) {
	for range s.Loads {
		for _, i := range draw.Perm(len(subjects)) {
			if other := displacer(subjects, i); subjects[i].CachedBytes > 0 && other >= 0 {
				steps = append(steps, Step{Model: other}, Step{i, Load})
			}
		}
	}
	return steps
}

// displacer is the cheapest model that displaces another one, -1 if none does.
func displacer(subjects []Subject, of int) int {
	best := -1
	for i := range subjects {
		if i == of || !subjects[i].displaces(&subjects[of]) {
			continue
		}
		if best < 0 || cmp.Compare(subjects[i].ColdBytes, subjects[best].ColdBytes) < 0 {
			best = i
		}
	}
	return best
}
