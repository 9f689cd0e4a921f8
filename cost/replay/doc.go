// Package replay plays calls one by one on a model of the Edge TPU's driver:
// which parameters are on the device, what a call loads, how long it takes and
// waits. It knows no formula of package cost and imports nothing of tpuplan,
// so that the closed forms there and the counts here check each other.
//
// A [Driver] is the state machine alone. [New] puts models on devices with
// queues; [Replay.Do] plays the calls of a [Source] (drawn at random, periodic, a
// cycle, or a [Trace] that was recorded), and [Replay.Model], [Replay.Total] and
// [Replay.Device] say what came of them. A [Timeline] writes the calls down for
// a trace viewer.
//
// Whatever this package yields is simulated and is to be labelled so: no
// device was asked. Times are milliseconds, sizes bytes. Random calls are the
// same for the same seed on every machine.
package replay
