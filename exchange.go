// One request and its answer: credential, body, transport, envelope, error.

package langbot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/langbot-go/langbot/internal/envelope"
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
	body, err := newBody(in)
	if err != nil {
		return nil, invalid("%s: the body is no JSON: %v", x.route.pattern, err)
	}
	if x.secrets[1], err = x.token(ctx, ""); err != nil {
		return nil, err
	}
	answer, err := x.attempt(ctx, x.secrets[1], &body)
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
	if x.route.single {
		policy.Attempts = 1
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
		Timeout:    s.attemptTimeout() + body.extraTime(),
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
	if x.route.effect == repeatable || result.Unsent {
		return nil, x.masked(&callError{op: x.route.pattern, attempts: x.attempts, ours: ctx.Err() != nil, err: err})
	}
	if body.form != nil && ctx.Err() == nil {
		if refused := x.earlyRefusal(ctx, token); refused != nil {
			return refused, nil
		}
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
// bad one before it has read the body, and its answer often gets lost with the connection. That the credential may not
// read says nothing of whether it may install.
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

// read turns the answer into data or the error it stands for.
func read[T any](x *request, a *transport.Answer) (T, error) {
	var zero T
	if !isJSON(a.Header) {
		return zero, x.notAPI(a, nil)
	}
	e, err := envelope.Decode[T](a.Body())
	switch {
	case e.Code == "":
		return zero, x.notAPI(a, err)
	case !e.OK():
		return zero, x.verdict(a, x.apiError(a, string(e.Code), string(e.Message), string(e.RequestID)))
	case a.Status >= 300:
		return zero, x.notAPI(a, fmt.Errorf("code 0 with status %d", a.Status))
	case err != nil:
		return zero, x.notAPI(a, err)
	}
	if data, ok := any(&e.Data).(interface{ missing() string }); ok && data.missing() != "" {
		return zero, x.notAPI(a, errors.New("the answer holds no "+data.missing()))
	}
	if told, ok := any(&e.Data).(interface{ mask(func(string) string) }); ok {
		hide := x.secrets
		told.mask(hide.mask)
	}
	return e.Data, nil
}

func isJSON(h http.Header) bool {
	contentType := h.Get("Content-Type")
	if contentType == "application/json" { // what every LangBot sends
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
}

// refused is the error of an answer that said no.
func (x *request) refused(a *transport.Answer) error {
	_, err := read[struct{}](x, a)
	return err
}

// verdict tells refusals from failures after which a change may have happened all the same.
func (x *request) verdict(a *transport.Answer, err error) error {
	if x.route.effect == repeatable || answeredForGood(a) {
		return err
	}
	return x.unknown(err)
}

// answeredForGood reports whether an answer, if LangBot gave it, says how a change ended. Gateways have many numbers for
// not knowing what became of a request; LangBot fails with 500.
func answeredForGood(a *transport.Answer) bool {
	switch {
	case a.Status == http.StatusRequestTimeout:
		return false
	case a.Status == http.StatusServiceUnavailable:
		return a.RetryAfter >= 0
	}
	return a.Status <= http.StatusInternalServerError
}

func (x *request) apiError(a *transport.Answer, code, message, requestID string) error {
	if requestID == "" {
		requestID = a.Header.Get("X-Request-Id")
	}
	return &APIError{
		StatusCode: a.Status,
		Code:       shortened(x.mask(code)),
		Message:    shortened(x.mask(message)),
		RequestID:  shortened(x.mask(requestID)),
		Op:         x.route.pattern,
		Attempts:   x.attempts,
		RetryAfter: max(a.RetryAfter, 0),
		class:      classOf(x.route.endpoint, a.Status, code, message),
	}
}

// notAPI is the error of an answer that is no envelope. To a request that changes something a success, or a failure of
// the server, leaves the outcome open; a refusal or a redirect does not.
func (x *request) notAPI(a *transport.Answer, cause error) error {
	err := &ProtocolError{
		StatusCode:  a.Status,
		ContentType: shortened(x.mask(a.Header.Get("Content-Type"))),
		Snippet:     snippet(x.mask(string(a.Body()[:min(len(a.Body()), 16<<10)]))),
		Hint:        shortened(x.mask(x.hint(a))),
		Op:          x.route.pattern,
		Attempts:    x.attempts,
		RetryAfter:  max(a.RetryAfter, 0),
		class:       classOfStatus(a.Status),
		err:         x.masked(cause),
	}
	if x.route.effect == once && (a.Status < 300 || a.Status == http.StatusInternalServerError || !answeredForGood(a)) {
		return x.unknown(err)
	}
	return err
}

// hint says what an answer that is no envelope probably means.
func (x *request) hint(a *transport.Answer) string {
	isPage := strings.HasPrefix(a.Header.Get("Content-Type"), "text/html")
	switch {
	case a.Status >= 300 && a.Status < 400:
		return x.redirectHint(a.Header.Get("Location"))
	case a.Status == http.StatusProxyAuthRequired:
		return "a proxy wants its own credentials: name LangBot's host in NO_PROXY, or pass a client without Proxy"
	case a.Status == http.StatusBadGateway, a.Status == http.StatusServiceUnavailable, a.Status == http.StatusGatewayTimeout:
		return "a proxy does not reach LangBot: is it running, and is HTTP_PROXY meant to be used for it (NO_PROXY)?"
	case a.Status == http.StatusRequestEntityTooLarge:
		return "a proxy refused the size of the upload: raise its limit"
	case a.Status == http.StatusNotFound || a.Status == http.StatusMethodNotAllowed:
		return "there is no such route: is the base URL that of LangBot, and does this release have the route?"
	case isPage && a.Status == http.StatusOK:
		return "it is a web page: is the base URL that of LangBot itself?"
	case len(a.Body()) == 0:
		return "the answer is empty"
	case isJSON(a.Header):
		return "the JSON is broken or has another shape"
	}
	return "is the base URL that of LangBot?"
}

// redirectHint names the place without a query, which may hold anything.
func (x *request) redirectHint(location string) string {
	u, err := url.Parse(location)
	if err != nil || location == "" {
		return "it is a redirect, which is never followed"
	}
	asked := x.route.url(x.client.settings.base)
	target := asked.ResolveReference(u)
	base := strings.TrimSuffix(target.EscapedPath(), x.route.path)
	return fmt.Sprintf("it redirects to %s://%s, which is never followed: use %s://%s%s as base URL",
		target.Scheme, target.Host, target.Scheme, target.Host, strings.TrimRight(base, "/"))
}

// snippet is the printable beginning of a text, which has been masked: half a secret is not found any more.
func snippet(text string) string {
	text = strings.ToValidUTF8(text, "")
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	return cutTo(text, 200)
}

// shortened bounds what an error keeps of a server's text.
func shortened(text string) string { return cutTo(text, 2000) }

func cutTo(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

func (x *request) mask(text string) string { return x.secrets.mask(text) }

type secrets [3]string

// mask takes the secrets out of text that came from outside. Short ones stay: masking a key "k" would leave nothing
// readable, and nothing hidden.
func (s secrets) mask(text string) string {
	for _, secret := range s {
		if len(secret) >= 8 && strings.Contains(text, secret) {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}

// masked is err, or what is left of it when its text holds a secret.
func (x *request) masked(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if masked := x.mask(text); masked != text {
		return &maskedError{text: masked, err: err}
	}
	return err
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
