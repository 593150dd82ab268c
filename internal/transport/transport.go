// Package transport sends one request as often as is safe and hands back the last answer, read in full.
//
// It wraps go-retryablehttp: that library owns the loop, the rewinding of bodies and the timers; what may be repeated,
// how long to wait and what is known at the end is decided here. Nothing of the library shows outside.
package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// Policy bounds the repetitions of a request.
type Policy struct {
	Attempts int           // at most; 1 sends once
	Base     time.Duration // back-off before the second attempt is up to Base, doubling from there
	Cap      time.Duration // of one back-off without a hint of the server
	MaxWait  time.Duration // of all waits of one call together
}

// A Request is what to send.
type Request struct {
	Method     string
	URL        url.URL
	Header     http.Header
	Bytes      []byte                    // the body, if it is in memory
	Body       func() (io.Reader, error) // the body, if it is not; each call gives a reader of its own
	Length     int64                     // of Body, exact. Its connection is used for nothing else afterwards
	Repeatable bool                      // sending it twice does no harm
	Fatal      func() error              // the body's own failure, which no repetition mends; may be nil
	Stream     func(*http.Response) bool // whether the body of this answer is handed over instead of read; may be nil
	Timeout    time.Duration             // of one attempt, the reading of its answer included
	Policy     Policy
	OnRetry    func(Retry) // called before each wait; may be nil
}

// Retry tells why and when a request is repeated.
type Retry struct {
	Attempt int // the one that failed, from 1
	Wait    time.Duration
	Status  int   // of the answer, or 0
	Err     error // when there was no answer
}

// Result is what is known when no more attempts are made.
type Result struct {
	Answer   *Answer // the last one that arrived whole, or nil
	Attempts int
	Unsent   bool // provably, no attempt without an answer reached the server
}

// An Answer is a response with its body in memory, or on its way. Release gives the memory back, and ends a stream.
type Answer struct {
	Status     int
	Header     http.Header
	RetryAfter time.Duration // the server's hint, or -1
	Stream     io.ReadCloser // the body, if the request wanted it so; set it to nil to keep it beyond Release
	Length     int64         // of Stream; -1: not known
	body       *bytes.Buffer
}

// Body is valid until Release, and empty after it.
func (a *Answer) Body() []byte {
	if a.body == nil {
		return nil
	}
	return a.body.Bytes()
}

// Release returns the body's buffer to the pool. It is safe on nil and more than once.
func (a *Answer) Release() {
	if a != nil && a.Stream != nil {
		a.Stream.Close()
		a.Stream = nil
	}
	if a == nil || a.body == nil {
		return
	}
	if a.body.Cap() <= maxPooled {
		a.body.Reset()
		buffers.Put(a.body)
	}
	a.body = nil
}

const (
	maxPooled  = 1 << 20 // larger buffers would stay in the pool for nothing
	maxPresize = 8 << 20 // a Content-Length is believed up to here
)

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Client sends requests over one http.Client. It is safe for concurrent use.
type Client struct {
	looped *http.Client // what the loop calls: no redirects, answers read inside RoundTrip
	plain  *http.Client // as given
}

// New returns a Client that sends through base, which is copied, and reads at most limit bytes of an answer.
// Redirects are answers like any other: following one would turn a POST into a GET.
func New(base *http.Client, limit int64) *Client {
	plain, looped := *base, *base
	next := base.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	looped.Transport = &roundTripper{next: next, limit: limit}
	looped.Timeout = 0 // the caller folds it into Request.Timeout; here it would hide whose deadline passed
	looped.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{looped: &looped, plain: &plain}
}

// CloseIdleConnections closes the idle connections of the http.Client given to New.
func (c *Client) CloseIdleConnections() { c.plain.CloseIdleConnections() }

// Do sends r until it is answered, fails for good, or the policy or ctx ends it. With an error, Result.Answer is the
// last refusal that arrived before, if any. Without one it is the answer, whatever its status. Release it in both cases.
func (c *Client) Do(ctx context.Context, r Request) (Result, error) {
	s := &call{Context: ctx, request: r, unsent: true}
	err := ctx.Err()
	if err == nil {
		err = s.run(c.looped)
	}
	return Result{Answer: s.answer, Attempts: s.attempts, Unsent: s.unsent}, err
}

func (s *call) run(client *http.Client) error {
	r := &s.request
	req, err := retryablehttp.FromRequest((&http.Request{
		Method: r.Method, URL: &r.URL, Host: r.URL.Host, Header: r.Header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(s.traced()))
	if err != nil {
		return err
	}
	if err := s.setBody(req); err != nil {
		return err
	}
	loop := &retryablehttp.Client{ // one a call: its hooks know the call, and their state dies with it
		HTTPClient:   client,
		RetryMax:     math.MaxInt32, // again decides
		CheckRetry:   s.again,
		Backoff:      s.backoff,
		PrepareRetry: withoutCookies,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	if _, err := loop.Do(req); err != nil { // the body was read and closed in RoundTrip
		return s.reason(err)
	}
	return nil
}

// withoutCookies drops what a cookie jar has added for the attempt before: it adds its own anew.
func withoutCookies(req *http.Request) error {
	if req.Header.Get("Cookie") != "" {
		req.Header = req.Header.Clone()
		req.Header.Del("Cookie")
	}
	return nil
}

func (s *call) setBody(req *retryablehttp.Request) error {
	switch r := &s.request; {
	case r.Bytes != nil:
		return req.SetBody(r.Bytes)
	case r.Body != nil:
		err := req.SetBody(retryablehttp.ReaderFunc(r.Body))
		req.ContentLength = r.Length
		req.Close = true // a server that answers without having read it all closes, and what came next would be lost
		return err
	}
	return nil
}

// reason is why the call failed, without the URL that net/http puts around every error. When the context ended it, the
// failure before that is told too: it is what the caller was waiting to get over.
func (s *call) reason(err error) error {
	ctxErr := s.Context.Err()
	switch {
	case ctxErr == nil:
		return withoutURL(err)
	case s.last != nil:
		return fmt.Errorf("%w, after: %w", ctxErr, withoutURL(s.last))
	}
	return ctxErr
}

func withoutURL(err error) error {
	var wrapped *url.Error
	for errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return err
}
