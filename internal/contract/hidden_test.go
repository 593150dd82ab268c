package contract

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
)

// hiddenCases hold for the releases that show no tasks to API keys: what such a client may claim without seeing any.
var hiddenCases = []testCase{
	{name: "hidden-install", until: "4.10.10", by: []string{key}, run: hiddenInstall},
	{name: "hidden-newer-over-older", until: "4.10.10", by: []string{key}, run: hiddenNewer},
	{name: "hidden-removal", until: "4.10.6", by: []string{key}, run: hiddenRemoval},
	{name: "hidden-removal-unwatchable", since: "4.10.7", until: "4.10.10", by: []string{key}, run: hiddenUnwatchable},
	{name: "hidden-same-version", until: "4.10.10", by: []string{key}, run: hiddenSameVersion},
	{name: "hidden-github", until: "4.10.10", by: []string{key}, run: hiddenGitHub},
	{name: "hidden-start-failure", since: "4.9.7", until: "4.10.10", by: []string{key}, run: hiddenStartFailure},
	{name: "hidden-task-routes", until: "4.10.10", by: []string{key}, run: hiddenTaskRoutes},
}

func hiddenInstall(e *env) {
	done := e.install(e.pack("1.0.0", "pass"))
	require.Equal(e, "1.0.0", done.Plugin.Version)
	require.Equal(e, langbot.PluginInitialized, done.Plugin.Status)
	require.Zero(e, done.Task)
}

func hiddenNewer(e *env) {
	e.install(e.pack("1.9.0", "pass"))
	require.Equal(e, "1.10.0", e.install(e.pack("1.10.0", "pass")).Plugin.Version)
}

func hiddenRemoval(e *env) {
	e.install(e.pack("1.0.0", "pass"))
	e.remove(langbot.DeleteOptions{})
}

func hiddenUnwatchable(e *env) {
	e.install(e.pack("1.0.0", "pass"))
	op, err := e.client.Plugins.Delete(e.ctx, e.id, langbot.DeleteOptions{})
	require.NoError(e, err)
	e.atOnceHidden(op)
	// The next case reads plugins, which during a removal hangs such a server for good: seen on 4.10.9. A user sees the end.
	resumed, err := e.connect(langbot.WithUserToken(e.target.token)).Tasks.Resume(op.Token())
	require.NoError(e, err)
	var last langbot.Task
	for task, err := range resumed.Events(e.ctx) {
		require.NoError(e, err)
		last = task
	}
	require.Equal(e, langbot.TaskSucceeded, last.State)
}

func hiddenSameVersion(e *env) {
	e.install(e.pack("1.0.0", "pass"))
	op, err := e.client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "pass"))
	require.NoError(e, err)
	e.atOnceHidden(op)
}

func hiddenGitHub(e *env) {
	op, err := e.client.Plugins.InstallGitHub(e.ctx, langbot.GitHubAsset{Owner: "acme", Repo: "demo", ReleaseTag: "v1", ReleaseID: 1, AssetID: 2,
		AssetURL: "https://github.com/acme/demo/releases/download/v1/demo.lbpkg"})
	require.NoError(e, err)
	e.atOnceHidden(op)
}

// atOnceHidden wants Wait to say at once that there is nothing to see.
func (e *env) atOnceHidden(op *langbot.Operation) {
	began := time.Now()
	_, err := op.Wait(e.ctx)
	require.ErrorIs(e, err, langbot.ErrTasksHidden)
	require.Less(e, time.Since(began), 5*time.Millisecond)
}

func hiddenStartFailure(e *env) {
	client := e.connect(langbot.WithPolling(langbot.Polling{Hidden: 45 * time.Second}))
	op, err := client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", `raise RuntimeError("no")`))
	require.NoError(e, err)
	began := time.Now()
	_, err = op.Wait(e.ctx)
	require.ErrorIs(e, err, langbot.ErrTasksHidden, "neither success nor failure can be told")
	require.Greater(e, time.Since(began), 44*time.Second)
	var failed *langbot.TaskError
	require.NotErrorAs(e, err, &failed)
}

func hiddenTaskRoutes(e *env) {
	op, err := e.client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "pass"))
	require.NoError(e, err)
	_, polled := op.Poll(e.ctx)
	_, got := e.client.Tasks.Get(e.ctx, 0)
	_, listed := e.client.Tasks.List(e.ctx, langbot.TaskFilter{})
	for _, err := range []error{polled, got, listed} {
		require.ErrorIs(e, err, langbot.ErrTasksHidden)
		require.NotErrorIs(e, err, langbot.ErrUnauthorized)
	}
	for _, err := range op.Events(e.ctx) {
		require.ErrorIs(e, err, langbot.ErrTasksHidden)
	}
	user := e.connect(langbot.WithUserToken(e.target.token)) // who may look sees the same operation
	resumed, err := user.Tasks.Resume(op.Token())
	require.NoError(e, err)
	ctx, cancel := context.WithTimeout(e.ctx, time.Minute)
	defer cancel()
	done, err := resumed.Wait(ctx)
	require.NoError(e, err)
	require.Equal(e, langbot.TaskSucceeded, done.Task.State)
}
