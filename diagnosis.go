// Diagnosis: what a failure of a plugin route means, where one more question can tell.

package langbot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// diagnosed is err with what more can be found out: that the plugin runtime is away, that the server is ruined, or that
// it is older than this package knows.
func (c *Client) diagnosed(ctx context.Context, err error) error {
	switch e := err.(type) { // not what an OutcomeUnknownError wraps
	case *APIError:
		switch {
		case e.StatusCode == http.StatusInternalServerError:
			return c.afterFailure(ctx, *e)
		case e.StatusCode == http.StatusUnauthorized && e.Code == "-1": // a number: up to 4.10.6, or no credential at all
			copied := *e
			copied.hint = c.tooOld(ctx)
			return &copied
		}
	case *ProtocolError:
		if e.StatusCode != http.StatusNotFound && e.StatusCode != http.StatusMethodNotAllowed { // no such route
			break
		}
		if hint := c.tooOld(ctx); hint != "" {
			copied := *e
			copied.Hint = hint
			return &copied
		}
	}
	return err
}

// afterFailure asks a server whose plugin route failed whether its plugin runtime is connected.
func (c *Client) afterFailure(ctx context.Context, e APIError) error {
	h, err := c.System.health(ctx)
	switch {
	case legacyAway(e), err == nil && h.known && !h.connected:
		e.class, e.hint = ErrRuntimeAway, "the plugin runtime is not connected"
	case err == nil && h.known && e.Code == "internal_error":
		if r, ok, err := c.release(ctx); err == nil && ok && poisoned.holds(r) {
			e.hint = fmt.Sprintf("if every plugin route fails so, this LangBot %s is ruined: a package was installed that its plugin runtime refuses, "+
				"which no request can undo; remove its row from the table plugin_settings and restart", r)
		}
	}
	return &e
}

// legacyAway knows a lost runtime by its text, which up to 4.10.6 is all there is: truth 4.10.6, 17-runtime-down; the
// second one is that of a host which never had one.
func legacyAway(e APIError) bool {
	return e.Code == "-2" && (e.Message == "Connection closed during send" || strings.Contains(e.Message, "'PluginRuntimeConnector' object has no attribute"))
}

// tooOld says so if the server is older than every release that this package works with.
func (c *Client) tooOld(ctx context.Context) string {
	r, ok, err := c.release(ctx)
	if err != nil || !ok || !r.before(oldestRelease) {
		return ""
	}
	return fmt.Sprintf("the server is LangBot %s, and this package works with %s and newer", r, oldestRelease)
}

// isFailure reports whether err is LangBot's own 500.
func isFailure(err error) (*APIError, bool) {
	var e *APIError
	return e, errors.As(err, &e) && e.StatusCode == http.StatusInternalServerError
}
