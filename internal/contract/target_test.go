package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/lab"
	"github.com/langbot-go/langbot/langbottest"
)

// A target is a server to run the suite on.
type target struct {
	url, key, token string
	reference       *langbottest.Server // nil: a real one
	quick           bool                // it is the reference server, which is polled quickly
	fixed           bool                // it has a script that cases leave alone
	patience        time.Duration       // of a case; 0: minutes
}

const (
	email    = "contract@example.test"
	password = "correct horse battery"
)

// reference starts a reference server for one case.
func reference(t *testing.T) *target {
	srv := langbottest.New(t, langbottest.AllowUnmatched())
	return &target{url: srv.URL, key: srv.APIKey, token: srv.UserToken, reference: srv, quick: true}
}

// start starts a real LangBot with a user and both kinds of credentials.
func start(t *testing.T, version string) *target {
	began := time.Now()
	srv, err := lab.Start(t.Context(), version, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(srv.Close)
	t.Logf("LangBot %s answers at %s after %v", version, srv.URL, time.Since(began).Round(time.Second))
	user := map[string]string{"user": email, "password": password}
	_, err = raw(t.Context(), srv.URL, "", "POST", "/api/v1/user/init", user)
	require.NoError(t, err)
	login, err := raw(t.Context(), srv.URL, "", "POST", "/api/v1/user/auth", user)
	require.NoError(t, err)
	target := &target{url: srv.URL, key: srv.APIKey, token: login["token"].(string)}
	if target.key == "" {
		target.key = target.newKey(t.Context(), t, nil)
	}
	return target
}

// options are those of a client with one of the target's credentials.
func (x *target) options(credential string) []langbot.Option {
	opts := []langbot.Option{langbot.WithAPIKey(x.key)}
	if credential == token {
		opts = []langbot.Option{langbot.WithUserToken(x.token)}
	}
	if x.quick {
		opts = append(opts, langbot.WithPolling(langbot.Polling{Interval: 20 * time.Millisecond, Settle: 300 * time.Millisecond, Tolerance: 4 * time.Second}))
	}
	return opts
}

func (x *target) client(t *testing.T, credential string) *langbot.Client {
	client, err := langbot.New(x.url, x.options(credential)...)
	require.NoError(t, err)
	return client
}

// newKey makes an API key with the given scopes; nil: all.
func (x *target) newKey(ctx context.Context, t require.TestingT, scopes []string) string {
	body := map[string]any{"name": "contract"}
	if scopes != nil {
		body["scopes"] = scopes
	}
	data, err := raw(ctx, x.url, x.token, "POST", "/api/v1/apikeys", body)
	require.NoError(t, err)
	return data["key"].(map[string]any)["key"].(string)
}

// raw makes a request without the client under test, and returns the envelope's data.
func raw(ctx context.Context, base, token, method, path string, body any) (map[string]any, error) {
	sent, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(sent))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var envelope struct {
		Code any            `json:"code"`
		Msg  string         `json:"msg"`
		Data map[string]any `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&envelope); err != nil {
		return nil, err
	}
	if envelope.Code != 0.0 {
		return nil, fmt.Errorf("%s %s: %v %s", method, path, envelope.Code, envelope.Msg)
	}
	return envelope.Data, nil
}

// onReference tells a reference server what a real one does by itself.
func (e *env) onReference(script langbottest.Script) {
	if e.target.reference != nil && !e.target.fixed {
		e.target.reference.On(langbottest.AnyInstall, script)
	}
}
