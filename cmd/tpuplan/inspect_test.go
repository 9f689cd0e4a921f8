package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/internal/fuzztest"
	"github.com/tpuplan/tpuplan/internal/known"
	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/plans/schema/schematest"
	"github.com/tpuplan/tpuplan/tflite/tflitetest"
)

// tpuplan runs the program in a folder's files.
func tpuplan(t *testing.T, args ...string) (code exitCode, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), append([]string{"tpuplan"}, args...), func(string) string { return "" }, nil, &out, &err)
	return code, out.String(), err.String()
}

// The convolution is streamed, with bytes behind it that nothing predicts;
// the rest is cached and as predicted.
func TestInspectAgainst(t *testing.T) {
	src := tflitetest.New().Input(1, 16, 16, 8).Conv(24, 3, 3, 1, true).Depthwise(3, 3, 1, true).Source()
	conv, depth := tflitetest.Pack(src, 0, 1), tflitetest.Pack(src, 1, 1)
	write := func(name string, data []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	source := write("net.tflite", tflitetest.Encode(src))
	against := func(cached, streamed []byte) string {
		p := tflitetest.Split(1, int64(len(cached)), int64(len(streamed)))
		p.Executables[0].Parameters, p.Executables[1].Parameters = streamed, cached
		compiled := write("net_edgetpu.tflite", tflitetest.CompiledModel(p))
		code, out, stderr := tpuplan(t, "inspect", "--against", compiled, source)
		if code != exitOK || stderr != "" {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		code, object, stderr := tpuplan(t, "inspect", "--format", "json", "--against", compiled, source)
		if code != exitOK || stderr != "" {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		if err := schematest.Validate("inspect", []byte(object)); err != nil {
			t.Error(err)
		}
		// Paths and hashes are not what this is about.
		lines := strings.SplitAfter(out, "\n")
		at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "  compiler ") })
		return strings.TrimPrefix(lines[0], filepath.ToSlash(source)) + strings.Join(lines[at:], "")
	}
	const good = ` against its compiled form: every byte as predicted
  compiler   16.0, as the file shows
  predicted  3392 bytes of parameters (exact)
  found      3392 bytes: 960 cached, 2432 streamed per call

     OP                 PREDICTED  FOUND  IN        OFFSET  KNOWN BY
  0  CONV_2D                 2432   2432  streamed       0  content
  1  DEPTHWISE_CONV_2D        960    960  cached         0  content
`
	if diff := cmp.Diff(good, against(depth, conv)); diff != "" {
		t.Error(diff)
	}
	const bad = ` against its compiled form: 1 op not as predicted
  compiler   16.0, as the file shows
  predicted  3392 bytes of parameters (exact)
  found      3456 bytes: 960 cached, 2496 streamed per call

     OP                 PREDICTED  FOUND  IN        OFFSET  KNOWN BY
  0  CONV_2D                 2432   2432  streamed       0  content
  1  DEPTHWISE_CONV_2D        960    960  cached         0  content

not as predicted
  op 0 CONV_2D: 64 streamed bytes at offset 2432 that no op was predicted to
                have
  the rules for these ops count as exact: is this the source, and the right
  --compiler, --min-runtime and -a?
`
	if diff := cmp.Diff(bad, against(depth, slices.Concat(conv, make([]byte, 64)))); diff != "" {
		t.Error(diff)
	}
}

// Every pair of the public set: explained to the last byte, but for the two
// whose difference is known, which begins at the op that is to blame.
func TestInspectAgainstPublic(t *testing.T) {
	models := filepath.Join(testdata.Dir(t), "models")
	files, err := filepath.Glob(filepath.Join(models, "*_edgetpu.tflite"))
	if err != nil {
		t.Fatal(err)
	}
	sets, err := filepath.Glob(filepath.Join(models, "cocompiled-*", "*_edgetpu.tflite"))
	if err != nil || len(files) < 7 || len(sets) < 12 {
		t.Fatalf("found %d and %d files (%v)", len(files), len(sets), err)
	}
	wrong := map[string]string{
		"keras_lstm_mnist_ptq": "  op 1 UNIDIRECTIONAL_SEQUENCE_LSTM: 27200 cached bytes at offset 7168",
		"split_concat":         "  op 0 CONCATENATION or 1 SPLIT or 2 CONCATENATION: 192 cached bytes at offset 0",
	}
	for _, file := range append(files, sets...) {
		name, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), "_edgetpu.tflite"), "_cocompiled_with_")
		code, out, stderr := tpuplan(t, "inspect", "--against", file, filepath.Join(models, name+".tflite"))
		want, ok := wrong[name]
		if !ok {
			want = ": every byte as predicted\n"
		}
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("%s: exit code %d, no %q in\n%s%s", file, code, want, out, stderr)
		}
	}
}

