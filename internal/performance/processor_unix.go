//go:build unix

package performance

import "syscall"

// processorTime is what the program has used so far, in ms.
func processorTime() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return -1
	}
	ms := func(t syscall.Timeval) float64 { return float64(t.Nano()) / 1e6 }
	return ms(u.Utime) + ms(u.Stime)
}
