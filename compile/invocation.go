package compile

import (
	"path"
	"strings"
)

// Invocation is one call of edgetpu_compiler: all models of a group in one
// command line, so that their parameters share the pool and their outputs one
// token. All paths are slash-separated and relative to the plan's folder,
// where the call runs.
//
// A call never writes where its results are wanted. It fills TempDir, and
// whoever started it moves a complete set of outputs from there to Outputs.
type Invocation struct {
	Command []string // the compiler, several words if it needs a prefix (a container)
	Flags   []string // -a, -s, -m N, -t N
	OutDir  string   // where the outputs end up; "" is the plan's folder
	Group   string   // name of the group, part of TempDir and LogFile
	Files   []string // the models in command-line order
}

// Argv returns the words of the call: command, flags, -o TempDir, models. It
// is what the lock records and what every build file runs.
func (i *Invocation) Argv() []string {
	argv := make([]string, 0, len(i.Command)+len(i.Flags)+2+len(i.Files))
	argv = append(argv, i.Command...)
	argv = append(argv, i.Flags...)
	argv = append(argv, "-o", i.TempDir())
	for _, file := range i.Files {
		argv = append(argv, noDash(file))
	}
	return argv
}

// TempDir is the folder that the call itself writes to. It lies in OutDir
// because a compiler in a container sees only the project, and because a move
// inside one file system is atomic.
func (i *Invocation) TempDir() string { return i.inOutDir(".tpuplan-" + i.Group) }

// LogFile is where the compiler's output is kept.
func (i *Invocation) LogFile() string { return i.inOutDir(i.Group + ".log") }

// Outputs are the compiled models, in the order of Files.
func (i *Invocation) Outputs() []string {
	outputs := make([]string, len(i.Files))
	for n, file := range i.Files {
		outputs[n] = i.inOutDir(OutputName(file))
	}
	return outputs
}

// MarkFolder is the folder inside an output folder where build files keep
// marks: MarkFolder/OUTPUT/MARK says which call an output came from. Package
// emit explains them.
const MarkFolder = ".tpuplan"

// OutputName is the base name that edgetpu_compiler gives to the compiled form
// of a model: models/face.tflite becomes face_edgetpu.tflite (the "Output
// model" lines of its logs). The folder of the model plays no part, so two
// models of one base name collide.
func OutputName(file string) string {
	base := path.Base(file)
	return strings.TrimSuffix(base, path.Ext(base)) + "_edgetpu.tflite"
}

// inOutDir does not use path.Join, which would turn "./x" into "x": a build
// file writes OUT_DIR as a variable followed by "/x" and must arrive at the
// same words.
func (i *Invocation) inOutDir(name string) string {
	dir := noDash(path.Clean(i.OutDir))
	if strings.HasSuffix(dir, "/") { // only the root
		return dir + name
	}
	return dir + "/" + name
}

// noDash keeps a path from being read as an option.
func noDash(p string) string {
	if strings.HasPrefix(p, "-") {
		return "./" + p
	}
	return p
}
