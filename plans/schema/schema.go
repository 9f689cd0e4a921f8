// Package schema holds the JSON Schemas (draft 2020-12) of what tpuplan writes
// for programs: one file per kind, KIND.v1.schema.json. They list the fields
// that are always there; further fields may be present and may be added.
package schema

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed *.schema.json
var files embed.FS

const suffix = ".v1.schema.json"

// Kinds lists the kinds of output that have a schema, sorted: "plan" is the
// kind of an object whose schema field is "tpuplan/plan/v1".
func Kinds() []string {
	entries, _ := files.ReadDir(".") // cannot fail: the folder is part of the program
	var kinds []string
	for _, e := range entries {
		kinds = append(kinds, strings.TrimSuffix(e.Name(), suffix))
	}
	slices.Sort(kinds)
	return kinds
}

// Of returns the schema of a kind as JSON.
func Of(kind string) ([]byte, error) {
	data, err := files.ReadFile(kind + suffix)
	if err != nil {
		return nil, fmt.Errorf("no schema for %q (known: %s)", kind, strings.Join(Kinds(), ", "))
	}
	return data, nil
}
