// Command gen writes the packages that package schema describes. Run it by
// go generate in the folder of the schemas.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/tpuplan/tpuplan/tflite/internal/schema"
)

func main() {
	out := flag.String("o", "..", "folder to write the packages to")
	flag.Parse()
	if err := schema.Generate(".", *out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
