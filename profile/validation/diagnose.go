package validation

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// What the rules take for more than chance and rounding. A call measured again
// on real hardware agrees to some 1.6 %.
const (
	leastShare   = 0.02 // of a time
	leastMS      = 0.02
	leastOff     = 0.05  // by which a rate is off that is worth a word
	sameShare    = 0.25  // two estimates of one quantity agree
	oneFactor    = 0.10  // rates of several models are the same
	enoughWeight = 0.75  // of what was loaded follows one factor
	leastValues  = 3     // of a class, for an estimate
	streamLeast  = 65536 // bytes by which two splits have to differ
	warmerC      = 5     // between the halves of a run
	hotC         = 85    // where Edge TPUs begin to slow down
)

// diagnose looks for what is not as predicted, the particular before the general:
// a call that loads although it should not must not be taken for a slow link.
func (c *check) diagnose() {
	c.outputs()
	c.splits()
	c.tokens()
	strange, calls := c.misplaced()
	if !c.drift(strange) { // else what single calls take says nothing
		c.result.Findings = append(c.result.Findings, calls...)
		c.structure(strange)
	}
	for _, p := range c.result.Pairs {
		if p.Verdict == Disagrees {
			c.found(Finding{
				Kind: Rank, Arrangements: []string{p.A, p.B}, Fails: true,
				Text:     fmt.Sprintf("%s was predicted to take %s per call than %s, and takes %s", p.A, moreOrLess(p.PredictedMS), p.B, moreOrLess(p.MeasuredMS)),
				Evidence: map[string]float64{"predicted_difference_ms": p.PredictedMS, "measured_difference_ms": p.MeasuredMS},
			})
		}
	}
	c.outsiders()
}

func (c *check) found(f Finding) { c.result.Findings = append(c.result.Findings, f) }

// outputs compares hashes: the same input gives the same output in any company.
func (c *check) outputs() {
	for m := range c.Models {
		type variety struct {
			in     []string       // arrangements that gave several outputs
			counts map[string]int // of each output, in all
		}
		all := variety{counts: map[string]int{}}
		per := map[string]map[string]int{}
		var names []string
		for _, x := range c.seen {
			counts := map[string]int{}
			for _, pass := range x.passes {
				for _, o := range pass {
					if x.predicted[o.call].model == m && o.Outputs != "" {
						counts[o.Outputs]++
						all.counts[o.Outputs]++
					}
				}
			}
			if len(counts) > 1 {
				all.in = append(all.in, x.Name)
			}
			if len(counts) > 0 {
				names = append(names, x.Name)
				per[x.Name] = counts
			}
		}
		if len(all.counts) <= 1 {
			continue
		}
		usual, most, calls := "", 0, 0
		for hash, n := range all.counts {
			calls += n
			if n > most || n == most && hash < usual {
				usual, most = hash, n
			}
		}
		f := Finding{Kind: CorruptOutput, Model: c.Models[m].Name, Fails: true, Evidence: map[string]float64{
			"calls": float64(calls), "different_calls": float64(calls - most), "different_outputs": float64(len(all.counts)),
		}}
		for _, name := range names {
			if len(per[name]) > 1 || per[name][usual] == 0 {
				f.Arrangements = append(f.Arrangements, name)
			}
		}
		how := fmt.Sprintf("with the same input it gives other outputs under %s than under %s", join(f.Arrangements), join(without(names, f.Arrangements)))
		if len(all.in) > 0 {
			how = fmt.Sprintf("with the same input it does not always give the same outputs under %s", join(all.in))
			f.Arrangements = all.in
		}
		f.Text = fmt.Sprintf("%s: %s: %d of %d calls differ from the rest", f.Model, how, calls-most, calls)
		c.found(f)
	}
}

