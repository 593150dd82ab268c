package langbot_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
)

// everyMethod calls each method that makes a request.
var everyMethod = map[string]func(context.Context, *langbot.Client) error{
	"Plugins.List": func(ctx context.Context, c *langbot.Client) error { _, err := c.Plugins.List(ctx); return err },
	"Plugins.Get":  func(ctx context.Context, c *langbot.Client) error { _, err := c.Plugins.Get(ctx, demo); return err },
	"Plugins.Delete": func(ctx context.Context, c *langbot.Client) error {
		_, err := c.Plugins.Delete(ctx, demo, langbot.DeleteOptions{})
		return err
	},
	"Plugins.InstallLocal": func(ctx context.Context, c *langbot.Client) error {
		_, err := c.Plugins.InstallLocal(ctx, memory{id: demo, data: []byte("x")})
		return err
	},
	"Plugins.InstallGitHub": func(ctx context.Context, c *langbot.Client) error {
		_, err := c.Plugins.InstallGitHub(ctx, langbot.GitHubAsset{Owner: "a", Repo: "b", ReleaseTag: "c"})
		return err
	},
	"Plugins.InstallMarketplace": func(ctx context.Context, c *langbot.Client) error {
		_, err := c.Plugins.InstallMarketplace(ctx, langbot.MarketplacePlugin{ID: demo})
		return err
	},
	"Plugins.Upgrade": func(ctx context.Context, c *langbot.Client) error { _, err := c.Plugins.Upgrade(ctx, demo); return err },
	"Plugins.Preview": func(ctx context.Context, c *langbot.Client) error {
		_, err := c.Plugins.Preview(ctx, memory{id: demo, data: []byte("x")})
		return err
	},
	"Plugins.Config": func(ctx context.Context, c *langbot.Client) error { _, err := c.Plugins.Config(ctx, demo); return err },
	"Plugins.SetConfig": func(ctx context.Context, c *langbot.Client) error {
		return c.Plugins.SetConfig(ctx, demo, map[string]any{})
	},
	"Plugins.UpdateConfig": func(ctx context.Context, c *langbot.Client) error {
		return c.Plugins.UpdateConfig(ctx, demo, func(map[string]any) error { return nil })
	},
	"Plugins.Readme": func(ctx context.Context, c *langbot.Client) error {
		_, err := c.Plugins.Readme(ctx, demo, "")
		return err
	},
	"Plugins.Icon": func(ctx context.Context, c *langbot.Client) error { _, err := c.Plugins.Icon(ctx, demo); return err },
	"Plugins.Logs": func(ctx context.Context, c *langbot.Client) error {
		_, err := c.Plugins.Logs(ctx, demo, langbot.LogFilter{})
		return err
	},
	"Plugins.FollowLogs": func(ctx context.Context, c *langbot.Client) error {
		for _, err := range c.Plugins.FollowLogs(ctx, demo, langbot.LogFilter{}) {
			return err
		}
		return nil
	},
	"Plugins.WaitReady": func(ctx context.Context, c *langbot.Client) error {
		_, err := c.Plugins.WaitReady(ctx, demo, "")
		return err
	},
	"Plugins.Ensure": func(ctx context.Context, c *langbot.Client) error {
		_, err := c.Plugins.Ensure(ctx, langbot.Spec{Package: memory{id: demo, data: []byte("x")}})
		return err
	},
	"Plugins.EnsureAbsent": func(ctx context.Context, c *langbot.Client) error {
		_, err := c.Plugins.EnsureAbsent(ctx, langbot.AbsentSpec{ID: demo})
		return err
	},
	"System.WaitReady": func(ctx context.Context, c *langbot.Client) error { return c.System.WaitReady(ctx) },
	"Plugins.GitHubReleases": func(ctx context.Context, c *langbot.Client) error {
		_, err := c.Plugins.GitHubReleases(ctx, "a", "b")
		return err
	},
	"Plugins.GitHubReleaseAssets": func(ctx context.Context, c *langbot.Client) error {
		_, err := c.Plugins.GitHubReleaseAssets(ctx, langbot.GitHubRelease{Owner: "a", Repo: "b", ID: 1})
		return err
	},
	"Tasks.Get": func(ctx context.Context, c *langbot.Client) error { _, err := c.Tasks.Get(ctx, 0); return err },
	"Tasks.List": func(ctx context.Context, c *langbot.Client) error {
		_, err := c.Tasks.List(ctx, langbot.TaskFilter{})
		return err
	},
	"System.Info": func(ctx context.Context, c *langbot.Client) error { _, err := c.System.Info(ctx); return err },
	"Call":        func(ctx context.Context, c *langbot.Client) error { return c.Call(ctx, "POST", "/api/v1/x", nil, nil) },
}

