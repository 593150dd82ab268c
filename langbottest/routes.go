package langbottest

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A route is one entry of the API. Its pattern names the operation everywhere: in scripts, in faults, in the journal.
type route struct {
	pattern    string
	since      *difference // which brought it; nil: all releases have it
	auth       auth
	permission string
	handle     func(*Server, *call) answer
}

const pluginsPath = "/api/v1/plugins"

// routes is the map of the server.
var routes = []route{
	{"GET /api/v1/plugins", nil, userOrKey, resourceView, (*Server).listPlugins},
	{"GET /api/v1/plugins/{author}/{name}", nil, userOrKey, resourceView, (*Server).getPlugin},
	{"DELETE /api/v1/plugins/{author}/{name}", nil, userOrKey, resourceManage, (*Server).deletePlugin},
	{"POST /api/v1/plugins/{author}/{name}/upgrade", nil, userOrKey, resourceManage, (*Server).upgradePlugin},
	{"GET /api/v1/plugins/{author}/{name}/config", nil, userOrKey, resourceView, (*Server).getConfig},
	{"PUT /api/v1/plugins/{author}/{name}/config", nil, userOrKey, resourceManage, (*Server).putConfig},
	{"GET /api/v1/plugins/{author}/{name}/readme", nil, userOrKey, resourceView, (*Server).getReadme},
	{"GET /api/v1/plugins/{author}/{name}/icon", nil, nobody, "", (*Server).getIcon},
	{"GET /api/v1/plugins/{author}/{name}/authenticated-icon", routeAuthenticated, userOrKey, resourceView, (*Server).getAuthenticatedIcon},
	{"GET /api/v1/plugins/{author}/{name}/assets/{path...}", nil, nobody, "", (*Server).getAsset},
	{"GET /api/v1/plugins/{author}/{name}/authenticated-assets/{path...}", routeAuthenticated, userOrKey, resourceView, (*Server).getAsset},
	{"GET /api/v1/plugins/{author}/{name}/logs", routeLogs, userOrKey, auditView, (*Server).getLogs},
	{"POST /api/v1/plugins/{author}/{name}/page-api", routePages, userOrKey, resourceManage, (*Server).pageAPI},
	{"GET /api/v1/plugins/_sdk/page-sdk.js", routePages, nobody, "", (*Server).pageScript},
	{"GET /api/v1/plugins/debug-info", nil, userOrKey, resourceManage, (*Server).debugInfo},
	{"POST /api/v1/plugins/config-files", nil, userOrLateKey, resourceManage, (*Server).addConfigFile},
	{"DELETE /api/v1/plugins/config-files/{path...}", nil, userOrLateKey, resourceManage, (*Server).deleteConfigFile},
	{"POST /api/v1/plugins/install/local", nil, userOrKey, resourceManage, (*Server).installLocal},
	{"POST /api/v1/plugins/install/local/preview", routePreview, userOrKey, resourceManage, (*Server).preview},
	{"POST /api/v1/plugins/install/github", nil, userOrKey, resourceManage, (*Server).installGitHub},
	{"POST /api/v1/plugins/install/marketplace", nil, userOrKey, resourceManage, (*Server).installMarketplace},
	{"POST /api/v1/plugins/github/releases", nil, userOrKey, resourceView, (*Server).gitHubReleases},
	{"POST /api/v1/plugins/github/release-assets", nil, userOrKey, resourceView, (*Server).gitHubReleaseAssets},
	{"GET /api/v1/extensions", routeExtensions, userOrKey, resourceView, (*Server).listExtensions},
	{"GET /api/v1/system/tasks", nil, tasksReader, resourceView, (*Server).listTasks},
	{"GET /api/v1/system/tasks/{id}", nil, tasksReader, resourceView, (*Server).getTask},
	{"GET /api/v1/system/info", nil, nobody, "", (*Server).systemInfo},
	{"GET /api/v1/system/context", routeContext, keyOnly, "", (*Server).systemContext},
	{"GET /api/v1/system/capabilities", routeContext, keyOnly, "", (*Server).capabilities},
	{"GET /api/v1/system/status/plugin-system", nil, userOnly, resourceView, (*Server).pluginSystem},
	{"GET /healthz", nil, nobody, "", (*Server).healthz},
	{"GET /api/v1/user/init", nil, nobody, "", (*Server).userInitialized},
	{"POST /api/v1/user/init", nil, nobody, "", (*Server).initUser},
	{"POST /api/v1/user/auth", nil, nobody, "", (*Server).userAuth},
	{"GET /api/v1/user/check-token", nil, accountOnly, "", (*Server).checkToken},
	{"GET /api/v1/user/info", routeAccount, accountOnly, "", (*Server).userInfo},
	{"GET /api/v1/user/account-info", routeAccount, nobody, "", (*Server).accountInfo},
	{"GET /api/v1/apikeys", nil, userOnly, manageKeys, (*Server).listKeys},
	{"POST /api/v1/apikeys", nil, userOnly, manageKeys, (*Server).createKey},
	{"GET /api/v1/apikeys/{id}", nil, userOnly, manageKeys, (*Server).getKey},
	{"DELETE /api/v1/apikeys/{id}", nil, userOnly, manageKeys, (*Server).deleteKey},
	{"POST /api/v1/platform/bots", nil, userOrKey, resourceManage, (*Server).addBot},
	{"PUT /api/v1/platform/bots/{id}", nil, userOrKey, resourceManage, (*Server).setBot},
	{"DELETE /api/v1/platform/bots/{id}", nil, userOrKey, resourceManage, (*Server).deleteBot},
}

