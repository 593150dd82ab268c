package wire

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A normaliser replaces what must differ from run to run by something of the same form, numbered by first occurrence, so
// that a recorded answer can still be read by a client.
type normaliser struct {
	port string
	seen map[string]map[string]string // by kind: what it was, and what it has become
}

func newNormaliser(base string) *normaliser {
	return &normaliser{port: base[strings.LastIndex(base, ":")+1:], seen: map[string]map[string]string{}}
}

// replacements are applied in order. The form is given the number of the value among those of its kind.
var replacements = []struct {
	kind    string
	pattern *regexp.Regexp // its first group is replaced
	form    string
}{
	{"jwt", regexp.MustCompile(`(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)`), "eyJtYXNrZWQ.masked-%d.masked"},
	{"key", regexp.MustCompile(`(lbk_[A-Za-z0-9_-]{16,})`), "lbk_masked-%d"},
	{"debug", regexp.MustCompile(`"plugin_debug_key":"([^"]{6,})"`), "masked-%d"},
	{"uuid", regexp.MustCompile(`([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})`), "00000000-0000-4000-8000-%012d"},
	{"digest", regexp.MustCompile(`\b([0-9a-f]{64})\b`), "%064d"},
	{"hex", regexp.MustCompile(`(?:\b|_)([0-9a-f]{32})\b`), "%032d"},
	{"owner", regexp.MustCompile(`\bv1/([0-9a-f]{24})/`), "%024d"},
	{"time", regexp.MustCompile(`\b(20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?)`), "2026-01-01T00:00:%02d"},
	{"seconds", regexp.MustCompile(`"(?:ts|created_at|finished_at|started_at)":(1[5-9]\d{8}\.\d+)`), "17000%05d.5"},
	{"task", regexp.MustCompile(`"task_id":(\d+)`), "%d"},
	{"task", regexp.MustCompile(`"id":(\d+),"(?:kind|label|name|task_type)"`), "%d"},
	{"task", regexp.MustCompile(`^/api/v1/system/tasks/(\d{1,4})$`), "%d"},
	{"port", regexp.MustCompile(`(?:127\.0\.0\.1|localhost):(\d{4,5})`), "5%03d"},
	{"address", regexp.MustCompile(`(0x[0-9a-f]{6,})`), "0x%06d"},
}

var (
	sitePackages = regexp.MustCompile(`/[^ "']*site-packages`)
	stamp        = regexp.MustCompile(`\b\d\d-\d\d \d\d:\d\d:\d\d\.\d+`)
	scopes       = regexp.MustCompile(`"scopes":\["[^\]]*\]`)
	filler       = regexp.MustCompile(`x{100,}`)
	traceback    = regexp.MustCompile(`"exception_traceback":"(?:[^"\\]|\\.)+"`)
)

// lastLine keeps of a traceback what it is and its last line: it is long, and full of the paths of a machine.
func lastLine(member string) string {
	lines := strings.Split(strings.TrimSuffix(strings.TrimSuffix(member, `"`), `\n`), `\n`)
	if len(lines) < 3 {
		return member
	}
	return lines[0] + `\n  …\n` + lines[len(lines)-1] + `\n"`
}

// inOrder sorts the scopes of a key, which are a set.
func inOrder(member string) string {
	list := strings.TrimSuffix(strings.TrimPrefix(member, `"scopes":[`), "]")
	return `"scopes":[` + strings.Join(slices.Sorted(slices.Values(strings.Split(list, ","))), ",") + "]"
}

// counted tells how long an id is that was only sent for its length.
func counted(s string) string {
	return filler.ReplaceAllStringFunc(s, func(id string) string { return fmt.Sprintf("(%d letters)", len(id)) })
}

func (n *normaliser) text(s string) string {
	s = strings.NewReplacer("127.0.0.1:"+n.port, "127.0.0.1:5300", password, "***", "https://space.test", "http://127.0.0.1:49999").Replace(s)
	s = sitePackages.ReplaceAllString(s, "/venv/site-packages")
	s = traceback.ReplaceAllStringFunc(s, lastLine)
	s = counted(s)
	s = stamp.ReplaceAllString(s, "01-01 00:00:00.000")
	s = scopes.ReplaceAllStringFunc(s, inOrder)
	for _, r := range replacements {
		s = replaceGroup(r.pattern, s, func(value string) string { return n.stand(r.kind, r.form, value) })
	}
	return s
}

// stand is what stands for value.
func (n *normaliser) stand(kind, form, value string) string {
	known := n.seen[kind]
	if known == nil {
		known = map[string]string{}
		n.seen[kind] = known
	}
	if value == "5300" || kind == "task" && len(value) > 5 {
		return value
	}
	if known[value] == "" {
		known[value] = fmt.Sprintf(form, len(known)+1)
	}
	return known[value]
}

func replaceGroup(pattern *regexp.Regexp, s string, replace func(string) string) string {
	var out strings.Builder
	last := 0
	for _, at := range pattern.FindAllStringSubmatchIndex(s, -1) {
		out.WriteString(s[last:at[2]])
		out.WriteString(replace(s[at[2]:at[3]]))
		last = at[3]
	}
	return out.String() + s[last:]
}
