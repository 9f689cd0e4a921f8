package process

import (
	"io"
	"strings"
	"sync"
)

// tailBytes are kept of what is written to a Tail.
const tailBytes = 4 << 10

// Tail keeps the end of what is written to it, for messages. Its zero value is
// ready, and it may be written to and read at once.
type Tail struct {
	lock sync.Mutex
	data []byte
	lost bool
}

// Write implements [io.Writer].
func (t *Tail) Write(p []byte) (int, error) {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.data = append(t.data, p...)
	if over := len(t.data) - tailBytes; over > 0 {
		t.data, t.lost = append(t.data[:0], t.data[over:]...), true
	}
	return len(p), nil
}

// Text is the end in whole lines.
func (t *Tail) Text() string {
	t.lock.Lock()
	defer t.lock.Unlock()
	text := string(t.data)
	if _, rest, found := strings.Cut(text, "\n"); t.lost && found {
		text = rest
	}
	return strings.TrimSpace(strings.ToValidUTF8(text, "?"))
}

var _ io.Writer = (*Tail)(nil)
