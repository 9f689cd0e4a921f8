package tflite_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	huge := write("huge.tflite", "")
	if err := os.Truncate(huge, tflite.MaxBytes+1); err != nil {
		t.Skipf("no sparse files here: %v", err)
	}
	absent := filepath.Join(dir, "absent.tflite")
	empty := write("empty.tflite", "")
	for _, test := range []struct{ path, want string }{
		{absent, absent + ": no such file or directory"},
		{dir, dir + ": is a folder, not a TFLite file"},
		{empty, empty + ": the file is empty"},
		{huge, huge + ": 2147483648 bytes are too many: a TFLite file has at most 2147483647"},
		{os.DevNull, os.DevNull + ": is not a regular file"},
	} {
		_, err := tflite.Open(test.path)
		if err == nil || err.Error() != test.want {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
	}
	if _, err := tflite.Open(absent); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
	good := write("good.tflite", string(small().Bytes()))
	f, err := tflite.Open(good)
	if err != nil {
		t.Fatal(err)
	}
	if f.Name() != good || f.Size() != int64(len(small().Bytes())) || f.Kind() != tflite.KindSource {
		t.Errorf("%s, %d bytes, %s", f.Name(), f.Size(), f.Kind())
	}
}

// The hash is the one that sha256sum prints, whoever asks for it first.
func TestSHA256(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.tflite")
	if err := os.WriteFile(path, small().Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	line, err := exec.Command("sha256sum", path).Output()
	if err != nil {
		testdata.NeedTool(t, "sha256sum", err)
	}
	want, _, _ := strings.Cut(string(line), " ")
	f, err := tflite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if got := f.SHA256(); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
	group.Wait()
}
