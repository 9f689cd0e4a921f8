package main

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/tpuplan/tpuplan/plans"
)

// words is a command line taken apart.
type words struct {
	line    []string // in the order in which the cli package reads it: global flags, command, its flags, "--", arguments
	command *cli.Command
	help    bool // -h or --help stood somewhere
}

// arrange takes a command line apart so that flags may stand before and after
// arguments, and refuses what the cli package would let pass: it takes flags
// behind the first argument for arguments, and prints its whole help on stdout for a
// flag that it does not know.
func arrange(app *cli.App, args []string) (*words, error) {
	var global, local, rest []string
	seen := map[cli.Flag]bool{}
	w := &words{}
	for i := 1; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if arg == "-" || !strings.HasPrefix(arg, "-") {
			if w.command == nil {
				if w.command = app.Command(arg); w.command == nil {
					return nil, usageError(didYouMean(arg, commandNames(app), "run \"tpuplan help\" for the list"), "unknown command %q", arg)
				}
				continue
			}
			rest = append(rest, arg)
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if name == "help" || name == "h" {
			w.help = true
			continue
		}
		flag, to := findFlag(app.Flags, name), &global
		if flag == nil && w.command != nil {
			flag, to = findFlag(w.command.Flags, name), &local
		}
		// One dash is for one letter: "-format" is a mistake for "--format".
		if flag == nil || (len(name) > 1) != strings.HasPrefix(arg, "--") {
			return nil, unknownFlag(app, w.command, arg, name)
		}
		if _, isBool := flag.(*cli.BoolFlag); !isBool && !hasValue {
			if i++; i == len(args) {
				return nil, usageError("", "flag %s needs a value", arg)
			}
			value, hasValue = args[i], true
		}
		if _, isList := flag.(*cli.StringSliceFlag); !isList && seen[flag] {
			return nil, usageError("", "flag %s is given twice", dashes(name))
		}
		seen[flag] = true
		if err := checkValue(flag, dashes(name), value, hasValue); err != nil {
			return nil, err
		}
		if hasValue {
			arg = dashes(name) + "=" + value
		}
		*to = append(*to, arg)
	}
	w.line = append([]string{args[0]}, global...)
	if w.command != nil {
		w.line = append(w.line, w.command.Name)
		w.line = append(w.line, local...)
		w.line = append(w.line, "--")
		w.line = append(w.line, rest...)
	}
	return w, nil
}

// checkValue refuses what the cli package would refuse in its own words.
func checkValue(flag cli.Flag, name, value string, given bool) error {
	switch flag.(type) {
	case *cli.BoolFlag:
		if _, err := strconv.ParseBool(value); given && err != nil {
			return usageError("", "flag %s takes no value", name)
		}
	case *cli.IntFlag:
		if _, err := strconv.Atoi(value); err != nil {
			return usageError("", "%s is a whole number, not %q", name, value)
		}
	case *cli.DurationFlag:
		if _, err := time.ParseDuration(value); err != nil {
			return usageError("", "%s is a time with a unit, such as 90s or 10m, not %q", name, value)
		}
	}
	return nil
}

func unknownFlag(app *cli.App, command *cli.Command, arg, name string) error {
	candidates := flagNames(app.Flags)
	where := ""
	if command != nil {
		candidates = append(candidates, flagNames(command.Flags)...)
		where = " of tpuplan " + command.Name
	}
	shown, _, _ := strings.Cut(arg, "=")
	fallback := "flags of a command stand after its name"
	if command == nil && app.Command(name) != nil { // tpuplan --version
		fallback = "run \"tpuplan " + name + "\""
	} else if command != nil {
		fallback = "run \"tpuplan help " + command.Name + "\" for its flags"
	}
	return usageError(didYouMean(dashes(name), candidates, fallback), "unknown flag %s%s", shown, where)
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

// dashes writes a flag's name as the user types it.
func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

func flagNames(flags []cli.Flag) []string {
	var names []string
	for _, f := range flags {
		for _, n := range f.Names() {
			names = append(names, dashes(n))
		}
	}
	return names
}

func commandNames(app *cli.App) []string {
	var names []string
	for _, c := range app.Commands {
		names = append(names, c.Name)
	}
	return names
}

// didYouMean suggests the candidate nearest to word, or gives the fallback if none is near.
func didYouMean(word string, candidates []string, fallback string) string {
	best, distance := "", (len(strings.TrimLeft(word, "-"))+1)/3
	for _, c := range candidates {
		if d := plans.Distance(word, c); d <= distance && (best == "" || d < distance) {
			best, distance = c, d
		}
	}
	if best == "" {
		return fallback
	}
	return "did you mean " + best + "?"
}
