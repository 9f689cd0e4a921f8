// Command tpuplan plans how models share the memory of an Edge TPU: which of
// them are compiled together, and in which order.
//
// Each subcommand has a file of its own. ui.go holds every word written to
// the terminal that is not a result, internal/view turns results into tables
// and JSON, and the packages above this folder do the work.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(int(run(context.Background(), os.Args, os.Getenv, os.Stdin, os.Stdout, os.Stderr)))
}
