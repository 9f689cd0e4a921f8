package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/run/runtest"
	"github.com/tpuplan/tpuplan/internal/columns"
	"github.com/tpuplan/tpuplan/plans/schema/schematest"
	"github.com/tpuplan/tpuplan/profile/device"
	"github.com/tpuplan/tpuplan/profile/remote/remotetest"
	"github.com/tpuplan/tpuplan/tflite"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

var update = flag.Bool("update", false, "rewrite what the scripts in testdata/script compare with")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"tpuplan":          main,
		"edgetpu_compiler": runtest.Compiler,
		"docker":           runtest.Container,
		"ssh":              remotetest.SSH,
		"scp":              remotetest.SCP,
		"fake-python3":     remotetest.Python,
		"interrupt":        interrupt,
		"signal-when":      signalWhen,
	})
}

// TestScripts runs testdata/script/*.txtar: every subcommand and every
// documented error, as a user would meet them.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "mounts": // a file system can be mounted in a namespace of its own
				return exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "none", t.TempDir()).Run() == nil, nil
			case "edgetpu": // the device path is built
				return device.Available, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":      exits,
			"mkmodel":    mkmodel,
			"mkcompiled": mkcompiled,
			"mkplan":     mkplan,
			"mkboard":    mkboard,
			"schema":     validate,
			"narrow":     narrow,
			"gone":       gone,
		},
		Setup: func(env *testscript.Env) error {
			// The race detector lets a process linger for a second by default, and here are hundreds.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			if standin := os.Getenv("TPUPLAN_STANDIN"); standin != "" {
				env.Setenv("TPUPLAN_LIBEDGETPU", filepath.Join(standin, "libedgetpu.so.1"))
				env.Setenv("STANDIN", standin)
			}
			return nil
		},
	})
}

// exits CODE COMMAND... runs a command and checks its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%s: %v", args[1], err)
		}
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s\n[stdout]\n%s[stderr]\n%s", code, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// schema KIND checks that stdout is one JSON object of that kind.
func validate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: schema KIND FILE|stdout")
	}
	ts.Check(schematest.Validate(args[0], []byte(ts.ReadFile(args[1]))))
}

// narrow FILE checks that no line is wider than 80 columns.
func narrow(ts *testscript.TestScript, neg bool, args []string) {
	for _, line := range strings.Split(ts.ReadFile(args[0]), "\n") {
		if columns.Width(line) > 80 {
			ts.Fatalf("wider than 80 columns: %q", line)
		}
	}
}

// mkmodel KIND OUT [ARGS] writes a model:
//
//	conv OUT CHANNELS LAYERS CLASSES   convolutions 3x3 on 14x14, average pool, fully connected
//	mobilenet OUT PERCENT SIZE         MobileNet v1 of that width
//	dense OUT INPUTS UNITS             one fully connected layer without bias
//	float OUT                          a float network
//	tiny OUT                           a convolution 3x3 on 16x16x8 to 20 channels, fully connected to 10
//	ssd OUT CLASSES                    SSD MobileNet v1, whose boxes are chosen on the CPU
//	swish OUT                          a convolution, SiLU and a resize
//	densenet OUT BLOCKS                blocks that normalise, convolve and join what they made to what they got
//	crowded OUT                        convolutions whose activations do not fit, with parameters that do not either
//	part OUT                           a convolution, then an op that no compiler maps, then another one
//	stranger OUT                       only an op that no compiler maps
//	compiled OUT [TOKEN CACHED STREAMED]  a file that went through the compiler
//	truncated, count, cycle, shape OUT damaged in one way
func mkmodel(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mkmodel KIND OUT [ARGS]")
	}
	numbers := make([]int, len(args)-2)
	for i, a := range args[2:] {
		n, err := strconv.Atoi(a)
		ts.Check(err)
		numbers[i] = n
	}
	b := tflitetest.New()
	for _, r := range filepath.Base(args[1]) { // other names, other weights
		b.Seed = b.Seed*31 + uint64(r)
	}
	data, err := model(b, args[0], numbers)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o644))
}

