// Config: the settings of a plugin.

package langbot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
)

// The API of this file.
var setConfig = endpoint{pattern: "PUT /api/v1/plugins/{author}/{name}/config", effect: once}

// SetConfig replaces the whole config of a plugin. config must encode as a JSON object (a nil map does not), which is
// checked before anything is sent: servers take anything else, and the plugin never starts again. A secret that servers show as "***" stays as it
// is when it is written so (from 4.10.7 on, where it is shown so).
//
// The plugin is restarted for it: up to 4.9.6 and from 4.10.7 on after the answer, so that it is absent for seconds, in
// which another SetConfig is lost with [ErrNotFound]; from 4.9.7 to 4.10.6 before it, which takes a second or two. Either
// way the old process is gone by the time SetConfig returns, and [PluginsService.WaitReady] waits for the new one. It is
// sent once.
//
// Errors: [ErrInvalid] (no JSON object, before anything is sent; or a "***" for a secret that has no value yet),
// [ErrNotFound] (the plugin is not running now), [ErrUnauthorized], [ErrForbidden], [ErrRuntimeAway] and [ErrServer] (the
// config may have been stored all the same, as from 4.9.7 to 4.10.6 for a plugin that does not start again within 15
// seconds; so it may on 4.10.7 and 4.10.8 with [ErrNotFound]), [ErrUnreachable], [ErrOutcomeUnknown], [*ProtocolError].
//
// API: PUT /api/v1/plugins/{author}/{name}/config, since LangBot 4.0.0; API keys since 4.6.0.
func (s *PluginsService) SetConfig(ctx context.Context, id PluginID, config any) error {
	if err := id.check(); err != nil {
		return err
	}
	body, err := json.Marshal(config)
	if err != nil {
		return invalid("config of %s: it is no JSON: %v", id, err)
	}
	if !bytes.HasPrefix(body, []byte("{")) {
		return invalid("config of %s: it must be a JSON object: with anything else the plugin never starts again", id)
	}
	_, err = call[struct{}](ctx, s.client, setConfig.at(id.Author, id.Name).about(id, ""), json.RawMessage(body))
	if refused, failed := isFailure(err); failed {
		err = s.missingOr(ctx, id, refused)
	}
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrRuntimeAway) {
		return err
	}
	return s.client.diagnosed(ctx, err)
}

// missingOr is refused, or that the plugin is missing, where servers answer that with a failure.
func (s *PluginsService) missingOr(ctx context.Context, id PluginID, refused *APIError) error {
	if r, ok, _ := s.client.releaseNow(ctx); !ok || !missingIsFailure.holds(r) {
		return refused
	}
	if _, err := s.inList(ctx, listPlugins.at(), id, refused); err != nil {
		if judged, ok := err.(*APIError); ok { // not the end of ctx: the config may have been stored
			return judged
		}
	}
	return refused
}
