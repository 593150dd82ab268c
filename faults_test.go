package langbot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/memnet"
)

// userToken has the form of a user's token, so that no task is asked for before a mutation.
const userToken = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyIjoiYSJ9.c2VjcmV0LXNpZ25hdHVyZQ"

// A faulty server counts what it runs: requests that it has read to their end.
type faulty struct {
	*httptest.Server
	ran   atomic.Int64
	conns atomic.Int64
	fault atomic.Pointer[http.HandlerFunc]
}

// newFaulty serves a good answer until a fault is set.
func newFaulty(t *testing.T) *faulty {
	f := &faulty{}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handler := f.fault.Load(); handler != nil {
			(*handler)(w, r)
			return
		}
		writeJSON(w, 200, `{"code":0,"msg":"ok","data":{"plugins":[],"task_id":3,"version":"v4.11.2"}}`)
	}))
	f.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			f.conns.Add(1)
		}
	}
	f.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	f.Start()
	t.Cleanup(f.Close)
	return f
}

// run reads the request to its end and counts it, unless it asks what a failure means.
func (f *faulty) run(r *http.Request) {
	_, err := io.Copy(io.Discard, r.Body)
	if err == nil && r.URL.Path != "/healthz" && r.URL.Path != "/api/v1/system/info" {
		f.ran.Add(1)
	}
}

