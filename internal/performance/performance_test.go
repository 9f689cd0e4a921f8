package performance

import (
	"flag"
	"os"
	"testing"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/internal/nets"
	"github.com/tpuplan/tpuplan/internal/testdata"
)

var (
	update = flag.Bool("update", false, "measure and rewrite the tables of docs/performance.md")
	most   = flag.Int("most", 64, "with -update: measure rows of up to so many models, leave the others")
)

const document = "../../docs/performance.md"

// few is up to how many models the rows are compared in every run.
const few = 8

// paying are the rows of where planning pays: which nets, which release.
func paying(t *testing.T) (keys []string, pays map[string]func() (*Gains, compile.Version, string, error)) {
	t.Helper()
	pays = map[string]func() (*Gains, compile.Version, string, error){}
	for _, list := range []struct {
		what string
		nets []*nets.Net
	}{{"public nets", nets.Files(testdata.Dir(t))}, {"built nets", nets.Built()}} {
		for _, v := range Releases {
			key := PaysKey(list.what, v)
			keys = append(keys, key)
			pays[key] = func() (*Gains, compile.Version, string, error) {
				g, err := Pays(list.nets, v)
				return g, v, list.what, err
			}
		}
	}
	return keys, pays
}

// What is the same on every machine is what docs/performance.md says, for
// few models. With -update the tables are measured anew.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		rewrite(t, text)
		return
	}
	if testing.Short() {
		t.Skip("plans some hundred instances")
	}
	rows, err := SizesTable.Rows(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) == 0 {
		t.Skip("the tables are empty: make tables fills them")
	}
	for _, c := range Sizes() {
		if c.Models > few {
			continue
		}
		results, err := c.Measure()
		if err != nil {
			t.Fatal(err)
		}
		compare(t, c.Table(), rows, c.Key(), c.Row(results))
	}
	if rows, err = PaysTable.Rows(text); err != nil {
		t.Fatal(err)
	}
	keys, pays := paying(t)
	for _, key := range keys {
		g, v, what, err := pays[key]()
		if err != nil {
			t.Fatal(err)
		}
		compare(t, PaysTable, rows, key, g.Row(what, v))
	}
}

func compare(t *testing.T, table Table, rows map[string]Row, key string, now Row) {
	t.Helper()
	was, ok := rows[key]
	if !ok {
		t.Errorf("table %s has no row %q", table.Name, key)
		return
	}
	if got, want := table.FirmPart(now), table.FirmPart(was); got != want {
		t.Errorf("table %s says of the search what is not so, run make tables and look at the difference\ngot  %s\nwant %s", table.Name, got, want)
	}
}

// rewrite measures, and writes after every row: the last ones take long.
func rewrite(t *testing.T, text []byte) {
	t.Helper()
	if !Processor() {
		t.Fatal("this system does not tell processor time")
	}
	put := func(table Table, keys []string, key string, row Row) {
		var err error
		if text, err = table.Update(text, keys, map[string]Row{key: row}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(document, text, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s", row)
	}
	for _, cases := range [][]Case{Sizes(), Hard()} {
		var keys []string
		for _, c := range cases {
			keys = append(keys, c.Key())
		}
		for _, c := range cases {
			if c.Models > *most {
				continue
			}
			results, err := c.Measure()
			if err != nil {
				t.Fatal(err)
			}
			put(c.Table(), keys, c.Key(), c.Row(results))
		}
	}
	keys, pays := paying(t)
	for _, key := range keys {
		g, v, what, err := pays[key]()
		if err != nil {
			t.Fatal(err)
		}
		put(PaysTable, keys, key, g.Row(what, v))
	}
}

// Instances are the same in every run, and none is like another.
func TestDraw(t *testing.T) {
	for _, c := range append(Sizes(), Hard()...) {
		if testing.Short() && c.Models > few {
			continue
		}
		shares := map[float64]bool{}
		for i := range Instances {
			a, err := c.Draw(i)
			if err != nil {
				t.Fatal(err)
			}
			b, err := c.Draw(i)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Models) != c.Models {
				t.Fatalf("%+v: %d models", c, len(a.Models))
			}
			for m := range a.Models {
				if x, y := &a.Models[m], &b.Models[m]; x.Name != y.Name || x.Share != y.Share || x.Load.Bytes() != y.Load.Bytes() {
					t.Fatalf("%+v: model %d of instance %d is another one when it is drawn again", c, m, i)
				}
			}
			if err := a.Validate(); err != nil {
				t.Fatalf("%+v: %v", c, err)
			}
			shares[a.Models[0].Share] = true
		}
		if len(shares) < Instances && c.Kind != EqualRates {
			t.Errorf("%+v: only %d different instances", c, len(shares))
		}
	}
}

func TestUpdate(t *testing.T) {
	table := Table{"x", 2, 3, "| a | b | c | d |"}
	text := []byte("before\n<!-- begin x -->\n<!-- end x -->\nafter\n")
	keys := []string{"1 | 2", "3 | 4"}
	for _, r := range []Row{"| 3 | 4 | 5 | 6 |", "| 1 | 2 | 7 | 8 |", "| 3 | 4 | 9 | 0 |"} {
		var err error
		if text, err = table.Update(text, keys, map[string]Row{table.key(r): r}); err != nil {
			t.Fatal(err)
		}
	}
	want := "before\n<!-- begin x -->\n| a | b | c | d |\n|---|---|---|---|\n| 1 | 2 | 7 | 8 |\n| 3 | 4 | 9 | 0 |\n<!-- end x -->\nafter\n"
	if string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if got := table.FirmPart("| 3 | 4 | 9 | 0 |"); got != "3 | 4 | 9" {
		t.Errorf("firm part %q", got)
	}
	if _, err := (Table{Name: "y"}).Rows(text); err == nil {
		t.Error("a table that is not there was found")
	}
}

func TestFigures(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 0.0123: "0.012", 0.99: "0.99", 1.25: "1.2", 9.94: "9.9", 12.4: "12", 1234: "1234"} {
		if got := figures(x); got != want {
			t.Errorf("%v: %s, want %s", x, got, want)
		}
	}
	if got := count(1234567); got != "1,234,567" {
		t.Error(got)
	}
	if got := duration(1500); got != "1.5 s" {
		t.Error(got)
	}
	list := []float64{1, 2, 3, 10}
	if q := quantile(list, 0.5); q != 2.5 {
		t.Errorf("median %v", q)
	}
	if n := sortedBelow(list, 3); n != 3 {
		t.Errorf("%d not above 3", n)
	}
}
