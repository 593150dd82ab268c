package langbottest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot/internal/race"
	"github.com/langbot-go/langbot/langbottest"
)

// install starts an installation of acme/hello and returns its task.
func install(t *testing.T, srv *langbottest.Server) string {
	t.Helper()
	return fmt.Sprint(data(t, upload(t, srv, srv.APIKey, "file", "x.lbpkg", langbottest.Archive("acme", "hello", "1.0.0")))["task_id"])
}

// state is a task's, to a key.
func state(t *testing.T, srv *langbottest.Server, id string) string {
	t.Helper()
	return data(t, ask(t, srv, "GET", "/api/v1/system/tasks/"+id, srv.APIKey, "", nil))["status"].(string)
}

// slack is how much slower than what is promised a busy machine may be.
const slack = 3

// TestVirtualTimeCostsNothing: 90 seconds of an installation, and a day of another.
func TestVirtualTimeCostsNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		takes, every time.Duration
		most         time.Duration // of real time
	}{
		"90 seconds": {90 * time.Second, 2 * time.Second, 10 * time.Millisecond},
		"a day":      {24 * time.Hour, 5 * time.Second, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			took := time.Duration(math.MaxInt64)
			for try := 0; try < 5 && took > slack*tt.most && (try == 0 || !race.Enabled); try++ { // the machine may be busy
				began := time.Now()
				synctest.Test(t, func(t *testing.T) {
					srv := langbottest.New(t, langbottest.InMemory())
					srv.On(langbottest.AnyInstall, langbottest.Script{Steps: []langbottest.Step{{Action: "waiting for plugin initialization", For: tt.takes}}})
					id := install(t, srv)
					for range tt.takes / tt.every {
						require.Equal(t, "running", state(t, srv, id))
						time.Sleep(tt.every)
					}
					require.Equal(t, "succeeded", state(t, srv, id))
				})
				took = min(took, time.Since(began))
			}
			t.Logf("%v took %v", tt.takes, took)
			if !race.Enabled {
				require.Less(t, took, slack*tt.most)
			}
		})
	}
}

// TestManyServers: two hundred at a time.
func TestManyServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				srv := langbottest.New(t, langbottest.InMemory())
				id := install(t, srv)
				time.Sleep(time.Second)
				if got := state(t, srv, id); got != "succeeded" {
					t.Errorf("the task %s", got)
				}
			})
		}
		wg.Wait()
	})
}

// TestThousandInstalls on a socket, with ten polls each.
func TestThousandInstalls(t *testing.T) {
	if race.Enabled {
		t.Skip("times of a program that is watched say nothing")
	}
	srv := langbottest.New(t, langbottest.Version("4.10.6")) // which keeps any number of tasks running
	began := time.Now()
	for range 1000 {
		id := install(t, srv)
		for range 10 {
			require.Equal(t, 200, ask(t, srv, "GET", "/api/v1/system/tasks/"+id, srv.UserToken, "", nil).status)
		}
	}
	took := time.Since(began)
	t.Logf("1,000 installations with 10 polls each took %v", took)
	require.Less(t, took, slack*2*time.Second)
}

// BenchmarkInstall is one installation with ten polls.
func BenchmarkInstall(b *testing.B) {
	srv, err := langbottest.Start(langbottest.Version("4.10.6"))
	require.NoError(b, err)
	defer srv.Close()
	t := &testing.T{}
	for b.Loop() {
		id := install(t, srv)
		for range 10 {
			ask(t, srv, "GET", "/api/v1/system/tasks/"+id, srv.UserToken, "", nil)
		}
	}
}

// TestIdleServerHasNoGoroutines but the one that accepts connections.
func TestIdleServerHasNoGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	srv := langbottest.New(t)
	require.LessOrEqual(t, runtime.NumGoroutine(), before+1)
	_ = srv
}

