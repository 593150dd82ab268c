package langbot_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
)

// TestQuestions: what a failure costs in requests, and that none of the questions carries a credential.
func TestQuestions(t *testing.T) {
	failure, unknownUser := `{"code":"internal_error","msg":"Internal server error"}`, `{"code":-2,"msg":"用户不存在"}`
	for name, tt := range map[string]struct {
		list   httpmock.Responder
		login  httpmock.Responder // nil: there is a token
		health string
		want   map[string]int
	}{
		"runtime away":           {list: answered(500, failure), health: disconnected, want: map[string]int{"GET /api/v1/plugins": 2, "GET /healthz": 1}},
		"failure":                {list: answered(500, failure), health: connected, want: map[string]int{"GET /api/v1/plugins": 2, "GET /healthz": 1, "GET /api/v1/system/info": 1}},
		"known by its text":      {list: answered(500, `{"code":-2,"msg":"Connection closed during send"}`), want: map[string]int{"GET /api/v1/plugins": 2}},
		"too large by its text":  {list: answered(500, `{"code":-2,"msg":"413 Request Entity Too Large"}`), want: map[string]int{"GET /api/v1/plugins": 2}},
		"wrong key, to 4.10.6":   {list: answered(401, `{"code":-1,"msg":"Invalid API key"}`), want: map[string]int{"GET /api/v1/plugins": 1, "GET /api/v1/system/info": 1}},
		"wrong key, from 4.10.7": {list: answered(401, `{"code":"invalid_authentication","msg":"no"}`), want: map[string]int{"GET /api/v1/plugins": 1}},
		"the login fails":        {login: answered(500, unknownUser), want: map[string]int{"POST /api/v1/user/auth": 2}},
		"the login is refused":   {login: answered(401, `{"code":-1,"msg":"no"}`), want: map[string]int{"POST /api/v1/user/auth": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			opt := langbot.WithWorkspace("w")
			if tt.login != nil {
				opt = langbot.WithLogin("a@b.c", "correct-horse-battery")
			}
			client, mock := mocked(t, opt)
			open := func(body string) httpmock.Responder {
				return func(r *http.Request) (*http.Response, error) {
					require.Empty(t, r.Header.Get("Authorization")+r.Header.Get("X-Workspace-Id"), r.URL.Path)
					return answered(200, body)(r)
				}
			}
			mock.RegisterResponder("GET", "/api/v1/plugins", tt.list)
			mock.RegisterResponder("POST", "/api/v1/user/auth", tt.login)
			mock.RegisterResponder("GET", "/healthz", open(tt.health))
			mock.RegisterResponder("GET", "/api/v1/system/info", open(`{"code":0,"data":{"version":"v4.11.2"}}`))
			_, err := client.Plugins.List(t.Context())
			require.Error(t, err)
			got := mock.GetCallCountInfo()
			for request, n := range got {
				if n == 0 {
					delete(got, request)
				}
			}
			require.Equal(t, tt.want, got)
		})
	}
}

// TestReadinessLogsInOnce: neither a gateway's refusal of /healthz nor its own makes the client log in again.
func TestReadinessLogsInOnce(t *testing.T) {
	for status, body := range map[int]string{401: `{"code":"no"}`, 403: `{"code":"forbidden","msg":"no"}`, 503: page} {
		synctest.Test(t, func(t *testing.T) {
			client, mock := mocked(t, langbot.WithLogin("a@b.c", "correct-horse-battery"))
			mock.RegisterResponder("POST", "/api/v1/user/auth", answered(200, `{"code":0,"data":{"token":"`+userToken+`"}}`))
			mock.RegisterResponder("GET", "/healthz", answered(status, body))
			mock.RegisterResponder("GET", "/api/v1/plugins", answered(200, `{"code":0,"data":{"plugins":[]}}`))
			require.NoError(t, client.System.WaitReady(t.Context()), "the list decides")
			require.Equal(t, 1, mock.GetCallCountInfo()["POST /api/v1/user/auth"])
			require.Equal(t, mock.GetCallCountInfo()["GET /healthz"], mock.GetCallCountInfo()["GET /api/v1/plugins"], "two requests a look")
		})
	}
}

