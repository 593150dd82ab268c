package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// output collects what the program prints, and can be waited on.
type output struct {
	mu    sync.Mutex
	text  strings.Builder
	ready chan struct{}
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b)
	if strings.HasSuffix(o.text.String(), "ready\n") {
		close(o.ready)
	}
	return len(b), nil
}

// start runs the program until the test ends, and returns what it has told of itself.
func start(t *testing.T, args ...string) (told map[string]string, logged *bytes.Buffer) {
	ctx, cancel := context.WithCancel(t.Context())
	out, logs := &output{ready: make(chan struct{})}, &bytes.Buffer{}
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, append([]string{"-addr", "127.0.0.1:0", "-admin", "127.0.0.1:0"}, args...), out, logs)
	}()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	select {
	case <-out.ready:
	case err := <-ended:
		ended <- nil
		require.NoError(t, err)
	}
	told = map[string]string{}
	for line := range strings.Lines(out.text.String()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		told[name] = value
	}
	return told, logs
}

// ask makes a request and reads its JSON.
func ask(t *testing.T, method, url, credential, body string) (status int, answer map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &answer), "%s", data)
	return resp.StatusCode, answer
}

func TestServes(t *testing.T) {
	told, logs := start(t, "-version", "4.10.6", "-api-key", "a-long-api-key", "-user", "a@b.c", "-password", "long-password", "-log", "json")
	require.Equal(t, "a-long-api-key", told["LANGBOT_API_KEY"])
	url := told["LANGBOT_URL"]
	status, info := ask(t, "GET", url+"/api/v1/system/info", "", "")
	require.Equal(t, 200, status)
	require.Equal(t, "v4.10.6", info["data"].(map[string]any)["version"])
	status, _ = ask(t, "GET", url+"/api/v1/plugins", told["LANGBOT_API_KEY"], "")
	require.Equal(t, 200, status)
	_, login := ask(t, "POST", url+"/api/v1/user/auth", "", `{"user":"a@b.c","password":"long-password"}`)
	require.NotEmpty(t, login["data"].(map[string]any)["token"])
	_, journal := ask(t, "GET", told["LANGBOT_MOCK_ADMIN"]+"/__mock/v1/journal", "", "")
	calls, err := json.Marshal(journal["calls"])
	require.NoError(t, err)
	for _, text := range []string{string(calls), logs.String()} {
		require.NotContains(t, text, "a-long-api-key")
		require.NotContains(t, text, "long-password")
		require.Contains(t, text, "/api/v1/user/auth")
	}
}

