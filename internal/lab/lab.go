//go:build unix

// Package lab starts a real LangBot: a release from the Python index, with its plugin runtime, on free loopback ports. It
// can kill and restart either of them, cut the network before them, and stand in for the marketplace and for GitHub.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Server is a running LangBot.
type Server struct {
	Version string
	URL     string
	APIKey  string // the global key, from 4.10.3 on; empty before

	python     string
	dir        string
	ports      []int // of host, runtime and debugger
	settings   []string
	host       *process
	plugins    *process
	generation int // of log files
}

// Start installs the release unless it is in the cache, starts it with everything that it writes under dir, and waits
// until it answers and its plugin runtime is connected. settings are LangBot's own, as SYSTEM__LIMITATION__MAX_EXTENSIONS=0,
// or those of a [Space] or [GitHub]. Close it in any case but an error.
func Start(ctx context.Context, version, dir string, settings ...string) (*Server, error) {
	python, err := install(ctx, version)
	if err != nil {
		return nil, fmt.Errorf("lab: install LangBot %s: %w", version, err)
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	s := &Server{Version: version, URL: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), APIKey: "lab-global-key",
		python: python, dir: dir, ports: ports, settings: settings}
	if Older(version, "4.10.3") {
		s.APIKey = ""
	}
	err = s.StartRuntime()
	if err == nil {
		err = s.StartHost(ctx)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// StartRuntime starts the plugin runtime, at first and after [Server.KillRuntime]. It does not wait: the host connects to
// it when it finds it.
func (s *Server) StartRuntime() error {
	var env []string
	for _, setting := range s.settings {
		if url, ok := strings.CutPrefix(setting, "SPACE__URL="); ok {
			env = append(env, "CLOUD_SERVICE_URL="+url) // up to 4.10.6 the runtime downloads by itself
		}
	}
	var err error
	s.plugins, err = start(s.python, filepath.Join(s.dir, "runtime"), s.log("runtime.log"), env,
		"-m", "langbot_plugin.cli.__init__", "rt", "--ws-control-port", fmt.Sprint(s.ports[1]), "--ws-debug-port", fmt.Sprint(s.ports[2]))
	return err
}

// StartHost starts the host, at first and after [Server.KillHost], and waits until it answers and, where it tells, has
// found its plugin runtime.
func (s *Server) StartHost(ctx context.Context) error {
	env := append([]string{
		"API__HOST=127.0.0.1", fmt.Sprintf("API__PORT=%d", s.ports[0]), "API__GLOBAL_API_KEY=lab-global-key", "NO_PROXY=*",
		fmt.Sprintf("PLUGIN__RUNTIME_WS_URL=ws://127.0.0.1:%d/control/ws", s.ports[1]),
		"SPACE__DISABLE_TELEMETRY=true", "SPACE__DISABLE_MODELS_SERVICE=true", "SPACE__URL=http://127.0.0.1:9",
		"PLUGIN__ENABLE_MARKETPLACE=false", "BOX__ENABLED=false",
	}, s.settings...)
	var err error
	s.host, err = start(s.python, filepath.Join(s.dir, "host"), s.log("host.log"), env, "-m", "langbot", "--standalone-runtime")
	if err == nil {
		err = s.ready(ctx)
	}
	if err != nil {
		return fmt.Errorf("lab: LangBot %s: %w\n%s", s.Version, err, s.Tail())
	}
	return nil
}

// Configure adds settings of LangBot for the next [Server.StartHost].
func (s *Server) Configure(settings ...string) { s.settings = append(s.settings, settings...) }

// KillHost ends the host at once, as a crash does. The plugin runtime goes on.
func (s *Server) KillHost() { s.host.kill() }

// KillRuntime ends the plugin runtime and all plugins at once, as a crash does. The host goes on.
func (s *Server) KillRuntime() { s.plugins.kill() }

// Close stops the host and the plugin runtime with everything that they started.
func (s *Server) Close() {
	for _, p := range []*process{s.host, s.plugins} {
		p.stop()
	}
}

// log names a log file of its own for every start.
func (s *Server) log(name string) string {
	s.generation++
	return fmt.Sprintf("%d-%s", s.generation, name)
}

// Tail is the end of the logs, for a server that did not start or went wrong.
func (s *Server) Tail() string {
	var out strings.Builder
	logs, _ := filepath.Glob(filepath.Join(s.dir, "*", "*.log")) // the pattern is right
	for _, name := range logs {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		fmt.Fprintf(&out, "%s:\n%s\n", filepath.Base(name), data[max(0, len(data)-2000):])
	}
	return out.String()
}

// ready waits until the server answers and, where it tells, its plugin runtime is connected.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.host.exited() {
			return errors.New("the host has exited")
		}
		if s.answers(ctx) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func (s *Server) answers(ctx context.Context) bool {
	body, err := get(ctx, s.URL+"/api/v1/system/info")
	if err != nil {
		return false
	}
	if Older(s.Version, "4.10.8") {
		return strings.Contains(body, `"version"`)
	}
	body, err = get(ctx, s.URL+"/healthz")
	return err == nil && strings.Contains(body, `"plugin_runtime_connected":true`)
}

func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req) // a proxy of the environment does not apply to loopback
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return string(text), err
}

func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all at once, so that they differ
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// Older reports whether release a is older than b.
func Older(a, b string) bool {
	var x, y [3]int
	_, _ = fmt.Sscanf(a, "%d.%d.%d", &x[0], &x[1], &x[2]) // what is missing counts as 0
	_, _ = fmt.Sscanf(b, "%d.%d.%d", &y[0], &y[1], &y[2])
	return slices.Compare(x[:], y[:]) < 0
}
