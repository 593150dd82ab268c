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
	if op == "" && len(j.unmatched) < 100 {
		j.unmatched = append(j.unmatched, fmt.Sprintf("%s %s: no such route; the closest is %q", c.Method, c.URL.EscapedPath(), closest(c.Method, c.URL.Path)))
	}
}

func (j *journal) unmatchedRequests() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.unmatched...)
}

// Calls returns the requests of a route, by its pattern or [AnyInstall]; of all routes if op is empty. A request is among
// them once it is answered, and before its client sees the answer. The last 10,000 are kept. It panics if there is no such
// route, lest a misspelt one passes for one that was never asked.
func (s *Server) Calls(op string) []Call {
	mustBeRoute("Calls", op)
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	var calls []Call
	for _, c := range s.journal.calls {
		if op == "" || c.Op == op || op == AnyInstall && strings.HasPrefix(c.Op, AnyInstall) {
			calls = append(calls, c)
		}
	}
	return calls
}

func mustBeRoute(method, op string) {
	if op == "" && method == "Calls" || op == AnyInstall {
		return
	}
	for _, r := range routes {
		if r.pattern == op {
			return
		}
	}
	verb, path, _ := strings.Cut(op, " ")
	panic(fmt.Sprintf("langbottest: %s: no route %q; the closest is %q", method, op, closest(verb, path)))
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
