// Ensure: a plugin as it should be, whatever state it is in.

package langbot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/langbot-go/langbot/internal/transport"
)

// A Spec says which plugin should run, and how. It comes from Package if there is one, else from GitHub if a field of that
// is given, else from LangBot's marketplace.
type Spec struct {
	ID      PluginID    // may be left out with a Package, which tells
	Package Package     // as package lbpkg makes it
	GitHub  GitHubAsset // the file of a release, as InstallGitHub takes it; the tag "latest" is looked up each time. It must hold the plugin ID: which one it holds shows only once it is installed

	// Version is the version to run, older ones too: versions are only compared for being the same, a leading v and what
	// follows a plus aside. With a Package it may be left out. From GitHub it is the version that the release's file must
	// hold; an empty one means whatever it holds, and what runs is then known by the release and file that it came from.
	// From the marketplace an empty one means the newest if the plugin has to be installed, and any if it runs: for the
	// newest in any case use Upgrade.
	Version string

	// Config is merged into the plugin's config by its top-level keys; nil or empty leaves it alone. A key that the server
	// tells as "***", since it takes it for a secret (from 4.10.7 on), cannot be compared: with any other value than
	// "***" the config is written, and the plugin restarted, each time.
	Config map[string]any

	DryRun bool // only say what would be done. Whether the marketplace has the version is not asked
}

// An EnsureResult says what was done, and how the plugin is now. With an error it says what was begun up to then, and how
// the plugin was seen last.
type EnsureResult struct {
	// Actions are what was done, or would be by a dry run, in order: "install", "reinstall" (it was there, and not
	// initialized), "replace" (it ran in another version), "configure", "remove". Empty: it was right as it was.
	Actions []string
	Why     string // what was wrong; empty if nothing was
	Plugin  Plugin // as it is listed; zero if it is not
	Tasks   []Task // of the operations that were started, as they ended, where they are visible
}

// Ensure makes it so that a plugin runs as spec says, and returns once it does. It looks first, and installs only what is
// not there, not initialized, or of another version or release: over what is there, never after a removal, so config and
// data stay. What an earlier installation that failed has left behind is mended by that too. What runs in the version
// wanted is right: a package of the same version with other files is not installed, for which there is InstallLocal.
//
// Before it acts, it waits for operations of others on the plugin; an API key is not told what an operation is about, so
// it waits for all of them then. A plugin that is not there, or is wrong after something went wrong, is looked at for 3
// seconds first: lists lack plugins in passing. It ends with the plugin read back as it should be, or with an error that
// says what is not. It may be called again after any error, above all [ErrOutcomeUnknown], its own or another method's:
// nothing is sent twice unless the first has ended without the effect. After a [*TaskError] it would fail again unless the
// package or the server has changed.
//
// Calls for one plugin in a process wait for each other, and those that want the same share one result. ctx bounds it; an
// operation goes on when ctx ends. Reads that fail are tolerated for Polling.Tolerance; to wait for a server to come up is
// for [SystemService.WaitReady].
//
// While tasks are hidden (an API key before 4.10.11), a call watches the list for Polling.Hidden after it has sent
// something, ends with [ErrTasksHidden] or [ErrOutcomeUnknown] if the plugin does not show, and does not send again.
//
// Errors: [ErrInvalid] (the spec, before anything is sent; config on 4.9.7, see [PluginsService.Config]), [*TaskError]
// (the installation failed), [ErrNoEffect] (what was installed does not run as wanted, others are at work on it for longer
// than Polling.Hidden, or the config was not read back), [ErrNotFound] (no such GitHub release), and those of
// [PluginsService.InstallLocal] and [PluginsService.List], also in a [*WaitError].
//
// API: GET /api/v1/plugins and GET /api/v1/system/tasks, then what InstallLocal, InstallGitHub, InstallMarketplace and UpdateConfig call.
func (s *PluginsService) Ensure(ctx context.Context, spec Spec) (EnsureResult, error) {
	spec, err := spec.checked()
	if err != nil {
		return EnsureResult{}, err
	}
	wish := struct {
		Spec
		local bool
	}{spec, spec.Package != nil}
	wish.Package = nil // packages are told apart by ID and Version, as plugins that run
	return s.client.alone(ctx, spec.ID, wish, func() (EnsureResult, error) {
		e := &ensuring{client: s.client, id: spec.ID, spec: spec}
		err := e.run(ctx)
		return e.result, err
	})
}

