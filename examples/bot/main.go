// Bot is a program that carries its own LangBot plugin: it waits until LangBot is up, has the plugin run in the version
// that it carries, and does its work until it is stopped.
//
//	LANGBOT_URL=http://127.0.0.1:5300 LANGBOT_API_KEY=lbk_… go run ./examples/bot
package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/lbpkg"
)

//go:embed all:plugin
var files embed.FS

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bot:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	client, err := langbot.New(os.Getenv("LANGBOT_URL"), langbot.WithAPIKey(os.Getenv("LANGBOT_API_KEY")))
	if err != nil {
		return err
	}
	if err := start(ctx, out, client); err != nil {
		return err
	}
	<-ctx.Done() // the bot's own work
	fmt.Fprintln(out, "stopped")
	return nil
}

// start has the bot's plugin run, once LangBot does.
func start(ctx context.Context, out io.Writer, client *langbot.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	fmt.Fprintln(out, "waiting for LangBot")
	if err := client.System.WaitReady(ctx); err != nil {
		return err
	}
	done, err := ensure(ctx, client)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s %s is %s\n", done.Plugin.ID, done.Plugin.Version, done.Plugin.Status)
	return nil
}

func ensure(ctx context.Context, client *langbot.Client) (langbot.EnsureResult, error) {
	plugin, err := fs.Sub(files, "plugin")
	if err != nil {
		return langbot.EnsureResult{}, err
	}
	pkg, err := lbpkg.FromFS(plugin)
	if err != nil {
		return langbot.EnsureResult{}, err
	}
	return client.Plugins.Ensure(ctx, langbot.Spec{Package: pkg})
}