// splits compares the files with what was predicted for them.
func (c *check) splits() {
	for k := range c.Arrangements {
		a := &c.Arrangements[k]
		if a.Files == nil || a.Planned == nil || a.Same != "" {
			continue
		}
		for m, f := range a.Files {
			p := a.Planned[m]
			if f.Split == p {
				continue
			}
			name := c.Models[m].Name
			c.found(Finding{
				Kind: WrongSplit, Model: name, Arrangements: []string{a.Name}, Fails: k == 0,
				Text: fmt.Sprintf("%s: %s has %d bytes cached and %d streamed, predicted were %d and %d", name, f.Path, f.Split.Cached, f.Split.Streamed, p.Cached, p.Streamed),
				Evidence: map[string]float64{
					"cached_bytes": float64(f.Split.Cached), "streamed_bytes": float64(f.Split.Streamed),
					"predicted_cached_bytes": float64(p.Cached), "predicted_streamed_bytes": float64(p.Streamed),
				},
			})
		}
	}
}

// tokens checks that files were compiled together which should have been, and no others.
func (c *check) tokens() {
	for k := range c.Arrangements {
		a := &c.Arrangements[k]
		if a.Files == nil || a.Same != "" {
			continue
		}
		group := map[int]int{}
		for g, members := range a.Groups {
			for _, m := range members {
				group[m] = g
			}
		}
		token := func(m int) uint64 { return a.Files[m].Tokens[0] }
		for m := range a.Files {
			name := c.Models[m].Name
			say := func(format string, args ...any) {
				c.found(Finding{
					Kind: WrongToken, Model: name, Arrangements: []string{a.Name}, Fails: true,
					Text:     name + ": " + a.Files[m].Path + " " + fmt.Sprintf(format, args...),
					Evidence: map[string]float64{"tokens": float64(len(a.Files[m].Tokens))},
				})
			}
			if n := len(a.Files[m].Tokens); n > 1 {
				say("holds packages of %d runs of the compiler", n)
				continue
			}
			var strangers, mates, lost []string
			for other := range a.Files {
				switch same := token(other) == token(m) && token(m) != 0; {
				case other == m:
				case same && group[other] != group[m]:
					strangers = append(strangers, c.Models[other].Name)
				case same:
					mates = append(mates, c.Models[other].Name)
				case group[other] == group[m]:
					lost = append(lost, c.Models[other].Name)
				}
			}
			switch {
			case len(strangers) > 0:
				say("was compiled together with %s, which belong to other groups", join(strangers))
			case len(lost) > len(mates): // of a broken group, what is not in its largest part
				say("was not compiled together with %s: they displace each other", join(lost))
			}
		}
	}
}

// drift looks for runs whose later half is slower than the earlier one, and for
// a device that is hot. It reports that times are not to be trusted.
func (c *check) drift(strange apart) (hot bool) {
	var changes, warmer, slower, temperatures []float64
	for _, x := range c.seen {
		level := map[int]float64{} // what a call of a kind takes, by the first call of its class
		of := map[int]int{}
		for _, u := range x.units {
			for _, k := range []*class{&u.warm, &u.load} {
				if len(k.calls) == 0 {
					continue
				}
				if means := strange.means(k); len(means) > 0 {
					level[k.calls[0]] = mean(means)
				}
				for _, call := range k.calls {
					of[call] = k.calls[0]
				}
			}
		}
		odd := strange.calls(x)
		for p, pass := range x.passes {
			half := len(pass) / 2
			ratios := func(list []observation) (values []float64) {
				for _, o := range list {
					if l := level[of[o.call]]; l > 0 && !odd[[2]int{p, o.call}] {
						values = append(values, o.MS/l)
					}
				}
				return values
			}
			early, late := ratios(pass[:half]), ratios(pass[half:])
			if min(len(early), len(late)) < 2*leastValues {
				continue
			}
			changes = append(changes, median(late)/median(early)-1)
			t := func(o observation) *float64 { return o.TemperatureC }
			mhz := func(o observation) *float64 { return o.ClockMHz }
			if a, b := known(pass[:half], t), known(pass[half:], t); len(a) > 0 && len(b) > 0 {
				warmer = append(warmer, mean(b)-mean(a))
				temperatures = append(temperatures, mean(append(a, b...)))
			}
			if a, b := known(pass[:half], mhz), known(pass[half:], mhz); len(a) > 0 && len(b) > 0 {
				slower = append(slower, 1-mean(b)/mean(a))
			}
		}
	}
	if len(changes) < leastPasses {
		return false
	}
	change, ci := mean(changes), interval(changes)
	sure := math.Abs(change) > leastShare && (ci.Low > 0 || ci.High < 0)
	heat := len(warmer) > 0 && mean(warmer) >= warmerC
	throttled := len(slower) > 0 && mean(slower) > leastShare
	hotter := 0.0
	if len(temperatures) > 0 {
		hotter = slices.Max(temperatures)
	}
	evidence := map[string]float64{"change": change}
	if len(temperatures) > 0 {
		evidence["temperature_c"] = hotter
	}
	total := c.result.Arrangements[0]
	for _, o := range c.result.Arrangements {
		if o.Measured {
			total = o
			break
		}
	}
	switch {
	case sure && change > 0 && (heat || throttled):
		why := fmt.Sprintf("the device gets warmer by %.0f °C", mean(warmer))
		if throttled {
			why = fmt.Sprintf("its clock slows down by %.0f %%", 100*mean(slower))
		}
		c.found(Finding{
			Kind: Throttled, Fails: true, Evidence: evidence,
			Text: fmt.Sprintf("the later half of a run takes %.0f %% longer, and %s: the device throttles; cool it, and validate again", 100*change, why),
		})
		return true
	case hotter >= hotC && total.Outside && total.Error() < 0:
		c.found(Finding{
			Kind: Throttled, Fails: true, Evidence: evidence,
			Text: fmt.Sprintf("calls take longer than predicted on a device of %.0f °C, which throttles: cool it, and validate again", hotter),
		})
		return true
	case sure:
		c.found(Finding{
			Kind: Drifted, Evidence: evidence,
			Text: fmt.Sprintf("the later half of a run takes %+.0f %% of time: something else changes while the device is measured", 100*change),
		})
	}
	return false
}

