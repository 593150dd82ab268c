package langbottest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/langbottest"
)

// FuzzRequest: whatever is asked, there is an answer of HTTP, and an entry of the journal with its status.
func FuzzRequest(f *testing.F) {
	for _, seed := range []struct{ method, path, kind, body string }{
		{"GET", "/api/v1/plugins", "", ""},
		{"GET", "/api/v1/plugins/a%2Fb/%00?x=%zz", "", ""},
		{"HEAD", "/api/v1/plugins/acme/hello", "", ""},
		{"OPTIONS", "/api/v1/nope", "", ""},
		{"PUT", "/api/v1/plugins/acme/hello/config", "application/json", `{"a":{"b":[1e999,"\ud800"]}}`},
		{"PUT", "/api/v1/plugins/acme/hello/config", "application/json", strings.Repeat("[", 20_000)},
		{"DELETE", "/api/v1/plugins/acme/hello?delete_data=true", "", ""},
		{"POST", "/api/v1/plugins/install/local", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\nPK\r\n--x--\r\n"},
		{"POST", "/api/v1/plugins/install/local", "multipart/form-data", "--"},
		{"POST", "/api/v1/plugins/install/marketplace", "application/json", `{"plugin_author":1,"plugin_name":null}`},
		{"POST", "/api/v1/plugins/install/github", "application/json", `{"owner":"a","repo":"b","release_tag":"c","asset_url":"https://github.com/%"}`},
		{"POST", "/api/v1/plugins/github/releases", "application/json", `{"repo_url":"://"}`},
		{"POST", "/api/v1/plugins/config-files", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../x\"\r\n\r\nx\r\n--x--\r\n"},
		{"GET", "/api/v1/plugins/acme/hello/assets/../../../etc/passwd", "", ""},
		{"GET", "/api/v1/system/tasks/-9999999999999999999", "", ""},
		{"GET", "/api/v1/plugins/acme/hello/logs?limit=-1", "", ""},
		{"POST", "/api/v1/user/auth", "application/json", `[]`},
		{"POST", "/api/v1/apikeys", "application/json", `{"name":{},"scopes":"x"}`},
		{"FOO", "//", "text/plain", "x"},
	} {
		for version := range versions {
			f.Add(byte(version), seed.method, seed.path, seed.kind, []byte(seed.body))
		}
	}
	f.Fuzz(func(t *testing.T, version byte, method, path, kind string, body []byte) {
		srv := langbottest.New(t, langbottest.InMemory(), langbottest.AllowUnmatched(), langbottest.Version(versions[int(version)%len(versions)]))
		srv.AddPlugin(langbottest.Archive("acme", "hello", "1"))
		target, err := url.ParseRequestURI("/" + strings.TrimPrefix(path, "/"))
		if err != nil {
			t.Skip("no request can have this path")
		}
		base, err := url.Parse(srv.URL)
		require.NoError(t, err)
		target.Scheme, target.Host = base.Scheme, base.Host
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL, bytes.NewReader(body))
		if err != nil {
			t.Skip("no request can have this method")
		}
		req.URL = target
		req.Header = http.Header{"Authorization": {"Bearer " + srv.UserToken}, "Content-Type": {kind}}
		resp, err := srv.Client().Do(req)
		if err != nil && len(srv.Calls("")) == 0 {
			t.Skip("the client does not send it, or net/http refuses it")
		}
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		if calls := srv.Calls(""); len(calls) > 0 || resp.StatusCode != 400 { // which net/http says by itself
			require.Len(t, calls, 1)
			require.Equal(t, resp.StatusCode, calls[0].Status)
		}
	})
}

var versions = []string{"4.6.0", "4.9.4", "4.10.0", "4.10.6", "4.10.8", "4.10.11", "4.11.0", "4.11.2"}

// FuzzArchive: whatever is uploaded, its task ends, and the server goes on, also after its next start.
func FuzzArchive(f *testing.F) {
	for _, a := range archives.All() {
		if len(a.Bytes) < 100_000 {
			f.Add(a.Bytes)
		}
	}
	f.Add(archives.Zip(archives.Plugin("acme", "hello", "1")...)[:200])
	f.Fuzz(func(t *testing.T, archive []byte) {
		for _, version := range versions {
			srv := langbottest.New(t, langbottest.InMemory(), langbottest.AllowUnmatched(), langbottest.Version(version))
			contentType, form := multiparts(t, "file", "x.lbpkg", archive)
			for _, path := range []string{"/install/local/preview", "/install/local"} {
				ask(t, srv, "POST", "/api/v1/plugins"+path, srv.UserToken, contentType, form)
			}
			srv.Advance(time.Minute)
			for _, task := range srv.Tasks() {
				require.NotEqual(t, "running", task.State)
			}
			srv.Restart()
			srv.Advance(time.Minute)
			list := ask(t, srv, "GET", "/api/v1/plugins", srv.UserToken, "", nil)
			require.True(t, json.Valid([]byte(list.body)), "%+v", list)
		}
	})
}
