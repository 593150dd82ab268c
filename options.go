// Options: how a Client is set up.

package langbot

import (
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// An Option changes how a [Client] works. Options are checked by [New] and [Client.With]; a bad one is [ErrInvalid]. Of
// several that set the same thing, the last counts; so it does of credentials.
type Option func(*settings) error

// settings is everything a Client was told. It never changes once the Client exists.
type settings struct {
	base        *url.URL
	server      string // base as text
	http        *http.Client
	credential  *credential
	unsent      *credential // not to be sent, and not to be shown either
	workspace   string
	userAgent   []string // a header's value
	logger      *slog.Logger
	retry       RetryPolicy
	polling     Polling
	maxResponse int64
	maxUpload   int64
}

const (
	defaultMaxResponse = 32 << 20
	defaultMaxUpload   = 10 << 20 // of the whole request body, every release since 4.5.0
)

// RetryPolicy bounds how a call is repeated. What may be repeated is not up to it: a request that changes something is
// sent again only if the server provably did not take the first one. A zero field means its default.
type RetryPolicy struct {
	Attempts       int           // requests a call at most; default 4; 1 never repeats
	BaseDelay      time.Duration // back-off is random up to BaseDelay, doubling each time; default 250 ms
	MaxDelay       time.Duration // of one back-off without a hint of the server; default 5 s
	MaxWait        time.Duration // of all waits of one call; default 30 s. A longer Retry-After is not waited for
	AttemptTimeout time.Duration // of one request with its answer; default 60 s; uploads get their size at 64 KiB/s more
}

func (p RetryPolicy) withDefaults() RetryPolicy {
	orDefault(&p.Attempts, 4)
	orDefault(&p.BaseDelay, 250*time.Millisecond)
	orDefault(&p.MaxDelay, 5*time.Second)
	orDefault(&p.MaxWait, 30*time.Second)
	orDefault(&p.AttemptTimeout, 60*time.Second)
	return p
}

// Polling sets the pace and the patience of everything that waits: [Operation.Wait], [Operation.Events], both WaitReady,
// Ensure and EnsureAbsent, UpdateConfig, FollowLogs. A wait polls at once, then after a tenth of the time already waited,
// within the bounds given. A zero field means its default.
type Polling struct {
	Interval    time.Duration // the shortest pause between two polls, give or take a tenth; default 500 ms
	MaxInterval time.Duration // the longest, give or take a tenth; default 5 s
	Tolerance   time.Duration // of polls that fail one after another, from the first one's start, before the wait ends; default 30 s
	Settle      time.Duration // from a task's success until its effect must show; default 30 s

	// Hidden bounds watching without a task of ours to ask: both WaitReady, UpdateConfig, Wait while tasks are hidden, and
	// Ensure while operations that may be on the plugin go on; default 5 min.
	Hidden time.Duration
}

func (p Polling) withDefaults() Polling {
	orDefault(&p.Interval, 500*time.Millisecond)
	orDefault(&p.MaxInterval, 5*time.Second)
	orDefault(&p.Tolerance, 30*time.Second)
	orDefault(&p.Settle, 30*time.Second)
	orDefault(&p.Hidden, 5*time.Minute)
	p.MaxInterval = max(p.MaxInterval, p.Interval)
	return p
}

func orDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// WithHTTPClient sends through c, which is copied and never changed. Its Timeout bounds each attempt, its CheckRedirect
// is not used: redirects are never followed. Do not give it a RoundTripper that retries by itself, since that repeats
// what must not be repeated. Default: a client of its own over [NewTransport].
func WithHTTPClient(c *http.Client) Option {
	return func(s *settings) error {
		if c == nil {
			return invalid("WithHTTPClient(nil)")
		}
		copied := *c
		s.http = &copied
		return nil
	}
}

// WithWorkspace names the workspace to work in, by its id, on a server that has several. Servers that authenticate an
// API key ignore it: a key belongs to one workspace. Default: the server's choice.
func WithWorkspace(id string) Option {
	return func(s *settings) error {
		if !validHeader(id) || id == "" {
			return invalid("WithWorkspace: the id must be printable ASCII")
		}
		s.workspace = id
		return nil
	}
}

// WithUserAgent sets the User-Agent header. Default: "langbot-go".
func WithUserAgent(name string) Option {
	return func(s *settings) error {
		if !validHeader(name) || name == "" {
			return invalid("WithUserAgent: the name must be printable ASCII")
		}
		s.userAgent = []string{name}
		return nil
	}
}

// WithLogger logs each call and each repetition at level Debug: method and path template (the path itself of
// [Client.Call]), status, attempts, duration and the kind of failure; never a header, a body, a query or a credential. Default,
// and nil: no log.
func WithLogger(l *slog.Logger) Option {
	return func(s *settings) error {
		s.logger = l
		return nil
	}
}

// WithRetry sets how calls are repeated.
func WithRetry(p RetryPolicy) Option {
	return func(s *settings) error {
		if p.Attempts < 0 || p.BaseDelay < 0 || p.MaxDelay < 0 || p.MaxWait < 0 || p.AttemptTimeout < 0 {
			return invalid("WithRetry: a negative field")
		}
		s.retry = p.withDefaults()
		return nil
	}
}

// WithPolling sets the pace and patience of waits.
func WithPolling(p Polling) Option {
	return func(s *settings) error {
		if p.Interval < 0 || p.MaxInterval < 0 || p.Tolerance < 0 || p.Settle < 0 || p.Hidden < 0 {
			return invalid("WithPolling: a negative field")
		}
		s.polling = p.withDefaults()
		return nil
	}
}

// WithMaxResponseBytes bounds an answer, unpacked. A larger one is an error. Default: 32 MiB.
func WithMaxResponseBytes(n int64) Option {
	return func(s *settings) error {
		if n <= 0 {
			return invalid("WithMaxResponseBytes(%d)", n)
		}
		s.maxResponse = n
		return nil
	}
}

// WithMaxUploadBytes sets the server's limit of a whole request body. A larger upload is [ErrTooLarge] before anything
// is sent. Default: 10 MiB, which every release since 4.5.0 has built in; a proxy may allow less.
func WithMaxUploadBytes(n int64) Option {
	return func(s *settings) error {
		if n <= 0 {
			return invalid("WithMaxUploadBytes(%d)", n)
		}
		s.maxUpload = n
		return nil
	}
}

// NewTransport returns the transport that a [Client] uses by default, to be wrapped or shared: many clients over one
// transport share its connections. It honours HTTP_PROXY, HTTPS_PROXY and NO_PROXY: inside a container network name
// LangBot's host in NO_PROXY, or set Proxy to nil. Idle connections close after 4 s, before LangBot closes them at 5 s:
// a request that meets that moment would be lost.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   100,
		IdleConnTimeout:       4 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}

// parseBase checks a base URL. A path prefix stays: LangBot may live behind a proxy under one.
func parseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	switch {
	case err != nil:
		return nil, invalid("the base URL cannot be parsed") // its text may hold a password
	case u.User != nil:
		return nil, invalid("the base URL holds credentials: pass them as an option")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, invalid("the base URL must begin with http:// or https://")
	case u.Hostname() == "":
		return nil, invalid("the base URL names no host")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, invalid("the base URL must have neither query nor fragment")
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	if strings.HasSuffix(path, "/api/v1") {
		return nil, invalid("the base URL ends in /api/v1: leave that out")
	}
	u.RawPath = path
	u.Path, _ = url.PathUnescape(path) // EscapedPath is valid
	return u, nil
}

// validHeader reports whether s can be sent as a header's value as it is: printable ASCII without outer blanks.
func validHeader(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s == strings.TrimSpace(s)
}
