//go:build unix

// Installing a release from the Python index into a cache.

package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// install makes a virtual environment of the release, once, and returns its Python.
func install(ctx context.Context, version string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "langbot-go-lab")
	venv := filepath.Join(root, version)
	python := filepath.Join(venv, "bin", "python")
	unlock, err := lock(root) // servers of one release start side by side
	if err != nil {
		return "", err
	}
	defer unlock()
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
	if Older(version, "4.10.7") {
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

// lock keeps all others, also in other processes, from installing until it is unlocked.
func lock(root string) (unlock func(), err error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	file, err := os.Create(filepath.Join(root, "lock"))
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, err
	}
	return func() { _ = file.Close() }, nil // which unlocks
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
