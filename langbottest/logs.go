package langbottest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A logLine is what a plugin, or its worker, has said.
type logLine struct {
	at    time.Time
	level string
	text  string
}

const infoLevel = "INFO"

var logLevels = []string{"DEBUG", infoLevel, "WARNING", "ERROR", "CRITICAL"}

// maxLines is how many lines of a plugin are kept.
const maxLines = 1000

// say adds a line in the words of the plugin's worker.
func (r *row) say(now time.Time, level, where, text string) {
	r.log(logLine{now, level, fmt.Sprintf("[%s] %s - [%s] : %s", now.UTC().Format("01-02 15:04:05.000"), where, level, text)})
}

func (r *row) log(line logLine) {
	r.logs = append(r.logs, line)
	if len(r.logs) > maxLines {
		r.logs = r.logs[1:]
	}
}

// start is what a worker says when it starts: recording 4.10.6, read.
func (r *row) start(now time.Time) {
	r.logs = nil
	for _, line := range [][2]string{{"controller.py (98)", "Mounting plugin " + r.id() + "..."}, {"controller.py (216)", "Plugin " + r.id() + " mounted"},
		{"controller.py (247)", "Initializing plugin " + r.id() + "..."}, {"controller.py (287)", "Plugin " + r.id() + " initialized"},
		{"handler.py (149)", "[Action] initialize_plugin"}, {"handler.py (149)", "[Action] get_plugin_container"}} {
		r.say(now, infoLevel, line[0], line[1])
	}
}

// Log adds a line to the logs of a plugin that is installed, by its "author/name". The levels are DEBUG, INFO, WARNING, ERROR
// and CRITICAL. Releases from 4.10.7 on show no logs at all. It panics if there is no such plugin or level.
func (s *Server) Log(plugin, level, text string) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	r := s.state.row(plugin)
	if r == nil || !slices.Contains(logLevels, level) {
		panic(fmt.Sprintf("langbottest: Log: no plugin %q, or no level %q", plugin, level))
	}
	r.log(logLine{s.state.clock(), level, text})
}

func (s *Server) getLogs(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	r := s.fileOf(c)
	if r == nil && s.profile.has(filesOfMissing) {
		return s.failure(c, "")
	}
	lines := []any{}
	if r != nil && s.profile.has(logLines) {
		lines = r.lines(c.URL.Query().Get("limit"), c.URL.Query().Get("level"))
	}
	return ok(map[string]any{"logs": lines})
}

// lines are the last ones of a level or above. A limit that is none is 200; zero is no limit.
func (r *row) lines(limit, level string) []any {
	lowest := slices.Index(logLevels, strings.ToUpper(level))
	lines := []any{}
	for _, line := range r.logs {
		if slices.Index(logLevels, line.level) >= lowest {
			lines = append(lines, map[string]any{"ts": seconds(line.at), "level": line.level, "text": line.text})
		}
	}
	most, err := strconv.Atoi(limit)
	if err != nil {
		most = 200
	}
	if most > 0 && len(lines) > most {
		lines = lines[len(lines)-most:]
	}
	return lines
}