// mkcompiled OUT SOURCE [TOKEN] [OP:WORDS | OP:streamed]... writes what the
// compiler, 16.0, could have made of a source model: the weights of its ops as
// they are packed, all cached but those of ops that are streamed, with as many
// overhead words as predicted or as given.
func mkcompiled(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mkcompiled OUT SOURCE [TOKEN] [OP:WORDS | OP:streamed]...")
	}
	f, err := tflite.Open(ts.MkAbs(args[1]))
	ts.Check(err)
	src, err := f.Source()
	ts.Check(err)
	token, words, streamed := uint64(77), map[int]int{}, map[int]bool{}
	for _, arg := range args[2:] {
		op, what, ok := strings.Cut(arg, ":")
		n, err := strconv.Atoi(op)
		ts.Check(err)
		switch {
		case !ok:
			token = uint64(n)
		case what == "streamed":
			streamed[n] = true
		default:
			words[n], err = strconv.Atoi(what)
			ts.Check(err)
		}
	}
	var blobs [2][]byte // cached, streamed
	for _, want := range compile.Analyze(src, compile.Settings{Version: compile.V16_0}).Wants() {
		data := make([]byte, want.Bytes) // a table, a constant
		if overhead, given := words[want.Op]; given {
			data = tflitetest.Pack(src, want.Op, overhead)
		} else if src.Recognisable(want.Op) {
			for n := 0; n < 4; n++ {
				if packed := tflitetest.Pack(src, want.Op, n); int64(len(packed)) == want.Bytes {
					data = packed
				}
			}
		}
		to := 0
		if want.Streamed || streamed[want.Op] {
			to = 1
		}
		blobs[to] = append(blobs[to], data...)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), tflitetest.CompiledModel(tflitetest.SplitOf(token, blobs[0], blobs[1])), 0o644))
}

// mkboard DIR FACT... makes a board that ssh and scp reach, as remotetest says, with
// a Python that needs no runtime.
func mkboard(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: mkboard DIR FACT...")
	}
	ts.Check(remotetest.Make(ts.MkAbs(args[0]), append([]string{"python=fake-python3"}, args[1:]...)...))
	ts.Setenv("FAKE_BOARD", ts.MkAbs(args[0]))
}

// mkplan PLAN N writes N models of different sizes, m0.tflite and so on, and a plan of them.
func mkplan(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mkplan PLAN N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	plan := "[compiler]\nversion = \"15.0\"\n[[device]]\nname = \"usb\"\nlink = \"usb3\"\n"
	for i := range n {
		file := fmt.Sprintf("m%d.tflite", i)
		mkmodel(ts, false, []string{"conv", file, strconv.Itoa(128 + 16*i%128), strconv.Itoa(1 + i%4), strconv.Itoa(100 + 64*i)})
		plan += fmt.Sprintf("[[model]]\nname = \"m%d\"\nfile = %q\nweight = %d\n", i, file, 100-i)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(plan), 0o644))
}

