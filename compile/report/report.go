// Package report holds the compiler's own words: one type, [Report], for what
// edgetpu_compiler printed and for what is predicted, so that both are
// printed and compared by the same code.
package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Certainty says how sure a rule is, weakest last.
type Certainty int

// Degrees of certainty.
const (
	Exact     Certainty = iota // reproduced from real compiled files
	Strong                     // several independent sets agree
	Heuristic                  // a guess with known misses
	Unknown                    // no rule is known
)

var certaintyNames = [...]string{"exact", "strong", "heuristic", "unknown"}

func (c Certainty) String() string { return certaintyNames[c] }

// MarshalText writes the name used in every output.
func (c Certainty) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the name.
func (c *Certainty) UnmarshalText(text []byte) error {
	for i, name := range certaintyNames {
		if name == string(text) {
			*c = Certainty(i)
			return nil
		}
	}
	return fmt.Errorf("unknown certainty %q", text)
}

// Weaker returns the less certain of the two.
func (c Certainty) Weaker(d Certainty) Certainty { return max(c, d) }

// Failure is a compilation that gave no usable model, in the compiler's words.
type Failure struct {
	Kind string `json:"kind"` // one of the kinds below
	Text string `json:"text"`
}

// Kinds of failures.
const (
	NotQuantized         = "not_quantized"          // a float model
	NotParsed            = "not_parsed"             // the file is no model that this release reads
	UnsupportedOpVersion = "unsupported_op_version" // the model is newer than the compiler
	Internal             = "internal"               // "Internal compiler error", sporadic in 14.1 and 15.0
	Timeout              = "timeout"                // 16.0's timer ran out
	Crashed              = "crashed"                // the process died
	Cut                  = "cut"                    // the text ends before the result, which is not known
	ZeroSubgraphs        = "zero_subgraphs"         // "compiled successfully", but nothing runs on the Edge TPU
	Usage                = "usage"                  // only the help text was printed
	Other                = "other"
)

const zeroSubgraphsText = "Number of Edge TPU subgraphs: 0"

// Size is a number of bytes as the compiler prints it: two decimals of B, KiB
// or MiB, so an interval.
type Size struct {
	Text  string
	Bytes int64   // the printed number converted, to the nearest byte
	Low   float64 // bytes; the printed number stands for any value in [Low, High]
	High  float64
}

// FormatSize prints bytes as edgetpu_compiler does: "%.2f" glued to the unit
// chosen so that 1 <= x < 1024, "0.00B" for zero.
func FormatSize(bytes int64) string {
	x, unit := float64(bytes), "B"
	if bytes >= 1<<20 {
		x, unit = x/(1<<20), "MiB"
	} else if bytes >= 1<<10 {
		x, unit = x/(1<<10), "KiB"
	}
	return fmt.Sprintf("%.2f%s", x, unit)
}

// ParseSize reads a size as the compiler prints it, "6.91MiB"; blanks between
// number and unit are accepted, and any number of decimals (the interval
// follows from them; whole bytes are exact).
func ParseSize(text string) (Size, error) {
	s, wrong := parseSize(text)
	if wrong != "" {
		return Size{}, fmt.Errorf("%q is not a size: %s (write it as the compiler prints it, \"6.91MiB\")", text, wrong)
	}
	return s, nil
}

// parseSize is ParseSize; what is wrong is a text, so that trying costs nothing.
func parseSize(text string) (s Size, wrong string) {
	t := strings.TrimSpace(text)
	unit := 0.0
	digits := t
	for _, u := range []struct {
		name  string
		bytes float64
	}{{"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}} {
		if s, ok := strings.CutSuffix(t, u.name); ok {
			digits, unit = strings.TrimSpace(s), u.bytes
			break
		}
	}
	if unit == 0 {
		return Size{}, "no unit B, KiB or MiB"
	}
	const noNumber = "no plain number before the unit"
	if digits == "" || len(digits) > 32 || strings.Trim(digits, "0123456789.") != "" || strings.Count(digits, ".") > 1 || strings.HasPrefix(digits, ".") || strings.HasSuffix(digits, ".") {
		return Size{}, noNumber
	}
	x, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return Size{}, noNumber
	}
	if x*unit > 1<<40 {
		return Size{}, "more than any Edge TPU has"
	}
	decimals := 0
	if i := strings.IndexByte(digits, '.'); i >= 0 {
		decimals = len(digits) - i - 1
	}
	half := 0.5 * math.Pow10(-decimals)
	s = Size{Text: t, Bytes: int64(math.Round(x * unit)), Low: (x - half) * unit, High: (x + half) * unit}
	if unit == 1 {
		s.Low, s.High = x, x
	}
	s.Low = max(0, s.Low)
	return s, ""
}

// Holds reports whether a size stands for a number of bytes.
func (s *Size) Holds(bytes int64) bool {
	return float64(bytes) >= s.Low-rounding && float64(bytes) <= s.High+rounding
}

// Sum is what printed sizes add up to, with the interval that they leave open together.
func Sum(parts ...Size) Size {
	var sum Size
	for i, p := range parts {
		if i > 0 {
			sum.Text += " + "
		}
		sum.Text += p.Text
		sum.Bytes += p.Bytes
		sum.Low += p.Low
		sum.High += p.High
	}
	return sum
}
