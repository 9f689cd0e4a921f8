//go:build unix

// Package remotetest stands in for boards and the way to them: programs that
// behave as ssh and scp, a Python that has the script's part, and folders that
// are the boards. Tests run them from their own binary.
//
// The board is the folder FAKE_BOARD, made by [Make]. Variables that begin with
// FAKE_ reach its programs.
package remotetest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/tpuplan/tpuplan/profile"
)

// Make makes a board. Facts are NAME=VALUE: system, machine and bits as uname and
// getconf tell them, ldd (its first line), free (KiB, as df tells them), python (the
// path of a program for python3; without it there is none), home=none for one
// in which nothing can be made. By default it is a Raspberry Pi.
func Make(dir string, facts ...string) error {
	is := map[string]string{"system": "Linux", "machine": "aarch64", "bits": "64", "ldd": "ldd (Debian GLIBC 2.31-13+rpt2+rpi1) 2.31", "free": "1000000"}
	for _, fact := range facts {
		name, value, _ := strings.Cut(fact, "=")
		is[name] = value
	}
	python := "echo 'python3: command not found' >&2; exit 127"
	if is["python"] != "" {
		python = `exec "` + is["python"] + `" "$@"`
	}
	files := map[string]string{
		"uname":   `case $1 in -s) echo "` + is["system"] + `" ;; -m) echo "` + is["machine"] + `" ;; esac`,
		"getconf": "echo " + is["bits"],
		"ldd":     "echo '" + is["ldd"] + "'",
		"df":      "echo Filesystem 1024-blocks Used Available Capacity Mounted on; echo /dev/root 9 9 " + is["free"] + " 9% /",
		"python3": python,
	}
	for _, folder := range []string{"home", "tmp", "bin"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, "bin", name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			return err
		}
	}
	if is["home"] == "none" {
		return os.WriteFile(filepath.Join(dir, "home", ".cache"), nil, 0o644)
	}
	return nil
}

// Left are the files of a board's user, and those for which it has made a
// folder, besides models that are kept.
func Left(dir string) (files []string, err error) {
	for _, root := range []string{"home", "tmp"} {
		err = errors.Join(err, filepath.WalkDir(filepath.Join(dir, root), func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name, _ := filepath.Rel(dir, path)
			if ok, _ := regexp.MatchString(`^(home|tmp|home/\.cache(/tpuplan(/models(/[0-9a-f]{64}\.tflite)?)?)?)$`, name); !ok {
				files = append(files, name)
			}
			return nil
		}))
	}
	return files, err
}

// arguments takes a command line of OpenSSH apart.
func arguments() (rest []string) {
	for i := 1; i < len(os.Args); i++ {
		switch arg := os.Args[i]; {
		case arg == "--":
			return os.Args[i+1:]
		case arg == "-o":
			i++
		case !strings.HasPrefix(arg, "-"):
			return os.Args[i:]
		}
	}
	return nil
}

// said is what OpenSSH says when it fails, by the value of FAKE_SSH.
var said = map[string]string{
	"refused":    "ssh: connect to host camera port 22: Connection refused",
	"timeout":    "ssh: connect to host camera port 22: Connection timed out",
	"unresolved": "ssh: Could not resolve hostname camera: Name or service not known",
	"denied":     "pi@camera: Permission denied (publickey,password).",
	"hostkey":    "No ED25519 host key is known for camera and you have requested strict checking.\r\nHost key verification failed.\r",
	"changed":    "@@@@@@@\r\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n@@@@@@@\r\nHost key verification failed.\r",
}

// SSH is ssh. FAKE_SSH is a key of said, "greets" for a shell that prints
// something first, "die@N" to lose the connection after N bytes of a measuring
// process, "die-session@N" after N bytes of a session. All that runs on the board
// holds the named pipe FAKE_PIPE open.
func SSH() { os.Exit(ssh()) }

