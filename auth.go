// Credentials: how a Client proves who it is. All of them travel as "Authorization: Bearer …", which every release from
// 4.6.0 on takes for user tokens and for API keys, and which net/http drops when a redirect leaves the host.

package langbot

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/langbot-go/langbot/internal/envelope"
)

var login = endpoint{pattern: "POST /api/v1/user/auth", effect: repeatable, class200: ErrUnauthorized}

// A credential gives the token of a request. It lies behind pointers, where the %+v of a Client does not reach.
type credential struct {
	// token returns the token to send. refused is the one the server has just refused, or empty.
	token      func(ctx context.Context, c *Client, refused string) (string, error)
	renewable  bool        // token may answer otherwise once told of a refusal
	ofUser     bool        // a user's for certain
	readsTasks atomic.Bool // seen to: the server showed it a task, or that there is none
	sent       atomic.Pointer[bearer]
}

// A bearer is a token as a header's value. The last one is kept: it is nearly always the next.
type bearer struct {
	token  string
	value  []string
	ofUser bool
}

// masked is err, or what is left of it when its text holds the token sent last.
func (c *Client) masked(err error) error {
	var x request
	if cred := c.settings.credential; cred != nil && cred.sent.Load() != nil {
		x.secrets[0] = cred.sent.Load().token
	}
	return x.masked(err)
}

func (c *credential) bearer(token string) *bearer {
	if last := c.sent.Load(); last != nil && last.token == token {
		return last
	}
	b := &bearer{token: token, value: []string{"Bearer " + token}, ofUser: isUserToken(token)}
	c.sent.Store(b)
	return b
}

// WithAPIKey authenticates with an API key, as LangBot's settings page makes them, or with the server's global key.
// White space around it, such as a file's final newline, is dropped; an empty key is [ErrInvalid]. A key sees no reasons of failures, and before
// 4.10.11 no tasks at all: see [ErrTasksHidden]. To find out, a client asks once for task 0 before its first change, and
// where tasks are hidden for the list of plugins before each; that the first fails is the failure of the change.
func WithAPIKey(key string) Option { return withStatic("WithAPIKey", key, false) }

// WithUserToken authenticates with a user's token, as the web UI and /api/v1/user/auth hand it out. It ends after seven
// days by default; [WithLogin] renews by itself.
func WithUserToken(token string) Option { return withStatic("WithUserToken", token, true) }

func withStatic(option, secret string, ofUser bool) Option {
	return func(s *settings) error {
		token, err := cleanToken(secret)
		if err != nil {
			return invalid("%s: %v", option, err)
		}
		s.credential = &credential{ofUser: ofUser, token: func(context.Context, *Client, string) (string, error) { return token, nil }}
		s.credential.bearer(token)
		return nil
	}
}

// WithTokenSource authenticates with what source returns, a user token or an API key. It is called for each request,
// with the token that the server has just refused or with an empty string, and should cache. After a refusal it is asked
// once more, and the request repeated if the answer is another one. It must be safe for concurrent use.
func WithTokenSource(source func(ctx context.Context, refused string) (string, error)) Option {
	return func(s *settings) error {
		if source == nil {
			return invalid("WithTokenSource(nil)")
		}
		s.credential = &credential{renewable: true, token: func(ctx context.Context, _ *Client, refused string) (string, error) {
			raw, err := source(ctx, refused)
			if err != nil {
				return "", err
			}
			token, err := cleanToken(raw)
			if err != nil {
				return "", invalid("the token source: %v", err)
			}
			return token, nil
		}}
		return nil
	}
}

// WithLogin authenticates as a user. The client logs in when it first needs to, keeps the token, and logs in again when
// the server refuses it; callers that need it at the same time share one login. A failed login is not remembered. An
// account with a second factor (from 4.11.0 on) cannot be used so: see [TOTPError].
//
// API: POST /api/v1/user/auth, since LangBot 4.0.0.
func WithLogin(email, password string) Option {
	return func(s *settings) error {
		if strings.TrimSpace(email) == "" || password == "" {
			return invalid("WithLogin: e-mail address and password are both needed")
		}
		session := &session{turn: make(chan struct{}, 1), body: func() loginRequest { return loginRequest{email, password} }}
		s.credential = &credential{renewable: true, ofUser: true, token: session.token}
		return nil
	}
}

type loginRequest struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

// A session is a login in use.
type session struct {
	turn   chan struct{} // held by the caller that logs in
	cached atomic.Pointer[string]
	failed atomic.Pointer[failedLogin]
	body   func() loginRequest
}

// A failedLogin is shared with the callers that were waiting for it.
type failedLogin struct{ err error }

func (s *session) token(ctx context.Context, c *Client, refused string) (string, error) {
	if token := s.cached.Load(); token != nil && *token != refused {
		return *token, nil
	}
	before := s.failed.Load()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return "", because(ctx)
	}
	if token := s.cached.Load(); token != nil && *token != refused {
		return *token, nil
	}
	if now := s.failed.Load(); now != before {
		return "", now.err // the login we were waiting for
	}
	token, err := s.login(ctx, c)
	if err != nil {
		if ctx.Err() == nil {
			s.failed.Store(&failedLogin{err})
		}
		return "", err
	}
	s.cached.Store(&token)
	return token, nil
}

func (s *session) login(ctx context.Context, c *Client) (string, error) {
	body := s.body()
	data, err := call[struct {
		Token     envelope.Loose `json:"token"`
		Challenge envelope.Loose `json:"challenge_token"`
	}](ctx, c.anonymous(), login.at().secret(body.Password), body)
	var refused *APIError
	switch {
	case errors.As(err, &refused) && refused.Code == "totp_required":
		return "", &TOTPError{Challenge: string(data.Challenge), err: refused}
	case err != nil:
		return "", err
	}
	token, err := cleanToken(string(data.Token))
	if err != nil {
		return "", &ProtocolError{StatusCode: 200, Op: login.pattern, Hint: "the login succeeded without a usable token"}
	}
	return token, nil
}

// cleanToken refuses what cannot be sent in a header, without repeating it.
func cleanToken(raw string) (string, error) {
	token := strings.TrimSpace(raw)
	switch {
	case token == "":
		return "", errors.New("the credential is empty")
	case len(token) > 8192:
		return "", errors.New("the credential is longer than 8192 bytes")
	case !validHeader(token):
		return "", errors.New("the credential must be printable ASCII")
	}
	return token, nil
}

// isUserToken tells a user's token from an API key: it is a JWT. A server shows tasks to it in every release.
func isUserToken(token string) bool {
	head, rest, _ := strings.Cut(token, ".")
	if strings.Count(rest, ".") != 1 {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(head)
	return err == nil && strings.HasPrefix(string(raw), "{")
}
