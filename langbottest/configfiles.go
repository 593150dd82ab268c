package langbottest

import (
	"path"
	"strings"
)

func (s *Server) addConfigFile(c *call) answer {
	_, name, refused := s.file(c)
	if refused != nil {
		return *refused
	}
	random := func() string { return strings.ReplaceAll(newUUID(), "-", "") }
	key := "plugin_config_" + random() + path.Ext(name)
	if s.profile.has(configFileNames) {
		workspace, _ := s.state.identity()
		owner := strings.ReplaceAll(workspace, "-", "")
		key = "v1/" + owner[:24] + "/" + workspace + "/1/plugin_config/" + owner + "/" + random() + random() + path.Ext(name)
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.files[key] = true
	return ok(map[string]any{"file_key": key})
}

func (s *Server) deleteConfigFile(c *call) answer {
	key := c.value("path")
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	there, known := s.state.files[key]
	switch {
	case !known:
		return refusal(400, -1, "invalid file key")
	case !there && !s.profile.has(configFileNames):
		return refusal(500, -1, "failed to delete file: [Errno 2] No such file or directory: 'data/storage/"+key+"'")
	}
	s.state.files[key] = false
	return ok(map[string]any{"deleted": true})
}
