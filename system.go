// System: what server this is.

package langbot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/langbot-go/langbot/internal/envelope"
)

// The API of this file, in the order of its methods.
var (
	systemInfo = endpoint{pattern: "GET /api/v1/system/info", effect: repeatable}
	healthz    = endpoint{pattern: "GET /healthz", effect: repeatable}
)

// A SystemService tells about the server itself. See [Client.System].
type SystemService struct{ client *Client }

// Info is what a server tells about itself to anybody.
type Info struct {
	Version string // as "4.11.2", without the v that servers put before it
	Edition string // "community", …; empty before 4.8.4
	Limits  Limits
}

// Limits are the server's quotas. -1 means without a limit; so does a server before 4.8.4, which has none.
type Limits struct {
	Extensions     int // plugins and MCP servers together
	Bots           int
	Pipelines      int
	KnowledgeBases int
}

// Info asks what server this is. It needs no credential.
//
// Errors: [*ProtocolError] if the base URL is not that of a LangBot, [ErrUnreachable], [ErrServer].
//
// API: GET /api/v1/system/info, since LangBot 4.0.0.
func (s *SystemService) Info(ctx context.Context) (Info, error) { return s.info(ctx, systemInfo.at()) }

func (s *SystemService) info(ctx context.Context, r route) (Info, error) {
	data, err := call[struct {
		Version envelope.Loose `json:"version"`
		Edition envelope.Loose `json:"edition"`
		Limits  wireLimits     `json:"limitation"`
	}](ctx, s.client.anonymous(), r, nil)
	if err != nil {
		return Info{}, err
	}
	return Info{
		Version: strings.TrimPrefix(string(data.Version), "v"),
		Edition: string(data.Edition),
		Limits: Limits{
			Extensions:     data.Limits.Extensions.limit(),
			Bots:           data.Limits.Bots.limit(),
			Pipelines:      data.Limits.Pipelines.limit(),
			KnowledgeBases: data.Limits.KnowledgeBases.limit(),
		},
	}, nil
}

// wireLimits come from the server's configuration file, which may hold any of them, none, or anything else.
type wireLimits struct {
	Extensions     quota `json:"max_extensions"`
	Bots           quota `json:"max_bots"`
	Pipelines      quota `json:"max_pipelines"`
	KnowledgeBases quota `json:"max_knowledge_bases"`
}

type quota struct{ envelope.Loose }

func (q quota) limit() int {
	n, err := strconv.Atoi(string(q.Loose))
	if err != nil {
		return -1
	}
	return max(n, -1)
}

// WaitReady waits until plugins can be worked with, as a bot needs it that starts beside LangBot: the server answers, its
// plugin runtime is connected, and the set of initialized plugins has stayed the same for 5 seconds: a list is empty or
// short for seconds after a start. It is 10 seconds while plugins are listed that are not initialized, or the server (from
// 4.10.8 on) counts more installations than plugins that are; so a plugin that cannot start delays it and does not keep it from ending,
// and one that takes longer than that to start is not waited for: see [PluginsService.WaitReady]. It asks every
// Polling.Interval at first and then less often, once a second in the end, until ctx or Polling.Hidden (5 minutes by
// default) ends it. A host name that cannot be resolved yet is waited for too.
//
// Errors: a [*WaitError] that tells what was missing last: [ErrUnreachable], [ErrRuntimeAway], [ErrBusy], [ErrServer] (as
// of a proxy that does not reach LangBot) or, while plugins are still starting, [ErrNoEffect]. Ask for these first: if ctx
// ended it, it is that as well. At once: [ErrUnauthorized], [ErrForbidden], a [*ProtocolError] below status 500.
//
// API: GET /healthz and GET /api/v1/plugins, since LangBot 4.0.0; API keys since 4.6.0.
func (s *SystemService) WaitReady(ctx context.Context) error {
	w := newWatch(s.client.settings.polling)
	w.polling.MaxInterval = max(w.polling.Interval, min(w.polling.MaxInterval, time.Second))
	var calm calm
	var missing error
	for {
		now := s.ready(ctx, &calm)
		if now == nil {
			return nil
		}
		if missing == nil || ctx.Err() == nil { // the end of ctx in the middle of asking tells nothing new
			missing = now
		}
		if ctx.Err() == nil && (!passing(missing) && !unnamed(missing) || w.elapsed() >= w.polling.Hidden) {
			return ended(ctx, s.client.diagnosed(ctx, missing), Task{}, Plugin{})
		}
		if err := w.pause(ctx); err != nil {
			return &WaitError{Err: fmt.Errorf("%w; at last: %w", err, missing)}
		}
	}
}

// unnamed reports whether the server's name is not known: that of a container is not before it is up.
func unnamed(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// ready is what is missing, nil if nothing is.
func (s *SystemService) ready(ctx context.Context, calm *calm) error {
	h, err := s.health(ctx)
	if err == nil && h.known && !h.connected {
		err = errDisconnected
	}
	if err != nil {
		calm.since = time.Time{}
		return err
	}
	plugins, err := s.client.Plugins.list(ctx, listPlugins.at().polling())
	if err != nil {
		calm.since = time.Time{}
		if e, ok := isFailure(err); ok && legacyAway(e) {
			return e.as(ErrRuntimeAway, runtimeGone)
		}
		return err
	}
	return calm.see(plugins, h)
}

// calm is how long the plugins of a server have stayed the same.
type calm struct {
	plugins []Plugin // those that are initialized
	since   time.Time
}

func (c *calm) see(plugins []Plugin, h health) error {
	all := max(len(plugins), h.installations)
	plugins = slices.DeleteFunc(plugins, func(p Plugin) bool { return p.Status != PluginInitialized })
	slices.SortFunc(plugins, func(a, b Plugin) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	same := slices.EqualFunc(plugins, c.plugins, func(a, b Plugin) bool { return a.ID == b.ID && a.Version == b.Version })
	if c.since.IsZero() || !same {
		c.plugins, c.since = plugins, time.Now()
	}
	enough := 5 * time.Second
	if len(plugins) < all {
		enough = 10 * time.Second
	}
	if time.Since(c.since) < enough {
		return fmt.Errorf("langbot: %w: the plugins are still starting", ErrNoEffect)
	}
	return nil
}

// health is what a server tells anybody of its plugin runtime, from 4.10.8 on.
type health struct {
	known         bool
	connected     bool
	installations int
}

// health asks for it. Any answer but that is as good as none: a proxy may keep the route to itself.
func (s *SystemService) health(ctx context.Context) (health, error) {
	x := &request{client: s.client.anonymous(), route: healthz.at().polling(), started: time.Now()}
	answer, err := x.send(ctx, nil)
	defer answer.Release()
	x.log(ctx, answer, err)
	if err != nil {
		return health{}, err
	}
	if _, err := read[struct{}](x, answer); err != nil {
		return health{}, nil
	}
	runtimes := envelope.Field(answer.Body(), "resources", "runtimes")
	connected := string(envelope.Field(runtimes, "plugin_runtime_connected"))
	return health{
		known:         connected == "true" || connected == "false",
		connected:     connected == "true",
		installations: int(number(envelope.Field(runtimes, "plugin_installations"))),
	}, nil
}