// TestActions does everything that the admin API can, and looks whether it was done.
func TestActions(t *testing.T) {
	told, _ := start(t, "-api-key", "a-long-api-key")
	act := func(name, body string) map[string]any {
		status, answer := ask(t, "POST", told["LANGBOT_MOCK_ADMIN"]+"/__mock/v1/"+name, "", body)
		require.Equal(t, 200, status, "%s: %v", name, answer)
		return answer
	}
	plugins := func() (int, map[string]any) {
		return ask(t, "GET", told["LANGBOT_URL"]+"/api/v1/plugins", "a-long-api-key", "")
	}
	state := act("plugins", `{"author":"acme","name":"hello","version":"1.0.0"}`)
	require.Equal(t, []any{map[string]any{"id": "acme/hello", "version": "1.0.0", "running": true}}, state["plugins"])
	act("marketplace", `{"author":"acme","name":"hello","version":"2.0.0"}`)
	act("marketplace/mcp", `{"author":"acme","name":"tools"}`)
	act("marketplace/slow", `{"author":"slow","for":"1s"}`)
	require.NotZero(t, act("github", `{"owner":"acme","repo":"hello","tag":"v1","file":"x.lbpkg","plugin":{"author":"acme","name":"gh","version":"1"}}`)["asset_id"])

	_, installed := ask(t, "POST", told["LANGBOT_URL"]+"/api/v1/plugins/install/marketplace", "a-long-api-key", `{"plugin_author":"acme","plugin_name":"hello"}`)
	require.NotNil(t, installed["data"])
	act("marketplace", `{"author":"acme","name":"hello","version":"3.0.0"}`)
	act("clock", `{"advance":"1m"}`)
	act("scripts", `{"op":"POST /api/v1/plugins/{author}/{name}/upgrade","steps":[{"action":"waiting for plugin initialization","percent":84,"hold":true},{"for":"1h"}]}`)
	_, upgrade := ask(t, "POST", told["LANGBOT_URL"]+"/api/v1/plugins/acme/hello/upgrade", "a-long-api-key", "")
	require.NotNil(t, upgrade["data"].(map[string]any)["task_id"])
	require.Equal(t, true, act("release", `{"op":"POST /api/v1/plugins/{author}/{name}/upgrade"}`)["released"])
	require.Equal(t, false, act("release", `{"op":""}`)["released"])
	state = act("clock", `{"advance":"2h"}`)
	require.Equal(t, "3.0.0", state["plugins"].([]any)[0].(map[string]any)["version"])
	require.Equal(t, "succeeded", state["tasks"].([]any)[0].(map[string]any)["state"])

	act("faults", `{"op":"GET /api/v1/plugins","effect":"status","status":502,"first":1}`)
	act("faults", `{"op":"GET /healthz","effect":"reset"}`)
	act("faults", `{"op":"GET /api/v1/plugins","effect":"status","status":503,"nth":2}`)
	status, _ := plugins()
	require.Equal(t, 502, status)
	status, _ = plugins()
	require.Equal(t, 503, status)
	status, _ = plugins()
	require.Equal(t, 200, status)
	require.Len(t, act("faults/clear", "")["missed"], 1)
	act("limits", `{"extensions":0}`)
	status, _ = ask(t, "POST", told["LANGBOT_URL"]+"/api/v1/plugins/install/marketplace", "a-long-api-key", `{"plugin_author":"acme","plugin_name":"hello"}`)
	require.Equal(t, 400, status)
	act("logs", `{"plugin":"acme/hello","level":"ERROR","text":"boom"}`)
	act("tokens/revoke", "")
	act("runtime", `{"up":false}`)
	status, _ = plugins()
	require.Equal(t, 500, status)
	act("runtime", `{"up":true}`)
	require.Empty(t, act("restart", "")["tasks"])
	require.Empty(t, act("reset", "")["plugins"])
	_, table := ask(t, "GET", told["LANGBOT_MOCK_ADMIN"]+"/__mock/v1/profile", "", "")
	require.Greater(t, len(table["differences"].([]any)), 90)
}

// TestEnds: each is the one of its name.
func TestEnds(t *testing.T) {
	told, _ := start(t, "-api-key", "a-long-api-key")
	admin := told["LANGBOT_MOCK_ADMIN"] + "/__mock/v1/"
	for end, want := range map[string]struct{ task, plugin string }{
		`"end":"succeed"`:               {"succeeded", "true"},
		`"end":"hang"`:                  {"running", ""},
		`"end":"no-effect"`:             {"succeeded", ""},
		`"end":"cancelled"`:             {"cancelled", ""},
		`"end":"vanish"`:                {"", "true"},
		`"end":"fail-to-start"`:         {"failed", "false"},
		`"end":"fail","exception":"no"`: {"failed", ""},
	} {
		t.Run(end, func(t *testing.T) {
			for _, body := range [][2]string{{"reset", ""}, {"marketplace", `{"author":"acme","name":"hello","version":"1"}`}, {"scripts", `{"op":"POST /api/v1/plugins/install/","steps":[{"polls":2}],` + end + `}`}} {
				status, answer := ask(t, "POST", admin+body[0], "", body[1])
				require.Equal(t, 200, status, answer)
			}
			_, installed := ask(t, "POST", told["LANGBOT_URL"]+"/api/v1/plugins/install/marketplace", "a-long-api-key", `{"plugin_author":"acme","plugin_name":"hello"}`)
			task := fmt.Sprint(told["LANGBOT_URL"], "/api/v1/system/tasks/", installed["data"].(map[string]any)["task_id"])
			for range 2 {
				_, state := ask(t, "GET", admin+"state", "", "")
				require.Equal(t, "running", state["tasks"].([]any)[0].(map[string]any)["state"], "until it was looked at twice")
				ask(t, "GET", task, "a-long-api-key", "")
			}
			_, state := ask(t, "GET", admin+"state", "", "")
			ended, plugin := "", ""
			for _, one := range state["tasks"].([]any) {
				ended = one.(map[string]any)["state"].(string)
			}
			for _, one := range state["plugins"].([]any) {
				plugin = fmt.Sprint(one.(map[string]any)["running"])
			}
			require.Equal(t, want, struct{ task, plugin string }{ended, plugin})
		})
	}
}

