// Package schematest checks JSON output against the schemas. It is for tests:
// the program itself does not depend on a schema library.
package schematest

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tpuplan/tpuplan/plans/schema"
)

var compiled = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	for _, kind := range schema.Kinds() {
		data, err := schema.Of(kind)
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("schema of %s: %w", kind, err)
		}
		if err := c.AddResource(urn(kind), doc); err != nil {
			return nil, fmt.Errorf("schema of %s: %w", kind, err)
		}
	}
	all := map[string]*jsonschema.Schema{}
	for _, kind := range schema.Kinds() {
		s, err := c.Compile(urn(kind))
		if err != nil {
			return nil, fmt.Errorf("schema of %s: %w", kind, err)
		}
		all[kind] = s
	}
	return all, nil
})

func urn(kind string) string { return "urn:tpuplan:" + kind + ":v1" }

// Validate checks that data is one JSON object of a kind, such as "plan" for
// tpuplan/plan/v1. The error lists every deviation with its place.
func Validate(kind string, data []byte) error {
	schemas, err := compiled()
	if err != nil {
		return err
	}
	s, ok := schemas[kind]
	if !ok {
		_, err := schema.Of(kind)
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	return s.Validate(doc)
}
