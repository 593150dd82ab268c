// Errors: what a call can end with, and the classes to ask for with errors.Is.

package langbot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// The classes of errors. Ask for them with [errors.Is]; the types of this package carry the details.
var (
	// ErrUnauthorized: the credential is missing, wrong, expired or revoked.
	ErrUnauthorized = errors.New("not authorized")
	// ErrForbidden: the credential is good, but lacks the permission, or its account has no access to the workspace.
	ErrForbidden = errors.New("forbidden")
	// ErrNotFound: LangBot knows no such plugin (it may be installed and not running, see PluginsService.Get) or task.
	ErrNotFound = errors.New("not found")
	// ErrInvalid: the request cannot be right. Most such errors are found before anything is sent.
	ErrInvalid = errors.New("invalid request")
	// ErrTooLarge: the upload exceeds what the server takes. Found before anything is sent; a proxy that takes less
	// answers 413, which is a *ProtocolError of this class.
	ErrTooLarge = errors.New("too large")
	// ErrBusy: the server refused for now (429, 503), and the retries allowed by RetryPolicy did not help. A 503 without a
	// Retry-After to a request that changes something is ErrOutcomeUnknown first: a gateway may have passed it on.
	ErrBusy = errors.New("server busy")
	// ErrLimit: the server's quota of extensions is used up. It also refuses re-installs.
	ErrLimit = errors.New("extension limit reached")
	// ErrServer: the server failed.
	ErrServer = errors.New("server error")
	// ErrRuntimeAway: the server answers, but its plugin runtime is not connected, and nothing can be done with plugins.
	// It may reconnect by itself once the runtime is back: see SystemService.WaitReady. Such an error is also ErrServer, so
	// ask for this one first. It is only ErrServer where the server cannot be asked: 4.10.7, and behind a proxy that does
	// not pass on /healthz. Up to 4.10.6 what starts a task is accepted, and the task fails.
	ErrRuntimeAway = errors.New("plugin runtime away")
	// ErrUnreachable: no answer came, and nothing was changed: the server was not reached, or a read of it broke off or
	// timed out. The network's error is wrapped: errors.Is(err, syscall.ECONNREFUSED) works.
	ErrUnreachable = errors.New("server not reached")
	// ErrOutcomeUnknown: a request that changes something was sent, and no answer came that says whether it took effect:
	// the connection broke, the context ended, a gateway answered 502 or 504, or a page came with status 200. Look before
	// sending it again. The error is an *OutcomeUnknownError. A page with status 404 or 405, as a wrong base URL gives it,
	// a redirect and a 401 leave nothing open, and are not it. PluginsService.Ensure and EnsureAbsent look, and act if needed.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrTaskLost: the server does not know the task any more: it was restarted, or dropped the finished task.
	// The operation may have succeeded or not. The error is a *WaitError.
	ErrTaskLost = errors.New("task lost")
	// ErrTasksHidden: this server shows its tasks to user tokens only (every release before 4.10.11), and what can be
	// seen with an API key cannot tell how the operation ended. The error is a *WaitError.
	ErrTasksHidden = errors.New("tasks are hidden from API keys on this server")
	// ErrNoEffect: the effect waited for did not show in time: the task succeeded, and the plugin is absent, not
	// initialized, in another version, or still there after a removal; or, of the WaitReady methods, plugins are not up
	// yet. The error is a *WaitError.
	ErrNoEffect = errors.New("the effect asked for did not show")
)

// An APIError is LangBot's refusal of a call. Ask for its class with [errors.Is].
type APIError struct {
	StatusCode int           // HTTP status; 200 is possible, see Code
	Code       string        // the envelope's code; servers send a number or a string
	Message    string        // as sent, in any language: for people, never for comparison
	RequestID  string        // empty unless the server failed (500, from 4.10.7)
	Op         string        // method and path template, as "GET /api/v1/plugins/{author}/{name}"
	Attempts   int           // requests made for this call
	RetryAfter time.Duration // the server's hint; 0: none
	class      error
	hint       string // what was found out about the reason
}

func (e *APIError) Error() string {
	text := fmt.Sprintf("langbot: %s: %s", e.Op, e.Message)
	if e.class != nil {
		text = fmt.Sprintf("langbot: %s: %v: %s", e.Op, e.class, e.Message)
	}
	text += fmt.Sprintf(" (HTTP %d, code %s", e.StatusCode, e.Code)
	if e.RequestID != "" {
		text += ", request id " + e.RequestID
	}
	text += attempts(e.Attempts) + ")"
	if e.hint != "" {
		text += ": " + e.hint
	}
	return text
}

