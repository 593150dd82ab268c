package langbot_test

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/langbottest"
)

func TestSetConfig(t *testing.T) {
	const path = "/api/v1/plugins/acme/demo/config"
	t.Run("sends an object as JSON, once", func(t *testing.T) {
		for want, config := range map[string]any{
			`{"greeting":"hi","n":9007199254740993}`: map[string]any{"greeting": "hi", "n": json.Number("9007199254740993")},
			`{}`:                                     struct{}{},
			`{"a":[1,2]}`:                            json.RawMessage(` {"a": [1, 2]} `),
		} {
			client, mock := mocked(t)
			mock.RegisterResponder("PUT", path, func(r *http.Request) (*http.Response, error) {
				require.Equal(t, "application/json", r.Header.Get("Content-Type"))
				sent, err := io.ReadAll(r.Body)
				require.NoError(t, err)
				require.Equal(t, want, string(sent))
				return answered(200, `{"code":0,"msg":"ok","data":{}}`)(r)
			})
			require.NoError(t, client.Plugins.SetConfig(t.Context(), demo, config))
			require.Equal(t, 1, mock.GetTotalCallCount())
		}
	})
	t.Run("refuses all else before anything is sent", func(t *testing.T) {
		client, mock := mocked(t)
		var none map[string]any
		for _, config := range []any{nil, none, []int{1, 2}, "text", 7, true, json.RawMessage(`[{}]`), json.RawMessage(`{`), json.RawMessage(`"{}"`), func() {}} {
			require.ErrorIs(t, client.Plugins.SetConfig(t.Context(), demo, config), langbot.ErrInvalid, "%v", config)
		}
		require.ErrorIs(t, client.Plugins.SetConfig(t.Context(), langbot.PluginID{Author: "a/b", Name: "c"}, map[string]any{}), langbot.ErrInvalid)
		require.Zero(t, mock.GetTotalCallCount())
	})
	for name, tt := range map[string]struct {
		status  int
		body    string
		version string
		list    string
		is      error
	}{
		"absent":                      {404, `{"code":-1,"msg":"plugin not found"}`, "4.11.2", `[]`, langbot.ErrNotFound},
		"absent, 4.10.8":              {500, internal, "4.10.8", `[]`, langbot.ErrNotFound},
		"there, 4.10.8":               {500, internal, "4.10.8", listed("1.0.0", langbot.PluginInitialized), langbot.ErrServer},
		"fails, 4.11.2":               {500, internal, "4.11.2", `[]`, langbot.ErrServer},
		"does not start again":        {500, `{"code":-2,"msg":"Action restart_plugin call timed out"}`, "4.10.6", `[]`, langbot.ErrServer},
		"a secret that has no value":  {400, `{"code":-1,"msg":"Masked plugin secret has no existing value"}`, "4.11.2", `[]`, langbot.ErrInvalid},
		"account without the key":     {403, `{"code":"permission_denied","msg":"Missing Workspace permission: resource.manage"}`, "4.11.2", `[]`, langbot.ErrForbidden},
		"gateway does not know":       {504, page, "4.11.2", `[]`, langbot.ErrOutcomeUnknown},
		"success that is no envelope": {200, page, "4.11.2", `[]`, langbot.ErrOutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			client, mock := mocked(t)
			mock.RegisterResponder("PUT", path, answered(tt.status, tt.body))
			asRelease(mock, tt.version, tt.list)
			err := client.Plugins.SetConfig(t.Context(), demo, map[string]any{})
			require.ErrorIs(t, err, tt.is)
			require.Equal(t, 1, mock.GetCallCountInfo()["PUT "+path], "sent once")
			if tt.is == langbot.ErrServer {
				require.NotErrorIs(t, err, langbot.ErrNotFound)
				require.NotErrorIs(t, err, langbot.ErrRuntimeAway)
			}
		})
	}
}

// asRelease has a mock tell its version, its health, and which plugins run.
func asRelease(mock *httpmock.MockTransport, version, plugins string) {
	mock.RegisterResponder("GET", "/healthz", answered(200, connected))
	mock.RegisterResponder("GET", "/api/v1/system/info", answered(200, `{"code":0,"data":{"version":"v`+version+`"}}`))
	mock.RegisterResponder("GET", "/api/v1/plugins", answered(200, `{"code":0,"data":{"plugins":`+plugins+`}}`))
}

