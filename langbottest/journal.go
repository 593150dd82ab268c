package langbottest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A Call is a request that the server got.
type Call struct {
	Seq    int    // its number, from 1 on; the journal keeps the last 10,000 only
	Op     string // the route's pattern; empty if no route fits
	Method string
	Path   string // as the client wrote it, without its query
	Query  string // with secrets as ***
	By     string // "key", "user", or empty: nobody, or not looked at because of a fault
	Status int    // of the answer; 0: none was given, as by a fault
	Time   time.Time
	Bytes  int    // of the body, as far as it was read
	Digest string // SHA-256 of the body, in hexadecimal; empty without one. Of an upload, the form's boundary is in it
	Body   string // its beginning, if it is JSON, with secrets as ***
}

// The bounds of the journal.
const (
	journalSize  = 10_000
	journalBytes = 4 << 20 // of bodies
	bodyBytes    = 512
)

type journal struct {
	observing sync.Mutex // taken first; observers may look at the journal
	mu        sync.Mutex
	calls     []Call
	bytes     int
	count     int
	dropped   map[string]int // by operation
	unmatched []string
	observe   func(Call)
}

func (j *journal) add(c *call, status int) {
	entry := Call{Op: c.op(), Method: c.Method, Path: c.URL.EscapedPath(), Query: redactQuery(c.URL.RawQuery), Status: status, Time: c.now, Bytes: len(c.body.data),
		Body: excerpt(c)}
	if c.who.isKey() {
		entry.By = "key"
	} else if c.who.user != "" {
		entry.By = "user"
	}
	if len(c.body.data) > 0 {
		sum := sha256.Sum256(c.body.data)
		entry.Digest = hex.EncodeToString(sum[:])
	}
	j.observing.Lock()
	defer j.observing.Unlock()
	entry = j.keep(entry)
	if c.route == nil && c.Method != http.MethodOptions && !ofSomeRelease(c.Method, c.URL.Path) {
		j.noteUnmatched(fmt.Sprintf("%s %s: no such route; the closest is %q", c.Method, entry.Path, closest(c.Method, c.URL.Path)))
	}
	if j.observe != nil {
		j.observe(entry)
	}
}

func (j *journal) noteUnmatched(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.unmatched) < 100 {
		j.unmatched = append(j.unmatched, text)
	}
}

// keep numbers an entry, and drops older ones for it.
func (j *journal) keep(entry Call) Call {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.count++
	entry.Seq = j.count
	j.calls = append(j.calls, entry)
	j.bytes += len(entry.Body)
	for len(j.calls) > journalSize || j.bytes > journalBytes {
		j.dropped[j.calls[0].Op]++
		j.bytes -= len(j.calls[0].Body)
		j.calls = j.calls[1:]
	}
	return entry
}

// excerpt is the beginning of a JSON body, without its secrets.
func excerpt(c *call) string {
	if media, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type")); media != "application/json" {
		return ""
	}
	value, valid := decodeJSON(c.body.data)
	if !valid {
		return ""
	}
	text := strings.TrimSuffix(string(encode(redactBelow(value, isPrivate, false))), "\n")
	if len(text) > bodyBytes {
		text = text[:bodyBytes] + "…"
	}
	return text
}

// clear empties the journal, and returns what is to be said of its unmatched requests.
func (j *journal) clear() (unmatched []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	unmatched = j.unmatched
	j.calls, j.bytes, j.count, j.dropped, j.unmatched = nil, 0, 0, map[string]int{}, nil
	return unmatched
}

func (j *journal) unmatchedRequests() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.unmatched...)
}

// Calls returns the requests of a route, by its pattern or [AnyInstall]; of all routes if op is empty. A request is among
// them once it is answered, and before its client sees the answer. If the journal has dropped some of them the test fails,
// and so it does if there is no such route, lest a misspelt one passes for one that was never asked.
func (s *Server) Calls(op string) []Call {
	if op != "" && !isOperation(op) {
		verb, path, _ := strings.Cut(op, " ")
		s.complain(fmt.Sprintf("Calls: no route %q; the closest is %q", op, closest(verb, path)))
	}
	calls, dropped := s.journal.of(op)
	if dropped > 0 {
		s.complain(fmt.Sprintf("Calls(%q): the first %d of them are not kept any more", op, dropped))
	}
	return calls
}

func (j *journal) of(op string) (calls []Call, dropped int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range j.calls {
		if fits(op, c.Op) {
			calls = append(calls, c)
		}
	}
	for of, n := range j.dropped {
		if fits(op, of) {
			dropped += n
		}
	}
	return calls, dropped
}

// isOperation reports whether op is the pattern of a route, or of the installations.
func isOperation(op string) bool {
	for _, r := range routes {
		if r.pattern == op {
			return true
		}
	}
	return op == AnyInstall
}

// closest is the route that a request without one was probably meant for.
func closest(method, path string) string {
	best, most := "", -1
	for _, r := range routes {
		if points := likeness(r.pattern, method, path); points > most {
			best, most = r.pattern, points
		}
	}
	return best
}

// likeness counts what a request and a pattern have in common.
func likeness(pattern, method, path string) (points int) {
	m, pattern, _ := strings.Cut(pattern, " ")
	if m == method {
		points += 2
	}
	want, got := strings.Split(pattern, "/"), strings.Split(strings.TrimSuffix(path, "/"), "/")
	if len(want) == len(got) {
		points++
	}
	for i := range min(len(want), len(got)) {
		switch {
		case want[i] == got[i]:
			points += 2
		case strings.HasPrefix(want[i], "{"), strings.HasPrefix(got[i], want[i]), strings.HasPrefix(want[i], got[i]):
			points++
		}
	}
	return points
}