// known are the values that samples have.
func known(list []observation, of func(observation) *float64) (values []float64) {
	for _, o := range list {
		if v := of(o); v != nil {
			values = append(values, *v)
		}
	}
	return values
}

// apart says which values of a class are not of its kind.
type apart map[*class]map[int]bool // by number among all values of the class

// means are those of a class's passes without what is not of its kind.
func (a apart) means(k *class) (list []float64) {
	n := 0
	for _, pass := range k.passes {
		var own []float64
		for _, v := range pass {
			if !a[k][n] {
				own = append(own, v)
			}
			n++
		}
		if len(own) > 0 {
			list = append(list, trimmed(own))
		}
	}
	return list
}

// calls are the calls of an arrangement that are not of their kind, by pass and call.
func (a apart) calls(x *arranged) map[[2]int]bool {
	all := map[[2]int]bool{}
	for _, u := range x.units {
		for _, k := range []*class{&u.warm, &u.load} {
			for n := range a[k] {
				all[[2]int{n / len(k.calls), k.calls[n%len(k.calls)]}] = true
			}
		}
	}
	return all
}

// loadMS is what a load of a unit was predicted to take.
func (c *check) loadMS(u *unit) float64 {
	if len(u.load.calls) == 0 {
		return c.Models[u.model].Call.Load(u.file.Split.Cached)
	}
	sum := 0.0
	for _, call := range u.load.calls {
		sum += u.in.predicted[call].loadMS
	}
	return sum / float64(len(u.load.calls))
}

// base is what a warm call of a unit takes: predicted if it has none. Most of
// them may load, if a stranger is about.
func (c *check) base(u *unit) float64 {
	if values := u.warm.all(); len(values) > 0 {
		return quantile(values, 0.2)
	}
	return u.load.predictedMS + c.compute[u.model] - c.loadMS(u)
}

// misplaced looks for single calls that load although they should find their
// parameters, and for calls that should load and do not.
func (c *check) misplaced() (apart, []Finding) {
	s := c.speed()
	strange := apart{}
	var findings []Finding
	for _, x := range c.seen {
		for _, u := range x.units {
			load, base := s*c.loadMS(u), c.base(u)
			spread := 0.0
			if warm := u.warm.all(); len(warm) > 0 {
				spread = 2 * (base - quantile(warm, 0.05))
			}
			if load <= 5*max(spread, 0.01*base) || load < 10*leastMS {
				continue // a load could not be told from chance
			}
			for _, f := range []*Finding{c.evicted(u, base, load, strange), c.skipped(u, base, load, strange)} {
				if f != nil {
					findings = append(findings, *f)
				}
			}
		}
	}
	return strange, findings
}

