package langbot_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/langbottest"
)

// mocked returns a client over httpmock, and the mock.
func mocked(t *testing.T, opts ...langbot.Option) (*langbot.Client, *httpmock.MockTransport) {
	t.Helper()
	mock := httpmock.NewMockTransport()
	client, err := langbot.New("http://langbot.test", append([]langbot.Option{langbot.WithHTTPClient(&http.Client{Transport: mock}),
		langbot.WithUserToken(userToken), langbot.WithRetry(langbot.RetryPolicy{BaseDelay: 1, MaxDelay: 1})}, opts...)...)
	require.NoError(t, err)
	return client, mock
}

func TestLoginFails(t *testing.T) {
	const secret = "correct-horse-battery"
	for name, tt := range map[string]struct {
		responder httpmock.Responder
		is        error
		text      string
		logins    int
	}{
		"unreachable":      {httpmock.NewErrorResponder(errors.New("dial " + secret)), nil, "***", 4},
		"502 page":         {httpmock.NewStringResponder(502, page), langbot.ErrServer, "", 4},
		"wrong password":   {answered(200, `{"code":1,"msg":"Invalid username or password"}`), langbot.ErrUnauthorized, "Invalid username", 1},
		"no local account": {answered(200, `{"code":1,"msg":"请使用 LangBot 账号登录"}`), langbot.ErrUnauthorized, "请使用", 1},
		"second factor":    {answered(401, `{"code":"totp_required","msg":"code please","data":{"challenge_token":"x"}}`), langbot.ErrUnauthorized, "totp_required", 1},
		"too many logins":  {answered(429, `{"code":"blocking_work_capacity_exceeded","msg":"busy"}`), langbot.ErrBusy, "busy", 4},
		"no token":         {answered(200, `{"code":0,"msg":"ok","data":{}}`), nil, "usable token", 1},
		"echo":             {answered(200, `{"code":1,"msg":"bad password `+secret+`"}`), langbot.ErrUnauthorized, "***", 1},
	} {
		t.Run(name, func(t *testing.T) {
			client, mock := mocked(t, langbot.WithLogin("a@b.c", secret))
			mock.RegisterResponder("POST", "/api/v1/user/auth", tt.responder)
			mock.RegisterResponder("GET", "/api/v1/plugins", func(r *http.Request) (*http.Response, error) {
				require.Equal(t, "Bearer "+userToken, r.Header.Get("Authorization"))
				return answered(200, `{"code":0,"data":{"plugins":[]}}`)(r)
			})
			_, err := client.Plugins.List(t.Context())
			require.Error(t, err)
			require.Contains(t, err.Error(), tt.text)
			noSecret(t, err, secret)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
			require.Equal(t, tt.logins, mock.GetCallCountInfo()["POST /api/v1/user/auth"])

			mock.RegisterResponder("POST", "/api/v1/user/auth", answered(200, `{"code":0,"data":{"token":"`+userToken+`"}}`))
			for range 3 { // nothing of the failure is remembered, and the token is
				_, err = client.Plugins.List(t.Context())
				require.NoError(t, err)
			}
			require.Equal(t, 1, mock.GetCallCountInfo()["POST /api/v1/user/auth"], "since the server has recovered")
		})
	}
}

// TestLoginAnswerIsPrivate: what comes back from a login may hold a token, also when it cannot be read.
func TestLoginAnswerIsPrivate(t *testing.T) {
	const fresh = "fresh-token-0123456789"
	for name, responder := range map[string]httpmock.Responder{
		"plain text":   httpmock.NewStringResponder(200, fresh).HeaderSet(http.Header{"Content-Type": {"text/plain"}}),
		"broken JSON":  answered(200, `{"code":0,"data":{"token":"`+fresh+`"`),
		"other status": answered(302, `{"code":0,"data":{"token":"`+fresh+`"}}`),
	} {
		t.Run(name, func(t *testing.T) {
			client, mock := mocked(t, langbot.WithLogin("a@b.c", "correct-horse-battery"))
			mock.RegisterResponder("POST", "/api/v1/user/auth", responder)
			_, err := client.Plugins.List(t.Context())
			var page *langbot.ProtocolError
			require.ErrorAs(t, err, &page)
			require.Empty(t, page.Snippet)
			noSecret(t, err, fresh)
		})
	}
}

