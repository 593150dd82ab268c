package langbottest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A key is an API key. The global one has no number.
type key struct {
	id          int
	uuid        string
	secret      string
	name        string
	description any
	scopes      []string
	created     time.Time
	revoked     bool
}

// view is a key as the API tells it.
func (s *Server) keyView(k *key, withSecret bool) map[string]any {
	view := map[string]any{"id": k.id, "name": k.name, "description": k.description, "created_at": stamp(k.created), "updated_at": stamp(k.created)}
	if withSecret || !s.profile.has(keyRecords) {
		view["key"] = k.secret
	}
	if !s.profile.has(keyRecords) {
		return view
	}
	view["uuid"], view["workspace_uuid"], view["created_by_account_uuid"] = k.uuid, s.state.workspace, s.state.account
	view["scopes"], view["status"], view["expires_at"], view["last_used_at"] = k.scopes, "active", nil, nil
	view["secret_available"] = withSecret
	if k.revoked {
		view["status"] = "revoked"
	}
	return view
}

func (s *Server) listKeys(*call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	views := []any{}
	for _, k := range s.state.keys {
		if k.id > 0 {
			views = append(views, s.keyView(k, false))
		}
	}
	return ok(map[string]any{"keys": views})
}

func (s *Server) createKey(c *call) answer {
	fields, refused := s.object(c)
	if refused != nil {
		return *refused
	}
	name, isText := fields["name"].(string)
	switch {
	case fields["name"] == nil, isText && name == "":
		return s.keyRefusal("Name is required")
	case !isText:
		return s.failure(c, "")
	}
	scopes, why := s.scopes(fields)
	if why != "" {
		return s.keyRefusal(why)
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	k := s.state.addKey("lbk_"+strings.ReplaceAll(newUUID()+newUUID(), "-", "")[:43], name, c.now)
	k.scopes, k.description = scopes, fields["description"]
	return ok(map[string]any{"key": s.keyView(k, true)})
}

func (s *Server) keyRefusal(text string) answer {
	if s.profile.has(keyRecords) {
		return refusal(400, "invalid_api_key", text)
	}
	return refusal(400, -1, text)
}

// scopes are what a new key may do: all, unless the body has a list. A text is taken for a list of its letters.
func (s *Server) scopes(fields map[string]any) (scopes []string, why string) {
	wanted, given := fields["scopes"]
	if !given || wanted == nil || !s.profile.has(keyRecords) {
		return allScopes, ""
	}
	list, _ := wanted.([]any)
	if text, isText := wanted.(string); isText {
		for _, letter := range text {
			list = append(list, string(letter))
		}
	}
	scopes = []string{}
	for _, scope := range list {
		text, isText := scope.(string)
		switch {
		case !isText:
			return nil, "API key scopes must be strings"
		case !slices.Contains(allScopes, text):
			return nil, "Unknown API key scope: " + text
		}
		scopes = append(scopes, text)
	}
	slices.Sort(scopes)
	return slices.Compact(scopes), ""
}

// addKey makes a key with all scopes. Its number is the next one after those that there are.
func (st *state) addKey(secret, name string, now time.Time) *key {
	last := 0
	for _, k := range st.keys {
		last = max(last, k.id)
	}
	k := &key{id: last + 1, uuid: newUUID(), secret: secret, name: name, scopes: allScopes, created: now}
	st.keys = append(st.keys, k)
	return k
}

// keyOf finds the key that a path names, and answers if there is none.
func (s *Server) keyOf(c *call) (*key, *answer) {
	id := c.value("id")
	for _, k := range s.state.keys {
		if k.id > 0 && fmt.Sprint(k.id) == id {
			return k, nil
		}
	}
	a := refusal(404, -1, "API key not found")
	if s.profile.has(missingKeys) {
		a = refusal(404, "resource_not_found", "API key not found")
	}
	return nil, &a
}

func (s *Server) getKey(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	k, missing := s.keyOf(c)
	if missing != nil {
		return *missing
	}
	return ok(map[string]any{"key": s.keyView(k, false)})
}

func (s *Server) deleteKey(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	k, missing := s.keyOf(c)
	switch {
	case missing == nil && s.profile.has(keyRecords):
		k.revoked = true
	case missing == nil:
		s.state.keys = slices.DeleteFunc(s.state.keys, func(other *key) bool { return other == k })
	case s.profile.has(missingKeys):
		return refusal(404, "resource_not_found", "Resource not found")
	}
	return ok(nil)
}