func ssh() int {
	args := arguments()
	if len(args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: ssh host command")
		return 255
	}
	mode, number, _ := strings.Cut(os.Getenv("FAKE_SSH"), "@")
	if text := said[mode]; text != "" {
		fmt.Fprintln(os.Stderr, text)
		return 255
	}
	line := strings.Join(args[1:], " ")
	limit := -1
	if measures := strings.Contains(line, "/run.sh"); mode == "die" && measures || mode == "die-session" && !measures {
		limit, _ = strconv.Atoi(number)
	}
	if mode == "greets" {
		fmt.Println("Welcome to camera! 3 updates can be applied.")
	}
	board := os.Getenv("FAKE_BOARD")
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = filepath.Join(board, "home")
	cmd.Env = []string{"HOME=" + cmd.Dir, "TMPDIR=" + filepath.Join(board, "tmp"), "PATH=" + filepath.Join(board, "bin") + ":" + os.Getenv("PATH")}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "FAKE_") || strings.HasPrefix(v, "GORACE") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	// What runs on the board does not end with ssh, but learns of it from its pipes.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if name := os.Getenv("FAKE_PIPE"); name != "" {
		pipe, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 255
		}
		defer pipe.Close()
		cmd.ExtraFiles = []*os.File{6: pipe} // 9 there, which no script uses
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 255
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 255
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return 255
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 255
	}
	go func() {
		io.Copy(stdin, os.Stdin) //nolint:errcheck // the connection ends
		stdin.Close()            //nolint:errcheck // likewise
	}()
	errors := make(chan struct{})
	go func() {
		io.Copy(os.Stderr, stderr) //nolint:errcheck // likewise
		close(errors)
	}()
	if limit >= 0 {
		if n, _ := io.CopyN(os.Stdout, stdout, int64(limit)); n == int64(limit) {
			fmt.Fprintln(os.Stderr, "Timeout, server camera not responding.\r")
			return 255
		}
	}
	io.Copy(os.Stdout, stdout) //nolint:errcheck // likewise
	<-errors
	// As ssh does, which ends somewhat later.
	os.Stdout.Close()                   //nolint:errcheck // likewise
	exec.Command("sh", "-c", ":").Run() //nolint:errcheck // it only takes time
	cmd.Wait()                          //nolint:errcheck // its exit code counts
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code
	}
	return 255
}

// SCP is scp to a board. It notes what it copied in the board's file "copied".
// FAKE_SCP is "full@N" for a disk that takes N bytes, or "denied".
func SCP() { os.Exit(scp()) }

func scp() int {
	args := arguments()
	fail := func(text string) int {
		fmt.Fprintln(os.Stderr, text)
		return 1
	}
	if len(args) < 2 {
		return fail("usage: scp [options] source ... target")
	}
	_, to, ok := strings.Cut(args[len(args)-1], ":")
	if board := os.Getenv("FAKE_BOARD"); !ok || !strings.HasPrefix(to, board+"/") {
		return fail("scp: dest open \"" + to + "\": Permission denied to leave the board")
	}
	mode, number, _ := strings.Cut(os.Getenv("FAKE_SCP"), "@")
	left, _ := strconv.Atoi(number)
	if mode == "denied" {
		fmt.Fprintln(os.Stderr, said["denied"]+"\r\nscp: Connection closed\r")
		return 255
	}
	var names []string
	for _, from := range args[:len(args)-1] {
		data, err := os.ReadFile(from)
		if err != nil {
			return fail(err.Error())
		}
		full := mode == "full" && len(data) > left
		if full {
			data = data[:left]
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(from)), data, 0o700); err != nil {
			return fail(err.Error())
		}
		if full {
			return fail(`scp: ` + to + `: No space left on device`)
		}
		left -= len(data)
		names = append(names, filepath.Base(from))
	}
	slices.Sort(names)
	f, err := os.OpenFile(filepath.Join(os.Getenv("FAKE_BOARD"), "copied"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fail(err.Error())
	}
	fmt.Fprintln(f, strings.Join(names, " ")) //nolint:errcheck // the test notices
	f.Close()                                 //nolint:errcheck // likewise
	return 0
}