func writeJSON(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// reset ends the connection hard.
func reset(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// answer runs the request and answers with a status, headers "Name: value", and a body.
func (f *faulty) answer(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f.run(r)
		w.Header().Set("Content-Type", "application/json")
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const page = "<!doctype html><title>Bad gateway</title>"

// outcome is how a call ends: how often the server ran it, and what the error is and is not.
type outcome struct {
	runs int64
	is   error
}

var errProtocol, errTransport, errTimeout = errors.New("a protocol error"), errors.New("a transport error"), errors.New("a timeout")

func (o outcome) check(t *testing.T, err error) {
	t.Helper()
	var protocol *langbot.ProtocolError
	var timeout net.Error
	switch o.is {
	case errProtocol:
		require.ErrorAs(t, err, &protocol)
		require.NotErrorIs(t, err, langbot.ErrInvalid, "a page says nothing about the call")
	case errTimeout:
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())
		require.NotErrorIs(t, err, context.DeadlineExceeded, "it is not the caller's deadline")
	case errTransport:
		require.Error(t, err)
		require.False(t, errors.As(err, &protocol), err)
	default:
		require.ErrorIs(t, err, o.is)
	}
	if o.is != langbot.ErrOutcomeUnknown {
		require.NotErrorIs(t, err, langbot.ErrOutcomeUnknown)
	}
}

// TestFaults meets each fault with a read, with a request that makes a task, and with an upload.
func TestFaults(t *testing.T) {
	unknown := langbot.ErrOutcomeUnknown
	html := "Content-Type: text/html"
	other := newFaulty(t)
	for name, tt := range map[string]struct {
		fault              func(*faulty) http.HandlerFunc
		read, task, upload outcome
		breaks             bool // the connection of each attempt
	}{
		"reset before the request is read": {fault: func(f *faulty) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { reset(w) }
		}, read: outcome{0, errTransport}, task: outcome{0, unknown}, upload: outcome{0, unknown}, breaks: true},
		"reset after the request was read": {fault: func(f *faulty) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { f.run(r); reset(w) }
		}, read: outcome{4, errTransport}, task: outcome{1, unknown}, upload: outcome{1, unknown}, breaks: true},
		"answer cut in the middle": {fault: func(f *faulty) http.HandlerFunc {
			return f.answer(200, `{"code":0,`, "Content-Length: 100")
		}, read: outcome{4, errTransport}, task: outcome{1, unknown}, upload: outcome{1, unknown}, breaks: true},
		"no answer in time": {fault: func(f *faulty) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { f.run(r); <-r.Context().Done() }
		}, read: outcome{4, errTimeout}, task: outcome{1, unknown}, upload: outcome{1, unknown}, breaks: true},
		"no body in time": {fault: func(f *faulty) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				f.answer(200, "{", "Content-Length: 100")(w, r)
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}
		}, read: outcome{4, errTimeout}, task: outcome{1, unknown}, upload: outcome{1, unknown}, breaks: true},
		"502 HTML": {fault: func(f *faulty) http.HandlerFunc { return f.answer(502, page, html) },
			read: outcome{4, langbot.ErrServer}, task: outcome{1, unknown}, upload: outcome{1, unknown}},
		"504 HTML": {fault: func(f *faulty) http.HandlerFunc { return f.answer(504, page, html) },
			read: outcome{4, errProtocol}, task: outcome{1, unknown}, upload: outcome{1, unknown}},
		"524, of a gateway": {fault: func(f *faulty) http.HandlerFunc { return f.answer(524, page, html) },
			read: outcome{1, langbot.ErrServer}, task: outcome{1, unknown}, upload: outcome{1, unknown}},
		"501 with an envelope": {fault: func(f *faulty) http.HandlerFunc { return f.answer(501, `{"code":-1,"msg":"no"}`) },
			read: outcome{1, langbot.ErrServer}, task: outcome{1, unknown}, upload: outcome{1, unknown}},
		"408": {fault: func(f *faulty) http.HandlerFunc { return f.answer(408, page, html) },
			read: outcome{4, langbot.ErrBusy}, task: outcome{1, unknown}, upload: outcome{1, unknown}},
		"503 without a hint": {fault: func(f *faulty) http.HandlerFunc { return f.answer(503, page, html) },
			read: outcome{4, langbot.ErrBusy}, task: outcome{1, unknown}, upload: outcome{1, unknown}},
		"503 with a hint": {fault: func(f *faulty) http.HandlerFunc { return f.answer(503, page, html, "Retry-After: 0") },
			read: outcome{4, langbot.ErrBusy}, task: outcome{4, langbot.ErrBusy}, upload: outcome{4, langbot.ErrBusy}},
		"429": {fault: func(f *faulty) http.HandlerFunc {
			return f.answer(429, `{"code":"task_capacity_exceeded","msg":"too many"}`)
		}, read: outcome{4, langbot.ErrBusy}, task: outcome{4, langbot.ErrBusy}, upload: outcome{4, langbot.ErrBusy}},
		"429 with an absurd hint": {fault: func(f *faulty) http.HandlerFunc {
			return f.answer(429, `{"code":"x","msg":"y"}`, "Retry-After: 99999999999999999999")
		}, read: outcome{1, langbot.ErrBusy}, task: outcome{1, langbot.ErrBusy}, upload: outcome{1, langbot.ErrBusy}},
		"500": {fault: func(f *faulty) http.HandlerFunc {
			return f.answer(500, `{"code":"internal_error","msg":"Internal server error","request_id":"r"}`)
		}, read: outcome{2, langbot.ErrServer}, task: outcome{1, langbot.ErrServer}, upload: outcome{1, langbot.ErrServer}},
		"500 HTML": {fault: func(f *faulty) http.HandlerFunc { return f.answer(500, page, html) },
			read: outcome{2, langbot.ErrServer}, task: outcome{1, unknown}, upload: outcome{1, unknown}},
		"redirect to another origin": {fault: func(f *faulty) http.HandlerFunc {
			return f.answer(307, "", "Location: "+other.URL+"/api/v1/plugins")
		}, read: outcome{1, errProtocol}, task: outcome{1, errProtocol}, upload: outcome{1, errProtocol}},
		"redirect nowhere": {fault: func(f *faulty) http.HandlerFunc { return f.answer(302, "", "Location: http://[bad/%zz") },
			read: outcome{1, errProtocol}, task: outcome{1, errProtocol}, upload: outcome{1, errProtocol}},
		"redirect to https": {fault: func(f *faulty) http.HandlerFunc {
			return f.answer(301, page, html, "Location: https://langbot.test/api/v1/plugins")
		}, read: outcome{1, errProtocol}, task: outcome{1, errProtocol}, upload: outcome{1, errProtocol}},
		"200 HTML": {fault: func(f *faulty) http.HandlerFunc { return f.answer(200, page, html) },
			read: outcome{1, errProtocol}, task: outcome{1, unknown}, upload: outcome{1, unknown}},
		"405 HTML": {fault: func(f *faulty) http.HandlerFunc { return f.answer(405, page, html) },
			read: outcome{1, errProtocol}, task: outcome{1, errProtocol}, upload: outcome{1, errProtocol}},
		"413 HTML": {fault: func(f *faulty) http.HandlerFunc { return f.answer(413, page, html) },
			read: outcome{1, langbot.ErrTooLarge}, task: outcome{1, langbot.ErrTooLarge}, upload: outcome{1, langbot.ErrTooLarge}},
		"truncated JSON": {fault: func(f *faulty) http.HandlerFunc { return f.answer(200, `{"code":0,"data":{"plug`) },
			read: outcome{1, errProtocol}, task: outcome{1, unknown}, upload: outcome{1, unknown}},
		"empty object": {fault: func(f *faulty) http.HandlerFunc { return f.answer(200, `{}`) },
			read: outcome{1, errProtocol}, task: outcome{1, unknown}, upload: outcome{1, unknown}},
		"no data": {fault: func(f *faulty) http.HandlerFunc { return f.answer(200, `{"code":0,"msg":"ok","data":null}`) },
			read: outcome{1, errProtocol}, task: outcome{1, unknown}, upload: outcome{1, unknown}},
		"204": {fault: func(f *faulty) http.HandlerFunc { return f.answer(204, "") },
			read: outcome{1, errProtocol}, task: outcome{1, unknown}, upload: outcome{1, unknown}},
		"200 with a code": {fault: func(f *faulty) http.HandlerFunc { return f.answer(200, `{"code":1,"msg":"no"}`) },
			read: outcome{1, langbot.ErrInvalid}, task: outcome{1, langbot.ErrInvalid}, upload: outcome{1, langbot.ErrInvalid}},
		"33 MiB": {fault: func(f *faulty) http.HandlerFunc {
			return f.answer(200, `{"code":0,"data":"`+strings.Repeat("x", 33<<20)+`"}`)
		}, read: outcome{1, errTransport}, task: outcome{1, unknown}, upload: outcome{1, unknown}, breaks: true},
	} {
		t.Run(name, func(t *testing.T) {
			for kind, want := range map[string]outcome{"read": tt.read, "task": tt.task, "upload": tt.upload} {
				f := newFaulty(t)
				transport := langbot.NewTransport()
				client, err := langbot.New(f.URL, langbot.WithUserToken(userToken), langbot.WithHTTPClient(&http.Client{Transport: transport}),
					langbot.WithRetry(langbot.RetryPolicy{BaseDelay: time.Millisecond, MaxDelay: 2 * time.Millisecond, AttemptTimeout: 300 * time.Millisecond}))
				require.NoError(t, err)
				t.Cleanup(client.CloseIdleConnections)
				warm(t, f, client)
				handler := tt.fault(f)
				f.fault.Store(&handler)
				err = calls[kind](t, client)
				want.check(t, err)
				if tt.breaks && kind == "read" { // net/http replays a GET by itself when a kept connection breaks
					assert.GreaterOrEqual(t, f.ran.Load(), want.runs, "%s: how often the server ran it", kind)
					assert.LessOrEqual(t, f.ran.Load(), want.runs+warmth, "%s: how often the server ran it", kind)
				} else {
					assert.Equal(t, want.runs, f.ran.Load(), "%s: how often the server ran it", kind)
				}
				noSecret(t, err, userToken)
				f.fault.Store(nil)
				warm(t, f, client)
				if tt.breaks {
					assert.LessOrEqual(t, f.conns.Load(), 2*warmth+4, "%s: connections", kind)
				} else if kind == "upload" { // each attempt has its own
					assert.LessOrEqual(t, f.conns.Load(), warmth+1+want.runs, "%s: connections", kind)
				} else {
					assert.LessOrEqual(t, f.conns.Load(), warmth+1, "%s: connections", kind) // one may be busy with a refused body
				}
			}
		})
	}
	require.Zero(t, other.ran.Load(), "a redirect was followed")
	require.Zero(t, other.conns.Load())
}

