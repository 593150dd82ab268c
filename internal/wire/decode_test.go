package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/langbottest"
)

// recordings reads every transcript.
func recordings(t *testing.T) []transcript {
	files, err := filepath.Glob("testdata/*.json")
	require.NoError(t, err)
	var all []transcript
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		var x transcript
		require.NoError(t, json.Unmarshal(data, &x), file)
		require.Equal(t, x.Release+".json", filepath.Base(file))
		require.Equal(t, "LangBot v"+x.Release, x.Server)
		all = append(all, x)
	}
	return all
}

// body is the body as it was on the wire.
func (x exchange) body(t *testing.T) []byte {
	if x.JSON == nil {
		if x.Text == nil {
			return nil
		}
		return []byte(*x.Text)
	}
	var compact bytes.Buffer
	require.NoError(t, json.Compact(&compact, x.JSON))
	return append(compact.Bytes(), '\n')
}

// TestRecordings wants a whole recording of every release, without secrets.
func TestRecordings(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	releases := strings.Split(regexp.MustCompile(`(?m)^RELEASES = (.*)$`).FindStringSubmatch(string(makefile))[1], ",")
	all := recordings(t)
	require.Len(t, all, len(releases))
	for _, x := range all {
		require.Contains(t, releases, x.Release)
		exchanges := 0
		require.Len(t, x.Sections, len(all[0].Sections), x.Release)
		for i, s := range x.Sections {
			require.Equal(t, all[0].Sections[i].Name, s.Name, x.Release)
			exchanges += len(s.Exchanges)
		}
		require.Greater(t, exchanges, 500, x.Release)
		data, err := os.ReadFile(filepath.Join("testdata", x.Release+".json"))
		require.NoError(t, err)
		for _, secret := range regexp.MustCompile(`eyJ[\w.-]{30,}|lbk_[\w-]{20,}|lab-global-key|/root|/home|/tmp/`).FindAll(data, -1) {
			require.Empty(t, string(secret), x.Release)
		}
	}
}

// TestReferenceIsNoReal: the recorder knows the reference server when it meets it.
func TestReferenceIsNoReal(t *testing.T) {
	srv := langbottest.New(t)
	resp, err := http.Get(srv.URL + "/api/v1/system/info")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Error(t, genuine(resp.Header))
	require.NoError(t, genuine(http.Header{"Server": {"hypercorn-h11"}}))
}

// A replay gives the recorded answer to everything.
type replay struct {
	t *testing.T
	x exchange
}

func (r replay) RoundTrip(req *http.Request) (*http.Response, error) {
	header := http.Header{}
	for name, value := range r.x.Headers {
		header.Set(name, value)
	}
	body := r.x.body(r.t)
	return &http.Response{StatusCode: r.x.Status, Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		Request: req, ProtoMajor: 1, ProtoMinor: 1}, nil
}

// TestDecode reads every recorded answer with the client: each is data, LangBot's refusal or no answer of its API, and
// nothing that the client's types promise is lost.
func TestDecode(t *testing.T) {
	for _, transcript := range recordings(t) {
		t.Run(transcript.Release, func(t *testing.T) {
			read := map[string]int{}
			for _, s := range transcript.Sections {
				for i, x := range s.Exchanges {
					method, path, _ := strings.Cut(x.Ask, " ")
					if x.Status == 0 || method == "HEAD" || method == "OPTIONS" || x.Size > 0 && strings.HasPrefix(x.Headers["Content-Type"], "application/json") {
						continue
					}
					client, err := langbot.New("http://langbot.test", langbot.WithUserToken("eyJh.eyJh.x"), langbot.WithRetry(langbot.RetryPolicy{Attempts: 1}),
						langbot.WithHTTPClient(&http.Client{Transport: replay{t, x}}))
					require.NoError(t, err)
					where := fmt.Sprintf("%s %d: %s as %s", s.Name, i, x.Ask, x.As)
					decodeAny(t, client, x, method, where)
					if kind := decodeTyped(t, client, x, method, path, where); kind != "" {
						read[kind]++
					}
				}
			}
			for _, kind := range []string{"plugin", "plugins", "task", "tasks", "info", "operation", "config", "readme"} {
				require.NotZero(t, read[kind], "no recorded answer has a %s", kind)
			}
		})
	}
}

// envelope is an answer, read without the client.
type envelope struct {
	Code      any    `json:"code"`
	Msg       string `json:"msg"`
	RequestID string `json:"request_id"`
	Data      any    `json:"data"`
}

