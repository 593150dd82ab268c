package langbot_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/race"
	"github.com/langbot-go/langbot/langbottest"
)

// A fake answers what a test says, for the situations that a well-behaved server never shows.
type fake struct {
	began   time.Time
	polls   atomic.Int64 // of a task
	creates atomic.Int64
	task    func(n int, after time.Duration) (status int, body string)
	plugins func(after time.Duration) (status int, body string) // of the list; one plugin is looked up in it
	tasks   string                                              // what a key gets for any task, if not what task says
	version string
	health  func(after time.Duration) string // of /healthz, in place of what a server up to 4.10.7 tells
	date    func() time.Time
}

const (
	running     = `{"id":5,"task_type":"user","kind":"plugin-operation","name":"plugin-install-local","created_at":1795467543.135,"runtime":{"done":false,"state":"PENDING","exception":null}}`
	succeeded   = `{"id":5,"task_type":"user","kind":"plugin-operation","name":"plugin-install-local","created_at":1795467543.135,"runtime":{"done":true,"state":"FINISHED","exception":null}}`
	failedEmpty = `{"id":5,"task_type":"user","kind":"plugin-operation","name":"plugin-install-local","created_at":1795467543.135,"runtime":{"done":true,"state":"FINISHED","exception":""}}`
)

// listed is a list with the demo plugin in some version and status; without a version it is empty.
func listed(version string, status langbot.PluginStatus) string {
	if version == "" {
		return `[]`
	}
	return `[{"status":"` + string(status) + `","manifest":{"manifest":{"metadata":{"author":"acme","name":"demo","version":"` + version + `"}}}}]`
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	if f.began.IsZero() {
		f.began = time.Now()
	}
	after := time.Since(f.began)
	if f.date != nil {
		w.Header().Set("Date", f.date().UTC().Format(http.TimeFormat))
	}
	switch {
	case r.Method != "GET":
		_, _ = io.Copy(io.Discard, r.Body)
		f.creates.Add(1)
		writeJSON(w, 200, `{"code":0,"data":{"task_id":5}}`)
	case strings.HasPrefix(r.URL.Path, "/api/v1/system/tasks") && f.tasks != "":
		writeJSON(w, 401, f.tasks)
	case strings.HasPrefix(r.URL.Path, "/api/v1/system/tasks/"):
		respond(w)(f.task(int(f.polls.Add(1)), after))
	case strings.HasPrefix(r.URL.Path, "/api/v1/system/info"):
		writeJSON(w, 200, `{"code":0,"data":{"version":"v`+f.version+`"}}`)
	case r.URL.Path == "/healthz" && f.health == nil:
		writeJSON(w, 200, `{"code":0,"msg":"ok"}`)
	case r.URL.Path == "/healthz":
		respond(w)(200, f.health(after))
	case r.URL.Path == "/api/v1/plugins":
		status, list := f.plugins(after)
		if status == 200 {
			list = `{"code":0,"data":{"plugins":` + list + `}}`
		}
		respond(w)(status, list)
	default:
		f.one(w, after)
	}
}

// one answers for one plugin from the list.
func (f *fake) one(w http.ResponseWriter, after time.Duration) {
	status, list := f.plugins(after)
	var plugins []json.RawMessage
	if status == 200 {
		_ = json.Unmarshal([]byte(list), &plugins)
		if len(plugins) == 0 {
			status, list = 404, `{"code":-1,"msg":"plugin not found"}`
		} else {
			list = `{"code":0,"data":{"plugin":` + string(plugins[0]) + `}}`
		}
	}
	respond(w)(status, list)
}

func respond(w http.ResponseWriter) func(int, string) {
	return func(status int, body string) {
		switch {
		case status == 0:
			panic(http.ErrAbortHandler)
		case body == "":
			w.Header()["Content-Type"] = nil
			w.WriteHeader(status)
		case body[0] == '<':
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		case strings.Contains(body, `"code"`):
			writeJSON(w, status, body)
		default:
			writeJSON(w, status, `{"code":0,"data":`+body+`}`)
		}
	}
}

// until is a task that ends after d.
func until(d time.Duration, end string) func(int, time.Duration) (int, string) {
	return func(_ int, after time.Duration) (int, string) {
		if after < d {
			return 200, running
		}
		return 200, end
	}
}

func always(version string, status langbot.PluginStatus) func(time.Duration) (int, string) {
	return func(time.Duration) (int, string) { return 200, listed(version, status) }
}

// TestPace is the bar of a wait: how many polls it costs, and how soon it sees the end. In virtual time.
func TestPace(t *testing.T) {
	for _, tt := range []struct {
		length time.Duration
		most   int64
	}{{0, 1}, {time.Second, 4}, {60 * time.Second, 40}, {180 * time.Second, 65}, {600 * time.Second, 150}} {
		t.Run(tt.length.String(), func(t *testing.T) {
			f := &fake{task: until(tt.length, succeeded), plugins: always("1.0.0", langbot.PluginInitialized)}
			inBubble(t, f.serve, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
				op, err := newClient().Plugins.InstallLocal(t.Context(), memory{id: demo, data: []byte("x")})
				require.NoError(t, err)
				_, err = op.Wait(t.Context())
				require.NoError(t, err)
				late := time.Since(f.began) - tt.length
				t.Logf("a wait of %v: %d polls, its end seen %v late", tt.length, f.polls.Load(), late)
				require.LessOrEqual(t, f.polls.Load(), tt.most)
				require.LessOrEqual(t, late, min(max(tt.length*11/100, 550*time.Millisecond), 5500*time.Millisecond))
			})
		})
	}
}

