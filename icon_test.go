package langbot_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/internal/race"
	"github.com/langbot-go/langbot/langbottest"
)

const svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"8\" height=\"8\"/>\n"

// withFiles is the archive of the demo plugin with more lines in its metadata, and more files.
func withFiles(metadata string, files ...archives.File) []byte {
	manifest := archives.Manifest("acme", "demo", `"1.0.0"`)
	manifest = string(bytes.Replace([]byte(manifest), []byte("metadata:\n"), []byte("metadata:\n"+metadata), 1))
	return archives.Zip(append([]archives.File{{Name: "manifest.yaml", Content: manifest}, {Name: "main.py", Content: archives.Code("pass")}}, files...)...)
}

// TestIcon: on every kind of release, with an icon, without one, and without the plugin.
func TestIcon(t *testing.T) {
	iconOp := "GET /api/v1/plugins/{author}/{name}/icon"
	for _, version := range []string{"4.6.0", "4.9.4", "4.10.6", "4.10.8", "4.11.2"} {
		t.Run(version, func(t *testing.T) {
			srv := langbottest.New(t, langbottest.Version(version))
			client, err := langbot.New(srv.URL, langbot.WithUserToken(srv.UserToken), langbot.WithRetry(langbot.RetryPolicy{BaseDelay: time.Millisecond, MaxDelay: time.Millisecond}))
			require.NoError(t, err)
			_, err = client.Plugins.Icon(t.Context(), langbot.PluginID{Author: "no", Name: "such"})
			require.ErrorIs(t, err, langbot.ErrNotFound)

			srv.AddPlugin(withFiles("  icon: icon.svg\n", archives.File{Name: "icon.svg", Content: svg}))
			icon, err := client.Plugins.Icon(t.Context(), demo)
			require.NoError(t, err)
			defer icon.Close()
			got, err := io.ReadAll(icon)
			require.NoError(t, err)
			require.Equal(t, svg, string(got))
			require.Equal(t, "image/svg+xml; charset=utf-8", icon.ContentType)
			require.EqualValues(t, len(svg), icon.Size)

			bare := langbot.PluginID{Author: "acme", Name: "bare"}
			srv.AddPlugin(langbottest.Archive(bare.Author, bare.Name, "1.0.0"))
			before := len(srv.Calls(iconOp))
			_, err = client.Plugins.Icon(t.Context(), bare)
			require.ErrorIs(t, err, langbot.ErrServer)
			require.ErrorContains(t, err, "names no icon")
			require.NotErrorIs(t, err, langbot.ErrNotFound)
			require.Len(t, srv.Calls(iconOp)[before:], 2, "repeated once at most")
			p, err := client.Plugins.Get(t.Context(), bare)
			require.NoError(t, err)
			require.Equal(t, langbot.PluginInitialized, p.Status, "nothing else is wrong")
		})
	}
}

// TestIconAnswers: what is no image is an error, and where several workspaces are, the credential is used.
func TestIconAnswers(t *testing.T) {
	typed := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if w.Header()["Content-Type"] = nil; contentType != "" {
				w.Header().Set("Content-Type", contentType)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	noAccess := typed(404, "application/json", `{"code":"resource_not_found","msg":"Resource not found"}`)
	there := `{"code":0,"data":{"plugin":` + listed("1.0.0", langbot.PluginInitialized)[1:]
	there = there[:len(there)-1] + "}}"
	for name, tt := range map[string]struct {
		public, authenticated http.HandlerFunc
		is                    error
		page                  bool
	}{
		"a page":          {public: typed(200, "text/html; charset=utf-8", "<html>"), page: true},
		"another type":    {public: typed(200, "application/json", `{"code":0,"data":{}}`), page: true},
		"no type":         {public: typed(200, "", "x"), page: true},
		"an empty answer": {public: typed(200, "", ""), page: true},
		"an empty image of unknown length": {public: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/png")
			_ = http.NewResponseController(w).Flush()
		}, page: true},
		"an image of unknown length": {public: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/png")
			_, _ = io.WriteString(w, "png")
			_ = http.NewResponseController(w).Flush()
		}},
		"an empty image":          {public: typed(200, "image/png", ""), page: true},
		"a failure":               {public: typed(500, "application/json", internal), is: langbot.ErrServer},
		"a gateway's failure":     {public: typed(502, "text/html", "<html>"), is: langbot.ErrServer, page: true},
		"several workspaces":      {public: noAccess, authenticated: typed(200, "image/png", "png")},
		"and no access there":     {public: noAccess, authenticated: noAccess, is: langbot.ErrForbidden},
		"and none of that plugin": {public: noAccess, authenticated: typed(404, "text/html; charset=utf-8", "Icon not found"), page: true},
		"a redirect":              {public: typed(302, "image/png", "x"), page: true},
	} {
		t.Run(name, func(t *testing.T) {
			mux := http.NewServeMux()
			mux.HandleFunc("GET /api/v1/plugins/acme/demo/icon", tt.public)
			if tt.authenticated != nil {
				mux.HandleFunc("GET /api/v1/plugins/acme/demo/authenticated-icon", func(w http.ResponseWriter, r *http.Request) {
					require.Equal(t, "Bearer "+userToken, r.Header.Get("Authorization"))
					tt.authenticated(w, r)
				})
			}
			mux.HandleFunc("GET /api/v1/plugins/acme/demo", typed(200, "application/json", there))
			mux.HandleFunc("GET /api/v1/plugins", typed(200, "application/json", `{"code":0,"data":{"plugins":`+listed("1.0.0", langbot.PluginInitialized)+`}}`))
			srv := httptest.NewServer(mux)
			defer srv.Close()
			client, err := langbot.New(srv.URL, langbot.WithUserToken(userToken), langbot.WithRetry(langbot.RetryPolicy{BaseDelay: 1, MaxDelay: 1}))
			require.NoError(t, err)
			defer client.CloseIdleConnections()
			icon, err := client.Plugins.Icon(t.Context(), demo)
			if tt.is == nil && !tt.page {
				require.NoError(t, err)
				got, err := io.ReadAll(icon)
				require.NoError(t, err)
				require.Equal(t, "png", string(got))
				require.NoError(t, icon.Close())
				return
			}
			require.Nil(t, icon)
			var page *langbot.ProtocolError
			require.Equal(t, tt.page, errors.As(err, &page), "%v", err)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
		})
	}
}