// Is reports whether e belongs to the class target, one of the Err variables of this package.
func (e *APIError) Is(target error) bool {
	return e.class != nil && (target == e.class || e.class == ErrRuntimeAway && target == ErrServer)
}

func attempts(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(", %d attempts", n)
}

// A ProtocolError is an answer that LangBot's API does not give: a proxy's page, the web UI, a redirect, broken JSON.
// It has the same classes as an [APIError], by status; but a page with status 404 is not [ErrNotFound].
type ProtocolError struct {
	StatusCode  int
	ContentType string
	Snippet     string // the first 200 bytes of the body at most, printable
	Hint        string // what is probably wrong and what to do
	Op          string // as in APIError
	Attempts    int
	RetryAfter  time.Duration
	class       error
	err         error
}

func (e *ProtocolError) Error() string {
	text := fmt.Sprintf("langbot: %s: not an answer of LangBot's API: %s (HTTP %d%s)", e.Op, e.Hint, e.StatusCode, attempts(e.Attempts))
	if e.err != nil {
		text += ": " + e.err.Error()
	}
	if e.Snippet != "" {
		text += fmt.Sprintf("; it begins %q", e.Snippet)
	}
	return text
}

// Is reports whether e belongs to the class target, one of the Err variables of this package.
func (e *ProtocolError) Is(target error) bool { return e.class != nil && target == e.class }

// Unwrap returns what the decoder said, if the answer was broken JSON.
func (e *ProtocolError) Unwrap() error { return e.err }

// A TOTPError says that the account of [WithLogin] has a second factor, from LangBot 4.11.0 on: the password was right, and
// a code of the user's authenticator is wanted too. It is [ErrUnauthorized], so ask for it first. A program had better use
// an API key. To log in all the same, ask the user for the code and send it as a string to POST /api/v1/user/totp/verify,
// by [Client.Call] of a client without a credential: the data of the answer hold a "token", for [WithUserToken].
type TOTPError struct {
	Challenge string `json:"-"` // what the server wants to see again, as "challenge_token" beside "user" and "code"; keep it to yourself
	err       *APIError
}

func (e *TOTPError) Error() string {
	return fmt.Sprintf("langbot: %s: the account wants a code of its authenticator too: use an API key, or a token made with the code (HTTP %d, code totp_required)",
		e.err.Op, e.err.StatusCode)
}

// Unwrap returns LangBot's refusal.
func (e *TOTPError) Unwrap() error { return e.err }

// GoString keeps the challenge out of %#v.
func (e *TOTPError) GoString() string { return "&langbot.TOTPError{Challenge:\"***\"}" }

// An OutcomeUnknownError says that a request which changes something was sent and its answer never came, or was none.
// It is [ErrOutcomeUnknown] and wraps the cause. Before sending it again, look whether it took effect or is under way, as
// [PluginsService.Ensure] and [PluginsService.EnsureAbsent] do.
type OutcomeUnknownError struct {
	Op      string    // as in APIError
	Plugin  PluginID  // zero if not known beforehand, as for a GitHub release
	Version string    // empty if not known
	SentAt  time.Time // local time of the attempt
	Err     error     // why no answer came
}

func (e *OutcomeUnknownError) Error() string {
	subject := ""
	if e.Plugin != (PluginID{}) {
		subject = " of " + e.Plugin.String()
		if e.Version != "" {
			subject += " " + e.Version
		}
	}
	return fmt.Sprintf("langbot: %s%s: outcome unknown, sent at %s: look at the plugins and tasks of the server before sending it again: %v",
		e.Op, subject, e.SentAt.Format(time.RFC3339), e.Err)
}

// Is reports whether target is [ErrOutcomeUnknown].
func (e *OutcomeUnknownError) Is(target error) bool { return target == ErrOutcomeUnknown }

// Unwrap returns why no answer came: a network error, the end of the context, or an answer that was none.
func (e *OutcomeUnknownError) Unwrap() error { return e.Err }

// A TaskError says that the operation ran on the server and failed, or was cancelled there (Task.State tells). A plugin
// whose code fails at its start is such a failure from 4.9.7 on. After a failed removal or upgrade it is [ErrNotFound] too
// if the plugin is not there: a user token is told that it is not installed. An API key is not told the reason: after an
// upgrade it learns nothing, and after a removal [ErrNotFound] only means, as everywhere, that the plugin does not run. A TaskError does not show how things stand: a failed
// first installation may leave the plugin's settings behind, which [PluginsService.Delete] removes.
type TaskError struct {
	Task     Task // its Message and Traceback tell why, to a user token; to an API key Message is "Task execution failed"
	notFound bool
}

