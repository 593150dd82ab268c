package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/langbot-go/langbot"
)

// progress shows a task: on a terminal as one line that changes, elsewhere as a line a change.
type progress struct {
	out      io.Writer
	terminal bool
	open     bool // a line is on the screen that the next one replaces
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if file, ok := out.(*os.File); ok {
		info, err := file.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

func (p *progress) show(task langbot.Task) {
	text := task.Action
	if text == "" {
		text = string(task.State) // all that an API key sees
	}
	switch {
	case task.Progress.Percent > 0 && p.terminal:
		const width = 20
		full := width * task.Progress.Percent / 100
		text = fmt.Sprintf("[%s%s] %3d %% %s", strings.Repeat("#", full), strings.Repeat(".", width-full), task.Progress.Percent, text)
	case task.Progress.Percent > 0:
		text = fmt.Sprintf("%3d %% %s", task.Progress.Percent, text)
	}
	if !p.terminal {
		fmt.Fprintln(p.out, text)
		return
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s", text)
	p.open = true
}

// line prints text that stays.
func (p *progress) line(text string) {
	p.end()
	fmt.Fprintln(p.out, text)
}

func (p *progress) end() {
	if p.open {
		fmt.Fprintln(p.out)
		p.open = false
	}
}
