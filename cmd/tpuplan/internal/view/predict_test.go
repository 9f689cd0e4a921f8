package view

import "testing"

func TestDrawOps(t *testing.T) {
	for _, test := range []struct {
		name  string
		ops   []piece
		width int
		want  string
	}{
		{"one after the other", []piece{{cached: 50}, {streamed: 25}, {cached: 25}}, 8, "====~~=="},
		{"a cell of two ops", []piece{{cached: 30}, {streamed: 70}}, 4, "=-~~"},
		{"an op of two parts", []piece{{cached: 10, streamed: 30}}, 4, "=~~~"},
		{"ops without parameters", []piece{{}, {cached: 5}, {}, {streamed: 5}, {}}, 2, "=~"},
		{"too small to be seen alone", []piece{{cached: 1000}, {streamed: 1}, {cached: 999}}, 4, "==-="},
		{"fewer bytes than cells", []piece{{streamed: 2}}, 4, "~~~~"},
	} {
		if got := drawOps(test.ops, test.width); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
