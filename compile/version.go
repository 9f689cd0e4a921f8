package compile

import (
	"fmt"
	"strings"
)

// Version is a release of edgetpu_compiler whose behaviour is known.
type Version int

// The known releases, oldest first.
const (
	V1_0 Version = iota
	V2_0
	V2_1
	V14_1
	V15_0
	V16_0
)

var versionNames = [...]string{"1.0", "2.0", "2.1", "14.1", "15.0", "16.0"}

// Versions lists all known releases, oldest first.
func Versions() []Version {
	return []Version{V1_0, V2_0, V2_1, V14_1, V15_0, V16_0}
}

// String is the release as users write it, "15.0".
func (v Version) String() string { return versionNames[v] }

// ParseVersion reads a release as users write it, "15.0". The error lists the
// known ones.
func ParseVersion(s string) (Version, error) {
	for v, name := range versionNames {
		if s == name {
			return Version(v), nil
		}
	}
	return 0, fmt.Errorf("unknown compiler version %q (known: %s)", s, strings.Join(versionNames[:], ", "))
}

// Sequential reports whether the release places model after model, so that a
// model's share depends only on those before it on the command line. 16.0
// instead sorts the ops of all models into one list.
func (v Version) Sequential() bool { return v < V16_0 }