// TestRestartAmongCallers: a restart, or a reset, while fifty ask. No reader sees half of it, and what ran before is never
// done.
func TestRestartAmongCallers(t *testing.T) {
	for name, again := range map[string]func(*langbottest.Server){"restart": (*langbottest.Server).Restart, "reset": (*langbottest.Server).Reset} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := langbottest.New(t, langbottest.InMemory())
				srv.AddPlugin(langbottest.Archive("acme", "one", "1"))
				srv.AddPlugin(langbottest.Archive("acme", "two", "1"))
				srv.On(langbottest.AnyInstall, langbottest.Script{Steps: []langbottest.Step{{For: time.Minute}, {Hold: true}}})
				install(t, srv)
				var wg sync.WaitGroup
				for range 50 {
					wg.Go(func() {
						for range 20 {
							got := ask(t, srv, "GET", "/api/v1/plugins", srv.APIKey, "", nil)
							if n := strings.Count(got.body, `"rel_path":"manifest.yaml"`); got.status == 200 && n != 0 && n != 2 {
								t.Errorf("%d of the two plugins", n)
							}
							time.Sleep(time.Millisecond)
						}
					})
				}
				time.Sleep(10 * time.Millisecond)
				again(srv)
				wg.Wait()
				time.Sleep(time.Hour)
				require.False(t, srv.Release(""), "a held operation of before")
				require.Empty(t, srv.Tasks())
				for _, p := range srv.Plugins() {
					require.NotEqual(t, "acme/hello", p.ID)
				}
				require.Equal(t, 200, ask(t, srv, "GET", "/api/v1/plugins", srv.APIKey, "", nil).status, "keys stay")
				require.Equal(t, 200, ask(t, srv, "GET", "/api/v1/plugins", srv.UserToken, "", nil).status, "and tokens")
				require.Equal(t, "12", install(t, srv), "ids begin again")
			})
		})
	}
}

// TestReadyTooEarly: info answers while the plugin runtime is not connected, and then the list is empty for a moment.
func TestReadyTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := langbottest.New(t, langbottest.InMemory())
		srv.AddPlugin(langbottest.Archive("acme", "hello", "1"))
		srv.RuntimeDown()
		list := func() string {
			got := ask(t, srv, "GET", "/api/v1/plugins", srv.APIKey, "", nil)
			if got.status != 200 {
				return fmt.Sprint(got.status)
			}
			return fmt.Sprint(len(data(t, got)["plugins"].([]any)))
		}
		seen := []string{list()}
		require.Equal(t, 200, ask(t, srv, "GET", "/api/v1/system/info", "", "", nil).status)
		srv.RuntimeUp()
		for range 200 {
			if now := list(); now != seen[len(seen)-1] {
				seen = append(seen, now)
			}
			time.Sleep(time.Millisecond)
		}
		require.Equal(t, []string{"500", "0", "1"}, seen)
		health := ask(t, srv, "GET", "/healthz", "", "", nil)
		require.Contains(t, health.body, `"plugin_runtime_connected":true`)
	})
}

// TestScriptsByPollsAndByHand: a step that is over after three looks, and one that the test ends.
func TestScriptsByPollsAndByHand(t *testing.T) {
	srv := langbottest.New(t)
	srv.On(langbottest.AnyInstall, langbottest.Script{Steps: []langbottest.Step{{Action: "storing plugin package", Polls: 3}, {Action: "waiting for plugin initialization", Hold: true}}})
	id := install(t, srv)
	action := func() string { return srv.Tasks()[0].Action }
	for range 2 {
		require.Equal(t, "running", state(t, srv, id))
		require.Equal(t, "storing plugin package", action())
	}
	state(t, srv, id)
	require.Equal(t, "waiting for plugin initialization", action())
	srv.Advance(time.Hour)
	require.Equal(t, "running", state(t, srv, id))
	require.False(t, srv.Release("DELETE /api/v1/plugins/{author}/{name}"))
	require.True(t, srv.Release(langbottest.AnyInstall))
	require.Equal(t, "succeeded", state(t, srv, id))
	srv.On(langbottest.AnyInstall, langbottest.Script{End: langbottest.Vanish})
	gone := data(t, upload(t, srv, srv.APIKey, "file", "x", langbottest.Archive("acme", "gone", "1")))["task_id"]
	srv.Advance(time.Minute)
	require.Equal(t, 404, ask(t, srv, "GET", fmt.Sprint("/api/v1/system/tasks/", gone), srv.APIKey, "", nil).status)
	require.Len(t, srv.Plugins(), 2, "the work is done all the same")
}