// checked is the spec with what its source tells, once it cannot be wrong.
func (s Spec) checked() (Spec, error) {
	fromGitHub := s.GitHub != (GitHubAsset{})
	if p := s.Package; p != nil {
		told := PluginID{p.Author(), p.Name()}
		switch {
		case fromGitHub:
			return s, invalid("spec: give Package or GitHub, not both")
		case s.ID != (PluginID{}) && s.ID != told:
			return s, invalid("spec: ID is %s, and the package holds %s", s.ID, told)
		case s.Version != "" && !sameVersion(s.Version, p.Version()):
			return s, invalid("spec: Version is %s, and the package holds %s", s.Version, p.Version())
		}
		s.ID, s.Version = told, p.Version()
	}
	err := s.ID.check()
	if err == nil && fromGitHub {
		if s.GitHub, err = s.GitHub.fromURL(); err == nil {
			err = s.GitHub.check()
		}
	}
	if err == nil && len(s.Config) > 0 {
		if s.Config = exactly(encoded(s.Config)); s.Config == nil {
			err = invalid("spec: the config of %s is no JSON", s.ID)
		}
	}
	return s, err
}

// sameVersion compares for equality, a leading v and build metadata aside. What is not a version is compared as text.
func sameVersion(a, b string) bool { return bareVersion(a) == bareVersion(b) }

func bareVersion(v string) string {
	v, _, _ = strings.Cut(strings.TrimSpace(v), "+")
	if len(v) > 1 && v[0] == 'v' && v[1] >= '0' && v[1] <= '9' {
		v = v[1:]
	}
	return v
}

// maxTries is how often Ensure sends something that ended without its effect for a reason that may have passed.
const maxTries = 3

// An ensuring is one run of Ensure or EnsureAbsent.
type ensuring struct {
	client  *Client
	id      PluginID
	spec    Spec
	absent  bool   // it should not be there
	access  access // to tasks
	tries   int
	failure error // of the last try
	others  bool  // operations that are not ours were seen since
	result  EnsureResult
}

func (e *ensuring) run(ctx context.Context) error {
	if err := e.prepare(ctx); err != nil {
		return e.wrong(err)
	}
	for {
		p, err := e.settled(ctx)
		if err != nil {
			return e.wrong(err)
		}
		action, why := e.needed(p)
		if action == "" {
			return e.wrong(e.configure(ctx))
		}
		e.result.Why = why
		if e.spec.DryRun {
			e.did(action)
			return e.wrong(e.configure(ctx))
		}
		if err := e.giveUp(); err != nil {
			return e.wrong(err)
		}
		if err := e.install(ctx, action); err != nil {
			return e.wrong(err)
		}
	}
}

// did adds what was done, or will be.
func (e *ensuring) did(action string) {
	if !slices.Contains(e.result.Actions, action) {
		e.result.Actions = append(e.result.Actions, action)
	}
}

// wrong is err, with what is not as it should be.
func (e *ensuring) wrong(err error) error {
	switch {
	case err == nil:
		return nil
	case e.result.Why == "":
		return fmt.Errorf("langbot: ensuring %s: %w", e.id, err)
	}
	return fmt.Errorf("langbot: ensuring %s: %s: %w", e.id, e.result.Why, err)
}

// prepare finds out what the server needs for the spec, and whether it can be met at all.
func (e *ensuring) prepare(ctx context.Context) (err error) {
	if e.access, err = e.client.taskAccess(ctx); err != nil {
		return err
	}
	if a := e.spec.GitHub; a != (GitHubAsset{}) && (a.ReleaseID == 0 || a.AssetURL == "") {
		if e.spec.GitHub, err = e.client.Plugins.completed(ctx, a); err != nil {
			return err
		}
	}
	if len(e.spec.Config) > 0 {
		err = e.client.Plugins.configsTold(ctx)
	}
	return err
}

