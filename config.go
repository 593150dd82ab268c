// Config: the settings of a plugin.

package langbot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/langbot-go/langbot/internal/envelope"
)

// The API of this file, in the order of its methods.
var (
	getConfig = endpoint{pattern: "GET /api/v1/plugins/{author}/{name}/config", effect: repeatable}
	setConfig = endpoint{pattern: "PUT /api/v1/plugins/{author}/{name}/config", effect: once}
)

// Config returns the config of a plugin as it is stored, empty if none is. Numbers are of type [json.Number], with every
// digit. From 4.10.7 on values that servers take for secrets by their keys, such as "api_key" or "token_count", are "***".
//
// Errors: [ErrNotFound] (the plugin is not running now), [ErrInvalid] (LangBot 4.9.7, which tells every config as empty;
// an id that no server can be asked for), [ErrUnauthorized], [ErrForbidden], [ErrRuntimeAway], [ErrServer],
// [ErrUnreachable], [*ProtocolError] (also what is stored is no JSON object).
//
// API: GET /api/v1/plugins/{author}/{name}/config, since LangBot 4.0.0; API keys since 4.6.0.
func (s *PluginsService) Config(ctx context.Context, id PluginID) (map[string]any, error) {
	if err := id.check(); err != nil {
		return nil, err
	}
	data, err := call[wireConfig](ctx, s.client, getConfig.at(id.Author, id.Name).about(id, ""), nil)
	if err != nil {
		return nil, s.explained(ctx, id, err)
	}
	if len(data.config) == 0 {
		if err := s.configsTold(ctx); err != nil {
			return nil, err
		}
	}
	return data.config, nil
}

// configsTold is an error if the server is of a release that tells no config.
func (s *PluginsService) configsTold(ctx context.Context) error {
	r, known, err := s.client.release(ctx)
	if err == nil && known && configUntold.holds(r) {
		err = invalid("LangBot %s tells every config as empty: it can only be replaced as a whole, with SetConfig", r)
	}
	return err
}

// wireConfig is the data of a config.
type wireConfig struct{ config map[string]any }

// ReadJSON implements envelope.Reader.
func (w *wireConfig) ReadJSON(data []byte) { w.config = exactly(envelope.Field(data, "config")) }

func (w *wireConfig) missing() string {
	if w.config == nil {
		return "config that is a JSON object"
	}
	return ""
}

// exactly reads an object with the numbers as they are written. Anything else is nil.
func exactly(object []byte) (m map[string]any) {
	decoder := json.NewDecoder(bytes.NewReader(object))
	decoder.UseNumber()
	if decoder.Decode(&m) != nil {
		return nil
	}
	return m
}

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

// UpdateConfig reads the config of a plugin, has change alter it, writes it, waits until the plugin is initialized again,
// and reads it back. Keys that change leaves alone keep their values, numbers every digit, and secrets, which change sees
// as "***", stay as they are. config is never nil, and what is put into it is encoded as JSON. If change alters nothing
// (1 and 1.0 are the same), nothing is written, and the plugin is not restarted; so it is if change fails, whose error is
// returned as it is. A secret that is set is written each time: whether it is the stored
// one, servers do not tell. What somebody else writes between the reading and the writing is lost.
//
// Errors: those of [PluginsService.Config] and [PluginsService.SetConfig] before the config is stored; and after it a
// [*WaitError] that is [ErrNoEffect]: the plugin did not come back with it within Polling.Hidden, or another config was
// read back than was written.
//
// API: GET and PUT /api/v1/plugins/{author}/{name}/config, then GET /api/v1/plugins/{author}/{name}.
func (s *PluginsService) UpdateConfig(ctx context.Context, id PluginID, change func(config map[string]any) error) error {
	if change == nil {
		return invalid("UpdateConfig of %s: no function to change the config", id)
	}
	config, err := s.Config(ctx, id)
	if err != nil {
		return err
	}
	before := exactly(encoded(config))
	if err := change(config); err != nil {
		return err
	}
	wanted := exactly(encoded(config))
	if wanted == nil {
		return s.SetConfig(ctx, id, config) // which says why not
	}
	if sameConfig(before, wanted, false) {
		return nil
	}
	_, err = s.putConfig(ctx, id, wanted)
	return err
}

// putConfig writes the config, waits until the plugin works with it, and reads it back.
func (s *PluginsService) putConfig(ctx context.Context, id PluginID, wanted map[string]any) (Plugin, error) {
	if err := s.SetConfig(ctx, id, wanted); err != nil {
		return Plugin{}, err
	}
	p, err := s.WaitReady(ctx, id, "")
	if err != nil {
		return p, fmt.Errorf("langbot: the config of %s is stored: %w", id, err)
	}
	stored, err := s.Config(ctx, id)
	if err != nil {
		return p, fmt.Errorf("langbot: the config of %s is stored, and was not read back: %w", id, err)
	}
	if !sameConfig(stored, wanted, true) {
		return p, &WaitError{Err: ErrNoEffect, Plugin: p, hint: "another config was read back than was written"}
	}
	return p, nil
}

// encoded is v as JSON, and nothing if it is none.
func encoded(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return data
}

// hiddenValue stands for a secret.
const hiddenValue = "***"

// sameConfig reports whether stored is what wanted was written as. Of a secret only "***" is told: masked says what that
// counts for.
func sameConfig(stored, wanted any, masked bool) bool {
	same := func(stored, wanted any) bool { return sameConfig(stored, wanted, masked) }
	if stored == hiddenValue {
		return masked || wanted == hiddenValue
	}
	switch stored := stored.(type) {
	case map[string]any:
		wanted, ok := wanted.(map[string]any)
		return ok && maps.EqualFunc(stored, wanted, same)
	case []any:
		wanted, ok := wanted.([]any)
		return ok && slices.EqualFunc(stored, wanted, same)
	case json.Number:
		wanted, ok := wanted.(json.Number)
		return ok && sameNumber(stored, wanted)
	}
	return stored == wanted
}

// sameNumber compares by value: servers write 1e2 as 100.0, and whole numbers as they are.
func sameNumber(a, b json.Number) bool {
	if a == b || !strings.ContainsAny(a.String()+b.String(), ".eE") {
		return a == b
	}
	x, errX := a.Float64()
	y, errY := b.Float64()
	return errX == nil && errY == nil && x == y
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
