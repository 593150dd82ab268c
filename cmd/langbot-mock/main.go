// Langbot-mock is the reference server of package langbottest as a program: a LangBot for tests in any language.
//
//	go run ./cmd/langbot-mock -addr 127.0.0.1:5300 -version 4.10.6 -api-key k -user a@b.c -password p -admin 127.0.0.1:5301
//
// Once it is ready it prints its address and credentials, as lines of the form NAME=value, and then "ready". SIGTERM and
// SIGINT let it answer what it was asked, and end it.
//
// The admin API, on a listener of its own, sets up what the server has, how its operations run and what goes wrong, and
// tells what was asked: GET /__mock/v1/openapi.json describes it. The files of -seed, -script and -faults are lists of the
// same bodies: -seed of objects such as {"plugins": {"author": "acme", "name": "hello", "version": "1.0.0"}}, with the
// action as the only member, -script of bodies of the action "scripts", and -faults of "faults".
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/langbot-go/langbot/langbottest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // so that a second signal ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "langbot-mock:", err)
		os.Exit(1)
	}
}

// A config is what the flags say.
type config struct {
	Addr        string `json:"addr"`
	Admin       string `json:"admin"`
	Version     string `json:"version"`
	APIKey      string `json:"api_key"`
	User        string `json:"user"`
	Password    string `json:"password"`
	Seed        string `json:"seed"`
	Script      string `json:"script"`
	Faults      string `json:"faults"`
	Log         string `json:"log"`
	printConfig bool
}

func parseFlags(args []string, stderr io.Writer) (c config, err error) {
	flags := flag.NewFlagSet("langbot-mock", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.Addr, "addr", "127.0.0.1:5300", "`address` to serve LangBot at; port 0 is a free one")
	flags.StringVar(&c.Admin, "admin", "", "`address` to serve the admin API at; empty: nowhere")
	flags.StringVar(&c.Version, "version", "4.11.2", "`release` to answer as, from 4.6.0 on, or \"document\": as the published description says")
	flags.StringVar(&c.APIKey, "api-key", "", "global API `key`; empty: none")
	flags.StringVar(&c.User, "user", "", "e-mail `address` of the user; empty: none yet, as on a new server")
	flags.StringVar(&c.Password, "password", "", "`password` of the user")
	flags.StringVar(&c.Seed, "seed", "", "`file` of what the server has: [{\"plugins\": {\"author\": …}}, {\"limits\": …}, …], by the actions of the admin API")
	flags.StringVar(&c.Script, "script", "", "`file` of how operations run: a list of bodies of POST /__mock/v1/scripts")
	flags.StringVar(&c.Faults, "faults", "", "`file` of what goes wrong: a list of bodies of POST /__mock/v1/faults")
	flags.StringVar(&c.Log, "log", "", "log every request to stderr, as text or json")
	flags.BoolVar(&c.printConfig, "print-config", false, "print what the flags say, and end")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	return c, c.check(flags.Args())
}

func (c config) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case c.Log != "" && c.Log != "text" && c.Log != "json":
		return fmt.Errorf("-log %s: it is text or json", c.Log)
	case (c.User == "") != (c.Password == ""):
		return errors.New("-user and -password go together")
	}
	return nil
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	if c.printConfig {
		return c.print(stdout)
	}
	answersAs := langbottest.Version(c.Version)
	if c.Version == "document" {
		answersAs = langbottest.Document()
	}
	srv, err := langbottest.Start(answersAs, langbottest.Address(c.Addr), langbottest.Credentials(c.APIKey, c.User, c.Password),
		langbottest.Observe(c.logger(stderr)))
	if err != nil {
		return err
	}
	defer srv.Close()
	if err := c.setUp(srv); err != nil {
		return err
	}
	admin, err := c.serveAdmin(srv)
	if err != nil {
		return err
	}
	defer admin.close()
	c.tell(stdout, srv, admin)
	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = srv.Shutdown(ending) // what stalls by a fault is cut off then
	return nil
}

// print writes the configuration without its secrets.
func (c config) print(w io.Writer) error {
	for _, secret := range []*string{&c.APIKey, &c.Password} {
		if *secret != "" {
			*secret = "***"
		}
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(c)
}

// logger logs requests. What it is told has no secrets.
func (c config) logger(w io.Writer) func(langbottest.Call) {
	var handler slog.Handler
	switch c.Log {
	case "text":
		handler = slog.NewTextHandler(w, nil)
	case "json":
		handler = slog.NewJSONHandler(w, nil)
	default:
		return nil
	}
	log := slog.New(handler)
	return func(call langbottest.Call) {
		log.Info("request", "seq", call.Seq, "method", call.Method, "path", call.Path, "query", call.Query, "by", call.By, "status", call.Status,
			"bytes", call.Bytes)
	}
}

// setUp does what the files say.
func (c config) setUp(srv *langbottest.Server) error {
	for _, file := range []struct{ path, action string }{{c.Seed, ""}, {c.Script, "scripts"}, {c.Faults, "faults"}} {
		if file.path == "" {
			continue
		}
		if err := perform(srv, file.path, file.action); err != nil {
			return err
		}
	}
	return nil
}

// tell says where the server is, and with which credentials.
func (c config) tell(w io.Writer, srv *langbottest.Server, admin *adminServer) {
	for _, line := range [][2]string{{"LANGBOT_URL", srv.URL}, {"LANGBOT_API_KEY", c.APIKey}, {"LANGBOT_USER", c.User}, {"LANGBOT_PASSWORD", c.Password},
		{"LANGBOT_MOCK_ADMIN", admin.url}} {
		if line[1] != "" {
			fmt.Fprintf(w, "%s=%s\n", line[0], line[1])
		}
	}
	fmt.Fprintln(w, "ready")
}

// An adminServer serves the admin API; without an address it does nothing.
type adminServer struct {
	url     string
	http    *http.Server
	serving sync.WaitGroup
}

func (c config) serveAdmin(srv *langbottest.Server) (*adminServer, error) {
	if c.Admin == "" {
		return &adminServer{}, nil
	}
	listener, err := net.Listen("tcp", c.Admin)
	if err != nil {
		return nil, fmt.Errorf("-admin: %w", err)
	}
	a := &adminServer{url: "http://" + listener.Addr().String(), http: &http.Server{Handler: adminAPI(srv), ReadHeaderTimeout: time.Minute}}
	a.serving.Go(func() { _ = a.http.Serve(listener) }) // ends with ErrServerClosed
	return a, nil
}

func (a *adminServer) close() {
	if a.http != nil {
		_ = a.http.Close()
		a.serving.Wait()
	}
}