// TestEveryMethod: the table is complete.
func TestEveryMethod(t *testing.T) {
	var client langbot.Client
	names := []string{"Call"}
	for name, service := range map[string]any{"Plugins": client.Plugins, "Tasks": client.Tasks, "System": client.System} {
		for i := range reflect.TypeOf(service).NumMethod() {
			names = append(names, name+"."+reflect.TypeOf(service).Method(i).Name)
		}
	}
	require.ElementsMatch(t, names, append(slices.Collect(maps.Keys(everyMethod)), "Tasks.Resume")) // which makes no request
}

// impatient has what waits give up at once.
var impatient = langbot.WithPolling(langbot.Polling{Interval: time.Millisecond, Tolerance: time.Millisecond, Settle: time.Millisecond, Hidden: time.Millisecond})

// A closeWatch tells whether a body was closed.
type closeWatch struct {
	io.Reader
	closed *int
}

func (c closeWatch) Close() error { *c.closed++; return nil }

// TestBadRoundTrippers: whatever a RoundTripper returns, a method returns an error, never panics, and closes the body.
func TestBadRoundTrippers(t *testing.T) {
	boom := errors.New("boom")
	for name, tt := range map[string]func(closed *int) (*http.Response, error){
		"no response, an error": func(*int) (*http.Response, error) { return nil, boom },
		"nothing":               func(*int) (*http.Response, error) { return nil, nil },
		"both": func(closed *int) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: closeWatch{strings.NewReader("x"), closed}}, boom
		},
		"no body": func(*int) (*http.Response, error) { return &http.Response{StatusCode: 200, Header: http.Header{}}, nil },
		"no header": func(closed *int) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: closeWatch{strings.NewReader("{}"), closed}}, nil
		},
		"a body that fails": func(closed *int) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: closeWatch{io.MultiReader(strings.NewReader("{"), errReader{boom}), closed}}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			for method, call := range everyMethod {
				opened, closed := 0, 0
				client, err := langbot.New("http://langbot.test", langbot.WithUserToken(userToken), langbot.WithRetry(langbot.RetryPolicy{BaseDelay: 1, MaxDelay: 1}), impatient,
					langbot.WithHTTPClient(&http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
						resp, err := tt(&closed)
						if resp != nil && resp.Body != nil {
							opened++
						}
						return resp, err
					})}))
				require.NoError(t, err)
				require.Error(t, call(t.Context(), client), method)
				require.Equal(t, opened, closed, "%s: bodies closed", method)
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// TestClientTimeout: a caller's http.Client with a Timeout bounds each attempt; it is not the caller's deadline.
func TestClientTimeout(t *testing.T) {
	for _, when := range []string{"before the headers", "after the headers"} {
		t.Run(when, func(t *testing.T) {
			var requests atomic.Int64
			inBubble(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if requests.Add(1) == 1 {
					if when == "after the headers" {
						w.Header().Set("Content-Type", "application/json")
						w.WriteHeader(200)
						w.(http.Flusher).Flush()
					}
					<-r.Context().Done()
					return
				}
				writeJSON(w, 200, `{"code":0,"data":{"plugins":[],"task_id":1}}`)
			}, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
				client := newClient(langbot.WithRetry(langbot.RetryPolicy{AttemptTimeout: 100 * time.Millisecond}))
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				_, err := client.Plugins.List(ctx)
				require.NoError(t, err)
				require.EqualValues(t, 2, requests.Load())

				requests.Store(0)
				_, err = client.Plugins.Delete(ctx, demo, langbot.DeleteOptions{})
				require.ErrorIs(t, err, langbot.ErrOutcomeUnknown)
				require.NotErrorIs(t, err, context.DeadlineExceeded)
				require.NoError(t, ctx.Err())
				require.EqualValues(t, 1, requests.Load())

				requests.Store(0)
				short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				_, err = client.Plugins.Delete(short, demo, langbot.DeleteOptions{})
				require.ErrorIs(t, err, langbot.ErrOutcomeUnknown)
				require.ErrorIs(t, err, context.DeadlineExceeded)
			})
		})
	}
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer srv.Close()
	client, err := langbot.New(srv.URL, langbot.WithHTTPClient(&http.Client{Timeout: 50 * time.Millisecond}), langbot.WithRetry(langbot.RetryPolicy{Attempts: 1}))
	require.NoError(t, err)
	_, err = client.System.Info(t.Context())
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
	require.NotErrorIs(t, err, context.DeadlineExceeded)
}

