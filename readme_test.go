package langbot_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/langbottest"
)

// TestReadme: in each language, of a plugin without one, and of none.
func TestReadme(t *testing.T) {
	for _, version := range []string{"4.6.0", "4.9.4", "4.9.7", "4.10.6", "4.10.8", "4.11.2"} {
		t.Run(version, func(t *testing.T) {
			srv := langbottest.New(t, langbottest.Version(version))
			client, err := langbot.New(srv.URL, langbot.WithUserToken(srv.UserToken), langbot.WithRetry(langbot.RetryPolicy{BaseDelay: time.Millisecond, MaxDelay: time.Millisecond}))
			require.NoError(t, err)
			srv.AddPlugin(withFiles("", archives.File{Name: "README.md", Content: "# Demo\né\n"}, archives.File{Name: "readme/README_zh_Hans.md", Content: "# 演示\n"}))
			for lang, want := range map[string]string{"": "# Demo\né\n", "en": "# Demo\né\n", "zh_Hans": "# 演示\n", "xx": "# Demo\né\n"} {
				got, err := client.Plugins.Readme(t.Context(), demo, lang)
				require.NoError(t, err, lang)
				require.Equal(t, want, got, lang)
			}
			srv.AddPlugin(langbottest.Archive("acme", "bare", "1.0.0"))
			got, err := client.Plugins.Readme(t.Context(), langbot.PluginID{Author: "acme", Name: "bare"}, "")
			require.NoError(t, err)
			require.Empty(t, got)
			_, err = client.Plugins.Readme(t.Context(), langbot.PluginID{Author: "no", Name: "such"}, "")
			require.ErrorIs(t, err, langbot.ErrNotFound)
		})
	}
}
