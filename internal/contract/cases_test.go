package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/langbottest"
	"github.com/langbot-go/langbot/lbpkg"
)

// cases are the promises, by name. The last one leaves a server in disorder.
var cases = []testCase{
	{name: "install-local", run: installLocal, broken: []string{successWithoutEffect, lostAnswer, htmlAnswers, wrongVersion, endlessTask, otherTask}},
	{name: "progress-and-events", run: progressAndEvents, broken: []string{htmlAnswers, endlessTask, otherTask}},
	{name: "list-and-get", run: listAndGet, broken: []string{htmlAnswers, successWithoutEffect, wrongVersion}},
	{name: "delete", run: deletePlugin, broken: []string{successWithoutEffect, lostAnswer, endlessTask}},
	{name: "delete-with-data", run: deleteWithData, broken: []string{successWithoutEffect}},
	{name: "delete-missing", run: deleteMissing, broken: []string{otherTask}},
	{name: "get-missing", run: getMissing, broken: []string{htmlAnswers}},
	{name: "reinstall-same-version", since: "4.10.7", run: reinstallSameVersion, broken: []string{lostAnswer, endlessTask}},
	{name: "newer-version-over-older", run: newerOverOlder, broken: []string{wrongVersion, successWithoutEffect}},
	{name: "start-failure", since: "4.9.7", run: startFailure, broken: []string{endlessTask}},
	{name: "refused-archive-never-sent", by: []string{key}, run: refusedArchive},
	{name: "unmet-requirement", since: "4.10.9", run: unmetRequirement, broken: []string{endlessTask}},
	{name: "wrong-key", by: []string{key}, run: wrongKey, broken: []string{htmlAnswers}},
	{name: "key-without-permission", since: "4.10.11", by: []string{key}, run: keyWithoutPermission},
	{name: "task-by-key-and-by-token", since: "4.10.11", by: []string{token}, run: taskByBoth, broken: []string{otherTask}},
	{name: "task-unknown", run: taskUnknown, broken: []string{htmlAnswers}},
	{name: "resume-in-another-process", run: resumeElsewhere, broken: []string{successWithoutEffect, otherTask}},
	{name: "cancel-while-waiting", run: cancelWhileWaiting, broken: []string{endlessTask}},
	{name: "too-large", run: tooLarge},
	{name: "early-401-on-upload", by: []string{key}, run: earlyRefusal},
	{name: "wrong-base-url", run: wrongBaseURL},
	{name: "path-prefix", run: pathPrefix, broken: []string{htmlAnswers}},
	{name: "marketplace-body", since: "4.10.11", run: marketplaceBody, broken: []string{otherTask}},
	{name: "github-body", since: "4.10.11", run: gitHubBody, broken: []string{otherTask}},
	{name: "unicode-and-odd-names", run: oddNames, broken: []string{successWithoutEffect}},
	{name: "archive-verdicts", since: "4.11.2", by: []string{token}, run: archiveVerdicts},
}

func installLocal(e *env) {
	done := e.install(e.pack("1.0.0", "pass"))
	require.Equal(e, e.id, done.Plugin.ID)
	require.Equal(e, "1.0.0", done.Plugin.Version)
	require.Equal(e, langbot.PluginInitialized, done.Plugin.Status)
	require.Equal(e, "local", done.Plugin.Source)
	require.Equal(e, langbot.TaskSucceeded, done.Task.State)
	p, err := e.client.Plugins.Get(e.ctx, e.id) // not only at the moment when Wait looked
	require.NoError(e, err)
	require.Equal(e, "1.0.0", p.Version)
}

