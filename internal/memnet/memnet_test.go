package memnet_test

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot/internal/memnet"
)

func TestListener(t *testing.T) {
	l := memnet.Listen()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = io.Copy(conn, conn)
		}
		done <- err
	}()
	conn, err := l.Dial(t.Context(), "tcp", "anywhere:80")
	require.NoError(t, err)
	_, err = conn.Write([]byte("x"))
	require.NoError(t, err)
	got := make([]byte, 1)
	_, err = conn.Read(got)
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
	require.NoError(t, conn.Close())
	require.NoError(t, <-done)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = l.Dial(ctx, "", "") // nobody accepts
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = l.Dial(t.Context(), "", "")
	require.ErrorIs(t, err, net.ErrClosed)
	require.Equal(t, "mem", l.Addr().Network())
}
