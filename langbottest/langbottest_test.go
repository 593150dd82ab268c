package langbottest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/langbottest"
)

// The expectations of this file are answers of a real LangBot 4.11.2, by the names of the recorded cases.

// A reply is what came back.
type reply struct {
	status int
	header http.Header
	body   string
}

func ask(t *testing.T, srv *langbottest.Server, method, path, credential, contentType string, body []byte) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, bytes.NewReader(body))
	require.NoError(t, err)
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return reply{resp.StatusCode, resp.Header, string(got)}
}

// upload sends an archive as the form's part with the given disposition.
func upload(t *testing.T, srv *langbottest.Server, credential, field, fileName string, data []byte) reply {
	t.Helper()
	contentType, form := multiparts(t, field, fileName, data)
	return ask(t, srv, "POST", "/api/v1/plugins/install/local", credential, contentType, form)
}

// multiparts is the form of an upload, the same each time for the same data.
func multiparts(t *testing.T, field, fileName string, data []byte) (contentType string, form []byte) {
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	require.NoError(t, w.SetBoundary("the-same-every-time"))
	if fileName == "" {
		require.NoError(t, w.WriteField(field, string(data)))
	} else {
		part, err := w.CreateFormFile(field, fileName)
		require.NoError(t, err)
		_, _ = part.Write(data)
	}
	require.NoError(t, w.Close())
	return w.FormDataContentType(), out.Bytes()
}

