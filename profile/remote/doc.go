// Package remote measures where no tpuplan is installed: with Python's standard
// library, on this machine ([Python]), on a board that ssh reaches ([Dial]), or
// on one that nothing reaches, by files that somebody carries ([Export]).
//
// measure.py is one script that speaks the protocol of package profile, as the
// child of package device does. It measures with the libraries that a program in
// Python uses on that board.
//
// A board gets a private folder, which its own shell removes when the
// connection ends, however it ends; a measuring process there does not outlive the
// connection either. Compiled models stay there, by their hash, in
// ~/.cache/tpuplan/models.
package remote
