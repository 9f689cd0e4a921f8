package plans

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/planner"
)

// Keys of later features: a user who writes one means something by it, so it
// is answered instead of ignored.
var (
	laterDeadline = &hinted{"deadlines are not planned yet", "leave it out; warm, cold and expected times are shown for every model"}
	laterSegments = &hinted{"models are not cut into segments yet", "leave it out, or list the .tflite file of every segment as a model of its own"}
	laterDevice   = &hinted{"models cannot be pinned to a device yet: one device is planned and holds them all", "leave it out"}
)

// plan reads the whole document. Values that could not be read are left out of
// the checks between values, so that one mistake is one problem.
func (d *decoder) plan(p *Plan, raw map[string]any) {
	var compiler struct {
		version versionValue
		flags   flagsValue
		outDir  pathValue
		command wordsValue
	}
	d.table(nil, raw, []key{{name: "compiler"}, {name: "device"}, {name: "model"}, {name: "objective"}})
	if table, given := raw["compiler"]; given {
		good := d.table([]any{"compiler"}, table, []key{
			{name: "version", into: &compiler.version},
			{name: "flags", into: &compiler.flags, meant: []string{"options", "arguments"}},
			{name: "out_dir", into: &compiler.outDir, meant: []string{"output", "out"}},
			{name: "command", into: &compiler.command, meant: []string{"path", "program"}},
		})
		if good["version"] {
			p.Compiler.Version = compile.Version(compiler.version)
		}
		if good["flags"] {
			p.Compiler.Flags, p.Compiler.AllRegions, p.Compiler.MinRuntime = compiler.flags.words, compiler.flags.allRegions, compiler.flags.minRuntime
		}
		if good["command"] {
			p.Compiler.Command = compiler.command
		}
		if good["out_dir"] {
			p.Compiler.OutDir = string(compiler.outDir)
			if path.IsAbs(p.Compiler.OutDir) {
				p.warn([]any{"compiler", "out_dir"}, "out_dir is an absolute path: the lock and the build files are not portable", "paths are relative to the plan's folder")
			}
		}
	}
	if table, given := raw["objective"]; given {
		var kind objectiveValue
		var hedge boolValue
		good := d.table([]any{"objective"}, table, []key{
			{name: "kind", into: &kind, meant: []string{"goal", "type"}},
			{name: "hedge", into: &hedge, meant: []string{"robust", "regret"}},
		})
		if good["kind"] {
			p.Objective = planner.Objective(kind)
		}
		p.Hedge = good["hedge"] && bool(hedge)
	}
	d.devices(p, raw["device"])
	d.models(p, raw["model"])
}

func (p *Plan) warn(at []any, message, hint string) {
	p.Warnings = append(p.Warnings, p.problem(at, message, hint))
}

func (d *decoder) devices(p *Plan, raw any) {
	seen := 0
	d.tables("device", raw, func(at []any, raw any) {
		seen++
		if seen == 2 {
			d.keyProblem(at, "one device can be planned so far", "give every device a plan file of its own")
		}
		if seen > 1 {
			return
		}
		var name labelValue
		var link linkValue
		var calibration pathValue
		var clock runtimeValue
		keys := []key{
			{name: "name", into: &name, required: true},
			{name: "link", into: &link, required: true, meant: []string{"bus", "usb"}},
			{name: "calibration", into: &calibration, meant: []string{"calibrated", "profile"}},
			{name: "runtime", into: &clock, meant: []string{"clock", "libedgetpu", "frequency"}},
		}
		if table, ok := raw.(map[string]any); ok {
			if settings, ok := table["link"].(map[string]any); ok {
				keys[1].into = nil
				d.link(extend(at, "link"), settings, &link)
			}
		}
		good := d.table(at, raw, keys)
		device := Device{Name: string(name), Link: cost.Link(link), Calibration: string(calibration)}
		if good["runtime"] && clock != "" {
			device.Runtime = string(clock)
			if device.Link.PCIe() {
				d.problems = append(d.problems, d.atValue(extend(at, "runtime"), "runtime means nothing for a PCIe device: its clock is the same with both", "leave it out"))
			}
			device.Link, _ = device.Link.Runtime(device.Runtime) // it was checked as it was read
		}
		p.Devices = append(p.Devices, device)
	})
	if seen == 0 && raw == nil {
		d.keyProblem(nil, "the plan has no [[device]]", `add [[device]] with name = "tpu0" and link = "usb3"`)
	}
}

