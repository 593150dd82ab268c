package contract

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
)

// wrong is a credential of the case's kind that no server knows.
func (e *env) wrong() (langbot.Option, string) {
	if e.credential == token {
		const wrong = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyIjoid3JvbmcifQ.wrong-and-secret-0123456789"
		return langbot.WithUserToken(wrong), wrong
	}
	const wrong = "lbk_wrong-and-secret-key-0123456789"
	return langbot.WithAPIKey(wrong), wrong
}

func wrongCredential(e *env) {
	credential, secret := e.wrong()
	client := e.connect(credential)
	_, listed := client.Plugins.List(e.ctx)
	_, got := client.Plugins.Get(e.ctx, e.id)
	_, task := client.Tasks.Get(e.ctx, 0)
	_, installed := client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "pass"))
	_, deleted := client.Plugins.Delete(e.ctx, e.id, langbot.DeleteOptions{})
	for what, err := range map[string]error{"list": listed, "get": got, "task": task, "install": installed, "delete": deleted} {
		require.ErrorIs(e, err, langbot.ErrUnauthorized, what)
		require.NotErrorIs(e, err, langbot.ErrOutcomeUnknown, what)
		require.NotContains(e, fmt.Sprintf("%v %+v", err, err), secret, what)
	}
}

func keyWithoutPermission(e *env) {
	reader := e.connect(langbot.WithAPIKey(e.target.newKey(e.ctx, e, []string{"resource.view"})))
	_, err := reader.Plugins.List(e.ctx)
	require.NoError(e, err)
	_, err = reader.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "pass"))
	require.ErrorIs(e, err, langbot.ErrForbidden)

	writer := e.connect(langbot.WithAPIKey(e.target.newKey(e.ctx, e, []string{"resource.manage"})))
	_, err = writer.Plugins.List(e.ctx)
	require.ErrorIs(e, err, langbot.ErrForbidden)
	op, err := writer.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "pass"))
	require.NoError(e, err)
	if e.hidden() {
		require.Equal(e, langbot.TaskSucceeded, e.hiddenAtOnce(op).State)
		return
	}
	_, err = op.Wait(e.ctx)
	require.ErrorIs(e, err, langbot.ErrForbidden)
	require.ErrorContains(e, err, "resource.view")

	resumed, err := e.client.Tasks.Resume(op.Token()) // a key that may look sees it through
	require.NoError(e, err)
	_, err = resumed.Wait(e.ctx)
	require.NoError(e, err)
}

// keysWithoutScopes: every key may do everything.
func keysWithoutScopes(e *env) {
	e.note("Keys have no permissions: each may do everything.")
	e.client = e.connect(langbot.WithAPIKey(e.target.newKey(e.ctx, e, []string{"resource.view"})))
	e.install(e.pack("1.0.0", "pass"))
}

func earlyRefusal(e *env) {
	before := e.tasks()
	credential, _ := e.wrong()
	client := e.connect(credential)
	for range 20 {
		_, err := client.Plugins.InstallLocal(e.ctx, unchecked{id: e.id, data: make([]byte, 9<<20)})
		require.ErrorIs(e, err, langbot.ErrUnauthorized)
		require.NotErrorIs(e, err, langbot.ErrOutcomeUnknown)
	}
	require.Equal(e, before, e.tasks())
}

func login(e *env) {
	user, secret := email, password
	over, logins := counting("/api/v1/user/auth")
	e.client = e.connect(langbot.WithLogin(user, secret), over)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			_, err := e.client.Plugins.List(e.ctx)
			assert.NoError(e, err)
		})
	}
	wg.Wait()
	require.EqualValues(e, 1, logins.n.Load(), "a hundred callers share one login")
	e.install(e.pack("1.0.0", "pass"))
	e.remove(langbot.DeleteOptions{})
	for _, bad := range []langbot.Option{langbot.WithLogin(user, "wrong-password"), langbot.WithLogin("nobody@example.test", secret)} {
		_, err := e.connect(bad).Plugins.List(e.ctx)
		if e.since("4.7.0") || !strings.Contains(fmt.Sprint(err), "500") {
			require.ErrorIs(e, err, langbot.ErrUnauthorized)
		} else {
			e.note("An unknown user is a failure of the server (500), not a refusal.")
			require.ErrorIs(e, err, langbot.ErrServer)
		}
		require.NotContains(e, err.Error(), secret)
		require.NotContains(e, err.Error(), "wrong-password")
	}
}

// A counter counts the requests for one path.
type counter struct {
	*http.Transport
	path string
	n    atomic.Int64
}

