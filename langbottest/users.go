package langbottest

import "strings"

func (s *Server) userInitialized(*call) answer {
	return ok(map[string]any{"initialized": s.state.initialized()})
}

func (st *state) initialized() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.passwords) > 0
}

var alreadyInitialized = refusal(200, 1, "System already initialized")

func (s *Server) initUser(c *call) answer {
	if s.state.initialized() {
		return alreadyInitialized
	}
	email, password, refused := s.credentials(c)
	switch {
	case refused != nil:
		return *refused
	case s.profile.has(emailWanted) && !strings.Contains(email, "@"):
		return s.failure(c, "")
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if len(s.state.passwords) > 0 { // by another request, meanwhile
		return alreadyInitialized
	}
	s.state.passwords[email] = password
	return ok(nil)
}

// credentials reads the body of a login, and answers for one that is none.
func (s *Server) credentials(c *call) (email, password string, refused *answer) {
	fields, refused := s.object(c)
	if refused != nil {
		return "", "", refused
	}
	email, hasEmail := fields["user"].(string)
	password, hasPassword := fields["password"].(string)
	if hasEmail && hasPassword {
		return email, password, nil
	}
	missing := "'password'"
	if fields["user"] == nil {
		missing = "'user'"
	}
	a := s.failure(c, missing)
	return "", "", &a
}

func (s *Server) userAuth(c *call) answer {
	email, password, refused := s.credentials(c)
	if refused != nil {
		if s.profile.has(malformedLogin) {
			return refusal(400, -1, "Invalid request parameters")
		}
		return *refused
	}
	s.state.mu.Lock()
	want, known := s.state.passwords[email]
	s.state.mu.Unlock()
	switch {
	case !known:
		return s.unknownLogin(c)
	case want != password:
		return refusal(200, 1, "Invalid username or password")
	}
	return ok(map[string]any{"token": s.state.login(email, c.now)})
}

func (s *Server) unknownLogin(c *call) answer {
	text := "用户不存在"
	if s.profile.has(englishLogin) {
		text = "Resource not found"
	}
	if !s.profile.has(unknownUser) {
		return s.failure(c, text)
	}
	return refusal(200, 1, text)
}

func (s *Server) checkToken(c *call) answer {
	return ok(map[string]any{"token": s.state.login(c.who.user, c.now)})
}

func (s *Server) userInfo(c *call) answer {
	info := map[string]any{"user": c.who.user, "account_type": "local", "has_password": true}
	if s.profile.has(accountUUID) {
		_, info["account_uuid"] = s.state.identity()
	}
	return ok(info)
}

func (s *Server) accountInfo(*call) answer {
	if !s.state.initialized() {
		return ok(map[string]any{"initialized": false})
	}
	info := map[string]any{"initialized": true}
	set := func(row *difference, name string, value any) {
		if s.profile.has(row) {
			info[name] = value
		}
	}
	if !s.profile.has(accountLogins) {
		info["account_type"], info["has_password"] = "local", true
	}
	set(accountLogins, "password_login_enabled", true)
	set(accountLogins, "space_login_enabled", false)
	set(accountLogins, "authenticated_invitation_acceptance_enabled", false)
	set(invitations, "invitation_registration_enabled", true)
	set(passkeys, "passkey_login_enabled", true)
	set(passkeys, "passkey_supported", true)
	return ok(info)
}
