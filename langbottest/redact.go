package langbottest

import (
	"slices"
	"strings"
)

const mask = "***"

// redact masks everything below a name of a secret.
func redact(value any) any { return redactBelow(value, false) }

func redactBelow(value any, secret bool) any {
	switch v := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, item := range v {
			out[name] = redactBelow(item, secret || isSecret(name))
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = redactBelow(v[i], secret)
		}
		return out
	case nil:
	default:
		if secret && v != "" {
			return mask
		}
	}
	return value
}

// restore puts the stored secrets where a new config has their masks. It is not whole if there is none.
func restore(value, stored any, secret bool) (restored any, whole bool) {
	switch v := value.(type) {
	case map[string]any:
		old, _ := stored.(map[string]any)
		out := map[string]any{}
		for name, item := range v {
			if out[name], whole = restore(item, old[name], secret || isSecret(name)); !whole {
				return nil, false
			}
		}
		return out, true
	case []any:
		old, _ := stored.([]any)
		out := make([]any, len(v))
		for i := range v {
			var before any
			if i < len(old) {
				before = old[i]
			}
			if out[i], whole = restore(v[i], before, secret); !whole {
				return nil, false
			}
		}
		return out, true
	}
	if secret && value == mask {
		return stored, stored != nil
	}
	return value, true
}

var secretNames = []string{"api_key", "apikey", "auth", "authorization", "cookie", "credentials", "database_url", "dsn", "key",
	"proxy_authorization", "set_cookie"}

// isSecret knows the names that LangBot masks.
func isSecret(key string) bool {
	var snake strings.Builder
	for i, r := range key {
		if r >= 'A' && r <= 'Z' && i > 0 {
			snake.WriteByte('_')
		}
		snake.WriteRune(r)
	}
	name := strings.ToLower(strings.ReplaceAll(snake.String(), "-", "_"))
	words := strings.Split(name, "_")
	has := func(word string) bool { return slices.Contains(words, word) }
	return slices.Contains(secretNames, name) ||
		slices.ContainsFunc([]string{"credential", "credentials", "passwd", "password", "secret", "token"}, has) ||
		has("key") && slices.ContainsFunc([]string{"access", "api", "auth", "bearer", "client", "debug", "encryption", "private", "signing"}, has)
}
