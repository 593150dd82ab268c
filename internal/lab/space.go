//go:build unix

// A stand-in for Space, LangBot's marketplace: the part that servers ask of it.

package lab

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// A Space is a marketplace on this machine.
type Space struct {
	URL    string
	server *httptest.Server

	mu       sync.Mutex
	releases map[string][]release // by "author/name", newest first
	mcps     map[string]bool
	delay    map[string]time.Duration
}

type release struct {
	version string
	archive []byte
}

// NewSpace starts an empty marketplace. Close it.
func NewSpace() *Space {
	s := &Space{releases: map[string][]release{}, mcps: map[string]bool{}, delay: map[string]time.Duration{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/marketplace/plugins/{author}/{name}", s.plugin)
	mux.HandleFunc("GET /api/v1/marketplace/plugins/{author}/{name}/versions", s.versions)
	mux.HandleFunc("GET /api/v1/marketplace/plugins/download/{author}/{name}/{version}", s.download)
	mux.HandleFunc("GET /api/v1/marketplace/mcps/{author}/{name}", s.mcp)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusNotFound, "not found", nil) })
	s.server = httptest.NewServer(mux)
	s.URL = s.server.URL
	return s
}

// Settings make a server use this marketplace.
func (s *Space) Settings() []string { return []string{"SPACE__URL=" + s.URL} }

// Close stops the marketplace.
func (s *Space) Close() {
	s.server.CloseClientConnections() // a server may keep some
	s.server.Close()
}

// Add publishes a version of the plugin "author/name"; the last one added is the newest.
func (s *Space) Add(plugin, version string, archive []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releases[plugin] = append([]release{{version, archive}}, s.releases[plugin]...)
}

// AddMCP publishes an MCP server "author/name".
func (s *Space) AddMCP(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mcps[name] = true
}

// Delay makes every answer about an author's things take d.
func (s *Space) Delay(author string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay[author] = d
}

// wait takes as long as an answer about the author is to take.
func (s *Space) wait(r *http.Request) {
	s.mu.Lock()
	d := s.delay[r.PathValue("author")]
	s.mu.Unlock()
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

func (s *Space) of(r *http.Request) []release {
	s.wait(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.releases[r.PathValue("author")+"/"+r.PathValue("name")]
}

func (s *Space) plugin(w http.ResponseWriter, r *http.Request) {
	releases := s.of(r)
	if len(releases) == 0 {
		answer(w, http.StatusNotFound, "plugin not found", nil)
		return
	}
	text := map[string]string{"en_US": "Demo"}
	answer(w, http.StatusOK, "ok", map[string]any{"plugin": map[string]any{
		"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "deleted_at": nil,
		"plugin_id": r.PathValue("author") + "/" + r.PathValue("name"), "author": r.PathValue("author"), "name": r.PathValue("name"),
		"label": text, "description": text, "icon": "", "repository": "", "tags": nil, "install_count": 0,
		"latest_version": releases[0].version, "status": "live",
	}})
}

func (s *Space) versions(w http.ResponseWriter, r *http.Request) {
	var versions []any
	for _, x := range s.of(r) {
		versions = append(versions, map[string]string{"version": x.version})
	}
	if versions == nil {
		answer(w, http.StatusNotFound, "plugin not found", nil)
		return
	}
	answer(w, http.StatusOK, "ok", map[string]any{"versions": versions})
}

func (s *Space) download(w http.ResponseWriter, r *http.Request) {
	for _, x := range s.of(r) {
		if x.version == r.PathValue("version") {
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = w.Write(x.archive) // the server may have gone
			return
		}
	}
	answer(w, http.StatusInternalServerError, "plugin version not found: "+r.PathValue("version"), nil) // as Space does
}

func (s *Space) mcp(w http.ResponseWriter, r *http.Request) {
	s.wait(r)
	author, name := r.PathValue("author"), r.PathValue("name")
	s.mu.Lock()
	known := s.mcps[author+"/"+name]
	s.mu.Unlock()
	if !known {
		answer(w, http.StatusNotFound, "mcp not found", nil)
		return
	}
	answer(w, http.StatusOK, "ok", map[string]any{"mcp": map[string]any{"author": author, "name": name, "mode": "http",
		"extra_args": map[string]any{"url": "http://127.0.0.1:9/mcp"}, "readme": ""}})
}

func answer(w http.ResponseWriter, status int, msg string, data any) {
	code := 0
	if status != http.StatusOK {
		code = -1
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"code": code, "msg": msg, "data": data}) // the server may have gone
}