func TestAnswersAsRecorded(t *testing.T) {
	srv := langbottest.New(t, langbottest.AllowUnmatched())
	const json = "application/json"
	for name, tt := range map[string]struct {
		method, path, credential, contentType, body string
		status                                      int
		want                                        string // of the body; empty: not compared
	}{
		"03-auth-list, none":        {"GET", "/api/v1/plugins", "", "", "", 401, `{"code":-1,"msg":"No valid authentication provided (user token or API key required)"}` + "\n"},
		"03-auth-list, bad":         {"GET", "/api/v1/plugins", "nonsense", "", "", 401, `{"code":"invalid_authentication","msg":"Invalid authentication credentials"}` + "\n"},
		"02-apikeys, key":           {"POST", "/api/v1/apikeys", srv.APIKey, json, `{"name":"x"}`, 401, `{"code":"invalid_authentication","msg":"Invalid authentication credentials"}` + "\n"},
		"02-apikeys, none":          {"POST", "/api/v1/apikeys", "", json, `{"name":"x"}`, 401, `{"code":-1,"msg":"No valid user token provided"}` + "\n"},
		"02-apikey-scopes":          {"POST", "/api/v1/apikeys", srv.UserToken, json, `{"name":"x","scopes":["nope"]}`, 400, `{"code":"invalid_api_key","msg":"Unknown API key scope: nope"}` + "\n"},
		"04-list-empty":             {"GET", "/api/v1/plugins", srv.APIKey, "", "", 200, `{"code":0,"data":{"plugins":[]},"msg":"ok"}` + "\n"},
		"04-get-missing":            {"GET", "/api/v1/plugins/no/such", srv.APIKey, "", "", 404, `{"code":-1,"msg":"plugin not found"}` + "\n"},
		"10-task-id-999999":         {"GET", "/api/v1/system/tasks/999999", srv.APIKey, "", "", 404, `{"code":404,"msg":"Task not found"}` + "\n"},
		"10-task-id-abc":            {"GET", "/api/v1/system/tasks/abc", srv.UserToken, "", "", 404, `{"code":404,"msg":"Task not found"}` + "\n"},
		"10-task-id-0":              {"GET", "/api/v1/system/tasks/0", srv.UserToken, "", "", 404, `{"code":404,"msg":"Task not found"}` + "\n"},
		"11-unknown-api":            {"GET", "/api/v1/nope", srv.APIKey, "", "", 404, ""},
		"11-unknown-api-post":       {"POST", "/api/v1/nope", srv.APIKey, "", "", 405, ""},
		"11-unknown-nonapi":         {"GET", "/nope", "", "", "", 200, ""},
		"11-trailing-slash":         {"GET", "/api/v1/plugins/", srv.APIKey, "", "", 404, ""},
		"11-wrong-method-item":      {"POST", "/api/v1/plugins/acme/demo", srv.APIKey, json, "{}", 405, ""},
		"11-encoded-slash":          {"GET", "/api/v1/plugins/no%2Fsuch", srv.APIKey, "", "", 404, `{"code":-1,"msg":"plugin not found"}` + "\n"},
		"11-get-install-local":      {"GET", "/api/v1/plugins/install/local", srv.APIKey, "", "", 404, `{"code":-1,"msg":"plugin not found"}` + "\n"},
		"07-local-json":             {"POST", "/api/v1/plugins/install/local", srv.APIKey, json, `{"file":"x"}`, 400, `{"code":-1,"msg":"file is required"}` + "\n"},
		"07-github-missing-owner":   {"POST", "/api/v1/plugins/install/github", srv.APIKey, json, `{"repo":"a"}`, 400, `{"code":-1,"msg":"owner must be a valid GitHub repository owner"}` + "\n"},
		"07-github-other-host":      {"POST", "/api/v1/plugins/install/github", srv.APIKey, json, `{"owner":"truth","repo":"demo","release_tag":"v9","asset_url":"https://example.invalid/truth/demo/releases/download/v9/x.lbpkg"}`, 400, `{"code":-1,"msg":"asset_url must be an HTTPS GitHub release asset URL"}` + "\n"},
		"07-github-tag-mismatch":    {"POST", "/api/v1/plugins/install/github", srv.APIKey, json, `{"owner":"truth","repo":"demo","release_tag":"V9","asset_url":"https://github.com/truth/demo/releases/download/v9/x.lbpkg"}`, 400, `{"code":-1,"msg":"asset_url does not match the requested GitHub release"}` + "\n"},
		"07-github-only-release-id": {"POST", "/api/v1/plugins/install/github", srv.APIKey, json, `{"owner":"truth","repo":"demo","release_tag":"v9","release_id":1}`, 400, `{"code":-1,"msg":"release_id and asset_id must be provided together"}` + "\n"},
		"07-invalid-json":           {"POST", "/api/v1/plugins/install/marketplace", srv.APIKey, json, `{bad`, 500, ""},
		"02-user-auth, unknown":     {"POST", "/api/v1/user/auth", "", json, `{"user":"no@b.c","password":"x"}`, 200, `{"code":1,"msg":"Resource not found"}` + "\n"},
		"02-user-auth, wrong":       {"POST", "/api/v1/user/auth", "", json, `{"user":"` + srv.Email + `","password":"x"}`, 200, `{"code":1,"msg":"Invalid username or password"}` + "\n"},
		"02-user-auth, incomplete":  {"POST", "/api/v1/user/auth", "", json, `{"user":"x"}`, 400, `{"code":-1,"msg":"Invalid request parameters"}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ask(t, srv, tt.method, tt.path, tt.credential, tt.contentType, []byte(tt.body))
			require.Equal(t, tt.status, got.status)
			require.Equal(t, []string{"Origin"}, got.header["Vary"])
			if tt.want != "" {
				require.Equal(t, tt.want, got.body)
				require.Equal(t, json, got.header.Get("Content-Type"))
			}
			switch {
			case strings.HasPrefix(name, "11-unknown"), strings.HasPrefix(name, "11-trailing"), strings.HasPrefix(name, "11-wrong"):
				require.Equal(t, "text/html; charset=utf-8", got.header.Get("Content-Type"))
				require.Equal(t, tt.status == 405, got.header.Get("Allow") != "")
			case tt.status == 500:
				require.NotEmpty(t, got.header.Get("X-Request-Id"))
				require.Contains(t, got.body, `"code":"internal_error","msg":"Internal server error","request_id":"`+got.header.Get("X-Request-Id")+`"`)
			}
		})
	}
	require.Equal(t, "DELETE, GET, HEAD, OPTIONS", ask(t, srv, "POST", "/api/v1/plugins/acme/demo", srv.APIKey, "", nil).header.Get("Allow"))
}

// TestLocalInstallsAsRecorded: the form, and what the task says of archives.
func TestLocalInstallsAsRecorded(t *testing.T) {
	srv := langbottest.New(t)
	good := archives.Zip(archives.Plugin("acme", "demo", `"0.1.0"`)...)
	require.Equal(t, 400, upload(t, srv, srv.APIKey, "other", "x.lbpkg", good).status)
	require.Equal(t, 400, upload(t, srv, srv.APIKey, "file", "", good).status, "a plain field is not seen")
	require.Equal(t, 500, upload(t, srv, srv.APIKey, "file", "x.lbpkg", make([]byte, 10<<20)).status, "over the limit, with the frame")
	for name, want := range map[string]string{
		"empty-file":  "archive has no valid ZIP end-of-central-directory record",
		"no-manifest": "Plugin package manifest identity is missing",
		"kind-tool":   "ValueError: Plugin artifact manifest must have kind=Plugin",
		"no-version":  "ValueError: Plugin artifact manifest identity is incomplete",
		"dotdot":      "Plugin package manifest identity is missing",
		"symlink":     "ValueError: Plugin artifact must not contain symbolic links: link.py",
		"bad-crc":     "BadZipFile: Bad CRC-32 for file 'x.bin'",
	} {
		for _, a := range archives.All() {
			if a.Name == name {
				got := upload(t, srv, srv.APIKey, "file", name+".lbpkg", a.Bytes)
				require.Equal(t, 200, got.status)
				task := wait(t, srv, got)
				require.Equal(t, want, task["runtime"].(map[string]any)["exception"], name)
				require.Equal(t, "FINISHED", task["runtime"].(map[string]any)["state"])
				require.Equal(t, "Installing plugin from local "+name+".lbpkg", task["label"])
			}
		}
	}
	for _, p := range srv.Plugins() {
		require.False(t, p.Running, "%s: what the runtime refuses is kept, and does not run", p.ID)
	}
	require.Len(t, srv.Plugins(), 3)
	task := wait(t, srv, upload(t, srv, srv.APIKey, "file", "demo.lbpkg", good))
	require.Equal(t, []string{"created_at", "id", "kind", "label", "name", "placement_generation", "runtime", "scopes", "task_context", "task_type", "workspace_uuid"}, keys(task))
	require.Equal(t, map[string]any{"done": true, "exception": nil, "exception_traceback": nil, "result": nil, "state": "FINISHED"}, task["runtime"])
	require.Equal(t, map[string]any{"plugin_name": "acme/demo", "install_source": "local", "download_total": 0.0, "download_current": 0.0, "download_speed": 0.0,
		"progress_percent": 100.0}, task["task_context"].(map[string]any)["metadata"])

	byKey := data(t, ask(t, srv, "GET", fmt.Sprint("/api/v1/system/tasks/", task["id"]), srv.APIKey, "", nil))
	require.Equal(t, map[string]any{"id": task["id"], "task_type": "user", "kind": "plugin-operation", "status": "succeeded", "error": nil, "result": nil,
		"created_at": task["created_at"]}, byKey)

	one := data(t, ask(t, srv, "GET", "/api/v1/plugins/acme/demo", srv.APIKey, "", nil))["plugin"].(map[string]any)
	require.Equal(t, []string{"components", "debug", "enabled", "install_info", "install_source", "manifest", "plugin_config", "plugin_instance", "priority", "status"}, keys(one))
	require.Equal(t, []string{"_artifact_storage", "_certification", "administrator_force"}, keys(one["install_info"].(map[string]any)))
	list := data(t, ask(t, srv, "GET", "/api/v1/plugins", srv.APIKey, "", nil))
	require.Equal(t, []any{one}, list["plugins"])
}

func data(t *testing.T, r reply) map[string]any {
	t.Helper()
	var envelope struct {
		Code int            `json:"code"`
		Data map[string]any `json:"data"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.body), &envelope), r.body)
	require.Zero(t, envelope.Code)
	return envelope.Data
}

