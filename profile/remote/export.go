package remote

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	shell "github.com/tpuplan/tpuplan/compile/emit"
	"github.com/tpuplan/tpuplan/profile"
)

// RunFile is the contents of a file of runs for [Script]: a line for each. Their
// names must differ.
func RunFile(runs []*profile.Run) ([]byte, error) {
	var data []byte
	names := map[string]bool{}
	for _, run := range runs {
		if err := run.Check(); err != nil {
			return nil, err
		}
		if names[run.Name] {
			return nil, fmt.Errorf("two runs are called %q", run.Name)
		}
		names[run.Name] = true
		line, err := json.Marshal(run)
		if err != nil {
			return nil, err
		}
		data = append(append(data, line...), '\n')
	}
	return data, nil
}

// IsScript says whether a file is [Script], or another version of it.
func IsScript(data []byte) bool {
	head, _, _ := bytes.Cut(Script, []byte(":"))
	return bytes.HasPrefix(data, head)
}

// Commands are what to type on a board to do the runs of a file, and what to type
// here to read the samples that come back.
func Commands(runFile string) (there, here string) {
	samples := Samples(runFile)
	return fmt.Sprintf("python3 %s %s > %s", ScriptName, word(runFile), word(samples)), "tpuplan profile --import " + word(samples)
}

// Samples is what the samples of a file of runs are called.
func Samples(runFile string) string { return strings.TrimSuffix(runFile, ".json") + ".samples.jsonl" }

// word is a file name as a word of a shell that no program takes for a flag.
func word(name string) string {
	if strings.HasPrefix(name, "-") {
		name = "./" + name
	}
	return shell.Quote(name)
}
