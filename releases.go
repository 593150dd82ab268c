// Releases: the differences between servers that only their version tells. All others are found by asking or trying.

package langbot

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// The table. A server newer than all of it is taken for the newest, and so is one whose version cannot be read, unless a
// line says otherwise.
var (
	oldestRelease = release{4, 6, 0}

	// gitHubByNumber: an installation from GitHub needs GitHub's numbers of release and file.
	gitHubByNumber = span{since: release{4, 10, 7}}

	// missingIsFailure: a plugin that is not installed is a 500 where others answer 404. See truth 4.10.8, 04-config-missing.
	missingIsFailure = span{since: release{4, 10, 7}, until: release{4, 10, 8}}

	// configUntold: every config is told as empty. 4.9.4 and 4.10.0 tell them: recordings, config.
	configUntold = span{since: release{4, 9, 7}, until: release{4, 9, 7}}

	// wedgedByReads: reading plugins during a removal can hang the server for good.
	wedgedByReads = span{since: release{4, 10, 7}, until: release{4, 10, 11}}

	// poisoned: one package that the runtime refuses makes every plugin route fail from then on, and for good.
	poisoned = span{since: release{4, 10, 7}, until: release{4, 10, 11}}
)

// A release is a server's version.
type release [3]int

// A span is a range of releases, both ends included. Without an end it goes on.
type span struct{ since, until release }

func (s span) holds(r release) bool {
	return !r.before(s.since) && (s.until == release{} || !s.until.before(r))
}

// parseRelease reads "4.10.7", also of a pre-release ("4.10.0-beta.2"). Anything else is not ok.
func parseRelease(version string) (r release, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
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

func (r release) before(other release) bool {
	for i := range r {
		if r[i] != other[i] {
			return r[i] < other[i]
		}
	}
	return false
}

func (r release) String() string {
	if r == (release{}) {
		return "of this version"
	}
	return fmt.Sprintf("%d.%d.%d", r[0], r[1], r[2])
}

// release asks the server for its version. One that cannot be read is not ok.
func (c *Client) release(ctx context.Context) (r release, ok bool, err error) {
	return c.System.release(ctx, systemInfo.at())
}

// releaseNow is release in one request, for what is good to know but not worth waiting for.
func (c *Client) releaseNow(ctx context.Context) (r release, ok bool, err error) {
	return c.System.release(ctx, systemInfo.at().polling())
}

func (s *SystemService) release(ctx context.Context, via route) (r release, ok bool, err error) {
	info, err := s.info(ctx, via)
	if err != nil {
		return release{}, false, err
	}
	r, ok = parseRelease(info.Version)
	return r, ok, nil
}