func TestWait(t *testing.T) {
	bad := func(status int) string { return "<html>" + strconv.Itoa(status) }
	ready := always("1.0.0", langbot.PluginInitialized)
	for name, tt := range map[string]struct {
		fake  *fake
		check func(*testing.T, langbot.Outcome, error)
		after time.Duration // least time it takes
		until time.Duration // most
	}{
		"first poll fails, then it is done": {
			fake: &fake{plugins: ready, task: func(n int, _ time.Duration) (int, string) {
				if n == 1 {
					return 502, bad(502)
				}
				return 200, succeeded
			}},
			check: succeeds, until: time.Second},
		"every poll fails": {
			fake: &fake{plugins: ready, task: func(int, time.Duration) (int, string) { return 502, bad(502) }},
			check: func(t *testing.T, _ langbot.Outcome, err error) {
				var page *langbot.ProtocolError
				require.ErrorAs(t, err, &page)
				require.Equal(t, 502, page.StatusCode)
				waitError(t, err)
			}, after: 30 * time.Second, until: 36 * time.Second},
		"every second poll fails for ten minutes": {
			fake: &fake{plugins: ready, task: func(n int, after time.Duration) (int, string) {
				if n%2 == 0 {
					return 502, bad(502)
				}
				return until(10*time.Minute, succeeded)(n, after)
			}},
			check: succeeds, after: 10 * time.Minute, until: 11 * time.Minute},
		"refused in the middle": {
			fake: &fake{plugins: ready, task: func(n int, after time.Duration) (int, string) {
				if n == 5 {
					return 401, `{"code":"invalid_authentication","msg":"no"}`
				}
				return 200, running
			}},
			check: func(t *testing.T, _ langbot.Outcome, err error) {
				require.ErrorIs(t, err, langbot.ErrUnauthorized)
				require.Equal(t, langbot.TaskRunning, waitError(t, err).Task.State)
			}, until: 5 * time.Second},
		"no longer LangBot": {
			fake:  &fake{plugins: ready, task: func(int, time.Duration) (int, string) { return 200, bad(200) }},
			check: func(t *testing.T, _ langbot.Outcome, err error) { waitError(t, err) }},
		"black-out of a minute": {
			fake: &fake{plugins: ready, task: func(_ int, after time.Duration) (int, string) {
				if after > 5*time.Second {
					return 0, ""
				}
				return 200, running
			}},
			check: func(t *testing.T, _ langbot.Outcome, err error) {
				require.Equal(t, langbot.TaskRunning, waitError(t, err).Task.State)
				require.NotErrorIs(t, err, langbot.ErrTaskLost)
			}, after: 30 * time.Second, until: 45 * time.Second},
		"exception without text": {
			fake: &fake{plugins: ready, task: until(time.Second, failedEmpty)}, until: 2 * time.Second,
			check: func(t *testing.T, _ langbot.Outcome, err error) {
				require.ErrorContains(t, taskError(t, err), "gave no reason")
			}},
		"success, and the plugin never shows": { // LangBot up to 4.9.6, for a package that dies at its start
			fake: &fake{plugins: always("", ""), task: until(0, succeeded)},
			check: func(t *testing.T, _ langbot.Outcome, err error) {
				require.ErrorIs(t, err, langbot.ErrNoEffect)
				require.NotErrorIs(t, err, langbot.ErrNotFound)
				require.Equal(t, langbot.TaskSucceeded, waitError(t, err).Task.State)
			}, after: 30 * time.Second, until: 34 * time.Second},
		"success, and the plugin shows late": {
			fake: &fake{task: until(0, succeeded), plugins: func(after time.Duration) (int, string) {
				if after < 20*time.Second {
					return 200, listed("", "")
				}
				return 200, listed("1.0.0", langbot.PluginInitialized)
			}},
			check: succeeds, after: 20 * time.Second, until: 23 * time.Second},
		"mounted is not initialized": {
			fake: &fake{plugins: always("1.0.0", langbot.PluginMounted), task: until(0, succeeded)},
			check: func(t *testing.T, _ langbot.Outcome, err error) {
				require.ErrorIs(t, err, langbot.ErrNoEffect)
				require.Equal(t, langbot.PluginMounted, waitError(t, err).Plugin.Status)
			}, after: 30 * time.Second, until: 34 * time.Second},
		"another version": {
			fake: &fake{plugins: always("2.0.0", langbot.PluginInitialized), task: until(0, succeeded)},
			check: func(t *testing.T, _ langbot.Outcome, err error) {
				require.ErrorIs(t, err, langbot.ErrNoEffect)
				require.ErrorContains(t, err, "2.0.0")
				require.ErrorContains(t, err, "1.0.0")
			}, after: 30 * time.Second, until: 34 * time.Second},
		"reads fail after the success": {
			fake: &fake{task: until(0, succeeded), plugins: func(after time.Duration) (int, string) {
				if after < 25*time.Second {
					return 500, `{"code":"internal_error","msg":"Internal server error"}`
				}
				return 200, listed("1.0.0", langbot.PluginInitialized)
			}},
			check: succeeds, after: 25 * time.Second, until: 29 * time.Second},
		"task forgotten": {
			fake: &fake{plugins: ready, task: func(n int, _ time.Duration) (int, string) {
				if n > 2 {
					return 404, `{"code":404,"msg":"Task not found"}`
				}
				return 200, running
			}},
			check: lost, until: 3 * time.Second},
		"the number belongs to another task": {
			fake: &fake{plugins: ready, task: func(n int, _ time.Duration) (int, string) {
				if n > 2 {
					return 200, strings.Replace(succeeded, "1795467543.135", "1795467999.001", 1)
				}
				return 200, running
			}},
			check: lost, until: 3 * time.Second},
		"another number": {
			fake:  &fake{plugins: ready, task: func(int, time.Duration) (int, string) { return 200, strings.Replace(succeeded, `"id":5`, `"id":6`, 1) }},
			check: lost},
		"another kind of task": {
			fake: &fake{plugins: ready, task: func(int, time.Duration) (int, string) {
				return 200, strings.Replace(succeeded, "plugin-install-local", "plugin-remove-demo", 1)
			}},
			check: lost},
		"a system task": {
			fake: &fake{plugins: ready, task: func(int, time.Duration) (int, string) {
				return 200, strings.Replace(succeeded, `"user"`, `"system"`, 1)
			}},
			check: lost},
		"cancelled": {
			fake: &fake{plugins: ready, task: func(int, time.Duration) (int, string) { return 500, "" }},
			check: func(t *testing.T, _ langbot.Outcome, err error) {
				require.Equal(t, langbot.TaskCancelled, taskError(t, err).Task.State)
			}, until: time.Second},
		"an empty answer in passing": {
			fake: &fake{plugins: ready, task: func(n int, after time.Duration) (int, string) {
				if n == 2 {
					return 500, ""
				}
				return until(3*time.Second, succeeded)(n, after)
			}},
			check: succeeds, until: 4 * time.Second},
		"texts for numbers": {
			fake: &fake{plugins: ready, task: func(int, time.Duration) (int, string) {
				return 200, `{"id":"5","task_type":"user","created_at":"1.5","runtime":{"done":true,"exception":null},"task_context":{"metadata":[]}}`
			}},
			check: succeeds},
		"no task in the answer": {
			fake:  &fake{plugins: ready, task: func(int, time.Duration) (int, string) { return 200, `{"id":5}` }},
			check: func(t *testing.T, _ langbot.Outcome, err error) { waitError(t, err) }},
		"the server answers with another plugin": {
			fake: &fake{task: until(0, succeeded), plugins: func(time.Duration) (int, string) {
				return 200, strings.Replace(listed("1.0.0", langbot.PluginInitialized), "demo", "other", 1)
			}},
			check: func(t *testing.T, _ langbot.Outcome, err error) { require.ErrorIs(t, err, langbot.ErrNoEffect) },
			after: 30 * time.Second, until: 34 * time.Second},
		"a speed that is no number": {
			fake: &fake{plugins: ready, task: func(n int, after time.Duration) (int, string) {
				status, body := until(2*time.Second, succeeded)(n, after)
				return status, strings.TrimSuffix(body, "}") + `,"task_context":{"current_action":"NaN","metadata":{"download_speed":NaN,"download_total":-Infinity}}}`
			}},
			check: succeeds, until: 3 * time.Second},
		"a state of the future": {
			fake: &fake{plugins: ready, task: func(n int, after time.Duration) (int, string) {
				if after < 2*time.Second {
					return 200, `{"id":5,"task_type":"user","status":"queued","created_at":1}`
				}
				return 200, `{"id":5,"task_type":"user","status":"succeeded","created_at":1}`
			}},
			check: succeeds, after: 2 * time.Second, until: 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, tt.fake.serve, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
				op, err := newClient().Plugins.InstallLocal(t.Context(), memory{id: demo, data: []byte("x")})
				require.NoError(t, err)
				began := time.Now()
				done, err := op.Wait(t.Context())
				tt.check(t, done, err)
				require.GreaterOrEqual(t, time.Since(began), tt.after)
				require.LessOrEqual(t, time.Since(began), tt.until)
				require.EqualValues(t, 1, tt.fake.creates.Load(), "requests that make a task")
				if err != nil {
					require.Zero(t, done.Plugin)
				}
			})
		})
	}
}

