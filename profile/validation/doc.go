// Package validation holds timed calls of a plan against what was predicted of
// them.
//
// Fill in an [Experiment]: the models with what a call of each costs, the
// arrangements of compiled files to compare, and the sequence of calls.
// [Experiment.Runs] are what a profile.Measurer is to do; [Experiment.Check]
// takes the samples that came of it. Its [Result] has predicted and measured
// times side by side, says whether the arrangements rank as predicted, and names
// what is wrong by general rules: an output that differs, a split that is not the
// file's, a link of another rate, a device that throttles, loads where none
// should be and the other way round.
//
// The package measures nothing and reads no files. Which call loads and what it
// sends is played call by call by cost/replay with the tokens and bytes of the
// compiled files, so of this very sequence both are exact; how long that takes is
// computed by cost.Call.
package validation
