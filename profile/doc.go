// Package profile holds measurements: what is to be called on a device ([Run])
// and what it took ([Sample]), whoever measures. A run goes in as one JSON
// object, samples come out as JSON lines that are flushed one by one, so that
// a measurer may be a child process, a script on a board that cannot be
// reached, a simulation or a file; where a sample came from is a field of it.
//
// The package neither measures (that is profile/device and profile/remote)
// nor plans.
package profile
