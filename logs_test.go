package langbot_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/langbottest"
)

// logged starts a release with the demo plugin, whose log holds n lines of ours.
func logged(t *testing.T, version string, n int, opts ...langbottest.Option) (*langbottest.Server, *langbot.Client) {
	srv := langbottest.New(t, append(opts, langbottest.Version(version))...)
	client, err := langbot.New(srv.URL, langbot.WithUserToken(srv.UserToken), langbot.WithHTTPClient(srv.Client()),
		langbot.WithRetry(langbot.RetryPolicy{BaseDelay: time.Millisecond, MaxDelay: time.Millisecond}))
	require.NoError(t, err)
	srv.AddPlugin(langbottest.Archive("acme", "demo", "1.0.0"))
	for i := range n {
		srv.Log(demo.String(), []string{"DEBUG", "INFO", "WARNING", "ERROR"}[i%4], fmt.Sprint("line ", i))
	}
	return srv, client
}

func TestLogs(t *testing.T) {
	none := langbot.PluginID{Author: "no", Name: "such"}
	t.Run("4.10.6", func(t *testing.T) {
		_, client := logged(t, "4.10.6", 8)
		texts := func(filter langbot.LogFilter) (texts []string) {
			lines, err := client.Plugins.Logs(t.Context(), demo, filter)
			require.NoError(t, err)
			for _, line := range lines {
				require.WithinDuration(t, time.Now(), line.Time, time.Minute)
				texts = append(texts, line.Level+" "+line.Text)
			}
			return texts
		}
		require.Equal(t, []string{"WARNING line 6", "ERROR line 7"}, texts(langbot.LogFilter{Limit: 2}))
		require.Equal(t, []string{"ERROR line 3", "ERROR line 7"}, texts(langbot.LogFilter{Level: "ERROR"}))
		require.Greater(t, len(texts(langbot.LogFilter{})), 8)
		_, err := client.Plugins.Logs(t.Context(), none, langbot.LogFilter{})
		require.ErrorIs(t, err, langbot.ErrNotFound)
	})
	t.Run("more than the server tells by itself", func(t *testing.T) {
		_, client := logged(t, "4.10.6", 300)
		lines, err := client.Plugins.Logs(t.Context(), demo, langbot.LogFilter{})
		require.NoError(t, err)
		require.Greater(t, len(lines), 300)
	})
	for _, version := range []string{"4.10.8", "4.11.2"} {
		t.Run(version+" tells none", func(t *testing.T) {
			_, client := logged(t, version, 8)
			lines, err := client.Plugins.Logs(t.Context(), demo, langbot.LogFilter{})
			require.NoError(t, err)
			require.Empty(t, lines)
			_, err = client.Plugins.Logs(t.Context(), none, langbot.LogFilter{})
			require.ErrorIs(t, err, langbot.ErrNotFound)
		})
	}
	for _, version := range []string{"4.6.0", "4.10.0"} {
		t.Run(version+" has none", func(t *testing.T) {
			_, client := logged(t, version, 0, langbottest.AllowUnmatched())
			_, err := client.Plugins.Logs(t.Context(), demo, langbot.LogFilter{})
			var page *langbot.ProtocolError
			require.ErrorAs(t, err, &page)
		})
	}
	t.Run("refused before anything is sent", func(t *testing.T) {
		client, mock := mocked(t)
		for _, filter := range []langbot.LogFilter{{Limit: -1}, {Level: "LOUD"}, {Level: "info"}} {
			_, err := client.Plugins.Logs(t.Context(), demo, filter)
			require.ErrorIs(t, err, langbot.ErrInvalid)
		}
		require.Zero(t, mock.GetTotalCallCount())
	})
}

// TestFollowLogs: each line once and in order, across a restart of the plugin, a burst and a failure.
func TestFollowLogs(t *testing.T) {
	const op = "GET /api/v1/plugins/{author}/{name}/logs"
	synctest.Test(t, func(t *testing.T) {
		srv, client := logged(t, "4.10.6", 20, langbottest.InMemory())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var got []string
		written := 20
		write := func(n int) {
			for range n {
				srv.Log(demo.String(), "ERROR", fmt.Sprint("line ", written))
				written++
			}
		}
		var end error
		for line, err := range client.Plugins.FollowLogs(ctx, demo, langbot.LogFilter{Limit: 2, Level: "ERROR"}) {
			if err != nil {
				end = err
				break
			}
			got = append(got, line.Text)
			switch line.Text {
			case "line 19":
				write(3)
			case "line 22":
				srv.Fault(op, langbottest.Status(http.StatusBadGateway), langbottest.First(3))
				write(600) // of which the server keeps all
			case "line 622":
				srv.AddPlugin(langbottest.Archive("acme", "demo", "1.0.1")) // its log begins anew
				write(2)
			}
			if len(got) == 2+3+600+2 {
				cancel()
			}
		}
		require.ErrorIs(t, end, context.Canceled)
		want := []string{"line 15", "line 19"}
		for i := 20; i < written; i++ {
			want = append(want, fmt.Sprint("line ", i))
		}
		require.Equal(t, want, got)
	})
	t.Run("a plugin that goes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv, client := logged(t, "4.11.2", 0, langbottest.InMemory())
			time.AfterFunc(3*time.Second, func() {
				_, _ = client.Plugins.Delete(t.Context(), demo, langbot.DeleteOptions{})
			})
			began, n := time.Now(), 0
			for _, err := range client.Plugins.FollowLogs(t.Context(), demo, langbot.LogFilter{}) {
				require.ErrorIs(t, err, langbot.ErrNotFound)
				require.InDelta(t, 36, time.Since(began).Seconds(), 6, "absent for Polling.Settle")
				n++
			}
			require.Equal(t, 1, n)
			require.Empty(t, srv.Plugins())
		})
	})
	t.Run("a failure that lasts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv, client := logged(t, "4.10.6", 1, langbottest.InMemory())
			n := 0
			for _, err := range client.Plugins.FollowLogs(t.Context(), demo, langbot.LogFilter{Limit: 1}) {
				if n++; n == 1 {
					require.NoError(t, err)
					srv.Fault(op, langbottest.Status(http.StatusInternalServerError))
					continue
				}
				require.ErrorIs(t, err, langbot.ErrServer, "though the plugin runs")
			}
			require.Equal(t, 2, n)
		})
	})
	t.Run("leaving the loop ends it", func(t *testing.T) {
		srv, client := logged(t, "4.10.6", 3)
		for range client.Plugins.FollowLogs(t.Context(), demo, langbot.LogFilter{}) {
			break
		}
		require.Len(t, srv.Calls(op), 1)
	})
	t.Run("no such plugin", func(t *testing.T) {
		_, client := logged(t, "4.10.6", 0)
		n := 0
		for _, err := range client.Plugins.FollowLogs(t.Context(), langbot.PluginID{Author: "no", Name: "such"}, langbot.LogFilter{}) {
			require.ErrorIs(t, err, langbot.ErrNotFound)
			n++
		}
		require.Equal(t, 1, n)
	})
}
