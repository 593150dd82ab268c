package langbottest

import (
	"mime"
	"time"
)

func (s *Server) getConfig(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	r, missing := s.running(c)
	if missing != nil {
		return *missing
	}
	config := r.config
	if config == nil || s.profile.has(configEmpty) {
		config = map[string]any{}
	}
	if s.profile.has(redaction) {
		config = redact(config)
	}
	return ok(map[string]any{"config": config})
}

func (s *Server) putConfig(c *call) answer {
	config, refused := s.newConfig(c)
	if refused != nil {
		return *refused
	}
	s.state.mu.Lock()
	away, refused := s.write(c, config)
	s.state.mu.Unlock()
	if refused != nil {
		return *refused
	}
	_, isObject := config.(map[string]any)
	if s.profile.has(configBlocks) {
		s.pause(c, away)
		if !isObject {
			return s.failure(c, "Action restart_plugin call timed out")
		}
	}
	return ok(map[string]any{})
}

// newConfig reads the body of a new config. What is no JSON wipes it in some releases.
func (s *Server) newConfig(c *call) (config any, refused *answer) {
	data, refused := s.received(c)
	if refused != nil {
		return nil, refused
	}
	if media, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type")); media != "application/json" {
		return nil, nil
	}
	config, valid := decodeJSON(data)
	if !valid && !s.profile.has(configWiped) {
		a := s.failure(c, badRequest)
		return nil, &a
	}
	return config, nil
}

// write stores a config and starts the plugin again, which is away for as long as is returned. The state must be locked.
func (s *Server) write(c *call, config any) (away time.Duration, refused *answer) {
	r, missing := s.running(c)
	if missing != nil {
		return 0, missing
	}
	if s.profile.has(redaction) {
		restored, whole := restore(config, r.config, false)
		if !whole {
			a := refusal(400, -1, "Masked plugin secret has no existing value")
			return 0, &a
		}
		config = restored
	}
	away = restarting
	if script, found := s.state.scripts[opConfig]; found {
		away = script.duration()
	}
	_, isObject := config.(map[string]any)
	r.config, r.ready = config, c.now.Add(away)
	r.dead = r.dead || !isObject // its worker does not survive that
	r.start(r.ready)
	return away, nil
}

// pause waits, unless the client goes.
func (s *Server) pause(c *call, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.Context().Done():
	}
}
