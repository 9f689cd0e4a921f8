package compile

import (
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/cost"
)

// Part is what the allocator sees of an op: a unit that is cached or streamed
// as a whole. An op may have several (a softmax table is three).
type Part struct {
	Op        int   // index in Source.Ops
	Bytes     int64 // packed bytes in the parameter blob
	Rows      int   // rows of 256 B it occupies in wide memory
	Groups    int   // > 0: partitioned by 64-lane groups of GroupRows rows, none of which crosses a tile
	GroupRows int
	Class     int    // 0 comes before 1 in the allocator's list, among parts of as many passes
	Passes    int    // how often a call sends it to the tiles; 0 and 1 are once, and so is what is partitioned
	Weights   uint64 // identity of the op's weights, equal for equal ones within a process; 0 if it has none
	Certainty report.Certainty
}

// Load is what an invocation must place of one model: its parts in TFLite
// order and the bytes that are streamed whatever happens.
type Load struct {
	Parts    []Part
	Streamed int64  // packed bytes of constants of elementwise ops, never cached
	Content  string // identity of the model's content, equal for copies of one file; "" is unlike any other
}

// Bytes is all the model's packed parameter bytes: what is cached and what is streamed add up to it.
func (l *Load) Bytes() int64 {
	n := l.Streamed
	for i := range l.Parts {
		n += l.Parts[i].Bytes
	}
	return n
}

// Split is one model's share of the pool. Cached + Streamed = Load.Bytes().
type Split struct {
	Cached   int64  // packed bytes, len(parameters) of the caching executable
	Streamed int64  // packed bytes, constants of elementwise ops included
	Rows     int    // rows occupied; the log's "used" is 256 x Rows
	InCache  []bool // per Part
}

// Reserve is the number of rows R that every tile keeps free for broadcast
// buffers, and where the number came from. In a group the largest of the
// members' rows holds.
type Reserve struct {
	Rows      int // best estimate, -32..2048
	Low, High int // what the rows may be, inclusive; equal to Rows when exact
	Source    ReserveSource
	Certainty report.Certainty
	Fits      bool // the activations fit on chip; if not, the net runs in passes
}

// Estimate reports that the rows come from a formula which is a guess for this
// model: no rule for it is proven, or its activations do not fit on chip.
func (r *Reserve) Estimate() bool {
	return r.Source == FromFormula && (!r.Fits || r.Certainty >= report.Heuristic)
}

// ReserveSource says where reserved rows came from. The names are the
// machine interface's (reserved_rows_source).
type ReserveSource string

// Sources of reserved rows.
const (
	FromFormula     ReserveSource = "heuristic"
	FromMeasurement ReserveSource = "measured"
	FromFlag        ReserveSource = "flag"
	AlreadyCompiled ReserveSource = "compiled" // the model is not compiled again, nothing is reserved for it
)

// TileRows is the number of rows of one of the 16 tiles; PoolRows(R) = 16 x (2048 - R) rows can be cached.
const (
	Tiles    = 16
	TileRows = 2048
	RowBytes = 256
)

// PoolRows is the number of rows that hold cached parameters when R rows of every tile are reserved (0 if R >= 2048).
func PoolRows(reserved int) int { return Tiles * max(0, TileRows-reserved) }

// Settings are what of an invocation changes the analysis of a model.
type Settings struct {
	Version    Version
	MinRuntime int  // -m N; 0 is the default, 14
	AllRegions bool // -a: every region becomes a custom op
}

// Model is everything that the compiler twin knows of one source model under given Settings.
type Model struct {
	Settings    Settings
	Ops         []OpInfo // per op of the source
	Load        Load     // Content is left to the caller, who has the bytes
	Reserve     Reserve  // by formula
	Subgraphs   int      // TPU regions that become custom ops; 0: nothing maps
	TPUOps      int
	CPUOps      int
	Failure     *report.Failure // non-nil: edgetpu_compiler would give no usable model
	Errors      []string        // what TFLite prints before the failure
	InputBytes  int64           // of the TPU region's border, per inference, unpadded
	OutputBytes int64
	Certainty   report.Certainty // the weakest rule used for Load
	Timing      Timing
}

// OpInfo is what happens to one op.
type OpInfo struct {
	Index     int
	Name      string // operator name as the compiler prints it, CONV_2D
	Mapped    bool
	Reason    string // the compiler's status text, "Mapped to Edge TPU" when mapped
	Bytes     int64  // packed parameter bytes, streamed constants included
	Rows      int
	Certainty report.Certainty
	Work      cost.Work  // what the chip does; nothing if it is not mapped
	Passes    cost.Range // how often a call sends its parameters to the tiles: parts of its stage; 0 if it is not mapped
}