// TestInfoNeedsNoLogin: what a server tells anybody is asked without a credential, also where there is one.
func TestInfoNeedsNoLogin(t *testing.T) {
	client, mock := mocked(t, langbot.WithLogin("a@b.c", "correct-horse-battery"))
	mock.RegisterResponder("GET", "/api/v1/system/info", func(r *http.Request) (*http.Response, error) {
		require.Empty(t, r.Header.Get("Authorization"))
		return answered(200, `{"code":0,"data":{"version":"v4.11.2"}}`)(r)
	})
	info, err := client.System.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, "4.11.2", info.Version)
	require.Equal(t, 1, mock.GetTotalCallCount())
}

// TestSecondFactor: what an account with one needs is told, and hidden from every text.
func TestSecondFactor(t *testing.T) {
	const challenge = "challenge-0123456789"
	client, mock := mocked(t, langbot.WithLogin("a@b.c", "correct-horse-battery"))
	mock.RegisterResponder("POST", "/api/v1/user/auth", answered(401, `{"code":"totp_required","msg":"TOTP required","data":{"challenge_token":"`+challenge+`"}}`))
	_, err := client.Plugins.Delete(t.Context(), demo, langbot.DeleteOptions{})
	var wanted *langbot.TOTPError
	require.ErrorAs(t, err, &wanted)
	require.Equal(t, challenge, wanted.Challenge)
	require.ErrorIs(t, err, langbot.ErrUnauthorized)
	require.NotErrorIs(t, err, langbot.ErrOutcomeUnknown)
	noSecret(t, err, challenge)
	require.NotContains(t, fmt.Sprintf("%#v", err), challenge)
	require.Equal(t, 1, mock.GetTotalCallCount())
}

// answered is a responder with LangBot's content type.
func answered(status int, body string) httpmock.Responder {
	return httpmock.NewStringResponder(status, body).HeaderSet(http.Header{"Content-Type": {"application/json"}})
}

// TestOneLoginForMany: a hundred callers that need a token at once, and again when it is revoked.
func TestOneLoginForMany(t *testing.T) {
	srv := langbottest.New(t)
	client, err := langbot.New(srv.URL, langbot.WithLogin(srv.Email, srv.Password), langbot.WithHTTPClient(srv.Client()))
	require.NoError(t, err)
	for round := 1; round <= 3; round++ {
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := client.Plugins.List(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.Len(t, srv.Calls("POST /api/v1/user/auth"), round)
		srv.RevokeTokens()
	}
}

// TestFailedLoginIsShared: callers that wait for a login that fails do not each make one of their own.
func TestFailedLoginIsShared(t *testing.T) {
	var logins atomic.Int64
	waiting := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		logins.Add(1)
		<-waiting
		writeJSON(w, 200, `{"code":1,"msg":"Invalid username or password"}`)
	}))
	defer srv.Close()
	client, err := langbot.New(srv.URL, langbot.WithLogin("a@b.c", "wrong-password"))
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	var started, wg sync.WaitGroup
	started.Add(20)
	for range 20 {
		wg.Go(func() {
			started.Done()
			_, err := client.Plugins.List(t.Context())
			if !errors.Is(err, langbot.ErrUnauthorized) {
				t.Error(err)
			}
		})
	}
	started.Wait()
	close(waiting)
	wg.Wait()
	require.Less(t, logins.Load(), int64(20))
}

