// Package device is the path to a real Edge TPU: it will run compiled models
// through the TensorFlow Lite runtime.
//
// The runtime is C and needs the device's driver, so everything but this
// comment stands behind the build tag edgetpu; without the tag the package is
// empty and the program stays free of cgo.
package device
