package langbottest

import (
	"net/url"
	"slices"
	"strings"
)

const mask = "***"

// redact masks everything below a name of a secret, as LangBot does.
func redact(value any) any { return redactBelow(value, isSecret, false) }

func redactBelow(value any, names func(string) bool, secret bool) any {
	switch v := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, item := range v {
			out[name] = redactBelow(item, names, secret || names(name))
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = redactBelow(v[i], names, secret)
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

// isPrivate knows the names of what the journal must not keep: those that LangBot masks, and however else they are written.
func isPrivate(key string) bool {
	plain := strings.ToLower(strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(key))
	return isSecret(key) || plain == "pass" || plain == "pwd" || strings.HasSuffix(plain, "key") ||
		slices.ContainsFunc([]string{"apikey", "authorization", "cookie", "credential", "passwd", "password", "passphrase", "secret", "token"},
			func(part string) bool { return strings.Contains(plain, part) })
}

// redactQuery masks the private values of a query.
func redactQuery(query string) string {
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err != nil || isPrivate(plain) {
			pairs[i] = name + "=" + mask
		}
	}
	return strings.Join(pairs, "&")
}
