package planner

// Options steer the search. The zero value is the default.
type Options struct {
	// NodeBudget is how many invocations may be placed or extended before the
	// search gives its best plan so far; 0 is DefaultNodeBudget. It is a count
	// and not a time, so that the answer is the same on every machine.
	NodeBudget int64
	// MaxExact is the most models that are planned exactly; 0 is
	// DefaultMaxExact, more than ExactLimit is ExactLimit.
	MaxExact int
	// Workers is how many goroutines may search; 0 is one for each processor.
	// It never changes the answer.
	Workers int
	// Incumbent is a decision, as [Evaluate] takes it, that the search begins
	// with; one that violates a pin is ignored.
	Incumbent [][]int
	// Progress, if it is set, hears of [Stability] how many assumptions are
	// judged: one call at a time, from any goroutine.
	Progress func(done, of int)
	// Off switches pruning rules off. They change the speed of the search, never its answer.
	Off Rules
}

// Rules names the pruning rules of the search.
type Rules struct {
	Lazy      bool // solve a group's order only when the group is part of the best plan under the bounds
	Bound     bool // leave an order when the relaxed cost of the rest cannot beat the best order
	Blind     bool // bound the rest of an order by its best order if tiles did not matter
	FullPool  bool // end an order when no op of the rest fits
	EqualPool bool // leave an order that reached the same tiles with the same models at no lower cost
	Ties      bool // 16.0: try orders only where ops of equal rows stand at the cut
}

// Names of the rules in Certificate.Pruned.
const (
	ruleLazy      = "lazy"
	ruleBound     = "bound"
	ruleFullPool  = "full-pool"
	ruleEqualPool = "equal-pool"
	ruleTies      = "ties"
)

// Limits of the search.
const (
	DefaultNodeBudget = 10_000_000 // up to half a minute
	DefaultMaxExact   = 16
	ExactLimit        = 18    // the partition search takes 3^n steps a round
	maxTieOrders      = 7     // models of a 16.0 group whose orders are all tried where ties at the cut matter
	tieOrderBudget    = 2_000 // orders tried of a larger one
)

func (o Options) nodeBudget() int64 {
	if o.NodeBudget > 0 {
		return o.NodeBudget
	}
	return DefaultNodeBudget
}

func (o Options) maxExact() int {
	if o.MaxExact > 0 {
		return min(o.MaxExact, ExactLimit)
	}
	return DefaultMaxExact
}
