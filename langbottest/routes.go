package langbottest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
)

// A route is one entry of the API. Its pattern names the operation everywhere: in scripts, in the journal, in the client.
type route struct {
	pattern    string
	auth       auth
	permission string
	handle     func(*Server, *call) answer
}

// routes is the map of the server.
var routes = []route{
	{"GET /api/v1/plugins", userOrKey, resourceView, (*Server).listPlugins},
	{"GET /api/v1/plugins/{author}/{name}", userOrKey, resourceView, (*Server).getPlugin},
	{"DELETE /api/v1/plugins/{author}/{name}", userOrKey, resourceManage, (*Server).deletePlugin},
	{"POST /api/v1/plugins/install/local", userOrKey, resourceManage, (*Server).installLocal},
	{"POST /api/v1/plugins/install/github", userOrKey, resourceManage, (*Server).installGitHub},
	{"POST /api/v1/plugins/install/marketplace", userOrKey, resourceManage, (*Server).installMarketplace},
	{"POST /api/v1/plugins/github/releases", userOrKey, resourceView, (*Server).gitHubReleases},
	{"POST /api/v1/plugins/github/release-assets", userOrKey, resourceView, (*Server).gitHubReleaseAssets},
	{"GET /api/v1/system/tasks", userOrKey, resourceView, (*Server).listTasks},
	{"GET /api/v1/system/tasks/{id}", userOrKey, resourceView, (*Server).getTask},
	{"GET /api/v1/system/info", nobody, "", (*Server).systemInfo},
	{"GET /healthz", nobody, "", (*Server).healthz},
	{"POST /api/v1/user/auth", nobody, "", (*Server).userAuth},
	{"POST /api/v1/apikeys", userOnly, "api_key.manage", (*Server).createKey},
}

// A call is a request on its way through the server.
type call struct {
	*http.Request
	values map[string]string // of the pattern's {…}
	body   []byte
	who    identity
	now    time.Time
}

// value returns a value of the path.
func (c *call) value(name string) string { return c.values[name] }

// json reads the body as LangBot does: without the right content type, or empty, it is nothing.
func (c *call) json() (body map[string]any, ok bool) {
	if !strings.HasPrefix(c.Header.Get("Content-Type"), "application/json") || len(c.body) == 0 {
		return nil, true
	}
	decoder := json.NewDecoder(bytes.NewReader(c.body))
	decoder.UseNumber()
	err := decoder.Decode(&body)
	return body, err == nil
}

// An answer is what goes back.
type answer struct {
	status int
	body   any    // the envelope
	html   string // instead of it
	allow  string
}

func ok(data any) answer {
	return answer{status: 200, body: map[string]any{"code": 0, "msg": "ok", "data": data}}
}

func refusal(status int, code any, message string) answer {
	return answer{status: status, body: map[string]any{"code": code, "msg": message}}
}

func internalError() answer {
	id := newUUID()
	return answer{status: 500, body: map[string]any{"code": "internal_error", "msg": "Internal server error", "request_id": id}}
}

// maxBody is the most that LangBot reads of a request: 10 MiB, the multipart frame included.
const maxBody = 10 << 20

func (s *Server) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{Request: r, now: time.Now()}
		matched, values, allow := match(r.Method, r.URL.Path)
		c.values = values
		a := s.serve(c, matched, allow)
		pattern := ""
		if matched != nil {
			pattern = matched.pattern
		}
		s.journal.add(pattern, c, a.status)
		write(w, r, a)
	})
}

// serve runs a request: route, credential, permission, size, handler, in LangBot's order.
func (s *Server) serve(c *call, matched *route, allow []string) answer {
	if matched == nil {
		return unknown(c.Request, allow)
	}
	who, refused := s.authenticate(c, matched)
	if refused != nil {
		return *refused
	}
	c.who = who
	body, err := io.ReadAll(io.LimitReader(c.Body, maxBody+1))
	if err != nil {
		return refusal(400, -1, "bad request")
	}
	if len(body) > maxBody {
		_, _ = io.Copy(io.Discard, c.Body) // LangBot reads to the end before it refuses
		return internalError()
	}
	c.body = body
	return matched.handle(s, c)
}

