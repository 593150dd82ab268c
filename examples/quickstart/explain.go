package main

import (
	"context"
	"errors"
	"fmt"
	"os"

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
		return fmt.Sprintf("interrupted: %v", err)
	case errors.As(err, &rule):
		return fmt.Sprintf("this is no package that LangBot installs: %v. Mend it and try again.", err)
	case errors.Is(err, langbot.ErrOutcomeUnknown):
		return fmt.Sprintf("%v. Look at LangBot's list of plugins before trying again.", err)
	case errors.As(err, &failed) && os.Getenv("LANGBOT_API_KEY") != "":
		return fmt.Sprintf("%v. An API key is not told why: use LANGBOT_EMAIL and LANGBOT_PASSWORD, or read LangBot's log.", err)
	case errors.As(err, &failed):
		return fmt.Sprintf("%v. LangBot's log has the plugin's own output.", err)
	case errors.Is(err, langbot.ErrUnauthorized):
		return fmt.Sprintf("%v. Check LANGBOT_API_KEY, or LANGBOT_EMAIL and LANGBOT_PASSWORD.", err)
	case errors.As(err, &page):
		return fmt.Sprintf("%v. Check LANGBOT_URL.", err)
	}
	return fmt.Sprintf("%v. Is LangBot running at LANGBOT_URL, and its plugin runtime connected?", err)
}
