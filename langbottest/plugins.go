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
	data         []byte
	source       string
	info         map[string]any
	config       any // JSON; nil: none
	installed    time.Time

	ready   time.Time // when its worker is, if it is starting
	dead    bool      // its worker cannot start
	refused bool      // its package is none that the runtime takes
	settled bool      // and was looked at since
	busy    *task     // what works on it now
	logs    []logLine
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
	s.state.put(added, "local", s.state.installInfo(map[string]any{}, added, "local"), s.state.clock())
}

// Plugins returns what is installed now, in the order of the first installations.
func (s *Server) Plugins() []Plugin {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(s.state.clock())
	plugins := make([]Plugin, len(s.state.rows))
	for i, r := range s.state.rows {
		plugins[i] = Plugin{ID: r.id(), Version: r.pkg.Version(), Running: !r.dead}
	}
	return plugins
}

func (st *state) row(id string) *row {
	for _, r := range st.rows {
		if r.id() == id {
			return r
		}
	}
	return nil
}

// put installs or replaces a plugin, which runs.
func (st *state) put(a archive, source string, info map[string]any, now time.Time) *row {
	id := a.pkg.Author() + "/" + a.pkg.Name()
	r := st.row(id)
	if r == nil {
		r = &row{author: a.pkg.Author(), name: a.pkg.Name(), installed: now, config: st.settings[id]}
		delete(st.settings, id)
		st.rows = append(st.rows, r)
	}
	r.pkg, r.data, r.source, r.info = a.pkg, a.data, source, info
	r.dead, r.refused, r.settled, r.ready = false, false, false, now
	r.start(now)
	return r
}

// drop removes a plugin. Its config stays where the release keeps it.
func (st *state) drop(r *row, withData bool) {
	if st.profile.has(configKept) && !withData {
		st.settings[r.id()] = r.config
	} else {
		delete(st.settings, r.id())
	}
	st.rows = slices.DeleteFunc(st.rows, func(other *row) bool { return other == r })
}

// status is what the list tells of a plugin, or nothing while it is not in it: its worker stops when another archive or
// config is started, and is mounted before it is initialized.
func (st *state) status(r *row, now time.Time) string {
	if r.dead || !st.loaded(now) {
		return ""
	}
	if r.busy != nil {
		switch r.busy.step().phase {
		case starts:
			return ""
		case mounts:
			return st.mounted()
		}
	}
	switch left := r.ready.Sub(now); {
	case left > restarting/4:
		return ""
	case left > 0:
		return st.mounted()
	}
	return "initialized"
}

func (st *state) mounted() string {
	if st.profile.has(mountedShown) {
		return "mounted"
	}
	return ""
}

// view is a plugin as the API tells it.
func (st *state) view(r *row, now time.Time) map[string]any {
	components := []any{}
	for _, c := range r.pkg.Components() {
		components = append(components, st.componentView(r, c))
	}
	manifest := st.redacted(r.pkg.Manifest())
	if spec, ok := manifest["spec"].(map[string]any); ok && spec["pages"] == nil && st.profile.has(pagesListed) {
		spec["pages"] = []any{}
	}
	config := any(map[string]any{})
	if !st.profile.has(staleConfig) && r.config != nil {
		config = r.config
	}
	return map[string]any{
		"components": components, "debug": false, "enabled": true, "install_info": r.info, "install_source": r.source,
		"manifest":      map[string]any{"manifest": manifest, "owner": "builtin", "rel_path": "manifest.yaml"},
		"plugin_config": config, "plugin_instance": nil, "priority": 0, "status": st.status(r, now),
	}
}

func (st *state) componentView(r *row, c lbpkg.Component) map[string]any {
	owner := "builtin"
	if st.profile.has(componentOwner) {
		owner = r.id()
	}
	view := map[string]any{"component_config": map[string]any{}, "component_instance": nil,
		"manifest": map[string]any{"manifest": st.redacted(c.Manifest), "owner": owner, "rel_path": c.Path}}
	if st.profile.has(polymorphic) {
		view["polymorphic_component_instances"] = map[string]any{}
	}
	return view
}

// redacted decodes a manifest and masks what has the name of a secret.
func (st *state) redacted(manifest json.RawMessage) map[string]any {
	value, _ := decodeJSON(manifest) // lbpkg wrote it
	if st.profile.has(redaction) {
		value = redact(value)
	}
	fields, _ := value.(map[string]any)
	return fields
}

func (s *Server) listPlugins(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	if !s.state.connected(c.now) || s.state.raced() {
		return s.failure(c, closedDuringSend)
	}
	return ok(map[string]any{"plugins": s.state.views(c.now)})
}