// counting is a client that counts.
func counting(path string) (langbot.Option, *counter) {
	c := &counter{Transport: langbot.NewTransport(), path: path}
	return langbot.WithHTTPClient(&http.Client{Transport: c}), c
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == c.path {
		c.n.Add(1)
	}
	return c.Transport.RoundTrip(r)
}

// loginExpires waits for a plugin that takes longer to start than a login lasts here.
func loginExpires(e *env) {
	over, logins := counting("/api/v1/user/auth")
	client := e.connect(langbot.WithLogin(email, password), over)
	defer e.clean() // this server takes one extension
	e.slowStart(8 * time.Second)
	began := time.Now()
	op, err := client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "await asyncio.sleep(8)"))
	require.NoError(e, err)
	require.EqualValues(e, 1, logins.n.Load())
	if srv := e.target.reference; srv != nil {
		time.AfterFunc(e.scaled(lifetime)/2, srv.RevokeTokens)
	}
	done, err := op.Wait(e.ctx)
	require.NoError(e, err)
	require.Equal(e, e.id, done.Plugin.ID)
	require.GreaterOrEqual(e, logins.n.Load(), int64(2))
	ended := max(1, time.Since(began)/(lifetime-time.Second)) // they end by whole seconds
	require.LessOrEqual(e, logins.n.Load(), 1+int64(ended), "renewed once each time that it ended")
}

// extensionLimit: the strict server takes one. It also refuses what would replace that.
func extensionLimit(e *env) {
	info, err := e.client.System.Info(e.ctx)
	require.NoError(e, err)
	require.Equal(e, 1, info.Limits.Extensions)
	client := e.connect(langbot.WithLogin(email, password)) // its tokens end too soon
	if e.credential == key {
		client = e.client
	}
	e.client = client
	defer e.clean()
	e.install(e.pack("1.0.0", "pass"))
	before := e.tasks()
	other := langbot.PluginID{Author: "contract", Name: "one-too-many"}
	_, local := client.Plugins.InstallLocal(e.ctx, e.packAs(other, "1.0.0", "pass"))
	_, market := client.Plugins.InstallMarketplace(e.ctx, langbot.MarketplacePlugin{ID: other, Version: "1"})
	_, hub := client.Plugins.InstallGitHub(e.ctx, langbot.GitHubAsset{Owner: "acme", Repo: "demo", ReleaseTag: "v1", ReleaseID: 1, AssetID: 2,
		AssetURL: "https://github.com/acme/demo/releases/download/v1/demo.lbpkg"})
	for what, err := range map[string]error{"local": local, "marketplace": market, "GitHub": hub} {
		require.ErrorIs(e, err, langbot.ErrLimit, what)
		require.NotErrorIs(e, err, langbot.ErrOutcomeUnknown, what)
	}
	require.Equal(e, before, e.tasks())
}

func noExtensionLimit(e *env) {
	e.note("There is no quota of extensions.")
	info, err := e.client.System.Info(e.ctx)
	require.NoError(e, err)
	require.Equal(e, -1, info.Limits.Extensions)
	e.install(e.pack("1.0.0", "pass"))
	e.id.Name += "-2"
	e.install(e.pack("1.0.0", "pass"))
}

func wrongBaseURL(e *env) {
	before := e.tasks()
	for _, path := range []string{"/nope", "/plugins"} {
		client, err := langbot.New(e.target.url+path, e.target.options(e.credential)...)
		require.NoError(e, err)
		_, err = client.Plugins.List(e.ctx)
		var page *langbot.ProtocolError
		require.ErrorAs(e, err, &page)
		require.Contains(e, page.Hint, "base URL")
		require.NotErrorIs(e, err, langbot.ErrNotFound)
		_, err = client.Plugins.Delete(e.ctx, e.id, langbot.DeleteOptions{})
		require.ErrorAs(e, err, &page)
		require.NotErrorIs(e, err, langbot.ErrOutcomeUnknown)
	}
	require.Equal(e, before, e.tasks())
}

func pathPrefix(e *env) {
	backend, err := url.Parse(e.target.url)
	require.NoError(e, err)
	proxy := httptest.NewServer(http.StripPrefix("/lang bot", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(backend) }}))
	defer proxy.Close()
	e.target = e.target.at(proxy.URL + "/lang%20bot/")
	e.client = e.connect()
	e.install(e.pack("1.0.0", "pass"))
	e.remove(langbot.DeleteOptions{})
}

// at is the target under another address.
func (x *target) at(base string) *target {
	moved := *x
	moved.url = base
	return &moved
}
