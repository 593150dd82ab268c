// Logs: what a plugin, and the process around it, has said.

package langbot

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/langbot-go/langbot/internal/envelope"
)

// The API of this file.
var getLogs = endpoint{pattern: "GET /api/v1/plugins/{author}/{name}/logs", effect: repeatable}

// A LogLine is one line of a plugin's log.
type LogLine struct {
	Time  time.Time // when the plugin runtime got it, to the microsecond
	Level string    // "DEBUG", "INFO", "WARNING", "ERROR" or "CRITICAL"; what a plugin prints to its standard error is a WARNING
	Text  string    // as a rule with time and place
}

// A LogFilter selects lines. Its zero value means all that the server has, which are the last 1000 of the plugin's process.
type LogFilter struct {
	Limit int    // the last so many of them; 0: all
	Level string // this level and those above it; empty: any
}

var logLevels = []string{"", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}

func (f LogFilter) check() error {
	if f.Limit < 0 || !slices.Contains(logLevels, f.Level) {
		return invalid("log filter: limit %d and level %q: want none below 0, and one of %q", f.Limit, f.Level, logLevels[1:])
	}
	return nil
}

// Logs returns the last lines of a plugin's log, oldest first. From 4.10.7 on, servers answer with none whatever the
// plugin says: that is not an error.
//
// Errors: [ErrNotFound] (the plugin is not running now), [ErrInvalid] (the filter, or an id that no server can be asked
// for), [ErrForbidden] (the credential lacks audit.view), [ErrUnauthorized], [ErrRuntimeAway], [ErrServer],
// [ErrUnreachable], [*ProtocolError] (also of a server before 4.10.2, which has no logs).
//
// API: GET /api/v1/plugins/{author}/{name}/logs, since LangBot 4.10.2.
func (s *PluginsService) Logs(ctx context.Context, id PluginID, filter LogFilter) ([]LogLine, error) {
	if err := errors.Join(id.check(), filter.check()); err != nil {
		return nil, err
	}
	lines, err := call[wireLogs](ctx, s.client, logsOf(id, filter), nil)
	if err != nil {
		return nil, s.explained(ctx, id, err)
	}
	if len(lines) == 0 {
		err = s.there(ctx, id)
	}
	return lines, err
}

func logsOf(id PluginID, filter LogFilter) route {
	query := url.Values{"limit": {strconv.Itoa(filter.Limit)}} // without one it is 200
	if filter.Level != "" {
		query.Set("level", filter.Level)
	}
	return getLogs.at(id.Author, id.Name).about(id, "").with(query)
}

// FollowLogs yields the lines that Logs returns, and then those that come, until the loop is left or ctx ends. On servers
// from 4.10.7 on, which tell no lines, it yields none and goes on. It asks
// every Polling.Interval while there is something new, and ever more seldom, up to Polling.MaxInterval, while there is
// not. A plugin that is restarted is followed into its new process. More than 1000 lines between two questions are lost.
// The last element has the error that ended it, and no line.
//
// Errors: those of [PluginsService.Logs] at the beginning; later on failures are tolerated for Polling.Tolerance, and the
// plugin's absence for Polling.Settle. After the end of ctx its error, in a [*WaitError].
//
// API: GET /api/v1/plugins/{author}/{name}/logs, since LangBot 4.10.2.
func (s *PluginsService) FollowLogs(ctx context.Context, id PluginID, filter LogFilter) iter.Seq2[LogLine, error] {
	return func(yield func(LogLine, error) bool) {
		if err := filter.check(); err != nil {
			yield(LogLine{}, err)
			return
		}
		all := LogFilter{Level: filter.Level} // so that what is new can be told
		lines, err := s.Logs(ctx, id, all)
		if err != nil {
			yield(LogLine{}, err)
			return
		}
		f := follower{service: s, id: id, filter: all, seen: lines}
		if filter.Limit > 0 {
			lines = lines[max(0, len(lines)-filter.Limit):]
		}
		for {
			for _, line := range lines {
				if !yield(line, nil) {
					return
				}
			}
			if lines, err = f.next(ctx); err != nil {
				yield(LogLine{}, err)
				return
			}
		}
	}
}

// A follower reads a log again and again.
type follower struct {
	service *PluginsService
	id      PluginID
	filter  LogFilter
	seen    []LogLine // as they were read last
}

// next waits for lines that have not been seen.
func (f *follower) next(ctx context.Context) ([]LogLine, error) {
	polling := f.service.client.settings.polling
	w := newWatch(polling)
	var absent time.Time // since when; zero while the plugin is there
	var last WaitError   // what went wrong last
	for {
		if err := w.pause(ctx); err != nil {
			return nil, last.endedBy(err, Task{})
		}
		w.ask()
		lines, err := call[wireLogs](ctx, f.service.client, logsOf(f.id, f.filter).polling(), nil)
		if refused, failed := isFailure(err); failed {
			err = refused
			if _, absent := f.service.inList(ctx, listPlugins.at().polling(), f.id, refused); absent != nil {
				err = absent
			}
		}
		absent = since(absent, errors.Is(err, ErrNotFound))
		if ctx.Err() == nil { // its end tells nothing new
			last.Err = err
		}
		switch {
		case err == nil:
			w.good()
			if news := newLines(f.seen, lines); len(news) > 0 {
				f.seen = lines
				return news, nil
			}
		case !absent.IsZero() && time.Since(absent) < polling.Settle: // it is being restarted
		case ctx.Err() == nil && (!absent.IsZero() || !w.tolerates(ctx, err)):
			return nil, ended(ctx, f.service.client.diagnosed(ctx, err), Task{}, Plugin{})
		}
	}
}

// newLines are the lines behind those that have been seen: a server drops the oldest when there are too many, and all of
// them when the plugin's process ends.
func newLines(seen, lines []LogLine) []LogLine {
	for i := range seen {
		if rest := seen[i:]; len(rest) <= len(lines) && slices.Equal(rest, lines[:len(rest)]) {
			return lines[len(rest):]
		}
	}
	return lines
}

// wireLogs are the data of a log, nil if it holds none.
type wireLogs []LogLine

// ReadJSON implements envelope.Reader.
func (w *wireLogs) ReadJSON(data []byte) {
	list := envelope.Field(data, "logs")
	if !bytes.HasPrefix(list, []byte("[")) {
		return
	}
	lines := wireLogs{}
	for item := range envelope.Items(list) {
		if item[0] != '{' || len(lines) == maxItems {
			return
		}
		lines = append(lines, LogLine{
			Time:  time.UnixMicro(int64(number(envelope.Field(item, "ts")) * 1e6)),
			Level: envelope.Text(envelope.Field(item, "level")),
			Text:  envelope.Text(envelope.Field(item, "text")),
		})
	}
	*w = lines
}

func (w *wireLogs) missing() string {
	if *w == nil {
		return "logs"
	}
	return ""
}

// mask hides the credential in what a plugin has said.
func (w *wireLogs) mask(hide func(string) string) {
	for i := range *w {
		(*w)[i].Text = hide((*w)[i].Text)
	}
}
