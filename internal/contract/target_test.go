package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/lab"
	"github.com/langbot-go/langbot/langbottest"
)

// A target is a server to run the suite on.
type target struct {
	version         string
	url, key, token string
	reference       *langbottest.Server // nil: a real one
	lab             *lab.Server         // nil: the reference server
	space           marketplace
	github          gitHub
	machine         machine
	quick           bool          // it is the reference server, where everything goes twenty times as fast
	fixed           bool          // it has a script that cases leave alone
	patience        time.Duration // of a case; 0: minutes
}

const (
	email    = "contract@example.test"
	password = "correct horse battery"
)

// What is beside a server.
type (
	marketplace interface {
		Add(plugin, version string, archive []byte)
		AddMCP(name string)
		Delay(author string, d time.Duration)
	}
	gitHub interface {
		Add(repo, tag, file string, archive []byte) (release, asset int64)
		Fail(away bool)
	}
	machine interface {
		KillHost()
		StartHost(ctx context.Context) error
		KillRuntime()
		StartRuntime() error
	}
)

// beside is all of it for a reference server.
type beside struct{ *langbottest.Server }

func (b beside) Add(_, _ string, archive []byte) { b.AddMarketplace(archive) }

func (b beside) AddMCP(name string) {
	author, name, _ := strings.Cut(name, "/")
	b.AddMarketplaceMCP(author, name)
}

func (b beside) Delay(author string, d time.Duration) { b.SlowMarketplace(author, d/4) }

func (b beside) KillHost() {}

func (b beside) StartHost(context.Context) error {
	b.Restart()
	return nil
}

func (b beside) KillRuntime() { b.RuntimeDown() }

func (b beside) StartRuntime() error {
	b.RuntimeUp()
	return nil
}

// onGitHub is the GitHub of a reference server.
type onGitHub struct{ *langbottest.Server }

func (g onGitHub) Add(repo, tag, file string, archive []byte) (release, asset int64) {
	owner, repo, _ := strings.Cut(repo, "/")
	return g.AddGitHub(owner, repo, tag, file, archive)
}

func (g onGitHub) Fail(away bool) {
	if g.ClearFaults(); away {
		g.Fault("POST /api/v1/plugins/github/releases", langbottest.Status(http.StatusInternalServerError))
	}
}

// haste is how much faster than real servers the reference server is.
const haste = 20

// scaled is how long something takes on the target that takes d on a real server.
func (e *env) scaled(d time.Duration) time.Duration {
	if e.target.quick {
		return d / haste
	}
	return d
}

// polling is an option, with the patience that the target needs.
func (e *env) polling(p langbot.Polling) langbot.Option {
	p.Settle, p.Hidden = e.scaled(p.Settle), e.scaled(p.Hidden)
	if e.target.quick {
		p.Interval = 20 * time.Millisecond
	}
	return langbot.WithPolling(p)
}

// lifetime is how long a user's token lasts on the strict server.
const lifetime = 6 * time.Second

// reference starts a reference server for one case.
func reference(t *testing.T, version string, on server) *target {
	srv := langbottest.New(t, langbottest.Version(version), langbottest.AllowUnmatched(), langbottest.Credentials("global-test-key", email, password))
	srv.On("PUT /api/v1/plugins/{author}/{name}/config", langbottest.Script{Steps: []langbottest.Step{{For: 10 * time.Second / haste}}}) // so that a busy machine sees it
	if on == strict {
		srv.LimitExtensions(1)
	}
	return &target{version: version, url: srv.URL, key: srv.APIKey, token: srv.UserToken, reference: srv, quick: true,
		space: beside{srv}, github: onGitHub{srv}, machine: beside{srv}}
}

// start starts a real LangBot with a user and both kinds of credentials.
func start(t *testing.T, version string, on server) *target {
	began := time.Now()
	space := lab.NewSpace()
	t.Cleanup(space.Close)
	hub, err := lab.NewGitHub(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(hub.Close)
	x := &target{version: version, space: space, github: hub}
	settings := append(space.Settings(), hub.Settings()...)
	if on == strict {
		settings = append(settings, "SYSTEM__LIMITATION__MAX_EXTENSIONS=1", fmt.Sprintf("SYSTEM__JWT__EXPIRE=%d", int(lifetime.Seconds())))
	}
	x.lab, err = lab.Start(t.Context(), version, t.TempDir(), settings...)
	require.NoError(t, err)
	x.machine = x.lab
	t.Cleanup(x.lab.Close)
	t.Logf("LangBot %s answers at %s after %v", version, x.lab.URL, time.Since(began).Round(time.Second))
	x.url, x.key = x.lab.URL, x.lab.APIKey
	_, err = raw(t.Context(), x.url, "", "POST", "/api/v1/user/init", map[string]string{"user": email, "password": password})
	require.NoError(t, err)
	x.renew(t)
	if x.key == "" {
		x.key = x.newKey(t.Context(), t, nil)
	}
	return x
}

// renew gets a new user token: those of the strict server last seconds.
func (x *target) renew(t *testing.T) {
	login, err := raw(t.Context(), x.url, "", "POST", "/api/v1/user/auth", map[string]string{"user": email, "password": password})
	require.NoError(t, err)
	x.token = login["token"].(string)
}

// options are those of a client with one of the target's credentials.
func (x *target) options(credential string) []langbot.Option {
	opts := []langbot.Option{langbot.WithAPIKey(x.key)}
	if credential == token {
		opts = []langbot.Option{langbot.WithUserToken(x.token)}
	}
	if x.quick {
		opts = append(opts, langbot.WithPolling(langbot.Polling{Interval: 20 * time.Millisecond, Settle: 1500 * time.Millisecond, Tolerance: 4 * time.Second}))
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

// slowStart has the next plugins take d to start, as the code of their packages says.
func (e *env) slowStart(d time.Duration) {
	e.onReference(langbottest.Script{Steps: []langbottest.Step{{Action: "waiting for plugin initialization", Percent: 84, For: e.scaled(d)}}})
}