func keys(m map[string]any) []string {
	raw, _ := json.Marshal(m) // sorted
	decoder := json.NewDecoder(bytes.NewReader(raw))
	var out []string
	depth := 0
	for {
		token, err := decoder.Token()
		if err != nil {
			return out
		}
		switch v := token.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				depth++
			} else {
				depth--
			}
		case string:
			if _, isKey := m[v]; isKey && depth == 1 && (len(out) == 0 || v > out[len(out)-1]) {
				out = append(out, v)
			}
		}
	}
}

// wait polls the task that an answer names, by user token.
func wait(t *testing.T, srv *langbottest.Server, created reply) map[string]any {
	t.Helper()
	id := data(t, created)["task_id"]
	for range 1000 {
		task := data(t, ask(t, srv, "GET", fmt.Sprint("/api/v1/system/tasks/", id), srv.UserToken, "", nil))
		if task["runtime"].(map[string]any)["done"] == true {
			return task
		}
		time.Sleep(5 * time.Millisecond) // real time: the server is on a socket
	}
	t.Fatal("the task does not end")
	return nil
}

// TestCapacity: the ninth running operation is refused, removals too; reads work. Truth 4.11.2, 16-capacity.
func TestCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := langbottest.New(t, langbottest.InMemory())
		srv.On("DELETE /api/v1/plugins/{author}/{name}", langbottest.Script{Steps: []langbottest.Step{{Action: "default", For: time.Minute}}})
		srv.AddPlugin(archives.Zip(archives.Plugin("acme", "demo", `"0.1.0"`)...))
		for range 8 {
			require.Equal(t, 200, ask(t, srv, "DELETE", "/api/v1/plugins/acme/demo", srv.APIKey, "", nil).status)
		}
		got := ask(t, srv, "DELETE", "/api/v1/plugins/acme/demo", srv.APIKey, "", nil)
		require.Equal(t, 429, got.status)
		require.Equal(t, `{"code":"task_capacity_exceeded","msg":"The Workspace has too many active user operations"}`+"\n", got.body)
		require.Empty(t, got.header.Get("Retry-After"))
		require.Equal(t, 200, ask(t, srv, "GET", "/api/v1/plugins", srv.APIKey, "", nil).status)
		time.Sleep(time.Minute) // virtual
		require.Equal(t, 200, ask(t, srv, "DELETE", "/api/v1/plugins/acme/demo", srv.APIKey, "", nil).status)
	})
}

