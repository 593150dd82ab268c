package langbottest_test

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/langbottest"
	"github.com/langbot-go/langbot/lbpkg"
)

// class is the sentinel that a client's error is, the one that says most; empty: none failed.
func class(err error) string {
	for _, c := range []struct {
		name string
		is   error
	}{
		{"unknown outcome", langbot.ErrOutcomeUnknown}, {"busy", langbot.ErrBusy}, {"server", langbot.ErrServer},
		{"not found", langbot.ErrNotFound}, {"unreachable", langbot.ErrUnreachable},
	} {
		if errors.Is(err, c.is) {
			return c.name
		}
	}
	var page *langbot.ProtocolError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &page):
		return "protocol"
	}
	return err.Error()
}

// TestFaultsAtTheClient: each fault is the same to a client over sockets and in memory, for a read and for an upload. What
// is wanted is in the client's own table of retries.
func TestFaultsAtTheClient(t *testing.T) {
	pkg, err := lbpkg.Parse(langbottest.Archive("acme", "hello", "1.0.0"))
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		effect        langbottest.Effect
		read, install string
	}{
		"status 500":   {langbottest.Status(500), "server", "server"},
		"status 502":   {langbottest.Status(502), "server", "unknown outcome"},
		"page 502":     {langbottest.Page(502), "server", "unknown outcome"},
		"page 200":     {langbottest.Page(200), "protocol", "unknown outcome"},
		"busy":         {langbottest.Busy(0), "busy", "busy"},
		"reset":        {langbottest.Reset(), "unreachable", "unknown outcome"},
		"lost answer":  {langbottest.LoseAnswer(), "unreachable", "unknown outcome"},
		"truncated":    {langbottest.Truncate(9), "unreachable", "unknown outcome"},
		"malformed":    {langbottest.Malformed(), "protocol", "unknown outcome"},
		"not a number": {langbottest.Respond(200, []byte(`{"code":0,"data":NaN}`)), "protocol", "unknown outcome"},
		"latency":      {langbottest.Latency(time.Millisecond), "", ""},
		"drip":         {langbottest.Drip(time.Microsecond), "", ""},
		"stall":        {langbottest.Stall(), "unreachable", "unknown outcome"},
	} {
		for transport, opts := range map[string][]langbottest.Option{"TCP": nil, "memory": {langbottest.InMemory()}} {
			t.Run(name+"/"+transport, func(t *testing.T) {
				t.Parallel()
				srv := langbottest.New(t, opts...)
				srv.Fault("GET /api/v1/plugins", tt.effect)
				srv.Fault(langbottest.AnyInstall, tt.effect)
				client, err := langbot.New(srv.URL, langbot.WithAPIKey(srv.APIKey), langbot.WithHTTPClient(srv.Client()),
					langbot.WithRetry(langbot.RetryPolicy{Attempts: 1, AttemptTimeout: 300 * time.Millisecond}))
				require.NoError(t, err)
				_, err = client.Plugins.List(t.Context())
				require.Equal(t, tt.read, class(err), "%v", err)
				_, err = client.Plugins.InstallLocal(t.Context(), pkg)
				require.Equal(t, tt.install, class(err), "%v", err)
				require.Eventually(t, func() bool { return len(srv.Calls(langbottest.AnyInstall)) == 1 }, 5*time.Second, time.Millisecond)
			})
		}
	}
}