// streaming serves an icon of the given size, which is sent in two halves.
func streaming(t *testing.T, size int64, between func(), opts ...langbot.Option) *langbot.Client {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		_, _ = io.Copy(w, io.LimitReader(zeros{}, size/2))
		_ = http.NewResponseController(w).Flush()
		between()
		_, _ = io.Copy(w, io.LimitReader(zeros{}, size-size/2))
	}))
	t.Cleanup(srv.Close)
	client, err := langbot.New(srv.URL, append(opts, langbot.WithUserToken(userToken))...)
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// TestIconMemory: an icon of any size takes the same little memory.
func TestIconMemory(t *testing.T) {
	if race.Enabled {
		t.Skip("counts exactly")
	}
	read := func(size int64) uint64 {
		client := streaming(t, size, func() {}, langbot.WithMaxResponseBytes(1<<30))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		icon, err := client.Plugins.Icon(t.Context(), demo)
		require.NoError(t, err)
		n, err := io.Copy(io.Discard, icon)
		require.NoError(t, err)
		require.NoError(t, icon.Close())
		runtime.ReadMemStats(&after)
		require.Equal(t, size, n)
		return after.TotalAlloc - before.TotalAlloc
	}
	read(1 << 20) // warm
	for _, size := range []int64{1 << 20, 64 << 20} {
		allocated := read(size)
		t.Logf("icon of %d MiB: %d KiB allocated, client and test server together", size>>20, allocated>>10)
		require.LessOrEqual(t, allocated, uint64(256<<10))
	}
}

// TestIconEnds: what ends the reading, and what it says.
func TestIconEnds(t *testing.T) {
	t.Run("a length beyond the limit", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/png")
			w.Header().Set("Content-Length", "2048")
			_, _ = io.Copy(w, io.LimitReader(zeros{}, 2<<10))
		}))
		defer srv.Close()
		client, err := langbot.New(srv.URL, langbot.WithUserToken(userToken), langbot.WithMaxResponseBytes(1<<10))
		require.NoError(t, err)
		defer client.CloseIdleConnections()
		_, err = client.Plugins.Icon(t.Context(), demo)
		require.ErrorContains(t, err, "answer larger than 1024 bytes", "known before anything is passed on")
	})
	t.Run("the limit", func(t *testing.T) {
		client := streaming(t, 4<<10, func() {}, langbot.WithMaxResponseBytes(1<<10))
		icon, err := client.Plugins.Icon(t.Context(), demo)
		require.NoError(t, err)
		defer icon.Close()
		_, err = io.ReadAll(icon)
		require.ErrorContains(t, err, "answer larger than 1024 bytes")
	})
	for name, tt := range map[string]struct {
		opts []langbot.Option
		stop func(cancel func(), icon *langbot.Icon)
		is   error
	}{
		"the time of the attempt": {[]langbot.Option{langbot.WithRetry(langbot.RetryPolicy{AttemptTimeout: 50 * time.Millisecond})},
			func(func(), *langbot.Icon) {}, os.ErrDeadlineExceeded},
		"the caller's context": {nil, func(cancel func(), _ *langbot.Icon) { cancel() }, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			over := make(chan struct{})
			client := streaming(t, 4<<10, func() { <-over }, tt.opts...)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			icon, err := client.Plugins.Icon(ctx, demo)
			require.NoError(t, err)
			_, err = io.ReadFull(icon, make([]byte, 2<<10))
			require.NoError(t, err)
			tt.stop(cancel, icon)
			_, err = io.ReadAll(icon)
			require.ErrorIs(t, err, tt.is)
			require.NoError(t, icon.Close())
			close(over)
		})
	}
}
