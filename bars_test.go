package langbot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/race"
)

// The bars of this file are exact counts. They do not run under the race detector, nor beside other tests.

// canned answers every request with the same body, without a network.
type canned struct{ body []byte }

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	return &http.Response{
		StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: int64(len(c.body)), Body: io.NopCloser(bytes.NewReader(c.body)),
	}, nil
}

// wireEnvelope is what somebody would decode by hand.
type wireEnvelope struct {
	Code int    `json:"code"`
	Msg  string `json:"msg"`
	Data struct {
		TaskID int64 `json:"task_id"`
		N      int   `json:"n"`
	} `json:"data"`
}

// TestAllocations: what a call allocates beyond net/http, io.ReadAll and encoding/json by hand.
func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("counts exactly")
	}
	transport := canned{[]byte(`{"code":0,"data":{"task_id":7,"n":3},"msg":"ok"}` + "\n")}
	httpClient := &http.Client{Transport: transport}
	client, err := langbot.New("http://langbot.test", langbot.WithHTTPClient(httpClient), langbot.WithUserToken(userToken))
	require.NoError(t, err)
	ctx := context.Background()
	byHand := func(method string, in any) {
		var body io.Reader
		if in != nil {
			data, _ := json.Marshal(in)
			body = bytes.NewReader(data)
		}
		req, _ := http.NewRequestWithContext(ctx, method, "http://langbot.test/api/v1/x", body)
		req.Header.Set("Authorization", "Bearer "+userToken)
		if in != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := httpClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		data, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		var e wireEnvelope
		if json.Unmarshal(data, &e) != nil || e.Code != 0 {
			t.Fatal("not decoded")
		}
	}
	in := struct {
		Author string `json:"plugin_author"`
		Name   string `json:"plugin_name"`
		ID     string `json:"plugin_id"`
	}{"acme", "demo", "acme/demo"}
	get := testing.AllocsPerRun(2000, func() {
		if _, err := client.System.Info(ctx); err != nil {
			t.Fatal(err)
		}
	})
	getByHand := testing.AllocsPerRun(2000, func() { byHand("GET", nil) })
	post := testing.AllocsPerRun(2000, func() {
		if _, err := client.Plugins.InstallMarketplace(ctx, langbot.MarketplacePlugin{ID: demo}); err != nil {
			t.Fatal(err)
		}
	})
	postByHand := testing.AllocsPerRun(2000, func() { byHand("POST", in) })
	t.Logf("GET %v allocations, %v by hand: %+v; JSON POST %v, %v by hand: %+v", get, getByHand, get-getByHand, post, postByHand, post-postByHand)
	require.LessOrEqual(t, get-getByHand, 14.0)
	require.LessOrEqual(t, post-postByHand, 16.0)
}

// TestUploadMemory: an upload allocates the same little, whatever its size.
func TestUploadMemory(t *testing.T) {
	if race.Enabled {
		t.Skip("counts exactly")
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		writeJSON(w, 200, `{"code":0,"data":{"task_id":1}}`)
	}))
	defer srv.Close()
	client, err := langbot.New(srv.URL, langbot.WithUserToken(userToken), langbot.WithMaxUploadBytes(1<<30))
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	upload := func(size int64) uint64 {
		pkg := memory{id: demo, size: size, open: func() (io.ReadCloser, error) { return io.NopCloser(io.LimitReader(zeros{}, size)), nil }}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := client.Plugins.InstallLocal(t.Context(), pkg)
		require.NoError(t, err)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	upload(1 << 20) // warm
	for _, size := range []int64{1 << 20, 8 << 20, 64 << 20} {
		allocated := upload(size)
		t.Logf("upload of %d MiB: %d KiB allocated, client and test server together", size>>20, allocated>>10)
		require.LessOrEqual(t, allocated, uint64(256<<10))
	}
}

// TestConnections: 64 callers share about as many connections, also when some calls fail or are cancelled.
func TestConnections(t *testing.T) {
	if race.Enabled {
		t.Skip("counts exactly")
	}
	const callers, requests = 64, 10_000
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		call    func(*langbot.Client) error
		most    float64
	}{
		"all succeed": {most: 1.6},
		"1 in 100 fails": {most: 2,
			handler: func(w http.ResponseWriter, _ *http.Request) {
				writeJSON(w, 400, `{"code":-1,"msg":"`+strings.Repeat("no ", 5000)+`"}`)
			},
			call: func(client *langbot.Client) error {
				_, err := client.Plugins.List(context.Background())
				return err
			}},
		"1 in 100 is cancelled in back-off": {most: 2,
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "20")
				writeJSON(w, 503, `{"code":"x","msg":"later"}`)
			},
			call: func(client *langbot.Client) error {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				time.AfterFunc(20*time.Millisecond, cancel)
				_, err := client.Plugins.List(ctx)
				return err
			}},
	} {
		t.Run(name, func(t *testing.T) {
			var perCaller float64
			for range 3 { // on a busy machine net/http dials more than it needs at first: that is noise, and only ever adds
				perCaller = float64(connections(t, callers, requests, tt.handler, tt.call)) / callers
				t.Logf("%d callers, %d requests: %.2f connections a caller", callers, requests, perCaller)
				if perCaller <= tt.most {
					return
				}
			}
			require.LessOrEqual(t, perCaller, tt.most)
		})
	}
}

// connections counts what callers need for requests, of which one in a hundred is a call that meets handler.
func connections(t *testing.T, callers int, requests int64, handler http.HandlerFunc, call func(*langbot.Client) error) int64 {
	var conns, n atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handler != nil && r.URL.Path == "/api/v1/plugins" {
			handler(w, r)
			return
		}
		writeJSON(w, 200, `{"code":0,"data":{"version":"v4.11.2"}}`)
	}))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	client, err := langbot.New(srv.URL, langbot.WithUserToken(userToken))
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := n.Add(1); i <= requests; i = n.Add(1) {
				if i%100 == 0 && handler != nil {
					_ = call(client)
				} else if _, err := client.System.Info(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return conns.Load()
}
