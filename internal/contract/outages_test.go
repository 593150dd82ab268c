package contract

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/internal/lab"
)

// behindProxy puts a network that can be cut between the case and its server.
func (e *env) behindProxy() *lab.Proxy {
	proxy, err := lab.NewProxy(e.target.url)
	require.NoError(e, err)
	e.target = e.target.at(proxy.URL)
	e.client = e.connect()
	return proxy
}

// cutWhileInstalling starts an installation and cuts the network after a second, for d. The error of restoring comes once
// that is over.
func (e *env) cutWhileInstalling(proxy *lab.Proxy, d time.Duration) (*langbot.Operation, <-chan error) {
	e.slowStart(4 * time.Second)
	op, err := e.client.Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "await asyncio.sleep(4)"))
	require.NoError(e, err)
	soon := e.scaled(time.Second)
	time.AfterFunc(soon, proxy.Cut)
	restored := make(chan error, 1)
	time.AfterFunc(soon+d, func() { restored <- proxy.Restore() })
	return op, restored
}

func shortBlackOut(e *env) {
	proxy := e.behindProxy()
	defer proxy.Close()
	long := e.scaled(10 * time.Second)
	op, restored := e.cutWhileInstalling(proxy, long)
	began := time.Now()
	done, err := op.Wait(e.ctx)
	require.NoError(e, err)
	require.Greater(e, time.Since(began), long, "it was cut off")
	require.NoError(e, <-restored)
	require.Equal(e, e.id, done.Plugin.ID)
	e.remove(langbot.DeleteOptions{})
}

func blackOut(e *env) {
	proxy := e.behindProxy()
	defer proxy.Close()
	if e.target.quick {
		e.client = e.connect(langbot.WithPolling(langbot.Polling{Interval: 20 * time.Millisecond, Tolerance: 1500 * time.Millisecond}))
	}
	long := e.scaled(time.Minute)
	op, restored := e.cutWhileInstalling(proxy, long)
	began := time.Now()
	_, err := op.Wait(e.ctx)
	require.InDelta(e, e.scaled(31*time.Second).Seconds(), time.Since(began).Seconds(), e.scaled(6*time.Second).Seconds()+0.5, "Polling.Tolerance")
	var ended *langbot.WaitError
	require.ErrorAs(e, err, &ended)
	require.ErrorIs(e, err, langbot.ErrUnreachable)
	require.ErrorIs(e, err, syscall.ECONNREFUSED)
	resumeToken := op.Token()
	require.NoError(e, <-restored)
	resumed, err := e.connect().Tasks.Resume(resumeToken)
	require.NoError(e, err)
	done, err := resumed.Wait(e.ctx)
	require.NoError(e, err)
	require.Equal(e, e.id, done.Plugin.ID)
	e.remove(langbot.DeleteOptions{})
}

// backInOrder wants the server to be ready again.
func (e *env) backInOrder() {
	ctx, cancel := context.WithTimeout(e.ctx, 2*time.Minute)
	defer cancel()
	require.NoError(e, e.client.System.WaitReady(ctx))
}

func runtimeAway(e *env) {
	e.install(e.pack("1.0.0", "pass"))
	e.target.machine.KillRuntime()
	require.Eventually(e, func() bool { _, err := e.client.Plugins.List(e.ctx); return err != nil }, 20*time.Second, 200*time.Millisecond)
	_, listed := e.client.Plugins.List(e.ctx)
	_, got := e.client.Plugins.Get(e.ctx, e.id)
	for _, err := range []error{listed, got} {
		require.ErrorIs(e, err, langbot.ErrRuntimeAway)
		require.ErrorIs(e, err, langbot.ErrServer)
		require.NotErrorIs(e, err, langbot.ErrNotFound)
	}
	e.startWithoutRuntime()
	ctx, cancel := context.WithTimeout(e.ctx, max(e.scaled(3*time.Second), time.Second))
	defer cancel()
	err := e.client.System.WaitReady(ctx)
	require.ErrorIs(e, err, langbot.ErrRuntimeAway)
	require.ErrorIs(e, err, context.DeadlineExceeded)
	require.NoError(e, e.target.machine.StartRuntime())
	e.backInOrder()
	p, err := e.client.Plugins.Get(e.ctx, e.id)
	require.NoError(e, err, "ready means that the plugins are there")
	require.Equal(e, langbot.PluginInitialized, p.Status)
}