// TestUnpackedSizeCounts: a small gzip answer must not fill the memory, and an error page in gzip is readable.
func TestUnpackedSizeCounts(t *testing.T) {
	var bomb, small bytes.Buffer
	w := gzip.NewWriter(&bomb)
	_, _ = w.Write([]byte(`{"code":0,"data":"`))
	_, _ = io.CopyN(w, zeros{}, 60<<20)
	require.NoError(t, w.Close())
	require.Less(t, bomb.Len(), 100<<10)
	w = gzip.NewWriter(&small)
	_, _ = w.Write([]byte("<html>Bad gateway of the proxy"))
	require.NoError(t, w.Close())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		if strings.HasSuffix(r.URL.Path, "info") {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write(small.Bytes())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(bomb.Bytes())
	}))
	defer srv.Close()
	client, err := langbot.New(srv.URL, langbot.WithUserToken(userToken))
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	_, err = client.Plugins.List(t.Context())
	require.ErrorContains(t, err, "answer larger than 33554432 bytes")
	_, err = client.System.Info(t.Context())
	require.ErrorContains(t, err, "Bad gateway of the proxy")

	limited, err := client.With(langbot.WithMaxResponseBytes(10))
	require.NoError(t, err)
	_, err = limited.Plugins.List(t.Context())
	require.ErrorContains(t, err, "answer larger than 10 bytes")

	limited, err = client.With(langbot.WithMaxResponseBytes(1 << 20))
	require.NoError(t, err)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = limited.Plugins.List(t.Context())
	runtime.ReadMemStats(&after)
	require.ErrorContains(t, err, "answer larger than")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20), "what is over the limit is not read")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

// TestProxies: a company's proxy in between.
func TestProxies(t *testing.T) {
	through := func(t *testing.T, proxy string) *langbot.Client {
		transport := langbot.NewTransport()
		transport.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy) }
		client, err := langbot.New("http://langbot:5300", langbot.WithUserToken(userToken), langbot.WithHTTPClient(&http.Client{Transport: transport}),
			langbot.WithRetry(langbot.RetryPolicy{BaseDelay: 1, MaxDelay: 1}))
		require.NoError(t, err)
		t.Cleanup(client.CloseIdleConnections)
		return client
	}
	t.Run("unreachable", func(t *testing.T) {
		err := calls["task"](t, through(t, "http://user:proxy-password@127.0.0.1:1"))
		require.NotErrorIs(t, err, langbot.ErrOutcomeUnknown)
		require.ErrorContains(t, err, "4 attempts")
		noSecret(t, err, "proxy-password")
	})
	for status, want := range map[int]outcome{504: {0, langbot.ErrOutcomeUnknown}, 407: {0, errProtocol}} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			requests := 0
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				requests++
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(status)
				_, _ = io.WriteString(w, "<html>proxy")
			}))
			defer proxy.Close()
			address := strings.Replace(proxy.URL, "//", "//user:proxy-password@", 1)
			err := calls["task"](t, through(t, address))
			want.check(t, err)
			require.ErrorContains(t, err, "NO_PROXY")
			require.Equal(t, 1, requests)
			noSecret(t, err, "proxy-password")
		})
	}
}

