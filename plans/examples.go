package plans

import (
	"embed"
	"io/fs"
)

//go:embed *.toml
var examples embed.FS

// Examples holds the example plans, one file per feature, NAME.toml. They name
// models that are not part of tpuplan.
func Examples() fs.FS { return examples }
