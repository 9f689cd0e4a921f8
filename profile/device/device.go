//go:build edgetpu

package device

import (
	_ "github.com/mattn/go-tflite" // the runtime that will execute compiled models
	_ "gonum.org/v1/gonum/stat"    // the statistics of their timings
)
