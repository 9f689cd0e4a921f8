// Package runtest holds doubles of the programs that compile/run starts, for
// tests: a compiler and a container runner, each the main function of a
// command. The compiler knows nothing of tpuplan's rules: what it caches
// stands in a table of real results.
package runtest

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// Compiler stands in for edgetpu_compiler. Variables of the environment choose
// what it does:
//
//	FAKE_EDGETPU_VERSION  release, 16.0 by default
//	FAKE_EDGETPU_SPLIT    "NAME=CACHED,STREAMED;..." instead of the table's splits
//	FAKE_EDGETPU_FILES    "NAME=FILE;..." copies of which are written for these models
//	FAKE_EDGETPU_CAPACITY bytes for parameters; memory is printed (as from 2.1 on) if it is set
//	FAKE_EDGETPU_PIDS     file for the process ids of what hangs, one a line
//	FAKE_EDGETPU          how it fails; with ":NAME" only if a model is called so
//
// It fails in these ways: hang, stubborn (does not end when asked to), silent
// (closes its output and hangs), chatty (prints without end), megabytes (prints
// some and fails), die, orphan (dies and leaves a process), internal,
// internal-once, not_quantized, not_parsed, op_version, timeout, cut, zero, usage,
// half (one output is missing), empty, garbage, truncated, touch (a model
// changes), alone (outputs do not belong together). In the mode lingering it
// succeeds and leaves a process that goes on writing.
func Compiler() { os.Exit(compiler()) }

// builds are the full versions that the releases print.
var builds = map[string]string{
	"1.0": "1.0", "2.0": "2.0.291256449", "2.1": "2.1.302470888",
	"14.1": "14.1.317412892", "15.0": "15.0.340273435", "16.0": "16.0.384591198",
}

// call is a command line of the compiler.
type call struct {
	version    string
	minRuntime string
	dir        string
	files      []string
}

func newCall(args []string) *call {
	c := &call{version: "16.0", minRuntime: "14", dir: "."}
	if v := os.Getenv("FAKE_EDGETPU_VERSION"); v != "" {
		c.version = v
	}
	for i := 0; i < len(args); i++ {
		value := func() string {
			if i++; i < len(args) {
				return args[i]
			}
			return ""
		}
		switch arg := args[i]; {
		case arg == "-o":
			c.dir = value()
		case arg == "-m":
			c.minRuntime = value()
		case arg == "-t":
			value()
		case strings.HasPrefix(arg, "-"):
		default:
			c.files = append(c.files, arg)
		}
	}
	return c
}

// mode is how this call fails, "" if it does not.
func (c *call) mode() string {
	mode, name, only := strings.Cut(os.Getenv("FAKE_EDGETPU"), ":")
	for _, file := range c.files {
		if !only || strings.TrimSuffix(path.Base(file), ".tflite") == name {
			return mode
		}
	}
	return ""
}

func compiler() int {
	c := newCall(os.Args[1:])
	mode := c.mode()
	fmt.Println("Edge TPU Compiler version", builds[c.version])
	if c.version == "16.0" {
		fmt.Println("Started a compilation timeout timer of 180 seconds.")
	}
	var sizes []int64
	for _, file := range c.files {
		info, err := os.Stat(file)
		if err != nil {
			fmt.Printf("Invalid model: %s\nModel could not be parsed\n", file)
			return 1
		}
		sizes = append(sizes, info.Size())
	}
	if code, ended := c.failBefore(mode); ended {
		return code
	}
	return c.write(mode, sizes)
}