func model(b *tflitetest.Builder, kind string, n []int) ([]byte, error) {
	switch kind {
	case "conv":
		b.Input(1, 14, 14, n[0])
		for range n[1] {
			b.Conv(n[0], 3, 3, 1, true)
		}
		return b.AvgPool(14, 14, false).FC(n[2]).Bytes(), nil
	case "mobilenet":
		return tflitetest.MobileNetV1(float64(n[0])/100, n[1], 1001), nil
	case "dense":
		return b.Input(1, n[0]).FCNoBias(n[1]).Bytes(), nil
	case "tiny":
		return b.Input(1, 16, 16, 8).Conv(20, 3, 3, 1, true).FC(10).Bytes(), nil
	case "ssd":
		return tflitetest.SSDMobileNetV1(n[0]), nil
	case "swish":
		start := b.Input(1, 32, 32, 8).Conv(16, 3, 3, 1, true).At()
		return b.Logistic().Binary(tflite.Mul, start).ResizeBilinear(64, 64).Bytes(), nil
	case "densenet":
		b.Input(1, 28, 28, 32)
		for range n[0] {
			start := b.At()
			channels := b.Shape()[3]
			b.Binary(tflite.Mul, b.Constant(channels)).Binary(tflite.Add, b.Constant(channels))
			b.Concat(3, start, b.Conv(32, 3, 3, 1, true).At())
		}
		return b.Bytes(), nil
	case "crowded":
		b.Input(1, 128, 128, 256)
		for range 16 {
			b.Conv(256, 3, 3, 1, true)
		}
		return b.Conv(64, 3, 3, 8, true).FC(10).Bytes(), nil
	case "float":
		in := b.Tensor(tflite.Tensor{Name: "in", Shape: []int{1, 4}, Type: tflite.Float32})
		out := b.Tensor(tflite.Tensor{Name: "out", Shape: []int{1, 4}, Type: tflite.Float32})
		b.Op(tflite.Op{Code: tflite.Logistic, Inputs: []int{in}, Outputs: []int{out}})
		src := b.Source()
		src.Inputs = []int{in}
		return tflitetest.Encode(src), nil
	case "part":
		b.Input(1, 14, 14, 64).Conv(64, 3, 3, 1, true).Unary(tflite.LeakyRelu).Conv(64, 3, 3, 1, true)
		return b.Bytes(), nil
	case "stranger":
		return b.Input(1, 14, 14, 64).Unary(tflite.LeakyRelu).Bytes(), nil
	}
	if kind == "compiled" {
		if len(n) == 0 {
			n = []int{1, 64, 0}
		}
		return tflitetest.CompiledModel(tflitetest.Split(uint64(n[0]), int64(n[1]), int64(n[2]))), nil
	}
	good := b.Input(1, 14, 14, 8).Conv(8, 3, 3, 1, true).Bytes()
	return damage(good, kind)
}

// damage breaks a good file. The numbers of fields are those of the public schema.
func damage(data []byte, kind string) ([]byte, error) {
	at := func(p uint32) uint32 { return binary.LittleEndian.Uint32(data[p:]) }
	follow := func(p uint32) uint32 { return p + at(p) }
	field := func(table uint32, n int) uint32 {
		vtable := table - at(table)
		return table + uint32(binary.LittleEndian.Uint16(data[vtable+4+2*uint32(n):]))
	}
	root := follow(0)
	subgraphs := follow(field(root, 2))
	main := follow(subgraphs + 4)
	tensors := follow(field(main, 0))
	switch kind {
	case "truncated":
		return data[:len(data)/2], nil
	case "count": // more ops than any file can hold
		binary.LittleEndian.PutUint32(data[follow(field(main, 3)):], 0x7fffffff)
	case "cycle": // a tensor that contains itself
		binary.LittleEndian.PutUint32(data[tensors+4:], 0)
	case "shape": // a negative dimension
		shape := follow(field(follow(tensors+4), 0))
		binary.LittleEndian.PutUint32(data[shape+4+4:], 0xffffff00)
	default:
		return nil, fmt.Errorf("mkmodel: no kind %q", kind)
	}
	return data, nil
}

// interrupt PATTERN COMMAND... runs a command, sends it SIGINT as soon as its
// stderr matches, and exits as it did.
func interrupt() {
	pattern := regexp.MustCompile(os.Args[1])
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdout = os.Stdout
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	for lines := bufio.NewScanner(io.TeeReader(stderr, os.Stderr)); lines.Scan(); {
		if pattern.MatchString(lines.Text()) {
			cmd.Process.Signal(os.Interrupt) //nolint:errcheck // it may have ended
		}
	}
	cmd.Wait() //nolint:errcheck // the exit code tells
	os.Exit(cmd.ProcessState.ExitCode())
}

