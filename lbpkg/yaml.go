package lbpkg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// LangBot reads YAML with PyYAML's safe loader, which follows YAML 1.1. The parser here gives the tree of nodes; what a
// node means is decided below, because the library itself follows 1.2 where the two differ.

// parseYAML returns the one document in text as values of JSON: map[string]any, []any, string, bool, nil, and
// json.RawMessage for numbers. What is none of these in YAML, such as a date, is an other. Without a document it is nil.
func parseYAML(text []byte) (any, error) {
	var doc, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, err
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one document")
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	if tag := unsafeTag(doc.Content[0]); tag != "" {
		return nil, fmt.Errorf("the tag %s is not allowed", tag)
	}
	left := maxNodes
	return toValue(doc.Content[0], &left)
}

// An other is the text of a value that is no string and has no counterpart in JSON.
type other string

// unsafeTag returns a tag that a safe loader refuses, if there is one. It does not follow aliases: what they point to is
// in the tree already.
func unsafeTag(n *yaml.Node) string {
	switch n.Tag {
	case "", "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!binary", "!!map", "!!seq", "!!set", "!!omap", "!!pairs", "!!merge":
	default:
		return n.Tag
	}
	for _, child := range n.Content {
		if tag := unsafeTag(child); tag != "" {
			return tag
		}
	}
	return ""
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias // never an alias itself
	}
	return n
}

func plain(n *yaml.Node) bool {
	return n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) == 0
}

// isString decides by an explicit tag, by quotes, and else by the rules of YAML 1.1 for plain text.
func isString(n *yaml.Node) bool {
	switch {
	case n.Style&yaml.TaggedStyle != 0:
		return n.Tag == "!!str"
	case !plain(n):
		return true
	}
	for _, not := range []*regexp.Regexp{nullValue, boolValue, intValue, floatValue, dateValue, specialValue} {
		if not.MatchString(n.Value) {
			return false
		}
	}
	return true
}

// What plain text is not a string in YAML 1.1.
var (
	nullValue    = regexp.MustCompile(`^(~|null|Null|NULL|)$`)
	boolValue    = regexp.MustCompile(`^(yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$`)
	intValue     = regexp.MustCompile(`^([-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+)$`)
	floatValue   = regexp.MustCompile(`^([-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
	dateValue    = regexp.MustCompile(`^([0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(\.[0-9]*)?([ \t]*(Z|[-+][0-9]{1,2}(:[0-9]{2})?))?)$`)
	specialValue = regexp.MustCompile(`^(<<|=)$`)
)

// maxNodes bounds a document with its aliases written out.
const maxNodes = 100_000

var errTooManyNodes = errors.New("it expands to more than 100,000 values")

func toValue(n *yaml.Node, left *int) (any, error) {
	n = resolve(n)
	if *left--; *left < 0 {
		return nil, errTooManyNodes
	}
	switch n.Kind {
	case yaml.MappingNode:
		return toMap(n, left)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, child := range n.Content {
			value, err := toValue(child, left)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	}
	return toScalar(n), nil
}

func toMap(n *yaml.Node, left *int) (map[string]any, error) {
	out := map[string]any{}
	for i := 0; i+1 < len(n.Content); i += 2 { // merges first, so that the mapping's own keys win
		if n.Content[i].Tag == "!!merge" {
			if err := mergeInto(out, resolve(n.Content[i+1]), left); err != nil {
				return nil, err
			}
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag == "!!merge" {
			continue
		}
		value, err := toValue(n.Content[i+1], left)
		if err != nil {
			return nil, err
		}
		out[resolve(n.Content[i]).Value] = value // JSON has no other keys than strings
	}
	return out, nil
}

func mergeInto(out map[string]any, from *yaml.Node, left *int) error {
	sources := []*yaml.Node{from}
	if from.Kind == yaml.SequenceNode {
		sources = from.Content
	}
	for i := len(sources) - 1; i >= 0; i-- { // the first of them wins
		value, err := toValue(sources[i], left)
		if err != nil {
			return err
		}
		fields, _ := value.(map[string]any)
		for key, v := range fields {
			out[key] = v
		}
	}
	return nil
}

// toScalar is the value of a scalar.
func toScalar(n *yaml.Node) any {
	text := n.Value
	digits := strings.ReplaceAll(text, "_", "")
	switch {
	case isString(n):
		return text
	case n.Style&yaml.TaggedStyle != 0:
		return other(text)
	case nullValue.MatchString(text):
		return nil
	case boolValue.MatchString(text):
		return slices.Contains([]string{"yes", "true", "on"}, strings.ToLower(text))
	case intValue.MatchString(text) && len(text) <= maxDigits:
		return toInt(digits)
	case floatValue.MatchString(text) && len(text) <= maxDigits && !strings.Contains(text, ":"):
		return toFloat(digits)
	}
	return other(text)
}

// maxDigits bounds the work on one number.
const maxDigits = 300

// toFloat writes 1.0 as 1.0, where Go writes 1. Infinity and NaN are null: JSON has neither.
func toFloat(text string) any {
	f, err := strconv.ParseFloat(text, 64)
	data, jsonErr := json.Marshal(f)
	switch {
	case err != nil || jsonErr != nil:
		return nil
	case !strings.ContainsAny(string(data), ".e"):
		data = append(data, ".0"...)
	}
	return json.RawMessage(data)
}

func toInt(text string) any {
	sign := ""
	if text[0] == '-' || text[0] == '+' {
		sign, text = strings.TrimPrefix(text[:1], "+"), text[1:]
	}
	base, total := 10, new(big.Int)
	switch {
	case strings.HasPrefix(text, "0b"):
		base, text = 2, text[2:]
	case strings.HasPrefix(text, "0x"):
		base, text = 16, text[2:]
	case len(text) > 1 && text[0] == '0':
		base, text = 8, text[1:]
	}
	for part := range strings.SplitSeq(text, ":") { // 1:30 is ninety
		n, ok := new(big.Int).SetString(part, base)
		if !ok {
			return other(sign + text)
		}
		total.Add(total.Mul(total, big.NewInt(60)), n)
	}
	return json.RawMessage(sign + total.String())
}

// field returns the value under the keys, each inside the one before, or nil.
func field(value any, keys ...string) any {
	for _, key := range keys {
		fields, _ := value.(map[string]any)
		value = fields[key]
	}
	return value
}