func TestConfig(t *testing.T) {
	const path = "/api/v1/plugins/acme/demo/config"
	for name, tt := range map[string]struct {
		status  int
		body    string
		version string
		list    string
		want    map[string]any
		is      error
	}{
		"every digit": {200, `{"code":0,"data":{"config":{"big":9007199254740993,"f":1.10,"s":"x","l":[1e2]}}}`, "4.11.2", `[]`,
			map[string]any{"big": json.Number("9007199254740993"), "f": json.Number("1.10"), "s": "x", "l": []any{json.Number("1e2")}}, nil},
		"none":                   {200, `{"code":0,"data":{"config":{}}}`, "4.11.2", `[]`, map[string]any{}, nil},
		"untold":                 {200, `{"code":0,"data":{"config":{}}}`, "4.9.7", `[]`, nil, langbot.ErrInvalid},
		"the one before tells":   {200, `{"code":0,"data":{"config":{}}}`, "4.9.6", `[]`, map[string]any{}, nil},
		"the next one tells":     {200, `{"code":0,"data":{"config":{}}}`, "4.10.0", `[]`, map[string]any{}, nil},
		"absent":                 {404, `{"code":-1,"msg":"plugin not found"}`, "4.11.2", `[]`, nil, langbot.ErrNotFound},
		"absent, 4.10.8":         {500, internal, "4.10.8", `[]`, nil, langbot.ErrNotFound},
		"there, 4.10.8":          {500, internal, "4.10.8", listed("1.0.0", langbot.PluginInitialized), nil, langbot.ErrServer},
		"no access":              {404, `{"code":"resource_not_found","msg":"Resource not found"}`, "4.11.2", `[]`, nil, langbot.ErrForbidden},
		"credential is not good": {401, `{"code":"invalid_authentication","msg":"no"}`, "4.11.2", `[]`, nil, langbot.ErrUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			client, mock := mocked(t)
			mock.RegisterResponder("GET", path, answered(tt.status, tt.body))
			asRelease(mock, tt.version, tt.list)
			got, err := client.Plugins.Config(t.Context(), demo)
			require.Equal(t, tt.want, got)
			if tt.is == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, tt.is)
			}
		})
	}
	t.Run("what is stored is no object", func(t *testing.T) {
		client, mock := mocked(t)
		for _, stored := range []string{`[1,2]`, `"text"`, `7`, `null`} {
			mock.RegisterResponder("GET", path, answered(200, `{"code":0,"data":{"config":`+stored+`}}`))
			_, err := client.Plugins.Config(t.Context(), demo)
			var page *langbot.ProtocolError
			require.ErrorAs(t, err, &page, stored)
			require.ErrorContains(t, err, "no config that is a JSON object")
		}
	})
}

