package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

func helpCommand(u *ui, app *cli.App) *cli.Command {
	return &cli.Command{
		Name:      "help",
		Usage:     "explain a command or a topic",
		ArgsUsage: "[COMMAND|TOPIC]",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "topic", 0, 1); err != nil {
				return err
			}
			name := c.Args().First()
			if name == "" {
				return u.print(overview(app))
			}
			if command := app.Command(name); command != nil {
				return u.print(commandHelp(command))
			}
			candidates := commandNames(app)
			for _, t := range topics {
				if t.name == name {
					return u.print([]byte(t.text()))
				}
				candidates = append(candidates, t.name)
			}
			return usageError(didYouMean(name, candidates, "run \"tpuplan help\" for the list"), "no help about %q", name)
		},
	}
}

// overview is what "tpuplan help" prints.
func overview(app *cli.App) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "tpuplan - %s\n\nusage: tpuplan COMMAND [FLAGS] [ARGUMENTS]\n\ncommands:\n", app.Usage)
	for _, c := range app.Commands {
		entry(&b, c.Name, c.Usage)
	}
	b.WriteString("\nflags of every command:\n")
	flagList(&b, app.Flags)
	entry(&b, "-h, --help", "explain the command")
	b.WriteString("\ntopics:\n")
	for _, t := range topics {
		entry(&b, t.name, t.about)
	}
	b.WriteString("\nFlags may stand before and after arguments. \"tpuplan help COMMAND\" explains a\ncommand, \"tpuplan help TOPIC\" a topic.\n")
	return b.Bytes()
}

// commandHelp is what "tpuplan help COMMAND" and "tpuplan COMMAND --help" print.
func commandHelp(c *cli.Command) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "tpuplan %s - %s\n\nusage: tpuplan %s\n", c.Name, c.Usage, strings.Join(strings.Fields(c.Name+" "+usageOf(c)), " "))
	if c.Description != "" {
		fmt.Fprintf(&b, "\n%s\n", c.Description)
	}
	if len(c.Flags) > 0 {
		b.WriteString("\nflags:\n")
		flagList(&b, c.Flags)
	}
	return b.Bytes()
}

func usageOf(c *cli.Command) string {
	if len(c.Flags) > 0 {
		return "[FLAGS] " + c.ArgsUsage
	}
	return c.ArgsUsage
}

func flagList(b *bytes.Buffer, flags []cli.Flag) {
	for _, f := range flags {
		doc := f.(cli.DocGenerationFlag)
		var names []string
		for i := len(f.Names()) - 1; i >= 0; i-- { // the long name comes last
			names = append(names, dashes(f.Names()[i]))
		}
		// The word in back quotes names the value, as in package flag.
		usage := doc.GetUsage()
		value := ""
		if _, rest, ok := strings.Cut(usage, "`"); ok {
			value, _, _ = strings.Cut(rest, "`")
		}
		term := strings.Join(names, ", ")
		if value != "" {
			term += " " + value
		}
		entry(b, term, strings.ReplaceAll(usage, "`", ""))
	}
}

// entry prints a term and its explanation, wrapped to 80 columns.
func entry(b *bytes.Buffer, term, text string) {
	const indent, width = 24, 79
	line := fmt.Sprintf("  %-*s", indent-2, term)
	if len(line) > indent {
		fmt.Fprintln(b, line)
		line = strings.Repeat(" ", indent)
	}
	for _, word := range strings.Fields(text) {
		if len(line)+len(word) > width && strings.TrimSpace(line) != "" {
			fmt.Fprintln(b, strings.TrimRight(line, " "))
			line = strings.Repeat(" ", indent)
		}
		line += word + " "
	}
	fmt.Fprintln(b, strings.TrimRight(line, " "))
}

// topics are the things that no single command's help can explain.
var topics = []struct {
	name, about string
	text        func() string
}{
	{"exit-codes", "what the exit code says", exitCodesHelp},
	{"plan-file", "what a plan file looks like", func() string { return planFileHelp }},
	{"environment", "variables that tpuplan reads", func() string { return environmentHelp }},
	{"terms", "words, abbreviations and units of the output", func() string { return termsHelp }},
}