// TestScripts: what a task does follows from its script and the clock.
func TestScripts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := langbottest.New(t, langbottest.InMemory())
		good := archives.Zip(archives.Plugin("acme", "demo", `"0.1.0"`)...)
		view := func(id any) (string, any, string) {
			task := data(t, ask(t, srv, "GET", fmt.Sprint("/api/v1/system/tasks/", id), srv.UserToken, "", nil))
			where := task["task_context"].(map[string]any)
			return where["current_action"].(string), where["metadata"].(map[string]any)["progress_percent"], task["runtime"].(map[string]any)["state"].(string)
		}
		status := func() string {
			got := ask(t, srv, "GET", "/api/v1/plugins/acme/demo", srv.APIKey, "", nil)
			if got.status != 200 {
				return ""
			}
			return data(t, got)["plugin"].(map[string]any)["status"].(string)
		}
		srv.On(langbottest.AnyInstall, langbottest.Script{Steps: []langbottest.Step{
			{Action: "installing or starting plugin", Percent: 62, For: time.Minute}, {Action: "waiting for plugin initialization", Percent: 84, For: time.Minute}}})
		srv.AddPlugin(archives.Zip(archives.Plugin("acme", "demo", `"0.0.9"`)...))
		require.Equal(t, "initialized", status())
		id := data(t, upload(t, srv, srv.APIKey, "file", "x", good))["task_id"]
		action, percent, state := view(id)
		require.Equal(t, []any{"installing or starting plugin", 62.0, "PENDING"}, []any{action, percent, state})
		require.Empty(t, status(), "absent while its new archive is started")
		time.Sleep(61 * time.Second)
		action, percent, state = view(id)
		require.Equal(t, []any{"waiting for plugin initialization", 84.0, "PENDING"}, []any{action, percent, state})
		require.Equal(t, "mounted", status())
		time.Sleep(time.Minute)
		action, percent, state = view(id)
		require.Equal(t, []any{"plugin installed", 100.0, "FINISHED"}, []any{action, percent, state})
		require.Equal(t, "initialized", status())

		for _, end := range []langbottest.End{langbottest.Fail("boom"), langbottest.SucceedWithoutEffect, langbottest.Hang, langbottest.Cancelled, langbottest.FailToStart} {
			srv.On(langbottest.AnyInstall, langbottest.Script{End: end})
			id = data(t, upload(t, srv, srv.APIKey, "file", "x", archives.Zip(archives.Plugin("acme", "demo", `"9"`)...)))["task_id"]
			time.Sleep(time.Hour)
			byKey := data(t, ask(t, srv, "GET", fmt.Sprint("/api/v1/system/tasks/", id), srv.APIKey, "", nil))["status"]
			byUser := ask(t, srv, "GET", fmt.Sprint("/api/v1/system/tasks/", id), srv.UserToken, "", nil)
			running := true
			switch end {
			case langbottest.SucceedWithoutEffect:
				require.Equal(t, "succeeded", byKey)
			case langbottest.Hang:
				require.Equal(t, "running", byKey)
			case langbottest.Cancelled:
				require.Equal(t, "cancelled", byKey)
				require.Equal(t, reply{500, byUser.header, ""}, byUser)
				require.Empty(t, byUser.header.Get("Content-Type"))
				require.Equal(t, 500, ask(t, srv, "GET", "/api/v1/system/tasks", srv.UserToken, "", nil).status)
				require.Equal(t, 200, ask(t, srv, "GET", "/api/v1/system/tasks?type=system", srv.UserToken, "", nil).status)
			case langbottest.FailToStart:
				require.Equal(t, "failed", byKey)
				running = false
			default:
				require.Equal(t, "failed", byKey)
			}
			if running {
				require.Equal(t, []langbottest.Plugin{{ID: "acme/demo", Version: "0.1.0", Running: true}}, srv.Plugins(), "nothing has changed")
			} else {
				require.Equal(t, []langbottest.Plugin{{ID: "acme/demo", Version: "9"}}, srv.Plugins(), "kept, and not running")
				require.Empty(t, status())
			}
		}
	})
}

