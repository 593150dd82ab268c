package contract

import (
	"errors"
	"io"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/langbottest"
	"github.com/langbot-go/langbot/lbpkg"
)

func installLocal(e *env) {
	done := e.install(e.pack("1.0.0", "pass"))
	require.Equal(e, e.id, done.Plugin.ID)
	require.Equal(e, "1.0.0", done.Plugin.Version)
	require.Equal(e, langbot.PluginInitialized, done.Plugin.Status)
	require.Equal(e, "local", done.Plugin.Source)
	if e.hidden() {
		require.Zero(e, done.Task)
		e.note("Seen by the list of plugins: the task is hidden from the key.")
	} else {
		require.Equal(e, langbot.TaskSucceeded, done.Task.State)
	}
	p, err := e.client.Plugins.Get(e.ctx, e.id) // not only at the moment when Wait looked
	require.NoError(e, err)
	require.Equal(e, "1.0.0", p.Version)
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
	kept := e.keptAfter(langbot.DeleteOptions{})
	switch {
	case !e.since("4.9.7") || e.since("4.10.0") && !e.since("4.10.7"):
		e.note("The config stays, and a later installation finds it.")
		require.Equal(e, map[string]any{"greeting": "kept?"}, kept)
	default:
		require.Empty(e, kept)
	}
}

func deleteWithData(e *env) { require.Empty(e, e.keptAfter(langbot.DeleteOptions{Data: true})) }

// keptAfter configures a plugin, removes it, installs it again, and returns the config that it has then.
func (e *env) keptAfter(opts langbot.DeleteOptions) map[string]any {
	e.install(e.pack("1.0.0", "pass"))
	require.NoError(e, e.client.Plugins.SetConfig(e.ctx, e.id, map[string]any{"greeting": "kept?"}))
	_, err := e.client.Plugins.WaitReady(e.ctx, e.id, "1.0.0")
	require.NoError(e, err)
	e.remove(opts)
	e.install(e.pack("1.0.0", "pass"))
	return e.config()
}

// remove removes the case's plugin and wants it gone.
func (e *env) remove(opts langbot.DeleteOptions) {
	op, err := e.client.Plugins.Delete(e.ctx, e.id, opts)
	require.NoError(e, err)
	if e.hidden() && e.since("4.10.7") {
		e.note("The key is told at once that the end cannot be seen: reading plugins during a removal can hang this release.")
		require.Equal(e, langbot.TaskSucceeded, e.hiddenAtOnce(op).State)
	} else {
		done, err := op.Wait(e.ctx)
		require.NoError(e, err)
		require.Zero(e, done.Plugin)
	}
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
	if e.hidden() {
		e.note("The key is told at once that the end cannot be seen.")
		require.Equal(e, langbot.TaskFailed, e.hiddenAtOnce(op).State)
		return
	}
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
	if e.hidden() {
		e.note("The key is told at once that the end cannot be seen: the list is the same before and after.")
		op, err := e.client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "pass"))
		require.NoError(e, err)
		require.Equal(e, langbot.TaskSucceeded, e.hiddenAtOnce(op).State)
		return
	}
	done := e.install(e.pack("1.0.0", "pass"))
	require.Equal(e, "1.0.0", done.Plugin.Version)
}

// reinstallRefused: the task fails, and the plugin goes on.
func reinstallRefused(e *env) {
	e.install(e.pack("1.0.0", "pass"))
	op, err := e.client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "pass"))
	require.NoError(e, err)
	task := langbot.Task{}
	if e.hidden() {
		task = e.hiddenAtOnce(op)
	} else {
		task = e.failed(op)
	}
	require.Contains(e, task.Message, "already exists")
	p, err := e.client.Plugins.Get(e.ctx, e.id)
	require.NoError(e, err)
	require.Equal(e, langbot.PluginInitialized, p.Status)
}

func newerOverOlder(e *env) {
	for _, version := range []string{"1.9.0", "1.10.0", "1.2.0"} { // up, and back
		require.Equal(e, version, e.install(e.pack(version, "pass")).Plugin.Version)
	}
}

func slowPlugin(e *env) {
	e.slowStart(8 * time.Second)
	began := time.Now()
	done := e.install(e.pack("1.0.0", "await asyncio.sleep(8)"))
	require.Equal(e, langbot.PluginInitialized, done.Plugin.Status)
	require.Greater(e, time.Since(began), e.scaled(7*time.Second))
}

