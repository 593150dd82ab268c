package contract

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
)

// marketplaceBody asks for a plugin that no marketplace has: what a server makes of the body shows in the task.
func marketplaceBody(e *env) {
	install := func(c *langbot.Client) (*langbot.Operation, error) {
		return c.Plugins.InstallMarketplace(e.ctx, langbot.MarketplacePlugin{ID: e.id, Version: "0.1.0"})
	}
	if e.hidden() {
		e.note("The key is never told that there is no such plugin: Wait ends with ErrTasksHidden after Polling.Hidden.")
		e.hiddenFor(5*time.Second, install)
	}
	op, err := install(e.client)
	require.NoError(e, err)
	if !e.hidden() {
		e.failed(op)
	}
	task := e.end(op) // as a user sees it
	require.Equal(e, langbot.TaskFailed, task.State)
	require.Equal(e, "plugin-install-marketplace", task.Name)
	if e.since("4.10.7") {
		require.Contains(e, task.Label, e.id.String())
	}
	if e.since("4.9.5") {
		require.Equal(e, e.id.String(), task.Progress.Plugin, "the server has understood another name")
	}
}

func marketplaceVersion(e *env) {
	for _, version := range []string{"0.1.0", "0.2.0"} {
		e.target.space.Add(e.id.String(), version, packed(e.id, version, "pass"))
	}
	op, err := e.client.Plugins.InstallMarketplace(e.ctx, langbot.MarketplacePlugin{ID: e.id, Version: "0.1.0"})
	require.NoError(e, err)
	if e.since("4.10.7") && !e.since("4.11.0") {
		e.note("The server installs the newest version whatever is asked for: Wait never takes that for success.")
		e.ignored(op)
		return
	}
	done, err := op.Wait(e.ctx)
	require.NoError(e, err)
	require.Equal(e, "0.1.0", done.Plugin.Version)
}

// ignored wants a wait for a version that the server has ignored to say so.
func (e *env) ignored(op *langbot.Operation) {
	client := e.connect(e.polling(langbot.Polling{Settle: 5 * time.Second, Hidden: 8 * time.Second}))
	resumed, err := client.Tasks.Resume(op.Token())
	require.NoError(e, err)
	_, err = resumed.Wait(e.ctx)
	if e.hidden() {
		require.ErrorIs(e, err, langbot.ErrTasksHidden)
	} else {
		require.ErrorIs(e, err, langbot.ErrNoEffect)
		require.ErrorContains(e, err, "0.1.0", "asked for")
		require.ErrorContains(e, err, "0.2.0", "installed")
	}
	_, err = e.client.Plugins.WaitReady(e.ctx, e.id, "0.2.0")
	require.NoError(e, err)
}

func marketplaceNewest(e *env) {
	for _, version := range []string{"0.1.0", "0.2.0"} {
		e.target.space.Add(e.id.String(), version, packed(e.id, version, "pass"))
	}
	op, err := e.client.Plugins.InstallMarketplace(e.ctx, langbot.MarketplacePlugin{ID: e.id})
	require.NoError(e, err)
	done, err := op.Wait(e.ctx)
	require.NoError(e, err)
	require.Equal(e, "0.2.0", done.Plugin.Version)
}

func marketplaceNeedsVersion(e *env) {
	e.note("Name a version: without one the task fails.")
	e.target.space.Add(e.id.String(), "0.1.0", packed(e.id, "0.1.0", "pass"))
	op, err := e.client.Plugins.InstallMarketplace(e.ctx, langbot.MarketplacePlugin{ID: e.id})
	require.NoError(e, err)
	if task := e.end(op); task.State != langbot.TaskFailed {
		e.Errorf("the task %s", task.State)
	}
}

// marketplaceMCP asks for a plugin whose name is that of an MCP server only.
func marketplaceMCP(e *env) {
	e.target.space.AddMCP(e.id.String())
	plugin := langbot.MarketplacePlugin{ID: e.id}
	if !e.since("4.10.7") {
		plugin.Version = "0.1.0"
	}
	op, err := e.connect(e.polling(langbot.Polling{Settle: 5 * time.Second, Hidden: 8 * time.Second})).Plugins.InstallMarketplace(e.ctx, plugin)
	require.NoError(e, err)
	_, err = op.Wait(e.ctx)
	switch {
	case e.hidden():
		e.note("The key is told after Polling.Hidden that no plugin showed.")
		require.ErrorIs(e, err, langbot.ErrTasksHidden)
	case e.since("4.10.0"):
		require.ErrorIs(e, err, langbot.ErrNoEffect)
		require.ErrorContains(e, err, "MCP server")
	default:
		e.note("The server has no such fallback, and the task fails.")
		e.failed(op)
	}
}