func (e *TaskError) Error() string {
	text := fmt.Sprintf("langbot: task %d", e.Task.ID)
	if e.Task.Name != "" {
		text += fmt.Sprintf(" (%s)", e.Task.Name)
	}
	if e.Task.State == TaskCancelled {
		return text + " was cancelled"
	}
	message := firstLine(e.Task.Message)
	if message == "" {
		message = "the server gave no reason"
	}
	text += " failed"
	if e.notFound {
		text += ": the plugin is not running, or not installed"
	}
	return text + ": " + message
}

// Is reports whether target is [ErrNotFound], and the plugin to remove or upgrade is not there.
func (e *TaskError) Is(target error) bool { return e.notFound && target == ErrNotFound }

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return cutTo(s, 300)
}

// A WaitError says that watching ended before the end of what was watched, or that there is nothing to see. The
// operation itself may go on. After the end of the context, [ErrUnreachable], [ErrServer], [ErrBusy] or [ErrNoEffect] the
// wait can be taken up again, with [Operation.Wait], or [TasksService.Resume] and [Operation.Token]; or, if it came from
// another method, that can be called again. After the other causes it would end the same way. The class of the cause is the class of the error: ErrUnauthorized here means that the polls were refused, not
// the operation. An attempt that timed out is never context.DeadlineExceeded, so that is always the caller's.
type WaitError struct {
	Task   Task   // as this call saw it last; zero if it did not
	Plugin Plugin // as this call saw it last; zero if it did not, or if it was absent
	Err    error  // why: the end of the context, ErrTaskLost, ErrTasksHidden, ErrNoEffect, or the failure of the last poll
	hint   string
}

func (e *WaitError) Error() string {
	text := "langbot: wait ended: " + e.Err.Error()
	if e.hint != "" {
		text += ": " + e.hint
	}
	if e.Task.State != "" {
		text += fmt.Sprintf(" (task %d was %s", e.Task.ID, e.Task.State)
		if e.Task.Action != "" {
			text += ", " + e.Task.Action
		}
		text += ")"
	}
	return text
}

// Unwrap returns why the wait ended.
func (e *WaitError) Unwrap() error { return e.Err }

// A callError is a call that got no answer and may be made again.
type callError struct {
	op       string
	attempts int
	ours     bool // the context, the credential's source or the package ended it, not the network
	err      error
}

func (e *callError) Error() string {
	text := fmt.Sprintf("langbot: %s: %v", e.op, e.err)
	if e.attempts > 1 {
		text += fmt.Sprintf(" (%d attempts)", e.attempts)
	}
	return text
}

func (e *callError) Unwrap() error { return e.err }

// Is reports whether target is [ErrUnreachable], unless the call ended for a reason of the caller's own.
func (e *callError) Is(target error) bool { return target == ErrUnreachable && !e.ours }

// A maskedError stands for an error whose text held a credential. Only its nature is left.
type maskedError struct {
	text string
	err  error
}

func (e *maskedError) Error() string        { return e.text }
func (e *maskedError) Is(target error) bool { return errors.Is(e.err, target) }

func invalid(format string, args ...any) error {
	return fmt.Errorf("langbot: %w: "+format, append([]any{ErrInvalid}, args...)...)
}

// because is the end of ctx with its cause. ctx must have ended.
func because(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(cause, err) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// classOf is the class of an answer by its status and code. It never looks at the message, but where a comment says so.
func classOf(e endpoint, status int, code, message string) error {
	switch {
	case status < 300:
		if e.class200 != nil {
			return e.class200
		}
		return ErrInvalid
	case status == http.StatusNotFound:
		return notFoundClass(code)
	case status == http.StatusBadRequest && e.limited != nil && code == "-1" && e.limited(message):
		return ErrLimit
	case code == "-2" && strings.HasPrefix(message, "413 "):
		return ErrTooLarge // up to 4.10.6 the text is all there is: truth 4.10.6, 07-local-body-limit-plus-1
	}
	return classOfStatus(status)
}

// notFoundClass knows what a 404 means: -1 is a plugin that does not run, 404 a task that is not there, and
// resource_not_found an account or workspace without access, on every route.
func notFoundClass(code string) error {
	switch code {
	case "-1", "404":
		return ErrNotFound
	case "resource_not_found":
		return ErrForbidden
	}
	return nil
}

func classOfStatus(status int) error {
	switch {
	case status == http.StatusUnauthorized:
		return ErrUnauthorized
	case status == http.StatusForbidden:
		return ErrForbidden
	case status < 400, status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status == http.StatusProxyAuthRequired:
		return nil // says nothing of what was asked for
	case status == http.StatusRequestEntityTooLarge:
		return ErrTooLarge
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable, status == http.StatusRequestTimeout:
		return ErrBusy
	case status >= 500:
		return ErrServer
	}
	return ErrInvalid
}