// startupPatience outlasts the 30 seconds after which a server gives up on a plugin.
const startupPatience = 40 * time.Second

func startFailure(e *env) {
	e.onReference(langbottest.Script{Steps: []langbottest.Step{{Action: "waiting for plugin initialization", Percent: 84, For: 100 * time.Millisecond}},
		End: langbottest.FailToStart})
	pkg := e.pack("1.0.0", `raise RuntimeError("no")`)
	if e.hidden() {
		e.note("The key is never told of the failure: Wait ends with ErrTasksHidden after Polling.Hidden.")
		e.hiddenFor(startupPatience, func(c *langbot.Client) (*langbot.Operation, error) { return c.Plugins.InstallLocal(e.ctx, pkg) })
		return
	}
	op, err := e.client.Plugins.InstallLocal(e.ctx, pkg)
	require.NoError(e, err)
	_, err = op.Wait(e.ctx)
	require.NotErrorIs(e, err, langbot.ErrNotFound)
	var failed *langbot.TaskError
	if !e.since("4.9.7") {
		e.note("The server's task succeeds; Wait ends with ErrNoEffect after Polling.Settle.")
		require.ErrorIs(e, err, langbot.ErrNoEffect)
	} else {
		require.ErrorAs(e, err, &failed)
		require.Equal(e, langbot.TaskFailed, failed.Task.State)
		if e.credential == token {
			require.Contains(e, failed.Error(), e.id.String()+" failed to start after installation")
			require.NotEmpty(e, failed.Task.Traceback)
			require.NotContains(e, failed.Error(), "Traceback")
		} else {
			e.note("A key is not told the reason.")
		}
	}
	_, err = e.client.Plugins.Get(e.ctx, e.id)
	require.ErrorIs(e, err, langbot.ErrNotFound)
}