func succeeds(t *testing.T, done langbot.Outcome, err error) {
	require.NoError(t, err)
	require.Equal(t, demo, done.Plugin.ID)
	require.Equal(t, langbot.TaskSucceeded, done.Task.State)
}

func lost(t *testing.T, _ langbot.Outcome, err error) {
	require.ErrorIs(t, err, langbot.ErrTaskLost)
	require.Equal(t, demo, waitError(t, err).Plugin.ID, "how the plugin stands is all there is to judge by")
}

func waitError(t *testing.T, err error) *langbot.WaitError {
	var ended *langbot.WaitError
	require.ErrorAs(t, err, &ended)
	var failed *langbot.TaskError
	require.False(t, errors.As(err, &failed))
	return ended
}

func taskError(t *testing.T, err error) *langbot.TaskError {
	var failed *langbot.TaskError
	require.ErrorAs(t, err, &failed)
	return failed
}

// TestStalledPoll: one poll that is never answered does not end a wait, of the task or of the plugin.
func TestStalledPoll(t *testing.T) {
	for _, route := range []string{"/api/v1/system/tasks/5", "/api/v1/plugins/acme/demo"} {
		f := &fake{task: until(20*time.Second, succeeded), plugins: always("1.0.0", langbot.PluginInitialized)}
		asked := 0
		inBubble(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == route {
				if asked++; asked == 1 {
					<-r.Context().Done()
					return
				}
			}
			f.serve(w, r)
		}, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
			op, err := newClient().Plugins.InstallLocal(t.Context(), memory{id: demo, data: []byte("x")})
			require.NoError(t, err)
			done, err := op.Wait(t.Context())
			succeeds(t, done, err)
			require.Less(t, time.Since(f.began), time.Minute)
		})
	}
}