// TestJournal keeps no secrets, and says what it has dropped.
func TestJournal(t *testing.T) {
	tb := &recorder{}
	srv := langbottest.New(tb, langbottest.Credentials("a-long-api-key", "a@b.test", "a-long-password"))
	ask(t, srv, "POST", "/api/v1/user/auth", "", "application/json", []byte(`{"user":"a@b.test","password":"a-long-password"}`))
	srv.AddPlugin(langbottest.Archive("acme", "hello", "1"))
	ask(t, srv, "PUT", "/api/v1/plugins/acme/hello/config", "a-long-api-key", "application/json", []byte(`{"api_key":"a-long-secret","greeting":"`+strings.Repeat("x", 2000)+`"}`))
	kept, err := json.Marshal(srv.Calls(""))
	require.NoError(t, err)
	for _, secret := range []string{"a-long-api-key", "a-long-password", "a-long-secret", srv.UserToken} {
		require.NotContains(t, string(kept), secret)
	}
	config := srv.Calls("PUT /api/v1/plugins/{author}/{name}/config")[0]
	require.Equal(t, []any{2, "key", 200}, []any{config.Seq, config.By, config.Status})
	require.Greater(t, config.Bytes, 2000)
	require.Less(t, len(config.Body), 600)
	require.Len(t, config.Digest, 64)
	require.Empty(t, tb.errors)
	for range 10_001 {
		ask(t, srv, "GET", "/healthz", "", "", nil)
	}
	require.Len(t, srv.Calls("GET /healthz"), 10_000)
	require.Equal(t, []string{`langbottest: Calls("GET /healthz"): the first 1 of them are not kept any more`}, tb.errors)
	srv.Calls("PUT /api/v1/plugins/{author}/{name}/config")
	require.Len(t, tb.errors, 2)
	for _, cleanup := range tb.cleanups {
		cleanup()
	}
}

// TestPrivateNames: however they are written.
func TestPrivateNames(t *testing.T) {
	srv := langbottest.New(t)
	srv.AddPlugin(langbottest.Archive("acme", "hello", "1"))
	for _, name := range []string{"api_key", "OPENAI_API_KEY", "APIKey", "PASSWORD", "botToken", "Client-Secret", "sessionCookie"} {
		ask(t, srv, "PUT", "/api/v1/plugins/acme/hello/config?x=1&"+name+"=a-long-secret", srv.APIKey, "application/json", []byte(`{"`+name+`":"a-long-secret","author":"acme"}`))
	}
	kept, err := json.Marshal(srv.Calls(""))
	require.NoError(t, err)
	require.NotContains(t, string(kept), "a-long-secret")
	require.Contains(t, srv.Calls("")[0].Body, `"author":"acme"`)
	require.Equal(t, "x=1&api_key=***", srv.Calls("")[0].Query)
}

// TestExpect: LangBot says 100 to everybody.
func TestExpect(t *testing.T) {
	srv := langbottest.New(t)
	continued := false
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { continued = true }})
	req, err := http.NewRequestWithContext(ctx, "POST", srv.URL+"/api/v1/plugins/install/local", bytes.NewReader(make([]byte, 64)))
	require.NoError(t, err)
	req.Header.Set("Expect", "100-continue")
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 401, resp.StatusCode)
	require.True(t, continued)
}
