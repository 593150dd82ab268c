package langbottest_test

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/langbottest"
	"github.com/langbot-go/langbot/lbpkg"
)

// TestDocument: what is wanted is what the published description says, in its edition for 4.4.1.
func TestDocument(t *testing.T) {
	srv := langbottest.New(t, langbottest.Document())
	got := upload(t, srv, srv.APIKey, "file", "x", langbottest.Archive("acme", "hello", "1.0.0"))
	require.Regexp(t, `^\{"code":0,"data":\{"task_id":"\d+"\},"msg":"ok"\}\n$`, got.body)
	for header, status := range map[string]int{"Authorization": 200, "X-API-Key": 401} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/api/v1/plugins", nil)
		require.NoError(t, err)
		req.Header.Set(header, map[string]string{"Authorization": "Bearer "}[header]+srv.APIKey)
		resp, err := srv.Client().Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, status, resp.StatusCode, header)
	}
}

// TestClientOnDocument: it works there too, by every credential.
func TestClientOnDocument(t *testing.T) {
	pkg, err := lbpkg.Parse(langbottest.Archive("acme", "hello", "1.0.0"))
	require.NoError(t, err)
	for name, credential := range map[string]func(*langbottest.Server) langbot.Option{
		"key":   func(srv *langbottest.Server) langbot.Option { return langbot.WithAPIKey(srv.APIKey) },
		"token": func(srv *langbottest.Server) langbot.Option { return langbot.WithUserToken(srv.UserToken) },
		"login": func(srv *langbottest.Server) langbot.Option { return langbot.WithLogin(srv.Email, srv.Password) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := langbottest.New(t, langbottest.Document(), langbottest.InMemory())
				client, err := langbot.New(srv.URL, credential(srv), langbot.WithHTTPClient(srv.Client()))
				require.NoError(t, err)
				op, err := client.Plugins.InstallLocal(t.Context(), pkg)
				require.NoError(t, err)
				done, err := op.Wait(t.Context())
				require.NoError(t, err)
				require.Equal(t, "1.0.0", done.Plugin.Version)
			})
		})
	}
}
