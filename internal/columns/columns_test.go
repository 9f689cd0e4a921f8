package columns

import "testing"

func TestWidth(t *testing.T) {
	for _, test := range []struct {
		text string
		want int
	}{
		{"", 0},
		{"face", 4},
		{"größe", 5},
		{"gro\u0308ße", 5}, // a mark of its own
		{"日本語", 6},
		{"ｆａｃｅ", 8},
		{"ﾊﾛｰ", 3}, // half width
		{"얼굴", 4},
		{"🙂", 2},
		{"a\u200bb", 2}, // no width at all
	} {
		if got := Width(test.text); got != test.want {
			t.Errorf("%q: got %d columns, want %d", test.text, got, test.want)
		}
	}
}
