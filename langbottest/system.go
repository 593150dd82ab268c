package langbottest

import (
	"slices"
	"strings"
	"time"
)

func (s *Server) systemInfo(*call) answer {
	info := map[string]any{"version": "v" + s.profile.version, "debug": false, "enable_marketplace": false, "cloud_service_url": "https://space.test"}
	set := func(row *difference, name string, value any) {
		if s.profile.has(row) {
			info[name] = value
		}
	}
	if !s.profile.has(spaceSetting) {
		info["cloud_service_url"] = "https://space.langbot.app"
	}
	set(infoLogin, "allow_modify_login_info", true)
	set(infoLogin, "disable_models_service", true)
	set(infoEdition, "edition", "community")
	set(infoEdition, "limitation", s.limitation())
	set(infoWizard, "wizard_progress", nil)
	set(infoWizard, "wizard_status", "none")
	set(infoOutbound, "outbound_ips", []any{})
	set(infoInvitation, "invitation_delivery", map[string]any{"enabled": false, "provider": nil})
	set(infoInvitation, "mcp_stdio_enabled", true)
	set(infoDeployment, "beta", false)
	set(infoDeployment, "deployment_mode", "oss")
	set(infoBanner, "cloud_banner", nil)
	return ok(info)
}

func (s *Server) limitation() map[string]any {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	limits := map[string]any{"max_bots": -1, "max_extensions": s.state.maxExtensions, "max_pipelines": -1}
	if s.profile.has(infoKnowledge) {
		limits["max_knowledge_bases"] = -1
	}
	if s.profile.has(infoSession) {
		limits["force_box_session_id_template"] = ""
	}
	return limits
}

func (s *Server) healthz(c *call) answer {
	body := map[string]any{"code": 0, "msg": "ok"}
	if s.profile.has(healthDetails) {
		body["resources"] = s.resources(c)
	}
	return answer{status: 200, body: body}
}

// resources are what healthz counts. What has no counterpart here is what an idle server says.
func (s *Server) resources(c *call) map[string]any {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	completed := 0
	for _, t := range s.state.tasks {
		if t.applied {
			completed++
		}
	}
	total := len(s.state.tasks)
	resources := map[string]any{
		"application_tasks": map[string]any{"completed": completed, "id_index": s.state.nextID, "running": total - completed, "total": total},
		"asyncio_tasks":     24,
		"blocking_executor": map[string]any{"active_scopes": 0, "completed_total": 0, "global_rejected_total": 0, "inflight": 0, "max_inflight_per_scope": 4,
			"max_pending": 128, "max_workers": 8, "pending": 0, "rejected_total": 0, "running": 0, "scope_rejected_total": 0, "submitted_total": 0},
		"database_pool": map[string]any{}, "directory": map[string]any{},
		"event_loop": map[string]any{"last_lag_ms": float(0), "max_lag_ms": float(0), "recent_max_lag_ms": float(0), "recent_p95_lag_ms": float(0),
			"running": true, "samples_total": 0},
		"models":     map[string]any{"embeddings": 0, "llms": 0, "providers": 1, "rerankers": 0},
		"query_pool": map[string]any{"active_workspaces": 0, "cached": 0, "queued": 0},
		"runtimes": map[string]any{"bots": len(s.state.bots), "knowledge_bases": 0, "mcp_dispatch_tasks": 0, "mcp_host_tasks": 0,
			"mcp_projection_reconcile_active": 0, "mcp_projection_retirements": 0, "mcp_sessions": 0, "message_aggregation_buffers": 0,
			"message_aggregation_scopes": 0, "pipelines": 0, "plugin_installations": len(s.state.rows), "plugin_runtime_connected": s.state.connected(c.now)},
	}
	if s.profile.has(healthSending) {
		resources["runtime_ops"] = map[string]any{"dropped_total": 0, "last_error": nil, "sent_total": 0}
		resources["telemetry"] = map[string]any{"executions_in_flight": 0, "records_buffered": 0, "records_dropped": 0, "records_sent": 0}
	} else {
		resources["telemetry_tasks"] = 0
	}
	return resources
}

func (s *Server) systemContext(c *call) answer {
	id := c.who.key.uuid
	if c.who.key.id == 0 {
		id = "global-oss-api-key"
	}
	scopes := append([]string{}, c.who.scopes...)
	slices.Sort(scopes)
	workspace, _ := s.state.identity()
	return ok(map[string]any{"api_key_id": id, "instance_uuid": "instance_" + workspace, "workspace_uuid": workspace, "permissions": scopes})
}

// What the server can do, by the names that GET system/capabilities gives.
var (
	operations78 = map[string]string{
		"bot":            "create delete get list update",
		"file":           "document.upload",
		"knowledge_base": "create delete file.delete file.list file.store get list retrieve update",
		"mcp_server":     "create delete get list logs resource_read resource_templates resources test update",
		"model": "embedding.create embedding.delete embedding.get embedding.list embedding.test embedding.update llm.create llm.delete llm.get llm.list " +
			"llm.test llm.update rerank.create rerank.delete rerank.get rerank.list rerank.test rerank.update",
		"pipeline": "copy create delete get list update",
		"plugin":   "config.get config.update delete get install.github install.local install.marketplace list logs upgrade",
		"provider": "create delete get list scan_models update",
		"skill":    "create delete files.list files.read files.write get install.github install.upload list preview update",
		"task":     "get list",
	}
	operations18 = map[string]string{
		"knowledge_engine": "creation_schema list retrieval_schema",
		"knowledge_parser": "list",
		"monitoring":       "embedding_calls errors llm_calls message_details messages session_analysis sessions tool_calls",
		"pipeline":         "extensions.get extensions.update run",
		"sandbox":          "errors sessions status",
	}
)

func (s *Server) capabilities(*call) answer {
	supported := map[string]any{}
	add := func(names map[string]string) {
		for noun, verbs := range names {
			for verb := range strings.FieldsSeq(verbs) {
				supported[noun+"."+verb] = map[string]any{"supported": true}
			}
		}
	}
	add(operations78)
	if s.profile.has(moreOperations) {
		add(operations18)
	}
	return ok(map[string]any{"schema_version": 1, "operations": supported})
}

func (s *Server) pluginSystem(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	connected, text := s.state.connected(c.now), "ok"
	if !connected {
		text = closedDuringSend
	}
	return ok(map[string]any{"is_enable": true, "is_connected": connected, "plugin_connector_error": text})
}

func (s *Server) debugInfo(c *call) answer {
	info := map[string]any{"debug_url": "http://localhost:5401", "plugin_debug_key": ""}
	if s.profile.has(debugSocket) {
		info["debug_url"] = "ws://localhost:5401/plugin/debug/ws"
	}
	if s.profile.has(debugKey) {
		info["plugin_debug_key"] = newUUID()
		info["expires_at"] = c.now.UTC().Add(2*time.Hour).Format("2006-01-02T15:04:05") + "Z"
	}
	return ok(info)
}