// TestRenewal: a refused token is renewed once, and the request sent once more, whatever it does.
func TestRenewal(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			var asked []string
			client, mock := mocked(t, langbot.WithTokenSource(func(_ context.Context, refused string) (string, error) {
				asked = append(asked, refused)
				if refused != "" {
					return userToken + "2", nil
				}
				return userToken + "1", nil
			}))
			var sent []string
			responder := func(r *http.Request) (*http.Response, error) {
				sent = append(sent, r.Header.Get("Authorization"))
				if r.Body != nil {
					_, _ = io.Copy(io.Discard, r.Body)
				}
				if strings.HasSuffix(r.Header.Get("Authorization"), "1") {
					return answered(401, `{"code":"invalid_authentication","msg":"expired"}`)(r)
				}
				return answered(200, `{"code":0,"data":{"plugins":[],"task_id":1}}`)(r)
			}
			mock.RegisterNoResponder(responder)
			require.NoError(t, call(t, client))
			require.Equal(t, []string{"Bearer " + userToken + "1", "Bearer " + userToken + "2"}, sent)
		})
	}
	t.Run("still refused", func(t *testing.T) {
		for _, again := range []string{"other-token", "the-token"} {
			client, mock := mocked(t, langbot.WithTokenSource(func(_ context.Context, refused string) (string, error) {
				if refused != "" {
					return again, nil
				}
				return "the-token", nil
			}))
			mock.RegisterNoResponder(answered(401, `{"code":"invalid_authentication","msg":"no"}`))
			_, err := client.Plugins.List(t.Context())
			require.ErrorIs(t, err, langbot.ErrUnauthorized)
			require.Equal(t, map[string]int{"other-token": 2, "the-token": 1}[again], mock.GetTotalCallCount())
		}
	})
	t.Run("the source fails", func(t *testing.T) {
		client, mock := mocked(t, langbot.WithTokenSource(func(context.Context, string) (string, error) { return "", io.ErrUnexpectedEOF }))
		_, err := client.Plugins.List(t.Context())
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.ErrorContains(t, err, "GET /api/v1/plugins")
		require.Zero(t, mock.GetTotalCallCount())
	})
	t.Run("a key is not renewed", func(t *testing.T) {
		client, mock := mocked(t, langbot.WithAPIKey("lbk_key"))
		mock.RegisterNoResponder(answered(401, `{"code":"invalid_authentication","msg":"no"}`))
		_, err := client.Plugins.List(t.Context())
		require.ErrorIs(t, err, langbot.ErrUnauthorized)
		require.Equal(t, 1, mock.GetTotalCallCount())
	})
}