// speed is how many times as long as predicted loads take: 1 if they do not
// agree about anything else.
func (c *check) speed() float64 {
	var list []weighted
	for _, x := range c.seen {
		for _, u := range x.units {
			if pl := c.loadMS(u); len(u.load.calls) > 0 && pl > 0 {
				list = append(list, weighted{(median(u.load.all()) - c.base(u)) / pl, pl})
			}
		}
	}
	if len(list) == 0 {
		return 1
	}
	s := weightedMedian(list)
	// Where all loads are skipped they take nothing, and no two nothings agree.
	if s > 0.5 || s > 0.01 && near(list, s, sameShare) >= enoughWeight {
		return s
	}
	return 1
}

// What a warm call that loads takes more, in times of a load.
const leastLoad, mostLoad = 0.75, 1.3

// evicted finds warm calls that take as long as a load more.
func (c *check) evicted(u *unit, base, load float64, strange apart) *Finding {
	values := u.warm.all()
	if len(values) == 0 {
		return nil
	}
	least, most := base+leastLoad*load, base+mostLoad*load
	every := ""
	if usual := u.warm.predictedMS + c.compute[u.model]; len(u.load.calls) > 0 && base > usual+leastLoad*load && base < usual+mostLoad*load && median(u.load.all())-base < sameShare*load {
		least, most = usual+leastLoad*load, usual+mostLoad*load
		every = ", or nothing of it stays on the device, whatever its file says"
	}
	slow, hits := 0, map[int]bool{}
	for n, v := range values {
		if v > least-0.4*load {
			slow++
		}
		if v > least && v < most {
			hits[n] = true
		}
	}
	if len(hits) < max(3, len(values)/50) || 5*len(hits) < 3*slow {
		return nil
	}
	strange[&u.warm] = hits
	text := fmt.Sprintf("%s: under %s %d of %d calls load that should find their parameters, and take %.3g ms more", u.name, u.in.Name, len(hits), len(values), load)
	if culprit := c.culprit(u, hits); culprit != "" {
		text += ": those after a call of " + culprit
	} else {
		text += ": something else uses the device, or it is reset in between" + every
	}
	return &Finding{
		Kind: Evicted, Model: u.name, Arrangements: []string{u.in.Name}, Text: text, Fails: true,
		Evidence: map[string]float64{"calls": float64(len(values)), "evicted_calls": float64(len(hits)), "load_ms": load},
	}
}

// skipped finds calls that should load and take no longer than those that do not.
func (c *check) skipped(u *unit, base, load float64, strange apart) *Finding {
	if len(strange[&u.warm]) == len(u.warm.all()) && len(u.warm.calls) > 0 {
		return nil // there is no warm call to compare with
	}
	values := u.load.all()
	hits := map[int]bool{}
	for n, v := range values {
		if v < base+0.25*load {
			hits[n] = true
		}
	}
	if len(hits) == 0 || len(hits) < len(values)/100 {
		return nil
	}
	strange[&u.load] = hits
	return &Finding{
		Kind: SkippedLoad, Model: u.name, Arrangements: []string{u.in.Name}, Fails: true,
		Text:     fmt.Sprintf("%s: under %s %d of %d calls that should load do not: they are flattered by %.3g ms, and their outputs may be another model's", u.name, u.in.Name, len(hits), len(values), load),
		Evidence: map[string]float64{"calls": float64(len(values)), "skipped_calls": float64(len(hits)), "load_ms": load},
	}
}

