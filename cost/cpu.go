package cost

// CPU is what the host's CPU has to do for a call besides the Edge TPU: ops
// that the compiler leaves to it.
type CPU struct {
	Detections int     // TFLite_Detection_PostProcess
	Resized    float64 // elements that a resize makes, and an ARG_MAX after it reads
	MACs       float64 // of convolutions and fully connected layers
	Others     int     // ops of which no figure is known
}

// None reports that nothing is left to the CPU that takes time.
func (c CPU) None() bool { return c == CPU{} }

// processor says how long a kind of CPU takes, from few published figures: good
// for "minutes or milliseconds", not for deadlines.
type processor struct {
	name                        string
	detectionLow, detectionHigh float64 // ms
	resizeLow, resizeHigh       float64 // ms per million elements
	multiplyLow, multiplyHigh   float64 // ms per 10^9 multiplications
}

// A resize to 513 x 513 x 21 and the ARG_MAX of it, 5.53 million elements, took 30 to 39 ms
// on x86 and 227 on a Dev Board. Nobody published it for a Raspberry Pi: there it
// is as much slower than x86 as convolutions are.
var (
	x86      = processor{"x86", 1.5, 2, 5.4, 7.1, 57, 155}
	devBoard = processor{"Dev Board", 5, 11, 36, 46, 272, 535}
	pi4      = processor{"Raspberry Pi 4", 8, 10.5, 13, 20, 163, 382}
	pi3      = processor{"Raspberry Pi 3", 35, 46, 30, 50, 366, 989}
)

// CPUTime is a rough figure of what the CPU takes for a call.
type CPUTime struct {
	LowMS, HighMS float64
	On            string // the kinds of CPU that are meant, such as "x86"
	Lacking       int    // ops of which no figure is known, which come on top
}

// Known reports whether there is any figure.
func (t *CPUTime) Known() bool { return t.HighMS > 0 }

// processors are the CPUs that a link is found at.
func (l *Link) processors() []processor {
	switch l.Name {
	case "usb2":
		return []processor{pi3}
	case "usb3-rpi4":
		return []processor{pi4}
	case "usb3-rpi5": // nobody published one
		return []processor{x86, pi4}
	case "usb3":
		return []processor{x86}
	case "pcie", "pcie-gen1":
		return []processor{x86, devBoard}
	}
	return []processor{x86, devBoard, pi4, pi3}
}

// CPUTime is what the CPU at the link takes for a call, a heuristic. A link
// that several kinds of CPU have gives the range of all.
func (l *Link) CPUTime(c CPU) CPUTime {
	t := CPUTime{Lacking: c.Others}
	for i, p := range l.processors() {
		low := float64(float64(c.Detections)*p.detectionLow) + float64(c.Resized*p.resizeLow)/1e6 + float64(c.MACs*p.multiplyLow)/1e9
		high := float64(float64(c.Detections)*p.detectionHigh) + float64(c.Resized*p.resizeHigh)/1e6 + float64(c.MACs*p.multiplyHigh)/1e9
		if i == 0 {
			t.LowMS, t.HighMS, t.On = low, high, p.name
			continue
		}
		t.LowMS, t.HighMS, t.On = min(t.LowMS, low), max(t.HighMS, high), t.On+" or "+p.name
	}
	return t
}