// TestWaitResumesAfterBlackout: the operation can be taken up where the wait ended.
func TestWaitResumesAfterBlackout(t *testing.T) {
	f := &fake{plugins: always("1.0.0", langbot.PluginInitialized)}
	f.task = func(n int, after time.Duration) (int, string) {
		if after > time.Second && after < time.Minute {
			return 0, ""
		}
		return until(90*time.Second, succeeded)(n, after)
	}
	inBubble(t, f.serve, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
		op, err := newClient().Plugins.InstallLocal(t.Context(), memory{id: demo, data: []byte("x")})
		require.NoError(t, err)
		_, err = op.Wait(t.Context())
		waitError(t, err)
		time.Sleep(30 * time.Second) // virtual
		resumed, err := newClient().Tasks.Resume(op.Token())
		require.NoError(t, err)
		done, err := resumed.Wait(t.Context())
		succeeds(t, done, err)
	})
}

// TestTokenBeforeFirstPoll: without a time of creation seen, the server's clock of the request decides.
func TestTokenBeforeFirstPoll(t *testing.T) {
	created := time.UnixMicro(1795467543135000)
	for name, tt := range map[string]struct {
		clock time.Time
		lost  bool
	}{
		"the same clock":      {created, false},
		"a minute off":        {created.Add(59 * time.Second), false},
		"made an hour before": {created.Add(-time.Hour), true},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{task: until(0, succeeded), plugins: always("1.0.0", langbot.PluginInitialized), date: func() time.Time { return tt.clock }}
			inBubble(t, f.serve, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
				op, err := newClient().Plugins.InstallLocal(t.Context(), memory{id: demo, data: []byte("x")})
				require.NoError(t, err)
				before := op.Token()
				resumed, err := newClient().Tasks.Resume(before)
				require.NoError(t, err)
				_, err = resumed.Wait(t.Context())
				require.Equal(t, tt.lost, errors.Is(err, langbot.ErrTaskLost), err)
				_, err = op.Wait(t.Context()) // who made it trusts its first poll
				require.NoError(t, err)
				require.NotEqual(t, before, op.Token(), "the token knows the time of creation now")
			})
		})
	}
}

func TestResumeRefuses(t *testing.T) {
	client, err := langbot.New("http://langbot.test", langbot.WithAPIKey("k"))
	require.NoError(t, err)
	for _, token := range []string{"", "x", "lbop1.", "lbop1.!", "lbop1.e30", "lbop1.eyJzIjoiaHR0cDovL290aGVyIiwiayI6Imluc3RhbGwifQ",
		"lbop1.eyJzIjoiaHR0cDovL2xhbmdib3QudGVzdCIsImsiOiJkZWxldGUifQ"} {
		_, err := client.Tasks.Resume(token)
		require.ErrorIs(t, err, langbot.ErrInvalid, token)
	}
}