// TestGetOfAbsentPlugin: ErrNotFound on every release, and nothing else is taken for it.
func TestGetOfAbsentPlugin(t *testing.T) {
	for name, tt := range map[string]struct {
		one, list httpmock.Responder
		is        error
		not       error
	}{
		"404":                      {one: answered(404, `{"code":-1,"msg":"plugin not found"}`), is: langbot.ErrNotFound},
		"500, and not in the list": {one: answered(500, `{"code":"internal_error","msg":"Internal server error"}`), list: answered(200, `{"code":0,"data":{"plugins":[]}}`), is: langbot.ErrNotFound},
		"500, but in the list":     {one: answered(500, `{"code":"internal_error","msg":"x"}`), list: answered(200, `{"code":0,"data":{"plugins":`+listed("1.0.0", "initialized")+`}}`)},
		"500, and the list fails":  {one: answered(500, `{"code":"internal_error","msg":"x"}`), list: answered(500, `{"code":"internal_error","msg":"x"}`), is: langbot.ErrServer, not: langbot.ErrNotFound},
		"no access":                {one: answered(404, `{"code":"resource_not_found","msg":"Resource not found"}`), is: langbot.ErrForbidden, not: langbot.ErrNotFound},
		"no such route":            {one: httpmock.NewStringResponder(404, "<html>").HeaderSet(http.Header{"Content-Type": {"text/html"}}), not: langbot.ErrNotFound},
		"another 404":              {one: answered(404, `{"code":"gone","msg":"x"}`), not: langbot.ErrNotFound},
		"no plugin in the answer":  {one: answered(200, `{"code":0,"data":{"plugin":null}}`), not: langbot.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			client, mock := mocked(t)
			mock.RegisterResponder("GET", "/api/v1/plugins/acme/demo", tt.one)
			if tt.list != nil {
				mock.RegisterResponder("GET", "/api/v1/plugins", tt.list)
			}
			p, err := client.Plugins.Get(t.Context(), demo)
			if tt.is == nil && tt.not == nil {
				require.NoError(t, err)
				require.Equal(t, demo, p.ID)
				return
			}
			require.Error(t, err)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
			if tt.not != nil {
				require.NotErrorIs(t, err, tt.not)
			}
		})
	}
}

// TestNoAccess: an account without membership gets the same 404 everywhere. It is neither an absent plugin nor a reason
// to log in again.
func TestNoAccess(t *testing.T) {
	client, mock := mocked(t, langbot.WithLogin("a@b.c", "password-1"))
	mock.RegisterResponder("POST", "/api/v1/user/auth", answered(200, `{"code":0,"data":{"token":"`+userToken+`"}}`))
	mock.RegisterNoResponder(answered(404, `{"code":"resource_not_found","msg":"Resource not found"}`))
	for name, call := range everyMethod {
		if name == "System.Info" || name == "Call" || name == "Plugins.InstallGitHub" {
			continue
		}
		err := call(t.Context(), client)
		require.ErrorIs(t, err, langbot.ErrForbidden, name)
		require.NotErrorIs(t, err, langbot.ErrNotFound, name)
	}
	require.Equal(t, 1, mock.GetCallCountInfo()["POST /api/v1/user/auth"])
}

func TestDecodePlugins(t *testing.T) {
	for name, tt := range map[string]struct {
		wire string
		want langbot.Plugin
	}{
		"nothing known": {`{}`, langbot.Plugin{}},
		"flat, before 4.3": {`{"name":"demo","author":"acme","version":"1","label":{"en_US":"Demo"},"status":"initialized","enabled":true,"priority":0}`,
			langbot.Plugin{ID: demo, Version: "1", Label: langbot.Text{"en_US": "Demo"}, Status: "initialized"}},
		"numbers for texts": {`{"manifest":{"manifest":{"metadata":{"author":7,"name":"demo","version":1.0}}},"status":"paused"}`,
			langbot.Plugin{ID: langbot.PluginID{Author: "7", Name: "demo"}, Version: "1.0", Status: "paused", Manifest: []byte(`{"metadata":{"author":7,"name":"demo","version":1.0}}`)}},
		"odd types": {`{"manifest":[],"status":null,"debug":"yes","install_source":null,"components":null,"install_info":null}`, langbot.Plugin{InstallInfo: []byte("null")}},
		"labels": {`{"manifest":{"manifest":{"metadata":{"author":"acme","name":"demo","label":"Plain","description":{"en_US":3,"zh_Hans":null}}}}}`,
			langbot.Plugin{ID: demo, Label: langbot.Text{"": "Plain"}, Description: langbot.Text{"en_US": "3", "zh_Hans": ""},
				Manifest: []byte(`{"metadata":{"author":"acme","name":"demo","label":"Plain","description":{"en_US":3,"zh_Hans":null}}}`)}},
		"an id that no URL reaches": {`{"manifest":{"manifest":{"metadata":{"author":"bad","name":"a/b"}}}}`,
			langbot.Plugin{ID: langbot.PluginID{Author: "bad", Name: "a/b"}, Manifest: []byte(`{"metadata":{"author":"bad","name":"a/b"}}`)}},
		"components": {`{"debug":true,"install_source":"github","components":[{"manifest":{"manifest":{"kind":"Tool","metadata":{"name":"echo"}}}},{}]}`,
			langbot.Plugin{Debug: true, Source: "github", Components: []langbot.Component{{Kind: "Tool", Name: "echo"}, {}}}},
	} {
		t.Run(name, func(t *testing.T) {
			client, mock := mocked(t)
			mock.RegisterNoResponder(answered(200, `{"code":0,"msg":"ok","data":{"plugins":[`+tt.wire+`]}}`))
			plugins, err := client.Plugins.List(t.Context())
			require.NoError(t, err)
			require.Equal(t, []langbot.Plugin{tt.want}, plugins)
		})
	}
}

