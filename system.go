// System: what server this is.

package langbot

import (
	"context"

	"strconv"
	"strings"

	"github.com/langbot-go/langbot/internal/envelope"
)

// The API of this file.
var systemInfo = endpoint{pattern: "GET /api/v1/system/info", effect: repeatable}

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
func (s *SystemService) Info(ctx context.Context) (Info, error) {
	data, err := call[struct {
		Version envelope.Loose `json:"version"`
		Edition envelope.Loose `json:"edition"`
		Limits  wireLimits     `json:"limitation"`
	}](ctx, s.client, systemInfo.at(), nil)
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

// A release is a server's version, for the few differences that cannot be found by asking.
type release [3]int

// parseRelease reads "4.10.7", also of a pre-release ("4.10.0-beta.2"). Anything else is not ok.
func parseRelease(version string) (r release, ok bool) {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) != 3 {
		return r, false
	}
	for i, part := range parts {
		end := strings.IndexFunc(part, func(c rune) bool { return c < '0' || c > '9' })
		if end >= 0 && i == 2 {
			part = part[:end]
		}
		n, err := strconv.Atoi(part)
		if err != nil {
			return r, false
		}
		r[i] = n
	}
	return r, true
}

func (r release) atLeast(major, minor, patch int) bool {
	for i, n := range []int{major, minor, patch} {
		if r[i] != n {
			return r[i] > n
		}
	}
	return true
}
