// Package cost says what a call of a model costs on a device: links, call
// processes, steady, cold and expected time. Closed forms only; it imports
// nothing of tpuplan and knows no files.
//
// Build a [Call] per model, with [Modelled] from a link alone or with
// [Calibrated] from times that were measured, and a [Process] for the
// workload, with [Independent], [Runs], [Cyclic] or, call by call, a [Sequence]. Then
// [Call.Expected] gives the mean time of a call for any split of the model's
// parameters, and a [Queue] how long calls that arrive at random wait for the device.
//
// Package cost/replay counts the same quantities by playing calls one by one.
// Neither imports the other, so that each checks the other.
//
// Times are milliseconds, sizes bytes, rates bytes per millisecond; 1 MB/s is
// 1000 bytes per millisecond. Results are the same on every machine: no
// expression here leaves the compiler a choice to fuse a product with a sum.
package cost