// recorder is a TB that collects what a server has to say.
type recorder struct {
	errors   []string
	cleanups []func()
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(f string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(f, args...))
}
func (r *recorder) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }

// TestUnmatchedFailsTheTest: with the closest route, and not if it is allowed.
func TestUnmatchedFailsTheTest(t *testing.T) {
	for _, opts := range [][]langbottest.Option{nil, {langbottest.AllowUnmatched()}} {
		tb := &recorder{}
		srv := langbottest.New(tb, opts...)
		ask(t, srv, "POST", "/api/v1/plugins/install/locale", srv.APIKey, "", nil)
		ask(t, srv, "GET", "/api/v1/plugins", srv.APIKey, "", nil)
		for _, cleanup := range tb.cleanups {
			cleanup()
		}
		if opts == nil {
			require.Len(t, tb.errors, 1)
			require.Contains(t, tb.errors[0], `POST /api/v1/plugins/install/locale: no such route; the closest is "POST /api/v1/plugins/install/local"`)
		} else {
			require.Empty(t, tb.errors)
		}
		require.Len(t, srv.Calls(""), 2)
		require.Equal(t, 200, srv.Calls("GET /api/v1/plugins")[0].Status)
	}
}

// TestCloseLeavesNothing: no goroutine, and no connection.
func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 5 {
		srv, err := langbottest.Start()
		require.NoError(t, err)
		ask(t, srv, "GET", "/healthz", "", "", nil)
		srv.Close()
		srv.Close()
		_, err = srv.Client().Get(srv.URL)
		require.Error(t, err)
	}
	for range 100 { // the client's own goroutines end a moment after the connection
		if runtime.NumGoroutine() <= before {
			break
		}
		time.Sleep(time.Millisecond)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
}
