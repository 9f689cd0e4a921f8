package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMeasuringCommands: the commands of docs/measuring.md are ones that tpuplan understands.
func TestMeasuringCommands(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "measuring.md"))
	if err != nil {
		t.Fatal(err)
	}
	u := &ui{getenv: func(string) string { return "" }}
	app := newApp(u)
	n := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "    tpuplan ") {
			continue
		}
		n++
		w, err := arrange(app, strings.Fields(line))
		if err != nil || w.command.Name != "profile" {
			t.Errorf("%s%v", line, err)
		}
	}
	if n < 6 {
		t.Errorf("%d commands", n)
	}
}
