package plans

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tpuplan/tpuplan/cost"
	"github.com/tpuplan/tpuplan/plans/schema"
)

// docs/formats.md shows plans that work, names every key, every schema and
// every link with its rate, and prints messages that are really given.
func TestReferenceIsTrue(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "docs", "formats.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	example := regexp.MustCompile("(?s)```toml\n(.*?)```").FindStringSubmatch(text)
	if example == nil {
		t.Fatal("no example plan")
	}
	if _, err := Parse("plan.toml", []byte(example[1])); err != nil {
		t.Error(err)
	}
	wrong := strings.Replace(example[1], `"10/s"`, "\"10\"\nordr_before = []", 1)
	_, err = Parse("plan.toml", []byte(wrong))
	if err == nil || !strings.Contains(text, "```\n"+err.Error()+"\n```") {
		t.Errorf("the messages of the reference are now\n%v", err)
	}
	names := []string{
		"version", "flags", "out_dir", "command", "name", "link", "file", "rate", "weight", "group", "order_before",
		"available", "steady", "cold", "kind", "calibration", "runtime", "mb_per_s", "overhead", "deadline", "segments", "log", "compiled", "device", "hedge",
	}
	for _, name := range names {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("key %s is not in the reference", name)
		}
	}
	for _, kind := range schema.Kinds() {
		if !strings.Contains(text, "../plans/schema/"+kind+".v1.schema.json") {
			t.Errorf("schema %s is not in the reference", kind)
		}
	}
	for _, l := range cost.Links() {
		if row := "| `\"" + l.Name + "\"` | " + strings.TrimSuffix(Number(l.BytesPerMS/1000).text(), ".0") + " |"; !strings.Contains(text, row) {
			t.Errorf("no row %s in the reference", row)
		}
	}
}