const warmth int64 = 3

// warm has the client open its connections, and all of them return to the pool.
func warm(t *testing.T, f *faulty, client *langbot.Client) {
	t.Helper()
	arrived := make(chan struct{}, warmth)
	together := make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-together
		writeJSON(w, 200, `{"code":0,"data":{"version":"v4.11.2"}}`)
	})
	f.fault.Store(&handler)
	var wg sync.WaitGroup
	for range warmth {
		wg.Go(func() {
			_, err := client.System.Info(t.Context())
			assert.NoError(t, err)
		})
	}
	for range warmth {
		<-arrived
	}
	close(together)
	wg.Wait()
	f.fault.Store(nil)
}

var calls = map[string]func(*testing.T, *langbot.Client) error{
	"read": func(t *testing.T, c *langbot.Client) error {
		_, err := c.Plugins.List(t.Context())
		return err
	},
	"task": func(t *testing.T, c *langbot.Client) error {
		_, err := c.Plugins.Delete(t.Context(), demo, langbot.DeleteOptions{})
		return err
	},
	"upload": func(t *testing.T, c *langbot.Client) error {
		_, err := c.Plugins.InstallLocal(t.Context(), memory{id: demo, data: make([]byte, 64<<10)})
		return err
	},
}

// memory is a package that nobody has checked.
type memory struct {
	id   langbot.PluginID
	data []byte
	open func() (io.ReadCloser, error) // instead of data
	size int64                         // instead of that of data
}

