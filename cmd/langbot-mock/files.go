package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/langbot-go/langbot/langbottest"
)

// perform does what the entries of a file say, each a body of the named action. Without a name an entry is an object whose
// only member is the action, with its body. What is wrong is told with the line.
func perform(srv *langbottest.Server, path, name string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	at := func(offset int64, err error) error {
		return fmt.Errorf("%s:%d: %w", path, 1+bytes.Count(data[:min(int(offset), len(data))], []byte("\n")), err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	first, err := decoder.Token()
	if err != nil || first != json.Delim('[') {
		return at(position(decoder, err), errors.New("it must be a list: [ … ]"))
	}
	for decoder.More() {
		var entry json.RawMessage
		if err := decoder.Decode(&entry); err != nil {
			return at(position(decoder, err), err)
		}
		begin := decoder.InputOffset() - int64(len(entry))
		if err := performOne(srv, name, entry); err != nil {
			return at(begin+within(err), err)
		}
	}
	if _, err := decoder.Token(); err != nil {
		return at(position(decoder, err), errors.New("the list does not end: ] is missing"))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return at(decoder.InputOffset(), errors.New("there is more after the list"))
	}
	return nil
}

func performOne(srv *langbottest.Server, name string, entry json.RawMessage) error {
	body := entry
	if name == "" {
		var member map[string]json.RawMessage
		if err := json.Unmarshal(entry, &member); err != nil || len(member) != 1 {
			return errors.New(`it must be an object with one action, such as {"plugins": {…}}`)
		}
		for name, body = range member {
		}
	}
	act, known := actions[name]
	if !known {
		return fmt.Errorf("there is no action %q", name)
	}
	_, err := act(srv, body)
	return err
}

// position is where decoding has failed.
func position(decoder *json.Decoder, err error) int64 {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return syntax.Offset
	}
	return decoder.InputOffset()
}

// within is where in an entry a value is of the wrong type.
func within(err error) int64 {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return wrong.Offset
	}
	return 0
}