func TestArrange(t *testing.T) {
	app := newApp(&ui{})
	for _, test := range []struct{ name, line, want, fails string }{
		{name: "flags behind arguments", line: "predict m.tflite --format json -q", want: "-q predict --format=json -- m.tflite"},
		{name: "negative number with equals sign", line: "predict --reserved-rows=-32 m", want: "predict --reserved-rows=-32 -- m"},
		{name: "negative number as the next word", line: "predict --reserved-rows -32 m", want: "predict --reserved-rows=-32 -- m"},
		{name: "stdout as the value", line: "optimize -o - --emit sh p", want: "optimize -o=- --emit=sh -- p"},
		{name: "what follows two dashes is an argument", line: "inspect -- -a --format", want: "inspect -- -a --format"},
		{name: "one dash is an argument", line: "inspect -", want: "inspect -- -"},
		{name: "list flag twice", line: "optimize --compiler 15.0 --compiler 16.0 p", want: "optimize --compiler=15.0 --compiler=16.0 -- p"},
		{name: "flag twice", line: "predict --compiler 15.0 --compiler 16.0 m", fails: "flag --compiler is given twice"},
		{name: "alias twice", line: "version -q --quiet", fails: "flag --quiet is given twice"},
		{name: "one dash for a word", line: "predict -format json m", fails: "unknown flag -format of tpuplan predict"},
		{name: "two dashes for a letter", line: "optimize --o x p", fails: "unknown flag --o of tpuplan optimize"},
		{name: "value for a switch", line: "optimize --check=maybe p", fails: "flag --check takes no value"},
		{name: "no number", line: "compile -j x p", fails: `-j is a whole number, not "x"`},
		{name: "time without unit", line: "compile --timeout 3 p", fails: `--timeout is a time with a unit, such as 90s or 10m, not "3"`},
		{name: "no value", line: "predict m --format", fails: "flag --format needs a value"},
		{name: "flag of a command before it", line: "--format json predict m", fails: "unknown flag --format"},
		{name: "unknown command", line: "optimise p", fails: `unknown command "optimise"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, err := arrange(app, append([]string{"tpuplan"}, strings.Fields(test.line)...))
			if test.fails != "" {
				if err == nil || err.Error() != test.fails || codeOf(err) != exitUsage {
					t.Fatalf("got error %v, want %q", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(w.line[1:], " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// fullDisk refuses every write.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestResultThatCannotBeWrittenFails(t *testing.T) {
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"tpuplan", "version"}, func(string) string { return "" }, nil, fullDisk{}, &stderr)
	if want := "tpuplan: error: writing to stdout: no space left on device\n"; code != exitFailed || stderr.String() != want {
		t.Errorf("got exit code %d and %q, want %d and %q", code, stderr.String(), exitFailed, want)
	}
}

func TestColor(t *testing.T) {
	for _, test := range []struct {
		name, line string
		env        map[string]string
		want       bool
	}{
		{"not a terminal", "x", nil, false},
		{"forced by a variable", "x", map[string]string{"FORCE_COLOR": "1"}, true},
		{"NO_COLOR is stronger", "x", map[string]string{"FORCE_COLOR": "1", "NO_COLOR": "1"}, false},
		{"a dumb terminal", "x", map[string]string{"FORCE_COLOR": "1", "TERM": "dumb"}, false},
		{"the flag is strongest", "--color always help x", map[string]string{"NO_COLOR": "1"}, true},
		{"never", "--color=never help x", map[string]string{"FORCE_COLOR": "1"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stderr bytes.Buffer
			run(t.Context(), append([]string{"tpuplan"}, strings.Fields(test.line)...), func(name string) string { return test.env[name] }, nil, io.Discard, &stderr)
			if got := strings.Contains(stderr.String(), "\x1b["); got != test.want {
				t.Errorf("got colour %v, want %v: %q", got, test.want, stderr.String())
			}
		})
	}
}

// TestHelpIsComplete: every command and every topic has its text, all flags are explained, and nothing is
// wider than a terminal.
func TestHelpIsComplete(t *testing.T) {
	app := newApp(&ui{out: io.Discard})
	names := commandNames(app)
	for _, topic := range topics {
		names = append(names, topic.name)
	}
	for _, name := range append(names, "") {
		var stdout, stderr bytes.Buffer
		args := []string{"tpuplan", "help"}
		if name != "" {
			args = append(args, name)
		}
		if code := run(t.Context(), args, func(string) string { return "" }, nil, &stdout, &stderr); code != exitOK || stderr.Len() > 0 {
			t.Errorf("help %s: exit code %d, %s", name, code, stderr.String())
		}
		for _, line := range strings.Split(stdout.String(), "\n") {
			if len(line) > 80 {
				t.Errorf("help %s: wider than 80 columns: %q", name, line)
			}
		}
		if command := app.Command(name); command != nil {
			for _, flag := range flagNames(command.Flags) {
				if !strings.Contains(stdout.String(), flag) {
					t.Errorf("help %s does not explain %s", name, flag)
				}
			}
		}
	}
}