func (m memory) Author() string   { return m.id.Author }
func (m memory) Name() string     { return m.id.Name }
func (m memory) Version() string  { return "1.0.0" }
func (m memory) FileName() string { return "" }
func (m memory) Size() int64 {
	if m.size > 0 {
		return m.size
	}
	return int64(len(m.data))
}
func (m memory) Open() (io.ReadCloser, error) {
	if m.open != nil {
		return m.open()
	}
	return io.NopCloser(bytes.NewReader(m.data)), nil
}

// noSecret walks everything that can be printed of an error.
func noSecret(t *testing.T, err error, secret string) {
	t.Helper()
	var walk func(error)
	walk = func(err error) {
		if err == nil {
			return
		}
		for _, format := range []string{"%v", "%+v", "%#v", "%q"} {
			require.NotContains(t, fmt.Sprintf(format, err), secret)
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		case interface{ Unwrap() []error }:
			for _, one := range e.Unwrap() {
				walk(one)
			}
		}
	}
	walk(err)
}

func TestConnectionRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	client, err := langbot.New("http://"+address, langbot.WithUserToken(userToken), langbot.WithRetry(langbot.RetryPolicy{BaseDelay: time.Millisecond}))
	require.NoError(t, err)
	for kind, call := range calls {
		err := call(t, client)
		require.ErrorIs(t, err, syscall.ECONNREFUSED, kind)
		require.NotErrorIs(t, err, langbot.ErrOutcomeUnknown, "%s: nothing was sent", kind)
		require.ErrorContains(t, err, "4 attempts", kind)
		noSecret(t, err, userToken)
	}
}