// Python is a python3 that needs no TensorFlow Lite: it takes the part of
// measure.py, on a device of which a call takes as many ms as its number.
// FAKE_PYTHON is a mode and the call in which it begins, MODE@CALL: "hang",
// "killed", "exit", "failure"; FAKE_PIPE is a pipe that it holds open as long as it
// runs; FAKE_PYTHON_VERSION is what it says it is.
func Python() { os.Exit(python(os.Args[1:])) }

func python(args []string) int {
	switch {
	case len(args) == 2 && args[0] == "-c":
		version := os.Getenv("FAKE_PYTHON_VERSION")
		if version == "" {
			version = "3.9.2"
		}
		fmt.Println(version)
		return 0
	case len(args) != 2 || filepath.Base(args[0]) != "measure.py" || args[1] != "--events":
		fmt.Fprintf(os.Stderr, "python3: unexpected %q\n", args)
		return 9
	}
	if _, err := os.Stat(args[0]); err != nil {
		fmt.Fprintln(os.Stderr, "python3: can't open file:", err)
		return 2
	}
	data, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 9
	}
	run, err := profile.ParseRun("the run", data)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 9
	}
	return measure(run)
}

// forever blocks until the process is killed.
func forever() {
	r, w, err := os.Pipe()
	if err != nil {
		os.Exit(9)
	}
	defer w.Close()
	r.Read(make([]byte, 1)) //nolint:errcheck // nobody writes
}

func measure(run *profile.Run) int {
	mode, at, _ := strings.Cut(os.Getenv("FAKE_PYTHON"), "@")
	wrong, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		wrong = -1
	}
	say := func(e profile.Event) {
		if profile.WriteEvent(os.Stdout, &e) != nil {
			os.Exit(1)
		}
	}
	give := func(s profile.Sample) {
		s.Run, s.Source, s.Host, s.Device = run.Name, profile.Simulated, "raspberrypi", "/simulated/usb_0"
		for _, m := range run.Models {
			if m.Name == s.Model {
				s.SHA256 = m.SHA256
			}
		}
		if profile.WriteSample(os.Stdout, &s) != nil {
			os.Exit(1)
		}
	}
	say(profile.Event{Action: profile.Opening})
	for _, m := range run.Models {
		data, err := os.ReadFile(m.File)
		if sum := sha256.Sum256(data); err != nil || hex.EncodeToString(sum[:]) != m.SHA256 {
			say(profile.Event{Failure: &profile.Failure{Code: profile.BadModel, Text: m.File + " is not the file that the run was made for", Model: m.Name}})
			return 1
		}
	}
	for _, m := range run.Models {
		say(profile.Event{Action: profile.Creating, Model: m.Name})
		give(profile.Sample{Model: m.Name, Kind: profile.Create, MS: 2})
	}
	say(profile.Event{Action: profile.Testing, Model: run.Models[0].Name})
	call := int64(0)
	for pass := range run.WarmUp + run.Repeats {
		for _, step := range run.Steps {
			m := run.Models[step.Model]
			say(profile.Event{Action: profile.Calling, Model: m.Name, Call: call})
			if call == wrong {
				switch mode {
				case "hang":
					forever()
				case "killed":
					fmt.Fprintln(os.Stderr, "USB transfer failed")
					syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // it ends here
					forever()
				case "exit":
					fmt.Fprintln(os.Stderr, "Traceback (most recent call last):")
					return 1
				case "failure":
					say(profile.Event{Failure: &profile.Failure{Code: profile.CallFailed, Text: m.File + ": call fails", Model: m.Name}})
					return 1
				}
			}
			if pass >= run.WarmUp && step.Kind != "" {
				give(profile.Sample{Model: m.Name, Kind: step.Kind, Call: call, MS: float64(call) + 1})
			}
			call++
		}
	}
	say(profile.Event{Action: profile.Closing})
	say(profile.Event{Action: profile.Done})
	return 0
}
