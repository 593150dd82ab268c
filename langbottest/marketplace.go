package langbottest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// AddMarketplace offers a plugin on the marketplace, by its archive. The one added last is the newest. Without any, the
// server cannot reach the marketplace. It panics if that is no good package.
func (s *Server) AddMarketplace(pkg []byte) {
	added := mustParse("AddMarketplace", pkg)
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.marketplace = append(s.state.marketplace, added)
}

// AddMarketplaceMCP offers an MCP server on the marketplace. Releases from 4.10.0 on install it instead of the plugin of
// that name if they are asked for no version; up to 4.10.6, for any.
func (s *Server) AddMarketplaceMCP(author, name string) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.marketplaceIs[author+"/"+name] = "mcp"
}

// SlowMarketplace makes the marketplace take a while for everything of an author.
func (s *Server) SlowMarketplace(author string, d time.Duration) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.slow[author] = d
}

func (s *Server) installMarketplace(c *call) answer {
	value, refused := s.installBody(c)
	if refused != nil {
		return *refused
	}
	fields, isObject := value.(map[string]any)
	if !isObject && s.profile.has(marketplaceBodies) {
		return s.failure(c, "'"+pythonType(value)+"' object has no attribute 'get'")
	}
	w := wish{fields: fields, author: text(fields["plugin_author"]), name: text(fields["plugin_name"]), version: fields["plugin_version"]}
	in := &installation{op: opMarketplace, source: "marketplace", subject: w.id(), info: fields}
	in.label = s.label("marketplace", w.id())
	if !s.profile.has(taskLabels) {
		in.label = s.label("marketplace", pythonRepr(value))
	}
	s.state.find(in, w)
	if !isObject {
		in.exception, in.failsAt = s.profile.inRuntime(noSubscript(value)), downloads
	}
	return s.installSlowly(c, in, w.author)
}

// installSlowly starts an installation for which the marketplace may take its time.
func (s *Server) installSlowly(c *call, in *installation, author string) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	t := &task{op: in.op, name: "plugin-install-" + in.source, label: in.label, script: s.state.script(in.op, s.profile.steps(in.op))}
	t.script.Steps = slices.Clone(t.script.Steps)
	asked := downloads
	if in.exception != "" {
		asked = in.failsAt
	}
	if i := slices.IndexFunc(t.script.Steps, func(step Step) bool { return step.phase >= asked }); i >= 0 {
		t.script.Steps[i].For += s.state.slow[author]
	}
	s.state.work(t, in, c.now)
	return s.state.begin(c, t)
}

// noSubscript is what Python says of a body that has no keys.
func noSubscript(value any) string {
	if pythonType(value) == "list" {
		return "TypeError: list indices must be integers or slices, not str"
	}
	return "TypeError: '" + pythonType(value) + "' object is not subscriptable"
}

// text is how Python writes a value into a URL.
func text(v any) string {
	if v == nil {
		return ""
	}
	if s, isText := v.(string); isText {
		return s
	}
	return pythonRepr(v)
}

// A wish is what is asked of the marketplace.
type wish struct {
	fields       map[string]any
	author, name string
	version      any
}

func (w wish) id() string { return w.author + "/" + w.name }

// find looks for a plugin on the marketplace as the release does, and says why the installation fails.
func (st *state) find(in *installation, w wish) {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case !st.profile.has(marketplaceByHost):
		st.findByRuntime(in, w)
	case st.profile.has(versionChecked) && w.version != nil && w.version != "":
		st.findVersion(in, w)
	default:
		st.findAnything(in, w)
	}
}

// findByRuntime: the runtime downloads the version, and all three must be there.
func (st *state) findByRuntime(in *installation, w wish) {
	in.failsAt = downloads
	for _, key := range []string{"plugin_author", "plugin_name", "plugin_version"} {
		if _, given := w.fields[key]; !given {
			in.exception = st.profile.inRuntime("KeyError: '" + key + "'")
			return
		}
	}
	st.download(in, w, text(w.version))
}

// download takes a version of a plugin, as the runtimes up to 4.10.6 do.
func (st *state) download(in *installation, w wish, version string) {
	found, known := st.offered(w.id(), version)
	switch {
	case st.offline():
		in.exception = st.profile.inRuntime("ConnectError: " + notResolved)
	case known:
		st.take(in, w, found)
	case strings.ContainsAny(version, "/ ") && st.profile.has(downloadTexts):
		in.exception = st.profile.inRuntime(`AssertionError: Failed to download plugin: {"code":-1,"data":null,"msg":"not found"}` + "\n")
	case strings.ContainsAny(version, "/ "):
		in.exception = st.profile.inRuntime("AssertionError: Failed to download plugin: HTTP 404")
	case st.profile.has(downloadTexts):
		in.exception = st.profile.inRuntime(`AssertionError: Failed to download plugin: {"code":-1,"data":null,"msg":"plugin version not found: ` + version + `"}` + "\n")
	default:
		in.exception = st.profile.inRuntime("AssertionError: Failed to download plugin: HTTP 500")
	}
}

var versionText = regexp.MustCompile(`^[A-Za-z0-9._+-]+$`)

// findVersion: the version is downloaded, whatever else has the name.
func (st *state) findVersion(in *installation, w wish) {
	version, isText := w.version.(string)
	found, known := st.offered(w.id(), version)
	in.failsAt = downloads
	switch {
	case !isText || !versionText.MatchString(version):
		in.exception = "Invalid plugin version"
	case st.offline():
		in.exception = notConnected
	case !known:
		in.exception = "The requested plugin version is not available"
	default:
		st.take(in, w, found)
	}
}