// TestHiddenTasks: an API key on a server before 4.10.11. What was listed before, what is listed after so many seconds,
// and what may be said of it.
func TestHiddenTasks(t *testing.T) {
	type state struct {
		version string
		status  langbot.PluginStatus
	}
	none, initialized := state{}, langbot.PluginInitialized
	for name, tt := range map[string]struct {
		server  string
		before  state
		later   map[time.Duration]state
		failing [2]time.Duration // reads fail from, to
		remove  bool
		market  bool // ask for any version
		upgrade bool
		ok      bool
		after   time.Duration
		until   time.Duration
	}{
		"first install":                       {later: map[time.Duration]state{2 * time.Second: {"1.0.0", initialized}}, ok: true, after: 2 * time.Second, until: 3 * time.Second},
		"higher version":                      {before: state{"0.9.0", initialized}, later: map[time.Duration]state{2 * time.Second: {"1.0.0", initialized}}, ok: true, until: 3 * time.Second},
		"lower version":                       {before: state{"1.10.0", initialized}, later: map[time.Duration]state{2 * time.Second: {"1.0.0", initialized}}, ok: true, until: 3 * time.Second},
		"same version":                        {before: state{"1.0.0", initialized}},
		"same version, starting":              {before: state{"1.0.0", langbot.PluginMounted}, later: map[time.Duration]state{time.Second: {"1.0.0", initialized}}},
		"mounted proves nothing":              {later: map[time.Duration]state{time.Second: {"1.0.0", langbot.PluginMounted}, 20 * time.Second: none}, after: 5 * time.Minute, until: 306 * time.Second},
		"absence proves nothing":              {before: state{"0.9.0", initialized}, later: map[time.Duration]state{time.Second: none}, after: 5 * time.Minute, until: 306 * time.Second},
		"another version":                     {later: map[time.Duration]state{time.Second: {"2.0.0", initialized}}, after: 5 * time.Minute, until: 306 * time.Second},
		"any version, a new plugin":           {market: true, later: map[time.Duration]state{time.Second: {"7", initialized}}, ok: true, until: 2 * time.Second},
		"any version, another than before":    {market: true, before: state{"6", initialized}, later: map[time.Duration]state{time.Second: {"7", initialized}}, ok: true, until: 2 * time.Second},
		"any version, the same as before":     {market: true, before: state{"7", initialized}, after: 5 * time.Minute, until: 306 * time.Second},
		"upgrade":                             {upgrade: true, before: state{"6", initialized}, later: map[time.Duration]state{time.Second: none, 2 * time.Second: {"7", initialized}}, ok: true, after: 2 * time.Second, until: 3 * time.Second},
		"upgrade to the same version":         {upgrade: true, before: state{"7", initialized}, later: map[time.Duration]state{time.Second: none, 2 * time.Second: {"7", initialized}}, after: 5 * time.Minute, until: 306 * time.Second},
		"upgrade of what was not listed":      {upgrade: true},
		"removal":                             {server: "4.10.6", remove: true, before: state{"1.0.0", initialized}, later: map[time.Duration]state{time.Second: none}, ok: true, after: 6 * time.Second, until: 8 * time.Second},
		"removal, absent in passing":          {server: "4.10.6", remove: true, before: state{"1.0.0", initialized}, later: map[time.Duration]state{time.Second: none, 4 * time.Second: {"1.0.0", initialized}}, after: 5 * time.Minute, until: 306 * time.Second},
		"removal, reads fail while absent":    {server: "4.10.6", remove: true, before: state{"1.0.0", initialized}, later: map[time.Duration]state{time.Second: none}, failing: [2]time.Duration{4 * time.Second, 10 * time.Second}, ok: true, after: 15 * time.Second, until: 18 * time.Second},
		"removal of what was not listed":      {server: "4.10.6", remove: true},
		"removal where reading would wedge":   {server: "4.10.9", remove: true, before: state{"1.0.0", initialized}, later: map[time.Duration]state{time.Second: none}},
		"removal on a server without version": {server: "", remove: true, before: state{"1.0.0", initialized}, later: map[time.Duration]state{time.Second: none}},
		"reads fail for long":                 {later: map[time.Duration]state{50 * time.Second: {"1.0.0", initialized}}, failing: [2]time.Duration{2 * time.Second, 49 * time.Second}, after: 30 * time.Second, until: 40 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{tasks: `{"code":"invalid_authentication","msg":"no"}`, version: tt.server}
			lists := 0
			f.plugins = func(after time.Duration) (int, string) {
				lists++
				if f.creates.Load() == 0 {
					return 200, listed(tt.before.version, tt.before.status)
				}
				if after >= tt.failing[0] && after < tt.failing[1] {
					return 500, `{"code":-2,"msg":"Connection closed during send"}`
				}
				now, at := tt.before, time.Duration(-1)
				for from, s := range tt.later {
					if from <= after && from > at {
						now, at = s, from
					}
				}
				return 200, listed(now.version, now.status)
			}
			inBubble(t, f.serve, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
				client := newClient(langbot.WithAPIKey("lbk_key"))
				var op *langbot.Operation
				var err error
				switch {
				case tt.remove:
					op, err = client.Plugins.Delete(t.Context(), demo, langbot.DeleteOptions{})
				case tt.upgrade:
					op, err = client.Plugins.Upgrade(t.Context(), demo)
				case tt.market:
					op, err = client.Plugins.InstallMarketplace(t.Context(), langbot.MarketplacePlugin{ID: demo})
				default:
					op, err = client.Plugins.InstallLocal(t.Context(), memory{id: demo, data: []byte("x")})
				}
				require.NoError(t, err)
				listsBefore := lists
				op, err = client.Tasks.Resume(op.Token()) // all that is needed travels
				require.NoError(t, err)
				began := time.Now()
				done, err := op.Wait(t.Context())
				require.GreaterOrEqual(t, time.Since(began), tt.after)
				require.LessOrEqual(t, time.Since(began), tt.until)
				require.Zero(t, done.Task)
				switch {
				case tt.ok:
					require.NoError(t, err)
					require.Equal(t, tt.remove, done.Plugin.ID == langbot.PluginID{})
				case tt.failing[0] > 0:
					require.ErrorIs(t, err, langbot.ErrServer)
					waitError(t, err)
				default:
					require.ErrorIs(t, err, langbot.ErrTasksHidden)
					waitError(t, err)
					if tt.until == 0 {
						require.Equal(t, listsBefore, lists, "it looked though there was nothing to see")
					}
				}
			})
		})
	}
}

// TestHiddenTaskRoutes: what is asked of tasks says at once that they are hidden, unless the key is simply wrong.
func TestHiddenTaskRoutes(t *testing.T) {
	f := &fake{tasks: `{"code":-1,"msg":"Not enough segments"}`, plugins: always("", "")}
	inBubble(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer wrong" {
			writeJSON(w, 401, `{"code":-1,"msg":"Invalid authentication credentials"}`)
			return
		}
		f.serve(w, r)
	}, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
		client := newClient(langbot.WithAPIKey("lbk_key"))
		_, err := client.Tasks.Get(t.Context(), 0)
		require.ErrorIs(t, err, langbot.ErrTasksHidden)
		_, err = client.Tasks.List(t.Context(), langbot.TaskFilter{})
		require.ErrorIs(t, err, langbot.ErrTasksHidden)
		op, err := client.Plugins.InstallGitHub(t.Context(), langbot.GitHubAsset{Owner: "a", Repo: "b", ReleaseTag: "c", ReleaseID: 1, AssetID: 2, AssetURL: "https://github.com/x"})
		require.NoError(t, err)
		_, err = op.Wait(t.Context())
		require.ErrorIs(t, err, langbot.ErrTasksHidden)
		require.ErrorContains(t, err, "GitHub release")
		f.creates.Store(0)
		client = newClient(langbot.WithAPIKey("wrong"))
		_, err = client.Tasks.Get(t.Context(), 0)
		require.ErrorIs(t, err, langbot.ErrUnauthorized)
		require.NotErrorIs(t, err, langbot.ErrTasksHidden)
		_, err = client.Plugins.Delete(t.Context(), demo, langbot.DeleteOptions{})
		require.ErrorIs(t, err, langbot.ErrUnauthorized)
		require.Zero(t, f.creates.Load(), "nothing is changed with a wrong key")
	})
}

// TestTasksAreAskedForOnce: a credential that has seen tasks is not asked again.
func TestTasksAreAskedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := langbottest.New(t, langbottest.InMemory())
		client := connect(t, srv)
		for _, version := range []string{"1.0.0", "1.1.0"} {
			op, err := client.Plugins.InstallLocal(t.Context(), pack(t, "acme", "demo", version))
			require.NoError(t, err)
			_, err = op.Wait(t.Context())
			require.NoError(t, err)
		}
		asked := 0
		for _, c := range srv.Calls("GET /api/v1/system/tasks/{id}") {
			if c.Path == "/api/v1/system/tasks/0" {
				asked++
			}
		}
		require.Equal(t, 1, asked)
		require.Empty(t, srv.Calls("GET /api/v1/plugins"), "no list is needed where tasks are shown")
	})
}

