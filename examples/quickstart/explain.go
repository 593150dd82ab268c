package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/lbpkg"
)

// An interrupted wait goes on at the server.
type interrupted struct {
	err   error
	token string
}

func (e *interrupted) Error() string { return "interrupted" }
func (e *interrupted) Unwrap() error { return e.err }

// explain says what went wrong and what to do about it.
func explain(err error) string {
	text := strings.TrimSuffix(err.Error(), ".")
	var stopped *interrupted
	var failed *langbot.TaskError
	var page *langbot.ProtocolError
	var rule *lbpkg.Error
	switch {
	case errors.As(err, &stopped) && os.Getenv("LANGBOT_URL") == "":
		return "interrupted; the reference server ends with this program"
	case errors.As(err, &stopped):
		return "interrupted; the installation goes on. To see it through:\n  go run ./examples/quickstart -resume " + stopped.token
	case errors.Is(err, context.Canceled):
		return fmt.Sprintf("interrupted: %s", text)
	case errors.As(err, &rule):
		return fmt.Sprintf("this is no package that LangBot installs: %s. Mend it and try again.", text)
	case errors.Is(err, langbot.ErrOutcomeUnknown):
		return fmt.Sprintf("%s. Look at LangBot's list of plugins before trying again.", text)
	case errors.As(err, &failed) && os.Getenv("LANGBOT_API_KEY") != "":
		return fmt.Sprintf("%s. An API key is not told why: use LANGBOT_EMAIL and LANGBOT_PASSWORD, or read LangBot's log.", text)
	case errors.As(err, &failed):
		return fmt.Sprintf("%s. LangBot's log has the plugin's own output.", text)
	case errors.Is(err, langbot.ErrUnauthorized):
		return fmt.Sprintf("%s. Check LANGBOT_API_KEY, or LANGBOT_EMAIL and LANGBOT_PASSWORD.", text)
	case errors.As(err, &page):
		return fmt.Sprintf("%s. Check LANGBOT_URL.", text)
	}
	return fmt.Sprintf("%s. Is LangBot running at LANGBOT_URL, and its plugin runtime connected?", text)
}
