package langbottest

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// A Call is a request that the server got.
type Call struct {
	Op     string // the route's pattern; empty if no route fits
	Method string
	Path   string // as the client wrote it, without its query
	Query  string
	Status int // of the answer
	Time   time.Time
	Bytes  int // of the body
}

const journalSize = 10_000 // more would only be kept, not looked at

type journal struct {
	mu        sync.Mutex
	calls     []Call
	unmatched []string
}

func (j *journal) add(op string, c *call, status int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.calls) == journalSize {
		j.calls = j.calls[1:]
	}
	j.calls = append(j.calls, Call{Op: op, Method: c.Method, Path: c.URL.EscapedPath(), Query: c.URL.RawQuery, Status: status, Time: c.now, Bytes: len(c.body)})
	if op == "" {
		j.unmatched = append(j.unmatched, fmt.Sprintf("%s %s: no such route; the closest is %q", c.Method, c.URL.EscapedPath(), closest(c.Method, c.URL.Path)))
	}
}

func (j *journal) unmatchedRequests() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.unmatched...)
}

// Calls returns the requests of a route, by its pattern, in the order of their ends; of all routes if op is empty. The
// last 10,000 are kept.
func (s *Server) Calls(op string) []Call {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	var calls []Call
	for _, c := range s.journal.calls {
		if op == "" || c.Op == op {
			calls = append(calls, c)
		}
	}
	return calls
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