// TestEarlyAnswersArrive: an upload that is refused before it is read does not lose its answer, though it asks for the end of
// the connection.
func TestEarlyAnswersArrive(t *testing.T) {
	pkg, err := lbpkg.Parse(langbottest.Archive("acme", "hello", "1.0.0"))
	require.NoError(t, err)
	for transport, opts := range map[string][]langbottest.Option{"TCP": nil, "memory": {langbottest.InMemory()}} {
		t.Run(transport, func(t *testing.T) {
			srv := langbottest.New(t, opts...)
			srv.Fault(langbottest.AnyInstall, langbottest.Status(500))
			client, err := langbot.New(srv.URL, langbot.WithAPIKey(srv.APIKey), langbot.WithHTTPClient(srv.Client()),
				langbot.WithRetry(langbot.RetryPolicy{Attempts: 1}))
			require.NoError(t, err)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 100 {
						if _, err := client.Plugins.InstallLocal(t.Context(), pkg); class(err) != "server" {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestWorkIsDoneOrNot: what is said of each effect.
func TestWorkIsDoneOrNot(t *testing.T) {
	for name, tt := range map[string]struct {
		effect langbottest.Effect
		done   int
	}{
		"lost answer": {langbottest.LoseAnswer(), 1}, "truncated": {langbottest.Truncate(3), 1}, "drip": {langbottest.Drip(time.Microsecond), 1},
		"latency": {langbottest.Latency(time.Millisecond), 1}, "reset": {langbottest.Reset(), 0}, "status": {langbottest.Status(500), 0},
		"page": {langbottest.Page(200), 0}, "malformed": {langbottest.Malformed(), 0}, "busy": {langbottest.Busy(time.Second), 0},
	} {
		t.Run(name, func(t *testing.T) {
			srv := langbottest.New(t)
			srv.Fault("DELETE /api/v1/plugins/{author}/{name}", tt.effect)
			req, err := http.NewRequestWithContext(t.Context(), "DELETE", srv.URL+"/api/v1/plugins/no/such", nil)
			require.NoError(t, err)
			req.Header.Set("X-API-Key", srv.APIKey)
			if resp, err := srv.Client().Do(req); err == nil {
				require.NoError(t, resp.Body.Close())
			}
			require.Eventually(t, func() bool { return len(srv.Calls("")) == 1 }, 5*time.Second, time.Millisecond)
			require.Len(t, srv.Tasks(), tt.done)
		})
	}
}

// TestWhichRequests: the n-th, the first n, and the first fault that fits; exactly, however many ask at a time.
func TestWhichRequests(t *testing.T) {
	srv := langbottest.New(t)
	srv.Fault("GET /healthz", langbottest.Status(501), langbottest.First(3))
	srv.Fault("GET /healthz", langbottest.Status(502), langbottest.Nth(5))
	srv.Fault("", langbottest.Status(503), langbottest.Nth(40))
	srv.Fault("GET /healthz", langbottest.Reset(), langbottest.First(3), langbottest.Optional()) // those have theirs
	statuses := [600]atomic.Int64{}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			resp, err := srv.Client().Get(srv.URL + "/healthz")
			if err == nil {
				statuses[resp.StatusCode].Add(1)
				_ = resp.Body.Close()
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, []int64{3, 1, 1, 95}, []int64{statuses[501].Load(), statuses[502].Load(), statuses[503].Load(), statuses[200].Load()})
	require.Panics(t, func() { srv.Fault("GET /nope", langbottest.Reset()) })
	require.Panics(t, func() { srv.On("GET /healthz", langbottest.Script{}) })
}

// TestMissedFaultsFailTheTest: unless they are optional, or cleared.
func TestMissedFaultsFailTheTest(t *testing.T) {
	tb := &recorder{}
	srv := langbottest.New(tb)
	srv.Fault("GET /healthz", langbottest.Reset())
	require.Len(t, srv.ClearFaults(), 1)
	srv.Fault("GET /healthz", langbottest.Reset(), langbottest.Optional())
	srv.Fault("GET /api/v1/plugins", langbottest.Reset(), langbottest.Nth(2))
	ask(t, srv, "GET", "/api/v1/plugins", srv.APIKey, "", nil)
	want := []string{`langbottest: the fault "reset" of "GET /api/v1/plugins" never happened: of its requests there were 1`}
	srv.Reset()
	require.Equal(t, want, tb.errors, "a reset hides nothing")
	for _, cleanup := range tb.cleanups {
		cleanup()
	}
	require.Equal(t, want, tb.errors)
}

// TestCloseEndsStalledRequests: nobody waits for them.
func TestCloseEndsStalledRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := langbottest.Start(langbottest.InMemory())
		require.NoError(t, err)
		srv.Fault("", langbottest.Stall())
		gone := make(chan error, 1)
		go func() {
			_, err := srv.Client().Get(srv.URL + "/healthz")
			gone <- err
		}()
		synctest.Wait() // it stalls
		srv.Close()
		require.Error(t, <-gone)
		require.NoError(t, srv.Shutdown(t.Context()), "again, and there is nothing left")
	})
}

// TestDelays: latency and drips take the time that they are given, and the server's answer is that of their end.
func TestDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := langbottest.New(t, langbottest.InMemory())
		srv.Fault("GET /healthz", langbottest.Latency(3*time.Second), langbottest.Nth(1))
		srv.Fault("GET /api/v1/system/info", langbottest.Drip(time.Millisecond))
		srv.Fault("GET /api/v1/plugins", langbottest.Busy(1500*time.Millisecond))
		began := time.Now()
		ask(t, srv, "GET", "/healthz", "", "", nil)
		require.Equal(t, 3*time.Second, time.Since(began))
		require.Equal(t, 3*time.Second, srv.Calls("GET /healthz")[0].Time.Sub(began))
		began = time.Now()
		info := ask(t, srv, "GET", "/api/v1/system/info", "", "", nil)
		require.Equal(t, time.Duration(len(info.body))*time.Millisecond, time.Since(began))
		require.Equal(t, []string{"langbottest", "Origin"}, []string{info.header.Get("Server"), info.header.Get("Vary")})
		require.Equal(t, "2", ask(t, srv, "GET", "/api/v1/plugins", "", "", nil).header.Get("Retry-After"))
	})
}

// TestWrongFaultsPanic: where they are written, not in a request.
func TestWrongFaultsPanic(t *testing.T) {
	for name, wrong := range map[string]func(){
		"status": func() { langbottest.Status(0) }, "page": func() { langbottest.Page(99) }, "respond": func() { langbottest.Respond(600, nil) },
		"truncate": func() { langbottest.Truncate(-1) }, "first": func() { langbottest.First(0) }, "nth": func() { langbottest.Nth(-1) },
	} {
		require.Panics(t, wrong, name)
	}
	srv := langbottest.New(t)
	require.Panics(t, func() { srv.Release("GET /healthz") })
	const config = "PUT /api/v1/plugins/{author}/{name}/config"
	for _, script := range []langbottest.Script{{End: langbottest.Hang}, {Steps: []langbottest.Step{{Hold: true}}}, {Steps: []langbottest.Step{{Polls: 1}}}} {
		require.Panics(t, func() { srv.On(config, script) })
	}
	srv.Fault("GET /healthz", langbottest.Truncate(1<<40)) // costs nothing
	resp, err := srv.Client().Get(srv.URL + "/healthz")
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.Error(t, err, "cut off, or reset")
	require.NoError(t, resp.Body.Close())
}

// TestObserversMayLook at the journal, with the entry that they are told of.
func TestObserversMayLook(t *testing.T) {
	var srv *langbottest.Server
	var seen []int
	srv = langbottest.New(t, langbottest.Observe(func(langbottest.Call) { seen = append(seen, len(srv.Calls(""))) }))
	ask(t, srv, "GET", "/healthz", "", "", nil)
	ask(t, srv, "GET", "/healthz", "", "", nil)
	require.Equal(t, []int{1, 2}, seen)
}
