package transport

import (
	"context"
	"io"
	"net/http"
)

// An attempt is one that goes on after its answer has begun.
type attempt struct {
	call   *call
	ctx    context.Context
	cancel context.CancelFunc
}

// streams reports whether the body of an answer is handed over instead of read.
func (t *roundTripper) streams(s *call, resp *http.Response, err error) bool {
	return s.request.Stream != nil && err == nil && resp != nil && resp.Body != nil && resp.ContentLength <= t.limit && s.request.Stream(resp)
}

// stream is the answer whose body is still to come. Its time is that of the attempt, its size bounded like any other's.
func (t *roundTripper) stream(a *attempt, resp *http.Response) Answer {
	return Answer{Status: resp.StatusCode, Header: resp.Header, RetryAfter: -1, Length: resp.ContentLength,
		Stream: &stream{attempt: a, body: resp.Body, limit: t.limit}}
}

// A stream is the body of an answer on its way.
type stream struct {
	*attempt
	body        io.ReadCloser
	read, limit int64
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	s.read += int64(n)
	switch {
	case s.read > s.limit:
		return 0, &tooLargeError{s.limit}
	case err != nil && err != io.EOF:
		err = s.call.explained(s.ctx, err)
	}
	return n, err
}

// Close ends the attempt, and its connection if there is more to read.
func (s *stream) Close() error {
	defer s.cancel()
	return s.body.Close()
}
