// Package profile is the place for measurements: how long a compiled model
// takes on a device, with which certainty, and how that compares with what
// was predicted.
//
// It is empty so far. Until it can measure, a plan file takes measured times
// as the keys steady and cold of a model.
package profile
