package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

func versionCommand(u *ui) *cli.Command {
	return &cli.Command{
		Name:        "version",
		Usage:       "print the version of tpuplan",
		Description: "Prints one line: the version, the commit if it is known, the Go release and\nthe platform that this program was built for.",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "argument", 0, 0); err != nil {
				return err
			}
			return u.print([]byte(versionLine() + "\n"))
		},
	}
}

// versionLine says what was built; the facts come from the build itself, so
// no release process can forget to set them.
func versionLine() string {
	version, commit := "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if version = info.Main.Version; version == "" || version == "(devel)" {
			version = "devel"
		}
		modified := ""
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				commit = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = " with changes"
			}
		}
		if commit != "" {
			commit = ", commit " + commit[:min(12, len(commit))] + modified
		}
	}
	return fmt.Sprintf("tpuplan %s%s (%s, %s/%s)", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
