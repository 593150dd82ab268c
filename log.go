// The log: which fields of a call it shows.

package langbot

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/langbot-go/langbot/internal/transport"
)

// log writes one record a call. Its fields are an allow-list.
func (x *request) log(ctx context.Context, a *transport.Answer, err error) {
	logger := x.client.settings.logger
	if logger == nil || !logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{
		slog.String("op", x.route.pattern),
		slog.Int("attempts", x.attempts),
		slog.Duration("duration", time.Since(x.started)),
	}
	if a != nil {
		attrs = append(attrs, slog.Int("status", a.Status))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", kindOf(err)))
	}
	logger.LogAttrs(ctx, slog.LevelDebug, "langbot call", attrs...)
}

func logRetries(ctx context.Context, logger *slog.Logger, op string) func(transport.Retry) {
	if logger == nil || !logger.Enabled(ctx, slog.LevelDebug) {
		return nil
	}
	return func(r transport.Retry) {
		reason := "status " + strconv.Itoa(r.Status)
		if r.Err != nil {
			reason = "no answer"
		}
		logger.LogAttrs(ctx, slog.LevelDebug, "langbot retry", slog.String("op", op),
			slog.Int("attempt", r.Attempt), slog.Duration("wait", r.Wait), slog.String("reason", reason))
	}
}

// kindOf names an error for the log without repeating anything a server said.
func kindOf(err error) string {
	for _, class := range []error{ErrOutcomeUnknown, ErrUnauthorized, ErrForbidden, ErrNotFound, ErrLimit, ErrTooLarge, ErrBusy,
		ErrServer, ErrInvalid, ErrUnreachable, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, class) {
			return class.Error()
		}
	}
	var protocol *ProtocolError
	if errors.As(err, &protocol) {
		return "not an answer of LangBot's API"
	}
	return "no answer"
}
