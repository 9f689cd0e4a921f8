package profile

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxImport is far above any table or log; lines of samples may be more.
const maxImport = 256 << 20

// Import reads what somebody else has measured and gives it to visit, as
// samples of source imported, until visit returns an error. What says of itself
// that it is simulated stays so. The text is one of
//
//   - lines of samples,
//   - CSV of model, kind and ms, or with a header that names more fields of
//     samples, in any order,
//   - what TensorFlow Lite's benchmark_model prints, for one model or several.
//
// Dropped says that the last line was not finished and is left out. The name
// is used in messages, which begin with the position, and where a text does not
// say what its run or its model is called.
func Import(name string, r io.Reader, visit func(*Sample) error) (dropped bool, err error) {
	text := bufio.NewReaderSize(r, 64<<10)
	first, err := firstByte(text)
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	imported := func(s *Sample) error {
		if s.Source != Simulated {
			s.Source = Imported
		}
		return visit(s)
	}
	if first == '{' {
		return ReadSamples(name, text, imported)
	}
	data, err := io.ReadAll(io.LimitReader(text, maxImport+1))
	switch {
	case err != nil:
		return false, fmt.Errorf("%s: %w", name, err)
	case len(data) > maxImport:
		return false, fmt.Errorf("%s: more than %d MiB", name, maxImport>>20)
	case len(bytes.TrimSpace(data)) == 0:
		return false, fmt.Errorf("%s: it is empty", name)
	case benchmarkLine.Match(data):
		return false, importBenchmark(name, data, imported)
	}
	return false, importCSV(name, data, imported)
}

// firstByte is the first byte of a text that is no space, 0 if there is none. A
// byte order mark is skipped.
func firstByte(r *bufio.Reader) (byte, error) {
	if mark, _ := r.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		r.Discard(3) //nolint:errcheck // they are there
	}
	for n := 1; ; n++ {
		start, err := r.Peek(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, bufio.ErrBufferFull):
			return 0, nil
		case err != nil:
			return 0, err
		}
		if c := start[n-1]; !strings.ContainsRune(" \t\r\n", rune(c)) {
			return c, nil
		}
	}
}

