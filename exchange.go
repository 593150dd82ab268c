// One request and its answer: credential, body, transport. What the answer means is in answer.go.

package langbot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/langbot-go/langbot/internal/transport"
	"github.com/langbot-go/langbot/internal/upload"
)

// exchange is call with the answer's header.
func exchange[T any](ctx context.Context, c *Client, r route, in any) (data T, header http.Header, err error) {
	x := &request{client: c, route: r, started: time.Now()}
	x.secrets[0] = r.hide
	answer, err := x.send(ctx, in)
	defer answer.Release()
	if err == nil {
		data, err = read[T](x, answer)
		header = answer.Header
	}
	x.log(ctx, answer, err)
	return data, header, err
}

// A request is one call on its way.
type request struct {
	client   *Client
	route    route
	started  time.Time
	sent     time.Time // when the last attempt began, for OutcomeUnknownError
	attempts int
	secrets  secrets // what must not show in any error: one in the body, and the tokens sent
}

// send gets the answer to the request, whatever it says. After a refused credential that can be renewed it is sent once
// more: the server did not run it.
func (x *request) send(ctx context.Context, in any) (*transport.Answer, error) {
	if c := x.client.settings.unsent; c != nil && c.sent.Load() != nil {
		x.secrets[1] = c.sent.Load().token
	}
	body, err := newBody(in)
	if err != nil {
		return nil, invalid("%s: the body is no JSON: %v", x.route.pattern, err)
	}
	token, err := x.token(ctx, "")
	if err != nil {
		return nil, err
	}
	if token != "" {
		x.secrets[1] = token
	}
	answer, err := x.attempt(ctx, token, &body)
	if err != nil || answer.Status != http.StatusUnauthorized || !x.renewable() {
		return answer, err
	}
	if x.secrets[2], err = x.token(ctx, x.secrets[1]); err != nil || x.secrets[2] == x.secrets[1] {
		return answer, err
	}
	answer.Release()
	return x.attempt(ctx, x.secrets[2], &body)
}

func (x *request) renewable() bool {
	return x.client.settings.credential != nil && x.client.settings.credential.renewable
}

func (x *request) token(ctx context.Context, refused string) (string, error) {
	cred := x.client.settings.credential
	if cred == nil {
		return "", nil
	}
	token, err := cred.token(ctx, x.client, refused)
	if err != nil {
		return "", x.wrap(err)
	}
	return token, nil
}

// wrap adds the operation to a failure before the request, and keeps errors of this package as they are.
func (x *request) wrap(err error) error {
	var api *APIError
	var protocol *ProtocolError
	var failed *callError
	if errors.As(err, &api) || errors.As(err, &protocol) || errors.As(err, &failed) {
		return err
	}
	return x.masked(&callError{op: x.route.pattern, ours: true, err: err})
}

// attempt sends the request with one token, and repeats it as the policy and the endpoint's effect allow.
func (x *request) attempt(ctx context.Context, token string, body *body) (*transport.Answer, error) {
	s := x.client.settings
	policy := transport.Policy{Attempts: s.retry.Attempts, Base: s.retry.BaseDelay, Cap: s.retry.MaxDelay, MaxWait: s.retry.MaxWait}
	timeout := s.attemptTimeout()
	if x.route.single {
		policy.Attempts = 1
		timeout = min(timeout, s.polling.Tolerance/2) // so that one that stalls does not end the wait
	}
	x.sent = time.Now()
	result, err := x.client.transport.Do(ctx, transport.Request{
		Method:     x.route.method(),
		URL:        x.route.url(s.base),
		Header:     x.header(token, body),
		Bytes:      body.json,
		Body:       body.open,
		Length:     body.length,
		Fatal:      body.fatal(),
		Repeatable: x.route.effect == repeatable,
		Stream:     x.route.stream,
		Timeout:    timeout + body.extraTime(),
		Policy:     policy,
		OnRetry:    logRetries(ctx, s.logger, x.route.pattern),
	})
	x.attempts += result.Attempts
	if err == nil {
		return result.Answer, nil
	}
	return x.unanswered(ctx, token, body, result, err)
}

// attemptTimeout is the tighter one of the policy's and the http.Client's.
func (s *settings) attemptTimeout() time.Duration {
	if s.http.Timeout > 0 {
		return min(s.retry.AttemptTimeout, s.http.Timeout)
	}
	return s.retry.AttemptTimeout
}

