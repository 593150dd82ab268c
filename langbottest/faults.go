package langbottest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An Effect is what a fault does to a request.
type Effect struct {
	name    string
	wait    func(r *http.Request) (goesOn bool) // before anything else
	skip    bool                                // no work is done
	instead *answer                             // of the server's; then no work is done
	deliver func(w http.ResponseWriter, r *http.Request, a answer)
	told    bool // deliver tells the status
}

// Latency delays the answer by d.
func Latency(d time.Duration) Effect {
	return Effect{name: "latency", wait: func(r *http.Request) bool { return sleep(r, d) }}
}

// Stall does no work and never answers. The request ends when the client gives up, or the server is closed.
func Stall() Effect {
	return Effect{name: "stall", wait: func(r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body) // until then nobody notices that the client has gone
		<-r.Context().Done()
		return false
	}}
}

// Status answers with a status, from 200 to 599, and LangBot's envelope of a failure, and does no work.
func Status(code int) Effect {
	return answering("status", refusal(code, -1, "injected: "+http.StatusText(code)))
}

// Respond answers with a status and a JSON body, and does no work. It is for what LangBot says in states that this server
// does not have, such as a login that wants a second factor:
//
//	langbottest.Respond(401, map[string]any{"code": "totp_required", "msg": "…", "data": map[string]any{"challenge_token": "…"}})
//
// A body of type []byte is sent as it is, JSON or not.
func Respond(code int, body any) Effect {
	if raw, isRaw := body.([]byte); isRaw {
		return answering("respond", answer{status: code, raw: raw, kind: "application/json"})
	}
	encode(body) // what is no JSON panics here rather than in a request
	return answering("respond", answer{status: code, body: body})
}

// Busy answers 429 as LangBot does when eight operations run. With a hint it has a Retry-After, as a proxy would send.
func Busy(hint time.Duration) Effect {
	a := refusal(429, "task_capacity_exceeded", "The Workspace has too many active user operations")
	if hint > 0 {
		a.header = map[string]string{"Retry-After": strconv.Itoa(int((hint + time.Second - 1) / time.Second))}
	}
	return answering("busy", a)
}

// Page answers with a status and an HTML page, as a proxy does, and does no work.
func Page(code int) Effect {
	text := http.StatusText(code)
	return answering("page", page(code, "<html><head><title>"+text+"</title></head><body><h1>"+text+"</h1></body></html>\n"))
}

// Malformed answers 200 with what begins like JSON and is none, and does no work.
func Malformed() Effect {
	return answering("malformed", answer{status: 200, raw: []byte(`{"code":0,"data":{"plug`), kind: "application/json"})
}

func answering(name string, a answer) Effect {
	if a.status < 200 || a.status > 599 {
		panic(fmt.Sprintf("langbottest: %d is no status of an answer", a.status))
	}
	return Effect{name: name, instead: &a}
}

// Reset cuts the connection, and does no work.
func Reset() Effect { return Effect{name: "reset", skip: true, deliver: cutOff} }

// LoseAnswer does the work, and cuts the connection instead of answering.
func LoseAnswer() Effect { return Effect{name: "lose-answer", deliver: cutOff} }

func cutOff(w http.ResponseWriter, _ *http.Request, _ answer) { cut(w) }

// Truncate does the work, answers as far as the first n bytes of the body, and cuts the connection. A shorter body is sent
// whole, as the beginning of a longer one. It panics if n is negative.
func Truncate(n int) Effect {
	if n < 0 {
		panic("langbottest: Truncate: a negative number of bytes")
	}
	return Effect{name: "truncate", told: true, deliver: func(w http.ResponseWriter, _ *http.Request, a answer) {
		content := a.content()
		a.writeHead(w, max(len(content), n+1))
		_, _ = w.Write(content[:min(n, len(content))])
		flush(w)
		cut(w)
	}}
}

// Drip does the work, and answers one byte at a time, each after a pause.
func Drip(pause time.Duration) Effect {
	return Effect{name: "drip", told: true, deliver: func(w http.ResponseWriter, r *http.Request, a answer) {
		content := a.content()
		a.writeHead(w, len(content))
		for i := range content {
			if !sleep(r, pause) {
				return
			}
			_, _ = w.Write(content[i : i+1])
			flush(w)
		}
	}}
}

// sleep waits, and reports whether the client is still there.
func sleep(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(max(d, 1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

func flush(w http.ResponseWriter) {
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}

// cut ends the connection, with a reset where there is a socket.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: this ends the stream
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// When says which of the requests a fault takes.
type When struct {
	nth, first int
	optional   bool
}

// Nth is the n-th request of the operation only, from 1 on. It panics if there is no such.
func Nth(n int) When { return When{nth: counted("Nth", n)} }

// First are the first n requests of the operation, one at least. It panics if n is less.
func First(n int) When { return When{first: counted("First", n)} }

func counted(name string, n int) int {
	if n < 1 {
		panic(fmt.Sprintf("langbottest: %s(%d): requests are counted from 1 on", name, n))
	}
	return n
}

// Optional lets the test pass though the fault never happened.
func Optional() When { return When{optional: true} }

// A rule is a fault that was asked for.
type rule struct {
	op     string
	effect Effect
	when   When
	seen   int
	fired  int
}

type faults struct {
	mu    sync.Mutex
	rules []*rule
}

// Fault has requests of an operation go wrong, by the route's pattern, by [AnyInstall], or all if op is empty: all of them,
// unless when says which. Requests are counted from the fault's beginning, those too that another fault takes: of several
// that fit, a request has the one that was asked for first. A fault that never happened fails the test, unless it is [Optional]. It panics if there is no such route.
func (s *Server) Fault(op string, effect Effect, when ...When) {
	if op != "" && !isOperation(op) {
		verb, path, _ := strings.Cut(op, " ")
		panic(fmt.Sprintf("langbottest: Fault: no route %q; the closest is %q", op, closest(verb, path)))
	}
	r := &rule{op: op, effect: effect}
	for _, w := range when {
		r.when.nth, r.when.first = max(r.when.nth, w.nth), max(r.when.first, w.first)
		r.when.optional = r.when.optional || w.optional
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.rules = append(s.faults.rules, r)
}

// ClearFaults forgets the faults, and tells of those that never happened.
func (s *Server) ClearFaults() (missed []string) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	missed = s.faults.missed()
	s.faults.rules = nil
	return missed
}

// choose is the fault of a request; the zero one is none.
func (f *faults) choose(op string) Effect {
	f.mu.Lock()
	defer f.mu.Unlock()
	var effect *Effect
	for _, r := range f.rules {
		if !fits(r.op, op) {
			continue
		}
		r.seen++
		if effect == nil && (r.when.nth == 0 && r.when.first == 0 || r.seen == r.when.nth || r.seen <= r.when.first) {
			r.fired++
			effect = &r.effect
		}
	}
	if effect == nil {
		return Effect{}
	}
	return *effect
}

// missed tells of the faults that never happened. The faults must be locked.
func (f *faults) missed() []string {
	var missed []string
	for _, r := range f.rules {
		if r.fired == 0 && !r.when.optional {
			missed = append(missed, fmt.Sprintf("the fault %q of %q never happened: of its requests there were %d", r.effect.name, r.op, r.seen))
		}
	}
	return missed
}
