// Package process starts programs so that they can be ended with everything
// that they started: as the leader of a process group, where the system has
// such groups.
package process
