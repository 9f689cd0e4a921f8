package plans

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/report"
	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/planner"
)

// maxText bounds names and paths; longer ones cannot be file names anyway.
const maxText = 255

// stringOf is raw as a string, or an error that shows how to write one.
func stringOf(raw any, example string) (string, error) {
	s, ok := raw.(string)
	if !ok {
		return "", hinted{fmt.Sprintf("%s, want a string", kindOf(raw)), "write " + strconv.Quote(example)}
	}
	return s, nil
}

// quote shows a user's text in a message, shortened where it would drown it.
func quote(s string) string {
	if utf8.RuneCountInString(s) > 60 {
		s = string([]rune(s)[:57]) + "..."
	}
	return strconv.Quote(s)
}

// plainText refuses what no name and no path of a plan may hold.
func plainText(s string) error {
	switch {
	case s == "":
		return hinted{message: "it is empty"}
	case len(s) > maxText:
		return hinted{message: fmt.Sprintf("it has %d bytes, at most %d are allowed", len(s), maxText)}
	case strings.ContainsFunc(s, unicode.IsControl):
		return hinted{message: fmt.Sprintf("%s holds a control character", quote(s))}
	}
	return nil
}

// nameValue is the name of a model: any printable text, because it appears in
// listings only.
type nameValue string

func (v *nameValue) UnmarshalTOML(raw any) error {
	s, err := stringOf(raw, "face")
	if err == nil {
		err = plainText(s)
	}
	if err == nil && strings.TrimSpace(s) != s {
		err = hinted{message: fmt.Sprintf("%s begins or ends with a blank", quote(s))}
	}
	*v = nameValue(s)
	return err
}

// labelValue is the name of a device or of a group. It becomes part of file
// names and of make targets, hence the small alphabet.
type labelValue string

func (v *labelValue) UnmarshalTOML(raw any) error {
	s, err := stringOf(raw, "tpu0")
	if err != nil {
		return err
	}
	*v = labelValue(s)
	if len(s) > maxLabel || !fileNamePart(s) {
		return hinted{fmt.Sprintf("%s cannot be part of a file name", quote(s)), fmt.Sprintf("use at most %d letters A-Z a-z, digits and _ . -, the first one a letter, a digit or _", maxLabel)}
	}
	return nil
}

// maxLabel leaves room in a file name for what is put around a label.
const maxLabel = 64

func fileNamePart(s string) bool {
	ok := s != "" && s[0] != '.' && s[0] != '-'
	for i := 0; ok && i < len(s); i++ {
		ok = bareKeyByte(s[i]) || s[i] == '.'
	}
	return ok
}

// pathValue is a path with slashes, cleaned, relative to the plan's folder
// unless it is absolute.
type pathValue string

func (v *pathValue) UnmarshalTOML(raw any) error {
	return v.read(raw, "build")
}

func (v *pathValue) read(raw any, example string) error {
	s, err := stringOf(raw, example)
	if err == nil {
		err = plainText(s)
	}
	if err != nil {
		return err
	}
	*v = pathValue(path.Clean(s))
	return nil
}

// modelFile is the path of a model. edgetpu_compiler names its output after
// the part before .tflite.
type modelFile struct{ pathValue }

func (v *modelFile) UnmarshalTOML(raw any) error {
	if err := v.read(raw, "models/face.tflite"); err != nil {
		return err
	}
	if name, ok := strings.CutSuffix(path.Base(string(v.pathValue)), ".tflite"); !ok || name == "" {
		return hinted{fmt.Sprintf("%s does not end in NAME.tflite", quote(raw.(string))), "edgetpu_compiler names its output after that part"}
	}
	return nil
}

type versionValue compile.Version