func TestTextIn(t *testing.T) {
	text := langbot.Text{"en_US": "Hello", "zh_Hans": "你好", "zh_Hant": "妳好"}
	for lang, want := range map[string]string{"en_US": "Hello", "zh-Hant": "妳好", "zh": "你好", "zh_TW": "你好", "fr": "Hello", "": "Hello", "en": "Hello"} {
		require.Equal(t, want, text.In(lang), lang)
	}
	require.Equal(t, "Bonjour", langbot.Text{"fr_FR": "Bonjour"}.In("de"))
	require.Equal(t, "plain", langbot.Text{"": "plain"}.In("de"))
	require.Empty(t, langbot.Text(nil).In("en"))
}

func TestPluginID(t *testing.T) {
	_, err := langbot.ParsePluginID("")
	require.ErrorIs(t, err, langbot.ErrInvalid)
	for _, bad := range []string{"a", "a/", "/b", "a//b", "a/b/c", " a/b", "a/b ", "a/.", "../b", "a/\x00", "a/b\n", "a/\xff"} {
		_, err := langbot.ParsePluginID(bad)
		require.ErrorIs(t, err, langbot.ErrInvalid, "%q", bad)
		var id langbot.PluginID
		require.Error(t, id.UnmarshalText([]byte(bad)), "%q", bad)
		require.Zero(t, id)
	}
	var held struct{ ID langbot.PluginID }
	require.NoError(t, json.Unmarshal([]byte(`{"ID":"acme/de mo"}`), &held))
	require.Equal(t, langbot.PluginID{Author: "acme", Name: "de mo"}, held.ID)
	data, err := json.Marshal(langbot.OutcomeUnknownError{})
	require.NoError(t, err)
	var back langbot.OutcomeUnknownError
	require.NoError(t, json.Unmarshal(data, &back), "a zero id can be read back")
	data, err = json.Marshal(map[langbot.PluginID]int{held.ID: 1})
	require.NoError(t, err)
	require.JSONEq(t, `{"acme/de mo":1}`, string(data))
}

// TestPaths: every segment is escaped, and a path prefix stays.
func TestPaths(t *testing.T) {
	var seen string
	mock := httpmock.NewMockTransport()
	mock.RegisterNoResponder(func(r *http.Request) (*http.Response, error) {
		seen = r.URL.String()
		return answered(404, `{"code":-1,"msg":"plugin not found"}`)(r)
	})
	for base, prefix := range map[string]string{"http://langbot.test": "", "http://langbot.test/": "", "http://langbot.test/a%20b/": "/a%20b"} {
		client, err := langbot.New(base, langbot.WithHTTPClient(&http.Client{Transport: mock}), langbot.WithUserToken(userToken))
		require.NoError(t, err)
		for name, want := range map[string]string{"a%2Fb": "a%252Fb", "a?b": "a%3Fb", "a#b": "a%23b", `a\b`: "a%5Cb", "名": "%E5%90%8D", "a b": "a%20b", "100%": "100%25", "{name}": "%7Bname%7D"} {
			_, err = client.Plugins.Get(t.Context(), langbot.PluginID{Author: "x;y", Name: name})
			require.ErrorIs(t, err, langbot.ErrNotFound)
			require.Equal(t, "http://langbot.test"+prefix+"/api/v1/plugins/x%3By/"+want, seen)
		}
		_, err = client.Plugins.Delete(t.Context(), demo, langbot.DeleteOptions{Data: true})
		require.ErrorIs(t, err, langbot.ErrNotFound)
		require.Equal(t, "http://langbot.test"+prefix+"/api/v1/plugins/acme/demo?delete_data=true", seen)
	}
}

