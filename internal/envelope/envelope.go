// Package envelope reads LangBot's {code, msg, data} answers in one pass.
package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// An Envelope is one answer. Its Data is decoded straight into a T.
type Envelope[T any] struct {
	Code      Code  `json:"code"`
	Message   Loose `json:"msg"`
	RequestID Loose `json:"request_id"`
	Data      T     `json:"data"` // zero if the answer has none, or null
}

// OK reports whether the envelope says success.
func (e *Envelope[T]) OK() bool { return e.Code == "0" }

// A Code is the envelope's code. Servers send a number or a string; here it is the text of either. Empty: no code.
type Code string

// UnmarshalJSON never fails: the rest of the envelope must be read whatever the code looks like.
func (c *Code) UnmarshalJSON(data []byte) error {
	*c = Code(Text(data))
	return nil
}

// Loose is a string that may arrive as any JSON value.
type Loose string

// UnmarshalJSON takes strings as they are and the JSON of anything else, null aside. It never fails.
func (l *Loose) UnmarshalJSON(data []byte) error {
	*l = Loose(Text(data))
	return nil
}

// Text returns a JSON string unquoted, nothing for null, and the JSON of anything else.
func Text(data []byte) string {
	switch {
	case string(data) == `"ok"`: // nearly every answer's message
		return "ok"
	case string(data) == "null":
		return ""
	case len(data) < 2 || data[0] != '"':
		return string(data)
	case bytes.IndexByte(data, '\\') < 0 && utf8.Valid(data):
		return string(data[1 : len(data)-1])
	}
	return unescaped(data)
}

func unescaped(data []byte) string {
	var s string
	_ = json.Unmarshal(data, &s) // the outer decoder has checked the syntax
	return s
}

// ErrShape says that a JSON document is no envelope.
var ErrShape = errors.New("not an envelope: no code")

// A Reader is data that reads itself. Reading long lists by hand takes half the time of reflection.
type Reader interface {
	// ReadJSON reads data, which is valid JSON, and keeps none of it.
	ReadJSON(data []byte)
}

// Decode reads body. Code and message are right even when the data has another shape than T: then the error is a
// *json.UnmarshalTypeError beside a filled Envelope. Numbers that JSON does not know (NaN, Infinity) count as absent.
func Decode[T any](body []byte) (*Envelope[T], error) {
	e := new(Envelope[T])
	err := e.decode(body)
	if err != nil && isSyntax(err) {
		if finite, changed := withoutNonFinite(body); changed {
			*e = Envelope[T]{}
			err = e.decode(finite)
		}
	}
	if err == nil && e.Code == "" {
		err = ErrShape
	}
	return e, err
}

func isSyntax(err error) bool {
	var syntax *json.SyntaxError
	return errors.As(err, &syntax)
}

func (e *Envelope[T]) decode(body []byte) error {
	data, ok := any(&e.Data).(Reader)
	if !ok {
		return json.Unmarshal(body, e)
	}
	if !json.Valid(body) {
		return json.Unmarshal(body, new(any)) // says where it is not
	}
	for key, value := range Members(body) {
		switch string(key) {
		case "code":
			e.Code = Code(Text(value))
		case "msg":
			e.Message = Loose(Text(value))
		case "request_id":
			e.RequestID = Loose(Text(value))
		case "data":
			data.ReadJSON(value)
		}
	}
	return nil
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
