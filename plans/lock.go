package plans

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/emit"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/planner"
)

// lockSchema names the format of a lock; fields are only added to it.
const (
	lockSchemaPrefix = "tpuplan/lock/v"
	lockVersion      = 1
)

// Number is a floating-point number of a lock, written with 12 significant
// digits: fewer than a float64 has, so that machines whose last bits differ
// write the same bytes.
type Number float64

func (n Number) text() string { return strconv.FormatFloat(float64(n), 'g', 12, 64) }

// MarshalJSON writes the number; NaN and infinities are errors.
func (n Number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return nil, fmt.Errorf("%v has no place in a lock", float64(n))
	}
	return []byte(n.text()), nil
}

// Lock is the record of a plan that is kept beside it: what was decided, and
// on what evidence. It holds no times of day, no machine's name and no
// absolute path that the plan does not have, so that the same plan and models
// give the same bytes everywhere.
type Lock struct {
	Schema   string   `json:"schema"` // "tpuplan/lock/v1"
	Decision Decision `json:"decision"`
	Evidence Evidence `json:"evidence"`
}

// Decision is what the build depends on. The command is the plan's: one that a
// flag or EDGETPU_COMPILER sets belongs to a machine, and a lock must not
// change from one machine to the next.
type Decision struct {
	Compiler string         `json:"compiler"` // version
	Command  []string       `json:"command"`
	Flags    []string       `json:"flags"`
	OutDir   string         `json:"out_dir"`
	Devices  []LockedDevice `json:"devices"`
}

// LockedDevice is what one device holds.
type LockedDevice struct {
	Name   string        `json:"name"`
	Groups []LockedGroup `json:"groups"` // in the planner's order
}

// LockedGroup is one compiler invocation.
type LockedGroup struct {
	Name   string   `json:"name"`
	Models []string `json:"models"` // names in command-line order
	Files  []string `json:"files"`  // their files, slash paths as in the plan
	Argv   []string `json:"argv"`   // empty if Compiled
	// Compiled: the files are compiled models, and nothing is to be run.
	Compiled bool `json:"compiled,omitempty"`
}

// Evidence is what the decision was derived from.
type Evidence struct {
	PlanSHA256 string          `json:"plan_sha256"` // of the plan's meaning, see meaning
	Objective  LockedObjective `json:"objective"`
	Status     string          `json:"status"`
	Bound      Number          `json:"bound"`
	Gap        Number          `json:"gap"`
	TiesAtMost Number          `json:"ties_at_most"`         // the part of Gap that only the order of ties could close
	BoundKind  string          `json:"bound_kind,omitempty"` // what gave the bound; locks of older versions have none
	Nodes      int64           `json:"nodes"`
	Limit      string          `json:"limit,omitempty"` // what stopped the search early
	Hedge      *LockedHedge    `json:"hedge,omitempty"` // there if the plan is a hedge
	Devices    []LockedLink    `json:"devices"`
	Groups     []LockedRows    `json:"groups"`
	Models     []LockedModel   `json:"models"` // sorted by name
}

// LockedObjective is what was minimised, and how far.
type LockedObjective struct {
	Kind  string `json:"kind"`
	Value Number `json:"value"`
	Unit  string `json:"unit"`
}

// LockedLink is the link of a device.
type LockedLink struct {
	Name       string `json:"name"`
	Link       string `json:"link"`
	MBPerS     Number `json:"mb_per_s"`
	OverheadMS Number `json:"overhead_ms"`
	Runtime    string `json:"runtime,omitempty"` // as the plan says it
	// Calibration is there where the numbers are those of one.
	Calibration *LockedCalibration `json:"calibration,omitempty"`
}

// LockedCalibration is the calibration of a device, and where its numbers are from.
type LockedCalibration struct {
	File           string `json:"file"` // slash path as in the plan
	SHA256         string `json:"sha256"`
	OverlapMS      Number `json:"overlap_ms"`
	RateSource     string `json:"rate_source"`
	OverheadSource string `json:"overhead_source"`
	OverlapSource  string `json:"overlap_source"`
}

// LockedRows is the memory of a group.
type LockedRows struct {
	Name         string `json:"name"`
	ReservedRows int    `json:"reserved_rows"`
	Rows         int    `json:"rows"`
}

