package emit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
)

// mark identifies what decides the outputs of a group besides the content of
// its models: command, flags, and the models in order. The group's name is not
// part of it, so a plan that only numbers its groups anew compiles nothing.
func (b *Build) mark(g *Group) string {
	h := sha256.New()
	for _, words := range [][]string{b.Command, b.Flags, g.Files} {
		for _, word := range words {
			fmt.Fprintf(h, "%d:%s", len(word), word)
		}
		io.WriteString(h, ";")
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// Mark is the mark that make leaves for each output of a group after it was
// compiled by a command, the words in effect for b.Command: an empty file
// OUT_DIR/[compile.MarkFolder]/OUTPUT/MARK that is no younger than the output.
// Who compiles a group otherwise leaves the same, and make finds nothing to do.
func (b *Build) Mark(g *Group, command []string) string {
	return b.mark(g) + "-" + cksum(lines(slices.Concat(command, b.Flags)))
}

// lines is what printf '%s\n' makes of words.
func lines(words []string) string { return strings.Join(words, "\n") + "\n" }

// cksum is what cksum prints of a text, with "-" for the blank.
func cksum(text string) string {
	sum := uint32(0)
	add := func(b byte) {
		sum ^= uint32(b) << 24
		for range 8 {
			carry := sum >> 31
			sum = sum<<1 ^ carry*0x04c11db7
		}
	}
	for i := range len(text) {
		add(text[i])
	}
	for n := len(text); n > 0; n >>= 8 { // POSIX: the length follows, lowest byte first
		add(byte(n))
	}
	return fmt.Sprintf("%d-%d", ^sum, len(text))
}