// culprit is the model after whose calls, and only after them, calls of a unit load.
func (c *check) culprit(u *unit, hits map[int]bool) string {
	calls := c.calls()
	last := map[int]int{} // call of this unit before each call
	before := -1
	for i, m := range calls {
		if m == u.model {
			last[i] = before
			before = i
		}
	}
	best, name := 0.8, ""
	for other := range c.Models {
		if other == u.model {
			continue
		}
		var with, withHit, not, notHit float64
		n := 0
		for range u.warm.passes {
			for _, call := range u.warm.calls {
				hit := 0.0
				if hits[n] {
					hit = 1
				}
				n++
				if slices.Contains(calls[last[call]+1:call], other) {
					with++
					withHit += hit
				} else {
					not++
					notHit += hit
				}
			}
		}
		if with == 0 || not == 0 {
			continue
		}
		if difference := withHit/with - notHit/not; difference > best {
			best, name = difference, c.Models[other].Name
		}
	}
	return name
}

// state is a unit with what was seen of it, in ms.
type state struct {
	*unit
	warm, load   []float64 // pass by pass
	more         float64   // of a warm call over its prediction
	loads        float64   // what a load takes
	predicted    float64   // and was predicted to take
	transfer     float64   // of that for the bytes
	rate         float64   // predicted, bytes per ms
	noise        float64
	wrongSplit   bool
	knowsCompute bool
}

// structure compares means: of warm calls, and of loads.
func (c *check) structure(strange apart) {
	var states []*state
	for _, x := range c.seen {
		for _, u := range x.units {
			if s := c.state(u, strange); s != nil {
				states = append(states, s)
			}
		}
	}
	c.movedBytes(states)
	c.loads(states)
	c.streams(states)
}

func (c *check) state(u *unit, strange apart) *state {
	call := &c.Models[u.model].Call
	s := &state{unit: u, rate: call.BytesPerMS, predicted: c.loadMS(u), knowsCompute: call.ComputeIncluded, more: math.NaN(), loads: math.NaN()}
	s.warm, s.load = strange.means(&u.warm), strange.means(&u.load)
	s.transfer = s.predicted - call.OverheadMS + call.OverlapMS
	if len(s.warm) == 0 || len(u.warm.all()) < leastValues {
		return nil
	}
	w := mean(s.warm)
	s.more = w - u.warm.predictedMS - c.compute[u.model]
	s.noise = max(leastMS, leastShare*w/2)
	if ci := interval(s.warm); ci != nil {
		s.noise += ci.half()
	}
	if len(s.load) > 0 && len(u.load.all()) >= leastValues && s.transfer > 0 {
		s.loads = mean(s.load) - w
		if ci := interval(s.load); ci != nil {
			s.noise += ci.half()
		}
	}
	return s
}

// movedBytes finds models of which less is cached than their files say: as
// much as a load is shorter every warm call is longer.
func (c *check) movedBytes(states []*state) {
	at := map[int]int{} // finding of a model
	for _, s := range states {
		if !s.knowsCompute || math.IsNaN(s.loads) {
			continue
		}
		shorter := s.predicted - s.loads
		moved := (s.more + shorter) / 2
		if s.more < 2*s.noise || shorter < 2*s.noise || moved < leastShare*s.predicted || math.Abs(s.more-shorter) > 2*sameShare*moved {
			continue
		}
		s.wrongSplit = true
		if i, known := at[s.model]; known {
			f := &c.result.Findings[i]
			f.Arrangements = append(f.Arrangements, s.in.Name)
			continue
		}
		at[s.model] = len(c.result.Findings)
		bytes := moved * s.rate
		c.found(Finding{
			Kind: WrongSplit, Model: s.name, Arrangements: []string{s.in.Name}, Fails: true,
			Text: fmt.Sprintf("%s: under %s warm calls take %.3g ms longer and loads %.3g ms less than the split of %s gives: about %s of %d cached bytes are sent in every call instead",
				s.name, s.in.Name, s.more, shorter, s.file.Path, share(bytes, s.file.Split.Cached), s.file.Split.Cached),
			Evidence: map[string]float64{"warm_more_ms": s.more, "load_less_ms": shorter, "moved_bytes": math.Round(bytes), "cached_bytes": float64(s.file.Split.Cached)},
		})
	}
	for _, s := range states { // of which nothing loads there, or too seldom to tell
		if !s.knowsCompute || !math.IsNaN(s.loads) || s.more < 2*s.noise {
			continue
		}
		i, known := at[s.model]
		cold, elsewhere := c.coldMore(s.model)
		switch {
		case known:
			c.result.Findings[i].Arrangements = append(c.result.Findings[i].Arrangements, s.in.Name)
		case elsewhere != "" && math.Abs(cold) <= sameShare*s.more && s.file.Split.Streamed < streamLeast: // else streaming may be slow
			at[s.model] = len(c.result.Findings)
			bytes := s.more * s.rate
			c.found(Finding{
				Kind: WrongSplit, Model: s.name, Arrangements: []string{s.in.Name}, Fails: true,
				Text: fmt.Sprintf("%s: under %s warm calls take %.3g ms longer than the split of %s gives, and calls that load, under %s, do not: about %s of %d cached bytes are sent in every call instead",
					s.name, s.in.Name, s.more, s.file.Path, elsewhere, share(bytes, s.file.Split.Cached), s.file.Split.Cached),
				Evidence: map[string]float64{"warm_more_ms": s.more, "cold_more_ms": cold, "moved_bytes": math.Round(bytes), "cached_bytes": float64(s.file.Split.Cached)},
			})
		default:
			continue
		}
		s.wrongSplit = true
	}
}