// TestSentOnceItIsUp: a request that was provably never sent is repeated, also one that makes a task.
func TestSentOnceItIsUp(t *testing.T) {
	f := newFaulty(t)
	dials := 0
	transport := langbot.NewTransport()
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials++; dials < 3 {
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
		return dial(ctx, network, address)
	}
	client, err := langbot.New(f.URL, langbot.WithUserToken(userToken), langbot.WithHTTPClient(&http.Client{Transport: transport}),
		langbot.WithRetry(langbot.RetryPolicy{BaseDelay: time.Millisecond}))
	require.NoError(t, err)
	_, err = client.Plugins.Delete(t.Context(), demo, langbot.DeleteOptions{})
	require.NoError(t, err)
	require.Equal(t, 3, dials)
}

// bubbleDials counts the connections of the running bubble; there is one at a time.
var bubbleDials atomic.Int64

// inBubble runs a test in virtual time against a handler.
func inBubble(t *testing.T, handler http.HandlerFunc, test func(t *testing.T, newClient func(...langbot.Option) *langbot.Client)) {
	synctest.Test(t, func(t *testing.T) {
		listener := memnet.Listen()
		server := &http.Server{Handler: handler}
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(listener) }()
		bubbleDials.Store(0)
		transport := langbot.NewTransport()
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			bubbleDials.Add(1)
			return listener.Dial(ctx, network, address)
		}
		t.Cleanup(func() {
			transport.CloseIdleConnections()
			_ = server.Close()
			<-done
		})
		test(t, func(opts ...langbot.Option) *langbot.Client {
			client, err := langbot.New("http://langbot.test", append([]langbot.Option{
				langbot.WithUserToken(userToken), langbot.WithHTTPClient(&http.Client{Transport: transport})}, opts...)...)
			require.NoError(t, err)
			return client
		})
	})
}

func TestRetryAfter(t *testing.T) {
	for name, tt := range map[string]struct {
		hint     func() string
		deadline time.Duration
		requests int
		least    time.Duration
		most     time.Duration
	}{
		"seconds":                  {func() string { return "7" }, 0, 4, 21 * time.Second, 21 * time.Second},
		"a date":                   {func() string { return time.Now().Add(5 * time.Second).UTC().Format(http.TimeFormat) }, 0, 4, 12 * time.Second, 15 * time.Second},
		"a date in the past":       {func() string { return "Sun, 06 Nov 1994 08:49:37 GMT" }, 0, 4, 0, 10 * time.Second},
		"the old form of a date":   {func() string { return "Sunday, 06-Nov-94 08:49:37 GMT" }, 0, 4, 0, 10 * time.Second},
		"no time at all":           {func() string { return "0" }, 0, 4, 3 * time.Millisecond, 10 * time.Second},
		"nonsense":                 {func() string { return "soon" }, 0, 4, 0, 10 * time.Second},
		"negative":                 {func() string { return "-3" }, 0, 4, 0, 10 * time.Second},
		"an hour":                  {func() string { return "3600" }, 0, 1, 0, 0},
		"more than the deadline":   {func() string { return "10" }, 5 * time.Second, 1, 0, 0},
		"more than all waits":      {func() string { return "20" }, 0, 2, 20 * time.Second, 20 * time.Second},
		"within a longer deadline": {func() string { return "2" }, time.Minute, 4, 6 * time.Second, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			requests := 0
			inBubble(t, func(w http.ResponseWriter, _ *http.Request) {
				requests++
				w.Header().Set("Retry-After", tt.hint())
				writeJSON(w, 429, `{"code":"task_capacity_exceeded","msg":"later"}`)
			}, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if tt.deadline > 0 {
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
				}
				defer cancel()
				began := time.Now()
				_, err := newClient().Plugins.Delete(ctx, demo, langbot.DeleteOptions{})
				var refused *langbot.APIError
				require.ErrorAs(t, err, &refused, "the refusal, not the deadline")
				require.ErrorIs(t, err, langbot.ErrBusy)
				require.Equal(t, 429, refused.StatusCode)
				require.GreaterOrEqual(t, time.Since(began), tt.least)
				require.LessOrEqual(t, time.Since(began), tt.most)
				require.Equal(t, tt.requests, requests)
			})
		})
	}
}

