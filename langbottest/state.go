package langbottest

import (
	"crypto/rand"
	"fmt"
	"sync"
	"time"
)

// state is everything a server remembers. One lock guards it; nothing waits or calls out while holding it.
type state struct {
	mu sync.Mutex

	rows   []*row  // plugins, in the order of their first installation
	tasks  []*task // by id from firstTask on
	nextID int64

	scripts     map[string]Script
	marketplace []archive
	github      []release

	passwords map[string]string // by e-mail address
	tokens    map[string]string // to e-mail address
	keys      map[string]key
	logins    int
	started   time.Time
	workspace string
	account   string
}

// firstTask is the id of the first task that a user starts: the server's own have the ones before, and are hidden but for
// the web chat's adapter.
const firstTask = 12

func newState() *state {
	return &state{
		started:   time.Now(),
		nextID:    firstTask,
		scripts:   map[string]Script{},
		passwords: map[string]string{},
		tokens:    map[string]string{},
		keys:      map[string]key{},
		workspace: newUUID(),
		account:   newUUID(),
	}
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000") }