// coldMore is how much longer than predicted calls of a model take that load,
// and the arrangement under which that is least; "" if none loads.
func (c *check) coldMore(m int) (more float64, in string) {
	for _, x := range c.seen {
		for _, u := range x.units {
			if u.model != m || len(u.load.all()) < leastValues {
				continue
			}
			if d := u.load.ms() - u.load.predictedMS - c.compute[m]; in == "" || math.Abs(d) < math.Abs(more) {
				more, in = d, x.Name
			}
		}
	}
	return more, in
}

// loads compares what loads take with their prediction: one rate that is
// another one, or a time that each takes besides.
func (c *check) loads(states []*state) {
	var rates []weighted // measured rate over predicted, by what is loaded
	var more []weighted
	models := map[int]bool{}
	ambiguous := false
	var off []float64
	for _, s := range states {
		if math.IsNaN(s.loads) || s.wrongSplit {
			continue
		}
		besides := s.predicted - s.transfer
		if s.loads-besides <= 0 {
			continue
		}
		rates = append(rates, weighted{s.transfer / (s.loads - besides), s.transfer})
		more = append(more, weighted{s.loads - s.predicted, s.transfer})
		off = append(off, s.noise/s.transfer)
		models[s.model] = true
		ambiguous = ambiguous || !s.knowsCompute
	}
	if len(rates) == 0 {
		return
	}
	factor, extra := weightedMedian(rates), weightedMedian(more)
	link := c.commonRate(states)
	c.result.Rate = &Rate{BytesPerMS: factor * link, Predicted: link, Models: len(models), CI: c.rateInterval(states, link)}
	noise := max(leastOff, quantile(off, 0.5))
	one := near(rates, factor, max(oneFactor, noise)) >= enoughWeight
	// By which of the two are the loads explained better?
	byRate, byTime := 0.0, 0.0
	for _, s := range states {
		if math.IsNaN(s.loads) || s.wrongSplit {
			continue
		}
		byRate += math.Abs(s.loads - (s.predicted - s.transfer) - s.transfer/factor)
		byTime += math.Abs(s.loads - s.predicted - extra)
	}
	switch {
	case math.Abs(factor-1) > noise && one && byRate <= byTime:
		text := fmt.Sprintf("all loads go at %.3g times the predicted rate: %.4g MB/s fits, predicted were %.4g MB/s", factor, factor*link/1000, link/1000)
		if ambiguous && factor > 1 {
			text += "; while compute is not known, a smaller cached part would look the same: tpuplan profile and calibrate tell them apart"
		}
		c.found(Finding{
			Kind: WrongBandwidth, Text: text, Arrangements: namesOf(c.seen), Fails: math.Abs(factor-1) > c.Tolerance,
			Evidence: map[string]float64{"factor": factor, "fitted_mb_per_s": factor * link / 1000, "predicted_mb_per_s": link / 1000, "models": float64(len(models))},
		})
	case byTime < byRate && math.Abs(extra) > max(5*leastMS, noise*weightedMedian(weights(states))):
		c.found(Finding{
			Kind: WrongOverhead, Arrangements: namesOf(c.seen),
			Text:     fmt.Sprintf("every load takes %s than predicted, however large it is", moreOrLess(extra)),
			Evidence: map[string]float64{"more_ms": extra, "models": float64(len(models))},
		})
	}
}

