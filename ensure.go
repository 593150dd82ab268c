// Ensure: a plugin as it should be, whatever state it is in.

package langbot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Spec says which plugin should run, and how. It comes from Package if there is one, else from GitHub if a field of that
// is given, else from LangBot's marketplace.
type Spec struct {
	ID      PluginID // may be left out with a Package, which tells
	Package Package  // as package lbpkg makes it

	// GitHub is the file of a release, as InstallGitHub takes it; the tag "latest" is looked up each time. The file must
	// hold the plugin ID: which one it does hold shows only once it is installed.
	GitHub GitHubAsset

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

	// DryRun has Ensure only say what would be done, once no operation is under way. Whether the marketplace has the version
	// is not asked.
	DryRun bool
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
// Before it acts, it waits for operations on the plugin, and for those that may be on it: an API key is not told what an
// operation is about. A plugin that is not listed, or is wrong after something went wrong, is looked at for 10 seconds
// before anything is sent, since lists lack plugins in passing, and one that is listed and not initialized for
// Polling.Settle; a plugin that runs in another version is replaced at once. It ends with the plugin read back as it
// should be, or with an error that says what is not. It may be called again after any error, above all
// [ErrOutcomeUnknown], its own or another method's: nothing is sent again unless what was sent has ended without the
// effect, or shows nothing of it for 10 seconds. After a [*TaskError] it would fail again unless the package or the server
// has changed.
//
// Calls for one plugin in a process wait for each other, and those that want the same share one result. ctx bounds it; an
// operation goes on when ctx ends. Reads that fail are tolerated for Polling.Tolerance; to wait for a server to come up is
// for [SystemService.WaitReady].
//
// While tasks are hidden (an API key before 4.10.11), a call watches the list for Polling.Hidden after it has sent
// something, ends with [ErrTasksHidden] or [ErrOutcomeUnknown] if the plugin does not show, and does not send again.
//
// Errors: [ErrInvalid] (the spec, before anything is sent; config on 4.9.7, see [PluginsService.Config]), [*TaskError]
// (the installation failed), [ErrNoEffect] (what was installed does not run as wanted, operations that may be on it go on
// for longer than Polling.Hidden, or the config was not read back), [ErrNotFound] (no such GitHub release), and those of
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
		return e.outcome(e.run(ctx))
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
	hangs   *bool  // the server may hang when it is read during a removal; nil: not asked yet
	why     string // what is wrong now
	tries   int
	refused int   // tries that the server was too busy for
	failure error // of the last try
	others  bool  // operations were seen running after its end
	result  EnsureResult
}

func (e *ensuring) run(ctx context.Context) error {
	if err := e.prepare(ctx); err != nil {
		return err
	}
	overtaken := 0
	for {
		p, err := e.settled(ctx)
		if err != nil {
			return err
		}
		action, why := e.needed(p)
		if e.why = why; action == "" {
			if err = e.configure(ctx); err != nil || e.right() {
				return err
			}
			if overtaken++; overtaken == maxTries {
				return &WaitError{Err: ErrNoEffect, Plugin: e.result.Plugin, hint: "others have it run in another version again and again"}
			}
			continue
		}
		e.result.Why = cmp.Or(e.result.Why, why)
		if e.spec.DryRun {
			e.did(action)
			return e.configure(ctx)
		}
		if err := e.giveUp(); err != nil {
			return err
		}
		if err := e.install(ctx, action); err != nil {
			return err
		}
	}
}

// right reports whether the plugin that was seen last is as it should be.
func (e *ensuring) right() bool {
	action, _ := e.needed(e.result.Plugin)
	return action == ""
}

// did adds what was done, or will be.
func (e *ensuring) did(action string) {
	if !slices.Contains(e.result.Actions, action) {
		e.result.Actions = append(e.result.Actions, action)
	}
}

// outcome is the result, with what is not as it should be.
func (e *ensuring) outcome(err error) (EnsureResult, error) {
	switch {
	case err == nil:
		return e.result, nil
	case e.why == "":
		return e.result, fmt.Errorf("langbot: ensuring %s: %w", e.id, err)
	}
	return e.result, fmt.Errorf("langbot: ensuring %s: %s: %w", e.id, e.why, err)
}

// prepare finds out what the server needs for the spec, and whether it can be met at all. Where what runs is known by the
// release that it came from, that release must be known.
func (e *ensuring) prepare(ctx context.Context) (err error) {
	if e.access, err = e.client.taskAccess(ctx); err != nil {
		return err
	}
	if a := e.spec.GitHub; a != (GitHubAsset{}) && e.spec.Version == "" && (a.ReleaseID == 0 || a.AssetURL == "") {
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
		return &WaitError{Err: ErrNoEffect, Plugin: e.result.Plugin, hint: "what was done did not last"}
	}
	return e.failure
}

// install sends one installation and waits for its end. What came of it is for the next look to judge.
func (e *ensuring) install(ctx context.Context, action string) error {
	op, err := e.start(ctx)
	if errors.Is(err, ErrBusy) && !errors.Is(err, ErrOutcomeUnknown) && e.refused < maxTries {
		e.refused++
		return e.interrupted(ctx) // with what others do, perhaps to the same end
	}
	if err != nil && !errors.Is(err, ErrOutcomeUnknown) {
		return err
	}
	e.did(action)
	e.sent(err)
	if err == nil && e.access != tasksShown {
		e.failure = op.state().unseen("it did not show as it should be")
	} else if err == nil {
		e.failure = e.wait(ctx, op)
	}
	return e.interrupted(ctx)
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

// wait waits for the end of what was sent. What a GitHub release holds shows only then.
func (e *ensuring) wait(ctx context.Context, op *Operation) error {
	done, err := op.Wait(ctx)
	if done.Task.State.final() {
		e.result.Tasks = append(e.result.Tasks, done.Task)
	}
	p := done.Plugin
	if err == nil && !e.absent && (p.ID != e.id || e.spec.Version != "" && !sameVersion(p.Version, e.spec.Version)) {
		err = &WaitError{Err: ErrNoEffect, Task: done.Task, Plugin: p, hint: fmt.Sprintf("what was installed is %s %s", p.ID, p.Version)}
	}
	return err
}

// interrupted is the last failure if ctx has ended, so that nothing more can be found out.
func (e *ensuring) interrupted(ctx context.Context) error {
	if ctx.Err() != nil {
		return cmp.Or(e.failure, because(ctx))
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
		p, err := e.client.Plugins.WaitReady(ctx, e.id, "")
		if err != nil {
			return err
		}
		e.result.Plugin = p
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
	e.why = "its config differs"
	e.result.Why = cmp.Or(e.result.Why, e.why)
	e.did("configure")
	if e.spec.DryRun {
		return nil
	}
	p, err := e.client.Plugins.putConfig(ctx, e.id, wanted)
	if err == nil {
		e.result.Plugin, e.why = p, ""
	}
	return err
}