// link reads the table form of a link.
func (d *decoder) link(at []any, raw map[string]any, link *linkValue) {
	var speed speedValue
	overhead := durationValue(cost.DefaultOverheadMS)
	d.table(at, raw, []key{
		{name: "mb_per_s", into: &speed, required: true, meant: []string{"mbps", "bandwidth", "speed"}},
		{name: "overhead", into: &overhead},
	})
	// 1 MB/s is 10^6 bytes in 1000 ms.
	*link = linkValue(cost.CustomLink(float64(speed)*1000, float64(overhead)))
}

// draft is a model while it is read: which of its keys can be relied on.
type draft struct {
	at    []any
	model Model
	good  map[string]bool
	given func(key string) bool
}

func (d *decoder) models(p *Plan, raw any) {
	var drafts []draft
	d.tables("model", raw, func(at []any, raw any) {
		var (
			name      nameValue
			file      modelFile
			rate      rateValue
			weight    weightValue
			group     labelValue
			before    namesValue
			available sizeValue
			steady    measuredTime
			cold      measuredTime
			log       pathValue
			compiled  pathValue
		)
		good := d.table(at, raw, []key{
			{name: "name", into: &name, required: true},
			{name: "file", into: &file, required: true, meant: []string{"path"}},
			{name: "rate", into: &rate, meant: []string{"frequency", "calls", "fps"}},
			{name: "weight", into: &weight},
			{name: "group", into: &group},
			{name: "order_before", into: &before, meant: []string{"before"}},
			{name: "available", into: &available},
			{name: "steady", into: &steady, meant: []string{"warm"}},
			{name: "cold", into: &cold},
			{name: "deadline", refused: laterDeadline},
			{name: "segments", refused: laterSegments},
			{name: "log", into: &log},
			{name: "compiled", into: &compiled},
			{name: "device", refused: laterDevice},
		})
		m := Model{Name: string(name), File: string(file.pathValue), OrderBefore: before}
		if good["rate"] {
			m.Calls, m.CallsText = rate.perSecond, rate.text
		} else if good["weight"] {
			m.Calls, m.CallsText = float64(weight), fmt.Sprint(float64(weight))
		}
		if good["group"] {
			m.Group = string(group)
		}
		if good["available"] {
			size := report.Size(available)
			m.Available = &size
		}
		if good["steady"] {
			ms := float64(steady.durationValue)
			m.SteadyMS = &ms
		}
		if good["cold"] {
			ms := float64(cold.durationValue)
			m.ColdMS = &ms
		}
		if good["log"] {
			m.Log = string(log)
		}
		if good["compiled"] {
			m.Compiled = string(compiled)
		}
		table, _ := raw.(map[string]any)
		drafts = append(drafts, draft{at: at, model: m, good: good, given: func(key string) bool { _, ok := table[key]; return ok }})
	})
	if len(drafts) == 0 && (raw == nil || len(d.problems) == 0) {
		d.keyProblem(nil, "the plan has no [[model]]", "add [[model]] with name, file and rate for every model")
	}
	d.checkNames(drafts)
	d.checkFiles(p, drafts)
	d.checkCalls(p, drafts)
	d.checkGroups(p, drafts)
	d.checkOrder(drafts)
	d.checkEvidence(drafts)
	for _, draft := range drafts {
		p.Models = append(p.Models, draft.model)
	}
}