// A call is a request on its way through the server.
type call struct {
	*http.Request
	route  *route
	values map[string]string // of the pattern's {…}
	who    identity
	now    time.Time
	body   body
}

// value returns a value of the path.
func (c *call) value(name string) string { return c.values[name] }

// id is the plugin that the path names.
func (c *call) id() string { return c.values["author"] + "/" + c.values["name"] }

func (s *Server) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		matched, values, methods := s.match(r.Method, r.URL.Path)
		s.calls.Add(1)
		defer s.calls.Done()
		c := &call{Request: r, route: matched, values: values, now: s.state.now()}
		c.body.from = r.Body
		if r.Header.Get("Expect") != "" {
			_, _ = r.Body.Read(nil) // LangBot says 100 to everybody, and at once
		}
		s.deliver(w, c, methods, s.faults.choose(c.op()))
	})
}

// deliver runs a request, and what a fault makes of it.
func (s *Server) deliver(w http.ResponseWriter, c *call, methods []string, fault Effect) {
	if fault.wait != nil && !fault.wait(c.Request) {
		s.journal.add(c, 0)
		cut(w) // returning would be an empty 200
		return
	}
	c.now = s.state.now() // after a delay
	var a answer
	switch {
	case fault.instead != nil:
		a = *fault.instead
	case !fault.skip:
		a = s.serve(c, methods)
	}
	if fault.deliver == nil {
		s.journal.add(c, a.status)
		a.write(w, c)
		return
	}
	s.journal.add(c, map[bool]int{true: a.status}[fault.told])
	a.mark(w, c)
	fault.deliver(w, c.Request, a)
}

// op is the operation of a call; empty if no route fits.
func (c *call) op() string {
	if c.route == nil {
		return ""
	}
	return c.route.pattern
}

// serve runs a request: route, credential, permission, plugin runtime, handler, in LangBot's order.
func (s *Server) serve(c *call, methods []string) answer {
	switch {
	case c.Method == http.MethodOptions:
		return preflight(c.Request, methods)
	case c.route == nil:
		return s.unknown(c.Request, methods)
	case c.Method == http.MethodHead && len(methods) > 1 && !s.profile.has(headOfPlugin):
		return page(500, page500)
	}
	who, refused := s.authenticate(c)
	if refused != nil {
		return *refused
	}
	c.who = who
	if s.fenced(c) {
		return s.failure(c, "")
	}
	return c.route.handle(s, c)
}

