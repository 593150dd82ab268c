//go:build unix

// Package lab starts a real LangBot: a release from the Python index, with its plugin runtime, on free loopback ports.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A Server is a running LangBot.
type Server struct {
	Version string
	URL     string
	APIKey  string // the global key, from 4.10.3 on; empty before

	dir     string
	host    *process
	plugins *process
}

// Start installs the release unless it is in the cache, starts it with everything that it writes under dir, and waits
// until it answers and its plugin runtime is connected. settings are LangBot's own, as SYSTEM__LIMITATION__MAX_EXTENSIONS=0.
// Close it in any case but an error.
func Start(ctx context.Context, version, dir string, settings ...string) (*Server, error) {
	python, err := install(ctx, version)
	if err != nil {
		return nil, fmt.Errorf("lab: install LangBot %s: %w", version, err)
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	s := &Server{Version: version, URL: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), APIKey: "lab-global-key", dir: dir}
	if !atLeast(version, 4, 10, 3) {
		s.APIKey = ""
	}
	if err := s.run(ctx, python, ports, settings); err != nil {
		s.Close()
		return nil, fmt.Errorf("lab: LangBot %s: %w\n%s", version, err, s.tail())
	}
	return s, nil
}

func (s *Server) run(ctx context.Context, python string, ports []int, settings []string) (err error) {
	control := fmt.Sprint(ports[1])
	s.plugins, err = start(python, filepath.Join(s.dir, "runtime"), "runtime.log", nil,
		"-m", "langbot_plugin.cli.__init__", "rt", "--ws-control-port", control, "--ws-debug-port", fmt.Sprint(ports[2]))
	if err != nil {
		return err
	}
	env := append([]string{
		"API__HOST=127.0.0.1", fmt.Sprintf("API__PORT=%d", ports[0]), "API__GLOBAL_API_KEY=lab-global-key",
		"PLUGIN__RUNTIME_WS_URL=ws://127.0.0.1:" + control + "/control/ws",
		"SPACE__DISABLE_TELEMETRY=true", "SPACE__DISABLE_MODELS_SERVICE=true", "SPACE__URL=http://127.0.0.1:9",
		"PLUGIN__ENABLE_MARKETPLACE=false", "BOX__ENABLED=false",
	}, settings...)
	s.host, err = start(python, filepath.Join(s.dir, "host"), "host.log", env, "-m", "langbot", "--standalone-runtime")
	if err != nil {
		return err
	}
	return s.ready(ctx)
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
	if !atLeast(s.Version, 4, 10, 8) {
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

// Close stops the host and the plugin runtime with everything that they started.
func (s *Server) Close() {
	for _, p := range []*process{s.host, s.plugins} {
		p.stop()
	}
}

// tail is the end of the logs, for a server that did not start.
func (s *Server) tail() string {
	var out strings.Builder
	for _, name := range []string{"host/host.log", "runtime/runtime.log"} {
		data, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			continue
		}
		fmt.Fprintf(&out, "%s:\n%s\n", name, data[max(0, len(data)-2000):])
	}
	return out.String()
}

// install makes a virtual environment of the release, once, and returns its Python.
func install(ctx context.Context, version string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "langbot-go-lab")
	venv := filepath.Join(root, version)
	python := filepath.Join(venv, "bin", "python")
	if _, err := os.Stat(filepath.Join(venv, "installed")); err == nil {
		return python, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	uv, err := installer(ctx, root)
	if err != nil {
		return "", err
	}
	packages := []string{"langbot==" + version}
	if !atLeast(version, 4, 10, 7) {
		packages = append(packages, "mcp<2") // they do not pin it, and die at import with mcp 2
	}
	for _, args := range [][]string{
		{"venv", "-q", "--clear", "--python", "python3", venv},
		append([]string{"pip", "install", "-q", "--python", python}, packages...),
	} {
		if err := command(ctx, uv, args...); err != nil {
			return "", err
		}
	}
	return python, os.WriteFile(filepath.Join(venv, "installed"), []byte(strings.Join(packages, "\n")), 0o644)
}

// installer returns uv: that of the machine, or one in the cache.
func installer(ctx context.Context, root string) (string, error) {
	if uv, err := exec.LookPath("uv"); err == nil {
		return uv, nil
	}
	venv := filepath.Join(root, "uv")
	uv := filepath.Join(venv, "bin", "uv")
	if _, err := os.Stat(uv); err == nil {
		return uv, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	if err := command(ctx, "python3", "-m", "venv", "--clear", venv); err != nil {
		return "", err
	}
	return uv, command(ctx, filepath.Join(venv, "bin", "pip"), "install", "-q", "--disable-pip-version-check", "uv")
}

func command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "UV_NATIVE_TLS=true", "UV_SYSTEM_CERTS=true")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, out)
	}
	return nil
}

// A process is a program and all that it starts, in a group of its own.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func start(program, dir, log string, env []string, args ...string) (*process, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	out, err := os.Create(filepath.Join(dir, log))
	if err != nil {
		return nil, err
	}
	defer out.Close() // the process has its own
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = append(append(os.Environ(), "PATH="+filepath.Dir(program)+string(os.PathListSeparator)+os.Getenv("PATH")), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // stopped by a signal, always an error
	}()
	return p, nil
}

func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop ends the group: politely, and after three seconds for good.
func (p *process) stop() {
	if p == nil {
		return
	}
	group := -p.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM) // it may have exited
	select {
	case <-p.done:
	case <-time.After(3 * time.Second):
	}
	_ = syscall.Kill(group, syscall.SIGKILL) // what the process itself left behind
	<-p.done
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

func atLeast(version string, major, minor, patch int) bool {
	var have [3]int
	_, _ = fmt.Sscanf(version, "%d.%d.%d", &have[0], &have[1], &have[2]) // what is missing counts as 0
	for i, want := range []int{major, minor, patch} {
		if have[i] != want {
			return have[i] > want
		}
	}
	return true
}
