package remote

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	shell "github.com/tpuplan/tpuplan/compile/emit"
	"github.com/tpuplan/tpuplan/profile"
	"github.com/tpuplan/tpuplan/profile/device"
	"github.com/tpuplan/tpuplan/tflite"
)

// Program is what a tpuplan that can measure by itself is called in a folder of
// Host.Programs.
const Program = "tpuplan-edgetpu"

// With says which of the two measurers of a board is wanted.
type With string

// Measurers of a board.
const (
	Any        With = "" // the program if there is one that runs there, else Python
	WithGo     With = "go"
	WithPython With = "python"
)

// Host is a board, as ssh reaches it.
type Host struct {
	Name     string   // as ssh takes it: pi@camera, or a name of ~/.ssh/config
	Dir      string   // the folder of the runs, on this machine; "" is the current one
	Python   string   // the interpreter there; "" is python3
	With     With     //
	Env      []string // variables of the measuring process there, NAME=VALUE
	SSH, SCP []string // words of the commands; none is ssh and scp
	// Programs is a folder of folders linux-ARCH-LIBC, ARCH being amd64, arm64 or
	// arm, LIBC gnu or musl. One that holds a file [Program] is copied to boards of
	// that kind, with all that lies beside it: libraries. "" is none.
	Programs string
	// Note is told what is done, unless it is nil.
	Note func(text string)
	// OpenDeadline replaces the time that opening the device may take.
	OpenDeadline time.Duration
}

// Board is a host that was reached. It implements [profile.Measurer].
type Board struct {
	host    *Host
	session *session
	command []string        // that measures there
	have    map[string]bool // hashes of models that are there
	lost    bool            // the connection is, and somebody knows
}

//go:embed run.sh
var runScript []byte

const runName = "run.sh"

// Dial reaches a host and finds out what can measure there. The error is a
// [*profile.Failure] where the reason is known. A board has to be closed.
func Dial(ctx context.Context, host Host) (board *Board, err error) {
	if f := CheckName(host.Name); f != nil {
		return nil, f
	}
	h := &host
	if len(h.SSH) == 0 {
		h.SSH = []string{"ssh"}
	}
	if len(h.SCP) == 0 {
		h.SCP = []string{"scp"}
	}
	if h.Python == "" {
		h.Python = interpreter
	}
	s, err := startSession(ctx, h)
	if err != nil {
		return nil, err
	}
	b := &Board{host: h, session: s, have: map[string]bool{}}
	defer func() {
		if err != nil {
			b.Close() //nolint:errcheck // the first error counts
		}
	}()
	h.note("%s is %s on %s, %s, with Python %s", h.Name, known(s.facts["system"]), known(s.facts["machine"]), known(s.facts["libc"]), known(s.facts["python"]))
	if err := b.choose(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// CheckName says what is wrong with the name of a host, or nil: ssh would take some
// for something else.
func CheckName(name string) *profile.Failure {
	if name == "" || strings.HasPrefix(name, "-") || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`/\"'`+"`$;&|<>(){}*?!#", r) }) {
		return &profile.Failure{Code: profile.NotAvailable, Text: fmt.Sprintf("%q is no name of a host", name), Hint: "a host is USER@NAME or a name of ~/.ssh/config, which also has the place for ports"}
	}
	return nil
}

func known(fact string) string {
	if fact == "" {
		return "unknown"
	}
	return fact
}

func (h *Host) note(format string, args ...any) {
	if h.Note != nil {
		h.Note(fmt.Sprintf(format, args...))
	}
}

// kind names boards that run the same programs: linux-arm64-gnu. A 64-bit kernel
// may carry a 32-bit system, as on a Raspberry Pi.
func kind(facts map[string]string) string {
	arch := map[string]string{
		"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64",
		"armv6l": "arm", "armv7l": "arm", "armv8l": "arm",
	}[facts["machine"]]
	if facts["bits"] == "32" {
		arch = map[string]string{"arm64": "arm", "arm": "arm"}[arch]
	}
	if facts["system"] != "Linux" || arch == "" || facts["libc"] == "" {
		return ""
	}
	return "linux-" + arch + "-" + facts["libc"]
}

