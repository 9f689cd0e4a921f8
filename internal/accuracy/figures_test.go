package accuracy

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile/report"
)

func printedSize(t *testing.T, text string) report.Size {
	t.Helper()
	s, err := report.ParseSize(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Errors are predicted less actual, from the nearest end of what was printed.
func TestErrors(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		name   string
		figure figure
		text   string
		off    float64
	}{
		{"exact", figure{predicted: 4096, actual: whole(4096)}, "0", 0},
		{"one byte more", figure{predicted: 4097, actual: whole(4096)}, "+1 (+0.0 %)", 1.0 / 4096},
		{"half", figure{predicted: 1_000_000, actual: whole(2_000_000)}, "-1,000,000 (-50.0 %)", 0.5},
		// 6.905 MiB = 7,240,417.28 B is printed 6.91MiB or 6.90MiB
		{"inside the interval", figure{predicted: 7_240_418, actual: printedSize(t, "6.91MiB")}, "0", 0},
		{"below the interval", figure{predicted: 7_240_000, actual: printedSize(t, "6.91MiB")}, "-417 (-0.0 %)", 417 / (6.91 * mib)},
		{"something for nothing", figure{predicted: 64, actual: printedSize(t, "0.00B")}, "+64", math.Inf(1)},
		{"a count", figure{measure: counts, predicted: 35, actual: whole(36)}, "-1", 1.0 / 36},
		{"rows of a range", figure{measure: rows, predicted: 36, actual: between(67, 69)}, "-31", 31.0 / 68},
		{"words", figure{words: true, said: "compiled", actual: report.Size{Text: "crashed"}}, "differs", math.Inf(1)},
		{"the same words", figure{words: true, said: "crashed", actual: report.Size{Text: "crashed"}}, "0", 0},
		{"fitted", figure{predicted: 1, actual: whole(1), fitted: true}, "fitted", 0},
	} {
		if got := test.figure.errorText(); got != test.text {
			t.Errorf("%s: %s, want %s", test.name, got, test.text)
		}
		if got := test.figure.off(); math.Abs(got-test.off) > 1e-6 && got != test.off {
			t.Errorf("%s: off by %v, want %v", test.name, got, test.off)
		}
	}
}

func TestScore(t *testing.T) {
	var s score
	for _, off := range []float64{0, 0, 0.01, 0.02, 0.5} {
		s.add(off)
	}
	want := []string{"5", "2 (40.0 %)", "3", "4", "1", "50.0 %"}
	if diff := cmp.Diff(want, s.cells()); diff != "" {
		t.Error(diff)
	}
	s.add(math.Inf(1))
	if got := s.cells()[5]; got != "over 1000 %" {
		t.Errorf("worst %s", got)
	}
}

// What fitted counts nowhere.
func TestFittedFiguresDoNotCount(t *testing.T) {
	c := &Comparison{figures: []figure{{predicted: 1, actual: whole(1)}, {predicted: 1, actual: whole(1), fitted: true}}}
	if s := c.score(func(*figure) bool { return true }); s.n != 1 {
		t.Errorf("%d figures count, want 1", s.n)
	}
}

func TestCommas(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 4_415_744: "4,415,744", -1000: "-1,000", -999: "-999"} {
		if got := commas(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	x := newTable("op", ">bytes")
	x.row("a|b", "1")
	x.row("<c>")
	want := "| op | bytes |\n| --- | ---: |\n| a\\|b | 1 |\n| &lt;c> |  |\n\n"
	if diff := cmp.Diff(want, x.String()); diff != "" {
		t.Error(diff)
	}
}

// Series hold MiB; the compiler printed two decimals of the unit.
func TestPrinted(t *testing.T) {
	for mib, want := range map[string]string{"0.050537109375": "51.75KiB", "0.0": "0.00B", "6.25": "6.25MiB", "11.76": "11.76MiB"} {
		got, err := printed(mib)
		if err != nil || got.Text != want {
			t.Errorf("%s: %s, want %s (error %v)", mib, got.Text, want, err)
		}
	}
}
