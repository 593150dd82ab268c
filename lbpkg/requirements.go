package lbpkg

import (
	"archive/zip"
	"fmt"
	"regexp"
	"strings"
)

// checkRequirements reads requirements.txt, which a package may lack. Whether the Python packages exist only the
// server's index knows.
func checkRequirements(f *zip.File) ([]string, error) {
	if f == nil {
		return nil, nil
	}
	raw, err := readEntry(f)
	if err != nil {
		return nil, err
	}
	text, err := decodeText(raw, requirementsName)
	if err != nil {
		return nil, err
	}
	if len(text) != len(raw) {
		return nil, &Error{Entry: requirementsName, Rule: "encoding", Reason: "it begins with a byte order mark, which LangBot takes for part of a name"}
	}
	requirements := []string{}
	for i, line := range strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(text)), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if reason := notRequirement(line); reason != "" {
			return nil, &Error{Entry: requirementsName, Rule: "requirements", Reason: fmt.Sprintf("line %d: %s", i+1, reason)}
		}
		requirements = append(requirements, line)
	}
	return requirements, nil
}

// requirement is the shape of a dependency: name[extras] and versions or an address, then a marker.
var requirement = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\s*(\[[A-Za-z0-9._,\s-]*\])?\s*` +
	`(@\s*\S+|\(?\s*(===|==|~=|!=|<=|>=|<|>)\s*[^\s,;()#]+(\s*,\s*(===|==|~=|!=|<=|>=|<|>)\s*[^\s,;()#]+)*\s*,?\s*\)?)?\s*(;.*)?$`)

func notRequirement(line string) string {
	switch {
	case strings.HasPrefix(line, "-"):
		return "pip options are not allowed"
	case !requirement.MatchString(line):
		return fmt.Sprintf("%q is no requirement, as name==1.0 would be", line)
	}
	return ""
}
