//go:build race

package planner

// The race detector makes the search ten times slower.
func init() { detectingRaces = true }