func TestCancelled(t *testing.T) {
	reason := errors.New("shutting down")
	t.Run("in back-off", func(t *testing.T) {
		inBubble(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "20")
			writeJSON(w, 503, `{"code":"x","msg":"restarting"}`)
		}, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
			for kind, call := range map[string]func(context.Context, *langbot.Client) error{
				"read": func(ctx context.Context, c *langbot.Client) error { _, err := c.Plugins.List(ctx); return err },
				"task": func(ctx context.Context, c *langbot.Client) error {
					_, err := c.Plugins.Delete(ctx, demo, langbot.DeleteOptions{})
					return err
				},
			} {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(reason) })
				began := time.Now()
				err := call(ctx, newClient())
				require.ErrorIs(t, err, context.Canceled, kind)
				require.ErrorIs(t, err, reason, kind)
				require.ErrorIs(t, err, langbot.ErrBusy, "%s: the last answer is told", kind)
				require.NotErrorIs(t, err, langbot.ErrOutcomeUnknown, "%s: the server refused it", kind)
				require.Equal(t, time.Second, time.Since(began), kind)
			}
		})
	})
	t.Run("in flight", func(t *testing.T) {
		inBubble(t, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(reason) })
			_, err := newClient().Plugins.List(ctx)
			require.ErrorIs(t, err, reason)
			require.NotErrorIs(t, err, langbot.ErrOutcomeUnknown)

			ctx, cancel = context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(reason) })
			_, err = newClient().Plugins.Delete(ctx, demo, langbot.DeleteOptions{})
			require.ErrorIs(t, err, langbot.ErrOutcomeUnknown)
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, reason)
			var unknown *langbot.OutcomeUnknownError
			require.ErrorAs(t, err, &unknown)
			require.Equal(t, demo, unknown.Plugin)
			require.Equal(t, time.Second, time.Since(unknown.SentAt))
		})
	})
	t.Run("before it is sent", func(t *testing.T) {
		client, err := langbot.New("http://127.0.0.1:1", langbot.WithUserToken(userToken))
		require.NoError(t, err)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(reason)
		_, err = client.Plugins.Delete(ctx, demo, langbot.DeleteOptions{})
		require.ErrorIs(t, err, reason)
		require.NotErrorIs(t, err, langbot.ErrOutcomeUnknown)
	})
}

// TestEarlyAnswerToUpload: a gateway that is busy answers while the upload is still being sent. It is sent again, whole.
func TestEarlyAnswerToUpload(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 512<<10) // 8 MiB
	var mu sync.Mutex
	var whole [][]byte
	requests := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests++
		early := requests < 3
		mu.Unlock()
		if early {
			_ = http.NewResponseController(w).EnableFullDuplex()
			w.Header().Set("Retry-After", "0")
			w.Header().Set("Content-Length", "33")
			writeJSON(w, 503, `{"code":"x","msg":"restarting.."}`)
			_ = http.NewResponseController(w).Flush()
			_, _ = io.Copy(io.Discard, r.Body) // so that the answer is not lost with the connection
			return
		}
		file, _, err := r.FormFile("file")
		if err != nil {
			writeJSON(w, 400, `{"code":-1,"msg":"file is required"}`)
			return
		}
		got, _ := io.ReadAll(file)
		mu.Lock()
		defer mu.Unlock()
		whole = append(whole, got)
		writeJSON(w, 200, `{"code":0,"msg":"ok","data":{"task_id":"0"}}`)
	}))
	defer srv.Close()
	client, err := langbot.New(srv.URL, langbot.WithUserToken(userToken), langbot.WithRetry(langbot.RetryPolicy{BaseDelay: time.Millisecond}))
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	_, err = client.Plugins.InstallLocal(t.Context(), memory{id: demo, data: data})
	require.NoError(t, err)
	require.Equal(t, 3, requests)
	require.Len(t, whole, 1)
	require.Equal(t, data, whole[0])
}

