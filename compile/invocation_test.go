package compile_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/compile"
)

func TestInvocation(t *testing.T) {
	type words struct {
		Argv, Outputs []string
		TempDir, Log  string
	}
	tests := []struct {
		name string
		call compile.Invocation
		want words
	}{{
		name: "two models",
		call: compile.Invocation{
			Command: []string{"edgetpu_compiler"}, Flags: []string{"-s", "-m", "13"},
			OutDir: "build", Group: "usb-1", Files: []string{"models/a.tflite", "b.v2.tflite"},
		},
		want: words{
			Argv:    []string{"edgetpu_compiler", "-s", "-m", "13", "-o", "build/.tpuplan-usb-1", "models/a.tflite", "b.v2.tflite"},
			Outputs: []string{"build/a_edgetpu.tflite", "build/b.v2_edgetpu.tflite"},
			TempDir: "build/.tpuplan-usb-1", Log: "build/usb-1.log",
		},
	}, {
		name: "a container, and an out_dir that is not clean",
		call: compile.Invocation{
			Command: []string{"docker", "run", "--rm", "image", "edgetpu_compiler"},
			OutDir:  "out//x/", Group: "g", Files: []string{"../a.tflite"},
		},
		want: words{
			Argv:    []string{"docker", "run", "--rm", "image", "edgetpu_compiler", "-o", "out/x/.tpuplan-g", "../a.tflite"},
			Outputs: []string{"out/x/a_edgetpu.tflite"},
			TempDir: "out/x/.tpuplan-g", Log: "out/x/g.log",
		},
	}, {
		name: "no path looks like an option",
		call: compile.Invocation{
			Command: []string{"c"}, OutDir: "-build", Group: "-g", Files: []string{"-a.tflite", "x/-b.tflite"},
		},
		want: words{
			Argv:    []string{"c", "-o", "./-build/.tpuplan--g", "./-a.tflite", "x/-b.tflite"},
			Outputs: []string{"./-build/-a_edgetpu.tflite", "./-build/-b_edgetpu.tflite"},
			TempDir: "./-build/.tpuplan--g", Log: "./-build/-g.log",
		},
	}, {
		name: "into the plan's folder",
		call: compile.Invocation{Command: []string{"c"}, Group: "-g", Files: []string{"a"}},
		want: words{
			Argv:    []string{"c", "-o", "./.tpuplan--g", "a"},
			Outputs: []string{"./a_edgetpu.tflite"},
			TempDir: "./.tpuplan--g", Log: "./-g.log",
		},
	}, {
		name: "an absolute out_dir",
		call: compile.Invocation{Command: []string{"c"}, OutDir: "/", Group: "g", Files: []string{"/m/a.tflite"}},
		want: words{
			Argv:    []string{"c", "-o", "/.tpuplan-g", "/m/a.tflite"},
			Outputs: []string{"/a_edgetpu.tflite"},
			TempDir: "/.tpuplan-g", Log: "/g.log",
		},
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := words{test.call.Argv(), test.call.Outputs(), test.call.TempDir(), test.call.LogFile()}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
