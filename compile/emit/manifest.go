package emit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// ManifestSchema names the format of a manifest; fields are only added to it.
const ManifestSchema = "tpuplan/manifest/v1"

// Placement says where a model runs. A manifest lists them for whoever loads
// the compiled files.
type Placement struct {
	Model         string `json:"model"`
	File          string `json:"file"` // the compiled file, a slash path relative to the plan's folder
	Device        string `json:"device"`
	Group         string `json:"group"`
	WarmUp        int    `json:"warm_up"` // from 1: the order of the first calls on its device
	CachedBytes   int64  `json:"cached_bytes"`
	StreamedBytes int64  `json:"streamed_bytes"`
	// Token and SHA256 are those of the file that lies there now; absent until
	// all files of the group are compiled, by one call.
	Token  string `json:"token,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

// Manifest writes the JSON object tpuplan/manifest/v1: which compiled file
// runs where, for a program that loads the models.
func Manifest(w io.Writer, b *Build) error {
	if len(b.Placements) == 0 {
		return fmt.Errorf("there is no model to write")
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(struct {
		Schema   string      `json:"schema"`
		Compiler string      `json:"compiler"`
		Lock     string      `json:"lock,omitempty"`
		Models   []Placement `json:"models"`
	}{ManifestSchema, b.Version, b.Lock, b.Placements})
	if err != nil {
		return err
	}
	_, err = w.Write(out.Bytes())
	return err
}
