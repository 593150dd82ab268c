// Package upload makes the body of a multipart/form-data request that holds one file: its length is known before the
// first byte, it is streamed without a goroutine, and it can be sent again.
package upload

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
)

// A Form is a multipart form with one file.
type Form struct {
	head, tail string
	boundary   string
	size       int64
	open       func() (io.ReadCloser, error)
	latest     atomic.Pointer[body]
}

// New returns a form whose part field holds the size bytes that open's reader gives. Each attempt opens its own reader.
func New(field, fileName string, size int64, open func() (io.ReadCloser, error)) *Form {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand
	boundary := hex.EncodeToString(random[:])
	return &Form{
		boundary: boundary,
		head: "--" + boundary + "\r\nContent-Disposition: form-data; name=\"" + quoted(field) + "\"; filename=\"" + quoted(fileName) +
			"\"\r\nContent-Type: application/zip\r\n\r\n",
		tail: "\r\n--" + boundary + "--\r\n",
		size: size,
		open: open,
	}
}

// quoted escapes what would end the quoted string or the header line, as browsers do.
func quoted(s string) string {
	return strings.NewReplacer("\"", "%22", "\\", "%5C", "\r", "%0D", "\n", "%0A", "\x00", "%00").Replace(s)
}

// ContentType is the header that belongs to the body.
func (f *Form) ContentType() string { return "multipart/form-data; boundary=" + f.boundary }

// Len is the exact length of the body.
func (f *Form) Len() int64 { return int64(len(f.head)) + f.size + int64(len(f.tail)) }

// Err is the file's own failure in the latest attempt: it could not be opened or read, or had another length than
// promised. The closing boundary was not sent then, so no server took the form for complete.
func (f *Form) Err() error {
	b := f.latest.Load()
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failure
}

// Complete reports whether the latest attempt's whole form was handed to the transport, so that a server may have it.
func (f *Form) Complete() bool {
	b := f.latest.Load()
	return b != nil && b.complete.Load()
}

// Body returns a reader of the whole form for one attempt. The file is opened at the first read of its bytes.
func (f *Form) Body() (io.Reader, error) {
	b := &body{form: f, left: f.size, head: strings.NewReader(f.head), tail: strings.NewReader(f.tail)}
	f.latest.Store(b)
	return b, nil
}

type body struct {
	form       *Form
	head, tail *strings.Reader
	left       int64 // bytes of the file still to come
	ended      bool  // the file was seen to end where it should
	complete   atomic.Bool
	stalls     int // reads in a row that gave nothing

	mu      sync.Mutex // HTTP/2 closes a body while it is being read
	file    io.ReadCloser
	closed  bool
	failure error
}

func (b *body) Read(p []byte) (int, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case b.head.Len() > 0:
		return b.head.Read(p)
	case !b.ended:
		return b.readFile(p)
	}
	n, err := b.tail.Read(p)
	b.complete.Store(b.tail.Len() == 0)
	return n, err
}

// readFile gives the file's next bytes. What follows it goes out only once the file has proved to end where it should.
func (b *body) readFile(p []byte) (int, error) {
	file, err := b.opened()
	if err != nil {
		return 0, err
	}
	if b.left == 0 {
		return 0, b.expectEnd(file)
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := file.Read(p)
	if n < 0 || n > len(p) {
		return 0, b.fail(errors.New("its reader returned an impossible count"))
	}
	b.left -= int64(n)
	switch {
	case b.left == 0 && (err == nil || err == io.EOF):
		return n, b.expectEnd(file)
	case err == io.EOF:
		return n, b.fail(fmt.Errorf("ends %d bytes early: %w", b.left, io.ErrUnexpectedEOF))
	case err != nil:
		return n, b.fail(err)
	}
	return n, b.progress(n)
}

func (b *body) progress(n int) error {
	if n > 0 {
		b.stalls = 0
		return nil
	}
	if b.stalls++; b.stalls > 100 {
		return b.fail(io.ErrNoProgress)
	}
	return nil
}

func (b *body) expectEnd(file io.Reader) error {
	var extra [1]byte
	for range 100 {
		n, err := file.Read(extra[:])
		switch {
		case n > 0:
			return b.fail(fmt.Errorf("is longer than the %d bytes it promised", b.form.size))
		case err == io.EOF:
			b.ended = true
			return nil
		case err != nil:
			return b.fail(err)
		}
	}
	return b.fail(io.ErrNoProgress)
}

// fail records why the file could not be sent, unless it was only closed under the reader's feet.
func (b *body) fail(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed && b.failure == nil {
		b.failure = err
	}
	return err
}

// opened returns the attempt's reader, opening it the first time.
func (b *body) opened() (io.Reader, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errClosed
	}
	if b.file == nil {
		file, err := b.form.open()
		if err != nil {
			b.failure = err
			return nil, err
		}
		b.file = file
	}
	return b.file, nil
}

var errClosed = errors.New("upload: read after close")

// Close releases the attempt's reader.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.file == nil {
		return nil
	}
	file := b.file
	b.file = nil
	return file.Close()
}
