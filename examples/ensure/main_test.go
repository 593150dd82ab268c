package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/langbottest"
)

func TestRun(t *testing.T) {
	srv := langbottest.New(t)
	t.Setenv("LANGBOT_URL", srv.URL)
	t.Setenv("LANGBOT_API_KEY", srv.APIKey)
	client, err := langbot.New(srv.URL, langbot.WithAPIKey(srv.APIKey))
	require.NoError(t, err)
	for _, tt := range []struct {
		version string
		absent  bool
		says    string
	}{
		{"1.0.0", false, "done: install (it does not run); langbot-go/ensured 1.0.0 is initialized\n"},
		{"1.0.0", false, "done: nothing, it was right; langbot-go/ensured 1.0.0 is initialized\n"},
		{"1.1.0", false, "done: replace (it runs in version 1.0.0, not in 1.1.0); langbot-go/ensured 1.1.0 is initialized\n"},
		{"", true, "done: remove (it runs in version 1.1.0)\n"},
		{"", true, "done: nothing, it was right\n"},
	} {
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), &out, tt.version, tt.absent))
		require.Equal(t, tt.says, out.String())
		if tt.version == "1.0.0" {
			require.NoError(t, client.Plugins.UpdateConfig(t.Context(), id, func(config map[string]any) error {
				config["greeting"] = "kept"
				return nil
			}))
		}
		if !tt.absent {
			config, err := client.Plugins.Config(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, map[string]any{"greeting": "kept"}, config)
		}
	}
}

func TestEmbedded(t *testing.T) {
	t.Setenv("LANGBOT_URL", "")
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, "1.0.0", false))
	require.Contains(t, out.String(), "langbot-go/ensured 1.0.0 is initialized")
}