// LockedModel is what was known and predicted of a model.
type LockedModel struct {
	Name            string `json:"name"`
	SHA256          string `json:"sha256"`
	FileBytes       int64  `json:"file_bytes"`
	Share           Number `json:"share"`
	ReservedRows    int    `json:"reserved_rows"`
	ReservedLow     int    `json:"reserved_rows_low"`
	ReservedHigh    int    `json:"reserved_rows_high"`
	ReservedSource  string `json:"reserved_rows_source"`
	ParameterBytes  int64  `json:"parameter_bytes"`
	CachedBytes     int64  `json:"cached_bytes"`
	StreamedBytes   int64  `json:"streamed_bytes"`
	SteadyMS        Number `json:"steady_ms"`
	ColdMS          Number `json:"cold_ms"`
	ExpectedMS      Number `json:"expected_ms"`
	LoadsPerCall    Number `json:"loads_per_call"`
	ComputeIncluded bool   `json:"compute_included"`
	Source          string `json:"source"` // of the times
	// TimeSources are there where the device is calibrated.
	TimeSources    *TimeSources `json:"time_sources,omitempty"`
	SplitSource    string       `json:"split_source,omitempty"`    // of the split; locks of older versions have none
	SizesSource    string       `json:"sizes_source,omitempty"`    // of the parameter bytes
	LogSHA256      string       `json:"log_sha256,omitempty"`      // of the plan's log
	CompiledSHA256 string       `json:"compiled_sha256,omitempty"` // of the plan's compiled
	Certainty      string       `json:"certainty"`
}

// Sources of numbers, as outputs name them.
const (
	Modelled = cost.SourceModelled
	Measured = "measured"
)

func sourceOf(measured bool) string {
	if measured {
		return Measured
	}
	return Modelled
}

// NewLock records an answer to a resolved plan.
func NewLock(r *Resolved, answer *planner.Plan) *Lock {
	plan := r.Plan
	l := &Lock{
		Schema: fmt.Sprint(lockSchemaPrefix, lockVersion),
		Decision: Decision{
			Compiler: r.Version.String(), Command: plan.Compiler.Command,
			Flags: append([]string{}, plan.Compiler.Flags...), OutDir: plan.Compiler.OutDir,
		},
		Evidence: Evidence{
			PlanSHA256: plan.meaning(),
			Objective:  LockedObjective{plan.Objective.String(), Number(answer.Value), plan.Objective.Unit()},
			Status:     string(answer.Certificate.Status), Bound: Number(answer.Certificate.Bound), Gap: Number(answer.Certificate.Gap),
			TiesAtMost: Number(answer.Certificate.TiesAtMost), BoundKind: string(answer.Certificate.BoundKind),
			Nodes: answer.Certificate.Nodes, Limit: answer.Certificate.Limit,
			Groups: []LockedRows{},
		},
	}
	certainty, measured := make([]report.Certainty, len(r.Files)), make([]bool, len(r.Files))
	for _, d := range answer.Devices {
		device := LockedDevice{Name: d.Name, Groups: []LockedGroup{}}
		for _, g := range d.Groups {
			group := LockedGroup{Name: g.Name}
			group.Compiled = r.Files[g.Models[0]].Compiled != nil
			if !group.Compiled { // else what the files hold is exact
				prediction := r.Predict(g.Models)
				for k, predicted := range prediction.Models {
					certainty[g.Models[k]], measured[g.Models[k]] = predicted.Certainty, prediction.Measured
				}
			}
			for _, i := range g.Models {
				group.Models = append(group.Models, plan.Models[i].Name)
				group.Files = append(group.Files, plan.Models[i].File)
			}
			group.Argv = l.Decision.argv(&group)
			device.Groups = append(device.Groups, group)
			l.Evidence.Groups = append(l.Evidence.Groups, LockedRows{g.Name, g.Reserved, g.Rows})
		}
		l.Decision.Devices = append(l.Decision.Devices, device)
	}
	for i, d := range plan.Devices {
		link := r.Link(i)
		l.Evidence.Devices = append(l.Evidence.Devices, LockedLink{d.Name, link.Name, Number(link.BytesPerMS / 1000), Number(link.OverheadMS), d.Runtime, r.Calibrated.locked()})
	}
	for i, f := range r.Files {
		outcome, model := &answer.Models[i], &r.Problem.Models[i]
		var sources *TimeSources
		if r.Calibrated != nil {
			all := r.Sources(i)
			sources = &all
		}
		l.Evidence.Models = append(l.Evidence.Models, LockedModel{
			Name: f.Name, SHA256: f.SHA256, FileBytes: f.Bytes, Share: Number(model.Share),
			ReservedRows: f.Reserve.Rows, ReservedLow: f.Reserve.Low, ReservedHigh: f.Reserve.High, ReservedSource: string(f.Reserve.Source),
			ParameterBytes: model.Load.Bytes(), CachedBytes: outcome.Split.Cached, StreamedBytes: outcome.Split.Streamed,
			SteadyMS: Number(outcome.SteadyMS), ColdMS: Number(outcome.ColdMS), ExpectedMS: Number(outcome.ExpectedMS), LoadsPerCall: Number(outcome.Miss),
			ComputeIncluded: model.Call.ComputeIncluded, Source: r.Source(i), TimeSources: sources, Certainty: certainty[i].String(),
			SplitSource: sourceOf(measured[i]), SizesSource: sourceOf(f.Facts != nil && f.Facts.ParameterBytes != nil),
			LogSHA256: f.LogSHA256, CompiledSHA256: f.CompiledSHA256,
		})
	}
	slices.SortFunc(l.Evidence.Models, func(a, b LockedModel) int { return cmp.Compare(a.Name, b.Name) })
	return l
}

