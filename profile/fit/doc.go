// Package fit turns timed calls into a [cost.Calibration]: the rate of the
// link, what a load costs besides its bytes, what the host takes, and for each model
// its compute time and what streaming costs it.
//
// [Collect] sorts samples by compiled file and kind of call, [Fit] fits. The
// formulas are those of [cost.Calibration]; they are linear in what is looked
// for, except where small loads or streamed parameters hide behind compute: there a
// step of the minimisation takes what is hidden where it stands.
//
// How it is done. Calls of one file, kind and run are a cell; all samples of a
// cell have one expected time. How much repeats scatter is taken from within
// the cells, so that it does not depend on the formulas. The estimate
// minimises Tukey's loss, which gives a sample beyond 4.7 standard deviations
// no say, under the condition that nothing is negative; it starts from Huber's
// loss and non-negative least squares. A parameter whose effect on the times
// is, to 2 %, a combination of the effects of others (so well do calls of one
// kind repeat on real hardware) keeps its built-in value, and the others
// are fitted for that value.
//
// The 95 % intervals are those of the same estimate without the condition, cut
// at 0: Student's t on the sandwich covariance, with the degrees of freedom of
// the cells that matter to the parameter (Satterthwaite). They widen where
// repeats follow each other (drift), and where cells disagree by more than
// their repeats allow (the formulas are then not the whole truth).
//
// Where a file's ops are known ([File].Ops), compute times of several models then tell the
// host's part of them, and how far each model is from its shapes.
package fit
