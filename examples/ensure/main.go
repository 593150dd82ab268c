// Ensure has the plugin that it carries run on a LangBot, in the version that is asked for, or not be there.
//
//	go run ./examples/ensure                  # against a reference server inside the program
//	go run ./examples/ensure -version 1.1.0   # the same plugin as another version
//	go run ./examples/ensure -absent          # remove it
//
// With LANGBOT_URL and LANGBOT_API_KEY it does so on a real LangBot. Run it twice: the second time there is nothing to do.
package main

import (
	"cmp"
	"context"
	"embed"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/langbottest"
	"github.com/langbot-go/langbot/lbpkg"
)

//go:embed all:plugin
var files embed.FS

var id = langbot.PluginID{Author: "langbot-go", Name: "ensured"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	version := flag.String("version", "1.0.0", "the `version` of the plugin to run")
	absent := flag.Bool("absent", false, "have the plugin not be there")
	flag.Parse()
	if err := run(ctx, os.Stdout, *version, *absent); err != nil {
		fmt.Fprintln(os.Stderr, "ensure:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, version string, absent bool) error {
	client, closeServer, err := connect()
	if err != nil {
		return err
	}
	defer closeServer()
	if absent {
		done, err := client.Plugins.EnsureAbsent(ctx, langbot.AbsentSpec{ID: id})
		return report(out, done, err)
	}
	pkg, err := pack(version)
	if err != nil {
		return err
	}
	done, err := client.Plugins.Ensure(ctx, langbot.Spec{Package: pkg})
	return report(out, done, err)
}

// report says what was done, and what runs now.
func report(out io.Writer, done langbot.EnsureResult, err error) error {
	if err != nil {
		return err // which says what is not as it should be
	}
	fmt.Fprintf(out, "done: %s", cmp.Or(strings.Join(done.Actions, ", "), "nothing, it was right"))
	if done.Why != "" {
		fmt.Fprintf(out, " (%s)", done.Why)
	}
	if p := done.Plugin; p.Status != "" {
		fmt.Fprintf(out, "; %s %s is %s", p.ID, p.Version, p.Status)
	}
	fmt.Fprintln(out)
	return nil
}

// pack builds the package of a version. A program whose plugin has one version just needs lbpkg.FromFS(plugin).
func pack(version string) (*lbpkg.Package, error) {
	plugin, err := fs.Sub(files, "plugin")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ensure")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, plugin); err != nil {
		return nil, err
	}
	manifest, err := fs.ReadFile(plugin, "manifest.yaml")
	if err != nil {
		return nil, err
	}
	manifest = regexp.MustCompile(`version: ".*"`).ReplaceAllLiteral(manifest, fmt.Appendf(nil, "version: %q", version))
	if err := os.WriteFile(filepath.Join(dir, "manifest.yaml"), manifest, 0o600); err != nil {
		return nil, err
	}
	return lbpkg.FromFS(os.DirFS(dir))
}

// connect returns a client of the LangBot that the environment names, else of a reference server in this program.
func connect() (*langbot.Client, func(), error) {
	if base := os.Getenv("LANGBOT_URL"); base != "" {
		client, err := langbot.New(base, langbot.WithAPIKey(os.Getenv("LANGBOT_API_KEY")))
		return client, func() {}, err
	}
	srv, err := langbottest.Start()
	if err != nil {
		return nil, nil, err
	}
	client, err := langbot.New(srv.URL, langbot.WithAPIKey(srv.APIKey))
	return client, srv.Close, err
}