// failBefore fails in the ways that leave no output.
func (c *call) failBefore(mode string) (code int, ended bool) {
	end := func(format string, args ...any) (int, bool) {
		fmt.Printf(format+"\n", args...)
		return 1, true
	}
	first := ""
	if len(c.files) > 0 {
		first = c.files[0]
	}
	switch mode {
	case "hang", "stubborn", "silent":
		switch mode {
		case "stubborn":
			signal.Ignore(syscall.SIGTERM)
		case "silent":
			os.Stdout.Close() //nolint:errcheck // that is the test
			os.Stderr.Close() //nolint:errcheck // likewise
		}
		child := exec.Command("sleep", "600")
		if err := child.Start(); err != nil {
			return end("%v", err)
		}
		notePIDs(os.Getpid(), child.Process.Pid)
		child.Wait() //nolint:errcheck // the test ends it
		select {}
	case "orphan":
		child := exec.Command("sleep", "600")
		if err := child.Start(); err != nil {
			return end("%v", err)
		}
		notePIDs(os.Getpid(), child.Process.Pid)
		return end("/usr/bin/edgetpu_compiler: line 14: %d Segmentation fault      (core dumped)", child.Process.Pid)
	case "lingering":
		child := exec.Command("sh", "-c", `while :; do echo more >>"$0"; done`, filepath.Join(c.dir, "late"))
		if err := child.Start(); err != nil {
			return end("%v", err)
		}
		notePIDs(os.Getpid(), child.Process.Pid)
	case "chatty", "megabytes":
		line := strings.Repeat("a line that edgetpu_compiler does not print; ", 20) + "\n"
		notePIDs(os.Getpid())
		for n := 0; mode == "chatty" || n < 3<<20; n += len(line) {
			if _, err := os.Stdout.WriteString(line); err != nil {
				return 1, true
			}
		}
		return end("Internal compiler failure of a new kind")
	case "die":
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			self.Kill() //nolint:errcheck // nothing comes after it
		}
		select {}
	case "internal":
		return end("Internal compiler error. Aborting! ")
	case "internal-once":
		mark := filepath.Join(c.dir, "was-here")
		if _, err := os.Stat(mark); err != nil {
			os.WriteFile(mark, nil, 0o644) //nolint:errcheck // then it fails for ever
			return end("Internal compiler error. Aborting! ")
		}
	case "not_quantized":
		return end("Invalid model: %s\nModel not quantized", first)
	case "not_parsed":
		return end("Invalid model: %s\nModel could not be parsed", first)
	case "op_version":
		return end("ERROR: Didn't find op for builtin opcode 'CONV_2D' version '5'\n\nERROR: Registration failed.\n\nInvalid model: %s\nModel could not be parsed", first)
	case "timeout":
		return end("Compilation timeout. This is usually caused by large activations.\nCompilation child process completed within timeout period.\nCompilation failed! ")
	case "cut":
		return 1, true
	case "usage":
		return end("Usage:\nedgetpu_compiler [options] model...")
	}
	return 0, false
}

func notePIDs(pids ...int) {
	name := os.Getenv("FAKE_EDGETPU_PIDS")
	if name == "" {
		return
	}
	text := ""
	for _, pid := range pids {
		text += fmt.Sprintln(pid)
	}
	// Complete when it appears: the test waits for it.
	if os.WriteFile(name+".part", []byte(text), 0o644) == nil {
		os.Rename(name+".part", name) //nolint:errcheck // the test would tell
	}
}