func (r route) url(base *url.URL) url.URL {
	u := *base
	u.RawPath = base.EscapedPath() + r.path
	u.Path = u.RawPath
	if strings.IndexByte(u.RawPath, '%') >= 0 {
		u.Path, _ = url.PathUnescape(u.RawPath)
	}
	u.RawQuery = r.query
	return u
}

// What every request says is made once: nobody writes into a header's values.
var (
	acceptJSON = []string{"application/json"}
	sendJSON   = []string{"application/json"}
)

func (x *request) header(token string, body *body) http.Header {
	s := x.client.settings
	h := make(http.Header, 5)
	h["User-Agent"], h["Accept"] = s.userAgent, acceptJSON
	if token != "" {
		h["Authorization"] = s.credential.bearer(token).value
	}
	if s.workspace != "" {
		h["X-Workspace-Id"] = []string{s.workspace}
	}
	if body.contentType != nil {
		h["Content-Type"] = body.contentType
	}
	return h
}

// unanswered decides what a call without an answer means.
func (x *request) unanswered(ctx context.Context, token string, body *body, result transport.Result, err error) (*transport.Answer, error) {
	if failed := body.failure(); failed != nil {
		result.Answer.Release()
		return nil, x.masked(&callError{op: x.route.pattern, attempts: x.attempts, ours: true, err: fmt.Errorf("package %s: %w", x.route.plugin, failed)})
	}
	if ctx.Err() != nil {
		err = withCause(ctx, err)
	}
	if result.Answer != nil { // a refusal that a repetition did not get over
		refusal := x.refused(result.Answer)
		result.Answer.Release()
		err = fmt.Errorf("%w; last answer: %w", err, refusal)
	}
	if body.form != nil && !body.form.Complete() && !result.Unsent && ctx.Err() == nil {
		if refused := x.earlyRefusal(ctx, token); refused != nil {
			return refused, nil
		}
	}
	if x.route.effect == repeatable || result.Unsent {
		return nil, x.masked(&callError{op: x.route.pattern, attempts: x.attempts, ours: ctx.Err() != nil, err: err})
	}
	return nil, x.unknown(err)
}

func withCause(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// earlyRefusal asks whether the credential is the reason why the connection broke during an upload: a server refuses a
// bad one before it has read the body, and its answer often gets lost with the connection. It is asked only if the form
// was not sent to its end: what comes later says nothing of a form that the server may have. That the credential may not
// read says nothing either of whether it may install.
func (x *request) earlyRefusal(ctx context.Context, token string) *transport.Answer {
	s := x.client.settings
	r := getPlugin.at(x.route.plugin.Author, x.route.plugin.Name)
	result, err := x.client.transport.Do(ctx, transport.Request{
		Method:     http.MethodGet,
		URL:        r.url(s.base),
		Header:     x.header(token, &body{}),
		Repeatable: true,
		Timeout:    s.attemptTimeout(),
		Policy:     transport.Policy{Attempts: 1},
	})
	if err == nil && result.Answer.Status == http.StatusUnauthorized {
		return result.Answer
	}
	result.Answer.Release()
	return nil
}

func (x *request) unknown(err error) error {
	return &OutcomeUnknownError{Op: x.route.pattern, Plugin: x.route.plugin, Version: x.route.version, SentAt: x.sent, Err: x.masked(err)}
}

// A body is what a request sends: nothing, JSON, or a form.
type body struct {
	contentType []string
	json        []byte
	form        *upload.Form
	open        func() (io.Reader, error) // of form
	length      int64                     // of form
}

func newBody(in any) (body, error) {
	switch in := in.(type) {
	case nil:
		return body{}, nil
	case *upload.Form:
		return body{contentType: []string{in.ContentType()}, length: in.Len(), open: in.Body, form: in}, nil
	}
	data, err := json.Marshal(in)
	return body{contentType: sendJSON, json: data}, err
}

// failure is the reason why the body itself could not be sent, if that is what went wrong.
func (b *body) failure() error {
	if b.form == nil {
		return nil
	}
	return b.form.Err()
}

// fatal is failure for the transport, which asks before it repeats; nil for a body that cannot fail.
func (b *body) fatal() func() error {
	if b.form == nil {
		return nil
	}
	return b.form.Err
}

// extraTime is what an upload may take beyond the time of an attempt: its size at 64 KiB/s.
func (b *body) extraTime() time.Duration {
	if b.form == nil {
		return 0
	}
	return time.Duration(b.length) * time.Second / (64 << 10)
}
