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
	s.tracing, s.connected, s.wrote = false, false, false
	ctx, cancel := context.WithTimeout(req.Context(), s.request.Timeout)
	defer cancel()
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	answer, err := t.read(resp, err)
	if err != nil {
		if ctx.Err() != nil && s.Context.Err() == nil {
			err = &timeoutError{after: s.request.Timeout}
		}
		s.unsent = s.tracing && !s.connected && !s.wrote
		if s.Context.Err() == nil {
			s.last = err
		}
		return nil, err
	}
	s.answer.Release()
	s.held = answer
	s.answer, s.last, s.unsent = &s.held, nil, true // answered: nothing is unknown
	resp.Body = http.NoBody
	return resp, nil
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
	if resp.Body == nil {
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

// tooLargeError ends the reading of an answer.
type tooLargeError struct{ limit int64 }

func (e *tooLargeError) Error() string { return fmt.Sprintf("answer larger than %d bytes", e.limit) }

// TooLarge reports whether err says that an answer exceeded the limit.
func TooLarge(err error) bool {
	var e *tooLargeError
	return errors.As(err, &e)
}