// TestGetKeepsWhatEndedIt: a cancelled repetition is no answer of the server.
func TestGetKeepsWhatEndedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, mock := mocked(t, langbot.WithRetry(langbot.RetryPolicy{BaseDelay: time.Hour, MaxDelay: time.Hour, MaxWait: 2 * time.Hour}))
		mock.RegisterNoResponder(answered(500, internal))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := client.Plugins.Get(ctx, demo)
		require.ErrorIs(t, err, context.Canceled)
	})
}

// TestNameNotKnownYet: that of a container is not before it is up.
func TestNameNotKnownYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, mock := mocked(t)
		began := time.Now()
		late := func(body string) httpmock.Responder {
			return func(r *http.Request) (*http.Response, error) {
				if time.Since(began) < 20*time.Second {
					return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "langbot", IsNotFound: true}}
				}
				return answered(200, body)(r)
			}
		}
		mock.RegisterResponder("GET", "/healthz", late(connected))
		mock.RegisterResponder("GET", "/api/v1/plugins", late(`{"code":0,"data":{"plugins":`+listed("1.0.0", langbot.PluginInitialized)+`}}`))
		require.NoError(t, client.System.WaitReady(t.Context()))
	})
}

// TestAbsentWhileTheRuntimeIsAway: an empty list of such a server does not say that a plugin is not there.
func TestAbsentWhileTheRuntimeIsAway(t *testing.T) {
	for _, version := range []string{"4.10.8", "4.11.2"} {
		client, mock := mocked(t)
		mock.RegisterResponder("GET", "/healthz", answered(200, disconnected))
		mock.RegisterResponder("GET", "/api/v1/system/info", answered(200, `{"code":0,"data":{"version":"v`+version+`"}}`))
		mock.RegisterResponder("GET", "/api/v1/plugins", answered(200, `{"code":0,"data":{"plugins":[]}}`))
		mock.RegisterNoResponder(answered(500, internal))
		_, got := client.Plugins.Get(t.Context(), demo)
		for _, err := range []error{got, client.Plugins.SetConfig(t.Context(), demo, map[string]any{})} {
			require.ErrorIs(t, err, langbot.ErrRuntimeAway)
			require.NotErrorIs(t, err, langbot.ErrNotFound)
		}
	}
}

// TestRuinedServerOnly: only a server that fails is said to be ruined, and one plugin's absence is not that.
func TestRuinedServerOnly(t *testing.T) {
	client, mock := mocked(t)
	mock.RegisterResponder("GET", "/healthz", answered(200, connected))
	mock.RegisterResponder("GET", "/api/v1/system/info", answered(200, `{"code":0,"data":{"version":"v4.10.8"}}`))
	mock.RegisterResponder("GET", "/api/v1/plugins", answered(200, `{"code":0,"data":{"plugins":[]}}`))
	mock.RegisterNoResponder(answered(500, internal))
	err := client.Plugins.SetConfig(t.Context(), demo, map[string]any{})
	require.ErrorIs(t, err, langbot.ErrNotFound)
	require.NotContains(t, err.Error(), "ruined")
	_, err = client.Plugins.Get(t.Context(), demo)
	require.ErrorIs(t, err, langbot.ErrNotFound)
	require.NotContains(t, err.Error(), "ruined")
}

// TestUnsentCredential: a server may know the credential from another request, and say it in answer to one without it.
func TestUnsentCredential(t *testing.T) {
	const key = "lbk_0123456789abcdefghijklmnopqrstuvwxyz"
	synctest.Test(t, func(t *testing.T) {
		client, mock := mocked(t, langbot.WithAPIKey(key))
		mock.RegisterNoResponder(httpmock.NewErrorResponder(errors.New("broken: " + key)))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := client.System.WaitReady(ctx)
		require.ErrorIs(t, err, langbot.ErrUnreachable)
		require.ErrorContains(t, err, "broken: ***")
		noSecret(t, err, key)
	})
}
