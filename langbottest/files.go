package langbottest

import (
	"archive/zip"
	"bytes"
	"io"
	"path"
	"strings"
	"time"
)

// file reads a file of a plugin's archive.
func (r *row) file(name string) (content []byte, found bool) {
	archive, err := zip.NewReader(bytes.NewReader(r.data), int64(len(r.data)))
	if archive == nil {
		return nil, err == nil
	}
	for _, f := range archive.File {
		if path.Clean(strings.ReplaceAll(f.Name, `\`, "/")) != name || f.FileInfo().IsDir() {
			continue
		}
		opened, err := f.Open()
		if err != nil {
			return nil, false
		}
		defer opened.Close()
		content, err := io.ReadAll(io.LimitReader(opened, maxBody))
		return content, err == nil
	}
	return nil, false
}

// contentTypes are those that LangBot's web server gives.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".gif": "image/gif", ".html": textHTML, ".ico": "image/vnd.microsoft.icon", ".jpeg": "image/jpeg",
	".jpg": "image/jpeg", ".js": "text/javascript; charset=utf-8", ".json": "application/json", ".png": "image/png",
	".svg": "image/svg+xml; charset=utf-8", ".txt": "text/plain; charset=utf-8", ".webp": "image/webp",
}

func contentType(name string) string {
	if kind, known := contentTypes[strings.ToLower(path.Ext(name))]; known {
		return kind
	}
	return "application/octet-stream"
}

// A cached answer is one that older releases give again for a while, whatever becomes of the plugin.
type cached struct {
	at     time.Time
	answer answer
}

// kept gives the answer that make gives, or the one that it gave before. The state must be locked.
func (s *Server) kept(c *call, name string, make func() answer) answer {
	if !s.profile.has(cachedFiles) {
		return make()
	}
	name = c.id() + " " + name
	if old, found := s.state.cache[name]; found && c.now.Before(old.at.Add(fileCache)) {
		return old.answer
	}
	a := make()
	if a.status == 200 {
		s.state.cache[name] = cached{c.now, a}
	}
	return a
}

// fileOf finds the plugin whose file is asked for. There is none if the plugin does not run.
func (s *Server) fileOf(c *call) *row {
	s.state.advance(c.now)
	r := s.state.row(c.id())
	if r == nil || s.state.status(r, c.now) == "" || !s.state.connected(c.now) {
		return nil
	}
	return r
}

func (s *Server) getIcon(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.kept(c, "icon", func() answer { return s.icon(c) })
}

func (s *Server) getAuthenticatedIcon(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if s.profile.has(missingIcon) && s.fileOf(c) == nil {
		return page(404, "Icon not found")
	}
	return s.icon(c)
}

func (s *Server) icon(c *call) answer {
	r := s.fileOf(c)
	switch {
	case r == nil && !s.state.connected(c.now):
		return s.failure(c, closedDuringSend)
	case r == nil && s.profile.has(filesOfMissing):
		return s.failure(c, "")
	case r == nil:
		return answer{status: 200, raw: []byte{}, header: map[string]string{"Content-Type": ""}}
	}
	r.say(c.now, infoLevel, "handler.py (149)", "[Action] get_plugin_icon")
	manifest := s.state.redacted(r.pkg.Manifest())
	metadata, _ := manifest["metadata"].(map[string]any)
	name, _ := metadata["icon"].(string)
	content, found := r.file(path.Clean(name))
	if !found {
		return s.failure(c, s.profile.inRuntime("IsADirectoryError: [Errno 21] Is a directory: 'data/plugins/"+r.author+"__"+r.name+"/'"))
	}
	return answer{status: 200, raw: content, kind: contentType(name)}
}

func (s *Server) getAsset(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	r := s.fileOf(c)
	checked := s.profile.has(checkedAssets)
	switch {
	case r == nil && s.profile.has(filesOfMissing), !s.state.connected(c.now):
		return s.failure(c, closedDuringSend)
	case r == nil && !checked:
		return s.failure(c, "join() argument must be str, bytes, or os.PathLike object, not 'NoneType'")
	case r == nil:
		return page(404, "Asset not found")
	}
	name := c.value("path")
	if strings.Contains("/"+name+"/", "/../") {
		return page(404, "Asset not found")
	}
	r.say(c.now, infoLevel, "handler.py (149)", "[Action] get_plugin_assets_file")
	if !strings.HasPrefix(name, "components/pages/") {
		name = "assets/" + name
	}
	content, found := r.file(path.Clean(name))
	switch {
	case !found && !checked:
		return s.failure(c, s.profile.inRuntime("IsADirectoryError: [Errno 21] Is a directory: 'data/temp/lbp/'"))
	case !found:
		return page(404, "Asset not found")
	}
	a := answer{status: 200, raw: content, kind: contentType(name)}
	if a.kind == textHTML && checked {
		own := "http://" + c.Host
		a.header = map[string]string{"Content-Security-Policy": "default-src " + own + "; script-src " + own + " 'unsafe-inline'; style-src " + own +
			" 'unsafe-inline'; img-src " + own + " data:; connect-src " + own + "; frame-src 'none'; object-src 'none'"}
	}
	return a
}

func (s *Server) getReadme(c *call) answer {
	language := c.URL.Query().Get("language")
	if language == "" {
		language = "en"
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.kept(c, "readme "+language, func() answer { return s.readme(c, language) })
}

func (s *Server) readme(c *call, language string) answer {
	r := s.fileOf(c)
	switch {
	case r == nil && s.profile.has(filesOfMissing), !s.state.connected(c.now):
		return s.failure(c, closedDuringSend)
	case r == nil:
		return ok(map[string]any{"readme": ""})
	}
	r.say(c.now, infoLevel, "handler.py (149)", "[Action] get_plugin_readme")
	content, found := r.file("readme/README_" + language + ".md")
	if !found {
		content, _ = r.file("README.md")
	}
	return ok(map[string]any{"readme": strings.ToValidUTF8(string(content), "\ufffd")})
}

// pageAPI passes a call on to a page of a plugin. Plugins do not run here, so that none has a page.
func (s *Server) pageAPI(c *call) answer {
	value, refused := s.json(c)
	if refused != nil {
		return *refused
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	r := s.fileOf(c)
	fields, isObject := value.(map[string]any)
	endpoint, _ := fields["endpoint"].(string)
	id, _ := fields["page_id"].(string)
	switch {
	case !isObject:
		return refusal(400, -1, "invalid request body")
	case !strings.HasPrefix(endpoint, "/") || strings.Contains(endpoint, ".."):
		return refusal(400, -1, "invalid endpoint")
	case r == nil && s.profile.has(filesOfMissing):
		return s.failure(c, "")
	case r == nil:
		return refusal(400, -1, "Plugin not found")
	}
	return refusal(400, -1, "Page '"+id+"' not found")
}

// pageScript is the script that pages of plugins load. LangBot's own is left out.
func (s *Server) pageScript(*call) answer {
	return answer{status: 200, raw: []byte("/**\n * LangBot Plugin Page SDK\n */\n"), kind: "application/javascript; charset=utf-8"}
}
