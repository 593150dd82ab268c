// Diagnosis: what a failure of a plugin route means, where one more question can tell.

package langbot

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// diagnosed is err with what more can be found out: that the plugin runtime is away, that the server is ruined, or that
// it is older than this package knows. It asks without a credential.
func (c *Client) diagnosed(ctx context.Context, err error) error {
	switch e := err.(type) { // not what an OutcomeUnknownError wraps
	case *APIError:
		switch {
		case e.Op == login.pattern: // that is no plugin route
		case e.class == ErrServer && e.StatusCode == http.StatusInternalServerError:
			return c.afterFailure(ctx, e)
		case e.StatusCode == http.StatusUnauthorized && e.Code == "-1": // a number: up to 4.10.6, or no credential at all
			return e.as(e.class, c.tooOld(ctx))
		}
	case *ProtocolError:
		if e.Op == login.pattern || e.StatusCode != http.StatusNotFound && e.StatusCode != http.StatusMethodNotAllowed {
			break // it is not that there is no such route
		}
		if hint := c.tooOld(ctx); hint != "" {
			copied := *e
			copied.Hint = hint
			return &copied
		}
	}
	return err
}

// as is e with another class and hint.
func (e *APIError) as(class error, hint string) *APIError {
	copied := *e
	copied.class, copied.hint = class, hint
	return &copied
}

const runtimeGone = "the plugin runtime is not connected"

// errDisconnected is what a server tells of its plugin runtime when nothing was refused.
var errDisconnected = fmt.Errorf("langbot: %w: %w: %s", ErrServer, ErrRuntimeAway, runtimeGone)

// afterFailure asks a server whose plugin route failed whether its plugin runtime is connected.
func (c *Client) afterFailure(ctx context.Context, e *APIError) error {
	if legacyAway(e) {
		return e.as(ErrRuntimeAway, runtimeGone)
	}
	if e.Code != "internal_error" { // only newer servers tell more, and they say that
		return e
	}
	h, err := c.System.health(ctx)
	if err != nil || !h.known {
		return e
	}
	if !h.connected { // where the system of plugins is switched off, too
		return e.as(ErrRuntimeAway, runtimeGone)
	}
	if r, ok, err := c.releaseNow(ctx); err == nil && ok && poisoned.holds(r) {
		return e.as(e.class, fmt.Sprintf("if every plugin route fails so, this LangBot %s is ruined: a package was installed that its "+
			"plugin runtime refuses, which no request can undo; remove its row from the table plugin_settings and restart", r))
	}
	return e
}

// legacyAway knows a lost runtime by its text, which up to 4.10.6 is all there is: truth 4.10.6, 17-runtime-down; the
// second one is that of a host which never had one.
func legacyAway(e *APIError) bool {
	return e.Code == "-2" && (e.Message == "Connection closed during send" || strings.Contains(e.Message, "'PluginRuntimeConnector' object has no attribute"))
}

// tooOld says so if the server is older than every release that this package works with.
func (c *Client) tooOld(ctx context.Context) string {
	r, ok, err := c.releaseNow(ctx)
	if err != nil || !ok || !r.before(oldestRelease) {
		return ""
	}
	return fmt.Sprintf("the server is LangBot %s, and this package works with %s and newer", r, oldestRelease)
}

// isFailure reports whether err is LangBot's own 500 to what was asked, and nothing else besides.
func isFailure(err error) (*APIError, bool) {
	e, ok := err.(*APIError)
	return e, ok && e.StatusCode == http.StatusInternalServerError && e.Op != login.pattern
}
