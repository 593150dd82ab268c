package langbottest

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// auth is who may call a route.
type auth int

const (
	nobody        auth = iota // no credential needed
	userOnly                  // who has logged in
	accountOnly               // the same, and only after "Bearer" in newer releases
	keyOnly                   // an API key
	userOrKey                 // both
	userOrLateKey             // keys since configFilesByKey
	tasksReader               // keys since tasksByKey
)

// The permissions that routes here ask for; an API key carries a list of them.
const (
	resourceView   = "resource.view"
	resourceManage = "resource.manage"
	auditView      = "audit.view"
	manageKeys     = "api_key.manage"
)

var allScopes = []string{manageKeys, auditView, "billing_link.manage", "data.export", "member.invite", "member.remove", "member.update_role",
	"member.view", "provider_secret.manage", resourceManage, resourceView, "runtime.operate", "workspace.delete", "workspace.update", "workspace.view"}

// An identity is who a request comes from.
type identity struct {
	user   string // empty for a key
	key    *key
	scopes []string
}

func (i identity) isKey() bool { return i.key != nil }

// authenticate decides who calls, and whether he may.
func (s *Server) authenticate(c *call) (identity, *answer) {
	who, refused := s.identify(c, s.wanted(c.route.auth))
	if refused != nil {
		return who, refused
	}
	switch p := c.route.permission; {
	case p != "" && s.profile.has(permissions) && !slices.Contains(who.scopes, p):
		a := refusal(403, "permission_denied", "Missing Workspace permission: "+p)
		return who, &a
	case p != "" && !who.isKey() && s.profile.has(workspaces) && !s.ownWorkspace(c):
		a := refusal(404, "resource_not_found", "Resource not found")
		return who, &a
	}
	return who, nil
}

func (s *Server) ownWorkspace(c *call) bool {
	named := c.Header.Get("X-Workspace-Id")
	workspace, _ := s.state.identity()
	return named == "" || named == workspace
}

// wanted is who may call a route of the release.
func (s *Server) wanted(a auth) auth {
	switch {
	case a == tasksReader && s.profile.has(tasksByKey), a == userOrLateKey && s.profile.has(configFilesByKey):
		return userOrKey
	case a == tasksReader, a == userOrLateKey, a == accountOnly && !s.profile.has(bearerWanted):
		return userOnly
	}
	return a
}

func (s *Server) identify(c *call, wanted auth) (identity, *answer) {
	secret, inKeyHeader := c.Header.Get("X-API-Key"), true
	if secret == "" || wanted == userOnly || wanted == accountOnly || s.profile.has(describedBearer) {
		secret, inKeyHeader = c.Header.Get("Authorization"), false
	}
	if wanted == accountOnly && !strings.HasPrefix(secret, "Bearer ") {
		secret = ""
	}
	switch {
	case wanted == nobody:
		return identity{}, nil
	case secret == "":
		a := refusal(401, -1, nothingSent[wanted])
		return identity{}, &a
	}
	who, found := s.state.holder(strings.TrimPrefix(secret, "Bearer "), inKeyHeader)
	if found && (wanted == userOrKey || who.isKey() == (wanted == keyOnly)) {
		return who, nil
	}
	a := s.invalid(wanted, inKeyHeader, secret)
	return identity{}, &a
}

var nothingSent = map[auth]string{
	userOnly:    "No valid user token provided",
	accountOnly: "No valid user token provided",
	keyOnly:     "No valid API key provided",
	userOrKey:   "No valid authentication provided (user token or API key required)",
}

// invalid answers a credential that is none, or of the wrong kind.
func (s *Server) invalid(wanted auth, inKeyHeader bool, secret string) answer {
	const text = "Invalid authentication credentials"
	switch {
	case s.profile.has(invalidCodes):
		return refusal(401, "invalid_authentication", text)
	case inKeyHeader:
		return refusal(401, -1, "Invalid API key")
	case wanted == userOnly:
		return refusal(401, -1, notToken(strings.TrimPrefix(secret, "Bearer ")))
	}
	return refusal(401, -1, text)
}

// notToken is what the server's library says of something that is no good token.
func notToken(secret string) string {
	head, _, _ := strings.Cut(secret, ".")
	_, err := base64.RawURLEncoding.DecodeString(head)
	switch {
	case strings.Count(secret, ".") < 2:
		return "Not enough segments"
	case err != nil:
		return "Invalid header padding"
	}
	return "Signature has expired"
}

// holder finds whose a secret is.
func (st *state) holder(secret string, keysOnly bool) (who identity, found bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if email, ok := st.tokens[secret]; ok && !keysOnly {
		return identity{user: email, scopes: allScopes}, true
	}
	for _, k := range st.keys {
		if k.secret == secret && !k.revoked {
			return identity{key: k, scopes: k.scopes}, true
		}
	}
	return identity{}, false
}

// login makes a token for a user. It looks like LangBot's, a JWT, and like there it is the same again within a second.
func (st *state) login(email string, now time.Time) string {
	st.mu.Lock()
	defer st.mu.Unlock()
	if last := st.lastLogin; st.tokens[last.token] == email && last.second == now.Unix() {
		return last.token
	}
	st.logins++
	encode := func(v any) string {
		data, _ := json.Marshal(v) // maps of strings and numbers
		return base64.RawURLEncoding.EncodeToString(data)
	}
	token := encode(map[string]any{"alg": "HS256", "typ": "JWT"}) + "." +
		encode(map[string]any{"user": email, "iss": "langbot-core", "jti": st.logins}) + "." + base64.RawURLEncoding.EncodeToString([]byte(newUUID()))
	st.tokens[token], st.lastLogin = email, lastLogin{token, now.Unix()}
	return token
}

// RevokeTokens makes every user token handed out so far invalid, as a change of the password does.
func (s *Server) RevokeTokens() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	clear(s.state.tokens)
}
