// Package envelope reads LangBot's {code, msg, data} answers in one pass.
package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
)

// An Envelope is one answer. Its Data is decoded straight into a T.
type Envelope[T any] struct {
	Code      Code  `json:"code"`
	Message   Loose `json:"msg"`
	RequestID Loose `json:"request_id"`
	Data      *T    `json:"data"`
}

// OK reports whether the envelope says success.
func (e *Envelope[T]) OK() bool { return e.Code == "0" }

// A Code is the envelope's code. Servers send a number or a string; here it is the text of either. Empty: no code.
type Code string

// UnmarshalJSON never fails: the rest of the envelope must be read whatever the code looks like.
func (c *Code) UnmarshalJSON(data []byte) error {
	*c = Code(text(data))
	return nil
}

// Loose is a string that may arrive as any JSON value.
type Loose string

// UnmarshalJSON takes strings as they are and the JSON of anything else, null aside. It never fails.
func (l *Loose) UnmarshalJSON(data []byte) error {
	*l = Loose(text(data))
	return nil
}

func text(data []byte) string {
	if len(data) > 0 && data[0] == '"' {
		var s string
		_ = json.Unmarshal(data, &s) // the outer decoder has checked the syntax
		return s
	}
	if string(data) == "null" {
		return ""
	}
	return string(data)
}

// ErrShape says that a JSON document is no envelope.
var ErrShape = errors.New("not an envelope: no code")

// Decode reads body. Code and message are right even when the data has another shape than T: then the error is a
// *json.UnmarshalTypeError beside a filled Envelope. Numbers that JSON does not know (NaN, Infinity) count as absent.
func Decode[T any](body []byte) (*Envelope[T], error) {
	e := new(Envelope[T])
	err := json.Unmarshal(body, e)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		finite, changed := withoutNonFinite(body)
		if !changed {
			return e, err
		}
		e = new(Envelope[T])
		err = json.Unmarshal(finite, e)
	}
	if err == nil && e.Code == "" {
		err = ErrShape
	}
	return e, err
}

// withoutNonFinite returns a copy of body in which NaN, Infinity and -Infinity outside strings are null: Python writes
// them, JSON has no such thing.
func withoutNonFinite(body []byte) ([]byte, bool) {
	out := make([]byte, 0, len(body))
	changed := false
	for i := 0; i < len(body); {
		if body[i] == '"' {
			end := stringEnd(body, i)
			out = append(out, body[i:end]...)
			i = end
			continue
		}
		if n := nonFinite(body[i:]); n > 0 {
			out, changed = append(out, "null"...), true
			i += n
			continue
		}
		out = append(out, body[i])
		i++
	}
	return out, changed
}

func nonFinite(b []byte) int {
	for _, name := range []string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(b, []byte(name)) {
			return len(name)
		}
	}
	return 0
}

// stringEnd is the index after the string that begins at i.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// Field returns the value under the given keys of a valid JSON object, each inside the one before, without decoding
// what lies beside it. It is nil when there is no such value. Of equal keys the first counts.
func Field(data []byte, path ...string) []byte {
	for _, key := range path {
		if data = member(data, key); data == nil {
			return nil
		}
	}
	return data
}

func member(data []byte, key string) []byte {
	i := skipSpace(data, 0)
	if i >= len(data) || data[i] != '{' {
		return nil
	}
	for i = skipSpace(data, i+1); i < len(data) && data[i] == '"'; i = skipSpace(data, i+1) {
		nameEnd := stringEnd(data, i)
		name := data[i:nameEnd]
		start := skipSpace(data, nameEnd)
		if start >= len(data) {
			return nil
		}
		start = skipSpace(data, start+1) // the colon
		end := valueEnd(data, start)
		if keyIs(name, key) {
			return data[start:end]
		}
		if i = skipSpace(data, end); i >= len(data) || data[i] != ',' {
			return nil
		}
	}
	return nil
}

func keyIs(quoted []byte, key string) bool {
	if len(quoted) == len(key)+2 && string(quoted[1:len(quoted)-1]) == key {
		return true
	}
	unquoted, err := strconv.Unquote(string(quoted)) // an escaped name; JSON's \/ aside, the syntax is Go's
	return err == nil && unquoted == key
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// valueEnd is the index after the value that begins at i.
func valueEnd(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = stringEnd(b, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth == 0 {
				return i + 1
			}
			if depth < 0 {
				return i
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return len(b)
}