// decodeAny wants the answer's data, or the error that it stands for, from the route for everything.
func decodeAny(t *testing.T, client *langbot.Client, x exchange, method, where string) {
	var got any
	err := client.Call(t.Context(), method, "/x", nil, &got)
	var want envelope
	isJSON := x.JSON != nil && strings.HasPrefix(x.Headers["Content-Type"], "application/json") && json.Unmarshal(x.JSON, &want) == nil
	switch {
	case !isJSON || want.Code == nil:
		var page *langbot.ProtocolError
		require.ErrorAs(t, err, &page, where)
		require.Equal(t, x.Status, page.StatusCode, where)
		require.NotEmpty(t, page.Hint, where)
	case want.Code == 0.0 && x.Status < 300:
		require.NoError(t, err, where)
		require.Equal(t, want.Data, got, where)
	default:
		var refused *langbot.APIError
		require.ErrorAs(t, err, &refused, where)
		require.Equal(t, x.Status, refused.StatusCode, where)
		require.Equal(t, fmt.Sprint(want.Code), refused.Code, where)
		require.Equal(t, shortenedAs(want.Msg, refused.Message), refused.Message, where)
		require.Equal(t, want.RequestID, refused.RequestID, where)
		require.NotErrorIs(t, err, langbot.ErrOutcomeUnknown, where)
	}
}

// shortenedAs is msg, or its beginning if the client has cut it.
func shortenedAs(msg, got string) string {
	if begin, cut := strings.CutSuffix(got, "…"); cut && len(begin) > 1000 && strings.HasPrefix(msg, begin) {
		return got
	}
	return msg
}

// decodeTyped reads an answer with the method made for it, and says what it was.
func decodeTyped(t *testing.T, client *langbot.Client, x exchange, method, path, where string) string {
	path, _, _ = strings.Cut(path, "?")
	if x.Status != 200 || x.JSON == nil {
		return ""
	}
	data := object(t, x.JSON)["data"]
	switch segments := strings.Count(path, "/"); {
	case method == "GET" && path == plugins:
		got, err := client.Plugins.List(t.Context())
		require.NoError(t, err, where)
		want := data.(map[string]any)["plugins"].([]any)
		require.Len(t, got, len(want), where)
		for i := range want {
			samePlugin(t, want[i].(map[string]any), got[i], where)
		}
		return "plugins"
	case method == "GET" && strings.HasPrefix(path, plugins+"/") && segments == 5 && has(data, "plugin"):
		got, err := client.Plugins.Get(t.Context(), langbot.PluginID{Author: "a", Name: "b"})
		require.NoError(t, err, where)
		samePlugin(t, data.(map[string]any)["plugin"].(map[string]any), got, where)
		return "plugin"
	case method == "GET" && path == tasks && has(data, "tasks"):
		got, err := client.Tasks.List(t.Context(), langbot.TaskFilter{Type: "all"})
		require.NoError(t, err, where)
		want := data.(map[string]any)["tasks"].([]any)
		require.Len(t, got, len(want), where)
		for i := range want {
			sameTask(t, want[i].(map[string]any), got[i], where)
		}
		return "tasks"
	case method == "GET" && strings.HasPrefix(path, tasks+"/"):
		got, err := client.Tasks.Get(t.Context(), 1)
		require.NoError(t, err, where)
		sameTask(t, data.(map[string]any), got, where)
		return "task"
	case method == "GET" && path == "/api/v1/system/info":
		sameInfo(t, data.(map[string]any), client, where)
		return "info"
	case has(data, "task_id"):
		op, err := client.Plugins.Upgrade(t.Context(), langbot.PluginID{Author: "a", Name: "b"})
		require.NoError(t, err, where)
		require.NotEmpty(t, op.Token(), where)
		return "operation"
	}
	return decodeDetails(t, client, x, path, where)
}

// decodeDetails reads what a server tells of one plugin, or of a package.
func decodeDetails(t *testing.T, client *langbot.Client, x exchange, path, where string) string {
	id := langbot.PluginID{Author: "a", Name: "b"}
	data := object(t, x.JSON)["data"]
	switch {
	case has(data, "config"):
		if _, isObject := at(data, "config").(map[string]any); !isObject {
			return "" // a list that was written into it
		}
		got, err := client.Plugins.Config(t.Context(), id)
		require.NoError(t, err, where)
		written, err := json.Marshal(got)
		require.NoError(t, err, where)
		require.Equal(t, at(data, "config"), any(object(t, written)), where)
		require.Equal(t, strings.Contains(string(x.JSON), "9007199254740993"), strings.Contains(string(written), "9007199254740993"), where)
		return "config"
	case has(data, "readme") && at(data, "readme") != "":
		got, err := client.Plugins.Readme(t.Context(), id, "")
		require.NoError(t, err, where)
		require.Equal(t, at(data, "readme"), got, where)
		return "readme"
	case has(data, "logs") && len(at(data, "logs").([]any)) > 0:
		got, err := client.Plugins.Logs(t.Context(), id, langbot.LogFilter{})
		require.NoError(t, err, where)
		for i, line := range at(data, "logs").([]any) {
			require.Equal(t, [2]any{at(line, "level"), at(line, "text")}, [2]any{got[i].Level, got[i].Text}, where)
		}
		return "logs"
	case strings.HasSuffix(path, "/preview") && has(data, "manifest"):
		got, err := client.Plugins.Preview(t.Context(), sent{})
		require.NoError(t, err, where)
		require.Equal(t, str(at(data, "metadata", "name")), got.ID.Name, where)
		require.Equal(t, str(at(data, "metadata", "author")), got.ID.Author, where)
		require.EqualValues(t, at(data, "file_count"), got.Files, where)
		require.Len(t, got.Requirements, len(at(data, "requirements").([]any)), where)
		require.Len(t, got.Components, len(at(data, "component_counts").(map[string]any)), where)
		return "preview"
	}
	return ""
}