// TestOddCredentials: a key may be any text that a header can carry; what cannot be sent is refused without repeating it.
func TestOddCredentials(t *testing.T) {
	for name, tt := range map[string]struct {
		key  string
		sent string // empty: refused
	}{
		"a file's newline": {"lbk_x\n", "Bearer lbk_x"},
		"blanks around":    {" \tlbk_x ", "Bearer lbk_x"},
		"a blank inside":   {"my key", "Bearer my key"},
		"no prefix":        {"k", "Bearer k"},
		"not ASCII":        {"schlüssel-geheim", ""},
		"a line inside":    {"lbk_secret\r\nX-Evil: 1", ""},
		"a control sign":   {"lbk_secret\x00", ""},
		"empty":            {"", ""},
		"only blanks":      {" \n", ""},
		"9 KB":             {strings.Repeat("secret-key", 900), ""},
		"8 KB":             {strings.Repeat("k", 8192), "Bearer " + strings.Repeat("k", 8192)},
	} {
		t.Run(name, func(t *testing.T) {
			sent := ""
			responder := func(r *http.Request) (*http.Response, error) {
				sent = r.Header.Get("Authorization")
				return answered(200, `{"code":0,"data":{"plugins":[]}}`)(r)
			}
			mock := httpmock.NewMockTransport()
			mock.RegisterNoResponder(responder)
			httpClient := langbot.WithHTTPClient(&http.Client{Transport: mock})
			fixed, errFixed := langbot.New("http://langbot.test", httpClient, langbot.WithAPIKey(tt.key))
			source, err := langbot.New("http://langbot.test", httpClient, langbot.WithTokenSource(func(context.Context, string) (string, error) { return tt.key, nil }))
			require.NoError(t, err)
			_, errSource := source.Plugins.List(t.Context())
			if tt.sent != "" {
				require.NoError(t, errSource)
				require.Equal(t, tt.sent, sent)
				require.NoError(t, errFixed)
				_, err = fixed.Plugins.List(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.sent, sent)
				return
			}
			for _, err := range []error{errFixed, errSource} {
				require.ErrorIs(t, err, langbot.ErrInvalid)
				if tt.key != "" && strings.TrimSpace(tt.key) != "" {
					noSecret(t, err, strings.TrimSpace(tt.key))
				}
			}
			require.Zero(t, mock.GetTotalCallCount())
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for _, base := range []string{"", "langbot:5300", "//host", "ftp://host", "http://", "http://user:secret-pw@host", "http://host?x=1", "http://host/#a",
		"http://host/api/v1", "http://host/api/v1/", "http://[::1", "http://ho st"} {
		_, err := langbot.New(base)
		require.ErrorIs(t, err, langbot.ErrInvalid, base)
		noSecret(t, err, "secret-pw")
	}
	for name, opt := range map[string]langbot.Option{
		"nil client":     langbot.WithHTTPClient(nil),
		"nil source":     langbot.WithTokenSource(nil),
		"no password":    langbot.WithLogin("a@b.c", ""),
		"no e-mail":      langbot.WithLogin(" ", "x"),
		"empty token":    langbot.WithUserToken(""),
		"bad workspace":  langbot.WithWorkspace("a\nb"),
		"no workspace":   langbot.WithWorkspace(""),
		"bad agent":      langbot.WithUserAgent("a\nb"),
		"retry":          langbot.WithRetry(langbot.RetryPolicy{Attempts: -1}),
		"polling":        langbot.WithPolling(langbot.Polling{Settle: -1}),
		"response bytes": langbot.WithMaxResponseBytes(0),
		"upload bytes":   langbot.WithMaxUploadBytes(-1),
	} {
		_, err := langbot.New("http://langbot.test", opt)
		require.ErrorIs(t, err, langbot.ErrInvalid, name)
		client, err := langbot.New("http://langbot.test")
		require.NoError(t, err)
		_, err = client.With(opt)
		require.ErrorIs(t, err, langbot.ErrInvalid, name)
	}
}

// TestWith: a derived client shares the connections and leaves the first as it was.
func TestWith(t *testing.T) {
	var seen []string
	client, mock := mocked(t, langbot.WithAPIKey("first-key"), nil)
	mock.RegisterNoResponder(func(r *http.Request) (*http.Response, error) {
		seen = append(seen, fmt.Sprint(r.Header.Get("Authorization"), " ", r.Header.Get("X-Workspace-Id"), " ", r.Header.Get("User-Agent")))
		return answered(200, `{"code":0,"data":{"plugins":[]}}`)(r)
	})
	other, err := client.With(langbot.WithAPIKey("second-key"), langbot.WithWorkspace("w"), langbot.WithUserAgent("test/1"))
	require.NoError(t, err)
	for _, c := range []*langbot.Client{client, other, client} {
		_, err := c.Plugins.List(t.Context())
		require.NoError(t, err)
	}
	require.Equal(t, []string{"Bearer first-key  langbot-go", "Bearer second-key w test/1", "Bearer first-key  langbot-go"}, seen)
}

// TestOneLoginForOneWrongPassword: looking at tasks first does not try the password again and again.
func TestOneLoginForOneWrongPassword(t *testing.T) {
	for name, call := range everyMethod {
		switch name {
		case "System.Info", "System.WaitReady", "Call", "Plugins.InstallGitHub": // the last looks at the release first
			continue
		}
		client, mock := mocked(t, langbot.WithLogin("a@b.c", "wrong-password"))
		mock.RegisterNoResponder(answered(200, `{"code":1,"msg":"Invalid username or password"}`))
		require.ErrorIs(t, call(t.Context(), client), langbot.ErrUnauthorized, name)
		require.Equal(t, 1, mock.GetTotalCallCount(), name)
	}
}

// TestHTTPClientIsCopied: what its owner does to it later changes nothing.
func TestHTTPClientIsCopied(t *testing.T) {
	mock := httpmock.NewMockTransport()
	mock.RegisterNoResponder(answered(200, `{"code":0,"data":{"plugins":[]}}`))
	owned := &http.Client{Transport: mock}
	client, err := langbot.New("http://langbot.test", langbot.WithHTTPClient(owned), langbot.WithUserToken(userToken))
	require.NoError(t, err)
	owned.Timeout, owned.Transport = 1, nil
	_, err = client.Plugins.List(t.Context())
	require.NoError(t, err)
	require.Nil(t, owned.CheckRedirect)
}
