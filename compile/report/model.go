package report

// NotPrinted is the value of a count that the text does not contain.
const NotPrinted = -1

// Report is what one invocation of edgetpu_compiler says, parsed or predicted.
type Report struct {
	Compiler  string // version as printed, "16.0.384591198"; empty if it was not
	CompileMS int64  // 0 for a prediction: nothing ran; NotPrinted; the sum over segments
	TimeoutS  int64  // 16.0's timer; 0 if none was printed
	Models    []Model
	Failure   *Failure // the invocation gave no usable model, or not all
	Warnings  []string // the compiler's, without "Warning: "
	Errors    []string // lines of TensorFlow Lite, without "ERROR: "; a model may compile nevertheless
	Source    *Source  // how the text was read; nil for a prediction
}

// Model is the section of one model. A nil size was not printed or is not known.
type Model struct {
	Input, Output string // paths as on the command line and as written
	InputSize     *Size
	OutputSize    *Size
	Available     *Size // 1.0 and 2.0: left before this model
	Remaining     *Size // from 2.1: left after all models
	OnChip        *Size // "used for caching model parameters"
	Streamed      *Size // "off-chip memory used"
	Subgraphs     int   // this and the other counts: NotPrinted if not known
	Operations    int   // TPU + CPU
	TPUOperations int
	CPUOperations int
	OperationLog  string // path of the operation log file
	Operators     []Operator
	Failure       *Failure // this model has nothing on the Edge TPU
}

// Operator is a row of the operation table. Several rows may have the same op,
// one for each status, and their order changes from run to run.
type Operator struct {
	Op     string
	Count  int
	Status string
}

// Source is what a reading knows beyond the report: where it stood and what
// became of every line of the text.
type Source struct {
	File     string    // name given to Parse
	Command  string    // the command line, where the text shows it
	Attempts []Attempt // of a search for a delegate, or of several segments
	Unknown  []Line    // the lines that are not blank and that no rule understood
	Notes    []string  // what looks incomplete, as sentences

	counts [rules]int32
}

// Rules are the numbers of the other lines that are not blank, by the rule
// that understood them.
func (s *Source) Rules() map[string]int {
	byName := map[string]int{}
	for i, n := range s.counts {
		if n > 0 {
			byName[ruleNames[i]] = int(n)
		}
	}
	return byName
}

// Attempt is one compilation of an invocation that makes several: 16.0 with
// -d or -i shortens a segment until it compiles.
type Attempt struct {
	Step      int    // of the search that begins here, 0 if none does
	Ops       int    // length of the segment, 0 if not printed
	Tensors   string // where the segment ends, separated by commas
	CompileMS int64  // NotPrinted unless it succeeded
	Succeeded bool
	Failure   *Failure
}

// Line is a line of a text, counted from 1.
type Line struct {
	Number int
	Text   string
}

// Exactly is the size of a number of bytes that is known, printed as the compiler does.
func Exactly(bytes int64) *Size {
	return &Size{Text: FormatSize(bytes), Bytes: bytes, Low: float64(bytes), High: float64(bytes)}
}
