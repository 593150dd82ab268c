package langbottest

// Bots are here for their tasks: the one of a bot that is switched off is the only task that a client can cancel.

func (s *Server) addBot(c *call) answer {
	fields, refused := s.object(c)
	if refused != nil {
		return *refused
	}
	id := newUUID()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.switchBot(c, id, fields["enable"] == true)
	return ok(map[string]any{"uuid": id})
}

func (s *Server) setBot(c *call) answer {
	fields, refused := s.object(c)
	if refused != nil {
		return *refused
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.switchBot(c, c.value("id"), fields["enable"] == true)
	return ok(nil)
}

func (s *Server) deleteBot(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.switchBot(c, c.value("id"), false)
	return ok(nil)
}

// switchBot starts or cancels the task of a bot.
func (st *state) switchBot(c *call, id string, on bool) {
	if t := st.bots[id]; t != nil {
		t.script.End, t.applied = Cancelled, true
		delete(st.bots, id)
	}
	if on {
		st.bots[id] = st.addOwn("platform-adapter-"+id, c.now)
	}
}