// fenced reports whether the plugin runtime is away from a route that newer releases do not serve without it.
func (s *Server) fenced(c *call) bool {
	path := c.route.pattern
	wanted := strings.Contains(path, " "+pluginsPath) || strings.HasSuffix(path, "/extensions") || strings.HasSuffix(path, "/plugin-system")
	if !wanted || !s.profile.has(fence) || strings.Contains(path, "/_sdk/") {
		return false
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	return !s.state.connected(c.now) || s.state.poisoned
}

// ofSomeRelease reports whether a request fits a route of any release: a client may ask, to find out.
func ofSomeRelease(method, path string) bool {
	return slices.ContainsFunc(routes, func(r route) bool {
		verb, pattern, _ := strings.Cut(r.pattern, " ")
		_, fits := matchPath(pattern, path, true)
		return fits && verb == method
	})
}

// match finds the route of a request, and the methods that its path takes otherwise.
func (s *Server) match(method, path string) (found *route, values map[string]string, methods []string) {
	if strings.HasPrefix(path, "//") {
		path = path[1:]
	}
	for i := range routes {
		if !s.profile.has(routes[i].since) {
			continue
		}
		m, pattern, _ := strings.Cut(routes[i].pattern, " ")
		v, fits := matchPath(pattern, path, s.profile.has(deepAssets) || !strings.Contains(pattern, "assets"))
		if !fits {
			continue
		}
		methods = append(methods, m)
		if m != method && (method != http.MethodHead || m != http.MethodGet) {
			continue
		}
		if found == nil || len(v) < len(values) { // a fixed path before one with values
			found, values = &routes[i], v
		}
	}
	return found, values, methods
}

func matchPath(pattern, path string, deep bool) (map[string]string, bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	values := map[string]string{}
	for i, segment := range want {
		if i >= len(got) {
			return nil, false
		}
		name, isValue := strings.CutPrefix(segment, "{")
		name = strings.TrimSuffix(name, "}")
		switch {
		case strings.HasSuffix(name, "..."):
			values[strings.TrimSuffix(name, "...")] = strings.Join(got[i:], "/")
			return values, got[i] != "" && (deep || i == len(got)-1)
		case isValue && got[i] != "":
			values[name] = got[i]
		case segment != got[i]:
			return nil, false
		}
	}
	return values, len(want) == len(got)
}

// maxBody is the most that LangBot reads of a request: 10 MiB, the multipart frame included.
const maxBody = 10 << 20

// A body is that of a request, read when a handler wants it.
type body struct {
	from     io.Reader
	data     []byte
	read     bool
	ended    bool // there is no more
	tooLarge bool
}

// load reads the body, once.
func (b *body) load() {
	if b.read {
		return
	}
	b.read = true
	data, err := io.ReadAll(io.LimitReader(b.from, maxBody+1))
	b.data, b.tooLarge = data, len(data) > maxBody
	b.ended = err == nil && !b.tooLarge
}

// received reads the body, or answers for it: one that is too large or breaks off.
func (s *Server) received(c *call) (data []byte, refused *answer) {
	c.body.load()
	if !c.body.tooLarge {
		return c.body.data, nil
	}
	a := s.failure(c, "413 Request Entity Too Large: The data value transmitted exceeds the capacity limit.")
	if s.profile.has(drainedUploads) {
		_, _ = io.Copy(io.Discard, c.body.from)
		c.body.ended = true
	}
	return nil, &a
}

const badRequest = "400 Bad Request: The browser (or proxy) sent a request that this server could not understand."

// json reads the body as LangBot does: without the right content type it is nothing. What is no JSON is answered for.
func (s *Server) json(c *call) (value any, refused *answer) {
	data, refused := s.received(c)
	if refused != nil {
		return nil, refused
	}
	if media, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type")); media != "application/json" {
		return nil, nil
	}
	value, valid := decodeJSON(data)
	if !valid {
		a := s.failure(c, badRequest)
		return nil, &a
	}
	return value, nil
}

func decodeJSON(data []byte) (value any, valid bool) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if decoder.Decode(&value) != nil {
		return nil, false
	}
	_, err := decoder.Token()
	return value, err == io.EOF
}

// object reads a body that must be a JSON object, and answers for any other as Python does.
func (s *Server) object(c *call) (fields map[string]any, refused *answer) {
	value, refused := s.json(c)
	if refused != nil {
		return nil, refused
	}
	fields, isObject := value.(map[string]any)
	if !isObject {
		a := s.failure(c, "'"+pythonType(value)+"' object has no attribute 'get'")
		return nil, &a
	}
	return fields, nil
}
