package cost

import (
	"fmt"
	"strings"
)

// Link is the way from host memory to the device.
type Link struct {
	Name       string
	BytesPerMS float64 // for loads and for streamed parameters alike
	OverheadMS float64 // fixed extra of a call that has to load its parameters first
}

// DefaultOverheadMS is the fixed extra time of a call that loads, on every
// built-in link: the constant term measured for a Raspberry Pi 4 on USB 3 by
// the SPARTA study (3.3 ms per MiB and 0.43 ms). No other link has been
// measured for it.
const DefaultOverheadMS = 0.43

// LoadInstructionBytes is the instruction stream of a load, 10 KB (here 1 KB =
// 1024 bytes). Compiled files hold 0.7 to 33 KB; the split between models
// changes it a little, which is not modelled.
const LoadInstructionBytes = 10 * 1024

// Instruction bytes sent with every inference for each op that runs on the
// device, where no compiled file says better. MobileNets hold 47 to 78 KB for
// about 31 ops when compiled up to 15.0, and 170 to 218 KB by 16.0.
const (
	instructionBytesPerOp   = 2 * 1024
	instructionBytesPerOp16 = 6 * 1024
)

// links are starting values seen by users of each kind of host.
var links = [...]Link{
	{"usb2", 34e3, DefaultOverheadMS},       // Raspberry Pi 3 and 3B+: 32 to 36 MB/s
	{"usb3-rpi4", 275e3, DefaultOverheadMS}, // Raspberry Pi 4
	{"pcie", 385e3, DefaultOverheadMS},      // Dev Board and M.2 cards
	{"usb3", 455e3, DefaultOverheadMS},      // desktop hosts: 2.3 ms per MiB
}

// Links lists the built-in links, slowest first.
func Links() []Link { return append([]Link(nil), links[:]...) }

// BuiltinLink finds a built-in link by name. The error lists the names.
func BuiltinLink(name string) (Link, error) {
	names := make([]string, len(links))
	for i, l := range links {
		if l.Name == name {
			return l, nil
		}
		names[i] = l.Name
	}
	return Link{}, fmt.Errorf("unknown link %q (known: %s; or give a table with mb_per_s)", name, strings.Join(names, ", "))
}

// InstructionBytes guesses the instruction stream of an inference with
// mappedOps ops on the device: 2 KB (of 1024 bytes) per op, 6 KB for
// compiler 16.0. A heuristic, good to compare compiler versions with, never to decide
// inside one.
func InstructionBytes(mappedOps int, compiler16 bool) int64 {
	if compiler16 {
		return int64(mappedOps) * instructionBytesPerOp16
	}
	return int64(mappedOps) * instructionBytesPerOp
}
