package lbpkg

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// ignore is the .gitignore in the root of a folder. Those further down are not read.
type ignore []ignoreRule

type ignoreRule struct {
	pattern *regexp.Regexp
	dirOnly bool
	keep    bool // "!pattern"
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
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		rule, err := parseIgnore(line)
		if err != nil { // what it would have left out may be a secret
			return nil, &Error{Entry: ".gitignore", Rule: "ignore", Reason: fmt.Sprintf("the pattern %q cannot be understood", line)}
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func parseIgnore(line string) (r ignoreRule, err error) {
	line, r.keep = strings.CutPrefix(line, "!")
	line, r.dirOnly = strings.CutSuffix(line, "/")
	anchored := strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	expr := "^"
	if !anchored {
		expr = "(^|/)"
	}
	r.pattern, err = regexp.Compile(expr + globToRegexp(line) + "$")
	return r, err
}

// globToRegexp translates a pattern of git: * and ? stay within a name, ** spans folders, and [!…] is a negated class.
func globToRegexp(glob string) string {
	var out strings.Builder
	for i := 0; i < len(glob); i++ {
		rest := glob[i:]
		switch {
		case strings.HasPrefix(rest, "**/"):
			out.WriteString("(.*/)?")
			i += 2
		case strings.HasPrefix(rest, "**"):
			out.WriteString(".*")
			i++
		case rest[0] == '*':
			out.WriteString("[^/]*")
		case rest[0] == '?':
			out.WriteString("[^/]")
		case strings.HasPrefix(rest, "[!"), strings.HasPrefix(rest, "[^"):
			out.WriteString("[^")
			i++
		case rest[0] == '[', rest[0] == ']':
			out.WriteByte(rest[0])
		case rest[0] == '\\' && len(rest) > 1:
			out.WriteString(regexp.QuoteMeta(rest[1:2]))
			i++
		case rest[0] == '-':
			out.WriteByte('-') // a range, inside a class
		default:
			out.WriteString(regexp.QuoteMeta(rest[:1]))
		}
	}
	return out.String()
}

// match reports whether the last rule that fits name leaves it out.
func (rules ignore) match(name string, dir bool) bool {
	out := false
	for _, r := range rules {
		if (dir || !r.dirOnly) && r.pattern.MatchString(name) {
			out = !r.keep
		}
	}
	return out
}