func TestWaitReady(t *testing.T) {
	for name, tt := range map[string]struct {
		plugins func(time.Duration) (int, string)
		version string
		err     error
		until   time.Duration
	}{
		"there":                   {plugins: always("1.0.0", langbot.PluginInitialized), until: 0},
		"in the version":          {plugins: always("1.0.0", langbot.PluginInitialized), version: "1.0.0"},
		"another version":         {plugins: always("1.0.0", langbot.PluginInitialized), version: "2.0.0", err: langbot.ErrNoEffect, until: 306 * time.Second},
		"never more than mounted": {plugins: always("1.0.0", langbot.PluginMounted), err: langbot.ErrNoEffect, until: 306 * time.Second},
		"flipping": {plugins: func(after time.Duration) (int, string) {
			if int(after/time.Second)%2 == 0 {
				return 200, listed("", "")
			}
			return 200, listed("1.0.0", langbot.PluginMounted)
		}, err: langbot.ErrNoEffect, until: 306 * time.Second},
		"after a restart": {plugins: func(after time.Duration) (int, string) {
			switch {
			case after < 10*time.Second:
				return 500, `{"code":"internal_error","msg":"Internal server error"}`
			case after < 13*time.Second:
				return 200, listed("", "")
			}
			return 200, listed("1.0.0", langbot.PluginInitialized)
		}, until: 16 * time.Second},
		"no access": {plugins: func(time.Duration) (int, string) {
			return 404, `{"code":"resource_not_found","msg":"Resource not found"}`
		},
			err: langbot.ErrForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{plugins: tt.plugins}
			inBubble(t, f.serve, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
				began := time.Now()
				p, err := newClient().Plugins.WaitReady(t.Context(), demo, tt.version)
				require.ErrorIs(t, err, tt.err)
				require.LessOrEqual(t, time.Since(began), tt.until)
				if tt.err == nil {
					require.Equal(t, demo, p.ID)
				}
			})
		})
	}
}

// TestWaitReadyUntilTheContextEnds: both what ended the wait and what was missing.
func TestWaitReadyUntilTheContextEnds(t *testing.T) {
	f := &fake{plugins: always("1.0.0", langbot.PluginMounted)}
	inBubble(t, f.serve, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := newClient().Plugins.WaitReady(ctx, demo, "1.0.0")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, langbot.ErrNoEffect)
		require.ErrorContains(t, err, `acme/demo is "mounted"`)
		require.Equal(t, langbot.PluginMounted, waitError(t, err).Plugin.Status)
	})
}

// TestWaitReadyOfWhatWasNeverSeen: a server that does not answer says nothing of the plugin.
func TestWaitReadyOfWhatWasNeverSeen(t *testing.T) {
	for name, tt := range map[string]struct {
		plugins func(time.Duration) (int, string)
		is      error
	}{
		"unreachable": {func(time.Duration) (int, string) { return 0, "" }, langbot.ErrUnreachable},
		"failing":     {func(time.Duration) (int, string) { return 500, internal }, langbot.ErrServer},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{plugins: tt.plugins}
			inBubble(t, f.serve, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				_, err := newClient().Plugins.WaitReady(ctx, demo, "")
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorIs(t, err, tt.is)
				require.NotErrorIs(t, err, langbot.ErrNoEffect)
				require.NotContains(t, err.Error(), "not running")
			})
		})
	}
}

// TestTaskOfAnotherPlugin: a task that is about another plugin is not ours, whatever its number and time say.
func TestTaskOfAnotherPlugin(t *testing.T) {
	about := func(task, name, plugin string) string {
		task = strings.Replace(task, "plugin-install-local", name, 1)
		return strings.Replace(task, `"runtime"`, `"task_context":{"current_action":"x","metadata":{"plugin_name":"`+plugin+`"}},"runtime"`, 1)
	}
	for name, tt := range map[string]struct {
		start func(context.Context, *langbot.Client) (*langbot.Operation, error)
		task  string
		lost  bool
	}{
		"installation":                   {install, about(failedEmpty, "plugin-install-local", "acme/other"), true},
		"ours":                           {install, about(failedEmpty, "plugin-install-local", "acme/demo"), false},
		"archive not read yet":           {install, about(failedEmpty, "plugin-install-local", "demo.lbpkg"), false},
		"removal":                        {remove, about(failedEmpty, "plugin-remove-other", ""), true},
		"removal of ours":                {remove, about(failedEmpty, "plugin-remove-demo", ""), false},
		"upgrade":                        {upgrade, about(failedEmpty, "plugin-upgrade-other", ""), true},
		"upgrade of another of our name": {upgrade, about(failedEmpty, "plugin-upgrade-demo", "other/demo"), true},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{plugins: always("", ""), task: func(int, time.Duration) (int, string) { return 200, tt.task },
				date: func() time.Time { return time.Unix(1795467543, 0) }} // when the task was created
			inBubble(t, f.serve, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
				op, err := tt.start(t.Context(), newClient())
				require.NoError(t, err)
				resumed, err := newClient().Tasks.Resume(op.Token())
				require.NoError(t, err)
				_, err = resumed.Wait(t.Context())
				if tt.lost {
					require.ErrorIs(t, err, langbot.ErrTaskLost)
				} else {
					taskError(t, err)
				}
			})
		})
	}
}