func progressAndEvents(e *env) {
	if e.target.reference != nil {
		e.onReference(langbottest.Script{Steps: []langbottest.Step{
			{Action: "preparing plugin install", For: 100 * time.Millisecond},
			{Action: "persisting the installation", Percent: 45, For: 100 * time.Millisecond},
			{Action: "waiting for plugin initialization", Percent: 84, For: 100 * time.Millisecond}}})
	}
	op, err := e.client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "await asyncio.sleep(2)"))
	require.NoError(e, err)
	var seen []langbot.Task
	for task, err := range op.Events(e.ctx) {
		require.NoError(e, err)
		seen = append(seen, task)
	}
	require.GreaterOrEqual(e, len(seen), 2, "%+v", seen)
	last := seen[len(seen)-1]
	require.Equal(e, langbot.TaskSucceeded, last.State)
	for i, task := range seen[:len(seen)-1] {
		require.Equal(e, langbot.TaskRunning, task.State)
		require.NotEqual(e, task, seen[i+1], "the same task twice in a row")
		require.LessOrEqual(e, task.Progress.Percent, seen[i+1].Progress.Percent)
	}
	if e.credential == token {
		require.Equal(e, "plugin-install-local", last.Name)
		require.Equal(e, e.id.String(), last.Progress.Plugin)
		if e.target.reference != nil {
			require.Equal(e, 100, last.Progress.Percent)
		}
	}
	_, err = op.Wait(e.ctx)
	require.NoError(e, err)
}

func listAndGet(e *env) {
	e.install(e.pack("1.0.0-rc.1", "pass"))
	plugins, err := e.client.Plugins.List(e.ctx)
	require.NoError(e, err)
	one, err := e.client.Plugins.Get(e.ctx, e.id)
	require.NoError(e, err)
	require.Contains(e, plugins, one)
	require.Equal(e, "1.0.0-rc.1", one.Version)
	require.Equal(e, "Demo", one.Label.In("en"))
	require.Equal(e, "Demo plugin", one.Description.In("zh_Hans"))
	require.Contains(e, string(one.Manifest), `"kind":"Plugin"`)
	require.False(e, one.Debug)
}

func deletePlugin(e *env) {
	e.install(e.pack("1.0.0", "pass"))
	e.remove(langbot.DeleteOptions{})
}

func deleteWithData(e *env) {
	e.install(e.pack("1.0.0", "pass"))
	e.remove(langbot.DeleteOptions{Data: true})
}

func (e *env) remove(opts langbot.DeleteOptions) {
	op, err := e.client.Plugins.Delete(e.ctx, e.id, opts)
	require.NoError(e, err)
	done, err := op.Wait(e.ctx)
	require.NoError(e, err)
	require.Zero(e, done.Plugin)
	_, err = e.client.Plugins.Get(e.ctx, e.id)
	require.ErrorIs(e, err, langbot.ErrNotFound)
	plugins, err := e.client.Plugins.List(e.ctx)
	require.NoError(e, err)
	for _, p := range plugins {
		require.NotEqual(e, e.id, p.ID)
	}
}

func deleteMissing(e *env) {
	op, err := e.client.Plugins.Delete(e.ctx, e.id, langbot.DeleteOptions{})
	require.NoError(e, err)
	_, err = op.Wait(e.ctx)
	require.ErrorIs(e, err, langbot.ErrNotFound)
	var failed *langbot.TaskError
	require.ErrorAs(e, err, &failed)
	require.Equal(e, langbot.TaskFailed, failed.Task.State)
}

func getMissing(e *env) {
	_, err := e.client.Plugins.Get(e.ctx, e.id)
	require.ErrorIs(e, err, langbot.ErrNotFound)
	var refused *langbot.APIError
	require.ErrorAs(e, err, &refused)
	require.Equal(e, "GET /api/v1/plugins/{author}/{name}", refused.Op)
}

func reinstallSameVersion(e *env) {
	e.install(e.pack("1.0.0", "pass"))
	done := e.install(e.pack("1.0.0", "pass"))
	require.Equal(e, "1.0.0", done.Plugin.Version)
}

func newerOverOlder(e *env) {
	e.install(e.pack("1.9.0", "pass"))
	done := e.install(e.pack("1.10.0", "pass"))
	require.Equal(e, "1.10.0", done.Plugin.Version)
	done = e.install(e.pack("1.2.0", "pass")) // and back
	require.Equal(e, "1.2.0", done.Plugin.Version)
}

