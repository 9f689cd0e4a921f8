// Package testdata finds the public data set that tests check real behaviour against.
package testdata

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Dir returns the folder of the public data set: $TPUPLAN_DATA, else
// ../shared/data beside the checkout. Where there is none the test is
// skipped, or fails if TPUPLAN_REQUIRE_DATA is 1, so that no CI run that has
// the data can lose an oracle unnoticed.
func Dir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("TPUPLAN_DATA")
	if dir == "" {
		_, here, _, _ := runtime.Caller(0)
		dir = filepath.Join(filepath.Dir(here), "..", "..", "..", "shared", "data")
	}
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return dir
	}
	if os.Getenv("TPUPLAN_REQUIRE_DATA") == "1" {
		t.Fatalf("the public data set is not at %s", dir)
	}
	t.Skipf("the public data set is absent: set TPUPLAN_DATA to its folder")
	return ""
}

// NeedTool skips a test whose oracle, a program of the machine, cannot be
// used, or fails it if TPUPLAN_REQUIRE_TOOLS is 1 (CI installs them all).
func NeedTool(t testing.TB, tool string, err error) {
	t.Helper()
	if os.Getenv("TPUPLAN_REQUIRE_TOOLS") == "1" {
		t.Fatalf("%s: %v", tool, err)
	}
	t.Skipf("%s cannot be used: %v", tool, err)
}
