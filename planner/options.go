package planner

// Options steer a search. The zero value is what a user gets.
//
// The rules that can be switched off change how long a search takes and never
// its answer; tests compare all combinations.
type Options struct {
	// NodeBudget ends the search after so many nodes (see Certificate.Nodes);
	// 0: DefaultNodeBudget. A budget of nodes and not of time, so that the
	// answer does not depend on the machine.
	NodeBudget int64
	// MaxExact is the number of models up to which the search is exact;
	// 0: DefaultMaxExact. More than ExactLimit are never searched exactly.
	MaxExact int

	NoSubsetBound bool // search every possible group, not only those that could be in a best partition
	NoCutoff      bool // search the best order of a group even where it cannot help
	NoRelaxBound  bool // do not bound an unfinished order by fractional caching
	NoEqualPool   bool // do not skip an unfinished order that leaves the memory like an earlier one of the same models
	NoFullPool    bool // do not stop where no remaining part fits
	NoTwins       bool // try both orders of models that are alike
	NoTieBound    bool // 16.0: try all orders of a group even where ties cannot matter or the bound is met
}

// Limits of a search.
const (
	DefaultNodeBudget = 5_000_000 // some 10 s
	DefaultMaxExact   = 10
	ExactLimit        = 12 // 3^n steps for every round of the partition search
	// tieOrderLimit is the size of a group up to which all orders are tried where ties at the cut matter.
	tieOrderLimit = 7
)

// Names of the rules in Certificate.Pruned.
const (
	ruleSubsetBound = "subset-bound"
	ruleCutoff      = "cutoff"
	ruleRelaxBound  = "relax-bound"
	ruleEqualPool   = "equal-pool"
	ruleFullPool    = "full-pool"
	ruleTwins       = "twins"
	ruleTieBound    = "tie-bound"
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