// sent is a package to ask about; the answer is there already.
type sent struct{}

func (sent) Author() string               { return "a" }
func (sent) Name() string                 { return "b" }
func (sent) Version() string              { return "1" }
func (sent) FileName() string             { return "" }
func (sent) Size() int64                  { return 0 }
func (sent) Open() (io.ReadCloser, error) { return http.NoBody, nil }

func object(t *testing.T, data []byte) map[string]any {
	var v map[string]any
	require.NoError(t, json.Unmarshal(data, &v))
	return v
}

func has(data any, key string) bool {
	m, ok := data.(map[string]any)
	_, there := m[key]
	return ok && there
}

// at follows a path in an answer; what is not there is nil.
func at(v any, path ...string) any {
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

func str(v any) string {
	s, _ := v.(string)
	return s
}

func samePlugin(t *testing.T, want map[string]any, got langbot.Plugin, where string) {
	metadata := at(want, "manifest", "manifest", "metadata")
	require.Equal(t, langbot.PluginID{Author: str(at(metadata, "author")), Name: str(at(metadata, "name"))}, got.ID, where)
	require.Equal(t, str(at(metadata, "version")), got.Version, where)
	for lang, text := range at(metadata, "label").(map[string]any) {
		require.Equal(t, text, got.Label[lang], where)
	}
	for lang, text := range at(metadata, "description").(map[string]any) {
		require.Equal(t, text, got.Description[lang], where)
	}
	require.Equal(t, str(want["status"]), string(got.Status), where)
	require.Equal(t, want["debug"], got.Debug, where)
	require.Equal(t, str(want["install_source"]), got.Source, where)
	var info, manifest any
	require.NoError(t, json.Unmarshal(got.InstallInfo, &info), where)
	require.Equal(t, want["install_info"], info, where)
	require.NoError(t, json.Unmarshal(got.Manifest, &manifest), where)
	require.Equal(t, at(want, "manifest", "manifest"), manifest, where)
	components, _ := want["components"].([]any)
	require.Len(t, got.Components, len(components), where)
	for i, c := range components {
		file := at(c, "manifest", "manifest")
		require.Equal(t, langbot.Component{Kind: str(at(file, "kind")), Name: str(at(file, "metadata", "name"))}, got.Components[i], where)
	}
}

func sameTask(t *testing.T, want map[string]any, got langbot.Task, where string) {
	require.EqualValues(t, want["id"], got.ID, where)
	for key, text := range map[string]string{"task_type": got.Type, "kind": got.Kind, "name": got.Name, "label": got.Label} {
		require.Equal(t, str(want[key]), text, where)
	}
	if seconds, ok := want["created_at"].(float64); ok {
		require.WithinDuration(t, time.UnixMicro(int64(seconds*1e6)), got.Created, time.Millisecond, where)
	} else {
		require.Zero(t, got.Created, where)
	}
	if status, public := want["status"]; public {
		require.Equal(t, str(status), string(got.State), where)
		require.Equal(t, str(at(want, "error", "message")), got.Message, where)
		return
	}
	runtime := want["runtime"].(map[string]any)
	state := langbot.TaskSucceeded
	switch {
	case runtime["done"] == false:
		state = langbot.TaskRunning
	case runtime["exception"] != nil:
		state = langbot.TaskFailed
	}
	require.Equal(t, state, got.State, where)
	require.Equal(t, str(runtime["exception"]), got.Message, where)
	require.Equal(t, str(runtime["exception_traceback"]), got.Traceback, where)
	require.Equal(t, str(at(want, "task_context", "current_action")), got.Action, where)
	metadata := at(want, "task_context", "metadata")
	number := func(key string) float64 {
		n, _ := at(metadata, key).(float64)
		return n
	}
	require.Equal(t, langbot.Progress{
		Percent: int(number("progress_percent")), Bytes: int64(number("download_current")), TotalBytes: int64(number("download_total")),
		BytesPerSecond: number("download_speed"), Dependencies: int(number("deps_installed")), TotalDependencies: int(number("deps_total")),
		Plugin: str(at(metadata, "plugin_name")),
	}, got.Progress, where)
}

func sameInfo(t *testing.T, want map[string]any, client *langbot.Client, where string) {
	got, err := client.System.Info(t.Context())
	require.NoError(t, err, where)
	require.Equal(t, strings.TrimPrefix(str(want["version"]), "v"), got.Version, where)
	require.Equal(t, str(want["edition"]), got.Edition, where)
	limits, _ := want["limitation"].(map[string]any)
	limit := func(key string) int {
		if n, ok := limits[key].(float64); ok {
			return int(n)
		}
		return -1
	}
	require.Equal(t, langbot.Limits{Extensions: limit("max_extensions"), Bots: limit("max_bots"), Pipelines: limit("max_pipelines"),
		KnowledgeBases: limit("max_knowledge_bases")}, got.Limits, where)
}
