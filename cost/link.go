package cost

import (
	"fmt"
	"strings"
)

// Link is the way from host memory to the device, and what the host does for a call.
type Link struct {
	Name       string
	BytesPerMS float64 // for loads, streamed parameters, instructions and input alike
	OverheadMS float64 // fixed extra of a call that has to load its parameters first
	// Call is what the host takes for every call besides bytes and compute, in ms.
	Call Range
	// OutputMSPerByte is what a byte of output takes, which comes the other way.
	OutputMSPerByte float64
	// Slow is by what factor the chip computes slower than at 500 MHz; 0 is 1.
	Slow float64
	// Hosts of a kind differ: RateLow and RateHigh are by which factors the rate
	// may be another. Both are 0 where somebody measured it.
	RateLow, RateHigh float64
}

// Runtime is the link with a device that the named runtime clocks: "max" is
// 500 MHz, "std" half of it. PCIe devices have one clock, which is the former.
func (l Link) Runtime(name string) (Link, error) {
	switch name {
	case "max", "":
		l.Slow = 1
	case "std":
		l.Slow = 2
	default:
		return l, fmt.Errorf("unknown runtime %q (known: std, max)", name)
	}
	return l, nil
}

// PCIe reports a built-in link of a PCIe device, whose clock no runtime halves.
func (l *Link) PCIe() bool { return strings.HasPrefix(l.Name, "pcie") }

// DefaultOverheadMS is the fixed extra time of a call that loads, on every
// built-in link: the constant term measured for a Raspberry Pi 4 on USB 3 by
// the SPARTA study (3.3 ms per MiB and 0.43 ms). No other link has been
// measured for it.
const DefaultOverheadMS = 0.43

// LoadInstructionBytes is the instruction stream of a load, 10 KB (here 1 KB =
// 1024 bytes). Compiled files hold 0.7 to 33 KB; the split between models
// changes it a little, which is not modelled.
const LoadInstructionBytes = 10 * 1024

// Instruction bytes sent with every inference, where no compiled file says
// better. MobileNets hold 47 to 78 KB for about 31 ops when compiled up to 15.0.
// 16.0 was seen with 87.6 KB for 28 ops, 133 KB for 80, 304 KB for 200, and 50 to 115 KB
// more where a softmax over a thousand classes runs on the chip.
const (
	instructionBytesPerOp     = 2 * 1024
	instructionBytesPerOp16   = 2560
	instructionBytes16        = 5 * 1024
	instructionBytesSoftmax16 = 100 * 1024
)

// How long the host is busy with a call: fitted for each kind of host, and how far
// hosts of a kind were seen to differ. Raspberry Pis of 2019 took 1.9 ms longer.
var (
	desktopCall = Range{0.13, 0, 0.43} // how far hosts differ: 0.3 ms
	pcieCall    = Range{0.15, 0, 0.54} // Dev Board 0.24, a card in a PC 0.05
	pi4Call     = Range{0.2, 0, 2.1}
	pi3Call     = Range{1.1, 0.9, 3}
)

// links are starting values seen by users of each kind of host. Nobody
// published times of two of them: a Raspberry Pi 5 has ports faster than a 4 and is
// taken to lie between that and a desktop; a slot of the first generation carries half
// the bits of the second.
var links = [...]Link{
	{"usb2", 34e3, DefaultOverheadMS, pi3Call, 1 / 34e3, 1, 0.8, 1.2},      // Raspberry Pi 3 and 3B+: 32 to 36 MB/s
	{"pcie-gen1", 192e3, DefaultOverheadMS, pcieCall, 6.6e-6, 1, 0.8, 1.2}, // 2.5 GT/s; see pcie
	{"usb3-rpi4", 300e3, DefaultOverheadMS, pi4Call, 5e-6, 1, 0.88, 1.12},  // Raspberry Pi 4: 275 in 2019, 305 to 330 in 2026
	{"usb3-rpi5", 380e3, DefaultOverheadMS, pi4Call, 5e-6, 1, 0.75, 1.25},  // Raspberry Pi 5
	{"pcie", 384e3, DefaultOverheadMS, pcieCall, 6.6e-6, 1, 0.8, 1.2},      // Dev Board and M.2 cards
	{"usb3", 455e3, DefaultOverheadMS, desktopCall, 5e-6, 1, 0.8, 1.2},     // desktop hosts: 2.3 ms per MiB
}

// CustomLink is a link whose rate and overhead of a load somebody gave. What the
// host takes for a call is not known then: it may be that of any host.
func CustomLink(bytesPerMS, overheadMS float64) Link {
	return Link{
		Name: "custom", BytesPerMS: bytesPerMS, OverheadMS: overheadMS,
		Call: Range{0.2, 0, 2.1}, OutputMSPerByte: max(5e-6, 1/bytesPerMS), Slow: 1,
	}
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

// Program is what of a model decides how many instructions an inference sends.
type Program struct {
	Ops        int  // that run on the device
	Compiler16 bool // made by compiler 16.0
	Softmax    bool // a softmax over some hundred classes runs on the device
}

// InstructionBytes guesses the instruction stream of an inference: 2 KB (of
// 1024 bytes) per op up to 15.0; in 16.0 2.5 KB per op, 5 KB more, and 100 KB for a large
// softmax. A heuristic, good to compare compiler versions with, never to decide
// inside one.
func (p Program) InstructionBytes() int64 {
	if !p.Compiler16 {
		return int64(p.Ops) * instructionBytesPerOp
	}
	n := int64(p.Ops)*instructionBytesPerOp16 + instructionBytes16
	if p.Softmax {
		n += instructionBytesSoftmax16
	}
	return n
}
