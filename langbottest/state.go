package langbottest

import (
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"
)

// state is everything a server remembers. One lock guards it; nothing waits or calls out while holding it.
type state struct {
	mu      sync.Mutex
	profile profile
	content
}

// content is what a reset forgets.
type content struct {
	ahead time.Duration // of the real clock

	rows     []*row         // plugins, in the order of their first installation
	settings map[string]any // configs that outlived their plugins
	mcps     []string       // MCP servers that were installed instead of plugins
	bots     map[string]*task
	files    map[string]bool // of configs
	cache    map[string]cached

	tasks   []*task // by id
	nextID  int64
	scripts map[string]Script

	marketplace   []archive
	marketplaceIs map[string]string // what else the marketplace has, by "author/name": mcp or skill
	slow          map[string]time.Duration
	github        []gitHubFile

	passwords map[string]string // by e-mail address
	tokens    map[string]string // to e-mail address
	keys      []*key
	logins    int
	lastLogin lastLogin
	workspace string
	account   string

	down          bool      // the plugin runtime is
	back          time.Time // when it was started again
	poisoned      bool      // and cannot be worked with
	maxExtensions int       // negative: any number
}

// A lastLogin is the token that was made last, and when.
type lastLogin struct {
	token  string
	second int64
}

func newState(p profile) *state {
	st := &state{profile: p, content: content{
		settings:      map[string]any{},
		bots:          map[string]*task{},
		files:         map[string]bool{},
		scripts:       map[string]Script{},
		marketplaceIs: map[string]string{},
		slow:          map[string]time.Duration{},
		passwords:     map[string]string{},
		tokens:        map[string]string{},
		workspace:     newUUID(),
		account:       newUUID(),
		maxExtensions: -1,
	}}
	st.boot(st.now())
	return st
}

// now is the time of the server.
func (st *state) now() time.Time {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.clock()
}

// clock is now, of a state that is locked.
func (st *state) clock() time.Time { return time.Now().Add(st.ahead) }

// Advance sets the server's clock ahead by d, so that tasks and restarts are that much further. Requests that wait, as a
// delayed one does, and clients' clocks go on as they do: inside testing/synctest, sleep instead.
func (s *Server) Advance(d time.Duration) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.ahead += max(d, 0)
	s.state.advance(s.state.clock())
}

// boot forgets what a process forgets, and starts the server's own tasks.
func (st *state) boot(now time.Time) {
	st.tasks, st.nextID, st.cache = nil, 0, map[string]cached{}
	for i, name := range st.ownTasks() {
		t := st.addOwn(name, now)
		t.applied = t.applied || name == "" && i < 4 // they end at once
	}
}

// Restart restarts the server: tasks are gone, and those that ran are never done; ids begin again. Users, keys, tokens,
// plugins and their configs stay. The plugin runtime connects again a moment later, unless it is down.
func (s *Server) Restart() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	now := s.state.clock()
	s.state.advance(now)
	for _, r := range s.state.rows {
		r.busy = nil
	}
	s.state.boot(now)
	s.state.connect(now)
}

// Reset puts the server back to its beginning, with the credentials of then: nothing is installed or offered, and scripts,
// faults and the journal are empty. What ran is never done. What would have failed the test at its end does so here.
func (s *Server) Reset() {
	fresh := newState(s.profile)
	unmatched := s.journal.clear()
	s.judge(unmatched, s.ClearFaults())
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.content = fresh.content
	s.admit()
}

// RuntimeDown takes the plugin runtime away, as when it has crashed: plugins are not there until [Server.RuntimeUp].
func (s *Server) RuntimeDown() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(s.state.clock())
	s.state.down = true
}

// RuntimeUp starts the plugin runtime again. For a moment it is not connected, and then, in most releases, without
// plugins.
func (s *Server) RuntimeUp() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.down = false
	s.state.connect(s.state.clock())
}

const (
	connecting = 5 * quick              // a runtime that was started
	loading    = 5 * quick              // its plugins
	restarting = 5 * quick              // a plugin whose config was written
	listedLate = 400 * time.Millisecond // a plugin of whose installation an older release tells too early
	fileCache  = 5 * time.Minute
)

// connect starts the connection to the runtime. One that holds a package which it refuses is never connected.
func (st *state) connect(now time.Time) {
	st.back = now
	if st.profile.has(poisonLater) && slices.ContainsFunc(st.rows, func(r *row) bool { return r.refused }) {
		st.poisoned = true
	}
}

// connected reports whether the plugin runtime can be asked.
func (st *state) connected(now time.Time) bool {
	return !st.down && !(st.poisoned && st.profile.has(poisonLater)) && (st.back.IsZero() || !now.Before(st.back.Add(connecting)))
}

// loaded reports whether the runtime that is connected has its plugins.
func (st *state) loaded(now time.Time) bool {
	return st.back.IsZero() || st.profile.has(readyAtOnce) || !now.Before(st.back.Add(connecting+loading))
}

// LimitExtensions sets how many plugins may be installed, as system.limitation.max_extensions does; negative: any number.
func (s *Server) LimitExtensions(most int) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.maxExtensions = most
}

// identity is by what the server and its user are known.
func (st *state) identity() (workspace, account string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.workspace, st.account
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05") }
