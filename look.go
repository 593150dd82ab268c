// Looks: what Ensure sees of a plugin, and when it is enough to act upon.

package langbot

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/langbot-go/langbot/internal/transport"
)

// settled looks at the plugin until nothing is under way, and what is wrong has been so for long enough. How the last try
// failed is part of its error.
func (e *ensuring) settled(ctx context.Context) (Plugin, error) {
	err := e.settle(ctx)
	if err != nil && e.failure != nil {
		err = fmt.Errorf("%w; and then: %w", e.failure, err)
	}
	return e.result.Plugin, err
}

func (e *ensuring) settle(ctx context.Context) error {
	w := newWatch(e.client.settings.polling)
	var quiet time.Time // since when nothing has been under way
	var same time.Time  // since when the plugin has been as it is, too
	var last WaitError  // what the last look showed, if that is not enough
	for {
		w.ask()
		before := e.result.Plugin
		busy, err := e.look(ctx)
		overdue := w.elapsed() >= w.polling.Hidden
		if now := e.result.Plugin; err == nil {
			changed := now.ID != before.ID || now.Version != before.Version || now.Status != before.Status
			quiet, same = since(quiet, busy == idle), since(since(same, !changed), busy == idle)
			e.others = e.others || busy != idle
			last = WaitError{Plugin: now}
			if busy != idle {
				last.hint = "operations that are or may be on it are under way"
			}
		} else {
			quiet, same = time.Time{}, time.Time{}
		}
		if err == nil && busy == idle && (time.Since(same) >= e.patience() || time.Since(quiet) >= w.polling.Hidden) { // it may come and go for ever
			if err = e.connected(ctx); err == nil {
				return nil
			}
		}
		switch {
		case err == nil && busy == perhaps && overdue:
			last.Err = ErrNoEffect
			return &last
		case err == nil:
			w.good()
		case ctx.Err() != nil: // that tells nothing new
		case !w.tolerates(ctx, err) && (overdue || !transport.TimedOut(err)): // another installation may block reads for long
			return ended(ctx, e.client.diagnosed(ctx, err), Task{}, e.result.Plugin)
		default:
			last = WaitError{Err: err, Plugin: e.result.Plugin}
		}
		if err := w.pause(ctx); err != nil {
			return last.endedBy(err, Task{})
		}
	}
}

// absence is how long a plugin must be away to count as absent. Lists lack one that is there for a while: 2.8 seconds were
// measured after a reconnection, 8 after a change of its config on a busy machine.
const absence = 10 * time.Second

// patience is how long the plugin must stay as it is before that counts. What is right counts at once.
func (e *ensuring) patience() time.Duration {
	p := e.result.Plugin
	missing := p.ID == PluginID{}
	switch {
	case !e.absent && e.right(), e.absent && (!missing || e.gone()):
		return 0
	case e.access != tasksShown && e.tries > 0 && !e.absent:
		return e.client.settings.polling.Hidden
	case !missing && p.Status != PluginInitialized:
		return e.client.settings.polling.Settle
	case missing, e.tries > 0:
		return absence
	}
	return 0
}

// A business is whether an operation on the plugin is under way.
type business int

const (
	idle    business = iota
	perhaps          // one is that may be on it
	surely
)

// look reads the plugin as it is listed, zero if it is not. While an operation on it is under way, it is not read: from
// 4.10.7 to 4.10.11 that may hang the server, if it is a removal.
func (e *ensuring) look(ctx context.Context) (busy business, err error) {
	if e.access == tasksShown {
		if busy, err = e.underWay(ctx); err != nil || busy == surely || busy == perhaps && e.mustNotRead(ctx) {
			return busy, err
		}
	}
	plugins, err := e.client.Plugins.list(ctx, listPlugins.at().polling())
	if err != nil {
		return idle, err
	}
	p, _ := find(plugins, e.id)
	if p.Debug {
		p = Plugin{} // that is its developer's, not installed
	}
	if e.result.Plugin = p; !e.absent && e.right() {
		return idle, nil
	}
	return busy, nil
}

// mustNotRead reports whether this server is one that reading during a removal may hang. It is asked once.
func (e *ensuring) mustNotRead(ctx context.Context) bool {
	if e.hangs == nil {
		hangs := e.client.hangsWhenRead(ctx)
		e.hangs = &hangs
	}
	return *e.hangs
}

// underWay tells of operations that are running. An API key is not told what a task is about.
func (e *ensuring) underWay(ctx context.Context) (busy business, err error) {
	tasks, err := e.client.Tasks.list(ctx, listTasks.at().polling(), TaskFilter{Kind: "plugin-operation"})
	for _, t := range tasks {
		if !t.State.final() {
			busy = max(busy, e.concern(t))
		}
	}
	return busy, err
}

// concern says whether a task is about the plugin. An installation tells its plugin only once it has read the archive:
// before that, it tells the name of a file, or of a repository.
func (e *ensuring) concern(t Task) business {
	_, err := ParsePluginID(t.Progress.Plugin)
	switch {
	case t.Name == "plugin-upgrade-"+e.id.Name, t.Name == "plugin-remove-"+e.id.Name:
		return surely
	case !strings.HasPrefix(t.Name, "plugin-install-") && t.Name != "":
		return idle
	case t.Progress.Plugin == e.id.String():
		return surely
	case t.Name == "plugin-install-github", err != nil:
		return perhaps
	}
	return idle
}

// connected is an error if the plugin is absent for want of a plugin runtime.
func (e *ensuring) connected(ctx context.Context) error {
	if e.result.Plugin.ID != (PluginID{}) {
		return nil
	}
	if h, err := e.client.System.health(ctx); err == nil && h.known && !h.connected {
		return errDisconnected
	}
	return nil
}