// choose decides what measures, and sends it.
func (b *Board) choose(ctx context.Context) error {
	h, facts := b.host, b.session.facts
	why := ""
	if h.With != WithPython {
		files, reason := b.program()
		why = reason
		if len(files) > 0 {
			files[runName] = runScript
			if err := b.send(ctx, files); err != nil {
				return err
			}
			answer, err := b.session.ask(ctx, "try "+Program)
			if err != nil {
				return err
			}
			if answer["works"] != nil {
				b.command = []string{"env", "LD_LIBRARY_PATH=.", "./" + Program, device.ChildCommand}
				h.note("%s measures with its own %s", h.Name, Program)
				return nil
			}
			why = "the one for " + kind(facts) + " does not run there"
		}
		if h.With == WithGo {
			return &profile.Failure{
				Code: profile.NotAvailable, Text: fmt.Sprintf("%s: no program that measures there: %s", h.Name, why),
				Hint: "build one with make edgetpu-dist, or measure with Python there: --with python",
			}
		}
	}
	version := facts["python"]
	switch {
	case version == "" && why == "":
		return &profile.Failure{
			Code: profile.NotAvailable, Text: fmt.Sprintf("%s has no %s", h.Name, h.Python),
			Hint: "install Python 3.5 or later there, or name another one with --python",
		}
	case version == "":
		return &profile.Failure{
			Code: profile.NotAvailable, Text: fmt.Sprintf("%s has no %s, and there is no program that measures there: %s", h.Name, h.Python, why),
			Hint: "install Python 3.5 or later there, name another one with --python, or build a program with make edgetpu-dist",
		}
	case tooOld(version):
		return &profile.Failure{
			Code: profile.NotAvailable, Text: fmt.Sprintf("%s has Python %s, 3.5 or later is needed", h.Name, version),
			Hint: "name another one with --python",
		}
	}
	if why != "" {
		h.note("%s measures with Python: %s", h.Name, why)
	}
	b.command = []string{h.Python, ScriptName, "--events"}
	return b.send(ctx, map[string][]byte{ScriptName: Script, runName: runScript})
}

func tooOld(version string) bool {
	var major, minor int
	_, err := fmt.Sscanf(version, "%d.%d", &major, &minor)
	return err == nil && (major < 3 || major == 3 && minor < 5)
}

// program finds the files of a program for the board, or says why there is none.
func (b *Board) program() (files map[string][]byte, why string) {
	name := kind(b.session.facts)
	if name == "" {
		return nil, "it is no Linux of a known kind"
	}
	if b.host.Programs == "" {
		return nil, "none was built"
	}
	dir := filepath.Join(b.host.Programs, name)
	if _, err := os.Stat(filepath.Join(dir, Program)); err != nil {
		return nil, "none was built for " + name
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err.Error()
	}
	files = map[string][]byte{}
	for _, entry := range list {
		if !plain(entry.Name()) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err.Error()
		}
		files[entry.Name()] = data
	}
	return files, ""
}

// plain says whether a name means the same to every shell and every scp.
func plain(name string) bool {
	return name != "" && name[0] != '-' && name[0] != '.' && strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+-", r))
	}) < 0
}

// send copies files into the private folder.
func (b *Board) send(ctx context.Context, files map[string][]byte) error {
	return stage(func(dir string) error {
		var paths []string
		var size int64
		for name, data := range files {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, data, 0o700); err != nil {
				return err
			}
			paths, size = append(paths, path), size+int64(len(data))
		}
		return b.copy(ctx, paths, size)
	})
}