// TestSwitchedProtocols: the connection behind a 101 belongs to nobody's context; it must not hold the call.
func TestSwitchedProtocols(t *testing.T) {
	held := make(chan struct{})
	defer close(held)
	f := newFaulty(t)
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		<-held
		_ = conn.Close()
	})
	f.fault.Store(&handler)
	client, err := langbot.New(f.URL, langbot.WithUserToken(userToken))
	require.NoError(t, err)
	began := time.Now()
	_, err = client.System.Info(t.Context())
	outcome{is: errProtocol}.check(t, err)
	_, err = client.Plugins.Delete(t.Context(), demo, langbot.DeleteOptions{})
	require.ErrorIs(t, err, langbot.ErrOutcomeUnknown)
	require.Less(t, time.Since(began), 5*time.Second)
}

// TestForeignDeadline: a dial that times out is not the caller's deadline, whatever package net calls it.
func TestForeignDeadline(t *testing.T) {
	dialer := &net.Dialer{Timeout: time.Nanosecond}
	client, err := langbot.New("http://127.0.0.1:1", langbot.WithHTTPClient(&http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}),
		langbot.WithRetry(langbot.RetryPolicy{BaseDelay: 1, MaxDelay: 1}))
	require.NoError(t, err)
	_, err = client.System.Info(context.Background())
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, langbot.ErrUnreachable)
}

// TestCookiesDoNotPileUp: each attempt sends what the jar holds, once.
func TestCookiesDoNotPileUp(t *testing.T) {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	var seen []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Cookie"))
		http.SetCookie(w, &http.Cookie{Name: "node", Value: fmt.Sprint(len(seen))})
		writeJSON(w, 502, `{"code":1,"msg":"no"}`)
	}))
	defer srv.Close()
	client, err := langbot.New(srv.URL, langbot.WithHTTPClient(&http.Client{Jar: jar}), langbot.WithRetry(langbot.RetryPolicy{BaseDelay: 1, MaxDelay: 1}))
	require.NoError(t, err)
	_, err = client.System.Info(t.Context())
	require.Error(t, err)
	require.Equal(t, []string{"", "node=1", "node=2", "node=3"}, seen)
}

// TestListsOfNothing: what is no plugin does not pass for one, and a small answer does not fill the memory.
func TestListsOfNothing(t *testing.T) {
	client, mock := mocked(t)
	for _, items := range []string{"0", "null", `{},"x"`, strings.TrimSuffix(strings.Repeat("{},", 200_000), ",")} {
		mock.RegisterNoResponder(answered(200, `{"code":0,"data":{"plugins":[`+items+`],"tasks":[`+items+`]}}`))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := client.Plugins.List(t.Context())
		outcome{is: errProtocol}.check(t, err)
		_, err = client.Tasks.List(t.Context(), langbot.TaskFilter{})
		outcome{is: errProtocol}.check(t, err)
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(256<<20))
	}
}

// TestSecretsInOtherWriting: a password in JSON, HTML or a URL is one too.
func TestSecretsInOtherWriting(t *testing.T) {
	const secret = `Tr0ub4dor&3"<horse>\ü x`
	plain, err := json.Marshal(secret)
	require.NoError(t, err)
	for _, written := range []string{secret, string(plain), html.EscapeString(secret), url.QueryEscape(secret), url.PathEscape(secret), strconv.QuoteToASCII(secret)} {
		client, mock := mocked(t, langbot.WithLogin("a@b.c", secret), langbot.WithRetry(langbot.RetryPolicy{Attempts: 1}))
		answer, err := json.Marshal(map[string]any{"code": -2, "msg": "you sent " + written})
		require.NoError(t, err)
		mock.RegisterNoResponder(answered(500, string(answer)))
		_, err = client.Plugins.List(t.Context())
		require.ErrorContains(t, err, "you sent")
		noSecret(t, err, "Tr0ub4dor")
	}
}