// needed is what has to be done to p, and why; nothing if it is right. A zero p is absent.
func (e *ensuring) needed(p Plugin) (action, why string) {
	hub := e.spec.GitHub
	switch {
	case p.ID == PluginID{}:
		return "install", "it does not run"
	case p.Status != PluginInitialized:
		return "reinstall", fmt.Sprintf("it is %q, not initialized", p.Status)
	case e.spec.Version != "" && !sameVersion(p.Version, e.spec.Version):
		return "replace", fmt.Sprintf("it runs in version %s, not in %s", p.Version, e.spec.Version)
	case e.spec.Version == "" && hub != (GitHubAsset{}) && !hub.source().of(p):
		return "replace", fmt.Sprintf("it does not come from %s/%s %s", hub.Owner, hub.Repo, hub.ReleaseTag)
	}
	return "", ""
}

// giveUp is the error after which nothing is sent again: the last try failed for a reason of its own, its end cannot be
// seen, or there were enough of them.
func (e *ensuring) giveUp() error {
	var failed *TaskError
	switch {
	case e.tries == 0:
		return nil
	case e.access == tasksShown && e.tries < maxTries && !errors.Is(e.failure, ErrNoEffect) && (e.others || !errors.As(e.failure, &failed)):
		return nil
	case e.failure == nil:
		return &WaitError{Err: ErrNoEffect, Plugin: e.result.Plugin, hint: "it was installed, and did not stay so"}
	}
	return e.failure
}

// install sends one installation and waits for its end. What came of it is for the next look to judge.
func (e *ensuring) install(ctx context.Context, action string) error {
	op, err := e.start(ctx)
	e.sent(err)
	switch {
	case errors.Is(err, ErrBusy) && !errors.Is(err, ErrOutcomeUnknown):
		return e.unless(ctx) // with what others do, perhaps to the same end
	case err != nil && !errors.Is(err, ErrOutcomeUnknown):
		return err
	}
	e.did(action)
	if err == nil && e.access != tasksShown {
		e.failure = op.state().unseen("it did not show as it should be")
	} else if err == nil {
		e.failure = e.wait(ctx, op)
	}
	return e.unless(ctx)
}

// start sends the installation.
func (e *ensuring) start(ctx context.Context) (*Operation, error) {
	switch s := e.client.Plugins; {
	case e.spec.Package != nil:
		return s.InstallLocal(ctx, e.spec.Package)
	case e.spec.GitHub != (GitHubAsset{}):
		return s.InstallGitHub(ctx, e.spec.GitHub)
	default:
		return s.InstallMarketplace(ctx, MarketplacePlugin{ID: e.id, Version: e.spec.Version})
	}
}

// sent counts a try.
func (e *ensuring) sent(failure error) {
	e.tries++
	e.failure, e.others = failure, false
}

// wait waits for the end of what was sent.
func (e *ensuring) wait(ctx context.Context, op *Operation) error {
	done, err := op.Wait(ctx)
	if done.Task.State != "" {
		e.result.Tasks = append(e.result.Tasks, done.Task)
	}
	if p := done.Plugin; err == nil && p.ID != e.id && !e.absent {
		err = &WaitError{Err: ErrNoEffect, Task: done.Task, Plugin: p, hint: "what was installed is " + p.ID.String()}
	}
	return err
}

// unless is the last failure if ctx has ended, so that nothing more can be found out.
func (e *ensuring) unless(ctx context.Context) error {
	if ctx.Err() != nil {
		return cmp.Or(e.failure, because(ctx))
	}
	return nil
}

// settled looks at the plugin until nothing is under way, and what is wrong has been so for long enough.
func (e *ensuring) settled(ctx context.Context) (Plugin, error) {
	w := newWatch(e.client.settings.polling)
	var same time.Time // since when the plugin has been as it is, with nothing under way
	for {
		w.ask()
		last := e.result.Plugin
		p, busy, err := e.look(ctx)
		overdue := w.elapsed() >= w.polling.Hidden
		if err == nil {
			w.good()
			e.result.Plugin = p
			changed := p.ID != last.ID || p.Version != last.Version || p.Status != last.Status
			same = since(since(same, !changed), !busy)
			e.others = e.others || busy
		}
		switch {
		case err == nil && !busy && (overdue || time.Since(same) >= e.patience(p)):
			return p, e.client.Plugins.connected(ctx, p)
		case err == nil && overdue:
			return p, &WaitError{Err: ErrNoEffect, Plugin: p, hint: "other operations are still under way"}
		case err == nil:
		case overdue || !transport.TimedOut(err) && !w.tolerates(ctx, err): // another installation may block reads for long
			return last, ended(ctx, e.client.diagnosed(ctx, err), Task{}, last)
		default:
			same = time.Time{}
		}
		if err := w.pause(ctx); err != nil {
			return last, ended(ctx, err, Task{}, last)
		}
	}
}

