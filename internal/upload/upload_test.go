package upload_test

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot/internal/upload"
)

// FuzzForm: whatever the file and its name, a standard reader finds both again, and the length was right.
func FuzzForm(f *testing.F) {
	f.Add([]byte("package"), "demo.lbpkg")
	f.Add([]byte{}, "")
	f.Add([]byte("\r\n--x--\r\n"), "a\"b\r\nc\\d ü.lbpkg")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		form := upload.New("file", name, int64(len(data)), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
		var whole []byte
		for attempt := range 2 {
			body, err := form.Body()
			require.NoError(t, err)
			got, err := io.ReadAll(iotest.OneByteReader(body))
			require.NoError(t, err)
			require.EqualValues(t, form.Len(), len(got))
			if attempt > 0 {
				require.Equal(t, whole, got)
			}
			whole = got
		}
		_, params, err := mime.ParseMediaType(form.ContentType())
		require.NoError(t, err)
		part, err := multipart.NewReader(bytes.NewReader(whole), params["boundary"]).NextRawPart()
		if err != nil && strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
			t.Skip("control characters in a header are the reader's business")
		}
		require.NoError(t, err)
		got, err := io.ReadAll(part)
		require.NoError(t, err)
		require.Equal(t, string(data), string(got))
		require.NoError(t, form.Err())
	})
}

// TestClosedBody: what is read after the transport has closed the body is not taken for the file's own failure.
func TestClosedBody(t *testing.T) {
	form := upload.New("file", "x", 100, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(strings.Repeat("x", 100))), nil })
	reader, err := form.Body()
	require.NoError(t, err)
	body := reader.(io.ReadCloser)
	_, err = io.ReadFull(body, make([]byte, 200))
	require.NoError(t, err)
	require.NoError(t, body.Close())
	require.NoError(t, body.Close())
	_, err = io.ReadAll(body)
	require.Error(t, err)
	require.NoError(t, form.Err())
}

// closedByOther is a file whose reader fails because its transport has closed it, in words of its own.
type closedByOther struct {
	started, closed chan struct{}
}

func (c *closedByOther) Read([]byte) (int, error) {
	close(c.started)
	<-c.closed
	return 0, io.ErrClosedPipe
}

func (c *closedByOther) Close() error { close(c.closed); return nil }

// TestClosedWhileReading: HTTP/2 closes a body in the middle of a read. That is no failure of the file, and one of an
// earlier attempt is none of the next.
func TestClosedWhileReading(t *testing.T) {
	file := &closedByOther{started: make(chan struct{}), closed: make(chan struct{})}
	form := upload.New("file", "x", 100, func() (io.ReadCloser, error) { return file, nil })
	reader, err := form.Body()
	require.NoError(t, err)
	failed := make(chan error)
	go func() {
		_, err := io.ReadAll(reader)
		failed <- err
	}()
	<-file.started
	require.NoError(t, reader.(io.Closer).Close())
	require.ErrorIs(t, <-failed, io.ErrClosedPipe)
	require.NoError(t, form.Err())

	short := upload.New("file", "x", 100, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil })
	reader, err = short.Body()
	require.NoError(t, err)
	_, err = io.ReadAll(reader)
	require.Error(t, err)
	require.Error(t, short.Err())
	_, err = short.Body()
	require.NoError(t, err)
	require.NoError(t, short.Err(), "the next attempt has not failed")
}