func startFailure(e *env) {
	e.onReference(langbottest.Script{Steps: []langbottest.Step{{Action: "waiting for plugin initialization", Percent: 84, For: 100 * time.Millisecond}},
		End: langbottest.FailToStart})
	op, err := e.client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", `raise RuntimeError("no")`))
	require.NoError(e, err)
	_, err = op.Wait(e.ctx)
	var failed *langbot.TaskError
	require.ErrorAs(e, err, &failed)
	require.Equal(e, langbot.TaskFailed, failed.Task.State)
	require.NotErrorIs(e, err, langbot.ErrNotFound)
	if e.credential == token {
		require.Contains(e, failed.Error(), e.id.String()+" failed to start after installation")
		require.NotEmpty(e, failed.Task.Traceback)
		require.NotContains(e, failed.Error(), "Traceback")
	}
	_, err = e.client.Plugins.Get(e.ctx, e.id)
	require.ErrorIs(e, err, langbot.ErrNotFound)
}

func refusedArchive(e *env) {
	before := e.tasks()
	for _, a := range archives.All() {
		if a.Rule != "" {
			_, err := lbpkg.Parse(a.Bytes)
			var rule *lbpkg.Error
			require.ErrorAs(e, err, &rule, a.Name)
			require.Equal(e, a.Rule, rule.Rule, a.Name)
		}
	}
	for _, bad := range []langbot.PluginID{{Author: "a/b", Name: "c"}, {Author: "a", Name: ".."}, {Author: "", Name: "c"}} {
		_, err := e.client.Plugins.InstallLocal(e.ctx, unchecked{id: bad, data: []byte("x")})
		require.ErrorIs(e, err, langbot.ErrInvalid)
	}
	require.Equal(e, before, e.tasks())
}

// tasks counts the tasks that users have started, on servers that show them.
func (e *env) tasks() int {
	client := e.connect(langbot.WithUserToken(e.target.token))
	tasks, err := client.Tasks.List(e.ctx, langbot.TaskFilter{})
	require.NoError(e, err)
	return len(tasks)
}

// unchecked is an archive that nobody has looked into.
type unchecked struct {
	id   langbot.PluginID
	data []byte
}

func (u unchecked) Author() string   { return u.id.Author }
func (u unchecked) Name() string     { return u.id.Name }
func (u unchecked) Version() string  { return "" }
func (u unchecked) FileName() string { return "" }
func (u unchecked) Size() int64      { return int64(len(u.data)) }
func (u unchecked) Open() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(u.data))), nil
}

func unmetRequirement(e *env) {
	e.onReference(langbottest.Script{End: langbottest.Fail("Plugin installation 0 failed [dependency_prepare_failed]: Plugin dependency installer exited with code 1")})
	op, err := e.client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "pass",
		archives.File{Name: "requirements.txt", Content: "this-package-does-not-exist-xyz==1\n"}))
	require.NoError(e, err)
	_, err = op.Wait(e.ctx)
	var failed *langbot.TaskError
	require.ErrorAs(e, err, &failed)
	if e.credential == token {
		require.Contains(e, failed.Task.Message, "dependency_prepare_failed")
	}
	_, err = e.client.Plugins.Get(e.ctx, e.id)
	require.ErrorIs(e, err, langbot.ErrNotFound)
}

func wrongKey(e *env) {
	const wrong = "lbk_wrong-and-secret-key-0123456789"
	client := e.connect(langbot.WithAPIKey(wrong))
	_, listed := client.Plugins.List(e.ctx)
	_, got := client.Plugins.Get(e.ctx, e.id)
	_, task := client.Tasks.Get(e.ctx, 0)
	_, installed := client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "pass"))
	_, deleted := client.Plugins.Delete(e.ctx, e.id, langbot.DeleteOptions{})
	for what, err := range map[string]error{"list": listed, "get": got, "task": task, "install": installed, "delete": deleted} {
		require.ErrorIs(e, err, langbot.ErrUnauthorized, what)
		require.NotErrorIs(e, err, langbot.ErrOutcomeUnknown, what)
		require.NotContains(e, fmt.Sprintf("%v %+v", err, err), wrong, what)
	}
}

