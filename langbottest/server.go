package langbottest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/langbot-go/langbot/internal/memnet"
)

// TB is the part of testing.TB that a server needs.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// A Server is a running reference server. Its fields do not change.
type Server struct {
	URL       string // base URL, such as "http://127.0.0.1:41523"
	APIKey    string // the server's global key, with every permission; POST /api/v1/apikeys makes others, with the "scopes" asked for
	UserToken string // a user's token, as a login gives it
	Email     string // the user's login
	Password  string

	profile profile
	state   *state
	faults  faults
	journal *journal
	options options
	tb      TB // nil outside of a test
	http    *http.Server
	end     context.CancelFunc // of what requests still wait for
	client  *http.Client
	serving sync.WaitGroup
	conns   sync.WaitGroup
	calls   sync.WaitGroup // those that have their connections to themselves
}

type options struct {
	version         string
	document        bool
	negated         []string
	address         string
	memory          bool
	allowUnmatched  bool
	key             string
	email, password string
	observe         func(Call)
}

// An Option changes how a server works.
type Option func(*options)

// Version is the release that the server answers as, such as "4.10.6" or "v4.10.6": any from 4.6.0 on. One that is newer than the table
// of differences does what the newest there does. The default is "4.11.2".
func Version(release string) Option { return func(o *options) { o.version = release } }

// Document has the server do to the letter what LangBot's published description of its API says, in the edition for 4.4.1,
// the last that has uploads: the ids of tasks are texts, and credentials are taken after Bearer only. What it does not say
// is as in LangBot 4.6.0, the release next to it, or as in that of a [Version] that is given after it.
func Document() Option {
	return func(o *options) { o.version, o.document = "4.6.0", true }
}

// Negate turns a row of the table of differences round, by its name in [Server.Profile]: for servers that are like a
// release but for one thing, and to see what a client makes of that.
func Negate(row string) Option { return func(o *options) { o.negated = append(o.negated, row) } }

// InMemory serves connections inside the process instead of a loopback port. Only [Server.Client] reaches them: give it to
// every client, as by langbot.WithHTTPClient.
func InMemory() Option { return func(o *options) { o.memory = true } }

// Address is where the server listens, as in net.Listen; not with [InMemory]. The default is a free port on the loopback
// interface.
func Address(addr string) Option { return func(o *options) { o.address = addr } }

// AllowUnmatched lets requests of routes that no release has pass, instead of failing the test.
func AllowUnmatched() Option { return func(o *options) { o.allowUnmatched = true } }

// Credentials are those that the server knows from the start, instead of made-up ones: the global API key, and a user's
// e-mail address and password. What is empty there is none of; without a user, one can be made by POST /api/v1/user/init.
func Credentials(apiKey, email, password string) Option {
	return func(o *options) { o.key, o.email, o.password = apiKey, email, password }
}

// Observe has every request told to f once it is answered, before its client sees the answer: one at a time, in their
// order. Requests wait for f, which may ask the server for anything but requests of its API.
func Observe(f func(Call)) Option { return func(o *options) { o.observe = f } }

// New starts a server for a test and closes it at the test's end. A request of a route that no release has fails
// the test, with the closest one, and so does a fault that never happened.
func New(tb TB, opts ...Option) *Server {
	tb.Helper()
	srv, err := Start(opts...)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	srv.tb = tb
	tb.Cleanup(func() {
		srv.Close()
		srv.judge(srv.journal.unmatchedRequests(), srv.ClearFaults())
	})
	return srv
}

// judge fails the test for requests of no route, and for faults that never happened.
func (s *Server) judge(unmatched, missed []string) {
	if s.tb == nil {
		return
	}
	if !s.options.allowUnmatched {
		missed = append(unmatched, missed...)
	}
	for _, text := range missed {
		s.complain(text)
	}
}

// complain fails the test. Outside of one it panics: it is called with what only a wrong test can do.
func (s *Server) complain(text string) {
	if s.tb == nil {
		panic("langbottest: " + text)
	}
	s.tb.Errorf("langbottest: %s", text)
}

// Start starts a server outside of a test. Close it.
func Start(opts ...Option) (*Server, error) {
	o := options{version: "4.11.2", address: "127.0.0.1:0", key: "global-test-key", email: "user@example.test", password: "correct horse"}
	for _, opt := range opts {
		opt(&o)
	}
	p, err := newProfile(o.version, o.document, o.negated)
	if err != nil {
		return nil, fmt.Errorf("langbottest: %w", err)
	}
	srv := &Server{APIKey: o.key, Email: o.email, Password: o.password, profile: p, state: newState(p), options: o,
		journal: &journal{dropped: map[string]int{}, observe: o.observe}}
	if srv.Email != "" {
		srv.UserToken = srv.state.login(srv.Email, time.Now())
	}
	srv.admit()
	listener, err := srv.listen()
	if err != nil {
		return nil, fmt.Errorf("langbottest: %w", err)
	}
	var open context.Context
	open, srv.end = context.WithCancel(context.Background())
	srv.http = &http.Server{Handler: srv.handler(), ConnState: srv.track, ReadHeaderTimeout: time.Minute,
		BaseContext: func(net.Listener) context.Context { return open }}
	srv.serving.Add(1)
	go func() {
		defer srv.serving.Done()
		_ = srv.http.Serve(listener) // ends with ErrServerClosed
	}()
	return srv, nil
}

// admit makes the credentials that the server begins with valid.
func (s *Server) admit() {
	if s.APIKey != "" {
		s.state.addKey(s.APIKey, "global", time.Now()).id = 0
	}
	if s.Email != "" {
		s.state.passwords[s.Email] = s.Password
		s.state.tokens[s.UserToken] = s.Email
	}
}

// inMemory counts the servers of this process that are in memory.
var inMemory atomic.Int64

func (s *Server) listen() (net.Listener, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: 100, IdleConnTimeout: 4 * time.Second}
	s.client = &http.Client{Transport: transport}
	if s.options.memory {
		memory := memnet.Listen()
		transport.DialContext = memory.Dial
		s.URL = fmt.Sprintf("http://langbot-%d.test", inMemory.Add(1)) // to a client, another address is another server
		return memory, nil
	}
	listener, err := net.Listen("tcp", s.options.address)
	if err != nil {
		return nil, err
	}
	s.URL = "http://" + listener.Addr().String()
	return listener, nil
}

func (s *Server) track(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.conns.Done()
	}
}

// Client returns an http.Client that reaches the server. Its idle connections end with the server.
func (s *Server) Client() *http.Client { return s.client }

// Close stops the server and waits for its connections to end. It is safe to call more than once.
func (s *Server) Close() {
	s.end()
	s.client.CloseIdleConnections()
	_ = s.http.Shutdown(closedContext()) // refuses new connections and closes idle ones at once
	_ = s.http.Close()
	s.serving.Wait()
	s.conns.Wait()
	s.calls.Wait()
}

// Shutdown stops the server once the requests that it has are answered, or ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.Close()
	return s.http.Shutdown(ctx)
}

func closedContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
