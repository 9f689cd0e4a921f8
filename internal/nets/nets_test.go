package nets

import (
	"testing"

	"github.com/tpuplan/tpuplan/compile"
	"github.com/tpuplan/tpuplan/internal/testdata"
)

// Every net can be analysed for every release, and no two of a list have one name.
func TestSizes(t *testing.T) {
	dir := testdata.Dir(t)
	graphs, err := Graphs(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]*Net{Built(), Tiny(), Files(dir), graphs} {
		if testing.Short() && len(list) > 20 {
			list = list[:5]
		}
		named := map[string]bool{}
		for _, n := range list {
			if named[n.Name] {
				t.Errorf("two nets are called %s", n.Name)
			}
			named[n.Name] = true
			for _, v := range compile.Versions() {
				size, err := n.Size(v)
				if err != nil {
					t.Fatal(err)
				}
				// releases before 14.1 map nothing of some nets
				if v == compile.V16_0 && (size.model.TPUOps == 0 || len(size.Load.Parts) == 0) {
					t.Errorf("%s has nothing for %s to place: %+v", n.Name, v, size)
				}
			}
		}
	}
}