func weights(states []*state) (list []weighted) {
	for _, s := range states {
		if !math.IsNaN(s.loads) {
			list = append(list, weighted{s.transfer, s.transfer})
		}
	}
	return list
}

// commonRate is the predicted rate: models may have one of their own.
func (c *check) commonRate(states []*state) float64 {
	var rates []weighted
	for _, s := range states {
		if !math.IsNaN(s.loads) {
			rates = append(rates, weighted{s.rate, s.transfer})
		}
	}
	return weightedMedian(rates)
}

// rateInterval is the interval of the rate, from passes.
func (c *check) rateInterval(states []*state, link float64) *Interval {
	var values []float64
	for pass := range c.result.Passes {
		var rates []weighted
		for _, s := range states {
			if math.IsNaN(s.loads) || s.wrongSplit || pass >= len(s.warm) || pass >= len(s.load) {
				continue
			}
			if takes := s.load[pass] - s.warm[pass] - (s.predicted - s.transfer); takes > 0 {
				rates = append(rates, weighted{s.transfer / takes, s.transfer})
			}
		}
		if len(rates) > 0 {
			values = append(values, weightedMedian(rates)*link)
		}
	}
	return interval(values)
}

// streams compares warm calls of one model under arrangements that stream
// different parts of it, and then what is left of warm calls.
func (c *check) streams(states []*state) {
	factor := 1.0 // transfer times, measured over predicted
	if r := c.result.Rate; r != nil && r.BytesPerMS > 0 {
		factor = r.Predicted / r.BytesPerMS
	}
	for m := range c.Models {
		var of []*state
		for _, s := range states {
			if s.model == m && !s.wrongSplit {
				of = append(of, s)
			}
		}
		if len(of) == 0 {
			continue
		}
		low := slices.MinFunc(of, func(a, b *state) int { return int(a.file.Split.Streamed - b.file.Split.Streamed) })
		high := slices.MaxFunc(of, func(a, b *state) int { return int(a.file.Split.Streamed - b.file.Split.Streamed) })
		slope := math.NaN()
		if bytes := high.file.Split.Streamed - low.file.Split.Streamed; bytes >= streamLeast {
			slope = c.slope(low, high, bytes)
		}
		c.leftOver(m, of, slope, factor)
	}
}

// slope records what a streamed byte takes, in transfer times, and says so if it is not what was predicted.
func (c *check) slope(low, high *state, bytes int64) float64 {
	transfer := float64(bytes) / low.rate
	if r := c.result.Rate; r != nil && r.BytesPerMS > 0 {
		transfer = float64(bytes) / r.BytesPerMS
	}
	times := (mean(high.warm) - mean(low.warm)) / transfer
	var passes []float64
	for p := range min(len(low.warm), len(high.warm)) {
		passes = append(passes, (high.warm[p]-low.warm[p])/transfer)
	}
	predicted := (high.file.Streaming(low.rate) - low.file.Streaming(low.rate)) / transfer
	if low.file.StreamMS == nil && high.file.StreamMS == nil {
		predicted = 1 // at whatever rate the link has
	}
	x := Slope{Model: low.name, Times: times, Predicted: predicted, Bytes: bytes, CI: interval(passes)}
	c.result.Slopes = append(c.result.Slopes, x)
	if math.Abs(times-predicted)*transfer > low.noise+high.noise && math.Abs(times-predicted) > sameShare*predicted {
		c.found(Finding{
			Kind: SlowStreaming, Model: low.name, Arrangements: []string{low.in.Name, high.in.Name},
			Text: fmt.Sprintf("%s: a streamed byte takes %.3g times its transfer, predicted was %.3g: %d bytes more, streamed under %s, take %.3g ms",
				low.name, times, predicted, bytes, high.in.Name, mean(high.warm)-mean(low.warm)),
			Evidence: map[string]float64{"times": times, "predicted_times": predicted, "bytes": float64(bytes)},
		})
	}
	return times
}

