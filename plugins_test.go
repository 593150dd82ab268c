package langbot_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/langbottest"
	"github.com/langbot-go/langbot/lbpkg"
)

// pack makes a package that installs.
func pack(t *testing.T, author, name, version string) *lbpkg.Package {
	t.Helper()
	pkg, err := lbpkg.Parse(archives.Zip(archives.Plugin(`"`+author+`"`, `"`+name+`"`, `"`+version+`"`)...))
	require.NoError(t, err)
	return pkg
}

// connect returns a client of srv with its API key, unless opts say otherwise.
func connect(t *testing.T, srv *langbottest.Server, opts ...langbot.Option) *langbot.Client {
	t.Helper()
	all := append([]langbot.Option{langbot.WithHTTPClient(srv.Client()), langbot.WithAPIKey(srv.APIKey)}, opts...)
	client, err := langbot.New(srv.URL, all...)
	require.NoError(t, err)
	return client
}

var demo = langbot.PluginID{Author: "acme", Name: "demo"}

func TestInstallListAndDelete(t *testing.T) {
	for name, credential := range map[string]func(*langbottest.Server) langbot.Option{
		"by key":   func(s *langbottest.Server) langbot.Option { return langbot.WithAPIKey(s.APIKey) },
		"by token": func(s *langbottest.Server) langbot.Option { return langbot.WithUserToken(s.UserToken) },
		"by login": func(s *langbottest.Server) langbot.Option { return langbot.WithLogin(s.Email, s.Password) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := langbottest.New(t, langbottest.InMemory())
				client := connect(t, srv, credential(srv))
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()

				op, err := client.Plugins.InstallLocal(ctx, pack(t, "acme", "demo", "1.0.0"))
				require.NoError(t, err)
				done, err := op.Wait(ctx)
				require.NoError(t, err)
				require.Equal(t, demo, done.Plugin.ID)
				require.Equal(t, "1.0.0", done.Plugin.Version)
				require.Equal(t, langbot.PluginInitialized, done.Plugin.Status)
				require.Equal(t, langbot.TaskSucceeded, done.Task.State)

				plugins, err := client.Plugins.List(ctx)
				require.NoError(t, err)
				require.Len(t, plugins, 1)
				require.Equal(t, done.Plugin, plugins[0])
				require.Equal(t, "Demo", plugins[0].Label.In("en"))

				op, err = client.Plugins.Delete(ctx, demo, langbot.DeleteOptions{Data: true})
				require.NoError(t, err)
				_, err = op.Wait(ctx)
				require.NoError(t, err)
				_, err = client.Plugins.Get(ctx, demo)
				require.ErrorIs(t, err, langbot.ErrNotFound)
				require.Empty(t, srv.Plugins())
			})
		})
	}
}
