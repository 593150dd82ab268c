//go:build unix

// Processes: started and stopped with everything that they started themselves.

package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// A process is a program and all that it starts, in a group of its own.
type process struct {
	cmd    *exec.Cmd
	done   chan struct{}
	killed bool
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
	if p == nil || p.killed {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM) // it may have exited
	select {
	case <-p.done:
	case <-time.After(3 * time.Second):
	}
	p.kill() // what the process itself left behind
}

// kill ends the group at once, and only once: its number may be another's afterwards.
func (p *process) kill() {
	if p.killed {
		return
	}
	p.killed = true
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may have exited
	<-p.done
}