// offline reports whether the marketplace has nothing at all: then it cannot be reached.
func (st *state) offline() bool { return len(st.marketplace)+len(st.marketplaceIs) == 0 }

const (
	notConnected = "All connection attempts failed"

	spaceURL = "https://space.test/api/v1/marketplace/"
	mdn      = "\nFor more information check: https://developer.mozilla.org/en-US/docs/Web/HTTP/Status/"
)

// findAnything: an MCP server of the name comes first, then a skill, then the plugin.
func (st *state) findAnything(in *installation, w wish) {
	in.failsAt = begins
	if st.profile.has(taskProgress) {
		in.failsAt = downloads
	}
	newest, known := st.offered(w.id(), "")
	switch {
	case st.offline():
		in.exception = notConnected
	case w.author == "" && w.name == "":
		in.exception = "Redirect response '307 Temporary Redirect' for url '" + spaceURL + "mcps//'\nRedirect location: '/api/v1/marketplace/mcps/'" + mdn + "307"
	case st.marketplaceIs[w.id()] != "":
		in.instead = st.marketplaceIs[w.id()]
	case !known && st.profile.has(marketplaceNewest):
		in.exception = "Client error '404 Not Found' for url '" + spaceURL + "plugins/" + w.id() + "/versions'" + mdn + "404"
	case !known:
		in.exception, in.failsAt = "Plugin "+w.id()+" not found in marketplace", looksUp
	case st.profile.has(marketplaceNewest) && (st.profile.has(versionIgnored) || w.version == nil || w.version == ""):
		st.take(in, w, newest)
	default:
		st.findOlder(in, w)
	}
}

// findOlder: the newest was looked up, and the version is downloaded all the same.
func (st *state) findOlder(in *installation, w wish) {
	in.failsAt = downloads
	if w.version == nil {
		in.exception = st.profile.inRuntime("KeyError: 'plugin_version'")
		return
	}
	st.download(in, w, text(w.version))
}

// offered finds a version of a plugin on the marketplace; an empty one is the newest.
func (st *state) offered(id, version string) (found archive, known bool) {
	for _, a := range st.marketplace {
		if a.id() == id && (version == "" || a.pkg.Version() == version) {
			found, known = a, true
		}
	}
	return found, known
}

// take has an archive of the marketplace installed.
func (st *state) take(in *installation, w wish, a archive) {
	in.data = a.data
	if newest, _ := st.offered(w.id(), ""); in.op == opMarketplace {
		in.sent = newest.data
	}
	in.info = maps.Clone(w.fields)
	in.info["plugin_version"] = a.pkg.Version()
	if st.profile.has(taskMetadata) && !st.profile.has(taskSilence) {
		in.download = downloaded(a.data, 0)
	}
}

// downloaded is what a task tells of a download: total is the size, if the source has told it.
func downloaded(data []byte, total int) map[string]any {
	return map[string]any{"download_total": total, "download_current": len(data), "download_speed": float(1000 * len(data))}
}

func (s *Server) upgradePlugin(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	name := c.value("name")
	t := &task{op: opUpgrade, name: "plugin-upgrade-" + name, label: "Upgrading plugin " + name, plugin: c.id(),
		script: s.state.script(opUpgrade, s.profile.steps(opUpgrade))}
	if s.profile.has(taskResults) {
		t.result = map[string]any{}
	}
	in := &installation{op: opUpgrade, source: "marketplace", subject: c.id(), info: map[string]any{}, extra: s.profile.upgradeMeta(c.id())}
	r := s.state.row(c.id())
	if in.exception = s.state.notUpgradable(r, c); in.exception != "" {
		if !s.profile.has(taskProgress) {
			t.script.Steps = []Step{{Action: "default", For: quick}}
		}
	} else {
		s.state.upgrade(in, wish{fields: map[string]any{"plugin_author": r.author, "plugin_name": r.name}, author: r.author, name: r.name})
	}
	s.state.work(t, in, c.now)
	if newest, _ := s.state.offered(c.id(), ""); in.exception == "" && !s.profile.has(upgradeWaits) && newest.pkg.Version() == r.pkg.Version() {
		t.exception, t.apply, t.row = "", nil, nil // it is up to date
		t.script.Steps = t.script.Steps[:min(1, len(t.script.Steps))]
	}
	return s.state.begin(c, t)
}

// upgradeMeta are the metadata that an upgrade begins with.
func (p profile) upgradeMeta(id string) map[string]any {
	if !p.has(taskProgress) {
		return nil
	}
	return map[string]any{"install_source": "marketplace", "operation": "upgrade", "plugin_name": id}
}

// notUpgradable is why an upgrade fails before the marketplace is asked.
func (st *state) notUpgradable(r *row, c *call) string {
	switch {
	case !st.connected(c.now):
		return closedDuringSend
	case r == nil, !st.profile.has(removalOfDead) && st.status(r, c.now) == "":
		return st.notFound(c.id())
	case r.source != "marketplace" && st.profile.has(removalByHost):
		return fmt.Sprintf("Plugin %s is not installed from marketplace", c.id())
	case r.source != "marketplace":
		return st.profile.inRuntime("ValueError: Plugin " + c.id() + " is not installed from marketplace")
	}
	return ""
}

// upgrade takes the newest version.
func (st *state) upgrade(in *installation, w wish) {
	newest, known := st.offered(w.id(), "")
	if st.offline() {
		in.exception, in.failsAt = notConnected, downloads
		return
	}
	if !known {
		in.exception, in.failsAt = "Client error '404 Not Found' for url '"+spaceURL+"plugins/"+w.id()+"/versions'"+mdn+"404", downloads
		return
	}
	st.take(in, w, newest)
}
