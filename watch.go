// Watching: the pace of polls, and how the effect of an operation is seen.

package langbot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/langbot-go/langbot/internal/transport"
)

// A watch paces polls and counts how long they have failed.
type watch struct {
	polling Polling
	started time.Time
	asked   time.Time // when the running poll began
	failing time.Time // since when; zero while polls succeed
}

func newWatch(p Polling) *watch { return &watch{polling: p, started: time.Now()} }

func (w *watch) elapsed() time.Duration { return time.Since(w.started) }

// pause waits a tenth of the time waited so far, within bounds and give or take a tenth, so that many waits do not poll in step.
func (w *watch) pause(ctx context.Context) error {
	d := min(max(w.polling.Interval, w.elapsed()/10), w.polling.MaxInterval)
	d += time.Duration((rand.Float64() - 0.5) / 5 * float64(d))
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return because(ctx)
	case <-timer.C:
		return nil
	}
}

func (w *watch) ask() { w.asked = time.Now() }

func (w *watch) good() { w.failing = time.Time{} }

// tolerates reports whether watching goes on after a poll that failed with err: yes for a while if the server was not
// reached or failed, no if it refused.
func (w *watch) tolerates(ctx context.Context, err error) bool {
	if ctx.Err() != nil || !passing(err) {
		return false
	}
	if w.failing.IsZero() {
		w.failing = w.asked
	}
	return time.Since(w.failing) < w.polling.Tolerance
}

// passing reports whether err may pass by itself.
func passing(err error) bool {
	var api *APIError
	var protocol *ProtocolError
	var wait *WaitError
	switch {
	case errors.As(err, &wait), errors.Is(err, ErrUnauthorized), errors.Is(err, ErrForbidden), errors.Is(err, ErrInvalid), transport.Permanent(err):
		return false
	case errors.As(err, &protocol):
		return protocol.StatusCode >= 500 || errors.Is(err, ErrBusy)
	case errors.As(err, &api):
		return api.StatusCode >= 500 || errors.Is(err, ErrBusy)
	}
	return true
}

// ended is the error of a wait that ends before what it waited for.
func ended(ctx context.Context, err error, task Task, plugin Plugin) error {
	var wait *WaitError
	if errors.As(err, &wait) {
		w := *wait
		w.Task, w.Plugin = task, plugin
		return &w
	}
	if ctx.Err() != nil {
		return &WaitError{Err: because(ctx), Task: task, Plugin: plugin, hint: "the operation goes on"}
	}
	return &WaitError{Err: err, Task: task, Plugin: plugin}
}

// A goal is the effect of an operation whose task has succeeded, or of none: what the plugins must look like.
type goal struct {
	client *Client
	ticket ticket
}

// reach polls the plugin until the effect shows, for patience at most.
func (g goal) reach(ctx context.Context, patience time.Duration, task Task) (Plugin, error) {
	w := newWatch(g.client.settings.polling)
	var last WaitError // what to say at the end of ctx: what the last look showed
	for {
		w.ask()
		p, found, err := g.look(ctx)
		switch {
		case err == nil:
			w.good()
			if g.met(p, found) {
				return p, nil
			}
			last = WaitError{Err: ErrNoEffect, Task: task, Plugin: p, hint: g.missing(p, found)}
			if w.elapsed() >= patience {
				return Plugin{}, &last
			}
		case ctx.Err() != nil: // that tells nothing new
		case transport.TimedOut(err) && w.elapsed() < patience: // busy: another installation blocks reads
			last = WaitError{Err: err, Task: task, Plugin: last.Plugin}
		case !w.tolerates(ctx, err):
			return Plugin{}, ended(ctx, g.client.diagnosed(ctx, err), task, last.Plugin)
		default:
			last = WaitError{Err: err, Task: task, Plugin: last.Plugin}
		}
		if err := w.pause(ctx); err != nil {
			return Plugin{}, last.endedBy(err, task)
		}
	}
}

// endedBy is the end of a wait by its context, with what the last look showed. While an operation goes on, that its effect
// is not there yet is no reason by itself.
func (e WaitError) endedBy(err error, task Task) *WaitError {
	switch {
	case e.Err == nil || e.Err == ErrNoEffect && task.State != "":
		e.Err, e.Task = err, task
	default:
		e.Err = fmt.Errorf("%w; at last: %w", err, e.Err)
	}
	return &e
}

// look returns the plugin as it is now, and whether it is there.
func (g goal) look(ctx context.Context) (p Plugin, found bool, err error) {
	if g.ticket.Plugin == (PluginID{}) {
		return g.fromGitHub(ctx)
	}
	p, err = g.client.Plugins.get(ctx, g.ticket.Plugin, true)
	if errors.Is(err, ErrNotFound) {
		return Plugin{}, false, nil
	}
	return p, err == nil, err
}

// fromGitHub looks for the plugin of a release whose archive nobody has opened here: servers keep in the list where a
// plugin came from.
func (g goal) fromGitHub(ctx context.Context) (p Plugin, found bool, err error) {
	plugins, err := g.client.Plugins.list(ctx, listPlugins.at().polling())
	if err != nil {
		return Plugin{}, false, err
	}
	if i := slices.IndexFunc(plugins, g.ticket.Source.of); i >= 0 {
		return plugins[i], true, nil
	}
	return Plugin{}, false, nil
}