// leftOver says what of the warm calls of a model neither the link nor streaming explains.
func (c *check) leftOver(m int, of []*state, slope, factor float64) {
	if !of[0].knowsCompute {
		return
	}
	var left []float64
	noise := 0.0
	var names []string
	for _, s := range of {
		streamed := float64(s.file.Split.Streamed) / s.rate
		explained := (factor - 1) * streamed
		if !math.IsNaN(slope) {
			explained = (slope*factor - 1) * streamed
		}
		left = append(left, s.more-explained)
		noise = max(noise, s.noise)
		names = append(names, s.in.Name)
	}
	// It counts only if all arrangements agree: compute does not depend on them.
	least, most := slices.Min(left), slices.Max(left)
	if math.Min(math.Abs(least), math.Abs(most)) <= max(2*noise, leastOff*mean(of[0].warm)) || (least < 0) != (most < 0) || most-least > 2*noise+sameShare*math.Abs(mean(left)) {
		return
	}
	if cold, in := c.coldMore(m); in != "" && cold/mean(left) < 0.5 {
		return // calls that load are as predicted
	}
	name := c.Models[m].Name
	c.found(Finding{
		Kind: WrongCompute, Model: name, Arrangements: names,
		Text:     fmt.Sprintf("%s: every call takes %s than predicted, whether it loads or not: another clock, another runtime or another host than when it was profiled", name, moreOrLess(mean(left))),
		Evidence: map[string]float64{"more_ms": mean(left)},
	})
}

// outsiders names the times that miss their prediction by more than the tolerance.
// Those that a finding of their model or of all is about have a reason already.
func (c *check) outsiders() {
	reason := map[string]bool{}
	for i := range c.result.Findings {
		f := &c.result.Findings[i]
		if f.Kind != CorruptOutput && f.Kind != Drifted {
			reason[f.Model] = true
		}
	}
	for k := range c.result.Arrangements {
		o := &c.result.Arrangements[k]
		if o.Same != "" || !o.Measured {
			continue
		}
		models := false
		for i := range o.Models {
			m := &o.Models[i]
			if !m.Outside {
				continue
			}
			models = true
			text, follows := "", reason[m.Name] || reason[""]
			if !follows {
				text = ", and no rule says why"
			}
			c.found(Finding{
				Kind: OutsideTolerance, Model: m.Name, Arrangements: []string{o.Name}, Fails: true, Follows: follows,
				Text:     fmt.Sprintf("%s: under %s a call takes %.4g ms, predicted were %.4g: %+.0f %%%s", m.Name, o.Name, m.MeasuredMS, m.PredictedMS, 100*m.Error(), text),
				Evidence: map[string]float64{"predicted_ms": m.PredictedMS, "measured_ms": m.MeasuredMS},
			})
		}
		if o.Outside && !models {
			c.found(Finding{
				Kind: OutsideTolerance, Arrangements: []string{o.Name}, Fails: true,
				Text:     fmt.Sprintf("under %s a call takes %.4g ms on average, predicted were %.4g: %+.0f %%", o.Name, o.MeasuredMS, o.PredictedMS, 100*o.Error()),
				Evidence: map[string]float64{"predicted_ms": o.PredictedMS, "measured_ms": o.MeasuredMS},
			})
		}
	}
}

func moreOrLess(ms float64) string {
	if ms < 0 {
		return fmt.Sprintf("%.3g ms less", -ms)
	}
	return fmt.Sprintf("%.3g ms more", ms)
}

func share(bytes float64, of int64) string { return fmt.Sprintf("%.0f %%", 100*bytes/float64(of)) }

func namesOf(list []*arranged) (names []string) {
	for _, x := range list {
		names = append(names, x.Name)
	}
	return names
}

func join(names []string) string {
	switch n := len(names); n {
	case 0:
		return "none"
	case 1:
		return names[0]
	default:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
}

func without(names, those []string) (rest []string) {
	for _, n := range names {
		if !slices.Contains(those, n) {
			rest = append(rest, n)
		}
	}
	return rest
}
