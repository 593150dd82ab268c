package main

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot/langbottest"
)

// A screen is what a program has written.
type screen struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestStartBeforeLangBot: the bot is there first, and its plugin runs once LangBot does.
func TestStartBeforeLangBot(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())
	t.Setenv("LANGBOT_URL", "http://"+addr)
	t.Setenv("LANGBOT_API_KEY", "key-of-the-bot")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out screen
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, &out) }()
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "waiting for LangBot") }, time.Minute, time.Millisecond)

	srv := langbottest.New(t, langbottest.Address(addr), langbottest.Credentials("key-of-the-bot", "", ""))
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "langbot-go/bot 1.0.0 is initialized\n") }, time.Minute, 10*time.Millisecond)
	require.Equal(t, []langbottest.Plugin{{ID: "langbot-go/bot", Version: "1.0.0", Running: true}}, srv.Plugins())
	stop()
	require.NoError(t, <-ended)
	require.Contains(t, out.String(), "stopped")
}