// Predict is what the compiler would report for one invocation with these
// models (indexes into the plan's) in this order, with what is known of it.
func (r *Resolved) Predict(models []int) *compile.Prediction {
	return r.Facts.Predict(r.Version, r.inputs(models))
}

// inputs are models (indexes) as an invocation takes them.
func (r *Resolved) inputs(models []int) []compile.Input {
	inputs := make([]compile.Input, len(models))
	for k, i := range models {
		f := &r.Files[i]
		inputs[k] = compile.Input{File: r.Plan.Models[i].File, Bytes: f.Bytes, Model: f.Analysis, Reserve: f.Reserve}
	}
	return inputs
}

// Describes reports whether the lock was made from a plan that says the same.
func (l *Lock) Describes(p *Plan) bool { return l.Evidence.PlanSHA256 == p.meaning() }

func (d *Decision) argv(g *LockedGroup) []string {
	if g.Compiled {
		return []string{}
	}
	i := compile.Invocation{Command: d.Command, Flags: d.Flags, OutDir: d.OutDir, Group: g.Name, Files: g.Files}
	return i.Argv()
}

// meaning is the hash of what a plan says. Comments, spelling ("60/min" for
// "1/s") and the order of models do not change it.
func (p *Plan) meaning() string {
	h := sha256.New()
	// Every item ends in a line feed, which no name or path can hold.
	say := func(items ...string) {
		for _, s := range items {
			io.WriteString(h, s+"\n")
		}
	}
	words := func(list []string) { say(append([]string{strconv.Itoa(len(list))}, list...)...) }
	optional := func(ms *float64) string {
		if ms == nil {
			return ""
		}
		return Number(*ms).text()
	}
	say(p.Compiler.Version.String(), p.Compiler.OutDir, p.Objective.String(), strconv.FormatBool(p.ByRate))
	words(p.Compiler.Flags)
	words(p.Compiler.Command)
	if p.Hedge {
		say("hedge")
	}
	for _, d := range p.Devices {
		say("device", d.Name, Number(d.Link.BytesPerMS).text(), Number(d.Link.OverheadMS).text())
		if d.Runtime != "" {
			say("runtime", d.Runtime)
		}
		if d.Calibration != "" {
			say("calibration", d.Calibration)
		}
	}
	models := slices.Clone(p.Models)
	slices.SortFunc(models, func(a, b Model) int { return cmp.Compare(a.Name, b.Name) })
	for _, m := range models {
		available := ""
		if m.Available != nil {
			available = Number(m.Available.Low).text() + " " + Number(m.Available.High).text()
		}
		say("model", m.Name, m.File, Number(m.Calls).text(), m.Group, available, optional(m.SteadyMS), optional(m.ColdMS))
		words(slices.Sorted(slices.Values(m.OrderBefore)))
		// Keys that came later are left out where they are not given: a plan without them means what it meant.
		for _, k := range [][2]string{{"log", m.Log}, {"compiled", m.Compiled}} {
			if k[1] != "" {
				say(k[0], k[1])
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Bytes is the lock as it is written: JSON in a fixed form, with a line feed at the end.
func (l *Lock) Bytes() ([]byte, error) {
	data, err := encode(l)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	return data, nil
}

// WriteLock writes a lock so that the path holds either the old contents or
// the new ones, whatever happens. A file that holds the same bytes already is
// not touched, so that build systems see no change.
func WriteLock(path string, l *Lock) error {
	data, err := l.Bytes()
	if err != nil {
		return err
	}
	return write(path, data)
}

// lockFile is the record of a decision.
var lockFile = record{
	name: "lock", what: "a lock", most: 16 << 20,
	again:  "run tpuplan optimize --fresh, or take the file from version control",
	forget: "use that tpuplan, or delete the lock and run tpuplan optimize",
}

// ReadLock reads a lock. A missing file wraps [fs.ErrNotExist]. Fields that
// this version does not know are ignored, a newer format is an error.
func ReadLock(path string) (*Lock, error) {
	data, err := lockFile.read(path)
	if err != nil {
		return nil, err
	}
	return ParseLock(path, data)
}

// ParseLock reads the contents of a lock; the name is used in messages.
func ParseLock(name string, data []byte) (*Lock, error) {
	if err := lockFile.check(name, data); err != nil {
		return nil, err
	}
	models, dense := countModels(data)
	if dense {
		return nil, lockFile.bad(name, "not a lock: it holds more values than a file of %s can describe", report.FormatSize(int64(len(data))))
	}
	syntax := func(err error) (*Lock, error) {
		if e := (*json.SyntaxError)(nil); errors.As(err, &e) {
			// The offset counts the byte that is wrong; at the end there is none.
			return nil, lockFile.badAt(name, data, max(0, min(e.Offset, int64(len(data)))-1), "not a lock: "+e.Error())
		}
		if e := (*json.UnmarshalTypeError)(nil); errors.As(err, &e) {
			return nil, lockFile.badAt(name, data, max(0, e.Offset-1), fmt.Sprintf("not a lock: %s holds a JSON %s", e.Field, e.Value))
		}
		return nil, lockFile.bad(name, "not a lock: %v", err)
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return syntax(err)
	}
	if err := compile.CheckSchema(head.Schema, lockSchemaPrefix, lockVersion); err != nil {
		return nil, lockFile.schema(name, err)
	}
	l := &Lock{}
	l.Evidence.Models = make([]LockedModel, 0, models) // which Unmarshal fills
	if err := json.Unmarshal(data, l); err != nil {
		return syntax(err)
	}
	if err := l.check(); err != nil {
		return nil, lockFile.bad(name, "%v", err)
	}
	return l, nil
}

// check tests what build files and messages rely on: a lock may have been edited.
func (l *Lock) check() error {
	if _, err := compile.ParseVersion(l.Decision.Compiler); err != nil {
		return err
	}
	if len(l.Decision.Command) == 0 || l.Decision.OutDir == "" {
		return errors.New("it has no compiler command or no out_dir")
	}
	known := map[string]bool{}
	for _, m := range l.Evidence.Models {
		known[m.Name] = true
	}
	placed := map[string]bool{}
	groups := map[string]bool{}
	for _, d := range l.Decision.Devices {
		for _, g := range d.Groups {
			if !fileNamePart(g.Name) || len(g.Name) > maxText || groups[g.Name] {
				return fmt.Errorf("the name of group %s is unusable or taken", quote(g.Name))
			}
			groups[g.Name] = true
			if len(g.Models) == 0 || len(g.Files) != len(g.Models) {
				return fmt.Errorf("group %s has %d models and %d files", quote(g.Name), len(g.Models), len(g.Files))
			}
			for i, m := range g.Models {
				if placed[m] || !known[m] {
					return fmt.Errorf("model %s is in two groups or has no evidence", quote(m))
				}
				placed[m] = true
				if plainText(g.Files[i]) != nil || path.Clean(g.Files[i]) != g.Files[i] {
					return fmt.Errorf("model %s: %s is no path of a plan", quote(m), quote(g.Files[i]))
				}
			}
			if want := l.Decision.argv(&g); !slices.Equal(want, g.Argv) {
				return fmt.Errorf("the argv of group %s is not that of its models", quote(g.Name))
			}
		}
	}
	if len(placed) == 0 || len(placed) != len(known) {
		return fmt.Errorf("%d models are in groups, %d have evidence", len(placed), len(known))
	}
	return nil
}

// Grouping is the lock's decision for a problem: per group the indexes of its
// models in command-line order. An error says that the problem has other
// models than the lock.
func (l *Lock) Grouping(p *planner.Problem) ([][]int, error) {
	index := map[string]int{}
	for i, m := range p.Models {
		index[m.Name] = i
	}
	var grouping [][]int
	n := 0
	for _, d := range l.Decision.Devices {
		for _, g := range d.Groups {
			var group []int
			for _, name := range g.Models {
				i, ok := index[name]
				if !ok {
					return nil, fmt.Errorf("the lock holds model %s, the plan does not", quote(name))
				}
				group = append(group, i)
				n++
			}
			grouping = append(grouping, group)
		}
	}
	if n != len(p.Models) {
		return nil, fmt.Errorf("the plan has %d models, the lock %d", len(p.Models), n)
	}
	return grouping, nil
}

// Build is what a build file says about this decision. planPath is the plan
// file; build files lie and run beside it. The caller adds Output and Regenerate.
func (l *Lock) Build(planPath string) *emit.Build {
	b := &emit.Build{
		Plan: filepath.Base(planPath), Lock: filepath.Base(LockPath(planPath)),
		Command: l.Decision.Command, Flags: l.Decision.Flags, OutDir: l.Decision.OutDir, Version: l.Decision.Compiler,
	}
	for _, d := range l.Decision.Devices {
		for _, g := range d.Groups {
			if g.Compiled {
				continue
			}
			b.Groups = append(b.Groups, emit.Group{Name: g.Name, Files: g.Files})
		}
		b.Placements = append(b.Placements, l.placements(&d)...)
	}
	return b
}

// Outputs are the compiled files of a group, slash paths in the order of its
// models.
func (l *Lock) Outputs(g *LockedGroup) []string {
	if g.Compiled {
		return g.Files
	}
	i := compile.Invocation{OutDir: l.Decision.OutDir, Files: g.Files}
	return i.Outputs()
}

// placements are the models of a device in the order in which their first
// calls should be made. Every group displaces the one before it, so the one
// with the most calls comes last and is there when the work begins; within a
// group the order is that of the command line.
func (l *Lock) placements(d *LockedDevice) []emit.Placement {
	evidence := map[string]*LockedModel{}
	for i := range l.Evidence.Models {
		evidence[l.Evidence.Models[i].Name] = &l.Evidence.Models[i]
	}
	calls := func(g LockedGroup) (sum float64) {
		for _, m := range g.Models {
			sum += float64(evidence[m].Share)
		}
		return sum
	}
	groups := slices.Clone(d.Groups)
	slices.SortStableFunc(groups, func(a, b LockedGroup) int { return cmp.Compare(calls(a), calls(b)) })
	var all []emit.Placement
	for _, g := range groups {
		for i, file := range l.Outputs(&g) {
			e := evidence[g.Models[i]]
			all = append(all, emit.Placement{
				Model: g.Models[i], File: file, Device: d.Name, Group: g.Name, WarmUp: len(all) + 1,
				CachedBytes: e.CachedBytes, StreamedBytes: e.StreamedBytes,
			})
		}
	}
	return all
}

// Diff is the unified diff from one lock to another, nil if they are equal.
// old may be nil.
func Diff(path string, old, now *Lock) ([]byte, error) {
	var before []byte
	name := os.DevNull
	if old != nil {
		var err error
		if before, err = old.Bytes(); err != nil {
			return nil, err
		}
		name = path
	}
	after, err := now.Bytes()
	if err != nil {
		return nil, err
	}
	return diff.Diff(name, before, path, after), nil
}
