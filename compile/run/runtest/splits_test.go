package runtest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/tpuplan/tpuplan/internal/testdata"
	"github.com/tpuplan/tpuplan/tflite"
)

// The table of the double says what the real compiled files have.
func TestTableIsThatOfRealFiles(t *testing.T) {
	models := filepath.Join(testdata.Dir(t), "models")
	found := 0
	for key, splits := range known {
		words := strings.Fields(key)
		version, names := words[0], words[len(words)-len(splits):]
		for i, name := range names {
			path := filepath.Join(models, name+"_edgetpu.tflite")
			switch {
			case len(names) == 4:
				path = filepath.Join(models, "cocompiled-"+version, name+"_cocompiled_with_3quant_edgetpu.tflite")
			case version == "2.1":
				path = filepath.Join(models, "cocompiled-2.1", name+"_cocompiled_with_mobilenet_v1_1.0_224_quant_edgetpu.tflite")
			case len(names) == 2:
				path = filepath.Join(models, "cocompiled-16.0", name+"_cocompiled_with_"+names[1-i]+"_edgetpu.tflite")
			}
			if name == "mobilenet_v1_1.0_224_quant" {
				continue // its compiled file is not public
			}
			f, err := tflite.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			c, err := f.Compiled()
			if err != nil {
				t.Fatal(err)
			}
			if want := (split{c.CachedBytes(), c.StreamedBytes()}); splits[i] != want {
				t.Errorf("%s: %s has %v in the table, %v in the file", key, name, splits[i], want)
			}
			found++
		}
	}
	if found < 10 {
		t.Errorf("only %d files were compared", found)
	}
}
