// Package device measures on an Edge TPU of this machine.
//
// The library that drives the device, libedgetpu, ends the whole process when
// the USB fails and never returns from a call of a device that went silent. So
// the measuring is done by a child process: [Local] starts it, watches over
// it and passes its samples on; [Serve] is the child's side. They talk in
// lines, a profile.Run in, profile.Sample and profile.Event out, so that Serve may as well
// run on another machine.
//
// Only the child's side needs C and the TensorFlow Lite runtime: it stands
// behind the build tag edgetpu. Without the tag [Available] is false and Serve
// says so, while everything else is there.
//
// libedgetpu is loaded when the child runs, not when the program starts: a
// library that is missing, or is another one than expected, is a failure of the
// run. What the child promises: it opens no device that the library does not
// list, because opening an absent one takes 25 s; it keeps all interpreters until the
// device is closed, because the parameters of a deleted one can be taken for
// those of the next, which then seems faster than it is; and it makes one inference
// with an interpreter that is not measured before it measures.
package device