func exitCodesHelp() string {
	var b bytes.Buffer
	b.WriteString("The exit code of tpuplan. Treat a code that is not listed as a failure.\n\n")
	for _, e := range exitMeanings {
		entry(&b, fmt.Sprintf("%3d", int(e.code)), e.meaning)
	}
	return b.String()
}

const planFileHelp = `A plan file is TOML: which models run on the device, and how often. tpuplan
reads it and never writes it.

    [compiler]
    version = "16.0"           # "1.0", "2.0", "2.1", "14.1", "15.0" or "16.0"
    flags   = ["-a"]           # for the compiler; -a, -m N, -t N, -s
    out_dir = "build"          # where compiled models go
    command = "edgetpu_compiler"

    [[device]]
    name = "usb"
    link = "usb3"              # usb2, usb3, usb3-rpi4, usb3-rpi5, pcie,
                               # pcie-gen1,
                               # or { mb_per_s = 310, overhead = "0.4ms" }
    runtime = "std"            # libedgetpu1-std, half the clock on USB; else
                               # times are for libedgetpu1-max
    calibration = "usb.json"   # what tpuplan calibrate wrote about it

    [[model]]
    name = "detect"
    file = "models/detect.tflite"   # relative to the folder of the plan file
    rate = "10/s"              # calls per s, min, h; or weight = 3 for all

    [[model]]
    name = "classify"
    file = "models/classify.tflite"
    rate = "30/min"
    group = "pair"             # same label: together, another label: apart
    order_before = ["detect"]  # if both are in one group, this one comes first
    available = "6.91MiB"      # what the compiler printed for it alone
    steady = "10.3ms"          # measured: a call when it is the only model
    cold = "25.8ms"            # measured: a call that loads first
    log = "detect.log"         # what the compiler printed for a call with it
    compiled = "x_edgetpu.tflite"   # the model compiled alone

    [objective]
    kind = "time"              # or "byte-hits"
    hedge = true               # rather a plan that cannot go badly wrong than
                               # the one that is best as assumed

A key that tpuplan does not know is an error; tables and keys that begin with
"x-" are ignored. docs/formats.md has every key with its default.
`

const environmentHelp = `Variables that tpuplan reads. A flag wins over a variable, a variable over the
plan file.

  EDGETPU_COMPILER      the command that compile and build files run as the
                        compiler, in shell words: "docker run -v $PWD:/w ..."
  TPUPLAN_LIBEDGETPU    the libedgetpu that profile loads, instead of the
                        system's libedgetpu.so.1
  TPUPLAN_LIBTENSORFLOWLITE
                        the libtensorflowlite_c that Python measures with if
                        it has no package of TensorFlow Lite
  TPUPLAN_SSH, TPUPLAN_SCP
                        commands of profile --host instead of ssh and scp,
                        words separated by spaces
  TPUPLAN_DIST          folder of programs for boards, instead of dist beside
                        tpuplan: linux-arm64-gnu/tpuplan-edgetpu
  TPUPLAN_APEX          folder of the temperatures of PCIe devices, instead of
                        /sys/class/apex
  NO_COLOR              not empty: no colour
  FORCE_COLOR           not empty: colour even where there is no terminal
  TERM                  "dumb": no colour

--color always and --color never win over all three, NO_COLOR wins over
FORCE_COLOR. tpuplan reads no configuration from your home folder: what a build
does must not depend on who runs it.
`