// closedDuringSend is what older releases say of a plugin runtime that is away.
const closedDuringSend = "Connection closed during send"

// works counts the operations that work on a plugin.
func (st *state) works(id string) (n int) {
	for _, t := range st.tasks {
		if t.plugin == id && !t.applied {
			n++
		}
	}
	return n
}

// raced reports whether two installations of one plugin run, which some releases cannot list.
func (st *state) raced() bool {
	return st.profile.has(racesFail) && slices.ContainsFunc(st.tasks, func(t *task) bool { return t.plugin != "" && st.works(t.plugin) > 1 && t.op != opDelete })
}

// views are the plugins that run, the newest first.
func (st *state) views(now time.Time) []any {
	views := []any{}
	for _, r := range slices.Backward(st.rows) {
		r.settled = true
		if st.status(r, now) != "" {
			views = append(views, st.view(r, now))
		}
	}
	return views
}

func (s *Server) listExtensions(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	extensions := []any{}
	if !s.state.connected(c.now) {
		return ok(map[string]any{"extensions": extensions})
	}
	running := slices.Clone(s.state.rows)
	slices.SortStableFunc(running, func(a, b *row) int { return strings.Compare(strings.ToLower(a.name), strings.ToLower(b.name)) })
	for _, r := range running {
		if s.state.status(r, c.now) != "" {
			extensions = append(extensions, map[string]any{"type": "plugin", "plugin": s.state.view(r, c.now)})
		}
	}
	return ok(map[string]any{"extensions": extensions})
}

// running finds the plugin that the path names, and answers if it does not run. The state must be locked.
func (s *Server) running(c *call) (*row, *answer) {
	s.state.advance(c.now)
	r := s.state.row(c.id())
	a := refusal(404, -1, "plugin not found")
	switch {
	case !s.state.connected(c.now):
		a = s.failure(c, closedDuringSend)
	case r == nil && s.profile.has(missingIsFailure) && s.state.works(c.id()) == 0:
		a = s.failure(c, "")
	case r != nil && s.state.status(r, c.now) != "":
		return r, nil
	}
	return nil, &a
}

func (s *Server) getPlugin(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	r, missing := s.running(c)
	if missing != nil {
		return *missing
	}
	return ok(map[string]any{"plugin": s.state.view(r, c.now)})
}

func (s *Server) deletePlugin(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	withData := strings.EqualFold(c.URL.Query().Get("delete_data"), "true")
	name := c.value("name")
	t := &task{op: opDelete, name: "plugin-remove-" + name, label: "Removing plugin " + name, plugin: c.id(),
		script: s.state.script(opDelete, s.profile.removal()), row: s.state.row(c.id())}
	if t.exception = s.state.notRemovable(t, c.now); t.exception != "" {
		t.script.Steps = []Step{{Action: "default", For: quick}}
	}
	if s.profile.has(taskResults) {
		t.result = map[string]any{}
	}
	t.apply = func(end End, now time.Time) string {
		r := s.state.row(t.plugin)
		switch {
		case end.kind != succeed && end.kind != vanish:
			return ""
		case r == nil:
			return s.state.notFound(t.plugin)
		case withData && !s.profile.has(removalByHost):
			t.log = now.UTC().Format("2006-01-02 15:04:05") + " | plugin removed | Cleaning up plugin configuration and storage...\n"
		}
		s.state.drop(r, withData)
		return ""
	}
	return s.state.begin(c, t)
}

// notRemovable is why the removal of a plugin fails.
func (st *state) notRemovable(t *task, now time.Time) string {
	r, id := t.row, t.plugin
	switch {
	case r != nil && r.busy != nil && r.busy.op == opDelete && st.profile.has(staleRemovals):
		return "ValueError: Plugin installation desired state is stale"
	case r != nil && r.busy != nil && r.busy.op == opDelete:
		return st.notFound(id)
	case !st.connected(now):
		return closedDuringSend
	case r != nil && r.refused && !r.settled:
		return "ValueError: Plugin installation removal binding is stale"
	case r == nil, !st.profile.has(removalOfDead) && st.status(r, now) == "":
		return st.notFound(id)
	}
	return ""
}

// notFound is what a task says of a plugin that is not installed.
func (st *state) notFound(id string) string {
	if st.profile.has(removalByHost) {
		return "Plugin " + id + " is not installed in this Workspace"
	}
	return st.profile.inRuntime("ValueError: Plugin " + id + " not found")
}