// TestEffects: each is the one of its name.
func TestEffects(t *testing.T) {
	told, _ := start(t)
	const whole = `{"code":1,"msg":"x"}`
	for effect, want := range map[string]struct {
		status int    // 0: no answer
		body   string // a regular expression
		broken bool   // the body is
		header string // Retry-After
		takes  time.Duration
	}{
		`"effect":"status","status":507`:                  {status: 507, body: `"code":-1`},
		`"effect":"page","status":502`:                    {status: 502, body: `<html>`},
		`"effect":"respond","status":203,"body":` + whole: {status: 203, body: whole},
		`"effect":"busy","for":"3s"`:                      {status: 429, body: `task_capacity_exceeded`, header: "3"},
		`"effect":"busy"`:                                 {status: 429, body: `task_capacity_exceeded`},
		`"effect":"malformed"`:                            {status: 200, body: `"plug$`},
		`"effect":"truncate","bytes":5`:                   {status: 200, body: `^.{0,5}$`, broken: true},
		`"effect":"latency","for":"120ms"`:                {status: 200, body: `"version"`, takes: 120 * time.Millisecond},
		`"effect":"drip","for":"1ms"`:                     {status: 200, body: `"version"`, takes: 121 * time.Millisecond},
		`"effect":"reset"`:                                {},
		`"effect":"lose-answer"`:                          {},
		`"effect":"stall"`:                                {takes: 300 * time.Millisecond},
	} {
		t.Run(effect, func(t *testing.T) {
			status, answer := ask(t, "POST", told["LANGBOT_MOCK_ADMIN"]+"/__mock/v1/faults", "", `{"op":"GET /api/v1/system/info","first":1,`+effect+`}`)
			require.Equal(t, 200, status, answer)
			ctx, cancel := context.WithTimeout(t.Context(), map[bool]time.Duration{true: 300 * time.Millisecond, false: time.Minute}[strings.Contains(effect, "stall")])
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "GET", told["LANGBOT_URL"]+"/api/v1/system/info", nil)
			require.NoError(t, err)
			req.Close = true // or net/http asks again where nothing came
			began := time.Now()
			resp, err := http.DefaultClient.Do(req)
			if want.status == 0 {
				require.Error(t, err)
				require.GreaterOrEqual(t, time.Since(began), want.takes)
				return
			}
			require.NoError(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			require.Equal(t, want.broken, err != nil)
			require.Regexp(t, want.body, string(body))
			require.Equal(t, want.status, resp.StatusCode)
			require.Equal(t, want.header, resp.Header.Get("Retry-After"))
			require.GreaterOrEqual(t, time.Since(began), want.takes)
		})
	}
}

// TestRefusals: what is wrong with a body is told, and nothing is done.
func TestRefusals(t *testing.T) {
	told, _ := start(t)
	for name, bodies := range map[string][]string{
		"plugins":      {`{`, `[]`, `{"author":"a"}`, `{"author":"a/b","name":"c","version":"1"}`, `{"archive":"!"}`, `{"archive":"AAAA"}`, `{"colour":1}`},
		"marketplace":  {`{"author":""}`, `1`},
		"github":       {`{"owner":"a"}`, `{"owner":"a","repo":"b","tag":"c","file":"d","plugin":{}}`},
		"scripts":      {`{"op":"GET /healthz"}`, `{"op":"POST /api/v1/plugins/install/","end":"explode"}`, `{"op":"POST /api/v1/plugins/install/","steps":[{"for":"-1s"}]}`, `{"op":"POST /api/v1/plugins/install/","exception":"no"}`},
		"faults":       {`{"effect":"nope"}`, `{"effect":"status","status":7}`, `{"effect":"reset","nth":-1}`, `{"effect":"reset"} {}`, `{"op":"GET /nope","effect":"reset"}`},
		"clock":        {`{"advance":"soon"}`, `{"advance":5}`},
		"limits":       {`{}`},
		"runtime":      {`{}`},
		"logs":         {`{"plugin":"no/such","level":"INFO","text":"x"}`},
		"release":      {`{"of":1}`},
		"no/such/name": {`{}`},
	} {
		for _, body := range bodies {
			status, answer := ask(t, "POST", told["LANGBOT_MOCK_ADMIN"]+"/__mock/v1/"+name, "", body)
			require.GreaterOrEqual(t, status, 400, "%s %s", name, body)
			require.NotEmpty(t, answer["error"], "%s %s", name, body)
		}
	}
	status, _ := ask(t, "GET", told["LANGBOT_MOCK_ADMIN"]+"/__mock/v1/journal?op=GET+/nope", "", "")
	require.Equal(t, http.StatusConflict, status)
}