func keyWithoutPermission(e *env) {
	reader := e.connect(langbot.WithAPIKey(e.target.newKey(e.ctx, e, []string{"resource.view"})))
	_, err := reader.Plugins.List(e.ctx)
	require.NoError(e, err)
	_, err = reader.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "pass"))
	require.ErrorIs(e, err, langbot.ErrForbidden)

	writer := e.connect(langbot.WithAPIKey(e.target.newKey(e.ctx, e, []string{"resource.manage"})))
	_, err = writer.Plugins.List(e.ctx)
	require.ErrorIs(e, err, langbot.ErrForbidden)
	op, err := writer.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "pass"))
	require.NoError(e, err)
	_, err = op.Wait(e.ctx)
	require.ErrorIs(e, err, langbot.ErrForbidden)
	require.ErrorContains(e, err, "resource.view")

	resumed, err := e.client.Tasks.Resume(op.Token()) // a key that may look sees it through
	require.NoError(e, err)
	_, err = resumed.Wait(e.ctx)
	require.NoError(e, err)
}

func taskByBoth(e *env) {
	done := e.install(e.pack("1.0.0", "pass"))
	byToken, err := e.client.Tasks.Get(e.ctx, done.Task.ID)
	require.NoError(e, err)
	byKey, err := e.connect(langbot.WithAPIKey(e.target.key)).Tasks.Get(e.ctx, done.Task.ID)
	require.NoError(e, err)
	require.Equal(e, "plugin-install-local", byToken.Name)
	require.Empty(e, byKey.Name)
	byToken.Name, byToken.Label, byToken.Action, byToken.Progress = "", "", "", langbot.Progress{}
	require.Equal(e, byToken, byKey)
	require.Equal(e, "plugin-operation", byKey.Kind)
	for _, filter := range []langbot.TaskFilter{{}, {Type: "user", Kind: "plugin-operation"}, {Type: "all"}} {
		tasks, err := e.connect(langbot.WithAPIKey(e.target.key)).Tasks.List(e.ctx, filter)
		require.NoError(e, err)
		require.Contains(e, tasks, byKey)
	}
}

func taskUnknown(e *env) {
	for _, id := range []int64{999_999, -1} {
		_, err := e.client.Tasks.Get(e.ctx, id)
		require.ErrorIs(e, err, langbot.ErrNotFound)
	}
}

// TestResumedProcess is the other process of resume-in-another-process.
func TestResumedProcess(t *testing.T) {
	resumeToken := os.Getenv("CONTRACT_RESUME")
	if resumeToken == "" {
		t.Skip("run by the case resume-in-another-process")
	}
	x := &target{url: os.Getenv("CONTRACT_URL"), key: os.Getenv("CONTRACT_KEY"), token: os.Getenv("CONTRACT_TOKEN"), quick: os.Getenv("CONTRACT_QUICK") != ""}
	op, err := x.client(t, os.Getenv("CONTRACT_BY")).Tasks.Resume(resumeToken)
	require.NoError(t, err)
	done, err := op.Wait(t.Context())
	require.NoError(t, err)
	fmt.Printf("resumed: %s %s %s\n", done.Plugin.ID, done.Plugin.Version, done.Plugin.Status)
}

func resumeElsewhere(e *env) {
	e.onReference(langbottest.Script{Steps: []langbottest.Step{{Action: "waiting for plugin initialization", Percent: 84, For: time.Second}}})
	op, err := e.client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "await asyncio.sleep(3)"))
	require.NoError(e, err)
	resumeToken := op.Token()
	require.NotContains(e, resumeToken, e.target.key)
	require.NotContains(e, resumeToken, e.target.token)
	cmd := exec.CommandContext(e.ctx, os.Args[0], "-test.run=^TestResumedProcess$", "-test.v")
	cmd.Env = append(os.Environ(), "CONTRACT_RESUME="+resumeToken, "CONTRACT_URL="+e.target.url, "CONTRACT_KEY="+e.target.key,
		"CONTRACT_TOKEN="+e.target.token, "CONTRACT_BY="+e.credential)
	if e.target.quick {
		cmd.Env = append(cmd.Env, "CONTRACT_QUICK=yes")
	}
	out, err := cmd.CombinedOutput()
	require.NoError(e, err, string(out))
	require.Contains(e, string(out), "resumed: "+e.id.String()+" 1.0.0 initialized")

	elsewhere, err := langbot.New("http://127.0.0.1:1", langbot.WithAPIKey(e.target.key))
	require.NoError(e, err)
	_, err = elsewhere.Tasks.Resume(resumeToken)
	require.ErrorIs(e, err, langbot.ErrInvalid)
}