// TestSecretAtEveryOffset: what is cut off for an error is masked first.
func TestSecretAtEveryOffset(t *testing.T) {
	const secret = "lbk_0123456789abcdefghijklmnopqrstuvwxyz"
	client, mock := mocked(t, langbot.WithAPIKey(secret), langbot.WithRetry(langbot.RetryPolicy{Attempts: 1}))
	for offset := range 260 {
		padding := strings.Repeat("-", offset)
		mock.RegisterNoResponder(httpmock.NewStringResponder(200, "<p>"+padding+secret).HeaderSet(http.Header{"Content-Type": {"text/html"}}))
		_, err := client.Plugins.List(t.Context())
		noSecret(t, err, secret[:9])
		mock.RegisterNoResponder(answered(400, `{"code":-1,"msg":"`+strings.Repeat("-", 1800+offset)+secret+`"}`))
		_, err = client.Plugins.List(t.Context())
		noSecret(t, err, secret[:9])
	}
	mock.RegisterNoResponder(answered(200, `{"code":0,"data":"`+secret+`"}`))
	var out time.Time
	noSecret(t, client.Call(t.Context(), "GET", "/api/v1/x", nil, &out), secret)
}

// TestHostileEcho: a server that repeats the credential everywhere does not get it into an error or a log.
func TestHostileEcho(t *testing.T) {
	const secret = "lbk_0123456789abcdefghijklmnopqrstuvwxyz"
	for name, handler := range map[string]http.HandlerFunc{
		"refusal": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Request-Id", secret)
			writeJSON(w, 500, `{"code":"`+secret+`","msg":"bad `+secret+`","request_id":"`+secret+`"}`)
		},
		"refusal with a success": func(w http.ResponseWriter, r *http.Request) {
			writeJSON(w, 200, `{"code":"`+secret+`","msg":"`+secret+`"}`)
		},
		"page": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; key="+secret)
			_, _ = io.WriteString(w, "<p>"+secret)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "https://"+secret+".test/"+secret+"?key="+secret)
			w.WriteHeader(302)
		},
		"no HTTP": func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			_, _ = io.WriteString(conn, "HTTP/1.1 "+secret+"\r\n\r\n")
			_ = conn.Close()
		},
		"broken JSON": func(w http.ResponseWriter, r *http.Request) { writeJSON(w, 200, `{"code":0,"data":`+secret) },
		"task": func(w http.ResponseWriter, r *http.Request) {
			writeJSON(w, 200, `{"code":0,"data":{"task_id":1,"id":1,"name":"plugin-remove-x","plugins":[],"runtime":{"done":true,"state":"FINISHED",`+
				`"exception":"`+secret+`","exception_traceback":"`+secret+`"},"task_context":{"current_action":"`+secret+`"}}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(handler)
			defer srv.Close()
			var log bytes.Buffer
			client, err := langbot.New(srv.URL, langbot.WithAPIKey(secret), langbot.WithRetry(langbot.RetryPolicy{Attempts: 1}),
				langbot.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
			require.NoError(t, err)
			defer client.CloseIdleConnections()
			ctx := t.Context()
			_, err1 := client.Plugins.List(ctx)
			_, err2 := client.Plugins.Get(ctx, demo)
			_, err3 := client.Tasks.Get(ctx, 1)
			op, err4 := client.Plugins.Delete(ctx, demo, langbot.DeleteOptions{})
			err5 := client.Call(ctx, "POST", "/api/v1/x", map[string]string{}, nil)
			_, err6 := client.System.Info(ctx)
			for _, err := range []error{err1, err2, err3, err4, err5, err6} {
				noSecret(t, err, secret)
			}
			if op != nil {
				_, err := op.Wait(ctx)
				noSecret(t, err, secret)
				require.NotContains(t, op.Token(), secret)
				require.NotContains(t, fmt.Sprintf("%+v %#v", op, op), secret)
			}
			require.NotContains(t, log.String(), secret)
			require.Contains(t, log.String(), "GET /api/v1/plugins")
			require.NotContains(t, fmt.Sprintf("%v %+v %#v %+v %#v", client, client, client, *client, *client), secret)
		})
	}
}
