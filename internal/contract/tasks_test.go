package contract

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/langbottest"
)

func progressAndEvents(e *env) {
	e.onReference(langbottest.Script{Steps: []langbottest.Step{
		{Action: "preparing plugin install", For: 100 * time.Millisecond},
		{Action: "persisting the installation", Percent: 45, For: 100 * time.Millisecond},
		{Action: "waiting for plugin initialization", Percent: 84, For: 100 * time.Millisecond}}})
	op, err := e.client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "await asyncio.sleep(2)"))
	require.NoError(e, err)
	var seen []langbot.Task
	for task, err := range op.Events(e.ctx) {
		require.NoError(e, err)
		seen = append(seen, task)
	}
	last := seen[len(seen)-1]
	require.Equal(e, langbot.TaskSucceeded, last.State)
	for i, task := range seen[:len(seen)-1] {
		require.Equal(e, langbot.TaskRunning, task.State)
		require.NotEqual(e, task, seen[i+1], "the same task twice in a row")
		require.LessOrEqual(e, task.Progress.Percent, seen[i+1].Progress.Percent)
	}
	e.toldProgress(seen)
	_, err = op.Wait(e.ctx)
	require.NoError(e, err)
}

// toldProgress wants what a release tells of an installation on its way.
func (e *env) toldProgress(seen []langbot.Task) {
	last := seen[len(seen)-1]
	if e.since("4.9.7") {
		require.GreaterOrEqual(e, len(seen), 2, "%+v", seen)
	} else {
		e.note("The task ends before the plugin starts, and tells nothing but what it is doing.")
	}
	if e.credential == key {
		e.note("A key is told the state only.")
		require.Zero(e, last.Progress)
		require.Empty(e, last.Name+last.Label+last.Action)
		return
	}
	require.Equal(e, "plugin-install-local", last.Name)
	require.NotEmpty(e, last.Action)
	if e.since("4.9.5") {
		require.Equal(e, e.id.String(), last.Progress.Plugin)
	}
	if e.since("4.11.0") {
		require.Equal(e, 100, last.Progress.Percent)
	} else {
		e.note("No percentage: that comes with 4.11.0.")
		require.Zero(e, last.Progress.Percent)
	}
}

// noEvents: a key is told at once that there is nothing to follow, and can wait all the same.
func noEvents(e *env) {
	e.note("Events ends at once with ErrTasksHidden; Wait works.")
	op, err := e.client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "pass"))
	require.NoError(e, err)
	events := 0
	for _, err := range op.Events(e.ctx) {
		events++
		require.ErrorIs(e, err, langbot.ErrTasksHidden)
		require.NotErrorIs(e, err, langbot.ErrUnauthorized)
	}
	require.Equal(e, 1, events)
	_, err = op.Poll(e.ctx)
	require.ErrorIs(e, err, langbot.ErrTasksHidden)
	_, err = op.Wait(e.ctx)
	require.NoError(e, err)
}

