package langbottest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// auth is who may call a route.
type auth int

const (
	nobody auth = iota // no credential needed
	userOnly
	userOrKey
)

// The permissions that routes here ask for; an API key carries a list of them.
const (
	resourceView   = "resource.view"
	resourceManage = "resource.manage"
)

var allScopes = []string{"workspace.view", "workspace.update", "workspace.delete", "member.view", "member.invite", "member.update_role",
	"member.remove", resourceView, resourceManage, "runtime.operate", "provider_secret.manage", "api_key.manage", "audit.view", "data.export",
	"billing_link.manage"}

// An identity is who a request comes from.
type identity struct {
	user   string // empty for a key
	scopes []string
}

func (i identity) isKey() bool { return i.user == "" }

type key struct{ scopes []string }

// authenticate decides who calls, in LangBot's order: X-API-Key first, whatever else is sent.
func (s *Server) authenticate(c *call, r *route) (identity, *answer) {
	if r.auth == nobody {
		return identity{}, nil
	}
	who, ok, sent := s.state.identify(c.Header)
	switch {
	case !sent:
		text := "No valid authentication provided (user token or API key required)"
		if r.auth == userOnly {
			text = "No valid user token provided"
		}
		refused := refusal(401, -1, text)
		return who, &refused
	case !ok, r.auth == userOnly && who.isKey():
		refused := refusal(401, "invalid_authentication", "Invalid authentication credentials")
		return who, &refused
	case r.permission != "" && !slices.Contains(who.scopes, r.permission):
		refused := refusal(403, "permission_denied", "Missing Workspace permission: "+r.permission)
		return who, &refused
	}
	return who, nil
}

func (st *state) identify(h http.Header) (who identity, ok, sent bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if secret := h.Get("X-API-Key"); secret != "" {
		k, ok := st.keys[secret]
		return identity{scopes: k.scopes}, ok, true
	}
	secret := h.Get("Authorization")
	if secret == "" {
		return identity{}, false, false
	}
	secret = strings.TrimPrefix(secret, "Bearer ")
	if email, ok := st.tokens[secret]; ok {
		return identity{user: email, scopes: allScopes}, true, true
	}
	k, ok := st.keys[secret]
	return identity{scopes: k.scopes}, ok, true
}

// login makes a token for a user. It looks like LangBot's: a JWT.
func (st *state) login(email string) string {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.logins++
	encode := func(v any) string {
		data, _ := json.Marshal(v) // maps of strings and numbers
		return base64.RawURLEncoding.EncodeToString(data)
	}
	token := encode(map[string]any{"alg": "HS256", "typ": "JWT"}) + "." +
		encode(map[string]any{"user": email, "iss": "langbot-core", "jti": st.logins}) + "." + base64.RawURLEncoding.EncodeToString([]byte(newUUID()))
	st.tokens[token] = email
	return token
}

// RevokeTokens makes every user token handed out so far invalid, as a change of the password does.
func (s *Server) RevokeTokens() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	clear(s.state.tokens)
}

func (s *Server) userAuth(c *call) answer {
	body, valid := c.json()
	email, hasEmail := body["user"].(string)
	password, hasPassword := body["password"].(string)
	if !valid || !hasEmail || !hasPassword {
		return refusal(400, -1, "Invalid request parameters")
	}
	s.state.mu.Lock()
	want, known := s.state.passwords[email]
	s.state.mu.Unlock()
	switch {
	case !known:
		return refusal(200, 1, "Resource not found")
	case want != password:
		return refusal(200, 1, "Invalid username or password")
	}
	return ok(map[string]any{"token": s.state.login(email)})
}

func (s *Server) createKey(c *call) answer {
	body, valid := c.json()
	if !valid {
		return internalError()
	}
	name, _ := body["name"].(string)
	if name == "" {
		return refusal(400, "invalid_api_key", "Name is required")
	}
	scopes := allScopes
	if list, given := body["scopes"].([]any); given {
		scopes = []string{}
		for _, scope := range list {
			text, _ := scope.(string)
			if !slices.Contains(allScopes, text) {
				return refusal(400, "invalid_api_key", fmt.Sprintf("Unknown API key scope: %v", scope))
			}
			scopes = append(scopes, text)
		}
	}
	secret := "lbk_" + strings.ReplaceAll(newUUID()+newUUID(), "-", "")[:43]
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.keys[secret] = key{scopes: scopes}
	return ok(map[string]any{"key": map[string]any{
		"id": len(s.state.keys), "uuid": newUUID(), "workspace_uuid": s.state.workspace, "created_by_account_uuid": s.state.account,
		"name": name, "scopes": scopes, "status": "active", "expires_at": nil, "last_used_at": nil, "description": body["description"],
		"created_at": stamp(c.now), "updated_at": stamp(c.now), "key": secret, "secret_available": true,
	}})
}
