package compile

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tpuplan/tpuplan/internal/testdata"
)

func sortOrder(keys []uint64) []int32 {
	items := make([]item, len(keys))
	for i, k := range keys {
		items[i] = item{k, int32(i)}
	}
	libcxxSort(items)
	order := make([]int32, len(keys))
	for i, it := range items {
		order[i] = it.ref
	}
	return order
}

func numbers[T uint64 | int32](t *testing.T, text string) []T {
	t.Helper()
	var out []T
	for _, f := range strings.Fields(text) {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, T(n))
	}
	return out
}

// The recorded orders of the real library.
func TestSortLeavesTiesAsRecorded(t *testing.T) {
	f, err := os.Open(filepath.Join(testdata.Dir(t), "stdsort.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20)
	cases := 0
	for scanner.Scan() {
		keys, order, ok := strings.Cut(scanner.Text(), "\t")
		if !ok || strings.HasPrefix(keys, "keys") {
			continue
		}
		cases++
		if diff := cmp.Diff(numbers[int32](t, order), sortOrder(numbers[uint64](t, keys))); diff != "" {
			t.Errorf("case %d (%d keys):\n%s", cases, len(strings.Fields(keys)), diff)
		}
	}
	if cases < 200 {
		t.Errorf("read %d cases, the file has 200", cases)
	}
}

const oracleSource = `
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <vector>
struct E { int64_t key, ref; };
int main() {
  int n;
  while (scanf("%d", &n) == 1) {
    std::vector<E> v(n);
    for (int i = 0; i < n; i++) { long k; scanf("%ld", &k); v[i] = {k, i}; }
    std::sort(v.begin(), v.end(), [](const E& a, const E& b) { return a.key < b.key; });
    for (int i = 0; i < n; i++) printf("%ld ", (long)v[i].ref);
    puts("");
  }
}`

// The library itself, on random keys of every length class and tie density.
func TestSortAgainstLibcxx(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "oracle.cc")
	if err := os.WriteFile(src, []byte(oracleSource), 0o600); err != nil {
		t.Fatal(err)
	}
	oracle := filepath.Join(dir, "oracle")
	build := exec.Command("g++", "-nostdinc++", "-isystem", "/usr/lib/llvm-14/include/c++/v1", "-O1", "-w", src, "-o", oracle,
		"-L/usr/lib/llvm-14/lib", "-nodefaultlibs", "-lc++", "-lc++abi", "-lm", "-lc", "-lgcc_s", "-lgcc")
	if out, err := build.CombinedOutput(); err != nil {
		testdata.NeedTool(t, "libc++-14-dev (with g++)", fmt.Errorf("%w\n%s", err, out))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var in bytes.Buffer
	var want [][]int32
	for c := range 3000 {
		n := 1 + rng.IntN(150)
		if c%100 == 0 {
			n = 900 + rng.IntN(1200)
		}
		distinct := 1 + rng.IntN(n)
		keys := make([]uint64, n)
		for i := range keys {
			keys[i] = uint64(rng.IntN(distinct))
		}
		switch c % 7 {
		case 1:
			slices.Sort(keys)
		case 2:
			slices.Sort(keys)
			slices.Reverse(keys)
		case 3: // sorted but for a few
			slices.Sort(keys)
			for range 1 + rng.IntN(10) {
				keys[rng.IntN(n)] = uint64(rng.IntN(distinct))
			}
		}
		fmt.Fprintln(&in, n)
		for _, k := range keys {
			fmt.Fprint(&in, k, " ")
		}
		fmt.Fprintln(&in)
		want = append(want, sortOrder(keys))
	}
	cmd := exec.Command(oracle)
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if diff := cmp.Diff(numbers[int32](t, line), want[i]); diff != "" {
			t.Fatalf("case %d: library (-) and ours (+) differ:\n%s", i, diff)
		}
	}
}
