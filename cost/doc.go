// Package cost says what a call of a model costs on a device: links, call
// processes, steady, cold and expected time. It has closed forms only,
// imports nothing of tpuplan and knows no files.
//
// A [Call] is built from a [Link] by [Modelled] or from measurements by
// [Calibrated]; a [Process] says how often a call has to load.
//
// Results are the same on every machine: where a product is added to
// something it is rounded first, so that no processor fuses the two.
package cost