func (d *decoder) checkNames(drafts []draft) {
	first := map[string]int{}
	for _, m := range drafts {
		if !m.good["name"] {
			continue
		}
		at := extend(m.at, "name")
		if line, taken := first[m.model.Name]; taken {
			d.valueProblem(at, fmt.Sprintf("a second model is called %s", quote(m.model.Name)), fmt.Sprintf("the first is in line %d; names are unique", line))
			continue
		}
		first[m.model.Name] = d.atValue(at, "", "").Line
	}
}

func (d *decoder) checkFiles(p *Plan, drafts []draft) {
	first := map[string]draft{}
	for _, m := range drafts {
		if !m.good["file"] {
			continue
		}
		at := extend(m.at, "file")
		output := compile.OutputName(m.model.File)
		if other, taken := first[output]; taken {
			d.valueProblem(at, fmt.Sprintf("%s and %s would both be compiled to %s", quote(other.model.File), quote(m.model.File), quote(output)), "rename one of the files")
			continue
		}
		first[output] = m
		if path.IsAbs(m.model.File) {
			p.warn(at, fmt.Sprintf("%s is an absolute path: the lock and the build files are not portable", quote(m.model.File)), "paths are relative to the plan's folder")
		}
	}
	for _, m := range drafts {
		if m.good["file"] && path.Clean(p.Compiler.OutDir) == path.Dir(m.model.File) {
			if other, taken := first[path.Base(m.model.File)]; taken {
				d.valueProblem(extend(m.at, "file"), fmt.Sprintf("compiling %s would overwrite %s", quote(other.model.File), quote(m.model.File)), "change out_dir or rename the file")
			}
		}
	}
}

func (d *decoder) checkCalls(p *Plan, drafts []draft) {
	kind := ""
	var total float64
	var most *draft // the model with the most calls
	for i, m := range drafts {
		rate, weight := m.given("rate"), m.given("weight")
		mine := "rate"
		if weight {
			mine = "weight"
		}
		switch {
		case m.good == nil: // not a table
		case rate && weight:
			d.keyProblem(extend(m.at, "weight"), "a model has a rate or a weight, not both", "")
		case !rate && !weight:
			d.keyProblem(m.at, "[[model]] has neither rate nor weight", `add rate = "10/s"`)
		case kind == "":
			kind = mine
		case kind != mine:
			d.keyProblem(extend(m.at, mine), fmt.Sprintf("this model has a %s, the ones before it a %s", mine, kind), "give all models the one or all the other")
		}
		if total += m.model.Calls; most == nil || m.model.Calls > most.model.Calls {
			most = &drafts[i]
		}
	}
	if total > maxCalls && len(d.problems) == 0 {
		d.valueProblem(extend(most.at, kind), kind+": too large; only the proportion of all calls matters", "")
	}
	p.ByRate = kind == "rate"
}

// maxCalls keeps shares, which are quotients of sums, finite and meaningful.
const maxCalls = 1e200

func (d *decoder) checkGroups(p *Plan, drafts []draft) {
	for _, device := range p.Devices {
		// Groups without a label are numbered by the planner, DEVICE-1 and so on.
		automatic := regexp.MustCompile(`^` + regexp.QuoteMeta(device.Name) + `-[0-9]+$`)
		for _, m := range drafts {
			if m.model.Group != "" && automatic.MatchString(m.model.Group) {
				d.valueProblem(extend(m.at, "group"), fmt.Sprintf("the label %s looks like a group that tpuplan names itself", quote(m.model.Group)), "choose another label")
			}
		}
	}
}

func (d *decoder) checkEvidence(drafts []draft) {
	for _, m := range drafts {
		if m.good["compiled"] && m.good["file"] && m.model.Compiled == m.model.File {
			d.valueProblem(extend(m.at, "compiled"), "compiled is the model itself", "file is the uncompiled model, compiled what edgetpu_compiler made of it alone")
		}
		cold := extend(m.at, "cold")
		switch {
		case !m.good["cold"]:
		case !m.given("steady"):
			d.keyProblem(cold, "cold is given without steady", "the difference of the two is what loading costs; add steady")
		case m.good["steady"] && *m.model.ColdMS <= *m.model.SteadyMS:
			d.valueProblem(cold, "cold is not longer than steady, but a cold call loads parameters first", "steady is the warm call of the model compiled alone, cold its first call")
		}
	}
}

