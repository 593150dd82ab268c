package langbot_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
)

const (
	connected    = `{"code":0,"msg":"ok","resources":{"runtimes":{"plugin_runtime_connected":true,"plugin_installations":1}}}`
	disconnected = `{"code":0,"msg":"ok","resources":{"runtimes":{"plugin_runtime_connected":false,"plugin_installations":1}}}`
	internal     = `{"code":"internal_error","msg":"Internal server error","request_id":"r-1"}`
)

func from(d time.Duration, before, then string) func(time.Duration) string {
	return func(after time.Duration) string {
		if after < d {
			return before
		}
		return then
	}
}

// TestSystemWaitReady: in virtual time, how soon a server counts as ready, and what keeps it from that.
func TestSystemWaitReady(t *testing.T) {
	starting := func(empty, ready time.Duration) func(time.Duration) (int, string) {
		return func(after time.Duration) (int, string) {
			switch {
			case after < empty:
				return 500, internal
			case after < ready:
				return 200, listed("", "")
			}
			return 200, listed("1.0.0", langbot.PluginInitialized)
		}
	}
	for name, tt := range map[string]struct {
		plugins  func(time.Duration) (int, string)
		health   func(time.Duration) string
		patience time.Duration // of the context; 0: none
		err      []error
		after    time.Duration // not sooner
		within   time.Duration // of that
	}{
		"long since ready":           {plugins: starting(0, 0), health: from(0, "", connected), after: 5 * time.Second, within: 2 * time.Second},
		"up to 4.10.7":               {plugins: starting(0, 0), after: 5 * time.Second, within: 2 * time.Second},
		"runtime comes late":         {plugins: starting(20*time.Second, 22*time.Second), health: from(21*time.Second, disconnected, connected), after: 27 * time.Second, within: 3 * time.Second},
		"empty, and should not be":   {plugins: starting(0, time.Hour), health: from(0, "", connected), after: 10 * time.Second, within: 2 * time.Second},
		"fewer than there should be": {plugins: starting(0, 0), health: from(0, "", strings.Replace(connected, "installations\":1", "installations\":2", 1)), after: 10 * time.Second, within: 2 * time.Second},
		"one never starts, up to 4.10.7": {plugins: func(time.Duration) (int, string) {
			return 200, strings.TrimSuffix(listed("1.0.0", langbot.PluginInitialized), "]") + `,{"status":"mounted","manifest":{"manifest":{"metadata":{"author":"acme","name":"crashes","version":"1"}}}}]`
		}, after: 10 * time.Second, within: 2 * time.Second},
		"empty for a while":              {plugins: starting(0, 8*time.Second), health: from(0, "", connected), after: 13 * time.Second, within: 2 * time.Second},
		"empty, nothing known":           {plugins: starting(0, time.Hour), after: 5 * time.Second, within: 2 * time.Second},
		"runtime never comes":            {plugins: starting(time.Hour, time.Hour), health: from(0, "", disconnected), err: []error{langbot.ErrRuntimeAway}, after: 5 * time.Minute, within: 2 * time.Second},
		"runtime not in time":            {plugins: starting(time.Hour, time.Hour), health: from(0, "", disconnected), patience: 30 * time.Second, err: []error{langbot.ErrRuntimeAway, context.DeadlineExceeded}, after: 30 * time.Second},
		"runtime never comes, to 4.10.6": {plugins: func(time.Duration) (int, string) { return 500, `{"code":-2,"msg":"Connection closed during send"}` }, patience: 30 * time.Second, err: []error{langbot.ErrRuntimeAway, langbot.ErrServer}, after: 30 * time.Second},
		"runtime not in time, asked in vain": {plugins: starting(time.Hour, time.Hour), health: func(after time.Duration) string {
			if after > 20*time.Second {
				time.Sleep(time.Minute)
			}
			return disconnected
		}, patience: 30 * time.Second, err: []error{langbot.ErrRuntimeAway, context.DeadlineExceeded}, after: 30 * time.Second},
		"502 for a while": {plugins: func(after time.Duration) (int, string) {
			if after < 40*time.Second {
				return 502, page
			}
			return 200, listed("1.0.0", langbot.PluginInitialized)
		}, after: 45 * time.Second, within: 3 * time.Second},
		"changes for ever": {plugins: func(after time.Duration) (int, string) {
			if int(after/(4*time.Second))%2 == 0 {
				return 200, listed("1.0.0", langbot.PluginInitialized)
			}
			return 200, listed("2.0.0", langbot.PluginInitialized)
		}, health: from(0, "", connected), err: []error{langbot.ErrNoEffect}, after: 5 * time.Minute, within: 2 * time.Second},
		"a failure between": {plugins: func(after time.Duration) (int, string) {
			if after > 3*time.Second && after < 4500*time.Millisecond {
				return 500, internal
			}
			return 200, listed("1.0.0", langbot.PluginInitialized)
		}, health: from(0, "", connected), after: 9 * time.Second, within: 3 * time.Second},
		"ruined": {plugins: func(time.Duration) (int, string) { return 500, internal }, health: from(0, "", connected), patience: 30 * time.Second,
			err: []error{langbot.ErrServer}, after: 30 * time.Second},
		"bad key":                  {plugins: func(time.Duration) (int, string) { return 401, `{"code":"invalid_authentication","msg":"no"}` }, err: []error{langbot.ErrUnauthorized}},
		"healthz is not passed on": {plugins: starting(0, 0), health: from(0, "", page), after: 5 * time.Second, within: 2 * time.Second},
		"web page":                 {plugins: func(time.Duration) (int, string) { return 404, page }, err: []error{errProtocol}},
		"mounted does not count": {plugins: func(after time.Duration) (int, string) {
			works := strings.TrimSuffix(listed("1.0.0", langbot.PluginInitialized), "]")
			if int(after/time.Second)%2 == 0 {
				return 200, works + "]"
			}
			return 200, works + `,{"status":"mounted","manifest":{"manifest":{"metadata":{"author":"acme","name":"crashes","version":"1"}}}}]`
		}, health: from(0, "", connected), after: 5 * time.Second, within: 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{plugins: tt.plugins, health: tt.health}
			inBubble(t, f.serve, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
				ctx := t.Context()
				if tt.patience > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.patience)
					defer cancel()
				}
				began := time.Now()
				err := newClient().System.WaitReady(ctx)
				took := time.Since(began)
				time.Sleep(2 * time.Minute) // until the server has done with what nobody waits for
				if tt.err == nil {
					require.NoError(t, err)
				}
				for _, want := range tt.err {
					if want == errProtocol {
						var e *langbot.ProtocolError
						require.ErrorAs(t, err, &e)
						continue
					}
					require.ErrorIs(t, err, want)
				}
				require.GreaterOrEqual(t, took, tt.after)
				require.LessOrEqual(t, took, tt.after+tt.within)
			})
		})
	}
}

