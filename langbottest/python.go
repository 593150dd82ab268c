package langbottest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Python's words for things: they show in the texts of older releases.

func pythonType(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case string:
		return "str"
	case []any:
		return "list"
	case map[string]any:
		return "dict"
	case json.Number:
		if strings.ContainsAny(string(v), ".eE") {
			return "float"
		}
	}
	return "int"
}

// pythonRepr writes a value of JSON as Python shows it.
func pythonRepr(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return map[bool]string{true: "True", false: "False"}[v]
	case string:
		return pythonQuote(v)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = pythonRepr(v[i])
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		var parts []string
		for key, value := range v {
			parts = append(parts, pythonQuote(key)+": "+pythonRepr(value))
		}
		slices.Sort(parts) // their order is lost
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(v)
}

func pythonQuote(s string) string {
	quote := "'"
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = `"`
	}
	return quote + strings.NewReplacer(`\`, `\\`, "\n", `\n`, quote, `\`+quote).Replace(s) + quote
}

// pythonInt reads a number as Python's int does: with a sign, underscores between digits, and blanks around it.
func pythonInt(s string) (n int64, valid bool) {
	digits := strings.TrimSpace(s)
	bare := strings.TrimLeft(digits, "+-")
	if strings.HasPrefix(bare, "_") || strings.HasSuffix(bare, "_") || strings.Contains(bare, "__") {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(digits, "_", ""), 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return -1, true // a number, and beyond all that there are
	}
	return n, err == nil
}
