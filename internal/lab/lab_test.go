//go:build unix

package lab

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProxy(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }))
	defer srv.Close()
	p, err := NewProxy(srv.URL)
	require.NoError(t, err)
	defer p.Close()
	ask := func() (string, error) { return get(t.Context(), p.URL) }
	for range 2 {
		body, err := ask()
		require.NoError(t, err)
		require.Equal(t, "here", body)
		open, err := net.Dial("tcp", p.address)
		require.NoError(t, err)
		p.Cut()
		_, err = open.Read(make([]byte, 1))
		require.Error(t, err, "an open connection breaks")
		_, err = ask()
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.NoError(t, p.Restore())
	}
}

func TestSpace(t *testing.T) {
	s := NewSpace()
	defer s.Close()
	s.Add("acme/demo", "0.1.0", []byte("old"))
	s.Add("acme/demo", "0.2.0", []byte("new"))
	s.AddMCP("acme/tool")
	for path, want := range map[string]string{
		"plugins/acme/demo/versions":       `{"code":0,"data":{"versions":[{"version":"0.2.0"},{"version":"0.1.0"}]},"msg":"ok"}` + "\n",
		"plugins/download/acme/demo/0.1.0": "old",
		"plugins/download/acme/demo/0.3.0": `{"code":-1,"data":null,"msg":"plugin version not found: 0.3.0"}` + "\n",
		"plugins/acme/none/versions":       `{"code":-1,"data":null,"msg":"plugin not found"}` + "\n",
		"mcps/acme/demo":                   `{"code":-1,"data":null,"msg":"mcp not found"}` + "\n",
		"skills/acme/demo":                 `{"code":-1,"data":null,"msg":"not found"}` + "\n",
	} {
		body, err := get(t.Context(), s.URL+"/api/v1/marketplace/"+path)
		require.NoError(t, err)
		require.Equal(t, want, body, path)
	}
	body, err := get(t.Context(), s.URL+"/api/v1/marketplace/mcps/acme/tool")
	require.NoError(t, err)
	require.Contains(t, body, `"mode":"http"`)
}

func TestGitHub(t *testing.T) {
	g, err := NewGitHub(t.TempDir())
	require.NoError(t, err)
	defer g.Close()
	release, asset := g.Add("acme/demo", "v1", "demo.lbpkg", []byte("the archive"))
	require.NotZero(t, release)
	require.NotZero(t, asset)
	client := g.server.Client()
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, g.server.Listener.Addr().String())
	}
	for url, want := range map[string]string{
		"https://api.github.com/repos/acme/demo/releases":              `"tag_name":"v1"`,
		"https://api.github.com/repos/acme/demo/releases/1001":         `"browser_download_url":"https://github.com/acme/demo/releases/download/v1/demo.lbpkg"`,
		"https://api.github.com/repos/acme/demo/releases/7":            "Not Found",
		"https://api.github.com/repos/acme/demo/releases/assets/2001":  "the archive",
		"https://github.com/acme/demo/releases/download/v1/demo.lbpkg": "the archive",
		"https://github.com/acme/demo/releases/download/v2/demo.lbpkg": "Not Found",
	} {
		resp, err := client.Get(url)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Contains(t, string(body), want, url)
	}
}

func TestOlder(t *testing.T) {
	require.True(t, Older("4.9.7", "4.10.0"))
	require.True(t, Older("4.10.9", "4.10.11"))
	require.False(t, Older("4.10.11", "4.10.9"))
	require.False(t, Older("4.11.2", "4.11.2"))
}
