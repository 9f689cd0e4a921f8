package runtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Container stands in for a container tool:
//
//	docker run --rm -v HOST:INSIDE -w INSIDE IMAGE COMMAND...
//
// The command sees the folder HOST, which must be the current one, and nothing
// else: it runs in a copy of it, and what it changed there is copied back.
func Container() {
	code, err := container(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "docker:", err)
	}
	os.Exit(code)
}

func container(args []string) (int, error) {
	const refused = 125
	if len(args) == 0 || args[0] != "run" {
		return refused, errors.New("only run is known")
	}
	host, inside := "", ""
	for args = args[1:]; len(args) > 1 && strings.HasPrefix(args[0], "-"); args = args[1:] {
		switch args[0] {
		case "--rm":
			continue
		case "-v":
			host, _, _ = strings.Cut(args[1], ":")
		case "-w":
			inside = args[1]
		default:
			return refused, fmt.Errorf("unknown flag: %s", args[0])
		}
		args = args[1:]
	}
	here, err := os.Getwd()
	if err != nil {
		return refused, err
	}
	if same, err := sameFolder(here, host); !same || inside == "" || len(args) < 2 {
		return refused, fmt.Errorf("want -v %s:FOLDER -w FOLDER IMAGE COMMAND, got -v %s (%v)", here, host, err)
	}
	command := args[1:]
	root, err := os.MkdirTemp("", "container")
	if err != nil {
		return refused, err
	}
	defer os.RemoveAll(root) //nolint:errcheck // a temporary folder
	if err := os.CopyFS(filepath.Join(root, "w"), os.DirFS(here)); err != nil {
		return refused, err
	}
	w := filepath.Join(root, "w")
	before, err := times(w)
	if err != nil {
		return refused, err
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = w, os.Stdout, os.Stderr
	code := 0
	if err := cmd.Run(); err != nil {
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) {
			return 127, err
		}
		code = exit.ExitCode()
	}
	after, err := times(w)
	if err != nil {
		return refused, err
	}
	for name, at := range after {
		if was, ok := before[name]; ok && was.Equal(at) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(w, name))
		if err != nil {
			return refused, err
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return refused, err
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return refused, err
		}
	}
	return code, nil
}

func sameFolder(a, b string) (bool, error) {
	x, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	y, err := os.Stat(b)
	if err != nil {
		return false, err
	}
	return os.SameFile(x, y), nil
}

// times are the modification times of the files in a folder, by relative name.
func times(dir string) (map[string]time.Time, error) {
	all := map[string]time.Time{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		all[name] = info.ModTime()
		return err
	})
	return all, err
}
