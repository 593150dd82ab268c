package langbottest

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/langbot-go/langbot/lbpkg"
)

// A row is a plugin that is installed, whether it runs or not.
type row struct {
	author, name string
	pkg          *lbpkg.Package
	source       string
	info         map[string]any
	installed    time.Time
	running      bool
	busy         *task // what works on it now
}

func (r *row) id() string { return r.author + "/" + r.name }

// A Plugin is what [Server.Plugins] tells of an installed plugin.
type Plugin struct {
	ID      string // "author/name"
	Version string
	Running bool // false: installed, but it failed to start
}

// AddPlugin installs a plugin at once, by its archive. It panics if that is no good package.
func (s *Server) AddPlugin(pkg []byte) {
	added := mustParse("AddPlugin", pkg)
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.put(added.pkg, "local", certified(localInfo(), added.data), time.Now(), true)
}

// Plugins returns what is installed now, in the order of the first installations.
func (s *Server) Plugins() []Plugin {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(time.Now())
	plugins := make([]Plugin, len(s.state.rows))
	for i, r := range s.state.rows {
		plugins[i] = Plugin{ID: r.id(), Version: r.pkg.Version(), Running: r.running}
	}
	return plugins
}

func (st *state) row(author, name string) *row {
	for _, r := range st.rows {
		if r.author == author && r.name == name {
			return r
		}
	}
	return nil
}

// put installs or replaces a plugin.
func (st *state) put(pkg *lbpkg.Package, source string, info map[string]any, now time.Time, running bool) {
	r := st.row(pkg.Author(), pkg.Name())
	if r == nil {
		r = &row{author: pkg.Author(), name: pkg.Name(), installed: now}
		st.rows = append(st.rows, r)
	}
	r.pkg, r.source, r.info, r.running = pkg, source, info, running
}

func (st *state) drop(author, name string) {
	st.rows = slices.DeleteFunc(st.rows, func(r *row) bool { return r.author == author && r.name == name })
}

// status is what the list tells of a plugin, or nothing while it is not in it: its worker stops when the new archive is
// started, and is mounted before it is initialized.
func (r *row) status(now time.Time) string {
	if !r.running {
		return ""
	}
	if r.busy != nil && strings.HasPrefix(r.busy.name, "plugin-install-") {
		switch r.busy.step(now).Action {
		case startingAction:
			return ""
		case mountedAction:
			return "mounted"
		}
	}
	return "initialized"
}

// view is a plugin as the API tells it. Fields that never change are stale upstream, too: truth 4.11.2, 05-list.
func (r *row) view(now time.Time) map[string]any {
	components := []any{}
	for _, c := range r.pkg.Components() {
		components = append(components, map[string]any{"component_config": map[string]any{}, "component_instance": nil,
			"manifest": map[string]any{"manifest": redacted(c.Manifest), "owner": r.id(), "rel_path": c.Path}})
	}
	manifest := redacted(r.pkg.Manifest())
	if spec, ok := manifest["spec"].(map[string]any); ok && spec["pages"] == nil {
		spec["pages"] = []any{}
	}
	return map[string]any{
		"components": components, "debug": false, "enabled": true, "install_info": r.info, "install_source": r.source,
		"manifest":      map[string]any{"manifest": manifest, "owner": "builtin", "rel_path": "manifest.yaml"},
		"plugin_config": map[string]any{}, "plugin_instance": nil, "priority": 0, "status": r.status(now),
	}
}

// redacted decodes a manifest and masks what has the name of a secret.
func redacted(manifest json.RawMessage) map[string]any {
	decoder := json.NewDecoder(strings.NewReader(string(manifest)))
	decoder.UseNumber()
	var out map[string]any
	_ = decoder.Decode(&out) // lbpkg wrote it
	for key, value := range out {
		out[key] = redact(key, value, false)
	}
	return out
}

func redact(key string, value any, secret bool) any {
	secret = secret || isSecret(key)
	switch v := value.(type) {
	case map[string]any:
		for k := range v {
			v[k] = redact(k, v[k], secret)
		}
	case []any:
		for i := range v {
			v[i] = redact("", v[i], secret)
		}
	case nil:
	default:
		if secret && v != "" {
			return "***"
		}
	}
	return value
}

var secretNames = []string{"api_key", "apikey", "auth", "authorization", "cookie", "credentials", "database_url", "dsn", "key",
	"proxy_authorization", "set_cookie"}

// isSecret knows the names that LangBot masks since 4.10.7.
func isSecret(key string) bool {
	var snake strings.Builder
	for i, r := range key {
		if r >= 'A' && r <= 'Z' && i > 0 {
			snake.WriteByte('_')
		}
		snake.WriteRune(r)
	}
	name := strings.ToLower(strings.ReplaceAll(snake.String(), "-", "_"))
	if slices.Contains(secretNames, name) {
		return true
	}
	hasKey := false
	for token := range strings.SplitSeq(name, "_") {
		if slices.Contains([]string{"credential", "credentials", "passwd", "password", "secret", "token"}, token) {
			return true
		}
		hasKey = hasKey || token == "key"
	}
	return hasKey && slices.ContainsFunc(strings.Split(name, "_"), func(token string) bool {
		return slices.Contains([]string{"access", "api", "auth", "bearer", "client", "debug", "encryption", "private", "signing"}, token)
	})
}

func (s *Server) listPlugins(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	views := []any{}
	for _, r := range slices.Backward(s.state.rows) { // newest first
		if r.status(c.now) != "" {
			views = append(views, r.view(c.now))
		}
	}
	return ok(map[string]any{"plugins": views})
}

func (s *Server) getPlugin(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	r := s.state.row(c.value("author"), c.value("name"))
	if r == nil || r.status(c.now) == "" {
		return refusal(404, -1, "plugin not found")
	}
	return ok(map[string]any{"plugin": r.view(c.now)})
}

func (s *Server) deletePlugin(c *call) answer {
	author, name := c.value("author"), c.value("name")
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	t := &task{name: "plugin-remove-" + name, label: "Removing plugin " + name, plugin: author + "/" + name, meta: map[string]any{},
		script: s.state.script("DELETE /api/v1/plugins/{author}/{name}", deleteSteps()), final: "plugin removed", result: map[string]any{}}
	if t.row = s.state.row(author, name); t.row == nil {
		t.refused = "Plugin " + t.plugin + " is not installed in this Workspace"
		t.script = Script{Steps: []Step{{Action: "default"}}}
	}
	t.apply = func(end End) {
		if end.kind == succeed {
			s.state.drop(author, name)
		}
	}
	return s.state.begin(c, t)
}