// match finds the route of a request. Without one, allow holds the methods that the path knows.
func match(method, path string) (found *route, values map[string]string, allow []string) {
	for i := range routes {
		m, pattern, _ := strings.Cut(routes[i].pattern, " ")
		v, fits := matchPath(pattern, path)
		if !fits {
			continue
		}
		allow = append(allow, m)
		if m == method || method == "HEAD" && m == "GET" {
			if found == nil || len(v) < len(values) { // a fixed path before one with values
				found, values = &routes[i], v
			}
		}
	}
	return found, values, allow
}

func matchPath(pattern, path string) (map[string]string, bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	values := map[string]string{}
	for i, segment := range want {
		if name, ok := strings.CutPrefix(segment, "{"); ok && got[i] != "" {
			values[strings.TrimSuffix(name, "}")] = got[i]
		} else if segment != got[i] {
			return nil, false
		}
	}
	return values, true
}

const (
	page404 = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.</p>\n"
	page405 = "<!doctype html>\n<html lang=en>\n<title>405 Method Not Allowed</title>\n<h1>Method Not Allowed</h1>\n<p>The method is not allowed for the requested URL.</p>\n"
	pageApp = "<!doctype html>\n<html lang=\"en\"><head><title>LangBot</title></head><body><div id=\"root\"></div></body></html>\n"
)

// unknown answers what no route fits, as LangBot's web server does: its user interface takes every other GET.
func unknown(r *http.Request, allow []string) answer {
	read := r.Method == "GET" || r.Method == "HEAD"
	switch {
	case len(allow) > 0:
		if slices.Contains(allow, "GET") {
			allow = append(allow, "HEAD")
		}
		allow = append(allow, "OPTIONS")
		slices.Sort(allow)
		return answer{status: 405, html: page405, allow: strings.Join(slices.Compact(allow), ", ")}
	case !read:
		return answer{status: 405, html: page405, allow: "GET, HEAD, OPTIONS"}
	case strings.HasPrefix(r.URL.Path, "/api/"):
		return answer{status: 404, html: page404}
	}
	return answer{status: 200, html: pageApp}
}

// write sends an answer in upstream's bytes: keys sorted, non-ASCII escaped, a newline at the end.
func write(w http.ResponseWriter, r *http.Request, a answer) {
	h := w.Header()
	h["vary"] = []string{"Origin"}
	h.Set("Server", "langbottest") // so that nobody takes a recording of it for one of LangBot
	if r.Header.Get("Origin") != "" {
		h.Set("Access-Control-Allow-Origin", "*")
	}
	if a.allow != "" {
		h.Set("Allow", a.allow)
	}
	content := []byte(a.html)
	h.Set("Content-Type", "text/html; charset=utf-8")
	if a.html == "" && a.body != nil {
		h.Set("Content-Type", "application/json")
		content = encode(a.body)
		if body, ok := a.body.(map[string]any); ok && body["request_id"] != nil {
			h.Set("X-Request-Id", body["request_id"].(string))
		}
	}
	if a.html == "" && a.body == nil {
		h.Del("Content-Type")
		h.Set("Connection", "close")
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(content) // the client may be gone
}

func encode(body any) []byte {
	var raw bytes.Buffer
	encoder := json.NewEncoder(&raw) // adds the newline
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		panic("langbottest: " + err.Error()) // an answer of our own that is no JSON
	}
	var out bytes.Buffer
	for _, r := range raw.String() {
		switch {
		case r < 0x80:
			out.WriteByte(byte(r))
		case r < 0x10000:
			writeEscape(&out, r)
		default:
			high, low := utf16.EncodeRune(r)
			writeEscape(&out, high)
			writeEscape(&out, low)
		}
	}
	return out.Bytes()
}

func writeEscape(out *bytes.Buffer, r rune) {
	const digits = "0123456789abcdef"
	out.WriteString(`\u`)
	for shift := 12; shift >= 0; shift -= 4 {
		out.WriteByte(digits[r>>shift&15])
	}
}