func TestCall(t *testing.T) {
	client, mock := mocked(t)
	var body, seen string
	mock.RegisterNoResponder(func(r *http.Request) (*http.Response, error) {
		seen, body = r.Method+" "+r.URL.RequestURI(), ""
		if r.Body != nil {
			data, _ := io.ReadAll(r.Body)
			body = r.Header.Get("Content-Type") + " " + string(data)
		}
		return answered(200, `{"code":0,"data":{"n":12345678901234567890,"list":[1]}}`)(r)
	})
	var out struct{ N json.Number }
	require.NoError(t, client.Call(t.Context(), "PUT", "/api/v1/x%2Fy?limit=5", map[string]int{"a": 1}, &out))
	require.Equal(t, `PUT /api/v1/x%2Fy?limit=5`, seen)
	require.Equal(t, `application/json {"a":1}`, body)
	require.Equal(t, "12345678901234567890", out.N.String())
	require.NoError(t, client.Call(t.Context(), "GET", "/api/v1/x", nil, nil))
	require.Empty(t, body)

	var wrong struct{ List string }
	err := client.Call(t.Context(), "GET", "/api/v1/x?secret=hidden", nil, &wrong)
	var shape *json.UnmarshalTypeError
	require.ErrorAs(t, err, &shape)
	require.ErrorContains(t, err, "GET /api/v1/x: the answer does not fit")
	require.NotContains(t, err.Error(), "hidden")
	before := mock.GetTotalCallCount()
	for _, bad := range [][2]string{{"GET", "api/v1/x"}, {"GET", "http://other.test/x"}, {"GET", "//other.test/x"}, {"get", "/x"}, {"", "/x"}, {"HEAD", "/x"}, {"CONNECT", "/x"}, {"PO ST", "/x"}, {"DELETE /X HTTP/1.1\r\nA: B\r\nPOST", "/x"}, {"GET", "/x#y"}, {"GET", "/%zz"}} {
		require.ErrorIs(t, client.Call(t.Context(), bad[0], bad[1], nil, nil), langbot.ErrInvalid, "%v", bad)
	}
	require.ErrorIs(t, client.Call(t.Context(), "POST", "/x", func() {}, nil), langbot.ErrInvalid)
	require.Equal(t, before, mock.GetTotalCallCount())
}

func TestInfo(t *testing.T) {
	for body, want := range map[string]langbot.Info{
		`{"version":"v4.11.2","edition":"community","limitation":{"max_extensions":20,"max_bots":-1,"max_pipelines":"3","max_knowledge_bases":null}}`: {
			Version: "4.11.2", Edition: "community", Limits: langbot.Limits{Extensions: 20, Bots: -1, Pipelines: 3, KnowledgeBases: -1}},
		`{"version":"v4.6.0"}`: {Version: "4.6.0", Limits: langbot.Limits{Extensions: -1, Bots: -1, Pipelines: -1, KnowledgeBases: -1}},
	} {
		mock := httpmock.NewMockTransport()
		mock.RegisterResponder("GET", "/api/v1/system/info", func(r *http.Request) (*http.Response, error) {
			require.Empty(t, r.Header.Get("Authorization"))
			return answered(200, `{"code":0,"data":`+body+`}`)(r)
		})
		client, err := langbot.New("http://langbot.test", langbot.WithHTTPClient(&http.Client{Transport: mock}))
		require.NoError(t, err)
		info, err := client.System.Info(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, info)
	}
}

// TestLogFields: the log holds what it says it holds, and nothing else.
func TestLogFields(t *testing.T) {
	var log bytes.Buffer
	client, mock := mocked(t, langbot.WithLogger(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	mock.RegisterNoResponder(answered(502, `{"code":-2,"msg":"a secret of the server"}`))
	_, err := client.Plugins.Get(t.Context(), langbot.PluginID{Author: "hidden", Name: "hidden"})
	require.Error(t, err)
	allowed := map[string]bool{"time": true, "level": true, "msg": true, "op": true, "attempts": true, "attempt": true, "duration": true, "status": true,
		"error": true, "wait": true, "reason": true}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, lines, 4, "three repetitions and the call")
	for _, line := range lines {
		var record map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &record))
		for field := range record {
			require.True(t, allowed[field], field)
		}
		require.Equal(t, "DEBUG", record["level"])
		require.Equal(t, "GET /api/v1/plugins/{author}/{name}", record["op"])
	}
	require.NotContains(t, log.String(), "secret")
	require.NotContains(t, log.String(), "hidden")
}

