package main

import (
	"os"
	"path/filepath"
	"slices"
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
		if err != nil || !slices.Contains([]string{"profile", "validate", "calibrate"}, w.command.Name) {
			t.Errorf("%s%v", line, err)
		}
	}
	if n < 11 {
		t.Errorf("%d commands", n)
	}
}
