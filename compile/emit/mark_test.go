package emit_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/compile/emit"
)

// The sum in a mark is that of the cksum of the machine.
func TestMarkSum(t *testing.T) {
	cksum := tool(t, "cksum")
	rapid.Check(t, func(t *rapid.T) {
		b := &emit.Build{
			Command: []string{"the plan's"},
			Flags:   rapid.SliceOfN(rapid.StringMatching("[^\x00\n]*"), 0, 3).Draw(t, "flags"),
		}
		words := rapid.SliceOfN(rapid.StringMatching("[^\x00\n]*|[a-z ]{200,400}"), 1, 3).Draw(t, "command")
		cmd := exec.Command(cksum)
		cmd.Stdin = strings.NewReader(strings.Join(slices.Concat(words, b.Flags), "\n") + "\n")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		mark := b.Mark(&emit.Group{Name: "g", Files: []string{"a.tflite"}}, words)
		_, sum, _ := strings.Cut(mark, "-")
		if want := strings.Join(strings.Fields(string(out)), "-"); sum != want {
			t.Errorf("the sum is %s, that of cksum %s", sum, want)
		}
	})
}

// The marks that Mark foretells are those that make leaves, and who leaves
// them after a compile of its own spares make the work.
func TestMarkIsThatOfMake(t *testing.T) {
	makers(t, func(t *testing.T, m maker) {
		plain, b := twoGroups(), twoGroups() // without and with the container's words, which the double does not see
		b.Command = []string{"container", "-v", `$PWD it's #1 \# \\# $(x) ~`, "edgetpu_compiler"}
		p := newProject(t)
		p.program("container", `shift 2; exec "$@"`)
		p.emit("build.mk", emit.Make, b)
		built(t, m.run(p, nil), plain, 0, 1)

		command := b.Command
		check := func(command []string) {
			t.Helper()
			for i := range b.Groups {
				g := &b.Groups[i]
				for _, file := range g.Files {
					folder := filepath.Join(p.dir, "build", compile.MarkFolder, compile.OutputName(file))
					entries, err := os.ReadDir(folder)
					if want := b.Mark(g, command); err != nil || len(entries) != 1 || entries[0].Name() != want {
						t.Errorf("%s holds %v (%v), want %s", folder, entries, err, want)
					}
				}
			}
		}
		check(command)

		// As if another program had compiled.
		compiled := func(command []string) {
			t.Helper()
			// The file system's clock, which may be behind this one's.
			p.write("start", "")
			info, err := os.Stat(filepath.Join(p.dir, "start"))
			if err != nil {
				t.Fatal(err)
			}
			start := info.ModTime()
			for i := range b.Groups {
				g := &b.Groups[i]
				for _, file := range g.Files {
					name := compile.OutputName(file)
					p.write("build/"+name, "compiled otherwise")
					folder := filepath.Join(p.dir, "build", compile.MarkFolder, name)
					mark := filepath.Join(folder, b.Mark(g, command))
					if err := os.RemoveAll(folder); err != nil {
						t.Fatal(err)
					}
					p.write("build/"+compile.MarkFolder+"/"+name+"/"+filepath.Base(mark), "")
					if err := os.Chtimes(mark, start, start); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		p.age()
		compiled(command)
		built(t, m.run(p, nil), plain)
		// With another command in effect make compiles anew.
		p.age()
		compiled([]string{"container", "-v", "other", "edgetpu_compiler"})
		built(t, m.run(p, nil), plain, 0, 1)
		check(command)
		other := []string{"EDGETPU_COMPILER=container -v other edgetpu_compiler"}
		p.age()
		compiled([]string{"container", "-v", "other", "edgetpu_compiler"})
		built(t, m.run(p, other), plain)
		check([]string{"container", "-v", "other", "edgetpu_compiler"})
	})
}