// write compiles.
func (c *call) write(mode string, sizes []int64) int {
	h := fnv.New64a()
	fmt.Fprintln(h, c.version, c.minRuntime, c.files, sizes)
	token := h.Sum64()
	splits := c.splits(os.Getenv("FAKE_EDGETPU_SPLIT"), sizes)
	ready, err := c.ready(os.Getenv("FAKE_EDGETPU_FILES"), splits)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	capacity, memory := strconv.ParseInt(os.Getenv("FAKE_EDGETPU_CAPACITY"), 10, 64)
	for _, s := range splits {
		capacity -= onChip(s.cached)
	}
	plural := ""
	if len(c.files) > 1 {
		plural = "s"
	}
	fmt.Printf("\nModel%s compiled successfully in 11 ms.\n", plural)
	for i, file := range c.files {
		name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)) + "_edgetpu"
		out := filepath.Join(c.dir, name+".tflite")
		if mode == "alone" {
			token++
		}
		p := tflitetest.Split(token, splits[i].cached, splits[i].streamed)
		// A model has the same parameters in whatever company it is compiled.
		weights := parameters(file, splits[i].cached+splits[i].streamed)
		p.Main().Parameters = weights[splits[i].cached:]
		if caching := p.Caching(); caching != nil {
			caching.Parameters = weights[:splits[i].cached]
		}
		if p.NewFields = c.version == "16.0"; !p.NewFields {
			p.Executables[0].EstimatedCycles = 1000
		}
		data := tflitetest.CompiledModel(p)
		if ready[i] != nil {
			data = ready[i]
		}
		subgraphs := 1
		switch {
		case mode == "half" && i == len(c.files)-1:
			continue
		case mode == "empty":
			data = nil
		case mode == "truncated":
			data = data[:len(data)-len(data)/3]
		case mode == "garbage":
			data = []byte("no model at all")
		case mode == "zero":
			source, _ := os.ReadFile(file)
			data, subgraphs, splits[i] = source, 0, split{}
		case mode == "touch" && i == 0:
			os.WriteFile(file, append([]byte("x"), data...), 0o644) //nolint:errcheck // the test would tell
		}
		if err := os.WriteFile(out, data, 0o644); err != nil {
			fmt.Println(err)
			return 1
		}
		log := filepath.Join(c.dir, name+".log")
		if err := os.WriteFile(log, []byte("Edge TPU Compiler version "+builds[c.version]+"\nInput: "+file+"\nOutput: "+out+"\n"), 0o644); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Printf("\nInput model: %s\nInput size: %s\nOutput model: %s\nOutput size: %s\n", file, printed(sizes[i]), out, printed(int64(len(data))))
		if memory == nil {
			fmt.Printf("On-chip memory used for caching model parameters: %s\nOn-chip memory remaining for caching model parameters: %s\n", printed(onChip(splits[i].cached)), printed(capacity))
		}
		fmt.Printf("Off-chip memory used for streaming uncached model parameters: %s\nNumber of Edge TPU subgraphs: %d\nTotal number of operations: 2\nOperation log: %s\nSee the operation log file for individual operation details.\n", printed(splits[i].streamed), subgraphs, log)
	}
	if c.version == "16.0" {
		fmt.Println("Compilation child process completed within timeout period.\nCompilation succeeded! ")
	}
	return 0
}

// onChip is the memory that cached bytes take at least, in rows of 256.
func onChip(cached int64) int64 { return (cached + 255) / 256 * 256 }

// ready reads the files that stand for the output of models, nil where there
// is none, and takes their splits from them.
func (c *call) ready(override string, splits []split) ([][]byte, error) {
	list := make([][]byte, len(c.files))
	for _, word := range strings.Split(override, ";") {
		name, file, ok := strings.Cut(word, "=")
		for i := range c.files {
			if !ok || strings.TrimSuffix(path.Base(c.files[i]), ".tflite") != name {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			f, err := tflite.New(file, data)
			if err != nil {
				return nil, err
			}
			compiled, err := f.Compiled()
			if err != nil {
				return nil, err
			}
			list[i], splits[i] = data, split{compiled.CachedBytes(), compiled.StreamedBytes()}
		}
	}
	return list, nil
}

// parameters are bytes that depend on what is in a model's file.
func parameters(file string, n int64) []byte {
	data, _ := os.ReadFile(file) // it was there a moment ago
	h := fnv.New64a()
	h.Write(data)
	draw := rand.New(rand.NewPCG(h.Sum64(), 0))
	all := make([]byte, 0, n+8)
	for int64(len(all)) < n {
		all = binary.LittleEndian.AppendUint64(all, draw.Uint64())
	}
	return all[:n]
}

// printed is a size as the compiler writes it.
func printed(bytes int64) string {
	x, unit := float64(bytes), "B"
	for _, next := range []string{"KiB", "MiB"} {
		if x < 1024 {
			break
		}
		x, unit = x/1024, next
	}
	return fmt.Sprintf("%.2f%s", x, unit)
}
