package envelope

import (
	"bytes"
	"iter"
)

// What follows walks over JSON that is known to be valid, without decoding what it passes. On anything else it stops
// early; it never panics.

// Members returns the keys and values of an object, keys without their quotes and as they are written. Anything else has
// none.
func Members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		i, ok := opening(object, '{')
		for ok && i < len(object) && object[i] == '"' {
			nameEnd := stringEnd(object, i)
			start := skipSpace(object, skipSpace(object, nameEnd)+1) // behind the colon
			if start >= len(object) {
				return
			}
			end := valueEnd(object, start)
			if !yield(object[i+1:nameEnd-1], object[start:end]) {
				return
			}
			i, ok = next(object, end)
		}
	}
}

// Items returns the values of an array. Anything else has none.
func Items(array []byte) iter.Seq[[]byte] {
	return func(yield func(value []byte) bool) {
		i, ok := opening(array, '[')
		for ok && i < len(array) && array[i] != ']' {
			end := valueEnd(array, i)
			if end == i || !yield(array[i:end]) {
				return
			}
			i, ok = next(array, end)
		}
	}
}

// Field returns the value under the given keys, each inside the one before, or nil.
func Field(object []byte, path ...string) []byte {
	for _, want := range path {
		var found []byte
		for key, value := range Members(object) {
			if string(key) == want {
				found = value
			}
		}
		object = found
	}
	return object
}

// opening is the index of the first thing behind the opening bracket.
func opening(b []byte, bracket byte) (int, bool) {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != bracket {
		return i, false
	}
	return skipSpace(b, i+1), true
}

// next is the index of what follows the comma behind i, if there is one.
func next(b []byte, i int) (int, bool) {
	i = skipSpace(b, i)
	if i >= len(b) || b[i] != ',' {
		return i, false
	}
	return skipSpace(b, i+1), true
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// stringEnd is the index after the string that begins at i.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); {
		quote := bytes.IndexByte(b[i:], '"')
		if quote < 0 {
			return len(b)
		}
		i += quote + 1
		escapes := 0
		for b[i-2-escapes] == '\\' { // ends at the opening quote
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
	}
	return len(b)
}

// valueEnd is the index after the value that begins at i.
func valueEnd(b []byte, i int) int {
	if i >= len(b) {
		return i
	}
	switch b[i] {
	case '"':
		return stringEnd(b, i)
	case '{', '[':
		return bracketEnd(b, i)
	}
	for i < len(b) && !ends[b[i]] {
		i++
	}
	return i
}

// ends are the bytes behind a number or a name.
var ends = [256]bool{',': true, '}': true, ']': true, ' ': true, '\t': true, '\n': true, '\r': true}

// bracketEnd is the index after the object or array that begins at i.
func bracketEnd(b []byte, i int) int {
	for depth := 0; i < len(b); {
		switch nesting[b[i]] {
		case quote:
			i = stringEnd(b, i)
			continue
		case opens:
			depth++
		case closes:
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return len(b)
}

const (
	quote = iota + 1
	opens
	closes
)

var nesting = [256]uint8{'"': quote, '{': opens, '[': opens, '}': closes, ']': closes}
