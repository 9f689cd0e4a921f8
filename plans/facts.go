package plans

import (
	"errors"

	"github.com/tpuplan/tpuplan/compile"
)

// factsFile is the record of what real compiles taught.
var factsFile = record{
	name: "facts file", what: "a facts file", most: 16 << 20,
	again:  "take the file from version control, or delete it and compile again",
	forget: "use that tpuplan, or delete the file and compile again",
}

// FactsPath is where the facts of a plan lie: beside it, plan.toml and its
// lock plan.lock.json have plan.facts.json.
func FactsPath(planOrLock string) string { return besidePlan(planOrLock, ".facts.json") }

// ReadFacts reads a facts file. A missing file wraps fs.ErrNotExist. Entries
// about releases that this version does not know are kept, fields that it
// does not know are ignored, and a newer format is an error.
func ReadFacts(path string) (*compile.Facts, error) {
	data, err := factsFile.read(path)
	if err != nil {
		return nil, err
	}
	return ParseFacts(path, data)
}

// ParseFacts reads the contents of a facts file; the name is used in messages.
func ParseFacts(name string, data []byte) (*compile.Facts, error) {
	if err := factsFile.check(name, data); err != nil {
		return nil, err
	}
	facts, err := compile.ParseFacts(data)
	if at := (*compile.FactsError)(nil); errors.As(err, &at) {
		return nil, factsFile.badAt(name, data, int64(at.Offset), "not a facts file: "+at.What)
	}
	if err != nil {
		return nil, factsFile.schema(name, err)
	}
	return facts, nil
}

// WriteFacts writes facts as [WriteLock] writes a lock: whole or not at all,
// and only if they changed.
func WriteFacts(path string, f *compile.Facts) error {
	data, err := encode(f)
	if err != nil {
		return err
	}
	return write(path, data)
}
