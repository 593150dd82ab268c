// Absent: a plugin as it should be when it should not be there.

package langbot

import (
	"cmp"
	"context"
	"errors"
)

// An AbsentSpec says which plugin should not be there.
type AbsentSpec struct {
	ID     PluginID
	Data   bool // take its stored data along, as with DeleteOptions
	DryRun bool // only say what would be done; of a plugin that is not listed nobody can say whether something is left of it
}

// EnsureAbsent makes it so that a plugin is not installed, and returns once it is not. It waits for operations on the
// plugin as [PluginsService.Ensure] does, and sends a removal also if the plugin is not listed: a failed installation
// leaves settings behind that no list shows. (Up to 4.10.6 they could not be removed, and with hidden tasks nothing is
// sent then.) If nothing was left either, that is success without an action. An API key is
// not told why a removal failed: if the plugin is not listed then, it counts as not installed.
//
// Errors: [ErrInvalid] (the id, before anything is sent), [*TaskError] (the removal failed), [ErrNoEffect] (the plugin
// is still there, or others are still at work on it), [ErrTasksHidden] (an API key on 4.10.7 to 4.10.10, which cannot see what
// becomes of a removal: nothing is sent), and those of [PluginsService.Delete] and [PluginsService.List].
//
// API: GET /api/v1/plugins, GET /api/v1/system/tasks, DELETE /api/v1/plugins/{author}/{name}.
func (s *PluginsService) EnsureAbsent(ctx context.Context, spec AbsentSpec) (EnsureResult, error) {
	if err := spec.ID.check(); err != nil {
		return EnsureResult{}, err
	}
	return s.client.alone(ctx, spec.ID, spec, func() (EnsureResult, error) {
		e := &ensuring{client: s.client, id: spec.ID, absent: true}
		return e.outcome(e.remove(ctx, spec))
	})
}

func (e *ensuring) remove(ctx context.Context, spec AbsentSpec) error {
	if err := e.prepare(ctx); err != nil {
		return err
	}
	if e.access != tasksShown && !spec.DryRun && e.client.hangsWhenRead(ctx) {
		return ticket{}.unseen("what becomes of a removal cannot be seen here, and reading plugins meanwhile can hang this release for good; nothing was sent")
	}
	for {
		p, err := e.settled(ctx)
		if err != nil {
			return err
		}
		there := p.ID != PluginID{}
		if e.why = ""; there {
			e.why = "it runs in version " + p.Version
			e.result.Why = cmp.Or(e.result.Why, e.why)
		}
		switch {
		case spec.DryRun && there:
			e.did("remove")
			return nil
		case spec.DryRun, !there && (e.gone() || e.access != tasksShown): // up to 4.10.6 nothing is left behind that could be removed
			return nil
		case e.tries == maxTries, there:
			if err := e.giveUp(); err != nil {
				return err
			}
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
	if err == nil {
		e.failure = e.wait(ctx, op)
	}
	if there || e.failure == nil {
		e.did("remove")
		e.result.Why = cmp.Or(e.result.Why, "settings were left of it")
	}
	return e.interrupted(ctx)
}