// startWithoutRuntime starts what cannot succeed: newer servers refuse it, older ones fail its task.
func (e *env) startWithoutRuntime() {
	op, err := e.client.Plugins.InstallLocal(e.ctx, e.pack("2.0.0", "pass"))
	if e.since("4.10.7") {
		require.ErrorIs(e, err, langbot.ErrRuntimeAway)
		require.NotErrorIs(e, err, langbot.ErrOutcomeUnknown)
		return
	}
	e.note("The server takes an installation, whose task then fails.")
	require.NoError(e, err)
	require.Equal(e, langbot.TaskFailed, e.end(op).State)
}

// runtimeKilled: whatever becomes of the installation, the wait ends, and never in a success that is none.
func runtimeKilled(e *env) {
	e.slowStart(6 * time.Second)
	op, err := e.connect(e.polling(langbot.Polling{Hidden: 60 * time.Second})).Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "await asyncio.sleep(6)"))
	require.NoError(e, err)
	time.Sleep(e.scaled(2 * time.Second)) // it is under way
	e.target.machine.KillRuntime()
	started := make(chan error, 1)
	time.AfterFunc(e.scaled(3*time.Second), func() { started <- e.target.machine.StartRuntime() })
	ctx, cancel := context.WithTimeout(e.ctx, 3*time.Minute)
	defer cancel()
	done, err := op.Wait(ctx)
	require.NoError(e, <-started)
	if err == nil {
		e.note("The installation is taken up again, and Wait succeeds once the plugin runs.")
		require.Equal(e, langbot.PluginInitialized, done.Plugin.Status)
		p, err := e.client.Plugins.Get(e.ctx, e.id)
		require.NoError(e, err)
		require.Equal(e, "1.0.0", p.Version)
	} else {
		e.endedHonestly(err)
	}
	e.backInOrder()
	e.clean()
}

// endedHonestly wants an error that says what is known: that the task failed, or that nobody can tell.
func (e *env) endedHonestly(err error) {
	var failed *langbot.TaskError
	var ended *langbot.WaitError
	switch {
	case errors.As(err, &failed):
		e.note("The task fails: Wait ends with a TaskError.")
		require.False(e, e.hidden())
	case errors.As(err, &ended):
		require.NotEmpty(e, sentinel(err), "%v", err)
		e.note("Wait ends with " + sentinel(err) + ".")
		require.NotErrorIs(e, err, context.DeadlineExceeded)
	default:
		e.Errorf("neither a TaskError nor a WaitError: %v", err)
	}
}

// hostKilled: numbers of tasks start again, and one that another operation has now must not pass for ours.
func hostKilled(e *env) {
	e.slowStart(8 * time.Second)
	op, err := e.connect(e.polling(langbot.Polling{Hidden: 45 * time.Second})).Plugins.InstallLocal(e.ctx, e.pack("1.0.0", "await asyncio.sleep(8)"))
	require.NoError(e, err)
	var task langbot.Task
	if !e.hidden() {
		task, err = op.Poll(e.ctx) // its time of creation is known from here on
		require.NoError(e, err)
	}
	e.target.machine.KillHost()
	require.NoError(e, e.target.machine.StartHost(e.ctx))
	e.backInOrder()
	if !e.hidden() {
		e.impostors(task.ID)
	}
	done, err := op.Wait(e.ctx)
	switch {
	case e.hidden() && err == nil:
		e.note("Seen by the list of plugins: the runtime goes on installing without the server.")
		require.Equal(e, e.id, done.Plugin.ID)
	case e.hidden():
		e.note("The key is told after Polling.Hidden that no change showed.")
		require.ErrorIs(e, err, langbot.ErrTasksHidden)
	case !e.since("4.9.7") && err == nil:
		e.note("Tasks have no time of creation: one of the same kind and number would be taken for ours. The plugin is looked at all the same.")
		require.Equal(e, e.id, done.Plugin.ID)
	case !e.since("4.9.7"):
		e.note("Tasks have no time of creation: one of the same kind and number would be taken for ours.")
		e.endedHonestly(err)
	default:
		require.ErrorIs(e, err, langbot.ErrTaskLost)
	}
	e.clean()
}