func (v *versionValue) UnmarshalTOML(raw any) error {
	if x, err := numberOf(raw, ""); err == nil {
		return hinted{fmt.Sprintf("the number %v, want a string", raw), fmt.Sprintf("write %q", strconv.FormatFloat(x, 'f', 1, 64))}
	}
	s, err := stringOf(raw, compile.V16_0.String())
	if err != nil {
		return err
	}
	version, err := compile.ParseVersion(s)
	*v = versionValue(version)
	return err
}

// rateValue is a number of calls in a time, "10/s".
type rateValue struct {
	perSecond float64
	text      string
}

func (v *rateValue) UnmarshalTOML(raw any) error {
	const example = `"10/s", "30/min" or "2.5/h"`
	if x, err := numberOf(raw, ""); err == nil {
		if err := positive(x); err != nil {
			return err
		}
		return hinted{fmt.Sprintf("the number %v has no unit", raw), fmt.Sprintf("write %q or \"%v/h\", or use weight", fmt.Sprintf("%v/s", raw), raw)}
	}
	s, err := stringOf(raw, "10/s")
	if err != nil {
		return err
	}
	digits, unit, found := strings.Cut(s, "/")
	digits, unit = strings.TrimSpace(digits), strings.TrimSpace(unit)
	if !found || unit == "" {
		return hinted{quote(s) + " has no unit", "write " + example}
	}
	seconds := map[string]float64{"s": 1, "min": 60, "h": 3600}[unit]
	if seconds == 0 {
		return hinted{fmt.Sprintf("%s has the unknown unit %s", quote(s), quote("/"+unit)), "known: /s, /min, /h"}
	}
	x, err := plainNumber(digits)
	if err != nil {
		return hinted{quote(s) + " does not begin with a number", "write " + example}
	}
	v.perSecond, v.text = x/seconds, digits+"/"+unit
	return positive(v.perSecond)
}

