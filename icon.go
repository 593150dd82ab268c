// Icon: the picture of a plugin.

package langbot

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/langbot-go/langbot/internal/envelope"
	"github.com/langbot-go/langbot/internal/transport"
)

// The API of this file.
var (
	getIcon              = endpoint{pattern: "GET /api/v1/plugins/{author}/{name}/icon", effect: repeatable}
	getAuthenticatedIcon = endpoint{pattern: "GET /api/v1/plugins/{author}/{name}/authenticated-icon", effect: repeatable}
)

// An Icon is the picture of a plugin, as it comes from the server. It must be closed.
type Icon struct {
	io.ReadCloser
	ContentType string // "image/svg+xml; charset=utf-8", …: always an image
	Size        int64  // in bytes; -1: the server does not tell
}

// Icon returns the picture of a plugin. It streams: it is nowhere in memory as a whole, and has to be read within the time
// of an attempt, RetryPolicy.AttemptTimeout; [WithMaxResponseBytes] bounds it. Servers show it to anybody, except where
// they have several workspaces: there the credential is needed. A page, or anything else that is no image, is a
// [*ProtocolError]; so is an icon of no bytes, which releases up to 4.10.6 keep for 5 minutes if it was asked for before
// the plugin ran.
//
// Errors: [ErrNotFound] (the plugin is not running now), [ErrServer] (on every release also for a plugin whose manifest
// names no icon), [ErrInvalid] (an id that no server can be asked for), [ErrUnauthorized], [ErrForbidden],
// [ErrRuntimeAway], [ErrUnreachable], [*ProtocolError]. Reading it may fail with an error of package net, or the end of
// ctx.
//
// API: GET /api/v1/plugins/{author}/{name}/icon, since LangBot 4.3.0; GET /api/v1/plugins/{author}/{name}/authenticated-icon, since 4.10.7.
func (s *PluginsService) Icon(ctx context.Context, id PluginID) (*Icon, error) {
	if err := id.check(); err != nil {
		return nil, err
	}
	icon, err := s.icon(ctx, getIcon.at(id.Author, id.Name).about(id, ""))
	if errors.Is(err, ErrForbidden) && s.client.settings.credential != nil {
		icon, err = s.icon(ctx, getAuthenticatedIcon.at(id.Author, id.Name).about(id, ""))
	}
	var page *ProtocolError
	switch {
	case err == nil:
		return icon, nil
	case errors.As(err, &page) && (page.Snippet == "" || page.StatusCode == http.StatusNotFound): // no such plugin: up to 4.10.6, or the other route
		if absent := s.there(ctx, id); absent != nil {
			return nil, absent
		}
	}
	return nil, s.iconless(ctx, id, err)
}

// icon makes the request. Unlike others it does not read the answer, if that is an image.
func (s *PluginsService) icon(ctx context.Context, r route) (*Icon, error) {
	r.stream = isImage
	x := &request{client: s.client, route: r, started: time.Now()}
	answer, err := x.send(ctx, nil)
	defer answer.Release()
	var icon *Icon
	switch {
	case err != nil:
	case answer.Stream != nil && !begins(answer):
		err = x.notAPI(answer, errors.New("this is an image of no bytes"))
	case answer.Stream != nil:
		icon = &Icon{ReadCloser: answer.Stream, ContentType: answer.Header.Get("Content-Type"), Size: answer.Length}
		answer.Stream = nil // it is the caller's now
	default:
		if err = x.refused(answer); err == nil {
			err = x.notAPI(answer, errors.New("this is no image"))
		}
	}
	x.log(ctx, answer, err)
	return icon, err
}

func isImage(resp *http.Response) bool {
	return resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), "image/") && resp.ContentLength != 0
}

// begins reports whether a stream of unknown length holds anything. An error is for its reader to meet.
func begins(a *transport.Answer) bool {
	if a.Length >= 0 {
		return true
	}
	first := bufio.NewReaderSize(a.Stream, 16)
	_, err := first.Peek(1)
	a.Stream = struct {
		io.Reader
		io.Closer
	}{first, a.Stream}
	return err != io.EOF
}

// iconless is err, with the reason if it is the plugin's.
func (s *PluginsService) iconless(ctx context.Context, id PluginID, err error) error {
	refused, failed := isFailure(err)
	if !failed {
		return s.client.diagnosed(ctx, err)
	}
	p, err := s.inList(ctx, listPlugins.at(), id, refused)
	switch {
	case err != nil:
		return err
	case envelope.Text(envelope.Field(p.Manifest, "metadata", "icon")) == "":
		return refused.as(refused.class, "the plugin's manifest names no icon")
	}
	return s.client.diagnosed(ctx, refused)
}