// checkOrder checks the order pins: every name is a model, and no group can be
// asked for an order that goes round.
func (d *decoder) checkOrder(drafts []draft) {
	index := map[string]int{}
	for i, m := range drafts {
		if _, taken := index[m.model.Name]; m.good["name"] && !taken {
			index[m.model.Name] = i
		}
	}
	// after[i] lists what model i has to precede, in the order of the file.
	after := make([][]pin, len(drafts))
	for i, m := range drafts {
		if !m.good["order_before"] {
			continue
		}
		for k, name := range m.model.OrderBefore {
			at := extend(extend(m.at, "order_before"), k)
			j, known := index[name]
			switch {
			case !known:
				d.valueProblem(at, fmt.Sprintf("no model is called %s", quote(name)), nearestName(name, drafts))
			case j == i:
				d.valueProblem(at, "a model cannot come before itself", "")
			default:
				after[i] = append(after[i], pin{j, at})
			}
		}
	}
	reported := map[string]bool{}
	for _, label := range labels(drafts) {
		together := func(i int) bool { return drafts[i].model.Group == "" || drafts[i].model.Group == label }
		cycle := findCycle(after, together)
		if cycle == nil {
			continue
		}
		names := make([]string, len(cycle))
		for k, p := range cycle {
			names[k] = drafts[p.to].model.Name
		}
		text := strings.Join(append(names, names[0]), " -> ")
		if !reported[text] {
			reported[text] = true
			d.valueProblem(cycle[0].at, "order_before goes round: "+text, "remove one of the pins")
		}
	}
}

// labels are the group labels in use, sorted, after "" for models without one.
func labels(drafts []draft) []string {
	all := []string{""}
	for _, m := range drafts {
		all = append(all, m.model.Group)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// pin is one entry of order_before: the model that comes later, and the place.
type pin struct {
	to int
	at []any
}

// findCycle returns the pins of a cycle among the models that pass the filter,
// or nil. Pin k leads to the model that pin k+1 starts from; the first one
// leads to the lowest model of the cycle.
func findCycle(after [][]pin, together func(int) bool) []pin {
	const (
		unseen = iota
		open
		done
	)
	state := make([]int, len(after))
	var trail []pin
	var visit func(i int) []pin
	visit = func(i int) []pin {
		state[i] = open
		for _, p := range after[i] {
			if !together(p.to) || state[p.to] == done {
				continue
			}
			trail = append(trail, p)
			if state[p.to] == open {
				// The trail ends with the pin that closes the cycle; its start
				// is the pin after the one that led to p.to before.
				begin := len(trail) - 1
				for begin > 0 && trail[begin-1].to != p.to {
					begin--
				}
				return slices.Clone(trail[begin:])
			}
			if cycle := visit(p.to); cycle != nil {
				return cycle
			}
			trail = trail[:len(trail)-1]
		}
		state[i] = done
		return nil
	}
	for i := range after {
		if !together(i) || state[i] != unseen {
			continue
		}
		trail = trail[:0]
		if cycle := visit(i); cycle != nil {
			lowest := 0
			for k := range cycle {
				if cycle[k].to < cycle[lowest].to {
					lowest = k
				}
			}
			return append(slices.Clone(cycle[lowest:]), cycle[:lowest]...)
		}
	}
	return nil
}

func nearestName(name string, drafts []draft) string {
	best, bestDistance := "", slips(name)+1
	for _, m := range drafts {
		if n := Distance(name, m.model.Name); m.good["name"] && n < bestDistance {
			best, bestDistance = m.model.Name, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// slips is how many mistakes a word may hold and still be taken for another
// one; not so many that nothing of it would be left.
func slips(word string) int {
	letters := utf8.RuneCountInString(word)
	return min(max(2, letters/3), letters-1)
}