// The folder of the public set, shown as a whole: files that one call made are
// one group, in whichever folder they lie, and all others stand alone. The
// segments of one call have one token too, although each is laid out as if alone.
func TestInspectGroupsPublicSets(t *testing.T) {
	models := filepath.Join(testdata.Dir(t), "models")
	code, out, stderr := tpuplan(t, "inspect", "--format", "json", models)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var doc struct {
		Groups []struct{ Files []string }
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, g := range doc.Groups {
		var names []string
		for _, f := range g.Files {
			rel, err := filepath.Rel(models, f)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, strings.TrimSuffix(filepath.ToSlash(rel), ".tflite"))
		}
		got = append(got, strings.Join(names, " "))
	}
	for _, p := range known.Pairs {
		want = append(want, p.Name+"_edgetpu")
	}
	for i := range known.Sets {
		want = append(want, strings.TrimSpace(strings.Join(known.Sets[i].Files, " ")))
	}
	for _, net := range []string{
		"fresh/bright_16x16", "fresh/gabor_128x128_7k_4o_2s", "fresh/rllib_model1", "fresh/yolov8n_640", "passes/deeplabv3_mnv2_pascal_quant",
		"passes/posenet_mobilenet_v1_075_353_481_16_quant_decoder", "passes/posenet_mobilenet_v1_075_721_1281_16_quant_decoder",
	} {
		want = append(want, net+"/compiled")
	}
	const segments = "segments/ssd_mobilenet_v1_coco_quant_postprocess_segment_"
	want = append(want, segments+"0_of_2_edgetpu "+segments+"1_of_2_edgetpu")
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("groups, known (-) and shown (+):\n%s", diff)
	}
}

func TestSegment(t *testing.T) {
	for name, want := range map[string]string{
		"x_segment_0_of_2_edgetpu.tflite":       "0 2",
		"a/x_y_segment_11_of_16_edgetpu.tflite": "11 16",
		"x_segment_1_of_4.tflite":               "1 4",
		"x_segment_of_2_edgetpu.tflite":         "",
		"segment_0_of_2/x_edgetpu.tflite":       "",
		"x_segment_99999_of_2_edgetpu.tflite":   "",
	} {
		got := ""
		if s := segment(name); s != nil {
			got = fmt.Sprint(s.Index, s.Of)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// inspected writes a compiled file and returns how to inspect it.
func inspected(t testing.TB, size int64) (length int64, inspect func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m_edgetpu.tflite")
	data := tflitetest.CompiledModel(tflitetest.Split(1, size*3/4, size/4))
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return int64(len(data)), func() {
		var out, stderr bytes.Buffer
		if code := run(t.Context(), []string{"tpuplan", "inspect", path}, func(string) string { return "" }, nil, &out, &stderr); code != exitOK {
			t.Fatal(stderr.String())
		}
	}
}

// Inspecting a file takes no more than twice its size of memory and a megabyte,
// what is gone again included.
func TestInspectMemory(t *testing.T) {
	size, inspect := inspected(t, 8<<20)
	fuzztest.Bounded(t, int(size), inspect)
}

// BenchmarkInspectFile inspects a compiled file and lists it; hash is the part
// of that which computing the SHA-256 takes.
func BenchmarkInspectFile(b *testing.B) {
	for _, mb := range []int64{4, 40} {
		size, inspect := inspected(b, mb<<20)
		b.Run(fmt.Sprintf("%dMB", mb), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				inspect()
			}
		})
		b.Run(fmt.Sprintf("%dMB/hash", mb), func(b *testing.B) {
			data := make([]byte, size)
			b.SetBytes(size)
			for b.Loop() {
				sha256.Sum256(data)
			}
		})
	}
}