// TestFiles: what files say is done, and what is wrong in one is told with its line.
func TestFiles(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "file.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	told, _ := start(t, "-api-key", "a-long-api-key",
		"-seed", file("[\n {\"plugins\": {\"author\": \"acme\", \"name\": \"hello\", \"version\": \"1\"}},\n {\"limits\": {\"extensions\": 9}}\n]\n"),
		"-script", file(`[{"op": "POST /api/v1/plugins/install/", "end": "hang"}]`),
		"-faults", file(`[{"op": "GET /healthz", "effect": "page", "status": 502, "optional": true}]`))
	_, state := ask(t, "GET", told["LANGBOT_MOCK_ADMIN"]+"/__mock/v1/state", "", "")
	require.Len(t, state["plugins"], 1)
	for text, want := range map[string]string{
		"{}":                      ":1: it must be a list",
		"[\n{\"plugins\": {}}\n]": ":2: ",
		"[\n\n{\"plugins\": 7}]":  ":3: ",
		"[{\"limits\":{\"extensions\":1}},\n{\"nope\": {}}]": `:2: there is no action "nope"`,
		"[\n{\"plugins\": {\"author\": \"a\",,}}]":           ":2: invalid character",
		"[\n{\"limits\":{\"extensions\":1}}\n":               ":2: the list does not end",
		"[] 7":                                               ":1: there is more",
		"[\n1]":                                              ":2: it must be an object",
	} {
		err := run(t.Context(), []string{"-addr", "127.0.0.1:0", "-seed", file(text)}, io.Discard, io.Discard)
		require.ErrorContains(t, err, "file.json"+want, text)
	}
}

func TestFlags(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"old":      {[]string{"-version", "4.5.0"}, "older than 4.6.0"},
		"no form":  {[]string{"-version", "newest"}, "not of the form"},
		"log":      {[]string{"-log", "xml"}, "text or json"},
		"alone":    {[]string{"-user", "a@b.c"}, "go together"},
		"argument": {[]string{"serve"}, `unexpected argument "serve"`},
		"file":     {[]string{"-addr", "127.0.0.1:0", "-seed", "no/such/file"}, "no such file"},
		"address":  {[]string{"-addr", "nowhere:x"}, "listen"},
		"admin":    {[]string{"-addr", "127.0.0.1:0", "-admin", "nowhere:x"}, "-admin"},
		"unknown":  {[]string{"-colour"}, "not defined"},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, run(t.Context(), tt.args, io.Discard, io.Discard), tt.want)
		})
	}
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-print-config", "-api-key", "a-long-api-key", "-user", "a@b.c", "-password", "long-password"}, &out, io.Discard))
	require.Contains(t, out.String(), `"api_key": "***"`)
	require.NotContains(t, out.String(), "long")
}

// TestDrains: a request that is under way when the program ends is answered.
func TestDrains(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out := &output{ready: make(chan struct{})}
	ended := make(chan error, 1)
	path := filepath.Join(t.TempDir(), "faults.json")
	require.NoError(t, os.WriteFile(path, []byte(`[{"op": "GET /healthz", "effect": "latency", "for": "300ms"}]`), 0o600))
	go func() { ended <- run(ctx, []string{"-addr", "127.0.0.1:0", "-faults", path}, out, io.Discard) }()
	<-out.ready
	url, _, _ := strings.Cut(strings.TrimPrefix(out.text.String(), "LANGBOT_URL="), "\n")
	time.AfterFunc(100*time.Millisecond, cancel)
	status, _ := ask(t, "GET", url+"/healthz", "", "")
	require.Equal(t, 200, status)
	require.NoError(t, <-ended)
}

// TestDescription: the OpenAPI file has the routes, and they are the ones that there are.
func TestDescription(t *testing.T) {
	var described struct {
		Paths map[string]map[string]any
	}
	require.NoError(t, json.Unmarshal(description, &described))
	var have, want []string
	for path, methods := range described.Paths {
		for method := range methods {
			have = append(have, strings.ToUpper(method)+" "+path)
		}
	}
	for name := range actions {
		want = append(want, "POST "+adminPath+name)
	}
	for _, name := range []string{"profile", "state", "journal", "openapi.json"} {
		want = append(want, "GET "+adminPath+name)
	}
	slices.Sort(have)
	slices.Sort(want)
	require.Equal(t, want, have)
	told, _ := start(t)
	for _, route := range have {
		method, path, _ := strings.Cut(route, " ")
		status, _ := ask(t, method, told["LANGBOT_MOCK_ADMIN"]+path, "", "")
		require.NotEqual(t, 404, status, route)
	}
}
