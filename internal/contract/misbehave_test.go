package contract

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot/langbottest"
)

// The ways in which a server may misbehave. A suite that does not notice them proves nothing.
const (
	successWithoutEffect = "success without effect"
	lostAnswer           = "lost answer"
	htmlAnswers          = "200 HTML"
	wrongVersion         = "wrong version installed"
	endlessTask          = "endless task"
	otherTask            = "task of another id"
)

// newest is the release whose reference servers misbehave.
const newest = "4.11.2"

// TestSuiteNotices runs each case against reference servers that misbehave in turn. Those that are about it must fail.
func TestSuiteNotices(t *testing.T) {
	if *real != "" {
		t.Skip("real releases are asked for")
	}
	for _, c := range cases {
		for _, how := range c.broken {
			for _, credential := range c.credentials() {
				t.Run(c.name+"/"+how+"/"+credential, func(t *testing.T) {
					t.Parallel()
					spoilt := misbehaving(t, how)
					if spoilt.patience > 0 {
						healthy := reference(t, newest, usual)
						healthy.patience = spoilt.patience
						require.Empty(t, c.runOn(t.Context(), healthy, credential).failures, "the case needs more patience by itself")
					}
					failures := c.runOn(t.Context(), spoilt, credential).failures
					require.NotEmpty(t, failures, "the case does not notice: %s", how)
					require.NotContains(t, strings.Join(failures, "\n"), "panic:")
				})
			}
		}
	}
}

// TestSuiteCovers wants every misbehaviour to be noticed by some case.
func TestSuiteCovers(t *testing.T) {
	for _, how := range []string{successWithoutEffect, lostAnswer, htmlAnswers, wrongVersion, endlessTask, otherTask} {
		require.True(t, slices.ContainsFunc(cases, func(c testCase) bool { return slices.Contains(c.broken, how) }), how)
	}
}

// misbehaving is a reference server that is wrong in one way.
func misbehaving(t *testing.T, how string) *target {
	x := reference(t, newest, usual)
	srv := x.reference
	switch how {
	case successWithoutEffect:
		srv.On(langbottest.AnyInstall, langbottest.Script{End: langbottest.SucceedWithoutEffect})
		srv.On("DELETE /api/v1/plugins/{author}/{name}", langbottest.Script{End: langbottest.SucceedWithoutEffect})
		x.fixed = true
	case endlessTask:
		srv.On(langbottest.AnyInstall, langbottest.Script{End: langbottest.Hang})
		srv.On("DELETE /api/v1/plugins/{author}/{name}", langbottest.Script{End: langbottest.Hang})
		x.fixed, x.patience = true, 2500*time.Millisecond
	default:
		x.behind(t, how)
	}
	return x
}

// behind puts a proxy before the server, which spoils its answers.
func (x *target) behind(t *testing.T, how string) {
	backend, err := url.Parse(x.url)
	require.NoError(t, err)
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(backend) },
		ModifyResponse: func(r *http.Response) error { return spoil(r, how) },
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	})
	t.Cleanup(proxy.Close)
	x.url = proxy.URL
}

var taskNumber = regexp.MustCompile(`"id":(\d+)`)

func spoil(r *http.Response, how string) error {
	creates := r.Request.Method == http.MethodDelete || r.Request.Method == http.MethodPost && strings.Contains(r.Request.URL.Path, "/install/")
	switch {
	case how == lostAnswer && creates:
		return io.ErrUnexpectedEOF
	case how == htmlAnswers:
		return replace(r, func([]byte) []byte {
			r.StatusCode = http.StatusOK
			r.Header.Set("Content-Type", "text/html")
			return []byte("<!doctype html><title>LangBot</title>")
		})
	case how == wrongVersion && strings.HasPrefix(r.Request.URL.Path, "/api/v1/plugins"):
		return replace(r, func(b []byte) []byte {
			return regexp.MustCompile(`"version":"[^"]*"`).ReplaceAll(b, []byte(`"version":"0.0.9"`))
		})
	case how == otherTask && strings.HasPrefix(r.Request.URL.Path, "/api/v1/system/tasks/"):
		return replace(r, func(b []byte) []byte { return taskNumber.ReplaceAll(b, []byte(`"id":7`)) })
	}
	return nil
}

func replace(r *http.Response, change func([]byte) []byte) error {
	old, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	body := change(old)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Del("Content-Length")
	return nil
}