// tasksHidden: a key that may not see tasks is told so, and not that it is wrong.
func tasksHidden(e *env) {
	_, got := e.client.Tasks.Get(e.ctx, 0)
	_, listed := e.client.Tasks.List(e.ctx, langbot.TaskFilter{})
	for _, err := range []error{got, listed} {
		require.ErrorIs(e, err, langbot.ErrTasksHidden)
		require.NotErrorIs(e, err, langbot.ErrUnauthorized)
	}
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

func taskByTokenOnly(e *env) {
	done := e.install(e.pack("1.0.0", "pass"))
	task, err := e.client.Tasks.Get(e.ctx, done.Task.ID)
	require.NoError(e, err)
	require.Equal(e, done.Task, task)
	_, err = e.connect(langbot.WithAPIKey(e.target.key)).Tasks.Get(e.ctx, done.Task.ID)
	require.ErrorIs(e, err, langbot.ErrTasksHidden)
}

func taskUnknown(e *env) {
	for _, id := range []int64{999_999, -1} {
		_, err := e.client.Tasks.Get(e.ctx, id)
		require.ErrorIs(e, err, langbot.ErrNotFound)
	}
}

// cancelledTask switches off a bot, which cancels its task: the one way over HTTP.
func cancelledTask(e *env) {
	id := e.switchOff()
	task, err := e.client.Tasks.Get(e.ctx, id)
	require.NoError(e, err)
	require.Equal(e, langbot.TaskCancelled, task.State)
	require.Equal(e, id, task.ID)
	_, err = e.client.Tasks.List(e.ctx, langbot.TaskFilter{})
	require.NoError(e, err, "users' tasks can be listed all the same")
	_, err = e.client.Tasks.List(e.ctx, langbot.TaskFilter{Type: "system"})
	if e.credential == token {
		e.note("By token, a list with system tasks fails while it holds a cancelled one.")
		require.ErrorIs(e, err, langbot.ErrServer)
		return
	}
	require.NoError(e, err)
}

// switchOff makes a bot, switches it off, and returns the number of the task that it had.
func (e *env) switchOff() int64 {
	bot := func(enable bool) map[string]any {
		return map[string]any{"name": "b", "description": "d", "adapter": "aiocqhttp", "enable": enable,
			"adapter_config": map[string]any{"host": "127.0.0.1", "port": freePort(), "access-token": ""}}
	}
	client := e.asUser()
	var made struct {
		UUID string `json:"uuid"`
	}
	require.NoError(e, client.Call(e.ctx, "POST", "/api/v1/platform/bots", bot(false), &made))
	require.NoError(e, client.Call(e.ctx, "PUT", "/api/v1/platform/bots/"+made.UUID, bot(true), nil))
	id := int64(-1)
	require.Eventually(e, func() bool {
		// By key where that works: to a user the whole list may fail on account of an earlier case.
		lister := client
		if e.since(tasksByKey) {
			lister = e.connect(langbot.WithAPIKey(e.target.key))
		}
		tasks, err := lister.Tasks.List(e.ctx, langbot.TaskFilter{Type: "system"})
		if err != nil {
			return false
		}
		for _, task := range tasks {
			if task.State == langbot.TaskRunning && task.ID > id && task.Kind == "platform-adapter" && !strings.Contains(task.Name, "WebSocket") {
				id = task.ID
			}
		}
		return id >= 0
	}, 10*time.Second, 100*time.Millisecond)
	require.NoError(e, client.Call(e.ctx, "PUT", "/api/v1/platform/bots/"+made.UUID, bot(false), nil))
	time.Sleep(e.scaled(time.Second)) // until it is cancelled
	return id
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
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
	op, err := e.client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "await asyncio.sleep(6)"))
	require.NoError(e, err)
	soon := 2 * time.Second // after the first poll, also of a busy server
	if e.target.quick {
		soon = 300 * time.Millisecond
	}
	reason := errors.New("the user has changed his mind")
	ctx, cancel := context.WithCancelCause(e.ctx)
	time.AfterFunc(soon, func() { cancel(reason) })
	_, err = op.Wait(ctx)
	var ended *langbot.WaitError
	require.ErrorAs(e, err, &ended)
	require.ErrorIs(e, err, context.Canceled)
	require.ErrorIs(e, err, reason)
	switch {
	case e.hidden():
		require.Zero(e, ended.Task)
	case e.since("4.9.7"): // older tasks end before the plugin starts
		require.Equal(e, langbot.TaskRunning, ended.Task.State)
	}
	done, err := op.Wait(e.ctx) // the operation went on
	require.NoError(e, err)
	require.Equal(e, e.id, done.Plugin.ID)
}

// ninthTask keeps eight tasks busy with a marketplace that is slow to answer.
func ninthTask(e *env) {
	e.target.space.Delay("slow", 9*time.Second)
	var running []*langbot.Operation
	for i := range 8 {
		op, err := e.client.Plugins.InstallMarketplace(e.ctx, langbot.MarketplacePlugin{ID: langbot.PluginID{Author: "slow", Name: fmt.Sprint("p", i)}, Version: "1"})
		require.NoError(e, err)
		running = append(running, op)
	}
	_, err := e.client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "pass"))
	require.ErrorIs(e, err, langbot.ErrBusy)
	require.NotErrorIs(e, err, langbot.ErrOutcomeUnknown)
	_, err = e.client.Plugins.List(e.ctx)
	require.NoError(e, err, "reading goes on")
	for _, op := range running {
		require.Equal(e, langbot.TaskFailed, e.end(op).State, "there are no such plugins")
	}
	e.install(e.pack("1.0.0", "pass"))
}

// noTaskLimit: twelve at once are accepted.
func noTaskLimit(e *env) {
	e.note("There is no limit of operations.")
	e.target.space.Delay("slow", time.Second)
	var running []*langbot.Operation
	for i := range 12 {
		op, err := e.client.Plugins.InstallMarketplace(e.ctx, langbot.MarketplacePlugin{ID: langbot.PluginID{Author: "slow", Name: fmt.Sprint("p", i)}, Version: "1"})
		require.NoError(e, err)
		running = append(running, op)
	}
	for _, op := range running {
		require.True(e, e.end(op).State == langbot.TaskFailed)
	}
}
