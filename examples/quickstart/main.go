// Quickstart installs a plugin on a LangBot, shows how it goes, lists what is installed, and removes the plugin again.
//
//	go run ./examples/quickstart                 # against a reference server inside the program
//	go run ./examples/quickstart hello.lbpkg     # another package than the one that this program carries
//	go run ./examples/quickstart -resume TOKEN   # take up a wait that was interrupted
//
// With LANGBOT_URL and LANGBOT_API_KEY (or LANGBOT_EMAIL and LANGBOT_PASSWORD) it does the same on a real LangBot.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/lbpkg"
)

// The all: takes in __init__.py and _words.py, which go:embed leaves out otherwise.
//
//go:embed all:plugin
var files embed.FS

// example is the plugin that this program carries.
var example = langbot.PluginID{Author: "langbot-go", Name: "quickstart"}

// lookFor is how long a plugin must be absent to count as not there.
var lookFor = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	resume := flag.String("resume", "", "take up the wait of this `token`")
	flag.Parse()
	if err := run(ctx, os.Stdout, flag.Arg(0), *resume); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", explain(err))
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, path, resume string) error {
	client, closeServer, err := connect(out)
	if err != nil {
		return err
	}
	defer closeServer()
	if resume != "" {
		op, err := client.Tasks.Resume(resume)
		if err != nil {
			return err
		}
		return finish(ctx, out, op)
	}
	pkg, err := open(path)
	if err != nil {
		return err
	}
	id := langbot.PluginID{Author: pkg.Author(), Name: pkg.Name()}
	ours, err := absent(ctx, out, client, id)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "installing %s %s (%d bytes)\n", id, pkg.Version(), pkg.Size())
	op, err := client.Plugins.InstallLocal(ctx, pkg)
	if err != nil {
		return err
	}
	if err := finish(ctx, out, op); err != nil {
		return tidyUp(ctx, out, client, id, ours, err)
	}
	if err := list(ctx, out, client); err != nil {
		return err
	}
	if !ours {
		fmt.Fprintf(out, "%s was there before, so it stays\n", id)
		return nil
	}
	return remove(ctx, out, client, id)
}

// absent reports whether the plugin is not there, so that it may be removed in the end. One that is just being restarted
// is absent for seconds, so it looks for a while; one that failed to start cannot be told from none.
func absent(ctx context.Context, out io.Writer, client *langbot.Client, id langbot.PluginID) (bool, error) {
	_, err := client.Plugins.Get(ctx, id)
	if !errors.Is(err, langbot.ErrNotFound) {
		return false, err
	}
	if id == example {
		return true, nil // nobody else has it
	}
	fmt.Fprintf(out, "looking whether %s is there already\n", id)
	brief, err := client.With(langbot.WithPolling(langbot.Polling{Hidden: lookFor}))
	if err != nil {
		return false, err
	}
	_, err = brief.Plugins.WaitReady(ctx, id, "")
	var ended *langbot.WaitError
	if errors.Is(err, langbot.ErrNoEffect) && errors.As(err, &ended) {
		return ended.Plugin.ID == langbot.PluginID{}, nil
	}
	return false, err
}

// open reads the package at path, or builds the one that this program carries.
func open(path string) (*lbpkg.Package, error) {
	if path != "" {
		return lbpkg.Open(path)
	}
	plugin, err := fs.Sub(files, "plugin")
	if err != nil {
		return nil, err
	}
	return lbpkg.FromFS(plugin)
}

// finish shows the progress of an installation and waits until the plugin is initialized.
func finish(ctx context.Context, out io.Writer, op *langbot.Operation) error {
	progress := newProgress(out)
	defer progress.end()
	for task, err := range op.Events(ctx) {
		if err == nil {
			progress.show(task)
		} else if errors.Is(err, langbot.ErrTasksHidden) {
			progress.line("this LangBot shows its tasks to users only: watching the list of plugins instead")
		}
	}
	done, err := op.Wait(ctx)
	if ctx.Err() != nil {
		return &interrupted{err: err, token: op.Token()}
	}
	if err != nil {
		return err
	}
	progress.line(fmt.Sprintf("%s %s is %s", done.Plugin.ID, done.Plugin.Version, done.Plugin.Status))
	return nil
}

func list(ctx context.Context, out io.Writer, client *langbot.Client) error {
	plugins, err := client.Plugins.List(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PLUGIN\tVERSION\tSTATUS\tSOURCE\tLABEL")
	for _, p := range plugins {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", p.ID, p.Version, p.Status, p.Source, p.Label.In("en_US"))
	}
	return table.Flush()
}

func remove(ctx context.Context, out io.Writer, client *langbot.Client, id langbot.PluginID) error {
	op, err := client.Plugins.Delete(ctx, id, langbot.DeleteOptions{})
	if err != nil {
		return err
	}
	if _, err := op.Wait(ctx); err != nil {
		return fmt.Errorf("removing %s: %w", id, err)
	}
	fmt.Fprintf(out, "%s is removed\n", id)
	return nil
}

// tidyUp removes what a failed first installation has left behind, and returns why it failed.
func tidyUp(ctx context.Context, out io.Writer, client *langbot.Client, id langbot.PluginID, ours bool, failure error) error {
	var failed *langbot.TaskError
	if !ours || !errors.As(failure, &failed) {
		return failure
	}
	if err := remove(ctx, out, client, id); err != nil && !errors.Is(err, langbot.ErrNotFound) { // releases up to 4.10.6 keep nothing
		return fmt.Errorf("%w; and what it left behind could not be removed: %w", failure, err)
	}
	return failure
}
