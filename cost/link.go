package cost

// Constants of a call that no profile has replaced yet.
const (
	// OverheadMS is c, the fixed extra of a call that loads, in milliseconds.
	// Published fits on several hosts agree on about this value for every link.
	OverheadMS = 0.43
	// LoadInstructionBytes are sent with a load besides the cached parameters:
	// the caching executable's own instructions, 3 to 13 KB in public files.
	LoadInstructionBytes = 10 * 1024
)

// Link is the way from host to device. Every byte crosses it once per call.
type Link struct {
	Name       string
	BytesPerMS float64 // 1 MB/s = 1000 bytes/ms
	OverheadMS float64 // c, per call that loads
}

// Links are the built-in ones, slowest first, with rates measured and published by others.
func Links() []Link {
	return []Link{
		{"usb2", 34e3, OverheadMS},       // Raspberry Pi 3 and 3B+: 32 to 36 MB/s
		{"usb3-rpi4", 275e3, OverheadMS}, // Raspberry Pi 4
		{"pcie", 385e3, OverheadMS},      // Dev Board, M.2 and Mini PCIe cards
		{"usb3", 455e3, OverheadMS},      // desktop hosts
	}
}

// BuiltinLink finds a built-in link by name.
func BuiltinLink(name string) (Link, bool) {
	for _, l := range Links() {
		if l.Name == name {
			return l, true
		}
	}
	return Link{}, false
}
