// What an answer means: data, a refusal, or no answer of LangBot's API at all; and what an error may show of it.

package langbot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/langbot-go/langbot/internal/envelope"
	"github.com/langbot-go/langbot/internal/transport"
)

// read turns the answer into data or the error it stands for. A refusal may have data too.
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
		return e.Data, x.verdict(a, x.apiError(a, string(e.Code), string(e.Message), string(e.RequestID)))
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
	if strings.Contains(x.route.pattern, " /api/v1/user/") { // there it may hold a token that nobody has seen yet
		err.Snippet, err.err = "", nil
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
		if len(secret) < 8 {
			continue
		}
		for _, form := range written(secret) {
			if strings.Contains(text, form) {
				text = strings.ReplaceAll(text, form, "***")
			}
		}
	}
	return text
}

// written are the forms in which a text may repeat a secret: as it is, in JSON, HTML or a URL.
func written(secret string) []string {
	if !strings.ContainsFunc(secret, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.", r) || r >= 0x80
	}) {
		return []string{secret}
	}
	var plain bytes.Buffer
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(secret)         // a string always is JSON
	escaped, _ := json.Marshal(secret) // likewise
	ascii := strings.Trim(strconv.QuoteToASCII(secret), `"`)
	return []string{secret, strings.Trim(strings.TrimSpace(plain.String()), `"`), strings.Trim(string(escaped), `"`), ascii,
		html.EscapeString(secret), url.QueryEscape(secret), url.PathEscape(secret)}
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