// impostors starts other operations until one has the number of the task that is lost.
func (e *env) impostors(lost int64) {
	client := e.asUser()
	for i := range 40 {
		id := langbot.PluginID{Author: "contract", Name: "impostor"}
		other, err := client.Plugins.InstallLocal(e.ctx, unchecked{id: id, data: []byte("no archive")})
		require.NoError(e, err)
		last := e.end(other)
		if lost <= last.ID {
			return
		}
		require.Less(e, i, 39, "no other task got the number")
	}
}

// sentinel names what a wait ended with.
func sentinel(err error) string {
	for _, x := range []struct {
		name string
		err  error
	}{
		{"ErrTaskLost", langbot.ErrTaskLost}, {"ErrTasksHidden", langbot.ErrTasksHidden}, {"ErrNoEffect", langbot.ErrNoEffect},
		{"ErrRuntimeAway", langbot.ErrRuntimeAway}, {"ErrUnreachable", langbot.ErrUnreachable},
	} {
		if errors.Is(err, x.err) {
			return x.name
		}
	}
	return ""
}

func readyAfterRestart(e *env) {
	e.install(e.pack("1.0.0", "await asyncio.sleep(2)"))
	e.target.machine.KillHost()
	e.target.machine.KillRuntime()
	ready := make(chan error, 1)
	go func() { ready <- e.client.System.WaitReady(e.ctx) }()
	require.NoError(e, e.target.machine.StartRuntime())
	require.NoError(e, e.target.machine.StartHost(e.ctx))
	require.NoError(e, <-ready)
	p, err := e.client.Plugins.Get(e.ctx, e.id)
	require.NoError(e, err, "ready means that the plugins are there")
	require.Equal(e, langbot.PluginInitialized, p.Status)
}

// wrongKind is a package that lbpkg refuses to make: on some releases it ruins the server.
func (e *env) wrongKind() langbot.Package {
	manifest := strings.Replace(archives.Manifest(e.id.Author, e.id.Name, `"1.0.0"`), "kind: Plugin", "kind: Plague", 1)
	return unchecked{id: e.id, data: archives.Zip(archives.File{Name: "manifest.yaml", Content: manifest}, archives.File{Name: "main.py", Content: archives.Code("pass")})}
}

func ruinedServer(e *env) {
	op, err := e.client.Plugins.InstallLocal(e.ctx, e.wrongKind())
	require.NoError(e, err)
	e.failed(op)
	_, err = e.client.Plugins.List(e.ctx)
	require.ErrorIs(e, err, langbot.ErrServer)
	require.NotErrorIs(e, err, langbot.ErrRuntimeAway)
	require.ErrorContains(e, err, "is ruined")
	e.note("Such a package must be kept from it: lbpkg refuses to make or open one.")
}

// notRuined: the package fails or even runs, and the server goes on.
func notRuined(e *env) {
	op, err := e.client.Plugins.InstallLocal(e.ctx, e.wrongKind())
	require.NoError(e, err)
	e.end(op)
	_, err = e.client.Plugins.List(e.ctx)
	require.NoError(e, err)
}