func unmetRequirement(e *env) {
	ignored := !e.since("4.9.7") || e.since("4.10.7") && !e.since("4.10.9")
	if !ignored {
		e.onReference(langbottest.Script{End: langbottest.Fail("Plugin installation 0 failed [dependency_prepare_failed]: Plugin dependency installer exited with code 1")})
	}
	pkg := e.pack("1.0.0", "pass", archives.File{Name: "requirements.txt", Content: "this-package-does-not-exist-xyz==1\n"})
	switch {
	case ignored:
		e.note("This release does not mind, and the plugin runs as long as it can do without.")
		require.Equal(e, langbot.PluginInitialized, e.install(pkg).Plugin.Status)
		return
	case e.hidden():
		e.note("The key is never told of the failure: Wait ends with ErrTasksHidden after Polling.Hidden.")
		e.hiddenFor(startupPatience, func(c *langbot.Client) (*langbot.Operation, error) { return c.Plugins.InstallLocal(e.ctx, pkg) })
		return
	}
	op, err := e.client.Plugins.InstallLocal(e.ctx, pkg)
	require.NoError(e, err)
	task := e.failed(op)
	if e.credential == token {
		require.Contains(e, strings.ToLower(task.Message), "depend")
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

// tasks counts the tasks that users have started.
func (e *env) tasks() int {
	tasks, err := e.asUser().Tasks.List(e.ctx, langbot.TaskFilter{})
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

// archiveVerdicts uploads every archive of the table unchecked, and wants the server's task to say what the table says.
func archiveVerdicts(e *env) {
	type running struct {
		archives.Archive
		op *langbot.Operation
	}
	var queue []running
	settle := func(r running) {
		if task := e.follow(r.op); (task.State == langbot.TaskSucceeded) != (r.Rule == "" || r.Local) {
			e.Errorf("%s breaks the rule %q, and its task %s: %s", r.Name, r.Rule, task.State, task.Message)
		}
	}
	for _, a := range archives.All() {
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

// archivesOfTheNewest: older servers take some archives that the newest refuses, and are ruined by others. They are sent
// none of them.
func archivesOfTheNewest(e *env) {
	e.note("Archives are judged by the rules of 4.11.2, which are the strictest.")
	refusedArchive(e)
}

func tooLarge(e *env) {
	before := e.tasks()
	big := unchecked{id: e.id, data: make([]byte, 10<<20)} // with the form around it, it is over the limit
	_, err := e.client.Plugins.InstallLocal(e.ctx, big)
	require.ErrorIs(e, err, langbot.ErrTooLarge)
	_, err = e.connect(langbot.WithMaxUploadBytes(11<<20)).Plugins.InstallLocal(e.ctx, big)
	require.Error(e, err)
	switch {
	case errors.Is(err, langbot.ErrOutcomeUnknown): // the answer often gets lost with the connection, on every release
	case e.since("4.10.7"):
		require.ErrorIs(e, err, langbot.ErrServer) // all that LangBot says from there on
	default:
		require.ErrorIs(e, err, langbot.ErrTooLarge)
	}
	require.Equal(e, before, e.tasks())
}

func oddNames(e *env) {
	var ids []langbot.PluginID
	for _, name := range []string{"a%2Fb", "a?b", "a#b", `a\b`, "名前 ü", "in ner", "100%"} {
		ids = append(ids, langbot.PluginID{Author: "odd & " + e.credential, Name: name})
	}
	for _, id := range ids {
		done := e.install(e.packAs(id, "1.0.0", "pass"))
		require.Equal(e, id, done.Plugin.ID)
	}
	for _, id := range ids {
		p, err := e.client.Plugins.Get(e.ctx, id)
		require.NoError(e, err, id)
		require.Equal(e, id, p.ID)
		e.id = id
		e.remove(langbot.DeleteOptions{})
	}
	for _, name := range []string{"../x", "a/b", "", ".", "..", " a", "a ", "a\x00b", "a\nb", "\xff"} {
		_, err := e.client.Plugins.Get(e.ctx, langbot.PluginID{Author: "odd", Name: name})
		require.ErrorIs(e, err, langbot.ErrInvalid, "%q", name)
		_, err = e.client.Plugins.Delete(e.ctx, langbot.PluginID{Author: name, Name: "odd"}, langbot.DeleteOptions{})
		require.ErrorIs(e, err, langbot.ErrInvalid, "%q", name)
	}
}

// fromMarketplace installs the case's plugin from the marketplace, where it is the newest.
func (e *env) fromMarketplace(version string) {
	e.target.space.Add(e.id.String(), version, packed(e.id, version, "pass"))
	op, err := e.client.Plugins.InstallMarketplace(e.ctx, langbot.MarketplacePlugin{ID: e.id, Version: version})
	require.NoError(e, err)
	done, err := op.Wait(e.ctx)
	require.NoError(e, err)
	require.Equal(e, version, done.Plugin.Version)
}

func upgrade(e *env) {
	e.fromMarketplace("0.1.0")
	e.target.space.Add(e.id.String(), "0.2.0", packed(e.id, "0.2.0", "pass"))
	op, err := e.client.Plugins.Upgrade(e.ctx, e.id)
	require.NoError(e, err)
	done, err := op.Wait(e.ctx)
	require.NoError(e, err)
	require.Equal(e, "0.2.0", done.Plugin.Version)
	require.Equal(e, langbot.PluginInitialized, done.Plugin.Status)
}

func upgradeToTheSame(e *env) {
	e.fromMarketplace("0.1.0")
	if e.hidden() {
		e.note("The key is told after Polling.Hidden that no change showed.")
		e.hiddenFor(8*time.Second, func(c *langbot.Client) (*langbot.Operation, error) { return c.Plugins.Upgrade(e.ctx, e.id) })
	} else {
		op, err := e.client.Plugins.Upgrade(e.ctx, e.id)
		require.NoError(e, err)
		_, err = op.Wait(e.ctx)
		require.NoError(e, err)
	}
	p, err := e.client.Plugins.WaitReady(e.ctx, e.id, "0.1.0")
	require.NoError(e, err)
	require.Equal(e, "marketplace", p.Source)
}

func upgradeRefused(e *env) {
	missing, err := e.client.Plugins.Upgrade(e.ctx, e.id)
	require.NoError(e, err)
	if e.hidden() {
		e.note("The key is told at once that the end cannot be seen.")
		require.Equal(e, langbot.TaskFailed, e.hiddenAtOnce(missing).State)
		return
	}
	_, err = missing.Wait(e.ctx)
	if e.credential == token {
		require.ErrorIs(e, err, langbot.ErrNotFound)
	} else {
		e.note("A key is not told the reason.")
		require.NotErrorIs(e, err, langbot.ErrNotFound)
	}
	e.failed(missing)
	e.install(e.pack("1.0.0", "pass"))
	local, err := e.client.Plugins.Upgrade(e.ctx, e.id)
	require.NoError(e, err)
	_, err = local.Wait(e.ctx)
	require.NotErrorIs(e, err, langbot.ErrNotFound)
	if task := e.failed(local); e.credential == token {
		require.Contains(e, task.Message, "is not installed from marketplace")
	}
}

// config reads a plugin's config without the method for it, as the release tells it.
func (e *env) config() map[string]any {
	var data struct {
		Config map[string]any `json:"config"`
	}
	require.NoError(e, e.client.Call(e.ctx, "GET", "/api/v1/plugins/"+e.id.Author+"/"+e.id.Name+"/config", nil, &data))
	return data.Config
}

func setConfig(e *env) {
	e.install(e.pack("1.0.0", "pass"))
	for _, greeting := range []string{"one", "two"} {
		require.NoError(e, e.client.Plugins.SetConfig(e.ctx, e.id, map[string]any{"greeting": greeting}))
		p, err := e.client.Plugins.WaitReady(e.ctx, e.id, "1.0.0")
		require.NoError(e, err)
		require.Equal(e, langbot.PluginInitialized, p.Status)
		if e.since("4.9.7") && !e.since("4.10.0") {
			e.note("This release reads every config back empty.")
			require.Empty(e, e.config())
			continue
		}
		require.Equal(e, map[string]any{"greeting": greeting}, e.config())
	}
	for _, bad := range []any{nil, []int{1}, "text"} {
		require.ErrorIs(e, e.client.Plugins.SetConfig(e.ctx, e.id, bad), langbot.ErrInvalid)
	}
	_, err := e.client.Plugins.WaitReady(e.ctx, e.id, "1.0.0")
	require.NoError(e, err, "what is refused here changes nothing there")
}

func setConfigTwice(e *env) {
	e.install(e.pack("1.0.0", "pass"))
	require.NoError(e, e.client.Plugins.SetConfig(e.ctx, e.id, map[string]any{"greeting": "one"}))
	err := e.client.Plugins.SetConfig(e.ctx, e.id, map[string]any{"greeting": "two"})
	if e.since("4.9.7") && !e.since("4.10.7") {
		e.note("Nothing is lost: the plugin is restarted within the request.")
		require.NoError(e, err)
		if e.since("4.10.0") {
			require.Equal(e, map[string]any{"greeting": "two"}, e.config())
		}
	} else {
		require.ErrorIs(e, err, langbot.ErrNotFound)
	}
	_, err = e.client.Plugins.WaitReady(e.ctx, e.id, "1.0.0")
	require.NoError(e, err)
}

func setConfigMissing(e *env) {
	err := e.client.Plugins.SetConfig(e.ctx, e.id, map[string]any{"greeting": "hi"})
	require.ErrorIs(e, err, langbot.ErrNotFound)
}

// windowAfterMutation reads a plugin all the while it is replaced and configured: it may be absent, and nothing else.
func windowAfterMutation(e *env) {
	e.install(e.pack("1.0.0", "pass"))
	read := func(until func() bool) {
		for !until() {
			_, err := e.client.Plugins.Get(e.ctx, e.id)
			if err != nil {
				require.ErrorIs(e, err, langbot.ErrNotFound)
			}
			time.Sleep(e.scaled(50 * time.Millisecond))
		}
	}
	op, err := e.client.Plugins.InstallLocal(e.ctx, e.pack("2.0.0", "pass"))
	require.NoError(e, err)
	ended := make(chan error, 1)
	go func() {
		_, err := op.Wait(e.ctx)
		ended <- err
	}()
	read(func() bool { return len(ended) > 0 })
	require.NoError(e, <-ended)
	require.NoError(e, e.client.Plugins.SetConfig(e.ctx, e.id, map[string]any{}))
	over := time.Now().Add(e.scaled(3 * time.Second))
	read(func() bool { return time.Now().After(over) })
	_, err = e.client.Plugins.WaitReady(e.ctx, e.id, "2.0.0")
	require.NoError(e, err)
}