const termsHelp = `Words, abbreviations and units in what tpuplan prints.

  call                  one inference of one model, asked for by your program
  group                 models that one run of edgetpu_compiler compiles
                        together; they share the device's memory and do not
                        displace each other. A model of another group does.
  order                 the order of a group's models on the command line
  cached                parameter bytes that stay on the device between calls
  streamed              parameter bytes sent to the device in every call
  load                  sending the cached bytes (again), because another group
                        ran in between
  loads/call            how many of a model's calls begin with a load
  hit rate              share of a model's parameter bytes that a call does not
                        send, on average
  warm, steady          a call that finds its cached bytes on the device
  cold                  a call that loads first
  expected              the mean over calls, weighted with loads/call
  predicted, simulated  by the formulas of the cost model; counted while calls
                        were played one by one
  P50, P90, P99, MAX    that many of 100 calls take at most so long; the longest
  +-                    half the width of the 95 % interval of a mean
  sent/call             bytes over the bus in a call, on average
  busy, overloaded      share of time in which the device works; calls arrive
                        faster than it answers, and pile up
  wait                  time from the arrival of a call to its start
  trace                 recorded calls, one a line
  pass                  all calls made once, under each arrangement in turn
  arrangement           a way to compile all models: the plan's, all separate,
                        all together
  "~"                   no difference, or no error, can be told from chance
  error, MAPE           predicted over measured; its mean over models, whatever
                        the sign
  create                making the interpreter of a model
  first                 the first call of a new interpreter, which loads
  squeezed              of the same model compiled so that less is cached
  drift, throttling     the device got slower while it was measured; throttling
                        when it got warmer, too
  HOST, SEND, COMPUTE,  parts of a predicted call: what the host does, sending
  STREAM, RECEIVE       instructions and input, computing, what streaming takes
                        longer than that, receiving output
  4.1 ms (3.2..5.5)     predicted, and what it is expected within
  (predicted)           from the models' shapes, of a USB device for
                        libedgetpu1-max unless runtime = "std"
  at least              no upper end is known
  familiar, unfamiliar  a net like those whose times were published, or only
                        built of the same ops
  guess, lower bound    a net with ops that nobody published times of, or of a
                        kind that took longer than predicted
  passes                a net whose activations do not fit is computed piece by
                        piece, and is sent streamed bytes for each
  "+ compute"           the times leave out what models compute that are there
                        compiled only, which no plan changes
  pool                  the device's memory for parameters: 16 tiles of 2048
                        rows
  row                   256 bytes of one tile
  reserved, R           rows of every tile kept free for parameters on the move
  region, subgraph      consecutive ops that run on the device as one
  mapped                the op runs on the device, otherwise on the CPU
  op                    one operator of a model, such as CONV_2D
  token                 the number that marks files compiled together
  split                 which bytes of a model are cached and which streamed
  pin                   what a plan file demands: a group or an order; "to pin a
                        release" is to name it in the plan file
  more, factor          what another choice takes in addition, by what is
                        streamed and loaded, for nothing else differs; and how
                        many times as much it takes in all
  pinning costs         what a release takes more than the best one compared
  optimal, feasible     proven to be the best; not proven
  ties                  ops of equal size: 16.0 caches those first whose model
                        is named first, and of large groups not all orders are
                        tried. Of times: less than 2 % apart
  kept from the lock    decided before, and no new plan is better by more than
                        --min-gain
  regret                what a plan takes more than the best one, if something
                        that is not known is otherwise than assumed
  hedge                 of the plans that may turn out to be the best, the one
                        whose largest regret is least
  nodes                 steps of the search
  bound, gap            no plan is below the bound; how far this one is above it
  CPU, TPU              the host's processor; the Edge TPU

Certainty, of rules: exact (reproduced from real compiled files), strong
(several independent sources agree), heuristic (a guess with known misses),
unknown. Source, of numbers: measured, modelled, imported (measured by another
program) or simulated (on no device). What compile, log --learn and inspect
--learn measure is kept in PLAN.facts.json; "facts" are what is in it.

Units: 1 KiB = 1024 B, 1 MiB = 1024 KiB; 1 MB/s = 1000 bytes per ms; ms and s
are milliseconds and seconds; 10/s, 10/min and 10/h are calls per second, minute
and hour.
`