func install(ctx context.Context, c *langbot.Client) (*langbot.Operation, error) {
	return c.Plugins.InstallLocal(ctx, memory{id: demo, data: []byte("x")})
}

func remove(ctx context.Context, c *langbot.Client) (*langbot.Operation, error) {
	return c.Plugins.Delete(ctx, demo, langbot.DeleteOptions{})
}

func upgrade(ctx context.Context, c *langbot.Client) (*langbot.Operation, error) {
	return c.Plugins.Upgrade(ctx, demo)
}

// TestEvents: each change once, an early break ends the polling, and it can be ranged over again.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := langbottest.New(t, langbottest.InMemory())
		srv.On(langbottest.AnyInstall, langbottest.Script{Steps: []langbottest.Step{
			{Action: "one", Percent: 10, For: 3 * time.Second}, {Action: "two", Percent: 20, For: 3 * time.Second}}})
		client := connect(t, srv, langbot.WithUserToken(srv.UserToken))
		op, err := client.Plugins.InstallLocal(t.Context(), pack(t, "acme", "demo", "1.0.0"))
		require.NoError(t, err)
		for task, err := range op.Events(t.Context()) {
			require.NoError(t, err)
			require.Equal(t, "one", task.Action)
			break
		}
		polls := len(srv.Calls("GET /api/v1/system/tasks/{id}"))
		require.Equal(t, 1, polls)
		var actions []string
		for task, err := range op.Events(t.Context()) {
			require.NoError(t, err)
			actions = append(actions, fmt.Sprintf("%s %d %s", task.Action, task.Progress.Percent, task.State))
		}
		require.Equal(t, []string{"one 10 running", "two 20 running", "plugin installed 100 succeeded"}, actions)

		srv.On(langbottest.AnyInstall, langbottest.Script{End: langbottest.Hang})
		op, err = client.Plugins.InstallLocal(t.Context(), pack(t, "acme", "demo", "1.1.0"))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var last error
		for _, err := range op.Events(ctx) {
			last = err
		}
		require.ErrorIs(t, last, context.DeadlineExceeded)
	})
}

// TestManyWaits: a thousand waits at once leave nothing behind and share connections.
func TestManyWaits(t *testing.T) {
	if race.Enabled {
		t.Skip("counts exactly")
	}
	var f fake
	f.task = until(30*time.Second, succeeded)
	f.plugins = always("1.0.0", langbot.PluginInitialized)
	f.began = time.Now()
	handler := func(w http.ResponseWriter, r *http.Request) { f.serve(w, r) }
	inBubble(t, handler, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
		f.began = time.Now()
		client := newClient()
		op, err := client.Plugins.InstallLocal(t.Context(), memory{id: demo, data: []byte("x")})
		require.NoError(t, err)
		synctest.Wait()
		before := runtime.NumGoroutine()
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				_, err := op.Wait(t.Context())
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		client.CloseIdleConnections()
		synctest.Wait()
		require.LessOrEqual(t, runtime.NumGoroutine(), before+2)
		t.Logf("1000 waits of 30 s: %d connections", bubbleDials.Load())
		require.LessOrEqual(t, bubbleDials.Load(), int64(1600))
	})
}

// TestUpgrade: it has succeeded once the plugin is initialized again, in whatever version.
func TestUpgrade(t *testing.T) {
	task := func(text string) string {
		return strings.Replace(text, "plugin-install-local", "plugin-upgrade-demo", 1)
	}
	failed := func(exception string) string {
		return strings.Replace(task(failedEmpty), `"exception":""`, `"exception":"`+exception+`"`, 1)
	}
	for name, tt := range map[string]struct {
		end      string
		plugins  func(time.Duration) (int, string)
		err      error
		notFound bool
	}{
		"upgraded": {end: task(succeeded), plugins: func(after time.Duration) (int, string) {
			if after < 8*time.Second {
				return 200, listed("", "")
			}
			return 200, listed("2.0.0", langbot.PluginInitialized)
		}},
		"an MCP server came instead": {end: strings.Replace(task(succeeded), `"runtime"`, `"task_context":{"metadata":{"progress_percent":15}},"runtime"`, 1),
			plugins: always("1.0.0", langbot.PluginInitialized), err: langbot.ErrNoEffect},
		"does not come back":   {end: task(succeeded), plugins: always("", ""), err: langbot.ErrNoEffect},
		"not installed":        {end: failed("Plugin acme/demo is not installed in this Workspace"), plugins: always("", ""), notFound: true},
		"up to 4.10.6":         {end: failed("ValueError: Plugin acme/demo not found"), plugins: always("", ""), notFound: true},
		"not from marketplace": {end: failed("Plugin acme/demo is not installed from marketplace"), plugins: always("1.0.0", langbot.PluginInitialized)},
		"another task":         {end: succeeded, plugins: always("1.0.0", langbot.PluginInitialized), err: langbot.ErrTaskLost},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{plugins: tt.plugins, task: func(_ int, after time.Duration) (int, string) {
				if after < 3*time.Second && tt.end != succeeded {
					return 200, task(running)
				}
				return 200, tt.end
			}}
			inBubble(t, f.serve, func(t *testing.T, newClient func(...langbot.Option) *langbot.Client) {
				op, err := newClient().Plugins.Upgrade(t.Context(), demo)
				require.NoError(t, err)
				require.EqualValues(t, 1, f.creates.Load())
				done, err := op.Wait(t.Context())
				switch {
				case tt.err != nil:
					require.ErrorIs(t, err, tt.err)
				case strings.Contains(tt.end, `"exception":null`):
					require.NoError(t, err)
					require.Equal(t, "2.0.0", done.Plugin.Version)
				default:
					taskError(t, err)
					require.Equal(t, tt.notFound, errors.Is(err, langbot.ErrNotFound))
				}
			})
		})
	}
}