// plainNumber reads a decimal number; Go's hexadecimal, infinite and
// underscored forms are no numbers to a user.
func plainNumber(s string) (float64, error) {
	if s == "" || strings.Trim(s, "0123456789.eE+-") != "" {
		return 0, strconv.ErrSyntax
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil && math.IsInf(x, 0) {
		return x, nil // positive says what is wrong
	}
	return x, err
}

func positive(x float64) error {
	if !(x > 0) || math.IsInf(x, 0) {
		return hinted{message: "it has to be a positive, finite number"}
	}
	return nil
}

// numberOf is raw as a number, whole or not.
func numberOf(raw any, example string) (float64, error) {
	switch x := raw.(type) {
	case int64:
		return float64(x), nil
	case float64:
		return x, nil
	}
	return 0, hinted{fmt.Sprintf("%s, want a number", kindOf(raw)), "write " + example}
}

// weightValue is a share of the calls in any unit.
type weightValue float64

func (v *weightValue) UnmarshalTOML(raw any) error {
	x, err := numberOf(raw, "2.5 without quotes")
	if err != nil {
		return err
	}
	*v = weightValue(x)
	return positive(x)
}

// maxMS is far above what any call takes, a day.
const maxMS = 24 * 3600 * 1000

// durationValue is a time in milliseconds.
type durationValue float64

func (v *durationValue) UnmarshalTOML(raw any) error {
	const example = `"10.3ms", "250us" or "1.2s"`
	if x, err := numberOf(raw, ""); err == nil {
		if !(x >= 0) || math.IsInf(x, 0) {
			return hinted{message: fmt.Sprintf("%v is not a positive, finite time", raw)}
		}
		return hinted{fmt.Sprintf("the number %v has no unit", raw), fmt.Sprintf("write \"%vms\", \"%vus\" or \"%vs\"", raw, raw, raw)}
	}
	s, err := stringOf(raw, "10.3ms")
	if err != nil {
		return err
	}
	for _, unit := range []struct {
		name string
		ms   float64
	}{{"us", 1e-3}, {"ms", 1}, {"s", 1e3}} {
		digits, ok := strings.CutSuffix(strings.TrimSpace(s), unit.name)
		if !ok {
			continue
		}
		x, err := plainNumber(strings.TrimSpace(digits))
		if err != nil {
			continue // "1m" + "s" is read as "1" + "ms" instead
		}
		if unit.ms < 1 {
			x /= 1e3 // exact where a product with 0.001 is not
		} else {
			x *= unit.ms
		}
		if !(x >= 0) || math.IsInf(x, 0) {
			return hinted{message: fmt.Sprintf("%s is not a positive, finite time", quote(s))}
		}
		if x > maxMS {
			return hinted{message: fmt.Sprintf("%s is longer than a day", quote(s))}
		}
		*v = durationValue(x)
		return nil
	}
	if _, err := plainNumber(strings.TrimSpace(s)); err == nil {
		return hinted{quote(s) + " has no unit", "write " + example}
	}
	return hinted{quote(s) + " is not a time", "write " + example}
}

// minMeasuredMS is far below what any call takes, 0.1 us.
const minMeasuredMS = 1e-4

// measuredTime is a time that cannot be zero, because something was measured.
type measuredTime struct{ durationValue }

func (v *measuredTime) UnmarshalTOML(raw any) error {
	if err := v.durationValue.UnmarshalTOML(raw); err != nil {
		return err
	}
	switch {
	case v.durationValue == 0:
		return hinted{message: "no call takes no time"}
	case v.durationValue < minMeasuredMS:
		return hinted{message: fmt.Sprintf("%s is shorter than any call", quote(raw.(string)))}
	}
	return nil
}

// sizeValue is the "available" memory of a compiler log.
type sizeValue report.Size

func (v *sizeValue) UnmarshalTOML(raw any) error {
	switch raw.(type) {
	case int64, float64:
		return hinted{fmt.Sprintf("%s has no unit", kindOf(raw)), `write it as the compiler prints it, "6.91MiB"`}
	}
	s, err := stringOf(raw, "6.91MiB")
	if err != nil {
		return err
	}
	size, err := report.ParseSize(s)
	if err != nil {
		return err
	}
	// Reserved rows are never below -32: 16 tiles of 2048 + 32 rows of 256 bytes.
	if most := int64(compile.PoolRows(-32)) * compile.RowBytes; size.Low > float64(most) {
		return hinted{fmt.Sprintf("%s is more than an Edge TPU has", quote(s)), "it can cache at most " + report.FormatSize(most)}
	}
	*v = sizeValue(size)
	return nil
}

// runtimeValue names the libedgetpu that clocks a USB device.
type runtimeValue string

func (v *runtimeValue) UnmarshalTOML(raw any) error {
	s, err := stringOf(raw, "std")
	if err != nil {
		return err
	}
	if s != "std" && s != "max" {
		return hinted{fmt.Sprintf("unknown runtime %s", quote(s)), "known: std, as libedgetpu1-std, which computes half as fast, and max"}
	}
	*v = runtimeValue(s)
	return nil
}

// linkValue is a link by name, or { mb_per_s, overhead }.
type linkValue cost.Link

func (v *linkValue) UnmarshalTOML(raw any) error {
	if s, ok := raw.(string); ok {
		link, err := cost.BuiltinLink(s)
		if err != nil {
			var names []string
			for _, l := range cost.Links() {
				names = append(names, l.Name)
			}
			return hinted{fmt.Sprintf("unknown link %s", quote(s)), "known: " + strings.Join(names, ", ") + "; or { mb_per_s = 320, overhead = \"0.4ms\" }"}
		}
		*v = linkValue(link)
		return nil
	}
	return hinted{kindOf(raw) + ", want a link's name or a table", `write "usb3" or { mb_per_s = 320, overhead = "0.4ms" }`}
}

// Limits of a transfer rate in MB/s, far off any link.
const (
	minSpeed = 0.001
	maxSpeed = 1e6
)

// speedValue is a transfer rate in MB/s, 1 MB = 10^6 bytes.
type speedValue float64

func (v *speedValue) UnmarshalTOML(raw any) error {
	x, err := numberOf(raw, "320 without unit, it is MB/s")
	if err != nil {
		return err
	}
	*v = speedValue(x)
	if !(x >= minSpeed && x <= maxSpeed) {
		return hinted{fmt.Sprintf("it has to be from %v to %v", minSpeed, int(maxSpeed)), "it is in MB/s, USB 3 carries some 300 to 450"}
	}
	return nil
}

type objectiveValue planner.Objective

func (v *objectiveValue) UnmarshalTOML(raw any) error {
	s, err := stringOf(raw, planner.Time.String())
	if err != nil {
		return err
	}
	var names []string
	for _, kind := range []planner.Objective{planner.Time, planner.ByteHits} {
		if kind.String() == s {
			*v = objectiveValue(kind)
			return nil
		}
		names = append(names, kind.String())
	}
	return hinted{"unknown objective " + quote(s), "known: " + strings.Join(names, ", ")}
}

type boolValue bool

func (v *boolValue) UnmarshalTOML(raw any) error {
	b, ok := raw.(bool)
	if !ok {
		return hinted{kindOf(raw) + ", want true or false", "write true, without quotes"}
	}
	*v = boolValue(b)
	return nil
}

// eachString reads an array of strings element by element.
func eachString(raw any, example string, each func(s string) error) error {
	list, ok := raw.([]any)
	if !ok {
		return hinted{kindOf(raw) + ", want an array of strings", "write " + example}
	}
	wrong := elementErrors{}
	for i, element := range list {
		s, ok := element.(string)
		if !ok {
			wrong[i] = hinted{message: kindOf(element) + ", want a string"}
		} else if err := each(s); err != nil {
			wrong[i] = err
		}
	}
	if len(wrong) > 0 {
		return wrong
	}
	return nil
}

// namesValue is an array of model names.
type namesValue []string

func (v *namesValue) UnmarshalTOML(raw any) error {
	return eachString(raw, `["face", "hand"]`, func(s string) error {
		if slices.Contains(*v, s) {
			return hinted{message: quote(s) + " is named twice"}
		}
		*v = append(*v, s)
		return nil
	})
}

// wordsValue is a command: an array with a word an element, or a string whose
// words stand between blanks.
type wordsValue []string

func (v *wordsValue) UnmarshalTOML(raw any) error {
	const advice = `give one word an element: ["sh", "-c", "..."]`
	word := func(s string) error {
		if err := plainText(s); err != nil && len(s) <= maxText {
			return err
		}
		// The build files quote every word, so a $ would reach the program as it is.
		if strings.ContainsAny(s, "$`") {
			return hinted{quote(s) + " would not be expanded: the command is run without a shell", `paths are relative to the plan's folder; docker and podman take "--volume=.:/w"`}
		}
		*v = append(*v, s)
		return nil
	}
	s, ok := raw.(string)
	if _, list := raw.([]any); !ok && !list {
		return hinted{kindOf(raw) + ", want a string or an array of strings", `write "edgetpu_compiler" or ["docker", "run", ...]`}
	}
	if !ok {
		err := eachString(raw, `"edgetpu_compiler" or ["docker", "run", ...]`, word)
		if err == nil && len(*v) == 0 {
			return hinted{message: "it is empty"}
		}
		return err
	}
	if strings.ContainsAny(s, `"'\`) {
		return hinted{quote(s) + " holds a quote or a backslash, which a string of words cannot", advice}
	}
	for w := range strings.FieldsSeq(s) {
		if err := word(w); err != nil {
			return err
		}
	}
	if len(*v) == 0 {
		return hinted{message: "it is empty"}
	}
	return nil
}

// flagsValue are flags of edgetpu_compiler, one word an element of words.
type flagsValue struct {
	words      []string
	allRegions bool
	minRuntime int
}

// refusedFlags says why a flag of edgetpu_compiler is not for a plan.
var refusedFlags = map[string]hinted{
	"-n": {"-n cuts models into segments, which are not planned yet", "leave it out; a segment's own .tflite file can be a model of the plan"},
	"-d": {"-d drops operations until something compiles, so the result cannot be predicted", "cut the model before it is planned"},
	"-k": {"-k is the step of -d, whose result cannot be predicted", "leave it out"},
	"-i": {"-i cuts the model at a tensor, so the result cannot be predicted", "cut the model before it is planned"},
	"-o": {"-o is set by the plan", "use out_dir"},
	"-h": {"-h prints help and compiles nothing", "leave it out"},
	"-v": {"-v prints the version and compiles nothing", "use version"},
}

// longFlags are the long forms, which are one word with a value glued on or two.
var longFlags = map[string]string{
	"--enable_multiple_subgraphs": "-a", "--min_runtime_version": "-m", "--timeout_sec": "-t", "--show_operations": "-s",
	"--num_segments": "-n", "--search_delegate": "-d", "--delegate_search_step": "-k", "--intermediate_tensors": "-i",
	"--out_dir": "-o", "--help": "-h", "--version": "-v",
}

// flagExamples are numbers that flags may have.
var flagExamples = map[string]string{"-m": " 14", "-t": " 600"}

func (v *flagsValue) UnmarshalTOML(raw any) error {
	waiting := "" // a flag whose number has to follow
	seen := map[string]bool{}
	number := func(flag, s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1_000_000 {
			return hinted{fmt.Sprintf("%s wants a positive whole number, not %s", flag, quote(s)), fmt.Sprintf("write %q", flag+flagExamples[flag])}
		}
		if flag == "-m" {
			if n < 10 || n > 14 {
				return hinted{fmt.Sprintf("-m is a runtime version from 10 to 14, not %d", n), "leave it out for 14"}
			}
			v.minRuntime = n
		}
		v.words = append(v.words, flag, strconv.Itoa(n))
		return nil
	}
	word := func(s string) error {
		if waiting != "" {
			flag := waiting
			waiting = ""
			return number(flag, s)
		}
		flag, glued := s, ""
		if strings.HasPrefix(s, "--") {
			flag, glued, _ = strings.Cut(s, "=")
			if short := longFlags[flag]; short != "" && refusedFlags[short].message == "" {
				return hinted{quote(s) + " is a long form", fmt.Sprintf("write %q", short)}
			}
			if short := longFlags[flag]; short != "" {
				flag = short
			}
		} else if len(s) > 2 {
			flag, glued = s[:2], s[2:]
		}
		if refused, ok := refusedFlags[flag]; ok {
			return refused
		}
		if seen[flag] {
			return hinted{message: flag + " is given twice"}
		}
		seen[flag] = true
		switch {
		case flag == "-a" && glued == "":
			v.allRegions = true
			v.words = append(v.words, flag)
		case flag == "-s" && glued == "":
			v.words = append(v.words, flag)
		case (flag == "-m" || flag == "-t") && glued != "":
			return number(flag, glued)
		case flag == "-m" || flag == "-t":
			waiting = flag
		default:
			return hinted{"unknown flag " + quote(s), "a plan may set -a, -m N, -t N and -s"}
		}
		return nil
	}
	err := eachString(raw, `["-a", "-m 14"]`, func(s string) error {
		words := strings.Fields(s)
		if len(words) == 0 {
			return hinted{message: "it is empty"}
		}
		for _, w := range words {
			if err := word(w); err != nil {
				waiting = ""
				return err
			}
		}
		return nil
	})
	if err == nil && waiting != "" {
		return hinted{waiting + " wants a number after it", fmt.Sprintf("write %q", waiting+flagExamples[waiting])}
	}
	return err
}
