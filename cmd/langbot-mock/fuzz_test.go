package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot/langbottest"
)

// FuzzAdmin: whatever the admin API is sent, it answers, and the server goes on.
func FuzzAdmin(f *testing.F) {
	for name := range actions {
		for _, body := range []string{"", "{}", "[]", "null", "{", `{"op":"","effect":"latency","for":"1h"}`} {
			f.Add(name, body)
		}
	}
	f.Add("plugins", `{"author":"a/b","name":"\u0000","version":"1"}`)
	f.Add("plugins", `{"archive":"UEsD"}`)
	f.Add("github", `{"owner":"","repo":"x","tag":"","file":"/","author":"a","name":"b","version":"1"}`)
	f.Add("scripts", `{"op":"POST /api/v1/plugins/install/","steps":[{"for":"-1s"}]}`)
	f.Add("scripts", `{"op":"GET /healthz"}`)
	f.Add("faults", `{"op":"GET /nope","effect":"reset"}`)
	f.Add("faults", `{"effect":"status","status":-1}`)
	f.Add("faults", `{"effect":"truncate","bytes":-1}`)
	f.Add("faults", `{"effect":"respond","status":99999,"body":{}}`)
	f.Add("clock", `{"for":"9999999999h"}`)
	f.Add("../journal", `{}`)
	f.Fuzz(func(t *testing.T, name, body string) {
		srv := langbottest.New(t, langbottest.AllowUnmatched(), langbottest.InMemory())
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://admin.test"+adminPath+name, strings.NewReader(body))
		if err != nil {
			t.Skip("no request can have this path")
		}
		w := httptest.NewRecorder()
		adminAPI(srv).ServeHTTP(w, req)
		require.Contains(t, []int{200, 301, 307, 400, 404, 405}, w.Code)
		srv.ClearFaults()
		resp, err := srv.Client().Get(srv.URL + "/healthz")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 200, resp.StatusCode)
	})
}

// FuzzFile: whatever a seed file has in it, it is done, or refused with its line.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{"", "[", "[]", "{}", "[{}]", `[{"plugins":{"author":"a","name":"b","version":"1"}}`, "[\n\n{\"plugins\":\n1}]", `[{"reset":{}}]x`, `[{"nope":{}}]`, "\xff", `[{"limits":{"extensions":1e99}}]`} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "seed.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		srv := langbottest.New(t, langbottest.InMemory())
		require.NoError(t, os.WriteFile(path, data, 0o600))
		if err := perform(srv, path, ""); err != nil {
			require.Regexp(t, `seed\.json:[1-9][0-9]*: `, err.Error())
		}
		srv.ClearFaults()
	})
}