// TestUpdateConfig: what is written, and what is said when it does not come back.
func TestUpdateConfig(t *testing.T) {
	const path = "/api/v1/plugins/acme/demo/config"
	const stored = `{"big":9007199254740993,"float":1.10,"api_key":"***","nested":{"password":"***","n":1},"list":[1,2.50]}`
	change := func(f func(map[string]any)) func(map[string]any) error {
		return func(config map[string]any) error { f(config); return nil }
	}
	for name, tt := range map[string]struct {
		change func(map[string]any) error
		sent   string // empty: nothing
		back   string // what is read back; empty: what was sent
		gone   bool   // the plugin does not come back
		is     error
	}{
		"one key more": {change: change(func(c map[string]any) { c["greeting"] = "hi" }),
			sent: `{"api_key":"***","big":9007199254740993,"float":1.10,"greeting":"hi","list":[1,2.50],"nested":{"n":1,"password":"***"}}`},
		"a number of Go": {change: change(func(c map[string]any) { clear(c); c["n"] = uint64(18446744073709551615) }), sent: `{"n":18446744073709551615}`},
		"servers write numbers in their way": {change: change(func(c map[string]any) { clear(c); c["n"] = json.Number("1e2") }),
			sent: `{"n":1e2}`, back: `{"n":100.0}`},
		"a secret":              {change: change(func(c map[string]any) { clear(c); c["api_key"] = "new" }), sent: `{"api_key":"new"}`, back: `{"api_key":"***"}`},
		"deeper":                {change: change(func(c map[string]any) { c["nested"].(map[string]any)["n"] = json.Number("2") }), sent: strings.Replace(sorted(t, stored), `"n":1`, `"n":2`, 1)},
		"nothing":               {change: change(func(map[string]any) {})},
		"the same":              {change: change(func(c map[string]any) { c["list"] = []any{1, json.Number("2.50")} })},
		"refused by the caller": {change: func(map[string]any) error { return io.ErrShortBuffer }, is: io.ErrShortBuffer},
		"no JSON":               {change: change(func(c map[string]any) { c["f"] = func() {} }), is: langbot.ErrInvalid},
		"a digit was lost":      {change: change(func(c map[string]any) { c["x"] = "y" }), sent: "*", back: `{"big":9007199254740992,"x":"y"}`, is: langbot.ErrNoEffect},
		"another wrote too":     {change: change(func(c map[string]any) { clear(c); c["x"] = "y" }), sent: "*", back: `{"x":"z"}`, is: langbot.ErrNoEffect},
		"a key was lost":        {change: change(func(c map[string]any) { clear(c); c["x"] = "y"; c["z"] = nil }), sent: "*", back: `{"x":"y"}`, is: langbot.ErrNoEffect},
		"it does not come back": {change: change(func(c map[string]any) { c["x"] = "y" }), sent: "*", gone: true, is: langbot.ErrNoEffect},
	} {
		t.Run(name, func(t *testing.T) {
			client, mock := mocked(t, langbot.WithPolling(langbot.Polling{Interval: time.Millisecond, Hidden: 20 * time.Millisecond}))
			config, sent := stored, ""
			mock.RegisterResponder("GET", path, func(r *http.Request) (*http.Response, error) {
				return answered(200, `{"code":0,"data":{"config":`+config+`}}`)(r)
			})
			mock.RegisterResponder("PUT", path, func(r *http.Request) (*http.Response, error) {
				body, err := io.ReadAll(r.Body)
				require.NoError(t, err)
				sent, config = string(body), cmp.Or(tt.back, string(body))
				return answered(200, `{"code":0,"msg":"ok","data":{}}`)(r)
			})
			mock.RegisterResponder("GET", "/api/v1/plugins/acme/demo", func(r *http.Request) (*http.Response, error) {
				if tt.gone {
					return answered(404, `{"code":-1,"msg":"plugin not found"}`)(r)
				}
				return answered(200, `{"code":0,"data":{"plugin":`+strings.Trim(listed("1.0.0", langbot.PluginInitialized), "[]")+`}}`)(r)
			})
			err := client.Plugins.UpdateConfig(t.Context(), demo, tt.change)
			if tt.is == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, tt.is)
			}
			if tt.sent != "*" {
				require.Equal(t, tt.sent, sent)
			} else {
				require.NotEmpty(t, sent)
			}
			if tt.is == langbot.ErrNoEffect {
				require.NotErrorIs(t, err, langbot.ErrNotFound)
			}
			require.LessOrEqual(t, mock.GetCallCountInfo()["PUT "+path], 1)
		})
	}
	t.Run("refused before anything is sent", func(t *testing.T) {
		client, mock := mocked(t)
		require.ErrorIs(t, client.Plugins.UpdateConfig(t.Context(), demo, nil), langbot.ErrInvalid)
		require.ErrorIs(t, client.Plugins.UpdateConfig(t.Context(), langbot.PluginID{}, change(func(map[string]any) {})), langbot.ErrInvalid)
		require.Zero(t, mock.GetTotalCallCount())
	})
	t.Run("4.9.7 tells none, so nothing is written", func(t *testing.T) {
		srv := langbottest.New(t, langbottest.Version("4.9.7"))
		srv.AddPlugin(langbottest.Archive("acme", "demo", "1.0.0"))
		client, err := langbot.New(srv.URL, langbot.WithUserToken(srv.UserToken))
		require.NoError(t, err)
		require.ErrorIs(t, client.Plugins.UpdateConfig(t.Context(), demo, change(func(c map[string]any) { c["x"] = 1 })), langbot.ErrInvalid)
		require.Empty(t, srv.Calls("PUT /api/v1/plugins/{author}/{name}/config"))
	})
}

// sorted is an object as encoding/json writes it.
func sorted(t *testing.T, object string) string {
	var fields map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(object), &fields))
	fields["nested"] = json.RawMessage(`{"n":1,"password":"***"}`)
	out, err := json.Marshal(fields)
	require.NoError(t, err)
	return string(out)
}