// stage gives a folder of this machine to a function and removes it.
func stage(with func(dir string) error) (err error) {
	dir, err := os.MkdirTemp("", "tpuplan-send-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return with(dir)
}

// copy sends files of this machine into the private folder.
func (b *Board) copy(ctx context.Context, paths []string, size int64) error {
	h := b.host
	answer, err := b.session.ask(ctx, "have")
	if err != nil {
		return err
	}
	var free int64
	if n, _ := fmt.Sscan(strings.Join(answer["free"], " "), &free); n == 1 && free < (size+1023)>>10 {
		return b.full(size, fmt.Sprintf("%d KiB are free", free))
	}
	slices.Sort(paths)
	name := h.Name
	if user, host, ok := strings.Cut(name, "@"); ok && strings.Count(host, ":") > 1 && !strings.HasPrefix(host, "[") {
		name = user + "@[" + host + "]"
	} else if !ok && strings.Count(name, ":") > 1 && !strings.HasPrefix(name, "[") {
		name = "[" + name + "]"
	}
	words := slices.Concat(h.SCP, []string{"-q", "-B"}, options, []string{"--"}, paths, []string{name + ":" + b.session.folder + "/"})
	exit, said, err := runCommand(ctx, words)
	switch {
	case err != nil:
		return err
	case exit == 0:
		return nil
	case strings.Contains(said, "No space left") || strings.Contains(said, "Disk quota"):
		return b.full(size, lastLine(said))
	case isConnection(said):
		return unreachable(h.Name, said)
	}
	return &profile.Failure{Code: profile.Unreachable, Text: fmt.Sprintf("%s: files cannot be copied there: %s", h.Name, lastLine(said)), Output: said}
}

func (b *Board) full(size int64, reason string) error {
	return &profile.Failure{
		Code: profile.Unreachable, Text: fmt.Sprintf("%s: no space for %d KiB in %s: %s", b.host.Name, (size+1023)>>10, b.session.folder, reason),
		Hint: "old models may lie in ~/.cache/tpuplan/models there, which can be removed at any time",
	}
}

// Measure implements [profile.Measurer]. Models that are not there yet are sent
// first. When it returns, the measuring process there has ended, or will as soon as
// the board notices that the connection has.
func (b *Board) Measure(ctx context.Context, run *profile.Run, emit func(*profile.Sample) error) error {
	if err := errors.Join(run.Check(), ctx.Err()); err != nil {
		return err
	}
	there := *run
	there.Models = slices.Clone(run.Models)
	if err := b.models(ctx, &there); err != nil {
		return err
	}
	input, err := json.Marshal(&there) // as Local does
	if err != nil {
		return err
	}
	h := b.host
	words := []string{"exec", "sh", b.session.folder + "/" + runName, fmt.Sprint(len(input)), "env"}
	words = slices.Concat(words, h.Env, b.command)
	for i := range words {
		words[i] = shell.Quote(words[i])
	}
	local := device.Local{
		Command:   h.ssh(strings.Join(words, " ")),
		HoldStdin: true, OpenDeadline: h.OpenDeadline, Ended: b.ended,
	}
	hashes := map[string]string{}
	for _, m := range there.Models {
		hashes[m.Name] = m.SHA256
	}
	err = local.Measure(ctx, &there, func(s *profile.Sample) error {
		s.Host = h.Name // by which it is known here
		if s.SHA256 == "" {
			s.SHA256 = hashes[s.Model] // a program there may be older
		}
		return emit(s)
	})
	if f := (*profile.Failure)(nil); errors.As(err, &f) {
		for i := range run.Models { // nobody knows the names of the files there
			f.Text = strings.ReplaceAll(f.Text, there.Models[i].File, run.Models[i].File)
		}
	}
	return err
}

// ended explains the exit codes of ssh and of run.sh.
func (b *Board) ended(exit int) *profile.Failure {
	switch {
	case exit == 255 || exit < 0:
		b.lost = true
		return &profile.Failure{
			Code: profile.Unreachable, Text: fmt.Sprintf("the connection to %s is lost", b.host.Name),
			Hint: "the samples that arrived are kept; the same command continues behind them",
		}
	case exit > 128 && exit < 128+65:
		return &profile.Failure{Code: profile.Aborted, Text: fmt.Sprintf("the measuring process was ended by signal %d", exit-128), Hint: device.AbortedHint}
	}
	return nil
}

// models checks the files of a run, sends those that the board lacks, and names
// them as they are called there.
func (b *Board) models(ctx context.Context, run *profile.Run) error {
	paths := map[string]string{} // by hash
	var wanted []string
	var size int64
	for i := range run.Models {
		m := &run.Models[i]
		path := filepath.FromSlash(m.File)
		if !filepath.IsAbs(path) {
			path = filepath.Join(b.host.Dir, path)
		}
		f, err := tflite.Open(path)
		if err != nil {
			return &profile.Failure{Code: profile.BadModel, Model: m.Name, Text: err.Error()}
		}
		sha := f.SHA256()
		if m.SHA256 != "" && m.SHA256 != sha {
			return &profile.Failure{Code: profile.BadModel, Model: m.Name, Text: m.File + " is not the file that the run was made for", Hint: "make the run anew"}
		}
		m.SHA256, m.File = sha, b.session.models+"/"+sha+".tflite"
		if !b.have[sha] && paths[sha] == "" {
			paths[sha], wanted, size = path, append(wanted, sha), size+f.Size()
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	answer, err := b.session.ask(ctx, "have "+strings.Join(wanted, " "))
	if err != nil {
		return err
	}
	for _, sha := range answer["have"] {
		b.have[sha] = true
	}
	wanted = slices.DeleteFunc(wanted, func(sha string) bool { return b.have[sha] })
	if len(wanted) == 0 {
		return nil
	}
	b.host.note("%d of %d models are sent to %s", len(wanted), len(run.Models), b.host.Name)
	err = stage(func(dir string) error {
		var staged []string
		size = 0
		for _, sha := range wanted {
			n, err := duplicate(filepath.Join(dir, sha), paths[sha])
			if err != nil {
				return err
			}
			staged, size = append(staged, filepath.Join(dir, sha)), size+n
		}
		return b.copy(ctx, staged, size)
	})
	if err != nil {
		return err
	}
	if _, err := b.session.ask(ctx, "keep "+strings.Join(wanted, " ")); err != nil {
		return err
	}
	for _, sha := range wanted {
		b.have[sha] = true
	}
	return nil
}

// duplicate makes a second name or a copy of a file.
func duplicate(to, from string) (size int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close() //nolint:errcheck // it was only read
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	size, err = io.Copy(out, in)
	return size, errors.Join(err, out.Close())
}

// Close ends the session. The private folder is gone when it returns, if the
// board can still be reached.
func (b *Board) Close() error {
	if err := b.session.close(); !b.lost {
		return err
	}
	return nil
}