// TestFailedRemoval: only the server's word makes a failed removal one of a plugin that is not there. See the wire's
// "removal binding is stale" of 4.11.2, for what a failed first installation has left behind.
func TestFailedRemoval(t *testing.T) {
	for name, tt := range map[string]struct {
		exception string
		notFound  bool
	}{
		"not installed":  {"Plugin acme/demo is not installed in this Workspace", true},
		"up to 4.10.6":   {"ValueError: Plugin acme/demo not found", true},
		"stuck":          {"removal binding is stale", false},
		"something else": {"database is locked", false},
		"another thing":  {"FileNotFoundError: runtime artifact x.lbpkg not found", false},
		"another plugin": {"Plugin acme/other is not installed in this Workspace", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := langbottest.New(t, langbottest.InMemory())
				srv.On(langbottest.AnyInstall, langbottest.Script{End: langbottest.FailToStart})
				srv.On("DELETE /api/v1/plugins/{author}/{name}", langbottest.Script{End: langbottest.Fail(tt.exception)})
				client := connect(t, srv, langbot.WithUserToken(srv.UserToken))
				op, err := client.Plugins.InstallLocal(t.Context(), pack(t, "acme", "demo", "1.0.0"))
				require.NoError(t, err)
				require.Equal(t, demo, op.Plugin())
				_, err = op.Wait(t.Context())
				taskError(t, err)
				op, err = client.Plugins.Delete(t.Context(), demo, langbot.DeleteOptions{})
				require.NoError(t, err)
				_, err = op.Wait(t.Context())
				require.Equal(t, tt.notFound, errors.Is(err, langbot.ErrNotFound), err)
				require.Contains(t, taskError(t, err).Task.Message, tt.exception)
			})
		})
	}
}

// TestRemovalWithoutEffect: a task that succeeds is not enough, the plugin must be gone.
func TestRemovalWithoutEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := langbottest.New(t, langbottest.InMemory())
		srv.AddPlugin(langbottest.Archive("acme", "demo", "1.0.0"))
		srv.On("DELETE /api/v1/plugins/{author}/{name}", langbottest.Script{End: langbottest.SucceedWithoutEffect})
		op, err := connect(t, srv).Plugins.Delete(t.Context(), demo, langbot.DeleteOptions{})
		require.NoError(t, err)
		_, err = op.Wait(t.Context())
		require.ErrorIs(t, err, langbot.ErrNoEffect)
		require.Equal(t, demo, waitError(t, err).Plugin.ID)
		require.ErrorContains(t, err, "still there")
	})
}

// TestResumeWithABadKey: it is the credential that is wrong, not the server that hides its tasks.
func TestResumeWithABadKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := langbottest.New(t, langbottest.InMemory())
		op, err := connect(t, srv).Plugins.InstallLocal(t.Context(), pack(t, "acme", "demo", "1.0.0"))
		require.NoError(t, err)
		resumed, err := connect(t, srv, langbot.WithAPIKey("lbk_wrong")).Tasks.Resume(op.Token())
		require.NoError(t, err)
		_, err = resumed.Wait(t.Context())
		require.ErrorIs(t, err, langbot.ErrUnauthorized)
		require.NotErrorIs(t, err, langbot.ErrTasksHidden)
	})
}

// TestOtherFileOfTheSameRelease: what runs already is not what was asked for.
func TestOtherFileOfTheSameRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := langbottest.New(t, langbottest.InMemory())
		release, first := srv.AddGitHub("acme", "tools", "v1", "a.lbpkg", langbottest.Archive("acme", "first", "1.0.0"))
		_, second := srv.AddGitHub("acme", "tools", "v1", "b.lbpkg", langbottest.Archive("acme", "second", "1.0.0"))
		client := connect(t, srv)
		install := func(asset int64) (langbot.Outcome, error) {
			op, err := client.Plugins.InstallGitHub(t.Context(), langbot.GitHubAsset{Owner: "acme", Repo: "tools", ReleaseTag: "v1", ReleaseID: release, AssetID: asset,
				AssetURL: "https://mirror.test/x"})
			require.NoError(t, err)
			return op.Wait(t.Context())
		}
		done, err := install(first)
		require.NoError(t, err)
		require.Equal(t, "first", done.Plugin.ID.Name)
		srv.On(langbottest.AnyInstall, langbottest.Script{End: langbottest.SucceedWithoutEffect})
		_, err = install(second)
		require.ErrorIs(t, err, langbot.ErrNoEffect)

		_, err = client.Plugins.InstallGitHub(t.Context(), langbot.GitHubAsset{Owner: "acme", Repo: "tools", ReleaseTag: "v1"})
		require.ErrorContains(t, err, "2 .lbpkg files")
	})
}

// TestKeyThatMayNotLook: what it may change it changes, and Wait says which permission it lacks, in whatever language the
// server answers.
func TestKeyThatMayNotLook(t *testing.T) {
	client, mock := mocked(t, langbot.WithAPIKey("lbk_key"))
	mock.RegisterResponder("GET", "/api/v1/system/tasks/0", answered(403, `{"code":"permission_denied","msg":"权限不足"}`))
	mock.RegisterResponder("DELETE", "/api/v1/plugins/acme/demo", answered(200, `{"code":0,"data":{"task_id":5}}`))
	op, err := client.Plugins.Delete(t.Context(), demo, langbot.DeleteOptions{})
	require.NoError(t, err)
	_, err = op.Wait(t.Context())
	require.ErrorIs(t, err, langbot.ErrForbidden)
	require.ErrorContains(t, err, "resource.view")
	waitError(t, err)
}