// of reports whether p was installed from s.
func (s source) of(p Plugin) bool {
	var from source
	return p.Source == "github" && json.Unmarshal(p.InstallInfo, &from) == nil && s.same(from)
}

// same reports whether a listed plugin came from s: from the same release, and the same file of it as far as is known.
func (s source) same(listed source) bool {
	switch {
	case s.Asset != 0 && listed.Asset != 0 && s.Asset != listed.Asset, s.Asset == 0 && listed.URL != s.URL:
		return false
	case s.Asset != 0 && listed.Asset == 0 && listed.URL != "" && listed.URL != s.URL:
		return false
	}
	return strings.EqualFold(s.Owner, listed.Owner) && strings.EqualFold(s.Repo, listed.Repo) && s.Tag == listed.Tag
}

func (g goal) met(p Plugin, found bool) bool {
	t := g.ticket
	if t.Kind == kindDelete {
		return !found
	}
	return found && p.Status == PluginInitialized && (t.Version == "" || p.Version == t.Version) &&
		(t.Plugin == (PluginID{}) || p.ID == t.Plugin)
}

// missing says what of the effect is not there.
func (g goal) missing(p Plugin, found bool) string {
	t := g.ticket
	switch {
	case t.Kind == kindDelete:
		return fmt.Sprintf("%s is still there", t.Plugin)
	case !found:
		return fmt.Sprintf("%s is not running: it may have failed to start, or be no plugin but an MCP server or a skill", t.subject())
	case t.Plugin != (PluginID{}) && p.ID != t.Plugin:
		return fmt.Sprintf("the server answers with %q when asked for %s", p.ID, t.Plugin)
	case p.Status != PluginInitialized:
		return fmt.Sprintf("%s is %q, not initialized", p.ID, p.Status)
	}
	return fmt.Sprintf("%s runs in version %s, not in %s as asked for", p.ID, p.Version, t.Version)
}

func (t ticket) subject() string {
	if t.Plugin == (PluginID{}) {
		return fmt.Sprintf("the plugin of %s/%s %s", t.Source.Owner, t.Source.Repo, t.Source.Tag)
	}
	return t.Plugin.String()
}

// unseen is the error of a wait that has nothing to see.
func (t ticket) unseen(why string) *WaitError {
	hint := "a user token (WithLogin) sees them, and so does a key from LangBot 4.10.11 on"
	if why != "" {
		hint = why + "; " + hint
	}
	return &WaitError{Err: ErrTasksHidden, hint: hint}
}

// indistinct says why no later list could prove that the operation has succeeded, if none could.
func (t ticket) indistinct() string {
	b := t.Baseline
	switch {
	case t.Plugin == (PluginID{}):
		return "which plugin a GitHub release holds is not known beforehand"
	case b == nil:
		return "the plugins could not be listed before"
	case t.Kind == kindDelete && b.Blind:
		return "reading the plugins during a removal can hang this release for good"
	case t.Kind == kindDelete && !b.Listed:
		return "the plugin was not listed before either"
	case t.Kind == kindUpgrade && !b.Listed:
		return "the plugin was not running before, so no change could be told"
	case t.Kind == kindInstall && b.Listed && b.Version == t.Version:
		return "the plugin was listed in this version before"
	}
	return ""
}

// stays is how long a plugin must be absent from the list to count as removed: a list may lack it in passing.
const stays = 5 * time.Second

// watchList waits for the effect where the task cannot be seen. Only a change that the operation alone can have made
// counts; a plugin that is mounted, or absent after an installation, proves nothing.
func (o *Operation) watchList(ctx context.Context) (Outcome, error) {
	t := o.state()
	if why := t.indistinct(); why != "" {
		return Outcome{}, t.unseen(why)
	}
	w := newWatch(o.client.settings.polling)
	var last Plugin
	var absent time.Time // since when; zero while it is there
	for {
		w.ask()
		plugins, err := o.client.Plugins.list(ctx, listPlugins.at().polling())
		switch {
		case err == nil:
			w.good()
			p, listed := find(plugins, t.Plugin)
			last = p
			if t.Kind != kindDelete && listed && t.changed(p) {
				return Outcome{Plugin: p}, nil
			}
			if absent = since(absent, !listed); t.Kind == kindDelete && !listed && time.Since(absent) >= stays {
				return Outcome{}, nil
			}
		case transport.TimedOut(err): // another installation blocks reads on 4.10.9 and 4.10.10
			absent = time.Time{}
		case !w.tolerates(ctx, err):
			return Outcome{}, ended(ctx, o.client.diagnosed(ctx, err), Task{}, last)
		default:
			absent = time.Time{}
		}
		if w.elapsed() >= w.polling.Hidden {
			return Outcome{}, ended(ctx, t.unseen("no change showed in "+w.polling.Hidden.String()), Task{}, last)
		}
		if err := w.pause(ctx); err != nil {
			return Outcome{}, ended(ctx, err, Task{}, last)
		}
	}
}

// changed reports whether p is what the installation was to bring, and was not there before.
func (t ticket) changed(p Plugin) bool {
	b := t.Baseline
	if p.Status != PluginInitialized || t.Version != "" && p.Version != t.Version {
		return false
	}
	return !b.Listed || p.Version != b.Version
}

func since(t time.Time, holds bool) time.Time {
	switch {
	case !holds:
		return time.Time{}
	case t.IsZero():
		return time.Now()
	}
	return t
}
