package langbot_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
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
			mock.RegisterResponder("GET", "/healthz", answered(200, connected))
			mock.RegisterResponder("GET", "/api/v1/system/info", answered(200, `{"code":0,"data":{"version":"v`+tt.version+`"}}`))
			mock.RegisterResponder("GET", "/api/v1/plugins", answered(200, `{"code":0,"data":{"plugins":`+tt.list+`}}`))
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
