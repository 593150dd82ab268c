package langbottest

// version is the release that the server answers as.
const version = "4.11.2"

func (s *Server) systemInfo(*call) answer {
	return ok(map[string]any{
		"allow_modify_login_info": true, "beta": false, "cloud_banner": nil, "cloud_service_url": "https://space.test", "debug": false,
		"deployment_mode": "oss", "disable_models_service": true, "edition": "community", "enable_marketplace": false,
		"invitation_delivery": map[string]any{"enabled": false, "provider": nil},
		"limitation":          map[string]any{"max_bots": -1, "max_extensions": -1, "max_knowledge_bases": -1, "max_pipelines": -1},
		"mcp_stdio_enabled":   true, "outbound_ips": []any{}, "version": "v" + version, "wizard_progress": nil, "wizard_status": "none",
	})
}

func (s *Server) healthz(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	running := 1 // the web chat's adapter
	for _, t := range s.state.tasks {
		if !t.applied {
			running++
		}
	}
	return answer{status: 200, body: map[string]any{"code": 0, "msg": "ok", "resources": map[string]any{
		"application_tasks": map[string]any{"id_index": s.state.nextID, "running": running, "total": len(s.state.tasks) + 1, "completed": len(s.state.tasks) + 1 - running},
		"runtimes":          map[string]any{"plugin_runtime_connected": true, "plugin_installations": len(s.state.rows)},
	}}}
}