func gitHubBody(e *env) {
	asset := langbot.GitHubAsset{Owner: "acme", Repo: "none", ReleaseTag: "v1", ReleaseID: 1, AssetID: 2,
		AssetURL: "https://github.com/acme/none/releases/download/v1/none.lbpkg"}
	op, err := e.client.Plugins.InstallGitHub(e.ctx, asset)
	require.NoError(e, err)
	if e.hidden() {
		e.note("The key is told at once that the end cannot be seen: which plugin a release holds is not known beforehand.")
		e.hiddenAtOnce(op)
	} else {
		e.failed(op) // there is no such release, or no GitHub
	}
	task := e.end(op) // as a user sees it
	require.Equal(e, "plugin-install-github", task.Name)
	require.NotContains(e, task.Message, "releases/None", "the server did not get the numbers")
	if e.since("4.10.7") {
		require.Equal(e, "acme/none", task.Progress.Plugin)
		require.Contains(e, task.Label, "acme/none")
	}
	asset.AssetID = 0
	_, err = e.client.Plugins.InstallGitHub(e.ctx, asset)
	require.ErrorIs(e, err, langbot.ErrInvalid)
}

// released publishes the case's plugin on GitHub, in a repository of its own.
func (e *env) released() langbot.GitHubAsset {
	repo := "contract/" + e.id.Name
	release, asset := e.target.github.Add(repo, "v1.0.0", "plugin.lbpkg", packed(e.id, "1.0.0", "pass"))
	return langbot.GitHubAsset{Owner: "contract", Repo: e.id.Name, ReleaseTag: "v1.0.0", ReleaseID: release, AssetID: asset,
		AssetURL: "https://github.com/" + repo + "/releases/download/v1.0.0/plugin.lbpkg"}
}

func gitHubInstall(e *env) { e.fromGitHub(e.released()) }

func gitHubByTag(e *env) {
	a := e.released()
	e.fromGitHub(langbot.GitHubAsset{Owner: a.Owner, Repo: a.Repo, ReleaseTag: a.ReleaseTag})
	_, err := e.client.Plugins.InstallGitHub(e.ctx, langbot.GitHubAsset{Owner: a.Owner, Repo: a.Repo, ReleaseTag: "v9"})
	require.ErrorIs(e, err, langbot.ErrNotFound)
}

func (e *env) fromGitHub(a langbot.GitHubAsset) {
	op, err := e.client.Plugins.InstallGitHub(e.ctx, a)
	require.NoError(e, err)
	if e.hidden() {
		e.note("The key is told at once that the end cannot be seen: which plugin a release holds is not known beforehand.")
		require.Equal(e, langbot.TaskSucceeded, e.hiddenAtOnce(op).State)
	} else {
		done, err := op.Wait(e.ctx)
		require.NoError(e, err)
		require.Equal(e, e.id, done.Plugin.ID)
	}
	p, err := e.client.Plugins.WaitReady(e.ctx, e.id, "1.0.0")
	require.NoError(e, err)
	require.Equal(e, "github", p.Source)
}

// gitHubAway: the step that failed is named, and nothing is started.
func gitHubAway(e *env) {
	a := e.released()
	before := e.tasks()
	e.target.github.Fail(true)
	defer e.target.github.Fail(false)
	_, err := e.client.Plugins.InstallGitHub(e.ctx, langbot.GitHubAsset{Owner: a.Owner, Repo: a.Repo, ReleaseTag: a.ReleaseTag})
	require.ErrorIs(e, err, langbot.ErrServer)
	require.ErrorContains(e, err, "could not list the releases of "+a.Owner+"/"+a.Repo)
	require.NotErrorIs(e, err, langbot.ErrOutcomeUnknown)
	require.Equal(e, before, e.tasks())
}
