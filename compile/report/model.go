package report

// Report is what one invocation of edgetpu_compiler says, parsed or predicted.
type Report struct {
	Compiler  string // version as printed, "16.0.384591198"
	CompileMS int64  // 0 for a prediction: nothing ran
	TimeoutS  int64  // 16.0's timer; 0 if none was printed
	Models    []Model
	Failure   *Failure // the invocation gave no usable model
	Warnings  []string
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
	Subgraphs     int
	Operations    int // TPU + CPU
	TPUOperations int
	CPUOperations int
	OperationLog  string // path of the operation log file
	Operators     []Operator
	Failure       *Failure // this model has nothing on the Edge TPU
}

// Operator is a row of the operation table.
type Operator struct {
	Op     string
	Count  int
	Status string
}

// Exactly is the size of a number of bytes that is known, printed as the compiler does.
func Exactly(bytes int64) *Size {
	return &Size{Text: FormatSize(bytes), Bytes: bytes, Low: float64(bytes), High: float64(bytes)}
}
