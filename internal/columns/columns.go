// Package columns says how many columns of a terminal a text takes, so that
// tables and carets stand right under characters that are two columns wide.
package columns

import (
	"unicode"

	"golang.org/x/text/width"
)

// Of is the number of columns of a character: two for the wide ones of East
// Asian scripts and for most emoji, none for marks that join the one before.
func Of(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Width is the number of columns of a text.
func Width(text string) int {
	n := 0
	for _, r := range text {
		n += Of(r)
	}
	return n
}
