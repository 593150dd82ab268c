// The client: how it is made, and the one way every request takes.

package langbot

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/langbot-go/langbot/internal/transport"
)

// A Client talks to one LangBot server. It is made by [New], never changes, and is safe for concurrent use.
type Client struct {
	Plugins *PluginsService // what is installed, and what can be done to it
	Tasks   *TasksService   // what the server is doing in the background
	System  *SystemService  // what server this is

	settings  *settings
	transport *transport.Client
}

// New returns a client of the server at baseURL, such as "http://127.0.0.1:5300" or "https://example.org/langbot". It
// makes no request and reads no environment. A base URL or option that cannot be right is [ErrInvalid]. Without a
// credential only what LangBot tells anybody works, such as [SystemService.Info].
func New(baseURL string, opts ...Option) (*Client, error) {
	base, err := parseBase(baseURL)
	if err != nil {
		return nil, err
	}
	s := &settings{
		base:        base,
		server:      base.String(),
		userAgent:   []string{"langbot-go"},
		retry:       RetryPolicy{}.withDefaults(),
		polling:     Polling{}.withDefaults(),
		maxResponse: defaultMaxResponse,
		maxUpload:   defaultMaxUpload,
	}
	return s.client(opts)
}

// With returns a client that differs by opts and shares the connections of c, unless opts bring an http.Client of their
// own. Use it for another credential, workspace or patience.
func (c *Client) With(opts ...Option) (*Client, error) {
	s := *c.settings
	return s.client(opts)
}

func (s *settings) client(opts []Option) (*Client, error) {
	for _, opt := range opts {
		if opt == nil {
			continue
		}
		if err := opt(s); err != nil {
			return nil, err
		}
	}
	if s.http == nil {
		s.http = &http.Client{Transport: NewTransport()}
	}
	c := &Client{settings: s, transport: transport.New(s.http, s.maxResponse)}
	c.Plugins, c.Tasks, c.System = &PluginsService{c}, &TasksService{c}, &SystemService{c}
	return c, nil
}

// anonymous is the client without its credential: for what a server tells anybody, and a login.
func (c *Client) anonymous() *Client {
	s := *c.settings
	s.credential, s.unsent, s.workspace = nil, s.credential, ""
	return &Client{settings: &s, transport: c.transport}
}

// CloseIdleConnections closes the connections that no request is using, also those of clients made by [Client.With].
func (c *Client) CloseIdleConnections() { c.transport.CloseIdleConnections() }

// Call makes any other request of LangBot's JSON API with the credential, retries, envelope and errors of this package.
// path begins with a slash, is escaped by the caller and may have a query. in is sent as JSON unless nil; out receives
// the envelope's data unless nil; data that does not fit it is an error of encoding/json, and the call has been made. A GET is repeated as [RetryPolicy] allows; any other method is sent once, and a lost
// answer is [ErrOutcomeUnknown].
//
//	var debug struct {
//		URL string `json:"debug_url"`
//	}
//	err := client.Call(ctx, "GET", "/api/v1/plugins/debug-info", nil, &debug)
//
//	var answer any // whatever the plugin answers
//	err := client.Call(ctx, "POST", "/api/v1/plugins/acme/demo/page-api", map[string]any{"page_id": "main", "endpoint": "/save"}, &answer)
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	u, err := url.Parse(path)
	if err != nil || !strings.HasPrefix(path, "/") || u.Host != "" || u.Fragment != "" {
		return invalid("Call: the path must begin with a slash, as in /api/v1/extensions")
	}
	if !callMethod.MatchString(method) || method == http.MethodHead || method == http.MethodConnect {
		return invalid("Call: the method must be in capitals, as in GET, and have an answer")
	}
	e := endpoint{pattern: method + " " + u.EscapedPath(), effect: once}
	if method == http.MethodGet {
		e.effect = repeatable
	}
	data, err := call[json.RawMessage](ctx, c, route{endpoint: e, path: u.EscapedPath(), query: u.RawQuery}, in)
	if err != nil || out == nil || len(data) == 0 {
		return err
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("langbot: %s: the answer does not fit %T: %w", e.pattern, out, c.masked(err))
	}
	return nil
}

var callMethod = regexp.MustCompile(`^[A-Z]+$`)

// An endpoint is one entry of the API. Its pattern names the operation everywhere: in errors, logs and tests.
type endpoint struct {
	pattern  string // method and path template
	effect   effect
	class200 error                     // what a 200 with a code other than 0 means here; nil: ErrInvalid
	limited  func(message string) bool // whether a 400 -1 is the extension limit; nil: never
}

// effect is what sending a request twice does.
type effect int

const (
	repeatable effect = iota // nothing more than sending it once
	once                     // starts another task
)

// A route is an endpoint with its path filled in.
type route struct {
	endpoint
	path    string // escaped, below the base URL
	query   string
	single  bool                      // one request, without repetition: a poll is repeated by its wait
	stream  func(*http.Response) bool // whether an answer is handed over while it arrives; nil: never
	plugin  PluginID                  // what it is about, if known: for OutcomeUnknownError
	version string
	hide    string // a secret in the body
}

// at fills the template with values, each one path segment.
func (e endpoint) at(values ...string) route {
	_, path, _ := strings.Cut(e.pattern, " ")
	for _, value := range values {
		begin, end := strings.IndexByte(path, '{'), strings.IndexByte(path, '}')
		path = path[:begin] + url.PathEscape(value) + path[end+1:]
	}
	return route{endpoint: e, path: path}
}

func (e endpoint) method() string {
	method, _, _ := strings.Cut(e.pattern, " ")
	return method
}

func (r route) about(id PluginID, version string) route {
	r.plugin, r.version = id, version
	return r
}

func (r route) with(query url.Values) route {
	r.query = query.Encode()
	return r
}

func (r route) polling() route {
	r.single = true
	return r
}

func (r route) secret(s string) route {
	r.hide = s
	return r
}

// call sends r with body in (nil: none) and returns the envelope's data as a T.
// Every request of this package passes here, so credentials, retries and errors are decided once.
func call[T any](ctx context.Context, c *Client, r route, in any) (T, error) {
	data, _, err := exchange[T](ctx, c, r, in)
	return data, err
}
