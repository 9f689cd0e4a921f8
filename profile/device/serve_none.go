//go:build !edgetpu || !(linux || darwin)

package device

import (
	"io"

	"github.com/tpuplan/tpuplan/profile"
)

// Available says whether this program can measure by itself: whether it was
// built with the tag edgetpu.
const Available = false

// NotBuilt is what a program without the tag answers.
var NotBuilt = &profile.Failure{
	Code: profile.NotAvailable,
	Text: "this tpuplan was built without the device path",
	Hint: "build one that has it with make edgetpu, in a clone of the repository",
}

// Serve does the run that is read from stdin and writes samples and events to
// stdout. The result is the exit code of the process.
func Serve(_ io.Reader, stdout io.Writer) int {
	profile.WriteEvent(stdout, &profile.Event{Failure: NotBuilt}) //nolint:errcheck // nobody listens
	return 1
}