// TestListTasks: filters, both shapes, and servers that ignore the kind.
func TestListTasks(t *testing.T) {
	client, mock := mocked(t)
	query := ""
	mock.RegisterResponder("GET", "=~^http://langbot.test/api/v1/system/tasks$", func(r *http.Request) (*http.Response, error) {
		query = r.URL.RawQuery
		return answered(200, `{"code":0,"data":{"tasks":[`+running+`,{"id":0,"task_type":"user","kind":"other","status":"failed","error":{"type":"task_failed","message":"Task execution failed"},"result":null,"created_at":1.5}]}}`)(r)
	})
	for want, filter := range map[string]langbot.TaskFilter{"type=user": {}, "type=system": {Type: "system"}, "": {Type: "all"}} {
		tasks, err := client.Tasks.List(t.Context(), filter)
		require.NoError(t, err)
		require.Equal(t, want, query)
		require.Len(t, tasks, 2)
		require.Equal(t, langbot.TaskRunning, tasks[0].State)
		require.Equal(t, langbot.Task{ID: 0, Type: "user", Kind: "other", State: langbot.TaskFailed, Message: "Task execution failed", Created: time.UnixMicro(1500000)}, tasks[1])
	}
	tasks, err := client.Tasks.List(t.Context(), langbot.TaskFilter{Kind: "plugin-operation"})
	require.NoError(t, err)
	require.Equal(t, "kind=plugin-operation&type=user", query)
	require.Len(t, tasks, 1)
	_, err = client.Tasks.List(t.Context(), langbot.TaskFilter{Type: "mine"})
	require.ErrorIs(t, err, langbot.ErrInvalid)
}

// TestHints: what an answer that is none probably means, and what to do.
func TestHints(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		header http.Header
		body   string
		want   string
	}{
		"to https":          {301, http.Header{"Location": {"https://langbot.test/api/v1/plugins?token=x"}}, "", "use https://langbot.test as base URL"},
		"to a prefix":       {308, http.Header{"Location": {"/bot/api/v1/plugins"}}, "", "use http://langbot.test/bot as base URL"},
		"to a login":        {302, http.Header{"Location": {"//sso.test/login"}}, "", "use http://sso.test/login as base URL"},
		"nowhere":           {302, http.Header{}, "", "a redirect, which is never followed"},
		"the web interface": {200, http.Header{"Content-Type": {"text/html; charset=utf-8"}}, "<!doctype html>", "a web page: is the base URL that of LangBot itself?"},
		"no such route":     {404, http.Header{"Content-Type": {"text/html"}}, "<html>", "no such route"},
		"a gateway":         {502, http.Header{"Content-Type": {"text/html"}}, "<html>", "NO_PROXY"},
		"empty":             {200, http.Header{"Content-Type": {"application/json"}}, "", "empty"},
		"cut":               {200, http.Header{"Content-Type": {"application/json"}}, `{"code":0`, "broken"},
		"another API":       {200, http.Header{"Content-Type": {"application/json"}}, `{"status":"up"}`, "another shape"},
		"plain text":        {200, http.Header{"Content-Type": {"text/plain"}}, `{"code":0,"data":{"plugins":[]}}`, "is the base URL that of LangBot?"},
	} {
		t.Run(name, func(t *testing.T) {
			client, mock := mocked(t, langbot.WithRetry(langbot.RetryPolicy{Attempts: 1}))
			mock.RegisterNoResponder(httpmock.NewStringResponder(tt.status, tt.body).HeaderSet(tt.header))
			_, err := client.Plugins.List(t.Context())
			var page *langbot.ProtocolError
			require.ErrorAs(t, err, &page)
			require.Contains(t, page.Hint, tt.want)
			require.NotContains(t, err.Error(), "token=x")
			require.Equal(t, tt.status, page.StatusCode)
			require.Equal(t, 1, page.Attempts)
		})
	}
}