func cancelWhileWaiting(e *env) {
	e.onReference(langbottest.Script{Steps: []langbottest.Step{{Action: "waiting for plugin initialization", Percent: 84, For: time.Second}}})
	op, err := e.client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "await asyncio.sleep(3)"))
	require.NoError(e, err)
	reason := errors.New("the user has changed his mind")
	ctx, cancel := context.WithCancelCause(e.ctx)
	time.AfterFunc(300*time.Millisecond, func() { cancel(reason) })
	_, err = op.Wait(ctx)
	var ended *langbot.WaitError
	require.ErrorAs(e, err, &ended)
	require.ErrorIs(e, err, context.Canceled)
	require.ErrorIs(e, err, reason)
	require.Equal(e, langbot.TaskRunning, ended.Task.State)
	done, err := op.Wait(e.ctx) // the operation went on
	require.NoError(e, err)
	require.Equal(e, e.id, done.Plugin.ID)
}

func tooLarge(e *env) {
	before := e.tasks()
	big := unchecked{id: e.id, data: make([]byte, 10<<20)} // with the form around it, it is over the limit
	_, err := e.client.Plugins.InstallLocal(e.ctx, big)
	require.ErrorIs(e, err, langbot.ErrTooLarge)
	_, err = e.connect(langbot.WithMaxUploadBytes(11<<20)).Plugins.InstallLocal(e.ctx, big)
	require.Error(e, err)
	if e.target.reference != nil {
		require.ErrorIs(e, err, langbot.ErrServer) // all that LangBot says from 4.10.7 on
	}
	require.Equal(e, before, e.tasks())
}

func earlyRefusal(e *env) {
	before := e.tasks()
	client := e.connect(langbot.WithAPIKey("lbk_wrong-and-secret-key-0123456789"))
	for range 20 {
		_, err := client.Plugins.InstallLocal(e.ctx, unchecked{id: e.id, data: make([]byte, 9<<20)})
		require.ErrorIs(e, err, langbot.ErrUnauthorized)
		require.NotErrorIs(e, err, langbot.ErrOutcomeUnknown)
	}
	require.Equal(e, before, e.tasks())
}

func wrongBaseURL(e *env) {
	before := e.tasks()
	for _, path := range []string{"/nope", "/plugins"} {
		client, err := langbot.New(e.target.url+path, e.target.options(e.credential)...)
		require.NoError(e, err)
		_, err = client.Plugins.List(e.ctx)
		var page *langbot.ProtocolError
		require.ErrorAs(e, err, &page)
		require.Contains(e, page.Hint, "base URL")
		require.NotErrorIs(e, err, langbot.ErrNotFound)
		_, err = client.Plugins.Delete(e.ctx, e.id, langbot.DeleteOptions{})
		require.ErrorAs(e, err, &page)
		require.NotErrorIs(e, err, langbot.ErrOutcomeUnknown)
	}
	require.Equal(e, before, e.tasks())
}

func pathPrefix(e *env) {
	backend, err := url.Parse(e.target.url)
	require.NoError(e, err)
	proxy := httptest.NewServer(http.StripPrefix("/lang bot", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(backend) }}))
	defer proxy.Close()
	e.client, err = langbot.New(proxy.URL+"/lang%20bot/", e.target.options(e.credential)...)
	require.NoError(e, err)
	e.install(e.pack("1.0.0", "pass"))
	e.remove(langbot.DeleteOptions{})
}

func marketplaceBody(e *env) {
	op, err := e.client.Plugins.InstallMarketplace(e.ctx, langbot.MarketplacePlugin{ID: e.id, Version: "0.1.0"})
	require.NoError(e, err)
	task := e.failed(op)
	if e.credential == token {
		require.Equal(e, e.id.String(), task.Progress.Plugin, "the server has understood another name")
		require.Contains(e, task.Label, e.id.String())
	}
}

