//go:build !unix

package performance

// processorTime is not known here.
func processorTime() float64 { return -1 }
