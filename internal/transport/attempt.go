package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"time"
)

// A call is the state of one Do. It is the context of its requests, so that RoundTrip finds it without a look-up table.
type call struct {
	context.Context
	request Request

	attempts int
	answer   *Answer // of the last attempt that had one: held
	held     Answer
	wait     time.Duration // before the next attempt
	waited   time.Duration // so far
	failed   int           // answers of 500 so far
	last     error         // of the last attempt that failed without an answer

	trace     httptrace.ClientTrace
	tracing   bool // this transport reports its connections
	connected bool // the running attempt has one
	wrote     bool // it has sent something
	answered  bool // it was answered
	unsent    bool
}

type callKey struct{}

func (s *call) Value(key any) any {
	if key == (callKey{}) {
		return s
	}
	return s.Context.Value(key)
}

// traced is the context to send with. What changes something is watched, to know whether a failed attempt was sent:
// a transport that asked for a connection and got none has sent nothing. Silence of the hooks proves nothing.
func (s *call) traced() context.Context {
	if s.request.Repeatable {
		return s
	}
	s.trace.GetConn = func(string) { s.tracing, s.connected = true, false }
	s.trace.GotConn = func(httptrace.GotConnInfo) { s.connected = true }
	s.trace.WroteHeaders = func() { s.wrote = true }
	return httptrace.WithClientTrace(s, &s.trace)
}

// roundTripper makes one attempt: it bounds its time and reads its answer, so that a body that breaks off is a failed
// attempt like any other.
type roundTripper struct {
	next  http.RoundTripper
	limit int64
}

func (t *roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	s := req.Context().Value(callKey{}).(*call)
	if err := s.Context.Err(); err != nil {
		return nil, err // not sent, so the last attempt is still the one before
	}
	s.attempts++
	s.tracing, s.connected, s.wrote, s.answered = false, false, false, false
	ctx, cancel := context.WithTimeout(req.Context(), s.request.Timeout)
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	var answer Answer
	if t.streams(s, resp, err) {
		answer = t.stream(&attempt{call: s, ctx: ctx, cancel: cancel}, resp)
	} else {
		defer cancel()
		answer, err = t.read(resp, err)
	}
	if err != nil {
		err = s.explained(ctx, err)
		s.unsent = s.tracing && !s.connected && !s.wrote
		if s.Context.Err() == nil {
			s.last = err
		}
		return nil, err
	}
	s.answer.Release()
	s.held = answer
	s.answer, s.last, s.unsent, s.answered = &s.held, nil, true, true // answered: nothing is unknown
	return withoutLocation(resp), nil
}

// explained is the error of an attempt that ran in ctx, by whose time is up: the caller's, the attempt's or the network's.
func (s *call) explained(ctx context.Context, err error) error {
	switch {
	case s.Context.Err() != nil:
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &timeoutError{after: s.request.Timeout}
	case errors.Is(err, context.DeadlineExceeded):
		return &foreignDeadline{err}
	}
	return err
}

// withoutLocation is what http.Client gets to see of a response. It would fail on a Location that it cannot parse, and
// an answer must not become an error.
func withoutLocation(resp *http.Response) *http.Response {
	resp.Body = http.NoBody
	if resp.Header.Get("Location") != "" {
		resp.Header = resp.Header.Clone()
		resp.Header.Del("Location")
	}
	return resp
}

// read takes the answer off the wire. It trusts no RoundTripper to keep its contract.
func (t *roundTripper) read(resp *http.Response, err error) (answer Answer, failed error) {
	if resp != nil && resp.Body != nil {
		defer resp.Body.Close()
	}
	switch {
	case err != nil:
		return answer, err
	case resp == nil:
		return answer, errors.New("the RoundTripper returned neither a response nor an error")
	case resp.ContentLength > t.limit && resp.Body != nil:
		return answer, &tooLargeError{t.limit}
	}
	body := buffers.Get().(*bytes.Buffer)
	answer = Answer{Status: resp.StatusCode, Header: resp.Header, RetryAfter: retryAfter(resp.Header), body: body}
	if resp.Body == nil || resp.StatusCode == http.StatusSwitchingProtocols { // whose body is a connection that nothing ends
		return answer, nil
	}
	body.Grow(int(min(max(resp.ContentLength, 0), maxPresize)) + bytes.MinRead)
	n, err := body.ReadFrom(io.LimitReader(resp.Body, t.limit+1))
	if err == nil && n > t.limit {
		err = &tooLargeError{t.limit}
	}
	if err != nil {
		answer.Release()
		return answer, err
	}
	return answer, nil
}

// timeoutError ends one attempt. It is not the caller's deadline, so it is not context.DeadlineExceeded.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string        { return fmt.Sprintf("no answer within %v", e.after) }
func (e *timeoutError) Timeout() bool        { return true }
func (e *timeoutError) Temporary() bool      { return true } // for net.Error
func (e *timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// TimedOut reports whether err says that an attempt was not answered in its time.
func TimedOut(err error) bool {
	var e *timeoutError
	return errors.As(err, &e)
}

// foreignDeadline is a time-out of the network, such as that of dialing, which package net makes a
// context.DeadlineExceeded. It is not the caller's, so it is none here.
type foreignDeadline struct{ err error }

func (e *foreignDeadline) Error() string      { return e.err.Error() }
func (e *foreignDeadline) Timeout() bool      { return true }
func (e *foreignDeadline) Temporary() bool    { return true } // for net.Error
func (e *foreignDeadline) As(target any) bool { return errors.As(e.err, target) }
func (e *foreignDeadline) Is(target error) bool {
	return target != context.DeadlineExceeded && errors.Is(e.err, target)
}

// tooLargeError ends the reading of an answer.
type tooLargeError struct{ limit int64 }

func (e *tooLargeError) Error() string { return fmt.Sprintf("answer larger than %d bytes", e.limit) }

// TooLarge reports whether err says that an answer exceeded the limit.
func TooLarge(err error) bool {
	var e *tooLargeError
	return errors.As(err, &e)
}