func gitHubBody(e *env) {
	asset := langbot.GitHubAsset{Owner: "acme", Repo: "demo", ReleaseTag: "v1", ReleaseID: 1, AssetID: 2,
		AssetURL: "https://github.com/acme/demo/releases/download/v1/demo.lbpkg"}
	op, err := e.client.Plugins.InstallGitHub(e.ctx, asset)
	require.NoError(e, err)
	task := e.failed(op) // there is no such release, or no GitHub
	if e.credential == token {
		require.Equal(e, "acme/demo", task.Progress.Plugin)
		require.Contains(e, task.Label, "acme/demo")
		require.NotContains(e, task.Message, "releases/None", "the server did not get the numbers")
	}
	asset.AssetID = 0
	_, err = e.client.Plugins.InstallGitHub(e.ctx, asset)
	require.ErrorIs(e, err, langbot.ErrInvalid)
}

// failed waits for an operation that has to fail.
func (e *env) failed(op *langbot.Operation) langbot.Task {
	_, err := op.Wait(e.ctx)
	var failed *langbot.TaskError
	require.ErrorAs(e, err, &failed)
	return failed.Task
}

func oddNames(e *env) {
	var ops []*langbot.Operation
	var ids []langbot.PluginID
	for _, name := range []string{"a%2Fb", "a?b", "a#b", `a\b`, "名前 ü", "in ner", "100%"} {
		id := langbot.PluginID{Author: "odd & " + e.credential, Name: name}
		op, err := e.client.Plugins.InstallLocal(e.ctx, e.packAs(id, "1.0.0", "pass"))
		require.NoError(e, err, name)
		ids, ops = append(ids, id), append(ops, op)
	}
	for i, op := range ops {
		done, err := op.Wait(e.ctx)
		require.NoError(e, err, ids[i])
		require.Equal(e, ids[i], done.Plugin.ID)
	}
	for _, id := range ids {
		p, err := e.client.Plugins.Get(e.ctx, id)
		require.NoError(e, err, id)
		require.Equal(e, id, p.ID)
		op, err := e.client.Plugins.Delete(e.ctx, id, langbot.DeleteOptions{})
		require.NoError(e, err)
		_, err = op.Wait(e.ctx)
		require.NoError(e, err, id)
		_, err = e.client.Plugins.Get(e.ctx, id)
		require.ErrorIs(e, err, langbot.ErrNotFound)
	}
	for _, name := range []string{"../x", "a/b", "", ".", "..", " a", "a ", "a\x00b", "a\nb", "\xff"} {
		_, err := e.client.Plugins.Get(e.ctx, langbot.PluginID{Author: "odd", Name: name})
		require.ErrorIs(e, err, langbot.ErrInvalid, "%q", name)
		_, err = e.client.Plugins.Delete(e.ctx, langbot.PluginID{Author: name, Name: "odd"}, langbot.DeleteOptions{})
		require.ErrorIs(e, err, langbot.ErrInvalid, "%q", name)
	}
}

// archiveVerdicts uploads every archive of the table unchecked, and wants the server's task to say what the table says.
func archiveVerdicts(e *env) {
	type running struct {
		archives.Archive
		op *langbot.Operation
	}
	var queue []running
	settle := func(r running) {
		for task, err := range r.op.Events(e.ctx) {
			require.NoError(e, err, r.Name)
			switch {
			case task.State == langbot.TaskRunning:
			case (task.State == langbot.TaskSucceeded) != (r.Rule == "" || r.Local):
				e.Errorf("%s breaks the rule %q, and its task %s: %s", r.Name, r.Rule, task.State, task.Message)
			}
		}
	}
	for _, a := range archives.All() {
		if a.Local && e.target.reference != nil {
			continue // the reference server reads archives by the checker's rules
		}
		if len(queue) == 6 { // LangBot runs eight tasks
			settle(queue[0])
			queue = queue[1:]
		}
		op, err := e.client.Plugins.InstallLocal(e.ctx, unchecked{id: langbot.PluginID{Author: "odd", Name: a.Name}, data: a.Bytes})
		require.NoError(e, err, a.Name)
		queue = append(queue, running{a, op})
	}
	for _, r := range queue {
		settle(r)
	}
}
