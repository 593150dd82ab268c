package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// again decides whether the attempt that just ended is repeated, and settles the wait before the next one.
func (s *call) again(_ context.Context, _ *http.Response, err error) (bool, error) {
	if s.Context.Err() != nil || s.attempts >= s.request.Policy.Attempts || !s.mayRepeat(err) {
		return false, err
	}
	s.wait = s.nextWait(err)
	if s.waited+s.wait > s.request.Policy.MaxWait || s.pastDeadline(s.wait) {
		return false, err // what is known now says more than a deadline later
	}
	s.waited += s.wait
	if s.request.OnRetry != nil {
		s.request.OnRetry(Retry{Attempt: s.attempts, Wait: s.wait, Status: s.status(err), Err: err})
	}
	return true, nil
}

func (s *call) backoff(_, _ time.Duration, _ int, _ *http.Response) time.Duration { return s.wait }

func (s *call) status(err error) int {
	if err != nil || s.answer == nil {
		return 0
	}
	return s.answer.Status
}

func (s *call) mayRepeat(err error) bool {
	if err != nil {
		return !s.answered && (s.request.Repeatable || s.unsent) && !Permanent(err) && !s.bodyFailed()
	}
	switch s.answer.Status {
	case http.StatusTooManyRequests:
		return true
	case http.StatusServiceUnavailable:
		return s.request.Repeatable || s.answer.RetryAfter >= 0 // a gateway may say 503 after it passed the request on
	case http.StatusRequestTimeout, http.StatusBadGateway, http.StatusGatewayTimeout:
		return s.request.Repeatable
	case http.StatusInternalServerError:
		s.failed++
		return s.request.Repeatable && s.failed == 1
	}
	return false
}

func (s *call) bodyFailed() bool {
	return s.request.Fatal != nil && s.request.Fatal() != nil
}

// nextWait is the server's hint, or full jitter below an exponential bound.
func (s *call) nextWait(err error) time.Duration {
	bound := s.request.Policy.Cap
	if shift := s.attempts - 1; shift < 30 {
		bound = min(bound, s.request.Policy.Base<<shift)
	}
	wait := rand.N(max(bound, time.Millisecond)) + time.Millisecond
	if err == nil && s.answer.RetryAfter > 0 {
		return s.answer.RetryAfter
	}
	return wait // also for a hint of no time at all, which would burn every attempt at once
}

func (s *call) pastDeadline(wait time.Duration) bool {
	deadline, ok := s.Context.Deadline()
	return ok && time.Until(deadline) < wait
}

// Permanent tells errors that the same request meets again: a name that does not exist, a certificate that is not
// trusted, plain text where TLS is spoken, an answer beyond the limit.
func Permanent(err error) bool {
	var (
		dns      *net.DNSError
		cert     *tls.CertificateVerificationError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &dns):
		return dns.IsNotFound
	case errors.As(err, &cert), errors.As(err, &unknown), errors.As(err, &hostname), errors.As(err, &invalid):
		return true
	}
	return errors.Is(err, http.ErrSchemeMismatch) || TooLarge(err) || refusedByProxy(err)
}

// refusedByProxy finds a proxy's own 407: net/http gives nothing but its text.
func refusedByProxy(err error) bool {
	return strings.Contains(err.Error(), "Proxy Authentication Required")
}

// retryAfter reads the hint in seconds or as a date, and is -1 without a usable one.
func retryAfter(h http.Header) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return -1
	}
	if seconds, err := strconv.ParseUint(v, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		const most = 365 * 24 * 60 * 60 // more would overflow a Duration, and nobody waits for it
		return time.Duration(min(seconds, most)) * time.Second
	}
	date, err := http.ParseTime(v)
	if err != nil {
		return -1
	}
	return max(time.Until(date), 0)
}