// stem is what a file is called without folder and ending.
func stem(name string) string {
	base := path.Base(strings.ReplaceAll(name, `\`, "/"))
	if ext := path.Ext(base); ext != base {
		base = strings.TrimSuffix(base, ext)
	}
	return strings.TrimSuffix(base, "_edgetpu")
}

// columns are the fields of samples that a CSV may have.
var columns = []string{"model", "kind", "ms", "run", "sha256", "host", "device", "call", "bytes", "temperature_c", "clock_mhz", "outputs_sha256", "source"}

// importCSV reads a table. Rows without a number are numbered as calls, in
// their order.
func importCSV(name string, data []byte, visit func(*Sample) error) error {
	rows := csv.NewReader(bytes.NewReader(data))
	rows.FieldsPerRecord, rows.TrimLeadingSpace, rows.Comment = -1, true, '#'
	header := columns[:3]
	call := int64(0)
	for number := 0; ; number++ {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if e := (*csv.ParseError)(nil); errors.As(err, &e) {
			return fmt.Errorf("%s:%d:%d: %w", name, e.Line, e.Column, e.Err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		at := func(column int) string {
			line, pos := rows.FieldPos(column)
			return fmt.Sprintf("%s:%d:%d", name, line, pos)
		}
		if number == 0 && isHeader(row) {
			if header, err = readHeader(row, at); err != nil {
				return err
			}
			continue
		}
		if len(row) != len(header) {
			return fmt.Errorf("%s: %d fields, want %d: %s", at(0), len(row), len(header), strings.Join(header, ","))
		}
		s := &Sample{Schema: SampleSchema, Run: stem(name), Source: Imported, Call: call}
		for i, field := range row {
			if err := s.set(header[i], strings.TrimSpace(field)); err != nil {
				return fmt.Errorf("%s: %w", at(i), err)
			}
		}
		if s.Kind == Create {
			s.Call = 0
		} else {
			call++
		}
		if err := s.check(); err != nil {
			return fmt.Errorf("%s: %w", at(0), err)
		}
		if err := visit(s); err != nil {
			return err
		}
	}
}

// isHeader says whether a row names columns. A row of values has a number.
func isHeader(row []string) bool {
	named := 0
	for _, field := range row {
		if slices.Contains(columns, strings.ToLower(strings.TrimSpace(field))) {
			named++
		}
	}
	return named >= 2
}

func readHeader(row []string, at func(column int) string) (header []string, err error) {
	for i, field := range row {
		field = strings.ToLower(strings.TrimSpace(field))
		switch {
		case !slices.Contains(columns, field):
			return nil, fmt.Errorf("%s: a column %q, known are %s", at(i), field, strings.Join(columns, ", "))
		case slices.Contains(header, field):
			return nil, fmt.Errorf("%s: a second column %q", at(i), field)
		}
		header = append(header, field)
	}
	for _, field := range columns[:3] {
		if !slices.Contains(header, field) {
			return nil, fmt.Errorf("%s: no column %q", at(0), field)
		}
	}
	return header, nil
}

// set gives a field its value. One that is not needed may be empty.
func (s *Sample) set(field, value string) (err error) {
	number := func() *float64 {
		f, e := strconv.ParseFloat(value, 64)
		if e != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			err = fmt.Errorf("%s is %q, which is no number", field, value)
		}
		return &f
	}
	whole := func() *int64 {
		n, e := strconv.ParseInt(value, 10, 64)
		if e != nil {
			err = fmt.Errorf("%s is %q, which is no whole number", field, value)
		}
		return &n
	}
	if value == "" && !slices.Contains(columns[:3], field) {
		return nil
	}
	switch field {
	case "model":
		s.Model = value
	case "kind":
		if s.Kind = Kind(value); !s.Kind.known() {
			err = fmt.Errorf("kind is %q, known are create, first, steady, load, squeezed and replay", value)
		}
	case "ms":
		s.MS = *number()
	case "run":
		s.Run = value
	case "sha256":
		if s.SHA256 = strings.ToLower(value); !isSHA256(s.SHA256) {
			err = fmt.Errorf("sha256 is %q, which is no hash of 64 hexadecimal digits", value)
		}
	case "host":
		s.Host = value
	case "device":
		s.Device = value
	case "call":
		s.Call = *whole()
	case "bytes":
		s.Bytes = whole()
	case "temperature_c":
		s.TemperatureC = number()
	case "clock_mhz":
		s.ClockMHz = number()
	case "outputs_sha256":
		s.Outputs = value
	case "source":
		s.Source = Source(value)
	}
	return err
}

// What benchmark_model prints. A log may have something before it in the line.
var (
	benchmarkLine    = regexp.MustCompile(`(?m)(Inference timings in us:|[Aa]verage inference timings in us:|\bcount=\d+ (first|curr)=|STARTING!\s*$)`)
	benchmarkStart   = regexp.MustCompile(`STARTING!\s*$`)
	benchmarkModel   = regexp.MustCompile(`(?:Graph: \[(.+)\]|Loaded model (\S.*?))\s*$`)
	benchmarkSummary = regexp.MustCompile(`[Ii]nference timings in us: (.*)$`)
	benchmarkTiming  = regexp.MustCompile(`(Init|First inference|Warmup \(avg\)|Warmup|Inference \(avg\)|Inference): ([^\s,]+)`)
	benchmarkStat    = regexp.MustCompile(`\bcount=\d+\b.*$`)
	benchmarkValue   = regexp.MustCompile(`\b(count|first|curr|avg|std)=([^\s(]+)`)
)

// benchmark is what benchmark_model has said of one model, in microseconds.
type benchmark struct {
	line  int // where it begins
	model string
	stats []map[string]float64 // of warming up, and of inferences
	times map[string]float64   // of the summary
}

// importBenchmark reads one output of benchmark_model after the other.
func importBenchmark(name string, data []byte, visit func(*Sample) error) error {
	b := &benchmark{line: 1}
	number, models := 0, 0
	for line := range strings.Lines(string(data)) {
		number++
		line = strings.TrimRight(line, "\r\n")
		at := fmt.Sprintf("%s:%d", name, number)
		var err error
		if benchmarkStart.MatchString(line) && (b.times != nil || b.stats != nil) {
			if err = b.give(name, visit); err != nil {
				return err
			}
			b = &benchmark{line: number}
		}
		if m := benchmarkModel.FindStringSubmatch(line); m != nil && b.model == "" {
			b.model = stem(m[1] + m[2])
		}
		if m := benchmarkSummary.FindStringSubmatch(line); m != nil {
			models++
			if b.times, err = values(at, benchmarkTiming, m[1]); err != nil {
				return err
			}
			// The last line of a model's output that is used.
			if err = b.give(name, visit); err != nil {
				return err
			}
			b = &benchmark{line: number + 1}
		} else if m := benchmarkStat.FindString(line); m != "" {
			stat, err := values(at, benchmarkValue, m)
			if err != nil {
				return err
			}
			b.stats = append(b.stats, stat)
		}
	}
	if b.stats != nil || models == 0 {
		return b.give(name, visit)
	}
	return nil
}

func values(at string, form *regexp.Regexp, text string) (map[string]float64, error) {
	found := map[string]float64{}
	for _, m := range form.FindAllStringSubmatch(text, -1) {
		f, err := strconv.ParseFloat(m[2], 64)
		if err != nil || !(f >= 0) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%s: %s is %q, which is no time", at, m[1], m[2])
		}
		key, _, _ := strings.Cut(m[1], " (")
		found[key] = f
	}
	return found, nil
}

// give makes samples: of the initialisation, of the first inference, and one of all
// inferences behind the warm-up, since only their mean is printed.
func (b *benchmark) give(name string, visit func(*Sample) error) error {
	if b.model == "" {
		b.model = stem(name)
	}
	sample := func(kind Kind, call int64, us float64) *Sample {
		return &Sample{Schema: SampleSchema, Run: stem(name) + "/" + b.model, Model: b.model, Kind: kind, Call: call, MS: us / 1000, Source: Imported}
	}
	var all []*Sample
	if us, ok := b.times["Init"]; ok {
		all = append(all, sample(Create, 0, us))
	}
	var warm, main map[string]float64
	if len(b.stats) > 0 {
		warm = b.stats[0]
	}
	if len(b.stats) > 1 {
		main = b.stats[len(b.stats)-1]
	}
	first, known := b.times["First inference"]
	if !known {
		first, known = warm["first"]
	}
	if !known && warm["count"] == 1 {
		first, known = warm["curr"]
	}
	if known {
		all = append(all, sample(First, 0, first))
	}
	mean, known := b.times["Inference"]
	if !known {
		mean, known = main["avg"]
	}
	if !known && main["count"] >= 1 { // all took as long
		mean, known = main["curr"]
	}
	if known {
		s := sample(Steady, max(1, int64(warm["count"])), mean)
		s.Calls = int64(main["count"])
		if us, ok := main["std"]; ok {
			ms := us / 1000
			s.StdMS = &ms
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return fmt.Errorf("%s:%d: output of benchmark_model without any times", name, b.line)
	}
	for _, s := range all {
		if err := s.check(); err != nil {
			return fmt.Errorf("%s:%d: %w", name, b.line, err)
		}
		if err := visit(s); err != nil {
			return err
		}
	}
	return nil
}
