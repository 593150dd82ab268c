package lbpkg

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// ignore is the .gitignore in the root of a folder. Patterns with ** inside a path, and .gitignore files further down,
// are not read.
type ignore []ignoreRule

type ignoreRule struct {
	pattern  string
	anchored bool // to the root: the pattern has a slash other than its last
	dirOnly  bool
	keep     bool // "!pattern"
}

func readIgnore(fsys fs.FS) (ignore, error) {
	data, err := fs.ReadFile(fsys, ".gitignore")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lbpkg: %w", err)
	}
	var rules ignore
	for line := range strings.Lines(string(data)) {
		if rule, ok := parseIgnore(strings.TrimRight(line, " \t\r\n")); ok {
			rules = append(rules, rule)
		}
	}
	return rules, nil
}

func parseIgnore(line string) (r ignoreRule, ok bool) {
	if line == "" || line[0] == '#' {
		return r, false
	}
	line, r.keep = strings.CutPrefix(line, "!")
	line = strings.TrimPrefix(line, `\`) // escapes a leading # or !
	line, r.dirOnly = strings.CutSuffix(line, "/")
	line = strings.TrimPrefix(line, "**/")
	line, rooted := strings.CutPrefix(line, "/")
	r.anchored = rooted || strings.Contains(line, "/")
	r.pattern = line
	_, err := path.Match(line, "")
	return r, err == nil && line != ""
}

// match reports whether the last rule that fits name leaves it out.
func (rules ignore) match(name string, dir bool) bool {
	out := false
	for _, r := range rules {
		subject := name
		if !r.anchored {
			subject = path.Base(name)
		}
		if fits, _ := path.Match(r.pattern, subject); fits && (dir || !r.dirOnly) { // the pattern was checked
			out = !r.keep
		}
	}
	return out
}
