package langbottest

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
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
	say := func(where, text string) { r.say(now, infoLevel, where, text) }
	say("controller.py (98)", "Mounting plugin "+r.id()+"...")
	say("controller.py (216)", "Plugin "+r.id()+" mounted")
	say("controller.py (247)", "Initializing plugin "+r.id()+"...")
	r.greet(now)
	say("controller.py (287)", "Plugin "+r.id()+" initialized")
	say("handler.py (149)", "[Action] initialize_plugin")
	say("handler.py (149)", "[Action] get_plugin_container")
}

var (
	initializes = regexp.MustCompile(`^\s+async def initialize\(self\)`)
	logs        = regexp.MustCompile(`^\s+logging(?:\.getLogger\([^()]*\))?\.(info|warning|error|critical)\((?:"([^"\\]*)"|'([^'\\]*)')\)$`)
	prints      = regexp.MustCompile(`^\s+print\((?:"([^"\\]*)"|'([^'\\]*)'), file=sys\.stderr(?:, flush=True)?\)$`)
)

// greet is what the plugin itself says when it is initialized. Plugins do not run here, so this is what can be read in its
// code: the constant texts that the first statements of its initialize log or print. Lab, 4.10.6: of what it prints only
// the standard error shows, as warnings.
func (r *row) greet(now time.Time) {
	var manifest struct {
		Execution struct{ Python struct{ Path string } }
	}
	if json.Unmarshal(r.pkg.Manifest(), &manifest) != nil {
		return
	}
	main := manifest.Execution.Python.Path
	code, _ := r.file(main)
	inside := false
	for i, statement := range strings.Split(string(code), "\n") {
		statement = strings.TrimRight(statement, "\r ")
		if !inside {
			inside = initializes.MatchString(statement)
			continue
		}
		if m := logs.FindStringSubmatch(statement); m != nil {
			r.say(now, strings.ToUpper(m[1]), fmt.Sprintf("%s (%d)", path.Base(main), i+1), m[2]+m[3])
		} else if m := prints.FindStringSubmatch(statement); m != nil {
			r.log(logLine{now, "WARNING", m[1] + m[2]})
		} else {
			return
		}
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
