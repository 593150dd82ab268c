// Plugins: what is installed and what can be done to it. What a plugin is, is in plugin.go, installing in install.go.

package langbot

import (
	"context"
	"net/url"
)

// The API of this file, in the order of its methods.
var (
	listPlugins  = endpoint{pattern: "GET /api/v1/plugins", effect: repeatable}
	getPlugin    = endpoint{pattern: "GET /api/v1/plugins/{author}/{name}", effect: repeatable}
	deletePlugin = endpoint{pattern: "DELETE /api/v1/plugins/{author}/{name}", effect: once}
)

// A PluginsService manages the plugins of a server. See [Client.Plugins].
type PluginsService struct{ client *Client }

// List returns the plugins that are running or starting, in the server's order: newest installed first. A plugin that
// failed to start, or is just being installed, upgraded or configured, is not among them, and right after the plugin
// runtime has reconnected the list may be empty for seconds: absent is not removed.
//
// Errors: [ErrUnauthorized], [ErrForbidden], [ErrRuntimeAway], [ErrServer], [ErrUnreachable], [*ProtocolError].
//
// API: GET /api/v1/plugins, since LangBot 4.0.0; API keys since 4.6.0.
func (s *PluginsService) List(ctx context.Context) ([]Plugin, error) {
	return s.list(ctx, listPlugins.at())
}

func (s *PluginsService) list(ctx context.Context, r route) ([]Plugin, error) {
	plugins, err := call[wirePlugins](ctx, s.client, r, nil)
	if err != nil && !r.single { // a poll is one request; its wait asks at its end
		err = s.client.diagnosed(ctx, err)
	}
	if err != nil {
		return nil, err
	}
	return plugins, nil
}

// Get returns one plugin. [ErrNotFound] means that it is not running now, on every release: it may not be installed, may
// have failed to start, or may be absent for seconds during an installation or after a change of its config. To wait for
// it use [PluginsService.WaitReady]. A plugin that is returned works only if its Status is [PluginInitialized].
//
// Errors: [ErrNotFound], [ErrInvalid] (an id that no server can be asked for), [ErrUnauthorized], [ErrForbidden] (also
// an account without access to the workspace), [ErrRuntimeAway], [ErrServer], [ErrUnreachable], [*ProtocolError].
//
// API: GET /api/v1/plugins/{author}/{name}, since LangBot 4.0.0; API keys since 4.6.0.
func (s *PluginsService) Get(ctx context.Context, id PluginID) (Plugin, error) {
	return s.get(ctx, id, false)
}

func (s *PluginsService) get(ctx context.Context, id PluginID, single bool) (Plugin, error) {
	if err := id.check(); err != nil {
		return Plugin{}, err
	}
	one, all := getPlugin.at(id.Author, id.Name).about(id, ""), listPlugins.at()
	one.single, all.single = single, single
	data, err := call[wirePlugin](ctx, s.client, one, nil)
	if err == nil {
		return data.Plugin, nil
	}
	if refused, ok := isFailure(err); ok {
		return s.inList(ctx, all, id, refused)
	}
	if !single {
		err = s.client.diagnosed(ctx, err)
	}
	return Plugin{}, err
}

// inList decides what a 500 for one plugin means. 4.10.7 and 4.10.8 answer it for every plugin that is not installed:
// truth 4.10.8, 04-get-missing; other releases when the plugin runtime is away, and then the list fails too.
func (s *PluginsService) inList(ctx context.Context, r route, id PluginID, refused *APIError) (Plugin, error) {
	plugins, err := s.list(ctx, r)
	if failed, ok := isFailure(err); ok {
		return Plugin{}, refused.as(failed.class, failed.hint)
	}
	if err != nil && ctx.Err() != nil {
		return Plugin{}, err
	}
	if err != nil {
		return Plugin{}, refused
	}
	if p, ok := find(plugins, id); ok {
		return p, nil
	}
	if h, err := s.client.System.health(ctx); !r.single && err == nil && h.known && !h.connected { // then a list may be empty
		return Plugin{}, refused.as(ErrRuntimeAway, runtimeGone)
	}
	absent := refused.as(ErrNotFound, "")
	absent.Message = "plugin not found: the server failed to answer for it, and its list is without it"
	return Plugin{}, absent
}

// explained is the error of a route that fails for a plugin which does not run, where others answer 404.
func (s *PluginsService) explained(ctx context.Context, id PluginID, err error) error {
	refused, failed := isFailure(err)
	if !failed {
		return s.client.diagnosed(ctx, err)
	}
	if _, err := s.inList(ctx, listPlugins.at(), id, refused); err != nil {
		return err
	}
	return refused
}

// there is ErrNotFound if the plugin does not run, which some routes answer with nothing.
func (s *PluginsService) there(ctx context.Context, id PluginID) error {
	_, err := s.get(ctx, id, false)
	return err
}

// find prefers an installed plugin to one of the same name that its developer has connected.
func find(plugins []Plugin, id PluginID) (found Plugin, ok bool) {
	for _, p := range plugins {
		if p.ID == id && (!ok || found.Debug) {
			found, ok = p, true
		}
	}
	return found, ok
}

// DeleteOptions say what a removal takes along.
type DeleteOptions struct {
	Data bool // the plugin's stored data too. Its settings go in any case from 4.10.7 on; before, only with Data
}

// Delete starts the removal of a plugin and returns as soon as the server has queued it; [Operation.Wait] tells how it
// ended. Servers do not look whether the plugin is there: that it is not shows in Wait, as a *TaskError that is
// [ErrNotFound]. A removal is never sent twice.
//
// Errors: [ErrInvalid], [ErrUnauthorized], [ErrForbidden], [ErrBusy], [ErrRuntimeAway], [ErrServer], [ErrUnreachable],
// [ErrOutcomeUnknown], [*ProtocolError].
//
// API: DELETE /api/v1/plugins/{author}/{name}, since LangBot 4.0.0; API keys since 4.6.0.
func (s *PluginsService) Delete(ctx context.Context, id PluginID, opts DeleteOptions) (*Operation, error) {
	if err := id.check(); err != nil {
		return nil, err
	}
	r := deletePlugin.at(id.Author, id.Name).about(id, "")
	if opts.Data {
		r = r.with(url.Values{"delete_data": {"true"}}) // nothing else counts as true
	}
	return s.client.start(ctx, r, nil, ticket{Kind: kindDelete, Plugin: id})
}

// WaitReady waits until the plugin is initialized in the given version (empty: in any), as after a restart, a change of
// its config or somebody else's installation. It polls as [Operation.Wait] does, until ctx or Polling.Hidden ends it
// with a [*WaitError] that tells the plugin as last seen. Polling.Hidden is 5 minutes by default, also for a context that
// lasts longer.
//
// Errors: [ErrInvalid] (the id), [ErrNoEffect] (not ready after Polling.Hidden, or at the end of ctx, which it is too
// then), [ErrUnauthorized], [ErrForbidden] and a [*ProtocolError] below status 500 at once, [ErrUnreachable],
// [ErrRuntimeAway] or [ErrServer] after Polling.Tolerance of nothing else.
//
// API: GET /api/v1/plugins/{author}/{name}, since LangBot 4.0.0; API keys since 4.6.0.
func (s *PluginsService) WaitReady(ctx context.Context, id PluginID, version string) (Plugin, error) {
	if err := id.check(); err != nil {
		return Plugin{}, err
	}
	g := goal{client: s.client, ticket: ticket{Kind: kindInstall, Plugin: id, Version: version}}
	return g.reach(ctx, s.client.settings.polling.Hidden, Task{})
}
