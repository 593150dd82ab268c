// Package langbottest is a LangBot to test against: a reference server with state, which answers as LangBot 4.11.2 does.
//
//	srv := langbottest.New(t)
//	client, err := langbot.New(srv.URL, langbot.WithAPIKey(srv.APIKey), langbot.WithHTTPClient(srv.Client()))
//
//	pkg, err := lbpkg.Parse(langbottest.Archive("acme", "hello", "1.0.0"))
//
// Uploaded archives are really read, tasks progress with the clock, plugins appear and disappear with them. What a real
// server refuses is refused. With [InMemory] a server works inside testing/synctest, where minutes cost nothing: make
// server and client inside the bubble; the server's end ends the connections of both.
//
//	synctest.Test(t, func(t *testing.T) {
//		srv := langbottest.New(t, langbottest.InMemory())
//		srv.On(langbottest.AnyInstall, langbottest.Script{
//			Steps: []langbottest.Step{{Action: "waiting for plugin initialization", Percent: 84, For: 30 * time.Second}},
//			End:   langbottest.FailToStart,
//		})
//		…
//	})
//
// Not there yet: config, logs, readme, icons, preview and upgrade of plugins, other releases than 4.11.2, and injected
// faults. Their routes are answered like unknown ones, and fail the test.
package langbottest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
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
	APIKey    string // the server's global key, with every permission
	UserToken string // a user's token, as a login gives it
	Email     string // the user's login
	Password  string

	state   *state
	journal *journal
	options options
	http    *http.Server
	client  *http.Client
	serving sync.WaitGroup
	conns   sync.WaitGroup
}

type options struct {
	memory         bool
	allowUnmatched bool
}

// An Option changes how a server works.
type Option func(*options)

// InMemory serves connections inside the process instead of a loopback port. Only [Server.Client] reaches them.
func InMemory() Option { return func(o *options) { o.memory = true } }

// AllowUnmatched lets requests of routes that the server does not have pass, instead of failing the test.
func AllowUnmatched() Option { return func(o *options) { o.allowUnmatched = true } }

// New starts a server for a test and closes it at the test's end. A request of a route that the server does not have
// fails the test, with the closest route it has.
func New(tb TB, opts ...Option) *Server {
	tb.Helper()
	srv, err := Start(opts...)
	if err != nil {
		tb.Fatalf("langbottest: %v", err)
	}
	tb.Cleanup(func() {
		srv.Close()
		for _, text := range srv.journal.unmatchedRequests() {
			if !srv.options.allowUnmatched {
				tb.Errorf("langbottest: %s", text)
			}
		}
	})
	return srv
}

// Start starts a server outside of a test. Close it.
func Start(opts ...Option) (*Server, error) {
	srv := &Server{
		APIKey:   "global-test-key",
		Email:    "user@example.test",
		Password: "correct horse",
		state:    newState(),
		journal:  &journal{},
	}
	srv.UserToken = srv.state.login(srv.Email)
	srv.state.passwords[srv.Email] = srv.Password
	srv.state.keys[srv.APIKey] = key{scopes: allScopes}
	for _, opt := range opts {
		opt(&srv.options)
	}
	listener, err := srv.listen()
	if err != nil {
		return nil, fmt.Errorf("langbottest: %w", err)
	}
	srv.http = &http.Server{Handler: srv.handler(), ConnState: srv.track, ReadHeaderTimeout: time.Minute}
	srv.serving.Add(1)
	go func() {
		defer srv.serving.Done()
		_ = srv.http.Serve(listener) // ends with ErrServerClosed
	}()
	return srv, nil
}

func (s *Server) listen() (net.Listener, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: 100, IdleConnTimeout: 4 * time.Second}
	s.client = &http.Client{Transport: transport}
	if s.options.memory {
		memory := memnet.Listen()
		transport.DialContext = memory.Dial
		s.URL = "http://langbot.test"
		return memory, nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
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
	s.client.CloseIdleConnections()
	_ = s.http.Shutdown(closedContext()) // refuses new connections and closes idle ones at once
	_ = s.http.Close()
	s.serving.Wait()
	s.conns.Wait()
}

func closedContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