// patience is how long p must stay as it is before it counts. What is right counts at once.
func (e *ensuring) patience(p Plugin) time.Duration {
	const passing = 3 * time.Second // twice as long as a list was ever seen to lack a plugin that was there
	missing := p.ID == PluginID{}
	action, _ := e.needed(p)
	switch {
	case !e.absent && action == "", e.absent && !missing:
		return 0
	case e.access != tasksShown && e.tries > 0 && !e.absent:
		return e.client.settings.polling.Hidden
	case !missing && p.Status != PluginInitialized:
		return e.client.settings.polling.Settle
	case e.access != tasksShown && missing:
		return stays
	case missing, e.tries > 0:
		return passing
	}
	return 0
}

// look returns the plugin as it is listed, zero if it is not, and whether an operation on it is under way. While one is,
// plugins are not read: up to 4.10.11 that may hang the server.
func (e *ensuring) look(ctx context.Context) (p Plugin, busy bool, err error) {
	var nameless bool
	if e.access == tasksShown {
		if busy, nameless, err = e.underWay(ctx); err != nil || busy {
			return e.result.Plugin, busy, err
		}
	}
	plugins, err := e.client.Plugins.list(ctx, listPlugins.at().polling())
	if err != nil {
		return Plugin{}, false, err
	}
	if p, _ = find(plugins, e.id); p.Debug {
		p = Plugin{} // that is its developer's, not installed
	}
	action, _ := e.needed(p)
	return p, nameless && (e.absent || action != ""), nil
}

// underWay reports whether an operation on the plugin is running, and whether one is that may be on it: an API key is not
// told what a task is about.
func (e *ensuring) underWay(ctx context.Context) (named, nameless bool, err error) {
	filter := TaskFilter{Type: "user", Kind: "plugin-operation"}
	query := url.Values{"type": {filter.Type}, "kind": {filter.Kind}}
	tasks, err := e.client.Tasks.list(ctx, listTasks.at().with(query).polling(), filter)
	for _, t := range tasks {
		switch {
		case t.State.final():
		case t.Name == "":
			nameless = true
		default:
			named = named || e.isAbout(t)
		}
	}
	return named, nameless, err
}

// isAbout reports whether a task may be about the plugin. An installation tells only once it has read the archive.
func (e *ensuring) isAbout(t Task) bool {
	about, err := ParsePluginID(t.Progress.Plugin)
	return strings.HasPrefix(t.Name, "plugin-install-") && (err != nil || about == e.id) ||
		t.Name == "plugin-upgrade-"+e.id.Name || t.Name == "plugin-remove-"+e.id.Name
}

// connected is an error if p is absent for want of a plugin runtime.
func (s *PluginsService) connected(ctx context.Context, p Plugin) error {
	if p.ID != (PluginID{}) {
		return nil
	}
	if h, err := s.client.System.health(ctx); err == nil && h.known && !h.connected {
		return &WaitError{Err: fmt.Errorf("langbot: %w: %w: %s", ErrServer, ErrRuntimeAway, runtimeGone)}
	}
	return nil
}

// configure merges the config, if there is something to change. What may pass is tried again: to write the same twice
// does no harm.
func (e *ensuring) configure(ctx context.Context) error {
	if len(e.spec.Config) == 0 {
		return nil
	}
	for try := 1; ; try++ {
		err := e.merge(ctx)
		again := errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrServer)
		if !again || try == maxTries || ctx.Err() != nil {
			return err
		}
		if e.result.Plugin, err = e.client.Plugins.WaitReady(ctx, e.id, ""); err != nil {
			return err
		}
	}
}