// TestRuntimeAway: a runtime that is away is an error of its own, on every route that needs it; what else fails with a 500
// is not taken for it.
func TestRuntimeAway(t *testing.T) {
	for name, tt := range map[string]struct {
		health, body string
		version      string
		away         bool
		text         string
	}{
		"away":                {disconnected, internal, "v4.11.2", true, "not connected"},
		"connected":           {connected, internal, "v4.11.2", false, ""},
		"connected, poisoned": {connected, internal, "v4.10.8", false, "LangBot 4.10.8 is ruined"},
		"4.10.6":              {`{"code":0,"msg":"ok"}`, `{"code":-2,"msg":"Connection closed during send"}`, "v4.10.6", true, "not connected"},
		"4.10.6, never":       {`{"code":0,"msg":"ok"}`, `{"code":-2,"msg":"'PluginRuntimeConnector' object has no attribute 'handler'"}`, "v4.10.6", true, "not connected"},
		"4.10.6, otherwise":   {`{"code":0,"msg":"ok"}`, `{"code":-2,"msg":"no such table"}`, "v4.10.6", false, ""},
		"healthz fails":       {`{"code":"internal_error"}`, internal, "v4.11.2", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			client, mock := mocked(t)
			mock.RegisterResponder("GET", "/healthz", answered(200, tt.health))
			mock.RegisterResponder("GET", "/api/v1/system/info", answered(200, `{"code":0,"data":{"version":"`+tt.version+`"}}`))
			changes := 0
			mock.RegisterNoResponder(func(r *http.Request) (*http.Response, error) {
				if r.Method != http.MethodGet {
					changes++
				}
				return answered(500, tt.body)(r)
			})
			_, listed := client.Plugins.List(t.Context())
			_, got := client.Plugins.Get(t.Context(), demo)
			_, deleted := client.Plugins.Delete(t.Context(), demo, langbot.DeleteOptions{})
			_, upgraded := client.Plugins.Upgrade(t.Context(), demo)
			_, installed := client.Plugins.InstallLocal(t.Context(), memory{id: demo, data: []byte("x")})
			configured := client.Plugins.SetConfig(t.Context(), demo, map[string]any{})
			for what, err := range map[string]error{"list": listed, "get": got, "delete": deleted, "upgrade": upgraded, "install": installed, "config": configured} {
				require.ErrorIs(t, err, langbot.ErrServer, what)
				require.NotErrorIs(t, err, langbot.ErrOutcomeUnknown, what)
				require.Equal(t, tt.away, errors.Is(err, langbot.ErrRuntimeAway), what)
				require.Contains(t, err.Error(), tt.text, what)
			}
			require.Equal(t, 4, changes, "each is sent once")
		})
	}
}

// TestTooOld: a server older than all that this package knows is named when it refuses or lacks a route, and only then.
func TestTooOld(t *testing.T) {
	refused := httpmock.Responder(answered(401, `{"code":-1,"msg":"No valid user token provided"}`))
	missing := httpmock.NewStringResponder(405, page).HeaderSet(http.Header{"Content-Type": {"text/html"}})
	for name, tt := range map[string]struct {
		version   string
		responder httpmock.Responder
		says      bool
	}{
		"refused by 4.5.4":       {"v4.5.4", refused, true},
		"no route in 4.2.2":      {"v4.2.2", missing, true},
		"pre-release of 4.3.0":   {"v4.3.0.beta1", missing, true},
		"refused by 4.6.0":       {"v4.6.0", refused, false},
		"no route in 4.11.2":     {"v4.11.2", missing, false},
		"newer than the table":   {"v5.1.0", missing, false},
		"version not understood": {"nightly", refused, false},
	} {
		t.Run(name, func(t *testing.T) {
			client, mock := mocked(t)
			mock.RegisterResponder("GET", "/api/v1/system/info", answered(200, `{"code":0,"data":{"version":"`+tt.version+`"}}`))
			mock.RegisterNoResponder(tt.responder)
			_, listed := client.Plugins.List(t.Context())
			_, got := client.Plugins.Get(t.Context(), demo)
			_, installed := client.Plugins.InstallLocal(t.Context(), memory{id: demo, data: []byte("x")})
			for what, err := range map[string]error{"list": listed, "get": got, "install": installed} {
				require.Error(t, err, what)
				if tt.says {
					require.Contains(t, err.Error(), "this package works with 4.6.0 and newer", what)
				} else {
					require.NotContains(t, err.Error(), "works with", what)
				}
			}
		})
	}
}