// merge writes what the config lacks.
func (e *ensuring) merge(ctx context.Context) error {
	if e.spec.DryRun && e.result.Plugin.Status != PluginInitialized { // so its config is not known
		e.did("configure")
		return nil
	}
	stored, err := e.client.Plugins.Config(ctx, e.id)
	if err != nil {
		return err
	}
	wanted := maps.Clone(stored)
	maps.Copy(wanted, e.spec.Config)
	if sameConfig(stored, wanted, false) {
		return nil
	}
	e.result.Why = cmp.Or(e.result.Why, "its config is another")
	e.did("configure")
	if e.spec.DryRun {
		return nil
	}
	p, err := e.client.Plugins.putConfig(ctx, e.id, wanted)
	if err == nil {
		e.result.Plugin = p
	}
	return err
}

// An AbsentSpec says which plugin should not be there.
type AbsentSpec struct {
	ID     PluginID
	Data   bool // take its stored data along, as with DeleteOptions
	DryRun bool // only say what would be done; of a plugin that is not listed nobody can say whether something is left of it
}

// EnsureAbsent makes it so that a plugin is not installed, and returns once it is not. It waits for operations on the
// plugin as [PluginsService.Ensure] does, and sends a removal also if the plugin is not listed: a failed installation
// leaves settings behind that no list shows. If nothing was left either, that is success without an action. An API key is
// not told why a removal failed: if the plugin is not listed then, it counts as not installed.
//
// Errors: [ErrInvalid] (the id, before anything is sent), [*TaskError] (the removal failed), [ErrNoEffect] (the plugin
// is still there, or others are still at work on it), [ErrTasksHidden] (an API key on 4.10.7 to 4.10.10), and those of
// [PluginsService.Delete] and [PluginsService.List].
//
// API: GET /api/v1/plugins, GET /api/v1/system/tasks, DELETE /api/v1/plugins/{author}/{name}.
func (s *PluginsService) EnsureAbsent(ctx context.Context, spec AbsentSpec) (EnsureResult, error) {
	if err := spec.ID.check(); err != nil {
		return EnsureResult{}, err
	}
	return s.client.alone(ctx, spec.ID, spec, func() (EnsureResult, error) {
		e := &ensuring{client: s.client, id: spec.ID, absent: true}
		err := e.remove(ctx, spec)
		return e.result, e.wrong(err)
	})
}

func (e *ensuring) remove(ctx context.Context, spec AbsentSpec) error {
	if err := e.prepare(ctx); err != nil {
		return err
	}
	for {
		p, err := e.settled(ctx)
		there := p.ID != PluginID{}
		if there {
			e.result.Why = "it runs in version " + p.Version
		}
		switch {
		case err != nil:
			return err
		case spec.DryRun && there:
			e.did("remove")
			return nil
		case spec.DryRun, !there && e.gone():
			return nil
		case e.tries == maxTries, e.tries > 0 && e.access != tasksShown:
			return cmp.Or(e.failure, error(&WaitError{Err: ErrNoEffect, Plugin: p, hint: "it was removed, and is there again"}))
		}
		if err := e.removal(ctx, spec, there); err != nil {
			return err
		}
	}
}

// gone reports whether the last removal did it, or found nothing to do.
func (e *ensuring) gone() bool {
	return e.tries > 0 && (e.failure == nil || errors.Is(e.failure, ErrNotFound))
}

// removal sends one and waits for its end.
func (e *ensuring) removal(ctx context.Context, spec AbsentSpec, there bool) error {
	op, err := e.client.Plugins.Delete(ctx, e.id, DeleteOptions{Data: spec.Data})
	if err != nil && !errors.Is(err, ErrOutcomeUnknown) {
		return err
	}
	e.sent(err)
	blind := err == nil && op.state().Baseline != nil && op.state().Baseline.Blind
	if err == nil && (there || blind || e.access == tasksShown) { // else it shows nowhere: up to 4.10.6 nothing is left behind then
		e.failure = e.wait(ctx, op)
	}
	if there || e.failure == nil && e.access == tasksShown {
		e.did("remove")
		e.result.Why = cmp.Or(e.result.Why, "settings were left of it")
	}
	if errors.Is(e.failure, ErrTasksHidden) {
		return e.failure // and reading plugins now may hang the server
	}
	return e.unless(ctx)
}
